//! After a restart: what the store has kept comes back to its homes.
//!
//! In this order: every address with `set_address`, every object with `recover_object`, every message with
//! `recover`, then `recovered`. Nothing is delivered before that.

use std::time::Instant;

use bytes::Bytes;

use super::record::{Meta, ObjectRecord, decode_state};
use crate::core::Core;
use crate::key::HomeKey;
use crate::queue::Arrival;
use crate::settings::{ShardId, home};
use crate::store::{QueueId, RecoveredMessage};

impl Core {
    /// The home of an object that the store has kept, and the queue that it stands for, if any; `None` when
    /// it is not one of the core's.
    pub fn stored_object(key: &[u8], value: &[u8], shards: u16) -> Option<(ShardId, Option<QueueId>)> {
        let record = ObjectRecord::decode(key, value)?;
        Some((home(record.address(), shards), record.queue()))
    }

    /// Takes an object that the store has kept over a restart, at its home. False when nothing here needs
    /// it: its topic is no more.
    pub fn recover_object(&mut self, now: Instant, key: &[u8], value: &[u8]) -> bool {
        self.broker.now = Some(now);
        self.broker.recovering = true;
        let Some(record) = ObjectRecord::decode(key, value) else { return false };
        let is_here = match record.clone() {
            ObjectRecord::Subscription(record) => self.recover_subscription(record),
            ObjectRecord::Claim(record) => self.recover_claim(record),
            ObjectRecord::Retained(record) => self.recover_retained(&record),
            ObjectRecord::Handover(key, record) => self.recover_handover(key, record),
            ObjectRecord::Travel(record) => {
                self.broker.recovered_travels.push(record);
                true
            }
        };
        if !is_here && !matches!(record, ObjectRecord::Handover(..)) {
            let key = Bytes::copy_from_slice(key);
            self.broker.recovered_strays.push((record, key));
        }
        is_here
    }

    /// Takes a message that the store has kept over a restart, at the home of its queue, in the order
    /// of the store. False when no such queue is here, or the message is not of this version.
    pub fn recover(&mut self, now: Instant, message: RecoveredMessage<'_>) -> bool {
        self.broker.recovering = true;
        let unix = self.broker.clock.unix(now);
        let Some(key) = self.broker.by_id.get(&message.queue).copied() else { return false };
        let Some(meta) = Meta::decode(message.meta) else { return false };
        if self.retained(key).is_some() {
            return self.recover_change(key, &meta, &message);
        }
        let name = self.broker.homes.get(key).map(|home| home.name.clone()).unwrap_or_default();
        let owner = self.owned(&name, meta.owner);
        let Some(home) = self.queue_home(key) else { return false };
        let arrival = Arrival {
            message_format: meta.message_format,
            body: Bytes::new(),
            priority: meta.priority,
            durable: true,
            retained: meta.given,
            storing: false,
            arrived: meta.arrived,
            expires: meta.expires,
            not_before: meta.not_before,
            group: meta.group,
            last_value: meta.last_value,
            message_id: meta.message_id,
            moved: false,
            let_in: false,
            identity: meta.identity,
            owner,
        };
        let (count, annotations) = message.state.map_or((0, None), decode_state);
        let entry = home.queue.restore(unix, &arrival, message.body_len, message.reference, count);
        if let Some(annotations) = annotations {
            home.queue.annotate(entry, annotations);
        }
        true
    }

    /// Nothing more is recovered: what waits is delivered from now on.
    pub fn recovered(&mut self, now: Instant) {
        self.broker.recovering = false;
        self.arrivals_recovered(now);
        self.claims_recovered(now);
        let keys: Vec<HomeKey> = self.broker.by_id.values().copied().collect();
        for key in keys {
            self.retained_recovered(key);
            self.mark_home(now, key);
        }
    }
}
