//! What topics retain.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::core::Core;
use crate::effect::{Effect, Refused};

/// A question for what a topic retains.
#[derive(Clone, Debug)]
pub struct RetainedQuery {
    /// The caller's name for it, which comes back with the answer.
    pub token: u64,
    /// The topic's address.
    pub topic: Arc<str>,
    /// The names that are wanted.
    pub filter: Arc<str>,
    /// Go on behind this name: [`RetainedPage::next`] of the page before.
    pub after: Option<Arc<str>>,
    /// Messages of the page at most. 0 counts as 1, and more than 1,000 as 1,000.
    pub max_messages: u32,
    /// Bytes of the page's messages at most, but for a single one that has more. More than a MiB counts
    /// as a MiB.
    pub max_bytes: u64,
}

/// Some of what a topic retains, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetainedPage {
    pub messages: Vec<RetainedMessage>,
    /// There may be more behind this name.
    pub next: Option<Arc<str>>,
}

/// A message that a topic retains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedMessage {
    pub name: Arc<str>,
    pub message_format: u32,
    pub body: Bytes,
    /// It was sent as a durable one. Whatever it was, it is kept over restarts.
    pub durable: bool,
    /// What is left of its time to live, when it has one.
    pub ttl_left: Option<Duration>,
}

impl Core {
    /// Asks for what a topic retains, from any shard. [`Effect::Retained`] answers, with an empty page when
    /// there is no such topic.
    ///
    /// Without `after` it is answered only when everything is there that any shard's publishers had sent
    /// before they could hear of the live subscriptions that were added here before the call. So whoever
    /// adds a live subscription first and asks then misses nothing. What is published meanwhile may come
    /// both ways.
    pub fn query_retained(&mut self, now: Instant, query: RetainedQuery) {
        let _ = now;
        let page = Box::default();
        self.effects.push_back(Effect::Retained { token: query.token, page });
    }

    /// Forgets what a topic retains for the names that a filter matches. Says how many there were. To be
    /// called at the topic's home.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of such a topic.
    pub fn clear_retained(&mut self, now: Instant, topic: &str, filter: &str) -> Result<u64, Refused> {
        let _ = (now, filter);
        self.home_named(topic)?;
        Ok(0)
    }
}
