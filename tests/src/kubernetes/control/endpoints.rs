//! Who stands behind a service: Endpoints and EndpointSlices.

use std::sync::Arc;

use serde_json::{Value, json};

use super::pods::{has_ended, is_going, owner};
use super::system::key_of;
use crate::kubernetes::removal::is_ready;
use crate::kubernetes::selector::Labels;
use crate::kubernetes::store::{Key, Store};

const MANAGER: &str = "endpoints-controller";

pub(super) fn reconcile(store: &mut Store) {
    for service in store.all("Service") {
        if service["spec"]["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
        let selector = Labels::of_map(&service["spec"]["selector"]);
        let shows_all = service["spec"]["publishNotReadyAddresses"] == true;
        let pods: Vec<Arc<Value>> = store
            .list("pods", Some(namespace))
            .filter(|(_, pod)| selector.matches(pod) && pod["status"]["podIP"].is_string() && !has_ended(pod))
            .filter(|(_, pod)| shows_all || !is_going(pod))
            .map(|(_, pod)| pod.clone())
            .collect();
        let name = service["metadata"]["name"].clone();
        write(
            store,
            "Endpoints",
            &service,
            json!({ "metadata": { "name": name }, "subsets": subsets(&service, &pods) }),
        );
        let slice = json!({
            "metadata": {
                "name": format!("{}-tests", name.as_str().unwrap_or_default()),
                "labels": { "kubernetes.io/service-name": name }, "ownerReferences": [owner(&service)],
            },
            "addressType": "IPv4", "endpoints": endpoints(&service, &pods), "ports": ports(&service, pods.first()),
        });
        write(store, "EndpointSlice", &service, slice);
    }
    // The Endpoints of a service go with it; they have no owner in a real cluster either.
    for endpoints in store.all("Endpoints") {
        let key = key_of(store.kinds.built_in("Endpoints"), &endpoints);
        if store.find("Service", &key.namespace, &key.name).is_none() {
            super::system::delete(store, &key);
        }
    }
}

fn write(store: &mut Store, kind: &str, service: &Value, wanted: Value) {
    let namespace = service["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let Some(there) = store.find(kind, namespace, name).cloned() else {
        // It is there or will be with the next look.
        let _ = store.make(kind, namespace, MANAGER, wanted);
        return;
    };
    let fields = wanted.as_object().into_iter().flatten().filter(|(field, _)| *field != "metadata");
    let is_same = fields.clone().all(|(field, value)| there[field] == *value);
    if !is_same {
        let key = Key::new(store.kinds.built_in(kind), namespace, name);
        store.edit(&key, MANAGER, "", |object| {
            for (field, value) in fields {
                object[field] = value.clone();
            }
        });
    }
}

fn is_shown_ready(service: &Value, pod: &Value) -> bool {
    service["spec"]["publishNotReadyAddresses"] == true || is_ready(pod)
}

fn hostname(service: &Value, pod: &Value) -> Value {
    let is_of_service = pod["spec"]["subdomain"] == service["metadata"]["name"];
    if is_of_service { pod["spec"]["hostname"].clone() } else { Value::Null }
}

fn reference(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({ "kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"] })
}

fn subsets(service: &Value, pods: &[Arc<Value>]) -> Value {
    let addresses = |is_wanted: bool| -> Vec<Value> {
        let pods = pods.iter().filter(|pod| is_shown_ready(service, pod) == is_wanted);
        pods.map(|pod| {
            let mut address = json!({
                "ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": reference(pod),
            });
            if let Value::String(name) = hostname(service, pod) {
                address["hostname"] = json!(name);
            }
            address
        })
        .collect()
    };
    if pods.is_empty() {
        return json!([]);
    }
    let mut subset = json!({ "ports": ports(service, pods.first()) });
    for (field, addresses) in [("addresses", addresses(true)), ("notReadyAddresses", addresses(false))] {
        if !addresses.is_empty() {
            subset[field] = json!(addresses);
        }
    }
    json!([subset])
}

fn endpoints(service: &Value, pods: &[Arc<Value>]) -> Value {
    let endpoints = pods.iter().map(|pod| {
        let mut endpoint = json!({
            "addresses": [pod["status"]["podIP"]], "nodeName": pod["spec"]["nodeName"],
            "targetRef": reference(pod),
            "conditions": {
                "ready": is_shown_ready(service, pod), "serving": is_ready(pod), "terminating": is_going(pod),
            },
        });
        if let Value::String(name) = hostname(service, pod) {
            endpoint["hostname"] = json!(name);
        }
        endpoint
    });
    endpoints.collect()
}

/// The ports of a service as numbers of its pods.
fn ports(service: &Value, pod: Option<&Arc<Value>>) -> Value {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| {
        let number = target(port, pod.map(|pod| &**pod))?;
        Some(json!({ "name": port["name"].as_str().unwrap_or_default(), "port": number, "protocol": port["protocol"] }))
    });
    ports.collect()
}

/// The number of the port that a port of a service leads to.
pub(in crate::kubernetes) fn target(port: &Value, pod: Option<&Value>) -> Option<u64> {
    match &port["targetPort"] {
        Value::String(name) => {
            let containers = pod?["spec"]["containers"].as_array().into_iter().flatten();
            let mut ports =
                containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
            ports.find(|port| port["name"] == name.as_str())?["containerPort"].as_u64()
        }
        number => number.as_u64().or_else(|| port["port"].as_u64()),
    }
}
