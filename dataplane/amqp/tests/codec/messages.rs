//! Message sections: found, cut, taken apart and put together.

use bytes::Bytes;
use mq_amqp::{
    codec::DecodeError,
    message::{
        Body, BodyIndex, BodyKind, Entries, Header, Message, MessageId, MessageIndex, Properties,
        PropertiesField, Scalar,
    },
    value::{Symbol, Text, Value},
};
use proptest::{collection::vec, option, prelude::*};

use crate::{hex, strategies, written};

const HEADER: &str = "00 53 70 c0 05 03 41 50 09 40";
const DELIVERY_ANNOTATIONS: &str = "00 53 71 c1 05 02 a3 01 'd' 43";
const MESSAGE_ANNOTATIONS: &str = "00 53 72 c1 05 02 a3 01 'm' 43";
const PROPERTIES: &str = "00 53 73 c0 0b 03 53 07 a0 01 'u' a1 03 'foo'";
const APPLICATION_PROPERTIES: &str = "00 53 74 c1 05 02 a1 01 'a' 43";
const DATA: &str = "00 53 75 a0 05 'hello'";
const SEQUENCE: &str = "00 53 76 c0 03 02 41 42";
const VALUE: &str = "00 53 77 a1 02 'hi'";
const FOOTER: &str = "00 53 78 c1 01 00";

fn message(sections: &[&str]) -> Bytes {
    hex(&sections.join(" "))
}

/// A message with every section.
fn full() -> Bytes {
    message(&[
        HEADER,
        DELIVERY_ANNOTATIONS,
        MESSAGE_ANNOTATIONS,
        PROPERTIES,
        APPLICATION_PROPERTIES,
        DATA,
        DATA,
        FOOTER,
    ])
}

#[test]
fn every_section_is_found() {
    let index = MessageIndex::parse(&full()).unwrap();
    assert_eq!(
        index,
        MessageIndex {
            header: Some(0..10),
            delivery_annotations: Some(10..20),
            message_annotations: Some(20..30),
            properties: Some(30..46),
            application_properties: Some(46..56),
            body: Some(BodyIndex { kind: BodyKind::Data, range: 56..76 }),
            footer: Some(76..82),
            bare_start: 30,
            complete: true,
        }
    );
}

#[test]
fn a_message_may_be_no_more_than_its_body() {
    for (section, kind) in [(DATA, BodyKind::Data), (SEQUENCE, BodyKind::Sequence), (VALUE, BodyKind::Value)]
    {
        let bytes = message(&[section]);
        let index = MessageIndex::parse(&bytes).unwrap();
        let body = Some(BodyIndex { kind, range: 0..bytes.len() });
        assert_eq!(index, MessageIndex { body, complete: true, ..MessageIndex::default() });
    }
}

#[test]
fn symbolic_and_wide_descriptors_and_sizes_are_understood() {
    let bytes = message(&[
        "00 a3 10 'amqp:header:list' 45",
        "00 80 00 00 00 00 00 00 00 71 d1 00 00 00 04 00 00 00 00",
        "00 b3 00 00 00 10 'amqp:data:binary' b0 00 00 00 01 'x'",
    ]);
    let index = MessageIndex::parse(&bytes).unwrap();
    assert_eq!((index.header, index.delivery_annotations, index.bare_start), (Some(0..20), Some(20..39), 39));
    assert_eq!(index.body.map(|body| body.range), Some(39..bytes.len()));
    assert_eq!(Message::decode(&bytes).unwrap().header, Some(Header::default()));
}

#[test]
fn the_first_fragment_of_a_long_message_is_usable() {
    // A data section of a gigabyte, of which six bytes are there.
    let bytes = message(&[HEADER, "00 53 73 45 00 53 75 b0 40 00 00 00 'abcdef'"]);
    let index = MessageIndex::parse(&bytes).unwrap();
    assert_eq!((index.header, index.properties, index.bare_start), (Some(0..10), Some(10..14), 10));
    assert_eq!(index.body, Some(BodyIndex { kind: BodyKind::Data, range: 14..bytes.len() }));
    assert!(!index.complete);
}

#[test]
fn every_prefix_has_an_index_with_the_sections_that_are_whole() {
    let bytes = full();
    let whole = MessageIndex::parse(&bytes).unwrap();
    for length in 0..bytes.len() {
        let index = MessageIndex::parse(&bytes[..length]).unwrap();
        let within = |section: &Option<std::ops::Range<usize>>| section.clone().filter(|s| s.end <= length);
        assert_eq!(index.header, within(&whole.header));
        assert_eq!(index.delivery_annotations, within(&whole.delivery_annotations));
        assert_eq!(index.message_annotations, within(&whole.message_annotations));
        assert_eq!(index.properties, within(&whole.properties));
        assert_eq!(index.application_properties, within(&whole.application_properties));
        assert_eq!(index.footer, within(&whole.footer));
        assert_eq!(index.complete, [0, 10, 20, 30, 46, 56, 66, 76].contains(&length), "{length} bytes");
        assert!(Message::decode(&bytes.slice(..length)).is_err() || [66, 76].contains(&length));
    }
}

#[test]
fn sections_out_of_order_or_twice_are_refused() {
    for sections in [
        [DELIVERY_ANNOTATIONS, HEADER],
        [HEADER, HEADER],
        [PROPERTIES, MESSAGE_ANNOTATIONS],
        [DATA, APPLICATION_PROPERTIES],
        [DATA, SEQUENCE],
        [VALUE, VALUE],
        [VALUE, DATA],
        [FOOTER, DATA],
        [FOOTER, FOOTER],
    ] {
        let bytes = message(&sections);
        assert!(matches!(MessageIndex::parse(&bytes), Err(DecodeError::SectionOrder { .. })), "{sections:?}");
        assert!(Message::decode(&bytes).is_err());
    }
    assert!(MessageIndex::parse(&message(&[SEQUENCE, SEQUENCE, FOOTER])).is_ok());
}

#[test]
fn what_is_no_section_is_refused() {
    for figure in ["40", "a0 01 'x'", "00 53 6f 45", "00 53 79 45", "00 53 24 45", "00 a1 01 'x' 45", "ff"] {
        assert!(MessageIndex::parse(&hex(figure)).is_err(), "{figure}");
    }
    // A header that is a map, annotations that are a list, data that is a string, a sequence that is an array.
    for figure in
        ["00 53 70 c1 01 00", "00 53 72 45", "00 53 75 a1 00", "00 53 76 e0 02 00 40", "00 53 77 ff"]
    {
        assert!(MessageIndex::parse(&hex(figure)).is_err(), "{figure}");
    }
}

#[test]
fn a_value_body_is_skipped_however_deep_it_is() {
    let mut bytes = hex("00 53 77").to_vec();
    bytes.extend(std::iter::repeat_n([0x00, 0x44], 100_000).flatten());
    bytes.push(0x40);
    let index = MessageIndex::parse(&bytes).unwrap();
    assert!(index.complete);
    // A decoder, which builds it, has a limit.
    assert!(matches!(Message::decode(&bytes.into()), Err(DecodeError::TooDeep { .. })));
}

#[test]
fn the_header_has_its_defaults() {
    assert_eq!(Header::decode(&hex("00 53 70 45")), Ok(Header::default()));
    assert_eq!(written(|out| Header::default().encode(out)), hex("00 53 70 45"));
    let header = Header::decode(&hex(HEADER)).unwrap();
    assert_eq!(header, Header { durable: true, priority: 9, ..Header::default() });
    let header = Header { ttl: Some(1000), first_acquirer: true, delivery_count: 2, ..Header::default() };
    assert_eq!(written(|out| header.encode(out)), hex("00 53 70 c0 0b 05 40 40 70 00 00 03 e8 41 52 02"));
    for figure in
        ["00 53 70 c0 07 06 40 40 40 40 40 40", "00 53 70 45 00", "00 53 73 45", "00 53 70 c0 02 01 43"]
    {
        assert!(Header::decode(&hex(figure)).is_err(), "{figure}");
    }
}

#[test]
fn the_address_is_found_behind_every_type_of_message_id() {
    for id in [
        "40",
        "44",
        "53 07",
        "80 00 00 00 00 00 00 00 07",
        "a0 01 'i'",
        "a1 01 'i'",
        "b1 00 00 00 01 'i'",
        "98 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
    ] {
        let length = hex(id).len() + 1 + 1 + 5;
        let bytes = hex(&format!("00 53 73 c0 {length:02x} 03 {id} 40 a1 03 'foo'"));
        assert_eq!(Properties::to_of(&bytes), Ok(Some("foo")), "{id}");
        assert_eq!(Properties::decode(&bytes).unwrap().to.as_ref().map(|to| to.as_str()), Some("foo"));
    }
    assert_eq!(Properties::to_of(&hex("00 53 73 45")), Ok(None));
    assert_eq!(Properties::to_of(&hex("00 53 73 c0 03 02 40 40")), Ok(None));
    assert_eq!(Properties::to_of(&hex("00 53 73 c0 04 03 40 40 40")), Ok(None));
    for figure in
        ["00 53 73 c0 04 03 40 40 43", "00 53 73 c0 06 03 40 40 a1 01 ff", "00 53 70 45", "00 53 73"]
    {
        assert!(Properties::to_of(&hex(figure)).is_err(), "{figure}");
    }
}

#[test]
fn a_message_without_a_body_has_an_index_but_is_no_message() {
    assert!(MessageIndex::parse(&message(&[HEADER])).unwrap().body.is_none());
    assert!(matches!(Message::decode(&message(&[HEADER])), Err(DecodeError::Missing { .. })));
}

#[test]
fn built_messages_are_what_they_say() {
    assert_eq!(Message::data(&b"hello"[..]).to_bytes(), hex(DATA));
    assert_eq!(Message::value("hi").to_bytes(), hex(VALUE));
}

fn message_id() -> impl Strategy<Value = MessageId> {
    prop_oneof![
        strategies::ulong().prop_map(MessageId::ULong),
        any::<[u8; 16]>().prop_map(MessageId::Uuid),
        strategies::binary().prop_map(MessageId::Binary),
        strategies::text().prop_map(MessageId::String),
    ]
}

fn properties() -> impl Strategy<Value = Properties> {
    let text = || option::of(strategies::text());
    let symbol = || option::of(strategies::symbol());
    (
        (option::of(message_id()), option::of(strategies::binary()), text(), text(), text()),
        (option::of(message_id()), symbol(), symbol(), option::of(any::<i64>()), option::of(any::<i64>())),
        (text(), option::of(strategies::uint()), text()),
    )
        .prop_map(|(a, b, c)| Properties {
            message_id: a.0,
            user_id: a.1,
            to: a.2,
            subject: a.3,
            reply_to: a.4,
            correlation_id: b.0,
            content_type: b.1,
            content_encoding: b.2,
            absolute_expiry_time: b.3,
            creation_time: b.4,
            group_id: c.0,
            group_sequence: c.1,
            reply_to_group_id: c.2,
        })
}

fn header() -> impl Strategy<Value = Header> {
    let ttl = option::of(strategies::uint());
    (any::<bool>(), any::<u8>(), ttl, any::<bool>(), strategies::uint()).prop_map(
        |(durable, priority, ttl, first_acquirer, delivery_count)| Header {
            durable,
            priority,
            ttl,
            first_acquirer,
            delivery_count,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        vec(strategies::binary(), 1..4).prop_map(Body::Data),
        vec(vec(strategies::value(), 0..4), 1..3).prop_map(Body::Sequence),
        strategies::value().prop_map(Body::Value),
    ]
}

pub(crate) fn any_message() -> impl Strategy<Value = Message> {
    (
        option::of(header()),
        strategies::properties(),
        strategies::properties(),
        option::of(properties()),
        strategies::properties(),
        body(),
        strategies::properties(),
    )
        .prop_map(|parts| Message {
            header: parts.0,
            delivery_annotations: parts.1,
            message_annotations: parts.2,
            properties: parts.3,
            application_properties: parts.4,
            body: parts.5,
            footer: parts.6,
        })
}

proptest! {
    #[test]
    fn messages_round_trip(message in any_message()) {
        prop_assert_eq!(Message::decode(&message.to_bytes()), Ok(message));
    }

    #[test]
    fn the_index_agrees_with_the_message(message in any_message()) {
        let bytes = message.to_bytes();
        let index = MessageIndex::parse(&bytes).expect("a message");
        prop_assert!(index.complete);
        prop_assert_eq!(index.header.is_some(), message.header.is_some());
        prop_assert_eq!(index.footer.is_some(), !message.footer.is_empty());
        if let (Some(range), Some(properties)) = (index.properties, &message.properties) {
            let section = bytes.slice(range);
            prop_assert_eq!(Properties::to_of(&section), Ok(properties.to.as_ref().map(|to| to.as_str())));
            let decoded = Properties::decode(&section);
            prop_assert_eq!(decoded.as_ref(), Ok(properties));
        }
        // The bare message is what remains of a message without header and annotations.
        let bare = Message {
            header: None,
            delivery_annotations: Vec::new(),
            message_annotations: Vec::new(),
            ..message
        };
        prop_assert_eq!(bytes.slice(index.bare_start..), bare.to_bytes());
    }

    #[test]
    fn values_read_in_place_are_those_of_the_message(message in any_message()) {
        let bytes = message.to_bytes();
        let index = MessageIndex::parse(&bytes).expect("a message");
        for (range, pairs) in [
            (index.delivery_annotations, &message.delivery_annotations),
            (index.message_annotations, &message.message_annotations),
            (index.application_properties, &message.application_properties),
            (index.footer, &message.footer),
        ] {
            let Some(range) = range else { continue };
            let entries = Entries::of(&bytes[range]).expect("a map");
            prop_assert_eq!(entries.left() as usize, pairs.len());
            let named: Vec<_> = pairs.iter().filter_map(|(key, value)| Some((key.as_str()?, value))).collect();
            let read: Vec<_> = entries.clone().collect::<Result<_, _>>().expect("well-formed entries");
            prop_assert_eq!(&read, &named.iter().map(|(key, value)| (*key, scalar(value))).collect::<Vec<_>>());
            for (key, _) in &named {
                let first = named.iter().find(|(name, _)| name == key).map(|(_, value)| scalar(value));
                prop_assert_eq!(entries.clone().find(key), Ok(first));
            }
        }
        if let (Some(range), Some(properties)) = (index.properties, &message.properties) {
            let section = &bytes[range];
            let text = |text: &Option<Text>| text.clone().map_or(Value::Null, Value::from);
            let time = |time: Option<i64>| time.map_or(Value::Null, Value::Timestamp);
            for (field, value) in [
                (PropertiesField::MessageId, id(&properties.message_id)),
                (PropertiesField::UserId, properties.user_id.clone().map_or(Value::Null, Value::from)),
                (PropertiesField::To, text(&properties.to)),
                (PropertiesField::Subject, text(&properties.subject)),
                (PropertiesField::ReplyTo, text(&properties.reply_to)),
                (PropertiesField::CorrelationId, id(&properties.correlation_id)),
                (PropertiesField::ContentType, properties.content_type.clone().map_or(Value::Null, Value::from)),
                (
                    PropertiesField::ContentEncoding,
                    properties.content_encoding.clone().map_or(Value::Null, Value::from),
                ),
                (PropertiesField::AbsoluteExpiryTime, time(properties.absolute_expiry_time)),
                (PropertiesField::CreationTime, time(properties.creation_time)),
                (PropertiesField::GroupId, text(&properties.group_id)),
                (PropertiesField::GroupSequence, properties.group_sequence.map_or(Value::Null, Value::from)),
                (PropertiesField::ReplyToGroupId, text(&properties.reply_to_group_id)),
            ] {
                prop_assert_eq!(field.find(section), Ok(scalar(&value)), "{:?}", field);
            }
        }
    }
}

fn id(id: &Option<MessageId>) -> Value {
    match id.clone() {
        None => Value::Null,
        Some(MessageId::ULong(number)) => Value::ULong(number),
        Some(MessageId::Uuid(bytes)) => Value::Uuid(bytes),
        Some(MessageId::Binary(bytes)) => Value::Binary(bytes),
        Some(MessageId::String(text)) => Value::String(text),
    }
}

/// What reading a value in place gives.
fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Null => Scalar::Null,
        Value::Boolean(value) => Scalar::Boolean(*value),
        Value::UByte(number) => Scalar::Unsigned((*number).into()),
        Value::UShort(number) => Scalar::Unsigned((*number).into()),
        Value::UInt(number) => Scalar::Unsigned((*number).into()),
        Value::ULong(number) => Scalar::Unsigned(*number),
        Value::Byte(number) => Scalar::Signed((*number).into()),
        Value::Short(number) => Scalar::Signed((*number).into()),
        Value::Int(number) => Scalar::Signed((*number).into()),
        Value::Long(number) => Scalar::Signed(*number),
        Value::Float(number) => Scalar::Float(*number),
        Value::Double(number) => Scalar::Double(*number),
        Value::Char(character) => Scalar::Char(*character),
        Value::Timestamp(time) => Scalar::Timestamp(*time),
        Value::Uuid(bytes) => Scalar::Uuid(bytes),
        Value::Binary(bytes) => Scalar::Binary(bytes),
        Value::String(text) => Scalar::String(text.as_str()),
        Value::Symbol(symbol) => Scalar::Symbol(symbol.as_str()),
        _ => Scalar::Other,
    }
}

#[test]
fn entries_end_behind_an_error() {
    let section = hex("00 53 74 c1 09 04 a1 01 'a' 01 a1 01 'b' 40");
    let mut entries = Entries::of(&section).unwrap();
    assert!(matches!(entries.find("b"), Err(DecodeError::UnknownConstructor { .. })));
    assert_eq!(entries.find("b"), Ok(None));
    let mut entries = Entries::of(&section).unwrap();
    assert!(entries.next().is_some_and(|entry| entry.is_err()));
    assert!(entries.next().is_none());
    assert!(Entries::of(&hex(PROPERTIES)).is_err());
    assert!(PropertiesField::To.find(&section).is_err());
}

#[test]
fn annotations_keep_their_order_and_types() {
    let message = Message {
        message_annotations: vec![
            (Symbol::from_static("x-opt-b").into(), 1_i64.into()),
            (Symbol::from_static("x-opt-a").into(), Value::Null),
        ],
        ..Message::data(Bytes::new())
    };
    assert_eq!(Message::decode(&message.to_bytes()), Ok(message));
}
