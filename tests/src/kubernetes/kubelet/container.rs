//! One container of a pod: from waiting over running to its end, and again.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::environment::text;
use super::probe::{Probe, Target, Verdict, run};
use super::process::Process;
use crate::kubernetes::store::now as this_second;

/// How long the first restart waits, and the last; those of a real cluster are ten times and thirty times that.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(10);

/// A container that lives so long is forgiven its former ends.
const FORGIVEN: Duration = Duration::from_secs(60);

/// A container of a pod. Dropping it kills its process.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: Value,
    state: State,
    pub(super) restarts: u64,
    last: Value,
    wait: Duration,
    is_ready: bool,
    is_started: bool,
    /// The present log, and that of the run before.
    pub(super) logs: [Option<PathBuf>; 2],
}

#[derive(Debug)]
enum State {
    Waiting { reason: &'static str, message: String, until: Instant },
    Running(Box<Run>),
    Terminated(Value),
}

#[derive(Debug)]
struct Run {
    child: Child,
    target: Target,
    since: String,
    begun: Instant,
    startup: Option<Probe>,
    liveness: Option<Probe>,
    readiness: Option<Probe>,
    stop: Option<Stop>,
}

/// A container that is to end.
#[derive(Debug)]
struct Stop {
    /// What has to be through before the signal.
    hook: Option<Receiver<()>>,
    is_told: bool,
    deadline: Instant,
}

impl Container {
    pub(super) fn new(spec: &Value, now: Instant) -> Self {
        Self {
            spec: spec.clone(),
            state: State::Waiting { reason: "ContainerCreating", message: String::new(), until: now },
            restarts: 0,
            last: Value::Null,
            wait: FIRST_WAIT,
            is_ready: false,
            is_started: false,
            logs: [None, None],
        }
    }

    pub(super) fn name(&self) -> &str {
        text(&self.spec["name"])
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether it ended, and well.
    pub(super) fn ended(&self) -> Option<bool> {
        match &self.state {
            State::Terminated(how) => Some(how["exitCode"] == 0),
            _ => None,
        }
    }

    /// Whether it is time to start it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(&self.state, State::Waiting { until, .. } if now >= *until)
    }

    /// Why it does not start; it is tried again.
    pub(super) fn hold(&mut self, reason: &'static str, message: String, now: Instant) {
        self.state = State::Waiting { reason, message, until: now + Duration::from_millis(200) };
    }

    pub(super) fn start(&mut self, process: Process, hub: String, ip: std::net::Ipv4Addr, now: Instant) {
        let log = process.log.clone();
        let child = match process.start() {
            Ok(child) => child,
            Err(error) => return self.hold("RunContainerError", error.to_string(), now),
        };
        if self.logs[0].as_ref() != Some(&log) {
            self.logs = [Some(log), self.logs[0].take()];
        }
        let target = Target { hub, ip, process, pid: child.id(), container: self.spec.clone() };
        let probe = |name: &str| self.spec.get(name).map(|handler| Probe::new(handler, now));
        let run = Run {
            child,
            target,
            since: this_second(),
            begun: now,
            startup: probe("startupProbe"),
            liveness: probe("livenessProbe"),
            readiness: probe("readinessProbe"),
            stop: None,
        };
        self.is_started = run.startup.is_none();
        self.is_ready = self.is_started && run.readiness.is_none();
        self.state = State::Running(Box::new(run));
    }

    /// Begins to end it, or shortens the time that it has.
    pub(super) fn stop(&mut self, grace: Duration, now: Instant) {
        let State::Running(run) = &mut self.state else { return };
        let deadline = now + grace;
        match &mut run.stop {
            Some(stop) => stop.deadline = stop.deadline.min(deadline),
            None => {
                let hook = run.target.container["lifecycle"].get("preStop").cloned();
                let hook = hook.map(|hook| begin_hook(hook, run.target.clone(), grace));
                run.stop = Some(Stop { hook, is_told: false, deadline });
            }
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        if let State::Running(run) = &mut self.state {
            // Gone already is as good.
            let _ = run.child.kill();
            let _ = run.child.wait();
        }
    }

    /// Looks at the process and its probes. Returns what people should know.
    pub(super) fn poll(
        &mut self,
        restarts: bool,
        grace: Duration,
        now: Instant,
    ) -> Option<(&'static str, String)> {
        let State::Running(run) = &mut self.state else { return None };
        if let Ok(Some(status)) = run.child.try_wait() {
            let end = terminated(status, run);
            let is_forgiven = now.duration_since(run.begun) >= FORGIVEN;
            let is_wanted = run.stop.is_some();
            self.end(end, restarts, is_forgiven, is_wanted, now);
            return None;
        }
        if let Some(stop) = &mut run.stop {
            stop.go_on(&run.child, now);
            self.is_ready = false;
            return None;
        }
        let news = run.probe(&mut self.is_started, &mut self.is_ready, now);
        let is_fatal = news.as_ref().is_some_and(|(reason, _)| *reason == "Killing");
        if is_fatal {
            self.stop(grace, now);
        }
        news
    }

    fn end(&mut self, end: Value, restarts: bool, is_forgiven: bool, is_wanted: bool, now: Instant) {
        (self.is_ready, self.is_started) = (false, false);
        if !restarts {
            self.state = State::Terminated(end);
            return;
        }
        self.wait = if is_forgiven { FIRST_WAIT } else { self.wait };
        // One that was ended for its probes starts again at once, the first time.
        let wait = if self.restarts == 0 || is_wanted { Duration::ZERO } else { self.wait };
        if !wait.is_zero() {
            self.wait = (self.wait * 2).min(LAST_WAIT);
        }
        self.last = json!({ "terminated": end });
        self.restarts += 1;
        let message = format!("back-off {}s restarting failed container={}", wait.as_secs(), self.name());
        self.state = State::Waiting { reason: "CrashLoopBackOff", message, until: now + wait };
    }

    /// As the status of the pod has it.
    pub(super) fn status(&self) -> Value {
        let state = match &self.state {
            State::Waiting { reason, message, .. } => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            State::Running(run) => json!({ "running": { "startedAt": run.since } }),
            State::Terminated(how) => json!({ "terminated": how }),
        };
        let mut status = json!({
            "name": self.name(), "image": self.spec["image"], "imageID": self.spec["image"], "state": state,
            "ready": self.is_ready, "started": self.is_started, "restartCount": self.restarts, "lastState": {},
        });
        if !self.last.is_null() {
            status["lastState"] = self.last.clone();
        }
        status
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Run {
    fn probe(
        &mut self,
        is_started: &mut bool,
        is_ready: &mut bool,
        now: Instant,
    ) -> Option<(&'static str, String)> {
        let unhealthy = |probe: &str, reason: &str| format!("{probe} probe failed: {reason}");
        if let (Some(startup), false) = (&mut self.startup, *is_started) {
            match startup.poll(&self.target, now) {
                Some(Verdict::Good) => {
                    *is_started = true;
                    *is_ready = self.readiness.is_none();
                }
                Some(Verdict::Bad(reason)) => return Some(("Killing", unhealthy("Startup", &reason))),
                None => {}
            }
            return None;
        }
        if let Some(readiness) = &mut self.readiness {
            match readiness.poll(&self.target, now) {
                Some(Verdict::Good) => *is_ready = true,
                Some(Verdict::Bad(reason)) => {
                    *is_ready = false;
                    return Some(("Unhealthy", unhealthy("Readiness", &reason)));
                }
                None => {}
            }
        }
        match self.liveness.as_mut()?.poll(&self.target, now) {
            Some(Verdict::Bad(reason)) => Some(("Killing", unhealthy("Liveness", &reason))),
            _ => None,
        }
    }
}

impl Stop {
    fn go_on(&mut self, child: &Child, now: Instant) {
        let is_through = self.hook.as_ref().is_none_or(|hook| hook.try_recv() != Err(TryRecvError::Empty));
        if now >= self.deadline {
            signal(child, Signal::KILL);
        } else if is_through && !self.is_told {
            self.is_told = true;
            signal(child, Signal::TERM);
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    // Gone already is as good.
    let _ = kill_process(Pid::from_child(child), signal);
}

fn begin_hook(mut hook: Value, target: Target, grace: Duration) -> Receiver<()> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        if let Some(seconds) = hook["sleep"]["seconds"].as_u64() {
            thread::sleep(Duration::from_secs(seconds).min(grace));
        } else {
            hook["timeoutSeconds"] = json!(grace.as_secs().max(1));
            // A hook that fails delays the end of nobody.
            let _ = run(&hook, &target);
        }
        let _ = sender.send(());
    });
    receiver
}

fn terminated(status: ExitStatus, run: &Run) -> Value {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(0);
    let reason = if code == 0 { "Completed" } else { "Error" };
    json!({ "exitCode": code, "reason": reason, "startedAt": run.since, "finishedAt": this_second() })
}
