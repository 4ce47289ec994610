//! The documents a user writes: `Fleet` and `Address` (and [`Bench`](crate::bench::Bench)), in YAML or JSON (camelCase, one dotted API
//! group). The admin API speaks the same `Address`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::authentication::FleetAuthentication;
use crate::config::{self, ListenerTls};
use crate::dataplane::Dataplane;
pub use crate::kubernetes::KubernetesTarget;
pub use crate::mesh::{FleetLink, FleetMesh};
pub use crate::mqtt::{FleetMqtt, FleetMqttSession};
use crate::space::DEFAULT_SPACE;
pub use crate::target::{SshHost, SshTarget, Supervision, Target};
pub use crate::tls::FleetTls;

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
    /// and receive from, 1 to 255 bytes, levels separated by `/`, no wildcards; of a subscription its
    /// topic, `::` and a name of its own; of the topic for every name that nothing else serves `#`.
    /// Of a fleet, a load test, an address space or a profile: 1 to 63 of `a` to `z`, `0` to `9` and `-`. Of a
    /// user or a role: 1 to 128 of `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_` and `-`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// The address space that the object is of. Of an address, a user or a role. Default: `default`.
    #[schemars(length(min = 1, max = 63), extend("default" = "default"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
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
    /// What happens when a consumer is slower than its producers. Of an anycast or multicast
    /// address. Default: `block`.
    #[schemars(extend("default" = "block"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_consumer: Option<SlowConsumer>,
    /// Which of the consumers that could take a message gets it, in a fleet of several nodes. Of an
    /// anycast address. Default: `balanced`.
    #[schemars(extend("default" = "balanced"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Limits of this address.
    #[serde(default, skip_serializing_if = "AddressLimits::is_empty")]
    pub limits: AddressLimits,
    /// What happens to a message for which `limits.maxMessages` or `limits.maxBytes` leaves no room.
    /// Of a queue, a topic (where it concerns each subscription) or a subscription. Default: `block`.
    #[schemars(extend("default" = "block"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnFull>,
    /// How long messages wait for a consumer. Not of a subscription, whose topic says it.
    #[serde(default, skip_serializing_if = "Ttl::is_empty")]
    pub ttl: Ttl,
    /// Priority of every message of this address, 0 (last) to 9, in place of the message's own. Not
    /// of a subscription, whose topic says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9))]
    pub priority: Option<u8>,
    /// Deliveries after which a message that no consumer has accepted goes to `deadLetter`, or is
    /// dropped and counted when there is none. Of a queue, topic or subscription. 1 to 1,000,000.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_deliveries: Option<u32>,
    /// How long a message waits before it is delivered again. Of a queue, topic or subscription.
    #[serde(default, skip_serializing_if = "Redelivery::is_empty")]
    pub redelivery: Redelivery,
    /// The address that gets rejected messages and those that were delivered `maxDeliveries` times;
    /// annotations say where they come from and why. Of a queue, topic or subscription. Default:
    /// they are dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub dead_letter: Option<String>,
    /// The address that gets messages whose time to live has run out. Of a queue, topic or
    /// subscription. Default: they are dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub expiry_address: Option<String>,
    /// Whether all messages go to one consumer, the one that came first, as long as it stays. Of a
    /// queue or subscription.
    #[schemars(extend("default" = false))]
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// Whether messages with one group-id go to one consumer, one group after another consumer's. Of
    /// a queue or subscription.
    #[schemars(extend("default" = false))]
    #[serde(default, skip_serializing_if = "is_false")]
    pub message_groups: bool,
    /// Whether a message replaces the waiting one with the same key, the annotation or application
    /// property `x-opt-last-value-key`. Of a queue or subscription.
    #[schemars(extend("default" = false))]
    #[serde(default, skip_serializing_if = "is_false")]
    pub last_value: bool,
    /// Drops a message whose message-id was there before; its producer is told that it was accepted,
    /// as it was the first time. Of a queue. `{}` means on, with the defaults. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication: Option<Deduplication>,
    /// Parts of a queue that are stored each by itself, on several nodes and cores: a queue can then store
    /// more than one core does. Messages with one group-id (or one last-value key, or one message-id with
    /// `deduplication`) go to one shard and keep their order; others go to the shards in turn, and their
    /// order holds within a shard. Limits are divided among the shards. When there are more later, or
    /// fewer, what a shard that goes still holds goes to the others; groups that get another shard may
    /// get messages from before and after the change out of order. Not to be changed with `lastValue`.
    /// 1 to 64. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64), extend("default" = 1))]
    pub shards: Option<u16>,
    /// Which messages of its topic a subscription gets. Default: all.
    #[serde(default, skip_serializing_if = "SubscriptionFilter::is_empty")]
    pub subscription: SubscriptionFilter,
}

/// Shards that a queue may have.
pub const MAX_SHARDS: u16 = 64;

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressType {
    /// One consumer, the least busy; the producer learns that consumer's outcome.
    Anycast,
    /// Every consumer that is online; the producer learns the worst outcome of all.
    Multicast,
    /// Stored, then one consumer, first in, first out; the producer learns that it is stored.
    Queue,
    /// Stored for every subscription; a durable one gets it later when it is offline now.
    Topic,
    /// A durable subscription of a topic that is always there; its consumers share the messages.
    Subscription,
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

/// Which consumers of a fleet are served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// The least busy consumer. One on another node counts as busier by the cost of the path to it, so
    /// messages leave their node when its own consumers fall behind by more than that.
    #[default]
    Balanced,
    /// The consumers of the node that the message came to; those of other nodes only while it has none
    /// that can take one, the nearest node first.
    Closest,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Producers get no further credit until there is room.
    #[default]
    Block,
    /// The message is rejected with `amqp:resource-limit-exceeded`.
    Reject,
    /// The oldest messages that no consumer holds are dropped and counted.
    DropOldest,
}

/// How long a message waits before it is delivered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redelivery {
    /// Milliseconds after the first delivery that failed. At most a day. Default 0: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86_400_000), extend("default" = 0))]
    pub delay_ms: Option<u32>,
    /// What each further delay is multiplied with, in hundredths at the finest. 1 to 100. Default 1:
    /// every delay is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 100.0), extend("default" = 1.0))]
    pub multiplier: Option<f64>,
    /// The longest delay, in milliseconds. 1 to 30 days. Default: an hour, or `delayMs` when that is
    /// longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000_000_u32))]
    pub max_delay_ms: Option<u32>,
}

/// How duplicates are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deduplication {
    /// Milliseconds for which a message-id is remembered. 1 second to 30 days. Default 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 2_592_000_000_u32), extend("default" = 600_000))]
    pub window_ms: Option<u32>,
    /// Message-ids that are remembered at once; beyond it the oldest is forgotten. 1 to 10,000,000.
    /// Default 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    pub max_ids: Option<u32>,
}

/// Which messages of its topic a subscription gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionFilter {
    /// The names that messages were sent to, with `+` for one level and `#` for all further ones,
    /// such as `events/+/temperature`; the topic's name comes first. Default: every name of the
    /// topic, whatever its levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub filter: Option<String>,
    /// A condition on properties in the language of JMS selectors, such as `region = 'eu' AND
    /// weight > 5`. At most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4_096))]
    pub selector: Option<String>,
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
    /// Messages waiting for one slow consumer before `slowConsumer` applies. Of an anycast or
    /// multicast address. 1 to 1,000,000. Default 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1_000))]
    pub max_undelivered: Option<u32>,
    /// Messages that may be stored before `onFull` applies. Of a queue, a topic (for each of its
    /// subscriptions) or a subscription. 1 to 1,000,000,000. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_messages: Option<u64>,
    /// Bytes of messages that may be stored before `onFull` applies. Of a queue, a topic (for each
    /// of its subscriptions) or a subscription. 1 to 1 PiB. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_125_899_906_842_624_u64))]
    pub max_bytes: Option<u64>,
}

/// Time to live of messages that wait for a consumer, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ttl {
    /// For messages that say none, in milliseconds. Default: they live for ever (in a queue or topic:
    /// for `maxMs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub default_ms: Option<u32>,
    /// A message that says less gets this, in milliseconds. Default: no minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_ms: Option<u32>,
    /// A message that says more gets this, in milliseconds; in a queue or topic without `defaultMs` also
    /// one that says none. Default: no maximum.
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
    /// Whether the node serves the address by itself: nobody has created it, and it cannot be deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub built_in: bool,
    /// The user of its space who has created it, towards whose `maxAddresses` it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The node that holds the messages of a queue, topic or subscription, in a fleet of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The node from which messages are still on their way to the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_from: Option<String>,
    /// Nodes that hold messages of the address and cannot be reached, or do not answer: what they hold is not
    /// known, and not counted here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable: Vec<String>,
    pub producers: u64,
    pub consumers: u64,
    pub deliveries_in: u64,
    pub deliveries_out: u64,
    pub undelivered: u64,
    pub unsettled: u64,
    pub dropped: u64,
    pub expired: u64,
    /// What a queue or subscription holds, and what the subscriptions of a topic hold together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// The subscriptions of a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<u64>,
    /// The shards of a queue that has several, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardStatus>,
}

/// One shard of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Which of the shards it is; the first one is 0.
    pub shard: u16,
    /// Whether its messages can be had: the node that holds them can be reached.
    pub ready: bool,
    /// The queue has it no more: what it still holds goes to the others.
    #[serde(default, rename = "leaving", skip_serializing_if = "is_false")]
    pub is_leaving: bool,
    /// The node that holds its messages, in a fleet of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The node from which messages are still on their way to the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_from: Option<String>,
    /// What it holds; left out while its home cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
}

/// What a queue holds, and what became of the messages that it held since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueStatus {
    /// Messages in the queue: available, acquired, delayed and storing ones.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that a consumer can have at once.
    pub available: u64,
    /// Messages that a consumer has and has not settled.
    pub acquired: u64,
    /// Messages that wait for their time: of scheduled delivery, or of the next attempt.
    pub delayed: u64,
    /// Messages on their way to the disk.
    pub storing: u64,
    /// Bytes of messages that are in memory; the rest is read from the disk when it is due.
    pub bytes_in_memory: u64,
    /// When the oldest message arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Messages taken over.
    pub enqueued: u64,
    /// Messages that a consumer has accepted.
    pub acknowledged: u64,
    /// Deliveries of a message that had been delivered before.
    pub redelivered: u64,
    /// Messages that have gone to the dead letter address, or were dropped for want of one.
    pub dead_lettered: u64,
    /// Messages whose time to live has run out.
    pub expired: u64,
    /// Messages dropped to make room, purged, or replaced by a later value.
    pub dropped: u64,
    /// Messages refused for want of room or of a working store.
    pub rejected: u64,
}

impl QueueStatus {
    /// Adds what another shard of the same queue holds.
    pub fn add(&mut self, other: &Self) {
        let Self {
            messages,
            bytes,
            available,
            acquired,
            delayed,
            storing,
            bytes_in_memory,
            oldest,
            enqueued,
            acknowledged,
            redelivered,
            dead_lettered,
            expired,
            dropped,
            rejected,
        } = other;
        self.messages += messages;
        self.bytes += bytes;
        self.available += available;
        self.acquired += acquired;
        self.delayed += delayed;
        self.storing += storing;
        self.bytes_in_memory += bytes_in_memory;
        self.oldest = [self.oldest, *oldest].into_iter().flatten().min();
        self.enqueued += enqueued;
        self.acknowledged += acknowledged;
        self.redelivered += redelivered;
        self.dead_lettered += dead_lettered;
        self.expired += expired;
        self.dropped += dropped;
        self.rejected += rejected;
    }
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
    /// What runs on the nodes. It stays what it is for as long as the fleet is there.
    #[serde(skip_serializing_if = "Dataplane::is_default")]
    pub dataplane: Dataplane,
    /// Daemons of the fleet, called `node-1`, `node-2` and so on. Each further one on a machine has the
    /// next port of every listener, unless that is 0. 1 to 1,000. Default: 1; over SSH, one for each host.
    #[schemars(range(min = 1, max = 1_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Threads of each daemon that own connections; 0 means one per core. At most 256.
    #[schemars(range(max = 256))]
    pub workers: u16,
    /// Where clients and the admin API reach the daemons.
    pub listeners: FleetListeners,
    /// What the daemons show to clients that speak TLS, and what they ask of them.
    #[serde(skip_serializing_if = "FleetTls::is_empty")]
    pub tls: FleetTls,
    /// Who is let in, and how.
    #[serde(skip_serializing_if = "FleetAuthentication::is_empty")]
    pub authentication: FleetAuthentication,
    /// What a client may use.
    #[serde(skip_serializing_if = "FleetLimits::is_empty")]
    pub limits: FleetLimits,
    /// What MQTT clients may use, and what becomes of their sessions.
    #[serde(skip_serializing_if = "FleetMqtt::is_empty")]
    pub mqtt: FleetMqtt,
    /// Where and how the daemons store the messages of queues and topics.
    #[serde(skip_serializing_if = "FleetStore::is_empty")]
    pub store: FleetStore,
    /// How the daemons are connected to each other.
    #[serde(skip_serializing_if = "FleetMesh::is_empty")]
    pub mesh: FleetMesh,
    /// What the daemons log, and how.
    pub log: config::Log,
    /// Seconds that a stopping node waits for unsettled deliveries. 0 to 3600. Default 10.
    #[schemars(range(max = 3_600), extend("default" = 10))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
}

/// The listeners of a fleet's daemons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetListeners {
    /// AMQP 1.0. Default 127.0.0.1:5672.
    pub amqp: FleetListener,
    /// MQTT 3.1.1 and 5.0. Default 127.0.0.1:1883.
    pub mqtt: FleetListener,
    /// The admin API, health and metrics, and MQTT over WebSocket at `/mqtt`. Default 127.0.0.1:8080.
    pub http: FleetListener,
    /// AMQP 1.0 over TLS, by custom on port 5671. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amqps: Option<FleetListener>,
    /// MQTT over TLS, by custom on port 8883. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtts: Option<FleetListener>,
    /// What `http` serves, over TLS, by custom on port 8443. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<FleetListener>,
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetListener {
    /// An IP address of the machine; `0.0.0.0` means every IPv4 address, `::` every address.
    #[serde(default = "config::default_host")]
    pub host: String,
    /// 0 picks a free port; `mq status` and the admin API say which.
    pub port: u16,
    /// Whether every connection begins with a header of the PROXY protocol (version 1 or 2) that
    /// says who the client is: set it when, and only when, a load balancer stands before the
    /// listener that writes it. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(extend("default" = false))]
    pub proxy_protocol: bool,
    /// Whether the nodes listen there at all. Default true.
    #[serde(default = "config::is_enabled", skip_serializing_if = "Clone::clone")]
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

/// Where and how the daemons of a fleet store messages; absent fields mean the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetStore {
    /// The folder of the log. A relative path starts at the node's state directory; below an
    /// absolute one each node has a folder of its name. Default `store`.
    #[schemars(length(min = 1, max = 4_096), extend("default" = "store"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// When a durable message counts as stored. Default: `fsync`.
    #[schemars(extend("default" = "fsync"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<config::Durability>,
    /// Milliseconds between two flushes with `relaxed` durability: what a crash of the machine may
    /// lose. Default 100; 1 to 60,000.
    #[schemars(range(min = 1, max = 60_000), extend("default" = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_interval_ms: Option<u32>,
    /// Bytes of one file of the log. Default 64 MiB; 1 MiB to 1 GiB.
    #[schemars(range(min = 1_048_576, max = 1_073_741_824), extend("default" = 67_108_864))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_size: Option<u64>,
    /// Bytes of stored messages that the node keeps in memory; the rest is read from the disk when it
    /// is due. Default 256 MiB; 1 MiB to 1 TiB.
    #[schemars(range(min = 1_048_576, max = 1_099_511_627_776_u64), extend("default" = 268_435_456))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of a message that is stored; a larger one is refused. At most half of
    /// the segment size. Default 16 MiB; 1 KiB to 512 MiB.
    #[schemars(range(min = 1_024, max = 536_870_912), extend("default" = 16_777_216))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<u64>,
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
            distribution: None,
            limits: AddressLimits::default(),
            on_full: None,
            ttl: Ttl::default(),
            priority: None,
            max_deliveries: None,
            redelivery: Redelivery::default(),
            dead_letter: None,
            expiry_address: None,
            exclusive: false,
            message_groups: false,
            last_value: false,
            deduplication: None,
            shards: None,
            subscription: SubscriptionFilter::default(),
        }
    }

    /// How many shards the address has: 1 unless it is a queue with more.
    pub fn shards(&self) -> u16 {
        self.shards.filter(|_| self.kind == AddressType::Queue).unwrap_or(1).clamp(1, MAX_SHARDS)
    }
}

impl AddressType {
    /// Whether messages of such an address are stored.
    pub fn is_stored(self) -> bool {
        matches!(self, Self::Queue | Self::Topic | Self::Subscription)
    }
}

impl Redelivery {
    /// The longest delay of an address that does not say.
    const DEFAULT_MAX_DELAY: Duration = Duration::from_secs(3_600);

    /// The delay after the first delivery that failed.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or(0).into())
    }

    /// What each further delay is multiplied with, in percent: 100 is the same delay each time.
    pub fn multiplier_percent(&self) -> u32 {
        // In range by the schema; the cast saturates for what never was checked.
        (self.multiplier.unwrap_or(1.0) * 100.0).round() as u32
    }

    /// The longest delay.
    pub fn max_delay(&self) -> Duration {
        let default = self.delay().max(Self::DEFAULT_MAX_DELAY);
        self.max_delay_ms.map_or(default, |millis| Duration::from_millis(millis.into()))
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Deduplication {
    /// How long a message-id is remembered.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms.unwrap_or(600_000).into())
    }

    /// How many message-ids are remembered at once.
    pub fn capacity(&self) -> u32 {
        self.max_ids.unwrap_or(100_000)
    }
}

impl SubscriptionFilter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FleetStore {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
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

impl FleetSpec {
    /// How many daemons the fleet has.
    pub fn nodes(&self) -> u32 {
        // More hosts than a fleet may have nodes are refused when it is validated.
        self.nodes.unwrap_or_else(|| u32::try_from(self.target.hosts().len()).unwrap_or(u32::MAX).max(1))
    }

    /// The names of the nodes, in order.
    pub fn node_names(&self) -> impl Iterator<Item = String> {
        (1..=self.nodes()).map(crate::mesh::node_name)
    }

    /// Whether the nodes are connected to each other, or a single one is ready for others.
    pub fn is_meshed(&self) -> bool {
        self.nodes() > 1 || !self.mesh.is_empty() || self.target.kubernetes().is_some()
    }
}

impl FleetListener {
    pub(crate) fn loopback(port: u16) -> Self {
        let host = config::default_host();
        Self { host, port, proxy_protocol: false, enabled: true, tls: None, space: None }
    }
}

impl Default for FleetListeners {
    fn default() -> Self {
        Self {
            amqp: FleetListener::loopback(5672),
            mqtt: FleetListener::loopback(1883),
            http: FleetListener::loopback(8080),
            amqps: None,
            mqtts: None,
            https: None,
        }
    }
}

impl Metadata {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The space of an address, a user or a role.
    pub fn space(&self) -> &str {
        self.space.as_deref().unwrap_or(DEFAULT_SPACE)
    }

    /// Says the space of an address, a user or a role.
    pub fn set_space(&mut self, space: &str) {
        self.space = (space != DEFAULT_SPACE).then(|| space.to_owned());
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
