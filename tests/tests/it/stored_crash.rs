//! The crash matrix: clients that remember, a daemon that is killed at random moments, and what must be true
//! afterwards: nothing accepted is lost, the order is kept, and what was settled stays settled.
//!
//! `MQ_TESTS_CRASH_ROUNDS` says how often the daemon is killed (20 when it does not), `MQ_TESTS_SEED` makes the
//! moments those of an earlier run, whose seed is printed when it fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use mq_amqp::performative::{DeliveryState, Performative, Role};
use mq_model::manifest::{Address, AddressType};
use mq_tests::raw::{Raw, accepted, frame, grant, message, transfer};
use mq_tests::{Daemon, eventually, eventually_within};

/// How often the daemon is killed.
const ROUNDS: u64 = 20;
/// Messages that the clients of one round have accepted at the latest when the daemon is killed.
const ROUND_LENGTH: u64 = 1_500;
/// Messages that a sender has in flight.
const IN_FLIGHT: usize = 64;
/// Credit of a receiver.
const CREDIT: u32 = 64;
/// A header section with durable set (AMQP 3.2.1).
const DURABLE: [u8; 7] = [0x00, 0x53, 0x70, 0xc0, 0x02, 0x01, 0x41];

/// Where messages are sent to, and where they are received from.
const ROUTES: [(&str, &str); 2] = [("jobs", "jobs"), ("events/all", "events::audit")];
/// To which route each sender sends.
const SENDERS: [usize; 3] = [0, 0, 1];

/// A message: its sender, and its number there.
type Name = (usize, u64);

/// Random numbers, the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }
}

fn number_of(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A message whose name and length stand in it.
fn encoded(name: Name) -> Vec<u8> {
    let length = 20 + (name.1 * 37 % 3_000) as usize;
    let mut body = format!("{}:{}:", name.0, name.1).into_bytes();
    body.resize(length.max(body.len()), b'.');
    [&DURABLE[..], &message(&body)].concat()
}

/// The name in a message; the whole of it must be as it was sent.
fn decoded(bytes: &[u8]) -> Name {
    let start = bytes.windows(2).position(|window| window == [0x53, 0x75]).expect("a data section");
    let text = String::from_utf8_lossy(&bytes[start + 2..]);
    let digits = text.find(|letter: char| letter.is_ascii_digit()).expect("a body with a name");
    // The length of the data section may look like a digit: the name is what stands before the second colon.
    let name = (digits..text.len()).find_map(|at| {
        let mut parts = text.get(at..)?.split(':');
        let name = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (encoded(name).ends_with(bytes.get(start..)?)).then_some(name)
    });
    name.unwrap_or_else(|| panic!("a message was changed: {text}"))
}

/// Sends until the daemon is gone; returns the first number that was not sent.
fn send(mut raw: Raw, mut credit: u32, sender: usize, first: u64, told: &Told) -> (u64, BTreeSet<u64>) {
    let mut accepted = BTreeSet::new();
    let mut unsettled: BTreeMap<u32, u64> = BTreeMap::new();
    let mut next: u32 = 0;
    loop {
        let number = first + u64::from(next);
        if unsettled.len() < IN_FLIGHT && credit > 0 {
            let performative = Performative::Transfer(transfer(0, next, false));
            if raw.try_send_bytes(&frame(0, &performative, &encoded((sender, number)))).is_err() {
                // It may have been read all the same.
                return (number + 1, accepted);
            }
            unsettled.insert(next, number);
            next += 1;
            credit -= 1;
            continue;
        }
        match raw.try_read() {
            Ok(Some((_, Performative::Disposition(disposition), _))) => {
                assert_eq!((disposition.role, disposition.settled), (Role::Receiver, true));
                assert_eq!(disposition.state, Some(DeliveryState::Accepted));
                let last = disposition.last.unwrap_or(disposition.first);
                for id in disposition.first..=last {
                    let number = unsettled.remove(&id).expect("each delivery is settled once");
                    accepted.insert(number);
                    told.accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Some((_, Performative::Flow(flow), _))) if flow.handle.is_some() => {
                let granted = flow.delivery_count.unwrap_or(0) + flow.link_credit.unwrap_or(0);
                credit = granted.saturating_sub(next);
            }
            Ok(Some((_, Performative::Detach(_) | Performative::Close(_), _))) => {
                panic!("the daemon closes a link")
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return (number, accepted),
        }
    }
}

/// Receives and accepts until the daemon is gone, or `enough` says so; returns the names in order.
fn receive(mut raw: Raw, enough: impl Fn(usize) -> bool) -> Vec<Name> {
    let mut names = Vec::new();
    let mut content = Vec::new();
    let mut granted = CREDIT;
    while !enough(names.len()) {
        let (transfer, payload) = match raw.try_read() {
            Ok(Some((_, Performative::Transfer(transfer), payload))) => (transfer, payload),
            Ok(Some((_, Performative::Detach(_) | Performative::Close(_), _))) => {
                panic!("the daemon closes a link")
            }
            Ok(Some(_)) => continue,
            Ok(None) | Err(_) => break,
        };
        content.extend_from_slice(&payload);
        if transfer.more {
            continue;
        }
        names.push(decoded(&std::mem::take(&mut content)));
        let received = names.len() as u32;
        let mut frames = frame(0, &accepted(transfer.delivery_id.expect("a delivery has an id")), &[]);
        if granted - received < CREDIT / 2 {
            frames.extend_from_slice(&frame(0, &grant(0, received, CREDIT), &[]));
            granted = received + CREDIT;
        }
        if raw.try_send_bytes(&frames).is_err() {
            break;
        }
    }
    names
}

/// What the clients of a round tell while it runs.
#[derive(Debug, Default)]
struct Told {
    accepted: AtomicU64,
}

/// Everything that the clients remember.
#[derive(Default)]
struct Memory {
    /// By sender: the numbers that were accepted, and the first that was not sent.
    accepted: [BTreeSet<u64>; SENDERS.len()],
    sent: [u64; SENDERS.len()],
    /// In which round each message was received last.
    received: HashMap<Name, u64>,
    /// The youngest message of each sender that was received in each round.
    youngest: HashMap<(u64, usize), u64>,
    duplicates: u64,
}

impl Memory {
    fn remember(&mut self, round: u64, names: &[Name]) {
        for &(sender, number) in names {
            assert!(number < self.sent[sender], "{sender}:{number} was never sent");
            if let Some(before) = self.youngest.get(&(round, sender)) {
                assert!(number > *before, "round {round}: {sender}:{number} comes behind {sender}:{before}");
            }
            self.youngest.insert((round, sender), number);
            if let Some(last) = self.received.insert((sender, number), round) {
                self.duplicates += 1;
                // What a daemon had not written when it was killed may come once more. What the next one passed
                // over was settled for good.
                for between in last + 1..round {
                    let younger = self.youngest.get(&(between, sender)).copied().unwrap_or(0);
                    assert!(
                        younger <= number,
                        "{sender}:{number} was settled in round {last}, passed over in {between}, and is back in \
                         {round}"
                    );
                }
            }
        }
    }

    fn check_that_nothing_is_lost(&self) {
        for (sender, accepted) in self.accepted.iter().enumerate() {
            let lost: Vec<u64> = accepted
                .iter()
                .copied()
                .filter(|number| !self.received.contains_key(&(sender, *number)))
                .collect();
            assert!(lost.is_empty(), "accepted from sender {sender} and never delivered: {lost:?}");
        }
    }
}

fn daemon() -> Daemon {
    let daemon = Daemon::builder()
        .with(|config| {
            // Small, so that segments end, empty and are compacted, and bodies come back from the disk.
            config.store.segment_size = 1 << 20;
            config.store.max_message_size = 64 << 10;
            config.store.memory = 1 << 20;
        })
        .start();
    daemon.admin().create("jobs", AddressType::Queue);
    daemon.admin().create("events", AddressType::Topic);
    daemon.admin().create("events::audit", AddressType::Subscription);
    daemon
}

fn open(daemon: &Daemon, container: &str) -> Raw {
    let mut raw = Raw::open(daemon.amqp(), container);
    raw.begin(0);
    raw
}

/// Runs clients against the daemon until it is killed in the middle of it.
fn round(daemon: Daemon, round: u64, length: u64, memory: &mut Memory) -> Daemon {
    let told = Arc::new(Told::default());
    let senders: Vec<_> = SENDERS
        .iter()
        .enumerate()
        .map(|(sender, &route)| {
            let mut raw = open(&daemon, &format!("sender-{sender}"));
            let credit = raw.attach_sender(0, 0, ROUTES[route].0);
            let (first, told) = (memory.sent[sender], Arc::clone(&told));
            thread::spawn(move || send(raw, credit, sender, first, &told))
        })
        .collect();
    let receivers: Vec<_> = ROUTES
        .iter()
        .map(|(_, source)| {
            let mut raw = open(&daemon, &format!("receiver of {source}"));
            raw.attach_receiver(0, 0, source, CREDIT);
            thread::spawn(move || receive(raw, |_| false))
        })
        .collect();
    eventually("messages of this round", || {
        let stuck = senders.iter().any(thread::JoinHandle::is_finished);
        assert!(!stuck, "a sender ended before the daemon");
        (told.accepted.load(Ordering::Relaxed) >= length).then_some(())
    });
    let daemon = daemon.crash_and_restart();
    for (sender, thread) in senders.into_iter().enumerate() {
        let (next, accepted) = thread.join().expect("a sender that remembers");
        memory.sent[sender] = next;
        memory.accepted[sender].extend(accepted);
    }
    for thread in receivers {
        memory.remember(round, &thread.join().expect("a receiver that remembers"));
    }
    daemon
}

/// Takes what is left, until the daemon says that nothing is.
fn drain(daemon: &Daemon, round: u64, memory: &mut Memory) {
    for (_, source) in ROUTES {
        let path = format!("/addresses/{}", source.replace(':', "%3A"));
        let left = || {
            let address: Address = daemon.admin().get(&path);
            address.status.and_then(|status| status.queue).expect("a queue has a status").messages
        };
        let expected = usize::try_from(left()).expect("a number of messages");
        let mut raw = open(daemon, "the last receiver");
        raw.attach_receiver(0, 0, source, CREDIT);
        let names = receive(raw, |received| received >= expected);
        assert_eq!(names.len(), expected, "all that {source} holds can be received");
        memory.remember(round, &names);
        // The connection ended with the last acceptance on its way.
        eventually_within(std::time::Duration::from_secs(30), "an empty queue", || {
            (left() == 0).then_some(())
        });
    }
}

#[test]
fn accepted_messages_survive_a_daemon_that_is_killed_again_and_again() {
    let rounds = number_of("MQ_TESTS_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock behind 1970");
    let seed = number_of("MQ_TESTS_SEED").unwrap_or(now.as_nanos() as u64);
    // Shown with the test when it fails.
    println!("MQ_TESTS_SEED={seed}");
    let mut random = Random(seed);
    let mut memory = Memory::default();
    let mut daemon = daemon();
    for number in 0..rounds {
        // Short rounds kill a daemon that has just recovered.
        let length = 1 + random.below(ROUND_LENGTH) * random.below(2);
        daemon = round(daemon, number, length, &mut memory);
    }
    drain(&daemon, rounds, &mut memory);
    memory.check_that_nothing_is_lost();
    let accepted: usize = memory.accepted.iter().map(BTreeSet::len).sum();
    println!("{rounds} rounds, {accepted} messages accepted, {} delivered twice", memory.duplicates);
}
