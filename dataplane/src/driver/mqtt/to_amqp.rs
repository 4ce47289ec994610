//! What an AMQP consumer gets of a message that was published over MQTT.
//!
//! | MQTT | AMQP |
//! |---|---|
//! | topic | properties: to |
//! | QoS | header: durable where it is 1 or 2; annotation `x-opt-mqtt-qos` (ubyte) |
//! | retain | annotation `x-opt-mqtt-retain` (boolean) |
//! | payload | one data section, whatever the payload format indicator says |
//! | payload format indicator | annotation `x-opt-mqtt-payload-format` (ubyte 0 or 1) |
//! | message expiry interval | header: ttl, what is left of it; properties: absolute-expiry-time |
//! | content type | properties: content-type; one that is not ASCII: annotation `x-opt-mqtt-content-type` |
//! | response topic | properties: reply-to |
//! | correlation data | properties: correlation-id, binary (see [`Ids`]) |
//! | user properties | application properties, strings; of those with one name the first |
//! | user properties, when a name is repeated | besides, annotation `x-opt-mqtt-user-properties`: a list of all names and values in order |
//!
//! AMQP addresses lose one slash at their beginning, as some clients keep that of their URL's path. So a
//! topic that begins with one has two as an address, and an answer to it arrives where it should.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_amqp::message::{Body, Header, Message, MessageId, Properties};
use mq_amqp::value::{Symbol, Text, Value};
use mq_core::UnixMillis;
use mq_mqtt::Qos;
use mq_mqtt::property::PropertyView;

use super::envelope::Envelope;
use crate::driver::message::{annotation, map_of};

/// The QoS with which a message was published over MQTT, or is to be delivered there.
pub(in crate::driver) const QOS: &str = "x-opt-mqtt-qos";

/// Whether a message was published over MQTT to be retained, or is to be.
pub(in crate::driver) const RETAIN: &str = "x-opt-mqtt-retain";

/// Whether the payload is UTF-8 text, as an MQTT publisher has said.
pub(super) const PAYLOAD_FORMAT: &str = "x-opt-mqtt-payload-format";

/// A content type that has characters outside ASCII.
pub(super) const CONTENT_TYPE: &str = "x-opt-mqtt-content-type";

/// All user properties in their order, where a map cannot hold them.
pub(super) const USER_PROPERTIES: &str = "x-opt-mqtt-user-properties";

/// Bytes for which room is made beside those that are known.
const ROOM: usize = 256;

/// How correlation data becomes a correlation-id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::driver) enum Ids {
    /// As it is, binary.
    #[default]
    Binary,
    /// To a temporary address: what answers an AMQP requester, whose ids were made text for MQTT, gets
    /// the type back that they most likely had. A `urn:uuid:` is a uuid, other text a string.
    Typed,
}

/// What a delivery says that the message does not.
#[derive(Clone, Debug, Default)]
pub(in crate::driver) struct Occasion {
    /// The time of the delivery, where it is known.
    pub(in crate::driver) now: Option<UnixMillis>,
    /// What is left of the message's life, when it has waited.
    pub(in crate::driver) ttl_left: Option<Duration>,
    /// Earlier deliveries that failed.
    pub(in crate::driver) delivery_count: u32,
    /// What consumers have added to the message annotations.
    pub(in crate::driver) annotations: Vec<(Value, Value)>,
    pub(in crate::driver) ids: Ids,
    /// The message was kept for those who subscribe later, and comes as such.
    pub(in crate::driver) is_retained: bool,
}

/// The message as an AMQP consumer gets it, encoded.
pub(in crate::driver) fn encoded(envelope: &Envelope<'_>, payload: Bytes, occasion: Occasion) -> Bytes {
    let room = ROOM + envelope.topic.len() + 2 * envelope.properties.as_bytes().len();
    let mut out = BytesMut::with_capacity(room + payload.len());
    message(envelope, payload, occasion).encode(&mut out);
    out.freeze()
}

/// A message in the encoding of [`Envelope`] as an AMQP consumer would see its properties: without the
/// payload, and without what depends on the time of day. None when it cannot be read.
pub(crate) fn as_amqp(message: &[u8]) -> Option<Bytes> {
    let envelope = Envelope::parse(message).ok()?;
    Some(encoded(&envelope, Bytes::new(), Occasion::default()))
}

/// The message as an AMQP consumer gets it.
pub(super) fn message(envelope: &Envelope<'_>, payload: Bytes, occasion: Occasion) -> Message {
    let left = time_left(envelope.properties, occasion.ttl_left);
    let is_first = occasion.delivery_count == 0;
    let has_header = envelope.qos != Qos::AtMostOnce || left.is_some() || !is_first;
    let header = Header {
        durable: envelope.qos != Qos::AtMostOnce,
        // More milliseconds than fit: the absolute time says it, and to expire early would be to lose.
        ttl: left.and_then(|left| u32::try_from(left.as_millis()).ok()),
        delivery_count: occasion.delivery_count,
        ..Header::default()
    };
    let view = envelope.properties;
    let content_type = view.content_type();
    let properties = Properties {
        to: Some(Text::from(&*address_of(envelope.topic))),
        reply_to: view.response_topic().map(|topic| Text::from(&*address_of(topic))),
        correlation_id: view.correlation_data().map(|data| correlation_id(data, occasion.ids)),
        content_type: content_type.filter(|text| text.is_ascii()).map(Symbol::from),
        absolute_expiry_time: left.zip(occasion.now).map(|(left, now)| expiry_time(now, left)),
        ..Properties::default()
    };
    let (application_properties, is_repeated) = application_properties(view);
    let mut annotations = vec![
        annotation(QOS, Value::UByte(envelope.qos.to_byte())),
        annotation(RETAIN, envelope.retain || occasion.is_retained),
    ];
    if let Some(is_text) = view.payload_format_indicator() {
        annotations.push(annotation(PAYLOAD_FORMAT, Value::UByte(is_text.into())));
    }
    let foreign = content_type.filter(|text| !text.is_ascii());
    annotations.extend(foreign.map(|text| annotation(CONTENT_TYPE, text)));
    if is_repeated {
        let all = view.user_properties().flat_map(|(name, value)| [name.into(), value.into()]);
        annotations.push(annotation(USER_PROPERTIES, Value::List(all.collect())));
    }
    add(&mut annotations, notes_of(envelope));
    add(&mut annotations, occasion.annotations);
    Message {
        header: has_header.then_some(header),
        message_annotations: annotations,
        properties: Some(properties),
        application_properties,
        body: Body::Data(vec![payload]),
        ..Message::default()
    }
}

/// What is left of a message's life: `left` where it has waited. None when the message itself states no
/// limit, although its address may.
pub(super) fn time_left(properties: PropertyView<'_>, left: Option<Duration>) -> Option<Duration> {
    let stated = Duration::from_secs(properties.message_expiry_interval()?.into());
    Some(left.map_or(stated, |left| left.min(stated)))
}

/// What the node has noted of a message.
pub(in crate::driver) fn notes_of(envelope: &Envelope<'_>) -> Vec<(Value, Value)> {
    if envelope.annotations.is_empty() {
        return Vec::new();
    }
    map_of(Bytes::copy_from_slice(envelope.annotations)).unwrap_or_default()
}

/// Adds pairs in place of those under the same keys.
pub(in crate::driver) fn add(pairs: &mut Vec<(Value, Value)>, added: Vec<(Value, Value)>) {
    if !added.is_empty() {
        pairs.retain(|(key, _)| !added.iter().any(|(other, _)| key == other));
        pairs.extend(added);
    }
}

/// The AMQP address that reaches a topic.
pub(super) fn address_of(topic: &str) -> Cow<'_, str> {
    if topic.starts_with('/') { Cow::Owned(format!("/{topic}")) } else { Cow::Borrowed(topic) }
}

/// The user properties as a map, and whether a name stands in them more than once.
fn application_properties(view: PropertyView<'_>) -> (Vec<(Value, Value)>, bool) {
    let (mut names, mut pairs, mut is_repeated) = (HashSet::new(), Vec::new(), false);
    for (name, value) in view.user_properties() {
        if names.insert(name) {
            pairs.push((name.into(), value.into()));
        } else {
            is_repeated = true;
        }
    }
    (pairs, is_repeated)
}

fn correlation_id(data: &[u8], ids: Ids) -> MessageId {
    let text = std::str::from_utf8(data).ok().filter(|_| ids == Ids::Typed);
    match text {
        Some(text) => uuid_of(text).map_or_else(|| MessageId::String(text.into()), MessageId::Uuid),
        None => MessageId::Binary(Bytes::copy_from_slice(data)),
    }
}

/// The uuid of an urn (RFC 9562, 4), in lower case as we write it.
fn uuid_of(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix(URN_UUID)?;
    let dashes = text.char_indices().filter(|(_, character)| *character == '-').map(|(index, _)| index);
    if text.len() != 36 || !dashes.eq([8, 13, 18, 23]) {
        return None;
    }
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let is_lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(&digits, 16).ok().filter(|_| is_lower).map(u128::to_be_bytes)
}

/// What the text of a uuid begins with.
pub(super) const URN_UUID: &str = "urn:uuid:";

fn expiry_time(now: UnixMillis, left: Duration) -> i64 {
    let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    i64::try_from(now.0.saturating_add(left)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use mq_mqtt::property::{Properties as List, PropertyIn, PropertyWriter};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn list(write: impl FnOnce(&mut PropertyWriter)) -> List {
        let mut writer = PropertyWriter::new(PropertyIn::Publish);
        write(&mut writer);
        writer.finish()
    }

    fn at(occasion: Occasion) -> Occasion {
        Occasion { now: Some(NOW), ..occasion }
    }

    fn of(envelope: &Envelope<'_>, occasion: Occasion) -> Message {
        let payload = Bytes::copy_from_slice(envelope.payload);
        let message = message(envelope, payload.clone(), occasion.clone());
        let bytes = encoded(envelope, payload, occasion);
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message), "it is encoded as it is");
        message
    }

    #[test]
    fn every_part_of_a_publication_has_its_place() {
        let properties = list(|writer| {
            writer.payload_format_indicator(true).expect("allowed");
            writer.message_expiry_interval(60).expect("allowed");
            writer.content_type("text/plain").expect("allowed");
            writer.response_topic("answers/7").expect("allowed");
            writer.correlation_data(b"\xff\x07").expect("allowed");
            writer.user_property("unit", "celsius").expect("allowed");
            writer.user_property("", "empty").expect("allowed");
        });
        let envelope = Envelope {
            qos: Qos::ExactlyOnce,
            retain: true,
            origin: 5,
            properties: properties.view(),
            ..Envelope::new("sensors/kitchen", b"21.5")
        };
        let expected = Message {
            header: Some(Header { durable: true, ttl: Some(60_000), ..Header::default() }),
            message_annotations: vec![
                annotation(QOS, Value::UByte(2)),
                annotation(RETAIN, true),
                annotation(PAYLOAD_FORMAT, Value::UByte(1)),
            ],
            properties: Some(Properties {
                to: Some("sensors/kitchen".into()),
                reply_to: Some("answers/7".into()),
                correlation_id: Some(MessageId::Binary(Bytes::from_static(b"\xff\x07"))),
                content_type: Some("text/plain".into()),
                absolute_expiry_time: Some(1_700_000_060_000),
                ..Properties::default()
            }),
            application_properties: vec![("unit".into(), "celsius".into()), ("".into(), "empty".into())],
            ..Message::data("21.5")
        };
        assert_eq!(of(&envelope, at(Occasion::default())), expected);
    }

    #[test]
    fn a_publication_with_nothing_but_a_topic_has_no_header() {
        let expected = Message {
            message_annotations: vec![annotation(QOS, Value::UByte(0)), annotation(RETAIN, false)],
            properties: Some(Properties { to: Some("t".into()), ..Properties::default() }),
            ..Message::data("")
        };
        assert_eq!(of(&Envelope::new("t", b""), at(Occasion::default())), expected);
    }

    #[test]
    fn the_header_says_what_is_left_of_its_life_and_how_often_it_came() {
        let properties = list(|writer| drop(writer.message_expiry_interval(60)));
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("t", b"") };
        let occasion = Occasion {
            ttl_left: Some(Duration::from_millis(1_500)),
            delivery_count: 3,
            annotations: vec![annotation("x-opt-tried", "here"), annotation(QOS, "overwritten")],
            ..Occasion::default()
        };
        let message = of(&envelope, at(occasion));
        let header = Header { ttl: Some(1_500), delivery_count: 3, ..Header::default() };
        assert_eq!(message.header, Some(header));
        let expiry = message.properties.and_then(|properties| properties.absolute_expiry_time);
        assert_eq!(expiry, Some(1_700_000_001_500));
        let noted =
            [annotation(RETAIN, false), annotation("x-opt-tried", "here"), annotation(QOS, "overwritten")];
        assert_eq!(message.message_annotations, noted);
    }

    #[test]
    fn a_limit_of_the_address_is_not_one_of_the_message() {
        let occasion = Occasion { ttl_left: Some(Duration::from_secs(1)), ..Occasion::default() };
        let message = of(&Envelope::new("t", b""), at(occasion));
        assert_eq!(message.header, None);
        assert_eq!(message.properties.and_then(|properties| properties.absolute_expiry_time), None);
    }

    #[test]
    fn a_life_that_no_ttl_can_state_is_stated_by_its_end() {
        let properties = list(|writer| drop(writer.message_expiry_interval(u32::MAX)));
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("t", b"") };
        let message = of(&envelope, at(Occasion::default()));
        assert_eq!(message.header.and_then(|header| header.ttl), None);
        let end = 1_700_000_000_000 + i64::from(u32::MAX) * 1_000;
        assert_eq!(message.properties.and_then(|properties| properties.absolute_expiry_time), Some(end));
    }

    #[test]
    fn repeated_names_are_all_there_and_in_order() {
        let properties = list(|writer| {
            for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
                writer.user_property(name, value).expect("allowed");
            }
        });
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("t", b"") };
        let message = of(&envelope, at(Occasion::default()));
        assert_eq!(message.application_properties, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        let all = ["a", "1", "b", "2", "a", "3"].map(Value::from).to_vec();
        assert!(message.message_annotations.contains(&annotation(USER_PROPERTIES, Value::List(all))));
    }

    #[test]
    fn a_content_type_that_is_no_symbol_is_an_annotation() {
        let properties = list(|writer| drop(writer.content_type("küche")));
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("t", b"") };
        let message = of(&envelope, at(Occasion::default()));
        assert!(message.message_annotations.contains(&annotation(CONTENT_TYPE, "küche")));
        assert_eq!(message.properties.and_then(|properties| properties.content_type), None);
    }

    #[test]
    fn an_answer_to_an_amqp_requester_has_the_type_of_its_ids_again() {
        let id = |data: &[u8], ids| correlation_id(data, ids);
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let urn = b"urn:uuid:01234567-89ab-cdef-0123-456789abcdef".as_slice();
        assert_eq!(id(urn, Ids::Typed), MessageId::Uuid(uuid));
        for text in ["42", "", "urn:uuid:", "urn:uuid:0123456789abcdef0123456789abcdef----"] {
            assert_eq!(id(text.as_bytes(), Ids::Typed), MessageId::String(text.into()));
        }
        assert_eq!(id(b"\xff", Ids::Typed), MessageId::Binary(Bytes::from_static(b"\xff")));
        assert_eq!(id(urn, Ids::Binary), MessageId::Binary(Bytes::from_static(urn)));
    }

    #[test]
    fn an_answer_finds_a_topic_that_begins_with_a_slash() {
        let properties = list(|writer| drop(writer.response_topic("/answers")));
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("/requests", b"") };
        let properties = of(&envelope, at(Occasion::default())).properties.expect("properties");
        let address = |text: Option<Text>| text.expect("an address").as_str().to_owned();
        assert_eq!(crate::driver::attach::local_name(&address(properties.reply_to)), "/answers");
        assert_eq!(crate::driver::attach::local_name(&address(properties.to)), "/requests");
    }

    #[test]
    fn what_the_node_has_noted_is_annotated() {
        let mut notes = BytesMut::new();
        let pairs = vec![annotation("x-opt-dead-letter-reason", "expired")];
        mq_amqp::codec::encode_value(&mut notes, &Value::Map(pairs.clone()));
        let envelope = Envelope { annotations: &notes, ..Envelope::new("t", b"") };
        let message = of(&envelope, at(Occasion::default()));
        assert!(message.message_annotations.ends_with(&pairs));
        let unreadable = Envelope { annotations: b"\xff", ..envelope };
        assert_eq!(of(&unreadable, at(Occasion::default())).message_annotations.len(), 2);
    }
}
