//! The sections of a message (AMQP 3.2): where they are, and what is in the ones a router reads.
//!
//! A message is forwarded byte for byte. [`MessageIndex`] says where each section lies without decoding
//! any; the decoders here are for whoever asks for the content of one.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    codec::DecodeError,
    value::{Symbol, Text, Value},
};

/// What kind of sections a body consists of (AMQP 3.2.6 to 3.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// One or more binary sections.
    Data,
    /// One or more lists.
    Sequence,
    /// A single value.
    Value,
}

/// Where the sections of a message lie. Every range is a whole section, its descriptor included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIndex {
    pub header: Option<Range<usize>>,
    pub delivery_annotations: Option<Range<usize>>,
    pub message_annotations: Option<Range<usize>>,
    pub properties: Option<Range<usize>>,
    pub application_properties: Option<Range<usize>>,
    /// All body sections together. When `complete` is false the last one may be cut short.
    pub body: Option<(BodyKind, Range<usize>)>,
    pub footer: Option<Range<usize>>,
    /// Where the bare message begins (AMQP 3.2): behind header and annotations.
    pub bare_start: usize,
    /// Whether the bytes end where a section ends. They do not in most first fragments of a long message.
    pub complete: bool,
}

impl MessageIndex {
    /// Finds the sections of a message, or of the first bytes of one, and checks their order (AMQP 3.2).
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> { todo!("{bytes:?}") }
}

/// The header section (AMQP 3.2.1), absent fields at their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub durable: bool,
    pub priority: u8,
    /// Milliseconds.
    pub ttl: Option<u32>,
    pub first_acquirer: bool,
    pub delivery_count: u32,
}

impl Header {
    /// Decodes a header section, descriptor included.
    pub fn decode(section: &[u8]) -> Result<Self, DecodeError> { todo!("{section:?}") }
    /// Appends the section, descriptor included.
    pub fn encode(&self, out: &mut BytesMut) { todo!("{out:?}") }
}

/// The types a message id may have (AMQP 3.2.11 to 3.2.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageId {
    ULong(u64),
    Uuid([u8; 16]),
    Binary(Bytes),
    String(Text),
}

/// The properties section (AMQP 3.2.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    pub message_id: Option<MessageId>,
    pub user_id: Option<Bytes>,
    pub to: Option<Text>,
    pub subject: Option<Text>,
    pub reply_to: Option<Text>,
    pub correlation_id: Option<MessageId>,
    pub content_type: Option<Symbol>,
    pub content_encoding: Option<Symbol>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub absolute_expiry_time: Option<i64>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub creation_time: Option<i64>,
    pub group_id: Option<Text>,
    pub group_sequence: Option<u32>,
    pub reply_to_group_id: Option<Text>,
}

impl Properties {
    /// Decodes a properties section, descriptor included.
    pub fn decode(section: &Bytes) -> Result<Self, DecodeError> { todo!("{section:?}") }
    /// Appends the section, descriptor included.
    pub fn encode(&self, out: &mut BytesMut) { todo!("{out:?}") }
}

/// The `to` field of a properties section, found without decoding the others.
pub fn properties_to(section: &[u8]) -> Result<Option<&str>, DecodeError> { todo!("{section:?}") }

/// The body of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Data(Vec<Bytes>),
    Sequence(Vec<Vec<Value>>),
    Value(Value),
}

/// A message taken apart or to be put together, for ends of the line: load tools, tests, replies of our own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub header: Option<Header>,
    pub delivery_annotations: Vec<(Value, Value)>,
    pub message_annotations: Vec<(Value, Value)>,
    pub properties: Option<Properties>,
    pub application_properties: Vec<(Value, Value)>,
    pub body: Option<Body>,
    pub footer: Vec<(Value, Value)>,
}

impl Message {
    /// Decodes a whole message.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> { todo!("{bytes:?}") }
    /// Appends the message.
    pub fn encode(&self, out: &mut BytesMut) { todo!("{out:?}") }
}
