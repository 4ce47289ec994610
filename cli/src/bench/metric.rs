//! The figures of a run by name: what assertions, comparisons and reports speak about.

use std::fmt;

use super::result::{BenchResult, Cost, Distribution, Interval, Latencies, Quantiles, Storm};
use crate::shape;

/// A figure of a run that has a name, such as `e2e.p99` or `lost`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    Latency(Series, Statistic),
    Figure(&'static Figure),
}

/// Which latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    Delay,
    Lag,
    Ack,
    EndToEnd,
    RoundTrip,
    Connect,
}

/// Which figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    Min,
    Mean,
    Deviation,
    P50,
    P90,
    P95,
    P99,
    P999,
    P9999,
    Max,
}

/// A figure that is not a latency.
pub struct Figure {
    pub name: &'static str,
    pub unit: Unit,
    pub direction: Direction,
    /// Counts what became of messages or connections: it holds whoever was the limit, in every run.
    pub is_count: bool,
    pub meaning: &'static str,
    read: fn(&BenchResult) -> Option<f64>,
    read_interval: Option<fn(&Interval) -> f64>,
}

/// What a number counts, and so how it is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Time,
    /// Messages, connections or events.
    Count,
    /// The same, per second.
    Rate,
    Bytes,
    BytesPerSecond,
    /// A part of a whole: 0.5 is 50 %.
    Share,
    /// Processor cores.
    Cores,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Lower,
    Higher,
}

impl PartialEq for Figure {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(series, statistic) => write!(formatter, "{}.{}", series.name(), statistic.name()),
            Self::Figure(figure) => formatter.write_str(figure.name),
        }
    }
}

impl Metric {
    /// Every metric, in the order in which people read about them.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = Series::ALL.into_iter().flat_map(|series| {
            Statistic::ALL.into_iter().map(move |statistic| Self::Latency(series, statistic))
        });
        latencies.chain(FIGURES.iter().map(Self::Figure))
    }

    /// Finds a metric by its name.
    ///
    /// # Errors
    ///
    /// There is none: one lower-case sentence with the name that was probably meant.
    pub fn parse(name: &str) -> Result<Self, String> {
        let name = name.trim();
        let known = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        if let Some(metric) = Self::all().find(|metric| metric.to_string() == known) {
            return Ok(metric);
        }
        let names: Vec<String> = Self::all().map(|metric| metric.to_string()).collect();
        let help = mq_model::nearest(name, names.iter().map(String::as_str)).map_or_else(
            || "the metrics are listed by `mq help bench-metrics`".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        let shown: String = name.chars().take(60).collect();
        Err(format!("there is no metric `{shown}`; {help}"))
    }

    pub fn unit(self) -> Unit {
        match self {
            Self::Latency(..) => Unit::Time,
            Self::Figure(figure) => figure.unit,
        }
    }

    pub fn direction(self) -> Direction {
        match self {
            Self::Latency(..) => Direction::Lower,
            Self::Figure(figure) => figure.direction,
        }
    }

    /// Whether it counts what became of messages or connections.
    pub fn is_count(self) -> bool {
        matches!(self, Self::Figure(figure) if figure.is_count)
    }

    /// Whether the figure may be too low because the run could not remember every message.
    pub fn is_lower_bound(self, result: &BenchResult) -> bool {
        let counts_memory =
            matches!(self, Self::Figure(figure) if ["lost", "duplicated", "gaps"].contains(&figure.name));
        counts_memory && result.integrity.incomplete
    }

    /// The figure of a run; `None` when a run of this kind does not have it.
    pub fn read(self, result: &BenchResult) -> Option<f64> {
        match self {
            Self::Latency(series, statistic) => {
                Some(statistic.of(series.of(&result.latency)?)).filter(|figure| figure.is_finite())
            }
            Self::Figure(figure) => (figure.read)(result).filter(|figure| figure.is_finite()),
        }
    }

    /// The figure of each interval that has it, in the order of time.
    pub fn intervals(self, result: &BenchResult) -> Vec<f64> {
        let read = |interval: &Interval| match self {
            Self::Latency(series, statistic) => {
                series.in_interval(interval).and_then(|quantiles| statistic.of_interval(quantiles))
            }
            Self::Figure(figure) => figure.read_interval.map(|read| read(interval)),
        };
        // The last interval is as long as what was left; a tenth of a second says nothing.
        let whole = result.intervals.iter().filter(|interval| interval.seconds >= 0.5);
        whole.filter_map(read).filter(|figure| figure.is_finite()).collect()
    }
}

impl Series {
    pub const ALL: [Self; 6] =
        [Self::EndToEnd, Self::Ack, Self::RoundTrip, Self::Connect, Self::Delay, Self::Lag];

    pub fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Lag => "lag",
            Self::Ack => "ack",
            Self::EndToEnd => "e2e",
            Self::RoundTrip => "rtt",
            Self::Connect => "connect",
        }
    }

    pub fn of(self, latencies: &Latencies) -> Option<&Distribution> {
        match self {
            Self::Delay => latencies.delay.as_ref(),
            Self::Lag => latencies.lag.as_ref(),
            Self::Ack => latencies.ack.as_ref(),
            Self::EndToEnd => latencies.e2e.as_ref(),
            Self::RoundTrip => latencies.rtt.as_ref(),
            Self::Connect => latencies.connect.as_ref(),
        }
    }

    pub fn in_interval(self, interval: &Interval) -> Option<&Quantiles> {
        match self {
            Self::Delay => interval.delay.as_ref(),
            Self::Lag => None,
            Self::Ack => interval.ack.as_ref(),
            Self::EndToEnd => interval.e2e.as_ref(),
            Self::RoundTrip => interval.rtt.as_ref(),
            Self::Connect => interval.connect.as_ref(),
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::Delay => "from the intended time to the hand-over to the socket",
            Self::Lag => "the generator's own share of the delay",
            Self::Ack => "from the intended time to the outcome",
            Self::EndToEnd => "from the intended time to the receiver",
            Self::RoundTrip => "from the intended time of a request to its reply",
            Self::Connect => "from the start of a connection to its being usable",
        }
    }
}

impl Statistic {
    pub const ALL: [Self; 10] = [
        Self::Min,
        Self::Mean,
        Self::Deviation,
        Self::P50,
        Self::P90,
        Self::P95,
        Self::P99,
        Self::P999,
        Self::P9999,
        Self::Max,
    ];

    /// The columns of every report.
    pub const SHOWN: [Self; 6] = [Self::P50, Self::P90, Self::P99, Self::P999, Self::P9999, Self::Max];

    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Mean => "mean",
            Self::Deviation => "stdev",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::P9999 => "p99.99",
            Self::Max => "max",
        }
    }

    /// The figure in microseconds.
    pub fn of(self, distribution: &Distribution) -> f64 {
        match self {
            Self::Min => distribution.min_us,
            Self::Mean => distribution.mean_us,
            Self::Deviation => distribution.stdev_us,
            Self::P50 => distribution.p50_us,
            Self::P90 => distribution.p90_us,
            Self::P95 => distribution.p95_us,
            Self::P99 => distribution.p99_us,
            Self::P999 => distribution.p99_9_us,
            Self::P9999 => distribution.p99_99_us,
            Self::Max => distribution.max_us,
        }
    }

    fn of_interval(self, quantiles: &Quantiles) -> Option<f64> {
        match self {
            Self::Mean => Some(quantiles.mean_us),
            Self::P50 => Some(quantiles.p50_us),
            Self::P90 => Some(quantiles.p90_us),
            Self::P99 => Some(quantiles.p99_us),
            Self::P999 => Some(quantiles.p99_9_us),
            Self::Max => Some(quantiles.max_us),
            Self::Min | Self::Deviation | Self::P95 | Self::P9999 => None,
        }
    }
}

impl Unit {
    /// A figure for people, with its unit.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Time => time(figure),
            Self::Count => whole(figure),
            Self::Rate => format!("{}/s", whole(figure)),
            Self::Bytes => shape::bytes(figure.max(0.0) as u64),
            Self::BytesPerSecond => format!("{}/s", shape::bytes(figure.max(0.0) as u64)),
            Self::Share => format!("{} %", three_digits(figure * 100.0)),
            Self::Cores => three_digits(figure),
        }
    }

    /// Reads a figure as [`show`](Self::show) writes it, and as people abbreviate it.
    ///
    /// # Errors
    ///
    /// The number or its unit cannot be read: one lower-case sentence that says what can.
    pub fn parse(self, text: &str) -> Result<f64, String> {
        let text = text.trim();
        let end =
            text.find(|letter: char| !matches!(letter, '0'..='9' | '.' | ',')).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let number: f64 = digits.replace(',', "").parse().map_err(|_| self.hint())?;
        let factor = self.factor(unit.trim(), number).ok_or_else(|| self.hint())?;
        let figure = number * factor;
        if figure > MAX_FIGURE { Err("the number is too large; at most 10^15".into()) } else { Ok(figure) }
    }

    fn factor(self, unit: &str, number: f64) -> Option<f64> {
        match self {
            Self::Time => match unit {
                "ns" => Some(1e-3),
                "us" | "µs" | "μs" => Some(1.0),
                "ms" => Some(1e3),
                "s" => Some(1e6),
                "" if number == 0.0 => Some(1.0),
                _ => None,
            },
            Self::Count => thousands(unit),
            Self::Rate => thousands(unit.strip_suffix("/s").unwrap_or(unit)),
            Self::Bytes => size(unit),
            Self::BytesPerSecond => size(unit.strip_suffix("/s").unwrap_or(unit)),
            Self::Share => match unit {
                "%" => Some(0.01),
                "" if number <= 1.0 => Some(1.0),
                _ => None,
            },
            Self::Cores => unit.is_empty().then_some(1.0),
        }
    }

    fn hint(self) -> String {
        let forms = match self {
            Self::Time => "a time with its unit, such as 250us, 5ms or 1.5s",
            Self::Count => "a number, such as 0, 500 or 10k",
            Self::Rate => "a number per second, such as 500, 50k or 1.2M",
            Self::Bytes => "a size, such as 64MiB or 2k",
            Self::BytesPerSecond => "a size per second, such as 100MiB",
            Self::Share => "a share, such as 99% or 0.99",
            Self::Cores => "a number of cores, such as 0.8",
        };
        format!("write {forms}")
    }
}

/// Beyond this a number is a slip of the finger; every figure of a run is below.
const MAX_FIGURE: f64 = 1e15;

/// Other names for metrics.
const ALIASES: &[(&str, &str)] = &[
    ("send_delay.p50", "delay.p50"),
    ("send_delay.p99", "delay.p99"),
    ("send_delay.max", "delay.max"),
    ("outage", "outage.longest"),
    ("silence", "silence.longest"),
    ("memory", "memory.peak"),
];

/// Everything but latencies.
static FIGURES: &[Figure] = &[
    Figure {
        name: "rate",
        unit: Unit::Rate,
        direction: Direction::Higher,
        is_count: false,
        meaning: "what came through: received where there are receivers, settled or sent otherwise",
        read: through,
        read_interval: None,
    },
    rate("sent.rate", "messages sent", |run| run.rates.sent_per_second, |second| second.sent),
    rate("settled.rate", "outcomes", |run| run.rates.settled_per_second, |second| second.settled),
    rate("received.rate", "messages received", |run| run.rates.received_per_second, |second| second.received),
    Figure {
        name: "sent.bandwidth",
        unit: Unit::BytesPerSecond,
        direction: Direction::Higher,
        is_count: false,
        meaning: "bytes of bodies sent",
        read: |run| Some(run.rates.sent_bytes_per_second),
        read_interval: None,
    },
    Figure {
        name: "received.bandwidth",
        unit: Unit::BytesPerSecond,
        direction: Direction::Higher,
        is_count: false,
        meaning: "bytes of bodies received",
        read: |run| Some(run.rates.received_bytes_per_second),
        read_interval: None,
    },
    Figure {
        name: "schedule.kept",
        unit: Unit::Share,
        direction: Direction::Higher,
        is_count: false,
        meaning: "messages sent, of those that an open loop wanted to send",
        read: |run| Some(run.rates.sent_per_second / run.rates.target_per_second?),
        read_interval: None,
    },
    Figure {
        name: "opened.rate",
        unit: Unit::Rate,
        direction: Direction::Higher,
        is_count: false,
        meaning: "connections opened",
        read: |run| storm(run, |storm| storm.opened_per_second),
        read_interval: None,
    },
    Figure {
        name: "cpu.per_message",
        unit: Unit::Time,
        direction: Direction::Lower,
        is_count: false,
        meaning: "CPU time of the target for each message",
        read: |run| run.cost.as_ref()?.cpu_us_per_message,
        read_interval: None,
    },
    Figure {
        name: "cpu.cores",
        unit: Unit::Cores,
        direction: Direction::Lower,
        is_count: false,
        meaning: "cores that the target used on average",
        read: |run| cost(run, |cost| cost.cores),
        read_interval: None,
    },
    memory("memory.before", "resident memory of the target before the load", |cost| cost.resident_before),
    memory("memory.peak", "resident memory of the target at its most", |cost| cost.resident_peak),
    memory("memory.after", "resident memory of the target after the load", |cost| cost.resident_after),
    Figure {
        name: "memory.per_connection",
        unit: Unit::Bytes,
        direction: Direction::Lower,
        is_count: false,
        meaning: "resident memory of the target for each idle connection",
        read: |run| run.storm.as_ref()?.bytes_per_connection,
        read_interval: None,
    },
    Figure {
        name: "generator.cpu",
        unit: Unit::Share,
        direction: Direction::Lower,
        is_count: false,
        meaning: "the part of a core that the busiest thread of the generator used",
        read: |run| Some(run.validity.generator_cpu),
        read_interval: None,
    },
    Figure {
        name: "outage.longest",
        unit: Unit::Time,
        direction: Direction::Lower,
        is_count: true,
        meaning: "the longest time that a connection was away",
        read: |run| Some(run.integrity.longest_outage_seconds * 1e6),
        read_interval: None,
    },
    Figure {
        name: "silence.longest",
        unit: Unit::Time,
        direction: Direction::Lower,
        is_count: false,
        meaning: "the longest time without any message although some were under way",
        read: |run| run.integrity.longest_silence_seconds.map(|seconds| seconds * 1e6),
        read_interval: None,
    },
    count("sent", "messages handed to the socket", Direction::Higher, |run| run.integrity.sent),
    count("accepted", "messages with the outcome accepted", Direction::Higher, |run| run.integrity.accepted),
    count("released", "messages with the outcome released", Direction::Lower, |run| run.integrity.released),
    count("rejected", "messages with the outcome rejected", Direction::Lower, |run| run.integrity.rejected),
    count("modified", "messages with the outcome modified", Direction::Lower, |run| run.integrity.modified),
    count("in_doubt", "messages whose outcome never came", Direction::Lower, |run| run.integrity.in_doubt),
    count("received", "messages that arrived", Direction::Higher, |run| run.integrity.received),
    count("lost", "messages accepted and never received", Direction::Lower, |run| run.integrity.lost),
    count("duplicated", "messages that came again", Direction::Lower, |run| run.integrity.duplicated),
    count("reordered", "messages behind a later one", Direction::Lower, |run| run.integrity.reordered),
    count("gaps", "runs of consecutive lost messages", Direction::Lower, |run| run.integrity.gaps),
    count("corrupted", "messages that arrived changed", Direction::Lower, |run| run.integrity.corrupted),
    count("foreign", "messages of somebody else", Direction::Lower, |run| run.integrity.foreign),
    count("timed_out", "requests without a reply in time", Direction::Lower, |run| run.integrity.timed_out),
    count("reconnects", "connections made again", Direction::Lower, |run| run.integrity.reconnects),
    connections("opened", "connections opened", Direction::Higher, |run| storm(run, |it| it.opened as f64)),
    connections("failed", "connections refused, reset or late", Direction::Lower, |run| {
        storm(run, |it| it.failed as f64)
    }),
    connections("alive", "connections open at the end", Direction::Higher, |run| {
        storm(run, |it| it.alive as f64)
    }),
];

macro_rules! figure_maker {
    ($name:ident, $unit:expr, $direction:expr, $is_count:expr) => {};
}
