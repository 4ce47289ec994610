//! Messages between two shards of a fleet, in order, none lost, none twice.
//!
//! # The protocol
//!
//! Each end has an *epoch*, larger whenever it begins anew, and a *session* is a pair of epochs. A segment
//! names both, as far as its sender knows, so that nothing of one session is ever taken for part of
//! another. An end that does not know yet whether the other knows it sends `OPEN`; whoever receives that
//! answers. An end is open once it has a segment that names its own epoch. A larger epoch than the known
//! one ends the session; a smaller one is an echo of the past.
//!
//! ```text
//! A                                B
//!   OPEN A1, knows nothing    →      B learns A1
//!     opened   ←   OPEN B1, knows A1
//!   A1, knows B1              →      opened
//! ```
//!
//! Within a session segments with data are numbered from 0. Every segment says up to which number all have
//! been handed out on its sender's side, so that a reader that does not poll holds back the other end. A
//! segment is sent again only when the other end has said that it is missing: by itself when a later one
//! arrives, otherwise when asked (`PROBE`) after a change of path or a time without progress. So an end that
//! is slow, stopped or behind a long line causes a few small questions, never a storm.

mod incoming;
mod outgoing;

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use self::incoming::Incoming;
use self::outgoing::Outgoing;
use crate::frame::{MAX_PAYLOAD, Segment, SegmentFlags};
use crate::identity::{Endpoint, Epoch, Incarnation};

/// Bytes of a message, at most: 32 MiB, and room for what an owner puts in front of its own.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024 + 4 * 1024;

/// What a segment counts against the window besides its payload, so that many small ones are bounded, too.
const SEGMENT_COST: usize = 1024;

/// Gaps of which one answer tells.
const MAX_RANGES: usize = 32;

/// What a channel may keep and how long it waits.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// Bytes that may be under way, neither acknowledged nor lost, as long as little is lost. Default: 4 MiB.
    pub window: usize,
    /// Bytes that may wait and be under way together; a channel that would hold more ends with
    /// [`Reset::Overrun`]. Default: 256 MiB.
    pub backlog: usize,
    /// How long an acknowledgement may wait for a segment that carries it along. Default: 50 ms.
    pub acknowledge_after: Duration,
    /// The shortest and the longest time without progress after which the channel asks what has arrived.
    /// Default: 100 ms and 2 s.
    pub probe_after: (Duration, Duration),
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            window: 4 * 1024 * 1024,
            backlog: 256 * 1024 * 1024,
            acknowledge_after: Duration::from_millis(50),
            probe_after: (Duration::from_millis(100), Duration::from_secs(2)),
        }
    }
}

/// What a channel tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// Both ends know each other: messages may be sent from here on, and arrive from here on.
    Opened {
        /// Which life of the other node it is.
        remote_incarnation: Incarnation,
    },
    /// The next message, whole. One that came in one segment is a slice of that segment, and so of the
    /// buffer in which it was read: copy what is small and kept for long. One that came in pieces is a
    /// buffer of its own.
    Message(Bytes),
    /// What the channel was has ended, and with it all that was under way either way. `Opened` comes
    /// again once both ends have begun anew.
    Reset(Reset),
}

/// Messages that have come in one segment, in order; each is a slice of that, as of [`ChannelEvent::Message`].
#[derive(Debug)]
pub struct Messages(Bytes);

impl Iterator for Messages {
    type Item = Bytes;

    #[inline]
    fn next(&mut self) -> Option<Bytes> {
        // They were looked through when they were handed out.
        let length = usize::from(self.0.try_get_u16().ok()?);
        Some(self.0.split_to(length.min(self.0.len())))
    }
}

/// Why a channel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reset {
    #[error("the other end has begun anew")]
    ByPeer,
    #[error("ended on this side")]
    Here,
    #[error("more than the {limit} bytes that may wait for the other end")]
    Overrun { limit: usize },
    #[error("the other end sent what is not a message: {what}")]
    Malformed { what: &'static str },
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    #[error("the channel is not open")]
    NotOpen,
    #[error("a message of {length} bytes, of at most {MAX_MESSAGE}")]
    TooLarge { length: usize },
}

/// What has happened on a channel since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatistics {
    pub messages_sent: u64,
    pub messages_received: u64,
    /// Segments with data, each counted once however often it was sent.
    pub segments_sent: u64,
    /// Segments with data that were new.
    pub segments_received: u64,
    pub segments_retransmitted: u64,
    /// Segments with data that came although they had come before.
    pub duplicates: u64,
    pub resets: u64,
}

/// Whether both ends know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This end does not know that the other one knows its epoch.
    Opening {
        /// When to say so again.
        again_at: Instant,
        /// How long to wait after that.
        interval: Duration,
    },
    Open {
        since: Instant,
    },
}

/// One end of a channel.
///
/// Feed it with [`send`](Self::send), [`handle_segment`](Self::handle_segment),
/// [`handle_path_changed`](Self::handle_path_changed) and [`handle_timeout`](Self::handle_timeout); after each
/// drain [`poll_event`](Self::poll_event) until it is empty (events that are left hold back the other end);
/// at the end of a turn drain [`poll_transmit`](Self::poll_transmit) for as long as the connection takes more,
/// and arm a timer from [`poll_timeout`](Self::poll_timeout). Messages of a turn share segments.
///
/// It takes messages from the moment in which [`ChannelEvent::Opened`] is polled until something resets it,
/// even before that reset is polled: what was meant for the other end's past does not reach its present.
#[derive(Debug)]
pub struct Channel {
    local: Endpoint,
    remote: Endpoint,
    options: ChannelOptions,
    epoch: Epoch,
    /// The largest epoch of the other end that this one has heard of.
    remote_epoch: Option<Epoch>,
    state: State,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The time of the last call that had one.
    now: Instant,
    /// The owner has polled `Opened` of this session.
    is_reported: bool,
    opened: Option<Incarnation>,
    ended: Option<Reset>,
    /// An `OPEN`, or an answer to one, is to be sent.
    is_answer_due: bool,
    /// Nothing is listened to before: an end that fails again and again does not do so at full speed.
    deaf_until: Option<Instant>,
    pause: Duration,
    resets: u64,
}

/// A session that lasted longer ends a series of failures.
const STEADY: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Channel {
    /// An end that begins. `epoch` must be larger than every one that a channel between the same two had
    /// here before, whose own [`epoch`](Self::epoch) may have moved on.
    pub fn new(
        now: Instant,
        local: Endpoint,
        remote: Endpoint,
        epoch: Epoch,
        options: ChannelOptions,
    ) -> Self {
        Self {
            local,
            remote,
            epoch,
            remote_epoch: None,
            state: State::Opening { again_at: now + options.probe_after.0, interval: options.probe_after.0 },
            outgoing: Outgoing::new(&options),
            incoming: Incoming::new(&options),
            options,
            now,
            is_reported: false,
            opened: None,
            ended: None,
            is_answer_due: true,
            deaf_until: None,
            pause: Duration::ZERO,
            resets: 0,
        }
    }

    /// Which beginning of this end it is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The other end.
    pub fn remote(&self) -> Endpoint {
        self.remote
    }

    /// Which life of the other node this end speaks with, or is about to. It may be later than the one that
    /// the router knows: an end that has begun anew is heard directly.
    pub fn remote_incarnation(&self) -> Option<Incarnation> {
        self.remote_epoch.map(|epoch| epoch.incarnation)
    }

    /// Whether messages may be sent.
    pub fn is_open(&self) -> bool {
        self.is_reported
    }

    /// Takes a message. Small ones are copied and share a segment; of one of more than 64 KiB that lies in
    /// one piece slices are kept.
    ///
    /// # Errors
    /// The channel is not open, or the message is too large; nothing has changed then.
    pub fn send(&mut self, message: impl Buf) -> Result<(), SendError> {
        self.check_open()?;
        let length = message.remaining();
        check_length(length)?;
        if !self.has_room(length) {
            return Err(SendError::NotOpen);
        }
        self.outgoing.send(message);
        Ok(())
    }

    /// Takes so many messages that are put together already, each behind its length (16 bits, big endian), at most
    /// [`MAX_PAYLOAD`] bytes of them: they become a segment as they are.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_run(&mut self, messages: BytesMut, count: u32) -> Result<(), SendError> {
        self.check_open()?;
        let length = messages.len();
        if length > MAX_PAYLOAD {
            return Err(SendError::TooLarge { length });
        }
        if !self.has_room(length) {
            return Err(SendError::NotOpen);
        }
        if length > 0 {
            self.outgoing.send_run(messages, count);
        }
        Ok(())
    }

    /// Takes the message that `write` appends, followed by what it returns: of that, when it is large, slices
    /// are kept. Saves a copy of the rest. `write` must only append; it is not called when the channel is not
    /// open.
    ///
    /// # Errors
    /// As of [`send`](Self::send), and those of `write`: nothing is sent then.
    pub fn send_with<E: From<SendError>>(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<Bytes, E>,
    ) -> Result<(), E> {
        self.check_open()?;
        self.outgoing.send_with(write)?;
        if !self.has_room(0) {
            return Err(SendError::NotOpen.into());
        }
        Ok(())
    }

    /// Takes what has come for this end from the other one. A segment of somebody else is left alone.
    pub fn handle_segment(&mut self, now: Instant, segment: Segment) {
        self.now = now;
        let is_ours = segment.source == self.remote && segment.destination == self.local;
        if !is_ours || self.is_deaf() {
            return;
        }
        if !self.check_source(segment.source_epoch) || !self.check_destination(segment.destination_epoch) {
            return;
        }
        self.open();
        if segment.flags.contains(SegmentFlags::OPEN) {
            self.is_answer_due = true;
        }
        if let Err(what) = self.take(segment) {
            self.fail(Reset::Malformed { what });
        }
    }

    /// Says that segments take another way from now on, so that some may have been lost. Costs one
    /// question to the other end when something is under way, nothing otherwise.
    pub fn handle_path_changed(&mut self, now: Instant) {
        self.now = now;
        match self.state {
            State::Opening { .. } => self.start_opening(),
            State::Open { .. } => self.outgoing.ask(now),
        }
    }

    /// To be called at [`poll_timeout`](Self::poll_timeout) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.deaf_until.is_some_and(|until| until <= now) {
            self.deaf_until = None;
            self.is_answer_due = true;
        }
        match &mut self.state {
            State::Opening { again_at, interval } if *again_at <= now => {
                *again_at = now + *interval;
                *interval = (*interval * 2).min(self.options.probe_after.1);
                self.is_answer_due = true;
            }
            State::Opening { .. } => {}
            State::Open { .. } => {
                self.outgoing.handle_timeout(now);
                self.incoming.handle_timeout(now);
            }
        }
    }

    /// When time alone makes the channel do something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = match self.state {
            State::Opening { again_at, .. } => Some(again_at),
            State::Open { .. } => self.outgoing.timeout().into_iter().chain(self.incoming.timeout()).min(),
        };
        next.into_iter().chain(self.deaf_until).min()
    }

    /// The messages that come next and share a segment, as far as they have not been polled as events: what
    /// [`poll_event`](Self::poll_event) would give one by one. `None` when it has something else, or nothing.
    pub fn poll_run(&mut self) -> Option<Messages> {
        if self.ended.is_some() || self.opened.is_some() {
            return None;
        }
        match self.incoming.poll_run(self.now) {
            Ok(messages) => messages,
            Err(what) => {
                self.fail(Reset::Malformed { what });
                None
            }
        }
    }

    /// The next segment to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Segment> {
        self.now = now;
        if let State::Opening { .. } = self.state {
            return std::mem::take(&mut self.is_answer_due).then(|| self.segment(SegmentFlags::OPEN));
        }
        if let Some(missing) = self.incoming.poll_missing(now) {
            let segment = Segment { payload: missing, ..self.segment(SegmentFlags::MISSING) };
            return Some(self.acknowledging(segment));
        }
        if let Some((sequence, data)) = self.outgoing.poll_data(now) {
            let segment = Segment {
                sequence,
                message_length: data.message_length,
                payload: data.payload,
                ..self.segment(data.kind)
            };
            return Some(self.acknowledging(segment));
        }
        let is_probe_due = self.outgoing.poll_probe();
        if is_probe_due || self.is_answer_due || self.incoming.is_acknowledgement_due() {
            let flags = if is_probe_due { SegmentFlags::PROBE } else { SegmentFlags::default() };
            return Some(self.acknowledging(self.segment(flags)));
        }
        None
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<ChannelEvent> {
        if let Some(reset) = self.ended.take() {
            return Some(ChannelEvent::Reset(reset));
        }
        if let Some(remote_incarnation) = self.opened.take() {
            self.is_reported = true;
            return Some(ChannelEvent::Opened { remote_incarnation });
        }
        match self.incoming.poll_message(self.now) {
            Ok(message) => message.map(ChannelEvent::Message),
            Err(what) => {
                self.fail(Reset::Malformed { what });
                self.ended.take().map(ChannelEvent::Reset)
            }
        }
    }

    /// Bytes of messages that are kept here because the other end has not acknowledged them.
    pub fn backlog(&self) -> usize {
        self.outgoing.kept()
    }

    /// Ends what the channel was and begins anew: for when the other node cannot be reached. Says
    /// [`ChannelEvent::Reset`] if it was open.
    pub fn reset(&mut self, now: Instant) {
        self.now = now;
        self.begin_anew(Reset::Here);
    }

    /// As [`reset`](Self::reset), because the other end sent what cannot be understood. When that happens
    /// again and again the channel waits before it opens, up to five seconds.
    pub fn refuse(&mut self, now: Instant, what: &'static str) {
        self.now = now;
        self.fail(Reset::Malformed { what });
    }

    /// Counters.
    pub fn statistics(&self) -> ChannelStatistics {
        ChannelStatistics {
            messages_sent: self.outgoing.messages,
            messages_received: self.incoming.messages,
            segments_sent: self.outgoing.sent,
            segments_received: self.incoming.received,
            segments_retransmitted: self.outgoing.retransmitted,
            duplicates: self.incoming.duplicates,
            resets: self.resets,
        }
    }

    /// Smoothed time from a segment to its acknowledgement, up to
    /// [`acknowledge_after`](ChannelOptions::acknowledge_after) more than the way there and back.
    pub fn round_trip(&self) -> Option<Duration> {
        self.outgoing.round_trip()
    }

    fn check_open(&self) -> Result<(), SendError> {
        if self.is_reported { Ok(()) } else { Err(SendError::NotOpen) }
    }

    /// A message cannot be left out of a stream, so a channel that may not keep it ends.
    fn has_room(&mut self, length: usize) -> bool {
        let limit = self.options.backlog;
        let has_room = self.outgoing.kept().saturating_add(length) <= limit;
        if !has_room {
            self.fail(Reset::Overrun { limit });
        }
        has_room
    }

    fn is_deaf(&self) -> bool {
        self.deaf_until.is_some_and(|until| self.now < until)
    }

    /// Compares with what is known of the other end; `false`: the segment is of its past.
    fn check_source(&mut self, epoch: Epoch) -> bool {
        match Some(epoch).cmp(&self.remote_epoch) {
            Ordering::Less => false,
            Ordering::Equal => true,
            Ordering::Greater => {
                self.end(Reset::ByPeer);
                self.remote_epoch = Some(epoch);
                self.start_opening();
                true
            }
        }
    }

    /// Whether the other end knows this one as it is now; if not, it is told.
    fn check_destination(&mut self, epoch: Option<Epoch>) -> bool {
        if epoch < Some(self.epoch) {
            self.is_answer_due = true;
        }
        epoch == Some(self.epoch)
    }

    fn open(&mut self) {
        if let (State::Opening { .. }, Some(remote)) = (self.state, self.remote_epoch) {
            self.state = State::Open { since: self.now };
            self.opened = Some(remote.incarnation);
            self.is_answer_due = false;
        }
    }

    fn take(&mut self, segment: Segment) -> Result<(), &'static str> {
        self.outgoing.handle_acknowledged(self.now, segment.acknowledged)?;
        if segment.flags.contains(SegmentFlags::MISSING) {
            let ranges = segment.payload.clone();
            self.outgoing.handle_missing(self.now, segment.acknowledged, ranges)?;
        }
        self.incoming.handle(self.now, segment)
    }

    fn fail(&mut self, reason: Reset) {
        let was_steady = matches!(self.state, State::Open { since } if self.now.saturating_duration_since(since) >= STEADY);
        self.pause =
            if was_steady { FIRST_PAUSE } else { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
        self.begin_anew(reason);
        self.deaf_until = Some(self.now + self.pause);
    }

    fn begin_anew(&mut self, reason: Reset) {
        self.end(reason);
        self.epoch = self.epoch.next();
        self.start_opening();
    }

    /// Ends the session, of which the owner hears if it has heard of its beginning.
    fn end(&mut self, reason: Reset) {
        if matches!(self.state, State::Open { .. }) {
            self.resets += 1;
        }
        self.opened = None;
        if std::mem::take(&mut self.is_reported) {
            self.ended = Some(reason);
        }
        self.outgoing.clear();
        self.incoming.clear();
    }

    fn start_opening(&mut self) {
        let interval = self.options.probe_after.0;
        self.state = State::Opening { again_at: self.now + interval, interval };
        self.is_answer_due = true;
    }

    /// A segment without data.
    fn segment(&self, flags: SegmentFlags) -> Segment {
        Segment {
            flags,
            hops_left: Segment::DEFAULT_HOPS,
            source: self.local,
            destination: self.remote,
            source_epoch: self.epoch,
            destination_epoch: self.remote_epoch,
            sequence: self.outgoing.next(),
            acknowledged: self.incoming.acknowledged(),
            message_length: 0,
            payload: Bytes::new(),
        }
    }

    /// Notes that the segment carries the acknowledgement, and so answers whatever was asked.
    fn acknowledging(&mut self, segment: Segment) -> Segment {
        self.is_answer_due = false;
        self.incoming.acknowledge();
        segment
    }
}

fn check_length(length: usize) -> Result<(), SendError> {
    if length > MAX_MESSAGE { Err(SendError::TooLarge { length }) } else { Ok(()) }
}
