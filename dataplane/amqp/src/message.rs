//! The sections of a message (AMQP 3.2): where they are, and what is in the ones a router reads.
//!
//! A message is forwarded byte for byte. [`MessageIndex`] says where each section lies without decoding
//! any; the decoders here are for whoever asks for the content of one.

mod view;

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    codec::{
        DEPTH_MAX, DecodeError, Fault,
        constructor::{self, descriptor},
        encode::{self, Fields as FieldWriter},
        encode_value, fault,
        reader::{Fields, Reader},
        values::{self, Values},
    },
    value::{Symbol, Text, Value},
};

pub use self::view::{Entries, PropertiesField, Scalar};

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

/// Where the body of a message lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyIndex {
    pub kind: BodyKind,
    /// All body sections together. It ends where the bytes end when the last of them is cut short.
    pub range: Range<usize>,
}

/// Where the sections of a message lie. Every range is a whole section, its descriptor included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIndex {
    pub header: Option<Range<usize>>,
    pub delivery_annotations: Option<Range<usize>>,
    pub message_annotations: Option<Range<usize>>,
    pub properties: Option<Range<usize>>,
    pub application_properties: Option<Range<usize>>,
    pub body: Option<BodyIndex>,
    pub footer: Option<Range<usize>>,
    /// Where the bare message begins (AMQP 3.2): behind header, delivery-annotations and
    /// message-annotations. When the bytes end inside one of these three, it is where that one begins, and
    /// neither properties nor body are known.
    pub bare_start: usize,
    /// Whether the bytes end where a section ends. Those of the first frame of a long message do not.
    pub complete: bool,
}

impl MessageIndex {
    /// Finds the sections of a message, or of the first bytes of one, and checks their order.
    ///
    /// It reads descriptors and sizes, never content, so that it costs the same for any size of message.
    /// A section that goes on behind the last byte is no error; it is not in the index, unless it belongs
    /// to the body.
    ///
    /// # Errors
    ///
    /// When a section is not one AMQP 3.2 defines, has the wrong type, or comes twice or out of order.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut index = Self::default();
        let mut reader = Reader::from_slice(bytes);
        let mut last = Section::None;
        while !reader.is_empty() {
            let start = reader.offset();
            let section = match section(&mut reader) {
                Err(fault) if fault.is_truncated() => return Ok(index),
                section => section?,
            };
            if !section.may_follow(last) {
                return Err(DecodeError::SectionOrder { what: section.name(), offset: start });
            }
            last = section;
            let end = match skip_section(&mut reader, section) {
                Err(fault) if fault.is_truncated() => None,
                skipped => {
                    skipped?;
                    Some(reader.offset())
                }
            };
            index.note(section, start, end, bytes.len());
            if end.is_none() {
                return Ok(index);
            }
        }
        index.complete = true;
        Ok(index)
    }

    /// Enters a section that begins at `start` and ends at `end`, or behind the `length` bytes there are.
    fn note(&mut self, section: Section, start: usize, end: Option<usize>, length: usize) {
        let whole = end.map(|end| start..end);
        match section {
            Section::None => {}
            Section::Header => self.header = whole,
            Section::DeliveryAnnotations => self.delivery_annotations = whole,
            Section::MessageAnnotations => self.message_annotations = whole,
            Section::Properties => self.properties = whole,
            Section::ApplicationProperties => self.application_properties = whole,
            Section::Body(kind) => {
                let end = end.unwrap_or(length);
                match &mut self.body {
                    Some(body) => body.range.end = end,
                    None => self.body = Some(BodyIndex { kind, range: start..end }),
                }
            }
            Section::Footer => self.footer = whole,
        }
        if section.is_before_bare_message() {
            self.bare_start = end.unwrap_or(start);
        }
    }
}

/// A section by its descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before the first one.
    None,
    Header,
    DeliveryAnnotations,
    MessageAnnotations,
    Properties,
    ApplicationProperties,
    Body(BodyKind),
    Footer,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::None => "message",
            Self::Header => "header",
            Self::DeliveryAnnotations => "delivery-annotations",
            Self::MessageAnnotations => "message-annotations",
            Self::Properties => "properties",
            Self::ApplicationProperties => "application-properties",
            Self::Body(BodyKind::Data) => "data",
            Self::Body(BodyKind::Sequence) => "amqp-sequence",
            Self::Body(BodyKind::Value) => "amqp-value",
            Self::Footer => "footer",
        }
    }

    fn position(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Header => 1,
            Self::DeliveryAnnotations => 2,
            Self::MessageAnnotations => 3,
            Self::Properties => 4,
            Self::ApplicationProperties => 5,
            Self::Body(_) => 6,
            Self::Footer => 7,
        }
    }

    /// AMQP 3.2: "one or more data sections, one or more amqp-sequence sections, or a single amqp-value
    /// section"; every other section at most once, in order.
    fn may_follow(self, last: Self) -> bool {
        let repeats = self == last && matches!(self, Self::Body(BodyKind::Data | BodyKind::Sequence));
        repeats || self.position() > last.position()
    }

    fn is_before_bare_message(self) -> bool {
        matches!(self, Self::Header | Self::DeliveryAnnotations | Self::MessageAnnotations)
    }
}

/// Reads the descriptor of the next section.
fn section(reader: &mut Reader<'_>) -> Result<Section, Fault> {
    let offset = reader.offset();
    let what = "message section";
    match reader.byte(what)? {
        constructor::DESCRIBED => {}
        code => return Err(reader.unexpected(code, what)),
    }
    Ok(match reader.descriptor(what)? {
        descriptor::HEADER => Section::Header,
        descriptor::DELIVERY_ANNOTATIONS => Section::DeliveryAnnotations,
        descriptor::MESSAGE_ANNOTATIONS => Section::MessageAnnotations,
        descriptor::PROPERTIES => Section::Properties,
        descriptor::APPLICATION_PROPERTIES => Section::ApplicationProperties,
        descriptor::DATA => Section::Body(BodyKind::Data),
        descriptor::SEQUENCE => Section::Body(BodyKind::Sequence),
        descriptor::VALUE => Section::Body(BodyKind::Value),
        descriptor::FOOTER => Section::Footer,
        _ => return Err(fault(DecodeError::UnknownDescriptor { what, offset })),
    })
}

/// Skips the content of a section whose descriptor was read, checking its type only.
fn skip_section(reader: &mut Reader<'_>, section: Section) -> Result<(), Fault> {
    let what = section.name();
    if section == Section::Body(BodyKind::Value) {
        return reader.skip_value(what);
    }
    let code = reader.byte(what)?;
    let fits = match section {
        Section::Header | Section::Properties | Section::Body(BodyKind::Sequence) => {
            matches!(code, constructor::LIST_0 | constructor::LIST_8 | constructor::LIST_32)
        }
        Section::Body(BodyKind::Data) => matches!(code, constructor::BINARY_8 | constructor::BINARY_32),
        _ => matches!(code, constructor::MAP_8 | constructor::MAP_32),
    };
    if !fits {
        return Err(reader.unexpected(code, what));
    }
    reader.skip_content(code, what)
}

/// Reads the descriptor of a section that must be `expected`.
fn expect(reader: &mut Reader<'_>, expected: Section) -> Result<(), Fault> {
    let offset = reader.offset();
    if section(reader)? == expected {
        Ok(())
    } else {
        Err(fault(DecodeError::UnknownDescriptor { what: expected.name(), offset }))
    }
}

/// The header section (AMQP 3.2.1), absent fields at their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub durable: bool,
    /// 4 when absent; higher goes first.
    pub priority: u8,
    /// Milliseconds; absent means for ever.
    pub ttl: Option<u32>,
    pub first_acquirer: bool,
    /// Earlier deliveries that failed.
    pub delivery_count: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            durable: false,
            priority: Self::DEFAULT_PRIORITY,
            ttl: None,
            first_acquirer: false,
            delivery_count: 0,
        }
    }
}

impl Header {
    /// The priority of a message that states none (AMQP 3.2.1).
    pub const DEFAULT_PRIORITY: u8 = 4;

    /// Decodes a header section, descriptor included.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one header section.
    pub fn decode(section: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::from_slice(section);
        expect(&mut reader, Section::Header)?;
        let mut fields = Fields::open(&mut reader, 5, "header")?;
        let header = Self {
            durable: fields.flag("header.durable")?,
            priority: fields.optional("header.priority", Reader::ubyte)?.unwrap_or(Self::DEFAULT_PRIORITY),
            ttl: fields.optional("header.ttl", Reader::uint)?,
            first_acquirer: fields.flag("header.first-acquirer")?,
            delivery_count: fields.optional("header.delivery-count", Reader::uint)?.unwrap_or(0),
        };
        fields.finish("header")?;
        reader.finish("header")?;
        Ok(header)
    }

    /// Appends the section, descriptor included.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut fields = FieldWriter::begin(out, descriptor::HEADER);
        fields.flag(self.durable);
        fields.unless(self.priority, Self::DEFAULT_PRIORITY, encode::write_ubyte);
        fields.optional(self.ttl, encode::write_uint);
        fields.flag(self.first_acquirer);
        fields.unless(self.delivery_count, 0, encode::write_uint);
        fields.finish();
    }
}

/// The types a message id may have (AMQP 3.2.11 to 3.2.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageId {
    ULong(u64),
    Uuid([u8; 16]),
    Binary(Bytes),
    String(Text),
}

impl MessageId {
    fn read(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Self, Fault> {
        Ok(match code {
            constructor::ULONG_0 | constructor::SMALL_ULONG | constructor::ULONG => {
                Self::ULong(reader.ulong(code, what)?)
            }
            constructor::UUID => Self::Uuid(reader.bytes(what)?),
            constructor::BINARY_8 | constructor::BINARY_32 => Self::Binary(read_binary(reader, code, what)?),
            code => Self::String(reader.text(code, what)?),
        })
    }

    fn write(out: &mut BytesMut, id: &Self) {
        match id {
            Self::ULong(number) => encode::write_ulong(out, *number),
            Self::Uuid(bytes) => encode::write_uuid(out, bytes),
            Self::Binary(bytes) => encode::write_binary(out, bytes),
            Self::String(text) => encode::write_text(out, text),
        }
    }
}

/// The properties section (AMQP 3.2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// How many fields the properties section has.
const PROPERTIES_FIELDS: u32 = 13;

impl Properties {
    /// Decodes a properties section, descriptor included. Binary fields are slices of `section`.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one properties section.
    pub fn decode(section: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(section);
        let properties = Self::read(&mut reader)?;
        reader.finish("properties")?;
        Ok(properties)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        expect(reader, Section::Properties)?;
        let mut fields = Fields::open(reader, PROPERTIES_FIELDS, "properties")?;
        let properties = Self {
            message_id: fields.optional("properties.message-id", MessageId::read)?,
            user_id: fields.optional("properties.user-id", read_binary)?,
            to: fields.optional("properties.to", Reader::text)?,
            subject: fields.optional("properties.subject", Reader::text)?,
            reply_to: fields.optional("properties.reply-to", Reader::text)?,
            correlation_id: fields.optional("properties.correlation-id", MessageId::read)?,
            content_type: fields.optional("properties.content-type", Reader::symbol)?,
            content_encoding: fields.optional("properties.content-encoding", Reader::symbol)?,
            absolute_expiry_time: fields.optional("properties.absolute-expiry-time", Reader::timestamp)?,
            creation_time: fields.optional("properties.creation-time", Reader::timestamp)?,
            group_id: fields.optional("properties.group-id", Reader::text)?,
            group_sequence: fields.optional("properties.group-sequence", Reader::uint)?,
            reply_to_group_id: fields.optional("properties.reply-to-group-id", Reader::text)?,
        };
        fields.finish("properties")?;
        Ok(properties)
    }

    /// Appends the section, descriptor included.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut fields = FieldWriter::begin(out, descriptor::PROPERTIES);
        fields.optional(self.message_id.as_ref(), MessageId::write);
        fields.optional(self.user_id.as_deref(), encode::write_binary);
        fields.optional(self.to.as_ref(), encode::write_text);
        fields.optional(self.subject.as_ref(), encode::write_text);
        fields.optional(self.reply_to.as_ref(), encode::write_text);
        fields.optional(self.correlation_id.as_ref(), MessageId::write);
        fields.optional(self.content_type.as_ref(), encode::write_symbol);
        fields.optional(self.content_encoding.as_ref(), encode::write_symbol);
        fields.optional(self.absolute_expiry_time, encode::write_timestamp);
        fields.optional(self.creation_time, encode::write_timestamp);
        fields.optional(self.group_id.as_ref(), encode::write_text);
        fields.optional(self.group_sequence, encode::write_uint);
        fields.optional(self.reply_to_group_id.as_ref(), encode::write_text);
        fields.finish();
    }

    /// The `to` field of a properties section, found without decoding the others and without a copy.
    ///
    /// # Errors
    ///
    /// When the bytes up to that field are not those of a properties section.
    pub fn to_of(section: &[u8]) -> Result<Option<&str>, DecodeError> {
        let mut reader = Reader::from_slice(section);
        expect(&mut reader, Section::Properties)?;
        let mut fields = Fields::open(&mut reader, PROPERTIES_FIELDS, "properties")?;
        fields.optional("properties.message-id", Reader::skip_content)?;
        fields.optional("properties.user-id", Reader::skip_content)?;
        Ok(fields.optional("properties.to", Reader::string)?)
    }
}

fn read_binary(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Bytes, Fault> {
    let content = reader.binary(code, what)?;
    Ok(reader.raw(content))
}

/// The body of a message (AMQP 3.2.6 to 3.2.8), a vector entry per section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Data(Vec<Bytes>),
    Sequence(Vec<Vec<Value>>),
    Value(Value),
}

impl Default for Body {
    fn default() -> Self {
        Self::Value(Value::Null)
    }
}

/// A message taken apart or to be put together, for those at the end of the line: load tools, tests,
/// replies of our own. An empty map and an absent section are the same here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub header: Option<Header>,
    pub delivery_annotations: Vec<(Value, Value)>,
    pub message_annotations: Vec<(Value, Value)>,
    pub properties: Option<Properties>,
    pub application_properties: Vec<(Value, Value)>,
    pub body: Body,
    pub footer: Vec<(Value, Value)>,
}

impl Message {
    /// A message with one data section.
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self { body: Body::Data(vec![bytes.into()]), ..Self::default() }
    }

    /// A message whose body is a value.
    pub fn value(value: impl Into<Value>) -> Self {
        Self { body: Body::Value(value.into()), ..Self::default() }
    }

    /// Decodes a whole message. Data sections are slices of `bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one message: also when it has no body or a section is cut short.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut message = Self::default();
        let mut body = None;
        let mut last = Section::None;
        while !reader.is_empty() {
            let start = reader;
            let next = section(&mut reader)?;
            if !next.may_follow(last) {
                return Err(DecodeError::SectionOrder { what: next.name(), offset: start.offset() });
            }
            last = next;
            match next {
                Section::None => {}
                Section::Header => {
                    skip_section(&mut reader, next)?;
                    message.header = Some(Header::decode(&reader.since(&start))?);
                }
                Section::Properties => {
                    reader = start;
                    message.properties = Some(Properties::read(&mut reader)?);
                }
                Section::DeliveryAnnotations => message.delivery_annotations = read_map(&mut reader, next)?,
                Section::MessageAnnotations => message.message_annotations = read_map(&mut reader, next)?,
                Section::ApplicationProperties => {
                    message.application_properties = read_map(&mut reader, next)?;
                }
                Section::Body(kind) => read_body(&mut reader, kind, &mut body)?,
                Section::Footer => message.footer = read_map(&mut reader, next)?,
            }
        }
        message.body =
            body.ok_or(DecodeError::Missing { what: "body of the message", offset: bytes.len() })?;
        Ok(message)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut BytesMut) {
        if let Some(header) = &self.header {
            header.encode(out);
        }
        write_map(out, descriptor::DELIVERY_ANNOTATIONS, &self.delivery_annotations);
        write_map(out, descriptor::MESSAGE_ANNOTATIONS, &self.message_annotations);
        if let Some(properties) = &self.properties {
            properties.encode(out);
        }
        write_map(out, descriptor::APPLICATION_PROPERTIES, &self.application_properties);
        match &self.body {
            Body::Data(sections) => {
                for section in sections {
                    encode::write_descriptor(out, descriptor::DATA);
                    encode::write_binary(out, section);
                }
            }
            Body::Sequence(sections) => {
                for section in sections {
                    encode::write_descriptor(out, descriptor::SEQUENCE);
                    encode::write_list(out, section);
                }
            }
            Body::Value(value) => {
                encode::write_descriptor(out, descriptor::VALUE);
                encode_value(out, value);
            }
        }
        write_map(out, descriptor::FOOTER, &self.footer);
    }

    /// The message as bytes of its own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

fn read_map(reader: &mut Reader<'_>, section: Section) -> Result<Vec<(Value, Value)>, Fault> {
    let what = section.name();
    let code = reader.byte(what)?;
    values::map(reader, code, what)
}

/// Reads one section of a body into `body`, which holds those before it, all of the same kind.
fn read_body(reader: &mut Reader<'_>, kind: BodyKind, body: &mut Option<Body>) -> Result<(), Fault> {
    let what = Section::Body(kind).name();
    match kind {
        BodyKind::Data => {
            let code = reader.byte(what)?;
            let data = read_binary(reader, code, what)?;
            match body {
                Some(Body::Data(sections)) => sections.push(data),
                _ => *body = Some(Body::Data(vec![data])),
            }
        }
        BodyKind::Sequence => {
            let code = reader.byte(what)?;
            let sequence = values::list(reader, code, what)?;
            match body {
                Some(Body::Sequence(sections)) => sections.push(sequence),
                _ => *body = Some(Body::Sequence(vec![sequence])),
            }
        }
        BodyKind::Value => *body = Some(Body::Value(Values::new().value(reader, DEPTH_MAX, what)?)),
    }
    Ok(())
}

fn write_map(out: &mut BytesMut, descriptor: u64, pairs: &[(Value, Value)]) {
    if !pairs.is_empty() {
        encode::write_descriptor(out, descriptor);
        encode::write_map(out, pairs);
    }
}
