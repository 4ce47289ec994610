//! MQTT between the engine and the core.
//!
//! A connection lives on the shard of its session ([`session`]). What connects, ends and is kept of a
//! client is decided in [`connect`], [`disconnect`] and [`session`]; what it publishes and gets is the
//! rest. The socket's part of a connection knows nothing of either.

mod connect;
mod deliver;
mod disconnect;
pub(crate) mod envelope;
mod fleet;
mod flows;
mod moves;
mod names;
mod parcel;
mod publish;
mod record;
mod retained;
mod session;
mod store;
mod subscribe;
pub(super) mod to_amqp;
pub(super) mod to_mqtt;
mod view;
mod will;
mod words;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mq_core::{ProducerKey, TransactionId};
use mq_model::config::DaemonConfig;
use mq_mqtt::property::{PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{Config, Event, Limits, Qos, ReasonCode};
use tracing::info;

use self::connect::Connecting;
use self::deliver::Outflow;
use self::flows::Messages;
use self::moves::Moves;
use self::publish::Intake;
pub(super) use self::session::Session;
pub(super) use self::session::SessionKey as SessionToken;
use self::session::SessionKey;
use self::session::{Numbers, Sessions};
pub(crate) use self::session::{
    SHARE_PREFIX, SUBSCRIPTION_PREFIX, filter_inside, object_home, subscription_outside,
};
use self::store::Awaited;
pub(crate) use self::store::KeptClients;
pub(super) use self::subscribe::queue_settings;
use self::will::{End, Wills};
use super::Shard;
use super::protocol::{Farewell, Protocol};
use super::transport::Transport;

/// A client of MQTT, as long as its connection lives.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) engine: mq_mqtt::Connection,
    pub(super) transport: Transport,
    /// From the CONNECT on, and until the connection or the session ends.
    pub(super) session: Option<SessionKey>,
    /// As the client knows it, for people to read; empty before the CONNECT.
    client_id: Arc<str>,
    /// It has sent its CONNECT, and the disk does not know of it yet.
    connecting: Option<Box<Connecting>>,
    /// What its end will have been, as far as is known.
    end: End,
    /// What it publishes.
    pub(super) intake: Intake,
    /// What it gets.
    pub(super) outflow: Outflow,
    /// The node stops: nothing more is read of it but what it owes.
    pub(super) is_leaving: bool,
    /// Since when nothing more is read of it, although it may be its own acknowledgements that are missing.
    caught_since: Option<Instant>,
}

/// What all clients of a shard have in common.
#[derive(Debug)]
pub(super) struct Mqtt {
    pub(super) config: Arc<Config>,
    pub(super) sessions: Sessions,
    pub(super) messages: Messages,
    awaited: Awaited,
    wills: Wills,
    numbers: Numbers,
    /// Subscriptions whose sessions are on other nodes, if they still are.
    doubts: Vec<fleet::Doubt>,
    /// Sessions on their way to other nodes and from them.
    moves: Moves,
    recovered: store::Recovered,
    /// Addresses that have changed, each with the first session that has not looked yet.
    errands: VecDeque<(Arc<str>, usize)>,
    /// Addresses that sessions want something of, and whose homes could not be reached.
    out_of_reach: BTreeSet<Arc<str>>,
    /// Sessions whose own subscription at a topic has a consumer already: the one of the node that they have left, of
    /// whose end the topic's home has not heard yet.
    pub(super) occupied: Vec<(SessionKey, Arc<str>)>,
    /// When a turn goes on that had no time for everything that was due.
    resume_at: Option<Instant>,
    /// Objects of sessions that have ended, which a transaction is about to write.
    late: HashMap<TransactionId, Bytes>,
    pub(super) counters: Counters,
    /// What the admin API waits for.
    listings: view::Listings,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Clients that were let in.
    pub(crate) connected: u64,
    /// Those of them whose session went on.
    pub(crate) resumed: u64,
    /// CONNECTs that were refused.
    pub(crate) refused: u64,
    /// Connections that another one of the client took over.
    pub(crate) taken_over: u64,
    /// Sessions whose time was over.
    pub(crate) expired: u64,
    /// Wills that were published.
    pub(crate) wills: u64,
    /// Wills that nobody took: no such address, or it refused.
    pub(crate) wills_refused: u64,
}

impl Mqtt {
    /// Nothing yet, under this configuration.
    pub(super) fn new(config: &DaemonConfig) -> Self {
        Self {
            config: Arc::new(engine_config(config)),
            sessions: Sessions::default(),
            messages: Messages::default(),
            awaited: Awaited::default(),
            wills: Wills::default(),
            numbers: Numbers::default(),
            doubts: Vec::new(),
            moves: Moves::default(),
            recovered: store::Recovered::default(),
            errands: VecDeque::new(),
            out_of_reach: BTreeSet::new(),
            occupied: Vec::new(),
            resume_at: None,
            late: HashMap::new(),
            counters: Counters::default(),
            listings: view::Listings::default(),
        }
    }

    /// Whether the core's producer is the one for wills.
    pub(super) fn publishes_wills(&self, producer: ProducerKey) -> bool {
        self.wills.is_producer(producer)
    }
}

/// Bytes of a CONNECT, unless packets are smaller at all.
const HANDSHAKE_PACKET: u32 = 256 << 10;

/// How long a client may be caught between what it publishes and what it does not acknowledge, with nothing
/// decided meanwhile. Longer than a disk takes.
const CAUGHT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the daemon's configuration means to the engine.
pub(super) fn engine_config(config: &DaemonConfig) -> Config {
    let mqtt = &config.mqtt;
    let defaults = Limits::default();
    let limits = Limits {
        max_packet_size: mqtt.max_packet_size,
        // Room for a will of any size (3.1.3.3), and for the rest.
        max_handshake_packet_size: HANDSHAKE_PACKET.min(mqtt.max_packet_size),
        receive_maximum: mqtt.receive_maximum.max(1),
        topic_alias_maximum: mqtt.topic_alias_maximum,
        max_outgoing_aliases: mqtt.topic_alias_maximum,
        handshake_timeout: Duration::from_millis(config.limits.handshake_timeout_ms.into()),
        ..defaults
    };
    Config {
        limits,
        // Each step is on disk before the packet that says so.
        automatic_release: false,
        maximum_qos: Qos::from_byte(mqtt.max_qos).unwrap_or(Qos::ExactlyOnce),
        retain_available: mqtt.max_retained > 0,
        ..Config::default()
    }
}

/// What the socket asks of a client. The turn calls `slices` and `written` until the socket is full or
/// there is nothing left.
impl Client {
    /// A client whose socket has just been accepted.
    pub(super) fn new(config: Arc<Config>, transport: Transport, now: Instant) -> Self {
        Self {
            engine: mq_mqtt::Connection::server(config, now),
            transport,
            session: None,
            client_id: Arc::default(),
            connecting: None,
            end: End::Unclean,
            intake: Intake::default(),
            outflow: Outflow::default(),
            is_leaving: false,
            caught_since: None,
        }
    }

    /// Fills `slices` with what to write next; says how many it used.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.engine.slices(slices)
    }

    /// So many bytes have been written.
    pub(super) fn written(&mut self, now: Instant, count: usize) {
        self.engine.written(now, count);
    }

    /// Bytes that wait to be written.
    pub(super) fn buffered(&self) -> usize {
        self.engine.buffered()
    }

    /// Whether more input can be served now: false while the engine waits for an answer of ours, or
    /// while the core or other shards have no room for what it publishes. Whoever makes it true again
    /// calls [`Shard::resume_reading`]; what was read before is then served first.
    pub(super) fn may_read(&self) -> bool {
        (!self.is_leaving || self.engine.in_flight() > 0)
            && self.engine.takes_input()
            && self.intake.may_read(self.engine.in_flight() > 0)
    }

    /// Whether no more is read of a client that owes acknowledgements: what it has published may wait for
    /// them, and they for being read.
    fn is_caught(&self) -> bool {
        self.engine.in_flight() > 0 && (!self.engine.takes_input() || self.intake.is_full())
    }

    /// When [`Shard::handle_mqtt_timeout`] is due. Looked at when a turn of the connection ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let caught = self.caught_since.and_then(|since| since.checked_add(CAUGHT_TIMEOUT));
        let pages = self.outflow.pages.as_ref().and_then(|pages| pages.poll_timeout());
        self.engine.poll_timeout().into_iter().chain(caught).chain(pages).min()
    }

    /// Whether nothing more will come of it. The socket is closed when what is buffered has left.
    pub(super) fn is_done(&self) -> bool {
        self.engine.is_done()
    }

    /// Gives back memory that only a busy connection needs: nothing has passed for some seconds.
    pub(super) fn shrink(&mut self) {
        self.engine.shrink();
        self.intake.shrink();
    }

    /// The client identifier; empty before the CONNECT.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }
}

/// What the socket tells of a client. An end of our own is `engine.disconnect` (or an error of the
/// engine, which has queued what tells the peer) and then [`Shard::start_closing`], which releases the
/// client, writes what is left and closes the socket after the peer.
impl Shard {
    /// When [`handle_mqtt_deadlines`](Self::handle_mqtt_deadlines) is due.
    pub(super) fn next_mqtt_deadline(&self, now: Instant) -> Option<Instant> {
        let mqtt = &self.mqtt;
        if !mqtt.recovered.is_done() {
            return mqtt.recovered.next_look();
        }
        let next = mqtt.resume_at.or_else(|| self.core.instant_of(mqtt.sessions.next_deadline()?, now));
        next.into_iter().chain(mqtt.wills.poll_timeout()).min()
    }

    /// Takes what was read. Stops when [`Client::may_read`] says so; what is left in `buffer` is kept and
    /// given again with what comes. A client that is done afterwards is closed by the caller.
    pub(super) fn handle_mqtt_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        while !self.is_held_up(key)
            && let Some(client) = self.connections.mqtt_mut(key)
        {
            if !client.may_read() {
                if client.is_caught() {
                    client.caught_since.get_or_insert(now);
                }
                break;
            }
            client.caught_since = None;
            if !self.core.has_live_room() {
                // Whoever publishes next would be ahead of another shard, whoever filled its window.
                self.stall(key);
                break;
            }
            match client.engine.handle_input(now, buffer) {
                Ok(Some(event)) => self.handle_mqtt_event(now, key, event),
                Ok(None) => break,
                Err(error) => {
                    info!(connection = %self.name_of(key), %error, "closing");
                    break;
                }
            }
        }
    }

    fn handle_mqtt_event(&mut self, now: Instant, key: usize, event: Event) {
        match event {
            Event::Publish(publish) => self.handle_publish(now, key, publish),
            Event::Acknowledged { .. }
            | Event::Received { .. }
            | Event::Completed { .. }
            | Event::Released { .. } => self.handle_flow_event(now, key, event),
            Event::Connect(connect) => self.handle_connect(now, key, connect),
            Event::Subscribe(packet) => self.handle_subscribe(now, key, &packet),
            Event::Unsubscribe(packet) => self.handle_unsubscribe(now, key, &packet),
            Event::Disconnected(packet) => self.handle_disconnect(now, key, &packet),
            Event::Auth(packet) => self.handle_auth(now, key, &packet),
            // Only a server says so, and we are the server.
            Event::Connected(_) | Event::SubAck(_) | Event::UnsubAck(_) => {}
        }
        self.run_effects(now);
        self.mark_dirty(key);
    }

    /// The deadline of [`Client::poll_timeout`] may have come.
    ///
    /// # Errors
    /// What ends the connection, for the log. What tells the peer is queued.
    pub(super) fn handle_mqtt_timeout(&mut self, now: Instant, key: usize) -> Result<(), String> {
        self.turn_page(now, key);
        self.run_effects(now);
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        let has_unread = connection.has_unread();
        let Protocol::Mqtt(client) = &mut connection.protocol else { return Ok(()) };
        if let Some(since) = client.caught_since
            && now.saturating_duration_since(since) >= CAUGHT_TIMEOUT
        {
            if client.is_caught() && has_unread {
                let words = "it publishes more than is taken, and its acknowledgements come behind that";
                self.disconnect_mqtt(key, ReasonCode::QuotaExceeded, words, End::Unclean);
                return Err(words.into());
            }
            // It has said nothing that is not read.
            client.caught_since = client.is_caught().then_some(now);
        }
        client.engine.handle_timeout(now).map_err(|error| error.to_string())
    }

    /// Something has been written: there may be room for more.
    pub(super) fn refill_mqtt(&mut self, now: Instant, key: usize) {
        self.refill_messages(now, key);
        // With a delivery unacknowledged, more is read.
        self.resume_reading(key);
    }

    /// Queues a DISCONNECT for a reason of ours; the client is done then.
    pub(super) fn close_mqtt(&mut self, _now: Instant, key: usize, farewell: Farewell, reason: &str) {
        let (reason_code, end) = match farewell {
            Farewell::Stopping => (ReasonCode::ServerShuttingDown, End::Stopping),
            Farewell::Administrative => (ReasonCode::AdministrativeAction, End::Unclean),
            Farewell::Unauthorized => (ReasonCode::NotAuthorized, End::Unclean),
            Farewell::Limit => (ReasonCode::QuotaExceeded, End::Unclean),
        };
        self.disconnect_mqtt(key, reason_code, reason, end);
    }

    /// Queues a DISCONNECT, or a CONNACK that refuses where that has not left; the client is done then.
    pub(super) fn disconnect_mqtt(&mut self, key: usize, reason: ReasonCode, words: &str, end: End) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        client.end = end;
        let mut writer = PropertyWriter::new(PropertyIn::Disconnect);
        let _ = writer.reason_string(words);
        let properties = writer.finish();
        if client.engine.disconnect(reason, properties.view()).is_err() {
            let _ = client.engine.refuse(ReasonCode::ServerUnavailable, PropertyView::default());
        }
        self.mark_dirty(key);
    }

    /// Takes everything of a client out of the core, whatever ended it. Called once at least when a
    /// connection ends, and maybe again.
    pub(super) fn release_mqtt(&mut self, now: Instant, key: usize) {
        self.end_connection(now, key);
    }
}
