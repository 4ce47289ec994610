//! The operator of fleets: a process of `mq` that makes what `Fleet` objects of its namespace describe, what it may do there,
//! and the definitions of the kinds.
//!
//! All that it may do is in its own namespace. The definitions are the cluster's: whoever applies them needs the right to
//! do so, the operator does not.

use mq_model::custom::{FLEETS, GROUP, KINDS, definitions};
use serde_json::{Map, Value, json};

use super::{map, pods};

/// What its objects are called.
const NAME: &str = "mq-fleets";
/// Where the files of fleets are while it looks after them.
const STATE: &str = "/var/lib/mq";

/// The definitions, the account of the operator, what that may do, and what runs it, in an order in which they can be
/// applied.
pub fn fleets(namespace: &str, image: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    if namespace != "default" {
        let mut labels = labels();
        labels.insert("app.kubernetes.io/managed-by".into(), "mq".into());
        objects.push(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels },
        }));
    }
    objects.extend(definitions());
    let object = |version: &str, kind: &str| {
        let mut labels = labels();
        labels.insert("app.kubernetes.io/managed-by".into(), "mq".into());
        let metadata = json!({ "name": NAME, "namespace": namespace, "labels": labels });
        map([("apiVersion", version.into()), ("kind", kind.into()), ("metadata", metadata)])
    };
    let mut account = object("v1", "ServiceAccount");
    account.insert("automountServiceAccountToken".into(), false.into());
    let mut role = object("rbac.authorization.k8s.io/v1", "Role");
    role.insert("rules".into(), rules());
    let mut binding = object("rbac.authorization.k8s.io/v1", "RoleBinding");
    binding.insert(
        "roleRef".into(),
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME }),
    );
    let subject = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": namespace });
    binding.insert("subjects".into(), json!([subject]));
    let mut deployment = object("apps/v1", "Deployment");
    deployment.insert(
        "spec".into(),
        json!({
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "selector": { "matchLabels": labels() },
            "template": { "metadata": { "labels": labels() }, "spec": pod(image) },
        }),
    );
    objects.extend([account, role, binding, deployment].map(Value::Object));
    objects
}

/// It is no node, and none of the operators beside one fleet.
fn labels() -> Map<String, Value> {
    map([
        ("app.kubernetes.io/name", "mq-fleets".into()),
        ("app.kubernetes.io/instance", NAME.into()),
        ("app.kubernetes.io/component", "operator".into()),
    ])
}

fn pod(image: &str) -> Value {
    let container = json!({
        "name": "operator",
        "image": image,
        "command": ["/usr/local/bin/mq", "operator"],
        "args": ["--fleets", "--lease", NAME, "--identity", "$(POD_NAME)"],
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "XDG_STATE_HOME", "value": STATE },
            { "name": "XDG_CONFIG_HOME", "value": STATE },
        ],
        "resources": { "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } },
        "securityContext": pods::container_security(),
        "volumeMounts": [{ "name": "state", "mountPath": STATE }],
    });
    json!({
        "serviceAccountName": NAME,
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        // The user is the image's, or one that the cluster picks.
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [container],
        // Private keys are in it: on no disk.
        "volumes": [{ "name": "state", "emptyDir": { "medium": "Memory", "sizeLimit": "64Mi" } }],
    })
}

/// What `mq deploy` does to a namespace, and what the operators of its fleets may do: nobody gives others more rights
/// than he has.
fn rules() -> Value {
    let (_, fleets) = FLEETS;
    let plurals: Vec<&str> = KINDS.iter().map(|(_, plural)| *plural).chain([fleets]).collect();
    let statuses: Vec<String> = plurals.iter().map(|plural| format!("{plural}/status")).collect();
    let rule = |group: &str, resources: Value, verbs: Value| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let made = || json!(["get", "create", "patch", "delete"]);
    json!([
        rule(GROUP, json!(plurals), json!(["get", "list", "watch", "patch"])),
        rule(GROUP, json!(statuses), json!(["patch"])),
        rule("", json!(["configmaps", "secrets", "serviceaccounts", "services"]), made()),
        rule("", json!(["pods"]), json!(["get", "list", "watch", "patch", "delete"])),
        rule("", json!(["pods/log"]), json!(["get"])),
        rule("", json!(["pods/portforward"]), json!(["get", "create"])),
        rule("", json!(["persistentvolumeclaims"]), json!(["get", "list", "patch", "delete"])),
        rule("", json!(["events"]), json!(["list"])),
        rule("apps", json!(["deployments", "statefulsets"]), made()),
        rule("apps", json!(["controllerrevisions"]), json!(["get"])),
        rule("autoscaling", json!(["horizontalpodautoscalers"]), made()),
        rule("policy", json!(["poddisruptionbudgets"]), made()),
        rule("networking.k8s.io", json!(["ingresses", "networkpolicies"]), made()),
        rule("rbac.authorization.k8s.io", json!(["rolebindings", "roles"]), made()),
        rule("coordination.k8s.io", json!(["leases"]), json!(["get", "create", "update", "delete"])),
        // What a Fleet may ask for where the cluster has it.
        rule("cert-manager.io", json!(["certificates", "issuers"]), made()),
        rule("gateway.networking.k8s.io", json!(["tlsroutes"]), made()),
        rule("monitoring.coreos.com", json!(["prometheusrules", "servicemonitors"]), made()),
        rule("route.openshift.io", json!(["routes"]), made()),
        rule("route.openshift.io", json!(["routes/custom-host"]), json!(["create"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::{
        Rendering,
        tests::{find, fleet},
    };
    use super::*;

    /// Whether a rule of the role gives the verb on a resource.
    fn allows(rules: &Value, group: &str, resource: &str, verb: &str) -> bool {
        let has = |rule: &Value, field: &str, wanted: &str| {
            rule[field].as_array().unwrap().iter().any(|one| one == wanted)
        };
        rules.as_array().unwrap().iter().any(|rule| {
            has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb)
        })
    }

    #[test]
    fn the_operator_may_make_and_take_away_whatever_a_fleet_needs_in_its_namespace_and_nothing_beyond() {
        let rules = rules();
        for target in [
            json!({ "routers": 2, "autoscale": { "maxRouters": 4 }, "monitoring": "always", "operator": true }),
            json!({ "ingress": { "route": { "domain": "a.example" } }, "tls": { "certManager": {} } }),
            json!({ "ingress": { "gateway": { "domain": "a.example", "name": "g" } } }),
            json!({ "ingress": { "ingress": { "domain": "a.example" } } }),
        ] {
            for object in Rendering::of_fleet(&fleet(target)).unwrap().objects().unwrap() {
                let kind = object["kind"].as_str().unwrap();
                if ["Namespace", "CustomResourceDefinition"].contains(&kind) {
                    continue;
                }
                let version = object["apiVersion"].as_str().unwrap();
                let group = version.rsplit_once('/').map_or("", |(group, _)| group);
                let plural = match kind {
                    "NetworkPolicy" => "networkpolicies".to_owned(),
                    "Ingress" => "ingresses".to_owned(),
                    kind => format!("{}s", kind.to_lowercase()),
                };
                for verb in ["get", "create", "patch", "delete"] {
                    assert!(allows(&rules, group, &plural, verb), "{verb} {plural}.{group}");
                }
            }
        }
        let text = rules.to_string();
        assert!(!text.contains('*') && !text.contains("clusterrole") && !text.contains("escalate"), "{text}");
    }

    #[test]
    fn the_operator_gives_nobody_a_right_that_it_does_not_have() {
        let own = rules();
        let fleet = fleet(json!({ "operator": true }));
        let objects = Rendering::of_fleet(&fleet).unwrap().objects().unwrap();
        for role in ["prod", "prod-operator"] {
            for rule in find(&objects, "Role", role)["rules"].as_array().unwrap() {
                let each = |field: &str| rule[field].as_array().unwrap().clone();
                for (resource, verb) in each("resources")
                    .iter()
                    .flat_map(|one| each("verbs").into_iter().map(move |verb| (one.clone(), verb)))
                {
                    let text = |value: &Value| value.as_str().unwrap().to_owned();
                    let group = text(&each("apiGroups")[0]);
                    assert!(allows(&own, &group, &text(&resource), &text(&verb)), "{verb} {resource}");
                }
            }
        }
    }

    #[test]
    fn the_definitions_come_before_what_looks_after_their_objects() {
        let objects = fleets("messaging", "mq:1");
        let at = |kind: &str| objects.iter().position(|object| object["kind"] == kind).unwrap();
        assert!(at("Namespace") < at("CustomResourceDefinition"));
        assert!(at("CustomResourceDefinition") < at("Deployment"));
        find(&objects, "CustomResourceDefinition", "fleets.mq.messaging");
        let pod = &find(&objects, "Deployment", NAME)["spec"]["template"]["spec"];
        assert_eq!(pod["containers"][0]["image"], "mq:1");
    }
}
