//! What the driver reads of a message, and the places where an intermediary may change one: the
//! header's ttl and delivery-count, the delivery annotations and the message annotations (AMQP 3.2).
//! The bare message is never touched.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::{DecodeError, decode_value, encode_value};
use mq_amqp::message::{Body, Header, Message, MessageIndex, Properties};
use mq_amqp::value::{Symbol, Value};
use mq_core::Retain;

use super::mqtt::to_amqp::RETAIN;
use super::mqtt::to_mqtt::RETAIN_MESSAGE;

/// The message format of AMQP messages (AMQP 2.8.11, 3.2.16).
pub(super) const AMQP_FORMAT: u32 = 0;

/// The descriptor of message annotations (AMQP 3.2.3).
const MESSAGE_ANNOTATIONS: u64 = 0x72;

/// When a message may be delivered, in Unix milliseconds; as JMS providers over AMQP say it.
const DELIVERY_TIME: &str = "x-opt-delivery-time";

/// After how many milliseconds a message may be delivered.
const DELIVERY_DELAY: &str = "x-opt-delivery-delay";

/// What the names of all annotations begin with that are looked for.
const OURS: &[u8] = b"x-opt-";

/// Bytes within which the body of a message that is to be retained has to begin, for an empty one to be
/// known as such.
const RETAIN_LIMIT: usize = 32 << 10;

/// Bytes of a body section at its beginning that say whether anything is in it.
const BODY_HEAD: usize = 8;

/// What is looked for at the beginning of a message, beside its header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    /// Where an anonymous relay's message goes.
    pub(super) to: bool,
    /// When it may be delivered, and whether it is retained; for stored addresses, the others deliver at
    /// once.
    pub(super) annotations: bool,
}

/// When a message may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At this time, in Unix milliseconds.
    At(u64),
    /// So many milliseconds after it came.
    After(u64),
}

/// How a message begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) durable: bool,
    pub(super) priority: u8,
    pub(super) ttl: Option<Duration>,
    pub(super) schedule: Option<Schedule>,
    pub(super) retain: Retain,
    /// What precedes `chunk` when delivery annotations have been cut out between the two.
    pub(super) header: Option<Bytes>,
    pub(super) chunk: Bytes,
    /// Where `to` stands in `chunk`; read for anonymous relays only.
    pub(super) to: Option<Box<str>>,
}

/// Reads the beginning of a message: its first frame, which is all of it unless there is `more`.
///
/// # Errors
/// When a section that had to be read is malformed.
pub(super) fn read_start(
    payload: Bytes,
    format: u32,
    wants: Wants,
    more: bool,
) -> Result<Start, DecodeError> {
    let plain = |chunk| Start {
        durable: false,
        priority: Header::DEFAULT_PRIORITY,
        ttl: None,
        schedule: None,
        retain: Retain::No,
        header: None,
        chunk,
        to: None,
    };
    if format != AMQP_FORMAT || starts_with_what_is_not_wanted(&payload, wants) {
        return Ok(plain(payload));
    }
    let index = MessageIndex::parse(&payload)?;
    let mut start = plain(payload.clone());
    if let Some(range) = index.header.clone() {
        let header = Header::decode(payload.get(range).unwrap_or_default())?;
        start.durable = header.durable;
        start.priority = header.priority;
        start.ttl = header.ttl.map(|millis| Duration::from_millis(millis.into()));
    }
    if wants.annotations
        && let Some(range) = index.message_annotations.clone()
    {
        let asked = asked_by(payload.slice(range))?;
        start.schedule = asked.schedule;
        if asked.is_retained {
            start.retain = if !more && is_empty(&payload) { Retain::Clear } else { Retain::Keep };
        }
    }
    if wants.to
        && let Some(range) = index.properties.clone()
    {
        start.to = Properties::to_of(payload.get(range).unwrap_or_default())?.map(Into::into);
    }
    if let Some(annotations) = index.delivery_annotations {
        // AMQP 3.2.2: delivery annotations concern one hop.
        start.chunk = payload.slice(annotations.end..);
        start.header = index.header.map(|range| payload.slice(range));
    }
    Ok(start)
}

/// Whether bytes of a message that goes on end before what [`read_start`] looks for.
pub(super) fn is_cut_short(payload: &[u8], format: u32, wants: Wants) -> bool {
    if format != AMQP_FORMAT || starts_with_what_is_not_wanted(payload, wants) {
        return false;
    }
    let Ok(index) = MessageIndex::parse(payload) else { return false };
    let is_past_properties = index.application_properties.is_some() || index.body.is_some();
    if wants.to && index.properties.is_none() && !is_past_properties {
        return true;
    }
    match index.message_annotations.clone() {
        None => {
            let rest = payload.get(index.bare_start..).unwrap_or_default();
            !wants.to && !starts_with_what_is_not_wanted(rest, wants)
        }
        // Whether it is empty, and so ends what is retained, is seen where the body begins.
        Some(range) => {
            let has_begun = index.body.is_some_and(|body| body.range.len() >= BODY_HEAD);
            !has_begun && wants.annotations && payload.len() <= RETAIN_LIMIT && is_retained(payload, range)
        }
    }
}

/// Whether neither header nor delivery annotations nor anything else that is wanted can come: most
/// messages begin with their message annotations, properties or body, by the short form of the
/// descriptor.
fn starts_with_what_is_not_wanted(payload: &[u8], wants: Wants) -> bool {
    if wants.to {
        return false;
    }
    match payload {
        [0x00, 0x53, 0x72, ..] => !wants.annotations,
        [0x00, 0x53, 0x73..=0x78, ..] => true,
        _ => false,
    }
}

/// What the sender of a message asks for in its annotations.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    schedule: Option<Schedule>,
    is_retained: bool,
}

/// What message annotations ask for. Of a time and a delay of delivery the time counts.
fn asked_by(section: Bytes) -> Result<Asked, DecodeError> {
    // Most annotations ask for nothing, and are not decoded to learn that.
    if !asks(&section) {
        return Ok(Asked::default());
    }
    let pairs = map_of(section)?;
    let value = |name| pairs.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value);
    let at = value(DELIVERY_TIME).and_then(millis).map(Schedule::At);
    let delay = value(DELIVERY_DELAY).and_then(millis).filter(|delay| *delay > 0).map(Schedule::After);
    let is_true = |name| value(name) == Some(&Value::Boolean(true));
    Ok(Asked { schedule: at.or(delay), is_retained: is_true(RETAIN) || is_true(RETAIN_MESSAGE) })
}

/// Whether one of the annotations that ask for something may be there.
fn asks(section: &[u8]) -> bool {
    let asking = [DELIVERY_TIME, DELIVERY_DELAY, RETAIN, RETAIN_MESSAGE];
    let starts = section.windows(OURS.len()).enumerate().filter(|(_, window)| *window == OURS);
    starts
        .filter_map(|(start, _)| section.get(start..))
        .any(|rest| asking.iter().any(|name| rest.starts_with(name.as_bytes())))
}

fn is_retained(payload: &[u8], annotations: Range<usize>) -> bool {
    let section = payload.get(annotations).unwrap_or_default();
    asks(section) && asked_by(Bytes::copy_from_slice(section)).is_ok_and(|asked| asked.is_retained)
}

/// Whether a whole message has nothing in its body: it ends what is retained.
fn is_empty(message: &Bytes) -> bool {
    let Ok(message) = Message::decode(message) else { return false };
    match message.body {
        Body::Data(sections) => sections.iter().all(Bytes::is_empty),
        Body::Value(Value::Null) => true,
        Body::Value(Value::String(text)) => text.as_str().is_empty(),
        Body::Value(Value::Binary(bytes)) => bytes.is_empty(),
        Body::Value(_) | Body::Sequence(_) => false,
    }
}

/// A count of milliseconds in any of the types in which clients write it; what is negative is zero.
fn millis(value: &Value) -> Option<u64> {
    match value {
        Value::Timestamp(millis) | Value::Long(millis) => Some(u64::try_from(*millis).unwrap_or(0)),
        Value::Int(millis) => Some(u64::try_from(*millis).unwrap_or(0)),
        Value::UInt(millis) => Some(u64::from(*millis)),
        Value::ULong(millis) => Some(*millis),
        _ => None,
    }
}

/// The pairs of an encoded map, described or not.
pub(super) fn map_of(mut encoded: Bytes) -> Result<Vec<(Value, Value)>, DecodeError> {
    Ok(match decode_value(&mut encoded)? {
        Value::Map(pairs) => pairs,
        Value::Described(described) => match described.1 {
            Value::Map(pairs) => pairs,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// What changes in a message before the sections that nobody may change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What is left of the time to live that the header states.
    pub(super) ttl: Ttl,
    /// Earlier deliveries that failed; where there were any, nobody is the first acquirer.
    pub(super) delivery_count: Option<u32>,
    /// What is added to the message annotations, in place of what stands there under the same key.
    pub(super) annotations: Vec<(Value, Value)>,
}

/// What becomes of the header's ttl.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Ttl {
    #[default]
    Keep,
    /// AMQP 3.2.1: "the reduced ttl".
    Left(Duration),
    /// The message begins a new life.
    Remove,
}

/// The message with other header fields and annotations. What cannot be read is left as it is.
pub(super) fn changed(chunk: Bytes, format: u32, changes: Changes) -> Bytes {
    if format != AMQP_FORMAT {
        return chunk;
    }
    let Ok(index) = MessageIndex::parse(&chunk) else { return chunk };
    let old = index.header.clone().and_then(|range| chunk.get(range));
    let Ok(old) = old.map(Header::decode).transpose() else { return chunk };
    let mut header = old.clone().unwrap_or_default();
    match changes.ttl {
        // Where the header states none, the limit is the address's, not the message's.
        Ttl::Left(left) if header.ttl.is_some() => {
            header.ttl = Some(u32::try_from(left.as_millis()).unwrap_or(u32::MAX));
        }
        Ttl::Remove => header.ttl = None,
        Ttl::Left(_) | Ttl::Keep => {}
    }
    if let Some(count) = changes.delivery_count {
        header.delivery_count = count;
        header.first_acquirer &= count == 0;
    }
    let section = index.message_annotations.clone().map(|range| chunk.slice(range));
    let annotations = merged(section.as_ref(), changes.annotations);
    let is_same = old.as_ref().map_or_else(|| header == Header::default(), |old| *old == header);
    if is_same && annotations.is_none() {
        return chunk;
    }
    let head = index.header.as_ref().map_or(0, |range| range.end);
    let rest = if annotations.is_some() { index.bare_start.max(head) } else { head };
    let rest = chunk.get(rest..).unwrap_or_default();
    // A copy: once for a message that has waited or comes again, where order does not depend on it.
    let mut out = BytesMut::with_capacity(rest.len() + 64);
    if old.is_some() || header != Header::default() {
        header.encode(&mut out);
    }
    if let Some(annotations) = annotations {
        encode_value(&mut out, &Value::described(Value::ULong(MESSAGE_ANNOTATIONS), Value::Map(annotations)));
    }
    out.extend_from_slice(rest);
    out.freeze()
}

/// The message annotations with what is added; `None` when nothing is, or they cannot be read.
fn merged(section: Option<&Bytes>, added: Vec<(Value, Value)>) -> Option<Vec<(Value, Value)>> {
    if added.is_empty() {
        return None;
    }
    let mut pairs = match section {
        Some(section) => map_of(section.clone()).ok()?,
        None => Vec::new(),
    };
    pairs.retain(|(key, _)| !added.iter().any(|(other, _)| key == other));
    pairs.extend(added);
    Some(pairs)
}

/// An annotation under a name of ours.
pub(super) fn annotation(name: &'static str, value: impl Into<Value>) -> (Value, Value) {
    (Value::Symbol(Symbol::from_static(name)), value.into())
}

#[cfg(test)]
mod tests {
    use mq_amqp::message::Message;
    use mq_amqp::value::Value;

    use super::*;

    const NOTHING: Wants = Wants { to: false, annotations: false };
    const ANNOTATIONS: Wants = Wants { to: false, annotations: true };
    const TO: Wants = Wants { to: true, annotations: true };

    fn message(ttl: Option<u32>) -> Message {
        let header = Header { priority: 7, ttl, ..Header::default() };
        let to = Properties { to: Some("orders".into()), ..Properties::default() };
        Message { header: Some(header), properties: Some(to), ..Message::data("body") }
    }

    #[test]
    fn priority_ttl_and_to_are_read_from_the_first_frame() {
        let start = read_start(message(Some(1_500)).to_bytes(), 0, TO, false).expect("a valid message");
        assert_eq!(start.priority, 7);
        assert_eq!(start.ttl, Some(Duration::from_millis(1_500)));
        assert_eq!(start.to.as_deref(), Some("orders"));
    }

    #[test]
    fn delivery_annotations_are_cut_out_and_nothing_else_changes() {
        let plain = message(None).to_bytes();
        let annotated = Message {
            delivery_annotations: vec![(Value::from("x-hop"), Value::from(1_u32))],
            ..message(None)
        };
        let start = read_start(annotated.to_bytes(), 0, NOTHING, false).expect("a valid message");
        let rejoined = [start.header.expect("a header"), start.chunk].concat();
        assert_eq!(rejoined, plain);
    }

    #[test]
    fn a_reduced_ttl_changes_the_header_alone() {
        let before = message(Some(9_000)).to_bytes();
        let left = |millis| Changes { ttl: Ttl::Left(Duration::from_millis(millis)), ..Changes::default() };
        assert_eq!(changed(before.clone(), 0, left(4_000)), message(Some(4_000)).to_bytes());
        assert_eq!(changed(message(None).to_bytes(), 0, left(1_000)), message(None).to_bytes());
        let removed = Changes { ttl: Ttl::Remove, ..Changes::default() };
        assert_eq!(changed(before, 0, removed), message(None).to_bytes());
    }

    #[test]
    fn a_head_is_cut_short_where_something_to_read_may_follow() {
        let full = Message {
            delivery_annotations: vec![(Value::from("x-hop"), Value::from(1_u32))],
            message_annotations: vec![(Value::from("x"), Value::from(2_u32))],
            ..message(Some(5))
        };
        let bytes = full.to_bytes();
        let index = MessageIndex::parse(&bytes).expect("a valid message");
        let annotated = index.delivery_annotations.expect("annotations").end;
        let scheduled = index.message_annotations.expect("annotations").end;
        let named = index.properties.expect("properties").end;
        for length in 0..bytes.len() {
            // Three bytes of the next section say that it is none of those to be read.
            assert_eq!(is_cut_short(&bytes[..length], 0, NOTHING), length < annotated + 3, "{length} bytes");
            assert_eq!(is_cut_short(&bytes[..length], 0, ANNOTATIONS), length < scheduled, "{length} bytes");
            assert_eq!(is_cut_short(&bytes[..length], 0, TO), length < named, "{length} bytes");
        }
        assert!(!is_cut_short(&bytes[..1], 7, TO), "of another format nothing is read");
    }

    #[test]
    fn a_malformed_header_is_an_error() {
        assert!(
            read_start(Bytes::from_static(&[0x00, 0x53, 0x70, 0xc0, 0x09]), 0, NOTHING, false).is_err()
                || read_start(Bytes::from_static(&[0x00, 0x53, 0x70, 0x40]), 0, NOTHING, false).is_err()
        );
        assert!(read_start(Bytes::from_static(&[0xff, 0xff]), 0, NOTHING, false).is_err());
    }

    #[test]
    fn the_time_of_delivery_is_read_in_every_type_that_clients_write() {
        let at = |name: &str, value: Value| {
            let annotations = vec![
                (Value::from(Symbol::from("x-opt-jms-dest")), Value::Byte(0)),
                (Value::from(Symbol::from(name)), value),
            ];
            let bytes = Message { message_annotations: annotations, ..message(None) }.to_bytes();
            read_start(bytes, 0, ANNOTATIONS, false).expect("a valid message").schedule
        };
        assert_eq!(
            at(DELIVERY_TIME, Value::Timestamp(1_700_000_000_000)),
            Some(Schedule::At(1_700_000_000_000))
        );
        assert_eq!(at(DELIVERY_TIME, Value::Long(5)), Some(Schedule::At(5)));
        assert_eq!(at(DELIVERY_DELAY, Value::UInt(250)), Some(Schedule::After(250)));
        assert_eq!(at(DELIVERY_DELAY, Value::Int(-1)), None);
        assert_eq!(at(DELIVERY_DELAY, Value::from("soon")), None);
        assert_eq!(at("x-opt-other", Value::Long(5)), None);
    }

    #[test]
    fn a_message_says_whether_it_is_retained_and_an_empty_one_ends_it() {
        let annotated = |name: &str, value: Value, body: Body| {
            let annotations = vec![
                (Value::from(Symbol::from("x-opt-other")), Value::Byte(0)),
                (Value::from(Symbol::from(name)), value),
            ];
            Message { message_annotations: annotations, body, ..message(None) }.to_bytes()
        };
        let retain = |bytes: &Bytes, more| {
            read_start(bytes.clone(), 0, ANNOTATIONS, more).expect("a valid message").retain
        };
        let data = |parts: &[&'static str]| Body::Data(parts.iter().map(|part| Bytes::from(*part)).collect());
        for name in [RETAIN, RETAIN_MESSAGE] {
            assert_eq!(retain(&annotated(name, true.into(), data(&["x"])), false), Retain::Keep);
            assert_eq!(retain(&annotated(name, false.into(), data(&["x"])), false), Retain::No);
            assert_eq!(retain(&annotated(name, "true".into(), data(&["x"])), false), Retain::No);
        }
        assert_eq!(retain(&annotated("x-opt-mqtt-retained", true.into(), data(&["x"])), false), Retain::No);
        for empty in [data(&["", ""]), Body::Value(Value::Null), Body::Value("".into())] {
            let bytes = annotated(RETAIN, true.into(), empty);
            assert_eq!(retain(&bytes, false), Retain::Clear);
            assert_eq!(retain(&bytes, true), Retain::Keep, "more comes");
        }
        for full in [data(&["", "x"]), Body::Value(Value::UInt(0)), Body::Sequence(vec![Vec::new()])] {
            assert_eq!(retain(&annotated(RETAIN, true.into(), full), false), Retain::Keep);
        }
        let unread = read_start(annotated(RETAIN, true.into(), data(&["x"])), 0, NOTHING, false);
        assert_eq!(unread.expect("a valid message").retain, Retain::No);
    }

    #[test]
    fn a_message_that_is_to_be_retained_is_read_up_to_its_body() {
        let retained = |body: &'static [u8]| Message {
            message_annotations: vec![annotation(RETAIN, true)],
            application_properties: vec![("key".into(), "value".into())],
            ..Message { body: Body::Data(vec![Bytes::from(body)]), ..message(Some(5)) }
        };
        let bytes = retained(b"more than a few").to_bytes();
        let body = MessageIndex::parse(&bytes).expect("a valid message").body.expect("a body").range.start;
        for wants in [ANNOTATIONS, TO] {
            for length in 0..bytes.len() {
                assert_eq!(is_cut_short(&bytes[..length], 0, wants), length < body + BODY_HEAD, "{length}");
            }
        }
        let long = "x".repeat(RETAIN_LIMIT);
        let deep =
            Message { application_properties: vec![("k".into(), long.as_str().into())], ..retained(b"") };
        let bytes = deep.to_bytes();
        assert!(is_cut_short(&bytes[..RETAIN_LIMIT], 0, ANNOTATIONS));
        assert!(!is_cut_short(&bytes[..=RETAIN_LIMIT], 0, ANNOTATIONS), "it is retained, empty or not");
    }

    #[test]
    fn a_durable_message_says_so_in_its_header() {
        let header = Header { durable: true, ..Header::default() };
        let durable = Message { header: Some(header), ..message(None) };
        assert!(read_start(durable.to_bytes(), 0, NOTHING, false).expect("a valid message").durable);
        assert!(!read_start(message(None).to_bytes(), 0, NOTHING, false).expect("a valid message").durable);
    }

    #[test]
    fn a_message_that_comes_again_says_how_often_it_came() {
        let bare = Message { header: None, ..message(None) };
        let counted = |message: &Message, count| {
            let header = Header { delivery_count: count, ..message.header.clone().unwrap_or_default() };
            Message { header: Some(header), ..message.clone() }.to_bytes()
        };
        let changes = || Changes { delivery_count: Some(2), ..Changes::default() };
        assert_eq!(changed(bare.to_bytes(), 0, changes()), counted(&bare, 2), "a header is put before it");
        assert_eq!(changed(message(Some(9)).to_bytes(), 0, changes()), counted(&message(Some(9)), 2));
    }

    #[test]
    fn annotations_are_added_and_replaced_and_the_rest_stays_byte_for_byte() {
        let before = Message {
            message_annotations: vec![annotation("x-opt-kept", 1_u32), annotation("x-opt-replaced", 2_u32)],
            ..message(Some(5))
        };
        let added = vec![annotation("x-opt-replaced", 3_u32), annotation("x-opt-new", "text")];
        let after = Message {
            message_annotations: vec![
                annotation("x-opt-kept", 1_u32),
                annotation("x-opt-replaced", 3_u32),
                annotation("x-opt-new", "text"),
            ],
            ..before.clone()
        };
        let changes = Changes { annotations: added.clone(), ..Changes::default() };
        assert_eq!(changed(before.to_bytes(), 0, changes), after.to_bytes());
        let plain = message(Some(5));
        let changes = Changes { annotations: added.clone(), ..Changes::default() };
        assert_eq!(
            changed(plain.to_bytes(), 0, changes),
            Message { message_annotations: added, ..plain }.to_bytes()
        );
        let odd = Bytes::from_static(b"of another format");
        assert_eq!(changed(odd.clone(), 7, Changes { delivery_count: Some(1), ..Changes::default() }), odd);
    }
}
