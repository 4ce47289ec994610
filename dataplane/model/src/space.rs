//! Address spaces: tenants, with names, users and limits of their own.
//!
//! Inside the fleet a name of a space other than [`DEFAULT_SPACE`] stands below [`SPACE_PREFIX`], so that
//! everything that goes by names keeps spaces apart by itself. Clients and documents never see that form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::user::DEFAULT_SPACE;

/// What names inside the fleet begin with that are of a space: `$s/acme/telemetry` is `telemetry` of `acme`.
pub const SPACE_PREFIX: &str = "$s/";

/// The longest name of a space: one label of a host name (RFC 1035, 2.3.4).
pub const MAX_SPACE_NAME: usize = crate::MAX_NAME;

/// How much of everything a space, or one of its users, may take. What is absent has no limit of its own.
///
/// Limits hold for the fleet as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpaceLimits {
    /// Open connections of clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: Option<u32>,
    /// Sessions of AMQP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_sessions: Option<u32>,
    /// Links of AMQP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_links: Option<u32>,
    /// Bytes of one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_message_size: Option<u64>,
    /// Addresses, subscriptions that are declared among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_addresses: Option<u32>,
    /// Messages that wait in queues and subscriptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub max_stored_messages: Option<u64>,
    /// Bytes of the messages that wait in queues and subscriptions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_125_899_906_842_624_u64))]
    pub max_stored_bytes: Option<u64>,
    /// Messages that clients send in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_messages_per_second: Option<u64>,
    /// Bytes of the messages that clients send in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_u64))]
    pub max_bytes_per_second: Option<u64>,
    /// Sessions of MQTT, with and without a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_mqtt_sessions: Option<u32>,
    /// Subscriptions of clients, whichever protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_subscriptions: Option<u32>,
    /// Retained messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_retained_messages: Option<u32>,
}

impl SpaceLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a space takes in the fleet, as the node knows it that was asked: of the other nodes by their last word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SpaceUsage {
    /// Open connections of clients.
    pub connections: u64,
    /// Sessions of AMQP.
    pub sessions: u64,
    /// Links of AMQP.
    pub links: u64,
    /// Sessions of MQTT, with and without a client.
    pub mqtt_sessions: u64,
    /// Subscriptions of clients, whichever protocol.
    pub subscriptions: u64,
    /// Messages that wait in queues and subscriptions.
    pub stored_messages: u64,
    /// Bytes of the messages that wait in queues and subscriptions.
    pub stored_bytes: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// What was refused on the node that was asked since its start, by the name of the limit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// How often a client had to wait on the node that was asked since its start, because it sent too fast.
    pub delayed: u64,
}

/// What a name of a space is called inside the fleet.
pub fn qualified<'a>(space: &str, name: &'a str) -> Cow<'a, str> {
    if space == DEFAULT_SPACE {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{SPACE_PREFIX}{space}/{name}"))
}

/// The space of a name inside the fleet, and what it is called there.
pub fn split_qualified(name: &str) -> (&str, &str) {
    let below = name.strip_prefix(SPACE_PREFIX);
    below.and_then(|below| below.split_once('/')).unwrap_or((DEFAULT_SPACE, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_inside_the_fleet_says_its_space() {
        for (space, name) in
            [("acme", "a/b"), ("acme", "#"), ("acme", "$x"), (DEFAULT_SPACE, "a/b"), ("a", "")]
        {
            assert_eq!(split_qualified(&qualified(space, name)), (space, name));
        }
    }

    #[test]
    fn the_default_space_has_the_names_that_clients_say() {
        assert_eq!(qualified(DEFAULT_SPACE, "a"), "a");
        assert_eq!(split_qualified("$s/acme"), (DEFAULT_SPACE, "$s/acme"), "no name of a space");
    }
}
