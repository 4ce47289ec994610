//! What a neighbour sends: whatever the bytes are, they are an error or frames, and the router and the
//! channel that get them neither panic nor keep more than they may.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use mq_mesh::frame::{Frame, FrameReader, Hello};
use mq_mesh::{
    Channel, ChannelOptions, ConnectionKey, Endpoint, Epoch, Incarnation, NodeId, Router, RouterOptions,
    Segment,
};

const FLEET: &str = "f";

/// One node with one connection.
struct End {
    now: Instant,
    router: Router,
    channel: Channel,
    neighbour: NodeId,
}

/// Feeds a connection. Says how many frames there were.
pub fn connection(input: &[u8]) -> usize {
    let mut end = end();
    let mut reader = FrameReader::new();
    let mut bytes = BytesMut::from(input);
    let mut frames = 0;
    while let Ok(Some(frame)) = reader.read(&mut bytes) {
        survives(&frame);
        frames += 1;
        end.now += Duration::from_millis(10);
        if !end.take(frame) {
            break;
        }
    }
    frames
}

fn end() -> End {
    let now = Instant::now();
    let router = Router::new(now, RouterOptions::new(FLEET, "a", Incarnation(1), 1));
    let neighbour = NodeId::new(FLEET, "b");
    let endpoint = |node| Endpoint { node, shard: 0 };
    let epoch = Epoch { incarnation: Incarnation(1), generation: 0 };
    let options = ChannelOptions::default();
    let channel = Channel::new(now, endpoint(router.id()), endpoint(neighbour), epoch, options);
    End { now, router, channel, neighbour }
}

impl End {
    /// `false`: the connection is to be closed.
    fn take(&mut self, frame: Frame) -> bool {
        let is_fine = match frame {
            Frame::Hello(hello) => {
                self.neighbour = hello.id();
                self.router.neighbour_up(self.now, ConnectionKey(1), 1, &hello).is_ok()
            }
            Frame::Heartbeat(_) => true,
            Frame::LinkState(message) => {
                self.router.handle_link_state(self.now, self.neighbour, message).is_ok()
            }
            Frame::Segment(segment) => {
                self.take_segment(segment);
                true
            }
        };
        self.router.handle_timeout(self.now);
        while self.router.poll_event().is_some() {}
        while self.router.poll_transmit(self.now).is_some() {}
        is_fine
    }

    /// Takes it as it is, and again as if it were part of the session: few inputs would guess that.
    fn take_segment(&mut self, segment: Segment) {
        let (now, channel) = (self.now, &mut self.channel);
        let epoch = Epoch { incarnation: Incarnation(1), generation: 0 };
        let addressed = Segment {
            source: channel.remote(),
            destination: Endpoint { node: self.router.id(), shard: 0 },
            source_epoch: epoch,
            destination_epoch: Some(channel.epoch()),
            ..segment.clone()
        };
        for segment in [segment, addressed] {
            channel.handle_segment(now, segment);
            while channel.poll_event().is_some() {}
            if channel.is_open() {
                channel.send(&b"answer"[..]).expect("it is open");
            }
            while channel.poll_transmit(now).is_some() {}
            if channel.poll_timeout().is_some_and(|at| at <= now) {
                channel.handle_timeout(now);
            }
        }
        assert!(channel.backlog() <= ChannelOptions::default().backlog);
    }
}

/// What has been read is what is read when it is written again.
fn survives(frame: &Frame) {
    let mut reader = FrameReader::new();
    let mut bytes = BytesMut::new();
    let hello = Hello { fleet: FLEET.into(), node: "b".into(), shards: 1, ..Hello::default() };
    match frame {
        Frame::Hello(hello) => hello.encode(&mut bytes).expect("what was read"),
        _ => hello.encode(&mut bytes).expect("within its bounds"),
    }
    match frame {
        Frame::Hello(_) => {}
        Frame::Heartbeat(heartbeat) => heartbeat.encode(&mut bytes),
        Frame::LinkState(message) => mq_mesh::frame::encode_link_state(message, &mut bytes),
        Frame::Segment(segment) => segment.encode(&mut bytes),
    }
    let mut last = reader.read(&mut bytes);
    while !bytes.is_empty() {
        last = reader.read(&mut bytes);
    }
    assert_eq!(last.as_ref(), Ok(&Some(frame.clone())));
}
