//! What a link's shard and the home of its address say to each other.
//!
//! A link whose shard is the home is served by direct calls that do the same. All that is asked of what
//! carries these messages is that those between two shards arrive in order and without loss.
//!
//! | from the link's shard | says |
//! |---|---|
//! | `AddSender`, `RemoveSender` | a producer comes or goes |
//! | `Publish` | a whole message; answered with `Answer` |
//! | `AddReceiver`, `RemoveReceiver` | a consumer comes (with or without a subscription) or goes |
//! | `Unsubscribe` | its subscription ends with it |
//! | `SetFilters` | its subscription gets other names; answered with `Refiltered` |
//! | `EndDurable` | a durable subscription ends, or is not claimed any more; answered with `Ended` if it has a number |
//! | `Credit` | the consumer will have taken so many deliveries in all; with `drain`, what cannot be used now is given up |
//! | `Park` | the consumer takes nothing more from this home, and its link has got so many deliveries in all; what else was handed out comes back |
//! | `Window` | so many bytes of deliveries have left for the consumer |
//! | `Settle`, `Return` | the consumer is done with a delivery; it never got it |
//! | `AskRetained`, `Unask`, `Fence`, `FencesLost` | what a topic retains; see [`retrieval`](super::retrieval) |
//! | `ForwardAnswer` | to `Publish` of a queue, not of a producer |
//! | `AskPassed` | answered with `Passed` when a home of before has passed on all that the shard has sent to it |
//! | `Retire`, `Prepare`, `Conclude` | a transaction; see [`transaction`](super::transaction) |
//! | `Heard` | everything up to `AskHeard` has come |
//! | `CopyBegin` to `CopyComplete` | from the home of a topic to the next one; see [`copy`](super::copy) |
//! | `Left`, `AskLeft` | between the home that a message comes from and the one that has it; see [`handover`](super::handover) |
//!
//! | from the home | says |
//! |---|---|
//! | `Opened`, `Flow` | whether the producer is to have credit |
//! | `Refiltered` | the home goes by the filters |
//! | `Attached` | the consumer is let in; its name at the home, without which nothing can be said about it |
//! | `Deliver` | a message |
//! | `RetainedPage` | some of what the topic retains |
//! | `Waiting` | there is something for a consumer that has no credit since the `Credit` with this number |
//! | `Drained` | there was nothing more for the `Credit` or `Park` with this number |
//! | `Answer` | what became of a message |
//! | `AskHeard` | answered with `Heard` |
//! | `CopyReady`, `CopyCompleted` | from the next home of a topic: a copy may begin, or is on disk; or not |
//! | `Prepared` | the part of a transaction can be committed, or not |
//! | `Concluded` | the part of a transaction has ended as `Conclude` said |
//! | `Passed` | the new home has all that this shard has sent before it asked |
//! | `CloseProducer`, `CloseConsumer` | the link is not let in, or no longer |
//!
//! The consumer's credit is what the home counts with: it sends no delivery that the link could not take
//! at once, but for the bytes. Those are bounded by a window: a slow reader has [`WINDOW`] bytes and a
//! message at its shard and no more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::retrieval::{Question, RetainedPage};
use super::topic::Filters;
use crate::consumer::SubscriptionOptions;
use crate::delivery::{Retain, to_keep};
use crate::effect::CloseReason;
use crate::format::{Filter, Redelivery};
use crate::key::{
    ConsumerKey, ForwardKey, HomeKey, InboundKey, ProducerKey, ReceiverKey, SenderKey, SentKey,
};
use crate::outcome::{ErrorInfo, Outcome};
use crate::queue::EntryKey;
use crate::settings::ShardId;
use crate::stock::Owner;
use crate::store::{QueueId, Reference, TransactionId, UnixMillis};

/// Bytes of deliveries that may be at the shard of a consumer and not on their way to it.
pub(crate) const WINDOW: i64 = 256 << 10;

/// What a delivery costs of the window beyond its bytes.
pub(crate) const DELIVERY_COST: usize = 64;

/// Who hears what became of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Producer {
        shard: ShardId,
        key: ProducerKey,
        handle: u64,
        /// It wants no outcome.
        settled: bool,
        /// Bytes of which it has not been told that they are consumed.
        held: u32,
        /// When it settles second: what stands for the delivery until then.
        second: Option<InboundKey>,
    },
    /// The same, for a home on another shard: what the link's shard keeps of it until that answers.
    Sent { shard: ShardId, key: SentKey, settled: bool },
    /// Another queue.
    Forward { shard: ShardId, key: ForwardKey },
    /// Nobody.
    Nobody,
}

impl Source {
    /// The shard that hears what becomes of the message.
    pub(crate) fn shard(&self) -> Option<ShardId> {
        match self {
            Self::Producer { shard, .. } | Self::Sent { shard, .. } | Self::Forward { shard, .. } => {
                Some(*shard)
            }
            Self::Nobody => None,
        }
    }

    /// Whether nobody wants to know what becomes of the message.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Producer { settled: true, .. } | Self::Sent { settled: true, .. })
    }
}

/// A whole message for a stored address.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) source: Source,
    /// See [`ProducerOptions::origin`](crate::ProducerOptions::origin).
    pub(crate) origin: Option<u64>,
    /// For whom it counts wherever it is stored.
    pub(crate) owner: Option<Owner>,
    /// For topics: the name that the message was sent to.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) message_format: u32,
    pub(crate) body: Bytes,
    /// The body is a slice of a read buffer.
    pub(crate) is_slice: bool,
    pub(crate) priority: u8,
    pub(crate) durable: bool,
    pub(crate) arrived: UnixMillis,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) not_before: Option<UnixMillis>,
    /// The store is to count it once this is committed.
    pub(crate) transaction: Option<TransactionId>,
    /// Live subscribers have it already.
    pub(crate) routed: bool,
    pub(crate) retain: Retain,
    /// Its topic retained it when the subscription was made that gets it.
    pub(crate) given: bool,
    /// It comes from the home of before; see [`relocate`](super::relocate).
    pub(crate) moved: Option<Box<Moved>>,
    /// It comes from a home on another node, and is to be stored once.
    pub(crate) handover: Option<Box<Handover>>,
}

/// What a message was before its queue changed its home, beyond what it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) delivery_count: u32,
    /// Of those that wanted it changed.
    pub(crate) annotations: Option<Bytes>,
    /// What every node calls it.
    pub(crate) identity: Option<Reference>,
}

/// What a message is called at the home that passes it on; see [`handover`](super::handover).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    /// The address there.
    pub(crate) address: Arc<str>,
    pub(crate) queue: QueueId,
    pub(crate) label: Label,
}

/// A message of a queue of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) reference: Reference,
    /// When it came there, by the clock of that node: a log that begins anew gives the same references again.
    pub(crate) arrived: UnixMillis,
}

/// Messages of a transaction, each with its address.
pub(crate) type Posts = Vec<(Arc<str>, Publication)>;

impl Publication {
    /// Whether it has been let in before, and counts there still: no limit of its tenant or its owner is in its way.
    pub(crate) fn is_let_in(&self) -> bool {
        matches!(self.source, Source::Forward { .. }) || self.moved.is_some() || self.handover.is_some()
    }

    /// Gives it a body of its own: it will be kept, and a hundred bytes would keep a read buffer alive.
    pub(crate) fn keep(&mut self) {
        if std::mem::take(&mut self.is_slice) {
            self.body = to_keep(std::mem::take(&mut self.body));
        }
    }
}

/// Where a message goes at its home.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Sender(SenderKey),
    Address(Arc<str>),
    /// The copy of a topic that is coming here; see [`copy`](super::copy).
    Copy {
        topic: Arc<str>,
        part: Part,
        number: u64,
    },
}

/// A part of a topic, by a name that holds at any home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What it retains.
    Retained,
    /// A durable subscription that links made.
    Durable(Arc<str>),
    /// A subscription that is an address.
    Administered(Arc<str>),
    /// One that is not durable, which the home that it leaves calls so.
    Volatile(HomeKey),
}

/// A consumer's link, by its shard and what that calls it.
pub(crate) type Link = (ShardId, ConsumerKey);

/// A durable subscription, on its way to another home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopiedSubscription {
    pub(crate) name: Arc<str>,
    pub(crate) filters: Vec<Arc<str>>,
    pub(crate) shared: bool,
    pub(crate) ends_unclaimed: bool,
    pub(crate) max_consumers: u32,
    pub(crate) definition: Bytes,
    /// All of them, or some more.
    pub(crate) claims: Vec<Arc<str>>,
    pub(crate) more_claims: bool,
    /// If it ends when nobody consumes from it: all that do, or some more.
    pub(crate) links: Vec<Link>,
    pub(crate) feeding: Feed,
}

/// A subscription that is not durable, on its way to another home.
#[derive(Clone, Debug)]
pub(crate) struct CopiedVolatile {
    /// What the home that it leaves calls it.
    pub(crate) key: HomeKey,
    pub(crate) options: ReceiverOptions,
    /// All that consume from it, or some more.
    pub(crate) links: Vec<Link>,
    /// As in [`CopiedSubscription`].
    pub(crate) feeding: Feed,
}

/// From which filter on, and behind which name, a subscription is still to be given what its topic retains.
pub(crate) type Feed = Option<(u32, Option<Arc<str>>)>;

/// A message that nobody has any more at the home of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenBack {
    pub(crate) number: u64,
    pub(crate) delivery_count: u32,
    pub(crate) annotations: Option<Bytes>,
}

/// A consumer as its home has to know it.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverOptions {
    pub(crate) browse: bool,
    pub(crate) exclusive: bool,
    pub(crate) filter: Option<Arc<dyn Filter>>,
    pub(crate) not_from: Option<u64>,
    /// For topics: the names that it gets.
    pub(crate) levels: Option<Arc<str>>,
    pub(crate) subscription: Option<Box<SubscriptionOptions>>,
    /// A new subscription begins with what the topic retains.
    pub(crate) retained: bool,
    /// Its filter came from another node and cannot be read here: it is not let in.
    pub(crate) unreadable: bool,
}

/// A delivery on its way from the home to a link.
#[derive(Debug)]
pub(crate) struct Handout {
    pub(crate) entry: EntryKey,
    /// Nothing comes back for it.
    pub(crate) browse: bool,
    pub(crate) message_format: u32,
    pub(crate) body: Bytes,
    /// What was left of its time to live when it was handed out.
    pub(crate) ttl_left: Option<Duration>,
    pub(crate) redelivery: Option<Box<Redelivery>>,
    /// What the store calls it.
    pub(crate) reference: Option<Reference>,
    /// That is what every node calls it: it has come with its topic, and its name says where it came in.
    pub(crate) is_named: bool,
}

/// A message between a link's shard and a home; see the module.
#[derive(Debug)]
pub(crate) enum Wire {
    AddSender { producer: ProducerKey, address: Arc<str> },
    RemoveSender { sender: SenderKey },
    Publish { to: Destination, publication: Box<Publication> },
    AddReceiver { consumer: ConsumerKey, address: Arc<str>, options: Box<ReceiverOptions> },
    RemoveReceiver { receiver: ReceiverKey },
    Unsubscribe { receiver: ReceiverKey },
    SetFilters { receiver: ReceiverKey, filters: Filters },
    EndDurable { topic: Arc<str>, name: Arc<str>, claim: Option<Arc<str>>, number: u64 },
    AskRetained { number: u64, topic: Arc<str>, question: Box<Question>, fences: u16 },
    Fence { home: ShardId, number: u64 },
    Fenced { asker: ShardId, number: u64 },
    FencesLost { home: ShardId },
    Unask { number: u64 },
    RetainedPage { number: u64, page: Box<RetainedPage> },
    Credit { receiver: ReceiverKey, limit: u64, drain: bool, number: u32 },
    Park { receiver: ReceiverKey, got: u64, number: u32 },
    Window { receiver: ReceiverKey, bytes: u32 },
    Settle { receiver: ReceiverKey, entry: EntryKey, outcome: Outcome },
    Return { receiver: ReceiverKey, entry: EntryKey, bytes: u32 },
    ForwardAnswer { forward: ForwardKey, outcome: Outcome },
    AskPassed { address: Arc<str>, number: u64 },
    Passed { number: u64 },
    Retire { transaction: TransactionId, receiver: ReceiverKey, entry: EntryKey, outcome: Outcome },
    Prepare { transaction: TransactionId, across: bool, posts: Posts },
    Conclude { transaction: TransactionId, commit: bool },
    CopyBegin { topic: Arc<str>, round: u64 },
    CopySubscription { topic: Arc<str>, subscription: Box<CopiedSubscription> },
    CopyVolatile { topic: Arc<str>, subscription: Box<CopiedVolatile> },
    CopyEnd { topic: Arc<str>, part: Part },
    CopyGone { topic: Arc<str>, numbers: Vec<u64> },
    CopyHeld { topic: Arc<str>, numbers: Vec<u64> },
    CopyBack { topic: Arc<str>, entries: Vec<GivenBack> },
    CopyComplete { topic: Arc<str>, round: u64 },
    Heard { number: u64 },
    Left { queue: QueueId, labels: Vec<Label> },
    AskLeft { queue: QueueId, labels: Vec<Label> },

    CopyReady { topic: Arc<str>, round: u64, is_ready: bool },
    CopyCompleted { topic: Arc<str>, round: u64, is_complete: bool },
    AskHeard { number: u64 },
    Prepared { transaction: TransactionId, failed: Option<Box<ErrorInfo>>, logged: bool },
    Concluded { transaction: TransactionId },

    Opened { producer: ProducerKey, sender: SenderKey, active: bool },
    Flow { producer: ProducerKey, active: bool },
    Attached { consumer: ConsumerKey, receiver: ReceiverKey },
    Refiltered { consumer: ConsumerKey },
    Ended { number: u64 },
    Deliver { consumer: ConsumerKey, handout: Handout },
    Drained { consumer: ConsumerKey, number: u32 },
    Waiting { consumer: ConsumerKey, number: u32 },
    Answer { source: Source, outcome: Outcome },
    CloseProducer { producer: ProducerKey, reason: CloseReason },
    CloseConsumer { consumer: ConsumerKey, reason: CloseReason },
}
