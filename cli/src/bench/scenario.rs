//! Scenarios: the stages of a `kind: Bench` document, run one after the other and judged.

use mq_model::bench::{Bench, Stage, StageMqttVersion, StageShape};

use super::{
    assertion::{Allowance, Assertion},
    baseline::{Baseline, Report, StageReport},
    result::{BenchResult, Load, MqttVersion, Shape, SizeDescription},
    run::{Order, Ran},
    verdict::{Demands, Verdict},
};
use crate::failure::{Failure, Outcome};

/// What a stage sends when it does not say, in bytes.
const DEFAULT_SIZE: u64 = 100;

/// What the command line demands beyond the document.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// In place of the document's.
    pub runs: Option<u32>,
    /// Of every stage, besides its own.
    pub demands: Demands,
}

/// A document made ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    /// How often each stage is run.
    pub runs: u32,
    /// Where to send, in place of the context's fleet.
    pub target: Option<String>,
    pub stages: Vec<Planned>,
}

/// A stage made ready to run.
#[derive(Clone, Debug)]
pub struct Planned {
    pub order: Order,
    /// Empty for connections without messages.
    pub address: String,
    /// Only of the shape `connect`: how many to open.
    pub connections: Option<u64>,
    pub demands: Demands,
}

impl Scenario {
    /// Makes a document ready. `base` is a load with every default; a demand that cannot be read is an
    /// error before anything runs.
    ///
    /// # Errors
    ///
    /// The demands that cannot be read, each with its stage.
    pub fn new(bench: &Bench, base: &Order, overrides: &Overrides) -> Outcome<Self> {
        let mut problems = Vec::new();
        let stages = bench.spec.stages.iter().map(|stage| Planned {
            order: order(stage, base),
            address: stage.address.clone().unwrap_or_default(),
            connections: (stage.shape == Some(StageShape::Connect))
                .then(|| u64::from(stage.connections.unwrap_or(1))),
            demands: demands(stage, &overrides.demands, &mut problems),
        });
        let stages = stages.collect();
        if !problems.is_empty() {
            return Err(Failure::usage(problems.join("\n  "))
                .help("`mq help bench-metrics` lists what can be demanded"));
        }
        Ok(Self {
            name: bench.metadata.name.clone(),
            runs: overrides.runs.or(bench.spec.runs).unwrap_or(1),
            target: bench.spec.target.clone(),
            stages,
        })
    }

    /// Runs every stage as often as it wants, and judges it. `make` makes one load; it is told which
    /// run of the stage it is, from 1.
    ///
    /// A load that cannot be made fails its stage and not those after it, unless somebody interrupted:
    /// then the report ends there. The second value says whether that is so.
    pub fn execute(
        &self,
        baseline: Option<&Baseline>,
        make: &mut dyn FnMut(&Planned, u32) -> Outcome<Ran>,
    ) -> (Report, bool) {
        let mut reports = Vec::with_capacity(self.stages.len());
        let mut is_interrupted = false;
        for stage in &self.stages {
            let (report, interrupted) = self.stage(stage, baseline, make);
            reports.push(report);
            is_interrupted = interrupted;
            if is_interrupted {
                break;
            }
        }
        (Report::new(self.name.as_str(), reports), is_interrupted)
    }

    fn stage(
        &self,
        stage: &Planned,
        baseline: Option<&Baseline>,
        make: &mut dyn FnMut(&Planned, u32) -> Outcome<Ran>,
    ) -> (StageReport, bool) {
        let name = stage.order.name.clone();
        let mut runs: Vec<BenchResult> = Vec::new();
        for number in 1..=self.runs {
            match make(stage, number) {
                Ok(ran) => {
                    runs.push(ran.result);
                    if ran.is_interrupted {
                        let verdict = Verdict::failed("the run was interrupted");
                        return (StageReport { name, runs, verdict }, true);
                    }
                }
                Err(failure) => {
                    let is_interrupted = failure.exit == crate::exit::Exit::Interrupted;
                    let why =
                        if is_interrupted { "the run was interrupted".into() } else { failure.to_string() };
                    return (StageReport { name, runs, verdict: Verdict::failed(why) }, is_interrupted);
                }
            }
        }
        let verdict = match baseline {
            None => Verdict::of(&runs, None, &stage.demands),
            Some(baseline) => {
                let before = baseline.stage(&name, self.stages.len() == 1).unwrap_or_default();
                Verdict::of(&runs, Some(before), &stage.demands)
            }
        };
        (StageReport { name, runs, verdict }, false)
    }
}

fn order(stage: &Stage, base: &Order) -> Order {
    let shape = match stage.shape.unwrap_or_default() {
        StageShape::Pipe => Shape::Pipe,
        StageShape::Send => Shape::Send,
        StageShape::Recv => Shape::Recv,
        StageShape::Request => Shape::Request,
        StageShape::Connect => Shape::Connect,
        StageShape::Fanout => Shape::Fanout,
        StageShape::Fanin => Shape::Fanin,
    };
    let has = |is_there: bool, count: Option<u32>| if is_there { count.unwrap_or(1) } else { 0 };
    let senders = match shape {
        Shape::Fanout => 1,
        _ => has(!matches!(shape, Shape::Recv | Shape::Connect), stage.senders),
    };
    let receivers = match shape {
        Shape::Fanin => 1,
        _ => has(!matches!(shape, Shape::Send | Shape::Connect), stage.receivers),
    };
    let low = stage.size.unwrap_or(DEFAULT_SIZE);
    let default = &base.load;
    // A request waits for its reply, unless a schedule says when the next one is due.
    let is_one_by_one = shape == Shape::Request && stage.rate.is_none();
    let load = Load {
        shape,
        senders,
        receivers,
        links: if shape == Shape::Request { 1 } else { stage.links_per_connection.unwrap_or(1) },
        rate: stage.rate,
        size: stage.max_size.map_or(SizeDescription::Fixed(low), |high| SizeDescription::Range(low, high)),
        settled: stage.settled,
        durable: stage.durable,
        credit: stage.credit.unwrap_or(default.credit),
        in_flight: stage.in_flight.unwrap_or(if is_one_by_one { 1 } else { default.in_flight }),
        qos: stage.qos.or(default.qos),
        mqtt_version: match stage.mqtt_version {
            None => default.mqtt_version,
            Some(StageMqttVersion::V3) => Some(MqttVersion::V3),
            Some(StageMqttVersion::V5) => Some(MqttVersion::V5),
        },
        warmup_seconds: stage.warmup_seconds.map_or(default.warmup_seconds, f64::from),
        duration_seconds: stage.duration_seconds.map(f64::from).or(default.duration_seconds),
        ..default.clone()
    };
    Order { name: stage.name.clone(), load, is_multicast: shape == Shape::Fanout, ..base.clone() }
}

fn demands(stage: &Stage, common: &Demands, problems: &mut Vec<String>) -> Demands {
    let mut all = Demands::default();
    let mut refuse = |text: &str, why: String| {
        problems.push(format!("the stage `{}` demands `{text}`, which cannot be read: {why}", stage.name));
    };
    for text in &stage.assert {
        match Assertion::parse(text) {
            Ok(assertion) => all.assertions.push(assertion),
            Err(why) => refuse(text, why),
        }
    }
    for text in &stage.max_regress {
        match Allowance::parse(text) {
            Ok(allowance) => all.allowances.push(allowance),
            Err(why) => refuse(text, why),
        }
    }
    all.assertions.extend(common.assertions.iter().cloned());
    all.allowances.extend(common.allowances.iter().cloned());
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        bench::{example, verdict::Outcome as End},
        exit::Exit,
    };

    fn base() -> Order {
        let load = Load {
            size: SizeDescription::Fixed(100),
            credit: 200,
            in_flight: 100,
            warmup_seconds: 1.0,
            duration_seconds: Some(10.0),
            seed: 7,
            ..Load::bare(Shape::Pipe, 1, 1)
        };
        Order {
            name: String::new(),
            command_line: Vec::new(),
            load,
            setup: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            max_lag: Duration::from_millis(1),
            is_multicast: false,
        }
    }

    fn bench(stages: &str) -> Bench {
        let text = format!(
            "apiVersion: mq.dev/v1\nkind: Bench\nmetadata: {{name: ci}}\nspec: {{runs: 3, stages: [{stages}]}}\n"
        );
        let documents = mq_model::Documents::parse("ci.yaml", &text).unwrap_or_else(|why| panic!("{why}"));
        documents.benches.into_iter().next().expect("one bench")
    }

    fn scenario(stages: &str) -> Scenario {
        Scenario::new(&bench(stages), &base(), &Overrides::default()).expect("a scenario")
    }

    #[test]
    fn a_stage_becomes_a_load_with_the_defaults_of_the_command_line() {
        let scenario = scenario(
            "{name: a, address: x, shape: fanout, receivers: 50, rate: 2000, size: 100, maxSize: 400, \
             warmupSeconds: 0}, {name: b, address: x, shape: send, durable: true}",
        );
        let fanout = &scenario.stages[0].order;
        assert!(fanout.is_multicast);
        let fanout = &fanout.load;
        assert_eq!((fanout.shape, fanout.senders, fanout.receivers), (Shape::Fanout, 1, 50));
        assert_eq!((fanout.rate, &fanout.size), (Some(2_000), &SizeDescription::Range(100, 400)));
        assert_eq!(
            (fanout.warmup(), fanout.duration(), fanout.credit),
            (Duration::ZERO, Some(Duration::from_secs(10)), 200)
        );
        let send = &scenario.stages[1].order.load;
        assert_eq!((send.senders, send.receivers, send.durable), (1, 0, true));
        assert_eq!((scenario.runs, scenario.stages[1].address.as_str()), (3, "x"));
    }

    #[test]
    fn every_demand_that_cannot_be_read_is_reported_before_anything_runs() {
        let bench = bench("{name: a, address: x, assert: ['e2e.p99=5ms'], maxRegress: ['lost=1%']}");
        let failure = Scenario::new(&bench, &base(), &Overrides::default()).expect_err("two mistakes");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("write == to compare"), "{failure}");
        assert!(failure.message.contains("--assert 'lost==0'"), "{failure}");
    }

    #[test]
    fn demands_of_the_command_line_hold_for_every_stage() {
        let lost =
            Demands { assertions: vec![Assertion::parse("lost==0").expect("fine")], ..Demands::default() };
        let overrides = Overrides { runs: Some(1), demands: lost };
        let bench = bench("{name: a, address: x}, {name: b, address: x, assert: ['e2e.p99<5ms']}");
        let scenario = Scenario::new(&bench, &base(), &overrides).expect("a scenario");
        let demands: Vec<usize> =
            scenario.stages.iter().map(|stage| stage.demands.assertions.len()).collect();
        assert_eq!((demands, scenario.runs), (vec![1, 2], 1));
    }

    #[test]
    fn a_stage_that_cannot_run_fails_and_the_next_one_runs() {
        let scenario = scenario("{name: a, address: x}, {name: b, address: x}");
        let (report, is_interrupted) = scenario.execute(None, &mut |stage, _| {
            if stage.order.name == "a" {
                return Err(Failure::new(Exit::Unreachable, "cannot use 127.0.0.1:1: connection refused"));
            }
            Ok(Ran { result: example::result(), is_interrupted: false })
        });
        let outcomes: Vec<End> = report.stages.iter().map(|stage| stage.verdict.outcome).collect();
        assert_eq!((outcomes, report.outcome), (vec![End::Failed, End::Pass], End::Failed));
        assert_eq!(report.stages[1].runs.len(), 3);
        assert!(!is_interrupted);
    }

    #[test]
    fn an_interruption_ends_the_report_and_keeps_what_was_measured() {
        let scenario = scenario("{name: a, address: x}, {name: b, address: x}");
        let (report, is_interrupted) = scenario.execute(None, &mut |_, number| {
            Ok(Ran { result: example::result(), is_interrupted: number == 2 })
        });
        assert!(is_interrupted);
        assert_eq!((report.stages.len(), report.stages[0].runs.len()), (1, 2));
        assert_eq!(report.outcome, End::Failed);
    }

    #[test]
    fn a_stage_that_the_baseline_does_not_have_is_inconclusive() {
        let scenario = scenario("{name: a, address: x}, {name: telemetry, address: x}");
        let bytes = serde_json::to_vec(&example::result()).expect("JSON");
        let baseline = Baseline::parse(&bytes).expect("a baseline");
        let (report, _) = scenario.execute(Some(&baseline), &mut |_, _| {
            Ok(Ran { result: example::result(), is_interrupted: false })
        });
        assert_eq!(report.stages[0].verdict.outcome, End::Inconclusive);
        assert_eq!(report.stages[0].verdict.reasons[1], "the baseline holds no run");
        assert_eq!(report.stages[1].verdict.outcome, End::Pass, "{:?}", report.stages[1].verdict.reasons);
    }
}
