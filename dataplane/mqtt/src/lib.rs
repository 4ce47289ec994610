//! MQTT 3.1.1 and 5.0 without IO: codec, connection, flow control, topic aliases, topic filters.
//!
//! [`Connection`] is fed bytes and time and drained of bytes and events; it serves either side in
//! either version and contains no socket, clock, task or random source. What it does not do: keep
//! messages or subscriptions, decide who may do what, choose between sessions. Sections of the
//! specification are those of MQTT 5.0 (OASIS standard, 7 March 2019) unless 3.1.1 is named.

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

pub mod codec;
pub mod packet;
pub mod property;
pub mod reason;
pub mod topic;

mod alias;
mod connection;
mod error;
mod event;
mod flights;
mod limits;
mod outbox;
mod session;

pub use connection::{Accept, Config, Connection, EncodedPublish, Outgoing, Side};
pub use error::{Blocked, Misuse, PeerError};
pub use event::Event;
pub use limits::Limits;
pub use outbox::SEGMENT_THRESHOLD;
pub use packet::{PacketId, Qos, Version};
pub use reason::ReasonCode;
pub use session::{OutgoingState, SessionState, Unacknowledged};

#[cfg(test)]
mod tests;
