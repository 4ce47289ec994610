//! The control packets of both versions (3), and the values they are made of.

use std::fmt;
use std::num::NonZeroU16;

use bytes::Bytes;

use crate::property::{Properties, PropertySet, PropertyView};
use crate::reason::ReasonCode;

/// A version of the protocol (3.1.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    V3_1_1,
    #[default]
    V5_0,
}

impl Version {
    /// The protocol level in CONNECT.
    pub fn level(self) -> u8 {
        match self {
            Self::V3_1_1 => 4,
            Self::V5_0 => 5,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5_0 => "5.0",
        })
    }
}

/// A quality of service (4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    #[default]
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl Qos {
    /// The quality of service of a number; 3 is malformed (3.3.1.2).
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number on the wire.
    pub fn to_byte(self) -> u8 {
        self as u8
    }
}

/// A packet identifier: never 0 (2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first identifier.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// An identifier from its number, unless that is 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number on the wire.
    pub fn to_number(self) -> u16 {
        self.0.get()
    }

    /// The identifier that follows; 1 follows 65,535.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(NonZeroU16::MIN))
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A string of the protocol (1.5.4): UTF-8 without U+0000, at most 65,535 bytes. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

/// Why a string cannot be one of the protocol (1.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("the string is not valid UTF-8")]
    NotUtf8,
    #[error("the string contains U+0000")]
    Null,
    #[error("the string has {0} bytes, 65,535 is the most")]
    TooLong(usize),
}

impl Text {
    /// A string, checked.
    ///
    /// # Errors
    /// When it contains U+0000 or is longer than 65,535 bytes.
    pub fn new(text: &str) -> Result<Self, TextError> {
        check_text(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// A string in the slice it arrived in, checked.
    ///
    /// # Errors
    /// When the bytes are not a string of the protocol.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, TextError> {
        check_text(&bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        // Checked when it was made. Checking again is what it costs to do without unsafe code.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The characters as bytes, without a further look at them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no character.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy that does not keep the buffer alive that the string arrived in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// Whether bytes are a string of the protocol (1.5.4-1, 1.5.4-2).
pub(crate) fn check_text(bytes: &[u8]) -> Result<&str, TextError> {
    if bytes.len() > usize::from(u16::MAX) {
        return Err(TextError::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| TextError::NotUtf8)?;
    if bytes.contains(&0) {
        return Err(TextError::Null);
    }
    Ok(text)
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    Connect(Box<Connect>),
    ConnAck(Box<ConnAck>),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Box<Subscribe>),
    SubAck(Box<SubAck>),
    Unsubscribe(Box<Unsubscribe>),
    UnsubAck(Box<UnsubAck>),
    PingReq,
    PingResp,
    Disconnect(Box<Disconnect>),
    Auth(Box<Auth>),
}

/// A message that the server publishes when the client is gone (3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub topic: Text,
    pub payload: Bytes,
    pub qos: Qos,
    pub retain: bool,
    pub properties: Properties,
}

/// A client asks to be let in (3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    pub version: Version,
    /// Forget an earlier session (3.1.2.4); in 3.1.1 also: keep none afterwards.
    pub clean_start: bool,
    /// Seconds; 0 means none (3.1.2.10).
    pub keep_alive: u16,
    pub client_id: Text,
    pub will: Option<Will>,
    pub user_name: Option<Text>,
    pub password: Option<Bytes>,
    pub properties: Properties,
}

/// The server's answer to a CONNECT (3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    pub session_present: bool,
    pub reason: ReasonCode,
    pub properties: Properties,
}

/// A message on its way (3.3): one slice of what arrived, taken apart only when asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// It may be an attempt to send it again (3.3.1.1).
    pub duplicate: bool,
    pub qos: Qos,
    pub retain: bool,
    /// Present with QoS 1 and 2 (3.3.2.2).
    pub packet_id: Option<PacketId>,
    /// The variable header and the payload.
    pub(crate) body: Bytes,
    /// The topic that the packet's alias stands for; otherwise it is in `body`.
    pub(crate) resolved: Option<Text>,
    /// Which properties there are.
    pub(crate) has: PropertySet,
    pub(crate) topic_length: u16,
    pub(crate) properties_start: u32,
    pub(crate) payload_start: u32,
}

impl Publish {
    /// The topic name; empty only in a packet whose alias has not been resolved.
    pub fn topic(&self) -> &str {
        // Checked when the packet was decoded.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The topic name as bytes, without a further look at them.
    pub fn topic_bytes(&self) -> &[u8] {
        match &self.resolved {
            Some(topic) => topic.as_bytes(),
            None => self.body.get(2..2 + usize::from(self.topic_length)).unwrap_or_default(),
        }
    }

    /// The topic name as a string of its own.
    pub fn topic_text(&self) -> Text {
        match &self.resolved {
            Some(topic) => topic.clone(),
            None => Text(self.body.slice(2..2 + usize::from(self.topic_length))),
        }
    }

    /// The properties, topic alias included; empty in 3.1.1.
    pub fn properties(&self) -> PropertyView<'_> {
        let range = self.properties_start as usize..self.payload_start as usize;
        PropertyView::checked(self.body.get(range).unwrap_or_default())
    }

    /// The properties, to be kept: the slice they arrived in.
    pub fn properties_owned(&self) -> Properties {
        Properties::checked(self.body.slice(self.properties_start as usize..self.payload_start as usize))
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.body.get(self.payload_start as usize..).unwrap_or_default()
    }

    /// The payload, to be kept: the slice it arrived in.
    pub fn payload_bytes(&self) -> Bytes {
        self.body.slice(self.payload_start as usize..)
    }

    /// The payload, to be kept, when nothing else of the packet is needed any more.
    pub fn into_payload(mut self) -> Bytes {
        self.body.split_off(self.payload_start as usize)
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("duplicate", &self.duplicate)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("packet_id", &self.packet_id)
            .field("topic", &self.topic())
            .field("properties", &self.properties())
            .field("payload_bytes", &self.payload().len())
            .finish()
    }
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub packet_id: PacketId,
    pub reason: ReasonCode,
    pub properties: Properties,
}

/// What a server does with retained messages at a subscription (3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Send them.
    #[default]
    Always = 0,
    /// Send them unless the session had the subscription already.
    New = 1,
    /// Send none.
    Never = 2,
}

/// How a subscription wants its messages (3.8.3.1). 3.1.1 has the QoS alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS.
    pub qos: Qos,
    /// None of the client's own messages.
    pub no_local: bool,
    /// The retain flag as it was published.
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// Options that ask for a QoS and leave the rest at its default.
    pub fn new(qos: Qos) -> Self {
        Self { qos, ..Self::default() }
    }

    /// The options of a byte; `None` where a bit is reserved or a value not defined.
    pub fn from_byte(byte: u8, version: Version) -> Option<Self> {
        let qos = Qos::from_byte(byte & 0b11)?;
        if version == Version::V3_1_1 {
            return (byte >> 2 == 0).then_some(Self::new(qos));
        }
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Always,
            1 => RetainHandling::New,
            2 => RetainHandling::Never,
            _ => return None,
        };
        let (no_local, retain_as_published) = (byte & 0b100 != 0, byte & 0b1000 != 0);
        Some(Self { qos, no_local, retain_as_published, retain_handling })
    }

    /// The byte on the wire.
    pub fn to_byte(self, version: Version) -> u8 {
        if version == Version::V3_1_1 {
            return self.qos.to_byte();
        }
        self.qos.to_byte()
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling as u8) << 4
    }
}

/// A topic filter and how it wants its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub filter: Text,
    pub options: SubscriptionOptions,
}

/// A client subscribes (3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    pub packet_id: PacketId,
    pub subscriptions: Vec<Subscription>,
    pub properties: Properties,
}

/// The answer to a SUBSCRIBE: a reason for each filter, in order (3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    pub packet_id: PacketId,
    pub reasons: Vec<ReasonCode>,
    pub properties: Properties,
}

/// A client unsubscribes (3.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    pub packet_id: PacketId,
    pub filters: Vec<Text>,
    pub properties: Properties,
}

/// The answer to an UNSUBSCRIBE: a reason for each filter, in order; none in 3.1.1 (3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    pub packet_id: PacketId,
    pub reasons: Vec<ReasonCode>,
    pub properties: Properties,
}

/// The last packet of a connection (3.14). In 3.1.1 only a client sends it, without a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    pub reason: ReasonCode,
    pub properties: Properties,
}

/// A step of an extended authentication (3.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub reason: ReasonCode,
    pub properties: Properties,
}
