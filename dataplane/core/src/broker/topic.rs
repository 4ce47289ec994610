//! Topics and their subscriptions.
//!
//! A subscription is a queue at the home of its topic. A message for a topic is put into the queue of
//! every subscription that wants it, as one body and, when it has to be kept, as one message in the store
//! with many targets. Its producer learns `Accepted` when it is stored for every durable subscription; at
//! once when none of them wants it.
//!
//! | subscription | ends | keeps durable messages |
//! |---|---|---|
//! | without a name | with its link | in memory |
//! | with a name, volatile | with its last link | in memory |
//! | with a name, durable | with `unsubscribe` | in the store |
//! | an address (`topic::name`) | with its address | in the store |
//!
//! A subscription that is full hurts nobody else: what it has no room for it does not get, and that is
//! counted. Only one whose policy is to block holds the producers of the topic back. Volatile ones have
//! room for `max_undelivered` messages and the topic's overload policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Stored;
use super::arriving::{Arriving, Awaited, HeldElsewhere};
use super::copy::Copying;
use super::home::{Home, QueueHome, What};
use super::live::Wanted;
use super::protocol::{Publication, ReceiverOptions, Wire};
use super::record::SubscriptionRecord;
use super::retained::Retained;
use crate::condition;
use crate::core::Core;
use crate::delivery::Retain;
use crate::effect::{CloseReason, Refused};
use crate::format::{Filter, MessageKeys};
use crate::key::{AddressKey, HomeKey, ReceiverKey};
use crate::outcome::Outcome;
use crate::queue::{EntryKey, NotTaken};
use crate::settings::{AddressSettings, OnFull, Overload, QueueSettings, SubscriptionSettings, home};
use crate::space::is_catch_all;
use crate::statistics::QueueStatistics;
use crate::stock::Whose;
use crate::store::{QueueId, Targets};
use crate::topic::TopicTree;

/// Set in the ids of queues that the core names itself.
const OWN_ID: u64 = 1 << 63;

/// A topic at its home.
#[derive(Debug)]
pub(crate) struct TopicHome {
    pub(super) tree: TopicTree<HomeKey>,
    /// Subscriptions with a name: volatile and durable ones have names of their own.
    pub(super) named: BTreeMap<(bool, Arc<str>), HomeKey>,
    /// Every subscription.
    pub(crate) subscriptions: BTreeSet<HomeKey>,
    /// Their filters, as every shard knows them.
    pub(super) wanted: Wanted,
    /// Subscriptions with several filters, which a name may match more than once.
    pub(super) many: u32,
    /// What it retains for subscribers that come later.
    pub(super) retained: Option<Box<Retained>>,
    /// How durable subscriptions keep messages.
    pub(super) durable: Arc<QueueSettings>,
    /// How the others do.
    pub(super) volatile: Arc<QueueSettings>,
    pub(super) overload: Overload,
    /// Subscriptions for which producers have to wait.
    pub(crate) blocked: u32,
    /// This is its home.
    pub(super) serves: bool,
    /// It is to have another home.
    pub(super) copying: Option<Box<Copying>>,
    /// This is to be its home.
    pub(super) arriving: Option<Box<Arriving>>,
    pub(super) held_elsewhere: Option<Box<HeldElsewhere>>,
    /// Links that consume from subscriptions which have come with it and end with their links, until these come, too.
    pub(super) awaited: Option<Box<Awaited>>,
    /// Subscriptions that have left with it, of which consumers still have something.
    pub(super) tails: u32,
    pub(super) enqueued: u64,
    /// Messages that no subscription wanted.
    pub(super) unwanted: u64,
}

/// What makes a queue a subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: HomeKey,
    /// The topic's address.
    pub(super) topic_name: Arc<str>,
    pub(super) kind: Kind,
    /// `None` for one without.
    pub(super) name: Option<Arc<str>>,
    /// The names that it gets.
    pub(super) filters: Filters,
    pub(super) filter: Option<Arc<dyn Filter>>,
    pub(super) not_from: Option<u64>,
    pub(super) durable_only: bool,
    pub(super) shared: bool,
    pub(crate) max_consumers: u32,
    pub(super) definition: Bytes,
    /// The store has a record of it.
    pub(super) written: bool,
    /// The record is not what it is now.
    pub(super) stale: bool,
    /// How it keeps messages; `None`: as its topic says.
    pub(super) settings: Option<Arc<QueueSettings>>,
    /// It ends when nobody consumes from it.
    pub(super) ending: bool,
    /// It ends when nobody consumes from it and nobody claims it.
    pub(super) ends_unclaimed: bool,
    pub(super) claims: BTreeSet<Arc<str>>,
}

/// The names that a subscription gets.
pub(crate) type Filters = Arc<[Arc<str>]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Volatile,
    Durable,
    Administered,
}

impl Subscription {
    /// Whether it ends when nobody consumes from it.
    pub(crate) fn ends_unused(&self) -> bool {
        self.ending || self.kind == Kind::Volatile || (self.ends_unclaimed && self.claims.is_empty())
    }

    fn key(&self) -> Option<(bool, Arc<str>)> {
        let name = self.name.clone().filter(|_| self.kind != Kind::Administered)?;
        Some((self.kind == Kind::Durable, name))
    }
}

impl TopicHome {
    fn new(settings: &AddressSettings) -> Self {
        let durable = settings.queue.clone().unwrap_or_default();
        let volatile = volatile_settings(settings, &durable);
        Self {
            tree: TopicTree::default(),
            named: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            wanted: Wanted::default(),
            many: 0,
            retained: None,
            durable,
            volatile,
            overload: settings.overload,
            blocked: 0,
            serves: false,
            copying: None,
            arriving: None,
            held_elsewhere: None,
            awaited: None,
            tails: 0,
            enqueued: 0,
            unwanted: 0,
        }
    }
}

/// How a volatile subscription keeps messages.
fn volatile_settings(settings: &AddressSettings, durable: &QueueSettings) -> Arc<QueueSettings> {
    Arc::new(QueueSettings {
        max_messages: u64::from(settings.max_undelivered.max(1)),
        on_full: match settings.overload {
            Overload::Block => OnFull::Block,
            Overload::Drop => OnFull::DropOldest,
            // The consumer is closed when a message finds no room.
            Overload::Disconnect => OnFull::Reject,
        },
        ..durable.clone()
    })
}

impl Core {
    // ---- addresses ----------------------------------------------------------------------------

    /// Makes a stored address what its settings say, at its home.
    pub(crate) fn set_home(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get_mut(key) else { return };
        self.broker.clock.start(now);
        if address.settings.kind == crate::AddressKind::Topic {
            self.broker.topics.insert(address.name.clone());
        }
        // A queue that was at home here once, on this shard if it holds anything.
        let was_here = address.settings.id.is_some() && home(&address.name, self.shards) == self.shard;
        let here = Some(self.shard);
        let is_here = address.home_shard == here || address.entrance == here || address.next == here;
        if !is_here && !was_here {
            return;
        }
        let (name, settings, existing) = (address.name.clone(), address.settings.clone(), address.home);
        match existing {
            Some(home) => self.change_home(now, home, &settings),
            None if settings.kind == crate::AddressKind::Topic => {
                let topic = What::Topic(Box::new(TopicHome::new(&settings)));
                let home = self.insert_home(Home::new(name.clone(), Some(key), topic));
                self.set_address_home(key, Some(home));
                self.live.topics.insert(home);
                self.adopt_subscriptions(now, &name);
            }
            None => {
                let queue = QueueHome::new(settings.queue.clone().unwrap_or_default(), settings.id);
                let home = Home::new(name, Some(key), What::Queue(Box::new(queue)));
                let home = self.insert_home(home);
                self.set_address_home(key, Some(home));
                if let Some(id) = settings.id {
                    self.broker.by_id.insert(id, home);
                }
                if let Some(subscription) = &settings.subscription {
                    self.join_topic(now, home, subscription);
                }
            }
        }
    }

    fn set_address_home(&mut self, key: AddressKey, home: Option<HomeKey>) {
        if let Some(address) = self.addresses.get_mut(key) {
            address.home = home;
        }
    }

    fn change_home(&mut self, now: Instant, key: HomeKey, settings: &AddressSettings) {
        let queue_settings = settings.queue.clone().unwrap_or_default();
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        match &mut home.what {
            What::Queue(queue) => {
                queue.queue.set_settings(queue_settings);
                let before = queue.subscription.take();
                if let Some(before) = &before {
                    self.unlist_subscription(key, before);
                }
                if let Some(subscription) = &settings.subscription {
                    self.join_topic(now, key, subscription);
                }
                self.mark_home(now, key);
            }
            What::Topic(topic) => {
                topic.volatile = volatile_settings(settings, &queue_settings);
                topic.durable = queue_settings;
                topic.overload = settings.overload;
                let subscriptions = topic.subscriptions.clone();
                let (durable, volatile) = (topic.durable.clone(), topic.volatile.clone());
                for one in subscriptions {
                    let Some(queue) = self.queue_home(one) else { continue };
                    let shared = queue.subscription.as_ref().filter(|one| one.settings.is_none());
                    match shared.map(|subscription| subscription.kind) {
                        Some(Kind::Durable) => queue.queue.set_settings(durable.clone()),
                        Some(Kind::Volatile) => queue.queue.set_settings(volatile.clone()),
                        Some(Kind::Administered) | None => {}
                    }
                    self.mark_home(now, one);
                }
            }
        }
    }

    /// A new topic finds the subscriptions that were created before it.
    fn adopt_subscriptions(&mut self, now: Instant, topic: &Arc<str>) {
        let prefix: Arc<str> = format!("{topic}::").into();
        let waiting: Vec<AddressKey> = self
            .names
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&*prefix))
            .map(|(_, key)| *key)
            .collect();
        for key in waiting {
            let Some(address) = self.addresses.get(key) else { continue };
            if let (Some(home), Some(subscription)) = (address.home, address.settings.subscription.clone()) {
                self.join_topic(now, home, &subscription);
            }
        }
    }

    /// Makes a queue a subscription of its topic, if that is there.
    fn join_topic(&mut self, _now: Instant, key: HomeKey, settings: &SubscriptionSettings) {
        let topic = self
            .names
            .get(&settings.topic)
            .and_then(|address| self.addresses.get(*address))
            .filter(|address| address.settings.kind == crate::AddressKind::Topic)
            // What is left of one that has another home now is no topic.
            .filter(|address| [address.home_shard, address.next].contains(&Some(self.shard)))
            .and_then(|address| address.home);
        let Some(topic) = topic else { return };
        let all = || everything(&settings.topic);
        let Some(home) = self.broker.homes.get_mut(key) else { return };
        let name = home.name.split_once("::").map(|(_, name)| name.into());
        let subscription = Subscription {
            topic,
            topic_name: settings.topic.clone(),
            kind: Kind::Administered,
            name,
            filters: Arc::new([settings.levels.clone().unwrap_or_else(all)]),
            filter: settings.filter.clone(),
            not_from: None,
            durable_only: false,
            shared: true,
            max_consumers: 0,
            definition: Bytes::new(),
            written: false,
            stale: false,
            settings: None,
            ending: false,
            ends_unclaimed: false,
            claims: BTreeSet::new(),
        };
        self.list_subscription(key, subscription);
    }

    fn list_subscription(&mut self, key: HomeKey, subscription: Subscription) {
        let Some(topic) = self.broker.homes.get_mut(subscription.topic).and_then(Home::topic_mut) else {
            return;
        };
        let topic_is_shadow = topic.arriving.is_some() && !topic.serves;
        topic.subscriptions.insert(key);
        topic.many += u32::from(subscription.filters.len() > 1);
        if let Some(name) = subscription.key() {
            topic.named.insert(name, key);
        }
        for filter in subscription.filters.iter() {
            self.list_filter(key, &subscription, filter);
        }
        let is_shadow = topic_is_shadow;
        if let Some(home) = self.queue_home(key) {
            home.subscription = Some(Box::new(subscription));
            home.is_shadow = is_shadow;
        }
        self.copy_subscription_anew(key);
    }

    /// Lets a subscription have what one of its filters matches.
    pub(super) fn list_filter(&mut self, key: HomeKey, subscription: &Subscription, filter: &Arc<str>) {
        let Some(topic) = self.broker.homes.get_mut(subscription.topic).and_then(Home::topic_mut) else {
            return;
        };
        // Checked before it came here; one that is wrong matches nothing.
        if topic.tree.insert(filter, key) == Ok(true) {
            self.note_filter(subscription.topic, filter, subscription.durable_only);
        }
    }

    pub(super) fn unlist_filter(&mut self, key: HomeKey, subscription: &Subscription, filter: &Arc<str>) {
        let Some(topic) = self.broker.homes.get_mut(subscription.topic).and_then(Home::topic_mut) else {
            return;
        };
        if topic.tree.remove(filter, &key).is_some() {
            self.drop_filter(subscription.topic, filter, subscription.durable_only);
        }
    }

    /// Takes a subscription out of its topic.
    pub(crate) fn unlist_subscription(&mut self, key: HomeKey, subscription: &Subscription) {
        let Some(topic) = self.broker.homes.get_mut(subscription.topic).and_then(Home::topic_mut) else {
            return;
        };
        if topic.subscriptions.remove(&key) {
            topic.many -= u32::from(subscription.filters.len() > 1);
        }
        if let Some(name) = subscription.key() {
            topic.named.remove(&name);
        }
        for filter in subscription.filters.iter() {
            self.unlist_filter(key, subscription, filter);
        }
    }

    /// A topic is no more, nor are the subscriptions that links made of it.
    pub(crate) fn end_topic(&mut self, now: Instant, topic: TopicHome) {
        for key in topic.subscriptions {
            let Some(home) = self.queue_home(key) else { continue };
            let Some(subscription) = home.subscription.take() else { continue };
            if subscription.kind == Kind::Administered {
                continue;
            }
            if subscription.kind == Kind::Durable {
                self.delete_records(&subscription);
            }
            self.broker.subscriptions = self.broker.subscriptions.saturating_sub(1);
            self.remove_home(now, key);
        }
    }

    // ---- subscribing --------------------------------------------------------------------------------

    /// The subscription that a consumer of a topic asks for; made, if there is none.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        topic_key: HomeKey,
        options: &ReceiverOptions,
    ) -> Result<HomeKey, CloseReason> {
        let Some(home) = self.broker.homes.get_mut(topic_key) else { return Err(CloseReason::NotFound) };
        let topic_name = home.name.clone();
        let address = home.address;
        let Some(topic) = home.topic_mut() else { return Err(CloseReason::NotFound) };
        let levels = options.levels.clone().unwrap_or_else(|| topic_name.clone());
        let wanted = options.subscription.as_deref();
        let filters = wanted.and_then(|wanted| wanted.filters.as_ref());
        let filters = filters.map_or_else(|| Arc::new([levels]) as Filters, in_order);
        if let Some(wanted) = wanted
            && let Some(existing) = topic.named.get(&(wanted.durable, wanted.name.clone())).copied()
        {
            match self.resume_subscription(existing, wanted, &filters)? {
                true => {
                    self.take_over(existing, wanted, options, filters);
                    self.claim(existing, wanted)?;
                    return Ok(existing);
                }
                // It gets something else than what is wanted now, and nobody uses it.
                false => self.remove_subscription(now, existing),
            }
        }
        self.check_subscriptions(address, topic_key)?;
        let is_durable = wanted.is_some_and(|wanted| wanted.durable);
        let shared = wanted.is_some_and(|wanted| wanted.shared);
        let subscription = Subscription {
            topic: topic_key,
            topic_name,
            kind: if is_durable { Kind::Durable } else { Kind::Volatile },
            name: wanted.map(|wanted| wanted.name.clone()),
            filters,
            filter: options.filter.clone(),
            not_from: wanted.map_or(options.not_from, |wanted| wanted.not_from),
            shared,
            durable_only: wanted.is_some_and(|wanted| wanted.durable_only),
            max_consumers: if shared { wanted.map_or(0, |wanted| wanted.max_consumers) } else { 1 },
            definition: wanted.map(|wanted| wanted.definition.clone()).unwrap_or_default(),
            written: false,
            stale: false,
            settings: wanted.and_then(|wanted| wanted.settings.clone()),
            ending: false,
            ends_unclaimed: is_durable && wanted.is_some_and(ends_unclaimed),
            claims: BTreeSet::new(),
        };
        let id = is_durable.then(|| self.next_queue_id(now));
        let key = self.make_subscription(subscription, id);
        self.write_record(key);
        if let Some(wanted) = wanted
            && let Err(reason) = self.claim(key, wanted)
        {
            self.remove_subscription(now, key);
            return Err(reason);
        }
        if options.retained {
            self.begin_feeding(now, topic_key, key);
        }
        Ok(key)
    }

    /// Whether a subscription is what a consumer wants, which may then have it.
    fn resume_subscription(
        &mut self,
        key: HomeKey,
        wanted: &crate::SubscriptionOptions,
        filters: &Filters,
    ) -> Result<bool, CloseReason> {
        let Some(home) = self.queue_home(key) else { return Err(CloseReason::NotFound) };
        let is_used = !home.receivers.is_empty();
        let Some(subscription) = &mut home.subscription else { return Err(CloseReason::NotFound) };
        let wants_same = subscription.filters == *filters && subscription.definition == wanted.definition;
        // What nobody else uses becomes what is wanted, see `take_over`.
        let is_same = subscription.shared == wanted.shared
            && (wants_same || (wanted.filters.is_some() && !is_used))
            && !subscription.ending;
        if is_same {
            if wanted.shared && wanted.max_consumers > 0 {
                subscription.max_consumers = wanted.max_consumers;
            }
            return if is_used && !wanted.shared { Err(CloseReason::SubscriptionInUse) } else { Ok(true) };
        }
        let is_used = is_used || !subscription.claims.is_empty();
        if is_used { Err(CloseReason::SubscriptionInUse) } else { Ok(false) }
    }

    fn check_subscriptions(&self, address: Option<AddressKey>, topic: HomeKey) -> Result<(), CloseReason> {
        if self.broker.subscriptions >= self.limits.max_subscriptions {
            return Err(CloseReason::TooManySubscriptions);
        }
        let limit = address
            .and_then(|address| self.addresses.get(address))
            .map_or(0, |address| address.settings.max_consumers);
        let count = match self.broker.homes.get(topic).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.subscriptions.len(),
            _ => 0,
        };
        if limit > 0 && count >= limit as usize { Err(CloseReason::LimitExceeded) } else { Ok(()) }
    }

    /// Makes a subscription.
    fn make_subscription(&mut self, subscription: Subscription, id: Option<QueueId>) -> HomeKey {
        let topic_key = subscription.topic;
        let settings = match self.broker.homes.get_mut(topic_key).and_then(Home::topic_mut) {
            Some(topic) if id.is_some() => topic.durable.clone(),
            Some(topic) => topic.volatile.clone(),
            None => Arc::default(),
        };
        let settings = subscription.settings.clone().unwrap_or(settings);
        let label: Arc<str> = match &subscription.name {
            Some(name) => format!("{}::{name}", subscription.topic_name).into(),
            None => subscription.topic_name.clone(),
        };
        let queue = QueueHome::new(settings, id);
        let key = self.insert_home(Home::new(label, None, What::Queue(Box::new(queue))));
        self.broker.subscriptions += 1;
        if let Some(id) = id {
            self.broker.by_id.insert(id, key);
        }
        self.list_subscription(key, subscription);
        key
    }

    /// A name for the queue of a new durable subscription, which no other queue has or had: it grows with
    /// the wall clock, over restarts, and beyond every one that was seen.
    pub(super) fn next_queue_id(&mut self, now: Instant) -> QueueId {
        QueueId(OWN_ID | self.next_number(now))
    }

    /// A number of 63 bits that no shard of the node gets again, whatever the run.
    pub(crate) fn next_number(&mut self, now: Instant) -> u64 {
        let mask = (1_u64 << 53) - 1;
        let clock = (self.broker.clock.unix(now).0 << 11) & mask;
        self.broker.last_id = clock.max(self.broker.last_id + 1);
        u64::from(self.shard.0 & 0x3ff) << 53 | (self.broker.last_id & mask)
    }

    /// A queue that was named before a restart.
    pub(super) fn note_queue_id(&mut self, id: QueueId) {
        self.broker.last_id = self.broker.last_id.max(id.0 & ((1_u64 << 53) - 1));
    }

    /// Makes a durable subscription again that was there before a restart.
    pub(crate) fn recover_subscription(&mut self, record: SubscriptionRecord) -> bool {
        let topic = self
            .names
            .get(&*record.topic)
            .and_then(|address| self.addresses.get(*address))
            .filter(|address| address.settings.kind == crate::AddressKind::Topic)
            .and_then(|address| address.home);
        self.note_queue_id(record.queue);
        let Some(topic) = topic else { return false };
        let restored = self.broker.format.as_ref().map(|format| format.restore(&record.definition));
        let restored = restored.unwrap_or_default();
        let subscription = Subscription {
            topic,
            topic_name: record.topic.into(),
            kind: Kind::Durable,
            name: Some(record.name.into()),
            filters: record.filters.into_iter().map(Arc::from).collect(),
            filter: restored.filter,
            not_from: restored.not_from,
            durable_only: restored.durable_only,
            shared: record.shared,
            max_consumers: u32::from(!record.shared),
            definition: record.definition,
            written: true,
            stale: false,
            settings: restored.settings,
            ending: false,
            ends_unclaimed: record.ends_unclaimed,
            claims: BTreeSet::new(),
        };
        self.make_subscription(subscription, Some(record.queue));
        true
    }

    /// Ends the subscription that a consumer has when it is the only one that uses it.
    pub(crate) fn unsubscribe_receiver(&mut self, _now: Instant, key: ReceiverKey) {
        let Some(home) = self.broker.receivers.get(key).map(|receiver| receiver.home) else { return };
        self.unsubscribe_left(home);
        if let Some(home) = self.queue_home(home)
            && home.receivers.len() == 1
            && let Some(subscription) = &mut home.subscription
            && subscription.claims.is_empty()
        {
            subscription.ending = subscription.kind != Kind::Administered;
        }
    }

    /// Ends a subscription that a link made, with all that it holds.
    pub(crate) fn remove_subscription(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(subscription) = home.subscription.take() else { return };
        if subscription.kind == Kind::Durable {
            self.delete_records(&subscription);
        }
        if let Some(home) = self.queue_home(key) {
            home.subscription = Some(subscription);
        }
        self.note_end(key);
        self.broker.subscriptions = self.broker.subscriptions.saturating_sub(1);
        self.remove_home(now, key);
    }

    /// Ends a durable subscription that a client has made, with all that it holds, whoever consumes
    /// from it; false when there is none of that name. To be called at the topic's home.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of such a topic.
    pub fn end_subscription(&mut self, now: Instant, topic: &str, name: &str) -> Result<bool, Refused> {
        let topic_key = self.home_named(topic)?;
        self.check_movable(topic, topic_key)?;
        let home = self.broker.homes.get(topic_key);
        let Some(What::Topic(home)) = home.map(|home| &home.what) else {
            return Err(Refused::NotFound(topic.into()));
        };
        let Some(key) = home.named.get(&(true, name.into())).copied() else { return Ok(false) };
        let receivers = self.queue_home(key).map(|home| home.receivers.clone()).unwrap_or_default();
        for receiver in receivers {
            self.close_receiver(now, receiver, CloseReason::Unsubscribed);
        }
        if self.queue_home(key).is_some() {
            self.remove_subscription(now, key);
        }
        Ok(true)
    }

    /// Closes a consumer's link from its home.
    pub(crate) fn close_receiver(&mut self, now: Instant, key: ReceiverKey, reason: CloseReason) {
        let Some(receiver) = self.broker.receivers.get(key) else { return };
        let (shard, consumer) = (receiver.shard, receiver.consumer);
        self.remove_receiver(now, key);
        if shard == self.shard {
            self.receiver_closed(now, shard, consumer, reason);
        } else {
            self.send_wire(shard, Wire::CloseConsumer { consumer, reason });
        }
    }

    // ---- messages -----------------------------------------------------------------------------------

    /// Takes a message for a topic: each subscription that wants it gets it.
    pub(crate) fn publish_to_topic(&mut self, now: Instant, key: HomeKey, mut publication: Publication) {
        // For every subscription, and perhaps live subscribers of other shards.
        publication.keep();
        let Some(mut publication) = self.divert(now, key, publication) else { return };
        let planned = self.check_topic_stock(key, &publication);
        let change = match planned.and_then(|()| self.plan_change(now, key, &publication)) {
            Ok(change) => change,
            Err(outcome) => {
                if publication.source.is_settled() {
                    let address = self.broker.homes.get(key).and_then(|home| home.address);
                    self.count_dropped(address, 1);
                }
                return self.answer(publication.source, outcome);
            }
        };
        self.publish_to_live(now, key, &publication);
        let placed = self.place_in_subscriptions(now, key, &mut publication);
        let stored: Vec<(HomeKey, EntryKey)> =
            placed.iter().filter(|one| one.2.is_some()).map(|(home, entry, _)| (*home, *entry)).collect();
        if stored.is_empty() && change.is_none() {
            return self.accept_live(publication.source);
        }
        let keys = self.keys_for_all(&stored, &publication);
        let mut targets: Vec<QueueId> = placed.iter().filter_map(|(_, _, queue)| *queue).collect();
        targets.extend(change.as_ref().map(|change| change.queue));
        let targets = match targets.as_slice() {
            [id] => Targets::One(*id),
            _ => Targets::Many(targets.into()),
        };
        let entries = match stored.as_slice() {
            [(home, entry)] => Stored::One(*home, *entry),
            _ => Stored::Many(stored.into_boxed_slice()),
        };
        self.append_to_store(publication, &keys, targets, entries, change);
    }

    /// Refuses a message that a durable subscription is to keep when the topic's tenant, or its owner, has no room for
    /// it in each subscription that wants it: who is told that it was accepted relies on it. What a single subscription
    /// has no room for is its own loss.
    pub(super) fn check_topic_stock(
        &mut self,
        key: HomeKey,
        publication: &Publication,
    ) -> Result<(), Outcome> {
        if !publication.durable || publication.is_let_in() {
            return Ok(());
        }
        let owner = self.owned_at(key, publication.owner);
        let Some(home) = self.broker.homes.get(key) else { return Ok(()) };
        let What::Topic(topic) = &home.what else { return Ok(()) };
        let queue_of = |key: &HomeKey| self.broker.homes.get(*key).and_then(Home::queue);
        // All of a topic's subscriptions are of its tenant.
        let Some(any) = topic.subscriptions.first().and_then(queue_of) else { return Ok(()) };
        let size = publication.body.len() as u64;
        let has_room = |count: u64| {
            let bytes = count.saturating_mul(size);
            owner.as_ref().map_or(Ok(()), |owner| owner.has_room(count, bytes))?;
            any.queue.has_stock(count, bytes)
        };
        // With room for all that there are nobody has to look which of them want it.
        if has_room(topic.subscriptions.len() as u64).is_ok() {
            return Ok(());
        }
        let name = publication.name.as_ref().unwrap_or(&home.name);
        let mut wanted = Vec::new();
        topic.tree.matches(name, |one| wanted.push(*one));
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|one| self.wants(*one, publication));
        let is_durable = |one: &HomeKey| queue_of(one).is_some_and(|queue| queue.id.is_some());
        let Err(full) = has_room(wanted.len() as u64) else { return Ok(()) };
        if !wanted.iter().any(is_durable) {
            return Ok(());
        }
        match (full.whose, &owner) {
            (Whose::User, Some(owner)) => owner.count_refused(full),
            _ => any.queue.count_refused(full),
        }
        Err(Outcome::rejected(condition::RESOURCE_LIMIT_EXCEEDED, full.to_string()))
    }

    /// What the queues go by of a message, all together.
    pub(super) fn keys_for_all(
        &self,
        queues: &[(HomeKey, EntryKey)],
        publication: &Publication,
    ) -> MessageKeys {
        let mut all = MessageKeys::default();
        for (queue, _) in queues {
            let keys = self.keys_for(*queue, publication);
            all.message_id = all.message_id.or(keys.message_id);
            all.group = all.group.or(keys.group);
            all.last_value = all.last_value.or(keys.last_value);
        }
        all
    }

    /// Puts a message into the queue of every subscription that wants it; says which those are, and what
    /// the store calls those for which it has to keep it. The message says its name from then on where one
    /// of them has to know it.
    pub(crate) fn place_in_subscriptions(
        &mut self,
        now: Instant,
        key: HomeKey,
        publication: &mut Publication,
    ) -> Vec<(HomeKey, EntryKey, Option<QueueId>)> {
        let Some(home) = self.broker.homes.get_mut(key) else { return Vec::new() };
        let name = publication.name.clone().unwrap_or_else(|| home.name.clone());
        let mut wanted = std::mem::take(&mut self.broker.matched);
        if let Some(topic) = home.topic_mut() {
            topic.enqueued += 1;
            topic.tree.matches(&name, |subscription| wanted.push(*subscription));
            if topic.many > 0 {
                wanted.sort_unstable();
                wanted.dedup();
            }
        }
        wanted.retain(|one| self.wants(*one, publication));
        // One that is retained, or that live subscribers may have, has not come for nothing.
        if wanted.is_empty()
            && !publication.routed
            && publication.retain == Retain::No
            && let Some(topic) = self.broker.homes.get_mut(key).and_then(Home::topic_mut)
        {
            topic.unwanted += 1;
        }
        if wanted.iter().any(|one| self.needs_names(*one))
            && let Some(format) = &self.broker.format
            && let Some(named) = format.named(publication.message_format, &publication.body, &name)
        {
            (publication.body, publication.is_slice) = (named, false);
        }
        let mut placed = Vec::with_capacity(wanted.len());
        for one in wanted.drain(..) {
            let keys = self.keys_for(one, publication);
            match self.place_in_subscription(now, one, publication, &keys) {
                Ok((entry, queue)) => placed.push((one, entry, queue)),
                Err(NotTaken::Duplicate) => {}
                Err(_) => self.subscription_full(now, one),
            }
        }
        self.broker.matched = wanted;
        placed
    }

    /// Whether a subscription tells its consumers the name to which a message was sent.
    fn needs_names(&self, key: HomeKey) -> bool {
        let subscription =
            self.broker.homes.get(key).and_then(Home::queue).and_then(|queue| queue.subscription.as_ref());
        subscription
            .is_some_and(|subscription| subscription.settings.is_some() || subscription.ends_unclaimed)
    }

    pub(super) fn wants(&self, key: HomeKey, publication: &Publication) -> bool {
        let Some(queue) = self.broker.homes.get(key).and_then(|home| home.queue()) else { return false };
        let Some(subscription) = &queue.subscription else { return false };
        let is_own = subscription.not_from.is_some() && subscription.not_from == publication.origin;
        !is_own
            && (publication.durable || !subscription.durable_only)
            && subscription
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(publication.message_format, &publication.body))
    }

    /// A subscription had no room for a message.
    fn subscription_full(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let Some(subscription) = &home.subscription else { return };
        let (topic, is_volatile) = (subscription.topic, subscription.kind == Kind::Volatile);
        let receivers = home.receivers.clone();
        let disconnects = matches!(
            self.broker.homes.get(topic).map(|home| &home.what),
            Some(What::Topic(topic)) if topic.overload == Overload::Disconnect
        );
        if is_volatile && disconnects {
            for receiver in receivers {
                self.close_receiver(now, receiver, CloseReason::SlowConsumer);
            }
        } else {
            let address = self.broker.homes.get(topic).and_then(|home| home.address);
            self.count_dropped(address, 1);
        }
    }

    /// A subscription for which producers have to wait, or not any more.
    pub(crate) fn subscription_blocked(&mut self, topic_key: HomeKey, blocked: bool) {
        let Some(topic) = self.broker.homes.get_mut(topic_key).and_then(Home::topic_mut) else { return };
        topic.blocked = if blocked { topic.blocked + 1 } else { topic.blocked.saturating_sub(1) };
        self.tell_blocked(topic_key);
    }

    /// What all subscriptions of a topic hold together.
    pub(crate) fn topic_statistics(&self, topic: &TopicHome) -> QueueStatistics {
        let mut sum =
            QueueStatistics { subscriptions: topic.subscriptions.len() as u64, ..Default::default() };
        for key in &topic.subscriptions {
            let Some(queue) = self.broker.homes.get(*key).and_then(|home| home.queue()) else { continue };
            let one = queue.queue.statistics();
            sum.messages += one.messages;
            sum.bytes += one.bytes;
            sum.available += one.available;
            sum.acquired += one.acquired;
            sum.delayed += one.delayed;
            sum.storing += one.storing;
            sum.bytes_in_memory += one.bytes_in_memory;
            sum.oldest = match (sum.oldest, one.oldest) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            sum.acknowledged += one.acknowledged;
            sum.redelivered += one.redelivered;
            sum.dead_lettered += one.dead_lettered;
            sum.expired += one.expired;
            sum.dropped += one.dropped;
            sum.rejected += one.rejected;
            sum.consumers += queue.receivers.len() as u64;
        }
        sum.enqueued = topic.enqueued;
        sum.dropped += topic.unwanted;
        if let Some(retained) = &topic.retained {
            let (count, bytes, expired) = retained.counts();
            sum.retained = count;
            sum.retained_bytes = bytes;
            sum.expired += expired;
        }
        sum
    }

    /// One subscription, as it is shown to people.
    pub(crate) fn subscription_statistics(&self, key: HomeKey) -> Option<crate::SubscriptionStatistics> {
        let queue = self.broker.homes.get(key)?.queue()?;
        let subscription = queue.subscription.as_ref()?;
        Some(crate::SubscriptionStatistics {
            name: subscription.name.clone().unwrap_or_default(),
            durable: subscription.kind != Kind::Volatile,
            shared: subscription.shared,
            filters: subscription.filters.clone(),
            claims: subscription.claims.len() as u64,
            queue: QueueStatistics { consumers: queue.receivers.len() as u64, ..queue.queue.statistics() },
        })
    }
}

/// The filters in order, each once.
pub(super) fn in_order(filters: &Filters) -> Filters {
    if filters.is_sorted_by(|one, other| one < other) {
        return filters.clone();
    }
    filters.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether a durable subscription ends when nobody consumes from it and nobody claims it.
pub(super) fn ends_unclaimed(wanted: &crate::SubscriptionOptions) -> bool {
    wanted.ends_unused || wanted.claim.is_some()
}

/// The filter for all names of a topic.
fn everything(topic: &Arc<str>) -> Arc<str> {
    if is_catch_all(topic) { topic.clone() } else { format!("{topic}/#").into() }
}
