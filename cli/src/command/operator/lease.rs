//! The lease by which one of several processes is the one that works (`coordination.k8s.io/v1`).
//!
//! Clocks of different machines are not compared: a lease has run out when it has not changed for as long as it says, by
//! the clock of whoever looks. Its holder stops working a while before others may believe that.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, LEASES},
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
};

/// How long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How long its holder works on without having renewed it.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(3);

/// The lease of one operator.
pub(super) struct Lease {
    cluster: Cluster,
    name: String,
    /// Who this process is.
    identity: String,
    /// The lease as this process has written it last.
    held: Option<Value>,
}

/// A lease of somebody else, and since when it looks like that.
struct Seen {
    version: Value,
    since: Instant,
}

impl Lease {
    pub(super) fn new(cluster: Cluster, name: &str, identity: &str) -> Self {
        Self { cluster, name: name.to_owned(), identity: identity.to_owned(), held: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until this process holds the lease.
    pub(super) async fn acquire(&mut self, output: &Output) {
        let mut seen = None;
        loop {
            match self.try_acquire(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {}
                // Somebody else was faster.
                Err(failure) if failure.exit == Exit::Conflict => {}
                Err(failure) => output.warn(&failure.to_string()),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn try_acquire(&mut self, seen: &mut Option<Seen>) -> Outcome<bool> {
        let Some(there) = self.cluster.get(LEASES, &self.name).await? else {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": { "name": self.name },
                "spec": self.spec(0, None),
            });
            self.held = Some(self.cluster.create(LEASES, &lease).await?);
            return Ok(true);
        };
        let holder = there["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let version = there["metadata"]["resourceVersion"].clone();
        let since = match seen {
            Some(known) if known.version == version => known.since,
            _ => {
                let since = Instant::now();
                *seen = Some(Seen { version, since });
                since
            }
        };
        if !may_take(holder, &self.identity, since.elapsed(), duration(&there)) {
            return Ok(false);
        }
        let transitions = there["spec"]["leaseTransitions"].as_u64().unwrap_or(0) + 1;
        let spec = self.spec(transitions, None);
        self.write(there, spec).await?;
        Ok(true)
    }

    /// Renews the lease until it is lost: somebody else has it, or nobody can be asked for too long.
    pub(super) async fn keep(&mut self) -> Outcome {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(PERIOD).await;
            let left = GIVE_UP.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.renew()).await {
                Ok(Ok(())) => renewed = Instant::now(),
                Ok(Err(failure)) if failure.exit == Exit::Conflict => return Err(failure),
                Ok(Err(failure)) if renewed.elapsed() >= GIVE_UP => return Err(failure),
                Ok(Err(_)) => {}
                Err(_) => return Err(Failure::new(Exit::TimedOut, "the lease cannot be renewed")),
            }
        }
    }

    async fn renew(&mut self) -> Outcome {
        let there = self.held.clone().ok_or_else(|| Failure::failed("there is no lease to renew"))?;
        let transitions = there["spec"]["leaseTransitions"].as_u64().unwrap_or(0);
        let acquired = there["spec"]["acquireTime"].as_str().map(str::to_owned);
        let spec = self.spec(transitions, acquired);
        self.write(there, spec).await
    }

    /// Gives the lease up, if this process holds it.
    pub(super) async fn release(&mut self) {
        let Some(mut lease) = self.held.take() else { return };
        lease["spec"]["holderIdentity"] = "".into();
        // Who cannot say so lets it run out.
        let _ = tokio::time::timeout(PERIOD, self.cluster.replace(LEASES, &self.name, &lease)).await;
    }

    async fn write(&mut self, mut lease: Value, spec: Value) -> Outcome {
        lease["spec"] = spec;
        self.held = Some(self.cluster.replace(LEASES, &self.name, &lease).await?);
        Ok(())
    }

    fn spec(&self, transitions: u64, acquired: Option<String>) -> Value {
        let now = format!("{:.6}", Timestamp::now());
        json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": acquired.unwrap_or_else(|| now.clone()),
            "renewTime": now,
            "leaseTransitions": transitions,
        })
    }
}

/// Whether a lease can be had: nobody has it, this process had it before it was started again, or it has run out.
fn may_take(holder: &str, identity: &str, unchanged: Duration, duration: Duration) -> bool {
    holder.is_empty() || holder == identity || unchanged > duration
}

/// How long a lease holds, as whoever wrote it says; in bounds, whoever that was.
fn duration(lease: &Value) -> Duration {
    let seconds = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs());
    Duration::from_secs(seconds.clamp(1, 600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_free_and_not_before() {
        let short = Duration::from_secs(1);
        assert!(may_take("", "me", short, DURATION));
        assert!(may_take("me", "me", short, DURATION));
        assert!(!may_take("other", "me", short, DURATION));
        assert!(!may_take("other", "me", DURATION, DURATION));
        assert!(may_take("other", "me", DURATION + short, DURATION));
    }

    #[test]
    fn a_holder_stops_before_others_may_begin() {
        assert!(GIVE_UP + PERIOD < DURATION);
        assert_eq!(
            duration(&json!({ "spec": { "leaseDurationSeconds": 1_000_000 } })),
            Duration::from_secs(600)
        );
    }
}
