//! Tests that drive whole cores, one or several, in memory and with a virtual clock.

mod bed;
mod check;
mod fleet;
mod follow;
mod handover;
mod limits;
mod live;
mod one_shard;
mod owners;
mod peers;
mod random;
mod relocate;
mod retained;
pub(crate) mod seeds;
mod sessions;
mod sessions_random;
mod shards;
mod shards_random;
mod store;
pub(crate) mod stored;
mod stored_random;
mod streaming;
mod topic_moves;
mod topics;
mod transactions;
