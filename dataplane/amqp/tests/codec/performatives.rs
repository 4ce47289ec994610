//! Performatives and SASL frames: hand-written bytes in both directions, what must be refused, round trips.

use bytes::Bytes;
use mq_amqp::{
    codec::{
        DecodeError, SYMBOLS_MAX, decode_performative, decode_sasl, decode_value, encode_performative,
        encode_sasl, encode_state,
    },
    performative::*,
    transaction::{TransactionId, TransactionalState},
    value::{Symbol, Value},
};
use proptest::prelude::*;

use crate::{hex, strategies, values::theirs, written};

fn decode(bytes: &Bytes) -> Result<Performative, DecodeError> {
    let mut rest = bytes.clone();
    let performative = decode_performative(&mut rest)?;
    assert!(rest.is_empty(), "{} bytes left over", rest.len());
    Ok(performative)
}

fn encode(performative: &Performative) -> Bytes {
    written(|out| encode_performative(out, performative))
}

fn symbol(name: &'static str) -> Symbol {
    Symbol::from_static(name)
}

fn accepted_disposition() -> Performative {
    Performative::Disposition(Disposition {
        role: Role::Receiver,
        first: 7,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    })
}

fn transfer() -> Transfer {
    Transfer {
        handle: 0,
        delivery_id: Some(1),
        delivery_tag: Tag::new(&[0xaa, 0xbb]),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

/// One of each, written by hand from the definitions in AMQP 2.7 and 3.5.
fn transcripts() -> Vec<(&'static str, Performative)> {
    vec![
        (
            "00 53 10 c0 33 0a a1 02 'me' a1 04 'host' 70 00 00 80 00 60 00 ff 70 00 00 ea 60 \
             e0 08 01 a3 05 'en-US' 40 40 e0 04 01 a3 01 'a' c1 07 02 a3 01 'k' a1 01 'v'",
            Performative::Open(Box::new(Open {
                container_id: "me".into(),
                hostname: Some("host".into()),
                max_frame_size: Some(32768),
                channel_max: Some(255),
                idle_time_out: Some(60_000),
                outgoing_locales: vec![symbol("en-US")],
                incoming_locales: vec![],
                offered_capabilities: vec![],
                desired_capabilities: vec![symbol("a")],
                properties: vec![(symbol("k").into(), "v".into())],
            })),
        ),
        (
            "00 53 11 c0 0a 05 60 00 03 43 52 64 52 c8 43",
            Performative::Begin(Box::new(Begin {
                remote_channel: Some(3),
                next_outgoing_id: 0,
                incoming_window: 100,
                outgoing_window: 200,
                handle_max: Some(0),
                ..Begin::default()
            })),
        ),
        (
            "00 53 12 c0 44 0b a1 02 'in' 43 41 50 00 50 01 \
             00 53 28 c0 0f 04 a1 01 'q' 52 02 a3 05 'never' 52 1e \
             00 53 29 c0 06 05 40 40 40 40 41 \
             c1 0c 04 a0 01 '1' 40 a0 01 '2' 00 53 24 45 \
             41 52 05 80 00 00 00 01 00 00 00 00",
            Performative::Attach(Box::new(Attach {
                name: "in".into(),
                handle: 0,
                role: Role::Receiver,
                snd_settle_mode: SenderSettleMode::Unsettled,
                rcv_settle_mode: ReceiverSettleMode::Second,
                source: Some(Box::new(Source {
                    address: Some("q".into()),
                    durable: TerminusDurability::UnsettledState,
                    expiry_policy: TerminusExpiryPolicy::Never,
                    timeout: 30,
                    ..Source::default()
                })),
                target: Some(Box::new(Target::Node(NodeTarget { dynamic: true, ..NodeTarget::default() }))),
                unsettled: vec![
                    (Tag::new(b"1").unwrap(), None),
                    (Tag::new(b"2").unwrap(), Some(DeliveryState::Accepted)),
                ],
                incomplete_unsettled: true,
                initial_delivery_count: Some(5),
                max_message_size: Some(1 << 32),
                offered_capabilities: vec![],
                desired_capabilities: vec![],
                properties: vec![],
            })),
        ),
        (
            "00 53 13 c0 12 09 52 01 70 00 00 08 00 43 52 ff 43 52 02 52 64 40 41",
            Performative::Flow(Flow {
                next_incoming_id: Some(1),
                incoming_window: 2048,
                next_outgoing_id: 0,
                outgoing_window: 255,
                handle: Some(0),
                delivery_count: Some(2),
                link_credit: Some(100),
                available: None,
                drain: true,
                echo: false,
                properties: vec![],
            }),
        ),
        ("00 53 14 c0 0a 05 43 52 01 a0 02 aa bb 43 42", Performative::Transfer(transfer())),
        ("00 53 15 c0 0a 05 41 52 07 40 41 00 53 24 45", accepted_disposition()),
        (
            "00 53 16 c0 2f 03 52 02 41 00 53 1d c0 26 02 a3 13 'amqp:not-authorized' a1 0e 'not that queue'",
            Performative::Detach(Detach {
                handle: 2,
                closed: true,
                error: Some(Box::new(Error {
                    condition: symbol("amqp:not-authorized"),
                    description: Some("not that queue".into()),
                    info: None,
                })),
            }),
        ),
        ("00 53 17 45", Performative::End(End { error: None })),
        (
            "00 53 18 c0 12 01 00 53 1d c0 0c 03 a3 01 'x' 40 c1 05 02 a3 01 'k' 43",
            Performative::Close(Close {
                error: Some(Box::new(Error {
                    condition: symbol("x"),
                    description: None,
                    info: Some(hex("c1 05 02 a3 01 'k' 43")),
                })),
            }),
        ),
    ]
}

#[test]
fn transcripts_decode_and_encode_byte_for_byte() {
    for (figure, performative) in transcripts() {
        assert_eq!(decode(&hex(figure)), Ok(performative.clone()), "{figure}");
        assert_eq!(encode(&performative), hex(figure), "{figure}");
    }
}

#[test]
fn sasl_transcripts_decode_and_encode_byte_for_byte() {
    for (figure, frame) in [
        (
            "00 53 40 c0 15 01 e0 12 02 a3 09 'ANONYMOUS' 05 'PLAIN'",
            SaslFrame::Mechanisms(vec![symbol("ANONYMOUS"), symbol("PLAIN")]),
        ),
        (
            "00 53 41 c0 10 03 a3 05 'PLAIN' a0 04 00 'a' 00 'b' a1 00",
            SaslFrame::Init {
                mechanism: symbol("PLAIN"),
                initial_response: Some(hex("00 'a' 00 'b'")),
                hostname: Some("".into()),
            },
        ),
        ("00 53 42 c0 04 01 a0 01 'c'", SaslFrame::Challenge(hex("'c'"))),
        ("00 53 43 c0 03 01 a0 00", SaslFrame::Response(Bytes::new())),
        ("00 53 44 c0 03 01 50 00", SaslFrame::Outcome { code: SaslCode::Ok, additional_data: None }),
        (
            "00 53 44 c0 06 02 50 04 a0 01 'r'",
            SaslFrame::Outcome { code: SaslCode::SysTemp, additional_data: Some(hex("'r'")) },
        ),
    ] {
        assert_eq!(decode_sasl(&mut hex(figure)), Ok(frame.clone()), "{figure}");
        assert_eq!(written(|out| encode_sasl(out, &frame)), hex(figure), "{figure}");
    }
}

/// What peers send that means the same: other widths, symbolic descriptors, nulls and defaults written out.
#[test]
fn every_encoding_of_a_performative_is_understood() {
    for figure in [
        "00 80 00 00 00 00 00 00 00 15 d0 00 00 00 0d 00 00 00 05 41 52 07 40 41 00 53 24 45",
        "00 a3 15 'amqp:disposition:list' c0 0b 06 41 52 07 40 41 00 53 24 45 42",
        "00 b3 00 00 00 15 'amqp:disposition:list' c0 0d 06 56 01 52 07 40 56 01 00 53 24 45 42",
        "00 53 15 c0 17 06 41 70 00 00 00 07 40 41 00 80 00 00 00 00 00 00 00 24 c0 01 00 42",
        "00 53 15 c0 24 05 41 52 07 40 41 00 a3 12 'amqp:accepted:list' d0 00 00 00 04 00 00 00 00",
    ] {
        assert_eq!(decode(&hex(figure)), Ok(accepted_disposition()), "{figure}");
    }
}

#[test]
fn a_field_for_several_symbols_takes_one_or_an_array_or_none() {
    for (field, expected) in [
        ("a3 01 'a'", vec!["a"]),
        ("e0 02 00 a3", vec![]),
        // Not an array by the letter, but what some peers write for an empty one.
        ("e0 01 00", vec![]),
        ("f0 00 00 00 04 00 00 00 00", vec![]),
        ("e0 04 01 a3 01 'a'", vec!["a"]),
        ("f0 00 00 00 0a 00 00 00 01 b3 00 00 00 01 'a'", vec!["a"]),
        ("40", vec![]),
    ] {
        let size = hex(field).len() + 7;
        let figure = format!("00 53 10 c0 {size:02x} 06 a1 00 40 40 40 40 {field}");
        let Ok(Performative::Open(open)) = decode(&hex(&figure)) else { panic!("{figure}") };
        assert_eq!(open.outgoing_locales, expected, "{figure}");
    }
}

#[test]
fn more_symbols_than_the_limit_are_refused() {
    let mechanisms = |count: u32| {
        let size = count + 5;
        let mut bytes = vec![0x00, 0x53, 0x40, 0xd0];
        bytes.extend_from_slice(&(size + 9).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1, 0xf0]);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.push(0xa3);
        bytes.resize(bytes.len() + count as usize, 0);
        decode_sasl(&mut bytes.into())
    };
    assert!(mechanisms(SYMBOLS_MAX).is_ok());
    assert!(matches!(mechanisms(SYMBOLS_MAX + 1), Err(DecodeError::TooMany { limit: SYMBOLS_MAX, .. })));
}

fn id(bytes: &[u8]) -> TransactionId {
    TransactionId::new(bytes).expect("at most 32 bytes")
}

fn transactional(transaction: TransactionId, outcome: Option<DeliveryState>) -> DeliveryState {
    DeliveryState::Transactional(Box::new(TransactionalState { transaction, outcome }))
}

/// A disposition with this state, as bytes.
fn with_state(figure: &str) -> Bytes {
    let size = hex(figure).len() + 5;
    hex(&format!("00 53 15 c0 {size:02x} 05 41 43 40 42 {figure}"))
}

#[test]
fn a_transactional_state_has_an_id_of_32_bytes_at_most_and_does_not_nest() {
    let longest = "'0123456789abcdef0123456789abcdef'";
    assert!(decode(&with_state(&format!("00 53 33 c0 23 01 a0 20 {longest}"))).is_ok());
    let too_long = decode(&with_state(&format!("00 53 33 c0 24 01 a0 21 {longest} '0'")));
    assert!(matches!(too_long, Err(DecodeError::OutOfRange { what: "declared.txn-id", .. })), "{too_long:?}");
    let nested = decode(&with_state("00 53 34 c0 0b 02 a0 00 00 53 34 c0 03 01 a0 00"));
    assert!(matches!(nested, Err(DecodeError::OutOfRange { .. })), "{nested:?}");
    for (figure, field) in [
        ("00 53 33 45", "declared.txn-id"),
        ("00 53 34 45", "transactional-state.txn-id"),
        ("00 53 34 c0 02 01 40", "transactional-state.txn-id"),
    ] {
        match decode(&with_state(figure)) {
            Err(DecodeError::Missing { what, .. }) => assert_eq!(what, field),
            other => panic!("{figure}: {other:?}"),
        }
    }
    let number = decode(&with_state("00 53 33 c0 02 01 43"));
    assert!(matches!(number, Err(DecodeError::WrongType { .. })), "{number:?}");
}

#[test]
fn states_and_performatives_of_the_hot_path_stay_small() {
    assert!(size_of::<Option<DeliveryState>>() <= 40);
    assert!(size_of::<Disposition>() <= 56);
    assert!(size_of::<Transfer>() <= 104);
    assert!(size_of::<mq_amqp::Event>() <= 152);
}

#[test]
fn every_state_decodes_with_its_fields() {
    for (figure, state) in [
        ("00 53 23 c0 04 02 52 01 44", DeliveryState::Received { section_number: 1, section_offset: 0 }),
        ("00 53 24 45", DeliveryState::Accepted),
        ("00 53 25 45", DeliveryState::Rejected(None)),
        ("00 53 26 45", DeliveryState::Released),
        (
            "00 53 27 c0 08 03 41 42 c1 03 02 43 43",
            DeliveryState::Modified {
                delivery_failed: Some(true),
                undeliverable_here: Some(false),
                annotations: Some(hex("c1 03 02 43 43")),
            },
        ),
        // AMQP 4.5.5 and 4.5.6.
        ("00 53 33 c0 04 01 a0 01 't'", DeliveryState::Declared(Box::new(id(b"t")))),
        ("00 53 34 c0 04 01 a0 01 't'", transactional(id(b"t"), None)),
        (
            "00 53 34 c0 0c 02 a0 01 't' 00 53 27 c0 03 02 41 41",
            transactional(
                id(b"t"),
                Some(DeliveryState::Modified {
                    delivery_failed: Some(true),
                    undeliverable_here: Some(true),
                    annotations: None,
                }),
            ),
        ),
        // A vendor's own with a descriptor and a value of any kind.
        ("00 a3 01 'v' 52 07", DeliveryState::Other(hex("00 a3 01 'v' 52 07"))),
        ("00 00 44 43 40", DeliveryState::Other(hex("00 00 44 43 40"))),
    ] {
        let Ok(Performative::Disposition(disposition)) = decode(&with_state(figure)) else {
            panic!("{figure}")
        };
        assert_eq!(disposition.state, Some(state.clone()), "{figure}");
        assert_eq!(written(|out| encode_state(out, &state)), hex(figure), "{figure}");
    }
}

#[test]
fn the_payload_of_a_transfer_stays_the_slice_it_arrived_in() {
    let frame = hex("00 53 14 c0 0a 05 43 52 01 a0 02 aa bb 43 42 'payload'");
    let mut body = frame.clone();
    assert_eq!(decode_performative(&mut body), Ok(Performative::Transfer(transfer())));
    assert_eq!(body, "payload");
    assert_eq!(body.as_ptr(), frame.slice(15..).as_ptr());
}

#[test]
fn nothing_may_follow_a_performative_without_payload() {
    for (figure, performative) in transcripts() {
        let mut body = hex(&format!("{figure} ff"));
        let decoded = decode_performative(&mut body);
        if matches!(performative, Performative::Transfer(_)) {
            assert!(decoded.is_ok());
        } else {
            assert!(matches!(decoded, Err(DecodeError::LeftOver { count: 1, .. })), "{figure}");
            assert_eq!(body, hex(&format!("{figure} ff")), "an error consumes nothing");
        }
    }
}

#[test]
fn a_mandatory_field_must_be_there() {
    for (figure, field) in [
        ("00 53 10 45", "open.container-id"),
        ("00 53 10 c0 02 01 40", "open.container-id"),
        ("00 53 11 c0 04 03 40 43 43", "begin.outgoing-window"),
        ("00 53 12 c0 04 02 a1 00 43", "attach.role"),
        ("00 53 13 c0 02 01 40", "flow.incoming-window"),
        ("00 53 14 45", "transfer.handle"),
        ("00 53 15 c0 03 02 41 40", "disposition.first"),
        ("00 53 16 c0 03 02 40 41", "detach.handle"),
        ("00 53 17 c0 05 01 00 53 1d 45", "error.condition"),
    ] {
        match decode(&hex(figure)) {
            Err(DecodeError::Missing { what, .. }) => assert_eq!(what, field),
            other => panic!("{figure}: {other:?}"),
        }
    }
    assert!(matches!(decode_sasl(&mut hex("00 53 41 45")), Err(DecodeError::Missing { .. })));
}

#[test]
fn a_field_too_many_is_refused() {
    for (figure, limit) in [
        ("00 53 18 c0 03 02 40 40", 1),
        ("00 53 15 c0 08 07 41 43 40 40 40 40 40", 6),
        ("00 53 14 c0 0d 0c 43 40 40 40 40 40 40 40 40 40 40 40", 11),
    ] {
        match decode(&hex(figure)) {
            Err(DecodeError::TooManyFields { limit: found, count, .. }) => {
                assert_eq!((found, count), (limit, limit + 1));
            }
            other => panic!("{figure}: {other:?}"),
        }
    }
    // Accepted and released have no fields at all.
    assert!(decode(&hex("00 53 15 c0 0b 05 41 43 40 41 00 53 24 c0 02 01 40")).is_err());
}

#[test]
fn fields_of_the_wrong_type_or_range_are_refused() {
    let cases = [
        ("a handle that is a ulong", "00 53 16 c0 02 01 44"),
        ("a role that is a number", "00 53 15 c0 03 02 43 43"),
        ("a delivery tag of 33 bytes", "00 53 14 c0 26 03 43 40 a0 21 '123456789012345678901234567890123'"),
        ("snd-settle-mode 3", "00 53 12 c0 07 04 a1 00 43 41 50 03"),
        ("rcv-settle-mode 2", "00 53 14 c0 09 07 43 40 40 40 40 40 50 02"),
        ("a state that is not described", "00 53 15 c0 06 05 41 43 40 40 43"),
        ("an info that is a list", "00 53 18 c0 0b 01 00 53 1d c0 05 03 a3 00 40 45"),
        ("an info that is an odd map", "00 53 18 c0 0e 01 00 53 1d c0 08 03 a3 00 40 c1 02 01 40"),
        ("an info with a value cut short", "00 53 18 c0 0f 01 00 53 1d c0 09 03 a3 00 40 c1 03 02 40 70"),
    ];
    for (what, figure) in cases {
        let error = decode(&hex(figure)).expect_err(what);
        assert!(!matches!(error, DecodeError::LeftOver { .. }), "{what}: {error}");
    }
    for what in [3, 4] {
        assert!(cases[what].1.contains("50"));
        assert!(matches!(decode(&hex(cases[what].1)), Err(DecodeError::OutOfRange { .. })));
    }
    assert!(matches!(decode(&hex(cases[2].1)), Err(DecodeError::OutOfRange { .. })));
    assert!(decode_sasl(&mut hex("00 53 44 c0 03 01 50 05")).is_err());
}

#[test]
fn unknown_descriptors_and_bodies_that_are_not_described_are_refused() {
    for figure in ["00 53 19 45", "00 53 24 45", "00 53 40 45", "00 a3 03 'foo' 45", "00 40 45", "00 44 45"] {
        let error = decode(&hex(figure));
        assert!(matches!(error, Err(DecodeError::UnknownDescriptor { offset: 0, .. })), "{figure}");
    }
    for figure in ["45", "c0 01 00", "53 10"] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::WrongType { offset: 0, .. })), "{figure}");
    }
    // The code in another domain is another descriptor.
    assert!(decode(&hex("00 80 00 00 00 01 00 00 00 17 45")).is_err());
    // Source and target are not each other.
    assert!(decode(&hex("00 53 12 c0 0b 06 a1 00 43 41 40 40 00 53 29 45")).is_err());
}

#[test]
fn a_list_must_hold_the_bytes_its_size_says() {
    // Sizes 0 (no room for the count), one short, one long.
    for figure in
        ["00 53 16 c0 00 01 43", "00 53 16 c0 01 01 43", "00 53 16 c0 03 01 43", "00 53 16 d0 00 00 00 00 43"]
    {
        assert!(decode(&hex(figure)).is_err(), "{figure}");
    }
}

#[test]
fn no_prefix_of_a_transcript_decodes() {
    for (figure, _) in transcripts() {
        let bytes = hex(figure);
        for length in 0..bytes.len() {
            let mut prefix = bytes.slice(..length);
            assert!(decode_performative(&mut prefix).is_err(), "{length} bytes of {figure}");
            assert_eq!(prefix.len(), length, "an error consumes nothing");
        }
    }
}

#[test]
fn properties_that_are_nested_too_deep_are_refused() {
    let mut value = Value::Null;
    for _ in 0..100 {
        value = Value::List(vec![value]);
    }
    let open = Open { properties: vec![(symbol("k").into(), value.clone())], ..Open::default() };
    let error = decode(&encode(&Performative::Open(Box::new(open)))).expect_err("too deep");
    assert!(matches!(error, DecodeError::TooDeep { what: "open.properties", .. }));

    // Kept raw, but checked all the same: it goes on to others.
    let info = written(|out| mq_amqp::codec::encode_value(out, &Value::Map(vec![(Value::Null, value)])));
    let error = Error { condition: symbol("x"), description: None, info: Some(info) };
    let close = Performative::Close(Close { error: Some(Box::new(error)) });
    assert!(matches!(decode(&encode(&close)), Err(DecodeError::TooDeep { what: "error.info", .. })));
}

#[test]
fn errors_name_the_field_and_the_place() {
    let error = decode(&hex("00 53 16 c0 02 01 44")).expect_err("wrong type");
    assert_eq!(error.to_string(), "detach.handle has a value of the wrong type (constructor 0x44) at byte 6");
    assert_eq!(error.condition(), "amqp:decode-error");
    let error = decode(&hex("00 53 16 45")).expect_err("no handle");
    assert_eq!(error.to_string(), "detach.handle is mandatory but absent at byte 4");
    assert_eq!(error.condition(), "amqp:invalid-field");
}

proptest! {
    #[test]
    fn performatives_round_trip(performative in strategies::performative()) {
        prop_assert_eq!(decode(&encode(&performative)), Ok(performative));
    }

    #[test]
    fn sasl_frames_round_trip(frame in strategies::sasl()) {
        let bytes = written(|out| encode_sasl(out, &frame));
        prop_assert_eq!(decode_sasl(&mut bytes.clone()), Ok(frame));
        for length in 0..bytes.len() {
            prop_assert!(decode_sasl(&mut bytes.slice(..length)).is_err());
        }
    }

    #[test]
    fn a_prefix_of_a_performative_is_an_error(performative in strategies::performative()) {
        let bytes = encode(&performative);
        for length in 0..bytes.len() {
            prop_assert!(decode_performative(&mut bytes.slice(..length)).is_err());
        }
    }

    #[test]
    fn serde_amqp_reads_our_performatives_as_we_do(performative in strategies::performative()) {
        let bytes = encode(&performative);
        let ours = decode_value(&mut bytes.clone()).expect("a described list");
        if let Some(ours) = theirs(&ours) {
            let read: serde_amqp::Value = serde_amqp::from_slice(&bytes).expect("readable");
            prop_assert_eq!(read, ours);
        }
    }
}
