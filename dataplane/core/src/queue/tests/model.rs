//! A queue as simple as can be: a list of messages, looked through from the start for everything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::format::DeadLetterReason;
use crate::queue::entry::State;
use crate::queue::*;
use crate::settings::{OnFull, QueueSettings};
use crate::store::UnixMillis;

/// A message of the model.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) key: EntryKey,
    pub(super) body: Bytes,
    pub(super) arrived: UnixMillis,
    pub(super) expires: Option<UnixMillis>,
    pub(super) group: Option<Bytes>,
    pub(super) last_value: Option<Bytes>,
    pub(super) message_id: Option<Bytes>,
    pub(super) state: State,
    pub(super) count: u32,
    pub(super) was_acquired: bool,
    /// It was not available all the time since it came.
    pub(super) came_back: bool,
    pub(super) refused: BTreeSet<MemberKey>,
    pub(super) reference: Option<u64>,
    pub(super) is_loading: bool,
}

/// A consumer of the model.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) key: MemberKey,
    pub(super) filter: Option<u8>,
    pub(super) browse: bool,
    pub(super) exclusive: bool,
    pub(super) credit: u32,
    pub(super) held: bool,
    pub(super) draining: bool,
    /// It has refused something.
    pub(super) has_refused: bool,
    /// What a browser has been shown.
    pub(super) shown: BTreeSet<EntryKey>,
}

pub(super) struct Model {
    pub(super) settings: QueueSettings,
    pub(super) now: UnixMillis,
    pub(super) items: Vec<Item>,
    /// In the order in which they came.
    pub(super) consumers: Vec<Consumer>,
    pub(super) groups: BTreeMap<Bytes, MemberKey>,
    pub(super) last_values: BTreeMap<Bytes, EntryKey>,
    /// Ids of messages that could not be stored are `None`.
    pub(super) ids: Vec<(UnixMillis, Option<Bytes>)>,
    /// What the queue is to ask for, but for what expires.
    pub(super) expected: Vec<Expected>,
}

/// An action without what only the queue knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Leave(EntryKey, DeadLetterReason),
    Dropped(EntryKey),
    Changed(EntryKey),
}

impl Item {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Available | State::Delayed { .. })
    }

    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Model {
    pub(super) fn new(settings: QueueSettings, now: UnixMillis) -> Self {
        Self {
            settings,
            now,
            items: Vec::new(),
            consumers: Vec::new(),
            groups: BTreeMap::new(),
            last_values: BTreeMap::new(),
            ids: Vec::new(),
            expected: Vec::new(),
        }
    }

    pub(super) fn item(&self, key: EntryKey) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    pub(super) fn item_mut(&mut self, key: EntryKey) -> &mut Item {
        self.items.iter_mut().find(|item| item.key == key).expect("the model has it")
    }

    pub(super) fn consumer_mut(&mut self, key: MemberKey) -> &mut Consumer {
        self.consumers.iter_mut().find(|consumer| consumer.key == key).expect("the model has it")
    }

    fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.body.len() as u64).sum()
    }

    /// Whether the message is taken; what has to go for it is gone then.
    pub(super) fn admit(&mut self, arrival: &Arrival) -> Result<(), NotTaken> {
        if let (Some(settings), Some(id)) = (self.settings.deduplicate, &arrival.message_id) {
            let window = settings.window.as_millis() as u64;
            let recent = self.ids.iter().rev().take(settings.max_ids as usize);
            let mut live = recent.filter(|(at, _)| at.0 + window > self.now.0);
            if live.any(|(_, other)| other.as_ref() == Some(id)) {
                return Err(NotTaken::Duplicate);
            }
        }
        if self.settings.on_full == OnFull::Block {
            return Ok(());
        }
        loop {
            let replaced = self.replaced_by(arrival).map_or((0, 0), |item| (1, item.body.len() as u64));
            let messages = self.items.len() as u64 + 1 - replaced.0;
            let bytes = self.bytes() + arrival.body.len() as u64 - replaced.1;
            let (max_messages, max_bytes) = (self.settings.max_messages, self.settings.max_bytes);
            let error = if max_messages > 0 && messages > max_messages {
                NotTaken::TooManyMessages { limit: max_messages }
            } else if max_bytes > 0 && bytes > max_bytes {
                NotTaken::TooManyBytes { limit: max_bytes }
            } else {
                return Ok(());
            };
            let fits_alone = max_bytes == 0 || arrival.body.len() as u64 <= max_bytes;
            if self.settings.on_full != OnFull::DropOldest || !fits_alone {
                return Err(error);
            }
            // The oldest is the first of some row: within a row they are in order.
            let firsts = (0..10).filter_map(|row| {
                let mut of_row = self.items.iter().filter(|item| item.key.row() == row);
                let first = of_row.find(|item| item.state == State::Available)?;
                (first.key < self.frontier(row)).then_some(first)
            });
            let oldest = firsts.min_by_key(|item| (item.arrived, std::cmp::Reverse(item.key.row())));
            let Some(key) = oldest.map(|item| item.key) else { return Err(error) };
            self.erase(key);
            self.expected.push(Expected::Dropped(key));
        }
    }

    fn replaced_by(&self, arrival: &Arrival) -> Option<&Item> {
        if !self.settings.last_value || arrival.storing {
            return None;
        }
        let key = self.last_values.get(arrival.last_value.as_ref()?)?;
        self.item(*key).filter(|item| item.is_waiting())
    }

    pub(super) fn add(&mut self, key: EntryKey, arrival: &Arrival, body: Bytes) {
        let until = arrival.not_before.unwrap_or_default();
        let state = if arrival.storing {
            State::Storing { until }
        } else if until > self.now {
            State::Delayed { until }
        } else {
            State::Available
        };
        assert!(self.items.iter().all(|item| item.key.row() != key.row() || item.key < key));
        if let (Some(_), Some(id)) = (self.settings.deduplicate, &arrival.message_id) {
            self.ids.push((arrival.arrived, Some(id.clone())));
        }
        let item = Item {
            key,
            body,
            arrived: arrival.arrived,
            expires: arrival.expires,
            group: arrival.group.clone().filter(|_| self.settings.groups),
            last_value: arrival.last_value.clone().filter(|_| self.settings.last_value),
            message_id: arrival.message_id.clone().filter(|_| self.settings.deduplicate.is_some()),
            state,
            count: 0,
            was_acquired: false,
            came_back: state != State::Available,
            refused: BTreeSet::new(),
            reference: None,
            is_loading: false,
        };
        let place = self.items.partition_point(|item| item.key < key);
        self.items.insert(place, item);
        if !arrival.storing {
            self.arrive(key);
        }
    }

    /// The message takes the place of the one with its last-value key.
    pub(super) fn arrive(&mut self, key: EntryKey) {
        let Some(name) = self.item_mut(key).last_value.clone() else { return };
        let before = self.last_values.insert(name, key);
        if let Some(before) = before
            && self.item(before).is_some_and(Item::is_waiting)
        {
            self.erase(before);
            self.expected.push(Expected::Dropped(before));
        }
    }

    pub(super) fn erase(&mut self, key: EntryKey) -> Item {
        let place = self.items.iter().position(|item| item.key == key).expect("the model has it");
        let item = self.items.remove(place);
        self.last_values.retain(|_, newest| *newest != key);
        item
    }

    /// Nothing of the row is handed out from there on.
    fn frontier(&self, row: usize) -> EntryKey {
        let mut storing = self.items.iter().filter(|item| matches!(item.state, State::Storing { .. }));
        let first = storing.find(|item| item.key.row() == row);
        first.map_or_else(|| EntryKey::new(row + 1, 0), |item| item.key)
    }

    pub(super) fn is_standby(&self, consumer: &Consumer) -> bool {
        let first = self.consumers.iter().find(|consumer| !consumer.browse);
        self.settings.exclusive && !consumer.browse && first.is_some_and(|first| first.key != consumer.key)
    }

    pub(super) fn is_ready(&self, consumer: &Consumer) -> bool {
        consumer.credit > 0 && !consumer.held && !self.is_standby(consumer)
    }

    pub(super) fn is_plain(&self, consumer: &Consumer) -> bool {
        let has_filter = consumer.filter.is_some() || consumer.browse;
        !has_filter && !consumer.has_refused && !self.settings.groups
    }

    pub(super) fn outstanding(&self, consumer: MemberKey) -> usize {
        self.items.iter().filter(|item| item.state == State::Acquired { consumer }).count()
    }

    /// What the consumer may have, in order, whether or not it is in memory.
    pub(super) fn eligible(&self, consumer: &Consumer) -> impl Iterator<Item = &Item> {
        let frontiers: Vec<EntryKey> = (0..10).map(|row| self.frontier(row)).collect();
        self.items.iter().filter(move |item| {
            let is_open = item.state == State::Available && item.key < frontiers[item.key.row()];
            let matches = consumer.filter.is_none_or(|first| item.body.first() == Some(&first));
            let may_have = if consumer.browse {
                !consumer.shown.contains(&item.key)
            } else {
                let owner = item.group.as_ref().and_then(|group| self.groups.get(group));
                !item.refused.contains(&consumer.key) && owner.is_none_or(|owner| *owner == consumer.key)
            };
            is_open && !item.is_over(self.now) && matches && may_have
        })
    }

    pub(super) fn acquire(&mut self, consumer: MemberKey, key: EntryKey) {
        let item = self.item_mut(key);
        item.state = State::Acquired { consumer };
        item.was_acquired = true;
        if let Some(group) = item.group.clone() {
            self.groups.insert(group, consumer);
        }
    }

    pub(super) fn settle(
        &mut self,
        consumer: MemberKey,
        key: EntryKey,
        settlement: &Settlement,
    ) -> Expectation {
        if self.item(key).is_none_or(|item| item.state != State::Acquired { consumer }) {
            return Expectation::Unknown;
        }
        match settlement {
            Settlement::Accepted => {
                self.erase(key);
                Expectation::Removed
            }
            Settlement::Released => self.come_back(key, None, false),
            Settlement::Rejected => self.leave(key, DeadLetterReason::Rejected),
            Settlement::Modified { failed, undeliverable_here, annotations } => {
                if *undeliverable_here {
                    self.consumer_mut(consumer).has_refused = true;
                    let item = self.item_mut(key);
                    item.refused.insert(consumer);
                    if let Some(group) = item.group.clone()
                        && self.groups.get(&group) == Some(&consumer)
                    {
                        self.groups.remove(&group);
                    }
                }
                if *failed { self.fail(key) } else { self.come_back(key, None, annotations.is_some()) }
            }
        }
    }

    fn leave(&mut self, key: EntryKey, reason: DeadLetterReason) -> Expectation {
        self.item_mut(key).state = State::Leaving;
        Expectation::Leaving(reason)
    }

    fn fail(&mut self, key: EntryKey) -> Expectation {
        let item = self.item_mut(key);
        item.count += 1;
        let count = item.count;
        if self.settings.max_deliveries > 0 && count >= self.settings.max_deliveries {
            return self.leave(key, DeadLetterReason::MaxDeliveries);
        }
        let max = self.settings.redelivery_delay_max.as_millis() as u64;
        let mut delay = (self.settings.redelivery_delay.as_millis() as u64).min(max);
        for _ in 1..count {
            delay = (delay * u64::from(self.settings.redelivery_multiplier_percent) / 100).min(max);
        }
        self.come_back(key, (delay > 0).then(|| UnixMillis(self.now.0 + delay)), true)
    }

    pub(super) fn come_back(
        &mut self,
        key: EntryKey,
        until: Option<UnixMillis>,
        changed: bool,
    ) -> Expectation {
        let item = self.item(key).expect("the model has it");
        let newest = item.last_value.as_ref().map(|name| self.last_values.get(name));
        if newest.is_some_and(|newest| newest != Some(&key)) {
            self.erase(key);
            return Expectation::Removed;
        }
        if item.is_over(self.now) {
            return self.leave(key, DeadLetterReason::Expired);
        }
        let item = self.item_mut(key);
        item.came_back = true;
        item.state = until.map_or(State::Available, |until| State::Delayed { until });
        Expectation::Returned { changed }
    }

    /// What the queue notes about something that nobody waits for.
    pub(super) fn note(&mut self, key: EntryKey, expectation: Expectation) {
        match expectation {
            Expectation::Removed => self.expected.push(Expected::Dropped(key)),
            // What expires is compared by itself.
            Expectation::Leaving(DeadLetterReason::Expired) => {}
            Expectation::Leaving(reason) => self.expected.push(Expected::Leave(key, reason)),
            Expectation::Returned { changed: true } => self.expected.push(Expected::Changed(key)),
            Expectation::Returned { changed: false } | Expectation::Unknown => {}
        }
    }

    pub(super) fn remove_consumer(&mut self, consumer: MemberKey) {
        self.consumers.retain(|other| other.key != consumer);
        self.groups.retain(|_, owner| *owner != consumer);
        let has: Vec<EntryKey> = self
            .items
            .iter()
            .filter(|item| item.state == State::Acquired { consumer })
            .map(|item| item.key)
            .collect();
        for key in has {
            let expectation = self.fail(key);
            self.note(key, expectation);
        }
    }
}

/// `Settled` without what only the queue knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    Removed,
    Leaving(DeadLetterReason),
    Returned { changed: bool },
    Unknown,
}

impl From<Settled> for Expectation {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Removed(_) => Self::Removed,
            Settled::Leaving(reason) => Self::Leaving(reason),
            Settled::Returned { changed } => Self::Returned { changed },
            Settled::Unknown => Self::Unknown,
        }
    }
}
