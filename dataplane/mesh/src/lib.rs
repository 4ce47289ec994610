//! What makes many nodes one system, without IO: frames, link state, channels, replicated objects.
//!
//! Nodes know their neighbours by *connections*, of which two nodes may have several. On each the first
//! frame is a [`frame::Hello`]; then run heartbeats, link state and segments.
//!
//! - [`Router`], one per node: which nodes there are, which can be reached, over which neighbours.
//! - [`Channel`], one per pair of shards of two nodes: messages in order, none lost, none twice, whichever
//!   way the segments take. A node in the middle forwards segments and may drop them; it never waits.
//! - [`replica`]: objects that every node holds.
//!
//! None of them has a socket, a clock, a task or a random source: time comes in as `now`, which never goes
//! back, and what should leave is polled. The same input gives the same run.

// What this package may not touch stands in its clippy.toml; tests may.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
// A peer's bytes must not be able to stop the process.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

pub mod channel;
pub mod frame;
pub mod replica;
pub mod router;

mod identity;
mod wire;

pub use channel::{Channel, ChannelEvent, ChannelOptions, ChannelStatistics, Messages, Reset, SendError};
pub use frame::{Frame, FrameError, FrameReader, Segment};
pub use identity::{CONTROL_SHARD, ConnectionKey, Endpoint, Epoch, Incarnation, NodeId};
pub use router::{
    Node, Refused, Route, Router, RouterError, RouterEvent, RouterOptions, RouterStatistics, Routes,
};
