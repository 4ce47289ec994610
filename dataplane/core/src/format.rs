//! What the core has to know or change of a message, and leaves to its caller, who knows the
//! encodings. None of it is on the path of a message that is delivered the first time to a consumer
//! without a filter.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::outcome::ErrorInfo;
use crate::settings::QueueSettings;

/// Reads and changes encoded messages.
pub trait Format: Send + Sync + Debug {
    /// What the queue goes by. Called only for queues with groups, last values or duplicate detection.
    fn keys(&self, message_format: u32, message: &[u8]) -> MessageKeys;

    /// The message with these annotations. Called when a message leaves its queue for another address;
    /// what a consumer gets is annotated by the caller itself (see [`Redelivery`]).
    fn annotate(&self, message_format: u32, message: &Bytes, notes: &Notes) -> Bytes;

    /// The message with the name to which it was sent in it; `None` when it says so already, or cannot.
    /// Called for messages of a topic that a subscription gets whose consumers need to know, as those with
    /// [`settings`](crate::SubscriptionOptions::settings) or a
    /// [`claim`](crate::SubscriptionOptions::claim).
    fn named(&self, message_format: u32, message: &Bytes, name: &str) -> Option<Bytes> {
        let _ = (message_format, message, name);
        None
    }

    /// Two maps of annotations as one; entries of the later one win. Called when several consumers in
    /// turn wanted to add some to one message.
    fn merge(&self, earlier: &Bytes, later: &Bytes) -> Bytes {
        let _ = earlier;
        later.clone()
    }

    /// The filter of a durable subscription that was made before the node was started, from the
    /// [`definition`](crate::SubscriptionOptions::definition) that was kept for it.
    fn restore(&self, definition: &[u8]) -> RestoredFilter;
}

/// Which messages a consumer or a subscription gets.
pub trait Filter: Send + Sync + Debug {
    /// Whether it gets this one. Called often: it should look only at what it needs.
    fn matches(&self, message_format: u32, message: &[u8]) -> bool;

    /// What makes the same filter on another node; see [`FilterCodec`](crate::FilterCodec).
    fn text(&self) -> &str;
}

/// The properties of a message that a queue may go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageKeys {
    pub message_id: Option<Bytes>,
    pub group: Option<Bytes>,
    pub last_value: Option<Bytes>,
}

/// What is to be added to the annotations of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// An encoded map, collected from the `modified` outcomes of consumers: later entries win.
    pub merge: Option<Bytes>,
    pub dead_letter: Option<DeadLetter>,
}

/// Why a message left its queue other than to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub reason: DeadLetterReason,
    /// The queue that it left.
    pub from: Arc<str>,
    /// What the consumer said that rejected it.
    pub error: Option<ErrorInfo>,
    /// How often it was delivered and not processed.
    pub delivery_count: u32,
}

/// Why a message left its queue other than to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// A consumer rejected it.
    Rejected,
    /// Its time to live ran out.
    Expired,
    /// Consumers failed to process it as often as the queue allows.
    MaxDeliveries,
    /// No consumer may get it: one said that it cannot be delivered there.
    Undeliverable,
}

impl DeadLetterReason {
    /// The reason in one word, as it stands in annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxDeliveries => "max-deliveries",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// How a delivery differs from the message that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redelivery {
    /// How often it was delivered and not processed before (AMQP 3.2.1).
    pub delivery_count: u32,
    /// An encoded map to merge into the message annotations; later entries win.
    pub annotations: Option<Bytes>,
    /// It is what the topic retained when the subscription was made.
    pub retained: bool,
}

/// What is known of a durable subscription's filter after a restart.
#[derive(Clone, Debug, Default)]
pub struct RestoredFilter {
    pub filter: Option<Arc<dyn Filter>>,
    /// See [`SubscriptionOptions::not_from`](crate::SubscriptionOptions::not_from).
    pub not_from: Option<u64>,
    /// See [`SubscriptionOptions::settings`](crate::SubscriptionOptions::settings).
    pub settings: Option<Arc<QueueSettings>>,
    /// See [`SubscriptionOptions::durable_only`](crate::SubscriptionOptions::durable_only).
    pub durable_only: bool,
}
