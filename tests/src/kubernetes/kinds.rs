//! Which kinds of objects there are, and how clients find out: the discovery documents.

use serde_json::{Value, json};

use super::custom::Custom;

/// A kind of object, in one version.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Empty for the core group.
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) singular: String,
    short: Vec<String>,
    categories: Vec<String>,
    pub(super) is_namespaced: bool,
    pub(super) has_status: bool,
    pub(super) scale: Option<Scale>,
    /// What its definition says, when it is defined by an object.
    pub(super) custom: Option<Custom>,
}

/// Where an object keeps what its scale subresource shows: JSON pointers.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) replicas: String,
    pub(super) status_replicas: String,
    /// A selector as text; empty when `spec.selector` is one of labels.
    pub(super) selector: String,
}

/// Group and version, kind, plural, short names; then letters: `n`amespaced, has a `s`tatus, can be
/// sca`l`ed, part of `a`ll.
const BUILT_IN: &[(&str, &str, &str, &str, &str)] = &[
    ("v1", "Namespace", "namespaces", "ns", "s"),
    ("v1", "Node", "nodes", "no", "s"),
    ("v1", "Pod", "pods", "po", "nsa"),
    ("v1", "Service", "services", "svc", "nsa"),
    ("v1", "Endpoints", "endpoints", "ep", "n"),
    ("v1", "ConfigMap", "configmaps", "cm", "n"),
    ("v1", "Secret", "secrets", "", "n"),
    ("v1", "ServiceAccount", "serviceaccounts", "sa", "n"),
    ("v1", "Event", "events", "ev", "n"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "ns"),
    ("v1", "PersistentVolume", "persistentvolumes", "pv", "s"),
    ("apps/v1", "StatefulSet", "statefulsets", "sts", "nsla"),
    ("apps/v1", "Deployment", "deployments", "deploy", "nsla"),
    ("apps/v1", "ReplicaSet", "replicasets", "rs", "nsla"),
    ("apps/v1", "DaemonSet", "daemonsets", "ds", "nsa"),
    ("apps/v1", "ControllerRevision", "controllerrevisions", "", "n"),
    ("batch/v1", "Job", "jobs", "", "nsa"),
    ("batch/v1", "CronJob", "cronjobs", "cj", "nsa"),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", "", "n"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", "", "n"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", "", ""),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", "", ""),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", "ns"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol", "n"),
    ("networking.k8s.io/v1", "Ingress", "ingresses", "ing", "ns"),
    ("networking.k8s.io/v1", "IngressClass", "ingressclasses", "", ""),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "nsa"),
    ("coordination.k8s.io/v1", "Lease", "leases", "", "n"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", "crd,crds", "s"),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", "", "n"),
    ("events.k8s.io/v1", "Event", "events", "ev", "n"),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", "sc", ""),
];

/// What is asked and never stored: group and version, kind, plural, namespaced.
const REVIEWS: &[(&str, &str, &str, bool)] = &[
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", false),
    ("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", false),
    ("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", false),
];

impl Kind {
    /// A kind that the cluster knows without a definition.
    pub(super) fn known(api_version: &str, kind: &str, plural: &str, short: &str, letters: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let scale = letters.contains('l').then(|| Scale {
            replicas: "/spec/replicas".into(),
            status_replicas: "/status/replicas".into(),
            selector: String::new(),
        });
        let categories = if letters.contains('a') { vec!["all".to_owned()] } else { Vec::new() };
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short: short.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            categories,
            is_namespaced: letters.contains('n'),
            has_status: letters.contains('s'),
            scale,
            custom: None,
        }
    }

    /// The kind that a version of a definition makes.
    pub(super) fn defined(definition: &Value, version: &Value) -> Self {
        let spec = &definition["spec"];
        let names = &spec["names"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let subresources = &version["subresources"];
        // The paths are those of simple fields: `.spec.replicas`.
        let pointer = |value: &Value| text(value).replace('.', "/");
        let scale = subresources.get("scale").map(|scale| Scale {
            replicas: pointer(&scale["specReplicasPath"]),
            status_replicas: pointer(&scale["statusReplicasPath"]),
            selector: pointer(&scale["labelSelectorPath"]),
        });
        let singular = text(&names["singular"]);
        let kind = text(&names["kind"]);
        Self {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            plural: text(&names["plural"]),
            singular: if singular.is_empty() { kind.to_lowercase() } else { singular },
            short: list(&names["shortNames"]),
            categories: list(&names["categories"]),
            is_namespaced: spec["scope"] == "Namespaced",
            has_status: subresources.get("status").is_some(),
            scale,
            custom: Some(Custom::new(version)),
            kind,
        }
    }

    /// How refusals and rights call it: `statefulsets.apps`.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether `metadata.generation` counts the changes of what is asked for.
    pub(super) fn has_generation(&self) -> bool {
        const WITH: [&str; 9] = [
            "StatefulSet",
            "Deployment",
            "ReplicaSet",
            "DaemonSet",
            "PodDisruptionBudget",
            "CustomResourceDefinition",
            "NetworkPolicy",
            "Ingress",
            "Job",
        ];
        self.custom.is_some() || WITH.contains(&self.kind.as_str())
    }

    /// What `GET /api/v1` or `GET /apis/<group>/<version>` says of it.
    fn discovery(&self, resources: &mut Vec<Value>) {
        let verbs =
            json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
        let mut resource = json!({
            "name": self.plural, "singularName": self.singular, "namespaced": self.is_namespaced,
            "kind": self.kind, "verbs": verbs, "storageVersionHash": "",
        });
        if !self.short.is_empty() {
            resource["shortNames"] = json!(self.short);
        }
        if !self.categories.is_empty() {
            resource["categories"] = json!(self.categories);
        }
        resources.push(resource);
        let mut sub = |name: &str, group: &str, version: &str, kind: &str, verbs: &[&str]| {
            let mut resource = json!({
                "name": format!("{}/{name}", self.plural), "singularName": "",
                "namespaced": self.is_namespaced, "kind": kind, "verbs": verbs,
            });
            if !version.is_empty() {
                resource["group"] = json!(group);
                resource["version"] = json!(version);
            }
            resources.push(resource);
        };
        if self.has_status {
            sub("status", "", "", &self.kind, &["get", "patch", "update"]);
        }
        if self.scale.is_some() {
            sub("scale", "autoscaling", "v1", "Scale", &["get", "patch", "update"]);
        }
        if self.group.is_empty() && self.kind == "Pod" {
            sub("log", "", "", "Pod", &["get"]);
            sub("eviction", "policy", "v1", "Eviction", &["create"]);
            sub("portforward", "", "", "PodPortForwardOptions", &["create", "get"]);
        }
        if self.group.is_empty() && self.kind == "ServiceAccount" {
            sub("token", "authentication.k8s.io", "v1", "TokenRequest", &["create"]);
        }
    }
}

/// Every kind that is served.
#[derive(Debug)]
pub(super) struct Kinds {
    known: Vec<Kind>,
    defined: Vec<Kind>,
}

impl Kinds {
    /// Those of every cluster, and more that other systems have brought into this one.
    pub(super) fn new(more: Vec<Kind>) -> Self {
        let built_in = BUILT_IN.iter().map(|&(api_version, kind, plural, short, letters)| {
            Kind::known(api_version, kind, plural, short, letters)
        });
        Self { known: built_in.chain(more).collect(), defined: Vec::new() }
    }

    /// Replaces those that objects define.
    pub(super) fn define(&mut self, kinds: Vec<Kind>) {
        self.defined = kinds;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.known.iter().chain(&self.defined)
    }

    /// By what stands in a path.
    pub(super) fn at(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// By the name of its resource, in whatever version.
    pub(super) fn resource(&self, resource: &str) -> Option<&Kind> {
        self.iter().find(|kind| kind.resource() == resource)
    }

    /// By the name of a kind that every cluster has.
    ///
    /// # Panics
    /// When it is none of those.
    pub(super) fn built_in(&self, kind: &str) -> &Kind {
        let found = self.known.iter().find(|known| known.kind == kind);
        found.unwrap_or_else(|| panic!("no cluster has the kind {kind}"))
    }

    /// By the type of an object.
    pub(super) fn of_type(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.iter().find(|known| known.kind == kind && known.api_version() == api_version)
    }

    fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        let served = self.iter().map(|kind| (kind.group.clone(), kind.version.clone()));
        let reviews = REVIEWS.iter().filter_map(|(api_version, ..)| {
            let (group, version) = api_version.split_once('/')?;
            Some((group.to_owned(), version.to_owned()))
        });
        for (group, version) in served.chain(reviews).filter(|(group, _)| !group.is_empty()) {
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, versions)) if versions.contains(&version) => {}
                Some((_, versions)) => versions.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        groups
    }

    /// `GET /apis`.
    pub(super) fn group_list(&self) -> Value {
        let groups: Vec<Value> =
            self.groups().iter().map(|(group, versions)| group_of(group, versions)).collect();
        json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
    }

    /// `GET /apis/<group>`.
    pub(super) fn group(&self, name: &str) -> Option<Value> {
        let (group, versions) = self.groups().into_iter().find(|(group, _)| group == name)?;
        let mut document = group_of(&group, &versions);
        document["kind"] = json!("APIGroup");
        document["apiVersion"] = json!("v1");
        Some(document)
    }

    /// `GET /apis/<group>/<version>`, or `GET /api/v1` with an empty group.
    pub(super) fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let mut resources = Vec::new();
        for kind in self.iter().filter(|kind| kind.group == group && kind.version == version) {
            kind.discovery(&mut resources);
        }
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let reviews = REVIEWS.iter().filter(|(of, ..)| *of == api_version);
        resources.extend(reviews.map(|(_, kind, plural, is_namespaced)| {
            json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": is_namespaced, "kind": kind,
                "verbs": ["create"],
            })
        }));
        let list = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version,
            "resources": &resources,
        });
        (!resources.is_empty()).then_some(list)
    }

    /// Every group and version, the core one first, as paths: `api/v1`, `apis/apps/v1`.
    pub(super) fn paths(&self) -> Vec<String> {
        let groups = self.groups();
        let named = groups.iter().flat_map(|(group, versions)| {
            versions.iter().map(move |version| format!("apis/{group}/{version}"))
        });
        std::iter::once("api/v1".to_owned()).chain(named).collect()
    }
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions.first() })
}
