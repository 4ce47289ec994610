//! How objects end: graceful deletion of pods, finalizers, deletion of collections, and eviction within the
//! bounds of disruption budgets.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::{Answer, Refusal};
use super::selector::Labels;
use super::store::{Key, Store, is_done, now};

/// What the body or the query of a deletion says.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletion {
    pub(super) propagation: Option<String>,
    /// Seconds that a pod gets.
    pub(super) grace: Option<u64>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) is_dry: bool,
}

impl Deletion {
    pub(super) fn parse(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            propagation: text(&body["propagationPolicy"]),
            grace: body["gracePeriodSeconds"].as_u64(),
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
            is_dry: body["dryRun"].as_array().is_some_and(|list| !list.is_empty()),
        }
    }
}

impl Store {
    /// Deletes an object, or begins to. Returns a `Status` when it is gone, otherwise the object.
    pub(super) fn delete(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        how: &Deletion,
    ) -> Answer<Value> {
        let key = Key::new(kind, namespace, name);
        let live = self.get(&key).cloned().ok_or_else(|| Refusal::not_found(kind, name))?;
        for (field, expected) in [("uid", &how.uid), ("resourceVersion", &how.resource_version)] {
            if expected.as_ref().is_some_and(|expected| live["metadata"][field] != expected.as_str()) {
                let why = format!("Precondition failed: {field} in precondition does not match");
                return Err(Refusal::conflict(kind, name, &why));
            }
        }
        let success = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": name, "group": kind.group, "kind": kind.plural, "uid": live["metadata"]["uid"],
            },
        });
        if how.is_dry {
            return Ok(success);
        }
        let mut next = Value::clone(&live);
        let finalizer = match how.propagation.as_deref() {
            Some("Foreground") => Some("foregroundDeletion"),
            Some("Orphan") => Some("orphan"),
            _ => None,
        };
        let is_definition = kind.kind == "CustomResourceDefinition" && kind.custom.is_none();
        let cleanup = is_definition.then_some("customresourcecleanup.apiextensions.k8s.io");
        for finalizer in finalizer.into_iter().chain(cleanup) {
            add_finalizer(&mut next, finalizer);
        }
        mark(kind, &mut next, how.grace);
        if is_done(&next) {
            self.remove(&key, next);
            return Ok(success);
        }
        if kind.kind == "Namespace" && kind.custom.is_none() {
            next["status"]["phase"] = json!("Terminating");
        }
        if next != *live {
            next = self.put(key, next);
        }
        Ok(next)
    }

    /// Deletes a pod unless a disruption budget keeps it.
    pub(super) fn evict(&mut self, namespace: &str, name: &str, how: &Deletion) -> Answer<Value> {
        let kind = self.kinds.built_in("Pod").clone();
        let pod = self.find("Pod", namespace, name).ok_or_else(|| Refusal::not_found(&kind, name))?.clone();
        let is_waiting =
            pod["status"]["phase"] == "Pending" || pod["metadata"]["deletionTimestamp"].is_string();
        let budgets = self.all("PodDisruptionBudget").into_iter().filter(|budget| {
            let selector = Labels::of_object(&budget["spec"]["selector"]);
            budget["metadata"]["namespace"] == namespace
                && selector.is_some_and(|selector| selector.matches(&pod))
        });
        let budgets: Vec<Arc<Value>> = budgets.collect();
        if budgets.len() > 1 {
            return Err(Refusal::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        if let (Some(budget), false) = (budgets.first(), is_waiting) {
            let state = self.budget(budget);
            let is_allowed =
                if is_ready(&pod) { state.allowed() > 0 } else { state.healthy >= state.desired };
            if !is_allowed {
                return Err(Refusal::disruption_budget(
                    budget["metadata"]["name"].as_str().unwrap_or_default(),
                ));
            }
        }
        self.delete(&kind, namespace, name, how)?;
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
    }

    /// What a disruption budget comes to now.
    pub(super) fn budget(&self, budget: &Value) -> Budget {
        let namespace = budget["metadata"]["namespace"].as_str().unwrap_or_default();
        let selector = Labels::of_object(&budget["spec"]["selector"]);
        let pods: Vec<Arc<Value>> = self
            .list("pods", Some(namespace))
            .filter(|(_, pod)| selector.as_ref().is_some_and(|selector| selector.matches(pod)))
            .map(|(_, pod)| pod.clone())
            .collect();
        let count = |pods: usize| u64::try_from(pods).unwrap_or(u64::MAX);
        let is_going = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
        let healthy = count(pods.iter().filter(|pod| is_ready(pod) && !is_going(pod)).count());
        let expected = self.expected(namespace, &pods);
        let spec = &budget["spec"];
        let desired = match (spec.get("minAvailable"), spec.get("maxUnavailable")) {
            (Some(least), _) => scaled(least, expected, true),
            (None, Some(most)) => expected.saturating_sub(scaled(most, expected, true)),
            (None, None) => 1,
        };
        Budget { expected, healthy, desired }
    }

    /// How many pods there should be, by those who made them.
    fn expected(&self, namespace: &str, pods: &[Arc<Value>]) -> u64 {
        let mut owners: Vec<(String, u64)> = Vec::new();
        let mut alone = 0;
        for pod in pods {
            let references = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let owner = references.into_iter().find(|owner| owner["controller"] == true).and_then(|owner| {
                let (kind, name) = (owner["kind"].as_str()?, owner["name"].as_str()?);
                let kind = self.kinds.of_type(owner["apiVersion"].as_str()?, kind)?;
                let object = self.get(&Key::new(kind, namespace, name))?;
                Some((owner["uid"].to_string(), object["spec"]["replicas"].as_u64().unwrap_or(1)))
            });
            match owner {
                Some(owner) if !owners.contains(&owner) => owners.push(owner),
                Some(_) => {}
                None => alone += 1,
            }
        }
        alone + owners.iter().map(|(_, replicas)| replicas).sum::<u64>()
    }
}

/// How many pods of a budget there are and have to be.
pub(super) struct Budget {
    pub(super) expected: u64,
    pub(super) healthy: u64,
    pub(super) desired: u64,
}

impl Budget {
    pub(super) fn allowed(&self) -> u64 {
        self.healthy.saturating_sub(self.desired)
    }
}

/// A number, or a share of another.
pub(super) fn scaled(value: &Value, of: u64, rounds_up: bool) -> u64 {
    if let Some(number) = value.as_u64() {
        return number;
    }
    let share = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok()).unwrap_or(0);
    if rounds_up { (of * share).div_ceil(100) } else { of * share / 100 }
}

pub(super) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == Some("True")
}

/// The status of a condition.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|one| one == finalizer)
    {
        list.push(json!(finalizer));
    }
}

/// Marks an object as one that is to go. A pod on a node has some time to end, which a later deletion can
/// shorten.
fn mark(kind: &Kind, object: &mut Value, grace: Option<u64>) {
    let is_pod = kind.kind == "Pod" && kind.custom.is_none();
    let is_running = is_pod
        && object["spec"]["nodeName"].is_string()
        && object["status"]["phase"] != "Succeeded"
        && object["status"]["phase"] != "Failed";
    let own = object["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let grace = if is_running { grace.unwrap_or(own) } else { 0 };
    let before = object["metadata"]["deletionGracePeriodSeconds"].as_u64();
    if object["metadata"]["deletionTimestamp"].is_string() && before.is_some_and(|before| before <= grace) {
        return;
    }
    let seconds = i64::try_from(grace).unwrap_or(i64::MAX);
    let end = Timestamp::now().checked_add(seconds.seconds()).ok();
    let end = end.map_or_else(now, |end| end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    object["metadata"]["deletionTimestamp"] = json!(end);
    object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    if kind.has_generation() {
        let generation = object["metadata"]["generation"].as_u64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
    }
}
