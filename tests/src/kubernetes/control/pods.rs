//! What the controllers of workloads have in common: pods from templates, who owns them, how they fare.

use std::sync::Arc;

use serde_json::{Value, json};

use super::event;
use super::system::{delete, key_of};
use crate::kubernetes::removal::is_ready;
use crate::kubernetes::store::{Key, Store};

/// The reference of the controller of an object.
pub(super) fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// Whether an object is controlled by another.
pub(super) fn is_controlled(object: &Value, owner: &Value) -> bool {
    let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    references.into_iter().any(|one| one["controller"] == true && one["uid"] == owner["metadata"]["uid"])
}

/// The objects of a kind that another one controls.
pub(super) fn controlled(store: &Store, kind: &str, owner: &Value) -> Vec<Arc<Value>> {
    let mut all = store.all(kind);
    all.retain(|object| is_controlled(object, owner));
    all
}

pub(super) fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether a pod serves and is not about to end.
pub(super) fn is_healthy(pod: &Value) -> bool {
    is_ready(pod) && !is_going(pod)
}

pub(super) fn has_ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase)
}

/// A pod of a template; `change` has the last word.
pub(super) fn create(
    store: &mut Store,
    owned_by: &Value,
    template: &Value,
    manager: &str,
    change: impl FnOnce(&mut Value),
) {
    let namespace = owned_by["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut pod = json!({
        "metadata": template["metadata"].as_object().cloned().unwrap_or_default(), "spec": template["spec"],
    });
    pod["metadata"]["ownerReferences"] = json!([owner(owned_by)]);
    change(&mut pod);
    if let Err(refusal) = store.make("Pod", namespace, manager, pod) {
        event(store, owned_by, "Warning", "FailedCreate", &format!("Error creating: {}", refusal.message));
    }
}

/// Deletes a pod that is not on its way already.
pub(super) fn end(store: &mut Store, pod: &Value) {
    if !is_going(pod) {
        let key = key_of(store.kinds.built_in("Pod"), pod);
        delete(store, &key);
    }
}

/// A short fingerprint of a value.
pub(super) fn hash(value: &Value) -> String {
    let hash = value.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:010x}", hash & 0xff_ffff_ffff)
}

/// Writes a status that differs.
pub(super) fn set_status(store: &mut Store, kind: &str, object: &Value, status: Value) {
    if object["status"] != status {
        let key = key_of(store.kinds.built_in(kind), object);
        store.edit(&key, "kube-controller-manager", "status", |object| object["status"] = status);
    }
}

/// Sets the number of replicas as a controller.
pub(super) fn scale(store: &mut Store, key: &Key, replicas: u64) {
    store.edit(key, "kube-controller-manager", "", |object| object["spec"]["replicas"] = json!(replicas));
}
