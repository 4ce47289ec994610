//! Links: attach, detach, handles and names (AMQP 2.6).

use super::pair::{Pair, outgoing, terms};
use super::peer::*;
use crate::performative::{Attach, Begin, Detach, Error, Flow, Performative, Role, Target};
use crate::value::Text;
use crate::{Event, Limits, Misuse, Terms, condition};

fn detached(peer: &mut Peer) -> Vec<(Role, u64, bool, Option<String>)> {
    let events = peer.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::LinkDetached { role, token, closed, error, .. } => {
                Some((role, token, closed, error.map(|error| error.condition.as_str().to_owned())))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_link_is_attached_by_either_end_in_either_role() {
    for by_client in [true, false] {
        for role in [Role::Sender, Role::Receiver] {
            let mut pair = Pair::open();
            let session = pair.session();
            let theirs = pair.server.engine.sessions().next().expect("here").key;
            let (first, second, session) = if by_client {
                (&mut pair.client, &mut pair.server, session)
            } else {
                (&mut pair.server, &mut pair.client, theirs)
            };
            let now = pair.now;
            first.engine.attach(session, Text::from("a"), role, terms("address"), 5).expect("a free handle");
            second.feed(now, &first.written(now));
            let (link, attach) = second.expect("LinkAttached", |event| match event {
                Event::LinkAttached { link, attach } => Some((link, attach)),
                _ => None,
            });
            assert_eq!((attach.name.as_str(), attach.role), ("a", role));
            second.engine.accept(link, terms("address"), 6).expect("offered");
            assert_eq!(second.engine.accept(link, terms("address"), 6), Err(Misuse::State));
            first.feed(now, &second.written(now));
            first.expect("LinkAttached", |event| matches!(event, Event::LinkAttached { .. }).then_some(()));
            let roles: Vec<Role> =
                [&*first, &*second].iter().flat_map(|end| end.engine.links()).map(|l| l.role).collect();
            assert_ne!(roles[0], roles[1]);
        }
    }
}

#[test]
fn a_refused_link_is_attached_without_a_terminus_and_closed_with_the_error() {
    let mut pair = Pair::open();
    let session = pair.session();
    pair.client
        .engine
        .attach(session, Text::from("a"), Role::Sender, terms("nowhere"), 9)
        .expect("a free handle");
    pair.run();
    let link = pair.server.expect("LinkAttached", |event| match event {
        Event::LinkAttached { link, .. } => Some(link),
        _ => None,
    });
    pair.server.engine.refuse(link, Error::new(condition::NOT_FOUND, "no such address")).expect("offered");
    pair.run();
    pair.client.expect("LinkAttached", |event| match event {
        Event::LinkAttached { attach, .. } => {
            (attach.source.is_none() && attach.target.is_none()).then_some(())
        }
        _ => None,
    });
    let (token, closed, error) = pair.client.expect("LinkDetached", |event| match event {
        Event::LinkDetached { token, closed, error, .. } => Some((token, closed, error)),
        _ => None,
    });
    assert_eq!((token, closed), (9, true));
    assert_eq!(error.expect("a reason").condition.as_str(), condition::NOT_FOUND);
    assert_eq!(pair.client.engine.links().count() + pair.server.engine.links().count(), 0);
    assert!(pair.server.events.is_empty(), "who refused is told nothing");
}

#[test]
fn a_link_detached_before_the_answer_is_attached_and_detached_in_one_breath() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    let link = peer.offers(0, "short", Role::Sender);
    peer.says(0, detach(0, true));
    let said = peer.performatives();
    assert!(
        matches!(said[..], [Performative::Attach(_), Performative::Detach(Detach { closed: true, .. })]),
        "{said:?}"
    );
    assert_eq!(detached(&mut peer).len(), 1);
    assert_eq!(peer.end.engine.accept(link, terms("address"), 1), Err(Misuse::NoLink));
}

#[test]
fn a_link_of_ours_given_up_before_the_answer_goes_away_quietly() {
    let mut pair = Pair::open();
    let session = pair.session();
    let link = pair
        .client
        .engine
        .attach(session, Text::from("a"), Role::Sender, terms("x"), 1)
        .expect("a free handle");
    pair.client.engine.detach(link, true, None).expect("here");
    assert_eq!(pair.client.engine.detach(link, true, None), Err(Misuse::State));
    pair.run();
    assert_eq!(pair.client.engine.links().count() + pair.server.engine.links().count(), 0);
    assert!(pair.client.events.is_empty() && pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn a_name_used_again_before_the_first_attach_was_answered_gets_its_own_link() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (other, _) = pair.link(session, "other", Role::Sender);
    let first =
        pair.client.engine.attach(session, Text::from("a"), Role::Sender, terms("x"), 2).expect("a handle");
    pair.client.engine.detach(other, true, None).expect("here");
    pair.run();
    // The second link gets the lower handle, which the other one has left; the answers come in the
    // order of the attaches all the same.
    pair.client.engine.detach(first, true, None).expect("here");
    pair.client.engine.attach(session, Text::from("a"), Role::Sender, terms("x"), 3).expect("a handle");
    pair.run();
    let last = pair.server.events.drain(..).rev().find_map(|event| match event {
        Event::LinkAttached { link, .. } => Some(link),
        _ => None,
    });
    pair.server.engine.accept(last.expect("offered"), terms("x"), 4).expect("offered");
    pair.run();
    let events: Vec<Event> = pair.client.events.drain(..).collect();
    assert!(matches!(events[..], [Event::LinkAttached { .. }]), "{events:?}");
    let left: Vec<_> =
        pair.client.engine.links().map(|link| (link.name.as_str().to_owned(), link.token)).collect();
    assert_eq!(left, [("a".to_owned(), 3)]);
}

#[test]
fn detaches_that_cross_end_the_link_once() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.client.engine.detach(out, true, None).expect("here");
    pair.server.engine.detach(into, true, None).expect("here");
    pair.run();
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.engine.links().count(), 0);
        assert!(end.error.is_none() && end.events.is_empty(), "{:?}", end.events);
    }
}

#[test]
fn a_detach_is_answered_with_its_own_kind() {
    for closed in [true, false] {
        let (mut peer, link) = Peer::with_link(Role::Receiver);
        peer.says(0, detach(0, closed));
        assert_eq!(peer.performatives(), [detach(0, closed)]);
        assert_eq!(detached(&mut peer), [(Role::Receiver, 100, closed, None)]);
        assert_eq!(peer.end.engine.grant(link, 1), Err(Misuse::NoLink));
        peer.attaches(0, "link", Role::Receiver);
    }
}

/// What the peer says before its attach is answered: credit, and a wish to hear of it.
fn hasty_flow() -> Performative {
    Performative::Flow(Flow { echo: true, delivery_count: None, ..credit(0, 0, 7) })
}

#[test]
fn credit_that_comes_before_the_answer_counts_and_is_spoken_of_after_it() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    let link = peer.offers(0, "link", Role::Sender);
    peer.end.engine.name_link(link, 77).expect("offered");
    peer.says(0, hasty_flow());
    let events = peer.events();
    assert!(matches!(events[..], [Event::LinkFlow { token: 77, credit: 7, .. }]), "{events:?}");
    assert!(peer.said().is_empty(), "the peer does not know our handle");
    peer.end.engine.accept(link, terms("address"), 77).expect("offered");
    let said = peer.performatives();
    let [Performative::Attach(_), Performative::Flow(flow)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((flow.handle, flow.link_credit), (Some(0), Some(7)));
    peer.end.engine.send(link, outgoing(1, "x")).expect("credit");
    assert_eq!(peer.transfers().len(), 1);
}

#[test]
fn a_link_that_goes_before_the_answer_goes_by_its_name() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    let link = peer.offers(0, "link", Role::Sender);
    peer.end.engine.name_link(link, 77).expect("offered");
    peer.says(0, hasty_flow());
    peer.events();
    peer.says(0, detach(0, true));
    assert_eq!(detached(&mut peer), [(Role::Sender, 77, true, None)]);
    let said = peer.performatives();
    assert!(matches!(said[..], [Performative::Attach(_), Performative::Detach(_)]), "{said:?}");
    assert_eq!(peer.end.engine.accept(link, terms("address"), 77), Err(Misuse::NoLink));
    assert_eq!(peer.end.engine.name_link(link, 77), Err(Misuse::NoLink));

    let link = peer.offers(1, "link", Role::Sender);
    peer.end.engine.name_link(link, 78).expect("offered");
    peer.says(0, Performative::End(Default::default()));
    let events = peer.events();
    let [Event::SessionEnded { links, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(links[..], [(Role::Sender, 78)]);
}

#[test]
fn a_link_that_waits_for_the_peers_detach_takes_no_commands() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 5)));
    peer.end.engine.detach(link, false, None).expect("here");
    assert_eq!(peer.said().len(), 1);
    assert_eq!(peer.end.engine.send(link, outgoing(1, "x")).err(), Some(Misuse::State));
    peer.says(0, Performative::Flow(credit(0, 0, 6)));
    peer.events();
    peer.says(0, detach(0, false));
    assert!(peer.said().is_empty() && peer.events().is_empty());
    assert_eq!(peer.end.engine.send(link, outgoing(1, "x")).err(), Some(Misuse::NoLink));
}

#[test]
fn a_second_attach_of_a_name_steals_the_link() {
    for is_accepted in [true, false] {
        let (mut peer, _) = Peer::with_session(Limits::default());
        let first = peer.offers(0, "same", Role::Receiver);
        if is_accepted {
            peer.end.engine.accept(first, terms("address"), 50).expect("offered");
        }
        peer.said();
        peer.says(0, attach(1, "same", Role::Receiver));
        let said = peer.performatives();
        let detach = said.last().expect("the first link is detached");
        let Performative::Detach(detach) = detach else { panic!("{said:?}") };
        assert_eq!(detach.error.as_ref().expect("a reason").condition.as_str(), condition::LINK_STOLEN);
        assert_eq!(said.len(), if is_accepted { 1 } else { 2 }, "what was not attached is attached first");
        let events = peer.events();
        assert!(matches!(events[..], [Event::LinkDetached { .. }, Event::LinkAttached { .. }]), "{events:?}");
    }
}

#[test]
fn the_same_name_in_the_other_direction_is_another_link() {
    let (mut peer, _) = Peer::with_session(Limits::default());
    peer.attaches(0, "same", Role::Receiver);
    peer.attaches(1, "same", Role::Sender);
    assert_eq!(peer.end.engine.links().count(), 2);
}

/// What the session ends with after an attach or another frame.
fn session_error(limits: Limits, wrong: Performative) -> String {
    let (mut peer, _) = Peer::with_link_for(limits, Role::Receiver);
    peer.says(0, wrong);
    let (kind, condition) = peer.refusal();
    assert_eq!(kind, "end");
    assert!(peer.end.error.is_none(), "only the session ends");
    let ended = peer.events().into_iter().filter(|event| matches!(event, Event::SessionEnded { .. })).count();
    assert_eq!(ended, 1);
    peer.says(0, attach(9, "discarded", Role::Sender));
    assert!(peer.said().is_empty() && peer.events().is_empty());
    condition
}

#[test]
fn a_handle_in_use_ends_the_session() {
    assert_eq!(
        session_error(Limits::default(), attach(0, "other", Role::Receiver)),
        condition::HANDLE_IN_USE
    );
}

#[test]
fn a_handle_that_is_not_attached_ends_the_session() {
    for wrong in
        [Performative::Transfer(transfer(1, 0)), Performative::Flow(credit(u32::MAX, 0, 1)), detach(7, true)]
    {
        assert_eq!(session_error(Limits::default(), wrong), condition::UNATTACHED_HANDLE);
    }
}

#[test]
fn a_handle_above_handle_max_closes_the_connection() {
    for handle in [4, u32::MAX] {
        let (mut peer, _) = Peer::with_session(Limits { handle_max: 3, ..Limits::default() });
        peer.says(0, attach(handle, "other", Role::Receiver));
        assert_eq!(peer.refusal(), ("close", condition::FRAMING_ERROR.into()));
    }
}

#[test]
fn a_senders_attach_without_initial_delivery_count_ends_the_session() {
    let attach = Attach { initial_delivery_count: None, ..attach_frame(1, "other", Role::Receiver) };
    assert_eq!(
        session_error(Limits::default(), Performative::Attach(Box::new(attach))),
        condition::INVALID_FIELD
    );
}

#[test]
fn a_link_name_that_is_too_long_ends_the_session() {
    let limits = Limits { max_name_length: 100, ..Limits::default() };
    let name = "x".repeat(101);
    assert_eq!(session_error(limits, attach(1, &name, Role::Receiver)), condition::RESOURCE_LIMIT_EXCEEDED);
}

#[test]
fn an_address_that_is_too_long_is_refused_without_asking_anybody() {
    let (mut peer, _) = Peer::with_session(Limits { max_name_length: 100, ..Limits::default() });
    let long = terms(&"x".repeat(101));
    let attach = Attach { target: long.target, ..attach_frame(0, "a", Role::Receiver) };
    peer.says(0, Performative::Attach(Box::new(attach)));
    assert_eq!(peer.refusal(), ("detach", condition::RESOURCE_LIMIT_EXCEEDED.into()));
    assert!(peer.events().is_empty());
    peer.says(0, detach(0, true));
    assert_eq!(peer.end.engine.links().count(), 0);
}

#[test]
fn a_peer_that_opens_65535_handles_gets_as_many_as_handle_max_says() {
    let (mut peer, _) = Peer::with_session(Limits { handle_max: 9, ..Limits::default() });
    let mut attached = 0;
    for handle in 0..65_535 {
        peer.says(0, attach(handle, &format!("link {handle}"), Role::Receiver));
        attached += peer.events().iter().filter(|event| matches!(event, Event::LinkAttached { .. })).count();
    }
    assert_eq!(attached, 10);
    assert_eq!(peer.refusal(), ("close", condition::FRAMING_ERROR.into()));
    assert!(peer.end.engine.is_done());
}

#[test]
fn links_whose_detach_is_never_answered_use_handles_up() {
    let (mut peer, _) = Peer::with_session(Limits { handle_max: 3, ..Limits::default() });
    for handle in 0..4 {
        let link = peer.offers(handle, &format!("link {handle}"), Role::Receiver);
        peer.end.engine.refuse(link, Error::new(condition::NOT_FOUND, "no")).expect("offered");
    }
    peer.said();
    assert_eq!(peer.end.engine.sessions().next().expect("here").links, 4);
    peer.says(0, attach(4, "one more", Role::Receiver));
    assert_eq!(peer.refusal(), ("close", condition::FRAMING_ERROR.into()));
}

#[test]
fn we_stay_within_the_peers_handle_max() {
    let mut peer = Peer::server(Limits::default());
    let session = peer.begins(0, Begin { handle_max: Some(1), ..begin() });
    for name in ["a", "b"] {
        peer.end.engine.attach(session, Text::from(name), Role::Sender, terms("x"), 1).expect("two handles");
    }
    assert_eq!(
        peer.end.engine.attach(session, Text::from("c"), Role::Sender, terms("x"), 1),
        Err(Misuse::NoHandle)
    );
}

#[test]
fn what_an_attach_offers_arrives_as_it_was_said() {
    let mut pair = Pair::open();
    let session = pair.session();
    let theirs = Terms { max_message_size: Some(1_234), ..terms("granted") };
    pair.client
        .engine
        .attach(session, Text::from("a"), Role::Sender, terms("asked"), 1)
        .expect("a free handle");
    pair.run();
    let link = pair.server.expect("LinkAttached", |event| match event {
        Event::LinkAttached { link, attach } => {
            assert_eq!(attach.initial_delivery_count, Some(0));
            Some(link)
        }
        _ => None,
    });
    pair.server.engine.accept(link, theirs, 2).expect("offered");
    pair.run();
    pair.client.expect("LinkAttached", |event| match event {
        Event::LinkAttached { attach, .. } => {
            assert_eq!(attach.max_message_size, Some(1_234));
            let Some(Target::Node(target)) = attach.target.as_deref() else { panic!("{attach:?}") };
            assert_eq!(target.address.as_ref().map(Text::as_str), Some("granted"));
            Some(())
        }
        _ => None,
    });
}

#[test]
fn deliveries_that_wait_for_the_window_leave_no_gap_in_the_ids_when_their_link_is_detached() {
    for by_peer in [true, false] {
        let (mut peer, first) = Peer::with_link(Role::Sender);
        let second = peer.attaches(1, "other", Role::Sender);
        for handle in [0, 1] {
            peer.says(0, Performative::Flow(Flow { incoming_window: 2, ..credit(handle, 0, 100) }));
        }
        peer.said();
        peer.events();
        // Written: 0 and 1. Waiting: 2 and 4 on the first link, 3 and 5 on the second.
        for (token, link) in (0..).zip([first, second, first, second, first, second]) {
            peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
        }
        assert_eq!(peer.transfers().len(), 2);
        if by_peer {
            peer.says(0, detach(0, true));
        } else {
            peer.end.engine.detach(first, true, None).expect("here");
        }
        assert!(peer.said().is_empty(), "the detach waits behind the transfers of its link");
        peer.says(0, Performative::Flow(Flow { next_incoming_id: Some(2), incoming_window: 100, ..flow() }));
        let said = peer.performatives();
        let ids: Vec<(u32, Option<u32>, bool)> = said
            .iter()
            .filter_map(|performative| match performative {
                Performative::Transfer(transfer) => {
                    Some((transfer.handle, transfer.delivery_id, transfer.aborted))
                }
                _ => None,
            })
            .collect();
        let expected = [(0, Some(2), true), (1, Some(3), false), (0, Some(4), true), (1, Some(5), false)];
        assert_eq!(ids, expected);
        assert_eq!(said.iter().filter(|said| **said == detach(0, true)).count(), 1);
        if !by_peer {
            peer.says(0, detach(0, true));
        }
        assert_eq!(peer.end.engine.links().count(), 1);
        assert_eq!(peer.end.engine.pending_bytes(second.session), 0);
    }
}

#[test]
fn a_delivery_that_has_begun_is_aborted_before_the_waiting_ones_of_its_detached_link() {
    let mut pair = Pair::open_with(
        Limits::default(),
        Limits { max_frame_size: 512, incoming_window: 2, ..Limits::default() },
    );
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    for token in 0..3 {
        pair.client.engine.send(out, outgoing(token, vec![0; 5_000])).expect("credit");
    }
    pair.client.engine.detach(out, true, None).expect("here");
    for _ in 0..5 {
        pair.run();
        let frames = pair.server.events.drain(..).filter(|event| matches!(event, Event::Transfer(_))).count();
        let theirs = pair.server.engine.sessions().next().expect("the session goes on").key;
        // The frames that ended nothing were consumed by the engine itself.
        pair.server.engine.consume(theirs, u32::try_from(frames).expect("few")).expect("here");
    }
    assert_eq!(pair.client.engine.links().count() + pair.server.engine.links().count(), 0);
    assert_eq!(pair.client.engine.pending_bytes(session), 0);
    assert!(!pair.client.events.iter().any(|event| matches!(event, Event::SessionEnded { .. })));
}

#[test]
fn a_peer_that_attaches_and_detaches_with_its_window_shut_is_stopped() {
    let (mut peer, session) = Peer::with_session(Limits { handle_max: 5, ..Limits::default() });
    for round in 0..100 {
        peer.says(0, attach(0, "again", Role::Sender));
        let Some(link) = peer.events().into_iter().find_map(|event| match event {
            Event::LinkAttached { link, .. } => Some(link),
            _ => None,
        }) else {
            assert!(round > 5);
            assert_eq!(peer.refusal(), ("end", condition::RESOURCE_LIMIT_EXCEEDED.into()));
            assert_eq!(peer.end.engine.pending_bytes(session), 0);
            return;
        };
        peer.end.engine.accept(link, terms("x"), 1).expect("offered");
        peer.says(0, Performative::Flow(Flow { incoming_window: 0, ..credit(0, 0, 100) }));
        for token in 0..10 {
            peer.end.engine.send(link, outgoing(token, "x")).expect("credit");
        }
        peer.says(0, detach(0, true));
        peer.said();
    }
    panic!("links pile up: {:?}", peer.end.engine.sessions().next());
}
