//! Who is at fault: the peer ([`PeerError`]) or the caller ([`Misuse`]).

use crate::performative::Error;
use crate::value::{Symbol, Text};

/// Error conditions of AMQP 1.0 (2.8.15 to 2.8.18, 4.5.8).
pub mod condition {
    pub const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub const NOT_FOUND: &str = "amqp:not-found";
    pub const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";
    pub const DECODE_ERROR: &str = "amqp:decode-error";
    pub const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    pub const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub const INVALID_FIELD: &str = "amqp:invalid-field";
    pub const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
    pub const RESOURCE_LOCKED: &str = "amqp:resource-locked";
    pub const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
    pub const RESOURCE_DELETED: &str = "amqp:resource-deleted";
    pub const ILLEGAL_STATE: &str = "amqp:illegal-state";
    pub const CONNECTION_FORCED: &str = "amqp:connection:forced";
    pub const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    pub const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
    pub const ERRANT_LINK: &str = "amqp:session:errant-link";
    pub const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    pub const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    pub const DETACH_FORCED: &str = "amqp:link:detach-forced";
    pub const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
    pub const LINK_STOLEN: &str = "amqp:link:stolen";
    /// The coordinator knows no transaction of this id (AMQP 4.5.8).
    pub const UNKNOWN_TRANSACTION: &str = "amqp:transaction:unknown-id";
    pub const TRANSACTION_ROLLBACK: &str = "amqp:transaction:rollback";
    pub const TRANSACTION_TIMEOUT: &str = "amqp:transaction:timeout";
}

/// The peer broke a rule that ends the connection. The engine has already queued the close frame
/// (or the protocol header) that says so; the caller writes it out and closes the socket.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The first bytes are not a protocol header that we speak (AMQP 2.2).
    #[error("the peer speaks another protocol or version: {0}")]
    Header(String),
    /// A frame is malformed, out of place or breaks a limit.
    #[error("{}: {description}", condition)]
    Connection { condition: &'static str, description: String },
    /// No frame within our idle timeout (AMQP 2.4.5).
    #[error("no frame within the idle timeout of {0} ms")]
    Idle(u128),
    /// The opening handshake took too long.
    #[error("the opening handshake took longer than {0} ms")]
    Handshake(u128),
    /// The peer did not answer our close in time.
    #[error("no close frame within {0} ms of ours")]
    CloseTimeout(u128),
}

impl PeerError {
    pub(crate) fn framing(description: impl Into<String>) -> Self {
        Self::Connection { condition: condition::FRAMING_ERROR, description: description.into() }
    }

    pub(crate) fn connection(condition: &'static str, description: impl Into<String>) -> Self {
        Self::Connection { condition, description: description.into() }
    }

    /// The condition of the close frame that goes with the error.
    pub fn condition(&self) -> &'static str {
        match self {
            Self::Connection { condition, .. } => condition,
            Self::Idle(_) | Self::Handshake(_) => condition::RESOURCE_LIMIT_EXCEEDED,
            Self::Header(_) | Self::CloseTimeout(_) => condition::FRAMING_ERROR,
        }
    }
}

/// The caller broke the engine's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    #[error("no such session")]
    NoSession,
    #[error("no such link")]
    NoLink,
    #[error("the link has the other role")]
    WrongRole,
    #[error("the link has no credit")]
    NoCredit,
    #[error("a delivery of the link is unfinished")]
    Unfinished,
    #[error("no delivery of the link is unfinished")]
    NotStarted,
    #[error("not in this state of the connection")]
    State,
    #[error("all channels are in use")]
    NoChannel,
    #[error("all handles are in use")]
    NoHandle,
}

impl Error {
    /// An error with a condition and a sentence.
    pub fn new(condition: &'static str, description: impl AsRef<str>) -> Self {
        Self {
            condition: Symbol::from_static(condition),
            description: Some(Text::from(description.as_ref())),
            info: None,
        }
    }
}
