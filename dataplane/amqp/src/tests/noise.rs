//! Random bytes and damaged streams: a clean close with a condition, or nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::pair::{config, outgoing, sasl, terms};
use super::peer::*;
use crate::frame::ProtocolHeader;
use crate::performative::{
    Close, DeliveryState, Disposition, End, Flow, Open, Performative, Role, SaslCode, SaslFrame, Transfer,
};
use crate::value::Symbol;
use crate::{Config, Event, Limits, Misuse, Side};

/// A server that answers whatever it is asked, as a careless caller would.
struct Server {
    peer: Peer,
    said: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let limits = Limits { max_frame_size: 2_048, handle_max: 7, channel_max: 3, ..Limits::default() };
        let config = Config { mechanisms: sasl(&["ANONYMOUS"]), ..config("server", limits) };
        Self { peer: Peer::new(config, Side::Server), said: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let Peer { end, now } = &mut self.peer;
        end.input.extend_from_slice(bytes);
        loop {
            let result = end.engine.handle_input(*now, &mut end.input, &mut end.events);
            let is_idle = end.events.is_empty();
            for event in std::mem::take(&mut end.events) {
                match answer(&mut end.engine, event) {
                    // What came with the event may have undone it.
                    Ok(()) | Err(Misuse::State | Misuse::NoLink | Misuse::NoSession | Misuse::NoCredit) => {}
                    Err(misuse) => panic!("{misuse:?}"),
                }
            }
            self.said.extend(end.written(*now));
            if let Err(error) = result {
                assert!(end.engine.is_done());
                end.error = Some(error);
            }
            if is_idle {
                break;
            }
        }
        assert!(end.input.len() <= 2_048, "{} bytes are kept", end.input.len());
    }

    /// Whatever happened, what was written is AMQP, and an error after the handshake was told.
    fn check(self) {
        let engine = &self.peer.end.engine;
        let said = decode(&self.said);
        let closes: Vec<&Close> = said
            .iter()
            .filter_map(|said| match said {
                Said::Frame(_, Performative::Close(close), _) => Some(close),
                _ => None,
            })
            .collect();
        assert!(closes.len() <= 1, "{said:?}");
        let Some(error) = &self.peer.end.error else { return };
        assert!(engine.is_done());
        if said.contains(&Said::Header(ProtocolHeader::Amqp)) && !matches!(error, crate::PeerError::Header(_))
        {
            let told = closes[0].error.as_ref().expect("a condition");
            assert_eq!(told.condition.as_str(), error.condition());
            assert!(matches!(said.last(), Some(Said::Frame(_, Performative::Close(_), _))));
        }
        assert!(engine.sessions().count() <= 4 && engine.links().count() <= 4 * 8);
    }
}

fn answer(engine: &mut crate::Connection, event: Event) -> Result<(), Misuse> {
    match event {
        Event::SaslInit { .. } | Event::SaslResponse(_) => engine.sasl_outcome(SaslCode::Ok, None),
        Event::Opened(_) => engine.open(),
        Event::LinkAttached { link, attach } => {
            engine.accept(link, terms("address"), 1)?;
            if attach.role == Role::Sender { engine.grant(link, 5) } else { Ok(()) }
        }
        Event::LinkFlow { link, credit, .. } if credit > 0 => {
            engine.send(link, outgoing(1, "hello")).map(drop)
        }
        Event::LinkFlow { link, drain: true, .. } => engine.drained(link),
        Event::Transfer(got) => {
            engine.consume(got.delivery.session(), 1)?;
            engine.settle(Role::Receiver, got.delivery, Some(DeliveryState::Accepted), true).map(drop)
        }
        Event::Disposition { role, delivery, settled: false, .. } => {
            engine.settle(role, delivery, None, true).map(drop)
        }
        _ => Ok(()),
    }
}

/// The frames of an ordinary client, one entry each.
fn stream() -> Vec<Vec<u8>> {
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("ANONYMOUS"),
        initial_response: None,
        hostname: Some("host".into()),
    };
    let mut frames = vec![
        ProtocolHeader::Sasl.encode().to_vec(),
        sasl_frame(&init).to_vec(),
        ProtocolHeader::Amqp.encode().to_vec(),
    ];
    let mut say =
        |channel, performative, payload: &[u8]| frames.push(frame(channel, &performative, payload).to_vec());
    say(0, Performative::Open(Box::new(Open { container_id: "noisy".into(), ..Open::default() })), b"");
    say(0, Performative::Begin(Box::new(begin())), b"");
    say(0, attach(0, "out", Role::Receiver), b"");
    say(0, attach(1, "in", Role::Sender), b"");
    say(0, Performative::Flow(Flow { echo: true, ..credit(1, 0, 10) }), b"");
    say(0, Performative::Transfer(Transfer { more: true, ..transfer(0, 0) }), b"hel");
    say(0, Performative::Transfer(continuation(0, false)), b"lo");
    say(0, Performative::Transfer(transfer(0, 1)), b"world");
    say(0, accepted(Role::Receiver, 0, None, false), b"");
    say(
        0,
        Performative::Disposition(Disposition {
            role: Role::Sender,
            first: 0,
            last: Some(1),
            settled: true,
            state: Some(DeliveryState::Released),
            batchable: true,
        }),
        b"",
    );
    say(0, detach(1, false), b"");
    say(0, Performative::End(End::default()), b"");
    say(0, Performative::Begin(Box::new(begin())), b"");
    say(0, attach(0, "out", Role::Receiver), b"");
    say(0, Performative::Transfer(transfer(0, 7)), b"again");
    say(0, Performative::Close(Close::default()), b"");
    frames
}

#[test]
fn the_undamaged_stream_is_served_to_its_end() {
    let mut server = Server::new();
    for frame in stream() {
        server.feed(&frame);
    }
    assert!(server.peer.end.error.is_none() && server.peer.end.engine.is_done());
    server.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_in_a_close_or_in_nothing(after in 0_usize..20, bytes in vec(any::<u8>(), 0..600)) {
        let mut server = Server::new();
        for frame in stream().into_iter().take(after) {
            server.feed(&frame);
        }
        for part in bytes.chunks(17) {
            server.feed(part);
        }
        server.check();
    }

    #[test]
    fn a_damaged_stream_ends_in_a_close_or_in_nothing(
        damage in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in 1_usize..200,
    ) {
        let mut bytes = stream().concat();
        for (position, byte) in damage {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        let mut server = Server::new();
        for part in bytes.chunks(cut) {
            server.feed(part);
        }
        server.check();
    }

    #[test]
    fn frames_left_out_repeated_or_moved_end_in_a_close_or_in_nothing(
        order in vec(any::<Index>(), 1..40),
        after in 0_usize..8,
    ) {
        let frames = stream();
        let mut server = Server::new();
        for frame in frames.iter().take(after) {
            server.feed(frame);
        }
        for index in order {
            server.feed(&frames[index.index(frames.len())]);
        }
        server.check();
    }
}
