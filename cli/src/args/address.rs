//! `mq address` and `mq apply`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use mq_model::manifest;

use crate::{args::View, shape};

/// Create, look at and delete addresses.
#[derive(Clone, Debug, Subcommand)]
pub enum AddressCommand {
    Create(AddressCreate),
    /// List the addresses.
    #[command(alias = "ls")]
    List(AddressList),
    /// Show one address.
    #[command(alias = "get")]
    Show(AddressShow),
    Delete(AddressDelete),
}

/// Create an address.
///
/// An anycast address gives each message to one consumer, the least busy one, and the producer
/// learns that consumer's outcome. A multicast address gives each message to every consumer that is
/// online. Neither stores messages: a producer waits for credit until a consumer is there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq address create telemetry --type anycast
  mq address create news --type multicast --slow-consumer drop --max-undelivered 10k")]
pub struct AddressCreate {
    /// The name that messages are sent to and received from.
    pub name: String,
    /// Who gets a message.
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub kind: AddressType,
    /// What happens when a consumer is slower than its producers [default: block].
    #[arg(long, value_name = "POLICY")]
    pub slow_consumer: Option<SlowConsumer>,
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
    /// Messages that may wait for one slow consumer, 1 to 1M.
    #[arg(long, value_name = "COUNT", value_parser = undelivered)]
    pub max_undelivered: Option<u32>,
    /// Time to live of messages that say none.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_default: Option<u32>,
    /// The shortest time to live that a message may say.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_min: Option<u32>,
    /// The longest time to live that a message may say.
    #[arg(long, value_name = "TIME", value_parser = shape::milliseconds)]
    pub ttl_max: Option<u32>,
    /// Priority of every message of this address, 0 (last) to 9, in place of the message's own.
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: Option<u8>,
    /// Succeed when the address exists as asked for; fail when it exists and differs.
    #[arg(long)]
    pub if_absent: bool,
    #[command(flatten)]
    pub view: View,
}

fn undelivered(text: &str) -> Result<u32, String> {
    match shape::count(text)? {
        count @ 1..=1_000_000 => Ok(count as u32),
        _ => Err("1 to 1M".into()),
    }
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
    #[command(flatten)]
    pub view: View,
}

/// Delete addresses.
///
/// Links to a deleted address are closed, and their clients are told why.
#[derive(Clone, Debug, clap::Args)]
pub struct AddressDelete {
    /// The addresses.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Succeed when an address does not exist.
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Create or update addresses from files.
///
/// Reads Address documents and brings each address to what its document says. `mq deploy` does the
/// same for a whole fleet.
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
