//! MQTT clients written by others, led by a test; and the broker that they meet.
//!
//! `MQ_TESTS_REFERENCE=mosquitto` lets the scenarios meet mosquitto instead of `mqd`: what fails there is
//! a question to the test, or a difference that has to be there by right.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::{Daemon, DaemonBuilder};
use crate::foreign::{Library, Peer, merge, text};
use crate::wait::eventually;

/// A topic of no test's interest.
const NOWHERE: &str = "has/nothing/at/all";

/// A client library and the version of MQTT that it is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub library: Library,
    pub is_v5: bool,
}

impl Dialect {
    pub const PAHO_5: Self = Self { library: Library::Paho, is_v5: true };
    pub const PAHO_3: Self = Self { library: Library::Paho, is_v5: false };
    pub const MQTT_JS_5: Self = Self { library: Library::MqttJs, is_v5: true };
    pub const MQTT_JS_3: Self = Self { library: Library::MqttJs, is_v5: false };
    pub const ALL: [Self; 4] = [Self::PAHO_5, Self::PAHO_3, Self::MQTT_JS_5, Self::MQTT_JS_3];
}

/// A broker: `mqd`, or the one that it is compared with.
#[derive(Debug)]
pub enum Broker {
    Mqd(Box<Daemon>),
    Mosquitto(Mosquitto),
}

/// A mosquitto with a folder of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Mosquitto {
    child: Child,
    folder: TempDir,
    server: SocketAddr,
}

impl Broker {
    /// A broker as it ships.
    ///
    /// # Panics
    /// When it does not serve in time.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(Daemon::builder())
    }

    /// A broker with a configuration of its own, if it is `mqd`.
    ///
    /// # Panics
    /// When it does not serve in time.
    #[track_caller]
    pub fn start_with(builder: DaemonBuilder) -> Self {
        if is_reference() {
            let folder = TempDir::with_prefix("mq-tests-").expect("a temporary folder can be made");
            return Self::Mosquitto(Mosquitto::start(folder));
        }
        Self::Mqd(Box::new(builder.start()))
    }

    /// Where MQTT clients connect.
    pub fn server(&self) -> SocketAddr {
        match self {
            Self::Mqd(daemon) => daemon.mqtt(),
            Self::Mosquitto(mosquitto) => mosquitto.server,
        }
    }

    /// Where clients of MQTT over WebSocket connect.
    pub fn websocket(&self) -> SocketAddr {
        match self {
            Self::Mqd(daemon) => daemon.http(),
            Self::Mosquitto(mosquitto) => SocketAddr::new(mosquitto.server.ip(), mosquitto.server.port() + 1),
        }
    }

    /// The daemon.
    ///
    /// # Panics
    /// When it is another broker: only tests of what all brokers have may meet one.
    #[track_caller]
    pub fn daemon(&self) -> &Daemon {
        match self {
            Self::Mqd(daemon) => daemon,
            Self::Mosquitto(_) => panic!("this test is about mqd"),
        }
    }

    /// Ends the process without warning, and starts another one with the same state. The one that we
    /// compare with is let end as it likes: otherwise it keeps nothing.
    ///
    /// # Panics
    /// When the new one does not serve.
    #[must_use]
    #[track_caller]
    pub fn crash_and_restart(self) -> Self {
        match self {
            Self::Mqd(daemon) => Self::Mqd(Box::new(daemon.crash_and_restart())),
            Self::Mosquitto(mosquitto) => Self::Mosquitto(mosquitto.restart()),
        }
    }
}

/// Whether the scenarios meet another broker.
pub fn is_reference() -> bool {
    std::env::var("MQ_TESTS_REFERENCE").is_ok_and(|name| name == "mosquitto")
}

impl Mosquitto {
    #[track_caller]
    fn start(folder: TempDir) -> Self {
        let probe = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let server = probe.local_addr().expect("a socket has an address");
        drop(probe);
        let path = folder.path().join("mosquitto.conf");
        let (state, port) = (folder.path().display(), server.port());
        let text = format!(
            "user root\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\npersistence true\npersistence_location {state}/\n\
             listener {port} 127.0.0.1\nlistener {} 127.0.0.1\nprotocol websockets\n",
            port + 1
        );
        fs::write(&path, text).expect("the temporary folder can be written");
        let log = fs::File::create(folder.path().join("log")).expect("the temporary folder can be written");
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("mosquitto is installed");
        let mosquitto = Self { child, folder, server };
        eventually("a mosquitto that serves", || TcpStream::connect(server).ok());
        mosquitto
    }

    fn restart(mut self) -> Self {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is alive");
        self.child.wait().expect("it can be waited for");
        let empty = TempDir::new().expect("a temporary folder can be made");
        Self::start(std::mem::replace(&mut self.folder, empty))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message as a client got it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The name under which it is acknowledged.
    pub number: u64,
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u64,
    pub retain: bool,
    pub dup: bool,
    /// The packet identifier.
    pub id: u64,
    pub properties: Value,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A client, in another process.
#[derive(Debug)]
pub struct Client {
    peer: Peer,
    dialect: Dialect,
    /// What the broker said to the last connect.
    pub connack: Value,
}

impl Client {
    /// Starts a client that is not connected.
    ///
    /// # Panics
    /// When the library cannot be installed or started.
    #[track_caller]
    pub fn new(dialect: Dialect) -> Self {
        Self { peer: Peer::new(dialect.library), dialect, connack: Value::Null }
    }

    /// Starts a client and connects it, with a clean session.
    ///
    /// # Panics
    /// When it is not let in.
    #[track_caller]
    pub fn connect(dialect: Dialect, broker: &Broker, id: &str) -> Self {
        Self::connect_with(dialect, broker, json!({ "client_id": id }))
    }

    /// Starts a client and connects it with options: see `do_connect` in
    /// `tests/clients/mqtt-python/peer.py`.
    ///
    /// # Panics
    /// When it is not let in.
    #[track_caller]
    pub fn connect_with(dialect: Dialect, broker: &Broker, options: Value) -> Self {
        let mut client = Self::new(dialect);
        client.connect_again(broker, options);
        client
    }

    /// Starts a client whose session outlasts its connection by an hour.
    ///
    /// # Panics
    /// When it is not let in.
    #[track_caller]
    pub fn persistent(dialect: Dialect, broker: &Broker, id: &str) -> Self {
        Self::connect_with(dialect, broker, lasting(dialect, id))
    }

    /// Connects a client that is not connected.
    ///
    /// # Panics
    /// When it is not let in.
    #[track_caller]
    pub fn connect_again(&mut self, broker: &Broker, options: Value) {
        let connack = self.try_connect(broker, options);
        assert_eq!(connack["reason"], 0, "{connack}");
    }

    /// Connects and returns the answer, whatever it is.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn try_connect(&mut self, broker: &Broker, options: Value) -> Value {
        let is_websocket = options["websocket"] == true;
        let server = if is_websocket { broker.websocket() } else { broker.server() };
        self.try_connect_at(server, options)
    }

    /// The same at an address, where one of several nodes listens.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn try_connect_at(&mut self, server: SocketAddr, options: Value) -> Value {
        let version = if self.dialect.is_v5 { 5 } else { 4 };
        let mut command =
            json!({ "do": "connect", "host": server.ip(), "port": server.port(), "version": version });
        merge(&mut command, options);
        self.peer.order(command);
        self.connack = self.peer.expect("connected", "");
        self.connack.clone()
    }

    /// Subscribes to one filter and expects it granted.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let reasons = self.subscribe_with(json!([[filter, { "qos": qos }]]), None);
        assert_eq!(reasons, [u64::from(qos)], "{filter}");
    }

    /// Subscribes and returns the reason codes. `filters` are pairs of filter and options: `qos`,
    /// `no_local`, `retain_as_published`, `retain_handling`.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn subscribe_with(&mut self, filters: Value, identifier: Option<u32>) -> Vec<u64> {
        self.peer.order(json!({ "do": "subscribe", "filters": filters, "identifier": identifier }));
        numbers(&self.peer.expect("subscribed", "")["reasons"])
    }

    /// Unsubscribes and returns the reason codes; MQTT 3.1.1 has none.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<u64> {
        self.peer.order(json!({ "do": "unsubscribe", "filters": filters }));
        numbers(&self.peer.expect("unsubscribed", "")["reasons"])
    }

    /// Publishes a text and waits until it is acknowledged, as its QoS demands; returns the reason code:
    /// 0 also for 0x10, which says that nobody subscribes.
    ///
    /// # Panics
    /// When it is not acknowledged.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &str, qos: u8) -> u64 {
        self.publish_with(topic, payload, json!({ "qos": qos }))
    }

    /// Publishes with options: `qos`, `retain`, `properties`.
    ///
    /// # Panics
    /// When it is not acknowledged.
    #[track_caller]
    pub fn publish_with(&mut self, topic: &str, payload: &str, options: Value) -> u64 {
        self.start_publishing(topic, payload, options);
        self.published()
    }

    /// Publishes and waits for nothing. `count` publishes so many, with their numbers as payload when it is
    /// empty.
    ///
    /// # Panics
    /// When the client is gone.
    #[track_caller]
    pub fn start_publishing(&mut self, topic: &str, payload: &str, options: Value) {
        let mut command =
            json!({ "do": "publish", "topic": topic, "payload": hexadecimal(payload.as_bytes()) });
        merge(&mut command, options);
        self.peer.order(command);
    }

    /// Waits for the next acknowledgement of a publication; 0 also for 0x10.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn published(&mut self) -> u64 {
        // MQTT 3.4.2.1: a broker may say that there are no matching subscribers.
        let reason = self.acknowledged();
        if reason == 0x10 { 0 } else { reason }
    }

    /// Waits for the next acknowledgement of a publication: the reason as it came.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn acknowledged(&mut self) -> u64 {
        let event = self.peer.expect("published", "");
        event["reason"].as_u64().unwrap_or_else(|| panic!("{event}"))
    }

    /// Waits for the next message.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        message(&self.peer.expect("message", ""))
    }

    /// Waits for the next message and returns its payload as text.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn text(&mut self) -> String {
        self.message().text()
    }

    /// Proves that nothing else has come: what the client sends itself now over this topic, which none of
    /// its other subscriptions may match, is the next message it gets.
    ///
    /// # Panics
    /// When something has come.
    #[track_caller]
    pub fn has_nothing(&mut self) {
        self.subscribe(NOWHERE, 0);
        self.start_publishing(NOWHERE, "else", json!({}));
        self.published();
        let message = self.message();
        assert_eq!(message.topic, NOWHERE, "{message:?}");
        self.unsubscribe(&[NOWHERE]);
    }

    /// Acknowledges a message of a client that holds them.
    #[track_caller]
    pub fn acknowledge(&mut self, message: &Message) {
        self.peer.order(json!({ "do": "acknowledge", "number": message.number }));
    }

    /// Disconnects and waits for the end.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn disconnect(&mut self) {
        self.disconnect_with(json!({}));
    }

    /// Disconnects with a `reason` or `properties`.
    ///
    /// # Panics
    /// When the connection does not end.
    #[track_caller]
    pub fn disconnect_with(&mut self, options: Value) {
        let mut command = json!({ "do": "disconnect" });
        merge(&mut command, options);
        self.peer.order(command);
        self.disconnected();
    }

    /// Ends the connection without a word.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn cut(&mut self) {
        self.peer.order(json!({ "do": "cut" }));
        self.disconnected();
    }

    /// Waits for the end of the connection: what the broker said, if it did.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn disconnected(&mut self) -> Value {
        self.peer.expect("disconnected", "")
    }

    /// Ends the client's process: the socket closes.
    pub fn kill(self) {
        drop(self);
    }

    /// A property of the last CONNACK.
    pub fn granted(&self, property: &str) -> &Value {
        &self.connack["properties"][property]
    }

    /// Whether the broker knew the session at the last connect.
    pub fn session_present(&self) -> bool {
        self.connack["session_present"] == true
    }
}

/// Options of a connection whose session outlasts it by an hour.
pub fn lasting(dialect: Dialect, id: &str) -> Value {
    let properties = if dialect.is_v5 { json!({ "session_expiry": 3_600 }) } else { json!({}) };
    json!({ "client_id": id, "clean": false, "properties": properties })
}

fn message(event: &Value) -> Message {
    let number = |field: &str| event[field].as_u64().unwrap_or_else(|| panic!("no {field} in {event}"));
    Message {
        number: number("number"),
        topic: text(event, "topic").to_owned(),
        payload: bytes(text(event, "payload")),
        qos: number("qos"),
        retain: event["retain"] == true,
        dup: event["dup"] == true,
        id: number("id"),
        properties: event["properties"].clone(),
    }
}

fn numbers(values: &Value) -> Vec<u64> {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_u64).collect()
}

/// Bytes as hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from hexadecimal digits.
///
/// # Panics
/// When they are something else.
#[track_caller]
pub fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// The folder of a program of Debian's mosquitto-clients; `None`, and a note, when it is not installed.
pub fn mosquitto_client(name: &str) -> Option<Command> {
    let found = ["/usr/bin", "/usr/local/bin"].iter().map(|folder| PathBuf::from(folder).join(name));
    let path = found.into_iter().find(|path| path.exists());
    if path.is_none() {
        crate::daemon::report(&format!("left out: {name} is not installed (Debian: mosquitto-clients)"));
    }
    path.map(Command::new)
}
