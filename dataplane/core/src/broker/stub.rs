//! Links to stored addresses, on the shard that has the link.
//!
//! A message is put together here and goes to the home of its address when it is whole. Deliveries come
//! from there. With the home on this shard, both are plain calls; a delivery then never waits here: the
//! home does not hand out what the link's lane would not let out at once.
//!
//! Invariants:
//! - `assembling` is the sum of what has come in of messages that are not whole.
//! - Every message at a home elsewhere that has not answered is one of `sent`, so that its producer can be
//!   told when that home is gone.
//! - A consumer's `grips` are the deliveries that it has and has not settled.
//! - A consumer whose home is elsewhere has a `remote`, whose backlog is what the home has handed out and
//!   the link's credit and lane have not let out yet. What is given back is given back from its end.
//!
//! What becomes of links when an address changes its home stands in [`follow`](super::follow).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::follow::{Asking, Following};
use super::protocol::{DELIVERY_COST, Destination, Handout, Publication, Source, WINDOW, Wire};
use super::transaction::PartKey;
use crate::condition;
use crate::consumer::ConsumerOptions;
use crate::core::Core;
use crate::delivery::{Arrival, ByLink, COPY_UP_TO, Incoming, Origin, Retain, too_large};
use crate::effect::{CloseReason, Effect, Refused};
use crate::format::Redelivery;
use crate::key::{
    AddressKey, ConsumerKey, DeliveryKey, GripKey, InboundKey, LaneKey, LegKey, ProducerKey, ReceiverKey,
    SenderKey, SentKey,
};
use crate::list::{Linked, Links, List};
use crate::outcome::Outcome;
use crate::peer::PEER_FREE_BYTES;
use crate::producer::Target;
use crate::settings::{AddressKind, ShardId, hash_of_name};
use crate::stock::Owner;
use crate::store::{Reference, TransactionId, UnixMillis};
use crate::topic;

/// What a producer to a stored address has that others have not.
#[derive(Debug)]
pub(crate) struct StoredProducer {
    /// For topics: the name that it sends to.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) home: ShardId,
    /// Its name at the home, once that has answered.
    pub(crate) sender: Option<SenderKey>,
    /// Homes that were asked to let it in and had not answered when the address left them.
    pub(super) unanswered: Vec<ShardId>,
    pub(super) asking: Asking,
}

/// What a consumer of a stored address has that others have not.
#[derive(Debug, Default)]
pub(crate) struct StoredConsumer {
    /// What the home has been told last that its subscription is to get, and does not go by yet.
    pub(crate) unanswered_filters: Option<super::topic::Filters>,
    /// Its name at the home, once that has answered.
    pub(crate) receiver: Option<ReceiverKey>,
    pub(crate) grips: List<GripKey, ByLink>,
    /// When its home is another shard.
    pub(crate) remote: Option<Box<Remote>>,
    /// A home has let it in.
    pub(super) is_admitted: bool,
    /// For topics: the names that it gets, as it has named them.
    pub(super) source: Option<Arc<str>>,
    /// What it has at homes of before.
    pub(super) following: Option<Box<Following>>,
}

impl StoredConsumer {
    /// The number of the last `Credit` that a home elsewhere was told.
    pub(crate) fn credit_number(&self) -> Option<u32> {
        self.remote.as_ref().map(|remote| remote.number)
    }
}

/// What a link's shard keeps of a consumer whose home is elsewhere.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) home: ShardId,
    pub(crate) backlog: VecDeque<Handout>,
    /// Deliveries that the link has got.
    emitted: u64,
    /// What has left the backlog and the home has not been told of.
    freed: usize,
    /// The number of the last `Credit`.
    number: u32,
    /// The home had nothing more for the last `Credit`.
    drained: bool,
}

impl Remote {
    /// A new place at a home where the consumer may have had another one before.
    pub(super) fn new(home: ShardId, before: Option<&Self>) -> Self {
        // Another one, so that what the home says of the place of before is not taken for this one's.
        let number = before.map_or(0, |before| before.number.wrapping_add(1));
        Self { home, backlog: VecDeque::new(), emitted: 0, freed: 0, number, drained: false }
    }

    /// The number of the next `Credit`, and how many deliveries the link will have taken with it in all.
    pub(super) fn next_credit(&mut self, credit: u32) -> (u32, u64) {
        self.number = self.number.wrapping_add(1);
        self.drained = false;
        (self.number, self.emitted + u64::from(credit))
    }

    /// Whether this is the number of the last `Credit`.
    pub(super) fn is_current(&self, number: u32) -> bool {
        self.number == number
    }
}

/// A delivery from a queue that a consumer of this shard has.
#[derive(Debug)]
pub(crate) struct Grip {
    consumer: ConsumerKey,
    /// Where it came from; `None`: that home is gone.
    pub(super) home: Option<ShardId>,
    pub(super) receiver: ReceiverKey,
    pub(crate) entry: crate::queue::EntryKey,
    /// The caller's id of the delivery.
    handle: u64,
    /// What the store calls it.
    reference: Option<Reference>,
    /// See [`Handout::is_named`].
    is_named: bool,
    in_link: Links<GripKey>,
}

impl Linked<GripKey, ByLink> for Grip {
    fn links(&self) -> &Links<GripKey> {
        &self.in_link
    }

    fn links_mut(&mut self) -> &mut Links<GripKey> {
        &mut self.in_link
    }
}

/// A delivery to a stored address that is not done with.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) producer: ProducerKey,
    stage: Stage,
}

/// A message at a home on another shard that has not answered.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(super) home: ShardId,
    by: Sender,
}

/// Who hears of a message that was sent to another shard.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender {
    Producer(Source),
    Transaction(TransactionId),
    /// A home of before, which the transaction has taken for the home.
    Part(PartKey),
}

#[cfg(test)]
impl Inbound {
    /// Bytes that have come in.
    pub(crate) fn assembling(&self) -> u64 {
        match &self.stage {
            Stage::Assembling(assembly) => assembly.body.len() as u64,
            Stage::Sunk(..) | Stage::Waiting { .. } => 0,
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// More of it is to come.
    Assembling(Box<Assembly>),
    /// Its fate is sealed; the rest of it is swallowed.
    Sunk(Head, Outcome),
    /// It is whole, and its producer settles second.
    Waiting { answered: bool },
}

#[derive(Debug)]
struct Assembly {
    head: Head,
    body: Vec<u8>,
}

/// What is known of a message from its start.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    address: AddressKey,
    name: Option<Arc<str>>,
    producer: ProducerKey,
    handle: u64,
    settled: bool,
    second: bool,
    message_format: u32,
    priority: u8,
    durable: bool,
    arrived: UnixMillis,
    expires: Option<UnixMillis>,
    not_before: Option<UnixMillis>,
    transaction: Option<TransactionId>,
    routed: bool,
    retain: Retain,
    origin: Option<u64>,
    owner: Option<Owner>,
}

impl Core {
    // ---- producers --------------------------------------------------------------------------------

    /// Makes a new producer one of a stored address, whose home decides whether it is let in.
    ///
    /// # Errors
    /// What the home says, when it is this shard.
    pub(crate) fn attach_producer(
        &mut self,
        key: ProducerKey,
        address_key: AddressKey,
        name: &str,
    ) -> Result<(), Refused> {
        let Some(address) = self.addresses.get(address_key) else {
            return Err(Refused::NotFound(name.into()));
        };
        let is_topic = address.settings.kind == AddressKind::Topic;
        if is_topic && let Err(error) = topic::validate_name(name) {
            return Err(Refused::BadName { name: name.into(), reason: error.to_string().into() });
        }
        let Some(shard) = self.reachable_entrance(address) else {
            return Err(self.home_unavailable(address));
        };
        let (home, label) = (address.home, address.name.clone());
        let name_of_topic = is_topic.then(|| name.into());
        let stored = StoredProducer {
            name: name_of_topic,
            home: shard,
            sender: None,
            unanswered: Vec::new(),
            asking: Asking::default(),
        };
        let Some(producer) = self.producers.get_mut(key) else { return Ok(()) };
        producer.stored = Some(Box::new(stored));
        if shard != self.shard {
            self.send_wire(shard, Wire::AddSender { producer: key, address: label });
            return Ok(());
        }
        let Some(home) = home else { return Err(Refused::NotFound(name.into())) };
        let (sender, active) = self.add_sender(home, self.shard, key).map_err(Refused::Home)?;
        self.sender_opened(key, sender, active);
        Ok(())
    }

    /// The home has let a producer in.
    pub(crate) fn sender_opened(&mut self, key: ProducerKey, sender: SenderKey, active: bool) {
        let Some(producer) = self.producers.get_mut(key) else { return };
        if let Some(stored) = &mut producer.stored {
            stored.sender = Some(sender);
            stored.asking = Asking::default();
        }
        self.sender_flow(key, active);
    }

    /// Whether a producer of a stored address has credit is for the home to say.
    pub(crate) fn sender_flow(&mut self, key: ProducerKey, active: bool) {
        if active { self.resume(key) } else { self.stop(key) }
    }

    /// A producer has left its stored address.
    pub(crate) fn detach_producer(&mut self, key: ProducerKey) {
        let Some(stored) = self.producers.get_mut(key).and_then(|producer| producer.stored.take()) else {
            return;
        };
        let Some(sender) = stored.sender else { return };
        if stored.home == self.shard {
            self.remove_sender(sender);
        } else {
            self.send_wire(stored.home, Wire::RemoveSender { sender });
        }
    }

    /// Forgets what a removed producer left that it alone could have ended.
    pub(crate) fn forget_inbound(&mut self, producer: ProducerKey) {
        let left: Vec<InboundKey> = self
            .broker
            .inbound
            .iter()
            .filter(|(_, inbound)| inbound.producer == producer)
            .map(|(key, _)| key)
            .collect();
        for key in left {
            self.broker.inbound.remove(key);
        }
    }

    /// Takes a new message for a stored address.
    pub(crate) fn arrive_stored(
        &mut self,
        now: Instant,
        address: AddressKey,
        arrival: &mut Arrival,
        incoming: &Incoming<'_>,
    ) -> (Option<DeliveryKey>, bool) {
        let Origin::Producer { key: producer, handle, anonymous } = arrival.origin else {
            return self.refuse(arrival, Some(address), Outcome::Released);
        };
        let name = match self.publication_name(producer, address, anonymous) {
            Ok(name) => name,
            Err(outcome) => return self.refuse(arrival, Some(address), outcome),
        };
        if let Some(transaction) = incoming.transaction
            && let Err(refused) = self.check_transaction(transaction)
        {
            let outcome = Outcome::rejected(condition::UNKNOWN_TRANSACTION, refused.to_string());
            return self.refuse(arrival, Some(address), outcome);
        }
        let head = Head {
            address,
            name,
            producer,
            handle,
            settled: arrival.settled,
            second: arrival.second,
            message_format: arrival.message_format,
            priority: arrival.level,
            durable: incoming.durable,
            arrived: self.broker.clock.unix(now),
            expires: arrival.deadline.map(|deadline| self.broker.clock.unix(deadline)),
            not_before: incoming.not_before,
            transaction: incoming.transaction,
            routed: incoming.routed,
            retain: incoming.retain,
            origin: incoming.origin,
            owner: incoming.owner,
        };
        let chunk = std::mem::take(&mut arrival.chunk);
        if !arrival.more {
            return self.publish_whole(now, head, chunk, None);
        }
        let body = chunk.to_vec();
        self.broker.assembling += body.len() as u64;
        let stage = Stage::Assembling(Box::new(Assembly { head, body }));
        let key = self.broker.inbound.insert(Inbound { producer, stage });
        self.check_assembly(key);
        (Some(key.to_delivery()), true)
    }

    /// The name that a message for a topic was sent to.
    fn publication_name(
        &self,
        producer: ProducerKey,
        address: AddressKey,
        anonymous: bool,
    ) -> Result<Option<Arc<str>>, Outcome> {
        let is_topic =
            self.addresses.get(address).is_some_and(|address| address.settings.kind == AddressKind::Topic);
        let Some(producer) = self.producers.get(producer).filter(|_| is_topic) else { return Ok(None) };
        if !anonymous {
            return Ok(producer.stored.as_ref().and_then(|stored| stored.name.clone()));
        }
        let Target::Any { last: Some((name, _)) } = &producer.target else { return Ok(None) };
        match topic::validate_name(name) {
            Ok(()) => Ok(Some(name.clone())),
            Err(error) => {
                let sentence = format!("the address of the message names no topic: {error}");
                Err(Outcome::rejected(condition::INVALID_FIELD, sentence))
            }
        }
    }

    /// Sends a whole message to its home. Says whether its (last) bytes have left the core; large ones
    /// that have to be on disk first have not, so that the producer's session bounds them.
    fn publish_whole(
        &mut self,
        now: Instant,
        head: Head,
        body: Bytes,
        inbound: Option<(InboundKey, usize)>,
    ) -> (Option<DeliveryKey>, bool) {
        let last = inbound.map_or(body.len(), |(_, last)| last);
        let held = if head.durable && body.len() > PEER_FREE_BYTES { last } else { 0 };
        let mut key = inbound.map(|(key, _)| key);
        if head.second && !head.settled {
            let waiting = Inbound { producer: head.producer, stage: Stage::Waiting { answered: false } };
            match key.and_then(|key| self.broker.inbound.get_mut(key)) {
                Some(inbound) => *inbound = waiting,
                None => key = Some(self.broker.inbound.insert(waiting)),
            }
        } else if let Some(key) = key.take() {
            self.broker.inbound.remove(key);
        }
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        let options = self.producers.get(head.producer).map(|producer| &producer.options);
        let publication = Publication {
            source: Source::Producer {
                shard: self.shard,
                key: head.producer,
                handle: head.handle,
                settled: head.settled,
                held,
                second: key,
            },
            origin: head.origin.or_else(|| options.map(|options| options.origin)),
            owner: head.owner.or_else(|| options.and_then(|options| options.owner)),
            name: head.name,
            message_format: head.message_format,
            is_slice: inbound.is_none() && body.len() <= COPY_UP_TO,
            body,
            priority: head.priority,
            durable: head.durable,
            arrived: head.arrived,
            expires: head.expires,
            not_before: head.not_before,
            transaction: head.transaction,
            routed: head.routed,
            retain: head.retain,
            given: false,
            moved: None,
            handover: None,
        };
        match head.transaction {
            Some(transaction) => {
                let (address, _) = self.route_to_shard(head.address, Some(head.producer), &publication);
                self.post_in_transaction(transaction, address, publication);
            }
            None => {
                let (address, producer) =
                    self.route_to_shard(head.address, Some(head.producer), &publication);
                self.publish(now, address, producer, publication);
            }
        }
        (key.map(InboundKey::to_delivery), held == 0)
    }

    /// Hands a message to the home of its address.
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        address: AddressKey,
        producer: Option<ProducerKey>,
        publication: Publication,
    ) {
        if self.addresses.get(address).is_some_and(|address| address.gate.is_some()) {
            return self.hold_back(address, producer, publication);
        }
        self.publish_at_once(now, address, producer, publication);
    }

    /// The same whatever waits here.
    pub(crate) fn publish_at_once(
        &mut self,
        now: Instant,
        address: AddressKey,
        producer: Option<ProducerKey>,
        mut publication: Publication,
    ) {
        let Some(address) = self.addresses.get(address) else {
            return self.answer(publication.source, Outcome::Released);
        };
        let Some(shard) = self.reachable_entrance(address) else {
            return self.answer(publication.source, Outcome::Released);
        };
        // A queue here copies it later, if at all.
        if shard != self.shard || address.settings.kind != AddressKind::Queue {
            publication.keep();
        }
        if shard == self.shard {
            return match address.home {
                Some(home) => self.publish_at_home(now, home, publication),
                None => self.answer(publication.source, Outcome::Released),
            };
        }
        let sender = producer
            .and_then(|key| self.producers.get(key))
            .and_then(|producer| producer.stored.as_ref())
            .and_then(|stored| stored.sender);
        let to = match sender {
            Some(sender) => Destination::Sender(sender),
            None => Destination::Address(address.name.clone()),
        };
        let is_own = publication.source.shard() == Some(self.shard);
        let is_wrapped = match publication.source {
            Source::Producer { .. } | Source::Sent { .. } => true,
            // It hears of the end of that home; of others that have sent it on it does not.
            Source::Forward { .. } => !is_own,
            Source::Nobody => false,
        };
        if is_wrapped {
            let (source, settled) = (publication.source, publication.source.is_settled());
            let key = self.broker.sent.insert(Sent { home: shard, by: Sender::Producer(source) });
            publication.source = Source::Sent { shard: self.shard, key, settled };
        }
        self.send_wire(shard, Wire::Publish { to, publication: Box::new(publication) });
    }

    /// A home on another shard is gone: whether it took what has not been answered is not known.
    pub(crate) fn sent_lost(&mut self, peer: ShardId) {
        let lost = self.broker.sent.iter().filter(|(_, sent)| sent.home == peer);
        for key in lost.map(|(key, _)| key).collect::<Vec<_>>() {
            self.sent_answered(key, Outcome::FAILED);
        }
    }

    fn sent_answered(&mut self, key: SentKey, outcome: Outcome) {
        match self.broker.sent.remove(key).map(|sent| sent.by) {
            Some(Sender::Producer(source)) => self.answer(source, outcome),
            Some(Sender::Transaction(id)) => self.post_answered(id, outcome),
            Some(Sender::Part(part)) => self.post_of_part_answered(part, outcome),
            None => {}
        }
    }

    /// Sends a message of a transaction, whose producer has been answered, to a home on another node.
    pub(super) fn send_post(
        &mut self,
        now: Instant,
        by: Sender,
        address: AddressKey,
        mut publication: Publication,
    ) {
        let key = self.broker.sent.insert(Sent { home: self.shard, by });
        publication.source = Source::Sent { shard: self.shard, key, settled: false };
        publication.transaction = None;
        self.publish_at_once(now, address, None, publication);
    }

    /// Takes more of a message that was begun with `more`.
    pub(crate) fn append_stored(&mut self, now: Instant, key: InboundKey, chunk: &Bytes, more: bool) -> bool {
        let Some(inbound) = self.broker.inbound.get_mut(key) else { return true };
        if let Stage::Assembling(assembly) = &mut inbound.stage {
            assembly.body.extend_from_slice(chunk);
            self.broker.assembling += chunk.len() as u64;
            self.check_assembly(key);
        }
        if more {
            return true;
        }
        let Some(inbound) = self.broker.inbound.get_mut(key) else { return true };
        if let Some(producer) = self.producers.get_mut(inbound.producer) {
            producer.current = None;
        }
        match std::mem::replace(&mut inbound.stage, Stage::Waiting { answered: false }) {
            Stage::Assembling(assembly) => {
                let Assembly { head, body } = *assembly;
                self.broker.assembling = self.broker.assembling.saturating_sub(body.len() as u64);
                self.publish_whole(now, head, body.into(), Some((key, chunk.len()))).1
            }
            Stage::Sunk(head, outcome) => {
                self.broker.inbound.remove(key);
                let origin = Origin::Producer { key: head.producer, handle: head.handle, anonymous: false };
                self.conclude(origin, head.settled, Some(outcome), false);
                true
            }
            waiting @ Stage::Waiting { .. } => {
                inbound.stage = waiting;
                true
            }
        }
    }

    /// Bounds a message that is coming in, and all of them together.
    fn check_assembly(&mut self, key: InboundKey) {
        let Some(Inbound { stage: Stage::Assembling(assembly), .. }) = self.broker.inbound.get(key) else {
            return;
        };
        let (len, address) = (assembly.body.len() as u64, assembly.head.address);
        let limit = self.message_limit(address);
        let outcome = if len > limit {
            too_large(limit)
        } else if self.broker.assembling > self.limits.stored_memory_bytes {
            let sentence = "the messages that are coming in fill the memory of the node; send it again later";
            Outcome::rejected(condition::RESOURCE_LIMIT_EXCEEDED, sentence)
        } else {
            return;
        };
        let Some(inbound) = self.broker.inbound.get_mut(key) else { return };
        let stage = std::mem::replace(&mut inbound.stage, Stage::Waiting { answered: false });
        if let Stage::Assembling(assembly) = stage {
            let settled = assembly.head.settled;
            inbound.stage = Stage::Sunk(assembly.head, outcome);
            self.broker.assembling = self.broker.assembling.saturating_sub(len);
            if settled {
                self.count_dropped(Some(address), 1);
            }
        }
    }

    /// Bytes that a message for a stored address may have.
    pub(crate) fn message_limit(&self, address: AddressKey) -> u64 {
        let address = self.addresses.get(address);
        let limit = address.and_then(|address| address.settings.message_limit(&self.limits));
        limit.unwrap_or(self.limits.stored_message_bytes)
    }

    /// Takes back a message that is not whole.
    pub(crate) fn abort_stored(&mut self, key: InboundKey) {
        let Some(inbound) = self.broker.inbound.get(key) else { return };
        let producer = inbound.producer;
        match &inbound.stage {
            Stage::Assembling(assembly) => {
                let len = assembly.body.len() as u64;
                self.broker.assembling = self.broker.assembling.saturating_sub(len);
            }
            Stage::Sunk(..) => {}
            Stage::Waiting { .. } => return,
        }
        self.broker.inbound.remove(key);
        if let Some(producer) = self.producers.get_mut(producer) {
            producer.current = None;
        }
        self.replenish(producer);
    }

    /// Takes over that a producer has settled: it hears no more of the message.
    pub(crate) fn settle_inbound(&mut self, key: InboundKey, settled: bool) {
        let Some(inbound) = self.broker.inbound.get_mut(key).filter(|_| settled) else { return };
        let producer = inbound.producer;
        match &mut inbound.stage {
            Stage::Assembling(assembly) => assembly.head.settled = true,
            Stage::Sunk(head, _) => head.settled = true,
            Stage::Waiting { answered } => {
                let answered = *answered;
                self.broker.inbound.remove(key);
                if answered {
                    self.replenish(producer);
                }
            }
        }
    }

    /// Tells whoever sent a message what became of it.
    pub(crate) fn answer(&mut self, source: Source, outcome: Outcome) {
        match source {
            Source::Producer { shard, .. } | Source::Sent { shard, .. } if shard != self.shard => {
                self.send_wire(shard, Wire::Answer { source, outcome });
            }
            Source::Producer { key, handle, settled, held, second, .. } => {
                let Some(producer) = self.producers.get_mut(key) else { return };
                if held > 0 {
                    self.effects.push_back(Effect::Consumed { producer: key, bytes: held as usize });
                }
                let inbound = second.and_then(|second| self.broker.inbound.get_mut(second));
                match (inbound, second) {
                    (Some(inbound), _) => {
                        inbound.stage = Stage::Waiting { answered: true };
                        let outcome = Some(outcome);
                        let update =
                            Effect::UpdateProducer { producer: key, handle, outcome, settled: false };
                        self.effects.push_back(update);
                        return;
                    }
                    (None, None) if !settled => {
                        let outcome = Some(outcome);
                        let update = Effect::UpdateProducer { producer: key, handle, outcome, settled: true };
                        self.effects.push_back(update);
                    }
                    _ => {}
                }
                producer.in_flight = producer.in_flight.saturating_sub(1);
                self.note_due(key);
            }
            Source::Sent { key, .. } => self.sent_answered(key, outcome),
            Source::Nobody => {}
            Source::Forward { shard, key } if shard == self.shard => self.forward_answered(key, outcome),
            Source::Forward { shard, key } => {
                self.send_wire(shard, Wire::ForwardAnswer { forward: key, outcome });
            }
        }
    }

    // ---- consumers ----------------------------------------------------------------------------------

    /// Lets a consumer of a stored address in, as far as this shard can say.
    pub(crate) fn add_stored_consumer(
        &mut self,
        now: Instant,
        key: AddressKey,
        lane: LaneKey,
        source: &str,
        options: ConsumerOptions,
    ) -> Result<ConsumerKey, Refused> {
        let Some(address) = self.addresses.get(key) else { return Err(Refused::NotFound(source.into())) };
        let is_topic = address.settings.kind == AddressKind::Topic;
        if is_topic && let Err(error) = topic::validate_filter(source) {
            return Err(Refused::BadName { name: source.into(), reason: error.to_string().into() });
        }
        let filters = options.subscription.as_ref().and_then(|wanted| wanted.filters.as_ref());
        if let Some(filters) = filters.filter(|_| is_topic) {
            self.check_filters(source, filters)?;
        }
        if self.is_spread(key) {
            return self.add_front_consumer(now, key, lane, options);
        }
        self.attach_consumer(now, key, lane, source, options)
    }

    /// Attaches a consumer to the home of an address.
    pub(crate) fn attach_consumer(
        &mut self,
        now: Instant,
        key: AddressKey,
        lane: LaneKey,
        source: &str,
        options: ConsumerOptions,
    ) -> Result<ConsumerKey, Refused> {
        let Some(address) = self.addresses.get(key) else { return Err(Refused::NotFound(source.into())) };
        let is_topic = address.settings.kind == AddressKind::Topic;
        let Some(shard) = self.reachable_home(address) else { return Err(self.home_unavailable(address)) };
        let consumer = self.insert_consumer(now, key, lane, options);
        if let Some(value) = self.consumers.get_mut(consumer) {
            value.stored.source = is_topic.then(|| source.into());
            // Whether it is, this shard says at once where it is the home.
            value.stored.is_admitted = shard == self.shard;
        }
        if shard != self.shard {
            self.ask_in(now, consumer, shard);
        } else if let Err(reason) = self.add_receiver_here(now, consumer) {
            // A home that stands still while it moves is soon another one, as for links of other shards.
            if reason != CloseReason::HomeGone || !self.ask_later(now, consumer, reason) {
                self.remove_consumer(now, consumer);
                return Err(Refused::Home(reason));
            }
            if let Some(value) = self.consumers.get_mut(consumer) {
                value.stored.is_admitted = false;
            }
        }
        Ok(consumer)
    }

    /// Whether a consumer is let in: until the home of a stored address has answered it is not, and
    /// [`Admitted`](Effect::Admitted) or [`CloseConsumer`](Effect::CloseConsumer) follows.
    pub fn is_admitted(&self, consumer: ConsumerKey) -> bool {
        self.consumers.get(consumer).is_some_and(|consumer| {
            let is_let_in = || consumer.stored.is_admitted || !consumer.kind.is_stored();
            !consumer.closed && consumer.role.is_admitted().unwrap_or_else(is_let_in)
        })
    }

    /// Takes over a consumer's credit.
    pub(crate) fn set_stored_credit(&mut self, now: Instant, key: ConsumerKey, credit: u32, drain: bool) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if consumer.role.is_front() {
            return self.set_front_credit(now, key, credit, drain);
        }
        consumer.credit = credit;
        consumer.draining = drain;
        let receiver = consumer.stored.receiver;
        if consumer.stored.remote.is_none() {
            if let Some(receiver) = receiver {
                self.set_receiver_credit(now, receiver, credit, drain);
            }
            return;
        }
        // First, so that what is given back does not come again.
        if receiver.is_some() {
            self.send_credit(key);
        }
        self.return_excess(key);
        self.work_off_handouts(now, key);
    }

    /// Tells the home how many deliveries the consumer will have taken in all.
    pub(super) fn send_credit(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (Some(receiver), Some(remote)) = (consumer.stored.receiver, &mut consumer.stored.remote) else {
            return;
        };
        let (number, limit) = remote.next_credit(consumer.credit);
        let (home, drain) = (remote.home, consumer.draining);
        self.send_wire(home, Wire::Credit { receiver, limit, drain, number });
    }

    /// Gives back what the home has handed out and the consumer does not want any more.
    fn return_excess(&mut self, key: ConsumerKey) {
        loop {
            let Some(consumer) = self.consumers.get_mut(key) else { return };
            let keep = consumer.credit as usize;
            let (Some(receiver), Some(remote)) = (consumer.stored.receiver, &mut consumer.stored.remote)
            else {
                return;
            };
            if remote.backlog.len() <= keep {
                return;
            }
            let Some(handout) = remote.backlog.pop_back() else { return };
            let home = remote.home;
            self.give_back(home, receiver, &handout);
        }
    }

    /// A delivery from the home on another shard.
    pub(crate) fn take_handout(&mut self, now: Instant, from: ShardId, key: ConsumerKey, handout: Handout) {
        // When the consumer is gone, the home will know from `RemoveReceiver`, and has it back.
        let Some(consumer) = self.consumers.get_mut(key).filter(|consumer| !consumer.closed) else { return };
        // A home hands nothing out before it has let the consumer in.
        let is_seated = consumer.stored.receiver.is_some();
        let remote = consumer.stored.remote.as_mut().filter(|remote| is_seated && remote.home == from);
        let Some(remote) = remote else { return self.turn_back(from, key, &handout) };
        remote.backlog.push_back(handout);
        if remote.backlog.len() > consumer.credit as usize {
            // The credit was lowered while it was on its way.
            self.return_excess(key);
        }
        self.work_off_handouts(now, key);
    }

    /// The home had nothing more for a consumer that asked to drain.
    pub(crate) fn receiver_drained(&mut self, now: Instant, from: ShardId, key: ConsumerKey, number: u32) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        match &mut consumer.stored.remote {
            Some(remote) if remote.home == from && remote.is_current(number) => {
                remote.drained = true;
                self.work_off_handouts(now, key);
            }
            None if from == self.shard => self.end_drain(now, key),
            _ => self.seat_drained(now, from, key, number),
        }
    }

    fn end_drain(&mut self, now: Instant, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if consumer.draining && !consumer.closed {
            if consumer.role.front().is_some() {
                return self.part_drained(now, key);
            }
            consumer.draining = false;
            consumer.credit = 0;
            self.effects.push_back(Effect::Drained { consumer: key });
        }
    }

    /// Hands on what has come from another shard, as far as the consumer can take it.
    fn work_off_handouts(&mut self, now: Instant, key: ConsumerKey) {
        loop {
            let Some(consumer) = self.consumers.get(key) else { return };
            let Some(remote) = &consumer.stored.remote else { return };
            if remote.backlog.is_empty() || consumer.credit == 0 || consumer.closed {
                break;
            }
            if !self.has_budget(consumer.lane) {
                self.hold(key);
                break;
            }
            self.hand_on(key);
        }
        self.tell_window(key);
        let is_over = self.consumers.get(key).is_some_and(|consumer| {
            consumer.stored.remote.as_ref().is_some_and(|remote| remote.drained && remote.backlog.is_empty())
        });
        if is_over {
            self.end_drain(now, key);
        }
    }

    fn hand_on(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let settled = consumer.options.settled;
        let (Some(receiver), Some(remote)) = (consumer.stored.receiver, &mut consumer.stored.remote) else {
            return;
        };
        let Some(handout) = remote.backlog.pop_front() else { return };
        remote.emitted += 1;
        remote.freed += handout.body.len() + DELIVERY_COST;
        let (home, entry, browse) = (remote.home, handout.entry, handout.browse);
        self.emit_stored(key, receiver, handout);
        if settled && !browse {
            self.send_wire(home, Wire::Settle { receiver, entry, outcome: Outcome::Accepted });
        }
    }

    /// Tells the home how much has left, once that is worth a message.
    fn tell_window(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (Some(receiver), Some(remote)) = (consumer.stored.receiver, &mut consumer.stored.remote) else {
            return;
        };
        if remote.freed as u64 >= WINDOW.unsigned_abs() / 4 {
            let bytes = u32::try_from(std::mem::take(&mut remote.freed)).unwrap_or(u32::MAX);
            let home = remote.home;
            self.send_wire(home, Wire::Window { receiver, bytes });
        }
    }

    /// Starts a delivery from a queue to a consumer of this shard.
    pub(crate) fn emit_stored(&mut self, key: ConsumerKey, receiver: ReceiverKey, handout: Handout) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Handout { entry, browse, message_format, body, ttl_left, redelivery, reference, is_named } =
            handout;
        let settled = browse || consumer.options.settled;
        consumer.credit = consumer.credit.saturating_sub(1);
        consumer.deliveries += 1;
        let bytes = body.len();
        let (lane, address, front) = (consumer.lane, consumer.address, consumer.role.front());
        let home = consumer.stored.remote.as_ref().map_or(self.shard, |remote| remote.home);
        let mut leg = None;
        if !settled {
            consumer.outstanding += 1;
            let in_link = consumer.stored.grips.place_at_end();
            let home = Some(home);
            let grip = Grip { consumer: key, home, receiver, entry, handle: 0, reference, is_named, in_link };
            let grip = self.broker.grips.insert(grip);
            consumer.stored.grips.attach(&mut self.broker.grips, grip);
            leg = Some(grip.to_leg());
        }
        if let Some(address) = self.addresses.get_mut(address) {
            address.counters.deliveries_out += 1;
            address.counters.unsettled += u64::from(!settled);
        }
        self.counters.deliveries_out += 1;
        self.counters.bytes_out += bytes as u64;
        self.counters.unsettled += u64::from(!settled);
        self.counters.outcomes.presettled += u64::from(settled);
        self.spend(lane, bytes);
        if let Some(front) = front.and_then(|front| self.consumers.get_mut(front)) {
            front.credit = front.credit.saturating_sub(1);
            front.deliveries += 1;
        }
        self.effects.push_back(Effect::Deliver {
            consumer: front.unwrap_or(key),
            leg,
            chunk: body,
            more: false,
            settled,
            message_format,
            ttl_left,
            redelivery,
        });
    }

    pub(crate) fn set_grip_handle(&mut self, key: GripKey, handle: u64) {
        if let Some(grip) = self.broker.grips.get_mut(key) {
            grip.handle = handle;
        }
    }

    /// What the store of its home calls a message that a consumer of this shard has and has not settled: the
    /// same after a restart. `None` for what is in memory only.
    ///
    /// Stores of two nodes count alike. So what a store says is moved by a number that belongs to the name of its
    /// node, which keeps the order of what comes from one: every node of a fleet gives a message the same name,
    /// when each knows [its own](Self::set_name).
    pub fn reference_of(&self, leg: LegKey) -> Option<Reference> {
        let grip = self.broker.grips.get(GripKey::from_leg(leg)?)?;
        let reference = grip.reference?;
        if grip.is_named {
            return Some(reference);
        }
        let node = self.nodes.get(&grip.home?.slot());
        let offset = node.map_or(self.name_hash, |node| hash_of_name(&node.name));
        Some(Reference(reference.0.wrapping_add(offset)))
    }

    /// Takes over the state that a consumer reports for a delivery from a queue.
    pub(crate) fn settle_grip(
        &mut self,
        now: Instant,
        key: GripKey,
        outcome: Option<Outcome>,
        settled: bool,
    ) {
        let Some(grip) = self.broker.grips.get(key) else { return };
        let (consumer, handle) = (grip.consumer, grip.handle);
        let outcome = match outcome {
            // AMQP 3.4.1: progress says nothing about the end.
            None | Some(Outcome::Received { .. }) if settled => {
                self.consumers.get(consumer).map_or(Outcome::Released, |consumer| consumer.default_outcome())
            }
            Some(outcome) if settled || outcome.is_terminal() => outcome,
            _ => return,
        };
        if !settled {
            let front = self.consumers.get(consumer).and_then(|consumer| consumer.role.front());
            let consumer = front.unwrap_or(consumer);
            let update =
                Effect::UpdateConsumer { consumer, handle, outcome: Some(outcome.clone()), settled: true };
            self.effects.push_back(update);
        }
        let home = grip.home;
        let Some((receiver, entry)) = self.release_grip(key, Some(&outcome)) else { return };
        match home {
            Some(home) if home == self.shard => self.settle_at_home(now, receiver, entry, outcome),
            Some(home) => self.send_wire(home, Wire::Settle { receiver, entry, outcome }),
            None => {}
        }
        self.vacate(now, consumer);
    }

    /// Ends a consumer's hold of a delivery, and counts it.
    pub(crate) fn release_grip(
        &mut self,
        key: GripKey,
        outcome: Option<&Outcome>,
    ) -> Option<(ReceiverKey, crate::queue::EntryKey)> {
        let grip = self.broker.grips.get(key)?;
        let (consumer, home, receiver, entry) = (grip.consumer, grip.home, grip.receiver, grip.entry);
        self.note_settled(consumer, home, receiver);
        if let Some(outcome) = outcome {
            self.counters.outcomes.count(outcome);
        }
        self.counters.unsettled = self.counters.unsettled.saturating_sub(1);
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.stored.grips.remove(&mut self.broker.grips, key);
            consumer.outstanding = consumer.outstanding.saturating_sub(1);
            if let Some(address) = self.addresses.get_mut(consumer.address) {
                address.counters.unsettled = address.counters.unsettled.saturating_sub(1);
            }
        }
        self.broker.grips.discard(key);
        Some((receiver, entry))
    }

    /// The consumer that has a delivery.
    pub(crate) fn grip_consumer(&self, key: GripKey) -> Option<ConsumerKey> {
        self.broker.grips.get(key).map(|grip| grip.consumer)
    }

    /// The home of a delivery that a consumer has (`None`: it is gone), and the outcome that it gives to it.
    pub(crate) fn grip_home(
        &self,
        key: GripKey,
        outcome: Option<Outcome>,
    ) -> Option<(Option<ShardId>, Outcome)> {
        let grip = self.broker.grips.get(key)?;
        let (home, consumer) = (grip.home, self.consumers.get(grip.consumer)?);
        let outcome = match outcome {
            None | Some(Outcome::Received { .. }) => consumer.default_outcome(),
            Some(outcome) => outcome,
        };
        Some((home, outcome))
    }

    /// A consumer of a stored address can take more, as far as its lane goes.
    pub(crate) fn advance_stored(&mut self, now: Instant, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get(key) else { return };
        if consumer.stored.remote.is_some() {
            return self.work_off_handouts(now, key);
        }
        if let Some(receiver) = consumer.stored.receiver {
            self.set_receiver_held(now, receiver, false);
        }
    }

    /// A consumer has left its stored address. What it had counts as a failed delivery; what had not
    /// been handed to it does not.
    pub(crate) fn detach_consumer(&mut self, now: Instant, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.credit = 0;
            if consumer.stored.remote.as_ref().is_some_and(|remote| !remote.backlog.is_empty()) {
                // First, so that what is given back does not come again.
                self.send_credit(key);
                self.return_excess(key);
            }
        }
        while let Some(grip) = self.consumers.get(key).and_then(|consumer| consumer.stored.grips.first()) {
            self.release_grip(grip, Some(&Outcome::FAILED));
        }
        self.leave_seats(now, key);
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (receiver, remote) = (consumer.stored.receiver.take(), consumer.stored.remote.take());
        // They were for its time.
        self.broker.refiltering.remove(&key);
        let Some(receiver) = receiver else { return };
        match remote.map(|remote| remote.home) {
            Some(home) => self.send_wire(home, Wire::RemoveReceiver { receiver }),
            None => self.remove_receiver(now, receiver),
        }
    }

    /// Ends the subscription that a consumer has, with all it holds, when nobody else uses it. The
    /// consumer's link is to be removed as usual afterwards.
    pub fn unsubscribe(&mut self, now: Instant, consumer: ConsumerKey) {
        let Some(stored) = self.consumers.get_mut(consumer).map(|consumer| &mut consumer.stored) else {
            return;
        };
        match (stored.receiver, stored.remote.as_ref().map(|remote| remote.home)) {
            (Some(receiver), Some(home)) => self.send_wire(home, Wire::Unsubscribe { receiver }),
            (Some(receiver), None) => self.unsubscribe_receiver(now, receiver),
            // The home has not answered yet; it hears of it when it does.
            (None, Some(home)) => {
                self.broker.unsubscribing.insert(consumer, home);
            }
            (None, None) => {}
        }
    }

    /// The home does not let a link in, or no longer.
    pub(crate) fn close_stored_producer(&mut self, key: ProducerKey, reason: CloseReason) {
        let Some(producer) = self.producers.get_mut(key).filter(|producer| !producer.closed) else { return };
        producer.stored = None;
        self.close_producer(key, reason);
    }

    /// How a delivery differs from the message that was sent.
    pub(crate) fn redelivery(entry: &crate::queue::Entry) -> Option<Box<Redelivery>> {
        let (delivery_count, annotations) = (entry.delivery_count(), entry.annotations());
        let retained = entry.is_retained();
        let is_plain = delivery_count == 0 && annotations.is_none() && !retained;
        let annotations = annotations.cloned();
        (!is_plain).then(|| Box::new(Redelivery { delivery_count, annotations, retained }))
    }
}
