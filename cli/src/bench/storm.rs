//! A storm of connections: how fast they open, how many stay, and what an idle one costs.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, getrlimit, setrlimit},
};

use super::{
    client::{Dialer, Fault, Happening, Part, Peer},
    clock::Clock,
    cost::{Meter, Probe},
    integrity::judge,
    result::{API_VERSION, BenchResult, KIND_RESULT, Rates, Storm, Validity},
    run::{self, Order, Ran, Watcher},
    schedule::{Pace, Schedule},
    series::{Handover, Measure, Recorder, Series, Span},
};
use crate::{
    failure::{Failure, Outcome, reason},
    settings::Endpoint,
};

/// Connections under way at one time, when no rate is asked for.
const AT_ONCE: usize = 64;
/// Connections under way at one time in any case: a target that answers none is not buried under them.
const MOST_AT_ONCE: usize = 4_096;
/// Files that the process needs for itself.
const OWN_FILES: u64 = 64;
const TICK_NANOS: i64 = 1_000_000;

/// What a storm is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub connections: u64,
    /// Connections per second.
    pub rate: Option<u64>,
    pub idle: Duration,
    /// For one connection.
    pub timeout: Duration,
}

/// Opens the connections, waits, and looks what they cost. Blocks until it is over.
///
/// # Errors
/// When the process may not have so many files, or the first connection is refused.
pub fn storm(
    wanted: Wanted,
    order: &Order,
    endpoint: &Endpoint,
    probe: Option<Probe>,
    interrupted: &AtomicBool,
    watcher: &mut dyn Watcher,
) -> Outcome<Ran> {
    let order = &order.addressed(endpoint)?;
    let dialer = Dialer::new(order, endpoint)?;
    raise_file_limit(wanted.connections)?;
    let meter = probe.and_then(Meter::new);
    let clock = Clock::new();
    let (windows, handed) = mpsc::channel();
    let start = clock.nanos();
    let recorder = Recorder::new(0, Span { from: start, to: u64::MAX }, windows);
    let mut front = Front {
        wanted,
        order,
        dialer,
        place: run::place(endpoint),
        clock,
        start,
        recorder,
        meter,
        opening: Vec::new(),
        open: Vec::new(),
        begun: 0,
        storm: Storm { wanted: wanted.connections, ..Storm::default() },
        product: None,
        scratch: vec![0; 16 << 10],
        happenings: VecDeque::new(),
    };
    front.look(Meter::begin);
    let mut series = Series::default();
    front.open_all(&handed, &mut series, interrupted, watcher)?;
    let elapsed = front.clock.nanos().saturating_sub(start).max(1);
    watcher.says("all connections are open; waiting");
    front.stay(interrupted);
    front.look(Meter::end);
    Ok(front.put_together(endpoint, &handed, series, elapsed, interrupted.load(Ordering::Relaxed)))
}

/// Lets the process have a file for each connection.
fn raise_file_limit(connections: u64) -> Outcome {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = connections.saturating_add(OWN_FILES);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        let maximum = limit.maximum.unwrap_or_default();
        return Err(Failure::failed(format!(
            "{connections} connections need {needed} open files, and the limit is {maximum}"
        ))
        .help("raise the limit (`ulimit -Hn`), or ask for fewer connections"));
    }
    limit.current = Some(needed);
    setrlimit(Resource::Nofile, limit).map_err(|error| {
        Failure::failed(format!("cannot raise the limit of open files: {}", reason(&error.into())))
    })
}

/// A connection that is not open yet.
struct Opening {
    peer: Peer,
    intended: u64,
    began: Instant,
    is_readable: bool,
}

struct Front<'a> {
    wanted: Wanted,
    order: &'a Order,
    dialer: Dialer,
    place: String,
    clock: Clock,
    start: u64,
    recorder: Recorder,
    meter: Option<Meter>,
    opening: Vec<Opening>,
    open: Vec<Peer>,
    begun: u64,
    storm: Storm,
    product: Option<String>,
    scratch: Vec<u8>,
    happenings: VecDeque<Happening>,
}

impl Front<'_> {
    fn open_all(
        &mut self,
        handed: &mpsc::Receiver<Handover>,
        series: &mut Series,
        interrupted: &AtomicBool,
        watcher: &mut dyn Watcher,
    ) -> Outcome {
        let schedule = self.wanted.rate.map(|rate| Arc::new(Schedule::constant(rate)));
        let mut pace = schedule.map(|schedule| Pace::new(schedule, 0, 1, u64::MAX));
        while self.begun < self.wanted.connections || !self.opening.is_empty() {
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
            self.begin(pace.as_mut());
            self.wait();
            self.turn()?;
            self.recorder.advance(self.clock.nanos());
            while let Ok(handover) = handed.try_recv() {
                let seconds = handover.window.index + 1;
                watcher.second(self.order, seconds, &handover.window);
                series.add(&handover.window);
            }
        }
        Ok(())
    }

    /// Begins as many connections as are due.
    fn begin(&mut self, mut pace: Option<&mut Pace>) {
        let now = self.clock.nanos();
        let since = now.saturating_sub(self.start);
        if let Some(pace) = &mut pace {
            pace.begin_turn(since);
        }
        let at_once = if pace.is_some() { MOST_AT_ONCE } else { AT_ONCE };
        while self.begun < self.wanted.connections && self.opening.len() < at_once {
            let intended = match &mut pace {
                None => now,
                Some(pace) => match pace.take(since) {
                    Some(time) => self.start.saturating_add(time),
                    None => return,
                },
            };
            self.begun += 1;
            let began = Instant::now();
            let address = &self.dialer.manner.address;
            let parts: &[Part] = if address.is_empty() { &[] } else { &[Part::Receiver] };
            let number = u32::try_from(self.begun - 1).unwrap_or(u32::MAX);
            let name = format!("mq-bench-{:08x}-{}", self.dialer.manner.run, self.begun);
            match self.dialer.dial(parts, number, &name, began) {
                Ok(peer) => self.opening.push(Opening { peer, intended, began, is_readable: false }),
                Err(fault) => self.failed(fault.to_string()),
            }
        }
    }

    fn wait(&mut self) {
        let mut waits: Vec<PollFd<'_>> = self
            .opening
            .iter()
            .map(|one| PollFd::from_borrowed_fd(one.peer.fd(), one.peer.interest()))
            .collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: TICK_NANOS };
        // An interrupted wait is a short one.
        let _ = poll(&mut waits, Some(&timeout));
        let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
        for (one, flags) in self.opening.iter_mut().zip(ready) {
            one.is_readable |= !flags.is_empty();
        }
    }

    /// Lets every connection that is under way go on.
    fn turn(&mut self) -> Outcome {
        let now = Instant::now();
        for mut one in std::mem::take(&mut self.opening) {
            match self.go_on(&mut one, now) {
                Ok(true) => {
                    let nanos = self.clock.nanos();
                    self.recorder.latency(Measure::Connect, one.intended, nanos.saturating_sub(one.intended));
                    self.recorder.settled(nanos);
                    self.storm.opened += 1;
                    self.product = self.product.take().or_else(|| one.peer.engine().product());
                    self.open.push(one.peer);
                }
                Ok(false) if now.saturating_duration_since(one.began) > self.wanted.timeout => {
                    self.failed(format!("not open within {}", crate::shape::elapsed(self.wanted.timeout)));
                }
                Ok(false) => self.opening.push(one),
                // When not even the first one works, there is nothing to measure.
                Err(fault) if self.storm.opened == 0 && self.storm.failed == 0 => {
                    return Err(fault.failure(&self.place, &self.dialer));
                }
                Err(fault) => self.failed(fault.to_string()),
            }
        }
        Ok(())
    }

    /// True once a connection is open, with its link when it has one.
    fn go_on(&mut self, one: &mut Opening, now: Instant) -> Result<bool, Fault> {
        if one.is_readable {
            one.is_readable = one.peer.read(now, &mut self.scratch, &mut self.happenings)?;
        }
        one.peer.write(now)?;
        let is_ready = self.happenings.iter().any(|happening| matches!(happening, Happening::Ready));
        self.happenings.clear();
        Ok(is_ready)
    }

    fn failed(&mut self, why: String) {
        self.storm.failed += 1;
        self.storm.first_error.get_or_insert(why);
    }

    /// Keeps the connections, and counts in the end those that are still there.
    fn stay(&mut self, interrupted: &AtomicBool) {
        let until = Instant::now() + self.wanted.idle;
        while Instant::now() < until && !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let now = Instant::now();
        let mut alive = 0;
        for peer in &mut self.open {
            let result = peer.read(now, &mut self.scratch, &mut self.happenings);
            alive += u64::from(result.is_ok());
            self.happenings.clear();
        }
        self.storm.alive = alive;
    }

    fn look(&mut self, look: impl FnOnce(&mut Meter)) {
        if let Some(meter) = &mut self.meter {
            look(meter);
        }
    }

    fn put_together(
        mut self,
        endpoint: &Endpoint,
        handed: &mpsc::Receiver<Handover>,
        mut series: Series,
        elapsed: u64,
        is_interrupted: bool,
    ) -> Ran {
        self.recorder.finish();
        handed.try_iter().for_each(|handover| series.add(&handover.window));
        let seconds = elapsed as f64 / 1e9;
        self.storm.opened_per_second = self.storm.opened as f64 / seconds;
        let idle = seconds + self.wanted.idle.as_secs_f64();
        let cost = self.meter.as_ref().and_then(|meter| meter.cost(self.storm.opened, idle));
        if let (Some(cost), alive @ 1..) = (&cost, self.storm.alive) {
            let grown = cost.resident_after as f64 - cost.resident_before as f64;
            self.storm.bytes_per_connection = Some((grown / alive as f64).max(0.0));
        }
        for mut peer in self.open {
            let now = Instant::now();
            peer.engine_mut().close(now);
            // The storm is over: whether the farewell arrives is of no consequence.
            let _ = peer.write(now);
        }
        let mut load = self.order.load.clone();
        load.connections = u32::try_from(self.wanted.connections).unwrap_or(u32::MAX);
        load.rate = self.wanted.rate;
        let result = BenchResult {
            api_version: API_VERSION.into(),
            kind: KIND_RESULT.into(),
            context: run::context(self.order, endpoint, Timestamp::now(), self.product),
            load,
            rates: Rates {
                elapsed_seconds: seconds,
                target_per_second: self.wanted.rate.map(|rate| rate as f64),
                settled_per_second: self.storm.opened_per_second,
                ..Rates::default()
            },
            latency: series.total().latencies(),
            intervals: series.intervals(elapsed),
            integrity: judge(&[], &[], super::integrity::Copies::One),
            cost,
            storm: Some(self.storm),
            validity: Validity { valid: true, ..Validity::default() },
        };
        Ran { result, is_interrupted }
    }
}
