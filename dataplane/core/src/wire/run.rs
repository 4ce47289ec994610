//! Small deliveries to a shard of another node, which leave together.
//!
//! A message of its own, an effect for that, and the way of both to the channel cost more than the delivery has
//! bytes. So whole small deliveries are put into bytes when they are sent, one behind the other: a *run*.
//!
//! What is said to a shard keeps its order: a delivery joins a run only while no effect waits, and a run leaves
//! before the next effect for its shard, at the latest at the end of the turn.

use bytes::{BufMut, BytesMut};

use super::record::{DELIVER_HEAD, put_deliver_head};
use crate::core::Core;
use crate::delivery::{Arrival, is_free};
use crate::effect::Effect;
use crate::key::{AddressKey, LegKey};
use crate::settings::ShardId;

/// The first byte of a message between cores, for what carries messages of others, too.
pub const OF_CORE: u8 = 1;

/// Bytes of a run at which the next one begins.
const MAX_RUN: usize = 60 << 10;

/// Bytes that a run gets room for at a time.
const ROOM: usize = 8 << 10;

/// Bytes of the length before a message.
const LENGTH: usize = 2;

/// Bytes before the body of a delivery, at most.
const HEAD: usize = LENGTH + 1 + DELIVER_HEAD;

/// Messages for a shard of another node, as [`PeerMessage::encode`](crate::PeerMessage::encode) puts them into
/// bytes, each behind [`OF_CORE`], and that behind their common length (16 bits, big endian). Less than 64 KiB.
#[derive(Debug, Default)]
pub struct Run {
    bytes: BytesMut,
    messages: u32,
}

impl Run {
    /// How many messages it is.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// The messages, each behind its length.
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

/// The runs that have not left yet: at most one for each shard.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    rows: Vec<(ShardId, Run)>,
    /// Bytes of the last one that has left, which the next one probably has, too.
    last: usize,
}

impl Runs {
    fn take(&mut self, place: usize) -> Effect {
        let (to, run) = self.rows.swap_remove(place);
        self.last = run.bytes.len();
        Effect::Run { to, run }
    }

    fn place(&self, to: ShardId) -> Option<usize> {
        self.rows.iter().position(|(shard, _)| *shard == to)
    }

    fn begin(&mut self, to: ShardId) {
        let bytes = BytesMut::with_capacity((self.last + 1).next_multiple_of(ROOM));
        self.rows.push((to, Run { bytes, messages: 0 }));
    }
}

impl Core {
    /// Sends a delivery with others, to an address of a shard in an epoch of it. False when it is not one of those
    /// that can: then it takes an effect of its own.
    #[inline]
    pub(crate) fn join_run(
        &mut self,
        to: ShardId,
        place: (AddressKey, u32),
        arrival: &Arrival,
        token: Option<LegKey>,
    ) -> bool {
        let is_small = is_free(arrival.chunk.len(), arrival.more);
        if to.is_here() || !is_small || arrival.deadline.is_some() || !self.effects.is_empty() {
            return false;
        }
        let index = match self.runs.place(to) {
            Some(index) => index,
            None => {
                self.runs.begin(to);
                self.runs.rows.len() - 1
            }
        };
        let Some((_, run)) = self.runs.rows.get_mut(index) else { return false };
        // Put together here, so that the run makes room for it once.
        let mut head = [0; HEAD];
        let mut free = head.as_mut_slice();
        free.put_u16(0);
        free.put_u8(OF_CORE);
        // Without a deadline nothing of it depends on the time.
        put_deliver_head(&mut free, arrival.arrived, place, arrival, token);
        let used = HEAD - free.len();
        let length = used - LENGTH + arrival.chunk.len();
        if let Some(first) = head.first_chunk_mut() {
            *first = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        }
        run.bytes.extend_from_slice(head.get(..used).unwrap_or(&head));
        run.bytes.extend_from_slice(&arrival.chunk);
        run.messages += 1;
        if run.bytes.len() >= MAX_RUN {
            let run = self.runs.take(index);
            self.effects.push_back(run);
        }
        true
    }

    /// The run that has to leave before the next effect.
    #[inline]
    pub(crate) fn run_before_effect(&mut self) -> Option<Effect> {
        if self.runs.rows.is_empty() {
            return None;
        }
        let Some(Effect::Peer { to, .. }) = self.effects.front() else { return None };
        let place = self.runs.place(*to)?;
        Some(self.runs.take(place))
    }

    /// The run for a shard, if there is one.
    pub(crate) fn take_run(&mut self, to: ShardId) -> Option<Effect> {
        let place = self.runs.place(to)?;
        Some(self.runs.take(place))
    }

    /// Some run, if there is one. No effect waits.
    pub(crate) fn take_any_run(&mut self) -> Option<Effect> {
        let last = self.runs.rows.len().checked_sub(1)?;
        Some(self.runs.take(last))
    }
}
