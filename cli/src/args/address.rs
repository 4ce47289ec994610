//! `mq address` and `mq apply`.

use std::{path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};
use mq_model::manifest;

use crate::{args::View, shape};

/// Create, look at, empty and delete addresses.
#[derive(Clone, Debug, Subcommand)]
pub enum AddressCommand {
    Create(Box<AddressCreate>),
    /// List the addresses.
    #[command(alias = "ls")]
    List(AddressList),
    /// Show one address.
    #[command(alias = "get")]
    Show(AddressShow),
    Delete(AddressDelete),
    Purge(AddressPurge),
    Move(AddressMove),
    MoveHome(AddressMoveHome),
}

/// Create an address.
///
/// An anycast address gives each message to one consumer, the least busy one, and the producer
/// learns that consumer's outcome. A multicast address gives each message to every consumer that is
/// online. Neither stores messages: a producer waits for credit until a consumer is there.
///
/// A queue stores messages until a consumer has accepted them; each goes to one consumer, in order. A
/// topic stores them for each of its subscriptions; a subscription `topic::name` made here is always
/// there. What a queue, topic or subscription has accepted as durable survives the end of the daemon.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq address create telemetry --type anycast
  mq address create news --type multicast --slow-consumer drop --max-undelivered 10k
  mq address create orders --type queue --max-deliveries 5 --dead-letter orders.dlq --max-bytes 2GiB
  mq address create clicks --type queue --shards 6
  mq address create events --type topic
  mq address create events::billing --type subscription --filter 'events/+/paid'")]
pub struct AddressCreate {
    /// The name that messages are sent to and received from.
    pub name: String,
    /// Who gets a message.
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub kind: AddressType,
    /// What happens when a consumer is slower than its producers (anycast, multicast) [default: block].
    #[arg(long, value_name = "POLICY")]
    pub slow_consumer: Option<SlowConsumer>,
    /// Which consumers of a fleet of several nodes come first (anycast) [default: balanced].
    #[arg(long, value_name = "POLICY")]
    pub distribution: Option<Distribution>,
    /// How many producers may be attached.
    #[arg(long, value_name = "COUNT")]
    pub max_producers: Option<u32>,
    /// How many consumers may be attached.
    #[arg(long, value_name = "COUNT")]
    pub max_consumers: Option<u32>,
    /// The largest message, such as 256Ki or 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = shape::size)]
    pub max_message_size: Option<u64>,
    /// Messages that a producer may have in flight, 1 to 10,000.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub credit: Option<u32>,
    /// Messages that may wait for one slow consumer, 1 to 1M (anycast, multicast).
    #[arg(long, value_name = "COUNT", value_parser = undelivered)]
    pub max_undelivered: Option<u32>,
    /// Time to live of messages that say none.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_default: Option<u32>,
    /// The shortest time to live that a message may say.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_min: Option<u32>,
    /// The longest time to live that a message may say; in a queue or topic also that of a message that
    /// says none.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_max: Option<u32>,
    /// Priority of every message of this address, 0 (last) to 9, in place of the message's own.
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: Option<u8>,
    #[command(flatten)]
    pub stored: Stored,
    /// Succeed when the address exists as asked for; fail when it exists and differs.
    #[arg(long)]
    pub if_absent: bool,
    #[command(flatten)]
    pub view: View,
}

/// What queues, topics and subscriptions have.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Queues, topics and subscriptions")]
pub struct Stored {
    /// Messages that may be stored (by a topic: for each subscription), such as 100k.
    #[arg(long, value_name = "COUNT", value_parser = shape::count)]
    pub max_messages: Option<u64>,
    /// Bytes that may be stored (by a topic: for each subscription), such as 2GiB.
    #[arg(long, value_name = "SIZE", value_parser = shape::size)]
    pub max_bytes: Option<u64>,
    /// What happens to a message for which there is no room [default: block].
    #[arg(long, value_name = "POLICY")]
    pub on_full: Option<OnFull>,
    /// Deliveries after which a message that nobody accepted goes to --dead-letter, 1 to 1M.
    #[arg(long, value_name = "COUNT", value_parser = deliveries)]
    pub max_deliveries: Option<u32>,
    /// How long a message waits after its first failed delivery, at most a day [default: 0].
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub redelivery_delay: Option<u32>,
    /// What each further delay is multiplied with, 1 to 100 [default: 1].
    #[arg(long, value_name = "FACTOR")]
    pub redelivery_multiplier: Option<f64>,
    /// The longest delay [default: 1h].
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub redelivery_max_delay: Option<u32>,
    /// The address that gets rejected messages and those delivered too often.
    #[arg(long, value_name = "ADDRESS")]
    pub dead_letter: Option<String>,
    /// The address that gets messages whose time to live has run out.
    #[arg(long, value_name = "ADDRESS")]
    pub expiry_address: Option<String>,
    /// Give everything to one consumer, the first, as long as it stays (queue, subscription).
    #[arg(long)]
    pub exclusive: bool,
    /// Give the messages of one group-id to one consumer (queue, subscription).
    #[arg(long)]
    pub message_groups: bool,
    /// Keep the last message of each key, the annotation x-opt-last-value-key (queue, subscription).
    #[arg(long)]
    pub last_value: bool,
    /// Drop a message whose message-id came within this time before (queue), such as 10m.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub deduplicate: Option<u32>,
    /// How many message-ids --deduplicate remembers, 1 to 10M [default: 100k].
    #[arg(long, value_name = "COUNT", value_parser = ids, requires = "deduplicate")]
    pub deduplicate_ids: Option<u32>,
    /// Store the queue in so many parts on several nodes and cores, 1 to 64 [default: 1].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// The names of the topic, with + and #, that a subscription gets [default: all].
    #[arg(long, value_name = "PATTERN")]
    pub filter: Option<String>,
    /// The condition, in the language of JMS selectors, that a subscription's messages meet.
    #[arg(long, value_name = "CONDITION")]
    pub selector: Option<String>,
}

fn undelivered(text: &str) -> Result<u32, String> {
    bounded(text, 1_000_000, "1 to 1M")
}

fn deliveries(text: &str) -> Result<u32, String> {
    bounded(text, 1_000_000, "1 to 1M")
}

fn ids(text: &str) -> Result<u32, String> {
    bounded(text, 10_000_000, "1 to 10M")
}

fn bounded(text: &str, most: u32, range: &str) -> Result<u32, String> {
    let count = u32::try_from(shape::count(text)?).ok();
    count.filter(|count| (1..=most).contains(count)).ok_or_else(|| range.to_owned())
}

#[derive(Clone, Debug, clap::Args)]
pub struct AddressList {
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct AddressShow {
    /// The address.
    pub name: String,
    /// Show it again and again, until Ctrl-C.
    #[arg(short, long)]
    pub watch: bool,
    /// How often, with --watch; 100ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval, requires = "watch")]
    pub interval: Duration,
    #[command(flatten)]
    pub view: View,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = shape::duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3_600);
    if range.contains(&interval) { Ok(interval) } else { Err("100ms to 1h".into()) }
}

/// Drop the messages of a queue or subscription.
///
/// Messages that a consumer holds stay. Nothing brings a dropped message back, so the command asks first
/// when it is used at a terminal.
#[derive(Clone, Debug, clap::Args)]
pub struct AddressPurge {
    /// The queue, or the subscription as topic::name.
    pub name: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

/// Move messages from one address to another.
///
/// Takes the messages of a queue or subscription, the oldest first, and puts them into another queue or
/// topic, as when the dead letters are to be tried again. Messages that a consumer holds stay.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq address move orders.dlq orders
  mq address move orders.dlq orders -n 1")]
pub struct AddressMove {
    /// Where the messages are.
    pub from: String,
    /// Where they go.
    pub to: String,
    /// Stop after this many messages.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = shape::count)]
    pub count: Option<u64>,
}

/// Move a queue, topic or subscription to another node, with all that it holds.
///
/// It is served all the while, in order; only where it is stored changes. Clients stay where they are.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq address move-home orders --to node-2
  mq address move-home clicks --shard 4 --to node-2")]
pub struct AddressMoveHome {
    /// The address.
    pub name: String,
    /// The node that is to store its messages.
    #[arg(long, value_name = "NODE")]
    pub to: String,
    /// Move one shard of a queue that has several, as `mq address show` numbers them [default: all].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..64))]
    pub shard: Option<u16>,
}

/// Delete addresses.
///
/// Links to a deleted address are closed, and their clients are told why. The messages of a queue, topic
/// or subscription are gone with it: when there are any, the command asks first when it is used at a
/// terminal.
#[derive(Clone, Debug, clap::Args)]
pub struct AddressDelete {
    /// The addresses.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Delete an address also when a node that holds its messages cannot be reached: nobody can know what is
    /// dropped then.
    #[arg(long)]
    pub force: bool,
    /// Succeed when an address does not exist.
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Create or update addresses, users and roles from files.
///
/// Reads Address, User and Role documents and brings each object to what its document says. `mq deploy` does the
/// same for a whole fleet and its addresses. Passwords stand in no file: `mq user passwd` sets them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq apply -f addresses.yaml
  mq address show telemetry -o yaml | mq --context other apply -f -")]
pub struct Apply {
    /// A YAML or JSON file; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Say what would change and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before messages are lost: an address that gets another type drops what it stores.
    #[arg(short, long)]
    pub yes: bool,
    /// Give an address another type also when a node that holds its messages cannot be reached: nobody can know
    /// what is dropped then.
    #[arg(long)]
    pub force: bool,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AddressType {
    /// One consumer, the least busy.
    Anycast,
    /// Every consumer that is online.
    Multicast,
    /// Stored, then one consumer.
    Queue,
    /// Stored for every subscription.
    Topic,
    /// A subscription of a topic that is always there; called `topic::name`.
    Subscription,
}

/// What happens when a consumer is slower than its producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SlowConsumer {
    /// Producers wait for the slowest consumer.
    Block,
    /// Pre-settled messages beyond the limit are dropped and counted.
    Drop,
    /// The consumer's link is closed.
    Disconnect,
}

/// Which consumers of a fleet come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// The least busy; those of other nodes count as busier by the cost of the path to them.
    Balanced,
    /// Those of the node that the message came to, then those of the nearest.
    Closest,
}

impl From<Distribution> for manifest::Distribution {
    fn from(distribution: Distribution) -> Self {
        match distribution {
            Distribution::Balanced => Self::Balanced,
            Distribution::Closest => Self::Closest,
        }
    }
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnFull {
    /// Producers wait for credit.
    Block,
    /// The message is rejected.
    Reject,
    /// The oldest messages are dropped and counted.
    DropOldest,
}

impl From<OnFull> for manifest::OnFull {
    fn from(policy: OnFull) -> Self {
        match policy {
            OnFull::Block => Self::Block,
            OnFull::Reject => Self::Reject,
            OnFull::DropOldest => Self::DropOldest,
        }
    }
}

impl From<AddressType> for manifest::AddressType {
    fn from(kind: AddressType) -> Self {
        match kind {
            AddressType::Anycast => Self::Anycast,
            AddressType::Multicast => Self::Multicast,
            AddressType::Queue => Self::Queue,
            AddressType::Topic => Self::Topic,
            AddressType::Subscription => Self::Subscription,
        }
    }
}

impl From<SlowConsumer> for manifest::SlowConsumer {
    fn from(policy: SlowConsumer) -> Self {
        match policy {
            SlowConsumer::Block => Self::Block,
            SlowConsumer::Drop => Self::Drop,
            SlowConsumer::Disconnect => Self::Disconnect,
        }
    }
}
