//! The entries of one priority, in the order in which they came.
//!
//! An entry is found by its sequence: it stands in the chunk of 32 that the sequence falls into. Adding,
//! finding and removing take constant time wherever it stands. A chunk that has lost all its entries is
//! freed; one that has lost most of them is packed, and where chunks have become few and far between
//! they are found through a tree, so that a message that nobody wants for a year costs what it needs
//! itself and not what went past it.
//!
//! Each chunk has bits that say which entries are *open* (available, so that a consumer may get them) and
//! which of those are *cold* (their bodies have to be loaded). An entry that is taken and comes back only
//! changes its bit: it never lost its place.
//!
//! The *frontier* is the first entry that is still being stored: nothing from there on is handed out.
//!
//! Times are kept for each chunk, not for each entry: a chunk is looked at when the first of its entries
//! is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::entry::{Entry, NEVER, State};
use crate::store::UnixMillis;

/// Entries of a chunk: the bits of a `u32`.
const CHUNK: u64 = 32;
/// So many empty chunks are kept: what is in flight at a time goes round without allocating.
const MAX_SPARE: usize = 8;
/// A chunk with so few entries is packed.
const SPARSE: u32 = 8;
/// So many empty places may stand between chunks for each chunk, and these on top.
const GAPS: usize = 4;
const FREE_GAPS: usize = 16;
/// Times to live are looked at in steps of so many milliseconds, so that messages that end shortly after
/// each other end together.
const EXPIRY_STEP: u64 = 128;

#[derive(Debug, Default)]
struct Slot {
    open: u32,
    cold: u32,
    chunk: Option<Box<Chunk>>,
}

#[derive(Debug)]
struct Chunk {
    present: u32,
    /// The place of the first entry: those before were never in this chunk.
    start: u8,
    /// The entries stand without gaps, so the place of one is the number of those before it.
    packed: bool,
    /// When it is to be looked at.
    wake: UnixMillis,
    entries: Vec<Option<Entry>>,
}

/// The entries of one priority.
#[derive(Debug)]
pub(super) struct Row {
    /// Chunks from number `base` on, as far as there are any.
    recent: VecDeque<Slot>,
    base: u64,
    /// Slots of `recent` with a chunk.
    occupied: usize,
    /// Chunks before `base`.
    old: BTreeMap<u64, Slot>,
    /// Open entries in `old`.
    old_open: u64,
    /// The sequence of the next entry.
    next: u64,
    /// No chunk before this one has an open entry.
    hint: u64,
    len: u64,
    open: u64,
    storing: u64,
    frontier: u64,
    /// When chunks are to be looked at.
    timers: BTreeSet<(UnixMillis, u64)>,
    /// Empty chunks, for the next that are needed.
    #[expect(clippy::vec_box, reason = "they go from here to their places as they are")]
    spare: Vec<Box<Chunk>>,
}

impl Chunk {
    fn new(start: u64, capacity: usize) -> Box<Self> {
        Box::new(Self {
            present: 0,
            start: start as u8,
            packed: false,
            wake: NEVER,
            entries: Vec::with_capacity(capacity),
        })
    }

    /// Where the entry of a bit stands, when it is there.
    #[inline]
    fn index(&self, bit: u32) -> Option<usize> {
        if self.present & bit == 0 {
            return None;
        }
        Some(if self.packed {
            (self.present & (bit - 1)).count_ones() as usize
        } else {
            (bit.trailing_zeros() as usize).wrapping_sub(usize::from(self.start))
        })
    }

    #[inline]
    fn get(&self, bit: u32) -> Option<&Entry> {
        self.entries.get(self.index(bit)?)?.as_ref()
    }

    #[inline]
    fn get_mut(&mut self, bit: u32) -> Option<&mut Entry> {
        let index = self.index(bit)?;
        self.entries.get_mut(index)?.as_mut()
    }

    #[inline]
    fn remove(&mut self, bit: u32) -> Option<Entry> {
        let index = self.index(bit)?;
        self.present &= !bit;
        if !self.packed {
            return self.entries.get_mut(index)?.take();
        }
        let entry = self.entries.remove(index);
        if 2 * self.entries.len() <= self.entries.capacity() {
            self.entries.shrink_to_fit();
        }
        entry
    }

    fn pack(&mut self) {
        if !self.packed {
            self.entries.retain(Option::is_some);
            self.entries.shrink_to_fit();
            self.packed = true;
        }
    }

    fn reset(&mut self, start: u64) {
        self.entries.clear();
        self.present = 0;
        self.packed = false;
        self.start = start as u8;
    }
}

/// A spare chunk, or a new one.
fn new_chunk(spare: Option<Box<Chunk>>, start: u64, is_small: bool) -> Box<Chunk> {
    match spare {
        Some(mut chunk) => {
            chunk.reset(start);
            chunk
        }
        None => Chunk::new(start, if is_small { 0 } else { CHUNK as usize }),
    }
}

#[inline]
fn bit(sequence: u64) -> u32 {
    1 << (sequence % CHUNK)
}

impl Row {
    /// An empty row; its first entry has the sequence `next`.
    pub(super) fn new(next: u64) -> Self {
        Self {
            recent: VecDeque::new(),
            base: next / CHUNK,
            occupied: 0,
            old: BTreeMap::new(),
            old_open: 0,
            next,
            hint: next / CHUNK,
            len: 0,
            open: 0,
            storing: 0,
            frontier: u64::MAX,
            timers: BTreeSet::new(),
            spare: Vec::new(),
        }
    }

    /// The sequence of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where entries begin that are not to be handed out yet.
    pub(super) fn frontier(&self) -> u64 {
        self.frontier.min(self.next)
    }

    /// Adds an entry at the end; a consumer may get it if it is available.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) -> u64 {
        let sequence = self.next;
        self.next += 1;
        let number = sequence / CHUNK;
        if self.recent.is_empty() {
            self.base = number;
        }
        if self.base + self.recent.len() as u64 <= number {
            self.recent.push_back(Slot::default());
            self.thin_out();
        }
        let is_open = matches!(entry.state, State::Available);
        if matches!(entry.state, State::Storing { .. }) {
            self.storing += 1;
            self.frontier = self.frontier.min(sequence);
        }
        let has_time = entry.expires != NEVER || matches!(entry.state, State::Delayed { .. });
        let is_small = self.len < CHUNK;
        if let Some(slot) = self.recent.back_mut() {
            let chunk = slot.chunk.get_or_insert_with(|| {
                self.occupied += 1;
                new_chunk(self.spare.pop(), sequence % CHUNK, is_small)
            });
            chunk.entries.push(Some(entry));
            chunk.present |= bit(sequence);
            self.len += 1;
            if is_open {
                slot.open |= bit(sequence);
                self.open += 1;
                self.hint = self.hint.min(number);
            }
        }
        if has_time {
            self.arm(sequence);
        }
        sequence
    }

    #[inline]
    fn slot(&self, number: u64) -> Option<&Slot> {
        if number >= self.base {
            self.recent.get((number - self.base) as usize)
        } else {
            self.old.get(&number)
        }
    }

    #[inline]
    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot> {
        if number >= self.base {
            self.recent.get_mut((number - self.base) as usize)
        } else {
            self.old.get_mut(&number)
        }
    }

    #[inline]
    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        self.slot(sequence / CHUNK)?.chunk.as_ref()?.get(bit(sequence))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        self.slot_mut(sequence / CHUNK)?.chunk.as_mut()?.get_mut(bit(sequence))
    }

    #[inline]
    pub(super) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let (number, bit) = (sequence / CHUNK, bit(sequence));
        let is_old = number < self.base;
        let is_tail = number == self.next / CHUNK;
        let is_front = number == self.base;
        let slot = self.slot_mut(number)?;
        let chunk = slot.chunk.as_mut()?;
        let entry = chunk.remove(bit)?;
        let was_open = slot.open & bit != 0;
        slot.open &= !bit;
        slot.cold &= !bit;
        if chunk.present == 0 {
            self.empty(number, is_tail);
        } else if !is_front && !is_tail && !chunk.packed && chunk.present.count_ones() <= SPARSE {
            chunk.pack();
        }
        self.len -= 1;
        if was_open {
            self.open -= 1;
            self.old_open -= u64::from(is_old);
        }
        Some(entry)
    }

    /// A chunk has no entry left: the last one goes on where it is, the others are freed.
    fn empty(&mut self, number: u64, is_tail: bool) {
        if !is_tail {
            return self.free(number);
        }
        self.disarm(number);
        let next = self.next % CHUNK;
        if let Some(chunk) = self.slot_mut(number).and_then(|slot| slot.chunk.as_mut()) {
            chunk.reset(next);
        }
    }

    /// A consumer gets an entry that was open: the entry, to be changed by the caller.
    #[inline]
    pub(super) fn close(&mut self, sequence: u64) -> Option<&mut Entry> {
        let (number, bit) = (sequence / CHUNK, bit(sequence));
        let Self { recent, old, base, open, old_open, .. } = self;
        let is_old = number < *base;
        let slot = if is_old { old.get_mut(&number)? } else { recent.get_mut((number - *base) as usize)? };
        if slot.open & bit != 0 {
            slot.open &= !bit;
            *open -= 1;
            *old_open -= u64::from(is_old);
        }
        slot.chunk.as_mut()?.get_mut(bit)
    }

    /// Frees a chunk that has no entry left, and the empty places in front.
    fn free(&mut self, number: u64) {
        self.disarm(number);
        let chunk = if number >= self.base {
            let chunk = self.slot_mut(number).and_then(|slot| slot.chunk.take());
            self.occupied -= usize::from(chunk.is_some());
            while self.recent.front().is_some_and(|slot| slot.chunk.is_none()) {
                self.recent.pop_front();
                self.base += 1;
            }
            chunk
        } else {
            self.old.remove(&number).and_then(|slot| slot.chunk)
        };
        if self.spare.len() < MAX_SPARE
            && let Some(chunk) = chunk.filter(|chunk| !chunk.packed)
        {
            self.spare.push(chunk);
        }
    }

    /// Moves chunks that stand far apart into the tree.
    fn thin_out(&mut self) {
        while self.recent.len() > FREE_GAPS + GAPS * self.occupied {
            let Some(mut slot) = self.recent.pop_front() else { return };
            if let Some(chunk) = &mut slot.chunk {
                chunk.pack();
                self.occupied -= 1;
                self.old_open += u64::from(slot.open.count_ones());
                self.old.insert(self.base, slot);
            }
            self.base += 1;
        }
    }

    /// Says whether a consumer may get the entry.
    #[inline]
    pub(super) fn set_open(&mut self, sequence: u64, open: bool) {
        let number = sequence / CHUNK;
        let is_old = number < self.base;
        let Some(slot) = self.slot_mut(number) else { return };
        let bit = bit(sequence);
        if (slot.open & bit != 0) == open {
            return;
        }
        slot.open ^= bit;
        if open {
            self.open += 1;
            self.old_open += u64::from(is_old);
            self.hint = self.hint.min(number);
        } else {
            self.open -= 1;
            self.old_open -= u64::from(is_old);
        }
    }

    #[inline]
    pub(super) fn is_open(&self, sequence: u64) -> bool {
        self.slot(sequence / CHUNK).is_some_and(|slot| slot.open & bit(sequence) != 0)
    }

    /// Says whether the body of the entry has to be loaded and nobody has asked for it.
    pub(super) fn set_cold(&mut self, sequence: u64, cold: bool) {
        let Some(slot) = self.slot_mut(sequence / CHUNK) else { return };
        if cold {
            slot.cold |= bit(sequence);
        } else {
            slot.cold &= !bit(sequence);
        }
    }

    /// The first sequence from `from` on whose bit is among `bits`.
    fn find(&self, from: u64, skip_old: bool, bits: impl Fn(&Slot) -> u32) -> Option<u64> {
        let first = from / CHUNK;
        let found = |number: u64, slot: &Slot| {
            let wanted = if number == first { u32::MAX << (from % CHUNK) } else { u32::MAX };
            let bits = bits(slot) & wanted;
            (bits != 0).then(|| number * CHUNK + u64::from(bits.trailing_zeros()))
        };
        if first < self.base
            && !skip_old
            && let Some(sequence) = self.old.range(first..).find_map(|(number, slot)| found(*number, slot))
        {
            return Some(sequence);
        }
        let skip = (first.saturating_sub(self.base) as usize).min(self.recent.len());
        let numbers = self.base + skip as u64..;
        numbers.zip(self.recent.range(skip..)).find_map(|(number, slot)| found(number, slot))
    }

    /// The first entry that a consumer may get.
    #[inline]
    pub(super) fn first_open(&mut self) -> Option<u64> {
        if self.open == 0 {
            return None;
        }
        let sequence = match self.slot(self.hint) {
            Some(slot) if slot.open != 0 => self.hint * CHUNK + u64::from(slot.open.trailing_zeros()),
            _ => self.find(self.hint * CHUNK, self.old_open == 0, |slot| slot.open)?,
        };
        self.hint = sequence / CHUNK;
        (sequence < self.frontier).then_some(sequence)
    }

    /// The first entry from `from` on that a consumer may get.
    pub(super) fn next_open(&self, from: u64) -> Option<u64> {
        if self.open == 0 {
            return None;
        }
        let from = from.max(self.hint * CHUNK);
        self.find(from, self.old_open == 0, |slot| slot.open).filter(|sequence| *sequence < self.frontier)
    }

    /// The first entry from `from` on that is available, whether or not it may be handed out.
    pub(super) fn next_available(&mut self, from: u64) -> Option<u64> {
        if self.open == 0 {
            return None;
        }
        let first = self.hint * CHUNK;
        let sequence = self.find(from.max(first), self.old_open == 0, |slot| slot.open)?;
        if from <= first {
            self.hint = sequence / CHUNK;
        }
        Some(sequence)
    }

    /// The first entry from `from` on, and before `end`, that waits for its time.
    pub(super) fn next_delayed(&self, from: u64, end: Option<u64>) -> Option<u64> {
        let mut next = self.next_present(from);
        while let Some(sequence) = next.filter(|sequence| end.is_none_or(|end| *sequence < end)) {
            if matches!(self.get(sequence)?.state, State::Delayed { .. }) {
                return Some(sequence);
            }
            next = self.next_present(sequence + 1);
        }
        None
    }

    /// The first entry from `from` on that a consumer may get and whose body has to be loaded.
    pub(super) fn next_cold(&self, from: u64) -> Option<u64> {
        if self.open == 0 {
            return None;
        }
        let from = from.max(self.hint * CHUNK);
        let found = self.find(from, self.old_open == 0, |slot| slot.open & slot.cold);
        found.filter(|sequence| *sequence < self.frontier)
    }

    /// The first entry from `from` on.
    pub(super) fn next_present(&self, from: u64) -> Option<u64> {
        self.find(from, false, |slot| slot.chunk.as_ref().map_or(0, |chunk| chunk.present))
    }

    /// An entry is not being stored any more, or gone.
    pub(super) fn end_storing(&mut self, sequence: u64) {
        self.storing -= 1;
        if sequence != self.frontier {
            return;
        }
        if self.storing == 0 {
            self.frontier = u64::MAX;
            return;
        }
        // The frontier only moves on, so each entry is passed once.
        let mut next = self.next_present(sequence + 1);
        while let Some(sequence) = next
            && self.get(sequence).is_some_and(|entry| !entry.is_storing())
        {
            next = self.next_present(sequence + 1);
        }
        self.frontier = next.unwrap_or(u64::MAX);
    }

    /// Has the chunk of an entry looked at in time for the entry.
    pub(super) fn arm(&mut self, sequence: u64) {
        let Some(entry) = self.get(sequence) else { return };
        let at = match entry.state {
            State::Available => end_of_step(entry.expires),
            State::Delayed { until } => until.min(end_of_step(entry.expires)),
            State::Storing { .. } | State::Acquired { .. } | State::Leaving => NEVER,
        };
        if at == NEVER {
            return;
        }
        let number = sequence / CHUNK;
        let Some(chunk) = self.slot_mut(number).and_then(|slot| slot.chunk.as_mut()) else { return };
        if at >= chunk.wake {
            return;
        }
        let before = std::mem::replace(&mut chunk.wake, at);
        if before != NEVER {
            self.timers.remove(&(before, number));
        }
        self.timers.insert((at, number));
    }

    fn disarm(&mut self, number: u64) {
        let Some(chunk) = self.slot_mut(number).and_then(|slot| slot.chunk.as_mut()) else { return };
        let wake = std::mem::replace(&mut chunk.wake, NEVER);
        if wake != NEVER {
            self.timers.remove(&(wake, number));
        }
    }

    /// When the first chunk is to be looked at.
    pub(super) fn first_timer(&self) -> Option<UnixMillis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The entries of the first chunk that is to be looked at now: a range of sequences. Each one that is
    /// still to wait has to be armed again.
    pub(super) fn due(&mut self, now: UnixMillis) -> Option<std::ops::Range<u64>> {
        let (_, number) = *self.timers.first().filter(|(at, _)| *at <= now)?;
        self.disarm(number);
        Some(number * CHUNK..(number + 1) * CHUNK)
    }

    /// Gives back what an empty row keeps for later.
    pub(super) fn trim(&mut self) {
        self.spare = Vec::new();
        if self.len == 0 {
            self.recent = VecDeque::new();
            self.occupied = 0;
            self.base = self.next / CHUNK;
        }
    }

    /// Panics unless what is counted is there.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let slots = self.recent.iter().enumerate().map(|(index, slot)| (self.base + index as u64, slot));
        let all: Vec<(u64, &Slot)> =
            self.old.iter().map(|(number, slot)| (*number, slot)).chain(slots).collect();
        let (mut len, mut open, mut storing, mut timers) = (0, 0, 0, 0);
        for (number, slot) in &all {
            open += u64::from(slot.open.count_ones());
            let Some(chunk) = &slot.chunk else {
                assert_eq!((slot.open, slot.cold), (0, 0));
                continue;
            };
            assert_eq!(chunk.present.count_ones() as usize, chunk.entries.iter().flatten().count());
            len += u64::from(chunk.present.count_ones());
            if chunk.wake != NEVER {
                timers += 1;
                assert!(self.timers.contains(&(chunk.wake, *number)));
            }
            for place in 0..CHUNK {
                let sequence = number * CHUNK + place;
                let entry = chunk.get(bit(sequence));
                let is_open = slot.open & bit(sequence) != 0;
                let is_cold = slot.cold & bit(sequence) != 0;
                assert_eq!(is_open, entry.is_some_and(|entry| entry.state == State::Available));
                let is_loading = |entry: &Entry| entry.is(super::entry::Flag::Loading);
                assert_eq!(is_cold, entry.is_some_and(|entry| entry.body.is_none() && !is_loading(entry)));
                if let Some(entry) = entry
                    && entry.is_storing()
                {
                    storing += 1;
                    assert!(self.frontier <= sequence);
                }
            }
        }
        assert_eq!((len, open, storing), (self.len, self.open, self.storing));
        assert_eq!(timers, self.timers.len());
        assert_eq!(self.occupied, self.recent.iter().filter(|slot| slot.chunk.is_some()).count());
        let old_open = self.old.values().map(|slot| u64::from(slot.open.count_ones())).sum::<u64>();
        assert_eq!(self.old_open, old_open);
    }

    /// Places for entries that take memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let slots = self.recent.iter().chain(self.old.values());
        slots.filter_map(|slot| slot.chunk.as_ref()).map(|chunk| chunk.entries.capacity()).sum()
    }

    /// Places for chunks.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.recent.len() + self.old.len()
    }
}

/// The end of the step in which a time to live ends.
fn end_of_step(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0.checked_next_multiple_of(EXPIRY_STEP).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::queue::entry::Arrival;

    fn entry(state: State) -> Entry {
        let mut entry = Entry::new(&Arrival::default(), state);
        entry.body = Some(Bytes::new());
        entry
    }

    /// Changes the state of an entry as the queue does.
    fn set_state(row: &mut Row, sequence: u64, state: State) {
        let Some(entry) = row.get_mut(sequence) else { panic!("{sequence} is not there") };
        let before = std::mem::replace(&mut entry.state, state);
        row.set_open(sequence, state == State::Available);
        if matches!(before, State::Storing { .. }) {
            row.end_storing(sequence);
        }
    }

    /// The row finds what a tree finds that is looked through from the start.
    fn compare(row: &mut Row, model: &BTreeMap<u64, State>, from: u64) {
        let is_storing = |state: &State| matches!(state, State::Storing { .. });
        let frontier =
            model.iter().find(|(_, state)| is_storing(state)).map_or(u64::MAX, |(first, _)| *first);
        let open = |from: u64| {
            let mut open = model.range(from..frontier).filter(|(_, state)| **state == State::Available);
            open.next().map(|(sequence, _)| *sequence)
        };
        assert_eq!(row.first_open(), open(0));
        assert_eq!(row.next_open(from.min(frontier)), open(from.min(frontier)));
        assert_eq!(row.next_present(from), model.range(from..).next().map(|(sequence, _)| *sequence));
    }

    #[test]
    fn random_entries_are_found_where_they_stand() {
        let mut far_apart = 0;
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut row = Row::new(random.u64(..1_000));
            let mut model: BTreeMap<u64, State> = BTreeMap::new();
            // Each so many-th stays long: few of them make chunks stand far apart.
            let stragglers = random.u64(2..800);
            for round in 0..200 {
                for _ in 0..random.u32(..120) {
                    let state = match random.u32(..200) {
                        0 => State::Storing { until: UnixMillis(0) },
                        1..3 => State::Leaving,
                        _ => State::Available,
                    };
                    let sequence = row.push(entry(state));
                    assert!(model.insert(sequence, state).is_none());
                }
                let all: Vec<u64> = model.keys().copied().collect();
                for sequence in all {
                    match random.u32(..20) {
                        _ if sequence % stragglers == 0 && random.u32(..150) > 0 => {}
                        0 => {
                            let state = if random.bool() { State::Available } else { State::Leaving };
                            set_state(&mut row, sequence, state);
                            model.insert(sequence, state);
                        }
                        1 if round % 8 > 0 => {}
                        _ => {
                            let state = row.remove(sequence).map(|entry| entry.state);
                            assert_eq!(state, model.remove(&sequence));
                            if matches!(state, Some(State::Storing { .. })) {
                                row.end_storing(sequence);
                            }
                        }
                    }
                }
                let from = random.u64(..row.next() + 2);
                compare(&mut row, &model, from);
                row.check();
                far_apart += row.old.len();
                if random.u32(..20) == 0 {
                    row.trim();
                }
            }
        }
        assert!(far_apart > 0, "chunks never stood far apart");
    }
}
