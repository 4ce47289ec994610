//! One engine, and a peer whose frames a test writes by hand.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::pair::{End, config, terms};
use crate::codec::{decode_performative, decode_sasl, encode_performative, encode_sasl};
use crate::frame::{FrameKind, HEARTBEAT, ProtocolHeader, begin_frame, finish_frame, next_frame};
use crate::performative::{
    Attach, Begin, DeliveryState, Detach, Disposition, Error, Flow, Open, Performative, ReceiverSettleMode,
    Role, SaslFrame, SenderSettleMode, Tag, Transfer,
};
use crate::value::Text;
use crate::{Config, Event, Limits, LinkKey, PeerError, SessionKey, Side};

/// What an engine wrote.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Header(ProtocolHeader),
    Sasl(SaslFrame),
    Heartbeat,
    Frame(u16, Performative, Bytes),
}

/// An engine under test, and its clock.
pub(super) struct Peer {
    pub(super) end: End,
    pub(super) now: Instant,
}

impl Peer {
    pub(super) fn new(config: Config, side: Side) -> Self {
        let now = Instant::now();
        Self { end: End::new(config, side, now), now }
    }

    /// A server that has answered our header and open.
    pub(super) fn server(limits: Limits) -> Self {
        Self::server_for(config("server", limits), Open::default())
    }

    pub(super) fn server_for(config: Config, open: Open) -> Self {
        let mut peer = Self::new(config, Side::Server);
        peer.feed(&ProtocolHeader::Amqp.encode());
        peer.says(0, Performative::Open(Box::new(open)));
        peer.end.expect("Opened", |event| matches!(event, Event::Opened(_)).then_some(()));
        peer.end.engine.open().expect("asked for");
        assert!(matches!(
            peer.said()[..],
            [Said::Header(ProtocolHeader::Amqp), Said::Frame(0, Performative::Open(_), _)]
        ));
        peer
    }

    /// Such a server with a session on channel 0, begun by us with a window that is open wide.
    pub(super) fn with_session(limits: Limits) -> (Self, SessionKey) {
        let mut peer = Self::server(limits);
        let session = peer.begins(0, begin());
        peer.said();
        (peer, session)
    }

    /// Such a server with a session and a link, handle 0 on both ends; `role` is the server's.
    pub(super) fn with_link(role: Role) -> (Self, LinkKey) {
        Self::with_link_for(Limits::default(), role)
    }

    pub(super) fn with_link_for(limits: Limits, role: Role) -> (Self, LinkKey) {
        let (mut peer, _) = Self::with_session(limits);
        let link = peer.attaches(0, "link", role);
        peer.said();
        (peer, link)
    }

    pub(super) fn begins(&mut self, channel: u16, begin: Begin) -> SessionKey {
        self.says(channel, Performative::Begin(Box::new(begin)));
        self.end.expect("SessionBegun", |event| match event {
            Event::SessionBegun { session } => Some(session),
            _ => None,
        })
    }

    /// Attaches on channel 0, and has it accepted; `role` is the engine's.
    pub(super) fn attaches(&mut self, handle: u32, name: &str, role: Role) -> LinkKey {
        let link = self.offers(handle, name, role);
        self.end.engine.accept(link, terms("address"), u64::from(handle) + 100).expect("offered");
        link
    }

    pub(super) fn offers(&mut self, handle: u32, name: &str, role: Role) -> LinkKey {
        self.says(0, attach(handle, name, role));
        self.end.expect("LinkAttached", |event| match event {
            Event::LinkAttached { link, .. } => Some(link),
            _ => None,
        })
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.end.feed(self.now, bytes);
    }

    pub(super) fn says(&mut self, channel: u16, performative: Performative) {
        self.says_with(channel, performative, b"");
    }

    pub(super) fn says_with(&mut self, channel: u16, performative: Performative, payload: &[u8]) {
        self.feed(&frame(channel, &performative, payload));
    }

    pub(super) fn says_sasl(&mut self, sasl: &SaslFrame) {
        self.feed(&sasl_frame(sasl));
    }

    /// What the engine has written since the last call.
    pub(super) fn said(&mut self) -> Vec<Said> {
        decode(&self.end.written(self.now))
    }

    /// The performatives among it.
    pub(super) fn performatives(&mut self) -> Vec<Performative> {
        let said = self.said().into_iter();
        said.filter_map(
            |said| if let Said::Frame(_, performative, _) = said { Some(performative) } else { None },
        )
        .collect()
    }

    pub(super) fn flows(&mut self) -> Vec<Flow> {
        let said = self.performatives().into_iter();
        said.filter_map(|said| if let Performative::Flow(flow) = said { Some(flow) } else { None }).collect()
    }

    pub(super) fn transfers(&mut self) -> Vec<(Transfer, Bytes)> {
        let said = self.said().into_iter();
        said.filter_map(|said| match said {
            Said::Frame(_, Performative::Transfer(transfer), payload) => Some((transfer, payload)),
            _ => None,
        })
        .collect()
    }

    /// The condition of the one close, end or detach that the engine wrote, and what kind it was.
    pub(super) fn refusal(&mut self) -> (&'static str, String) {
        let said = self.performatives();
        let mut refusals = said.iter().filter_map(|performative| match performative {
            Performative::Close(close) => Some(("close", close.error.as_deref())),
            Performative::End(end) => Some(("end", end.error.as_deref())),
            Performative::Detach(detach) => Some(("detach", detach.error.as_deref())),
            _ => None,
        });
        let (kind, error) = refusals.next().unwrap_or_else(|| panic!("nothing refused in {said:?}"));
        assert!(refusals.next().is_none(), "more than one refusal in {said:?}");
        (kind, condition(error))
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        self.end.events.drain(..).collect()
    }

    pub(super) fn advance(&mut self, millis: u64) -> Result<(), PeerError> {
        self.now += Duration::from_millis(millis);
        self.end.engine.handle_timeout(self.now)
    }
}

fn condition(error: Option<&Error>) -> String {
    error.map_or_else(String::new, |error| error.condition.as_str().to_owned())
}

pub(super) fn frame(channel: u16, performative: &Performative, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, FrameKind::Amqp, channel);
    encode_performative(&mut out, performative);
    out.extend_from_slice(payload);
    finish_frame(&mut out, start);
    out.freeze()
}

pub(super) fn sasl_frame(sasl: &SaslFrame) -> Bytes {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, FrameKind::Sasl, 0);
    encode_sasl(&mut out, sasl);
    finish_frame(&mut out, start);
    out.freeze()
}

/// Takes a byte stream apart; panics when an engine wrote what is not AMQP.
pub(super) fn decode(bytes: &[u8]) -> Vec<Said> {
    let mut input = BytesMut::from(bytes);
    let mut all = Vec::new();
    while !input.is_empty() {
        if input.starts_with(b"AMQP") {
            let header = ProtocolHeader::parse(&input).expect("a header").expect("whole");
            let _ = input.split_to(ProtocolHeader::SIZE);
            all.push(Said::Header(header));
        } else if input.starts_with(&HEARTBEAT) {
            let _ = input.split_to(HEARTBEAT.len());
            all.push(Said::Heartbeat);
        } else {
            let frame = next_frame(&mut input, u32::MAX).expect("a frame").expect("whole");
            let mut body = frame.body;
            all.push(match frame.kind {
                FrameKind::Sasl => Said::Sasl(decode_sasl(&mut body).expect("a SASL frame")),
                FrameKind::Amqp => {
                    let performative = decode_performative(&mut body).expect("a performative");
                    Said::Frame(frame.channel, performative, body)
                }
            });
        }
    }
    all
}

pub(super) fn begin() -> Begin {
    Begin { incoming_window: 1_000_000, outgoing_window: 1_000_000, ..Begin::default() }
}

/// An attach for a link on which the engine has this role.
pub(super) fn attach(handle: u32, name: &str, engine: Role) -> Performative {
    Performative::Attach(Box::new(attach_frame(handle, name, engine)))
}

pub(super) fn attach_frame(handle: u32, name: &str, engine: Role) -> Attach {
    let terms = terms("address");
    Attach {
        name: Text::from(name),
        handle,
        role: if engine == Role::Receiver { Role::Sender } else { Role::Receiver },
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: terms.source,
        target: terms.target,
        unsettled: Vec::new(),
        incomplete_unsettled: false,
        initial_delivery_count: (engine == Role::Receiver).then_some(0),
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Vec::new(),
    }
}

/// A flow of a peer that has seen nothing but our begin.
pub(super) fn flow() -> Flow {
    Flow {
        next_incoming_id: Some(0),
        incoming_window: 1_000_000,
        next_outgoing_id: 0,
        outgoing_window: 1_000_000,
        ..Flow::default()
    }
}

/// A flow that gives credit to the engine on a link that it sends on.
pub(super) fn credit(handle: u32, delivery_count: u32, credit: u32) -> Flow {
    Flow { handle: Some(handle), delivery_count: Some(delivery_count), link_credit: Some(credit), ..flow() }
}

/// The only frame of an unsettled delivery.
pub(super) fn transfer(handle: u32, id: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(id),
        delivery_tag: Some(Tag::from(u64::from(id))),
        message_format: Some(0),
        settled: Some(false),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

/// A further frame of a delivery.
pub(super) fn continuation(handle: u32, more: bool) -> Transfer {
    Transfer {
        delivery_id: None,
        delivery_tag: None,
        message_format: None,
        settled: None,
        more,
        ..transfer(handle, 0)
    }
}

pub(super) fn detach(handle: u32, closed: bool) -> Performative {
    Performative::Detach(Detach { handle, closed, error: None })
}

/// A disposition that accepts; `role` is the peer's.
pub(super) fn accepted(role: Role, first: u32, last: Option<u32>, settled: bool) -> Performative {
    let state = Some(DeliveryState::Accepted);
    Performative::Disposition(Disposition { role, first, last, settled, state, batchable: false })
}
