//! Namespaces, definitions of kinds, and disruption budgets.

use serde_json::{Value, json};

use crate::kubernetes::kinds::Kind;
use crate::kubernetes::removal::Deletion;
use crate::kubernetes::store::{Key, Store, now};

/// Gives new namespaces an account, and empties those that are to go.
pub(super) fn namespaces(store: &mut Store) {
    for namespace in store.all("Namespace") {
        let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
        if namespace["metadata"]["deletionTimestamp"].is_string() {
            empty(store, name);
        } else if store.find("ServiceAccount", name, "default").is_none() {
            let account = json!({ "metadata": { "name": "default" } });
            // It is there or will be with the next look.
            let _ = store.make("ServiceAccount", name, "serviceaccount-controller", account);
        }
    }
}

fn empty(store: &mut Store, namespace: &str) {
    let inside: Vec<Key> =
        store.objects().filter(|(key, _)| key.namespace == namespace).map(|(key, _)| key.clone()).collect();
    if inside.is_empty() {
        let key = Key::new(store.kinds.built_in("Namespace"), "", namespace);
        let Some(last) = store.get(&key).map(|last| Value::clone(last)) else { return };
        store.remove(&key, last);
        return;
    }
    for key in inside {
        if !is_going(store, &key) {
            delete(store, &key);
        }
    }
}

fn is_going(store: &Store, key: &Key) -> bool {
    store.get(key).is_some_and(|object| object["metadata"]["deletionTimestamp"].is_string())
}

/// Deletes an object as a part of the cluster.
pub(super) fn delete(store: &mut Store, key: &Key) {
    let Some(kind) = store.kinds.resource(&key.resource).cloned() else { return };
    // What is gone already is as good.
    let _ = store.delete(&kind, &key.namespace, &key.name, &Deletion::default());
}

/// Establishes new definitions, and ends the objects of those that are to go.
pub(super) fn definitions(store: &mut Store) {
    for definition in store.all("CustomResourceDefinition") {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let key = Key::new(store.kinds.built_in("CustomResourceDefinition"), "", name);
        if definition["metadata"]["deletionTimestamp"].is_string() {
            retire(store, &key, &definition);
            continue;
        }
        let spec = &definition["spec"];
        if definition["status"]["acceptedNames"] == spec["names"] {
            continue;
        }
        let condition = |kind: &str, reason: &str| {
            json!({
                "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now(),
            })
        };
        let versions = spec["versions"].as_array().into_iter().flatten();
        let stored: Vec<&Value> =
            versions.filter(|version| version["storage"] == true).map(|version| &version["name"]).collect();
        let status = json!({
            "acceptedNames": spec["names"], "storedVersions": stored,
            "conditions": [
                condition("NamesAccepted", "NoConflicts"), condition("Established", "InitialNamesAccepted"),
            ],
        });
        store.edit(&key, "kube-apiserver", "status", |definition| definition["status"] = status);
    }
}

fn retire(store: &mut Store, key: &Key, definition: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource =
        format!("{}.{}", text(&definition["spec"]["names"]["plural"]), text(&definition["spec"]["group"]));
    let left: Vec<Key> = store.list(&resource, None).map(|(key, _)| key.clone()).collect();
    if left.is_empty() {
        store.edit(key, "kube-apiserver", "", |definition| without_finalizer(definition, CLEANUP));
        return;
    }
    for key in left {
        if !is_going(store, &key) {
            delete(store, &key);
        }
    }
}

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) fn without_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|one| one != finalizer);
    }
}

/// Tells how many pods each budget lets go.
pub(super) fn budgets(store: &mut Store) {
    for budget in store.all("PodDisruptionBudget") {
        let state = store.budget(&budget);
        let status = json!({
            "currentHealthy": state.healthy, "desiredHealthy": state.desired, "expectedPods": state.expected,
            "disruptionsAllowed": state.allowed(), "observedGeneration": budget["metadata"]["generation"],
        });
        if budget["status"] != status {
            let key = key_of(store.kinds.built_in("PodDisruptionBudget"), &budget);
            store.edit(&key, "disruption-controller", "status", |budget| budget["status"] = status);
        }
    }
}

/// Where an object is.
pub(super) fn key_of(kind: &Kind, object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Key::new(kind, text("namespace"), text("name"))
}
