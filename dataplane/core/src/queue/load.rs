//! Which bodies are to be loaded: those that consumers will need next.

use bytes::Bytes;

use super::entry::{EntryKey, Flag, State};
use super::member::{Members, Place};
use super::{Load, Queue};

/// Bodies that are loaded ahead at a time.
const MAX_AHEAD: u32 = 1_024;
/// Bodies that are loaded ahead for one consumer that looks for what its filter matches.
const SCAN_AHEAD: usize = 32;

impl Queue {
    /// A body that is to be loaded, because consumers will soon need it. What has been loaded ahead and
    /// not been handed out stays within `max_ahead` bytes, but for what somebody waits for. Each is
    /// answered with `loaded` or `load_failed`.
    pub fn poll_load(&mut self, max_ahead: u64) -> Option<Load> {
        // Taken out for the time being: nothing on the way looks for consumers.
        let mut members = self.members.take()?;
        let load = self.choose_load(&mut members, max_ahead);
        self.members = Some(members);
        load
    }

    fn choose_load(&mut self, members: &mut Members, max_ahead: u64) -> Option<Load> {
        while let Some(key) = members.awaited.pop_front() {
            if let Some(load) = self.start_load(key) {
                return Some(load);
            }
        }
        while let Some(key) = members.wanted.front().copied() {
            if self.is_cold(key) && !self.fits_ahead(key, max_ahead) {
                break;
            }
            members.wanted.pop_front();
            if let Some(load) = self.start_load(key) {
                return Some(load);
            }
        }
        members.first_ready(true, false)?;
        let first = self.first_open()?;
        if self.is_cold(first) {
            return self.start_load(first);
        }
        let next = self.rows.iter().enumerate().find_map(|(index, row)| {
            let sequence = row.as_ref()?.next_cold(0)?;
            Some(EntryKey::new(index, sequence))
        })?;
        if self.fits_ahead(next, max_ahead) { self.start_load(next) } else { None }
    }

    /// Consumers whose awaited entry went elsewhere before it was asked for look again; says whether there
    /// are any.
    pub(super) fn end_vain_waits(&self, members: &mut Members) -> bool {
        let is_needed = |key: &EntryKey| {
            self.is_cold(*key) || self.entry(*key).is_some_and(|entry| entry.is(Flag::Loading))
        };
        let vain: Vec<EntryKey> = members.awaited.iter().filter(|key| !is_needed(key)).copied().collect();
        members.awaited.retain(|key| !vain.contains(key));
        vain.iter().for_each(|vain| members.wake_awaiting(|awaited| awaited == *vain));
        !vain.is_empty()
    }

    fn first_open(&mut self) -> Option<EntryKey> {
        self.rows.iter_mut().enumerate().find_map(|(index, row)| {
            let sequence = row.as_mut()?.first_open()?;
            Some(EntryKey::new(index, sequence))
        })
    }

    /// Whether the body of an available entry has to be loaded and nobody has asked for it.
    fn is_cold(&self, key: EntryKey) -> bool {
        self.entry(key).is_some_and(|entry| {
            entry.state == State::Available && entry.body.is_none() && !entry.is(Flag::Loading)
        })
    }

    fn fits_ahead(&self, key: EntryKey, max_ahead: u64) -> bool {
        let size = self.entry(key).map_or(0, |entry| u64::from(entry.size));
        self.counts.ahead == 0 || self.counts.ahead < MAX_AHEAD && self.counts.ahead_bytes + size <= max_ahead
    }

    fn start_load(&mut self, key: EntryKey) -> Option<Load> {
        if !self.is_cold(key) {
            return None;
        }
        let row = self.rows.get_mut(key.row())?.as_deref_mut()?;
        let entry = row.get_mut(key.sequence())?;
        let reference = entry.reference()?;
        entry.set(Flag::Loading, true);
        entry.set(Flag::Ahead, true);
        self.counts.ahead += 1;
        self.counts.ahead_bytes += u64::from(entry.size);
        let size = entry.size;
        row.set_cold(key.sequence(), false);
        Some(Load { entry: key, reference, size })
    }

    /// The body of an entry is here. False when nobody needs it any more.
    pub fn loaded(&mut self, key: EntryKey, body: Bytes) -> bool {
        if let Some(members) = &mut self.members {
            members.wake_awaiting(|awaited| awaited == key);
        }
        let Some(row) = self.row_mut(key) else { return false };
        let Some(entry) = row.get_mut(key.sequence()) else { return false };
        entry.set(Flag::Loading, false);
        if entry.body.is_some() {
            return false;
        }
        let len = body.len() as u64;
        entry.body = Some(body);
        row.set_cold(key.sequence(), false);
        self.counts.bytes_in_memory += len;
        true
    }

    /// The body of an entry cannot be read: the entry is leaving from now on. False when it was gone or
    /// somebody has it.
    pub fn load_failed(&mut self, key: EntryKey) -> bool {
        if let Some(members) = &mut self.members {
            members.wake_awaiting(|awaited| awaited == key);
        }
        let Some(row) = self.row_mut(key) else { return false };
        let Some(entry) = row.get_mut(key.sequence()).filter(|entry| entry.is(Flag::Loading)) else {
            return false;
        };
        entry.set(Flag::Loading, false);
        row.set_cold(key.sequence(), true);
        let is_waiting = self
            .entry(key)
            .is_some_and(|entry| matches!(entry.state, State::Available | State::Delayed { .. }));
        if is_waiting {
            self.set_state(key, State::Leaving);
        }
        is_waiting
    }

    /// A consumer waits for a body. Those of the entries behind it, which it will look at next, are
    /// wanted too.
    pub(super) fn await_body(&self, members: &mut Members, index: u32, key: EntryKey) {
        if let Some(view) = members.get_mut(index).and_then(|member| member.view.as_mut()) {
            view.awaits = Some(key);
        }
        members.move_to(index, Place::Awaiting);
        members.awaited.push_back(key);
        // What it has passed is not wanted any more.
        members.wanted.retain(|wanted| *wanted > key);
        let Some(row) = self.row(key) else { return };
        let mut from = key.sequence() + 1;
        while members.wanted.len() < SCAN_AHEAD
            && let Some(sequence) = row.next_cold(from)
        {
            members.wanted.push_back(EntryKey::new(key.row(), sequence));
            from = sequence + 1;
        }
    }
}
