//! From the log to the shards, once, when the node starts.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mq_core::{Core, QueueId, RecoveredMessage, Reference, ShardId};
use mq_store::Visitor;
use tokio::sync::oneshot;
use tracing::info;

use super::{Homes, Shared};
use crate::driver::{Shard, object_home};
use crate::hub::{Hub, ShardCommand};

/// Bytes of a batch for one shard.
const BATCH: usize = 256 << 10;

/// Batches that a shard may have before it: reading goes on while it works, and no further.
const AHEAD: usize = 4;

/// How often progress is logged.
const PROGRESS: Duration = Duration::from_secs(2);

/// What was stored for one shard: a piece of it. Objects come before messages.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All bytes, one after the other: an allocation for each of ten million messages takes longer
    /// than reading them.
    bytes: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    /// Lengths of key and value.
    Object(usize, usize),
    Message {
        queue: QueueId,
        reference: Reference,
        meta: u32,
        state: Option<u32>,
        body: u32,
    },
}

impl Recovered {
    /// Gives everything to the shard.
    pub(crate) fn give(&self, now: Instant, shard: &mut Shard) {
        let mut rest = self.bytes.as_slice();
        let mut take = |length: usize| {
            let (taken, left) = rest.split_at(length.min(rest.len()));
            rest = left;
            taken
        };
        for item in &self.items {
            match item {
                Item::Object(key, value) => {
                    let (key, value) = (take(*key), take(*value));
                    shard.recover_object(now, key, value);
                }
                Item::Message { queue, reference, meta, state, body } => {
                    let (meta, state) = (take(*meta as usize), state.map(|length| take(length as usize)));
                    let message = RecoveredMessage {
                        queue: *queue,
                        reference: *reference,
                        meta,
                        state,
                        body_len: *body,
                    };
                    shard.core.recover(now, message);
                }
            }
        }
    }
}

/// Brings what the log holds to the shards.
pub(super) struct Distributor<'a> {
    shared: &'a Shared,
    hub: &'a Hub,
    homes: HashMap<QueueId, ShardId>,
    batches: Vec<Recovered>,
    /// Batches that the shards have not taken in yet.
    pending: Vec<VecDeque<oneshot::Receiver<()>>>,
    logged: Instant,
}

impl<'a> Distributor<'a> {
    pub(super) fn new(shared: &'a Shared, hub: &'a Hub, homes: Homes) -> Self {
        let shards = hub.workers();
        Self {
            shared,
            hub,
            homes: homes.into_iter().collect(),
            batches: (0..shards).map(|_| Recovered::default()).collect(),
            pending: (0..shards).map(|_| VecDeque::new()).collect(),
            logged: Instant::now(),
        }
    }

    fn add(&mut self, shard: ShardId, item: Item, parts: [&[u8]; 2]) {
        let shard = usize::from(shard.shard());
        let Some(batch) = self.batches.get_mut(shard) else { return };
        for part in parts {
            batch.bytes.extend_from_slice(part);
        }
        batch.items.push(item);
        if batch.bytes.len() + batch.items.len() * size_of::<Item>() >= BATCH {
            self.hand_over(shard);
        }
    }

    fn hand_over(&mut self, shard: usize) {
        let (Some(batch), Some(pending)) = (self.batches.get_mut(shard), self.pending.get_mut(shard)) else {
            return;
        };
        let batch = std::mem::take(batch);
        if batch.items.is_empty() {
            return;
        }
        while pending.len() >= AHEAD
            && let Some(taken) = pending.pop_front()
        {
            // A shard that is gone takes nothing in any more: the node is on its way down.
            let _ = taken.blocking_recv();
        }
        pending.extend(self.hub.ask(shard, |reply| ShardCommand::Recover { batch, reply }));
        self.log_progress();
    }

    fn log_progress(&mut self) {
        if self.logged.elapsed() >= PROGRESS {
            self.logged = Instant::now();
            info!(messages = self.shared.read.load(Ordering::Relaxed), "reading the message log");
        }
    }

    /// Hands over what is left, and tells the shards that this was all.
    pub(super) fn finish(mut self) {
        let shards = self.batches.len();
        (0..shards).for_each(|shard| self.hand_over(shard));
        // One shard may ask another about what it has got: all have everything before the first goes on.
        for taken in self.pending.into_iter().flatten() {
            let _ = taken.blocking_recv();
        }
        let told =
            (0..shards).filter_map(|shard| self.hub.ask(shard, |reply| ShardCommand::Recovered { reply }));
        for told in told.collect::<Vec<_>>() {
            let _ = told.blocking_recv();
        }
    }
}

impl Visitor for Distributor<'_> {
    fn object(&mut self, key: &[u8], value: &[u8]) {
        let shards = u16::try_from(self.batches.len()).unwrap_or(u16::MAX);
        if let Some(shard) = object_home(key, shards) {
            return self.add(shard, Item::Object(key.len(), value.len()), [key, value]);
        }
        // What is nobody's was written by another version, which may read it again.
        let Some((shard, queue)) = Core::stored_object(key, value, shards) else { return };
        self.homes.extend(queue.map(|queue| (queue, shard)));
        self.add(shard, Item::Object(key.len(), value.len()), [key, value]);
    }

    fn knows(&mut self, queue: mq_store::QueueId) -> bool {
        self.homes.contains_key(&QueueId(queue.0))
    }

    fn message(&mut self, message: mq_store::RecoveredMessage<'_>) {
        let queue = QueueId(message.queue.0);
        let Some(shard) = self.homes.get(&queue).copied() else { return };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let item = Item::Message {
            queue,
            reference: Reference(message.reference.0),
            meta: length(message.meta),
            state: message.state.map(length),
            body: message.body_length,
        };
        self.shared.read.fetch_add(1, Ordering::Relaxed);
        self.add(shard, item, [message.meta, message.state.unwrap_or_default()]);
    }
}
