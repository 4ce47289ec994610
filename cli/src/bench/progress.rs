//! How a run goes, second by second: a line that moves on a terminal, plain lines in a log.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::{
    run::{Order, Watcher},
    series::{Measure, Window},
};
use crate::shape;

/// Seconds between two lines in a log.
const LINE_EVERY: u64 = 5;
/// Seconds of the sparkline.
const SPARKS: usize = 30;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows a run.
pub struct Progress<'a> {
    bar: Option<ProgressBar>,
    talk: &'a dyn Fn(&str),
    rates: Vec<u64>,
}

impl<'a> Progress<'a> {
    /// `is_watched`: somebody looks at a terminal. Otherwise lines go to `talk`.
    pub fn new(is_watched: bool, talk: &'a dyn Fn(&str)) -> Self {
        let bar = is_watched.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                indicatif::ProgressStyle::with_template("{spinner} {msg}")
                    .unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, talk, rates: Vec::new() }
    }
}

impl Watcher for Progress<'_> {
    fn second(&mut self, order: &Order, seconds: u64, window: &Window) {
        let rate = window.received.max(window.settled).max(window.sent);
        self.rates.push(rate);
        let mut text = match order.load.duration() {
            Some(duration) => format!("{seconds}s of {}s", duration.as_secs_f64().ceil()),
            None => format!("{seconds}s"),
        };
        text.push_str(&format!("  {}/s", shape::number(rate)));
        for (name, measure) in [
            ("e2e", Measure::EndToEnd),
            ("rtt", Measure::RoundTrip),
            ("ack", Measure::Ack),
            ("connect", Measure::Connect),
        ] {
            let latencies = window.of(measure);
            if !latencies.is_empty() {
                let p99 = Duration::from_nanos(latencies.at(0.99));
                text.push_str(&format!("  {name} p99 {}", shape::elapsed(p99)));
                break;
            }
        }
        match &self.bar {
            Some(bar) => bar.set_message(format!("{text}  {}", sparkline(&self.rates))),
            None if seconds.is_multiple_of(LINE_EVERY) => (self.talk)(&text),
            None => {}
        }
    }

    fn says(&mut self, what: &str) {
        self.rates.clear();
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => (self.talk)(what),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The last seconds as bars, from zero to the highest of them.
fn sparkline(rates: &[u64]) -> String {
    let shown = rates.get(rates.len().saturating_sub(SPARKS)..).unwrap_or_default();
    let highest = shown.iter().copied().max().unwrap_or_default().max(1);
    let level = |rate: &u64| {
        let level = u128::from(*rate) * (LEVELS.len() as u128 - 1) / u128::from(highest);
        usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).copied().unwrap_or(' ')
    };
    shown.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_goes_from_nothing_to_the_highest() {
        assert_eq!(sparkline(&[0, 50, 100, u64::MAX]), "▁▁▁█");
        assert_eq!(sparkline(&[0, 50, 100]), "▁▄█");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[1; 100]).chars().count(), SPARKS);
    }
}
