//! MQTT 5.0 through a client library that shares no code with the daemon: every use of it is a test of how the
//! daemon gets on with others.
//!
//! This module adds what a command line needs: deadlines, an outcome for each message, no silent connecting
//! again, and errors that say who refused what.

use std::{collections::HashSet, collections::VecDeque, future::Future, time::Duration};

use rumqttc::{
    NetworkOptions, Outgoing, TlsConfiguration, TlsError, Transport,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError,
        mqttbytes::{
            QoS,
            v5::{
                ConnAckProperties, ConnectProperties, ConnectReturnCode, Filter, Packet, PubAckReason,
                PubCompReason, PubRecReason, Publish, PublishProperties, SubscribeReasonCode,
            },
        },
    },
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{amqp::no_tls, tls::Tls};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome, reason},
    settings::Endpoint,
};

/// How long the opening of a connection, or the answer to a subscription, may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to close before it is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest packet that is received, in bytes: it is held in memory as a whole.
const MAX_PACKET: u32 = 256 << 20;
/// Requests that wait for the connection: one is enough to be never idle.
const REQUESTS: usize = 16;
/// Messages of QoS 0 that are taken ahead of the one being dealt with.
const AHEAD: usize = 1_024;
/// The largest window of messages without an outcome: the specification numbers them in 16 bits.
pub const MAX_WINDOW: u16 = u16::MAX - 1;

/// How a client presents itself.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// `None`: one that nobody else has.
    pub client_id: Option<String>,
    /// Seconds that the session outlives the connection. 0: a session of this connection alone.
    pub session_expiry: u32,
    /// Messages of QoS 1 and 2 that may be on their way to the client, and from it.
    pub window: u16,
}

/// An open connection.
#[derive(Debug)]
pub struct Client {
    requests: AsyncClient,
    happenings: mpsc::Receiver<Result<Event, ConnectionError>>,
    driver: JoinHandle<()>,
    place: String,
    client_id: String,
    /// There was a session, and it goes on.
    pub is_resumed: bool,
    capabilities: ConnAckProperties,
    /// What came while an answer was awaited.
    early: VecDeque<Happening>,
    /// Publications of QoS 2 that nobody is subscribed to, and that are not complete yet.
    unmatched: HashSet<u16>,
}

/// What a command has to know of.
#[derive(Debug)]
pub enum Happening {
    Message(Box<Publish>),
    /// A publication of QoS 0 is on its way, which is all that will be known.
    Sent,
    /// What became of a publication of QoS 1 or 2.
    Settled(Settled),
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Accepted,
    /// Accepted, and there was nobody to give it to.
    Unmatched,
    /// Why not.
    Refused(String),
}

impl Client {
    /// Connects and authenticates.
    pub async fn connect(endpoint: &Endpoint, login: &Login) -> Outcome<Self> {
        let place = endpoint.place();
        let client_id = login.client_id.clone().unwrap_or_else(random_client_id);
        let mut options = options(endpoint, login, &client_id);
        if endpoint.scheme.is_tls() {
            let config = Tls::new(&endpoint.host, &endpoint.trust)?.config();
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        let (requests, connection) = AsyncClient::new(options, REQUESTS);
        let (sender, mut happenings) = mpsc::channel(AHEAD + usize::from(login.window));
        let driver = tokio::spawn(drive(connection, sender));
        let failed = |failure| {
            driver.abort();
            failure
        };
        let answer = in_time(happenings.recv(), || unreachable(endpoint, "no answer within 10s")).await;
        let connack = match answer.map_err(failed)? {
            Some(Ok(Event::Incoming(Packet::ConnAck(connack)))) => connack,
            Some(Err(error)) => return Err(failed(connection_failure(&error, endpoint))),
            _ => return Err(failed(unreachable(endpoint, "it does not speak MQTT 5.0"))),
        };
        Ok(Self {
            requests,
            happenings,
            driver,
            place,
            client_id,
            is_resumed: connack.session_present,
            capabilities: connack.properties.unwrap_or_else(no_properties),
            early: VecDeque::new(),
            unmatched: HashSet::new(),
        })
    }

    /// Who the client is to the server.
    pub fn client_id(&self) -> &str {
        self.capabilities.assigned_client_identifier.as_deref().unwrap_or(&self.client_id)
    }

    /// Where answers to requests can be sent, as the server wants it.
    pub fn response_information(&self) -> Option<&str> {
        self.capabilities.response_information.as_deref().filter(|information| !information.is_empty())
    }

    /// Bytes of the largest packet that the server takes.
    pub fn max_packet(&self) -> Option<u32> {
        self.capabilities.max_packet_size
    }

    /// Says what the server cannot do of what a publication needs, before it ends the connection for it.
    ///
    /// # Errors
    /// What it cannot do.
    pub fn check(&self, qos: u8, retain: bool) -> Outcome {
        let max_qos = self.capabilities.max_qos.unwrap_or(2);
        if qos > max_qos {
            let message = format!("{} takes messages up to QoS {max_qos}", self.place);
            return Err(Failure::failed(message).help(format!("say --qos {max_qos}")));
        }
        if retain && self.capabilities.retain_available == Some(0) {
            return Err(Failure::failed(format!("{} retains no messages", self.place)));
        }
        Ok(())
    }

    /// Subscribes, and says which quality of service was granted.
    pub async fn subscribe(&mut self, filter: Filter) -> Outcome<u8> {
        let path = filter.path.clone();
        let asked = self.requests.subscribe_many([filter]).await;
        asked.map_err(|_| Failure::usage(format!("`{path}` is not a topic filter")))?;
        let deadline = tokio::time::Instant::now() + OPEN_TIMEOUT;
        loop {
            let late = || {
                Failure::new(Exit::TimedOut, format!("no answer to the subscription to `{path}` within 10s"))
            };
            let event = tokio::time::timeout_at(deadline, self.event()).await.map_err(|_| late())??;
            match event {
                Event::Incoming(Packet::SubAck(answer)) => {
                    return match answer.return_codes.first() {
                        Some(SubscribeReasonCode::Success(qos)) => Ok(level(*qos)),
                        Some(code) => Err(subscription_refused(*code, &path, &self.place)),
                        None => Err(Failure::failed(format!(
                            "{} answers a subscription with nothing",
                            self.place
                        ))),
                    };
                }
                event => {
                    let happening = self.happening(event);
                    self.early.extend(happening);
                }
            }
        }
    }

    /// Hands a message over; it is sent as the server allows it.
    pub async fn publish(
        &self,
        topic: &str,
        qos: u8,
        retain: bool,
        payload: Vec<u8>,
        properties: PublishProperties,
    ) {
        // The connection may have ended; then the next happening says why.
        let _ = self.requests.publish_with_properties(topic, quality(qos), retain, payload, properties).await;
    }

    /// The next thing that happens. Cancel-safe.
    pub async fn next(&mut self) -> Outcome<Happening> {
        loop {
            if let Some(happening) = self.early.pop_front() {
                return Ok(happening);
            }
            let event = self.event().await?;
            if let Some(happening) = self.happening(event) {
                return Ok(happening);
            }
        }
    }

    async fn event(&mut self) -> Outcome<Event> {
        match self.happenings.recv().await {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(lost(&error, &self.place)),
            None => {
                Err(Failure::new(Exit::Unreachable, format!("the connection to {} has ended", self.place)))
            }
        }
    }

    fn happening(&mut self, event: Event) -> Option<Happening> {
        let settled = match event {
            Event::Incoming(Packet::Publish(publish)) => return Some(Happening::Message(Box::new(publish))),
            // Only publications of QoS 0 have no packet identifier.
            Event::Outgoing(Outgoing::Publish(0)) => return Some(Happening::Sent),
            Event::Incoming(Packet::PubAck(answer)) => match answer.reason {
                PubAckReason::Success => Settled::Accepted,
                PubAckReason::NoMatchingSubscribers => Settled::Unmatched,
                reason => Settled::Refused(words(&format!("{reason:?}"))),
            },
            Event::Incoming(Packet::PubRec(answer)) => match answer.reason {
                PubRecReason::Success => return None,
                PubRecReason::NoMatchingSubscribers => {
                    self.unmatched.insert(answer.pkid);
                    return None;
                }
                reason => Settled::Refused(words(&format!("{reason:?}"))),
            },
            Event::Incoming(Packet::PubComp(answer)) => match answer.reason {
                PubCompReason::Success if self.unmatched.remove(&answer.pkid) => Settled::Unmatched,
                PubCompReason::Success => Settled::Accepted,
                reason => Settled::Refused(words(&format!("{reason:?}"))),
            },
            _ => return None,
        };
        Some(Happening::Settled(settled))
    }

    /// Tells the server that a message has been dealt with.
    pub async fn acknowledge(&self, publish: &Publish) {
        // As for a publication.
        let _ = self.requests.ack(publish).await;
    }

    /// Says farewell, and returns when the server has heard it, and with it everything that was said before.
    pub async fn close(mut self) {
        let closing = async {
            if self.requests.disconnect().await.is_ok() {
                while let Some(Ok(_)) = self.happenings.recv().await {}
            }
        };
        // A server that does not answer is left: the process is about to end.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        self.driver.abort();
    }
}

/// Moves bytes until the connection ends: a task of its own, so that no step of it is given up halfway.
async fn drive(mut connection: EventLoop, happenings: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let polled = connection.poll().await;
        let is_over = polled.is_err();
        if is_over {
            // What came before the end comes before it here, too.
            while let Some(event) = connection.state.events.pop_front() {
                if happenings.send(Ok(event)).await.is_err() {
                    return;
                }
            }
        }
        // To poll once more would connect again, and the command would not know what it has missed.
        if happenings.send(polled).await.is_err() || is_over {
            return;
        }
    }
}

fn options(endpoint: &Endpoint, login: &Login, client_id: &str) -> MqttOptions {
    // The library joins host and port with a colon.
    let host =
        if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let mut options = MqttOptions::new(client_id, host, endpoint.port);
    let window = login.window.max(1);
    let mut network = NetworkOptions::new();
    // Messages are small and are waited for: none is held back for the next.
    network.set_tcp_nodelay(true);
    options
        .set_network_options(network)
        .set_clean_start(login.session_expiry == 0)
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(window)
        .set_connection_timeout(OPEN_TIMEOUT.as_secs())
        .set_connect_properties(ConnectProperties {
            session_expiry_interval: Some(login.session_expiry).filter(|expiry| *expiry > 0),
            receive_maximum: Some(window),
            max_packet_size: Some(MAX_PACKET),
            // The library shows a message without its topic when the server uses an alias for it.
            topic_alias_max: None,
            request_response_info: Some(1),
            request_problem_info: Some(1),
            user_properties: Vec::new(),
            authentication_method: None,
            authentication_data: None,
        });
    if let Some((user, password)) = endpoint.credentials.named() {
        options.set_credentials(user, password);
    }
    options
}

/// What every server must take: letters and digits, at most 23 (3.1.3.1).
fn random_client_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("mq{}", id.get(..21).unwrap_or(&id))
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

/// Checks a name that messages are sent to (4.7.1, 4.7.3).
///
/// # Errors
/// What is wrong with it.
pub fn check_topic(topic: &str) -> Outcome {
    let wrong = if topic.contains(['+', '#']) {
        "a wildcard is for receiving"
    } else if topic.contains('\0') {
        "it contains the character U+0000"
    } else if topic.len() > usize::from(u16::MAX) {
        "it has more than 65,535 bytes"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("cannot send to the topic `{topic}`: {wrong}")))
}

/// The library's word for a quality of service.
pub fn quality(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// The number of a quality of service.
pub fn level(quality: QoS) -> u8 {
    match quality {
        QoS::AtMostOnce => 0,
        QoS::AtLeastOnce => 1,
        QoS::ExactlyOnce => 2,
    }
}

async fn in_time<T>(work: impl Future<Output = T>, late: impl FnOnce() -> Failure) -> Outcome<T> {
    tokio::time::timeout(OPEN_TIMEOUT, work).await.map_err(|_| late())
}

fn unreachable(endpoint: &Endpoint, why: &str) -> Failure {
    let help = if endpoint.is_deployed {
        "start the fleet with `mq deploy`, or choose another one with `mq context use`"
    } else {
        "check the host and the port"
    };
    Failure::new(Exit::Unreachable, format!("cannot reach {}: {why}", endpoint.place())).help(help)
}

fn connection_failure(error: &ConnectionError, endpoint: &Endpoint) -> Failure {
    match error {
        ConnectionError::Io(error) if is_about_tls(error) => no_tls(endpoint, &reason(error)),
        ConnectionError::Tls(TlsError::Io(error)) => no_tls(endpoint, &reason(error)),
        ConnectionError::Tls(error) => no_tls(endpoint, &error.to_string()),
        ConnectionError::Io(error) => unreachable(endpoint, &reason(error)),
        ConnectionError::ConnectionRefused(code) => {
            let exit = match code {
                ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::BadAuthenticationMethod
                | ConnectReturnCode::Banned => Exit::Denied,
                _ => Exit::Failed,
            };
            let why = words(&format!("{code:?}"));
            Failure::new(exit, format!("{} refuses the connection: {why}", endpoint.place()))
        }
        ConnectionError::NotConnAck(_) | ConnectionError::MqttState(StateError::Deserialization(_)) => {
            unreachable(endpoint, "it does not speak MQTT 5.0")
        }
        error => unreachable(endpoint, &error.to_string().to_lowercase()),
    }
}

/// Whether a failure of the socket is one of what lies over it.
fn is_about_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

fn lost(error: &ConnectionError, place: &str) -> Failure {
    let why = match error {
        ConnectionError::Io(error) => reason(error),
        ConnectionError::MqttState(StateError::Io(error)) => reason(error),
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the server closed it".into(),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let code = words(&format!("{reason_code:?}"));
            match reason_string {
                Some(text) if !text.is_empty() => format!("{text} ({code})"),
                _ => code,
            }
        }
        ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { pkt_size, max }) => {
            return Failure::new(
                Exit::NotDelivered,
                format!("a message takes {pkt_size} bytes, and {place} takes packets of {max}"),
            )
            .help("send less at once, or raise mqtt.max-packet-size");
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the server is silent".into(),
        error => error.to_string().to_lowercase(),
    };
    Failure::new(Exit::Unreachable, format!("the connection to {place} was lost: {why}"))
}

fn subscription_refused(code: SubscribeReasonCode, filter: &str, place: &str) -> Failure {
    let (exit, help) = match code {
        SubscribeReasonCode::NotAuthorized => (Exit::Denied, None),
        SubscribeReasonCode::TopicFilterInvalid => {
            let name = filter.split(['+', '#']).next().unwrap_or_default().trim_end_matches('/');
            let name = if name.is_empty() { "#" } else { name };
            let create = format!("mq address create {} --type topic", crate::shape::quoted(name));
            (Exit::NotFound, Some(format!("no topic serves it; create one: {create}")))
        }
        _ => (Exit::Failed, None),
    };
    let why = words(&format!("{code:?}"));
    let failure = Failure::new(exit, format!("{place} refuses the subscription to `{filter}`: {why}"));
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// `TopicNameInvalid` as `topic name invalid`.
fn words(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_in_words() {
        assert_eq!(words("TopicNameInvalid"), "topic name invalid");
        assert_eq!(words("Banned"), "banned");
    }

    #[test]
    fn a_random_client_id_is_one_that_every_server_takes_and_nobody_has() {
        let id = random_client_id();
        assert!(id.len() <= 23 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_ne!(id, random_client_id());
    }
}
