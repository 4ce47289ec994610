//! The figures of a run by name: what assertions, comparisons and reports speak about.

use std::fmt;

use super::result::{
    BenchResult, Cost, Distribution, Integrity, Interval, Latencies, Load, Quantiles, Rates, Shape, Storm,
};
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
    read: Read,
}

/// Where a figure stands in a result.
enum Read {
    Run(fn(&BenchResult) -> Option<f64>),
    Integrity(fn(&Integrity) -> u64),
    Cost(fn(&Cost) -> u64),
    Storm(fn(&Storm) -> u64),
    /// What came through; which rate that is depends on the shape.
    Through,
    /// For the run, and counted in each interval.
    Rate(fn(&Rates) -> f64, fn(&Interval) -> u64),
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
            Self::Figure(figure) => figure.read.of(result).filter(|figure| figure.is_finite()),
        }
    }

    /// The figure of each interval that has it, in the order of time.
    pub fn intervals(self, result: &BenchResult) -> Vec<f64> {
        let read = |interval: &Interval| match self {
            Self::Latency(series, statistic) => {
                series.in_interval(interval).and_then(|quantiles| statistic.of_interval(quantiles))
            }
            Self::Figure(figure) => figure.read.of_interval(interval, &result.load),
        };
        // The last interval is as long as what was left; a tenth of a second says nothing.
        let whole = result.intervals.iter().filter(|interval| interval.seconds >= 0.5);
        whole.filter_map(read).filter(|figure| figure.is_finite()).collect()
    }
}

impl Read {
    fn of(&self, result: &BenchResult) -> Option<f64> {
        match self {
            Self::Run(read) => read(result),
            Self::Integrity(read) => Some(read(&result.integrity) as f64),
            Self::Cost(read) => result.cost.as_ref().map(|cost| read(cost) as f64),
            Self::Storm(read) => result.storm.as_ref().map(|storm| read(storm) as f64),
            Self::Rate(read, _) => Some(read(&result.rates)),
            Self::Through => through(result),
        }
    }

    fn of_interval(&self, interval: &Interval, load: &Load) -> Option<f64> {
        match self {
            Self::Rate(_, count) => Some(count(interval) as f64 / interval.seconds),
            Self::Through => through_interval(interval, load).map(|count| count as f64 / interval.seconds),
            _ => None,
        }
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
        let end = text.find(|letter: char| !matches!(letter, '0'..='9' | '.' | ',')).unwrap_or(text.len());
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
    figure(
        "rate",
        Unit::Rate,
        Direction::Higher,
        "what came through: received, or else settled, or sent",
        Read::Through,
    ),
    rate("sent.rate", "messages sent", |rates| rates.sent_per_second, |second| second.sent),
    rate("settled.rate", "outcomes", |rates| rates.settled_per_second, |second| second.settled),
    rate("received.rate", "messages received", |rates| rates.received_per_second, |second| second.received),
    figure(
        "sent.bandwidth",
        Unit::BytesPerSecond,
        Direction::Higher,
        "bytes of bodies sent",
        Read::Run(|run| Some(run.rates.sent_bytes_per_second)),
    ),
    figure(
        "received.bandwidth",
        Unit::BytesPerSecond,
        Direction::Higher,
        "bytes of bodies received",
        Read::Run(|run| Some(run.rates.received_bytes_per_second)),
    ),
    figure(
        "schedule.kept",
        Unit::Share,
        Direction::Higher,
        "messages sent, of those that an open loop wanted to send",
        Read::Run(|run| Some(run.rates.sent_per_second / run.rates.target_per_second?)),
    ),
    figure(
        "cpu.per_message",
        Unit::Time,
        Direction::Lower,
        "CPU time of the target for each message",
        Read::Run(|run| run.cost.as_ref()?.cpu_us_per_message),
    ),
    figure(
        "cpu.cores",
        Unit::Cores,
        Direction::Lower,
        "cores that the target used on average",
        Read::Run(|run| Some(run.cost.as_ref()?.cores)),
    ),
    memory("memory.before", "resident memory of the target before the load", |cost| cost.resident_before),
    memory("memory.peak", "resident memory of the target at its most", |cost| cost.resident_peak),
    memory("memory.after", "resident memory of the target after the load", |cost| cost.resident_after),
    figure(
        "memory.per_connection",
        Unit::Bytes,
        Direction::Lower,
        "resident memory of the target for each idle connection",
        Read::Run(|run| run.storm.as_ref()?.bytes_per_connection),
    ),
    figure(
        "generator.cpu",
        Unit::Share,
        Direction::Lower,
        "the part of a core that the busiest thread of the generator used",
        Read::Run(|run| Some(run.validity.generator_cpu)),
    ),
    figure(
        "outage.longest",
        Unit::Time,
        Direction::Lower,
        "the longest time that a connection was away",
        Read::Run(|run| Some(run.integrity.longest_outage_seconds * 1e6)),
    ),
    figure(
        "silence.longest",
        Unit::Time,
        Direction::Lower,
        "the longest time without any message although some were under way",
        Read::Run(|run| Some(run.integrity.longest_silence_seconds? * 1e6)),
    ),
    count("sent", Direction::Higher, "messages handed to the socket", |run| run.sent),
    count("accepted", Direction::Higher, "messages with the outcome accepted", |run| run.accepted),
    count("released", Direction::Lower, "messages with the outcome released", |run| run.released),
    count("rejected", Direction::Lower, "messages with the outcome rejected", |run| run.rejected),
    count("modified", Direction::Lower, "messages with the outcome modified", |run| run.modified),
    count("in_doubt", Direction::Lower, "messages whose outcome never came", |run| run.in_doubt),
    count("received", Direction::Higher, "messages that arrived", |run| run.received),
    count("lost", Direction::Lower, "messages accepted and never received", |run| run.lost),
    count("duplicated", Direction::Lower, "messages that came again", |run| run.duplicated),
    count("reordered", Direction::Lower, "messages behind a later one of their sender", |run| run.reordered),
    count("gaps", Direction::Lower, "runs of consecutive lost messages", |run| run.gaps),
    count("corrupted", Direction::Lower, "messages that arrived changed", |run| run.corrupted),
    count("foreign", Direction::Lower, "messages of somebody else", |run| run.foreign),
    count("timed_out", Direction::Lower, "requests without a reply in time", |run| run.timed_out),
    count("reconnects", Direction::Lower, "connections made again after they broke", |run| run.reconnects),
    figure(
        "opened.rate",
        Unit::Rate,
        Direction::Higher,
        "connections opened",
        Read::Run(|run| Some(run.storm.as_ref()?.opened_per_second)),
    ),
    storm("opened", Direction::Higher, "connections opened", |storm| storm.opened),
    storm("failed", Direction::Lower, "connections refused, reset or not open in time", |storm| storm.failed),
    storm("alive", Direction::Higher, "connections open at the end", |storm| storm.alive),
];

const fn figure(
    name: &'static str,
    unit: Unit,
    direction: Direction,
    meaning: &'static str,
    read: Read,
) -> Figure {
    Figure { name, unit, direction, is_count: false, meaning, read }
}

const fn rate(
    name: &'static str,
    meaning: &'static str,
    read: fn(&Rates) -> f64,
    count: fn(&Interval) -> u64,
) -> Figure {
    figure(name, Unit::Rate, Direction::Higher, meaning, Read::Rate(read, count))
}

const fn memory(name: &'static str, meaning: &'static str, read: fn(&Cost) -> u64) -> Figure {
    figure(name, Unit::Bytes, Direction::Lower, meaning, Read::Cost(read))
}

const fn count(
    name: &'static str,
    direction: Direction,
    meaning: &'static str,
    read: fn(&Integrity) -> u64,
) -> Figure {
    let figure = figure(name, Unit::Count, direction, meaning, Read::Integrity(read));
    Figure { is_count: true, ..figure }
}

const fn storm(
    name: &'static str,
    direction: Direction,
    meaning: &'static str,
    read: fn(&Storm) -> u64,
) -> Figure {
    Figure { is_count: true, ..figure(name, Unit::Count, direction, meaning, Read::Storm(read)) }
}

/// The rate that the shape of the run is about.
fn through(run: &BenchResult) -> Option<f64> {
    Some(match run.load.shape {
        Shape::Send if run.load.settled => run.rates.sent_per_second,
        Shape::Send => run.rates.settled_per_second,
        Shape::Connect => run.storm.as_ref()?.opened_per_second,
        Shape::Pipe | Shape::Recv | Shape::Request | Shape::Fanout | Shape::Fanin => {
            run.rates.received_per_second
        }
    })
}

fn through_interval(interval: &Interval, load: &Load) -> Option<u64> {
    match load.shape {
        Shape::Send if load.settled => Some(interval.sent),
        Shape::Send => Some(interval.settled),
        Shape::Connect => interval.connect.as_ref().map(|opened| opened.count),
        Shape::Pipe | Shape::Recv | Shape::Request | Shape::Fanout | Shape::Fanin => Some(interval.received),
    }
}

fn thousands(unit: &str) -> Option<f64> {
    match unit {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        _ => None,
    }
}

fn size(unit: &str) -> Option<f64> {
    match unit.trim_end_matches('B') {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        "Ki" => Some(1024.0),
        "Mi" => Some(1_048_576.0),
        "Gi" => Some(1_073_741_824.0),
        _ => None,
    }
}

/// `7.25 µs`, `240 µs`, `1.52 ms`, `44.0 ms`, `1.20 s`.
fn time(micros: f64) -> String {
    if micros < 999.5 {
        format!("{} µs", three_digits(micros))
    } else if micros < 999_500.0 {
        format!("{} ms", three_digits(micros / 1e3))
    } else {
        format!("{} s", three_digits(micros / 1e6))
    }
}

/// As many decimals as make three digits in front of a unit; what the measurement holds.
fn three_digits(number: f64) -> String {
    let size = number.abs();
    let decimals = if number == 0.0 || size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{number:.decimals$}")
}

fn whole(figure: f64) -> String {
    shape::number(figure.round().max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name_and_no_two_share_one() {
        let mut names = std::collections::HashSet::new();
        for metric in Metric::all() {
            assert_eq!(Metric::parse(&metric.to_string()), Ok(metric));
            assert!(names.insert(metric.to_string()), "{metric}");
        }
        for (alias, name) in ALIASES {
            assert_eq!(Metric::parse(alias).map(|metric| metric.to_string()).as_deref(), Ok(*name));
        }
    }

    #[test]
    fn a_mistyped_metric_finds_the_one_that_was_meant() {
        assert_eq!(
            Metric::parse("e2e.p98").unwrap_err(),
            "there is no metric `e2e.p98`; did you mean `e2e.p90`?"
        );
        assert!(Metric::parse("recieved.rate").unwrap_err().contains("`received.rate`"));
        assert!(Metric::parse("loss").unwrap_err().contains("`lost`"));
        assert!(Metric::parse("temperature").unwrap_err().contains("mq help"));
    }

    #[test]
    fn a_figure_is_read_with_its_unit_and_a_bare_number_is_no_time() {
        assert_eq!(Unit::Time.parse("1.5ms"), Ok(1500.0));
        assert_eq!(Unit::Time.parse("250 µs"), Ok(250.0));
        assert_eq!(Unit::Time.parse("0"), Ok(0.0));
        assert!(Unit::Time.parse("5").unwrap_err().contains("5ms"));
        assert_eq!(Unit::Rate.parse("50k/s"), Ok(50_000.0));
        assert_eq!(Unit::Count.parse("10,000"), Ok(10_000.0));
        assert!(Unit::Count.parse("2m").is_err(), "a small m is never a million");
        assert_eq!(Unit::Bytes.parse("64MiB"), Ok(67_108_864.0));
        assert_eq!(Unit::Share.parse("99%"), Ok(0.99));
        assert!(Unit::Share.parse("99").is_err());
        assert!(Unit::Count.parse("9999999999M").unwrap_err().contains("too large"));
        assert!(Unit::Count.parse("-1").is_err());
    }

    #[test]
    fn a_figure_has_three_digits_and_its_unit() {
        for (micros, text) in [
            (0.0, "0 µs"),
            (0.41, "0.41 µs"),
            (7.251, "7.25 µs"),
            (99.96, "100 µs"),
            (999.6, "1.00 ms"),
            (44_120.0, "44.1 ms"),
            (1.2e6, "1.20 s"),
        ] {
            assert_eq!(Unit::Time.show(micros), text);
        }
        assert_eq!(Unit::Rate.show(19_999.7), "20,000/s");
        assert_eq!(Unit::Share.show(0.995), "99.5 %");
    }
}
