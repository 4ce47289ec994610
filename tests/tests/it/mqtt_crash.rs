//! The promise of MQTT's qualities of service, with a daemon that is killed in the middle of everything: what
//! was acknowledged arrives, and of QoS 2 each message once; sessions, retained messages and wills are there.
//!
//! `MQ_TESTS_CRASH_ROUNDS` asks for another number of rounds, `MQ_TESTS_SEED` repeats their lengths.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mq_tests::raw_mqtt::{Packet, RawMqtt, hex, packet, string};
use mq_tests::{Daemon, eventually};

const ROUNDS: u64 = 12;
/// Acknowledgements in a round at most.
const ROUND_LENGTH: u64 = 2_000;
/// Publications that a client has under way.
const WINDOW: usize = 50;

/// A CONNECT of 5.0 that asks for a session of an hour.
fn connect(server: SocketAddr, client: &str) -> RawMqtt {
    connect_with(server, client, 0, &[])
}

/// The same with more flags, and with what stands behind the name of the client.
fn connect_with(server: SocketAddr, client: &str, flags: u8, rest: &[u8]) -> RawMqtt {
    let mut raw = RawMqtt::open(server);
    let head = [&hex("00 04 'MQTT' 05")[..], &[flags], &hex("00 00 05 11 00 00 0e 10")].concat();
    raw.send(&packet(0x10, &[&head[..], &string(client), rest].concat()));
    let answer = raw.expect(0x20);
    assert_eq!(answer.body[1], 0, "{answer:02x?}");
    raw
}

/// A publisher that remembers everything, over all rounds.
#[derive(Debug)]
struct Publisher {
    name: &'static str,
    topic: &'static str,
    qos: u8,
    retains: bool,
    /// Publications that have begun.
    next: u64,
    /// Under way: the number, and whether a PUBREC has come.
    open: BTreeMap<u16, (u64, bool)>,
    acknowledged: u64,
}

impl Publisher {
    fn new(name: &'static str, topic: &'static str, qos: u8, retains: bool) -> Self {
        Self { name, topic, qos, retains, next: 0, open: BTreeMap::new(), acknowledged: 0 }
    }

    fn publication(&self, id: u16, number: u64, is_dup: bool) -> Vec<u8> {
        let first = 0x30 | u8::from(is_dup) << 3 | self.qos << 1 | u8::from(self.retains);
        let payload = format!("{}:{number}", self.name);
        packet(first, &[&string(self.topic)[..], &id.to_be_bytes(), &[0], payload.as_bytes()].concat())
    }

    /// Publishes until the daemon is gone.
    fn run(mut self, mut raw: RawMqtt, acknowledged: &AtomicU64) -> Self {
        // MQTT 4.4: what is under way comes again, in its order.
        let mut open: Vec<(u16, (u64, bool))> = self.open.iter().map(|(id, one)| (*id, *one)).collect();
        open.sort_by_key(|(_, (number, _))| *number);
        let again: Vec<u8> = open
            .iter()
            .flat_map(|(id, (number, is_received))| match is_received {
                true => packet(0x62, &id.to_be_bytes()),
                false => self.publication(*id, *number, true),
            })
            .collect();
        if raw.try_send(&again).is_err() {
            return self;
        }
        loop {
            let mut bytes = Vec::new();
            while self.open.len() < WINDOW {
                let id = (self.next % 60_000 + 1) as u16;
                bytes.extend(self.publication(id, self.next, false));
                self.open.insert(id, (self.next, false));
                self.next += 1;
            }
            if raw.try_send(&bytes).is_err() {
                return self;
            }
            match raw.try_read() {
                Ok(Some(packet)) => {
                    if !self.take(&mut raw, &packet, acknowledged) {
                        return self;
                    }
                }
                Ok(None) | Err(_) => return self,
            }
        }
    }

    /// Takes an answer. False: the daemon is gone.
    fn take(&mut self, raw: &mut RawMqtt, answer: &Packet, acknowledged: &AtomicU64) -> bool {
        let id = u16::from_be_bytes([answer.body[0], answer.body[1]]);
        let reason = answer.body.get(2).copied().unwrap_or(0);
        match answer.first {
            // Nobody subscribes, or it was over before: no refusals.
            0x40 | 0x50 | 0x70 => assert!([0, 0x10, 0x92].contains(&reason), "{answer:02x?}"),
            _ => panic!("not an answer: {answer:02x?}"),
        }
        if answer.first == 0x50 {
            if let Some(one) = self.open.get_mut(&id) {
                one.1 = true;
            }
            return raw.try_send(&packet(0x62, &id.to_be_bytes())).is_ok();
        }
        if self.open.remove(&id).is_some() {
            self.acknowledged += 1;
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// The numbers that were acknowledged.
    fn is_acknowledged(&self, number: u64) -> bool {
        number < self.next && !self.open.values().any(|(open, _)| *open == number)
    }
}

/// A subscriber of QoS 2 that remembers everything, over all rounds.
#[derive(Debug, Default)]
struct Subscriber {
    /// Publications of QoS 2 that were taken and not released.
    taken: BTreeSet<u16>,
    /// What came, in order, of each publisher: its QoS and number.
    received: BTreeMap<String, Vec<(u8, u64)>>,
}

impl Subscriber {
    /// Takes messages until the daemon is gone, or `enough` says so.
    fn run(mut self, mut raw: RawMqtt, enough: impl Fn(&Self) -> bool) -> Self {
        while !enough(&self) {
            match raw.try_read() {
                Ok(Some(packet)) => {
                    let Some(answer) = self.take(&packet) else { continue };
                    if raw.try_send(&answer).is_err() {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        self
    }

    /// Takes a packet; returns the answer.
    fn take(&mut self, message: &Packet) -> Option<Vec<u8>> {
        if message.first == 0x62 {
            let id = [message.body[0], message.body[1]];
            self.taken.remove(&u16::from_be_bytes(id));
            return Some(packet(0x70, &id));
        }
        assert_eq!(message.first & 0xf0, 0x30, "{message:02x?}");
        let qos = message.first >> 1 & 3;
        let topic = usize::from(u16::from_be_bytes([message.body[0], message.body[1]]));
        let rest = &message.body[2 + topic..];
        let id = [rest[0], rest[1]];
        let payload = &rest[3 + usize::from(rest[2])..];
        let text = std::str::from_utf8(payload).expect("a text");
        let (name, number) = text.split_once(':').expect("a name and a number");
        let number = number.parse().expect("a number");
        if qos == 1 {
            self.received.entry(name.to_owned()).or_default().push((qos, number));
            return Some(packet(0x40, &id));
        }
        // MQTT 4.3.3: one with an identifier that was not released is the same message.
        if self.taken.insert(u16::from_be_bytes(id)) {
            self.received.entry(name.to_owned()).or_default().push((qos, number));
        }
        Some(packet(0x50, &id))
    }

    fn received(&self, name: &str) -> &[(u8, u64)] {
        self.received.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A client with a will, in this round.
fn mortal(server: SocketAddr, round: u64) -> RawMqtt {
    let payload = format!("will:{round}");
    let will = [&[0][..], &string("crash/will"), &string(&payload)].concat();
    // A clean start, a will of QoS 2.
    connect_with(server, &format!("mortal-{round}"), 0x16, &will)
}

/// Runs clients against the daemon until it is killed in the middle of it.
fn round(
    daemon: Daemon,
    number: u64,
    length: u64,
    publishers: Vec<Publisher>,
    subscriber: Subscriber,
) -> (Daemon, Vec<Publisher>, Subscriber) {
    let server = daemon.mqtt();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let _mortal = mortal(server, number);
    let publishers: Vec<JoinHandle<Publisher>> = publishers
        .into_iter()
        .map(|publisher| {
            let acknowledged = acknowledged.clone();
            let raw = connect(server, publisher.name);
            thread::spawn(move || publisher.run(raw, &acknowledged))
        })
        .collect();
    // In every third round it is away, and everything waits.
    let raw = (number % 3 != 2).then(|| connect(server, "subscriber"));
    let is_there = raw.is_some();
    let subscriber = thread::spawn(move || match raw {
        Some(raw) => subscriber.run(raw, |_| false),
        None => subscriber,
    });
    eventually("acknowledgements of this round", || {
        assert!(!publishers.iter().any(JoinHandle::is_finished), "a publisher ended before the daemon");
        assert!(!is_there || !subscriber.is_finished(), "the subscriber ended before the daemon");
        (acknowledged.load(Ordering::Relaxed) >= length).then_some(())
    });
    let daemon = daemon.crash_and_restart();
    let publishers = publishers.into_iter().map(|one| one.join().expect("a publisher that remembers"));
    let publishers = publishers.collect();
    (daemon, publishers, subscriber.join().expect("a subscriber that remembers"))
}

#[test]
fn what_is_acknowledged_arrives_and_once_where_that_was_promised() {
    let rounds = number_of("MQ_TESTS_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970");
    let seed = number_of("MQ_TESTS_SEED").unwrap_or(now.as_nanos() as u64);
    // Shown with the test when it fails.
    println!("MQ_TESTS_SEED={seed}");
    let mut state = seed;
    let mut daemon = Daemon::builder()
        .with(|config| {
            // Small, so that files of the log end, empty and are compacted.
            config.store.segment_size = 1 << 20;
            config.store.max_message_size = 64 << 10;
            config.store.memory = 1 << 20;
            // Everything that is published waits while the subscriber is away.
            config.mqtt.session.max_messages = 1_000_000;
            config.mqtt.session.max_bytes = 1 << 30;
        })
        .start();
    let mut raw = connect(daemon.mqtt(), "subscriber");
    raw.subscribe_5("crash/#", 2);
    drop(raw);
    let mut publishers = vec![
        Publisher::new("one", "crash/one", 1, false),
        Publisher::new("two", "crash/two", 2, false),
        Publisher::new("kept", "crash/kept", 2, true),
    ];
    let mut subscriber = Subscriber::default();
    for number in 0..rounds {
        // Short rounds kill a daemon that has just recovered.
        let length = 1 + random(&mut state) % ROUND_LENGTH * (random(&mut state) % 2);
        (daemon, publishers, subscriber) = round(daemon, number, length, publishers, subscriber);
    }
    let subscriber = drain(&daemon, &mut publishers, subscriber, rounds);
    check(&publishers, &subscriber, rounds);
    check_retained(&daemon, &publishers[2]);
    let total: u64 = publishers.iter().map(|one| one.acknowledged).sum();
    println!("{rounds} rounds, {total} publications acknowledged");
}

/// Ends every handshake, and takes what is left.
fn drain(daemon: &Daemon, publishers: &mut [Publisher], subscriber: Subscriber, rounds: u64) -> Subscriber {
    for publisher in publishers.iter_mut() {
        let mut raw = connect(daemon.mqtt(), publisher.name);
        let open: Vec<(u16, (u64, bool))> = publisher.open.iter().map(|(id, one)| (*id, *one)).collect();
        let mut open = open;
        open.sort_by_key(|(_, (number, _))| *number);
        for (id, (number, is_received)) in open {
            raw.send(&match is_received {
                true => packet(0x62, &id.to_be_bytes()),
                false => publisher.publication(id, number, true),
            });
        }
        let acknowledged = AtomicU64::new(0);
        while !publisher.open.is_empty() {
            let answer = raw.read();
            assert!(publisher.take(&mut raw, &answer, &acknowledged), "the daemon goes on");
        }
    }
    let last: Vec<(&str, u64)> = publishers.iter().map(|one| (one.name, one.next - 1)).collect();
    let deadline = std::time::Instant::now() + mq_tests::PATIENCE;
    subscriber.run(connect(daemon.mqtt(), "subscriber"), |subscriber| {
        let is_all = last
            .iter()
            .all(|(name, last)| subscriber.received(name).iter().any(|(_, number)| number == last));
        (is_all && subscriber.received("will").len() as u64 >= rounds) || std::time::Instant::now() > deadline
    })
}

fn check(publishers: &[Publisher], subscriber: &Subscriber, rounds: u64) {
    for publisher in publishers {
        let received = subscriber.received(publisher.name);
        let numbers: BTreeSet<u64> = received.iter().map(|(_, number)| *number).collect();
        let lost: Vec<u64> = (0..publisher.next)
            .filter(|number| publisher.is_acknowledged(*number) && !numbers.contains(number))
            .collect();
        assert!(lost.is_empty(), "acknowledged to {} and never delivered: {lost:?}", publisher.name);
        // Each comes for the first time behind those before it (MQTT 4.6).
        let mut seen = BTreeSet::new();
        let first: Vec<u64> =
            received.iter().map(|(_, number)| *number).filter(|number| seen.insert(*number)).collect();
        assert!(first.is_sorted(), "of {}, some came before those that were published first", publisher.name);
        if publisher.qos == 2 {
            let twice = received.len() - numbers.len();
            assert_eq!(twice, 0, "messages of QoS 2 from {} came twice", publisher.name);
        }
    }
    let mut wills: Vec<u64> = subscriber.received("will").iter().map(|(_, number)| *number).collect();
    wills.sort_unstable();
    assert_eq!(wills, (0..rounds).collect::<Vec<_>>(), "each will comes once");
}

/// What is retained is the last that was acknowledged.
fn check_retained(daemon: &Daemon, publisher: &Publisher) {
    let mut raw = RawMqtt::connect_5(daemon.mqtt(), "late", "");
    raw.set_patience(Duration::from_secs(20));
    raw.subscribe_5("crash/kept", 0);
    let message = raw.read();
    assert_eq!(message.first, 0x31, "{message:02x?}");
    let expected = format!("kept:{}", publisher.next - 1);
    assert!(message.body.ends_with(expected.as_bytes()), "not {expected}: {}", message.body.escape_ascii());
}
