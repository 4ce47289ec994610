//! The controller of StatefulSets: pods with ordinals and claims of their own, one after the other or all at
//! once, rolled from the last to the first down to the partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::pods::{self, controlled, has_ended, is_going, is_healthy, set_status};
use super::system::{delete, key_of};
use crate::kubernetes::removal::is_ready;
use crate::kubernetes::store::Store;

const MANAGER: &str = "statefulset-controller";
const REVISION: &str = "controller-revision-hash";

pub(super) fn reconcile(store: &mut Store) {
    for set in store.all("StatefulSet") {
        if !is_going(&set) {
            Set::new(store, set).reconcile(store);
        }
    }
}

/// A set as it is at the begin of one look at it.
struct Set {
    object: Arc<Value>,
    pods: BTreeMap<u64, Arc<Value>>,
    first: u64,
    replicas: u64,
    partition: u64,
    is_parallel: bool,
    is_rolling: bool,
    /// The names of the revisions that new pods have below and above the partition.
    current: String,
    update: String,
}

impl Set {
    fn new(store: &Store, object: Arc<Value>) -> Self {
        let spec = &object["spec"];
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let ordinal = |pod: &Value| {
            pod["metadata"]["name"].as_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u64>().ok()
        };
        let pods = controlled(store, "Pod", &object).into_iter();
        let update = format!("{name}-{}", pods::hash(&spec["template"]));
        let current =
            object["status"]["currentRevision"].as_str().map_or_else(|| update.clone(), str::to_owned);
        Self {
            pods: pods.filter_map(|pod| Some((ordinal(&pod)?, pod))).collect(),
            first: spec["ordinals"]["start"].as_u64().unwrap_or(0),
            replicas: spec["replicas"].as_u64().unwrap_or(1),
            partition: spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0),
            is_parallel: spec["podManagementPolicy"] == "Parallel",
            is_rolling: spec["updateStrategy"]["type"] == "RollingUpdate",
            current,
            update,
            object,
        }
    }

    fn text(&self, name: &str) -> &str {
        self.object["metadata"][name].as_str().unwrap_or_default()
    }

    fn ordinals(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.replicas
    }

    fn reconcile(&self, store: &mut Store) {
        self.keep_revision(store);
        self.tell(store);
        // While one step is under way, an ordered set does no other.
        if self.fill(store) && self.shrink(store) {
            self.roll(store);
        }
        self.retire_claims(store);
    }

    /// The template of a revision is kept for pods below the partition, and for people who want it back.
    fn keep_revision(&self, store: &mut Store) {
        if store.find("ControllerRevision", self.text("namespace"), &self.update).is_none() {
            let known = controlled(store, "ControllerRevision", &self.object);
            let last = known.iter().filter_map(|one| one["revision"].as_u64()).max().unwrap_or(0);
            let revision = json!({
                "metadata": {
                    "name": self.update, "ownerReferences": [pods::owner(&self.object)],
                    "labels": self.object["spec"]["template"]["metadata"]["labels"],
                },
                "data": { "spec": { "template": self.object["spec"]["template"] } }, "revision": last + 1,
            });
            // Its name is that of its content: who was first made the same.
            let _ = store.make("ControllerRevision", self.text("namespace"), MANAGER, revision);
        }
    }

    fn template(&self, store: &Store, revision: &str) -> Value {
        let kept = store.find("ControllerRevision", self.text("namespace"), revision);
        kept.map_or_else(
            || self.object["spec"]["template"].clone(),
            |kept| kept["data"]["spec"]["template"].clone(),
        )
    }

    /// Makes the pods that are missing. Returns whether rolling and shrinking may begin.
    fn fill(&self, store: &mut Store) -> bool {
        for ordinal in self.ordinals() {
            match self.pods.get(&ordinal) {
                None => {
                    self.create(store, ordinal);
                    if !self.is_parallel {
                        return false;
                    }
                }
                Some(pod) if has_ended(pod) => {
                    pods::end(store, pod);
                    return false;
                }
                Some(pod) if !self.is_parallel && !is_healthy(pod) => return false,
                Some(_) => {}
            }
        }
        true
    }

    fn create(&self, store: &mut Store, ordinal: u64) {
        let name = format!("{}-{ordinal}", self.text("name"));
        let is_below = self.is_rolling && ordinal < self.first + self.partition;
        let revision = if is_below { &self.current } else { &self.update };
        let template = self.template(store, revision);
        let claims = self.claims(store, &name);
        pods::create(store, &self.object, &template, MANAGER, |pod| {
            pod["metadata"]["name"] = json!(name);
            let labels = &mut pod["metadata"]["labels"];
            labels[REVISION] = json!(revision);
            labels["statefulset.kubernetes.io/pod-name"] = json!(name);
            labels["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
            pod["spec"]["hostname"] = json!(name);
            pod["spec"]["subdomain"] = self.object["spec"]["serviceName"].clone();
            let volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default().into_iter();
            let is_claimed = |volume: &Value| claims.iter().any(|claim| claim["name"] == volume["name"]);
            let others: Vec<Value> = volumes.filter(|volume| !is_claimed(volume)).collect();
            pod["spec"]["volumes"] = others.into_iter().chain(claims).collect();
        });
    }

    /// Makes the claims of a pod that are missing, and returns the volumes that they are.
    fn claims(&self, store: &mut Store, pod: &str) -> Vec<Value> {
        let templates = self.object["spec"]["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
        let mut volumes = Vec::new();
        for template in templates {
            let volume = template["metadata"]["name"].as_str().unwrap_or_default();
            let name = format!("{volume}-{pod}");
            let mut claim = json!({ "metadata": template["metadata"], "spec": template["spec"] });
            claim["metadata"]["name"] = json!(name);
            for (label, value) in
                self.object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten()
            {
                claim["metadata"]["labels"][label] = value.clone();
            }
            let policy = &self.object["spec"]["persistentVolumeClaimRetentionPolicy"];
            if policy["whenDeleted"] == "Delete" {
                claim["metadata"]["ownerReferences"] = json!([pods::owner(&self.object)]);
            }
            // One that is there is taken again.
            let _ = store.make("PersistentVolumeClaim", self.text("namespace"), MANAGER, claim);
            volumes.push(json!({ "name": volume, "persistentVolumeClaim": { "claimName": name } }));
        }
        volumes
    }

    /// Ends pods that are too many, the last first. Returns whether rolling may begin.
    fn shrink(&self, store: &mut Store) -> bool {
        let wanted = self.ordinals();
        let surplus = self.pods.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal));
        for (_, pod) in surplus {
            pods::end(store, pod);
            if !self.is_parallel {
                return false;
            }
        }
        true
    }

    fn roll(&self, store: &mut Store) {
        if !self.is_rolling {
            return;
        }
        for ordinal in self.ordinals().rev().take_while(|ordinal| *ordinal >= self.first + self.partition) {
            let Some(pod) = self.pods.get(&ordinal) else { return };
            if pod["metadata"]["labels"][REVISION] != self.update.as_str() && !is_going(pod) {
                pods::end(store, pod);
                return;
            }
            if !is_healthy(pod) {
                return;
            }
        }
    }

    /// Claims of pods that were too many, where the set does not keep them.
    fn retire_claims(&self, store: &mut Store) {
        if self.object["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] != "Delete" {
            return;
        }
        for claim in store.all("PersistentVolumeClaim") {
            let name = claim["metadata"]["name"].as_str().unwrap_or_default();
            let templates = self.object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
            let ordinal = templates.into_iter().find_map(|template| {
                let prefix = format!("{}-{}-", template["metadata"]["name"].as_str()?, self.text("name"));
                name.strip_prefix(&prefix)?.parse::<u64>().ok()
            });
            let is_of_set = claim["metadata"]["namespace"] == self.text("namespace");
            let is_surplus = ordinal.is_some_and(|ordinal| {
                !self.ordinals().contains(&ordinal) && !self.pods.contains_key(&ordinal)
            });
            if is_of_set && is_surplus && !is_going(&claim) {
                let key = key_of(store.kinds.built_in("PersistentVolumeClaim"), &claim);
                delete(store, &key);
            }
        }
    }

    fn tell(&self, store: &mut Store) {
        let count = |is: &dyn Fn(&Value) -> bool| self.pods.values().filter(|pod| is(pod)).count();
        let has =
            |revision: &str| count(&|pod| pod["metadata"]["labels"][REVISION] == revision && !is_going(pod));
        let updated = has(&self.update);
        let ready = count(&|pod| is_ready(pod));
        let all = usize::try_from(self.replicas).unwrap_or(usize::MAX);
        // With OnDelete the real controller never counts an update as complete.
        let is_complete = self.is_rolling && updated == all && ready == all;
        let current = if is_complete { &self.update } else { &self.current };
        let status = json!({
            "observedGeneration": self.object["metadata"]["generation"], "replicas": self.pods.len(),
            "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": has(current),
            "updatedReplicas": updated, "currentRevision": current, "updateRevision": self.update,
            "collisionCount": 0,
        });
        set_status(store, "StatefulSet", &self.object, status);
    }
}
