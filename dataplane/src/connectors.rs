//! Connectors: which of them this node has, and how they are.
//!
//! Every node knows all connectors, which are objects like users, and each goes by the same rule which node has which:
//! of the nodes in reach that are not to be emptied the one that a hash of both names prefers. So a node that comes
//! or goes moves few of them. While halves of a fleet do not see each other both may have one: each carries what its
//! own half has. Whoever gets one waits a moment, for the other to let go.
//!
//! A task for each connector on the control thread connects and logs in ([`dial`]), and hands the connection to a
//! shard (`driver/outward.rs`), which says in [`Progress`] how it goes on.

mod dial;
mod progress;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mq_model::connector::{ConnectorSpec, ConnectorState, ConnectorStatus, RouteStatus};
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub(crate) use self::dial::{DialError, Dialled, dial};
pub(crate) use self::progress::{Progress, Told, Way};
use crate::drain::Order;
use crate::driver::{Outgoing, outward_config, random};
use crate::mesh::{Backoff, Info};
use crate::node::Node;
use crate::objects::affinity;
use crate::spaces::Space;
use crate::users::{Connector, UserTable};

/// How often it is looked which connectors this node has.
const LOOK: Duration = Duration::from_millis(500);

/// How often a connection is asked how it is.
const TEND: Duration = Duration::from_secs(1);

/// How long whoever gets a connector from another node waits before it connects.
const HANDOVER: Duration = Duration::from_secs(1);

/// How long one try may take, with TLS and log-in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an open may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits between tries: about the first, then twice as long each time up to the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Space and name of a connector.
type Key = (Arc<str>, Arc<str>);

/// The connectors that this node has. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connectors(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: Mutex<BTreeMap<Key, Running>>,
    /// Tries that have failed, and connections that were lost, since the start of the node.
    failures: AtomicU64,
}

/// A connector that this node has.
#[derive(Debug)]
struct Running {
    connector: Arc<Connector>,
    /// That its connections are for.
    space: Arc<Space>,
    standing: Arc<Mutex<Standing>>,
    task: JoinHandle<()>,
}

/// How a connector is.
#[derive(Debug, Default)]
struct Standing {
    state: ConnectorState,
    url: Option<String>,
    since: Option<Timestamp>,
    error: Option<String>,
    failures: u64,
    /// Of the connection that there is, with its shard.
    connection: Option<(usize, Arc<Progress>)>,
}

/// The connectors of a node in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) connected: u64,
    pub(crate) connecting: u64,
    /// Since the start of the node.
    pub(crate) failures: u64,
}

impl Standing {
    fn set(&mut self, state: ConnectorState) {
        if self.state != state || self.since.is_none() {
            (self.state, self.since) = (state, Some(Timestamp::now()));
        }
    }
}

impl Connectors {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a connector is that this node has; `None`: it has not got it.
    pub(crate) fn status(&self, space: &str, name: &str, node: &str) -> Option<ConnectorStatus> {
        let running = self.lock();
        let running = running.get(&(space.into(), name.into()))?;
        let standing = lock(&running.standing);
        let told = standing.connection.as_ref().map(|(_, progress)| progress.told()).unwrap_or_default();
        Some(ConnectorStatus {
            state: standing.state,
            node: Some(node.to_owned()),
            url: standing.url.clone(),
            since: standing.since,
            error: standing.error.clone(),
            failures: standing.failures,
            connection: told.connection.clone(),
            routes: routes(&running.connector.spec, &told),
            ..ConnectorStatus::default()
        })
    }

    /// How many of them have their connection, and how many have not.
    pub(crate) fn figures(&self) -> Figures {
        let failures = self.0.failures.load(Ordering::Relaxed);
        let mut figures = Figures { failures, ..Figures::default() };
        for running in self.lock().values() {
            match lock(&running.standing).state {
                ConnectorState::Connected => figures.connected += 1,
                ConnectorState::Connecting | ConnectorState::Paused => figures.connecting += 1,
            }
        }
        figures
    }
}

fn lock(standing: &Mutex<Standing>) -> MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The routes of a connector, and what its connection says of them.
fn routes(spec: &ConnectorSpec, told: &Told) -> Vec<RouteStatus> {
    let wanted = spec.routes().enumerate();
    let known = wanted.filter_map(|(index, (direction, route))| {
        let said = told.routes.get(index)?;
        Some(RouteStatus {
            direction,
            from: route.from.clone(),
            to: route.to.clone(),
            attached: said.messages.is_some(),
            messages: said.messages.unwrap_or_default(),
            error: said.error.clone(),
        })
    });
    known.collect()
}

/// Has the connectors that are this node's connected, and no others. Never ends; what it has begun ends when it is
/// dropped, but for the connections, which end with the shards.
pub(crate) async fn run(node: Arc<Node>) {
    let mut users = node.catalogue.users();
    let mut looks = tokio::time::interval(LOOK);
    let mut is_first = true;
    let ended = Ended(node.connectors.clone());
    loop {
        let table = users.borrow_and_update().clone();
        let wanted = wanted(&node, &table);
        let left: BTreeMap<Key, Running> = {
            let mut running = node.connectors.lock();
            let is_left = |(key, running): &(Key, Running)| {
                !wanted.get(key).is_some_and(|(space, connector)| {
                    Arc::ptr_eq(space, &running.space) && Arc::ptr_eq(connector, &running.connector)
                        || is_same(connector, &running.connector)
                            && space.is_enabled() == running.space.is_enabled()
                })
            };
            let (left, kept) = std::mem::take(&mut *running).into_iter().partition(is_left);
            *running = kept;
            left
        };
        for running in left.values() {
            running.stop(&node);
        }
        for (key, (space, connector)) in wanted {
            if node.connectors.lock().contains_key(&key) {
                continue;
            }
            // Its predecessor was here, or nobody had any before.
            let is_at_once = is_first || left.contains_key(&key) || !has_others(&node);
            let wait = if is_at_once { Duration::ZERO } else { HANDOVER };
            let standing = Arc::new(Mutex::new(Standing::default()));
            lock(&standing).set(ConnectorState::Connecting);
            let serving = serve(node.clone(), space.clone(), connector.clone(), standing.clone(), wait);
            let task = tokio::spawn(serving);
            node.connectors.lock().insert(key, Running { connector, space, standing, task });
        }
        is_first = false;
        tokio::select! {
            _ = looks.tick() => {}
            changed = users.changed() => if changed.is_err() { break },
        }
    }
    drop(ended);
}

/// Ends the tasks of all connectors when it goes.
struct Ended(Connectors);

impl Drop for Ended {
    fn drop(&mut self) {
        for running in self.0.lock().values() {
            running.task.abort();
        }
    }
}

/// Whether nothing has changed that a connection would notice.
fn is_same(one: &Connector, other: &Connector) -> bool {
    one.spec == other.spec
        && one.password.expose() == other.password.expose()
        && one.key.expose() == other.key.expose()
}

fn has_others(node: &Node) -> bool {
    node.hub.mesh().is_some_and(|mesh| !mesh.view().nodes.is_empty())
}

/// The connectors that this node is to have.
fn wanted(node: &Node, table: &UserTable) -> BTreeMap<Key, (Arc<Space>, Arc<Connector>)> {
    let candidates = candidates(node);
    let here = &node.config.node;
    let all = table.all_connectors();
    let open = all.filter(|(space, connector)| space.is_enabled() && !connector.spec.paused);
    let own = open.filter(|(space, connector)| {
        let name = format!("{}/{}", space.name(), connector.name);
        owner(&candidates, &name).is_none_or(|owner| owner == here)
    });
    own.map(|(space, connector)| {
        ((space.name().clone(), connector.name.clone()), (space.clone(), connector.clone()))
    })
    .collect()
}

/// The nodes that connectors are shared out among: those in reach that are not to be emptied, or else all in reach.
fn candidates(node: &Node) -> Vec<String> {
    let view = node.hub.mesh().map(|mesh| mesh.view());
    let others = view.iter().flat_map(|view| view.nodes.values());
    let others = others.map(|other| (other.name.to_string(), Info::decode(&other.info).is_cordoned()));
    let is_cordoned = node.orders.order() != Order::Serve || node.is_draining.load(Ordering::Relaxed);
    let all: Vec<(String, bool)> = others.chain([(node.config.node.clone(), is_cordoned)]).collect();
    let free: Vec<String> =
        all.iter().filter(|(_, is_cordoned)| !is_cordoned).map(|(name, _)| name.clone()).collect();
    if free.is_empty() { all.into_iter().map(|(name, _)| name).collect() } else { free }
}

/// The node that has a connector.
fn owner<'n>(candidates: &'n [String], connector: &str) -> Option<&'n String> {
    candidates.iter().max_by_key(|node| (affinity(connector, node), *node))
}

impl Running {
    /// Ends the task, and the connection behind it.
    fn stop(&self, node: &Node) {
        self.task.abort();
        if let Some((shard, progress)) = lock(&self.standing).connection.take()
            && let Some(connection) = progress.dismiss()
        {
            node.hub.end_outward(shard, connection);
        }
    }
}

/// Keeps a connector connected.
async fn serve(
    node: Arc<Node>,
    space: Arc<Space>,
    connector: Arc<Connector>,
    standing: Arc<Mutex<Standing>>,
    wait: Duration,
) {
    tokio::time::sleep(wait).await;
    let mut backoff = Backoff::new(FIRST, LONGEST);
    let (space_name, name) = (space.name().clone(), connector.name.clone());
    let container: Arc<str> = container(&node.config.fleet, &space_name, &name).into();
    let workers = node.hub.workers().max(1);
    let shard = usize::try_from(affinity(&container, "")).unwrap_or(0) % workers;
    for url in connector.spec.urls.iter().cycle() {
        lock(&standing).url = Some(url.clone());
        let reached = try_once(&node, &space, &connector, &standing, (url, &container, shard)).await;
        let (was_open, error) = match reached {
            Ok(error) => (true, error),
            Err(error) => (false, error),
        };
        let failures = {
            let mut standing = lock(&standing);
            standing.connection = None;
            standing.set(ConnectorState::Connecting);
            standing.failures = if was_open { 1 } else { standing.failures.saturating_add(1) };
            standing.error = Some(error.clone());
            standing.failures
        };
        node.connectors.0.failures.fetch_add(1, Ordering::Relaxed);
        if was_open {
            backoff.reset();
        }
        if failures == 1 {
            warn!(connector = %name, space = %space_name, url, error, "no connection; trying on");
        }
        let wait = backoff.next(u64::from_le_bytes(random()));
        tokio::time::sleep(wait).await;
    }
}

/// What a connector is called by those that it connects to: the same on whatever node it is.
fn container(fleet: &str, space: &str, name: &str) -> String {
    format!("mq/{fleet}/{space}/{name}")
}

/// Connects, and waits for the end of the connection: why it has ended.
///
/// # Errors
/// Why it has never been open.
async fn try_once(
    node: &Node,
    space: &Arc<Space>,
    connector: &Connector,
    standing: &Mutex<Standing>,
    (url, container, shard): (&str, &Arc<str>, usize),
) -> Result<String, String> {
    let parsed = url.parse().map_err(|error: String| error)?;
    let config = |host: &str| outward_config(&node.config, container, host);
    let dialled = tokio::time::timeout(DIAL_TIMEOUT, dial(&parsed, connector, config)).await;
    let dialled = dialled.map_err(|_| DialError::Late.to_string())?.map_err(|error| error.to_string())?;
    let Dialled { stream, peer, tls, engine, read } = dialled;
    let progress = Arc::new(Progress::new(connector.name.clone()));
    let ways = Way::all(&connector.spec, container);
    lock(standing).connection = Some((shard, progress.clone()));
    let (space, told) = (space.clone(), progress.clone());
    let outgoing = Outgoing { stream, tls, peer, engine, read, space, ways, progress };
    if !node.hub.connect(shard, Box::new(outgoing)) {
        return Err("the worker that was to serve the connection has ended; restart the node".into());
    }
    let opened = tokio::time::timeout(OPEN_TIMEOUT, told.opened()).await;
    let state = told.told();
    if opened.is_err() {
        if let Some(connection) = told.dismiss() {
            node.hub.end_outward(shard, connection);
        }
        return Err("the server does not answer the open".into());
    }
    if !state.is_open {
        return Err(state.error.unwrap_or_else(|| ENDED.to_owned()));
    }
    {
        let mut standing = lock(standing);
        standing.set(ConnectorState::Connected);
        (standing.error, standing.failures) = (None, 0);
    }
    info!(connector = %connector.name, url, "connected");
    loop {
        if let Some(connection) = told.told().connection {
            node.hub.tend_outward(shard, connection);
        }
        if tokio::time::timeout(TEND, told.ended()).await.is_ok() {
            return Ok(told.told().error.unwrap_or_else(|| ENDED.to_owned()));
        }
    }
}

/// Why a connection has ended of which nothing else is known.
const ENDED: &str = "the server has ended the connection";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("node-{number}")).collect()
    }

    #[test]
    fn connectors_are_shared_out_evenly_and_every_node_agrees() {
        let (nodes, mut turned) = (names(3), names(3));
        turned.reverse();
        let mut counts = BTreeMap::new();
        for number in 0..3_000 {
            let connector = format!("acme/bridge-{number}");
            let owner = owner(&nodes, &connector).expect("a node");
            assert_eq!(Some(owner), super::owner(&turned, &connector));
            *counts.entry(owner).or_insert(0) += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| *count > 800), "{counts:?}");
        assert_eq!(owner(&[], "acme/bridge"), None);
    }

    #[test]
    fn a_node_that_goes_moves_its_own_connectors_alone() {
        let (all, fewer) = (names(4), names(3));
        for number in 0..1_000 {
            let connector = format!("default/c{number}");
            let before = owner(&all, &connector).expect("a node");
            let after = owner(&fewer, &connector).expect("a node");
            assert!(before == after || before == "node-4", "{connector}: {before}, {after}");
        }
    }
}
