//! What topics retain: for each name the last message that was sent to be kept for subscribers that come
//! later.
//!
//! A topic keeps it at its home, in a queue of the store of its own, whose number stands in an object. A
//! message that is retained is one more target of the record that keeps it for the subscriptions. So is
//! one that ends what is retained: as long as an earlier one of its name could still come to count, its
//! record says that it does not.
//!
//! Invariants:
//! - Of one name that counts which the store was asked last to keep, here as after a restart. Changes are
//!   numbered in the order in which they were asked for; one that comes to count behind a later one does
//!   not.
//! - What is retained is shown when it is on disk.
//! - A name has a slot exactly while something is retained for it or is on its way to the disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Pending;
use super::home::{Home, What};
use super::protocol::Publication;
use super::record::{Meta, RetainedRecord};
use super::retrieval::Question;
use crate::condition;
use crate::core::Core;
use crate::delivery::Retain;
use crate::effect::Refused;
use crate::key::HomeKey;
use crate::outcome::Outcome;
use crate::stock::{Holding, OwnedName, Owner, StockFull, StockItem};
use crate::store::{QueueId, RecoveredMessage, Reference, StoreRequest, Ticket, UnixMillis};
use crate::topic::{Names, Walk, validate_filter};

/// Bodies of retained messages stay in memory up to this part of
/// [`CoreLimits::stored_memory_bytes`](crate::CoreLimits::stored_memory_bytes): they may stay for ever.
const MEMORY_PART: u64 = 4;

/// Messages whose time has run out that are looked at before others get their turn.
const EXPIRED_PER_RUN: usize = 1_024;

/// What one topic retains.
#[derive(Debug)]
pub(crate) struct Retained {
    pub(super) id: QueueId,
    /// The store has the number.
    written: bool,
    /// The store was asked to keep the number, and has not refused.
    asked: bool,
    pub(super) names: Names<Slot>,
    timers: BTreeSet<(UnixMillis, Arc<str>)>,
    /// When the topic's timer is set.
    pub(super) armed: Option<UnixMillis>,
    /// Changes that the store has not answered.
    under_way: BTreeSet<u64>,
    /// Questions that wait until no change up to this number is under way.
    pub(super) waiting: VecDeque<(u64, Question)>,
    count: u64,
    /// What it holds of its tenant's stock, where that is counted: its slots.
    holding: Option<Holding>,
    bytes: u64,
    /// Bytes of bodies in memory.
    pub(crate) memory: u64,
    expired: u64,
    /// What was found to be needed no more while the node was starting.
    dead: Vec<Reference>,
}

/// What is known of one name.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The number of the change that counts.
    pub(super) last: u64,
    content: Content,
    /// Changes of this name that the store has not answered.
    under_way: u32,
    /// For whom it counts: who was the last to retain something, or is about to.
    owner: Option<OwnedName>,
}

#[derive(Debug, Default)]
enum Content {
    #[default]
    None,
    /// What was retained is no more, and an earlier change is still under way.
    Cleared(Reference),
    Kept(Box<Kept>),
}

/// A message that is retained.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) reference: Reference,
    pub(super) message_format: u32,
    pub(super) priority: u8,
    pub(super) durable: bool,
    pub(super) arrived: UnixMillis,
    pub(super) expires: Option<UnixMillis>,
    /// Who has retained it.
    pub(super) owner: Option<Owner>,
    pub(super) size: u32,
    /// While it is in memory.
    pub(super) body: Option<Bytes>,
}

/// A change of what is retained, until the store has it.
#[derive(Debug)]
pub(crate) struct Change {
    topic: HomeKey,
    pub(super) queue: QueueId,
    name: Arc<str>,
    number: u64,
    /// `None`: nothing is retained any more.
    kept: Option<Kept>,
}

impl Slot {
    /// For whom it counts.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner.as_ref().map(OwnedName::owner)
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        match &self.content {
            Content::Kept(kept) => Some(kept),
            Content::None | Content::Cleared(_) => None,
        }
    }
}

impl Retained {
    fn new(id: QueueId, written: bool, holding: Option<Holding>) -> Self {
        Self {
            id,
            written,
            asked: written,
            names: Names::default(),
            timers: BTreeSet::new(),
            armed: None,
            under_way: BTreeSet::new(),
            waiting: VecDeque::new(),
            count: 0,
            holding,
            bytes: 0,
            memory: 0,
            expired: 0,
            dead: Vec::new(),
        }
    }

    /// Messages, their bytes, and those whose time has run out since the start.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.count, self.bytes, self.expired)
    }

    /// Whether a change up to this number is under way.
    pub(super) fn is_under_way(&self, number: u64) -> bool {
        self.under_way.first().is_some_and(|first| *first <= number)
    }

    /// Takes out what counts for a name; gives the message's place in the store.
    fn take(&mut self, name: &Arc<str>) -> Option<Reference> {
        match std::mem::take(&mut self.names.get_mut(name)?.content) {
            Content::None => None,
            Content::Cleared(reference) => Some(reference),
            Content::Kept(kept) => {
                self.count -= 1;
                self.bytes -= u64::from(kept.size);
                self.memory -= kept.body.as_ref().map_or(0, |body| body.len() as u64);
                if let Some(expires) = kept.expires {
                    self.timers.remove(&(expires, name.clone()));
                }
                Some(kept.reference)
            }
        }
    }

    fn put(&mut self, name: &Arc<str>, kept: Kept) {
        self.count += 1;
        self.bytes += u64::from(kept.size);
        self.memory += kept.body.as_ref().map_or(0, |body| body.len() as u64);
        if let Some(expires) = kept.expires {
            self.timers.insert((expires, name.clone()));
        }
        if let Some(slot) = self.names.get_mut(name) {
            slot.content = Content::Kept(Box::new(kept));
        }
    }

    /// Has a change count, unless a later one does. Gives what the store needs no more, in the order in
    /// which it is to be told.
    fn apply(&mut self, change: Change, reference: Reference) -> Vec<Reference> {
        let Some(slot) = self.names.get_mut(&change.name) else { return vec![reference] };
        if slot.last > change.number {
            return vec![reference];
        }
        slot.last = change.number;
        let mut dead: Vec<Reference> = self.take(&change.name).into_iter().collect();
        match change.kept {
            Some(kept) => self.put(&change.name, Kept { reference, ..kept }),
            None => match self.names.get_mut(&change.name) {
                Some(slot) => slot.content = Content::Cleared(reference),
                None => dead.push(reference),
            },
        }
        dead
    }

    /// Ends a slot that is needed no more. Gives the place of what said that nothing is retained.
    fn tidy(&mut self, name: &str) -> Option<Reference> {
        let slot = self.names.get(name).filter(|slot| slot.under_way == 0)?;
        let cleared = match slot.content {
            Content::Kept(_) => return None,
            Content::Cleared(reference) => Some(reference),
            Content::None => None,
        };
        self.names.remove(name);
        if let Some(holding) = &mut self.holding {
            holding.subtract(StockItem::Retained, 1);
        }
        cleared
    }

    /// Adds a slot for a name that has none.
    fn add_slot(&mut self, name: Arc<str>) {
        self.names.insert(name, Slot::default());
        if let Some(holding) = &mut self.holding {
            holding.add(StockItem::Retained, 1);
        }
    }

    /// Checks its counts against what it holds.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let kept: Vec<&Kept> = self.names.values().filter_map(Slot::kept).collect();
        assert_eq!(self.count, kept.len() as u64);
        assert_eq!(self.bytes, kept.iter().map(|kept| u64::from(kept.size)).sum::<u64>());
        let in_memory = kept.iter().filter_map(|kept| kept.body.as_ref());
        assert_eq!(self.memory, in_memory.map(|body| body.len() as u64).sum::<u64>());
        assert_eq!(self.timers.len(), kept.iter().filter(|kept| kept.expires.is_some()).count());
        let under_way: u32 = self.names.values().map(|slot| slot.under_way).sum();
        assert_eq!(under_way as usize, self.under_way.len());
        for slot in self.names.values() {
            assert!(slot.under_way > 0 || slot.kept().is_some(), "a slot for nothing");
            if slot.under_way == 0 && slot.owner.is_some() {
                assert_eq!(slot.owner(), slot.kept().and_then(|kept| kept.owner));
            }
        }
    }
}

impl Core {
    pub(super) fn retained_mut(&mut self, topic: HomeKey) -> Option<&mut Retained> {
        self.broker.homes.get_mut(topic)?.topic_mut()?.retained.as_deref_mut()
    }

    pub(super) fn retained(&self, topic: HomeKey) -> Option<&Retained> {
        match &self.broker.homes.get(topic)?.what {
            What::Topic(topic) => topic.retained.as_deref(),
            What::Queue(_) => None,
        }
    }

    /// What a message that a topic takes changes in what it retains, if anything. The store has to be
    /// asked for it, and `change_stored` or `change_failed` follows.
    ///
    /// # Errors
    /// What its producer is told when there is no room.
    pub(super) fn plan_change(
        &mut self,
        now: Instant,
        topic: HomeKey,
        publication: &Publication,
    ) -> Result<Option<Box<Change>>, Outcome> {
        if publication.retain == Retain::No {
            return Ok(None);
        }
        let name = match (&publication.name, self.broker.homes.get(topic)) {
            (Some(name), _) => name.clone(),
            (None, Some(home)) => home.name.clone(),
            (None, None) => return Ok(None),
        };
        let has_slot = self.retained(topic).is_some_and(|retained| retained.names.get(&name).is_some());
        if !has_slot && publication.retain == Retain::Clear {
            return Ok(None);
        }
        let limit = self.limits.max_retained;
        if !has_slot && self.broker.retained_names >= limit {
            let sentence = format!(
                "the shard retains messages for {limit} names, its limit; clear some or raise the limit"
            );
            return Err(Outcome::rejected(condition::RESOURCE_LIMIT_EXCEEDED, sentence));
        }
        let owner = self.owned_at(topic, publication.owner);
        if !publication.is_let_in() {
            let slot = self.retained(topic).and_then(|retained| retained.names.get(&name));
            let is_more =
                publication.retain == Retain::Keep && slot.and_then(Slot::owner) != publication.owner;
            let owners = match owner.as_ref().filter(|_| is_more) {
                Some(owner) => owner.check_retained(),
                None => Ok(()),
            };
            let space = || if has_slot { Ok(()) } else { self.check_retained_stock(topic) };
            if let Err(full) = owners.and_then(|()| space()) {
                return Err(Outcome::rejected(condition::RESOURCE_LIMIT_EXCEEDED, full.to_string()));
            }
        }
        self.broker.last_change += 1;
        let number = self.broker.last_change;
        let queue = self.retained_queue(now, topic);
        let Some(retained) = self.retained_mut(topic) else { return Ok(None) };
        retained.under_way.insert(number);
        if !has_slot {
            retained.add_slot(name.clone());
            self.broker.retained_names += 1;
        }
        if let Some(slot) = self.retained_mut(topic).and_then(|retained| retained.names.get_mut(&name)) {
            slot.under_way += 1;
            // Who is about to retain it needs the room from now on.
            if publication.retain == Retain::Keep && slot.owner() != publication.owner {
                slot.owner = owner.map(OwnedName::new);
            }
        }
        let kept = (publication.retain == Retain::Keep).then(|| Kept {
            reference: Reference(0),
            message_format: publication.message_format,
            priority: publication.priority,
            durable: publication.durable,
            arrived: publication.arrived,
            expires: publication.expires,
            owner: publication.owner,
            size: 0,
            body: None,
        });
        Ok(Some(Box::new(Change { topic, queue, name, number, kept })))
    }

    /// Whether the tenant of a topic may retain one message more.
    fn check_retained_stock(&self, topic: HomeKey) -> Result<(), StockFull> {
        let known = self.retained(topic).and_then(|retained| retained.holding.as_ref());
        let made = match (known, self.broker.homes.get(topic)) {
            (None, Some(home)) => self.holding(&home.name),
            _ => None,
        };
        known.or(made.as_ref()).map_or(Ok(()), |holding| holding.check_one(StockItem::Retained, 1))
    }

    /// The queue in the store for what a topic retains; with its number in the store, or on its way.
    fn retained_queue(&mut self, now: Instant, topic: HomeKey) -> QueueId {
        let known = self.retained(topic).map(|retained| (retained.id, retained.asked));
        if let Some((id, true)) = known {
            return id;
        }
        let id = known.map_or_else(|| self.next_queue_id(now), |(id, _)| id);
        let Some(address) = self.broker.homes.get(topic).map(|home| home.name.clone()) else { return id };
        let holding = if known.is_none() { self.holding(&address) } else { None };
        let Some(value) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) else { return id };
        value.retained.get_or_insert_with(|| Box::new(Retained::new(id, false, holding))).asked = true;
        self.broker.by_id.insert(id, topic);
        let pending = self.broker.pending.insert(Pending::PutRetained { topic });
        self.ask_store(StoreRequest::Put {
            ticket: Ticket(pending.to_bits()),
            key: RetainedRecord::key(&address),
            value: RetainedRecord::value(id),
            transaction: None,
        });
        id
    }

    /// The store has the number of a topic's queue, or refuses to.
    pub(super) fn retained_queue_written(&mut self, topic: HomeKey, written: bool) {
        if let Some(retained) = self.retained_mut(topic) {
            retained.written |= written;
            retained.asked = retained.written;
        }
    }

    /// Whether the store has the number of the queue of a change: it is asked for before, and so answered
    /// before.
    pub(super) fn is_queue_written(&self, change: &Change) -> bool {
        self.retained(change.topic).is_some_and(|retained| retained.written && retained.id == change.queue)
    }

    /// The store has a change; false when it cannot count, and its producer should send it again.
    pub(super) fn change_stored(&mut self, now: Instant, change: Change, reference: Reference) -> bool {
        let (topic, queue, name) = (change.topic, change.queue, change.name.clone());
        let memory = self.limits.stored_memory_bytes;
        let has_room = self.broker.retained_memory < memory / MEMORY_PART && self.broker.memory < memory;
        let Some(retained) = self.retained_mut(topic).filter(|retained| retained.id == queue) else {
            // The topic was deleted. In a transaction the message has come to count after that.
            self.ask_store(StoreRequest::Forget { queue });
            return false;
        };
        retained.under_way.remove(&change.number);
        let before = retained.memory;
        let is_written = retained.written;
        let mut dead = match is_written {
            true => {
                let mut change = change;
                if let Some(kept) = change.kept.as_mut().filter(|_| !has_room) {
                    kept.body = None;
                }
                retained.apply(change, reference)
            }
            false => vec![reference],
        };
        if let Some(slot) = retained.names.get_mut(&name) {
            slot.under_way -= 1;
        }
        dead.extend(retained.tidy(&name));
        for reference in dead {
            self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        }
        self.retained_changed(now, topic, &name, before);
        is_written
    }

    /// The store does not have a change, and will not.
    pub(super) fn change_failed(&mut self, now: Instant, change: &Change) {
        let (topic, queue) = (change.topic, change.queue);
        let Some(retained) = self.retained_mut(topic).filter(|retained| retained.id == queue) else { return };
        retained.under_way.remove(&change.number);
        let before = retained.memory;
        if let Some(slot) = retained.names.get_mut(&change.name) {
            slot.under_way -= 1;
        }
        if let Some(reference) = retained.tidy(&change.name) {
            self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        }
        self.retained_changed(now, topic, &change.name, before);
    }

    /// Does what follows from a change of one name.
    fn retained_changed(&mut self, now: Instant, topic: HomeKey, name: &str, memory_before: u64) {
        self.note_retained(now, topic, name);
        let Some(retained) = self.retained(topic) else { return };
        let (memory, is_gone) = (retained.memory, retained.names.get(name).is_none());
        self.settle_owner(topic, name);
        self.count_retained_memory(memory_before, memory);
        if is_gone {
            self.broker.retained_names = self.broker.retained_names.saturating_sub(1);
        }
        self.arm_retained(topic, None);
        self.answer_waiting(now, topic);
    }

    /// With no change of it under way a name counts for who has retained what is kept for it: what somebody else was
    /// about to retain has failed, perhaps.
    fn settle_owner(&mut self, topic: HomeKey, name: &str) {
        let Some(slot) = self.retained(topic).and_then(|retained| retained.names.get(name)) else { return };
        let Some(kept) = slot.kept().filter(|_| slot.under_way == 0) else { return };
        let owner = kept.owner;
        if slot.owner() == owner {
            return;
        }
        let owned = self.owned_at(topic, owner).map(OwnedName::new);
        if let Some(slot) = self.retained_mut(topic).and_then(|retained| retained.names.get_mut(name)) {
            slot.owner = owned;
        }
    }

    fn count_retained_memory(&mut self, before: u64, after: u64) {
        for sum in [&mut self.broker.memory, &mut self.broker.retained_memory] {
            *sum = sum.saturating_sub(before) + after;
        }
    }

    /// Names for which this shard retains a message.
    pub fn retained_names(&self) -> u32 {
        self.broker.retained_names
    }

    /// Forgets what a topic retains for the names that a filter matches. Says how many there were. To be
    /// called at the topic's home.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of such a topic, `BadName` when the filter is none.
    pub fn clear_retained(&mut self, now: Instant, topic: &str, filter: &str) -> Result<u64, Refused> {
        let key = self.home_named(topic)?;
        self.check_movable(topic, key)?;
        if let Err(error) = validate_filter(filter) {
            return Err(Refused::BadName { name: filter.into(), reason: error.to_string().into() });
        }
        self.broker.now = Some(now);
        let mut count = 0;
        let mut after: Option<Arc<str>> = None;
        while let Some(retained) = self.retained(key) {
            let mut steps = u32::MAX;
            match retained.names.next(filter, after.as_deref(), &mut steps) {
                Walk::Found(name, slot) => {
                    let (name, is_kept) = (name.clone(), slot.kept().is_some());
                    if is_kept {
                        self.forget_retained(now, key, &name);
                        count += 1;
                    }
                    after = Some(name);
                }
                Walk::Stopped(name) => after = Some(name.clone()),
                Walk::End => break,
            }
        }
        Ok(count)
    }

    /// What is retained for a name is retained no more; the store hears of it.
    fn forget_retained(&mut self, now: Instant, topic: HomeKey, name: &Arc<str>) {
        let Some(retained) = self.retained_mut(topic) else { return };
        let (queue, before) = (retained.id, retained.memory);
        let Some(reference) = retained.take(name) else { return };
        retained.tidy(name);
        self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        self.retained_changed(now, topic, name, before);
    }

    // ---- time ----------------------------------------------------------------------------------------

    /// Sets the timer of a topic; not before `earliest`.
    fn arm_retained(&mut self, topic: HomeKey, earliest: Option<UnixMillis>) {
        let Some(retained) = self.retained_mut(topic) else { return };
        let first = retained.timers.first().map(|(at, _)| *at);
        let wanted = first.map(|at| earliest.map_or(at, |earliest| earliest.max(at)));
        let before = std::mem::replace(&mut retained.armed, wanted);
        if before == wanted {
            return;
        }
        if let Some(before) = before {
            self.broker.timers.remove(&(before, topic));
        }
        if let Some(wanted) = wanted {
            self.broker.timers.insert((wanted, topic));
        }
    }

    /// Ends what a topic has retained for as long as it was to be.
    pub(super) fn expire_retained(&mut self, now: Instant, topic: HomeKey) {
        let unix = self.broker.clock.unix(now);
        if let Some(retained) = self.retained_mut(topic) {
            // It is not among the timers any more.
            retained.armed = None;
        }
        for _ in 0..EXPIRED_PER_RUN {
            let Some(retained) = self.retained_mut(topic) else { return };
            let Some((_, name)) = retained.timers.first().filter(|(at, _)| *at <= unix).cloned() else {
                break;
            };
            retained.expired += 1;
            self.forget_retained(now, topic, &name);
        }
        // The rest a moment later.
        self.arm_retained(topic, Some(UnixMillis(unix.0.saturating_add(1))));
    }

    // ---- after a restart, and at the end ------------------------------------------------------------

    /// Takes the number of a topic's queue that was there before a restart; false when the topic is no more.
    pub(super) fn recover_retained(&mut self, record: &RetainedRecord) -> bool {
        self.note_queue_id(record.queue);
        let Ok(key) = self.home_named(&record.topic) else { return false };
        let holding = self.holding(&record.topic);
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return false };
        topic.retained = Some(Box::new(Retained::new(record.queue, true, holding)));
        self.broker.by_id.insert(record.queue, key);
        true
    }

    /// Takes what was retained before a restart, in the order of the store. False when it is none.
    pub(super) fn recover_change(
        &mut self,
        topic: HomeKey,
        meta: &Meta,
        message: &RecoveredMessage<'_>,
    ) -> bool {
        let name = meta.name.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        let Some(name) = name.map(Arc::<str>::from) else { return false };
        self.broker.last_change += 1;
        let number = self.broker.last_change;
        let Some(retained) = self.retained_mut(topic) else { return false };
        let kept = (!meta.clear).then(|| Kept {
            reference: message.reference,
            message_format: meta.message_format,
            priority: meta.priority,
            durable: !meta.volatile,
            arrived: meta.arrived,
            expires: meta.expires,
            owner: meta.owner,
            size: message.body_len,
            body: None,
        });
        let is_new = retained.names.get(&name).is_none();
        if is_new {
            retained.add_slot(name.clone());
        }
        let change = Change { topic, queue: retained.id, name: name.clone(), number, kept };
        let mut dead = retained.apply(change, message.reference);
        dead.extend(retained.tidy(&name));
        retained.dead.append(&mut dead);
        let is_there = retained.names.get(&name).is_some();
        self.settle_owner(topic, &name);
        let names = &mut self.broker.retained_names;
        *names = (*names + u32::from(is_there)).saturating_sub(u32::from(!is_new));
        true
    }

    /// Everything is there that the topic retains.
    pub(super) fn retained_recovered(&mut self, topic: HomeKey) {
        let Some(retained) = self.retained_mut(topic) else { return };
        let (queue, dead) = (retained.id, std::mem::take(&mut retained.dead));
        for reference in dead {
            self.ask_store(StoreRequest::Settle { queue, reference, ticket: None, transaction: None });
        }
        self.arm_retained(topic, None);
    }

    /// A topic is no more, nor is what it retained.
    pub(super) fn end_retained(&mut self, key: HomeKey, address: &str, retained: Retained) {
        self.count_retained_memory(retained.memory, 0);
        let names = u32::try_from(retained.names.len()).unwrap_or(u32::MAX);
        self.broker.retained_names = self.broker.retained_names.saturating_sub(names);
        if let Some(armed) = retained.armed {
            self.broker.timers.remove(&(armed, key));
        }
        self.broker.by_id.remove(&retained.id);
        self.ask_store(StoreRequest::Forget { queue: retained.id });
        self.delete_object(RetainedRecord::key(address));
        for (_, question) in retained.waiting {
            self.answer_nothing(&question);
        }
    }
}

impl Change {
    /// Takes the message over, and adds what the store has to be told beside it.
    pub(super) fn note(&mut self, meta: &mut Meta, body: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.size = u32::try_from(body.len()).unwrap_or(u32::MAX);
            kept.body = Some(body.clone());
        }
        meta.name = Some(Bytes::copy_from_slice(self.name.as_bytes()));
        meta.clear = self.kept.is_none();
        meta.volatile = self.kept.as_ref().is_some_and(|kept| !kept.durable);
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}
