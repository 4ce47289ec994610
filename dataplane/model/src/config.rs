//! The configuration file of `mqd` (YAML, kebab-case). `mq deploy` renders it, a person may write
//! it by hand, `mqd --check-config` validates it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One node's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DaemonConfig {
    /// The fleet's name.
    #[serde(default = "default_fleet")]
    pub fleet: String,
    /// The node's name, unique in the fleet; the AMQP container-id.
    #[serde(default = "default_node")]
    pub node: String,
    /// Where the node keeps its state: configuration objects, lock, `node.json`.
    pub state_dir: PathBuf,
    /// Threads that own connections; 0 means one per core. At most 256.
    #[serde(default)]
    pub workers: u16,
    #[serde(default)]
    pub listeners: Listeners,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub log: Log,
    /// Seconds that a stopping node waits for unsettled deliveries. At most 3600.
    #[serde(default = "default_drain")]
    pub drain_seconds: u32,
}

/// The listeners of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Listeners {
    pub amqp: ListenerConfig,
    pub http: ListenerConfig,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ListenerConfig {
    /// An IP address.
    #[serde(default = "default_host")]
    pub host: String,
    /// 0 picks a free port; `node.json` and the admin API say which.
    pub port: u16,
}

/// What a client may use. Every limit has a hard upper bound, checked when the file is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections of the node. Default 100,000.
    pub max_connections: u32,
    /// Sessions of one connection. Default 256, at most 65,536.
    pub max_sessions: u32,
    /// Links of one session. Default 1,024, at most 65,536.
    pub max_links: u32,
    /// Bytes of a frame, header included. Default 16,384; 512 to 1,048,576.
    pub max_frame_size: u32,
    /// Bytes that a session may hold in the node: received and not yet passed on. Default 16 MiB;
    /// 64 KiB to 1 GiB. The node's memory for one session stays below one and a half times this.
    pub session_window: u64,
    /// Bytes of a message; 0 means no limit. Default 0: messages stream through.
    pub max_message_size: u64,
    /// Credit of a producer on an address that does not say its own. Default 250; 1 to 10,000.
    pub link_credit: u32,
    /// Milliseconds without a frame after which a client is disconnected. Default 60,000;
    /// 0 (never) or 1,000 to 86,400,000.
    pub idle_timeout_ms: u32,
    /// Milliseconds that a client has to complete the opening handshake. Default 10,000;
    /// 100 to 600,000.
    pub handshake_timeout_ms: u32,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Log {
    /// `tracing` directives, such as `info` or `mqd::driver=debug,info`.
    pub filter: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            amqp: ListenerConfig { host: default_host(), port: 5672 },
            http: ListenerConfig { host: default_host(), port: 8080 },
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

fn default_host() -> String {
    "127.0.0.1".into()
}

fn default_drain() -> u32 {
    10
}
