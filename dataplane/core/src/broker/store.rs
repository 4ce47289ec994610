//! What follows from the answers of the store.

use std::time::Instant;

use super::{Pending, Source, Stored};
use crate::core::Core;
use crate::key::{HomeKey, PendingKey};
use crate::outcome::Outcome;
use crate::queue::EntryKey;
use crate::settings::ShardId;
use crate::store::{Reference, StoreAnswer, StoreError};

impl Core {
    /// A shard is gone: what is answered from now on is not for it. When it comes back after a restart, its
    /// keys begin anew, and an answer that waited for the store would be taken for one to another message.
    pub(crate) fn sources_lost(&mut self, peer: ShardId) {
        let is_there = |source: &Source| source.shard() == Some(peer);
        let lost = self.broker.pending.iter().filter(|(_, pending)| match pending {
            Pending::Append { source, .. } | Pending::Duplicate { source, .. } => is_there(source),
            _ => false,
        });
        for key in lost.map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(Pending::Append { source, .. } | Pending::Duplicate { source, .. }) =
                self.broker.pending.get_mut(key)
            {
                *source = Source::Nobody;
            }
        }
        self.transaction_sources_lost(peer);
        self.live.sources_lost(peer);
    }

    /// Takes the store's answer to a request. Answers to requests that are not known (any more) are
    /// ignored.
    pub fn handle_store(&mut self, now: Instant, answer: StoreAnswer) {
        self.broker.now = Some(now);
        let ticket = answer.ticket();
        let pending = PendingKey::from_bits(ticket.0).and_then(|key| self.broker.pending.remove(key));
        let Some(pending) = pending else { return };
        match (pending, answer) {
            (Pending::Append { source, entries, change }, StoreAnswer::Appended { reference, .. }) => {
                let is_kept = self.entries_stored(now, &entries, reference);
                let is_retained = change.map(|change| self.change_stored(now, *change, reference));
                // When its address is gone, so is the message.
                let is_kept = is_retained.unwrap_or(is_kept);
                self.answer(source, if is_kept { Outcome::Accepted } else { Outcome::Released });
            }
            (Pending::Append { source, entries, change }, answer) => {
                if let Some(change) = change {
                    self.change_failed(now, &change);
                }
                for (home, entry) in entries.as_slice() {
                    self.entry_failed(now, home, entry);
                }
                self.answer(source, refusal(&failure(answer)));
            }
            (Pending::Spill { home, entry }, StoreAnswer::Appended { reference, .. }) => {
                self.entry_stored(now, home, entry, reference);
            }
            (Pending::Spill { home, entry }, _) => self.entry_failed(now, home, entry),
            (Pending::Load { home, entry }, StoreAnswer::Loaded { body, .. }) => {
                if let Some(queue) = self.queue_home(home) {
                    queue.queue.loaded(entry, body);
                    self.mark_home(now, home);
                }
            }
            (Pending::Load { home, entry }, _) => {
                if let Some(queue) = self.queue_home(home) {
                    let is_leaving = queue.queue.load_failed(entry);
                    self.mark_home(now, home);
                    if is_leaving {
                        self.unreadable(now, home, entry);
                    }
                }
            }
            (Pending::LoadForward { forward }, StoreAnswer::Loaded { body, .. }) => {
                self.forward_body(now, forward, body);
            }
            (Pending::LoadForward { forward }, _) => self.forward_unreadable(now, forward),
            (Pending::Put { subscription }, StoreAnswer::Done { .. }) => self.record_written(subscription),
            (Pending::PutClaim { .. }, StoreAnswer::Done { .. }) => {}
            (Pending::PutClaim { subscription }, _) => self.claim_failed(now, subscription),
            (Pending::Put { subscription }, _) => self.subscription_failed(now, subscription),
            (Pending::PutRetained { topic }, answer) => {
                self.retained_queue_written(topic, matches!(answer, StoreAnswer::Done { .. }));
            }
            (Pending::LoadRetained { page, index }, StoreAnswer::Loaded { body, .. }) => {
                self.retained_loaded(now, page, index, Some(body));
            }
            (Pending::LoadRetained { page, index }, _) => self.retained_loaded(now, page, index, None),
            (Pending::LoadCopy { topic, round, what }, answer) => {
                let body = match answer {
                    StoreAnswer::Loaded { body, .. } => Some(body),
                    _ => None,
                };
                self.copy_loaded(now, topic, round, what, body);
            }
            (Pending::PutLeaving { topic, round }, answer) => {
                self.leaving_written(now, topic, round, matches!(answer, StoreAnswer::Done { .. }));
            }
            (Pending::PutArriving { topic, number }, answer) => {
                self.arriving_written(now, topic, number, matches!(answer, StoreAnswer::Done { .. }));
            }
            (Pending::Delete, _) => {}
            (Pending::Left { to, queue, labels }, StoreAnswer::Settled { .. } | StoreAnswer::Done { .. }) => {
                self.have_left(to, queue, labels)
            }
            // It is passed on again after a restart, without which the store takes nothing more.
            (Pending::Left { .. }, _) => {}
            (Pending::Duplicate { source, home, failures }, answer) => {
                let now_failed = self.queue_home(home).map(|home| home.failures);
                let is_certain = matches!(answer, StoreAnswer::Done { .. }) && now_failed == Some(failures);
                // Released: the producer may send it again, and learns then what it is.
                self.answer(source, if is_certain { Outcome::Accepted } else { Outcome::Released });
            }
            (Pending::Transaction(waiting), answer) => self.transaction_answered(now, waiting, answer),
        }
    }

    /// The store has a message for all of these; says whether any of them is there.
    fn entries_stored(&mut self, now: Instant, entries: &Stored, reference: Reference) -> bool {
        let mut is_kept = false;
        match entries {
            Stored::One(home, entry) => is_kept = self.entry_stored(now, *home, *entry, reference),
            Stored::Many(entries) => {
                for (home, entry) in entries {
                    is_kept |= self.entry_stored(now, *home, *entry, reference);
                }
            }
        }
        is_kept
    }

    fn entry_failed(&mut self, now: Instant, home: HomeKey, entry: EntryKey) {
        if let Some(queue) = self.queue_home(home) {
            queue.queue.store_failed(entry);
            queue.failures += 1;
            self.mark_home(now, home);
        }
    }
}

/// Why a request failed. The wrong kind of answer is a failure too.
pub(super) fn failure(answer: StoreAnswer) -> StoreError {
    match answer {
        StoreAnswer::Failed { error, .. } => error,
        _ => StoreError {
            condition: crate::condition::INTERNAL_ERROR,
            description: "the store gave an answer to another question".into(),
        },
    }
}

/// What a producer is told when the store does not keep its message.
pub(super) fn refusal(error: &StoreError) -> Outcome {
    Outcome::rejected(error.condition, error.description.to_string())
}
