//! What the engine costs per message, without sockets: `cargo bench -p mq-mqtt [-- MESSAGES]`.
//!
//! A client publishes through its engine into the engine of a server, which acknowledges; each figure
//! is the processor time of both ends together, so that a busy machine spoils it less.

// What it prints is what it is for.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_mqtt::packet::{Connect, Text};
use mq_mqtt::property::{PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{Accept, Config, Connection, Event, Outgoing, Qos, ReasonCode, SessionState, Version};

const MESSAGES: u32 = 2_000_000;

/// Messages of a turn: what one read of a socket brings.
const BATCH: u32 = 100;

/// Subscribers of the fan-out.
const SUBSCRIBERS: u32 = 50;

struct Bench {
    client: Connection,
    server: Connection,
    to_client: BytesMut,
    to_server: BytesMut,
    now: Instant,
}

fn carry(from: &mut Connection, to: &mut BytesMut, now: Instant) {
    loop {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = from.slices(&mut slices);
        if used == 0 {
            return;
        }
        let count = slices[..used].iter().map(|slice| slice.len()).sum();
        to.reserve(count);
        slices[..used].iter().for_each(|slice| to.extend_from_slice(slice));
        from.written(now, count);
    }
}

impl Bench {
    fn new(version: Version, aliases: u16) -> Self {
        let mut config = Config::default();
        config.limits.topic_alias_maximum = aliases;
        let (config, now) = (Arc::new(config), Instant::now());
        let client_id = Text::new("bench").expect("a string");
        let connect = Connect { version, client_id, clean_start: true, ..Connect::default() };
        let client = Connection::client(config.clone(), &connect, SessionState::default(), now);
        let mut bench = Self {
            client: client.expect("a legal CONNECT"),
            server: Connection::server(config, now),
            to_client: BytesMut::with_capacity(64 << 10),
            to_server: BytesMut::with_capacity(64 << 10),
            now,
        };
        bench.turn();
        bench
    }

    fn turn(&mut self) {
        loop {
            carry(&mut self.client, &mut self.to_server, self.now);
            while let Some(event) = self.server.handle_input(self.now, &mut self.to_server).expect("legal") {
                match event {
                    Event::Connect(_) => self.server.accept(self.now, Accept::default()).expect("it waits"),
                    Event::Publish(publish) => {
                        let packet_id = publish.packet_id;
                        black_box((publish.topic_bytes(), publish.payload()));
                        black_box(publish);
                        if let Some(id) = packet_id {
                            let none = PropertyView::default();
                            self.server.acknowledge(id, ReasonCode::Success, none).expect("it waits");
                        }
                    }
                    other => drop(black_box(other)),
                }
            }
            if self.server.buffered() == 0 {
                return;
            }
            carry(&mut self.server, &mut self.to_client, self.now);
            while let Some(event) = self.client.handle_input(self.now, &mut self.to_client).expect("legal") {
                black_box(event);
            }
        }
    }

    fn rounds(&mut self, messages: u32, qos: Qos, size: usize, properties: PropertyView<'_>) {
        let body = Bytes::from(vec![7; size]);
        let message = Outgoing { qos, properties, ..Outgoing::new("sensors/kitchen/temperature", &body) };
        for _ in 0..messages / BATCH {
            for _ in 0..BATCH {
                black_box(self.client.publish(&message)).expect("a window");
            }
            self.turn();
        }
    }

    /// Nanoseconds per message.
    fn run(&mut self, qos: Qos, size: usize, properties: PropertyView<'_>) -> f64 {
        let messages = messages();
        self.rounds(messages / 20, qos, size, properties);
        let start = processor_nanoseconds();
        self.rounds(messages, qos, size, properties);
        (processor_nanoseconds() - start) as f64 / f64::from(messages)
    }

    /// Nanoseconds per delivery of one message to many.
    fn fan_out(version: Version) -> f64 {
        let mut ends: Vec<Self> = (0..SUBSCRIBERS).map(|_| Self::new(version, 0)).collect();
        let body = Bytes::from(vec![7; 100]);
        let message = Outgoing::new("sensors/kitchen/temperature", &body);
        let turns = messages() / SUBSCRIBERS / BATCH;
        let start = processor_nanoseconds();
        for _ in 0..turns {
            for end in &mut ends {
                for _ in 0..BATCH {
                    black_box(end.server.publish(&message)).expect("open");
                }
                let waiting = end.server.buffered();
                end.server.written(end.now, waiting);
            }
        }
        (processor_nanoseconds() - start) as f64 / f64::from(turns * BATCH * SUBSCRIBERS)
    }
}

/// What this thread has had of a processor, as Linux counts it.
fn processor_nanoseconds() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let first = counters.split(' ').next().and_then(|number| number.parse().ok());
    first.expect("nanoseconds")
}

fn messages() -> u32 {
    std::env::args().next_back().and_then(|number| number.parse().ok()).unwrap_or(MESSAGES)
}

fn report(what: &str, cost: f64) {
    println!("{what:<44} {cost:7.1} ns");
}

fn main() {
    let none = PropertyView::default();
    println!("connection: {} bytes, event: {} bytes", size_of::<Connection>(), size_of::<Event>());
    for version in [Version::V3_1_1, Version::V5_0] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let what = format!("{version} QoS {}, 100 bytes, both ends", qos.to_byte());
            report(&what, Bench::new(version, 0).run(qos, 100, none));
        }
        report(&format!("{version} QoS 0, 100 bytes, out to {SUBSCRIBERS}, each"), Bench::fan_out(version));
    }
    let aliased = Bench::new(Version::V5_0, 64).run(Qos::AtMostOnce, 100, none);
    report("5.0 QoS 0, 100 bytes, with an alias", aliased);
    let mut writer = PropertyWriter::new(PropertyIn::Publish);
    writer
        .content_type("text/plain")
        .and_then(|writer| writer.user_property("trace", "00-4bf92f3577b34da6a3ce929d0e0e4736-00"))
        .expect("allowed");
    let described = Bench::new(Version::V5_0, 0).run(Qos::AtMostOnce, 100, writer.finish().view());
    report("5.0 QoS 0, 100 bytes, two properties", described);
    report("5.0 QoS 0, 16 KiB", Bench::new(Version::V5_0, 0).run(Qos::AtMostOnce, 16_384, none));
}
