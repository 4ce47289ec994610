//! What clients publish, and its acknowledgement.

use std::time::Instant;

use mq_mqtt::packet::Publish;

use crate::driver::Shard;

/// What a connection has published and the node has not answered.
#[derive(Debug, Default)]
pub(crate) struct Intake {}

impl Intake {
    /// Whether more may be read.
    pub(crate) fn may_read(&self) -> bool {
        true
    }
}

impl Shard {
    /// A client publishes.
    pub(crate) fn handle_publish(&mut self, _now: Instant, _key: usize, _publish: Publish) {}
}
