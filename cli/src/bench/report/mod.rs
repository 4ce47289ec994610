//! What `mq bench` found, for people and for programs: text, Markdown, HTML, JUnit and JSON.
//!
//! Everything here is made from a [`Report`] alone, so that a report can be written again from the
//! JSON at any time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::baseline::Report;
use crate::failure::{Failure, Outcome};

mod chart;
mod html;
mod junit;
mod markdown;
mod summary;
mod text;

pub use html::html;
pub use junit::junit;
pub use markdown::{markdown, verdicts as markdown_of_verdicts};
pub use text::{judged_run as text_of_run, text, verdicts as text_of_verdicts};

/// A file to write and what goes into it: `json=out.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub format: Format,
    pub path: PathBuf,
}

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The whole report with every run: what `--baseline` and `mq bench compare` read.
    Json,
    /// JUnit XML: one suite per stage, one case per demand.
    Junit,
    /// Markdown, for the summary of a CI step or a comment.
    Markdown,
    /// One HTML file with charts that needs nothing else.
    Html,
    /// The text that is printed on a terminal.
    Text,
}

impl Target {
    /// Reads one `format=file`.
    ///
    /// # Errors
    ///
    /// There is no such format, or no file.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write format=file, such as json=out.json; the formats are json, junit, md, html and text";
        let (format, path) = text.split_once('=').ok_or(FORM)?;
        if path.is_empty() {
            return Err(FORM.into());
        }
        let format = match format.trim() {
            "json" => Format::Json,
            "junit" => Format::Junit,
            "md" | "markdown" => Format::Markdown,
            "html" => Format::Html,
            "text" | "txt" => Format::Text,
            other => {
                let names = ["json", "junit", "md", "html", "text"];
                return Err(mq_model::nearest(other, names)
                    .map_or_else(|| FORM.to_owned(), |name| format!("did you mean {name}={path}?")));
            }
        };
        Ok(Self { format, path: path.into() })
    }

    /// Whether something can be written there: a run of an hour must not end in a path with a mistake.
    ///
    /// # Errors
    ///
    /// The folder does not exist, or the path is one.
    pub fn check(&self) -> Outcome {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(Failure::usage(format!(
                "cannot write {}: there is no folder {}",
                self.path.display(),
                folder.display()
            )));
        }
        if self.path.is_dir() {
            return Err(Failure::usage(format!("cannot write {}: it is a folder", self.path.display())));
        }
        Ok(())
    }

    /// Writes the report. Markdown is added to a file that exists, as the summary of a CI step wants
    /// it; every other file is replaced.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, report: &Report) -> Outcome {
        let text = render(self.format, report);
        let written = if self.format == Format::Markdown {
            append(&self.path, &text)
        } else {
            fs::write(&self.path, text)
        };
        written.map_err(|error| Failure::file("write", &self.path, &error))
    }
}

/// The report as text of the format.
pub fn render(format: Format, report: &Report) -> String {
    match format {
        Format::Json => json(report),
        Format::Junit => junit(report),
        Format::Markdown => markdown(report),
        Format::Html => html(report),
        Format::Text => text(report),
    }
}

/// The report as JSON, indented.
pub fn json(report: &Report) -> String {
    format!("{:#}\n", crate::output::value(report))
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

/// Replaces what XML and HTML give a meaning to, and control characters that neither may hold.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            '\n' | '\t' => result.push(character),
            _ if character.is_control() => result.push('\u{fffd}'),
            _ => result.push(character),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        assertion::{Allowance, Assertion},
        baseline::{Baseline, StageReport},
        example,
        verdict::{Demands, Verdict},
    };

    /// Two stages: one that passes with a single run, one that misses a threshold and regressed.
    fn report() -> Report {
        let assertions = |texts: &[&str]| -> Vec<Assertion> {
            texts.iter().map(|text| Assertion::parse(text).expect(text)).collect()
        };
        let runs = |factor: f64| [0.99, 0.995, 1.0, 1.005, 1.01].map(|noise| example::scaled(factor * noise));
        let single = [example::result()];
        let demands = Demands { assertions: assertions(&["e2e.p99<5ms", "lost==0"]), allowances: Vec::new() };
        let passed = StageReport {
            name: "steady".into(),
            runs: single.to_vec(),
            verdict: Verdict::of(&single, None, &demands),
        };
        let demands = Demands {
            assertions: assertions(&["e2e.p99<1ms", "lost==0", "rtt.p50<1ms"]),
            allowances: ["e2e.p99=10%", "ack.p99=25%"]
                .map(|text| Allowance::parse(text).expect(text))
                .to_vec(),
        };
        let slower = runs(1.2);
        let missed = StageReport {
            name: "slower <b>".into(),
            verdict: Verdict::of(&slower, Some(&runs(1.0)), &demands),
            runs: slower.to_vec(),
        };
        Report::new("ci & nightly", vec![passed, missed])
    }

    /// With MQ_WRITE_GOLDEN set the files are written: read the difference before you commit it.
    #[test]
    fn every_format_prints_the_fixed_report_as_written_down() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench/report/golden");
        for (name, format) in [
            ("report.txt", Format::Text),
            ("report.md", Format::Markdown),
            ("report.xml", Format::Junit),
            ("report.html", Format::Html),
        ] {
            let path = folder.join(name);
            let printed = render(format, &report());
            if std::env::var_os("MQ_WRITE_GOLDEN").is_some() {
                fs::write(&path, &printed).expect("a writable file");
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            let line = expected.lines().zip(printed.lines()).position(|(left, right)| left != right);
            assert!(
                expected == printed,
                "{name} differs at line {:?}:\n{printed}",
                line.map(|line| line + 1)
            );
        }
    }

    #[test]
    fn the_json_report_is_read_back_as_a_baseline_with_every_run() {
        let report = report();
        let text = json(&report);
        let read: Report = serde_json::from_str(&text).expect("a report");
        assert_eq!(read.outcome, report.outcome);
        for (read, written) in read.stages.iter().zip(&report.stages) {
            assert_eq!((&read.name, &read.verdict.checks), (&written.name, &written.verdict.checks));
            let integrity =
                |stage: &StageReport| stage.runs.iter().map(|run| run.integrity).collect::<Vec<_>>();
            assert_eq!(integrity(read), integrity(written));
        }
        let baseline = Baseline::parse(text.as_bytes()).expect("a baseline");
        assert_eq!(baseline.stage("slower <b>", false).map(<[_]>::len), Some(5));
    }

    #[test]
    fn html_loads_nothing_and_runs_nothing() {
        let page = html(&report());
        for forbidden in ["<script", "src=", "href=", "@import", "url(", "onload"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("<svg") && !page.contains("slower <b>"));
    }

    #[test]
    fn a_target_names_a_format_and_a_file() {
        let target = Target::parse("junit=out/report.xml").expect("a target");
        assert_eq!((target.format, target.path), (Format::Junit, "out/report.xml".into()));
        assert_eq!(Target::parse("jnuit=a").unwrap_err(), "did you mean junit=a?");
        for text in ["json", "json=", "pdf=a"] {
            assert!(Target::parse(text).unwrap_err().contains("format=file"), "{text}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let missing = Target { format: Format::Json, path: folder.path().join("none/a.json") };
        assert!(missing.check().unwrap_err().message.contains("there is no folder"));
        let itself = Target { format: Format::Json, path: folder.path().into() };
        assert!(itself.check().unwrap_err().message.contains("it is a folder"));
    }

    #[test]
    fn markdown_is_added_to_a_step_summary_and_json_replaces_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for (format, times) in [(Format::Markdown, 2), (Format::Json, 1)] {
            let target = Target { format, path: folder.path().join("out") };
            target.write(&report()).and_then(|()| target.write(&report())).expect("written");
            let text = fs::read_to_string(&target.path).expect("the file");
            assert_eq!(text.len(), times * render(format, &report()).len());
            fs::remove_file(&target.path).expect("removed");
        }
    }
}
