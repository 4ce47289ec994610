//! What a connection speaks: the seam between the socket and the protocols.
//!
//! The socket's side asks a protocol for bytes to write and for its deadlines, and feeds it what was
//! read. A `match`, so that the compiler sees through it: there is no `dyn` on the path of a message.

use std::io::IoSlice;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use bytes::BytesMut;
use slab::Slab;

use super::connection::Connection;
use super::{OUTBOX_LIMIT, Shard, amqp, mqtt};

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The node stops.
    Stopping,
    /// An administrator wants it.
    Administrative,
}

/// What a connection speaks, and its state. Boxed: the socket's part is the same size for all.
#[derive(Debug)]
pub(super) enum Protocol {
    Amqp(Box<amqp::Client>),
    Mqtt(Box<mqtt::Client>),
}

impl Protocol {
    /// Makes everything that was queued ready to be written.
    pub(super) fn flush(&mut self) {
        match self {
            Self::Amqp(client) => client.engine.flush(),
            Self::Mqtt(client) => client.flush(),
        }
    }

    /// Fills `slices` with what to write next; says how many it used.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Amqp(client) => client.engine.slices(slices),
            Self::Mqtt(client) => client.slices(slices),
        }
    }

    /// So many bytes have been written.
    pub(super) fn written(&mut self, now: Instant, count: usize) {
        match self {
            Self::Amqp(client) => client.engine.written(now, count),
            Self::Mqtt(client) => client.written(now, count),
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Self::Amqp(client) => client.engine.buffered(),
            Self::Mqtt(client) => client.buffered(),
        }
    }

    /// Whether the socket may be read: whoever asks for answers has to take them.
    pub(super) fn may_read(&self) -> bool {
        self.buffered() <= OUTBOX_LIMIT
            && match self {
                Self::Amqp(_) => true,
                Self::Mqtt(client) => client.may_read(),
            }
    }

    /// When the protocol's own timeout is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Amqp(client) => client.engine.poll_timeout(),
            Self::Mqtt(client) => client.poll_timeout(),
        }
    }

    /// Whether nothing more will come of it: write what is buffered, close the socket.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Amqp(client) => client.engine.is_done(),
            Self::Mqtt(client) => client.is_done(),
        }
    }

    /// Gives back memory that only a busy connection needs.
    pub(super) fn shrink(&mut self) {
        match self {
            Self::Amqp(client) => client.engine.shrink(),
            Self::Mqtt(client) => client.shrink(),
        }
    }

    /// For the log: who the peer says it is.
    pub(super) fn peer_name(&self) -> &str {
        match self {
            Self::Amqp(client) => &client.container,
            Self::Mqtt(client) => client.client_id(),
        }
    }
}

/// The connections of a shard, by their key.
#[derive(Debug, Default)]
pub(super) struct Connections(Slab<Box<Connection>>);

impl Connections {
    /// The AMQP client of a connection, when it is one.
    pub(super) fn amqp(&self, key: usize) -> Option<&amqp::Client> {
        match &self.0.get(key)?.protocol {
            Protocol::Amqp(client) => Some(client),
            Protocol::Mqtt(_) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn amqp_mut(&mut self, key: usize) -> Option<&mut amqp::Client> {
        match &mut self.0.get_mut(key)?.protocol {
            Protocol::Amqp(client) => Some(client),
            Protocol::Mqtt(_) => None,
        }
    }

    /// The MQTT client of a connection, when it is one.
    pub(super) fn mqtt(&self, key: usize) -> Option<&mqtt::Client> {
        match &self.0.get(key)?.protocol {
            Protocol::Mqtt(client) => Some(client),
            Protocol::Amqp(_) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn mqtt_mut(&mut self, key: usize) -> Option<&mut mqtt::Client> {
        match &mut self.0.get_mut(key)?.protocol {
            Protocol::Mqtt(client) => Some(client),
            Protocol::Amqp(_) => None,
        }
    }
}

impl Deref for Connections {
    type Target = Slab<Box<Connection>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Connections {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Shard {
    /// Feeds the protocol and serves every event, until it wants more input.
    pub(super) fn handle_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.handle_amqp_input(now, key, buffer),
            Some(Protocol::Mqtt(_)) => self.handle_mqtt_input(now, key, buffer),
            None => {}
        }
    }

    /// A deadline of the protocol may have come.
    ///
    /// # Errors
    /// What ends the connection, for the log.
    pub(super) fn handle_protocol_timeout(&mut self, now: Instant, key: usize) -> Result<(), String> {
        match self.connections.get_mut(key).map(|connection| &mut connection.protocol) {
            Some(Protocol::Amqp(client)) => {
                client.engine.handle_timeout(now).map_err(|error| error.to_string())
            }
            Some(Protocol::Mqtt(_)) => self.handle_mqtt_timeout(now, key),
            None => Ok(()),
        }
    }

    /// Something has been written: there may be room for more.
    pub(super) fn refill(&mut self, now: Instant, key: usize) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.refill_lanes(now, key),
            Some(Protocol::Mqtt(_)) => self.refill_mqtt(now, key),
            None => {}
        }
    }

    /// Queues the protocol's good-bye.
    pub(super) fn say_farewell(&mut self, now: Instant, key: usize, farewell: Farewell, reason: &str) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.close_amqp(now, key, reason),
            Some(Protocol::Mqtt(_)) => self.close_mqtt(now, key, farewell, reason),
            None => {}
        }
    }

    /// Takes everything of a connection out of the core. Called more than once: what is gone is gone.
    pub(super) fn release(&mut self, now: Instant, key: usize) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.release_amqp(now, key),
            Some(Protocol::Mqtt(_)) => self.release_mqtt(now, key),
            None => {}
        }
        self.run_effects(now);
    }
}
