//! A connection's ordinary life.

use bytes::Bytes;

use super::pair::*;
use crate::performative::{DeliveryState, Role};
use crate::{Config, Event, IncomingTransfer, Limits};

fn transfer(event: Event) -> Option<IncomingTransfer> {
    match event {
        Event::Transfer(transfer) => Some(transfer),
        _ => None,
    }
}

#[test]
fn a_connection_opens_with_and_without_sasl_whatever_the_reads_cut() {
    for read_size in [1, 3, 8, 4096] {
        for sasl_first in [false, true] {
            let mechanisms = sasl(&["ANONYMOUS"]);
            let client = Config { allow_plain_header: !sasl_first, ..config("client", Limits::default()) };
            let server = Config { mechanisms, ..config("server", Limits::default()) };
            let mut pair = Pair::new(client, server);
            pair.read_size = read_size;
            pair.run();
            if sasl_first {
                pair.client
                    .expect("mechanisms", |event| matches!(event, Event::SaslMechanisms(_)).then_some(()));
                pair.client
                    .engine
                    .sasl_init(crate::value::Symbol::from_static("ANONYMOUS"), None)
                    .expect("offered");
                pair.run();
            }
            pair.client.engine.open().expect("authenticated");
            pair.run();
            assert!(pair.client.engine.is_open() && pair.server.engine.is_open(), "reads of {read_size}");
        }
    }
}

#[test]
fn a_message_arrives_is_accepted_and_is_settled_on_both_ends() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    let credit = pair.client.expect("LinkFlow", |event| match event {
        Event::LinkFlow { credit, token, .. } => Some((credit, token)),
        _ => None,
    });
    assert_eq!(credit, (10, 1));
    pair.client.engine.send(out, outgoing(42, "hello")).expect("credit");
    pair.run();
    let got = pair.server.expect("Transfer", transfer);
    assert_eq!((&got.payload[..], got.more, got.settled, got.token), (&b"hello"[..], false, false, 2));
    assert!(
        pair.server
            .engine
            .settle(Role::Receiver, got.delivery, Some(DeliveryState::Accepted), true)
            .expect("here")
    );
    pair.run();
    let told = pair.client.expect("Disposition", |event| match event {
        Event::Disposition { delivery_token, state, settled, role, .. } => {
            Some((delivery_token, state, settled, role))
        }
        _ => None,
    });
    assert_eq!(told, (42, Some(DeliveryState::Accepted), true, Role::Sender));
    for end in [&pair.client, &pair.server] {
        let info = end.engine.sessions().next().expect("a session");
        assert_eq!((info.unsettled_incoming, info.unsettled_outgoing), (0, 0));
    }
}

#[test]
fn a_payload_is_split_into_frames_that_the_peer_accepts_and_arrives_whole() {
    for size in [0_usize, 1, 411, 512, 513, 5_000, 100_000] {
        let server = Limits { max_frame_size: 512, incoming_window: 8, ..Limits::default() };
        let mut pair = Pair::open_with(Limits::default(), server);
        let session = pair.session();
        let (out, into) = pair.link(session, "a", Role::Sender);
        pair.server.engine.grant(into, 1).expect("receiving");
        pair.run();
        let payload: Bytes = (0..size).map(|byte| byte as u8).collect::<Vec<u8>>().into();
        pair.client.engine.send(out, outgoing(1, payload.clone())).expect("credit");
        let mut got = Vec::new();
        let mut rounds = 0;
        loop {
            pair.run();
            let frames: Vec<_> = pair.server.events.drain(..).filter_map(transfer).collect();
            assert!(!frames.is_empty() && frames.len() <= 8, "{} frames in a window of 8", frames.len());
            let done = frames.iter().any(|frame| !frame.more);
            frames.iter().for_each(|frame| got.extend_from_slice(&frame.payload));
            let consumed = u32::try_from(frames.len()).expect("few");
            let server_session = pair.server.engine.sessions().next().expect("a session").key;
            pair.server.engine.consume(server_session, consumed).expect("here");
            rounds += 1;
            if done {
                break;
            }
        }
        assert_eq!(got, payload, "{size} bytes in {rounds} rounds");
    }
}

#[test]
fn settlements_of_a_turn_leave_in_one_disposition() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 100).expect("receiving");
    pair.run();
    for token in 0..100 {
        pair.client.engine.send(out, outgoing(token, "x")).expect("credit");
    }
    pair.run();
    let deliveries: Vec<_> =
        pair.server.events.drain(..).filter_map(transfer).map(|got| got.delivery).collect();
    assert_eq!(deliveries.len(), 100);
    for delivery in deliveries {
        pair.server
            .engine
            .settle(Role::Receiver, delivery, Some(DeliveryState::Accepted), true)
            .expect("here");
    }
    let bytes = pair.server.written(pair.now);
    assert!(bytes.len() < 64, "{} bytes for one hundred settlements", bytes.len());
    pair.client.feed(pair.now, &bytes);
    let tokens: Vec<u64> = pair
        .client
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::Disposition { delivery_token, .. } => Some(delivery_token),
            _ => None,
        })
        .collect();
    assert_eq!(tokens, (0..100).collect::<Vec<u64>>());
}

#[test]
fn close_is_answered_and_ends_both() {
    let mut pair = Pair::open();
    pair.client.engine.close(pair.now, None);
    pair.run();
    assert!(pair.client.engine.is_done() && pair.server.engine.is_done());
    pair.server.expect("Closed", |event| matches!(event, Event::Closed { error: None }).then_some(()));
}

#[test]
fn a_name_given_to_a_delivery_is_known_to_frames_of_the_same_read() {
    let server = Limits { max_frame_size: 512, ..Limits::default() };
    let mut pair = Pair::open_with(Limits::default(), server);
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 1).expect("receiving");
    pair.run();
    pair.client.engine.send(out, outgoing(1, vec![0; 2_000])).expect("credit");
    let bytes = pair.client.written(pair.now);
    pair.server.input.extend_from_slice(&bytes);
    let mut tokens = Vec::new();
    loop {
        let server = &mut pair.server;
        server.engine.handle_input(pair.now, &mut server.input, &mut server.events).expect("valid frames");
        let Some(frame) = server.events.pop_front().and_then(transfer) else { break };
        tokens.push(frame.delivery_token);
        if frame.first {
            server.engine.name_delivery(frame.link, frame.delivery, 77).expect("here");
        }
    }
    assert!(tokens.len() > 2 && tokens[1..].iter().all(|token| *token == 77), "{tokens:?}");
}
