//! AMQP 1.0 without IO: codec, SASL, connection, session, link and message sections.
//!
//! [`Connection`] is fed bytes and time and drained of bytes and events; it serves either side and
//! contains no socket, clock, task or random source. What it does not do: keep messages (they are
//! passed on frame by frame), decide who may do what, resume links.

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
pub mod frame;
pub mod message;
pub mod performative;
pub mod transaction;
pub mod value;

mod connection;
mod error;
mod event;
mod limits;
mod link;
mod outbox;
mod session;
mod window;

pub use connection::{Config, Connection, Side};
pub use error::{Misuse, PeerError, condition};
pub use event::{DeliveryKey, Event, Events, IncomingTransfer, LinkKey, NO_TOKEN, SessionKey};
pub use limits::Limits;
pub use link::LinkInfo;
pub use outbox::SEGMENT_THRESHOLD;
pub use session::{Outgoing, SessionInfo, Terms};

#[cfg(test)]
mod tests;
