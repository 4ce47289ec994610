//! Addresses across shards.

/// A message between the cores of two shards; opaque to everyone else.
#[derive(Clone, Debug)]
pub struct PeerMessage(());

/// A whole message of at most so many bytes counts as consumed when it is sent to another shard:
/// the number of such messages is bounded by the limit that the other shard has given.
pub const PEER_FREE_BYTES: usize = 2048;
