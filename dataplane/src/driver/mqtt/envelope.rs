//! MQTT messages as the core and the store have them: what was published, with its topic before it.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this encoding, 1 |
//! | 1 | bits 0 and 1 QoS, bit 2 retain, bit 3 published with MQTT 5.0, bit 4 annotations; the others are 0 |
//! | 8 | what tells the publisher from others, little endian; 0: nobody |
//! | 2 | length of the topic, big endian |
//! | | the topic |
//! | 4 | length of the properties, big endian |
//! | | the properties of MQTT 5.0, but for topic alias and subscription identifiers |
//! | 4 | with bit 4: length of the annotations, big endian |
//! | | with bit 4: what the node has to say of the message, an encoded AMQP map |
//! | | the payload, to the end |
//!
//! Nothing in it changes while a message waits. What is left of its life is known to the core, and
//! replaces the message expiry interval when the message is sent.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use mq_mqtt::packet::Publish;
use mq_mqtt::property::{PropertyId, PropertyView};
use mq_mqtt::{Qos, Version};

/// The message format of messages in this encoding: "MQTT".
pub(crate) const MQTT_FORMAT: u32 = 0x4d51_5454;

/// The version of the encoding.
const VERSION: u8 = 1;

const QOS: u8 = 0b0_0011;
const RETAIN: u8 = 0b0_0100;
const IS_V5: u8 = 0b0_1000;
const ANNOTATIONS: u8 = 0b1_0000;

/// Bytes before the topic.
const HEAD: usize = 12;

/// Bytes of the properties: the most that a packet can carry (1.5.5).
const MAX_PROPERTIES: usize = 268_435_455;

/// Bytes of the annotations: what the node notes of a message is short.
pub(in crate::driver) const MAX_ANNOTATIONS: usize = 64 << 10;

/// A message in this encoding, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    /// With which it was published.
    pub(crate) qos: Qos,
    /// As it was published.
    pub(crate) retain: bool,
    /// Whether it was published with MQTT 5.0.
    pub(crate) is_v5: bool,
    /// A hash of the publisher's client identifier; 0 means nobody's.
    pub(crate) origin: u64,
    /// At most 65,535 bytes.
    pub(crate) topic: &'a str,
    /// Those of a PUBLISH. Topic alias and subscription identifiers are left out when it is encoded:
    /// they belong to one connection.
    pub(crate) properties: PropertyView<'a>,
    /// An encoded AMQP map; empty means none. At most 64 KiB.
    pub(crate) annotations: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Why bytes are no message in this encoding, or a message has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("version {0} of the encoding is not known, only {VERSION}")]
    Version(u8),
    #[error("the flags {0:#04x} are not known")]
    Flags(u8),
    #[error("the message ends within its {0}")]
    CutShort(&'static str),
    #[error("the topic is not UTF-8")]
    NotUtf8,
    #[error("the {what} has {bytes} bytes, {limit} is the most")]
    TooLong { what: &'static str, bytes: usize, limit: usize },
}

impl<'a> Envelope<'a> {
    /// A message without properties.
    pub(crate) fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            qos: Qos::AtMostOnce,
            retain: false,
            is_v5: true,
            origin: 0,
            topic,
            properties: PropertyView::default(),
            annotations: &[],
            payload,
        }
    }

    /// What a client has published.
    pub(crate) fn of_publish(publish: &'a Publish, version: Version, origin: u64) -> Self {
        Self {
            qos: publish.qos,
            retain: publish.retain,
            is_v5: version == Version::V5_0,
            origin,
            topic: publish.topic(),
            properties: publish.properties(),
            annotations: &[],
            payload: publish.payload(),
        }
    }

    /// Takes a message apart. The payload may be cut short: what is there of it is the payload.
    ///
    /// # Errors
    /// When the bytes are not in this encoding.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (head, rest) =
            message.split_first_chunk::<HEAD>().ok_or(EnvelopeError::CutShort("first bytes"))?;
        let [version, flags, origin @ .., high, low] = *head;
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        let qos = Qos::from_byte(flags & QOS).ok_or(EnvelopeError::Flags(flags))?;
        if flags & !(QOS | RETAIN | IS_V5 | ANNOTATIONS) != 0 {
            return Err(EnvelopeError::Flags(flags));
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (topic, rest) = rest.split_at_checked(length).ok_or(EnvelopeError::CutShort("topic"))?;
        let topic = std::str::from_utf8(topic).map_err(|_| EnvelopeError::NotUtf8)?;
        let (properties, rest) = field(rest, "properties", MAX_PROPERTIES)?;
        let (annotations, payload) = if flags & ANNOTATIONS == 0 {
            (&[][..], rest)
        } else {
            field(rest, "annotations", MAX_ANNOTATIONS)?
        };
        Ok(Self {
            qos,
            retain: flags & RETAIN != 0,
            is_v5: flags & IS_V5 != 0,
            origin: u64::from_le_bytes(origin),
            topic,
            properties: PropertyView::kept(properties),
            annotations,
            payload,
        })
    }

    /// The message in this encoding.
    ///
    /// # Errors
    /// When topic, properties or annotations are longer than it allows.
    pub(crate) fn encode(&self) -> Result<Bytes, EnvelopeError> {
        let topic = check_length(self.topic.len(), "topic", usize::from(u16::MAX))?;
        let properties = check_length(self.properties_length(), "properties", MAX_PROPERTIES)?;
        let annotations = check_length(self.annotations.len(), "annotations", MAX_ANNOTATIONS)?;
        let room = HEAD + self.topic.len() + 8 + self.properties.as_bytes().len();
        let mut out = BytesMut::with_capacity(room + self.annotations.len() + self.payload.len());
        out.put_u8(VERSION);
        out.put_u8(self.flags());
        out.put_u64_le(self.origin);
        out.put_slice(&topic.to_be_bytes()[2..]);
        out.put_slice(self.topic.as_bytes());
        out.put_u32(properties);
        for (_, span) in self.kept_properties() {
            out.put_slice(span);
        }
        if annotations > 0 {
            out.put_u32(annotations);
            out.put_slice(self.annotations);
        }
        out.put_slice(self.payload);
        Ok(out.freeze())
    }

    /// How long it may wait, as its publisher has said.
    pub(crate) fn time_to_live(&self) -> Option<Duration> {
        self.properties.message_expiry_interval().map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The payload as a slice of the message that this was parsed from.
    pub(crate) fn payload_bytes(&self, message: &Bytes) -> Bytes {
        message.slice(message.len().saturating_sub(self.payload.len())..)
    }

    fn flags(&self) -> u8 {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        self.qos.to_byte()
            | flag(self.retain, RETAIN)
            | flag(self.is_v5, IS_V5)
            | flag(!self.annotations.is_empty(), ANNOTATIONS)
    }

    fn kept_properties(&self) -> impl Iterator<Item = (PropertyId, &'a [u8])> {
        let of_connection = [PropertyId::TopicAlias, PropertyId::SubscriptionIdentifier];
        self.properties.spans().filter(move |(id, _)| !of_connection.contains(id))
    }

    fn properties_length(&self) -> usize {
        self.kept_properties().map(|(_, span)| span.len()).sum()
    }
}

/// Whether a message in this encoding has annotations, without taking it apart.
pub(super) fn is_annotated(message: &[u8]) -> bool {
    message.get(1).is_some_and(|flags| flags & ANNOTATIONS != 0)
}

/// Bytes behind their length, and what follows them.
fn field<'a>(
    bytes: &'a [u8],
    what: &'static str,
    limit: usize,
) -> Result<(&'a [u8], &'a [u8]), EnvelopeError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(EnvelopeError::CutShort(what))?;
    let length = u32::from_be_bytes(*length) as usize;
    check_length(length, what, limit)?;
    rest.split_at_checked(length).ok_or(EnvelopeError::CutShort(what))
}

fn check_length(bytes: usize, what: &'static str, limit: usize) -> Result<u32, EnvelopeError> {
    let too_long = EnvelopeError::TooLong { what, bytes, limit };
    if bytes > limit { Err(too_long) } else { u32::try_from(bytes).map_err(|_| too_long) }
}

#[cfg(test)]
mod tests {
    use mq_mqtt::property::{Properties, PropertyIn, PropertyWriter};

    use super::*;

    fn properties() -> Properties {
        let mut writer = PropertyWriter::new(PropertyIn::Publish);
        let written = writer
            .content_type("text/plain")
            .and_then(|writer| writer.user_property("a", "1"))
            .and_then(|writer| writer.user_property("a", "2"));
        written.expect("properties of a PUBLISH");
        writer.finish()
    }

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let properties = properties();
        for number in 0..96_u8 {
            let envelope = Envelope {
                qos: Qos::from_byte(number % 3).expect("a QoS"),
                retain: number & 8 != 0,
                is_v5: number & 16 != 0,
                origin: u64::from(number) << 56 | 7,
                topic: if number & 32 == 0 { "sensors/küche" } else { "" },
                properties: if number & 16 == 0 { PropertyView::default() } else { properties.view() },
                annotations: if number & 4 == 0 { b"" } else { b"\xc1\x01\x00" },
                payload: if number & 64 == 0 { b"21.5" } else { b"" },
            };
            let message = envelope.encode().expect("a short message");
            assert_eq!(Envelope::parse(&message), Ok(envelope));
            assert_eq!(envelope.payload_bytes(&message), envelope.payload);
        }
    }

    #[test]
    fn the_encoding_is_the_one_on_disk() {
        let envelope =
            Envelope { qos: Qos::ExactlyOnce, retain: true, origin: 0x0102, ..Envelope::new("a/b", b"xyz") };
        let expected = b"\x01\x0e\x02\x01\0\0\0\0\0\0\0\x03a/b\0\0\0\0xyz";
        assert_eq!(&*envelope.encode().expect("a short message"), expected);
        let noted = Envelope { annotations: b"\xc1\x01\x00", ..envelope };
        let expected = b"\x01\x1e\x02\x01\0\0\0\0\0\0\0\x03a/b\0\0\0\0\0\0\0\x03\xc1\x01\x00xyz";
        assert_eq!(&*noted.encode().expect("a short message"), expected);
    }

    #[test]
    fn what_belongs_to_a_connection_is_left_out() {
        // Topic alias 5, subscription identifier 300, user property.
        let bytes = [b"\x23\x00\x05\x0b\xac\x02".as_slice(), properties().as_bytes()].concat();
        let envelope = Envelope { properties: PropertyView::kept(&bytes), ..Envelope::new("t", b"") };
        let message = envelope.encode().expect("a short message");
        let parsed = Envelope::parse(&message).expect("what was encoded");
        assert_eq!(parsed.properties, properties().view());
    }

    #[test]
    fn every_bound_holds() {
        let long = "x".repeat(65_536);
        let error = |what, bytes, limit| Err(EnvelopeError::TooLong { what, bytes, limit });
        assert!(Envelope::new(&long[1..], b"").encode().is_ok());
        assert_eq!(Envelope::new(&long, b"").encode(), error("topic", 65_536, 65_535));
        let notes = vec![0; MAX_ANNOTATIONS + 1];
        assert!(Envelope { annotations: &notes[1..], ..Envelope::new("t", b"") }.encode().is_ok());
        let too_many = Envelope { annotations: &notes, ..Envelope::new("t", b"") };
        assert_eq!(too_many.encode(), error("annotations", 65_537, 65_536));
        let announced = b"\x01\x08\0\0\0\0\0\0\0\0\0\x01t\x10\0\0\0";
        let parsed = Envelope::parse(announced).map(|_| Bytes::new());
        assert_eq!(parsed, error("properties", 1 << 28, MAX_PROPERTIES));
    }

    #[test]
    fn what_is_not_in_the_encoding_is_refused() {
        let properties = properties();
        let envelope = Envelope {
            properties: properties.view(),
            annotations: b"\xc1\x01\x00",
            ..Envelope::new("a/b", b"")
        };
        let whole = envelope.encode().expect("a short message");
        for length in 0..whole.len() {
            assert!(Envelope::parse(&whole[..length]).is_err(), "{length} bytes");
        }
        let with = |place: usize, byte: u8| {
            let mut bytes = whole.to_vec();
            bytes[place] = byte;
            Envelope::parse(&bytes).err()
        };
        assert_eq!(with(0, 2), Some(EnvelopeError::Version(2)));
        for flags in [0b0000_0011, 0b0010_0000, 0b1000_0000] {
            assert_eq!(with(1, flags), Some(EnvelopeError::Flags(flags)));
        }
        assert_eq!(with(12, 0xff), Some(EnvelopeError::NotUtf8));
    }
}
