//! The report on a terminal and in the log of a CI.

use super::summary::Summary;
use crate::bench::{
    assertion::{Check, CheckResult},
    baseline::{Report, StageReport},
    compare::Comparison,
    metric::Statistic,
    result::BenchResult,
    verdict::{Outcome, Verdict},
};

/// The width of the word in front of a line.
const WORD: usize = 9;

/// The width of a column of figures.
const COLUMN: usize = 10;

/// The whole report, stage by stage.
pub fn text(report: &Report) -> String {
    let stages: Vec<String> = report.stages.iter().map(stage).collect();
    stages.join("\n")
}

/// The verdicts alone.
pub fn verdicts(report: &Report) -> String {
    let stages: Vec<String> =
        report.stages.iter().map(|stage| verdict(&stage.name, &stage.verdict)).collect();
    stages.join("\n")
}

/// The figures of runs of one load, without a verdict.
pub(super) fn run(runs: &[BenchResult]) -> String {
    let summary = Summary::new(runs);
    let mut lines = vec![line("RUN", &summary.load().join("  "))];
    lines.push(line("", &summary.context().join(" · ")));
    lines.push(line("rate", &summary.rates().join("   ")));
    let latencies = summary.latencies();
    if !latencies.is_empty() {
        let titles = Statistic::SHOWN.map(|statistic| statistic.name().to_owned());
        lines.push(columns("", &titles));
    }
    lines.extend(latencies.iter().map(|latency| columns(latency.series.name(), &latency.figures)));
    for (word, parts) in [("counts", summary.integrity()), ("cost", summary.cost())] {
        if !parts.is_empty() {
            lines.push(line(word, &parts.join(" · ")));
        }
    }
    lines.extend(summary.notes().iter().map(|note| line("note", note)));
    finished(&lines)
}

/// As [`run`], with why the figures decide nothing when that is so.
pub fn judged_run(runs: &[BenchResult]) -> String {
    let reasons = Summary::new(runs).invalid();
    let words = std::iter::once(Outcome::Invalid.word()).chain(std::iter::repeat(""));
    let lines: Vec<String> = words.zip(&reasons).map(|(word, reason)| line(word, reason)).collect();
    run(runs) + &finished(&lines)
}

fn stage(stage: &StageReport) -> String {
    let mut text = if stage.runs.is_empty() { String::new() } else { run(&stage.runs) };
    text.push_str(&verdict(&stage.name, &stage.verdict));
    text
}

fn verdict(name: &str, verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict.checks.iter().map(check).collect();
    lines.extend(verdict.comparisons.iter().map(comparison));
    lines.push(line(verdict.outcome.word(), name));
    lines.extend(verdict.reasons.iter().map(|reason| line("", reason)));
    finished(&lines)
}

fn check(check: &Check) -> String {
    let word = match check.result {
        CheckResult::Passed => "pass",
        CheckResult::Missed => "missed",
        CheckResult::Unknown => "unknown",
    };
    let figure = check.figure.as_deref().or(check.reason.as_deref()).unwrap_or_default();
    line(word, &format!("{} ({figure})", check.assertion))
}

fn comparison(comparison: &Comparison) -> String {
    let text = format!(
        "{} {} → {}, {}",
        comparison.metric,
        comparison.before,
        comparison.after,
        comparison.shown_change()
    );
    line(comparison.finding.name(), &text)
}

fn line(word: &str, text: &str) -> String {
    // A word that is too long still has its space.
    format!("{word:<WORD$} {text}").trim_end().to_owned()
}

fn columns(word: &str, figures: &[String]) -> String {
    let figures: String = figures.iter().map(|figure| format!("{figure:>COLUMN$}")).collect();
    line(word, &figures)
}

fn finished(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
