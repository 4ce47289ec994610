//! One MQTT connection, either side, either version, without IO (3, 4).

mod encoded;
mod handshake;
mod incoming;
mod outgoing;
mod requests;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::alias::{IncomingAliases, OutgoingAliases};
use crate::codec::{
    PING_REQUEST, PING_RESPONSE, RawPacket, decode, decode_publish, next_packet, variable_size,
    write_disconnect,
};
use crate::error::{Misuse, PeerError};
use crate::event::Event;
use crate::flights::Flights;
use crate::limits::Limits;
use crate::outbox::Outbox;
use crate::packet::{Disconnect, Packet, PacketId, Qos, Text, Version};
use crate::property::PropertyView;
use crate::reason::ReasonCode;
use crate::session::SessionState;

pub use encoded::EncodedPublish;
use incoming::IncomingState;
use outgoing::Flight;

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

/// What the next input has to be.
///
/// ```text
/// Server:  Connect ─► Answer ─► Packets          Client:  ConnAck ─► Packets
///                       ⇅                                    ⇅
///                      Auth                                Answer
/// ```
/// Any state goes to `Done` on a DISCONNECT of either side, a refusal, and an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Server: the CONNECT.
    Connect,
    /// Server: the client's next step of an authentication.
    Auth,
    /// The caller's word on a CONNECT or an AUTH; input waits.
    Answer,
    /// Client: the CONNACK, or the server's next step of an authentication.
    ConnAck,
    /// Any packet of an open connection.
    Packets,
    /// Nothing: whatever comes is discarded.
    Done,
}

/// What the peer takes and offers: what it said in its CONNECT or CONNACK.
#[derive(Clone, Copy, Debug)]
struct Peer {
    receive_maximum: u16,
    /// Bytes; the specification's own bound when the peer set none.
    max_packet_size: u32,
    topic_alias_maximum: u16,
    maximum_qos: Qos,
    retain_available: bool,
    wildcard_available: bool,
    identifiers_available: bool,
    shared_available: bool,
    /// Whether acknowledgements may say their reason in words (3.1.2.11.7).
    wants_problem_information: bool,
    /// Whether response information was asked for (3.1.2.11.6).
    wants_response_information: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            max_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
            wildcard_available: true,
            identifiers_available: true,
            shared_available: true,
            wants_problem_information: true,
            wants_response_information: false,
        }
    }
}

/// An extended authentication (4.12).
#[derive(Debug)]
struct Authentication {
    method: Text,
    /// A re-authentication has been begun and not ended.
    is_under_way: bool,
}

/// One MQTT connection, either side, in either version (4).
///
/// A client begins with [`client`](Self::client), a server with [`server`](Self::server). Feed it with
/// [`handle_input`](Self::handle_input) until that answers `None`, serving each event with commands
/// (`accept`, `publish`, `acknowledge`, ...) before the next call. Then write what
/// [`slices`](Self::slices) holds, tell [`written`](Self::written), and arm a timer for
/// [`poll_timeout`](Self::poll_timeout). `now` never goes back. It holds no socket and no clock.
///
/// Input that is left although bytes are there waits for the caller: for the answer to a CONNECT or an
/// AUTH, and with 3.1.1 for an acknowledgement; call `handle_input` again after it.
///
/// On an error the engine has queued what tells the peer; write it out, half-close the socket and
/// drop input until the peer closes. [`session_state`](Self::session_state) is what a later
/// connection resumes.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use bytes::{Bytes, BytesMut};
/// use mq_mqtt::packet::{Connect, Text};
/// use mq_mqtt::{Accept, Config, Connection, Event, Outgoing, SessionState};
///
/// fn carry(from: &mut Connection, to: &mut BytesMut) {
///     let mut slices = [std::io::IoSlice::new(&[]); 8];
///     let used = from.slices(&mut slices);
///     let count = slices[..used].iter().map(|slice| slice.len()).sum();
///     slices[..used].iter().for_each(|slice| to.extend_from_slice(slice));
///     from.written(Instant::now(), count);
/// }
///
/// let (config, now) = (Arc::new(Config::default()), Instant::now());
/// let connect = Connect { client_id: Text::new("kitchen")?, clean_start: true, ..Connect::default() };
/// let mut client = Connection::client(config.clone(), &connect, SessionState::default(), now)?;
/// let mut server = Connection::server(config, now);
/// let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
///
/// carry(&mut client, &mut to_server);
/// assert!(matches!(server.handle_input(now, &mut to_server)?, Some(Event::Connect(_))));
/// server.accept(now, Accept::default())?;
/// carry(&mut server, &mut to_client);
/// assert!(matches!(client.handle_input(now, &mut to_client)?, Some(Event::Connected(_))));
///
/// client.publish(&Outgoing::new("sensors/kitchen", &Bytes::from_static(b"21.5")))?;
/// carry(&mut client, &mut to_server);
/// let Some(Event::Publish(publish)) = server.handle_input(now, &mut to_server)? else { panic!() };
/// assert_eq!((publish.topic(), publish.payload()), ("sensors/kitchen", &b"21.5"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    side: Side,
    version: Version,
    expect: Expect,
    outbox: Outbox,
    peer: Peer,
    /// Boxed: few connections have one.
    authentication: Option<Box<Authentication>>,
    /// The session expiry interval of the CONNECT, in seconds: what DISCONNECT may change (3.14.2.2.2).
    session_expiry_interval: u32,
    /// Client: the session is new, whatever the server has (3.1.2.4).
    clean_start: bool,
    keep_alive: Option<Duration>,
    created: Instant,
    last_received: Instant,
    last_sent: Instant,
    /// Client: when the PINGREQ left that has not been answered.
    pinged: Option<Instant>,
    /// Identifiers of ours in use.
    outgoing: Flights<Flight>,
    /// Publications of ours that count against the peer's receive maximum.
    outgoing_used: u16,
    /// Publications of the resumed session that have not been sent again, in their order.
    unsent: VecDeque<PacketId>,
    /// The identifier to try next.
    next_packet_id: PacketId,
    /// The place of the next publication in the order of all.
    next_sequence: u32,
    /// The peer's identifiers in use.
    incoming: Flights<IncomingState>,
    /// Publications of the peer that count against our receive maximum.
    incoming_used: u16,
    /// Publications of the peer that wait for the caller's acknowledgement.
    incoming_pending: u16,
    incoming_aliases: IncomingAliases,
    /// Boxed: made with the first alias.
    outgoing_aliases: Option<Box<OutgoingAliases>>,
}

impl Connection {
    /// A server's connection whose socket has just been accepted.
    pub fn server(config: Arc<Config>, now: Instant) -> Self {
        Self::new(config, Side::Server, now)
    }

    fn new(config: Arc<Config>, side: Side, now: Instant) -> Self {
        Self {
            config,
            side,
            version: Version::V5_0,
            expect: if side == Side::Server { Expect::Connect } else { Expect::ConnAck },
            outbox: Outbox::default(),
            peer: Peer::default(),
            authentication: None,
            session_expiry_interval: 0,
            clean_start: true,
            keep_alive: None,
            created: now,
            last_received: now,
            last_sent: now,
            pinged: None,
            outgoing: Flights::default(),
            outgoing_used: 0,
            unsent: VecDeque::new(),
            next_packet_id: PacketId::FIRST,
            next_sequence: 0,
            incoming: Flights::default(),
            incoming_used: 0,
            incoming_pending: 0,
            incoming_aliases: IncomingAliases::default(),
            outgoing_aliases: None,
        }
    }

    // ---- input -------------------------------------------------------------------------------------

    /// Takes whole packets out of `input` until one of them causes an event; a partial one stays in
    /// it. Call it again until it answers `None`, having served each event.
    ///
    /// # Errors
    /// When the peer broke a rule that ends the connection. What tells it so is queued.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<Option<Event>, PeerError> {
        let result = self.take_input(now, input);
        if let Err(error) = &result {
            self.fail(error);
            input.clear();
        }
        result
    }

    fn take_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<Option<Event>, PeerError> {
        loop {
            match self.expect {
                Expect::Done => {
                    input.clear();
                    return Ok(None);
                }
                Expect::Answer => return Ok(None),
                Expect::Packets if self.waits_for_acknowledgement() => return Ok(None),
                Expect::Connect => check_first_byte(input)?,
                Expect::Auth | Expect::ConnAck | Expect::Packets => {}
            }
            let Some(packet) = next_packet(input, self.max_packet_size())? else { return Ok(None) };
            self.last_received = now;
            self.pinged = None;
            if let Some(event) = self.handle_packet(packet)? {
                return Ok(Some(event));
            }
        }
    }

    fn max_packet_size(&self) -> u32 {
        let limits = &self.config.limits;
        match self.expect {
            Expect::Connect | Expect::Auth => limits.max_handshake_packet_size.min(limits.max_packet_size),
            _ => limits.max_packet_size,
        }
    }

    fn handle_packet(&mut self, raw: RawPacket) -> Result<Option<Event>, PeerError> {
        let packet_type = raw.first >> 4;
        if !is_due(packet_type, self.expect, self.side, self.version) {
            let (expect, side) = (self.expect, self.side);
            let text = format!("packet type {packet_type} where the {side:?} waits for {expect:?}");
            return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        }
        // The hot path, without a detour over what else a packet could be.
        if packet_type == 3 {
            let publish = decode_publish(raw.first & 0x0f, raw.body, self.version, &self.config.limits)?;
            return self.handle_publish(publish);
        }
        let connect_version = (self.expect == Expect::Connect).then(|| sniff_version(&raw.body)).flatten();
        let packet = decode(raw, self.version, &self.config.limits).map_err(|error| {
            // Whatever the error, the answer has to be in a form that the client reads.
            self.version = connect_version.unwrap_or(self.version);
            if self.expect == Expect::Connect {
                self.refuse_connect(error, connect_version)
            } else {
                error.into()
            }
        })?;
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish),
            Packet::PubAck(ack) => self.handle_pub_ack(ack),
            Packet::PubRec(ack) => self.handle_pub_rec(ack),
            Packet::PubRel(ack) => self.handle_pub_rel(&ack),
            Packet::PubComp(ack) => self.handle_pub_comp(&ack),
            Packet::PingReq => {
                self.outbox.buffer().extend_from_slice(&PING_RESPONSE);
                Ok(None)
            }
            Packet::PingResp => Ok(None),
            Packet::Connect(connect) => self.handle_connect(connect).map(Some),
            Packet::ConnAck(packet) => self.handle_conn_ack(packet).map(Some),
            Packet::Subscribe(packet) => self.handle_subscribe(packet).map(Some),
            Packet::SubAck(packet) => self.handle_sub_ack(packet).map(Some),
            Packet::Unsubscribe(packet) => Ok(Some(Event::Unsubscribe(packet))),
            Packet::UnsubAck(packet) => self.handle_unsub_ack(packet).map(Some),
            Packet::Disconnect(packet) => self.handle_disconnect(packet).map(Some),
            Packet::Auth(packet) => self.handle_auth(packet).map(Some),
        }
    }

    /// 3.14.
    fn handle_disconnect(&mut self, packet: Box<Disconnect>) -> Result<Event, PeerError> {
        let them = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        if !packet.reason.is_disconnect_from(them) {
            let text = format!("a {them:?} must not disconnect with {}", packet.reason);
            return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        }
        let expiry = packet.properties.view().session_expiry_interval();
        // 3.14.2-2: a server must not send one. 3.14.2.2.2: with 0 in the CONNECT it must stay 0.
        let is_server = them == Side::Server;
        if expiry.is_some_and(|expiry| is_server || (expiry > 0 && self.session_expiry_interval == 0)) {
            let text = "a session expiry interval that DISCONNECT must not set";
            return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        }
        self.finish();
        Ok(Event::Disconnected(packet))
    }

    /// Ends the connection: queues a DISCONNECT where the version has one for our side. Nothing more
    /// comes of the connection. A client may do so before the CONNACK; a server refuses instead.
    ///
    /// # Errors
    /// When our side may not give the reason, or a property is out of place.
    pub fn disconnect(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        let is_ready = match self.side {
            Side::Client => self.expect != Expect::Done,
            Side::Server => self.expect == Expect::Packets,
        };
        if !is_ready {
            return Err(Misuse::State);
        }
        if !reason.is_disconnect_from(self.side) {
            return Err(Misuse::Reason(reason));
        }
        let expiry = properties.session_expiry_interval();
        let is_server = self.side == Side::Server;
        if expiry.is_some_and(|expiry| is_server || (expiry > 0 && self.session_expiry_interval == 0)) {
            return Err(Misuse::Property);
        }
        self.write_disconnect(reason, properties);
        self.finish();
        Ok(())
    }

    /// 3.1.1 has a DISCONNECT for clients alone.
    fn write_disconnect(&mut self, reason: ReasonCode, properties: PropertyView<'_>) {
        if self.version == Version::V3_1_1 && self.side == Side::Server {
            return;
        }
        // 3.14.2-3: reasons in words must not make it larger than the peer takes.
        let is_fit = packet_size(1, properties) <= self.peer.max_packet_size as usize;
        let properties = if is_fit { properties } else { PropertyView::default() };
        write_disconnect(self.outbox.buffer(), reason, properties, self.version);
    }

    // ---- output and time ---------------------------------------------------------------------------

    /// Fills `slices` with what to write next; says how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.outbox.slices(slices)
    }

    /// So many bytes have been written.
    pub fn written(&mut self, now: Instant, count: usize) {
        self.last_sent = now;
        self.outbox.advance(count);
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        self.outbox.len()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.expect, self.side) {
            (Expect::Done | Expect::Answer, _) => None,
            (Expect::Packets, Side::Server) => self.silence().map(|silence| self.last_received + silence),
            (Expect::Packets, Side::Client) => {
                let ping = self.keep_alive.map(|keep_alive| self.last_sent + keep_alive);
                let answer = self.pinged.map(|pinged| pinged + self.config.limits.ping_timeout);
                answer.or(ping)
            }
            _ => Some(self.created + self.config.limits.handshake_timeout),
        }
    }

    /// 3.1.2-22: how long a client may be silent.
    fn silence(&self) -> Option<Duration> {
        self.keep_alive.map(|keep_alive| keep_alive + keep_alive / 2)
    }

    /// Time has passed: a client's ping leaves, and a silent peer is given up.
    ///
    /// # Errors
    /// When the peer was silent for too long. What tells it so is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Ok(());
        }
        let limits = &self.config.limits;
        let error = match (self.expect, self.side) {
            // It is we who do not read.
            (Expect::Packets, Side::Server) if self.waits_for_acknowledgement() => {
                self.excuse_silence(now);
                return Ok(());
            }
            (Expect::Packets, Side::Server) => {
                PeerError::KeepAlive(self.silence().unwrap_or_default().as_millis())
            }
            (Expect::Packets, Side::Client) if self.pinged.is_some() => {
                PeerError::Ping(limits.ping_timeout.as_millis())
            }
            (Expect::Packets, Side::Client) => {
                // Not yet written is as good as sent: the socket has bytes waiting.
                self.last_sent = now;
                self.pinged = Some(now);
                self.outbox.buffer().extend_from_slice(&PING_REQUEST);
                return Ok(());
            }
            _ => PeerError::Handshake(limits.handshake_timeout.as_millis()),
        };
        self.fail(&error);
        Err(error)
    }

    /// The caller has not read the socket until now: the peer's silence is none.
    pub fn excuse_silence(&mut self, now: Instant) {
        self.last_received = now;
        self.pinged = self.pinged.map(|_| now);
    }

    /// Gives back memory that only a busy connection needs. Topic aliases of ours are set up anew.
    pub fn shrink(&mut self) {
        self.outbox.shrink();
        self.outgoing.shrink();
        self.incoming.shrink();
        self.unsent.shrink_to_fit();
        self.outgoing_aliases = None;
    }

    /// Memory kept for what may come: 0 on a connection that is idle and shrunk.
    #[cfg(test)]
    pub(crate) fn spare_capacity(&self) -> usize {
        self.outbox.capacity()
            + self.outgoing.capacity()
            + self.incoming.capacity()
            + self.unsent.capacity()
            + usize::from(self.outgoing_aliases.is_some())
    }

    // ---- what the outside sees ---------------------------------------------------------------------

    /// Whether `handle_input` takes packets now: not while the caller owes the answer to a CONNECT or
    /// AUTH, or as many acknowledgements as a 3.1.1 client may wait for.
    pub fn takes_input(&self) -> bool {
        self.expect != Expect::Answer && !(self.is_open() && self.waits_for_acknowledgement())
    }

    /// Whether nothing more will come of the connection: write what is buffered, close the socket.
    pub fn is_done(&self) -> bool {
        self.expect == Expect::Done
    }

    /// Whether the handshake is through and nobody has ended the connection.
    pub fn is_open(&self) -> bool {
        self.expect == Expect::Packets
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The version of the connection; a server knows it once it has seen the CONNECT.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Seconds that the session is to outlive the connection, as the CONNECT or the server said;
    /// a DISCONNECT may change it (3.1.2.11.2). In 3.1.1 it says 0 or `u32::MAX`.
    pub fn session_expiry_interval(&self) -> u32 {
        self.session_expiry_interval
    }

    /// Seconds of the keep alive in force, 0 for none.
    pub fn keep_alive(&self) -> u64 {
        self.keep_alive.map_or(0, |keep_alive| keep_alive.as_secs())
    }

    /// Bytes of a packet that the peer takes; `u32::MAX` when it set no bound.
    pub fn peer_max_packet_size(&self) -> u32 {
        self.peer.max_packet_size
    }

    // ---- inside ------------------------------------------------------------------------------------

    /// Tells the peer what it did wrong, where its version can say it, and stops.
    fn fail(&mut self, error: &PeerError) {
        let reason = error.reason();
        match self.expect {
            // Already told, by what made the error.
            _ if matches!(error, PeerError::Refused { .. }) => {}
            Expect::Packets => {
                let reason =
                    if reason.is_disconnect_from(self.side) { reason } else { ReasonCode::UnspecifiedError };
                // 3.1.1, 4.8: the connection is closed without a word.
                if self.version == Version::V5_0 && !matches!(error, PeerError::Ping(_)) {
                    self.write_disconnect(reason, PropertyView::default());
                }
            }
            Expect::Auth => self.write_refusal(reason),
            Expect::Connect | Expect::Answer | Expect::ConnAck | Expect::Done => {}
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.expect = Expect::Done;
    }
}

/// Bytes of a packet with a list of properties and so many bytes besides, as 5.0 writes it.
fn packet_size(besides: usize, properties: PropertyView<'_>) -> usize {
    let prefix = |length: usize| variable_size(u32::try_from(length).unwrap_or(u32::MAX));
    let length = properties.as_bytes().len();
    let remaining = besides + prefix(length) + length;
    1 + prefix(remaining) + remaining
}

/// 3.1.0-1: "the first packet sent from the Client to the Server MUST be a CONNECT packet". Said before
/// its length is looked at.
fn check_first_byte(input: &BytesMut) -> Result<(), PeerError> {
    match input.first() {
        Some(first) if first >> 4 != 1 => {
            let text = format!("packet type {} before a CONNECT", first >> 4);
            Err(PeerError::protocol(ReasonCode::ProtocolError, text))
        }
        _ => Ok(()),
    }
}

/// The version that a CONNECT asks for, of those that have an answer of their own, before the rest of
/// it is read.
fn sniff_version(body: &[u8]) -> Option<Version> {
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => {
            Some(if *level < 5 { Version::V3_1_1 } else { Version::V5_0 })
        }
        // 3.1, the version before.
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, ..] => Some(Version::V3_1_1),
        _ => None,
    }
}

/// Whether a type of packet may come now: from that side, in that version, at that point.
fn is_due(packet_type: u8, expect: Expect, side: Side, version: Version) -> bool {
    let is_v5 = version == Version::V5_0;
    match (expect, packet_type) {
        (Expect::Connect, 1) => side == Side::Server,
        (Expect::ConnAck, 2) => side == Side::Client,
        (Expect::ConnAck | Expect::Auth, 15) => is_v5,
        // A client may give up before it is let in, and a server may send it away (3.14, 4.13.1).
        (Expect::Auth, 14) => true,
        (Expect::ConnAck, 14) => is_v5,
        (Expect::Packets, 3..=7) => true,
        (Expect::Packets, 8 | 10 | 12) => side == Side::Server,
        (Expect::Packets, 9 | 11 | 13) => side == Side::Client,
        (Expect::Packets, 14) => side == Side::Server || is_v5,
        (Expect::Packets, 15) => is_v5,
        // Not defined: said when it is decoded.
        (_, 0) => true,
        _ => false,
    }
}
