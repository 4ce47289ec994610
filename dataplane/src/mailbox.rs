//! What shards hand to each other: gathered during a turn, handed over at once, with one wake-up.

use std::sync::{Mutex, PoisonError};

use mq_core::{PeerMessage, ShardId};
use tokio::sync::Notify;

/// The messages that wait for one shard. How many there can be is bounded by the cores: deliveries
/// by the window that the receiving core gave, settlements by the deliveries.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Vec<(ShardId, PeerMessage)>>,
    filled: Notify,
}

impl Mailbox {
    /// Hands messages over, in order; wakes the owner when it has nothing to do yet.
    pub(crate) fn post(&self, messages: &mut Vec<(ShardId, PeerMessage)>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.append(messages);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Takes what waits into `taken`, which is empty; its allocation stays here for later.
    pub(crate) fn take(&self, taken: &mut Vec<(ShardId, PeerMessage)>) {
        std::mem::swap(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner), taken);
    }

    /// Waits until there is something to take. Cancel safe.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}
