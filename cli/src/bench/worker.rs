//! A thread of the load: a few connections, polled together.
//!
//! Each turn reads what is there, sends what is due and fits, writes, and waits until a socket has something
//! or the next message is due. Between turns every outstanding message is in its lane and everything measured in
//! the recorder, so that the loop can be left at any turn.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rustix::{
    event::{PollFd, Timespec, poll},
    io::Errno,
};

use super::{
    client::{Arrival, Dialer, Draft, Fault, Happening, Kind, Part, Peer, Request},
    clock::{Clock, thread_cpu},
    control::{Control, Reach, Timing},
    integrity::{ReceiverLedger, SenderLedger, Told},
    lane::{self, Conditions, Lane, Next},
    payload::{self, Reading, Sizes, Stamp},
    result::SizeDescription,
    schedule::Schedule,
    series::{Handover, Measure, Recorder, Span},
};

/// Bytes of one read.
const READ: usize = 64 << 10;
/// Bytes that may wait for a socket before its senders have to wait as well.
const MAX_BUFFERED: usize = 256 << 10;
/// The longest sleep: how soon a worker notices that the run is over.
const MAX_SLEEP: Duration = Duration::from_millis(10);
/// Nanoseconds that looking at the sockets may take when something is there.
const LOOK: u64 = 5_000;
/// Nanoseconds until a sender that has to wait for receivers looks again: those of other threads wake nobody.
const LOOK_AGAIN: u64 = 50_000;
/// The pauses between two attempts to connect again.
const FIRST_PAUSE: u64 = 10_000_000;
const LONGEST_PAUSE: u64 = 500_000_000;

/// What all workers of a run do.
#[derive(Debug)]
pub struct Job {
    pub dialer: Dialer,
    /// `host:port`, for messages.
    pub place: String,
    pub clock: Clock,
    /// `None` in a closed loop.
    pub schedule: Option<Arc<Schedule>>,
    /// Senders of all workers together.
    pub senders: u32,
    /// Messages of all senders together, in a closed loop that sends a given number.
    pub count: Option<u64>,
    /// Messages of one sender that may be under way.
    pub in_flight: u32,
    /// `None` where outcomes or a schedule bound what is on its way.
    pub reach: Option<Reach>,
    /// Messages are requests: they are under way until the reply comes.
    pub is_request: bool,
    pub sizes: SizeDescription,
    pub filler: Vec<u8>,
    pub seed: u64,
    /// Of this run and of this machine (see [`payload`]).
    pub run: u32,
    pub host: u32,
    /// Messages of other runs count as well: there are no senders here.
    pub takes_every_run: bool,
}

/// What one connection does.
#[derive(Clone, Debug)]
pub struct Post {
    pub parts: Vec<Part>,
    /// The number of the first part among those of its kind, which is a sender's stream; further parts count on.
    pub first: u32,
}

/// What a worker knows in the end.
#[derive(Debug, Default)]
pub struct Report {
    pub senders: Vec<SenderLedger>,
    pub receivers: Vec<ReceiverLedger>,
    pub timed_out: u64,
    /// Messages that were due and never sent.
    pub unsent: u64,
    /// Messages of another machine, whose latency cannot be known.
    pub unclocked: u64,
    pub reconnects: u64,
    /// Nanoseconds.
    pub longest_outage: u64,
    /// Still away in the end.
    pub away: u64,
    /// Why the first of the connections that were lost was lost.
    pub first_fault: Option<String>,
    /// Of a core, over the measured part.
    pub cpu: f64,
    /// The part of the measured part in which there was something to do, 0 to 1.
    pub busy: f64,
    /// When the last message was settled or came, in nanoseconds.
    pub last: u64,
    pub product: Option<String>,
}

/// A connection and what it is for.
struct Slot {
    post: Post,
    state: State,
    lanes: Vec<Lane>,
    inlets: Vec<Inlet>,
    /// Answers to be sent: bounded by the credit of the requests.
    answers: VecDeque<(Request, Bytes)>,
    answered: u64,
    has_been_attached: bool,
    has_been_ready: bool,
    away_since: Option<u64>,
    pause: u64,
    attempts: u64,
    is_readable: bool,
}

enum State {
    Up { peer: Box<Peer>, is_attached: bool },
    Down { until: u64 },
}

struct Inlet {
    link: usize,
    ledger: ReceiverLedger,
}

/// A message that has been given to the engine and not yet to the socket.
struct Written {
    intended: u64,
    bytes: usize,
    is_excused: bool,
}

/// A worker.
pub struct Worker {
    number: usize,
    job: Arc<Job>,
    control: Arc<Control>,
    slots: Vec<Slot>,
    windows: Option<mpsc::Sender<Handover>>,
    recorder: Option<Recorder>,
    happenings: VecDeque<Happening>,
    written: Vec<Written>,
    scratch: Vec<u8>,
    /// By connection that is up: whether its socket has something.
    ready: Vec<bool>,
    arena: BytesMut,
    report: Report,
    /// Nanoseconds in which there was nothing to do.
    idle: u64,
    /// When the measured part began.
    at_start: Option<Usage>,
    has_measured_usage: bool,
}

/// What a thread has used until a time.
#[derive(Clone, Copy)]
struct Usage {
    now: u64,
    cpu: Duration,
    idle: u64,
}

impl Worker {
    pub fn new(
        number: usize,
        job: Arc<Job>,
        control: Arc<Control>,
        posts: Vec<Post>,
        windows: mpsc::Sender<Handover>,
    ) -> Self {
        let slots = posts.into_iter().map(Slot::new).collect();
        Self {
            number,
            job,
            control,
            slots,
            windows: Some(windows),
            recorder: None,
            happenings: VecDeque::new(),
            written: Vec::new(),
            scratch: vec![0; READ],
            ready: Vec::new(),
            arena: BytesMut::new(),
            report: Report::default(),
            idle: 0,
            at_start: None,
            has_measured_usage: false,
        }
    }

    /// Runs until the control says that it is over.
    pub fn run(mut self) -> Report {
        sharpen_timers();
        while !self.control.is_over() {
            let now = self.job.clock.nanos();
            self.begin_if_time();
            let mut wake = u64::MAX;
            for index in 0..self.slots.len() {
                wake = wake.min(self.turn(index));
            }
            self.measure(now);
            self.sleep(wake);
        }
        self.finish()
    }

    /// Makes lanes and the recorder once it is known when the run begins.
    fn begin_if_time(&mut self) {
        let (None, Some(timing)) = (&self.recorder, self.control.timing()) else {
            return;
        };
        let Some(windows) = self.windows.take() else {
            return;
        };
        self.recorder = Some(Recorder::new(self.number, timing.span, windows));
    }

    /// One turn of one connection; answers with when the next one is due.
    fn turn(&mut self, index: usize) -> u64 {
        match self.try_turn(index) {
            Ok(wake) => wake,
            Err(fault) => {
                self.lose(index, &fault);
                0
            }
        }
    }

    fn try_turn(&mut self, index: usize) -> Result<u64, Fault> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(u64::MAX);
        };
        let now = Instant::now();
        if let State::Down { until } = slot.state {
            let nanos = self.job.clock.at(now);
            if nanos < until {
                return Ok(until);
            }
            slot.connect(&self.job, self.number, index, now)?;
        }
        let State::Up { peer, .. } = &mut slot.state else {
            return Ok(u64::MAX);
        };
        if peer.engine().poll_timeout().is_some_and(|time| time <= now) {
            peer.engine_mut().handle_timeout(now)?;
        }
        if slot.is_readable {
            slot.is_readable = peer.read(now, &mut self.scratch, &mut self.happenings)?;
        }
        self.handle_happenings(index);
        let wake = self.send(index)?;
        self.write(index)?;
        Ok(wake)
    }

    fn handle_happenings(&mut self, index: usize) {
        if self.happenings.is_empty() {
            self.check_ready(index);
            return;
        }
        let now = self.job.clock.nanos();
        let (mut arrived, mut settled) = (0, 0);
        while let Some(happening) = self.happenings.pop_front() {
            match happening {
                Happening::Ready => self.attached(index),
                Happening::Told { link, sequence, told } => {
                    settled += u64::from(self.told(index, link, sequence, told, now));
                }
                Happening::Arrived(arrival) => arrived += u64::from(self.arrived(index, arrival, now)),
            }
        }
        if arrived > 0 {
            self.control.add_arrived(arrived, now);
        }
        if settled > 0 {
            self.control.add_settled(settled);
        }
        if arrived + settled > 0 {
            self.report.last = now;
        }
        self.check_ready(index);
    }

    fn attached(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if let State::Up { peer, is_attached } = &mut slot.state {
            *is_attached = true;
            self.report.product = peer.engine().product();
        }
        slot.pause = FIRST_PAUSE;
        if !std::mem::replace(&mut slot.has_been_attached, true) {
            self.control.add_attached();
        }
        if let Some(since) = slot.away_since.take() {
            self.report.reconnects += 1;
            let outage = self.job.clock.nanos().saturating_sub(since);
            self.report.longest_outage = self.report.longest_outage.max(outage);
        }
    }

    /// A connection is ready once all its senders have got credit.
    fn check_ready(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.has_been_ready) else {
            return;
        };
        let State::Up { peer, is_attached: true } = &slot.state else {
            return;
        };
        let may_send = |(link, part): (usize, &Part)| *part != Part::Sender || peer.engine().room(link) > 0;
        if slot.post.parts.iter().enumerate().all(may_send) {
            slot.has_been_ready = true;
            self.control.add_ready();
        }
    }

    /// The outcome of a message; false for one that nobody waits for.
    fn told(&mut self, index: usize, link: usize, sequence: u64, told: Told, now: u64) -> bool {
        let is_request = self.job.is_request;
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        let Some(lane) = slot.lanes.iter_mut().find(|lane| lane.link == link) else {
            // An answer of ours: what becomes of it shows at the requester.
            return false;
        };
        let Some(intended) = lane.told(sequence, told) else {
            return false;
        };
        if !is_request || told != Told::Accepted {
            lane.outstanding.close(sequence);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.settled(now);
            recorder.latency(Measure::Ack, intended, now.saturating_sub(intended));
        }
        true
    }

    /// A message; false for one that is not of the run.
    fn arrived(&mut self, index: usize, arrival: Arrival, now: u64) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        if let Some(sequence) = arrival.answers.filter(|_| self.job.is_request) {
            return answered(slot, self.recorder.as_mut(), sequence, arrival.body.len(), now);
        }
        if let Some(request) = arrival.request.filter(|_| slot.post.parts.contains(&Part::Relay)) {
            slot.answers.push_back((*request, arrival.body));
            return false;
        }
        let Some(inlet) = slot.inlets.iter_mut().find(|inlet| inlet.link == arrival.link) else {
            return false;
        };
        let size = arrival.body.len();
        match payload::read(&arrival.body) {
            Reading::Corrupted => inlet.ledger.corrupted += 1,
            Reading::Stamp(stamp) if self.job.takes_every_run || stamp.run == self.job.run => {
                inlet.ledger.received(stamp.stream, stamp.sequence);
                if let Some(recorder) = &mut self.recorder {
                    recorder.received(now, size);
                    if stamp.host == self.job.host {
                        let latency = now.saturating_sub(stamp.intended);
                        recorder.latency(Measure::EndToEnd, stamp.intended, latency);
                    } else {
                        self.report.unclocked += 1;
                    }
                }
                return true;
            }
            Reading::Stamp(_) | Reading::Foreign => inlet.ledger.foreign += 1,
        }
        false
    }

    /// Gives the engine what is due and fits; answers with when the next message is due.
    fn send(&mut self, index: usize) -> Result<u64, Fault> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(u64::MAX);
        };
        slot.send_answers(&mut self.arena)?;
        let Some(timing) = self.control.timing() else {
            return Ok(u64::MAX);
        };
        if slot.lanes.is_empty() && slot.post.parts.contains(&Part::Sender) {
            slot.lanes = lanes(&self.job, &slot.post, timing);
        }
        let now = self.job.clock.nanos();
        let stopping = self.control.is_stopping();
        let mut wake = u64::MAX;
        let allowance = self.job.reach.map_or(u64::MAX, |reach| self.control.allowance(reach, now));
        let mut sending =
            Sending { job: &self.job, arena: &mut self.arena, written: &mut self.written, allowance };
        let mut result = Ok(());
        for lane in slot.lanes.iter_mut().filter(|lane| !lane.is_done()) {
            let next = match sending.lane(&mut slot.state, lane, timing, now, stopping) {
                Ok(next) => next,
                Err(fault) => {
                    result = Err(fault);
                    break;
                }
            };
            wake = wake.min(match next {
                Next::Wait(until) => until,
                Next::Yield | Next::Send { .. } => 0,
                Next::Blocked if sending.allowance == 0 => now.saturating_add(LOOK_AGAIN),
                Next::Blocked | Next::Finished => u64::MAX,
            });
            let is_over = next == Next::Finished && lane.outstanding.open() == 0;
            if is_over && lane.finish() {
                self.control.add_lane_done(lane.ledger.sent);
            }
        }
        if self.job.reach.is_some() {
            self.control.add_left(allowance - sending.allowance);
        }
        result.map(|()| wake)
    }

    fn write(&mut self, index: usize) -> Result<(), Fault> {
        let Some(Slot { state: State::Up { peer, .. }, .. }) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let result = peer.write(Instant::now());
        let now = self.job.clock.nanos();
        let is_open = self.job.schedule.is_some();
        if let Some(recorder) = &mut self.recorder {
            for message in &self.written {
                recorder.sent(now, message.bytes);
                if is_open {
                    let delay = now.saturating_sub(message.intended);
                    recorder.latency(Measure::Delay, message.intended, delay);
                    if !message.is_excused {
                        recorder.latency(Measure::Lag, message.intended, delay);
                    }
                }
            }
        }
        self.written.clear();
        result
    }

    /// A connection broke: before the run that is the end of it, later it is made again.
    fn lose(&mut self, index: usize, fault: &Fault) {
        self.happenings.clear();
        self.written.clear();
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if !slot.has_been_ready {
            self.control.fail(fault.failure(&self.job.place, &self.job.dialer));
            return;
        }
        self.report.first_fault.get_or_insert_with(|| fault.to_string());
        let now = self.job.clock.nanos();
        slot.lanes.iter_mut().for_each(Lane::lose_connection);
        slot.answers.clear();
        slot.is_readable = false;
        slot.away_since.get_or_insert(now);
        slot.state = State::Down { until: now.saturating_add(slot.pause) };
        slot.pause = slot.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// Hands over what belongs to a second that is over, and reads the CPU clock at both ends of the span.
    fn measure(&mut self, now: u64) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        recorder.advance(now);
        let Span { from, to } = recorder.span();
        if now >= from && self.at_start.is_none() {
            self.at_start = Some(self.usage(now));
        }
        if now >= to && !self.has_measured_usage {
            self.measure_usage(now);
        }
    }

    fn usage(&self, now: u64) -> Usage {
        Usage { now, cpu: thread_cpu(), idle: self.idle }
    }

    fn measure_usage(&mut self, now: u64) {
        if let Some(since) = self.at_start {
            self.has_measured_usage = true;
            let usage = self.usage(now);
            let passed = now.saturating_sub(since.now).max(1) as f64;
            self.report.cpu = usage.cpu.saturating_sub(since.cpu).as_nanos() as f64 / passed;
            self.report.busy = (1.0 - (usage.idle - since.idle) as f64 / passed).clamp(0.0, 1.0);
        }
    }

    /// Waits until a socket has something, at most until `wake`.
    fn sleep(&mut self, wake: u64) {
        let now = self.job.clock.nanos();
        let is_awake = self.slots.iter().any(|slot| slot.is_readable);
        let nanos = if is_awake { 0 } else { wake.saturating_sub(now) };
        let timeout = Duration::from_nanos(nanos).min(MAX_SLEEP);
        let came = self.look(timeout);
        let passed = self.job.clock.nanos().saturating_sub(now);
        // What was there already took no longer than looking does: then nobody waited.
        if nanos > 0 && (!came || passed > LOOK) {
            self.idle += passed;
        }
    }

    /// Waits for the sockets; true when one has something.
    fn look(&mut self, longest: Duration) -> bool {
        let timeout = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        let up = |slot: &Slot| matches!(slot.state, State::Up { .. });
        let peers = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Up { peer, .. } => Some(PollFd::from_borrowed_fd(peer.fd(), peer.interest())),
            State::Down { .. } => None,
        });
        let mut waits: Vec<PollFd<'_>> = peers.collect();
        let result = poll(&mut waits, Some(&timeout));
        self.ready.clear();
        self.ready.extend(waits.iter().map(|wait| !wait.revents().is_empty()));
        for (slot, is_ready) in self.slots.iter_mut().filter(|slot| up(slot)).zip(&self.ready) {
            slot.is_readable |= is_ready;
        }
        match result {
            Ok(count) => count > 0,
            Err(Errno::INTR) => true,
            Err(error) => {
                self.control.fail(crate::failure::Failure::failed(format!(
                    "cannot wait for the sockets: {}",
                    crate::failure::reason(&error.into())
                )));
                true
            }
        }
    }

    /// Says what is left, takes leave of the target, and reports.
    fn finish(mut self) -> Report {
        let (now, nanos) = (Instant::now(), self.job.clock.nanos());
        if !self.has_measured_usage {
            self.measure_usage(nanos);
        }
        for mut slot in std::mem::take(&mut self.slots) {
            self.finish_lanes(&mut slot, nanos);
            self.report.senders.extend(slot.lanes.into_iter().map(|lane| lane.ledger));
            self.report.receivers.extend(slot.inlets.into_iter().map(|inlet| inlet.ledger));
            if let Some(since) = slot.away_since {
                self.report.away += 1;
                self.report.longest_outage = self.report.longest_outage.max(nanos.saturating_sub(since));
            }
            if let State::Up { mut peer, .. } = slot.state {
                peer.engine_mut().close(now);
                // The run is over: whether the farewell arrives is of no consequence.
                let _ = peer.write(now);
            }
        }
        if let Some(recorder) = self.recorder.take() {
            recorder.finish();
        }
        self.report
    }

    fn finish_lanes(&mut self, slot: &mut Slot, now: u64) {
        let Some(timing) = self.control.timing() else {
            return;
        };
        for lane in slot.lanes.iter_mut().filter(|lane| !lane.is_done()) {
            if self.job.is_request {
                self.report.timed_out += u64::from(lane.outstanding.open());
            }
            lane.lose_connection();
            if self.control.is_stopping() {
                continue;
            }
            // What never got out is late all the same: it counts for the delay that it had until now.
            for intended in lane.overdue(timing.start, now) {
                self.report.unsent += 1;
                if let Some(recorder) = &mut self.recorder {
                    recorder.latency(Measure::Delay, intended, now.saturating_sub(intended));
                }
            }
        }
    }
}

impl Slot {
    fn new(post: Post) -> Self {
        let inlets = post.parts.iter().enumerate().filter(|(_, part)| **part == Part::Receiver);
        let inlets = inlets.map(|(link, _)| Inlet { link, ledger: ReceiverLedger::default() }).collect();
        Self {
            post,
            state: State::Down { until: 0 },
            lanes: Vec::new(),
            inlets,
            answers: VecDeque::new(),
            answered: 0,
            has_been_attached: false,
            has_been_ready: false,
            away_since: None,
            pause: FIRST_PAUSE,
            attempts: 0,
            is_readable: false,
        }
    }

    fn connect(&mut self, job: &Job, worker: usize, index: usize, now: Instant) -> Result<(), Fault> {
        self.attempts += 1;
        let name = format!("mq-bench-{:08x}-{worker}-{index}-{}", job.run, self.attempts);
        let peer = job.dialer.dial(&self.post.parts, self.post.first, &name, now)?;
        self.state = State::Up { peer: Box::new(peer), is_attached: false };
        Ok(())
    }

    /// Answers requests as far as there is credit for it.
    fn send_answers(&mut self, arena: &mut BytesMut) -> Result<(), Fault> {
        let Some(link) = self.post.parts.iter().position(|part| *part == Part::Relay) else {
            return Ok(());
        };
        let State::Up { peer, is_attached: true } = &mut self.state else {
            return Ok(());
        };
        while !self.answers.is_empty() && peer.engine().room(link) > 0 {
            let Some((request, body)) = self.answers.pop_front() else {
                break;
            };
            let draft =
                Draft { link, sequence: self.answered, size: body.len(), kind: Kind::Answer(&request) };
            peer.engine_mut().send(&draft, arena, |out| out.extend_from_slice(&body))?;
            self.answered += 1;
        }
        Ok(())
    }
}

/// What sending one lane's messages needs of the worker.
struct Sending<'a> {
    job: &'a Job,
    arena: &'a mut BytesMut,
    written: &'a mut Vec<Written>,
    /// Messages that may leave.
    allowance: u64,
}

impl Sending<'_> {
    fn lane(
        &mut self,
        state: &mut State,
        lane: &mut Lane,
        timing: Timing,
        now: u64,
        stopping: bool,
    ) -> Result<Next, Fault> {
        let State::Up { peer, is_attached } = state else {
            return Ok(Next::Blocked);
        };
        lane.begin_turn(now, timing.start);
        loop {
            if stopping || now >= timing.deadline || now < timing.start {
                return Ok(if now < timing.start { Next::Wait(timing.start) } else { Next::Finished });
            }
            let engine = peer.engine();
            let has_room = *is_attached
                && self.allowance > 0
                && lane.outstanding.open() < self.job.in_flight
                && engine.buffered() < MAX_BUFFERED
                && engine.room(lane.link) > 0;
            let Timing { start, span, .. } = timing;
            let conditions = Conditions { now, start, from: span.from, end: span.to, has_room };
            let (intended, is_excused) = match lane.next(conditions) {
                Next::Send { intended, is_excused } => (intended, is_excused),
                next => return Ok(next),
            };
            let job = self.job;
            let sequence = lane.number(intended, !job.dialer.manner.settled || job.is_request);
            let size = lane.sizes.draw();
            let kind = if job.is_request { Kind::Request } else { Kind::Message };
            let stream = lane.ledger.stream;
            let stamp = Stamp { run: job.run, host: job.host, stream, sequence, intended };
            let draft = Draft { link: lane.link, sequence, size, kind };
            let write = |out: &mut BytesMut| payload::write(out, &stamp, size, &job.filler);
            peer.engine_mut().send(&draft, self.arena, write)?;
            self.allowance -= 1;
            self.written.push(Written { intended, bytes: size, is_excused });
        }
    }
}

/// The reply to a request came; false when nobody waits for it.
fn answered(slot: &mut Slot, recorder: Option<&mut Recorder>, sequence: u64, size: usize, now: u64) -> bool {
    // A connection that asks has one sender, so that the sequence is enough to know the request.
    let Some(lane) = slot.lanes.first_mut() else {
        return false;
    };
    let Some(intended) = lane.outstanding.intended(sequence) else {
        return false;
    };
    lane.outstanding.close(sequence);
    if let Some(recorder) = recorder {
        recorder.received(now, size);
        recorder.latency(Measure::RoundTrip, intended, now.saturating_sub(intended));
    }
    true
}

/// The senders of a connection.
fn lanes(job: &Job, post: &Post, timing: Timing) -> Vec<Lane> {
    let links = post.parts.iter().enumerate().filter(|(_, part)| **part == Part::Sender);
    links
        .zip(post.first..)
        .map(|((link, _), stream)| {
            let sizes = Sizes::new(job.sizes.clone(), job.seed, stream);
            let end = timing.span.to.saturating_sub(timing.start);
            let pace = lane::pace(job.schedule.as_ref(), stream, job.senders, end);
            Lane::new(link, stream, sizes, pace, job.count.map(|count| share(count, stream, job.senders)))
        })
        .collect()
}

/// The part of `count` that one of `senders` has: they differ by one at most.
fn share(count: u64, stream: u32, senders: u32) -> u64 {
    let senders = u64::from(senders.max(1));
    count / senders + u64::from(u64::from(stream) < count % senders)
}

/// Sleeps end when they should: the system may otherwise add 50 microseconds to each.
fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    if let Some(slack) = NonZeroU64::new(1) {
        // Without it delays are a little longer, and are measured as such.
        let _ = rustix::thread::set_current_timer_slack(Some(slack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_count() {
        for (count, senders) in [(10, 3), (2, 5), (1_000_000, 7), (0, 1)] {
            let total: u64 = (0..senders).map(|stream| share(count, stream, senders)).sum();
            assert_eq!(total, count);
        }
    }
}
