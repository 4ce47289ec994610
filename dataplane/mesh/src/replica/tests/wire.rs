//! Messages as bytes: what is written is read, and nothing else does harm.

use fastrand::Rng;

use super::super::digest::Leaf;
use super::super::message::{Listing, Message};
use super::*;

fn samples() -> Vec<Message> {
    let version = Version { clock: 77 << 16, origin: NodeId(9) };
    let record = |name: &str, value: Option<Bytes>| Record { key: key(name), version, value };
    vec![
        Message::Summary { total: u64::MAX },
        Message::Same,
        Message::Later,
        Message::Listed,
        Message::Groups { groups: (0..64).collect() },
        Message::Leaves { groups: vec![(0, vec![1; 64]), (63, vec![2; 64])] },
        Message::Items {
            sequence: 3,
            listings: vec![
                Listing { leaf: Leaf(0), after: None, until: None, entries: Vec::new() },
                Listing {
                    leaf: Leaf(4_095),
                    after: Some(key("a")),
                    until: Some(key("c")),
                    entries: vec![(key("b"), version), (key("c"), version)],
                },
            ],
        },
        Message::Want { keys: vec![key("x"), key("ÿ")] },
        Message::Changes {
            sequence: 4,
            records: vec![
                record("small", Some(Bytes::from_static(b"{}"))),
                record("empty", Some(Bytes::new())),
                record("large", Some(vec![7; 10_000].into())),
                record("gone", None),
            ],
        },
        Message::Ack { sequence: 5 },
    ]
}

#[test]
fn what_is_written_is_read_back() {
    for message in samples() {
        assert_eq!(Message::decode(message.encode(), &Limits::default()), Ok(message));
    }
}

#[test]
fn a_message_cut_off_anywhere_or_with_a_flipped_bit_is_refused_or_another_message() {
    for message in samples() {
        let bytes = message.encode();
        for length in 0..bytes.len() {
            if let Ok(other) = Message::decode(bytes.slice(..length), &Limits::default()) {
                assert_ne!(other, message, "cut off at {length}");
            }
        }
        for bit in 0..(bytes.len() * 8).min(8_192) {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Message::decode(damaged.into(), &Limits::default()) {
                assert_ne!(other, message, "bit {bit}");
            }
        }
    }
}

#[test]
fn lengths_and_clocks_beyond_their_bounds_are_refused() {
    let limits = Limits { max_name: 3, max_value: 3, ..Limits::default() };
    let changes = |name: &str, clock, value: &'static [u8]| {
        let version = Version { clock, origin: NodeId(1) };
        let record = Record { key: key(name), version, value: Some(Bytes::from_static(value)) };
        Message::Changes { sequence: 1, records: vec![record] }.encode()
    };
    assert!(Message::decode(changes("abc", 1, b"abc"), &limits).is_ok());
    for message in [
        changes("abcd", 1, b"abc"),
        changes("abc", 1, b"abcd"),
        changes("abc", Version::END_OF_CLOCK, b"abc"),
    ] {
        let refused = Message::decode(message, &limits);
        assert!(matches!(refused, Err(MessageError::Bound { .. })), "{refused:?}");
    }
    assert_eq!(Message::decode(Bytes::from_static(&[99]), &limits), Err(MessageError::Type(99)));
}

#[test]
fn a_malformed_message_or_a_gap_takes_the_peer_down_and_nothing_else() {
    let gap = Message::Items { sequence: 2, listings: Vec::new() }.encode();
    let early = Message::Ack { sequence: 1 }.encode();
    for message in [Bytes::new(), Bytes::from_static(&[0, 1, 2]), gap, early] {
        let mut replica = Replica::new(NodeId(1), Limits::default());
        let now = Instant::now();
        replica.peer_up(now, NodeId(2));
        assert!(replica.handle_message(now, 1, NodeId(2), message.clone()).is_err(), "{message:?}");
        assert_eq!(replica.statistics().peers, 0);
        assert_eq!(replica.handle_message(now, 1, NodeId(2), message), Ok(()), "nobody listens any more");
    }
}

#[test]
fn bytes_of_any_kind_do_no_harm() {
    let mut rng = Rng::with_seed(5);
    for _ in 0..20_000 {
        let mut replica = Replica::new(NodeId(1), Limits::default());
        let now = Instant::now();
        replica.peer_up(now, NodeId(2));
        for _ in 0..4 {
            let length = rng.usize(..64);
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
            if let Some(kind) = bytes.first_mut() {
                *kind %= 12;
            }
            let _ = replica.handle_message(now, 1, NodeId(2), bytes.into());
            while replica.poll_transmit().is_some() {}
        }
    }
}
