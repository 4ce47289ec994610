//! A node whose data plane is not `mqd`: `mq` itself runs in its place, starts the other program as its child, and
//! gives whoever deploys what `mqd` would give: the lock, `node.json`, the owner's token, and the admin API as far
//! as the data plane can serve it.
//!
//! [`rabbitmq`] is the life of such a node. [`files`] is what is rendered, [`process`] the child, [`management`]
//! its HTTP API, [`broker`] addresses as its objects, [`api`] the admin API, [`names`] what clients call addresses.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use mq_model::{
    Dataplane,
    admin::{Listener, Protocol, Runtime},
    config::{DaemonConfig, ListenerConfig, ListenerTls},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use self::{
    api::{Face, Phase},
    broker::Broker,
    files::Installation,
    process::Keeper,
    state::State,
};
use crate::{
    context::read_bounded,
    deploy::local::free_port,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    output::Output,
};

mod api;
mod broker;
pub mod files;
mod management;
pub mod names;
mod notify;
mod process;
mod state;

/// The largest configuration file that is read.
const MAX_CONFIG: u64 = 1 << 20;
/// How long the broker may take to serve.
const START: Duration = Duration::from_secs(110);
/// How long it may take to end beyond the time that the configuration gives.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// How often it is asked whether it serves.
const POLL: Duration = Duration::from_millis(200);
/// How often it is looked whether it still answers.
const PULSE: Duration = Duration::from_secs(5);

/// Runs a node of RabbitMQ until it is told to end.
///
/// # Errors
///
/// What keeps it from serving, or that the broker has ended by itself.
pub async fn rabbitmq(config: &Path, output: &Output) -> Outcome<Exit> {
    let name = config.display().to_string();
    let text = read_bounded(config, MAX_CONFIG).map_err(|error| Failure::file("read", config, &error))?;
    let config = DaemonConfig::parse(&name, &text).map_err(|error| Failure::usage(error.to_string()))?;
    if config.dataplane != Dataplane::Rabbitmq {
        return Err(Failure::usage(format!("{name} is the configuration of a node of mqd"))
            .help("start it with `mqd --config`"));
    }
    let mut stop = Stop::new()?;
    // The hash is that of the file: ports that are picked are not in it.
    let hash = config.hash();
    let config = with_ports(config)?;
    let state = State::open(&config.state_dir)?;
    let taken = config.listeners.named().into_iter().map(|(_, listener)| listener.port);
    let kept = state.kept(taken.collect())?;
    let installation = Installation::find()?;
    process::await_former(&kept).await?;
    let home = state.broker();
    files::write(&config, &kept, &home)?;
    let broker = Arc::new(Broker::open(&kept, &state)?);
    let face = Face::new(config.clone(), hash, &state, broker.clone())?;
    let http = &config.listeners.http;
    let listener = bound(http).await?;
    let serving = tokio::spawn(api::serve(listener, face.clone()));
    let mut keeper = Keeper::start(&installation, &config, &kept, &home)?;
    let lived = live(&config, &state, &broker, &face, &mut keeper, &mut stop, output).await;
    face.enter(Phase::Stopping);
    state.forget_runtime()?;
    let ended = keeper.stop(Duration::from_secs(config.drain_seconds.into()) + STOP_GRACE).await;
    serving.abort();
    lived.and(ended).map(|()| Exit::Ok)
}

/// From the start of the broker to the order to stop it.
async fn live(
    config: &DaemonConfig,
    state: &State,
    broker: &Broker,
    face: &Face,
    keeper: &mut Keeper,
    stop: &mut Stop,
    output: &Output,
) -> Outcome {
    let notify = notify::Notify::from_environment();
    let version = tokio::select! {
        version = serving(broker, config) => version?,
        ended = keeper.ended() => return Err(ended),
        () = stop.asked() => return Ok(()),
    };
    broker.prepare().await?;
    face.enter(Phase::Serving { version: version.clone() });
    state.announce(&runtime(config, face.config_hash(), &version))?;
    notify.say("READY=1\nSTATUS=serving");
    output.talk(&format!("{} serves with RabbitMQ {version}", config.node));
    loop {
        tokio::select! {
            ended = keeper.ended() => return Err(ended),
            () = stop.asked() => {
                notify.say("STOPPING=1\nSTATUS=stopping");
                return Ok(());
            }
            () = tokio::time::sleep(PULSE) => {
                // One that hangs is started anew by whoever keeps watch.
                if broker.version().await.is_ok() {
                    notify.say("WATCHDOG=1");
                }
            }
        }
    }
}

/// Waits until the broker answers, and returns which version of it that is.
async fn serving(broker: &Broker, config: &DaemonConfig) -> Outcome<String> {
    let end = Instant::now() + START;
    loop {
        match version_once_open(broker, config).await {
            Ok(version) => return Ok(version),
            Err(failure) if Instant::now() >= end => {
                let message = format!("RabbitMQ does not serve after {START:?}: {}", failure.message);
                return Err(Failure::new(Exit::TimedOut, message));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The version of the broker, when clients can connect to it: its API is there before.
async fn version_once_open(broker: &Broker, config: &DaemonConfig) -> Outcome<String> {
    let version = broker.version().await?;
    for listener in [&config.listeners.amqp, &config.listeners.mqtt] {
        if listener.enabled {
            broker.listens(listener.port).await?;
        }
    }
    Ok(version)
}

/// The configuration with a port in the place of each 0.
fn with_ports(mut config: DaemonConfig) -> Outcome<DaemonConfig> {
    let mut taken = config.listeners.named().into_iter().map(|(_, listener)| listener.port).collect();
    let listeners = &mut config.listeners;
    for listener in [&mut listeners.amqp, &mut listeners.mqtt, &mut listeners.http] {
        if listener.port == 0 && listener.enabled {
            listener.port = free_port(&listener.host, &taken)?;
            taken.insert(listener.port);
        }
    }
    Ok(config)
}

async fn bound(listener: &ListenerConfig) -> Outcome<TcpListener> {
    let ListenerConfig { host, port, .. } = listener;
    TcpListener::bind((host.as_str(), *port)).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {host}:{port}: {}", reason(&error)))
            .help("stop what has the port, or set listeners.http.port")
    })
}

/// Where the node is reached.
fn listeners(config: &DaemonConfig) -> Vec<Listener> {
    let found = config.listeners.named().into_iter().filter_map(|(name, listener)| {
        let protocol = match name {
            "amqp" => Protocol::Amqp,
            "mqtt" => Protocol::Mqtt,
            "http" => Protocol::Http,
            _ => return None,
        };
        let ListenerConfig { host, port, .. } = listener;
        let (name, host, tls) = (name.to_owned(), host.clone(), ListenerTls::Never);
        Some(Listener { name, protocol, host, port: *port, tls })
    });
    found.collect()
}

/// What `node.json` says.
fn runtime(config: &DaemonConfig, config_hash: &str, version: &str) -> Runtime {
    Runtime {
        node: config.node.clone(),
        fleet: config.fleet.clone(),
        pid: std::process::id(),
        version: version.to_owned(),
        config_hash: config_hash.to_owned(),
        listeners: listeners(config),
    }
}

/// The orders to end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// Is no order to end: there are no certificates to be read again.
    _hangup: Signal,
}

impl Stop {
    fn new() -> Outcome<Self> {
        let of = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("cannot wait for signals: {}", reason(&error))))
        };
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            _hangup: of(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The folder of the broker in a node's state directory.
fn below(state: &Path) -> PathBuf {
    state.join("rabbitmq")
}
