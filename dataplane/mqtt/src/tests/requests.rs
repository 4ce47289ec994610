//! SUBSCRIBE, UNSUBSCRIBE and their answers (3.8 to 3.11).

use super::pair::{NONE, Pair, Peer, VERSIONS, properties};
use crate::packet::{RetainHandling, SubscriptionOptions};
use crate::property::PropertyIn;
use crate::topic::TopicError;
use crate::{Blocked, Config, Event, Misuse, PeerError, Qos, ReasonCode, Version};

#[test]
fn a_subscription_arrives_with_its_options_and_is_answered_filter_by_filter() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let all = SubscriptionOptions {
            qos: Qos::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::Never,
        };
        let identifier = properties(PropertyIn::Subscribe, |writer| {
            writer.subscription_identifier(268_435_455).expect("allowed");
        });
        let filters = [("a/+", all), ("$share/g/#", SubscriptionOptions::new(Qos::AtLeastOnce))];
        let sent = pair.client.engine.subscribe(&filters, identifier.view()).expect("open");
        pair.run();
        let Event::Subscribe(packet) = pair.server.event() else { panic!("a SUBSCRIBE") };
        let is_v5 = version == Version::V5_0;
        let expected = if is_v5 { all } else { SubscriptionOptions::new(Qos::ExactlyOnce) };
        assert_eq!(packet.packet_id, sent);
        assert_eq!(packet.subscriptions[0].filter, "a/+");
        assert_eq!(packet.subscriptions[0].options, expected);
        assert_eq!(packet.subscriptions[1].filter, "$share/g/#");
        let identifiers: Vec<u32> = packet.properties.view().subscription_identifiers().collect();
        assert_eq!(identifiers, if is_v5 { vec![268_435_455] } else { vec![] });
        let reasons = [ReasonCode::GrantedQos2, ReasonCode::NotAuthorized];
        pair.server.engine.suback(sent, &reasons, NONE()).expect("open");
        pair.run();
        let Event::SubAck(packet) = pair.client.event() else { panic!("a SUBACK") };
        let refused = if is_v5 { ReasonCode::NotAuthorized } else { ReasonCode::UnspecifiedError };
        assert_eq!(packet.reasons, [ReasonCode::GrantedQos2, refused]);

        let sent = pair.client.engine.unsubscribe(&["a/+"], NONE()).expect("open");
        pair.run();
        let Event::Unsubscribe(packet) = pair.server.event() else { panic!("an UNSUBSCRIBE") };
        assert_eq!((packet.packet_id, packet.filters[0].as_str()), (sent, "a/+"));
        pair.server.engine.unsuback(sent, &[ReasonCode::NoSubscriptionExisted], NONE()).expect("open");
        pair.run();
        let Event::UnsubAck(packet) = pair.client.event() else { panic!("an UNSUBACK") };
        assert_eq!(packet.reasons, if is_v5 { vec![ReasonCode::NoSubscriptionExisted] } else { vec![] });
        assert!(pair.client.engine.session_state().is_empty());
    }
}

#[test]
fn an_answer_has_a_reason_for_each_filter() {
    for answer in [&b"\x90\x04\0\x01\0\0"[..], b"\x90\x06\0\x01\0\0\0\0", b"\xb0\x05\0\x01\0\0\0"] {
        let mut peer = Peer::open_client(Version::V5_0, Config::default());
        let options = SubscriptionOptions::default();
        peer.end.engine.subscribe(&[("a", options), ("b", options)], NONE()).expect("open");
        peer.send(answer);
        let reason = peer.end.error.as_ref().map(PeerError::reason);
        assert_eq!(reason, Some(ReasonCode::ProtocolError), "{answer:02x?}");
    }
}

#[test]
fn a_wrong_request_is_not_sent() {
    let mut pair = Pair::open(Version::V5_0);
    let options = SubscriptionOptions::default();
    let no_local = SubscriptionOptions { no_local: true, ..options };
    let client = &mut pair.client.engine;
    assert_eq!(client.subscribe(&[], NONE()), Err(Blocked::Topic(TopicError::Empty)));
    assert_eq!(
        client.subscribe(&[("a#", options)], NONE()),
        Err(Blocked::Topic(TopicError::MultiLevelPlace))
    );
    assert_eq!(client.subscribe(&[("$share/g/t", no_local)], NONE()), Err(Blocked::SharedNoLocal));
    assert_eq!(client.unsubscribe(&["+a"], NONE()), Err(Blocked::Topic(TopicError::SingleLevelPlace)));
    assert_eq!(client.suback(crate::PacketId::FIRST, &[ReasonCode::Success], NONE()), Err(Misuse::WrongSide));
    assert_eq!(client.buffered(), 0);
    let server = &mut pair.server.engine;
    assert_eq!(server.subscribe(&[("a", options)], NONE()), Err(Blocked::NotOpen));
    let wrong = ReasonCode::ServerMoved;
    assert_eq!(server.suback(crate::PacketId::FIRST, &[wrong], NONE()), Err(Misuse::Reason(wrong)));
    assert!(server.suback(crate::PacketId::FIRST, &[], NONE()).is_err());
}

#[test]
fn what_a_message_carries_is_replaced_for_its_next_hop() {
    let mut pair = Pair::open(Version::V5_0);
    let said = properties(PropertyIn::Publish, |writer| {
        writer.user_property("a", "1").expect("allowed");
        writer.message_expiry_interval(100).expect("allowed");
        writer.subscription_identifier(5).expect("allowed");
        writer.user_property("b", "2").expect("allowed");
        writer.subscription_identifier(6).expect("allowed");
        writer.correlation_data(&[0, 255]).expect("allowed");
    });
    let body = bytes::Bytes::new();
    let message = crate::Outgoing {
        properties: said.view(),
        message_expiry: Some(40),
        subscription_identifiers: &[1, 300],
        ..crate::Outgoing::new("t", &body)
    };
    pair.server.engine.publish(&message).expect("open");
    pair.run();
    let publish = pair.client.publish_event();
    let got = publish.properties();
    assert_eq!(got.message_expiry_interval(), Some(40));
    assert_eq!(got.subscription_identifiers().collect::<Vec<_>>(), [1, 300]);
    assert_eq!(got.user_properties().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!(got.correlation_data(), Some(&[0, 255][..]));
    // What the message itself said stays where nothing replaces it.
    let message = crate::Outgoing { message_expiry: None, subscription_identifiers: &[], ..message };
    pair.server.engine.publish(&message).expect("open");
    pair.run();
    let publish = pair.client.publish_event();
    assert_eq!(publish.properties().message_expiry_interval(), Some(100));
    assert_eq!(publish.properties().subscription_identifiers().count(), 0);
}

#[test]
fn a_will_becomes_a_publication_without_its_delay() {
    let mut pair = Pair::open(Version::V5_0);
    let of_will = properties(PropertyIn::Will, |writer| {
        writer.will_delay_interval(5).expect("allowed");
        writer.content_type("text/plain").expect("allowed");
    });
    let body = bytes::Bytes::new();
    let message = crate::Outgoing { properties: of_will.view(), ..crate::Outgoing::new("t", &body) };
    pair.server.engine.publish(&message).expect("open");
    pair.run();
    assert_eq!(pair.client.publish_event().properties().content_type(), Some("text/plain"));
}

#[test]
fn a_subscription_identifier_out_of_range_is_not_sent() {
    let mut pair = Pair::open(Version::V5_0);
    let body = bytes::Bytes::new();
    for identifier in [0, 268_435_456] {
        let identifiers = [identifier];
        let message =
            crate::Outgoing { subscription_identifiers: &identifiers, ..crate::Outgoing::new("t", &body) };
        assert!(matches!(pair.server.engine.publish(&message), Err(Blocked::Property(_))));
    }
    assert_eq!(pair.server.engine.buffered(), 0);
}
