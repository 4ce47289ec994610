//! The report as one HTML file with charts: no script, nothing from elsewhere.

use super::{
    chart::{Axis, Chart, Line},
    escaped,
    summary::Summary,
};
use crate::bench::{
    assertion::CheckResult,
    baseline::{Report, StageReport},
    metric::{Metric, Series, Statistic, Unit},
    result::{BenchResult, Interval, Quantiles},
    verdict::Outcome,
};

/// Runs of a stage that get charts of their own; the figures of all are in the tables.
const MAX_CHARTED: usize = 10;

/// The whole report.
pub fn html(report: &Report) -> String {
    let title = format!("mq bench: {}", report.name);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{0} {1}</h1>\n",
        escaped(&title),
        badge(report.outcome)
    );
    for item in &report.stages {
        stage(item, &mut page);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn stage(stage: &StageReport, page: &mut String) {
    let verdict = &stage.verdict;
    page.push_str(&format!("<h2>{} {}</h2>\n", escaped(&stage.name), badge(verdict.outcome)));
    if !stage.runs.is_empty() {
        let summary = Summary::new(&stage.runs);
        for parts in [summary.load(), summary.context()] {
            page.push_str(&format!("<p class=\"about\">{}</p>\n", escaped(&parts.join(" · "))));
        }
    }
    list(&verdict.reasons, page);
    let checks: Vec<Vec<String>> = verdict
        .checks
        .iter()
        .map(|check| {
            let word = match check.result {
                CheckResult::Passed => "passed",
                CheckResult::Missed => "missed",
                CheckResult::Unknown => "unknown",
            };
            let figure = check.figure.as_ref().or(check.reason.as_ref()).cloned().unwrap_or_default();
            vec![check.assertion.clone(), figure, word.to_owned()]
        })
        .collect();
    table(&["demand", "figure", "result"], &checks, page);
    let comparisons: Vec<Vec<String>> = verdict
        .comparisons
        .iter()
        .map(|comparison| {
            vec![
                comparison.metric.clone(),
                comparison.before.clone(),
                comparison.after.clone(),
                comparison.shown_change(),
                format!("{:.0} %", comparison.tolerance * 100.0),
                comparison.finding.name().to_owned(),
            ]
        })
        .collect();
    table(&["against the baseline", "before", "now", "change", "allowed", "result"], &comparisons, page);
    if !stage.runs.is_empty() {
        figures(&stage.runs, page);
    }
}

fn figures(runs: &[BenchResult], page: &mut String) {
    let summary = Summary::new(runs);
    let latencies: Vec<Vec<String>> = summary
        .latencies()
        .into_iter()
        .map(|latency| {
            let name = format!("{}, {}", latency.series.name(), latency.series.meaning());
            std::iter::once(name).chain(latency.figures).collect()
        })
        .collect();
    let titles: Vec<&str> = std::iter::once("latency").chain(Statistic::SHOWN.map(Statistic::name)).collect();
    table(&titles, &latencies, page);
    page.push_str("<dl>\n");
    for (title, parts) in [
        ("Rate", summary.rates()),
        ("Counts", summary.integrity()),
        ("Cost of the target", summary.cost()),
        ("Notes", summary.notes()),
    ] {
        if !parts.is_empty() {
            page.push_str(&format!("<dt>{title}</dt><dd>{}</dd>\n", escaped(&parts.join(" · "))));
        }
    }
    page.push_str("</dl>\n");
    page.push_str(&spread(runs));
    for (number, run) in runs.iter().take(MAX_CHARTED).enumerate() {
        let charts =
            format!("<div class=\"charts\">\n{}{}{}</div>\n", rate(run), latency(run), percentiles(run));
        // Of several runs the first is open: what they have in common is above.
        page.push_str(&match (runs.len(), number) {
            (1, _) => charts,
            (_, 0) => format!("<details open><summary>Run 1</summary>\n{charts}</details>\n"),
            _ => format!("<details><summary>Run {}</summary>\n{charts}</details>\n", number + 1),
        });
    }
}

/// The figure of each run side by side: what the noise looks like.
fn spread(runs: &[BenchResult]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let names = ["e2e.p50", "e2e.p99", "ack.p99", "rtt.p50", "rtt.p99", "connect.p99"];
    let metrics = names.iter().filter_map(|name| Some((*name, Metric::parse(name).ok()?)));
    let lines = metrics.map(|(name, metric)| Line {
        name,
        points: runs
            .iter()
            .enumerate()
            .filter_map(|(number, run)| Some((number as f64 + 1.0, metric.read(run)?)))
            .collect(),
    });
    let chart = Chart {
        title: "Latency of each run",
        lines: lines.filter(|line| !line.points.is_empty()).collect(),
        marks: marks(1.0, runs.len() as f64, |number| format!("run {number:.0}")),
        vertical: Axis::Logarithmic,
        show: |figure| Unit::Time.show(figure),
    };
    format!("<div class=\"charts\">\n{}</div>\n", chart.svg())
}

fn rate(run: &BenchResult) -> String {
    let line = |name, read: fn(&Interval) -> u64| Line {
        name,
        points: run
            .intervals
            .iter()
            // The last interval is as long as what was left.
            .filter(|interval| interval.seconds >= 0.5)
            .map(|interval| (interval.start_seconds, read(interval) as f64 / interval.seconds))
            .collect(),
    };
    let lines = [
        line("sent", |interval| interval.sent),
        line("settled", |interval| interval.settled),
        line("received", |interval| interval.received),
    ];
    let chart = Chart {
        title: "Messages per second",
        lines: lines.into_iter().filter(|line| line.points.iter().any(|point| point.1 > 0.0)).collect(),
        marks: seconds(run),
        vertical: Axis::Linear,
        show: |figure| Unit::Rate.show(figure),
    };
    chart.svg()
}

fn latency(run: &BenchResult) -> String {
    let order = [Series::EndToEnd, Series::RoundTrip, Series::Ack, Series::Connect, Series::Delay];
    let series = order.into_iter().find(|series| series.of(&run.latency).is_some());
    let Some(series) = series else { return String::new() };
    let line = |name, read: fn(&Quantiles) -> f64| Line {
        name,
        points: run
            .intervals
            .iter()
            .filter_map(|interval| Some((interval.start_seconds, read(series.in_interval(interval)?))))
            .collect(),
    };
    let title = format!("{} over time", series.name());
    let chart = Chart {
        title: &title,
        lines: vec![
            line("p50", |quantiles| quantiles.p50_us),
            line("p99", |quantiles| quantiles.p99_us),
            line("max", |quantiles| quantiles.max_us),
        ],
        marks: seconds(run),
        vertical: Axis::Logarithmic,
        show: |figure| Unit::Time.show(figure),
    };
    chart.svg()
}

fn percentiles(run: &BenchResult) -> String {
    let steps =
        [Statistic::P50, Statistic::P90, Statistic::P99, Statistic::P999, Statistic::P9999, Statistic::Max];
    let lines = run.latency.named().map(|(name, distribution)| Line {
        name,
        points: steps
            .iter()
            .enumerate()
            .map(|(place, statistic)| (place as f64, statistic.of(distribution)))
            .collect(),
    });
    let chart = Chart {
        title: "Latency by percentile",
        lines: lines.collect(),
        marks: steps.iter().enumerate().map(|(place, step)| (place as f64, step.name().to_owned())).collect(),
        vertical: Axis::Logarithmic,
        show: |figure| Unit::Time.show(figure),
    };
    chart.svg()
}

fn seconds(run: &BenchResult) -> Vec<(f64, String)> {
    let starts = || run.intervals.iter().map(|interval| interval.start_seconds);
    match (starts().next(), starts().next_back()) {
        (Some(first), Some(last)) => marks(first, last, |second| format!("{second:.0} s")),
        _ => Vec::new(),
    }
}

/// At most six marks at whole numbers.
fn marks(first: f64, last: f64, show: fn(f64) -> String) -> Vec<(f64, String)> {
    let step = ((last - first) / 5.0).ceil().max(1.0);
    let places = (0..6).map(|index| first + f64::from(index) * step).take_while(|place| *place <= last);
    places.map(|place| (place, show(place))).collect()
}

fn list(items: &[String], page: &mut String) {
    if items.is_empty() {
        return;
    }
    page.push_str("<ul>\n");
    for item in items {
        page.push_str(&format!("<li>{}</li>\n", escaped(item)));
    }
    page.push_str("</ul>\n");
}

fn table(titles: &[&str], rows: &[Vec<String>], page: &mut String) {
    if rows.is_empty() {
        return;
    }
    let titles: String = titles.iter().map(|title| format!("<th>{}</th>", escaped(title))).collect();
    page.push_str(&format!("<table>\n<tr>{titles}</tr>\n"));
    for row in rows {
        let cells: String = row.iter().map(|cell| cell_of(cell)).collect();
        page.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    page.push_str("</table>\n");
}

/// A cell; words that judge have the colour of what they say.
fn cell_of(text: &str) -> String {
    let class = match text {
        "passed" | "same" | "better" => " class=\"yes\"",
        "missed" | "worse" => " class=\"no\"",
        "unknown" | "inconclusive" => " class=\"maybe\"",
        _ => "",
    };
    format!("<td{class}>{}</td>", escaped(text))
}

fn badge(outcome: Outcome) -> String {
    let class = match outcome {
        Outcome::Pass => "good",
        Outcome::Inconclusive | Outcome::Invalid => "open",
        Outcome::Regressed | Outcome::Missed | Outcome::Failed => "bad",
    };
    format!("<span class=\"badge {class}\">{}</span>", outcome.word())
}

/// Two themes; the colours of the lines differ in lightness too.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2128; --paper: #fff; --faint: #8884; --dim: #6a737d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0f1419; --dim: #9aa4af; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1340px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid var(--faint);
  padding-top: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; } td + td { white-space: nowrap; }
th, td { text-align: right; padding: .25rem .75rem; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; } dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; }
.badge { font-size: .75rem; padding: .15rem .5rem; border-radius: .3rem; color: #fff; vertical-align: middle; }
.yes { color: #1a7f37; } .no { color: #c62828; font-weight: 600; } .maybe { color: #9a6700; }
@media (prefers-color-scheme: dark) { .yes { color: #4fc16d; } .no { color: #ff7b72; } .maybe { color: #d9a440; } }
.about { color: var(--dim); margin: .2rem 0; } summary { font-weight: 600; margin: 1rem 0; cursor: pointer; }
.good { background: #1a7f37; } .bad { background: #c62828; } .open { background: #9a6700; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } svg { width: 640px; max-width: 100%; height: auto; }
text { fill: var(--ink); font-size: 11px; } .title { font-size: 13px; font-weight: 600; }
.mark { fill: var(--dim); } .end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: var(--faint); } .line { fill: none; stroke-width: 1.6; }
.c0 { stroke: #2f6fde; } .c1 { stroke: #d9822b; } .c2 { stroke: #2a9d5c; } .c3 { stroke: #b0409b; }
.c4 { stroke: #8d6e46; } .c5 { stroke: #5b8a9a; } .dot { fill: var(--paper); }
";
