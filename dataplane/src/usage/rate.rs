//! How fast something may be sent.
//!
//! A bucket that says when it will have been paid off what was taken: a single number, so that all shards take
//! from it without a lock. What is taken beyond the rate makes its sender wait, until exactly its own part is
//! paid off; so senders that wait take turns, whoever asks first. Where so many wait that the last would have to
//! wait for longer than [`LONGEST_DEBT`], nothing more is taken: there waiting has stopped to slow anybody down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::UNLIMITED;
use super::fleet::Flow;

/// What may be taken at once after a pause, in time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// How much later than now what was taken may be paid off and still more be taken.
pub(crate) const LONGEST_DEBT: Duration = Duration::from_secs(5);

/// How long whoever has sent something has to wait before he sends more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pass(pub(crate) Duration);

/// A rate that may be limited.
#[derive(Debug)]
pub(super) struct Rate {
    epoch: Instant,
    /// Units in a second, in the fleet.
    limit: AtomicU64,
    /// The part of this node.
    share: AtomicU64,
    /// When what was taken is paid off, in nanoseconds since the epoch.
    due: AtomicU64,
    /// Units taken since the flow was asked for last.
    taken: AtomicU64,
    /// Somebody had to wait since then.
    is_short: AtomicBool,
}

impl Rate {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            limit: AtomicU64::new(UNLIMITED),
            share: AtomicU64::new(UNLIMITED),
            due: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        }
    }

    /// Units in a second that the fleet lets through. Until other nodes have said that they take some of it, all
    /// of it is this node's.
    pub(super) fn set_limit(&self, limit: Option<u64>) {
        let limit = limit.unwrap_or(UNLIMITED);
        if self.limit.swap(limit, Ordering::Relaxed) != limit {
            self.share.store(limit, Ordering::Relaxed);
        }
    }

    pub(super) fn limit(&self) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        (limit != UNLIMITED).then_some(limit)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit().is_some()
    }

    /// Units in a second that this node lets through.
    pub(super) fn share(&self) -> Option<u64> {
        let share = self.share.load(Ordering::Relaxed);
        (share != UNLIMITED).then_some(share)
    }

    pub(super) fn set_share(&self, share: u64) {
        self.share.store(share.max(1), Ordering::Relaxed);
    }

    /// Whether so many wait that nothing more should be taken.
    pub(super) fn is_swamped(&self, now: Instant) -> bool {
        self.is_limited()
            && self.due.load(Ordering::Relaxed) > self.nanos(now).saturating_add(nanos_of(LONGEST_DEBT))
    }

    /// Takes so many units; says how long their sender has to wait before he sends more.
    pub(super) fn take(&self, now: Instant, units: u64) -> Pass {
        let Some(share) = self.share().filter(|_| units > 0) else { return Pass::default() };
        self.taken.fetch_add(units, Ordering::Relaxed);
        let cost = u128::from(units) * 1_000_000_000 / u128::from(share.max(1));
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let now = self.nanos(now);
        let paid = |due: u64| due.max(now).saturating_add(cost);
        let update = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(paid(due)));
        let due = paid(update.unwrap_or_else(|due| due));
        let wait = Duration::from_nanos(due - now).saturating_sub(BURST);
        if !wait.is_zero() {
            self.is_short.store(true, Ordering::Relaxed);
        }
        Pass(wait)
    }

    /// What has passed since this was asked last.
    pub(super) fn flow(&self, now: Instant, period: Duration) -> Flow {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        let is_waited = self.due.load(Ordering::Relaxed) > self.nanos(now).saturating_add(nanos_of(BURST));
        let is_short = self.is_short.swap(false, Ordering::Relaxed) || (is_waited && self.is_limited());
        let millis = period.as_millis().max(1);
        let rate = u128::from(taken) * 1_000 / millis;
        Flow { rate: u64::try_from(rate).unwrap_or(u64::MAX), is_short }
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos_of(now.saturating_duration_since(self.epoch))
    }
}

fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(limit: u64) -> (Rate, Instant) {
        let now = Instant::now();
        let rate = Rate::new(now);
        rate.set_limit(Some(limit));
        (rate, now)
    }

    /// Senders that do as they are told, for so long; what each of them has sent.
    fn sent(rate: &Rate, begin: Instant, senders: usize, units: u64, time: Duration) -> Vec<u64> {
        let mut next = vec![begin; senders];
        let mut sent = vec![0; senders];
        loop {
            let (index, at) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at).expect("a sender");
            if at >= begin + time {
                return sent;
            }
            let Pass(wait) = rate.take(at, units);
            sent[index] += units;
            // Sending takes a moment itself.
            next[index] = at + wait.max(Duration::from_micros(1));
        }
    }

    #[test]
    fn what_is_sent_in_a_while_is_the_rate_and_a_burst() {
        for (limit, units) in [(5, 1), (100, 1), (5_000, 1), (1_000_000, 1_000), (1_000, 70)] {
            let (rate, begin) = limited(limit);
            let all: u64 = sent(&rate, begin, 1, units, Duration::from_secs(20)).into_iter().sum();
            let (least, most) = (limit * 20, limit * 20 + limit / 10 + 2 * units);
            assert!(
                (least..=most).contains(&all),
                "{all} of {least}..={most} at {limit} in parts of {units}"
            );
        }
    }

    #[test]
    fn senders_that_wait_take_turns() {
        let (rate, begin) = limited(100);
        let sent = sent(&rate, begin, 10, 1, Duration::from_secs(30));
        let (least, most) = (sent.iter().min().expect("senders"), sent.iter().max().expect("senders"));
        assert!(most - least <= 2, "{sent:?}");
        let all: u64 = sent.iter().sum();
        assert!((3_000..=3_030).contains(&all), "{all}");
    }

    #[test]
    fn nothing_waits_without_a_limit() {
        let rate = Rate::new(Instant::now());
        assert_eq!(rate.take(Instant::now(), u64::MAX), Pass::default());
        assert!(!rate.is_swamped(Instant::now()));
    }

    #[test]
    fn more_than_can_wait_is_too_much_until_some_is_paid_off() {
        let (rate, begin) = limited(10);
        let taken = (0..1_000).take_while(|_| {
            let is_let = !rate.is_swamped(begin);
            if is_let {
                rate.take(begin, 1);
            }
            is_let
        });
        assert_eq!(taken.count(), 51, "five seconds at ten in a second, and the one that goes beyond");
        assert!(rate.is_swamped(begin));
        assert!(!rate.is_swamped(begin + Duration::from_millis(100)));
    }

    #[test]
    fn a_rate_that_is_lifted_holds_nobody() {
        let (rate, begin) = limited(1);
        for _ in 0..10 {
            rate.take(begin, 1);
        }
        rate.set_limit(None);
        assert_eq!(rate.take(begin, 1), Pass::default());
        assert!(!rate.is_swamped(begin));
    }

    #[test]
    fn a_unit_larger_than_every_number_is_no_overflow() {
        let (rate, begin) = limited(1);
        assert!(rate.take(begin, u64::MAX).0 > Duration::from_secs(1));
        assert!(rate.take(begin, u64::MAX).0 > Duration::from_secs(1));
    }
}
