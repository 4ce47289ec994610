//! Two ends of a channel over a line that loses, delays, repeats and reorders, in virtual time.
//!
//! `MESH_SEED=7 cargo test -p mq-mesh --test channel` runs one seed, `MESH_SEEDS=100000` more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fastrand::Rng;
use mq_mesh::frame::{Frame, FrameReader, Hello, SegmentFlags};
use mq_mesh::{
    Channel, ChannelEvent, ChannelOptions, Endpoint, Epoch, Incarnation, NodeId, Reset, Segment, SendError,
};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn endpoint(side: usize) -> Endpoint {
    Endpoint { node: NodeId(side as u64 + 1), shard: 3 }
}

/// One end and what its owner remembers.
struct End {
    channel: Channel,
    side: usize,
    incarnation: u64,
    /// What the owner calls the session it sends in, and how many messages it has sent in it.
    sending: Option<(u64, u64)>,
    /// The other owner's name of the session, learnt from its first message, and how many have come.
    receiving: Option<(u64, u64)>,
    is_open: bool,
}

struct World {
    rng: Rng,
    now: Instant,
    ends: [End; 2],
    /// Frames under way by arrival; the number keeps the order of those that arrive together.
    line: BTreeMap<(Instant, u64), (usize, Segment)>,
    count: u64,
    loss: f64,
    repeats: f64,
    delay: Range<u64>,
    is_in_order: bool,
    last_arrival: [Instant; 2],
    sessions: u64,
    /// Sessions of senders that have ended at their receiver.
    ended: BTreeSet<u64>,
    delivered: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let end = |side| End {
            channel: channel(now, side, 1),
            side,
            incarnation: 1,
            sending: None,
            receiving: None,
            is_open: false,
        };
        let mut rng = Rng::with_seed(seed);
        Self {
            loss: [0.0, 0.0, 0.01, 0.1, 0.3][rng.usize(..5)],
            repeats: [0.0, 0.0, 0.05][rng.usize(..3)],
            delay: [0..1, 0..3, 5..6, 1..60, 300..400][rng.usize(..5)].clone(),
            is_in_order: rng.bool(),
            rng,
            now,
            ends: [end(0), end(1)],
            line: BTreeMap::new(),
            count: 0,
            last_arrival: [now; 2],
            sessions: 0,
            ended: BTreeSet::new(),
            delivered: 0,
        }
    }

    fn transmit(&mut self, side: usize) {
        while let Some(segment) = self.ends[side].channel.poll_transmit(self.now) {
            let copies =
                usize::from(self.rng.f64() >= self.loss) + usize::from(self.rng.f64() < self.repeats);
            for _ in 0..copies {
                let mut arrival = self.now + ms(self.rng.u64(self.delay.clone()));
                if self.is_in_order {
                    arrival = arrival.max(self.last_arrival[side]);
                    self.last_arrival[side] = arrival;
                }
                self.count += 1;
                self.line.insert((arrival, self.count), (1 - side, segment.clone()));
            }
        }
    }

    fn drain(&mut self, side: usize) {
        loop {
            // One by one, or all of a segment.
            let run = if self.rng.bool() { self.ends[side].channel.poll_run() } else { None };
            if let Some(messages) = run {
                messages.for_each(|message| self.message(side, message));
                continue;
            }
            let Some(event) = self.ends[side].channel.poll_event() else { break };
            match event {
                ChannelEvent::Opened { remote_incarnation } => self.opened(side, remote_incarnation),
                ChannelEvent::Reset(_) => {
                    let end = &mut self.ends[side];
                    assert!(std::mem::take(&mut end.is_open), "a reset of what was not open");
                    end.sending = None;
                    self.ended.extend(end.receiving.take().map(|(session, _)| session));
                }
                ChannelEvent::Message(message) => self.message(side, message),
            }
        }
    }

    fn opened(&mut self, side: usize, remote: Incarnation) {
        assert!(remote.0 <= self.ends[1 - side].incarnation, "a life that has not been yet");
        self.sessions += 1;
        let end = &mut self.ends[side];
        assert!(!end.is_open && end.channel.is_open());
        end.is_open = true;
        end.sending = Some((self.sessions, 0));
    }

    fn message(&mut self, side: usize, mut message: Bytes) {
        let end = &mut self.ends[side];
        assert!(end.is_open, "a message outside of a session");
        let (session, number, length) = (message.get_u64(), message.get_u64(), message.get_u32());
        let expected = match &mut end.receiving {
            Some((current, count)) => {
                assert_eq!(session, *current, "messages of two sessions in one");
                *count += 1;
                *count - 1
            }
            None => {
                end.receiving = Some((session, 1));
                0
            }
        };
        assert!(!self.ended.contains(&session), "a session that has ended comes again");
        assert_eq!(number, expected, "lost, repeated or out of order");
        assert_eq!(message.len(), length as usize);
        assert!(message.iter().all(|byte| *byte == number as u8), "another message's bytes");
        self.delivered += 1;
    }

    fn send(&mut self, side: usize, length: usize) {
        let is_written = self.rng.bool();
        let end = &mut self.ends[side];
        let Some((session, number)) = &mut end.sending else {
            assert_eq!(end.channel.send(Bytes::from_static(b"early")), Err(SendError::NotOpen));
            return;
        };
        let (head, body) = message(*session, *number, length);
        let taken = if is_written {
            let at = self.rng.usize(..=body.len());
            end.channel.send_with(|out| {
                out.put(head);
                out.put(body.slice(..at));
                Ok::<_, SendError>(body.slice(at..))
            })
        } else {
            end.channel.send(head.chain(body))
        };
        if taken.is_ok() {
            *number += 1;
        }
    }

    /// Sends some small messages together.
    fn send_run(&mut self, side: usize, count: u64) {
        let end = &mut self.ends[side];
        let Some((session, number)) = &mut end.sending else {
            assert_eq!(end.channel.send_run(BytesMut::new(), 0), Err(SendError::NotOpen));
            return;
        };
        let mut run = BytesMut::new();
        for number in *number..*number + count {
            let length = self.rng.usize(..5_000);
            let (head, body) = message(*session, number, length);
            run.put_u16((head.len() + length) as u16);
            run.put(head.chain(body));
        }
        if end.channel.send_run(run, count as u32).is_ok() {
            *number += count;
        }
    }

    /// A new process, or the same one with a channel that has ended.
    fn restart(&mut self, side: usize) {
        let end = &mut self.ends[side];
        if self.rng.bool() {
            end.channel.reset(self.now);
        } else {
            end.incarnation += 1;
            end.channel = channel(self.now, side, end.incarnation);
            end.sending = None;
            end.is_open = false;
            self.ended.extend(end.receiving.take().map(|(session, _)| session));
        }
        self.drain(side);
    }

    /// Carries time and segments to `until`.
    fn run(&mut self, until: Instant) {
        let mut steps = 0;
        loop {
            for side in 0..2 {
                self.drain(side);
                self.transmit(side);
            }
            let timers = self.ends.iter().filter_map(|end| end.channel.poll_timeout());
            let arrivals = self.line.keys().map(|(at, _)| *at);
            let Some(next) = timers.chain(arrivals).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.line.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (side, segment) = entry.remove();
                self.ends[side].channel.handle_segment(self.now, through_the_wire(segment));
                // Now and then a slow owner polls late.
                if self.rng.f64() < 0.9 {
                    self.drain(side);
                }
            }
            for end in &mut self.ends {
                if end.channel.poll_timeout().is_some_and(|at| at <= self.now) {
                    end.channel.handle_timeout(self.now);
                    let next = end.channel.poll_timeout();
                    assert!(next.is_none_or(|at| at > self.now), "side {} spins", end.side);
                }
            }
            steps += 1;
            assert!(steps < 200_000, "no end of it");
        }
        self.now = until;
    }

    fn segments(&self) -> u64 {
        self.count
    }
}

fn channel(now: Instant, side: usize, incarnation: u64) -> Channel {
    let epoch = Epoch { incarnation: Incarnation(incarnation), generation: 0 };
    let options = ChannelOptions { window: 512 * 1024, ..ChannelOptions::default() };
    Channel::new(now, endpoint(side), endpoint(1 - side), epoch, options)
}

fn message(session: u64, number: u64, length: usize) -> (Bytes, Bytes) {
    let mut head = BytesMut::new();
    head.put_u64(session);
    head.put_u64(number);
    head.put_u32(length as u32);
    (head.freeze(), vec![number as u8; length].into())
}

/// What a connection does with a segment.
fn through_the_wire(segment: Segment) -> Segment {
    let mut bytes = BytesMut::new();
    let hello = Hello { fleet: "f".into(), node: "n".into(), shards: 1, ..Hello::default() };
    hello.encode(&mut bytes).expect("a hello");
    segment.encode(&mut bytes);
    let mut reader = FrameReader::new();
    assert!(matches!(reader.read(&mut bytes), Ok(Some(Frame::Hello(_)))));
    let read = reader.read(&mut bytes);
    assert_eq!(read, Ok(Some(Frame::Segment(segment.clone()))));
    assert!(bytes.is_empty());
    segment
}

fn length(rng: &mut Rng) -> usize {
    match rng.u32(..100) {
        0 => rng.usize(..300_000),
        1..5 => rng.usize(60_000..70_000),
        5..15 => rng.usize(..5_000),
        _ => rng.usize(..200),
    }
}

fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    let restarts = [0.0, 0.02][world.rng.usize(..2)];
    for _ in 0..40 {
        for side in 0..2 {
            for _ in 0..world.rng.usize(..12) {
                let length = length(&mut world.rng);
                world.send(side, length);
                if world.rng.u32(..5) == 0 {
                    let count = world.rng.u64(1..10);
                    world.send_run(side, count);
                }
            }
            if world.rng.f64() < restarts {
                world.restart(side);
            }
            if world.rng.f64() < 0.02 {
                // What is on the line is lost with the connection.
                world.line.clear();
                world.ends.iter_mut().for_each(|end| end.channel.handle_path_changed(world.now));
            }
        }
        let until = world.now + ms(world.rng.u64(..100));
        world.run(until);
    }
    // On a line that is sound again everything arrives.
    (world.loss, world.repeats) = (0.0, 0.0);
    world.run(world.now + Duration::from_secs(60));
    for side in 0..2 {
        let (end, other) = (&world.ends[side], &world.ends[1 - side]);
        assert!(end.is_open);
        assert_eq!(end.channel.backlog(), 0, "side {side} is not rid of what it sent");
        let sent = end.sending.expect("an open session").1;
        let received = other.receiving.map_or(0, |(_, count)| count);
        assert_eq!(sent, received, "side {side} sent more than has come");
    }
    let before = world.segments();
    world.run(world.now + Duration::from_secs(600));
    assert_eq!(world.segments(), before, "an idle channel is silent");
    assert!(world.ends.iter().all(|end| end.channel.poll_timeout().is_none()));
    world.delivered
}

#[test]
fn messages_arrive_in_order_once_and_in_their_session() {
    if let Some(seed) = env::var("MESH_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed);
        return;
    }
    let seeds = env::var("MESH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_000);
    let mut delivered = 0;
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        delivered += result.unwrap_or_else(|_| panic!("failed with MESH_SEED={seed}"));
    }
    assert!(delivered > seeds * 50, "{delivered} messages: the simulation is idle");
}

/// Two ends that are open, on a perfect line.
fn open() -> World {
    let mut world = World::new(0);
    (world.loss, world.repeats, world.delay, world.is_in_order) = (0.0, 0.0, 1..2, true);
    world.run(world.now + ms(10));
    assert!(world.ends.iter().all(|end| end.is_open));
    world
}

/// Everything that one end wants to send now.
fn segments(world: &mut World, side: usize) -> Vec<Segment> {
    let now = world.now;
    std::iter::from_fn(|| world.ends[side].channel.poll_transmit(now)).collect()
}

#[test]
fn small_messages_of_a_turn_share_a_segment() {
    let mut world = open();
    (0..500).for_each(|_| world.send(0, 100));
    assert_eq!(segments(&mut world, 0).len(), 1);
}

#[test]
fn an_end_that_does_not_answer_is_asked_and_not_flooded() {
    let mut world = open();
    (0..1_000).for_each(|_| world.send(0, 1_000));
    let sent = segments(&mut world, 0).len() as u64;
    assert!(sent > 5);
    world.loss = 1.0;
    let before = world.ends[0].channel.statistics();
    let mut questions = 0;
    let end = world.now + Duration::from_secs(20);
    while world.now < end {
        world.now = world.ends[0].channel.poll_timeout().expect("it asks");
        let now = world.now;
        world.ends[0].channel.handle_timeout(now);
        for segment in segments(&mut world, 0) {
            assert!(segment.flags.contains(SegmentFlags::PROBE) && segment.payload.is_empty());
            questions += 1;
        }
    }
    assert!((8..20).contains(&questions), "{questions}");
    assert_eq!(world.ends[0].channel.statistics().segments_retransmitted, before.segments_retransmitted);
}

#[test]
fn only_what_is_missing_is_sent_again() {
    let mut world = open();
    (0..20).for_each(|_| world.send(0, 60_000));
    let mut sent = segments(&mut world, 0);
    sent.retain(|segment| segment.flags.is_data());
    for segment in sent.iter().enumerate().filter(|(index, _)| ![2, 3, 5].contains(index)) {
        world.ends[1].channel.handle_segment(world.now, segment.1.clone());
    }
    world.run(world.now + Duration::from_secs(1));
    assert_eq!(world.ends[0].channel.statistics().segments_retransmitted, 3);
    assert_eq!(world.ends[1].channel.statistics().duplicates, 0);
    assert_eq!(world.ends[1].receiving.map(|(_, count)| count), Some(20));
}

#[test]
fn an_owner_that_does_not_poll_holds_back_the_other_end() {
    let mut world = open();
    (0..100).for_each(|_| world.send(0, 60_000));
    for _ in 0..50 {
        for segment in segments(&mut world, 0) {
            world.ends[1].channel.handle_segment(world.now, segment);
        }
        for segment in segments(&mut world, 1) {
            world.ends[0].channel.handle_segment(world.now, segment);
        }
    }
    assert!(world.ends[1].channel.statistics().segments_received < 12, "the window is 512 KiB");
    assert!(world.ends[0].channel.backlog() > 80 * 60_000);
    world.run(world.now + Duration::from_secs(5));
    assert_eq!(world.ends[1].receiving.map(|(_, count)| count), Some(100));
}

/// A segment as the first end would send it to the second.
fn forged(world: &World, flags: SegmentFlags, sequence: u64, payload: Bytes) -> Segment {
    Segment {
        flags,
        hops_left: 1,
        source: endpoint(0),
        destination: endpoint(1),
        source_epoch: world.ends[0].channel.epoch(),
        destination_epoch: Some(world.ends[1].channel.epoch()),
        sequence,
        acknowledged: 0,
        message_length: 0,
        payload,
    }
}

#[test]
fn behind_a_gap_no_more_is_kept_than_the_window() {
    let mut world = open();
    let payload = Bytes::from(vec![0; 60_000]);
    for sequence in 1..1_000 {
        let segment = forged(&world, SegmentFlags::MESSAGES, sequence, payload.clone());
        world.ends[1].channel.handle_segment(world.now, segment);
    }
    // 512 KiB and one segment, of 60,000 bytes each.
    assert_eq!(world.ends[1].channel.statistics().segments_received, 9);
    let mut world = open();
    for sequence in (20_000..40_000).rev() {
        let segment = forged(&world, SegmentFlags::MESSAGES, sequence, Bytes::from_static(&[0, 0]));
        world.ends[1].channel.handle_segment(world.now, segment);
    }
    assert_eq!(world.ends[1].channel.statistics().segments_received, 0, "too far ahead of what has come");
}

#[test]
fn of_many_gaps_an_answer_tells_the_first_ones() {
    let mut world = open();
    for sequence in (1..400).step_by(2) {
        let segment = forged(&world, SegmentFlags::MESSAGES, sequence, Bytes::from_static(&[0, 0]));
        world.ends[1].channel.handle_segment(world.now, segment);
    }
    let answers = segments(&mut world, 1);
    let told = answers.iter().find(|segment| segment.flags.contains(SegmentFlags::MISSING));
    let mut told = told.expect("an answer").payload.clone();
    assert_eq!(told.len(), 32 * 8);
    assert_eq!((told.get_u32(), told.get_u32(), told.get_u32(), told.get_u32()), (0, 1, 2, 1));
}

#[test]
fn a_message_announced_as_longer_than_any_ends_the_session() {
    let mut world = open();
    let first = forged(&world, SegmentFlags::PIECE, 0, Bytes::from_static(b"piece"));
    let message_length = u32::try_from(mq_mesh::channel::MAX_MESSAGE + 1).expect("32 bits");
    world.ends[1].channel.handle_segment(world.now, Segment { message_length, ..first });
    let event = world.ends[1].channel.poll_event();
    assert_eq!(
        event,
        Some(ChannelEvent::Reset(Reset::Malformed { what: "the length of a message in pieces" }))
    );
    // It says so at once, and opens again after a moment.
    world.ends[1].is_open = false;
    world.run(world.now + ms(50));
    assert!(!world.ends[1].is_open && !world.ends[1].channel.is_open());
    world.run(world.now + Duration::from_secs(2));
    assert!(world.ends.iter().all(|end| end.is_open));
}

#[test]
fn an_end_that_fails_again_and_again_waits_longer_each_time() {
    let mut world = open();
    let mut opened = Vec::new();
    for _ in 0..6 {
        world.ends[1].channel.refuse(world.now, "of no use");
        world.drain(1);
        let start = world.now;
        while !world.ends[1].is_open {
            world.run(world.now + ms(10));
        }
        opened.push(world.now - start);
    }
    assert!(opened.is_sorted() && opened[0] < ms(300), "{opened:?}");
    assert!(opened[5] >= ms(3_000) && opened[5] < ms(8_000), "{opened:?}");
}

/// What a node in the middle does that cannot pass on as fast as it is sent to: it keeps `buffer` bytes
/// for all channels together, drops the rest, and passes on `rate` bytes in a millisecond.
struct Middle {
    queue: std::collections::VecDeque<(usize, Segment)>,
    buffered: usize,
    buffer: usize,
    rate: usize,
    passed: usize,
}

impl Middle {
    fn put(&mut self, channel: usize, segment: Segment) {
        if self.buffered < self.buffer {
            self.buffered += segment.payload.len();
            self.queue.push_back((channel, segment));
        }
    }

    /// What comes through in a millisecond.
    fn pass(&mut self) -> Vec<(usize, Segment)> {
        let mut budget = self.rate;
        let mut passed = Vec::new();
        while budget > 0 {
            let Some((channel, segment)) = self.queue.pop_front() else { break };
            self.buffered -= segment.payload.len();
            self.passed += segment.payload.len();
            budget = budget.saturating_sub(segment.payload.len().max(100));
            passed.push((channel, segment));
        }
        passed
    }
}

#[test]
fn channels_that_meet_at_a_bottleneck_share_it_and_send_little_twice() {
    let mut now = Instant::now();
    let options = ChannelOptions::default();
    let epoch = Epoch { incarnation: Incarnation(1), generation: 0 };
    let end = |side: usize, shard| {
        let at = |side| Endpoint { shard, ..endpoint(side) };
        Channel::new(now, at(side), at(1 - side), epoch, options.clone())
    };
    let mut pairs: Vec<[Channel; 2]> = (0..10).map(|shard| [end(0, shard), end(1, shard)]).collect();
    let mut middle =
        Middle { queue: Default::default(), buffered: 0, buffer: 1_000_000, rate: 100_000, passed: 0 };
    let total = 5_000_000;
    let mut received = [0; 10];
    let mut given = [0; 10];
    let start = now;
    while received.iter().any(|received| *received < total) {
        now += ms(1);
        assert!(now - start < Duration::from_secs(10), "{received:?}");
        for (index, [one, other]) in pairs.iter_mut().enumerate() {
            while one.poll_event().is_some() {}
            while one.is_open() && given[index] < total {
                one.send(Bytes::from(vec![0; 10_000])).expect("open");
                given[index] += 10_000;
            }
            for channel in [&mut *one, &mut *other] {
                if channel.poll_timeout().is_some_and(|at| at <= now) {
                    channel.handle_timeout(now);
                }
            }
            while let Some(segment) = one.poll_transmit(now) {
                middle.put(index, segment);
            }
            while let Some(segment) = other.poll_transmit(now) {
                one.handle_segment(now, segment);
            }
        }
        for (index, segment) in middle.pass() {
            let other = &mut pairs[index][1];
            other.handle_segment(now, segment);
            while let Some(event) = other.poll_event() {
                if let ChannelEvent::Message(message) = event {
                    received[index] += message.len();
                }
            }
        }
    }
    // Everything at the full rate would be half a second.
    assert!(now - start < ms(1_000), "{:?}", now - start);
    let sum = |count: fn(&Channel) -> u64| pairs.iter().map(|[one, _]| count(one)).sum::<u64>();
    let sent = sum(|channel| channel.statistics().segments_sent);
    let again = sum(|channel| channel.statistics().segments_retransmitted);
    assert!(middle.passed < 10 * total * 11 / 10, "{} passed", middle.passed);
    assert!(again * 3 < sent, "{again} of {sent} sent again");
}

#[test]
fn messages_that_are_put_together_already_become_a_segment_in_their_place() {
    let mut world = open();
    let run = |text: &[u8], times| {
        let mut run = BytesMut::with_capacity(64 << 10);
        for _ in 0..times {
            run.put_u16(text.len() as u16);
            run.put_slice(text);
        }
        run
    };
    let channel = &mut world.ends[0].channel;
    assert_eq!(channel.send(Bytes::from_static(b"before")), Ok(()));
    let messages = run(&[7; 1_000], 60);
    let place = messages.as_ptr();
    assert_eq!(channel.send_run(messages, 60), Ok(()));
    assert_eq!(channel.send(Bytes::from_static(b"behind")), Ok(()));
    assert_eq!(channel.send_run(run(b"a few", 2), 2), Ok(()));
    assert_eq!(channel.statistics().messages_sent, 64);
    let segments = segments(&mut world, 0);
    assert_eq!(segments.len(), 2, "what was there before, and what follows");
    assert_eq!(segments[1].payload.as_ptr(), place, "they are not copied");
    for segment in segments {
        world.ends[1].channel.handle_segment(world.now, segment);
    }
    let channel = &mut world.ends[1].channel;
    assert_eq!(channel.poll_event(), Some(ChannelEvent::Message(Bytes::from_static(b"before"))));
    assert_eq!(channel.poll_event(), Some(ChannelEvent::Message(Bytes::from(vec![7; 1_000]))));
    let rest: Vec<Bytes> = channel.poll_run().expect("the rest of the segment").collect();
    assert_eq!(rest.len(), 59 + 1 + 2);
    assert_eq!(rest[58..], [&[7; 1_000][..], b"behind", b"a few", b"a few"]);
    assert!(channel.poll_run().is_none() && channel.poll_event().is_none());
    assert_eq!(channel.statistics().messages_received, 64);
}

#[test]
fn messages_put_together_that_do_not_fit_into_a_segment_are_refused() {
    let mut world = open();
    let channel = &mut world.ends[0].channel;
    let (most, more) = (BytesMut::zeroed(64 << 10), BytesMut::zeroed((64 << 10) + 1));
    assert_eq!(channel.send_run(more, 1), Err(SendError::TooLarge { length: (64 << 10) + 1 }));
    assert_eq!(channel.send_run(BytesMut::new(), 0), Ok(()));
    assert_eq!(channel.backlog(), 0);
    assert_eq!(channel.send_run(most, 32 << 10), Ok(()));
    assert_eq!(segments(&mut world, 0).len(), 1);
}

#[test]
fn the_largest_message_passes_and_a_larger_one_is_refused() {
    let mut world = open();
    let limit = mq_mesh::channel::MAX_MESSAGE;
    world.send(0, limit - 20);
    world.run(world.now + Duration::from_secs(5));
    assert_eq!(world.delivered, 1);
    let end = &mut world.ends[0];
    let too_large = Err(SendError::TooLarge { length: limit + 1 });
    assert_eq!(end.channel.send(Bytes::from(vec![0; limit + 1])), too_large);
    let written = end.channel.send_with(|out| {
        out.put_bytes(0, limit);
        Ok(Bytes::from_static(b"1"))
    });
    assert_eq!(written, too_large);
    // Whoever cannot write a message leaves nothing of it behind.
    let failed = end.channel.send_with(|out| {
        out.put_bytes(0, 100);
        Err(SendError::NotOpen)
    });
    assert_eq!(failed, Err(SendError::NotOpen));
    world.send(0, 5);
    world.run(world.now + Duration::from_secs(5));
    assert_eq!(world.delivered, 2, "what was refused has left no trace");
}

#[test]
fn more_than_may_wait_ends_the_channel() {
    let now = Instant::now();
    let mut world = open();
    let options = ChannelOptions { backlog: 100_000, ..ChannelOptions::default() };
    let epoch = Epoch { incarnation: Incarnation(2), generation: 0 };
    world.ends[0].channel = Channel::new(now, endpoint(0), endpoint(1), epoch, options);
    (world.ends[0].incarnation, world.ends[0].is_open) = (2, false);
    world.run(world.now + ms(10));
    let channel = &mut world.ends[0].channel;
    assert_eq!(channel.send(Bytes::from(vec![0; 99_000])), Ok(()));
    assert_eq!(channel.send(Bytes::from(vec![0; 1_001])), Err(SendError::NotOpen));
    assert_eq!(channel.poll_event(), Some(ChannelEvent::Reset(Reset::Overrun { limit: 100_000 })));
    assert_eq!(channel.backlog(), 0);
}

#[test]
fn what_cannot_be_a_message_ends_the_session_and_not_the_process() {
    for seed in 0..2_000 {
        let mut rng = Rng::with_seed(seed);
        let mut world = open();
        (0..3).for_each(|_| world.send(0, 200));
        world.send(0, 100_000);
        for mut segment in segments(&mut world, 0) {
            match rng.u32(..5) {
                0 => segment.acknowledged = rng.u64(..),
                1 => segment.sequence = rng.u64(..),
                2 => segment.message_length = rng.u32(..),
                3 => segment.payload = segment.payload.slice(..rng.usize(..=segment.payload.len())),
                _ => {
                    let mut payload = BytesMut::from(segment.payload.as_ref());
                    payload.iter_mut().take(50).for_each(|byte| *byte = rng.u8(..));
                    segment.payload = payload.freeze();
                }
            }
            if rng.bool() {
                segment.flags = segment.flags.with(SegmentFlags::MISSING);
            }
            world.ends[1].channel.handle_segment(world.now, segment);
        }
        let channel = &mut world.ends[1].channel;
        while (rng.bool() && channel.poll_run().is_some()) || channel.poll_event().is_some() {}
        assert!(channel.backlog() < 1_000);
    }
}
