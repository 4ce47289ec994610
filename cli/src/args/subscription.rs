//! `mq subscription`.

use clap::Subcommand;

use crate::args::View;

/// Look at and end the subscriptions of topics.
///
/// A subscription is made with an Address document or `mq address create events::billing --type
/// subscription`, by `mq recv --durable-subscription`, or by any client that receives from a topic.
#[derive(Clone, Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// List the subscriptions.
    #[command(alias = "ls")]
    List(SubscriptionList),
    Delete(SubscriptionDelete),
}

#[derive(Clone, Debug, clap::Args)]
pub struct SubscriptionList {
    /// Only those of this topic.
    pub topic: Option<String>,
    #[command(flatten)]
    pub view: View,
}

/// End a subscription that a client made.
///
/// The messages that it holds are dropped, and its consumers are told. One that was made with
/// `mq address create` ends with `mq address delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct SubscriptionDelete {
    /// The topic.
    pub topic: String,
    /// The subscription, as `mq subscription list` calls it.
    pub name: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Succeed when the subscription does not exist.
    #[arg(long)]
    pub ignore_not_found: bool,
}
