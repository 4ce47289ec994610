//! The documents a user writes: `Fleet` and `Address` (and [`Bench`](crate::bench::Bench)), in YAML or JSON (camelCase, one dotted API
//! group). The admin API speaks the same `Address`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config;

/// The API group and version of every document.
pub const API_VERSION: &str = "mq.dev/v1";

/// What files may say in place of [`API_VERSION`].
pub const API_VERSION_SHORT: &str = "mq/v1";

/// The `kind` of an [`Address`].
pub const ADDRESS_KIND: &str = "Address";

/// The `kind` of a [`Fleet`].
pub const FLEET_KIND: &str = "Fleet";

/// Name and labels of a document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The object's name, unique among the objects of its kind. Of an address: what clients send to
    /// and receive from, 1 to 255 bytes, levels separated by `/`, no wildcards. Of a fleet or a
    /// load test: 1 to 63 of `a` to `z`, `0` to `9` and `-`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Notes of the user, such as `team: heating`; mq stores them and shows them. At most 64, keys
    /// of 128 and values of 256 bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An address: a name that messages are sent to and received from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Address`.
    #[schemars(extend("const" = ADDRESS_KIND))]
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted of the address.
    pub spec: AddressSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AddressStatus>,
}

/// What a user wants of an address. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressSpec {
    /// Who gets a message.
    #[serde(rename = "type")]
    pub kind: AddressType,
    /// What happens when a consumer is slower than its producers. Default: `block`.
    #[schemars(extend("default" = "block"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_consumer: Option<SlowConsumer>,
    /// Limits of this address.
    #[serde(default, skip_serializing_if = "AddressLimits::is_empty")]
    pub limits: AddressLimits,
    /// How long messages wait for a consumer.
    #[serde(default, skip_serializing_if = "Ttl::is_empty")]
    pub ttl: Ttl,
    /// Priority of every message of this address, 0 (last) to 9, in place of the message's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9))]
    pub priority: Option<u8>,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressType {
    /// One consumer, the least busy; the producer learns that consumer's outcome.
    Anycast,
    /// Every consumer that is online; the producer learns the worst outcome of all.
    Multicast,
}

/// What happens to a consumer that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SlowConsumer {
    /// Producers get no further credit until the slowest consumer has caught up.
    #[default]
    Block,
    /// Pre-settled messages beyond the limit are dropped, oldest first, and counted.
    Drop,
    /// The consumer's link is closed with `amqp:resource-limit-exceeded`.
    Disconnect,
}

/// Limits of one address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressLimits {
    /// Producer links; more are refused. 1 to 1,000,000. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_producers: Option<u32>,
    /// Consumer links; more are refused. 1 to 1,000,000. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_consumers: Option<u32>,
    /// Bytes of a message; a larger one is refused. 1 to 1 TiB. Default: the node's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_message_size: Option<u64>,
    /// Credit of a producer: messages that it may have in flight. 1 to 10,000. Default: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub link_credit: Option<u32>,
    /// Messages waiting for one slow consumer before `slowConsumer` applies. 1 to 1,000,000.
    /// Default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1_000))]
    pub max_undelivered: Option<u32>,
}

/// Time to live of messages that wait for a consumer, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ttl {
    /// For messages that say none, in milliseconds. Default: they live for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub default_ms: Option<u32>,
    /// A message that says less gets this, in milliseconds. Default: no minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_ms: Option<u32>,
    /// A message that says more gets this, in milliseconds. Default: no maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_ms: Option<u32>,
}

/// What a node sees of an address.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressStatus {
    /// Whether every shard of the node serves the address as specified.
    pub ready: bool,
    pub producers: u64,
    pub consumers: u64,
    pub deliveries_in: u64,
    pub deliveries_out: u64,
    pub undelivered: u64,
    pub unsettled: u64,
    pub dropped: u64,
    pub expired: u64,
}

/// A fleet: where the daemons run and how they are configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fleet {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Fleet`.
    #[schemars(extend("const" = FLEET_KIND))]
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted of the fleet. Without it every field has its default.
    #[serde(default)]
    pub spec: FleetSpec,
}

/// What a user wants of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetSpec {
    /// Where the daemons run.
    pub target: Target,
    /// Threads of each daemon that own connections; 0 means one per core. At most 256.
    #[schemars(range(max = 256))]
    pub workers: u16,
    /// Where clients and the admin API reach the daemons.
    pub listeners: config::Listeners,
    /// What a client may use.
    #[serde(skip_serializing_if = "FleetLimits::is_empty")]
    pub limits: FleetLimits,
    /// What the daemons log, and how.
    pub log: config::Log,
    /// Seconds that a stopping node waits for unsettled deliveries. 0 to 3600. Default 10.
    #[schemars(range(max = 3_600), extend("default" = 10))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
}

/// Where the daemons of a fleet run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// On this machine, as processes of this user.
    #[default]
    Local,
}

/// What a client of a fleet may use; absent fields mean the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetLimits {
    /// Client connections of the node; more are refused. Default 100,000; 1 to 10,000,000.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Sessions of one connection. Default 256; 1 to 65,536.
    #[schemars(range(min = 1, max = 65_536), extend("default" = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Links of one session. Default 1,024; 1 to 65,536.
    #[schemars(range(min = 1, max = 65_536), extend("default" = 1_024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_links: Option<u32>,
    /// Bytes of a frame, header included. Default 16,384; 512 to 1,048,576.
    #[schemars(range(min = 512, max = 1_048_576), extend("default" = 16_384))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_frame_size: Option<u32>,
    /// Bytes that a session may hold in the node: received and not yet passed on. Default 16 MiB;
    /// 64 KiB to 1 GiB. The node's memory for one session stays below one and a half times this.
    #[schemars(range(min = 65_536, max = 1_073_741_824), extend("default" = 16_777_216))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_window: Option<u64>,
    /// Bytes of a message; 0 means no limit. Default 0: messages stream through. At most 1 TiB.
    #[schemars(range(max = 1_099_511_627_776_u64), extend("default" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<u64>,
    /// Credit of a producer on an address that does not say its own. Default 250; 1 to 10,000.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 250))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_credit: Option<u32>,
    /// Milliseconds without a frame after which a client is disconnected. Default 60,000;
    /// 0 (never) or 1,000 to 86,400,000.
    #[schemars(range(max = 86_400_000), extend("default" = 60_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u32>,
    /// Milliseconds that a client has to complete the opening handshake. Default 10,000;
    /// 100 to 600,000.
    #[schemars(range(min = 100, max = 600_000), extend("default" = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_timeout_ms: Option<u32>,
}

impl Address {
    /// An address document without labels and status.
    pub fn new(name: impl Into<String>, spec: AddressSpec) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: ADDRESS_KIND.into(),
            metadata: Metadata::named(name),
            spec,
            status: None,
        }
    }
}

impl AddressSpec {
    /// An address of this type with every default.
    pub fn new(kind: AddressType) -> Self {
        Self {
            kind,
            slow_consumer: None,
            limits: AddressLimits::default(),
            ttl: Ttl::default(),
            priority: None,
        }
    }
}

impl Fleet {
    /// A fleet document without labels.
    pub fn new(name: impl Into<String>, spec: FleetSpec) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: FLEET_KIND.into(),
            metadata: Metadata::named(name),
            spec,
        }
    }
}

impl Metadata {
    fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: BTreeMap::new() }
    }
}

impl FleetLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddressLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Ttl {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
