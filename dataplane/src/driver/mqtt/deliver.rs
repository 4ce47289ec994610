//! What clients are sent.

use std::time::Instant;

use mq_mqtt::Event;

use super::session::SessionKey;
use crate::driver::Shard;

/// What a connection needs for what it is sent.
#[derive(Debug, Default)]
pub(crate) struct Outflow {}

impl Shard {
    /// Begins to carry messages: the client has just been let in.
    pub(crate) fn start_messages(&mut self, _now: Instant, _key: usize) {}

    /// Carries no more: the connection ends.
    pub(crate) fn stop_messages(&mut self, _now: Instant, _key: usize) {}

    /// A session ends: what the core keeps for it goes.
    pub(crate) fn end_messages(&mut self, _now: Instant, _session: SessionKey) {}

    /// Something has been written: there may be room for more.
    pub(crate) fn refill_messages(&mut self, _now: Instant, _key: usize) {}

    /// An acknowledgement has come.
    pub(crate) fn handle_flow_event(&mut self, _now: Instant, _key: usize, _event: Event) {}
}
