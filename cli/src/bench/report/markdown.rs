//! The report as Markdown, for the summary of a CI step or a comment.

use super::summary::Summary;
use crate::bench::{
    assertion::CheckResult,
    baseline::{Report, StageReport},
    compare::{Comparison, Finding},
    metric::Statistic,
    verdict::Outcome,
};

/// The whole report, stage by stage.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("## {} mq bench: {}\n\n", sign(report.outcome), plain(&report.name));
    for item in &report.stages {
        stage(item, &mut text);
    }
    text
}

/// The verdicts alone.
pub fn verdicts(report: &Report) -> String {
    let mut text = format!("## {} mq bench: {}\n\n", sign(report.outcome), plain(&report.name));
    for item in &report.stages {
        verdict(item, &mut text);
    }
    text
}

fn stage(stage: &StageReport, text: &mut String) {
    verdict(stage, text);
    if !stage.runs.is_empty() {
        figures(&Summary::new(&stage.runs), text);
    }
}

fn verdict(stage: &StageReport, text: &mut String) {
    let verdict = &stage.verdict;
    text.push_str(&format!(
        "### {} {}: {}\n\n",
        sign(verdict.outcome),
        plain(&stage.name),
        verdict.outcome.word()
    ));
    for reason in &verdict.reasons {
        text.push_str(&format!("- {}\n", plain(reason)));
    }
    if !verdict.reasons.is_empty() {
        text.push('\n');
    }
    checks(stage, text);
    comparisons(&verdict.comparisons, text);
}

fn checks(stage: &StageReport, text: &mut String) {
    if stage.verdict.checks.is_empty() {
        return;
    }
    text.push_str("| demand | figure | |\n|---|---:|---|\n");
    for check in &stage.verdict.checks {
        let word = match check.result {
            CheckResult::Passed => "✅",
            CheckResult::Missed => "❌ missed",
            CheckResult::Unknown => "❔ unknown",
        };
        let figure = check.figure.as_deref().unwrap_or("-");
        text.push_str(&format!("| {} | {} | {word} |\n", code(&check.assertion), plain(figure)));
    }
    text.push('\n');
}

fn comparisons(comparisons: &[Comparison], text: &mut String) {
    if comparisons.is_empty() {
        return;
    }
    text.push_str(
        "| against the baseline | before | now | change | allowed | |\n|---|---:|---:|---:|---:|---|\n",
    );
    for comparison in comparisons {
        text.push_str(&format!(
            "| {} | {} | {} | {} | {:.0} % | {} |\n",
            code(&comparison.metric),
            comparison.before,
            comparison.after,
            comparison.shown_change(),
            comparison.tolerance * 100.0,
            finding(comparison.finding)
        ));
    }
    text.push('\n');
}

fn figures(summary: &Summary<'_>, text: &mut String) {
    let latencies = summary.latencies();
    if !latencies.is_empty() {
        let titles = Statistic::SHOWN.map(Statistic::name).join(" | ");
        text.push_str(&format!("| latency | {titles} |\n|---|{}\n", "---:|".repeat(Statistic::SHOWN.len())));
        for latency in &latencies {
            text.push_str(&format!("| {} | {} |\n", latency.series.name(), latency.figures.join(" | ")));
        }
        text.push('\n');
    }
    for (title, parts) in [
        ("Rate", summary.rates()),
        ("Counts", summary.integrity()),
        ("Cost of the target", summary.cost()),
        ("Load", summary.load()),
        ("Context", summary.context()),
        ("Notes", summary.notes()),
    ] {
        if !parts.is_empty() {
            text.push_str(&format!("{title}: {}\n\n", plain(&parts.join(" · "))));
        }
    }
}

fn finding(finding: Finding) -> String {
    let sign = match finding {
        Finding::Same | Finding::Better => "✅",
        Finding::Worse => "❌",
        Finding::Inconclusive | Finding::Unknown => "❔",
    };
    format!("{sign} {}", finding.name())
}

fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✅",
        Outcome::Inconclusive | Outcome::Invalid => "❔",
        Outcome::Regressed | Outcome::Missed | Outcome::Failed => "❌",
    }
}

/// Text in which nothing is formatting.
fn plain(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => {
                result.push('\\');
                result.push(character);
            }
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '&' => result.push_str("&amp;"),
            _ if character.is_control() => result.push(' '),
            _ => result.push(character),
        }
    }
    result
}

/// Text of the grammar of assertions, as code in a cell of a table.
fn code(text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if letter.is_control() || letter == '`' { ' ' } else { letter }).collect();
    format!("`{}`", text.replace('|', "\\|"))
}
