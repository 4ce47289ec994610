//! What became of each message: who sent which, who got which, and what does not fit.
//!
//! Each receiver remembers the sequence numbers that it got from each sender, as bits; nothing is judged
//! before the run is over and all receivers are put together, so that a message that another receiver
//! got is neither lost nor a gap.

use std::collections::BTreeMap;

use super::result::Integrity;

/// Senders that can be told apart.
pub const MAX_STREAMS: u32 = 100_000;
/// Sequence numbers of a chunk.
const CHUNK: u64 = 4_096;
const WORDS: usize = 64;
/// Chunks in memory of one set: 128 MiB. Full chunks take none, so that this is crossed only where more
/// than a thousand million messages come out of order.
const MAX_CHUNKS: usize = 1 << 18;

/// A set of sequence numbers.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are not full.
    partial: usize,
    incomplete: bool,
}

#[derive(Clone, Debug)]
enum Chunk {
    /// Every number; what most chunks end as.
    Full,
    Partial(Box<[u64; WORDS]>),
}

impl Chunk {
    fn word(&self, index: usize) -> u64 {
        match self {
            Self::Full => u64::MAX,
            Self::Partial(words) => words.get(index).copied().unwrap_or_default(),
        }
    }
}

impl SequenceSet {
    /// Adds a number; false when it was there.
    pub fn insert(&mut self, sequence: u64) -> bool {
        let (word, bit) = place(sequence);
        if self.partial >= MAX_CHUNKS && !self.chunks.contains_key(&(sequence / CHUNK)) {
            self.incomplete = true;
            return true;
        }
        let partial = &mut self.partial;
        let chunk = self.chunks.entry(sequence / CHUNK).or_insert_with(|| {
            *partial += 1;
            Chunk::Partial(Box::new([0; WORDS]))
        });
        let Chunk::Partial(words) = chunk else {
            return false;
        };
        let Some(found) = words.get_mut(word) else {
            return false;
        };
        let is_new = *found & bit == 0;
        *found |= bit;
        // Only the last bit of a word can have filled the chunk.
        if is_new && *found == u64::MAX && words.iter().all(|word| *word == u64::MAX) {
            *chunk = Chunk::Full;
            self.partial -= 1;
        }
        is_new
    }

    pub fn contains(&self, sequence: u64) -> bool {
        let (word, bit) = place(sequence);
        self.chunks.get(&(sequence / CHUNK)).is_some_and(|chunk| chunk.word(word) & bit != 0)
    }

    /// How many numbers it holds.
    pub fn len(&self) -> u64 {
        let count =
            |chunk: &Chunk| (0..WORDS).map(|index| u64::from(chunk.word(index).count_ones())).sum::<u64>();
        self.chunks.values().map(count).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds all numbers of another set; answers with how many were in both.
    pub fn merge(&mut self, other: &Self) -> u64 {
        let mut both = 0;
        for (number, chunk) in &other.chunks {
            let mine = self.chunks.get(number);
            let joined = std::array::from_fn(|index| {
                let (theirs, mine) = (chunk.word(index), mine.map_or(0, |chunk| chunk.word(index)));
                both += u64::from((theirs & mine).count_ones());
                theirs | mine
            });
            let full = joined.iter().all(|word: &u64| *word == u64::MAX);
            self.chunks.insert(*number, if full { Chunk::Full } else { Chunk::Partial(Box::new(joined)) });
        }
        self.partial = self.chunks.values().filter(|chunk| matches!(chunk, Chunk::Partial(_))).count();
        self.incomplete |= other.incomplete;
        both
    }

    /// How many numbers from `from` up to `to` are in none of the sets, and in how many runs.
    fn missing(sets: &[&Self], from: u64, to: u64) -> (u64, u64) {
        let (mut missing, mut runs, mut in_run) = (0, 0, false);
        for number in from / CHUNK..to.div_ceil(CHUNK) {
            let chunks: Vec<&Chunk> = sets.iter().filter_map(|set| set.chunks.get(&number)).collect();
            for index in 0..WORDS {
                let start = number * CHUNK + index as u64 * 64;
                let there = chunks.iter().fold(0, |word, chunk| word | chunk.word(index));
                let absent = !there & below(to, start) & !below(from, start);
                missing += u64::from(absent.count_ones());
                // A run begins at each absent number whose predecessor is there.
                runs += u64::from((absent & !(absent << 1 | u64::from(in_run))).count_ones());
                in_run = absent >> 63 == 1;
            }
        }
        (missing, runs)
    }

    /// The lowest number.
    fn first(&self) -> Option<u64> {
        let (number, chunk) = self.chunks.first_key_value()?;
        let index = (0..WORDS).find(|index| chunk.word(*index) != 0)?;
        Some(number * CHUNK + index as u64 * 64 + u64::from(chunk.word(index).trailing_zeros()))
    }
}

/// Where the bit of a number lies in its chunk.
fn place(sequence: u64) -> (usize, u64) {
    let offset = sequence % CHUNK;
    (usize::try_from(offset / 64).unwrap_or_default(), 1 << (offset % 64))
}

/// The bits of the word that begins with `start` whose numbers are below `end`.
fn below(end: u64, start: u64) -> u64 {
    match end.saturating_sub(start) {
        0 => 0,
        count @ 1..64 => (1 << count) - 1,
        _ => u64::MAX,
    }
}

/// An outcome of a message, as its sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Accepted,
    Released,
    Rejected,
    Modified,
}

/// What one sender knows.
#[derive(Clone, Debug, Default)]
pub struct SenderLedger {
    pub stream: u32,
    /// The sequence numbers below it have been sent.
    pub sent: u64,
    pub accepted: u64,
    pub released: u64,
    pub rejected: u64,
    pub modified: u64,
    pub in_doubt: u64,
    /// Those that nobody has to have got: given back, refused or in doubt.
    excused: SequenceSet,
}

impl SenderLedger {
    pub fn new(stream: u32) -> Self {
        Self { stream, ..Self::default() }
    }

    /// The outcome of a message came.
    pub fn told(&mut self, sequence: u64, told: Told) {
        match told {
            Told::Accepted => {
                self.accepted += 1;
                return;
            }
            Told::Released => self.released += 1,
            Told::Rejected => self.rejected += 1,
            Told::Modified => self.modified += 1,
        }
        self.excused.insert(sequence);
    }

    /// Nobody will tell what became of a message.
    pub fn doubt(&mut self, sequence: u64) {
        self.in_doubt += 1;
        self.excused.insert(sequence);
    }
}

/// What one receiver got.
#[derive(Clone, Debug, Default)]
pub struct ReceiverLedger {
    streams: Vec<Stream>,
    pub received: u64,
    pub corrupted: u64,
    pub foreign: u64,
    pub reordered: u64,
    duplicated: u64,
}

/// What one receiver got of one sender.
#[derive(Clone, Debug, Default)]
struct Stream {
    seen: SequenceSet,
    /// The highest number so far, plus one.
    next: u64,
}

impl ReceiverLedger {
    /// A message of the run came.
    pub fn received(&mut self, stream: u32, sequence: u64) {
        if stream >= MAX_STREAMS {
            self.foreign += 1;
            return;
        }
        let index = stream as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, Stream::default);
        }
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        self.received += 1;
        if !stream.seen.insert(sequence) {
            self.duplicated += 1;
        } else if sequence < stream.next {
            self.reordered += 1;
        }
        stream.next = stream.next.max(sequence.saturating_add(1));
    }
}

/// How many receivers are to get each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// One of them.
    One,
    /// All of them.
    Each,
}

/// Puts together what senders and receivers know. Without senders of the run nothing can be lost, and gaps are
/// what is missing between the first and the last message of each sender.
pub fn judge(senders: &[SenderLedger], receivers: &[ReceiverLedger], copies: Copies) -> Integrity {
    let mut integrity = Integrity::default();
    for sender in senders {
        integrity.sent += sender.sent;
        integrity.accepted += sender.accepted;
        integrity.released += sender.released;
        integrity.rejected += sender.rejected;
        integrity.modified += sender.modified;
        integrity.in_doubt += sender.in_doubt;
    }
    for receiver in receivers {
        integrity.received += receiver.received;
        integrity.corrupted += receiver.corrupted;
        integrity.foreign += receiver.foreign;
        integrity.reordered += receiver.reordered;
        integrity.duplicated += receiver.duplicated;
        integrity.incomplete |= receiver.streams.iter().any(|stream| stream.seen.incomplete);
    }
    let groups: Vec<&[ReceiverLedger]> = match copies {
        Copies::One => vec![receivers],
        Copies::Each => receivers.chunks(1).collect(),
    };
    for group in groups.iter().filter(|group| !group.is_empty()) {
        judge_group(senders, group, &mut integrity);
    }
    integrity
}

/// Receivers that are to get each message once, together.
fn judge_group(senders: &[SenderLedger], group: &[ReceiverLedger], integrity: &mut Integrity) {
    let streams = group.iter().map(|receiver| receiver.streams.len()).max().unwrap_or_default();
    let mut seen = vec![SequenceSet::default(); streams];
    for receiver in group {
        for (all, stream) in seen.iter_mut().zip(&receiver.streams) {
            integrity.duplicated += all.merge(&stream.seen);
        }
    }
    if senders.is_empty() {
        for set in &seen {
            let last = set.chunks.last_key_value().map_or(0, |(number, _)| (number + 1) * CHUNK);
            let end = (0..last).rev().find(|sequence| set.contains(*sequence)).map_or(0, |last| last + 1);
            integrity.gaps += SequenceSet::missing(&[set], set.first().unwrap_or_default(), end).1;
        }
        return;
    }
    let nothing = SequenceSet::default();
    for sender in senders {
        let seen = seen.get(sender.stream as usize).unwrap_or(&nothing);
        let (lost, gaps) = SequenceSet::missing(&[seen, &sender.excused], 0, sender.sent);
        integrity.lost += lost;
        integrity.gaps += gaps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(stream: u32, sent: u64) -> SenderLedger {
        SenderLedger { stream, sent, accepted: sent, ..SenderLedger::default() }
    }

    fn receiver(stream: u32, sequences: impl IntoIterator<Item = u64>) -> ReceiverLedger {
        let mut ledger = ReceiverLedger::default();
        sequences.into_iter().for_each(|sequence| ledger.received(stream, sequence));
        ledger
    }

    #[test]
    fn everything_received_once_and_in_order_is_whole() {
        let integrity = judge(&[sender(0, 20_000)], &[receiver(0, 0..20_000)], Copies::One);
        assert_eq!((integrity.sent, integrity.received), (20_000, 20_000));
        assert_eq!((integrity.lost, integrity.duplicated, integrity.reordered, integrity.gaps), (0, 0, 0, 0));
    }

    #[test]
    fn lost_messages_are_counted_and_runs_of_them_are_gaps() {
        let got = (0..10_000).filter(|n| !matches!(n, 5 | 60..70 | 4_090..4_100 | 9_999));
        let integrity = judge(&[sender(0, 10_000)], &[receiver(0, got)], Copies::One);
        assert_eq!((integrity.lost, integrity.gaps), (22, 4));
    }

    #[test]
    fn a_sender_of_which_nothing_came_lost_everything() {
        let integrity = judge(&[sender(0, 3), sender(1, 5_000)], &[receiver(0, 0..3)], Copies::One);
        assert_eq!((integrity.lost, integrity.gaps), (5_000, 1));
    }

    #[test]
    fn a_message_of_another_receiver_is_neither_lost_nor_a_gap() {
        let receivers = [receiver(0, (0..10_000).step_by(2)), receiver(0, (1..10_000).step_by(2))];
        let integrity = judge(&[sender(0, 10_000)], &receivers, Copies::One);
        assert_eq!((integrity.lost, integrity.gaps, integrity.duplicated), (0, 0, 0));
    }

    #[test]
    fn duplicates_are_found_within_a_receiver_and_between_two() {
        let receivers = [receiver(0, [0, 1, 1, 2]), receiver(0, [2, 3])];
        let integrity = judge(&[sender(0, 4)], &receivers, Copies::One);
        assert_eq!((integrity.duplicated, integrity.reordered, integrity.lost), (2, 0, 0));
    }

    #[test]
    fn each_receiver_of_a_fanout_has_to_get_everything() {
        let receivers = [receiver(0, 0..100), receiver(0, (0..100).filter(|n| *n != 50))];
        let integrity = judge(&[sender(0, 100)], &receivers, Copies::Each);
        assert_eq!((integrity.lost, integrity.gaps, integrity.duplicated), (1, 1, 0));
    }

    #[test]
    fn a_message_behind_a_later_one_is_reordered() {
        let integrity = judge(&[sender(0, 5)], &[receiver(0, [0, 2, 1, 4, 3])], Copies::One);
        assert_eq!((integrity.reordered, integrity.lost), (2, 0));
    }

    #[test]
    fn what_was_given_back_or_is_in_doubt_is_not_lost() {
        let mut ledger = sender(0, 4);
        ledger.told(1, Told::Released);
        ledger.told(2, Told::Rejected);
        ledger.doubt(3);
        let integrity = judge(&[ledger], &[receiver(0, [0])], Copies::One);
        assert_eq!(
            (integrity.lost, integrity.released, integrity.rejected, integrity.in_doubt),
            (0, 1, 1, 1)
        );
    }

    #[test]
    fn without_senders_gaps_are_what_is_missing_in_between() {
        let integrity = judge(&[], &[receiver(3, [100, 101, 5_000])], Copies::One);
        assert_eq!((integrity.lost, integrity.gaps), (0, 1));
    }

    #[test]
    fn a_full_set_takes_no_memory_and_still_knows() {
        let mut set = SequenceSet::default();
        assert!((0..CHUNK * 3).all(|n| set.insert(n)));
        assert_eq!((set.partial, set.len()), (0, CHUNK * 3));
        assert!(!set.insert(5));
        assert!(set.contains(CHUNK) && !set.contains(CHUNK * 3));
    }

    #[test]
    fn a_sender_number_beyond_the_bound_is_foreign() {
        let ledger = receiver(MAX_STREAMS, [0]);
        assert_eq!((ledger.received, ledger.foreign, ledger.streams.len()), (0, 1, 0));
    }
}
