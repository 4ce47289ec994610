//! How long to wait before trying again.

use std::time::Duration;

/// The first wait between nodes; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(50);

/// Few enough tries that a node which is away costs its neighbours nothing, many enough that one which is
/// back is noticed at once.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits that grow, each shortened by chance so that nodes which lost the same neighbour do not all come
/// back to it at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

impl Backoff {
    /// Waits of about so long, each further one twice as long up to a longest.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The wait before the next try; `random` is any number.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_millis(random % millis)
    }

    /// It went well: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_two_seconds_and_are_never_nothing() {
        for random in [0, 1, 999_999_937, u64::MAX] {
            let mut backoff = Backoff::default();
            let waits: Vec<Duration> = (0..40).map(|_| backoff.next(random)).collect();
            assert!(waits.iter().all(|wait| *wait >= FIRST / 2 && *wait <= LONGEST), "{waits:?}");
            assert!(waits.last().is_some_and(|wait| *wait >= LONGEST / 2));
        }
    }

    #[test]
    fn after_a_success_the_wait_is_short_again() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next(7);
        }
        backoff.reset();
        assert!(backoff.next(7) <= FIRST);
    }
}
