//! Byte by byte: what is refused, and with which reason (1.5, 2, 3).

use mq_mqtt::property::{PropertyId, PropertyIn};
use mq_mqtt::{ReasonCode, Version};

use crate::{framed, hex, read};

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL: ReasonCode = ReasonCode::ProtocolError;

#[track_caller]
fn check(first: u8, body: &str, version: Version, expected: Option<ReasonCode>) {
    let packet = framed(first, &hex(body));
    let reason = read(&packet, version).map_err(|error| error.reason());
    assert_eq!(reason.as_ref().err(), expected.as_ref(), "{version} {first:#04x} {body}: {reason:?}");
}

fn check_all(version: Version, cases: &[(u8, &str, Option<ReasonCode>)]) {
    for (first, body, expected) in cases {
        check(*first, body, version, *expected);
    }
}

#[test]
fn packet_types_and_their_flags() {
    for version in [Version::V3_1_1, Version::V5_0] {
        check(0x00, "", version, Some(MALFORMED));
        for packet_type in [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15_u8] {
            let required = if matches!(packet_type, 6 | 8 | 10) { 2 } else { 0 };
            for flags in (0..16).filter(|flags| *flags != required) {
                check(packet_type << 4 | flags, "00 01", version, Some(MALFORMED));
            }
        }
    }
    check(0xf0, "", Version::V3_1_1, Some(MALFORMED));
    check(0xf0, "", Version::V5_0, None);
}

#[test]
fn publish_flags_identifiers_and_topics() {
    let cases = [
        (0x30, "00 01 't' 00", None),
        (0x31, "00 01 't' 00", None),
        (0x3d, "00 01 't' 00 01 00", None),
        // QoS 3, with and without the rest.
        (0x36, "00 01 't' 00 01 00", Some(MALFORMED)),
        (0x37, "", Some(MALFORMED)),
        // DUP with QoS 0.
        (0x38, "00 01 't' 00", Some(MALFORMED)),
        // Identifier 0, half, none.
        (0x32, "00 01 't' 00 00 00", Some(PROTOCOL)),
        (0x34, "00 01 't' 00", Some(MALFORMED)),
        (0x34, "00 01 't'", Some(MALFORMED)),
        // Topics: longer than the packet, wildcards, no length.
        (0x30, "00 05 't' 00", Some(MALFORMED)),
        (0x30, "00", Some(MALFORMED)),
        (0x30, "", Some(MALFORMED)),
        (0x30, "00 03 'a/+' 00", Some(ReasonCode::TopicNameInvalid)),
        (0x30, "00 03 'a#b' 00", Some(ReasonCode::TopicNameInvalid)),
        // Property length: missing, too long for the packet, longer than it needs, of five bytes.
        (0x30, "00 01 't'", Some(MALFORMED)),
        (0x30, "00 01 't' 03 01", Some(MALFORMED)),
        (0x30, "00 01 't' 80 00", Some(MALFORMED)),
        (0x30, "00 01 't' 80 80 80 80 01", Some(MALFORMED)),
        // A property that reaches beyond the properties.
        (0x30, "00 01 't' 02 02 00 00 00 01", Some(MALFORMED)),
    ];
    check_all(Version::V5_0, &cases);
    // An empty topic is the alias's business in 5.0, and none in 3.1.1.
    check(0x30, "00 00 00", Version::V5_0, None);
    check(0x30, "00 00", Version::V3_1_1, Some(ReasonCode::TopicNameInvalid));
}

#[test]
fn strings_are_utf_8_without_null_and_without_surrogates() {
    for (bytes, is_fine) in [
        ("ef bb bf", true),
        ("f0 9f 9a 80", true),
        ("ef bf bf", true),
        ("00 41 41", false),
        ("41 00 41", false),
        ("ed a0 80", false),
        ("ed bf bf", false),
        ("c0 80 41", false),
        ("c1 bf 41", false),
        ("e0 80 80", false),
        ("f5 80 80 80", false),
        ("80 41 41", false),
        ("ff 41 41", false),
        ("41 41 c3", false),
    ] {
        let length = bytes.split(' ').count();
        let expected = if is_fine { None } else { Some(MALFORMED) };
        let string = format!("00 {length:02x} {bytes}");
        // A topic name, a user property's name and value, a content type.
        check(0x30, &format!("{string} 00"), Version::V5_0, expected);
        check(0x30, &string, Version::V3_1_1, expected);
        let pair = format!("00 01 't' {:02x} 26 {string} 00 01 'v'", length + 6);
        check(0x30, &pair, Version::V5_0, expected);
        let pair = format!("00 01 't' {:02x} 26 00 01 'n' {string}", length + 6);
        check(0x30, &pair, Version::V5_0, expected);
        let content_type = format!("00 01 't' {:02x} 03 {string}", length + 3);
        check(0x30, &content_type, Version::V5_0, expected);
        // The client identifier, the topic of the will, the user name; a reason, a filter.
        let connect = |flags: &str, fields: &str| format!("00 04 'MQTT' 05 {flags} 00 00 00 {fields}");
        check(0x10, &connect("02", &string), Version::V5_0, expected);
        check(0x10, &connect("06", &format!("00 00 00 {string} 00 00")), Version::V5_0, expected);
        check(0x10, &connect("82", &format!("00 00 {string}")), Version::V5_0, expected);
        // A password is bytes.
        check(0x10, &connect("42", &format!("00 00 {string}")), Version::V5_0, None);
        check(0xe0, &format!("00 {:02x} 1f {string}", length + 3), Version::V5_0, expected);
        check(0x82, &format!("00 01 00 {string} 00"), Version::V5_0, expected);
        check(0xa2, &format!("00 01 00 {string}"), Version::V5_0, expected);
    }
}

#[test]
fn connect_flags_and_fields() {
    let v5 = |flags: &str, rest: &str| format!("00 04 'MQTT' 05 {flags} 00 3c 00 00 01 'c' {rest}");
    let v3 = |flags: &str, rest: &str| format!("00 04 'MQTT' 04 {flags} 00 3c 00 01 'c' {rest}");
    for (flags, rest_of_v5, rest_of_v3, of_v5, of_v3) in [
        ("00", "", "", None, None),
        ("02", "", "", None, None),
        // Reserved.
        ("01", "", "", Some(MALFORMED), Some(MALFORMED)),
        // Will QoS or retain without a will; will QoS 3.
        ("08", "", "", Some(MALFORMED), Some(MALFORMED)),
        ("20", "", "", Some(MALFORMED), Some(MALFORMED)),
        ("1c", "00 00 01 'w' 00 00", "00 01 'w' 00 00", Some(MALFORMED), Some(MALFORMED)),
        ("34", "00 00 01 'w' 00 00", "00 01 'w' 00 00", None, None),
        ("2c", "00 00 01 'w' 00 01 'p'", "00 01 'w' 00 01 'p'", None, None),
        // The topic of the will is a name.
        (
            "04",
            "00 00 01 '#' 00 00",
            "00 01 '#' 00 00",
            Some(ReasonCode::TopicNameInvalid),
            Some(ReasonCode::TopicNameInvalid),
        ),
        (
            "04",
            "00 00 00 00 00",
            "00 00 00 00",
            Some(ReasonCode::TopicNameInvalid),
            Some(ReasonCode::TopicNameInvalid),
        ),
        // A password without a user name.
        ("40", "00 01 'p'", "00 01 'p'", None, Some(MALFORMED)),
        ("c0", "00 01 'u' 00 01 'p'", "00 01 'u' 00 01 'p'", None, None),
        // Flags and fields disagree.
        ("80", "", "", Some(MALFORMED), Some(MALFORMED)),
        ("c0", "00 01 'u'", "00 01 'u'", Some(MALFORMED), Some(MALFORMED)),
        ("04", "00 00 01 'w'", "00 01 'w'", Some(MALFORMED), Some(MALFORMED)),
        ("02", "00 01 'u'", "00 01 'u'", Some(MALFORMED), Some(MALFORMED)),
    ] {
        check(0x10, &v5(flags, rest_of_v5), Version::V5_0, of_v5);
        check(0x10, &v3(flags, rest_of_v3), Version::V5_0, of_v3);
    }
    let unsupported = Some(ReasonCode::UnsupportedProtocolVersion);
    for (body, expected) in [
        ("00 04 'MQTT' 03 02 00 00 00 01 'c'", unsupported),
        ("00 04 'MQTT' 06 02 00 00 00 00 01 'c'", unsupported),
        ("00 04 'mqtt' 05 02 00 00 00 00 01 'c'", unsupported),
        ("00 06 'MQIsdp' 03 02 00 00 00 01 'c'", unsupported),
        ("00 05 'MQTTX' 05 02 00 00 00 00 01 'c'", unsupported),
        ("00 04 'MQTT'", Some(MALFORMED)),
        ("00 04 'MQ'", Some(MALFORMED)),
        ("00 04 'MQTT' 05 02", Some(MALFORMED)),
        ("00 04 'MQTT' 05 02 00 3c", Some(MALFORMED)),
        ("00 04 'MQTT' 05 02 00 3c 00", Some(MALFORMED)),
        ("", Some(MALFORMED)),
    ] {
        check(0x10, body, Version::V5_0, expected);
    }
}

#[test]
fn conn_ack() {
    check_all(
        Version::V5_0,
        &[
            (0x20, "00 00 00", None),
            (0x20, "01 00 00", None),
            // Reserved flags; a session and an error; reasons of other packets; left over.
            (0x20, "02 00 00", Some(MALFORMED)),
            (0x20, "01 80 00", Some(PROTOCOL)),
            (0x20, "00 01 00", Some(MALFORMED)),
            (0x20, "00 8e 00", Some(MALFORMED)),
            (0x20, "00 7f 00", Some(MALFORMED)),
            (0x20, "00 00", Some(MALFORMED)),
            (0x20, "00 00 00 00", Some(MALFORMED)),
        ],
    );
    check_all(
        Version::V3_1_1,
        &[
            (0x20, "00 00", None),
            (0x20, "01 00", None),
            (0x20, "00 05", None),
            (0x20, "00 06", Some(MALFORMED)),
            (0x20, "01 05", Some(PROTOCOL)),
            (0x20, "00 00 00", Some(MALFORMED)),
            (0x20, "00", Some(MALFORMED)),
        ],
    );
}

#[test]
fn acknowledgements() {
    for (first, reason) in [(0x40, "10"), (0x50, "97"), (0x62, "92"), (0x70, "92")] {
        check_all(
            Version::V5_0,
            &[
                (first, "00 01", None),
                (first, &format!("00 01 {reason}"), None),
                (first, &format!("00 01 {reason} 00"), None),
                (first, &format!("00 01 {reason} 04 1f 00 01 'r'"), None),
                (first, "00 00", Some(PROTOCOL)),
                (first, "00", Some(MALFORMED)),
                (first, "", Some(MALFORMED)),
                // Reasons that are not defined, or not here.
                (first, "00 01 01", Some(MALFORMED)),
                (first, "00 01 8e", Some(MALFORMED)),
                (first, "00 01 ff", Some(MALFORMED)),
                (first, "00 01 00 01", Some(MALFORMED)),
                (first, "00 01 00 00 00", Some(MALFORMED)),
            ],
        );
        check_all(
            Version::V3_1_1,
            &[
                (first, "00 01", None),
                (first, "00 00", Some(PROTOCOL)),
                (first, "00 01 00", Some(MALFORMED)),
                (first, "00", Some(MALFORMED)),
            ],
        );
    }
}

#[test]
fn subscribe_and_its_options() {
    let filter = Some(ReasonCode::TopicFilterInvalid);
    for (options, of_v5, of_v3) in [
        ("00", None, None),
        ("02", None, None),
        ("03", Some(PROTOCOL), Some(PROTOCOL)),
        ("04", None, Some(MALFORMED)),
        ("08", None, Some(MALFORMED)),
        ("10", None, Some(MALFORMED)),
        ("2e", None, Some(MALFORMED)),
        // Retain handling 3; reserved bits.
        ("30", Some(PROTOCOL), Some(MALFORMED)),
        ("40", Some(MALFORMED), Some(MALFORMED)),
        ("80", Some(MALFORMED), Some(MALFORMED)),
    ] {
        check(0x82, &format!("00 01 00 00 01 't' {options}"), Version::V5_0, of_v5);
        check(0x82, &format!("00 01 00 01 't' {options}"), Version::V3_1_1, of_v3);
    }
    check_all(
        Version::V5_0,
        &[
            (0x82, "00 01 00 00 01 't' 00 00 01 'u' 01", None),
            (0x82, "00 01 00", Some(PROTOCOL)),
            (0x82, "00 00 00 00 01 't' 00", Some(PROTOCOL)),
            (0x82, "00 01 00 00 01 't'", Some(MALFORMED)),
            (0x82, "00 01 00 00 01 't' 00 00", Some(MALFORMED)),
            (0x82, "00 01 00 00 00 00", filter),
            (0x82, "00 01 00 00 02 'a#' 00", filter),
            (0x82, "00 01 00 00 03 '#/a' 00", filter),
            (0x82, "00 01 00 00 02 'a+' 00", filter),
            (0x82, "00 01 00 00 07 '$share/' 00", filter),
            (0x82, "00 01 00 00 08 '$share/g' 00", filter),
            (0x82, "00 01 00 00 09 '$share//t' 00", filter),
            (0x82, "00 01 00 00 0a '$share/+/t' 00", filter),
            (0x82, "00 01 00 00 0a '$share/g/t' 00", None),
            (0x82, "00 01 00 00 0a '$share/g/t' 04", Some(PROTOCOL)),
            // Subscription identifiers: the largest, 0, two of them, five bytes.
            (0x82, "00 01 05 0b ff ff ff 7f 00 01 't' 00", None),
            (0x82, "00 01 02 0b 00 00 01 't' 00", Some(PROTOCOL)),
            (0x82, "00 01 04 0b 01 0b 02 00 01 't' 00", Some(PROTOCOL)),
            (0x82, "00 01 06 0b ff ff ff ff 01 00 01 't' 00", Some(MALFORMED)),
            (0xa2, "00 01 00 00 01 't'", None),
            (0xa2, "00 01 00", Some(PROTOCOL)),
            (0xa2, "00 00 00 00 01 't'", Some(PROTOCOL)),
            (0xa2, "00 01 00 00 02 't'", Some(MALFORMED)),
            (0xa2, "00 01 00 00 02 'a#'", filter),
        ],
    );
    check_all(
        Version::V3_1_1,
        &[(0x82, "00 01", Some(PROTOCOL)), (0xa2, "00 01", Some(PROTOCOL)), (0xa2, "00 01 00 01 't'", None)],
    );
}

#[test]
fn answers_to_requests() {
    check_all(
        Version::V5_0,
        &[
            (0x90, "00 01 00 00 01 02 80 87 8f", None),
            (0x90, "00 01 00", Some(MALFORMED)),
            (0x90, "00 01 00 03", Some(MALFORMED)),
            (0x90, "00 01 00 11", Some(MALFORMED)),
            (0x90, "00 00 00 00", Some(PROTOCOL)),
            (0xb0, "00 01 00 00 11 80", None),
            (0xb0, "00 01 00", Some(MALFORMED)),
            (0xb0, "00 01 00 02", Some(MALFORMED)),
        ],
    );
    check_all(
        Version::V3_1_1,
        &[
            (0x90, "00 01 00 01 02 80", None),
            (0x90, "00 01 87", Some(MALFORMED)),
            (0x90, "00 01", Some(MALFORMED)),
            (0xb0, "00 01", None),
            (0xb0, "00 01 00", Some(MALFORMED)),
            (0xb0, "00 00", Some(PROTOCOL)),
        ],
    );
}

#[test]
fn pings_disconnect_and_auth() {
    for version in [Version::V3_1_1, Version::V5_0] {
        check(0xc0, "", version, None);
        check(0xd0, "", version, None);
        check(0xc0, "00", version, Some(MALFORMED));
        check(0xd0, "00", version, Some(MALFORMED));
        check(0xe0, "", version, None);
    }
    check(0xe0, "00", Version::V3_1_1, Some(MALFORMED));
    check_all(
        Version::V5_0,
        &[
            (0xe0, "04", None),
            (0xe0, "8d 00", None),
            (0xe0, "01", Some(MALFORMED)),
            (0xe0, "84", Some(MALFORMED)),
            (0xe0, "00 00 00", Some(MALFORMED)),
            (0xe0, "00 05 11 00 00 00 01", None),
            (0xf0, "18 00", None),
            (0xf0, "18", Some(MALFORMED)),
            (0xf0, "01 00", Some(MALFORMED)),
            (0xf0, "87 00", Some(MALFORMED)),
            // Data without a method.
            (0xf0, "18 04 16 00 01 'd'", Some(PROTOCOL)),
            (0xf0, "18 08 15 00 01 'm' 16 00 01 'd'", None),
        ],
    );
}

/// Everything before the list, and behind it, for each place of a list of properties.
fn around(place: PropertyIn) -> (u8, &'static str, &'static str) {
    match place {
        PropertyIn::Connect => (0x10, "00 04 'MQTT' 05 02 00 00", "00 00"),
        PropertyIn::Will => (0x10, "00 04 'MQTT' 05 06 00 00 00 00 00", "00 01 'w' 00 00"),
        PropertyIn::ConnAck => (0x20, "00 00", ""),
        PropertyIn::Publish => (0x30, "00 01 't'", ""),
        PropertyIn::Ack => (0x40, "00 01 00", ""),
        PropertyIn::Subscribe => (0x82, "00 01", "00 01 't' 00"),
        PropertyIn::SubAck => (0x90, "00 01", "00"),
        PropertyIn::Unsubscribe => (0xa2, "00 01", "00 01 't'"),
        PropertyIn::UnsubAck => (0xb0, "00 01", "00"),
        PropertyIn::Disconnect => (0xe0, "00", ""),
        PropertyIn::Auth => (0xf0, "18", ""),
    }
}

const PLACES: [PropertyIn; 11] = [
    PropertyIn::Connect,
    PropertyIn::Will,
    PropertyIn::ConnAck,
    PropertyIn::Publish,
    PropertyIn::Ack,
    PropertyIn::Subscribe,
    PropertyIn::SubAck,
    PropertyIn::Unsubscribe,
    PropertyIn::UnsubAck,
    PropertyIn::Disconnect,
    PropertyIn::Auth,
];

#[track_caller]
fn check_list(place: PropertyIn, list: &str, expected: Option<ReasonCode>) {
    let (first, before, behind) = around(place);
    let length = hex(list).len();
    check(first, &format!("{before} {length:02x} {list} {behind}"), Version::V5_0, expected);
}

/// Table 2-4 of 2.2.2.2, written down once more: number, an allowed value, places.
const TABLE: [(u8, &str, &[PropertyIn]); 27] = {
    use PropertyIn::*;
    [
        (0x01, "01", &[Publish, Will]),
        (0x02, "00 00 00 01", &[Publish, Will]),
        (0x03, "00 01 'c'", &[Publish, Will]),
        (0x08, "00 01 'r'", &[Publish, Will]),
        (0x09, "00 01 ff", &[Publish, Will]),
        (0x0b, "01", &[Publish, Subscribe]),
        (0x11, "00 00 00 01", &[Connect, ConnAck, Disconnect]),
        (0x12, "00 01 'c'", &[ConnAck]),
        (0x13, "00 01", &[ConnAck]),
        (0x15, "00 01 'm'", &[Connect, ConnAck, Auth]),
        (0x16, "00 01 ff", &[Connect, ConnAck, Auth]),
        (0x17, "01", &[Connect]),
        (0x18, "00 00 00 01", &[Will]),
        (0x19, "01", &[Connect]),
        (0x1a, "00 01 'i'", &[ConnAck]),
        (0x1c, "00 01 's'", &[ConnAck, Disconnect]),
        (0x1f, "00 01 'r'", &[ConnAck, Ack, SubAck, UnsubAck, Disconnect, Auth]),
        (0x21, "00 01", &[Connect, ConnAck]),
        (0x22, "00 01", &[Connect, ConnAck]),
        (0x23, "00 01", &[Publish]),
        (0x24, "01", &[ConnAck]),
        (0x25, "01", &[ConnAck]),
        (
            0x26,
            "00 01 'n' 00 01 'v'",
            &[
                Connect,
                Will,
                ConnAck,
                Publish,
                Ack,
                Subscribe,
                SubAck,
                Unsubscribe,
                UnsubAck,
                Disconnect,
                Auth,
            ],
        ),
        (0x27, "00 00 00 01", &[Connect, ConnAck]),
        (0x28, "01", &[ConnAck]),
        (0x29, "01", &[ConnAck]),
        (0x2a, "01", &[ConnAck]),
    ]
};

#[test]
fn a_property_stands_where_it_may_and_once() {
    assert_eq!(TABLE.len(), PropertyId::ALL.len());
    for (number, value, places) in TABLE {
        // Data goes with its method.
        let prefix = if number == 0x16 { "15 00 01 'm'" } else { "" };
        for place in PLACES {
            let is_allowed = places.contains(&place);
            let id = PropertyId::from_number(number.into()).expect("defined");
            assert_eq!(id.is_allowed_in(place), is_allowed, "{} in {}", id.name(), place.name());
            let prefix = if PropertyId::AuthenticationMethod.is_allowed_in(place) { prefix } else { "" };
            let once = format!("{prefix} {number:02x} {value}");
            check_list(place, &once, if is_allowed { None } else { Some(MALFORMED) });
            if is_allowed {
                let may_repeat = number == 0x26 || (number == 0x0b && place == PropertyIn::Publish);
                let twice = format!("{once} {number:02x} {value}");
                check_list(place, &twice, if may_repeat { None } else { Some(PROTOCOL) });
            }
            // Cut short.
            if is_allowed {
                let bytes = hex(&once);
                let short: Vec<String> =
                    bytes[..bytes.len() - 1].iter().map(|byte| format!("{byte:02x}")).collect();
                check_list(place, &short.join(" "), Some(MALFORMED));
            }
        }
    }
    for number in (0..=0x7f_u8).filter(|number| PropertyId::from_number((*number).into()).is_none()) {
        for place in PLACES {
            check_list(place, &format!("{number:02x} 00"), Some(MALFORMED));
        }
    }
}

#[test]
fn values_of_properties_keep_their_rules() {
    let flags = [(0x01, PropertyIn::Publish), (0x17, PropertyIn::Connect), (0x19, PropertyIn::Connect)];
    let more = [0x24, 0x25, 0x28, 0x29, 0x2a].map(|number| (number, PropertyIn::ConnAck));
    for (number, place) in flags.into_iter().chain(more) {
        check_list(place, &format!("{number:02x} 00"), None);
        check_list(place, &format!("{number:02x} 01"), None);
        check_list(place, &format!("{number:02x} 02"), Some(PROTOCOL));
        check_list(place, &format!("{number:02x} ff"), Some(PROTOCOL));
    }
    for (place, list, expected) in [
        (PropertyIn::Connect, "21 00 00", Some(PROTOCOL)),
        (PropertyIn::Connect, "27 00 00 00 00", Some(PROTOCOL)),
        (PropertyIn::Connect, "22 00 00", None),
        (PropertyIn::Connect, "11 ff ff ff ff", None),
        (PropertyIn::Publish, "23 00 00", Some(ReasonCode::TopicAliasInvalid)),
        (PropertyIn::Publish, "02 00 00 00 00", None),
        (PropertyIn::Publish, "0b 00", Some(PROTOCOL)),
        (PropertyIn::Publish, "08 00 03 'a/+'", Some(PROTOCOL)),
        (PropertyIn::Publish, "08 00 01 '#'", Some(PROTOCOL)),
        (PropertyIn::Publish, "09 00 00", None),
        (PropertyIn::Publish, "03 00 00", None),
        (PropertyIn::Will, "08 00 01 '+'", Some(PROTOCOL)),
        // A property number is a variable byte integer, too.
        (PropertyIn::Publish, "81 00 01", Some(MALFORMED)),
    ] {
        check_list(place, list, expected);
    }
}

#[test]
fn an_error_says_what_and_where() {
    let error = read(&framed(0x30, &hex("00 01 't' 03 99 01 00")), Version::V5_0).expect_err("not defined");
    assert_eq!(error.to_string(), "property identifier 0x99 at byte 4 is not defined");
    let error = read(&framed(0x82, &hex("00 01 00 00 05 'a/b'")), Version::V5_0).expect_err("cut short");
    assert_eq!(error.to_string(), "topic filter ends too early: 2 more bytes are needed at byte 5");
}
