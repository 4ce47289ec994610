//! One MQTT connection, either side, either version, without IO (3, 4).

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::error::{Blocked, Misuse, PeerError};
use crate::event::Event;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::packet::{Connect, PacketId, Qos, SubscriptionOptions, Version};
use crate::property::PropertyView;
use crate::reason::ReasonCode;
use crate::session::SessionState;

/// Which end we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What all connections of a listener, or of a client, have in common.
#[derive(Clone, Debug)]
pub struct Config {
    pub limits: Limits,
    /// Answers PUBREC with PUBREL and PUBREL with PUBCOMP at once. False leaves both to `release` and
    /// `complete`, for sessions whose state has to be on disk first (4.3.3).
    pub automatic_release: bool,
    /// Server: the highest QoS taken (3.2.2.3.4).
    pub maximum_qos: Qos,
    /// Server: whether messages are retained (3.2.2.3.5).
    pub retain_available: bool,
    /// Server: whether filters may contain wildcards (3.2.2.3.11).
    pub wildcard_subscription_available: bool,
    /// Server: whether subscriptions may have identifiers (3.2.2.3.12).
    pub subscription_identifier_available: bool,
    /// Server: whether subscriptions may be shared (3.2.2.3.13).
    pub shared_subscription_available: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            automatic_release: true,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifier_available: true,
            shared_subscription_available: true,
        }
    }
}

/// How a server lets a client in (3.2). Receive maximum, maximum packet size, topic alias maximum and
/// the capabilities come from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Accept<'a> {
    /// The session that is resumed; `None` when there was none (session present 0).
    pub session: Option<SessionState>,
    /// Seconds; replaces the client's keep alive (3.2.2.3.14). 5.0 only.
    pub keep_alive: Option<u16>,
    /// Seconds; replaces the client's session expiry interval (3.2.2.3.2). 5.0 only.
    pub session_expiry_interval: Option<u32>,
    /// The client identifier chosen for a client that sent none (3.2.2.3.7).
    pub assigned_client_id: Option<&'a str>,
    /// What else the CONNACK says: reason string, user properties, response information,
    /// authentication method and data.
    pub properties: PropertyView<'a>,
}

/// A message to be published.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    pub payload: &'a Bytes,
    pub qos: Qos,
    pub retain: bool,
    /// Left out in 3.1.1. A topic alias in it is left out: aliases belong to a connection.
    pub properties: PropertyView<'a>,
    /// Seconds left of the message's life, in place of what `properties` say (3.3.2.3.3).
    pub message_expiry: Option<u32>,
    /// Server: the identifiers of the subscriptions that matched (3.3.2.3.8).
    pub subscription_identifiers: &'a [u32],
    /// The caller's name of the publication, told with its acknowledgements.
    pub token: u64,
}

impl<'a> Outgoing<'a> {
    /// A message of QoS 0 with a topic and a payload alone.
    pub fn new(topic: &'a str, payload: &'a Bytes) -> Self {
        Self {
            topic,
            payload,
            qos: Qos::AtMostOnce,
            retain: false,
            properties: PropertyView::default(),
            message_expiry: None,
            subscription_identifiers: &[],
            token: 0,
        }
    }
}

/// One MQTT connection, either side, in either version (4).
///
/// A client begins with [`client`](Self::client), a server with [`server`](Self::server). Feed it with
/// [`handle_input`](Self::handle_input) until that answers `None`, serving each event with commands
/// (`accept`, `publish`, `acknowledge`, ...) before the next call. Then write what
/// [`slices`](Self::slices) holds, tell [`written`](Self::written), and arm a timer for
/// [`poll_timeout`](Self::poll_timeout). `now` never goes back. It holds no socket and no clock.
///
/// On an error the engine has queued what tells the peer; write it out, half-close the socket and
/// drop input until the peer closes. [`session_state`](Self::session_state) is what a later
/// connection resumes.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    side: Side,
    version: Version,
    outbox: Outbox,
}

impl Connection {
    /// A client's connection whose socket has just been connected; the CONNECT is queued. `session`
    /// is what an earlier connection left; it is forgotten when the server has no session.
    ///
    /// # Errors
    /// When the CONNECT breaks a rule of the protocol.
    pub fn client(
        config: Arc<Config>,
        connect: &Connect,
        session: SessionState,
        now: Instant,
    ) -> Result<Self, Misuse> {
        let _ = (connect, session, now);
        Ok(Self { config, side: Side::Client, version: connect.version, outbox: Outbox::default() })
    }

    /// A server's connection whose socket has just been accepted.
    pub fn server(config: Arc<Config>, now: Instant) -> Self {
        let _ = now;
        Self { config, side: Side::Server, version: Version::V5_0, outbox: Outbox::default() }
    }

    /// Takes whole packets out of `input` until one of them causes an event; a partial one stays in
    /// it. Call it again until it answers `None`, having served each event.
    ///
    /// # Errors
    /// When the peer broke a rule that ends the connection. What tells it so is queued.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<Option<Event>, PeerError> {
        let _ = (now, input);
        Ok(None)
    }

    /// Server: lets the client in.
    ///
    /// # Errors
    /// When there is no CONNECT to answer.
    pub fn accept(&mut self, accept: &Accept<'_>) -> Result<(), Misuse> {
        let _ = accept;
        Err(Misuse::State)
    }

    /// Server: refuses the client; the connection is over.
    ///
    /// # Errors
    /// When there is no CONNECT to answer, or the reason is no refusal.
    pub fn refuse(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        let _ = (reason, properties);
        Err(Misuse::State)
    }

    /// A step of an extended authentication (4.12).
    ///
    /// # Errors
    /// When the client named no authentication method, or it is not our turn.
    pub fn auth(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        let _ = (reason, properties);
        Err(Misuse::State)
    }

    /// Publishes a message. With QoS 1 and 2 it has a packet identifier, and its end is told by
    /// `Acknowledged`, or `Received` and `Completed`.
    ///
    /// # Errors
    /// When it cannot be sent now, or at all; nothing has been queued.
    pub fn publish(&mut self, message: &Outgoing<'_>) -> Result<Option<PacketId>, Blocked> {
        let _ = message;
        Err(Blocked::NotOpen)
    }

    /// Publishes a message of the resumed session again, in the order of the session state (4.4).
    ///
    /// # Errors
    /// When it cannot be sent now, or is not waiting to be sent again.
    pub fn resend(&mut self, packet_id: PacketId, message: &Outgoing<'_>) -> Result<(), Blocked> {
        let _ = (packet_id, message);
        Err(Blocked::NotOpen)
    }

    /// Gives up a message of the resumed session that has not been sent again: the caller no longer
    /// has it. True when it was waiting.
    pub fn forget(&mut self, packet_id: PacketId) -> bool {
        let _ = packet_id;
        false
    }

    /// Acknowledges a publication of the peer: PUBACK or PUBREC, as its QoS demands. The order of
    /// calls is the order of the packets (4.6). With an error reason a QoS 2 publication has ended;
    /// 3.1.1 has no reasons.
    ///
    /// # Errors
    /// When no such publication waits, or the reason is not allowed.
    pub fn acknowledge(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let _ = (packet_id, reason, properties);
        Err(Misuse::State)
    }

    /// Answers `Received`: queues the PUBREL, when the configuration does not do so by itself.
    ///
    /// # Errors
    /// When the publication is not in that state.
    pub fn release(&mut self, packet_id: PacketId) -> Result<(), Misuse> {
        Err(Misuse::UnknownPacketId(packet_id.to_number()))
    }

    /// Answers `Released`: queues the PUBCOMP, when the configuration does not do so by itself.
    ///
    /// # Errors
    /// When the publication is not in that state.
    pub fn complete(&mut self, packet_id: PacketId) -> Result<(), Misuse> {
        Err(Misuse::UnknownPacketId(packet_id.to_number()))
    }

    /// Client: subscribes; `SubAck` tells what came of it.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn subscribe(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        properties: PropertyView<'_>,
    ) -> Result<PacketId, Blocked> {
        let _ = (filters, properties);
        Err(Blocked::NotOpen)
    }

    /// Client: unsubscribes; `UnsubAck` tells what came of it.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        properties: PropertyView<'_>,
    ) -> Result<PacketId, Blocked> {
        let _ = (filters, properties);
        Err(Blocked::NotOpen)
    }

    /// Server: answers a SUBSCRIBE with a reason for each filter, in order. For 3.1.1 every failure
    /// becomes 0x80.
    ///
    /// # Errors
    /// When a reason is not allowed.
    pub fn suback(
        &mut self,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let _ = (packet_id, reasons, properties);
        Err(Misuse::State)
    }

    /// Server: answers an UNSUBSCRIBE with a reason for each filter, in order.
    ///
    /// # Errors
    /// When a reason is not allowed.
    pub fn unsuback(
        &mut self,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let _ = (packet_id, reasons, properties);
        Err(Misuse::State)
    }

    /// Ends the connection: queues a DISCONNECT where the version has one for our side. Nothing more
    /// comes of the connection.
    ///
    /// # Errors
    /// When our side may not give the reason.
    pub fn disconnect(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        let _ = (reason, properties);
        Err(Misuse::State)
    }

    // ---- output and time ---------------------------------------------------------------------------

    /// Fills `slices` with what to write next; says how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.outbox.slices(slices)
    }

    /// So many bytes have been written.
    pub fn written(&mut self, now: Instant, count: usize) {
        let _ = now;
        self.outbox.advance(count);
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        self.outbox.len()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time has passed: a client's ping leaves, and a silent peer is given up.
    ///
    /// # Errors
    /// When the peer was silent for too long. What tells it so is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        let _ = now;
        Ok(())
    }

    // ---- what the outside sees ---------------------------------------------------------------------

    /// Whether nothing more will come of the connection: write what is buffered, close the socket.
    pub fn is_done(&self) -> bool {
        false
    }

    /// Whether the handshake is through and nobody has ended the connection.
    pub fn is_open(&self) -> bool {
        false
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The version of the connection; a server knows it once it has seen the CONNECT.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Publications of QoS 1 and 2 that may leave before one of those in flight has ended.
    pub fn window(&self) -> u16 {
        0
    }

    /// What of the session a later connection resumes.
    pub fn session_state(&self) -> SessionState {
        SessionState::default()
    }
}
