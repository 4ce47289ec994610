//! Bytes become packets that keep every rule which a packet can break on its own (3).

use bytes::{Buf, Bytes, BytesMut};

use super::{DecodeError, Reader, variable_size};
use crate::limits::Limits;
use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, Qos, SubAck, Subscribe, Subscription,
    SubscriptionOptions, Text, UnsubAck, Unsubscribe, Version, Will,
};
use crate::property::{Properties, PropertyIn, PropertySet, check};
use crate::reason::{ReasonCode, ReasonIn};
use crate::topic::{TopicLimits, check_name, parse_filter};

/// A packet whose bytes are all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPacket {
    /// Packet type and flags (2.1).
    pub first: u8,
    /// What follows the remaining length.
    pub body: Bytes,
}

/// Takes the next packet out of `input`; `None` while it is not whole.
///
/// # Errors
/// When its length is malformed or above `max_packet_size`, as soon as that is known.
pub fn next_packet(input: &mut BytesMut, max_packet_size: u32) -> Result<Option<RawPacket>, DecodeError> {
    let Some((header, size)) = read_header(input, max_packet_size)? else { return Ok(None) };
    if input.len() < size {
        return Ok(None);
    }
    let mut packet = input.split_to(size);
    let first = packet.first().copied().unwrap_or_default();
    packet.advance(header);
    Ok(Some(RawPacket { first, body: packet.freeze() }))
}

/// Bytes of the packet that `input` begins with, as soon as its header says so; they need not be there.
///
/// # Errors
/// As [`next_packet`].
pub fn packet_size(input: &[u8], max_packet_size: u32) -> Result<Option<usize>, DecodeError> {
    Ok(read_header(input, max_packet_size)?.map(|(_, size)| size))
}

/// The bytes of the fixed header and of the whole packet (2.1).
#[inline]
fn read_header(input: &[u8], max_packet_size: u32) -> Result<Option<(usize, usize)>, DecodeError> {
    let Some((_, rest)) = input.split_first() else { return Ok(None) };
    let mut reader = Reader::new(rest.get(..4).unwrap_or(rest), 0);
    let length = match reader.variable("the remaining length") {
        Ok(length) => length,
        Err(DecodeError::Truncated { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let header = 1 + variable_size(length);
    let size = header + length as usize;
    if size > max_packet_size as usize {
        return Err(DecodeError::TooLarge { size, limit: max_packet_size });
    }
    Ok(Some((header, size)))
}

/// Reads a packet. A CONNECT brings its own version; the others are read in `version`.
///
/// # Errors
/// When it is malformed, or breaks a rule that a packet can break on its own.
pub fn decode(packet: RawPacket, version: Version, limits: &Limits) -> Result<Packet, DecodeError> {
    let RawPacket { first, body } = packet;
    let flags = first & 0x0f;
    let packet_type = first >> 4;
    if packet_type == 3 {
        return decode_publish(flags, body, version, limits).map(Packet::Publish);
    }
    let Some(what) = packet_name(packet_type, version) else {
        return Err(DecodeError::PacketType(packet_type));
    };
    // 2.1.3-1: "Where a flag bit is marked as “Reserved” [...] it MUST be set to the value listed".
    let required = if matches!(packet_type, 6 | 8 | 10) { 0b0010 } else { 0 };
    if flags != required {
        return Err(DecodeError::Flags { what, flags });
    }
    let mut decoder = Decoder { reader: Reader::new(&body, 0), body: &body, what, version, limits };
    let decoded = match packet_type {
        1 => return decode_connect(&body, limits).map(|connect| Packet::Connect(Box::new(connect))),
        2 => Packet::ConnAck(Box::new(decoder.conn_ack()?)),
        4 => Packet::PubAck(decoder.ack(ReasonIn::PubAck)?),
        5 => Packet::PubRec(decoder.ack(ReasonIn::PubRec)?),
        6 => Packet::PubRel(decoder.ack(ReasonIn::PubRel)?),
        7 => Packet::PubComp(decoder.ack(ReasonIn::PubComp)?),
        8 => {
            return decode_subscribe(&body, version, limits)
                .map(|packet| Packet::Subscribe(Box::new(packet)));
        }
        9 => Packet::SubAck(Box::new(decoder.sub_ack()?)),
        10 => Packet::Unsubscribe(Box::new(decoder.unsubscribe()?)),
        11 => Packet::UnsubAck(Box::new(decoder.unsub_ack()?)),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect(Box::new(decoder.disconnect()?)),
        _ => Packet::Auth(Box::new(decoder.auth()?)),
    };
    decoder.reader.finish(what)?;
    Ok(decoded)
}

/// The name of a packet type (2.1.2).
fn packet_name(packet_type: u8, version: Version) -> Option<&'static str> {
    Some(match packet_type {
        1 => "CONNECT",
        2 => "CONNACK",
        3 => "PUBLISH",
        4 => "PUBACK",
        5 => "PUBREC",
        6 => "PUBREL",
        7 => "PUBCOMP",
        8 => "SUBSCRIBE",
        9 => "SUBACK",
        10 => "UNSUBSCRIBE",
        11 => "UNSUBACK",
        12 => "PINGREQ",
        13 => "PINGRESP",
        14 => "DISCONNECT",
        15 if version == Version::V5_0 => "AUTH",
        _ => return None,
    })
}

fn topic_limits(limits: &Limits) -> TopicLimits {
    TopicLimits { max_length: limits.max_topic_length, max_levels: limits.max_topic_levels }
}

/// 3.3. The hot path: nothing is allocated, the body stays one slice.
pub(crate) fn decode_publish(
    flags: u8,
    body: Bytes,
    version: Version,
    limits: &Limits,
) -> Result<Publish, DecodeError> {
    const WHAT: &str = "PUBLISH";
    let (duplicate, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
    let qos = Qos::from_byte(flags >> 1 & 0b11).ok_or(DecodeError::Flags { what: WHAT, flags })?;
    // 3.3.1-2: "The DUP flag MUST be set to 0 for all QoS 0 messages".
    if duplicate && qos == Qos::AtMostOnce {
        return Err(DecodeError::Flags { what: WHAT, flags });
    }
    let mut reader = Reader::new(&body, 0);
    let topic = reader.text("topic name")?;
    if !topic.is_empty() || version == Version::V3_1_1 {
        check_name(topic, topic_limits(limits)).map_err(DecodeError::TopicName)?;
    }
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        _ => Some(read_packet_id(&mut reader, WHAT)?),
    };
    let mut properties_start = reader.offset();
    let mut has = PropertySet::default();
    if version == Version::V5_0 {
        let (properties, found) = read_property_bytes(&mut reader, PropertyIn::Publish, limits)?;
        has = found;
        properties_start = reader.offset() - properties.len();
    }
    // 3.3.2-8: what a topic alias stands for is known to the connection.
    let topic_length = topic.len();
    let payload_start = reader.offset();
    Ok(Publish {
        duplicate,
        qos,
        retain,
        packet_id,
        resolved: None,
        has,
        // A string has at most 65,535 bytes, and a packet at most 256 MiB.
        topic_length: u16::try_from(topic_length).unwrap_or_default(),
        properties_start: u32::try_from(properties_start).unwrap_or_default(),
        payload_start: u32::try_from(payload_start).unwrap_or_default(),
        body,
    })
}

/// 3.1. What comes of a CONNECT is kept for long: it is copied, so as not to keep the buffer alive that
/// it arrived in.
fn decode_connect(body: &Bytes, limits: &Limits) -> Result<Connect, DecodeError> {
    const WHAT: &str = "CONNECT";
    let body = Bytes::copy_from_slice(body);
    let mut reader = Reader::new(&body, 0);
    let name = reader.binary("protocol name")?;
    let level = reader.byte("protocol level")?;
    let version = match (name, level) {
        (b"MQTT", 4) => Version::V3_1_1,
        (b"MQTT", 5) => Version::V5_0,
        _ => return Err(DecodeError::Protocol { level }),
    };
    let flags_offset = reader.offset();
    let flags = ConnectFlags::from_byte(reader.byte("connect flags")?, version, flags_offset)?;
    let keep_alive = reader.short("keep alive")?;
    let mut decoder = Decoder { reader, body: &body, what: WHAT, version, limits };
    let properties = decoder.properties(PropertyIn::Connect)?;
    let client_id = decoder.text("client identifier")?;
    let will = if flags.has_will { Some(decoder.will(flags)?) } else { None };
    let user_name = if flags.has_user_name { Some(decoder.text("user name")?) } else { None };
    let password = if flags.has_password { Some(decoder.binary("password")?) } else { None };
    decoder.reader.finish(WHAT)?;
    Ok(Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive,
        client_id,
        will,
        user_name,
        password,
        properties,
    })
}

#[derive(Clone, Copy)]
struct ConnectFlags {
    clean_start: bool,
    has_will: bool,
    will_qos: Qos,
    will_retain: bool,
    has_password: bool,
    has_user_name: bool,
}

impl ConnectFlags {
    /// 3.1.2.3.
    fn from_byte(byte: u8, version: Version, offset: usize) -> Result<Self, DecodeError> {
        let malformed = DecodeError::Value { what: "connect flags", value: byte, offset };
        let is_set = |bit: u8| byte & (1 << bit) != 0;
        // 3.1.2-12: "A value of 3 (0x03) is a Malformed Packet".
        let will_qos = Qos::from_byte(byte >> 3 & 0b11).ok_or(malformed)?;
        let flags = Self {
            clean_start: is_set(1),
            has_will: is_set(2),
            will_qos,
            will_retain: is_set(5),
            has_password: is_set(6),
            has_user_name: is_set(7),
        };
        // 3.1.2-3 (reserved), 3.1.2-11 and 3.1.2-13 (without a will its QoS and retain flag are 0).
        let has_stray_will = !flags.has_will && (will_qos != Qos::AtMostOnce || flags.will_retain);
        // 3.1.1, 3.1.2-22: no password without a user name; 5.0 allows it.
        let has_stray_password = version == Version::V3_1_1 && flags.has_password && !flags.has_user_name;
        if is_set(0) || has_stray_will || has_stray_password {
            return Err(malformed);
        }
        Ok(flags)
    }
}

/// 3.8. Filters are kept for long: copied like a CONNECT.
fn decode_subscribe(body: &Bytes, version: Version, limits: &Limits) -> Result<Subscribe, DecodeError> {
    const WHAT: &str = "SUBSCRIBE";
    let body = Bytes::copy_from_slice(body);
    let mut decoder = Decoder { reader: Reader::new(&body, 0), body: &body, what: WHAT, version, limits };
    let packet_id = decoder.packet_id()?;
    let properties = decoder.properties(PropertyIn::Subscribe)?;
    let mut subscriptions = Vec::new();
    while !decoder.reader.is_empty() {
        decoder.check_filter_count(subscriptions.len())?;
        let filter = decoder.text("topic filter")?;
        let offset = decoder.reader.offset();
        let byte = decoder.reader.byte("subscription options")?;
        let options = subscription_options(byte, version, offset)?;
        let parsed = parse_filter(filter.as_str(), topic_limits(limits)).map_err(DecodeError::TopicFilter)?;
        // 3.8.3-4: "It is a Protocol Error to set the No Local bit to 1 on a Shared Subscription".
        if options.no_local && parsed.share.is_some() {
            return Err(DecodeError::SharedNoLocal);
        }
        subscriptions.push(Subscription { filter, options });
    }
    if subscriptions.is_empty() {
        return Err(DecodeError::NoFilter { what: WHAT });
    }
    Ok(Subscribe { packet_id, subscriptions, properties })
}

/// 3.8.3.1; 3.1.1, 3.8.3.
fn subscription_options(
    byte: u8,
    version: Version,
    offset: usize,
) -> Result<SubscriptionOptions, DecodeError> {
    const WHAT: &str = "subscription options";
    if let Some(options) = SubscriptionOptions::from_byte(byte, version) {
        return Ok(options);
    }
    // 3.8.3-5: reserved bits make it malformed; a QoS or retain handling of 3 is a protocol error.
    let reserved = if version == Version::V5_0 { 0b1100_0000 } else { 0b1111_1100 };
    if byte & reserved != 0 {
        return Err(DecodeError::Value { what: WHAT, value: byte, offset });
    }
    Err(DecodeError::NotAllowed { what: WHAT, value: byte, offset })
}

fn read_packet_id(reader: &mut Reader<'_>, what: &'static str) -> Result<PacketId, DecodeError> {
    // 2.2.1-2, 2.2.1-3: never 0.
    PacketId::new(reader.short("packet identifier")?).ok_or(DecodeError::PacketIdZero { what })
}

fn read_property_bytes<'a>(
    reader: &mut Reader<'a>,
    place: PropertyIn,
    limits: &Limits,
) -> Result<(&'a [u8], PropertySet), DecodeError> {
    let length = reader.variable("property length")?;
    let offset = reader.offset();
    let bytes = reader.take(length as usize, "properties")?;
    let mut found = PropertySet::default();
    if !bytes.is_empty() {
        found = check(bytes, offset, place, limits.max_properties)?;
    }
    Ok((bytes, found))
}

/// A packet on its way from bytes.
struct Decoder<'a> {
    reader: Reader<'a>,
    /// What the reader reads: values are slices of it.
    body: &'a Bytes,
    what: &'static str,
    version: Version,
    limits: &'a Limits,
}

impl Decoder<'_> {
    fn text(&mut self, what: &'static str) -> Result<Text, DecodeError> {
        let text = self.reader.text(what)?;
        Ok(Text::checked(self.body.slice_ref(text.as_bytes())))
    }

    fn binary(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let bytes = self.reader.binary(what)?;
        Ok(self.body.slice_ref(bytes))
    }

    fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        read_packet_id(&mut self.reader, self.what)
    }

    /// Empty in 3.1.1, which has no properties.
    fn properties(&mut self, place: PropertyIn) -> Result<Properties, DecodeError> {
        if self.version == Version::V3_1_1 {
            return Ok(Properties::default());
        }
        let (bytes, _) = read_property_bytes(&mut self.reader, place, self.limits)?;
        Ok(Properties::checked(self.body.slice_ref(bytes)))
    }

    fn reason(&mut self, packet: ReasonIn) -> Result<ReasonCode, DecodeError> {
        let offset = self.reader.offset();
        let byte = self.reader.byte("reason code")?;
        ReasonCode::from_byte(byte).filter(|reason| reason.is_allowed_in(packet)).ok_or(DecodeError::Value {
            what: "reason code",
            value: byte,
            offset,
        })
    }

    fn will(&mut self, flags: ConnectFlags) -> Result<Will, DecodeError> {
        let properties = self.properties(PropertyIn::Will)?;
        let topic = self.text("will topic")?;
        check_name(topic.as_str(), topic_limits(self.limits)).map_err(DecodeError::TopicName)?;
        let payload = self.binary("will payload")?;
        Ok(Will { topic, payload, qos: flags.will_qos, retain: flags.will_retain, properties })
    }

    fn conn_ack(&mut self) -> Result<ConnAck, DecodeError> {
        let flags = self.reader.byte("connect acknowledge flags")?;
        // 3.2.2-1: "Bits 7-1 are reserved and MUST be set to 0".
        if flags > 1 {
            return Err(DecodeError::Value { what: "connect acknowledge flags", value: flags, offset: 0 });
        }
        let reason = match self.version {
            Version::V5_0 => self.reason(ReasonIn::ConnAck)?,
            Version::V3_1_1 => {
                let code = self.reader.byte("return code")?;
                let malformed = DecodeError::Value { what: "return code", value: code, offset: 1 };
                ReasonCode::from_return_code(code).ok_or(malformed)?
            }
        };
        // 3.2.2-6: with an error there is no session.
        if flags == 1 && reason.is_error() {
            return Err(DecodeError::NotAllowed { what: "session present", value: flags, offset: 0 });
        }
        let properties = self.properties(PropertyIn::ConnAck)?;
        Ok(ConnAck { session_present: flags == 1, reason, properties })
    }

    /// 3.4 to 3.7: reason and properties may be left out from the end (3.4.2.1).
    fn ack(&mut self, packet: ReasonIn) -> Result<Ack, DecodeError> {
        let packet_id = self.packet_id()?;
        let mut ack = Ack { packet_id, reason: ReasonCode::Success, properties: Properties::default() };
        if self.version == Version::V5_0 && !self.reader.is_empty() {
            ack.reason = self.reason(packet)?;
            if !self.reader.is_empty() {
                ack.properties = self.properties(PropertyIn::Ack)?;
            }
        }
        Ok(ack)
    }

    fn sub_ack(&mut self) -> Result<SubAck, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties(PropertyIn::SubAck)?;
        let reasons = self.reasons(ReasonIn::SubAck)?;
        Ok(SubAck { packet_id, reasons, properties })
    }

    fn unsub_ack(&mut self) -> Result<UnsubAck, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties(PropertyIn::UnsubAck)?;
        // 3.1.1, 3.11.3: no payload.
        let reasons = match self.version {
            Version::V3_1_1 => Vec::new(),
            Version::V5_0 => self.reasons(ReasonIn::UnsubAck)?,
        };
        Ok(UnsubAck { packet_id, reasons, properties })
    }

    fn reasons(&mut self, packet: ReasonIn) -> Result<Vec<ReasonCode>, DecodeError> {
        let mut reasons = vec![self.sub_reason(packet)?];
        while !self.reader.is_empty() {
            self.check_filter_count(reasons.len())?;
            reasons.push(self.sub_reason(packet)?);
        }
        Ok(reasons)
    }

    fn sub_reason(&mut self, packet: ReasonIn) -> Result<ReasonCode, DecodeError> {
        let offset = self.reader.offset();
        let reason = self.reason(packet)?;
        // 3.1.1, 3.9.3-2: "SUBACK return codes other than 0x00, 0x01, 0x02 and 0x80 are reserved".
        if self.version == Version::V3_1_1 && reason > ReasonCode::UnspecifiedError {
            return Err(DecodeError::Value { what: "return code", value: reason.to_byte(), offset });
        }
        Ok(reason)
    }

    fn unsubscribe(&mut self) -> Result<Unsubscribe, DecodeError> {
        let packet_id = self.packet_id()?;
        let properties = self.properties(PropertyIn::Unsubscribe)?;
        let mut filters = Vec::new();
        while !self.reader.is_empty() {
            self.check_filter_count(filters.len())?;
            let filter = self.text("topic filter")?;
            parse_filter(filter.as_str(), topic_limits(self.limits)).map_err(DecodeError::TopicFilter)?;
            filters.push(filter);
        }
        if filters.is_empty() {
            return Err(DecodeError::NoFilter { what: self.what });
        }
        Ok(Unsubscribe { packet_id, filters, properties })
    }

    fn check_filter_count(&self, count: usize) -> Result<(), DecodeError> {
        let limit = self.limits.max_filters;
        if count < usize::from(limit) {
            return Ok(());
        }
        Err(DecodeError::TooMany { what: "topic filters", limit, offset: self.reader.offset() })
    }

    /// 3.14: reason and properties may be left out from the end (3.14.2.1).
    fn disconnect(&mut self) -> Result<Disconnect, DecodeError> {
        let mut packet = Disconnect { reason: ReasonCode::Success, properties: Properties::default() };
        if self.version == Version::V5_0 && !self.reader.is_empty() {
            packet.reason = self.reason(ReasonIn::Disconnect)?;
            if !self.reader.is_empty() {
                packet.properties = self.properties(PropertyIn::Disconnect)?;
            }
        }
        Ok(packet)
    }

    /// 3.15: without a body, or with both reason and properties (3.15.2.1).
    fn auth(&mut self) -> Result<Auth, DecodeError> {
        let mut packet = Auth { reason: ReasonCode::Success, properties: Properties::default() };
        if !self.reader.is_empty() {
            packet.reason = self.reason(ReasonIn::Auth)?;
            packet.properties = self.properties(PropertyIn::Auth)?;
        }
        Ok(packet)
    }
}
