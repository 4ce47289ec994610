//! Who is at fault: the peer ([`PeerError`]), nobody ([`Blocked`]) or the caller ([`Misuse`]).

use crate::codec::DecodeError;
use crate::reason::ReasonCode;

/// The peer broke a rule that ends the connection. The engine has already queued the packet that says
/// so, where the version has one; the caller writes it out, half-closes the socket, and drops input
/// until the peer closes (a reset would destroy the packet unread).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A packet is malformed, or not allowed as it is (4.13).
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// A packet is well-formed and out of place, or crosses a limit.
    #[error("{reason}: {description}")]
    Protocol { reason: ReasonCode, description: String },
    /// A CONNECT that is refused before the caller hears of it.
    #[error("{reason}: {description}")]
    Refused { reason: ReasonCode, description: String },
    /// Nothing came within one and a half times the keep alive (3.1.2.10).
    #[error("no packet within {0} ms, one and a half times the keep alive")]
    KeepAlive(u128),
    /// No answer to a PINGREQ.
    #[error("no answer to a ping within {0} ms")]
    Ping(u128),
    /// The handshake took too long.
    #[error("the handshake took longer than {0} ms")]
    Handshake(u128),
}

impl PeerError {
    /// The reason code that goes with the error.
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Packet(error) => error.reason(),
            Self::Protocol { reason, .. } | Self::Refused { reason, .. } => *reason,
            Self::KeepAlive(_) | Self::Ping(_) => ReasonCode::KeepAliveTimeout,
            Self::Handshake(_) => ReasonCode::MaximumConnectTime,
        }
    }

    pub(crate) fn protocol(reason: ReasonCode, description: impl Into<String>) -> Self {
        Self::Protocol { reason, description: description.into() }
    }
}

/// Why something was not sent. Nothing has changed: it may be tried again where that helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Blocked {
    /// The peer's receive maximum, or our own bound, is used up: wait for an acknowledgement.
    #[error("as many publications are in flight as the peer takes")]
    Window,
    /// Publications of the resumed session have to be sent again first (4.4, 4.6).
    #[error("publications of the resumed session have to be sent again first")]
    Resend,
    /// Larger than the peer takes (3.1.2.11.4): to be dropped as if it had been sent.
    #[error("a packet of {size} bytes is larger than the {limit} that the peer takes")]
    TooLarge { size: usize, limit: u32 },
    /// The server does not offer it (3.2.2.3).
    #[error("{0}: the server does not offer it")]
    NotOffered(ReasonCode),
    /// The topic name or filter is not one.
    #[error("{0}")]
    Topic(#[from] crate::topic::TopicError),
    /// 3.8.3-4: a shared subscription gets whatever the group is sent.
    #[error("no local on a shared subscription")]
    SharedNoLocal,
    /// A property does not belong there.
    #[error("{0}")]
    Property(#[from] crate::property::PropertyError),
    /// The connection is not open, or the other side of one does this.
    #[error("the connection is not open")]
    NotOpen,
    /// It was encoded for another version, or is not encoded.
    #[error("the packet is not encoded for the version of the connection")]
    Version,
    /// Every packet identifier is in use.
    #[error("every packet identifier is in use")]
    NoPacketId,
}

/// The caller broke the engine's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    #[error("not in this state of the connection")]
    State,
    #[error("the other side of a connection does this")]
    WrongSide,
    #[error("no publication with packet identifier {0} is under way")]
    UnknownPacketId(u16),
    #[error("reason code {0} is not allowed in this packet")]
    Reason(ReasonCode),
    #[error("a property is not allowed in this packet")]
    Property,
    #[error("a value does not fit the packet: {0}")]
    Value(&'static str),
    #[error("the packet has {size} bytes, the peer takes {limit}")]
    TooLarge { size: usize, limit: u32 },
}
