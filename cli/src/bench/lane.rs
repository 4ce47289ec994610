//! One sender: what it has to send, what is under way, and what became of it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    integrity::{SenderLedger, Told},
    payload::Sizes,
    schedule::Pace,
};

/// Messages that a sender without a rate sends in one turn, so that it reads in between.
const CLOSED_BURST: u32 = 128;

/// What a sender needs to know before it can say whether a message may go.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Nanoseconds of the monotonic clock.
    pub now: u64,
    /// When the first message was meant to leave.
    pub start: u64,
    /// When the measured part begins: a given number of messages counts from here.
    pub from: u64,
    /// No message is meant to leave from here on.
    pub end: u64,
    /// The target, the socket and the window take one more.
    pub has_room: bool,
}

/// What a sender does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Send {
        /// Nanoseconds of the monotonic clock.
        intended: u64,
        /// The target was why it is late, if it is: not the generator.
        is_excused: bool,
    },
    /// Not before this time.
    Wait(u64),
    /// Something is due, and there is no room for it.
    Blocked,
    /// Something is due, and the loop has to turn first.
    Yield,
    /// There is nothing left to send.
    Finished,
}

/// One sender.
#[derive(Debug)]
pub struct Lane {
    pub link: usize,
    pub sizes: Sizes,
    pub ledger: SenderLedger,
    pub outstanding: Outstanding,
    /// `None` in a closed loop.
    pace: Option<Pace>,
    /// Messages left of a given count, in a closed loop.
    left: Option<u64>,
    burst: u32,
    /// It was blocked, and has not caught up since.
    is_behind: bool,
    is_done: bool,
}

impl Lane {
    pub fn new(link: usize, stream: u32, sizes: Sizes, pace: Option<Pace>, left: Option<u64>) -> Self {
        Self {
            link,
            sizes,
            ledger: SenderLedger::new(stream),
            outstanding: Outstanding::default(),
            pace,
            left,
            burst: 0,
            is_behind: false,
            is_done: false,
        }
    }

    pub fn begin_turn(&mut self, now: u64, start: u64) {
        self.burst = CLOSED_BURST;
        if let Some(pace) = &mut self.pace {
            pace.begin_turn(now.saturating_sub(start));
        }
    }

    /// Decides about the next message, and takes it when it may go.
    pub fn next(&mut self, conditions: Conditions) -> Next {
        let Conditions { now, start, from, end, has_room } = conditions;
        let Some(pace) = &mut self.pace else {
            return self.next_unpaced(now >= from, now, end, has_room);
        };
        let Some(time) = pace.next_time() else {
            return Next::Finished;
        };
        let since = now.saturating_sub(start);
        if time > since || now < start {
            self.is_behind = false;
            return Next::Wait(start.saturating_add(time));
        }
        if !has_room {
            self.is_behind = true;
            return Next::Blocked;
        }
        match pace.take(since) {
            Some(time) => Next::Send { intended: start.saturating_add(time), is_excused: self.is_behind },
            None => Next::Yield,
        }
    }

    fn next_unpaced(&mut self, counts: bool, now: u64, end: u64, has_room: bool) -> Next {
        if now >= end || self.left == Some(0) {
            return Next::Finished;
        }
        if !has_room {
            return Next::Blocked;
        }
        let Some(burst) = self.burst.checked_sub(1) else {
            return Next::Yield;
        };
        self.burst = burst;
        self.left = self.left.map(|left| left - u64::from(counts));
        Next::Send { intended: now, is_excused: true }
    }

    /// The number of the message that goes now; remembered until its outcome comes, unless there is none.
    pub fn number(&mut self, intended: u64, is_awaited: bool) -> u64 {
        let sequence = self.ledger.sent;
        self.ledger.sent += 1;
        self.outstanding.push(intended, is_awaited);
        sequence
    }

    /// The connection is gone: nobody will tell about what is under way.
    pub fn lose_connection(&mut self) {
        self.is_behind = true;
        for sequence in self.outstanding.take_all() {
            self.ledger.doubt(sequence);
        }
    }

    /// The outcome of a message came. Answers with its intended time the first time.
    pub fn told(&mut self, sequence: u64, told: Told) -> Option<u64> {
        let intended = self.outstanding.intended(sequence)?;
        self.ledger.told(sequence, told);
        Some(intended)
    }

    /// Intended times of what is due and was never sent.
    pub fn overdue(&mut self, start: u64, now: u64) -> Vec<u64> {
        /// More than that say nothing more.
        const MOST: usize = 1_000_000;
        let since = now.saturating_sub(start);
        let mut overdue = Vec::new();
        let Some(pace) = &mut self.pace else {
            return overdue;
        };
        while pace.is_due(since) && overdue.len() < MOST {
            pace.begin_turn(since);
            while let Some(time) = pace.take(since) {
                overdue.push(start.saturating_add(time));
            }
        }
        overdue
    }

    /// Marks the sender as done; true the first time.
    pub fn finish(&mut self) -> bool {
        !std::mem::replace(&mut self.is_done, true)
    }

    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

/// Messages under way, by sequence number.
#[derive(Debug, Default)]
pub struct Outstanding {
    /// The sequence number of the first entry.
    base: u64,
    /// Intended times; `None` for what is over already.
    entries: VecDeque<Option<u64>>,
    open: u32,
}

impl Outstanding {
    /// How many wait.
    pub fn open(&self) -> u32 {
        self.open
    }

    fn push(&mut self, intended: u64, is_awaited: bool) {
        self.entries.push_back(is_awaited.then_some(intended));
        self.open += u32::from(is_awaited);
        self.trim();
    }

    /// The intended time of a message under way.
    pub fn intended(&self, sequence: u64) -> Option<u64> {
        let index = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        *self.entries.get(index)?
    }

    /// A message is no longer under way.
    pub fn close(&mut self, sequence: u64) {
        let index = sequence.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else {
            return;
        };
        if entry.take().is_some() {
            self.open -= 1;
        }
        self.trim();
    }

    /// Everything that is under way, which it is no longer.
    fn take_all(&mut self) -> Vec<u64> {
        let base = self.base;
        let taken = self.entries.iter().zip(base..).filter_map(|(entry, sequence)| entry.map(|_| sequence));
        let taken = taken.collect();
        self.base += self.entries.len() as u64;
        self.entries.clear();
        self.open = 0;
        taken
    }

    fn trim(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

/// The senders of a worker get their part of a schedule.
pub fn pace(
    schedule: Option<&Arc<super::schedule::Schedule>>,
    stream: u32,
    of: u32,
    end: u64,
) -> Option<Pace> {
    Some(Pace::new(schedule?.clone(), stream.into(), of.into(), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{result::SizeDescription, schedule::Schedule};

    const MS: u64 = 1_000_000;

    fn lane(rate: Option<u64>, left: Option<u64>) -> Lane {
        let sizes = Sizes::new(SizeDescription::Fixed(100), 0, 0);
        let schedule = rate.map(|rate| Arc::new(Schedule::constant(rate)));
        Lane::new(0, 0, sizes, pace(schedule.as_ref(), 0, 1, 1_000 * MS), left)
    }

    fn at(now: u64, has_room: bool) -> Conditions {
        Conditions { now, start: 0, from: 0, end: 1_000 * MS, has_room }
    }

    #[test]
    fn a_message_that_the_target_held_up_is_excused_until_the_sender_has_caught_up() {
        let mut lane = lane(Some(1_000), None);
        lane.begin_turn(0, 0);
        assert_eq!(lane.next(at(0, true)), Next::Send { intended: 0, is_excused: false });
        lane.begin_turn(3 * MS, 0);
        assert_eq!(lane.next(at(3 * MS, false)), Next::Blocked);
        for time in 1..=3 {
            lane.begin_turn(3 * MS, 0);
            assert_eq!(lane.next(at(3 * MS, true)), Next::Send { intended: time * MS, is_excused: true });
        }
        assert_eq!(lane.next(at(3 * MS, true)), Next::Wait(4 * MS));
        lane.begin_turn(5 * MS, 0);
        assert_eq!(lane.next(at(5 * MS, true)), Next::Send { intended: 4 * MS, is_excused: false });
    }

    #[test]
    fn a_closed_loop_sends_its_count_and_turns_in_between() {
        let mut lane = lane(None, Some(200));
        let mut sent = 0;
        let mut turns = 0;
        loop {
            lane.begin_turn(0, 0);
            turns += 1;
            while let Next::Send { .. } = lane.next(at(0, true)) {
                sent += 1;
            }
            if lane.next(at(0, true)) == Next::Finished {
                break;
            }
        }
        assert_eq!((sent, turns), (200, 2));
    }

    #[test]
    fn outcomes_may_come_in_any_order() {
        let mut lane = lane(None, None);
        let numbers: Vec<u64> = (0..4).map(|n| lane.number(n * 10, true)).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(lane.told(2, Told::Accepted), Some(20));
        lane.outstanding.close(2);
        assert_eq!(lane.told(2, Told::Accepted), None, "told twice");
        assert_eq!(lane.outstanding.open(), 3);
        lane.outstanding.close(0);
        lane.lose_connection();
        assert_eq!((lane.ledger.in_doubt, lane.outstanding.open()), (2, 0));
        assert_eq!(lane.number(0, true), 4);
        assert_eq!(lane.told(9, Told::Accepted), None, "never sent");
    }

    #[test]
    fn what_was_due_and_never_went_is_known() {
        let mut lane = lane(Some(1_000), None);
        assert_eq!(lane.overdue(0, 10 * MS).len(), 11);
    }
}
