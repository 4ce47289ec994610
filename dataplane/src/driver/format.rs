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
//!
//! A message that came over MQTT keeps its encoding. The annotations are noted beside it, and become
//! message annotations or user properties when it is delivered.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::encode_value;
use mq_amqp::message::{Entries, MessageId, MessageIndex, Properties, Scalar};
use mq_amqp::value::{Symbol, Text, Value};
use mq_core::{DeadLetter, Format, MessageKeys, Notes, QueueSettings, RestoredFilter};
use mq_model::config::Mqtt;
use mq_model::space::{split_qualified, told};
use mq_mqtt::property::PropertyView;
use tracing::warn;

use super::attach::local_name;
use super::message::{AMQP_FORMAT, Changes, Ttl, annotation, changed, map_of};
use super::mqtt::envelope::{Envelope, MAX_ANNOTATIONS, MQTT_FORMAT};
use super::mqtt::queue_settings;
use super::mqtt::to_amqp::{add, notes_of};
use super::mqtt::to_mqtt::{TOPIC, without_expiry};
use super::terminus::{Definition, Filters, Subscriptions, origin_of};

/// What the names of the annotations below begin with.
pub(super) const DEAD_LETTER: &str = "x-opt-dead-letter-";

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

/// Of messages with the same value under this key, in the message annotations, the application
/// properties or the user properties, a last-value queue keeps the last.
const LAST_VALUE_KEY: &str = "x-opt-last-value-key";

/// The definition of the subscription that keeps messages for an MQTT session. It says what the
/// subscription is, not what it wants, which changes: its filters are kept by the core.
pub(super) const MQTT_SESSION: &[u8] = b"mqtt:session:1";

/// The definition of a subscription that MQTT clients share.
pub(super) const MQTT_SHARE: &[u8] = b"mqtt:share:1";

/// Messages of AMQP and of MQTT, for the core.
#[derive(Debug)]
pub(crate) struct Formats {
    subscriptions: Subscriptions,
    /// How the subscription of a session keeps messages, and one that sessions share.
    session: Arc<QueueSettings>,
}

impl Formats {
    /// The formats of a node with these durable subscriptions; those that are restored are added. Sessions
    /// of MQTT clients keep messages as `mqtt` says.
    pub(crate) fn new(subscriptions: Subscriptions, mqtt: &Mqtt) -> Self {
        Self { subscriptions, session: Arc::new(queue_settings(mqtt)) }
    }
}

impl Format for Formats {
    fn keys(&self, message_format: u32, message: &[u8]) -> MessageKeys {
        match message_format {
            AMQP_FORMAT => amqp_keys(message),
            MQTT_FORMAT => mqtt_keys(message),
            _ => MessageKeys::default(),
        }
    }

    fn annotate(&self, message_format: u32, message: &Bytes, notes: &Notes) -> Bytes {
        // What a consumer sent as `modified` and is no map is not worth losing the message for.
        let mut annotations = notes.merge.clone().and_then(|map| map_of(map).ok()).unwrap_or_default();
        let is_moved = notes.dead_letter.is_some();
        if let Some(moved) = &notes.dead_letter {
            annotations.extend(reasons(moved));
        }
        match message_format {
            MQTT_FORMAT => noted(message, annotations, is_moved).unwrap_or_else(|| message.clone()),
            _ => {
                let ttl = if is_moved { Ttl::Remove } else { Ttl::Keep };
                changed(message.clone(), message_format, Changes { ttl, annotations, ..Changes::default() })
            }
        }
    }

    fn named(&self, message_format: u32, message: &Bytes, name: &str) -> Option<Bytes> {
        // What clients are told is what they call it.
        let (_, name) = split_qualified(name);
        match message_format {
            AMQP_FORMAT => with_topic(message, name),
            MQTT_FORMAT => {
                let envelope = Envelope::parse(message).ok().filter(|envelope| envelope.topic != name)?;
                Envelope { topic: name, ..envelope }.encode().ok()
            }
            _ => None,
        }
    }

    fn merge(&self, earlier: &Bytes, later: &Bytes) -> Bytes {
        let (Ok(mut pairs), Ok(added)) = (map_of(earlier.clone()), map_of(later.clone())) else {
            return later.clone();
        };
        add(&mut pairs, added);
        encoded_map(pairs)
    }

    fn restore(&self, definition: &[u8]) -> RestoredFilter {
        match definition {
            MQTT_SESSION => {
                let settings = Some(self.session.clone());
                return RestoredFilter { settings, durable_only: true, ..RestoredFilter::default() };
            }
            MQTT_SHARE => {
                let settings = Some(self.session.clone());
                return RestoredFilter { settings, ..RestoredFilter::default() };
            }
            _ => {}
        }
        let Some(definition) = Definition::decode(Bytes::copy_from_slice(definition)) else {
            warn!("a durable subscription was made by another version; it gets every message of its topic");
            return RestoredFilter::default();
        };
        // It was understood when the subscription was made.
        let filters = Filters::read(&definition.filter).unwrap_or_default();
        let not_from = filters.no_local.then(|| origin_of(definition.container.as_str()));
        self.subscriptions.add(definition, None);
        RestoredFilter { filter: filters.selector, not_from, ..RestoredFilter::default() }
    }
}

/// What queues go by in an AMQP message.
fn amqp_keys(message: &[u8]) -> MessageKeys {
    let Ok(index) = MessageIndex::parse(message) else { return MessageKeys::default() };
    let section = |range| message.get(range).map(Bytes::copy_from_slice);
    let properties = index.properties.and_then(section).and_then(|section| Properties::decode(&section).ok());
    let maps = [index.message_annotations, index.application_properties].into_iter().flatten();
    let mut keys = MessageKeys::default();
    if let Some(properties) = properties {
        keys.message_id = properties.message_id.as_ref().map(id_key);
        keys.group = properties.group_id.map(|group| Bytes::copy_from_slice(group.as_str().as_bytes()));
    }
    keys.last_value = maps.filter_map(section).find_map(last_value_key);
    keys
}

/// What queues go by in an MQTT message, which has neither an id nor a group.
fn mqtt_keys(message: &[u8]) -> MessageKeys {
    let Ok(envelope) = Envelope::parse(message) else { return MessageKeys::default() };
    let mut properties = envelope.properties.user_properties();
    let key = properties.find(|(name, _)| *name == LAST_VALUE_KEY);
    let last_value = key.map(|(_, value)| Bytes::copy_from_slice(value.as_bytes()));
    MessageKeys { last_value, ..MessageKeys::default() }
}

/// An AMQP message with its topic among the annotations. None when its properties say so already, and
/// nothing else stands there: a client may have written what it likes.
fn with_topic(message: &Bytes, topic: &str) -> Option<Bytes> {
    let index = MessageIndex::parse(message).ok()?;
    let section = |range: Option<Range<usize>>| range.and_then(|range| message.get(range));
    let properties = section(index.properties).and_then(|section| Properties::to_of(section).ok());
    let says_so = properties.flatten().is_some_and(|to| local_name(to) == topic);
    let annotations = section(index.message_annotations).and_then(|section| Entries::of(section).ok());
    let noted = annotations.and_then(|mut entries| entries.find(TOPIC).ok()).flatten();
    match noted {
        None if says_so => return None,
        Some(Scalar::String(text)) if text == topic => return None,
        _ => {}
    }
    let annotations = vec![annotation(TOPIC, topic)];
    Some(changed(message.clone(), AMQP_FORMAT, Changes { annotations, ..Changes::default() }))
}

/// Why a message was moved, as annotations: clients read them, in the words of their space.
fn reasons(moved: &DeadLetter) -> Vec<(Value, Value)> {
    let (space, from) = split_qualified(&moved.from);
    let mut annotations = vec![
        annotation(REASON, moved.reason.as_str()),
        annotation(SOURCE, from),
        annotation(DELIVERY_COUNT, moved.delivery_count),
    ];
    if let Some(error) = &moved.error {
        annotations.push(annotation(CONDITION, Symbol::from(&*error.condition)));
        let description = error.description.as_deref();
        let told = description.map(|text| told(space, text));
        annotations.extend(told.map(|text| annotation(DESCRIPTION, Text::from(&*text))));
    }
    annotations
}

/// An MQTT message with more annotations, and without its expiry when it begins a new life. None when it
/// cannot be read or they are too long.
fn noted(message: &Bytes, annotations: Vec<(Value, Value)>, is_moved: bool) -> Option<Bytes> {
    let envelope = Envelope::parse(message).ok()?;
    let mut pairs = notes_of(&envelope);
    add(&mut pairs, annotations.clone());
    let mut notes = encoded_map(pairs);
    if notes.len() > MAX_ANNOTATIONS {
        // A consumer's words are not worth losing ours for.
        let ours =
            |key: &Value| [REASON, SOURCE, DELIVERY_COUNT].iter().any(|name| key.as_str() == Some(*name));
        notes = encoded_map(annotations.into_iter().filter(|(key, _)| ours(key)).collect());
    }
    let without_expiry = is_moved.then(|| without_expiry(envelope.properties));
    let properties = without_expiry.as_deref().map_or(envelope.properties, PropertyView::kept);
    Envelope { properties, annotations: &notes, ..envelope }.encode().ok()
}

fn encoded_map(pairs: Vec<(Value, Value)>) -> Bytes {
    let mut out = BytesMut::new();
    encode_value(&mut out, &Value::Map(pairs));
    out.freeze()
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

#[cfg(test)]
mod tests {
    use mq_amqp::message::{Header, Message};
    use mq_core::{DeadLetterReason, ErrorInfo};
    use mq_mqtt::property::{Properties as Properties5, PropertyIn, PropertyWriter};

    use super::*;

    fn format() -> Formats {
        Formats::new(Subscriptions::default(), &Mqtt::default())
    }

    fn keys(message: &Message) -> MessageKeys {
        format().keys(AMQP_FORMAT, &message.to_bytes())
    }

    #[test]
    fn ids_of_different_types_are_different_and_groups_are_read() {
        let of = |id: MessageId| {
            let properties =
                Properties { message_id: Some(id), group_id: Some("g".into()), ..Properties::default() };
            keys(&Message { properties: Some(properties), ..Message::data("x") })
        };
        let (number, text) = (of(MessageId::ULong(7)), of(MessageId::String("7".into())));
        assert_ne!(number.message_id, text.message_id);
        assert_eq!(text.message_id, of(MessageId::String("7".into())).message_id);
        assert_eq!(number.group.as_deref(), Some(b"g".as_slice()));
        assert_eq!(keys(&Message::data("x")), MessageKeys::default());
        assert_eq!(format().keys(7, &Message::data("x").to_bytes()), MessageKeys::default());
    }

    #[test]
    fn the_key_of_a_last_value_stands_in_an_annotation_or_an_application_property() {
        let pair = |value: Value| vec![(Value::from(LAST_VALUE_KEY), value)];
        let annotated = Message { message_annotations: pair("k".into()), ..Message::data("x") };
        let with_property =
            Message { application_properties: pair(Value::Symbol("k".into())), ..Message::data("x") };
        assert_eq!(keys(&annotated).last_value.as_deref(), Some(b"k".as_slice()));
        assert_eq!(keys(&annotated).last_value, keys(&with_property).last_value);
        let number = Message { message_annotations: pair(Value::UInt(5)), ..Message::data("x") };
        assert!(keys(&number).last_value.is_some_and(|key| *key != *b"k"));
    }

    #[test]
    fn a_message_that_is_moved_says_why_and_begins_a_new_life() {
        let header = Header { ttl: Some(5), durable: true, ..Header::default() };
        let message = Message { header: Some(header), ..Message::data("x") };
        let error = ErrorInfo {
            condition: "shop:unknown".into(),
            description: Some("no such thing".into()),
            info: None,
        };
        let moved = DeadLetter {
            reason: DeadLetterReason::Rejected,
            from: "orders".into(),
            error: Some(error),
            delivery_count: 3,
        };
        let notes = Notes { merge: None, dead_letter: Some(moved) };
        let after = format().annotate(AMQP_FORMAT, &message.to_bytes(), &notes);
        let expected = Message {
            header: Some(Header { durable: true, ..Header::default() }),
            message_annotations: vec![
                annotation(REASON, "rejected"),
                annotation(SOURCE, "orders"),
                annotation(DELIVERY_COUNT, 3_u32),
                annotation(CONDITION, Symbol::from("shop:unknown")),
                annotation(DESCRIPTION, "no such thing"),
            ],
            ..message
        };
        assert_eq!(Message::decode(&after).expect("a message"), expected);
    }

    #[test]
    fn what_is_no_definition_restores_a_subscription_without_a_filter() {
        let restored = format().restore(b"of another version");
        assert!(restored.filter.is_none() && restored.not_from.is_none());
    }

    fn publication(write: impl FnOnce(&mut PropertyWriter)) -> Properties5 {
        let mut writer = PropertyWriter::new(PropertyIn::Publish);
        write(&mut writer);
        writer.finish()
    }

    #[test]
    fn a_publication_has_the_key_of_a_last_value_alone() {
        let properties = publication(|writer| drop(writer.user_property(LAST_VALUE_KEY, "k")));
        let envelope = Envelope { properties: properties.view(), ..Envelope::new("t", b"x") };
        let keys = format().keys(MQTT_FORMAT, &envelope.encode().expect("a short message"));
        let expected = MessageKeys { last_value: Some("k".into()), ..MessageKeys::default() };
        assert_eq!(keys, expected);
        let plain = Envelope::new("t", b"x").encode().expect("a short message");
        assert_eq!(format().keys(MQTT_FORMAT, &plain), MessageKeys::default());
        assert_eq!(format().keys(MQTT_FORMAT, b"noise"), MessageKeys::default());
    }

    #[test]
    fn a_publication_that_is_moved_says_why_and_begins_a_new_life() {
        let properties = publication(|writer| {
            writer.message_expiry_interval(5).expect("allowed");
            writer.user_property("a", "1").expect("allowed");
        });
        let kept = publication(|writer| drop(writer.user_property("a", "1")));
        let envelope = Envelope { properties: properties.view(), retain: true, ..Envelope::new("t", b"x") };
        let message = envelope.encode().expect("a short message");
        let merge = encoded_map(vec![annotation("x-opt-tried", "here")]);
        let moved = |reason, error| DeadLetter { reason, from: "orders".into(), error, delivery_count: 2 };
        let first = moved(DeadLetterReason::MaxDeliveries, None);
        let notes = Notes { merge: Some(merge.clone()), dead_letter: Some(first) };
        let once = format().annotate(MQTT_FORMAT, &message, &notes);
        let error = ErrorInfo { condition: "shop:no".into(), description: None, info: None };
        let notes = Notes { merge: None, dead_letter: Some(moved(DeadLetterReason::Rejected, Some(error))) };
        let twice = format().annotate(MQTT_FORMAT, &once, &notes);
        let parsed = Envelope::parse(&twice).expect("an envelope");
        assert_eq!(Envelope { annotations: &[], ..parsed }, Envelope { properties: kept.view(), ..envelope });
        let expected = vec![
            annotation("x-opt-tried", "here"),
            annotation(REASON, "rejected"),
            annotation(SOURCE, "orders"),
            annotation(DELIVERY_COUNT, 2_u32),
            annotation(CONDITION, Symbol::from("shop:no")),
        ];
        assert_eq!(notes_of(&parsed), expected);
        let only_merged =
            format().annotate(MQTT_FORMAT, &message, &Notes { merge: Some(merge), dead_letter: None });
        let parsed = Envelope::parse(&only_merged).expect("an envelope");
        assert_eq!(parsed.properties, properties.view(), "it stays where it is, and so does its life");
    }

    #[test]
    fn what_consumers_add_beyond_all_bounds_is_left_out() {
        let message = Envelope::new("t", b"x").encode().expect("a short message");
        let long = "x".repeat(MAX_ANNOTATIONS);
        let merge = Some(encoded_map(vec![annotation("x-opt-long", long.as_str())]));
        let moved = DeadLetter {
            reason: DeadLetterReason::Expired,
            from: "orders".into(),
            error: None,
            delivery_count: 0,
        };
        let notes = Notes { merge, dead_letter: Some(moved) };
        let after = format().annotate(MQTT_FORMAT, &message, &notes);
        let names = notes_of(&Envelope::parse(&after).expect("an envelope"));
        let names: Vec<_> = names.iter().filter_map(|(key, _)| key.as_str()).collect();
        assert_eq!(names, [REASON, SOURCE, DELIVERY_COUNT]);
    }

    #[test]
    fn maps_of_several_consumers_become_one() {
        let map = |pairs: &[(&'static str, u32)]| {
            encoded_map(pairs.iter().map(|(name, value)| annotation(name, *value)).collect())
        };
        let merged = format().merge(&map(&[("a", 1), ("b", 2)]), &map(&[("a", 3)]));
        assert_eq!(merged, map(&[("b", 2), ("a", 3)]));
        assert_eq!(format().merge(&Bytes::from_static(b"no map"), &map(&[("a", 3)])), map(&[("a", 3)]));
    }

    #[test]
    fn a_stored_message_says_its_topic_once_and_truly() {
        let named = |message: &Message| {
            let named = format().named(AMQP_FORMAT, &message.to_bytes(), "t/a");
            named.map(|bytes| Message::decode(&bytes).expect("a message"))
        };
        let plain = Message::data("x");
        let noted = Message { message_annotations: vec![annotation(TOPIC, "t/a")], ..plain.clone() };
        assert_eq!(named(&plain), Some(noted.clone()));
        assert_eq!(named(&noted), None);
        let to = Properties { to: Some("/t/a".into()), ..Properties::default() };
        let says_so = Message { properties: Some(to.clone()), ..plain };
        assert_eq!(named(&says_so), None);
        let forged = Message { message_annotations: vec![annotation(TOPIC, "u")], ..says_so };
        assert_eq!(named(&forged), Some(Message { properties: Some(to), ..noted }));
        let publication = |topic| Envelope::new(topic, b"x").encode().expect("a short message");
        assert_eq!(format().named(MQTT_FORMAT, &publication("t/a"), "t/a"), None);
        assert_eq!(format().named(MQTT_FORMAT, &publication("u"), "t/a"), Some(publication("t/a")));
        assert_eq!(format().named(7, &publication("u"), "t/a"), None);
    }

    #[test]
    fn subscriptions_of_mqtt_clients_are_restored_with_the_bounds_of_now() {
        let mut mqtt = Mqtt::default();
        mqtt.session.max_messages = 7;
        let formats = Formats::new(Subscriptions::default(), &mqtt);
        let restored = formats.restore(MQTT_SESSION);
        assert!(restored.durable_only && restored.filter.is_none());
        assert_eq!(restored.settings.map(|settings| settings.max_messages), Some(7));
        let shared = formats.restore(MQTT_SHARE);
        assert!(!shared.durable_only);
        assert_eq!(shared.settings.map(|settings| settings.max_messages), Some(7));
    }
}
