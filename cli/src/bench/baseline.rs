//! Results in files: what `mq bench` wrote, read back as a baseline or to be compared.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    result::{API_VERSION, BenchResult, BenchSeries, KIND_RESULT, KIND_SERIES, Purpose},
    verdict::{Outcome, Verdict},
};
use crate::failure::{Failure, Outcome as Done, reason};

/// The `kind` of a [`Report`].
pub const KIND_REPORT: &str = "BenchReport";

/// The largest file of results that is read, in bytes: a thousand runs fit in.
const MAX_FILE: u64 = 256 << 20;

/// The most runs in one file.
const MAX_RUNS: usize = 10_000;

/// What `mq bench run` found: every stage of a scenario with its runs and its verdict. It is written by
/// `--report json=FILE`, and is what `--baseline` reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND_REPORT`].
    pub kind: String,
    /// The name of the scenario.
    pub name: String,
    /// The weightiest outcome of the stages.
    pub outcome: Outcome,
    pub stages: Vec<StageReport>,
}

/// One stage of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    pub name: String,
    pub runs: Vec<BenchResult>,
    pub verdict: Verdict,
}

/// Named sets of runs out of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    stages: Vec<(String, Vec<BenchResult>)>,
}

impl Report {
    pub fn new(name: impl Into<String>, stages: Vec<StageReport>) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: KIND_REPORT.into(),
            name: name.into(),
            outcome: stages.iter().map(|stage| stage.verdict.outcome).max().unwrap_or(Outcome::Failed),
            stages,
        }
    }
}

impl Baseline {
    /// Reads a `BenchResult`, a `BenchSeries` of a repeated run, or a `BenchReport`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none of these.
    pub fn read(path: &Path) -> Done<Self> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(Failure::usage(format!("cannot read {}: {}", path.display(), reason(&error)))
                .help("write it with `mq bench run FILE --report json=FILE`"));
        }
        if bytes.len() as u64 > MAX_FILE {
            return Err(Failure::usage(format!("{} is larger than 256 MiB", path.display())));
        }
        Self::parse(&bytes).map_err(|why| {
            Failure::usage(format!("cannot use {} as results of mq bench: {why}", path.display()))
        })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with them, as one lower-case sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version != API_VERSION {
            return Err(format!("its apiVersion is `{version}`, and this mq reads {API_VERSION}"));
        }
        let wrong = |error: serde_json::Error| format!("its {kind} cannot be read: {error}");
        let stages = match kind.as_str() {
            KIND_RESULT => {
                let run: BenchResult = serde_json::from_value(value).map_err(wrong)?;
                vec![(run.context.name.clone(), vec![run])]
            }
            KIND_SERIES => {
                let series: BenchSeries = serde_json::from_value(value).map_err(wrong)?;
                if series.purpose != Purpose::Repeat {
                    return Err("its runs are of different rates; compare results of one rate".into());
                }
                let name = series.runs.first().map(|run| run.context.name.clone());
                vec![(name.unwrap_or_default(), series.runs)]
            }
            KIND_REPORT => {
                let report: Report = serde_json::from_value(value).map_err(wrong)?;
                report.stages.into_iter().map(|stage| (stage.name, stage.runs)).collect()
            }
            _ => {
                return Err(format!(
                    "its kind is `{kind}`; the kinds are {KIND_RESULT}, {KIND_SERIES} and {KIND_REPORT}"
                ));
            }
        };
        match stages.iter().map(|(_, runs)| runs.len()).sum() {
            0 => Err("it holds no run".into()),
            1..=MAX_RUNS => Ok(Self { stages }),
            _ => Err("it holds more than 10,000 runs".into()),
        }
    }

    /// The sets of runs, by name, in the order of the file.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = (&str, &[BenchResult])> {
        self.stages.iter().map(|(name, runs)| (name.as_str(), runs.as_slice()))
    }

    /// The runs of a stage. When both sides have one stage only, their names do not matter.
    pub fn stage(&self, name: &str, is_only: bool) -> Option<&[BenchResult]> {
        let only = match self.stages.as_slice() {
            [only] if is_only => Some(only),
            _ => None,
        };
        let named = self.stages.iter().find(|(stage, _)| stage == name);
        named.or(only).map(|(_, runs)| runs.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{example, verdict::Demands};

    fn json(value: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(value).expect("JSON")
    }

    #[test]
    fn every_document_that_mq_bench_writes_is_a_baseline() {
        let run = example::result();
        let series = BenchSeries {
            api_version: API_VERSION.into(),
            kind: KIND_SERIES.into(),
            purpose: Purpose::Repeat,
            runs: vec![run.clone(), run.clone()],
            sustained: None,
            objectives: Vec::new(),
        };
        let verdict = Verdict::of(&series.runs, None, &Demands::default());
        let stage = StageReport { name: "telemetry".into(), runs: series.runs.clone(), verdict };
        let report = Report::new("ci", vec![stage]);
        for (bytes, runs) in [(json(&run), 1), (json(&series), 2), (json(&report), 2)] {
            let baseline = Baseline::parse(&bytes).expect("a baseline");
            assert_eq!(baseline.stage("telemetry", false).map(<[_]>::len), Some(runs));
            assert_eq!(baseline.stage("other", true).map(<[_]>::len), Some(runs));
            assert_eq!(baseline.stage("other", false), None);
        }
    }

    #[test]
    fn a_file_that_is_no_baseline_is_refused_with_the_reason() {
        let mut sweep = serde_json::json!({
            "apiVersion": API_VERSION, "kind": KIND_SERIES, "purpose": "sweep", "runs": [],
            "sustained": null, "objectives": [],
        });
        let different = json(&sweep);
        sweep["purpose"] = "repeat".into();
        for (bytes, why) in [
            (b"{".to_vec(), "it is not JSON"),
            (b"[]".to_vec(), "its apiVersion is ``"),
            (br#"{"apiVersion": "mq.bench/v2"}"#.to_vec(), "this mq reads mq.bench/v1"),
            (br#"{"apiVersion": "mq.bench/v1", "kind": "Fleet"}"#.to_vec(), "its kind is `Fleet`"),
            (br#"{"apiVersion": "mq.bench/v1", "kind": "BenchResult"}"#.to_vec(), "missing field"),
            (different, "different rates"),
            (json(&sweep), "it holds no run"),
        ] {
            let error = Baseline::parse(&bytes).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let failure = Baseline::read(Path::new("/does/not/exist")).expect_err("no file");
        assert!(failure.message.contains("no such file"), "{failure}");
    }
}
