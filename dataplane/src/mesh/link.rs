//! One connection to a neighbour, as the shard that owns it sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_mesh::NodeId;
use mq_mesh::frame::{FrameReader, Heartbeat, Segment, encode_link_state};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::fabric::{Joined, Traffic};
use super::handshake::Socket;
use super::tls::Secured;

/// Bytes that may wait to be written. Beyond it the channels of the shard wait with what they have, and what
/// others want forwarded is dropped.
const LIMIT: usize = 1 << 20;

/// Bytes of frames that are encrypted together: as many as the largest record of TLS takes, some times.
const GATHERED: usize = 64 << 10;

/// Payloads up to here are copied behind their headers, larger ones are encrypted where they are.
const COPY_UP_TO: usize = 4 << 10;

/// A connection to a neighbour.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) neighbour: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) stream: TcpStream,
    pub(crate) secured: Secured,
    pub(crate) reader: FrameReader,
    /// Decrypted, and not a whole frame yet.
    pub(crate) input: BytesMut,
    /// Frames that are not encrypted yet.
    plain: BytesMut,
    /// Bytes that are encrypted and not written.
    buffered: usize,
    pub(crate) waker: Waker,
    pub(crate) wants_write: bool,
    pub(crate) is_dirty: bool,
    /// We have said good-bye.
    pub(crate) is_leaving: bool,
    /// Why the connection ends, once it does.
    pub(crate) end: Option<String>,
    /// What went over it last, each way.
    pub(crate) heard_at: Instant,
    said_at: Instant,
    /// The last heartbeat of the peer: what it said, and when it came.
    heartbeat: Option<(u64, Instant)>,
    /// Its silence has lasted too long: unless the socket has something, it is dead.
    pub(crate) is_suspect: bool,
    pub(crate) traffic: Arc<Traffic>,
    /// Tells whoever keeps the connection up that it has ended.
    _ended: Option<oneshot::Sender<()>>,
}

impl Link {
    /// A connection whose peer is known. Must be called within a tokio runtime.
    pub(crate) fn new(now: Instant, joined: Joined) -> std::io::Result<Self> {
        let Joined { greeted, traffic, ended, .. } = joined;
        Ok(Self {
            neighbour: greeted.hello.id(),
            name: greeted.hello.node.as_str().into(),
            stream: TcpStream::from_std(greeted.stream)?,
            secured: greeted.secured,
            reader: greeted.reader,
            input: greeted.input,
            plain: BytesMut::new(),
            buffered: 0,
            waker: Waker::noop().clone(),
            wants_write: false,
            is_dirty: false,
            is_leaving: false,
            end: None,
            heard_at: now,
            said_at: now,
            heartbeat: None,
            is_suspect: false,
            traffic,
            _ended: ended,
        })
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.buffered + self.plain.len() < LIMIT && self.end.is_none() && !self.is_leaving
    }

    /// Queues a segment.
    pub(crate) fn push_segment(&mut self, segment: &Segment) {
        self.traffic.frames_out.fetch_add(1, Ordering::Relaxed);
        if segment.payload.len() <= COPY_UP_TO {
            segment.encode(&mut self.plain);
            if self.plain.len() >= GATHERED {
                self.encrypt(&Bytes::new());
            }
        } else {
            segment.encode_header(&mut self.plain);
            self.encrypt(&segment.payload);
        }
    }

    /// Queues link state.
    pub(crate) fn push_link_state(&mut self, message: &[u8]) {
        self.traffic.frames_out.fetch_add(1, Ordering::Relaxed);
        encode_link_state(message, &mut self.plain);
    }

    /// Queues a sign of life.
    pub(crate) fn push_heartbeat(&mut self, now: Instant, micros: u64) {
        self.traffic.frames_out.fetch_add(1, Ordering::Relaxed);
        let held =
            |at: Instant| u32::try_from(now.saturating_duration_since(at).as_micros()).unwrap_or(u32::MAX);
        let (echo, held) = self.heartbeat.map_or((0, 0), |(sent, at)| (sent, held(at)));
        Heartbeat { sent: micros, echo, held }.encode(&mut self.plain);
    }

    /// A sign of life has come.
    pub(crate) fn take_heartbeat(&mut self, now: Instant, micros: u64, heartbeat: &Heartbeat) {
        self.heartbeat = Some((heartbeat.sent, now));
        if let Some(round_trip) = heartbeat.round_trip(micros) {
            self.traffic.round_trip_micros.store(round_trip.max(1), Ordering::Relaxed);
        }
    }

    /// When the last frame left.
    pub(crate) fn said_at(&self) -> Instant {
        self.said_at
    }

    fn encrypt(&mut self, payload: &Bytes) {
        let size = self.plain.len() + payload.len();
        if size == 0 {
            return;
        }
        let slices = [std::io::IoSlice::new(&self.plain), std::io::IoSlice::new(payload)];
        self.secured.send(slices.get(..if payload.is_empty() { 1 } else { 2 }).unwrap_or(&slices));
        self.buffered += size;
        self.plain.clear();
    }

    /// Encrypts what is queued, and writes as much as the socket takes.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.is_dirty = false;
        self.encrypt(&Bytes::new());
        if self.wants_write || !self.secured.wants_write() {
            return;
        }
        let (written, result) = self.secured.write_to(&mut Socket(&self.stream));
        if written > 0 {
            self.said_at = now;
            self.traffic.bytes_out.fetch_add(written as u64, Ordering::Relaxed);
        }
        // Records are longer than what is in them, so this is a little early at times.
        self.buffered = self.buffered.saturating_sub(written);
        match result {
            Ok(()) => self.buffered = 0,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.wants_write = true;
                self.waker.wake_by_ref();
            }
            Err(error) => self.finish(format!("writing failed: {error}")),
        }
    }

    /// The connection ends; the first reason counts.
    pub(crate) fn finish(&mut self, reason: String) {
        self.end.get_or_insert(reason);
        self.waker.wake_by_ref();
    }

    /// Says good-bye, as far as the socket takes it at once. What the peer has sent meanwhile is read until it
    /// has closed its end: a socket that is closed with something unread takes back what it has sent.
    pub(crate) fn say_goodbye(&mut self, now: Instant) {
        self.encrypt(&Bytes::new());
        self.secured.say_goodbye();
        self.flush(now);
        self.is_leaving = true;
        if socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write).is_err() {
            self.finish("the other node has closed it".to_owned());
        }
    }
}
