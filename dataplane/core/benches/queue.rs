//! Nanoseconds that one queue needs for a message: `cargo bench -p mq-core --bench queue`.
//!
//! A message is put in, handed out and accepted; nothing is stored and nothing leaves the process. A
//! number behind `--` is that of the messages: few are enough for a count of instructions.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mq_core::queue::{Arrival, Delivery, Entry, MemberKey, MemberOptions, Next, Queue, Settlement};
use mq_core::topic::TopicTree;
use mq_core::{Filter, QueueSettings, Reference, UnixMillis};

const MESSAGES: u32 = 2_000_000;

#[derive(Debug)]
struct Nothing;

impl Filter for Nothing {
    fn matches(&self, _message_format: u32, message: &[u8]) -> bool {
        message.is_empty()
    }

    fn text(&self) -> &str {
        "nothing"
    }
}

fn messages() -> u32 {
    std::env::args().next_back().and_then(|number| number.parse().ok()).unwrap_or(MESSAGES)
}

struct Bench {
    queue: Queue,
    now: UnixMillis,
    consumers: Vec<MemberKey>,
    body: Bytes,
    taken: Vec<Delivery>,
}

impl Bench {
    fn new(settings: QueueSettings, consumers: u32) -> Self {
        let mut queue = Queue::new(Arc::new(settings));
        let consumers = (0..consumers)
            .map(|_| {
                let consumer = queue.add_consumer(MemberOptions::default()).expect("it is let in");
                queue.set_credit(consumer, u32::MAX, false);
                consumer
            })
            .collect();
        let body = Bytes::from(vec![7; 100]);
        Self { queue, now: UnixMillis(1), consumers, body, taken: Vec::new() }
    }

    fn put(&mut self, expires: Option<UnixMillis>) {
        let body = self.body.clone();
        let arrival = Arrival { body, priority: 4, arrived: self.now, expires, ..Arrival::default() };
        black_box(self.queue.enqueue(self.now, arrival)).expect("there is room");
    }

    /// Hands out what there is and accepts it.
    fn take(&mut self) {
        while let Next::Deliver(delivery) = self.queue.next(self.now) {
            self.taken.push(delivery);
        }
        for delivery in self.taken.drain(..) {
            let settled =
                self.queue.settle(self.now, delivery.consumer, delivery.entry, Settlement::Accepted);
            black_box(settled);
        }
    }

    /// Nanoseconds for a message when so many go in and out at a time.
    fn rounds(&mut self, batch: u32, ttl: Option<u64>) -> f64 {
        let mut run = |messages: u32| {
            for _ in 0..messages / batch {
                self.now.0 += 1;
                let expires = ttl.map(|ttl| UnixMillis(self.now.0 + ttl));
                (0..batch).for_each(|_| self.put(expires));
                self.take();
            }
        };
        run(messages() / 10);
        let start = Instant::now();
        run(messages());
        start.elapsed().as_nanos() as f64 / f64::from(messages())
    }
}

fn plain(consumers: u32, batch: u32) -> f64 {
    Bench::new(QueueSettings::default(), consumers).rounds(batch, None)
}

/// Nanoseconds to put in a message of a backlog, and to take it out.
fn backlog() -> (f64, f64) {
    let mut bench = Bench::new(QueueSettings::default(), 0);
    let per_message = |start: Instant| start.elapsed().as_nanos() as f64 / f64::from(messages());
    let start = Instant::now();
    (0..messages()).for_each(|_| bench.put(None));
    let put = per_message(start);
    let consumer = bench.queue.add_consumer(MemberOptions::default()).expect("it is let in");
    let start = Instant::now();
    for _ in 0..messages() / 250 {
        bench.queue.set_credit(consumer, 250, false);
        bench.take();
    }
    (put, per_message(start))
}

/// Nanoseconds to store a message of a backlog and drop its body.
fn stored() -> f64 {
    let mut bench = Bench::new(QueueSettings::default(), 0);
    let start = Instant::now();
    for number in 0..messages() {
        let body = bench.body.clone();
        let arrival = Arrival { body, priority: 4, durable: true, storing: true, ..Arrival::default() };
        let key = bench.queue.enqueue(bench.now, arrival).expect("there is room");
        bench.queue.stored(bench.now, key, Reference(u64::from(number)));
        bench.queue.drop_body(key);
    }
    start.elapsed().as_nanos() as f64 / f64::from(messages())
}

/// Nanoseconds for a message beside a consumer whose filter matches nothing.
fn filtered() -> f64 {
    let mut bench = Bench::new(QueueSettings::default(), 1);
    let options = MemberOptions { filter: Some(Arc::new(Nothing)), ..MemberOptions::default() };
    let consumer = bench.queue.add_consumer(options).expect("it is let in");
    bench.queue.set_credit(consumer, u32::MAX, false);
    bench.consumers.push(consumer);
    bench.rounds(25, None)
}

/// Nanoseconds to find the one of a million filters that matches a name.
fn topic() -> f64 {
    let mut tree = TopicTree::default();
    for device in 0..1_000_000_u32 {
        tree.insert(&format!("devices/{device}/command"), device).expect("it is a filter");
    }
    let names: Vec<String> =
        (0..1_000_u32).map(|number| format!("devices/{}/command", number * 997)).collect();
    let start = Instant::now();
    let rounds = messages() / 1_000;
    for _ in 0..rounds {
        for name in &names {
            tree.matches(black_box(name), |value| {
                black_box(value);
            });
        }
    }
    start.elapsed().as_nanos() as f64 / f64::from(rounds * 1_000)
}

fn main() {
    println!("queue: {} bytes, entry: {} bytes", size_of::<Queue>(), size_of::<Entry>());
    println!("1 consumer, one at a time:         {:6.1} ns per message", plain(1, 1));
    println!("1 consumer, 25 at a time:          {:6.1} ns per message", plain(1, 25));
    println!("1 consumer, 1,000 at a time:       {:6.1} ns per message", plain(1, 1_000));
    println!("10,000 consumers, 25 at a time:    {:6.1} ns per message", plain(10_000, 25));
    let mut bench = Bench::new(QueueSettings::default(), 1);
    println!("1 consumer, time to live, 25:      {:6.1} ns per message", bench.rounds(25, Some(60_000)));
    println!("beside a filter, 25 at a time:     {:6.1} ns per message", filtered());
    let (put, take) = backlog();
    println!("backlog: put in                    {put:6.1} ns per message");
    println!("backlog: hand out and accept       {take:6.1} ns per message");
    println!("backlog: put in, stored, no body   {:6.1} ns per message", stored());
    println!("topic: one of a million filters    {:6.1} ns per name", topic());
}
