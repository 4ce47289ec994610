//! The monotonic clock of this machine: the one that all processes of one boot share.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Reads the time once for the engines, which want an [`Instant`], and for the figures, which want nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// The monotonic clock at the origin, in nanoseconds.
    base: u64,
}

impl Clock {
    pub fn new() -> Self {
        Self { origin: Instant::now(), base: nanos(ClockId::Monotonic) }
    }

    /// Nanoseconds of the monotonic clock.
    pub fn nanos(&self) -> u64 {
        self.at(Instant::now())
    }

    /// An instant as nanoseconds of the monotonic clock.
    pub fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin).as_nanos();
        self.base.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    Duration::from_nanos(nanos(ClockId::ThreadCPUTime))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Both fields are not negative on these clocks.
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
