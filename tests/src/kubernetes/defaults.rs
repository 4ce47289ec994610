//! What the API server fills in where a client says nothing: what a deployment reads back is not what it wrote.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// Fills in the defaults of a built-in kind.
pub(super) fn fill(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            put(&mut object["spec"], "finalizers", || json!(["kubernetes"]));
            put(&mut object["status"], "phase", || json!("Active"));
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        ("", "Pod") => {
            pod(&mut object["spec"]);
            put(&mut object["spec"], "enableServiceLinks", || json!(true));
            put(&mut object["status"], "phase", || json!("Pending"));
            put(&mut object["status"], "qosClass", || json!("Burstable"));
        }
        ("", "Service") => service(&mut object["spec"]),
        ("", "Secret") => secret(object),
        ("", "PersistentVolumeClaim") => {
            put(&mut object["spec"], "volumeMode", || json!("Filesystem"));
            put(&mut object["status"], "phase", || json!("Pending"));
        }
        ("apps", "StatefulSet") => {
            let spec = &mut object["spec"];
            put(spec, "replicas", || json!(1));
            put(spec, "podManagementPolicy", || json!("OrderedReady"));
            put(spec, "revisionHistoryLimit", || json!(10));
            put(spec, "updateStrategy", || json!({ "type": "RollingUpdate" }));
            put(&mut spec["updateStrategy"], "type", || json!("RollingUpdate"));
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                put(&mut spec["updateStrategy"], "rollingUpdate", || json!({ "partition": 0 }));
                put(&mut spec["updateStrategy"]["rollingUpdate"], "partition", || json!(0));
            }
            put(spec, "persistentVolumeClaimRetentionPolicy", || json!({}));
            let policy = &mut spec["persistentVolumeClaimRetentionPolicy"];
            put(policy, "whenDeleted", || json!("Retain"));
            put(policy, "whenScaled", || json!("Retain"));
            pod(&mut spec["template"]["spec"]);
            for claim in items(spec, "volumeClaimTemplates") {
                put(claim, "apiVersion", || json!("v1"));
                put(claim, "kind", || json!("PersistentVolumeClaim"));
                put(&mut claim["spec"], "volumeMode", || json!("Filesystem"));
                put(&mut claim["status"], "phase", || json!("Pending"));
            }
        }
        ("apps", "Deployment") => {
            let spec = &mut object["spec"];
            put(spec, "replicas", || json!(1));
            put(spec, "revisionHistoryLimit", || json!(10));
            put(spec, "progressDeadlineSeconds", || json!(600));
            put(spec, "strategy", || json!({}));
            put(&mut spec["strategy"], "type", || json!("RollingUpdate"));
            if spec["strategy"]["type"] == "RollingUpdate" {
                put(&mut spec["strategy"], "rollingUpdate", || json!({}));
                put(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", || json!("25%"));
                put(&mut spec["strategy"]["rollingUpdate"], "maxSurge", || json!("25%"));
            }
            pod(&mut spec["template"]["spec"]);
        }
        ("apps", "ReplicaSet" | "DaemonSet") => {
            put(&mut object["spec"], "replicas", || json!(1));
            pod(&mut object["spec"]["template"]["spec"]);
        }
        ("batch", "Job") => pod(&mut object["spec"]["template"]["spec"]),
        ("networking.k8s.io", "NetworkPolicy") => {
            for ports in ["ingress", "egress"] {
                for rule in items(&mut object["spec"], ports) {
                    items(rule, "ports").iter_mut().for_each(|port| put(port, "protocol", || json!("TCP")));
                }
            }
        }
        ("autoscaling", "HorizontalPodAutoscaler") => put(&mut object["spec"], "minReplicas", || json!(1)),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            for subject in items(object, "subjects") {
                if subject["kind"] != "ServiceAccount" {
                    put(subject, "apiGroup", || json!("rbac.authorization.k8s.io"));
                }
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            put(&mut object["spec"], "conversion", || json!({ "strategy": "None" }));
            let names = &mut object["spec"]["names"];
            let kind = names["kind"].as_str().unwrap_or_default().to_owned();
            put(names, "singular", || json!(kind.to_lowercase()));
            put(names, "listKind", || json!(format!("{kind}List")));
        }
        _ => {}
    }
}

/// Sets a field that is missing, of an object or of nothing.
fn put(object: &mut Value, name: &str, value: impl FnOnce() -> Value) {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    if let Some(map) = object.as_object_mut()
        && map.get(name).is_none_or(Value::is_null)
    {
        map.insert(name.into(), value());
    }
}

/// The items of a list, or none.
fn items<'a>(object: &'a mut Value, name: &str) -> &'a mut [Value] {
    object.get_mut(name).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

fn service(spec: &mut Value) {
    put(spec, "type", || json!("ClusterIP"));
    put(spec, "sessionAffinity", || json!("None"));
    for port in items(spec, "ports") {
        let number = port["port"].clone();
        put(port, "protocol", || json!("TCP"));
        put(port, "targetPort", || number);
    }
    put(spec, "internalTrafficPolicy", || json!("Cluster"));
    put(spec, "ipFamilyPolicy", || json!("SingleStack"));
    put(spec, "ipFamilies", || json!(["IPv4"]));
    if ["NodePort", "LoadBalancer"].iter().any(|kind| spec["type"] == *kind) {
        put(spec, "externalTrafficPolicy", || json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        put(spec, "allocateLoadBalancerNodePorts", || json!(true));
    }
}

/// Text is written and never read back.
fn secret(object: &mut Value) {
    put(object, "type", || json!("Opaque"));
    let text = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (name, value) in text.as_ref().and_then(Value::as_object).into_iter().flatten() {
        put(object, "data", || json!({}));
        object["data"][name] = json!(STANDARD.encode(value.as_str().unwrap_or_default()));
    }
}

fn pod(spec: &mut Value) {
    put(spec, "restartPolicy", || json!("Always"));
    put(spec, "dnsPolicy", || json!("ClusterFirst"));
    put(spec, "schedulerName", || json!("default-scheduler"));
    put(spec, "terminationGracePeriodSeconds", || json!(30));
    put(spec, "securityContext", || json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        // The older name of the same.
        put(spec, "serviceAccount", || account);
    }
    for containers in ["containers", "initContainers"] {
        items(spec, containers).iter_mut().for_each(container);
    }
    for volume in items(spec, "volumes") {
        for source in ["configMap", "secret", "projected"] {
            if volume.get(source).is_some() {
                put(&mut volume[source], "defaultMode", || json!(0o644));
            }
        }
        let sources = volume.get_mut("projected").map(|projected| items(projected, "sources"));
        for source in sources.into_iter().flatten() {
            if source.get("serviceAccountToken").is_some() {
                put(&mut source["serviceAccountToken"], "expirationSeconds", || json!(3_600));
            }
        }
    }
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let is_latest =
        image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
    put(container, "imagePullPolicy", || json!(if is_latest { "Always" } else { "IfNotPresent" }));
    put(container, "terminationMessagePath", || json!("/dev/termination-log"));
    put(container, "terminationMessagePolicy", || json!("File"));
    put(container, "resources", || json!({}));
    items(container, "ports").iter_mut().for_each(|port| put(port, "protocol", || json!("TCP")));
    for env in items(container, "env") {
        if env["valueFrom"].get("fieldRef").is_some() {
            put(&mut env["valueFrom"]["fieldRef"], "apiVersion", || json!("v1"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe) else { continue };
        for (name, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            put(probe, name, || json!(value));
        }
        http_action(probe);
    }
    for hook in ["preStop", "postStart"] {
        if let Some(hook) = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(hook)) {
            http_action(hook);
        }
    }
}

fn http_action(handler: &mut Value) {
    if handler.get("httpGet").is_some() {
        put(&mut handler["httpGet"], "scheme", || json!("HTTP"));
        put(&mut handler["httpGet"], "path", || json!("/"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kinds::Kinds;

    #[test]
    fn what_is_filled_in_once_is_not_changed_by_the_next_write() {
        let kinds = Kinds::new(Vec::new());
        let spec = json!({
            "containers": [{
                "name": "a", "image": "b", "ports": [{ "containerPort": 1 }], "livenessProbe": { "httpGet": {} },
                "env": [{ "name": "c" }, { "name": "d", "valueFrom": { "fieldRef": {} } }],
            }],
            "volumes": [
                { "name": "a", "emptyDir": {} }, { "name": "b", "configMap": {} },
                { "name": "c", "projected": { "sources": [{ "serviceAccountToken": {} }, { "configMap": {} }] } },
            ],
        });
        for (kind, spec) in [
            ("Pod", spec.clone()),
            (
                "StatefulSet",
                json!({ "template": { "spec": spec }, "volumeClaimTemplates": [{ "spec": {} }] }),
            ),
            ("Deployment", json!({ "template": { "spec": spec } })),
            ("Service", json!({ "type": "LoadBalancer", "ports": [{ "port": 1 }] })),
            ("NetworkPolicy", json!({ "ingress": [{ "ports": [{ "port": 1 }] }, {}] })),
        ] {
            let mut first = json!({ "metadata": { "name": "a" }, "spec": spec });
            fill(kinds.built_in(kind), &mut first);
            let mut second = first.clone();
            fill(kinds.built_in(kind), &mut second);
            assert_eq!(first, second, "{kind}");
            assert!(!first.to_string().contains("null"), "nothing is there to say that it is not: {first}");
        }
    }
}
