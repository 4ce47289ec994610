//! The path of a publication allocates nothing, once it has run a few times.

// A counting allocator cannot be written without it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_mqtt::packet::{Connect, Text};
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Accept, Config, Connection, Event, Outgoing, Qos, ReasonCode, SessionState, Version};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The counter may be gone while a thread ends; then nobody asks for it.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A read buffer as a driver has it: filled again once nobody holds a part of it.
fn carry(from: &mut Connection, to: &mut BytesMut, now: Instant) {
    let mut slices = [IoSlice::new(&[]); 4];
    let used = from.slices(&mut slices);
    let count = slices[..used].iter().map(|slice| slice.len()).sum();
    to.reserve(count);
    slices[..used].iter().for_each(|slice| to.extend_from_slice(slice));
    from.written(now, count);
}

struct Ends {
    client: Connection,
    server: Connection,
    to_client: BytesMut,
    to_server: BytesMut,
    now: Instant,
}

impl Ends {
    fn open(version: Version) -> Self {
        let (config, now) = (Arc::new(Config::default()), Instant::now());
        let client_id = Text::new("c").expect("a string");
        let connect = Connect { version, client_id, clean_start: true, ..Connect::default() };
        let client = Connection::client(config.clone(), &connect, SessionState::default(), now);
        let mut ends = Self {
            client: client.expect("a legal CONNECT"),
            server: Connection::server(config, now),
            to_client: BytesMut::with_capacity(64 << 10),
            to_server: BytesMut::with_capacity(64 << 10),
            now,
        };
        ends.turn();
        ends
    }

    /// Carries bytes until nothing moves; gives the publications that arrived.
    fn turn(&mut self) -> u32 {
        let mut arrived = 0;
        loop {
            carry(&mut self.client, &mut self.to_server, self.now);
            while let Some(event) = self.server.handle_input(self.now, &mut self.to_server).expect("legal") {
                match event {
                    Event::Connect(_) => self.server.accept(self.now, Accept::default()).expect("it waits"),
                    Event::Publish(publish) => {
                        arrived += 1;
                        if let Some(id) = publish.packet_id {
                            let none = PropertyView::default();
                            self.server.acknowledge(id, ReasonCode::Success, none).expect("it waits");
                        }
                    }
                    _ => {}
                }
            }
            if self.server.buffered() == 0 {
                return arrived;
            }
            carry(&mut self.server, &mut self.to_client, self.now);
            while self.client.handle_input(self.now, &mut self.to_client).expect("legal").is_some() {}
        }
    }

    fn run(&mut self, messages: u32, batch: u32, qos: Qos, topics: &[String], body: &Bytes) {
        let mut topics = topics.iter().cycle();
        for _ in 0..messages / batch {
            for _ in 0..batch {
                let Some(topic) = topics.next() else { return };
                let message = Outgoing { qos, ..Outgoing::new(topic, body) };
                self.client.publish(&message).expect("a window");
            }
            assert_eq!(self.turn(), batch);
        }
    }
}

#[test]
fn publishing_and_receiving_allocates_nothing() {
    let topics: Vec<String> = (0..20).map(|number| format!("sensors/room/{number}")).collect();
    for version in [Version::V3_1_1, Version::V5_0] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for batch in [1, 25] {
                let mut ends = Ends::open(version);
                let body = Bytes::from(vec![7; 100]);
                ends.run(1_000, batch, qos, &topics, &body);
                let before = ALLOCATIONS.with(Cell::get);
                ends.run(1_000, batch, qos, &topics, &body);
                let count = ALLOCATIONS.with(Cell::get) - before;
                assert_eq!(count, 0, "{version} {qos:?}, {batch} at a time");
            }
        }
    }
}
