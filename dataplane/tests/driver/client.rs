//! An AMQP client: the engine over a blocking socket, with a record of all that happened.

use std::collections::HashMap;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mq_amqp::message::{Message, Properties};
use mq_amqp::performative::{
    DeliveryState, Error, NodeTarget, ReceiverSettleMode, Role, SaslCode, SenderSettleMode, Source, Tag,
    Target,
};
use mq_amqp::value::Text;
use mq_amqp::{
    Config, Connection, DeliveryKey, Event, Events, Limits, LinkKey, Outgoing, SessionKey, Side, Terms,
};

use crate::node::{DEADLINE, Node};
use crate::scram::Scram;

/// A delivery as the client got it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) link: LinkKey,
    pub(crate) delivery: DeliveryKey,
    pub(crate) bytes: Vec<u8>,
    pub(crate) settled: bool,
    pub(crate) is_whole: bool,
    pub(crate) is_aborted: bool,
}

impl Received {
    pub(crate) fn text(&self) -> String {
        let message = Message::decode(&Bytes::from(self.bytes.clone())).unwrap();
        match message.body {
            mq_amqp::message::Body::Data(parts) => String::from_utf8(parts.concat()).unwrap(),
            body => panic!("{body:?}"),
        }
    }
}

/// A link as the client knows it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) credit: u32,
    pub(crate) is_drained: bool,
    /// The answer to the attach.
    pub(crate) attach: Option<Box<mq_amqp::performative::Attach>>,
    /// Detached by the node, with the error it gave.
    pub(crate) detached: Option<Option<Error>>,
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) engine: Connection,
    input: BytesMut,
    pub(crate) session: SessionKey,
    pub(crate) links: HashMap<LinkKey, Link>,
    pub(crate) received: Vec<Received>,
    /// States of what was sent, by number: the last one, and whether it was settled.
    pub(crate) states: HashMap<u64, (Option<DeliveryState>, bool)>,
    /// States of what was received, the same.
    pub(crate) answers: HashMap<DeliveryKey, (Option<DeliveryState>, bool)>,
    pub(crate) keys: HashMap<u64, DeliveryKey>,
    pub(crate) closed: Option<Option<Error>>,
    pub(crate) has_ended: bool,
    /// Frames are given back to the window as they come.
    pub(crate) consumes: bool,
    /// The connection and its session may end at any time.
    pub(crate) is_lenient: bool,
    /// The error with which the node has ended the session.
    pub(crate) session_error: Option<Error>,
    begun: u32,
    next: u64,
    login: Option<Login>,
    /// The mechanisms that the node has offered.
    pub(crate) offered: Vec<String>,
    /// What came of saying who it is.
    pub(crate) outcome_of_login: Option<SaslCode>,
}

/// How a client says who it is.
#[derive(Debug)]
pub(crate) enum Login {
    Anonymous,
    Plain {
        user: &'static str,
        password: &'static str,
    },
    Scram(Scram),
    /// The message of OAUTHBEARER.
    Bearer(String),
    /// That of XOAUTH2.
    XOAuth2(String),
}

impl Login {
    fn mechanism(&self) -> &'static str {
        match self {
            Self::Anonymous => "ANONYMOUS",
            Self::Plain { .. } => "PLAIN",
            Self::Scram(_) => "SCRAM-SHA-256",
            Self::Bearer(_) => "OAUTHBEARER",
            Self::XOAuth2(_) => "XOAUTH2",
        }
    }

    fn first(&self) -> Vec<u8> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Plain { user, password } => format!("\0{user}\0{password}").into_bytes(),
            Self::Scram(scram) => scram.first(),
            Self::Bearer(message) | Self::XOAuth2(message) => message.clone().into_bytes(),
        }
    }
}

impl Client {
    /// A client that says who it is, and has been let in.
    #[track_caller]
    pub(crate) fn logged_in(stream: TcpStream, login: Login, container: &str) -> Self {
        let mut client = Self::log_in(stream, login, container);
        assert_eq!(client.outcome_of_login, Some(SaslCode::Ok));
        client.engine.open().unwrap();
        client.session = client.engine.begin(0).unwrap();
        client.until("a session", |client| client.begun == 1);
        client
    }

    /// A client that wants to speak with this host, and says who it is, or leaves SASL out; `None`: it is not let in.
    #[track_caller]
    pub(crate) fn at_host(
        stream: TcpStream,
        host: Option<&str>,
        login: Option<Login>,
        container: &str,
    ) -> Option<Self> {
        let has_login = login.is_some();
        let mut client = Self::to_host(stream, Limits::default(), container, login, host);
        if has_login {
            client.until("an outcome", |client| client.outcome_of_login.is_some());
            if client.outcome_of_login != Some(SaslCode::Ok) {
                return None;
            }
        }
        client.engine.open().unwrap();
        client.session = client.engine.begin(0).unwrap();
        client.until("a session or the end", |client| client.begun == 1 || client.closed.is_some());
        client.closed.is_none().then_some(client)
    }

    /// A client that has said who it is, and knows what came of it.
    #[track_caller]
    pub(crate) fn log_in(stream: TcpStream, login: Login, container: &str) -> Self {
        let mut client = Self::of(stream, Limits::default(), container, Some(login));
        client.until("an outcome", |client| client.outcome_of_login.is_some());
        client
    }

    pub(crate) fn connect(node: &Node, shard: usize) -> Self {
        let limits = Limits { max_unsettled: 1_000_000, incoming_window: 4_096, ..Limits::default() };
        Self::with(node, shard, limits)
    }

    pub(crate) fn with(node: &Node, shard: usize, limits: Limits) -> Self {
        Self::over(node.connect(shard), limits)
    }

    pub(crate) fn over(stream: TcpStream, limits: Limits) -> Self {
        Self::named(stream, limits, "test")
    }

    /// A client of this container.
    pub(crate) fn named(stream: TcpStream, limits: Limits, container: &str) -> Self {
        let mut client = Self::of(stream, limits, container, None);
        client.engine.open().unwrap();
        client.session = client.engine.begin(0).unwrap();
        client.until("a session", |client| client.begun == 1);
        client
    }

    /// A client that has asked for a connection and a session, and may get neither.
    pub(crate) fn hopeful(stream: TcpStream) -> Self {
        let mut client = Self::of(stream, Limits::default(), "test", None);
        client.is_lenient = true;
        client.engine.open().unwrap();
        client.session = client.engine.begin(0).unwrap();
        client.write();
        client
    }

    /// A client that has sent nothing but its protocol header.
    fn of(stream: TcpStream, limits: Limits, container: &str, login: Option<Login>) -> Self {
        Self::to_host(stream, limits, container, login, None)
    }

    fn to_host(
        stream: TcpStream,
        limits: Limits,
        container: &str,
        login: Option<Login>,
        host: Option<&str>,
    ) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let config = Config {
            container_id: Text::from(container),
            hostname: host.map(Text::from),
            allow_plain_header: login.is_none(),
            limits,
            ..Config::default()
        };
        let engine = Connection::new(Arc::new(config), Side::Client, Instant::now());
        // A key that stands for no session until there is one.
        let session = DeliveryKey::from_bits(u64::MAX).session();
        Self {
            stream,
            engine,
            input: BytesMut::new(),
            session,
            links: HashMap::new(),
            received: Vec::new(),
            states: HashMap::new(),
            answers: HashMap::new(),
            keys: HashMap::new(),
            closed: None,
            has_ended: false,
            consumes: true,
            is_lenient: false,
            session_error: None,
            begun: 0,
            next: 0,
            login,
            offered: Vec::new(),
            outcome_of_login: None,
        }
    }

    // ---- links ----------------------------------------------------------------------------------

    pub(crate) fn try_attach(&mut self, name: &str, role: Role, terms: Terms) -> Result<LinkKey, Error> {
        let is_refusal = |attach: &mq_amqp::performative::Attach| match role {
            Role::Sender => attach.target.is_none(),
            Role::Receiver => attach.source.is_none(),
        };
        let attached = self.engine.attach(self.session, Text::from(name), role, terms, 0);
        if self.is_lenient && attached.is_err() {
            return Err(Error::new("test:over", "the connection has ended"));
        }
        let link = attached.unwrap();
        self.links.insert(link, Link::default());
        self.until("the answer to an attach", |client| {
            let link = &client.links[&link];
            let is_answered = link.attach.as_ref().is_some_and(|attach| !is_refusal(attach));
            is_answered || link.detached.is_some() || (client.is_lenient && client.is_over())
        });
        if self.is_lenient && self.is_over() {
            return Err(Error::new("test:over", "the connection has ended"));
        }
        match self.links[&link].detached.clone() {
            Some(error) => Err(error.expect("a refusal gives its reason")),
            None => Ok(link),
        }
    }

    /// Whether every attach for a consumer has been refused: answered without a source (AMQP 2.6.3).
    pub(crate) fn was_never_let_in(&self) -> bool {
        let answers = self.links.values().filter_map(|link| link.attach.as_ref());
        answers.filter(|attach| attach.role == Role::Sender).all(|attach| attach.source.is_none())
    }

    pub(crate) fn producer(&mut self, address: &str) -> LinkKey {
        self.try_attach(&format!("to {address}"), Role::Sender, to(address)).unwrap()
    }

    pub(crate) fn consumer(&mut self, address: &str, credit: u32) -> LinkKey {
        let link = self.try_attach(&format!("from {address}"), Role::Receiver, from(address)).unwrap();
        self.grant(link, credit);
        link
    }

    pub(crate) fn grant(&mut self, link: LinkKey, credit: u32) {
        if credit > 0 {
            self.engine.grant(link, credit).unwrap();
        }
        self.write();
    }

    pub(crate) fn detach(&mut self, link: LinkKey) {
        self.engine.detach(link, true, None).unwrap();
        self.write();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.has_ended || self.closed.is_some()
    }

    pub(crate) fn credit(&self, link: LinkKey) -> u32 {
        self.engine.credit(link).unwrap_or(0)
    }

    /// The error with which the node detached a link.
    pub(crate) fn detached(&mut self, link: LinkKey) -> Error {
        self.until("a detach", |client| client.links[&link].detached.is_some());
        self.links[&link].detached.clone().unwrap().expect("an error")
    }

    // ---- messages ---------------------------------------------------------------------------------

    /// Sends a message when there is credit; says by which number its state will be known.
    pub(crate) fn send(&mut self, link: LinkKey, bytes: impl Into<Bytes>, settled: bool) -> u64 {
        self.until("credit", |client| client.credit(link) > 0);
        let number = self.start(link, bytes.into(), settled, false);
        self.write();
        number
    }

    pub(crate) fn send_text(&mut self, link: LinkKey, text: &str) -> u64 {
        self.send(link, message(text), false)
    }

    /// Starts a message and writes nothing yet.
    pub(crate) fn start(&mut self, link: LinkKey, payload: Bytes, settled: bool, more: bool) -> u64 {
        self.next += 1;
        let number = self.next;
        let outgoing =
            Outgoing { tag: Tag::from(number), token: number, settled, message_format: 0, payload, more };
        let key = self.engine.send(link, outgoing).unwrap();
        self.keys.insert(number, key);
        number
    }

    /// The final state of a message that was sent.
    #[track_caller]
    pub(crate) fn outcome(&mut self, number: u64) -> DeliveryState {
        self.until("an outcome", |client| client.states.get(&number).is_some_and(|state| state.1));
        self.states[&number].0.clone().expect("a state")
    }

    /// Waits until so many whole deliveries have come in all; gives the last one.
    #[track_caller]
    pub(crate) fn receive(&mut self, count: usize) -> Received {
        self.until(&format!("{count} deliveries"), |client| {
            client.received.iter().filter(|received| received.is_whole).count() >= count
        });
        self.received[count - 1].clone()
    }

    pub(crate) fn settle(&mut self, received: &Received, state: DeliveryState, settled: bool) {
        self.engine.settle(Role::Receiver, received.delivery, Some(state), settled).unwrap();
        self.write();
    }

    pub(crate) fn accept(&mut self, received: &Received) {
        self.settle(received, DeliveryState::Accepted, true);
    }

    // ---- the socket ---------------------------------------------------------------------------------

    pub(crate) fn write(&mut self) {
        self.engine.flush();
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.engine.slices(&mut slices);
            if used == 0 {
                return;
            }
            let Ok(count) = self.stream.write_vectored(&slices[..used]) else { return };
            self.engine.written(Instant::now(), count);
        }
    }

    /// Takes what comes within a moment.
    pub(crate) fn turn(&mut self) {
        self.write();
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.has_ended = true,
        }
        let mut events = Events::new();
        loop {
            self.engine.handle_input(Instant::now(), &mut self.input, &mut events).unwrap();
            if events.is_empty() {
                break;
            }
            while let Some(event) = events.pop_front() {
                self.note(event);
            }
        }
        self.write();
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < end, "waited too long for {what}");
            assert!(!self.has_ended, "the connection ended before {what}: {:?}", self.closed);
            self.turn();
        }
    }

    /// Waits until the shard has done everything that this client asked of it.
    pub(crate) fn sync(&mut self) {
        let refused = self.try_attach("sync", Role::Sender, to("nowhere"));
        assert_eq!(refused.unwrap_err().condition.as_str(), "amqp:not-found");
    }

    /// Waits for the end of the connection; gives the error of the node's close, if it had one.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<Error> {
        let end = Instant::now() + DEADLINE;
        while !self.has_ended {
            assert!(Instant::now() < end, "the connection goes on");
            self.turn();
        }
        self.closed.clone().expect("a close frame came first")
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::SaslMechanisms(offered) => {
                self.offered = offered.iter().map(ToString::to_string).collect();
                let login = self.login.as_ref().expect("a way to log in");
                self.engine.sasl_init(login.mechanism().into(), Some(login.first().into())).unwrap();
            }
            Event::SaslChallenge(challenge) => {
                let response = match &mut self.login {
                    Some(Login::Scram(scram)) => scram.answer(&challenge),
                    // RFC 7628, 3.2.3.
                    Some(Login::Bearer(_)) => {
                        assert_eq!(challenge.as_ref(), br#"{"status":"invalid_token"}"#);
                        vec![1]
                    }
                    _ => panic!("a challenge"),
                };
                self.engine.sasl_response(response.into()).unwrap();
            }
            Event::SaslOutcome { code, additional_data } => {
                if let (Some(Login::Scram(scram)), SaslCode::Ok) = (&self.login, code) {
                    scram.verify(&additional_data.expect("the proof of the node"));
                }
                self.outcome_of_login = Some(code);
            }
            Event::SessionBegun { .. } => self.begun += 1,
            Event::LinkAttached { link, attach } => {
                self.links.entry(link).or_default().attach = Some(attach);
            }
            Event::LinkDetached { link, error, .. } => {
                self.links.entry(link).or_default().detached = Some(error.map(|error| *error));
            }
            Event::LinkFlow { link, credit, drain, .. } => {
                self.links.entry(link).or_default().credit = credit;
                if drain {
                    let _ = self.engine.drained(link);
                }
            }
            Event::LinkDrained { link, .. } => self.links.entry(link).or_default().is_drained = true,
            Event::Transfer(transfer) => self.take(transfer),
            Event::Disposition { role: Role::Sender, delivery_token, state, settled, .. } => {
                let known = self.states.entry(delivery_token).or_default();
                *known = (state.or_else(|| known.0.take()), settled);
            }
            Event::Disposition { delivery, state, settled, .. } => {
                self.answers.insert(delivery, (state, settled));
            }
            Event::SessionEnded { error, .. } if self.is_lenient => {
                self.session_error = error.map(|error| *error);
                self.has_ended = true;
            }
            Event::SessionEnded { error, .. } => panic!("the session ended: {error:?}"),
            Event::Closed { error } => self.closed = Some(error.map(|error| *error)),
            _ => {}
        }
    }

    fn take(&mut self, transfer: mq_amqp::IncomingTransfer) {
        if transfer.first {
            self.received.push(Received {
                link: transfer.link,
                delivery: transfer.delivery,
                bytes: Vec::new(),
                settled: false,
                is_whole: false,
                is_aborted: false,
            });
        }
        let delivery =
            self.received.iter_mut().rev().find(|received| received.delivery == transfer.delivery).unwrap();
        delivery.bytes.extend_from_slice(&transfer.payload);
        delivery.settled = transfer.settled;
        delivery.is_aborted = transfer.aborted;
        delivery.is_whole = !transfer.more && !transfer.aborted;
        if self.consumes {
            let _ = self.engine.consume(transfer.delivery.session(), 1);
        }
    }
}

/// A message with one data section.
pub(crate) fn message(text: &str) -> Bytes {
    Message::data(text.as_bytes().to_vec()).to_bytes()
}

/// A message with one data section, and the address it goes to.
pub(crate) fn addressed(address: &str, body: &str) -> Bytes {
    let properties = Properties { to: text(address), ..Properties::default() };
    Message { properties: Some(properties), ..Message::data(body.as_bytes().to_vec()) }.to_bytes()
}

pub(crate) fn text(value: &str) -> Option<Text> {
    Some(Text::from(value))
}

/// Terms of a producer's link.
pub(crate) fn to(address: &str) -> Terms {
    Terms {
        source: Some(Box::default()),
        target: Some(Box::new(Target::Node(NodeTarget { address: text(address), ..NodeTarget::default() }))),
        ..Terms::default()
    }
}

/// Terms of a producer's link that goes anywhere.
pub(crate) fn anywhere() -> Terms {
    let target = Some(Box::new(Target::Node(NodeTarget::default())));
    Terms { source: Some(Box::default()), target, ..Terms::default() }
}

/// Terms of a consumer's link.
pub(crate) fn from(address: &str) -> Terms {
    Terms {
        source: Some(Box::new(Source { address: text(address), ..Source::default() })),
        target: Some(Box::new(Target::Node(NodeTarget::default()))),
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        ..Terms::default()
    }
}
