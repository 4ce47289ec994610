//! What clients are sent: live messages as they come, stored ones from feeds, and what becomes of both.
//!
//! A message of QoS 0 goes into the client's outbox, or nowhere when that is full. One of QoS 1 or 2 has a
//! packet identifier and counts against the client's receive maximum; what has no room in it waits in the
//! session. A client gets one copy of a message, however many of its subscriptions match: with the highest
//! QoS of them and all their identifiers (3.3.4).
//!
//! What a lasting session was sent and has not acknowledged goes out again on its next connection, first
//! and in its order (4.4): messages of its own queue when that gives them again, others from memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mq_core::{
    AddressKind, COPY_UP_TO, ConsumerKey, LaneKey, LegKey, Outcome, Reference, Route, StoreError, Subscriber,
    Ticket,
};
use mq_mqtt::property::PropertyView;
use mq_mqtt::{
    Blocked, EncodedPublish, Event, Outgoing, OutgoingState, PacketId, Qos, ReasonCode, SessionState, Version,
};
use tracing::debug;

use super::envelope::Envelope;
use super::flows::{
    Assembly, Counters, Deed, Entry, Errand, Identifiers, Known, Pushed, Source, Stage, State, Token,
    WaitingLimits,
};
use super::names::outside;
use super::publish::count;
use super::record::{OutgoingRecord, incoming_key, outgoing_key};
use super::retained::Pages;
use super::session::{Session, SessionKey};
use super::subscribe::Standing;
use super::to_mqtt::converted;
use crate::driver::protocol::Protocol;
use crate::driver::{LANE_BUDGET, OUTBOX_LIMIT, Shard};

/// Deliveries that a feed may have under way which does not use the client's receive maximum, or has much
/// of it.
const FEED_CREDIT: u32 = 256;

/// What a connection needs for what it is sent.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    /// For feeds; made with the first.
    lane: Option<LaneKey>,
    /// Retained messages that are on their way.
    pub(super) pages: Option<Box<Pages>>,
}

/// A message for live subscribers.
#[derive(Debug)]
pub(super) struct Live<'a> {
    pub(super) topic: &'a str,
    pub(super) properties: PropertyView<'a>,
    pub(super) payload: &'a Bytes,
    /// As it was published.
    pub(super) qos: Qos,
    /// Queues get it as well. Whoever publishes may not have heard yet of one that would want it.
    pub(super) is_kept: bool,
    pub(super) retain: bool,
    pub(super) is_v5: bool,
    pub(super) origin: u64,
    /// What is left of its life, where `properties` do not say it.
    pub(super) ttl: Option<Duration>,
    /// When its time is over.
    pub(super) deadline: Option<Instant>,
    /// The same in memory of its own, once somebody needed it.
    pub(super) envelope: Option<Bytes>,
}

impl Live<'_> {
    /// The message in memory of its own; empty when it cannot be encoded, which a publication can.
    pub(super) fn envelope(&mut self) -> Bytes {
        if let Some(envelope) = &self.envelope {
            return envelope.clone();
        }
        let envelope = Envelope {
            qos: self.qos,
            retain: self.retain,
            is_v5: self.is_v5,
            origin: self.origin,
            topic: self.topic,
            properties: self.properties,
            annotations: &[],
            payload: self.payload,
        };
        let encoded = envelope.encode().unwrap_or_default();
        self.envelope = Some(encoded.clone());
        encoded
    }

    fn message_expiry(&self) -> Option<u32> {
        seconds_left(self.properties, self.ttl?)
    }

    fn outgoing<'a>(&'a self, qos: Qos, retain: bool, identifiers: &'a Identifiers) -> Outgoing<'a> {
        Outgoing {
            qos,
            retain,
            properties: self.properties,
            message_expiry: self.message_expiry(),
            subscription_identifiers: identifiers.as_slice(),
            ..Outgoing::new(self.topic, self.payload)
        }
    }
}

/// What several subscriptions of a session make of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Merged {
    /// The highest QoS granted.
    pub(super) qos: Qos,
    pub(super) retain_as_published: bool,
    pub(super) identifiers: Identifiers,
    /// Durable messages come from the session's queue.
    pub(super) is_stored: bool,
}

/// What the subscriptions of these indexes make of a message of that origin; `None` when none of them gets
/// it.
pub(super) fn merge(session: &Session, indexes: impl Iterator<Item = u32>, origin: u64) -> Option<Merged> {
    let is_lasting = session.is_lasting();
    let is_own = origin != 0 && origin == session.origin;
    let mut merged: Option<Merged> = None;
    for subscription in indexes.filter_map(|index| session.subscription(index)) {
        // 3.8.3-3: no local is about the client, not about the connection.
        if is_own && subscription.options.no_local {
            continue;
        }
        let merged = merged.get_or_insert(Merged {
            qos: Qos::AtMostOnce,
            retain_as_published: false,
            identifiers: Identifiers::None,
            is_stored: false,
        });
        merged.qos = merged.qos.max(subscription.granted);
        merged.retain_as_published |= subscription.options.retain_as_published;
        merged.identifiers.push(subscription.identifier);
        merged.is_stored |= is_lasting && subscription.granted > Qos::AtMostOnce;
    }
    merged
}

/// What they make of a durable message while the session's queue does not go by any of them that wants it
/// kept: those that had QoS 0 until now, or have it, get it with that. `None` when the queue has it, or when
/// it is for none but new ones.
///
/// The queue may get it as well. One copy too many of a message that was to come with QoS 0 is better than
/// none (3.8.4-4).
fn merge_meanwhile(
    session: &Session,
    indexes: impl Iterator<Item = u32> + Clone,
    origin: u64,
) -> Option<Merged> {
    let standing = |index: u32| {
        let subscription = session.subscription(index)?;
        Some(if subscription.granted == Qos::AtMostOnce { Standing::Raised } else { subscription.standing })
    };
    let known = indexes.clone().filter(|index| standing(*index) == Some(Standing::Known));
    if merge(session, known, origin).is_some() {
        return None;
    }
    let merged = merge(session, indexes.filter(|index| standing(*index) == Some(Standing::Raised)), origin)?;
    Some(Merged { qos: Qos::AtMostOnce, is_stored: false, ..merged })
}

/// A message in the bytes that several clients take it in: by version and retain flag.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    encoded: [EncodedPublish; 4],
}

impl Shapes {
    /// Forgets the message.
    fn clear(&mut self) {
        self.encoded.iter_mut().for_each(EncodedPublish::clear);
    }

    /// The message for clients of a version.
    fn shape(&mut self, version: Version, message: &Outgoing<'_>) -> Result<&EncodedPublish, Blocked> {
        let index = usize::from(version == Version::V5_0) * 2 + usize::from(message.retain);
        let Some(encoded) = self.encoded.get_mut(index) else { return Err(Blocked::Version) };
        if encoded.size() == 0 {
            encoded.encode(version, message)?;
        }
        Ok(encoded)
    }
}

impl Shard {
    // ---- live -------------------------------------------------------------------------------------

    /// Hands a message to the live subscribers of this shard. Says how many got it.
    pub(super) fn fan_out(&mut self, now: Instant, route: &Route, live: &mut Live<'_>) -> u32 {
        let mut rest = &*route.local;
        // A message for one is written once, whatever is done.
        let is_shared = rest.len() > 1;
        let (mut copies, mut overfull) = (0, Vec::new());
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|subscriber| subscriber.token == first.token).count();
            let (mine, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            copies += u32::from(self.hand_to_client(now, mine, live, is_shared, &mut overfull));
        }
        if is_shared {
            self.mqtt.messages.shapes.clear();
        }
        for key in overfull {
            self.disconnect_client(now, key, ReasonCode::QuotaExceeded);
        }
        copies
    }

    /// Hands a message to one client, whose subscriptions these are. True when it gets it, now or later.
    fn hand_to_client(
        &mut self,
        now: Instant,
        mine: &[Subscriber],
        live: &mut Live<'_>,
        is_shared: bool,
        overfull: &mut Vec<usize>,
    ) -> bool {
        let Some(token) = mine.first().map(|subscriber| SessionKey::from_bits(subscriber.token)) else {
            return false;
        };
        let Some(session) = self.mqtt.sessions.get(token) else { return false };
        let Some(key) = session.connection() else { return false };
        let indexes = mine.iter().map(|subscriber| subscriber.index);
        let Some(mut merged) = merge(session, indexes.clone(), live.origin) else { return false };
        let is_durable = live.qos > Qos::AtMostOnce;
        if is_durable && live.is_kept && merged.is_stored {
            match merge_meanwhile(session, indexes, live.origin) {
                Some(meanwhile) => merged = meanwhile,
                None => return true,
            }
        }
        if live.retain {
            self.note_superseded(key, live.topic);
        }
        let retain = live.retain && merged.retain_as_published;
        match live.qos.min(merged.qos) {
            Qos::AtMostOnce => self.send_live(key, live, retain, &merged.identifiers, is_shared),
            qos => self.send_or_keep(now, token, live, qos, retain, merged.identifiers, overfull),
        }
    }

    /// Sends a message of QoS 0, or drops it when the client does not take what it is sent.
    fn send_live(
        &mut self,
        key: usize,
        live: &Live<'_>,
        retain: bool,
        identifiers: &Identifiers,
        is_shared: bool,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let Protocol::Mqtt(client) = &mut connection.protocol else { return false };
        let messages = &mut self.mqtt.messages;
        if client.engine.buffered() > OUTBOX_LIMIT {
            messages.counters.dropped_slow += 1;
            return false;
        }
        let outgoing = live.outgoing(Qos::AtMostOnce, retain, identifiers);
        let is_same = is_shared && *identifiers == Identifiers::None && !client.engine.has_outgoing_aliases();
        let result = if is_same {
            let version = client.engine.version();
            messages.shapes.shape(version, &outgoing).and_then(|shape| client.engine.publish_encoded(shape))
        } else {
            client.engine.publish(&outgoing).map(|_| ())
        };
        match result {
            Ok(()) => {
                count(&mut messages.counters.sent, Qos::AtMostOnce);
                if !std::mem::replace(&mut connection.is_dirty, true) {
                    self.dirty.push(key);
                }
                true
            }
            Err(blocked) => {
                count_dropped(&mut messages.counters, blocked);
                false
            }
        }
    }

    /// Sends a live message of QoS 1 or 2, or lets it wait.
    #[allow(clippy::too_many_arguments, reason = "a message, and what one client makes of it")]
    fn send_or_keep(
        &mut self,
        now: Instant,
        token: SessionKey,
        live: &mut Live<'_>,
        qos: Qos,
        retain: bool,
        identifiers: Identifiers,
        overfull: &mut Vec<usize>,
    ) -> bool {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return false };
        let Some(key) = session.connection() else { return false };
        let Some(client) = self.connections.mqtt_mut(key) else { return false };
        let is_next = session.flights.get().is_none_or(|state| state.waiting.is_empty());
        // What a lasting session is sent has to be kept until it is acknowledged.
        if is_next && !session.is_lasting() && client.engine.buffered() <= OUTBOX_LIMIT {
            match client.engine.publish(&live.outgoing(qos, retain, &identifiers)) {
                Ok(_) => {
                    count(&mut self.mqtt.messages.counters.sent, qos);
                    self.mark_dirty(key);
                    return true;
                }
                Err(Blocked::Window | Blocked::Resend | Blocked::NoPacketId) => {}
                Err(blocked) => {
                    count_dropped(&mut self.mqtt.messages.counters, blocked);
                    return false;
                }
            }
        }
        let entry = Entry {
            message: live.envelope(),
            qos,
            retain,
            identifiers,
            deadline: live.deadline,
            leg: None,
            is_own: false,
            is_shared: false,
        };
        self.let_wait(now, token, entry, overfull)
    }

    /// Lets a message that nobody else has wait for its client. False when it is dropped.
    pub(super) fn let_wait(
        &mut self,
        now: Instant,
        token: SessionKey,
        entry: Entry,
        overfull: &mut Vec<usize>,
    ) -> bool {
        let limits = self.waiting_limits();
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return false };
        let key = session.connection();
        let state = session.flights.get_or_insert();
        let pushed = state.waiting.push_live(entry, &limits);
        let dropped = match pushed {
            Pushed::Waits => 0,
            Pushed::Displaced(count) => count,
            Pushed::Dropped | Pushed::Disconnect => 1,
        };
        state.dropped += dropped;
        self.mqtt.messages.counters.dropped_full += dropped;
        if pushed == Pushed::Disconnect {
            overfull.extend(key);
        }
        self.pump(now, token);
        matches!(pushed, Pushed::Waits | Pushed::Displaced(_))
    }

    fn waiting_limits(&self) -> WaitingLimits {
        let session = &self.config.mqtt.session;
        WaitingLimits {
            max_messages: session.max_messages,
            max_bytes: session.max_bytes,
            on_full: session.on_full,
        }
    }

    // ---- from feeds -------------------------------------------------------------------------------

    /// The core starts a delivery to a consumer; false when it is none of a client's.
    #[allow(clippy::too_many_arguments, reason = "the fields of one effect")]
    pub(super) fn mqtt_deliver(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        leg: Option<LegKey>,
        chunk: &Bytes,
        more: bool,
        message_format: u32,
        ttl_left: Option<Duration>,
    ) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        let deadline = ttl_left.and_then(|left| now.checked_add(left));
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return true };
        let Some(feed) = session.flights.get_mut().and_then(|state| state.feed_mut(index)) else {
            return true;
        };
        feed.credit = feed.credit.saturating_sub(1);
        if more {
            let (body, is_too_large) = (Vec::new(), false);
            feed.assembly = Some(Box::new(Assembly { leg, message_format, deadline, body, is_too_large }));
            self.assemble(now, token, index, chunk, true);
        } else {
            self.take_fed(now, token, index, leg, message_format, chunk, deadline);
        }
        self.refill_later(token);
        true
    }

    /// A feed has used credit and budget of its lane. Whatever came of it, nothing may follow that would have
    /// them filled up: of a message that is dropped the client hears nothing.
    fn refill_later(&mut self, token: SessionKey) {
        if let Some(key) = self.mqtt.sessions.get(token).and_then(Session::connection) {
            self.mark_dirty(key);
        }
    }

    /// The core goes on with a delivery; false when it is none of a client's.
    pub(super) fn mqtt_continue(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        chunk: &Bytes,
        more: bool,
    ) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        self.assemble(now, token, index, chunk, more);
        self.refill_later(token);
        true
    }

    /// The core gives a delivery up; false when it is none of a client's.
    pub(super) fn mqtt_abort(&mut self, consumer: ConsumerKey) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        let session = self.mqtt.sessions.get_mut(token);
        let state = session.and_then(|session| session.flights.get_mut());
        if let Some(feed) = state.and_then(|state| state.feed_mut(index)) {
            feed.assembly = None;
        }
        true
    }

    /// Puts a message together that comes in chunks: as much of it as the client would take.
    fn assemble(&mut self, now: Instant, token: SessionKey, index: u32, chunk: &Bytes, more: bool) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let client = session.connection().and_then(|key| self.connections.mqtt(key));
        let limit = client.map_or(0, |client| client.engine.peer_max_packet_size());
        let limit = u64::from(limit).min(LARGEST_ASSEMBLY);
        let Some(feed) = session.flights.get_mut().and_then(|state| state.feed_mut(index)) else { return };
        let Some(assembly) = &mut feed.assembly else { return };
        if (assembly.body.len() + chunk.len()) as u64 > limit {
            assembly.is_too_large = true;
            assembly.body = Vec::new();
        }
        if !assembly.is_too_large {
            assembly.body.extend_from_slice(chunk);
        }
        if more {
            return;
        }
        let Some(assembly) = feed.assembly.take() else { return };
        let Assembly { leg, message_format, deadline, body, is_too_large } = *assembly;
        if is_too_large {
            // 3.1.2-25: as if it had been sent.
            self.mqtt.messages.counters.dropped_large += 1;
            return self.settle(now, leg, Outcome::Accepted);
        }
        self.take_fed(now, token, index, leg, message_format, &body.into(), deadline);
    }

    /// Takes a whole message of a feed.
    #[allow(clippy::too_many_arguments, reason = "a message, and where it comes from")]
    fn take_fed(
        &mut self,
        now: Instant,
        token: SessionKey,
        index: u32,
        leg: Option<LegKey>,
        message_format: u32,
        message: &Bytes,
        deadline: Option<Instant>,
    ) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let Some(feed) = session.flights.get().and_then(|state| state.feed(index)) else { return };
        let name = match &feed.source {
            Source::Plain { name, .. } => Some(name.clone()),
            Source::Own { .. } | Source::Shared { .. } => None,
        };
        let subscription = feed.source.subscription();
        let is_shared = matches!(feed.source, Source::Shared { .. });
        let message = match converted(message_format, message, name.as_deref().map(outside)) {
            Ok(converted) => converted.message,
            Err(unfit) => {
                debug!(client_id = session.shown_id(), space = session.space(), %unfit, "a message cannot be sent over MQTT");
                self.mqtt.messages.counters.dropped_unfit += 1;
                let outcome = Outcome::rejected(mq_core::condition::NOT_IMPLEMENTED, unfit.to_string());
                return self.settle(now, leg, outcome);
            }
        };
        let Ok(envelope) = Envelope::parse(&message) else {
            return self.settle(now, leg, Outcome::Accepted);
        };
        let merged = match subscription {
            Some(index) => merge(session, std::iter::once(index), 0),
            None => {
                let name = self.mqtt.messages.room.inside(session.space(), envelope.topic);
                let route = self.core.route(name);
                let mine = subscribers_of(&route, token.to_bits());
                merge(session, mine.iter().map(|subscriber| subscriber.index), envelope.origin)
                    .filter(|merged| merged.is_stored)
            }
        };
        let connection = session.connection();
        // The subscription has gone since, or the client wants nothing of its own.
        let Some(merged) = merged else { return self.settle(now, leg, Outcome::Accepted) };
        if envelope.retain
            && let Some(key) = connection
        {
            self.note_superseded(key, envelope.topic);
        }
        let stated = envelope.time_to_live().and_then(|stated| now.checked_add(stated));
        // Another shard's clock may be a moment behind: never more than was stated.
        let deadline = deadline.into_iter().chain(stated).min();
        let entry = Entry {
            qos: envelope.qos.min(merged.qos),
            retain: envelope.retain && merged.retain_as_published,
            identifiers: merged.identifiers,
            deadline,
            leg,
            is_own: subscription.is_none(),
            is_shared,
            message,
        };
        self.send_fed(now, token, entry);
    }

    /// Sends a message of a feed, or lets it wait.
    fn send_fed(&mut self, now: Instant, token: SessionKey, mut entry: Entry) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(state) = session.flights.get_mut() else { return };
        if entry.is_own
            && !state.known.is_empty()
            && let Some(reference) = entry.leg.and_then(|leg| self.core.reference_of(leg))
            && let Some(known) = state.known.get(&reference).copied()
        {
            return self.take_again(now, token, entry, reference, known);
        }
        if state.waiting.is_empty() {
            match self.transmit(now, token, entry) {
                None => return,
                Some(back) => entry = back,
            }
        }
        detach(&mut entry);
        let session = self.mqtt.sessions.get_mut(token);
        if let Some(session) = session {
            session.flights.get_or_insert().waiting.push_fed(entry);
        }
    }

    /// A message has come again that was under way when the last connection ended.
    fn take_again(
        &mut self,
        now: Instant,
        token: SessionKey,
        entry: Entry,
        reference: Reference,
        known: Known,
    ) {
        let Some(state) = self.mqtt.sessions.get_mut(token).and_then(|session| session.flights.get_mut())
        else {
            return;
        };
        if known.is_released {
            // The client has it.
            state.known.remove(&reference);
            self.settle(now, entry.leg, Outcome::Accepted);
            return self.release_in_session(token, known.packet_id);
        }
        state.returned.insert(known.packet_id, entry);
        self.resend(now, token);
    }

    // ---- sending ----------------------------------------------------------------------------------

    /// Sends a message, or gives it back when the client has no room for it now. One whose time is over, or
    /// that the client does not take, is done with as well.
    pub(super) fn transmit(&mut self, now: Instant, token: SessionKey, mut entry: Entry) -> Option<Entry> {
        let session = self.mqtt.sessions.get_mut(token)?;
        let key = session.connection()?;
        let Some(client) = self.connections.mqtt_mut(key) else { return Some(entry) };
        let is_lasting = session.is_lasting();
        if client.engine.buffered() > OUTBOX_LIMIT {
            return Some(entry);
        }
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            self.mqtt.messages.counters.expired += 1;
            self.settle(now, entry.leg, Outcome::Accepted);
            return None;
        }
        let reference = entry.leg.filter(|_| entry.is_own).and_then(|leg| self.core.reference_of(leg));
        if is_lasting
            && entry.qos == Qos::ExactlyOnce
            && let Some(reference) = reference
        {
            return self.reserve(token, key, entry, reference);
        }
        // What nobody can give again is kept until it is acknowledged; a shared message of QoS 2 is nobody
        // else's once it has been sent (4.8.2-5).
        let is_kept = is_lasting
            && entry.qos != Qos::AtMostOnce
            && (entry.leg.is_none() || (entry.is_shared && entry.qos == Qos::ExactlyOnce));
        let kept = is_kept.then(|| session.flights.get_or_insert().kept.vacant_key());
        let name = match kept {
            Some(slot) => Token::Kept(u32::try_from(slot).unwrap_or(u32::MAX)),
            None => Token::of(&entry),
        };
        let result = with_outgoing(now, &entry, name, |outgoing| client.engine.publish(outgoing).map(|_| ()));
        match result {
            Ok(()) => {
                count(&mut self.mqtt.messages.counters.sent, entry.qos);
                let (qos, leg) = (entry.qos, entry.leg);
                if kept.is_some()
                    && let Some(session) = self.mqtt.sessions.get_mut(token)
                {
                    detach(&mut entry);
                    session.flights.get_or_insert().kept.insert(entry);
                }
                self.mark_dirty(key);
                if qos == Qos::AtMostOnce {
                    self.settle(now, leg, Outcome::Accepted);
                }
                None
            }
            Err(Blocked::Window | Blocked::Resend | Blocked::NoPacketId | Blocked::NotOpen) => Some(entry),
            Err(blocked) => {
                // 3.1.2-25: as if it had been sent.
                count_dropped(&mut self.mqtt.messages.counters, blocked);
                self.settle(now, entry.leg, Outcome::Accepted);
                None
            }
        }
    }

    /// Gives a message of QoS 2 its packet identifier, and sends it when that is on disk.
    fn reserve(
        &mut self,
        token: SessionKey,
        key: usize,
        mut entry: Entry,
        reference: Reference,
    ) -> Option<Entry> {
        let Some(connection) = self.connections.get_mut(key) else { return Some(entry) };
        let number = connection.number;
        let Protocol::Mqtt(client) = &mut connection.protocol else { return Some(entry) };
        let Ok(packet_id) = client.engine.reserve(entry.qos, Token::of(&entry).to_bits()) else {
            return Some(entry);
        };
        let Some(session) = self.mqtt.sessions.get(token) else { return Some(entry) };
        let object = outgoing_key(&session.client_id, packet_id);
        detach(&mut entry);
        let errand =
            Errand::Reserved { session: token, connection: number, packet_id, entry: Box::new(entry) };
        let record = OutgoingRecord { number: session.number, reference, is_released: false };
        let ticket = self.put_object(object, record.encode());
        self.mqtt.messages.errands.insert(ticket, errand);
        if let Some(session) = self.mqtt.sessions.get_mut(token) {
            session.flights.get_or_insert().remembered.insert(packet_id);
        }
        None
    }

    /// Sends a message whose packet identifier is on disk.
    fn send_reserved(
        &mut self,
        now: Instant,
        token: SessionKey,
        number: u64,
        packet_id: PacketId,
        entry: Entry,
        result: Result<(), StoreError>,
    ) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let key = session.connection();
        // On another connection it is resumed.
        let is_here = key.and_then(|key| self.connections.get(key)).is_some_and(|it| it.number == number);
        let client = key.filter(|_| is_here).and_then(|key| self.connections.mqtt_mut(key));
        let Some(client) = client else { return };
        if result.is_err() {
            client.engine.forget(packet_id);
            self.forget_outgoing(token, packet_id);
            return self.leave_to_the_next(now, key);
        }
        let name = Token::of(&entry);
        let sent =
            with_outgoing(now, &entry, name, |outgoing| client.engine.publish_reserved(packet_id, outgoing));
        match sent {
            Ok(()) => count(&mut self.mqtt.messages.counters.sent, entry.qos),
            // Not of this connection any more: the queue gives it again.
            Err(Blocked::NotOpen | Blocked::NoPacketId) => {
                if client.engine.forget(packet_id) {
                    self.forget_outgoing(token, packet_id);
                    self.settle(now, entry.leg, Outcome::Released);
                }
            }
            Err(blocked) => {
                client.engine.forget(packet_id);
                count_dropped(&mut self.mqtt.messages.counters, blocked);
                self.forget_outgoing(token, packet_id);
                self.settle(now, entry.leg, Outcome::Accepted);
            }
        }
        if let Some(key) = key {
            self.mark_dirty(key);
        }
    }

    /// The disk has failed a step of QoS 2: the exchange goes on with the client's next connection, and not
    /// at once, which would fail as well.
    fn leave_to_the_next(&mut self, now: Instant, key: Option<usize>) {
        if let Some(key) = key {
            self.disconnect_client(now, key, ReasonCode::ImplementationSpecificError);
        }
    }

    /// The object of a packet identifier is of no use any more.
    fn forget_outgoing(&mut self, token: SessionKey, packet_id: PacketId) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(state) = session.flights.get_mut() else { return };
        state.known.retain(|_, known| known.packet_id != packet_id || known.is_released);
        if state.remembered.remove(&packet_id) {
            let object = outgoing_key(&session.client_id, packet_id);
            self.delete_object(object);
        }
    }

    /// Sends what the last connection left, as far as it has come again and in its order.
    fn resend(&mut self, now: Instant, token: SessionKey) {
        let Some(key) = self.mqtt.sessions.get(token).and_then(Session::connection) else { return };
        loop {
            let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
            let Some(client) = self.connections.mqtt_mut(key) else { return };
            let Some(state) = session.flights.get_mut() else { return };
            let Some(next) = client.engine.next_unsent() else { return };
            let packet_id = next.packet_id;
            let name = Token::from_bits(next.token);
            let (entry, name) = match name {
                Token::Kept(slot) => (state.kept.get(slot as usize), name),
                Token::None | Token::Leg(_) | Token::Own(_) => {
                    let entry = state.returned.get(&packet_id);
                    (entry, entry.map_or(Token::None, Token::of))
                }
            };
            let Some(entry) = entry else {
                // It comes yet; unless it was kept here, and is not.
                if matches!(name, Token::Kept(_)) && client.engine.forget(packet_id) {
                    continue;
                }
                return;
            };
            let result =
                with_outgoing(now, entry, name, |outgoing| client.engine.resend(packet_id, outgoing));
            let (qos, leg) = (entry.qos, entry.leg);
            match result {
                Ok(()) => {
                    count(&mut self.mqtt.messages.counters.sent, qos);
                    state.returned.remove(&packet_id);
                    state.known.retain(|_, known| known.packet_id != packet_id);
                    self.mark_dirty(key);
                }
                Err(Blocked::Window | Blocked::NotOpen | Blocked::Resend) => return,
                Err(blocked) => {
                    client.engine.forget(packet_id);
                    state.returned.remove(&packet_id);
                    if let Token::Kept(slot) = name {
                        state.kept.try_remove(slot as usize);
                    }
                    count_dropped(&mut self.mqtt.messages.counters, blocked);
                    self.forget_outgoing(token, packet_id);
                    self.settle(now, leg, Outcome::Accepted);
                }
            }
        }
    }

    /// Gives up what the last connection left and no queue has any more: it has expired, or was taken away.
    pub(super) fn forget_missing(&mut self, now: Instant, token: SessionKey) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(key) = session.connection() else { return };
        let Some(state) = session.flights.get_mut() else { return };
        let is_returning = |feed: &super::flows::Feed| {
            matches!(feed.source, Source::Own { .. }) && feed.stage != Stage::Open
        };
        let is_waiting = self.mqtt.occupied.iter().any(|(session, _)| *session == token);
        if is_waiting || state.each_feed().any(|(_, feed)| is_returning(feed)) {
            return;
        }
        let missing = state.known.values().filter(|known| !known.is_released).map(|known| known.packet_id);
        let returned = &state.returned;
        let mut missing: BTreeSet<PacketId> = missing.filter(|id| !returned.contains_key(id)).collect();
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        state.known.retain(|_, known| !known.is_released);
        missing.retain(|packet_id| client.engine.forget(*packet_id));
        for packet_id in &missing {
            self.forget_outgoing(token, *packet_id);
        }
        self.resend(now, token);
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn pump(&mut self, now: Instant, token: SessionKey) {
        loop {
            let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
            let Some(key) = session.connection() else { return };
            let Some(state) = session.flights.get_mut() else { return };
            let Some(client) = self.connections.mqtt(key) else { return };
            let Some(front) = state.waiting.front() else { return };
            let is_open = client.engine.window() > 0 && client.engine.next_unsent().is_none();
            if client.engine.buffered() > OUTBOX_LIMIT || (front.qos != Qos::AtMostOnce && !is_open) {
                return;
            }
            let Some(entry) = state.waiting.pop() else { return };
            if let Some(back) = self.transmit(now, token, entry) {
                if let Some(session) = self.mqtt.sessions.get_mut(token) {
                    session.flights.get_or_insert().waiting.put_back(back);
                }
                return;
            }
        }
    }

    /// Something has been written: there may be room for more.
    pub(crate) fn refill_messages(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt(key) else { return };
        let Some(token) = client.session else { return };
        let has_pages = client.outflow.pages.is_some();
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        if session.flights.get().is_none() && !has_pages {
            return;
        }
        self.resend(now, token);
        self.pump(now, token);
        self.refill_feeds(now, key, token);
        if has_pages {
            self.turn_page(now, key);
        }
        self.run_effects(now);
    }

    /// Gives feeds the credit that the client's window leaves.
    pub(super) fn refill_feeds(&mut self, now: Instant, key: usize, token: SessionKey) {
        let is_draining = self.is_draining();
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(client) = self.connections.mqtt(key) else { return };
        if is_draining || client.session != Some(token) {
            return;
        }
        let (buffered, window) = (client.engine.buffered(), u32::from(client.engine.window()));
        let lane = client.outflow.lane;
        let granted = |index: u32| session.subscription(index).map(|subscription| subscription.granted);
        let Some(state) = session.flights.get() else { return };
        let (waiting, bytes) = state.waiting.fed();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let room = if buffered > OUTBOX_LIMIT { 0 } else { window.saturating_sub(waiting).min(FEED_CREDIT) };
        let mut grants = Vec::new();
        for (index, feed) in state.each_feed().filter(|(_, feed)| feed.stage == Stage::Open) {
            let is_free =
                feed.source.subscription().and_then(granted).is_some_and(|qos| qos == Qos::AtMostOnce);
            let target = if is_free && buffered <= OUTBOX_LIMIT { FEED_CREDIT } else { room };
            if target > 0 && feed.credit <= target / 2 {
                grants.push((index, feed.consumer, target));
            }
        }
        if let Some(lane) = lane {
            let used = buffered.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.core.set_lane_budget(now, lane, LANE_BUDGET.saturating_sub(used));
        }
        for (index, consumer, credit) in grants {
            if let Some(feed) = self.feed_mut(token, index) {
                feed.credit = credit;
            }
            self.core.set_credit(now, consumer, credit, false);
        }
    }

    /// The node is stopping: what is kept for its next run is not handed out any more.
    pub(in crate::driver) fn stop_feeds(&mut self, now: Instant) {
        let mut stored = Vec::new();
        for (_, session) in self.mqtt.sessions.iter() {
            for (_, feed) in session.flights.get().into_iter().flat_map(State::each_feed) {
                let is_stored = match &feed.source {
                    Source::Own { .. } | Source::Shared { .. } => true,
                    Source::Plain { name, .. } => self.core.kind(name) == Some(AddressKind::Queue),
                };
                stored.extend(is_stored.then_some(feed.consumer));
            }
        }
        for consumer in stored {
            self.core.set_credit(now, consumer, 0, false);
        }
    }

    pub(super) fn feed_mut(&mut self, token: SessionKey, index: u32) -> Option<&mut super::flows::Feed> {
        self.mqtt.sessions.get_mut(token)?.flights.get_mut()?.feed_mut(index)
    }

    /// The lane of a connection's feeds.
    pub(super) fn lane_of_client(&mut self, now: Instant, key: usize) -> Option<LaneKey> {
        let client = self.connections.mqtt_mut(key)?;
        if client.outflow.lane.is_none() {
            let lane = self.core.add_lane();
            client.outflow.lane = Some(lane);
            self.core.set_lane_budget(now, lane, LANE_BUDGET);
        }
        client.outflow.lane
    }

    fn settle(&mut self, now: Instant, leg: Option<LegKey>, outcome: Outcome) {
        if let Some(leg) = leg {
            self.core.settle_by_consumer(now, leg, Some(outcome), true);
        }
    }

    // ---- acknowledgements -------------------------------------------------------------------------

    /// An acknowledgement has come.
    pub(crate) fn handle_flow_event(&mut self, now: Instant, key: usize, event: Event) {
        let Some(token) = self.connections.mqtt(key).and_then(|client| client.session) else { return };
        match event {
            Event::Acknowledged { packet_id, token: name, reason, .. } => {
                if reason.is_error() {
                    self.mqtt.messages.counters.rejected += 1;
                }
                self.forget_outgoing(token, packet_id);
                self.end_message(now, token, Token::from_bits(name), reason);
                self.pump(now, token);
            }
            Event::Received { packet_id, token: name, .. } => {
                self.handle_received(now, key, token, packet_id, Token::from_bits(name));
            }
            Event::Completed { packet_id, .. } => {
                self.forget_outgoing(token, packet_id);
                self.pump(now, token);
            }
            Event::Released { packet_id } => self.release_taken(key, token, packet_id),
            _ => {}
        }
    }

    /// A client has a message, or refuses it: nobody has to keep it any more.
    fn end_message(&mut self, now: Instant, token: SessionKey, name: Token, reason: ReasonCode) {
        let leg = match name {
            Token::None | Token::Leg(_) | Token::Own(_) => name.leg(),
            Token::Kept(slot) => {
                let state = self.mqtt.sessions.get_mut(token).and_then(|session| session.flights.get_mut());
                state.and_then(|state| state.kept.try_remove(slot as usize)).and_then(|entry| entry.leg)
            }
        };
        let outcome = if reason.is_error() {
            // 4.3.3, 4.8.2: it is not offered to anybody else.
            Outcome::rejected(
                mq_core::condition::PRECONDITION_FAILED,
                format!("the client answered: {reason}"),
            )
        } else {
            Outcome::Accepted
        };
        self.settle(now, leg, outcome);
    }

    /// A client has a message of QoS 2. In a lasting session it leaves its queue, and that the client has it
    /// is remembered, together: whatever happens, it is neither sent again nor forgotten.
    fn handle_received(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        packet_id: PacketId,
        name: Token,
    ) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let is_remembered = session.flights.get().is_some_and(|state| state.remembered.contains(&packet_id));
        let leg = name.leg().filter(|_| is_remembered);
        let reference = leg.and_then(|leg| self.core.reference_of(leg));
        let (Some(leg), Some(reference)) = (leg, reference) else {
            self.end_message(now, token, name, ReasonCode::Success);
            return self.release_sent(key, packet_id);
        };
        let object = outgoing_key(&session.client_id, packet_id);
        let record = OutgoingRecord { number: session.number, reference, is_released: true }.encode();
        let Ok(transaction) = self.core.declare_across(now) else {
            // The node is stopping, or too many are under way: one step after the other. What comes again
            // in between is known.
            let ticket = self.put_object(object, record);
            let errand = Errand::Received { session: token, packet_id, leg };
            self.mqtt.messages.errands.insert(ticket, errand);
            return;
        };
        let put = self.core.put_in_transaction(now, transaction, object, Some(record));
        let settled = self.core.settle_in_transaction(now, leg, Some(Outcome::Accepted), transaction);
        let deed = Deed::Release { session: token, packet_id, reference };
        self.mqtt.messages.transactions.insert(transaction, deed);
        self.end_transaction(now, transaction, put.is_err() || settled.is_err());
    }

    /// A message of QoS 2 that the client has has left its queue, or comes again.
    pub(super) fn left_queue(
        &mut self,
        token: SessionKey,
        packet_id: PacketId,
        reference: Reference,
        has_left: bool,
    ) {
        if has_left {
            return self.release_in_session(token, packet_id);
        }
        if let Some(session) = self.mqtt.sessions.get_mut(token) {
            // Until it is settled the client keeps its identifier.
            let known = Known { packet_id, is_released: true };
            session.flights.get_or_insert().known.insert(reference, known);
        }
    }

    /// That a client has a message is on disk: PUBREL may say so, on this connection or the next one.
    fn release_in_session(&mut self, token: SessionKey, packet_id: PacketId) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        // A connection that waits to be let in goes on with what the session knows by then.
        session.flights.release(packet_id);
        if let Some(key) = session.connection() {
            self.release_sent(key, packet_id);
        }
    }

    fn release_sent(&mut self, key: usize, packet_id: PacketId) {
        if let Some(client) = self.connections.mqtt_mut(key) {
            // Gone with a connection that has ended, or not known yet to one that has not been let in.
            let _ = client.engine.release(packet_id);
        }
        self.mark_dirty(key);
    }

    // ---- answers of the store ---------------------------------------------------------------------

    /// The store has done what was asked for with this ticket, or says why not.
    pub(crate) fn flow_object_stored(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<(), StoreError>,
    ) {
        let Some(errand) = self.mqtt.messages.errands.remove(&ticket) else {
            if let Err(error) = result {
                // It is the store's to say that the disk fails.
                debug!(%error.description, "an object of a session could not be removed");
            }
            return;
        };
        let connection =
            |shard: &Self, session| shard.mqtt.sessions.get(session).and_then(Session::connection);
        match errand {
            Errand::Taken { session, packet_id } => {
                let result = result.map_err(|_| ReasonCode::QuotaExceeded);
                self.taken(now, session, packet_id, result);
            }
            Errand::Completed { session, packet_id } => {
                // While it is on disk the identifier is not free: no PUBCOMP says so.
                match (connection(self, session), result) {
                    (Some(key), Ok(())) => self.complete(key, packet_id),
                    (key, Err(_)) => self.leave_to_the_next(now, key),
                    (None, Ok(())) => {}
                }
            }
            Errand::Received { session, packet_id, leg } => match result {
                Ok(()) => {
                    self.settle(now, Some(leg), Outcome::Accepted);
                    self.release_in_session(session, packet_id);
                }
                Err(_) => {
                    let key = connection(self, session);
                    self.leave_to_the_next(now, key);
                }
            },
            Errand::Reserved { session, connection, packet_id, entry } => {
                self.send_reserved(now, session, connection, packet_id, *entry, result);
            }
        }
    }

    // ---- begin and end ----------------------------------------------------------------------------

    /// Begins to carry messages: the client has just been let in.
    pub(crate) fn start_messages(&mut self, now: Instant, key: usize) {
        let Some(token) = self.connections.mqtt(key).and_then(|client| client.session) else { return };
        self.start_subscriptions(now, key, token);
        self.forget_missing(now, token);
        self.resend(now, token);
        self.pump(now, token);
        self.run_effects(now);
    }

    /// Carries no more: the connection ends.
    pub(crate) fn stop_messages(&mut self, now: Instant, key: usize) {
        self.stop_publishing(now, key);
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let (lane, pages) = (client.outflow.lane.take(), client.outflow.pages.take());
        let (token, resumed) = (client.session, client.engine.session_state());
        if let Some(pages) = pages {
            self.forget_pages(&pages);
        }
        if let Some(token) = token {
            self.stop_subscriptions(token);
            self.keep_flights(now, token, resumed);
        }
        if let Some(lane) = lane {
            self.core.remove_lane(now, lane);
        }
    }

    /// Keeps of a connection what the next one goes on with.
    fn keep_flights(&mut self, now: Instant, token: SessionKey, mut resumed: SessionState) {
        let is_draining = self.is_draining();
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let is_lasting = session.is_lasting();
        if session.flights.get().is_none() && (resumed.is_empty() || !is_lasting) {
            return;
        }
        let state = session.flights.get_or_insert();
        let mut settled = Vec::new();
        resumed.outgoing.retain_mut(|unacknowledged| {
            let is_released = !matches!(unacknowledged.state, OutgoingState::Published(_));
            let (packet_id, name) = (unacknowledged.packet_id, Token::from_bits(unacknowledged.token));
            if let Token::Kept(slot) = name {
                // 4.8.2-5: nobody else gets it. But what is kept here does not outlive the daemon: then a
                // share gives it again, which may be twice, and not never.
                let leg = state.kept.get_mut(slot as usize).and_then(|entry| entry.leg.take());
                settled.extend(leg.filter(|_| !is_draining));
                return true;
            }
            unacknowledged.token = Token::None.to_bits();
            if let Token::Own(leg) = name
                && let Some(reference) = self.core.reference_of(leg)
            {
                state.known.insert(reference, Known { packet_id, is_released });
            }
            // Of the rest, somebody else gets it, or this session as a new one.
            is_released || state.known.values().any(|known| known.packet_id == packet_id)
        });
        state.resumed = resumed;
        let unsent = state.take_unsent();
        let consumers: Vec<ConsumerKey> = state.feeds.drain(..).flatten().map(|feed| feed.consumer).collect();
        if !is_lasting {
            // What the core and the store have of it is for `end_messages` to end.
            state.forget_messages();
        }
        session.flights.tidy();
        for leg in settled {
            self.settle(now, Some(leg), Outcome::Accepted);
        }
        for consumer in &consumers {
            // What is released is not for it again.
            self.core.set_credit(now, *consumer, 0, false);
        }
        for leg in unsent {
            self.settle(now, Some(leg), Outcome::Released);
        }
        for consumer in consumers {
            self.mqtt.messages.consumers.remove(consumer.to_bits());
            self.core.remove_consumer(now, consumer);
        }
    }

    /// A session ends: what the core keeps for it goes.
    pub(crate) fn end_messages(&mut self, now: Instant, token: SessionKey) {
        self.end_subscriptions(now, token);
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(state) = session.flights.take() else { return };
        let client_id = session.client_id.clone();
        let State { resumed, taking, remembered, .. } = *state;
        let incoming: BTreeSet<PacketId> = resumed.incoming.into_iter().chain(taking.into_keys()).collect();
        let outgoing = remembered;
        for packet_id in incoming {
            self.delete_object(incoming_key(&client_id, packet_id));
        }
        for packet_id in outgoing {
            self.delete_object(outgoing_key(&client_id, packet_id));
        }
    }
}

/// Seconds left of a message's life, of one that says how long it has (3.3.2.3.3): never 0 while it has not
/// expired, and never more than it said.
fn seconds_left(properties: PropertyView<'_>, left: Duration) -> Option<u32> {
    let stated = properties.message_expiry_interval()?;
    let left = u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    Some(left.min(stated))
}

/// The subscriptions of one session among those of a route.
fn subscribers_of(route: &Route, token: u64) -> &[Subscriber] {
    let start = route.local.partition_point(|subscriber| subscriber.token < token);
    let rest = route.local.get(start..).unwrap_or_default();
    let count = rest.partition_point(|subscriber| subscriber.token == token);
    rest.get(..count).unwrap_or_default()
}

/// Puts a small message that is kept into memory of its own: it may be a slice of a buffer of many.
fn detach(entry: &mut Entry) {
    if entry.leg.is_some() && entry.message.len() <= COPY_UP_TO {
        entry.message = Bytes::copy_from_slice(&entry.message);
    }
}

/// Bytes of a message that comes in chunks, at most, whatever the client takes: as many as an address keeps
/// that says nothing else.
const LARGEST_ASSEMBLY: u64 = 16 << 20;

/// A message of the engine's for an entry, with the time that is left of its life.
fn with_outgoing<T>(
    now: Instant,
    entry: &Entry,
    name: Token,
    send: impl FnOnce(&Outgoing<'_>) -> Result<T, Blocked>,
) -> Result<T, Blocked> {
    let Ok(envelope) = Envelope::parse(&entry.message) else { return Err(Blocked::Version) };
    let payload = envelope.payload_bytes(&entry.message);
    let left = entry.deadline.map(|deadline| deadline.saturating_duration_since(now));
    send(&Outgoing {
        qos: entry.qos,
        retain: entry.retain,
        properties: envelope.properties,
        message_expiry: left.and_then(|left| seconds_left(envelope.properties, left)),
        subscription_identifiers: entry.identifiers.as_slice(),
        token: name.to_bits(),
        ..Outgoing::new(envelope.topic, &payload)
    })
}

fn count_dropped(counters: &mut Counters, blocked: Blocked) {
    match blocked {
        Blocked::TooLarge { .. } => counters.dropped_large += 1,
        Blocked::NotOpen => {}
        blocked => {
            debug!(%blocked, "a message cannot be sent");
            counters.dropped_unfit += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use mq_mqtt::packet::SubscriptionOptions;
    use mq_mqtt::property::{PropertyIn, PropertyWriter};

    use super::super::session::{Subscription, topic_filter_start};
    use super::super::subscribe;
    use super::*;

    fn session(expiry: u32, subscriptions: &[(SubscriptionOptions, u32)]) -> Session {
        let mut session = Session::new("c".into(), expiry, 0);
        for (number, (options, identifier)) in subscriptions.iter().enumerate() {
            let filter = format!("a/{number}");
            session.add(Subscription {
                topic_filter_start: topic_filter_start(&filter),
                filter: filter.into(),
                options: *options,
                granted: options.qos,
                identifier: *identifier,
                state: subscribe::State::Topics,
                standing: Standing::Known,
            });
        }
        session
    }

    fn options(qos: Qos) -> SubscriptionOptions {
        SubscriptionOptions::new(qos)
    }

    #[test]
    fn overlapping_subscriptions_make_one_copy_of_the_highest_qos_with_all_identifiers() {
        let as_published = SubscriptionOptions { retain_as_published: true, ..options(Qos::AtMostOnce) };
        let session =
            session(0, &[(as_published, 7), (options(Qos::ExactlyOnce), 0), (options(Qos::AtLeastOnce), 9)]);
        let merged = merge(&session, [0, 1, 2].into_iter(), 1).expect("a copy");
        assert_eq!(merged.qos, Qos::ExactlyOnce);
        assert_eq!(merged.identifiers.as_slice(), [7, 9]);
        assert!(merged.retain_as_published && !merged.is_stored);
        let merged = merge(&session, [2, 5].into_iter(), 1).expect("a copy");
        assert_eq!((merged.qos, merged.retain_as_published), (Qos::AtLeastOnce, false));
        assert_eq!(merge(&session, [5].into_iter(), 1), None, "no such subscription");
    }

    #[test]
    fn no_local_leaves_a_subscription_out_and_not_the_others() {
        let no_local = SubscriptionOptions { no_local: true, ..options(Qos::ExactlyOnce) };
        let session = session(600, &[(no_local, 1), (options(Qos::AtMostOnce), 2)]);
        let own = merge(&session, [0, 1].into_iter(), session.origin).expect("a copy");
        assert_eq!((own.qos, own.identifiers.as_slice(), own.is_stored), (Qos::AtMostOnce, &[2][..], false));
        assert_eq!(merge(&session, [0].into_iter(), session.origin), None);
        let other = merge(&session, [0, 1].into_iter(), 0).expect("a copy");
        assert_eq!((other.qos, other.is_stored), (Qos::ExactlyOnce, true));
    }

    #[test]
    fn durable_messages_come_from_the_queue_of_a_lasting_session_alone() {
        for (expiry, qos, is_stored) in [
            (0, Qos::ExactlyOnce, false),
            (600, Qos::AtMostOnce, false),
            (600, Qos::AtLeastOnce, true),
            (u32::MAX, Qos::ExactlyOnce, true),
        ] {
            let session = session(expiry, &[(options(qos), 0)]);
            assert_eq!(merge(&session, [0].into_iter(), 1).map(|merged| merged.is_stored), Some(is_stored));
        }
    }

    #[test]
    fn what_is_left_of_a_life_is_rounded_up_and_never_more_than_it_was() {
        let mut writer = PropertyWriter::new(PropertyIn::Publish);
        writer.message_expiry_interval(60).expect("legal");
        let properties = writer.finish();
        for (millis, seconds) in [(60_001, 60), (60_000, 60), (59_999, 60), (59_000, 59), (1, 1)] {
            let left = Duration::from_millis(millis);
            assert_eq!(seconds_left(properties.view(), left), Some(seconds));
            assert_eq!(seconds_left(PropertyView::default(), left), None);
        }
    }
}
