//! Two clocks: what has to survive a restart is told in wall time, everything else in `Instant`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::store::UnixMillis;

/// 1970-01-01.
const EPOCH: UnixMillis = UnixMillis(0);

/// How the two relate. Until it is set, the wall clock began with the first address that keeps messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    set: Option<(Instant, UnixMillis)>,
    /// What was asked for last: a turn asks for the same moment again and again.
    last: Cell<Option<(Instant, UnixMillis)>>,
}

impl Clock {
    /// Counts from a moment, if nothing better is known.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.set.is_none() {
            self.set(now, UnixMillis(0));
        }
    }

    pub(crate) fn set(&mut self, now: Instant, unix: UnixMillis) {
        self.set = Some((now, unix));
        self.last.set(None);
    }

    /// The wall time of a moment.
    #[inline]
    pub(crate) fn unix(&self, at: Instant) -> UnixMillis {
        if let Some((last, unix)) = self.last.get()
            && last == at
        {
            return unix;
        }
        let unix = self.convert(at);
        self.last.set(Some((at, unix)));
        unix
    }

    fn convert(&self, at: Instant) -> UnixMillis {
        let Some((known, unix)) = self.set else { return UnixMillis(0) };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        UnixMillis(match at.checked_duration_since(known) {
            Some(later) => unix.0.saturating_add(millis(later)),
            None => unix.0.saturating_sub(millis(known.saturating_duration_since(at))),
        })
    }

    /// The moment of a wall time; `None` when it is further away than can be counted.
    pub(crate) fn instant(&self, at: UnixMillis, now: Instant) -> Option<Instant> {
        let (known, unix) = self.set.unwrap_or((now, EPOCH));
        if at >= unix {
            known.checked_add(Duration::from_millis(at.0 - unix.0))
        } else {
            known.checked_sub(Duration::from_millis(unix.0 - at.0)).or_else(|| Some(known.min(now)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_clocks_convert_into_each_other() {
        let now = Instant::now() + Duration::from_secs(1_000);
        let mut clock = Clock::default();
        clock.set(now, UnixMillis(1_000_000));
        for offset in [0_u64, 1, 999, 86_400_000] {
            let later = now + Duration::from_millis(offset);
            assert_eq!(clock.unix(later), UnixMillis(1_000_000 + offset));
            assert_eq!(clock.instant(UnixMillis(1_000_000 + offset), now), Some(later));
        }
        let earlier = now - Duration::from_secs(10);
        assert_eq!(clock.unix(earlier), UnixMillis(990_000));
        assert_eq!(clock.instant(UnixMillis(990_000), now), Some(earlier));
    }
}
