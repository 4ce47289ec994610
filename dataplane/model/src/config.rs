//! The configuration file of `mqd` (YAML, kebab-case). `mq deploy` renders it, a person may write
//! it by hand, `mqd --check-config` validates it.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::authentication::{Authentication, Where};
use crate::dataplane::Dataplane;
use crate::kubernetes;
use crate::manifest::{Fleet, FleetLimits, FleetListener, FleetListeners, FleetSpec, FleetStore};
use crate::mesh;
pub use crate::mesh::{Mesh, MeshConnect, MeshListener, MeshTls};
pub use crate::mqtt::{Mqtt, MqttSession, SessionFull};
pub use crate::tls::{ClientCertificates, ListenerTls, Tls, TlsVersion};

/// One node's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DaemonConfig {
    /// The fleet's name: 1 to 63 of `a` to `z`, `0` to `9` and `-`.
    #[serde(default = "default_fleet")]
    pub fleet: String,
    /// The node's name, unique in the fleet; the AMQP container-id.
    #[serde(default = "default_node")]
    pub node: String,
    /// The folder in which the node keeps its state: configuration objects, lock, `node.json`. It is
    /// created when it does not exist; a relative path starts at the working directory.
    pub state_dir: PathBuf,
    /// What runs on the node; `mqd` takes nothing but `mqd`.
    #[serde(default, skip_serializing_if = "Dataplane::is_default")]
    pub dataplane: Dataplane,
    /// Threads that own connections; 0 means one per core. At most 256.
    #[serde(default)]
    #[schemars(range(max = 256))]
    pub workers: u16,
    /// Where clients and the admin API reach the node.
    #[serde(default)]
    pub listeners: Listeners,
    /// What the node shows to clients that speak TLS, and what it asks of them. Needed when, and only when, a
    /// listener speaks TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who is let in, and how.
    #[serde(default)]
    pub authentication: Authentication,
    /// What a client may use.
    #[serde(default)]
    pub limits: Limits,
    /// What MQTT clients may use, and what becomes of their sessions.
    #[serde(default)]
    pub mqtt: Mqtt,
    /// Where and how the messages of queues and topics are stored.
    #[serde(default)]
    pub store: Store,
    /// The other nodes of the fleet. Default: the node is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Mesh>,
    /// Whether the node only passes on what clients send: the queues, topics and sessions of its clients are on
    /// other nodes of the fleet, as long as one can be reached. It takes a `mesh`. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub router: bool,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
    /// Seconds that a stopping node waits for unsettled deliveries. At most 3600.
    #[serde(default = "default_drain")]
    #[schemars(range(max = 3_600))]
    pub drain_seconds: u32,
}

/// The listeners of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Listeners {
    /// AMQP 1.0. Default 127.0.0.1:5672.
    pub amqp: ListenerConfig,
    /// MQTT 3.1.1 and 5.0. Default 127.0.0.1:1883.
    pub mqtt: ListenerConfig,
    /// The admin API, health and metrics, and MQTT over WebSocket at `/mqtt`. Default 127.0.0.1:8080.
    pub http: ListenerConfig,
    /// AMQP 1.0 over TLS, by custom on port 5671. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amqps: Option<ListenerConfig>,
    /// MQTT over TLS, by custom on port 8883. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<ListenerConfig>,
    /// What `http` serves, over TLS, by custom on port 8443. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<ListenerConfig>,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListenerConfig {
    /// An IP address of this machine; `0.0.0.0` means every IPv4 address, `::` every address.
    #[serde(default = "default_host")]
    pub host: String,
    /// 0 picks a free port; `node.json` and the admin API say which.
    pub port: u16,
    /// Whether every connection begins with a header of the PROXY protocol (version 1 or 2) that
    /// says who the client is: set it when, and only when, a load balancer stands before the
    /// listener that writes it. Default false.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether the node listens there at all. Default true.
    #[serde(default = "is_enabled", skip_serializing_if = "Clone::clone")]
    #[schemars(extend("default" = true))]
    pub enabled: bool,
    /// Whether clients speak TLS: `never`, `always`, or `optional`, where their first byte tells. Default:
    /// `always` for `amqps`, `mqtts` and `https`, which know nothing else, `never` for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// The address space that clients of the listener are in; who asks for another one there is refused. Default:
    /// the client says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub space: Option<String>,
}

/// What a client may use. Every limit has a hard upper bound, checked when the file is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections of the node; more are refused. Default 100,000; 1 to 10,000,000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: u32,
    /// Sessions of one connection. Default 256; 1 to 65,536.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_sessions: u32,
    /// Links of one session. Default 1,024; 1 to 65,536.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_links: u32,
    /// Bytes of a frame, header included. Default 16,384; 512 to 1,048,576.
    #[schemars(range(min = 512, max = 1_048_576))]
    pub max_frame_size: u32,
    /// Bytes that a session may hold in the node: received and not yet passed on. Default 16 MiB;
    /// 64 KiB to 1 GiB. The node's memory for one session stays below one and a half times this.
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub session_window: u64,
    /// Bytes of a message; 0 means no limit. Default 0: messages stream through. At most 1 TiB.
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub max_message_size: u64,
    /// Credit of a producer on an address that does not say its own. Default 250; 1 to 10,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub link_credit: u32,
    /// Milliseconds without a frame after which a client is disconnected. Default 60,000;
    /// 0 (never) or 1,000 to 86,400,000.
    #[schemars(range(max = 86_400_000))]
    pub idle_timeout_ms: u32,
    /// Milliseconds that a client has to complete the opening handshake. Default 10,000;
    /// 100 to 600,000.
    #[schemars(range(min = 100, max = 600_000))]
    pub handshake_timeout_ms: u32,
}

/// Where and how the messages of queues and topics are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Store {
    /// The folder of the log, created when it does not exist. A relative path starts at `state-dir`.
    /// Default `store`.
    #[schemars(length(min = 1, max = 4_096))]
    pub directory: PathBuf,
    /// When a durable message counts as stored. Default: `fsync`.
    pub durability: Durability,
    /// Milliseconds between two flushes with `relaxed` durability: what a crash of the machine may
    /// lose. Default 100; 1 to 60,000.
    #[schemars(range(min = 1, max = 60_000))]
    pub sync_interval_ms: u32,
    /// Bytes of one file of the log. Default 64 MiB; 1 MiB to 1 GiB.
    #[schemars(range(min = 1_048_576, max = 1_073_741_824))]
    pub segment_size: u64,
    /// Bytes of stored messages that the node keeps in memory; the rest is read from the disk when it
    /// is due. Default 256 MiB; 1 MiB to 1 TiB.
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_u64))]
    pub memory: u64,
    /// Bytes of a message that is stored; a larger one is refused. At most half of
    /// the segment size. Default 16 MiB; 1 KiB to 512 MiB.
    #[schemars(range(min = 1_024, max = 536_870_912))]
    pub max_message_size: u64,
}

/// When a durable message counts as stored, so that its producer is told "accepted".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When the disk has confirmed it (fdatasync): it survives the loss of power.
    #[default]
    Fsync,
    /// When the operating system has it: it survives the end of the daemon, `kill -9` included, but
    /// what came in the last sync interval does not survive a crash of the machine.
    Relaxed,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// `tracing` directives, such as `info` or `mqd::driver=debug,info`.
    pub filter: String,
    /// How log lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl DaemonConfig {
    /// The configuration without a file: one node of the fleet `default` on loopback, AMQP on 5672,
    /// MQTT on 1883, the admin API on 8080, every limit at its default.
    pub fn embedded(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            fleet: default_fleet(),
            node: default_node(),
            state_dir: state_dir.into(),
            dataplane: Dataplane::default(),
            workers: 0,
            listeners: Listeners::default(),
            tls: None,
            authentication: Authentication::default(),
            limits: Limits::default(),
            mqtt: Mqtt::default(),
            store: Store::default(),
            mesh: None,
            router: false,
            log: Log::default(),
            drain_seconds: default_drain(),
        }
    }

    /// The configuration of one node of a fleet. Ports count up from those of the first node of its machine.
    pub fn from_fleet(fleet: &Fleet, node: &str, state_dir: impl Into<PathBuf>) -> Self {
        let number = mesh::node_number(node).unwrap_or(1);
        let slot = fleet.spec.target.slot(number);
        let listeners = Listeners::of_spec(&fleet.spec).of_slot(slot);
        Self {
            fleet: fleet.metadata.name.clone(),
            node: node.to_owned(),
            state_dir: state_dir.into(),
            dataplane: fleet.spec.dataplane,
            workers: fleet.spec.workers,
            tls: Tls::from_fleet(&fleet.spec, number, listeners.speak_tls()),
            listeners,
            authentication: Authentication::from_fleet(&fleet.spec.authentication),
            limits: Limits::from_fleet(&fleet.spec.limits),
            mqtt: Mqtt::from_fleet(&fleet.spec.mqtt),
            store: Store::from_fleet(&fleet.spec.store, node),
            mesh: Mesh::from_fleet(fleet, number),
            router: false,
            log: fleet.spec.log.clone(),
            drain_seconds: fleet.spec.drain_seconds.unwrap_or_else(default_drain),
        }
    }

    /// The folder of the log: [`Store::directory`], below the state directory when it is relative.
    pub fn store_dir(&self) -> PathBuf {
        self.state_dir.join(&self.store.directory)
    }

    /// A fingerprint of the whole configuration: 16 hexadecimal digits, equal for two files that
    /// mean the same (comments, order and written-out defaults do not count). `mq deploy` restarts
    /// a node whose running fingerprint differs. It is FNV-1a over the JSON of every field: it finds
    /// changes, it does not protect against someone who wants a collision.
    pub fn hash(&self) -> String {
        // A path that is not UTF-8 has no JSON; the debug form is as unique.
        let text = serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}"));
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

impl Listeners {
    /// Those of the first node of a machine.
    pub(crate) fn of_spec(spec: &FleetSpec) -> Self {
        let mut listeners = Self::from_fleet(&spec.listeners);
        if spec.target.kubernetes().is_some() {
            listeners.https.get_or_insert_with(kubernetes::https);
        }
        listeners
    }

    fn from_fleet(fleet: &FleetListeners) -> Self {
        let FleetListeners { amqp, mqtt, http, amqps, mqtts, https } = fleet;
        let secure = |listener: &Option<FleetListener>| listener.as_ref().map(ListenerConfig::from);
        Self {
            amqp: amqp.into(),
            mqtt: mqtt.into(),
            http: http.into(),
            amqps: secure(amqps),
            mqtts: secure(mqtts),
            https: secure(https),
        }
    }

    /// The listeners of the node in this place on its machine, from those of the first one.
    fn of_slot(mut self, slot: u32) -> Self {
        let secure = [&mut self.amqps, &mut self.mqtts, &mut self.https].into_iter().flatten();
        for listener in [&mut self.amqp, &mut self.mqtt, &mut self.http].into_iter().chain(secure) {
            // A port that does not exist is refused when the fleet is validated.
            listener.port = mesh::node_port(listener.port, slot).unwrap_or(0);
        }
        self
    }

    /// Each listener that there is, with its name in the configuration.
    pub fn named(&self) -> Vec<(&'static str, &ListenerConfig)> {
        self.written().filter(|(_, listener)| listener.enabled).collect()
    }

    /// Each listener that is written down, those that are switched off among them.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&'static str, &ListenerConfig)> {
        let plain = [("amqp", &self.amqp), ("mqtt", &self.mqtt), ("http", &self.http)];
        let secure = [("amqps", &self.amqps), ("mqtts", &self.mqtts), ("https", &self.https)];
        let secure = secure.into_iter().filter_map(|(name, listener)| Some((name, listener.as_ref()?)));
        plain.into_iter().chain(secure)
    }

    /// Those whose clients say over TLS, and nothing else, where they want to go.
    pub fn passed_through(&self) -> impl Iterator<Item = (&'static str, &ListenerConfig)> {
        let is_secure = |(name, listener): &(&str, &ListenerConfig)| {
            listener.tls(name) == ListenerTls::Always && !listener.is_local() && name.ends_with('s')
        };
        self.named().into_iter().filter(is_secure)
    }

    /// Whether the clients of the listener of this name are on the machine of the daemon.
    pub fn is_local(&self, name: &str) -> bool {
        self.named().into_iter().any(|(known, listener)| known == name && listener.is_local())
    }

    /// The space that the clients of the listener of this name are in; `None`: they say it.
    pub fn space(&self, name: &str) -> Option<&str> {
        let named = self.written().find(|(known, _)| *known == name);
        named.and_then(|(_, listener)| listener.space.as_deref())
    }

    /// Whether the clients of some listener speak TLS.
    pub fn speak_tls(&self) -> bool {
        self.named().into_iter().any(|(name, listener)| !listener.tls(name).is_never())
    }
}

impl ListenerConfig {
    /// A port of the loopback interface.
    pub fn loopback(port: u16) -> Self {
        Self { host: default_host(), port, proxy_protocol: false, enabled: true, tls: None, space: None }
    }

    /// Whether the clients of the listener speak TLS, which has this name in the configuration.
    pub fn tls(&self, name: &str) -> ListenerTls {
        let default = if name.ends_with('s') { ListenerTls::Always } else { ListenerTls::Never };
        self.tls.unwrap_or(default)
    }

    /// Whether its clients are on the machine of the daemon: nobody else reaches a loopback address, unless a
    /// proxy does for him, of which the header tells.
    pub fn is_local(&self) -> bool {
        let ip = self.host.parse::<IpAddr>();
        ip.is_ok_and(|ip| ip.to_canonical().is_loopback()) && !self.proxy_protocol
    }
}

impl From<&FleetListener> for ListenerConfig {
    fn from(fleet: &FleetListener) -> Self {
        Self {
            host: fleet.host.clone(),
            port: fleet.port,
            proxy_protocol: fleet.proxy_protocol,
            enabled: fleet.enabled,
            tls: fleet.tls,
            space: fleet.space.clone(),
        }
    }
}

impl Limits {
    /// The daemon's defaults with what the fleet says in their place.
    fn from_fleet(fleet: &FleetLimits) -> Self {
        let default = Self::default();
        Self {
            max_connections: fleet.max_connections.unwrap_or(default.max_connections),
            max_sessions: fleet.max_sessions.unwrap_or(default.max_sessions),
            max_links: fleet.max_links.unwrap_or(default.max_links),
            max_frame_size: fleet.max_frame_size.unwrap_or(default.max_frame_size),
            session_window: fleet.session_window.unwrap_or(default.session_window),
            max_message_size: fleet.max_message_size.unwrap_or(default.max_message_size),
            link_credit: fleet.link_credit.unwrap_or(default.link_credit),
            idle_timeout_ms: fleet.idle_timeout_ms.unwrap_or(default.idle_timeout_ms),
            handshake_timeout_ms: fleet.handshake_timeout_ms.unwrap_or(default.handshake_timeout_ms),
        }
    }
}

impl Store {
    /// The daemon's defaults with what the fleet says in their place.
    fn from_fleet(fleet: &FleetStore, node: &str) -> Self {
        let default = Self::default();
        let directory = fleet.directory.as_ref().map(PathBuf::from);
        // Two nodes of one machine must not share a log.
        let own = |path: PathBuf| if path.is_absolute() { path.join(node) } else { path };
        Self {
            directory: directory.map_or(default.directory, own),
            durability: fleet.durability.unwrap_or(default.durability),
            sync_interval_ms: fleet.sync_interval_ms.unwrap_or(default.sync_interval_ms),
            segment_size: fleet.segment_size.unwrap_or(default.segment_size),
            memory: fleet.memory.unwrap_or(default.memory),
            max_message_size: fleet.max_message_size.unwrap_or(default.max_message_size),
        }
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            amqp: ListenerConfig::loopback(5672),
            mqtt: ListenerConfig::loopback(1883),
            http: ListenerConfig::loopback(8080),
            amqps: None,
            mqtts: None,
            https: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_sessions: 256,
            max_links: 1_024,
            max_frame_size: 16_384,
            session_window: 16 << 20,
            max_message_size: 0,
            link_credit: 250,
            idle_timeout_ms: 60_000,
            handshake_timeout_ms: 10_000,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            directory: "store".into(),
            durability: Durability::Fsync,
            sync_interval_ms: 100,
            segment_size: 64 << 20,
            memory: 256 << 20,
            max_message_size: 16 << 20,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Auto }
    }
}

fn default_fleet() -> String {
    "default".into()
}

fn default_node() -> String {
    "node-1".into()
}

pub(crate) fn default_host() -> String {
    "127.0.0.1".into()
}

pub(crate) fn is_enabled() -> bool {
    true
}

fn default_drain() -> u32 {
    10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_ignores_how_the_configuration_is_written() {
        let short = DaemonConfig::parse("a", "state-dir: s\n").expect("valid");
        let long = "# A comment.\ndrain-seconds: 10\nlog: { format: auto, filter: info }\nstate-dir: s\n";
        let long = DaemonConfig::parse("b", long).expect("valid");
        assert_eq!(short.hash(), long.hash());
        assert_eq!(short.hash(), DaemonConfig::embedded("s").hash());
    }

    fn provider() -> crate::oidc::OidcProvider {
        let text = r#"{"issuer":"https://id.example","audiences":["mq"]}"#;
        serde_json::from_str(text).expect("it says what it has to")
    }

    fn service() -> crate::delegation::HttpAuthentication {
        serde_json::from_str(r#"{"url":"https://auth.example"}"#).expect("it says what it has to")
    }

    #[test]
    fn the_hash_changes_with_every_field() {
        let base = DaemonConfig::embedded("s");
        let changes: [fn(&mut DaemonConfig); 39] = [
            |config| config.fleet.push('x'),
            |config| config.node.push('x'),
            |config| config.state_dir = "t".into(),
            |config| config.workers = 1,
            |config| config.listeners.amqp.port = 1,
            |config| config.listeners.http.host.push('0'),
            |config| config.listeners.mqtt.port = 1,
            |config| config.listeners.mqtt.proxy_protocol = true,
            |config| config.listeners.mqtt.enabled = false,
            |config| config.listeners.mqtt.tls = Some(ListenerTls::Optional),
            |config| config.listeners.amqps = Some(ListenerConfig::loopback(5671)),
            |config| config.tls = Tls::from_fleet(&FleetSpec::default(), 1, true),
            |config| {
                let tls = Tls::from_fleet(&FleetSpec::default(), 1, true);
                config.tls = tls.map(|tls| Tls { min_version: TlsVersion::Tls13, ..tls });
            },
            |config| config.authentication.anonymous = Where::Never,
            |config| config.authentication.plain_without_tls = Where::Never,
            |config| config.authentication.oidc.push(provider()),
            |config| config.authentication.http = Some(service()),
            |config| config.mqtt.catch_all = false,
            |config| config.mqtt.max_qos = 1,
            |config| config.mqtt.receive_maximum -= 1,
            |config| config.mqtt.max_packet_size -= 1,
            |config| config.mqtt.topic_alias_maximum = 0,
            |config| config.mqtt.keep_alive_max = 60,
            |config| config.mqtt.session_expiry_max = 60,
            |config| config.mqtt.session.max_messages -= 1,
            |config| config.mqtt.session.on_full = SessionFull::Disconnect,
            |config| config.mqtt.max_subscriptions -= 1,
            |config| config.mqtt.max_retained -= 1,
            |config| config.limits.max_links -= 1,
            |config| config.limits.handshake_timeout_ms -= 1,
            |config| config.store.directory = "log".into(),
            |config| config.store.durability = Durability::Relaxed,
            |config| config.store.sync_interval_ms += 1,
            |config| config.store.segment_size += 1,
            |config| config.store.memory += 1,
            |config| config.store.max_message_size += 1,
            |config| config.log.format = LogFormat::Json,
            |config| config.drain_seconds = 0,
            |config| config.router = true,
        ];
        let mut hashes = std::collections::HashSet::from([base.hash()]);
        for change in changes {
            let mut config = base.clone();
            change(&mut config);
            assert!(hashes.insert(config.hash()), "{config:?}");
        }
    }

    #[test]
    fn clients_of_a_loopback_address_are_local_unless_a_proxy_speaks_for_them() {
        let is_local = |host: &str, proxy_protocol| {
            ListenerConfig { host: host.into(), proxy_protocol, ..ListenerConfig::loopback(0) }.is_local()
        };
        for host in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(host, false) && !is_local(host, true), "{host}");
        }
        for host in ["0.0.0.0", "::", "10.0.0.1", "localhost"] {
            assert!(!is_local(host, false), "{host}");
        }
    }

    #[test]
    fn each_node_has_a_log_of_its_own() {
        let mut fleet = Fleet::new("f", FleetSpec::default());
        let directory = |fleet: &Fleet| DaemonConfig::from_fleet(fleet, "node-1", "/state").store_dir();
        assert_eq!(directory(&fleet), PathBuf::from("/state/store"));
        fleet.spec.store.directory = Some("log".into());
        assert_eq!(directory(&fleet), PathBuf::from("/state/log"));
        fleet.spec.store.directory = Some("/fast".into());
        assert_eq!(directory(&fleet), PathBuf::from("/fast/node-1"));
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        // When a field is added this number changes, and every node is restarted once by `mq deploy`.
        assert_eq!(DaemonConfig::embedded("/s").hash(), "3b3aab6639eeba1b");
    }
}
