//! The documents a user writes: `Fleet` and `Address`, in YAML or JSON (camelCase, one dotted API
//! group). The admin API speaks the same `Address`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config;

/// The API group and version of every document. `mq/v1` is accepted in files as a shorthand.
pub const API_VERSION: &str = "mq.dev/v1";

/// The `kind` of an [`Address`].
pub const ADDRESS_KIND: &str = "Address";

/// The `kind` of a [`Fleet`].
pub const FLEET_KIND: &str = "Fleet";

/// Name and labels of a document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// An address: a name that messages are sent to and received from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    pub api_version: String,
    /// Always `Address`.
    pub kind: String,
    pub metadata: Metadata,
    pub spec: AddressSpec,
    /// Written by the node, ignored when sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AddressStatus>,
}

/// What a user wants of an address. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressSpec {
    #[serde(rename = "type")]
    pub kind: AddressType,
    /// What happens when a consumer is slower than its producers. Default: `block`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_consumer: Option<SlowConsumer>,
    #[serde(default, skip_serializing_if = "AddressLimits::is_empty")]
    pub limits: AddressLimits,
    #[serde(default, skip_serializing_if = "Ttl::is_empty")]
    pub ttl: Ttl,
    /// Priority of every message of this address, 0 (last) to 9, in place of the message's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// Producer links. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_producers: Option<u32>,
    /// Consumer links. Default: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_consumers: Option<u32>,
    /// Bytes of a message. Default: the node's limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<u64>,
    /// Credit of a producer: messages that it may have in flight. 1 to 10,000. Default: the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_credit: Option<u32>,
    /// Messages waiting for one slow consumer before `slowConsumer` applies. 1 to 1,000,000.
    /// Default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_undelivered: Option<u32>,
}

/// Time to live of messages that wait for a consumer, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ttl {
    /// For messages that say none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ms: Option<u32>,
    /// A message may not say less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ms: Option<u32>,
    /// A message may not say more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub api_version: String,
    /// Always `Fleet`.
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: FleetSpec,
}

/// What a user wants of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetSpec {
    pub target: Target,
    /// Threads of each daemon that own connections; 0 means one per core. At most 256.
    pub workers: u16,
    pub listeners: config::Listeners,
    pub limits: FleetLimits,
    pub log: config::Log,
    /// Seconds that a stopping node waits for unsettled deliveries. 0 to 3600. Default 10.
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
    pub max_connections: Option<u32>,
    pub max_sessions: Option<u32>,
    pub max_links: Option<u32>,
    pub max_frame_size: Option<u32>,
    pub session_window: Option<u64>,
    pub max_message_size: Option<u64>,
    pub link_credit: Option<u32>,
    pub idle_timeout_ms: Option<u32>,
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
