//! What cores tell each other, as bytes: for those whose nodes differ.
//!
//! Between two shards of one node a [`PeerMessage`] stays what it is. For a shard of another node it is
//! encoded, carried as one message of a channel, and decoded there. What carries it keeps its length: a
//! body stands at the end and has none of its own.
//!
//! - The first byte says which message it is. What a byte means never changes; a message that gets another
//!   field gets another byte, which a node may say once every other one knows it ([`WIRE_VERSION`]). Nodes
//!   without a common version ([`common_version`]) do not speak with each other. A byte that is not known,
//!   and bytes that make no message of their kind, are an error that ends the channel: nothing of the message
//!   takes effect.
//! - Keys and sequences are 8 bytes, as they change with each message and are large; other numbers LEB128.
//! - A shard is told as the sender's own, the receiver's own, or by the name of its node: every node
//!   numbers the others in its own way.
//! - Clocks of nodes differ: times travel as milliseconds from now, into the future or the past.
//! - A selector travels as its text.
//! - Bodies above [`COPY_UP_TO`](crate::COPY_UP_TO) are not copied, on either side.

mod field;
mod message;
mod record;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use self::field::{Decoder, Encoder};
pub(crate) use self::run::Runs;
pub use self::run::{OF_CORE, Run};
#[cfg(test)]
pub(crate) use self::tests::{carry, messages_of};
use crate::core::Core;
use crate::format::Filter;
use crate::peer::PeerMessage;
use crate::settings::ShardId;
use crate::store::UnixMillis;

/// The newest version of these messages that this build speaks.
pub const WIRE_VERSION: u16 = 1;

/// The oldest one.
pub const OLDEST_WIRE_VERSION: u16 = 1;

/// Bytes of a message with its body. What carries messages has to take as many.
pub const MAX_WIRE_BYTES: usize = 32 << 20;

/// Bytes that a message takes at most beside its body, names and annotations: a body with so many bytes
/// less than [`MAX_WIRE_BYTES`] always fits.
pub const MAX_WIRE_HEAD: usize = 1 << 20;

/// Filters of one subscription.
const MAX_FILTERS: usize = 1 << 20;

/// Messages, or claims, that are spoken of at once while a topic is copied.
pub(crate) const MAX_COPIED: usize = 1_024;

/// Messages in the part of a transaction.
const MAX_POSTS: usize = 1 << 20;

/// The newest version that two nodes both speak, from the oldest and the newest one that the other says.
///
/// # Errors
/// `NoCommonVersion` when there is none.
pub fn common_version(oldest: u16, newest: u16) -> Result<u16, WireError> {
    let version = newest.min(WIRE_VERSION);
    if version < OLDEST_WIRE_VERSION.max(oldest) {
        return Err(WireError::NoCommonVersion { oldest, newest });
    }
    Ok(version)
}

/// Names the shards of the fleet in a way that every node understands.
pub trait ShardNames {
    /// The node of a shard, and which of its shards it is.
    fn name(&self, shard: ShardId) -> (u64, u16);

    /// The shard of that name. A node that is new gets a slot, as long as there is room for one: with
    /// `None` the channel ends.
    fn shard(&self, node: u64, shard: u16) -> Option<ShardId>;
}

/// Makes filters of their texts.
pub trait FilterCodec {
    /// The filter whose [`text`](Filter::text) that is.
    ///
    /// # Errors
    /// What is wrong with it, for the log. The consumer is not let in then.
    fn filter(&self, text: &str) -> Result<Arc<dyn Filter>, Box<str>>;
}

/// Between whom a message passes, and when.
#[derive(Clone, Copy)]
pub struct WireContext<'a> {
    /// The shard that encodes or decodes.
    pub here: ShardId,
    /// The shard at the other end, as this node numbers it.
    pub there: ShardId,
    pub now: Instant,
    /// What the core of this shard takes `now` for.
    pub unix: UnixMillis,
    pub names: &'a dyn ShardNames,
}

impl std::fmt::Debug for WireContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireContext")
            .field("here", &self.here)
            .field("there", &self.there)
            .field("now", &self.now)
            .field("unix", &self.unix)
            .finish_non_exhaustive()
    }
}

/// Why bytes are no message, or a message cannot be put into bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("{0} ends early, or a number in it is too large")]
    Ends(&'static str),
    #[error("{what} {number} is not known: the other node is of a version that this one does not speak")]
    Unknown { what: &'static str, number: u64 },
    #[error("{0} is 0, which names nothing")]
    NoKey(&'static str),
    #[error("{0} is not text in UTF-8")]
    NotText(&'static str),
    #[error("{what} are {number}, and may be {limit}")]
    TooMany { what: &'static str, number: usize, limit: usize },
    #[error("{bytes} bytes follow the end of {what}")]
    Longer { what: &'static str, bytes: usize },
    #[error("node {0:#018x} is not known here, and there is no room for another one")]
    UnknownNode(u64),
    #[error(
        "the other node speaks versions {oldest} to {newest} of messages between cores, and this one \
         {OLDEST_WIRE_VERSION} to {WIRE_VERSION}; upgrade one node at a time, version by version"
    )]
    NoCommonVersion { oldest: u16, newest: u16 },
}

impl Core {
    /// What this core's messages to and from the shard `there` are encoded and decoded with.
    pub fn wire_context<'a>(
        &self,
        now: Instant,
        there: ShardId,
        names: &'a dyn ShardNames,
    ) -> WireContext<'a> {
        WireContext { here: self.shard, there, now, unix: self.unix(now), names }
    }
}

impl PeerMessage {
    /// Appends the message to `out`, but for the body when that is large: then it is returned, to follow
    /// behind what was appended, by reference. Otherwise what is returned is empty.
    ///
    /// # Errors
    /// `TooMany` when it has more than [`MAX_WIRE_BYTES`]; `out` is as before then.
    pub fn encode(&self, context: &WireContext<'_>, out: &mut BytesMut) -> Result<Bytes, WireError> {
        let start = out.len();
        let mut encoder = Encoder::new(context, out);
        self.put(&mut encoder);
        let tail = encoder.finish();
        let number = out.len() - start + tail.len();
        if number > MAX_WIRE_BYTES {
            out.truncate(start);
            return Err(WireError::TooMany { what: "bytes of a message", number, limit: MAX_WIRE_BYTES });
        }
        Ok(tail)
    }

    /// The message that is all of `input`. Large bodies stay part of it, as do small ones that are not kept
    /// long; what is kept is copied.
    ///
    /// # Errors
    /// What is wrong with it. The channel should be reset then: what follows cannot be relied on.
    pub fn decode(
        input: &Bytes,
        context: &WireContext<'_>,
        filters: &dyn FilterCodec,
    ) -> Result<Self, WireError> {
        let mut decoder = Self::decoder(input, context, filters)?;
        let message = Self::take(&mut decoder)?;
        decoder.end()?;
        Ok(message)
    }

    #[inline]
    fn decoder<'a>(
        input: &'a Bytes,
        context: &'a WireContext<'a>,
        filters: &'a dyn FilterCodec,
    ) -> Result<Decoder<'a>, WireError> {
        let (number, limit) = (input.len(), MAX_WIRE_BYTES);
        if number > limit {
            return Err(WireError::TooMany { what: "bytes of a message", number, limit });
        }
        Ok(Decoder::new(context, filters, input))
    }
}
