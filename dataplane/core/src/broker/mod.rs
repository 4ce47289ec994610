//! Addresses that keep messages: queues, and topics with their subscriptions.
//!
//! Each has one *home*, a shard of the node. The home alone holds its messages and decides who gets them;
//! a link of another shard is represented there by a sender or a receiver. What the two shards say to each
//! other is in [`protocol`]; what a link's shard does is in [`stub`], what the home does in [`home`] and
//! [`topic`]. How a single queue works is in [`crate::queue`].
//!
//! Nothing is delivered or accepted that has to survive a restart before the store has it: such an entry
//! waits, and the producer's outcome with it.

mod arriving;
#[cfg(test)]
mod check;
mod clock;
mod copy;
mod durable;
mod follow;
mod forward;
mod handover;
mod home;
mod live;
mod protocol;
mod record;
mod recovery;
mod relocate;
mod retained;
mod retrieval;
mod shares;
mod spread;
mod store;
mod stub;
mod topic;
mod transaction;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use self::clock::Clock;
pub use self::durable::DurableSubscription;
pub(crate) use self::follow::Gate;
use self::follow::Waiter;
use self::forward::Forward;
pub(crate) use self::handover::MAX_LABELS;
use self::home::{Home, Receiver, Sender, What};
pub(crate) use self::protocol::{
    CopiedSubscription, CopiedVolatile, Destination, GivenBack, Handout, Handover, Label, Moved, Part, Posts,
    Publication, ReceiverOptions, Source, Wire,
};
pub(crate) use self::retrieval::{Asker, MAX_PAGE_MESSAGES, Question};
pub use self::retrieval::{RetainedMessage, RetainedPage, RetainedQuery};
use self::spread::Spread;
pub(crate) use self::spread::{ConsumerRole, ProducerRole};
use self::stub::{Grip, Inbound, Sent};
pub(crate) use self::stub::{StoredConsumer, StoredProducer};
use crate::core::Core;
use crate::effect::Refused;
use crate::format::Format;
use crate::key::{
    AddressKey, Arena, ConsumerKey, ForwardKey, GripKey, HomeKey, InboundKey, PendingKey, ReceiverKey,
    SenderKey, SentKey,
};
use crate::queue::EntryKey;
use crate::settings::ShardId;
use crate::statistics::{QueueStatistics, SubscriptionStatistics};
use crate::stock::{Holding, Owned, Owner, Owners, Stocks};
use crate::store::{QueueId, UnixMillis};

/// Everything that a core has for stored addresses.
#[derive(Debug)]
pub(crate) struct Broker {
    format: Option<Arc<dyn Format>>,
    stocks: Option<Arc<dyn Stocks>>,
    owners: Owners,
    clock: Clock,
    /// The last time that anything happened to a home.
    now: Option<Instant>,
    homes: Arena<HomeKey, Home>,
    senders: Arena<SenderKey, Sender>,
    receivers: Arena<ReceiverKey, Receiver>,
    grips: Arena<GripKey, Grip>,
    inbound: Arena<InboundKey, Inbound>,
    sent: Arena<SentKey, Sent>,
    pending: Arena<PendingKey, Pending>,
    forwards: Arena<ForwardKey, Forward>,
    transactions: transaction::Transactions,
    handovers: handover::Handovers,
    /// Queues that the store knows.
    by_id: BTreeMap<QueueId, HomeKey>,
    /// Homes that have something to do.
    pub(crate) due: VecDeque<HomeKey>,
    /// Homes whose moves go on.
    moving: BTreeSet<HomeKey>,
    timers: BTreeSet<(UnixMillis, HomeKey)>,
    /// Messages that try again to leave their queue.
    retries: BTreeSet<(Instant, ForwardKey)>,
    /// Links that ask a home again, and gates.
    waiters: BTreeSet<(Instant, Waiter)>,
    /// Gates by their numbers.
    gates: BTreeMap<u64, AddressKey>,
    last_gate: u64,
    /// Bytes behind gates.
    gated: u64,
    /// Queues with several shards.
    spreads: BTreeMap<AddressKey, Spread>,
    /// Links of this thread to single shards, for links to all of them.
    pub(crate) parts: Parts,
    /// Consumers that ended their subscription and left before their home answered.
    unsubscribing: BTreeMap<ConsumerKey, ShardId>,
    /// Bytes of bodies in memory.
    memory: u64,
    /// Bytes of messages that are not whole.
    assembling: u64,
    /// Subscriptions that links made.
    subscriptions: u32,
    /// Claims on them.
    claims: u32,
    /// Claims of before a restart, until every subscription is there.
    recovered_claims: Vec<record::ClaimRecord>,
    /// Topics whose homes are to be here.
    arriving: BTreeSet<HomeKey>,
    /// Topics that changed their homes before a restart, and what is there of topics that are not here, until
    /// everything is there.
    recovered_travels: Vec<record::TravelRecord>,
    recovered_strays: Vec<(record::ObjectRecord, bytes::Bytes)>,
    /// The addresses of topics that this shard knows, whatever their home.
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// Filters for consumers whose home has not answered yet.
    refiltering: BTreeMap<ConsumerKey, Vec<topic::Filters>>,
    /// The number of the last change of what topics retain.
    last_change: u64,
    /// Names for which topics retain something or are about to.
    retained_names: u32,
    /// Bytes of bodies in memory that topics retain; part of `memory`.
    retained_memory: u64,
    retrieval: retrieval::Retrieval,
    /// Bounded by the number of subscriptions that a shard can have.
    owed: Vec<durable::OwedEnd>,
    /// Those that a home on another node has been told and has not confirmed.
    ending: BTreeMap<u64, (ShardId, durable::OwedEnd)>,
    last_end: u64,
    /// The last number of a message of a topic's copy: no two copies of this shard have the same.
    last_copy: u64,
    /// Shards that wait until what they have sent to a topic that has left is at its home.
    passing: BTreeMap<u64, copy::Passing>,
    /// The last number in the id of a queue.
    last_id: u64,
    recovering: bool,
    /// The last entries whose bodies are slices of read buffers.
    slices: VecDeque<(HomeKey, EntryKey)>,
    /// Room for the subscriptions that want a message.
    matched: Vec<HomeKey>,
}

/// How many links of a core nobody outside knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) producers: u64,
    pub(crate) consumers: u64,
}

/// Entries that one message in the store is for.
#[derive(Debug)]
pub(crate) enum Stored {
    One(HomeKey, EntryKey),
    Many(Box<[(HomeKey, EntryKey)]>),
}

impl Stored {
    fn as_slice(&self) -> Vec<(HomeKey, EntryKey)> {
        match self {
            Self::One(home, entry) => vec![(*home, *entry)],
            Self::Many(entries) => entries.to_vec(),
        }
    }
}

/// A request that the store has not answered.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A message that its producer waits for.
    Append {
        source: Source,
        entries: Stored,
        /// What it changes in what its topic retains.
        change: Option<Box<retained::Change>>,
    },
    /// A message that need not survive a restart, and has no room in memory.
    Spill {
        home: HomeKey,
        entry: EntryKey,
    },
    Load {
        home: HomeKey,
        entry: EntryKey,
    },
    LoadForward {
        forward: ForwardKey,
    },
    Put {
        subscription: HomeKey,
    },
    PutClaim {
        subscription: HomeKey,
    },
    /// The number of the queue for what a topic retains.
    PutRetained {
        topic: HomeKey,
    },
    LoadRetained {
        page: u64,
        index: usize,
    },
    /// For the copy of a topic.
    LoadCopy {
        topic: HomeKey,
        round: u64,
        what: copy::CopyOf,
    },
    /// That the next home of a topic has everything.
    PutLeaving {
        topic: HomeKey,
        round: u64,
    },
    /// That the copy of a topic is complete.
    PutArriving {
        topic: HomeKey,
        number: u64,
    },
    Delete,
    /// A message that was there already, while others were on their way to the disk.
    Duplicate {
        source: Source,
        home: HomeKey,
        /// What the store had not taken until then.
        failures: u64,
    },
    /// What was passed on to another node leaves.
    Left {
        to: ShardId,
        queue: QueueId,
        labels: Vec<Label>,
    },
    /// Part of a transaction.
    Transaction(transaction::Waiting),
}

/// Bytes that the home of an empty queue needs.
#[cfg(test)]
pub(crate) fn home_size() -> usize {
    size_of::<Home>() + size_of::<home::QueueHome>()
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self {
            format: None,
            stocks: None,
            owners: Owners::default(),
            clock: Clock::default(),
            now: None,
            homes: Arena::new(),
            senders: Arena::new(),
            receivers: Arena::new(),
            grips: Arena::new(),
            inbound: Arena::new(),
            sent: Arena::new(),
            pending: Arena::new(),
            forwards: Arena::new(),
            transactions: transaction::Transactions::default(),
            handovers: handover::Handovers::default(),
            by_id: BTreeMap::new(),
            due: VecDeque::new(),
            moving: BTreeSet::new(),
            timers: BTreeSet::new(),
            retries: BTreeSet::new(),
            waiters: BTreeSet::new(),
            gates: BTreeMap::new(),
            last_gate: 0,
            gated: 0,
            spreads: BTreeMap::new(),
            parts: Parts::default(),
            unsubscribing: BTreeMap::new(),
            memory: 0,
            assembling: 0,
            subscriptions: 0,
            claims: 0,
            recovered_claims: Vec::new(),
            arriving: BTreeSet::new(),
            recovered_travels: Vec::new(),
            recovered_strays: Vec::new(),
            topics: BTreeSet::new(),
            refiltering: BTreeMap::new(),
            last_change: 0,
            retained_names: 0,
            retained_memory: 0,
            retrieval: retrieval::Retrieval::default(),
            owed: Vec::new(),
            ending: BTreeMap::new(),
            last_end: 0,
            last_copy: 0,
            passing: BTreeMap::new(),
            last_id: 0,
            recovering: false,
            slices: VecDeque::new(),
            matched: Vec::new(),
        }
    }
}

impl Core {
    /// How messages are read and changed. Without one, queues know no groups, last values or duplicates,
    /// and dead letters carry no annotations. Set it before addresses.
    pub fn set_format(&mut self, format: Arc<dyn Format>) {
        self.broker.format = Some(format);
    }

    /// Where what tenants store is counted. Without it nothing is. Set it before addresses.
    pub fn set_stocks(&mut self, stocks: Arc<dyn Stocks>) {
        self.broker.stocks = Some(stocks);
    }

    /// Adds a home, whose queue counts towards the stock of its tenant.
    fn insert_home(&mut self, mut home: Home) -> HomeKey {
        let holding = self.holding(&home.name);
        if let (Some(queue), Some(holding)) = (home.queue_mut(), holding) {
            queue.queue.set_holding(holding);
        }
        self.broker.homes.insert(home)
    }

    /// A part of the stock of the tenant whose name this is.
    fn holding(&self, name: &str) -> Option<Holding> {
        let stock = self.broker.stocks.as_ref()?.stock_of(name);
        Some(Holding::new(stock, self.shard.shard()))
    }

    /// What a user has stored on this shard, in the space whose name this is.
    #[inline]
    fn owned(&mut self, name: &str, owner: Option<Owner>) -> Option<Rc<Owned>> {
        let (owner, shard) = (owner?, self.shard.shard());
        let Broker { stocks, owners, .. } = &mut self.broker;
        Some(owners.of(&**stocks.as_ref()?, shard, name, owner))
    }

    /// The same, in the space of a home.
    #[inline]
    fn owned_at(&mut self, home: HomeKey, owner: Option<Owner>) -> Option<Rc<Owned>> {
        let (owner, shard) = (owner?, self.shard.shard());
        let Broker { stocks, owners, homes, .. } = &mut self.broker;
        Some(owners.of(&**stocks.as_ref()?, shard, &homes.get(home)?.name, owner))
    }

    /// How the wall clock and `Instant` relate. To be called at the start, and when the wall clock was
    /// set: what waits for a time then goes by the new one.
    pub fn set_clock(&mut self, now: Instant, unix: UnixMillis) {
        self.broker.clock.set(now, unix);
    }

    /// The wall time of a moment, by the clock that was set.
    #[inline]
    pub fn unix(&self, now: Instant) -> UnixMillis {
        self.broker.clock.unix(now)
    }

    /// The moment of a wall time, by the clock that was set; `None` when it is further ahead than can be
    /// counted. What lies too far back to be counted is no later than `now`.
    pub fn instant_of(&self, unix: UnixMillis, now: Instant) -> Option<Instant> {
        self.broker.clock.instant(unix, now)
    }

    /// When a queue has something to do.
    pub(crate) fn poll_stored_timeout(&self) -> Option<Instant> {
        let now = self.broker.now?;
        let queues = self.broker.timers.first().and_then(|(at, _)| self.broker.clock.instant(*at, now));
        let retries = self.broker.retries.first().map(|(at, _)| *at);
        let shards = self.broker.spreads.values().filter_map(Spread::retry).min();
        queues.into_iter().chain(retries).chain(shards).chain(self.poll_waiters()).min()
    }

    pub(crate) fn handle_stored_timeout(&mut self, now: Instant) {
        self.retry_forwards(now);
        self.handle_waiters(now);
        self.retry_shards(now);
        self.time_out_homes(now);
    }

    /// The home of that name on this shard.
    fn home_named(&self, name: &str) -> Result<HomeKey, Refused> {
        self.names
            .get(name)
            .and_then(|key| self.addresses.get(*key))
            .filter(|address| address.is_known())
            .and_then(|address| address.home)
            .filter(|home| self.broker.recovering || self.is_served(*home))
            .ok_or_else(|| Refused::NotFound(name.into()))
    }

    /// Whether what is here of a topic, or of one of its subscriptions, is the topic: it may be a copy, or what
    /// is left of it.
    fn is_served(&self, home: HomeKey) -> bool {
        match self.broker.homes.get(home).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.serves,
            Some(What::Queue(queue)) => match &queue.subscription {
                Some(subscription) => self.is_served(subscription.topic),
                None => queue.copied.is_none() && !self.has_gone_elsewhere(home),
            },
            None => false,
        }
    }

    /// Whether what is here of the subscription of a topic is nothing, since its topic is elsewhere.
    fn has_gone_elsewhere(&self, home: HomeKey) -> bool {
        let address = self.broker.homes.get(home).and_then(|home| home.address);
        let address = address.and_then(|address| self.addresses.get(address));
        address.is_some_and(|address| address.settings.is_copied() && address.home_shard != Some(self.shard))
    }

    /// Removes every message of a queue, or of every subscription of a topic, that no consumer has and
    /// that the store is not just taking. Says how many. To be called at the home shard.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of such an address.
    pub fn purge(&mut self, now: Instant, name: &str) -> Result<u64, Refused> {
        let key = self.home_named(name)?;
        let topic = self.queue_home(key).and_then(|home| Some(home.subscription.as_ref()?.topic));
        self.check_movable(name, topic.unwrap_or(key))?;
        let queues = match self.broker.homes.get(key).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.subscriptions.iter().copied().collect(),
            _ => vec![key],
        };
        let mut count = 0;
        for key in queues {
            while let Some(entry) = self.queue_home(key).and_then(|home| home.queue.take(None)) {
                let Some(removed) = self.queue_home(key).and_then(|home| home.queue.remove(entry)) else {
                    break;
                };
                self.settle_in_store(key, removed);
                count += 1;
            }
            self.mark_home(now, key);
        }
        Ok(count)
    }

    /// What a queue or a topic holds; `None` when this shard is not its home.
    pub fn queue(&self, name: &str) -> Option<QueueStatistics> {
        let home = self.broker.homes.get(self.home_named(name).ok()?)?;
        let mut statistics = match &home.what {
            // What is left of it here is not the queue: see `left_behind`.
            What::Queue(queue) if self.is_left_behind(home, queue) => return None,
            What::Queue(queue) => {
                let consumers = queue.receivers.len() as u64;
                QueueStatistics { consumers, ..queue.queue.statistics() }
            }
            What::Topic(topic) => self.topic_statistics(topic),
        };
        statistics.producers = home.senders.len() as u64;
        Some(statistics)
    }

    /// The subscriptions of a topic; empty when this shard is not its home.
    pub fn subscriptions(&self, topic: &str) -> Vec<SubscriptionStatistics> {
        let home = self.home_named(topic).ok().and_then(|key| self.broker.homes.get(key));
        match home.map(|home| &home.what) {
            Some(What::Topic(topic)) => {
                topic.subscriptions.iter().filter_map(|key| self.subscription_statistics(*key)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Bytes of messages of queues that are in memory on this shard.
    pub fn stored_memory(&self) -> u64 {
        self.broker.memory + self.broker.assembling + self.broker.gated
    }
}
