//! Transfers in and out (AMQP 2.6.14, 2.7.5).

use bytes::Bytes;

use super::pair::{Pair, outgoing, terms};
use super::peer::*;
use crate::performative::{Performative, Role, Transfer};
use crate::{Event, IncomingTransfer, Limits, LinkKey, Misuse, Outgoing, Terms, condition};

fn receiving() -> (Peer, LinkKey) {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 100).expect("receiving");
    peer.said();
    (peer, link)
}

fn got(peer: &mut Peer) -> Vec<IncomingTransfer> {
    let events = peer.events().into_iter();
    events
        .filter_map(|event| if let Event::Transfer(transfer) = event { Some(transfer) } else { None })
        .collect()
}

fn first(id: u32) -> Transfer {
    Transfer { more: true, ..transfer(0, id) }
}

fn session_error(peer: &mut Peer, wrong: Transfer) -> String {
    peer.says(0, Performative::Transfer(wrong));
    let (kind, condition) = peer.refusal();
    assert_eq!(kind, "end");
    condition
}

#[test]
fn delivery_ids_start_anywhere_and_follow_each_other() {
    let (mut peer, _) = receiving();
    for id in [u32::MAX - 1, u32::MAX, 0, 1] {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    assert_eq!(got(&mut peer).len(), 4);
    assert_eq!(session_error(&mut peer, transfer(0, 3)), condition::INVALID_FIELD);
}

#[test]
fn a_delivery_id_used_twice_is_refused() {
    let (mut peer, _) = receiving();
    peer.says(0, Performative::Transfer(transfer(0, 4)));
    assert_eq!(session_error(&mut peer, transfer(0, 4)), condition::INVALID_FIELD);
}

#[test]
fn a_first_transfer_without_id_or_tag_is_refused() {
    for wrong in [
        Transfer { delivery_id: None, ..transfer(0, 0) },
        Transfer { delivery_tag: None, ..transfer(0, 0) },
        continuation(0, false),
    ] {
        let (mut peer, _) = receiving();
        assert_eq!(session_error(&mut peer, wrong), condition::INVALID_FIELD);
    }
}

#[test]
fn a_further_frame_of_another_delivery_is_refused() {
    let (mut peer, _) = receiving();
    peer.says(0, Performative::Transfer(first(0)));
    assert_eq!(session_error(&mut peer, transfer(0, 1)), condition::INVALID_FIELD);
}

#[test]
fn deliveries_of_two_links_may_alternate_frame_by_frame() {
    let (mut peer, _) = receiving();
    let second = peer.attaches(1, "other", Role::Receiver);
    peer.end.engine.grant(second, 10).expect("receiving");
    peer.says_with(0, Performative::Transfer(first(0)), b"a");
    peer.says_with(0, Performative::Transfer(Transfer { handle: 1, ..first(1) }), b"b");
    peer.says_with(0, Performative::Transfer(continuation(0, false)), b"c");
    peer.says_with(
        0,
        Performative::Transfer(Transfer { delivery_id: Some(1), ..continuation(1, false) }),
        b"d",
    );
    let got: Vec<_> =
        got(&mut peer).into_iter().map(|got| (got.token, got.first, got.more, got.payload)).collect();
    let expected =
        [(100, true, true, "a"), (101, true, true, "b"), (100, false, false, "c"), (101, false, false, "d")];
    assert_eq!(got, expected.map(|(token, first, more, payload)| (token, first, more, Bytes::from(payload))));
}

#[test]
fn a_delivery_settled_by_a_later_frame_is_settled() {
    let (mut peer, _) = receiving();
    peer.says(0, Performative::Transfer(first(0)));
    peer.says(0, Performative::Transfer(Transfer { settled: Some(true), ..continuation(0, true) }));
    peer.says(0, Performative::Transfer(continuation(0, false)));
    let got = got(&mut peer);
    assert_eq!(got.iter().map(|got| got.settled).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(peer.end.engine.settle(Role::Receiver, got[0].delivery, None, true), Ok(false));
    assert_eq!(peer.end.engine.sessions().next().expect("here").unsettled_incoming, 0);
    assert!(peer.said().is_empty());
}

#[test]
fn an_aborted_delivery_is_void_and_settled() {
    let (mut peer, _) = receiving();
    peer.says_with(0, Performative::Transfer(first(0)), b"half");
    peer.says(0, Performative::Transfer(Transfer { aborted: true, ..continuation(0, true) }));
    peer.says(0, Performative::Transfer(transfer(0, 1)));
    let got = got(&mut peer);
    assert_eq!(
        got.iter().map(|got| (got.aborted, got.more)).collect::<Vec<_>>(),
        [(false, true), (true, false), (false, false)]
    );
    assert_eq!(peer.end.engine.settle(Role::Receiver, got[0].delivery, None, true), Ok(false));
}

#[test]
fn a_delivery_aborted_by_its_first_frame_is_not_seen_and_counts() {
    let (mut peer, link) = receiving();
    peer.says(0, Performative::Transfer(Transfer { aborted: true, more: true, ..transfer(0, 0) }));
    assert!(peer.events().is_empty());
    assert_eq!(peer.end.engine.credit(link), Ok(99));
    peer.says(0, Performative::Transfer(transfer(0, 1)));
    assert_eq!(got(&mut peer).len(), 1);
}

#[test]
fn we_abort_a_delivery_in_the_middle() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    pair.client.engine.send(out, Outgoing { more: true, ..outgoing(1, "half") }).expect("credit");
    assert_eq!(pair.client.engine.send(out, outgoing(2, "x")).err(), Some(Misuse::Unfinished));
    pair.client.engine.abort(out).expect("started");
    pair.client.engine.send(out, outgoing(2, "whole")).expect("credit");
    pair.run();
    let got: Vec<_> = pair
        .server
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::Transfer(got) => Some((got.aborted, got.payload)),
            _ => None,
        })
        .collect();
    assert_eq!(got, [(false, Bytes::from("half")), (true, Bytes::new()), (false, Bytes::from("whole"))]);
    assert_eq!(pair.client.engine.sessions().next().expect("here").unsettled_outgoing, 1);
}

#[test]
fn a_resumed_delivery_that_nobody_knows_is_ignored() {
    let (mut peer, link) = receiving();
    peer.says_with(0, Performative::Transfer(Transfer { resume: true, ..first(0) }), b"old");
    peer.says_with(0, Performative::Transfer(continuation(0, false)), b"old");
    peer.says_with(0, Performative::Transfer(transfer(0, 1)), b"new");
    let got = got(&mut peer);
    assert_eq!(got.iter().map(|got| &got.payload[..]).collect::<Vec<_>>(), [b"new"]);
    assert_eq!(peer.end.engine.credit(link), Ok(98));
    assert!(peer.said().is_empty());
}

#[test]
fn a_message_over_max_message_size_detaches_its_link_only() {
    for frames in [&[11][..], &[10, 1], &[4, 4, 4]] {
        let (mut peer, _) = Peer::with_session(Limits::default());
        let link = peer.offers(0, "small", Role::Receiver);
        let small = Terms { max_message_size: Some(10), ..terms("x") };
        peer.end.engine.accept(link, small, 100).expect("offered");
        let other = peer.attaches(1, "other", Role::Receiver);
        for link in [link, other] {
            peer.end.engine.grant(link, 10).expect("receiving");
        }
        peer.says_with(0, Performative::Transfer(transfer(0, 0)), &[0; 10]);
        assert_eq!(got(&mut peer).len(), 1, "ten bytes are within the limit");
        peer.said();
        for (index, size) in frames.iter().enumerate() {
            let more = index + 1 < frames.len();
            let transfer = if index == 0 { Transfer { more, ..first(1) } } else { continuation(0, more) };
            peer.says_with(0, Performative::Transfer(transfer), &vec![0; *size]);
        }
        assert_eq!(peer.refusal(), ("detach", condition::MESSAGE_SIZE_EXCEEDED.into()));
        peer.says(0, Performative::Transfer(transfer(0, 2)));
        peer.events();
        peer.says(0, Performative::Transfer(transfer(1, 3)));
        assert_eq!(got(&mut peer).len(), 1, "the other link goes on");
        peer.end.engine.grant(other, 1).expect("receiving");
        // What reached the caller has not been consumed; the rest is given back by the engine.
        let held = 2 + u32::try_from(frames.len() - 1).expect("few");
        assert_eq!(peer.flows()[0].incoming_window, Limits::default().incoming_window - held);
    }
}

#[test]
fn transfers_on_a_link_that_we_are_detaching_are_skipped() {
    let (mut peer, link) = receiving();
    let other = peer.attaches(1, "other", Role::Receiver);
    peer.end.engine.grant(other, 10).expect("receiving");
    peer.says(0, Performative::Transfer(first(0)));
    peer.events();
    peer.end.engine.detach(link, true, None).expect("here");
    peer.said();
    peer.says(0, Performative::Transfer(Transfer { delivery_id: Some(0), ..continuation(0, false) }));
    peer.says(0, Performative::Transfer(transfer(0, 1)));
    peer.says(0, Performative::Transfer(transfer(1, 2)));
    let got = got(&mut peer);
    assert_eq!(got.iter().map(|got| got.token).collect::<Vec<_>>(), [101]);
    assert!(peer.said().is_empty());
}

#[test]
fn a_transfer_on_a_link_that_we_send_on_ends_the_session() {
    let (mut peer, _) = Peer::with_link(Role::Sender);
    assert_eq!(session_error(&mut peer, transfer(0, 0)), condition::NOT_ALLOWED);
}

#[test]
fn a_payload_keeps_the_slice_it_arrived_in() {
    let (mut peer, _) = receiving();
    let body = vec![42; 10_000];
    peer.says_with(0, Performative::Transfer(transfer(0, 0)), &body);
    assert_eq!(got(&mut peer)[0].payload, body);
}

#[test]
fn a_large_message_stops_at_the_window_and_needs_no_memory_beyond_it() {
    const FRAME: usize = 1_024;
    const CHUNK: usize = 16 * FRAME;
    let limits = || Limits { max_frame_size: FRAME as u32, incoming_window: 16, ..Limits::default() };
    let mut pair = Pair::open_with(limits(), limits());
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 1).expect("receiving");
    pair.run();
    let (mut sent, mut arrived, total) = (0_usize, 0_usize, 10 << 20);
    let (mut most_waiting, mut most_arriving) = (0, 0);
    pair.client.engine.send(out, Outgoing { more: true, ..outgoing(1, Bytes::new()) }).expect("credit");
    while arrived < total {
        // A driver sends on while little waits.
        while sent < total && pair.client.engine.pending_bytes(session) < CHUNK {
            let size = CHUNK.min(total - sent);
            sent += size;
            pair.client.engine.send_more(out, vec![0; size].into(), sent < total).expect("started");
        }
        most_waiting =
            most_waiting.max(pair.client.engine.pending_bytes(session) + pair.client.engine.buffered());
        pair.run();
        let frames: Vec<_> = pair
            .server
            .events
            .drain(..)
            .filter_map(|event| match event {
                Event::Transfer(got) => Some(got.payload.len()),
                _ => None,
            })
            .collect();
        assert!(!frames.is_empty() && frames.len() <= 16, "{} frames", frames.len());
        most_arriving = most_arriving.max(frames.iter().sum());
        arrived += frames.iter().sum::<usize>();
        let theirs = pair.server.engine.session_of_link(into).expect("here");
        pair.server.engine.consume(theirs, u32::try_from(frames.len()).expect("few")).expect("here");
    }
    assert_eq!(arrived, total);
    assert!(most_waiting <= 3 * CHUNK, "{most_waiting} bytes waited in the sender");
    assert!(most_arriving <= 16 * FRAME, "{most_arriving} bytes arrived at once");
    assert_eq!(pair.client.engine.pending_bytes(session), 0);
}
