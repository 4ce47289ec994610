//! Link credit: flow, drain, echo (AMQP 2.6.7, 2.7.4).

use super::pair::{Pair, outgoing};
use super::peer::*;
use crate::performative::{Attach, Flow, Performative, Role};
use crate::{Event, Limits, Misuse, condition};

/// The last credit that the engine reported on a link that it sends on.
fn reported(peer: &mut Peer) -> Option<(u32, bool)> {
    peer.events().into_iter().rev().find_map(|event| match event {
        Event::LinkFlow { credit, drain, .. } => Some((credit, drain)),
        _ => None,
    })
}

fn drained(peer: &mut Peer) -> usize {
    peer.events().iter().filter(|event| matches!(event, Event::LinkDrained { token: 100, .. })).count()
}

#[test]
fn a_delivery_without_credit_detaches_its_link_only() {
    let (mut peer, first) = Peer::with_link(Role::Receiver);
    let second = peer.attaches(1, "other", Role::Receiver);
    peer.end.engine.grant(second, 10).expect("receiving");
    peer.said();
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    assert_eq!(peer.refusal(), ("detach", condition::TRANSFER_LIMIT_EXCEEDED.into()));
    let events = peer.events();
    assert!(matches!(events[..], [Event::LinkDetached { token: 100, error: Some(_), .. }]), "{events:?}");
    // Before the peer has seen the detach it goes on; ids go on too.
    peer.says(0, Performative::Transfer(transfer(0, 1)));
    peer.says(0, Performative::Transfer(transfer(1, 2)));
    let events = peer.events();
    assert!(matches!(&events[..], [Event::Transfer(got)] if got.token == 101), "{events:?}");
    peer.says(0, detach(0, true));
    peer.says(0, Performative::Transfer(transfer(1, 3)));
    assert_eq!(peer.events().len(), 1);
    assert_eq!(peer.end.engine.grant(first, 1), Err(Misuse::NoLink));
    assert!(peer.said().is_empty());
}

#[test]
fn a_transfer_on_a_link_that_was_not_answered_is_without_credit() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    peer.offers(0, "hasty", Role::Receiver);
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    assert_eq!(peer.refusal(), ("detach", condition::TRANSFER_LIMIT_EXCEEDED.into()));
}

#[test]
fn credit_of_four_billion_is_taken() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, u32::MAX)));
    assert_eq!(reported(&mut peer), Some((u32::MAX, false)));
    peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    assert_eq!(peer.end.engine.credit(link), Ok(u32::MAX - 1));
    // A count from the future must not overflow.
    peer.says(0, Performative::Flow(credit(0, 100, u32::MAX)));
    assert!(reported(&mut peer).is_some());
    assert_eq!(peer.transfers().len(), 1);
}

#[test]
fn our_credit_saturates() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, u32::MAX).expect("receiving");
    peer.end.engine.grant(link, u32::MAX).expect("receiving");
    assert!(peer.flows().iter().all(|flow| flow.link_credit == Some(u32::MAX)));
}

#[test]
fn a_flow_in_the_past_counts_what_is_on_its_way() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 5)));
    for token in 0..3 {
        peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
    }
    peer.events();
    peer.says(0, Performative::Flow(credit(0, 1, 5)));
    assert_eq!(reported(&mut peer), Some((3, false)));
    peer.says(0, Performative::Flow(credit(0, 1, 1)));
    assert_eq!(reported(&mut peer), Some((0, false)), "lowered below what was sent");
    assert_eq!(peer.end.engine.send(link, outgoing(9, "x")).err(), Some(Misuse::NoCredit));
    peer.says(0, Performative::Flow(Flow { delivery_count: None, ..credit(0, 0, 4) }));
    assert_eq!(reported(&mut peer), Some((1, false)), "no count: our first one is meant");
}

#[test]
fn delivery_count_wraps_on_a_link_that_we_receive_on() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    let attach =
        Attach { initial_delivery_count: Some(u32::MAX - 1), ..attach_frame(0, "a", Role::Receiver) };
    peer.says(0, Performative::Attach(Box::new(attach)));
    let link = peer.end.expect("LinkAttached", |event| match event {
        Event::LinkAttached { link, .. } => Some(link),
        _ => None,
    });
    peer.end.engine.accept(link, super::pair::terms("x"), 100).expect("offered");
    peer.end.engine.grant(link, 5).expect("receiving");
    for id in 0..4 {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    peer.said();
    peer.says(0, Performative::Flow(Flow { handle: Some(0), echo: true, ..flow() }));
    let flow = peer.flows().remove(0);
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(2), Some(1)));
    peer.end.engine.drain(link).expect("receiving");
    peer.said();
    peer.says(0, Performative::Flow(Flow { drain: true, ..credit(0, 3, 0) }));
    assert_eq!(drained(&mut peer), 1);
}

#[test]
fn a_link_flow_tells_credit_and_is_answered_only_on_echo() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 7)));
    assert!(peer.said().is_empty());
    peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    peer.said();
    peer.says(0, Performative::Flow(Flow { echo: true, ..credit(0, 0, 7) }));
    let flows = peer.flows();
    assert_eq!(flows.len(), 1);
    let flow = &flows[0];
    assert_eq!((flow.handle, flow.delivery_count, flow.link_credit), (Some(0), Some(1), Some(6)));
    assert!(!flow.echo, "an echo of an echo would never end");
    peer.says(0, Performative::Flow(Flow { echo: true, ..super::peer::flow() }));
    let flows = peer.flows();
    assert_eq!((flows.len(), flows[0].handle), (1, None));
}

#[test]
fn the_peer_drains_us() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(Flow { drain: true, ..credit(0, 0, 10) }));
    assert_eq!(reported(&mut peer), Some((10, true)));
    peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    peer.end.engine.drained(link).expect("sending");
    let flow = peer.flows().remove(0);
    assert_eq!((flow.delivery_count, flow.link_credit, flow.drain), (Some(10), Some(0), true));
    assert_eq!(peer.end.engine.send(link, outgoing(2, "x")).err(), Some(Misuse::NoCredit));
    peer.says(0, Performative::Flow(Flow { next_incoming_id: Some(1), ..credit(0, 10, 3) }));
    assert_eq!(reported(&mut peer), Some((3, false)));
}

#[test]
fn we_drain_the_peer_which_gives_the_rest_back() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    pair.client.engine.send(out, outgoing(1, "x")).expect("credit");
    pair.server.engine.drain(into).expect("receiving");
    pair.run();
    pair.client.expect("a draining flow", |event| {
        matches!(event, Event::LinkFlow { drain: true, .. }).then_some(())
    });
    pair.client.engine.drained(out).expect("sending");
    pair.run();
    pair.server
        .expect("LinkDrained", |event| matches!(event, Event::LinkDrained { token: 2, .. }).then_some(()));
    assert!(!pair.server.events.iter().any(|event| matches!(event, Event::LinkDrained { .. })), "once");
    assert_eq!((pair.server.engine.credit(into), pair.client.engine.credit(out)), (Ok(0), Ok(0)));
    pair.server.engine.grant(into, 4).expect("receiving");
    pair.run();
    assert_eq!(pair.client.engine.credit(out), Ok(4));
}

#[test]
fn a_peer_that_uses_its_last_credit_has_drained() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 2).expect("receiving");
    peer.end.engine.drain(link).expect("receiving");
    assert!(peer.flows().last().expect("flows").drain);
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    assert_eq!(drained(&mut peer), 0);
    peer.says(0, Performative::Transfer(transfer(0, 1)));
    assert_eq!(drained(&mut peer), 1);
    peer.says(0, Performative::Flow(Flow { drain: true, ..credit(0, 2, 0) }));
    assert_eq!(drained(&mut peer), 0, "the flow that follows is no second drain");
}

#[test]
fn a_grant_that_crosses_the_answer_to_a_drain_is_kept() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    pair.server.engine.drain(into).expect("receiving");
    pair.run();
    pair.client.engine.drained(out).expect("sending");
    let answer = pair.client.written(pair.now);
    pair.server.engine.grant(into, 5).expect("receiving");
    pair.server.feed(pair.now, &answer);
    pair.run();
    assert_eq!((pair.server.engine.credit(into), pair.client.engine.credit(out)), (Ok(5), Ok(5)));
}

#[test]
fn deliveries_that_wait_for_the_window_are_not_told_as_sent() {
    let mut pair = Pair::open_with(Limits::default(), Limits { incoming_window: 2, ..Limits::default() });
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    for token in 0..6 {
        pair.client.engine.send(out, outgoing(token, "x")).expect("credit");
    }
    pair.server.engine.drain(into).expect("receiving");
    pair.run();
    pair.client.engine.drained(out).expect("sending");
    let mut got = 0;
    loop {
        pair.run();
        let frames = pair.server.events.iter().filter(|event| matches!(event, Event::Transfer(_))).count();
        let is_drained = pair.server.events.iter().any(|event| matches!(event, Event::LinkDrained { .. }));
        pair.server.events.clear();
        got += frames;
        assert_eq!(is_drained, got == 6 && frames > 0, "after {got} deliveries");
        if frames == 0 {
            break;
        }
        let theirs = pair.server.engine.session_of_link(into).expect("here");
        pair.server.engine.consume(theirs, u32::try_from(frames).expect("few")).expect("here");
    }
    assert_eq!(got, 6, "every delivery had credit");
    assert!(pair.server.error.is_none());
    assert_eq!((pair.server.engine.credit(into), pair.client.engine.credit(out)), (Ok(0), Ok(0)));
}

#[test]
fn commands_of_the_other_role_are_misuse() {
    let (mut peer, sending) = Peer::with_link(Role::Sender);
    let receiving = peer.attaches(1, "other", Role::Receiver);
    let engine = &mut peer.end.engine;
    assert_eq!(engine.grant(sending, 1), Err(Misuse::WrongRole));
    assert_eq!(engine.drain(sending), Err(Misuse::WrongRole));
    assert_eq!(engine.drained(receiving), Err(Misuse::WrongRole));
    assert_eq!(engine.send(receiving, outgoing(1, "x")).err(), Some(Misuse::WrongRole));
    assert_eq!(engine.send(sending, outgoing(1, "x")).err(), Some(Misuse::NoCredit));
    assert_eq!(engine.abort(sending), Err(Misuse::NotStarted));
    assert_eq!(engine.send_more(sending, Default::default(), false), Err(Misuse::NotStarted));
}
