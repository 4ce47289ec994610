//! What the tests of the process share: a bare HTTP client, a node in this process, a node in a
//! process of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mq_model::admin::{Protocol, Runtime};
use mq_model::config::{DaemonConfig, ListenerConfig, Listeners, Log};
use mq_model::manifest::{Address, AddressSpec, AddressType};
use mqd::app::App;
use mqd::hub::{Hub, ShardCommand};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// An answer of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }
}

/// Sends raw bytes and reads until the server closes.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

pub(crate) fn parse(raw: &[u8]) -> Answer {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer in {:?}", String::from_utf8_lossy(raw)));
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.into(), v.into()));
    Answer { status, headers: headers.collect(), body: raw[end + 4..].to_vec() }
}

/// One request with these headers, on a connection of its own.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    parse(&exchange(address, &[request.as_bytes(), body].concat()))
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path, &[], &[])
}

pub(crate) fn delete(address: SocketAddr, path: &str) -> Answer {
    request(address, "DELETE", path, &[], &[])
}

pub(crate) fn send_json(address: SocketAddr, method: &str, path: &str, body: &Value) -> Answer {
    let body = serde_json::to_vec(body).unwrap();
    request(address, method, path, &[("Content-Type", "application/json")], &body)
}

/// An address document.
pub(crate) fn anycast(name: &str) -> Value {
    address(name, AddressType::Anycast)
}

/// An address document of any type.
pub(crate) fn address(name: &str, kind: AddressType) -> Value {
    serde_json::to_value(Address::new(name, AddressSpec::new(kind))).unwrap()
}

/// The configuration of a node on free ports.
pub(crate) fn config(state_dir: &Path) -> DaemonConfig {
    let mut config = DaemonConfig::embedded(state_dir);
    let free = ListenerConfig::loopback(0);
    config.listeners =
        Listeners { amqp: free.clone(), mqtt: free.clone(), http: free, ..Listeners::default() };
    config.workers = 2;
    config.drain_seconds = 2;
    config
}

/// A node in this process, stopped when it is dropped.
pub(crate) struct Node {
    pub(crate) http: SocketAddr,
    pub(crate) amqp: SocketAddr,
    /// Every listener by its name.
    listeners: Vec<(String, SocketAddr)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn start(config: DaemonConfig) -> Self {
        let (subscriber, log) = mqd::log::build(&Log::default(), false, std::io::sink).unwrap();
        let node = Self::run(App::build(config, log).unwrap(), subscriber);
        wait_for("the node to be ready", || (get(node.http, "/readyz").status == 200).then_some(()));
        node
    }

    /// A node that writes its log there.
    pub(crate) fn start_with_log<W: Write + 'static>(
        config: DaemonConfig,
        writer: impl Fn() -> W + Send + Sync + 'static,
    ) -> Self {
        let (subscriber, log) = mqd::log::build(&Log::default(), false, writer).unwrap();
        let node = Self::run(App::build(config, log).unwrap(), subscriber);
        wait_for("the node to be ready", || (get(node.http, "/readyz").status == 200).then_some(()));
        node
    }

    /// A node of two workers, one of which has ended.
    pub(crate) fn start_with_a_dead_worker(config: DaemonConfig) -> Self {
        let (subscriber, log) = mqd::log::build(&Log::default(), false, std::io::sink).unwrap();
        let spawn = |_: &DaemonConfig, _, _: &_| {
            let (living, mut commands) = unbounded_channel();
            let (dead, _) = unbounded_channel();
            // Whoever asks the living one for anything else sees it go without an answer.
            let worker = std::thread::spawn(move || {
                while let Some(command) = commands.blocking_recv() {
                    if let ShardCommand::SetAddress { reply, .. } = command {
                        let _ = reply.send(());
                    }
                }
            });
            Ok((Hub::new(vec![living, dead]), vec![worker]))
        };
        Self::run(App::build_with(config, log, spawn).unwrap(), subscriber)
    }

    fn run(app: App, subscriber: impl tracing::Subscriber + Send + Sync + 'static) -> Self {
        let address = |protocol| {
            let listener = app.listeners().iter().find(|listener| listener.protocol == protocol).unwrap();
            SocketAddr::new(listener.host.parse().unwrap(), listener.port)
        };
        let (http, amqp) = (address(Protocol::Http), address(Protocol::Amqp));
        let listeners = app.listeners().iter().map(|listener| {
            (listener.name.clone(), SocketAddr::new(listener.host.parse().unwrap(), listener.port))
        });
        let listeners = listeners.collect();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            tracing::subscriber::with_default(subscriber, || {
                let stop = async { drop(stopped.await) };
                app.run(stop).unwrap();
            });
        });
        Self { http, amqp, listeners, stop: Some(stop), thread: Some(thread) }
    }

    /// Where the listener of this name is.
    #[track_caller]
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.listeners.iter().find(|(found, _)| found == name).unwrap().1
    }

    /// Asks the node to stop and does not wait.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop.take();
    }

    pub(crate) fn stop(mut self) {
        self.ask_to_stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A directory with a configuration file and a state directory.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.configure(|_| {});
        place
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut DaemonConfig)) {
        let mut config = config(&self.state());
        change(&mut config);
        // JSON is YAML.
        std::fs::write(self.file(), serde_json::to_string_pretty(&config).unwrap()).unwrap();
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("mqd.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn runtime_file(&self) -> PathBuf {
        self.state().join("node.json")
    }

    pub(crate) fn start(&self) -> Process {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_mqd")))
    }

    /// Starts a node that may open this many files and not one more.
    pub(crate) fn start_with_file_limit(&self, files: u32) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_mqd")]);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Process {
        let child = command
            .arg("--config")
            .arg(self.file())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Process { child, runtime_file: self.runtime_file() }
    }
}

/// A node in a process of its own, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    runtime_file: PathBuf,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until this very process has announced itself.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) -> Runtime {
        let pid = self.pid();
        let file = self.runtime_file.clone();
        wait_for("the node to announce itself", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut log = String::new();
                let _ = self.child.stderr.take().unwrap().read_to_string(&mut log);
                panic!("mqd ended with {status}: {log}");
            }
            let content = std::fs::read(&file).ok()?;
            let runtime: Runtime = serde_json::from_slice(&content).unwrap();
            (runtime.pid == pid).then_some(runtime)
        })
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; gives the status and what was logged.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = wait_for("the process to end", || self.child.try_wait().unwrap());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An AMQP client that has opened its connection and then never says another word, not even when
/// the node closes: it keeps a draining node waiting for as long as a node waits.
pub(crate) fn silent_client(amqp: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(amqp).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // AMQP 2.2 and 2.7.1: the header, then an open with the container-id `c` on channel 0.
    stream.write_all(b"AMQP\x00\x01\x00\x00").unwrap();
    stream.write_all(b"\x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x10\xc0\x04\x01\xa1\x01c").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..8], b"AMQP\x00\x01\x00\x00");
    stream
}

/// Where the admin API of an announced node listens.
pub(crate) fn http_of(runtime: &Runtime) -> SocketAddr {
    address_of(runtime, Protocol::Http)
}

pub(crate) fn address_of(runtime: &Runtime, protocol: Protocol) -> SocketAddr {
    let listener = runtime.listeners.iter().find(|listener| listener.protocol == protocol).unwrap();
    SocketAddr::new(listener.host.parse().unwrap(), listener.port)
}

/// Asks again and again until there is something, or the deadline has passed.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
