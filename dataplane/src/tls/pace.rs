//! How much of a thread's time those may take who are not let in yet.

use std::time::{Duration, Instant};

/// What may be spent at once after a quiet time.
const BURST: Duration = Duration::from_millis(4);

/// Of each moment that a handshake takes, this many have to pass before the next: half of the time belongs to
/// those who have been let in, however many knock.
const SHARE: u32 = 2;

/// Keeps handshakes at half of a thread's time. A handshake takes a thousand times as long as a message, most
/// of it for signatures, and whoever asks for one need not do the same work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When all is paid for that was spent.
    even_at: Option<Instant>,
}

impl Pace {
    /// When the next step may be taken; a time that is past or `None`: now.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.even_at.map(|even| even.checked_sub(BURST).unwrap_or(even))
    }

    /// Whether a step may be taken now.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next().is_none_or(|next| next <= now)
    }

    /// A step has taken so long.
    pub(crate) fn spend(&mut self, now: Instant, time: Duration) {
        let from = self.even_at.map_or(now, |even| even.max(now));
        self.even_at = Some(from + time * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn handshakes_take_half_of_the_time_however_many_there_are() {
        let start = Instant::now();
        let (mut pace, mut now, mut spent) = (Pace::default(), start, Duration::ZERO);
        while now < start + 1_000 * MS {
            if pace.is_due(now) {
                spent += MS;
                now += MS;
                pace.spend(now, MS);
            } else {
                now += MS / 4;
            }
        }
        assert!(spent >= 450 * MS && spent <= 510 * MS, "{spent:?} of a second");
    }

    #[test]
    fn a_handshake_alone_does_not_wait() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_due(now));
        pace.spend(now, MS);
        assert!(pace.is_due(now), "two more may follow at once");
        pace.spend(now, 2 * MS);
        assert!(!pace.is_due(now));
        assert_eq!(pace.next(), Some(now + 2 * MS));
        assert!(pace.is_due(now + 2 * MS));
    }
}
