//! The running node as its control side sees it: who it is, how it is, and what it counts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use mq_model::admin::{self, NodeState, Protocol, Runtime, Statistics};
use mq_model::config::DaemonConfig;
use mq_model::manifest::AddressType;

use crate::connectors::Connectors;
use crate::drain::Orders;
use crate::hub::{Hub, ShardStatistics};
use crate::listen::{Bound, Gate, Refusals};
use crate::log::LogControl;
use crate::mesh::{Identity, Requests};
use crate::objects::Catalogue;
use crate::owner::Owner;
use crate::process::Usage;
use crate::statistics::{Rates, sum};
use crate::store::{Phase, StoreView};
use crate::tls::Certificates;

/// What the admin API, the metrics and the life cycle share.
pub(crate) struct Node {
    pub(crate) config: DaemonConfig,
    pub(crate) hub: Hub,
    pub(crate) catalogue: Catalogue,
    /// Connections that it opens to other brokers.
    pub(crate) connectors: Connectors,
    pub(crate) log: LogControl,
    /// Counts what the gate and the listeners turn away.
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) gate: Gate,
    pub(crate) listeners: Vec<admin::Listener>,
    /// Where the admin API is bound.
    pub(crate) admin_host: IpAddr,
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
    /// What the node shows to clients that speak TLS; `None`: none does.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// What it shows to other nodes; `None`: it is alone.
    pub(crate) mesh_identity: Option<Identity>,
    pub(crate) is_draining: AtomicBool,
    pub(crate) rates: Mutex<Rates>,
    /// What it has been told of its future.
    pub(crate) orders: Orders,
    /// With what whoever owns it gets in.
    pub(crate) owner: Owner,
    /// Requests to other nodes; `None`: the node is alone.
    pub(crate) requests: Option<Requests>,
}

impl Node {
    /// The node as the admin API describes it.
    pub(crate) fn describe(&self) -> admin::Node {
        let usage = Usage::now();
        admin::Node {
            name: self.config.node.clone(),
            fleet: self.config.fleet.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: if self.is_draining() { NodeState::Draining } else { NodeState::Running },
            at: Some(Timestamp::now()),
            started_at: self.started_at,
            uptime_seconds: self.started.elapsed().as_secs(),
            workers: u32::try_from(self.hub.workers()).unwrap_or(u32::MAX),
            listeners: self.listeners.clone(),
            config_hash: self.config.hash(),
            resident_bytes: usage.resident_bytes.unwrap_or_default(),
            cpu_seconds: usage.cpu.as_secs_f64(),
            certificate: self.certificates.as_deref().map(Certificates::view),
            mesh_certificate: self.mesh_identity.as_ref().map(Identity::view),
            store: self.hub.store().map(StoreView::status),
        }
    }

    /// What `node.json` says.
    pub(crate) fn runtime(&self) -> Runtime {
        Runtime {
            node: self.config.node.clone(),
            fleet: self.config.fleet.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: self.config.hash(),
            listeners: self.listeners.clone(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// How many stored addresses each node is the home of.
    pub(crate) fn homes(&self) -> BTreeMap<Arc<str>, u64> {
        let mut homes = BTreeMap::new();
        let own: Arc<str> = self.config.node.as_str().into();
        for (_, object) in self.catalogue.addresses() {
            if object.spec.kind.is_stored() && object.spec.kind != AddressType::Subscription {
                let home = object.home.clone().unwrap_or_else(|| own.clone());
                *homes.entry(home).or_default() += 1;
            }
        }
        homes
    }

    /// Whether every shard of the node lives.
    pub(crate) fn is_whole(&self) -> bool {
        (0..self.hub.workers()).all(|shard| self.hub.is_alive(shard))
    }

    /// Whether what was stored is there.
    ///
    /// # Errors
    ///
    /// How far it is.
    pub(crate) fn recovery(&self) -> Result<(), String> {
        let Some(store) = self.hub.store() else { return Ok(()) };
        match store.phase() {
            Phase::Serving if !store.is_alive() => {
                Err("the thread of the message log has ended; see the log and restart the node".into())
            }
            Phase::Serving => Ok(()),
            Phase::Recovering => {
                Err(format!("the node reads its message log: {} messages so far", store.messages_read()))
            }
            Phase::Unreadable(reason) => Err(reason.to_string()),
        }
    }

    /// Whether clients should be sent here. A node whose log takes no more messages goes on serving
    /// direct addresses and what it has stored, so they should: the status of the node says the rest.
    ///
    /// # Errors
    ///
    /// The reason why they should not.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if self.is_draining() {
            return Err("the node is stopping".into());
        }
        self.recovery()?;
        match (0..self.hub.workers()).find(|shard| !self.hub.is_alive(*shard)) {
            Some(shard) => Err(format!("worker {shard} has ended; see the log and restart the node")),
            None => Ok(()),
        }
    }

    /// The node's counters and rates, from the counters of its shards.
    pub(crate) fn total(&self, now: Instant, shards: &[ShardStatistics]) -> Statistics {
        let mut total = sum(shards);
        total.addresses = self.catalogue.len() as u64;
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).rate(now, &mut total);
        total
    }

    /// Remembers the counters of this moment, for the rates.
    pub(crate) fn record(&self, now: Instant, shards: &[ShardStatistics]) {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).record(now, &sum(shards));
    }
}

/// How the admin API shows a bound listener.
pub(crate) fn listener(bound: &Bound, protocol: Protocol) -> admin::Listener {
    admin::Listener {
        name: bound.name.to_owned(),
        protocol,
        host: bound.address.ip().to_string(),
        port: bound.address.port(),
        tls: bound.tls,
    }
}
