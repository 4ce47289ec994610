//! The mq data-plane daemon: the only place with sockets, threads and clocks.

pub mod hub;
pub mod shard;
mod mailbox;
mod driver;
