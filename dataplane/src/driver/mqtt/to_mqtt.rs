//! What an MQTT subscriber gets of a message that was sent over AMQP.
//!
//! | AMQP | MQTT |
//! |---|---|
//! | the address | topic |
//! | annotation `x-opt-mqtt-qos` | QoS; without it 1 for a durable message, 0 for others |
//! | annotation `x-opt-mqtt-retain` or `x-opt-retain-message` | retain |
//! | header: ttl | message expiry interval, rounded up to seconds |
//! | data sections | payload, joined |
//! | amqp-value: string | payload, with payload format indicator 1 |
//! | amqp-value: binary, null | payload; null is an empty one |
//! | amqp-sequence, another amqp-value | payload: the sections as they are encoded, with content type `application/vnd.amqp` |
//! | annotation `x-opt-mqtt-payload-format` | payload format indicator |
//! | properties: content-type | content type |
//! | properties: reply-to, where it is a topic | response topic |
//! | properties: correlation-id; in a message with a reply-to that has none, message-id | correlation data: binary as it is, a string as UTF-8, a uuid as `urn:uuid:…`, a number in digits |
//! | application properties | user properties, in order: strings as they are, numbers and timestamps (milliseconds) in digits, `true` and `false`, a uuid in hexadecimal |
//! | annotation `x-opt-mqtt-user-properties` | in their place, where it agrees with them |
//! | annotations `x-opt-dead-letter-…` | user properties of these names |
//!
//! What has no place in MQTT is left out: binary application properties, and what is longer than the
//! protocol allows.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use mq_amqp::message::{Body, Message, MessageId, MessageIndex};
use mq_amqp::value::Value;
use mq_mqtt::Qos;
use mq_mqtt::property::{Properties, PropertyId, PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::topic::{TopicError, TopicLimits, check_name};

use super::envelope::{Envelope, EnvelopeError, MQTT_FORMAT, is_annotated};
use super::to_amqp::{self, CONTENT_TYPE, PAYLOAD_FORMAT, QOS, RETAIN, URN_UUID, USER_PROPERTIES};
use crate::driver::attach::local_name;
use crate::driver::format::DEAD_LETTER;
use crate::driver::message::AMQP_FORMAT;

/// Whether a message is to be retained, as publishers of an earlier gateway say it.
pub(in crate::driver) const RETAIN_MESSAGE: &str = "x-opt-retain-message";

/// The topic to which a message was published, where its properties do not say so. Nobody but the node
/// may say it.
pub(in crate::driver) const TOPIC: &str = "x-opt-mqtt-topic";

/// The content type of a payload that is encoded AMQP body sections.
const ENCODED_BODY: &str = "application/vnd.amqp";

/// User properties that one message becomes at most; the others are left out.
const MAX_USER_PROPERTIES: usize = 1_024;

/// Why an MQTT subscriber cannot get a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("message format {0:#x} is neither AMQP nor MQTT")]
    Format(u32),
    #[error("the message cannot be read: {0}")]
    Malformed(Box<str>),
    #[error("the message names no topic")]
    NoTopic,
    #[error("{topic} is not a topic: {error}")]
    Topic { topic: Box<str>, error: TopicError },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// A message as MQTT subscribers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Converted {
    /// In the encoding of [`Envelope`].
    pub(crate) message: Bytes,
    /// Properties that have no place in MQTT.
    pub(crate) lost: u32,
}

/// The message in the encoding of [`Envelope`], ready to be sent: the same bytes for most that came over
/// MQTT. `topic` is where it was sent, when that is known; of a message that has been moved, where it is
/// now.
///
/// # Errors
/// When MQTT cannot carry the message.
pub(crate) fn converted(
    message_format: u32,
    message: &Bytes,
    topic: Option<&str>,
) -> Result<Converted, Unfit> {
    match message_format {
        MQTT_FORMAT => of_envelope(message, topic),
        AMQP_FORMAT => of_amqp(message, topic),
        other => Err(Unfit::Format(other)),
    }
}

/// Seconds left of a message's life; none when the message itself states no limit. Never 0 for one that
/// has not expired (3.3.2.3.3).
pub(crate) fn seconds_left(properties: PropertyView<'_>, left: Option<std::time::Duration>) -> Option<u32> {
    let left = to_amqp::time_left(properties, left)?;
    Some(u32::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX))
}

/// A message that came over MQTT, with what the node has noted of it as user properties.
fn of_envelope(message: &Bytes, topic: Option<&str>) -> Result<Converted, Unfit> {
    let unchanged = || Converted { message: message.clone(), lost: 0 };
    let is_noted = is_annotated(message);
    if !is_noted && topic.is_none() {
        return Ok(unchanged());
    }
    let envelope = Envelope::parse(message)?;
    let topic = topic.unwrap_or(envelope.topic);
    if !is_noted && topic == envelope.topic {
        return Ok(unchanged());
    }
    check_topic(topic)?;
    let mut list = List::default();
    // It was checked when it came.
    let _ = list.writer.extend(envelope.properties);
    list.note(&to_amqp::notes_of(&envelope));
    let (properties, lost) = list.finish();
    let properties = properties.view();
    let message = Envelope { topic, properties, annotations: &[], ..envelope }.encode()?;
    Ok(Converted { message, lost })
}

/// A message that came over AMQP.
fn of_amqp(message: &Bytes, topic: Option<&str>) -> Result<Converted, Unfit> {
    let malformed = |error: mq_amqp::codec::DecodeError| Unfit::Malformed(error.to_string().into());
    let decoded = Message::decode(message).map_err(malformed)?;
    let annotations = Annotations(&decoded.message_annotations);
    let properties = decoded.properties.clone().unwrap_or_default();
    let noted = annotations.find(TOPIC).and_then(Value::as_str);
    let to = properties.to.as_ref().map(|to| local_name(to.as_str()));
    let topic = topic.or(noted).or(to).ok_or(Unfit::NoTopic)?;
    check_topic(topic)?;

    let (payload, kind) = payload(&decoded.body, message).map_err(malformed)?;
    let mut list = List::default();
    let is_text =
        annotations.byte(PAYLOAD_FORMAT).and_then(|byte| [false, true].get(usize::from(byte)).copied());
    if let Some(is_text) = if kind == Kind::Text { Some(true) } else { is_text } {
        list.add(|writer| writer.payload_format_indicator(is_text).is_ok());
    }
    if let Some(ttl) = decoded.header.as_ref().and_then(|header| header.ttl) {
        list.add(|writer| writer.message_expiry_interval(ttl.div_ceil(1_000)).is_ok());
    }
    let content_type = properties.content_type.as_ref().map(|symbol| symbol.as_str());
    let content_type = content_type.or_else(|| annotations.find(CONTENT_TYPE).and_then(Value::as_str));
    let content_type = if kind == Kind::Encoded { Some(ENCODED_BODY) } else { content_type };
    if let Some(content_type) = content_type {
        list.add(|writer| writer.content_type(content_type).is_ok());
    }
    let reply_to = properties.reply_to.as_ref().map(|address| local_name(address.as_str()));
    if let Some(reply_to) = reply_to {
        list.add(|writer| check_topic(reply_to).is_ok() && writer.response_topic(reply_to).is_ok());
    }
    // AMQP requesters expect their message-id in the answer's correlation-id.
    let id =
        properties.correlation_id.as_ref().or(properties.message_id.as_ref().filter(|_| reply_to.is_some()));
    if let Some(id) = id {
        list.add(|writer| writer.correlation_data(&correlation_data(id)).is_ok());
    }
    list.user_properties(&annotations, &decoded.application_properties);
    list.note(&decoded.message_annotations);

    let is_durable = decoded.header.as_ref().is_some_and(|header| header.durable);
    let default = if is_durable { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    let (properties, lost) = list.finish();
    let envelope = Envelope {
        qos: annotations.byte(QOS).and_then(Qos::from_byte).unwrap_or(default),
        retain: annotations.is_true(RETAIN) || annotations.is_true(RETAIN_MESSAGE),
        properties: properties.view(),
        ..Envelope::new(topic, &payload)
    };
    Ok(Converted { message: envelope.encode()?, lost })
}

fn check_topic(topic: &str) -> Result<(), Unfit> {
    check_name(topic, TopicLimits::NONE).map_err(|error| Unfit::Topic { topic: topic.into(), error })
}

/// What a payload was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    Text,
    /// Something that MQTT has no type for.
    Encoded,
}

/// The payload that a body becomes. `message` is what it was decoded from.
fn payload(body: &Body, message: &Bytes) -> Result<(Bytes, Kind), mq_amqp::codec::DecodeError> {
    Ok(match body {
        Body::Data(sections) => match sections.as_slice() {
            [section] => (section.clone(), Kind::Bytes),
            sections => (sections.concat().into(), Kind::Bytes),
        },
        Body::Value(Value::Null) => (Bytes::new(), Kind::Bytes),
        Body::Value(Value::Binary(bytes)) => (bytes.clone(), Kind::Bytes),
        Body::Value(Value::String(text)) => (Bytes::copy_from_slice(text.as_str().as_bytes()), Kind::Text),
        Body::Value(_) | Body::Sequence(_) => {
            let body = MessageIndex::parse(message)?.body.map(|body| message.slice(body.range));
            (body.unwrap_or_default(), Kind::Encoded)
        }
    })
}

/// An id as the bytes that stand for it.
fn correlation_data(id: &MessageId) -> Bytes {
    match id {
        MessageId::Binary(bytes) => bytes.clone(),
        MessageId::String(text) => Bytes::copy_from_slice(text.as_str().as_bytes()),
        MessageId::Uuid(bytes) => format!("{URN_UUID}{}", hexadecimal(*bytes)).into(),
        MessageId::ULong(number) => number.to_string().into(),
    }
}

/// A uuid in its usual form (RFC 9562, 4).
fn hexadecimal(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |range| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// A value as the text of a user property; none where it has no text.
fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Boolean(value) => value.to_string(),
        Value::UByte(number) => number.to_string(),
        Value::UShort(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::ULong(number) => number.to_string(),
        Value::Byte(number) => number.to_string(),
        Value::Short(number) => number.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Long(number) | Value::Timestamp(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Char(character) => character.to_string(),
        Value::Uuid(bytes) => hexadecimal(*bytes),
        Value::String(_) | Value::Symbol(_) => value.as_str()?.to_owned(),
        _ => return None,
    })
}

/// The message annotations of a message.
struct Annotations<'a>(&'a [(Value, Value)]);

impl<'a> Annotations<'a> {
    fn find(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// A small number in any of the types in which clients write it.
    fn byte(&self, name: &str) -> Option<u8> {
        match *self.find(name)? {
            Value::UByte(number) => Some(number),
            Value::UShort(number) => number.try_into().ok(),
            Value::UInt(number) => number.try_into().ok(),
            Value::ULong(number) => number.try_into().ok(),
            Value::Byte(number) => number.try_into().ok(),
            Value::Short(number) => number.try_into().ok(),
            Value::Int(number) => number.try_into().ok(),
            Value::Long(number) => number.try_into().ok(),
            _ => None,
        }
    }

    fn is_true(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Value::Boolean(true)))
    }

    /// Names and values that stand for the application properties, where they are a true copy of them: a
    /// client that passes a message on may have changed the one and not the other.
    fn ordered(&self, application_properties: &[(Value, Value)]) -> Option<Vec<(&'a str, &'a str)>> {
        let Some(Value::List(list)) = self.find(USER_PROPERTIES) else { return None };
        let pairs = list.chunks(2).map(|pair| match pair {
            [Value::String(name), Value::String(value)] => Some((name.as_str(), value.as_str())),
            _ => None,
        });
        let pairs: Vec<_> = pairs.collect::<Option<_>>()?;
        let mut first = HashMap::new();
        for (name, value) in &pairs {
            first.entry(*name).or_insert(*value);
        }
        let is_copy = |(key, value): &(Value, Value)| {
            key.as_str().is_some_and(|key| first.get(key).copied() == value.as_str())
        };
        let agrees =
            first.len() == application_properties.len() && application_properties.iter().all(is_copy);
        agrees.then_some(pairs)
    }
}

/// The properties of a PUBLISH as they come together.
struct List {
    writer: PropertyWriter,
    users: usize,
    lost: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { writer: PropertyWriter::new(PropertyIn::Publish), users: 0, lost: 0 }
    }
}

impl List {
    /// Writes a property, or counts it as lost when MQTT cannot carry it.
    fn add(&mut self, write: impl FnOnce(&mut PropertyWriter) -> bool) {
        if !write(&mut self.writer) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn user_property(&mut self, name: &str, value: Option<&str>) {
        let has_room = self.users < MAX_USER_PROPERTIES;
        self.users += usize::from(has_room);
        self.add(|writer| has_room && value.is_some_and(|value| writer.user_property(name, value).is_ok()));
    }

    fn user_properties(&mut self, annotations: &Annotations<'_>, application_properties: &[(Value, Value)]) {
        if let Some(pairs) = annotations.ordered(application_properties) {
            for (name, value) in pairs {
                self.user_property(name, Some(value));
            }
            return;
        }
        for (key, value) in application_properties {
            self.user_property(key.as_str().unwrap_or_default(), text_of(value).as_deref());
        }
    }

    /// What the node has noted of a message that it moved.
    fn note(&mut self, annotations: &[(Value, Value)]) {
        for (key, value) in annotations {
            if let Some(name) = key.as_str().filter(|name| name.starts_with(DEAD_LETTER)) {
                self.user_property(name, text_of(value).as_deref());
            }
        }
    }

    fn finish(self) -> (Properties, u32) {
        (self.writer.finish(), self.lost)
    }
}

/// The properties without the message expiry interval: the message begins a new life.
pub(in crate::driver) fn without_expiry(properties: PropertyView<'_>) -> Bytes {
    let mut kept = BytesMut::with_capacity(properties.as_bytes().len());
    for (_, span) in properties.spans().filter(|(id, _)| *id != PropertyId::MessageExpiryInterval) {
        kept.extend_from_slice(span);
    }
    kept.freeze()
}
