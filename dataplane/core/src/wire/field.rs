//! What messages are made of, in bytes. A form says how a field is put there and taken back; most types
//! have one form, that of their [`Field`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{FilterCodec, WireContext, WireError};
use crate::delivery::COPY_UP_TO;
use crate::encoding::{Reader, put_bytes, put_number};
use crate::key::{
    AddressKey, ConsumerKey, ForwardKey, HomeKey, InboundKey, LegKey, ProducerKey, ReceiverKey, SenderKey,
    SentKey,
};
use crate::queue::EntryKey;
use crate::settings::ShardId;
use crate::store::{QueueId, Reference, TransactionId, UnixMillis};

/// Puts a message into bytes.
pub(super) struct Encoder<'a> {
    pub(super) context: &'a WireContext<'a>,
    pub(super) out: &'a mut BytesMut,
    tail: Bytes,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(context: &'a WireContext<'a>, out: &'a mut BytesMut) -> Self {
        Self { context, out, tail: Bytes::new() }
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.out.put_u8(byte);
    }

    #[inline]
    pub(super) fn number(&mut self, number: impl Into<u64>) {
        put_number(self.out, number.into());
    }

    /// A number that is as likely to be large as small.
    #[inline]
    pub(super) fn large(&mut self, number: u64) {
        self.out.put_u64_le(number);
    }

    #[inline]
    pub(super) fn field(&mut self, field: &impl Field) {
        field.put(self);
    }

    /// The last thing of the message.
    #[inline]
    pub(super) fn rest(&mut self, bytes: &Bytes) {
        debug_assert!(self.tail.is_empty(), "nothing follows what comes last");
        if bytes.len() <= COPY_UP_TO {
            self.out.extend_from_slice(bytes);
        } else {
            self.tail = bytes.clone();
        }
    }

    pub(super) fn finish(self) -> Bytes {
        self.tail
    }
}

/// Takes a message out of bytes.
pub(super) struct Decoder<'a> {
    pub(super) context: &'a WireContext<'a>,
    pub(super) filters: &'a dyn FilterCodec,
    input: &'a Bytes,
    reader: Reader<'a>,
    /// What is being taken, for errors.
    what: &'static str,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(context: &'a WireContext<'a>, filters: &'a dyn FilterCodec, input: &'a Bytes) -> Self {
        Self { context, filters, input, reader: Reader::new(input), what: "a message" }
    }

    /// Names what is taken from here on.
    #[inline]
    pub(super) fn begin(&mut self, what: &'static str) {
        self.what = what;
    }

    #[cold]
    fn ends(&self) -> WireError {
        WireError::Ends(self.what)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        self.reader.byte().ok_or_else(|| self.ends())
    }

    /// Sixteen flags.
    #[inline]
    pub(super) fn flags(&mut self) -> Result<u16, WireError> {
        self.reader.array().map(u16::from_le_bytes).ok_or_else(|| self.ends())
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, WireError> {
        self.reader.number().ok_or_else(|| self.ends())
    }

    #[inline]
    pub(super) fn small_number(&mut self) -> Result<u32, WireError> {
        self.reader.small_number().ok_or_else(|| self.ends())
    }

    #[inline]
    pub(super) fn large(&mut self) -> Result<u64, WireError> {
        self.reader.array().map(u64::from_le_bytes).ok_or_else(|| self.ends())
    }

    #[inline]
    pub(super) fn field<T: Field>(&mut self) -> Result<T, WireError> {
        T::take(self)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, WireError> {
        let bytes = self.reader.bytes().ok_or_else(|| self.ends())?;
        std::str::from_utf8(bytes).map_err(|_| WireError::NotText(self.what))
    }

    /// Bytes in memory of their own, if they are few.
    pub(super) fn own(&self, bytes: &'a [u8]) -> Bytes {
        if bytes.len() <= COPY_UP_TO { Bytes::copy_from_slice(bytes) } else { self.input.slice_ref(bytes) }
    }

    /// What has not been taken yet.
    #[inline]
    pub(super) fn reader(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    /// All that is left, as a slice of the input whatever its size: for what is not kept long.
    #[inline]
    pub(super) fn rest(&mut self) -> Bytes {
        self.input.slice_ref(self.reader.take_rest())
    }

    /// How many bytes are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.reader.rest().len()
    }

    /// All that is left, to be kept.
    #[inline]
    pub(super) fn rest_to_keep(&mut self) -> Bytes {
        let rest = self.reader.take_rest();
        self.own(rest)
    }

    /// How many of something follow: no more than there may be, nor than there are bytes for them.
    pub(super) fn count(&mut self, limit: usize) -> Result<usize, WireError> {
        let number = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if number > limit {
            return Err(WireError::TooMany { what: self.what, number, limit });
        }
        if number > self.left() {
            return Err(self.ends());
        }
        Ok(number)
    }

    /// That something has a number that this version does not know.
    #[cold]
    pub(super) fn unknown<T>(&self, what: &'static str, number: u8) -> Result<T, WireError> {
        Err(WireError::Unknown { what, number: number.into() })
    }

    #[inline]
    pub(super) fn end(&self) -> Result<(), WireError> {
        match self.left() {
            0 => Ok(()),
            bytes => Err(WireError::Longer { what: self.what, bytes }),
        }
    }
}

/// Something with one form in bytes.
pub(super) trait Field: Sized {
    fn put(&self, to: &mut Encoder<'_>);
    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError>;
}

impl Field for bool {
    fn put(&self, to: &mut Encoder<'_>) {
        to.byte(u8::from(*self));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => from.unknown("a yes or no", other),
        }
    }
}

impl Field for u16 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.number(*self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let number = from.number()?;
        Self::try_from(number).map_err(|_| from.ends())
    }
}

impl Field for u32 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.number(*self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.small_number()
    }
}

impl Field for u64 {
    fn put(&self, to: &mut Encoder<'_>) {
        to.number(*self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.number()
    }
}

/// Keys, never 0.
macro_rules! keys {
    ($($name:ident $what:literal)*) => {$(
        impl Field for $name {
            #[inline]
            fn put(&self, to: &mut Encoder<'_>) {
                to.large(self.to_bits());
            }

            #[inline]
            fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
                Self::from_bits(from.large()?).ok_or(WireError::NoKey($what))
            }
        }
    )*};
}

keys! {
    AddressKey "an address"
    ConsumerKey "a consumer"
    ForwardKey "a message that leaves a queue"
    HomeKey "a subscription"
    InboundKey "a delivery to a home"
    LegKey "a token"
    ProducerKey "a producer"
    ReceiverKey "a receiver"
    SenderKey "a sender"
    SentKey "a message at a home"
}

impl Field for EntryKey {
    #[inline]
    fn put(&self, to: &mut Encoder<'_>) {
        to.large(self.to_bits());
    }

    #[inline]
    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.large().map(Self::from_bits)
    }
}

/// Numbers that name something for ever.
macro_rules! names {
    ($($name:ident)*) => {$(
        impl Field for $name {
            #[inline]
            fn put(&self, to: &mut Encoder<'_>) {
                to.large(self.0);
            }

            #[inline]
            fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
                from.large().map(Self)
            }
        }
    )*};
}

names! { QueueId Reference TransactionId }

impl Field for Arc<str> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_bytes(to.out, self.as_bytes());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.text().map(Self::from)
    }
}

impl Field for Cow<'static, str> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_bytes(to.out, self.as_bytes());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.text().map(|text| Self::Owned(text.to_owned()))
    }
}

/// With its length.
impl Field for Bytes {
    fn put(&self, to: &mut Encoder<'_>) {
        put_bytes(to.out, self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let bytes = from.reader.bytes().ok_or_else(|| from.ends())?;
        Ok(from.own(bytes))
    }
}

/// In nanoseconds; what does not fit in 64 bits, which is more than 500 years, is as long as that.
impl Field for Duration {
    fn put(&self, to: &mut Encoder<'_>) {
        to.number(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX));
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.number().map(Self::from_nanos)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.field(&self.is_some());
        if let Some(value) = self {
            to.field(value);
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        if from.field()? { from.field().map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Box<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.field(&**self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.field().map(Self::new)
    }
}

impl<T: Field> Field for Arc<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.field(&**self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        from.field().map(Self::new)
    }
}

impl<T: Field, U: Field> Field for (T, U) {
    fn put(&self, to: &mut Encoder<'_>) {
        to.field(&self.0);
        to.field(&self.1);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        Ok((from.field()?, from.field()?))
    }
}

/// A shard of this node's numbering: the sender's own, the receiver's own, or by name.
impl Field for ShardId {
    fn put(&self, to: &mut Encoder<'_>) {
        let kind = Whose::of(*self, to.context);
        to.byte(kind as u8);
        put_shard(to, kind, *self);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let kind = from.byte()?;
        take_shard(from, kind)
    }
}

/// Whose shard one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Sender = 0,
    Receiver = 1,
    Named = 2,
}

impl Whose {
    #[inline]
    pub(super) fn of(shard: ShardId, context: &WireContext<'_>) -> Self {
        if shard == context.here {
            Self::Sender
        } else if shard == context.there {
            Self::Receiver
        } else {
            Self::Named
        }
    }
}

/// What has to be said of a shard beside whose it is.
#[inline]
pub(super) fn put_shard(to: &mut Encoder<'_>, whose: Whose, shard: ShardId) {
    if whose == Whose::Named {
        let (node, number) = to.context.names.name(shard);
        to.large(node);
        to.number(number);
    }
}

#[inline]
pub(super) fn take_shard(from: &mut Decoder<'_>, whose: u8) -> Result<ShardId, WireError> {
    match whose {
        0 => Ok(from.context.there),
        1 => Ok(from.context.here),
        2 => take_named(from),
        other => from.unknown("whose shard", other),
    }
}

fn take_named(from: &mut Decoder<'_>) -> Result<ShardId, WireError> {
    let node = from.large()?;
    let number: u16 = from.field()?;
    from.context.names.shard(node, number).ok_or(WireError::UnknownNode(node))
}

/// All of some, each of which takes a byte at least.
pub(super) fn put_list<T: Field>(to: &mut Encoder<'_>, list: &[T]) {
    to.number(list.len() as u64);
    for one in list {
        to.field(one);
    }
}

pub(super) fn take_list<T: Field>(from: &mut Decoder<'_>, limit: usize) -> Result<Vec<T>, WireError> {
    let count = from.count(limit)?;
    (0..count).map(|_| from.field()).collect()
}

/// What is left of a time to live: in milliseconds, begun ones included.
#[inline]
pub(super) fn put_left(to: &mut Encoder<'_>, left: Duration) {
    to.number(millis_left(left));
}

/// The milliseconds of what is left of a time to live, rounded up.
#[inline]
pub(super) fn millis_left(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[inline]
pub(super) fn take_left(from: &mut Decoder<'_>) -> Result<Duration, WireError> {
    from.number().map(Duration::from_millis)
}

/// A time to come, or that has come.
#[inline]
pub(super) fn put_future(to: &mut Encoder<'_>, at: UnixMillis) {
    let millis = at.0.saturating_sub(to.context.unix.0);
    to.number(millis);
}

#[inline]
pub(super) fn take_future(from: &mut Decoder<'_>) -> Result<UnixMillis, WireError> {
    let millis = from.number()?;
    Ok(UnixMillis(from.context.unix.0.saturating_add(millis)))
}

/// A time that has come.
#[inline]
pub(super) fn put_past(to: &mut Encoder<'_>, at: UnixMillis) {
    let millis = to.context.unix.0.saturating_sub(at.0);
    to.number(millis);
}

#[inline]
pub(super) fn take_past(from: &mut Decoder<'_>) -> Result<UnixMillis, WireError> {
    let millis = from.number()?;
    Ok(UnixMillis(from.context.unix.0.saturating_sub(millis)))
}
