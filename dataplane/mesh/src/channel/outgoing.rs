//! The sending half of a session: batches, windows, what is under way.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{ChannelOptions, MAX_RANGES, SEGMENT_COST, SendError, check_length};
use crate::frame::{MAX_PAYLOAD, SegmentFlags};

/// Bytes of the length before a message that shares a segment.
const PREFIX: usize = 2;

/// The largest message that fits into one segment.
const MAX_WHOLE: usize = MAX_PAYLOAD - PREFIX;

/// The buffer that messages are gathered in, at least: little for a channel that says little.
const BATCH: usize = 16 * 1024;

/// Messages put together elsewhere are copied behind what waits when they have so many bytes at most.
const COPIED_RUN: usize = 4 * 1024;

/// What may be under way at first.
const FIRST_WINDOW: usize = 512 * 1024;

/// However much is lost, one segment may be under way.
const SMALLEST_WINDOW: usize = MAX_PAYLOAD + SEGMENT_COST;

/// What travels in one segment.
#[derive(Clone)]
pub(super) struct Data {
    pub(super) kind: SegmentFlags,
    pub(super) message_length: u32,
    pub(super) payload: Bytes,
}

impl Data {
    pub(super) fn cost(&self) -> usize {
        self.payload.len() + SEGMENT_COST
    }
}

/// How far a segment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not sent yet, or lost.
    Here,
    UnderWay {
        since: Instant,
    },
    /// At the other end, behind a gap.
    There,
}

struct Kept {
    data: Data,
    place: Place,
    is_retransmitted: bool,
}

/// What has been given to the channel and is not acknowledged.
///
/// `kept` holds, in this order: segments under way or lost, from number `first` to before `next`, and
/// whole segments not sent yet. Behind them is the `batch`, which becomes a segment when it is full or
/// when it is its turn to be sent.
pub(super) struct Outgoing {
    batch: BytesMut,
    /// Bytes of the last one, which the next one probably needs, too.
    last_batch: usize,
    kept: VecDeque<Kept>,
    first: u64,
    next: u64,
    /// Bytes in `kept`.
    bytes: usize,
    /// What the segments cost that are under way.
    under_way: usize,
    /// Numbers of lost segments, to be sent again.
    lost: VecDeque<u64>,
    /// What may be under way now.
    window: usize,
    largest_window: usize,
    /// Below it the window grows by what is acknowledged, above it by a segment for each window.
    threshold: usize,
    /// Losses before this number are one event.
    recovered_at: u64,
    smoothed: Option<Duration>,
    probe_after: (Duration, Duration),
    /// Questions since the last progress.
    probes: u32,
    probe_at: Option<Instant>,
    is_probe_due: bool,
    pub(super) messages: u64,
    pub(super) sent: u64,
    pub(super) retransmitted: u64,
}

impl Outgoing {
    pub(super) fn new(options: &ChannelOptions) -> Self {
        Self {
            batch: BytesMut::new(),
            last_batch: 0,
            kept: VecDeque::new(),
            first: 0,
            next: 0,
            bytes: 0,
            under_way: 0,
            lost: VecDeque::new(),
            window: options.window.min(FIRST_WINDOW),
            largest_window: options.window,
            threshold: options.window,
            recovered_at: 0,
            smoothed: None,
            probe_after: options.probe_after,
            probes: 0,
            probe_at: None,
            is_probe_due: false,
            messages: 0,
            sent: 0,
            retransmitted: 0,
        }
    }

    /// Forgets everything but the counters.
    pub(super) fn clear(&mut self) {
        self.batch = BytesMut::new();
        self.last_batch = 0;
        self.kept = VecDeque::new();
        self.lost.clear();
        (self.first, self.next, self.recovered_at) = (0, 0, 0);
        (self.bytes, self.under_way) = (0, 0);
        self.window = self.largest_window.min(FIRST_WINDOW);
        self.threshold = self.largest_window;
        self.probes = 0;
        self.probe_at = None;
        self.is_probe_due = false;
    }

    /// The number of the next segment with data that is sent for the first time.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn kept(&self) -> usize {
        self.bytes + self.batch.len()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Takes a message of a length that the caller has checked.
    pub(super) fn send(&mut self, mut message: impl Buf) {
        let length = message.remaining();
        if length > MAX_WHOLE {
            self.seal();
            self.cut(message);
        } else {
            self.make_room(PREFIX + length);
            self.batch.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
            while message.has_remaining() {
                let chunk = message.chunk();
                self.batch.extend_from_slice(chunk);
                let count = chunk.len();
                message.advance(count);
            }
        }
        self.messages += 1;
    }

    /// Takes so many messages as they stand in a segment, into which the caller has checked that they fit.
    pub(super) fn send_run(&mut self, messages: BytesMut, count: u32) {
        let fits = self.batch.len() + messages.len() <= MAX_PAYLOAD;
        if !self.batch.is_empty() && fits && messages.len() <= COPIED_RUN {
            self.batch.extend_from_slice(&messages);
        } else {
            self.seal();
            self.batch = messages;
        }
        self.messages += u64::from(count);
    }

    /// Takes the message that `write` appends, and what it returns to follow.
    pub(super) fn send_with<E: From<SendError>>(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<Bytes, E>,
    ) -> Result<(), E> {
        self.make_room(PREFIX);
        let start = self.batch.len();
        self.batch.put_u16(0);
        let tail = match write(&mut self.batch) {
            Ok(tail) => tail,
            Err(error) => {
                self.batch.truncate(start);
                return Err(error);
            }
        };
        let head = self.batch.len().saturating_sub(start + PREFIX);
        if start + PREFIX + head + tail.len() > MAX_PAYLOAD {
            return Ok(self.take_out(start, head, tail)?);
        }
        self.batch.extend_from_slice(&tail);
        self.set_prefix(start, head + tail.len());
        self.messages += 1;
        Ok(())
    }

    /// The message at the end of the batch does not fit there: it begins the next one, or is cut.
    fn take_out(&mut self, start: usize, head: usize, tail: Bytes) -> Result<(), SendError> {
        let length = head.saturating_add(tail.len());
        let mut message = self.batch.split_off(start);
        check_length(length)?;
        self.seal();
        if length > MAX_WHOLE {
            message.advance(PREFIX);
            self.cut(message.freeze().chain(tail));
        } else {
            self.batch = message;
            self.batch.extend_from_slice(&tail);
            self.set_prefix(0, length);
        }
        self.messages += 1;
        Ok(())
    }

    fn set_prefix(&mut self, start: usize, length: usize) {
        if let Some(mut prefix) = self.batch.get_mut(start..start + PREFIX) {
            prefix.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        }
    }

    fn make_room(&mut self, count: usize) {
        if self.batch.len() + count > MAX_PAYLOAD {
            self.seal();
        }
        let likely = self.last_batch.max(count);
        if self.batch.is_empty() && self.batch.capacity() < likely {
            // Growing would copy what is in it, some times over.
            self.batch = BytesMut::with_capacity(likely.next_multiple_of(BATCH));
        }
    }

    /// Makes a segment of the messages gathered.
    fn seal(&mut self) {
        if !self.batch.is_empty() {
            let payload = self.batch.split().freeze();
            self.last_batch = payload.len();
            self.push(Data { kind: SegmentFlags::MESSAGES, message_length: 0, payload });
        }
    }

    fn cut(&mut self, mut message: impl Buf) {
        let mut message_length = u32::try_from(message.remaining()).unwrap_or(u32::MAX);
        while message.has_remaining() {
            let payload = message.copy_to_bytes(message.remaining().min(MAX_PAYLOAD));
            self.push(Data { kind: SegmentFlags::PIECE, message_length, payload });
            message_length = 0;
        }
    }

    fn push(&mut self, data: Data) {
        self.bytes += data.payload.len();
        self.kept.push_back(Kept { data, place: Place::Here, is_retransmitted: false });
    }

    /// The next segment with data, and its number: what is lost goes before what is new.
    pub(super) fn poll_data(&mut self, now: Instant) -> Option<(u64, Data)> {
        while self.lost.front().is_some_and(|lost| *lost < self.first) {
            self.lost.pop_front();
        }
        let number = match self.lost.front() {
            Some(lost) => *lost,
            None => self.next,
        };
        if self.index(number)? == self.kept.len() {
            if self.batch.is_empty() || !self.fits(self.batch.len() + SEGMENT_COST) {
                return None;
            }
            self.seal();
        }
        let index = self.index(number)?;
        let data = self.kept.get(index)?.data.clone();
        // What the other end waits for makes room by arriving.
        if !self.fits(data.cost()) && number != self.first {
            return None;
        }
        self.under_way += data.cost();
        self.note_sent(now, number);
        Some((number, data))
    }

    fn note_sent(&mut self, now: Instant, number: u64) {
        let is_first_time = number == self.next;
        if is_first_time {
            self.next += 1;
            self.sent += 1;
        } else {
            self.lost.pop_front();
            self.retransmitted += 1;
        }
        if let Some(kept) = self.index(number).and_then(|index| self.kept.get_mut(index)) {
            kept.is_retransmitted = !is_first_time;
            kept.place = Place::UnderWay { since: now };
        }
        if self.probe_at.is_none() {
            self.probe_at = Some(now + self.interval());
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// One segment may always be under way, however large it is.
    fn fits(&self, cost: usize) -> bool {
        self.under_way == 0 || self.under_way + cost <= self.window
    }

    /// Whether the other end is to be asked what has arrived.
    pub(super) fn poll_probe(&mut self) -> bool {
        std::mem::take(&mut self.is_probe_due)
    }

    /// Everything before a number has been handed out at the other end.
    pub(super) fn handle_acknowledged(&mut self, now: Instant, number: u64) -> Result<(), &'static str> {
        if number > self.next {
            return Err("an acknowledgement of what was not sent");
        }
        if number <= self.first {
            return Ok(());
        }
        let mut sample = None;
        while self.first < number {
            let Some(kept) = self.kept.pop_front() else { break };
            self.first += 1;
            self.bytes -= kept.data.payload.len();
            self.grow(kept.data.cost());
            if let Place::UnderWay { since } = kept.place {
                self.under_way -= kept.data.cost();
                sample = (!kept.is_retransmitted).then_some(since);
            }
        }
        if let Some(since) = sample {
            self.smooth(now.saturating_duration_since(since));
        }
        if self.kept() == 0 {
            // Most channels of a large fleet say little: they keep no buffer.
            self.batch = BytesMut::new();
        }
        self.expect_progress(now);
        Ok(())
    }

    /// What arrives makes room for more (as in TCP, RFC 5681): a node in the middle whose buffer is full
    /// drops, and those who share it find what it takes.
    fn grow(&mut self, acknowledged: usize) {
        let growth = if self.window < self.threshold {
            acknowledged
        } else {
            acknowledged * SMALLEST_WINDOW / self.window
        };
        self.window = self.largest_window.min(self.window + growth);
    }

    /// The other end misses segments: pairs of 32 bits, first (behind `from`) and count. What is between
    /// them has arrived.
    pub(super) fn handle_missing(
        &mut self,
        now: Instant,
        from: u64,
        mut ranges: Bytes,
    ) -> Result<(), &'static str> {
        if !ranges.len().is_multiple_of(8) || ranges.len() > 8 * MAX_RANGES {
            return Err("a list of missing segments");
        }
        let mut position = None;
        while ranges.has_remaining() {
            let first = from.saturating_add(u64::from(ranges.get_u32()));
            let end = first.saturating_add(u64::from(ranges.get_u32()));
            self.clip(position.unwrap_or(first)..first).for_each(|number| self.arrive(number));
            self.clip(first..end).for_each(|number| self.lose(now, number));
            position = Some(end);
        }
        if !self.lost.is_empty() && self.first >= self.recovered_at {
            self.recovered_at = self.next;
            self.window = (self.window / 2).max(SMALLEST_WINDOW).min(self.largest_window);
            self.threshold = self.window;
        }
        self.expect_progress(now);
        Ok(())
    }

    /// Those of the numbers that are neither acknowledged nor unsent.
    fn clip(&self, numbers: Range<u64>) -> Range<u64> {
        numbers.start.max(self.first)..numbers.end.min(self.next)
    }

    fn arrive(&mut self, number: u64) {
        let Some(kept) = self.index(number).and_then(|index| self.kept.get_mut(index)) else { return };
        if let Place::UnderWay { .. } = kept.place {
            self.under_way -= kept.data.cost();
            kept.place = Place::There;
        }
    }

    fn lose(&mut self, now: Instant, number: u64) {
        let smoothed = self.smoothed.unwrap_or_default();
        let Some(kept) = self.index(number).and_then(|index| self.kept.get_mut(index)) else { return };
        let Place::UnderWay { since } = kept.place else { return };
        // What was sent again a moment ago is still on its way there.
        if !kept.is_retransmitted || now >= since + smoothed {
            self.under_way -= kept.data.cost();
            kept.place = Place::Here;
            self.lost.push_back(number);
        }
    }

    /// Asks what has arrived, now.
    pub(super) fn ask(&mut self, now: Instant) {
        self.expect_progress(now);
        self.is_probe_due = self.first < self.next;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.probe_at.is_some_and(|at| at <= now) {
            self.is_probe_due = true;
            self.probes += 1;
            self.probe_at = Some(now + self.interval());
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.probe_at
    }

    fn expect_progress(&mut self, now: Instant) {
        self.probes = 0;
        self.probe_at = (self.first < self.next).then(|| now + self.interval());
    }

    fn interval(&self) -> Duration {
        let (shortest, longest) = self.probe_after;
        let base = self.smoothed.map_or(shortest, |smoothed| smoothed.saturating_mul(4)).max(shortest);
        base.saturating_mul(1 << self.probes.min(8)).min(longest)
    }

    fn smooth(&mut self, sample: Duration) {
        self.smoothed = Some(self.smoothed.map_or(sample, |smoothed| (smoothed * 7 + sample) / 8));
    }
}

/// Numbers only: no payload belongs into a log.
impl fmt::Debug for Outgoing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("Outgoing");
        fields.field("first", &self.first).field("next", &self.next).field("segments", &self.kept.len());
        fields.field("bytes", &self.kept()).field("under_way", &self.under_way);
        fields.field("lost", &self.lost.len()).field("window", &self.window).finish_non_exhaustive()
    }
}
