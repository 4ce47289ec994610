//! The controllers of Deployments and of their ReplicaSets.

use std::sync::Arc;

use serde_json::{Value, json};

use super::pods::{self, controlled, has_ended, is_going, set_status};
use super::system::key_of;
use crate::kubernetes::removal::{is_ready, scaled};
use crate::kubernetes::store::{Store, now};

const HASH: &str = "pod-template-hash";

pub(super) fn reconcile(store: &mut Store) {
    for deployment in store.all("Deployment") {
        if !is_going(&deployment) {
            roll(store, &deployment);
        }
    }
    for set in store.all("ReplicaSet") {
        if !is_going(&set) {
            fill(store, &set);
        }
    }
}

/// The pods of a set, more or fewer.
fn fill(store: &mut Store, set: &Value) {
    let pods = controlled(store, "Pod", set);
    pods.iter().filter(|pod| has_ended(pod)).for_each(|pod| pods::end(store, pod));
    let mut live: Vec<&Arc<Value>> = pods.iter().filter(|pod| !is_going(pod) && !has_ended(pod)).collect();
    let wanted = usize::try_from(set["spec"]["replicas"].as_u64().unwrap_or(1)).unwrap_or(usize::MAX);
    let prefix = format!("{}-", set["metadata"]["name"].as_str().unwrap_or_default());
    for _ in live.len()..wanted {
        pods::create(store, set, &set["spec"]["template"], "replicaset-controller", |pod| {
            pod["metadata"]["generateName"] = json!(prefix);
        });
    }
    // Those that serve nobody go first.
    live.sort_by_key(|pod| is_ready(pod));
    live.iter().take(live.len().saturating_sub(wanted)).for_each(|pod| pods::end(store, pod));
    let ready = live.iter().filter(|pod| is_ready(pod)).count();
    let status = json!({
        "observedGeneration": set["metadata"]["generation"], "replicas": live.len(), "readyReplicas": ready,
        "availableReplicas": ready, "fullyLabeledReplicas": live.len(),
    });
    set_status(store, "ReplicaSet", set, status);
}

fn replicas(set: &Value) -> u64 {
    set["spec"]["replicas"].as_u64().unwrap_or(0)
}

fn ready(set: &Value) -> u64 {
    set["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

/// From the sets of older templates to that of the present one.
fn roll(store: &mut Store, deployment: &Value) {
    let spec = &deployment["spec"];
    let hash = pods::hash(&spec["template"]);
    let sets = controlled(store, "ReplicaSet", deployment);
    let (new, old): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|set| set["metadata"]["labels"][HASH] == hash.as_str());
    let Some(new) = new.first() else {
        create(store, deployment, &hash, old.len());
        return;
    };
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let strategy = &spec["strategy"]["rollingUpdate"];
    let is_recreated = spec["strategy"]["type"] == "Recreate";
    let surge = if is_recreated { 0 } else { scaled(&strategy["maxSurge"], wanted, true) };
    let mut missing = scaled(&strategy["maxUnavailable"], wanted, false);
    if surge == 0 && missing == 0 {
        // One of them has to give.
        missing = 1;
    }
    let key = |store: &Store, set: &Value| key_of(store.kinds.built_in("ReplicaSet"), set);
    let old_total: u64 = old.iter().map(|set| replicas(set)).sum();
    let room = (wanted + surge).saturating_sub(old_total);
    let old_pods: u64 = old.iter().map(|set| set["status"]["replicas"].as_u64().unwrap_or(0)).sum();
    let is_waiting = is_recreated && old_pods > 0;
    let target = if is_waiting { replicas(new) } else { room.min(wanted).max(replicas(new).min(wanted)) };
    if target != replicas(new) {
        let key = key(store, new);
        pods::scale(store, &key, target);
    }
    let available: u64 = ready(new) + old.iter().map(|set| ready(set)).sum::<u64>();
    let mut spare =
        if is_recreated { old_total } else { available.saturating_sub(wanted.saturating_sub(missing)) };
    for set in old.iter().filter(|set| replicas(set) > 0) {
        // Pods that do not serve are no loss.
        let idle = replicas(set).saturating_sub(ready(set));
        let step = (idle + spare).min(replicas(set));
        spare = spare.saturating_sub(step.saturating_sub(idle));
        if step > 0 {
            let key = key(store, set);
            pods::scale(store, &key, replicas(set) - step);
        }
    }
    tell(store, deployment, new, &old);
}

fn create(store: &mut Store, deployment: &Value, hash: &str, number: usize) {
    let spec = &deployment["spec"];
    let name = format!("{}-{hash}", deployment["metadata"]["name"].as_str().unwrap_or_default());
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let set = json!({
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"], "ownerReferences": [pods::owner(deployment)],
            "annotations": { "deployment.kubernetes.io/revision": (number + 1).to_string() },
        },
        "spec": { "replicas": 0, "selector": selector, "template": template },
    });
    let namespace = deployment["metadata"]["namespace"].as_str().unwrap_or_default();
    // It is there or will be with the next look.
    let _ = store.make("ReplicaSet", namespace, "deployment-controller", set);
}

fn tell(store: &mut Store, deployment: &Value, new: &Value, old: &[Arc<Value>]) {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let total = |of: &dyn Fn(&Value) -> u64| of(new) + old.iter().map(|set| of(set)).sum::<u64>();
    let pods = |set: &Value| set["status"]["replicas"].as_u64().unwrap_or(0);
    let all_ready = total(&ready);
    let is_complete = pods(new) == wanted && ready(new) == wanted && total(&pods) == wanted;
    let condition = |kind: &str, is: bool, reason: &str| {
        let status = if is { "True" } else { "False" };
        let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
        let before = conditions.into_iter().find(|one| one["type"] == kind && one["status"] == status);
        let since = before.map_or_else(|| json!(now()), |before| before["lastTransitionTime"].clone());
        json!({
            "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": since,
            "lastUpdateTime": since,
        })
    };
    let missing = scaled(&deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, false);
    let is_available = all_ready >= wanted.saturating_sub(missing);
    let available = if is_available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
    let progress = if is_complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"], "replicas": total(&pods),
        "updatedReplicas": pods(new), "readyReplicas": all_ready, "availableReplicas": all_ready,
        "unavailableReplicas": wanted.saturating_sub(all_ready),
        "conditions": [condition("Available", is_available, available), condition("Progressing", true, progress)],
    });
    set_status(store, "Deployment", deployment, status);
}
