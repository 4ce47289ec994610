//! Which messages a queue takes, and where they go.

use super::entry::{Arrival, Entry, EntryKey, Flag, ROWS, State};
use super::row::Row;
use super::{Action, NotTaken, Queue};
use crate::settings::OnFull;
use crate::stock::StockItem;
use crate::store::{Reference, UnixMillis};

impl Queue {
    /// Whether it is at one of its limits: with [`OnFull::Block`], producers are to get no further credit.
    pub fn is_full(&self) -> bool {
        let (messages, bytes) = (self.settings.max_messages, self.settings.max_bytes);
        messages > 0 && self.counts.messages() >= messages || bytes > 0 && self.counts.bytes >= bytes
    }

    /// Takes a message. With [`OnFull::DropOldest`] others may have to go: see `poll_action`. With
    /// [`OnFull::Block`] it is taken whatever the limits.
    ///
    /// # Errors
    /// When it is a duplicate, or finds no room.
    pub fn enqueue(&mut self, now: UnixMillis, arrival: Arrival) -> Result<EntryKey, NotTaken> {
        if !arrival.moved && self.is_duplicate(now, &arrival) {
            self.counters.dropped += 1;
            return Err(NotTaken::Duplicate);
        }
        if !arrival.moved
            && let Err(error) = self.make_room(&arrival)
        {
            self.counters.rejected += 1;
            return Err(error);
        }
        self.counters.enqueued += 1;
        self.watch_idle(now);
        let until = arrival.not_before.unwrap_or_default();
        let state = match arrival.storing {
            true => State::Storing { until },
            false if until > now => State::Delayed { until },
            false => State::Available,
        };
        let mut entry = Entry::new(&arrival, state);
        entry.size = u32::try_from(arrival.body.len()).unwrap_or(u32::MAX);
        if self.settings.groups || self.settings.last_value || self.settings.deduplicate.is_some() {
            self.note_keys(&mut entry, &arrival);
        }
        entry.body = Some(arrival.body);
        entry.own(arrival.owner);
        let key = self.place(entry, state);
        if !matches!(state, State::Storing { .. }) {
            self.arrive(key);
        }
        Ok(key)
    }

    /// Takes a message that the store has kept over a restart, whatever the limits. Its body is not in
    /// memory and not in `arrival`; `size` says how large it is. To be called in the order of the store.
    pub fn restore(
        &mut self,
        now: UnixMillis,
        arrival: &Arrival,
        size: u32,
        reference: Reference,
        delivery_count: u32,
    ) -> EntryKey {
        let until = arrival.not_before.unwrap_or_default();
        let state = if until > now { State::Delayed { until } } else { State::Available };
        let mut entry = Entry::new(arrival, state);
        entry.size = size;
        entry.own(arrival.owner.clone());
        entry.set_reference(reference);
        entry.delivery_count = delivery_count;
        entry.set(Flag::Acquired, delivery_count > 0);
        self.note_keys(&mut entry, arrival);
        if let Some(rare) = &mut entry.rare {
            rare.message_id = None;
        }
        let key = self.place(entry, state);
        if let Some(row) = self.row_mut(key) {
            row.set_cold(key.sequence(), true);
        }
        self.arrive(key);
        key
    }

    /// An entry had been delivered so often before its queue came here.
    pub fn delivered_before(&mut self, key: EntryKey, delivery_count: u32) {
        if let Some(entry) = self.entry_mut(key) {
            entry.delivery_count = delivery_count;
            entry.set(Flag::Acquired, delivery_count > 0);
        }
    }

    /// Consumers wanted this to be added to the annotations of an entry, before a restart.
    pub fn annotate(&mut self, key: EntryKey, annotations: bytes::Bytes) {
        if let Some(entry) = self.entry_mut(key) {
            entry.rare_mut().annotations = Some(annotations);
        }
    }

    /// The store has the message: it may be delivered if it was waiting for that, and its body may be
    /// dropped. False when the entry is gone: then the store needs the message no more.
    pub fn stored(&mut self, now: UnixMillis, key: EntryKey, reference: Reference) -> bool {
        let Some(entry) = self.entry_mut(key) else { return false };
        entry.set_reference(reference);
        if let Some(rare) = &mut entry.rare {
            rare.message_id = None;
        }
        if let State::Storing { until } = entry.state {
            let state = if until > now { State::Delayed { until } } else { State::Available };
            self.set_state(key, state);
            self.arrive(key);
        }
        true
    }

    /// The store does not take the message: an entry that was waiting for it is gone, one that was not
    /// stays in memory. False when nothing is gone.
    pub fn store_failed(&mut self, key: EntryKey) -> bool {
        let Some(entry) = self.entry(key).filter(|entry| entry.is_storing()) else { return false };
        let message_id = entry.rare.as_ref().and_then(|rare| rare.message_id.clone());
        if let Some(keys) = &mut self.keys
            && let Some(message_id) = message_id
        {
            keys.recent.forget(&message_id);
        }
        self.erase(key);
        // What stood behind it may be delivered now.
        if let Some(members) = &mut self.members {
            members.wake(key);
        }
        true
    }

    fn is_duplicate(&mut self, now: UnixMillis, arrival: &Arrival) -> bool {
        let (Some(settings), Some(id)) = (self.settings.deduplicate, &arrival.message_id) else {
            return false;
        };
        self.keys.as_mut().is_some_and(|keys| keys.recent.contains(now, settings, id))
    }

    /// Sees to it that the message is within the limits of the queue, of its tenant and of its owner.
    fn make_room(&mut self, arrival: &Arrival) -> Result<(), NotTaken> {
        self.make_own_room(arrival)?;
        if arrival.let_in {
            return Ok(());
        }
        // The message takes the place of the one with its last-value key.
        let replaced = self.replaced_by(arrival).and_then(|key| self.entry(key));
        let more = |replaced: Option<&Entry>| {
            let (less, fewer) = replaced.map_or((0, 0), |entry| (u64::from(entry.size), 1));
            (1 - fewer, (arrival.body.len() as u64).saturating_sub(less))
        };
        if let Some(owner) = &arrival.owner {
            let own = replaced.filter(|entry| entry.owner() == Some(owner.owner()));
            let (messages, bytes) = more(own);
            owner.check(messages, bytes)?;
        }
        let (messages, bytes) = more(replaced);
        Ok(self.check_stock(messages, bytes)?)
    }

    /// Sees to it that the message is within the limits of the queue.
    fn make_own_room(&mut self, arrival: &Arrival) -> Result<(), NotTaken> {
        let (max_messages, max_bytes) = (self.settings.max_messages, self.settings.max_bytes);
        if max_messages == 0 && max_bytes == 0 || self.settings.on_full == OnFull::Block {
            return Ok(());
        }
        let size = arrival.body.len() as u64;
        loop {
            // The message takes the place of the one with its last-value key.
            let replaced = self.replaced_by(arrival).and_then(|key| self.entry(key));
            let (less, fewer) = replaced.map_or((0, 0), |entry| (u64::from(entry.size), 1));
            let messages = self.counts.messages() + 1 - fewer;
            let bytes = self.counts.bytes + size - less;
            let error = if max_messages > 0 && messages > max_messages {
                NotTaken::TooManyMessages { limit: max_messages }
            } else if max_bytes > 0 && bytes > max_bytes {
                NotTaken::TooManyBytes { limit: max_bytes }
            } else {
                return Ok(());
            };
            let too_large = max_bytes > 0 && size > max_bytes;
            if self.settings.on_full != OnFull::DropOldest || too_large {
                return Err(error);
            }
            let Some(oldest) = self.oldest_available() else { return Err(error) };
            self.drop_entry(oldest);
        }
    }

    /// The entry in whose place this message would come at once.
    fn replaced_by(&self, arrival: &Arrival) -> Option<EntryKey> {
        if !self.settings.last_value || arrival.storing {
            return None;
        }
        let key = *self.keys.as_ref()?.last_values.get(arrival.last_value.as_ref()?)?;
        let state = self.entry(key)?.state;
        matches!(state, State::Available | State::Delayed { .. }).then_some(key)
    }

    /// The entry that came first of those that wait for a consumer; of equals, the one with the lowest
    /// priority.
    fn oldest_available(&mut self) -> Option<EntryKey> {
        let mut oldest = None;
        for (index, row) in self.rows.iter_mut().enumerate().rev() {
            let Some(row) = row else { continue };
            let Some(sequence) = row.first_open() else { continue };
            let Some(arrived) = row.get(sequence).map(|entry| entry.arrived) else { continue };
            if oldest.is_none_or(|(other, _)| arrived < other) {
                oldest = Some((arrived, EntryKey::new(index, sequence)));
            }
        }
        oldest.map(|(_, key)| key)
    }

    /// An entry has to go for another one.
    fn drop_entry(&mut self, key: EntryKey) {
        if let Some(removed) = self.erase(key) {
            self.counters.dropped += 1;
            self.actions.push_back(Action::Dropped(removed));
        }
    }

    fn note_keys(&mut self, entry: &mut Entry, arrival: &Arrival) {
        if self.settings.groups
            && let Some(name) = &arrival.group
        {
            entry.group = self.keys.get_or_insert_default().groups.join(name);
        }
        if self.settings.last_value
            && let Some(name) = &arrival.last_value
        {
            // The slice of the message would keep all of it in memory.
            entry.rare_mut().last_value = Some(bytes::Bytes::copy_from_slice(name));
        }
        if let (Some(settings), Some(id)) = (self.settings.deduplicate, &arrival.message_id) {
            let recent = &mut self.keys.get_or_insert_default().recent;
            let id = recent.insert(arrival.arrived, settings, id);
            if arrival.storing && id.is_some() {
                entry.rare_mut().message_id = id;
            }
        }
    }

    /// Puts an entry at the end of its row.
    #[inline]
    fn place(&mut self, entry: Entry, state: State) -> EntryKey {
        let index = ROWS - 1 - usize::from(entry.priority).min(ROWS - 1);
        self.counts.add(state.stage());
        self.counts.bytes += u64::from(entry.size);
        if let Some(holding) = &mut self.holding {
            holding.add(StockItem::Messages, 1);
            holding.add(StockItem::Bytes, u64::from(entry.size));
        }
        self.counts.bytes_in_memory += entry.bytes_in_memory();
        let floor = self.floor;
        let Some(place) = self.rows.get_mut(index) else { return EntryKey::new(index, u64::MAX) };
        let row = place.get_or_insert_with(|| Box::new(Row::new(floor)));
        EntryKey::new(index, row.push(entry))
    }

    /// An entry is the queue's own from now on: consumers may look at it, and it takes the place of the one
    /// with its last-value key.
    fn arrive(&mut self, key: EntryKey) {
        if let Some(members) = &mut self.members {
            members.wake(key);
        }
        if !self.settings.last_value {
            return;
        }
        let name = self.entry(key).and_then(|entry| entry.rare.as_ref()?.last_value.clone());
        let Some(name) = name else { return };
        let before = self.keys.get_or_insert_default().last_values.insert(name, key);
        if let Some(before) = before
            && before != key
            && self
                .entry(before)
                .is_some_and(|entry| matches!(entry.state, State::Available | State::Delayed { .. }))
        {
            self.drop_entry(before);
        }
    }

    /// Whether a later message took the place of the entry.
    pub(super) fn is_superseded(&self, key: EntryKey) -> bool {
        let Some(keys) = &self.keys else { return false };
        let name = self.entry(key).and_then(|entry| entry.rare.as_ref()?.last_value.as_ref());
        name.is_some_and(|name| keys.last_values.get(name) != Some(&key))
    }
}
