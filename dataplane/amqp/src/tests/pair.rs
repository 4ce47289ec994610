//! A client and a server joined by two byte queues.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::performative::{NodeTarget, Open, Role, SaslCode, SenderSettleMode, Source, Tag, Target};
use crate::value::{Symbol, Text};
use crate::{
    Config, Connection, Event, Events, Limits, LinkKey, Outgoing, PeerError, SessionKey, Side, Terms,
};

/// One end with what it has been told.
pub(super) struct End {
    pub(super) engine: Connection,
    pub(super) input: BytesMut,
    pub(super) events: Events,
    pub(super) error: Option<PeerError>,
}

impl End {
    pub(super) fn new(config: Config, side: Side, now: Instant) -> Self {
        let engine = Connection::new(Arc::new(config), side, now);
        Self { engine, input: BytesMut::new(), events: Events::new(), error: None }
    }

    /// Takes everything out that is to be written.
    pub(super) fn written(&mut self, now: Instant) -> Vec<u8> {
        self.engine.flush();
        let mut all = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 8];
            let used = self.engine.slices(&mut slices);
            if used == 0 {
                return all;
            }
            let part: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            self.engine.written(now, part.len());
            all.extend(part);
        }
    }

    pub(super) fn feed(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.take_input(now);
    }

    pub(super) fn take_input(&mut self, now: Instant) {
        loop {
            let queued = self.events.len();
            if let Err(error) = self.engine.handle_input(now, &mut self.input, &mut self.events) {
                self.error = Some(error);
            }
            if self.events.len() == queued {
                return;
            }
        }
    }

    /// The first event that `pick` wants; the ones before it are dropped.
    pub(super) fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let mut seen = Vec::new();
        while let Some(event) = self.events.pop_front() {
            let text = format!("{event:?}");
            if let Some(found) = pick(event) {
                return found;
            }
            seen.push(text);
        }
        panic!("no {what}; saw {seen:#?}, error {:?}", self.error);
    }
}

/// Two engines and their clock.
pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Instant,
    /// Bytes of one read: small values cut frames anywhere.
    pub(super) read_size: usize,
}

impl Pair {
    pub(super) fn new(client: Config, server: Config) -> Self {
        let now = Instant::now();
        let (client, server) = (End::new(client, Side::Client, now), End::new(server, Side::Server, now));
        Self { client, server, now, read_size: usize::MAX }
    }

    /// Both open, without SASL.
    pub(super) fn open() -> Self {
        Self::open_with(Limits::default(), Limits::default())
    }

    pub(super) fn open_with(client: Limits, server: Limits) -> Self {
        let mut pair = Self::new(config("client", client), config("server", server));
        pair.client.engine.open().expect("a client may open at once");
        pair.run();
        assert!(pair.client.engine.is_open() && pair.server.engine.is_open());
        pair
    }

    /// Carries bytes until nobody has any. A server answers an open, and lets everybody in.
    pub(super) fn run(&mut self) {
        loop {
            let to_server = self.client.written(self.now);
            let to_client = self.server.written(self.now);
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            for part in to_server.chunks(self.read_size.min(to_server.len().max(1))) {
                self.server.feed(self.now, part);
                self.answer();
            }
            for part in to_client.chunks(self.read_size.min(to_client.len().max(1))) {
                self.client.feed(self.now, part);
            }
        }
    }

    fn answer(&mut self) {
        let mut keep = Events::new();
        for event in self.server.events.drain(..) {
            match event {
                Event::Opened(open) => {
                    let _ = self.server.engine.open();
                    keep.push_back(Event::Opened(open));
                }
                Event::SaslInit { .. } => {
                    self.server.engine.sasl_outcome(SaslCode::Ok, None).expect("asked for");
                }
                event => keep.push_back(event),
            }
        }
        self.server.events.append(&mut keep);
        if !self.server.input.is_empty() {
            self.server.take_input(self.now);
            if self.server.events.iter().any(|event| matches!(event, Event::Opened(_)))
                && !self.server.engine.is_open()
            {
                self.answer();
            }
        }
    }

    #[allow(dead_code, reason = "time is moved by the tests of idle timeouts")]
    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// A session of the client, known to both.
    pub(super) fn session(&mut self) -> SessionKey {
        let session = self.client.engine.begin(7).expect("open");
        self.run();
        self.client.expect("SessionBegun", |event| matches!(event, Event::SessionBegun { .. }).then_some(()));
        session
    }

    /// A link of the client, accepted by the server: the client's key and the server's.
    pub(super) fn link(&mut self, session: SessionKey, name: &str, role: Role) -> (LinkKey, LinkKey) {
        self.link_with(session, name, role, terms("address"), terms("address"))
    }

    pub(super) fn link_with(
        &mut self,
        session: SessionKey,
        name: &str,
        role: Role,
        ours: Terms,
        theirs: Terms,
    ) -> (LinkKey, LinkKey) {
        let client =
            self.client.engine.attach(session, Text::from(name), role, ours, 1).expect("a free handle");
        self.run();
        let server = self.server.expect("LinkAttached", |event| match event {
            Event::LinkAttached { link, .. } => Some(link),
            _ => None,
        });
        self.server.engine.accept(server, theirs, 2).expect("offered");
        self.run();
        self.client.expect("LinkAttached", |event| matches!(event, Event::LinkAttached { .. }).then_some(()));
        (client, server)
    }
}

pub(super) fn config(name: &str, limits: Limits) -> Config {
    Config { container_id: Text::from(name), allow_plain_header: true, limits, ..Config::default() }
}

pub(super) fn terms(address: &str) -> Terms {
    Terms {
        source: Some(Box::new(Source { address: Some(Text::from(address)), ..Source::default() })),
        target: Some(Box::new(Target::Node(NodeTarget {
            address: Some(Text::from(address)),
            ..NodeTarget::default()
        }))),
        snd_settle_mode: SenderSettleMode::Mixed,
        ..Terms::default()
    }
}

pub(super) fn outgoing(token: u64, payload: impl Into<Bytes>) -> Outgoing {
    Outgoing {
        tag: Tag::from(token),
        token,
        settled: false,
        message_format: 0,
        payload: payload.into(),
        more: false,
    }
}

pub(super) fn sasl(mechanisms: &[&'static str]) -> Vec<Symbol> {
    mechanisms.iter().map(|name| Symbol::from_static(name)).collect()
}

#[allow(dead_code, reason = "an open by hand, for tests that write frames themselves")]
pub(super) fn open_frame(open: &Open) -> Bytes {
    let mut out = BytesMut::new();
    let start = crate::frame::begin_frame(&mut out, crate::frame::FrameKind::Amqp, 0);
    crate::codec::encode_open(&mut out, open);
    crate::frame::finish_frame(&mut out, start);
    out.freeze()
}
