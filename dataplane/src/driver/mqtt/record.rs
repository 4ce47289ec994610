//! What of a session is on disk: its record, its wills, and the packet identifiers of QoS 2 under way.
//!
//! Behind the first byte of every key of the daemon's stand a letter for the kind and the client
//! identifier. Values start with a version. Numbers are LEB128; bytes follow their length. What cannot
//! be read is no object of this version: the caller says so and leaves it where it is.

use std::sync::Arc;

use bytes::Bytes;
use mq_core::encoding::{Reader, put_bytes, put_number};
use mq_core::{Reference, UnixMillis};
use mq_mqtt::packet::{SubscriptionOptions, Text};
use mq_mqtt::property::{Properties, PropertyIn};
use mq_mqtt::{PacketId, Qos, Version};

use crate::driver::objects::NAMESPACE;

/// The version of most values.
const VERSION: u8 = 1;

/// The version of a session's record that says how the session is called in the fleet.
const NAMED: u8 = 2;

/// The version of a value of a user's: his name, and then the value in one of the other versions.
const OWNED: u8 = 3;

/// Bytes of a session's record: what would make it larger is refused.
pub(crate) const LARGEST_RECORD: usize = 4 << 20;

/// Properties of a will that are read back; the protocol engine let no more in.
const WILL_PROPERTIES: u16 = u16::MAX;

/// The name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKey {
    Session(Box<str>),
    /// A will of this number: unlike those of other connections of the client.
    Will(Box<str>, u64),
    /// A publication of QoS 2 that was taken and that the client has not released.
    Incoming(Box<str>, PacketId),
    /// A message of QoS 2 that was sent and whose exchange has not ended.
    Outgoing(Box<str>, PacketId),
    /// A session of this number that has gone to another node.
    Departure(Box<str>, u64),
    /// A session that another node offers, or has given.
    Arrival(Box<str>),
}

impl ObjectKey {
    /// The client that it belongs to.
    pub(crate) fn client_id(&self) -> &str {
        match self {
            Self::Session(id)
            | Self::Will(id, _)
            | Self::Incoming(id, _)
            | Self::Outgoing(id, _)
            | Self::Departure(id, _)
            | Self::Arrival(id) => id,
        }
    }

    /// `None` for what is no key of this version.
    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let [NAMESPACE, kind, rest @ ..] = key else { return None };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Box::from);
        let packet_id = || {
            let (id, number) = rest.split_last_chunk()?;
            Some((text(id)?, PacketId::new(u16::from_be_bytes(*number))?))
        };
        match *kind {
            SESSION => Some(Self::Session(text(rest)?)),
            WILL => {
                let (id, number) = rest.split_last_chunk()?;
                Some(Self::Will(text(id)?, u64::from_be_bytes(*number)))
            }
            INCOMING => packet_id().map(|(id, packet_id)| Self::Incoming(id, packet_id)),
            OUTGOING => packet_id().map(|(id, packet_id)| Self::Outgoing(id, packet_id)),
            DEPARTURE => {
                let (id, number) = rest.split_last_chunk()?;
                Some(Self::Departure(text(id)?, u64::from_be_bytes(*number)))
            }
            ARRIVAL => Some(Self::Arrival(text(rest)?)),
            _ => None,
        }
    }
}

const SESSION: u8 = b's';
const WILL: u8 = b'w';
const INCOMING: u8 = b'i';
const OUTGOING: u8 = b'o';
const DEPARTURE: u8 = b'd';
const ARRIVAL: u8 = b'a';

/// The key of a session's record.
pub(crate) fn session_key(client_id: &str) -> Bytes {
    key(SESSION, client_id, &[])
}

/// The key of a will.
pub(crate) fn will_key(client_id: &str, number: u64) -> Bytes {
    key(WILL, client_id, &number.to_be_bytes())
}

/// The key of a publication of QoS 2 that was taken.
pub(crate) fn incoming_key(client_id: &str, packet_id: PacketId) -> Bytes {
    key(INCOMING, client_id, &packet_id.to_number().to_be_bytes())
}

/// The key of a message of QoS 2 that was sent.
pub(crate) fn outgoing_key(client_id: &str, packet_id: PacketId) -> Bytes {
    key(OUTGOING, client_id, &packet_id.to_number().to_be_bytes())
}

/// The key of a session of this number that has gone to another node.
pub(crate) fn departure_key(client_id: &str, number: u64) -> Bytes {
    key(DEPARTURE, client_id, &number.to_be_bytes())
}

/// The key of a session that another node offers, or has given.
pub(crate) fn arrival_key(client_id: &str) -> Bytes {
    key(ARRIVAL, client_id, &[])
}

fn key(kind: u8, client_id: &str, rest: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(2 + client_id.len() + rest.len());
    out.extend_from_slice(&[NAMESPACE, kind]);
    out.extend_from_slice(client_id.as_bytes());
    out.extend_from_slice(rest);
    out.into()
}

/// A session as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    /// Tells it from earlier sessions of the client: what the store had taken of those when they ended may
    /// come after it.
    pub(crate) number: u64,
    /// Seconds that it outlives its connection; `u32::MAX` means for ever.
    pub(crate) expiry: u32,
    /// When its connection ended; `None` while there is one.
    pub(crate) disconnected: Option<UnixMillis>,
    pub(crate) begun: Begun,
    /// Whose it is; `None`: nobody's in particular.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) subscriptions: Vec<SubscriptionRecord>,
}

/// Where a session began, which is part of what its durable subscriptions and claims are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Begun {
    /// On this node, which belonged to no fleet.
    #[default]
    Alone,
    /// On this node, in a fleet.
    Here,
    /// It has moved: what it was called on the node where it began.
    Elsewhere(Box<str>),
}

impl Begun {
    /// As it stands in the name of the session of this number. `node` is this one.
    pub(crate) fn birth(&self, node: &str, number: u64) -> Box<str> {
        match self {
            Self::Alone => node.into(),
            Self::Here => format!("{node}+{number}").into(),
            Self::Elsewhere(birth) => birth.clone(),
        }
    }
}

/// A subscription as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionRecord {
    /// The filter as the client wrote it, with its share.
    pub(crate) filter: Box<str>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) granted: Qos,
    /// The subscription identifier; 0: none.
    pub(crate) identifier: u32,
}

impl SubscriptionRecord {
    /// Bytes that it takes in a record, at most.
    fn len(&self) -> usize {
        self.filter.len() + SUBSCRIPTION_OVERHEAD
    }
}

/// Bytes of a subscription beside its filter: length, options, QoS, identifier.
const SUBSCRIPTION_OVERHEAD: usize = 3 + 1 + 1 + 4;

impl SessionRecord {
    /// Where the session began, as its name says it. `node` is this one.
    pub(crate) fn birth(&self, node: &str) -> Box<str> {
        self.begun.birth(node, self.number)
    }

    /// Whether a session with these filters can be kept.
    pub(crate) fn is_fit<'a>(filters: impl Iterator<Item = &'a str>) -> bool {
        filters.map(|filter| filter.len() + SUBSCRIPTION_OVERHEAD).sum::<usize>() <= LARGEST_RECORD
    }

    pub(crate) fn encode(&self) -> Bytes {
        let room: usize = 30 + self.subscriptions.iter().map(SubscriptionRecord::len).sum::<usize>();
        let mut out = Vec::with_capacity(room);
        put_user(&mut out, self.user.as_deref());
        match &self.begun {
            Begun::Alone => out.push(VERSION),
            Begun::Here => out.extend_from_slice(&[NAMED, 0]),
            Begun::Elsewhere(name) => {
                out.push(NAMED);
                put_bytes(&mut out, name.as_bytes());
            }
        }
        put_number(&mut out, self.number);
        put_number(&mut out, u64::from(self.expiry));
        put_time(&mut out, self.disconnected);
        put_number(&mut out, self.subscriptions.len() as u64);
        for subscription in &self.subscriptions {
            put_bytes(&mut out, subscription.filter.as_bytes());
            out.push(subscription.options.to_byte(Version::V5_0));
            out.push(subscription.granted.to_byte());
            put_number(&mut out, u64::from(subscription.identifier));
        }
        out.into()
    }

    /// `None` for what is no record of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        let (user, version) = user(&mut input)?;
        let begun = match version {
            VERSION => Begun::Alone,
            NAMED => match input.text()? {
                "" => Begun::Here,
                name => Begun::Elsewhere(name.into()),
            },
            _ => return None,
        };
        let number = input.number()?;
        let expiry = input.small_number()?;
        let disconnected = time(&mut input)?;
        let count = usize::try_from(input.number()?).ok()?;
        // No more are made room for than there can be.
        if count > value.len() {
            return None;
        }
        let mut subscriptions = Vec::with_capacity(count);
        for _ in 0..count {
            subscriptions.push(SubscriptionRecord {
                filter: input.text()?.into(),
                options: SubscriptionOptions::from_byte(input.byte()?, Version::V5_0)?,
                granted: Qos::from_byte(input.byte()?)?,
                identifier: input.small_number()?,
            });
        }
        input.end()?;
        Some(Self { number, expiry, disconnected, begun, user, subscriptions })
    }
}

/// A will as it is kept, under its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WillRecord {
    pub(crate) topic: Text,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// The version in which the client gave it.
    pub(crate) version: Version,
    /// As the client gave them, the delay among them.
    pub(crate) properties: Properties,
    /// When it is to be published; `None` while its client is connected.
    pub(crate) due: Option<UnixMillis>,
    /// Whose it is; `None`: nobody's in particular.
    pub(crate) user: Option<Arc<str>>,
}

const RETAIN: u8 = 4;
const IS_V5: u8 = 8;

impl WillRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let properties = self.properties.as_bytes();
        let room = 32 + self.topic.as_bytes().len() + properties.len() + self.payload.len();
        let mut out = Vec::with_capacity(room);
        let retain = if self.retain { RETAIN } else { 0 };
        let version = if self.version == Version::V5_0 { IS_V5 } else { 0 };
        put_user(&mut out, self.user.as_deref());
        out.extend_from_slice(&[VERSION, self.qos.to_byte() | retain | version]);
        put_time(&mut out, self.due);
        put_bytes(&mut out, self.topic.as_bytes());
        put_bytes(&mut out, properties);
        put_bytes(&mut out, &self.payload);
        out.into()
    }

    /// `None` for what is no will of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        let (user, VERSION) = user(&mut input)? else { return None };
        let flags = input.byte()?;
        let due = time(&mut input)?;
        let topic = Text::new(input.text()?).ok()?;
        let properties = Bytes::copy_from_slice(input.bytes()?);
        let properties = Properties::decode(properties, PropertyIn::Will, WILL_PROPERTIES).ok()?;
        let payload = Bytes::copy_from_slice(input.bytes()?);
        input.end()?;
        let version = if flags & IS_V5 != 0 { Version::V5_0 } else { Version::V3_1_1 };
        let qos = Qos::from_byte(flags & 0b11)?;
        Some(Self { topic, payload, qos, retain: flags & RETAIN != 0, version, properties, due, user })
    }
}

/// How far a message of QoS 2 came that was sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingRecord {
    /// The session's.
    pub(crate) number: u64,
    /// What the store calls the message.
    pub(crate) reference: Reference,
    /// Whether the client has it (PUBREC): then only PUBREL may be sent again.
    pub(crate) is_released: bool,
}

impl OutgoingRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION, u8::from(self.is_released)];
        put_number(&mut out, self.number);
        put_number(&mut out, self.reference.0);
        out.into()
    }

    /// `None` for what is no record of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        version(&mut input)?;
        let is_released = input.byte()? != 0;
        let number = input.number()?;
        let reference = Reference(input.number()?);
        input.end()?;
        Some(Self { number, reference, is_released })
    }
}

/// A session that this node has given to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DepartureRecord {
    pub(crate) expiry: u32,
    /// That of its will; 0: none.
    pub(crate) will: u64,
    /// The node that has it.
    pub(crate) to: Box<str>,
    /// That of the offer, unlike every other of the client's.
    pub(crate) offer: u64,
    /// Every node in reach has been told. Then it is kept because the session is still called after this node.
    pub(crate) is_done: bool,
}

impl DepartureRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION, u8::from(self.is_done)];
        put_number(&mut out, u64::from(self.expiry));
        put_number(&mut out, self.will);
        put_bytes(&mut out, self.to.as_bytes());
        put_number(&mut out, self.offer);
        out.into()
    }

    /// `None` for what is no record of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        version(&mut input)?;
        let is_done = input.byte()? != 0;
        let (expiry, will) = (input.small_number()?, input.number()?);
        let (to, offer) = (input.text()?.into(), input.number()?);
        input.end()?;
        Some(Self { expiry, will, to, offer, is_done })
    }
}

/// A session that another node offers, or has given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArrivalRecord {
    /// The node that has offered it.
    pub(crate) from: Box<str>,
    /// The number of the offer.
    pub(crate) offer: u64,
    /// All of the session: a [`Parcel`](super::parcel::Parcel).
    pub(crate) parcel: Bytes,
}

impl ArrivalRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.parcel.len() + self.from.len() + 16);
        out.push(VERSION);
        put_bytes(&mut out, self.from.as_bytes());
        put_number(&mut out, self.offer);
        out.extend_from_slice(&self.parcel);
        out.into()
    }

    /// `None` for what is no record of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        version(&mut input)?;
        let (from, offer) = (input.text()?.into(), input.number()?);
        Some(Self { from, offer, parcel: Bytes::copy_from_slice(input.take_rest()) })
    }
}

/// The value of a publication of QoS 2 that a session of this number has taken.
pub(crate) fn incoming_value(number: u64) -> Bytes {
    let mut out = vec![VERSION];
    put_number(&mut out, number);
    out.into()
}

/// The number of the session that has taken a publication; `None` for what is no value of this version.
pub(crate) fn incoming_number(value: &[u8]) -> Option<u64> {
    let mut input = Reader::new(value);
    version(&mut input)?;
    let number = input.number()?;
    input.end()?;
    Some(number)
}

/// A time that may not have come: 0 stands for that.
fn put_time(out: &mut Vec<u8>, time: Option<UnixMillis>) {
    put_number(out, time.map_or(0, |time| time.0.max(1)));
}

fn time(input: &mut Reader<'_>) -> Option<Option<UnixMillis>> {
    let time = input.number()?;
    Some((time > 0).then_some(UnixMillis(time)))
}

/// Says whose a value is, in front of the rest of it.
fn put_user(out: &mut Vec<u8>, user: Option<&str>) {
    if let Some(user) = user {
        out.push(OWNED);
        put_bytes(out, user.as_bytes());
    }
}

/// Whose a value is, and the version of the rest of it.
fn user(input: &mut Reader<'_>) -> Option<(Option<Arc<str>>, u8)> {
    match input.byte()? {
        OWNED => {
            let user = input.text()?.into();
            Some((Some(user), input.byte()?))
        }
        version => Some((None, version)),
    }
}

/// That a value is of this version.
fn version(input: &mut Reader<'_>) -> Option<()> {
    (input.byte()? == VERSION).then_some(())
}

#[cfg(test)]
mod tests {
    use mq_mqtt::packet::RetainHandling;
    use mq_mqtt::property::PropertyWriter;

    use super::*;

    fn session() -> SessionRecord {
        let subscription = |filter: &str, identifier| SubscriptionRecord {
            filter: filter.into(),
            options: SubscriptionOptions {
                qos: Qos::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::New,
            },
            granted: Qos::AtLeastOnce,
            identifier,
        };
        SessionRecord {
            number: 77,
            expiry: u32::MAX,
            disconnected: Some(UnixMillis(1_763_852_400_000)),
            begun: Begun::Alone,
            user: None,
            subscriptions: vec![subscription("a/+/#", 0), subscription("$share/g/b", 268_435_455)],
        }
    }

    fn will() -> WillRecord {
        let mut properties = PropertyWriter::new(PropertyIn::Will);
        properties.will_delay_interval(30).unwrap().user_property("a", "1").unwrap();
        properties.user_property("a", "2").unwrap();
        WillRecord {
            topic: Text::new("last/words").unwrap(),
            payload: Bytes::from_static(b"\x00gone"),
            qos: Qos::ExactlyOnce,
            retain: true,
            version: Version::V5_0,
            properties: properties.finish(),
            due: Some(UnixMillis(7)),
            user: Some("ann".into()),
        }
    }

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let elsewhere = SessionRecord { begun: Begun::Elsewhere("node-1+7".into()), ..session() };
        let here = SessionRecord { begun: Begun::Here, ..session() };
        let owned = SessionRecord { user: Some("ann".into()), ..here.clone() };
        for record in [SessionRecord::default(), session(), here, elsewhere, owned] {
            assert_eq!(SessionRecord::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn a_will_is_read_as_it_was_written() {
        let plain = WillRecord {
            qos: Qos::AtMostOnce,
            retain: false,
            version: Version::V3_1_1,
            properties: Properties::default(),
            due: None,
            user: None,
            ..will()
        };
        for record in [will(), plain] {
            assert_eq!(WillRecord::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn a_session_on_its_way_is_read_as_it_was_written_at_either_end() {
        let departure =
            DepartureRecord { expiry: 60, will: 7, to: "node-2".into(), offer: u64::MAX, is_done: false };
        for record in [departure.clone(), DepartureRecord { is_done: true, ..departure }] {
            assert_eq!(DepartureRecord::decode(&record.encode()), Some(record));
        }
        let arrival = ArrivalRecord { from: "node-1".into(), offer: 300, parcel: session().encode() };
        assert_eq!(ArrivalRecord::decode(&arrival.encode()), Some(arrival));
    }

    #[test]
    fn a_message_on_its_way_is_read_as_it_was_written() {
        for is_released in [false, true] {
            let record = OutgoingRecord { number: u64::MAX, reference: Reference(u64::MAX), is_released };
            assert_eq!(OutgoingRecord::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn a_value_that_ends_early_or_late_or_is_of_another_version_is_none() {
        let outgoing = OutgoingRecord { number: 300, reference: Reference(300), is_released: true };
        let readable = |kind: usize, bytes: &[u8]| match kind {
            0 => SessionRecord::decode(bytes).is_some(),
            1 => WillRecord::decode(bytes).is_some(),
            _ => OutgoingRecord::decode(bytes).is_some(),
        };
        for (kind, bytes) in [session().encode(), will().encode(), outgoing.encode()].iter().enumerate() {
            for len in 0..bytes.len() {
                assert!(!readable(kind, &bytes[..len]), "kind {kind}, {len} bytes");
            }
            let mut other = bytes.to_vec();
            other.push(0);
            assert!(!readable(kind, &other), "kind {kind}, a byte too many");
            other.pop();
            other[0] = 2;
            assert!(!readable(kind, &other), "kind {kind}, another version");
        }
    }

    #[test]
    fn a_number_of_subscriptions_that_cannot_be_is_none() {
        let mut bytes = vec![VERSION, 0, 0];
        put_number(&mut bytes, u64::MAX);
        assert_eq!(SessionRecord::decode(&bytes), None);
    }

    #[test]
    fn a_key_is_read_as_it_was_written_whatever_the_client_is_called() {
        let packet_id = PacketId::new(0x0102).unwrap();
        for id in ["", "kitchen", "s\u{1}\u{2}", "ä"] {
            let boxed: Box<str> = id.into();
            for (key, meant) in [
                (session_key(id), ObjectKey::Session(boxed.clone())),
                (will_key(id, u64::MAX), ObjectKey::Will(boxed.clone(), u64::MAX)),
                (incoming_key(id, packet_id), ObjectKey::Incoming(boxed.clone(), packet_id)),
                (outgoing_key(id, packet_id), ObjectKey::Outgoing(boxed.clone(), packet_id)),
            ] {
                assert_eq!(key.first(), Some(&NAMESPACE));
                assert_eq!(meant.client_id(), id);
                assert_eq!(ObjectKey::decode(&key), Some(meant));
            }
        }
        for key in [&b""[..], b"m", b"sx", b"mx1", b"mw1234567", b"mi\0\0", b"mi\x01", b"ms\xff"] {
            assert_eq!(ObjectKey::decode(key), None, "{key:?}");
        }
    }

    #[test]
    fn filters_that_would_make_the_record_too_large_are_not_fit() {
        let filter = "x".repeat(1 << 16);
        let most = LARGEST_RECORD / (filter.len() + SUBSCRIPTION_OVERHEAD);
        assert!(SessionRecord::is_fit(std::iter::repeat_n(&*filter, most)));
        assert!(!SessionRecord::is_fit(std::iter::repeat_n(&*filter, most + 1)));
    }
}
