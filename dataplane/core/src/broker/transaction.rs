//! Local transactions (AMQP 4): messages that are posted, and deliveries that are retired, all or none;
//! with them objects of the caller, such as the mark that a message with this number has been taken.
//!
//! A transaction is declared on one shard, by links of that shard. What is posted is kept there until the
//! transaction is discharged, and so are objects; what is retired is put out of reach at its home at once,
//! and is nobody's until then. The work of a transaction at one home is its *part*; objects are in the part
//! of the declaring shard.
//!
//! ```text
//! declaring shard                        each home                        store
//!   settle_in_transaction ── Retire ───▶ entry is nobody's
//!   discharge ────────────── Prepare ──▶ places what is posted ─────────▶ Append, Settle (tagged)
//!   objects ────────────────────────────────────────────────────────────▶ Put, Delete (tagged)
//!                       ◀─── Prepared ── when the store has all of it
//!   all have prepared ──────────────────────────────────────────────────▶ Commit
//!   answered ─────────────── Conclude ─▶ entries become available; retired ones are settled
//!   client is told    ◀───── Concluded ─
//! ```
//!
//! The client learns the end last, so what it does then finds every home changed, on whatever shard its
//! links are.
//!
//! A topic that is about to change its home stands still for a moment: until it goes on, here or elsewhere, the part
//! of a transaction that posts to it waits. So does the commit itself while messages that were sent before it to one
//! of its addresses are still under way by way of a home of before.
//!
//! Homes on other nodes have logs of their own, and are no part of this: what is posted or retired there makes
//! a transaction fail. One that is declared [across nodes](Core::declare_across) puts up with less: what is
//! posted there is stored there first, and answered; then the rest is committed as above; then what is retired
//! there is settled. That is out of reach until then, as it is here, whatever becomes of the consumer; the home
//! prepares nothing for it, since it has no say in the commit. Each message is stored and settled once as long
//! as no node restarts and no path is lost meanwhile. A crash or a loss between two of these steps leaves the
//! earlier ones done, so that a message may be published again by its client, or be delivered again by its home.
//!
//! When anything of that fails, or the client wants it so, everything is as before, but that what was
//! retired counts as a failed delivery. In the store the `Commit` decides: before it nothing of the
//! transaction counts after a restart, and after it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::copy::Late;
use super::handover::HandoverKey;
use super::live::LivePost;
use super::protocol::{Posts, Publication, Source, Wire};
use super::record::Meta;
use super::retained::Change;
use super::store::failure;
use super::stub::Sender;
use super::{Pending, Stored};
use bytes::Bytes;

use crate::condition;
use crate::core::Core;
use crate::effect::{Effect, Refused};
use crate::key::{AddressKey, GripKey, HomeKey, LegKey, ReceiverKey};
use crate::outcome::{ErrorInfo, Outcome};
use crate::queue::{EntryKey, NotTaken, Settled, Settlement};
use crate::settings::ShardId;
use crate::store::{QueueId, Reference, StoreAnswer, StoreRequest, Targets, Ticket, TransactionId};

/// The transactions of a shard.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Those that were declared here.
    declared: BTreeMap<TransactionId, Transaction>,
    /// Those of them that nobody has asked for: they take over what other nodes have passed on.
    taking: usize,
    /// What there is to do for them, and for those of other shards, at homes here.
    parts: BTreeMap<PartKey, Part>,
}

/// The part of a transaction that a shard has declared: two nodes may give the same name to different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartKey {
    pub(super) declarer: ShardId,
    pub(super) id: TransactionId,
}

/// What is posted to each home on this node, and to homes on others.
type Placed = (BTreeMap<ShardId, Posts>, Vec<(AddressKey, Publication)>);

#[derive(Debug, Default)]
struct Transaction {
    posts: Vec<(AddressKey, Publication)>,
    objects: Vec<ObjectChange>,
    /// Messages, outcomes and objects in it.
    work: u32,
    /// Homes that have a part of it.
    homes: BTreeSet<ShardId>,
    stage: Stage,
    /// Why it cannot be committed.
    failed: Option<Box<ErrorInfo>>,
    /// The store knows of it.
    logged: bool,
    /// Homes on other nodes take part, if not in one with the others.
    across: bool,
    /// Homes on other nodes where something is retired, which waits there for the end.
    homes_there: BTreeSet<ShardId>,
    /// It takes over a message that a home on another node has passed on, which is told of the end.
    takes: Option<(HandoverKey, Source)>,
}

/// An object that the transaction is to keep, or without a value to keep no more.
#[derive(Debug)]
struct ObjectChange {
    key: Bytes,
    value: Option<Bytes>,
}

impl ObjectChange {
    fn bytes(&self) -> u64 {
        (self.key.len() + self.value.as_ref().map_or(0, Bytes::len)) as u64
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Open,
    /// It is to be committed when nothing that was sent before it is under way to an address that has another home
    /// now.
    Behind,
    /// So many messages at homes on other nodes have not been answered.
    Sending { missing: u32, objects: Vec<ObjectChange>, posts: BTreeMap<ShardId, Posts> },
    /// These homes have not prepared.
    Preparing(BTreeSet<ShardId>),
    /// The store has not committed.
    Committing,
    /// These homes have not said that they know how it ends.
    Concluding { homes: BTreeSet<ShardId>, failed: Option<Box<ErrorInfo>> },
}

/// What a transaction does at the homes of one shard.
#[derive(Debug, Default)]
struct Part {
    posts: Vec<Post>,
    /// For live subscribers.
    live: Vec<LivePost>,
    /// Of what topics retain.
    changes: Vec<(Change, Option<Reference>)>,
    retired: Vec<Retired>,
    /// Answers of the store that are missing.
    waiting: u32,
    is_preparing: bool,
    logged: bool,
    failed: Option<Box<ErrorInfo>>,
}

#[derive(Debug)]
struct Post {
    home: HomeKey,
    entry: EntryKey,
    /// The queue, where the store has to keep the message.
    queue: Option<QueueId>,
    reference: Option<Reference>,
}

#[derive(Debug)]
struct Retired {
    home: HomeKey,
    entry: EntryKey,
    outcome: Outcome,
    /// The store has been told.
    logged: bool,
}

/// A part of a transaction that the store has not answered.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// `change`: the number of one of what a topic retains.
    Append {
        part: PartKey,
        entries: Stored,
        change: Option<u64>,
    },
    Settle {
        part: PartKey,
    },
    Object {
        part: PartKey,
    },
    Commit {
        transaction: TransactionId,
    },
}

#[cfg(test)]
impl Transactions {
    /// Bytes of messages and objects that wait for their transaction.
    pub(crate) fn posted(&self) -> u64 {
        self.declared.values().map(Transaction::bytes).sum()
    }
}

impl Transaction {
    /// Bytes of what waits for the discharge.
    fn bytes(&self) -> u64 {
        let posts = self.posts.iter().map(|(_, publication)| publication.body.len() as u64);
        posts.chain(self.objects.iter().map(ObjectChange::bytes)).sum()
    }
}

impl Part {
    fn fail(&mut self, condition: &'static str, sentence: String) {
        self.failed.get_or_insert_with(|| error(condition, sentence));
    }
}

impl Core {
    /// Starts a transaction. End it with [`discharge`](Self::discharge), also when the client that wanted
    /// it is gone.
    ///
    /// # Errors
    /// `LimitExceeded` when the shard has its number of transactions, and `Stopping`.
    pub fn declare(&mut self, now: Instant) -> Result<TransactionId, Refused> {
        self.declare_as(now, false)
    }

    /// Starts a transaction that may have messages and outcomes for homes on other nodes. With those it is
    /// a sequence rather than a unit: first they store what is posted there; when all have, everything of
    /// this node is committed in one; then they settle what is retired there. What was done before one of
    /// these steps failed stays done.
    ///
    /// # Errors
    /// As [`declare`](Self::declare).
    pub fn declare_across(&mut self, now: Instant) -> Result<TransactionId, Refused> {
        self.declare_as(now, true)
    }

    fn declare_as(&mut self, now: Instant, across: bool) -> Result<TransactionId, Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        let limit = u64::from(self.limits.max_transactions);
        let transactions = &self.broker.transactions;
        if (transactions.declared.len() - transactions.taking) as u64 >= limit {
            return Err(Refused::LimitExceeded { what: "the shard".into(), links: "transactions", limit });
        }
        let id = TransactionId(self.next_number(now));
        self.broker.transactions.declared.insert(id, Transaction { across, ..Transaction::default() });
        Ok(id)
    }

    /// Stores a message at a home here, together with an object; [`taken_over`](Self::taken_over) says what
    /// became of it.
    pub(crate) fn store_with(
        &mut self,
        now: Instant,
        key: HandoverKey,
        source: Source,
        (address, mut publication): (Arc<str>, Publication),
        (object, value): (Bytes, Bytes),
    ) -> TransactionId {
        publication.keep();
        let id = TransactionId(self.next_number(now));
        let transaction = Transaction { takes: Some((key, source)), ..Transaction::default() };
        self.broker.transactions.declared.insert(id, transaction);
        self.broker.transactions.taking += 1;
        let objects = vec![ObjectChange { key: object, value: Some(value) }];
        let posts = BTreeMap::from([(self.shard, vec![(address, publication)])]);
        self.prepare_all(now, id, objects, posts);
        id
    }

    /// The end of a transaction that takes a message over is to be told to somebody else.
    pub(crate) fn answer_instead(&mut self, id: TransactionId, by: Source) {
        let transaction = self.broker.transactions.declared.get_mut(&id);
        if let Some((_, source)) = transaction.and_then(|transaction| transaction.takes.as_mut()) {
            *source = by;
        }
    }

    /// A shard is gone, and is not told.
    pub(crate) fn transaction_sources_lost(&mut self, peer: ShardId) {
        let takes = self.broker.transactions.declared.values_mut().filter_map(|one| one.takes.as_mut());
        for (_, source) in takes.filter(|(_, source)| source.shard() == Some(peer)) {
            *source = Source::Nobody;
        }
    }

    /// Ends a transaction: commits it, or with `fail` rolls it back. `Discharged` says what became of it:
    /// an error when it was to be committed and has been rolled back.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name that is open.
    pub fn discharge(&mut self, now: Instant, transaction: TransactionId, fail: bool) -> Result<(), Refused> {
        self.check_transaction(transaction)?;
        if fail {
            self.take_work(transaction);
            self.conclude_transaction(now, transaction, None, false);
        } else {
            self.commit(now, transaction);
        }
        Ok(())
    }

    /// Takes what a transaction posts and keeps out of it.
    fn take_work(&mut self, id: TransactionId) -> (Vec<(AddressKey, Publication)>, Vec<ObjectChange>) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else {
            return (Vec::new(), Vec::new());
        };
        self.broker.assembling = self.broker.assembling.saturating_sub(transaction.bytes());
        (std::mem::take(&mut transaction.posts), std::mem::take(&mut transaction.objects))
    }

    /// Commits a transaction, or rolls it back if it has failed: behind what was sent earlier to its addresses.
    pub(crate) fn commit(&mut self, now: Instant, id: TransactionId) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        let (failed, across) = (transaction.failed.take(), transaction.across);
        if failed.is_some() {
            self.take_work(id);
            return self.conclude_transaction(now, id, failed, false);
        }
        let addresses: Vec<AddressKey> = transaction.posts.iter().map(|(address, _)| *address).collect();
        transaction.stage = Stage::Behind;
        if addresses.into_iter().any(|address| self.hold_commit_back(address, id)) {
            return;
        }
        let (posts, objects) = self.take_work(id);
        let (here, there) = match self.posts_by_home(posts) {
            Ok((_, there)) if !there.is_empty() && !across => {
                return self.conclude_transaction(now, id, Some(elsewhere()), false);
            }
            Ok(by_home) => by_home,
            Err(failed) => return self.conclude_transaction(now, id, Some(failed), false),
        };
        if there.is_empty() {
            return self.prepare_all(now, id, objects, here);
        }
        if let Some(transaction) = self.broker.transactions.declared.get_mut(&id) {
            let missing = there.len() as u32;
            transaction.stage = Stage::Sending { missing, objects, posts: here };
        }
        for (address, publication) in there {
            self.send_post(now, Sender::Transaction(id), address, publication);
        }
    }

    /// A home on another node has a message of a transaction, or does not take it.
    pub(crate) fn post_answered(&mut self, id: TransactionId, outcome: Outcome) {
        let Some(now) = self.broker.now else { return };
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        let Stage::Sending { missing, objects, posts } = &mut transaction.stage else { return };
        *missing = missing.saturating_sub(1);
        transaction.failed = transaction.failed.take().or_else(|| not_taken(outcome));
        if *missing > 0 {
            return;
        }
        let (objects, posts) = (std::mem::take(objects), std::mem::take(posts));
        match transaction.failed.take() {
            Some(failed) => self.conclude_transaction(now, id, Some(failed), false),
            None => self.prepare_all(now, id, objects, posts),
        }
    }

    /// Asks every home on this node for its part.
    fn prepare_all(
        &mut self,
        now: Instant,
        id: TransactionId,
        objects: Vec<ObjectChange>,
        mut by_home: BTreeMap<ShardId, Posts>,
    ) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        transaction.homes.extend(by_home.keys());
        transaction.logged |= !objects.is_empty();
        let (homes, across) = (transaction.homes.clone(), transaction.across);
        transaction.stage = Stage::Preparing(homes.clone());
        if homes.is_empty() {
            return self.conclude_transaction(now, id, None, true);
        }
        self.prepare_objects(id, objects);
        for home in homes {
            let posts = by_home.remove(&home).unwrap_or_default();
            if home == self.shard {
                self.prepare(now, PartKey { declarer: home, id }, across, posts);
            } else {
                self.send_wire(home, Wire::Prepare { transaction: id, across, posts });
            }
        }
    }

    /// Takes over the outcome that a consumer gives to a delivery in a transaction: it counts once that is
    /// committed. The consumer has it no more. When the transaction is rolled back, the delivery counts as
    /// failed. Deliveries of addresses that keep no messages cannot be part of one: those are settled at
    /// once.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name that is open.
    pub fn settle_in_transaction(
        &mut self,
        now: Instant,
        leg: LegKey,
        outcome: Option<Outcome>,
        transaction: TransactionId,
    ) -> Result<(), Refused> {
        self.check_transaction(transaction)?;
        let Some(grip) = GripKey::from_leg(leg) else {
            self.settle_by_consumer(now, leg, outcome, true);
            return Ok(());
        };
        let consumer = self.grip_consumer(grip);
        let Some((home, outcome)) = self.grip_home(grip, outcome) else { return Ok(()) };
        let Some((receiver, entry)) = self.release_grip(grip, Some(&outcome)) else { return Ok(()) };
        let limit = self.limits.max_transaction_work;
        if let Some(value) = self.broker.transactions.declared.get_mut(&transaction) {
            value.work = value.work.saturating_add(1);
            if value.work > limit {
                value.failed.get_or_insert_with(|| too_much(limit));
            }
            let Some(home) = home else {
                value.failed.get_or_insert_with(home_lost);
                return Ok(());
            };
            if home.is_here() {
                value.homes.insert(home);
            } else if value.across {
                value.homes_there.insert(home);
            } else {
                value.failed.get_or_insert_with(elsewhere);
                self.send_wire(home, Wire::Settle { receiver, entry, outcome: Outcome::FAILED });
                return Ok(());
            }
        }
        match home {
            Some(home) if home == self.shard => {
                self.retire(now, home, transaction, receiver, entry, outcome);
            }
            Some(home) => self.send_wire(home, Wire::Retire { transaction, receiver, entry, outcome }),
            None => {}
        }
        if let Some(consumer) = consumer {
            self.vacate(now, consumer);
        }
        Ok(())
    }

    /// Keeps an object in the store once a transaction is committed: `value` for this key, or with `None`
    /// nothing any more. It counts together with the messages and outcomes of the transaction, also after a
    /// crash, and like them is work of it. Of several for one key the last counts.
    ///
    /// The key begins with `m`, as none of the core's does: for such an object
    /// [`stored_object`](Self::stored_object) says after a restart that it is the caller's.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name that is open. A transaction that gets too large
    /// fails when it is discharged.
    pub fn put_in_transaction(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        key: Bytes,
        value: Option<Bytes>,
    ) -> Result<(), Refused> {
        self.broker.now = Some(now);
        self.check_transaction(transaction)?;
        let object = ObjectChange { key, value };
        let bytes = object.bytes();
        let has_room = self.broker.assembling + bytes <= self.limits.stored_memory_bytes;
        let (limit, shard) = (self.limits.max_transaction_work, self.shard);
        let Some(transaction) = self.broker.transactions.declared.get_mut(&transaction) else {
            return Ok(());
        };
        transaction.work = transaction.work.saturating_add(1);
        if transaction.work > limit || !has_room {
            transaction.failed.get_or_insert_with(|| too_much(limit));
        }
        if transaction.failed.is_none() {
            transaction.objects.push(object);
            transaction.homes.insert(shard);
            self.broker.assembling += bytes;
        }
        Ok(())
    }

    /// Whether a transaction is open.
    pub(crate) fn check_transaction(&self, id: TransactionId) -> Result<(), Refused> {
        match self.broker.transactions.declared.get(&id) {
            Some(Transaction { stage: Stage::Open, .. }) => Ok(()),
            _ => Err(Refused::NoTransaction(id.0)),
        }
    }

    /// Keeps a message until its transaction is discharged. Its producer is told `Accepted`, provisionally.
    pub(crate) fn post_in_transaction(
        &mut self,
        id: TransactionId,
        address: AddressKey,
        mut publication: Publication,
    ) {
        publication.keep();
        let source = publication.source;
        let bytes = publication.body.len() as u64;
        let has_room = self.broker.assembling + bytes <= self.limits.stored_memory_bytes;
        let limit = self.limits.max_transaction_work;
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else {
            return self.answer(source, Outcome::Released);
        };
        transaction.work = transaction.work.saturating_add(1);
        let is_here = self.addresses.get(address).is_none_or(|address| address.settings.entrance() == 0);
        if !is_here && !transaction.across {
            let failed = transaction.failed.get_or_insert_with(elsewhere).clone();
            return self.answer(source, Outcome::Rejected(Some(failed)));
        }
        if transaction.work > limit || !has_room {
            let failed = transaction.failed.get_or_insert_with(|| too_much(limit)).clone();
            return self.answer(source, Outcome::Rejected(Some(failed)));
        }
        transaction.posts.push((address, publication));
        self.broker.assembling += bytes;
        self.answer(source, Outcome::Accepted);
    }

    /// What is for homes on this node, and what is for those on others.
    fn posts_by_home(&self, posts: Vec<(AddressKey, Publication)>) -> Result<Placed, Box<ErrorInfo>> {
        let (mut here, mut there) = Placed::default();
        for (key, publication) in posts {
            let Some(address) = self.addresses.get(key).filter(|address| address.is_known()) else {
                let sentence = "an address that the transaction has posted to was deleted".to_owned();
                return Err(error(condition::ROLLED_BACK, sentence));
            };
            let Some(home) = self.reachable_entrance(address) else {
                return Err(error(condition::ROLLED_BACK, self.home_unavailable(address).to_string()));
            };
            if home.is_here() {
                here.entry(home).or_default().push((address.name.clone(), publication));
            } else {
                there.push((key, publication));
            }
        }
        Ok((here, there))
    }

    /// Asks the store for the objects of a transaction, as a part of it here.
    fn prepare_objects(&mut self, id: TransactionId, objects: Vec<ObjectChange>) {
        if objects.is_empty() {
            return;
        }
        let part_key = PartKey { declarer: self.shard, id };
        let part = self.part(part_key);
        part.waiting += objects.len() as u32;
        part.logged = true;
        for ObjectChange { key, value } in objects {
            let waiting = Waiting::Object { part: part_key };
            let ticket = Ticket(self.broker.pending.insert(Pending::Transaction(waiting)).to_bits());
            let transaction = Some(id);
            self.ask_store(match value {
                Some(value) => StoreRequest::Put { ticket, key, value, transaction },
                None => StoreRequest::Delete { ticket, key, transaction },
            });
        }
    }

    // ---- at the homes --------------------------------------------------------------------------------

    fn part(&mut self, key: PartKey) -> &mut Part {
        self.broker.transactions.parts.entry(key).or_default()
    }

    /// Puts an entry that a consumer has out of its reach.
    pub(crate) fn retire(
        &mut self,
        now: Instant,
        from: ShardId,
        id: TransactionId,
        receiver: ReceiverKey,
        entry: EntryKey,
        outcome: Outcome,
    ) {
        let member = self.member_of(receiver);
        let is_retired = member.is_some_and(|(home, member)| {
            self.mark_home(now, home);
            self.queue_home(home).is_some_and(|home| home.queue.retire(member, entry))
        });
        let part = self.part(PartKey { declarer: from, id });
        match member.filter(|_| is_retired) {
            Some((home, _)) => part.retired.push(Retired { home, entry, outcome, logged: false }),
            None => {
                let sentence =
                    "a delivery that was retired in the transaction is not the consumer's any more";
                part.fail(condition::ROLLED_BACK, sentence.to_owned());
            }
        }
    }

    /// Does everything of a transaction that can fail: as soon as no topic that it posts to stands still.
    pub(crate) fn prepare(&mut self, now: Instant, key: PartKey, across: bool, posts: Posts) {
        let mut homes = posts.iter().filter_map(|(address, _)| self.home_named(address).ok());
        if let Some(topic) = homes.find_map(|home| self.stopped_topic(home)) {
            // All of it: what is in a queue and not committed holds up what is behind it.
            self.wait_if_stopped(topic, Late::Prepare { part: key, across, posts });
            return;
        }
        let part = self.part(key);
        part.is_preparing = true;
        // Until everything has been asked for.
        part.waiting += 1;
        for (address, mut publication) in posts {
            match self.home_named(&address) {
                Ok(home) => {
                    publication.transaction = Some(key.id);
                    self.prepare_post(now, key, home, publication);
                }
                Err(_) => self.prepare_elsewhere(now, key, across, &address, publication),
            }
        }
        self.prepare_retired(key);
        self.part_answered(now, key, None);
    }

    /// Has the store settle what is retired.
    fn prepare_retired(&mut self, key: PartKey) {
        let part = self.part(key);
        let mut requests = Vec::new();
        let mut retired = std::mem::take(&mut part.retired);
        for one in retired.iter_mut().filter(|one| one.outcome == Outcome::Accepted) {
            let Some(home) = self.queue_home(one.home) else { continue };
            let reference = home.queue.entry(one.entry).and_then(|entry| entry.reference());
            if let (Some(queue), Some(reference)) = (home.id, reference) {
                one.logged = true;
                requests.push((queue, reference));
            }
        }
        let part = self.part(key);
        part.retired = retired;
        part.waiting += requests.len() as u32;
        part.logged |= !requests.is_empty();
        for (queue, reference) in requests {
            let pending = self.broker.pending.insert(Pending::Transaction(Waiting::Settle { part: key }));
            let ticket = Some(Ticket(pending.to_bits()));
            self.ask_store(StoreRequest::Settle { queue, reference, ticket, transaction: Some(key.id) });
        }
    }

    /// The address of a post has left this home. Where a transaction may be a sequence, the post goes to the home that
    /// the address has now, behind all that this one has sent on.
    fn prepare_elsewhere(
        &mut self,
        now: Instant,
        key: PartKey,
        across: bool,
        name: &str,
        publication: Publication,
    ) {
        let Ok(address) = self.known_address(name) else {
            let sentence = format!("address {name} was deleted");
            return self.part(key).fail(condition::ROLLED_BACK, sentence);
        };
        let home = self.addresses.get(address).and_then(|address| self.reachable_entrance(address));
        let part = self.part(key);
        match home {
            Some(home) if !home.is_here() && across => {
                part.waiting += 1;
                self.send_post(now, Sender::Part(key), address, publication);
            }
            Some(home) if !home.is_here() => {
                part.failed.get_or_insert_with(elsewhere);
            }
            _ => {
                let sentence = format!("the home of address {name} cannot be reached; do it again");
                part.fail(condition::ROLLED_BACK, sentence);
            }
        }
    }

    /// A home on another node has a message that came to a home of before, or does not take it.
    pub(crate) fn post_of_part_answered(&mut self, key: PartKey, outcome: Outcome) {
        if let Some(now) = self.broker.now {
            self.part_answered(now, key, not_taken(outcome));
        }
    }

    fn prepare_post(&mut self, now: Instant, key: PartKey, home: HomeKey, mut publication: Publication) {
        let is_topic = self.broker.homes.get(home).is_some_and(|home| home.queue().is_none());
        if is_topic && let Some(post) = self.live_post(now, home, &publication) {
            self.part(key).live.push(post);
        }
        let planned = if is_topic {
            let checked = self.check_topic_stock(home, &publication);
            checked.and_then(|()| self.plan_change(now, home, &publication))
        } else {
            Ok(None)
        };
        let change = match planned {
            Ok(change) => change,
            Err(refused) => {
                if let Outcome::Rejected(Some(reason)) = refused {
                    self.part(key).failed.get_or_insert(reason);
                }
                return;
            }
        };
        let (placed, keys) = if is_topic {
            let placed = self.place_in_subscriptions(now, home, &mut publication);
            let entries: Vec<_> = placed.iter().map(|(home, entry, _)| (*home, *entry)).collect();
            let keys = self.keys_for_all(&entries, &publication);
            (placed, keys)
        } else {
            let keys = self.keys_for(home, &publication);
            match self.place_in_queue(now, home, &publication, &keys) {
                Ok((entry, queue)) => (vec![(home, entry, queue)], keys),
                Err(NotTaken::Duplicate) => (Vec::new(), keys),
                Err(reason) => {
                    let part = self.part(key);
                    return part.fail(condition::RESOURCE_LIMIT_EXCEEDED, reason.to_string());
                }
            }
        };
        let post =
            |(home, entry, queue): &_| Post { home: *home, entry: *entry, queue: *queue, reference: None };
        let posts = placed.iter().map(post);
        let posts: Vec<Post> = posts.collect();
        let stored: Vec<(HomeKey, EntryKey)> =
            placed.iter().filter(|one| one.2.is_some()).map(|(home, entry, _)| (*home, *entry)).collect();
        let mut targets: Vec<_> = placed.iter().filter_map(|(_, _, queue)| *queue).collect();
        targets.extend(change.as_ref().map(|change| change.queue));
        let mut meta = super::home::meta_of(&publication, &keys);
        let part = self.part(key);
        part.posts.extend(posts);
        if targets.is_empty() {
            return;
        }
        part.waiting += 1;
        part.logged = true;
        // What is retained is kept over restarts, whatever it is.
        publication.durable |= change.is_some();
        let number = change.as_ref().map(|change| change.number());
        if let Some(mut change) = change {
            change.note(&mut meta, &publication.body);
            part.changes.push((*change, None));
        }
        let entries = Stored::Many(stored.into_boxed_slice());
        self.append_tagged(key, publication, &meta, targets.into(), entries, number);
    }

    fn append_tagged(
        &mut self,
        part: PartKey,
        publication: Publication,
        meta: &Meta,
        targets: Arc<[QueueId]>,
        entries: Stored,
        change: Option<u64>,
    ) {
        let waiting = Waiting::Append { part, entries, change };
        let pending = self.broker.pending.insert(Pending::Transaction(waiting));
        let targets = match *targets {
            [queue] => Targets::One(queue),
            _ => Targets::Many(targets),
        };
        self.ask_store(StoreRequest::Append {
            ticket: Ticket(pending.to_bits()),
            targets,
            durable: publication.durable,
            meta: meta.encode(),
            body: publication.body,
            transaction: Some(part.id),
        });
    }

    /// Takes an answer of the store about a part of a transaction.
    pub(crate) fn transaction_answered(&mut self, now: Instant, waiting: Waiting, answer: StoreAnswer) {
        let failed = match &answer {
            StoreAnswer::Failed { .. } => Some(failure(answer.clone())),
            _ => None,
        };
        let failed = failed.map(|failed| error(failed.condition, failed.description.to_string()));
        match waiting {
            Waiting::Append { part, change: Some(number), .. }
                if failed.is_none() && !self.may_be_retained(part, number) =>
            {
                let sentence = "the store did not keep where the topic's retained messages are".to_owned();
                self.part_answered(now, part, Some(error(condition::ROLLED_BACK, sentence)));
            }
            Waiting::Commit { transaction } => {
                let is_committed = failed.is_none();
                self.conclude_transaction(now, transaction, failed, is_committed);
            }
            Waiting::Append { part, entries, change } => {
                if let StoreAnswer::Appended { reference, .. } = answer {
                    self.note_reference(part, &entries, change, reference);
                }
                self.part_answered(now, part, failed);
            }
            Waiting::Settle { part } | Waiting::Object { part } => {
                self.part_answered(now, part, failed);
            }
        }
    }

    /// Whether a change of what a topic retains can count: the store knows its queue.
    fn may_be_retained(&self, key: PartKey, number: u64) -> bool {
        let part = self.broker.transactions.parts.get(&key);
        let change = part.and_then(|part| part.changes.iter().find(|(change, _)| change.number() == number));
        change.is_none_or(|(change, _)| self.is_queue_written(change))
    }

    fn note_reference(&mut self, key: PartKey, entries: &Stored, change: Option<u64>, reference: Reference) {
        let Some(part) = self.broker.transactions.parts.get_mut(&key) else { return };
        let entries: BTreeSet<(HomeKey, EntryKey)> = entries.as_slice().into_iter().collect();
        for post in part.posts.iter_mut().filter(|post| entries.contains(&(post.home, post.entry))) {
            post.reference = Some(reference);
        }
        for (_, place) in part.changes.iter_mut().filter(|(one, _)| Some(one.number()) == change) {
            *place = Some(reference);
        }
    }

    fn part_answered(&mut self, now: Instant, key: PartKey, failed: Option<Box<ErrorInfo>>) {
        let Some(part) = self.broker.transactions.parts.get_mut(&key) else { return };
        part.waiting = part.waiting.saturating_sub(1);
        part.failed = part.failed.take().or(failed);
        self.prepared_if_answered(now, key);
    }

    fn prepared_if_answered(&mut self, now: Instant, key: PartKey) {
        let Some(part) = self.broker.transactions.parts.get_mut(&key) else { return };
        if part.waiting > 0 || !part.is_preparing {
            return;
        }
        let PartKey { declarer, id } = key;
        let (failed, logged) = (part.failed.take(), part.logged);
        if declarer == self.shard {
            self.handle_prepared(now, declarer, id, failed, logged);
        } else {
            self.send_wire(declarer, Wire::Prepared { transaction: id, failed, logged });
        }
    }

    /// Ends a transaction at the homes here.
    pub(crate) fn conclude_part(&mut self, now: Instant, from: ShardId, id: TransactionId, commit: bool) {
        let key = PartKey { declarer: from, id };
        let Some(part) = self.broker.transactions.parts.remove(&key) else { return };
        let unix = self.broker.clock.unix(now);
        for post in part.live.into_iter().filter(|_| commit) {
            self.post_live(now, post);
        }
        for post in part.posts {
            let Some(home) = self.queue_home(post.home) else {
                // The store was told so before the message came to count for it.
                if let Some(queue) = post.queue.filter(|_| commit) {
                    self.ask_store(StoreRequest::Forget { queue });
                }
                continue;
            };
            if !commit {
                home.queue.store_failed(post.entry);
                self.mark_home(now, post.home);
            } else if let Some(reference) = post.reference {
                self.entry_stored(now, post.home, post.entry, reference);
            } else {
                // It is in memory only; nothing asks for its place in the store.
                home.queue.stored(unix, post.entry, Reference(0));
                self.mark_home(now, post.home);
            }
        }
        for (change, reference) in part.changes {
            match reference.filter(|_| commit) {
                Some(reference) => {
                    self.change_stored(now, change, reference);
                }
                None => self.change_failed(now, &change),
            }
        }
        for one in part.retired {
            let outcome = if commit { one.outcome } else { Outcome::FAILED };
            self.settle_retired(now, one.home, one.entry, outcome, one.logged && commit);
        }
    }

    fn settle_retired(
        &mut self,
        now: Instant,
        key: HomeKey,
        entry: EntryKey,
        outcome: Outcome,
        logged: bool,
    ) {
        let unix = self.broker.clock.unix(now);
        let (settlement, error): (Settlement, _) = self.settlement(key, entry, outcome);
        let Some(home) = self.queue_home(key) else { return };
        match home.queue.settle_retired(unix, entry, settlement) {
            Settled::Removed(removed) if !logged => self.settle_in_store(key, removed),
            Settled::Leaving(reason) => self.leave(now, key, entry, reason, error),
            Settled::Returned { changed: true } => self.update_in_store(key, entry),
            Settled::Removed(_) | Settled::Returned { changed: false } | Settled::Unknown => {}
        }
        self.mark_home(now, key);
    }

    // ---- at the declaring shard ------------------------------------------------------------------

    /// A home has done its part, or cannot.
    pub(crate) fn handle_prepared(
        &mut self,
        now: Instant,
        from: ShardId,
        id: TransactionId,
        failed: Option<Box<ErrorInfo>>,
        logged: bool,
    ) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        let Stage::Preparing(waiting) = &mut transaction.stage else { return };
        waiting.remove(&from);
        transaction.logged |= logged;
        transaction.failed = transaction.failed.take().or(failed);
        if !waiting.is_empty() {
            return;
        }
        if transaction.failed.is_some() {
            let failed = transaction.failed.take();
            return self.conclude_transaction(now, id, failed, false);
        }
        if !transaction.logged {
            return self.conclude_transaction(now, id, None, true);
        }
        transaction.stage = Stage::Committing;
        let pending = self.broker.pending.insert(Pending::Transaction(Waiting::Commit { transaction: id }));
        self.ask_store(StoreRequest::Commit { ticket: Ticket(pending.to_bits()), transaction: id });
    }

    /// Tells the homes how a transaction ends.
    fn conclude_transaction(
        &mut self,
        now: Instant,
        id: TransactionId,
        failed: Option<Box<ErrorInfo>>,
        commit: bool,
    ) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        let is_logged = transaction.logged;
        let has_part = transaction.homes.remove(&self.shard);
        transaction.homes.append(&mut transaction.homes_there);
        let homes = transaction.homes.clone();
        transaction.stage = Stage::Concluding { homes: homes.clone(), failed };
        if is_logged && !commit {
            self.ask_store(StoreRequest::Rollback { transaction: id });
        }
        if has_part {
            self.conclude_part(now, self.shard, id, commit);
        }
        for home in homes {
            self.send_wire(home, Wire::Conclude { transaction: id, commit });
        }
        self.discharged_if_concluded(id);
    }

    /// A home knows how the transaction ends, or is gone.
    pub(crate) fn handle_concluded(&mut self, from: ShardId, id: TransactionId) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        if let Stage::Concluding { homes, .. } = &mut transaction.stage {
            homes.remove(&from);
            self.discharged_if_concluded(id);
        }
    }

    fn discharged_if_concluded(&mut self, id: TransactionId) {
        let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { return };
        let Stage::Concluding { homes, failed } = &mut transaction.stage else { return };
        if !homes.is_empty() {
            return;
        }
        let failed = failed.take();
        let takes = self.broker.transactions.declared.remove(&id).and_then(|transaction| transaction.takes);
        if let Some((key, source)) = takes {
            self.broker.transactions.taking -= 1;
            let outcome = failed.map_or(Outcome::Accepted, |failed| Outcome::Rejected(Some(failed)));
            return self.taken_over(key, source, outcome);
        }
        let result = failed.map_or(Ok(()), Err);
        self.effects.push_back(Effect::Discharged { transaction: id, result });
    }

    /// A shard is gone: what has not been decided with it does not count.
    pub(crate) fn end_transactions_with(&mut self, now: Instant, peer: ShardId) {
        for transaction in self.broker.transactions.declared.values_mut() {
            // It has given back what was retired there.
            transaction.homes_there.remove(&peer);
        }
        let declared: Vec<TransactionId> = self
            .broker
            .transactions
            .declared
            .iter()
            .filter(|(_, transaction)| transaction.homes.contains(&peer))
            .map(|(id, _)| *id)
            .collect();
        for id in declared {
            let failed = || error(condition::ROLLED_BACK, "a home of the transaction is gone".to_owned());
            let Some(transaction) = self.broker.transactions.declared.get_mut(&id) else { continue };
            transaction.homes.remove(&peer);
            match transaction.stage {
                Stage::Open | Stage::Behind | Stage::Sending { .. } => transaction.failed = Some(failed()),
                Stage::Preparing(_) => self.conclude_transaction(now, id, Some(failed()), false),
                // The store decides.
                Stage::Committing => {}
                Stage::Concluding { .. } => self.handle_concluded(peer, id),
            }
        }
        let parts = self.broker.transactions.parts.keys().filter(|key| key.declarer == peer);
        for key in parts.copied().collect::<Vec<_>>() {
            self.conclude_part(now, key.declarer, key.id, false);
        }
    }

    #[cfg(test)]
    pub(crate) fn check_no_transactions_with(&self, gone: ShardId) {
        let transactions = &self.broker.transactions;
        assert!(transactions.declared.values().all(|transaction| !transaction.homes.contains(&gone)));
        assert!(transactions.parts.keys().all(|key| key.declarer != gone));
        assert!(transactions.declared.values().all(|transaction| !transaction.homes_there.contains(&gone)));
    }

    #[cfg(test)]
    pub(crate) fn check_no_transactions(&self) {
        assert!(self.broker.transactions.declared.is_empty(), "{:?}", self.broker.transactions.declared);
        assert!(self.broker.transactions.parts.is_empty(), "{:?}", self.broker.transactions.parts);
    }
}

fn error(condition: &'static str, sentence: String) -> Box<ErrorInfo> {
    Box::new(ErrorInfo { condition: condition.into(), description: Some(sentence.into()), info: None })
}

/// Why a transaction fails of which a home on another node gives this outcome to a message, if it does.
fn not_taken(outcome: Outcome) -> Option<Box<ErrorInfo>> {
    match outcome {
        Outcome::Accepted => None,
        Outcome::Rejected(Some(reason)) => Some(reason),
        _ => {
            let sentence = "the home of an address on another node has not taken a message";
            Some(error(condition::ROLLED_BACK, sentence.to_owned()))
        }
    }
}

fn home_lost() -> Box<ErrorInfo> {
    let sentence =
        "the home of a delivery that was retired in the transaction was lost after it was delivered";
    error(condition::ROLLED_BACK, sentence.to_owned())
}

fn elsewhere() -> Box<ErrorInfo> {
    let sentence = "transactions do not reach over nodes yet, and an address of this one has its home on \
                    another node; connect to that one";
    error(condition::NOT_IMPLEMENTED, sentence.to_owned())
}

fn too_much(limit: u32) -> Box<ErrorInfo> {
    let sentence = format!(
        "the transaction has more than {limit} messages and outcomes, or no room in memory; discharge it earlier"
    );
    error(condition::RESOURCE_LIMIT_EXCEEDED, sentence)
}
