//! What a connection speaks: the seam between the socket and the protocols.
//!
//! The socket's side asks a protocol for bytes to write and for its deadlines, and feeds it what was
//! read. A `match`, so that the compiler sees through it: there is no `dyn` on the path of a message.

use std::io::IoSlice;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use bytes::BytesMut;
use mq_model::admin;
use slab::Slab;
use tracing::info;

use super::connection::Connection;
use super::preface::{Next, Preface};
use super::transport::{Transport, frame};
use super::tunnels::Tunnelled;
use super::websocket::{CloseReason, WebSocket};
use super::{OUTBOX_LIMIT, Shard, amqp, mqtt};

/// Why we end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The node stops.
    Stopping,
    /// An administrator wants it.
    Administrative,
    /// The client has no right to it any more.
    Unauthorized,
    /// It would be one more than there may be.
    Limit,
}

/// What a connection speaks, and its state. Boxed: the socket's part is the same size for all.
#[derive(Debug)]
pub(super) enum Protocol {
    /// It has not begun.
    Preface(Box<Preface>),
    Amqp(Box<amqp::Client>),
    Mqtt(Box<mqtt::Client>),
    /// Its session is on another node, which speaks with it.
    Tunnelled(Box<Tunnelled>),
}

impl Protocol {
    /// Makes everything that was queued ready to be written.
    pub(super) fn flush(&mut self, now: Instant) {
        match self {
            Self::Amqp(client) => client.engine.flush(),
            Self::Mqtt(client) => {
                if let Transport::WebSocket(socket) = &mut client.transport {
                    frame(socket, &mut client.engine, now);
                }
            }
            Self::Preface(preface) => {
                if let Some(socket) = preface.transport.frames_mut() {
                    socket.end_rest();
                }
            }
            Self::Tunnelled(_) => {}
        }
    }

    /// Fills `slices` with what to write next; says how many it used.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Amqp(client) => client.engine.slices(slices),
            Self::Mqtt(client) => match &client.transport {
                Transport::Plain => client.slices(slices),
                Transport::WebSocket(socket) => one_slice(socket.outgoing(), slices),
            },
            Self::Preface(preface) => match &preface.transport {
                Transport::Plain => 0,
                Transport::WebSocket(socket) => one_slice(socket.outgoing(), slices),
            },
            Self::Tunnelled(near) => one_slice(near.incoming(), slices),
        }
    }

    /// So many bytes have been written.
    pub(super) fn written(&mut self, now: Instant, count: usize) {
        match self {
            Self::Amqp(client) => client.engine.written(now, count),
            Self::Mqtt(client) => match &mut client.transport {
                Transport::Plain => client.written(now, count),
                Transport::WebSocket(socket) => {
                    socket.written(count);
                    frame(socket, &mut client.engine, now);
                }
            },
            Self::Preface(preface) => {
                if let Some(socket) = preface.transport.frames_mut() {
                    socket.written(count);
                }
            }
            Self::Tunnelled(near) => near.written(count),
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn buffered(&self) -> usize {
        match self {
            Self::Amqp(client) => client.engine.buffered(),
            Self::Mqtt(client) => match &client.transport {
                Transport::Plain => client.buffered(),
                // What comes after a close is never sent.
                Transport::WebSocket(socket) if socket.is_closed() => socket.outgoing().len(),
                Transport::WebSocket(socket) => client.buffered() + socket.outgoing().len(),
            },
            Self::Preface(preface) => match &preface.transport {
                Transport::Plain => 0,
                Transport::WebSocket(socket) => socket.outgoing().len(),
            },
            Self::Tunnelled(near) => near.incoming().len(),
        }
    }

    /// Whether the socket may be read: whoever asks for answers has to take them.
    pub(super) fn may_read(&self) -> bool {
        self.buffered() <= OUTBOX_LIMIT
            && match self {
                Self::Amqp(_) => true,
                Self::Mqtt(client) => client.may_read(),
                Self::Preface(preface) => preface.may_read(),
                Self::Tunnelled(near) => near.may_read(),
            }
    }

    /// When the protocol's own timeout is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Amqp(client) => client.engine.poll_timeout(),
            Self::Mqtt(client) => client.poll_timeout(),
            Self::Preface(preface) => preface.poll_timeout(),
            Self::Tunnelled(_) => None,
        }
    }

    /// Whether something that has come is held back in frames.
    pub(super) fn has_unserved(&self) -> bool {
        match self {
            Self::Mqtt(client) => match &client.transport {
                Transport::WebSocket(socket) => socket.has_input(),
                Transport::Plain => false,
            },
            Self::Amqp(_) | Self::Preface(_) | Self::Tunnelled(_) => false,
        }
    }

    /// The peer's silence is none: it is we who do not read.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        if let Self::Mqtt(client) = self {
            client.engine.excuse_silence(now);
        }
    }

    /// Whether nothing more will come of it: write what is buffered, close the socket.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Amqp(client) => client.engine.is_done(),
            Self::Mqtt(client) => client.is_done(),
            Self::Preface(preface) => preface.is_over,
            Self::Tunnelled(near) => near.is_done(),
        }
    }

    /// Gives back memory that only a busy connection needs.
    pub(super) fn shrink(&mut self) {
        match self {
            Self::Amqp(client) => client.engine.shrink(),
            Self::Mqtt(client) => {
                client.shrink();
                if let Some(socket) = client.transport.frames_mut() {
                    socket.shrink();
                }
            }
            Self::Preface(_) | Self::Tunnelled(_) => {}
        }
    }

    /// The transport says its good-bye too, behind what the protocol still has to say. The first word
    /// counts.
    pub(super) fn end(&mut self, now: Instant, reason: CloseReason) {
        match self {
            Self::Amqp(_) | Self::Tunnelled(_) => {}
            Self::Mqtt(client) => client.transport.close_after_rest(reason),
            Self::Preface(preface) => preface.transport.close_after_rest(reason),
        }
        self.flush(now);
    }

    /// As the admin API names it.
    pub(super) fn kind(&self) -> admin::Protocol {
        let transport = match self {
            Self::Amqp(_) => return admin::Protocol::Amqp,
            Self::Mqtt(client) => &client.transport,
            Self::Preface(preface) => match preface.next {
                Next::Amqp => return admin::Protocol::Amqp,
                Next::Mqtt => &preface.transport,
            },
            Self::Tunnelled(near) if near.has_frames => return admin::Protocol::MqttWs,
            Self::Tunnelled(_) => return admin::Protocol::Mqtt,
        };
        match transport {
            Transport::Plain => admin::Protocol::Mqtt,
            Transport::WebSocket(_) => admin::Protocol::MqttWs,
        }
    }

    /// For the log: who the peer says it is.
    pub(super) fn peer_name(&self) -> &str {
        match self {
            Self::Amqp(client) => &client.container,
            Self::Mqtt(client) => client.client_id(),
            Self::Tunnelled(near) => near.client_id(),
            Self::Preface(_) => "",
        }
    }
}

fn one_slice<'a>(bytes: &'a [u8], slices: &mut [IoSlice<'a>]) -> usize {
    match slices.first_mut() {
        Some(slice) if !bytes.is_empty() => {
            *slice = IoSlice::new(bytes);
            1
        }
        _ => 0,
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
            Protocol::Mqtt(_) | Protocol::Preface(_) | Protocol::Tunnelled(_) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn amqp_mut(&mut self, key: usize) -> Option<&mut amqp::Client> {
        match &mut self.0.get_mut(key)?.protocol {
            Protocol::Amqp(client) => Some(client),
            Protocol::Mqtt(_) | Protocol::Preface(_) | Protocol::Tunnelled(_) => None,
        }
    }

    /// A connection whose protocol has not begun.
    pub(super) fn preface_mut(&mut self, key: usize) -> Option<&mut Preface> {
        match &mut self.0.get_mut(key)?.protocol {
            Protocol::Preface(preface) => Some(preface),
            Protocol::Amqp(_) | Protocol::Mqtt(_) | Protocol::Tunnelled(_) => None,
        }
    }

    /// The frames of a client of MQTT, when it has them.
    fn frames_mut(&mut self, key: usize) -> Option<&mut WebSocket> {
        self.mqtt_mut(key)?.transport.frames_mut()
    }

    /// The MQTT client of a connection, when it is one.
    pub(super) fn mqtt(&self, key: usize) -> Option<&mqtt::Client> {
        match &self.0.get(key)?.protocol {
            Protocol::Mqtt(client) => Some(client),
            Protocol::Amqp(_) | Protocol::Preface(_) | Protocol::Tunnelled(_) => None,
        }
    }

    /// The same, to change it.
    pub(super) fn mqtt_mut(&mut self, key: usize) -> Option<&mut mqtt::Client> {
        match &mut self.0.get_mut(key)?.protocol {
            Protocol::Mqtt(client) => Some(client),
            Protocol::Amqp(_) | Protocol::Preface(_) | Protocol::Tunnelled(_) => None,
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
            Some(Protocol::Mqtt(client)) => match client.transport {
                Transport::Plain => self.handle_mqtt_input(now, key, buffer),
                Transport::WebSocket(_) => self.handle_frames(now, key, buffer),
            },
            Some(Protocol::Preface(_)) => self.handle_preface_input(now, key, buffer),
            Some(Protocol::Tunnelled(_)) => self.handle_tunnelled_input(key, buffer),
            None => {}
        }
    }

    /// Takes the packets out of frames, and feeds the protocol with them.
    fn handle_frames(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        let Some(socket) = self.connections.frames_mut(key) else { return };
        let received = socket.receive(buffer);
        let mut input = std::mem::take(socket.input());
        self.handle_mqtt_input(now, key, &mut input);
        if let Some(socket) = self.connections.frames_mut(key) {
            // The start of a packet whose rest has not come, or what cannot be served yet.
            *socket.input() = input;
            if socket.is_closed() {
                self.start_closing(now, key);
            }
        }
        if let Err(reason) = received {
            info!(connection = %self.name_of(key), %reason, "closing");
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
            Some(Protocol::Preface(preface)) => {
                let waited = preface.handle_timeout(now);
                // It has waited long enough for where it belongs.
                self.resume_reading(key);
                waited
            }
            Some(Protocol::Tunnelled(_)) | None => Ok(()),
        }
    }

    /// Something has been written: there may be room for more.
    pub(super) fn refill(&mut self, now: Instant, key: usize) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.refill_lanes(now, key),
            Some(Protocol::Mqtt(_)) => self.refill_mqtt(now, key),
            Some(Protocol::Tunnelled(_)) => self.end_tunnelled(now, key),
            Some(Protocol::Preface(_)) | None => {}
        }
    }

    /// Queues the protocol's good-bye.
    pub(super) fn say_farewell(&mut self, now: Instant, key: usize, farewell: Farewell, reason: &str) {
        match self.connections.get_mut(key).map(|connection| &mut connection.protocol) {
            Some(Protocol::Amqp(_)) => self.close_amqp(now, key, farewell, reason),
            Some(Protocol::Mqtt(_)) => self.close_mqtt(now, key, farewell, reason),
            Some(Protocol::Preface(preface)) => preface.is_over = true,
            Some(Protocol::Tunnelled(_)) => self.close_tunnelled(key, farewell, reason),
            None => {}
        }
        if let Some(connection) = self.connections.get_mut(key)
            && farewell == Farewell::Stopping
        {
            connection.protocol.end(now, CloseReason::Away);
        }
    }

    /// Takes everything of a connection out of the core. Called more than once: what is gone is gone.
    pub(super) fn release(&mut self, now: Instant, key: usize) {
        self.leave_place(key);
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.release_amqp(now, key),
            Some(Protocol::Mqtt(_)) => self.release_mqtt(now, key),
            Some(Protocol::Preface(_) | Protocol::Tunnelled(_)) | None => {}
        }
        self.run_effects(now);
    }
}
