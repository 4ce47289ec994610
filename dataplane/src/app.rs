//! The life of a node: build (which may fail), run, drain.
//!
//! The thread that runs the [`App`] is the control thread: it accepts, serves the admin API, keeps
//! the configuration and watches the clock. Messages are moved by the shards' threads alone.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use jiff::Timestamp;
use mq_mesh::NodeId;
use mq_model::admin::{Listener, Protocol};
use mq_model::config::DaemonConfig;
use mq_store::RealDisk;
use prometheus_client::registry::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::admin::{self, Api, Entrance, Gatekeeper, Server};
use crate::connectors::{self, Connectors};
use crate::drain::{self, Orders};
use crate::hub::{Hub, Served, Speaks};
use crate::identity::{Pace, ProviderError, Providers};
use crate::listen::{Acceptor, BindError, Bound, Gate, Refusals, Secure, bind};
use crate::log::LogControl;
use crate::mesh::{self, MeshError, Requests};
use crate::metrics::Metrics;
use crate::node::{Node, listener};
use crate::notify::Notify;
use crate::objects::{Loaded, Membership, StoreError};
use crate::owner::Owner;
use crate::signals::{Reload, Signals};
use crate::state::{StateDir, StateError, create_private};
use crate::statistics::Rates;
use crate::tls::{self, CertificateError, Certificates, Revocations};
use crate::{held, moves, usage};
use crate::{process, shard};

/// How often the counters are sampled for the rates.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether certificates were replaced.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// How often one is warned of that is not good for long.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// Time beyond the drain's deadline in which the shards say what became of it.
const DRAIN_GRACE: Duration = Duration::from_secs(4);

/// How long a node waits for what other nodes have before it takes clients.
const MEET_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that the shards' threads have to end.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the service manager hears that a node still reads its log, and the patience asked of it each time.
const RECOVERY_SIGN: Duration = Duration::from_secs(10);
const RECOVERY_PATIENCE: Duration = Duration::from_secs(60);

/// What a client reads when the node stops.
const DRAIN_REASON: &str = "the node is stopping";

/// Why a node cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error(transparent)]
    Identity(#[from] ProviderError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("cannot start the control thread: {0}; raise the limits of the process")]
    Control(io::Error),
    #[error("cannot start the workers: {0}; lower workers, or raise the limits of the process")]
    Workers(io::Error),
}

/// Why a node did not run to a clean end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    #[error(transparent)]
    State(#[from] StateError),
    /// What was stored cannot be read: without it no queue can be served, and none may lose it.
    #[error("cannot read the message log: {0}")]
    Store(Arc<str>),
    #[error("cannot watch a socket or a signal: {0}; raise the limit of open files")]
    Watch(#[from] io::Error),
}

/// A node that has everything it needs to serve: its state directory, its objects, its sockets and
/// its shards.
pub struct App {
    runtime: Runtime,
    node: Arc<Node>,
    state: StateDir,
    /// The listeners of clients, and what they speak.
    clients: Vec<(Bound, Speaks)>,
    /// The listeners of the admin API.
    entrances: Vec<Entrance>,
    /// The way to other nodes; `None`: the node is alone.
    mesh: Option<mesh::Prepared>,
    shards: Vec<JoinHandle<()>>,
}

impl App {
    /// Locks the state directory, reads the objects, binds the listeners and starts the shards.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. Nothing is left behind: no thread, no socket, no lock.
    pub fn build(config: DaemonConfig, log: LogControl) -> Result<Self, BuildError> {
        let providers = Providers::new(&config.authentication, Pace::default())?;
        Self::build_with(config, log, |config, addresses, owner| {
            let disk = Arc::new(RealDisk::new(config.store_dir())?);
            shard::spawn(config, addresses, disk, providers, owner.clone())
        })
    }

    /// Like [`build`](Self::build), with other shards: tests answer for them.
    ///
    /// # Errors
    ///
    /// See [`build`](Self::build).
    pub fn build_with(
        config: DaemonConfig,
        log: LogControl,
        spawn: impl FnOnce(&DaemonConfig, Vec<Served>, &Owner) -> io::Result<(Hub, Vec<JoinHandle<()>>)>,
    ) -> Result<Self, BuildError> {
        process::raise_file_limit();
        let runtime = Builder::new_current_thread().enable_all().build().map_err(BuildError::Control)?;
        let state = StateDir::open(&config.state_dir)?;
        let owner = Owner::new();
        state.tell_owner(&owner)?;
        let objects = Loaded::read(&state.objects()?, NodeId::new(&config.fleet, &config.node))?;
        let objects = match Membership::of(&config) {
            Some(membership) => objects.in_fleet(membership, config.mqtt.catch_all)?,
            None => objects.alone(config.mqtt.catch_all)?,
        };
        let orders = Orders::open(&config.state_dir, config.router).map_err(|source| StateError::Io {
            action: "read the order in",
            path: config.state_dir.clone(),
            source,
        })?;
        // Nothing is started before it is sure that there is a place for what is to be stored.
        create_private(&config.store_dir())?;
        let certificates = match &config.tls {
            Some(tls) => Some(Arc::new(Certificates::load(tls, &config.state_dir)?)),
            None => None,
        };
        let bound = config.listeners.named();
        let bound: Result<Vec<_>, _> =
            bound.into_iter().map(|(name, listener)| bind(name, listener)).collect();
        let bound = bound?;
        let mesh = mesh::Prepared::new(&config)?;
        let (hub, shards) = spawn(&config, objects.addresses(), &owner).map_err(BuildError::Workers)?;
        let catalogue = {
            let _context = runtime.enter();
            objects.serve(hub.clone())
        };
        let requests = hub.mesh().cloned().map(Requests::new);
        let refusals = Arc::new(Refusals::default());
        let mut listeners: Vec<_> = bound.iter().map(|bound| listener(bound, protocol(bound.name))).collect();
        listeners.extend(mesh.as_ref().map(|mesh| listener(&mesh.bound, Protocol::Mesh)));
        let node = Arc::new(Node {
            catalogue,
            connectors: Connectors::default(),
            log,
            gate: Gate::new(hub.clone(), config.limits.max_connections, refusals.clone()),
            refusals,
            hub,
            listeners,
            admin_host: admin_host(&bound),
            certificates: certificates.clone(),
            mesh_identity: mesh.as_ref().map(|mesh| mesh.identity.clone()),
            started_at: Timestamp::now(),
            started: Instant::now(),
            is_draining: AtomicBool::new(false),
            rates: Mutex::new(Rates::default()),
            orders,
            owner,
            requests,
            config,
        });
        let (mut clients, mut entrances) = (Vec::new(), Vec::new());
        for bound in bound {
            match protocol(bound.name) {
                Protocol::Amqp => clients.push((bound, Speaks::Amqp)),
                Protocol::Mqtt => clients.push((bound, Speaks::Mqtt)),
                _ => {
                    let secure = Secure::of(&bound, certificates.as_ref(), tls::Speaks::Http);
                    entrances.push(Entrance { bound, secure });
                }
            }
        }
        Ok(Self { runtime, node, state, clients, entrances, mesh, shards })
    }

    /// The listeners with the ports that they really have.
    pub fn listeners(&self) -> &[Listener] {
        &self.node.listeners
    }

    /// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
    ///
    /// # Errors
    ///
    /// See [`RunError`].
    pub fn run_until_signalled(self) -> Result<(), RunError> {
        let signals = {
            let _context = self.runtime.enter();
            Signals::register()?
        };
        let runtime_path = self.state.runtime_path();
        self.run(signals.stop_requested(runtime_path))
    }

    /// Serves until `stop` is ready, then drains: takes no new connections, lets unsettled
    /// deliveries settle for as long as the configuration says, and closes every connection.
    ///
    /// # Errors
    ///
    /// See [`RunError`].
    pub fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self { runtime, node, state, clients, entrances, mesh, shards } = self;
        let outcome = runtime.block_on(live(&node, &state, clients, entrances, mesh, stop));
        if let Some(requests) = &node.requests {
            requests.stop();
        }
        // The shards end when nobody can send them commands any more: the runtime's tasks can.
        runtime.shutdown_timeout(JOIN_TIMEOUT);
        drop(node);
        join(shards);
        outcome
    }
}

async fn live(
    node: &Arc<Node>,
    state: &StateDir,
    clients: Vec<(Bound, Speaks)>,
    entrances: Vec<Entrance>,
    mesh: Option<mesh::Prepared>,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    // Before anybody can send it: by itself it would end the process.
    let reload = Reload::register();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    node.hub.providers().register(&mut registry);
    // From the beginning, so that the keys are there when clients come.
    tokio::spawn(node.hub.providers().clone().run());
    let gatekeeper = Gatekeeper::new(node.hub.providers().clone(), Instant::now());
    let api = Api { node: node.clone(), metrics, registry: Arc::new(registry), gatekeeper };
    let router = admin::router(api);
    if let Some(requests) = &node.requests {
        let between_nodes = moves::routes(node.clone()).merge(held::routes(node.clone()));
        requests.serve(router.clone().merge(between_nodes));
    }
    let server = Server::start(entrances, router)?;
    let notify = Arc::new(Notify::from_environment());
    let mut stop = pin!(stop);
    // Whoever connects meanwhile waits in the listener's queue.
    tokio::select! {
        recovered = recovered(node, &notify) => recovered?,
        () = &mut stop => {
            node.is_draining.store(true, Ordering::Relaxed);
            server.stop().await;
            tracing::info!("stopped while the message log was read");
            return Ok(());
        }
    }
    // Before anybody hears of the node: one that is to be emptied gets no home in between.
    node.tell_order();
    // Other nodes come before clients do: whoever is served here finds what is there.
    let mesh = start_mesh(node, mesh)?;
    let is_stopped = match &mesh {
        Some(mesh) => tokio::select! {
            () = joined(node, mesh) => false,
            () = &mut stop => true,
        },
        None => false,
    };
    if is_stopped {
        node.is_draining.store(true, Ordering::Relaxed);
        if let Some(mesh) = mesh {
            mesh.leave().await;
        }
        server.stop().await;
        tracing::info!("stopped while it joined its fleet");
        return Ok(());
    }
    let mut accepting = JoinSet::new();
    for (bound, speaks) in clients {
        accepting.spawn(Acceptor::new(bound, node.gate.clone(), speaks, node.certificates.as_ref())?.run());
    }
    let sampling = tokio::spawn(sample(node.clone(), notify.clone()));
    let emptying = tokio::spawn(drain::run(node.clone()));
    let moving = tokio::spawn(moves::run(node.clone()));
    let connecting = tokio::spawn(connectors::run(node.clone()));
    let telling = tokio::spawn(usage::run(node.hub.usage().clone(), node.hub.mesh().cloned()));
    let watching = tokio::spawn(watch_files(node.clone(), reload));
    state.announce(&node.runtime())?;
    announce(node);
    notify.ready();

    stop.await;

    let limit = Duration::from_secs(node.config.drain_seconds.into()) + 2 * DRAIN_GRACE + JOIN_TIMEOUT;
    notify.stopping(limit);

    // Another node has them as soon as it hears that this one stops.
    connecting.abort();
    // The listeners are closed when the tasks are gone.
    accepting.shutdown().await;
    // Said when it is so: whoever sees it finds that new links are refused. A worker that hangs keeps nobody.
    let _ = tokio::time::timeout(DRAIN_GRACE, node.hub.begin_drain()).await;
    node.is_draining.store(true, Ordering::Relaxed);
    settle(node).await;
    if let Some(mesh) = mesh {
        mesh.leave().await;
    }
    sampling.abort();
    emptying.abort();
    moving.abort();
    telling.abort();
    watching.abort();
    server.stop().await;
    state.forget_runtime()?;
    tracing::info!("stopped");
    Ok(())
}

fn start_mesh(node: &Node, prepared: Option<mesh::Prepared>) -> io::Result<Option<mesh::Running>> {
    let Some((prepared, fabric)) = prepared.zip(node.hub.mesh()) else { return Ok(None) };
    let usage = node.hub.usage().service();
    let services = node.requests.iter().map(Requests::service).chain(node.catalogue.service());
    let services = services.chain([usage]).collect();
    mesh::Running::start(&node.config, prepared, fabric.clone(), services, &node.listeners).map(Some)
}

/// Waits until the node has met its fleet, or has waited long enough: what it has itself it can serve.
async fn joined(node: &Node, mesh: &mesh::Running) {
    mesh.joined().await;
    if tokio::time::timeout(MEET_TIMEOUT, node.catalogue.joined()).await.is_err() {
        tracing::warn!("no node of the fleet can be reached; serving without what they have");
    }
}

/// Waits until the shards have what was stored.
async fn recovered(node: &Node, notify: &Notify) -> Result<(), RunError> {
    let Some(store) = node.hub.store() else { return Ok(()) };
    let mut recovered = pin!(store.recovered());
    let mut signs = tokio::time::interval(RECOVERY_SIGN);
    loop {
        tokio::select! {
            recovered = &mut recovered => return recovered.map_err(RunError::Store),
            _ = signs.tick() => notify.recovering(RECOVERY_PATIENCE),
        }
    }
}

fn announce(node: &Node) {
    for listener in &node.listeners {
        tracing::info!(listener = listener.name, host = listener.host, port = listener.port, "listening");
    }
    tracing::info!(
        node = node.config.node,
        fleet = node.config.fleet,
        version = env!("CARGO_PKG_VERSION"),
        workers = node.hub.workers(),
        addresses = node.catalogue.len(),
        "serving"
    );
}

async fn settle(node: &Node) {
    let time = Duration::from_secs(node.config.drain_seconds.into());
    tracing::info!(limit_seconds = time.as_secs(), "draining");
    let drained = node.hub.drain(Instant::now() + time, DRAIN_REASON);
    match tokio::time::timeout(time + DRAIN_GRACE, drained).await {
        Ok(0) => tracing::info!("every delivery is settled"),
        Ok(unsettled) => tracing::warn!(unsettled, "deliveries were not settled in time"),
        Err(_) => tracing::error!("a worker did not end in time; its connections are cut off"),
    }
}

/// Lets files count that were replaced, at once when that is asked for, and warns once a day of a certificate that
/// is not good for long.
async fn watch_files(node: Arc<Node>, mut reload: Reload) {
    let mut ticks = tokio::time::interval(CERTIFICATE_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned_at = Instant::now();
    let mut told = Arc::default();
    loop {
        let is_asked = tokio::select! {
            _ = ticks.tick() => false,
            () = reload.requested() => true,
        };
        if is_asked {
            tracing::info!("asked to read certificates and secrets again");
            node.hub.providers().reload();
        }
        if let Some(identity) = &node.mesh_identity {
            identity.look();
        }
        let Some(certificates) = &node.certificates else { continue };
        match is_asked {
            true => certificates.reload(),
            false => certificates.look(),
        }
        tell_revocations(&node, certificates, &mut told).await;
        if warned_at.elapsed() >= WARN_INTERVAL {
            warned_at = Instant::now();
            certificates.warn_of_end(Timestamp::now());
        }
    }
}

/// Has the shards know which certificates are revoked, when that is something else than what they were told.
async fn tell_revocations(node: &Node, certificates: &Certificates, told: &mut Arc<Revocations>) {
    let found = certificates.revocations();
    if !(Arc::ptr_eq(&found, told) || found.is_empty() && told.is_empty()) {
        node.hub.set_revocations(&found).await;
        *told = found;
    }
}

/// What the clients of a listener speak, by its name.
fn protocol(listener: &str) -> Protocol {
    match listener {
        "amqp" | "amqps" => Protocol::Amqp,
        "mqtt" | "mqtts" => Protocol::Mqtt,
        _ => Protocol::Http,
    }
}

/// Where the admin API is bound without TLS: what it answers to there depends on that.
fn admin_host(bound: &[Bound]) -> IpAddr {
    let http = bound.iter().find(|bound| bound.name == "http");
    http.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |http| http.address.ip())
}

/// Samples the counters once a second, and says when a worker has ended. That every worker answers is what the
/// service manager's watchdog waits for.
async fn sample(node: Arc<Node>, notify: Arc<Notify>) {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_whole = true;
    loop {
        ticks.tick().await;
        let shards = node.hub.statistics().await;
        node.record(Instant::now(), &shards);
        notify.alive();
        if was_whole && !node.is_whole() {
            was_whole = false;
            tracing::error!("a worker has ended; its connections are lost; restart the node");
        }
    }
}

/// Waits a moment for the shards' threads. One that does not end goes down with the process.
fn join(shards: Vec<JoinHandle<()>>) {
    let (done, joined) = mpsc::channel();
    thread::spawn(move || {
        for shard in shards {
            // A shard that panicked has been reported by the panic hook.
            let _ = shard.join();
        }
        let _ = done.send(());
    });
    if joined.recv_timeout(JOIN_TIMEOUT).is_err() {
        tracing::warn!("a worker's thread did not end");
    }
}
