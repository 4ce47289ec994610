//! The rules of a router one by one, among a few routers whose messages arrive at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use fastrand::Rng;
use mq_mesh::frame::Hello;
use mq_mesh::{ConnectionKey, Incarnation, NodeId, Refused, Router, RouterEvent, RouterOptions};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn id(name: &str) -> NodeId {
    NodeId::new("fleet", name)
}

fn hello(node: &str, incarnation: u64, cost: u32) -> Hello {
    Hello {
        fleet: "fleet".into(),
        node: node.into(),
        incarnation: Incarnation(incarnation),
        shards: 2,
        cost,
        ..Hello::default()
    }
}

struct Net {
    now: Instant,
    routers: BTreeMap<NodeId, Router>,
    names: BTreeMap<NodeId, String>,
    lives: BTreeMap<NodeId, u64>,
    events: BTreeMap<NodeId, Vec<RouterEvent>>,
    connections: u64,
    /// Nothing that is sent arrives.
    is_deaf: bool,
    messages: u64,
}

impl Net {
    fn new(names: &[&str]) -> Self {
        let mut net = Self {
            now: Instant::now(),
            routers: BTreeMap::new(),
            names: BTreeMap::new(),
            lives: BTreeMap::new(),
            events: BTreeMap::new(),
            connections: 0,
            is_deaf: false,
            messages: 0,
        };
        names.iter().for_each(|name| net.start(name, 1));
        net
    }

    fn start(&mut self, name: &str, life: u64) {
        let router = Router::new(self.now, RouterOptions::new("fleet", name, Incarnation(life), 2));
        self.routers.insert(id(name), router);
        self.names.insert(id(name), name.to_owned());
        self.lives.insert(id(name), life);
    }

    fn router(&mut self, name: &str) -> &mut Router {
        self.routers.get_mut(&id(name)).expect("it has been started")
    }

    /// One end of a connection.
    fn up(&mut self, here: &str, there: &str, costs: [u32; 2], key: ConnectionKey) {
        let (now, hello) = (self.now, hello(there, self.lives[&id(there)], costs[1]));
        self.router(here).neighbour_up(now, key, costs[0], &hello).expect("a neighbour");
    }

    fn connect(&mut self, one: &str, other: &str, costs: [u32; 2]) -> ConnectionKey {
        self.connections += 1;
        let key = ConnectionKey(self.connections);
        self.up(one, other, costs, key);
        self.up(other, one, [costs[1], costs[0]], key);
        self.settle();
        key
    }

    fn disconnect(&mut self, one: &str, other: &str, key: ConnectionKey) {
        let now = self.now;
        self.router(one).neighbour_down(now, key);
        self.router(other).neighbour_down(now, key);
        self.settle();
    }

    /// Until nobody has anything to say.
    fn settle(&mut self) {
        let names: Vec<NodeId> = self.routers.keys().copied().collect();
        loop {
            let mut is_quiet = true;
            for from in &names {
                let router = self.routers.get_mut(from).expect("it has been started");
                while let Some(event) = router.poll_event() {
                    self.events.entry(*from).or_default().push(event);
                }
                let Some((to, message)) = router.poll_transmit(self.now) else { continue };
                is_quiet = false;
                self.messages += 1;
                if let Some(router) = self.routers.get_mut(&to).filter(|_| !self.is_deaf) {
                    router.handle_link_state(self.now, *from, message).expect("link state");
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = self.routers.values().filter_map(Router::poll_timeout).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.routers.values_mut().for_each(|router| router.handle_timeout(self.now));
        }
        self.now = end;
    }

    /// What a node has been told since it was last asked, without the changes of routes.
    fn events(&mut self, name: &str) -> Vec<String> {
        let names = &self.names;
        let events = self.events.remove(&id(name)).unwrap_or_default();
        let text = |event| match event {
            RouterEvent::NodeUp(node) => Some(format!("{} up {}", node.name, node.incarnation)),
            RouterEvent::NodeDown { node, incarnation } => {
                Some(format!("{} down {incarnation}", names[&node]))
            }
            RouterEvent::NodeChanged(node) => Some(format!("{} changed", node.name)),
            RouterEvent::Superseded { incarnation } => Some(format!("superseded by {incarnation}")),
            RouterEvent::RoutesChanged => None,
        };
        events.into_iter().filter_map(text).collect()
    }

    fn cost(&mut self, one: &str, other: &str) -> Option<u32> {
        self.router(one).routes().get(id(other)).map(|route| route.cost)
    }
}

/// a - b - c.
fn line() -> Net {
    let mut net = Net::new(&["a", "b", "c"]);
    net.connect("a", "b", [1, 1]);
    net.connect("b", "c", [1, 1]);
    net.run(ms(500));
    assert_eq!(net.events("a"), ["b up 1", "c up 1"]);
    net
}

#[test]
fn a_link_counts_when_both_ends_say_so() {
    let mut net = Net::new(&["a", "b", "c"]);
    net.connect("a", "b", [1, 1]);
    net.up("b", "c", [1, 1], ConnectionKey(100));
    net.run(ms(500));
    // b names c, but c does not name b, and nobody has c's word on anything.
    assert_eq!(net.cost("a", "c"), None);
    net.up("c", "b", [1, 1], ConnectionKey(100));
    net.run(ms(500));
    assert_eq!(net.cost("a", "c"), Some(2));
    // One end takes the connection for dead: that is enough.
    let now = net.now;
    net.router("c").neighbour_down(now, ConnectionKey(100));
    net.connect("a", "c", [50, 50]);
    net.run(ms(500));
    assert_eq!((net.cost("a", "c"), net.cost("b", "c")), (Some(50), Some(51)));
}

#[test]
fn the_larger_of_both_costs_counts_and_the_cheapest_connection() {
    let mut net = Net::new(&["a", "b"]);
    let first = net.connect("a", "b", [3, 7]);
    net.run(ms(500));
    assert_eq!((net.cost("a", "b"), net.cost("b", "a")), (Some(7), Some(7)));
    let second = net.connect("a", "b", [4, 2]);
    net.run(ms(500));
    assert_eq!(net.cost("a", "b"), Some(4));
    net.disconnect("a", "b", second);
    net.run(ms(500));
    assert_eq!(net.cost("a", "b"), Some(7));
    assert_eq!(net.events("a"), ["b up 1"], "a node with a connection left is not down");
    net.disconnect("a", "b", first);
    assert_eq!(net.cost("a", "b"), None, "routes do not wait");
    assert!(net.events("a").is_empty(), "the owner does");
    net.run(ms(501));
    assert_eq!(net.events("a"), ["b down 1"]);
}

#[test]
fn ways_that_cost_the_same_are_all_used_and_a_flow_keeps_to_one() {
    let mut net = Net::new(&["a", "b", "c", "d"]);
    for (one, other, cost) in [("a", "b", 1), ("a", "c", 2), ("b", "d", 2), ("c", "d", 1)] {
        net.connect(one, other, [cost, cost]);
    }
    net.run(ms(500));
    let routes = net.router("a").routes().clone();
    let route = routes.get(id("d")).expect("a way");
    let mut expected = vec![id("b"), id("c")];
    expected.sort_unstable();
    assert_eq!((route.cost, route.hops, route.next_hops.to_vec()), (3, 2, expected));
    let used: Vec<_> = (0..10).map(|flow| routes.next_hop(id("d"), flow)).collect();
    assert!(used.contains(&Some(id("b"))) && used.contains(&Some(id("c"))));
    assert_eq!(routes.next_hop(id("d"), 4), routes.next_hop(id("d"), 4));
    assert_eq!(routes.next_hop(id("a"), 0), None);
}

#[test]
fn a_node_that_comes_back_in_time_has_not_been_away() {
    let mut net = line();
    let now = net.now;
    net.router("b").neighbour_down(now, ConnectionKey(2));
    net.router("c").neighbour_down(now, ConnectionKey(2));
    net.run(ms(400));
    assert_eq!(net.cost("a", "c"), None);
    net.connect("b", "c", [1, 1]);
    net.run(ms(1_000));
    assert_eq!(net.cost("a", "c"), Some(2));
    assert!(net.events("a").is_empty());
}

#[test]
fn a_node_that_leaves_is_gone_at_once() {
    let mut net = line();
    let now = net.now;
    net.router("c").leave(now);
    net.run(ms(100));
    assert_eq!(net.events("a"), ["c down 1"]);
    assert_eq!(net.router("a").node(id("c")).map(|node| node.is_leaving), Some(true));
    assert_eq!(net.cost("c", "b"), None, "nor does it reach anyone");
}

#[test]
fn a_new_life_replaces_the_old_one_at_once() {
    let mut net = line();
    net.start("c", 2);
    let now = net.now;
    net.router("b").neighbour_down(now, ConnectionKey(2));
    net.connect("b", "c", [1, 1]);
    net.run(ms(200));
    assert_eq!(net.events("a"), ["c down 1", "c up 2"]);
    assert_eq!(net.events("b"), ["a up 1", "c up 1", "c down 1", "c up 2"]);
}

#[test]
fn a_node_that_returns_is_not_seen_in_its_former_life() {
    let mut net = Net::new(&["a", "b", "c"]);
    net.connect("a", "b", [1, 1]);
    let keys = [net.connect("a", "c", [1, 1]), net.connect("b", "c", [1, 1])];
    net.run(ms(2_000));
    net.disconnect("a", "c", keys[0]);
    net.disconnect("b", "c", keys[1]);
    net.run(ms(2_000));
    assert_eq!(net.events("a"), ["b up 1", "c up 1", "c down 1"]);
    // It has greeted both, and its link state is still on its way.
    net.start("c", 2);
    let keys = [ConnectionKey(8), ConnectionKey(9)];
    net.up("b", "c", [1, 1], keys[1]);
    net.run(ms(1_000));
    assert_eq!(net.events("a"), Vec::<String>::new(), "b has met it");
    net.up("a", "c", [1, 1], keys[0]);
    net.run(ms(1_000));
    assert_eq!(net.events("a"), Vec::<String>::new());
    net.up("c", "b", [1, 1], keys[1]);
    net.up("c", "a", [1, 1], keys[0]);
    net.run(ms(1_000));
    assert_eq!(net.events("a"), ["c up 2"]);
    assert_eq!(net.events("b").last().map(String::as_str), Some("c up 2"));
    assert_eq!((net.cost("a", "c"), net.cost("b", "c")), (Some(1), Some(1)));
}

#[test]
fn connections_of_a_former_life_do_not_count() {
    let mut net = line();
    net.start("c", 2);
    // b still has the connection to the process that is no more.
    net.up("b", "c", [1, 1], ConnectionKey(3));
    assert_eq!(net.cost("b", "c"), None, "until the new process has said what it is");
    net.up("c", "b", [1, 1], ConnectionKey(3));
    net.run(ms(200));
    assert_eq!(net.cost("b", "c"), Some(1));
    let now = net.now;
    net.router("b").neighbour_down(now, ConnectionKey(2));
    net.run(ms(1_000));
    assert_eq!(net.cost("b", "c"), Some(1));
    let late = net.router("b").neighbour_up(now, ConnectionKey(4), 1, &hello("c", 1, 1));
    assert!(matches!(late, Err(Refused::Superseded { .. })), "{late:?}");
}

#[test]
fn the_elder_of_two_processes_of_one_name_is_told() {
    let mut net = Net::new(&["a", "b", "c"]);
    net.connect("a", "b", [1, 1]);
    net.run(ms(500));
    // The name of c is used, later, by somebody whom only b hears.
    net.connect("b", "c", [1, 1]);
    net.run(ms(500));
    let old = net.routers.remove(&id("c")).expect("the elder");
    net.start("c", 7);
    net.connect("a", "c", [1, 1]);
    net.run(ms(500));
    net.routers.insert(id("c"), old);
    net.events("c");
    let now = net.now;
    net.router("b").neighbour_down(now, ConnectionKey(2));
    net.router("c").neighbour_down(now, ConnectionKey(2));
    net.lives.insert(id("c"), 1);
    net.connect("b", "c", [1, 1]);
    net.run(ms(500));
    assert!(net.events("c").contains(&"superseded by 7".to_owned()));
    assert_eq!(net.router("b").node(id("c")).map(|node| node.incarnation), Some(Incarnation(7)));
}

#[test]
fn whoever_is_no_neighbour_is_refused_with_the_reason() {
    let mut net = Net::new(&["a"]);
    let now = net.now;
    let mut refused = |hello: &Hello| {
        net.router("a").neighbour_up(now, ConnectionKey(1), 1, hello).expect_err("refused").to_string()
    };
    let stranger = Hello { fleet: "other".into(), ..hello("b", 1, 1) };
    assert!(refused(&stranger).contains("is of fleet \"other\" and this one of \"fleet\""));
    assert!(refused(&hello("a", 9, 1)).contains("this node's own name"));
    assert_eq!(net.router("a").poll_transmit(now), None);
}

#[test]
fn what_a_node_tells_of_itself_reaches_everyone() {
    let mut net = line();
    net.router("a").poll_event();
    let computed = net.router("a").statistics().routes_computed;
    let now = net.now;
    net.router("c").set_info(now, Bytes::from_static(b"{\"cordoned\":true}"));
    net.run(ms(200));
    assert_eq!(net.events("a"), ["c changed"]);
    assert_eq!(
        net.router("a").node(id("c")).map(|node| node.info.as_ref()),
        Some(&b"{\"cordoned\":true}"[..])
    );
    assert_eq!(net.router("a").statistics().routes_computed, computed, "ways are as they were");
}

#[test]
fn halves_that_had_parted_become_one() {
    let mut net = Net::new(&["a", "b", "c", "d"]);
    net.connect("a", "b", [1, 1]);
    net.connect("c", "d", [1, 1]);
    let bridge = net.connect("b", "c", [1, 1]);
    net.run(ms(500));
    net.disconnect("b", "c", bridge);
    net.run(ms(1_000));
    let now = net.now;
    net.router("d").set_info(now, Bytes::from_static(b"changed while away"));
    net.run(ms(500));
    net.events("a");
    net.connect("b", "c", [1, 1]);
    net.run(ms(500));
    // What a remembers of d is enough to know the way, and then comes the news.
    assert_eq!(net.events("a"), ["c up 1", "d up 1", "d changed"]);
    assert_eq!(net.router("a").node(id("d")).map(|node| node.info.len()), Some(18));
}

#[test]
fn what_was_lost_without_a_trace_is_found_within_a_minute() {
    let mut net = line();
    net.is_deaf = true;
    let now = net.now;
    net.router("c").set_info(now, Bytes::from_static(b"unheard"));
    net.run(ms(500));
    net.is_deaf = false;
    net.run(ms(60_000));
    assert_eq!(net.router("a").node(id("c")).map(|node| node.info.as_ref()), Some(&b"unheard"[..]));
}

#[test]
fn who_has_not_been_heard_of_for_hours_is_forgotten_and_who_is_there_is_not() {
    let mut net = line();
    let now = net.now;
    net.router("b").neighbour_down(now, ConnectionKey(2));
    net.routers.remove(&id("c"));
    net.run(Duration::from_secs(60 * 60));
    assert!(net.router("a").node(id("c")).is_some());
    net.run(Duration::from_secs(2 * 60 * 60));
    assert!(net.router("a").node(id("c")).is_none());
    assert_eq!(net.cost("a", "b"), Some(1));
    assert_eq!(net.events("a"), ["c down 1"]);
}

#[test]
fn a_quiet_fleet_says_next_to_nothing() {
    let mut net = line();
    let before = net.messages;
    net.run(Duration::from_secs(60 * 60));
    // Four summaries a half-minute or less, and a few records.
    assert!(net.messages - before < 4 * 60 * 60 / 26 + 30, "{}", net.messages - before);
}

#[test]
fn link_state_that_is_malformed_is_an_error_and_never_a_panic() {
    let mut net = Net::new(&["a", "b"]);
    net.up("a", "b", [1, 1], ConnectionKey(1));
    net.up("b", "a", [1, 1], ConnectionKey(1));
    let now = net.now;
    let transmit = |net: &mut Net, at| net.router("b").poll_transmit(at).expect("a message").1;
    let messages = [transmit(&mut net, now), transmit(&mut net, now + ms(20))];
    assert_eq!(messages.each_ref().map(|message| message[0]), [1, 2], "records and a digest");
    for message in &messages {
        for length in 2..message.len() {
            let truncated = net.router("a").handle_link_state(now, id("b"), message.slice(..length));
            // A digest may end between two versions.
            assert!(truncated.is_err() || (length > 17 && (length - 18) % 24 == 0), "{length}");
        }
    }
    assert!(net.router("a").handle_link_state(now, id("b"), Bytes::new()).is_err());
    let mut rng = Rng::with_seed(4);
    for round in 0..20_000 {
        let mut bytes = messages[round % messages.len()].to_vec();
        for _ in 0..rng.usize(1..4) {
            let place = rng.usize(..bytes.len());
            bytes[place] = rng.u8(..);
        }
        let _ = net.router("a").handle_link_state(now, id("b"), bytes.into());
        while net.router("a").poll_transmit(now).is_some() {}
        while net.router("a").poll_event().is_some() {}
    }
    assert!(net.router("a").nodes().count() <= mq_mesh::router::MAX_NODES);
}

#[test]
fn no_more_nodes_are_remembered_than_the_limit() {
    let mut net = Net::new(&["a", "b"]);
    net.connect("a", "b", [1, 1]);
    net.run(ms(500));
    let now = net.now;
    for node in 0..5_000 {
        // What b would pass on of a node that nobody can reach.
        let name = format!("far-{node}");
        let mut far = Router::new(now, RouterOptions::new("fleet", &name, Incarnation(1), 1));
        far.neighbour_up(now, ConnectionKey(1), 1, &hello("b", 1, 1)).expect("a neighbour");
        let (_, record) = far.poll_transmit(now).expect("its record");
        net.router("a").handle_link_state(now, id("b"), record).expect("link state");
    }
    assert_eq!(net.router("a").nodes().count(), mq_mesh::router::MAX_NODES);
}

/// A message with one record, of a node that has no neighbours.
fn record(name: &str, incarnation: u64, sequence: u64) -> Bytes {
    let mut raw = BytesMut::new();
    raw.put_u16(u16::try_from(name.len()).expect("short"));
    raw.put_slice(name.as_bytes());
    raw.put_u64(incarnation);
    raw.put_u64(sequence);
    // No flags, two shards, no info, no links.
    raw.put_slice(&[0, 0, 2, 0, 0, 0, 0]);
    let mut message = BytesMut::new();
    message.put_u8(1);
    message.put_u32(0);
    message.put_u16(u16::try_from(raw.len()).expect("short"));
    message.put_slice(&raw);
    message.freeze()
}

#[test]
fn a_record_that_cannot_be_overtaken_does_not_stop_the_node_that_it_is_about() {
    let mut net = Net::new(&["a", "b"]);
    net.connect("a", "b", [1, 1]);
    net.settle();
    for sequence in [u64::MAX - 1, u64::MAX] {
        let now = net.now;
        net.router("a").handle_link_state(now, id("b"), record("a", 1, sequence)).expect("well-formed");
        net.router("a").set_info(now, Bytes::from(sequence.to_string()));
        net.run(ms(1_000));
    }
    assert!(net.router("a").routes().get(id("b")).is_some());
}
