//! MQTT 5.0 and 3.1.1 with the engine of our own.

use std::{collections::VecDeque, io::IoSlice, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use mq_mqtt::{
    Blocked, Config, Connection, Event, Limits, Outgoing, PeerError, Qos, ReasonCode, SessionState, Version,
    packet::{Connect, Publish, SubscriptionOptions, Text},
    property::{Properties, PropertyIn, PropertyView, PropertyWriter},
    topic::{TopicLimits, check_name, parse_filter},
};

use super::{Arrival, Draft, Fault, Happening, Kind, Manner, Part, Request};
use crate::{
    bench::{
        integrity::Told,
        payload,
        payload::{Reading, Stamp},
        result::{Load, MqttVersion},
    },
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The library, for the result.
pub const CLIENT: &str = concat!("mq-mqtt ", env!("CARGO_PKG_VERSION"));

/// Seconds without a packet after which the target may give the connection up.
const KEEP_ALIVE: u16 = 60;
/// Bytes that a packet may have besides its payload.
const OVERHEAD: u32 = 128 << 10;
/// A publication's token holds the link's index above its sequence number.
const SEQUENCE_BITS: u32 = 48;

/// Refuses what MQTT has no word for, before anything is connected.
///
/// # Errors
/// One sentence of what cannot be had, and what can.
pub fn check(load: &Load) -> Outcome {
    let refuse = |why: String, help: &str| Err(Failure::usage(why).help(help));
    if load.settled {
        return refuse("MQTT has no settled messages".into(), "write --qos 0 in place of --settled");
    }
    if load.durable {
        return refuse("MQTT does not mark messages as durable".into(), "write --qos 1 or --qos 2");
    }
    if load.links > 1 {
        return refuse(
            "MQTT has no links, of which a connection could have several".into(),
            "leave --links out",
        );
    }
    let address = &load.address;
    if address.is_empty() {
        return Ok(());
    }
    let topic = topic(address);
    let is_named = load.senders == 0 || check_name(topic, TopicLimits::NONE).is_ok();
    match parse_filter(address, TopicLimits::NONE) {
        Err(error) => refuse(
            format!("`{address}` is not a topic: {error}"),
            "write it like mqtt://host:port/sensors/kitchen",
        ),
        Ok(_) if !is_named => refuse(
            format!("nobody can send to `{topic}`: a message has a topic without wildcards"),
            "leave the wildcards to `mq bench recv`",
        ),
        Ok(_) => Ok(()),
    }
}

/// Whether every receiver of an address gets every message: it does, unless a subscription is shared.
pub fn copies_to_each(address: &str) -> bool {
    parse_filter(address, TopicLimits::NONE).is_ok_and(|filter| filter.share.is_none())
}

/// Where messages for an address are sent: a share is a matter of those who receive.
fn topic(address: &str) -> &str {
    parse_filter(address, TopicLimits::NONE).map_or(address, |filter| filter.filter)
}

/// A connection with at most one subscription.
#[derive(Debug)]
pub struct Mqtt {
    engine: Connection,
    manner: Arc<Manner>,
    qos: Qos,
    parts: Vec<Part>,
    /// By part: where it sends to, or what it subscribes to.
    topics: Vec<String>,
    version: Version,
    is_ready: bool,
}

impl Mqtt {
    /// A connection; `terms` are the version and the QoS.
    pub fn new(
        manner: Arc<Manner>,
        terms: (MqttVersion, u8),
        parts: &[Part],
        first: u32,
        client_id: &str,
        now: Instant,
    ) -> Result<Self, Fault> {
        let (version, qos) = terms;
        let version = match version {
            MqttVersion::V3 => Version::V3_1_1,
            MqttVersion::V5 => Version::V5_0,
        };
        let qos = Qos::from_byte(qos).unwrap_or(Qos::AtMostOnce);
        let connect = connect(&manner, version, client_id)?;
        let config = Arc::new(config(&manner));
        let engine = Connection::client(config, &connect, SessionState::default(), now)
            .map_err(|misuse| Fault::Broken(misuse.to_string()))?;
        let topic_of = |(part, number): (&Part, u32)| match part {
            Part::Sender => topic(&manner.address_of(number)).to_owned(),
            Part::Receiver => manner.address_of(number),
            Part::Replies => reply_topic(&manner, number),
            Part::Relay => String::new(),
        };
        let topics = match parts {
            // The two parts of one who asks, or of one who answers, have one number.
            [_, Part::Replies | Part::Relay] => parts.iter().map(|part| topic_of((part, first))).collect(),
            _ => parts.iter().zip(first..).map(topic_of).collect(),
        };
        Ok(Self {
            engine,
            manner: manner.clone(),
            qos,
            parts: parts.to_vec(),
            topics,
            version,
            is_ready: false,
        })
    }

    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        while let Some(event) = self.engine.handle_input(now, input).map_err(|error| broken(&error))? {
            self.handle_event(event, happenings)?;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event, happenings: &mut VecDeque<Happening>) -> Result<(), Fault> {
        match event {
            Event::Publish(publish) => self.handle_publish(publish, happenings),
            Event::Acknowledged { token, reason, .. } | Event::Completed { token, reason, .. } => {
                happenings.push_back(told(token, reason));
                Ok(())
            }
            Event::Connected(answer) if answer.reason.is_error() => {
                Err(refused("the connection is refused", answer.reason, answer.properties.view()))
            }
            Event::Connected(_) => self.subscribe(happenings),
            Event::SubAck(answer) => {
                let granted = answer.reasons.first().copied().unwrap_or(ReasonCode::UnspecifiedError);
                if granted.is_error() {
                    return Err(refused("the subscription is refused", granted, answer.properties.view()));
                }
                if granted.to_byte() < self.qos.to_byte() {
                    let (granted, wanted) = (granted.to_byte(), self.qos.to_byte());
                    let text = format!("it subscribes with QoS {granted} at most, in place of {wanted}");
                    return Err(Fault::Refused { exit: Exit::Failed, text });
                }
                self.ready(happenings);
                Ok(())
            }
            Event::Disconnected(farewell) => {
                Err(refused("the connection was ended", farewell.reason, farewell.properties.view()))
            }
            _ => Ok(()),
        }
    }

    /// Subscribes where the connection has something to receive.
    fn subscribe(&mut self, happenings: &mut VecDeque<Happening>) -> Result<(), Fault> {
        let Some(filter) = self.incoming().and_then(|link| self.topics.get(link)) else {
            self.ready(happenings);
            return Ok(());
        };
        let filters = [(filter.as_str(), SubscriptionOptions::new(self.qos))];
        self.engine.subscribe(&filters, PropertyView::default()).map(drop).map_err(blocked)
    }

    fn ready(&mut self, happenings: &mut VecDeque<Happening>) {
        self.is_ready = true;
        happenings.push_back(Happening::Ready);
    }

    /// The link that messages come on.
    fn incoming(&self) -> Option<usize> {
        self.parts.iter().position(|part| matches!(part, Part::Receiver | Part::Replies))
    }

    fn handle_publish(
        &mut self,
        publish: Publish,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        let Some(link) = self.incoming() else {
            return Ok(());
        };
        let packet_id = publish.packet_id;
        let answers = self.parts.contains(&Part::Replies).then(|| self.answers(&publish)).flatten();
        let request = self.parts.contains(&Part::Relay).then(|| self.request(&publish)).flatten();
        happenings.push_back(Happening::Arrived(Arrival {
            link,
            body: publish.into_payload(),
            request,
            answers,
        }));
        let Some(packet_id) = packet_id else {
            return Ok(());
        };
        let done = self.engine.acknowledge(packet_id, ReasonCode::Success, PropertyView::default());
        done.map_err(|misuse| Fault::Broken(misuse.to_string()))
    }

    /// The number of the request that a message answers. 3.1.1 has no place for it but the body, which
    /// comes back as it was sent.
    fn answers(&self, publish: &Publish) -> Option<u64> {
        match self.version {
            Version::V5_0 => sequence(publish.properties().correlation_data()?),
            Version::V3_1_1 => stamp(publish).map(|stamp| stamp.sequence),
        }
    }

    /// Where a message is answered; in 3.1.1 that follows from who sent it.
    fn request(&self, publish: &Publish) -> Option<Box<Request>> {
        let properties = publish.properties();
        Some(Box::new(match self.version {
            Version::V5_0 => Request::Mqtt {
                topic: properties.response_topic()?.to_owned(),
                correlation: properties.correlation_data().map(Bytes::copy_from_slice),
            },
            Version::V3_1_1 => {
                let topic = reply_topic(&self.manner, stamp(publish)?.stream);
                Request::Mqtt { topic, correlation: None }
            }
        }))
    }

    pub fn room(&self, _link: usize) -> u32 {
        match self.qos {
            _ if !self.is_ready => 0,
            // Nobody counts them: what the socket takes is the limit.
            Qos::AtMostOnce => u32::MAX,
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.engine.window().into(),
        }
    }

    pub fn send(
        &mut self,
        draft: &Draft<'_>,
        arena: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Fault> {
        write(arena);
        let payload = arena.split().freeze();
        let properties = self.properties(draft)?;
        let topic = match draft.kind {
            Kind::Answer(Request::Mqtt { topic, .. }) => Some(topic),
            _ => self.topics.get(draft.link),
        };
        let topic = topic.ok_or_else(|| Fault::Broken("there is no topic to send to".into()))?;
        let token = (draft.link as u64) << SEQUENCE_BITS | draft.sequence & ((1 << SEQUENCE_BITS) - 1);
        let message = Outgoing {
            qos: self.qos,
            properties: properties.view(),
            token,
            ..Outgoing::new(topic, &payload)
        };
        self.engine.publish(&message).map(drop).map_err(blocked)
    }

    /// What a request and its answer say about each other (3.3.2.3.5, 3.3.2.3.6).
    fn properties(&self, draft: &Draft<'_>) -> Result<Properties, Fault> {
        let is_told = self.version == Version::V5_0 && !matches!(draft.kind, Kind::Message);
        if !is_told {
            return Ok(Properties::default());
        }
        let sequence = draft.sequence.to_be_bytes();
        let (topic, correlation) = match draft.kind {
            Kind::Request => (self.incoming().and_then(|link| self.topics.get(link)), Some(&sequence[..])),
            Kind::Answer(Request::Mqtt { correlation, .. }) => (None, correlation.as_deref()),
            Kind::Message | Kind::Answer(Request::Amqp { .. }) => (None, None),
        };
        let mut writer = PropertyWriter::new(PropertyIn::Publish);
        let unfit = |error| Fault::Broken(format!("a property cannot be sent: {error}"));
        if let Some(topic) = topic {
            writer.response_topic(topic).map_err(unfit)?;
        }
        if let Some(correlation) = correlation {
            writer.correlation_data(correlation).map_err(unfit)?;
        }
        Ok(writer.finish())
    }

    /// No server says what it is.
    pub fn product(&self) -> Option<String> {
        None
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        self.engine.handle_timeout(now).map_err(|error| broken(&error))
    }

    pub fn close(&mut self, _now: Instant) {
        // A connection that is not open has nobody to take leave of.
        let _ = self.engine.disconnect(ReasonCode::Success, PropertyView::default());
    }

    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.engine.slices(slices)
    }

    pub fn written(&mut self, now: Instant, count: usize) {
        self.engine.written(now, count);
    }

    pub fn buffered(&self) -> usize {
        self.engine.buffered()
    }
}

fn config(manner: &Manner) -> Config {
    let packet = u32::try_from(manner.largest.max(payload::MIN_SIZE)).unwrap_or(u32::MAX);
    let limits = Limits {
        max_packet_size: packet.saturating_mul(2).saturating_add(OVERHEAD),
        receive_maximum: receive_maximum(manner),
        max_in_flight: u16::MAX,
        // As clients usually do: no aliases, so that each message says its topic.
        topic_alias_maximum: 0,
        max_outgoing_aliases: 0,
        ..Limits::default()
    };
    Config { limits, ..Config::default() }
}

/// Credit is what MQTT calls the receive maximum (3.1.2.11.3).
fn receive_maximum(manner: &Manner) -> u16 {
    u16::try_from(manner.credit).unwrap_or(u16::MAX).max(1)
}

fn connect(manner: &Manner, version: Version, client_id: &str) -> Result<Connect, Fault> {
    let text = |text: &str| Text::new(text).map_err(|error| Fault::Broken(format!("`{text}`: {error}")));
    let (user_name, password) = match manner.credentials.named() {
        None => (None, None),
        Some((user, password)) => {
            // A token says itself whose it is.
            let user = if user.is_empty() { None } else { Some(text(user)?) };
            (user, Some(Bytes::copy_from_slice(password.as_bytes())))
        }
    };
    Ok(Connect {
        version,
        clean_start: true,
        keep_alive: KEEP_ALIVE,
        client_id: text(client_id)?,
        user_name,
        password,
        ..Connect::default()
    })
}

/// Where the answers for a sender go.
fn reply_topic(manner: &Manner, stream: u32) -> String {
    format!("mq-bench/{:08x}/{stream}", manner.run)
}

/// What a message of ours says about itself.
fn stamp(publish: &Publish) -> Option<Stamp> {
    match payload::read(publish.payload()) {
        Reading::Stamp(stamp) => Some(stamp),
        Reading::Corrupted | Reading::Foreign => None,
    }
}

/// The number that a request was sent with.
fn sequence(correlation: &[u8]) -> Option<u64> {
    correlation.try_into().ok().map(u64::from_be_bytes)
}

/// What became of a message.
fn told(token: u64, reason: ReasonCode) -> Happening {
    let told = match reason {
        // 3.4.2.1: the message was taken, and nobody was there to get it.
        ReasonCode::NoMatchingSubscribers => Told::Released,
        reason if reason.is_error() => Told::Rejected,
        _ => Told::Accepted,
    };
    let link = usize::try_from(token >> SEQUENCE_BITS).unwrap_or(usize::MAX);
    Happening::Told { link, sequence: token & ((1 << SEQUENCE_BITS) - 1), told }
}

/// What the target says with a reason.
fn refused(what: &str, reason: ReasonCode, properties: PropertyView<'_>) -> Fault {
    let code = reason.to_byte();
    let text = match properties.reason_string() {
        Some(why) => format!("{what}: {why} ({}, 0x{code:02x})", reason.name()),
        None => format!("{what}: {} (0x{code:02x})", reason.name()),
    };
    let exit = match reason {
        ReasonCode::NotAuthorized
        | ReasonCode::BadUserNameOrPassword
        | ReasonCode::BadAuthenticationMethod => Exit::Denied,
        // They pass, and the connection may be made again.
        ReasonCode::Success | ReasonCode::ServerShuttingDown | ReasonCode::AdministrativeAction => {
            return Fault::Broken(text);
        }
        _ => Exit::Failed,
    };
    Fault::Refused { exit, text }
}

/// The engine is asked for something that the target does not take.
fn blocked(blocked: Blocked) -> Fault {
    match blocked {
        Blocked::NotOpen => Fault::Broken(blocked.to_string()),
        _ => Fault::Refused { exit: Exit::Failed, text: blocked.to_string() },
    }
}

fn broken(error: &PeerError) -> Fault {
    Fault::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::{client::Language, result::Wire},
        settings::Credentials,
    };

    fn manner(address: &str) -> Manner {
        Manner {
            host: "h".into(),
            address: address.into(),
            credentials: Credentials::Anonymous,
            language: Language::Mqtt { version: MqttVersion::V5, qos: 1 },
            settled: false,
            durable: false,
            credit: 1_000_000,
            largest: 100,
            run: 7,
        }
    }

    fn load() -> Load {
        Load { protocol: Wire::Mqtt, qos: Some(1), ..Load::bare(crate::bench::result::Shape::Pipe, 1, 1) }
    }

    #[test]
    fn what_mqtt_has_no_word_for_is_refused_with_what_to_write() {
        let cases = [
            (Load { settled: true, ..load() }, "a", "--qos 0"),
            (Load { durable: true, ..load() }, "a", "--qos 1"),
            (Load { links: 2, ..load() }, "a", "--links"),
            (load(), "a/+/b", "mq bench recv"),
            (load(), "a/#/b", "sensors/kitchen"),
        ];
        for (load, address, word) in cases {
            let failure = check(&Load { address: address.into(), ..load }).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.help.as_deref().is_some_and(|help| help.contains(word)), "{failure:?}");
        }
        assert!(check(&Load { address: "a/{n}".into(), ..load() }).is_ok());
        assert!(check(&Load { address: "a/+/#".into(), senders: 0, ..load() }).is_ok());
    }

    #[test]
    fn a_shared_subscription_is_sent_to_without_its_share_and_gives_each_message_to_one() {
        assert_eq!(topic("$share/g/a/b"), "a/b");
        assert!(!copies_to_each("$share/g/a/b"));
        assert!(copies_to_each("a/b"));
        assert!(check(&Load { address: "$share/g/a".into(), ..load() }).is_ok());
    }

    #[test]
    fn the_credit_becomes_a_receive_maximum_that_fits() {
        assert_eq!(receive_maximum(&manner("a")), u16::MAX);
        assert_eq!(receive_maximum(&Manner { credit: 7, ..manner("a") }), 7);
    }

    #[test]
    fn a_message_that_nobody_was_there_for_is_given_back_and_not_lost() {
        let outcome = |reason| match told(3 << SEQUENCE_BITS | 9, reason) {
            Happening::Told { link: 3, sequence: 9, told } => told,
            other => panic!("{other:?}"),
        };
        assert_eq!(outcome(ReasonCode::Success), Told::Accepted);
        assert_eq!(outcome(ReasonCode::NoMatchingSubscribers), Told::Released);
        assert_eq!(outcome(ReasonCode::QuotaExceeded), Told::Rejected);
    }
}
