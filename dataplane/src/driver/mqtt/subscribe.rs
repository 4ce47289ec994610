//! Subscribing and unsubscribing.

use std::time::Instant;

use mq_mqtt::packet::{Subscribe, Unsubscribe};

use super::session::SessionKey;
use crate::driver::Shard;

/// How the messages of a subscription come.
#[derive(Debug, Default)]
pub(crate) struct State {}

impl Shard {
    /// A client subscribes.
    pub(crate) fn handle_subscribe(&mut self, _now: Instant, _key: usize, _packet: Box<Subscribe>) {}

    /// A client unsubscribes.
    pub(crate) fn handle_unsubscribe(&mut self, _now: Instant, _key: usize, _packet: Box<Unsubscribe>) {}

    /// A topic address that a filter of the session reaches has come or gone.
    pub(crate) fn topic_changed(&mut self, _now: Instant, _session: SessionKey, _address: &str) {}
}
