//! An MQTT client: the engine over a blocking socket, with a record of all that happened.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mq_mqtt::packet::{Auth, ConnAck, Connect, Disconnect, Publish, SubscriptionOptions, Text, Will};
use mq_mqtt::property::{Properties, PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{
    Config, Connection, Event, Limits, Outgoing, PacketId, Qos, ReasonCode, SessionState, Version,
};
use mqd::hub::Speaks;

use crate::node::{DEADLINE, Node};
use crate::scram::Scram;

/// What a client connects with.
pub(crate) struct Options {
    pub(crate) connect: Connect,
    pub(crate) config: Config,
    /// What an earlier connection left.
    pub(crate) state: SessionState,
    /// How it proves who it is.
    pub(crate) scram: Option<Scram>,
}

impl Options {
    /// MQTT 5.0, a clean start, no keep alive.
    pub(crate) fn new(client_id: &str) -> Self {
        let client_id = Text::new(client_id).unwrap();
        Self {
            connect: Connect { client_id, clean_start: true, ..Connect::default() },
            config: Config {
                limits: Limits { receive_maximum: u16::MAX, ..Limits::default() },
                ..Config::default()
            },
            state: SessionState::default(),
            scram: None,
        }
    }

    /// MQTT 3.1.1 with this clean session flag.
    pub(crate) fn v3(client_id: &str, clean_session: bool) -> Self {
        let mut options = Self::new(client_id);
        options.connect.version = Version::V3_1_1;
        options.connect.clean_start = clean_session;
        options
    }

    /// As a user.
    pub(crate) fn user(mut self, user: &str, password: &str) -> Self {
        self.connect.user_name = Some(Text::new(user).unwrap());
        self.connect.password = Some(Bytes::copy_from_slice(password.as_bytes()));
        self
    }

    /// As a user who proves that he knows his password.
    pub(crate) fn scram(self, user: &'static str, password: &'static str) -> Self {
        let scram = Scram::new(user, password);
        let options = self.with(|properties| {
            properties.authentication_method("SCRAM-SHA-256").unwrap();
            properties.authentication_data(&scram.first()).unwrap();
        });
        Self { scram: Some(scram), ..options }
    }

    /// Goes on with the session, and wants it kept so many seconds.
    pub(crate) fn lasting(client_id: &str, expiry: u32) -> Self {
        let mut options = Self::new(client_id);
        options.connect.clean_start = false;
        options.with(|properties| {
            properties.session_expiry_interval(expiry).unwrap();
        })
    }

    /// With more properties.
    pub(crate) fn with(mut self, more: impl FnOnce(&mut PropertyWriter)) -> Self {
        let mut properties = PropertyWriter::new(PropertyIn::Connect);
        properties.extend(self.connect.properties.view()).unwrap();
        more(&mut properties);
        self.connect.properties = properties.finish();
        self
    }

    /// With a clean start.
    pub(crate) fn clean(mut self) -> Self {
        self.connect.clean_start = true;
        self
    }

    /// With a will of QoS 1 that waits so many seconds.
    pub(crate) fn will(mut self, topic: &str, payload: &str, delay: u32) -> Self {
        let mut properties = PropertyWriter::new(PropertyIn::Will);
        if delay > 0 {
            properties.will_delay_interval(delay).unwrap();
        }
        self.connect.will = Some(Will {
            topic: Text::new(topic).unwrap(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: properties.finish(),
        });
        self
    }

    /// With what an earlier connection left.
    pub(crate) fn resuming(mut self, state: SessionState) -> Self {
        self.state = state;
        self
    }
}

/// A message as the client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) properties: Properties,
}

impl Got {
    fn of(publish: &Publish) -> Self {
        Self {
            topic: publish.topic().to_owned(),
            payload: publish.payload().to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            duplicate: publish.duplicate,
            packet_id: publish.packet_id,
            properties: publish.properties_owned().detach(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The identifiers of the subscriptions that it came for.
    pub(crate) fn identifiers(&self) -> Vec<u32> {
        self.properties.view().subscription_identifiers().collect()
    }
}

pub(crate) struct Mqtt {
    pub(crate) stream: TcpStream,
    pub(crate) engine: Connection,
    input: BytesMut,
    pub(crate) connack: Option<Box<ConnAck>>,
    /// What has come and has not been taken with `receive`.
    pub(crate) received: VecDeque<Got>,
    /// What became of what was published, by token.
    pub(crate) outcomes: HashMap<u64, ReasonCode>,
    answers: HashMap<PacketId, Vec<ReasonCode>>,
    /// What the last answer that had a reason string said.
    pub(crate) words: Option<String>,
    pub(crate) disconnected: Option<Box<Disconnect>>,
    pub(crate) has_ended: bool,
    /// What comes is acknowledged at once.
    pub(crate) acknowledges: bool,
    next: u64,
    scram: Option<Scram>,
    /// How often it has said again who it is.
    pub(crate) authentications: u32,
}

impl Mqtt {
    /// A client of this shard's that was let in.
    #[track_caller]
    pub(crate) fn connect(node: &Node, shard: usize, options: Options) -> Self {
        let client = Self::try_connect(node, shard, options);
        assert_eq!(client.connack().reason, ReasonCode::Success);
        client
    }

    /// A client that has its CONNACK, whatever that says.
    #[track_caller]
    pub(crate) fn try_connect(node: &Node, shard: usize, options: Options) -> Self {
        let mut client = Self::begin(node.connect_as(shard, Speaks::Mqtt, false, &[]), options);
        client.until("the answer to a CONNECT", |client| client.connack.is_some());
        client
    }

    /// A client that has sent its CONNECT and waits for nothing.
    pub(crate) fn begin(stream: TcpStream, options: Options) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let Options { connect, config, state, scram } = options;
        let engine = Connection::client(Arc::new(config), &connect, state, Instant::now()).unwrap();
        let mut client = Self {
            stream,
            engine,
            input: BytesMut::new(),
            connack: None,
            received: VecDeque::new(),
            outcomes: HashMap::new(),
            answers: HashMap::new(),
            words: None,
            disconnected: None,
            has_ended: false,
            acknowledges: true,
            next: 0,
            scram,
            authentications: 0,
        };
        client.write();
        client
    }

    pub(crate) fn has_connack(&self) -> bool {
        self.connack.is_some()
    }

    pub(crate) fn connack(&self) -> &ConnAck {
        self.connack.as_ref().expect("the CONNECT was answered")
    }

    /// Whether the node says that it had a session.
    pub(crate) fn session_present(&self) -> bool {
        self.connack().session_present
    }

    // ---- requests ---------------------------------------------------------------------------------

    /// Subscribes with a QoS; gives the reason of the SUBACK.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) -> ReasonCode {
        self.subscribe_all(&[(filter, SubscriptionOptions::new(qos))], None)[0]
    }

    /// Subscribes with options and an identifier; gives the reasons of the SUBACK.
    #[track_caller]
    pub(crate) fn subscribe_all(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        identifier: Option<u32>,
    ) -> Vec<ReasonCode> {
        let mut properties = PropertyWriter::new(PropertyIn::Subscribe);
        if let Some(identifier) = identifier {
            properties.subscription_identifier(identifier).unwrap();
        }
        let packet_id = self.engine.subscribe(filters, properties.finish().view()).unwrap();
        self.answer("a SUBACK", packet_id)
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Vec<ReasonCode> {
        let packet_id = self.engine.unsubscribe(&[filter], PropertyView::default()).unwrap();
        self.answer("an UNSUBACK", packet_id)
    }

    #[track_caller]
    fn answer(&mut self, what: &str, packet_id: PacketId) -> Vec<ReasonCode> {
        self.write();
        self.until(what, |client| client.answers.contains_key(&packet_id));
        self.answers.remove(&packet_id).unwrap()
    }

    /// Publishes; with QoS 1 and 2 waits until it has ended and gives the reason.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: Qos) -> ReasonCode {
        self.publish_with(topic, payload, qos, false, PropertyView::default())
    }

    #[track_caller]
    pub(crate) fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: Qos,
        retain: bool,
        properties: PropertyView<'_>,
    ) -> ReasonCode {
        let token = self.start(topic, payload, qos, retain, properties);
        self.write();
        if qos == Qos::AtMostOnce {
            return ReasonCode::Success;
        }
        self.until("the end of a publication", |client| client.outcomes.contains_key(&token));
        self.outcomes[&token]
    }

    /// Publishes and waits for nothing; says under which token its end will be known.
    pub(crate) fn start(
        &mut self,
        topic: &str,
        payload: &str,
        qos: Qos,
        retain: bool,
        properties: PropertyView<'_>,
    ) -> u64 {
        self.next += 1;
        let token = self.next;
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let outgoing = Outgoing { qos, retain, properties, token, ..Outgoing::new(topic, &payload) };
        self.engine.publish(&outgoing).unwrap();
        token
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Got {
        self.until("a message", |client| !client.received.is_empty());
        self.received.pop_front().unwrap()
    }

    /// Acknowledges a message that was not acknowledged at once.
    pub(crate) fn acknowledge(&mut self, got: &Got, reason: ReasonCode) {
        if let Some(packet_id) = got.packet_id {
            self.engine.acknowledge(packet_id, reason, PropertyView::default()).unwrap();
        }
        self.write();
    }

    /// Waits until the shard has done everything that this client asked of it: a PINGREQ and its answer
    /// would do as well, and the engine does not tell of those.
    #[track_caller]
    pub(crate) fn sync(&mut self) {
        let packet_id = self.engine.unsubscribe(&["nothing/of/the/kind"], PropertyView::default()).unwrap();
        self.answer("an UNSUBACK", packet_id);
    }

    /// Says good-bye and waits for the end.
    pub(crate) fn disconnect(self) {
        self.disconnect_with(ReasonCode::Success, None);
    }

    /// Says good-bye with a reason and a new session expiry interval.
    pub(crate) fn disconnect_with(mut self, reason: ReasonCode, expiry: Option<u32>) -> SessionState {
        let mut properties = PropertyWriter::new(PropertyIn::Disconnect);
        if let Some(expiry) = expiry {
            properties.session_expiry_interval(expiry).unwrap();
        }
        self.engine.disconnect(reason, properties.finish().view()).unwrap();
        self.write();
        self.until_ended();
        self.engine.session_state()
    }

    /// Goes without a word; waits for the node to notice.
    pub(crate) fn vanish(mut self) -> SessionState {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self.until_ended();
        self.engine.session_state()
    }

    /// The DISCONNECT of the node, once the connection has ended.
    #[track_caller]
    pub(crate) fn sent_away(&mut self) -> ReasonCode {
        self.until_ended();
        self.disconnected.as_ref().expect("a DISCONNECT came first").reason
    }

    // ---- the socket ---------------------------------------------------------------------------------

    pub(crate) fn write(&mut self) {
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
        while let Some(event) = self.engine.handle_input(Instant::now(), &mut self.input).unwrap() {
            self.note(event);
        }
        self.write();
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < end, "waited too long for {what}");
            assert!(!self.has_ended, "the connection ended before {what}: {:?}", self.disconnected);
            self.turn();
        }
    }

    /// Waits until the node has closed the socket.
    #[track_caller]
    pub(crate) fn until_ended(&mut self) {
        let end = Instant::now() + DEADLINE;
        while !self.has_ended {
            assert!(Instant::now() < end, "the connection goes on");
            self.turn();
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected(packet) => {
                if let (Some(scram), ReasonCode::Success) = (&self.scram, packet.reason) {
                    scram.verify(packet.properties.view().authentication_data().expect("the node's proof"));
                }
                self.connack = Some(packet);
            }
            Event::Auth(packet) => self.note_auth(&packet),
            Event::Publish(publish) => {
                let got = Got::of(&publish);
                if self.acknowledges
                    && let Some(packet_id) = got.packet_id
                {
                    let none = PropertyView::default();
                    self.engine.acknowledge(packet_id, ReasonCode::Success, none).unwrap();
                }
                self.received.push_back(got);
            }
            Event::Acknowledged { token, reason, properties, .. } => {
                self.hear(properties.view());
                self.outcomes.insert(token, reason);
            }
            Event::Completed { token, reason, .. } => {
                self.outcomes.insert(token, reason);
            }
            Event::SubAck(packet) => {
                self.hear(packet.properties.view());
                self.answers.insert(packet.packet_id, packet.reasons);
            }
            Event::UnsubAck(packet) => {
                self.answers.insert(packet.packet_id, packet.reasons);
            }
            Event::Disconnected(packet) => self.disconnected = Some(packet),
            _ => {}
        }
    }

    fn note_auth(&mut self, packet: &Auth) {
        let scram = self.scram.as_mut().expect("a way to go on");
        let data = packet.properties.view().authentication_data().unwrap_or_default();
        if packet.reason == ReasonCode::Success {
            scram.verify(data);
            self.authentications += 1;
            return;
        }
        let response = scram.answer(data);
        let mut properties = PropertyWriter::new(PropertyIn::Auth);
        properties.authentication_data(&response).unwrap();
        self.engine.auth(ReasonCode::ContinueAuthentication, properties.finish().view()).unwrap();
    }

    /// Says again who it is.
    pub(crate) fn authenticate_again(&mut self, scram: Scram) {
        let mut properties = PropertyWriter::new(PropertyIn::Auth);
        properties.authentication_data(&scram.first()).unwrap();
        self.engine.auth(ReasonCode::ReAuthenticate, properties.finish().view()).unwrap();
        self.scram = Some(scram);
        self.write();
    }

    fn hear(&mut self, properties: PropertyView<'_>) {
        if let Some(words) = properties.reason_string() {
            self.words = Some(words.to_owned());
        }
    }
}
