//! Who a client is, without IO: SASL exchanges, verifiers of passwords, tokens and a throttle.
//!
//! - [`Exchange`]: the server's side of one SASL exchange (RFC 4422), whichever protocol carries it. It
//!   reads what the client says and *asks* what it cannot know: the caller answers at once (a verifier
//!   from the table of users) or later (a hash that takes its time, a service to be asked).
//! - [`Verifiers`]: what is kept of a password instead of it.
//! - [`token`]: tokens of an identity provider, and the keys that they are signed with.
//! - [`Throttle`]: how long whoever has failed has to wait.
//!
//! What a user may do is not decided here. Nothing has a clock, a random source or a socket: time, salts
//! and nonces come in. Passwords are [`Secret`]s, errors and `Debug` never show one.

// What this package may not touch stands in its clippy.toml; tests may.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]
// A client's bytes must not be able to stop the process.
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

mod client;
mod exchange;
mod mechanism;
mod oauth;
mod password;
mod plain;
mod prepare;
mod refusal;
mod scram;
mod throttle;
pub mod token;
mod verifiers;

pub use client::{ScramClient, ScramError};
pub use exchange::{Answer, Authenticated, Exchange, Question, ServerNonce, Step};
pub use mechanism::Mechanism;
pub use mq_model::Secret;
pub use password::PasswordVerifier;
pub use prepare::{MAX_NAME, MAX_PASSWORD, MAX_TOKEN, Unprepared, prepare_name, prepare_password};
pub use refusal::Refusal;
pub use scram::{DEFAULT_ITERATIONS, MAX_ITERATIONS, MIN_ITERATIONS, ScramHash, ScramVerifier};
pub use throttle::{Throttle, ThrottleOptions};
pub use verifiers::{InvalidVerifier, Salts, Verifiers};
