//! The other nodes of the fleet.
//!
//! - [`neighbours`]: how connections come about: sockets, TLS ([`tls`]), greetings ([`handshake`]). On the
//!   control thread.
//! - [`control`]: which nodes there are and which way leads to each; the channels between control threads,
//!   for what parts of the node say to the same parts of others ([`service`]).
//! - [`shard`]: the connections and channels of a shard, and what its core says to other nodes.
//! - [`fabric`]: what all threads share.
//!
//! How frames, link state and channels work stands in the crate `mq-mesh`, which knows no socket and no
//! clock.

mod backoff;
mod control;
pub(crate) mod directory;
mod fabric;
mod handshake;
mod info;
mod link;
mod neighbours;
mod requests;
mod service;
mod sessions;
mod shard;
mod tls;
pub(crate) mod tunnel;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mq_model::admin::Listener;
use mq_model::config::{DaemonConfig, ListenerConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub(crate) use self::backoff::Backoff;
pub(crate) use self::fabric::{ControlMail, Fabric, MeshMail, Traffic, View};
pub(crate) use self::info::Info;
pub(crate) use self::requests::{OfNode, Question, Reply, Requests, Scope, Unanswered};
pub(crate) use self::service::{NodeEvent, Service, Tag};
pub(crate) use self::shard::{ShardMesh, serve_links};
pub(crate) use self::tls::Identity;
pub use self::tls::TlsError;
use crate::listen::{BindError, Bound, bind};
use crate::objects::write_atomically;

/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a node that starts waits for those that it is to connect to, before it takes clients.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it looks whether they are there.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// What a node of a fleet needs before it starts.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) identity: Identity,
    pub(crate) bound: Bound,
}

/// Why a node cannot belong to its fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Prepared {
    /// Reads the certificates and binds the listener; `None` for a node that is alone.
    ///
    /// # Errors
    /// See [`MeshError`].
    pub(crate) fn new(config: &DaemonConfig) -> Result<Option<Self>, MeshError> {
        let Some(mesh) = &config.mesh else { return Ok(None) };
        let identity = Identity::load(&mesh.tls.below(&config.state_dir), &config.node, &config.fleet)?;
        let listener =
            ListenerConfig { host: mesh.listen.host.clone(), ..ListenerConfig::loopback(mesh.listen.port) };
        Ok(Some(Self { identity, bound: bind("mesh", &listener)? }))
    }
}

/// The number of this life of the node: the time, and larger than that of every life before, whatever became
/// of the clock.
///
/// # Errors
/// When the state directory cannot be read or written.
pub(crate) fn next_incarnation(state: &Path, unix_millis: u64) -> io::Result<u64> {
    let path = state.join("incarnation");
    let last = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0_u64,
        Err(error) => return Err(error),
    };
    let next = unix_millis.max(last.saturating_add(1));
    write_atomically(&path, format!("{next}\n").as_bytes())?;
    Ok(next)
}

/// The mesh of a running node. Dropped, it ends without a word, as if the process had.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: JoinSet<()>,
    leave: Option<oneshot::Sender<oneshot::Sender<()>>>,
    fabric: Arc<Fabric>,
    /// How many nodes the configuration names.
    targets: usize,
}

impl Running {
    /// Begins to accept other nodes, and to connect to those that the configuration names. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch the socket.
    pub(crate) fn start(
        config: &DaemonConfig,
        prepared: Prepared,
        fabric: Arc<Fabric>,
        services: Vec<Service>,
        listeners: &[Listener],
    ) -> io::Result<Self> {
        let mut tasks = JoinSet::new();
        let Some(mesh) = &config.mesh else { return Ok(Self { tasks, leave: None, fabric, targets: 0 }) };
        let Prepared { identity, bound } = prepared;
        let reception = neighbours::Reception {
            identity,
            cost: mesh.cost,
            connections: neighbours::connections(mesh.connections, mesh.connect.len()),
            turns: neighbours::turns(),
            control: fabric.control(),
            fabric: fabric.clone(),
        };
        let info = Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listeners: listeners.to_vec(),
            ..Info::default()
        };
        let (leave, left) = oneshot::channel();
        if let Some(control) = control::Control::new(fabric.clone(), services, info) {
            tasks.spawn(control.run(left));
        }
        tasks.spawn(neighbours::listen(reception.clone(), TcpListener::from_std(bound.listener)?));
        for target in &mesh.connect {
            tasks.spawn(neighbours::dial(reception.clone(), target.clone()));
        }
        Ok(Self { tasks, leave: Some(leave), fabric, targets: mesh.connect.len() })
    }

    /// Waits until the nodes are there that the configuration names, or a second has passed: some may be down.
    pub(crate) async fn joined(&self) {
        let are_there = async {
            while self.fabric.view().nodes.len() < self.targets {
                tokio::time::sleep(JOIN_POLL).await;
            }
        };
        let _ = tokio::time::timeout(JOIN_TIMEOUT, are_there).await;
    }

    /// Says to every node that this one goes, and closes the connections.
    pub(crate) async fn leave(mut self) {
        if let Some(leave) = self.leave.take() {
            let (reply, done) = oneshot::channel();
            if leave.send(reply).is_ok() {
                let _ = tokio::time::timeout(LEAVE_TIMEOUT, done).await;
            }
        }
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_life_of_a_node_has_a_larger_number_even_when_the_clock_goes_back() {
        let state = tempfile::tempdir().unwrap();
        let next = |now| next_incarnation(state.path(), now).unwrap();
        assert_eq!(
            [next(1_000), next(2_000), next(500), next(500), next(3_000)],
            [1_000, 2_000, 2_001, 2_002, 3_000]
        );
    }
}
