//! `mq space` and `mq profile`.

use clap::Subcommand;

use crate::args::{View, user::PrincipalShow};
use crate::shape;

/// Make address spaces: tenants with names, users and limits of their own.
///
/// What is of one space is not to be seen from another one: neither addresses and messages nor users, sessions and
/// connections. Clients are in the space of the listener, of the host name that they ask for (the space's own name,
/// or one of its --host), or of `user@space`; else in `default`, whose administrators are those of the fleet.
/// Every other command takes the space with --space, and users as `space/name`.
#[derive(Clone, Debug, Subcommand)]
pub enum SpaceCommand {
    Create(Box<SpaceCreate>),
    /// List the spaces.
    #[command(alias = "ls")]
    List(SpaceList),
    /// Show one space with its limits.
    Show(PrincipalShow),
    Set(Box<SpaceSet>),
    Delete(SpaceDelete),
}

/// Create an address space.
///
/// What has no limit here has that of --profile; where that says none, it has none. Limits hold for the fleet as a
/// whole.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq space create acme --max-connections 1000 --max-stored 10GiB --rate 5k/s
  mq space create acme --profile free --host acme.example.com --user-limit max-connections=10")]
pub struct SpaceCreate {
    /// The name: 1 to 63 of `a` to `z`, `0` to `9` and `-`.
    pub name: String,
    /// The profile whose limits it has where it has none of its own.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    #[command(flatten)]
    pub limits: LimitFlags,
    /// A host name by which clients choose the space, besides its own name; repeatable.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}

/// Change an address space; what is not named stays.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq space set acme --max-connections 2000 --rate none
  mq space set acme --disable")]
pub struct SpaceSet {
    /// The space.
    pub name: String,
    /// The profile whose limits it has where it has none of its own; `none` takes it away.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    #[command(flatten)]
    pub limits: LimitFlags,
    /// The host names by which clients choose the space, all of them; repeatable, `none` takes them away.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Let nobody in, and close the connections of the space.
    #[arg(long, conflicts_with = "enable")]
    pub disable: bool,
    /// Let its users in again.
    #[arg(long)]
    pub enable: bool,
}

/// Remove an address space and close the connections of its clients.
#[derive(Clone, Debug, clap::Args)]
pub struct SpaceDelete {
    /// The space.
    pub name: String,
    /// Remove its addresses with their messages, its users and its roles, too.
    #[arg(long)]
    pub cascade: bool,
    /// Drop what is on nodes that cannot be reached, too.
    #[arg(long, requires = "cascade")]
    pub force: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Succeed when there is no such space.
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub struct SpaceList {
    #[command(flatten)]
    pub view: View,
}

/// Look at profiles, limits under a name for any number of spaces; `mq apply -f` makes them.
#[derive(Clone, Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles.
    #[command(alias = "ls")]
    List(SpaceList),
    /// Show one profile.
    Show(PrincipalShow),
    /// Remove a profile; spaces that name it lose its limits.
    #[command(alias = "rm")]
    Delete(crate::args::user::PrincipalDelete),
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    None,
    Most(u64),
}

/// How much a space may take.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits, each a number or `none`")]
pub struct LimitFlags {
    /// Open connections of clients.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_connections: Option<Limit>,
    /// Sessions of AMQP.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_sessions: Option<Limit>,
    /// Links of AMQP.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_links: Option<Limit>,
    /// Bytes of one message, such as 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_message_size: Option<Limit>,
    /// Addresses.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_addresses: Option<Limit>,
    /// Messages that wait in queues and subscriptions.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_stored_messages: Option<Limit>,
    /// Bytes of the messages that wait in queues and subscriptions, such as 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_stored: Option<Limit>,
    /// Messages that clients send in a second, such as 5k/s.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<Limit>,
    /// Bytes of the messages that clients send in a second, such as 10MiB/s.
    #[arg(long, value_name = "RATE", value_parser = byte_rate)]
    pub byte_rate: Option<Limit>,
    /// Sessions of MQTT, with and without a client.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_mqtt_sessions: Option<Limit>,
    /// Subscriptions of clients, whichever protocol.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_subscriptions: Option<Limit>,
    /// Retained messages.
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub max_retained: Option<Limit>,
    /// How much each user may take who has no limit of his own, by the name of a limit above: `max-connections=10`;
    /// repeatable.
    #[arg(long = "user-limit", value_name = "NAME=LIMIT", value_parser = user_limit)]
    pub user_limits: Vec<UserLimit>,
}

/// A limit by the name of its field.
pub type UserLimit = (&'static str, Limit);

/// How a limit is read.
type Parse = fn(&str) -> Result<Limit, String>;

/// The flags, the fields of documents that they set, and how they are written.
const LIMITS: [(&str, &str, Parse); 12] = [
    ("max-connections", "maxConnections", count),
    ("max-sessions", "maxSessions", count),
    ("max-links", "maxLinks", count),
    ("max-message-size", "maxMessageSize", size),
    ("max-addresses", "maxAddresses", count),
    ("max-stored-messages", "maxStoredMessages", count),
    ("max-stored", "maxStoredBytes", size),
    ("rate", "maxMessagesPerSecond", rate),
    ("byte-rate", "maxBytesPerSecond", byte_rate),
    ("max-mqtt-sessions", "maxMqttSessions", count),
    ("max-subscriptions", "maxSubscriptions", count),
    ("max-retained", "maxRetainedMessages", count),
];

impl LimitFlags {
    /// The fields of `limits` that were named.
    pub fn limits(&self) -> Vec<UserLimit> {
        let all = [
            ("maxConnections", self.max_connections),
            ("maxSessions", self.max_sessions),
            ("maxLinks", self.max_links),
            ("maxMessageSize", self.max_message_size),
            ("maxAddresses", self.max_addresses),
            ("maxStoredMessages", self.max_stored_messages),
            ("maxStoredBytes", self.max_stored),
            ("maxMessagesPerSecond", self.rate),
            ("maxBytesPerSecond", self.byte_rate),
            ("maxMqttSessions", self.max_mqtt_sessions),
            ("maxSubscriptions", self.max_subscriptions),
            ("maxRetainedMessages", self.max_retained),
        ];
        all.into_iter().filter_map(|(field, limit)| Some((field, limit?))).collect()
    }
}

fn limit(text: &str, most: impl FnOnce(&str) -> Result<u64, String>) -> Result<Limit, String> {
    if text == "none" { Ok(Limit::None) } else { most(text).map(Limit::Most) }
}

fn count(text: &str) -> Result<Limit, String> {
    limit(text, shape::count)
}

fn size(text: &str) -> Result<Limit, String> {
    limit(text, shape::size)
}

fn rate(text: &str) -> Result<Limit, String> {
    limit(text, |text| shape::rate(text.strip_suffix("/s").unwrap_or(text)))
}

fn byte_rate(text: &str) -> Result<Limit, String> {
    limit(text, |text| shape::size(text.strip_suffix("/s").unwrap_or(text)))
}

fn user_limit(text: &str) -> Result<UserLimit, String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=LIMIT, such as max-connections=10")?;
    let found = LIMITS.into_iter().find(|(flag, ..)| *flag == name);
    let (_, field, parse) = found.ok_or_else(|| {
        let known: Vec<&str> = LIMITS.iter().map(|(flag, ..)| *flag).collect();
        format!("unknown limit `{name}`; use {}", known.join(", "))
    })?;
    Ok((field, parse(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_with_units_or_none() {
        assert_eq!(rate("5k/s"), Ok(Limit::Most(5_000)));
        assert_eq!(byte_rate("1MiB/s"), Ok(Limit::Most(1 << 20)));
        assert_eq!(size("10GiB"), Ok(Limit::Most(10 << 30)));
        assert_eq!(count("none"), Ok(Limit::None));
        assert_eq!(user_limit("max-connections=10"), Ok(("maxConnections", Limit::Most(10))));
        assert_eq!(user_limit("max-stored=1MiB"), Ok(("maxStoredBytes", Limit::Most(1 << 20))));
        assert!(user_limit("max-users=1").is_err() && user_limit("rate").is_err() && rate("0").is_err());
    }
}
