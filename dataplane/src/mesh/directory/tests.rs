//! Directories that talk to each other, with news that are delivered one by one.

use super::*;

/// A node of a fleet in memory: its directory, and the sessions of its shards.
struct World {
    now: Instant,
    nodes: Vec<Member>,
    /// Messages on their way, by sender and receiver; none where there is no link.
    wires: BTreeMap<(usize, usize), VecDeque<Bytes>>,
    clock: u64,
    /// The nodes on which sessions that last have begun, by client and number, until they end.
    lasting: BTreeMap<(Arc<str>, u64), usize>,
    /// The same of those that have ended.
    over: BTreeMap<(Arc<str>, u64), usize>,
}

struct Member {
    directory: Directory,
    sessions: BTreeMap<Arc<str>, Held>,
    known: Vec<Waiter>,
    /// Sessions that were ended because of another.
    ended: Vec<(Arc<str>, u64)>,
    is_recovered: bool,
    /// Sessions that it has offered to other nodes, which a restart forgets.
    offers: BTreeMap<Arc<str>, Offer>,
    /// Sessions that it has given away, by client and number.
    departures: BTreeMap<(Arc<str>, u64), Departure>,
    /// Sessions that were offered to it, with the nodes that have offered them.
    arrivals: BTreeMap<Arc<str>, (usize, Offer)>,
    /// Those that it has taken and that not every node knows of.
    unknown: Vec<u64>,
}

/// A session on its way to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    to: usize,
    /// Unlike that of every other offer.
    number: u64,
    held: Held,
}

#[derive(Clone, Debug)]
struct Departure {
    offer: Offer,
    is_done: bool,
    /// Orders to end it.
    orders: Vec<Order>,
}

/// A session that a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    since: u64,
    expiry: u32,
    has_moved: bool,
}

/// What is told of a session that is nobody's in particular.
fn claim(since: u64, expiry: u32, has_moved: bool) -> Claim {
    Claim { since, expiry, has_moved, owner: NOBODY }
}

/// What became of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Resumed(usize),
    Begun(usize),
    Refused,
}

fn id_of(node: usize) -> NodeId {
    NodeId(100 - node as u64)
}

fn index_of(id: NodeId) -> usize {
    100 - id.0 as usize
}

fn waiter(number: u64) -> Waiter {
    Waiter { shard: 0, who: Who::Connection { key: 0, number } }
}

fn giver(number: u64) -> Waiter {
    Waiter { shard: 0, who: Who::Giver { number } }
}

impl World {
    fn new(nodes: usize) -> Self {
        let member = |node| {
            let mut directory = Directory::new(id_of(node));
            directory.recovered();
            Member {
                directory,
                sessions: BTreeMap::new(),
                known: Vec::new(),
                ended: Vec::new(),
                is_recovered: true,
                offers: BTreeMap::new(),
                departures: BTreeMap::new(),
                arrivals: BTreeMap::new(),
                unknown: Vec::new(),
            }
        };
        let nodes = (0..nodes).map(member).collect();
        let (wires, lasting, over) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now: Instant::now(), nodes, wires, clock: 1_000, lasting, over }
    }

    /// The same, all in reach of each other.
    fn linked(nodes: usize) -> Self {
        let mut world = Self::new(nodes);
        world.link_all();
        world.settle();
        world
    }

    fn is_linked(&self, one: usize, other: usize) -> bool {
        self.wires.contains_key(&(one, other))
    }

    fn link(&mut self, one: usize, other: usize) {
        if one == other || self.is_linked(one, other) {
            return;
        }
        for (here, there) in [(one, other), (other, one)] {
            self.wires.insert((here, there), VecDeque::new());
            self.nodes[here].directory.node_up(id_of(there), &format!("node-{there}")).unwrap();
        }
    }

    fn link_all(&mut self) {
        for one in 0..self.nodes.len() {
            for other in one + 1..self.nodes.len() {
                self.link(one, other);
            }
        }
    }

    fn cut(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            if self.wires.remove(&(here, there)).is_some() {
                self.nodes[here].directory.node_down(self.now, id_of(there));
            }
        }
    }

    fn isolate(&mut self, node: usize) {
        (0..self.nodes.len()).for_each(|other| self.cut(node, other));
    }

    /// Ends a node without a word; what lasts of its sessions is on its disk.
    fn restart(&mut self, node: usize) {
        self.isolate(node);
        let member = &mut self.nodes[node];
        member.directory = Directory::new(id_of(node));
        member.sessions.retain(|_, held| held.expiry > 0);
        member.is_recovered = false;
        member.offers.clear();
        member.unknown.clear();
        for departure in member.departures.values_mut() {
            departure.orders.clear();
        }
        self.do_events(node);
    }

    fn recover(&mut self, node: usize) {
        let member = &mut self.nodes[node];
        if std::mem::replace(&mut member.is_recovered, true) {
            return;
        }
        for (client, held) in &member.sessions {
            member.directory.claim(self.now, client, claim(held.since, held.expiry, held.has_moved), None);
        }
        for ((client, _), Departure { offer: Offer { held, .. }, is_done, .. }) in &member.departures {
            if *is_done {
                member.directory.left(client, held.since, false);
            } else if !member.sessions.contains_key(client) {
                member.directory.claim(self.now, client, claim(held.since, held.expiry, true), None);
                member.directory.set_leaving(client, held.since, true);
            }
        }
        member.directory.recovered();
        self.do_events(node);
    }

    /// Carries out what a directory wants of its shards, and sends what it has to send.
    fn do_events(&mut self, node: usize) {
        let member = &mut self.nodes[node];
        while let Some(event) = member.directory.poll_event() {
            match event {
                Event::End { client, since, order } => {
                    let departure = member.departures.get_mut(&(client.clone(), since));
                    if let Some(departure) = departure.filter(|departure| !departure.is_done) {
                        departure.orders.push(order);
                        continue;
                    }
                    if let Some(held) =
                        member.sessions.get(&client).copied().filter(|held| held.since == since)
                    {
                        member.sessions.remove(&client);
                        member.offers.remove(&client);
                        member.directory.gone(&client, held.since);
                        member.ended.push((client.clone(), held.since));
                        note_over(&mut self.lasting, &mut self.over, client, held.since);
                    }
                    member.directory.ended(order);
                }
                Event::Known(Waiter { who: Who::Giver { number }, .. }) => {
                    member.unknown.retain(|unknown| *unknown != number);
                }
                Event::Known(waiter) => member.known.push(waiter),
                Event::Over { client, since } => {
                    assert!(member.departures.remove(&(client, since)).is_some(), "it has left");
                }
            }
        }
        while let Some((to, message)) = member.directory.poll_transmit() {
            let wire = self.wires.get_mut(&(node, index_of(to))).expect("only who is in reach is told");
            wire.push_back(message);
        }
    }

    /// Delivers the next message of a wire; false when there is none.
    fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(message) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.nodes[to].directory.handle(self.now, id_of(from), message).unwrap();
        self.do_events(to);
        true
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for node in &mut self.nodes {
            node.directory.handle_timeout(self.now);
        }
        (0..self.nodes.len()).for_each(|node| self.do_events(node));
    }

    fn settle(&mut self) {
        loop {
            (0..self.nodes.len()).for_each(|node| self.do_events(node));
            let wires: Vec<(usize, usize)> = self.wires.keys().copied().collect();
            let delivered = wires.into_iter().filter(|(from, to)| self.deliver(*from, *to)).count();
            if delivered == 0 {
                return;
            }
        }
    }

    fn place(&self, node: usize, client: &str) -> Place {
        self.nodes[node].directory.lookup(self.now, client)
    }

    /// A client connects, as the driver of a shard lets it in.
    fn connect(&mut self, node: usize, client: &str, is_clean: bool, expiry: u32) -> Outcome {
        let client: Arc<str> = client.into();
        let is_known = match self.place(node, &client) {
            Place::OutOfReach { .. } if !is_clean => return Outcome::Refused,
            Place::At { node: home, is_lasting: true } if !is_clean => {
                return self.connect_here(index_of(home), client, false, false, expiry);
            }
            Place::At { .. } | Place::OutOfReach { .. } => true,
            Place::Leaving => return Outcome::Refused,
            Place::Here | Place::Nowhere => false,
        };
        self.connect_here(node, client, is_clean, is_known, expiry)
    }

    fn connect_here(
        &mut self,
        node: usize,
        client: Arc<str>,
        is_clean: bool,
        is_known: bool,
        expiry: u32,
    ) -> Outcome {
        let now = self.now;
        self.clock += 2;
        let clock = self.clock & !REPLACES;
        let member = &mut self.nodes[node];
        if member.is_leaving(&client) || member.offers.contains_key(&client) {
            return Outcome::Refused;
        }
        if let Some(held) = member.sessions.get(&client).copied() {
            if held.expiry > 0 && !is_clean {
                member.sessions.insert(client.clone(), Held { expiry, ..held });
                member.directory.claim(now, &client, claim(held.since, expiry, held.has_moved), None);
                self.note_lasting(node, client, held.since, expiry);
                self.do_events(node);
                return Outcome::Resumed(node);
            }
            member.sessions.remove(&client);
            member.directory.gone(&client, held.since);
            note_over(&mut self.lasting, &mut self.over, client.clone(), held.since);
        }
        // A new one takes the place of what is remembered of another.
        member.departures.retain(|(other, _), departure| *other != client || !departure.is_done);
        let since = clock.max(member.directory.latest(&client) + 2) & !REPLACES;
        let since = if is_clean || is_known { since | REPLACES } else { since };
        member.sessions.insert(client.clone(), Held { since, expiry, has_moved: false });
        member.directory.claim(now, &client, claim(since, expiry, false), Some(waiter(since)));
        self.note_lasting(node, client, since, expiry);
        self.do_events(node);
        Outcome::Begun(node)
    }

    fn note_lasting(&mut self, node: usize, client: Arc<str>, since: u64, expiry: u32) {
        if expiry > 0 {
            self.lasting.entry((client, since)).or_insert(node);
        } else {
            // It ends with its connection, and with its node.
            note_over(&mut self.lasting, &mut self.over, client, since);
        }
    }

    /// A node offers a session that lasts to another one, which has it on disk then.
    fn offer(&mut self, node: usize, to: usize, client: &str) {
        let client: Arc<str> = client.into();
        self.clock += 2;
        let number = self.clock;
        let is_taken = self.nodes[to].arrivals.get(&client).is_some_and(|(from, _)| *from != node);
        let is_possible = self.is_linked(node, to) && self.nodes[to].is_recovered && !is_taken;
        let member = &mut self.nodes[node];
        let held = member.sessions.get(&client).copied().filter(|held| held.expiry > 0);
        let Some(held) = held.filter(|_| is_possible && member.is_recovered) else { return };
        let offer = Offer { to, number, held };
        member.directory.set_leaving(&client, held.since, true);
        member.offers.insert(client.clone(), offer);
        self.nodes[to].arrivals.insert(client, (node, offer));
    }

    /// A node takes an offer back, and does not say so.
    fn take_back(&mut self, node: usize, client: &str) {
        let member = &mut self.nodes[node];
        if let Some(offer) = member.offers.remove(client) {
            member.directory.set_leaving(client, offer.held.since, false);
        }
    }

    /// A node gives up on disk what it has offered.
    fn depart(&mut self, node: usize, client: &str) {
        let member = &mut self.nodes[node];
        let Some((client, offer)) = member.offers.remove_entry(client) else { return };
        member.sessions.remove(&client);
        let departure = Departure { offer, is_done: false, orders: Vec::new() };
        member.departures.insert((client, offer.held.since), departure);
    }

    /// A node has the other one take a session that it has given up, as often as it must.
    fn hand_over(&mut self, node: usize, client: &str) {
        let departures = &self.nodes[node].departures;
        let departure = departures.iter().find(|((other, _), it)| **other == *client && !it.is_done);
        let Some((key, departure)) = departure else { return };
        let (key, offer) = (key.clone(), departure.offer);
        if !self.is_linked(node, offer.to) || !self.nodes[offer.to].is_recovered {
            return;
        }
        self.take(offer.to, client, offer.number);
        self.do_events(offer.to);
        if self.nodes[offer.to].unknown.contains(&offer.held.since) {
            return;
        }
        let member = &mut self.nodes[node];
        let Some((key, departure)) = member.departures.remove_entry(&key) else { return };
        let client = key.0.clone();
        member.directory.left(&client, offer.held.since, !departure.orders.is_empty());
        for order in departure.orders.iter().copied() {
            member.directory.ended(order);
        }
        if departure.orders.is_empty() {
            let done = Departure { is_done: true, orders: Vec::new(), ..departure };
            member.departures.insert(key, done);
        } else {
            member.directory.gone(&client, offer.held.since);
        }
        self.do_events(node);
    }

    /// A node serves a session that was given to it, unless its client has a later one there.
    fn take(&mut self, node: usize, client: &str, number: u64) {
        let now = self.now;
        let member = &mut self.nodes[node];
        let arrival = member.arrivals.get(client).copied().filter(|(_, offer)| offer.number == number);
        let Some((_, Offer { held, .. })) = arrival else { return };
        let (client, _) = member.arrivals.remove_entry(client).expect("it has arrived");
        if let Some(own) = member.sessions.get(&client).copied() {
            if counts_more((own.since, own.expiry), (held.since, held.expiry)) {
                member.ended.push((client.clone(), held.since));
                return note_over(&mut self.lasting, &mut self.over, client, held.since);
            }
            member.sessions.remove(&client);
            member.offers.remove(&client);
            member.directory.gone(&client, own.since);
            member.ended.push((client.clone(), own.since));
            note_over(&mut self.lasting, &mut self.over, client.clone(), own.since);
        }
        member.departures.remove(&(client.clone(), held.since));
        member.sessions.insert(client.clone(), Held { has_moved: true, ..held });
        if member.directory.claim(now, &client, claim(held.since, held.expiry, true), Some(giver(held.since)))
        {
            member.unknown.push(held.since);
        }
    }

    /// A node asks the giver of what has arrived whether that is meant.
    fn ask_giver(&mut self, node: usize, client: &str) {
        let Some((from, offer)) = self.nodes[node].arrivals.get(client).copied() else { return };
        if !self.is_linked(node, from) || !self.nodes[from].is_recovered {
            return;
        }
        let giver = &self.nodes[from];
        let is_offered = giver.offers.get(client) == Some(&offer);
        let departure = giver.departures.get(&(client.into(), offer.held.since));
        let is_given = departure.is_some_and(|departure| departure.offer == offer);
        if !is_offered && !is_given {
            self.nodes[node].arrivals.remove(client);
        }
    }

    /// Every session that lasts is on one node, or on its way between two.
    fn check_places(&self, seed: u64) {
        for (client, since) in self.lasting.keys() {
            let is_it = |held: Held| held.since == *since;
            let served =
                self.nodes.iter().filter(|node| node.sessions.get(client).copied().is_some_and(is_it));
            let departures =
                self.nodes.iter().flat_map(|node| node.departures.get(&(client.clone(), *since)));
            let on_its_way = departures.filter(|it| {
                let arrival = self.nodes[it.offer.to].arrivals.get(client);
                is_it(it.offer.held) && arrival.is_some_and(|(_, offer)| *offer == it.offer)
            });
            let places = served.count() + on_its_way.count();
            assert_eq!(places, 1, "seed {seed}: session {since} of {client}");
        }
    }

    /// The client goes: with its session, when that does not last.
    fn leave(&mut self, node: usize, client: &str, ends: bool) {
        let client: Arc<str> = client.into();
        let member = &mut self.nodes[node];
        let held = member.sessions.get(&client).copied().filter(|held| ends || held.expiry == 0);
        if let Some(held) = held.filter(|_| !member.offers.contains_key(&client)) {
            member.sessions.remove(&client);
            member.directory.gone(&client, held.since);
            note_over(&mut self.lasting, &mut self.over, client, held.since);
        }
        self.do_events(node);
    }

    /// Where the sessions of a client are.
    fn homes(&self, client: &str) -> Vec<usize> {
        let has = |node: &usize| self.nodes[*node].sessions.contains_key(client);
        (0..self.nodes.len()).filter(has).collect()
    }
}

impl Member {
    /// Whether a session of the client is another node's, which may not know.
    fn is_leaving(&self, client: &str) -> bool {
        self.departures.iter().any(|((other, _), departure)| **other == *client && !departure.is_done)
    }
}

fn note_over(
    lasting: &mut BTreeMap<(Arc<str>, u64), usize>,
    over: &mut BTreeMap<(Arc<str>, u64), usize>,
    client: Arc<str>,
    since: u64,
) {
    if let Some((key, node)) = lasting.remove_entry(&(client, since)) {
        over.insert(key, node);
    }
}

#[test]
fn a_session_is_known_on_every_node_and_forgotten_with_its_end() {
    let mut world = World::linked(3);
    assert_eq!(world.connect(0, "a", false, 60), Outcome::Begun(0));
    world.settle();
    assert_eq!(world.place(0, "a"), Place::Here);
    for node in [1, 2] {
        assert_eq!(world.place(node, "a"), Place::At { node: id_of(0), is_lasting: true });
    }
    assert_eq!(world.connect(2, "a", false, 0), Outcome::Resumed(0));
    world.settle();
    assert_eq!(world.place(1, "a"), Place::At { node: id_of(0), is_lasting: false });
    world.leave(0, "a", false);
    world.settle();
    assert!((0..3).all(|node| world.place(node, "a") == Place::Nowhere));
}

#[test]
fn a_client_waits_until_every_node_in_reach_knows_of_its_session() {
    let mut world = World::linked(3);
    world.connect(0, "a", false, 60);
    assert!(world.nodes[0].known.is_empty());
    assert!(world.deliver(0, 1) && world.deliver(1, 0));
    assert!(world.nodes[0].known.is_empty(), "one of two knows");
    assert!(world.deliver(0, 2) && world.deliver(2, 0));
    assert_eq!(world.nodes[0].known.len(), 1);
}

#[test]
fn a_client_does_not_wait_for_a_node_that_goes_nor_longer_than_a_second() {
    let mut world = World::linked(3);
    world.connect(0, "a", false, 60);
    assert!(world.deliver(0, 1) && world.deliver(1, 0));
    world.cut(0, 2);
    world.do_events(0);
    assert_eq!(world.nodes[0].known.len(), 1);

    world.connect(0, "b", false, 60);
    assert_eq!(world.nodes[0].directory.poll_timeout(world.now), Some(world.now), "there is some to sweep");
    world.now += KNOWN_WITHIN;
    world.nodes[0].directory.handle_timeout(world.now);
    world.do_events(0);
    assert_eq!(world.nodes[0].known.len(), 2);
}

#[test]
fn every_node_knows_whose_a_session_is() {
    let mut world = World::new(2);
    world.link(0, 1);
    world.settle();
    let now = world.now;
    for (client, owner) in [("ann", 7), ("nobody", NOBODY)] {
        let claim = Claim { owner, ..claim(10, 60, false) };
        world.nodes[0].directory.claim(now, &client.into(), claim, None);
    }
    world.do_events(0);
    world.settle();
    let owner = |client: &str| world.nodes[1].directory.owner(now, client);
    assert_eq!((owner("ann"), owner("nobody"), owner("else")), (Some(7), Some(NOBODY), None));
    assert_eq!(world.nodes[0].directory.owner(now, "ann"), None, "of other nodes alone");
}

#[test]
fn a_client_waits_for_nothing_when_no_other_node_is_in_reach() {
    let mut world = World::new(1);
    let waits = world.nodes[0].directory.claim(world.now, &"a".into(), claim(10, 60, false), Some(waiter(1)));
    assert!(!waits);
}

#[test]
fn who_comes_into_reach_is_told_of_all_sessions_in_pieces_and_of_what_changes_meanwhile() {
    let mut world = World::new(2);
    let count = 10_000;
    for number in 0..count {
        world.connect(0, &format!("client-{number:05}"), false, 60);
    }
    world.link(0, 1);
    world.do_events(0);
    assert_eq!(world.wires[&(0, 1)].len(), UNDER_WAY);
    assert!(world.wires[&(0, 1)].iter().all(|batch| batch.len() <= BATCH + LONGEST_CLIENT + 15));
    assert!(world.nodes[1].directory.is_learning());
    for number in 0..count / 2 {
        world.leave(0, &format!("client-{:05}", number * 2), true);
        world.deliver(0, 1);
        world.deliver(1, 0);
    }
    world.connect(0, "aaa", false, 60);
    world.settle();
    assert!(!world.nodes[1].directory.is_learning());
    assert_eq!(world.nodes[1].directory.len().1, count / 2 + 1);
    assert_eq!(world.place(1, "client-00000"), Place::Nowhere);
    assert_eq!(world.place(1, "client-00001"), Place::At { node: id_of(0), is_lasting: true });
}

#[test]
fn a_session_that_lasts_is_not_gone_with_its_node_and_one_that_does_not_is() {
    let mut world = World::linked(2);
    world.connect(0, "lasting", false, 60);
    world.connect(0, "fleeting", true, 0);
    world.settle();
    world.isolate(0);
    assert_eq!(world.place(1, "lasting"), Place::OutOfReach { node: "node-0".into() });
    assert_eq!(world.place(1, "fleeting"), Place::Nowhere);
    assert_eq!(world.connect(1, "lasting", false, 60), Outcome::Refused);
    world.link_all();
    assert_eq!(
        world.place(1, "lasting"),
        Place::At { node: id_of(0), is_lasting: true },
        "before it is told"
    );
}

#[test]
fn a_session_out_of_reach_is_over_when_its_time_would_be() {
    let mut world = World::linked(2);
    world.connect(0, "minute", false, 60);
    world.connect(0, "ever", false, u32::MAX);
    world.settle();
    world.isolate(0);
    world.now += Duration::from_secs(59);
    assert!(matches!(world.place(1, "minute"), Place::OutOfReach { .. }));
    world.now += Duration::from_secs(1);
    assert_eq!(world.place(1, "minute"), Place::Nowhere);
    let directory = &mut world.nodes[1].directory;
    while directory.poll_timeout(world.now).is_some_and(|at| at <= world.now) {
        directory.handle_timeout(world.now);
    }
    assert_eq!(directory.len().1, 1);
    assert_eq!(directory.poll_timeout(world.now), Some(world.now + SWEEP));
    world.now += Duration::from_secs(1 << 32);
    assert!(matches!(world.place(1, "ever"), Place::OutOfReach { .. }));
}

#[test]
fn a_new_start_ends_the_session_on_a_node_in_reach() {
    let mut world = World::linked(3);
    world.connect(0, "a", false, 60);
    world.settle();
    assert_eq!(world.connect(1, "a", true, 60), Outcome::Begun(1));
    world.settle();
    assert_eq!((world.homes("a"), world.nodes[0].ended.len()), (vec![1], 1));
    assert_eq!(world.place(2, "a"), Place::At { node: id_of(1), is_lasting: true });
}

#[test]
fn a_claim_is_known_when_the_session_that_it_ends_has_ended() {
    let mut world = World::linked(2);
    world.connect(0, "a", false, 60);
    world.settle();
    world.connect(1, "a", true, 0);
    let batch = world.wires.get_mut(&(1, 0)).unwrap().pop_front().unwrap();
    let known = world.nodes[1].known.len();
    let first = &mut world.nodes[0].directory;
    first.handle(world.now, id_of(1), batch).unwrap();
    let Some(Event::End { client, since, order }) = first.poll_event() else { panic!("nothing is ended") };
    assert_eq!(&*client, "a");
    assert!(since & REPLACES == 0);
    while let Some((_, message)) = first.poll_transmit() {
        // The news of the end; not the acknowledgement.
        assert_eq!(message[0], BATCH_KIND);
    }
    first.ended(order);
    let (_, message) = first.poll_transmit().expect("the acknowledgement");
    world.nodes[1].directory.handle(world.now, id_of(0), message).unwrap();
    world.do_events(1);
    assert_eq!(world.nodes[1].known.len(), known + 1);
}

#[test]
fn a_session_out_of_reach_that_was_begun_anew_elsewhere_ends_when_its_node_is_back() {
    for ends in [false, true] {
        let mut world = World::linked(3);
        world.connect(0, "a", false, 60);
        world.settle();
        world.restart(0);
        assert_eq!(world.connect(1, "a", true, 0), Outcome::Begun(1));
        world.settle();
        if ends {
            // The new one is over already: the old one has ended all the same.
            world.leave(1, "a", false);
            world.settle();
        }
        world.link_all();
        world.settle();
        world.recover(0);
        world.settle();
        assert_eq!(world.homes("a"), if ends { vec![] } else { vec![1] });
        assert_eq!(world.nodes[0].ended.len(), 1);
    }
}

#[test]
fn what_is_owed_to_a_node_is_said_again_when_it_went_before_it_heard() {
    let mut world = World::linked(2);
    world.connect(0, "a", false, 60);
    world.settle();
    world.isolate(0);
    world.connect(1, "a", true, 0);
    world.leave(1, "a", false);
    world.link_all();
    // Said, and lost on the way.
    world.do_events(1);
    world.isolate(0);
    world.link_all();
    world.settle();
    assert!(world.homes("a").is_empty());
}

#[test]
fn of_two_new_sessions_the_later_one_counts() {
    let mut world = World::new(2);
    world.connect(0, "a", true, 60);
    world.connect(1, "a", true, 60);
    world.link_all();
    world.settle();
    assert_eq!((world.homes("a"), world.nodes[0].ended.len()), (vec![1], 1));
}

#[test]
fn a_session_that_was_begun_without_knowing_of_an_earlier_one_that_lasts_gives_way_to_it() {
    let mut world = World::new(2);
    world.connect(0, "a", false, 60);
    world.connect(1, "a", false, 60);
    world.link_all();
    world.settle();
    assert_eq!((world.homes("a"), world.nodes[1].ended.len()), (vec![0], 1));
}

#[test]
fn a_node_that_has_restarted_takes_nothing_for_told_before_it_has_read_its_disk() {
    let mut world = World::linked(2);
    world.connect(0, "a", false, 60);
    world.connect(0, "b", true, 0);
    world.settle();
    world.restart(0);
    world.link_all();
    world.settle();
    let at = Place::At { node: id_of(0), is_lasting: true };
    assert_eq!((world.place(1, "a"), world.place(1, "b")), (at.clone(), Place::Nowhere));
    assert!(world.nodes[1].directory.is_learning());
    world.recover(0);
    world.settle();
    assert_eq!(world.place(1, "a"), at);
    assert!(!world.nodes[1].directory.is_learning());
}

#[test]
fn a_node_that_comes_back_without_a_session_has_ended_it() {
    let mut world = World::linked(2);
    world.connect(0, "a", false, 60);
    world.settle();
    world.restart(0);
    world.nodes[0].sessions.clear();
    world.recover(0);
    world.link_all();
    world.settle();
    assert_eq!(world.place(1, "a"), Place::Nowhere);
    let directory = &mut world.nodes[1].directory;
    (0..PARTS).for_each(|_| directory.handle_timeout(world.now));
    assert_eq!(directory.len().1, 0);
}

#[test]
fn who_does_not_take_the_news_is_told_everything_anew_and_the_log_is_bounded() {
    let mut world = World::linked(2);
    for number in 0..2 * MAX_NEWS as u64 {
        let client: Arc<str> = format!("c{}", number % 100).into();
        let directory = &mut world.nodes[0].directory;
        let since = 2 * number;
        directory.gone(&client, since - since.min(200));
        directory.claim(world.now, &client, claim(since, 60, false), None);
        world.nodes[0].sessions.insert(client, Held { since, expiry: 60, has_moved: false });
        assert!(world.nodes[0].directory.news.len() <= MAX_NEWS);
    }
    world.settle();
    assert_eq!(world.nodes[1].directory.len().1, 100);
    let held = world.nodes[0].sessions["c7"];
    assert_eq!(world.nodes[1].directory.latest("c7"), held.since);
    assert!(world.nodes[0].directory.news.is_empty());
}

#[test]
fn a_message_that_was_cut_or_has_a_bit_wrong_is_an_error_or_another_message() {
    let mut world = World::linked(2);
    world.connect(0, "kitchen", false, 60);
    let batch = world.wires.get_mut(&(0, 1)).unwrap().pop_front().unwrap();
    let fresh = || {
        let mut directory = Directory::new(id_of(1));
        directory.node_up(id_of(0), "node-0").unwrap();
        directory
    };
    for end in 0..batch.len() {
        let taken = fresh().handle(world.now, id_of(0), batch.slice(..end));
        assert_eq!(taken.is_err(), end != 2, "{end} bytes");
    }
    for bit in 0..batch.len() * 8 {
        let mut flipped = batch.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = fresh().handle(world.now, id_of(0), flipped.into());
    }
    let unsent = Bytes::from_static(b"\x02\0\0\0\0\0\0\0\x09");
    assert_eq!(fresh().handle(world.now, id_of(0), unsent), Err(DirectoryError::Acknowledged(9)));
}

#[test]
fn a_number_that_leaves_none_for_later_sessions_is_an_error() {
    let mut world = World::linked(2);
    for (since, is_error) in [(END_OF_NUMBERS - 1, false), (END_OF_NUMBERS, true), (u64::MAX, true)] {
        let mut message = BytesMut::from(&[BATCH_KIND, 0][..]);
        put_item(&mut message, GONE, "kitchen", since);
        let taken = world.nodes[1].directory.handle(world.now, id_of(0), message.freeze());
        assert_eq!(taken, if is_error { Err(DirectoryError::Number(since)) } else { Ok(()) });
    }
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<Entry>() <= 16 && size_of::<Own>() <= 16);
}

#[test]
fn a_session_that_moves_is_always_known_somewhere_and_ends_where_it_is() {
    let mut world = World::linked(3);
    world.connect(0, "a", false, 60);
    world.settle();
    world.offer(0, 1, "a");
    world.depart(0, "a");
    assert_eq!(world.connect(2, "a", false, 60), Outcome::Refused, "it is on its way");
    world.hand_over(0, "a");
    assert!(!world.nodes[0].departures.values().all(|departure| departure.is_done), "not every node knows");
    assert_ne!(world.place(2, "a"), Place::Nowhere);
    world.settle();
    world.hand_over(0, "a");
    world.settle();
    assert!(world.nodes[0].departures.values().all(|departure| departure.is_done));
    for node in [0, 2] {
        assert_eq!(world.place(node, "a"), Place::At { node: id_of(1), is_lasting: true });
        let goes_on =
            |world: &World, since| world.nodes[node].directory.goes_on(world.now, id_of(0), "a", since);
        let since = world.nodes[1].sessions["a"].since;
        assert_eq!(goes_on(&world, Some(since)), Some(true));
        assert_eq!(goes_on(&world, Some(since - 2)), Some(false));
    }
    assert_eq!(world.connect(2, "a", false, 60), Outcome::Resumed(1));
    assert_eq!(world.connect(2, "a", true, 60), Outcome::Begun(2));
    world.settle();
    assert_eq!(world.homes("a"), [2]);
    assert!(world.nodes[0].departures.is_empty(), "nobody has to remember it any more");
}

#[test]
fn what_ends_a_session_that_has_left_is_passed_on_to_where_it_is() {
    for is_late in [false, true] {
        let mut world = World::linked(3);
        world.connect(0, "a", false, 60);
        world.settle();
        world.cut(1, 2);
        world.offer(0, 1, "a");
        world.depart(0, "a");
        if is_late {
            world.hand_over(0, "a");
            world.deliver(1, 0);
            world.deliver(0, 1);
            world.hand_over(0, "a");
        }
        // It has not heard that the session has moved, and ends it where it was.
        assert_eq!(world.connect(2, "a", true, 0), Outcome::Begun(2));
        world.leave(2, "a", true);
        world.settle();
        world.hand_over(0, "a");
        world.settle();
        world.hand_over(0, "a");
        world.settle();
        assert!(world.homes("a").is_empty(), "{is_late}");
    }
}

#[test]
fn nobody_judges_a_session_that_went_to_a_node_out_of_reach() {
    let mut world = World::linked(3);
    world.connect(0, "a", false, 60);
    world.settle();
    let since = world.nodes[0].sessions["a"].since;
    world.offer(0, 1, "a");
    world.depart(0, "a");
    world.hand_over(0, "a");
    world.settle();
    world.hand_over(0, "a");
    world.settle();
    world.isolate(1);
    world.restart(2);
    world.recover(2);
    world.link(0, 2);
    world.settle();
    assert_eq!(world.place(2, "a"), Place::Nowhere, "it has not been told");
    let goes_on =
        |world: &World, since| world.nodes[2].directory.goes_on(world.now, id_of(0), "a", Some(since));
    assert_eq!(goes_on(&world, since), None);
    assert_eq!(goes_on(&world, since + 2), Some(false));
    world.link_all();
    world.settle();
    assert_eq!(goes_on(&world, since), Some(true));
}

/// What happens to nodes and clients in any order: afterwards every client has one session at most, where all
/// nodes think it is, and none that lasts was ended but for one that was to replace it.
#[test]
fn all_nodes_agree_on_one_session_for_each_client_whatever_happens() {
    for seed in 0..2_000 {
        random_life(seed);
    }
}

fn random_life(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(random.usize(2..5));
    let count = world.nodes.len();
    let clients = ["a", "b", "c"];
    // The latest moment at which a client has wanted a session of its own.
    let mut replaced: HashMap<Arc<str>, u64> = HashMap::new();
    for _ in 0..random.usize(20..200) {
        let (one, other) = (random.usize(0..count), random.usize(0..count));
        let client = clients[random.usize(0..clients.len())];
        world.check_places(seed);
        match random.u8(0..27) {
            0 => world.link(one, other),
            1 => world.link_all(),
            2 => world.cut(one, other),
            3 => world.restart(one),
            4..=5 => world.recover(one),
            6..=9 if world.nodes[one].is_recovered => {
                let (is_clean, expiry) = (random.u8(0..4) == 0, 60 * random.u32(0..2));
                let at_home = world.place(one, client);
                let is_shut =
                    matches!(at_home, Place::At { node, .. } if !world.nodes[index_of(node)].is_recovered);
                if !is_shut && world.connect(one, client, is_clean, expiry) == Outcome::Begun(one) {
                    let since = world.nodes[one].sessions.get(client).map_or(0, |held| held.since);
                    if since & REPLACES != 0 {
                        replaced.insert(client.into(), since);
                    }
                }
            }
            10 => world.leave(one, client, false),
            11 => world.leave(one, client, random.bool()),
            12 => {
                world.pass(Duration::from_millis(random.u64(0..2_000)));
            }
            20..=21 => world.offer(one, other, client),
            22 => world.take_back(one, client),
            23 => world.depart(one, client),
            24..=25 => world.hand_over(one, client),
            26 => world.ask_giver(one, client),
            _ => drop(world.deliver(one, other)),
        }
    }
    world.link_all();
    (0..count).for_each(|node| world.recover(node));
    for _ in 0..3 {
        world.settle();
        // A giver that is to end what it has given away says nothing more to who wants that.
        world.pass(KNOWN_WITHIN);
        world.settle();
        for (node, client) in (0..count).flat_map(|node| clients.map(|client| (node, client))) {
            world.take_back(node, client);
            world.hand_over(node, client);
            world.ask_giver(node, client);
        }
    }
    forget_what_is_over(&mut world);
    world.check_places(seed);
    for ((client, since), begun_on) in &world.over {
        // One that ends with its connection goes on as long as that.
        let is_held = |node: &Member| node.sessions.get(client).is_some_and(|held| held.since == *since);
        if world.nodes.iter().any(is_held) {
            continue;
        }
        for member in &world.nodes {
            let goes_on = member.directory.goes_on(world.now, id_of(*begun_on), client, Some(*since));
            assert_eq!(goes_on, Some(false), "seed {seed}: session {since} of {client}");
        }
    }
    for ((client, since), begun_on) in &world.lasting {
        for member in &world.nodes {
            let goes_on = member.directory.goes_on(world.now, id_of(*begun_on), client, Some(*since));
            assert_eq!(goes_on, Some(true), "seed {seed}: session {since} of {client}");
        }
    }
    for client in clients {
        let homes = world.homes(client);
        assert!(homes.len() <= 1, "seed {seed}: {client} has sessions on {homes:?}");
        for node in 0..count {
            let expected = match homes.first() {
                None => Place::Nowhere,
                Some(home) if *home == node => Place::Here,
                Some(home) => {
                    let is_lasting = world.nodes[*home].sessions[client].expiry > 0;
                    Place::At { node: id_of(*home), is_lasting }
                }
            };
            assert_eq!(world.place(node, client), expected, "seed {seed}: {client} on node {node}");
        }
    }
    for (node, member) in world.nodes.iter().enumerate() {
        assert!(!member.directory.is_learning(), "seed {seed}: node {node} has not been told all");
        assert!(member.directory.owed.is_empty() && member.directory.waiting.is_empty(), "seed {seed}");
        assert!(member.directory.news.is_empty(), "seed {seed}");
        for (client, since) in &member.ended {
            let other = replaced.get(client).copied().unwrap_or(0);
            let has_given_way = since & REPLACES == 0;
            assert!(has_given_way || other > *since, "seed {seed}: {client} was ended without a later one");
        }
    }
}

/// What nodes do once they have been told of all sessions. A session may have been on several nodes, one after the
/// other.
fn forget_what_is_over(world: &mut World) {
    for _ in 0..world.nodes.len() {
        world.settle();
        let now = world.now;
        for member in &mut world.nodes {
            let Member { departures, directory, .. } = member;
            departures.retain(|(client, _), departure| {
                let (to, since) = (id_of(departure.offer.to), departure.offer.held.since);
                let is_over = departure.is_done && directory.is_over(now, to, client, since) == Some(true);
                if is_over {
                    directory.gone(client, since);
                }
                !is_over
            });
        }
    }
    world.settle();
}
