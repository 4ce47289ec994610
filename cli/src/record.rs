//! A message as one line of JSON, and back (`mq help records`).
//!
//! The line holds everything that an application can see, with the AMQP type of every value, so that
//! a message that is received, written down and sent again is the same message.

use base64::{Engine, prelude::BASE64_STANDARD};
use fe2o3_amqp::types::{
    messaging::{
        AmqpSequence, AmqpValue, ApplicationProperties, Body, Data, Footer, Header, Message,
        MessageAnnotations, MessageId, Priority, Properties, annotations::OwnedKey,
    },
    primitives::{Binary, OrderedMap, Symbol, Timestamp, Value as Amqp},
};
use serde_json::{Map, Value, json};

use crate::value::{list_from_json, simple, symbol, unbase64, value_from_json, value_to_json};

/// The version of the format.
const VERSION: u64 = 1;

/// A message as the client library has it.
pub type AnyMessage = Message<Body<Amqp>>;

/// What is known about a message besides itself.
#[derive(Clone, Copy, Debug)]
pub struct Reception<'a> {
    pub address: &'a str,
    pub at: jiff::Timestamp,
    /// The number of the message in this run, from 1.
    pub sequence: u64,
    /// What the sender is told.
    pub settlement: &'a str,
    /// What only MQTT says of it; `None`: it came over AMQP.
    pub mqtt: Option<&'a Mqtt>,
}

/// What a message of MQTT has beyond what every message has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mqtt {
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    /// In their order, and a name as often as it was sent: more than a map can hold.
    pub user_properties: Vec<(String, String)>,
    pub subscription_ids: Vec<usize>,
    /// The payload was declared to be text (MQTT 5.0, 3.3.2.3.2).
    pub is_text: bool,
}

/// The line for a received message.
pub fn to_json(message: &AnyMessage, reception: Reception<'_>) -> Value {
    let mut record = Map::new();
    record.insert("v".into(), VERSION.into());
    record.insert("proto".into(), if reception.mqtt.is_some() { "mqtt" } else { "amqp" }.into());
    record.insert("address".into(), reception.address.into());
    record.insert("at".into(), reception.at.to_string().into());
    record.insert("seq".into(), reception.sequence.into());
    if let Some(header) = &message.header {
        record.insert("header".into(), header_to_json(header));
    }
    if let Some(annotations) = &message.delivery_annotations {
        record.insert("delivery_annotations".into(), annotations_to_json(&annotations.0));
    }
    if let Some(annotations) = &message.message_annotations {
        record.insert("message_annotations".into(), annotations_to_json(&annotations.0));
    }
    if let Some(properties) = &message.properties {
        record.insert("properties".into(), properties_to_json(properties));
    }
    if let Some(properties) = &message.application_properties {
        let map = properties.0.iter().map(|(key, value)| (key.clone(), value_to_json(&value.clone().into())));
        record.insert("application_properties".into(), Value::Object(map.collect()));
    }
    record.insert("body".into(), body_to_json(&message.body));
    if let Some(footer) = &message.footer {
        record.insert("footer".into(), annotations_to_json(&footer.0));
    }
    if let Some(mqtt) = reception.mqtt {
        record.insert("mqtt".into(), mqtt_to_json(mqtt));
    }
    record.insert("settlement".into(), reception.settlement.into());
    Value::Object(record)
}

/// The message of a line.
///
/// The fields that say how a message was received are ignored, and so is what belongs to a delivery and
/// not to the message: `first_acquirer`, `delivery_count` and `delivery_annotations`.
///
/// # Errors
///
/// One sentence that names the field.
pub fn from_json(line: &str) -> Result<(AnyMessage, Option<Mqtt>), String> {
    const FIELDS: [&str; 13] = [
        "v",
        "proto",
        "address",
        "at",
        "seq",
        "header",
        "delivery_annotations",
        "message_annotations",
        "properties",
        "application_properties",
        "body",
        "footer",
        "mqtt",
    ];
    let record: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let record = record.as_object().ok_or("a message is a JSON object")?;
    if let Some(version) = record.get("v").filter(|version| version.as_u64() != Some(VERSION)) {
        return Err(format!("`v` is {version}, and this mq reads version {VERSION}"));
    }
    if let Some(unknown) = record.keys().find(|key| !FIELDS.contains(&key.as_str()) && *key != "settlement") {
        return Err(format!("unknown field `{unknown}`; see `mq help records`"));
    }
    let mut message = Message::from(Body::Empty);
    message.header = optional(record, "header", header_from_json)?;
    message.message_annotations =
        optional(record, "message_annotations", annotations_from_json)?.map(MessageAnnotations);
    message.properties = optional(record, "properties", properties_from_json)?;
    message.application_properties = optional(record, "application_properties", application_from_json)?;
    message.body = optional(record, "body", body_from_json)?.unwrap_or(Body::Empty);
    message.footer = optional(record, "footer", annotations_from_json)?.map(Footer);
    let mqtt = optional(record, "mqtt", mqtt_from_json)?;
    Ok((message, mqtt))
}

/// The body as the bytes that a person or a command wants: the data itself, text as UTF-8, anything
/// else as JSON.
pub fn body_bytes(body: &Body<Amqp>) -> Vec<u8> {
    match body {
        Body::Data(sections) => sections.iter().flat_map(|section| section.0.iter().copied()).collect(),
        Body::Value(AmqpValue(Amqp::String(text))) => text.clone().into_bytes(),
        Body::Value(AmqpValue(Amqp::Symbol(text))) => text.0.clone().into_bytes(),
        Body::Value(AmqpValue(Amqp::Binary(bytes))) => bytes.to_vec(),
        Body::Value(AmqpValue(Amqp::Null)) | Body::Empty => Vec::new(),
        Body::Value(AmqpValue(value)) => value_to_json(value).to_string().into_bytes(),
        Body::Sequence(_) => body_to_json(body)["value"].to_string().into_bytes(),
    }
}

/// A body of one data section.
pub fn data(bytes: impl Into<Vec<u8>>) -> Body<Amqp> {
    Body::Data(vec![Data::from(bytes.into())].into())
}

fn optional<T>(
    record: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match record.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some).map_err(|why| format!("`{name}`: {why}")),
    }
}

fn mqtt_to_json(mqtt: &Mqtt) -> Value {
    let Mqtt { qos, retain, dup, user_properties, subscription_ids, is_text } = mqtt;
    json!({
        "qos": qos,
        "retain": retain,
        "dup": dup,
        "user_properties": user_properties,
        "subscription_ids": subscription_ids,
        "payload_format": u8::from(*is_text),
    })
}

/// What belongs to the message; `dup` and the subscriptions belong to the delivery.
fn mqtt_from_json(value: &Value) -> Result<Mqtt, String> {
    let map = value.as_object().ok_or("must be an object")?;
    known(map, &["qos", "retain", "dup", "user_properties", "subscription_ids", "payload_format"])?;
    let mut mqtt = Mqtt::default();
    if let Some(qos) = map.get("qos") {
        let qos = qos.as_u64().and_then(|qos| u8::try_from(qos).ok()).filter(|qos| *qos <= 2);
        mqtt.qos = qos.ok_or("`qos` must be 0, 1 or 2")?;
    }
    if let Some(retain) = map.get("retain") {
        mqtt.retain = retain.as_bool().ok_or("`retain` must be true or false")?;
    }
    if let Some(format) = map.get("payload_format") {
        let format = format.as_u64().filter(|format| *format <= 1);
        mqtt.is_text = format.ok_or("`payload_format` must be 0 or 1")? == 1;
    }
    if let Some(properties) = map.get("user_properties") {
        let properties = serde_json::from_value(properties.clone());
        mqtt.user_properties = properties.map_err(|_| "`user_properties` must be pairs of strings")?;
    }
    Ok(mqtt)
}

fn header_to_json(header: &Header) -> Value {
    let mut map = Map::new();
    map.insert("durable".into(), header.durable.into());
    map.insert("priority".into(), header.priority.0.into());
    if let Some(ttl) = header.ttl {
        map.insert("ttl_ms".into(), ttl.into());
    }
    map.insert("first_acquirer".into(), header.first_acquirer.into());
    map.insert("delivery_count".into(), header.delivery_count.into());
    Value::Object(map)
}

fn header_from_json(value: &Value) -> Result<Header, String> {
    let map = value.as_object().ok_or("must be an object")?;
    known(map, &["durable", "priority", "ttl_ms", "first_acquirer", "delivery_count"])?;
    let mut header = Header::default();
    if let Some(durable) = map.get("durable") {
        header.durable = durable.as_bool().ok_or("`durable` must be true or false")?;
    }
    if let Some(priority) = map.get("priority") {
        let priority = priority.as_u64().and_then(|priority| u8::try_from(priority).ok());
        header.priority = Priority(priority.ok_or("`priority` must be 0 to 255")?);
    }
    if let Some(ttl) = map.get("ttl_ms").filter(|ttl| !ttl.is_null()) {
        let ttl = ttl.as_u64().and_then(|ttl| u32::try_from(ttl).ok());
        header.ttl = Some(ttl.ok_or("`ttl_ms` must be 0 to 4294967295")?);
    }
    Ok(header)
}

fn properties_to_json(properties: &Properties) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    let symbol = |symbol: &Option<Symbol>| symbol.as_ref().map(|symbol| symbol.0.clone().into());
    let time = |time: &Option<Timestamp>| {
        time.as_ref().map(|time| json!({ "timestamp": time.clone().into_inner() }))
    };
    put("message_id", properties.message_id.as_ref().map(id_to_json));
    put("user_id", properties.user_id.as_ref().map(|id| json!({ "binary": BASE64_STANDARD.encode(id) })));
    put("to", properties.to.clone().map(Value::from));
    put("subject", properties.subject.clone().map(Value::from));
    put("reply_to", properties.reply_to.clone().map(Value::from));
    put("correlation_id", properties.correlation_id.as_ref().map(id_to_json));
    put("content_type", symbol(&properties.content_type));
    put("content_encoding", symbol(&properties.content_encoding));
    put("absolute_expiry_time", time(&properties.absolute_expiry_time));
    put("creation_time", time(&properties.creation_time));
    put("group_id", properties.group_id.clone().map(Value::from));
    put("group_sequence", properties.group_sequence.map(Value::from));
    put("reply_to_group_id", properties.reply_to_group_id.clone().map(Value::from));
    Value::Object(map)
}

fn properties_from_json(value: &Value) -> Result<Properties, String> {
    let map = value.as_object().ok_or("must be an object")?;
    let mut properties = Properties::new();
    for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        set_property(&mut properties, name, value).map_err(|why| format!("`{name}`: {why}"))?;
    }
    Ok(properties)
}

fn set_property(properties: &mut Properties, name: &str, value: &Value) -> Result<(), String> {
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| "must be a string".to_owned());
    match name {
        "message_id" => properties.message_id = Some(id_from_json(value)?),
        "user_id" => properties.user_id = Some(binary_from_json(value)?),
        "to" => properties.to = Some(text()?),
        "subject" => properties.subject = Some(text()?),
        "reply_to" => properties.reply_to = Some(text()?),
        "correlation_id" => properties.correlation_id = Some(id_from_json(value)?),
        "content_type" => properties.content_type = Some(symbol(&text()?)?),
        "content_encoding" => properties.content_encoding = Some(symbol(&text()?)?),
        "absolute_expiry_time" => properties.absolute_expiry_time = Some(time_from_json(value)?),
        "creation_time" => properties.creation_time = Some(time_from_json(value)?),
        "group_id" => properties.group_id = Some(text()?),
        "group_sequence" => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            properties.group_sequence = Some(number.ok_or("must be 0 to 4294967295")?);
        }
        "reply_to_group_id" => properties.reply_to_group_id = Some(text()?),
        _ => return Err("there is no such property".into()),
    }
    Ok(())
}

/// Sets a property from text, as flags have it: `message-id=7`.
pub fn set_property_text(properties: &mut Properties, name: &str, text: &str) -> Result<(), String> {
    let field = name.replace('-', "_");
    let value = match field.as_str() {
        "group_sequence" => text.parse::<u32>().map_err(|_| "must be 0 to 4294967295")?.into(),
        "user_id" => json!({ "binary": BASE64_STANDARD.encode(text) }),
        "absolute_expiry_time" | "creation_time" => {
            let time: jiff::Timestamp =
                text.parse().map_err(|_| "must be a time like 2030-01-31T12:00:00Z")?;
            json!({ "timestamp": time.as_millisecond() })
        }
        _ => text.into(),
    };
    set_property(properties, &field, &value)
}

fn id_to_json(id: &MessageId) -> Value {
    match id {
        MessageId::Ulong(id) => json!({ "u64": id }),
        MessageId::Uuid(id) => json!({ "uuid": uuid::Uuid::from_bytes(id.clone().into_inner()).to_string() }),
        MessageId::Binary(id) => json!({ "binary": BASE64_STANDARD.encode(id) }),
        MessageId::String(id) => json!({ "str": id }),
    }
}

fn id_from_json(value: &Value) -> Result<MessageId, String> {
    if let Some(text) = value.as_str().or_else(|| value.get("str").and_then(Value::as_str)) {
        return Ok(MessageId::String(text.to_owned()));
    }
    match value_from_json(value)? {
        Amqp::Ulong(id) => Ok(MessageId::Ulong(id)),
        Amqp::Uuid(id) => Ok(MessageId::Uuid(id)),
        Amqp::Binary(id) => Ok(MessageId::Binary(id)),
        _ => Err("must be a string, {\"str\": ..}, {\"u64\": ..}, {\"uuid\": ..} or {\"binary\": ..}".into()),
    }
}

fn binary_from_json(value: &Value) -> Result<Binary, String> {
    match value_from_json(value)? {
        Amqp::Binary(bytes) => Ok(bytes),
        Amqp::String(text) => Ok(Binary::from(text.into_bytes())),
        _ => Err("must be {\"binary\": base64} or a string".into()),
    }
}

fn time_from_json(value: &Value) -> Result<Timestamp, String> {
    if let Some(text) = value.as_str() {
        let time: jiff::Timestamp = text.parse().map_err(|_| "must be a time like 2030-01-31T12:00:00Z")?;
        return Ok(Timestamp::from(time.as_millisecond()));
    }
    match value_from_json(value)? {
        Amqp::Timestamp(time) => Ok(time),
        _ => Err("must be {\"timestamp\": milliseconds} or a time like 2030-01-31T12:00:00Z".into()),
    }
}

fn application_from_json(value: &Value) -> Result<ApplicationProperties, String> {
    let map = value.as_object().ok_or("must be an object")?;
    let mut properties = OrderedMap::new();
    for (key, value) in map {
        let value = value_from_json(value).and_then(simple).map_err(|why| format!("`{key}`: {why}"))?;
        properties.insert(key.clone(), value);
    }
    Ok(ApplicationProperties(properties))
}

/// An object when every key is a symbol, which is the rule; otherwise pairs.
fn annotations_to_json(annotations: &OrderedMap<OwnedKey, Amqp>) -> Value {
    let symbols = annotations.iter().map(|(key, value)| match key {
        OwnedKey::Symbol(key) => Some((key.0.clone(), value_to_json(value))),
        OwnedKey::Ulong(_) => None,
    });
    if let Some(map) = symbols.collect::<Option<Map<String, Value>>>() {
        return Value::Object(map);
    }
    let pairs = annotations.iter().map(|(key, value)| {
        let key = match key {
            OwnedKey::Symbol(key) => Value::from(key.0.clone()),
            OwnedKey::Ulong(key) => json!({ "u64": key }),
        };
        json!([key, value_to_json(value)])
    });
    Value::Array(pairs.collect())
}

fn annotations_from_json(value: &Value) -> Result<OrderedMap<OwnedKey, Amqp>, String> {
    let mut annotations = OrderedMap::new();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                annotations.insert(OwnedKey::Symbol(symbol(key)?), value_from_json(value)?);
            }
        }
        Value::Array(pairs) => {
            for pair in pairs {
                let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
                    return Err("must be an object, or an array of pairs".into());
                };
                let key = match value_from_json(key)? {
                    Amqp::String(key) | Amqp::Symbol(Symbol(key)) => OwnedKey::Symbol(symbol(&key)?),
                    Amqp::Ulong(key) => OwnedKey::Ulong(key),
                    _ => return Err("a key must be a string or {\"u64\": ..}".into()),
                };
                annotations.insert(key, value_from_json(value)?);
            }
        }
        _ => return Err("must be an object, or an array of pairs".into()),
    }
    Ok(annotations)
}

fn body_to_json(body: &Body<Amqp>) -> Value {
    match body {
        Body::Empty => json!({ "kind": "none" }),
        Body::Value(AmqpValue(value)) => {
            json!({ "kind": "value", "enc": "json", "value": value_to_json(value) })
        }
        Body::Sequence(sections) => {
            let section =
                |section: &AmqpSequence<Amqp>| Value::Array(section.0.iter().map(value_to_json).collect());
            // One section is the rule, and its items are the value; several are a list of lists.
            match sections.as_slice() {
                [only] => json!({ "kind": "sequence", "enc": "json", "value": section(only) }),
                many => {
                    let sections: Vec<Value> = many.iter().map(section).collect();
                    json!({ "kind": "sequence", "enc": "json", "sections": sections })
                }
            }
        }
        Body::Data(sections) => {
            let texts: Option<Vec<&str>> =
                sections.iter().map(|section| std::str::from_utf8(&section.0).ok()).collect();
            let (encoding, values): (&str, Vec<Value>) = match texts {
                Some(texts) => ("utf8", texts.into_iter().map(Value::from).collect()),
                None => {
                    let encode = |section: &Data| Value::from(BASE64_STANDARD.encode(&section.0));
                    ("base64", sections.iter().map(encode).collect())
                }
            };
            match values.as_slice() {
                [only] => json!({ "kind": "data", "enc": encoding, "value": only }),
                _ => json!({ "kind": "data", "enc": encoding, "sections": values }),
            }
        }
    }
}

fn body_from_json(body: &Value) -> Result<Body<Amqp>, String> {
    if let Some(text) = body.as_str() {
        return Ok(data(text));
    }
    let map = body.as_object().ok_or("must be an object, or a string")?;
    known(map, &["kind", "enc", "value", "sections"])?;
    let value = map.get("value").unwrap_or(&Value::Null);
    let sections = || match map.get("sections") {
        Some(sections) => sections.as_array().cloned().ok_or("`sections` must be an array"),
        None => Ok(vec![value.clone()]),
    };
    match map.get("kind").and_then(Value::as_str) {
        Some("none") => Ok(Body::Empty),
        Some("value") => Ok(Body::Value(AmqpValue(value_from_json(value)?))),
        Some("data") => {
            let encoding = map.get("enc").and_then(Value::as_str).unwrap_or("utf8");
            let data: Result<Vec<Data>, String> =
                sections()?.iter().map(|section| data_from_json(section, encoding)).collect();
            Ok(Body::Data(data?.into()))
        }
        Some("sequence") => {
            let sequences: Result<Vec<AmqpSequence<Amqp>>, String> =
                sections()?.iter().map(|section| Ok(AmqpSequence(list_from_json(section)?))).collect();
            Ok(Body::Sequence(sequences?.into()))
        }
        _ => Err("`kind` must be data, value, sequence or none".into()),
    }
}

fn data_from_json(section: &Value, encoding: &str) -> Result<Data, String> {
    let text = section.as_str().ok_or("the value of a data body must be a string")?;
    match encoding {
        "utf8" => Ok(Data::from(text.as_bytes().to_vec())),
        "base64" => Ok(Data::from(unbase64(text)?)),
        _ => Err(format!("`enc` is `{encoding}`, and must be utf8 or base64")),
    }
}

fn known(map: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    match map.keys().find(|key| !names.contains(&key.as_str())) {
        Some(unknown) => Err(format!("unknown field `{unknown}`; there are {}", names.join(", "))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::primitives::SimpleValue;

    use super::*;

    fn reception() -> Reception<'static> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        Reception { address: "a", at, sequence: 1, settlement: "accepted", mqtt: None }
    }

    fn round_trip(message: &AnyMessage) -> AnyMessage {
        from_json(&to_json(message, reception()).to_string()).unwrap().0
    }

    #[test]
    fn a_message_with_everything_comes_back_as_it_was() {
        let mut message = Message::from(data([0, 255]));
        message.header = Some(Header { durable: true, ttl: Some(5), ..Header::default() });
        let mut properties = Properties::new();
        for (name, text) in [
            ("message-id", "m"),
            ("user-id", "u"),
            ("to", "t"),
            ("subject", "s"),
            ("reply-to", "r"),
            ("correlation-id", "c"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("creation-time", "2030-01-31T12:00:00Z"),
            ("absolute-expiry-time", "2030-01-31T12:00:00.5Z"),
            ("group-id", "g"),
            ("group-sequence", "4294967295"),
            ("reply-to-group-id", "rg"),
        ] {
            set_property_text(&mut properties, name, text).unwrap();
        }
        message.properties = Some(properties);
        let mut annotations = OrderedMap::new();
        annotations.insert(OwnedKey::from("x-opt-a"), Amqp::Int(1));
        message.message_annotations = Some(MessageAnnotations(annotations.clone()));
        annotations.insert(OwnedKey::from(7), Amqp::Null);
        message.footer = Some(Footer(annotations));
        let mut application = OrderedMap::new();
        application.insert("n".to_owned(), SimpleValue::Int(5));
        application.insert("s".to_owned(), SimpleValue::String("x".into()));
        message.application_properties = Some(ApplicationProperties(application));
        assert_eq!(round_trip(&message), message);
    }

    #[test]
    fn every_kind_of_body_comes_back_as_it_was() {
        let sequence = |items: Vec<Amqp>| AmqpSequence(items);
        for body in [
            Body::Empty,
            data("text"),
            data([0xff]),
            data(""),
            Body::Data(vec![Data::from(vec![1]), Data::from(vec![0xff])].into()),
            Body::Value(AmqpValue(Amqp::Null)),
            Body::Value(AmqpValue(Amqp::Long(1))),
            Body::Sequence(vec![sequence(vec![Amqp::Null, Amqp::Bool(true)])].into()),
            Body::Sequence(vec![sequence(vec![]), sequence(vec![Amqp::Uint(1)])].into()),
        ] {
            let message = Message::from(body);
            assert_eq!(round_trip(&message).body, message.body);
        }
    }

    #[test]
    fn the_record_has_the_documented_shape() {
        let record = to_json(&Message::from(data("hello")), reception());
        let expected = r#"{"v":1,"proto":"amqp","address":"a","at":"1970-01-01T00:00:00Z","seq":1,"body":{"kind":"data","enc":"utf8","value":"hello"},"settlement":"accepted"}"#;
        assert_eq!(record, serde_json::from_str::<Value>(expected).unwrap());
    }

    #[test]
    fn a_line_by_hand_needs_only_a_body() {
        let (message, _) = from_json(r#"{"body": "hello"}"#).unwrap();
        assert_eq!(message, Message::from(data("hello")));
    }

    #[test]
    fn an_error_names_the_field() {
        for (line, why) in [
            ("{", "not JSON"),
            ("[]", "a JSON object"),
            (r#"{"v": 2}"#, "version 1"),
            (r#"{"bdy": 1}"#, "unknown field `bdy`"),
            (r#"{"header": {"priority": 256}}"#, "`header`: `priority` must be 0 to 255"),
            (r#"{"properties": {"subject": 1}}"#, "`properties`: `subject`: must be a string"),
            (r#"{"properties": {"nope": 1}}"#, "no such property"),
            (r#"{"application_properties": {"a": [1]}}"#, "`a`: lists"),
            (r#"{"application_properties": {"a": {"u8": 256}}}"#, "256 does not fit"),
            (r#"{"body": {"kind": "data", "enc": "base64", "value": "*"}}"#, "not base64"),
            (r#"{"body": {"kind": "value", "value": {"array": [1, "a"]}}}"#, "one type"),
        ] {
            let error = from_json(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn bytes_for_a_person_are_the_plain_content() {
        assert_eq!(body_bytes(&data([1, 2])), [1, 2]);
        assert_eq!(body_bytes(&Body::Value(AmqpValue(Amqp::String("x".into())))), b"x");
        assert_eq!(body_bytes(&Body::Value(AmqpValue(Amqp::Null))), b"");
        assert_eq!(body_bytes(&Body::Value(AmqpValue(Amqp::Int(5)))), br#"{"i32":5}"#);
        let sequence = vec![AmqpSequence(vec![Amqp::Bool(true)])];
        assert_eq!(body_bytes(&Body::Sequence(sequence.into())), b"[true]");
    }
}
