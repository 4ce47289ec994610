//! The homes of this shard: its queues, and the links that use them from every shard.
//!
//! What happens to a queue marks its home as due; [`Core::run_homes`] then hands out what can be handed
//! out and does what follows. So a turn that brings a hundred messages runs the queue once, and nothing
//! here calls itself.
//!
//! Invariants:
//! - A receiver is a member of its home's queue, and is held there exactly while its lane (here) or its
//!   window (elsewhere) lets nothing out.
//! - `memory` of the broker is the sum of its homes' `memory`.
//! - A home that has a timer stands in `timers` with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::protocol::{DELIVERY_COST, Handout, Publication, ReceiverOptions, Source, WINDOW, Wire};
use super::record::{LONGEST_KEY, Meta, TravelRecord, encode_state};
use super::retained::Change;
use super::topic::{Subscription, TopicHome};
use super::{Pending, Stored};
use crate::condition;
use crate::core::Core;
use crate::effect::{CloseReason, Effect};
use crate::format::MessageKeys;
use crate::key::{AddressKey, ConsumerKey, HomeKey, ProducerKey, ReceiverKey, SenderKey};
use crate::outcome::{ErrorInfo, Outcome};
use crate::queue::{
    Action, Arrival, Delivery, EntryKey, MemberKey, MemberOptions, Next, NotTaken, Queue, Removed, Settled,
    Settlement,
};
use crate::settings::{OnFull, QueueSettings, ShardId};
use crate::store::{QueueId, Reference, StoreRequest, Targets, Ticket, UnixMillis};

/// Bytes of bodies that are loaded ahead for one queue.
const LOAD_AHEAD: u64 = 4 << 20;

/// The key of an object that is never there.
pub(super) const NO_OBJECT: &[u8] = b"-";

/// Entries of a shard whose bodies are slices of read buffers.
const SLICES: usize = 512;

/// Messages whose time has come that are looked at before others get their turn.
const TIMEOUTS_PER_RUN: usize = 1_024;

/// A queue or a topic, at its home.
#[derive(Debug)]
pub(crate) struct Home {
    /// What the queue is called where its messages go.
    pub(crate) name: Arc<str>,
    /// `None` for subscriptions that links made.
    pub(crate) address: Option<AddressKey>,
    pub(crate) what: What,
    pub(crate) senders: BTreeSet<SenderKey>,
    /// Producers get no credit.
    pub(crate) blocked: bool,
    /// Stands in the list of homes to run.
    due: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Queue(Box<QueueHome>),
    Topic(Box<TopicHome>),
}

/// A queue and what uses it.
#[derive(Debug)]
pub(crate) struct QueueHome {
    pub(crate) queue: Queue,
    pub(crate) id: Option<QueueId>,
    pub(crate) receivers: BTreeSet<ReceiverKey>,
    /// Of one shard of several: receivers without credit, that are to hear when there is something for them;
    /// and up to which of the queue's changes they know that there is nothing.
    watching: BTreeMap<ReceiverKey, Option<u64>>,
    pub(crate) subscription: Option<Box<Subscription>>,
    /// Bytes of bodies in memory when they were last counted.
    pub(crate) memory: u64,
    /// When its timer is set.
    pub(crate) armed: Option<UnixMillis>,
    /// Messages that the store did not take.
    pub(crate) failures: u64,
    /// Entries that the store has taken since the last run.
    fresh: Vec<EntryKey>,
    /// A move that goes on as messages arrive.
    pub(crate) moving: Option<Box<super::forward::Moving>>,
    /// A subscription that begins with what its topic retains.
    pub(crate) feeding: Option<Box<super::retrieval::Feeding>>,
    /// Its home is elsewhere now: what is left goes there.
    pub(crate) pipe: Option<Box<super::relocate::Pipe>>,
    /// A subscription whose topic is copied to another home, or has gone there.
    pub(crate) copied: Option<Box<super::copy::Copied>>,
    /// A subscription whose topic is to have its home here: nobody sees it yet.
    pub(crate) is_shadow: bool,
}

/// A producer, at the home of its address.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) shard: ShardId,
    pub(crate) producer: ProducerKey,
    pub(crate) home: HomeKey,
}

/// A consumer, at the home of its queue.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) shard: ShardId,
    pub(crate) consumer: ConsumerKey,
    pub(crate) home: HomeKey,
    member: MemberKey,
    /// Its deliveries are accepted when they are handed out.
    settled: bool,
    held: bool,
    /// Deliveries sent to another shard and not given back.
    sent: u64,
    /// Bytes that may still be sent to another shard.
    window: i64,
    /// The number of the last `Credit` from another shard.
    number: u32,
    /// It takes nothing more from here, and has got so many deliveries in all.
    parked_at: Option<u64>,
}

impl Receiver {
    /// Whether what it may still give back has been given back.
    pub(crate) fn is_parked(&self) -> bool {
        self.parked_at.is_some_and(|got| self.sent <= got)
    }
}

impl QueueHome {
    pub(crate) fn new(settings: Arc<QueueSettings>, id: Option<QueueId>) -> Self {
        Self {
            queue: Queue::new(settings),
            id,
            receivers: BTreeSet::new(),
            watching: BTreeMap::new(),
            subscription: None,
            memory: 0,
            armed: None,
            failures: 0,
            fresh: Vec::new(),
            moving: None,
            feeding: None,
            pipe: None,
            copied: None,
            is_shadow: false,
        }
    }

    /// Whether producers should wait. Once they do, an eighth of the limit has to become free first, so
    /// that they are not stopped and started for each message.
    fn is_blocked(&self, was_blocked: bool) -> bool {
        let settings = self.queue.settings();
        if settings.on_full != OnFull::Block {
            return false;
        }
        if !was_blocked || self.queue.is_full() {
            return self.queue.is_full();
        }
        let statistics = self.queue.statistics();
        let beyond = |held: u64, limit: u64| limit > 0 && held > limit - limit.div_ceil(8);
        beyond(statistics.messages, settings.max_messages) || beyond(statistics.bytes, settings.max_bytes)
    }
}

impl Home {
    pub(crate) fn new(name: Arc<str>, address: Option<AddressKey>, what: What) -> Self {
        Self { name, address, what, senders: BTreeSet::new(), blocked: false, due: false }
    }

    pub(crate) fn queue(&self) -> Option<&QueueHome> {
        match &self.what {
            What::Queue(queue) => Some(queue),
            What::Topic(_) => None,
        }
    }

    pub(crate) fn queue_mut(&mut self) -> Option<&mut QueueHome> {
        match &mut self.what {
            What::Queue(queue) => Some(queue),
            What::Topic(_) => None,
        }
    }

    pub(crate) fn topic_mut(&mut self) -> Option<&mut TopicHome> {
        match &mut self.what {
            What::Topic(topic) => Some(topic),
            What::Queue(_) => None,
        }
    }
}

impl Core {
    #[inline]
    pub(crate) fn queue_home(&mut self, key: HomeKey) -> Option<&mut QueueHome> {
        self.broker.homes.get_mut(key)?.queue_mut()
    }

    // ---- producers -----------------------------------------------------------------------------

    /// Lets a producer in; says whether it is to have credit.
    pub(crate) fn add_sender(
        &mut self,
        key: HomeKey,
        shard: ShardId,
        producer: ProducerKey,
    ) -> Result<(SenderKey, bool), CloseReason> {
        let Some(home) = self.broker.homes.get_mut(key) else { return Err(CloseReason::NotFound) };
        let limit = home
            .address
            .and_then(|address| self.addresses.get(address))
            .map_or(0, |address| address.settings.max_producers);
        if limit > 0 && home.senders.len() >= limit as usize {
            return Err(CloseReason::LimitExceeded);
        }
        let sender = self.broker.senders.insert(Sender { shard, producer, home: key });
        home.senders.insert(sender);
        Ok((sender, !home.blocked))
    }

    pub(crate) fn remove_sender(&mut self, key: SenderKey) {
        let Some(sender) = self.broker.senders.remove(key) else { return };
        let Some(home) = self.broker.homes.get_mut(sender.home) else { return };
        home.senders.remove(&key);
        let has_left = home.topic_mut().is_some_and(|topic| !topic.serves);
        if let Some(now) = self.broker.now.filter(|_| has_left) {
            self.mark_home(now, sender.home);
        }
    }

    /// Takes a message for a queue or a topic of this shard.
    pub(crate) fn publish_at_home(&mut self, now: Instant, key: HomeKey, publication: Publication) {
        match self.broker.homes.get(key).map(|home| &home.what) {
            Some(What::Queue(_)) => self.publish_to_queue(now, key, publication),
            Some(What::Topic(_)) => self.publish_to_topic(now, key, publication),
            None => self.answer(publication.source, Outcome::Released),
        }
    }

    fn publish_to_queue(&mut self, now: Instant, key: HomeKey, mut publication: Publication) {
        let copied = self.queue_home(key).and_then(|home| home.copied.as_ref());
        if copied.is_some_and(|copied| copied.is_still()) {
            return self.divert_from_still(now, key, publication);
        }
        let is_pipe = self.queue_home(key).is_some_and(|home| home.pipe.is_some());
        if is_pipe && publication.moved.is_some() {
            // The sender knows of another move than this shard does: sent on it would come behind others.
            return self.answer(publication.source, Outcome::Released);
        }
        let keys = self.keys_for(key, &publication);
        let source = publication.source;
        // The store may need the body as well.
        let gives_body = !publication.durable && self.broker.memory < self.limits.stored_memory_bytes;
        let body = if gives_body { std::mem::take(&mut publication.body) } else { publication.body.clone() };
        let is_slice = publication.is_slice;
        let is_let_in = publication.is_let_in();
        match self.place_body(now, key, &publication, body, &keys, is_let_in) {
            Ok((entry, Some(id))) => {
                if is_slice {
                    self.note_slice(key, entry);
                }
                let entries = Stored::One(key, entry);
                self.append_to_store(publication, &keys, Targets::One(id), entries, None);
            }
            Ok((entry, None)) => {
                if is_slice {
                    self.note_slice(key, entry);
                }
                if !gives_body {
                    self.spill(key, entry, publication, &keys);
                }
                self.answer(source, Outcome::Accepted);
            }
            Err(NotTaken::Duplicate) => self.accept_duplicate(key, source),
            Err(NotTaken::Gone) => self.answer(source, Outcome::Released),
            Err(reason) => {
                if source.is_settled() {
                    let address = self.broker.homes.get(key).and_then(|home| home.address);
                    self.count_dropped(address, 1);
                }
                let outcome = Outcome::rejected(condition::RESOURCE_LIMIT_EXCEEDED, reason.to_string());
                self.answer(source, outcome);
            }
        }
    }

    /// Accepts a message that is there already: once it is certain that it is. What may be the first one
    /// is still on its way to the disk as long as anything is, and the store answers in order.
    fn accept_duplicate(&mut self, key: HomeKey, source: Source) {
        let storing = self.queue_home(key).map(|home| (home.queue.statistics().storing, home.failures));
        let Some((1.., failures)) = storing else { return self.answer(source, Outcome::Accepted) };
        let pending = self.broker.pending.insert(Pending::Duplicate { source, home: key, failures });
        let ticket = Ticket(pending.to_bits());
        let key = Bytes::from_static(NO_OBJECT);
        self.ask_store(StoreRequest::Delete { ticket, key, transaction: None });
    }

    /// What the queue goes by of a message.
    pub(crate) fn keys_for(&self, key: HomeKey, publication: &Publication) -> MessageKeys {
        let Some(queue) = self.broker.homes.get(key).and_then(|home| home.queue()) else {
            return MessageKeys::default();
        };
        let settings = queue.queue.settings();
        let needs = settings.groups || settings.last_value || settings.deduplicate.is_some();
        let Some(format) = self.broker.format.as_ref().filter(|_| needs) else {
            return MessageKeys::default();
        };
        let keys = format.keys(publication.message_format, &publication.body);
        let bounded = |key: Option<Bytes>| {
            // A copy: the key may be kept longer than the message, and is a slice of it.
            key.filter(|key| key.len() <= LONGEST_KEY).map(|key| Bytes::copy_from_slice(&key))
        };
        MessageKeys {
            message_id: bounded(keys.message_id).filter(|_| settings.deduplicate.is_some()),
            group: bounded(keys.group).filter(|_| settings.groups),
            last_value: bounded(keys.last_value).filter(|_| settings.last_value),
        }
    }

    /// Gives a message its place in a queue. With an id, the store has to keep it before anyone gets it.
    pub(crate) fn place_in_queue(
        &mut self,
        now: Instant,
        key: HomeKey,
        publication: &Publication,
        keys: &MessageKeys,
    ) -> Result<(EntryKey, Option<QueueId>), NotTaken> {
        self.place_body(now, key, publication, publication.body.clone(), keys, publication.is_let_in())
    }

    /// Gives a message its place in a subscription whose topic has let it in. A durable one does not lose what its
    /// topic has found room for to what other shards take meanwhile.
    pub(crate) fn place_in_subscription(
        &mut self,
        now: Instant,
        key: HomeKey,
        publication: &Publication,
        keys: &MessageKeys,
    ) -> Result<(EntryKey, Option<QueueId>), NotTaken> {
        let is_kept = publication.durable && self.queue_home(key).is_some_and(|home| home.id.is_some());
        let is_let_in = is_kept || publication.is_let_in();
        self.place_body(now, key, publication, publication.body.clone(), keys, is_let_in)
    }

    fn place_body(
        &mut self,
        now: Instant,
        key: HomeKey,
        publication: &Publication,
        body: Bytes,
        keys: &MessageKeys,
        is_let_in: bool,
    ) -> Result<(EntryKey, Option<QueueId>), NotTaken> {
        let unix = self.broker.clock.unix(now);
        let owner = self.owned_at(key, publication.owner);
        let Some(home) = self.broker.homes.get_mut(key).and_then(|home| home.queue_mut()) else {
            return Err(NotTaken::Gone);
        };
        let in_transaction = publication.transaction.is_some();
        // In a transaction a message waits for its commit, and the store tells its parts apart.
        let id = home.id.filter(|_| publication.durable || in_transaction);
        let entry = home.queue.enqueue(
            unix,
            Arrival {
                message_format: publication.message_format,
                body,
                priority: publication.priority,
                durable: publication.durable,
                retained: publication.given,
                storing: id.is_some() || in_transaction,
                arrived: publication.arrived,
                expires: publication.expires,
                not_before: publication.not_before,
                group: keys.group.clone(),
                last_value: keys.last_value.clone(),
                message_id: keys.message_id.clone(),
                moved: publication.moved.is_some(),
                let_in: is_let_in,
                identity: publication.moved.as_ref().and_then(|moved| moved.identity),
                owner,
            },
        )?;
        if let Some(moved) = &publication.moved {
            home.queue.delivered_before(entry, moved.delivery_count);
            if let Some(annotations) = &moved.annotations {
                home.queue.annotate(entry, annotations.clone());
            }
        }
        self.mark_home(now, key);
        Ok((entry, id))
    }

    /// Remembers an entry whose body is a slice of a read buffer. Most have left their queue a moment later,
    /// and need no copy; those that have not get one when as many others have come in.
    fn note_slice(&mut self, key: HomeKey, entry: EntryKey) {
        self.broker.slices.push_back((key, entry));
        if self.broker.slices.len() <= SLICES {
            return;
        }
        if let Some((key, entry)) = self.broker.slices.pop_front()
            && let Some(home) = self.queue_home(key)
        {
            home.queue.own_body(entry);
        }
    }

    /// Asks the store to keep a message.
    pub(crate) fn append_to_store(
        &mut self,
        publication: Publication,
        keys: &MessageKeys,
        targets: Targets,
        entries: Stored,
        change: Option<Box<Change>>,
    ) {
        let (mut meta, mut change) = (meta_of(&publication, keys), change);
        if let Some(change) = &mut change {
            change.note(&mut meta, &publication.body);
        }
        let meta = meta.encode();
        let source = publication.source;
        let pending = self.broker.pending.insert(Pending::Append { source, entries, change });
        self.ask_store(StoreRequest::Append {
            ticket: Ticket(pending.to_bits()),
            targets,
            durable: true,
            meta,
            body: publication.body,
            transaction: publication.transaction,
        });
    }

    /// Lets the store have the body of a message that need not survive a restart, when there is no room
    /// for it in memory.
    fn spill(&mut self, key: HomeKey, entry: EntryKey, publication: Publication, keys: &MessageKeys) {
        if self.broker.memory < self.limits.stored_memory_bytes {
            return;
        }
        let Some(id) = self.queue_home(key).and_then(|home| home.id) else { return };
        let meta = meta_of(&publication, keys).encode();
        let pending = self.broker.pending.insert(Pending::Spill { home: key, entry });
        self.ask_store(StoreRequest::Append {
            ticket: Ticket(pending.to_bits()),
            targets: Targets::One(id),
            durable: false,
            meta,
            body: publication.body,
            transaction: None,
        });
    }

    pub(crate) fn ask_store(&mut self, request: StoreRequest) {
        self.effects.push_back(Effect::Store(Box::new(request)));
    }

    /// The store has a message for a queue.
    pub(crate) fn entry_stored(
        &mut self,
        now: Instant,
        key: HomeKey,
        entry: EntryKey,
        reference: Reference,
    ) -> bool {
        let unix = self.broker.clock.unix(now);
        let Some(home) = self.queue_home(key) else { return false };
        if home.queue.stored(unix, entry, reference) {
            home.fresh.push(entry);
            let has_past = home
                .queue
                .entry(entry)
                .is_some_and(|entry| entry.delivery_count() > 0 || entry.annotations().is_some());
            if has_past {
                self.update_in_store(key, entry);
            }
        } else if let Some(queue) = home.id {
            // It has gone in the meantime.
            self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        }
        self.mark_home(now, key);
        true
    }

    // ---- consumers -------------------------------------------------------------------------------

    /// Lets a consumer in.
    pub(crate) fn add_receiver(
        &mut self,
        now: Instant,
        key: HomeKey,
        shard: ShardId,
        consumer: ConsumerKey,
        settled: bool,
        options: ReceiverOptions,
    ) -> Result<ReceiverKey, CloseReason> {
        let is_topic = matches!(self.broker.homes.get(key).map(|home| &home.what), Some(What::Topic(_)));
        if is_topic && self.has_stopped(key) {
            return Err(CloseReason::HomeGone);
        }
        let key = match self.take_awaited(key, (shard, consumer)) {
            Some(subscription) => subscription,
            None if is_topic => self.subscribe(now, key, &options)?,
            None => key,
        };
        let limit = self.receiver_limit(key);
        let receiver = self.broker.receivers.vacant_key();
        let Some(home) = self.queue_home(key) else { return Err(CloseReason::NotFound) };
        let is_still = home.copied.as_ref().is_some_and(|copied| copied.is_still());
        if home.pipe.is_some() || is_still {
            return Err(CloseReason::HomeGone);
        }
        if limit > 0 && home.receivers.len() >= limit as usize {
            return Err(match home.subscription {
                Some(_) => CloseReason::SubscriptionInUse,
                None => CloseReason::LimitExceeded,
            });
        }
        let member = home.queue.add_consumer(MemberOptions {
            owner: receiver.to_bits(),
            browse: options.browse,
            exclusive: options.exclusive,
            // The filter of a subscription decides what comes into its queue.
            filter: options.filter.filter(|_| !is_topic),
        });
        let Ok(member) = member else { return Err(CloseReason::Exclusive) };
        home.receivers.insert(receiver);
        let subscription = home.subscription.as_ref().filter(|_| home.copied.is_some());
        let is_told = subscription.is_some_and(|subscription| subscription.ends_unused());
        self.watch(now, key, receiver, None);
        let inserted = self.broker.receivers.insert(Receiver {
            shard,
            consumer,
            home: key,
            member,
            settled,
            held: false,
            sent: 0,
            window: WINDOW,
            number: 0,
            parked_at: None,
        });
        if is_told {
            // The next home of its topic is to await it, too.
            self.note_definition(key);
        }
        Ok(inserted)
    }

    /// Consumers that a queue may have; 0 means no limit.
    fn receiver_limit(&self, key: HomeKey) -> u32 {
        let Some(home) = self.broker.homes.get(key) else { return 0 };
        let of_subscription =
            home.queue().and_then(|queue| queue.subscription.as_ref()).map_or(0, |one| one.max_consumers);
        let of_address = home
            .address
            .and_then(|address| self.addresses.get(address))
            .map_or(0, |address| address.settings.max_consumers);
        if of_subscription > 0 { of_subscription } else { of_address }
    }

    pub(crate) fn remove_receiver(&mut self, now: Instant, key: ReceiverKey) {
        let unix = self.broker.clock.unix(now);
        let Some(receiver) = self.broker.receivers.remove(key) else { return };
        let Some(home) = self.queue_home(receiver.home) else { return };
        home.receivers.remove(&key);
        home.watching.remove(&key);
        home.queue.remove_consumer(unix, receiver.member);
        self.mark_home(now, receiver.home);
        // When its topic is about to leave, the link may have gone ahead.
        if self.stopped_topic(receiver.home).is_none() {
            self.end_if_unused(now, receiver.home);
        }
    }

    /// Takes over the credit of a consumer of this shard.
    pub(crate) fn set_receiver_credit(&mut self, now: Instant, key: ReceiverKey, credit: u32, drain: bool) {
        let Some(receiver) = self.broker.receivers.get(key) else { return };
        let (home, member) = (receiver.home, receiver.member);
        if let Some(queue) = self.queue_home(home) {
            queue.queue.set_credit(member, credit, drain);
            queue.watching.remove(&key);
            self.mark_home(now, home);
        }
        if credit == 0 {
            self.watch(now, home, key, None);
        }
    }

    /// Remembers that a receiver of one shard of several is without credit, and is to hear when there is
    /// something for it that has come since this number of changes.
    fn watch(&mut self, now: Instant, home: HomeKey, receiver: ReceiverKey, seen: Option<u64>) {
        let address = self.broker.homes.get(home).and_then(|home| self.addresses.get(home.address?));
        let is_shard = address.is_some_and(|address| address.settings.shards > 1);
        if is_shard && let Some(queue) = self.queue_home(home) {
            // One that has used up its credit has not seen that there is no more.
            queue.watching.entry(receiver).or_insert(seen);
            self.mark_home(now, home);
        }
    }

    /// Tells consumers without credit that there is something for them: once, until they give some.
    fn tell_waiting(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key).filter(|home| !home.watching.is_empty()) else { return };
        // What a pipe has is for the new home to give.
        if home.pipe.is_some() || !home.queue.has_open() {
            return;
        }
        let changes = home.queue.changes();
        let (knowing, told): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut home.watching).into_iter().partition(|(_, seen)| *seen == Some(changes));
        home.watching = knowing;
        for key in told.into_keys() {
            let Some(receiver) = self.broker.receivers.get(key) else { continue };
            let (shard, consumer, number) = (receiver.shard, receiver.consumer, receiver.number);
            if shard == self.shard {
                self.receiver_waiting(now, consumer, None);
            } else {
                self.send_wire(shard, Wire::Waiting { consumer, number });
            }
        }
    }

    /// Takes over the credit of a consumer of another shard.
    pub(crate) fn set_receiver_limit(
        &mut self,
        now: Instant,
        key: ReceiverKey,
        limit: u64,
        drain: bool,
        number: u32,
    ) {
        let Some(receiver) = self.broker.receivers.get_mut(key) else { return };
        receiver.number = number;
        receiver.parked_at = None;
        let credit = u32::try_from(limit.saturating_sub(receiver.sent)).unwrap_or(u32::MAX);
        self.set_receiver_credit(now, key, credit, drain);
    }

    /// A consumer of another shard takes nothing more. The answer comes behind all that is on its way to it.
    pub(crate) fn park_receiver(&mut self, now: Instant, key: ReceiverKey, got: u64, number: u32) {
        self.set_receiver_limit(now, key, got, true, number);
        if let Some(receiver) = self.broker.receivers.get_mut(key) {
            receiver.parked_at = Some(got);
        }
    }

    /// Bytes of a consumer of another shard have left.
    pub(crate) fn widen_window(&mut self, now: Instant, key: ReceiverKey, bytes: u32) {
        let Some(receiver) = self.broker.receivers.get_mut(key) else { return };
        receiver.window = (receiver.window + i64::from(bytes)).min(WINDOW);
        if receiver.window > 0 {
            self.set_receiver_held(now, key, false);
        }
    }

    pub(crate) fn set_receiver_held(&mut self, now: Instant, key: ReceiverKey, held: bool) {
        let Some(receiver) = self.broker.receivers.get_mut(key) else { return };
        if std::mem::replace(&mut receiver.held, held) == held {
            return;
        }
        let (home, member) = (receiver.home, receiver.member);
        if let Some(queue) = self.queue_home(home) {
            queue.queue.set_held(member, held);
            self.mark_home(now, home);
        }
    }

    /// A consumer of another shard never got a delivery.
    pub(crate) fn take_back(&mut self, now: Instant, key: ReceiverKey, entry: EntryKey, bytes: u32) {
        if let Some(receiver) = self.broker.receivers.get_mut(key) {
            receiver.sent = receiver.sent.saturating_sub(1);
            self.settle_at_home(now, key, entry, Outcome::Released);
            self.widen_window(now, key, bytes);
        }
    }

    /// A consumer is done with an entry.
    pub(crate) fn settle_at_home(
        &mut self,
        now: Instant,
        key: ReceiverKey,
        entry: EntryKey,
        outcome: Outcome,
    ) {
        let Some(receiver) = self.broker.receivers.get(key) else { return };
        let (home, member) = (receiver.home, receiver.member);
        self.settle_entry(now, home, member, entry, outcome);
    }

    pub(crate) fn member_of(&self, key: ReceiverKey) -> Option<(HomeKey, MemberKey)> {
        self.broker.receivers.get(key).map(|receiver| (receiver.home, receiver.member))
    }

    pub(crate) fn settle_entry(
        &mut self,
        now: Instant,
        home_key: HomeKey,
        member: MemberKey,
        entry: EntryKey,
        outcome: Outcome,
    ) {
        let unix = self.broker.clock.unix(now);
        let (settlement, error) = self.settlement(home_key, entry, outcome);
        let Some(home) = self.queue_home(home_key) else { return };
        match home.queue.settle(unix, member, entry, settlement) {
            Settled::Removed(removed) => self.settle_in_store(home_key, removed),
            Settled::Leaving(reason) => self.leave(now, home_key, entry, reason, error),
            Settled::Returned { changed: true } => self.update_in_store(home_key, entry),
            Settled::Returned { changed: false } | Settled::Unknown => {}
        }
        self.mark_home(now, home_key);
    }

    pub(super) fn settlement(
        &mut self,
        home: HomeKey,
        entry: EntryKey,
        outcome: Outcome,
    ) -> (Settlement, Option<ErrorInfo>) {
        match outcome {
            Outcome::Accepted | Outcome::Received { .. } | Outcome::Other(_) => (Settlement::Accepted, None),
            Outcome::Released => (Settlement::Released, None),
            Outcome::Rejected(error) => (Settlement::Rejected, error.map(|error| *error)),
            Outcome::Modified { delivery_failed, undeliverable_here, annotations } => {
                let annotations = annotations.map(|later| self.merged(home, entry, later));
                let failed = delivery_failed;
                (Settlement::Modified { failed, undeliverable_here, annotations }, None)
            }
        }
    }

    /// What an entry's annotations become with later ones.
    fn merged(&mut self, home: HomeKey, entry: EntryKey, later: Bytes) -> Bytes {
        let format = self.broker.format.clone();
        let earlier = self
            .queue_home(home)
            .and_then(|home| home.queue.entry(entry))
            .and_then(|entry| entry.annotations());
        match (earlier, format) {
            (Some(earlier), Some(format)) => format.merge(earlier, &later),
            _ => later,
        }
    }

    /// The store needs a message no more.
    pub(crate) fn settle_in_store(&mut self, home: HomeKey, removed: Removed) {
        let Some(reference) = removed.reference else { return };
        if let Some(queue) = self.queue_home(home).and_then(|home| home.id) {
            self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        }
    }

    /// The store should know how often a message was delivered.
    pub(super) fn update_in_store(&mut self, home: HomeKey, entry: EntryKey) {
        let Some(home) = self.queue_home(home) else { return };
        let Some(queue) = home.id else { return };
        let Some(entry) = home.queue.entry(entry) else { return };
        if let Some(reference) = entry.reference() {
            let state = encode_state(entry.delivery_count(), entry.annotations());
            self.ask_store(StoreRequest::Update { queue, reference, state });
        }
    }

    // ---- running -----------------------------------------------------------------------------------

    /// Remembers a home that has something to do.
    #[inline]
    pub(crate) fn mark_home(&mut self, now: Instant, key: HomeKey) {
        self.broker.now = Some(now);
        if let Some(home) = self.broker.homes.get_mut(key)
            && !home.due
        {
            home.due = true;
            self.broker.due.push_back(key);
        }
    }

    /// Lets every home that has something to do do it.
    pub(crate) fn run_homes(&mut self) {
        let Some(now) = self.broker.now else { return self.broker.due.clear() };
        while let Some(key) = self.broker.moving.pop_first() {
            self.move_more(now, key);
        }
        while let Some(key) = self.broker.due.pop_front() {
            if let Some(home) = self.broker.homes.get_mut(key) {
                home.due = false;
                if !self.broker.recovering {
                    self.run_home(now, key);
                }
            }
        }
    }

    fn run_home(&mut self, now: Instant, key: HomeKey) {
        let unix = self.broker.clock.unix(now);
        let Some(home) = self.queue_home(key) else { return self.run_topic(now, key) };
        if home.is_shadow {
            self.account(key);
            return self.subscription_has_run(now, key);
        }
        let is_still = home.copied.as_ref().is_some_and(|copied| copied.is_still());
        // What a pipe has goes to the new home, and what is here when the node stops is for its next run.
        let is_open = home.pipe.is_none() && !is_still && !self.stopping;
        let again = is_open && self.hand_out_some(now, unix, key);
        if !again {
            self.finish_receiver_drains(now, key);
        }
        self.tell_waiting(now, key);
        while let Some(action) = self.queue_home(key).and_then(|home| home.queue.poll_action()) {
            match action {
                Action::Leave { entry, reason } => self.leave(now, key, entry, reason, None),
                Action::Dropped(removed) => self.settle_in_store(key, removed),
                Action::Changed { entry } => self.update_in_store(key, entry),
            }
        }
        self.pass_on_more(now, key);
        self.answer_asked(now, key);
        if !is_still {
            self.feed_more(now, key);
        }
        self.load_ahead(key);
        self.account(key);
        self.tell_blocked(key);
        if is_still {
            self.disarm(key);
        } else {
            self.arm(key, again.then_some(unix));
        }
        self.subscription_has_run(now, key);
    }

    /// Hands out what a queue has for its consumers; true when it has more to do than fits into a turn.
    fn hand_out_some(&mut self, now: Instant, unix: UnixMillis, key: HomeKey) -> bool {
        while let Some(home) = self.queue_home(key) {
            match home.queue.next(unix) {
                Next::Deliver(delivery) => self.hand_out(now, unix, key, delivery),
                Next::More => return true,
                Next::Idle => break,
            }
        }
        false
    }

    /// Nothing is to be done for a home at a time.
    fn disarm(&mut self, key: HomeKey) {
        if let Some(armed) = self.queue_home(key).and_then(|home| home.armed.take()) {
            self.broker.timers.remove(&(armed, key));
        }
    }

    /// Gives an entry to a consumer.
    fn hand_out(&mut self, now: Instant, unix: UnixMillis, key: HomeKey, delivery: Delivery) {
        let Some(receiver_key) = ReceiverKey::from_bits(delivery.owner) else { return };
        let Some(receiver) = self.broker.receivers.get(receiver_key) else { return };
        let (shard, consumer, settled) = (receiver.shard, receiver.consumer, receiver.settled);
        let (member, is_here) = (receiver.member, shard == self.shard);
        if is_here && !delivery.browse && !self.may_emit(consumer) {
            // The lane is looked at when its consumer is next. It gets the entry when there is budget.
            if let Some(home) = self.queue_home(key) {
                home.queue.undo(unix, delivery);
            }
            self.hold_receiver(now, receiver_key, consumer);
            return;
        }
        let Some(home) = self.queue_home(key) else { return };
        if home.queue.credit(member) == 0 {
            self.watch(now, key, receiver_key, None);
        }
        let Some(home) = self.queue_home(key) else { return };
        let Some(entry) = home.queue.entry(delivery.entry) else { return };
        let Some(body) = entry.body().cloned() else { return };
        let identity = entry.identity();
        let handout = Handout {
            entry: delivery.entry,
            browse: delivery.browse,
            message_format: entry.message_format(),
            body,
            ttl_left: ttl_left(unix, entry.arrived(), entry.expires()),
            redelivery: Self::redelivery(entry),
            // What is in memory only has none.
            reference: identity.or_else(|| entry.reference()).filter(|_| home.id.is_some()),
            is_named: identity.is_some(),
        };
        if !is_here {
            return self.send_handout(now, receiver_key, handout);
        }
        if settled && !delivery.browse {
            let settled = home.queue.settle(unix, delivery.consumer, delivery.entry, Settlement::Accepted);
            if let Settled::Removed(removed) = settled {
                self.settle_in_store(key, removed);
            }
        }
        self.emit_stored(consumer, receiver_key, handout);
        if !self.may_emit(consumer) {
            self.hold_receiver(now, receiver_key, consumer);
        }
    }

    fn may_emit(&self, consumer: ConsumerKey) -> bool {
        self.consumers.get(consumer).is_some_and(|consumer| self.has_budget(consumer.lane))
    }

    fn hold_receiver(&mut self, now: Instant, receiver: ReceiverKey, consumer: ConsumerKey) {
        self.set_receiver_held(now, receiver, true);
        self.hold(consumer);
    }

    fn send_handout(&mut self, now: Instant, key: ReceiverKey, handout: Handout) {
        let Some(receiver) = self.broker.receivers.get_mut(key) else { return };
        let cost = handout.body.len() + DELIVERY_COST;
        receiver.sent += 1;
        receiver.window = receiver.window.saturating_sub(i64::try_from(cost).unwrap_or(i64::MAX));
        let (shard, consumer, is_shut) = (receiver.shard, receiver.consumer, receiver.window <= 0);
        self.send_wire(shard, Wire::Deliver { consumer, handout });
        if is_shut {
            self.set_receiver_held(now, key, true);
        }
    }

    fn finish_receiver_drains(&mut self, now: Instant, key: HomeKey) {
        // That nothing is handed out does not mean that nothing is there, while a move goes on or the node
        // stops.
        let may_come = self.stopping
            || self.queue_home(key).is_some_and(|home| home.pipe.is_some())
            || self.is_filled_by_another(key);
        let poll = if may_come { Queue::poll_spent } else { Queue::poll_drained };
        while let Some((_, owner)) = self.queue_home(key).and_then(|home| poll(&mut home.queue)) {
            let Some(receiver_key) = ReceiverKey::from_bits(owner) else { continue };
            let Some(receiver) = self.broker.receivers.get(receiver_key) else { continue };
            let (shard, consumer, number) = (receiver.shard, receiver.consumer, receiver.number);
            if let Some(changes) = self.queue_home(key).map(|home| home.queue.changes()) {
                self.watch(now, key, receiver_key, Some(changes));
            }
            if shard == self.shard {
                self.receiver_drained(now, shard, consumer, number);
            } else {
                self.send_wire(shard, Wire::Drained { consumer, number });
            }
        }
    }

    /// Asks the store for bodies that consumers will soon need.
    fn load_ahead(&mut self, key: HomeKey) {
        while let Some(load) = self.queue_home(key).and_then(|home| home.queue.poll_load(LOAD_AHEAD)) {
            let pending = self.broker.pending.insert(Pending::Load { home: key, entry: load.entry });
            let ticket = Ticket(pending.to_bits());
            self.ask_store(StoreRequest::Load { ticket, reference: load.reference });
        }
    }

    /// Counts what is in memory, and drops what the store has just taken when that is too much.
    fn account(&mut self, key: HomeKey) {
        let limit = self.limits.stored_memory_bytes;
        let total = self.broker.memory;
        let Some(home) = self.queue_home(key) else { return };
        let mut total = total - home.memory.min(total) + home.queue.bytes_in_memory();
        for entry in home.fresh.drain(..) {
            if total > limit {
                total = total.saturating_sub(home.queue.drop_body(entry) as u64);
            }
        }
        if home.fresh.capacity() > 1_024 {
            home.fresh = Vec::new();
        }
        let memory = home.queue.bytes_in_memory();
        let before = std::mem::replace(&mut home.memory, memory);
        self.broker.memory = self.broker.memory.saturating_sub(before) + memory;
    }

    /// Tells producers to wait or to go on.
    pub(crate) fn tell_blocked(&mut self, key: HomeKey) {
        let (has_live_room, is_stopping) = (self.has_live_room(), self.stopping);
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let blocked = is_stopping
            || match &home.what {
                What::Queue(queue) => queue.is_blocked(home.blocked),
                What::Topic(topic) => {
                    let has_stopped = topic.copying.as_ref().is_some_and(|copying| copying.has_stopped());
                    topic.blocked > 0 || has_stopped || !has_live_room
                }
            };
        if blocked == home.blocked {
            return;
        }
        home.blocked = blocked;
        let topic = home.queue().and_then(|queue| queue.subscription.as_ref()).map(|one| one.topic);
        let senders: Vec<SenderKey> = home.senders.iter().copied().collect();
        for key in senders {
            let Some(sender) = self.broker.senders.get(key) else { continue };
            let (shard, producer) = (sender.shard, sender.producer);
            if shard == self.shard {
                self.sender_flow(producer, !blocked);
            } else {
                self.send_wire(shard, Wire::Flow { producer, active: !blocked });
            }
        }
        if let Some(topic) = topic {
            self.subscription_blocked(topic, blocked);
        }
    }

    /// The node stops: producers wait wherever they are.
    pub(crate) fn stop_homes(&mut self) {
        for key in self.broker.homes.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.tell_blocked(key);
        }
    }

    /// What links on other nodes wait for of the homes of this shard: deliveries that their consumers have and
    /// have not settled, and messages whose producers have no answer.
    pub fn owed_to_other_nodes(&self) -> (u64, u64) {
        let receivers = self.broker.receivers.iter().filter(|(_, receiver)| !receiver.shard.is_here());
        let held = receivers.filter_map(|(_, receiver)| {
            let home = self.broker.homes.get(receiver.home)?.queue()?;
            Some(u64::from(home.queue.outstanding(receiver.member)))
        });
        let unanswered = self.broker.pending.iter().filter(|(_, pending)| match pending {
            Pending::Append { source, .. } | Pending::Duplicate { source, .. } => {
                source.shard().is_some_and(|shard| !shard.is_here())
            }
            _ => false,
        });
        (held.sum(), unanswered.count() as u64)
    }

    /// Sets the timer of a home.
    fn arm(&mut self, key: HomeKey, at_once: Option<UnixMillis>) {
        let Some(home) = self.broker.homes.get_mut(key).and_then(|home| home.queue_mut()) else { return };
        let pipe = home.pipe.as_ref().and_then(|pipe| pipe.poll_timeout());
        let wanted = at_once.or_else(|| home.queue.poll_timeout().into_iter().chain(pipe).min());
        let before = std::mem::replace(&mut home.armed, wanted);
        if before == wanted {
            return;
        }
        if let Some(before) = before {
            self.broker.timers.remove(&(before, key));
        }
        if let Some(wanted) = wanted {
            self.broker.timers.insert((wanted, key));
        }
    }

    /// Does what is to be done at this time.
    pub(crate) fn time_out_homes(&mut self, now: Instant) {
        let unix = self.broker.clock.unix(now);
        while let Some((at, key)) = self.broker.timers.first().copied()
            && at <= unix
        {
            self.broker.timers.pop_first();
            if let Some(home) = self.queue_home(key) {
                home.armed = None;
                if !home.is_shadow {
                    home.queue.handle_timeout(unix, TIMEOUTS_PER_RUN);
                }
                self.mark_home(now, key);
            } else {
                self.expire_retained(now, key);
                self.mark_home(now, key);
            }
        }
    }

    // ---- coming and going ------------------------------------------------------------------------

    /// Forgets a home and all that uses it. What was in it is gone.
    pub(crate) fn remove_home(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.broker.homes.remove(key) else { return };
        let reason = CloseReason::AddressDeleted;
        // Every shard closes the links of a removed address by itself, but one may have let a link in again
        // that this home knows nothing of.
        for sender in home.senders {
            let Some(Sender { shard, producer, .. }) = self.broker.senders.remove(sender) else { continue };
            if shard != self.shard {
                self.send_wire(shard, Wire::CloseProducer { producer, reason });
            }
        }
        match home.what {
            What::Queue(mut queue) => {
                for (shard, number) in queue.pipe.as_mut().map(|pipe| pipe.take_asked()).unwrap_or_default() {
                    self.say_passed(now, shard, number);
                }
                for receiver in queue.receivers {
                    let Some(receiver) = self.broker.receivers.remove(receiver) else { continue };
                    if receiver.shard != self.shard {
                        let consumer = receiver.consumer;
                        self.send_wire(receiver.shard, Wire::CloseConsumer { consumer, reason });
                    }
                }
                self.broker.memory = self.broker.memory.saturating_sub(queue.memory);
                if let Some(armed) = queue.armed {
                    self.broker.timers.remove(&(armed, key));
                }
                // What is left of a subscription that is an address has the name of what the address is now.
                if let Some(id) = queue.id.filter(|id| self.broker.by_id.get(id) == Some(&key)) {
                    self.broker.by_id.remove(&id);
                    self.ask_store(StoreRequest::Forget { queue: id });
                }
                if let Some(subscription) = queue.subscription {
                    if let Some(copied) = &queue.copied {
                        self.end_copied(now, subscription.topic, copied);
                    }
                    if home.blocked {
                        self.subscription_blocked(subscription.topic, false);
                    }
                    self.unlist_subscription(key, &subscription);
                    self.mark_home(now, subscription.topic);
                }
            }
            What::Topic(mut topic) => {
                if let Some(retained) = topic.retained.take() {
                    self.end_retained(key, &home.name, *retained);
                }
                if topic.arriving.is_some() {
                    self.broker.arriving.remove(&key);
                    self.delete_object(TravelRecord::key(&home.name));
                }
                self.live.topics.remove(&key);
                self.tell_stored_end(&home.name);
                let (copying, arriving) = (topic.copying.take(), topic.arriving.take());
                self.end_topic(now, *topic);
                if let Some(copying) = copying {
                    self.end_copying(now, *copying);
                }
                if let Some(arriving) = arriving {
                    self.end_arriving(now, *arriving);
                }
            }
        }
    }
}

pub(super) fn meta_of(publication: &Publication, keys: &MessageKeys) -> Meta {
    Meta {
        message_format: publication.message_format,
        priority: publication.priority,
        arrived: publication.arrived,
        expires: publication.expires,
        not_before: publication.not_before,
        message_id: keys.message_id.clone(),
        group: keys.group.clone(),
        last_value: keys.last_value.clone(),
        given: publication.given,
        identity: publication.moved.as_ref().and_then(|moved| moved.identity),
        owner: publication.owner,
        ..Meta::default()
    }
}

/// What is left of a time to live, when there is one and the message has waited.
fn ttl_left(now: UnixMillis, arrived: UnixMillis, expires: Option<UnixMillis>) -> Option<Duration> {
    let expires = expires.filter(|_| now > arrived)?;
    Some(Duration::from_millis(expires.0.saturating_sub(now.0)))
}
