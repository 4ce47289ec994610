//! Live subscribers: at most once, and nothing is stored.
//!
//! A live subscription belongs to a connection, and gets what is published while that is there. It is no
//! consumer: it has no credit, no queue and no delivery. Every shard knows the filters of all of them, its
//! own with the subscriber, those of another shard as "that shard has some". So the shard of a publisher
//! finds with one look who gets a message: [`Core::route`].
//!
//! Every shard also knows the filters of the subscriptions that keep messages, as "the home of that topic
//! wants it": a message that no such subscription wants need not go there.
//!
//! Messages of producers that know nothing of live subscribers are routed by the home of their topic when
//! it takes them: see [`Incoming::routed`](crate::Incoming::routed).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::core::Core;
use crate::effect::Refused;
use crate::key::AddressKey;
use crate::settings::{AddressKind, ShardId};

/// Bytes of live messages that another shard may have waiting from this one before publishers should wait.
pub const LIVE_WINDOW: u64 = 4 << 20;

/// A live subscription of the shard: the caller's link, and which of the link's subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber {
    pub token: u64,
    pub index: u32,
}

/// Where a message of one name goes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Route {
    /// The name.
    pub name: Arc<str>,
    /// What serves the name; `None`: nothing does. The rest says something about topics only.
    pub kind: Option<AddressKind>,
    /// Live subscriptions of this shard that match, in order: those of one token stand together.
    pub local: Box<[Subscriber]>,
    /// Other shards with live subscriptions that match.
    pub shards: Box<[ShardId]>,
    /// Some subscription that keeps messages wants durable ones.
    pub is_stored: bool,
    /// Some subscription that keeps messages wants those that are not durable, too.
    pub is_stored_volatile: bool,
    /// Bytes that the address allows a message.
    pub max_message_bytes: u64,
    pub(crate) address: Option<AddressKey>,
}

/// A message on its way to live subscribers.
#[derive(Clone, Debug)]
pub struct LiveMessage {
    /// The name that it was sent to; `None`: the message says so itself.
    pub name: Option<Arc<str>>,
    pub message_format: u32,
    /// The whole message, in memory of its own: it may wait at another shard.
    pub body: Bytes,
    pub durable: bool,
    /// It is retained as well, or ends what is.
    pub retain: bool,
    /// What is left of its time to live.
    pub ttl: Option<Duration>,
    /// Whoever published it; 0: nobody that could be a subscriber.
    pub origin: u64,
}

impl Core {
    /// Adds a live subscription; false when the subscriber has that filter already. Every other shard
    /// hears of it before the caller can tell anyone, if it hands the effects over first.
    ///
    /// # Errors
    /// `BadName` when the filter is none.
    pub fn add_live(&mut self, filter: &str, subscriber: Subscriber) -> Result<bool, Refused> {
        let _ = (filter, subscriber);
        Ok(false)
    }

    /// Removes a live subscription; false when there is no such one.
    pub fn remove_live(&mut self, filter: &str, subscriber: Subscriber) -> bool {
        let _ = (filter, subscriber);
        false
    }

    /// Where messages of this name go. What was asked for before and has not changed is found at once.
    pub fn route(&mut self, name: &str) -> Arc<Route> {
        let address = self.resolve_name(name).ok();
        Arc::new(Route {
            name: name.into(),
            kind: self.kind(name),
            local: Box::default(),
            shards: Box::default(),
            is_stored: true,
            is_stored_volatile: true,
            max_message_bytes: u64::MAX,
            address,
        })
    }

    /// Counts a message that the caller has handed to `copies` of the route's `local`, and hands it to the
    /// route's `shards`, for which it has to be there.
    pub fn publish_live(&mut self, route: &Route, copies: u32, message: Option<&LiveMessage>) {
        let _ = (route, copies, message);
    }

    /// Counts the copies that the caller has handed on of a message that came with
    /// [`Effect::Live`](crate::Effect::Live).
    pub fn count_live(&mut self, route: &Route, copies: u32) {
        let _ = (route, copies);
    }

    /// Whether publishers may go on. When false, some shard has [`LIVE_WINDOW`] bytes of messages of this
    /// one that it has not taken: read no publisher until [`LiveRoom`](crate::Effect::LiveRoom).
    pub fn has_live_room(&self) -> bool {
        true
    }
}
