//! The names of addresses in the store of this node, which other nodes neither give nor know.
//!
//! An address gets one when this node becomes its home, and keeps it when another node does: the store may
//! hold something under it. One that begins anew gets a new one.

use std::collections::BTreeMap;

use mq_mesh::replica::{Key, Record, Version};
use mq_model::manifest::AddressType;

use super::super::address_of;
use super::super::record::Change;
use super::super::value::{ADDRESS, Value};
use super::{Writer, names_from, topic_of};

/// The ids of addresses in the store of this node.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) last: u64,
    /// Those given to changes of this node that are not in the journal yet, by the clock of the change.
    pub(super) given: BTreeMap<u64, u64>,
}

impl Ids {
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Writer {
    /// The records as the journal is to have them: with the ids of addresses in the store of this node.
    pub(super) fn with_ids(&mut self, records: Vec<Record>) -> Vec<Change> {
        let mut latest: BTreeMap<Key, Latest> = BTreeMap::new();
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            let is_own = record.version.origin == self.replica.local();
            let given = self.ids.given.remove(&record.version.clock).filter(|_| is_own);
            let value = address_of(&record);
            let known = self.known_id(&record.key, latest.get(&record.key));
            let id = given.unwrap_or_else(|| id_that_stays(known, value.as_ref(), record.value.is_some()));
            if latest.get(&record.key).is_none_or(|latest| latest.version < record.version) {
                let latest_value = Latest { version: record.version, value, id };
                latest.insert(record.key.clone(), latest_value);
            }
            changes.push(Change::Set { record, id });
        }
        self.give_ids(&latest, &mut changes);
        changes
    }

    /// The address that an id stands for, as it was before a record.
    fn known_id(&self, key: &Key, latest: Option<&Latest>) -> Option<(Option<Value>, u64)> {
        if let Some(latest) = latest {
            return Some((latest.value.clone(), latest.id));
        }
        let kept = self.journal.as_ref()?.kept(key).filter(|kept| kept.record.value.is_some())?;
        Some((address_of(&kept.record), kept.id))
    }

    /// Gives an id to what is kept here from now on, also to subscriptions that have come with their topic.
    fn give_ids(&mut self, latest: &BTreeMap<Key, Latest>, changes: &mut Vec<Change>) {
        let topic_is_here = |name: &str| {
            let key = Key::new(ADDRESS, topic_of(name));
            match latest.get(&key) {
                Some(latest) => latest
                    .value
                    .as_ref()
                    .is_some_and(|topic| self.is_kept_here(&topic.spec, topic.home.as_ref())),
                None => self
                    .declared
                    .get(topic_of(name))
                    .is_some_and(|topic| self.is_kept_here(&topic.spec, topic.home.as_ref())),
            }
        };
        let is_here = |key: &Key, value: &Value| match value.spec.kind {
            AddressType::Subscription => topic_is_here(&key.name),
            _ => self.is_kept_here(&value.spec, value.home.as_ref()),
        };
        let lacks_one = |(key, latest): (&Key, &Latest)| {
            let value = latest.value.as_ref().filter(|value| latest.id == 0 && value.birth.clock != 0)?;
            is_here(key, value).then(|| (key.clone(), latest.version))
        };
        let lacking: BTreeMap<Key, Version> = latest.iter().filter_map(lacks_one).collect();
        let topics = latest.iter().filter(|(key, latest)| {
            latest
                .value
                .as_ref()
                .is_some_and(|value| value.spec.kind == AddressType::Topic && is_here(key, value))
        });
        let mut others = Vec::new();
        for (topic, _) in topics {
            for name in names_from(&self.declared, &format!("{}::", topic.name)) {
                let key = Key::new(ADDRESS, name.clone());
                let kept = self.journal.as_ref().and_then(|journal| journal.kept(&key));
                let kept = kept.filter(|kept| kept.id == 0 && kept.record.value.is_some());
                others.extend(kept.filter(|_| !latest.contains_key(&key)).map(|kept| kept.record.clone()));
            }
        }
        for change in changes.iter_mut() {
            if let Change::Set { record, id } = change
                && lacking.get(&record.key) == Some(&record.version)
            {
                *id = self.ids.next();
            }
        }
        changes.extend(others.into_iter().map(|record| Change::Set { record, id: self.ids.next() }));
    }
}

/// The last record of an object in a batch.
struct Latest {
    version: Version,
    value: Option<Value>,
    id: u64,
}

/// The id that an address goes on under; 0 when it has none, or begins anew.
fn id_that_stays(known: Option<(Option<Value>, u64)>, value: Option<&Value>, is_put: bool) -> u64 {
    match (known, value) {
        (Some((Some(known), id)), Some(value))
            if known.spec.kind == value.spec.kind && value.continues(known.birth) =>
        {
            id
        }
        // What cannot be read is taken for the same.
        (Some((None, id)), _) | (Some((Some(_), id)), None) if is_put => id,
        _ => 0,
    }
}
