//! One library sends, the other receives: what the node passes on is what was sent, byte for byte.

use mq_model::manifest::AddressType;
use mq_tests::foreign::Library::{self, Proton, Rhea};
use mq_tests::foreign::{Peer, is_skipped, text};
use serde_json::{Value, json};

use crate::scenarios::daemon_with;

/// Sends a message with every type; returns it as sent and as received.
fn every_type(from: Library, to: Library, kind: AddressType) -> (Value, Value) {
    let daemon = daemon_with("types", kind);
    let mut receiver = Peer::connect(to, &daemon);
    receiver.receiver("r", "types", json!({ "credit": 1 }));
    let mut sender = Peer::connect(from, &daemon);
    sender.sender("s", "types");
    sender.send_with("s", json!({ "every": true }));
    let sent = sender.expect("sent", "s");
    let received = receiver.expect("message", "r");
    assert_eq!(sender.settled("s")["state"], "accepted");
    (sent, received)
}

fn assert_unchanged(from: Library, to: Library) {
    if is_skipped() {
        return;
    }
    for kind in [AddressType::Anycast, AddressType::Multicast] {
        let (sent, received) = every_type(from, to, kind);
        assert_eq!(text(&received, "encoded"), text(&sent, "encoded"), "{from:?} to {to:?}, {kind:?}");
    }
}

#[test]
fn every_type_of_proton_reaches_rhea_unchanged() {
    assert_unchanged(Proton, Rhea);
}

#[test]
fn every_type_of_rhea_reaches_proton_unchanged() {
    assert_unchanged(Rhea, Proton);
}

#[test]
fn every_type_of_proton_reaches_proton_unchanged() {
    assert_unchanged(Proton, Proton);
}

#[test]
fn every_type_of_rhea_reaches_rhea_unchanged() {
    assert_unchanged(Rhea, Rhea);
}

#[test]
fn proton_reads_the_values_that_rhea_wrote() {
    if is_skipped() {
        return;
    }
    let (_, received) = every_type(Rhea, Proton, AddressType::Anycast);
    let values = &received["values"];
    for (name, expected) in [
        ("null", "NoneType None"),
        ("true", "bool True"),
        ("ubyte", "ubyte ubyte(255)"),
        ("ushort", "ushort ushort(65535)"),
        ("uint", "uint uint(4294967295)"),
        ("uint-zero", "uint uint(0)"),
        ("ulong", "ulong ulong(18446744073709551615)"),
        ("byte", "byte byte(-128)"),
        ("short", "short short(-32768)"),
        ("int", "int32 int32(-2147483648)"),
        ("long", "int -9223372036854775808"),
        ("float", "float32 float32(-1.5)"),
        ("double", "float 3.141592653589793"),
        ("char", "char char('\u{20ac}')"),
        ("timestamp", "timestamp timestamp(1700000000123)"),
        ("uuid", "UUID UUID('12345678-9abc-def0-1234-56789abcdef0')"),
        ("symbol", "symbol symbol('a-symbol')"),
    ] {
        assert_eq!(values[name], expected, "{name} in the body");
        assert_eq!(values["properties"][name], expected, "{name} among the properties");
    }
}

#[test]
fn a_service_with_one_library_answers_a_client_with_the_other() {
    if is_skipped() {
        return;
    }
    for (asks, answers) in [(Proton, Rhea), (Rhea, Proton)] {
        let daemon = daemon_with("time", AddressType::Anycast);
        let mut service = Peer::connect(answers, &daemon);
        service.receiver("requests", "time", json!({ "credit": 1 }));
        service.sender_with("answers", json!({}));
        let mut client = Peer::connect(asks, &daemon);
        let own = client.dynamic_receiver("answers", 1);
        client.sender("requests", "time");
        client.send_with("requests", json!({ "body": "now?", "reply_to": own, "correlation_id": "7" }));
        let request = service.expect("message", "requests");
        let to = text(&request, "reply_to");
        service.send_with(
            "answers",
            json!({ "body": "soon", "to": to, "correlation_id": request["correlation_id"] }),
        );
        let answer = client.expect("message", "answers");
        assert_eq!((text(&answer, "body"), text(&answer, "correlation_id")), ("soon", "7"));
    }
}
