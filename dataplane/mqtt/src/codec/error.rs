//! Why bytes are not a packet.

use crate::packet::TextError;
use crate::property::{PropertyId, PropertyIn};
use crate::reason::ReasonCode;
use crate::topic::TopicError;

/// Bytes that are not the packet they should be. `offset` counts bytes from the start of the packet's
/// body: what follows its remaining length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("packet type {0} is not defined")]
    PacketType(u8),
    #[error("{what} has the flags {flags:#06b}, which are reserved")]
    Flags { what: &'static str, flags: u8 },
    #[error("a packet of {size} bytes is larger than the limit of {limit}")]
    TooLarge { size: usize, limit: u32 },
    #[error("{what} ends too early: {missing} more bytes are needed at byte {offset}")]
    Truncated { what: &'static str, missing: usize, offset: usize },
    #[error("{what} has {count} bytes left over at byte {offset}")]
    LeftOver { what: &'static str, count: usize, offset: usize },
    #[error(
        "{what} is a variable byte integer of more than 4 bytes, or longer than it needs, at byte {offset}"
    )]
    Variable { what: &'static str, offset: usize },
    #[error("{what}: {source} at byte {offset}")]
    Text { what: &'static str, source: TextError, offset: usize },
    #[error("{what} has the value {value:#04x}, which is not defined, at byte {offset}")]
    Value { what: &'static str, value: u8, offset: usize },
    #[error("{what} has the value {value:#04x}, which is not allowed, at byte {offset}")]
    NotAllowed { what: &'static str, value: u8, offset: usize },
    #[error("{what} has packet identifier 0")]
    PacketIdZero { what: &'static str },
    #[error("{what} has no topic filter")]
    NoFilter { what: &'static str },
    #[error("more than {limit} {what} at byte {offset}")]
    TooMany { what: &'static str, limit: u16, offset: usize },
    #[error("the protocol is not MQTT, or its level {level} is not one of 4 and 5")]
    Protocol { level: u8 },
    #[error("property identifier {number:#04x} at byte {offset} is not defined")]
    UnknownProperty { number: u32, offset: usize },
    #[error("{} at byte {offset} is not allowed in {}", id.name(), place.name())]
    PropertyNotAllowed { id: PropertyId, place: PropertyIn, offset: usize },
    #[error("{} stands in {} a second time at byte {offset}", id.name(), place.name())]
    PropertyRepeated { id: PropertyId, place: PropertyIn, offset: usize },
    #[error("{} at byte {offset} has a value that is not allowed", id.name())]
    PropertyValue { id: PropertyId, value: u32, offset: usize },
    #[error("topic alias 0 at byte {offset}")]
    TopicAliasZero { offset: usize },
    #[error("authentication data without an authentication method")]
    AuthenticationMethodMissing,
    #[error("topic name: {0}")]
    TopicName(TopicError),
    #[error("topic filter: {0}")]
    TopicFilter(TopicError),
    #[error("neither a topic name nor a topic alias")]
    NoTopic,
    #[error("no local on a shared subscription")]
    SharedNoLocal,
}

impl DecodeError {
    /// The reason code to end the connection with (4.13).
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::PacketType(_)
            | Self::Flags { .. }
            | Self::Truncated { .. }
            | Self::LeftOver { .. }
            | Self::Variable { .. }
            | Self::Text { .. }
            | Self::Value { .. }
            // 2.2.2.2: "A Control Packet which contains an Identifier which is not valid for its
            // packet type [...] is a Malformed Packet."
            | Self::UnknownProperty { .. }
            | Self::PropertyNotAllowed { .. } => ReasonCode::MalformedPacket,
            Self::NotAllowed { .. }
            | Self::PacketIdZero { .. }
            | Self::NoFilter { .. }
            | Self::PropertyRepeated { .. }
            | Self::PropertyValue { .. }
            | Self::AuthenticationMethodMissing
            | Self::NoTopic
            | Self::SharedNoLocal => ReasonCode::ProtocolError,
            Self::TooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooMany { .. } => ReasonCode::QuotaExceeded,
            Self::Protocol { .. } => ReasonCode::UnsupportedProtocolVersion,
            Self::TopicAliasZero { .. } => ReasonCode::TopicAliasInvalid,
            Self::TopicName(_) => ReasonCode::TopicNameInvalid,
            Self::TopicFilter(_) => ReasonCode::TopicFilterInvalid,
        }
    }
}
