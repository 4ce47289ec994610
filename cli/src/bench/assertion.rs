//! Thresholds: `e2e.p99<5ms`, `received.rate>=50k`, `lost==0`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    metric::{Direction, Metric},
    noise::median,
    result::BenchResult,
};

/// The longest text of an assertion; a longer one is a slip of the shell.
const MAX_LENGTH: usize = 200;

/// The greatest regression that can be allowed: ten times as slow.
const MAX_TOLERANCE: f64 = 10.0;

/// The least regression that can be told from noise with any number of runs.
const MIN_TOLERANCE: f64 = 0.01;

/// A threshold that a figure has to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// As it was written.
    pub text: String,
    pub metric: Metric,
    pub operator: Operator,
    /// In the unit of the metric.
    pub bound: f64,
}

/// How a figure is compared with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A regression that is allowed: `e2e.p99=10%`.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    pub metric: Metric,
    /// How much worse a figure may become, as a ratio: 0.1 is a tenth.
    pub tolerance: f64,
}

/// An assertion and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The assertion as it was written.
    pub assertion: String,
    pub result: CheckResult,
    /// The figure that was compared, with its unit; absent when there was none.
    pub figure: Option<String>,
    /// Why nobody can say, as one lower-case sentence.
    pub reason: Option<String>,
}

/// What became of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckResult {
    Passed,
    Missed,
    /// The figure is not there, or not to be trusted.
    Unknown,
}

impl Assertion {
    /// Reads `metric operator value`, with or without spaces.
    ///
    /// # Errors
    ///
    /// What cannot be read, and what can be written in its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write metric, operator and value, such as e2e.p99<5ms";
        if text.len() > MAX_LENGTH {
            return Err(format!("an assertion has at most {MAX_LENGTH} bytes"));
        }
        let begin = text.find(['<', '>', '=', '!']).ok_or_else(|| format!("there is no operator; {FORM}"))?;
        let (name, rest) = text.split_at(begin);
        let value = rest.trim_start_matches(['<', '>', '=', '!']);
        let operator = Operator::parse(rest.strip_suffix(value).unwrap_or(rest))?;
        if name.trim().is_empty() || value.trim().is_empty() {
            return Err(FORM.into());
        }
        let metric = Metric::parse(name)?;
        let bound = metric
            .unit()
            .parse(value)
            .map_err(|hint| format!("`{}` is no value of {metric}: {hint}", value.trim()))?;
        Ok(Self { text: text.trim().to_owned(), metric, operator, bound })
    }

    /// Compares the figure of the runs. Of what is counted, every run has to keep the bound, and the
    /// run that is furthest from it is named; of everything else, the median.
    ///
    /// The figures of an invalid run are the generator's own, so they decide nothing; what became
    /// of the messages is counted all the same, and a bound that it misses is missed.
    pub fn check(&self, runs: &[&BenchResult]) -> Check {
        let figures: Vec<f64> = runs.iter().filter_map(|run| self.metric.read(run)).collect();
        if figures.len() < runs.len() || figures.is_empty() {
            return self.unknown(None, format!("{} has no figure of {}", subject(runs), self.metric));
        }
        let figure = if self.metric.is_count() { self.worst(&figures) } else { median(&figures) };
        let Some(figure) = figure else {
            return self.unknown(None, format!("{} has no figure of {}", subject(runs), self.metric));
        };
        let holds = self.operator.holds(figure, self.bound);
        let shown = Some(self.metric.unit().show(figure));
        if self.metric.is_count() && !holds {
            return self.known(CheckResult::Missed, shown);
        }
        if runs.iter().any(|run| self.metric.is_lower_bound(run)) {
            return self
                .unknown(shown, format!("{} is a lower bound in a run of so many messages", self.metric));
        }
        if !self.metric.is_count() && runs.iter().any(|run| !run.validity.valid) {
            return self.unknown(shown, "the generator was the limit, not the target".into());
        }
        self.known(if holds { CheckResult::Passed } else { CheckResult::Missed }, shown)
    }

    /// The first figure that misses the bound, and otherwise the one nearest to missing it.
    fn worst(&self, figures: &[f64]) -> Option<f64> {
        let missed = figures.iter().copied().find(|figure| !self.operator.holds(*figure, self.bound));
        let ordered = |most: bool| {
            let figures = figures.iter().copied();
            if most { figures.max_by(f64::total_cmp) } else { figures.min_by(f64::total_cmp) }
        };
        missed.or_else(|| ordered(self.metric.direction() == Direction::Lower))
    }

    fn known(&self, result: CheckResult, figure: Option<String>) -> Check {
        Check { assertion: self.text.clone(), result, figure, reason: None }
    }

    fn unknown(&self, figure: Option<String>, reason: String) -> Check {
        Check { assertion: self.text.clone(), result: CheckResult::Unknown, figure, reason: Some(reason) }
    }
}

impl Operator {
    /// # Errors
    ///
    /// Another sign: the sentence lists those that there are.
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "=" => return Err("there is no operator `=`; write == to compare".into()),
            "=<" => return Err("there is no operator `=<`; write <=".into()),
            "=>" => return Err("there is no operator `=>`; write >=".into()),
            _ => return Err(format!("there is no operator `{text}`; use <, <=, >, >=, == or !=")),
        })
    }

    fn holds(self, figure: f64, bound: f64) -> bool {
        match self {
            Self::Less => figure < bound,
            Self::LessOrEqual => figure <= bound,
            Self::Greater => figure > bound,
            Self::GreaterOrEqual => figure >= bound,
            Self::Equal => figure == bound,
            Self::NotEqual => figure != bound,
        }
    }
}

impl Allowance {
    /// Reads `metric=percentage`.
    ///
    /// # Errors
    ///
    /// What cannot be read, and what can be written in its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write metric and percentage, such as e2e.p99=10%";
        let (name, percentage) = text.split_once('=').ok_or(FORM)?;
        let metric = Metric::parse(name)?;
        if metric.is_count() {
            return Err(format!("a count has no percentage of a baseline; write --assert '{metric}==0'"));
        }
        let number = percentage.trim().strip_suffix('%').ok_or(FORM)?;
        let tolerance = number.trim().parse::<f64>().map_err(|_| FORM)? / 100.0;
        let most = match metric.direction() {
            Direction::Lower => MAX_TOLERANCE,
            // A rate that falls by all of itself is gone.
            Direction::Higher => 0.99,
        };
        if (MIN_TOLERANCE..=most).contains(&tolerance) {
            Ok(Self { metric, tolerance })
        } else {
            Err(format!("{metric} may be allowed to get worse by 1 % to {:.0} %", most * 100.0))
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}%", self.metric, (self.tolerance * 1e4).round() / 100.0)
    }
}

fn subject(runs: &[&BenchResult]) -> &'static str {
    if runs.len() == 1 { "the run" } else { "one of the runs" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::example;

    fn checked(text: &str, runs: &[&BenchResult]) -> Check {
        Assertion::parse(text).expect(text).check(runs)
    }

    #[test]
    fn an_assertion_is_metric_operator_and_value_with_or_without_spaces() {
        for (text, metric, operator, bound) in [
            ("e2e.p99<5ms", "e2e.p99", Operator::Less, 5_000.0),
            (" received.rate >= 50k ", "received.rate", Operator::GreaterOrEqual, 50_000.0),
            ("lost==0", "lost", Operator::Equal, 0.0),
            ("ack.p99.9<=20ms", "ack.p99.9", Operator::LessOrEqual, 20_000.0),
            ("cpu.per_message<2us", "cpu.per_message", Operator::Less, 2.0),
            ("schedule.kept>99%", "schedule.kept", Operator::Greater, 0.99),
        ] {
            let assertion = Assertion::parse(text).expect(text);
            assert_eq!(assertion.metric.to_string(), metric);
            assert_eq!((assertion.operator, assertion.bound), (operator, bound), "{text}");
        }
    }

    #[test]
    fn a_mistake_in_an_assertion_is_named_with_what_would_be_right() {
        for (text, why) in [
            ("e2e.p99", "there is no operator; write metric, operator and value"),
            ("e2e.p99=5ms", "write == to compare"),
            ("e2e.p99=<5ms", "write <="),
            ("e2e.p99<>5ms", "use <, <=, >, >=, == or !="),
            ("e2e.p99<5", "`5` is no value of e2e.p99: write a time with its unit"),
            ("e2e.p9<5ms", "did you mean `e2e.p90`?"),
            ("<5ms", "such as e2e.p99<5ms"),
            ("lost==", "such as e2e.p99<5ms"),
        ] {
            let error = Assertion::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(Assertion::parse(&format!("lost=={}", "9".repeat(300))).is_err());
    }

    #[test]
    fn an_allowance_is_a_percentage_of_a_figure_that_can_get_worse_gradually() {
        let allowance = Allowance::parse("e2e.p99 = 12.5%").expect("an allowance");
        assert_eq!((allowance.tolerance, allowance.to_string().as_str()), (0.125, "e2e.p99=12.5%"));
        for (text, why) in [
            ("e2e.p99", "such as e2e.p99=10%"),
            ("e2e.p99=10", "such as e2e.p99=10%"),
            ("lost=10%", "--assert 'lost==0'"),
            ("e2e.p99=0.1%", "by 1 % to 1000 %"),
            ("received.rate=100%", "by 1 % to 99 %"),
            ("e2e.p99=NaN%", "by 1 % to 1000 %"),
        ] {
            let error = Allowance::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_median_of_the_runs_is_compared_but_every_run_has_to_keep_a_count() {
        let mut slow = example::result();
        slow.latency.e2e.as_mut().expect("e2e").p99_us = 9_000.0;
        slow.integrity.lost = 3;
        let good = example::result();
        let runs = [&good, &slow, &good];
        assert_eq!(checked("e2e.p99<5ms", &runs).result, CheckResult::Passed);
        let lost = checked("lost==0", &runs);
        assert_eq!((lost.result, lost.figure.as_deref()), (CheckResult::Missed, Some("3")));
    }

    #[test]
    fn a_figure_that_is_not_there_is_unknown_and_not_passed() {
        let mut run = example::result();
        run.cost = None;
        let check = checked("cpu.per_message<2us", &[&run]);
        assert_eq!(check.result, CheckResult::Unknown);
        assert_eq!(check.reason.as_deref(), Some("the run has no figure of cpu.per_message"));
        assert_eq!(checked("lost==0", &[]).result, CheckResult::Unknown);
    }

    #[test]
    fn an_invalid_run_decides_nothing_but_what_it_lost_is_lost() {
        let mut run = example::result();
        run.validity.valid = false;
        run.integrity.lost = 1;
        assert_eq!(checked("e2e.p99<1us", &[&run]).result, CheckResult::Unknown);
        assert_eq!(checked("lost==0", &[&run]).result, CheckResult::Missed);
        assert_eq!(checked("duplicated==0", &[&run]).result, CheckResult::Passed);
    }

    #[test]
    fn a_lower_bound_can_miss_a_threshold_but_not_keep_it() {
        let mut run = example::result();
        run.integrity.incomplete = true;
        assert_eq!(checked("lost==0", &[&run]).result, CheckResult::Unknown);
        run.integrity.lost = 1;
        assert_eq!(checked("lost==0", &[&run]).result, CheckResult::Missed);
    }
}
