//! Queues with several shards, each with a home of its own.
//!
//! A shard is a queue like any other: in the store, for moves, for all that happens at its home. The first has
//! the queue's name, the others a name that is made of it ([`shard_name`]). What makes one queue of them is
//! here, where the links are: a link to the queue is a *front* with a *part* at each shard. A part is a link to
//! a stored address like any other, but that nobody outside knows it: what it gets and hears, its front passes
//! on as its own.
//!
//! - A producer's messages go to the shards in turn. Those that belong together (a group, a last value, one
//!   message-id when duplicates are found by it) go to one shard, which their key decides; when that shard is
//!   full, the producer waits for it and for nobody else.
//! - A consumer's credit is shared out among the shards, see [`shares`](super::shares).
//! - A consumer that wants the queue for itself asks the first shard, and then the others. Who has lost to it there
//!   leaves them in a moment; and it is nothing without the first.
//! - A shard whose home cannot be reached has no part until it can; the link goes on with the others.
//! - A shard that the queue has no more is emptied into the others, see [`relocate`](super::relocate). Producers
//!   leave it at once; consumers take nothing more from it, and leave it when they have settled what they have.
//!
//! Invariants:
//! - A front has its consumers or producers in `spreads`, and is in no list of its address. Its parts are in
//!   those of their addresses.
//! - The credit of a front's parts together is at most its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::protocol::Publication;
use super::shares::{Share, drain_out, share_out};
use crate::consumer::ConsumerOptions;
use crate::core::Core;
use crate::effect::{CloseReason, Effect, Refused};
use crate::format::MessageKeys;
use crate::key::{AddressKey, ConsumerKey, LaneKey, ProducerKey};
use crate::producer::{ProducerOptions, Target};
use crate::settings::{MAX_QUEUE_SHARDS, hash_of_bytes, shard_name, split_shard};

/// How long a link goes without a shard that it could not be attached to before it is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// A queue with several shards, as one thread knows it.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The names of its shards.
    names: Vec<Arc<str>>,
    /// The shard for the next message whose producer has no parts.
    turn: usize,
    consumers: BTreeSet<ConsumerKey>,
    producers: BTreeSet<ProducerKey>,
    /// When to attach links to shards that they have no part at.
    retry: Option<Instant>,
}

/// What a consumer is to a queue with several shards.
#[derive(Debug, Default)]
pub(crate) enum ConsumerRole {
    #[default]
    Plain,
    Front(Box<FrontConsumer>),
    Part(ConsumerPart),
}

/// A consumer of all shards of a queue.
#[derive(Debug, Default)]
pub(crate) struct FrontConsumer {
    parts: Vec<Option<ConsumerKey>>,
    /// At shards that the queue has no more, for as long as something from there is not settled.
    leaving: Vec<ConsumerKey>,
    /// Every home that could be reached has let it in.
    is_admitted: bool,
    /// Which shard credit is given to first.
    turn: usize,
}

/// A consumer of one shard, for one of all of them.
#[derive(Debug)]
pub(crate) struct ConsumerPart {
    front: ConsumerKey,
    number: usize,
    is_wanted: bool,
    is_dry: bool,
    is_leaving: bool,
}

/// What a producer is to a queue with several shards.
#[derive(Debug, Default)]
pub(crate) enum ProducerRole {
    #[default]
    Plain,
    Front(Box<FrontProducer>),
    Part {
        front: ProducerKey,
        number: usize,
    },
}

/// A producer to all shards of a queue.
#[derive(Debug, Default)]
pub(crate) struct FrontProducer {
    parts: Vec<Option<ProducerKey>>,
    turn: usize,
    /// Shards without room that have got messages all the same, because those belong there: a bit for each.
    waits_for: u64,
}

impl Spread {
    /// When links are to be attached to shards that they have no part at.
    pub(crate) fn retry(&self) -> Option<Instant> {
        self.retry
    }
}

impl ConsumerRole {
    /// The consumer that the world outside knows.
    #[inline]
    pub(crate) fn front(&self) -> Option<ConsumerKey> {
        match self {
            Self::Part(part) => Some(part.front),
            Self::Plain | Self::Front(_) => None,
        }
    }

    pub(crate) fn is_front(&self) -> bool {
        matches!(self, Self::Front(_))
    }

    fn parts(&self) -> &[Option<ConsumerKey>] {
        match self {
            Self::Front(front) => &front.parts,
            Self::Plain | Self::Part(_) => &[],
        }
    }

    fn leaving(&self) -> &[ConsumerKey] {
        match self {
            Self::Front(front) => &front.leaving,
            Self::Plain | Self::Part(_) => &[],
        }
    }

    /// Whether it takes nothing more, and is there for what is not settled alone.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Self::Part(part) if part.is_leaving)
    }

    pub(crate) fn is_admitted(&self) -> Option<bool> {
        match self {
            Self::Front(front) => Some(front.is_admitted),
            Self::Plain | Self::Part(_) => None,
        }
    }
}

impl ProducerRole {
    /// The producer that the world outside knows.
    #[inline]
    pub(crate) fn front(&self) -> Option<ProducerKey> {
        match self {
            Self::Part { front, .. } => Some(*front),
            Self::Plain | Self::Front(_) => None,
        }
    }

    pub(crate) fn is_front(&self) -> bool {
        matches!(self, Self::Front(_))
    }

    fn parts(&self) -> &[Option<ProducerKey>] {
        match self {
            Self::Front(front) => &front.parts,
            Self::Plain | Self::Part { .. } => &[],
        }
    }
}

impl Core {
    // ---- addresses ----------------------------------------------------------------------------------

    /// The settings of an address have been taken over: it may have other shards than before. Links that are
    /// of another kind then are closed; those of a queue that has more shards than before get parts at them.
    pub(crate) fn note_shards(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key).filter(|address| !address.is_shard()) else { return };
        let shards = usize::from(address.settings.shards.min(MAX_QUEUE_SHARDS));
        let name = address.name.clone();
        if shards < 2 || !address.settings.kind.is_stored() {
            return self.end_spread(now, key, CloseReason::HomeGone);
        }
        let names = (0..shards as u16).map(|shard| shard_name(&name, shard)).collect();
        match self.broker.spreads.get_mut(&key) {
            Some(spread) => spread.names = names,
            None => {
                self.close_links(now, key, CloseReason::HomeGone);
                let (consumers, producers) = (BTreeSet::new(), BTreeSet::new());
                let spread = Spread { names, turn: 0, consumers, producers, retry: None };
                self.broker.spreads.insert(key, spread);
            }
        }
        self.fit_fronts(now, key, shards);
    }

    /// Whether an address is a queue with several shards.
    pub(crate) fn is_spread(&self, key: AddressKey) -> bool {
        !self.broker.spreads.is_empty() && self.broker.spreads.contains_key(&key)
    }

    /// Links of producers, as the world outside counts them.
    pub(crate) fn producer_links(&self) -> u64 {
        (self.producers.len() as u64).saturating_sub(self.broker.parts.producers)
    }

    /// Links of consumers, as the world outside counts them.
    pub(crate) fn consumer_links(&self) -> u64 {
        (self.consumers.len() as u64).saturating_sub(self.broker.parts.consumers)
    }

    /// Gives each front as many places as there are shards.
    fn fit_fronts(&mut self, now: Instant, key: AddressKey, shards: usize) {
        let Some(spread) = self.broker.spreads.get(&key) else { return };
        let (consumers, producers) = (spread.consumers.clone(), spread.producers.clone());
        for front in consumers {
            let role = self.consumers.get_mut(front).map(|front| &mut front.role);
            let Some(ConsumerRole::Front(role)) = role else { continue };
            let surplus: Vec<_> = role.parts.iter().skip(shards).flatten().copied().collect();
            role.parts.resize(shards, None);
            surplus.into_iter().for_each(|part| self.leave_shard(now, front, part));
            self.front_changed(now, front);
        }
        for front in producers {
            let role = self.producers.get_mut(front).map(|front| &mut front.role);
            let Some(ProducerRole::Front(role)) = role else { continue };
            let surplus: Vec<_> = role.parts.iter().skip(shards).flatten().copied().collect();
            role.parts.resize(shards, None);
            surplus.into_iter().for_each(|part| self.remove_producer(now, part));
            self.note_flow(front);
        }
    }

    /// Lets a part take nothing more from its shard, and go when nothing from there is unsettled.
    fn leave_shard(&mut self, now: Instant, front: ConsumerKey, key: ConsumerKey) {
        let Some(value) = self.consumers.get_mut(key) else { return };
        // Who only looks has nothing to settle.
        if value.options.browse {
            return self.remove_consumer(now, key);
        }
        (value.credit, value.draining) = (0, false);
        if let ConsumerRole::Part(part) = &mut value.role {
            part.is_leaving = true;
        }
        if let Some(front) = self.front_consumer(front) {
            front.leaving.push(key);
        }
        self.park_for_good(now, key);
    }

    /// A consumer has left all homes of before: if it was for these that it was there, it goes.
    pub(crate) fn finish_leaving_part(&mut self, key: ConsumerKey) {
        let (Some(now), Some(part)) = (self.broker.now, self.consumer_part(key)) else { return };
        let front = part.front;
        if !part.is_leaving {
            return;
        }
        if let Some(front) = self.front_consumer(front) {
            front.leaving.retain(|leaving| *leaving != key);
        }
        self.remove_consumer(now, key);
    }

    /// An address has no shards any more.
    pub(crate) fn end_spread(&mut self, now: Instant, key: AddressKey, reason: CloseReason) {
        let Some(spread) = self.broker.spreads.remove(&key) else { return };
        for producer in spread.producers {
            self.close_producer(producer, reason);
        }
        for consumer in spread.consumers {
            self.close_consumer(now, consumer, reason);
        }
    }

    /// An address can be used, or its home has changed: links to the queue that it is a shard of get their part.
    pub(crate) fn note_shard(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        let queue = match split_shard(&address.name) {
            Some((queue, _)) => self.names.get(queue).copied(),
            None => Some(key),
        };
        if let Some(queue) = queue {
            self.join_shards(now, queue);
        }
    }

    /// Attaches the links of a queue to the shards that they have no part at.
    pub(crate) fn join_shards(&mut self, now: Instant, key: AddressKey) {
        let Some(spread) = self.broker.spreads.get_mut(&key) else { return };
        spread.retry = None;
        let shards = spread.names.len();
        let (consumers, producers) = (spread.consumers.clone(), spread.producers.clone());
        for front in producers {
            for number in 0..shards {
                if let Err(reason) = self.join_producer(now, key, front, number) {
                    self.close_producer(front, reason);
                    break;
                }
            }
        }
        for front in consumers {
            for number in 0..shards {
                if let Err(reason) = self.join_consumer(now, key, front, number) {
                    self.close_consumer(now, front, reason);
                    break;
                }
            }
            self.front_changed(now, front);
        }
    }

    /// Tries again to attach links to shards.
    pub(crate) fn retry_shards(&mut self, now: Instant) {
        self.broker.now = Some(now);
        let is_due = |spread: &Spread| spread.retry.is_some_and(|at| at <= now);
        let due = self.broker.spreads.iter().filter(|(_, spread)| is_due(spread)).map(|(key, _)| *key);
        for key in due.collect::<Vec<_>>() {
            self.join_shards(now, key);
        }
    }

    /// Some link of a queue has no part at some shard.
    fn retry_at_shards(&mut self, now: Instant, key: AddressKey) {
        if let Some(spread) = self.broker.spreads.get_mut(&key) {
            spread.retry = spread.retry.or_else(|| now.checked_add(PAUSE));
        }
    }

    /// A shard of a queue, and its name.
    fn shard_of(&self, queue: AddressKey, number: usize) -> Option<(AddressKey, Arc<str>)> {
        let name = self.broker.spreads.get(&queue)?.names.get(number)?;
        Some((self.known_address(name).ok()?, name.clone()))
    }

    /// Why no shard of a queue can be had.
    fn no_shard(&self, queue: AddressKey) -> Refused {
        match self.addresses.get(queue) {
            Some(address) => self.home_unavailable(address),
            None => Refused::NotFound("of that name".into()),
        }
    }

    // ---- producers ----------------------------------------------------------------------------------

    /// Lets a producer to all shards of a queue in.
    pub(crate) fn add_front_producer(
        &mut self,
        now: Instant,
        queue: AddressKey,
        options: ProducerOptions,
    ) -> Result<ProducerKey, Refused> {
        self.broker.now = Some(now);
        let credit = self.addresses.get(queue).map_or(1, |address| address.settings.link_credit);
        let front = self.insert_producer(Target::Address(queue), options, credit, false);
        let Some(spread) = self.broker.spreads.get_mut(&queue) else { return Ok(front) };
        spread.producers.insert(front);
        let shards = spread.names.len();
        if let Some(producer) = self.producers.get_mut(front) {
            let parts = vec![None; shards];
            producer.role =
                ProducerRole::Front(Box::new(FrontProducer { parts, ..FrontProducer::default() }));
        }
        let joined = (0..shards).try_for_each(|number| self.join_producer(now, queue, front, number));
        let has_parts =
            self.producers.get(front).is_some_and(|front| !front.role.parts().iter().all(Option::is_none));
        let refused = match joined {
            Ok(()) if has_parts => return Ok(front),
            Ok(()) => self.no_shard(queue),
            Err(reason) => Refused::Home(reason),
        };
        self.remove_producer(now, front);
        Err(refused)
    }

    /// Gives a producer its part at a shard, if that can be had now.
    fn join_producer(
        &mut self,
        now: Instant,
        queue: AddressKey,
        front: ProducerKey,
        number: usize,
    ) -> Result<(), CloseReason> {
        let Some(value) = self.producers.get(front).filter(|front| !front.closed) else { return Ok(()) };
        if value.role.parts().get(number) != Some(&None) {
            return Ok(());
        }
        let options = value.options;
        let Some((address, name)) = self.shard_of(queue, number) else {
            self.retry_at_shards(now, queue);
            return Ok(());
        };
        let part = self.insert_producer(Target::Address(address), options, 0, false);
        if let Some(part) = self.producers.get_mut(part) {
            // Credit is the front's alone.
            part.link_credit = 0;
            part.role = ProducerRole::Part { front, number };
        }
        self.broker.parts.producers += 1;
        if let Some(FrontProducer { parts, .. }) = self.front_producer(front)
            && let Some(place) = parts.get_mut(number)
        {
            *place = Some(part);
        }
        if let Some(address) = self.addresses.get_mut(address) {
            address.producers.push_back(&mut self.producers, part);
        }
        match self.attach_producer(part, address, &name) {
            Ok(()) => Ok(()),
            Err(refused) => {
                self.drop_producer_part(now, part);
                match refused {
                    Refused::Home(reason) if !may_pass(reason) => Err(reason),
                    _ => {
                        self.retry_at_shards(now, queue);
                        Ok(())
                    }
                }
            }
        }
    }

    fn front_producer(&mut self, key: ProducerKey) -> Option<&mut FrontProducer> {
        match &mut self.producers.get_mut(key)?.role {
            ProducerRole::Front(front) => Some(front),
            ProducerRole::Plain | ProducerRole::Part { .. } => None,
        }
    }

    /// Takes the part of a producer away.
    fn drop_producer_part(&mut self, now: Instant, part: ProducerKey) {
        let role = self.producers.get(part).map(|part| &part.role);
        let Some(&ProducerRole::Part { front, number }) = role else { return };
        if let Some(place) = self.front_producer(front).and_then(|front| front.parts.get_mut(number)) {
            *place = None;
        }
        self.remove_producer(now, part);
        self.note_flow(front);
    }

    /// A shard does not let a producer in, or no longer.
    pub(crate) fn producer_part_closed(&mut self, part: ProducerKey, reason: CloseReason) {
        let (Some(now), Some(front)) =
            (self.broker.now, self.producers.get(part).and_then(|part| part.role.front()))
        else {
            return;
        };
        self.drop_producer_part(now, part);
        let Some(value) = self.producers.get(front).filter(|front| !front.closed) else { return };
        let is_alone = value.role.parts().iter().all(Option::is_none);
        if is_alone || !may_pass(reason) {
            return self.close_producer(front, reason);
        }
        if let Target::Address(queue) = value.target {
            self.retry_at_shards(now, queue);
        }
    }

    /// A producer to all shards has left.
    pub(crate) fn detach_front_producer(&mut self, key: ProducerKey) {
        let Some(now) = self.broker.now else { return };
        let parts =
            self.front_producer(key).map(|front| std::mem::take(&mut front.parts)).unwrap_or_default();
        parts.into_iter().flatten().for_each(|part| self.remove_producer(now, part));
        if let Some(Target::Address(queue)) = self.producers.get(key).map(|front| &front.target)
            && let Some(spread) = self.broker.spreads.get_mut(queue)
        {
            spread.producers.remove(&key);
        }
    }

    /// A producer has credit while any shard has room, and none of those that it waits for has not.
    pub(crate) fn note_flow(&mut self, key: ProducerKey) {
        let Some(front) = self.producers.get(key).filter(|front| !front.closed) else { return };
        let ProducerRole::Front(role) = &front.role else { return };
        let has_room = |part: &Option<ProducerKey>| {
            part.is_some_and(|part| self.producers.get(part).is_some_and(|part| part.active))
        };
        let room: u64 =
            (0..).zip(&role.parts).filter(|(_, part)| has_room(part)).map(|(bit, _)| 1 << bit).sum();
        let there: u64 =
            (0..).zip(&role.parts).filter(|(_, part)| part.is_some()).map(|(bit, _)| 1 << bit).sum();
        // A shard that has gone is not waited for: what belongs to it is given back.
        let waits_for = role.waits_for & there & !room;
        let (was_active, active) = (front.active, room != 0 && waits_for == 0);
        if let Some(front) = self.front_producer(key) {
            front.waits_for = waits_for;
        }
        match active {
            true if !was_active => self.resume(key),
            false if was_active => self.stop(key),
            _ => {}
        }
    }

    /// The address that a message for a stored address goes to: one of its shards, when it has several. Also
    /// gives the producer's part there.
    pub(crate) fn route_to_shard(
        &mut self,
        queue: AddressKey,
        producer: Option<ProducerKey>,
        publication: &Publication,
    ) -> (AddressKey, Option<ProducerKey>) {
        if !self.is_spread(queue) {
            return (queue, producer);
        }
        let front =
            producer.filter(|key| self.producers.get(*key).is_some_and(|value| value.role.is_front()));
        let number = match self.place_of(queue, publication) {
            Some(number) => {
                self.wait_for_shard(front, number);
                number
            }
            None => self.next_shard(queue, front),
        };
        let part = front.and_then(|front| *self.producers.get(front)?.role.parts().get(number)?);
        // Without it the message is given back, as it is for any home that cannot be reached.
        let address = self.shard_of(queue, number).map_or(queue, |(address, _)| address);
        (address, part)
    }

    /// The shard for a message of one that its queue has no more.
    pub(crate) fn shard_instead_of(&self, surplus: &str, publication: &Publication) -> Option<AddressKey> {
        let (queue, number) = split_shard(surplus)?;
        let queue = self.known_address(queue).ok()?;
        let Some(spread) = self.broker.spreads.get(&queue) else { return Some(queue) };
        // What belongs to nothing stays together, and so in order.
        let rest = usize::from(number) % spread.names.len().max(1);
        let place = self.place_of(queue, publication).unwrap_or(rest);
        self.shard_of(queue, place).map(|(address, _)| address)
    }

    /// The shard of a message that belongs to others.
    fn place_of(&self, queue: AddressKey, publication: &Publication) -> Option<usize> {
        let shards = self.broker.spreads.get(&queue)?.names.len();
        let settings = self.addresses.get(queue)?.settings.queue.as_ref();
        let format = self.broker.format.as_ref()?;
        let MessageKeys { message_id, group, last_value } =
            format.keys(publication.message_format, &publication.body);
        let (by_value, by_id) =
            settings.map_or((false, false), |settings| (settings.last_value, settings.deduplicate.is_some()));
        let key = last_value.filter(|_| by_value).or(group).or_else(|| message_id.filter(|_| by_id))?;
        Some(jump(hash_of_bytes(&key), shards))
    }

    /// A message goes to this shard whether that has room or not: when it has none, its producer waits for it.
    fn wait_for_shard(&mut self, front: Option<ProducerKey>, number: usize) {
        let Some(key) = front else { return };
        let part = self.producers.get(key).and_then(|front| *front.role.parts().get(number)?);
        let has_room = part.and_then(|part| self.producers.get(part)).is_some_and(|part| part.active);
        if part.is_some()
            && !has_room
            && let Some(front) = self.front_producer(key)
        {
            front.waits_for |= 1 << number;
            self.note_flow(key);
        }
    }

    /// The shard for a message that may go to any: the next one with room, else the next that can be reached.
    fn next_shard(&mut self, queue: AddressKey, front: Option<ProducerKey>) -> usize {
        let Some(spread) = self.broker.spreads.get(&queue) else { return 0 };
        let shards = spread.names.len().max(1);
        let turn = match front.and_then(|key| self.front_producer(key)) {
            Some(front) => front.turn,
            None => spread_turn(self, queue),
        };
        let order = || (turn..turn + shards).map(|number| number % shards);
        let parts = front.and_then(|key| self.producers.get(key)).map_or(&[][..], |front| front.role.parts());
        let part = |number: usize| self.producers.get((*parts.get(number)?)?);
        let has_room = |number: &usize| part(*number).is_some_and(|part| part.active);
        let is_near = |number: &usize| match front {
            Some(_) => part(*number).is_some(),
            None => self
                .shard_of(queue, *number)
                .and_then(|(key, _)| self.addresses.get(key))
                .is_some_and(|address| self.reachable_entrance(address).is_some()),
        };
        let number = order().find(has_room).or_else(|| order().find(is_near)).unwrap_or(turn % shards);
        match front.and_then(|key| self.front_producer(key)) {
            Some(front) => front.turn = number + 1,
            None => {
                if let Some(spread) = self.broker.spreads.get_mut(&queue) {
                    spread.turn = number + 1;
                }
            }
        }
        number
    }

    // ---- consumers ----------------------------------------------------------------------------------

    /// Lets a consumer of all shards of a queue in.
    pub(crate) fn add_front_consumer(
        &mut self,
        now: Instant,
        queue: AddressKey,
        lane: LaneKey,
        options: ConsumerOptions,
    ) -> Result<ConsumerKey, Refused> {
        self.broker.now = Some(now);
        let is_alone = wants_all(&options);
        let shards = self.broker.spreads.get(&queue).map_or(0, |spread| spread.names.len());
        let role = FrontConsumer { parts: vec![None; shards], ..FrontConsumer::default() };
        let front = self.insert_front(queue, lane, options, ConsumerRole::Front(Box::new(role)));
        if let Some(spread) = self.broker.spreads.get_mut(&queue) {
            spread.consumers.insert(front);
        }
        let joined = (0..shards).try_for_each(|number| self.join_consumer(now, queue, front, number));
        let parts = self.consumers.get(front).map_or(&[][..], |front| front.role.parts());
        let mut deciding = parts.iter().take(if is_alone { 1 } else { shards });
        let refused = match joined {
            Ok(()) if deciding.any(Option::is_some) => {
                let is_admitted = self.is_let_in(front);
                if let Some(front) = self.front_consumer(front) {
                    front.is_admitted = is_admitted;
                }
                return Ok(front);
            }
            Ok(()) => self.no_shard(queue),
            Err(reason) => Refused::Home(reason),
        };
        self.remove_consumer(now, front);
        Err(refused)
    }

    /// Gives a consumer its part at a shard, if that can be had now.
    fn join_consumer(
        &mut self,
        now: Instant,
        queue: AddressKey,
        front: ConsumerKey,
        number: usize,
    ) -> Result<(), CloseReason> {
        let Some(value) = self.consumers.get(front).filter(|front| !front.closed) else { return Ok(()) };
        if value.role.parts().get(number) != Some(&None) {
            return Ok(());
        }
        if number > 0 && wants_all(&value.options) && !self.has_first(front) {
            return Ok(());
        }
        let (lane, options) = (value.lane, value.options.clone());
        let attached = match self.shard_of(queue, number) {
            Some((address, name)) => self.attach_consumer(now, address, lane, &name, options),
            None => Err(self.no_shard(queue)),
        };
        let part = match attached {
            Ok(part) => part,
            Err(Refused::Home(reason)) if !self.can_wait(front, number, reason) => return Err(reason),
            Err(_) => {
                self.retry_at_shards(now, queue);
                return Ok(());
            }
        };
        if let Some(part) = self.consumers.get_mut(part) {
            let (is_wanted, is_dry, is_leaving) = (false, false, false);
            part.role = ConsumerRole::Part(ConsumerPart { front, number, is_wanted, is_dry, is_leaving });
        }
        self.broker.parts.consumers += 1;
        if let Some(place) = self.front_consumer(front).and_then(|front| front.parts.get_mut(number)) {
            *place = Some(part);
        }
        Ok(())
    }

    fn front_consumer(&mut self, key: ConsumerKey) -> Option<&mut FrontConsumer> {
        match &mut self.consumers.get_mut(key)?.role {
            ConsumerRole::Front(front) => Some(front),
            ConsumerRole::Plain | ConsumerRole::Part(_) => None,
        }
    }

    fn consumer_part(&mut self, key: ConsumerKey) -> Option<&mut ConsumerPart> {
        match &mut self.consumers.get_mut(key)?.role {
            ConsumerRole::Part(part) => Some(part),
            ConsumerRole::Plain | ConsumerRole::Front(_) => None,
        }
    }

    /// Whether the first shard has let a consumer in.
    fn has_first(&self, front: ConsumerKey) -> bool {
        let first = self.consumers.get(front).and_then(|front| front.role.parts().first().copied().flatten());
        first.is_some_and(|first| self.is_admitted(first))
    }

    /// Whether a consumer can do without a shard that does not let it in for this reason, until it does.
    fn can_wait(&self, front: ConsumerKey, number: usize, reason: CloseReason) -> bool {
        let is_alone = self.consumers.get(front).is_some_and(|front| wants_all(&front.options));
        match reason {
            _ if is_alone && number == 0 => false,
            // The first shard decides: who has another one for himself leaves, or this one does.
            CloseReason::Exclusive => number > 0,
            _ => may_pass(reason),
        }
    }

    /// Lets a consumer in at the shards that come after the first, once that has decided.
    fn join_others(&mut self, now: Instant, front: ConsumerKey) -> Result<(), CloseReason> {
        let Some(value) = self.consumers.get(front).filter(|front| wants_all(&front.options)) else {
            return Ok(());
        };
        let (queue, shards) = (value.address, value.role.parts().len());
        (1..shards).try_for_each(|number| self.join_consumer(now, queue, front, number))
    }

    /// Whether each home that a front has a part at has let it in, and there is one.
    fn is_let_in(&self, front: ConsumerKey) -> bool {
        let parts = self.consumers.get(front).map_or(&[][..], |front| front.role.parts());
        let mut parts = parts.iter().flatten().peekable();
        parts.peek().is_some() && parts.all(|part| self.is_admitted(*part))
    }

    /// A shard has let a part in.
    pub(crate) fn part_seated(&mut self, now: Instant, key: ConsumerKey) {
        let Some(&mut ConsumerPart { front, number, .. }) = self.consumer_part(key) else { return };
        if number == 0
            && let Err(reason) = self.join_others(now, front)
        {
            return self.close_consumer(now, front, reason);
        }
        self.front_changed(now, front);
    }

    /// A front has got or lost a part, or one of them was let in.
    pub(crate) fn front_changed(&mut self, now: Instant, key: ConsumerKey) {
        let is_let_in = self.is_let_in(key);
        let Some(front) = self.front_consumer(key) else { return };
        if !front.is_admitted && is_let_in {
            front.is_admitted = true;
            self.effects.push_back(Effect::Admitted { consumer: key });
        }
        self.share_credit(now, key);
    }

    /// Takes over the credit of a consumer of all shards.
    pub(crate) fn set_front_credit(&mut self, now: Instant, key: ConsumerKey, credit: u32, drain: bool) {
        let Some(front) = self.consumers.get_mut(key) else { return };
        front.credit = credit;
        front.draining = drain;
        let parts: Vec<ConsumerKey> = front.role.parts().iter().flatten().copied().collect();
        for part in parts {
            if let Some(part) = self.consumer_part(part) {
                part.is_dry = false;
            }
        }
        self.share_credit(now, key);
    }

    /// Shares the credit of a front out among its parts.
    fn share_credit(&mut self, now: Instant, key: ConsumerKey) {
        let Some(front) = self.consumers.get(key).filter(|front| !front.closed) else { return };
        let ConsumerRole::Front(role) = &front.role else { return };
        if !role.is_admitted {
            return;
        }
        let (draining, mut turn) = (front.draining, role.turn);
        let parts = role.parts.iter().flatten();
        let (there, away): (Vec<ConsumerKey>, Vec<ConsumerKey>) =
            parts.partition(|part| self.is_admitted(**part));
        // A part whose home is changing keeps what it has.
        let kept: u32 = away.iter().filter_map(|part| self.share_of(*part)).map(|share| share.credit).sum();
        let credit = front.credit.saturating_sub(kept);
        let (parts, mut shares): (Vec<ConsumerKey>, Vec<Share>) =
            there.into_iter().filter_map(|part| Some((part, self.share_of(part)?))).unzip();
        let is_over = draining && drain_out(credit, &mut turn, &mut shares) && kept == 0;
        if !draining {
            share_out(credit, &mut turn, &mut shares);
        }
        if let Some(front) = self.front_consumer(key) {
            front.turn = turn;
        }
        for (part, share) in parts.into_iter().zip(shares) {
            if let Some(part) = self.consumer_part(part) {
                part.is_wanted = share.is_wanted;
            }
            if share.changed {
                self.set_stored_credit(now, part, share.credit, share.draining);
            }
        }
        if is_over && let Some(front) = self.consumers.get_mut(key) {
            front.credit = 0;
            front.draining = false;
            self.effects.push_back(Effect::Drained { consumer: key });
        }
    }

    fn share_of(&self, part: ConsumerKey) -> Option<Share> {
        let value = self.consumers.get(part)?;
        let ConsumerRole::Part(part) = &value.role else { return None };
        Some(Share {
            credit: value.credit,
            draining: value.draining,
            is_wanted: part.is_wanted,
            is_dry: part.is_dry,
            changed: false,
        })
    }

    /// A shard has given back what credit it could not use.
    pub(crate) fn part_drained(&mut self, now: Instant, key: ConsumerKey) {
        let Some(part) = self.consumers.get_mut(key) else { return };
        let left = std::mem::take(&mut part.credit);
        part.draining = false;
        let ConsumerRole::Part(part) = &mut part.role else { return };
        // One that has used all of it may have more.
        part.is_dry |= left > 0;
        let front = part.front;
        self.share_credit(now, front);
    }

    /// A shard has something for a consumer that has no credit there.
    pub(crate) fn receiver_waiting(&mut self, now: Instant, key: ConsumerKey, number: Option<u32>) {
        let Some(consumer) = self.consumers.get_mut(key).filter(|consumer| !consumer.closed) else { return };
        // It has credit by now, or will be told again.
        if number.is_some_and(|number| consumer.stored.credit_number() != Some(number)) {
            return;
        }
        let ConsumerRole::Part(part) = &mut consumer.role else { return };
        part.is_wanted = true;
        let front = part.front;
        self.share_credit(now, front);
    }

    /// Takes a part of a front away: its shard does not let it in, or no longer.
    pub(crate) fn consumer_part_closed(&mut self, now: Instant, part: ConsumerKey, reason: CloseReason) {
        let Some(&mut ConsumerPart { front, number, is_leaving, .. }) = self.consumer_part(part) else {
            return;
        };
        if is_leaving {
            return self.finish_leaving_part(part);
        }
        if let Some(place) = self.front_consumer(front).and_then(|front| front.parts.get_mut(number)) {
            *place = None;
        }
        self.remove_consumer(now, part);
        let Some(value) = self.consumers.get(front).filter(|front| !front.closed) else { return };
        let is_alone = value.role.parts().iter().all(Option::is_none);
        let queue = value.address;
        if is_alone || !self.can_wait(front, number, reason) {
            return self.close_consumer(now, front, reason);
        }
        self.retry_at_shards(now, queue);
        self.front_changed(now, front);
    }

    /// A consumer of all shards has left.
    pub(crate) fn detach_front_consumer(&mut self, now: Instant, key: ConsumerKey) {
        let queue = self.consumers.get(key).map(|front| front.address);
        let Some(front) = self.front_consumer(key) else { return };
        let (parts, leaving) = (std::mem::take(&mut front.parts), std::mem::take(&mut front.leaving));
        parts.into_iter().flatten().chain(leaving).for_each(|part| self.remove_consumer(now, part));
        if let Some(spread) = queue.and_then(|queue| self.broker.spreads.get_mut(&queue)) {
            spread.consumers.remove(&key);
        }
    }

    /// Deliveries that a consumer has and has not settled.
    pub(crate) fn outstanding(&self, key: ConsumerKey) -> u64 {
        let Some(consumer) = self.consumers.get(key) else { return 0 };
        let of = |key: &ConsumerKey| self.consumers.get(*key).map_or(0, |part| u64::from(part.outstanding));
        let parts = consumer.role.parts().iter().flatten().chain(consumer.role.leaving());
        u64::from(consumer.outstanding) + parts.map(of).sum::<u64>()
    }
}

#[cfg(test)]
impl Core {
    /// What a front has of each shard, for the words of a failed test.
    pub(crate) fn describe_front(&self, key: ConsumerKey) -> String {
        let Some(front) = self.consumers.get(key) else { return "gone".into() };
        let of = |part: &Option<ConsumerKey>| {
            let Some(value) = part.and_then(|part| self.consumers.get(part)) else { return "none".into() };
            let role = match &value.role {
                ConsumerRole::Part(part) => (part.is_wanted, part.is_dry),
                ConsumerRole::Plain | ConsumerRole::Front(_) => (false, false),
            };
            format!("{} drains {} (wanted, dry) {role:?} at {:?}", value.credit, value.draining, value.stored)
        };
        let parts: Vec<String> = front.role.parts().iter().map(of).collect();
        format!("{} drains {}: {parts:#?}", front.credit, front.draining)
    }
}

/// Whether a consumer shares the queue with nobody. Those who only look do not count.
fn wants_all(options: &ConsumerOptions) -> bool {
    options.exclusive && !options.browse
}

fn spread_turn(core: &Core, queue: AddressKey) -> usize {
    core.broker.spreads.get(&queue).map_or(0, |spread| spread.turn)
}

/// Whether a shard may let a link in later that it does not let in now.
fn may_pass(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::HomeGone | CloseReason::NotFound | CloseReason::AddressDeleted)
}

/// The shard of a hash, of so many. With one shard more, only the hashes change theirs that go to the new one
/// (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm").
fn jump(mut hash: u64, shards: usize) -> usize {
    let (mut shard, mut next) = (0, 0);
    while next < shards as u64 {
        shard = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((shard + 1) << 31) / ((hash >> 33) + 1);
    }
    shard as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shard_more_takes_its_share_of_the_keys_and_moves_no_other() {
        let mut counts = [0_u32; 5];
        let mut moved = 0;
        for key in 0..10_000_u32 {
            let hash = hash_of_bytes(&key.to_le_bytes());
            let (four, five) = (jump(hash, 4), jump(hash, 5));
            assert!(five == four || five == 4, "{four} became {five}");
            moved += u32::from(five == 4);
            counts[five] += 1;
        }
        assert!((1_800..2_200).contains(&moved), "{moved}");
        assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }
}
