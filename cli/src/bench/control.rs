//! What the workers of a run share: when it begins and ends, and how far they are.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use super::series::Span;
use crate::failure::Failure;

/// Nanoseconds without an arrival after which what is missing counts as lost.
const GIVEN_UP: u64 = 100_000_000;

/// How far senders may be ahead of receivers. With MQTT an acknowledgement says nothing of the receivers:
/// without a bound, a closed loop would measure how fast a broker drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Messages of all senders together.
    pub messages: u64,
    /// How often each of them comes.
    pub copies: u64,
}

/// When things happen, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The first message is meant to leave.
    pub start: u64,
    /// What is measured; no message is meant to leave after it.
    pub span: Span,
    /// Nobody waits for anything any more.
    pub deadline: u64,
}

/// The state of a run. Only what changes seldom is here, and what is counted once per read.
#[derive(Debug, Default)]
pub struct Control {
    timing: OnceLock<Timing>,
    stop: AtomicBool,
    quit: AtomicBool,
    attached: AtomicUsize,
    ready: AtomicUsize,
    lanes_done: AtomicUsize,
    sent: AtomicU64,
    left: AtomicU64,
    given_up: AtomicU64,
    settled: AtomicU64,
    arrived: AtomicU64,
    last_arrival: AtomicU64,
    silence: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

impl Control {
    /// Lets the load begin.
    pub fn begin(&self, timing: Timing) {
        // It begins once: a second call changes nothing.
        let _ = self.timing.set(timing);
    }

    /// `None` while connections are being made.
    pub fn timing(&self) -> Option<Timing> {
        self.timing.get().copied()
    }

    /// No further message is to leave.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// All workers are to end.
    pub fn quit(&self) {
        self.quit.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.quit.load(Ordering::Relaxed)
    }

    /// A connection is attached.
    pub fn add_attached(&self) {
        self.attached.fetch_add(1, Ordering::Relaxed);
    }

    pub fn attached(&self) -> usize {
        self.attached.load(Ordering::Relaxed)
    }

    /// A connection is attached, and its senders may send.
    pub fn add_ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    pub fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// A sender has sent everything, so many messages, and knows what became of it.
    pub fn add_lane_done(&self, sent: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.lanes_done.fetch_add(1, Ordering::Relaxed);
    }

    pub fn lanes_done(&self) -> usize {
        self.lanes_done.load(Ordering::Relaxed)
    }

    /// What the senders that are done have sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// So many messages have left.
    pub fn add_left(&self, count: u64) {
        self.left.fetch_add(count, Ordering::Relaxed);
    }

    /// How many messages may leave. What has been missing for long is lost, and keeps nobody back.
    pub fn allowance(&self, reach: Reach, now: u64) -> u64 {
        let copies = reach.copies.max(1);
        let due = self.left.load(Ordering::Relaxed).saturating_mul(copies);
        let missing =
            due.saturating_sub(self.arrived()).saturating_sub(self.given_up.load(Ordering::Relaxed));
        let left = reach.messages.saturating_sub(missing.div_ceil(copies));
        let since = self.last_arrival().max(self.timing().map_or(0, |timing| timing.start));
        if left == 0 && now.saturating_sub(since) > GIVEN_UP {
            self.given_up.fetch_max(due.saturating_sub(self.arrived()), Ordering::Relaxed);
            return reach.messages;
        }
        left
    }

    pub fn add_settled(&self, count: u64) {
        self.settled.fetch_add(count, Ordering::Relaxed);
    }

    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// `count` messages came at `now`.
    pub fn add_arrived(&self, count: u64, now: u64) {
        self.arrived.fetch_add(count, Ordering::Relaxed);
        let previous = self.last_arrival.fetch_max(now, Ordering::Relaxed);
        let is_measured = |timing: Timing| previous >= timing.span.from && now < timing.span.to;
        if self.timing().is_some_and(is_measured) {
            self.silence.fetch_max(now.saturating_sub(previous), Ordering::Relaxed);
        }
    }

    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    pub fn last_arrival(&self) -> u64 {
        self.last_arrival.load(Ordering::Relaxed)
    }

    /// The longest time between two arrivals, in nanoseconds.
    pub fn silence(&self) -> u64 {
        self.silence.load(Ordering::Relaxed)
    }

    /// The run cannot begin. The first reason counts.
    pub fn fail(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        self.quit();
    }

    pub fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACH: Reach = Reach { messages: 10, copies: 2 };

    fn begun() -> Control {
        let control = Control::default();
        control.begin(Timing { start: 0, span: Span { from: 0, to: u64::MAX }, deadline: u64::MAX });
        control
    }

    #[test]
    fn senders_stay_within_reach_of_their_receivers() {
        let control = begun();
        assert_eq!(control.allowance(REACH, 1), 10);
        control.add_left(10);
        assert_eq!(control.allowance(REACH, 2), 0);
        control.add_arrived(7, 3);
        assert_eq!(control.allowance(REACH, 4), 3, "a message has come when each of its copies has");
        control.add_arrived(13, 5);
        assert_eq!(control.allowance(REACH, 6), 10);
    }

    #[test]
    fn what_is_lost_keeps_nobody_back_for_ever() {
        let control = begun();
        control.add_left(10);
        control.add_arrived(2, 5);
        control.add_left(1);
        assert_eq!(control.allowance(REACH, 5 + GIVEN_UP), 0);
        assert_eq!(control.allowance(REACH, 6 + GIVEN_UP), 10);
        control.add_left(4);
        assert_eq!(control.allowance(REACH, 7 + GIVEN_UP), 6);
    }
}
