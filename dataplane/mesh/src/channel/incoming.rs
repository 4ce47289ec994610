//! The receiving half of a session: order, gaps, acknowledgements, whole messages.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::outgoing::Data;
use super::{ChannelOptions, MAX_MESSAGE, MAX_RANGES, Messages};
use crate::frame::{MAX_PAYLOAD, Segment, SegmentFlags};

/// How much is handed out before it is acknowledged without waiting for company.
const ACKNOWLEDGE_AT: usize = 64 * 1024;

/// What fills a gap may be lost, too: while other segments arrive the gap is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How far ahead of a gap a segment may be to be kept.
const MAX_AHEAD: u64 = 16 * 1024;

/// A message that comes in pieces.
struct Assembly {
    length: usize,
    bytes: BytesMut,
}

/// What the other end has sent.
pub(super) struct Incoming {
    /// Every segment before this number has arrived.
    next: u64,
    /// The other end has sent every segment before this number, as far as is known.
    seen: u64,
    /// Segments that have arrived in order and wait to be handed out.
    ready: VecDeque<Data>,
    /// What is being handed out, message by message.
    current: Bytes,
    assembly: Option<Assembly>,
    /// Segments behind a gap.
    ahead: BTreeMap<u64, Data>,
    /// What those count.
    ahead_bytes: usize,
    largest_ahead: usize,
    /// The gap that has been told begins there, and when it was told.
    told: Option<(u64, Instant)>,
    is_missing_due: bool,
    /// What has been handed out since the last acknowledgement.
    unacknowledged: usize,
    acknowledge_after: Duration,
    acknowledge_at: Option<Instant>,
    is_acknowledgement_due: bool,
    pub(super) messages: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
}

impl Incoming {
    pub(super) fn new(options: &ChannelOptions) -> Self {
        Self {
            next: 0,
            seen: 0,
            ready: VecDeque::new(),
            current: Bytes::new(),
            assembly: None,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            // The other end's window is its own affair, but this end's is a good guess of it.
            largest_ahead: options.window + MAX_PAYLOAD,
            told: None,
            is_missing_due: false,
            unacknowledged: 0,
            acknowledge_after: options.acknowledge_after,
            acknowledge_at: None,
            is_acknowledgement_due: false,
            messages: 0,
            received: 0,
            duplicates: 0,
        }
    }

    /// Forgets everything but the counters.
    pub(super) fn clear(&mut self) {
        (self.next, self.seen) = (0, 0);
        self.ready = VecDeque::new();
        self.current = Bytes::new();
        self.assembly = None;
        self.ahead.clear();
        self.ahead_bytes = 0;
        self.told = None;
        self.is_missing_due = false;
        self.acknowledge();
    }

    /// Takes what the other end says, with data or without.
    pub(super) fn handle(&mut self, now: Instant, segment: Segment) -> Result<(), &'static str> {
        let flags = segment.flags;
        if flags.contains(SegmentFlags::PROBE) {
            self.is_acknowledgement_due = true;
            self.told = None;
        }
        if flags.is_data() {
            let kind = kind(flags)?;
            let data = Data { kind, message_length: segment.message_length, payload: segment.payload };
            self.seen = self.seen.max(segment.sequence.saturating_add(1));
            self.take(segment.sequence, data);
        } else {
            self.seen = self.seen.max(segment.sequence);
        }
        let is_told = |(next, at)| next == self.next && now < at + TELL_AGAIN_AFTER;
        if self.next < self.seen && !self.told.is_some_and(is_told) {
            self.is_missing_due = true;
        }
        Ok(())
    }

    fn take(&mut self, number: u64, data: Data) {
        if number < self.next || self.ahead.contains_key(&number) {
            // The acknowledgement may be what was lost.
            self.duplicates += 1;
            self.is_acknowledgement_due = true;
        } else if number == self.next {
            self.received += 1;
            self.push(data);
            while let Some(data) = self.ahead.remove(&self.next) {
                self.ahead_bytes -= data.cost();
                self.push(data);
            }
        } else if number - self.next < MAX_AHEAD && self.ahead_bytes + data.cost() <= self.largest_ahead {
            self.received += 1;
            self.ahead_bytes += data.cost();
            self.ahead.insert(number, data);
        }
    }

    fn push(&mut self, data: Data) {
        self.next += 1;
        self.ready.push_back(data);
    }

    /// Everything before this number has been handed out, or is just being.
    pub(super) fn acknowledged(&self) -> u64 {
        self.next - self.ready.len() as u64
    }

    /// The segments that are missing, as the other end wants to hear it.
    pub(super) fn poll_missing(&mut self, now: Instant) -> Option<Bytes> {
        if !std::mem::take(&mut self.is_missing_due) || self.seen <= self.next {
            return None;
        }
        self.told = Some((self.next, now));
        let from = self.acknowledged();
        let mut ranges = BytesMut::new();
        let mut position = self.next;
        // The last pair may be empty: it says that everything up to there has arrived.
        let ends = self.ahead.keys().copied().filter(|end| *end < self.seen).chain([self.seen]);
        for end in ends {
            if position < end || end == self.seen {
                if ranges.len() == 8 * MAX_RANGES {
                    break;
                }
                ranges.put_u32(u32::try_from(position - from).unwrap_or(u32::MAX));
                ranges.put_u32(u32::try_from((end - position).min(MAX_AHEAD)).unwrap_or(u32::MAX));
            }
            position = end.saturating_add(1);
        }
        Some(ranges.freeze())
    }

    /// The next whole message.
    pub(super) fn poll_message(&mut self, now: Instant) -> Result<Option<Bytes>, &'static str> {
        while self.current.is_empty() {
            let Some(data) = self.ready.pop_front() else { return Ok(None) };
            self.count(now, data.cost());
            if data.kind == SegmentFlags::MESSAGES {
                if self.assembly.is_some() || data.payload.is_empty() {
                    return Err("no message where one must be");
                }
                self.current = data.payload;
            } else if let Some(message) = self.assemble(data)? {
                self.messages += 1;
                return Ok(Some(message));
            }
        }
        self.messages += 1;
        self.unpack().map(Some)
    }

    /// What is left of the messages that share a segment, if they come next.
    pub(super) fn poll_run(&mut self, now: Instant) -> Result<Option<Messages>, &'static str> {
        if self.current.is_empty() {
            let is_run = self.ready.front().is_some_and(|data| data.kind == SegmentFlags::MESSAGES);
            let Some(data) = is_run.then(|| self.ready.pop_front()).flatten() else { return Ok(None) };
            self.count(now, data.cost());
            if self.assembly.is_some() || data.payload.is_empty() {
                return Err("no message where one must be");
            }
            self.current = data.payload;
        }
        let run = std::mem::take(&mut self.current);
        self.messages += count_messages(&run)?;
        Ok(Some(Messages(run)))
    }

    /// What is handed out is acknowledged, soon.
    fn count(&mut self, now: Instant, cost: usize) {
        self.unacknowledged += cost;
        self.is_acknowledgement_due |= self.unacknowledged >= ACKNOWLEDGE_AT;
        if self.acknowledge_at.is_none() {
            self.acknowledge_at = Some(now + self.acknowledge_after);
        }
    }

    fn unpack(&mut self) -> Result<Bytes, &'static str> {
        if self.current.len() < 2 {
            return Err("a message without its length");
        }
        let length = usize::from(self.current.get_u16());
        if length > self.current.len() {
            return Err("a message longer than its segment");
        }
        Ok(self.current.split_to(length))
    }

    fn assemble(&mut self, data: Data) -> Result<Option<Bytes>, &'static str> {
        let assembly = match &mut self.assembly {
            Some(_) if data.message_length > 0 => return Err("a message that begins within another"),
            Some(assembly) => assembly,
            None => {
                let length = usize::try_from(data.message_length).unwrap_or(usize::MAX);
                if length == 0 || length > MAX_MESSAGE {
                    return Err("the length of a message in pieces");
                }
                self.assembly.insert(Assembly { length, bytes: BytesMut::with_capacity(length) })
            }
        };
        if data.payload.is_empty() || data.payload.len() > assembly.length - assembly.bytes.len() {
            return Err("pieces that do not make up their message");
        }
        assembly.bytes.extend_from_slice(&data.payload);
        if assembly.bytes.len() < assembly.length {
            return Ok(None);
        }
        Ok(self.assembly.take().map(|assembly| assembly.bytes.freeze()))
    }

    pub(super) fn is_acknowledgement_due(&self) -> bool {
        self.is_acknowledgement_due
    }

    /// An acknowledgement leaves.
    pub(super) fn acknowledge(&mut self) {
        self.is_acknowledgement_due = false;
        self.unacknowledged = 0;
        self.acknowledge_at = None;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.acknowledge_at.is_some_and(|at| at <= now) {
            self.acknowledge_at = None;
            self.is_acknowledgement_due = true;
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.acknowledge_at
    }
}

/// Numbers only: no payload belongs into a log.
impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("Incoming");
        fields.field("next", &self.next).field("seen", &self.seen).field("ready", &self.ready.len());
        fields.field("ahead", &self.ahead.len()).field("told", &self.told).finish_non_exhaustive()
    }
}

/// How many messages a segment holds.
fn count_messages(mut run: &[u8]) -> Result<u64, &'static str> {
    let mut count = 0;
    while !run.is_empty() {
        let (length, rest) = run.split_first_chunk().ok_or("a message without its length")?;
        let length = usize::from(u16::from_be_bytes(*length));
        run = rest.get(length..).ok_or("a message longer than its segment")?;
        count += 1;
    }
    Ok(count)
}

fn kind(flags: SegmentFlags) -> Result<SegmentFlags, &'static str> {
    let kinds = [SegmentFlags::MESSAGES, SegmentFlags::PIECE];
    let mut found = kinds.into_iter().filter(|kind| flags.contains(*kind));
    match (found.next(), found.next(), flags.contains(SegmentFlags::MISSING)) {
        (Some(kind), None, false) => Ok(kind),
        _ => Err("data of two kinds in one segment"),
    }
}
