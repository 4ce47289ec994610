//! `mq bench run` and `mq bench compare`: from files to a verdict.

use std::path::Path;

use mq_model::bench::Bench;

use super::{
    bench::{Draft, Session},
    files,
};
use crate::{
    args::{
        bench::{BenchFormat, ConnectLoad, LoadArgs, MessageArgs},
        bench_verdict::{Compare, CompareFormat, RunFile},
    },
    bench::{
        baseline::{Baseline, Report, StageReport},
        report,
        result::Shape,
        run::{Order, Ran},
        scenario::{Overrides, Planned, Scenario},
        storm::Wanted,
        verdict::{Demands, Verdict},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, value},
    settings::Settings,
};

pub(super) async fn run(args: RunFile, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    args.report.iter().try_for_each(report::Target::check)?;
    let demands = Demands { assertions: args.assertions, allowances: args.max_regress };
    let overrides = Overrides { runs: args.runs, demands };
    let scenario = Scenario::new(&document(&args.file)?, &base()?, &overrides)?;
    let target = args.target.as_deref().or(scenario.target.as_deref());
    let mut sessions = Vec::with_capacity(scenario.stages.len());
    for stage in &scenario.stages {
        let place = place(target, &stage.address);
        let session =
            Session::new(&place, stage.order.load.shape == Shape::Connect, settings, output).await?;
        sessions.push((stage.order.name.clone(), session));
    }
    let said: &Output = output;
    let (found, is_interrupted) = scenario.execute(baseline.as_ref(), &mut |stage, number| {
        let name = &stage.order.name;
        let session = sessions.iter().find(|(of, _)| of == name).map(|(_, session)| session);
        let session = session.ok_or_else(|| Failure::failed(format!("the stage `{name}` has no target")))?;
        said.talk(&format!("{name}, run {number} of {}", scenario.runs));
        make(stage, session, said)
    });
    match args.view.output {
        BenchFormat::Json => output.json(&value(&found))?,
        BenchFormat::Text => output.line(report::text(&found).trim_end())?,
    }
    args.report.iter().try_for_each(|target| target.write(&found))?;
    let signalled = sessions.iter().find_map(|(_, session)| session.signalled());
    match signalled {
        Some(exit) if is_interrupted => Ok(exit),
        _ => Ok(found.outcome.exit()),
    }
}

pub(super) fn compare(args: &Compare, output: &mut Output) -> Outcome<Exit> {
    let before = Baseline::read(&args.before)?;
    let after = Baseline::read(&args.after)?;
    let demands = Demands { assertions: Vec::new(), allowances: args.max_regress.clone() };
    let is_only = after.stages().len() == 1;
    let stages = after.stages().map(|(name, runs)| {
        let verdict = match before.stage(name, is_only) {
            Some(baseline) => Verdict::of(runs, Some(baseline), &demands),
            None => Verdict::of(runs, Some(&[]), &demands),
        };
        StageReport { name: name.to_owned(), runs: runs.to_vec(), verdict }
    });
    let title = format!("{} against {}", args.after.display(), args.before.display());
    let found = Report::new(title, stages.collect());
    match args.output {
        CompareFormat::Text => output.line(report::text_of_verdicts(&found).trim_end())?,
        CompareFormat::Md => output.line(report::markdown_of_verdicts(&found).trim_end())?,
        CompareFormat::Json => output.json(&value(&found))?,
    }
    Ok(found.outcome.exit())
}

/// The only load test of a file.
fn document(path: &Path) -> Outcome<Bench> {
    let mut benches = files::documents(&[path.to_path_buf()])?.benches.into_iter();
    let shown = path.display();
    match (benches.next(), benches.next()) {
        (Some(bench), None) => Ok(bench),
        (None, _) => Err(Failure::usage(format!("there is no Bench document in {shown}"))
            .help("`mq explain Bench` says what one holds")),
        (Some(_), Some(_)) => {
            Err(Failure::usage(format!("there is more than one Bench document in {shown}"))
                .help("put each into a file of its own, or make them stages of one"))
        }
    }
}

/// A load with every default of the command line.
fn base() -> Outcome<Order> {
    let draft = Draft::new(Shape::Pipe, 1, 1);
    Ok(draft.with(&defaults::<LoadArgs>()?).of(&defaults::<MessageArgs>()?, None))
}

/// What the flags are when nobody gives one.
fn defaults<T: clap::Args>() -> Outcome<T> {
    let command = T::augment_args(clap::Command::new("mq").no_binary_name(true));
    let matches = command.try_get_matches_from(std::iter::empty::<&str>());
    matches
        .and_then(|matches| T::from_arg_matches(&matches))
        .map_err(|error| Failure::failed(format!("a flag has no default: {error}")))
}

/// The address as a command line would have it.
fn place(target: Option<&str>, address: &str) -> String {
    let Some(target) = target else { return address.to_owned() };
    let mut place = format!("{}/", target.trim_end_matches('/'));
    for byte in address.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                place.push(char::from(byte));
            }
            _ => place.push_str(&format!("%{byte:02X}")),
        }
    }
    place
}

fn make(stage: &Planned, session: &Session, output: &Output) -> Outcome<Ran> {
    let Some(connections) = stage.connections else {
        return session.run(&stage.order, output);
    };
    let flags = defaults::<ConnectLoad>()?;
    let rate = stage.order.load.rate;
    session.storm(
        Wanted { connections, rate, idle: flags.idle, timeout: flags.timeout },
        &stage.order,
        output,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_percent_encoded_behind_a_target() {
        assert_eq!(place(None, "a%b"), "a%b");
        assert_eq!(place(Some("amqp://h:1/"), "sensors/a b?"), "amqp://h:1/sensors/a%20b%3F");
    }

    #[test]
    fn the_defaults_of_a_stage_are_those_of_the_flags() {
        let order = base().expect("every flag has a default");
        let load = order.load;
        assert_eq!((load.credit, load.in_flight, load.links), (500, 1_000, 1));
        assert_eq!(load.duration(), Some(std::time::Duration::from_secs(10)));
    }
}
