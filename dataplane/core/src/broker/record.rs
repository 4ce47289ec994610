//! What the core keeps in the store beside the messages: their meta data, what happened to them since,
//! durable subscriptions, and what other nodes call those that they passed on.
//!
//! Everything starts with a version. Numbers are LEB128; bytes follow their length. A record that
//! cannot be read is treated as one that is not the core's: the caller decides what becomes of it.

use std::sync::Arc;

use bytes::Bytes;

use super::handover::HandoverKey;
use super::protocol::Label;
use crate::encoding::{Reader, put_bytes, put_number};
use crate::stock::Owner;
use crate::store::{QueueId, Reference, UnixMillis};

/// The version of everything but what says otherwise.
const VERSION: u8 = 1;
/// Durable subscriptions have any number of filters since this one.
const MANY_FILTERS: u8 = 2;

/// The first byte of the key of a durable subscription.
const SUBSCRIPTION: u8 = b's';
/// The first byte of the key of a claim on one.
const CLAIM: u8 = b'c';
/// The first byte of the key of the queue for what a topic retains.
const RETAINED: u8 = b'r';

/// The first byte of the key of what a home on another node calls a message.
const HANDOVER: u8 = b'h';
/// The first byte of the key of what is known of a topic that changes its home.
const TRAVEL: u8 = b'a';

/// Bytes of a property of a message that a queue goes by; a longer one counts as none.
pub(crate) const LONGEST_KEY: usize = 1_024;

/// Bytes of the annotations that consumers added to a message and that survive a restart.
pub(crate) const LONGEST_ANNOTATIONS: usize = 4_096;

/// What has to be known of a message without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) message_format: u32,
    pub(crate) priority: u8,
    pub(crate) arrived: UnixMillis,
    pub(crate) expires: Option<UnixMillis>,
    pub(crate) not_before: Option<UnixMillis>,
    pub(crate) message_id: Option<Bytes>,
    pub(crate) group: Option<Bytes>,
    pub(crate) last_value: Option<Bytes>,
    /// For the messages that a topic retains: the name that it was sent to.
    pub(crate) name: Option<Bytes>,
    /// It ends what is retained for the name, and is not retained itself.
    pub(crate) clear: bool,
    /// It was not sent as a durable one.
    pub(crate) volatile: bool,
    /// For the messages of a subscription: the topic retained it when the subscription was made.
    pub(crate) given: bool,
    /// What every node calls it, when it has come here with its topic.
    pub(crate) identity: Option<Reference>,
    /// For whom it counts.
    pub(crate) owner: Option<Owner>,
}

// As numbers they were one byte each as long as there were no more than five.
const EXPIRES: u64 = 1;
const NOT_BEFORE: u64 = 2;
const MESSAGE_ID: u64 = 4;
const GROUP: u64 = 8;
const LAST_VALUE: u64 = 16;
const NAME: u64 = 32;
const CLEAR: u64 = 64;
const VOLATILE: u64 = 128;
const GIVEN: u64 = 256;
const IDENTITY: u64 = 512;
const OWNER: u64 = 1_024;

impl Meta {
    pub(crate) fn encode(&self) -> Bytes {
        let keys = [&self.message_id, &self.group, &self.last_value, &self.name];
        let room: usize =
            40 + keys.iter().flat_map(|key| key.as_ref()).map(|key| key.len() + 3).sum::<usize>();
        let mut out = Vec::with_capacity(room);
        let mut flags = 0;
        for (flag, is_set) in [
            (EXPIRES, self.expires.is_some()),
            (NOT_BEFORE, self.not_before.is_some()),
            (MESSAGE_ID, self.message_id.is_some()),
            (GROUP, self.group.is_some()),
            (LAST_VALUE, self.last_value.is_some()),
            (NAME, self.name.is_some()),
            (CLEAR, self.clear),
            (VOLATILE, self.volatile),
            (GIVEN, self.given),
            (IDENTITY, self.identity.is_some()),
            (OWNER, self.owner.is_some()),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        out.push(VERSION);
        put_number(&mut out, flags);
        out.push(self.priority);
        put_number(&mut out, u64::from(self.message_format));
        put_number(&mut out, self.arrived.0);
        for time in [self.expires, self.not_before].into_iter().flatten() {
            put_number(&mut out, time.0);
        }
        for key in keys.into_iter().flatten() {
            put_bytes(&mut out, key);
        }
        if let Some(identity) = self.identity {
            out.extend_from_slice(&identity.0.to_le_bytes());
        }
        if let Some(owner) = self.owner {
            out.extend_from_slice(&owner.to_bits().to_le_bytes());
        }
        out.into()
    }

    /// `None` for what is no meta data of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let flags = input.number()?;
        let priority = input.byte()?;
        let message_format = u32::try_from(input.number()?).ok()?;
        let arrived = UnixMillis(input.number()?);
        let has = |flag: u64| flags & flag != 0;
        let expires = if has(EXPIRES) { Some(UnixMillis(input.number()?)) } else { None };
        let not_before = if has(NOT_BEFORE) { Some(UnixMillis(input.number()?)) } else { None };
        let message_id = if has(MESSAGE_ID) { Some(input.bytes()?) } else { None };
        let group = if has(GROUP) { Some(input.bytes()?) } else { None };
        let last_value = if has(LAST_VALUE) { Some(input.bytes()?) } else { None };
        let name = if has(NAME) { Some(input.bytes()?) } else { None };
        let identity = if has(IDENTITY) { Some(Reference(u64::from_le_bytes(input.array()?))) } else { None };
        let owner = if has(OWNER) { Owner::from_bits(u64::from_le_bytes(input.array()?)) } else { None };
        let copy = |key: Option<&[u8]>| key.map(Bytes::copy_from_slice);
        Some(Self {
            message_format,
            priority: priority.min(9),
            arrived,
            expires,
            not_before,
            message_id: copy(message_id),
            group: copy(group),
            last_value: copy(last_value),
            name: copy(name),
            clear: has(CLEAR),
            volatile: has(VOLATILE),
            given: has(GIVEN),
            identity,
            owner,
        })
    }
}

/// What happened to a message since it came: how often it was delivered and not processed, and what
/// consumers wanted to be added to its annotations, which is forgotten over a restart when it has more
/// than [`LONGEST_ANNOTATIONS`] bytes.
pub(crate) fn encode_state(delivery_count: u32, annotations: Option<&Bytes>) -> Bytes {
    let mut out = vec![VERSION];
    put_number(&mut out, u64::from(delivery_count));
    if let Some(annotations) = annotations.filter(|annotations| annotations.len() <= LONGEST_ANNOTATIONS) {
        put_bytes(&mut out, annotations);
    }
    out.into()
}

/// The delivery count and the annotations, as far as they can be read. Earlier states end behind the count.
pub(crate) fn decode_state(bytes: &[u8]) -> (u32, Option<Bytes>) {
    let mut input = Reader::new(bytes);
    if input.byte() != Some(VERSION) {
        return (0, None);
    }
    let count = input.number().map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX));
    (count, input.bytes().map(Bytes::copy_from_slice))
}

/// A durable subscription as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionRecord {
    /// The topic's address.
    pub(crate) topic: String,
    pub(crate) name: String,
    /// The names that it gets.
    pub(crate) filters: Vec<String>,
    pub(crate) queue: QueueId,
    pub(crate) shared: bool,
    pub(crate) ends_unclaimed: bool,
    pub(crate) definition: Bytes,
}

const SHARED: u8 = 1;
const ENDS_UNCLAIMED: u8 = 2;

impl SubscriptionRecord {
    pub(crate) fn key(topic: &str, name: &str) -> Bytes {
        let mut out = vec![SUBSCRIPTION];
        put_bytes(&mut out, topic.as_bytes());
        put_bytes(&mut out, name.as_bytes());
        out.into()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut flags = if self.shared { SHARED } else { 0 };
        flags |= if self.ends_unclaimed { ENDS_UNCLAIMED } else { 0 };
        let mut out = vec![MANY_FILTERS, flags];
        put_number(&mut out, self.queue.0);
        put_bytes(&mut out, &self.definition);
        put_number(&mut out, self.filters.len() as u64);
        for filter in &self.filters {
            put_bytes(&mut out, filter.as_bytes());
        }
        out.into()
    }

    /// `None` when it is none, or of a version that is not known.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut key = Reader::new(key);
        if key.byte()? != SUBSCRIPTION {
            return None;
        }
        let (topic, name) = (key.text()?.to_owned(), key.text()?.to_owned());
        let mut value = Reader::new(value);
        let version = value.byte()?;
        let flags = value.byte()?;
        let queue = QueueId(value.number()?);
        let (shared, ends_unclaimed) = (flags & SHARED != 0, flags & ENDS_UNCLAIMED != 0);
        match version {
            VERSION => {
                let filters = vec![value.text()?.to_owned()];
                let definition = Bytes::copy_from_slice(value.bytes()?);
                Some(Self { topic, name, filters, queue, shared, ends_unclaimed: false, definition })
            }
            MANY_FILTERS => {
                let definition = Bytes::copy_from_slice(value.bytes()?);
                // Each takes a byte at least, so a wrong number ends early.
                let filters =
                    (0..value.number()?).map(|_| value.text().map(str::to_owned)).collect::<Option<_>>()?;
                Some(Self { topic, name, filters, queue, shared, ends_unclaimed, definition })
            }
            _ => None,
        }
    }
}

/// Somebody for whom a durable subscription goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRecord {
    /// The topic's address.
    pub(crate) topic: String,
    /// The subscription.
    pub(crate) name: String,
    pub(crate) claim: String,
    /// The subscription's queue: a later one of the name has another.
    pub(crate) queue: QueueId,
}

impl ClaimRecord {
    pub(crate) fn key(topic: &str, name: &str, claim: &str) -> Bytes {
        let mut out = vec![CLAIM];
        for part in [topic, name, claim] {
            put_bytes(&mut out, part.as_bytes());
        }
        out.into()
    }

    pub(crate) fn value(queue: QueueId) -> Bytes {
        let mut out = vec![VERSION];
        put_number(&mut out, queue.0);
        out.into()
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut key = Reader::new(key);
        if key.byte()? != CLAIM {
            return None;
        }
        let (topic, name, claim) = (key.text()?.to_owned(), key.text()?.to_owned(), key.text()?.to_owned());
        let mut value = Reader::new(value);
        if value.byte()? != VERSION {
            return None;
        }
        Some(Self { topic, name, claim, queue: QueueId(value.number()?) })
    }
}

/// The queue in the store for what a topic retains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetainedRecord {
    /// The topic's address.
    pub(crate) topic: String,
    pub(crate) queue: QueueId,
}

impl RetainedRecord {
    pub(crate) fn key(topic: &str) -> Bytes {
        let mut out = vec![RETAINED];
        put_bytes(&mut out, topic.as_bytes());
        out.into()
    }

    pub(crate) fn value(queue: QueueId) -> Bytes {
        ClaimRecord::value(queue)
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut key = Reader::new(key);
        if key.byte()? != RETAINED {
            return None;
        }
        let topic = key.text()?.to_owned();
        let mut value = Reader::new(value);
        if value.byte()? != VERSION {
            return None;
        }
        Some(Self { topic, queue: QueueId(value.number()?) })
    }
}

/// A message that a home on another node has passed on, and may pass on again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandoverRecord {
    /// Its address here.
    pub(crate) address: Arc<str>,
    /// The one that it comes from.
    pub(crate) old: Arc<str>,
}

impl HandoverKey {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![HANDOVER];
        put_bytes(&mut out, self.node.as_bytes());
        put_number(&mut out, self.queue.0);
        put_number(&mut out, self.label.reference.0);
        put_number(&mut out, self.label.arrived.0);
        out.into()
    }
}

impl HandoverRecord {
    pub(crate) fn value(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_bytes(&mut out, self.address.as_bytes());
        put_bytes(&mut out, self.old.as_bytes());
        out.into()
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<(HandoverKey, Self)> {
        let mut key = Reader::new(key);
        if key.byte()? != HANDOVER {
            return None;
        }
        let (node, queue) = (key.text()?.into(), QueueId(key.number()?));
        let label = Label { reference: Reference(key.number()?), arrived: UnixMillis(key.number()?) };
        let key = HandoverKey { node, queue, label };
        let mut value = Reader::new(value);
        if value.byte()? != VERSION {
            return None;
        }
        Some((key, Self { address: value.text()?.into(), old: value.text()?.into() }))
    }
}

/// A topic that changes its home, at one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TravelRecord {
    /// The topic's address.
    pub(crate) topic: String,
    pub(crate) travel: Travel,
}

/// What the store has of a topic that changes its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    /// A part of a copy, which does not count.
    Arriving,
    /// A copy, which counts once the address says so.
    Arrived,
    /// What counts no more once the address says so: the next home has a copy.
    Leaving,
}

impl TravelRecord {
    pub(crate) fn key(topic: &str) -> Bytes {
        let mut out = vec![TRAVEL];
        put_bytes(&mut out, topic.as_bytes());
        out.into()
    }

    pub(crate) fn value(travel: Travel) -> Bytes {
        let travel = match travel {
            Travel::Arriving => 0,
            Travel::Arrived => 1,
            Travel::Leaving => 2,
        };
        vec![VERSION, travel].into()
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let mut key = Reader::new(key);
        if key.byte()? != TRAVEL {
            return None;
        }
        let topic = key.text()?.to_owned();
        let mut value = Reader::new(value);
        if value.byte()? != VERSION {
            return None;
        }
        let travel = match value.byte()? {
            0 => Travel::Arriving,
            1 => Travel::Arrived,
            2 => Travel::Leaving,
            _ => return None,
        };
        Some(Self { topic, travel })
    }
}

/// An object of the core in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ObjectRecord {
    Subscription(SubscriptionRecord),
    Claim(ClaimRecord),
    Retained(RetainedRecord),
    Handover(HandoverKey, HandoverRecord),
    Travel(TravelRecord),
}

impl ObjectRecord {
    /// `None` when it is none of the core's, or of a version that is not known.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        match *key.first()? {
            SUBSCRIPTION => SubscriptionRecord::decode(key, value).map(Self::Subscription),
            CLAIM => ClaimRecord::decode(key, value).map(Self::Claim),
            RETAINED => RetainedRecord::decode(key, value).map(Self::Retained),
            HANDOVER => HandoverRecord::decode(key, value).map(|(key, record)| Self::Handover(key, record)),
            TRAVEL => TravelRecord::decode(key, value).map(Self::Travel),
            _ => None,
        }
    }

    /// The address that it belongs to.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Subscription(record) => &record.topic,
            Self::Claim(record) => &record.topic,
            Self::Retained(record) => &record.topic,
            Self::Handover(_, record) => &record.address,
            Self::Travel(record) => &record.topic,
        }
    }

    /// The queue that it stands for, which has no other name in the store.
    pub(crate) fn queue(&self) -> Option<QueueId> {
        match self {
            Self::Subscription(record) => Some(record.queue),
            Self::Claim(record) => Some(record.queue),
            Self::Retained(record) => Some(record.queue),
            Self::Handover(..) | Self::Travel(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Meta {
        Meta {
            message_format: 7,
            priority: 9,
            arrived: UnixMillis(1_763_852_400_000),
            expires: Some(UnixMillis(1_763_852_460_000)),
            not_before: Some(UnixMillis(u64::MAX)),
            message_id: Some("id".into()),
            group: Some("".into()),
            last_value: Some(Bytes::from(vec![1; 300])),
            name: Some("a/b".into()),
            clear: true,
            volatile: true,
            given: true,
            identity: Some(Reference(u64::MAX - 1)),
            owner: Owner::from_bits(u64::MAX),
        }
    }

    #[test]
    fn meta_data_is_read_as_it_was_written() {
        for meta in [Meta::default(), full()] {
            assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        }
    }

    #[test]
    fn a_record_that_ends_early_is_none() {
        let bytes = full().encode();
        for len in 0..bytes.len() {
            assert_eq!(Meta::decode(&bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(Meta::decode(&[2, 0, 0, 0, 0]), None, "another version");
    }

    #[test]
    fn what_happened_to_a_message_is_read_as_it_was_written() {
        for count in [0, 1, 300, u32::MAX] {
            assert_eq!(decode_state(&encode_state(count, None)), (count, None));
            let annotations = Bytes::from(vec![7; LONGEST_ANNOTATIONS]);
            let state = encode_state(count, Some(&annotations));
            assert_eq!(decode_state(&state), (count, Some(annotations)));
            let longer = Bytes::from(vec![7; LONGEST_ANNOTATIONS + 1]);
            assert_eq!(decode_state(&encode_state(count, Some(&longer))), (count, None));
        }
        assert_eq!(decode_state(&[]), (0, None));
    }

    #[test]
    fn what_the_first_release_wrote_is_read() {
        assert_eq!(decode_state(&[1, 0xac, 2]), (300, None));
        // Flags of expiry and group, priority 4, format 0, arrived 300, expires 301, group `g`.
        let meta = Meta::decode(&[1, 9, 4, 0, 0xac, 2, 0xad, 2, 1, b'g']);
        let expected = Meta {
            priority: 4,
            arrived: UnixMillis(300),
            expires: Some(UnixMillis(301)),
            group: Some("g".into()),
            ..Meta::default()
        };
        assert_eq!(meta, Some(expected));
        let key = b"s\x06events\x01n";
        let value = b"\x01\x01\x85\x80\x80\x80\x80\x80\x80\x80\x80\x01\x08events/#\x02\x00\xff";
        let expected = SubscriptionRecord {
            topic: "events".into(),
            name: "n".into(),
            filters: vec!["events/#".into()],
            queue: QueueId(1 << 63 | 5),
            shared: true,
            ends_unclaimed: false,
            definition: Bytes::from_static(&[0, 255]),
        };
        assert_eq!(ObjectRecord::decode(key, value), Some(ObjectRecord::Subscription(expected)));
    }

    #[test]
    fn claims_and_retained_queues_are_read_as_they_were_written() {
        let claim = ClaimRecord {
            topic: "t".into(),
            name: "$share/g/t/#".into(),
            claim: "client".into(),
            queue: QueueId(300),
        };
        let (key, value) = (ClaimRecord::key("t", &claim.name, "client"), ClaimRecord::value(claim.queue));
        assert_eq!(ObjectRecord::decode(&key, &value), Some(ObjectRecord::Claim(claim)));
        assert_eq!(ObjectRecord::decode(&key, &value[..1]), None);
        let retained = RetainedRecord { topic: "#".into(), queue: QueueId(7) };
        let (key, value) = (RetainedRecord::key("#"), RetainedRecord::value(QueueId(7)));
        assert_eq!(ObjectRecord::decode(&key, &value), Some(ObjectRecord::Retained(retained)));
        assert_eq!(ObjectRecord::decode(b"m", &value), None);
        for travel in [Travel::Arriving, Travel::Arrived, Travel::Leaving] {
            let (key, value) = (TravelRecord::key("#"), TravelRecord::value(travel));
            let record = TravelRecord { topic: "#".into(), travel };
            assert_eq!(ObjectRecord::decode(&key, &value), Some(ObjectRecord::Travel(record)));
            assert_eq!(ObjectRecord::decode(&key, &value[..1]), None);
        }
        assert_eq!(ObjectRecord::decode(&TravelRecord::key("#"), &[1, 3]), None);
    }

    #[test]
    fn a_handover_is_read_as_it_was_written() {
        let label = Label { reference: Reference(u64::MAX), arrived: UnixMillis(1 << 41) };
        let key = HandoverKey { node: "node-1".into(), queue: QueueId(300), label };
        let record = HandoverRecord { address: "here".into(), old: "there".into() };
        let (bytes, value) = (key.encode(), record.value());
        let expected = ObjectRecord::Handover(key, record);
        assert_eq!(ObjectRecord::decode(&bytes, &value), Some(expected));
        for len in 0..value.len() {
            assert_eq!(ObjectRecord::decode(&bytes, &value[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_subscription_is_read_as_it_was_written() {
        let record = SubscriptionRecord {
            topic: "events".into(),
            name: "client|link".into(),
            filters: vec!["events/#".into(), "events/+/x".into()],
            queue: QueueId(1 << 63 | 5),
            shared: true,
            ends_unclaimed: true,
            definition: Bytes::from_static(&[0, 255]),
        };
        let (key, value) = (SubscriptionRecord::key(&record.topic, &record.name), record.value());
        assert_eq!(SubscriptionRecord::decode(&key, &value), Some(record));
        assert_eq!(SubscriptionRecord::decode(b"other", &value), None);
        assert_eq!(SubscriptionRecord::decode(&key, &value[..value.len() - 1]), None);
    }
}
