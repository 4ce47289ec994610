//! The report as JUnit XML: what a CI shows as tests.
//!
//! A suite per stage, a case per demand. A demand that was missed is a failure; what nobody can
//! tell, and a run that could not be done, is an error, so that it is not taken for a pass.

use super::{escaped, summary::Summary};
use crate::bench::{
    assertion::{Check, CheckResult},
    baseline::{Report, StageReport},
    compare::{Comparison, Finding},
    verdict::Outcome,
};

/// One case of a suite.
struct Case {
    name: String,
    problem: Option<Problem>,
}

struct Problem {
    /// `failure` or `error`.
    element: &'static str,
    message: String,
}

/// The whole report as a JUnit document.
pub fn junit(report: &Report) -> String {
    let suites: Vec<(usize, usize, usize, String)> = report.stages.iter().map(suite).collect();
    let sum = |read: fn(&(usize, usize, usize, String)) -> usize| suites.iter().map(read).sum::<usize>();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!(
        "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n",
        escaped(&report.name),
        sum(|suite| suite.0),
        sum(|suite| suite.1),
        sum(|suite| suite.2)
    ));
    for (.., suite) in &suites {
        text.push_str(suite);
    }
    text.push_str("</testsuites>\n");
    text
}

/// The numbers of cases, failures and errors, and the element.
fn suite(stage: &StageReport) -> (usize, usize, usize, String) {
    let cases = cases(stage);
    let count = |element: &str| {
        cases
            .iter()
            .filter(|case| matches!(&case.problem, Some(problem) if problem.element == element))
            .count()
    };
    let (failures, errors) = (count("failure"), count("error"));
    let seconds: f64 = stage.runs.iter().map(|run| run.rates.elapsed_seconds).sum();
    let mut text = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\"",
        escaped(&stage.name),
        cases.len()
    );
    if let Some(run) = stage.runs.first() {
        text.push_str(&format!(" timestamp=\"{}\"", run.context.started_at));
    }
    text.push_str(">\n");
    text.push_str(&properties(stage));
    for case in &cases {
        text.push_str(&element(&stage.name, case));
    }
    let output = super::text::run(&stage.runs);
    if !stage.runs.is_empty() {
        text.push_str(&format!("    <system-out>{}</system-out>\n", escaped(&output)));
    }
    text.push_str("  </testsuite>\n");
    (cases.len(), failures, errors, text)
}

fn properties(stage: &StageReport) -> String {
    let summary = Summary::new(&stage.runs);
    let figures =
        ["rate", "e2e.p50", "e2e.p99", "ack.p50", "ack.p99", "rtt.p50", "rtt.p99", "cpu.per_message"];
    let lines: String = figures
        .iter()
        .filter_map(|name| {
            let figure = summary.figure(name)?;
            Some(format!("      <property name=\"{name}\" value=\"{}\"/>\n", escaped(&figure)))
        })
        .collect();
    if lines.is_empty() { lines } else { format!("    <properties>\n{lines}    </properties>\n") }
}

fn cases(stage: &StageReport) -> Vec<Case> {
    let verdict = &stage.verdict;
    let mut cases = vec![Case { name: "the run is valid".into(), problem: validity(stage) }];
    cases.extend(verdict.checks.iter().map(demand));
    cases.extend(verdict.comparisons.iter().map(comparison));
    let is_told = cases.iter().any(|case| case.problem.is_some());
    // A baseline of another load has no case of its own.
    if verdict.outcome != Outcome::Pass && !is_told {
        let problem = Problem { element: "error", message: verdict.reasons.join("; ") };
        cases.push(Case { name: "the verdict is a pass".into(), problem: Some(problem) });
    }
    cases
}

fn validity(stage: &StageReport) -> Option<Problem> {
    let is_valid = !stage.runs.is_empty() && stage.runs.iter().all(|run| run.validity.valid);
    if is_valid && stage.verdict.outcome != Outcome::Failed {
        return None;
    }
    Some(Problem { element: "error", message: stage.verdict.reasons.join("; ") })
}

fn demand(check: &Check) -> Case {
    let problem = match check.result {
        CheckResult::Passed => None,
        CheckResult::Missed => Some(Problem {
            element: "failure",
            message: format!("missed: {}", check.figure.as_deref().unwrap_or("nothing")),
        }),
        CheckResult::Unknown => {
            Some(Problem { element: "error", message: check.reason.clone().unwrap_or_default() })
        }
    };
    Case { name: check.assertion.clone(), problem }
}

fn comparison(comparison: &Comparison) -> Case {
    let change = format!("{} → {}, {}", comparison.before, comparison.after, comparison.shown_change());
    let problem = match comparison.finding {
        Finding::Same | Finding::Better | Finding::Unknown => None,
        Finding::Worse => Some(Problem { element: "failure", message: format!("worse: {change}") }),
        Finding::Inconclusive => {
            Some(Problem { element: "error", message: format!("inconclusive: {change}") })
        }
    };
    let name = format!("{} within {:.0} % of the baseline", comparison.metric, comparison.tolerance * 100.0);
    Case { name, problem }
}

fn element(suite: &str, case: &Case) -> String {
    let start =
        format!("    <testcase classname=\"mq.bench.{}\" name=\"{}\"", escaped(suite), escaped(&case.name));
    match &case.problem {
        None => format!("{start}/>\n"),
        Some(Problem { element, message }) => {
            format!("{start}>\n      <{element} message=\"{}\"/>\n    </testcase>\n", escaped(message))
        }
    }
}
