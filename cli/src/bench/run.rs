//! One run: connect, warm up, load, drain, put together.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    client::{self, Dialer, Part, amqp, mqtt},
    clock::Clock,
    control::{Control, Reach, Timing},
    cost::{Meter, Probe},
    host,
    integrity::{Copies, judge},
    payload,
    result::{
        API_VERSION, BenchResult, Host, Integrity, KIND_RESULT, Load, Rates, RunContext, Shape, Validity,
        Wire,
    },
    schedule::Schedule,
    series::{Handover, Series, Span, WINDOW, Window},
    worker::{Job, Post, Report, Worker},
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome, reason},
    settings::Endpoint,
    shape,
};

/// From everybody being ready to the first message.
const LEAD: Duration = Duration::from_millis(20);
/// After the last message was sent: nothing came for so long means that nothing will.
const QUIET: Duration = Duration::from_secs(3);
/// How often the run is looked at.
const TICK: Duration = Duration::from_millis(5);
/// How long others may take to send the first message, where the load only receives.
const FIRST_MESSAGE: Duration = Duration::from_secs(60);
/// Messages, and bytes of them, that senders of a closed loop may be ahead of receivers: what brokers keep for a
/// client by default, and buffer for it.
const MAX_AHEAD: u64 = 4_096;
const MAX_AHEAD_BYTES: u64 = 512 << 10;
/// The part of the time above which a thread of the generator had no pause to speak of.
const SATURATED: f64 = 0.98;

/// A load to be made.
#[derive(Clone, Debug)]
pub struct Order {
    pub name: String,
    pub command_line: Vec<String>,
    /// What the result will say of it; its address and its connections are filled in by the run.
    pub load: Load,
    /// How long connecting, and waiting for the first credit, may take.
    pub setup: Duration,
    /// How long to wait for what is under way in the end.
    pub drain: Duration,
    /// The generator's own lateness (p99) above which the run is invalid.
    pub max_lag: Duration,
    /// Every receiver gets every message.
    pub is_multicast: bool,
}

impl Order {
    /// The order for a target: complete, and with nothing in it that its protocol does not have.
    ///
    /// # Errors
    /// What the protocol does not have, and what to write in its place.
    pub fn addressed(&self, endpoint: &Endpoint) -> Outcome<Self> {
        let mut order = self.clone();
        let load = &mut order.load;
        load.address.clone_from(&endpoint.address);
        load.protocol = endpoint.scheme.wire();
        load.tls = endpoint.scheme.is_tls();
        let (receiving, sending) = posts(load);
        load.connections = u32::try_from(receiving.len() + sending.len()).unwrap_or(u32::MAX);
        match load.protocol {
            Wire::Amqp if load.qos.is_some() || load.mqtt_version.is_some() => {
                let why = format!("QoS and MQTT versions are not of {}", endpoint.scheme.name());
                return Err(Failure::usage(why).help("write mqtt://host:port/topic, or leave them out"));
            }
            Wire::Amqp => {}
            Wire::Mqtt => {
                load.qos.get_or_insert(1);
                load.mqtt_version.get_or_insert_default();
                mqtt::check(load)?;
                let is_each = !client::is_numbered(&load.address) && mqtt::copies_to_each(&load.address);
                order.is_multicast |= is_each && load.receivers > 1;
            }
        }
        Ok(order)
    }
}

/// Somebody who wants to know how the run goes.
pub trait Watcher {
    /// A second of the measured part is over; `seconds` of them have passed.
    fn second(&mut self, order: &Order, seconds: u64, window: &Window);
    /// Something else changed.
    fn says(&mut self, what: &str);
}

/// What was measured, and whether somebody stopped it early.
#[derive(Debug)]
pub struct Ran {
    pub result: BenchResult,
    pub is_interrupted: bool,
}

/// Makes the load. Blocks until it is over; `interrupted` ends it early with what there is.
///
/// # Errors
/// When the load could not begin: the target cannot be reached, refuses, or gives no credit.
pub fn run(
    order: &Order,
    endpoint: &Endpoint,
    probe: Option<Probe>,
    interrupted: &AtomicBool,
    watcher: &mut dyn Watcher,
) -> Outcome<Ran> {
    let order = &order.addressed(endpoint)?;
    let dialer = Dialer::new(order, endpoint)?;
    let meter = probe.and_then(Meter::new);
    let job = Arc::new(job(order, endpoint, dialer));
    let (windows, handed) = mpsc::channel();
    let crew = Crew { job, control: Arc::default(), workers: Vec::new(), started: 0, windows };
    let mut run = Run {
        order,
        crew,
        handed,
        series: Series::default(),
        complete: Vec::new(),
        shown: 0,
        meter,
        interrupted,
        watcher,
    };
    let result = run.all();
    // Whatever happened, no thread outlives the run.
    run.crew.control.quit();
    let timing = result?;
    let reports = run.crew.join()?;
    run.collect();
    Ok(run.put_together(endpoint, timing, &reports))
}

/// The address of a host, the first that there is.
pub fn resolve(endpoint: &Endpoint) -> Outcome<SocketAddr> {
    let place = format!("{}:{}", endpoint.host, endpoint.port);
    let unknown = |why: String| Failure::new(Exit::Unreachable, format!("cannot find {place}: {why}"));
    let mut addresses =
        (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(|error| unknown(reason(&error)))?;
    addresses.next().ok_or_else(|| unknown("the name has no address".into()))
}

fn job(order: &Order, endpoint: &Endpoint, dialer: Dialer) -> Job {
    let load = &order.load;
    let schedule = load.rate.map(|rate| Arc::new(Schedule::ramp(&load.ramp, rate)));
    Job {
        place: place(endpoint),
        clock: Clock::new(),
        count: load.count.filter(|_| schedule.is_none()),
        schedule,
        senders: load.senders,
        in_flight: load.in_flight,
        reach: reach(order).filter(|_| dialer.manner.is_mqtt()),
        is_request: load.shape == Shape::Request,
        filler: payload::filler(&load.size, load.seed),
        sizes: load.size.clone(),
        seed: load.seed,
        run: dialer.manner.run,
        host: host::tag(),
        takes_every_run: load.shape == Shape::Recv,
        dialer,
    }
}

/// How far the senders of a closed loop may be ahead of its receivers.
fn reach(order: &Order) -> Option<Reach> {
    let load = &order.load;
    if load.rate.is_some() || load.shape == Shape::Request || !load.shape.has_both() {
        return None;
    }
    let in_flight = u64::from(load.in_flight) * u64::from(load.senders);
    let bytes = MAX_AHEAD_BYTES / payload::largest(&load.size) as u64;
    let messages = in_flight.min(MAX_AHEAD).min(bytes).max(u64::from(load.senders));
    let copies = if order.is_multicast { load.receivers.into() } else { 1 };
    Some(Reach { messages, copies })
}

/// `host:port`.
pub fn place(endpoint: &Endpoint) -> String {
    match endpoint.host.contains(':') {
        true => format!("[{}]:{}", endpoint.host, endpoint.port),
        false => format!("{}:{}", endpoint.host, endpoint.port),
    }
}

/// The connections of a run: those that receive or answer, and those that send or ask.
fn posts(load: &Load) -> (Vec<Post>, Vec<Post>) {
    let many = |part: Part, count: u32| -> Vec<Post> {
        let links = load.links.max(1);
        (0..count.div_ceil(links))
            .map(|connection| {
                let first = connection * links;
                Post { parts: vec![part; links.min(count - first) as usize], first }
            })
            .collect()
    };
    if load.shape == Shape::Request {
        let pair = |mine: Part, back: Part| move |first| Post { parts: vec![mine, back], first };
        let answering = (0..load.receivers).map(pair(Part::Receiver, Part::Relay)).collect();
        return (answering, (0..load.senders).map(pair(Part::Sender, Part::Replies)).collect());
    }
    (many(Part::Receiver, load.receivers), many(Part::Sender, load.senders))
}

/// The threads of a run.
struct Crew {
    job: Arc<Job>,
    control: Arc<Control>,
    workers: Vec<JoinHandle<Report>>,
    /// Workers, those that have ended included.
    started: usize,
    windows: mpsc::Sender<Handover>,
}

impl Crew {
    /// Starts threads for some connections: half of the cores, at least one, never more than connections.
    fn start(&mut self, posts: Vec<Post>) -> Outcome {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (cores / 2).clamp(1, posts.len().max(1));
        let mut shares = vec![Vec::new(); threads];
        for (index, post) in posts.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(index % threads) {
                share.push(post);
            }
        }
        for share in shares.into_iter().filter(|share| !share.is_empty()) {
            let number = self.workers.len();
            let worker =
                Worker::new(number, self.job.clone(), self.control.clone(), share, self.windows.clone());
            let thread = thread::Builder::new().name(format!("bench-{number}")).spawn(|| worker.run());
            let thread = thread.map_err(|error| {
                self.control.quit();
                Failure::failed(format!("cannot start a thread: {}", reason(&error)))
            })?;
            self.workers.push(thread);
            self.started += 1;
        }
        Ok(())
    }

    fn join(&mut self) -> Outcome<Vec<Report>> {
        let workers = std::mem::take(&mut self.workers);
        let reports: Result<Vec<Report>, _> = workers.into_iter().map(JoinHandle::join).collect();
        reports
            .map_err(|_| Failure::failed("a thread of the generator ended unexpectedly; this is a bug in mq"))
    }
}

struct Run<'a> {
    order: &'a Order,
    crew: Crew,
    handed: mpsc::Receiver<Handover>,
    series: Series,
    /// By worker: seconds that have been handed over.
    complete: Vec<u64>,
    /// Seconds that the watcher has been told of.
    shown: u64,
    meter: Option<Meter>,
    interrupted: &'a AtomicBool,
    watcher: &'a mut dyn Watcher,
}

impl Run<'_> {
    fn all(&mut self) -> Outcome<Timing> {
        let (receiving, sending) = posts(&self.order.load);
        let lanes = self.order.load.senders as usize;
        let connections = receiving.len() + sending.len();
        let receivers = receiving.len();
        self.crew.start(receiving)?;
        self.wait_ready(receivers)?;
        self.crew.start(sending)?;
        self.wait_ready(connections)?;
        self.wait_for_others()?;
        let timing = self.timing();
        self.crew.control.begin(timing);
        self.load(timing, lanes);
        Ok(timing)
    }

    /// Waits until so many connections are ready.
    fn wait_ready(&self, connections: usize) -> Outcome {
        let deadline = Instant::now() + self.order.setup;
        let control = &self.crew.control;
        while control.ready() < connections {
            if let Some(failure) = control.failure() {
                return Err(failure);
            }
            if self.is_interrupted() {
                return Err(Failure::silent(Exit::Interrupted));
            }
            if Instant::now() > deadline {
                return Err(self.not_ready(connections));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Where others send, the load begins with their first message.
    fn wait_for_others(&mut self) -> Outcome {
        if self.order.load.shape != Shape::Recv {
            return Ok(());
        }
        self.watcher.says("waiting for the first message");
        let deadline = Instant::now() + FIRST_MESSAGE;
        let control = &self.crew.control;
        while control.arrived() == 0 {
            if let Some(failure) = control.failure() {
                return Err(failure);
            }
            if self.is_interrupted() {
                return Err(Failure::silent(Exit::Interrupted));
            }
            if Instant::now() > deadline {
                let text = format!("no message of a bench came within {}", shape::elapsed(FIRST_MESSAGE));
                let address = &self.crew.job.dialer.manner.address;
                return Err(Failure::new(Exit::TimedOut, text)
                    .help(format!("send some from elsewhere: `mq bench send {address}`")));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn not_ready(&self, connections: usize) -> Failure {
        let (place, address) = (&self.crew.job.place, &self.crew.job.dialer.manner.address);
        let waited = shape::elapsed(self.order.setup);
        let attached = self.crew.control.attached();
        if attached < connections {
            let text = format!(
                "only {attached} of {} to {place} were ready within {waited}",
                shape::plural(connections as u64, "connection")
            );
            return Failure::new(Exit::TimedOut, text).help("look at `mq logs` or at the log of the target");
        }
        let text = format!("{place} gave no credit for `{address}` within {waited}: nobody receives there");
        Failure::new(Exit::TimedOut, text)
            .help(format!("give the load receivers of its own, or start one: `mq bench recv {address}`"))
    }

    fn timing(&self) -> Timing {
        let start = self.crew.job.clock.nanos().saturating_add(nanos(LEAD));
        let load = &self.order.load;
        let from = start.saturating_add(nanos(load.warmup()));
        let to = match (load.count, &self.crew.job.schedule) {
            (None, _) => from.saturating_add(nanos(load.duration().unwrap_or_default())),
            (Some(_), None) => u64::MAX,
            (Some(count), Some(schedule)) => {
                let before = schedule.count_until(nanos(load.warmup()));
                start.saturating_add(schedule.time_of(before.saturating_add(count)))
            }
        };
        Timing { start, span: Span { from, to }, deadline: to.saturating_add(nanos(self.order.drain)) }
    }

    /// Watches until everything is sent and has come, or nothing comes any more.
    fn load(&mut self, timing: Timing, lanes: usize) {
        let mut phase = Phase::Warmup;
        let mut next_look = timing.span.from.saturating_add(WINDOW);
        let mut moved = Movement::default();
        let mut done_at = None;
        loop {
            thread::sleep(TICK);
            let now = self.crew.job.clock.nanos();
            self.collect();
            if phase == Phase::Warmup && now >= timing.span.from {
                phase = Phase::Measured;
                self.look(Meter::begin);
            }
            let is_done = lanes > 0 && self.crew.control.lanes_done() >= lanes;
            let is_cut = self.is_interrupted() || self.crew.control.is_over();
            if phase == Phase::Measured && (now >= timing.span.to || is_done || is_cut) {
                phase = Phase::Draining;
                self.look(Meter::end);
            }
            if phase == Phase::Measured && now >= next_look {
                next_look = next_look.saturating_add(WINDOW);
                self.look(|meter| {
                    meter.look();
                });
            }
            if is_cut {
                self.crew.control.stop();
                return;
            }
            if is_done && done_at.is_none() {
                done_at = Some(now);
            }
            let is_still = moved.is_still(&self.crew.control, now, self.order.drain.max(QUIET));
            if self.is_over(timing, now, lanes, done_at, is_still) {
                return;
            }
        }
    }

    /// `done_at`: when the last sender had sent everything and knew what became of it.
    fn is_over(&self, timing: Timing, now: u64, lanes: usize, done_at: Option<u64>, is_still: bool) -> bool {
        let control = &self.crew.control;
        if lanes == 0 {
            return now >= timing.span.to
                || self.order.load.count.is_some_and(|count| control.arrived() >= count);
        }
        if now >= timing.deadline || (is_still && (done_at.is_some() || timing.span.to == u64::MAX)) {
            return true;
        }
        // All is settled: what has not come within some seconds of silence will not. The silence begins
        // no earlier than the senders' end, which pre-settled messages reach before the first arrives.
        let Some(done_at) = done_at else { return false };
        let quiet = now.saturating_sub(control.last_arrival().max(done_at)) > nanos(QUIET);
        !self.order.load.shape.has_both() || self.is_all_there() || quiet
    }

    /// Whether as many messages came as were settled, or sent where nobody says: what is lost or doubled is
    /// judged later. To be asked once all senders are done.
    fn is_all_there(&self) -> bool {
        let load = &self.order.load;
        if load.shape == Shape::Request {
            return true;
        }
        let control = &self.crew.control;
        let expected = if load.is_settled() { control.sent() } else { control.settled() };
        let copies = if self.order.is_multicast { u64::from(load.receivers) } else { 1 };
        control.arrived() >= expected.saturating_mul(copies)
    }

    fn look(&mut self, look: impl FnOnce(&mut Meter)) {
        if let Some(meter) = &mut self.meter {
            look(meter);
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Takes what the workers handed over, and tells the watcher about seconds that are whole.
    fn collect(&mut self) {
        while let Ok(Handover { worker, window }) = self.handed.try_recv() {
            self.series.add(&window);
            if self.complete.len() <= worker {
                self.complete.resize(worker + 1, 0);
            }
            if let Some(complete) = self.complete.get_mut(worker) {
                *complete = window.index + 1;
            }
        }
        // A second is whole when every worker has handed its part over.
        if self.complete.len() < self.crew.started {
            return;
        }
        let whole = self.complete.iter().copied().min().unwrap_or_default();
        while self.shown < whole {
            if let Some(window) = self.series.window(self.shown) {
                self.watcher.second(self.order, self.shown + 1, window);
            }
            self.shown += 1;
        }
    }

    fn put_together(&self, endpoint: &Endpoint, timing: Timing, reports: &[Report]) -> Ran {
        let order = self.order;
        let is_interrupted = self.is_interrupted();
        let last = reports.iter().map(|report| report.last).max().unwrap_or_default();
        let is_open_end = timing.span.to == u64::MAX || is_interrupted;
        let end = if is_open_end { last.min(timing.span.to) } else { timing.span.to };
        let elapsed = end.saturating_sub(timing.span.from).max(1);
        let total = self.series.total();
        let integrity = self.integrity(reports);
        let seconds = elapsed as f64 / 1e9;
        let load = order.load.clone();
        let messages = match load.shape {
            Shape::Send => total.settled.max(total.sent * u64::from(load.is_settled())),
            _ => total.received,
        };
        let latency = total.latencies();
        let generator = Generator {
            lag_p99_us: latency.lag.as_ref().map(|lag| lag.p99_us),
            cpu: busiest(reports, |report| report.cpu),
            busy: busiest(reports, |report| report.busy),
        };
        let validity = Validity {
            notes: notes(&load, reports, &integrity),
            elsewhere_cores: self.meter.as_ref().and_then(Meter::elsewhere_cores),
            ..generator.validity(order.max_lag)
        };
        let result = BenchResult {
            api_version: API_VERSION.into(),
            kind: KIND_RESULT.into(),
            context: self.context(endpoint, timing, reports),
            rates: rates(&self.crew.job, timing, &total, seconds),
            load,
            intervals: self.series.intervals(elapsed),
            cost: self.meter.as_ref().and_then(|meter| meter.cost(messages, seconds)),
            storm: None,
            validity,
            integrity,
            latency,
        };
        Ran { result, is_interrupted }
    }

    fn integrity(&self, reports: &[Report]) -> Integrity {
        let senders: Vec<_> = reports.iter().flat_map(|report| report.senders.iter().cloned()).collect();
        let receivers: Vec<_> = reports.iter().flat_map(|report| report.receivers.iter().cloned()).collect();
        let is_request = self.order.load.shape == Shape::Request;
        let copies = if self.order.is_multicast { Copies::Each } else { Copies::One };
        // What came to the answering side of requests is not what the run is about.
        let mut integrity = judge(&senders, if is_request { &[] } else { &receivers }, copies);
        let control = &self.crew.control;
        if is_request {
            integrity.received = control.arrived();
            integrity.timed_out = reports.iter().map(|report| report.timed_out).sum();
        }
        integrity.reconnects = reports.iter().map(|report| report.reconnects).sum();
        let outage = reports.iter().map(|report| report.longest_outage).max().unwrap_or_default();
        integrity.longest_outage_seconds = outage as f64 / 1e9;
        let receives = self.order.load.shape != Shape::Send;
        integrity.longest_silence_seconds = receives.then(|| control.silence() as f64 / 1e9);
        integrity
    }

    fn context(&self, endpoint: &Endpoint, timing: Timing, reports: &[Report]) -> RunContext {
        let ago = self.crew.job.clock.nanos().saturating_sub(timing.span.from);
        let ago = jiff::SignedDuration::from_nanos(i64::try_from(ago).unwrap_or(i64::MAX));
        let now = Timestamp::now();
        context(
            self.order,
            endpoint,
            now.checked_sub(ago).unwrap_or(now),
            reports.iter().find_map(|report| report.product.clone()),
        )
    }
}

/// Where and how a run took place.
pub fn context(
    order: &Order,
    endpoint: &Endpoint,
    started_at: Timestamp,
    target_product: Option<String>,
) -> RunContext {
    let host: Host = host::describe();
    RunContext {
        name: order.name.clone(),
        command_line: order.command_line.clone(),
        started_at,
        mq_version: env!("CARGO_PKG_VERSION").into(),
        client: client(endpoint).into(),
        target: format!("{}://{}", endpoint.scheme.name(), place(endpoint)),
        target_product,
        host,
    }
}

/// The library that speaks to the target.
fn client(endpoint: &Endpoint) -> &'static str {
    match endpoint.scheme.wire() {
        Wire::Amqp => amqp::CLIENT,
        Wire::Mqtt => mqtt::CLIENT,
    }
}

fn rates(job: &Job, timing: Timing, total: &Window, seconds: f64) -> Rates {
    let target = job.schedule.as_ref().filter(|_| timing.span.to != u64::MAX);
    let target = target.map(|schedule| {
        let (from, to) = (timing.span.from - timing.start, timing.span.to - timing.start);
        let length = (timing.span.to - timing.span.from).max(1) as f64 / 1e9;
        (schedule.count_until(to) - schedule.count_until(from)) as f64 / length
    });
    Rates {
        elapsed_seconds: seconds,
        target_per_second: target,
        sent_per_second: total.sent as f64 / seconds,
        settled_per_second: total.settled as f64 / seconds,
        received_per_second: total.received as f64 / seconds,
        sent_bytes_per_second: total.sent_bytes as f64 / seconds,
        received_bytes_per_second: total.received_bytes as f64 / seconds,
    }
}

/// How hard the generator had to work for the figures.
#[derive(Clone, Copy, Debug, Default)]
struct Generator {
    lag_p99_us: Option<f64>,
    /// Of a core, of the busiest thread.
    cpu: f64,
    /// Of the time, of the busiest thread.
    busy: f64,
}

impl Generator {
    /// Whether the figures are the target's.
    ///
    /// A thread that could sleep now and then has done everything that there was to do: it waited for the
    /// target, or for its schedule. One that never could was the limit itself, whether it used its
    /// processor or had to wait for it, and in an open loop as well as in a closed one. With a schedule
    /// there is more to keep: messages that could go have to go in time.
    fn validity(self, max_lag: Duration) -> Validity {
        let mut reasons = Vec::new();
        if self.busy > SATURATED {
            reasons.push(format!(
                "the generator was the limit: its busiest thread had something to do {:.0} % of the time, with \
                 {:.0} % of a core",
                self.busy * 100.0,
                self.cpu * 100.0
            ));
        }
        let bound = max_lag.as_secs_f64() * 1e6;
        if let Some(lag) = self.lag_p99_us.filter(|lag| *lag > bound) {
            reasons.push(format!(
                "the generator was late by {} (p99) with messages that could go, and {} are allowed",
                shape::elapsed(Duration::from_secs_f64(lag / 1e6)),
                shape::elapsed(max_lag)
            ));
        }
        Validity {
            valid: reasons.is_empty(),
            reasons,
            generator_cpu: self.cpu,
            generator_busy: self.busy,
            ..Validity::default()
        }
    }
}

fn busiest(reports: &[Report], read: fn(&Report) -> f64) -> f64 {
    reports.iter().map(read).fold(0.0, f64::max)
}

fn notes(load: &Load, reports: &[Report], integrity: &Integrity) -> Vec<String> {
    let mut notes = Vec::new();
    if !load.is_open_loop() && load.shape != Shape::Recv {
        notes.push("closed loop: the latencies are service times, and their tail is hidden".into());
    }
    let unsent: u64 = reports.iter().map(|report| report.unsent).sum();
    if unsent > 0 {
        let messages = shape::plural(unsent, "message");
        notes.push(format!(
            "{messages} never left, because the target took them too slowly: they count as delayed"
        ));
    }
    let unclocked: u64 = reports.iter().map(|report| report.unclocked).sum();
    if unclocked > 0 {
        let messages = shape::plural(unclocked, "message");
        notes.push(format!(
            "{messages} came from another machine: without a common clock they have no latency"
        ));
    }
    let away: u64 = reports.iter().map(|report| report.away).sum();
    if away > 0 {
        notes.push(format!("{} could not be made again", shape::plural(away, "connection")));
    }
    if let Some(fault) = reports.iter().find_map(|report| report.first_fault.as_ref()) {
        notes.push(format!("connections were lost, the first one because {fault}"));
    }
    if integrity.incomplete {
        notes.push(
            "too many messages came out of order to remember all: lost and duplicated are lower bounds"
                .into(),
        );
    }
    notes
}

impl Shape {
    /// Whether what is sent comes back to the generator.
    fn has_both(self) -> bool {
        matches!(self, Self::Pipe | Self::Fanout | Self::Fanin | Self::Request)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warmup,
    Measured,
    Draining,
}

/// Notices when nothing moves any more.
#[derive(Default)]
struct Movement {
    count: u64,
    since: u64,
}

impl Movement {
    fn is_still(&mut self, control: &Control, now: u64, patience: Duration) -> bool {
        let count = control.arrived().wrapping_add(control.settled());
        if count != self.count || self.since == 0 {
            *self = Self { count, since: now };
        }
        now.saturating_sub(self.since) > nanos(patience)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(5);

    fn is_valid(lag_p99_us: Option<f64>, cpu: f64, busy: f64) -> bool {
        Generator { lag_p99_us, cpu, busy }.validity(BOUND).valid
    }

    #[test]
    fn a_generator_that_waits_for_the_target_is_valid_whatever_its_processor_says() {
        assert!(is_valid(None, 0.95, 0.97), "a closed loop that had pauses");
        assert!(is_valid(Some(4_999.0), 0.95, 0.97), "a schedule that was kept");
    }

    #[test]
    fn a_generator_without_a_pause_is_the_limit_even_if_it_got_little_of_a_processor() {
        assert!(!is_valid(None, 0.3, 0.999));
        assert!(!is_valid(Some(1.0), 0.3, 0.999), "messages that were excused do not count as late");
    }

    #[test]
    fn a_generator_that_is_late_with_what_could_go_is_invalid_and_says_by_how_much() {
        let validity = Generator { lag_p99_us: Some(7_000.0), cpu: 0.1, busy: 0.1 }.validity(BOUND);
        assert_eq!((validity.valid, validity.reasons.len()), (false, 1));
        assert!(validity.reasons[0].contains("7.0ms"), "{:?}", validity.reasons);
    }

    #[test]
    fn connections_share_out_links_and_numbers() {
        let load = Load { links: 4, ..Load::bare(Shape::Pipe, 10, 3) };
        let (receiving, sending) = posts(&load);
        let shares = |posts: &[Post]| -> Vec<(usize, u32)> {
            posts.iter().map(|post| (post.parts.len(), post.first)).collect()
        };
        assert_eq!(shares(&receiving), [(3, 0)]);
        assert_eq!(shares(&sending), [(4, 0), (4, 4), (2, 8)]);
    }
}
