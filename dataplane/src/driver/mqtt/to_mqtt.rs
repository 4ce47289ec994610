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
    let id = properties
        .correlation_id
        .as_ref()
        .or_else(|| properties.message_id.as_ref().filter(|_| reply_to.is_some()));
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

#[cfg(test)]
mod tests {
    use mq_amqp::message::{Header, Properties as Fields};
    use mq_amqp::value::{Symbol, Text};
    use proptest::prelude::*;

    use super::*;
    use crate::driver::message::annotation;
    use crate::driver::mqtt::to_amqp::Occasion;

    /// What the conversion of an AMQP message says, and how much it lost.
    fn of<T>(message: &Message, look: impl FnOnce(&Envelope<'_>) -> T) -> (T, u32) {
        let converted = converted(AMQP_FORMAT, &message.to_bytes(), Some("t")).expect("a fit message");
        let envelope = Envelope::parse(&converted.message).expect("what was encoded");
        (look(&envelope), converted.lost)
    }

    fn with(properties: Fields) -> Message {
        Message { properties: Some(properties), ..Message::data("x") }
    }

    fn users(envelope: &Envelope<'_>) -> Vec<(String, String)> {
        let pairs = envelope.properties.user_properties();
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn every_field_with_a_place_in_mqtt_is_there() {
        let message = Message {
            header: Some(Header { durable: true, ttl: Some(1_001), ..Header::default() }),
            message_annotations: vec![annotation(RETAIN, true), annotation("x-opt-other", 1_u32)],
            properties: Some(Fields {
                message_id: Some(MessageId::ULong(1)),
                to: Some("elsewhere".into()),
                subject: Some("subject".into()),
                reply_to: Some("/answers/7".into()),
                correlation_id: Some(MessageId::Binary(Bytes::from_static(b"\0\xff"))),
                content_type: Some("application/json".into()),
                ..Fields::default()
            }),
            application_properties: vec![("unit".into(), "celsius".into())],
            ..Message::data("{}")
        };
        let (_, lost) = of(&message, |envelope| {
            let properties = envelope.properties;
            assert_eq!(envelope.topic, "t");
            assert_eq!((envelope.qos, envelope.retain, envelope.origin), (Qos::AtLeastOnce, true, 0));
            assert_eq!(envelope.payload, b"{}");
            assert_eq!(properties.message_expiry_interval(), Some(2), "rounded up");
            assert_eq!(properties.content_type(), Some("application/json"));
            assert_eq!(properties.response_topic(), Some("answers/7"));
            assert_eq!(properties.correlation_data(), Some(b"\0\xff".as_slice()));
            assert_eq!(properties.payload_format_indicator(), None);
            assert_eq!(users(envelope), [("unit".to_owned(), "celsius".to_owned())]);
        });
        assert_eq!(lost, 0);
    }

    #[test]
    fn qos_and_retain_come_from_annotations_and_otherwise_from_the_header() {
        let annotated = |name: &'static str, value: Value, durable| Message {
            header: Some(Header { durable, ..Header::default() }),
            message_annotations: vec![annotation(name, value)],
            ..Message::data("x")
        };
        let qos = |message| of(&message, |envelope| envelope.qos).0;
        assert_eq!(qos(Message::data("x")), Qos::AtMostOnce);
        assert_eq!(qos(annotated("x-opt-other", Value::Null, true)), Qos::AtLeastOnce);
        for (value, expected) in [
            (Value::UByte(2), Qos::ExactlyOnce),
            (Value::Int(0), Qos::AtMostOnce),
            (Value::Long(1), Qos::AtLeastOnce),
            (Value::ULong(2), Qos::ExactlyOnce),
            (Value::UByte(3), Qos::AtLeastOnce),
            (Value::Int(-1), Qos::AtLeastOnce),
            (Value::from("2"), Qos::AtLeastOnce),
        ] {
            assert_eq!(qos(annotated(QOS, value.clone(), true)), expected, "{value:?}");
        }
        let retain = |name, value| of(&annotated(name, value, false), |envelope| envelope.retain).0;
        assert!(retain(RETAIN, true.into()) && retain(RETAIN_MESSAGE, true.into()));
        assert!(!retain(RETAIN, false.into()) && !retain(RETAIN, 1_u32.into()));
    }

    #[test]
    fn every_kind_of_body_is_a_payload() {
        let body = |body: Body| {
            let message = Message { body, ..Message::default() };
            let look = |envelope: &Envelope<'_>| {
                let properties = envelope.properties;
                let content_type = properties.content_type().map(str::to_owned);
                (envelope.payload.to_vec(), properties.payload_format_indicator(), content_type)
            };
            of(&message, look).0
        };
        let encoded = || Some(ENCODED_BODY.to_owned());
        let data = Body::Data(vec!["ab".into(), "".into(), "c".into()]);
        assert_eq!(body(data), (b"abc".to_vec(), None, None));
        assert_eq!(body(Body::Value("ü".into())), ("ü".as_bytes().to_vec(), Some(true), None));
        assert_eq!(body(Body::Value(Value::Binary("b".into()))), (b"b".to_vec(), None, None));
        assert_eq!(body(Body::Value(Value::Null)), (Vec::new(), None, None));
        assert_eq!(body(Body::Value(Value::UInt(0))), (b"\x00\x53\x77\x43".to_vec(), None, encoded()));
        let lists = Body::Sequence(vec![vec![Value::Null], Vec::new()]);
        let bytes = b"\x00\x53\x76\xc0\x02\x01\x40\x00\x53\x76\x45".to_vec();
        assert_eq!(body(lists), (bytes, None, encoded()));
    }

    #[test]
    fn a_large_body_stays_whole() {
        let large = vec![7_u8; 5 << 20];
        let message =
            Message { body: Body::Data(vec![large.clone().into(), "x".into()]), ..Message::default() };
        let (length, _) = of(&message, |envelope| {
            assert!(envelope.payload.starts_with(&large) && envelope.payload.ends_with(b"x"));
            envelope.payload.len()
        });
        assert_eq!(length, large.len() + 1);
    }

    #[test]
    fn ids_become_the_text_that_stands_for_them() {
        let data = |correlation_id, message_id, reply_to: Option<&str>| {
            let reply_to = reply_to.map(Text::from);
            let message = with(Fields { correlation_id, message_id, reply_to, ..Fields::default() });
            of(&message, |envelope| envelope.properties.correlation_data().map(<[u8]>::to_vec)).0
        };
        let uuid = MessageId::Uuid(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
        let urn = b"urn:uuid:01234567-89ab-cdef-0123-456789abcdef".to_vec();
        assert_eq!(data(Some(uuid), None, None), Some(urn));
        assert_eq!(data(Some(MessageId::ULong(42)), None, None), Some(b"42".to_vec()));
        assert_eq!(data(Some(MessageId::String("ü".into())), None, None), Some("ü".into()));
        let id = || Some(MessageId::String("id".into()));
        assert_eq!(data(None, id(), Some("answers")), Some(b"id".to_vec()), "it is what an answer names");
        assert_eq!(data(Some(MessageId::ULong(1)), id(), Some("answers")), Some(b"1".to_vec()));
        assert_eq!(data(None, id(), None), None);
    }

    #[test]
    fn a_reply_to_that_is_no_topic_is_lost() {
        let topic = |reply_to: &str| {
            let message = with(Fields { reply_to: Some(reply_to.into()), ..Fields::default() });
            of(&message, |envelope| envelope.properties.response_topic().map(str::to_owned))
        };
        assert_eq!(topic("$temp.node.0-1"), (Some("$temp.node.0-1".to_owned()), 0));
        for no_topic in ["", "/", "a/+", "a#b", "a\0b"] {
            assert_eq!(topic(no_topic), (None, 1), "{no_topic:?}");
        }
    }

    #[test]
    fn application_properties_become_text_in_their_order() {
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let table = [
            (Value::from("text"), "text"),
            (Value::Symbol(Symbol::from("symbol")), "symbol"),
            (Value::Boolean(true), "true"),
            (Value::UByte(255), "255"),
            (Value::UShort(65_535), "65535"),
            (Value::UInt(1), "1"),
            (Value::ULong(u64::MAX), "18446744073709551615"),
            (Value::Byte(-1), "-1"),
            (Value::Short(-2), "-2"),
            (Value::Int(-3), "-3"),
            (Value::Long(i64::MIN), "-9223372036854775808"),
            (Value::Float(1.5), "1.5"),
            (Value::Double(-0.25), "-0.25"),
            (Value::Char('ü'), "ü"),
            (Value::Timestamp(1_700_000_000_000), "1700000000000"),
            (Value::Uuid(uuid), "01234567-89ab-cdef-0123-456789abcdef"),
        ];
        let none = [Value::Binary("b".into()), Value::Null, Value::from("a\0b"), Value::Decimal32([0; 4])];
        let values = table.iter().map(|(value, _)| value).chain(&none);
        let name = |index: usize| format!("{}", 99 - index);
        let pairs = values.enumerate().map(|(index, value)| (name(index).as_str().into(), value.clone()));
        let message = Message { application_properties: pairs.collect(), ..Message::data("x") };
        let (pairs, lost) = of(&message, users);
        let expected = table.iter().enumerate().map(|(index, (_, text))| (name(index), (*text).to_owned()));
        assert!(pairs.into_iter().eq(expected));
        assert_eq!(lost, 4, "a binary, nothing, a text with U+0000, a decimal");
    }

    #[test]
    fn user_properties_and_what_is_too_long_are_bounded() {
        let pairs = |count: usize| (0..count).map(|index| (format!("{index}").as_str().into(), "x".into()));
        let message =
            |count| Message { application_properties: pairs(count).collect(), ..Message::data("x") };
        let counted = |count| of(&message(count), |envelope| users(envelope).len());
        assert_eq!(counted(MAX_USER_PROPERTIES), (MAX_USER_PROPERTIES, 0));
        assert_eq!(counted(MAX_USER_PROPERTIES + 3), (MAX_USER_PROPERTIES, 3));
        let long = "x".repeat(65_536);
        let message = Message {
            properties: Some(Fields {
                correlation_id: Some(MessageId::String(long.as_str().into())),
                content_type: Some(long.as_str().into()),
                reply_to: Some(long.as_str().into()),
                ..Fields::default()
            }),
            application_properties: vec![
                (long.as_str().into(), "x".into()),
                ("x".into(), long.as_str().into()),
            ],
            ..Message::data("x")
        };
        assert_eq!(of(&message, |envelope| envelope.properties.is_empty()), (true, 5));
    }

    #[test]
    fn a_copy_of_the_application_properties_counts_only_while_it_is_one() {
        let list = |texts: &[&str]| Value::List(texts.iter().map(|text| Value::from(*text)).collect());
        let message = |list| Message {
            message_annotations: vec![annotation(USER_PROPERTIES, list)],
            application_properties: vec![("a".into(), "1".into())],
            ..Message::data("x")
        };
        let count = |list| of(&message(list), |envelope| users(envelope).len()).0;
        assert_eq!(count(list(&["a", "1", "a", "2"])), 2);
        for wrong in [&["a", "2", "a", "1"][..], &["a", "1", "b", "2"], &["a", "1", "a"], &[]] {
            assert_eq!(count(list(wrong)), 1, "{wrong:?}");
        }
        assert_eq!(count(Value::List(vec!["a".into(), Value::UInt(1)])), 1);
    }

    #[test]
    fn the_topic_is_where_it_was_sent() {
        let topic = |message: &Message, known: Option<&str>| {
            let converted = converted(AMQP_FORMAT, &message.to_bytes(), known)?;
            Ok(Envelope::parse(&converted.message).expect("what was encoded").topic.to_owned())
        };
        let to = with(Fields { to: Some("/to".into()), ..Fields::default() });
        let noted = Message { message_annotations: vec![annotation(TOPIC, "noted")], ..to.clone() };
        assert_eq!(topic(&to, Some("known")), Ok("known".to_owned()));
        assert_eq!(topic(&to, None), Ok("to".to_owned()));
        assert_eq!(topic(&noted, None), Ok("noted".to_owned()));
        assert_eq!(topic(&Message::data("x"), None), Err(Unfit::NoTopic));
        for wrong in ["", "a/#", "a\0", &"x".repeat(65_536)] {
            assert!(matches!(topic(&to, Some(wrong)), Err(Unfit::Topic { .. })));
        }
    }

    #[test]
    fn a_publication_stays_the_bytes_it_was() {
        let message = Envelope::new("t", b"x").encode().expect("a short message");
        let same = converted(MQTT_FORMAT, &message, None).expect("a fit message");
        assert_eq!((same.message.as_ptr(), same.lost), (message.as_ptr(), 0));
        let same = converted(MQTT_FORMAT, &message, Some("t")).expect("a fit message");
        assert_eq!(same.message.as_ptr(), message.as_ptr());
        let moved = converted(MQTT_FORMAT, &message, Some("dead")).expect("a fit message");
        assert_eq!(moved.message, Envelope::new("dead", b"x").encode().expect("a short message"));
        assert_eq!(converted(7, &message, None), Err(Unfit::Format(7)));
    }

    #[test]
    fn why_a_message_was_moved_stands_in_user_properties() {
        let annotations = vec![
            annotation("x-opt-dead-letter-reason", "expired"),
            annotation("x-opt-dead-letter-delivery-count", 3_u32),
            annotation("x-opt-other", "x"),
        ];
        let expected = [("x-opt-dead-letter-reason", "expired"), ("x-opt-dead-letter-delivery-count", "3")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let over_amqp = Message { message_annotations: annotations.clone(), ..Message::data("x") };
        assert_eq!(of(&over_amqp, users), (expected.to_vec(), 0));
        let mut notes = BytesMut::new();
        mq_amqp::codec::encode_value(&mut notes, &Value::Map(annotations));
        let message = Envelope { annotations: &notes, retain: true, ..Envelope::new("t", b"x") };
        let converted =
            converted(MQTT_FORMAT, &message.encode().expect("short"), None).expect("a fit message");
        let envelope = Envelope::parse(&converted.message).expect("what was encoded");
        assert_eq!((users(&envelope), envelope.retain), (expected.to_vec(), true));
        assert!(envelope.annotations.is_empty());
    }

    fn text(longest: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>().prop_filter("U+0000", |c| *c != '\0'), 0..longest)
            .prop_map(|characters| characters.into_iter().collect())
    }

    fn topic() -> impl Strategy<Value = String> {
        text(20).prop_map(|text| text.replace(['+', '#'], "/")).prop_filter("empty", |text| !text.is_empty())
    }

    /// What a client may publish: all parts of it.
    #[derive(Clone, Debug)]
    struct Publication {
        topic: String,
        payload: Vec<u8>,
        qos: u8,
        retain: bool,
        properties: Properties,
    }

    prop_compose! {
        fn publication()(
            topic in topic(),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            qos in 0_u8..3,
            retain in any::<bool>(),
            is_text in any::<Option<bool>>(),
            expiry in any::<Option<u32>>(),
            content_type in proptest::option::of(text(10)),
            response_topic in proptest::option::of(topic()),
            correlation in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            // Few names, so that some are repeated.
            users in proptest::collection::vec(("[abc]{0,1}", text(5)), 0..8),
        ) -> Publication {
            let mut list = List::default();
            if let Some(value) = is_text { list.add(|writer| writer.payload_format_indicator(value).is_ok()); }
            // What fits into a ttl: more of it is stated by a time of day.
            if let Some(value) = expiry { list.add(|writer| writer.message_expiry_interval(value % 4_294_967).is_ok()); }
            if let Some(value) = &content_type { list.add(|writer| writer.content_type(value).is_ok()); }
            if let Some(value) = &response_topic { list.add(|writer| writer.response_topic(value).is_ok()); }
            if let Some(value) = &correlation { list.add(|writer| writer.correlation_data(value).is_ok()); }
            for (name, value) in &users { list.user_property(name, Some(value)); }
            let (properties, lost) = list.finish();
            assert_eq!(lost, 0);
            Publication { topic, payload, qos, retain, properties }
        }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Long),
            any::<u8>().prop_map(Value::UByte),
            any::<f64>().prop_map(Value::Double),
            any::<String>().prop_map(|text| Value::from(text.as_str())),
            any::<Vec<u8>>().prop_map(|bytes| Value::Binary(bytes.into())),
            any::<[u8; 16]>().prop_map(Value::Uuid),
        ]
    }

    fn pairs() -> impl Strategy<Value = Vec<(Value, Value)>> {
        let names = prop_oneof![
            Just(QOS.to_owned()),
            Just(RETAIN.to_owned()),
            Just(USER_PROPERTIES.to_owned()),
            Just(CONTENT_TYPE.to_owned()),
            Just(PAYLOAD_FORMAT.to_owned()),
            any::<String>(),
        ];
        let values = prop_oneof![scalar(), proptest::collection::vec(scalar(), 0..4).prop_map(Value::List)];
        let pair = (names, values).prop_map(|(name, value)| (Value::from(name.as_str()), value));
        proptest::collection::vec(pair, 0..5)
    }

    prop_compose! {
        fn message()(
            durable in any::<bool>(),
            ttl in any::<Option<u32>>(),
            annotations in pairs(),
            application_properties in pairs(),
            reply_to in any::<Option<String>>(),
            id in any::<Option<String>>(),
            body in prop_oneof![
                proptest::collection::vec(any::<Vec<u8>>(), 1..4)
                    .prop_map(|data| Body::Data(data.into_iter().map(Bytes::from).collect())),
                scalar().prop_map(Body::Value),
                proptest::collection::vec(proptest::collection::vec(scalar(), 0..4), 1..3).prop_map(Body::Sequence),
            ],
        ) -> Message {
            let properties = Fields {
                reply_to: reply_to.as_deref().map(Text::from),
                correlation_id: id.as_deref().map(|text| MessageId::String(text.into())),
                ..Fields::default()
            };
            Message {
                header: Some(Header { durable, ttl, ..Header::default() }),
                message_annotations: annotations,
                properties: Some(properties),
                application_properties,
                body,
                ..Message::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_goes_through_amqp_is_published_as_it_was(publication in publication()) {
            let envelope = Envelope {
                qos: Qos::from_byte(publication.qos).expect("a QoS"),
                retain: publication.retain,
                properties: publication.properties.view(),
                ..Envelope::new(&publication.topic, &publication.payload)
            };
            let payload = Bytes::copy_from_slice(envelope.payload);
            let over_amqp = to_amqp::encoded(&envelope, payload, Occasion::default());
            let again = converted(AMQP_FORMAT, &over_amqp, None).expect("a fit message");
            prop_assert_eq!(Envelope::parse(&again.message), Ok(envelope));
            prop_assert_eq!(again.lost, 0);
        }

        #[test]
        fn whatever_comes_over_amqp_is_read_or_refused_and_bounded(message in message()) {
            let bytes = message.to_bytes();
            let converted = converted(AMQP_FORMAT, &bytes, Some("t")).expect("a fit message");
            let envelope = Envelope::parse(&converted.message).expect("what was encoded");
            // Numbers and uuids grow most when they become text, one byte of a list to five of a pair.
            prop_assert!(converted.message.len() <= 64 + 24 * bytes.len());
            let checked = Properties::decode(
                Bytes::copy_from_slice(envelope.properties.as_bytes()), PropertyIn::Publish, u16::MAX,
            );
            prop_assert!(checked.is_ok());
        }

        #[test]
        fn noise_is_refused_in_either_format(bytes in any::<Vec<u8>>(), format in prop_oneof![Just(AMQP_FORMAT), Just(MQTT_FORMAT)]) {
            let bytes = Bytes::from(bytes);
            for topic in [None, Some("t")] {
                let _ = converted(format, &bytes, topic);
            }
            if let Ok(envelope) = Envelope::parse(&bytes) {
                let _ = to_amqp::encoded(&envelope, Bytes::new(), Occasion::default());
            }
        }
    }
}
