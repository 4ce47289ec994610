//! Seconds of a run: each worker records into a window of its own and hands it over when the second is over.
//!
//! Nothing is shared while messages flow: no lock, no atomic. A window belongs to the second in which
//! something happened; a latency that arrives after the end of the measured part belongs to its last second.

use std::{collections::BTreeMap, sync::mpsc};

use super::{
    histogram::Histogram,
    result::{Interval, Latencies},
};

/// The length of a window in nanoseconds.
pub const WINDOW: u64 = 1_000_000_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Delay,
    Lag,
    Ack,
    EndToEnd,
    RoundTrip,
    Connect,
}

/// One second of one worker, or of all.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Seconds since the beginning of the measured part.
    pub index: u64,
    pub sent: u64,
    pub settled: u64,
    pub received: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    delay: Histogram,
    lag: Histogram,
    ack: Histogram,
    e2e: Histogram,
    rtt: Histogram,
    connect: Histogram,
}

impl Window {
    pub fn of(&self, measure: Measure) -> &Histogram {
        match measure {
            Measure::Delay => &self.delay,
            Measure::Lag => &self.lag,
            Measure::Ack => &self.ack,
            Measure::EndToEnd => &self.e2e,
            Measure::RoundTrip => &self.rtt,
            Measure::Connect => &self.connect,
        }
    }

    fn of_mut(&mut self, measure: Measure) -> &mut Histogram {
        match measure {
            Measure::Delay => &mut self.delay,
            Measure::Lag => &mut self.lag,
            Measure::Ack => &mut self.ack,
            Measure::EndToEnd => &mut self.e2e,
            Measure::RoundTrip => &mut self.rtt,
            Measure::Connect => &mut self.connect,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.settled += other.settled;
        self.received += other.received;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        for measure in [
            Measure::Delay,
            Measure::Lag,
            Measure::Ack,
            Measure::EndToEnd,
            Measure::RoundTrip,
            Measure::Connect,
        ] {
            self.of_mut(measure).merge(other.of(measure));
        }
    }

    /// All latencies of the window.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            delay: self.delay.distribution(),
            lag: self.lag.distribution(),
            ack: self.ack.distribution(),
            e2e: self.e2e.distribution(),
            rtt: self.rtt.distribution(),
            connect: self.connect.distribution(),
        }
    }
}

/// The measured part of a run: from the one, up to the other, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    /// `u64::MAX` while nobody knows: a run of a given count ends when it is done.
    pub to: u64,
}

impl Span {
    pub fn contains(&self, time: u64) -> bool {
        (self.from..self.to).contains(&time)
    }

    /// The window of a time; what comes before or after goes into the first or the last one.
    fn index(&self, time: u64) -> u64 {
        let last = self.to.saturating_sub(self.from).saturating_sub(1) / WINDOW;
        (time.saturating_sub(self.from) / WINDOW).min(last)
    }
}

/// What a worker hands over.
#[derive(Debug)]
pub struct Handover {
    pub worker: usize,
    pub window: Window,
}

/// Records for one worker.
#[derive(Debug)]
pub struct Recorder {
    worker: usize,
    span: Span,
    window: Window,
    windows: mpsc::Sender<Handover>,
}

impl Recorder {
    pub fn new(worker: usize, span: Span, windows: mpsc::Sender<Handover>) -> Self {
        Self { worker, span, window: Window::default(), windows }
    }

    pub fn span(&self) -> Span {
        self.span
    }

    /// Hands the window over when its second has passed.
    pub fn advance(&mut self, now: u64) {
        let index = self.span.index(now);
        if index > self.window.index {
            let window = std::mem::replace(&mut self.window, Window { index, ..Window::default() });
            self.hand_over(window);
        }
    }

    /// A message left.
    pub fn sent(&mut self, at: u64, bytes: usize) {
        if self.span.contains(at) {
            self.window.sent += 1;
            self.window.sent_bytes += bytes as u64;
        }
    }

    /// The outcome of a message came.
    pub fn settled(&mut self, at: u64) {
        if self.span.contains(at) {
            self.window.settled += 1;
        }
    }

    /// A message came.
    pub fn received(&mut self, at: u64, bytes: usize) {
        if self.span.contains(at) {
            self.window.received += 1;
            self.window.received_bytes += bytes as u64;
        }
    }

    /// A latency of something that was meant to happen at `intended`.
    pub fn latency(&mut self, measure: Measure, intended: u64, nanos: u64) {
        if self.span.contains(intended) {
            self.window.of_mut(measure).record(nanos);
        }
    }

    /// Hands over what is left.
    pub fn finish(self) {
        let Self { worker, window, windows, .. } = self;
        // Nobody listens any more when the run was given up.
        let _ = windows.send(Handover { worker, window });
    }

    fn hand_over(&self, window: Window) {
        let _ = self.windows.send(Handover { worker: self.worker, window });
    }
}

/// The windows of all workers.
#[derive(Debug, Default)]
pub struct Series {
    windows: BTreeMap<u64, Window>,
}

impl Series {
    pub fn add(&mut self, window: &Window) {
        let all = self.windows.entry(window.index).or_default();
        all.index = window.index;
        all.merge(window);
    }

    pub fn window(&self, index: u64) -> Option<&Window> {
        self.windows.get(&index)
    }

    /// Everything in one.
    pub fn total(&self) -> Window {
        let mut total = Window::default();
        self.windows.values().for_each(|window| total.merge(window));
        total
    }

    /// One entry per second of `elapsed` nanoseconds, without holes.
    pub fn intervals(&self, elapsed: u64) -> Vec<Interval> {
        let nothing = Window::default();
        (0..elapsed.div_ceil(WINDOW))
            .map(|index| {
                let window = self.windows.get(&index).unwrap_or(&nothing);
                let start = index * WINDOW;
                Interval {
                    start_seconds: start as f64 / 1e9,
                    seconds: WINDOW.min(elapsed - start) as f64 / 1e9,
                    sent: window.sent,
                    settled: window.settled,
                    received: window.received,
                    delay: window.delay.quantiles(),
                    ack: window.ack.quantiles(),
                    e2e: window.e2e.quantiles(),
                    rtt: window.rtt.quantiles(),
                    connect: window.connect.quantiles(),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(span: Span, work: impl FnOnce(&mut Recorder)) -> Series {
        let (windows, handed) = mpsc::channel();
        let mut recorder = Recorder::new(0, span, windows);
        work(&mut recorder);
        recorder.finish();
        let mut series = Series::default();
        handed.iter().for_each(|handover| series.add(&handover.window));
        series
    }

    #[test]
    fn the_warm_up_is_in_no_figure() {
        let span = Span { from: 5 * WINDOW, to: 7 * WINDOW };
        let series = recorded(span, |recorder| {
            for time in [0, 5 * WINDOW - 1, 5 * WINDOW, 6 * WINDOW, 7 * WINDOW] {
                recorder.advance(time);
                recorder.sent(time, 10);
                recorder.latency(Measure::EndToEnd, time, 1_000);
            }
        });
        let total = series.total();
        assert_eq!((total.sent, total.sent_bytes, total.of(Measure::EndToEnd).count()), (2, 20, 2));
    }

    #[test]
    fn a_second_without_messages_is_an_interval_of_its_own() {
        let series = recorded(Span { from: 0, to: u64::MAX }, |recorder| {
            recorder.received(0, 1);
            recorder.advance(2 * WINDOW);
            recorder.received(2 * WINDOW, 1);
        });
        let received: Vec<u64> =
            series.intervals(2 * WINDOW + WINDOW / 2).iter().map(|interval| interval.received).collect();
        assert_eq!(received, [1, 0, 1]);
        assert_eq!(series.intervals(2 * WINDOW + WINDOW / 2)[2].seconds, 0.5);
    }

    #[test]
    fn a_latency_that_comes_after_the_end_is_in_the_last_second() {
        let span = Span { from: 0, to: 2 * WINDOW };
        let series = recorded(span, |recorder| {
            recorder.advance(9 * WINDOW);
            recorder.latency(Measure::Ack, WINDOW, 8 * WINDOW);
        });
        assert_eq!(series.intervals(2 * WINDOW)[1].ack.unwrap().count, 1);
    }
}
