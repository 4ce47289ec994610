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
    args::bench::{
        Bench, BenchCommand, BenchFormat, BenchView, ConnectLoad, Fanin, Fanout, LoadArgs, Max, MessageArgs,
        PaceArgs, Pipe, RecvLoad, Repeated, RequestLoad, SendLoad, Sending, Sweep, WireArgs,
    },
    bench::{
        client,
        cost::Probe,
        progress::Progress,
        report::text_of_run,
        result::{API_VERSION, BenchResult, BenchSeries, KIND_SERIES, Load, Purpose, Shape},
        run::{self, Order, Ran, Watcher},
        search::Search,
        storm::{self, Wanted},
        verdict::{Demands, Verdict},
    },
    client::amqp::interrupted,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, value},
    plane::names::Way,
    settings::{Endpoint, Scheme, Settings},
    shape,
};

/// How long connecting, and waiting for the first credit, may take.
const SETUP: Duration = Duration::from_secs(10);
/// Messages of one sender under way, when nothing else is asked for.
const IN_FLIGHT: u32 = 1_000;

pub(super) async fn run(args: Bench, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let command = args.shape.unwrap_or(BenchCommand::Pipe(args.pipe));
    let (target, order, view) = match command {
        BenchCommand::Pipe(Pipe { address, senders, receivers, sending }) => {
            let draft = Draft::new(Shape::Pipe, senders.senders, receivers.receivers);
            (address.unwrap_or_default(), draft.sending(&sending), sending.load.view)
        }
        BenchCommand::Send(SendLoad { place, senders, sending }) => {
            let draft = Draft::new(Shape::Send, senders.senders, 0);
            (place.address, draft.sending(&sending), sending.load.view)
        }
        BenchCommand::Recv(RecvLoad { place, receivers, load }) => {
            let draft = Draft::new(Shape::Recv, 0, receivers.receivers);
            (place.address, draft.with(&load).order, load.view)
        }
        BenchCommand::Request(RequestLoad { place, requesters, responders, sending }) => {
            let draft = Draft::new(Shape::Request, requesters, responders);
            (place.address, draft.sending(&sending), sending.load.view)
        }
        BenchCommand::Fanout(Fanout { place, receivers, sending }) => {
            let draft = Draft::new(Shape::Fanout, 1, receivers);
            (place.address, draft.sending(&sending), sending.load.view)
        }
        BenchCommand::Fanin(Fanin { place, senders, sending }) => {
            let draft = Draft::new(Shape::Fanin, senders, 1);
            (place.address, draft.sending(&sending), sending.load.view)
        }
        BenchCommand::Connect(args) => return connect(args, settings, output).await,
        BenchCommand::Sweep(args) => return sweep(args, settings, output).await,
        BenchCommand::Max(args) => return highest(args, settings, output).await,
        BenchCommand::Run(args) => return bench_verdict::run(args, settings, output).await,
        BenchCommand::Compare(args) => return bench_verdict::compare(&args, output),
    };
    let session = Session::new(&target, false, settings, output).await?;
    let ran = session.run(&order, output)?;
    session.finish(&ran, view, output)
}

/// An order in the making.
pub(super) struct Draft {
    pub(super) order: Order,
}

impl Draft {
    /// Who talks to whom, and nothing else.
    pub(super) fn new(shape: Shape, senders: u32, receivers: u32) -> Self {
        let order = Order {
            name: name(shape).into(),
            command_line: command_line(),
            load: Load::bare(shape, senders, receivers),
            setup: SETUP,
            drain: Duration::ZERO,
            max_lag: Duration::MAX,
            is_multicast: shape == Shape::Fanout,
        };
        Self { order }
    }

    /// How long, and with how much in flight.
    pub(super) fn with(self, args: &LoadArgs) -> Self {
        let mut draft = self.speaking(&args.wire);
        let load = &mut draft.order.load;
        load.links = if load.shape == Shape::Request { 1 } else { args.links };
        load.credit = args.credit;
        load.warmup_seconds = args.warmup.as_secs_f64();
        load.duration_seconds = args.count.is_none().then_some(args.duration.as_secs_f64());
        load.count = args.count;
        load.qos = args.qos;
        draft.order.drain = args.drain;
        draft
    }

    fn speaking(mut self, wire: &WireArgs) -> Self {
        self.order.load.mqtt_version = wire.mqtt_version;
        self
    }

    /// What is sent, and how fast.
    pub(super) fn of(mut self, messages: &MessageArgs, pace: Option<&PaceArgs>) -> Order {
        let load = &mut self.order.load;
        if let Some(pace) = pace {
            load.ramp.clone_from(&pace.ramp);
            load.rate = pace.rate.or_else(|| pace.ramp.last().map(|step| step.rate));
        }
        load.size = messages.size.clone();
        load.settled = messages.settled;
        load.durable = messages.durable;
        load.seed = messages.seed;
        let is_one_by_one = load.shape == Shape::Request && load.rate.is_none();
        load.in_flight = messages.in_flight.unwrap_or(if is_one_by_one { 1 } else { IN_FLIGHT });
        self.order.max_lag = messages.max_lag;
        self.order
    }

    fn sending(self, sending: &Sending) -> Order {
        self.with(&sending.load).of(&sending.messages, Some(&sending.pace))
    }

    /// A pipe whose rate is given from run to run.
    fn repeated(repeated: &Repeated) -> Order {
        let draft = Self::new(Shape::Pipe, repeated.senders.senders, repeated.receivers.receivers);
        draft.with(&repeated.load).of(&repeated.messages, None)
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

async fn connect(args: ConnectLoad, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let wanted =
        Wanted { connections: args.connections, rate: args.rate, idle: args.idle, timeout: args.timeout };
    let order = Draft::new(Shape::Connect, 0, 0).speaking(&args.wire).order;
    let target = args.address.as_deref().unwrap_or_default();
    let session = Session::new(target, true, settings, output).await?;
    let ran = session.storm(wanted, &order, output)?;
    session.finish(&ran, args.view, output)
}

async fn sweep(args: Sweep, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let mut order = Draft::repeated(&args.repeated);
    let session = Session::new(&args.place.address, false, settings, output).await?;
    let mut runs = Vec::with_capacity(args.rate.len());
    for rate in &args.rate {
        order.load.rate = Some(*rate);
        output.talk(&format!("{}/s", shape::number(*rate)));
        let ran = session.run(&order, output)?;
        runs.push(ran.result);
        if ran.is_interrupted {
            break;
        }
    }
    let series = series(Purpose::Sweep, runs, None, Vec::new());
    session.finish_series(&series, args.repeated.load.view, output)
}

async fn highest(args: Max, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let mut order = Draft::repeated(&args.repeated);
    let mut search = Search::new(args.from, args.to, args.precision);
    let demands = Demands { assertions: args.slo, ..Demands::default() };
    let session = Session::new(&args.place.address, false, settings, output).await?;
    let mut runs = Vec::new();
    while let Some(rate) = search.next() {
        order.load.rate = Some(rate);
        let ran = session.run(&order, output)?;
        let why = missed(&ran.result, &demands);
        search.tell(rate, why.is_none());
        let word = why.map_or_else(|| "held".into(), |why| format!("did not hold: {why}"));
        output.talk(&format!("{}/s {word}", shape::number(rate)));
        runs.push(ran.result);
        if ran.is_interrupted {
            break;
        }
    }
    let objectives = demands.assertions.iter().map(ToString::to_string).collect();
    let series = series(Purpose::Max, runs, search.answer(), objectives);
    let exit = session.finish_series(&series, args.repeated.load.view, output)?;
    match (series.sustained, exit) {
        (None, Exit::Ok) => Ok(Exit::Missed),
        (_, exit) => Ok(exit),
    }
}

/// Why a run did not keep the objectives, its schedule or all of its messages; `None` when it did.
fn missed(result: &BenchResult, demands: &Demands) -> Option<String> {
    /// The part of the rate that has to come through.
    const ENOUGH: f64 = 0.99;
    let rates = &result.rates;
    let verdict = Verdict::of(std::slice::from_ref(result), None, demands);
    if verdict.outcome != crate::bench::verdict::Outcome::Pass {
        return Some(verdict.reasons.join("; "));
    }
    if result.integrity.lost > 0 {
        return Some(format!("{} lost", shape::number(result.integrity.lost)));
    }
    let target = rates.target_per_second.unwrap_or_default();
    (rates.received_per_second < target * ENOUGH).then(|| {
        let came = shape::number(rates.received_per_second as u64);
        format!("{came}/s of {}/s came through", shape::number(target as u64))
    })
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
        let endpoint = settings.endpoint_of(target, &Scheme::ALL)?;
        if endpoint.address.is_empty() && !is_bare {
            return Err(Failure::usage(format!("`{target}` names no address"))
                .help("write amqp://host:port/address, mqtt://host:port/topic, or a bare address"));
        }
        let mut session =
            Self { endpoint, probe: None, is_multicast: false, stop: Arc::default(), signal: Arc::default() };
        if !target.contains("://") {
            session.ask_fleet(settings, output).await?;
        }
        if session.probe.is_none() {
            session.probe = run::resolve(&session.endpoint).ok().and_then(Probe::of_listener);
            if session.probe.is_none() {
                // mqd shows to nobody but root which sockets are its own.
                output.warn(
                    "what the target costs is unknown: no process of this machine could be seen to listen there; name an \
                     address without a URL, so that the admin API of the context is asked, or run this as root",
                );
            }
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
        if !self.endpoint.address.is_empty() && !client::is_numbered(&self.endpoint.address) {
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
        if client::is_numbered(&self.endpoint.address) && !self.endpoint.dataplane.is_default() {
            return Err(Failure::usage("numbered addresses are for a fleet of mqd"));
        }
        self.endpoint = super::reached(self.endpoint.clone(), Way::To, settings).await?;
        let to = run::resolve(&self.endpoint).ok();
        self.probe = Some(Probe::of_admin(admin, Handle::current(), to));
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

    /// Makes one load with messages.
    pub(super) fn run(&self, order: &Order, output: &Output) -> Outcome<Ran> {
        let mut order = order.clone();
        order.is_multicast |= self.is_multicast && order.load.receivers > 1;
        self.drive(output, |endpoint, probe, stop, watcher| run::run(&order, endpoint, probe, stop, watcher))
    }

    /// Makes one load of connections.
    pub(super) fn storm(&self, wanted: Wanted, order: &Order, output: &Output) -> Outcome<Ran> {
        self.drive(output, |endpoint, probe, stop, watcher| {
            storm::storm(wanted, order, endpoint, probe, stop, watcher)
        })
    }

    /// Makes one load. It blocks, and has its own threads; the runtime goes on beside it.
    fn drive(
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
