//! What a message costs between two shards, without sockets: `cargo bench -p mq-mesh --bench channel`.
//!
//! Both ends and the frames between them, in processor time. A *turn* is the messages that leave in
//! one write.

// What it prints is what it is for.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_mesh::frame::{Frame, FrameReader, Hello};
use mq_mesh::{Channel, ChannelEvent, ChannelOptions, Endpoint, Epoch, Incarnation, NodeId, SendError};

/// Bytes of a read, at most.
const READ: usize = 64 * 1024;

struct Bench {
    now: Instant,
    ends: [Channel; 2],
    readers: [FrameReader; 2],
    lines: [BytesMut; 2],
    reads: [BytesMut; 2],
    received: u64,
    bytes: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let endpoint = |node| Endpoint { node: NodeId(node), shard: 0 };
        let epoch = Epoch { incarnation: Incarnation(1), generation: 0 };
        let end =
            |one, other| Channel::new(now, endpoint(one), endpoint(other), epoch, ChannelOptions::default());
        let mut bench = Self {
            now,
            ends: [end(1, 2), end(2, 1)],
            readers: [FrameReader::new(), FrameReader::new()],
            lines: [BytesMut::new(), BytesMut::new()],
            reads: [BytesMut::new(), BytesMut::new()],
            received: 0,
            bytes: 0,
        };
        let hello = Hello { fleet: "bench".into(), node: "bench".into(), shards: 1, ..Hello::default() };
        for line in &mut bench.lines {
            hello.encode(line).expect("a hello");
        }
        (0..4).for_each(|_| bench.carry());
        assert!(bench.ends.iter().all(Channel::is_open));
        bench
    }

    /// One turn of both ends.
    fn carry(&mut self) {
        for side in 0..2 {
            while let Some(segment) = self.ends[side].poll_transmit(self.now) {
                segment.encode(&mut self.lines[1 - side]);
            }
            let line = std::mem::take(&mut self.lines[1 - side]);
            // What a socket does: it copies into the reader's buffer, so much at a time.
            for chunk in line.chunks(READ) {
                self.reads[1 - side].extend_from_slice(chunk);
                self.receive(1 - side);
            }
            self.lines[1 - side] = line;
            self.lines[1 - side].clear();
        }
    }

    fn receive(&mut self, side: usize) {
        let end = &mut self.ends[side];
        while let Some(frame) = self.readers[side].read(&mut self.reads[side]).expect("frames") {
            if let Frame::Segment(segment) = frame {
                end.handle_segment(self.now, segment);
            }
            while let Some(event) = end.poll_event() {
                if let ChannelEvent::Message(message) = event {
                    self.received += 1;
                    self.bytes += black_box(message).len() as u64;
                }
            }
        }
    }
}

/// Nanoseconds per message of a length, in turns of so many.
fn measure(length: usize, turn: u32, messages: u32) -> f64 {
    let mut bench = Bench::new();
    let message = vec![7; length];
    let start = processor_nanoseconds();
    for _ in 0..messages / turn {
        for _ in 0..turn {
            bench.ends[0]
                .send_with(|out| {
                    out.extend_from_slice(&message);
                    Ok::<_, SendError>(Bytes::new())
                })
                .expect("open");
        }
        bench.carry();
    }
    let spent = processor_nanoseconds() - start;
    assert_eq!(bench.received, u64::from(messages / turn * turn));
    spent as f64 / bench.received as f64
}

/// The same for a large message that lies in one piece and is not copied into its segments.
fn measure_large(length: usize, messages: u32) -> f64 {
    let mut bench = Bench::new();
    let message = Bytes::from(vec![7; length]);
    let start = processor_nanoseconds();
    for _ in 0..messages {
        bench.ends[0].send(message.clone()).expect("open");
        bench.carry();
    }
    (processor_nanoseconds() - start) as f64 / f64::from(messages)
}

fn main() {
    println!("{:>10} {:>8} {:>14}", "bytes", "a turn", "ns a message");
    for (length, turn, messages) in [
        (100, 1, 500_000),
        (100, 10, 2_000_000),
        (100, 100, 5_000_000),
        (100, 1_000, 5_000_000),
        (1_000, 10, 500_000),
        (1_000, 100, 1_000_000),
        (20_000, 10, 100_000),
    ] {
        println!("{length:>10} {turn:>8} {:>14.1}", measure(length, turn, messages));
    }
    for (length, messages) in [(256 * 1024, 5_000), (2 * 1024 * 1024, 500)] {
        println!("{length:>10} {:>8} {:>14.1}", 1, measure_large(length, messages));
    }
}

/// What this thread has had of a processor, as Linux counts it: a busy machine spoils it less than time.
fn processor_nanoseconds() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let first = counters.split_whitespace().next().expect("three numbers");
    first.parse().expect("nanoseconds")
}
