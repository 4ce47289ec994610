//! Arbitrary packets that keep the rules.

use bytes::{Bytes, BytesMut};
use mq_mqtt::codec::encode;
use mq_mqtt::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, RetainHandling, SubAck, Subscribe, Subscription,
    SubscriptionOptions, Text, UnsubAck, Unsubscribe, Will,
};
use mq_mqtt::property::{Properties, Property, PropertyId, PropertyIn, PropertyWriter, Value};
use mq_mqtt::reason::ReasonIn;
use mq_mqtt::{PacketId, Qos, ReasonCode, Version};
use proptest::{collection::vec, option, prelude::*};

use crate::read;

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3_1_1), Just(Version::V5_0)]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[^\u{0}]{0,12}", 1 => "[^\u{0}]{250,300}"]
}

fn text() -> impl Strategy<Value = Text> {
    string().prop_map(|text| Text::new(&text).expect("short, without U+0000"))
}

fn binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 250..300)].prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|number| PacketId::new(number).expect("not 0"))
}

fn topic_name() -> impl Strategy<Value = String> {
    "[^\u{0}+#]{1,20}"
}

fn topic_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => "[^\u{0}+#/]{0,6}", 1 => Just("+".to_owned())];
    (vec(level, 1..5), any::<bool>(), option::of("[^\u{0}+#/]{1,6}")).prop_map(|(levels, is_open, share)| {
        let mut filter = levels.join("/");
        if is_open {
            filter.push_str("/#");
        }
        match share {
            Some(share) => format!("$share/{share}/x{filter}").replace("x+", "x"),
            None => format!("x{filter}").replace("x+", "+"),
        }
    })
}

fn reason(packet: ReasonIn) -> impl Strategy<Value = ReasonCode> {
    let allowed: Vec<ReasonCode> =
        ReasonCode::ALL.iter().copied().filter(|reason| reason.is_allowed_in(packet)).collect();
    proptest::sample::select(allowed)
}

/// A candidate for a list of properties: what it cannot take is left out.
fn candidate() -> impl Strategy<Value = (PropertyId, u32, String, String)> {
    (proptest::sample::select(PropertyId::ALL), any::<u32>(), string(), string())
}

fn push(writer: &mut PropertyWriter, (id, number, one, other): &(PropertyId, u32, String, String)) {
    for value in [
        Value::Flag(number % 2 == 1),
        Value::Short(*number as u16),
        Value::Long(*number),
        Value::Variable(number >> 4),
        Value::Text(one),
        Value::Binary(one.as_bytes()),
        Value::Pair(one, other),
    ] {
        if writer.push(Property { id: *id, value }).is_ok() {
            return;
        }
    }
}

pub(crate) fn properties(place: PropertyIn) -> impl Strategy<Value = Properties> {
    vec(candidate(), 0..12).prop_map(move |candidates| {
        let mut writer = PropertyWriter::new(place);
        for candidate in &candidates {
            // Data is nothing without its method (3.1.2.11.10).
            if candidate.0 == PropertyId::AuthenticationData
                && !writer.contains(PropertyId::AuthenticationMethod)
            {
                continue;
            }
            push(&mut writer, candidate);
        }
        writer.finish()
    })
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling =
        prop_oneof![Just(RetainHandling::Always), Just(RetainHandling::New), Just(RetainHandling::Never)];
    (qos(), any::<bool>(), handling).prop_map(|(qos, retain_as_published, retain_handling)| {
        SubscriptionOptions { qos, no_local: false, retain_as_published, retain_handling }
    })
}

fn will() -> impl Strategy<Value = Will> {
    (topic_name(), binary(), qos(), any::<bool>(), properties(PropertyIn::Will)).prop_map(
        |(topic, payload, qos, retain, properties)| Will {
            topic: Text::new(&topic).expect("short"),
            payload,
            qos,
            retain,
            properties,
        },
    )
}

fn connect() -> impl Strategy<Value = Connect> {
    let credentials = (option::of(text()), option::of(binary()));
    (
        version(),
        any::<bool>(),
        any::<u16>(),
        text(),
        option::of(will()),
        credentials,
        properties(PropertyIn::Connect),
    )
        .prop_map(
            |(version, clean_start, keep_alive, client_id, will, (user_name, password), properties)| {
                Connect { version, clean_start, keep_alive, client_id, will, user_name, password, properties }
            },
        )
}

fn publish() -> impl Strategy<Value = Packet> {
    let head = (qos(), any::<bool>(), any::<bool>(), packet_id());
    (head, topic_name(), properties(PropertyIn::Publish), binary()).prop_map(
        |((qos, duplicate, retain, packet_id), topic, properties, payload)| {
            // There is no way to make one but to read it.
            let has_id = qos != Qos::AtMostOnce;
            let flags = u8::from(duplicate && has_id) << 3 | qos.to_byte() << 1 | u8::from(retain);
            let mut body = (topic.len() as u16).to_be_bytes().to_vec();
            body.extend_from_slice(topic.as_bytes());
            if has_id {
                body.extend_from_slice(&packet_id.to_number().to_be_bytes());
            }
            let list = properties.as_bytes();
            let length = crate::framed(0, list);
            body.extend_from_slice(&length[1..]);
            body.extend_from_slice(&payload);
            read(&crate::framed(0x30 | flags, &body), Version::V5_0).expect("it keeps the rules")
        },
    )
}

fn ack(packet: ReasonIn) -> impl Strategy<Value = Ack> {
    (packet_id(), reason(packet), properties(PropertyIn::Ack))
        .prop_map(|(packet_id, reason, properties)| Ack { packet_id, reason, properties })
}

fn conn_ack() -> impl Strategy<Value = ConnAck> {
    (any::<bool>(), reason(ReasonIn::ConnAck), properties(PropertyIn::ConnAck)).prop_map(
        |(session_present, reason, properties)| ConnAck {
            session_present: session_present && !reason.is_error(),
            reason,
            properties,
        },
    )
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    (packet_id(), vec((topic_filter(), options()), 1..5), properties(PropertyIn::Subscribe)).prop_map(
        |(packet_id, filters, properties)| Subscribe {
            packet_id,
            subscriptions: filters
                .into_iter()
                .map(|(filter, options)| Subscription { filter: Text::new(&filter).expect("short"), options })
                .collect(),
            properties,
        },
    )
}

fn unsubscribe() -> impl Strategy<Value = Unsubscribe> {
    (packet_id(), vec(topic_filter(), 1..5), properties(PropertyIn::Unsubscribe)).prop_map(
        |(packet_id, filters, properties)| Unsubscribe {
            packet_id,
            filters: filters.iter().map(|filter| Text::new(filter).expect("short")).collect(),
            properties,
        },
    )
}

fn sub_ack() -> impl Strategy<Value = SubAck> {
    (packet_id(), vec(reason(ReasonIn::SubAck), 1..5), properties(PropertyIn::SubAck))
        .prop_map(|(packet_id, reasons, properties)| SubAck { packet_id, reasons, properties })
}

fn unsub_ack() -> impl Strategy<Value = UnsubAck> {
    (packet_id(), vec(reason(ReasonIn::UnsubAck), 1..5), properties(PropertyIn::UnsubAck))
        .prop_map(|(packet_id, reasons, properties)| UnsubAck { packet_id, reasons, properties })
}

fn disconnect() -> impl Strategy<Value = Disconnect> {
    (reason(ReasonIn::Disconnect), properties(PropertyIn::Disconnect))
        .prop_map(|(reason, properties)| Disconnect { reason, properties })
}

fn auth() -> impl Strategy<Value = Auth> {
    (reason(ReasonIn::Auth), properties(PropertyIn::Auth))
        .prop_map(|(reason, properties)| Auth { reason, properties })
}

/// Any packet of 5.0.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        connect()
            .prop_map(|mut packet| {
                packet.version = Version::V5_0;
                Packet::Connect(Box::new(packet))
            })
            .boxed(),
        conn_ack().prop_map(|packet| Packet::ConnAck(Box::new(packet))).boxed(),
        publish().boxed(),
        ack(ReasonIn::PubAck).prop_map(Packet::PubAck).boxed(),
        ack(ReasonIn::PubRec).prop_map(Packet::PubRec).boxed(),
        ack(ReasonIn::PubRel).prop_map(Packet::PubRel).boxed(),
        ack(ReasonIn::PubComp).prop_map(Packet::PubComp).boxed(),
        subscribe().prop_map(|packet| Packet::Subscribe(Box::new(packet))).boxed(),
        sub_ack().prop_map(|packet| Packet::SubAck(Box::new(packet))).boxed(),
        unsubscribe().prop_map(|packet| Packet::Unsubscribe(Box::new(packet))).boxed(),
        unsub_ack().prop_map(|packet| Packet::UnsubAck(Box::new(packet))).boxed(),
        Just(Packet::PingReq).boxed(),
        Just(Packet::PingResp).boxed(),
        disconnect().prop_map(|packet| Packet::Disconnect(Box::new(packet))).boxed(),
        auth().prop_map(|packet| Packet::Auth(Box::new(packet))).boxed(),
    ]
}

/// What is left of a packet in 3.1.1; AUTH is not there.
pub(crate) fn without_5_0(packet: Packet) -> Option<Packet> {
    let none = Properties::default();
    Some(match packet {
        Packet::Connect(mut packet) => {
            packet.version = Version::V3_1_1;
            packet.properties = none.clone();
            if let Some(will) = &mut packet.will {
                will.properties = none;
            }
            if packet.user_name.is_none() {
                packet.password = None;
            }
            Packet::Connect(packet)
        }
        Packet::ConnAck(mut packet) => {
            let code = packet.reason.to_return_code();
            packet.reason = ReasonCode::from_return_code(code).expect("a return code");
            packet.properties = none;
            Packet::ConnAck(packet)
        }
        Packet::Publish(publish) => {
            let mut out = BytesMut::new();
            encode(&mut out, &Packet::Publish(publish), Version::V3_1_1);
            read(&out, Version::V3_1_1).expect("what we wrote")
        }
        Packet::PubAck(ack) => Packet::PubAck(bare(ack)),
        Packet::PubRec(ack) => Packet::PubRec(bare(ack)),
        Packet::PubRel(ack) => Packet::PubRel(bare(ack)),
        Packet::PubComp(ack) => Packet::PubComp(bare(ack)),
        Packet::Subscribe(mut packet) => {
            packet.properties = none;
            for subscription in &mut packet.subscriptions {
                subscription.options = SubscriptionOptions::new(subscription.options.qos);
            }
            Packet::Subscribe(packet)
        }
        Packet::SubAck(mut packet) => {
            packet.properties = none;
            for reason in packet.reasons.iter_mut().filter(|reason| reason.is_error()) {
                *reason = ReasonCode::UnspecifiedError;
            }
            Packet::SubAck(packet)
        }
        Packet::Unsubscribe(mut packet) => {
            packet.properties = none;
            Packet::Unsubscribe(packet)
        }
        Packet::UnsubAck(mut packet) => {
            packet.properties = none;
            packet.reasons.clear();
            Packet::UnsubAck(packet)
        }
        Packet::Disconnect(_) => {
            Packet::Disconnect(Box::new(Disconnect { reason: ReasonCode::Success, properties: none }))
        }
        Packet::Auth(_) => return None,
        packet @ (Packet::PingReq | Packet::PingResp) => packet,
    })
}

fn bare(ack: Ack) -> Ack {
    Ack { reason: ReasonCode::Success, properties: Properties::default(), ..ack }
}
