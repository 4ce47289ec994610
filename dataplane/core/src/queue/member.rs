//! The consumers of a queue, and which of them is next.
//!
//! Consumers that can take a message stand in buckets by what they have and have not settled; a bitmap
//! says which buckets are not empty. So the least busy is found in constant time, whatever the number of
//! consumers. There are two sets of buckets: for *plain* consumers, which take whatever comes first, and
//! for *selective* ones, for which a message has to be looked for. A selective consumer for which there is
//! nothing is *starved*: it stands aside until a message becomes available.
//!
//! Invariant: a consumer stands in exactly the list that its `place` names.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::entry::{EntryKey, ROWS};
use crate::format::Filter;

/// A consumer of one queue. A later consumer never has the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    index: u32,
    generation: NonZeroU32,
}

impl MemberKey {
    /// The key as a number, never 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    /// The key that `to_bits` made into this number; `None` when it cannot have.
    pub fn from_bits(bits: u64) -> Option<Self> {
        Some(Self { index: bits as u32, generation: NonZeroU32::new((bits >> 32) as u32)? })
    }
}

/// How a consumer takes messages.
#[derive(Clone, Debug, Default)]
pub struct MemberOptions {
    /// Anything that the caller wants to find again in a [`Delivery`](super::Delivery).
    pub owner: u64,
    /// It only looks: what it gets stays for others, and each message is shown to it once.
    pub browse: bool,
    /// It does not share the queue.
    pub exclusive: bool,
    /// Which messages it gets.
    pub filter: Option<Arc<dyn Filter>>,
}

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it cannot take a message.
    Aside,
    /// In this bucket of the plain ones.
    Plain(u16),
    /// In this bucket of the selective ones.
    Selective(u16),
    /// The search for its next message was cut short.
    Scanning,
    /// There is nothing for it.
    Starved,
    /// What it may get next has to be loaded.
    Awaiting,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) owner: u64,
    /// The earlier it came, the lower.
    pub(super) number: u64,
    pub(super) credit: u32,
    /// Entries that it has.
    pub(super) outstanding: u32,
    pub(super) draining: bool,
    pub(super) held: bool,
    pub(super) browse: bool,
    /// Another one has the queue for itself.
    pub(super) standby: bool,
    pub(super) filter: Option<Arc<dyn Filter>>,
    /// What a selective consumer has seen; `None` for a plain one.
    pub(super) view: Option<Box<View>>,
    /// The entries that it has, in the order in which it got them, and some that it has no more.
    pub(super) has: VecDeque<EntryKey>,
    place: Place,
    /// When it came to its place: a number that grows.
    since: u64,
    previous: u32,
    next: u32,
}

/// How far a selective consumer has looked, so that it looks at each message once.
#[derive(Debug, Default)]
pub(super) struct View {
    /// For each row, the first sequence that it has not looked at.
    pub(super) cursors: [u64; ROWS],
    /// How many of the entries that came back it has looked at: see `Members::returned`.
    pub(super) returned: u64,
    /// Entries behind the cursors that it may get, and whether its filter has let them through.
    pub(super) candidates: BTreeMap<EntryKey, bool>,
    /// The entry whose body it waits for.
    pub(super) awaits: Option<EntryKey>,
}

impl View {
    pub(super) fn is_behind(&self, key: EntryKey) -> bool {
        self.cursors.get(key.row()).is_some_and(|cursor| key.sequence() < *cursor)
    }
}

impl Member {
    pub(super) fn new(options: MemberOptions, is_selective: bool) -> Self {
        Self {
            owner: options.owner,
            number: 0,
            credit: 0,
            outstanding: 0,
            draining: false,
            held: false,
            browse: options.browse,
            standby: false,
            filter: options.filter,
            view: is_selective.then(Box::default),
            has: VecDeque::new(),
            place: Place::Aside,
            since: 0,
            previous: NONE,
            next: NONE,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where it stands when it can take a message. One that is alone need not be compared with others.
    #[inline]
    fn ready_place(&self, is_alone: bool) -> Place {
        let bucket = if is_alone { 0 } else { bucket(self.outstanding) };
        if self.credit == 0 || self.held || self.standby {
            Place::Aside
        } else if self.view.is_some() {
            Place::Selective(bucket)
        } else {
            Place::Plain(bucket)
        }
    }
}

/// The end of a list, and the index of nobody.
const NONE: u32 = u32::MAX;

/// Up to so many outstanding entries each number has a bucket; beyond, buckets grow with the number.
const EXACT: u32 = 64;
/// Buckets for each doubling beyond that.
const STEPS: u32 = 16;
/// The last bucket.
const LAST: u32 = 320;

/// The bucket of a consumer with so many outstanding entries.
pub(super) fn bucket(outstanding: u32) -> u16 {
    let bucket = match outstanding.checked_ilog2() {
        Some(power) if outstanding >= EXACT => {
            let step = (outstanding >> (power - STEPS.ilog2())) % STEPS;
            EXACT + (power - EXACT.ilog2()) * STEPS + step
        }
        _ => outstanding,
    };
    bucket.min(LAST) as u16
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

#[derive(Debug, Default)]
struct Buckets {
    lists: Vec<List>,
    occupied: Vec<u64>,
}

impl Buckets {
    /// The list of a bucket, which comes with its first use.
    #[inline]
    fn list(&mut self, bucket: u16) -> Option<&mut List> {
        let index = usize::from(bucket);
        if index >= self.lists.len() {
            self.grow(index);
        }
        self.lists.get_mut(index)
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        self.lists.resize_with(index + 1, List::default);
        self.occupied.resize(index / 64 + 1, 0);
    }

    #[inline]
    fn mark(&mut self, bucket: u16, occupied: bool) {
        let index = usize::from(bucket);
        if let Some(word) = self.occupied.get_mut(index / 64) {
            if occupied {
                *word |= 1 << (index % 64);
            } else {
                *word &= !(1 << (index % 64));
            }
        }
    }

    #[inline]
    fn first(&self) -> Option<(usize, u32)> {
        let (word, bits) = self.occupied.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        let bucket = word * 64 + bits.trailing_zeros() as usize;
        Some((bucket, self.lists.get(bucket)?.first))
    }
}

#[derive(Debug)]
struct Slot {
    generation: NonZeroU32,
    member: Option<Member>,
}

/// The consumers of a queue that has any.
#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: u32,
    plain: Buckets,
    selective: Buckets,
    scanning: List,
    starved: List,
    awaiting: List,
    moves: u64,
    changes: u64,
    /// Selective ones, browsers among them.
    selectives: u32,
    /// Consumers let in so far.
    numbers: u64,
    /// Whether there may be consumers on standby.
    pub(super) has_standby: bool,
    /// Consumers that asked for their credit to be drained.
    pub(super) draining: Vec<u32>,
    /// The one that has the queue for itself because it asked for that.
    pub(super) exclusive: Option<u32>,
    /// Entries that became available again, for selective consumers that had looked at them before. The
    /// first one is number `returned_start`. A consumer that looked at fewer has to start anew.
    pub(super) returned: VecDeque<EntryKey>,
    pub(super) returned_start: u64,
    /// Bodies that selective consumers wait for, and those behind them.
    pub(super) awaited: VecDeque<EntryKey>,
    pub(super) wanted: VecDeque<EntryKey>,
}

impl Members {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn insert(&mut self, mut member: Member, generation: NonZeroU32) -> MemberKey {
        self.len += 1;
        self.numbers += 1;
        member.number = self.numbers;
        self.selectives += u32::from(member.view.is_some());
        let slot = Slot { generation, member: Some(member) };
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.slots.get_mut(index as usize) {
                    *place = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                // Links are bounded far below u32::MAX.
                (self.slots.len() - 1) as u32
            }
        };
        if self.len == 2 {
            self.indices().for_each(|index| self.settle_place(index));
        }
        MemberKey { index, generation }
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Member> {
        self.move_to(index, Place::Aside);
        let member = self.slots.get_mut(index as usize)?.member.take()?;
        self.free.push(index);
        self.len -= 1;
        self.selectives -= u32::from(member.view.is_some());
        self.draining.retain(|other| *other != index);
        if self.len == 1 {
            self.indices().for_each(|index| self.settle_place(index));
        }
        self.exclusive = self.exclusive.filter(|other| *other != index);
        Some(member)
    }

    /// The index of a consumer that is still there.
    #[inline]
    pub(super) fn index(&self, key: MemberKey) -> Option<u32> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.generation == key.generation && slot.member.is_some()).then_some(key.index)
    }

    pub(super) fn key(&self, index: u32) -> Option<MemberKey> {
        Some(MemberKey { index, generation: self.slots.get(index as usize)?.generation })
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Member> {
        self.slots.get(index as usize)?.member.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Member> {
        self.slots.get_mut(index as usize)?.member.as_mut()
    }

    /// The indices of all, in the order in which their places were made.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.slots.len() as u32).collect::<Vec<_>>().into_iter()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Member)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| slot.member.as_ref().map(|member| (index as u32, member)))
    }

    /// A consumer has to look for what it may have from now on.
    pub(super) fn make_selective(&mut self, index: u32) {
        let returned = self.returned_end();
        let Some(member) = self.get_mut(index) else { return };
        if member.view.is_none() {
            member.view = Some(Box::new(View { returned, ..View::default() }));
            self.selectives += 1;
            self.end_turn(index);
        }
    }

    /// Puts a consumer where it belongs now; one that is there already keeps its turn.
    pub(super) fn settle_place(&mut self, index: u32) {
        let Some(member) = self.get(index) else { return };
        let place = member.ready_place(self.len == 1);
        if member.place != place {
            self.move_to(index, place);
        }
    }

    /// Puts a consumer where it belongs now, behind all others there.
    #[inline]
    pub(super) fn end_turn(&mut self, index: u32) {
        let Some(member) = self.get(index) else { return };
        let place = member.ready_place(self.len == 1);
        // The only one there keeps its place.
        if member.place != place || member.previous != NONE || member.next != NONE {
            self.move_to(index, place);
        }
    }

    /// Puts a consumer behind all others of a place.
    pub(super) fn move_to(&mut self, index: u32, place: Place) {
        self.moves += 1;
        let moves = self.moves;
        let Some(member) = self.get_mut(index) else { return };
        let (before, previous, next) = (member.place, member.previous, member.next);
        member.place = place;
        member.since = moves;
        member.previous = NONE;
        member.next = NONE;
        self.unlink(before, previous, next);
        self.link(index, place);
    }

    fn list(&mut self, place: Place) -> Option<&mut List> {
        match place {
            Place::Aside => None,
            Place::Plain(bucket) => self.plain.list(bucket),
            Place::Selective(bucket) => self.selective.list(bucket),
            Place::Scanning => Some(&mut self.scanning),
            Place::Starved => Some(&mut self.starved),
            Place::Awaiting => Some(&mut self.awaiting),
        }
    }

    #[inline]
    fn unlink(&mut self, place: Place, previous: u32, next: u32) {
        if place == Place::Aside {
            return;
        }
        if let Some(member) = self.get_mut(previous) {
            member.next = next;
        }
        if let Some(member) = self.get_mut(next) {
            member.previous = previous;
        }
        let Some(list) = self.list(place) else { return };
        if previous == NONE {
            list.first = next;
        }
        if next == NONE {
            list.last = previous;
        }
        if list.first == NONE {
            match place {
                Place::Plain(bucket) => self.plain.mark(bucket, false),
                Place::Selective(bucket) => self.selective.mark(bucket, false),
                _ => {}
            }
        }
    }

    #[inline]
    fn link(&mut self, index: u32, place: Place) {
        let Some(list) = self.list(place) else { return };
        let last = std::mem::replace(&mut list.last, index);
        if last == NONE {
            list.first = index;
        }
        if let Some(member) = self.get_mut(last) {
            member.next = index;
        }
        if let Some(member) = self.get_mut(index) {
            member.previous = last;
        }
        match place {
            Place::Plain(bucket) => self.plain.mark(bucket, true),
            Place::Selective(bucket) => self.selective.mark(bucket, true),
            _ => {}
        }
    }

    /// The next consumer of those sets that are asked for.
    #[inline]
    pub(super) fn first_ready(&self, plain: bool, selective: bool) -> Option<u32> {
        let plain = if plain { self.plain.first() } else { None };
        let selective = if selective { self.selective.first() } else { None };
        let (Some(one), Some(other)) = (plain, selective) else {
            return plain.or(selective).map(|(_, index)| index);
        };
        let turn = |(bucket, index): (usize, u32)| (bucket, self.get(index).map(|member| member.since));
        Some(if turn(one) < turn(other) { one.1 } else { other.1 })
    }

    pub(super) fn first_scanning(&self) -> Option<u32> {
        (self.scanning.first != NONE).then_some(self.scanning.first)
    }

    /// An entry can be had: those for which there was nothing look again, and those that wait for the body
    /// of one that would come after it.
    #[inline]
    pub(super) fn wake(&mut self, key: EntryKey) {
        self.changes += 1;
        self.wake_starved();
        if self.awaiting.first != NONE {
            self.wake_awaiting(|awaited| key < awaited);
        }
    }

    fn wake_starved(&mut self) {
        while self.starved.first != NONE {
            self.end_turn(self.starved.first);
        }
    }

    /// Those that wait for the body of such an entry look again.
    pub(super) fn wake_awaiting(&mut self, is_meant: impl Fn(EntryKey) -> bool) {
        let mut next = self.awaiting.first;
        while let Some(member) = self.get_mut(next) {
            let (index, follower) = (next, member.next);
            if let Some(view) = &mut member.view
                && view.awaits.is_some_and(&is_meant)
            {
                view.awaits = None;
                self.end_turn(index);
            }
            next = follower;
        }
    }

    /// An entry is available again. Those that looked at it before shall look at it again.
    pub(super) fn note_returned(&mut self, key: EntryKey) {
        if self.selectives == 0 {
            self.changes += 1;
            return;
        }
        if self.returned.len() >= MAX_RETURNED {
            self.returned.pop_front();
            self.returned_start += 1;
        }
        self.returned.push_back(key);
        self.wake(key);
    }

    /// See [`Queue::changes`](super::Queue::changes).
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Entries that came back are kept in mind up to here.
    pub(super) fn returned_end(&self) -> u64 {
        self.returned_start + self.returned.len() as u64
    }

    /// Every selective consumer looks at everything again: who may get what has changed.
    pub(super) fn look_anew(&mut self) {
        self.changes += 1;
        self.returned_start = self.returned_end() + 1;
        self.returned.clear();
        self.wake_starved();
        self.wake_awaiting(|_| true);
    }

    /// Panics unless every consumer stands where its place says.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut seen = 0;
        let mut walk = |list: &List, place: Place| {
            let (mut previous, mut next) = (NONE, list.first);
            while let Some(member) = self.get(next) {
                assert_eq!((member.place, member.previous), (place, previous));
                seen += 1;
                previous = next;
                next = member.next;
            }
            assert_eq!(list.last, previous);
        };
        for (index, list) in self.plain.lists.iter().enumerate() {
            walk(list, Place::Plain(index as u16));
        }
        for (index, list) in self.selective.lists.iter().enumerate() {
            walk(list, Place::Selective(index as u16));
        }
        walk(&self.scanning, Place::Scanning);
        walk(&self.starved, Place::Starved);
        walk(&self.awaiting, Place::Awaiting);
        assert_eq!(seen, self.iter().filter(|(_, member)| member.place != Place::Aside).count());
        assert_eq!(self.len as usize, self.iter().count());
    }
}

/// So many entries that came back are kept in mind for consumers that are slow to look.
const MAX_RETURNED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_never_shrink_as_the_number_grows() {
        let mut last = 0;
        for outstanding in (0..100_000).chain([1 << 20, 1 << 25, u32::MAX]) {
            let bucket = bucket(outstanding);
            assert!(bucket >= last && u32::from(bucket) <= LAST, "{outstanding}");
            last = bucket;
        }
        assert_eq!((bucket(63), bucket(64), bucket(67), bucket(68)), (63, 64, 64, 65));
    }
}
