//! What is said on a control link (AMQP 4.2, 4.3): hand-written bytes, what must be refused, round trips.

use bytes::Bytes;
use mq_amqp::{
    codec::{DecodeError, decode_value, encode_value},
    message::Message,
    transaction::{ControlMessage, TransactionId},
    value::{Symbol, Value},
};
use proptest::{option, prelude::*};

use crate::{hex, strategies, values::theirs, written};

fn decode(figure: &str) -> Result<ControlMessage, DecodeError> {
    ControlMessage::decode(&hex(figure))
}

fn discharge(fail: bool) -> ControlMessage {
    ControlMessage::Discharge { transaction: TransactionId::from(7), fail }
}

#[test]
fn control_messages_decode_and_encode_byte_for_byte() {
    for (figure, message) in [
        ("00 53 77 00 53 31 45", ControlMessage::Declare { global: None }),
        ("00 53 77 00 53 31 c0 03 01 52 07", ControlMessage::Declare { global: Some(hex("52 07")) }),
        ("00 53 77 00 53 32 c0 0c 02 a0 08 00 00 00 00 00 00 00 07 42", discharge(false)),
        ("00 53 77 00 53 32 c0 0c 02 a0 08 00 00 00 00 00 00 00 07 41", discharge(true)),
    ] {
        assert_eq!(decode(figure), Ok(message.clone()), "{figure}");
        assert_eq!(message.to_bytes(), hex(figure), "{figure}");
    }
}

#[test]
fn other_encodings_and_sections_around_mean_the_same() {
    for figure in [
        "00 53 77 00 a3 11 'amqp:declare:list' d0 00 00 00 05 00 00 00 01 40",
        "00 80 00 00 00 00 00 00 00 77 00 80 00 00 00 00 00 00 00 31 45",
        "00 53 70 45 00 53 73 45 00 53 77 00 53 31 c0 02 01 40 00 53 78 c1 01 00",
    ] {
        assert_eq!(decode(figure), Ok(ControlMessage::Declare { global: None }), "{figure}");
    }
    let figure = "00 53 77 00 53 32 c0 0b 01 a0 08 00 00 00 00 00 00 00 07";
    assert_eq!(decode(figure), Ok(discharge(false)), "an absent fail is false");
}

#[test]
fn what_is_no_control_message_is_refused() {
    for (what, figure) in [
        ("nothing", ""),
        ("data", "00 53 75 a0 00"),
        ("a value that is not described", "00 53 77 45"),
        ("another description", "00 53 77 00 53 24 45"),
        ("a discharge of nothing", "00 53 77 00 53 32 45"),
        ("a discharge of null", "00 53 77 00 53 32 c0 03 02 40 42"),
        ("an id that is a number", "00 53 77 00 53 32 c0 02 01 43"),
        ("an id of 33 bytes", "00 53 77 00 53 32 c0 24 01 a0 21 '0123456789abcdef0123456789abcdef0'"),
        ("a fail that is a number", "00 53 77 00 53 32 c0 04 02 a0 00 43"),
        ("a field too many", "00 53 77 00 53 31 c0 03 02 40 40"),
        ("a value cut short", "00 53 77 00 53 31 c0 03 01 52"),
        ("two values", "00 53 77 00 53 31 45 00 53 77 00 53 31 45"),
    ] {
        assert!(decode(figure).is_err(), "{what}");
    }
}

#[test]
fn ids_keep_their_bytes_and_their_number() {
    assert_eq!(TransactionId::from(7).number(), Some(7));
    assert_eq!(TransactionId::new(b"seven").and_then(|id| id.number()), None);
    assert_eq!(TransactionId::new(&[1; 32]).map(|id| id.as_bytes().to_vec()), Some(vec![1; 32]));
    assert_eq!(TransactionId::new(&[1; 33]), None);
}

fn control() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![
        option::of(strategies::value().prop_filter("null is absent", |value| *value != Value::Null))
            .prop_map(|global| {
                let global = global.map(|value| written(|out| encode_value(out, &value)));
                ControlMessage::Declare { global }
            }),
        (strategies::transaction(), any::<bool>())
            .prop_map(|(transaction, fail)| ControlMessage::Discharge { transaction, fail }),
    ]
}

proptest! {
    #[test]
    fn control_messages_round_trip(message in control()) {
        let bytes = message.to_bytes();
        prop_assert_eq!(ControlMessage::decode(&bytes), Ok(message));
        for length in 0..bytes.len() {
            prop_assert!(ControlMessage::decode(&bytes.slice(..length)).is_err());
        }
    }

    #[test]
    fn serde_amqp_reads_our_control_messages_as_we_do(message in control()) {
        let bytes = message.to_bytes();
        let ours = decode_value(&mut bytes.clone()).expect("a described value");
        if let Some(ours) = theirs(&ours) {
            let read: serde_amqp::Value = serde_amqp::from_slice(&bytes).expect("readable");
            prop_assert_eq!(read, ours);
        }
    }

    #[test]
    fn we_read_control_messages_that_serde_amqp_writes(transaction in strategies::transaction(), fail: bool) {
        let id = Value::Binary(Bytes::copy_from_slice(transaction.as_bytes()));
        let list = Value::List(vec![id, Value::Boolean(fail)]);
        for descriptor in [Value::ULong(0x32), Value::Symbol(Symbol::from_static("amqp:discharge:list"))] {
            let body = Value::described(descriptor, list.clone());
            let body = serde_amqp::to_vec(&theirs(&body).expect("expressible")).expect("writable");
            let message = [&[0x00, 0x53, 0x77][..], &body].concat();
            let expected = ControlMessage::Discharge { transaction, fail };
            prop_assert_eq!(ControlMessage::decode(&message.into()), Ok(expected.clone()));
            prop_assert!(Message::decode(&expected.to_bytes()).is_ok());
        }
    }
}
