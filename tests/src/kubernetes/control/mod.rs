//! The controllers: a thread that looks at the whole cluster whenever something has changed, and does one step
//! of what is missing. Each looks at what there is, and keeps no state of its own.

mod deployment;
pub(super) mod endpoints;
mod garbage;
mod placement;
mod pods;
mod stateful;
mod system;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::Api;
use super::kubelet::Kubelet;
use super::relay::Relays;
use super::store::{Store, now};

/// How long the controllers wait for a change; probes and processes are looked at as often.
const TICK: Duration = Duration::from_millis(20);

/// Starts the controllers; they end when they are told so.
pub(super) fn start(
    api: Arc<Api>,
    mut node: Option<(Kubelet, Relays)>,
    is_ending: Arc<AtomicBool>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        while !is_ending.load(Ordering::Acquire) {
            let revision = api.with(|store| {
                let before = store.revision();
                step(store);
                if let Some((kubelet, relays)) = &mut node {
                    kubelet.step(store, Instant::now());
                    relays.step(store);
                }
                // Once more when there was something to do.
                if store.revision() == before { before } else { 0 }
            });
            if revision != 0 {
                api.wait(revision, TICK);
            }
        }
    })
}

fn step(store: &mut Store) {
    system::namespaces(store);
    system::definitions(store);
    placement::volumes(store);
    stateful::reconcile(store);
    deployment::reconcile(store);
    placement::schedule(store);
    endpoints::reconcile(store);
    system::budgets(store);
    garbage::collect(store);
}

/// Says something about an object, once.
pub(super) fn event(store: &mut Store, about: &Value, kind: &str, reason: &str, message: &str) {
    let metadata = &about["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let namespace = if text("namespace").is_empty() { "default" } else { text("namespace") };
    let hash = pods::hash(&json!([metadata["uid"], reason, message]));
    let name = format!("{}.{hash}", text("name"));
    if store.find("Event", namespace, &name).is_some() {
        return;
    }
    let event = json!({
        "metadata": { "name": name }, "type": kind, "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now(), "lastTimestamp": now(), "source": { "component": "tests" },
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"], "namespace": metadata["namespace"],
            "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        },
    });
    // Nobody waits for it, and in a namespace that ends there is none.
    let _ = store.make("Event", namespace, "tests", event);
}
