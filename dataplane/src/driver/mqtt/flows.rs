//! What is under way between a session and the core, and how the shard finds whom an effect is for.
//!
//! A *feed* is a consumer of the core that belongs to a session while its client is connected: of the
//! session's own durable subscription at a topic address, of a shared one, or of a plain address. Live
//! messages need no feed. What has no room in the client's receive maximum waits here: messages of feeds
//! are bounded by the credit that they were given, live ones by the configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mq_core::{ConsumerKey, Effect, LegKey, ProducerKey, Reference, Ticket, TransactionId, UnixMillis};
use mq_mqtt::{OutgoingState, PacketId, Qos, SessionState, Unacknowledged};
use slab::Slab;

use super::deliver::Shapes;
use super::names::Room;
use super::parcel::{Carried, Parcel, UnderWay};
use super::record::OutgoingRecord;
use super::retained::Query;
use super::session::SessionKey;
use crate::driver::{Shard, slot_of};

/// What is under way to a client and from it, and what waits for it. Most sessions have nothing.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    state: Option<Box<State>>,
}

/// How much is under way and waits in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Messages that wait for room in the client's window.
    pub(crate) waiting: u64,
    pub(crate) waiting_bytes: u64,
    /// Messages that were sent and not acknowledged before the client left.
    pub(crate) in_flight: u64,
    /// Publications of QoS 2 that were not released before the client left.
    pub(crate) incoming: u64,
    /// Messages that were dropped because the session was full.
    pub(crate) dropped: u64,
}

/// The same, of a session that has something.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Packet identifiers that the next connection resumes.
    pub(super) resumed: SessionState,
    /// While the client is connected; an index stays the same while its feed is there.
    pub(super) feeds: Vec<Option<Feed>>,
    pub(super) waiting: Waiting,
    /// Messages that were sent and that nobody else has.
    pub(super) kept: Slab<Entry>,
    /// Messages of QoS 1 and 2 that were under way when the last connection ended, by what the store calls
    /// them.
    pub(super) known: BTreeMap<Reference, Known>,
    /// Those of them that have come again and wait for those sent before them.
    pub(super) returned: BTreeMap<PacketId, Entry>,
    /// Packet identifiers of messages of QoS 2 that have an object in the store.
    pub(super) remembered: BTreeSet<PacketId>,
    /// Publications of QoS 2 of which the node does not know yet that it has them.
    pub(super) taking: BTreeMap<PacketId, Taking>,
    /// Topic addresses where the session has a durable subscription.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// Shared subscriptions that the session claims: topic address and name.
    pub(super) claims: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Messages that were dropped because the session was full.
    pub(super) dropped: u64,
}

/// How far a message came that was under way when the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) packet_id: PacketId,
    /// Whether the client has it: then it is not sent again.
    pub(super) is_released: bool,
}

/// A publication of QoS 2 on its way to where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// The answer will say so; with its place among those of the connection, if that is still there.
    Pending(Option<u64>),
    /// It is kept, but its client did not hear of it.
    Taken,
}

impl Flights {
    /// What a connection resumes.
    pub(crate) fn engine_state(&self) -> SessionState {
        self.state.as_ref().map(|state| state.resumed.clone()).unwrap_or_default()
    }

    /// A message of QoS 2 that the client has, away as it is, need not be kept any more.
    pub(super) fn release(&mut self, packet_id: PacketId) {
        let Some(state) = self.get_mut() else { return };
        for unacknowledged in &mut state.resumed.outgoing {
            if unacknowledged.packet_id == packet_id && unacknowledged.state == OutgoingState::Received {
                unacknowledged.state = OutgoingState::Released;
            }
        }
    }

    /// Before the restart a publication of QoS 2 was taken that the client has not released.
    pub(crate) fn recover_incoming(&mut self, packet_id: PacketId) {
        self.get_or_insert().resumed.incoming.push(packet_id);
    }

    /// Before the restart a message of QoS 2 was sent whose exchange has not ended.
    pub(crate) fn recover_outgoing(&mut self, packet_id: PacketId, record: OutgoingRecord) {
        let OutgoingRecord { reference, is_released, .. } = record;
        let state = self.get_or_insert();
        state.known.insert(reference, Known { packet_id, is_released });
        state.remembered.insert(packet_id);
        let outgoing =
            if is_released { OutgoingState::Released } else { OutgoingState::Published(Qos::ExactlyOnce) };
        // The log numbers messages as they came: so they were sent, too.
        let position = state.known.range(..reference).count().min(state.resumed.outgoing.len());
        let unacknowledged = Unacknowledged { packet_id, token: Token::None.to_bits(), state: outgoing };
        state.resumed.outgoing.insert(position, unacknowledged);
    }

    /// Puts what is under way and what waits of a session without a connection into a parcel. `expires` says when
    /// a deadline is.
    pub(super) fn pack(&self, parcel: &mut Parcel, expires: impl Fn(Instant) -> UnixMillis) {
        let Some(state) = &self.state else { return };
        let carried = |entry: &Entry| Carried {
            message: entry.message.clone(),
            qos: entry.qos,
            retain: entry.retain,
            is_shared: entry.is_shared,
            identifiers: entry.identifiers.as_slice().to_vec(),
            expires: entry.deadline.map(&expires),
        };
        parcel.incoming.clone_from(&state.resumed.incoming);
        parcel.incoming.extend(state.taking.keys());
        let under_way = |unacknowledged: &Unacknowledged| {
            let message = match Token::from_bits(unacknowledged.token) {
                Token::Kept(slot) => state.kept.get(slot as usize).map(carried),
                Token::None | Token::Leg(_) | Token::Own(_) => None,
            };
            UnderWay { packet_id: unacknowledged.packet_id, state: unacknowledged.state, message }
        };
        parcel.outgoing = state.resumed.outgoing.iter().map(under_way).collect();
        let known = state.known.iter();
        parcel.known =
            known.map(|(reference, known)| (*reference, known.packet_id, known.is_released)).collect();
        parcel.remembered = state.remembered.iter().copied().collect();
        parcel.waiting = state.waiting.live.iter().map(|(_, entry)| carried(entry)).collect();
        parcel.dropped = state.dropped;
    }

    /// Takes what a session has brought from another node; `deadline` says when a message's time is over.
    pub(super) fn unpack(&mut self, parcel: Parcel, deadline: impl Fn(UnixMillis) -> Option<Instant>) {
        let Parcel { incoming, outgoing, known, remembered, waiting, dropped, .. } = parcel;
        let entry = |carried: Carried| Entry {
            message: carried.message,
            qos: carried.qos,
            retain: carried.retain,
            identifiers: carried.identifiers.into_iter().fold(Identifiers::None, |mut all, identifier| {
                all.push(identifier);
                all
            }),
            deadline: carried.expires.and_then(&deadline),
            leg: None,
            is_own: false,
            is_shared: carried.is_shared,
        };
        let state = self.get_or_insert();
        state.resumed.incoming = incoming;
        for UnderWay { packet_id, state: how_far, message } in outgoing {
            let name = match message.map(&entry) {
                Some(entry) => Token::Kept(u32::try_from(state.kept.insert(entry)).unwrap_or(u32::MAX)),
                None => Token::None,
            };
            let unacknowledged = Unacknowledged { packet_id, token: name.to_bits(), state: how_far };
            state.resumed.outgoing.push(unacknowledged);
        }
        for (reference, packet_id, is_released) in known {
            state.known.insert(reference, Known { packet_id, is_released });
        }
        state.remembered.extend(remembered);
        for carried in waiting {
            state.waiting.put_live(entry(carried));
        }
        state.dropped = dropped;
        self.tidy();
    }

    /// How much there is.
    pub(crate) fn figures(&self) -> Figures {
        let Some(state) = &self.state else { return Figures::default() };
        Figures {
            waiting: state.waiting.len() as u64,
            waiting_bytes: state.waiting.bytes(),
            in_flight: state.resumed.outgoing.len() as u64,
            incoming: (state.resumed.incoming.len() + state.taking.len()) as u64,
            dropped: state.dropped,
        }
    }

    pub(super) fn get(&self) -> Option<&State> {
        self.state.as_deref()
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut State> {
        self.state.as_deref_mut()
    }

    pub(super) fn get_or_insert(&mut self) -> &mut State {
        self.state.get_or_insert_default()
    }

    pub(super) fn take(&mut self) -> Option<Box<State>> {
        self.state.take()
    }

    /// Gives memory back when there is nothing to remember.
    pub(super) fn tidy(&mut self) {
        self.state.take_if(|state| state.is_empty());
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.resumed.is_empty()
            && self.feeds.iter().all(Option::is_none)
            && self.waiting.is_empty()
            && self.kept.is_empty()
            && self.known.is_empty()
            && self.returned.is_empty()
            && self.remembered.is_empty()
            && self.taking.is_empty()
            && self.topics.is_empty()
            && self.claims.is_empty()
            && self.dropped == 0
    }

    /// Forgets every message, of a session that ends with its connection.
    pub(super) fn forget_messages(&mut self) {
        self.resumed.outgoing = Vec::new();
        self.waiting = Waiting::default();
        self.kept = Slab::new();
        self.known.clear();
        self.dropped = 0;
    }

    /// Forgets the deliveries of feeds that have not been sent on this connection, and says which they are:
    /// nobody has failed to take them.
    pub(super) fn take_unsent(&mut self) -> Vec<LegKey> {
        let entries = self.waiting.take_fed().chain(std::mem::take(&mut self.returned).into_values());
        let mut unsent: Vec<LegKey> = entries.filter_map(|entry| entry.leg).collect();
        let assemblies = self.feeds.iter_mut().flatten().filter_map(|feed| feed.assembly.take());
        unsent.extend(assemblies.filter_map(|assembly| assembly.leg));
        unsent
    }

    /// Adds a feed at the first free index.
    pub(super) fn add_feed(&mut self, feed: Feed) -> u32 {
        let index = self.feeds.iter().position(Option::is_none).unwrap_or(self.feeds.len());
        match self.feeds.get_mut(index) {
            Some(place) => *place = Some(feed),
            None => self.feeds.push(Some(feed)),
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    pub(super) fn feed(&self, index: u32) -> Option<&Feed> {
        self.feeds.get(index as usize)?.as_ref()
    }

    pub(super) fn feed_mut(&mut self, index: u32) -> Option<&mut Feed> {
        self.feeds.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn remove_feed(&mut self, index: u32) -> Option<Feed> {
        let feed = self.feeds.get_mut(index as usize)?.take();
        while self.feeds.last().is_some_and(Option::is_none) {
            self.feeds.pop();
        }
        feed
    }

    /// Every feed with its index.
    pub(super) fn each_feed(&self) -> impl Iterator<Item = (u32, &Feed)> {
        self.feeds
            .iter()
            .enumerate()
            .filter_map(|(index, feed)| Some((u32::try_from(index).ok()?, feed.as_ref()?)))
    }
}

/// A consumer of the core that belongs to a session.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) consumer: ConsumerKey,
    pub(super) source: Source,
    pub(super) stage: Stage,
    /// `Admitted` and `Refiltered` that have to come before a SUBSCRIBE is answered.
    pub(super) awaited: u32,
    /// Deliveries that the core may still start.
    pub(super) credit: u32,
    /// A message of which not everything has come.
    pub(super) assembly: Option<Box<Assembly>>,
}

/// What a feed is fed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The session's durable subscription at a topic address, for these filters.
    Own { topic: Arc<str>, filters: Arc<[Arc<str>]> },
    /// The shared subscription of this index, at a topic address.
    Shared { index: u32, topic: Arc<str> },
    /// The plain address that the subscription of this index names.
    Plain { index: u32, name: Arc<str> },
}

impl Source {
    /// The subscription that alone it is for.
    pub(super) fn subscription(&self) -> Option<u32> {
        match self {
            Self::Own { .. } => None,
            Self::Shared { index, .. } | Self::Plain { index, .. } => Some(*index),
        }
    }
}

/// How far a feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The home of its address has not let it in.
    Joining,
    /// What was under way before comes first: until `Drained` says that there is no more of it.
    Returning,
    Open,
}

/// A message that comes in chunks.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) leg: Option<LegKey>,
    pub(super) message_format: u32,
    /// When its time is over.
    pub(super) deadline: Option<Instant>,
    pub(super) body: Vec<u8>,
    /// It is too large for the client: the rest is swallowed.
    pub(super) is_too_large: bool,
}

/// Subscription identifiers of a message: mostly none or one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Identifiers {
    #[default]
    None,
    One([u32; 1]),
    Many(Vec<u32>),
}

impl Identifiers {
    /// Adds one; 0 is none. A subscription counts once, two with the same identifier twice.
    pub(super) fn push(&mut self, identifier: u32) {
        if identifier == 0 {
            return;
        }
        *self = match std::mem::take(self) {
            Self::None => Self::One([identifier]),
            Self::One([first]) => Self::Many(vec![first, identifier]),
            Self::Many(mut all) => {
                all.push(identifier);
                Self::Many(all)
            }
        };
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(all) => all,
        }
    }
}

/// A message for one client.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// In the encoding of the envelope, in memory of its own.
    pub(super) message: Bytes,
    /// With which it is sent.
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) identifiers: Identifiers,
    /// When its time is over.
    pub(super) deadline: Option<Instant>,
    /// How the core calls it, when it comes from there.
    pub(super) leg: Option<LegKey>,
    /// Whether its queue gives it to the next connection: then nothing has to be kept here.
    pub(super) is_own: bool,
    /// Whether it is of a share.
    pub(super) is_shared: bool,
}

/// Messages that wait for room in the window of a client, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Live messages: nobody else has them.
    live: VecDeque<(u64, Entry)>,
    live_bytes: u64,
    /// Messages of feeds, which their queues have as well.
    fed: VecDeque<(u64, Entry)>,
    fed_bytes: u64,
    next: u64,
}

/// What a session may have waiting, and what happens to more.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingLimits {
    pub(super) max_messages: u64,
    pub(super) max_bytes: u64,
    pub(super) on_full: mq_model::config::SessionFull,
}

/// What has become of a live message for a session whose window is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Waits,
    /// So many that had waited longest made room for it.
    Displaced(u64),
    Dropped,
    /// It is dropped, and so is the client.
    Disconnect,
}

/// What a message costs beside its bytes.
const ENTRY_COST: u64 = 128;

fn cost(entry: &Entry) -> u64 {
    entry.message.len() as u64 + ENTRY_COST
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.fed.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.live.len() + self.fed.len()
    }

    /// Live messages.
    pub(super) fn live_len(&self) -> usize {
        self.live.len()
    }

    /// Messages of feeds, and their bytes.
    pub(super) fn fed(&self) -> (usize, u64) {
        (self.fed.len(), self.fed_bytes)
    }

    fn bytes(&self) -> u64 {
        self.live_bytes + self.fed_bytes
    }

    /// Adds a message of a feed. How many there are is bounded by the credit that feeds have.
    pub(super) fn push_fed(&mut self, entry: Entry) {
        self.fed_bytes += cost(&entry);
        let number = self.number();
        self.fed.push_back((number, entry));
    }

    /// Adds a live message.
    pub(super) fn push_live(&mut self, entry: Entry, limits: &WaitingLimits) -> Pushed {
        use mq_model::config::SessionFull;
        let size = cost(&entry);
        let is_full = |waiting: &Self| {
            waiting.live.len() as u64 >= limits.max_messages
                || waiting.live_bytes.saturating_add(size) > limits.max_bytes
        };
        let mut displaced = 0;
        if is_full(self) {
            match limits.on_full {
                // One that would not fit into an empty session displaces nothing.
                SessionFull::DropOldest if size > limits.max_bytes => return Pushed::Dropped,
                SessionFull::DropOldest => {
                    while is_full(self) {
                        let Some((_, oldest)) = self.live.pop_front() else { return Pushed::Dropped };
                        self.live_bytes -= cost(&oldest);
                        displaced += 1;
                    }
                }
                SessionFull::DropNewest => return Pushed::Dropped,
                SessionFull::Disconnect => return Pushed::Disconnect,
            }
        }
        self.put_live(entry);
        if displaced > 0 { Pushed::Displaced(displaced) } else { Pushed::Waits }
    }

    /// Adds a live message that was let in before.
    fn put_live(&mut self, entry: Entry) {
        self.live_bytes += cost(&entry);
        let number = self.number();
        self.live.push_back((number, entry));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn is_fed_first(&self) -> bool {
        match (self.fed.front(), self.live.front()) {
            (Some((fed, _)), Some((live, _))) => fed < live,
            (fed, _) => fed.is_some(),
        }
    }

    /// The message that came first.
    pub(super) fn front(&self) -> Option<&Entry> {
        let first = if self.is_fed_first() { self.fed.front() } else { self.live.front() };
        first.map(|(_, entry)| entry)
    }

    /// Takes the message that came first.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if self.is_fed_first() {
            let (_, entry) = self.fed.pop_front()?;
            self.fed_bytes -= cost(&entry);
            return Some(entry);
        }
        let (_, entry) = self.live.pop_front()?;
        self.live_bytes -= cost(&entry);
        Some(entry)
    }

    /// Gives back the message that was taken last.
    pub(super) fn put_back(&mut self, entry: Entry) {
        let size = cost(&entry);
        // Before everything that has come since.
        if entry.leg.is_some() {
            self.fed_bytes += size;
            self.fed.push_front((0, entry));
        } else {
            self.live_bytes += size;
            self.live.push_front((0, entry));
        }
    }

    /// Takes the messages of feeds out: their queues give them to somebody else, or again.
    pub(super) fn take_fed(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.fed_bytes = 0;
        std::mem::take(&mut self.fed).into_iter().map(|(_, entry)| entry)
    }
}

/// How the engine calls a publication of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Nothing has to be done when it ends.
    None,
    /// The core's delivery.
    Leg(LegKey),
    /// The same, from the session's own queue.
    Own(LegKey),
    /// The session's own message of this slot.
    Kept(u32),
}

/// Set in tokens of deliveries of the session's own queue: no shard has a thousand million deliveries
/// under way, which is where the number of one would reach this bit.
const OWN: u64 = 1 << 30;

impl Token {
    pub(super) fn to_bits(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Leg(leg) => leg.to_bits(),
            Self::Own(leg) => leg.to_bits() | OWN,
            // No key of the core has such a number.
            Self::Kept(slot) => u64::from(slot.saturating_add(1)),
        }
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        match (LegKey::from_bits(bits & !OWN), bits & OWN != 0) {
            (Some(leg), true) => Self::Own(leg),
            (Some(leg), false) => Self::Leg(leg),
            (None, _) => {
                u32::try_from(bits).ok().and_then(|slot| slot.checked_sub(1)).map_or(Self::None, Self::Kept)
            }
        }
    }

    /// The token of a message of a feed.
    pub(super) fn of(entry: &Entry) -> Self {
        match entry.leg {
            Some(leg) if entry.is_own => Self::Own(leg),
            Some(leg) => Self::Leg(leg),
            None => Self::None,
        }
    }

    /// The core's delivery, if it is one.
    pub(super) fn leg(self) -> Option<LegKey> {
        match self {
            Self::Leg(leg) | Self::Own(leg) => Some(leg),
            Self::None | Self::Kept(_) => None,
        }
    }
}

/// Whom the core's links belong to, by the slot of the core's key.
#[derive(Debug)]
pub(super) struct Owners<T>(Vec<Option<(u64, T)>>);

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Owners<T> {
    pub(super) fn insert(&mut self, bits: u64, owner: T) {
        let slot = slot_of(bits);
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some((bits, owner));
        }
    }

    pub(super) fn get(&self, bits: u64) -> Option<T> {
        self.0.get(slot_of(bits))?.as_ref().filter(|(key, _)| *key == bits).map(|(_, owner)| *owner)
    }

    pub(super) fn remove(&mut self, bits: u64) -> Option<T> {
        let owner = self.get(bits)?;
        if let Some(place) = self.0.get_mut(slot_of(bits)) {
            *place = None;
        }
        Some(owner)
    }
}

/// What an answer of the store is waited for.
#[derive(Debug)]
pub(super) enum Errand {
    /// A publication of QoS 2 is remembered: it can be acknowledged.
    Taken { session: SessionKey, packet_id: PacketId },
    /// A publication of QoS 2 is forgotten: its identifier is free.
    Completed { session: SessionKey, packet_id: PacketId },
    /// It is remembered that the client has a message of QoS 2: its queue need not keep it.
    Received { session: SessionKey, packet_id: PacketId, leg: LegKey },
    /// The identifier of a message of QoS 2 is remembered: it can be sent.
    Reserved {
        session: SessionKey,
        /// The number of the connection: on another one it is not reserved.
        connection: u64,
        packet_id: PacketId,
        entry: Box<Entry>,
    },
}

/// What a transaction of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A publication of QoS 2 is kept, and its packet identifier remembered.
    Take { session: SessionKey, packet_id: PacketId },
    /// A message of QoS 2 leaves its queue, and it is remembered that the client has it.
    Release { session: SessionKey, packet_id: PacketId, reference: Reference },
}

/// What a shard needs to carry messages of its MQTT clients.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(super) consumers: Owners<(SessionKey, u32)>,
    /// By connection.
    pub(super) producers: Owners<usize>,
    pub(super) errands: HashMap<Ticket, Errand>,
    pub(super) transactions: HashMap<TransactionId, Deed>,
    /// Connections that are not read until other shards have taken what they were sent.
    pub(super) stalled: Vec<usize>,
    /// The message of the moment, encoded for those who take it in the same bytes.
    pub(super) shapes: Shapes,
    /// For the name of the moment.
    pub(super) room: Room,
    /// Questions for retained messages that have not been answered.
    pub(super) queries: HashMap<u64, Query>,
    pub(super) next_query: u64,
    pub(crate) counters: Counters,
}

impl Messages {
    /// Whether the store has yet to answer something for a session.
    pub(super) fn is_storing(&self, token: SessionKey) -> bool {
        let is_errand = |errand: &Errand| match errand {
            Errand::Taken { session, .. }
            | Errand::Completed { session, .. }
            | Errand::Received { session, .. }
            | Errand::Reserved { session, .. } => *session == token,
        };
        let is_deed = |deed: &Deed| match deed {
            Deed::Take { session, .. } | Deed::Release { session, .. } => *session == token,
        };
        self.errands.values().any(is_errand) || self.transactions.values().any(is_deed)
    }

    /// Whom a consumer of the core belongs to.
    pub(super) fn consumer(&self, consumer: ConsumerKey) -> Option<(SessionKey, u32)> {
        self.consumers.get(consumer.to_bits())
    }

    /// The connection that a producer of the core belongs to.
    pub(super) fn producer(&self, producer: ProducerKey) -> Option<usize> {
        self.producers.get(producer.to_bits())
    }
}

impl Shard {
    /// Carries out what the core wants of an MQTT client; false when the effect is for somebody else.
    pub(in crate::driver) fn carry_out_for_mqtt(&mut self, now: Instant, effect: &Effect) -> bool {
        match effect {
            Effect::Deliver { consumer, leg, chunk, more, message_format, ttl_left, .. } => {
                self.mqtt_deliver(now, *consumer, *leg, chunk, *more, *message_format, *ttl_left)
            }
            Effect::Continue { consumer, chunk, more } => self.mqtt_continue(now, *consumer, chunk, *more),
            Effect::Abort { consumer } => self.mqtt_abort(*consumer),
            Effect::UpdateProducer { producer, handle, outcome, settled } => {
                self.mqtt_outcome(now, *producer, *handle, outcome.as_ref(), *settled)
            }
            // Deliveries from producers settle with the outcome that the client gave.
            Effect::UpdateConsumer { consumer, .. } => self.mqtt.messages.consumer(*consumer).is_some(),
            Effect::Grant { producer, credit } => self.mqtt_granted(*producer, *credit),
            Effect::Consumed { producer, bytes } => self.mqtt_consumed(*producer, *bytes as u64),
            Effect::StopProducer { producer } => self.mqtt_producer_stopped(now, *producer),
            Effect::CloseProducer { producer, .. } => self.mqtt_producer_closed(now, *producer),
            Effect::Admitted { consumer } | Effect::Refiltered { consumer } => {
                self.mqtt_admitted(now, *consumer)
            }
            Effect::CloseConsumer { consumer, reason } => self.mqtt_consumer_closed(now, *consumer, *reason),
            Effect::Drained { consumer } => self.mqtt_drained(now, *consumer),
            Effect::Retained { token, page } => {
                self.mqtt_page(now, *token, page) || self.retained_listed(*token, page)
            }
            Effect::Discharged { transaction, result } => {
                self.mqtt_discharged(now, *transaction, result.as_ref().copied().map_err(|error| &**error))
            }
            Effect::Live { message } => {
                self.mqtt_live(now, message);
                true
            }
            Effect::LiveRoom => {
                self.mqtt_live_room();
                true
            }
            Effect::Store(_) | Effect::Peer { .. } | Effect::Run { .. } | Effect::Emptied { .. } => false,
        }
    }
}

/// What a shard has carried for MQTT clients since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Publications of clients, by QoS.
    pub(crate) published: [u64; 3],
    /// Publications that were refused.
    pub(crate) refused: u64,
    /// Messages sent to clients, by QoS; those sent again count again.
    pub(crate) sent: [u64; 3],
    /// Messages of QoS 0 that were dropped because the client did not take what it was sent.
    pub(crate) dropped_slow: u64,
    /// Messages that were dropped because a session was full.
    pub(crate) dropped_full: u64,
    /// Messages that were dropped because they are larger than the client takes.
    pub(crate) dropped_large: u64,
    /// Messages that were dropped because MQTT cannot carry them.
    pub(crate) dropped_unfit: u64,
    /// Messages whose time was over before they could be sent.
    pub(crate) expired: u64,
    /// Messages that clients refused.
    pub(crate) rejected: u64,
}

#[cfg(test)]
mod tests {
    use mq_model::config::SessionFull;

    use super::*;

    fn entry(size: usize) -> Entry {
        Entry {
            message: Bytes::from(vec![0; size]),
            qos: Qos::AtLeastOnce,
            retain: false,
            identifiers: Identifiers::None,
            deadline: None,
            leg: None,
            is_own: false,
            is_shared: false,
        }
    }

    fn limits(max_messages: u64, max_bytes: u64, on_full: SessionFull) -> WaitingLimits {
        WaitingLimits { max_messages, max_bytes, on_full }
    }

    fn sizes(mut waiting: Waiting) -> Vec<usize> {
        std::iter::from_fn(|| waiting.pop()).map(|entry| entry.message.len()).collect()
    }

    #[test]
    fn what_waits_leaves_in_the_order_it_came_in_whichever_way() {
        let mut waiting = Waiting::default();
        let limits = limits(100, 1 << 20, SessionFull::DropOldest);
        waiting.push_fed(entry(1));
        waiting.push_live(entry(2), &limits);
        waiting.push_live(entry(3), &limits);
        waiting.push_fed(entry(4));
        waiting.push_live(entry(5), &limits);
        assert_eq!((waiting.len(), waiting.live_len(), waiting.fed().0), (5, 3, 2));
        assert_eq!(waiting.front().map(|entry| entry.message.len()), Some(1));
        assert_eq!(sizes(waiting), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_oldest_live_messages_make_room_for_a_new_one() {
        let mut waiting = Waiting::default();
        let limits = limits(2, 1 << 20, SessionFull::DropOldest);
        waiting.push_fed(entry(9));
        assert_eq!(waiting.push_live(entry(1), &limits), Pushed::Waits);
        assert_eq!(waiting.push_live(entry(2), &limits), Pushed::Waits);
        assert_eq!(waiting.push_live(entry(3), &limits), Pushed::Displaced(1));
        assert_eq!(sizes(waiting), [9, 2, 3]);
    }

    #[test]
    fn bytes_count_as_well_as_messages() {
        let mut waiting = Waiting::default();
        let limits = limits(100, 3 * (100 + ENTRY_COST), SessionFull::DropOldest);
        for _ in 0..3 {
            assert_eq!(waiting.push_live(entry(100), &limits), Pushed::Waits);
        }
        assert_eq!(waiting.push_live(entry(101), &limits), Pushed::Displaced(2));
        assert_eq!(waiting.push_live(entry(10_000), &limits), Pushed::Dropped);
        assert_eq!(sizes(waiting), [100, 101]);
    }

    #[test]
    fn a_new_message_is_dropped_or_disconnects_where_that_is_the_policy() {
        for (on_full, expected) in
            [(SessionFull::DropNewest, Pushed::Dropped), (SessionFull::Disconnect, Pushed::Disconnect)]
        {
            let mut waiting = Waiting::default();
            let limits = limits(1, 1 << 20, on_full);
            assert_eq!(waiting.push_live(entry(1), &limits), Pushed::Waits);
            assert_eq!(waiting.push_live(entry(2), &limits), expected);
            assert_eq!(sizes(waiting), [1]);
        }
    }

    #[test]
    fn messages_of_feeds_are_taken_out_alone() {
        let mut waiting = Waiting::default();
        let limits = limits(100, 1 << 20, SessionFull::DropOldest);
        waiting.push_fed(entry(1));
        waiting.push_live(entry(2), &limits);
        assert_eq!(waiting.take_fed().map(|entry| entry.message.len()).collect::<Vec<_>>(), [1]);
        assert_eq!((waiting.fed(), waiting.bytes()), ((0, 0), 2 + ENTRY_COST));
        assert_eq!(sizes(waiting), [2]);
    }

    #[test]
    fn identifiers_keep_their_order_and_0_is_none() {
        let mut identifiers = Identifiers::default();
        assert_eq!(identifiers.as_slice(), [0_u32; 0]);
        for (identifier, expected) in [(0, &[][..]), (3, &[3]), (0, &[3]), (1, &[3, 1]), (3, &[3, 1, 3])] {
            identifiers.push(identifier);
            assert_eq!(identifiers.as_slice(), expected);
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let leg = LegKey::from_bits(7 << 32 | 3).expect("a key");
        let stored = LegKey::from_bits(u64::from(u32::MAX) << 32 | 1 << 31 | 3).expect("a key");
        let legs = [Token::Leg(leg), Token::Own(leg), Token::Leg(stored), Token::Own(stored)];
        for token in [Token::None, Token::Kept(0), Token::Kept(1 << 20)].into_iter().chain(legs) {
            assert_eq!(Token::from_bits(token.to_bits()), token);
        }
    }

    #[test]
    fn an_owner_is_found_by_the_key_that_it_was_added_with_and_no_other() {
        let mut owners = Owners::default();
        owners.insert(1 << 32 | 5, 'a');
        assert_eq!(
            (owners.get(1 << 32 | 5), owners.get(2 << 32 | 5), owners.get(9)),
            (Some('a'), None, None)
        );
        owners.insert(2 << 32 | 5, 'b');
        assert_eq!(owners.remove(1 << 32 | 5), None);
        assert_eq!(owners.remove(2 << 32 | 5), Some('b'));
        assert_eq!(owners.get(2 << 32 | 5), None);
    }

    #[test]
    fn what_was_under_way_before_a_restart_is_resumed_in_the_order_of_the_log() {
        let mut flights = Flights::default();
        let id = |number| PacketId::new(number).expect("not 0");
        for (number, reference, is_released) in [(7, 30, false), (5, 10, true), (6, 20, false)] {
            let record = OutgoingRecord { number: 1, reference: Reference(reference), is_released };
            flights.recover_outgoing(id(number), record);
        }
        flights.recover_incoming(id(9));
        let state = flights.engine_state();
        let numbers: Vec<u16> = state.outgoing.iter().map(|one| one.packet_id.to_number()).collect();
        assert_eq!(numbers, [5, 6, 7]);
        assert_eq!(state.outgoing[0].state, OutgoingState::Released);
        assert_eq!(state.incoming, [id(9)]);
    }

    #[test]
    fn what_is_under_way_and_waits_is_the_same_on_the_node_that_a_session_moves_to() {
        let id = |number| PacketId::new(number).expect("not 0");
        let mut flights = Flights::default();
        let state = flights.get_or_insert();
        let kept = state.kept.insert(entry(7));
        let outgoing = [
            (4, Token::Kept(u32::try_from(kept).expect("small")), OutgoingState::Published(Qos::AtLeastOnce)),
            (2, Token::None, OutgoingState::Published(Qos::ExactlyOnce)),
            (3, Token::None, OutgoingState::Released),
        ];
        for (number, name, how_far) in outgoing {
            let packet_id = id(number);
            let unacknowledged = Unacknowledged { packet_id, token: name.to_bits(), state: how_far };
            state.resumed.outgoing.push(unacknowledged);
        }
        state.resumed.incoming.push(id(9));
        state.taking.insert(id(8), Taking::Taken);
        state.known.insert(Reference(70), Known { packet_id: id(2), is_released: false });
        state.remembered.insert(id(3));
        let deadline = Instant::now();
        let with_deadline = Entry { deadline: Some(deadline), ..entry(1) };
        state.waiting.put_live(with_deadline);
        state.waiting.put_live(Entry { identifiers: Identifiers::Many(vec![5, 6]), ..entry(2) });
        state.dropped = 3;

        let mut parcel = Parcel::default();
        flights.pack(&mut parcel, |_| UnixMillis(1_000));
        let parcel = Parcel::decode(&parcel.encode()).expect("a parcel");
        let mut moved = Flights::default();
        moved.unpack(parcel.clone(), |at| (at == UnixMillis(1_000)).then_some(deadline));
        let before = flights.get().expect("some");
        let after = moved.get().expect("some");
        let states = |state: &State| -> Vec<(PacketId, OutgoingState)> {
            state.resumed.outgoing.iter().map(|one| (one.packet_id, one.state)).collect()
        };
        assert_eq!(states(after), states(before));
        assert_eq!(after.resumed.incoming, [id(9), id(8)]);
        assert_eq!((&after.known, &after.remembered), (&before.known, &before.remembered));
        assert_eq!(
            (after.waiting.len(), after.waiting.bytes(), after.dropped),
            (2, before.waiting.bytes(), 3)
        );
        let first = after.waiting.front().expect("a message");
        assert_eq!((first.message.len(), first.deadline), (1, Some(deadline)));
        let Token::Kept(slot) = Token::from_bits(after.resumed.outgoing[0].token) else { panic!("not kept") };
        assert_eq!(after.kept.get(slot as usize).map(|entry| entry.message.len()), Some(7));
        let mut again = Parcel::default();
        moved.pack(&mut again, |_| UnixMillis(1_000));
        assert_eq!(again, parcel);
    }

    #[test]
    fn a_session_with_nothing_under_way_holds_no_memory_for_it() {
        let mut flights = Flights::default();
        flights
            .get_or_insert()
            .known
            .insert(Reference(1), Known { packet_id: PacketId::FIRST, is_released: true });
        flights.tidy();
        assert!(flights.get().is_some());
        flights.get_or_insert().known.clear();
        flights.tidy();
        assert!(flights.get().is_none());
    }
}
