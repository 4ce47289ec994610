//! What messages carry: outcomes, publications, deliveries, options.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};

use super::field::{
    Decoder, Encoder, Field, Whose, millis_left, put_future, put_left, put_list, put_past, put_shard,
    take_future, take_left, take_list, take_past, take_shard,
};
use super::message::DELIVER;
use super::{MAX_COPIED, MAX_FILTERS, MAX_POSTS, WireError};
use crate::broker::{
    Asker, CopiedSubscription, CopiedVolatile, Destination, GivenBack, Handout, Handover, Label, MAX_LABELS,
    MAX_PAGE_MESSAGES, Moved, Part, Posts, Publication, Question, ReceiverOptions, RetainedMessage,
    RetainedPage, Source,
};
use crate::consumer::SubscriptionOptions;
use crate::delivery::{Arrival, COPY_UP_TO, Origin, Retain};
use crate::effect::CloseReason;
use crate::encoding::{LONGEST_NUMBER, Reader, put_number};
use crate::format::Redelivery;
use crate::key::{AddressKey, LegKey};
use crate::live::{LiveMessage, Want};
use crate::outcome::{ErrorInfo, Outcome};
use crate::settings::{AddressKind, Deduplicate, OnFull, QueueSettings};
use crate::stock::Owner;
use crate::store::UnixMillis;

/// Enums without data, by number.
macro_rules! codes {
    ($($type:ident $what:literal { $($code:literal $variant:ident)* })*) => {$(
        impl Field for $type {
            fn put(&self, to: &mut Encoder<'_>) {
                to.byte(match self { $(Self::$variant => $code),* });
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
                match from.byte()? {
                    $($code => Ok(Self::$variant),)*
                    other => from.unknown($what, other),
                }
            }
        }
    )*};
}

codes! {
    AddressKind "kind of address" { 0 Anycast 1 Multicast 2 Queue 3 Topic }
    OnFull "what to do when a queue is full" { 0 Reject 1 Block 2 DropOldest }
    Want "what a subscription wants" { 0 Everything 1 Durable }
    CloseReason "reason for the end of a link" {
        0 AddressDeleted
        1 SlowConsumer
        2 LimitExceeded
        3 Exclusive
        4 SubscriptionInUse
        5 NotFound
        6 TooManySubscriptions
        7 StoreFailed
        8 HomeGone
        9 Unsubscribed
        10 UnreadableFilter
    }
}

/// Structs, field by field.
macro_rules! records {
    ($($type:ident { $($field:ident)* })*) => {$(
        impl Field for $type {
            fn put(&self, to: &mut Encoder<'_>) {
                let Self { $($field),* } = self;
                $(to.field($field);)*
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
                Ok(Self { $($field: from.field()?),* })
            }
        }
    )*};
}

records! {
    ErrorInfo { condition description info }
    Redelivery { delivery_count annotations retained }
    Deduplicate { window max_ids }
    QueueSettings {
        max_messages
        max_bytes
        on_full
        max_deliveries
        redelivery_delay
        redelivery_multiplier_percent
        redelivery_delay_max
        dead_letter
        expiry
        exclusive
        groups
        last_value
        deduplicate
    }
    SubscriptionOptions {
        name
        durable
        shared
        max_consumers
        definition
        not_from
        filters
        durable_only
        settings
        claim
        ends_unused
    }
}

impl Field for Arc<[Arc<str>]> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        take_list(from, MAX_FILTERS).map(Self::from)
    }
}

/// Which of several flags are set.
#[inline]
fn flags<const N: usize>(set: [bool; N]) -> u16 {
    set.iter().enumerate().fold(0, |flags, (bit, is_set)| flags | u16::from(*is_set) << bit)
}

/// The value of a field that is there when its flag is set.
#[inline]
fn when<'a, T>(
    is_set: bool,
    from: &mut Decoder<'a>,
    take: impl FnOnce(&mut Decoder<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if is_set { take(from).map(Some) } else { Ok(None) }
}

// ---- outcomes ---------------------------------------------------------------------------------------

const RECEIVED: u8 = 1;
const ACCEPTED: u8 = 2;
const REJECTED: u8 = 3;
const REJECTED_FOR: u8 = 4;
const RELEASED: u8 = 5;
const MODIFIED: u8 = 6;
const OTHER: u8 = 7;

/// The number of an outcome, from 1 to 7.
#[inline]
fn outcome_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Received { .. } => RECEIVED,
        Outcome::Accepted => ACCEPTED,
        Outcome::Rejected(None) => REJECTED,
        Outcome::Rejected(Some(_)) => REJECTED_FOR,
        Outcome::Released => RELEASED,
        Outcome::Modified { .. } => MODIFIED,
        Outcome::Other(_) => OTHER,
    }
}

#[inline]
fn put_outcome(to: &mut Encoder<'_>, outcome: &Outcome) {
    match outcome {
        Outcome::Accepted | Outcome::Rejected(None) | Outcome::Released => {}
        Outcome::Received { section_number, section_offset } => {
            to.field(section_number);
            to.field(section_offset);
        }
        Outcome::Rejected(Some(error)) => to.field(error),
        Outcome::Modified { delivery_failed, undeliverable_here, annotations } => {
            to.byte(flags([*delivery_failed, *undeliverable_here, annotations.is_some()]) as u8);
            if let Some(annotations) = annotations {
                to.field(annotations);
            }
        }
        Outcome::Other(state) => to.field(state),
    }
}

#[inline]
fn take_outcome(from: &mut Decoder<'_>, code: u8) -> Result<Outcome, WireError> {
    match code {
        ACCEPTED => Ok(Outcome::Accepted),
        REJECTED => Ok(Outcome::Rejected(None)),
        RELEASED => Ok(Outcome::Released),
        RECEIVED => Ok(Outcome::Received { section_number: from.field()?, section_offset: from.field()? }),
        REJECTED_FOR => from.field().map(|error| Outcome::Rejected(Some(error))),
        MODIFIED => {
            let flags = from.byte()?;
            if flags > 7 {
                return from.unknown("modification", flags);
            }
            Ok(Outcome::Modified {
                delivery_failed: flags & 1 != 0,
                undeliverable_here: flags & 2 != 0,
                annotations: when(flags & 4 != 0, from, Decoder::field)?,
            })
        }
        OTHER => from.field().map(Outcome::Other),
        other => from.unknown("outcome", other),
    }
}

impl Field for Outcome {
    #[inline]
    fn put(&self, to: &mut Encoder<'_>) {
        to.byte(outcome_code(self));
        put_outcome(to, self);
    }

    #[inline]
    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let code = from.byte()?;
        take_outcome(from, code)
    }
}

/// The state of a delivery and whether it is settled, in one byte most of the time.
#[inline]
pub(super) fn put_state(to: &mut Encoder<'_>, outcome: Option<&Outcome>, settled: bool) {
    to.byte(outcome.map_or(0, outcome_code) << 1 | u8::from(settled));
    if let Some(outcome) = outcome {
        put_outcome(to, outcome);
    }
}

#[inline]
pub(super) fn take_state(from: &mut Decoder<'_>) -> Result<(Option<Outcome>, bool), WireError> {
    let byte = from.byte()?;
    let outcome = match byte >> 1 {
        0 => None,
        code => Some(take_outcome(from, code)?),
    };
    Ok((outcome, byte & 1 != 0))
}

// ---- direct deliveries ------------------------------------------------------------------------------

/// The flags of a delivery; its level stands in the four bits above them.
const SETTLED: u16 = 1;
const SECOND: u16 = 2;
const MORE: u16 = 4;
const TOKEN: u16 = 8;
const FORMAT: u16 = 16;
const DEADLINE: u16 = 32;
/// It has waited for a millisecond at least: its header has to say less than its producer did.
const WAITED: u16 = 64;
const UNUSED: u16 = 128;
const LEVEL_SHIFT: u32 = 8;
const HIGHEST_LEVEL: u8 = 9;

/// A wait that counts as one; see [`crate::delivery::ttl_left`].
const WAIT: Duration = Duration::from_millis(1);

/// Bytes of a direct delivery before its body, at most: code, address, epoch, flags, token, format and deadline.
pub(super) const DELIVER_HEAD: usize = 1 + 8 + LONGEST_NUMBER + 2 + 8 + LONGEST_NUMBER + LONGEST_NUMBER;

/// A direct delivery, but for its origin, to an address in an epoch of it. The body is what is left.
pub(super) fn put_deliver(
    to: &mut Encoder<'_>,
    place: (AddressKey, u32),
    arrival: &Arrival,
    token: Option<LegKey>,
) {
    // Put together here, so that the batch makes room for it once.
    let mut head = [0; DELIVER_HEAD];
    let mut free = head.as_mut_slice();
    put_deliver_head(&mut free, to.context.now, place, arrival, token);
    let used = DELIVER_HEAD - free.len();
    to.out.extend_from_slice(head.get(..used).unwrap_or(&head));
    to.rest(&arrival.chunk);
}

/// What stands before the body, [`DELIVER_HEAD`] bytes of it at most.
#[inline]
pub(super) fn put_deliver_head(
    mut free: &mut &mut [u8],
    now: Instant,
    (address, epoch): (AddressKey, u32),
    arrival: &Arrival,
    token: Option<LegKey>,
) {
    let waited = arrival.deadline.is_some() && now.saturating_duration_since(arrival.arrived) >= WAIT;
    let set = [
        arrival.settled,
        arrival.second,
        arrival.more,
        token.is_some(),
        arrival.message_format != 0,
        arrival.deadline.is_some(),
        waited,
    ];
    let level = u16::from(arrival.level.min(HIGHEST_LEVEL));
    free.put_u8(DELIVER);
    free.put_u64_le(address.to_bits());
    put_number(&mut free, epoch.into());
    free.put_u16_le(flags(set) | level << LEVEL_SHIFT);
    if let Some(token) = token {
        free.put_u64_le(token.to_bits());
    }
    if arrival.message_format != 0 {
        put_number(&mut free, arrival.message_format.into());
    }
    if let Some(deadline) = arrival.deadline {
        put_number(&mut free, millis_left(deadline.saturating_duration_since(now)));
    }
}

/// The same, taken back: all but the code and the body, which is what is left then.
pub(super) struct DeliverHead {
    pub(super) address: AddressKey,
    pub(super) epoch: u32,
    pub(super) token: Option<LegKey>,
    flags: u16,
    message_format: u32,
    left: Option<Duration>,
}

impl DeliverHead {
    #[inline]
    pub(super) fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let ends = || WireError::Ends("Deliver");
        let address = u64::from_le_bytes(from.array().ok_or_else(ends)?);
        let address = AddressKey::from_bits(address).ok_or(WireError::NoKey("an address"))?;
        let epoch = from.small_number().ok_or_else(ends)?;
        let flags = u16::from_le_bytes(from.array().ok_or_else(ends)?);
        let level = (flags >> LEVEL_SHIFT) as u8;
        let is_odd = flags & UNUSED != 0 || flags & (DEADLINE | WAITED) == WAITED;
        if level > HIGHEST_LEVEL || is_odd {
            return Err(WireError::Unknown { what: "a kind of delivery", number: level.into() });
        }
        let mut head = Self { address, epoch, token: None, flags, message_format: 0, left: None };
        if flags & TOKEN != 0 {
            let token = u64::from_le_bytes(from.array().ok_or_else(ends)?);
            head.token = Some(LegKey::from_bits(token).ok_or(WireError::NoKey("a token"))?);
        }
        if flags & FORMAT != 0 {
            head.message_format = from.small_number().ok_or_else(ends)?;
        }
        if flags & DEADLINE != 0 {
            head.left = Some(Duration::from_millis(from.number().ok_or_else(ends)?));
        }
        Ok(head)
    }

    /// The delivery with its body.
    #[inline]
    pub(super) fn arrival(&self, now: Instant, origin: Origin, chunk: Bytes) -> Arrival {
        let arrived = if self.flags & WAITED != 0 { now.checked_sub(WAIT).unwrap_or(now) } else { now };
        Arrival {
            origin,
            settled: self.flags & SETTLED != 0,
            second: self.flags & SECOND != 0,
            level: (self.flags >> LEVEL_SHIFT) as u8,
            message_format: self.message_format,
            arrived,
            // One that is too far away to be counted is none.
            deadline: self.left.and_then(|left| now.checked_add(left)),
            more: self.flags & MORE != 0,
            chunk,
        }
    }
}

// ---- publications -----------------------------------------------------------------------------------

const NOBODY: u8 = 0;
const PRODUCER: u8 = 1;
const FORWARD: u8 = 2;
const SENT: u8 = 3;
const WHOSE_SHIFT: u32 = 2;
const SOURCE_SETTLED: u8 = 16;
const SOURCE_SECOND: u8 = 32;
const SOURCE_HELD: u8 = 64;

impl Field for Source {
    fn put(&self, to: &mut Encoder<'_>) {
        match *self {
            Self::Nobody => to.byte(NOBODY),
            Self::Forward { shard, key } => {
                let whose = Whose::of(shard, to.context);
                to.byte(FORWARD | (whose as u8) << WHOSE_SHIFT);
                put_shard(to, whose, shard);
                to.field(&key);
            }
            Self::Sent { shard, key, settled } => {
                let whose = Whose::of(shard, to.context);
                let settled = if settled { SOURCE_SETTLED } else { 0 };
                to.byte(SENT | (whose as u8) << WHOSE_SHIFT | settled);
                put_shard(to, whose, shard);
                to.field(&key);
            }
            Self::Producer { shard, key, handle, settled, held, second } => {
                let whose = Whose::of(shard, to.context);
                let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
                to.byte(
                    PRODUCER
                        | (whose as u8) << WHOSE_SHIFT
                        | flag(settled, SOURCE_SETTLED)
                        | flag(second.is_some(), SOURCE_SECOND)
                        | flag(held != 0, SOURCE_HELD),
                );
                put_shard(to, whose, shard);
                to.field(&key);
                to.number(handle);
                if held != 0 {
                    to.field(&held);
                }
                if let Some(second) = second {
                    to.field(&second);
                }
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        let whose = flags >> WHOSE_SHIFT & 3;
        let is_plain = flags < SOURCE_SETTLED;
        match flags & 3 {
            NOBODY if flags == NOBODY => Ok(Self::Nobody),
            FORWARD if is_plain => Ok(Self::Forward { shard: take_shard(from, whose)?, key: from.field()? }),
            SENT if flags & !SOURCE_SETTLED < SOURCE_SETTLED => Ok(Self::Sent {
                shard: take_shard(from, whose)?,
                key: from.field()?,
                settled: flags & SOURCE_SETTLED != 0,
            }),
            PRODUCER if flags < 128 => Ok(Self::Producer {
                shard: take_shard(from, whose)?,
                key: from.field()?,
                handle: from.number()?,
                settled: flags & SOURCE_SETTLED != 0,
                held: when(flags & SOURCE_HELD != 0, from, Decoder::field)?.unwrap_or(0),
                second: when(flags & SOURCE_SECOND != 0, from, Decoder::field)?,
            }),
            _ => from.unknown("a source", flags),
        }
    }
}

impl Field for Destination {
    fn put(&self, to: &mut Encoder<'_>) {
        match self {
            Self::Sender(sender) => {
                to.byte(0);
                to.field(sender);
            }
            Self::Address(address) => {
                to.byte(1);
                to.field(address);
            }
            Self::Copy { topic, part, number } => {
                to.byte(2);
                to.field(topic);
                to.field(part);
                to.field(number);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        match from.byte()? {
            0 => from.field().map(Self::Sender),
            1 => from.field().map(Self::Address),
            2 => Ok(Self::Copy { topic: from.field()?, part: from.field()?, number: from.field()? }),
            other => from.unknown("a destination", other),
        }
    }
}

impl Field for Part {
    fn put(&self, to: &mut Encoder<'_>) {
        match self {
            Self::Retained => to.byte(0),
            Self::Durable(name) => {
                to.byte(1);
                to.field(name);
            }
            Self::Administered(name) => {
                to.byte(2);
                to.field(name);
            }
            Self::Volatile(key) => {
                to.byte(3);
                to.field(key);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        match from.byte()? {
            0 => Ok(Self::Retained),
            1 => from.field().map(Self::Durable),
            2 => from.field().map(Self::Administered),
            3 => from.field().map(Self::Volatile),
            other => from.unknown("a part of a topic", other),
        }
    }
}

impl Field for CopiedSubscription {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self {
            name,
            filters,
            shared,
            ends_unclaimed,
            max_consumers,
            definition,
            claims,
            more_claims,
            links,
            feeding,
        } = self;
        to.byte(flags([*shared, *ends_unclaimed, *more_claims, feeding.is_some()]) as u8);
        to.field(name);
        put_list(to, filters);
        to.field(max_consumers);
        to.field(definition);
        put_list(to, claims);
        put_list(to, links);
        if let Some((filter, after)) = feeding {
            to.field(filter);
            to.field(after);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        if flags > 15 {
            return from.unknown("a property of a subscription", flags);
        }
        Ok(Self {
            shared: flags & 1 != 0,
            ends_unclaimed: flags & 2 != 0,
            more_claims: flags & 4 != 0,
            name: from.field()?,
            filters: take_list(from, MAX_FILTERS)?,
            max_consumers: from.field()?,
            definition: from.field()?,
            claims: take_list(from, MAX_COPIED)?,
            links: take_list(from, MAX_COPIED)?,
            feeding: when(flags & 8 != 0, from, |from| Ok((from.field()?, from.field()?)))?,
        })
    }
}

impl Field for GivenBack {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { number, delivery_count, annotations } = self;
        to.field(number);
        to.field(delivery_count);
        to.field(annotations);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self { number: from.field()?, delivery_count: from.field()?, annotations: from.field()? })
    }
}

impl Field for Vec<GivenBack> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        take_list(from, MAX_COPIED)
    }
}

impl Field for CopiedVolatile {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { key, options, links, feeding } = self;
        to.field(key);
        to.field(options);
        put_list(to, links);
        to.field(feeding);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            key: from.field()?,
            options: from.field()?,
            links: take_list(from, MAX_COPIED)?,
            feeding: from.field()?,
        })
    }
}

impl Field for Vec<u64> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        take_list(from, MAX_COPIED)
    }
}

const HAS_ORIGIN: u16 = 1;
const HAS_NAME: u16 = 2;
const HAS_FORMAT: u16 = 4;
const DURABLE: u16 = 8;
const EXPIRES: u16 = 16;
const NOT_BEFORE: u16 = 32;
const IN_TRANSACTION: u16 = 64;
const ROUTED: u16 = 128;
const GIVEN: u16 = 256;
const RETAIN_SHIFT: u32 = 9;
const MOVED: u16 = 2_048;
const HANDED_OVER: u16 = 4_096;
const HAS_PRIORITY: u16 = 8_192;
const HAS_OWNER: u16 = 16_384;

/// The priority of most messages (AMQP 3.2.1).
const USUAL_LEVEL: u8 = 4;

/// A publication but for its body.
fn put_publication(to: &mut Encoder<'_>, publication: &Publication) {
    let set = [
        publication.origin.is_some(),
        publication.name.is_some(),
        publication.message_format != 0,
        publication.durable,
        publication.expires.is_some(),
        publication.not_before.is_some(),
        publication.transaction.is_some(),
        publication.routed,
        publication.given,
        publication.retain == Retain::Keep,
        publication.retain == Retain::Clear,
        publication.moved.is_some(),
        publication.handover.is_some(),
        publication.priority != USUAL_LEVEL,
        publication.owner.is_some(),
    ];
    to.out.extend_from_slice(&flags(set).to_le_bytes());
    if publication.priority != USUAL_LEVEL {
        to.byte(publication.priority.min(HIGHEST_LEVEL));
    }
    to.field(&publication.source);
    put_past(to, publication.arrived);
    if let Some(origin) = publication.origin {
        to.large(origin);
    }
    if let Some(owner) = publication.owner {
        to.large(owner.to_bits());
    }
    if let Some(name) = &publication.name {
        to.field(name);
    }
    if publication.message_format != 0 {
        to.field(&publication.message_format);
    }
    if let Some(expires) = publication.expires {
        put_future(to, expires);
    }
    if let Some(not_before) = publication.not_before {
        put_future(to, not_before);
    }
    if let Some(transaction) = &publication.transaction {
        to.field(transaction);
    }
    if let Some(moved) = &publication.moved {
        to.field(&moved.delivery_count);
        to.field(&moved.annotations);
        to.field(&moved.identity);
    }
    if let Some(handover) = &publication.handover {
        to.field(&handover.address);
        to.field(&handover.queue);
        to.field(&handover.label);
    }
}

fn take_publication(from: &mut Decoder<'_>) -> Result<Publication, WireError> {
    let flags = from.flags()?;
    let has = |flag: u16| flags & flag != 0;
    let priority = when(has(HAS_PRIORITY), from, Decoder::byte)?.unwrap_or(USUAL_LEVEL);
    if priority > HIGHEST_LEVEL {
        return from.unknown("a priority", priority);
    }
    let retain = match flags >> RETAIN_SHIFT & 3 {
        0 => Retain::No,
        1 => Retain::Keep,
        2 => Retain::Clear,
        other => return from.unknown("what becomes of a retained message", other as u8),
    };
    Ok(Publication {
        source: from.field()?,
        arrived: take_past(from)?,
        origin: when(has(HAS_ORIGIN), from, Decoder::large)?,
        owner: when(has(HAS_OWNER), from, Decoder::large)?.and_then(Owner::from_bits),
        name: when(has(HAS_NAME), from, Decoder::field)?,
        message_format: when(has(HAS_FORMAT), from, Decoder::field)?.unwrap_or(0),
        expires: when(has(EXPIRES), from, take_future)?,
        not_before: when(has(NOT_BEFORE), from, take_future)?,
        transaction: when(has(IN_TRANSACTION), from, Decoder::field)?,
        moved: when(has(MOVED), from, take_moved)?,
        handover: when(has(HANDED_OVER), from, take_handover)?,
        priority,
        durable: has(DURABLE),
        routed: has(ROUTED),
        given: has(GIVEN),
        retain,
        body: Bytes::new(),
        is_slice: false,
    })
}

fn take_moved(from: &mut Decoder<'_>) -> Result<Box<Moved>, WireError> {
    let (delivery_count, annotations, identity) = (from.field()?, from.field()?, from.field()?);
    Ok(Box::new(Moved { delivery_count, annotations, identity }))
}

fn take_handover(from: &mut Decoder<'_>) -> Result<Box<Handover>, WireError> {
    Ok(Box::new(Handover { address: from.field()?, queue: from.field()?, label: from.field()? }))
}

impl Field for Label {
    fn put(&self, to: &mut Encoder<'_>) {
        to.field(&self.reference);
        // As it is, whatever the clock here says: it is part of a name.
        to.large(self.arrived.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self { reference: from.field()?, arrived: UnixMillis(from.large()?) })
    }
}

/// A publication that comes last: its body is what is left.
pub(super) fn put_last_publication(to: &mut Encoder<'_>, publication: &Publication) {
    put_publication(to, publication);
    to.rest(&publication.body);
}

pub(super) fn take_last_publication(from: &mut Decoder<'_>) -> Result<Box<Publication>, WireError> {
    let mut publication = Box::new(take_publication(from)?);
    // Copied when it is still there after many others.
    publication.body = from.rest();
    publication.is_slice = publication.body.len() <= COPY_UP_TO;
    Ok(publication)
}

/// One of several.
impl Field for Publication {
    fn put(&self, to: &mut Encoder<'_>) {
        put_publication(to, self);
        to.field(&self.body);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let mut publication = take_publication(from)?;
        publication.body = from.field()?;
        Ok(publication)
    }
}

impl Field for Vec<Label> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        take_list(from, MAX_LABELS)
    }
}

impl Field for Posts {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        take_list(from, MAX_POSTS)
    }
}

// ---- consumers --------------------------------------------------------------------------------------

impl Field for ReceiverOptions {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { browse, exclusive, filter, not_from, levels, subscription, retained, unreadable: _ } =
            self;
        let text = filter.as_ref().map(|filter| Arc::<str>::from(filter.text()));
        to.byte(flags([*browse, *exclusive, *retained]) as u8);
        to.field(&text);
        to.field(not_from);
        to.field(levels);
        to.field(subscription);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        if flags > 7 {
            return from.unknown("an option of a consumer", flags);
        }
        let text = when(from.field()?, from, Decoder::text)?;
        let filter = text.map(|text| from.filters.filter(text));
        Ok(Self {
            browse: flags & 1 != 0,
            exclusive: flags & 2 != 0,
            retained: flags & 4 != 0,
            // The text may be of a later version: that is the consumer's loss alone.
            unreadable: matches!(filter, Some(Err(_))),
            filter: filter.and_then(Result::ok),
            not_from: from.field()?,
            levels: from.field()?,
            subscription: from.field()?,
        })
    }
}

/// A delivery: the body is what is left.
impl Field for Handout {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { entry, browse, message_format, body, ttl_left, redelivery, reference, is_named } = self;
        let set = [
            *browse,
            *message_format != 0,
            ttl_left.is_some(),
            redelivery.is_some(),
            reference.is_some(),
            *is_named,
        ];
        to.byte(flags(set) as u8);
        to.field(entry);
        if *message_format != 0 {
            to.field(message_format);
        }
        if let Some(left) = ttl_left {
            put_left(to, *left);
        }
        if let Some(redelivery) = redelivery {
            to.field(redelivery);
        }
        if let Some(reference) = reference {
            to.field(reference);
        }
        to.rest(body);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        if flags > 63 {
            return from.unknown("a property of a delivery", flags);
        }
        Ok(Self {
            entry: from.field()?,
            browse: flags & 1 != 0,
            message_format: when(flags & 2 != 0, from, Decoder::field)?.unwrap_or(0),
            ttl_left: when(flags & 4 != 0, from, take_left)?,
            redelivery: when(flags & 8 != 0, from, Decoder::field)?,
            reference: when(flags & 16 != 0, from, Decoder::field)?,
            is_named: flags & 32 != 0,
            body: from.rest_to_keep(),
        })
    }
}

// ---- what topics retain -----------------------------------------------------------------------------

/// A question, but for who asks: whoever sends it.
pub(super) fn put_question(to: &mut Encoder<'_>, question: &Question) {
    let Question { asker: _, filter, after, max_messages, max_bytes } = question;
    to.field(filter);
    to.field(after);
    to.field(max_messages);
    to.field(max_bytes);
}

pub(super) fn take_question(from: &mut Decoder<'_>, number: u64) -> Result<Box<Question>, WireError> {
    Ok(Box::new(Question {
        asker: Asker::Shard { shard: from.context.there, number },
        filter: from.field()?,
        after: from.field()?,
        max_messages: from.field()?,
        max_bytes: from.field()?,
    }))
}

impl Field for RetainedMessage {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { name, message_format, body, durable, ttl_left } = self;
        to.byte(flags([*durable, ttl_left.is_some()]) as u8);
        to.field(name);
        to.field(message_format);
        if let Some(left) = ttl_left {
            put_left(to, *left);
        }
        to.field(body);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        if flags > 3 {
            return from.unknown("a property of a retained message", flags);
        }
        Ok(Self {
            name: from.field()?,
            message_format: from.field()?,
            durable: flags & 1 != 0,
            ttl_left: when(flags & 2 != 0, from, take_left)?,
            body: from.field()?,
        })
    }
}

impl Field for RetainedPage {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(to, &self.messages);
        to.field(&self.next);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok(Self {
            messages: take_list(from, MAX_PAGE_MESSAGES as usize)?,
            next: from.field()?,
            is_unavailable: false,
        })
    }
}

// ---- live subscribers -------------------------------------------------------------------------------

const LIVE_NAME: u16 = 1;
const LIVE_FORMAT: u16 = 2;
const LIVE_DURABLE: u16 = 4;
const LIVE_KEPT: u16 = 8;
const LIVE_RETAIN: u16 = 16;
const LIVE_TTL: u16 = 32;
const LIVE_ORIGIN: u16 = 64;

/// The body is what is left.
impl Field for LiveMessage {
    fn put(&self, to: &mut Encoder<'_>) {
        let Self { name, message_format, body, durable, kept, retain, ttl, origin } = self;
        let set =
            [name.is_some(), *message_format != 0, *durable, *kept, *retain, ttl.is_some(), *origin != 0];
        to.byte(flags(set) as u8);
        if let Some(name) = name {
            to.field(name);
        }
        if *message_format != 0 {
            to.field(message_format);
        }
        if let Some(ttl) = ttl {
            put_left(to, *ttl);
        }
        if *origin != 0 {
            to.large(*origin);
        }
        to.rest(body);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let flags = from.byte()?;
        let has = |flag: u16| u16::from(flags) & flag != 0;
        if flags > 127 {
            return from.unknown("a property of a live message", flags);
        }
        Ok(Self {
            name: when(has(LIVE_NAME), from, Decoder::field)?,
            message_format: when(has(LIVE_FORMAT), from, Decoder::field)?.unwrap_or(0),
            durable: has(LIVE_DURABLE),
            kept: has(LIVE_KEPT),
            retain: has(LIVE_RETAIN),
            ttl: when(has(LIVE_TTL), from, take_left)?,
            origin: when(has(LIVE_ORIGIN), from, Decoder::large)?.unwrap_or(0),
            body: from.rest_to_keep(),
        })
    }
}
