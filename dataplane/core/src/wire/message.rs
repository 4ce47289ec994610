//! Every message by its first byte, and what follows that.

use std::ops::RangeInclusive;
use std::time::Instant;

use bytes::{Buf, Bytes};

use super::field::{Decoder, Encoder, put_list, take_list};
use super::record::{
    DeliverHead, put_deliver, put_last_publication, put_question, put_state, take_last_publication,
    take_question, take_state,
};
use super::{FilterCodec, MAX_WIRE_BYTES, ShardNames, WireError};
use crate::broker::Wire;
use crate::core::Core;
use crate::delivery::Origin;
use crate::encoding::Reader;
use crate::live::LiveWire;
use crate::peer::{MAX_SETTLED, Message, PeerMessage};
use crate::settings::ShardId;

/// The first bytes of messages about stored addresses.
const STORED: RangeInclusive<u8> = 0x20..=0x5f;
/// Those of messages about live subscribers.
const LIVE: RangeInclusive<u8> = 0x60..=0x7f;

impl PeerMessage {
    #[inline]
    pub(super) fn put(&self, to: &mut Encoder<'_>) {
        match &self.0 {
            Message::Stored(wire) => wire.put(to),
            Message::Live(wire) => wire.put(to),
            message => message.put(to),
        }
    }

    #[inline]
    pub(super) fn take(from: &mut Decoder<'_>) -> Result<Self, WireError> {
        let code = from.byte()?;
        Ok(Self(if STORED.contains(&code) {
            Message::Stored(Wire::take(from, code)?)
        } else if LIVE.contains(&code) {
            Message::Live(LiveWire::take(from, code)?)
        } else {
            Message::take(from, code)?
        }))
    }
}

/// The messages of one enum. A field is put in its own form, or in the one that its table says: `slice`
/// and `publication` are what is left. What follows the table is put and taken by hand.
macro_rules! messages {
    (@put $to:ident $field:ident) => { $to.field($field) };
    (@put $to:ident $field:ident slice) => { $to.rest($field) };
    (@put $to:ident $field:ident publication) => { put_last_publication($to, $field) };
    (@take $from:ident) => { $from.field()? };
    (@take $from:ident slice) => { $from.rest() };
    (@take $from:ident publication) => { take_last_publication($from)? };
    (
        $type:ident ($to:ident, $from:ident) {
            $($code:literal $variant:ident { $($field:ident $(as $form:ident)?),* })*
        }
        put { $($put:tt)* }
        take { $($take:tt)* }
    ) => {
        impl $type {
            #[inline]
            fn put(&self, $to: &mut Encoder<'_>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        $to.byte($code);
                        $(messages!(@put $to $field $($form)?);)*
                    })*
                    $($put)*
                }
            }

            #[inline]
            fn take($from: &mut Decoder<'_>, code: u8) -> Result<Self, WireError> {
                match code {
                    $($code => {
                        $from.begin(stringify!($variant));
                        Ok(Self::$variant { $($field: messages!(@take $from $($form)?)),* })
                    })*
                    $($take)*
                    other => $from.unknown("message", other),
                }
            }
        }
    };
}

pub(super) const DELIVER: u8 = 0x03;
const UPDATE: u8 = 0x06;
const SETTLE: u8 = 0x07;
const SETTLE_ALL: u8 = 0x0b;

messages! {
    Message (encoder, decoder) {
        0x01 Presence { name, address, epoch, kind, temporary, consumers, producers, initial }
        0x02 Want { address, epoch, sender, round, waiting }
        0x0a Limit { address, round, limit }
        0x04 Append { token, more, chunk as slice }
        0x05 Abort { token }
        0x08 Return { token, chunk }
        0x09 Consumed { token }
    }
    put {
        Self::Deliver { address, epoch, token, arrival } => {
            put_deliver(encoder, (*address, *epoch), arrival, *token);
        }
        Self::Update { token, outcome, settled } => {
            encoder.byte(UPDATE);
            encoder.field(token);
            put_state(encoder, outcome.as_ref(), *settled);
        }
        Self::Settle { token, outcome, settled } => {
            encoder.byte(SETTLE);
            encoder.field(token);
            put_state(encoder, outcome.as_ref(), *settled);
        }
        Self::SettleAll { tokens, outcome } => {
            encoder.byte(SETTLE_ALL);
            put_list(encoder, tokens);
            put_state(encoder, outcome.as_ref(), true);
        }
        // These have codes of their own.
        Self::Stored(wire) => wire.put(encoder),
        Self::Live(wire) => wire.put(encoder),
    }
    take {
        DELIVER => {
            decoder.begin("Deliver");
            let head = DeliverHead::take(decoder.reader())?;
            let arrival = head.arrival(decoder.context.now, Origin::Nobody, decoder.rest());
            Ok(Self::Deliver { address: head.address, epoch: head.epoch, token: head.token, arrival })
        }
        UPDATE => {
            decoder.begin("Update");
            let token = decoder.field()?;
            let (outcome, settled) = take_state(decoder)?;
            Ok(Self::Update { token, outcome, settled })
        }
        SETTLE => {
            decoder.begin("Settle");
            let token = decoder.field()?;
            let (outcome, settled) = take_state(decoder)?;
            Ok(Self::Settle { token, outcome, settled })
        }
        SETTLE_ALL => {
            decoder.begin("SettleAll");
            let tokens = take_list(decoder, MAX_SETTLED)?;
            match take_state(decoder)? {
                (outcome, true) => Ok(Self::SettleAll { tokens, outcome }),
                (_, false) => decoder.unknown("a settlement of several that does not settle", 0),
            }
        }
    }
}

impl Core {
    /// Takes a message that the core of another node's shard had for this one, as
    /// [`PeerMessage::encode`] put it into bytes.
    ///
    /// # Errors
    /// As of [`PeerMessage::decode`]: nothing of the message has taken effect.
    pub fn handle_encoded(
        &mut self,
        now: Instant,
        from: ShardId,
        mut input: Bytes,
        names: &dyn ShardNames,
        filters: &dyn FilterCodec,
    ) -> Result<(), WireError> {
        // Most messages are deliveries: those are not put together to be taken apart again, and the body is
        // what is left of the message, not one more reference to it.
        let mut reader = Reader::new(&input);
        if reader.byte() != Some(DELIVER) || input.len() > MAX_WIRE_BYTES {
            let message = PeerMessage::decode(&input, &self.wire_context(now, from, names), filters)?;
            self.handle_peer(now, from, message);
            return Ok(());
        }
        let head = DeliverHead::take(&mut reader)?;
        let body = input.len() - reader.rest().len();
        input.advance(body);
        let mut arrival = head.arrival(now, Origin::Peer { shard: from, token: head.token }, input);
        if self.peers.contains(from) {
            self.handle_deliver(now, from, head.address, head.epoch, &mut arrival);
        }
        Ok(())
    }
}

const ASK_RETAINED: u8 = 0x28;

messages! {
    Wire (encoder, decoder) {
        0x20 AddSender { producer, address }
        0x21 RemoveSender { sender }
        0x22 Publish { to, publication as publication }
        0x23 AddReceiver { consumer, address, options }
        0x24 RemoveReceiver { receiver }
        0x25 Unsubscribe { receiver }
        0x26 SetFilters { receiver, filters }
        0x27 EndDurable { topic, name, claim, number }
        0x29 Fence { home, number }
        0x2a Fenced { asker, number }
        0x2b RetainedPage { number, page }
        0x2c Credit { receiver, limit, drain, number }
        0x2d Window { receiver, bytes }
        0x2e Settle { receiver, entry, outcome }
        0x2f Return { receiver, entry, bytes }
        0x30 ForwardAnswer { forward, outcome }
        0x31 Retire { transaction, receiver, entry, outcome }
        0x32 Prepare { transaction, across, posts }
        0x33 Conclude { transaction, commit }
        0x34 FencesLost { home }
        0x35 Unask { number }
        0x36 AskPassed { address, number }
        0x37 Park { receiver, got, number }
        0x38 Left { queue, labels }
        0x39 AskLeft { queue, labels }
        0x54 CopyBegin { topic, round }
        0x55 CopySubscription { topic, subscription }
        0x56 CopyEnd { topic, part }
        0x57 CopyGone { topic, numbers }
        0x58 CopyHeld { topic, numbers }
        0x59 CopyBack { topic, entries }
        0x5a CopyComplete { topic, round }
        0x5b CopyReady { topic, round, is_ready }
        0x5c CopyCompleted { topic, round, is_complete }
        0x5d AskHeard { number }
        0x5e Heard { number }
        0x5f CopyVolatile { topic, subscription }
        0x40 Prepared { transaction, failed, logged }
        0x41 Concluded { transaction }
        0x42 Opened { producer, sender, active }
        0x43 Flow { producer, active }
        0x44 Attached { consumer, receiver }
        0x45 Refiltered { consumer }
        0x46 Deliver { consumer, handout }
        0x47 Drained { consumer, number }
        0x48 Answer { source, outcome }
        0x49 CloseProducer { producer, reason }
        0x4a CloseConsumer { consumer, reason }
        0x4b Ended { number }
        0x4c Passed { number }
        0x50 Waiting { consumer, number }
    }
    put {
        Self::AskRetained { number, topic, question, fences } => {
            encoder.byte(ASK_RETAINED);
            encoder.field(number);
            encoder.field(topic);
            encoder.field(fences);
            put_question(encoder, question);
        }
    }
    take {
        ASK_RETAINED => {
            decoder.begin("AskRetained");
            let number = decoder.field()?;
            let (topic, fences) = (decoder.field()?, decoder.field()?);
            Ok(Self::AskRetained { number, topic, fences, question: take_question(decoder, number)? })
        }
    }
}

const PUBLISH: u8 = 0x63;

messages! {
    LiveWire (encoder, decoder) {
        0x60 Filter { filter, is_wanted }
        0x61 Stored { topic, filter, want, is_wanted }
        0x62 StoredEnd { topic }
        0x64 Taken { bytes }
        0x65 Known {}
    }
    put {
        Self::Publish(message) => {
            encoder.byte(PUBLISH);
            encoder.field(message);
        }
    }
    take {
        PUBLISH => {
            decoder.begin("Publish");
            decoder.field().map(Self::Publish)
        }
    }
}
