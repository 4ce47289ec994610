//! Two engines joined in memory, and one engine before a peer of bytes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::packet::{Connect, Publish, Text};
use crate::property::{Properties, PropertyIn, PropertyView, PropertyWriter};
use crate::{Accept, Config, Connection, Event, Limits, Outgoing, PeerError, Qos, SessionState, Version};

pub(super) const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5_0];

/// Takes what an engine has queued.
pub(super) fn drain(engine: &mut Connection, now: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    while engine.buffered() > 0 {
        let mut slices = [IoSlice::new(&[]); 3];
        let used = engine.slices(&mut slices);
        let count = slices[..used].iter().map(|slice| slice.len()).sum();
        slices[..used].iter().for_each(|slice| all.extend_from_slice(slice));
        engine.written(now, count);
    }
    all
}

pub(super) fn text(text: &str) -> Text {
    Text::new(text).expect("a string of the protocol")
}

pub(super) fn limits(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    change(&mut config.limits);
    config
}

pub(super) fn connect(version: Version) -> Connect {
    Connect { version, client_id: text("c"), clean_start: true, ..Connect::default() }
}

pub(super) fn properties(place: PropertyIn, fill: impl FnOnce(&mut PropertyWriter)) -> Properties {
    let mut writer = PropertyWriter::new(place);
    fill(&mut writer);
    writer.finish()
}

pub(super) const NONE: fn() -> PropertyView<'static> = PropertyView::default;

pub(super) fn message<'a>(topic: &'a str, payload: &'a Bytes, qos: Qos) -> Outgoing<'a> {
    Outgoing { qos, ..Outgoing::new(topic, payload) }
}

pub(super) struct End {
    pub(super) engine: Connection,
    pub(super) input: BytesMut,
    pub(super) events: VecDeque<Event>,
    pub(super) error: Option<PeerError>,
}

impl End {
    fn new(engine: Connection) -> Self {
        Self { engine, input: BytesMut::new(), events: VecDeque::new(), error: None }
    }

    /// Takes the input in, as far as the engine goes.
    pub(super) fn take_in(&mut self, now: Instant) {
        loop {
            match self.engine.handle_input(now, &mut self.input) {
                Ok(Some(event)) => self.events.push_back(event),
                Ok(None) => return,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    pub(super) fn event(&mut self) -> Event {
        self.events.pop_front().unwrap_or_else(|| panic!("no event; {:?}", self.error))
    }

    pub(super) fn publish_event(&mut self) -> Publish {
        match self.event() {
            Event::Publish(publish) => publish,
            other => panic!("not a publication: {other:?}"),
        }
    }
}

/// A client and a server.
pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Instant,
}

impl Pair {
    pub(super) fn new(connect: &Connect, client: Config, server: Config, session: SessionState) -> Self {
        let now = Instant::now();
        let client = Connection::client(Arc::new(client), connect, session, now).expect("a legal CONNECT");
        let server = Connection::server(Arc::new(server), now);
        Self { client: End::new(client), server: End::new(server), now }
    }

    pub(super) fn open(version: Version) -> Self {
        Self::open_with(&connect(version), Config::default(), Config::default())
    }

    pub(super) fn open_with(connect: &Connect, client: Config, server: Config) -> Self {
        let mut pair = Self::new(connect, client, server, SessionState::default());
        pair.let_in(Accept::default());
        pair
    }

    /// A connection that resumes what both ends have kept.
    pub(super) fn resume(
        version: Version,
        [client, server]: [Config; 2],
        [of_client, of_server]: [SessionState; 2],
    ) -> Self {
        let connect = Connect { clean_start: false, ..connect(version) };
        let mut pair = Self::new(&connect, client, server, of_client);
        pair.let_in(Accept { session: Some(of_server), ..Accept::default() });
        pair
    }

    pub(super) fn let_in(&mut self, accept: Accept<'_>) {
        self.run();
        assert!(matches!(self.server.event(), Event::Connect(_)));
        self.server.engine.accept(self.now, accept).expect("a client waits");
        self.run();
        assert!(matches!(self.client.event(), Event::Connected(_)), "{:?}", self.client.error);
    }

    /// Carries bytes both ways until nothing moves.
    pub(super) fn run(&mut self) {
        loop {
            let to_server = drain(&mut self.client.engine, self.now);
            let to_client = drain(&mut self.server.engine, self.now);
            self.server.input.extend_from_slice(&to_server);
            self.client.input.extend_from_slice(&to_client);
            let left = self.server.input.len() + self.client.input.len();
            self.server.take_in(self.now);
            self.client.take_in(self.now);
            let moved = left - self.server.input.len() - self.client.input.len();
            if moved == 0 && to_server.is_empty() && to_client.is_empty() {
                return;
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// An engine and a peer that sends bytes.
pub(super) struct Peer {
    pub(super) end: End,
    pub(super) now: Instant,
}

impl Peer {
    /// A server that nothing has been sent to.
    pub(super) fn server(config: Config) -> Self {
        let now = Instant::now();
        Self { end: End::new(Connection::server(Arc::new(config), now)), now }
    }

    /// A server that has let a client in.
    pub(super) fn open_server(version: Version, config: Config) -> Self {
        let mut peer = Self::server(config);
        let mut bytes = BytesMut::new();
        crate::codec::encode(
            &mut bytes,
            &crate::packet::Packet::Connect(Box::new(connect(version))),
            version,
        );
        peer.send(&bytes);
        assert!(matches!(peer.end.event(), Event::Connect(_)));
        peer.end.engine.accept(peer.now, Accept::default()).expect("a client waits");
        peer.said();
        peer
    }

    /// A client whose CONNECT has left.
    pub(super) fn client(connect: &Connect, config: Config) -> Self {
        let now = Instant::now();
        let engine = Connection::client(Arc::new(config), connect, SessionState::default(), now);
        let mut peer = Self { end: End::new(engine.expect("a legal CONNECT")), now };
        peer.said();
        peer
    }

    /// A client that has been let in.
    pub(super) fn open_client(version: Version, config: Config) -> Self {
        let mut peer = Self::client(&connect(version), config);
        match version {
            Version::V3_1_1 => peer.send(&[0x20, 2, 0, 0]),
            Version::V5_0 => peer.send(&[0x20, 3, 0, 0, 0]),
        }
        assert!(matches!(peer.end.event(), Event::Connected(_)));
        peer
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.end.input.extend_from_slice(bytes);
        self.end.take_in(self.now);
    }

    /// What the engine has said since.
    pub(super) fn said(&mut self) -> Vec<u8> {
        drain(&mut self.end.engine, self.now)
    }
}
