//! The load's own client: our engines over sockets that never block, a few connections to a thread.
//!
//! It exists because a general client costs more CPU per message than the target that is to be measured.
//! An [`Engine`] speaks a protocol; a [`Peer`] is an engine with its socket. What happens on either is a
//! [`Happening`], whatever the protocol.

use std::{collections::VecDeque, fmt, io::IoSlice, time::Instant};

use bytes::{Bytes, BytesMut};
use mq_amqp::{message::MessageId, value::Text};

use super::integrity::Told;
use crate::{exit::Exit, failure::Failure, settings::Credentials};

pub mod amqp;
pub mod peer;

pub use peer::Peer;

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
    pub address: String,
    pub credentials: Credentials,
    /// Messages are sent settled.
    pub settled: bool,
    /// Messages that a receiver takes in advance.
    pub credit: u32,
    /// The largest body, in bytes.
    pub largest: usize,
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
pub struct Request {
    pub reply_to: Text,
    pub id: Option<MessageId>,
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
    pub fn failure(&self, place: &str, address: &str) -> Failure {
        match self {
            Self::Refused { exit: Exit::NotFound, text } => {
                Failure::new(Exit::NotFound, format!("there is no address `{address}` at {place}: {text}"))
                    .help(format!("create it with `mq address create {address} --type anycast`"))
            }
            Self::Refused { exit, text } => Failure::new(*exit, format!("{place} refuses: {text}")),
            Self::Broken(text) => Failure::new(Exit::Unreachable, format!("cannot use {place}: {text}"))
                .help(
                    "is the target up, and does it speak AMQP 1.0 there? for a fleet of yours see `mq status` and `mq logs`",
                ),
        }
    }
}

/// A protocol without its socket.
#[derive(Debug)]
pub enum Engine {
    Amqp(Box<amqp::Amqp>),
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
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Amqp(engine) => engine.poll_timeout(),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        match self {
            Self::Amqp(engine) => engine.handle_timeout(now),
        }
    }

    /// Messages that a link may send now.
    pub fn room(&self, link: usize) -> u32 {
        match self {
            Self::Amqp(engine) => engine.room(link),
        }
    }

    /// Sends an encoded message; `sequence` comes back with its outcome.
    pub fn send(&mut self, link: usize, sequence: u64, settled: bool, message: Bytes) -> Result<(), Fault> {
        match self {
            Self::Amqp(engine) => engine.send(link, sequence, settled, message),
        }
    }

    /// The address that the target made up for replies.
    pub fn reply_address(&self) -> Option<Text> {
        match self {
            Self::Amqp(engine) => engine.reply_address(),
        }
    }

    /// The target's product, as it says itself.
    pub fn product(&self) -> Option<String> {
        match self {
            Self::Amqp(engine) => engine.product(),
        }
    }

    /// Says farewell; what is to be written then is the last.
    pub fn close(&mut self, now: Instant) {
        match self {
            Self::Amqp(engine) => engine.close(now),
        }
    }

    fn flush(&mut self) {
        match self {
            Self::Amqp(engine) => engine.flush(),
        }
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Amqp(engine) => engine.slices(slices),
        }
    }

    fn written(&mut self, now: Instant, count: usize) {
        match self {
            Self::Amqp(engine) => engine.written(now, count),
        }
    }

    /// Bytes that wait for the socket or for the target's window.
    pub fn buffered(&self) -> usize {
        match self {
            Self::Amqp(engine) => engine.buffered(),
        }
    }
}
