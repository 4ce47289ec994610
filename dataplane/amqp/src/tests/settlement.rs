//! Settlement: dispositions, both receiver modes, delivery states (AMQP 2.6.12, 2.7.6, 3.4).

use bytes::Bytes;

use super::pair::{Pair, outgoing, terms};
use super::peer::*;
use crate::performative::{DeliveryState, Disposition, Error, Flow, Performative, ReceiverSettleMode, Role};
use crate::transaction::{TransactionId, TransactionalState};
use crate::value::Symbol;
use crate::{DeliveryKey, Event, Limits, LinkKey, Terms, condition};

fn sending(count: u64) -> (Peer, LinkKey) {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 1_000)));
    for token in 0..count {
        peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
    }
    peer.said();
    peer.events();
    (peer, link)
}

fn told(peer: &mut Peer) -> Vec<u64> {
    let events = peer.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Disposition { delivery_token, .. } => Some(delivery_token),
            _ => None,
        })
        .collect()
}

/// Every state of AMQP 3.4 with its fields, and one that we do not know.
fn states() -> Vec<DeliveryState> {
    let error = Error {
        condition: Symbol::from_static("vendor:error"),
        description: Some("because".into()),
        info: Some(Bytes::from_static(&[0xc1, 0x01, 0x00])),
    };
    vec![
        DeliveryState::Received { section_number: 3, section_offset: u64::MAX },
        DeliveryState::Accepted,
        DeliveryState::Rejected(None),
        DeliveryState::Rejected(Some(Box::new(error))),
        DeliveryState::Released,
        DeliveryState::Modified {
            delivery_failed: Some(true),
            undeliverable_here: Some(false),
            annotations: Some(Bytes::from_static(&[0xc1, 0x01, 0x00])),
        },
        DeliveryState::Declared(Box::new(TransactionId::from(7))),
        DeliveryState::Transactional(Box::new(TransactionalState {
            transaction: TransactionId::from(7),
            outcome: Some(DeliveryState::Accepted),
        })),
        // A vendor's state with a symbolic descriptor.
        DeliveryState::Other(Bytes::from_static(b"\x00\xa3\x08acme:ok1\xc0\x03\x01\x54\x2a")),
    ]
}

#[test]
fn a_range_over_ids_never_sent_settles_nothing_and_ends_nothing() {
    let (mut peer, _) = sending(3);
    for (first, last) in [(100, 2_000_000_000), (3, 0x7fff_ffff), (u32::MAX - 10, u32::MAX)] {
        peer.says(0, accepted(Role::Receiver, first, Some(last), true));
        assert!(told(&mut peer).is_empty() && peer.said().is_empty());
    }
    peer.says(0, accepted(Role::Sender, 0, Some(0x7fff_ffff), true));
    assert!(told(&mut peer).is_empty(), "nothing came in");
    peer.says(0, accepted(Role::Receiver, u32::MAX - 5, Some(0x7000_0000), true));
    assert_eq!(told(&mut peer), [0, 1, 2]);
}

#[test]
fn dispositions_over_two_billion_ids_cost_what_is_unsettled() {
    let (mut peer, _) = sending(3);
    // Two thousand of them would take hours if the range were walked.
    for _ in 0..2_000 {
        peer.says(0, accepted(Role::Receiver, 3, Some(0x7fff_ffff), true));
    }
    assert!(told(&mut peer).is_empty());
    assert_eq!(peer.end.engine.sessions().next().expect("here").unsettled_outgoing, 3);
}

#[test]
fn a_disposition_that_ends_before_it_begins_ends_the_session() {
    for (first, last) in [(1, 0), (0, u32::MAX)] {
        let (mut peer, _) = sending(3);
        peer.says(0, accepted(Role::Receiver, first, Some(last), true));
        assert_eq!(peer.refusal(), ("end", condition::INVALID_FIELD.into()));
    }
}

#[test]
fn a_delivery_is_settled_once() {
    let (mut peer, _) = sending(3);
    peer.says(0, accepted(Role::Receiver, 1, None, true));
    assert_eq!(told(&mut peer), [1]);
    peer.says(0, accepted(Role::Receiver, 0, Some(2), true));
    assert_eq!(told(&mut peer), [0, 2]);
    peer.says(0, accepted(Role::Receiver, 0, Some(2), true));
    assert!(told(&mut peer).is_empty());
}

#[test]
fn a_state_without_settlement_leaves_the_delivery_unsettled() {
    let (mut peer, _) = sending(1);
    for _ in 0..3 {
        peer.says(0, accepted(Role::Receiver, 0, None, false));
        assert_eq!(told(&mut peer), [0]);
    }
    assert_eq!(peer.end.engine.sessions().next().expect("here").unsettled_outgoing, 1);
}

#[test]
fn every_delivery_state_arrives_as_it_was_said() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 100).expect("receiving");
    pair.run();
    for state in states() {
        pair.client.engine.send(out, outgoing(1, "x")).expect("credit");
        pair.run();
        let delivery = pair.server.expect("Transfer", |event| match event {
            Event::Transfer(got) => Some(got.delivery),
            _ => None,
        });
        pair.server.engine.settle(Role::Receiver, delivery, Some(state.clone()), true).expect("here");
        pair.run();
        let told = pair.client.expect("Disposition", |event| match event {
            Event::Disposition { state, .. } => state,
            _ => None,
        });
        assert_eq!(told, state);
    }
}

/// Mode second: the receiver says the state, the sender settles, the receiver forgets.
#[test]
fn with_receiver_settle_mode_second_every_run_is_settled_by_the_sender() {
    let mut pair = Pair::open();
    let session = pair.session();
    let second = || Terms { rcv_settle_mode: ReceiverSettleMode::Second, ..terms("x") };
    let (out, into) = pair.link_with(session, "a", Role::Sender, second(), second());
    pair.server.engine.grant(into, 100).expect("receiving");
    pair.run();
    for token in 0..10 {
        pair.client.engine.send(out, outgoing(token, "x")).expect("credit");
    }
    pair.run();
    let deliveries: Vec<DeliveryKey> = pair
        .server
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::Transfer(got) => Some(got.delivery),
            _ => None,
        })
        .collect();
    // Runs of different outcomes and a gap, so that the last run is one of several.
    for (index, delivery) in deliveries.iter().enumerate() {
        let state = if index < 4 { DeliveryState::Accepted } else { DeliveryState::Released };
        if index != 6 {
            pair.server.engine.settle(Role::Receiver, *delivery, Some(state), false).expect("here");
        }
    }
    pair.run();
    let told: Vec<_> = pair
        .client
        .events
        .drain(..)
        .filter_map(|event| match event {
            Event::Disposition { delivery, state, settled: false, .. } => Some((delivery, state)),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 9);
    for (delivery, state) in told {
        pair.client.engine.settle(Role::Sender, delivery, state, true).expect("here");
    }
    pair.run();
    let settled = pair
        .server
        .events
        .drain(..)
        .filter(|event| matches!(event, Event::Disposition { role: Role::Receiver, settled: true, .. }));
    assert_eq!(settled.count(), 9);
    let (client, server) = (&pair.client.engine, &pair.server.engine);
    assert_eq!(client.sessions().next().expect("here").unsettled_outgoing, 1);
    assert_eq!(server.sessions().next().expect("here").unsettled_incoming, 1);
}

#[test]
fn presettled_deliveries_are_forgotten_at_once() {
    let (mut peer, link) = sending(0);
    peer.end.engine.send(link, crate::Outgoing { settled: true, ..outgoing(1, "x") }).expect("credit");
    assert_eq!(peer.transfers()[0].0.settled, Some(true));
    assert_eq!(peer.end.engine.sessions().next().expect("here").unsettled_outgoing, 0);
    peer.says(0, accepted(Role::Receiver, 0, None, true));
    assert!(told(&mut peer).is_empty());
}

#[test]
fn a_delivery_settled_while_it_waits_for_the_window_leaves_settled() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(Flow { incoming_window: 0, ..credit(0, 0, 10) }));
    let delivery = peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    assert_eq!(peer.end.engine.settle(Role::Sender, delivery, Some(DeliveryState::Accepted), true), Ok(true));
    assert!(peer.said().is_empty(), "the peer does not know the delivery yet");
    peer.says(0, Performative::Flow(flow()));
    let transfers = peer.transfers();
    assert_eq!((transfers.len(), transfers[0].0.settled), (1, Some(true)));
}

#[test]
fn what_was_settled_before_a_detach_is_told_before_it() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 10).expect("receiving");
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    let delivery = peer.end.expect("Transfer", |event| match event {
        Event::Transfer(got) => Some(got.delivery),
        _ => None,
    });
    peer.said();
    peer.end.engine.settle(Role::Receiver, delivery, Some(DeliveryState::Accepted), true).expect("here");
    peer.says(0, detach(0, true));
    let said = peer.performatives();
    assert!(matches!(said[..], [Performative::Disposition(_), Performative::Detach(_)]), "{said:?}");
}

#[test]
fn a_disposition_for_a_detached_link_is_ignored() {
    let (mut peer, link) = sending(2);
    peer.end.engine.detach(link, true, None).expect("here");
    peer.said();
    peer.says(0, accepted(Role::Receiver, 0, Some(1), true));
    assert!(told(&mut peer).is_empty() && peer.said().is_empty());
    assert_eq!(peer.end.engine.sessions().next().expect("here").unsettled_outgoing, 0);
}

#[test]
fn settlements_that_do_not_follow_each_other_are_told_apart() {
    let (mut peer, link) = Peer::with_link_for(Limits::default(), Role::Receiver);
    peer.end.engine.grant(link, 10).expect("receiving");
    for id in 0..6 {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    let deliveries: Vec<_> = peer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Transfer(got) => Some(got.delivery),
            _ => None,
        })
        .collect();
    peer.said();
    for index in [0, 1, 3, 2, 5, 4] {
        let state = Some(DeliveryState::Accepted);
        peer.end.engine.settle(Role::Receiver, deliveries[index], state, true).expect("here");
    }
    let ranges: Vec<_> = peer
        .performatives()
        .into_iter()
        .map(|performative| match performative {
            Performative::Disposition(Disposition { first, last, settled: true, .. }) => (first, last),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ranges, [(0, Some(1)), (3, None), (2, None), (5, None), (4, None)]);
}
