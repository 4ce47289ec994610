//! Address spaces: tenants, with names, users and limits of their own.
//!
//! Inside the fleet a name of a space other than [`DEFAULT_SPACE`] stands below [`SPACE_PREFIX`], so that
//! everything that goes by names keeps spaces apart by itself. Clients and documents never see that form.

use std::borrow::Cow;

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

/// What a name of a space is called inside the fleet: two spaces have no name in common there, whatever their
/// clients call things. A name of the default space is the same inside, unless it looks like one of another space:
/// then it stands below the space without a name, which nobody has.
pub fn qualified<'a>(space: &str, name: &'a str) -> Cow<'a, str> {
    match space {
        DEFAULT_SPACE if !name.starts_with(SPACE_PREFIX) => Cow::Borrowed(name),
        DEFAULT_SPACE => Cow::Owned(format!("{SPACE_PREFIX}/{name}")),
        space => Cow::Owned(format!("{SPACE_PREFIX}{space}/{name}")),
    }
}

/// A sentence about names of a space inside the fleet, in the words of the space's clients.
pub fn told<'a>(space: &str, text: &'a str) -> Cow<'a, str> {
    if !text.contains(SPACE_PREFIX) {
        return Cow::Borrowed(text);
    }
    let space = if space == DEFAULT_SPACE { "" } else { space };
    Cow::Owned(text.replace(&format!("{SPACE_PREFIX}{space}/"), ""))
}

/// The space of a name inside the fleet, and what it is called there: the inverse of [`qualified`].
pub fn split_qualified(name: &str) -> (&str, &str) {
    let below = name.strip_prefix(SPACE_PREFIX).and_then(|below| below.split_once('/'));
    match below {
        Some(("", name)) => (DEFAULT_SPACE, name),
        Some(found) => found,
        None => (DEFAULT_SPACE, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spaces and names, those among them that are made to be taken for others.
    fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
        let spaces = [DEFAULT_SPACE, "acme", "a", "s"];
        let names = [
            "",
            "#",
            "a/b",
            "/a",
            "$x",
            "$s",
            "$s/",
            "$s//",
            "$s/acme",
            "$s/acme/a/b",
            "$s//a",
            "$s//$s/acme/a/b",
            "$s/acme/$s/a",
            "$s/default/a",
            "../$s/acme/a",
            "$temp.node-1.0-1",
        ];
        spaces.into_iter().flat_map(move |space| names.map(|name| (space, name)))
    }

    #[test]
    fn a_name_inside_the_fleet_says_its_space() {
        for (space, name) in cases() {
            assert_eq!(split_qualified(&qualified(space, name)), (space, name));
        }
        assert_eq!(qualified("acme", "a/b"), "$s/acme/a/b");
    }

    #[test]
    fn two_spaces_have_no_name_in_common() {
        let mut seen: Vec<_> = cases().map(|(space, name)| qualified(space, name)).collect();
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn the_default_space_has_the_names_that_clients_say() {
        for name in ["a", "a/b", "$x", "#", "$temp.node-1.0-1", "$share"] {
            assert_eq!(qualified(DEFAULT_SPACE, name), name);
        }
    }
}
