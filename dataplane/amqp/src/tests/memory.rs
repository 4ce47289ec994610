//! What a connection keeps when nothing happens.

use bytes::Bytes;

use super::pair::{Pair, outgoing};
use crate::performative::{DeliveryState, Role};
use crate::{Event, Limits};

#[test]
fn an_idle_connection_holds_no_buffers_after_heavy_traffic() {
    let mut pair = Pair::open_with(Limits::default(), Limits { incoming_window: 64, ..Limits::default() });
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10_000).expect("receiving");
    pair.run();
    let body = Bytes::from(vec![0; 20_000]);
    for token in 0..2_000 {
        pair.client.engine.send(out, outgoing(token, body.clone())).expect("credit");
    }
    let mut settled = 0;
    while settled < 2_000 {
        pair.run();
        let mut frames = 0;
        for event in pair.server.events.drain(..) {
            let Event::Transfer(got) = event else { continue };
            frames += 1;
            if !got.more {
                let state = Some(DeliveryState::Accepted);
                pair.server.engine.settle(Role::Receiver, got.delivery, state, true).expect("here");
            }
        }
        assert!(frames > 0, "stuck after {settled}");
        let theirs = pair.server.engine.session_of_link(into).expect("here");
        pair.server.engine.consume(theirs, frames).expect("here");
        pair.run();
        settled +=
            pair.client.events.drain(..).filter(|event| matches!(event, Event::Disposition { .. })).count();
    }
    for end in [&mut pair.client, &mut pair.server] {
        assert!(end.engine.spare_capacity() > 0, "there was traffic");
        end.engine.shrink();
        assert_eq!(end.engine.spare_capacity(), 0);
        assert_eq!(end.engine.buffered(), 0);
    }
}

#[test]
fn shrinking_in_the_middle_of_a_turn_forgets_no_settlement() {
    let mut pair = Pair::open();
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 10).expect("receiving");
    pair.run();
    for token in 0..2 {
        pair.client.engine.send(out, outgoing(token, "x")).expect("credit");
        pair.run();
        let delivery = pair.server.expect("Transfer", |event| match event {
            Event::Transfer(got) => Some(got.delivery),
            _ => None,
        });
        pair.server
            .engine
            .settle(Role::Receiver, delivery, Some(DeliveryState::Accepted), true)
            .expect("here");
        pair.server.engine.shrink();
        pair.run();
        pair.client.expect("Disposition", |event| matches!(event, Event::Disposition { .. }).then_some(()));
    }
}
