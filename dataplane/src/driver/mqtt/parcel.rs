//! All of a session, as it goes to another node.
//!
//! What is on disk where it was (record, will, packet identifiers of QoS 2), and what memory has beside that:
//! which messages of QoS 1 were under way, in which order, and those that no queue gives again. The names of
//! messages are those of the whole fleet, see [`mq_core::Core::reference_of`].

use bytes::Bytes;
use mq_core::encoding::{Reader, put_bytes, put_number};
use mq_core::{Reference, UnixMillis};
use mq_mqtt::{OutgoingState, PacketId, Qos};

use super::record::{SessionRecord, WillRecord};

/// The only version so far.
const VERSION: u8 = 1;

/// Bytes of messages that go with a session because no queue has them. The oldest of more are dropped, as by a
/// restart of the node all are.
pub(super) const MAX_CARRIED: u64 = 12 << 20;

/// A session with everything that belongs to it, without a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(super) record: SessionRecord,
    /// With its number.
    pub(super) will: Option<(u64, WillRecord)>,
    /// Publications of QoS 2 that were taken and that the client has not released.
    pub(super) incoming: Vec<PacketId>,
    /// Messages under way to the client, in the order in which they were sent.
    pub(super) outgoing: Vec<UnderWay>,
    /// What the homes call those that come again, and whether the client has them.
    pub(super) known: Vec<(Reference, PacketId, bool)>,
    /// Packet identifiers that have an object in the store.
    pub(super) remembered: Vec<PacketId>,
    /// Messages that wait for the client and that no queue has.
    pub(super) waiting: Vec<Carried>,
    /// How many the session has lost.
    pub(super) dropped: u64,
}

/// A message under way to a client that is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) packet_id: PacketId,
    pub(super) state: OutgoingState,
    /// The message, when no queue gives it again.
    pub(super) message: Option<Carried>,
}

/// A message that nobody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) message: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) is_shared: bool,
    pub(super) identifiers: Vec<u32>,
    /// When its time is over.
    pub(super) expires: Option<UnixMillis>,
}

const RETAIN: u8 = 4;
const IS_SHARED: u8 = 8;

impl Parcel {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_bytes(&mut out, &self.record.encode());
        match &self.will {
            Some((number, will)) => {
                put_number(&mut out, *number);
                put_bytes(&mut out, &will.encode());
            }
            // No will has this number.
            None => put_number(&mut out, 0),
        }
        put_ids(&mut out, &self.incoming);
        put_number(&mut out, self.outgoing.len() as u64);
        for under_way in &self.outgoing {
            put_id(&mut out, under_way.packet_id);
            out.push(state_to_byte(under_way.state));
            out.push(u8::from(under_way.message.is_some()));
            if let Some(message) = &under_way.message {
                message.put(&mut out);
            }
        }
        put_number(&mut out, self.known.len() as u64);
        for (reference, packet_id, is_released) in &self.known {
            put_number(&mut out, reference.0);
            put_id(&mut out, *packet_id);
            out.push(u8::from(*is_released));
        }
        put_ids(&mut out, &self.remembered);
        put_number(&mut out, self.waiting.len() as u64);
        for message in &self.waiting {
            message.put(&mut out);
        }
        put_number(&mut out, self.dropped);
        out.into()
    }

    /// `None` for what is none of this version.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let mut input = Reader::new(value);
        if input.byte()? != VERSION {
            return None;
        }
        let record = SessionRecord::decode(input.bytes()?)?;
        let will = match input.number()? {
            0 => None,
            number => Some((number, WillRecord::decode(input.bytes()?)?)),
        };
        let incoming = many(&mut input, id)?;
        let outgoing = many(&mut input, |input| {
            let (packet_id, state) = (id(input)?, state_from_byte(input.byte()?)?);
            let message = if input.byte()? != 0 { Some(Carried::read(input)?) } else { None };
            Some(UnderWay { packet_id, state, message })
        })?;
        let known =
            many(&mut input, |input| Some((Reference(input.number()?), id(input)?, input.byte()? != 0)))?;
        let remembered = many(&mut input, id)?;
        let waiting = many(&mut input, Carried::read)?;
        let dropped = input.number()?;
        input.end()?;
        Some(Self { record, will, incoming, outgoing, known, remembered, waiting, dropped })
    }

    /// Drops messages that nobody else has, the oldest that wait first, until the rest may go along.
    pub(super) fn lighten(&mut self) {
        let size = |message: &Carried| message.message.len() as u64;
        let mut total: u64 = self.outgoing.iter().filter_map(|it| it.message.as_ref()).map(size).sum();
        total += self.waiting.iter().map(size).sum::<u64>();
        let mut count = 0;
        while total > MAX_CARRIED
            && let Some(oldest) = self.waiting.get(count)
        {
            total -= size(oldest);
            count += 1;
        }
        self.waiting.drain(..count);
        self.outgoing.retain(|under_way| {
            let bytes = under_way.message.as_ref().map_or(0, size);
            let is_dropped = total > MAX_CARRIED && bytes > 0;
            if is_dropped {
                total -= bytes;
                count += 1;
            }
            !is_dropped
        });
        self.dropped += count as u64;
    }
}

impl Carried {
    fn put(&self, out: &mut Vec<u8>) {
        let retain = if self.retain { RETAIN } else { 0 };
        let is_shared = if self.is_shared { IS_SHARED } else { 0 };
        out.push(self.qos.to_byte() | retain | is_shared);
        put_number(out, self.identifiers.len() as u64);
        for identifier in &self.identifiers {
            put_number(out, u64::from(*identifier));
        }
        // 0 stands for none.
        put_number(out, self.expires.map_or(0, |expires| expires.0.max(1)));
        put_bytes(out, &self.message);
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let flags = input.byte()?;
        let identifiers = many(input, Reader::small_number)?;
        let expires = input.number()?;
        Some(Self {
            qos: Qos::from_byte(flags & 0b11)?,
            retain: flags & RETAIN != 0,
            is_shared: flags & IS_SHARED != 0,
            identifiers,
            expires: (expires > 0).then_some(UnixMillis(expires)),
            message: Bytes::copy_from_slice(input.bytes()?),
        })
    }
}

fn state_to_byte(state: OutgoingState) -> u8 {
    match state {
        OutgoingState::Published(qos) => qos.to_byte(),
        OutgoingState::Received => 3,
        OutgoingState::Released => 4,
    }
}

fn state_from_byte(byte: u8) -> Option<OutgoingState> {
    match byte {
        1 | 2 => Some(OutgoingState::Published(Qos::from_byte(byte)?)),
        3 => Some(OutgoingState::Received),
        4 => Some(OutgoingState::Released),
        _ => None,
    }
}

fn put_ids(out: &mut Vec<u8>, ids: &[PacketId]) {
    put_number(out, ids.len() as u64);
    ids.iter().for_each(|id| put_id(out, *id));
}

fn put_id(out: &mut Vec<u8>, id: PacketId) {
    put_number(out, u64::from(id.to_number()));
}

fn id(input: &mut Reader<'_>) -> Option<PacketId> {
    PacketId::new(u16::try_from(input.number()?).ok()?)
}

fn many<'a, T>(input: &mut Reader<'a>, mut read: impl FnMut(&mut Reader<'a>) -> Option<T>) -> Option<Vec<T>> {
    let count = usize::try_from(input.number()?).ok()?;
    // Each takes a byte at least: no more are made room for than there can be.
    if count > input.rest().len() {
        return None;
    }
    (0..count).map(|_| read(input)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::Begun;
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).expect("not 0")
    }

    fn carried(size: usize) -> Carried {
        Carried {
            message: vec![7; size].into(),
            qos: Qos::ExactlyOnce,
            retain: true,
            is_shared: true,
            identifiers: vec![1, 268_435_455],
            expires: Some(UnixMillis(5)),
        }
    }

    fn parcel() -> Parcel {
        let under_way = |number, state, message| UnderWay { packet_id: id(number), state, message };
        let plain = Carried { identifiers: Vec::new(), expires: None, retain: false, ..carried(1) };
        Parcel {
            record: SessionRecord {
                number: 9,
                expiry: 60,
                disconnected: Some(UnixMillis(8)),
                begun: Begun::Elsewhere("node-1+9".into()),
                user: Some("ann".into()),
                subscriptions: Vec::new(),
            },
            will: None,
            incoming: vec![id(1), id(65_535)],
            outgoing: vec![
                under_way(3, OutgoingState::Published(Qos::AtLeastOnce), None),
                under_way(2, OutgoingState::Published(Qos::ExactlyOnce), Some(carried(3))),
                under_way(4, OutgoingState::Received, None),
                under_way(5, OutgoingState::Released, Some(plain)),
            ],
            known: vec![(Reference(u64::MAX), id(3), false), (Reference(1), id(4), true)],
            remembered: vec![id(4)],
            waiting: vec![carried(0), carried(300)],
            dropped: 77,
        }
    }

    #[test]
    fn a_parcel_is_read_as_it_was_written() {
        for parcel in [Parcel::default(), parcel()] {
            assert_eq!(Parcel::decode(&parcel.encode()), Some(parcel));
        }
    }

    #[test]
    fn a_parcel_that_ends_early_or_late_or_has_a_bit_wrong_is_none_or_another() {
        let whole = parcel().encode();
        for end in 0..whole.len() {
            assert_eq!(Parcel::decode(&whole[..end]), None, "{end} bytes");
        }
        assert_eq!(Parcel::decode(&[&whole[..], &[0]].concat()), None);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = Parcel::decode(&flipped);
        }
    }

    #[test]
    fn the_oldest_that_wait_stay_behind_where_there_are_too_many_bytes() {
        let mut parcel = Parcel { waiting: vec![carried(5 << 20); 3], ..parcel() };
        parcel.lighten();
        assert_eq!((parcel.waiting.len(), parcel.dropped, parcel.outgoing.len()), (2, 78, 4));
        let message = Some(carried(13 << 20));
        parcel.outgoing.push(UnderWay { packet_id: id(9), state: OutgoingState::Released, message });
        parcel.lighten();
        assert_eq!((parcel.waiting.len(), parcel.dropped), (0, 83));
        assert!(parcel.outgoing.iter().all(|under_way| under_way.message.is_none()));
    }
}
