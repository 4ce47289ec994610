//! What a queue goes by besides priority and order: message groups, last values and message ids.
//!
//! All of it is bounded: by the messages that the queue holds, by the number of ids in its settings, and
//! for groups of which it holds no message by `MAX_IDLE_GROUPS`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::entry::{Entry, EntryKey};
use super::member::MemberKey;
use crate::settings::Deduplicate;
use crate::store::UnixMillis;

/// Bytes of a message id that is looked for, and of the part of a group's name that counts.
pub(super) const MAX_KEY_BYTES: usize = 1_024;
/// Groups of which the queue holds no message and of which it still knows the consumer.
pub(super) const MAX_IDLE_GROUPS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) groups: Groups,
    /// The newest entry of each last-value key.
    pub(super) last_values: BTreeMap<Bytes, EntryKey>,
    pub(super) recent: Recent,
}

impl Keys {
    /// An entry is gone.
    pub(super) fn forget_entry(&mut self, key: EntryKey, entry: &Entry) {
        if entry.group != 0 {
            self.groups.leave(entry.group);
        }
        if let Some(name) = entry.rare.as_ref().and_then(|rare| rare.last_value.as_ref())
            && self.last_values.get(name) == Some(&key)
        {
            self.last_values.remove(name);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.len() == 0 && self.last_values.is_empty() && self.recent.order.is_empty()
    }
}

/// Which consumer has which group of messages.
///
/// A group stays with the consumer that got its first message until that leaves, even while there are
/// none of its messages, as far as the queue can keep that in mind.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<Bytes, u32>,
    groups: Vec<Group>,
    free: Vec<u32>,
    /// Groups without entries, the longest idle first, and some that have entries again.
    idle: VecDeque<u32>,
}

#[derive(Debug, Default)]
struct Group {
    name: Bytes,
    consumer: Option<MemberKey>,
    entries: u64,
    is_in_idle: bool,
}

impl Groups {
    /// The number of a group to which one more entry belongs; never 0.
    pub(super) fn join(&mut self, name: &Bytes) -> u32 {
        let name = name.get(..MAX_KEY_BYTES).unwrap_or(name);
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None => self.add(name),
        };
        if let Some(group) = self.group_mut(number) {
            group.entries += 1;
        }
        number
    }

    fn add(&mut self, name: &[u8]) -> u32 {
        // The slice of the message would keep all of it in memory.
        let name = Bytes::copy_from_slice(name);
        let group = Group { name: name.clone(), ..Group::default() };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.group_mut(number) {
                    *place = group;
                }
                number
            }
            None => {
                self.groups.push(group);
                self.groups.len() as u32
            }
        };
        self.by_name.insert(name, number);
        number
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get((number as usize).checked_sub(1)?)
    }

    fn group_mut(&mut self, number: u32) -> Option<&mut Group> {
        self.groups.get_mut((number as usize).checked_sub(1)?)
    }

    /// An entry of the group is gone.
    pub(super) fn leave(&mut self, number: u32) {
        let Some(group) = self.group_mut(number) else { return };
        group.entries -= 1;
        if group.entries > 0 {
            return;
        }
        if group.consumer.is_none() {
            return self.forget_if_unused(number);
        }
        if !std::mem::replace(&mut group.is_in_idle, true) {
            self.idle.push_back(number);
        }
        if self.idle.len() > MAX_IDLE_GROUPS
            && let Some(number) = self.idle.pop_front()
        {
            if let Some(group) = self.group_mut(number) {
                group.is_in_idle = false;
            }
            self.forget_if_unused(number);
        }
    }

    fn forget_if_unused(&mut self, number: u32) {
        let Some(group) = self.group_mut(number) else { return };
        if group.entries > 0 || group.is_in_idle {
            return;
        }
        let name = std::mem::take(group).name;
        self.by_name.remove(&name);
        self.free.push(number);
    }

    /// The consumer that has the group.
    pub(super) fn consumer(&self, number: u32) -> Option<MemberKey> {
        self.group(number)?.consumer
    }

    pub(super) fn set_consumer(&mut self, number: u32, consumer: Option<MemberKey>) {
        if let Some(group) = self.group_mut(number) {
            group.consumer = consumer;
        }
    }

    /// Takes all groups from a consumer that leaves; says whether it had any.
    pub(super) fn release(&mut self, consumer: MemberKey) -> bool {
        let mut had_any = false;
        for group in self.groups.iter_mut().filter(|group| group.consumer == Some(consumer)) {
            had_any = true;
            group.consumer = None;
        }
        if had_any {
            let groups = &mut self.groups;
            self.idle.retain(|number| {
                let group = groups.get_mut(*number as usize - 1);
                group.is_some_and(|group| {
                    group.is_in_idle = group.consumer.is_some();
                    group.is_in_idle
                })
            });
            let unused: Vec<u32> = self.by_name.values().copied().collect();
            unused.into_iter().for_each(|number| self.forget_if_unused(number));
        }
        had_any
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// The ids of the messages of the last while.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When each id came, as a serial number of `order`.
    ids: BTreeMap<Arc<[u8]>, u64>,
    order: VecDeque<(UnixMillis, Arc<[u8]>)>,
    /// The serial number of the first of `order`.
    first: u64,
}

impl Recent {
    /// Whether the id came within the window.
    pub(super) fn contains(&mut self, now: UnixMillis, settings: Deduplicate, id: &[u8]) -> bool {
        self.forget_old(now, settings);
        self.ids.contains_key(id)
    }

    /// Keeps an id in mind; gives what `forget` needs.
    pub(super) fn insert(&mut self, at: UnixMillis, settings: Deduplicate, id: &[u8]) -> Option<Arc<[u8]>> {
        if id.len() > MAX_KEY_BYTES || settings.max_ids == 0 {
            return None;
        }
        let id: Arc<[u8]> = id.into();
        self.ids.insert(id.clone(), self.first + self.order.len() as u64);
        self.order.push_back((at, id.clone()));
        while self.order.len() > settings.max_ids as usize {
            self.forget_first();
        }
        Some(id)
    }

    /// A message was not kept after all.
    pub(super) fn forget(&mut self, id: &[u8]) {
        self.ids.remove(id);
    }

    fn forget_old(&mut self, now: UnixMillis, settings: Deduplicate) {
        let window = u64::try_from(settings.window.as_millis()).unwrap_or(u64::MAX);
        while let Some((at, _)) = self.order.front()
            && at.0.saturating_add(window) <= now.0
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, id)) = self.order.pop_front() else { return };
        if self.ids.get(&id) == Some(&self.first) {
            self.ids.remove(&id);
        }
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_are_forgotten_after_the_window_and_beyond_the_number() {
        let settings = Deduplicate { window: Duration::from_secs(1), max_ids: 2 };
        let mut recent = Recent::default();
        recent.insert(UnixMillis(0), settings, b"a");
        recent.insert(UnixMillis(10), settings, b"b");
        assert!(recent.contains(UnixMillis(999), settings, b"a"));
        assert!(!recent.contains(UnixMillis(1_000), settings, b"a"));
        recent.insert(UnixMillis(1_000), settings, b"c");
        recent.insert(UnixMillis(1_000), settings, b"d");
        assert!(!recent.contains(UnixMillis(1_000), settings, b"b"), "only two are kept");
        assert!(recent.contains(UnixMillis(1_000), settings, b"c"));
        recent.forget(b"c");
        assert!(!recent.contains(UnixMillis(1_000), settings, b"c"));
        assert!(recent.insert(UnixMillis(0), settings, &[7; MAX_KEY_BYTES + 1]).is_none());
    }

    #[test]
    fn an_id_that_came_again_is_kept_as_long_as_the_later_one() {
        let settings = Deduplicate { window: Duration::from_secs(1), max_ids: 9 };
        let mut recent = Recent::default();
        recent.insert(UnixMillis(0), settings, b"a");
        recent.forget(b"a");
        recent.insert(UnixMillis(500), settings, b"a");
        assert!(recent.contains(UnixMillis(1_400), settings, b"a"));
        assert!(!recent.contains(UnixMillis(1_500), settings, b"a"));
    }

    #[test]
    fn groups_without_messages_are_bounded() {
        let mut members = super::super::member::Members::default();
        let member = super::super::member::Member::new(Default::default(), true);
        let key = members.insert(member, std::num::NonZeroU32::MIN);
        let mut groups = Groups::default();
        for name in 0..3 * MAX_IDLE_GROUPS as u32 {
            let number = groups.join(&Bytes::copy_from_slice(&name.to_be_bytes()));
            groups.set_consumer(number, Some(key));
            groups.leave(number);
            assert!(groups.len() <= MAX_IDLE_GROUPS + 1);
        }
        assert!(groups.groups.len() <= MAX_IDLE_GROUPS + 1);
        assert!(groups.release(key));
        assert_eq!(groups.len(), 0);
    }
}
