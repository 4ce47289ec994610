//! What the core wants done, and what it says when it refuses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::RetainedPage;
use crate::format::Redelivery;
use crate::key::{ConsumerKey, LegKey, ProducerKey};
use crate::live::LiveMessage;
use crate::outcome::{ErrorInfo, Outcome};
use crate::peer::PeerMessage;
use crate::settings::ShardId;
use crate::store::{StoreRequest, TransactionId};
use crate::wire::Run;

/// Something for the caller of [`Core::poll_effect`](crate::Core::poll_effect) to carry out, in order.
#[derive(Debug)]
pub enum Effect {
    /// Give the producer `credit` deliveries more than it has.
    Grant { producer: ProducerKey, credit: u32 },
    /// Take the producer's unused credit back (ask it to drain). What it sends meanwhile is passed
    /// to `begin` as always. No `Grant` follows until
    /// [`producer_stopped`](crate::Core::producer_stopped) says that it has no credit left.
    StopProducer { producer: ProducerKey },
    /// Start a delivery to a consumer. It uses one of the consumer's credits.
    Deliver {
        consumer: ConsumerKey,
        /// `None` when the delivery is sent settled. Otherwise tell the core your own id of the
        /// delivery with [`set_leg_handle`](crate::Core::set_leg_handle) before the next call.
        leg: Option<LegKey>,
        chunk: Bytes,
        /// Whether `Continue` or `Abort` follows. The consumer gets no other delivery until then.
        more: bool,
        settled: bool,
        message_format: u32,
        /// What is left of the message's time to live, when it has one and has waited for at least
        /// a millisecond: the header should say so.
        ttl_left: Option<Duration>,
        /// What is to be changed in the message when it is not delivered for the first time.
        redelivery: Option<Box<Redelivery>>,
    },
    /// The next bytes of the consumer's unfinished delivery.
    Continue { consumer: ConsumerKey, chunk: Bytes, more: bool },
    /// The consumer's unfinished delivery ends here and counts as settled.
    Abort { consumer: ConsumerKey },
    /// Tell the producer the state of the delivery with this handle; it is forgotten when `settled`.
    UpdateProducer { producer: ProducerKey, handle: u64, outcome: Option<Outcome>, settled: bool },
    /// Tell the consumer the state of the delivery with this handle; it is forgotten when `settled`.
    UpdateConsumer { consumer: ConsumerKey, handle: u64, outcome: Option<Outcome>, settled: bool },
    /// Nothing is left to send to a consumer that asked to drain: its credit is used up.
    Drained { consumer: ConsumerKey },
    /// So many bytes of the producer's chunks, of which `begin` or `append` said that they were not
    /// consumed, have left the core.
    Consumed { producer: ProducerKey, bytes: usize },
    /// Close the producer's link, then call [`remove_producer`](crate::Core::remove_producer).
    CloseProducer { producer: ProducerKey, reason: CloseReason },
    /// The home of the consumer's address has let it in: what is published from now on, it gets. Answer
    /// its attach. Comes once, before anything else of it, when [`is_admitted`](crate::Core::is_admitted)
    /// denied it.
    Admitted { consumer: ConsumerKey },
    /// Close the consumer's link, then call [`remove_consumer`](crate::Core::remove_consumer). Before
    /// `Admitted`, where that has to come, the consumer is refused.
    CloseConsumer { consumer: ConsumerKey, reason: CloseReason },
    /// Hand the request to the store.
    Store(Box<StoreRequest>),
    /// What became of a transaction that was to be discharged.
    Discharged { transaction: TransactionId, result: Result<(), Box<ErrorInfo>> },
    /// The home goes by the filters of [`set_filters`](crate::Core::set_filters), and has asked the store
    /// to keep them. Comes once for each call.
    Refiltered { consumer: ConsumerKey },
    /// The answer to [`query_retained`](crate::Core::query_retained) with this token.
    Retained { token: u64, page: Box<RetainedPage> },
    /// A message for the live subscribers of this shard, from another shard or from the home of its
    /// topic: give it to `local` of its [`route`](crate::Core::route).
    Live { message: LiveMessage },
    /// [`has_live_room`](crate::Core::has_live_room) is true again.
    LiveRoom,
    /// Nothing is left here of a queue that changes its home, or nothing of a topic that the next home has not got
    /// on disk: its settings may say that it has done so.
    Emptied { address: Arc<str> },
    /// Hand the message to the core of another shard: in order, without loss.
    Peer { to: ShardId, message: PeerMessage },
    /// Hand these messages, which are encoded already, to the core of a shard of another node: in order, without
    /// loss, and in their place among those of `Peer`.
    Run { to: ShardId, run: Run },
}

/// Why the core closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    #[error("the address was deleted")]
    AddressDeleted,
    #[error(
        "the consumer did not keep up: more messages wait for it than the address allows; give more credit"
    )]
    SlowConsumer,
    #[error("the address is at its limit for links; close one or raise the limit")]
    LimitExceeded,
    #[error("another consumer has the address for itself, or this one wants it so and is not the only one")]
    Exclusive,
    #[error("the subscription has its number of consumers; close one, or subscribe by another name")]
    SubscriptionInUse,
    #[error("the address is not what its name promised: no such address at its home; create it first")]
    NotFound,
    #[error("the node has no room for another subscription; remove one")]
    TooManySubscriptions,
    #[error("the store did not keep the subscription; see the status of the node")]
    StoreFailed,
    #[error("the home of the address is gone; attach again later")]
    HomeGone,
    #[error("the subscription was removed")]
    Unsubscribed,
    #[error(
        "the home of the address cannot read the filter: its node runs another version; upgrade it, or attach \
         without the filter"
    )]
    UnreadableFilter,
}

/// Why the core does not let a link in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("no address {0}; create it first")]
    NotFound(Box<str>),
    #[error("{what} is at its limit for {links}, which is {limit}; close one or raise the limit")]
    LimitExceeded { what: Box<str>, links: &'static str, limit: u64 },
    #[error("messages of producers that have left fill {0}; let consumers take them first")]
    Full(Box<str>),
    #[error("address {0} exists already; choose another name")]
    Exists(Box<str>),
    #[error("temporary address {0} has only the consumer that created it")]
    NotAllowed(Box<str>),
    #[error("the node is stopping; connect to another one")]
    Stopping,
    #[error("the session of the link is gone")]
    NoLane,
    #[error("address {0} keeps no messages")]
    NotStored(Box<str>),
    #[error("the home of {address}, {node}, cannot be reached now; try again later")]
    HomeUnavailable { address: Box<str>, node: Box<str> },
    #[error("{name} is no name or filter of a topic: {reason}")]
    BadName { name: Box<str>, reason: Box<str> },
    #[error("{0}")]
    Home(CloseReason),
    #[error("transaction {0} is not known here; declare one first")]
    NoTransaction(u64),
}
