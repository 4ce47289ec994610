//! A topic that changes its home, at the home that it comes to: the other side of [`copy`](super::copy).
//!
//! What comes is kept as if it were the topic's own, and nobody sees it: nothing is handed out, nothing runs
//! out, no question is answered from it. An object in the store says that it is a copy. When the address
//! says that this is the home, the copy is the topic. Links may hear of that earlier than this shard: what they
//! say waits until it has heard, too.
//!
//! A copy is complete when it is on disk and every shard that can be reached knows which publications its
//! subscriptions want.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pending;
use super::Stored;
use super::home::{Home, What};
use super::protocol::{
    CopiedSubscription, CopiedVolatile, Destination, GivenBack, Link, Part, Publication, ReceiverOptions,
    Wire,
};
use super::record::{ObjectRecord, Travel, TravelRecord};
use super::topic::Kind;
use crate::consumer::SubscriptionOptions;
use crate::core::Core;
use crate::format::MessageKeys;
use crate::key::HomeKey;
use crate::outcome::Outcome;
use crate::queue::EntryKey;
use crate::settings::ShardId;
use crate::store::{StoreRequest, Targets, Ticket, UnixMillis};

/// The copy of a topic whose home is to be here.
#[derive(Debug, Default)]
pub(crate) struct Arriving {
    /// Where it comes from, and which attempt it is; `None` before the first.
    round: Option<(ShardId, u64)>,
    /// Something was here before, which is not part of the copy and stays.
    is_merged: bool,
    /// Something of it was not kept.
    failed: bool,
    is_complete: bool,
    entries: BTreeMap<u64, (HomeKey, EntryKey)>,
    /// Those that consumers have at the home of before.
    held: BTreeSet<u64>,
    /// Claims of a subscription of which more are to come.
    claims: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Subscriptions that are to begin, or to go on beginning, with what is retained.
    feeding: BTreeMap<HomeKey, (u32, Option<Arc<str>>)>,
    /// Those that are not durable, by what they are called where it comes from.
    volatile: BTreeMap<HomeKey, HomeKey>,
    completing: Option<Completing>,
    /// What links have said that know already that this is the home.
    waiting: VecDeque<(ShardId, Wire)>,
}

/// What has to come before a copy is complete.
#[derive(Debug)]
struct Completing {
    number: u64,
    is_written: bool,
    /// Shards that have not said that they have heard everything.
    unheard: BTreeSet<ShardId>,
}

/// How long subscriptions of which consumers had something at the home of before wait for what those give back
/// because it has not reached their links: it comes before what is here.
const GIVE_BACK: Duration = Duration::from_millis(100);

/// How long subscriptions that end with the links that consume from them wait for those: they ask for the home no
/// longer, and may have heard late of it.
const LINKS_COME: Duration = Duration::from_secs(5);

/// The links that subscriptions wait for which have come with their topic.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    links: BTreeMap<Link, HomeKey>,
    /// Until then; `None` before this is the home.
    until: Option<UnixMillis>,
}

/// Messages of a topic here that consumers have at homes of before.
#[derive(Debug, Default)]
pub(crate) struct HeldElsewhere {
    /// Until then the subscriptions of those that came last stand still.
    until: Option<UnixMillis>,
    /// By where they came from, and what they are called there.
    entries: BTreeMap<(ShardId, u64), (HomeKey, EntryKey)>,
}

impl Core {
    fn arriving(&mut self, topic: HomeKey) -> Option<&mut Arriving> {
        self.broker.homes.get_mut(topic)?.topic_mut()?.arriving.as_deref_mut()
    }

    /// The topic of that name, whether it is served here or not.
    pub(super) fn topic_named(&self, name: &str) -> Option<HomeKey> {
        let home = self.addresses.get(*self.names.get(name)?)?.home?;
        self.broker.homes.get(home).filter(|home| home.queue().is_none()).map(|_| home)
    }

    /// The copy that another home is making of a topic.
    fn arriving_from(&mut self, from: ShardId, name: &str) -> Option<(HomeKey, &mut Arriving)> {
        let topic = self.topic_named(name)?;
        let arriving = self.arriving(topic)?;
        (arriving.round.is_some_and(|(of, _)| of == from)).then_some((topic, arriving))
    }

    // ---- coming and going ---------------------------------------------------------------------------------

    /// The home of a topic is to be here.
    pub(super) fn expect_topic(&mut self, now: Instant, key: HomeKey) {
        let is_merged = self.has_something(key);
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        if topic.arriving.is_none() {
            topic.arriving = Some(Box::new(Arriving { is_merged, ..Arriving::default() }));
        }
        self.broker.arriving.insert(key);
        self.shade(now, key, true);
    }

    /// Hides what a topic holds, or shows it.
    fn shade(&mut self, now: Instant, topic: HomeKey, is_shadow: bool) {
        let Some(home) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) else { return };
        for key in home.subscriptions.clone() {
            if let Some(queue) = self.queue_home(key) {
                queue.is_shadow = is_shadow;
                self.mark_home(now, key);
            }
        }
    }

    /// The home of a topic is here: what has come is the topic from now on.
    pub(super) fn serve_arrived(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let name = home.name.clone();
        let Some(topic) = home.topic_mut() else { return };
        if topic.arriving.is_none() {
            return;
        }
        self.shade(now, key, false);
        self.links_may_come(now, key);
        let Some(arriving) = self.arriving(key) else { return };
        let waiting = std::mem::take(&mut arriving.waiting);
        if arriving.is_complete {
            self.end_arrival(now, key, &name);
        } else {
            // It was not to be the home before everything is here. What still comes is put to the rest.
            arriving.is_merged = true;
            self.delete_object(TravelRecord::key(&name));
        }
        for (from, wire) in waiting {
            self.handle_wire(now, from, wire);
        }
    }

    /// Everything has come, and this is the home.
    fn end_arrival(&mut self, now: Instant, key: HomeKey, name: &str) {
        let unix = self.broker.clock.unix(now);
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        let Some(mut arriving) = topic.arriving.take() else { return };
        self.broker.arriving.remove(&key);
        let held = std::mem::take(&mut arriving.held);
        arriving.entries.retain(|number, _| held.contains(number));
        if let (Some((from, _)), false) = (arriving.round, arriving.entries.is_empty()) {
            let homes: BTreeSet<HomeKey> = arriving.entries.values().map(|(home, _)| *home).collect();
            let until = UnixMillis(unix.0.saturating_add(GIVE_BACK.as_millis() as u64));
            let held = topic.held_elsewhere.get_or_insert_default();
            held.until = Some(until);
            held.entries.extend(arriving.entries.into_iter().map(|(number, of)| ((from, number), of)));
            self.wake_topic_at(key, until);
            for home in homes {
                if let Some(home) = self.queue_home(home) {
                    home.is_shadow = true;
                }
            }
        }
        for (subscription, (filter, after)) in arriving.feeding {
            self.go_on_feeding(now, subscription, filter as usize, after);
        }
        self.delete_object(TravelRecord::key(name));
        if self.broker.homes.get(key).is_some() {
            self.tell_blocked(key);
        }
    }

    /// The home of a topic is not to be here: neither is a copy that does not count.
    pub(super) fn forget_arriving(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let name = home.name.clone();
        if home.topic_mut().is_none_or(|topic| topic.arriving.is_none()) {
            return;
        }
        self.wipe(now, key);
        self.delete_object(TravelRecord::key(&name));
        let arriving = self.broker.homes.get_mut(key).and_then(Home::topic_mut);
        let waiting = arriving.and_then(|topic| topic.arriving.take()).map(|arriving| arriving.waiting);
        self.broker.arriving.remove(&key);
        for (from, wire) in waiting.unwrap_or_default() {
            self.handle_wire(now, from, wire);
        }
    }

    /// Forgets what has come of a copy.
    fn wipe(&mut self, now: Instant, key: HomeKey) {
        let Some(arriving) = self.arriving(key) else { return };
        let (entries, is_merged) = (std::mem::take(&mut arriving.entries), arriving.is_merged);
        let (waiting, volatile) =
            (std::mem::take(&mut arriving.waiting), std::mem::take(&mut arriving.volatile));
        *arriving = Arriving { is_merged, waiting, ..Arriving::default() };
        if is_merged {
            for (home, entry) in entries.into_values() {
                self.discard(now, home, entry);
            }
            for of in volatile.into_values() {
                self.forget_links(key, of);
                self.end_if_unused(now, of);
            }
            return;
        }
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let name = home.name.clone();
        let Some(topic) = home.topic_mut() else { return };
        topic.awaited = None;
        let (subscriptions, retained) = (topic.subscriptions.clone(), topic.retained.take());
        if let Some(retained) = retained {
            self.end_retained(key, &name, *retained);
        }
        for key in subscriptions {
            let Some(home) = self.queue_home(key) else { continue };
            if home.subscription.as_ref().is_some_and(|one| one.kind != Kind::Administered) {
                self.remove_subscription(now, key);
                continue;
            }
            let entries: Vec<EntryKey> = home.queue.entries(None).map(|(entry, _)| entry).collect();
            for entry in entries {
                self.discard(now, key, entry);
            }
        }
    }

    fn discard(&mut self, now: Instant, key: HomeKey, entry: EntryKey) {
        if let Some(removed) = self.queue_home(key).and_then(|home| home.queue.discard(entry)) {
            self.settle_in_store(key, removed);
            self.mark_home(now, key);
        }
    }

    // ---- the copy -------------------------------------------------------------------------------------------

    /// The home of a topic wants to make a copy of it here.
    pub(crate) fn begin_arrival(&mut self, now: Instant, from: ShardId, name: Arc<str>, round: u64) {
        let address = self.names.get(&name).and_then(|key| self.addresses.get(*key));
        let is_wanted = address.is_some_and(|address| {
            let is_here = address.next == Some(self.shard) || address.home_shard == Some(self.shard);
            is_here && address.is_known()
        });
        let topic = self.topic_named(&name).filter(|_| is_wanted);
        if let Some(key) = topic {
            self.wipe(now, key);
            let has_something = self.has_something(key);
            let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
            let serves = topic.serves;
            let is_merged = serves || has_something;
            let arriving = topic.arriving.get_or_insert_default();
            arriving.round = Some((from, round));
            arriving.is_merged |= is_merged;
            let is_merged = arriving.is_merged;
            self.broker.arriving.insert(key);
            if !is_merged {
                self.write_travel(&name, Travel::Arriving, Pending::Delete);
            }
            self.shade(now, key, !serves);
        }
        self.send_wire(from, Wire::CopyReady { topic: name, round, is_ready: topic.is_some() });
    }

    /// Has the store know how far a topic is that changes its home.
    pub(super) fn write_travel(&mut self, name: &str, travel: Travel, pending: Pending) {
        let pending = self.broker.pending.insert(pending);
        self.ask_store(StoreRequest::Put {
            ticket: Ticket(pending.to_bits()),
            key: TravelRecord::key(name),
            value: TravelRecord::value(travel),
            transaction: None,
        });
    }

    /// A durable subscription comes with its topic, or changes.
    pub(crate) fn subscription_arrives(
        &mut self,
        now: Instant,
        from: ShardId,
        topic: &str,
        copied: CopiedSubscription,
    ) {
        let Some((topic, arriving)) = self.arriving_from(from, topic) else { return };
        let claims = arriving.claims.entry(copied.name.clone()).or_default();
        claims.extend(copied.claims.iter().cloned());
        if copied.more_claims {
            return;
        }
        let claims = arriving.claims.remove(&copied.name).unwrap_or_default();
        let restored = self.broker.format.as_ref().map(|format| format.restore(&copied.definition));
        let restored = restored.unwrap_or_default();
        let wanted = SubscriptionOptions {
            name: copied.name.clone(),
            durable: true,
            shared: copied.shared,
            max_consumers: copied.max_consumers,
            definition: copied.definition,
            not_from: restored.not_from,
            filters: Some(copied.filters.into()),
            durable_only: restored.durable_only,
            settings: restored.settings,
            claim: None,
            ends_unused: copied.ends_unclaimed,
        };
        let options = ReceiverOptions {
            browse: false,
            exclusive: false,
            filter: restored.filter,
            not_from: None,
            levels: None,
            subscription: Some(Box::new(wanted)),
            retained: false,
            unreadable: false,
        };
        let Some(key) = self.keep_subscription(now, topic, &options) else {
            return self.arrival_failed(topic);
        };
        if let (Some(arriving), Some(feeding)) = (self.arriving(topic), copied.feeding) {
            arriving.feeding.insert(key, feeding);
        }
        self.set_claims(key, &options, claims);
        self.await_links(now, topic, key, copied.links);
    }

    fn keep_subscription(
        &mut self,
        now: Instant,
        topic: HomeKey,
        options: &ReceiverOptions,
    ) -> Option<HomeKey> {
        let key = self.subscribe(now, topic, options).ok()?;
        let serves = self.broker.homes.get_mut(topic).and_then(Home::topic_mut)?.serves;
        if let Some(home) = self.queue_home(key) {
            home.is_shadow = !serves;
        }
        Some(key)
    }

    /// A subscription that is not durable comes with its topic, or gets more consumers. One that there is no room
    /// for stays away, and what is in it: its consumers hear why when they come.
    pub(crate) fn volatile_arrives(
        &mut self,
        now: Instant,
        from: ShardId,
        topic: &str,
        CopiedVolatile { key: name, options, links, feeding }: CopiedVolatile,
    ) {
        let Some((topic, arriving)) = self.arriving_from(from, topic) else { return };
        let known = arriving.volatile.get(&name).copied();
        let key = match known.filter(|key| self.broker.homes.contains(*key)) {
            Some(key) => key,
            None if options.unreadable => return,
            None => match self.keep_subscription(now, topic, &options) {
                Some(key) => key,
                None => return,
            },
        };
        if let Some(arriving) = self.arriving(topic) {
            arriving.volatile.insert(name, key);
            if let Some(feeding) = feeding {
                arriving.feeding.insert(key, feeding);
            }
        }
        self.await_links(now, topic, key, links);
    }

    /// A subscription waits for links that are to come when this is the home.
    fn await_links(&mut self, now: Instant, topic: HomeKey, key: HomeKey, links: Vec<Link>) {
        let home = self.broker.homes.get_mut(topic).and_then(Home::topic_mut);
        let Some(home) = home.filter(|_| !links.is_empty()) else { return };
        let awaited = home.awaited.get_or_insert_default();
        awaited.links.extend(links.into_iter().map(|link| (link, key)));
        if home.serves {
            self.links_may_come(now, topic);
        }
    }

    /// This is the home from now on: the links that it waits for are on their way.
    fn links_may_come(&mut self, now: Instant, topic: HomeKey) {
        let until = UnixMillis(self.broker.clock.unix(now).0.saturating_add(LINKS_COME.as_millis() as u64));
        let home = self.broker.homes.get_mut(topic).and_then(Home::topic_mut);
        if let Some(awaited) = home.and_then(|topic| topic.awaited.as_mut()) {
            awaited.until = Some(until);
            self.wake_topic_at(topic, until);
        }
    }

    /// The subscription that waits for this link, which comes now. A durable one it finds by its name.
    pub(super) fn take_awaited(&mut self, topic: HomeKey, link: Link) -> Option<HomeKey> {
        let topic = self.broker.homes.get_mut(topic)?.topic_mut()?;
        let awaited = topic.awaited.as_mut()?;
        let key = awaited.links.remove(&link);
        if awaited.links.is_empty() {
            topic.awaited = None;
        }
        let subscription = self.broker.homes.get(key?)?.queue()?.subscription.as_ref()?;
        key.filter(|_| subscription.kind == Kind::Volatile)
    }

    /// Links that are to come, and have not, to a subscription that has come with its topic.
    pub(super) fn awaited_at(&self, topic: HomeKey, key: HomeKey) -> Vec<Link> {
        let awaited = match self.broker.homes.get(topic).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.awaited.as_ref(),
            _ => None,
        };
        let links = awaited.into_iter().flat_map(|awaited| &awaited.links);
        links.filter(|(_, of)| **of == key).map(|(link, _)| *link).collect()
    }

    /// A subscription waits for nobody any more.
    fn forget_links(&mut self, topic: HomeKey, key: HomeKey) {
        let home = self.broker.homes.get_mut(topic).and_then(Home::topic_mut);
        if let Some(awaited) = home.and_then(|topic| topic.awaited.as_mut()) {
            awaited.links.retain(|_, of| *of != key);
        }
    }

    /// Nobody waits any more for links that have not come.
    fn end_awaited(&mut self, now: Instant, topic: HomeKey, is_over: impl Fn(ShardId) -> bool) {
        let Some(home) = self.broker.homes.get_mut(topic).and_then(Home::topic_mut) else { return };
        let Some(awaited) = &mut home.awaited else { return };
        let mut ended = BTreeSet::new();
        awaited.links.retain(|(shard, _), key| {
            let is_over = is_over(*shard);
            if is_over {
                ended.insert(*key);
            }
            !is_over
        });
        if awaited.links.is_empty() {
            home.awaited = None;
        }
        for key in ended {
            self.end_if_unused(now, key);
        }
    }

    /// Ends a subscription that ends when nobody consumes from it, if nobody does, or is about to.
    pub(super) fn end_if_unused(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key).filter(|home| home.receivers.is_empty()) else { return };
        let Some(subscription) = home.subscription.as_ref().filter(|one| one.ends_unused()) else { return };
        let topic = subscription.topic;
        if self.awaited_at(topic, key).is_empty() {
            self.remove_subscription(now, key);
        }
    }

    /// Has a subscription be claimed by these and by nobody else.
    fn set_claims(&mut self, key: HomeKey, options: &ReceiverOptions, claims: BTreeSet<Arc<str>>) {
        let Some(subscription) = self.queue_home(key).and_then(|home| home.subscription.as_ref()) else {
            return;
        };
        let topic = subscription.topic;
        let before = subscription.claims.clone();
        let is_merged = self.arriving(topic).is_some_and(|arriving| arriving.is_merged);
        for claim in before.difference(&claims).filter(|_| !is_merged) {
            self.drop_claim(key, claim);
        }
        let Some(wanted) = options.subscription.as_deref() else { return };
        for claim in claims.difference(&before) {
            let wanted = SubscriptionOptions { claim: Some(claim.clone()), ..wanted.clone() };
            if self.claim(key, &wanted).is_err() {
                return self.arrival_failed(topic);
            }
        }
    }

    /// Something of a copy was not kept: it is not one.
    pub(super) fn arrival_failed(&mut self, topic: HomeKey) {
        if let Some(arriving) = self.arriving(topic) {
            arriving.failed = true;
        }
    }

    /// A subscription has ended at the home of its topic.
    pub(crate) fn arrived_ends(&mut self, now: Instant, from: ShardId, topic: &str, part: &Part) {
        let Some(key) = self.topic_named(topic) else { return };
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        let round = topic.arriving.as_ref().and_then(|arriving| arriving.round);
        let is_told = topic.serves || round.is_some_and(|(of, _)| of == from);
        let subscription = match part {
            Part::Durable(name) => topic.named.get(&(true, name.clone())).copied(),
            Part::Volatile(name) => topic.arriving.as_mut().and_then(|one| one.volatile.remove(name)),
            Part::Administered(_) | Part::Retained => None,
        };
        if let Some(subscription) = subscription.filter(|_| is_told)
            && self.queue_home(subscription).is_some_and(|home| home.receivers.is_empty())
        {
            self.remove_subscription(now, subscription);
        }
    }

    /// A message of a topic's copy has come.
    pub(crate) fn take_copy(
        &mut self,
        now: Instant,
        from: ShardId,
        topic: &str,
        part: &Part,
        number: u64,
        mut publication: Publication,
    ) {
        let source = publication.source;
        let Some((key, _)) = self.arriving_from(from, topic) else {
            return self.answer(source, Outcome::Released);
        };
        publication.keep();
        let queue = match part {
            Part::Retained => return self.retain_copy(now, key, publication),
            Part::Durable(name) => {
                let home = self.broker.homes.get_mut(key).and_then(Home::topic_mut);
                home.and_then(|topic| topic.named.get(&(true, name.clone())).copied())
            }
            Part::Administered(name) => self.administered(key, name),
            Part::Volatile(name) => match self.volatile(key, *name) {
                Some(queue) => Some(queue),
                None => return self.answer(source, Outcome::Accepted),
            },
        };
        let Some(queue) = queue else { return self.answer(source, Outcome::Released) };
        let keys = self.keys_for(queue, &publication);
        match self.place_in_queue(now, queue, &publication, &keys) {
            Ok((entry, id)) => {
                if let Some(arriving) = self.arriving(key) {
                    arriving.entries.insert(number, (queue, entry));
                }
                match id {
                    Some(id) => {
                        let entries = Stored::One(queue, entry);
                        self.append_to_store(publication, &keys, Targets::One(id), entries, None);
                    }
                    None => self.answer(source, Outcome::Accepted),
                }
            }
            Err(_) => self.answer(source, Outcome::Released),
        }
    }

    /// The queue of a subscription that is not durable; `None` when there was no room for it.
    fn volatile(&mut self, topic: HomeKey, name: HomeKey) -> Option<HomeKey> {
        let key = *self.arriving(topic)?.volatile.get(&name)?;
        self.broker.homes.contains(key).then_some(key)
    }

    /// The queue of a subscription that is an address of its own.
    fn administered(&self, topic: HomeKey, name: &str) -> Option<HomeKey> {
        let home = self.addresses.get(*self.names.get(name)?)?.home?;
        let subscription = self.broker.homes.get(home)?.queue()?.subscription.as_ref()?;
        (subscription.topic == topic).then_some(home)
    }

    fn retain_copy(&mut self, now: Instant, topic: HomeKey, publication: Publication) {
        match self.plan_change(now, topic, &publication) {
            Err(outcome) => self.answer(publication.source, outcome),
            Ok(None) => self.answer(publication.source, Outcome::Accepted),
            Ok(Some(change)) => {
                let (queue, entries) = (Targets::One(change.queue), Stored::Many(Box::default()));
                self.append_to_store(publication, &MessageKeys::default(), queue, entries, Some(change));
            }
        }
    }

    // ---- entries that change -------------------------------------------------------------------------------

    /// Messages are gone at the home of before.
    pub(crate) fn arrived_gone(&mut self, now: Instant, from: ShardId, topic: &str, numbers: &[u64]) {
        for number in numbers {
            if let Some((home, entry)) = self.take_number(from, topic, *number) {
                self.discard(now, home, entry);
            }
        }
        self.end_held(now, topic);
    }

    /// Consumers have these messages at the home of before.
    pub(crate) fn arrived_held(&mut self, from: ShardId, topic: &str, numbers: &[u64]) {
        let Some((_, arriving)) = self.arriving_from(from, topic) else { return };
        let mut entries = Vec::new();
        for number in numbers {
            if let Some(entry) = arriving.entries.get(number).copied() {
                arriving.held.insert(*number);
                entries.push(entry);
            }
        }
        for (home, entry) in entries {
            if let Some(home) = self.queue_home(home) {
                home.queue.withhold(entry);
            }
        }
    }

    /// Messages have been given back, or are not what they were when they were copied.
    pub(crate) fn arrived_back(&mut self, now: Instant, from: ShardId, topic: &str, entries: Vec<GivenBack>) {
        for GivenBack { number, delivery_count, annotations } in entries {
            let Some((key, entry)) = self.number(from, topic, number) else { continue };
            let Some(home) = self.queue_home(key) else { continue };
            home.queue.delivered_before(entry, delivery_count);
            if let Some(annotations) = annotations {
                home.queue.annotate(entry, annotations);
            }
            self.update_in_store(key, entry);
            self.show_again(now, key, entry);
            match self.arriving_from(from, topic) {
                Some((_, arriving)) if arriving.entries.contains_key(&number) => {
                    arriving.held.remove(&number);
                }
                _ => {
                    self.take_number(from, topic, number);
                }
            }
        }
        self.end_held(now, topic);
    }

    /// Nobody has an entry elsewhere any more.
    fn show_again(&mut self, now: Instant, key: HomeKey, entry: EntryKey) {
        let unix = self.broker.clock.unix(now);
        let Some(home) = self.queue_home(key) else { return };
        if !home.queue.put_back(unix, entry) {
            self.leave(now, key, entry, crate::DeadLetterReason::Expired, None);
        }
        self.mark_home(now, key);
    }

    /// The entry that the home of before calls so.
    fn number(&mut self, from: ShardId, topic: &str, number: u64) -> Option<(HomeKey, EntryKey)> {
        let key = self.topic_named(topic)?;
        let topic = self.broker.homes.get_mut(key)?.topic_mut()?;
        let arriving = topic.arriving.as_ref().filter(|one| one.round.is_some_and(|(of, _)| of == from));
        let found = arriving.and_then(|arriving| arriving.entries.get(&number));
        let held = topic.held_elsewhere.as_ref();
        found.or_else(|| held?.entries.get(&(from, number))).copied()
    }

    fn take_number(&mut self, from: ShardId, topic: &str, number: u64) -> Option<(HomeKey, EntryKey)> {
        // Two homes may have given the same number.
        if let Some((_, arriving)) = self.arriving_from(from, topic)
            && let Some(found) = arriving.entries.remove(&number)
        {
            arriving.held.remove(&number);
            return Some(found);
        }
        let key = self.topic_named(topic)?;
        let topic = self.broker.homes.get_mut(key)?.topic_mut()?;
        topic.held_elsewhere.as_mut()?.entries.remove(&(from, number))
    }

    /// Nobody has anything at the home of before any more.
    fn end_held(&mut self, now: Instant, topic: &str) {
        let Some(key) = self.topic_named(topic) else { return };
        if let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut)
            && topic.held_elsewhere.as_ref().is_some_and(|held| held.entries.is_empty())
        {
            topic.held_elsewhere = None;
            // A copy that is being made here goes on being one.
            if topic.serves {
                self.shade(now, key, false);
            }
        }
    }

    /// Lets subscriptions go on that have waited for what consumers give back, and ends those that have waited for
    /// links.
    pub(super) fn go_on_without(&mut self, now: Instant, key: HomeKey) {
        let unix = self.broker.clock.unix(now);
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        let awaited = topic.awaited.as_ref().filter(|_| topic.serves);
        if awaited.and_then(|awaited| awaited.until).is_some_and(|until| until <= unix) {
            self.end_awaited(now, key, |_| true);
        }
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        let Some(held) = topic.held_elsewhere.as_mut().filter(|_| topic.serves) else { return };
        if held.until.take_if(|until| *until <= unix).is_some() {
            self.shade(now, key, false);
        }
    }

    // ---- the end --------------------------------------------------------------------------------------------

    /// Everything has been sent that belongs to a copy.
    pub(crate) fn complete_arrival(&mut self, now: Instant, from: ShardId, name: &Arc<str>, round: u64) {
        let peers: Vec<ShardId> = self.peers.shards().collect();
        self.broker.last_end += 1;
        let number = self.broker.last_end;
        let Some((topic, arriving)) = self.arriving_from(from, name) else { return };
        if arriving.round != Some((from, round)) {
            return;
        }
        let unheard = peers.iter().copied().collect();
        arriving.completing = Some(Completing { number, is_written: false, unheard });
        for peer in peers {
            self.send_wire(peer, Wire::AskHeard { number });
        }
        // The store answers in order: what it was asked before is kept by then, or is known to have failed.
        let (topic, is_merged) = (topic, self.arriving(topic).is_some_and(|arriving| arriving.is_merged));
        if is_merged {
            // What was here before counts whatever becomes of the copy.
            let key = TravelRecord::key(name);
            let pending = self.broker.pending.insert(Pending::PutArriving { topic, number });
            let ticket = Ticket(pending.to_bits());
            self.ask_store(StoreRequest::Delete { ticket, key, transaction: None });
        } else {
            self.write_travel(name, Travel::Arrived, Pending::PutArriving { topic, number });
        }
        self.completed_if_all(now, topic);
    }

    /// The store has written down that a copy is complete, or has not.
    pub(super) fn arriving_written(&mut self, now: Instant, topic: HomeKey, number: u64, is_written: bool) {
        let Some(arriving) = self.arriving(topic) else { return };
        let Some(completing) = arriving.completing.as_mut().filter(|one| one.number == number) else {
            return;
        };
        completing.is_written = true;
        arriving.failed |= !is_written;
        self.completed_if_all(now, topic);
    }

    /// A shard has heard everything that this one had said before it asked.
    pub(crate) fn heard(&mut self, now: Instant, from: ShardId, number: u64) {
        self.has_been_sent_on(now, from, number);
        for topic in self.broker.arriving.clone() {
            if let Some(completing) = self.arriving(topic).and_then(|arriving| arriving.completing.as_mut())
                && completing.number == number
            {
                completing.unheard.remove(&from);
                self.completed_if_all(now, topic);
            }
        }
    }

    fn completed_if_all(&mut self, now: Instant, topic: HomeKey) {
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let name = home.name.clone();
        let Some(value) = home.topic_mut() else { return };
        let serves = value.serves;
        let Some(arriving) = value.arriving.as_deref_mut() else { return };
        let is_over = |completing: &Completing| completing.is_written && completing.unheard.is_empty();
        if !arriving.completing.as_ref().is_some_and(is_over) {
            return;
        }
        arriving.completing = None;
        let Some((from, round)) = arriving.round else { return };
        let is_complete = !arriving.failed;
        arriving.is_complete = is_complete;
        if serves && is_complete {
            self.end_arrival(now, topic, &name);
        }
        self.send_wire(from, Wire::CopyCompleted { topic: name, round, is_complete });
    }

    /// A shard is gone: it need not hear of anything, and nobody there has anything of a topic here.
    pub(crate) fn arrivals_lost(&mut self, now: Instant, peer: ShardId) {
        let topics: Vec<HomeKey> = self.live.topics.iter().copied().collect();
        for key in topics {
            self.end_awaited(now, key, |shard| shard == peer);
            let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { continue };
            let mut due = Vec::new();
            if let Some(held) = &mut topic.held_elsewhere {
                let of_peer = (peer, 0)..=(peer, u64::MAX);
                due.extend(held.entries.range(of_peer).map(|(_, of)| *of));
                held.entries.retain(|(from, _), _| *from != peer);
            }
            let (serves, was_waiting) = (topic.serves, !due.is_empty());
            topic.held_elsewhere.take_if(|held| held.entries.is_empty());
            if let Some(arriving) = &mut topic.arriving {
                arriving.waiting.retain(|(from, _)| *from != peer);
                if arriving.round.is_some_and(|(from, _)| from == peer) {
                    // When it comes back it begins anew; if not, and this is the home, they are due here.
                    let held = std::mem::take(&mut arriving.held);
                    due.extend(held.iter().filter_map(|number| arriving.entries.get(number).copied()));
                }
                if let Some(completing) = &mut arriving.completing {
                    completing.unheard.remove(&peer);
                }
            }
            for (home, entry) in due {
                self.show_again(now, home, entry);
            }
            if serves && was_waiting {
                self.shade(now, key, false);
            }
            self.completed_if_all(now, key);
        }
    }

    // ---- links that know it earlier ------------------------------------------------------------------------

    /// The topic that a link speaks to as its home, which this shard is to be and has not heard yet that it is:
    /// what the link says waits until then.
    pub(crate) fn arriving_for(&self, wire: &Wire) -> Option<HomeKey> {
        if self.broker.arriving.is_empty() {
            return None;
        }
        match wire {
            Wire::AddSender { address, .. }
            | Wire::AddReceiver { address, .. }
            | Wire::Publish { to: Destination::Address(address), .. } => self.arrived_with(address),
            Wire::AskRetained { topic, .. } | Wire::EndDurable { topic, .. } => self.arrived_with(topic),
            Wire::Prepare { posts, .. } => posts.iter().find_map(|(address, _)| self.arrived_with(address)),
            _ => None,
        }
    }

    /// The topic with that address, or with a subscription of that address, which has come here as a whole and is
    /// not served yet.
    fn arrived_with(&self, address: &str) -> Option<HomeKey> {
        let name = address.split_once("::").map_or(address, |(topic, _)| topic);
        let key = self.topic_named(name)?;
        match self.broker.homes.get(key).map(|home| &home.what) {
            Some(What::Topic(topic)) if !topic.serves => {
                topic.arriving.as_ref().filter(|arriving| arriving.is_complete).map(|_| key)
            }
            _ => None,
        }
    }

    /// A topic is no more that was to have its home here: what links have said to it is answered.
    pub(super) fn end_arriving(&mut self, now: Instant, arriving: Arriving) {
        for (from, wire) in arriving.waiting {
            self.handle_wire(now, from, wire);
        }
    }

    pub(crate) fn keep_for_arriving(&mut self, topic: HomeKey, from: ShardId, wire: Wire) {
        if let Some(arriving) = self.arriving(topic) {
            arriving.waiting.push_back((from, wire));
        }
    }

    // ---- after a restart ------------------------------------------------------------------------------------

    /// Everything is there that the store has: what of it is a copy that does not count is forgotten.
    pub(super) fn arrivals_recovered(&mut self, now: Instant) {
        for record in std::mem::take(&mut self.broker.recovered_travels) {
            match record.travel {
                Travel::Leaving => self.left_before_restart(now, &record.topic),
                travel => self.arrived_before_restart(now, &record.topic, travel == Travel::Arrived),
            }
        }
        self.broker.recovered_strays.clear();
        // Without a record nothing of it is a copy.
        for key in self.broker.arriving.clone() {
            let has_something = self.has_something(key);
            if let Some(arriving) = self.arriving(key).filter(|arriving| !arriving.is_complete) {
                arriving.is_merged |= has_something;
            }
        }
    }

    fn arrived_before_restart(&mut self, now: Instant, name: &str, is_complete: bool) {
        let key = self.topic_named(name);
        let serves = key.is_none_or(|key| self.is_served(key));
        let Some(key) = key.filter(|_| !serves) else {
            self.delete_object(TravelRecord::key(name));
            return;
        };
        let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut) else { return };
        let arriving = topic.arriving.get_or_insert_default();
        (arriving.is_merged, arriving.is_complete) = (false, is_complete);
        self.broker.arriving.insert(key);
        if !is_complete {
            self.wipe(now, key);
        }
        self.shade(now, key, true);
    }

    /// The next home of a topic had everything: what is here counts only if the address still says that this is
    /// its home.
    fn left_before_restart(&mut self, now: Instant, name: &str) {
        let key = self.topic_named(name);
        self.delete_object(TravelRecord::key(name));
        if key.is_some_and(|key| self.is_served(key)) {
            return;
        }
        if let Some(arriving) = key.and_then(|key| self.arriving(key)) {
            arriving.is_merged = false;
        }
        if let Some(key) = key {
            self.wipe(now, key);
        }
        for (record, object) in std::mem::take(&mut self.broker.recovered_strays) {
            if record.address() != name {
                self.broker.recovered_strays.push((record, object));
                continue;
            }
            self.delete_object(object);
            if let (ObjectRecord::Subscription(_) | ObjectRecord::Retained(_), Some(queue)) =
                (&record, record.queue())
            {
                self.ask_store(StoreRequest::Forget { queue });
            }
        }
        let prefix = format!("{name}::");
        let names = self.names.range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded));
        let names = names.take_while(|(name, _)| name.starts_with(&prefix)).map(|(_, key)| *key);
        let homes = names.filter_map(|key| self.addresses.get(key)?.home);
        for key in homes.collect::<Vec<_>>() {
            self.discard_unheld(now, key);
        }
    }

    /// Whether a topic here holds anything that is kept.
    fn has_something(&self, topic: HomeKey) -> bool {
        let Some(What::Topic(topic)) = self.broker.homes.get(topic).map(|home| &home.what) else {
            return false;
        };
        let holds = |key: &HomeKey| {
            let queue = self.broker.homes.get(*key).and_then(Home::queue);
            queue.is_some_and(|queue| queue.queue.messages() > 0)
        };
        let has_durable = topic.named.keys().any(|(is_durable, _)| *is_durable);
        has_durable || topic.retained.is_some() || topic.subscriptions.iter().any(holds)
    }
}
