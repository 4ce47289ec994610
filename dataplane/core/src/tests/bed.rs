//! A test bed: cores joined in memory, a clock that is moved by hand, and a driver that carries out
//! effects the way the daemon does and checks them against what it knows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::core::Core;
use crate::peer::PeerMessage;
use crate::tests::live::LiveBed;
use crate::tests::owners::TestStocks;
use crate::tests::store::FakeStore;
use crate::tests::stored::TextFormat;
use crate::*;

/// A producer, by shard and key.
pub(crate) type P = (usize, ProducerKey);
/// A consumer, by shard and key.
pub(crate) type C = (usize, ConsumerKey);

/// What the driver knows of a producer.
#[derive(Debug, Default)]
pub(crate) struct ProducerState {
    /// Credit granted and not used.
    pub(crate) credit: u32,
    pub(crate) stopped: bool,
    pub(crate) closed: Option<CloseReason>,
    /// Bytes of which the core has not said that they left.
    pub(crate) unconsumed: usize,
    /// Every state of every delivery, by handle.
    pub(crate) updates: BTreeMap<u64, Vec<(Option<Outcome>, bool)>>,
    pub(crate) grants: Vec<u32>,
}

/// One delivery as a consumer sees it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) leg: Option<LegKey>,
    pub(crate) handle: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: usize,
    pub(crate) whole: bool,
    pub(crate) aborted: bool,
    pub(crate) settled: bool,
    pub(crate) updates: Vec<(Option<Outcome>, bool)>,
    pub(crate) ttl_left: Option<Duration>,
    pub(crate) message_format: u32,
    pub(crate) redelivery: Redelivery,
    /// Settled by the test.
    pub(crate) taken: bool,
}

/// What the driver knows of a consumer.
#[derive(Debug, Default)]
pub(crate) struct ConsumerState {
    pub(crate) credit: u32,
    pub(crate) received: Vec<Received>,
    pub(crate) drained: u32,
    /// Its attach has been answered.
    pub(crate) admitted: bool,
    /// How often the home has said that it goes by new filters.
    pub(crate) refiltered: u32,
    pub(crate) closed: Option<CloseReason>,
}

/// What the shards of a node call those of others.
pub(crate) struct Names {
    node: usize,
    nodes: usize,
}

impl Names {
    pub(crate) fn slot(&self, node: usize) -> u32 {
        // Every node counts from itself, so that no two of them have the same names.
        ((node + self.nodes - self.node) % self.nodes) as u32
    }
}

impl ShardNames for Names {
    fn name(&self, shard: ShardId) -> (u64, u16) {
        (((self.node + shard.slot() as usize) % self.nodes) as u64, shard.shard())
    }

    fn shard(&self, node: u64, shard: u16) -> Option<ShardId> {
        Some(ShardId::new(self.slot(node as usize), shard))
    }
}

/// Whether two nodes have channels between their shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Open,
    /// The channels have ended; of this node no shard has heard of it.
    Lost {
        unaware: Option<usize>,
    },
}

/// Cores and their driver.
pub(crate) struct Bed {
    pub(crate) cores: Vec<Core>,
    /// The node and the shard of each core.
    places: Vec<(usize, u16)>,
    /// What each core knows of addresses.
    settings: BTreeMap<(usize, Arc<str>), AddressSettings>,
    /// The shards of each node.
    pub(crate) nodes: Vec<u16>,
    /// Between two nodes, the one with the smaller number first.
    pub(crate) paths: BTreeMap<(usize, usize), Path>,
    pub(crate) now: Instant,
    pub(crate) started: Instant,
    /// Messages on their way, by shard from and to.
    pub(crate) mail: BTreeMap<(usize, usize), VecDeque<PeerMessage>>,
    pub(crate) producers: BTreeMap<P, ProducerState>,
    pub(crate) consumers: BTreeMap<C, ConsumerState>,
    /// Whether effects for other shards are handed over at once.
    pub(crate) deliver_mail: bool,
    /// Whether effects that may wait for the end of a turn do.
    pub(crate) is_mid_turn: bool,
    /// Of the first node.
    pub(crate) store: FakeStore,
    /// Of the others, which do as that does.
    pub(crate) stores: Vec<FakeStore>,
    /// What became of transactions.
    pub(crate) discharged: BTreeMap<TransactionId, Result<(), Box<ErrorInfo>>>,
    /// Answers to questions for what topics retain, by token.
    pub(crate) retained: BTreeMap<u64, RetainedPage>,
    /// What live subscribers have got.
    pub(crate) live: LiveBed,
    /// What tenants and their users have stored on each node.
    pub(crate) stocks: Vec<Arc<TestStocks>>,
    /// Queues that have nothing left at the home of before, by core.
    pub(crate) emptied: Vec<(usize, Arc<str>)>,
    next_handle: u64,
}

pub(crate) fn name(text: &str) -> Arc<str> {
    text.into()
}

pub(crate) fn anycast() -> AddressSettings {
    AddressSettings { link_credit: 10, ..AddressSettings::default() }
}

pub(crate) fn multicast() -> AddressSettings {
    AddressSettings {
        kind: AddressKind::Multicast,
        link_credit: 10,
        max_undelivered: 5,
        ..AddressSettings::default()
    }
}

pub(crate) fn rejected() -> Outcome {
    let info = ErrorInfo { condition: "app:bad".into(), description: Some("no good".into()), info: None };
    Outcome::Rejected(Some(Box::new(info)))
}

impl Bed {
    pub(crate) fn new(shards: u16) -> Self {
        Self::with_limits(shards, CoreLimits { link_credit: 10, ..CoreLimits::default() })
    }

    pub(crate) fn with_limits(shards: u16, limits: CoreLimits) -> Self {
        Self::fleet(&[shards], &limits)
    }

    /// Several nodes of so many shards, with channels between all of them.
    pub(crate) fn fleet(nodes: &[u16], limits: &CoreLimits) -> Self {
        let mut bed = Self::separate(nodes, limits);
        let pairs = (0..nodes.len()).flat_map(|one| (0..one).map(move |other| (other, one)));
        for (one, other) in pairs {
            bed.paths.insert((one, other), Path::Lost { unaware: None });
            bed.connect(one, other);
        }
        bed
    }

    fn separate(nodes: &[u16], limits: &CoreLimits) -> Self {
        let now = Instant::now();
        let places: Vec<(usize, u16)> = nodes
            .iter()
            .enumerate()
            .flat_map(|(node, shards)| (0..*shards).map(move |shard| (node, shard)))
            .collect();
        let core =
            |(node, shard): &(usize, u16)| Core::new(ShardId::new(0, *shard), nodes[*node], limits.clone());
        let mut cores: Vec<Core> = places.iter().map(core).collect();
        let stocks: Vec<_> = nodes.iter().map(|shards| Arc::new(TestStocks::new(*shards))).collect();
        for (core, (node, _)) in cores.iter_mut().zip(&places) {
            core.set_stocks(stocks[*node].clone());
        }
        Self {
            stocks,
            cores,
            places,
            settings: BTreeMap::new(),
            nodes: nodes.to_vec(),
            paths: BTreeMap::new(),
            stores: nodes.iter().skip(1).map(|_| FakeStore::default()).collect(),
            now,
            started: now,
            mail: BTreeMap::new(),
            producers: BTreeMap::new(),
            consumers: BTreeMap::new(),
            deliver_mail: true,
            is_mid_turn: false,
            store: FakeStore::default(),
            discharged: BTreeMap::new(),
            retained: BTreeMap::new(),
            live: LiveBed::default(),
            emptied: Vec::new(),
            next_handle: 1,
        }
    }

    /// One shard with an anycast address `a` and a multicast address `m`.
    pub(crate) fn single() -> Self {
        Self::with_addresses(1)
    }

    pub(crate) fn with_addresses(shards: u16) -> Self {
        let mut bed = Self::new(shards);
        bed.set("a", anycast());
        bed.set("m", multicast());
        bed
    }

    pub(crate) fn set(&mut self, text: &str, settings: AddressSettings) {
        self.set_at_home(text, settings, self.home_node(text));
    }

    /// Sets an address whose home, if it has one, is on this node.
    pub(crate) fn set_at_home(&mut self, text: &str, settings: AddressSettings, node: usize) {
        for index in 0..self.cores.len() {
            let settings = AddressSettings { home: self.names_of(index).slot(node), ..settings.clone() };
            self.set_at(index, text, settings);
        }
        self.run();
    }

    fn set_at(&mut self, index: usize, text: &str, settings: AddressSettings) {
        self.settings.insert((index, name(text)), settings.clone());
        self.cores[index].set_address(self.now, &name(text), settings);
    }

    /// Sets a queue that changes its home, or has changed it when `from` is `None`. Only nodes that have
    /// been its home have it in their store.
    pub(crate) fn set_moving(
        &mut self,
        text: &str,
        settings: &AddressSettings,
        from: Option<usize>,
        to: usize,
        were: &[usize],
    ) {
        for index in 0..self.cores.len() {
            let names = self.names_of(index);
            let settings = AddressSettings {
                home: names.slot(to),
                moving_from: from.map(|from| names.slot(from)),
                id: settings.id.filter(|_| were.contains(&self.node_of(index))),
                ..settings.clone()
            };
            self.set_at(index, text, settings);
        }
        self.run();
    }

    /// The node that has the home of an address, unless a test says otherwise.
    pub(crate) fn home_node(&self, text: &str) -> usize {
        usize::from(home(text, self.nodes.len() as u16).shard())
    }

    /// The core that has the home of an address.
    pub(crate) fn home_of(&self, text: &str) -> usize {
        let node = self.home_node(text);
        self.core_of(node, home(text, self.nodes[node]).shard())
    }

    pub(crate) fn core_of(&self, node: usize, shard: u16) -> usize {
        self.places.iter().position(|place| *place == (node, shard)).expect("a shard of the node")
    }

    pub(crate) fn node_of(&self, index: usize) -> usize {
        self.places[index].0
    }

    pub(crate) fn names_of(&self, index: usize) -> Names {
        Names { node: self.places[index].0, nodes: self.nodes.len() }
    }

    /// What a core calls another one.
    pub(crate) fn id_of(&self, at: usize, of: usize) -> ShardId {
        let (node, shard) = self.places[of];
        ShardId::new(self.names_of(at).slot(node), shard)
    }

    /// The core that another one calls so.
    fn index_of(&self, at: usize, id: ShardId) -> usize {
        let (node, shard) = self.names_of(at).name(id);
        self.core_of(node as usize, shard)
    }

    pub(crate) fn path(&self, one: usize, other: usize) -> Path {
        let pair = (one.min(other), one.max(other));
        if one == other { Path::Open } else { self.paths[&pair] }
    }

    /// The cores of two nodes, each pair in both orders.
    fn pairs_between(&self, one: usize, other: usize) -> Vec<(usize, usize)> {
        let of = |node: usize| (0..self.cores.len()).filter(move |index| self.places[*index].0 == node);
        let forth = of(one).flat_map(|one| of(other).map(move |other| (one, other)));
        let pairs: Vec<(usize, usize)> = forth.collect();
        pairs.iter().copied().chain(pairs.iter().map(|(one, other)| (*other, *one))).collect()
    }

    /// Opens the channels between two nodes that have none.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        let Path::Lost { unaware } = self.path(one, other) else { return };
        if unaware.is_some() {
            self.notice(one, other);
        }
        self.paths.insert((one.min(other), one.max(other)), Path::Open);
        for (at, of) in self.pairs_between(one, other) {
            let (id, (node, _)) = (self.id_of(at, of), self.places[of]);
            let shards = NodeShards { shards: self.nodes[node], name: format!("node-{node}").into() };
            self.cores[at].set_node(self.now, id.slot(), Some(shards));
            self.cores[at].add_peer(self.now, id, PeerOptions { cost: 1 });
        }
        self.run();
    }

    /// Ends the channels between two nodes: what is on its way is lost. The shards of the first one hear of
    /// it at once, those of the other with [`notice`](Self::notice).
    pub(crate) fn disconnect(&mut self, one: usize, other: usize) {
        if self.path(one, other) != Path::Open {
            return;
        }
        self.paths.insert((one.min(other), one.max(other)), Path::Lost { unaware: Some(other) });
        for pair in self.pairs_between(one, other) {
            self.mail.remove(&pair);
        }
        self.lose(one, other);
    }

    /// The other node hears of it, too.
    pub(crate) fn notice(&mut self, one: usize, other: usize) {
        let Path::Lost { unaware: Some(unaware) } = self.path(one, other) else { return };
        let gone = if unaware == one { other } else { one };
        self.paths.insert((one.min(other), one.max(other)), Path::Lost { unaware: None });
        self.lose(unaware, gone);
    }

    fn lose(&mut self, at: usize, gone: usize) {
        for (index, peer) in self.pairs_between(at, gone) {
            if self.places[index].0 == at {
                let id = self.id_of(index, peer);
                self.cores[index].handle_peer_gone(self.now, id);
                self.take_effects(index);
                self.cores[index].check_forgotten(id);
            }
        }
        self.run();
    }

    pub(crate) fn remove(&mut self, text: &str) {
        for core in &mut self.cores {
            core.remove_address(self.now, text);
        }
        self.settings.retain(|(_, address), _| &**address != text);
        self.run();
    }

    /// Crashes a node and starts it again: what its store has not carried out is lost, and all that was in
    /// memory and on its way. The others hear of it at once; to meet them again is for [`connect`](Self::connect).
    pub(crate) fn crash(&mut self, node: usize) {
        self.store_of(node).crash();
        self.stocks[node] = Arc::new(self.stocks[node].begun_anew());
        let gone: Vec<usize> = (0..self.cores.len()).filter(|index| self.places[*index].0 == node).collect();
        self.mail.retain(|(from, to), _| !gone.contains(from) && !gone.contains(to));
        self.producers.retain(|(shard, _), _| !gone.contains(shard));
        self.consumers.retain(|(shard, _), _| !gone.contains(shard));
        for index in gone {
            self.start_again(index);
        }
        self.recover(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let pair = (node.min(other), node.max(other));
            let before = self.paths.insert(pair, Path::Lost { unaware: None });
            if before == Some(Path::Open) || before == Some(Path::Lost { unaware: Some(other) }) {
                self.lose(other, node);
            }
        }
        self.run();
    }

    fn start_again(&mut self, index: usize) {
        let (node, shard) = self.places[index];
        let limits = self.cores[index].limits.clone();
        let unix = UnixMillis(1_000_000_000_000 + (self.now - self.started).as_millis() as u64);
        let mut core = Core::new(ShardId::new(0, shard), self.nodes[node], limits);
        core.set_stocks(self.stocks[node].clone());
        core.set_format(Arc::new(TextFormat));
        core.set_clock(self.now, unix);
        for ((_, name), settings) in self.settings.range((index, name(""))..(index + 1, name(""))) {
            core.set_address(self.now, name, settings.clone());
        }
        self.cores[index] = core;
    }

    pub(crate) fn store_of(&mut self, node: usize) -> &mut FakeStore {
        if node == 0 { &mut self.store } else { &mut self.stores[node - 1] }
    }

    /// Gives the cores of a node what its store has.
    fn recover(&mut self, node: usize) {
        let shards = self.nodes[node];
        let first = self.core_of(node, 0);
        let mut store = std::mem::take(self.store_of(node));
        let cores = &mut self.cores[first..first + usize::from(shards)];
        let place = |address: &str| usize::from(home(address, shards).shard());
        let of_node = self.settings.range((first, name(""))..(first + 1, name("")));
        let mut homes: BTreeMap<QueueId, usize> =
            of_node.filter_map(|((_, address), settings)| Some((settings.id?, place(address)))).collect();
        for (key, value) in &store.objects {
            let Some((shard, queue)) = Core::stored_object(key, value, shards) else {
                assert!(key.starts_with(b"m"), "an object of the core that it does not know: {key:?}");
                continue;
            };
            let shard = usize::from(shard.shard());
            assert!(cores[shard].recover_object(self.now, key, value));
            homes.extend(queue.map(|queue| (queue, shard)));
        }
        // What is for queues that are no more is forgotten, as the daemon does.
        for kept in store.messages.values_mut() {
            kept.targets.retain(|queue| homes.contains_key(queue));
        }
        store.messages.retain(|_, kept| !kept.targets.is_empty());
        for (reference, kept) in &store.messages {
            for queue in &kept.targets {
                let message = RecoveredMessage {
                    queue: *queue,
                    reference: *reference,
                    meta: &kept.meta,
                    state: kept.states.get(queue).map(|state| &state[..]),
                    body_len: kept.body.len() as u32,
                };
                assert!(cores[homes[queue]].recover(self.now, message));
            }
        }
        for core in cores {
            core.recovered(self.now);
        }
        *self.store_of(node) = store;
    }

    pub(crate) fn lane(&mut self, shard: usize, budget: usize) -> LaneKey {
        let lane = self.cores[shard].add_lane();
        self.cores[shard].set_lane_budget(self.now, lane, budget);
        lane
    }

    pub(crate) fn budget(&mut self, shard: usize, lane: LaneKey, bytes: usize) {
        self.cores[shard].set_lane_budget(self.now, lane, bytes);
        self.run();
    }

    pub(crate) fn producer(&mut self, shard: usize, address: &str) -> P {
        self.try_producer(shard, ProducerTarget::Address(address), ProducerOptions::default())
            .expect("the address takes producers")
    }

    pub(crate) fn anonymous(&mut self, shard: usize) -> P {
        self.try_producer(shard, ProducerTarget::AnyAddress, ProducerOptions::default())
            .expect("the shard takes producers")
    }

    pub(crate) fn try_producer(
        &mut self,
        shard: usize,
        target: ProducerTarget<'_>,
        options: ProducerOptions,
    ) -> Result<P, Refused> {
        let key = self.cores[shard].add_producer(self.now, target, options)?;
        self.producers.insert((shard, key), ProducerState::default());
        self.run();
        Ok((shard, key))
    }

    /// A consumer with a lane of its own, whose budget does not run out.
    pub(crate) fn consumer(&mut self, shard: usize, address: &str, credit: u32) -> C {
        let lane = self.lane(shard, usize::MAX);
        self.consumer_in(shard, lane, address, ConsumerOptions::default(), credit)
            .expect("the address takes consumers")
    }

    pub(crate) fn consumer_in(
        &mut self,
        shard: usize,
        lane: LaneKey,
        address: &str,
        options: ConsumerOptions,
        credit: u32,
    ) -> Result<C, Refused> {
        let key = self.cores[shard].add_consumer(self.now, lane, address, options)?;
        self.adopt(shard, key, credit);
        Ok((shard, key))
    }

    pub(crate) fn temporary(&mut self, shard: usize, text: &str, credit: u32) -> Result<C, Refused> {
        let lane = self.lane(shard, usize::MAX);
        let key = self.cores[shard].add_temporary(self.now, lane, name(text), ConsumerOptions::default())?;
        self.adopt(shard, key, credit);
        Ok((shard, key))
    }

    fn adopt(&mut self, shard: usize, key: ConsumerKey, credit: u32) {
        let admitted = self.cores[shard].is_admitted(key);
        self.consumers.insert((shard, key), ConsumerState { admitted, ..ConsumerState::default() });
        self.run();
        if credit > 0 {
            self.credit((shard, key), credit, false);
        }
    }

    pub(crate) fn credit(&mut self, consumer: C, credit: u32, drain: bool) {
        self.consumers.get_mut(&consumer).expect("known").credit = credit;
        self.cores[consumer.0].set_credit(self.now, consumer.1, credit, drain);
        self.run();
    }

    pub(crate) fn remove_producer(&mut self, producer: P) {
        self.cores[producer.0].remove_producer(self.now, producer.1);
        self.run();
        self.producers.remove(&producer);
    }

    pub(crate) fn remove_consumer(&mut self, consumer: C) -> ConsumerState {
        self.cores[consumer.0].remove_consumer(self.now, consumer.1);
        self.run();
        self.consumers.remove(&consumer).expect("known")
    }

    /// Sends an unsettled whole message; gives its handle.
    pub(crate) fn send(&mut self, producer: P, body: &str) -> u64 {
        self.begin(producer, self.incoming(body, false, false)).0
    }

    /// Sends a pre-settled whole message.
    pub(crate) fn send_settled(&mut self, producer: P, body: &str) -> u64 {
        self.begin(producer, self.incoming(body, true, false)).0
    }

    pub(crate) fn incoming<'a>(&self, body: &str, settled: bool, more: bool) -> Incoming<'a> {
        Incoming {
            to: None,
            handle: self.next_handle,
            settled,
            priority: 4,
            ttl: None,
            message_format: 0,
            chunk: Bytes::copy_from_slice(body.as_bytes()),
            more,
            // Of one of two users, or of nobody.
            owner: Owner::from_bits(self.next_handle % 3),
            ..Incoming::default()
        }
    }

    pub(crate) fn begin(&mut self, producer: P, mut incoming: Incoming<'_>) -> (u64, Option<DeliveryKey>) {
        let handle = self.next_handle;
        self.next_handle += 1;
        incoming.handle = handle;
        let bytes = incoming.chunk.len();
        let state = self.producers.get_mut(&producer).expect("known");
        state.credit = state.credit.saturating_sub(1);
        state.updates.insert(handle, Vec::new());
        let begun = self.cores[producer.0].begin(self.now, producer.1, incoming);
        if !begun.consumed {
            self.producers.get_mut(&producer).expect("known").unconsumed += bytes;
        }
        self.run();
        (handle, begun.delivery)
    }

    pub(crate) fn append(&mut self, producer: P, delivery: DeliveryKey, body: &str, more: bool) -> bool {
        let chunk = Bytes::copy_from_slice(body.as_bytes());
        let consumed = self.cores[producer.0].append(self.now, delivery, chunk, more);
        if !consumed {
            self.producers.get_mut(&producer).expect("known").unconsumed += body.len();
        }
        self.run();
        consumed
    }

    pub(crate) fn abort(&mut self, producer: P, delivery: DeliveryKey) {
        self.cores[producer.0].abort(self.now, delivery);
        self.run();
    }

    pub(crate) fn settle(&mut self, consumer: C, index: usize, outcome: Option<Outcome>, settled: bool) {
        let leg = self.consumers[&consumer].received[index].leg.expect("unsettled");
        self.cores[consumer.0].settle_by_consumer(self.now, leg, outcome, settled);
        self.run();
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.handle_timeouts();
        self.run();
    }

    fn handle_timeouts(&mut self) -> bool {
        let mut is_any = false;
        for index in 0..self.cores.len() {
            if self.cores[index].poll_timeout().is_some_and(|timeout| timeout <= self.now) {
                self.cores[index].handle_timeout(self.now);
                self.take_effects(index);
                is_any = true;
            }
        }
        is_any
    }

    /// Carries out every effect; with `deliver_mail` also those of the messages between shards.
    pub(crate) fn run(&mut self) {
        for shard in 0..self.cores.len() {
            self.take_effects(shard);
        }
        while self.deliver_mail && self.step() {}
    }

    /// Hands over a message between shards, or lets a store carry out a request; false when there is nothing
    /// of that kind to do.
    pub(crate) fn step(&mut self) -> bool {
        let is_some = match self.mail.iter().find(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair) {
            Some(pair) => {
                self.post_mail(pair);
                true
            }
            None => self.store_answers() || (self.is_introducing() && self.handle_timeouts()),
        };
        for shard in 0..self.cores.len() {
            self.take_effects(shard);
        }
        is_some
    }

    fn is_introducing(&self) -> bool {
        self.cores.iter().any(Core::is_introducing)
    }

    /// Checks what the cores think of each other, once no mail is on its way.
    pub(crate) fn check_peers(&self) {
        assert!(self.mail.values().all(VecDeque::is_empty));
        for (index, core) in self.cores.iter().enumerate() {
            for (other, peer) in self.cores.iter().enumerate() {
                if index != other && self.path(self.places[index].0, self.places[other].0) == Path::Open {
                    core.check_peer(self.id_of(index, other), peer, self.id_of(other, index));
                }
            }
        }
    }

    /// Hands over the oldest message between two shards.
    pub(crate) fn post_mail(&mut self, (from, to): (usize, usize)) {
        if let Some(message) = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
            let (sender, receiver) = (self.id_of(to, from), self.id_of(from, to));
            let names = (self.names_of(from), self.names_of(to));
            wire::carry(
                &mut self.cores,
                (from, receiver, &names.0),
                (to, sender, &names.1),
                self.now,
                &message,
            );
            self.take_effects(to);
        }
    }

    /// Lets the store carry out one request; false when there is none, or it is held.
    pub(crate) fn store_answers(&mut self) -> bool {
        if self.store.held {
            return false;
        }
        let (fails, cannot_load) = (self.store.fails, self.store.cannot_load);
        let carried_out = self.store.carry_out().or_else(|| {
            self.stores.iter_mut().find_map(|store| {
                (store.fails, store.cannot_load) = (fails, cannot_load);
                store.carry_out()
            })
        });
        let Some((shard, answer)) = carried_out else { return false };
        if let Some(answer) = answer {
            self.cores[shard].handle_store(self.now, answer);
            self.take_effects(shard);
        }
        true
    }

    pub(crate) fn take_effects(&mut self, shard: usize) {
        while let Some(effect) = self.next_effect(shard) {
            self.carry_out(shard, effect);
        }
        self.cores[shard].check();
    }

    fn next_effect(&mut self, shard: usize) -> Option<Effect> {
        let core = &mut self.cores[shard];
        if self.is_mid_turn { core.poll_prompt_effect() } else { core.poll_effect() }
    }

    fn carry_out(&mut self, shard: usize, effect: Effect) {
        match effect {
            Effect::Emptied { address } => self.emptied.push((shard, address)),
            Effect::Grant { producer, credit } => {
                let Some(state) = self.producers.get_mut(&(shard, producer)) else { return };
                assert!(credit > 0, "a grant of nothing");
                assert!(!state.stopped, "credit for a producer that is being stopped");
                state.credit += credit;
                state.grants.push(credit);
            }
            Effect::StopProducer { producer } => {
                if let Some(state) = self.producers.get_mut(&(shard, producer)) {
                    state.stopped = true;
                }
            }
            Effect::Deliver { consumer, leg, chunk, more, settled, message_format, ttl_left, redelivery } => {
                assert_eq!(leg.is_none(), settled);
                let handle = self.next_handle;
                self.next_handle += 1;
                if let Some(leg) = leg {
                    self.cores[shard].set_leg_handle(leg, handle);
                }
                let Some(state) = self.consumers.get_mut(&(shard, consumer)) else { return };
                assert!(state.admitted, "a delivery before the attach is answered");
                assert!(state.credit > 0, "a delivery beyond the credit");
                assert!(
                    state.received.last().is_none_or(|last| last.whole || last.aborted),
                    "deliveries interleave"
                );
                state.credit -= 1;
                state.received.push(Received {
                    leg,
                    handle,
                    body: chunk.to_vec(),
                    chunks: 1,
                    whole: !more,
                    aborted: false,
                    settled,
                    updates: Vec::new(),
                    ttl_left,
                    message_format,
                    taken: false,
                    redelivery: redelivery.map(|redelivery| *redelivery).unwrap_or_default(),
                });
            }
            Effect::Continue { consumer, chunk, more } => {
                let Some(state) = self.consumers.get_mut(&(shard, consumer)) else { return };
                let last = state.received.last_mut().expect("a delivery to continue");
                assert!(!last.whole && !last.aborted, "a chunk beyond the end");
                last.body.extend_from_slice(&chunk);
                last.chunks += 1;
                last.whole = !more;
            }
            Effect::Abort { consumer } => {
                let Some(state) = self.consumers.get_mut(&(shard, consumer)) else { return };
                let last = state.received.last_mut().expect("a delivery to abort");
                assert!(!last.whole && !last.aborted, "an abort beyond the end");
                last.aborted = true;
            }
            Effect::UpdateProducer { producer, handle, outcome, settled } => {
                let Some(state) = self.producers.get_mut(&(shard, producer)) else { return };
                let updates = state.updates.get_mut(&handle).expect("a delivery of this producer");
                assert!(updates.iter().all(|(_, settled)| !settled), "a delivery is settled twice");
                updates.push((outcome, settled));
            }
            Effect::UpdateConsumer { consumer, handle, outcome, settled } => {
                let Some(state) = self.consumers.get_mut(&(shard, consumer)) else { return };
                let received = state.received.iter_mut().find(|received| received.handle == handle);
                received.expect("a delivery of this consumer").updates.push((outcome, settled));
            }
            Effect::Drained { consumer } => {
                if let Some(state) = self.consumers.get_mut(&(shard, consumer)) {
                    assert!(state.admitted, "the end of a drain before the attach is answered");
                    state.credit = 0;
                    state.drained += 1;
                }
            }
            Effect::Admitted { consumer } => {
                if let Some(state) = self.consumers.get_mut(&(shard, consumer)) {
                    assert!(!state.admitted && state.closed.is_none(), "an attach is answered twice");
                    state.admitted = true;
                }
            }
            Effect::Consumed { producer, bytes } => {
                if let Some(state) = self.producers.get_mut(&(shard, producer)) {
                    // An effect queued by `begin` itself may come before its answer is booked.
                    state.unconsumed =
                        state.unconsumed.checked_sub(bytes).expect("more bytes consumed than held");
                }
            }
            Effect::CloseProducer { producer, reason } => {
                if let Some(state) = self.producers.get_mut(&(shard, producer)) {
                    state.closed = Some(reason);
                }
            }
            Effect::CloseConsumer { consumer, reason } => {
                if let Some(state) = self.consumers.get_mut(&(shard, consumer)) {
                    state.closed = Some(reason);
                }
            }
            Effect::Store(request) => match self.places[shard].0 {
                0 => self.store.ask(shard, *request),
                node => self.stores[node - 1].ask(shard, *request),
            },
            Effect::Discharged { transaction, result } => {
                let before = self.discharged.insert(transaction, result);
                assert!(before.is_none(), "a transaction is discharged twice");
            }
            Effect::Refiltered { consumer } => {
                if let Some(state) = self.consumers.get_mut(&(shard, consumer)) {
                    assert!(state.admitted, "filters change before the attach is answered");
                    state.refiltered += 1;
                }
            }
            Effect::Retained { token, page } => {
                assert!(self.retained.insert(token, *page).is_none(), "a question is answered twice");
            }
            Effect::Live { message } => {
                let core = &mut self.cores[shard];
                self.live.receive(shard, core, message);
            }
            Effect::LiveRoom => {
                assert!(self.cores[shard].has_live_room());
                self.live.rooms += 1;
            }
            Effect::Peer { to, message } => {
                let index = self.index_of(shard, to);
                // What nobody will hear of the end of the channels is lost with them.
                if self.path(self.places[shard].0, self.places[index].0) == Path::Open {
                    self.mail.entry((shard, index)).or_default().push_back(message);
                }
            }
            Effect::Run { to, run } => {
                let index = self.index_of(shard, to);
                let from = self.id_of(index, shard);
                for message in wire::messages_of(run, &self.cores[index], self.now, from) {
                    self.carry_out(shard, Effect::Peer { to, message });
                }
            }
        }
    }

    /// The states of a producer's delivery.
    pub(crate) fn updates(&self, producer: P, handle: u64) -> &[(Option<Outcome>, bool)] {
        &self.producers[&producer].updates[&handle]
    }

    /// The outcome that settled a producer's delivery; `None` while it is not settled.
    pub(crate) fn outcome(&self, producer: P, handle: u64) -> Option<Outcome> {
        let (outcome, _) = self.updates(producer, handle).iter().find(|(_, settled)| *settled)?;
        outcome.clone()
    }

    /// The bodies that a consumer has got.
    pub(crate) fn bodies(&self, consumer: C) -> Vec<String> {
        let received = self.consumers[&consumer].received.iter();
        received.map(|received| String::from_utf8_lossy(&received.body).into_owned()).collect()
    }

    pub(crate) fn credit_of(&self, producer: P) -> u32 {
        self.producers[&producer].credit
    }

    /// Removes every link and checks that nothing is left.
    pub(crate) fn clear(mut self) {
        self.deliver_mail = true;
        for consumer in self.consumers.keys().copied().collect::<Vec<_>>() {
            self.remove_consumer(consumer);
        }
        for producer in self.producers.keys().copied().collect::<Vec<_>>() {
            self.remove_producer(producer);
        }
        self.run();
        for core in &self.cores {
            core.check_empty();
        }
    }
}
