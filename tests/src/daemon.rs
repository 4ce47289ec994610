//! A real `mqd`.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use mq_model::admin::{Protocol, Runtime};
use mq_model::config::{DaemonConfig, LogFormat};
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::command::{Finished, Running};
use crate::program::mqd_path;
use crate::wait::eventually;

/// Lines of the log that a failed test prints.
const LOG_TAIL: usize = 60;

/// A daemon that is about to start.
#[derive(Debug)]
pub struct DaemonBuilder {
    folder: TempDir,
    config: DaemonConfig,
}

impl DaemonBuilder {
    /// Changes the configuration: by default two workers, free ports on loopback, and every limit
    /// as it ships.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut DaemonConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the daemon and waits until it serves.
    ///
    /// # Panics
    /// When it does not serve in time; its log is printed.
    #[track_caller]
    pub fn start(self) -> Daemon {
        Daemon::serve(self.folder, self.config)
    }

    /// Starts the daemon and does not wait. [`Daemon::wait_until_it_serves`] comes before anything else.
    #[track_caller]
    pub fn launch(self) -> Daemon {
        Daemon::launch(self.folder, self.config)
    }

    /// The daemon's folder, in which its state directory lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A daemon that serves, with a state directory of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    folder: TempDir,
    config: DaemonConfig,
    runtime: Runtime,
}

impl Daemon {
    /// A daemon as it ships.
    ///
    /// # Panics
    /// When it does not serve in time.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A daemon with a configuration of its own.
    ///
    /// # Panics
    /// When there is no temporary folder.
    pub fn builder() -> DaemonBuilder {
        let folder = TempDir::with_prefix("mq-tests-").expect("a temporary folder can be made");
        let mut config = DaemonConfig::embedded(folder.path().join("state"));
        // Two, so that clients meet across shards.
        config.workers = 2;
        config.listeners.amqp.port = 0;
        config.listeners.mqtt.port = 0;
        config.listeners.http.port = 0;
        config.log.format = LogFormat::Text;
        DaemonBuilder { folder, config }
    }

    #[track_caller]
    fn serve(folder: TempDir, config: DaemonConfig) -> Self {
        // The value that kills the process exists before anything is waited for.
        let mut daemon = Self::launch(folder, config);
        daemon.wait_until_it_serves();
        daemon
    }

    #[track_caller]
    fn launch(folder: TempDir, config: DaemonConfig) -> Self {
        let child = spawn(folder.path(), &config);
        let pid = child.id();
        let runtime = Runtime {
            node: String::new(),
            fleet: String::new(),
            pid,
            version: String::new(),
            config_hash: String::new(),
            listeners: Vec::new(),
        };
        Self { child, folder, config, runtime }
    }

    /// Waits until the daemon serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_until_it_serves(&mut self) {
        let path = self.config.state_dir.join("node.json");
        let pid = self.pid();
        self.runtime = eventually("a daemon that serves", || {
            let ended = self.child.try_wait().expect("the daemon can be waited for");
            assert!(ended.is_none(), "the daemon ended with {ended:?}");
            // A node.json of another process is one left over.
            read_runtime(&path).filter(|runtime| runtime.pid == pid)
        });
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon wrote to `node.json`.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    pub fn config(&self) -> &DaemonConfig {
        &self.config
    }

    /// Where AMQP clients connect.
    pub fn amqp(&self) -> SocketAddr {
        self.listener(Protocol::Amqp)
    }

    /// Where MQTT clients connect.
    pub fn mqtt(&self) -> SocketAddr {
        self.listener(Protocol::Mqtt)
    }

    /// Where the admin API is, and MQTT over WebSocket.
    pub fn http(&self) -> SocketAddr {
        self.listener(Protocol::Http)
    }

    /// The URL of an address.
    pub fn url(&self, address: &str) -> String {
        format!("amqp://{}/{address}", self.amqp())
    }

    pub fn admin(&self) -> Admin {
        Admin::new(self.listener(Protocol::Http))
    }

    /// Where the listener of this name is.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn listener_named(&self, name: &str) -> SocketAddr {
        let listener = self.runtime.listeners.iter().find(|listener| listener.name == name);
        let listener = listener.unwrap_or_else(|| panic!("the daemon has no listener {name}"));
        SocketAddr::new(listener.host.parse().expect("listeners name IP addresses"), listener.port)
    }

    fn listener(&self, protocol: Protocol) -> SocketAddr {
        let listener = self.runtime.listeners.iter().find(|listener| listener.protocol == protocol);
        let listener = listener.expect("the daemon has a listener of each protocol");
        SocketAddr::new(listener.host.parse().expect("listeners name IP addresses"), listener.port)
    }

    /// Memory that the process has resident, in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the daemon is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the daemon is alive");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("the kernel writes a number");
        kibibytes * 1024
    }

    /// Processor time that the process has used.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(path).expect("the daemon is alive");
        // proc(5): fields 14 and 15, counted behind the name in parentheses, which is field 2.
        let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1_000 / clock_ticks_per_second())
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon is alive");
    }

    /// Waits for the process to end.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the daemon", || child.try_wait().expect("the daemon can be waited for"))
    }

    /// Ends the process with SIGKILL, as a crash would, and starts another one with the same
    /// configuration and state.
    ///
    /// # Panics
    /// When the new one does not serve.
    #[must_use]
    #[track_caller]
    pub fn crash_and_restart(mut self) -> Self {
        self.kill();
        self.start_again()
    }

    /// Starts another process with the configuration and state of one that has ended.
    ///
    /// # Panics
    /// When this one is alive, or the new one does not serve.
    #[must_use]
    #[track_caller]
    pub fn start_again(self) -> Self {
        let mut daemon = self.launch_again();
        daemon.wait_until_it_serves();
        daemon
    }

    /// The same, without waiting.
    ///
    /// # Panics
    /// When this one is alive.
    #[must_use]
    #[track_caller]
    pub fn launch_again(mut self) -> Self {
        let ended = self.child.try_wait().expect("the daemon can be waited for");
        assert!(ended.is_some(), "the daemon is alive");
        let path = self.folder.path().to_owned();
        let empty = TempDir::new().expect("a temporary folder can be made");
        let folder = std::mem::replace(&mut self.folder, empty);
        debug_assert_eq!(folder.path(), path);
        Self::launch(folder, self.config.clone())
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(log_path(self.folder.path())).unwrap_or_default()
    }

    /// The file that the daemon was started with.
    pub fn config_path(&self) -> PathBuf {
        config_path(self.folder.path())
    }

    /// Ends the process with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if let Some(folder) = diaries() {
            // For people: a log that cannot be kept is none.
            let _ = fs::copy(log_path(self.folder.path()), folder.join(format!("{}.log", self.config.node)));
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
            report(&format!("---- log of mqd, pid {}\n{tail}\n----", self.pid()));
        }
    }
}

/// Where clients and daemons leave for people what they said: `MQ_TESTS_DIARIES` names the folder.
pub(crate) fn diaries() -> Option<PathBuf> {
    env::var_os("MQ_TESTS_DIARIES").map(PathBuf::from)
}

/// Says something about a failed test; the test runner captures what is printed.
#[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
pub fn report(text: &str) {
    eprintln!("{text}");
}

fn spawn(folder: &Path, config: &DaemonConfig) -> Child {
    let path = config_path(folder);
    // JSON is YAML.
    let text = serde_json::to_string_pretty(config).expect("the configuration has a JSON form");
    fs::write(&path, text).expect("the temporary folder can be written");
    let log = File::options().create(true).append(true).open(log_path(folder));
    let log = log.expect("the temporary folder can be written");
    let mut command = Command::new(mqd_path());
    command.arg("--config").arg(&path).current_dir(folder).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    command.spawn().expect("mqd can be started")
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join("mqd.yaml")
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("mqd.log")
}

fn read_runtime(path: &Path) -> Option<Runtime> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Runs `mqd` with arguments until it ends by itself.
///
/// # Panics
/// When it does not end.
#[track_caller]
pub fn run_mqd(arguments: &[&str]) -> Finished {
    let mut command = Command::new(mqd_path());
    command.args(arguments);
    Running::start(command, "").finish()
}
