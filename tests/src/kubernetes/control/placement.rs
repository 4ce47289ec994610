//! Where pods and volumes go: the scheduler, and the provisioner of volumes.

use serde_json::{Value, json};

use super::event;
use super::pods::{has_ended, is_going};
use super::system::{key_of, without_finalizer};
use crate::kubernetes::NODES;
use crate::kubernetes::selector::Labels;
use crate::kubernetes::store::{Store, now};

/// Gives pods a node each: one that fits, with the fewest pods.
pub(super) fn schedule(store: &mut Store) {
    for pod in store.all("Pod") {
        if pod["spec"]["nodeName"].is_string() || is_going(&pod) {
            continue;
        }
        match choose(store, &pod) {
            Ok(node) => {
                let key = key_of(store.kinds.built_in("Pod"), &pod);
                store.edit(&key, "kube-scheduler", "", |pod| pod["spec"]["nodeName"] = json!(node));
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                event(store, &pod, "Normal", "Scheduled", &format!("Successfully assigned {name} to {node}"));
            }
            Err(why) => refuse(store, &pod, &why),
        }
    }
}

fn choose(store: &Store, pod: &Value) -> Result<String, String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
        match store.find("PersistentVolumeClaim", namespace, claim) {
            None => return Err(format!("persistentvolumeclaim \"{claim}\" not found")),
            Some(claim) if claim["status"]["phase"] != "Bound" => {
                return Err("pod has unbound immediate PersistentVolumeClaims".into());
            }
            Some(_) => {}
        }
    }
    let pods = store.all("Pod");
    let on = |node: &str| {
        pods.iter().filter(move |one| one["spec"]["nodeName"] == node && !has_ended(one)).collect::<Vec<_>>()
    };
    let selector = Labels::of_map(&pod["spec"]["nodeSelector"]);
    let terms = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let apart: Vec<Labels> = terms
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|term| Labels::of_object(&term["labelSelector"]))
        .collect();
    let nodes = NODES.iter().filter(|node| {
        let fits = store.find("Node", "", node).is_some_and(|node| selector.matches(node));
        fits && !on(node).iter().any(|other| {
            other["metadata"]["namespace"] == namespace && apart.iter().any(|labels| labels.matches(other))
        })
    });
    let node = nodes.min_by_key(|node| on(node).len());
    let none = || {
        format!(
            "0/{} nodes are available: none of them fits the pod's node selector and affinity.",
            NODES.len()
        )
    };
    node.map(|node| (*node).to_owned()).ok_or_else(none)
}

fn refuse(store: &mut Store, pod: &Value, why: &str) {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.into_iter().any(|one| one["type"] == "PodScheduled" && one["message"] == why) {
        return;
    }
    let key = key_of(store.kinds.built_in("Pod"), pod);
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
        "lastTransitionTime": now(),
    });
    store.edit(&key, "kube-scheduler", "status", |pod| pod["status"]["conditions"] = json!([condition]));
    event(store, pod, "Warning", "FailedScheduling", why);
}

/// Gives claims their volumes, and takes back those of claims that are gone.
pub(super) fn volumes(store: &mut Store) {
    let pods = store.all("Pod");
    for claim in store.all("PersistentVolumeClaim") {
        let key = key_of(store.kinds.built_in("PersistentVolumeClaim"), &claim);
        let is_used = pods.iter().any(|pod| {
            let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
            pod["metadata"]["namespace"] == key.namespace.as_str()
                && volumes
                    .into_iter()
                    .any(|one| one["persistentVolumeClaim"]["claimName"] == key.name.as_str())
        });
        if is_going(&claim) && !is_used {
            store.edit(&key, "pvc-protection-controller", "", |claim| {
                without_finalizer(claim, "kubernetes.io/pvc-protection");
            });
        } else if claim["status"]["phase"] != "Bound" && !is_going(&claim) {
            bind(store, &claim);
        }
    }
    for volume in store.all("PersistentVolume") {
        let reference = &volume["spec"]["claimRef"];
        let text = |name: &str| reference[name].as_str().unwrap_or_default();
        let claim = store.find("PersistentVolumeClaim", text("namespace"), text("name"));
        if claim.is_none_or(|claim| claim["metadata"]["uid"] != reference["uid"]) {
            let key = key_of(store.kinds.built_in("PersistentVolume"), &volume);
            if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
                super::system::delete(store, &key);
            }
        }
    }
}

fn bind(store: &mut Store, claim: &Value) {
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
    let Some(class) = store.find("StorageClass", "", class).cloned() else {
        let why = format!("storageclass.storage.k8s.io \"{class}\" not found");
        event(store, claim, "Warning", "ProvisioningFailed", &why);
        return;
    };
    let name = format!("pvc-{}", claim["metadata"]["uid"].as_str().unwrap_or_default());
    let capacity = claim["spec"]["resources"]["requests"].clone();
    let volume = json!({ "metadata": { "name": name }, "spec": {
        "capacity": capacity, "accessModes": claim["spec"]["accessModes"],
        "persistentVolumeReclaimPolicy": class["reclaimPolicy"], "storageClassName": class["metadata"]["name"],
        "claimRef": {
            "kind": "PersistentVolumeClaim", "namespace": claim["metadata"]["namespace"],
            "name": claim["metadata"]["name"], "uid": claim["metadata"]["uid"],
        },
    } });
    // One that is there is bound by the next lines.
    let _ = store.make("PersistentVolume", "", "tests", volume);
    let key = key_of(store.kinds.built_in("PersistentVolumeClaim"), claim);
    store.edit(&key, "persistentvolume-binder", "", |claim| claim["spec"]["volumeName"] = json!(name));
    store.edit(&key, "persistentvolume-binder", "status", |claim| {
        claim["status"] =
            json!({ "phase": "Bound", "capacity": capacity, "accessModes": claim["spec"]["accessModes"] });
    });
}
