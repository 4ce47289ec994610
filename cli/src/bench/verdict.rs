//! What a set of runs comes to: pass, or why not, and the exit code that says so.

use serde::{Deserialize, Serialize};

use super::{
    assertion::{Allowance, Assertion, Check, CheckResult},
    compare::{self, Comparison, Finding},
    result::BenchResult,
};
use crate::exit::Exit;

/// What is demanded of a set of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demands {
    pub assertions: Vec<Assertion>,
    pub allowances: Vec<Allowance>,
}

/// What a set of runs comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub outcome: Outcome,
    pub checks: Vec<Check>,
    /// Against the baseline, when there is one.
    pub comparisons: Vec<Comparison>,
    /// Why it is not a pass; one lower-case sentence each.
    pub reasons: Vec<String>,
}

/// How it ended. In the order of weight: of several, the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Pass,
    /// The noise is larger than what is to be told.
    Inconclusive,
    /// The generator was the limit: the figures are its own.
    Invalid,
    /// Worse than the baseline beyond what is allowed.
    Regressed,
    /// A threshold was missed.
    Missed,
    /// A run could not be done.
    Failed,
}

impl Outcome {
    /// The word that a report shows.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Invalid => "INVALID",
            Self::Regressed => "REGRESSED",
            Self::Missed => "MISSED",
            Self::Failed => "FAILED",
        }
    }

    pub fn exit(self) -> Exit {
        match self {
            Self::Pass => Exit::Ok,
            Self::Inconclusive | Self::Invalid => Exit::TimedOut,
            Self::Regressed => Exit::Regressed,
            Self::Missed => Exit::Missed,
            Self::Failed => Exit::Failed,
        }
    }
}

impl Verdict {
    /// Judges runs of one load, against those of a baseline when there are any.
    ///
    /// Where no regression is demanded to be small, the usual metrics are compared, and one with too few
    /// figures is shown and decides nothing, unless none has enough.
    pub fn of(runs: &[BenchResult], baseline: Option<&[BenchResult]>, demands: &Demands) -> Self {
        if runs.is_empty() {
            return Self::failed("there is no run to judge");
        }
        let all: Vec<&BenchResult> = runs.iter().collect();
        let checks: Vec<Check> = demands.assertions.iter().map(|assertion| assertion.check(&all)).collect();
        let mut verdict =
            Self { outcome: Outcome::Pass, checks, comparisons: Vec::new(), reasons: Vec::new() };
        verdict.weigh_checks();
        let is_valid = verdict.weigh_validity(runs);
        if let Some(baseline) = baseline {
            verdict.weigh_baseline(runs, baseline, demands, is_valid);
        }
        verdict
    }

    /// Compares two sets of runs where nothing is demanded: a metric with too few figures is shown and
    /// decides nothing, unless none has enough.
    pub fn of_comparison(before: &[BenchResult], after: &[BenchResult], demands: &Demands) -> Self {
        Self::of(after, Some(before), demands)
    }

    /// A set of runs that could not be done.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            checks: Vec::new(),
            comparisons: Vec::new(),
            reasons: vec![reason.into()],
        }
    }

    fn weigh_checks(&mut self) {
        for check in &self.checks {
            let (outcome, reason) = match check.result {
                CheckResult::Passed => continue,
                CheckResult::Missed => {
                    let figure = check.figure.as_deref().unwrap_or("nothing");
                    (Outcome::Missed, format!("{} was missed: {figure}", check.assertion))
                }
                CheckResult::Unknown => {
                    let reason = check.reason.as_deref().unwrap_or("there is no figure");
                    (Outcome::Inconclusive, format!("{} cannot be told: {reason}", check.assertion))
                }
            };
            self.outcome = self.outcome.max(outcome);
            self.reasons.push(reason);
        }
    }

    fn weigh_validity(&mut self, runs: &[BenchResult]) -> bool {
        let invalid: Vec<&BenchResult> = runs.iter().filter(|run| !run.validity.valid).collect();
        if invalid.is_empty() {
            return true;
        }
        self.outcome = self.outcome.max(Outcome::Invalid);
        if runs.len() > 1 {
            self.reasons.push(format!("{} of {} runs are invalid", invalid.len(), runs.len()));
        }
        for reason in invalid.iter().flat_map(|run| &run.validity.reasons) {
            if !self.reasons.contains(reason) {
                self.reasons.push(reason.clone());
            }
        }
        false
    }

    fn weigh_baseline(
        &mut self,
        runs: &[BenchResult],
        baseline: &[BenchResult],
        demands: &Demands,
        is_valid: bool,
    ) {
        let differences = match (baseline.first(), runs.first()) {
            (Some(before), Some(after)) => compare::differences(&before.load, &after.load),
            _ => vec!["the baseline holds no run".to_owned()],
        };
        if !differences.is_empty() {
            self.undecided("the baseline is of another load");
            self.reasons.extend(differences);
            return;
        }
        let valid: Vec<BenchResult> = baseline.iter().filter(|run| run.validity.valid).cloned().collect();
        if valid.is_empty() {
            return self.undecided("no run of the baseline is valid");
        }
        let is_demanded = !demands.allowances.is_empty();
        let defaults = if is_demanded { Vec::new() } else { compare::default_allowances() };
        for allowance in demands.allowances.iter().chain(&defaults) {
            match compare::comparison(&valid, runs, allowance) {
                Some(comparison) => self.comparisons.push(comparison),
                None if is_demanded => {
                    self.undecided(format!("{} is not in both the runs and the baseline", allowance.metric));
                }
                None => {}
            }
        }
        if is_valid {
            self.weigh_comparisons(is_demanded, compare::disturbance(&valid, runs));
        }
    }

    /// Of what is demanded, everything has to be told; of what is usually compared, most.
    ///
    /// `disturbance`: what made this machine slower than it was for the baseline, so that nobody knows what
    /// made the figures worse.
    fn weigh_comparisons(&mut self, is_demanded: bool, disturbance: Option<String>) {
        let count = |findings: &[Finding]| {
            self.comparisons.iter().filter(|comparison| findings.contains(&comparison.finding)).count()
        };
        let (told, open) = (count(&[Finding::Same, Finding::Better]), count(&[Finding::Inconclusive]));
        if !is_demanded && told + open + count(&[Finding::Worse]) == 0 {
            self.undecided("there are too few figures to know the noise; repeat both sides with --runs 5");
        }
        let all_have_to_be_told = is_demanded || told <= open;
        for comparison in self.comparisons.clone() {
            match comparison.finding {
                Finding::Same | Finding::Better => {}
                Finding::Worse => self.weigh_worse(&comparison, disturbance.as_deref()),
                Finding::Inconclusive if !all_have_to_be_told => {}
                Finding::Unknown if !is_demanded => {}
                Finding::Inconclusive | Finding::Unknown => {
                    self.undecided(comparison.advice().unwrap_or_default());
                }
            }
        }
    }

    fn weigh_worse(&mut self, comparison: &Comparison, disturbance: Option<&str>) {
        if let Some(why) = disturbance {
            return self.undecided(format!("{} is worse, and {why}", comparison.metric));
        }
        self.outcome = self.outcome.max(Outcome::Regressed);
        self.reasons.push(format!(
            "{} is worse than the baseline by more than {:.0} %: {} before, {} now, {}",
            comparison.metric,
            comparison.tolerance * 100.0,
            comparison.before,
            comparison.after,
            comparison.shown_change()
        ));
    }

    fn undecided(&mut self, reason: impl Into<String>) {
        self.outcome = self.outcome.max(Outcome::Inconclusive);
        self.reasons.push(reason.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::example;

    fn demands(assertions: &[&str], allowances: &[&str]) -> Demands {
        Demands {
            assertions: assertions.iter().map(|text| Assertion::parse(text).expect(text)).collect(),
            allowances: allowances.iter().map(|text| Allowance::parse(text).expect(text)).collect(),
        }
    }

    fn five(factor: f64) -> Vec<BenchResult> {
        [0.99, 0.995, 1.0, 1.005, 1.01].map(|noise| example::scaled(factor * noise)).to_vec()
    }

    #[test]
    fn runs_that_keep_every_demand_pass() {
        let demands = demands(&["e2e.p99<5ms", "lost==0"], &["e2e.p99=10%"]);
        let verdict = Verdict::of(&five(1.0), Some(&five(1.0)), &demands);
        assert_eq!((verdict.outcome, verdict.outcome.exit().code()), (Outcome::Pass, 0));
        assert_eq!(verdict.reasons, Vec::<String>::new());
    }

    #[test]
    fn a_missed_threshold_is_99_and_weighs_more_than_a_regression() {
        let demands = demands(&["e2e.p99<1ms"], &["e2e.p99=10%"]);
        let verdict = Verdict::of(&five(1.2), Some(&five(1.0)), &demands);
        assert_eq!((verdict.outcome, verdict.outcome.exit().code()), (Outcome::Missed, 99));
        assert_eq!(verdict.reasons.len(), 2, "{:?}", verdict.reasons);
    }

    #[test]
    fn a_regression_is_98_and_says_from_what_to_what() {
        let verdict = Verdict::of(&five(1.2), Some(&five(1.0)), &demands(&[], &["e2e.p99=10%"]));
        assert_eq!((verdict.outcome, verdict.outcome.exit().code()), (Outcome::Regressed, 98));
        let reason = &verdict.reasons[0];
        assert!(reason.contains("940 µs before, 1.13 ms now, +20.0 %"), "{reason}");
    }

    #[test]
    fn an_invalid_run_is_4_whatever_its_figures_say() {
        let mut runs = five(1.2);
        runs[3].validity.valid = false;
        runs[3].validity.reasons.push("the generator fell behind".into());
        let demands = demands(&["e2e.p99<1us"], &["e2e.p99=10%"]);
        let verdict = Verdict::of(&runs, Some(&five(1.0)), &demands);
        assert_eq!((verdict.outcome, verdict.outcome.exit().code()), (Outcome::Invalid, 4));
        assert!(verdict.reasons.iter().any(|reason| reason == "1 of 5 runs are invalid"));
        assert!(verdict.reasons.iter().any(|reason| reason == "the generator fell behind"));
    }

    #[test]
    fn what_an_invalid_run_lost_is_lost() {
        let mut run = example::result();
        run.validity.valid = false;
        run.integrity.lost = 2;
        assert_eq!(Verdict::of(&[run], None, &demands(&["lost==0"], &[])).outcome, Outcome::Missed);
    }

    #[test]
    fn noise_beyond_what_is_allowed_is_4_and_says_what_would_help() {
        let noisy = [0.7, 0.85, 1.0, 1.2, 1.4].map(example::scaled);
        let verdict = Verdict::of(&noisy, Some(&five(1.0)), &demands(&[], &["e2e.p99=10%"]));
        assert_eq!((verdict.outcome, verdict.outcome.exit().code()), (Outcome::Inconclusive, 4));
        assert!(verdict.reasons[0].contains("more or longer runs"), "{:?}", verdict.reasons);
    }

    #[test]
    fn a_baseline_of_another_load_decides_nothing() {
        let mut baseline = five(1.0);
        baseline[0].load.durable = false;
        let verdict = Verdict::of(&five(2.0), Some(&baseline), &demands(&[], &["e2e.p99=10%"]));
        assert_eq!(verdict.outcome, Outcome::Inconclusive);
        let reasons = verdict.reasons.join("; ");
        assert_eq!(
            reasons,
            "the baseline is of another load; messages are not durable before and durable now"
        );
    }

    #[test]
    fn without_demands_what_has_too_few_figures_is_shown_and_decides_nothing() {
        let (before, after) = ([example::result()], [example::result()]);
        let verdict = Verdict::of(&after, Some(&before), &Demands::default());
        assert_eq!(verdict.outcome, Outcome::Pass, "{:?}", verdict.reasons);
        assert!(verdict.comparisons.iter().any(|comparison| comparison.finding == Finding::Unknown));
        let demanded = Verdict::of(&after, Some(&before), &demands(&[], &["cpu.per_message=10%"]));
        assert_eq!(demanded.outcome, Outcome::Inconclusive);
    }

    #[test]
    fn without_demands_most_figures_have_to_be_told_and_not_all() {
        let noisy = |noise: f64, wild: f64| {
            let mut run = example::scaled(noise);
            for distribution in [&mut run.latency.e2e, &mut run.latency.ack].into_iter().flatten() {
                distribution.p99_us *= wild;
            }
            run
        };
        let one = [noisy(0.99, 0.6), noisy(1.0, 1.5), noisy(1.01, 0.9), noisy(1.0, 1.2), noisy(0.995, 0.7)];
        let verdict = Verdict::of(&one, Some(&five(1.0)), &Demands::default());
        let open = verdict.comparisons.iter().filter(|found| found.finding == Finding::Inconclusive).count();
        assert_eq!((verdict.outcome, open), (Outcome::Pass, 2), "{:?}", verdict.comparisons);
        let all = [0.7, 0.85, 1.0, 1.2, 1.4].map(example::scaled);
        let verdict = Verdict::of(&all, Some(&five(1.0)), &Demands::default());
        assert_eq!(verdict.outcome, Outcome::Inconclusive, "{:?}", verdict.comparisons);
    }

    #[test]
    fn a_regression_while_others_used_the_machine_is_none() {
        let mut runs = five(1.2);
        for run in &mut runs {
            run.validity.elsewhere_cores = Some(1.2);
        }
        let verdict = Verdict::of(&runs, Some(&five(1.0)), &demands(&[], &["e2e.p99=10%"]));
        assert_eq!(verdict.outcome, Outcome::Inconclusive);
        assert!(verdict.reasons[0].contains("other programs used 1.2 of 2 cores"), "{:?}", verdict.reasons);
        let verdict = Verdict::of(&runs, Some(&runs.clone()), &demands(&["e2e.p99<1us"], &[]));
        assert_eq!(verdict.outcome, Outcome::Missed, "a threshold does not ask why");
    }

    #[test]
    fn no_run_at_all_is_a_failure() {
        assert_eq!(Verdict::of(&[], None, &Demands::default()).outcome.exit().code(), 1);
    }
}
