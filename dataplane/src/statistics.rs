//! The counters of the node, and how fast they grow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mq_model::admin::{Outcomes, Statistics};

use crate::hub::ShardStatistics;

/// How far back the rates look.
const WINDOW: Duration = Duration::from_secs(10);

/// Samples that are kept. One each second fills the window; more are not needed.
const MAX_SAMPLES: usize = 16;

/// Deliveries per second over the last ten seconds, or since the start where that is later.
///
/// Feed it with [`record`](Self::record) about once a second. `now` never goes back.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    deliveries_in: u64,
    deliveries_out: u64,
}

impl Rates {
    /// Remembers the counters of this moment.
    pub(crate) fn record(&mut self, now: Instant, total: &Statistics) {
        // One sample at or beyond the edge of the window stays: the rate is measured from there.
        while self.samples.len() >= MAX_SAMPLES
            || self.samples.get(1).is_some_and(|second| now.saturating_duration_since(second.at) >= WINDOW)
        {
            self.samples.pop_front();
        }
        let Statistics { deliveries_in, deliveries_out, .. } = *total;
        self.samples.push_back(Sample { at: now, deliveries_in, deliveries_out });
    }

    /// Sets the rates of `total`, the counters of this moment.
    pub(crate) fn rate(&self, now: Instant, total: &mut Statistics) {
        let Some(oldest) = self.samples.front() else { return };
        let seconds = now.saturating_duration_since(oldest.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        // A worker that has ended takes its counters along: the sum may shrink.
        total.rate_in = total.deliveries_in.saturating_sub(oldest.deliveries_in) as f64 / seconds;
        total.rate_out = total.deliveries_out.saturating_sub(oldest.deliveries_out) as f64 / seconds;
    }
}

/// The sum of the shards' counters; rates and addresses are left at zero.
pub(crate) fn sum(shards: &[ShardStatistics]) -> Statistics {
    shards.iter().fold(Statistics::default(), |total, shard| Statistics {
        connections: total.connections + shard.connections,
        connections_opened: total.connections_opened + shard.connections_opened,
        sessions: total.sessions + shard.sessions,
        producers: total.producers + shard.producers,
        consumers: total.consumers + shard.consumers,
        deliveries_in: total.deliveries_in + shard.deliveries_in,
        deliveries_out: total.deliveries_out + shard.deliveries_out,
        bytes_in: total.bytes_in + shard.bytes_in,
        bytes_out: total.bytes_out + shard.bytes_out,
        outcomes: Outcomes {
            accepted: total.outcomes.accepted + shard.outcomes.accepted,
            rejected: total.outcomes.rejected + shard.outcomes.rejected,
            released: total.outcomes.released + shard.outcomes.released,
            modified: total.outcomes.modified + shard.outcomes.modified,
            presettled: total.outcomes.presettled + shard.outcomes.presettled,
        },
        dropped: total.dropped + shard.dropped,
        expired: total.expired + shard.expired,
        undelivered: total.undelivered + shard.undelivered,
        unsettled: total.unsettled + shard.unsettled,
        ..total
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(deliveries_in: u64) -> Statistics {
        Statistics { deliveries_in, deliveries_out: 2 * deliveries_in, ..Statistics::default() }
    }

    #[test]
    fn the_rate_covers_the_last_ten_seconds_and_no_more() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        // 1,000 a second for a minute, then silence.
        let mut sent = 0;
        for second in 0..=60 {
            rates.record(start + Duration::from_secs(second), &total(sent));
            sent += if second < 60 { 1_000 } else { 0 };
        }
        let mut now = total(sent);
        rates.rate(start + Duration::from_secs(60), &mut now);
        assert_eq!((now.rate_in, now.rate_out), (1_000.0, 2_000.0));
        for second in 61..=70 {
            rates.record(start + Duration::from_secs(second), &total(sent));
        }
        rates.rate(start + Duration::from_secs(70), &mut now);
        assert_eq!((now.rate_in, now.rate_out), (0.0, 0.0));
    }

    #[test]
    fn before_ten_seconds_the_rate_covers_what_there_is() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut now = total(500);
        rates.rate(start, &mut now);
        assert_eq!(now.rate_in, 0.0);
        rates.record(start, &total(0));
        rates.rate(start, &mut now);
        assert_eq!(now.rate_in, 0.0);
        rates.rate(start + Duration::from_secs(2), &mut now);
        assert_eq!(now.rate_in, 250.0);
    }

    #[test]
    fn samples_are_bounded_however_often_they_are_taken() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        for tick in 0..10_000 {
            rates.record(start + Duration::from_micros(tick), &total(tick));
        }
        assert!(rates.samples.len() <= MAX_SAMPLES);
    }

    #[test]
    fn counters_that_shrink_give_no_rate() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        rates.record(start, &total(100));
        let mut now = total(1);
        rates.rate(start + Duration::from_secs(1), &mut now);
        assert_eq!(now.rate_in, 0.0);
    }
}
