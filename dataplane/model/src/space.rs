//! Address spaces: tenants, with names, users and limits of their own.
//!
//! Inside the fleet a name of a space other than [`DEFAULT_SPACE`] stands below [`SPACE_PREFIX`], so that
//! everything that goes by names keeps spaces apart by itself. Clients and documents never see that form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{API_VERSION, API_VERSION_SHORT, Metadata};
pub use crate::user::DEFAULT_SPACE;

/// The `kind` of an [`AddressSpace`].
pub const SPACE_KIND: &str = "AddressSpace";

/// The `kind` of a [`Profile`].
pub const PROFILE_KIND: &str = "Profile";

/// What names inside the fleet begin with that are of a space: `$s/acme/telemetry` is `telemetry` of `acme`.
pub const SPACE_PREFIX: &str = "$s/";

/// The longest name of a space: one label of a host name (RFC 1035, 2.3.4).
pub const MAX_SPACE_NAME: usize = crate::MAX_NAME;

/// The most host names of one space.
pub const MAX_SPACE_HOSTS: usize = 16;

/// A tenant: names, users and limits of his own, of which no other one sees anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddressSpace {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `AddressSpace`.
    #[schemars(extend("const" = SPACE_KIND))]
    pub kind: String,
    /// Name and labels. The name has 1 to 63 of `a` to `z`, `0` to `9` and `-`. `default` is there without anybody
    /// having made it, and can be given limits.
    pub metadata: Metadata,
    /// What is wanted of the space. Without it nothing is limited.
    #[serde(default)]
    pub spec: AddressSpaceSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AddressSpaceStatus>,
}

/// What is wanted of a space. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AddressSpaceSpec {
    /// The `Profile` whose limits the space has where it says none of its own. One that does not exist gives
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub profile: Option<String>,
    /// How much the space may take, for the fleet as a whole.
    #[serde(skip_serializing_if = "SpaceLimits::is_empty")]
    pub limits: SpaceLimits,
    /// How much each user of the space may take, where he has no limit of his own.
    #[serde(skip_serializing_if = "SpaceLimits::is_empty")]
    pub user_limits: SpaceLimits,
    /// Host names by which clients choose the space, as the server's name in TLS or the host name of AMQP; its
    /// own name is always one. At most 16, each of one space.
    #[schemars(length(max = 16))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether nobody of the space is let in. The connections of a space that is disabled are closed. Not of
    /// `default`.
    #[schemars(extend("default" = false))]
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
}

/// What a node knows of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressSpaceStatus {
    /// Whether the space is there without anybody having made it; it cannot be removed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub built_in: bool,
    /// When the space was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// Whether the space names a profile that does not exist, which gives it no limits.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unknown_profile: bool,
    /// Addresses of the space.
    pub addresses: u64,
    /// Users of the space.
    pub users: u64,
    /// The limits in force, those of the profile among them.
    #[serde(default, skip_serializing_if = "SpaceLimits::is_empty")]
    pub limits: SpaceLimits,
    /// The limits in force of each user who has none of his own.
    #[serde(default, skip_serializing_if = "SpaceLimits::is_empty")]
    pub user_limits: SpaceLimits,
    /// What the space takes in the fleet; absent while that is nothing.
    #[serde(default, skip_serializing_if = "SpaceUsage::is_nothing")]
    pub usage: SpaceUsage,
}

/// Limits under a name, for any number of spaces: what belongs to a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Profile`.
    #[schemars(extend("const" = PROFILE_KIND))]
    pub kind: String,
    /// Name and labels. The name has 1 to 63 of `a` to `z`, `0` to `9` and `-`.
    pub metadata: Metadata,
    /// The limits. Without it nothing is limited.
    #[serde(default)]
    pub spec: ProfileSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProfileStatus>,
}

/// The limits of a profile. Absent fields mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileSpec {
    /// How much each of the spaces may take, for the fleet as a whole.
    #[serde(skip_serializing_if = "SpaceLimits::is_empty")]
    pub limits: SpaceLimits,
    /// How much each user of one of the spaces may take.
    #[serde(skip_serializing_if = "SpaceLimits::is_empty")]
    pub user_limits: SpaceLimits,
}

/// What a node knows of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileStatus {
    /// Spaces that have the profile.
    pub spaces: u64,
    /// When the profile was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

impl AddressSpace {
    /// A document without labels and status.
    pub fn new(name: impl Into<String>, spec: AddressSpaceSpec) -> Self {
        let metadata = Metadata::named(name);
        Self { api_version: API_VERSION.into(), kind: SPACE_KIND.into(), metadata, spec, status: None }
    }
}

impl Profile {
    /// A document without labels and status.
    pub fn new(name: impl Into<String>, spec: ProfileSpec) -> Self {
        let metadata = Metadata::named(name);
        Self { api_version: API_VERSION.into(), kind: PROFILE_KIND.into(), metadata, spec, status: None }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

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
    /// Addresses, subscriptions that are declared among them; of a user, those that he has created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_addresses: Option<u32>,
    /// Messages that wait in queues and subscriptions; of a user, those that he has sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub max_stored_messages: Option<u64>,
    /// Bytes of the messages that wait in queues and subscriptions; of a user, those that he has sent.
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
    /// Retained messages; of a user, those that he was the last to retain for their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_retained_messages: Option<u32>,
}

impl SpaceLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These limits, and those of `others` where these say nothing.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            max_connections: self.max_connections.or(others.max_connections),
            max_sessions: self.max_sessions.or(others.max_sessions),
            max_links: self.max_links.or(others.max_links),
            max_message_size: self.max_message_size.or(others.max_message_size),
            max_addresses: self.max_addresses.or(others.max_addresses),
            max_stored_messages: self.max_stored_messages.or(others.max_stored_messages),
            max_stored_bytes: self.max_stored_bytes.or(others.max_stored_bytes),
            max_messages_per_second: self.max_messages_per_second.or(others.max_messages_per_second),
            max_bytes_per_second: self.max_bytes_per_second.or(others.max_bytes_per_second),
            max_mqtt_sessions: self.max_mqtt_sessions.or(others.max_mqtt_sessions),
            max_subscriptions: self.max_subscriptions.or(others.max_subscriptions),
            max_retained_messages: self.max_retained_messages.or(others.max_retained_messages),
        }
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

impl SpaceUsage {
    /// Whether nothing is taken, and nothing was refused.
    pub fn is_nothing(&self) -> bool {
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
    fn limits_of_ones_own_stand_before_those_of_others() {
        let own = SpaceLimits { max_links: Some(1), ..SpaceLimits::default() };
        let others = SpaceLimits { max_links: Some(2), max_sessions: Some(3), ..SpaceLimits::default() };
        let expected = SpaceLimits { max_links: Some(1), max_sessions: Some(3), ..SpaceLimits::default() };
        assert_eq!(own.or(&others), expected);
        assert_eq!(SpaceLimits::default().or(&others), others);
    }

    #[test]
    fn the_default_space_has_the_names_that_clients_say() {
        for name in ["a", "a/b", "$x", "#", "$temp.node-1.0-1", "$share"] {
            assert_eq!(qualified(DEFAULT_SPACE, name), name);
        }
    }
}
