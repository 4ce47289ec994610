//! Exactly once from client to client, whatever connections, shards and the power do.

use std::time::Instant;

use bytes::Bytes;
use mq_mqtt::{Outgoing, OutgoingState, Qos, SessionState};
use mq_store::testing::FaultyDisk;

use crate::mqtt_client::{Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

/// Messages of one run.
const COUNT: u64 = 60;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Connections end, with and without a word.
    Connections,
    /// And the node loses its power.
    Power,
}

#[test]
fn a_message_of_qos_2_arrives_once_and_in_order_whatever_connections_do() {
    run_seeds(0..16, Ends::Connections, Qos::ExactlyOnce);
}

#[test]
fn a_message_of_qos_2_arrives_once_and_in_order_whenever_the_power_fails() {
    run_seeds(100..116, Ends::Power, Qos::ExactlyOnce);
}

#[test]
fn a_message_of_qos_1_arrives_and_none_is_lost_whenever_the_power_fails() {
    run_seeds(200..208, Ends::Power, Qos::AtLeastOnce);
}

fn run_seeds(seeds: std::ops::Range<u64>, ends: Ends, qos: Qos) {
    let wanted = std::env::var("MQ_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.filter(|seed| wanted.is_none_or(|wanted: u64| wanted == *seed)) {
        let result = std::panic::catch_unwind(|| Run::new(seed, ends, qos).run());
        if let Err(panic) = result {
            std::panic::resume_unwind(Box::new(format!("MQ_TESTS_SEED={seed}: {panic:?}")));
        }
    }
}

struct Run {
    random: fastrand::Rng,
    ends: Ends,
    qos: Qos,
    disk: FaultyDisk,
    node: Option<Node>,
    publisher: Option<Mqtt>,
    subscriber: Option<Mqtt>,
    /// The next message that has not been published.
    next: u64,
    /// Of the publisher: what it holds while it has no connection.
    state: SessionState,
    got: Vec<u64>,
}

impl Run {
    fn new(seed: u64, ends: Ends, qos: Qos) -> Self {
        let disk = FaultyDisk::new(seed);
        let node = Some(Node::at(&Place::on(&disk), |_| {}));
        Self {
            random: fastrand::Rng::with_seed(seed),
            ends,
            qos,
            disk,
            node,
            publisher: None,
            subscriber: None,
            next: 0,
            state: SessionState::default(),
            got: Vec::new(),
        }
    }

    fn run(mut self) {
        let names = [format!("p{}", self.random.u32(..)), format!("s{}", self.random.u32(..))];
        let mut of_subscriber = SessionState::default();
        let end = Instant::now() + DEADLINE;
        let mut has_subscribed = false;
        while !self.is_done() {
            assert!(Instant::now() < end, "{} of {COUNT} have come: {:?}", self.got.len(), self.got);
            if self.subscriber.is_none() {
                self.subscriber = Some(self.connect(&names[1], std::mem::take(&mut of_subscriber)));
                if !has_subscribed {
                    let qos = self.qos;
                    self.subscriber.as_mut().unwrap().subscribe("t/a", qos);
                    has_subscribed = true;
                }
            }
            if self.publisher.is_none() {
                let state = std::mem::take(&mut self.state);
                self.publisher = Some(self.connect(&names[0], state));
            }
            self.publish();
            for _ in 0..self.random.usize(..3) {
                self.subscriber.as_mut().unwrap().turn();
                self.publisher.as_mut().unwrap().turn();
            }
            self.take();
            match self.random.u32(..24) {
                0..2 => {
                    self.last_words(true);
                    self.state = self.leave(true);
                }
                2..4 => {
                    self.last_words(false);
                    of_subscriber = self.leave(false);
                }
                4 if self.ends == Ends::Power => {
                    // What the clients read from here on, the disk may not know.
                    let left = self.disk.crash();
                    self.state = self.leave(true);
                    of_subscriber = self.leave(false);
                    self.node = None;
                    self.node = Some(Node::at(&Place::on(&left), |_| {}));
                    self.disk = left;
                }
                _ => {}
            }
        }
        if self.qos == Qos::ExactlyOnce {
            assert_eq!(self.got, (0..COUNT).collect::<Vec<_>>());
        }
    }

    fn is_done(&self) -> bool {
        let unfinished =
            self.publisher.as_ref().is_none_or(|client| !client.engine.session_state().is_empty());
        if self.next < COUNT || unfinished {
            return false;
        }
        match self.qos {
            Qos::ExactlyOnce => self.got.len() as u64 >= COUNT,
            _ => (0..COUNT).all(|number| self.got.contains(&number)),
        }
    }

    fn connect(&mut self, name: &str, state: SessionState) -> Mqtt {
        let shard = self.random.usize(..2);
        let options = Options::lasting(name, 3_600).resuming(state);
        Mqtt::connect(self.node.as_ref().unwrap(), shard, options)
    }

    /// Publishes some, those that were not acknowledged first.
    fn publish(&mut self) {
        let publisher = self.publisher.as_mut().unwrap();
        while let Some(due) = publisher.engine.next_unsent() {
            let OutgoingState::Published(qos) = due.state else { break };
            let payload = Bytes::from(due.token.to_string());
            let message = Outgoing { qos, token: due.token, ..Outgoing::new("t/a", &payload) };
            publisher.engine.resend(due.packet_id, &message).unwrap();
        }
        for _ in 0..self.random.u64(..5) {
            if self.next == COUNT {
                break;
            }
            let payload = Bytes::from(self.next.to_string());
            let message = Outgoing { qos: self.qos, token: self.next, ..Outgoing::new("t/a", &payload) };
            publisher.engine.publish(&message).unwrap();
            self.next += 1;
        }
        publisher.write();
    }

    fn take(&mut self) {
        if let Some(subscriber) = &mut self.subscriber {
            self.got.extend(subscriber.received.drain(..).map(|got| got.text().parse::<u64>().unwrap()));
        }
    }

    /// Now and then a client takes what is there before it goes.
    fn last_words(&mut self, is_publisher: bool) {
        let client = if is_publisher { &mut self.publisher } else { &mut self.subscriber };
        if let Some(client) = client.as_mut().filter(|_| self.random.bool()) {
            client.turn();
        }
    }

    /// A client goes without a word. Gives what it holds.
    fn leave(&mut self, is_publisher: bool) -> SessionState {
        let gone = if is_publisher { self.publisher.take() } else { self.subscriber.take() };
        let Some(mut client) = gone else { return SessionState::default() };
        let state = client.engine.session_state();
        if !is_publisher {
            self.got.extend(client.received.drain(..).map(|got| got.text().parse::<u64>().unwrap()));
        }
        drop(client);
        state
    }
}
