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
    /// The time of the delivery.
    pub(in crate::driver) now: UnixMillis,
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

/// All but the payload, encoded, for those who look at the properties of a message where no time passes.
pub(super) fn without_payload(envelope: &Envelope<'_>) -> Bytes {
    encoded(envelope, Bytes::new(), Occasion::default())
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
        absolute_expiry_time: left.map(|left| expiry_time(occasion.now, left)),
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
