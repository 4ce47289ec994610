//! When each message is meant to leave: a schedule that does not wait for the target.
//!
//! Message *n* of all senders together has the intended time `start + n / rate`. Senders take turns:
//! sender *s* of *S* sends the messages *s*, *s + S*, *s + 2S*, ... so that together they are as even as one.
//! A sender that fell behind catches up in bursts of at most one millisecond's worth per turn, so that it
//! reads and settles in between. Nothing here knows the time: it comes in as nanoseconds since the start.

use std::sync::Arc;

use super::result::Step;

const NANOS: u128 = 1_000_000_000;
/// What a sender may catch up with in one turn, in nanoseconds of its schedule.
const BURST: u64 = 1_000_000;

/// The intended times of all messages of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// In order; the last one has no end.
    segments: Vec<Segment>,
}

/// A part of constant rate.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    /// Nanoseconds since the start of the run.
    start: u64,
    /// The number of the first message.
    first: u64,
    /// Messages per second; at least one.
    rate: u64,
}

impl Schedule {
    /// `rate` messages per second for ever; a rate of zero counts as one.
    pub fn constant(rate: u64) -> Self {
        Self { segments: vec![Segment { start: 0, first: 0, rate: rate.max(1) }] }
    }

    /// One step after the other; the rate of the last step stays. Without steps: `rate`.
    pub fn ramp(steps: &[Step], rate: u64) -> Self {
        let mut schedule = Self { segments: Vec::with_capacity(steps.len() + 1) };
        let (mut start, mut first) = (0u64, 0u64);
        for step in steps {
            let segment = Segment { start, first, rate: step.rate.max(1) };
            let length = (step.seconds.max(0.0) * NANOS as f64) as u64;
            start = start.saturating_add(length);
            first = segment.count_until(start);
            schedule.segments.push(segment);
        }
        schedule.segments.push(Segment { start, first, rate: rate.max(1) });
        schedule
    }

    /// When message `number` is meant to leave, in nanoseconds since the start.
    pub fn time_of(&self, number: u64) -> u64 {
        let after = self.segments.partition_point(|segment| segment.first <= number);
        // Segments may be empty: the last of those that begin with the same message counts.
        after.checked_sub(1).and_then(|index| self.segments.get(index)).map_or(0, |s| s.time_of(number))
    }

    /// How many messages are meant to leave before `time`.
    pub fn count_until(&self, time: u64) -> u64 {
        let after = self.segments.partition_point(|segment| segment.start <= time);
        after.checked_sub(1).and_then(|index| self.segments.get(index)).map_or(0, |s| s.count_until(time))
    }

    /// The rate in force at `time`.
    fn rate_at(&self, time: u64) -> u64 {
        let after = self.segments.partition_point(|segment| segment.start <= time);
        after.checked_sub(1).and_then(|index| self.segments.get(index)).map_or(1, |segment| segment.rate)
    }
}

impl Segment {
    fn time_of(&self, number: u64) -> u64 {
        let offset = u128::from(number.saturating_sub(self.first)) * NANOS / u128::from(self.rate);
        self.start.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    fn count_until(&self, time: u64) -> u64 {
        let length = u128::from(time.saturating_sub(self.start));
        let count = (length * u128::from(self.rate)).div_ceil(NANOS);
        self.first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// One sender's part of a schedule.
///
/// Call [`begin_turn`](Self::begin_turn) once per turn of the loop, then [`take`](Self::take) as long as there
/// is a message and room for it, and sleep until [`next_time`](Self::next_time).
#[derive(Clone, Debug)]
pub struct Pace {
    schedule: Arc<Schedule>,
    /// The number of the next message, among those of all senders.
    next: u64,
    senders: u64,
    /// Intended times from here on are not sent any more.
    end: u64,
    allowance: u64,
}

impl Pace {
    /// The part of `sender` among `senders`, for intended times before `end`.
    pub fn new(schedule: Arc<Schedule>, sender: u64, senders: u64, end: u64) -> Self {
        Self { schedule, next: sender, senders: senders.max(1), end, allowance: 0 }
    }

    /// Renews what may be sent before the loop has to turn.
    pub fn begin_turn(&mut self, now: u64) {
        let rate = u128::from(self.schedule.rate_at(now));
        let burst = rate * u128::from(BURST) / NANOS / u128::from(self.senders);
        self.allowance = u64::try_from(burst).unwrap_or(u64::MAX).max(1);
    }

    /// The intended time of the next message; `None` when there is none left.
    pub fn next_time(&self) -> Option<u64> {
        Some(self.schedule.time_of(self.next)).filter(|time| *time < self.end)
    }

    /// Whether a message should have left by now.
    pub fn is_due(&self, now: u64) -> bool {
        self.next_time().is_some_and(|time| time <= now)
    }

    /// Takes the next message when its time has come and the burst is not used up; answers with its
    /// intended time.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let time = self.next_time().filter(|time| *time <= now)?;
        self.allowance = self.allowance.checked_sub(1)?;
        self.next = self.next.saturating_add(self.senders);
        Some(time)
    }

    /// How many messages are left, of which no more will be taken.
    pub fn left(&self) -> u64 {
        let total = self.schedule.count_until(self.end);
        total.saturating_sub(self.next).div_ceil(self.senders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Sends everything that is due at each tick of a virtual clock.
    fn drive(pace: &mut Pace, from: u64, to: u64, tick: u64) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        let mut now = from;
        while now <= to {
            pace.begin_turn(now);
            while let Some(time) = pace.take(now) {
                sent.push((now, time));
            }
            now += tick;
        }
        sent
    }

    #[test]
    fn message_n_is_meant_to_leave_at_n_over_rate() {
        let schedule = Schedule::constant(3);
        let times: Vec<u64> = (0..4).map(|n| schedule.time_of(n)).collect();
        assert_eq!(times, [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(schedule.count_until(1_000_000_000), 3);
        assert_eq!(schedule.time_of(u64::MAX), u64::MAX);
    }

    #[test]
    fn senders_take_turns_and_leave_nothing_out() {
        let schedule = Arc::new(Schedule::constant(1_000));
        let mut all = Vec::new();
        for sender in 0..3 {
            let mut pace = Pace::new(schedule.clone(), sender, 3, 100 * MS);
            all.extend(drive(&mut pace, 0, 200 * MS, MS).into_iter().map(|(_, time)| time));
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).map(|n| n * MS).collect::<Vec<_>>());
    }

    #[test]
    fn a_stall_does_not_move_the_schedule() {
        let mut pace = Pace::new(Arc::new(Schedule::constant(10_000)), 0, 1, 1_000 * MS);
        let mut sent = drive(&mut pace, 0, 100 * MS, MS / 10);
        // Nothing runs for 200 ms.
        sent.extend(drive(&mut pace, 300 * MS, 1_100 * MS, MS / 10));
        assert_eq!(sent.len(), 10_000);
        let delays: Vec<u64> = sent.iter().map(|(now, time)| now - time).collect();
        assert!(delays.iter().max() >= Some(&(199 * MS)), "the stall shows as delay");
        let late = delays.iter().filter(|delay| **delay > MS).count();
        assert!((1_990..2_300).contains(&late), "{late} messages waited");
    }

    #[test]
    fn catching_up_takes_bursts_of_a_millisecond() {
        let mut pace = Pace::new(Arc::new(Schedule::constant(50_000)), 0, 1, u64::MAX);
        let now = 1_000 * MS;
        pace.begin_turn(now);
        assert_eq!(std::iter::from_fn(|| pace.take(now)).count(), 50);
        pace.begin_turn(now);
        assert_eq!(std::iter::from_fn(|| pace.take(now)).count(), 50);
        let mut slow = Pace::new(Arc::new(Schedule::constant(10)), 0, 4, u64::MAX);
        slow.begin_turn(now);
        assert_eq!(std::iter::from_fn(|| slow.take(now)).count(), 1, "at least one per turn");
    }

    #[test]
    fn a_ramp_goes_from_step_to_step_and_stays_at_the_rate() {
        let steps = [Step { rate: 10, seconds: 1.0 }, Step { rate: 100, seconds: 0.5 }];
        let schedule = Schedule::ramp(&steps, 1_000);
        assert_eq!(schedule.count_until(1_000 * MS), 10);
        assert_eq!(schedule.count_until(1_500 * MS), 60);
        assert_eq!(schedule.count_until(2_500 * MS), 1_060);
        assert_eq!(schedule.time_of(10), 1_000 * MS);
        assert_eq!(schedule.time_of(60), 1_500 * MS);
        assert_eq!(schedule.time_of(61), 1_501 * MS);
        assert!((0..2_000).all(|n| schedule.time_of(n) < schedule.time_of(n + 1)));
    }

    #[test]
    fn what_is_left_is_known() {
        let mut pace = Pace::new(Arc::new(Schedule::constant(1_000)), 1, 4, 10 * MS);
        assert_eq!(pace.left(), 3, "messages 1, 5 and 9");
        pace.begin_turn(5 * MS);
        assert_eq!(pace.take(5 * MS), Some(MS));
        assert_eq!(pace.left(), 2);
        assert_eq!(drive(&mut pace, 5 * MS, 20 * MS, MS).len(), 2);
        assert_eq!((pace.left(), pace.next_time()), (0, None));
    }
}
