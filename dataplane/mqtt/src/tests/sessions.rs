//! What survives a connection (4.1, 4.4).

use bytes::Bytes;

use super::pair::{NONE, Pair, VERSIONS, connect, limits, message};
use crate::packet::Connect;
use crate::{
    Accept, Blocked, Config, Event, OutgoingState, PacketId, Qos, ReasonCode, SessionState, Unacknowledged,
    Version,
};

static BODY: Bytes = Bytes::from_static(b"x");

/// Publishes with each QoS in turn, and gives the identifiers.
fn publish(pair: &mut Pair, qos: &[Qos]) -> Vec<PacketId> {
    let publish = |(token, qos): (usize, &Qos)| {
        let message = crate::Outgoing { token: token as u64, ..message("t", &BODY, *qos) };
        pair.client.engine.publish(&message).expect("open").expect("QoS 1 or 2")
    };
    qos.iter().enumerate().map(publish).collect()
}

fn configs() -> [Config; 2] {
    [Config::default(), Config::default()]
}

#[test]
fn publications_are_sent_again_in_their_order_and_before_new_ones() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let ids = publish(&mut pair, &[Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]);
        let state = pair.client.engine.session_state();
        let expected: Vec<_> = [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce]
            .iter()
            .zip(&ids)
            .enumerate()
            .map(|(token, (qos, packet_id))| Unacknowledged {
                packet_id: *packet_id,
                token: token as u64,
                state: OutgoingState::Published(*qos),
            })
            .collect();
        assert_eq!(state.outgoing, expected);

        let mut pair = Pair::resume(version, configs(), [state, SessionState::default()]);
        let fresh = message("t", &BODY, Qos::AtLeastOnce);
        assert_eq!(pair.client.engine.publish(&fresh), Err(Blocked::Resend));
        assert_eq!(pair.client.engine.resend(ids[1], &fresh), Err(Blocked::Resend), "not its turn");
        for packet_id in &ids {
            assert_eq!(pair.client.engine.next_unsent().map(|unsent| unsent.packet_id), Some(*packet_id));
            pair.client.engine.resend(*packet_id, &message("t", &BODY, Qos::AtMostOnce)).expect("its turn");
        }
        let new = pair.client.engine.publish(&fresh).expect("all were sent again").expect("QoS 1");
        assert!(!ids.contains(&new));
        pair.run();
        for (packet_id, unacknowledged) in ids.iter().zip(&expected) {
            let publish = pair.server.publish_event();
            assert_eq!((publish.packet_id, publish.duplicate), (Some(*packet_id), true));
            assert_eq!(OutgoingState::Published(publish.qos), unacknowledged.state);
        }
        assert!(!pair.server.publish_event().duplicate);
    }
}

#[test]
fn what_was_received_is_released_when_that_is_said_and_never_published_again() {
    let manual = || Config { automatic_release: false, ..Config::default() };
    for was_released in [false, true] {
        let mut pair = Pair::open_with(&connect(Version::V5_0), manual(), manual());
        let sent = publish(&mut pair, &[Qos::ExactlyOnce])[0];
        pair.run();
        pair.server.publish_event();
        pair.server.engine.acknowledge(sent, ReasonCode::Success, NONE()).expect("it waits");
        pair.run();
        assert!(matches!(pair.client.event(), Event::Received { .. }));
        if was_released {
            pair.client.engine.release(sent).expect("received");
        }
        let states = [pair.client.engine.session_state(), pair.server.engine.session_state()];
        let state = if was_released { OutgoingState::Released } else { OutgoingState::Received };
        assert_eq!(states[0].outgoing[0].state, state);
        assert_eq!(states[1].incoming, [sent]);

        let mut pair = Pair::resume(Version::V5_0, [manual(), manual()], states);
        assert_eq!(pair.client.engine.next_unsent(), None);
        let before = pair.client.engine.window();
        pair.run();
        if !was_released {
            assert!(pair.server.events.is_empty(), "nobody has said yet that the client may forget it");
            pair.client.engine.release(sent).expect("received on the connection before");
            pair.run();
        }
        assert!(matches!(pair.server.event(), Event::Released { packet_id } if packet_id == sent));
        pair.server.engine.complete(sent).expect("released");
        pair.run();
        assert!(matches!(pair.client.event(), Event::Completed { .. }));
        // 4.9: what did not count does not count back.
        assert_eq!(pair.client.engine.window(), before);
    }
}

#[test]
fn a_publication_taken_before_the_connection_broke_is_not_told_again() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let sent = publish(&mut pair, &[Qos::ExactlyOnce])[0];
        pair.run();
        pair.server.publish_event();
        let of_client = pair.client.engine.session_state();
        pair.server.engine.acknowledge(sent, ReasonCode::Success, NONE()).expect("it waits");
        // The PUBREC is lost.
        let of_server = pair.server.engine.session_state();
        let mut pair = Pair::resume(version, configs(), [of_client, of_server]);
        pair.client.engine.resend(sent, &message("t", &BODY, Qos::ExactlyOnce)).expect("its turn");
        pair.run();
        assert!(matches!(pair.server.event(), Event::Released { .. }));
        assert!(pair.server.events.is_empty());
    }
}

#[test]
fn a_publication_that_was_not_taken_is_told_again() {
    let mut pair = Pair::open(Version::V5_0);
    let sent = publish(&mut pair, &[Qos::ExactlyOnce])[0];
    pair.run();
    pair.server.publish_event();
    let states = [pair.client.engine.session_state(), pair.server.engine.session_state()];
    assert!(states[1].is_empty());
    let mut pair = Pair::resume(Version::V5_0, configs(), states);
    pair.client.engine.resend(sent, &message("t", &BODY, Qos::ExactlyOnce)).expect("its turn");
    pair.run();
    assert!(pair.server.publish_event().duplicate);
}

#[test]
fn what_is_acknowledged_after_the_end_is_in_the_session_state() {
    let mut pair = Pair::open(Version::V5_0);
    let sent = publish(&mut pair, &[Qos::ExactlyOnce])[0];
    pair.run();
    pair.server.publish_event();
    pair.server.engine.disconnect(ReasonCode::ServerShuttingDown, NONE()).expect("open");
    pair.server.engine.acknowledge(sent, ReasonCode::Success, NONE()).expect("it waits");
    assert_eq!(pair.server.engine.session_state().incoming, [sent]);
    let said = super::pair::drain(&mut pair.server.engine, pair.now);
    assert_eq!(said, [0xe0, 1, 0x8b], "nothing follows a DISCONNECT");
}

#[test]
fn a_client_forgets_its_state_when_the_server_has_no_session() {
    let mut pair = Pair::open(Version::V5_0);
    publish(&mut pair, &[Qos::AtLeastOnce, Qos::ExactlyOnce]);
    let state = pair.client.engine.session_state();
    let connect = Connect { clean_start: false, ..connect(Version::V5_0) };
    let mut pair = Pair::new(&connect, Config::default(), Config::default(), state);
    pair.let_in(Accept::default());
    assert!(pair.client.engine.session_state().is_empty());
    publish(&mut pair, &[Qos::AtLeastOnce]);
}

#[test]
fn a_forgotten_publication_makes_way_for_the_next() {
    let mut pair = Pair::open(Version::V5_0);
    let ids = publish(&mut pair, &[Qos::AtLeastOnce, Qos::AtLeastOnce]);
    let state = pair.client.engine.session_state();
    let mut pair = Pair::resume(Version::V5_0, configs(), [state, SessionState::default()]);
    assert!(pair.client.engine.forget(ids[0]));
    assert!(!pair.client.engine.forget(ids[0]));
    pair.client.engine.resend(ids[1], &message("t", &BODY, Qos::AtLeastOnce)).expect("its turn");
    assert!(!pair.client.engine.forget(ids[1]), "it is under way");
}

#[test]
fn resending_keeps_to_the_window_of_the_new_connection() {
    let mut pair = Pair::open(Version::V5_0);
    let ids = publish(&mut pair, &[Qos::AtLeastOnce, Qos::AtLeastOnce, Qos::AtLeastOnce]);
    let state = pair.client.engine.session_state();
    let server = limits(|limits| limits.receive_maximum = 2);
    let sessions = [state, SessionState::default()];
    let mut pair = Pair::resume(Version::V5_0, [Config::default(), server], sessions);
    let again = message("t", &BODY, Qos::AtLeastOnce);
    pair.client.engine.resend(ids[0], &again).expect("its turn");
    pair.client.engine.resend(ids[1], &again).expect("its turn");
    assert_eq!(pair.client.engine.resend(ids[2], &again), Err(Blocked::Window));
    pair.run();
    pair.server.engine.acknowledge(ids[0], ReasonCode::Success, NONE()).expect("it waits");
    pair.run();
    pair.client.engine.resend(ids[2], &again).expect("its turn");
    pair.run();
    assert!(pair.server.error.is_none());
}

#[test]
fn a_session_state_that_names_an_identifier_twice_does_not_block() {
    let unacknowledged = Unacknowledged {
        packet_id: PacketId::FIRST,
        token: 1,
        state: OutgoingState::Published(Qos::AtLeastOnce),
    };
    let state = SessionState { outgoing: vec![unacknowledged; 2], incoming: Vec::new() };
    let mut pair = Pair::resume(Version::V5_0, configs(), [state, SessionState::default()]);
    pair.client.engine.resend(PacketId::FIRST, &message("t", &BODY, Qos::AtLeastOnce)).expect("its turn");
    assert!(pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce)).is_ok());
}

#[test]
fn the_order_of_a_session_is_that_of_sending_and_not_of_identifiers() {
    let sent = |number| Unacknowledged {
        packet_id: PacketId::new(number).expect("not 0"),
        token: number.into(),
        state: OutgoingState::Published(Qos::AtLeastOnce),
    };
    let state = SessionState { outgoing: vec![sent(7), sent(3), sent(65_534)], incoming: Vec::new() };
    let mut pair = Pair::resume(Version::V5_0, configs(), [state, SessionState::default()]);
    for number in [7, 3, 65_534] {
        let again = message("t", &BODY, Qos::AtLeastOnce);
        pair.client.engine.resend(sent(number).packet_id, &again).expect("its turn");
    }
    publish(&mut pair, &[Qos::AtLeastOnce, Qos::AtLeastOnce]);
    let order: Vec<u16> = pair
        .client
        .engine
        .session_state()
        .outgoing
        .iter()
        .map(|unacknowledged| unacknowledged.packet_id.to_number())
        .collect();
    assert_eq!(order, [7, 3, 65_534, 65_535, 1]);
}
