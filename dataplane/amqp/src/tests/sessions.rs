//! Sessions: windows, ids, their end (AMQP 2.5).

use super::pair::{Pair, outgoing};
use super::peer::*;
use crate::performative::{Begin, DeliveryState, End, Error, Flow, Performative, Role};
use crate::window::DeliveryId;
use crate::{Event, IncomingTransfer, Limits, LinkKey, Misuse, condition};

fn transfers_in(pair: &mut Pair) -> Vec<IncomingTransfer> {
    let events = pair.server.events.drain(..);
    events
        .filter_map(|event| if let Event::Transfer(transfer) = event { Some(transfer) } else { None })
        .collect()
}

/// Why a session ended, and the links that were told to be gone with it.
type Ended = (Option<Box<Error>>, Vec<(Role, u64)>);

fn ended(peer: &mut Peer) -> Vec<Ended> {
    let events = peer.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::SessionEnded { error, links, .. } => Some((error, links)),
            _ => None,
        })
        .collect()
}

/// A pair whose client sends on one link, with the session's counters near their end.
fn near_the_end_of_ids(window: u32) -> (Pair, LinkKey, LinkKey) {
    let start = u32::MAX - 5;
    let mut pair = Pair::open_with(
        Limits::default(),
        Limits { incoming_window: window, max_frame_size: 512, ..Limits::default() },
    );
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.client.engine.session_mut(0).start_ids_at(start);
    pair.server.engine.session_mut(0).start_ids_at(start);
    pair.server.engine.grant(into, 1_000).expect("receiving");
    pair.run();
    (pair, out, into)
}

#[test]
fn transfer_ids_and_delivery_ids_wrap_at_2_to_the_32() {
    let (mut pair, out, _) = near_the_end_of_ids(8);
    let mut settled = 0;
    for round in 0..20_u64 {
        // Three frames each: the id wraps within a delivery and between two.
        pair.client.engine.send(out, outgoing(round, vec![0; 1_000])).expect("credit");
        pair.run();
        let got = transfers_in(&mut pair);
        assert_eq!(got.len(), 3, "delivery {round} is stuck");
        let session = got[0].delivery.session();
        pair.server.engine.consume(session, 3).expect("here");
        let delivery = got[0].delivery;
        pair.server
            .engine
            .settle(Role::Receiver, delivery, Some(DeliveryState::Accepted), true)
            .expect("here");
        pair.run();
        let told = pair.client.events.drain(..).filter_map(|event| match event {
            Event::Disposition { delivery_token, settled: true, .. } => Some(delivery_token),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [round]);
        settled += 1;
    }
    assert_eq!(settled, 20);
}

#[test]
fn a_disposition_of_a_range_that_wraps_settles_all_of_it() {
    let (mut pair, out, _) = near_the_end_of_ids(1_000);
    for token in 0..12 {
        pair.client.engine.send(out, outgoing(token, "x")).expect("credit");
    }
    pair.run();
    for got in transfers_in(&mut pair) {
        pair.server
            .engine
            .settle(Role::Receiver, got.delivery, Some(DeliveryState::Accepted), true)
            .expect("here");
    }
    let bytes = pair.server.written(pair.now);
    assert!(bytes.len() < 64, "one disposition");
    pair.client.feed(pair.now, &bytes);
    let told =
        pair.client.events.iter().filter(|event| matches!(event, Event::Disposition { settled: true, .. }));
    assert_eq!(told.count(), 12);
    assert_eq!(pair.client.engine.sessions().next().expect("here").unsettled_outgoing, 0);
}

#[test]
fn every_frame_of_a_split_delivery_takes_a_transfer_id() {
    let mut peer = Peer::server_for(
        super::pair::config("server", Limits::default()),
        crate::performative::Open { max_frame_size: Some(512), ..Default::default() },
    );
    peer.begins(0, Begin { incoming_window: 3, ..begin() });
    let link = peer.attaches(0, "link", Role::Sender);
    peer.says(0, Performative::Flow(Flow { incoming_window: 3, ..credit(0, 0, 10) }));
    peer.said();
    peer.end.engine.send(link, outgoing(1, vec![7; 2_000])).expect("credit");
    assert_eq!(peer.transfers().len(), 3, "the window takes three frames");
    peer.says(
        0,
        Performative::Flow(Flow { echo: true, next_incoming_id: Some(3), incoming_window: 1, ..flow() }),
    );
    let said = peer.said();
    let flows: Vec<u32> = said
        .iter()
        .filter_map(|said| match said {
            Said::Frame(_, Performative::Flow(flow), _) => Some(flow.next_outgoing_id),
            _ => None,
        })
        .collect();
    assert_eq!((said.len(), flows), (2, vec![4]), "one more transfer, and four are counted");
    peer.says(0, Performative::Flow(Flow { next_incoming_id: Some(4), incoming_window: 100, ..flow() }));
    let rest = peer.transfers();
    assert!(!rest.is_empty() && !rest.last().expect("some").0.more);
    let info = peer.end.engine.sessions().next().expect("here");
    assert_eq!(info.remote_incoming_window, 100 - u32::try_from(rest.len()).expect("few"));
}

#[test]
fn a_flow_that_was_written_before_our_transfers_arrived_does_not_reopen_the_window() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(Flow { incoming_window: 5, ..credit(0, 0, 100) }));
    for token in 0..20 {
        peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
    }
    assert_eq!(peer.transfers().len(), 5);
    for late in [Some(0), None] {
        peer.says(0, Performative::Flow(Flow { next_incoming_id: late, incoming_window: 5, ..flow() }));
        assert!(peer.transfers().is_empty(), "all five are on their way");
    }
    peer.says(0, Performative::Flow(Flow { next_incoming_id: Some(2), incoming_window: 5, ..flow() }));
    assert_eq!(peer.transfers().len(), 2);
    peer.says(0, Performative::Flow(Flow { next_incoming_id: Some(1_000), incoming_window: 5, ..flow() }));
    assert_eq!(peer.transfers().len(), 5, "who has seen what was never sent gets no more than his window");
}

#[test]
fn the_window_is_reckoned_across_the_wrap_of_transfer_ids() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    let start = u32::MAX - 1;
    peer.end.engine.session_mut(0).start_ids_at(start);
    let seen = |id| Flow { next_incoming_id: Some(id), incoming_window: 4, ..flow() };
    peer.says(
        0,
        Performative::Flow(Flow { next_incoming_id: Some(start), incoming_window: 4, ..credit(0, 0, 100) }),
    );
    for token in 0..20 {
        peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
    }
    let ids: Vec<_> = peer.transfers().into_iter().map(|(transfer, _)| transfer.delivery_id).collect();
    assert_eq!(ids, [start, u32::MAX, 0, 1].map(Some));
    peer.says(0, Performative::Flow(seen(start)));
    assert!(peer.transfers().is_empty(), "four are on their way");
    peer.says(0, Performative::Flow(seen(1)));
    assert_eq!(peer.transfers().len(), 3, "one is on its way");
}

#[test]
fn a_flow_before_our_begin_was_seen_is_answered() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    peer.says(
        0,
        Performative::Flow(Flow { next_incoming_id: None, echo: true, incoming_window: 9, ..flow() }),
    );
    let flows = peer.flows();
    assert_eq!((flows[0].next_incoming_id, flows[0].next_outgoing_id), (Some(0), 0));
    assert_eq!(peer.end.engine.sessions().next().expect("here").remote_incoming_window, 9);
}

#[test]
fn next_incoming_id_advances_with_every_transfer_frame() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 10).expect("receiving");
    peer.says_with(
        0,
        Performative::Transfer(crate::performative::Transfer { more: true, ..transfer(0, 0) }),
        b"a",
    );
    peer.says_with(0, Performative::Transfer(continuation(0, true)), b"b");
    peer.says_with(0, Performative::Transfer(continuation(0, false)), b"c");
    peer.says_with(0, Performative::Transfer(transfer(0, 1)), b"d");
    peer.said();
    peer.says(0, Performative::Flow(Flow { echo: true, ..flow() }));
    let flow = peer.flows().remove(0);
    assert_eq!(flow.next_incoming_id, Some(4));
    assert_eq!(flow.incoming_window, Limits::default().incoming_window - 4);
}

#[test]
fn a_transfer_beyond_the_window_ends_the_session() {
    let (mut peer, link) =
        Peer::with_link_for(Limits { incoming_window: 4, ..Limits::default() }, Role::Receiver);
    peer.end.engine.grant(link, 100).expect("receiving");
    peer.said();
    for id in 0..4 {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    assert!(peer.said().is_empty(), "nothing was consumed, so the window stays shut");
    peer.says(0, Performative::Transfer(transfer(0, 4)));
    assert_eq!(peer.refusal(), ("end", condition::WINDOW_VIOLATION.into()));
    let ended = ended(&mut peer);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].1, [(Role::Receiver, 100)]);
}

#[test]
fn the_window_reopens_when_half_of_it_was_consumed() {
    let (mut peer, link) =
        Peer::with_link_for(Limits { incoming_window: 8, ..Limits::default() }, Role::Receiver);
    peer.end.engine.grant(link, 100).expect("receiving");
    peer.said();
    let session = peer.end.engine.session_of_link(link).expect("here");
    for id in 0..3 {
        peer.says(0, Performative::Transfer(transfer(0, id)));
        peer.end.engine.consume(session, 1).expect("here");
        assert!(peer.said().is_empty());
    }
    peer.says(0, Performative::Transfer(transfer(0, 3)));
    peer.end.engine.consume(session, 1).expect("here");
    let flows = peer.flows();
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].incoming_window, flows[0].next_incoming_id), (8, Some(4)));
}

#[test]
fn a_window_that_is_told_all_consumed_never_exceeds_a_number() {
    let (mut peer, session) = Peer::with_session(Limits::default());
    peer.end.engine.consume(session, u32::MAX).expect("here");
    peer.end.engine.consume(session, u32::MAX).expect("here");
    peer.says(0, Performative::Flow(Flow { echo: true, ..flow() }));
    assert_eq!(peer.flows()[0].incoming_window, u32::MAX);
}

#[test]
fn a_session_that_we_end_discards_everything_until_the_peers_end() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 1).expect("receiving");
    let session = peer.end.engine.session_of_link(link).expect("here");
    peer.end.engine.end(session, None).expect("here");
    peer.said();
    for id in [0, 5, 9] {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    peer.says(0, Performative::Flow(Flow { echo: true, ..flow() }));
    peer.says(0, detach(17, true));
    peer.says(0, attach(3, "late", Role::Sender));
    assert!(peer.said().is_empty() && peer.events().is_empty() && peer.end.error.is_none());
    assert_eq!(peer.end.engine.end(session, None), Err(Misuse::NoSession));
    assert_eq!(peer.end.engine.sessions().count(), 1);
    peer.says(0, Performative::End(End::default()));
    assert!(peer.said().is_empty() && peer.events().is_empty(), "we ended first and know");
    assert_eq!(peer.end.engine.sessions().count(), 0);
}

#[test]
fn the_peers_end_is_answered_and_reports_every_link_once() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    for handle in 0..3 {
        peer.attaches(handle, &format!("link {handle}"), Role::Receiver);
    }
    peer.offers(3, "not accepted", Role::Receiver);
    let closing = peer.attaches(4, "detached before", Role::Sender);
    peer.end.engine.detach(closing, true, None).expect("here");
    peer.said();
    let error = Box::new(Error::new(condition::INTERNAL_ERROR, "oops"));
    peer.says(0, Performative::End(End { error: Some(error.clone()) }));
    assert_eq!(peer.performatives(), [Performative::End(End::default())]);
    let known = (0..3).map(|handle| (Role::Receiver, 100 + handle)).collect();
    assert_eq!(ended(&mut peer), [(Some(error), known)]);
    assert_eq!(peer.end.engine.links().count(), 0);
}

#[test]
fn ends_that_cross_end_the_session_once() {
    let mut pair = Pair::open();
    let session = pair.session();
    pair.link(session, "a", Role::Sender);
    let theirs = pair.server.engine.sessions().next().expect("here").key;
    pair.client.engine.end(session, None).expect("here");
    pair.server.engine.end(theirs, None).expect("here");
    pair.run();
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.engine.sessions().count(), 0);
        assert!(!end.events.iter().any(|event| matches!(event, Event::SessionEnded { .. })));
        assert!(end.error.is_none());
    }
}

#[test]
fn a_session_ended_before_its_begin_was_answered_goes_away_quietly() {
    let mut pair = Pair::open();
    let session = pair.client.engine.begin(1).expect("open");
    pair.client.engine.end(session, None).expect("here");
    pair.run();
    assert!(pair.client.events.iter().all(|event| !matches!(event, Event::SessionBegun { .. })));
    assert_eq!(pair.client.engine.sessions().count() + pair.server.engine.sessions().count(), 0);
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn keys_of_an_ended_session_do_not_reach_the_next_one_on_its_channel() {
    let (mut peer, old_link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(old_link, 1).expect("receiving");
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    let old_delivery = peer.end.expect("Transfer", |event| match event {
        Event::Transfer(transfer) => Some(transfer.delivery),
        _ => None,
    });
    let old_session = old_delivery.session();
    peer.says(0, Performative::End(End::default()));
    let new_session = peer.begins(0, begin());
    let new_link = peer.attaches(0, "link", Role::Receiver);
    peer.end.engine.grant(new_link, 1).expect("receiving");
    peer.says(0, Performative::Transfer(transfer(0, 0)));
    peer.events();
    peer.said();
    assert_eq!(old_session.channel(), new_session.channel());
    let engine = &mut peer.end.engine;
    assert_eq!(engine.grant(old_link, 7), Err(Misuse::NoSession));
    assert_eq!(engine.detach(old_link, true, None), Err(Misuse::NoSession));
    assert!(engine.credit(old_link).is_err() && engine.session_of_link(old_link).is_err());
    assert_eq!(engine.settle(Role::Receiver, old_delivery, None, true), Err(Misuse::NoSession));
    assert_eq!(engine.consume(old_session, 1), Err(Misuse::NoSession));
    assert_eq!(engine.end(old_session, None), Err(Misuse::NoSession));
    assert_eq!(engine.credit(new_link), Ok(0));
    assert!(peer.said().is_empty());
}

#[test]
fn a_delivery_key_survives_the_way_through_a_number() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 10)));
    let key = peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    assert_eq!(crate::DeliveryKey::from_bits(key.to_bits()), key);
    let extreme = crate::DeliveryKey { id: DeliveryId(u32::MAX), ..key };
    assert_eq!(crate::DeliveryKey::from_bits(extreme.to_bits()), extreme);
}

#[test]
fn more_unsettled_deliveries_than_allowed_end_the_session() {
    let limits = Limits { max_unsettled: 3, ..Limits::default() };
    let (mut peer, link) = Peer::with_link_for(limits, Role::Receiver);
    peer.end.engine.grant(link, 100).expect("receiving");
    peer.said();
    for id in 0..3 {
        peer.says(0, Performative::Transfer(transfer(0, id)));
    }
    assert!(peer.said().is_empty());
    peer.says(0, Performative::Transfer(transfer(0, 3)));
    assert_eq!(peer.refusal(), ("end", condition::RESOURCE_LIMIT_EXCEEDED.into()));
}
