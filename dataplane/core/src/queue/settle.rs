//! What becomes of an entry that was handed out, and of one whose time has come.

use super::entry::{EntryKey, Flag, NEVER, Removed, Stage, State};
use super::member::MemberKey;
use super::{Action, Delivery, Queue, Settled, Settlement};
use crate::format::DeadLetterReason;
use crate::store::UnixMillis;

impl Queue {
    /// A consumer is done with an entry that it was handed.
    pub fn settle(
        &mut self,
        now: UnixMillis,
        consumer: MemberKey,
        key: EntryKey,
        settlement: Settlement,
    ) -> Settled {
        if self.entry(key).and_then(super::Entry::consumer) != Some(consumer) {
            return Settled::Unknown;
        }
        let settled = self.decide(now, Some(consumer), key, settlement);
        self.give_back(consumer, key);
        settled
    }

    /// A delivery that [`next`](Self::next) asked for cannot be made now: the consumer has its credit and
    /// the entry its place as if it had not been asked for; only its group stays with the consumer. Not
    /// for browsers.
    pub fn undo(&mut self, now: UnixMillis, delivery: Delivery) {
        let key = delivery.entry;
        let Some(entry) = self.entry_mut(key) else { return };
        if entry.consumer() != Some(delivery.consumer) {
            return;
        }
        entry.set(Flag::Acquired, !delivery.first);
        self.counters.redelivered -= u64::from(!delivery.first);
        let settled = self.come_back(now, key, None, false);
        self.note(key, settled);
        self.give_back(delivery.consumer, key);
        if let Some(members) = &mut self.members
            && let Some(index) = members.index(delivery.consumer)
            && let Some(member) = members.get_mut(index)
        {
            member.credit = member.credit.saturating_add(1);
            members.settle_place(index);
        }
    }

    /// A consumer is done with an entry that it was handed, and how is not decided: nobody has it, until
    /// [`settle_retired`](Self::settle_retired). False when the consumer does not have it.
    pub fn retire(&mut self, consumer: MemberKey, key: EntryKey) -> bool {
        if self.entry(key).and_then(super::Entry::consumer) != Some(consumer) {
            return false;
        }
        self.set_state(key, State::Leaving);
        self.give_back(consumer, key);
        true
    }

    /// It is decided what becomes of an entry that was retired.
    pub fn settle_retired(&mut self, now: UnixMillis, key: EntryKey, settlement: Settlement) -> Settled {
        if !self.entry(key).is_some_and(super::Entry::is_leaving) {
            return Settled::Unknown;
        }
        self.decide(now, None, key, settlement)
    }

    #[inline]
    fn decide(
        &mut self,
        now: UnixMillis,
        consumer: Option<MemberKey>,
        key: EntryKey,
        settlement: Settlement,
    ) -> Settled {
        match settlement {
            Settlement::Accepted => self.accept(now, key),
            Settlement::Released => self.come_back(now, key, None, false),
            Settlement::Rejected => self.leave(key, DeadLetterReason::Rejected),
            Settlement::Modified { failed, undeliverable_here, annotations } => {
                if let Some(consumer) = consumer.filter(|_| undeliverable_here) {
                    self.refuse(key, consumer);
                }
                let changed = annotations.is_some();
                if let Some(entry) = self.entry_mut(key).filter(|_| changed) {
                    entry.rare_mut().annotations = annotations;
                }
                if failed { self.fail(now, key) } else { self.come_back(now, key, None, changed) }
            }
        }
    }

    #[inline]
    fn accept(&mut self, now: UnixMillis, key: EntryKey) -> Settled {
        self.counters.acknowledged += 1;
        self.watch_idle(now);
        self.erase(key).map_or(Settled::Unknown, Settled::Removed)
    }

    /// A consumer has one entry less.
    #[inline]
    fn give_back(&mut self, consumer: MemberKey, key: EntryKey) {
        let Some(members) = &mut self.members else { return };
        let Some(index) = members.index(consumer) else { return };
        let Some(member) = members.get_mut(index) else { return };
        member.outstanding -= 1;
        if member.has.front() == Some(&key) {
            member.has.pop_front();
        }
        if member.has.len() > 2 * member.outstanding as usize + 16 {
            let mut has: Vec<EntryKey> = std::mem::take(&mut member.has).into();
            has.retain(|key| self.entry(*key).and_then(super::Entry::consumer) == Some(consumer));
            has.sort_unstable();
            has.dedup();
            if let Some(member) = self.members.as_mut().and_then(|members| members.get_mut(index)) {
                member.has = has.into();
            }
        }
        if let Some(members) = &mut self.members {
            members.settle_place(index);
        }
    }

    /// An entry is not to go to a consumer again.
    fn refuse(&mut self, key: EntryKey, consumer: MemberKey) {
        let Some(members) = &mut self.members else { return };
        let Some(index) = members.index(consumer) else { return };
        members.make_selective(index);
        let Some(row) = self.rows.get_mut(key.row()).and_then(Option::as_deref_mut) else { return };
        let Some(entry) = row.get_mut(key.sequence()) else { return };
        let group = entry.group;
        let refused = &mut entry.rare_mut().refused;
        // Those that have left are of no interest, so it stays as short as the list of consumers.
        refused.retain(|other| members.index(*other).is_some());
        refused.push(consumer);
        if let Some(keys) = &mut self.keys
            && group != 0
            && keys.groups.consumer(group) == Some(consumer)
        {
            // Another one shall have the group, or the message would wait for ever.
            keys.groups.set_consumer(group, None);
            members.look_anew();
        }
    }

    /// An attempt to process an entry failed: it waits again, for a while, or leaves.
    pub(super) fn fail(&mut self, now: UnixMillis, key: EntryKey) -> Settled {
        let Some(entry) = self.entry_mut(key) else { return Settled::Unknown };
        entry.delivery_count = entry.delivery_count.saturating_add(1);
        let count = entry.delivery_count;
        let max = self.settings.max_deliveries;
        if max > 0 && count >= max {
            return self.leave(key, DeadLetterReason::MaxDeliveries);
        }
        let delay = self.delay(count);
        let until = (delay > 0).then(|| UnixMillis(now.0.saturating_add(delay)));
        self.come_back(now, key, until, true)
    }

    /// Milliseconds that an entry waits after so many failed deliveries.
    fn delay(&self, count: u32) -> u64 {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let max = millis(self.settings.redelivery_delay_max);
        let percent = u64::from(self.settings.redelivery_multiplier_percent.max(100));
        let mut delay = millis(self.settings.redelivery_delay).min(max);
        for _ in 1..count {
            // In whole milliseconds it may not grow any more.
            let longer = (delay.saturating_mul(percent) / 100).min(max);
            if longer == delay {
                break;
            }
            delay = longer;
        }
        delay
    }

    /// An entry waits for a consumer again, if it may, from `until` on.
    pub(super) fn come_back(
        &mut self,
        now: UnixMillis,
        key: EntryKey,
        until: Option<UnixMillis>,
        changed: bool,
    ) -> Settled {
        if self.is_superseded(key) {
            self.counters.dropped += 1;
            return self.erase(key).map_or(Settled::Unknown, Settled::Removed);
        }
        if self.entry(key).is_some_and(|entry| entry.expires <= now) {
            return self.leave(key, DeadLetterReason::Expired);
        }
        match until.filter(|until| *until > now) {
            Some(until) => self.set_state(key, State::Delayed { until }),
            None => self.make_available(key),
        }
        Settled::Returned { changed }
    }

    fn make_available(&mut self, key: EntryKey) {
        self.set_state(key, State::Available);
        if let Some(members) = &mut self.members {
            members.note_returned(key);
        }
    }

    /// An entry is to go elsewhere.
    pub(super) fn leave(&mut self, key: EntryKey, reason: DeadLetterReason) -> Settled {
        match reason {
            DeadLetterReason::Expired => self.counters.expired += 1,
            _ => self.counters.dead_lettered += 1,
        }
        self.set_state(key, State::Leaving);
        Settled::Leaving(reason)
    }

    /// Leaves what became of an entry to the owner, where nobody waits for an answer.
    pub(super) fn note(&mut self, key: EntryKey, settled: Settled) {
        let action = match settled {
            Settled::Removed(removed) => Action::Dropped(removed),
            Settled::Leaving(reason) => Action::Leave { entry: key, reason },
            Settled::Returned { changed: true } => Action::Changed { entry: key },
            Settled::Returned { changed: false } | Settled::Unknown => return,
        };
        self.actions.push_back(action);
    }

    /// A consumer is gone: what it had and did not settle counts as a failed delivery and waits again,
    /// or leaves. What never reached it should be settled as `Released` before.
    pub fn remove_consumer(&mut self, now: UnixMillis, consumer: MemberKey) {
        let Some(members) = &mut self.members else { return };
        let Some(index) = members.index(consumer) else { return };
        let Some(member) = members.remove(index) else { return };
        if let Some(keys) = &mut self.keys
            && keys.groups.release(consumer)
        {
            members.look_anew();
        }
        let mut has: Vec<EntryKey> = member.has.into();
        has.sort_unstable();
        for key in has {
            // Some it has no more.
            if self.entry(key).and_then(super::Entry::consumer) == Some(consumer) {
                let settled = self.fail(now, key);
                self.note(key, settled);
            }
        }
        if self.members.as_ref().is_some_and(|members| members.len() == 0) {
            self.members = None;
            if self.counts.messages() == 0 {
                self.trim();
            }
        }
        self.choose_roles();
    }

    /// The first entry behind `after` that no consumer has and that is not being stored, in the order of
    /// delivery: it is leaving from now on. To purge, `remove` it; to move it, `remove` it when it has
    /// arrived elsewhere.
    pub fn take(&mut self, after: Option<EntryKey>) -> Option<EntryKey> {
        let key = self.next_waiting(after, false)?;
        self.set_state(key, State::Leaving);
        Some(key)
    }

    /// Takes this entry. False when it does not wait: a consumer has it, it is being stored, or leaving already.
    pub fn take_waiting(&mut self, key: EntryKey) -> bool {
        let state = self.entry(key).map(|entry| entry.state);
        let waits = matches!(state, Some(State::Available | State::Delayed { .. }));
        if waits {
            self.set_state(key, State::Leaving);
        }
        waits
    }

    /// Like [`take`](Self::take), the first of all, with the time that it waits for; but none behind one of
    /// its priority that is being stored, which it would overtake.
    pub fn take_first(&mut self) -> Option<(EntryKey, Option<UnixMillis>)> {
        let key = self.next_waiting(None, true)?;
        let due = match self.entry(key)?.state {
            State::Delayed { until } => Some(until),
            _ => None,
        };
        self.set_state(key, State::Leaving);
        Some((key, due))
    }

    fn next_waiting(&mut self, after: Option<EntryKey>, in_order: bool) -> Option<EntryKey> {
        let has_delayed = self.counts.of(Stage::Delayed) > 0;
        let first = after.map_or(0, EntryKey::row);
        let rows = self.rows.iter_mut().enumerate().skip(first);
        rows.filter_map(|(index, row)| Some((index, row.as_deref_mut()?))).find_map(|(index, row)| {
            let from = after.filter(|key| key.row() == index).map_or(0, |key| key.sequence() + 1);
            let available = row.next_available(from);
            let delayed = if has_delayed { row.next_delayed(from, available) } else { None };
            let next = delayed.or(available).filter(|next| !in_order || *next < row.frontier())?;
            Some(EntryKey::new(index, next))
        })
    }

    /// A leaving entry is gone: the store needs it no more.
    pub fn remove(&mut self, key: EntryKey) -> Option<Removed> {
        self.entry(key).filter(|entry| entry.is_leaving())?;
        self.erase(key)
    }

    /// A leaving entry found no place elsewhere and waits again. False when its time to live has run out
    /// meanwhile: then it is still leaving.
    pub fn put_back(&mut self, now: UnixMillis, key: EntryKey) -> bool {
        self.put_back_until(now, key, None)
    }

    /// The same for one that waits for a time.
    pub fn put_back_until(&mut self, now: UnixMillis, key: EntryKey, until: Option<UnixMillis>) -> bool {
        let Some(entry) = self.entry(key).filter(|entry| entry.is_leaving()) else { return true };
        if entry.expires <= now {
            return false;
        }
        let settled = self.come_back(now, key, until, false);
        self.note(key, settled);
        true
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        let timers = self.rows.iter().flatten().filter_map(|row| row.first_timer());
        timers.chain((self.idle != NEVER).then_some(self.idle)).min()
    }

    /// Ends messages whose time has run out and frees those whose time has come, about `limit` of them at
    /// most; `poll_timeout` then says at once again.
    pub fn handle_timeout(&mut self, now: UnixMillis, limit: usize) {
        self.handle_idle(now);
        let mut done = 0;
        for index in 0..self.rows.len() {
            while done < limit
                && let Some(row) = self.rows.get_mut(index).and_then(Option::as_deref_mut)
                && let Some(sequences) = row.due(now)
            {
                // Looking at a chunk counts too: its entries may be gone.
                done += 1;
                for sequence in sequences {
                    done += usize::from(self.handle_due(now, EntryKey::new(index, sequence)));
                }
            }
        }
    }

    /// Whether the time of an entry has come or run out; if not, it is to be looked at again.
    fn handle_due(&mut self, now: UnixMillis, key: EntryKey) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let is_over = entry.expires <= now;
        match entry.state {
            State::Available | State::Delayed { .. } if is_over => {
                self.expire(key);
                true
            }
            State::Delayed { until } if until <= now => {
                self.make_available(key);
                true
            }
            _ => {
                if let Some(row) = self.row_mut(key) {
                    row.arm(key.sequence());
                }
                false
            }
        }
    }

    /// Gives an entry a copy of its body, when that is a slice of something larger.
    pub fn own_body(&mut self, key: EntryKey) {
        if let Some(body) = self.entry_mut(key).and_then(|entry| entry.body.as_mut()) {
            *body = bytes::Bytes::copy_from_slice(body);
        }
    }

    /// Drops the body of an entry that the store has; says how many bytes that frees.
    pub fn drop_body(&mut self, key: EntryKey) -> usize {
        let Some(row) = self.rows.get_mut(key.row()).and_then(Option::as_deref_mut) else { return 0 };
        let Some(entry) = row.get_mut(key.sequence()) else { return 0 };
        if entry.reference().is_none() {
            return 0;
        }
        let Some(body) = entry.body.take() else { return 0 };
        entry.set(Flag::Loading, false);
        self.counts.bytes_in_memory -= body.len() as u64;
        self.counts.end_ahead(entry);
        row.set_cold(key.sequence(), true);
        body.len()
    }
}
