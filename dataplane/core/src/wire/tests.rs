//! Random messages, whole and damaged. A failure prints its seed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::*;
use crate::broker::{
    Asker, CopiedSubscription, CopiedVolatile, Destination, GivenBack, Handout, Handover, Label, Moved, Part,
    Publication, Question, ReceiverOptions, RetainedMessage, RetainedPage, Source, Wire,
};
use crate::consumer::{ConsumerOptions, SubscriptionOptions};
use crate::delivery::{Arrival, COPY_UP_TO, Incoming, Origin, Retain};
use crate::effect::{CloseReason, Effect};
use crate::format::Redelivery;
use crate::key::{Key, LegKey};
use crate::live::{LiveMessage, LiveWire, Want};
use crate::outcome::{ErrorInfo, Outcome};
use crate::peer::{MAX_SETTLED, Message};
use crate::producer::{ProducerOptions, ProducerTarget};
use crate::queue::EntryKey;
use crate::settings::{AddressKind, AddressSettings, CoreLimits, Deduplicate, OnFull, QueueSettings};
use crate::stock::Owner;
use crate::store::{QueueId, Reference, TransactionId};
use crate::tests::seeds::for_each_seed;
use crate::tests::stored::Contains;

const SENDER: ShardId = ShardId::new(0, 3);
const RECEIVER: ShardId = ShardId::new(7, 1);
const THIRD: ShardId = ShardId::new(2, 0);

/// Both ends number the nodes alike.
struct Alike;

impl ShardNames for Alike {
    fn name(&self, shard: ShardId) -> (u64, u16) {
        (0x1000_0000_0000_0000 | u64::from(shard.slot()), shard.shard())
    }

    fn shard(&self, node: u64, shard: u16) -> Option<ShardId> {
        let slot = u32::try_from(node & !0x1000_0000_0000_0000).ok()?;
        (slot <= ShardId::MAX_SLOT).then(|| ShardId::new(slot, shard))
    }
}

struct Texts;

impl FilterCodec for Texts {
    fn filter(&self, text: &str) -> Result<Arc<dyn Filter>, Box<str>> {
        match text {
            "!" => Err("of a later version".into()),
            text => Ok(Arc::new(Contains(text.into()))),
        }
    }
}

/// Lets a core have what another one sends, as bytes. Each end comes with what it calls the other one, and
/// with its names.
pub(crate) fn carry(
    cores: &mut [Core],
    (sender, to, sender_names): (usize, ShardId, &dyn ShardNames),
    (receiver, from, receiver_names): (usize, ShardId, &dyn ShardNames),
    now: Instant,
    message: &PeerMessage,
) {
    let bytes = encode(&cores[sender].wire_context(now, to, sender_names), message);
    let taken = cores[receiver].handle_encoded(now, from, bytes, receiver_names, &Texts);
    taken.expect("it was encoded");
}

/// The messages of a run, as the core of the shard that they are for understands them.
pub(crate) fn messages_of(run: Run, receiver: &Core, now: Instant, from: ShardId) -> Vec<PeerMessage> {
    // Deliveries name no shard.
    let (context, count) = (receiver.wire_context(now, from, &Alike), run.messages() as usize);
    let mut bytes = run.into_bytes().freeze();
    let mut messages = Vec::new();
    while bytes.has_remaining() {
        let length = usize::from(bytes.get_u16());
        let mut message = bytes.split_to(length);
        assert_eq!(message.get_u8(), OF_CORE);
        messages.push(PeerMessage::decode(&message, &context, &Texts).expect("it was encoded"));
    }
    assert_eq!(messages.len(), count);
    messages
}

fn encode(context: &WireContext<'_>, message: &PeerMessage) -> Bytes {
    let mut out = BytesMut::new();
    let tail = message.encode(context, &mut out).expect("it is small enough");
    out.extend_from_slice(&tail);
    out.freeze()
}

/// Two ends and a moment.
struct Ends {
    now: Instant,
    unix: UnixMillis,
}

impl Ends {
    fn new() -> Self {
        Self { now: Instant::now() + Duration::from_secs(1_000), unix: UnixMillis(1_763_852_400_000) }
    }

    fn sender(&self) -> WireContext<'static> {
        WireContext { here: SENDER, there: RECEIVER, now: self.now, unix: self.unix, names: &Alike }
    }

    fn receiver(&self) -> WireContext<'static> {
        WireContext { here: RECEIVER, there: SENDER, ..self.sender() }
    }

    fn encode(&self, message: Message) -> Bytes {
        encode(&self.sender(), &PeerMessage(message))
    }

    fn decode(&self, bytes: &Bytes) -> Result<PeerMessage, WireError> {
        PeerMessage::decode(bytes, &self.receiver(), &Texts)
    }
}

// ---- random messages ----------------------------------------------------------------------------------

struct Any<'a> {
    random: fastrand::Rng,
    ends: &'a Ends,
    /// Names and keys are such as a core has that has just begun.
    is_near: bool,
}

impl<'a> Any<'a> {
    fn new(seed: u64, ends: &'a Ends) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), ends, is_near: false }
    }

    fn flag(&mut self) -> bool {
        self.random.bool()
    }

    /// Of any size, small ones and the largest among them.
    fn number(&mut self) -> u64 {
        match self.random.u8(..8) {
            0 => 0,
            1 => u64::MAX,
            _ => self.random.u64(..) >> self.random.u32(..64),
        }
    }

    fn small(&mut self) -> u32 {
        self.number() as u32
    }

    fn key<K: Key>(&mut self) -> K {
        if self.is_near {
            return K::new(self.random.u32(..6), std::num::NonZeroU32::MIN);
        }
        K::new(self.small(), std::num::NonZeroU32::MIN.saturating_add(self.small()))
    }

    fn entry(&mut self) -> EntryKey {
        if self.is_near {
            return EntryKey::from_bits(5 << 60 | self.random.u64(..6));
        }
        EntryKey::from_bits(self.number())
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(one(self)) } else { None }
    }

    fn some<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.random.usize(..4)).map(|_| one(self)).collect()
    }

    fn text(&mut self) -> String {
        (0..self.random.usize(..12)).map(|_| self.random.char(..)).collect()
    }

    fn name(&mut self) -> Arc<str> {
        if self.is_near {
            return self.one_of(&["anycast", "multicast", "queue", "topic", "topic/#", "temporary"]).into();
        }
        self.text().into()
    }

    fn bytes(&mut self) -> Bytes {
        let len = match self.random.u8(..10) {
            0 => COPY_UP_TO + self.random.usize(..3),
            _ => self.random.usize(..200),
        };
        (0..len).map(|_| self.random.u8(..)).collect()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.usize(..all.len())].clone()
    }

    fn shard(&mut self) -> ShardId {
        self.one_of(&[SENDER, RECEIVER, THIRD])
    }

    fn left(&mut self) -> Duration {
        Duration::from_millis(self.number())
    }

    fn later(&mut self) -> UnixMillis {
        UnixMillis(self.ends.unix.0.saturating_add(self.number()))
    }

    fn earlier(&mut self) -> UnixMillis {
        UnixMillis(self.ends.unix.0.saturating_sub(self.number()))
    }

    fn error(&mut self) -> Box<ErrorInfo> {
        let (condition, description) = (self.text().into(), self.maybe(|any| any.text().into()));
        Box::new(ErrorInfo { condition, description, info: self.maybe(Self::bytes) })
    }

    fn outcome(&mut self) -> Outcome {
        match self.random.u8(..7) {
            0 => Outcome::Received { section_number: self.small(), section_offset: self.number() },
            1 => Outcome::Accepted,
            2 => Outcome::Rejected(None),
            3 => Outcome::Rejected(Some(self.error())),
            4 => Outcome::Released,
            5 => Outcome::Modified {
                delivery_failed: self.flag(),
                undeliverable_here: self.flag(),
                annotations: self.maybe(Self::bytes),
            },
            _ => Outcome::Other(self.bytes()),
        }
    }

    fn source(&mut self) -> Source {
        match self.random.u8(..4) {
            0 => Source::Nobody,
            1 => Source::Forward { shard: self.shard(), key: self.key() },
            2 => Source::Sent { shard: self.shard(), key: self.key(), settled: self.flag() },
            _ => Source::Producer {
                shard: self.shard(),
                key: self.key(),
                handle: self.number(),
                settled: self.flag(),
                held: self.small(),
                second: self.maybe(Self::key),
            },
        }
    }

    fn label(&mut self) -> Label {
        Label { reference: Reference(self.number()), arrived: UnixMillis(self.number()) }
    }

    /// The body of the last publication of a message may stay a slice.
    fn publication(&mut self, is_last: bool) -> Publication {
        let body = self.bytes();
        Publication {
            source: self.source(),
            origin: self.maybe(Self::number),
            owner: self.maybe(Self::number).and_then(Owner::from_bits),
            name: self.maybe(Self::name),
            message_format: self.small(),
            is_slice: is_last && body.len() <= COPY_UP_TO,
            body,
            priority: self.random.u8(..10),
            durable: self.flag(),
            arrived: self.earlier(),
            expires: self.maybe(Self::later),
            not_before: self.maybe(Self::later),
            transaction: self.maybe(|any| TransactionId(any.number())),
            routed: self.flag(),
            retain: self.one_of(&[Retain::No, Retain::Keep, Retain::Clear]),
            given: self.flag(),
            moved: self.maybe(|any| {
                let (delivery_count, annotations) = (any.small(), any.maybe(Self::bytes));
                let identity = any.maybe(|any| Reference(any.number()));
                Box::new(Moved { delivery_count, annotations, identity })
            }),
            handover: self.maybe(|any| {
                Box::new(Handover { address: any.name(), queue: QueueId(any.number()), label: any.label() })
            }),
        }
    }

    fn arrival(&mut self) -> Arrival {
        let deadline = self.maybe(|any| any.ends.now + Duration::from_millis(u64::from(any.small())));
        let waited = deadline.is_some() && self.flag();
        Arrival {
            origin: Origin::Nobody,
            settled: self.flag(),
            second: self.flag(),
            level: self.random.u8(..10),
            message_format: self.small(),
            arrived: self.ends.now - Duration::from_millis(u64::from(waited)),
            deadline,
            chunk: self.bytes(),
            more: self.flag(),
        }
    }

    fn queue_settings(&mut self) -> QueueSettings {
        QueueSettings {
            max_messages: self.number(),
            max_bytes: self.number(),
            on_full: self.one_of(&[OnFull::Reject, OnFull::Block, OnFull::DropOldest]),
            max_deliveries: self.small(),
            redelivery_delay: Duration::from_nanos(self.number()),
            redelivery_multiplier_percent: self.small(),
            redelivery_delay_max: Duration::from_nanos(self.number()),
            dead_letter: self.maybe(Self::name),
            expiry: self.maybe(Self::name),
            exclusive: self.flag(),
            groups: self.flag(),
            last_value: self.flag(),
            deduplicate: self.maybe(|any| Deduplicate {
                window: Duration::from_nanos(any.number()),
                max_ids: any.small(),
            }),
        }
    }

    fn subscription(&mut self) -> SubscriptionOptions {
        SubscriptionOptions {
            name: self.name(),
            durable: self.flag(),
            shared: self.flag(),
            max_consumers: self.small(),
            definition: self.bytes(),
            not_from: self.maybe(Self::number),
            filters: self.maybe(|any| any.some(Self::name).into()),
            durable_only: self.flag(),
            settings: self.maybe(|any| Arc::new(any.queue_settings())),
            claim: self.maybe(Self::name),
            ends_unused: self.flag(),
        }
    }

    fn receiver(&mut self) -> ReceiverOptions {
        ReceiverOptions {
            browse: self.flag(),
            exclusive: self.flag(),
            filter: self.maybe(|any| Arc::new(Contains(any.text().into())) as Arc<dyn Filter>),
            not_from: self.maybe(Self::number),
            levels: self.maybe(Self::name),
            subscription: self.maybe(|any| Box::new(any.subscription())),
            retained: self.flag(),
            unreadable: false,
        }
    }

    fn handout(&mut self) -> Handout {
        Handout {
            entry: self.entry(),
            browse: self.flag(),
            message_format: self.small(),
            body: self.bytes(),
            ttl_left: self.maybe(Self::left),
            redelivery: self.maybe(|any| {
                Box::new(Redelivery {
                    delivery_count: any.small(),
                    annotations: any.maybe(Self::bytes),
                    retained: any.flag(),
                })
            }),
            reference: self.maybe(|any| Reference(any.number())),
            is_named: self.flag(),
        }
    }

    fn part(&mut self) -> Part {
        match self.random.u8(..4) {
            0 => Part::Retained,
            1 => Part::Durable(self.name()),
            2 => Part::Volatile(self.key()),
            _ => Part::Administered(self.name()),
        }
    }

    fn copied_volatile(&mut self) -> CopiedVolatile {
        CopiedVolatile {
            key: self.key(),
            options: self.receiver(),
            links: self.some(|any| (any.shard(), any.key())),
            feeding: self.maybe(|any| (any.small(), any.maybe(Self::name))),
        }
    }

    fn copied_subscription(&mut self) -> CopiedSubscription {
        CopiedSubscription {
            name: self.name(),
            filters: self.some(Self::name),
            shared: self.flag(),
            ends_unclaimed: self.flag(),
            max_consumers: self.small(),
            definition: self.bytes(),
            claims: self.some(Self::name),
            more_claims: self.flag(),
            links: self.some(|any| (any.shard(), any.key())),
            feeding: self.maybe(|any| (any.small(), any.maybe(Self::name))),
        }
    }

    fn given_back(&mut self) -> GivenBack {
        GivenBack {
            number: self.number(),
            delivery_count: self.small(),
            annotations: self.maybe(Self::bytes),
        }
    }

    fn question(&mut self, number: u64) -> Box<Question> {
        Box::new(Question {
            asker: Asker::Shard { shard: SENDER, number },
            filter: self.name(),
            after: self.maybe(Self::name),
            max_messages: self.small(),
            max_bytes: self.number(),
        })
    }

    fn page(&mut self) -> Box<RetainedPage> {
        let message = |any: &mut Self| RetainedMessage {
            name: any.name(),
            message_format: any.small(),
            body: any.bytes(),
            durable: any.flag(),
            ttl_left: any.maybe(Self::left),
        };
        Box::new(RetainedPage {
            messages: self.some(message),
            next: self.maybe(Self::name),
            is_unavailable: false,
        })
    }

    fn live(&mut self) -> LiveMessage {
        LiveMessage {
            name: self.maybe(Self::name),
            message_format: self.small(),
            body: self.bytes(),
            durable: self.flag(),
            kept: self.flag(),
            retain: self.flag(),
            ttl: self.maybe(Self::left),
            origin: self.number(),
        }
    }

    fn reason(&mut self) -> CloseReason {
        self.one_of(&[
            CloseReason::AddressDeleted,
            CloseReason::SlowConsumer,
            CloseReason::LimitExceeded,
            CloseReason::Exclusive,
            CloseReason::SubscriptionInUse,
            CloseReason::NotFound,
            CloseReason::TooManySubscriptions,
            CloseReason::StoreFailed,
            CloseReason::HomeGone,
            CloseReason::Unsubscribed,
            CloseReason::UnreadableFilter,
        ])
    }

    fn transaction(&mut self) -> TransactionId {
        TransactionId(self.number())
    }

    fn message(&mut self) -> Message {
        match self.random.u8(..3) {
            0 => self.direct(),
            1 => Message::Stored(self.stored()),
            _ => Message::Live(self.live_wire()),
        }
    }

    fn direct(&mut self) -> Message {
        match self.random.u8(..11) {
            0 => Message::Presence {
                name: self.name(),
                address: self.key(),
                epoch: self.small(),
                kind: self.one_of(&[
                    AddressKind::Anycast,
                    AddressKind::Multicast,
                    AddressKind::Queue,
                    AddressKind::Topic,
                ]),
                temporary: self.flag(),
                consumers: self.small(),
                producers: self.small(),
                initial: self.small(),
            },
            1 => Message::Want {
                address: self.key(),
                epoch: self.small(),
                sender: self.maybe(Self::key),
                round: self.small(),
                waiting: self.small(),
            },
            2 => Message::Deliver {
                address: self.key(),
                epoch: self.small(),
                token: self.maybe(Self::key),
                arrival: self.arrival(),
            },
            3 => Message::Append { token: self.key(), chunk: self.bytes(), more: self.flag() },
            4 => Message::Abort { token: self.key() },
            5 => Message::Update {
                token: self.key(),
                outcome: self.maybe(Self::outcome),
                settled: self.flag(),
            },
            6 => Message::Settle {
                token: self.key(),
                outcome: self.maybe(Self::outcome),
                settled: self.flag(),
            },
            9 => Message::SettleAll {
                tokens: (0..self.random.u8(..5)).map(|_| self.key()).collect(),
                outcome: self.maybe(Self::outcome),
            },
            7 => Message::Return { token: self.key(), chunk: self.maybe(Self::bytes) },
            8 => Message::Limit { address: self.key(), round: self.small(), limit: self.number() },
            _ => Message::Consumed { token: self.key() },
        }
    }

    fn stored(&mut self) -> Wire {
        match self.random.u8(..54) {
            0 => Wire::AddSender { producer: self.key(), address: self.name() },
            1 => Wire::RemoveSender { sender: self.key() },
            2 => Wire::Publish {
                to: Destination::Sender(self.key()),
                publication: Box::new(self.publication(true)),
            },
            3 => Wire::Publish {
                to: Destination::Address(self.name()),
                publication: Box::new(self.publication(true)),
            },
            4 => Wire::AddReceiver {
                consumer: self.key(),
                address: self.name(),
                options: Box::new(self.receiver()),
            },
            5 => Wire::RemoveReceiver { receiver: self.key() },
            6 => Wire::Unsubscribe { receiver: self.key() },
            7 => Wire::SetFilters { receiver: self.key(), filters: self.some(Self::name).into() },
            8 => Wire::EndDurable {
                topic: self.name(),
                name: self.name(),
                claim: self.maybe(Self::name),
                number: self.number(),
            },
            9 => {
                let number = self.number();
                let question = self.question(number);
                Wire::AskRetained { number, topic: self.name(), question, fences: self.small() as u16 }
            }
            10 => Wire::Fence { home: self.shard(), number: self.number() },
            11 => Wire::Fenced { asker: self.shard(), number: self.number() },
            12 => Wire::RetainedPage { number: self.number(), page: self.page() },
            13 => Wire::Credit {
                receiver: self.key(),
                limit: self.number(),
                drain: self.flag(),
                number: self.small(),
            },
            14 => Wire::Window { receiver: self.key(), bytes: self.small() },
            15 => Wire::Settle { receiver: self.key(), entry: self.entry(), outcome: self.outcome() },
            16 => Wire::Return { receiver: self.key(), entry: self.entry(), bytes: self.small() },
            17 => Wire::ForwardAnswer { forward: self.key(), outcome: self.outcome() },
            18 => Wire::Retire {
                transaction: self.transaction(),
                receiver: self.key(),
                entry: self.entry(),
                outcome: self.outcome(),
            },
            19 => Wire::Prepare {
                transaction: self.transaction(),
                across: self.flag(),
                posts: self.some(|any| (any.name(), any.publication(false))),
            },
            20 => Wire::Conclude { transaction: self.transaction(), commit: self.flag() },
            21 => Wire::Prepared {
                transaction: self.transaction(),
                failed: self.maybe(Self::error),
                logged: self.flag(),
            },
            22 => Wire::Concluded { transaction: self.transaction() },
            23 => Wire::Opened { producer: self.key(), sender: self.key(), active: self.flag() },
            24 => Wire::Flow { producer: self.key(), active: self.flag() },
            25 => Wire::Attached { consumer: self.key(), receiver: self.key() },
            26 => Wire::Refiltered { consumer: self.key() },
            27 => Wire::Deliver { consumer: self.key(), handout: self.handout() },
            28 => Wire::Drained { consumer: self.key(), number: self.small() },
            29 => Wire::Answer { source: self.source(), outcome: self.outcome() },
            31 => Wire::FencesLost { home: self.shard() },
            32 => Wire::Unask { number: self.number() },
            33 => Wire::Ended { number: self.number() },
            50 => Wire::Waiting { consumer: self.key(), number: self.small() },
            34 => Wire::CopyBegin { topic: self.name(), round: self.number() },
            35 => Wire::CopySubscription {
                topic: self.name(),
                subscription: Box::new(self.copied_subscription()),
            },
            36 => Wire::CopyEnd { topic: self.name(), part: self.part() },
            37 => Wire::CopyGone { topic: self.name(), numbers: self.some(Self::number) },
            38 => Wire::CopyHeld { topic: self.name(), numbers: self.some(Self::number) },
            39 => Wire::CopyBack { topic: self.name(), entries: self.some(Self::given_back) },
            40 => Wire::CopyComplete { topic: self.name(), round: self.number() },
            41 => Wire::CopyReady { topic: self.name(), round: self.number(), is_ready: self.flag() },
            42 => Wire::CopyCompleted { topic: self.name(), round: self.number(), is_complete: self.flag() },
            43 => Wire::AskHeard { number: self.number() },
            44 => Wire::Heard { number: self.number() },
            45 => Wire::Publish {
                to: Destination::Copy { topic: self.name(), part: self.part(), number: self.number() },
                publication: Box::new(self.publication(true)),
            },
            52 => Wire::CopyVolatile { topic: self.name(), subscription: Box::new(self.copied_volatile()) },
            46 => Wire::AskPassed { address: self.name(), number: self.number() },
            47 => Wire::Passed { number: self.number() },
            48 => Wire::Park { receiver: self.key(), got: self.number(), number: self.small() },
            49 => Wire::Left { queue: QueueId(self.number()), labels: self.some(Self::label) },
            51 => Wire::AskLeft { queue: QueueId(self.number()), labels: self.some(Self::label) },
            30 => Wire::CloseProducer { producer: self.key(), reason: self.reason() },
            _ => Wire::CloseConsumer { consumer: self.key(), reason: self.reason() },
        }
    }

    fn live_wire(&mut self) -> LiveWire {
        match self.random.u8(..6) {
            0 => LiveWire::Filter { filter: self.name(), is_wanted: self.flag() },
            1 => LiveWire::Stored {
                topic: self.name(),
                filter: self.name(),
                want: self.one_of(&[Want::Everything, Want::Durable]),
                is_wanted: self.flag(),
            },
            2 => LiveWire::StoredEnd { topic: self.name() },
            3 => LiveWire::Publish(self.live()),
            4 => LiveWire::Known,
            _ => LiveWire::Taken { bytes: self.number() },
        }
    }
}

/// Runs with many random messages.
fn each(count: u64, mut test: impl FnMut(&Ends, u64, Message)) {
    let ends = Ends::new();
    for_each_seed(0..count, |seed| test(&ends, seed, Any::new(seed, &ends).message()));
}

fn shown(message: &Message) -> String {
    format!("{message:?}")
}

/// What can be decoded is a message like every other: it survives its bytes.
fn check(ends: &Ends, bytes: &Bytes) -> bool {
    let Ok(message) = ends.decode(bytes) else { return false };
    let again = encode(&ends.receiver(), &message);
    let back = PeerMessage::decode(&again, &ends.sender(), &Texts).expect("it was decoded before");
    let last = encode(&ends.sender(), &back);
    let last = ends.decode(&last).expect("it was decoded before");
    assert_eq!(shown(&last.0), shown(&message.0));
    true
}

#[test]
fn a_message_survives_its_bytes() {
    each(20_000, |ends, _, message| {
        let before = shown(&message);
        let after = ends.decode(&ends.encode(message)).expect("it was encoded");
        assert_eq!(shown(&after.0), before);
    });
}

#[test]
fn a_message_that_is_cut_off_is_an_error_or_another_message() {
    let mut valid = [0, 0];
    each(2_000, |ends, _, message| {
        let bytes = ends.encode(message);
        for len in 0..bytes.len().min(300) {
            valid[usize::from(check(ends, &bytes.slice(..len)))] += 1;
        }
    });
    assert!(valid[0] > 1_000 && valid[1] > 1_000, "{valid:?}");
}

#[test]
fn a_message_with_a_wrong_bit_is_an_error_or_another_message() {
    each(2_000, |ends, seed, message| {
        let bytes = ends.encode(message);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..40 {
            let mut damaged = BytesMut::from(&*bytes);
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..damaged.len().min(60));
                damaged[at] ^= 1 << random.u8(..8);
            }
            check(ends, &damaged.freeze());
        }
    });
}

#[test]
fn any_bytes_are_an_error_or_a_message() {
    let ends = Ends::new();
    let mut random = fastrand::Rng::with_seed(1);
    for code in 0..=0x80_u8 {
        for _ in 0..300 {
            let rest = (0..random.usize(..60)).map(|_| random.u8(..) >> random.u8(..8));
            let bytes: Bytes = std::iter::once(code).chain(rest).collect();
            check(&ends, &bytes);
        }
    }
}

/// What a core of another node can send by mistake.
#[test]
fn a_core_takes_any_message_without_a_panic() {
    let ends = Ends::new();
    for seed in 0..1_000 {
        let mut core = linked_core(&ends);
        let mut any = Any { is_near: true, ..Any::new(seed, &ends) };
        for _ in 0..40 {
            core.handle_peer(ends.now, ShardId::new(0, 1), PeerMessage(any.message()));
            drain(&mut core, ends.now);
        }
        core.handle_peer_gone(ends.now, ShardId::new(0, 1));
        drain(&mut core, ends.now);
    }
}

/// A core with addresses of every kind and links at each.
fn linked_core(ends: &Ends) -> Core {
    let mut core = Core::new(ShardId::new(0, 0), 3, CoreLimits::default());
    core.set_clock(ends.now, ends.unix);
    let lane = core.add_lane();
    core.set_lane_budget(ends.now, lane, 1 << 10);
    for (name, kind) in [
        ("anycast", AddressKind::Anycast),
        ("multicast", AddressKind::Multicast),
        ("queue", AddressKind::Queue),
        ("topic", AddressKind::Topic),
    ] {
        let settings = AddressSettings { kind, ..AddressSettings::default() };
        core.set_address(ends.now, &name.into(), settings);
        let target = ProducerTarget::Address(name);
        let producer = core.add_producer(ends.now, target, ProducerOptions::default()).unwrap();
        core.begin(ends.now, producer, Incoming { handle: 1, chunk: "x".into(), ..Incoming::default() });
        let consumer = core.add_consumer(ends.now, lane, name, ConsumerOptions::default()).unwrap();
        core.set_credit(ends.now, consumer, 3, false);
    }
    drain(&mut core, ends.now);
    core
}

fn drain(core: &mut Core, now: Instant) {
    while let Some(effect) = core.poll_effect() {
        match effect {
            Effect::CloseProducer { producer, .. } => core.remove_producer(now, producer),
            Effect::CloseConsumer { consumer, .. } => core.remove_consumer(now, consumer),
            _ => {}
        }
    }
}

#[test]
fn more_bytes_than_a_message_has_are_an_error() {
    let ends = Ends::new();
    let mut bytes = ends.encode(Message::Consumed { token: LegKey::from_bits(1 << 32).unwrap() }).to_vec();
    assert!(ends.decode(&Bytes::from(bytes.clone())).is_ok());
    bytes.push(0);
    let error = ends.decode(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error, WireError::Longer { what: "Consumed", bytes: 1 });
}

#[test]
fn what_settles_several_deliveries_settles_so_many_and_no_more() {
    let ends = Ends::new();
    let settle = |count: usize| {
        let tokens = vec![LegKey::from_bits(1 << 32).unwrap(); count];
        ends.decode(&ends.encode(Message::SettleAll { tokens, outcome: Some(Outcome::Accepted) }))
    };
    assert!(settle(MAX_SETTLED).is_ok());
    let (number, limit) = (MAX_SETTLED + 1, MAX_SETTLED);
    assert_eq!(settle(number).unwrap_err(), WireError::TooMany { what: "SettleAll", number, limit });
}

#[test]
fn a_message_of_a_later_version_is_told_apart() {
    let ends = Ends::new();
    let is_known =
        |code: &u8| matches!(code, 1..=11 | 0x20..=0x39 | 0x40..=0x4c | 0x50 | 0x54..=0x5f | 0x60..=0x65);
    for code in (0_u8..=0xff).filter(|code| !is_known(code)) {
        let error = ends.decode(&Bytes::from(vec![code; 100])).unwrap_err();
        assert_eq!(error, WireError::Unknown { what: "message", number: code.into() });
    }
}

#[test]
fn two_nodes_speak_the_newest_version_that_both_know() {
    assert_eq!(common_version(OLDEST_WIRE_VERSION, WIRE_VERSION), Ok(WIRE_VERSION));
    assert_eq!(common_version(WIRE_VERSION, WIRE_VERSION + 1), Ok(WIRE_VERSION));
    let (oldest, newest) = (WIRE_VERSION + 1, WIRE_VERSION + 2);
    assert_eq!(common_version(oldest, newest), Err(WireError::NoCommonVersion { oldest, newest }));
    let (oldest, newest) = (0, OLDEST_WIRE_VERSION - 1);
    assert_eq!(common_version(oldest, newest), Err(WireError::NoCommonVersion { oldest, newest }));
}

#[test]
fn small_numbers_of_large_things_are_refused_before_there_is_room_for_them() {
    let ends = Ends::new();
    // `SetFilters` with more filters than there may be, and with more than there are bytes.
    for (count, is_too_many) in [(MAX_FILTERS as u64 + 1, true), (MAX_FILTERS as u64, false)] {
        let mut out = vec![0x26, 0, 0, 0, 0, 1, 0, 0, 0];
        crate::encoding::put_number(&mut out, count);
        let error = ends.decode(&out.into()).unwrap_err();
        let expected = match is_too_many {
            true => WireError::TooMany { what: "SetFilters", number: count as usize, limit: MAX_FILTERS },
            false => WireError::Ends("SetFilters"),
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_message_that_is_too_large_is_not_encoded() {
    let ends = Ends::new();
    let append = |len: usize| {
        let chunk = Bytes::from(vec![0; len]);
        PeerMessage(Message::Append { token: LegKey::from_bits(1 << 32).unwrap(), chunk, more: false })
    };
    let mut out = BytesMut::from("before");
    let tail = append(MAX_WIRE_BYTES - 10).encode(&ends.sender(), &mut out).unwrap();
    assert_eq!(out.len() - 6 + tail.len(), MAX_WIRE_BYTES);
    let mut out = BytesMut::from("before");
    let error = append(MAX_WIRE_BYTES - 9).encode(&ends.sender(), &mut out).unwrap_err();
    assert!(matches!(error, WireError::TooMany { .. }), "{error}");
    assert_eq!(out, "before");
    let error = ends.decode(&Bytes::from(vec![0; MAX_WIRE_BYTES + 1])).unwrap_err();
    assert!(matches!(error, WireError::TooMany { .. }), "{error}");
}

#[test]
fn large_bodies_are_not_copied_and_small_ones_do_not_keep_the_input() {
    let ends = Ends::new();
    let publish = |len: usize| {
        let mut any = Any::new(3, &ends);
        let message = LiveMessage { body: Bytes::from(vec![7; len]), ..any.live() };
        Message::Live(LiveWire::Publish(message))
    };
    for (len, is_slice) in [(COPY_UP_TO, false), (COPY_UP_TO + 1, true)] {
        let message = PeerMessage(publish(len));
        let mut head = BytesMut::new();
        let tail = message.encode(&ends.sender(), &mut head).unwrap();
        assert_eq!(tail.len(), if is_slice { len } else { 0 });
        head.extend_from_slice(&tail);
        let input = head.freeze();
        let Ok(PeerMessage(Message::Live(LiveWire::Publish(message)))) = ends.decode(&input) else {
            panic!("it was encoded")
        };
        assert_eq!(input.as_ptr_range().contains(&message.body.as_ptr()), is_slice);
    }
}

#[test]
fn clocks_of_two_nodes_need_not_agree() {
    let ends = Ends::new();
    let mut any = Any::new(3, &ends);
    let publication = Publication {
        arrived: UnixMillis(ends.unix.0 - 40),
        expires: Some(UnixMillis(ends.unix.0 + 5_000)),
        not_before: Some(UnixMillis(ends.unix.0 - 1)),
        ..any.publication(true)
    };
    let to = Destination::Address("q".into());
    let publish = Message::Stored(Wire::Publish { to, publication: Box::new(publication) });
    let bytes = ends.encode(publish);
    let receiver = WireContext { unix: UnixMillis(1_000), ..ends.receiver() };
    let Ok(PeerMessage(Message::Stored(Wire::Publish { publication, .. }))) =
        PeerMessage::decode(&bytes, &receiver, &Texts)
    else {
        panic!("it was encoded")
    };
    let times = (publication.arrived, publication.expires, publication.not_before);
    assert_eq!(times, (UnixMillis(960), Some(UnixMillis(6_000)), Some(UnixMillis(1_000))));
}

#[test]
fn what_is_left_of_a_time_to_live_is_rounded_up() {
    let ends = Ends::new();
    let mut any = Any::new(3, &ends);
    let arrival = Arrival {
        arrived: ends.now - Duration::from_micros(999),
        deadline: Some(ends.now + Duration::from_micros(1)),
        ..any.arrival()
    };
    let (address, token) = (any.key(), any.key());
    let bytes = ends.encode(Message::Deliver { address, epoch: 1, token: Some(token), arrival });
    let Ok(PeerMessage(Message::Deliver { arrival, .. })) = ends.decode(&bytes) else { panic!() };
    assert_eq!(arrival.deadline, Some(ends.now + Duration::from_millis(1)));
    assert_eq!(arrival.arrived, ends.now, "its header says what it said");
}

#[test]
fn shards_are_told_by_the_names_of_their_nodes() {
    struct Numbered(u32);
    impl ShardNames for Numbered {
        fn name(&self, shard: ShardId) -> (u64, u16) {
            assert_eq!(shard.slot(), self.0, "only the third one is asked for");
            (0xabcd, shard.shard())
        }
        fn shard(&self, node: u64, shard: u16) -> Option<ShardId> {
            (node == 0xabcd && self.0 != 0).then(|| ShardId::new(self.0, shard))
        }
    }
    let ends = Ends::new();
    let (here, there) = (ShardId::new(0, 0), ShardId::new(0, 1));
    for (home, expected) in [(here, RECEIVER), (RECEIVER, there), (ShardId::new(9, 4), ShardId::new(2, 4))] {
        let sender = WireContext { here, there: RECEIVER, names: &Numbered(9), ..ends.sender() };
        let bytes = encode(&sender, &PeerMessage(Message::Stored(Wire::Fence { home, number: 1 })));
        let receiver = WireContext { here: there, there: RECEIVER, names: &Numbered(2), ..ends.sender() };
        match PeerMessage::decode(&bytes, &receiver, &Texts) {
            Ok(PeerMessage(Message::Stored(Wire::Fence { home, .. }))) => assert_eq!(home, expected),
            other => panic!("{other:?}"),
        }
        let strange = WireContext { names: &Numbered(0), ..receiver };
        let decoded = PeerMessage::decode(&bytes, &strange, &Texts);
        assert_eq!(decoded.err(), (home.slot() == 9).then_some(WireError::UnknownNode(0xabcd)));
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_the_loss_of_its_consumer_alone() {
    let ends = Ends::new();
    let mut any = Any::new(3, &ends);
    let filter = Some(Arc::new(Contains(b"!".to_vec())) as Arc<dyn Filter>);
    let options = Box::new(ReceiverOptions { filter, ..any.receiver() });
    let (consumer, address) = (any.key(), any.name());
    let bytes = ends.encode(Message::Stored(Wire::AddReceiver { consumer, address, options }));
    let Ok(PeerMessage(Message::Stored(Wire::AddReceiver { options, .. }))) = ends.decode(&bytes) else {
        panic!("the message is right")
    };
    assert!(options.unreadable && options.filter.is_none());
}

/// The sizes that a hundred bytes have on their way, and their settlement on its way back.
#[test]
fn hot_messages_are_small() {
    let ends = Ends::new();
    let body = Bytes::from(vec![b'x'; 100]);
    let key = |index: u64| 1_000_000 << 32 | index;
    let token = LegKey::from_bits(key(200)).unwrap();
    let address = crate::AddressKey::from_bits(key(70)).unwrap();
    let arrival = Arrival {
        origin: Origin::Nobody,
        settled: false,
        second: false,
        level: 4,
        message_format: 0,
        arrived: ends.now,
        deadline: None,
        chunk: body,
        more: false,
    };
    let deliver = Message::Deliver { address, epoch: 100, token: Some(token), arrival };
    assert_eq!(ends.encode(deliver).len() - 100, 20);
    let settle = Message::Settle { token, outcome: Some(Outcome::Accepted), settled: true };
    assert_eq!(ends.encode(settle).len(), 10);
    let receiver = crate::key::ReceiverKey::from_bits(key(3)).unwrap();
    let entry = EntryKey::from_bits(5 << 60 | 1_000_000);
    let settle = Wire::Settle { receiver, entry, outcome: Outcome::Accepted };
    assert_eq!(ends.encode(Message::Stored(settle)).len(), 18);
}

/// What version 1 is. A change of these bytes needs another version.
#[test]
fn the_bytes_of_a_version_stay_what_they_are() {
    let ends = Ends::new();
    let token = LegKey::from_bits(0x0000_0002_0000_0001).unwrap();
    let consumed = Message::Consumed { token };
    assert_eq!(ends.encode(consumed), &b"\x09\x01\0\0\0\x02\0\0\0"[..]);
    let settle = Message::Settle { token, outcome: Some(Outcome::FAILED), settled: true };
    assert_eq!(ends.encode(settle), &b"\x07\x01\0\0\0\x02\0\0\0\x0d\x01"[..]);
    let append = Message::Append { token, chunk: "body".into(), more: true };
    assert_eq!(ends.encode(append), &b"\x04\x01\0\0\0\x02\0\0\0\x01body"[..]);
    let fence = Message::Stored(Wire::Fence { home: THIRD, number: 300 });
    assert_eq!(ends.encode(fence), &b"\x29\x02\x02\0\0\0\0\0\0\x10\0\xac\x02"[..]);
    let filter = Message::Live(LiveWire::Filter { filter: "a/#".into(), is_wanted: true });
    assert_eq!(ends.encode(filter), &b"\x60\x03a/#\x01"[..]);
}
