//! What names stand for in a message, and messages that are none.

use mq_amqp::message::MessageIndex;
use mq_amqp::value::{Array, Kind, Symbol};

use super::super::STEPS_MAX;
use super::*;

#[test]
fn names_of_jms_and_of_amqp_reach_header_and_properties() {
    let full = full().to_bytes();
    for holds in [
        "JMSMessageID = 'ID:7'",
        "amqp.message_id = 'ID:7'",
        "JMSMessageID LIKE 'ID:%'",
        "JMSCorrelationID = '77'",
        "amqp.correlation_id = 77",
        "amqp.correlation_id > 76",
        "JMSCorrelationID = 'ID:AMQP_ULONG:77'",
        "JMSCorrelationID LIKE 'ID:AMQP_ULONG:7_'",
        "JMSType = 'created'",
        "amqp.subject = 'created'",
        "amqp.jms_type = 'created'",
        "JMSTimestamp = 1000",
        "amqp.creation_time BETWEEN 999 AND 1001",
        "JMSExpiration = 2000",
        "amqp.absolute_expiry_time = 2000",
        "JMSDestination = 'orders'",
        "amqp.to = 'orders'",
        "JMSReplyTo = 'replies'",
        "amqp.reply_to = 'replies'",
        "JMSXGroupID = 'g'",
        "amqp.group_id = 'g'",
        "JMSXGroupSeq = 3",
        "amqp.group_sequence = 3",
        "JMSXUserID = 'alice'",
        "amqp.user_id = 'alice'",
        "amqp.reply_to_group_id = 'h'",
        "amqp.content_type = 'text/plain'",
        "amqp.content_encoding = 'gzip'",
        "JMSPriority = 7",
        "amqp.priority > 6",
        "JMSDeliveryMode = 'PERSISTENT'",
        "amqp.delivery_mode = 'PERSISTENT'",
        "amqp.durable",
        "amqp.durable = TRUE",
        "color = 'red'",
    ] {
        assert!(matches(holds, &full), "{holds}");
        assert!(!matches(&format!("NOT ({holds})"), &full), "NOT {holds}");
    }
}

#[test]
fn absent_sections_have_the_defaults_of_the_header_and_no_properties() {
    let bare = Message::data("body").to_bytes();
    assert!(matches("JMSPriority = 4 AND JMSDeliveryMode = 'NON_PERSISTENT' AND NOT amqp.durable", &bare));
    for name in [
        "JMSMessageID",
        "JMSCorrelationID",
        "JMSType",
        "JMSTimestamp",
        "amqp.to",
        "color",
        "JMSXUserID",
        "JMS_vendor",
    ] {
        assert!(matches(&format!("{name} IS NULL"), &bare), "{name}");
    }
    let empty = Message { properties: Some(Properties::default()), ..Message::data("") };
    assert!(matches("JMSMessageID IS NULL AND amqp.reply_to_group_id IS NULL", &empty.to_bytes()));
}

#[test]
fn ids_equal_their_text_and_the_text_jms_knows_them_by() {
    let uuid =
        [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0xab];
    let cases: [(MessageId, &[&str], &[&str]); 5] = [
        (
            MessageId::String("abc".into()),
            &["abc", "ID:AMQP_NO_PREFIX:abc", "ID:AMQP_STRING:abc"],
            &["", "ID:abc"],
        ),
        (MessageId::String("ID:AMQP_ULONG:1".into()), &["ID:AMQP_ULONG:1"], &["1"]),
        (
            MessageId::Uuid(uuid),
            &["123e4567-e89b-12d3-a456-4266141740ab", "ID:AMQP_UUID:123E4567-e89b-12d3-a456-4266141740AB"],
            &[
                "123e4567e89b12d3a4564266141740ab",
                "123e4567-e89b-12d3-a456-4266141740a",
                "",
                "123e4567-e89b-12d3-a456-4266141740ab0",
                "----",
            ],
        ),
        (MessageId::ULong(12), &["12", "ID:AMQP_ULONG:12"], &["", "+12", "12 ", "ID:12"]),
        (
            MessageId::Binary(Bytes::from_static(&[0x0a, 0xff])),
            &["0AFF", "0aff", "ID:AMQP_BINARY:0AFF"],
            &["0AF", "0AFF0", "+AFF", ""],
        ),
    ];
    for (id, equal, different) in cases {
        let properties = Properties { message_id: Some(id.clone()), ..Properties::default() };
        let message = Message { properties: Some(properties), ..Message::data("") }.to_bytes();
        for text in equal {
            assert_eq!(truth(&format!("JMSMessageID = '{text}'"), &message), Some(true), "{id:?} {text}");
        }
        for text in different {
            assert_eq!(truth(&format!("JMSMessageID = '{text}'"), &message), Some(false), "{id:?} {text}");
            assert_eq!(truth(&format!("JMSMessageID <> '{text}'"), &message), Some(true), "{id:?} {text}");
        }
    }
    let both = Properties {
        message_id: Some(MessageId::Uuid(uuid)),
        correlation_id: Some(MessageId::Uuid(uuid)),
        ..Properties::default()
    };
    let both = Message { properties: Some(both), ..Message::data("") }.to_bytes();
    assert!(matches("JMSMessageID = JMSCorrelationID", &both));
    assert!(matches("JMSMessageID LIKE 'ID:AMQP_UUID:123E4567-E89B-%-4266141740AB'", &both));
}

#[test]
fn every_type_of_property_has_its_like() {
    let message = message(&[
        ("ubyte", Value::UByte(1)),
        ("ushort", Value::UShort(1)),
        ("uint", Value::UInt(1)),
        ("ulong", Value::ULong(1)),
        ("byte", Value::Byte(1)),
        ("short", Value::Short(1)),
        ("int", Value::Int(1)),
        ("long", Value::Long(1)),
        ("float", Value::Float(1.0)),
        ("double", Value::Double(1.0)),
        ("timestamp", Value::Timestamp(1)),
        ("huge", Value::ULong(u64::MAX)),
        ("low", Value::Long(i64::MIN)),
        ("character", Value::Char('é')),
        ("symbol", Value::Symbol("one".into())),
        ("uuid", Value::Uuid([0x11; 16])),
        ("binary", Bytes::from_static(b"one").into()),
        ("list", Value::List(vec![Value::Int(1)])),
        ("map", Value::Map(vec![(Value::Int(1), Value::Int(1))])),
        ("array", Value::Array(Array::new(Kind::Int, vec![Value::Int(1)]).expect("an array"))),
        ("described", Value::described(Value::Symbol("x".into()), Value::Int(1))),
        ("decimal", Value::Decimal32([0; 4])),
        ("last", Value::Int(2)),
    ]);
    for name in
        ["ubyte", "ushort", "uint", "ulong", "byte", "short", "int", "long", "float", "double", "timestamp"]
    {
        assert!(matches(&format!("{name} = 1 AND {name} = 1.0 AND {name} < 1.5"), &message), "{name}");
    }
    assert!(matches("huge > 9223372036854775807.0 AND low = -9223372036854775808", &message));
    assert!(matches(
        "character = 'é' AND character LIKE '_' AND character <> 'e' AND symbol = 'one'",
        &message
    ));
    assert!(matches("uuid = '11111111-1111-1111-1111-111111111111'", &message));
    for name in ["binary", "list", "map", "array", "described", "decimal"] {
        let compared = format!("{name} = 1 OR {name} = 'one' OR {name} <> 1 OR {name} LIKE '%'");
        assert_eq!(truth(&compared, &message), Some(false), "{name}");
        assert!(matches(&format!("{name} IS NOT NULL"), &message), "{name}");
    }
    assert!(matches("last = 2", &message), "what stands behind values of any type is found");
}

#[test]
fn keys_that_are_no_names_are_stepped_over_and_the_first_of_two_counts() {
    let application_properties = vec![
        (Value::Int(1), Value::Int(1)),
        (Value::Symbol(Symbol::from_static("s")), Value::Int(2)),
        (text("a"), Value::Int(3)),
        (text("a"), Value::Int(4)),
    ];
    let message = Message { application_properties, ..Message::data("") }.to_bytes();
    assert!(matches("s = 2 AND a = 3", &message));
}

#[test]
fn a_malformed_message_matches_neither_a_condition_nor_its_opposite() {
    // The value of the application property has a constructor that AMQP does not define.
    let broken = [0x00, 0x53, 0x74, 0xc1, 0x06, 0x02, 0xa1, 0x01, b'a', 0x01, 0x40];
    assert_eq!(truth("a = 1", &broken), None);
    assert_eq!(truth("a IS NULL", &broken), None);
    assert!(!matches("TRUE", b"no message"));
    assert!(!matches("NOT FALSE", &[0x00, 0x53]), "cut short in a descriptor");
    let whole = full().to_bytes();
    for length in 1..whole.len() {
        let ends_with_a_section = MessageIndex::parse(&whole[..length]).is_ok_and(|index| index.complete);
        assert_eq!(matches("absent IS NULL", &whole[..length]), ends_with_a_section, "{length} bytes");
    }
}

#[test]
fn only_the_sections_that_are_named_are_read() {
    // A properties section whose first field has an undefined constructor.
    let broken = [0x00, 0x53, 0x73, 0xc0, 0x03, 0x01, 0x01, 0x00, 0x00, 0x53, 0x77, 0x40];
    assert!(matches("JMSPriority = 4 AND a IS NULL", &broken));
    assert!(matches("TRUE OR JMSMessageID IS NULL", &broken), "what does not matter is not looked at");
    assert_eq!(truth("JMSMessageID IS NULL", &broken), None);
}

#[test]
fn messages_of_another_format_do_not_match() {
    let message = full().to_bytes();
    assert!(!selector("TRUE").matches(1, &message));
    assert!(selector("TRUE").matches(0, &message));
}

#[test]
fn an_evaluation_that_costs_too_much_does_not_match() {
    let long = "a".repeat(STEPS_MAX as usize / 200);
    let message = message(&[("long", text(&long))]);
    let costly = format!("long LIKE '%{}b%'", "a".repeat(500));
    assert!(matches("long LIKE '%a%'", &message));
    assert_eq!(truth(&costly, &message), None);
    let many: Vec<_> = (0..STEPS_MAX / 256).map(|number| (text("k"), Value::UInt(number))).collect();
    let many = Message { application_properties: many, ..Message::data("") }.to_bytes();
    assert!(matches("absent IS NULL", &many));
    let costly = vec!["absent IS NULL"; 300].join(" AND ");
    assert_eq!(truth(&costly, &many), None);
}

/// What an evaluation costs, for people: `cargo test --release -p mqd --lib selector -- cost --nocapture`.
#[test]
fn cost_of_an_evaluation_is_printed() {
    let rounds = if cfg!(debug_assertions) { 2_000 } else { 2_000_000 };
    let mut message = full();
    message.application_properties =
        (0..5).map(|number| (Value::from(format!("key-{number}").as_str()), Value::Int(number))).collect();
    message.application_properties.push((text("color"), text("red")));
    let message = message.to_bytes();
    for written in [
        "TRUE",
        "JMSPriority > 4",
        "color = 'red'",
        "JMSType = 'created' AND color = 'red' AND JMSPriority BETWEEN 5 AND 9",
        "color LIKE 'r%d' OR absent IS NOT NULL",
        "JMSMessageID = 'ID:7'",
    ] {
        let selector = selector(written);
        let start = std::time::Instant::now();
        let matched = (0..rounds).filter(|_| selector.matches(0, std::hint::black_box(&message))).count();
        let nanoseconds = start.elapsed().as_nanos() / rounds as u128;
        assert_eq!(matched, rounds, "{written}");
        println!("{nanoseconds:>5} ns  {written}");
    }
}

#[test]
fn what_came_over_mqtt_is_selected_as_amqp_consumers_see_it() {
    // Version 1, QoS 1, published with MQTT 5.0, by nobody, to "t/a", and these properties.
    let properties = b"\x02\0\0\0\x3c\x03\0\x0atext/plain\x26\0\x05color\0\x03red";
    let mut message = b"\x01\x09\0\0\0\0\0\0\0\0\0\x03t/a\0\0\0".to_vec();
    message.push(u8::try_from(properties.len()).expect("short"));
    message.extend_from_slice(properties);
    message.extend_from_slice(b"21.5");
    let matches = |selector: &str, message: &[u8]| {
        Selector::parse(selector).expect("a selector").matches(0x4d51_5454, message)
    };
    for holds in ["color = 'red'", "amqp.to = 't/a'", "amqp.durable", "amqp.content_type = 'text/plain'"] {
        assert!(matches(holds, &message), "{holds}");
        assert!(!matches(&format!("NOT ({holds})"), &message), "NOT {holds}");
    }
    assert!(matches("JMSExpiration IS NULL", &message), "no clock is read for it");
    assert!(!matches("color = 'red'", &message[..20]) && matches("", &message[..20]));
}
