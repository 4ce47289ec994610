//! `mq bench`: from arguments to runs, and from runs to what is printed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use mq_model::manifest::AddressType;
use tokio::runtime::Handle;

use super::{admin, bench_verdict};
use crate::{
    args::bench::{Bench, BenchCommand, BenchFormat, BenchView, LoadArgs, MessageArgs, PaceArgs},
    bench::{
        cost::Probe,
        progress::Progress,
        report::text_of_run,
        result::{API_VERSION, BenchResult, BenchSeries, KIND_SERIES, Purpose, Shape},
        run::{self, Order, Ran, Watcher},
        search::Search,
        storm::{self, Wanted},
        verdict::{Demands, Verdict},
    },
    client::amqp::interrupted,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, value},
    settings::{Endpoint, Settings},
    shape,
};

/// How long connecting, and waiting for the first credit, may take.
const SETUP: Duration = Duration::from_secs(10);
/// Messages of one sender under way, when nothing else is asked for.
const IN_FLIGHT: u32 = 1_000;

pub(super) async fn run(args: Bench, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let command = args.shape.unwrap_or(BenchCommand::Pipe(args.pipe));
    match command {
        BenchCommand::Pipe(args) => {
            let order = Draft::new(Shape::Pipe, args.senders, args.receivers).order(
                &args.load,
                Some(&args.messages),
                Some(&args.pace),
            );
            one(args.address.as_deref().unwrap_or_default(), order, args.load.view, settings, output).await
        }
        BenchCommand::Send(args) => {
            let order = Draft::new(Shape::Send, args.senders, 0).order(
                &args.load,
                Some(&args.messages),
                Some(&args.pace),
            );
            one(&args.address, order, args.load.view, settings, output).await
        }
        BenchCommand::Recv(args) => {
            let order = Draft::new(Shape::Recv, 0, args.receivers).order(&args.load, None, None);
            one(&args.address, order, args.load.view, settings, output).await
        }
        BenchCommand::Request(args) => {
            let order = Draft::new(Shape::Request, args.requesters, args.responders).order(
                &args.load,
                Some(&args.messages),
                Some(&args.pace),
            );
            one(&args.address, order, args.load.view, settings, output).await
        }
        BenchCommand::Fanout(args) => {
            let order = Draft::new(Shape::Fanout, 1, args.receivers).order(
                &args.load,
                Some(&args.messages),
                Some(&args.pace),
            );
            one(&args.address, order, args.load.view, settings, output).await
        }
        BenchCommand::Fanin(args) => {
            let order = Draft::new(Shape::Fanin, args.senders, 1).order(
                &args.load,
                Some(&args.messages),
                Some(&args.pace),
            );
            one(&args.address, order, args.load.view, settings, output).await
        }
        BenchCommand::Connect(args) => {
            let order = Draft::new(Shape::Connect, 0, 0).bare();
            let wanted = Wanted {
                connections: args.connections,
                rate: args.rate,
                idle: args.idle,
                timeout: args.timeout,
            };
            let target = args.address.as_deref().unwrap_or_default();
            let bench = Session::new(target, true, settings, output).await?;
            let ran = bench.drive(output, |endpoint, probe, stop, watcher| {
                storm::storm(wanted, &order, endpoint, probe, stop, watcher)
            })?;
            bench.finish(&ran, args.view, output)
        }
        BenchCommand::Sweep(args) => {
            let draft = Draft::new(Shape::Pipe, args.senders, args.receivers);
            let order = draft.order(&args.load, Some(&args.messages), None);
            sweep(&args.address, order, &args.rate, args.load.view, settings, output).await
        }
        BenchCommand::Max(args) => {
            let draft = Draft::new(Shape::Pipe, args.senders, args.receivers);
            let order = draft.order(&args.load, Some(&args.messages), None);
            let search = Search::new(args.from, args.to, args.precision);
            let demands = Demands { assertions: args.slo.clone(), ..Demands::default() };
            highest(&args.address, order, search, demands, args.load.view, settings, output).await
        }
        BenchCommand::Run(args) => bench_verdict::run(args, settings, output).await,
        BenchCommand::Compare(args) => bench_verdict::compare(&args, output),
    }
}

/// What differs from shape to shape.
pub(super) struct Draft {
    shape: Shape,
    senders: u32,
    receivers: u32,
}

impl Draft {
    pub(super) fn new(shape: Shape, senders: u32, receivers: u32) -> Self {
        Self { shape, senders, receivers }
    }

    /// An order with nothing but connections.
    fn bare(&self) -> Order {
        Order {
            name: name(self.shape).into(),
            command_line: command_line(),
            shape: self.shape,
            senders: self.senders,
            receivers: self.receivers,
            links: 1,
            rate: None,
            ramp: Vec::new(),
            size: crate::bench::result::SizeDescription::Fixed(0),
            settled: false,
            durable: false,
            credit: 1,
            in_flight: 1,
            setup: SETUP,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            count: None,
            drain: Duration::ZERO,
            seed: 0,
            max_lag: Duration::MAX,
            is_multicast: false,
        }
    }

    pub(super) fn order(
        &self,
        load: &LoadArgs,
        messages: Option<&MessageArgs>,
        pace: Option<&PaceArgs>,
    ) -> Order {
        let mut order = Order {
            links: if self.shape == Shape::Request { 1 } else { load.links },
            credit: load.credit,
            warmup: load.warmup,
            duration: load.duration,
            count: load.count,
            drain: load.drain,
            is_multicast: self.shape == Shape::Fanout,
            ..self.bare()
        };
        if let Some(pace) = pace {
            order.ramp.clone_from(&pace.ramp);
            order.rate = pace.rate.or_else(|| pace.ramp.last().map(|step| step.rate));
        }
        if let Some(messages) = messages {
            order.size = messages.size.clone();
            order.settled = messages.settled;
            order.durable = messages.durable;
            order.seed = messages.seed;
            order.max_lag = messages.max_lag;
            let is_one_by_one = self.shape == Shape::Request && order.rate.is_none();
            order.in_flight = messages.in_flight.unwrap_or(if is_one_by_one { 1 } else { IN_FLIGHT });
        }
        order
    }
}

/// The name of a shape, as it is written on the command line.
fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Pipe => "pipe",
        Shape::Send => "send",
        Shape::Recv => "recv",
        Shape::Request => "request",
        Shape::Connect => "connect",
        Shape::Fanout => "fanout",
        Shape::Fanin => "fanin",
    }
}

/// The arguments of this process without what may be a password.
fn command_line() -> Vec<String> {
    std::env::args().skip(1).map(|argument| without_password(&argument)).collect()
}

fn without_password(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else {
        return argument.to_owned();
    };
    // A user name may hold no `@`, but a password may: what is before the last one is left out.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => argument.to_owned(),
    }
}

async fn one(
    target: &str,
    mut order: Order,
    view: BenchView,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let session = Session::new(target, false, settings, output).await?;
    order.is_multicast |= session.is_multicast && order.receivers > 1;
    let ran = session
        .drive(output, |endpoint, probe, stop, watcher| run::run(&order, endpoint, probe, stop, watcher))?;
    session.finish(&ran, view, output)
}

async fn sweep(
    target: &str,
    mut order: Order,
    rates: &[u64],
    view: BenchView,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let session = Session::new(target, false, settings, output).await?;
    order.is_multicast |= session.is_multicast && order.receivers > 1;
    let mut runs = Vec::with_capacity(rates.len());
    for rate in rates {
        order.rate = Some(*rate);
        let ran = session.drive(output, |endpoint, probe, stop, watcher| {
            watcher.says(&format!("{}/s", shape::number(*rate)));
            run::run(&order, endpoint, probe, stop, watcher)
        })?;
        runs.push(ran.result);
        if ran.is_interrupted {
            break;
        }
    }
    let series = series(Purpose::Sweep, runs, None, Vec::new());
    session.finish_series(&series, view, output)
}

async fn highest(
    target: &str,
    mut order: Order,
    mut search: Search,
    demands: Demands,
    view: BenchView,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let session = Session::new(target, false, settings, output).await?;
    order.is_multicast |= session.is_multicast && order.receivers > 1;
    let mut runs = Vec::new();
    while let Some(rate) = search.next() {
        order.rate = Some(rate);
        let ran = session.drive(output, |endpoint, probe, stop, watcher| {
            watcher.says(&format!("trying {}/s", shape::number(rate)));
            run::run(&order, endpoint, probe, stop, watcher)
        })?;
        search.tell(rate, holds(&ran.result, &demands));
        runs.push(ran.result);
        if ran.is_interrupted {
            break;
        }
    }
    let objectives = demands.assertions.iter().map(ToString::to_string).collect();
    let series = series(Purpose::Max, runs, search.answer(), objectives);
    let exit = session.finish_series(&series, view, output)?;
    match (series.sustained, exit) {
        (None, Exit::Ok) => Ok(Exit::Missed),
        (_, exit) => Ok(exit),
    }
}

/// Whether a run kept the objectives, its schedule and all of its messages.
fn holds(result: &BenchResult, demands: &Demands) -> bool {
    /// The part of the rate that has to come through.
    const ENOUGH: f64 = 0.99;
    let rates = &result.rates;
    let came = rates.target_per_second.is_none_or(|target| rates.received_per_second >= target * ENOUGH);
    let verdict = Verdict::of(std::slice::from_ref(result), None, demands);
    came && result.integrity.lost == 0 && verdict.outcome == crate::bench::verdict::Outcome::Pass
}

fn series(
    purpose: Purpose,
    runs: Vec<BenchResult>,
    sustained: Option<u64>,
    objectives: Vec<String>,
) -> BenchSeries {
    BenchSeries {
        api_version: API_VERSION.into(),
        kind: KIND_SERIES.into(),
        purpose,
        runs,
        sustained,
        objectives,
    }
}

/// What all runs of one command have in common: the target, who says what it costs, and Ctrl-C.
pub(super) struct Session {
    endpoint: Endpoint,
    probe: Option<Probe>,
    is_multicast: bool,
    stop: Arc<AtomicBool>,
    /// The exit code of the signal that came, or zero.
    signal: Arc<AtomicU8>,
}

impl Session {
    pub(super) async fn new(
        target: &str,
        is_bare: bool,
        settings: &Settings,
        output: &Output,
    ) -> Outcome<Self> {
        let endpoint = if is_bare { settings.endpoint(target)? } else { settings.address(target)? };
        let mut session =
            Self { endpoint, probe: None, is_multicast: false, stop: Arc::default(), signal: Arc::default() };
        if !target.contains("://") {
            session.ask_fleet(settings, output).await?;
        }
        if session.probe.is_none() {
            session.probe = run::resolve(&session.endpoint).ok().and_then(Probe::of_listener);
        }
        session.watch_signals();
        Ok(session)
    }

    /// The admin API knows the address, and what the node costs.
    async fn ask_fleet(&mut self, settings: &Settings, output: &Output) -> Outcome {
        let Ok(admin) = admin(settings) else {
            return Ok(());
        };
        if let Err(failure) = admin.node().await {
            output.warn(&format!("without the admin API the cost may be unknown: {}", failure.message));
            return Ok(());
        }
        if !self.endpoint.address.is_empty() {
            match admin.address(&self.endpoint.address).await {
                Ok(address) => self.is_multicast = address.spec.kind == AddressType::Multicast,
                Err(failure) if failure.exit == Exit::NotFound => {
                    let name = &self.endpoint.address;
                    return Err(Failure::new(Exit::NotFound, format!("there is no address `{name}`"))
                        .help(format!("create it with `mq address create {name} --type anycast`")));
                }
                Err(failure) => output.warn(&failure.message),
            }
        }
        self.probe = Some(Probe::of_admin(admin, Handle::current()));
        Ok(())
    }

    fn watch_signals(&self) {
        let (stop, signal) = (self.stop.clone(), self.signal.clone());
        tokio::spawn(async move {
            let exit = interrupted().await;
            signal.store(exit.code(), Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Whether every receiver of the address gets every message.
    pub(super) fn is_multicast(&self) -> bool {
        self.is_multicast
    }

    /// Makes one load. It blocks, and has its own threads; the runtime goes on beside it.
    pub(super) fn drive(
        &self,
        output: &Output,
        work: impl FnOnce(&Endpoint, Option<Probe>, &AtomicBool, &mut dyn Watcher) -> Outcome<Ran>,
    ) -> Outcome<Ran> {
        let talk = |text: &str| output.talk(text);
        let mut progress = Progress::new(output.is_watched(), &talk);
        let ran = tokio::task::block_in_place(|| {
            work(&self.endpoint, self.probe.clone(), &self.stop, &mut progress)
        });
        match (ran, self.signalled()) {
            (Err(_), Some(exit)) => Err(Failure::silent(exit)),
            (ran, _) => ran,
        }
    }

    pub(super) fn signalled(&self) -> Option<Exit> {
        let code = self.signal.load(Ordering::Relaxed);
        Exit::ALL.into_iter().find(|exit| code != 0 && exit.code() == code)
    }

    fn finish(&self, ran: &Ran, view: BenchView, output: &mut Output) -> Outcome<Exit> {
        match view.output {
            BenchFormat::Json => output.json(&value(&ran.result))?,
            BenchFormat::Text => output.line(text_of_run(std::slice::from_ref(&ran.result)).trim_end())?,
        }
        Ok(self.exit(std::slice::from_ref(&ran.result)))
    }

    fn finish_series(&self, series: &BenchSeries, view: BenchView, output: &mut Output) -> Outcome<Exit> {
        match view.output {
            BenchFormat::Json => output.json(&value(series))?,
            BenchFormat::Text => {
                for result in &series.runs {
                    output.line(text_of_run(std::slice::from_ref(result)).trim_end())?;
                    output.line("")?;
                }
                if series.purpose == Purpose::Max {
                    output.line(&match series.sustained {
                        Some(rate) => format!(
                            "sustained {}/s with {}",
                            shape::number(rate),
                            series.objectives.join(", ")
                        ),
                        None => format!("no rate keeps {}", series.objectives.join(", ")),
                    })?;
                }
            }
        }
        // The runs of a search that fail are part of it.
        Ok(match series.purpose {
            Purpose::Max => self.signalled().unwrap_or(Exit::Ok),
            Purpose::Repeat | Purpose::Sweep => self.exit(&series.runs),
        })
    }

    /// Stopped, invalid, or fine.
    fn exit(&self, runs: &[BenchResult]) -> Exit {
        let invalid = runs.iter().any(|run| !run.validity.valid);
        self.signalled().unwrap_or(if invalid { Exit::TimedOut } else { Exit::Ok })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_in_the_result() {
        assert_eq!(without_password("amqp://ann:p@ss@host/a"), "amqp://***@host/a");
        assert_eq!(without_password("amqp://host/a"), "amqp://host/a");
        assert_eq!(without_password("telemetry"), "telemetry");
    }
}
