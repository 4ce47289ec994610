//! The load's own client: our engines over sockets that never block, a few connections to a thread.
//!
//! It exists because a general client costs more CPU per message than the target that is to be measured.
//! An [`Engine`] speaks a protocol; a [`Peer`] is an engine with its socket; a [`Dialer`] makes peers. What
//! happens on either is a [`Happening`], whatever the protocol.

use std::{collections::VecDeque, fmt, io, io::IoSlice, net::SocketAddr, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mq_amqp::{message::MessageId, value::Text};

use super::{
    integrity::Told,
    payload,
    result::{Load, MqttVersion, Wire},
    run::{self, Order},
};
use crate::{
    client::tls::Tls,
    exit::Exit,
    failure::{Failure, Outcome},
    settings::{Credentials, Endpoint},
};

pub mod amqp;
pub mod mqtt;
pub mod peer;

pub use peer::Peer;

/// What an address may contain: the number of the sender or of the receiver, counted from 0.
const NUMBER: &str = "{n}";

/// What a connection is for: one entry per link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sends to the address.
    Sender,
    /// Receives from the address.
    Receiver,
    /// Receives replies at an address that the target makes up.
    Replies,
    /// Sends to whatever address a message names.
    Relay,
}

/// How every connection of a run speaks.
#[derive(Clone, Debug)]
pub struct Manner {
    pub host: String,
    /// May contain [`NUMBER`].
    pub address: String,
    pub credentials: Credentials,
    pub language: Language,
    /// Messages are sent settled.
    pub settled: bool,
    pub durable: bool,
    /// Messages that a receiver takes in advance.
    pub credit: u32,
    /// The largest body, in bytes.
    pub largest: usize,
    /// Tells apart what two runs have on one target.
    pub run: u32,
}

/// The protocol, with what it has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Amqp,
    Mqtt { version: MqttVersion, qos: u8 },
}

impl Manner {
    /// Whether acknowledgements say nothing of receivers.
    pub fn is_mqtt(&self) -> bool {
        matches!(self.language, Language::Mqtt { .. })
    }

    fn new(load: &Load, endpoint: &Endpoint) -> Self {
        Self {
            host: endpoint.host.clone(),
            address: endpoint.address.clone(),
            credentials: endpoint.credentials.clone(),
            language: match load.protocol {
                Wire::Amqp => Language::Amqp,
                Wire::Mqtt => Language::Mqtt {
                    version: load.mqtt_version.unwrap_or_default(),
                    qos: load.qos.unwrap_or_default(),
                },
            },
            settled: load.is_settled(),
            durable: load.durable,
            credit: load.credit,
            largest: payload::largest(&load.size),
            // Two runs of one seed are still two runs.
            run: fastrand::u32(..),
        }
    }

    /// The address of the link with this number among those of its kind.
    fn address_of(&self, number: u32) -> String {
        self.address.replace(NUMBER, &number.to_string())
    }
}

/// Whether an address stands for one per sender and receiver.
pub fn is_numbered(address: &str) -> bool {
    address.contains(NUMBER)
}

/// Makes the connections of a run.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub to: SocketAddr,
    pub manner: Arc<Manner>,
    tls: Option<Tls>,
}

impl Dialer {
    /// # Errors
    /// When the host has no address, or the certificates to trust cannot be read.
    pub fn new(order: &Order, endpoint: &Endpoint) -> Outcome<Self> {
        let tls = endpoint.scheme.is_tls().then(|| Tls::new(&endpoint.host, &endpoint.trust)).transpose()?;
        let manner = Arc::new(Manner::new(&order.load, endpoint));
        Ok(Self { to: run::resolve(endpoint)?, manner, tls })
    }

    /// Starts a connection with a link per part; `first` is the number of the first of them among its kind.
    pub fn dial(&self, parts: &[Part], first: u32, name: &str, now: Instant) -> Result<Peer, Fault> {
        let manner = self.manner.clone();
        let engine = match manner.language {
            Language::Amqp => Engine::Amqp(Box::new(amqp::Amqp::new(manner, parts, first, name, now))),
            Language::Mqtt { version, qos } => {
                let engine = mqtt::Mqtt::new(manner, (version, qos), parts, first, name, now)?;
                Engine::Mqtt(Box::new(engine))
            }
        };
        let peer = Peer::connect(self.to, engine, self.tls.as_ref());
        peer.map_err(|error: io::Error| Fault::Broken(crate::failure::reason(&error)))
    }
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Happening {
    /// Every link is attached.
    Ready,
    /// What became of a message.
    Told { link: usize, sequence: u64, told: Told },
    /// A message came, and has been accepted.
    Arrived(Arrival),
}

/// A message that came.
#[derive(Debug)]
pub struct Arrival {
    pub link: usize,
    pub body: Bytes,
    /// Only where requests are answered: where the answer goes, and by what the requester knows it.
    pub request: Option<Box<Request>>,
    /// Only of a reply: the request that it answers.
    pub answers: Option<u64>,
}

/// A request to be answered.
#[derive(Debug)]
pub enum Request {
    Amqp { reply_to: Text, id: Option<MessageId> },
    Mqtt { topic: String, correlation: Option<Bytes> },
}

/// A message to be sent, but for its body.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub link: usize,
    /// Comes back with the outcome.
    pub sequence: u64,
    /// Bytes of the body.
    pub size: usize,
    pub kind: Kind<'a>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    Message,
    /// It says where its answer goes.
    Request,
    Answer(&'a Request),
}

/// Why a connection is of no use any more.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The target answered, and the answer is no.
    Refused { exit: Exit, text: String },
    /// The connection broke, or the target broke a rule.
    Broken(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { text, .. } | Self::Broken(text) => f.write_str(text),
        }
    }
}

impl Fault {
    /// The error of a run that could not begin.
    pub fn failure(&self, place: &str, dialer: &Dialer) -> Failure {
        let address = &dialer.manner.address;
        let protocol = match dialer.manner.language {
            Language::Amqp => "AMQP 1.0",
            Language::Mqtt { .. } => "MQTT",
        };
        match self {
            Self::Refused { exit: Exit::NotFound, text } => {
                Failure::new(Exit::NotFound, format!("there is no address `{address}` at {place}: {text}"))
                    .help(format!("create it with `mq address create {address} --type anycast`"))
            }
            Self::Refused { exit, text } => Failure::new(*exit, format!("{place} refuses: {text}")),
            Self::Broken(text) => {
                let help = match dialer.tls {
                    Some(_) => format!(
                        "does the target speak {protocol} over TLS there, and is its certificate one to trust? \
                         `--ca FILE` names more of those"
                    ),
                    None => format!(
                        "is the target up, and does it speak {protocol} there? for a fleet of yours see \
                         `mq status` and `mq logs`"
                    ),
                };
                Failure::new(Exit::Unreachable, format!("cannot use {place}: {text}")).help(help)
            }
        }
    }
}

/// A protocol without its socket.
#[derive(Debug)]
pub enum Engine {
    Amqp(Box<amqp::Amqp>),
    Mqtt(Box<mqtt::Mqtt>),
}

impl Engine {
    /// Takes in what came and says what it means.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        match self {
            Self::Amqp(engine) => engine.handle_input(now, input, happenings),
            Self::Mqtt(engine) => engine.handle_input(now, input, happenings),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Amqp(engine) => engine.poll_timeout(),
            Self::Mqtt(engine) => engine.poll_timeout(),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        match self {
            Self::Amqp(engine) => engine.handle_timeout(now),
            Self::Mqtt(engine) => engine.handle_timeout(now),
        }
    }

    /// Messages that a link may send now.
    pub fn room(&self, link: usize) -> u32 {
        match self {
            Self::Amqp(engine) => engine.room(link),
            Self::Mqtt(engine) => engine.room(link),
        }
    }

    /// Sends a message. `write` appends its body, of the size that the draft says, to `arena`.
    pub fn send(
        &mut self,
        draft: &Draft<'_>,
        arena: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Fault> {
        match self {
            Self::Amqp(engine) => engine.send(draft, arena, write),
            Self::Mqtt(engine) => engine.send(draft, arena, write),
        }
    }

    /// The target's product, as it says itself.
    pub fn product(&self) -> Option<String> {
        match self {
            Self::Amqp(engine) => engine.product(),
            Self::Mqtt(engine) => engine.product(),
        }
    }

    /// Says farewell; what is to be written then is the last.
    pub fn close(&mut self, now: Instant) {
        match self {
            Self::Amqp(engine) => engine.close(now),
            Self::Mqtt(engine) => engine.close(now),
        }
    }

    fn flush(&mut self) {
        // MQTT has nothing that waits for the end of a turn.
        if let Self::Amqp(engine) = self {
            engine.flush();
        }
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Amqp(engine) => engine.slices(slices),
            Self::Mqtt(engine) => engine.slices(slices),
        }
    }

    fn written(&mut self, now: Instant, count: usize) {
        match self {
            Self::Amqp(engine) => engine.written(now, count),
            Self::Mqtt(engine) => engine.written(now, count),
        }
    }

    /// Bytes that wait for the socket or for the target's window.
    pub fn buffered(&self) -> usize {
        match self {
            Self::Amqp(engine) => engine.buffered(),
            Self::Mqtt(engine) => engine.buffered(),
        }
    }
}
