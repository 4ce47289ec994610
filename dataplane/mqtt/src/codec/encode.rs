//! Packets become bytes, written once, where they leave from.

use bytes::{BufMut, BytesMut};

use super::{MAX_VARIABLE, variable_size, write_variable};
use crate::packet::{ConnAck, Connect, Packet, PacketId, Publish, Qos, Subscribe, Unsubscribe, Version};
use crate::property::{Property, PropertyId, PropertyIn, PropertyView, Value, put_bytes, write};
use crate::reason::ReasonCode;

/// Writes a packet. What a version does not have (properties, reasons) is left out; AUTH is for 5.0
/// alone. Lists must not be empty.
///
/// # Panics
/// Never; a packet above 256 MiB cannot be expressed and comes out malformed.
pub fn encode(out: &mut BytesMut, packet: &Packet, version: Version) {
    match packet {
        Packet::Connect(connect) => write_connect(out, connect),
        Packet::ConnAck(packet) => write_conn_ack(out, packet, version),
        Packet::Publish(publish) => write_whole_publish(out, publish, version),
        Packet::PubAck(ack) => {
            write_ack(out, AckKind::PubAck, ack.packet_id, ack.reason, ack.properties.view(), version)
        }
        Packet::PubRec(ack) => {
            write_ack(out, AckKind::PubRec, ack.packet_id, ack.reason, ack.properties.view(), version)
        }
        Packet::PubRel(ack) => {
            write_ack(out, AckKind::PubRel, ack.packet_id, ack.reason, ack.properties.view(), version)
        }
        Packet::PubComp(ack) => {
            write_ack(out, AckKind::PubComp, ack.packet_id, ack.reason, ack.properties.view(), version)
        }
        Packet::Subscribe(packet) => write_subscribe(out, packet, version),
        Packet::SubAck(packet) => {
            write_sub_ack(out, packet.packet_id, &packet.reasons, packet.properties.view(), version)
        }
        Packet::Unsubscribe(packet) => write_unsubscribe(out, packet, version),
        Packet::UnsubAck(packet) => {
            write_unsub_ack(out, packet.packet_id, &packet.reasons, packet.properties.view(), version)
        }
        Packet::PingReq => out.put_slice(&PING_REQUEST),
        Packet::PingResp => out.put_slice(&PING_RESPONSE),
        Packet::Disconnect(packet) => write_disconnect(out, packet.reason, packet.properties.view(), version),
        Packet::Auth(packet) => write_auth(out, packet.reason, packet.properties.view()),
    }
}

pub(crate) const PING_REQUEST: [u8; 2] = [0xc0, 0];
pub(crate) const PING_RESPONSE: [u8; 2] = [0xd0, 0];

/// The packets of 3.4 to 3.7, by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(clippy::enum_variant_names, reason = "the names of the specification")]
pub(crate) enum AckKind {
    PubAck = 0x40,
    PubRec = 0x50,
    PubRel = 0x62,
    PubComp = 0x70,
}

/// Writes a packet whose length is known only once its body is written.
fn write_packet(out: &mut BytesMut, first: u8, body: impl FnOnce(&mut BytesMut)) {
    /// Bytes of the longest remaining length.
    const LONGEST: usize = 4;
    out.put_u8(first);
    let start = out.len();
    out.put_bytes(0, LONGEST);
    body(out);
    let length = u32::try_from(out.len() - start - LONGEST).unwrap_or(MAX_VARIABLE);
    let mut remaining = length;
    let size = variable_size(length);
    for index in 0..size {
        let more = if index + 1 < size { 0x80 } else { 0 };
        if let Some(byte) = out.get_mut(start + index) {
            *byte = (remaining & 0x7f) as u8 | more;
        }
        remaining >>= 7;
    }
    // The body moves up to its length; small packets, and few.
    out.copy_within(start + LONGEST.., start + size);
    out.truncate(start + size + length as usize);
}

fn write_properties(out: &mut BytesMut, properties: PropertyView<'_>, version: Version) {
    if version == Version::V5_0 {
        let bytes = properties.as_bytes();
        write_variable(out, u32::try_from(bytes.len()).unwrap_or(MAX_VARIABLE));
        out.put_slice(bytes);
    }
}

/// 3.1.
pub(crate) fn write_connect(out: &mut BytesMut, connect: &Connect) {
    let version = connect.version;
    let mut flags = u8::from(connect.clean_start) << 1;
    if let Some(will) = &connect.will {
        flags |= 1 << 2 | will.qos.to_byte() << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.user_name.is_some()) << 7;
    write_packet(out, 0x10, |out| {
        put_bytes(out, b"MQTT");
        out.put_u8(version.level());
        out.put_u8(flags);
        out.put_u16(connect.keep_alive);
        write_properties(out, connect.properties.view(), version);
        put_bytes(out, connect.client_id.as_bytes());
        if let Some(will) = &connect.will {
            write_properties(out, will.properties.view(), version);
            put_bytes(out, will.topic.as_bytes());
            put_bytes(out, &will.payload);
        }
        if let Some(user_name) = &connect.user_name {
            put_bytes(out, user_name.as_bytes());
        }
        if let Some(password) = &connect.password {
            put_bytes(out, password);
        }
    });
}

/// 3.2.
pub(crate) fn write_conn_ack(out: &mut BytesMut, packet: &ConnAck, version: Version) {
    let code = match version {
        Version::V5_0 => packet.reason.to_byte(),
        Version::V3_1_1 => packet.reason.to_return_code(),
    };
    write_packet(out, 0x20, |out| {
        out.put_u8(packet.session_present.into());
        out.put_u8(code);
        write_properties(out, packet.properties.view(), version);
    });
}

/// 3.4 to 3.7; the shortest form (3.4.2.1).
pub(crate) fn write_ack(
    out: &mut BytesMut,
    kind: AckKind,
    packet_id: PacketId,
    reason: ReasonCode,
    properties: PropertyView<'_>,
    version: Version,
) {
    let [high, low] = packet_id.to_number().to_be_bytes();
    if version == Version::V3_1_1 || (reason == ReasonCode::Success && properties.is_empty()) {
        out.put_slice(&[kind as u8, 2, high, low]);
        return;
    }
    if properties.is_empty() {
        out.put_slice(&[kind as u8, 3, high, low, reason.to_byte()]);
        return;
    }
    write_packet(out, kind as u8, |out| {
        out.put_slice(&[high, low, reason.to_byte()]);
        write_properties(out, properties, version);
    });
}

/// 3.8.
pub(crate) fn write_subscribe(out: &mut BytesMut, packet: &Subscribe, version: Version) {
    write_packet(out, 0x82, |out| {
        out.put_u16(packet.packet_id.to_number());
        write_properties(out, packet.properties.view(), version);
        for subscription in &packet.subscriptions {
            put_bytes(out, subscription.filter.as_bytes());
            out.put_u8(subscription.options.to_byte(version));
        }
    });
}

/// 3.9; in 3.1.1 every failure is 0x80.
pub(crate) fn write_sub_ack(
    out: &mut BytesMut,
    packet_id: PacketId,
    reasons: &[ReasonCode],
    properties: PropertyView<'_>,
    version: Version,
) {
    write_packet(out, 0x90, |out| {
        out.put_u16(packet_id.to_number());
        write_properties(out, properties, version);
        for reason in reasons {
            out.put_u8(match version {
                Version::V3_1_1 if reason.is_error() => ReasonCode::UnspecifiedError.to_byte(),
                _ => reason.to_byte(),
            });
        }
    });
}

/// 3.10.
pub(crate) fn write_unsubscribe(out: &mut BytesMut, packet: &Unsubscribe, version: Version) {
    write_packet(out, 0xa2, |out| {
        out.put_u16(packet.packet_id.to_number());
        write_properties(out, packet.properties.view(), version);
        for filter in &packet.filters {
            put_bytes(out, filter.as_bytes());
        }
    });
}

/// 3.11; 3.1.1 has no reasons.
pub(crate) fn write_unsub_ack(
    out: &mut BytesMut,
    packet_id: PacketId,
    reasons: &[ReasonCode],
    properties: PropertyView<'_>,
    version: Version,
) {
    write_packet(out, 0xb0, |out| {
        out.put_u16(packet_id.to_number());
        if version == Version::V5_0 {
            write_properties(out, properties, version);
            out.extend(reasons.iter().map(|reason| reason.to_byte()));
        }
    });
}

/// 3.14; the shortest form (3.14.2.1).
pub(crate) fn write_disconnect(
    out: &mut BytesMut,
    reason: ReasonCode,
    properties: PropertyView<'_>,
    version: Version,
) {
    write_packet(out, 0xe0, |out| {
        if version == Version::V5_0 && (reason != ReasonCode::Success || !properties.is_empty()) {
            out.put_u8(reason.to_byte());
            if !properties.is_empty() {
                write_properties(out, properties, version);
            }
        }
    });
}

/// 3.15; the shortest form (3.15.2.1).
pub(crate) fn write_auth(out: &mut BytesMut, reason: ReasonCode, properties: PropertyView<'_>) {
    write_packet(out, 0xf0, |out| {
        if reason != ReasonCode::Success || !properties.is_empty() {
            out.put_u8(reason.to_byte());
            write_properties(out, properties, Version::V5_0);
        }
    });
}

fn write_whole_publish(out: &mut BytesMut, publish: &Publish, version: Version) {
    let properties = match version {
        Version::V5_0 => publish.properties().as_bytes(),
        Version::V3_1_1 => &[],
    };
    let head = PublishHead {
        duplicate: publish.duplicate,
        qos: publish.qos,
        retain: publish.retain,
        packet_id: publish.packet_id,
        topic: publish.topic_bytes(),
    };
    let payload = publish.payload();
    head.write(out, (version == Version::V5_0).then_some(properties.len()), payload.len());
    out.put_slice(properties);
    out.put_slice(payload);
}

/// What a PUBLISH says before its properties (3.3.1, 3.3.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishHead<'a> {
    pub(crate) duplicate: bool,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// With QoS 1 and 2.
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) topic: &'a [u8],
}

impl PublishHead<'_> {
    /// Bytes behind the fixed header, payload included. `properties` is their length, `None` in 3.1.1.
    pub(crate) fn remaining_length(&self, properties: Option<usize>, payload: usize) -> usize {
        let properties =
            properties.map_or(0, |length| variable_size(u32::try_from(length).unwrap_or(u32::MAX)) + length);
        2 + self.topic.len() + if self.packet_id.is_some() { 2 } else { 0 } + properties + payload
    }

    /// Writes everything up to the properties; these and the payload follow.
    pub(crate) fn write(&self, out: &mut BytesMut, properties: Option<usize>, payload: usize) {
        let remaining = self.remaining_length(properties, payload);
        out.reserve(HEADER_ROOM + remaining - payload);
        let flags = u8::from(self.duplicate) << 3 | self.qos.to_byte() << 1 | u8::from(self.retain);
        // What is small is put together first: each call on the buffer looks after its room.
        let mut head = Small::default();
        head.push(0x30 | flags);
        head.push_variable(remaining);
        // What is longer was refused when it was checked.
        for byte in u16::try_from(self.topic.len()).unwrap_or(u16::MAX).to_be_bytes() {
            head.push(byte);
        }
        out.put_slice(head.as_slice());
        out.put_slice(self.topic);
        let mut middle = Small::default();
        if let Some(packet_id) = self.packet_id {
            let [high, low] = packet_id.to_number().to_be_bytes();
            middle.push(high);
            middle.push(low);
        }
        if let Some(length) = properties {
            middle.push_variable(length);
        }
        out.put_slice(middle.as_slice());
    }
}

/// A few bytes on their way into a buffer.
#[derive(Default)]
struct Small {
    bytes: [u8; 8],
    length: usize,
}

impl Small {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn push_variable(&mut self, value: usize) {
        let mut value = u32::try_from(value).unwrap_or(MAX_VARIABLE).min(MAX_VARIABLE);
        while value >= 0x80 {
            self.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.push((value & 0x7f) as u8);
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Bytes of the longest fixed header.
const HEADER_ROOM: usize = 5;

/// The properties of an outgoing PUBLISH: those of the message, without what belongs to another hop,
/// and those of this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishProperties<'a> {
    pub(crate) message: PropertyView<'a>,
    pub(crate) alias: Option<u16>,
    /// Replaces the message's own.
    pub(crate) message_expiry: Option<u32>,
    pub(crate) subscription_identifiers: &'a [u32],
}

impl PublishProperties<'_> {
    /// Whether a property of the message goes along. Topic aliases belong to a connection, and
    /// subscription identifiers to a subscriber.
    fn keeps(&self, id: PropertyId) -> bool {
        match id {
            PropertyId::TopicAlias | PropertyId::SubscriptionIdentifier => false,
            PropertyId::MessageExpiryInterval => self.message_expiry.is_none(),
            // A will's delay stays behind.
            id => id.is_allowed_in(PropertyIn::Publish),
        }
    }

    /// The runs of bytes of the message's properties that go along, each as long as it can be.
    fn kept(&self, mut visit: impl FnMut(&[u8])) {
        let all = self.message.as_bytes();
        let (mut run, mut at) = (0, 0);
        for (id, span) in self.message.spans() {
            let end = at + span.len();
            if !self.keeps(id) {
                visit(all.get(run..at).unwrap_or_default());
                run = end;
            }
            at = end;
        }
        visit(all.get(run..).unwrap_or_default());
    }

    /// Bytes without the length before them.
    pub(crate) fn length(&self) -> usize {
        let mut length = 0;
        if !self.message.is_empty() {
            self.kept(|run| length += run.len());
        }
        length += if self.alias.is_some() { ALIAS_SIZE } else { 0 };
        length += if self.message_expiry.is_some() { 5 } else { 0 };
        length + self.subscription_identifiers.iter().map(|id| 1 + variable_size(*id)).sum::<usize>()
    }

    /// `length` is what [`length`](Self::length) says, or `ALIAS_SIZE` more for an alias set since.
    pub(crate) fn write(&self, out: &mut BytesMut, length: usize) {
        let start = out.len();
        if let Some(alias) = self.alias {
            write(out, Property { id: PropertyId::TopicAlias, value: Value::Short(alias) });
        }
        if let Some(seconds) = self.message_expiry {
            write(out, Property { id: PropertyId::MessageExpiryInterval, value: Value::Long(seconds) });
        }
        for identifier in self.subscription_identifiers {
            let value = Value::Variable(*identifier);
            write(out, Property { id: PropertyId::SubscriptionIdentifier, value });
        }
        // Most often all of them go along.
        if out.len() - start + self.message.as_bytes().len() == length {
            out.put_slice(self.message.as_bytes());
        } else {
            self.kept(|run| out.put_slice(run));
        }
    }
}

/// Bytes of a topic alias among the properties.
pub(crate) const ALIAS_SIZE: usize = 3;
