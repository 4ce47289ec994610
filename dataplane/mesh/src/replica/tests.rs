//! Seeded runs of many replicas in virtual time; single steps; the cost of catching up.

mod fleet;
mod wire;

use std::collections::BTreeMap;

use super::*;
use fleet::Fleet;

const ADDRESS: Kind = Kind(1);

fn key(name: &str) -> Key {
    Key::new(ADDRESS, name)
}

/// Two replicas that talk without loss or delay, and the bytes of what each has said.
struct Pair {
    now: Instant,
    unix: UnixMillis,
    replicas: [Replica; 2],
    sent: [usize; 2],
    largest: usize,
    events: [Vec<Event>; 2],
}

impl Pair {
    fn new(limits: &Limits) -> Self {
        let replica = |number| Replica::new(NodeId(number), limits.clone());
        Self {
            now: Instant::now(),
            unix: 1_800_000_000_000,
            replicas: [replica(1), replica(2)],
            sent: [0; 2],
            largest: 0,
            events: [Vec::new(), Vec::new()],
        }
    }

    fn connect(&mut self) {
        self.replicas[0].peer_up(self.now, NodeId(2));
        self.replicas[1].peer_up(self.now, NodeId(1));
    }

    fn put(&mut self, at: usize, name: &str, value: &str) -> Version {
        self.replicas[at].put(self.unix, key(name), Bytes::copy_from_slice(value.as_bytes())).unwrap()
    }

    /// One round of everything: persist, serve, deliver. False when nothing was left to do.
    fn step(&mut self) -> bool {
        let mut is_busy = false;
        for index in 0..2 {
            let replica = &mut self.replicas[index];
            if replica.poll_persist(self.now).is_some() {
                is_busy = true;
                replica.handle_persisted(self.now);
                replica.handle_served(self.now);
            }
            while let Some((to, message)) = self.replicas[index].poll_transmit() {
                is_busy = true;
                self.sent[index] += message.len();
                self.largest = self.largest.max(message.len());
                let other = usize::try_from(to.0 - 1).unwrap();
                let from = NodeId(index as u64 + 1);
                self.replicas[other].handle_message(self.now, self.unix, from, message).unwrap();
            }
            while let Some(event) = self.replicas[index].poll_event() {
                self.events[index].push(event);
            }
        }
        is_busy
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let due = self.replicas.iter().filter_map(Replica::poll_timeout).min();
            let Some(at) = due.filter(|at| *at <= end) else { break };
            let passed = at.saturating_duration_since(self.now);
            self.unix += passed.as_millis() as u64;
            self.now += passed;
            let (now, unix) = (self.now, self.unix);
            self.replicas.iter_mut().for_each(|replica| replica.handle_timeout(now, unix));
            self.settle();
        }
        self.unix += end.saturating_duration_since(self.now).as_millis() as u64;
        self.now = end;
    }

    fn start(&mut self) {
        let (now, unix) = (self.now, self.unix);
        self.replicas.iter_mut().for_each(|replica| replica.handle_timeout(now, unix));
        self.settle();
    }

    fn assert_same(&self) {
        let [one, other] = &self.replicas;
        assert_eq!(one.digest(), other.digest());
        assert!(one.entries().eq(other.entries()));
    }
}

fn record(number: u64, clock: u64) -> Record {
    let value = format!(r#"{{"spec":{{"type":"queue"}},"labels":{{"number":"{number}"}}}}"#);
    Record {
        key: key(&format!("plant/line-{}/device-{number}", number % 100)),
        version: Version { clock, origin: NodeId(1) },
        value: Some(value.into()),
    }
}

#[test]
fn a_change_reaches_the_peer_at_once_and_its_spread_is_told() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    pair.settle();
    let version = pair.put(0, "q", "1");
    pair.settle();
    assert_eq!(pair.replicas[1].entry(&key("q")).unwrap().value.as_deref(), Some(b"1".as_slice()));
    assert!(pair.events[0].contains(&Event::Spread { key: key("q"), version }));
    pair.assert_same();
}

#[test]
fn nothing_is_visible_or_sent_before_it_is_persisted_nor_confirmed_before_it_is_served() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    pair.settle();
    let now = pair.now;
    pair.put(0, "q", "1");
    assert!(pair.replicas[0].entry(&key("q")).is_none());
    assert_eq!(pair.replicas[0].poll_transmit(), None);
    assert_eq!(pair.replicas[0].poll_persist(now).unwrap().len(), 1);
    assert_eq!(pair.replicas[0].poll_transmit(), None);
    pair.replicas[0].handle_persisted(now);
    let (to, message) = pair.replicas[0].poll_transmit().unwrap();
    assert_eq!(to, NodeId(2));
    pair.replicas[1].handle_message(now, pair.unix, NodeId(1), message).unwrap();
    assert_eq!(pair.replicas[1].poll_transmit(), None, "not on its disk yet");
    pair.replicas[1].poll_persist(now).unwrap();
    pair.replicas[1].handle_persisted(now);
    assert_eq!(pair.replicas[1].poll_transmit(), None, "not in force yet");
    pair.replicas[1].handle_served(now);
    let (_, answer) = pair.replicas[1].poll_transmit().unwrap();
    pair.replicas[0].handle_message(now, pair.unix, NodeId(2), answer).unwrap();
    assert!(matches!(pair.replicas[0].poll_event(), Some(Event::Spread { .. })));
}

#[test]
fn a_disk_that_refuses_forgets_the_own_change_and_keeps_that_of_the_peer_until_it_takes_it() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    pair.settle();
    pair.put(0, "theirs", "1");
    let now = pair.now;
    pair.replicas[0].poll_persist(now).unwrap();
    pair.replicas[0].handle_persisted(now);
    pair.replicas[0].handle_served(now);
    let (_, message) = pair.replicas[0].poll_transmit().unwrap();
    pair.replicas[1].handle_message(now, pair.unix, NodeId(1), message).unwrap();
    pair.put(1, "own", "2");
    assert_eq!(pair.replicas[1].poll_persist(now).unwrap().len(), 2);
    pair.replicas[1].handle_not_persisted(now);
    assert_eq!(pair.replicas[1].poll_persist(now), None, "the disk is left in peace");
    pair.pass(Duration::from_secs(6));
    assert!(pair.replicas[1].entry(&key("own")).is_none());
    assert!(pair.replicas[1].entry(&key("theirs")).is_some());
    assert!(pair.events[0].iter().any(|event| matches!(event, Event::Spread { .. })));
}

#[test]
fn of_two_changes_in_a_partition_the_later_one_counts_on_both_sides() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.put(0, "q", "first");
    pair.settle();
    pair.unix += 1;
    pair.put(1, "q", "second");
    pair.settle();
    pair.connect();
    pair.settle();
    pair.assert_same();
    assert_eq!(pair.replicas[0].entry(&key("q")).unwrap().value.as_deref(), Some(b"second".as_slice()));
}

#[test]
fn a_change_made_after_another_one_was_seen_overrides_it_however_wrong_the_clock_is() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    pair.put(0, "q", "1");
    pair.settle();
    pair.unix -= 3_600_000;
    pair.put(1, "q", "2");
    pair.settle();
    pair.unix = 0;
    pair.put(0, "q", "3");
    pair.settle();
    pair.assert_same();
    assert_eq!(pair.replicas[1].entry(&key("q")).unwrap().value.as_deref(), Some(b"3".as_slice()));
}

#[test]
fn a_clock_that_is_ahead_is_reported_once() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    let ahead = pair.unix + 7_200_000;
    for number in 0..3 {
        pair.replicas[0].put(ahead, key(&number.to_string()), Bytes::new()).unwrap();
        pair.settle();
    }
    let told = pair.events[1].iter().filter(|event| matches!(event, Event::ClockAhead { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn a_clock_that_leaves_nobody_a_later_one_is_not_believed() {
    let mut pair = Pair::new(&Limits::default());
    pair.connect();
    pair.start();
    let last =
        Record { version: Version { clock: Version::END_OF_CLOCK - 1, origin: NodeId(2) }, ..record(1, 1) };
    let message = Message::Changes { sequence: 1, records: vec![last] }.encode();
    let (now, unix) = (pair.now, pair.unix);
    let refused = pair.replicas[0].handle_message(now, unix, NodeId(2), message);
    assert!(matches!(refused, Err(MessageError::Bound { what: "clock of a version", .. })), "{refused:?}");
    let next = pair.replicas[0].next_version(unix);
    assert_eq!(next.unix_millis(), unix, "it goes on as before");
}

#[test]
fn a_deletion_reaches_a_node_that_was_away_for_a_week_and_is_forgotten_after_thirty_days() {
    let day = Duration::from_secs(24 * 3_600);
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    pair.connect();
    pair.put(0, "gone", "1");
    pair.put(0, "kept", "1");
    pair.settle();
    pair.replicas[0].peer_down(pair.now, NodeId(2));
    pair.replicas[1].peer_down(pair.now, NodeId(1));
    let unix = pair.unix;
    pair.replicas[0].delete(unix, key("gone"));
    pair.pass(day * 7);
    assert!(pair.replicas[1].entry(&key("gone")).unwrap().value.is_some());
    pair.connect();
    pair.settle();
    pair.assert_same();
    assert_eq!(pair.replicas[1].entry(&key("gone")).unwrap().value, None);
    pair.pass(day * 24);
    pair.assert_same();
    assert_eq!(pair.replicas[1].entries().count(), 1);
    assert!(pair.events[1].iter().any(|event| matches!(event, Event::Forgotten { .. })));
}

#[test]
fn a_tombstone_that_one_of_two_has_forgotten_is_not_brought_back() {
    let mut pair = Pair::new(&Limits::default());
    pair.start();
    let unix = pair.unix;
    let tombstone = |clock| Record { value: None, ..record(1, clock) };
    let old = (unix - 31 * 24 * 3_600_000) << Version::COUNTER_BITS;
    assert!(pair.replicas[0].recover(tombstone(old)));
    pair.connect();
    pair.settle();
    assert_eq!(pair.replicas[1].statistics(), Statistics { peers: 1, ..pair.replicas[1].statistics() });
    assert_eq!(pair.replicas[1].entries().count(), 0);
    // Comparing goes on less and less often, not in a loop.
    let before = pair.sent[0] + pair.sent[1];
    pair.pass(Duration::from_secs(600));
    assert!(pair.sent[0] + pair.sent[1] - before < 64 << 10, "{:?}", pair.sent);
}

/// The bytes that it takes to bring two replicas together that hold `shared` objects, of which so many are
/// newer on the one, on the other, or deleted.
fn cost_of_difference(shared: u64, differ: u64) -> (Pair, usize) {
    let mut pair = Pair::new(&Limits::default());
    let clock = |number: u64| (pair.unix << Version::COUNTER_BITS) - 1_000_000 + number;
    let records: Vec<Record> = (0..shared).map(|number| record(number, clock(number))).collect();
    for record in records {
        pair.replicas.iter_mut().for_each(|replica| assert!(replica.recover(record.clone())));
    }
    for number in 0..differ {
        let at = usize::from(number % 2 == 0);
        let changed =
            record(number * (shared / differ.max(1)), (pair.unix << Version::COUNTER_BITS) + number);
        let value = changed.value.filter(|_| number % 3 > 0);
        pair.replicas[at].recover(Record { value, ..changed });
    }
    pair.start();
    pair.connect();
    pair.settle();
    pair.assert_same();
    let sent = pair.sent[0] + pair.sent[1];
    (pair, sent)
}

#[test]
fn only_the_difference_travels() {
    let (_, nothing) = cost_of_difference(100_000, 0);
    assert!(nothing < 64, "{nothing} bytes to find that there is nothing to do");
    for shared in [10_000, 100_000] {
        let (_, one) = cost_of_difference(shared, 1);
        assert!(one < 5_000, "{one} bytes for one of {shared}");
        let (pair, hundred) = cost_of_difference(shared, 100);
        assert!(hundred < 400_000, "{hundred} bytes for a hundred of {shared}");
        assert!(pair.largest <= 80 << 10, "{}", pair.largest);
    }
}

#[test]
fn a_node_that_has_nothing_gets_everything_once_in_bounded_pieces() {
    let limits = Limits::default();
    let mut pair = Pair::new(&limits);
    let mut size = 0;
    for number in 0..100_000 {
        let record = record(number, 1_000 + number);
        size += record.key.name.len() + record.value.as_ref().map_or(0, Bytes::len);
        pair.replicas[1].recover(record);
    }
    pair.start();
    pair.connect();
    let mut waiting = 0;
    // Whoever does not persist gets no more than the window.
    while let Some((to, message)) =
        pair.replicas[1].poll_transmit().or_else(|| pair.replicas[0].poll_transmit())
    {
        let (to, from) = if to == NodeId(1) { (0, NodeId(2)) } else { (1, NodeId(1)) };
        waiting += message.len();
        pair.replicas[to].handle_message(pair.now, pair.unix, from, message).unwrap();
    }
    assert!(waiting < limits.window + (128 << 10), "{waiting} bytes wait for a disk");
    pair.settle();
    pair.assert_same();
    let sent = waiting + pair.sent[0] + pair.sent[1];
    assert!(sent < size + 100_000 * 32, "{sent} bytes for objects of {size}");
    assert!(pair.largest <= limits.piece + 1_024, "{}", pair.largest);
}

#[test]
fn a_leaf_that_does_not_fit_into_a_message_is_compared_in_parts() {
    let limits = Limits { piece: 256, window: 1_024, ..Limits::default() };
    let mut pair = Pair::new(&limits);
    for number in 0..20_000 {
        let record = record(number, 1_000 + number);
        for (at, replica) in pair.replicas.iter_mut().enumerate() {
            if number % 97 != at as u64 {
                replica.recover(record.clone());
            }
        }
    }
    pair.start();
    pair.connect();
    pair.settle();
    pair.assert_same();
    assert_eq!(pair.replicas[0].statistics().objects, 20_000);
}

#[test]
fn a_full_replica_refuses_and_says_so() {
    let limits = Limits { max_objects: 2, ..Limits::default() };
    let mut pair = Pair::new(&limits);
    pair.start();
    pair.connect();
    pair.put(0, "a", "1");
    pair.put(0, "b", "1");
    pair.settle();
    let unix = pair.unix;
    assert_eq!(pair.replicas[0].put(unix, key("c"), Bytes::new()), Err(Refused::Full(2)));
    pair.put(0, "b", "2");
    pair.settle();
    pair.replicas[1] = Replica::new(NodeId(2), Limits { max_objects: 1, ..limits });
    pair.start();
    pair.connect();
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.replicas[1].statistics().objects, 1);
    assert_eq!(pair.events[1].iter().filter(|event| matches!(event, Event::Full { .. })).count(), 1);
}

#[test]
fn names_and_values_beyond_the_limits_are_refused() {
    let limits = Limits { max_name: 4, max_value: 4, ..Limits::default() };
    let mut replica = Replica::new(NodeId(1), limits);
    assert_eq!(replica.put(1, key(""), Bytes::new()), Err(Refused::Name(0, 4)));
    assert_eq!(replica.put(1, key("abcde"), Bytes::new()), Err(Refused::Name(5, 4)));
    assert_eq!(replica.put(1, key("abcd"), Bytes::from_static(b"12345")), Err(Refused::Value(5, 4)));
    assert!(replica.put(1, key("abcd"), Bytes::from_static(b"1234")).is_ok());
}

#[test]
fn replicas_that_hold_the_same_stay_quiet() {
    let (mut pair, _) = cost_of_difference(1_000, 10);
    pair.pass(Duration::from_secs(1));
    let before = pair.sent[0] + pair.sent[1];
    pair.pass(Duration::from_secs(3_600));
    let hourly = pair.sent[0] + pair.sent[1] - before;
    assert!(hourly <= 60 * 10, "{hourly} bytes in an hour");
}

#[test]
fn many_seeds_converge() {
    let seeds = match std::env::var("MQ_TESTS_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => {
            let rounds = std::env::var("MQ_TESTS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
            (0..rounds.unwrap_or(300)).collect::<Vec<u64>>()
        }
    };
    for seed in seeds {
        Fleet::new(seed, 2 + (seed % 5) as usize).run();
    }
}

#[test]
fn a_fleet_of_fifty_that_was_parted_fetches_what_it_lacks_about_once() {
    let mut fleet = Fleet::new(7, 50);
    fleet.calm();
    fleet.connect_all();
    fleet.pass(3_000);
    fleet.part_in_two();
    let before = fleet.bytes;
    for number in 0..500 {
        fleet.put(number % 50, &format!("object-{number}"));
    }
    fleet.pass(2_000);
    let parted = fleet.bytes - before;
    let before = fleet.bytes;
    fleet.connect_all();
    fleet.pass(10_000);
    fleet.assert_converged();
    let healed = fleet.bytes - before;
    assert!(healed < parted * 4, "{healed} bytes after the partition, {parted} in it");
}

#[test]
fn fifty_nodes_that_start_together_agree_within_two_seconds() {
    let mut fleet = Fleet::new(11, 50);
    fleet.calm();
    for number in 0..1_000 {
        fleet.put(0, &format!("object-{number}"));
    }
    fleet.pass(100);
    fleet.connect_all();
    let mut took = 0;
    while !fleet.is_same() {
        fleet.pass(10);
        took += 10;
    }
    assert!(took <= 2_000, "{took} ms");
    fleet.pass(1_000);
    fleet.assert_converged();
}

/// What has happened to an object, by every name in it.
type Highest = BTreeMap<Key, (Version, Option<Bytes>)>;
