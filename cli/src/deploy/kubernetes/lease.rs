//! The lease by which one command at a time changes a fleet, whichever machine it runs on.
//!
//! Whoever holds it renews it; one that has not changed for as long as it says is free, by the clock of whoever looks.
//! The holder is a user on a machine: of his own commands a lock on that machine keeps the second one away.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    cluster::{Cluster, LEASES},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const PERIOD: Duration = Duration::from_secs(4);
/// How often the lease of somebody who may be gone is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What the holder is at, for people.
const COMMAND: &str = "mq.messaging/command";

/// The right to change a fleet; it ends some seconds after this is dropped.
#[derive(Debug)]
pub struct Lease {
    renewal: AbortHandle,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Lease {
    /// Takes the lease of a fleet for `holder`, waiting for one that is about to run out. `None`: its namespace is not
    /// there, and so nothing that could be changed.
    ///
    /// # Errors
    ///
    /// A conflict, when somebody else renews it: the message says who, and what they are at.
    pub(super) async fn take(
        cluster: &Cluster,
        fleet: &str,
        holder: &str,
        command: &str,
    ) -> Outcome<Option<Self>> {
        let name = &Self::name(fleet);
        let held = match cluster.get(LEASES, name).await? {
            None => match cluster.create(LEASES, &lease(cluster, fleet, holder, command)).await {
                Ok(made) => made,
                Err(failure) if failure.exit == Exit::NotFound => return Ok(None),
                Err(failure) => return Err(failure),
            },
            Some(there) => {
                let mut there = free(cluster, name, holder, there).await?;
                let fresh = lease(cluster, fleet, holder, command);
                there["spec"] = fresh["spec"].clone();
                there["metadata"]["annotations"][COMMAND] = command.into();
                cluster.replace(LEASES, name, &there).await?
            }
        };
        let renewal = tokio::spawn(renew(cluster.clone(), name.to_owned(), held)).abort_handle();
        Ok(Some(Self { renewal }))
    }

    /// What the lease of a fleet is called.
    pub(super) fn name(fleet: &str) -> String {
        format!("{fleet}-deploy")
    }
}

/// The lease as it is once nobody else has it.
async fn free(cluster: &Cluster, name: &str, holder: &str, mut there: Value) -> Outcome<Value> {
    let since = Instant::now();
    let version = there["metadata"]["resourceVersion"].clone();
    loop {
        let by = there["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if by.is_empty() || by == holder || since.elapsed() > duration(&there) {
            return Ok(there);
        }
        tokio::time::sleep(LOOK).await;
        let Some(now) = cluster.get(LEASES, name).await? else {
            return Err(Failure::new(Exit::Conflict, "another command is removing the fleet"));
        };
        if now["metadata"]["resourceVersion"] != version {
            return Err(taken(&now));
        }
        there = now;
    }
}

/// Renews the lease until somebody else has it, or it is gone.
async fn renew(cluster: Cluster, name: String, mut held: Value) {
    loop {
        tokio::time::sleep(PERIOD).await;
        held["spec"]["renewTime"] = now().into();
        match cluster.replace(LEASES, &name, &held).await {
            Ok(renewed) => held = renewed,
            Err(failure) if matches!(failure.exit, Exit::Conflict | Exit::NotFound) => return,
            // The cluster may be back before the lease has run out.
            Err(_) => {}
        }
    }
}

fn lease(cluster: &Cluster, fleet: &str, holder: &str, command: &str) -> Value {
    let now = now();
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": Lease::name(fleet),
            "namespace": cluster.namespace(),
            "labels": {
                "app.kubernetes.io/name": "mq",
                "app.kubernetes.io/instance": fleet,
                "app.kubernetes.io/managed-by": "mq",
            },
            "annotations": { COMMAND: command },
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": now,
            "renewTime": now,
        },
    })
}

/// The cluster takes microseconds, and nothing finer.
fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// How long a lease holds, as whoever wrote it says; in bounds, whoever that was.
fn duration(lease: &Value) -> Duration {
    let seconds = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs());
    Duration::from_secs(seconds.clamp(1, 60))
}

fn taken(lease: &Value) -> Failure {
    let by = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let command = lease["metadata"]["annotations"][COMMAND].as_str().unwrap_or("a command");
    Failure::new(Exit::Conflict, format!("another command is changing the fleet: `{command}` of {by}"))
        .help("wait until it has ended, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_kept_away_is_told_by_whom_and_for_what() {
        let lease = json!({
            "metadata": { "annotations": { COMMAND: "mq scale 5" } },
            "spec": { "holderIdentity": "ana@laptop", "leaseDurationSeconds": 1_000_000 },
        });
        let failure = taken(&lease);
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.message, "another command is changing the fleet: `mq scale 5` of ana@laptop");
        assert_eq!(duration(&lease), Duration::from_secs(60));
        assert!(PERIOD * 3 < DURATION);
    }
}
