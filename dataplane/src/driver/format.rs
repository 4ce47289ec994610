//! What the core asks about stored messages, and what it wants written into them.
//!
//! A message that is moved to a dead-letter or expiry address says why and where from, in message
//! annotations:
//!
//! | annotation | type | what it says |
//! |---|---|---|
//! | `x-opt-dead-letter-reason` | string | `rejected`, `expired`, `max-deliveries` or `undeliverable` |
//! | `x-opt-dead-letter-source` | string | the address that it was moved from |
//! | `x-opt-dead-letter-delivery-count` | uint | how often it was delivered in vain |
//! | `x-opt-dead-letter-condition` | symbol | the error's condition, when a consumer rejected it with one |
//! | `x-opt-dead-letter-description` | string | the error's description, likewise |
//!
//! Its header loses the ttl: where it is now, another address decides how long it stays.

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::encode_value;
use mq_amqp::message::{MessageId, MessageIndex, Properties};
use mq_amqp::value::{Symbol, Text};
use mq_core::{Format, MessageKeys, Notes, RestoredFilter};
use tracing::warn;

use super::message::{AMQP_FORMAT, Changes, Ttl, annotation, changed, map_of};
use super::terminus::{Definition, Filters, Subscriptions, origin_of};

/// Why a message was moved.
const REASON: &str = "x-opt-dead-letter-reason";

/// Where it was moved from.
const SOURCE: &str = "x-opt-dead-letter-source";

/// How often it was delivered and not processed.
const DELIVERY_COUNT: &str = "x-opt-dead-letter-delivery-count";

/// The condition with which a consumer rejected it.
const CONDITION: &str = "x-opt-dead-letter-condition";

/// The description beside the condition.
const DESCRIPTION: &str = "x-opt-dead-letter-description";

/// Of messages with the same value under this key, in the message annotations or the application
/// properties, a last-value queue keeps the last.
const LAST_VALUE_KEY: &str = "x-opt-last-value-key";

/// AMQP messages, for the core.
#[derive(Debug)]
pub(crate) struct AmqpFormat {
    subscriptions: Subscriptions,
}

impl AmqpFormat {
    /// The format of a node with these durable subscriptions; those that are restored are added.
    pub(crate) fn new(subscriptions: Subscriptions) -> Self {
        Self { subscriptions }
    }
}

impl Format for AmqpFormat {
    fn keys(&self, message_format: u32, message: &[u8]) -> MessageKeys {
        if message_format != AMQP_FORMAT {
            return MessageKeys::default();
        }
        let Ok(index) = MessageIndex::parse(message) else { return MessageKeys::default() };
        let section = |range| message.get(range).map(Bytes::copy_from_slice);
        let properties =
            index.properties.and_then(section).and_then(|section| Properties::decode(&section).ok());
        let maps = [index.message_annotations, index.application_properties].into_iter().flatten();
        let mut keys = MessageKeys::default();
        if let Some(properties) = properties {
            keys.message_id = properties.message_id.as_ref().map(id_key);
            keys.group = properties.group_id.map(|group| Bytes::copy_from_slice(group.as_str().as_bytes()));
        }
        keys.last_value = maps.filter_map(section).find_map(last_value_key);
        keys
    }

    fn annotate(&self, message_format: u32, message: &Bytes, notes: &Notes) -> Bytes {
        let mut changes = Changes::default();
        if let Some(merge) = &notes.merge {
            // What a consumer sent as `modified` and is no map is not worth losing the message for.
            changes.annotations = map_of(merge.clone()).unwrap_or_default();
        }
        if let Some(moved) = &notes.dead_letter {
            changes.ttl = Ttl::Remove;
            changes.annotations.push(annotation(REASON, moved.reason.as_str()));
            changes.annotations.push(annotation(SOURCE, &*moved.from));
            changes.annotations.push(annotation(DELIVERY_COUNT, moved.delivery_count));
            if let Some(error) = &moved.error {
                changes.annotations.push(annotation(CONDITION, Symbol::from(&*error.condition)));
                let description = error.description.as_deref();
                changes.annotations.extend(description.map(|text| annotation(DESCRIPTION, Text::from(text))));
            }
        }
        changed(message.clone(), message_format, changes)
    }

    fn restore(&self, definition: &[u8]) -> RestoredFilter {
        let Some(definition) = Definition::decode(Bytes::copy_from_slice(definition)) else {
            warn!("a durable subscription was made by another version; it gets every message of its topic");
            return RestoredFilter::default();
        };
        // It was understood when the subscription was made.
        let filters = Filters::read(&definition.filter).unwrap_or_default();
        let not_from = filters.no_local.then(|| origin_of(definition.container.as_str()));
        self.subscriptions.add(definition);
        RestoredFilter { filter: filters.selector, not_from }
    }
}

/// The bytes of a message id; ids of different types are different (AMQP 3.2.4).
fn id_key(id: &MessageId) -> Bytes {
    let (kind, content): (u8, &[u8]) = match id {
        MessageId::ULong(number) => (b'l', &number.to_be_bytes()),
        MessageId::Uuid(bytes) => (b'u', bytes),
        MessageId::Binary(bytes) => (b'b', bytes),
        MessageId::String(text) => (b's', text.as_str().as_bytes()),
    };
    [&[kind], content].concat().into()
}

/// The key of a last-value queue in a section that is a map.
fn last_value_key(section: Bytes) -> Option<Bytes> {
    let name = LAST_VALUE_KEY.as_bytes();
    if !section.windows(name.len()).any(|window| window == name) {
        return None;
    }
    let (_, value) =
        map_of(section).ok()?.into_iter().find(|(key, _)| key.as_str() == Some(LAST_VALUE_KEY))?;
    let mut key = BytesMut::new();
    match value.as_str() {
        // Peers use strings and symbols one for the other.
        Some(text) => key.extend_from_slice(text.as_bytes()),
        None => encode_value(&mut key, &value),
    }
    Some(key.freeze())
}
