//! What shards hand to each other: gathered during a turn, handed over at once, with one wake-up.
//!
//! What a client was told on one shard holds on every other one when it, or another client that it has told,
//! speaks there next. Two things see to that: a shard hands its mail over before it writes to any socket,
//! and takes what waits before it serves what it has read from one. News that all shards have to know before
//! the client of any can hear of it is handed to all of them at once: see [`post_at_once`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_core::{AddressSettings, PeerMessage, ShardId, StoreAnswer};
use tokio::sync::Notify;

use crate::checks::{Checked, Verified};
use crate::driver::Adopted;
use crate::mesh::MeshMail;

/// Messages for which an empty mailbox keeps room.
const ROOM: usize = 4_096;

/// What waits for one shard. How much there can be is bounded by the cores: deliveries by the window
/// that the receiving core gave, settlements by the deliveries, answers by what was asked.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Addresses that come and go with a link of another shard.
    pub(crate) addresses: Vec<AddressNews>,
    /// What other shards say.
    pub(crate) peers: Vec<(ShardId, PeerMessage)>,
    /// What the store answers.
    pub(crate) answers: Vec<StoreAnswer>,
    /// About other nodes.
    pub(crate) mesh: Vec<MeshMail>,
    /// Passwords that have been checked. Bounded by those that wait for it.
    pub(crate) checked: Vec<Checked>,
    /// Tokens whose keys had to be fetched. Bounded by those that wait for it.
    pub(crate) verified: Vec<Verified>,
}

/// An address that a link has made, or that goes with its link.
#[derive(Clone, Debug)]
pub(crate) struct AddressNews {
    pub(crate) name: Arc<str>,
    /// `None`: it is gone.
    pub(crate) settings: Option<AddressSettings>,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty()
            && self.peers.is_empty()
            && self.answers.is_empty()
            && self.mesh.is_empty()
            && self.checked.is_empty()
            && self.verified.is_empty()
    }
}

/// Where mail waits until its shard takes it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Mail>,
    /// Something waits, or is being posted.
    has_mail: AtomicBool,
    /// Connections whose clients belong to the shard. Bounded by the connections of the node.
    adopted: Mutex<Vec<Adopted>>,
    filled: Notify,
}

impl Mailbox {
    /// Hands messages over, in order; wakes the owner when it has nothing to do yet.
    pub(crate) fn post(&self, messages: &mut Vec<(ShardId, PeerMessage)>) {
        self.add(messages, |waiting| &mut waiting.peers);
    }

    /// Hands answers over, likewise.
    pub(crate) fn post_answers(&self, answers: &mut Vec<StoreAnswer>) {
        self.add(answers, |waiting| &mut waiting.answers);
    }

    /// Hands news of addresses over, which their taker looks at before the rest.
    pub(crate) fn post_addresses(&self, news: &[AddressNews]) {
        self.add(&mut news.to_vec(), |waiting| &mut waiting.addresses);
    }

    /// Hands over something about other nodes, which its taker looks at after the mail of this one.
    pub(crate) fn post_mesh(&self, mail: MeshMail) {
        self.add(&mut vec![mail], |waiting| &mut waiting.mesh);
    }

    /// Hands over whether a password is right.
    pub(crate) fn post_checked(&self, checked: Checked) {
        self.add(&mut vec![checked], |waiting| &mut waiting.checked);
    }

    /// Hands over whose a token is.
    pub(crate) fn post_verified(&self, verified: Verified) {
        self.add(&mut vec![verified], |waiting| &mut waiting.verified);
    }

    /// Hands a connection over, which its taker begins to serve after the mail.
    pub(crate) fn post_adopted(&self, adopted: Adopted) {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).push(adopted);
        self.filled.notify_one();
    }

    /// Has the owner look for what it is to serve.
    pub(crate) fn ring(&self) {
        self.filled.notify_one();
    }

    /// Takes the connections that were handed over.
    pub(crate) fn take_adopted(&self) -> Vec<Adopted> {
        std::mem::take(&mut *self.adopted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add<T>(&self, messages: &mut Vec<T>, to: impl FnOnce(&mut Mail) -> &mut Vec<T>) {
        let waiting = self.open();
        self.fill(waiting, messages, to);
    }

    fn open(&self) -> MutexGuard<'_, Mail> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_mail.store(true, Ordering::Release);
        waiting
    }

    fn fill<T>(
        &self,
        mut waiting: MutexGuard<'_, Mail>,
        messages: &mut Vec<T>,
        to: impl FnOnce(&mut Mail) -> &mut Vec<T>,
    ) {
        let was_empty = waiting.is_empty();
        to(&mut waiting).append(messages);
        drop(waiting);
        give_back(messages);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Whether there is something to take: what was posted before whatever the caller has learned is seen.
    pub(crate) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Takes what waits into `taken`, which is empty; its allocations stay here for later.
    pub(crate) fn take(&self, taken: &mut Mail) {
        give_back(&mut taken.addresses);
        give_back(&mut taken.peers);
        give_back(&mut taken.answers);
        give_back(&mut taken.mesh);
        give_back(&mut taken.checked);
        give_back(&mut taken.verified);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_mail.store(false, Ordering::Release);
        std::mem::swap(&mut *waiting, taken);
    }

    /// Waits until there is something to take. Cancel safe.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// Hands messages over to several shards, the first list to the first, so that none of them can act on its
/// own before all have theirs.
pub(crate) fn post_at_once(mailboxes: &[Mailbox], messages: &mut [Vec<(ShardId, PeerMessage)>]) {
    let (Some((mailbox, mailboxes)), Some((own, others))) =
        (mailboxes.split_first(), messages.split_first_mut())
    else {
        return;
    };
    if own.is_empty() {
        return post_at_once(mailboxes, others);
    }
    // Every shard locks in this order, and whoever takes mail locks one alone. From here on its taker waits.
    let waiting = mailbox.open();
    post_at_once(mailboxes, others);
    mailbox.fill(waiting, own, |waiting| &mut waiting.peers);
}

/// Gives back what an empty list has needed in a rush.
fn give_back<T>(messages: &mut Vec<T>) {
    if messages.capacity() > ROOM {
        messages.shrink_to(ROOM);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mq_core::{ConsumerOptions, Core, CoreLimits, Effect, Ticket};

    use super::*;

    /// What a core says to the other shard when a consumer comes.
    fn some_mail() -> Vec<(ShardId, PeerMessage)> {
        let now = Instant::now();
        let mut core = Core::new(ShardId(0), 2, CoreLimits::default());
        core.set_address(now, &"a".into(), AddressSettings::default());
        let lane = core.add_lane();
        core.add_consumer(now, lane, "a", ConsumerOptions::default()).expect("let in");
        let mut mail = Vec::new();
        while let Some(effect) = core.poll_effect() {
            if let Effect::Peer { message, .. } = effect {
                mail.push((ShardId(0), message));
            }
        }
        assert!(!mail.is_empty());
        mail
    }

    #[tokio::test]
    async fn mail_posted_while_nobody_waits_is_found_at_once() {
        let mailbox = Mailbox::default();
        let mut sent = some_mail();
        let count = sent.len();
        mailbox.post(&mut sent);
        mailbox.filled().await;
        let mut taken = Mail::default();
        mailbox.take(&mut taken);
        assert_eq!((sent.len(), taken.peers.len()), (0, count));
    }

    #[tokio::test]
    async fn an_answer_of_the_store_wakes_a_shard_that_waits_for_mail() {
        let mailbox = Mailbox::default();
        mailbox.post_answers(&mut vec![StoreAnswer::Done { ticket: Ticket(7) }]);
        mailbox.filled().await;
        let mut taken = Mail::default();
        mailbox.take(&mut taken);
        assert_eq!(taken.answers, [StoreAnswer::Done { ticket: Ticket(7) }]);
    }

    #[test]
    fn mail_is_seen_from_when_it_is_posted_until_it_is_taken() {
        let mailbox = Mailbox::default();
        assert!(!mailbox.has_mail());
        mailbox.post(&mut some_mail());
        assert!(mailbox.has_mail());
        mailbox.take(&mut Mail::default());
        assert!(!mailbox.has_mail());
    }

    #[test]
    fn what_is_posted_at_once_is_there_for_all_before_any_can_take_it() {
        let mailboxes = [Mailbox::default(), Mailbox::default()];
        std::thread::scope(|scope| {
            let busy = mailboxes[1].waiting.lock().expect("no panic");
            scope.spawn(|| post_at_once(&mailboxes, &mut [some_mail(), some_mail()]));
            while !mailboxes[0].has_mail() {
                std::thread::yield_now();
            }
            for _ in 0..1_000 {
                // The second is not open yet, so the first is shut.
                assert!(mailboxes[0].waiting.try_lock().is_err());
                std::thread::yield_now();
            }
            drop(busy);
        });
        for mailbox in &mailboxes {
            let mut mail = Mail::default();
            assert!(mailbox.has_mail());
            mailbox.take(&mut mail);
            assert!(!mail.peers.is_empty());
        }
    }

    #[test]
    fn a_rush_of_mail_leaves_no_room_behind() {
        let mailbox = Mailbox::default();
        let mut sent = Vec::with_capacity(100 * ROOM);
        sent.append(&mut some_mail());
        mailbox.post(&mut sent);
        assert_eq!(sent.capacity(), ROOM);
        let mut taken = Mail { peers: Vec::with_capacity(100 * ROOM), ..Mail::default() };
        mailbox.take(&mut taken);
        assert!(mailbox.waiting.lock().expect("no panic").peers.capacity() <= ROOM);
    }
}
