//! The operator: a process of `mq` that looks after the objects which stand for addresses, users and the like.

use mq_model::custom::{GROUP, KINDS};
use serde_json::{Value, json};

use super::{Rendering, map, pods};

/// Where it finds what it shows to the nodes, and whom it believes.
const ADMIN: &str = "/etc/mq/tls/admin";
/// The component that it is.
const OPERATOR: &str = "operator";

impl Rendering<'_> {
    /// Its account, and what runs it.
    pub(super) fn operator(&self) -> Vec<Value> {
        let mut objects = self.operator_access();
        objects.push(self.operator_deployment());
        objects
    }

    fn operator_name(&self) -> String {
        format!("{}-operator", self.names.fleet())
    }

    /// It reads Secrets, since passwords are in some, and of the rest nothing but its own kinds.
    fn operator_access(&self) -> Vec<Value> {
        let name = self.operator_name();
        let plurals: Vec<&str> = KINDS.iter().map(|(_, plural)| *plural).collect();
        let statuses: Vec<String> = plurals.iter().map(|plural| format!("{plural}/status")).collect();
        let rule = |groups: Value, resources: Value, verbs: Value| json!({ "apiGroups": groups, "resources": resources, "verbs": verbs });
        let rules = json!([
            rule(json!([GROUP]), json!(plurals), json!(["get", "list", "watch", "patch"])),
            rule(json!([GROUP]), json!(statuses), json!(["patch"])),
            rule(json!([""]), json!(["secrets"]), json!(["get", "create"])),
            rule(json!(["coordination.k8s.io"]), json!(["leases"]), json!(["create"])),
            json!({
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [name],
                "verbs": ["get", "update"],
            }),
        ]);
        let mut account = self.object("v1", "ServiceAccount", &name, Some(OPERATOR));
        account.insert("automountServiceAccountToken".into(), false.into());
        let mut role = self.object("rbac.authorization.k8s.io/v1", "Role", &name, Some(OPERATOR));
        role.insert("rules".into(), rules);
        let mut binding = self.object("rbac.authorization.k8s.io/v1", "RoleBinding", &name, Some(OPERATOR));
        let of_role = map([
            ("apiGroup", "rbac.authorization.k8s.io".into()),
            ("kind", "Role".into()),
            ("name", name.as_str().into()),
        ]);
        binding.insert("roleRef".into(), of_role.into());
        let subject = json!({ "kind": "ServiceAccount", "name": name, "namespace": self.target.namespace() });
        binding.insert("subjects".into(), json!([subject]));
        vec![account.into(), role.into(), binding.into()]
    }

    fn operator_deployment(&self) -> Value {
        let name = self.operator_name();
        let admin =
            format!("https://{}.{}.svc:{}", self.names.fleet(), self.target.namespace(), self.https_port());
        let file = |name: &str| format!("{ADMIN}/{name}");
        let container = json!({
            "name": "operator",
            "image": self.open("image", self.target.image().into()),
            "command": ["/usr/local/bin/mq", "operator"],
            "args": [
                "--admin", admin,
                "--authority", file("ca.crt"),
                "--certificate", file("tls.crt"),
                "--certificate-key", file("tls.key"),
                "--lease", name,
                "--identity", "$(POD_NAME)",
            ],
            "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
            "securityContext": pods::container_security(),
            "volumeMounts": [{ "name": "admin", "mountPath": ADMIN, "readOnly": true }],
        });
        let mut spec = map([
            ("serviceAccountName", name.as_str().into()),
            ("automountServiceAccountToken", true.into()),
            ("enableServiceLinks", false.into()),
            ("securityContext", self.pod_security()),
        ]);
        self.placement(&mut spec);
        spec.insert("containers".into(), json!([container]));
        let secret = json!({ "secretName": self.names.admin_secret(), "defaultMode": pods::PRIVATE });
        spec.insert("volumes".into(), json!([{ "name": "admin", "secret": secret }]));
        let mut object = self.object("apps/v1", "Deployment", &name, Some(OPERATOR));
        let selector = self.operator_selector();
        object.insert(
            "spec".into(),
            json!({
                "replicas": 1,
                "revisionHistoryLimit": 3,
                "selector": { "matchLabels": selector },
                "template": { "metadata": { "labels": selector }, "spec": spec },
            }),
        );
        object.into()
    }

    /// It is no node: what finds those by their labels does not find it.
    fn operator_selector(&self) -> Value {
        json!({
            "app.kubernetes.io/name": "mq-operator",
            "app.kubernetes.io/instance": self.names.fleet(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{find, fleet};
    use super::*;

    #[test]
    fn the_operator_is_there_where_it_is_wanted_and_is_none_of_the_nodes() {
        let without = fleet(json!({}));
        let objects = Rendering::of_fleet(&without).unwrap().objects().unwrap();
        assert!(objects.iter().all(|object| object["kind"] != "CustomResourceDefinition"));
        let with = fleet(json!({ "operator": true }));
        let objects = Rendering::of_fleet(&with).unwrap().objects().unwrap();
        let pod = &find(&objects, "Deployment", "prod-operator")["spec"]["template"];
        let nodes = find(&objects, "Service", "prod-nodes")["spec"]["selector"].as_object().unwrap();
        assert!(nodes.iter().any(|(key, value)| pod["metadata"]["labels"].get(key) != Some(value)));
        find(&objects, "CustomResourceDefinition", "addresses.mq.messaging");
    }

    #[test]
    fn the_operator_may_change_nothing_of_others() {
        let fleet = fleet(json!({ "operator": true }));
        let objects = Rendering::of_fleet(&fleet).unwrap().objects().unwrap();
        for rule in find(&objects, "Role", "prod-operator")["rules"].as_array().unwrap() {
            let verbs = rule["verbs"].to_string();
            assert!(!verbs.contains('*') && !verbs.contains("delete"), "{rule}");
            let is_changing = verbs.contains("update") || verbs.contains("patch");
            let is_own = rule["apiGroups"][0] == GROUP || rule.get("resourceNames").is_some();
            assert!(!is_changing || is_own, "{rule}");
        }
    }
}
