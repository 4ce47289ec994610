//! Sessions: what the node keeps of a client, with and without a connection (4.1).
//!
//! A client has one session, on the shard that [`home_of`] says; its connections live there, too. So who
//! takes over from whom, what is resumed, when it expires and when a will fires is decided in one place.
//!
//! Client identifiers and filters of a space are kept as they are called inside the fleet
//! ([`crate::spaces::Space::inside`]), so that those of two spaces have nothing in common: not in the directory, not
//! on disk, not in the core. What clients and people are told is put into their words where it leaves.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use mq_core::{ShardId, UnixMillis, home};
use mq_model::CATCH_ALL_TOPIC;
use mq_model::space::{qualified, split_qualified};
use mq_mqtt::Qos;
use mq_mqtt::packet::SubscriptionOptions;

use super::flows::Flights;
use super::record::{Begun, ObjectKey, SessionRecord, SubscriptionRecord};
use super::subscribe;
use super::will::{Will, after};
use crate::mesh::directory::{Claim, NOBODY, REPLACES};
use crate::usage::{Held, Limit};

/// Bytes of a client identifier that are let in, with the prefix of its space.
pub(crate) const LONGEST_CLIENT_ID: usize = 1_024;

/// Sessions that a shard keeps, connected or not; one more is refused (0x97).
pub(crate) const MAX_SESSIONS: usize = 4_000_000;

/// Subscriptions from which on they are found by a table.
const INDEXED: usize = 16;

/// A session expiry interval that never ends (3.1.2.11.2).
pub(crate) const FOREVER: u32 = u32::MAX;

/// The shard where the session of a client is, and its connections.
pub(crate) fn home_of(client_id: &str, shards: u16) -> ShardId {
    home(client_id, shards)
}

/// The shard that an object of the daemon belongs to; `None` for what is none, or cannot be read.
pub(crate) fn object_home(key: &[u8], shards: u16) -> Option<ShardId> {
    Some(home_of(ObjectKey::decode(key)?.client_id(), shards))
}

/// Where a session began, as its name in the fleet says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Birth<'a> {
    /// As it stands in the name.
    pub(crate) whole: &'a str,
    pub(crate) node: &'a str,
    /// The number of the session; `None`: the node belonged to no fleet.
    pub(crate) number: Option<u64>,
}

/// What the name of a session in the fleet says: where it began, and whose it is. `None`: it is no such name.
pub(crate) fn parse_owner(name: &str) -> Option<(Birth<'_>, &str)> {
    // Names of nodes have neither.
    let (whole, client_id) = name.split_once(':')?;
    let (node, number) = match whole.split_once('+') {
        Some((node, number)) => (node, Some(number.parse().ok()?)),
        None => (whole, None),
    };
    Some((Birth { whole, node, number }, client_id))
}

/// The session that a durable subscription belongs to alone.
pub(crate) fn of_subscription(name: &str) -> Option<&str> {
    name.strip_prefix(SUBSCRIPTION_PREFIX)
}

/// What the names of durable subscriptions of sessions begin with. Those of links of AMQP cannot: of a
/// container's name they escape the percent sign.
pub(crate) const SUBSCRIPTION_PREFIX: &str = "%mqtt:";

/// What the names of durable subscriptions of shares begin with.
pub(crate) const SHARE_PREFIX: &str = "$share/";

/// The publisher's hash in the envelope of its messages (no local); never 0.
pub(crate) fn origin_of(client_id: &str) -> u64 {
    // FNV-1a: the same in every run, since it is stored with messages.
    let hash = client_id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// Whose a session is, as the fleet is told: a hash of the name of its user.
pub(crate) fn owner_of(user: Option<&str>) -> u64 {
    // Never that of nobody.
    user.map_or(NOBODY, origin_of)
}

/// Gives the sessions and wills of a shard their numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    last: u64,
}

impl Numbers {
    /// One that no session and no will has: later than all before, also those of earlier runs.
    pub(crate) fn next(&mut self, now: UnixMillis) -> u64 {
        self.last = now.0.max(self.last.saturating_add(1));
        self.last
    }

    /// One for a session: above another one, too, and saying whether the session replaces all others.
    pub(crate) fn next_session(&mut self, now: UnixMillis, after: u64, replaces: bool) -> u64 {
        self.note(after);
        let number = self.next(now);
        if (number & REPLACES != 0) == replaces { number } else { self.next(now) }
    }

    /// One that a session or a will of an earlier run has.
    pub(crate) fn note(&mut self, number: u64) {
        self.last = self.last.max(number);
    }
}

/// Names a session on its shard, and not its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    index: u32,
    generation: u32,
}

impl SessionKey {
    /// The key as a number: the token of the session's subscribers in the core.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that `to_bits` made into this number.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Whether a session has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The key of its connection.
    Connected(usize),
    /// Since then it has none.
    Away(UnixMillis),
    /// The same, and it is about to go to another node: nothing is done with it here.
    Leaving(UnixMillis),
}

/// What the node keeps of a client.
#[derive(Debug)]
pub(crate) struct Session {
    /// As it is called inside the fleet.
    pub(crate) client_id: Arc<str>,
    /// Tells it from other sessions of the client, also in the store.
    pub(crate) number: u64,
    /// What its messages carry of it.
    pub(crate) origin: u64,
    /// Seconds that it outlives its connection; [`FOREVER`] has no end.
    pub(crate) expiry: u32,
    pub(crate) presence: Presence,
    /// By an index that stays the same while the subscription lasts.
    pub(crate) subscriptions: Vec<Option<Subscription>>,
    /// What few sessions have: one word for all the others.
    rare: Option<Box<Rare>>,
    /// Places among them that are free.
    free: u32,
    /// What is under way to its client and from it, and what waits.
    pub(crate) flights: Flights,
    pub(crate) will: Option<Box<Will>>,
    /// It outlived its connection once, or may: what is kept for it is in the store. It stays so when the
    /// client comes back and wants it to end with that connection: until then nothing is lost.
    is_stored: bool,
    /// The disk knows it.
    pub(crate) is_recorded: bool,
    /// It began as one of a fleet.
    is_of_fleet: bool,
    /// A hash of the record that was written last.
    pub(crate) written: u64,
    /// Its entry among the deadlines.
    deadline: Option<NonZeroU64>,
}

/// What few sessions have.
#[derive(Debug, Default)]
struct Rare {
    /// The subscriptions by their filters, from [`INDEXED`] on.
    by_filter: Option<HashMap<Arc<str>, u32>>,
    /// Where a session began that has moved, as its name says it.
    birth: Option<Box<str>>,
    /// Whose it is: nobody else gets it. `None`: nobody's in particular.
    user: Option<Arc<str>>,
}

/// A subscription of a session.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// What the client wrote, with its share, as it is called inside the fleet.
    pub(crate) filter: Arc<str>,
    /// Where in `filter` begins what topics are matched against; 0 unless it is shared.
    pub(crate) topic_filter_start: u32,
    pub(crate) options: SubscriptionOptions,
    pub(crate) granted: Qos,
    /// The subscription identifier; 0: none.
    pub(crate) identifier: u32,
    /// How its messages come.
    pub(crate) state: subscribe::State,
    /// Whether the session's queue goes by it.
    pub(crate) standing: subscribe::Standing,
}

impl Subscription {
    /// What topics are matched against.
    pub(crate) fn topic_filter(&self) -> &str {
        self.filter.get(self.topic_filter_start as usize..).unwrap_or_default()
    }

    /// The core's name of the share's queue, `$share/NAME/FILTER`.
    pub(crate) fn share(&self) -> Option<&str> {
        (self.topic_filter_start > 0).then_some(&*self.filter)
    }
}

/// Where in a filter begins what topics are matched against. The filter is valid (4.8.2).
pub(crate) fn topic_filter_start(filter: &str) -> u32 {
    let group = filter.strip_prefix(SHARE_PREFIX).and_then(|rest| rest.find('/'));
    group.map_or(0, |end| u32::try_from(SHARE_PREFIX.len() + end + 1).unwrap_or(0))
}

/// A filter in two parts: its share, with all that divides the two, and what topics are matched against.
fn share_and_filter(filter: &str) -> (&str, &str) {
    filter.split_at_checked(topic_filter_start(filter) as usize).unwrap_or(("", filter))
}

/// What a filter of a client, with its share, is called inside the fleet.
pub(crate) fn filter_inside<'a>(space: &str, filter: &'a str) -> Cow<'a, str> {
    let (share, wanted) = share_and_filter(filter);
    match qualified(space, wanted) {
        Cow::Borrowed(_) => Cow::Borrowed(filter),
        Cow::Owned(inside) if share.is_empty() => Cow::Owned(inside),
        Cow::Owned(inside) => Cow::Owned(format!("{share}{inside}")),
    }
}

/// What the client wrote whose filter is called so inside the fleet.
pub(crate) fn filter_outside(filter: &str) -> Cow<'_, str> {
    let (share, wanted) = share_and_filter(filter);
    let (_, local) = split_qualified(wanted);
    match share {
        "" => Cow::Borrowed(local),
        _ if local.len() == wanted.len() => Cow::Borrowed(filter),
        share => Cow::Owned(format!("{share}{local}")),
    }
}

/// The name of a durable subscription as people of its space are told it: without the prefix of the space that
/// those of sessions and of shares bear.
pub(crate) fn subscription_outside(name: &str) -> Cow<'_, str> {
    let Some((birth, client_id)) = of_subscription(name).and_then(|owner| owner.split_once(':')) else {
        return if name.starts_with(SHARE_PREFIX) { filter_outside(name) } else { Cow::Borrowed(name) };
    };
    let (_, local) = split_qualified(client_id);
    if local.len() == client_id.len() {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{SUBSCRIPTION_PREFIX}{birth}:{local}"))
}

impl Session {
    /// A session that begins with a connection.
    pub(crate) fn new(client_id: Arc<str>, expiry: u32, connection: usize) -> Self {
        Self {
            number: 0,
            origin: origin_of(&client_id),
            client_id,
            expiry,
            presence: Presence::Connected(connection),
            subscriptions: Vec::new(),
            rare: None,
            free: 0,
            flights: Flights::default(),
            will: None,
            is_stored: expiry > 0,
            is_recorded: false,
            is_of_fleet: false,
            written: 0,
            deadline: None,
        }
    }

    /// The name of its space.
    pub(crate) fn space(&self) -> &str {
        split_qualified(&self.client_id).0
    }

    /// The client identifier as its client knows it.
    pub(crate) fn shown_id(&self) -> &str {
        split_qualified(&self.client_id).1
    }

    /// Whether what is kept for it is in the store.
    pub(crate) fn is_lasting(&self) -> bool {
        self.is_stored
    }

    /// Whether it goes on when its connection ends.
    pub(crate) fn outlives_connection(&self) -> bool {
        self.expiry > 0
    }

    /// Its connection.
    pub(crate) fn connection(&self) -> Option<usize> {
        match self.presence {
            Presence::Connected(connection) => Some(connection),
            Presence::Away(_) | Presence::Leaving(_) => None,
        }
    }

    /// Whether it came from another node.
    pub(crate) fn has_moved(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.birth.is_some())
    }

    /// Whose it is: nobody else gets it. `None`: nobody's in particular.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.user.as_ref()
    }

    /// Says whose it is.
    pub(crate) fn set_user(&mut self, user: Option<Arc<str>>) {
        if user.is_some() {
            self.rare.get_or_insert_default().user = user;
        }
    }

    /// What the fleet is told of it.
    pub(crate) fn claim(&self) -> Claim {
        Claim {
            since: self.number,
            expiry: self.expiry,
            has_moved: self.has_moved(),
            owner: owner_of(self.user().map(|user| &**user)),
        }
    }

    /// Where it began.
    fn begun(&self) -> Begun {
        match self.rare.as_ref().and_then(|rare| rare.birth.clone()) {
            Some(birth) => Begun::Elsewhere(birth),
            None if self.is_of_fleet => Begun::Here,
            None => Begun::Alone,
        }
    }

    /// Says where it began.
    pub(crate) fn set_begun(&mut self, begun: Begun) {
        self.is_of_fleet = begun != Begun::Alone;
        if let Begun::Elsewhere(birth) = begun {
            self.rare.get_or_insert_default().birth = Some(birth);
        }
    }

    /// Where it began, as its name says it. `node` is this one.
    pub(crate) fn birth(&self, node: &str) -> Box<str> {
        self.begun().birth(node, self.number)
    }

    /// Its name in the fleet, which it keeps when it moves: where and when it began, and the client's. No other
    /// session ever has the same, so that the end of one does not reach those of another.
    pub(crate) fn owner_name(&self, node: &str) -> Arc<str> {
        format!("{}:{}", self.birth(node), self.client_id).into()
    }

    /// The name of its durable subscriptions in the core.
    pub(crate) fn subscription_name(&self, node: &str) -> Arc<str> {
        format!("{SUBSCRIPTION_PREFIX}{}:{}", self.birth(node), self.client_id).into()
    }

    /// The index of the subscription with this filter.
    pub(crate) fn by_filter(&self, filter: &str) -> Option<u32> {
        if let Some(by_filter) = self.rare.as_ref().and_then(|rare| rare.by_filter.as_ref()) {
            return by_filter.get(filter).copied();
        }
        let index = self.subscriptions.iter().position(|subscription| {
            subscription.as_ref().is_some_and(|subscription| &*subscription.filter == filter)
        })?;
        u32::try_from(index).ok()
    }

    /// How many subscriptions it has.
    fn subscription_count(&self) -> u32 {
        u32::try_from(self.subscriptions.len()).unwrap_or(u32::MAX).saturating_sub(self.free)
    }

    /// A subscription by its index.
    pub(crate) fn subscription(&self, index: u32) -> Option<&Subscription> {
        self.subscriptions.get(index as usize)?.as_ref()
    }

    /// Adds a subscription at the first free index.
    pub(crate) fn add(&mut self, subscription: Subscription) -> u32 {
        let free = if self.free > 0 { self.subscriptions.iter().position(Option::is_none) } else { None };
        let place = free.unwrap_or(self.subscriptions.len());
        let index = u32::try_from(place).unwrap_or(u32::MAX);
        if let Some(by_filter) = self.by_filter_mut() {
            by_filter.insert(subscription.filter.clone(), index);
        }
        match self.subscriptions.get_mut(place) {
            Some(place) => {
                *place = Some(subscription);
                self.free -= 1;
            }
            // Most sessions have one or two.
            None => {
                self.subscriptions.reserve_exact(1.max(self.subscriptions.len() / 2));
                self.subscriptions.push(Some(subscription));
            }
        }
        if self.subscriptions.len() >= INDEXED && self.by_filter_mut().is_none() {
            self.index_filters();
        }
        index
    }

    fn by_filter_mut(&mut self) -> Option<&mut HashMap<Arc<str>, u32>> {
        self.rare.as_mut()?.by_filter.as_mut()
    }

    fn index_filters(&mut self) {
        let named = self.subscriptions.iter().zip(0..);
        let named = named.filter_map(|(one, index)| Some((one.as_ref()?.filter.clone(), index)));
        let by_filter = named.collect();
        self.rare.get_or_insert_default().by_filter = Some(by_filter);
    }

    /// Removes a subscription.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Subscription> {
        let subscription = self.subscriptions.get_mut(index as usize)?.take()?;
        self.free += 1;
        if let Some(by_filter) = self.by_filter_mut() {
            by_filter.remove(&subscription.filter);
        }
        Some(subscription)
    }

    /// When the session ends unless its client comes back; `None`: never, or it is connected.
    pub(crate) fn expires(&self) -> Option<UnixMillis> {
        match self.presence {
            Presence::Away(since) if self.expiry < FOREVER => Some(after(since, self.expiry)),
            _ => None,
        }
    }

    /// When something is due by itself: its end, or its will.
    fn next_deadline(&self) -> Option<UnixMillis> {
        let Presence::Away(_) = self.presence else { return None };
        let will = self.will.as_ref().and_then(|will| will.record.due);
        self.expires().into_iter().chain(will).min()
    }

    /// What is kept of it.
    pub(crate) fn record(&self) -> SessionRecord {
        let disconnected = match self.presence {
            Presence::Connected(_) => None,
            Presence::Away(since) | Presence::Leaving(since) => Some(since),
        };
        let subscriptions = self.subscriptions.iter().flatten().map(|subscription| SubscriptionRecord {
            filter: (&*subscription.filter).into(),
            options: subscription.options,
            granted: subscription.granted,
            identifier: subscription.identifier,
        });
        SessionRecord {
            number: self.number,
            expiry: self.expiry,
            disconnected,
            begun: self.begun(),
            user: self.user().cloned(),
            subscriptions: subscriptions.collect(),
        }
    }

    /// The session that a record tells of, whose client is away. `since` is when it went if the record
    /// does not know that: the node ended before the connection did.
    pub(crate) fn recovered(client_id: Arc<str>, record: &SessionRecord, since: UnixMillis) -> Self {
        let subscriptions = record.subscriptions.iter().map(|subscription| {
            Some(Subscription {
                filter: (&*subscription.filter).into(),
                topic_filter_start: topic_filter_start(&subscription.filter),
                options: subscription.options,
                granted: subscription.granted,
                identifier: subscription.identifier,
                state: subscribe::State::default(),
                standing: subscribe::Standing::default(),
            })
        });
        let mut session = Self {
            number: record.number,
            subscriptions: subscriptions.collect(),
            presence: Presence::Away(record.disconnected.unwrap_or(since)),
            is_stored: true,
            ..Self::new(client_id, record.expiry, 0)
        };
        session.set_begun(record.begun.clone());
        session.set_user(record.user.clone());
        if session.subscriptions.len() >= INDEXED {
            session.index_filters();
        }
        session
    }
}

/// What is done with the session that is there when a client connects (3.1.2.4, 3.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resumption {
    /// There is none, or none that goes on.
    New,
    /// It goes on: session present.
    Resumed,
}

/// Whether a session goes on in a new connection. One that ends with its connection ends with the one
/// that is taken over; one whose time is over has ended, even if nobody has looked yet.
pub(crate) fn resumption(session: &Session, clean_start: bool, now: UnixMillis) -> Resumption {
    let is_over = session.expires().is_some_and(|expires| expires <= now);
    if clean_start || !session.outlives_connection() || is_over {
        Resumption::New
    } else {
        Resumption::Resumed
    }
}

/// Whether a filter may match a name that the address serves if it is a topic: its own name, or one below
/// it. The topic `#` serves any of its space.
pub(crate) fn reaches(filter: &str, address: &str) -> bool {
    let ((space, filter), (of, address)) = (split_qualified(filter), split_qualified(address));
    if space != of || address == CATCH_ALL_TOPIC {
        return space == of;
    }
    let mut filter_levels = filter.split('/');
    for level in address.split('/') {
        match filter_levels.next() {
            Some("#") => return true,
            Some(wanted) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    true
}

/// Every session of a shard.
#[derive(Debug)]
pub(crate) struct Sessions {
    limit: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: HashMap<Arc<str>, SessionKey>,
    /// Sessions that are away, by when something is due.
    deadlines: BTreeSet<(UnixMillis, SessionKey)>,
    /// Those with a connection.
    connected: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// Subscriptions of the session that are counted towards limits.
    counted: u32,
    session: Option<Box<Session>>,
    /// What the session counts for.
    held: Option<Held>,
}

impl Slot {
    fn count_subscriptions(&mut self, count: u32) {
        let Some(held) = &self.held else { return };
        held.account().change(Limit::Subscriptions, self.counted.into(), count.into());
        self.counted = count;
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::with_limit(MAX_SESSIONS)
    }
}

impl Sessions {
    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            deadlines: BTreeSet::new(),
            connected: 0,
        }
    }

    /// Whether there may be one more.
    pub(crate) fn has_room(&self) -> bool {
        self.by_id.len() < self.limit
    }

    /// Adds a session; the client has none.
    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let key = SessionKey { index, generation: slot.generation };
        self.by_id.insert(session.client_id.clone(), key);
        self.connected += usize::from(session.connection().is_some());
        slot.session = Some(Box::new(session));
        self.arm(key);
        key
    }

    /// Removes a session.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        self.get(key)?;
        let slot = self.slots.get_mut(key.index as usize)?;
        let session = slot.session.take()?;
        slot.count_subscriptions(0);
        slot.held = None;
        self.free.push(key.index);
        self.by_id.remove(&session.client_id);
        self.connected -= usize::from(session.connection().is_some());
        if let Some(deadline) = session.deadline {
            self.deadlines.remove(&(UnixMillis(deadline.get()), key));
        }
        Some(session)
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        let slot = self.slots.get(key.index as usize)?;
        slot.session.as_deref().filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.session.as_deref_mut().filter(|_| slot.generation == key.generation)
    }

    /// Says what a session counts for; its subscriptions count from then on, too.
    pub(crate) fn set_held(&mut self, key: SessionKey, held: Held) {
        if self.get(key).is_none() {
            return;
        }
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.count_subscriptions(0);
            slot.held = Some(held);
        }
        self.count_subscriptions(key);
    }

    /// The subscriptions of a session have changed.
    pub(crate) fn count_subscriptions(&mut self, key: SessionKey) {
        let Some(count) = self.get(key).map(Session::subscription_count) else { return };
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.count_subscriptions(count);
        }
    }

    /// The session of a client.
    pub(crate) fn find(&self, client_id: &str) -> Option<SessionKey> {
        self.by_id.get(client_id).copied()
    }

    /// Gives a session a connection or takes it away.
    pub(crate) fn set_presence(&mut self, key: SessionKey, presence: Presence) {
        let Some(session) = self.get_mut(key) else { return };
        let was_connected = session.connection().is_some();
        session.presence = presence;
        let is_connected = session.connection().is_some();
        self.connected = self.connected + usize::from(is_connected) - usize::from(was_connected);
        self.arm(key);
    }

    /// To be called when what is due of a session has changed.
    pub(crate) fn arm(&mut self, key: SessionKey) {
        let Some(session) = self.get_mut(key) else { return };
        // What was due at the beginning of time is due a millisecond later, and takes a word less.
        let next = session.next_deadline().map(|at| NonZeroU64::new(at.0).unwrap_or(NonZeroU64::MIN));
        let before = std::mem::replace(&mut session.deadline, next);
        if before == next {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(UnixMillis(before.get()), key));
        }
        if let Some(next) = next {
            self.deadlines.insert((UnixMillis(next.get()), key));
        }
    }

    /// The first time at which something is due.
    pub(crate) fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A session of which something is due by now.
    pub(crate) fn due(&self, now: UnixMillis) -> Option<SessionKey> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, key)| *key)
    }

    /// Every session, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.range(0, self.slots.len())
    }

    /// Places for sessions, most of them taken.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The sessions in so many places from this one on.
    pub(crate) fn range(&self, from: usize, count: usize) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.slots.iter().enumerate().skip(from).take(count).filter_map(|(index, slot)| {
            let key = SessionKey { index: u32::try_from(index).ok()?, generation: slot.generation };
            Some((key, slot.session.as_deref()?))
        })
    }

    /// Sessions.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Sessions with a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected
    }
}

#[cfg(test)]
mod tests {
    use mq_mqtt::Version;
    use mq_mqtt::packet::{self, Text};
    use mq_mqtt::property::Properties;

    use super::*;

    fn subscription(filter: &str, granted: Qos) -> Subscription {
        Subscription {
            filter: filter.into(),
            topic_filter_start: topic_filter_start(filter),
            options: SubscriptionOptions::new(granted),
            granted,
            identifier: 7,
            state: subscribe::State::default(),
            standing: subscribe::Standing::default(),
        }
    }

    #[test]
    fn a_number_is_above_all_before_even_if_the_clock_goes_back() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.next(UnixMillis(1_000)), 1_000);
        assert_eq!(numbers.next(UnixMillis(900)), 1_001);
        numbers.note(5_000);
        assert_eq!(numbers.next(UnixMillis(2_000)), 5_001);
    }

    #[test]
    fn the_number_of_a_session_says_whether_it_replaces_others() {
        let mut numbers = Numbers::default();
        let mut last = 0;
        for (now, after, replaces) in [(10, 0, false), (10, 0, false), (10, 50, true), (60, 7, true)] {
            let number = numbers.next_session(UnixMillis(now), after, replaces);
            assert!(number > last && number > after && number >= now);
            assert_eq!(number & REPLACES != 0, replaces);
            last = number;
        }
    }

    fn will() -> Box<Will> {
        let will = packet::Will {
            topic: Text::new("gone").unwrap(),
            payload: "x".into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
        };
        Box::new(Will::of(&will, Version::V5_0, 1, None))
    }

    fn away(id: &str, since: u64, expiry: u32) -> Session {
        Session { presence: Presence::Away(UnixMillis(since)), ..Session::new(id.into(), expiry, 0) }
    }

    #[test]
    fn a_session_goes_on_unless_it_was_to_be_clean_or_has_ended() {
        let lasting = away("a", 1_000, 10);
        assert_eq!(resumption(&lasting, false, UnixMillis(10_999)), Resumption::Resumed);
        assert_eq!(resumption(&lasting, false, UnixMillis(11_000)), Resumption::New);
        assert_eq!(resumption(&lasting, true, UnixMillis(1_000)), Resumption::New);
        let connected = Session::new("a".into(), 10, 3);
        assert_eq!(resumption(&connected, false, UnixMillis(1 << 60)), Resumption::Resumed);
        assert_eq!(resumption(&Session::new("a".into(), 0, 3), false, UnixMillis(0)), Resumption::New);
        let endless = away("a", 1_000, FOREVER);
        assert_eq!(resumption(&endless, false, UnixMillis(u64::MAX)), Resumption::Resumed);
    }

    #[test]
    fn the_name_of_a_session_says_where_it_began_and_stays_when_it_moves() {
        let mut session = Session { number: 70, ..Session::new("a:b".into(), 10, 3) };
        assert_eq!(&*session.owner_name("n"), "n:a:b");
        assert_eq!(&*session.subscription_name("n"), "%mqtt:n:a:b");
        session.set_begun(Begun::Here);
        let name = session.owner_name("n");
        let birth = Birth { whole: "n+70", node: "n", number: Some(70) };
        assert_eq!(parse_owner(&name), Some((birth, "a:b")));
        session.set_begun(Begun::Elsewhere(session.birth("n")));
        assert_eq!(session.owner_name("m"), name);
        let alone = Birth { whole: "n", node: "n", number: None };
        assert_eq!(parse_owner("n:a"), Some((alone, "a")));
        assert_eq!((parse_owner("a"), parse_owner("n+x:a")), (None, None));
    }

    #[test]
    fn an_index_stays_with_its_subscription_and_is_used_again_after_it() {
        let mut session = Session::new("a".into(), 0, 0);
        for filter in ["a", "b", "c"] {
            session.add(subscription(filter, Qos::AtMostOnce));
        }
        assert_eq!(session.by_filter("c"), Some(2));
        assert!(session.remove(1).is_some());
        assert!(session.remove(1).is_none() && session.remove(9).is_none());
        assert_eq!((session.by_filter("b"), session.by_filter("c")), (None, Some(2)));
        assert_eq!(session.add(subscription("d", Qos::AtMostOnce)), 1);
        assert_eq!(session.subscription(1).map(|one| &*one.filter), Some("d"));
    }

    #[test]
    fn many_subscriptions_are_found_as_few_are() {
        let mut session = Session::new("a".into(), 60, 0);
        let filter = |number: usize| format!("f/{number}");
        for number in 0..3 * INDEXED {
            assert_eq!(session.by_filter(&filter(number)), None);
            let index = session.add(subscription(&filter(number), Qos::AtLeastOnce));
            assert_eq!((index as usize, session.by_filter(&filter(number))), (number, Some(index)));
        }
        for number in (0..3 * INDEXED).step_by(2) {
            assert!(session.remove(u32::try_from(number).unwrap()).is_some());
            assert_eq!(session.by_filter(&filter(number)), None);
        }
        assert_eq!(session.add(subscription("new", Qos::AtLeastOnce)), 0);
        assert_eq!((session.by_filter("new"), session.by_filter("f/1")), (Some(0), Some(1)));
        let recovered = Session::recovered("a".into(), &session.record(), UnixMillis(1));
        assert_eq!(recovered.by_filter("f/1"), Some(1), "the free place before it is free no more");
        assert_eq!(recovered.by_filter("f/2"), None);
    }

    #[test]
    fn a_shared_subscription_knows_its_filter_and_its_share() {
        let shared = subscription("$share/g/a/+", Qos::AtMostOnce);
        assert_eq!((shared.topic_filter(), shared.share()), ("a/+", Some("$share/g/a/+")));
        let other = subscription("a/#", Qos::AtMostOnce);
        assert_eq!((other.topic_filter(), other.share()), ("a/#", None));
    }

    #[test]
    fn a_filter_inside_the_fleet_has_its_space_behind_its_share() {
        for (space, filter, inside) in [
            ("default", "a/+", "a/+"),
            ("default", "$share/g/a", "$share/g/a"),
            ("acme", "a/+", "$s/acme/a/+"),
            ("acme", "#", "$s/acme/#"),
            ("acme", "$share/g/a/#", "$share/g/$s/acme/a/#"),
            ("acme", "$share/$s/b/c", "$share/$s/$s/acme/b/c"),
            ("default", "$share/g/$s/acme/a", "$share/g/$s//$s/acme/a"),
        ] {
            assert_eq!(filter_inside(space, filter), inside);
            assert_eq!(filter_outside(inside), filter);
        }
        let shared = subscription("$share/g/$s/acme/a/#", Qos::AtMostOnce);
        let parts = (shared.topic_filter(), shared.share());
        assert_eq!(parts, ("$s/acme/a/#", Some("$share/g/$s/acme/a/#")));
    }

    #[test]
    fn people_are_told_of_subscriptions_in_the_words_of_their_space() {
        for (name, told) in [
            ("%mqtt:n+7:kitchen", "%mqtt:n+7:kitchen"),
            ("%mqtt:n+7:$s/acme/a:b", "%mqtt:n+7:a:b"),
            ("$share/g/$s/acme/a/#", "$share/g/a/#"),
            ("$share/g/a/#", "$share/g/a/#"),
            ("container:billing", "container:billing"),
        ] {
            assert_eq!(subscription_outside(name), told);
        }
    }

    #[test]
    fn clients_of_two_spaces_have_sessions_of_their_own() {
        let session = |id: &str| Session::new(id.into(), 0, 3);
        let mut sessions = Sessions::default();
        let keys = ["a", "$s/acme/a", "$s/b/a"].map(|id| sessions.insert(session(id)));
        assert_eq!(sessions.find("$s/acme/a"), Some(keys[1]));
        let told =
            keys.map(|key| sessions.get(key).map(|it| (it.space().to_owned(), it.shown_id().to_owned())));
        let expected = ["default", "acme", "b"].map(|space| Some((space.to_owned(), "a".to_owned())));
        assert_eq!(told, expected);
        let names: BTreeSet<_> = keys.map(|key| sessions.get(key).unwrap().owner_name("n")).into();
        let origins: BTreeSet<_> = keys.map(|key| sessions.get(key).unwrap().origin).into();
        assert_eq!((names.len(), origins.len()), (3, 3));
    }

    #[test]
    fn what_is_recovered_is_what_was_recorded_with_the_client_away() {
        let mut session = away("a", 5_000, 60);
        session.add(subscription("a/+", Qos::ExactlyOnce));
        session.add(subscription("gone", Qos::ExactlyOnce));
        session.add(subscription("$share/g/a", Qos::AtLeastOnce));
        session.add(subscription("b", Qos::AtMostOnce));
        session.remove(1);
        let recovered = Session::recovered("a".into(), &session.record(), UnixMillis(9));
        assert_eq!(recovered.record(), session.record());
        let connected = Session::new("a".into(), 60, 4);
        let recovered = Session::recovered("a".into(), &connected.record(), UnixMillis(9));
        assert_eq!(recovered.presence, Presence::Away(UnixMillis(9)));
    }

    #[test]
    fn a_session_is_found_by_its_client_until_it_is_removed_and_not_by_an_old_key() {
        let mut sessions = Sessions::default();
        let first = sessions.insert(Session::new("a".into(), 0, 3));
        assert_eq!((sessions.find("a"), sessions.len(), sessions.connected()), (Some(first), 1, 1));
        assert!(sessions.remove(first).is_some());
        assert_eq!((sessions.find("a"), sessions.len(), sessions.connected()), (None, 0, 0));
        let second = sessions.insert(Session::new("b".into(), 0, 3));
        assert_ne!(first, second);
        assert!(sessions.get(first).is_none() && sessions.remove(first).is_none());
        assert_eq!(sessions.get(second).map(|session| &*session.client_id), Some("b"));
    }

    #[test]
    fn a_session_that_was_kept_once_is_kept_until_it_has_ended() {
        let mut session = Session::recovered("a".into(), &away("a", 5, 60).record(), UnixMillis(9));
        session.expiry = 0;
        assert!(session.is_lasting() && !session.outlives_connection());
        assert!(!Session::new("a".into(), 0, 3).is_lasting());
    }

    #[test]
    fn sessions_are_looked_at_piece_by_piece() {
        let mut sessions = Sessions::default();
        let keys: Vec<SessionKey> =
            (0..10).map(|number| sessions.insert(Session::new(format!("{number}").into(), 0, 3))).collect();
        sessions.remove(keys[4]);
        let seen = |from| -> Vec<SessionKey> { sessions.range(from, 4).map(|(key, _)| key).collect() };
        assert_eq!([seen(0), seen(4), seen(8)].concat(), [&keys[..4], &keys[5..]].concat());
    }

    #[test]
    fn there_is_room_until_there_are_as_many_sessions_as_allowed() {
        let mut sessions = Sessions::with_limit(2);
        let first = sessions.insert(Session::new("a".into(), 0, 3));
        assert!(sessions.has_room());
        sessions.insert(Session::new("b".into(), 0, 3));
        assert!(!sessions.has_room());
        sessions.remove(first);
        assert!(sessions.has_room());
    }

    #[test]
    fn the_end_of_a_session_and_its_will_are_due_while_it_is_away_alone() {
        let mut sessions = Sessions::default();
        let key = sessions.insert(Session::new("a".into(), 60, 3));
        assert_eq!(sessions.next_deadline(), None);
        sessions.set_presence(key, Presence::Away(UnixMillis(1_000)));
        assert_eq!(sessions.next_deadline(), Some(UnixMillis(61_000)));
        sessions.get_mut(key).unwrap().will = Some(will());
        sessions.get_mut(key).unwrap().will.as_mut().unwrap().record.due = Some(UnixMillis(5_000));
        sessions.arm(key);
        assert_eq!(sessions.due(UnixMillis(4_999)), None);
        assert_eq!(sessions.due(UnixMillis(5_000)), Some(key));
        sessions.get_mut(key).unwrap().will = None;
        sessions.arm(key);
        assert_eq!(sessions.next_deadline(), Some(UnixMillis(61_000)));
        sessions.set_presence(key, Presence::Connected(4));
        assert_eq!(sessions.next_deadline(), None);
        sessions.set_presence(key, Presence::Away(UnixMillis(1_000)));
        sessions.remove(key);
        assert_eq!(sessions.next_deadline(), None);
    }

    #[test]
    fn a_session_without_end_is_never_due() {
        let mut sessions = Sessions::default();
        sessions.insert(away("a", 1_000, FOREVER));
        assert_eq!(sessions.next_deadline(), None);
    }

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 128, "{}", size_of::<Session>());
        assert!(size_of::<Option<Subscription>>() <= 48, "{}", size_of::<Option<Subscription>>());
        let client = size_of::<super::super::Client>();
        assert!(client <= 640, "{client}");
        let mut session = Session::new("a".into(), 0, 0);
        session.add(subscription("a", Qos::AtMostOnce));
        assert_eq!(session.subscriptions.capacity(), 1);
    }

    #[test]
    fn a_filter_reaches_the_topics_whose_names_it_may_match() {
        for (filter, address) in [
            ("a", "a"),
            ("a/#", "a"),
            ("a/b/c", "a/b"),
            ("+/b", "a"),
            ("#", "a/b"),
            ("a/+", "a/b"),
            ("x", "#"),
            ("$s/acme/x", "$s/acme/#"),
            ("$s/acme/#", "$s/acme/a"),
        ] {
            assert!(reaches(filter, address), "{filter} {address}");
        }
        for (filter, address) in [
            ("a", "b"),
            ("a", "a/b"),
            ("+", "a/b"),
            ("a/c/#", "a/b"),
            ("ab", "a"),
            ("$s/acme/x", "#"),
            ("#", "$s/acme/a"),
            ("#", "$s/acme/#"),
            ("$s/acme/#", "$s/b/a"),
        ] {
            assert!(!reaches(filter, address), "{filter} {address}");
        }
    }

    #[test]
    fn an_object_is_at_home_where_its_client_is() {
        let key = super::super::record::will_key("kitchen", 9);
        assert_eq!(object_home(&key, 7), Some(home_of("kitchen", 7)));
        assert_eq!(object_home(b"s\x01a", 7), None);
    }

    #[test]
    fn the_origin_of_a_client_is_the_same_in_every_run() {
        assert_eq!(origin_of("kitchen"), 0x857b_a31d_c6b8_878f);
        assert_ne!(origin_of("kitchen"), origin_of("kitchen2"));
    }
}
