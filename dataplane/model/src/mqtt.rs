//! What a daemon allows MQTT clients: the section `mqtt` of its configuration, and of a fleet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What MQTT clients may use, and what becomes of their sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Mqtt {
    /// Whether the node serves the topic `#`: every name that no address of its own serves,
    /// but for names that begin with `$`. Without it clients reach declared addresses only. Default true.
    pub catch_all: bool,
    /// The highest quality of service that a client may publish with or be granted. Default 2.
    #[schemars(range(max = 2))]
    pub max_qos: u8,
    /// Publications of QoS 1 and 2 that a client may have under way before it waits for an
    /// acknowledgement. Default 1,024; 1 to 65,535.
    #[schemars(range(min = 1))]
    pub receive_maximum: u16,
    /// Bytes of a packet of a client, header included; a larger one ends the connection. Default
    /// 1 MiB; 1 KiB to 256 MiB.
    #[schemars(range(min = 1_024, max = 268_435_456))]
    pub max_packet_size: u32,
    /// Topic aliases that each side of a connection may set up. Default 64; 0 (none) to 65,535.
    pub topic_alias_maximum: u16,
    /// The longest keep alive in seconds: a client that asks for more, or for none, is told this one.
    /// Default 0: each client has its own. At most 65,535.
    pub keep_alive_max: u16,
    /// Seconds that a session may outlive its connection; a client that asks for more is told this,
    /// and one of MQTT 3.1.1 that asks for a lasting session gets it. Default 4,294,967,295: for ever.
    pub session_expiry_max: u32,
    /// What waits for a client, in its session.
    pub session: MqttSession,
    /// Subscriptions of a session; more are refused. Default 10,000; 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_subscriptions: u32,
    /// Retained messages that each worker keeps; more are refused. Default 1,000,000;
    /// 0 (none may be retained) to 100,000,000.
    #[schemars(range(max = 100_000_000))]
    pub max_retained: u32,
}

/// What may wait for a client of MQTT: messages beyond those that it has and has not acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct MqttSession {
    /// Messages that may wait before `on-full` applies. Default 10,000; 1 to 1,000,000,000.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_messages: u64,
    /// Bytes of messages that may wait before `on-full` applies. Default 16 MiB; 1 KiB to 1 PiB.
    #[schemars(range(min = 1_024, max = 1_125_899_906_842_624_u64))]
    pub max_bytes: u64,
    /// What happens to one more. Default: `drop-oldest`.
    pub on_full: SessionFull,
}

/// What happens to a message for a session that is full. What is dropped is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionFull {
    /// The messages that have waited longest make room for it.
    #[default]
    DropOldest,
    /// It is dropped; what waits already stays.
    DropNewest,
    /// It is dropped, and the client is disconnected (`0x97`, quota exceeded).
    Disconnect,
}

/// What MQTT clients of a fleet may use; absent fields mean the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetMqtt {
    /// Whether the fleet serves the topic `#`: every name that no address of its own serves,
    /// but for names that begin with `$`. Without it clients reach declared addresses only. Default true.
    #[schemars(extend("default" = true))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_all: Option<bool>,
    /// The highest quality of service that a client may publish with or be granted. Default 2.
    #[schemars(range(max = 2), extend("default" = 2))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_qos: Option<u8>,
    /// Publications of QoS 1 and 2 that a client may have under way before it waits for an
    /// acknowledgement. Default 1,024; 1 to 65,535.
    #[schemars(range(min = 1), extend("default" = 1_024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_maximum: Option<u16>,
    /// Bytes of a packet of a client, header included; a larger one ends the connection. Default
    /// 1 MiB; 1 KiB to 256 MiB.
    #[schemars(range(min = 1_024, max = 268_435_456), extend("default" = 1_048_576))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_packet_size: Option<u32>,
    /// Topic aliases that each side of a connection may set up. Default 64; 0 (none) to 65,535.
    #[schemars(extend("default" = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_alias_maximum: Option<u16>,
    /// The longest keep alive in seconds: a client that asks for more, or for none, is told this one.
    /// Default 0: each client has its own. At most 65,535.
    #[schemars(extend("default" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive_max: Option<u16>,
    /// Seconds that a session may outlive its connection; a client that asks for more is told this,
    /// and one of MQTT 3.1.1 that asks for a lasting session gets it. Default 4,294,967,295: for ever.
    #[schemars(extend("default" = 4_294_967_295_u32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry_max: Option<u32>,
    /// What waits for a client, in its session.
    #[serde(skip_serializing_if = "FleetMqttSession::is_empty")]
    pub session: FleetMqttSession,
    /// Subscriptions of a session; more are refused. Default 10,000; 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<u32>,
    /// Retained messages that each worker of a daemon keeps; more are refused. Default 1,000,000;
    /// 0 (none may be retained) to 100,000,000.
    #[schemars(range(max = 100_000_000), extend("default" = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retained: Option<u32>,
}

/// What may wait for a client of MQTT: messages beyond those that it has and has not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetMqttSession {
    /// Messages that may wait before `onFull` applies. Default 10,000; 1 to 1,000,000,000.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<u64>,
    /// Bytes of messages that may wait before `onFull` applies. Default 16 MiB; 1 KiB to 1 PiB.
    #[schemars(range(min = 1_024, max = 1_125_899_906_842_624_u64), extend("default" = 16_777_216))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// What happens to one more. Default: `drop-oldest`.
    #[schemars(extend("default" = "drop-oldest"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_full: Option<SessionFull>,
}

impl Mqtt {
    /// The daemon's defaults with what the fleet says in their place.
    pub(crate) fn from_fleet(fleet: &FleetMqtt) -> Self {
        let default = Self::default();
        let session = &fleet.session;
        Self {
            catch_all: fleet.catch_all.unwrap_or(default.catch_all),
            max_qos: fleet.max_qos.unwrap_or(default.max_qos),
            receive_maximum: fleet.receive_maximum.unwrap_or(default.receive_maximum),
            max_packet_size: fleet.max_packet_size.unwrap_or(default.max_packet_size),
            topic_alias_maximum: fleet.topic_alias_maximum.unwrap_or(default.topic_alias_maximum),
            keep_alive_max: fleet.keep_alive_max.unwrap_or(default.keep_alive_max),
            session_expiry_max: fleet.session_expiry_max.unwrap_or(default.session_expiry_max),
            session: MqttSession {
                max_messages: session.max_messages.unwrap_or(default.session.max_messages),
                max_bytes: session.max_bytes.unwrap_or(default.session.max_bytes),
                on_full: session.on_full.unwrap_or(default.session.on_full),
            },
            max_subscriptions: fleet.max_subscriptions.unwrap_or(default.max_subscriptions),
            max_retained: fleet.max_retained.unwrap_or(default.max_retained),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            catch_all: true,
            max_qos: 2,
            receive_maximum: 1_024,
            max_packet_size: 1 << 20,
            topic_alias_maximum: 64,
            keep_alive_max: 0,
            session_expiry_max: u32::MAX,
            session: MqttSession::default(),
            max_subscriptions: 10_000,
            max_retained: 1_000_000,
        }
    }
}

impl Default for MqttSession {
    fn default() -> Self {
        Self { max_messages: 10_000, max_bytes: 16 << 20, on_full: SessionFull::DropOldest }
    }
}

impl FleetMqtt {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FleetMqttSession {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
