//! Selectors against the sentences and examples of JMS 2.0 section 3.8.

mod errors;
mod messages;
mod random;
mod remote;
mod syntax;

use bytes::Bytes;
use mq_amqp::message::{Header, Message, MessageId, Properties};
use mq_amqp::value::Value;

use super::Selector;

/// An encoded message with these application properties.
fn message(properties: &[(&str, Value)]) -> Bytes {
    let application_properties =
        properties.iter().map(|(name, value)| (Value::from(*name), value.clone())).collect();
    Message { application_properties, ..Message::data("body") }.to_bytes()
}

#[track_caller]
fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn matches(text: &str, message: &[u8]) -> bool {
    selector(text).matches(0, message)
}

/// What a selector says of a message: it, its opposite, or neither.
#[track_caller]
fn truth(text: &str, message: &[u8]) -> Option<bool> {
    match (matches(text, message), matches(&format!("NOT ({text})"), message)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
        (true, true) => panic!("{text} is both true and false"),
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

/// A message with a header and properties in all fields.
fn full() -> Message {
    Message {
        header: Some(Header { durable: true, priority: 7, ..Header::default() }),
        properties: Some(Properties {
            message_id: Some(MessageId::String("ID:7".into())),
            user_id: Some(Bytes::from_static(b"alice")),
            to: Some("orders".into()),
            subject: Some("created".into()),
            reply_to: Some("replies".into()),
            correlation_id: Some(MessageId::ULong(77)),
            content_type: Some("text/plain".into()),
            content_encoding: Some("gzip".into()),
            absolute_expiry_time: Some(2_000),
            creation_time: Some(1_000),
            group_id: Some("g".into()),
            group_sequence: Some(3),
            reply_to_group_id: Some("h".into()),
        }),
        application_properties: vec![(Value::from("color"), Value::from("red"))],
        ..Message::data("body")
    }
}
