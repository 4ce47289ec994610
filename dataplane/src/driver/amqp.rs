//! AMQP 1.0 between the engine and the core: events in, effects out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::DecodeError;
use mq_amqp::message::Header;
use mq_amqp::performative::{DeliveryState, Open, Role, SaslCode, Tag};
use mq_amqp::value::{Symbol, Text, Value};
use mq_amqp::{
    Config, DeliveryKey, Event, Events, IncomingTransfer, Limits, LinkKey, NO_TOKEN, Outgoing, SessionKey,
    Side, condition,
};
use mq_auth::{Mechanism, Refusal};
use mq_core::{
    ConsumerKey, Effect, Incoming, LaneKey, LegKey, Outcome, ProducerKey, Redelivery, Refused, UnixMillis,
};
use mq_model::TEMPORARY_PREFIX;
use mq_model::config::DaemonConfig;
use mq_model::space::split_qualified;
use mq_model::user::ANONYMOUS;
use tracing::{debug, error, info};

use super::access::{Access, Denied, How};
use super::attach::{CAPABILITIES, closed, local_name};
use super::choice::Astray;
use super::limits::too_much;
use super::login::Progress;
use super::message::{
    AMQP_FORMAT, Changes, Schedule, Start, Ttl, Wants, annotation, changed, is_cut_short, map_of, read_start,
};
use super::mqtt::envelope::{Envelope, MQTT_FORMAT};
use super::mqtt::to_amqp::{Ids, Occasion, RETAIN, encoded};
use super::outcome::{from_state, to_state};
use super::outward::{Outward, told};
use super::protocol::{Farewell, Protocol};
use super::{LANE_BUDGET, LEAST_LANE_BUDGET, Shard};
use crate::shard::unix_millis;
use crate::tls::Encryption;
use crate::usage::{Held, Limit};

/// Events for which the shard keeps room.
const EVENTS_KEPT: usize = 1_024;

/// Bytes at the beginning of a message in which the driver looks for what it has to read.
const HEAD_LIMIT: usize = 64 << 10;

/// Bytes of a connection's product and container that are kept.
const MAX_LABEL: usize = 128;

/// How long a client has to answer our close before our end of its socket is shut.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// A client of AMQP, as long as its connection lives.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) engine: mq_amqp::Connection,
    pub(super) sessions: Vec<Option<SessionState>>,
    /// The peer's container-id, for people to read.
    pub(super) container: Box<str>,
    /// The same in full: it is part of the names of durable subscriptions.
    pub(super) container_id: Text,
    pub(super) product: Option<Box<str>>,
    /// The node has opened the connection itself.
    pub(super) outward: Option<Box<Outward>>,
}

impl Client {
    pub(super) fn new(config: Arc<Config>, now: Instant) -> Self {
        Self::with_engine(mq_amqp::Connection::new(config, Side::Server, now))
    }

    pub(super) fn with_engine(engine: mq_amqp::Connection) -> Self {
        Self {
            engine,
            sessions: Vec::new(),
            container: "".into(),
            container_id: Text::default(),
            product: None,
            outward: None,
        }
    }

    /// Keeps what the peer says of itself.
    pub(super) fn introduce(&mut self, open: &Open) {
        self.container = label(open.container_id.as_str());
        self.container_id = open.container_id.clone();
        self.product = product_of(open);
    }
}

/// A session of the connection, as the driver sees it.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) key: SessionKey,
    pub(super) lane: LaneKey,
    /// Bytes received on the session that the core has not passed on.
    pub(super) held: u64,
    /// Transfer frames of those bytes that the peer's window has not got back.
    pub(super) owed: u32,
    /// Something was sent on the session since its lane was filled up.
    pub(super) has_sent: bool,
    /// What it counts for.
    _counted: Option<Held>,
}

/// Bytes that the core may have in flight towards each of so many sessions of a connection.
fn lane_share(sessions: usize) -> usize {
    (LANE_BUDGET / sessions.max(1)).max(LEAST_LANE_BUDGET)
}

/// The configurations of the engine that differ in how a client may say who it is, made when they are needed.
#[derive(Debug, Default)]
pub(super) struct EngineConfigs(Vec<(Vec<Mechanism>, Arc<Config>)>);

impl EngineConfigs {
    /// The configuration for clients that may use these mechanisms. There are few such lists: they depend on
    /// the listener and on whether the connection is encrypted.
    fn with(&mut self, mechanisms: Vec<Mechanism>, config: &DaemonConfig) -> Arc<Config> {
        if let Some((_, known)) = self.0.iter().find(|(offered, _)| *offered == mechanisms) {
            return known.clone();
        }
        let made = Arc::new(engine_config(config, &mechanisms));
        self.0.push((mechanisms, made.clone()));
        made
    }
}

/// What the engines of connections with these mechanisms, best first, have in common.
fn engine_config(config: &DaemonConfig, mechanisms: &[Mechanism]) -> Config {
    Config {
        mechanisms: mechanisms.iter().map(|mechanism| Symbol::from_static(mechanism.name())).collect(),
        // Who leaves SASL out says nothing, as with ANONYMOUS.
        allow_plain_header: mechanisms.contains(&Mechanism::Anonymous),
        offered_capabilities: CAPABILITIES.to_vec(),
        ..engine_limits(config)
    }
}

/// What all engines have in common, those of connections that the node opens itself, too.
pub(super) fn engine_limits(config: &DaemonConfig) -> Config {
    let limits = &config.limits;
    let millis = |millis: u32| Duration::from_millis(millis.into());
    // The window counts frames; the largest frames fill it to the configured bytes.
    let window = limits.session_window / u64::from(limits.max_frame_size);
    Config {
        container_id: Text::from(config.node.as_str()),
        hostname: None,
        mechanisms: Vec::new(),
        allow_plain_header: false,
        idle_timeout: (limits.idle_timeout_ms > 0).then(|| millis(limits.idle_timeout_ms)),
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: vec![
            (Value::Symbol(Symbol::from_static("product")), Value::from("mq")),
            (Value::Symbol(Symbol::from_static("version")), Value::from(env!("CARGO_PKG_VERSION"))),
        ],
        limits: Limits {
            max_frame_size: limits.max_frame_size,
            channel_max: u16::try_from(limits.max_sessions.saturating_sub(1)).unwrap_or(u16::MAX),
            handle_max: limits.max_links.saturating_sub(1).min(u32::from(u16::MAX)),
            incoming_window: u32::try_from(window.max(4)).unwrap_or(u32::MAX),
            handshake_timeout: millis(limits.handshake_timeout_ms),
            // Proton's clients wait for the end of the socket when they are told to go. Who answers later is
            // still listened to for a while after our end of the socket is shut.
            close_timeout: CLOSE_TIMEOUT,
            ..Limits::default()
        },
    }
}

/// What has come of the beginning of a message.
enum Head {
    Ready(Bytes),
    /// It goes on in the next frame.
    Unfinished,
    Refused(Outcome),
    Aborted,
}

impl Shard {
    /// Feeds the engine and serves every event, until it wants more input.
    pub(super) fn handle_amqp_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        let mut events = std::mem::take(&mut self.events);
        while let Some(connection) = self.connections.amqp_mut(key) {
            let result = connection.engine.handle_input(now, buffer, &mut events);
            let had_events = !events.is_empty();
            while let Some(event) = events.pop_front() {
                self.handle_event(now, key, event);
            }
            if let Err(error) = result {
                self.note_failure(key, || error.to_string());
                info!(connection = %self.name_of(key), %error, "closing");
                break;
            }
            if !had_events || buffer.is_empty() || self.is_held_up(key) {
                break;
            }
        }
        if events.capacity() > EVENTS_KEPT {
            // One disposition can speak of thousands of deliveries.
            events = Events::new();
        }
        self.events = events;
    }

    fn handle_event(&mut self, now: Instant, key: usize, event: Event) {
        match event {
            Event::Transfer(transfer) => self.handle_transfer(now, key, transfer),
            Event::Disposition {
                role: Role::Sender,
                delivery,
                delivery_token,
                state: Some(DeliveryState::Transactional(state)),
                settled,
            } => self.retire(now, key, delivery, delivery_token, *state, settled),
            Event::Disposition { role, delivery: _, delivery_token, state, settled } => {
                self.handle_disposition(now, role, delivery_token, state, settled);
            }
            Event::LinkFlow { token, credit, drain, transaction, .. } => {
                self.set_acquisition(now, key, token, transaction.as_deref());
                if let Some(consumer) = ConsumerKey::from_bits(token)
                    && !(self.is_draining() && self.is_stored(token))
                {
                    self.core.set_credit(now, consumer, credit, drain);
                }
            }
            Event::LinkDrained { token, .. } => {
                if let Some(producer) = ProducerKey::from_bits(token) {
                    self.core.producer_stopped(now, producer);
                }
            }
            Event::LinkAttached { link, attach } if self.is_outward(key) => {
                self.outward_attached(now, key, link, &attach);
            }
            Event::LinkAttached { link, attach } => self.handle_attach(now, key, link, &attach),
            Event::MessageTooLarge { limit, .. } => self.note_too_large(key, limit),
            Event::LinkDetached { link, role, token, error, closed } => {
                if let Some(error) = error {
                    self.note_route_end(key, link, &error);
                    debug!(connection = %self.name_of(key), condition = %error.condition, "link detached");
                }
                if closed && role == Role::Sender {
                    self.end_subscription(now, token);
                }
                self.remove_link(now, role, token);
                self.route_gone(now, key, link);
            }
            Event::SessionBegun { session } => {
                self.handle_begin(now, key, session);
                self.outward_begun(now, key);
            }
            Event::SessionEnded { session, links, error, .. } => {
                if let Some(error) = &error {
                    debug!(connection = %self.name_of(key), condition = %error.condition, "session ended");
                }
                self.outward_ended(now, key, session, error.as_deref());
                self.handle_end(now, key, session, &links);
            }
            Event::SaslInit { mechanism, response, hostname } => {
                let host_space = hostname.and_then(|host| self.name_of_host(host.as_str()));
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.caller.host_space = host_space;
                }
                self.handle_sasl(now, key, &mechanism, response.as_deref());
            }
            Event::SaslResponse(response) => {
                let progress = self.continue_login(now, key, &response);
                self.sasl_progress(key, progress);
            }
            Event::Opened(open) if self.is_outward(key) => self.outward_opened(now, key, &open),
            Event::Opened(open) => self.handle_open(now, key, &open),
            Event::Closed { error } => {
                if let Some(error) = error {
                    self.note_failure(key, || told(&error));
                    info!(connection = %self.name_of(key), condition = %error.condition, "closed by the client");
                }
            }
            // A server asks, it is not asked; who connects has logged in before he is here.
            Event::SaslMechanisms(_) | Event::SaslChallenge(_) | Event::SaslOutcome { .. } => {}
        }
        self.run_prompt_effects(now);
    }

    // ---- connection and session -----------------------------------------------------------------

    /// A client that has just come, and what it may say about itself.
    pub(super) fn amqp_client(
        &mut self,
        now: Instant,
        is_local: bool,
        encryption: Option<&Encryption>,
    ) -> Client {
        let is_offered = |mechanism: &Mechanism| self.offers(is_local, encryption, *mechanism);
        let offered = Mechanism::ALL.into_iter().filter(is_offered);
        let offered = offered.collect();
        Client::new(self.engine_configs.with(offered, &self.config), now)
    }

    fn handle_sasl(&mut self, now: Instant, key: usize, mechanism: &Symbol, response: Option<&[u8]>) {
        // The engine lets none through that is not offered.
        let progress = match Mechanism::from_name(mechanism.as_str()) {
            Some(mechanism) => self.begin_login(now, key, mechanism, response, None),
            None => Progress::Refused(Refusal::NotAllowed),
        };
        self.sasl_progress(key, progress);
    }

    /// Says to a client what has come of what it said.
    pub(super) fn sasl_progress(&mut self, key: usize, progress: Progress) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Amqp(client) = &mut connection.protocol else { return };
        let result = match progress {
            Progress::Later => return,
            Progress::Challenge(challenge) => client.engine.sasl_challenge(challenge.into()),
            Progress::In { access, last } => {
                connection.caller.access = Some(access);
                connection.caller.login = None;
                client.engine.sasl_outcome(SaslCode::Ok, last.map(Bytes::from))
            }
            Progress::Refused(refusal) => {
                connection.caller.login = None;
                // AMQP 5.3.3.6: what may go well another time is no fault of the credentials.
                let code = if refusal.is_temporary() { SaslCode::SysTemp } else { SaslCode::Auth };
                client.engine.sasl_outcome(code, None)
            }
        };
        debug_assert!(result.is_ok(), "the engine asked for an answer");
    }

    fn handle_open(&mut self, now: Instant, key: usize, open: &Open) {
        let is_draining = self.is_draining();
        let is_admitted = self.admit_client(key, open).is_ok();
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        connection.introduce(open);
        if is_draining {
            return self.force_close(now, key, Farewell::Stopping, &Refused::Stopping.to_string());
        }
        if !is_admitted {
            info!(connection = %self.name_of(key), "the host is not the client's space, or none for it");
            return self.force_close(now, key, Farewell::Unauthorized, &Refusal::Credentials.to_string());
        }
        if let Err(exceeded) = self.take_place(key, None) {
            self.note_refused(key, &exceeded);
            return self.force_close(now, key, Farewell::Limit, &exceeded.to_string());
        }
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let result = connection.engine.open();
        debug_assert!(result.is_ok(), "the engine asked for an answer");
        let container = connection.container.clone();
        let Some(connection) = self.connections.get(key) else { return };
        let user = connection.caller.access.as_ref().map_or(ANONYMOUS, |access| access.name());
        let how = connection.caller.access.as_ref().map(|access| access.how());
        let (space, peer) = (self.space_of(key), connection.peer);
        info!(connection = %self.name_of(key), %container, user, space = %space.name(), ?how, %peer, "opened");
    }

    /// A client that has said who it is says how it calls itself, and with which host it wants to speak. Who has
    /// left SASL out is anonymous: the engine lets him, where that is enough.
    ///
    /// # Errors
    /// When that host is for another space than the client's own.
    fn admit_client(&mut self, key: usize, open: &Open) -> Result<(), Astray> {
        let host = open.hostname.as_ref().and_then(|host| self.name_of_host(host.as_str()));
        let Some(caller) = self.connections.get_mut(key).map(|connection| &mut connection.caller) else {
            return Err(Astray);
        };
        if let Some(host) = host {
            let own = caller.access.as_ref().filter(|access| access.is_named());
            let own = own.map(|access| access.space().name()).or(caller.host_space.as_ref());
            if own.is_some_and(|own| *own != host) {
                return Err(Astray);
            }
            caller.host_space = Some(host);
        }
        let space = match caller.access.as_ref().map(|access| (access.is_named(), access.how())) {
            Some((true, _)) => None,
            None | Some((false, How::Anonymous)) => Some(self.placed_anonymously(key)?.clone()),
            Some((false, _)) => Some(self.placed_without_name(key)?.clone()),
        };
        let Some(caller) = self.connections.get_mut(key).map(|connection| &mut connection.caller) else {
            return Err(Astray);
        };
        // It has told, and is where it belongs.
        caller.host_space = None;
        if let Some(space) = space {
            match &mut caller.access {
                Some(access) => access.move_to(space),
                None => {
                    *self.logins.entry((Mechanism::Anonymous.name(), "accepted")).or_default() += 1;
                    caller.access = Some(Box::new(Access::anonymous(space)));
                }
            }
        }
        if let Some(access) = &mut caller.access {
            access.set_client(open.container_id.as_str());
        }
        Ok(())
    }

    /// The name of the space that a host is for, if it is one's.
    fn name_of_host(&self, host: &str) -> Option<Arc<str>> {
        self.space_of_host(host).map(|space| space.name().clone())
    }

    fn handle_begin(&mut self, now: Instant, key: usize, session: SessionKey) {
        let counted = match self.take(key, Limit::Sessions) {
            Ok(counted) => counted,
            Err(exceeded) => return self.refuse_session(key, session, &exceeded),
        };
        let lane = self.core.add_lane();
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let sessions = connection.sessions.iter().flatten().count() + 1;
        self.core.set_lane_budget(now, lane, lane_share(sessions));
        let index = usize::from(session.channel());
        if connection.sessions.len() <= index {
            connection.sessions.resize_with(index + 1, || None);
        }
        self.sessions += 1;
        connection.sessions[index] =
            Some(SessionState { key: session, lane, held: 0, owed: 0, has_sent: false, _counted: counted });
    }

    fn handle_end(&mut self, now: Instant, key: usize, session: SessionKey, links: &[(Role, u64)]) {
        self.remove_links(now, links);
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let slot = connection.sessions.get_mut(usize::from(session.channel()));
        if let Some(slot) = slot
            && let Some(state) = slot.take_if(|state| state.key == session)
        {
            self.sessions -= 1;
            self.core.remove_lane(now, state.lane);
        }
    }

    pub(super) fn lane_of(&self, key: usize, session: SessionKey) -> Option<LaneKey> {
        let state = self.connections.amqp(key)?.sessions.get(usize::from(session.channel()))?.as_ref()?;
        (state.key == session).then_some(state.lane)
    }

    /// Queues a close for a reason of ours; in a fleet a node that stops ends the socket instead.
    pub(super) fn close_amqp(&mut self, now: Instant, key: usize, farewell: Farewell, reason: &str) {
        if farewell == Farewell::Stopping && self.has_other_nodes() {
            // A close with a reason is what the specification asks for (2.4.3). But clients that would connect
            // again read nothing behind it, not even the end of the socket, and wait for their idle timeout;
            // that end alone they take as what it is, and go to another node at once.
            return self.start_closing(now, key);
        }
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let condition = match farewell {
            Farewell::Unauthorized => condition::UNAUTHORIZED_ACCESS,
            Farewell::Limit => condition::RESOURCE_LIMIT_EXCEEDED,
            Farewell::Stopping | Farewell::Administrative => condition::CONNECTION_FORCED,
        };
        let error = mq_amqp::performative::Error::new(condition, reason);
        connection.engine.close(now, Some(error));
    }

    /// Takes everything of a connection out of the core.
    pub(super) fn release_amqp(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let sessions = std::mem::take(&mut connection.sessions);
        let links: Vec<_> = connection.engine.links().map(|link| (link.role, link.token)).collect();
        self.remove_links(now, &links);
        for session in sessions.into_iter().flatten() {
            self.sessions -= 1;
            self.core.remove_lane(now, session.lane);
        }
    }

    /// Lets the core fill the lanes up again as bytes leave.
    pub(super) fn refill_lanes(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let buffered = connection.engine.buffered();
        let share = lane_share(connection.sessions.iter().flatten().count());
        for session in connection.sessions.iter_mut().flatten().filter(|session| session.has_sent) {
            let waiting = buffered + connection.engine.pending_bytes(session.key);
            // While something waits, the session is visited again when that has been written or
            // the peer has opened its window.
            session.has_sent = waiting > 0;
            self.core.set_lane_budget(now, session.lane, share.saturating_sub(waiting));
        }
        self.run_effects(now);
    }

    /// A session, while it is there.
    fn session_state(&mut self, key: usize, session: SessionKey) -> Option<&mut SessionState> {
        let connection = self.connections.amqp_mut(key)?;
        let state = connection.sessions.get_mut(usize::from(session.channel()))?.as_mut()?;
        (state.key == session).then_some(state)
    }

    // ---- messages in ------------------------------------------------------------------------------

    fn handle_transfer(&mut self, now: Instant, key: usize, transfer: IncomingTransfer) {
        let (session, token) = (transfer.delivery.session(), transfer.token);
        // Without a name the core has not seen it: its head is being gathered, or it is refused.
        let is_consumed = if transfer.first || transfer.delivery_token == NO_TOKEN {
            self.start_delivery(now, key, transfer)
        } else {
            self.continue_delivery(now, key, transfer)
        };
        self.give_credit(token);
        if is_consumed {
            self.consume(key, session, 1);
        } else {
            self.owe(key, session, token);
        }
    }

    /// Begins a delivery in the core; true when its bytes have left it.
    fn start_delivery(&mut self, now: Instant, key: usize, mut transfer: IncomingTransfer) -> bool {
        let Some(producer) = ProducerKey::from_bits(transfer.token) else {
            self.handle_control(now, transfer);
            return true;
        };
        let Some(reference) = self.producers.get_mut(transfer.token) else { return true };
        let wants = reference.wants;
        let gathered = reference.head.take();
        let mut transaction = reference.transaction.take();
        if !transfer.first && gathered.is_none() {
            return true;
        }
        let (link, delivery, token, more) = (transfer.link, transfer.delivery, transfer.token, transfer.more);
        if transfer.first {
            transaction = match self.posted_in(key, transfer.state.as_ref()) {
                Ok(transaction) => transaction,
                Err(outcome) => return self.refuse_delivery(now, key, &transfer, outcome),
            };
        }
        // What belongs to a message that was let in is let in, too, and paid for.
        if let Err(exceeded) = self.pace(now, key, u64::from(transfer.first), transfer.payload.len() as u64) {
            self.lose_post(transaction, transfer.settled);
            return self.refuse_delivery(now, key, &transfer, too_much(&exceeded));
        }
        if transfer.message_format == MQTT_FORMAT {
            self.lose_post(transaction, transfer.settled);
            return self.refuse_delivery(now, key, &transfer, not_ours());
        }
        let mut payload = std::mem::take(&mut transfer.payload);
        if gathered.is_some() || (more && is_cut_short(&payload, transfer.message_format, wants)) {
            match self.gather(key, &transfer, gathered, payload, wants) {
                Head::Ready(head) => payload = head,
                Head::Unfinished => {
                    if let Some(reference) = self.producers.get_mut(token) {
                        reference.transaction = transaction;
                    }
                    return false;
                }
                Head::Refused(outcome) => {
                    self.lose_post(transaction, transfer.settled);
                    return self.refuse_delivery(now, key, &transfer, outcome);
                }
                Head::Aborted => {
                    let begun =
                        self.core.begin_refused(now, producer, unseen(&transfer, true), Outcome::Released);
                    if let Some(delivery) = begun.delivery {
                        self.core.abort(now, delivery);
                    }
                    return true;
                }
            }
        }
        let start = match read_start(payload, transfer.message_format, wants, more) {
            Ok(start) => start,
            Err(error) => {
                self.lose_post(transaction, transfer.settled);
                return self.refuse_delivery(now, key, &transfer, unreadable(&error));
            }
        };
        let Start { durable, priority, ttl, schedule, retain, header, chunk, to } = start;
        let to = to.as_deref().map(local_name);
        if wants.to
            && let Err(denied) = self.may_relay(key, to)
        {
            self.lose_post(transaction, transfer.settled);
            return self.refuse_delivery(now, key, &transfer, unauthorized(&denied));
        }
        let to = to.map(|to| self.inside(key, to));
        let (first, rest) = match header {
            Some(header) => (header, Some(chunk)),
            None => (chunk, None),
        };
        let size = first.len();
        let begun = self.core.begin(
            now,
            producer,
            Incoming {
                to: to.as_deref(),
                handle: delivery.to_bits(),
                // What a transaction loses, it has to hear of.
                settled: transfer.settled && transaction.is_none(),
                priority,
                ttl,
                message_format: transfer.message_format,
                chunk: first,
                more: more || rest.is_some(),
                durable,
                not_before: schedule.map(due),
                transaction,
                retain,
                ..Incoming::default()
            },
        );
        if let Some(transaction) = transaction {
            self.note_post(key, delivery, transaction, transfer.settled);
        }
        self.name_delivery(key, link, delivery, begun.delivery);
        if !begun.consumed {
            self.hold(key, delivery.session(), token, size);
        }
        let Some((delivery_key, rest)) = begun.delivery.zip(rest) else { return begun.consumed };
        // The core wants a delivery's first chunk sent before it gets the second.
        self.run_effects(now);
        let is_consumed = self.append(now, key, delivery.session(), token, delivery_key, rest, more);
        begun.consumed && is_consumed
    }

    /// Whether a client may send to where a message says itself that it goes.
    fn may_relay(&mut self, key: usize, to: Option<&str>) -> Result<(), Denied> {
        let Some(to) = to else { return Ok(()) };
        let access = self.connections.get_mut(key).and_then(|connection| connection.caller.access.as_mut());
        let allowed = access.map_or(Ok(()), |access| access.may_send(to));
        allowed.inspect_err(|denied| self.count_denial(denied))
    }

    /// Ends a delivery in the core that cannot be let in; its bytes count as consumed.
    fn refuse_delivery(
        &mut self,
        now: Instant,
        key: usize,
        transfer: &IncomingTransfer,
        outcome: Outcome,
    ) -> bool {
        if let Some(producer) = ProducerKey::from_bits(transfer.token) {
            let begun = self.core.begin_refused(now, producer, unseen(transfer, transfer.more), outcome);
            self.name_delivery(key, transfer.link, transfer.delivery, begun.delivery);
        }
        true
    }

    /// Adds a frame to the beginning of a message whose frames are so small that the first one does
    /// not hold all that has to be read.
    fn gather(
        &mut self,
        key: usize,
        transfer: &IncomingTransfer,
        gathered: Option<BytesMut>,
        payload: Bytes,
        wants: Wants,
    ) -> Head {
        let (session, token) = (transfer.delivery.session(), transfer.token);
        let mut head = gathered.unwrap_or_default();
        let before = head.len();
        if !transfer.aborted {
            head.extend_from_slice(&payload);
            if transfer.more && is_cut_short(&head, transfer.message_format, wants) {
                if head.len() <= HEAD_LIMIT {
                    self.hold(key, session, token, payload.len());
                    if let Some(link) = self.producers.get_mut(token) {
                        link.head = Some(head);
                    }
                    return Head::Unfinished;
                }
                if wants.to {
                    self.release_held(token, before as u64);
                    return Head::Refused(too_deep());
                }
            }
        }
        // From here on the core says what it holds.
        self.release_held(token, before as u64);
        if transfer.aborted { Head::Aborted } else { Head::Ready(head.freeze()) }
    }

    fn name_delivery(
        &mut self,
        key: usize,
        link: LinkKey,
        delivery: DeliveryKey,
        name: Option<mq_core::DeliveryKey>,
    ) {
        if let Some(name) = name
            && let Some(connection) = self.connections.amqp_mut(key)
        {
            let _ = connection.engine.name_delivery(link, delivery, name.to_bits());
        }
    }

    fn continue_delivery(&mut self, now: Instant, key: usize, transfer: IncomingTransfer) -> bool {
        let Some(delivery) = mq_core::DeliveryKey::from_bits(transfer.delivery_token) else { return true };
        if transfer.aborted {
            self.core.abort(now, delivery);
            return true;
        }
        let paced = self.pace(now, key, 0, transfer.payload.len() as u64);
        debug_assert!(paced.is_ok(), "only the beginning of a message is refused");
        if transfer.settled && !self.is_awaited(key, transfer.delivery) {
            // The core ignores what it knows already.
            self.core.settle_by_producer(now, delivery, None, true);
            self.run_effects(now);
        }
        let session = transfer.delivery.session();
        self.append(now, key, session, transfer.token, delivery, transfer.payload, transfer.more)
    }

    /// Hands a further chunk to the core; true when it has left the core at once.
    #[allow(clippy::too_many_arguments, reason = "where the chunk belongs, in three vocabularies")]
    fn append(
        &mut self,
        now: Instant,
        key: usize,
        session: SessionKey,
        token: u64,
        delivery: mq_core::DeliveryKey,
        chunk: Bytes,
        more: bool,
    ) -> bool {
        let size = chunk.len();
        let is_consumed = self.core.append(now, delivery, chunk, more);
        if !is_consumed {
            self.hold(key, session, token, size);
        }
        is_consumed
    }

    fn handle_disposition(
        &mut self,
        now: Instant,
        role: Role,
        token: u64,
        state: Option<DeliveryState>,
        settled: bool,
    ) {
        let outcome = state.map(from_state);
        match role {
            Role::Sender => {
                if let Some(leg) = LegKey::from_bits(token) {
                    self.core.settle_by_consumer(now, leg, outcome, settled);
                }
            }
            Role::Receiver => {
                if let Some(delivery) = mq_core::DeliveryKey::from_bits(token) {
                    self.core.settle_by_producer(now, delivery, outcome, settled);
                }
            }
        }
    }

    // ---- the session window: bytes held, frames owed ------------------------------------------------

    /// The peer may send `frames` frames more.
    fn consume(&mut self, key: usize, session: SessionKey, frames: u32) {
        if let Some(connection) = self.connections.amqp_mut(key) {
            // Gone with its window.
            let _ = connection.engine.consume(session, frames);
        }
    }

    /// The core keeps these bytes: what it was given, to the byte, because that is what it reports
    /// as consumed later.
    fn hold(&mut self, key: usize, session: SessionKey, token: u64, bytes: usize) {
        let Some(link) = self.producers.get_mut(token) else { return };
        link.held += bytes as u64;
        if let Some(state) = self.session_state(key, session) {
            state.held += bytes as u64;
        }
    }

    /// Bytes of a frame are held. Up to half of the session's window that does not slow the peer
    /// down; beyond it, the window stays shut for as many frames until bytes have left.
    fn owe(&mut self, key: usize, session: SessionKey, token: u64) {
        let half = self.config.limits.session_window / 2;
        let is_known = self.producers.get(token).is_some();
        match self.session_state(key, session) {
            Some(state) if is_known && state.held > half => state.owed += 1,
            _ => self.consume(key, session, 1),
        }
    }

    /// Bytes have left the core.
    fn release_held(&mut self, token: u64, bytes: u64) {
        let Some(link) = self.producers.get_mut(token) else { return };
        link.held = link.held.saturating_sub(bytes);
        let (connection, session) = (link.connection, link.session);
        self.release_bytes(connection, session, bytes);
    }

    pub(super) fn release_bytes(&mut self, key: usize, session: SessionKey, bytes: u64) {
        let half = self.config.limits.session_window / 2;
        let Some(state) = self.session_state(key, session) else { return };
        state.held = state.held.saturating_sub(bytes);
        if state.held <= half && state.owed > 0 {
            let owed = std::mem::take(&mut state.owed);
            self.consume(key, session, owed);
            self.mark_dirty(key);
        }
    }

    // ---- effects ----------------------------------------------------------------------------------

    /// Carries out what the core wants.
    pub(crate) fn run_effects(&mut self, now: Instant) {
        while let Some(effect) = self.core.poll_effect() {
            self.carry_out(now, effect);
        }
    }

    /// Carries out what cannot wait for the end of the turn.
    pub(crate) fn run_prompt_effects(&mut self, now: Instant) {
        while let Some(effect) = self.core.poll_prompt_effect() {
            self.carry_out(now, effect);
        }
    }

    fn carry_out(&mut self, now: Instant, effect: Effect) {
        if self.carry_out_for_mqtt(now, &effect) {
            return;
        }
        match effect {
            Effect::Deliver { consumer, leg, chunk, more, settled, message_format, ttl_left, redelivery } => {
                let (chunk, message_format) = if message_format == MQTT_FORMAT {
                    self.of_mqtt(consumer, chunk, ttl_left, redelivery)
                } else if ttl_left.is_some() || redelivery.is_some() {
                    (changed(chunk, message_format, changes(ttl_left, redelivery)), message_format)
                } else {
                    (chunk, message_format)
                };
                self.deliver(now, consumer, leg, chunk, more, settled, message_format);
            }
            Effect::UpdateProducer { producer, handle, outcome, .. }
                if self.mqtt.publishes_wills(producer) =>
            {
                self.will_settled(now, handle, outcome.as_ref());
            }
            Effect::UpdateProducer { producer, handle, outcome, settled } => {
                let link = self.producer_ref(producer).map(|link| link.connection);
                let state = outcome.map(|outcome| self.told_outcome(link, outcome)).map(to_state);
                let state = self.state_of_post(link, handle, state, settled);
                self.tell_state(link, Role::Receiver, handle, state, settled);
            }
            Effect::UpdateConsumer { consumer, handle, outcome, settled } => {
                let link = self.consumer_ref(consumer).map(|link| link.connection);
                self.tell_state(link, Role::Sender, handle, outcome.map(to_state), settled);
            }
            Effect::Grant { producer, credit } if self.mqtt.publishes_wills(producer) => {
                self.grant_wills(now, credit);
            }
            Effect::Grant { producer, credit } => {
                self.grant(producer, credit);
            }
            Effect::Peer { to, message } if !to.is_here() => self.say_to_node(now, to, &message),
            Effect::Peer { to, message } => {
                self.has_news |= message.is_for_all();
                if let Some(messages) = self.outgoing.get_mut(usize::from(to.shard())) {
                    messages.push((self.id, message));
                }
            }
            Effect::Run { to, run } => self.say_run_to_node(now, to, run),
            Effect::Consumed { producer, bytes } => self.release_held(producer.to_bits(), bytes as u64),
            Effect::Continue { consumer, chunk, more } => {
                self.on_consumer(consumer, |engine, link| {
                    let _ = engine.send_more(link, chunk, more);
                });
            }
            Effect::Abort { consumer } => self.on_consumer(consumer, |engine, link| {
                let _ = engine.abort(link);
            }),
            Effect::Drained { consumer } => self.on_consumer(consumer, |engine, link| {
                let _ = engine.drained(link);
            }),
            Effect::Store(request) => self.store_requests.push((self.id, request)),
            Effect::StopProducer { producer } => self.stop_producer(now, producer),
            Effect::CloseProducer { producer, .. } if self.mqtt.publishes_wills(producer) => {
                self.close_wills(now);
            }
            Effect::CloseProducer { producer, reason } => {
                if let Some((key, link)) =
                    self.producer_ref(producer).map(|link| (link.connection, link.link))
                {
                    self.note_route_end(key, link, &closed(reason));
                }
                self.on_producer(producer, |engine, link| {
                    let _ = engine.detach(link, true, Some(closed(reason)));
                });
                self.remove_link(now, Role::Receiver, producer.to_bits());
            }
            Effect::Admitted { consumer } => self.admit(now, consumer),
            Effect::CloseConsumer { consumer, reason } => self.close_consumer(now, consumer, reason),
            Effect::Discharged { transaction, result } => self.discharged(now, transaction, result),
            Effect::Emptied { address } => self.tell_emptied(address),
            Effect::Live { .. } | Effect::LiveRoom => {}
            Effect::Refiltered { .. } | Effect::Retained { .. } => {}
        }
    }

    /// A message that came over MQTT, as the consumer gets it, and its format.
    fn of_mqtt(
        &self,
        consumer: ConsumerKey,
        message: Bytes,
        ttl_left: Option<Duration>,
        redelivery: Option<Box<Redelivery>>,
    ) -> (Bytes, u32) {
        let envelope = match Envelope::parse(&message) {
            Ok(envelope) => envelope,
            Err(error) => {
                // Whatever it is, the consumer has been counted on to settle it.
                error!(%error, "a message of an MQTT client cannot be read");
                return (message, MQTT_FORMAT);
            }
        };
        let redelivery = redelivery.map(|redelivery| *redelivery).unwrap_or_default();
        let address = self.consumer_ref(consumer).and_then(|link| link.address.as_deref());
        let address = address.map(|address| split_qualified(address).1);
        let is_temporary = address.is_some_and(|address| address.starts_with(TEMPORARY_PREFIX));
        let occasion = Occasion {
            now: Some(UnixMillis(unix_millis())),
            ttl_left,
            delivery_count: redelivery.delivery_count,
            is_retained: redelivery.retained,
            annotations: redelivery.annotations.and_then(|map| map_of(map).ok()).unwrap_or_default(),
            ids: if is_temporary { Ids::Typed } else { Ids::Binary },
        };
        (encoded(&envelope, envelope.payload_bytes(&message), occasion), AMQP_FORMAT)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one effect")]
    fn deliver(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        leg: Option<LegKey>,
        payload: Bytes,
        more: bool,
        settled: bool,
        message_format: u32,
    ) {
        let Some(link) = self.consumers.get(consumer.to_bits()) else { return };
        let (key, transaction) = (link.connection, link.transaction);
        let (link, session) = (link.link, link.session);
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        if let Some(Some(state)) = connection.sessions.get_mut(usize::from(session.channel())) {
            state.has_sent = true;
        }
        self.next_tag = self.next_tag.wrapping_add(1);
        let token = leg.map_or(NO_TOKEN, LegKey::to_bits);
        let tag = Tag::from(self.next_tag);
        let outgoing = Outgoing { tag, token, settled, message_format, payload, more };
        let sent = match transaction {
            None => connection.engine.send(link, outgoing),
            Some(transaction) => self.send_acquired(now, consumer, outgoing, transaction),
        };
        match (sent, leg) {
            (Ok(delivery), Some(leg)) => self.core.set_leg_handle(leg, delivery.to_bits()),
            (Ok(_), None) => {}
            (Err(misuse), leg) => {
                // Core and engine count the same credit: a difference is a defect of ours.
                error!(connection = %self.name_of(key), %misuse, "a delivery could not be sent");
                if let Some(leg) = leg {
                    self.core.settle_by_consumer(now, leg, Some(Outcome::Released), true);
                }
            }
        }
        self.mark_dirty(key);
    }

    fn tell_state(
        &mut self,
        connection: Option<usize>,
        role: Role,
        handle: u64,
        state: Option<DeliveryState>,
        settled: bool,
    ) {
        let Some(key) = connection else { return };
        if let Some(connection) = self.connections.amqp_mut(key) {
            let _ = connection.engine.settle(role, DeliveryKey::from_bits(handle), state, settled);
        }
        self.mark_dirty(key);
    }

    /// Takes unused credit back. Without any there is nothing to ask the peer for.
    fn stop_producer(&mut self, now: Instant, producer: ProducerKey) {
        if let Some(link) = self.producers.get_mut(producer.to_bits()) {
            link.withheld = 0;
        }
        let mut has_credit = false;
        self.on_producer(producer, |engine, link| {
            has_credit = engine.credit(link).is_ok_and(|credit| credit > 0);
            if has_credit {
                let _ = engine.drain(link);
            }
        });
        if !has_credit {
            self.core.producer_stopped(now, producer);
        }
    }

    fn on_producer(
        &mut self,
        producer: ProducerKey,
        command: impl FnOnce(&mut mq_amqp::Connection, LinkKey),
    ) {
        let Some((key, link)) = self.producer_ref(producer).map(|link| (link.connection, link.link)) else {
            return;
        };
        self.on_link(key, link, command);
    }

    pub(super) fn on_consumer(
        &mut self,
        consumer: ConsumerKey,
        command: impl FnOnce(&mut mq_amqp::Connection, LinkKey),
    ) {
        let Some(reference) = self.consumers.get(consumer.to_bits()) else { return };
        let (key, link, session) = (reference.connection, reference.link, reference.session);
        if let Some(connection) = self.connections.amqp_mut(key)
            && let Some(Some(state)) = connection.sessions.get_mut(usize::from(session.channel()))
        {
            state.has_sent = true;
        }
        self.on_link(key, link, command);
    }

    fn on_link(
        &mut self,
        key: usize,
        link: LinkKey,
        command: impl FnOnce(&mut mq_amqp::Connection, LinkKey),
    ) {
        if let Some(connection) = self.connections.amqp_mut(key) {
            command(&mut connection.engine, link);
        }
        self.mark_dirty(key);
    }
}

/// A delivery of which the core sees nothing but that it was there.
fn unseen(transfer: &IncomingTransfer, more: bool) -> Incoming<'static> {
    Incoming {
        to: None,
        handle: transfer.delivery.to_bits(),
        settled: transfer.settled,
        priority: Header::DEFAULT_PRIORITY,
        ttl: None,
        message_format: transfer.message_format,
        chunk: Bytes::new(),
        more,
        ..Incoming::default()
    }
}

/// What a delivery says that the message did not.
fn changes(ttl_left: Option<Duration>, redelivery: Option<Box<Redelivery>>) -> Changes {
    let redelivery = redelivery.map(|redelivery| *redelivery).unwrap_or_default();
    // A consumer's `modified` may carry what is no map: the delivery matters more.
    let mut annotations = redelivery.annotations.and_then(|map| map_of(map).ok()).unwrap_or_default();
    if redelivery.retained {
        annotations.push(annotation(RETAIN, true));
    }
    Changes {
        ttl: ttl_left.map_or(Ttl::Keep, Ttl::Left),
        delivery_count: (redelivery.delivery_count > 0).then_some(redelivery.delivery_count),
        annotations,
    }
}

/// When a message may be delivered, on the wall clock.
fn due(schedule: Schedule) -> UnixMillis {
    UnixMillis(match schedule {
        Schedule::At(millis) => millis,
        Schedule::After(millis) => unix_millis().saturating_add(millis),
    })
}

/// That format is how the node keeps what comes over MQTT, and nobody checks it there again.
fn not_ours() -> Outcome {
    let text =
        format!("message format {MQTT_FORMAT:#x} is the node's own; send the message as AMQP, format 0");
    Outcome::rejected(condition::NOT_IMPLEMENTED, text)
}

fn unauthorized(denied: &Denied) -> Outcome {
    Outcome::rejected(condition::UNAUTHORIZED_ACCESS, denied.to_string())
}

fn too_deep() -> Outcome {
    let text = format!("the properties are not within the first {HEAD_LIMIT} bytes of the message");
    Outcome::rejected(condition::PRECONDITION_FAILED, text)
}

fn unreadable(error: &DecodeError) -> Outcome {
    Outcome::rejected(condition::DECODE_ERROR, format!("the message cannot be read: {error}"))
}

fn product_of(open: &Open) -> Option<Box<str>> {
    let property = |name: &str| {
        open.properties
            .iter()
            .find(|(key, _)| key.as_str() == Some(name))
            .and_then(|(_, value)| value.as_str())
    };
    let product = property("product")?;
    Some(match property("version") {
        Some(version) => label(&format!("{product} {version}")),
        None => label(product),
    })
}

/// A peer's word for people to read: bounded, and without control characters.
fn label(text: &str) -> Box<str> {
    text.chars().filter(|character| !character.is_control()).take(MAX_LABEL).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_bounded_and_printable() {
        assert_eq!(&*label("a\u{1b}[31mb"), "a[31mb");
        assert_eq!(label(&"x".repeat(10_000)).len(), MAX_LABEL);
    }
}
