//! `mq send`, `recv`, `request` and `reply` over MQTT: what they have in common is how a message of MQTT is
//! one of AMQP, and the other way round.

use bytes::Bytes;
use fe2o3_amqp::types::{
    messaging::{ApplicationProperties, Body, Header, Message, MessageId, Properties},
    primitives::{Binary, OrderedMap, SimpleValue, Symbol, Value as Amqp},
};
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};

use super::message::Fields;
use crate::{
    args::message::MessageFields,
    client::mqtt::level,
    failure::{Failure, Outcome},
    record::{self, AnyMessage, Mqtt},
    value::value_to_json,
};

pub(super) mod recv;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod send;

/// The quality of service of what is sent and received, unless the user says otherwise.
const DEFAULT_QOS: u8 = 1;

/// What is published.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Publication {
    pub(super) payload: Vec<u8>,
    pub(super) properties: PublishProperties,
}

/// Refuses a flag that is for MQTT alone.
pub(super) fn only(is_set: bool, flag: &str) -> Outcome {
    if !is_set {
        return Ok(());
    }
    Err(Failure::usage(format!("{flag} is for MQTT, and this address is one of AMQP"))
        .help("write mqtt://host:port/topic, or leave the flag out"))
}

/// Refuses a flag that MQTT has nothing for.
fn never(is_set: bool, flag: &str) -> Outcome {
    if is_set { Err(Failure::usage(format!("MQTT has nothing for {flag}"))) } else { Ok(()) }
}

/// Refuses what flags say of a message and MQTT cannot carry.
fn check_fields(args: &MessageFields) -> Outcome {
    never(args.priority.is_some(), "--priority")?;
    never(args.delay.is_some(), "--delay")?;
    never(args.at.is_some(), "--at")?;
    never(args.message_id.is_some(), "--message-id")?;
    never(args.group.is_some(), "--group")?;
    never(args.last_value_key.is_some(), "--last-value-key")?;
    never(!args.annotations.is_empty(), "--annotation")?;
    let carried = ["content-type", "reply-to", "correlation-id"];
    let name = |text: &String| text.split('=').next().unwrap_or_default().replace('_', "-");
    match args.properties.iter().map(name).find(|name| !carried.contains(&name.as_str())) {
        Some(other) => never(true, &format!("--property {other}")),
        None => Ok(()),
    }
}

/// A message as MQTT carries it. What it says of MQTT, and what flags say, goes before the rest.
fn publication(message: &AnyMessage, mqtt: Option<&Mqtt>, fields: &Fields) -> Publication {
    let properties = message.properties.clone().unwrap_or_default();
    let ttl = message.header.as_ref().and_then(|header| header.ttl);
    let is_text = mqtt.map_or_else(|| is_text(&message.body), |mqtt| mqtt.is_text);
    let properties = PublishProperties {
        payload_format_indicator: is_text.then_some(1),
        message_expiry_interval: ttl.map(|ttl| ttl.div_ceil(1_000)),
        topic_alias: None,
        response_topic: properties.reply_to,
        correlation_data: properties.correlation_id.map(correlation_data),
        user_properties: user_properties(message, mqtt, fields),
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type.map(|content_type| content_type.0),
    };
    Publication { payload: record::body_bytes(&message.body), properties }
}

fn is_text(body: &Body<Amqp>) -> bool {
    matches!(body, Body::Value(value) if matches!(value.0, Amqp::String(_)))
}

/// The names that flags say are theirs alone; they may say one twice.
fn user_properties(message: &AnyMessage, mqtt: Option<&Mqtt>, fields: &Fields) -> Vec<(String, String)> {
    let is_said = |name: &str| fields.application().iter().any(|(said, _)| said == name);
    let mut pairs: Vec<(String, String)> = match mqtt {
        Some(mqtt) => mqtt.user_properties.clone(),
        None => {
            let application =
                message.application_properties.iter().flat_map(|properties| properties.0.iter());
            application.map(|(name, value)| (name.clone(), text(value))).collect()
        }
    };
    pairs.retain(|(name, _)| !is_said(name));
    pairs.extend(fields.application().iter().map(|(name, value)| (name.clone(), text(value))));
    pairs
}

/// A value as text: strings as they are, numbers in decimal, the rest as `mq help records` has it.
fn text(value: &SimpleValue) -> String {
    let value = Amqp::from(value.clone());
    match &value {
        Amqp::String(text) => text.clone(),
        Amqp::Symbol(symbol) => symbol.0.clone(),
        Amqp::Ubyte(number) => number.to_string(),
        Amqp::Ushort(number) => number.to_string(),
        Amqp::Uint(number) => number.to_string(),
        Amqp::Ulong(number) => number.to_string(),
        Amqp::Byte(number) => number.to_string(),
        Amqp::Short(number) => number.to_string(),
        Amqp::Int(number) => number.to_string(),
        Amqp::Long(number) => number.to_string(),
        other => value_to_json(other).to_string(),
    }
}

fn correlation_data(id: MessageId) -> Bytes {
    match id {
        MessageId::String(text) => text.into(),
        MessageId::Binary(bytes) => Bytes::copy_from_slice(&bytes),
        MessageId::Ulong(number) => number.to_string().into(),
        MessageId::Uuid(id) => uuid::Uuid::from_bytes(id.into_inner()).urn().to_string().into(),
    }
}

/// A publication as a message, with what only MQTT says of it.
fn received(publish: &Publish) -> (AnyMessage, Mqtt) {
    let properties = publish.properties.clone().unwrap_or_default();
    let mut message = Message::from(record::data(publish.payload.to_vec()));
    let qos = level(publish.qos);
    let ttl = properties.message_expiry_interval.map(|seconds| seconds.saturating_mul(1_000));
    if qos > 0 || ttl.is_some() {
        message.header = Some(Header { durable: qos > 0, ttl, ..Header::default() });
    }
    let of_message = Properties {
        reply_to: properties.response_topic,
        correlation_id: properties
            .correlation_data
            .map(|data| MessageId::Binary(Binary::from(data.to_vec()))),
        content_type: properties.content_type.map(Symbol),
        ..Properties::new()
    };
    if of_message != Properties::new() {
        message.properties = Some(of_message);
    }
    if !properties.user_properties.is_empty() {
        let mut map = OrderedMap::new();
        // A map holds a name once: the first, as the daemon has it. All of them are in the part of MQTT.
        for (name, value) in properties.user_properties.iter().rev() {
            map.insert(name.clone(), SimpleValue::String(value.clone()));
        }
        message.application_properties = Some(ApplicationProperties(map));
    }
    let mqtt = Mqtt {
        qos,
        retain: publish.retain,
        dup: publish.dup,
        user_properties: properties.user_properties,
        subscription_ids: properties.subscription_identifiers,
        is_text: properties.payload_format_indicator == Some(1),
    };
    (message, mqtt)
}

/// The topic of a publication, for people.
fn topic(publish: &Publish) -> String {
    String::from_utf8_lossy(&publish.topic).into_owned()
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::QoS;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn full() -> Publish {
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(60),
            topic_alias: None,
            response_topic: Some("answers/1".into()),
            correlation_data: Some(Bytes::from_static(&[0, 255])),
            user_properties: pairs(&[("k", "v"), ("k", "w"), ("a", "")]),
            subscription_identifiers: vec![7],
            content_type: Some("text/plain".into()),
        };
        let mut publish = Publish::new("a/b", QoS::AtLeastOnce, "21.5", Some(properties));
        publish.retain = true;
        publish
    }

    #[test]
    fn a_message_of_mqtt_that_is_written_down_and_read_is_the_same() {
        let publish = full();
        let (message, mqtt) = received(&publish);
        let reception = record::Reception {
            address: "a/b",
            at: jiff::Timestamp::UNIX_EPOCH,
            sequence: 1,
            settlement: "accepted",
            mqtt: Some(&mqtt),
        };
        let line = record::to_json(&message, reception);
        assert_eq!(line["proto"], "mqtt");
        assert_eq!(line["mqtt"]["subscription_ids"], serde_json::json!([7]));
        let (message, mqtt) = record::from_json(&line.to_string()).unwrap();
        let mqtt = mqtt.unwrap();
        assert_eq!((mqtt.qos, mqtt.retain), (1, true));
        let publication = publication(&message, Some(&mqtt), &Fields::default());
        let mut sent = publish.properties.unwrap();
        // It tells which subscription of the receiver matched.
        sent.subscription_identifiers.clear();
        assert_eq!(publication, Publication { payload: b"21.5".to_vec(), properties: sent });
    }

    #[test]
    fn a_message_of_amqp_becomes_one_of_mqtt_and_flags_go_over_it() {
        let line = r#"{"header": {"ttl_ms": 1500}, "properties": {"correlation_id": {"u64": 7}},
            "application_properties": {"n": {"i32": 5}, "b": true, "k": "old"},
            "body": {"kind": "value", "enc": "json", "value": "text"}}"#;
        let (message, mqtt) = record::from_json(line).unwrap();
        let flags = MessageFields { headers: vec!["k=1".into(), "k=2".into()], ..MessageFields::default() };
        let fields = Fields::parse(&flags).unwrap();
        let Publication { payload, properties } = publication(&message, mqtt.as_ref(), &fields);
        assert_eq!(payload, b"text");
        assert_eq!(properties.payload_format_indicator, Some(1));
        assert_eq!(properties.message_expiry_interval, Some(2), "never less than what is left");
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"7"[..]));
        let expected = pairs(&[("n", "5"), ("b", "true"), ("k", "1"), ("k", "2")]);
        assert_eq!(properties.user_properties, expected);
    }

    #[test]
    fn what_mqtt_cannot_carry_is_refused() {
        let priority = MessageFields { priority: Some(1), ..MessageFields::default() };
        assert!(check_fields(&priority).unwrap_err().message.contains("--priority"));
        let subject = MessageFields { properties: vec!["subject=x".into()], ..MessageFields::default() };
        assert!(check_fields(&subject).unwrap_err().message.contains("--property subject"));
        let carried = MessageFields {
            properties: vec!["content_type=x".into(), "reply-to=y".into()],
            ttl: Some(1),
            durable: true,
            ..MessageFields::default()
        };
        assert_eq!(check_fields(&carried), Ok(()));
    }
}
