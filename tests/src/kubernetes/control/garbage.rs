//! The garbage collector: what nobody owns any more goes, what waits for its dependents goes behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::system::{delete, without_finalizer};
use crate::kubernetes::store::{Key, Store};

pub(super) fn collect(store: &mut Store) {
    let owners: BTreeMap<String, (Key, bool)> = store
        .objects()
        .filter_map(|(key, object)| {
            let uid = object["metadata"]["uid"].as_str()?.to_owned();
            Some((uid, (key.clone(), object["metadata"]["deletionTimestamp"].is_string())))
        })
        .collect();
    let owned: Vec<(Key, Arc<Value>)> = store
        .objects()
        .filter(|(_, object)| {
            object["metadata"]["ownerReferences"].as_array().is_some_and(|list| !list.is_empty())
        })
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for (key, object) in &owned {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let is_owned = references.into_iter().any(|owner| {
            let owner = owner["uid"].as_str().and_then(|uid| owners.get(uid));
            owner.is_some_and(|(owner, is_going)| !is_going || !waits_for_dependents(store, owner))
        });
        if !is_owned && !object["metadata"]["deletionTimestamp"].is_string() {
            delete(store, key);
        }
    }
    for (key, is_going) in owners.values() {
        if *is_going {
            release(store, key, &owned);
        }
    }
}

fn has_finalizer(store: &Store, key: &Key, finalizer: &str) -> bool {
    let finalizers = store.get(key).and_then(|object| object["metadata"]["finalizers"].as_array());
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|one| one == finalizer))
}

fn waits_for_dependents(store: &Store, key: &Key) -> bool {
    has_finalizer(store, key, "foregroundDeletion")
}

/// Ends what the garbage collector itself keeps.
fn release(store: &mut Store, key: &Key, owned: &[(Key, Arc<Value>)]) {
    let Some(uid) = store.get(key).map(|object| object["metadata"]["uid"].clone()) else { return };
    let references = |object: &Value| {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.into_iter().any(|owner| owner["uid"] == uid)
    };
    let dependents: Vec<&Key> =
        owned.iter().filter(|(_, object)| references(object)).map(|(key, _)| key).collect();
    if has_finalizer(store, key, "orphan") {
        for dependent in dependents {
            store.edit(dependent, "garbage-collector", "", |object| {
                if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
                    list.retain(|owner| owner["uid"] != uid);
                }
            });
        }
        store.edit(key, "garbage-collector", "", |object| without_finalizer(object, "orphan"));
    } else if waits_for_dependents(store, key)
        && dependents.iter().all(|dependent| store.get(dependent).is_none())
    {
        store.edit(key, "garbage-collector", "", |object| without_finalizer(object, "foregroundDeletion"));
    }
}
