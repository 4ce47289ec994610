//! Live subscribers: at most once, and nothing is stored.
//!
//! A live subscription belongs to a connection, and gets what is published while that is there. It is no
//! consumer: it has no credit, no queue and no delivery. Every shard knows the filters of all of them, its
//! own with the subscriber, those of another shard as "that shard has some". So the shard of a publisher
//! finds with one look who gets a message: [`Core::route`].
//!
//! Every shard also knows the filters of the subscriptions that keep messages, as "the home of that topic
//! wants it": a message that no such subscription wants need not go there.
//!
//! Messages of producers that know nothing of live subscribers are routed by the home of their topic when
//! it takes them: see [`Incoming::routed`](crate::Incoming::routed).
//!
//! | message | from, to | says |
//! |---|---|---|
//! | `Filter` | subscriber's shard, all others | it has the first live subscription of a filter, or has none any more |
//! | `Stored` | topic's home, all others | likewise, of subscriptions that keep messages |
//! | `StoredEnd` | topic's home, all others | the topic has no subscription any more |
//! | `Known` | any, to one that has come | it has been told of everything that there was |
//! | `Publish` | publisher's shard, or home, to those with subscribers | a message |
//! | `Taken` | back | so many bytes of messages have been handed on |
//!
//! As long as the home of a topic has not said all of this, or cannot be reached, its subscriptions may want
//! everything.
//!
//! Messages between two shards are in order, so what one publisher sends reaches each live subscriber in
//! the order in which it was sent.

mod cache;
mod filters;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::cache::{Made, RouteCache};
use self::filters::Filters;
use crate::broker::Source;
use crate::by_shard::ByShard;
use crate::core::Core;
use crate::effect::{Effect, Refused};
use crate::key::{AddressKey, HomeKey};
use crate::outcome::Outcome;
use crate::peer::PeerMessage;
use crate::settings::{AddressKind, Lifetime, ShardId};

/// Bytes of live messages that another shard may have waiting from this one before publishers should wait.
pub const LIVE_WINDOW: u64 = 4 << 20;

/// Bytes at which messages for that shard are dropped and counted: there is a publisher that does not wait.
const LIVE_LIMIT: u64 = 16 * LIVE_WINDOW;

/// Bytes that a message counts beyond those of its body.
const LIVE_COST: usize = 128;

/// A live subscription of the shard: the caller's link, and which of the link's subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber {
    pub token: u64,
    pub index: u32,
}

/// Where a message of one name goes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Route {
    /// The name.
    pub name: Arc<str>,
    /// What serves the name; `None`: nothing does. The rest says something about topics only.
    pub kind: Option<AddressKind>,
    /// Live subscriptions of this shard that match, in order: those of one token stand together.
    pub local: Box<[Subscriber]>,
    /// Other shards with live subscriptions that match.
    pub shards: Box<[ShardId]>,
    /// Some subscription that keeps messages wants durable ones.
    pub is_stored: bool,
    /// Some subscription that keeps messages wants those that are not durable, too.
    pub is_stored_volatile: bool,
    /// Bytes that the address allows a message.
    pub max_message_bytes: u64,
    /// How long messages may wait.
    lifetime: Lifetime,
    address: Option<AddressKey>,
    made: Made,
}

/// A message on its way to live subscribers.
#[derive(Clone, Debug)]
pub struct LiveMessage {
    /// The name that it was sent to; `None`: the message says so itself.
    pub name: Option<Arc<str>>,
    pub message_format: u32,
    /// The whole message, in memory of its own: it may wait at another shard.
    pub body: Bytes,
    pub durable: bool,
    /// It went to the home of its address as well: subscriptions that keep messages have it from there.
    pub kept: bool,
    /// It is retained as well, or ends what is.
    pub retain: bool,
    /// What is left of its time to live.
    pub ttl: Option<Duration>,
    /// Whoever published it; 0: nobody that could be a subscriber.
    pub origin: u64,
}

/// Who wants the messages that a filter matches. In order, so that one look says whether any is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Interest {
    Here { token: u64, index: u32 },
    There(ShardId),
}

/// What a subscription that keeps messages wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    Everything,
    /// Durable messages alone.
    Durable,
}

/// What shards say to each other about live subscribers; see the module.
#[derive(Debug)]
pub(crate) enum LiveWire {
    Filter { filter: Arc<str>, is_wanted: bool },
    Stored { topic: Arc<str>, filter: Arc<str>, want: Want, is_wanted: bool },
    StoredEnd { topic: Arc<str> },
    Known,
    Publish(LiveMessage),
    Taken { bytes: u64 },
}

/// Everything that a core has for live subscribers.
#[derive(Debug)]
pub(crate) struct Live {
    filters: Filters<Interest>,
    /// Subscriptions of this shard.
    subscriptions: u32,
    /// Filters of the subscriptions that keep messages, by the topic's address and the home that says so.
    stored: BTreeMap<(Arc<str>, ShardId), Filters<Want>>,
    routes: RouteCache,
    /// What is on its way to and from each shard, in bytes.
    windows: ByShard<Window>,
    /// Shards that have no room.
    full: u32,
    /// Topics of this shard: their producers wait when there is no room.
    pub(crate) topics: BTreeSet<HomeKey>,
    /// Producers that hear that a topic of this shard has their message when there is room. Bounded by
    /// the credit that they have and do not get back before.
    accepted: Vec<Source>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    /// Sent there, and not taken yet.
    waiting: u64,
    /// Taken from there, and not said so yet.
    taken: u64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            filters: Filters::default(),
            subscriptions: 0,
            stored: BTreeMap::new(),
            routes: RouteCache::new(),
            windows: ByShard::default(),
            full: 0,
            topics: BTreeSet::new(),
            accepted: Vec::new(),
        }
    }
}

impl Live {
    /// A shard is gone, and with it those that would hear that a topic of this shard has their messages.
    pub(crate) fn sources_lost(&mut self, peer: ShardId) {
        self.accepted.retain(|source| source.shard() != Some(peer));
    }
}

impl From<Subscriber> for Interest {
    fn from(subscriber: Subscriber) -> Self {
        Self::Here { token: subscriber.token, index: subscriber.index }
    }
}

impl Route {
    /// The route of a name that nothing serves.
    fn nowhere(name: Arc<str>) -> Self {
        Self {
            name,
            kind: None,
            local: Box::default(),
            shards: Box::default(),
            is_stored: false,
            is_stored_volatile: false,
            max_message_bytes: u64::MAX,
            lifetime: Lifetime::default(),
            address: None,
            made: Made::default(),
        }
    }

    /// How long a message may wait that says this of its time to live: that or the default of the address,
    /// within its bounds.
    pub fn time_to_live(&self, own: Option<Duration>) -> Option<Duration> {
        self.lifetime.of(own)
    }

    /// Whether no live subscriber gets the message.
    pub fn is_unheard(&self) -> bool {
        self.local.is_empty() && self.shards.is_empty()
    }
}

impl LiveMessage {
    fn cost(&self) -> u64 {
        (self.body.len() + self.name.as_ref().map_or(0, |name| name.len()) + LIVE_COST) as u64
    }
}

impl Core {
    // ---- subscriptions ---------------------------------------------------------------------------

    /// Adds a live subscription; false when the subscriber has that filter already. Every other shard
    /// hears of it before a client can, when the caller hands effects to other shards over before it tells
    /// any client.
    ///
    /// # Errors
    /// `BadName` when the filter is none, `LimitExceeded` when the shard has its number of live
    /// subscriptions.
    pub fn add_live(&mut self, filter: &str, subscriber: Subscriber) -> Result<bool, Refused> {
        let limit = self.limits.max_live_subscriptions;
        if self.live.subscriptions >= limit {
            let (links, limit) = ("live subscriptions", u64::from(limit));
            return Err(Refused::LimitExceeded { what: "the shard".into(), links, limit });
        }
        let is_first = !self.is_live_here(filter);
        let is_new = self
            .live
            .filters
            .insert(filter, subscriber.into())
            .map_err(|error| Refused::BadName { name: filter.into(), reason: error.to_string().into() })?;
        if is_new {
            self.live.subscriptions += 1;
            self.live.routes.filter_changed(filter);
        }
        if is_new && is_first {
            self.tell_filter(filter, true);
        }
        Ok(is_new)
    }

    /// Removes a live subscription; false when there is no such one.
    pub fn remove_live(&mut self, filter: &str, subscriber: Subscriber) -> bool {
        if !self.live.filters.remove(filter, &subscriber.into()) {
            return false;
        }
        self.live.subscriptions = self.live.subscriptions.saturating_sub(1);
        self.live.routes.filter_changed(filter);
        if !self.is_live_here(filter) {
            self.tell_filter(filter, false);
        }
        true
    }

    /// Live subscriptions of this shard.
    pub fn live_subscriptions(&self) -> u32 {
        self.live.subscriptions
    }

    fn is_live_here(&self, filter: &str) -> bool {
        matches!(self.live.filters.first(filter), Some(Interest::Here { .. }))
    }

    fn tell_filter(&mut self, filter: &str, is_wanted: bool) {
        if !self.peers.is_empty() {
            let filter: Arc<str> = filter.into();
            self.tell_all(|| LiveWire::Filter { filter: filter.clone(), is_wanted });
        }
    }

    fn tell_all(&mut self, wire: impl Fn() -> LiveWire) {
        for to in self.peers.shards() {
            let message = PeerMessage::live(wire());
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    /// The home of a topic wants the messages that a filter matches for the first of its subscriptions that
    /// keep them, or for none any more. Every shard hears of it.
    pub(crate) fn tell_stored(&mut self, topic: &Arc<str>, filter: &Arc<str>, want: Want, is_wanted: bool) {
        self.set_stored(self.shard, topic, filter, want, is_wanted);
        self.tell_all(|| LiveWire::Stored { topic: topic.clone(), filter: filter.clone(), want, is_wanted });
    }

    /// A topic of this shard is no more.
    pub(crate) fn tell_stored_end(&mut self, topic: &Arc<str>) {
        self.end_stored(self.shard, topic);
        self.tell_all(|| LiveWire::StoredEnd { topic: topic.clone() });
    }

    /// Tells a shard that has come of the filter behind this one; gives that, or `None` at the end.
    pub(crate) fn introduce_filter(&mut self, to: ShardId, after: Option<&str>) -> Option<Box<str>> {
        let (filter, interests) = self.live.filters.next_after(after)?;
        if matches!(interests.first(), Some(Interest::Here { .. })) {
            let wire = LiveWire::Filter { filter: (&*filter).into(), is_wanted: true };
            self.effects.push_back(Effect::Peer { to, message: PeerMessage::live(wire) });
        }
        Some(filter)
    }

    /// Tells a shard that has come of the next filter of subscriptions of topics at home here; gives the
    /// topic and the filter, or `None` at the end.
    pub(crate) fn introduce_stored(
        &mut self,
        to: ShardId,
        after: Option<&(Arc<str>, Box<str>)>,
    ) -> Option<(Arc<str>, Box<str>)> {
        let here = self.shard;
        let same = after.and_then(|(topic, filter)| {
            let filters = self.live.stored.get(&(topic.clone(), here))?;
            filters.next_after(Some(filter)).map(|(filter, wants)| (topic, filter, wants))
        });
        let (topic, filter, wants) = match same {
            Some(next) => next,
            None => {
                let start = after.map_or(Bound::Unbounded, |(topic, _)| {
                    Bound::Excluded((topic.clone(), ShardId(u32::MAX)))
                });
                let mut others = self.live.stored.range((start, Bound::Unbounded));
                let ((topic, _), filters) = others.find(|((_, home), _)| *home == here)?;
                let (filter, wants) = filters.next_after(None)?;
                (topic, filter, wants)
            }
        };
        let (topic, told): (_, Arc<str>) = (topic.clone(), (&*filter).into());
        wants.for_each(|want| {
            let (topic, filter) = (topic.clone(), told.clone());
            let wire = LiveWire::Stored { topic, filter, want: *want, is_wanted: true };
            self.effects.push_back(Effect::Peer { to, message: PeerMessage::live(wire) });
        });
        Some((topic, filter))
    }

    /// Tells a shard that has come that it knows all now.
    pub(crate) fn tell_known(&mut self, to: ShardId) {
        self.effects.push_back(Effect::Peer { to, message: PeerMessage::live(LiveWire::Known) });
    }

    /// Every route may be another one now.
    pub(crate) fn all_routes_changed(&mut self) {
        self.live.routes.all_changed();
    }

    fn set_stored(&mut self, home: ShardId, topic: &Arc<str>, filter: &str, want: Want, is_wanted: bool) {
        let filters = self.live.stored.entry((topic.clone(), home)).or_default();
        let is_changed =
            if is_wanted { filters.insert(filter, want) == Ok(true) } else { filters.remove(filter, &want) };
        if filters.is_empty() {
            self.live.stored.remove(&(topic.clone(), home));
        }
        if is_changed {
            self.live.routes.filter_changed(filter);
        }
    }

    fn end_stored(&mut self, home: ShardId, topic: &Arc<str>) {
        if self.live.stored.remove(&(topic.clone(), home)).is_some() {
            self.live.routes.address_changed(topic, true);
        }
    }

    /// Takes what another shard says about live subscribers.
    pub(crate) fn handle_live(&mut self, from: ShardId, wire: LiveWire) {
        match wire {
            LiveWire::Filter { filter, is_wanted } => {
                let there = Interest::There(from);
                let filters = &mut self.live.filters;
                let is_changed = if is_wanted {
                    filters.insert(&filter, there) == Ok(true)
                } else {
                    filters.remove(&filter, &there)
                };
                if is_changed {
                    self.live.routes.filter_changed(&filter);
                }
            }
            LiveWire::Stored { topic, filter, want, is_wanted } => {
                self.set_stored(from, &topic, &filter, want, is_wanted);
            }
            LiveWire::StoredEnd { topic } => self.end_stored(from, &topic),
            LiveWire::Known => self.peer_is_known(from),
            LiveWire::Publish(message) => {
                self.take_live(from, message.cost());
                self.effects.push_back(Effect::Live { message });
            }
            LiveWire::Taken { bytes } => self.live_taken(from, bytes),
        }
    }

    // ---- messages ----------------------------------------------------------------------------------

    /// Where messages of this name go. What was asked for before and still holds is found at once.
    #[inline]
    pub fn route(&mut self, name: &str) -> Arc<Route> {
        match self.live.routes.find(name) {
            Some(route) => route.clone(),
            None => self.find_route(name),
        }
    }

    #[cold]
    fn find_route(&mut self, name: &str) -> Arc<Route> {
        let route = Arc::new(self.make_route(name));
        self.live.routes.insert(route.clone());
        route
    }

    fn make_route(&self, name: &str) -> Route {
        let mut route = Route { made: self.live.routes.made(name), ..Route::nowhere(name.into()) };
        let Ok(key) = self.resolve_name(name) else { return route };
        let Some(address) = self.addresses.get(key) else { return route };
        let kind = address.settings.kind;
        route.kind = Some(kind);
        route.address = Some(key);
        route.lifetime = address.settings.lifetime();
        route.max_message_bytes = address.settings.message_limit(&self.limits).unwrap_or(u64::MAX);
        if kind != AddressKind::Topic {
            return route;
        }
        let (mut local, mut shards) = (Vec::new(), Vec::new());
        self.live.filters.matches(name, |interest| match *interest {
            Interest::Here { token, index } => local.push(Subscriber { token, index }),
            Interest::There(shard) => shards.push(shard),
        });
        local.sort_unstable();
        local.dedup();
        shards.sort_unstable();
        shards.dedup();
        route.local = local.into();
        route.shards = shards.into();
        let Some(home) = address.home_shard.filter(|home| self.knows_all_of(*home)) else {
            // What its subscriptions want is not known: the home says it, or that it cannot be reached.
            (route.is_stored, route.is_stored_volatile) = (true, true);
            return route;
        };
        if let Some(stored) = self.live.stored.get(&(address.name.clone(), home)) {
            stored.matches(name, |want| {
                route.is_stored = true;
                route.is_stored_volatile |= *want == Want::Everything;
            });
        }
        route
    }

    /// Counts a message that the caller has handed to `copies` of the route's `local`, and hands it to the
    /// route's `shards`, for which it has to be there. A message that is then given to
    /// [`begin`](Self::begin) as well is given there as [`routed`](crate::Incoming::routed), and is not
    /// counted again.
    pub fn publish_live(&mut self, route: &Route, copies: u32, message: Option<&LiveMessage>) {
        self.counters.deliveries_in += 1;
        if let Some(address) = route.address.and_then(|key| self.addresses.get_mut(key)) {
            address.counters.deliveries_in += 1;
        }
        self.count_live(route, copies);
        if let Some(message) = message {
            self.send_live(route, message);
        }
    }

    /// Counts the copies that the caller has handed on of a message that came with
    /// [`Effect::Live`](crate::Effect::Live).
    pub fn count_live(&mut self, route: &Route, copies: u32) {
        if copies == 0 {
            return;
        }
        let copies = u64::from(copies);
        self.counters.deliveries_out += copies;
        self.counters.outcomes.presettled += copies;
        if let Some(address) = route.address.and_then(|key| self.addresses.get_mut(key)) {
            address.counters.deliveries_out += copies;
        }
    }

    /// Hands a message to the live subscribers that a route names, here and elsewhere.
    pub(crate) fn send_everywhere(&mut self, route: &Route, message: LiveMessage) {
        self.send_live(route, &message);
        if !route.local.is_empty() {
            self.effects.push_back(Effect::Live { message });
        }
    }

    fn send_live(&mut self, route: &Route, message: &LiveMessage) {
        let cost = message.cost();
        for to in route.shards.iter().copied() {
            if !self.peers.contains(to) {
                continue;
            }
            let window = self.live.windows.row(to);
            let before = window.waiting;
            if before >= LIVE_LIMIT {
                self.count_dropped(route.address, 1);
                continue;
            }
            window.waiting += cost;
            let is_full_now = before < LIVE_WINDOW && window.waiting >= LIVE_WINDOW;
            let message = PeerMessage::live(LiveWire::Publish(message.clone()));
            self.effects.push_back(Effect::Peer { to, message });
            if is_full_now {
                self.live.full += 1;
                self.live_room_changed(false);
            }
        }
    }

    /// A message of another shard is on its way to its subscribers.
    fn take_live(&mut self, from: ShardId, cost: u64) {
        let window = self.live.windows.row(from);
        window.taken += cost;
        if window.taken >= LIVE_WINDOW / 4 {
            let bytes = std::mem::take(&mut window.taken);
            let message = PeerMessage::live(LiveWire::Taken { bytes });
            self.effects.push_back(Effect::Peer { to: from, message });
        }
    }

    /// Another shard has handed on what it got.
    fn live_taken(&mut self, from: ShardId, bytes: u64) {
        let Some(window) = self.live.windows.get_mut(from) else { return };
        let before = window.waiting;
        window.waiting = before.saturating_sub(bytes);
        if before >= LIVE_WINDOW && window.waiting < LIVE_WINDOW {
            self.live.full = self.live.full.saturating_sub(1);
            self.live_room_changed(true);
        }
    }

    /// There is room for messages to other shards again, or none: topics stop their producers, and the
    /// caller hears when it may read publishers again.
    fn live_room_changed(&mut self, has_room: bool) {
        let is_news = self.live.full == u32::from(!has_room);
        if !is_news {
            return;
        }
        let topics: Vec<HomeKey> = self.live.topics.iter().copied().collect();
        for topic in topics {
            self.tell_blocked(topic);
        }
        if has_room {
            for source in std::mem::take(&mut self.live.accepted) {
                self.answer(source, Outcome::Accepted);
            }
            self.effects.push_back(Effect::LiveRoom);
        }
    }

    /// Accepts a message that live subscribers have got alone: when there is room for another one, so that
    /// no producer is ahead of them by more than its credit.
    pub(crate) fn accept_live(&mut self, source: Source) {
        if self.has_live_room() {
            self.answer(source, Outcome::Accepted);
        } else {
            self.live.accepted.push(source);
        }
    }

    /// Whether publishers may go on. When false, some shard has [`LIVE_WINDOW`] bytes of messages of this
    /// one that it has not taken: read no publisher until [`LiveRoom`](crate::Effect::LiveRoom). What is
    /// published nevertheless is dropped, and counted, at 16 times as much.
    #[inline]
    pub fn has_live_room(&self) -> bool {
        self.live.full == 0
    }

    /// An address of this name has come, changed or gone.
    pub(crate) fn routes_changed(&mut self, name: &str, is_topic: bool) {
        self.live.routes.address_changed(name, is_topic);
    }

    /// Another shard is gone, with its subscribers, and with the homes that wanted messages.
    pub(crate) fn live_peer_gone(&mut self, peer: ShardId) {
        let there = Interest::There(peer);
        let mut lost = Vec::new();
        self.live.filters.for_each(|filter, values| {
            values.for_each(|interest| {
                if *interest == there {
                    lost.push(Box::<str>::from(filter));
                }
            });
        });
        for filter in lost {
            self.live.filters.remove(&filter, &there);
        }
        self.live.stored.retain(|(_, home), _| *home != peer);
        self.live.routes.all_changed();
        self.live_taken(peer, u64::MAX);
        self.live.windows.remove(peer);
    }
}

#[cfg(test)]
impl Core {
    /// Checks that this shard knows what another one has to say, when no message is on its way.
    pub(crate) fn check_live_knowledge(&self, there: ShardId, other: &Self) {
        let (mut told, mut known) = (BTreeSet::new(), BTreeSet::new());
        other.live.filters.for_each(|filter, interests| {
            if matches!(interests.first(), Some(Interest::Here { .. })) {
                told.insert(filter.to_owned());
            }
        });
        self.live.filters.for_each(|filter, interests| {
            interests.for_each(|interest| {
                if *interest == Interest::There(there) {
                    known.insert(filter.to_owned());
                }
            });
        });
        assert_eq!(known, told);
        assert_eq!(self.live_wants(there), other.live_wants(other.shard));
    }

    fn live_wants(&self, home: ShardId) -> BTreeSet<(Arc<str>, String, Want)> {
        let mut wants = BTreeSet::new();
        for ((topic, of), filters) in self.live.stored.iter() {
            if *of == home {
                filters.for_each(|filter, values| {
                    values.for_each(|want| {
                        wants.insert((topic.clone(), filter.to_owned(), *want));
                    });
                });
            }
        }
        wants
    }

    /// Checks that nothing is left of a shard that is gone.
    pub(crate) fn check_live_forgotten(&self, gone: ShardId) {
        self.live.filters.for_each(|_, interests| {
            interests.for_each(|interest| assert!(*interest != Interest::There(gone)));
        });
        assert!(self.live.stored.keys().all(|(_, home)| *home != gone));
        assert!(self.live.windows.get(gone).is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Few;

    #[test]
    fn an_interest_takes_no_more_than_a_subscriber() {
        assert!(size_of::<Few<Interest>>() <= 16);
    }
}
