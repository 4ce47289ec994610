//! What is known in memory of the whole log: which records still count, and why.
//!
//! Every record does the same here whether it is being written or found by recovery.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::segment::{Place, Segment};
use crate::types::{QueueId, Reference};

/// The files of a log and what of them is alive.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Ascending by id; the last one is written to.
    pub(crate) segments: Vec<Segment>,
    pub(crate) objects: HashMap<Box<[u8]>, Object>,
    /// Queues that hold nothing any more, while files that mention them are there.
    pub(crate) forgotten: HashMap<QueueId, Anchor>,
    /// Commits with records in other files.
    pub(crate) commits: HashMap<u64, Anchor>,
}

/// A record that is needed while one of some other files has the content it has now.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) place: Place,
    pub(crate) others: Vec<u32>,
}

impl Anchor {
    /// One of the others changed. Whether the record is still needed.
    fn release(&mut self, id: u32, dropped: &mut Vec<Place>) -> bool {
        if !self.others.contains(&id) {
            return true;
        }
        self.others.retain(|segment| *segment != id);
        if self.others.is_empty() {
            dropped.push(self.place);
        }
        !self.others.is_empty()
    }
}

/// The last record about an object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) place: Place,
    pub(crate) is_deleted: bool,
    /// The files in which a value of it is the last record about it. A deletion is needed while there is
    /// one; its own file is none, whatever stands before it there.
    pub(crate) values: Vec<u32>,
}

/// A record about an object that was the last one, and counted.
enum LastRecord {
    Value(Place),
    Deletion(Place),
}

impl Object {
    /// Another record is the last one. Returns the one before.
    fn change(&mut self, place: Place, is_deleted: bool) -> LastRecord {
        // One that is deleted and remembered is needed.
        let before = match self.is_deleted {
            true => LastRecord::Deletion(self.place),
            false => LastRecord::Value(self.place),
        };
        if is_deleted {
            self.values.retain(|segment| *segment != place.segment);
        } else if !self.values.contains(&place.segment) {
            self.values.push(place.segment);
        }
        self.place = place;
        self.is_deleted = is_deleted;
        before
    }

    pub(crate) fn is_needed(&self) -> bool {
        !self.is_deleted || !self.values.is_empty()
    }
}

impl Index {
    /// Takes a segment out, or puts another in its place. The records about to go are no longer needed by
    /// others, and others no longer for their sake.
    pub(crate) fn replace(&mut self, id: u32, with: Option<Segment>) -> Option<Segment> {
        let position = self.position(id)?;
        match with {
            Some(segment) => self.segments.get_mut(position).map(|place| std::mem::replace(place, segment)),
            None => Some(self.segments.remove(position)),
        }
    }

    /// Settlements of messages in `of` are needed no longer: so many bytes in each segment.
    pub(crate) fn retire_settlements(&mut self, of: u32, retired: &[(u32, u64)]) {
        let mut total = 0;
        for (id, bytes) in retired {
            let Some(segment) = self.segment_mut(*id) else { continue };
            let Some(shadow) = segment.shadows.get_mut(&of) else { continue };
            let bytes = (*bytes).min(*shadow);
            *shadow -= bytes;
            if *shadow == 0 {
                segment.shadows.remove(&of);
            }
            segment.extra = segment.extra.saturating_sub(bytes);
            total += bytes;
        }
        if let Some(segment) = self.segment_mut(of) {
            segment.shadowed = segment.shadowed.saturating_sub(total);
        }
    }

    /// The settlements in `segment` go: the segments of their messages have fewer elsewhere.
    pub(crate) fn drop_shadows(&mut self, shadows: &BTreeMap<u32, u64>) {
        for (of, bytes) in shadows {
            if let Some(segment) = self.segment_mut(*of) {
                segment.shadowed = segment.shadowed.saturating_sub(*bytes);
            }
        }
    }

    /// A segment was rewritten or removed. Commits, but for those of `open`, deletions of objects, but for
    /// those of `objects`, and forgotten queues, but for `queues`, need no longer say anything about it.
    pub(crate) fn release_anchors(
        &mut self,
        id: u32,
        open: &HashSet<u64>,
        objects: &HashSet<Box<[u8]>>,
        queues: &[QueueId],
    ) {
        let mut dropped = Vec::new();
        self.commits
            .retain(|transaction, anchor| open.contains(transaction) || anchor.release(id, &mut dropped));
        self.forgotten.retain(|queue, anchor| queues.contains(queue) || anchor.release(id, &mut dropped));
        self.objects.retain(|key, object| {
            if objects.contains(key) || !object.values.contains(&id) {
                return true;
            }
            let was_needed = object.is_deleted && object.is_needed();
            object.values.retain(|segment| *segment != id);
            if was_needed && !object.is_needed() {
                dropped.push(object.place);
            }
            !object.is_deleted || !object.values.is_empty()
        });
        for place in dropped {
            self.drop_extra(place);
        }
    }

    pub(crate) fn segment(&self, id: u32) -> Option<&Segment> {
        match self.segments.last() {
            Some(last) if last.id == id => Some(last),
            _ => self.segments.get(self.position(id)?),
        }
    }

    pub(crate) fn segment_mut(&mut self, id: u32) -> Option<&mut Segment> {
        let position = match self.segments.last() {
            Some(last) if last.id == id => self.segments.len() - 1,
            _ => self.position(id)?,
        };
        self.segments.get_mut(position)
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.segments.binary_search_by_key(&id, |segment| segment.id).ok()
    }

    /// Bytes of live messages and objects.
    pub(crate) fn live(&self) -> u64 {
        self.segments.iter().map(|segment| segment.live).sum()
    }

    /// Whether `queue` holds the message.
    pub(crate) fn holds(&self, queue: QueueId, reference: Reference) -> bool {
        let segment = self.segment(reference.segment());
        segment.is_some_and(|segment| {
            segment.entry(reference.index()).is_some_and(|entry| segment.holds(queue, entry))
        })
    }

    /// Whether the message is in the file and durable, dead or alive.
    pub(crate) fn is_present(&self, reference: Reference) -> bool {
        let segment = self.segment(reference.segment());
        segment.and_then(|segment| segment.entry(reference.index())).is_some_and(|entry| entry.is_durable())
    }

    /// Whether a settlement of the message by `queue` says something to recovery.
    pub(crate) fn needs_settlement(&self, queue: QueueId, reference: Reference) -> bool {
        let Some(segment) = self.segment(reference.segment()) else { return false };
        segment.entry(reference.index()).is_some_and(|entry| {
            entry.is_durable() && segment.may_name(queue, entry) && !segment.holds(queue, entry)
        })
    }

    /// A settlement takes effect.
    pub(crate) fn settle(&mut self, queue: QueueId, reference: Reference) {
        let Some(segment) = self.segment_mut(reference.segment()) else { return };
        if segment.settle(queue, reference.index())
            && let Some(update) = segment.updates.remove(&(reference.index(), queue))
        {
            self.drop_live(update);
        }
    }

    /// A message was never there: its transaction was not committed.
    pub(crate) fn drop_message(&mut self, reference: Reference) {
        let mut queues = Vec::new();
        if let Some(segment) = self.segment(reference.segment())
            && let Some(entry) = segment.entry(reference.index())
        {
            segment.holders(entry, &mut queues);
        }
        for queue in queues {
            self.settle(queue, reference);
        }
    }

    /// A record of a settlement is in `segment`, whether it has taken effect or waits for a commit.
    pub(crate) fn count_settlement(&mut self, segment: u32, length: u32, reference: Reference) {
        let of = reference.segment();
        if of == segment || !self.is_present(reference) {
            return;
        }
        if let Some(segment) = self.segment_mut(segment) {
            segment.extra += u64::from(length);
            *segment.shadows.entry(of).or_default() += u64::from(length);
        }
        if let Some(segment) = self.segment_mut(of) {
            segment.shadowed += u64::from(length);
        }
    }

    /// The last update of a message is at `place`.
    pub(crate) fn update(&mut self, queue: QueueId, reference: Reference, place: Place) {
        if !self.holds(queue, reference) {
            return;
        }
        let Some(segment) = self.segment_mut(reference.segment()) else { return };
        if let Some(before) = segment.updates.insert((reference.index(), queue), place) {
            self.drop_live(before);
        }
        self.add_live(place);
    }

    /// The files that mention a queue.
    pub(crate) fn mentions(&self, queue: QueueId) -> Vec<u32> {
        self.segments.iter().filter(|segment| segment.mentions(queue)).map(|segment| segment.id).collect()
    }

    /// A queue holds nothing any more, as the record at `place` says. How many messages it held.
    pub(crate) fn forget(&mut self, queue: QueueId, place: Place) -> u64 {
        let mut others = self.mentions(queue);
        others.retain(|segment| *segment != place.segment);
        if !others.is_empty() {
            self.add_extra(place);
            if let Some(before) = self.forgotten.insert(queue, Anchor { place, others }) {
                self.drop_extra(before.place);
            }
        }
        self.drop_queues(|other| other == queue)
    }

    /// Drops what some queues hold. How many messages that were.
    pub(crate) fn drop_queues(&mut self, mut is_dropped: impl FnMut(QueueId) -> bool) -> u64 {
        let mut dropped = 0;
        let mut updates = Vec::new();
        for segment in &mut self.segments {
            dropped += segment.drop_queues(&mut is_dropped);
            segment.updates.retain(|(_, queue), update| {
                let is_kept = !is_dropped(*queue);
                updates.extend((!is_kept).then_some(*update));
                is_kept
            });
        }
        for update in updates {
            self.drop_live(update);
        }
        dropped
    }

    /// An object has the value at `place`.
    pub(crate) fn put(&mut self, key: &[u8], place: Place) {
        let before = match self.objects.get_mut(key) {
            Some(object) => Some(object.change(place, false)),
            None => {
                let object = Object { place, is_deleted: false, values: vec![place.segment] };
                self.objects.insert(key.into(), object);
                None
            }
        };
        self.drop_record(before);
        self.add_live(place);
    }

    /// An object is gone, as the record at `place` says.
    pub(crate) fn delete(&mut self, key: &[u8], place: Place) {
        let Some(object) = self.objects.get_mut(key) else { return };
        let before = object.change(place, true);
        let is_needed = object.is_needed();
        if !is_needed {
            self.objects.remove(key);
        }
        self.drop_record(Some(before));
        if is_needed {
            self.add_extra(place);
        }
    }

    /// What was the last record about an object is it no more.
    fn drop_record(&mut self, before: Option<LastRecord>) {
        match before {
            Some(LastRecord::Value(place)) => self.drop_live(place),
            Some(LastRecord::Deletion(place)) => self.drop_extra(place),
            None => {}
        }
    }

    /// Whether there is an object with that key.
    pub(crate) fn has_object(&self, key: &[u8]) -> bool {
        self.objects.get(key).is_some_and(|object| !object.is_deleted)
    }

    /// A transaction with records in `segments` is committed, as the record at `place` says.
    pub(crate) fn commit(&mut self, transaction: u64, place: Place, segments: &[u32]) {
        let is_other = |segment: &u32| *segment != place.segment && self.segment(*segment).is_some();
        let others: Vec<u32> = segments.iter().copied().filter(is_other).collect();
        if !others.is_empty() {
            self.add_extra(place);
            self.commits.insert(transaction, Anchor { place, others });
        }
    }

    pub(crate) fn add_live(&mut self, place: Place) {
        if let Some(segment) = self.segment_mut(place.segment) {
            segment.live += u64::from(place.length);
        }
    }

    fn drop_live(&mut self, place: Place) {
        if let Some(segment) = self.segment_mut(place.segment) {
            segment.live = segment.live.saturating_sub(u64::from(place.length));
        }
    }

    pub(crate) fn add_extra(&mut self, place: Place) {
        if let Some(segment) = self.segment_mut(place.segment) {
            segment.extra += u64::from(place.length);
        }
    }

    fn drop_extra(&mut self, place: Place) {
        if let Some(segment) = self.segment_mut(place.segment) {
            segment.extra = segment.extra.saturating_sub(u64::from(place.length));
        }
    }
}
