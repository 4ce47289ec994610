//! What the workers of a run share: when it begins and ends, and how far they are.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use super::series::Span;
use crate::failure::Failure;

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
