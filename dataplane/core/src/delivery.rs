//! Messages on their way through the core.

use std::time::Duration;

use bytes::Bytes;

use crate::key::DeliveryKey;

/// The start of a delivery from a producer.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The address that the message names; only read for anonymous producers.
    pub to: Option<&'a str>,
    /// The caller's id of the delivery, which comes back in `UpdateProducer`.
    pub handle: u64,
    /// Whether the producer sent it settled: it wants no outcome.
    pub settled: bool,
    /// 0 to 9, where 9 goes first. Above 9 counts as 9. AMQP's default is 4.
    pub priority: u8,
    /// How long the message may wait for a consumer.
    pub ttl: Option<Duration>,
    /// Passed on as it is.
    pub message_format: u32,
    /// The first bytes of the message.
    pub chunk: Bytes,
    /// Whether `append` or `abort` follows.
    pub more: bool,
}

/// What became of the start of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The key for `append`, `abort` and `settle_by_producer`. `None` when none of them can follow:
    /// the delivery is whole, and settled or about to be.
    pub delivery: Option<DeliveryKey>,
    /// Whether the chunk has left the core. If not, `Consumed` reports its bytes later.
    pub consumed: bool,
}

/// A whole message of at most so many bytes is copied when it has to wait: it is a slice of a read
/// buffer, and a hundred bytes would keep all of that buffer alive.
pub const COPY_UP_TO: usize = 4096;
