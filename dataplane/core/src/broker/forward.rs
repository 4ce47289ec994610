//! Messages that leave a queue for another address: dead letters, expired ones, and those that are moved.
//!
//! The other address may be of any kind and have any home. The message stays in its queue, out of reach of
//! consumers, until the other address has it; only then does the store need it no more. So it is never
//! lost, and after a crash in between it is in both; with a home on another node it is not
//! ([`handover`](super::handover)). When the other address does not take it, a dead letter or an expired message
//! tries again later, and a moved one stays where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Pending;
use super::protocol::{Publication, Source};
use crate::core::Core;
use crate::delivery::{Arrival, Origin, Retain};
use crate::effect::Refused;
use crate::format::{DeadLetter, DeadLetterReason, Notes};
use crate::key::{ForwardKey, HomeKey};
use crate::outcome::{ErrorInfo, Outcome};
use crate::queue::EntryKey;
use crate::settings::{AddressKind, ShardId, split_shard};
use crate::store::{StoreRequest, Ticket, UnixMillis};

/// How long a message waits that another address did not take, at first and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// Messages of one move that are on their way at a time.
const MOVING_AT_ONCE: usize = 256;

/// A message on its way to another address.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) home: HomeKey,
    pub(crate) entry: EntryKey,
    pub(crate) to: To,
    attempts: u32,
    /// The shard that has it and has not answered.
    pub(crate) there: Option<ShardId>,
    /// A shard that is gone may have it.
    is_in_doubt: bool,
}

impl Forward {
    pub(crate) fn new(home: HomeKey, entry: EntryKey, to: To) -> Self {
        Self { home, entry, to, attempts: 0, there: None, is_in_doubt: false }
    }
}

#[derive(Debug)]
pub(crate) enum To {
    /// Where dead letters or expired messages of the queue go.
    DeadLetter { reason: DeadLetterReason, error: Option<Box<ErrorInfo>> },
    /// Where the operator wants it.
    Moved { to: Arc<str> },
    /// Its queue has another home now.
    Passed { due: Option<UnixMillis>, body: Option<Bytes> },
    /// Into the copy of a topic: it stays where it is.
    Copied { topic: HomeKey, round: u64 },
    /// Back to its place: its body could not be read.
    Back,
}

/// A move of many messages.
#[derive(Debug)]
pub(crate) struct Moving {
    to: Arc<str>,
    left: u64,
    on_their_way: usize,
    /// The last one that was taken.
    after: Option<EntryKey>,
}

impl Core {
    /// An entry is leaving its queue, for this reason.
    pub(crate) fn leave(
        &mut self,
        now: Instant,
        home: HomeKey,
        entry: EntryKey,
        reason: DeadLetterReason,
        error: Option<ErrorInfo>,
    ) {
        let Some(queue) = self.queue_home(home) else { return };
        let settings = queue.queue.settings();
        let to = if reason == DeadLetterReason::Expired { &settings.expiry } else { &settings.dead_letter };
        if to.is_none() {
            self.finish_leaving(home, entry);
            return;
        }
        let to = To::DeadLetter { reason, error: error.map(Box::new) };
        let forward = self.broker.forwards.insert(Forward::new(home, entry, to));
        self.send_forward(now, forward);
    }

    /// An entry has left its queue.
    pub(crate) fn finish_leaving(&mut self, home: HomeKey, entry: EntryKey) {
        if let Some(removed) = self.queue_home(home).and_then(|home| home.queue.remove(entry)) {
            self.settle_in_store(home, removed);
        }
    }

    /// Sends a message on its way, or loads it first.
    pub(crate) fn send_forward(&mut self, now: Instant, key: ForwardKey) {
        let Some(forward) = self.broker.forwards.get(key) else { return };
        let (home, entry) = (forward.home, forward.entry);
        let Some(value) = self.queue_home(home).and_then(|home| home.queue.entry(entry)) else {
            self.broker.forwards.remove(key);
            return;
        };
        match (value.body().cloned(), value.reference()) {
            (Some(body), _) => self.forward_body(now, key, body),
            (None, Some(reference)) => {
                let pending = self.broker.pending.insert(Pending::LoadForward { forward: key });
                self.ask_store(StoreRequest::Load { ticket: Ticket(pending.to_bits()), reference });
            }
            // Without a body and without a place in the store there is nothing to send.
            (None, None) => {
                self.broker.forwards.remove(key);
                self.finish_leaving(home, entry);
            }
        }
    }

    /// The body of a message that is leaving is here.
    pub(crate) fn forward_body(&mut self, now: Instant, key: ForwardKey, body: Bytes) {
        let Some(forward) = self.broker.forwards.get(key) else { return };
        if matches!(forward.to, To::Passed { .. }) {
            return self.pass_on(now, key, body);
        }
        let (home_key, entry_key) = (forward.home, forward.entry);
        let Some(home) = self.broker.homes.get(home_key) else {
            self.broker.forwards.remove(key);
            return;
        };
        let Some(queue) = home.queue() else { return };
        let Some(entry) = queue.queue.entry(entry_key) else {
            self.broker.forwards.remove(key);
            return;
        };
        let mut notes = Notes { merge: entry.annotations().cloned(), dead_letter: None };
        let settings = queue.queue.settings();
        let mut expires = entry.expires();
        let to = match &forward.to {
            To::DeadLetter { reason, error } => {
                notes.dead_letter = Some(DeadLetter {
                    reason: *reason,
                    // Of a queue with several, which of them it was is nobody's business.
                    from: split_shard(&home.name)
                        .map_or_else(|| home.name.clone(), |(queue, _)| queue.into()),
                    error: error.as_deref().cloned(),
                    delivery_count: entry.delivery_count(),
                });
                // What ran out or failed in its queue does not run out where it is looked at.
                expires = None;
                let is_expired = *reason == DeadLetterReason::Expired;
                if is_expired { settings.expiry.clone() } else { settings.dead_letter.clone() }
            }
            To::Moved { to } => Some(to.clone()),
            To::Passed { .. } | To::Copied { .. } | To::Back => None,
        };
        let Some(to) = to else { return self.forward_answered(key, Outcome::Released) };
        let message_format = entry.message_format();
        let is_plain = notes.merge.is_none() && notes.dead_letter.is_none();
        let body = match self.broker.format.as_ref().filter(|_| !is_plain) {
            Some(format) => format.annotate(message_format, &body, &notes),
            None => body,
        };
        let publication = Publication {
            source: Source::Forward { shard: self.shard, key },
            origin: None,
            owner: entry.owner(),
            name: Some(to.clone()),
            message_format,
            body,
            is_slice: false,
            priority: entry.priority(),
            durable: entry.is_durable(),
            arrived: self.broker.clock.unix(now),
            expires,
            not_before: None,
            transaction: None,
            routed: false,
            retain: Retain::No,
            given: false,
            moved: None,
            handover: None,
        };
        self.forward_to(now, &to, publication);
    }

    /// Gives a message to an address of any kind.
    fn forward_to(&mut self, now: Instant, to: &str, mut publication: Publication) {
        let Source::Forward { key, .. } = publication.source else { return };
        let Ok(address) = self.resolve_name(to) else {
            return self.forward_answered(key, Outcome::Released);
        };
        let (address, _) = self.route_to_shard(address, None, &publication);
        let target = self.addresses.get(address);
        let kind = target.map(|address| address.settings.kind);
        let there =
            target.filter(|address| address.settings.kind.is_stored()).and_then(|address| address.entrance);
        let is_reachable = target.is_none_or(|address| self.reachable_entrance(address).is_some());
        let Some(forward) = self.broker.forwards.get_mut(key) else { return };
        if forward.is_in_doubt && there.is_some() && !is_reachable {
            return self.retry_later(now, key);
        }
        forward.there = there;
        let (home, entry) = (forward.home, forward.entry);
        publication.handover = there.and_then(|there| self.handover_of(home, entry, there));
        let mut arrival = Arrival {
            origin: Origin::Forward(key),
            settled: false,
            second: false,
            level: publication.priority,
            message_format: publication.message_format,
            arrived: now,
            deadline: publication.expires.and_then(|expires| self.broker.clock.instant(expires, now)),
            chunk: Bytes::new(),
            more: false,
        };
        match kind {
            Some(AddressKind::Queue | AddressKind::Topic) => self.publish(now, address, None, publication),
            Some(AddressKind::Anycast) => {
                arrival.chunk = publication.body;
                self.arrive_anycast(now, address, &mut arrival);
            }
            Some(AddressKind::Multicast) => {
                arrival.chunk = publication.body;
                self.arrive_multicast(now, address, &mut arrival);
            }
            None => self.forward_answered(key, Outcome::Released),
        }
    }

    /// The other address has a message, or does not take it.
    pub(crate) fn forward_answered(&mut self, key: ForwardKey, outcome: Outcome) {
        let Some(now) = self.broker.now else { return };
        let Some(forward) = self.broker.forwards.get_mut(key) else { return };
        if matches!(forward.to, To::Passed { .. }) {
            return self.passed(now, key, &outcome);
        }
        if matches!(forward.to, To::Copied { .. }) {
            return self.copy_answered(now, key, &outcome);
        }
        let (home, entry) = (forward.home, forward.entry);
        let is_move = matches!(forward.to, To::Moved { .. });
        let is_back = matches!(forward.to, To::Back);
        if outcome == Outcome::Accepted {
            if let Some(forward) = self.broker.forwards.remove(key) {
                self.finish_forward(&forward);
            }
        } else if is_move || (is_back && forward.attempts > 0) {
            self.broker.forwards.remove(key);
            let unix = self.broker.clock.unix(now);
            let is_back = self.queue_home(home).is_none_or(|home| home.queue.put_back(unix, entry));
            if !is_back {
                self.leave(now, home, entry, DeadLetterReason::Expired, None);
            }
        } else {
            self.retry_later(now, key);
        }
        if is_move {
            self.move_on(now, home);
        }
        self.mark_home(now, home);
    }

    fn retry_later(&mut self, now: Instant, key: ForwardKey) {
        let Some(forward) = self.broker.forwards.get_mut(key) else { return };
        forward.there = None;
        let delay = RETRY_FIRST.saturating_mul(1 << forward.attempts.min(6)).min(RETRY_LAST);
        forward.attempts = forward.attempts.saturating_add(1);
        if let Some(at) = now.checked_add(delay) {
            self.broker.retries.insert((at, key));
        }
    }

    /// The body of an entry cannot be read: it waits a while and is tried again.
    pub(crate) fn unreadable(&mut self, now: Instant, home: HomeKey, entry: EntryKey) {
        let forward = Forward::new(home, entry, To::Back);
        let key = self.broker.forwards.insert(forward);
        self.retry_later(now, key);
    }

    /// The body of a message that is leaving cannot be read.
    pub(crate) fn forward_unreadable(&mut self, now: Instant, key: ForwardKey) {
        let is_move = self
            .broker
            .forwards
            .get(key)
            .is_some_and(|forward| matches!(forward.to, To::Moved { .. } | To::Passed { .. }));
        if is_move { self.forward_answered(key, Outcome::Released) } else { self.retry_later(now, key) }
    }

    /// A shard is gone: whether it took what was sent to it is not known, so that is sent again.
    pub(crate) fn forwards_lost(&mut self, peer: ShardId) {
        let lost = self.broker.forwards.iter().filter(|(_, forward)| forward.there == Some(peer));
        for key in lost.map(|(key, _)| key).collect::<Vec<_>>() {
            self.forward_lost(key, peer);
        }
    }

    fn forward_lost(&mut self, key: ForwardKey, peer: ShardId) {
        let Some((now, forward)) = self.broker.now.zip(self.broker.forwards.get(key)) else { return };
        let is_move = matches!(forward.to, To::Moved { .. });
        // One that would be stored twice does not go back to its consumers.
        if is_move && self.handover_of(forward.home, forward.entry, peer).is_some() {
            if let Some(forward) = self.broker.forwards.get_mut(key) {
                forward.is_in_doubt = true;
            }
            return self.retry_later(now, key);
        }
        self.forward_answered(key, Outcome::Released);
    }

    /// Tries again what is to be tried by now.
    pub(crate) fn retry_forwards(&mut self, now: Instant) {
        while let Some((at, key)) = self.broker.retries.first().copied()
            && at <= now
        {
            self.broker.retries.pop_first();
            self.broker.now = Some(now);
            let is_back = self.broker.forwards.get(key).is_some_and(|forward| matches!(forward.to, To::Back));
            if is_back {
                self.forward_answered(key, Outcome::Released);
            } else {
                self.send_forward(now, key);
            }
        }
    }

    /// Moves up to `limit` messages (0: all that there are now) of a queue that no consumer has to
    /// another address, the first ones first. Says how many are to be moved; those that the other address
    /// does not take stay. To be called at the home shard of `from`.
    ///
    /// # Errors
    /// `NotFound` without an address `to`, or when this shard is not the home of `from`; `NotStored`
    /// when `from` is no queue.
    pub fn move_messages(&mut self, now: Instant, from: &str, to: &str, limit: u64) -> Result<u64, Refused> {
        self.resolve_name(to)?;
        let key = self.home_named(from)?;
        self.broker.now = Some(now);
        let Some(home) = self.queue_home(key) else { return Err(Refused::NotStored(from.into())) };
        let statistics = home.queue.statistics();
        let there = statistics.available + statistics.delayed;
        let left = if limit == 0 { there } else { limit.min(there) };
        home.moving = Some(Box::new(Moving { to: to.into(), left, on_their_way: 0, after: None }));
        self.move_more(now, key);
        Ok(left)
    }

    /// One message of a move has ended.
    fn move_on(&mut self, now: Instant, key: HomeKey) {
        if let Some(moving) = self.queue_home(key).and_then(|home| home.moving.as_mut()) {
            moving.on_their_way = moving.on_their_way.saturating_sub(1);
            self.broker.moving.insert(key);
            self.mark_home(now, key);
        }
    }

    /// Takes further messages of a move out.
    pub(crate) fn move_more(&mut self, now: Instant, key: HomeKey) {
        loop {
            let Some(home) = self.queue_home(key) else { return };
            let Some(moving) = &mut home.moving else { return };
            if moving.on_their_way >= MOVING_AT_ONCE {
                return;
            }
            let next = if moving.left > 0 { home.queue.take(moving.after) } else { None };
            let Some(entry) = next else {
                // What comes from now on is not part of the move.
                moving.left = 0;
                if moving.on_their_way == 0 {
                    home.moving = None;
                }
                return;
            };
            moving.left -= 1;
            moving.on_their_way += 1;
            moving.after = Some(entry);
            let to = To::Moved { to: moving.to.clone() };
            let forward = self.broker.forwards.insert(Forward::new(key, entry, to));
            self.mark_home(now, key);
            self.send_forward(now, forward);
        }
    }
}
