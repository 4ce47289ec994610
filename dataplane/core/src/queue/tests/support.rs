//! What the tests of a queue share.

use std::sync::Arc;

use bytes::Bytes;

use crate::format::Filter;
use crate::queue::*;
use crate::settings::QueueSettings;
use crate::store::{Reference, UnixMillis};

/// A queue with a clock, and the things that tests do most.
pub(super) struct Bed {
    pub(super) queue: Queue,
    pub(super) now: UnixMillis,
}

/// Messages whose first byte is this.
#[derive(Debug)]
pub(super) struct FirstByte(pub(super) u8);

impl Filter for FirstByte {
    fn matches(&self, _message_format: u32, message: &[u8]) -> bool {
        message.first() == Some(&self.0)
    }

    fn text(&self) -> &str {
        "the first byte"
    }
}

pub(super) fn arrival(body: &'static str) -> Arrival {
    Arrival { body: Bytes::from_static(body.as_bytes()), priority: 4, ..Arrival::default() }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with(QueueSettings::default())
    }

    pub(super) fn with(settings: QueueSettings) -> Self {
        Self { queue: Queue::new(Arc::new(settings)), now: UnixMillis(1_000_000) }
    }

    pub(super) fn send(&mut self, body: &'static str) -> EntryKey {
        self.take(arrival(body))
    }

    pub(super) fn take(&mut self, mut arrival: Arrival) -> EntryKey {
        arrival.arrived = self.now;
        self.queue.enqueue(self.now, arrival).expect("there is room")
    }

    pub(super) fn consumer(&mut self, credit: u32) -> MemberKey {
        self.consumer_with(MemberOptions::default(), credit)
    }

    pub(super) fn filtered(&mut self, first: u8, credit: u32) -> MemberKey {
        let filter: Arc<dyn Filter> = Arc::new(FirstByte(first));
        self.consumer_with(MemberOptions { filter: Some(filter), ..MemberOptions::default() }, credit)
    }

    pub(super) fn consumer_with(&mut self, options: MemberOptions, credit: u32) -> MemberKey {
        let consumer = self.queue.add_consumer(options).expect("it is let in");
        self.queue.set_credit(consumer, credit, false);
        consumer
    }

    /// What is handed out now: to whom, and the body.
    pub(super) fn deliveries(&mut self) -> Vec<(MemberKey, String)> {
        let mut deliveries = Vec::new();
        loop {
            match self.queue.next(self.now) {
                Next::Deliver(delivery) => {
                    deliveries.push((delivery.consumer, self.body(delivery.entry)));
                }
                Next::More => {}
                Next::Idle => return deliveries,
            }
            self.queue.check();
        }
    }

    /// The bodies that are handed out now.
    pub(super) fn bodies(&mut self) -> Vec<String> {
        self.deliveries().into_iter().map(|(_, body)| body).collect()
    }

    /// The next entry that is handed out.
    pub(super) fn next(&mut self) -> EntryKey {
        let Next::Deliver(delivery) = self.queue.next(self.now) else { panic!("nothing is handed out") };
        delivery.entry
    }

    pub(super) fn body(&self, key: EntryKey) -> String {
        let body = self.queue.entry(key).and_then(Entry::body).expect("it is in memory");
        String::from_utf8(body.to_vec()).expect("bodies of tests are text")
    }

    pub(super) fn settle(&mut self, consumer: MemberKey, key: EntryKey, settlement: Settlement) -> Settled {
        let settled = self.queue.settle(self.now, consumer, key, settlement);
        self.queue.check();
        settled
    }

    pub(super) fn accept(&mut self, consumer: MemberKey, key: EntryKey) {
        assert!(matches!(self.settle(consumer, key, Settlement::Accepted), Settled::Removed(_)));
    }

    /// Lets time pass, in milliseconds.
    pub(super) fn pass(&mut self, millis: u64) {
        self.now.0 += millis;
        while self.queue.poll_timeout().is_some_and(|at| at <= self.now) {
            self.queue.handle_timeout(self.now, 10);
        }
        self.queue.check();
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.queue.poll_action()).collect()
    }

    /// Puts a message into the queue that is in the store only.
    pub(super) fn restore(&mut self, number: u64, size: u32) -> EntryKey {
        let arrival = Arrival { priority: 4, durable: true, arrived: self.now, ..Arrival::default() };
        self.queue.restore(self.now, &arrival, size, Reference(number), 0)
    }

    pub(super) fn loads(&mut self, max_ahead: u64) -> Vec<Load> {
        std::iter::from_fn(|| self.queue.poll_load(max_ahead)).collect()
    }
}

/// A delivery that failed.
pub(super) const FAILED: Settlement =
    Settlement::Modified { failed: true, undeliverable_here: false, annotations: None };

/// A delivery that is not to be made to this consumer again.
pub(super) const NOT_HERE: Settlement =
    Settlement::Modified { failed: false, undeliverable_here: true, annotations: None };
