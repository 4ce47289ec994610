//! What clients publish: where it goes, and what is answered.
//!
//! Live subscribers of this shard are served at once, those of others with one message to each shard; the
//! core is asked only where something is kept, or the address is no topic. An acknowledgement leaves when
//! whoever decides has decided, and in the order of the publications (4.6).
//!
//! Back-pressure: a connection is not read while the core gives its producer no credit or holds too many
//! bytes of it, or while another shard has not taken what it was sent. Nothing waits here. A client with
//! unacknowledged deliveries is read beyond that, up to a bound: its acknowledgements stand behind its
//! publications, and may be what those wait for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mq_core::{
    AddressKind, ErrorInfo, Incoming, LiveMessage, Outcome, ProducerKey, ProducerOptions, ProducerTarget,
    Refused, Retain, Route, TransactionId, condition,
};
use mq_model::TEMPORARY_PREFIX;
use mq_model::space::DEFAULT_SPACE;
use mq_mqtt::packet::Publish;
use mq_mqtt::property::{PropertyIn, PropertyView};
use mq_mqtt::{PacketId, Qos, ReasonCode, Version};
use tracing::{debug, error};

use super::deliver::Live;
use super::envelope::{Envelope, MQTT_FORMAT};
use super::flows::{Deed, Errand, Taking};
use super::names::outside;
use super::record::{incoming_key, incoming_value};
use super::session::SessionKey;
use super::subscribe::Requests;
use super::to_mqtt::converted;
use super::words::{explained, in_words};
use crate::driver::Shard;
use crate::usage::Exceeded;

/// Bytes of a connection's publications that the core may hold before it is no longer read.
const HELD_LIMIT: u64 = 1 << 20;

/// The same while the client has deliveries unacknowledged.
const HELD_IN_LOOP_LIMIT: u64 = 16 * HELD_LIMIT;

/// AMQP's default priority: MQTT has none.
const PRIORITY: u8 = 4;

/// What a connection has published and the node has not answered.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    answers: Answers,
    /// For what the core has to see; made when it first has to.
    producer: Option<ProducerKey>,
    /// Messages that the core will still take.
    credit: u32,
    /// Bytes that the core has and has not passed on.
    held: u64,
    /// Some shard has not taken what it was sent.
    is_stalled: bool,
    /// SUBSCRIBE and UNSUBSCRIBE under way.
    pub(super) requests: Requests,
}

impl Intake {
    /// Whether more may be read of a client that owes acknowledgements of its own, or does not. Whatever
    /// makes it true again resumes reading.
    pub(crate) fn may_read(&self, owes_acknowledgements: bool) -> bool {
        let has_room = if owes_acknowledgements {
            // What it sends unacknowledged is bounded by our receive maximum.
            !self.is_full()
        } else {
            self.held <= HELD_LIMIT && (self.credit > 0 || self.producer.is_none())
        };
        has_room && !self.is_stalled && self.requests.is_idle()
    }

    /// Whether nothing more is read, even if acknowledgements come with it.
    pub(crate) fn is_full(&self) -> bool {
        self.held > HELD_IN_LOOP_LIMIT
    }

    /// Gives back memory that only a busy client needs.
    pub(super) fn shrink(&mut self) {
        self.answers.queue.shrink_to_fit();
    }
}

/// Acknowledgements that are owed, in the order in which they have to leave.
#[derive(Debug, Default)]
struct Answers {
    queue: VecDeque<Answer>,
    /// The name of the first of them.
    first: u64,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    packet_id: PacketId,
    stage: Stage,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The outcome of the core's delivery.
    Outcome,
    /// The same, of a message that is to be kept: who releases it has not kept it.
    Keeping,
    /// The same, and then an object in the store.
    OutcomeFirst,
    /// Whether the core lets the message into its transaction.
    Posting,
    /// The end of a transaction, or an object in the store.
    Storing,
    /// Those before it.
    Ready(ReasonCode),
}

impl Answers {
    /// Adds an acknowledgement; its name never comes again on this connection.
    fn push(&mut self, packet_id: PacketId, stage: Stage) -> u64 {
        self.queue.push_back(Answer { packet_id, stage });
        self.first + self.queue.len() as u64 - 1
    }

    /// The acknowledgement of that name; `None` once it has left.
    fn find(&self, name: u64) -> Option<&Answer> {
        self.queue.get(self.index(name)?)
    }

    fn set(&mut self, name: u64, stage: Stage) {
        if let Some(answer) = self.index(name).and_then(|index| self.queue.get_mut(index)) {
            answer.stage = stage;
        }
    }

    fn index(&self, name: u64) -> Option<usize> {
        usize::try_from(name.checked_sub(self.first)?).ok()
    }

    /// The next one to leave.
    fn pop(&mut self) -> Option<(PacketId, ReasonCode)> {
        let Answer { packet_id, stage: Stage::Ready(reason) } = *self.queue.front()? else { return None };
        self.queue.pop_front();
        self.first += 1;
        Some((packet_id, reason))
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// What of a publication decides where it goes.
#[derive(Clone, Copy)]
struct Publisher {
    key: usize,
    session: SessionKey,
    origin: u64,
    version: Version,
    /// Whether its session outlives the connection.
    is_lasting: bool,
}

impl Shard {
    // ---- in ---------------------------------------------------------------------------------------

    /// A client publishes.
    pub(crate) fn handle_publish(&mut self, now: Instant, key: usize, publish: Publish) {
        let Some(client) = self.connections.mqtt(key) else { return };
        let (Some(session), version) = (client.session, client.engine.version()) else { return };
        let Some(state) = self.mqtt.sessions.get(session) else { return };
        let publisher =
            Publisher { key, session, origin: state.origin, version, is_lasting: state.is_lasting() };
        count(&mut self.mqtt.messages.counters.published, publish.qos);
        if publish.qos == Qos::ExactlyOnce && self.is_taken_already(now, publisher, &publish) {
            return;
        }
        if let Err(exceeded) = self.check_message(now, key, &publish) {
            return self.refuse_exceeding(now, key, &publish, &exceeded);
        }
        let topic = publish.topic();
        if !self.may_publish(key, topic) {
            return self.answer_publish(now, key, &publish, ReasonCode::NotAuthorized);
        }
        let route = self.route_for(key, topic);
        match route.kind {
            // 4.7.2: names that begin with `$` are the server's own.
            _ if topic.starts_with('$') && !self.is_open_to_clients(topic, &route) => {
                self.answer_publish(now, key, &publish, ReasonCode::TopicNameInvalid);
            }
            Some(AddressKind::Topic) => self.publish_to_topic(now, publisher, &route, &publish),
            Some(_) => self.publish_to_address(now, publisher, &route, &publish),
            None => self.answer_publish(now, key, &publish, ReasonCode::TopicNameInvalid),
        }
    }

    /// Counts a message towards what its client may send.
    ///
    /// # Errors
    /// The limit that it breaks.
    fn check_message(&mut self, now: Instant, key: usize, publish: &Publish) -> Result<(), Exceeded> {
        let bytes = publish.payload_bytes().len() as u64;
        self.check_size(key, bytes)?;
        self.pace(now, key, 1, bytes)
    }

    /// Refuses a message that breaks a limit, and says which where that can be said.
    fn refuse_exceeding(&mut self, now: Instant, key: usize, publish: &Publish, exceeded: &Exceeded) {
        let client = self.connections.mqtt_mut(key);
        let is_next = client.as_ref().is_some_and(|client| {
            client.intake.answers.is_empty() && client.engine.version() == Version::V5_0
        });
        match (publish.packet_id.filter(|_| is_next), client) {
            (Some(packet_id), Some(client)) => {
                self.mqtt.messages.counters.refused += 1;
                let words = in_words(PropertyIn::Ack, &exceeded.to_string());
                let result = client.engine.acknowledge(packet_id, ReasonCode::QuotaExceeded, words.view());
                debug_assert!(result.is_ok(), "the engine asked for an answer");
            }
            // Without words: it stands behind others, or has no answer.
            _ => self.answer_publish(now, key, publish, ReasonCode::QuotaExceeded),
        }
    }

    /// Where a name goes that the client of a connection says.
    fn route_for(&mut self, key: usize, name: &str) -> Arc<Route> {
        let access = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref());
        let space = access.map_or(DEFAULT_SPACE, |access| access.space().name());
        self.core.route(self.mqtt.messages.room.inside(space, name))
    }

    /// Whether a client has the right to publish to a name.
    fn may_publish(&mut self, key: usize, topic: &str) -> bool {
        let access = self.connections.get_mut(key).and_then(|connection| connection.caller.access.as_mut());
        let allowed = access.map(|access| access.may_send(topic));
        if let Some(Err(denied)) = &allowed {
            self.count_denial(denied);
        }
        matches!(allowed, Some(Ok(())))
    }

    /// Whether a name that begins with `$` is one that an address of the same kind stands for.
    fn is_open_to_clients(&self, topic: &str, route: &Route) -> bool {
        match route.kind {
            Some(AddressKind::Topic) => {
                self.core.topics_of(&route.name).iter().any(|address| outside(address).starts_with('$'))
            }
            Some(_) => true,
            None => topic.starts_with(TEMPORARY_PREFIX),
        }
    }

    fn publish_to_topic(&mut self, now: Instant, publisher: Publisher, route: &Route, publish: &Publish) {
        let payload = publish.payload_bytes();
        if payload.len() as u64 > route.max_message_bytes {
            return self.answer_publish(now, publisher.key, publish, ReasonCode::QuotaExceeded);
        }
        let retain = match (publish.retain, payload.is_empty()) {
            (false, _) => Retain::No,
            (true, false) => Retain::Keep,
            (true, true) => Retain::Clear,
        };
        let is_durable = publish.qos != Qos::AtMostOnce;
        let is_wanted = if is_durable { route.is_stored } else { route.is_stored_volatile };
        let is_kept = is_wanted || retain != Retain::No;
        let is_once = publish.qos == Qos::ExactlyOnce && publisher.is_lasting;
        let properties = publish.properties();
        let stated = lifetime(properties);
        let ttl = route.time_to_live(stated);
        // Before anybody hears of the message: afterwards it is not refused.
        let transaction = match (is_once && is_kept).then(|| self.core.declare_across(now)).transpose() {
            Ok(transaction) => transaction,
            Err(refused) => {
                let reason = reason_of_refusal(&refused);
                return self.answer_publish(now, publisher.key, publish, reason);
            }
        };
        let mut live = Live {
            topic: publish.topic(),
            properties,
            payload: &payload,
            qos: publish.qos,
            is_kept,
            retain: publish.retain,
            is_v5: publisher.version == Version::V5_0,
            origin: publisher.origin,
            ttl: ttl.filter(|_| ttl != stated),
            deadline: ttl.and_then(|ttl| now.checked_add(ttl)),
            envelope: None,
        };
        let copies = self.fan_out(now, route, &mut live);
        // Who has it from the message takes it for a name of the default space.
        let is_elsewhere = route.name.len() != publish.topic().len();
        let message = (!route.shards.is_empty()).then(|| LiveMessage {
            name: is_elsewhere.then(|| route.name.clone()),
            message_format: MQTT_FORMAT,
            body: live.envelope(),
            durable: is_durable,
            kept: is_kept,
            retain: publish.retain,
            ttl,
            origin: publisher.origin,
        });
        self.core.publish_live(route, copies, message.as_ref());
        if !route.shards.is_empty() && !self.core.has_live_room() {
            self.stall(publisher.key);
        }
        if is_kept {
            let incoming = Incoming {
                chunk: live.envelope(),
                routed: true,
                retain,
                ttl: stated,
                durable: is_durable,
                ..incoming(publish, publisher, route)
            };
            return match transaction {
                Some(transaction) => self.publish_once(now, publisher, publish, incoming, transaction),
                None => {
                    self.publish_through_core(now, publisher, publish, incoming, Stage::Keeping);
                }
            };
        }
        let reason = if copies == 0 && route.shards.is_empty() {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        self.answer_taken(now, publisher, publish, reason);
    }

    /// Publishes to what is no topic, or to an address that lives with a link.
    fn publish_to_address(&mut self, now: Instant, publisher: Publisher, route: &Route, publish: &Publish) {
        let stated = lifetime(publish.properties());
        let Some(body) = enclosed(publish, publisher) else {
            return self.answer_publish(now, publisher.key, publish, ReasonCode::ImplementationSpecificError);
        };
        let incoming = Incoming {
            chunk: body,
            ttl: stated,
            durable: publish.qos != Qos::AtMostOnce,
            ..incoming(publish, publisher, route)
        };
        let is_once = publish.qos == Qos::ExactlyOnce && publisher.is_lasting;
        let is_kept = self.core.kind(&route.name) == Some(AddressKind::Queue);
        if is_once && is_kept {
            return match self.core.declare_across(now) {
                Ok(transaction) => self.publish_once(now, publisher, publish, incoming, transaction),
                Err(refused) => {
                    self.answer_publish(now, publisher.key, publish, reason_of_refusal(&refused));
                }
            };
        }
        let stage = match (is_kept, is_once) {
            (true, _) => Stage::Keeping,
            (false, true) => Stage::OutcomeFirst,
            (false, false) => Stage::Outcome,
        };
        self.publish_through_core(now, publisher, publish, incoming, stage);
    }

    /// Gives a message to the core, which says what became of it. Says what its answer is called, which
    /// waits in this stage.
    fn publish_through_core(
        &mut self,
        now: Instant,
        publisher: Publisher,
        publish: &Publish,
        mut incoming: Incoming<'_>,
        stage: Stage,
    ) -> Option<u64> {
        let key = publisher.key;
        let producer = match self.producer_of(now, publisher) {
            Ok(producer) => producer,
            Err(refused) => {
                self.answer_publish(now, key, publish, reason_of_refusal(&refused));
                return None;
            }
        };
        let size = incoming.chunk.len() as u64;
        let client = self.connections.mqtt_mut(key)?;
        let answer = publish.packet_id.map(|packet_id| client.intake.answers.push(packet_id, stage));
        incoming.handle = answer.unwrap_or_default();
        client.intake.credit = client.intake.credit.saturating_sub(1);
        let begun = self.core.begin(now, producer, incoming);
        if !begun.consumed
            && let Some(client) = self.connections.mqtt_mut(key)
        {
            client.intake.held += size;
        }
        answer
    }

    /// The connection's producer.
    fn producer_of(&mut self, now: Instant, publisher: Publisher) -> Result<ProducerKey, Refused> {
        let client = self.connections.mqtt(publisher.key);
        if let Some(producer) = client.and_then(|client| client.intake.producer) {
            return Ok(producer);
        }
        let owner = self.stock_owner(publisher.key);
        let options = ProducerOptions { settles_second: false, origin: publisher.origin, owner };
        let producer = self.core.add_producer(now, ProducerTarget::AnyAddress, options)?;
        self.mqtt.messages.producers.insert(producer.to_bits(), publisher.key);
        if let Some(client) = self.connections.mqtt_mut(publisher.key) {
            client.intake.producer = Some(producer);
        }
        // Its first credit.
        self.run_effects(now);
        Ok(producer)
    }

    // ---- exactly once -----------------------------------------------------------------------------

    /// Whether a publication of QoS 2 is one of an earlier connection that is taken, or about to be: then
    /// it is answered when that is known.
    fn is_taken_already(&mut self, now: Instant, publisher: Publisher, publish: &Publish) -> bool {
        let Some(packet_id) = publish.packet_id else { return false };
        let Some(session) = self.mqtt.sessions.get_mut(publisher.session) else { return false };
        let Some(state) = session.flights.get_mut() else { return false };
        let Some(taking) = state.taking.get_mut(&packet_id) else { return false };
        let Some(client) = self.connections.mqtt_mut(publisher.key) else { return false };
        if !publish.duplicate {
            // The client has given that one up: the identifier means another message.
            state.taking.remove(&packet_id);
            return false;
        }
        match taking {
            Taking::Pending(answer) => {
                *answer = Some(client.intake.answers.push(packet_id, Stage::Storing));
            }
            Taking::Taken => {
                state.taking.remove(&packet_id);
                client.intake.answers.push(packet_id, Stage::Ready(ReasonCode::Success));
                self.send_answers(now, publisher.key);
            }
        }
        true
    }

    /// Message and packet identifier count together, in a transaction: whatever happens, the client's next
    /// attempt is known as one.
    fn publish_once(
        &mut self,
        now: Instant,
        publisher: Publisher,
        publish: &Publish,
        incoming: Incoming<'_>,
        transaction: TransactionId,
    ) {
        let key = publisher.key;
        let Some(packet_id) = publish.packet_id else { return };
        let incoming = Incoming { transaction: Some(transaction), ..incoming };
        let answer = self.publish_through_core(now, publisher, publish, incoming, Stage::Posting);
        // What cannot be posted is refused at once.
        self.run_effects(now);
        let client = self.connections.mqtt(key);
        let found = client.zip(answer).and_then(|(client, answer)| client.intake.answers.find(answer));
        let is_posted = found.is_some_and(|answer| answer.stage == Stage::Storing);
        let Some(answer) = answer.filter(|_| is_posted) else {
            return self.end_transaction(now, transaction, true);
        };
        self.note_taking(publisher.session, packet_id, answer);
        let Some(session) = self.mqtt.sessions.get(publisher.session) else { return };
        let object = incoming_key(&session.client_id, packet_id);
        let value = incoming_value(session.number);
        let put = self.core.put_in_transaction(now, transaction, object, Some(value));
        let deed = Deed::Take { session: publisher.session, packet_id };
        self.mqtt.messages.transactions.insert(transaction, deed);
        self.end_transaction(now, transaction, put.is_err());
    }

    pub(super) fn end_transaction(&mut self, now: Instant, transaction: TransactionId, fail: bool) {
        if let Err(refused) = self.core.discharge(now, transaction, fail) {
            error!(%refused, "a transaction of our own is gone");
        }
    }

    fn note_taking(&mut self, session: SessionKey, packet_id: PacketId, answer: u64) {
        if let Some(session) = self.mqtt.sessions.get_mut(session) {
            session.flights.get_or_insert().taking.insert(packet_id, Taking::Pending(Some(answer)));
        }
    }

    /// Answers a publication that needs nothing more; one of QoS 2 in a lasting session has its identifier
    /// remembered first.
    fn answer_taken(&mut self, now: Instant, publisher: Publisher, publish: &Publish, reason: ReasonCode) {
        let is_remembered = publish.qos == Qos::ExactlyOnce && publisher.is_lasting;
        match publish.packet_id.filter(|_| is_remembered) {
            Some(packet_id) => {
                let Some(client) = self.connections.mqtt_mut(publisher.key) else { return };
                let name = client.intake.answers.push(packet_id, Stage::Storing);
                self.remember_taken(publisher.session, packet_id, name);
            }
            None => self.answer_publish(now, publisher.key, publish, reason),
        }
    }

    fn remember_taken(&mut self, session: SessionKey, packet_id: PacketId, answer: u64) {
        self.note_taking(session, packet_id, answer);
        let Some(state) = self.mqtt.sessions.get(session) else { return };
        let value = incoming_value(state.number);
        let ticket = self.put_object(incoming_key(&state.client_id, packet_id), value);
        self.mqtt.messages.errands.insert(ticket, Errand::Taken { session, packet_id });
    }

    /// It is decided whether a publication of QoS 2 is taken.
    pub(super) fn taken(
        &mut self,
        now: Instant,
        session: SessionKey,
        packet_id: PacketId,
        result: Result<(), ReasonCode>,
    ) {
        let Some(state) = self.mqtt.sessions.get_mut(session) else { return };
        let connection = state.connection();
        let Some(flights) = state.flights.get_mut() else { return };
        let Some(Taking::Pending(answer)) = flights.taking.remove(&packet_id) else { return };
        let client = connection.and_then(|key| self.connections.mqtt_mut(key));
        match (answer, client, result) {
            (Some(answer), Some(client), result) => {
                let reason = result.err().unwrap_or(ReasonCode::Success);
                client.intake.answers.set(answer, Stage::Ready(reason));
            }
            // Its connection is gone: the client will ask with the next one.
            (None, Some(_), Ok(())) => {
                flights.taking.insert(packet_id, Taking::Taken);
            }
            (_, None, Ok(())) => flights.resumed.incoming.push(packet_id),
            (_, _, Err(_)) => {}
        }
        state.flights.tidy();
        if let Some(key) = connection {
            self.send_answers(now, key);
        }
    }

    /// The client has released a publication of QoS 2: its identifier is free, on disk first.
    pub(super) fn release_taken(&mut self, key: usize, session: SessionKey, packet_id: PacketId) {
        let Some(state) = self.mqtt.sessions.get(session) else { return };
        if state.is_lasting() {
            let ticket = self.delete_object(incoming_key(&state.client_id, packet_id));
            self.mqtt.messages.errands.insert(ticket, Errand::Completed { session, packet_id });
        } else {
            self.complete(key, packet_id);
        }
    }

    pub(super) fn complete(&mut self, key: usize, packet_id: PacketId) {
        if let Some(client) = self.connections.mqtt_mut(key) {
            // Gone with a connection that has ended.
            let _ = client.engine.complete(packet_id);
        }
        self.mark_dirty(key);
    }

    // ---- answers ----------------------------------------------------------------------------------

    /// Decides a publication.
    fn answer_publish(&mut self, now: Instant, key: usize, publish: &Publish, reason: ReasonCode) {
        let Some(packet_id) = publish.packet_id else {
            if reason.is_error() {
                self.refuse_unanswered(now, key, publish, reason);
            }
            return;
        };
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let answers = &mut client.intake.answers;
        if answers.is_empty() && !(reason.is_error() && client.engine.version() == Version::V3_1_1) {
            // Nothing is before it.
            if reason.is_error() {
                self.mqtt.messages.counters.refused += 1;
            }
            let words = explained(PropertyIn::Ack, reason);
            let result = client.engine.acknowledge(packet_id, reason, words.view());
            debug_assert!(result.is_ok(), "the engine asked for an answer");
            return;
        }
        answers.push(packet_id, Stage::Ready(reason));
        self.send_answers(now, key);
    }

    /// QoS 0 has no answer. A client of 3.1.1 could not hear of it any other way than by being closed.
    fn refuse_unanswered(&mut self, now: Instant, key: usize, publish: &Publish, reason: ReasonCode) {
        self.mqtt.messages.counters.refused += 1;
        debug!(connection = %self.name_of(key), %reason, "a publication of QoS 0 is refused");
        let is_old =
            self.connections.mqtt(key).is_some_and(|client| client.engine.version() == Version::V3_1_1);
        if is_old && publish.qos == Qos::AtMostOnce {
            self.disconnect_client(now, key, reason);
        }
    }

    /// Sends what may leave.
    fn send_answers(&mut self, now: Instant, key: usize) {
        let mut refused = None;
        while let Some(client) = self.connections.mqtt_mut(key)
            && let Some((packet_id, reason)) = client.intake.answers.pop()
        {
            if reason.is_error() {
                self.mqtt.messages.counters.refused += 1;
                // 3.1.1, 3.3.5.2: it has no word for a refusal.
                if client.engine.version() == Version::V3_1_1 {
                    refused = Some(reason);
                    break;
                }
            }
            // Gone with a connection that has ended.
            let words = explained(PropertyIn::Ack, reason);
            let _ = client.engine.acknowledge(packet_id, reason, words.view());
        }
        self.mark_dirty(key);
        match refused {
            Some(reason) => self.disconnect_client(now, key, reason),
            // A client of 3.1.1 may have waited for it.
            None => self.resume_reading(key),
        }
    }

    /// Ends a connection for a reason of ours.
    pub(super) fn disconnect_client(&mut self, now: Instant, key: usize, reason: ReasonCode) {
        debug!(connection = %self.name_of(key), %reason, "disconnecting");
        if let Some(client) = self.connections.mqtt_mut(key) {
            let words = explained(PropertyIn::Disconnect, reason);
            let _ = client.engine.disconnect(reason, words.view());
        }
        self.start_closing(now, key);
    }

    // ---- effects of the core ----------------------------------------------------------------------

    /// The core says what became of a publication; false when the producer is none of a client's.
    pub(super) fn mqtt_outcome(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        handle: u64,
        outcome: Option<&Outcome>,
        settled: bool,
    ) -> bool {
        let Some(key) = self.mqtt.messages.producer(producer) else { return false };
        let Some(client) = self.connections.mqtt_mut(key) else { return true };
        let answers = &mut client.intake.answers;
        if !settled && !outcome.is_some_and(Outcome::is_terminal) {
            return true;
        }
        let Some(&Answer { packet_id, stage }) = answers.find(handle) else {
            return true;
        };
        let reason = reason_in(stage, outcome);
        let session = client.session;
        match stage {
            Stage::Storing | Stage::Ready(_) => {}
            // What is in a transaction counts with its commit.
            Stage::Posting if !reason.is_error() => answers.set(handle, Stage::Storing),
            Stage::OutcomeFirst if !reason.is_error() => {
                answers.set(handle, Stage::Storing);
                if let Some(session) = session {
                    self.remember_taken(session, packet_id, handle);
                }
            }
            Stage::Outcome | Stage::Keeping | Stage::OutcomeFirst | Stage::Posting => {
                answers.set(handle, Stage::Ready(reason));
                self.send_answers(now, key);
            }
        }
        true
    }

    /// The core takes more of a producer; false when it is none of a client's.
    pub(super) fn mqtt_granted(&mut self, producer: ProducerKey, credit: u32) -> bool {
        let Some(key) = self.mqtt.messages.producer(producer) else { return false };
        if let Some(client) = self.connections.mqtt_mut(key) {
            client.intake.credit = client.intake.credit.saturating_add(credit);
        }
        self.resume_reading(key);
        true
    }

    /// Bytes of a producer have left the core; false when it is none of a client's.
    pub(super) fn mqtt_consumed(&mut self, producer: ProducerKey, bytes: u64) -> bool {
        let Some(key) = self.mqtt.messages.producer(producer) else { return false };
        if let Some(client) = self.connections.mqtt_mut(key) {
            client.intake.held = client.intake.held.saturating_sub(bytes);
        }
        self.resume_reading(key);
        true
    }

    /// The core takes a producer's credit back; false when it is none of a client's.
    pub(super) fn mqtt_producer_stopped(&mut self, now: Instant, producer: ProducerKey) -> bool {
        let Some(key) = self.mqtt.messages.producer(producer) else { return false };
        if let Some(client) = self.connections.mqtt_mut(key) {
            client.intake.credit = 0;
        }
        self.core.producer_stopped(now, producer);
        true
    }

    /// The core closes a producer; false when it is none of a client's.
    pub(super) fn mqtt_producer_closed(&mut self, now: Instant, producer: ProducerKey) -> bool {
        let Some(key) = self.mqtt.messages.producer(producer) else { return false };
        self.remove_mqtt_producer(now, key);
        true
    }

    /// A transaction has ended; false when it is none of ours.
    pub(super) fn mqtt_discharged(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        result: Result<(), &ErrorInfo>,
    ) -> bool {
        self.drop_late_object(transaction, result.is_ok());
        match self.mqtt.messages.transactions.remove(&transaction) {
            None => return false,
            Some(Deed::Take { session, packet_id }) => {
                let result = result.map_err(|error| reason_of_condition(&error.condition));
                self.taken(now, session, packet_id, result);
            }
            Some(Deed::Release { session, packet_id, reference }) => {
                self.left_queue(session, packet_id, reference, result.is_ok());
            }
        }
        true
    }

    /// A live message has come from another shard, or from a publisher that knows no live subscribers.
    pub(super) fn mqtt_live(&mut self, now: Instant, message: &LiveMessage) {
        let name = message.name.as_deref();
        let body = match converted(message.message_format, &message.body, name.map(outside)) {
            Ok(converted) => converted.message,
            Err(unfit) => {
                debug!(%unfit, "a live message cannot be sent over MQTT");
                self.mqtt.messages.counters.dropped_unfit += 1;
                return;
            }
        };
        let Ok(envelope) = Envelope::parse(&body) else { return };
        // A message that says its name itself is one of the default space, where that is the same inside.
        let route = self.core.route(name.unwrap_or(envelope.topic));
        let payload = envelope.payload_bytes(&body);
        let mut live = Live {
            topic: envelope.topic,
            properties: envelope.properties,
            payload: &payload,
            // AMQP says with the header what MQTT says with the QoS.
            qos: if message.durable { envelope.qos.max(Qos::AtLeastOnce) } else { Qos::AtMostOnce },
            is_kept: message.kept,
            retain: message.retain,
            is_v5: envelope.is_v5,
            origin: message.origin,
            ttl: message.ttl,
            deadline: message.ttl.and_then(|ttl| now.checked_add(ttl)),
            envelope: Some(body.clone()),
        };
        let copies = self.fan_out(now, &route, &mut live);
        self.core.count_live(&route, copies);
    }

    /// Reads no more of a client until other shards have taken what they were sent.
    pub(super) fn stall(&mut self, key: usize) {
        if let Some(client) = self.connections.mqtt_mut(key)
            && !std::mem::replace(&mut client.intake.is_stalled, true)
        {
            self.mqtt.messages.stalled.push(key);
        }
    }

    /// Other shards have taken what they were sent.
    pub(super) fn mqtt_live_room(&mut self) {
        for key in std::mem::take(&mut self.mqtt.messages.stalled) {
            if let Some(client) = self.connections.mqtt_mut(key) {
                client.intake.is_stalled = false;
            }
            self.resume_reading(key);
        }
    }

    // ---- the end ----------------------------------------------------------------------------------

    /// The connection ends: nobody is answered any more.
    pub(super) fn stop_publishing(&mut self, now: Instant, key: usize) {
        self.remove_mqtt_producer(now, key);
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        client.intake = Intake::default();
        let Some(session) = client.session.and_then(|session| self.mqtt.sessions.get_mut(session)) else {
            return;
        };
        if let Some(state) = session.flights.get_mut() {
            for taking in state.taking.values_mut() {
                if let Taking::Pending(answer) = taking {
                    *answer = None;
                }
            }
        }
    }

    fn remove_mqtt_producer(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(producer) = client.intake.producer.take() else { return };
        client.intake.credit = 0;
        client.intake.held = 0;
        self.mqtt.messages.producers.remove(producer.to_bits());
        self.core.remove_producer(now, producer);
    }
}

/// What every message of a client for the core has in common.
fn incoming<'a>(publish: &Publish, publisher: Publisher, route: &'a Route) -> Incoming<'a> {
    Incoming {
        to: Some(&route.name),
        settled: publish.qos == Qos::AtMostOnce,
        priority: PRIORITY,
        message_format: MQTT_FORMAT,
        origin: Some(publisher.origin),
        ..Incoming::default()
    }
}

/// A publication in the encoding that the core keeps it in.
fn enclosed(publish: &Publish, publisher: Publisher) -> Option<Bytes> {
    Envelope::of_publish(publish, publisher.version, publisher.origin).encode().ok()
}

/// The message expiry interval that the publisher set (3.3.2.3.3).
fn lifetime(properties: PropertyView<'_>) -> Option<Duration> {
    if properties.is_empty() {
        return None;
    }
    properties.message_expiry_interval().map(|seconds| Duration::from_secs(seconds.into()))
}

/// Counts one of a QoS.
pub(super) fn count(counts: &mut [u64; 3], qos: Qos) {
    if let Some(count) = counts.get_mut(usize::from(qos.to_byte())) {
        *count += 1;
    }
}

/// What a publisher is told of the outcome of its message (3.4.2.1).
fn reason_of(outcome: &Outcome) -> ReasonCode {
    match outcome {
        Outcome::Accepted | Outcome::Received { .. } | Outcome::Other(_) => ReasonCode::Success,
        // Nobody took it, and nobody will.
        Outcome::Released => ReasonCode::NoMatchingSubscribers,
        Outcome::Modified { .. } => ReasonCode::ImplementationSpecificError,
        Outcome::Rejected(error) => {
            error.as_ref().map_or(ReasonCode::UnspecifiedError, |error| reason_of_condition(&error.condition))
        }
    }
}

/// The same for what waited for it in this stage.
fn reason_in(stage: Stage, outcome: Option<&Outcome>) -> ReasonCode {
    let reason = outcome.map_or(ReasonCode::NoMatchingSubscribers, reason_of);
    match stage {
        // Its home has not kept it, or cannot be reached: with a success the publisher would forget it.
        Stage::Keeping | Stage::Posting if reason == ReasonCode::NoMatchingSubscribers => {
            ReasonCode::UnspecifiedError
        }
        _ => reason,
    }
}

/// What a publisher is told of an error condition.
fn reason_of_condition(condition: &str) -> ReasonCode {
    match condition {
        condition::NOT_FOUND | condition::INVALID_FIELD => ReasonCode::TopicNameInvalid,
        condition::RESOURCE_LIMIT_EXCEEDED | condition::MESSAGE_SIZE_EXCEEDED => ReasonCode::QuotaExceeded,
        "amqp:unauthorized-access" | "amqp:not-allowed" => ReasonCode::NotAuthorized,
        "amqp:decode-error" => ReasonCode::PayloadFormatInvalid,
        condition::NOT_IMPLEMENTED | condition::PRECONDITION_FAILED => {
            ReasonCode::ImplementationSpecificError
        }
        _ => ReasonCode::UnspecifiedError,
    }
}

fn reason_of_refusal(refused: &Refused) -> ReasonCode {
    match refused {
        Refused::LimitExceeded { .. } | Refused::Full(_) => ReasonCode::QuotaExceeded,
        Refused::NotFound(_) | Refused::BadName { .. } => ReasonCode::TopicNameInvalid,
        Refused::NotAllowed(_) => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}

#[cfg(test)]
mod tests {
    use mq_core::ErrorInfo;
    use mq_mqtt::reason::ReasonIn;

    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).expect("not 0")
    }

    #[test]
    fn answers_leave_in_the_order_of_the_publications_whenever_they_are_decided() {
        let mut answers = Answers::default();
        let first = answers.push(id(9), Stage::Outcome);
        let second = answers.push(id(3), Stage::Storing);
        let third = answers.push(id(5), Stage::Ready(ReasonCode::Success));
        assert_eq!(answers.pop(), None);
        answers.set(second, Stage::Ready(ReasonCode::QuotaExceeded));
        assert_eq!(answers.pop(), None);
        answers.set(first, Stage::Ready(ReasonCode::Success));
        assert_eq!(answers.pop(), Some((id(9), ReasonCode::Success)));
        assert!(answers.find(first).is_none(), "it is gone");
        assert_eq!(answers.find(third).map(|answer| answer.packet_id), Some(id(5)));
        assert_eq!(answers.pop(), Some((id(3), ReasonCode::QuotaExceeded)));
        assert_eq!(answers.pop(), Some((id(5), ReasonCode::Success)));
        assert!(answers.is_empty() && answers.pop().is_none());
        // A name is not used again.
        assert_eq!(answers.push(id(9), Stage::Outcome), third + 1);
        answers.set(first, Stage::Ready(ReasonCode::Success));
        assert_eq!(answers.pop(), None);
    }

    #[test]
    fn every_outcome_has_a_reason_that_a_puback_may_carry() {
        let rejected = |condition: &'static str| {
            Outcome::Rejected(Some(Box::new(ErrorInfo {
                condition: condition.into(),
                description: None,
                info: None,
            })))
        };
        for (outcome, reason) in [
            (Outcome::Accepted, ReasonCode::Success),
            (Outcome::Released, ReasonCode::NoMatchingSubscribers),
            (Outcome::FAILED, ReasonCode::ImplementationSpecificError),
            (Outcome::Rejected(None), ReasonCode::UnspecifiedError),
            (rejected("amqp:not-found"), ReasonCode::TopicNameInvalid),
            (rejected("amqp:resource-limit-exceeded"), ReasonCode::QuotaExceeded),
            (rejected("amqp:link:message-size-exceeded"), ReasonCode::QuotaExceeded),
            (rejected("amqp:unauthorized-access"), ReasonCode::NotAuthorized),
            (rejected("amqp:decode-error"), ReasonCode::PayloadFormatInvalid),
            (rejected("amqp:internal-error"), ReasonCode::UnspecifiedError),
            (rejected("of:our:own"), ReasonCode::UnspecifiedError),
        ] {
            assert_eq!(reason_of(&outcome), reason);
            assert!(reason.is_allowed_in(ReasonIn::PubAck));
        }
    }

    #[test]
    fn a_message_that_is_to_be_kept_and_was_released_is_not_acknowledged_as_a_success() {
        for outcome in [Some(&Outcome::Released), None] {
            assert!(reason_in(Stage::Keeping, outcome).is_error());
            assert!(reason_in(Stage::Posting, outcome).is_error());
            assert_eq!(reason_in(Stage::Outcome, outcome), ReasonCode::NoMatchingSubscribers);
        }
        assert_eq!(reason_in(Stage::Keeping, Some(&Outcome::Accepted)), ReasonCode::Success);
    }
}
