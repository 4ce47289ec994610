//! Protocol headers, SASL, open, begin (AMQP 2.2, 2.4, 5.3).

use bytes::Bytes;

use super::pair::{config, sasl};
use super::peer::*;
use crate::frame::{HEARTBEAT, ProtocolHeader};
use crate::performative::{Begin, Close, Error, Open, Performative, Role, SaslCode, SaslFrame};
use crate::value::{Symbol, Text};
use crate::{Config, Event, Limits, Misuse, PeerError, Side, condition};

fn with_sasl(allow_plain_header: bool) -> Config {
    Config {
        mechanisms: sasl(&["ANONYMOUS", "PLAIN"]),
        allow_plain_header,
        ..config("server", Limits::default())
    }
}

fn init(mechanism: &'static str) -> SaslFrame {
    SaslFrame::Init { mechanism: Symbol::from_static(mechanism), initial_response: None, hostname: None }
}

fn open(open: Open) -> Performative {
    Performative::Open(Box::new(open))
}

#[test]
fn a_wrong_header_is_answered_with_ours_and_ends_the_connection() {
    for wrong in
        [&b"HTTP/1.1"[..], b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x00", b"\x16\x03\x01\x02\x00\x01\x00"]
    {
        let mut peer = Peer::new(config("server", Limits::default()), Side::Server);
        peer.feed(wrong);
        assert!(matches!(peer.end.error, Some(PeerError::Header(_))), "{wrong:?}: {:?}", peer.end.error);
        assert!(peer.end.engine.is_done());
        assert_eq!(peer.said(), [Said::Header(ProtocolHeader::Amqp)]);
    }
}

#[test]
fn a_tls_header_is_refused() {
    let mut peer = Peer::new(with_sasl(false), Side::Server);
    peer.feed(&ProtocolHeader::Tls.encode());
    assert_eq!(peer.said(), [Said::Header(ProtocolHeader::Sasl)]);
    assert!(peer.end.engine.is_done());
}

#[test]
fn a_client_without_sasl_is_told_that_sasl_comes_first() {
    let mut peer = Peer::new(with_sasl(false), Side::Server);
    peer.feed(&ProtocolHeader::Amqp.encode());
    assert_eq!(peer.said(), [Said::Header(ProtocolHeader::Sasl)]);
    assert!(peer.end.engine.is_done());
}

#[test]
fn sasl_is_refused_where_it_is_not_spoken() {
    let mut peer = Peer::new(config("server", Limits::default()), Side::Server);
    peer.feed(&ProtocolHeader::Sasl.encode());
    assert_eq!(peer.said(), [Said::Header(ProtocolHeader::Amqp)]);
    assert!(peer.end.engine.is_done());
}

#[test]
fn a_mechanism_that_is_not_offered_fails_the_exchange() {
    let mut peer = Peer::new(with_sasl(true), Side::Server);
    peer.feed(&ProtocolHeader::Sasl.encode());
    peer.said();
    peer.says_sasl(&init("EXTERNAL"));
    assert_eq!(peer.said(), [Said::Sasl(SaslFrame::Outcome { code: SaslCode::Auth, additional_data: None })]);
    assert!(peer.end.engine.is_done() && peer.end.error.is_some());
}

#[test]
fn a_refused_client_gets_the_outcome_and_nothing_more() {
    let mut peer = Peer::new(with_sasl(true), Side::Server);
    peer.feed(&ProtocolHeader::Sasl.encode());
    peer.says_sasl(&init("PLAIN"));
    peer.said();
    peer.end.engine.sasl_outcome(SaslCode::Auth, None).expect("asked for");
    peer.feed(&ProtocolHeader::Amqp.encode());
    assert_eq!(peer.said(), [Said::Sasl(SaslFrame::Outcome { code: SaslCode::Auth, additional_data: None })]);
    assert!(peer.end.engine.is_done());
}

#[test]
fn a_response_before_an_init_authenticates_nobody() {
    let mut peer = Peer::new(with_sasl(true), Side::Server);
    peer.feed(&ProtocolHeader::Sasl.encode());
    peer.says_sasl(&SaslFrame::Response(Bytes::from_static(b"\0user\0secret")));
    assert!(peer.events().is_empty());
    assert!(peer.end.engine.is_done() && peer.end.error.is_some());
}

#[test]
fn a_second_init_ends_the_exchange() {
    let mut peer = Peer::new(with_sasl(true), Side::Server);
    peer.feed(&ProtocolHeader::Sasl.encode());
    peer.says_sasl(&init("PLAIN"));
    peer.end.engine.sasl_challenge(Bytes::new()).expect("asked for");
    peer.says_sasl(&init("ANONYMOUS"));
    assert_eq!(peer.events().len(), 1, "one init");
    assert!(peer.end.engine.is_done() && peer.end.error.is_some());
}

#[test]
fn a_client_takes_no_outcome_before_the_mechanisms() {
    let config = Config { allow_plain_header: false, ..config("client", Limits::default()) };
    let mut peer = Peer::new(config, Side::Client);
    peer.feed(&ProtocolHeader::Sasl.encode());
    peer.says_sasl(&SaslFrame::Outcome { code: SaslCode::Ok, additional_data: None });
    assert!(peer.end.error.is_some() && peer.end.engine.is_done());
}

#[test]
fn a_client_may_send_everything_at_once() {
    let mut peer = Peer::new(with_sasl(false), Side::Server);
    let mut all = ProtocolHeader::Sasl.encode().to_vec();
    all.extend_from_slice(&sasl_frame(&init("ANONYMOUS")));
    all.extend_from_slice(&ProtocolHeader::Amqp.encode());
    all.extend_from_slice(&frame(0, &open(Open::default()), b""));
    all.extend_from_slice(&frame(0, &Performative::Begin(Box::new(begin())), b""));
    all.extend_from_slice(&frame(0, &attach(0, "link", Role::Sender), b""));
    peer.feed(&all);
    peer.end.expect("SaslInit", |event| matches!(event, Event::SaslInit { .. }).then_some(()));
    assert!(peer.end.events.is_empty(), "nothing is taken before the answer");
    peer.end.engine.sasl_outcome(SaslCode::Ok, None).expect("asked for");
    peer.feed(b"");
    peer.end.expect("Opened", |event| matches!(event, Event::Opened(_)).then_some(()));
    assert!(peer.end.events.is_empty(), "nothing is taken before the answer");
    peer.end.engine.open().expect("asked for");
    peer.feed(b"");
    peer.end.expect("LinkAttached", |event| matches!(event, Event::LinkAttached { .. }).then_some(()));
    let said = peer.said();
    assert!(
        matches!(
            said[..],
            [
                Said::Header(ProtocolHeader::Sasl),
                Said::Sasl(SaslFrame::Mechanisms(_)),
                Said::Sasl(SaslFrame::Outcome { code: SaslCode::Ok, .. }),
                Said::Header(ProtocolHeader::Amqp),
                Said::Frame(0, Performative::Open(_), _),
                Said::Frame(0, Performative::Begin(_), _),
            ]
        ),
        "{said:?}"
    );
}

#[test]
fn a_second_open_closes_the_connection() {
    let mut peer = Peer::server(Limits::default());
    peer.says(0, open(Open::default()));
    assert_eq!(peer.refusal(), ("close", condition::NOT_ALLOWED.into()));
    assert!(peer.end.engine.is_done());
}

#[test]
fn a_frame_before_the_open_is_answered_with_open_and_close() {
    let mut peer = Peer::new(config("server", Limits::default()), Side::Server);
    peer.feed(&ProtocolHeader::Amqp.encode());
    peer.says(0, Performative::Begin(Box::new(begin())));
    let said = peer.performatives();
    assert!(matches!(said[..], [Performative::Open(_), Performative::Close(_)]), "{said:?}");
    assert_eq!(peer.end.error.as_ref().map(PeerError::condition), Some(condition::NOT_ALLOWED));
}

#[test]
fn a_sasl_frame_on_an_open_connection_is_a_framing_error() {
    let mut peer = Peer::server(Limits::default());
    peer.says_sasl(&init("ANONYMOUS"));
    assert_eq!(peer.refusal(), ("close", condition::FRAMING_ERROR.into()));
}

#[test]
fn an_open_that_cannot_be_served_is_refused_with_the_reason() {
    for (wrong, expected) in [
        (Open { max_frame_size: Some(511), ..Open::default() }, condition::INVALID_FIELD),
        (Open { idle_time_out: Some(1), ..Open::default() }, condition::NOT_ALLOWED),
    ] {
        let mut peer = Peer::new(config("server", Limits::default()), Side::Server);
        peer.feed(&ProtocolHeader::Amqp.encode());
        peer.says(0, open(wrong));
        assert_eq!(peer.refusal(), ("close", expected.into()));
        assert!(peer.end.engine.is_done() && peer.events().is_empty());
    }
}

#[test]
fn a_frame_larger_than_promised_closes_the_connection() {
    let mut peer = Peer::server(Limits { max_frame_size: 512, ..Limits::default() });
    peer.feed(&513_u32.to_be_bytes());
    assert_eq!(peer.refusal(), ("close", condition::FRAMING_ERROR.into()));
}

#[test]
fn what_cannot_be_decoded_closes_with_the_condition_of_its_fault() {
    // A begin (0x11) without its fields, one whose first field is no channel, and no performative.
    let bodies: [(&[u8], &str); 3] = [
        (&[0x00, 0x53, 0x11, 0x45], condition::INVALID_FIELD),
        (&[0x00, 0x53, 0x11, 0xc0, 0x03, 0x01, 0xa1, 0x00], condition::DECODE_ERROR),
        (&[0x00, 0x53, 0x77, 0x45], condition::DECODE_ERROR),
    ];
    for (body, expected) in bodies {
        let mut peer = Peer::server(Limits::default());
        let size = u32::try_from(body.len() + 8).expect("small");
        peer.feed(&size.to_be_bytes());
        peer.feed(&[2, 0, 0, 0]);
        peer.feed(body);
        assert_eq!(peer.refusal(), ("close", expected.into()), "{body:x?}");
    }
}

#[test]
fn a_begin_on_a_channel_in_use_or_above_channel_max_closes_the_connection() {
    for (channel, expected) in [(0, condition::NOT_ALLOWED), (8, condition::FRAMING_ERROR)] {
        let mut peer = Peer::server(Limits { channel_max: 7, ..Limits::default() });
        peer.begins(0, begin());
        peer.said();
        peer.says(channel, Performative::Begin(Box::new(begin())));
        assert_eq!(peer.refusal(), ("close", expected.into()));
    }
}

#[test]
fn a_begin_that_answers_nothing_closes_the_connection() {
    for ours in [0, 3, u16::MAX] {
        let mut peer = Peer::server(Limits::default());
        peer.begins(0, begin());
        peer.said();
        peer.says(1, Performative::Begin(Box::new(Begin { remote_channel: Some(ours), ..begin() })));
        assert_eq!(peer.refusal(), ("close", condition::NOT_ALLOWED.into()));
    }
}

#[test]
fn all_channels_up_to_channel_max_can_be_used() {
    let mut peer = Peer::server(Limits { channel_max: 300, ..Limits::default() });
    for channel in (0..=300).rev() {
        peer.begins(channel, begin());
    }
    assert_eq!(peer.end.engine.sessions().count(), 301);
    assert_eq!(peer.end.engine.begin(1), Err(Misuse::NoChannel));
}

#[test]
fn an_end_or_a_flow_on_a_channel_without_session_closes_the_connection() {
    for wrong in [Performative::End(Default::default()), Performative::Flow(flow())] {
        let mut peer = Peer::server(Limits::default());
        peer.says(3, wrong);
        assert_eq!(peer.refusal(), ("close", condition::NOT_ALLOWED.into()));
    }
}

#[test]
fn after_our_close_only_the_peers_close_counts() {
    let (mut peer, link) = Peer::with_link(Role::Sender);
    peer.says(0, Performative::Flow(credit(0, 0, 5)));
    peer.events();
    peer.end.engine.close(peer.now, Some(Error::new(condition::CONNECTION_FORCED, "enough")));
    assert_eq!(peer.refusal(), ("close", condition::CONNECTION_FORCED.into()));
    peer.says(9, Performative::Flow(flow()));
    peer.says(0, open(Open::default()));
    peer.says(0, Performative::Flow(credit(0, 0, 6)));
    assert!(peer.events().is_empty() && peer.end.error.is_none());
    assert_eq!(peer.end.engine.send(link, super::pair::outgoing(1, "late")).err(), Some(Misuse::State));
    assert_eq!(peer.end.engine.detach(link, true, None), Err(Misuse::State));
    assert!(peer.said().is_empty(), "nothing follows a close");
    peer.says(0, Performative::Close(Close::default()));
    assert!(peer.end.engine.is_done() && peer.said().is_empty());
}

#[test]
fn a_connection_closed_before_the_peers_open_reports_no_open() {
    let mut peer = Peer::new(config("server", Limits::default()), Side::Server);
    peer.feed(&ProtocolHeader::Amqp.encode());
    peer.end.engine.close(peer.now, None);
    assert!(matches!(peer.performatives()[..], [Performative::Open(_), Performative::Close(_)]));
    peer.says(0, open(Open::default()));
    assert!(peer.events().is_empty() && !peer.end.engine.is_open());
    peer.says(0, Performative::Close(Close::default()));
    assert!(peer.end.engine.is_done());
}

#[test]
fn a_client_may_wait_for_the_servers_open() {
    let mut peer = Peer::new(config("client", Limits::default()), Side::Client);
    peer.feed(&ProtocolHeader::Amqp.encode());
    peer.says(0, open(Open { container_id: Text::from("eager"), ..Open::default() }));
    peer.end.expect("Opened", |event| matches!(event, Event::Opened(_)).then_some(()));
    peer.end.engine.open().expect("the server was first");
    assert!(peer.end.engine.is_open());
}

#[test]
fn the_peers_close_is_answered_and_its_error_reported() {
    let mut peer = Peer::server(Limits::default());
    let error = Box::new(Error::new(condition::INTERNAL_ERROR, "oops"));
    peer.says(0, Performative::Close(Close { error: Some(error.clone()) }));
    assert_eq!(peer.performatives(), [Performative::Close(Close::default())]);
    peer.end.expect("Closed", |event| match event {
        Event::Closed { error: told } => (told == Some(error.clone())).then_some(()),
        _ => None,
    });
    peer.feed(&HEARTBEAT);
    peer.feed(b"and more");
    assert!(peer.end.input.is_empty() && peer.end.error.is_none());
}
