//! What is known in memory of one file of the log: 16 bytes for a message, and who still holds it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{FILE_HEADER, FORMAT, HEADER};
use crate::types::QueueId;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// With its header.
    pub(crate) length: u32,
}

/// A file of the log and what is in it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u32,
    /// How often it was rewritten.
    pub(crate) generation: u32,
    /// What its header says of its records.
    pub(crate) format: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes of the header and the records.
    pub(crate) length: u64,
    /// Bytes of the file.
    pub(crate) disk: u64,
    /// Bytes of live messages, of their last updates and of objects.
    pub(crate) live: u64,
    /// Bytes of records that are needed only while others are there: a settlement while its message is,
    /// a commit while a record of its transaction is. Never less than what is needed: a file without
    /// live and extra bytes is removed.
    pub(crate) extra: u64,
    /// The settlements among the extra bytes, by the segment of their messages. Those of messages in
    /// this segment go when it is rewritten and are not counted.
    pub(crate) shadows: BTreeMap<u32, u64>,
    /// Bytes of settlements elsewhere that rewriting this segment makes superfluous.
    pub(crate) shadowed: u64,
    /// The last update of messages of this segment, by index and queue.
    pub(crate) updates: HashMap<(u32, QueueId), Place>,
    /// Its last record says that no more will follow.
    pub(crate) is_sealed: bool,
    /// It could not be read when it was to be rewritten.
    pub(crate) is_damaged: bool,
    /// What was reclaimable when it had just been rewritten: nothing that another time would give.
    pub(crate) unreclaimed: u64,
    /// Messages that a queue holds.
    pub(crate) messages: u64,
    /// Ascending by index. Until the segment is rewritten, an entry is mostly at its index.
    entries: Vec<Entry>,
    /// The queues that hold a message alone.
    queues: Vec<Share>,
    /// The sets of queues that hold a message together.
    lists: Vec<Box<[QueueId]>>,
    /// The messages that several queues hold.
    several: Vec<Several>,
    /// For each message of `several`, a bit for each queue of its list.
    bits: Vec<u64>,
    /// The numbers of queues and lists while messages are added.
    numbers: Numbers,
}

/// A message in the file, live or dead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) index: u32,
    pub(crate) offset: u32,
    /// Bytes of the record with its header.
    pub(crate) length: u32,
    holder: Holder,
}

/// Who holds a message, in four bytes: nobody, the queue or the several with a number, and whether the
/// message is durable.
#[derive(Clone, Copy, Debug)]
struct Holder(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldBy {
    Nobody,
    One(usize),
    Several(usize),
}

impl Holder {
    const SEVERAL: u32 = 1 << 31;
    const DURABLE: u32 = 1 << 30;

    fn new(held: HeldBy, is_durable: bool) -> Self {
        let durable = if is_durable { Self::DURABLE } else { 0 };
        // A file of at most 1 GiB has fewer than 2^26 records of 16 bytes: a number fits.
        Self(match held {
            HeldBy::Nobody => durable,
            HeldBy::One(number) => durable | (number as u32 + 1),
            HeldBy::Several(number) => durable | Self::SEVERAL | (number as u32 + 1),
        })
    }

    fn held(self) -> HeldBy {
        match (self.0 & !(Self::SEVERAL | Self::DURABLE)) as usize {
            0 => HeldBy::Nobody,
            number if self.0 & Self::SEVERAL != 0 => HeldBy::Several(number - 1),
            number => HeldBy::One(number - 1),
        }
    }
}

impl Entry {
    pub(crate) fn is_durable(&self) -> bool {
        self.holder.0 & Holder::DURABLE != 0
    }
}

/// What a queue alone holds in a segment.
#[derive(Debug)]
struct Share {
    queue: QueueId,
    bytes: u64,
    messages: u32,
    is_forgotten: bool,
}

#[derive(Debug)]
struct Several {
    list: u32,
    first_word: u32,
    /// Queues that still hold it.
    held: u32,
}

#[derive(Debug, Default)]
struct Numbers {
    queues: HashMap<QueueId, usize>,
    lists: HashMap<Box<[QueueId]>, usize>,
}

impl Segment {
    pub(crate) fn new(id: u32, generation: u32, file: Arc<dyn DiskFile>, disk: u64) -> Self {
        Self {
            id,
            generation,
            format: FORMAT,
            file,
            length: FILE_HEADER,
            disk,
            live: 0,
            extra: 0,
            shadows: BTreeMap::new(),
            shadowed: 0,
            updates: HashMap::new(),
            is_sealed: false,
            is_damaged: false,
            unreclaimed: 0,
            messages: 0,
            entries: Vec::new(),
            queues: Vec::new(),
            lists: Vec::new(),
            several: Vec::new(),
            bits: Vec::new(),
            numbers: Numbers::default(),
        }
    }

    /// Nothing will be added any more: gives back the room for it.
    pub(crate) fn shrink(&mut self) {
        self.numbers = Numbers::default();
        self.entries.shrink_to_fit();
        self.queues.shrink_to_fit();
        self.lists.shrink_to_fit();
        self.several.shrink_to_fit();
        self.bits.shrink_to_fit();
        self.updates.shrink_to_fit();
    }

    /// Adds a message behind all others. `targets` are ascending; without any, the message is dead.
    pub(crate) fn add(&mut self, index: u32, offset: u32, length: u32, targets: &[QueueId], durable: bool) {
        let held = match targets {
            [] => HeldBy::Nobody,
            [queue] => HeldBy::One(self.hold_alone(*queue, length)),
            queues => HeldBy::Several(self.hold_together(queues)),
        };
        self.entries.push(Entry { index, offset, length, holder: Holder::new(held, durable) });
        if held != HeldBy::Nobody {
            self.messages += 1;
            self.live += u64::from(length);
        }
    }

    fn hold_alone(&mut self, queue: QueueId, length: u32) -> usize {
        let queues = &mut self.queues;
        let number = *self.numbers.queues.entry(queue).or_insert_with(|| {
            queues.push(Share { queue, bytes: 0, messages: 0, is_forgotten: false });
            queues.len() - 1
        });
        if let Some(share) = queues.get_mut(number) {
            share.bytes += u64::from(length);
            share.messages += 1;
        }
        number
    }

    fn hold_together(&mut self, queues: &[QueueId]) -> usize {
        let list = match self.numbers.lists.get(queues) {
            Some(list) => *list,
            None => {
                self.lists.push(queues.into());
                self.numbers.lists.insert(queues.into(), self.lists.len() - 1);
                self.lists.len() - 1
            }
        };
        let first_word = self.bits.len() as u32;
        for part in queues.chunks(64) {
            self.bits.push(u64::MAX >> (64 - part.len()));
        }
        self.several.push(Several { list: list as u32, first_word, held: queues.len() as u32 });
        self.several.len() - 1
    }

    /// The messages in the file, in log order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The message with that index, live or dead, while it is in the file.
    pub(crate) fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(self.position(index)?)
    }

    fn position(&self, index: u32) -> Option<usize> {
        let guess = index as usize;
        if self.entries.get(guess).is_some_and(|entry| entry.index == index) {
            return Some(guess);
        }
        self.entries.binary_search_by_key(&index, |entry| entry.index).ok()
    }

    /// Whether a queue holds the message.
    pub(crate) fn is_live(&self, entry: &Entry) -> bool {
        match entry.holder.held() {
            HeldBy::Nobody => false,
            HeldBy::One(number) => self.queues.get(number).is_some_and(|share| !share.is_forgotten),
            HeldBy::Several(number) => self.several.get(number).is_some_and(|several| several.held > 0),
        }
    }

    /// Whether this queue holds the message.
    pub(crate) fn holds(&self, queue: QueueId, entry: &Entry) -> bool {
        match entry.holder.held() {
            HeldBy::Nobody => false,
            HeldBy::One(number) => {
                self.queues.get(number).is_some_and(|share| share.queue == queue && !share.is_forgotten)
            }
            HeldBy::Several(number) => self
                .bit(number, queue)
                .is_some_and(|(word, bit)| self.bits.get(word).is_some_and(|bits| bits & bit != 0)),
        }
    }

    /// The word and the bit that say whether `queue` holds one of `several`.
    fn bit(&self, number: usize, queue: QueueId) -> Option<(usize, u64)> {
        let several = self.several.get(number)?;
        let place = self.lists.get(several.list as usize)?.binary_search(&queue).ok()?;
        Some((several.first_word as usize + place / 64, 1 << (place % 64)))
    }

    /// The queues that hold the message, ascending.
    pub(crate) fn holders(&self, entry: &Entry, queues: &mut Vec<QueueId>) {
        queues.clear();
        match entry.holder.held() {
            HeldBy::Nobody => {}
            HeldBy::One(number) => {
                let share = self.queues.get(number).filter(|share| !share.is_forgotten);
                queues.extend(share.map(|share| share.queue));
            }
            HeldBy::Several(number) => {
                let Some(several) = self.several.get(number) else { return };
                let Some(list) = self.lists.get(several.list as usize) else { return };
                let words = self.bits.get(several.first_word as usize..).unwrap_or_default();
                for (part, word) in list.chunks(64).zip(words) {
                    let held = part.iter().enumerate().filter(|(bit, _)| word >> bit & 1 != 0);
                    queues.extend(held.map(|(_, queue)| *queue));
                }
            }
        }
    }

    /// The queue no longer holds the message. Whether it did.
    pub(crate) fn settle(&mut self, queue: QueueId, index: u32) -> bool {
        let Some(position) = self.position(index) else { return false };
        let Some(entry) = self.entries.get(position).copied() else { return false };
        if !self.holds(queue, &entry) {
            return false;
        }
        match entry.holder.held() {
            HeldBy::Nobody => {}
            HeldBy::One(number) => {
                if let Some(share) = self.queues.get_mut(number) {
                    share.bytes = share.bytes.saturating_sub(u64::from(entry.length));
                    share.messages = share.messages.saturating_sub(1);
                }
                self.bury(position);
            }
            HeldBy::Several(number) => {
                if let Some((word, bit)) = self.bit(number, queue)
                    && let Some(bits) = self.bits.get_mut(word)
                {
                    *bits &= !bit;
                }
                if let Some(several) = self.several.get_mut(number) {
                    several.held = several.held.saturating_sub(1);
                    if several.held == 0 {
                        self.bury(position);
                    }
                }
            }
        }
        true
    }

    fn bury(&mut self, position: usize) {
        let Some(entry) = self.entries.get_mut(position) else { return };
        entry.holder = Holder::new(HeldBy::Nobody, entry.is_durable());
        self.messages = self.messages.saturating_sub(1);
        self.live = self.live.saturating_sub(u64::from(entry.length));
    }

    /// Whether a message in the file was for this queue, or one that it held alone still would be.
    pub(crate) fn mentions(&self, queue: QueueId) -> bool {
        self.queues.iter().any(|share| share.queue == queue)
            || self.lists.iter().any(|list| list.binary_search(&queue).is_ok())
    }

    /// Queues hold nothing any more. How many messages they held, each counted for each queue.
    pub(crate) fn drop_queues(&mut self, mut is_dropped: impl FnMut(QueueId) -> bool) -> u64 {
        let mut dropped = 0;
        for share in self.queues.iter_mut().filter(|share| !share.is_forgotten && is_dropped(share.queue)) {
            share.is_forgotten = true;
            dropped += u64::from(share.messages);
            self.messages = self.messages.saturating_sub(u64::from(share.messages));
            self.live = self.live.saturating_sub(share.bytes);
        }
        let of_lists: Vec<Vec<QueueId>> = self
            .lists
            .iter()
            .map(|list| list.iter().copied().filter(|queue| is_dropped(*queue)).collect())
            .collect();
        if of_lists.iter().all(Vec::is_empty) {
            return dropped;
        }
        let affected = self.entries.iter().filter_map(|entry| {
            let HeldBy::Several(number) = entry.holder.held() else { return None };
            let list = self.several.get(number)?.list as usize;
            Some((entry.index, list)).filter(|_| of_lists.get(list).is_some_and(|queues| !queues.is_empty()))
        });
        let affected: Vec<(u32, usize)> = affected.collect();
        for (index, list) in affected {
            for queue in of_lists.get(list).into_iter().flatten() {
                dropped += u64::from(self.settle(*queue, index));
            }
        }
        dropped
    }

    /// Whether the record of the message names this queue, as far as is known: of a message that nobody
    /// holds, it may.
    pub(crate) fn may_name(&self, queue: QueueId, entry: &Entry) -> bool {
        match entry.holder.held() {
            HeldBy::Nobody => true,
            HeldBy::One(number) => self.queues.get(number).is_some_and(|share| share.queue == queue),
            HeldBy::Several(number) => self.bit(number, queue).is_some(),
        }
    }

    /// Bytes that the file would have if it were rewritten.
    pub(crate) fn needed(&self) -> u64 {
        FILE_HEADER + self.live + self.extra + HEADER as u64
    }

    /// Bytes that rewriting it gives back, here and, later, in other files.
    pub(crate) fn reclaimable(&self) -> u64 {
        self.disk.saturating_sub(self.needed()) + self.shadowed
    }
}
