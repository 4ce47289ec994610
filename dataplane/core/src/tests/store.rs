//! A store in memory for tests. It carries requests out one at a time, when it is let, and can be made to
//! fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::*;

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) targets: BTreeSet<QueueId>,
    pub(crate) meta: Bytes,
    pub(crate) body: Bytes,
    pub(crate) durable: bool,
    pub(crate) states: BTreeMap<QueueId, Bytes>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    pub(crate) requests: VecDeque<(usize, StoreRequest)>,
    pub(crate) messages: BTreeMap<Reference, Kept>,
    pub(crate) objects: BTreeMap<Bytes, Bytes>,
    /// What belongs to transactions that are neither committed nor rolled back.
    open: BTreeMap<TransactionId, Vec<Change>>,
    next: u64,
    /// Nothing is carried out.
    pub(crate) held: bool,
    /// Nothing that writes succeeds.
    pub(crate) fails: bool,
    pub(crate) cannot_load: bool,
    /// Objects that could not be deleted.
    pub(crate) undeleted: u64,
    pub(crate) loads: u64,
    pub(crate) appends: u64,
}

#[derive(Debug)]
enum Change {
    Append(Reference, Kept),
    Settle(QueueId, Reference),
    /// The value of an object; `None`: it is no more.
    Object(Bytes, Option<Bytes>),
}

impl FakeStore {
    pub(crate) fn ask(&mut self, shard: usize, request: StoreRequest) {
        self.requests.push_back((shard, request));
    }

    /// Carries out the oldest request.
    pub(crate) fn carry_out(&mut self) -> Option<(usize, Option<StoreAnswer>)> {
        let (shard, request) = self.requests.pop_front()?;
        Some((shard, self.answer(request)))
    }

    fn answer(&mut self, request: StoreRequest) -> Option<StoreAnswer> {
        let fails = self.fails;
        self.undeleted += u64::from(fails && matches!(request, StoreRequest::Delete { .. }));
        let failed = |ticket| {
            let error = StoreError { condition: "test:full", description: "the disk is full".into() };
            Some(StoreAnswer::Failed { ticket, error })
        };
        match request {
            StoreRequest::Append { ticket, .. }
            | StoreRequest::Put { ticket, .. }
            | StoreRequest::Delete { ticket, .. }
            | StoreRequest::Commit { ticket, .. }
            | StoreRequest::Settle { ticket: Some(ticket), .. }
                if fails =>
            {
                failed(ticket)
            }
            StoreRequest::Append { ticket, targets, durable, meta, body, transaction } => {
                let set: BTreeSet<QueueId> = targets.as_slice().iter().copied().collect();
                assert_eq!(set.len(), targets.as_slice().len(), "a target stands there twice");
                assert!(!set.is_empty());
                self.next += 1;
                self.appends += 1;
                let reference = Reference(self.next);
                let kept = Kept { targets: set, meta, body, durable, states: BTreeMap::new() };
                match transaction {
                    Some(id) => self.open.entry(id).or_default().push(Change::Append(reference, kept)),
                    None => {
                        self.messages.insert(reference, kept);
                    }
                }
                Some(StoreAnswer::Appended { ticket, reference })
            }
            StoreRequest::Settle { queue, reference, ticket, transaction } => {
                match transaction {
                    Some(id) => self.open.entry(id).or_default().push(Change::Settle(queue, reference)),
                    None => self.settle(queue, reference),
                }
                ticket.map(|ticket| StoreAnswer::Settled { ticket })
            }
            StoreRequest::Update { queue, reference, state } => {
                if let Some(kept) = self.messages.get_mut(&reference) {
                    kept.states.insert(queue, state);
                }
                None
            }
            StoreRequest::Load { ticket, reference } => {
                self.loads += 1;
                match self.messages.get(&reference).filter(|_| !self.cannot_load) {
                    Some(kept) => Some(StoreAnswer::Loaded { ticket, body: kept.body.clone() }),
                    None => failed(ticket),
                }
            }
            StoreRequest::Forget { queue } => {
                for kept in self.messages.values_mut() {
                    kept.targets.remove(&queue);
                }
                self.messages.retain(|_, kept| !kept.targets.is_empty());
                None
            }
            StoreRequest::Put { ticket, key, value, transaction } => {
                self.set_object(transaction, key, Some(value));
                Some(StoreAnswer::Done { ticket })
            }
            StoreRequest::Delete { ticket, key, transaction } => {
                self.set_object(transaction, key, None);
                Some(StoreAnswer::Done { ticket })
            }
            StoreRequest::Commit { ticket, transaction } => {
                for change in self.open.remove(&transaction).unwrap_or_default() {
                    match change {
                        Change::Append(reference, kept) => {
                            self.messages.insert(reference, kept);
                        }
                        Change::Settle(queue, reference) => self.settle(queue, reference),
                        Change::Object(key, value) => self.set_object(None, key, value),
                    }
                }
                Some(StoreAnswer::Done { ticket })
            }
            StoreRequest::Rollback { transaction } => {
                self.open.remove(&transaction);
                None
            }
        }
    }

    fn set_object(&mut self, transaction: Option<TransactionId>, key: Bytes, value: Option<Bytes>) {
        match (transaction, value) {
            (Some(id), value) => self.open.entry(id).or_default().push(Change::Object(key, value)),
            (None, Some(value)) => {
                self.objects.insert(key, value);
            }
            (None, None) => {
                self.objects.remove(&key);
            }
        }
    }

    fn settle(&mut self, queue: QueueId, reference: Reference) {
        let kept = self.messages.get_mut(&reference).expect("a message that is settled is there");
        assert!(kept.targets.remove(&queue), "a message is settled twice");
        if kept.targets.is_empty() {
            self.messages.remove(&reference);
        }
    }

    /// Loses what a crash loses.
    pub(crate) fn crash(&mut self) {
        self.requests.clear();
        self.open.clear();
        self.messages.retain(|_, kept| kept.durable);
    }
}
