//! Clients that subscribe, publish, come and go at random, over a daemon that is killed now and then: each
//! gets exactly what a few lines of model say.
//!
//! `MQ_TESTS_SEED` runs one seed, `MQ_TESTS_ROUNDS` another number of rounds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mq_tests::Daemon;
use mq_tests::raw_mqtt::{Packet, RawMqtt, hex, packet, string};

const ROUNDS: u64 = 6;
const OPERATIONS: u64 = 150;
const TOPICS: [&str; 7] = ["a", "a/b", "a/b/c", "b", "/b", "b/", "a//c"];
const FILTERS: [&str; 12] =
    ["#", "a/#", "a/+", "+/b", "a/b", "a/b/#", "+", "+/+", "b", "/+", "a/+/c", "+/+/+"];

/// A message that a client is to get, or has got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    topic: &'static str,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
}

/// A client, and what it should know.
#[derive(Debug)]
struct Client {
    number: usize,
    is_v5: bool,
    is_lasting: bool,
    socket: Option<RawMqtt>,
    has_session: bool,
    filters: BTreeMap<&'static str, Options>,
    /// What is on its way to it.
    expected: Vec<Expected>,
    /// Publications of QoS 2 that it has and that were not released.
    taken: BTreeSet<u16>,
    /// Payloads of QoS 1 that came: they may come again after a crash.
    seen: BTreeSet<Vec<u8>>,
    was_killed: bool,
    next_id: u16,
}

#[derive(Clone, Copy, Debug)]
struct Options {
    qos: u8,
    no_local: bool,
}

/// A few lines of MQTT 4.7.
fn matches(filter: &str, topic: &str) -> bool {
    let mut names = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// A `#` matches the level above, too.
fn is_for(filter: &str, topic: &str) -> bool {
    matches(filter, topic) || filter.strip_suffix("/#").is_some_and(|parent| matches(parent, topic))
}

impl Client {
    fn new(number: usize) -> Self {
        Self {
            number,
            is_v5: number != 3,
            is_lasting: number != 2,
            socket: None,
            has_session: false,
            filters: BTreeMap::new(),
            expected: Vec::new(),
            taken: BTreeSet::new(),
            seen: BTreeSet::new(),
            was_killed: false,
            next_id: 0,
        }
    }

    fn name(&self) -> String {
        format!("client-{}", self.number)
    }

    /// Identifiers are told of the first client's subscriptions, retain flags kept for the second's.
    fn keeps_retain(&self) -> bool {
        self.number == 1
    }

    fn socket(&mut self) -> &mut RawMqtt {
        self.socket.as_mut().expect("it is connected")
    }

    fn connect(&mut self, server: SocketAddr) {
        let flags: u8 = if self.is_lasting { 0 } else { 2 };
        let (level, properties) = match (self.is_v5, self.is_lasting) {
            (true, true) => (5, "05 11 00 00 0e 10"),
            (true, false) => (5, "00"),
            (false, _) => (4, ""),
        };
        let head = [&hex("00 04 'MQTT'")[..], &[level, flags, 0, 0], &hex(properties)].concat();
        let mut socket = RawMqtt::open(server);
        socket.send(&packet(0x10, &[&head[..], &string(&self.name())].concat()));
        let answer = socket.expect(0x20);
        assert_eq!(answer.body[..2], [u8::from(self.has_session), 0], "{}: {answer:02x?}", self.name());
        // A takeover: the one before is closed.
        if let Some(mut old) = self.socket.replace(socket) {
            while let Ok(Some(packet)) = old.try_read() {
                assert_eq!(packet.first, 0xe0, "{packet:02x?}");
            }
        }
        self.has_session = self.is_lasting;
    }

    /// The connection ends without a word.
    fn cut(&mut self) {
        self.socket = None;
        if !self.is_lasting {
            self.filters.clear();
            self.expected.clear();
        }
        // What was sent and is lost with the connection: nothing but QoS 0, and none is on its way.
        self.expected.retain(|message| message.qos > 0);
    }

    fn id(&mut self) -> [u8; 2] {
        self.next_id = self.next_id % 60_000 + 1;
        self.next_id.to_be_bytes()
    }

    /// A packet whose properties are empty where there are any.
    fn request(&self, first: u8, before: &[u8], behind: &[u8]) -> Vec<u8> {
        let properties: &[u8] = if self.is_v5 { &[0] } else { &[] };
        packet(first, &[before, properties, behind].concat())
    }

    fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &[u8]) {
        let id = if qos > 0 { self.id().to_vec() } else { Vec::new() };
        let before = [&string(topic)[..], &id].concat();
        let bytes = self.request(0x30 | qos << 1 | u8::from(retain), &before, payload);
        self.socket().send(&bytes);
        match qos {
            0 => {}
            1 => self.answer(0x40, &id),
            _ => {
                self.answer(0x50, &id);
                self.socket().send(&packet(0x62, &id));
                self.answer(0x70, &id);
            }
        }
    }

    /// Waits for an answer that refuses nothing.
    fn answer(&mut self, first: u8, id: &[u8]) {
        let answer = self.wait_for(first);
        assert_eq!(&answer.body[..2], id, "{answer:02x?}");
        assert!(answer.body.get(2).is_none_or(|reason| *reason < 0x80), "{answer:02x?}");
    }

    fn subscribe(&mut self, filter: &str, options: Options, handling: u8) {
        let id = self.id();
        let mut byte = options.qos;
        if self.is_v5 {
            byte |= u8::from(options.no_local) << 2 | u8::from(self.keeps_retain()) << 3 | handling << 4;
        }
        let bytes = match self.number {
            0 => packet(0x82, &[&id[..], &[2, 0x0b, 9], &string(filter), &[byte]].concat()),
            _ => self.request(0x82, &id, &[&string(filter)[..], &[byte]].concat()),
        };
        self.socket().send(&bytes);
        let answer = self.wait_for(0x90);
        assert_eq!((&answer.body[..2], answer.body.last()), (&id[..], Some(&options.qos)), "{answer:02x?}");
    }

    fn unsubscribe(&mut self, filter: &str, is_there: bool) {
        let id = self.id();
        let bytes = self.request(0xa2, &id, &string(filter));
        self.socket().send(&bytes);
        let answer = self.wait_for(0xb0);
        if self.is_v5 {
            let expected = if is_there { 0 } else { 0x11 };
            assert_eq!(answer.body.last(), Some(&expected), "{answer:02x?}");
        }
    }

    /// Takes what comes until a packet with this first byte does.
    fn wait_for(&mut self, first: u8) -> Packet {
        loop {
            let packet = self.socket().read();
            if packet.first == first {
                return packet;
            }
            self.take(&packet);
        }
    }

    /// Takes everything that is expected, and nothing else.
    fn settle(&mut self) {
        if self.socket.is_none() {
            return;
        }
        while !self.expected.is_empty() || !self.taken.is_empty() {
            let packet = match self.socket().try_read() {
                Ok(Some(packet)) => packet,
                other => panic!("{}: {other:02x?}; it waits for {:?}", self.name(), self.expected),
            };
            self.take(&packet);
        }
        self.socket().send(&[0xc0, 0]);
        self.wait_for(0xd0);
    }

    fn take(&mut self, packet_: &Packet) {
        let body = &packet_.body;
        if packet_.first == 0x62 {
            self.taken.remove(&u16::from_be_bytes([body[0], body[1]]));
            let answer = packet(0x70, &body[..2]);
            return self.socket().send(&answer);
        }
        assert_eq!(packet_.first & 0xf0, 0x30, "{}: {packet_:02x?}", self.name());
        let qos = packet_.first >> 1 & 3;
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = std::str::from_utf8(&body[2..2 + length]).expect("a text");
        let mut rest = &body[2 + length..];
        let mut id = [0; 2];
        if qos > 0 {
            id.copy_from_slice(&rest[..2]);
            rest = &rest[2..];
        }
        if self.is_v5 {
            let properties = &rest[1..1 + usize::from(rest[0])];
            // One for each subscription that matches (MQTT 3.3.4), all the same here.
            let has_identifiers = properties.chunks(2).all(|one| one == [0x0b, 9]) && !properties.is_empty();
            assert_eq!(has_identifiers, self.number == 0, "{}: {packet_:02x?}", self.name());
            rest = &rest[1 + usize::from(rest[0])..];
        }
        let topic = TOPICS.iter().find(|known| **known == topic).expect("a topic of the test");
        let message = Expected { topic, payload: rest.to_vec(), qos, retain: packet_.first & 1 == 1 };
        match qos {
            1 => self.socket().send(&packet(0x40, &id)),
            2 => {
                self.socket().send(&packet(0x50, &id));
                if !self.taken.insert(u16::from_be_bytes(id)) {
                    return;
                }
            }
            _ => {}
        }
        self.expect(&message);
    }

    /// It is the next of its topic and QoS.
    fn expect(&mut self, message: &Expected) {
        let is_like = |other: &Expected| {
            (other.topic, other.qos, other.retain) == (message.topic, message.qos, message.retain)
        };
        let next = self.expected.iter().position(is_like);
        match next.filter(|next| self.expected.get(*next) == Some(message)) {
            Some(next) => {
                self.expected.remove(next);
            }
            None => {
                let is_again = message.qos == 1 && self.was_killed && self.seen.contains(&message.payload);
                assert!(is_again, "{}: {message:?} is not what comes next: {:?}", self.name(), self.expected);
            }
        }
        if message.qos == 1 {
            self.seen.insert(message.payload.clone());
        }
    }
}

/// All clients, and what the daemon should retain.
struct Round {
    /// `None` while it is killed.
    daemon: Option<Daemon>,
    clients: Vec<Client>,
    retained: BTreeMap<&'static str, (Vec<u8>, u8)>,
    state: u64,
    count: u64,
    history: Vec<String>,
}

impl Round {
    fn new(seed: u64) -> Self {
        Self {
            daemon: Some(Daemon::start()),
            clients: (0..4).map(Client::new).collect(),
            retained: BTreeMap::new(),
            state: seed,
            count: 0,
            history: Vec::new(),
        }
    }

    /// splitmix64, below a limit.
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn server(&self) -> SocketAddr {
        self.daemon.as_ref().expect("it was started again").mqtt()
    }

    fn operate(&mut self) {
        let number = self.below(4);
        let operation = self.below(40);
        if self.clients[number].socket.is_none() {
            self.history.push(format!("{number} connects"));
            let server = self.server();
            self.clients[number].connect(server);
            return self.settle();
        }
        match operation {
            0..10 => self.subscribe(number),
            10..14 => self.unsubscribe(number),
            14..35 => self.publish(number),
            35..38 => {
                self.history.push(format!("{number} is cut"));
                self.clients[number].cut();
            }
            38 if self.clients[number].is_lasting => {
                self.history.push(format!("{number} is taken over"));
                let server = self.server();
                self.clients[number].connect(server);
            }
            _ if self.below(3) == 0 => return self.kill(),
            _ => {}
        }
        self.settle();
    }

    fn subscribe(&mut self, number: usize) {
        let filter = FILTERS[self.below(FILTERS.len())];
        let client = &self.clients[number];
        // What no local says of retained messages is not: so only with none of them.
        let no_local = client.number == 0 && self.below(2) == 0;
        let handling = match self.clients[number].is_v5 {
            true if no_local => 2,
            true => self.below(3) as u8,
            false => 0,
        };
        let options = Options { qos: self.below(3) as u8, no_local };
        self.history.push(format!("{number} subscribes to {filter}: {options:?}, handling {handling}"));
        let client = &mut self.clients[number];
        let is_new = client.filters.insert(filter, options).is_none();
        if handling == 0 || (handling == 1 && is_new) {
            for (topic, (payload, qos)) in &self.retained {
                if is_for(filter, topic) {
                    let qos = (*qos).min(options.qos);
                    client.expected.push(Expected { topic, payload: payload.clone(), qos, retain: true });
                }
            }
        }
        client.subscribe(filter, options, handling);
    }

    fn unsubscribe(&mut self, number: usize) {
        let filter = FILTERS[self.below(FILTERS.len())];
        self.history.push(format!("{number} unsubscribes from {filter}"));
        let client = &mut self.clients[number];
        let is_there = client.filters.remove(filter).is_some();
        client.unsubscribe(filter, is_there);
    }

    fn publish(&mut self, number: usize) {
        let topic = TOPICS[self.below(TOPICS.len())];
        let (qos, retain) = (self.below(3) as u8, self.below(4) == 0);
        self.count += 1;
        let is_empty = retain && self.below(3) == 0;
        let payload = if is_empty { Vec::new() } else { self.count.to_string().into_bytes() };
        self.history.push(format!(
            "{number} publishes {} to {topic}: QoS {qos}, retain {retain}",
            payload.escape_ascii()
        ));
        match retain {
            true if is_empty => {
                self.retained.remove(topic);
            }
            true => {
                self.retained.insert(topic, (payload.clone(), qos));
            }
            false => {}
        }
        for client in &mut self.clients {
            let filters = client.filters.iter().filter(|(filter, options)| {
                is_for(filter, topic) && !(options.no_local && client.number == number)
            });
            let Some(granted) = filters.map(|(_, options)| options.qos).max() else { continue };
            let qos = qos.min(granted);
            if qos == 0 && client.socket.is_none() {
                continue;
            }
            let retain = retain && client.keeps_retain();
            client.expected.push(Expected { topic, payload: payload.clone(), qos, retain });
        }
        self.clients[number].publish(topic, qos, retain, &payload);
    }

    fn kill(&mut self) {
        self.history.push("the daemon is killed".to_owned());
        // What was retained with QoS 0 was not acknowledged. It is on disk when sessions are that were made
        // after it, one on each shard.
        for number in 0..8 {
            RawMqtt::connect_5(self.server(), &format!("barrier-{number}"), "11 00 00 0e 10");
        }
        for client in &mut self.clients {
            client.cut();
            client.was_killed = true;
        }
        self.daemon = self.daemon.take().map(Daemon::crash_and_restart);
    }

    fn settle(&mut self) {
        for client in &mut self.clients {
            client.settle();
        }
    }
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn everybody_gets_exactly_what_was_published_for_them() {
    let only = number_of("MQ_TESTS_SEED");
    let rounds = number_of("MQ_TESTS_ROUNDS").unwrap_or(ROUNDS);
    for seed in only.map_or(0..rounds, |seed| seed..seed + 1) {
        let mut round = Round::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..OPERATIONS {
                round.operate();
            }
        }));
        if ran.is_err() {
            let last = round.history.len().saturating_sub(60);
            panic!("run again with MQ_TESTS_SEED={seed}\n{}", round.history[last..].join("\n"));
        }
    }
}
