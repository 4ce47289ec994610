//! Addresses: names that messages are sent to and received from.
//!
//! Every shard knows every configured address, told by its caller. It also knows those that other
//! shards speak of: temporary addresses, which live where their consumer is, and addresses of which
//! the caller will speak in a moment. An entry stays as long as somebody speaks of it.
//!
//! Invariant: the producers of an address are active exactly while it is reachable, that is while a
//! consumer is here or on another shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::anycast::Queue;
use crate::broker::Gate;
use crate::by_shard::ByShard;
use crate::consumer::ConsumerOptions;
use crate::core::Core;
use crate::delivery::ByAddress;
use crate::effect::{CloseReason, Refused};
use crate::key::{AddressKey, ConsumerKey, HomeKey, LaneKey, ProducerKey};
use crate::list::List;
use crate::peer::{Remote, Traffic};
use crate::ready::Ready;
use crate::settings::{AddressKind, AddressSettings, Overload, ShardId, home, split_shard};
use crate::space;
use crate::statistics::{AddressCounters, AddressStatistics};

/// Why an address is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Only another shard has spoken of it (so far, or still): no link can use it.
    Rumoured,
    /// The caller has set it.
    Configured,
    /// Made for a consumer of this shard, and gone with it.
    Temporary,
    /// A temporary address of another shard.
    Visiting,
}

#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) name: Arc<str>,
    pub(crate) settings: AddressSettings,
    pub(crate) standing: Standing,
    pub(crate) producers: List<ProducerKey, ByAddress>,
    pub(crate) members: Vec<ConsumerKey>,
    /// The credit of all members together.
    pub(crate) credit: u64,
    /// Anycast members that can take a delivery.
    pub(crate) ready: Ready,
    /// Anycast messages that nobody can take yet.
    pub(crate) queue: Queue,
    sequence: u64,
    /// Multicast members whose backlog is at its limit.
    pub(crate) overloaded: u32,
    /// Producers of pre-settled multicast messages, one entry for each credit that is withheld.
    /// Bounded by the credit they had.
    pub(crate) withheld: VecDeque<ProducerKey>,
    /// What chunks of producers that have left cost.
    pub(crate) orphaned: u64,
    /// Other shards that have links.
    pub(crate) remotes: ByShard<Remote>,
    /// Other shards that send here, or are sent to.
    pub(crate) traffic: ByShard<Traffic>,
    /// Consumers and producers that other shards were told of.
    pub(crate) told: (u32, u32),
    /// The shard that had the last message for another one.
    pub(crate) turn: ShardId,
    /// Counts the times that the last member has left; see [`crate::peer`].
    pub(crate) epoch: u32,
    /// Whether other shards were told that there are members.
    announced: bool,
    reachable: bool,
    /// Stands in the list of addresses whose peers may have to be told something.
    pub(crate) dirty: bool,
    /// Deliveries of this shard's producers handed to members since the peers were last told something.
    pub(crate) own_handed_over: u32,
    pub(crate) counters: AddressCounters,
    /// The shard that is to hold its messages, if it keeps any; `None`: its node is not known now.
    pub(crate) home_shard: Option<ShardId>,
    /// The shard that its producers send to: the home, but for one that is changing.
    pub(crate) entrance: Option<ShardId>,
    /// The shard that is to be the home of a topic, or of one of its subscriptions, when it has a copy of it; see
    /// [`copy`](crate::broker). Until then the home is that of before.
    pub(crate) next: Option<ShardId>,
    /// This shard was the home of a topic, which has gone to another one: what comes late is sent on.
    pub(crate) has_left: bool,
    /// What holds messages of it on this shard: its home, or what is left of that after a move.
    pub(crate) home: Option<HomeKey>,
    /// Shut while what was sent to a home of before is under way to the entrance.
    pub(crate) gate: Option<Box<Gate>>,
}

impl Address {
    fn new(name: Arc<str>, settings: AddressSettings, standing: Standing) -> Self {
        Self {
            name,
            settings,
            standing,
            producers: List::default(),
            members: Vec::new(),
            credit: 0,
            ready: Ready::default(),
            queue: Queue::default(),
            sequence: 0,
            overloaded: 0,
            withheld: VecDeque::new(),
            orphaned: 0,
            remotes: ByShard::default(),
            traffic: ByShard::default(),
            told: (0, 0),
            turn: ShardId(0),
            epoch: 0,
            announced: false,
            reachable: false,
            dirty: false,
            own_handed_over: 0,
            counters: AddressCounters::default(),
            home_shard: None,
            entrance: None,
            next: None,
            has_left: false,
            home: None,
            gate: None,
        }
    }

    /// Whether it is a further shard of a queue, which has another name.
    pub(crate) fn is_shard(&self) -> bool {
        split_shard(&self.name).is_some()
    }

    /// Whether it is a shard that its queue has no more: what it holds goes to the others.
    pub(crate) fn is_surplus(&self) -> bool {
        split_shard(&self.name).is_some_and(|(_, number)| number >= self.settings.shards.max(1))
    }

    /// Whether links can use it.
    pub(crate) fn is_known(&self) -> bool {
        self.standing != Standing::Rumoured
    }

    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self.standing, Standing::Temporary | Standing::Visiting)
    }

    /// The bucket of a member with so many outstanding deliveries. With no other to compare it with,
    /// a member stays in the first one, which saves moving it.
    pub(crate) fn bucket(&self, outstanding: u32) -> u16 {
        if self.members.len() == 1 { 0 } else { Ready::bucket(outstanding) }
    }

    /// Whether a consumer is here or on another shard.
    pub(crate) fn is_reachable(&self) -> bool {
        self.reachable
    }

    /// Whether producers of pre-settled multicast messages have to wait.
    pub(crate) fn is_blocked(&self) -> bool {
        (self.settings.overload == Overload::Block && self.overloaded > 0) || self.has_full_peer()
    }

    /// Consumers on all shards, as far as this one knows.
    pub(crate) fn all_consumers(&self) -> u64 {
        self.members.len() as u64
            + self.remotes.values().map(|remote| u64::from(remote.consumers)).sum::<u64>()
    }

    /// Producers on all shards, as far as this one knows.
    pub(crate) fn all_producers(&self) -> u64 {
        u64::from(self.producers.len())
            + self.remotes.values().map(|remote| u64::from(remote.producers)).sum::<u64>()
    }

    pub(crate) fn label(&self) -> Box<str> {
        format!("address {}", self.name).into()
    }

    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn statistics(&self) -> AddressStatistics {
        AddressStatistics {
            name: self.name.clone(),
            producers: u64::from(self.producers.len()),
            consumers: self.members.len() as u64,
            deliveries_in: self.counters.deliveries_in,
            deliveries_out: self.counters.deliveries_out,
            dropped: self.counters.dropped,
            expired: self.counters.expired,
            undelivered: self.counters.undelivered,
            unsettled: self.counters.unsettled,
        }
    }
}

impl Core {
    /// Creates an address or changes its settings. Its links stay; a new `link_credit` holds for
    /// producers that come later. A change of kind closes the links, as removing the address does. When a queue
    /// changes its home, its links stay and what the old home holds goes to the new one, but for links whose
    /// new home cannot be reached and those of browsers: these are closed, as are the links of a topic.
    pub fn set_address(&mut self, now: Instant, name: &Arc<str>, settings: AddressSettings) {
        let existing = self.names.get(name).copied();
        let places = settings.places();
        let mut key = existing;
        if let Some(address) = existing.and_then(|key| self.addresses.get(key))
            && (address.is_temporary() || address.settings.is_another(&settings))
            && address.is_known()
        {
            self.remove_address(now, name);
            key = self.names.get(name).copied();
        }
        let before =
            key.and_then(|key| self.addresses.get(key)).map_or(places, |address| address.settings.places());
        let entrance = key.and_then(|key| self.addresses.get(key)).and_then(|address| address.entrance);
        match key.and_then(|key| self.addresses.get_mut(key).map(|address| (key, address))) {
            Some((key, address)) => {
                address.settings = settings;
                address.standing = Standing::Configured;
                self.settings_changed(key);
            }
            None => {
                key = Some(self.insert_address(name.clone(), settings, Standing::Configured));
            }
        }
        let moves = (before.0 != places.0, before.1 != places.1);
        if let Some(key) = key.filter(|key| !self.keeps_links(*key)) {
            if moves.0 {
                self.close_consumers(now, key, CloseReason::HomeGone);
            }
            if moves.1 {
                self.close_producers(key, CloseReason::HomeGone);
            }
        }
        if let Some(key) = key {
            self.note_shards(now, key);
        }
        self.settle_in(now, key);
        if let Some(key) = key.filter(|key| self.keeps_links(*key)) {
            if moves.0 {
                self.consumers_follow(now, key);
            }
            if moves.1 {
                self.producers_follow(now, key, entrance);
            }
        }
        self.note_address(name);
    }

    /// Routes that an address may serve, or has served, are no longer what they were.
    fn note_address(&mut self, name: &str) {
        let address = self.names.get(name).and_then(|key| self.addresses.get(*key));
        let is_topic = address.is_some_and(|address| address.settings.kind == AddressKind::Topic);
        self.routes_changed(name, is_topic);
    }

    /// Gives an address that keeps messages its home.
    fn settle_in(&mut self, now: Instant, key: Option<AddressKey>) {
        let Some(key) = key else { return };
        let Some(address) = self.addresses.get(key) else { return };
        if address.settings.kind.is_stored() {
            let shard_of = |slot: u32| {
                let shards = self.shards_of(slot)?;
                Some(ShardId::new(slot, home(&address.name, shards).shard()))
            };
            let (home, entrance) = (shard_of(address.settings.home), shard_of(address.settings.entrance()));
            let (is_copied, is_moving) =
                (address.settings.is_copied(), address.settings.moving_from.is_some());
            if let Some(address) = self.addresses.get_mut(key) {
                address.home_shard = if is_copied { entrance } else { home };
                address.next = home.filter(|_| is_copied && is_moving);
                address.entrance = entrance;
            }
            self.set_home(now, key);
            self.lay_pipe(now, key);
            self.follow_topic(now, key);
            self.questions_follow(now, key);
            if let Some(home) = self.addresses.get(key).and_then(|address| address.home) {
                // Who waited for the end of a move goes on.
                self.mark_home(now, home);
            }
            self.note_shard(now, key);
        }
    }

    /// A node has come to be known, or is not known any more: the homes of its addresses with it.
    pub(crate) fn resettle(&mut self, now: Instant, slot: u32) {
        let moved = self.addresses.iter().filter(|(_, address)| {
            address.settings.kind.is_stored()
                && address.is_known()
                && (address.settings.home == slot || address.settings.moving_from == Some(slot))
        });
        for key in moved.map(|(key, _)| key).collect::<Vec<_>>() {
            let places = |core: &Self| {
                core.addresses
                    .get(key)
                    .map(|address| (address.home_shard, address.entrance))
                    .unwrap_or_default()
            };
            let before = places(self);
            self.settle_in(now, Some(key));
            let after = places(self);
            if before.0.is_some() && before.0 != after.0 {
                self.close_consumers(now, key, CloseReason::HomeGone);
            }
            if before.1.is_some() && before.1 != after.1 {
                self.close_producers(key, CloseReason::HomeGone);
            }
        }
    }

    /// The home of an address that keeps messages, when it can be reached now.
    pub(crate) fn reachable_home(&self, address: &Address) -> Option<ShardId> {
        address.home_shard.filter(|home| *home == self.shard || self.peers.contains(*home))
    }

    /// Why links to an address are refused whose home cannot be reached.
    pub(crate) fn home_unavailable(&self, address: &Address) -> Refused {
        let node = match self.nodes.get(&address.settings.home) {
            Some(node) => format!("node {}", node.name).into(),
            None => "a node that is not known here".into(),
        };
        Refused::HomeUnavailable { address: address.label(), node }
    }

    /// Removes an address: its links are closed, what waits is released. Deliveries that a consumer
    /// has are settled as usual until its link is removed.
    pub fn remove_address(&mut self, now: Instant, name: &str) {
        let Some(key) = self.names.get(name).copied() else { return };
        let Some(address) = self.addresses.get_mut(key) else { return };
        if address.standing == Standing::Temporary {
            self.temporaries = self.temporaries.saturating_sub(1);
        }
        address.standing = Standing::Rumoured;
        let is_topic = address.settings.kind == AddressKind::Topic;
        self.broker.topics.remove(name);
        if let Some(home) = address.home.take() {
            self.remove_home(now, home);
        }
        self.remove_gate(now, key);
        self.routes_changed(name, is_topic);
        self.end_spread(now, key, CloseReason::AddressDeleted);
        self.close_links(now, key, CloseReason::AddressDeleted);
        self.release_waiting(key);
        while let Some(producer) =
            self.addresses.get_mut(key).and_then(|address| address.withheld.pop_front())
        {
            self.replenish(producer);
        }
        self.forget_if_unused(key);
    }

    pub(crate) fn close_links(&mut self, now: Instant, key: AddressKey, reason: CloseReason) {
        self.close_producers(key, reason);
        self.close_consumers(now, key, reason);
    }

    pub(crate) fn close_producers(&mut self, key: AddressKey, reason: CloseReason) {
        while let Some(producer) = self.addresses.get(key).and_then(|address| address.producers.first()) {
            self.close_producer(producer, reason);
        }
    }

    fn close_consumers(&mut self, now: Instant, key: AddressKey, reason: CloseReason) {
        while let Some(consumer) = self.addresses.get(key).and_then(|address| address.members.last()).copied()
        {
            self.close_consumer(now, consumer, reason);
        }
    }

    /// Creates a temporary anycast address with its only consumer, for replies. The name must be
    /// unique among all addresses of the node; it is gone when the consumer is. Producers of every
    /// shard can send to it.
    ///
    /// # Errors
    /// `Exists` when this shard knows the name, `LimitExceeded` when the shard has its number of
    /// temporary addresses or of consumers, `NoLane` without that lane, and `Stopping`.
    pub fn add_temporary(
        &mut self,
        now: Instant,
        lane: LaneKey,
        name: Arc<str>,
        options: ConsumerOptions,
    ) -> Result<ConsumerKey, Refused> {
        self.check_consumer(lane)?;
        let limit = u64::from(self.limits.max_temporaries);
        if u64::from(self.temporaries) >= limit {
            let links = "temporary addresses";
            return Err(Refused::LimitExceeded { what: "the shard".into(), links, limit });
        }
        if self.names.contains_key(&name) {
            return Err(Refused::Exists((&*name).into()));
        }
        self.temporaries += 1;
        let settings = self.temporary_settings();
        let key = self.insert_address(name, settings, Standing::Temporary);
        Ok(self.insert_consumer(now, key, lane, options))
    }

    pub(crate) fn temporary_settings(&self) -> AddressSettings {
        AddressSettings { link_credit: self.limits.link_credit, ..AddressSettings::default() }
    }

    pub(crate) fn insert_address(
        &mut self,
        name: Arc<str>,
        settings: AddressSettings,
        standing: Standing,
    ) -> AddressKey {
        let key = self.addresses.insert(Address::new(name.clone(), settings, standing));
        self.routes_changed(&name, false);
        self.names.insert(name, key);
        key
    }

    /// The address of that name, if links can use it.
    pub(crate) fn known_address(&self, name: &str) -> Result<AddressKey, Refused> {
        self.names
            .get(name)
            .copied()
            .filter(|key| self.addresses.get(*key).is_some_and(|address| address.is_known()))
            .ok_or_else(|| Refused::NotFound(name.into()))
    }

    /// The address that serves a name: the one of that name; else the longest topic that the name lies
    /// in; else the topic `#` of its space, unless the name begins with `$` there: such names are the server's, and a
    /// temporary address that has gone is gone (MQTT 5.0, 4.7.2).
    pub(crate) fn resolve_name(&self, name: &str) -> Result<AddressKey, Refused> {
        let exact = self.known_address(name);
        if exact.is_ok() || name.contains("::") {
            return exact;
        }
        let topic = |name: &str| {
            let key = self.known_address(name).ok()?;
            let address = self.addresses.get(key)?;
            (address.settings.kind == AddressKind::Topic).then_some(key)
        };
        if let Some(key) = space::above(name).find_map(topic) {
            return Ok(key);
        }
        if space::is_reserved(name) {
            return exact;
        }
        topic(&space::catch_all_of(name)).map_or(exact, Ok)
    }

    /// The name of what serves links of this name on this shard, if anything does.
    pub fn serving(&self, name: &str) -> Option<&Arc<str>> {
        let key = self.resolve_name(name).ok()?;
        self.addresses.get(key).map(|address| &address.name)
    }

    /// The kind of what serves links of this name on this shard, if anything does.
    pub fn kind(&self, name: &str) -> Option<AddressKind> {
        let key = self.resolve_name(name).ok()?;
        self.addresses.get(key).map(|address| address.settings.kind)
    }

    fn settings_changed(&mut self, key: AddressKey) {
        let mut index = 0;
        while let Some(member) =
            self.addresses.get(key).and_then(|address| address.members.get(index)).copied()
        {
            self.note_backlog(member);
            index += 1;
        }
        self.unblock(key);
        self.mark_dirty(key);
    }

    /// What follows when a consumer has come or left.
    pub(crate) fn members_changed(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get_mut(key) else { return };
        if address.settings.kind.is_stored() {
            return;
        }
        let present = !address.members.is_empty();
        if present == address.announced {
            self.mark_dirty(key);
        } else {
            address.announced = present;
            if !present {
                self.end_epoch(now, key);
            }
            self.announce(key);
        }
        self.reachability_changed(key);
        let Some(address) = self.addresses.get(key) else { return };
        if !present && address.standing == Standing::Temporary {
            let name = address.name.clone();
            self.remove_address(now, &name);
        }
    }

    pub(crate) fn producers_changed(&mut self, key: AddressKey) {
        self.mark_dirty(key);
    }

    /// Starts or stops the producers when the first consumer has come or the last has left, here or
    /// elsewhere.
    pub(crate) fn reachability_changed(&mut self, key: AddressKey) {
        let Some(address) = self.addresses.get_mut(key) else { return };
        let reachable = !address.members.is_empty() || address.peers_with_consumers() > 0;
        if reachable == address.reachable {
            return;
        }
        address.reachable = reachable;
        let mut next = address.producers.first();
        while let Some(producer) = next {
            next = List::<ProducerKey, ByAddress>::after(&self.producers, producer);
            if reachable {
                self.resume(producer);
            } else {
                self.stop(producer);
            }
        }
        if !reachable {
            self.release_waiting(key);
        }
    }

    /// Forgets an address of which nobody speaks any more.
    pub(crate) fn forget_if_unused(&mut self, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        if address.standing == Standing::Rumoured && address.remotes.is_empty() {
            self.names.remove(&address.name);
            self.addresses.remove(key);
        }
    }

    /// Whether the address is anycast; rumours of unknown addresses say so themselves.
    pub(crate) fn is_anycast(&self, key: AddressKey) -> bool {
        self.addresses.get(key).is_some_and(|address| address.settings.kind == AddressKind::Anycast)
    }
}
