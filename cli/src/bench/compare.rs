//! Two sets of runs of one load, side by side: what is the same, better or worse.

use serde::{Deserialize, Serialize};

use super::{
    assertion::Allowance,
    metric::{Direction, Metric},
    noise::{self, Basis, Change, Sample, median},
    result::{BenchResult, Load, MqttVersion, SizeDescription},
};
use crate::shape;

/// What is compared when nobody says what: what the users of a target notice, and what it costs.
const DEFAULTS: [&str; 9] = [
    "rate=5%",
    "e2e.p50=10%",
    "e2e.p99=10%",
    "ack.p50=10%",
    "ack.p99=10%",
    "rtt.p50=10%",
    "rtt.p99=10%",
    "connect.p99=10%",
    "cpu.per_message=10%",
];

/// An improvement below this is not called one, however little noise there is.
const LEAST_IMPROVEMENT: f64 = 0.02;

/// One metric before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    pub metric: String,
    /// The medians, with their unit.
    pub before: String,
    pub after: String,
    /// Absent when there are too few figures to tell change from noise.
    pub change: Option<Change>,
    /// How much worse it may become, as a ratio.
    pub tolerance: f64,
    pub finding: Finding,
}

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// A change for the worse beyond the tolerance is ruled out.
    Same,
    /// Better, and not by chance.
    Better,
    /// Worse beyond the tolerance, and not by chance.
    Worse,
    /// The noise is larger than what is to be told.
    Inconclusive,
    /// There are too few figures to know the noise.
    Unknown,
}

impl Finding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Inconclusive => "inconclusive",
            Self::Unknown => "unknown",
        }
    }
}

impl Comparison {
    /// The change and the noise for people: `+3.1 % (noise ±6.0 %)`.
    pub fn shown_change(&self) -> String {
        match &self.change {
            Some(change) => {
                format!("{:+.1} % (noise ±{:.1} %)", change.estimate * 100.0, change.noise() * 100.0)
            }
            None => "-".into(),
        }
    }

    /// What to do to know more, of a comparison that decides nothing.
    pub fn advice(&self) -> Option<String> {
        let allowed = self.tolerance * 100.0;
        match (self.finding, &self.change) {
            (Finding::Inconclusive, Some(change)) if change.basis == Basis::Intervals => Some(format!(
                "{}: the noise is ±{:.1} % and {allowed:.0} % are allowed; repeat both sides with --runs 5",
                self.metric,
                change.noise() * 100.0
            )),
            (Finding::Inconclusive, Some(change)) => Some(format!(
                "{}: the noise is ±{:.1} % and {allowed:.0} % are allowed; use more or longer runs, or a quieter \
                 machine",
                self.metric,
                change.noise() * 100.0
            )),
            (Finding::Unknown | Finding::Inconclusive, _) => Some(format!(
                "{}: too few figures to know the noise; repeat both sides with --runs 5",
                self.metric
            )),
            _ => None,
        }
    }
}

/// The default list of what is compared.
pub fn default_allowances() -> Vec<Allowance> {
    DEFAULTS.iter().filter_map(|text| Allowance::parse(text).ok()).collect()
}

/// Compares the metrics that both sides have, in the order of `allowances`.
pub fn compare(before: &[BenchResult], after: &[BenchResult], allowances: &[Allowance]) -> Vec<Comparison> {
    allowances.iter().filter_map(|allowance| comparison(before, after, allowance)).collect()
}

/// Compares one metric; `None` when a side has no figure of it at all.
pub fn comparison(
    before: &[BenchResult],
    after: &[BenchResult],
    allowance: &Allowance,
) -> Option<Comparison> {
    let Allowance { metric, tolerance } = *allowance;
    let (before, after) = (sample(metric, before), sample(metric, after));
    let change = noise::change(&before, &after);
    let show = |sample: &Sample| median(&sample.runs).map(|figure| metric.unit().show(figure));
    Some(Comparison {
        metric: metric.to_string(),
        before: show(&before)?,
        after: show(&after)?,
        change,
        tolerance,
        finding: change.map_or(Finding::Unknown, |change| judge(&change, metric.direction(), tolerance)),
    })
}

/// The figures of a metric in several runs.
pub fn sample(metric: Metric, runs: &[BenchResult]) -> Sample {
    Sample {
        runs: runs.iter().filter_map(|run| metric.read(run)).collect(),
        intervals: runs.iter().map(|run| metric.intervals(run)).collect(),
    }
}

/// Worse takes three things: more than chance, more than is allowed, and more than the noise is wide. The
/// last is what a drift of the machine between two sets of runs looks like, which chance alone would not make.
/// The same takes proof as well: that no change beyond what is allowed hides in the noise.
pub fn judge(change: &Change, direction: Direction, tolerance: f64) -> Finding {
    // As if lower were better: positive is worse. A rate gets worse towards zero.
    let (estimate, low, high) = match direction {
        Direction::Lower => (change.estimate, change.low, change.high),
        Direction::Higher => (-change.estimate, -change.high, -change.low),
    };
    let is_clear = estimate.abs() > change.noise();
    if low > 0.0 && estimate > tolerance && is_clear {
        Finding::Worse
    } else if high < 0.0 && estimate < -tolerance.min(LEAST_IMPROVEMENT) && is_clear {
        Finding::Better
    } else if high <= tolerance {
        Finding::Same
    } else {
        Finding::Inconclusive
    }
}

/// What else kept this machine busier than it was before, so that a change for the worse may not be the
/// target's: the end of a sentence.
pub fn disturbance(before: &[BenchResult], after: &[BenchResult]) -> Option<String> {
    /// The part of a machine that matters.
    const SHARE: f64 = 0.1;
    let elsewhere = |runs: &[BenchResult]| {
        let cores: Vec<f64> = runs.iter().filter_map(|run| run.validity.elsewhere_cores).collect();
        median(&cores)
    };
    let (earlier, now) = (elsewhere(before)?, elsewhere(after)?);
    let cores = f64::from(after.first()?.context.host.cores.max(1));
    (now - earlier > cores * SHARE).then(|| {
        format!(
            "other programs used {now:.1} of {cores:.0} cores meanwhile, {earlier:.1} before: repeat it on a \
             machine as quiet as for the baseline"
        )
    })
}

/// In what two loads differ, so that their figures cannot be compared: one phrase each.
pub fn differences(before: &Load, after: &Load) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, before: String, after: String| {
        if before != after {
            found.push(format!("{what} {before} before and {after} now"));
        }
    };
    let kind = |load: &Load| format!("{:?} over {:?}", load.shape, load.protocol).to_lowercase();
    differ("the load is", kind(before), kind(after));
    let parties = |load: &Load| format!("{} to {} on {}", load.senders, load.receivers, load.connections);
    differ("senders to receivers on connections are", parties(before), parties(after));
    differ("the rate is", rate(before), rate(after));
    differ("the body has", size(&before.size), size(&after.size));
    let word = |yes: bool, name: &str| if yes { name.to_owned() } else { format!("not {name}") };
    differ("messages are", word(before.settled, "settled"), word(after.settled, "settled"));
    differ("messages are", word(before.durable, "durable"), word(after.durable, "durable"));
    differ("the credit is", shape::number(before.credit.into()), shape::number(after.credit.into()));
    let in_flight = |load: &Load| shape::number(load.in_flight.into());
    differ("the messages in flight are", in_flight(before), in_flight(after));
    let qos = |load: &Load| load.qos.map_or_else(|| "not said".to_owned(), |qos| qos.to_string());
    differ("the QoS is", qos(before), qos(after));
    let version = |load: &Load| load.mqtt_version.map_or("none", MqttVersion::name).to_owned();
    differ("the version of MQTT is", version(before), version(after));
    differ("the connections have", word(before.tls, "TLS"), word(after.tls, "TLS"));
    found
}

/// The rate of a load for people.
pub fn rate(load: &Load) -> String {
    let Some(rate) = load.rate else { return "closed loop".into() };
    if load.ramp.is_empty() {
        return format!("{} msg/s", shape::number(rate));
    }
    let steps: Vec<String> = load
        .ramp
        .iter()
        .map(|step| format!("{} msg/s for {} s", shape::number(step.rate), step.seconds))
        .collect();
    let last = load.ramp.last().map(|step| step.rate);
    match last == Some(rate) {
        true => steps.join(", then "),
        false => format!("{}, then {} msg/s", steps.join(", then "), shape::number(rate)),
    }
}

/// The sizes of a load for people.
pub fn size(size: &SizeDescription) -> String {
    match size {
        SizeDescription::Fixed(bytes) => shape::bytes(*bytes),
        SizeDescription::Range(low, high) => format!("{} to {}", shape::bytes(*low), shape::bytes(*high)),
        SizeDescription::OneOf(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(|bytes| shape::bytes(*bytes)).collect();
            sizes.join(" or ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::example;

    const TRIALS: u32 = 400;

    /// The sum of twelve uniform numbers, as good as normal, with the standard deviation given.
    fn noise(random: &mut fastrand::Rng, deviation: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| random.f64()).sum();
        ((sum - 6.0) * deviation).exp()
    }

    fn runs(random: &mut fastrand::Rng, count: u32, factor: f64, deviation: f64) -> Vec<BenchResult> {
        (0..count)
            .map(|_| {
                let mut run = example::scaled(factor * noise(random, deviation));
                for interval in &mut run.intervals {
                    let quantiles = interval.e2e.as_mut().expect("the example has e2e");
                    quantiles.p99_us *= factor * noise(random, deviation);
                }
                run
            })
            .collect()
    }

    /// How often each finding comes out for e2e.p99 with 10 % allowed.
    fn findings(seed: u64, count: u32, factor: f64, deviation: f64) -> [u32; 5] {
        let mut random = fastrand::Rng::with_seed(seed);
        let allowance = Allowance::parse("e2e.p99=10%").expect("an allowance");
        let mut found = [0; 5];
        for _ in 0..TRIALS {
            let before = runs(&mut random, count, 1.0, deviation);
            let after = runs(&mut random, count, factor, deviation);
            let comparison = comparison(&before, &after, &allowance).expect("both sides have e2e");
            found[comparison.finding as usize] += 1;
        }
        found
    }

    fn share(count: u32) -> f64 {
        f64::from(count) / f64::from(TRIALS)
    }

    #[test]
    fn two_sets_of_runs_of_one_build_are_the_same() {
        let found = findings(1, 5, 1.0, 0.03);
        assert!(share(found[Finding::Same as usize]) > 0.9, "{found:?}");
        assert!(share(found[Finding::Worse as usize]) < 0.01, "{found:?}");
        assert!(share(found[Finding::Better as usize]) < 0.06, "{found:?}");
    }

    #[test]
    fn a_slowdown_of_a_fifth_is_found() {
        let found = findings(2, 5, 1.2, 0.03);
        assert!(share(found[Finding::Worse as usize]) > 0.98, "{found:?}");
        assert_eq!(found[Finding::Same as usize], 0, "{found:?}");
    }

    #[test]
    fn a_speed_up_of_a_fifth_is_found() {
        let found = findings(3, 5, 1.0 / 1.2, 0.03);
        assert!(share(found[Finding::Better as usize]) > 0.98, "{found:?}");
    }

    #[test]
    fn noise_of_a_third_is_called_inconclusive_and_rarely_anything_else() {
        let found = findings(4, 5, 1.0, 0.3);
        assert!(share(found[Finding::Inconclusive as usize]) > 0.8, "{found:?}");
        assert!(share(found[Finding::Worse as usize]) < 0.03, "{found:?}");
    }

    #[test]
    fn single_runs_of_one_build_are_never_far_apart() {
        let found = findings(5, 1, 1.0, 0.01);
        assert_eq!(found[Finding::Worse as usize], 0, "{found:?}");
        assert!(share(found[Finding::Same as usize]) > 0.98, "{found:?}");
        let found = findings(6, 1, 1.2, 0.01);
        assert!(share(found[Finding::Worse as usize]) > 0.98, "{found:?}");
    }

    #[test]
    fn a_rate_gets_worse_downwards() {
        let change = |estimate: f64| Change {
            estimate,
            low: estimate - 0.01,
            high: estimate + 0.01,
            basis: Basis::Runs,
        };
        assert_eq!(judge(&change(-0.2), Direction::Higher, 0.05), Finding::Worse);
        assert_eq!(judge(&change(0.2), Direction::Higher, 0.05), Finding::Better);
        assert_eq!(judge(&change(-0.02), Direction::Higher, 0.05), Finding::Same);
        assert_eq!(judge(&change(-0.045), Direction::Higher, 0.05), Finding::Inconclusive);
        assert_eq!(judge(&change(-0.2), Direction::Lower, 0.05), Finding::Better);
    }

    #[test]
    fn a_change_within_the_noise_is_neither_worse_nor_better() {
        let change = Change { estimate: 0.14, low: 0.002, high: 0.27, basis: Basis::Runs };
        assert!(change.noise() < 0.14);
        assert_eq!(judge(&change, Direction::Lower, 0.1), Finding::Worse);
        let wide = Change { estimate: 0.14, low: 0.002, high: 0.4, basis: Basis::Runs };
        assert_eq!(judge(&wide, Direction::Lower, 0.1), Finding::Inconclusive);
        let better = Change { estimate: -0.14, low: -0.4, high: -0.002, basis: Basis::Runs };
        assert_eq!(judge(&better, Direction::Lower, 0.1), Finding::Same);
    }

    #[test]
    fn a_machine_that_was_busier_than_before_disturbs_and_one_that_was_as_busy_does_not() {
        let busy = |cores: f64| {
            let mut run = example::result();
            run.validity.elsewhere_cores = Some(cores);
            [run]
        };
        assert_eq!(disturbance(&busy(0.1), &busy(0.25)), None, "of 2 cores");
        assert_eq!(disturbance(&busy(1.0), &busy(0.1)), None);
        let why = disturbance(&busy(0.1), &busy(0.9)).expect("disturbed");
        assert!(why.contains("0.9 of 2 cores"), "{why}");
        let mut unknown = example::result();
        unknown.validity.elsewhere_cores = None;
        assert_eq!(disturbance(&[unknown], &busy(2.0)), None);
    }

    #[test]
    fn a_metric_that_a_side_lacks_is_left_out_and_one_figure_is_unknown() {
        let (before, after) = ([example::result()], [example::result()]);
        let comparisons = compare(&before, &after, &default_allowances());
        let names: Vec<&str> = comparisons.iter().map(|comparison| comparison.metric.as_str()).collect();
        assert_eq!(names, ["rate", "e2e.p50", "e2e.p99", "ack.p50", "ack.p99", "cpu.per_message"]);
        let cpu = comparisons.last().expect("cpu");
        assert_eq!(cpu.finding, Finding::Unknown);
        assert!(cpu.advice().expect("advice").contains("--runs 5"));
    }

    #[test]
    fn loads_that_differ_are_not_compared() {
        let before = example::result().load;
        let mut after = before.clone();
        assert_eq!(differences(&before, &after), Vec::<String>::new());
        after.address = "elsewhere".into();
        after.seed = 8;
        assert_eq!(differences(&before, &after), Vec::<String>::new());
        after.size = SizeDescription::Range(100, 4_096);
        after.rate = None;
        let found = differences(&before, &after).join("; ");
        assert_eq!(
            found,
            "the rate is 20,000 msg/s before and closed loop now; \
             the body has 1.0 KiB before and 100 B to 4.0 KiB now"
        );
    }
}
