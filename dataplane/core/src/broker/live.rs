//! Topics and live subscribers: what the home of a topic tells all shards, and what it sends to them.
//!
//! A message that its publisher's shard has not routed itself is routed here, when the topic takes it: it
//! need not be stored for that, and whoever has to be certain of it has no live subscription. In a
//! transaction it is routed when that is committed. One that is scheduled for later is not: nobody live
//! waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::home::Home;
use super::protocol::Publication;
use crate::core::Core;
use crate::delivery::Retain;
use crate::key::HomeKey;
use crate::live::{LiveMessage, Want};
use crate::store::UnixMillis;

/// The filters of a topic's subscriptions, each with the number of those that have it.
#[derive(Debug, Default)]
pub(crate) struct Wanted(BTreeMap<Arc<str>, Counts>);

#[derive(Debug, Default)]
struct Counts {
    everything: u32,
    durable: u32,
}

/// A message that waits for the end of its transaction.
#[derive(Debug)]
pub(crate) struct LivePost {
    name: Arc<str>,
    message: LiveMessage,
    expires: Option<UnixMillis>,
}

impl Counts {
    fn of(&mut self, want: Want) -> &mut u32 {
        match want {
            Want::Everything => &mut self.everything,
            Want::Durable => &mut self.durable,
        }
    }
}

impl Wanted {
    /// Counts a filter; true when it is the first of its kind.
    fn add(&mut self, filter: &Arc<str>, want: Want) -> bool {
        let count = self.0.entry(filter.clone()).or_default().of(want);
        *count += 1;
        *count == 1
    }

    /// Counts it out; true when it was the last of its kind.
    fn remove(&mut self, filter: &str, want: Want) -> bool {
        let Some(counts) = self.0.get_mut(filter) else { return false };
        let count = counts.of(want);
        let was_last = *count == 1;
        *count = count.saturating_sub(1);
        if counts.everything == 0 && counts.durable == 0 {
            self.0.remove(filter);
        }
        was_last
    }
}

fn want(durable_only: bool) -> Want {
    if durable_only { Want::Durable } else { Want::Everything }
}

impl Core {
    /// A subscription of a topic wants what a filter matches, of durable messages or of all: tells every
    /// shard when it is the first one.
    pub(crate) fn note_filter(&mut self, topic: HomeKey, filter: &Arc<str>, durable_only: bool) {
        let want = want(durable_only);
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let name = home.name.clone();
        if home.topic_mut().is_some_and(|topic| topic.wanted.add(filter, want)) {
            self.tell_stored(&name, filter, want, true);
        }
    }

    /// The opposite.
    pub(crate) fn drop_filter(&mut self, topic: HomeKey, filter: &Arc<str>, durable_only: bool) {
        let want = want(durable_only);
        let Some(home) = self.broker.homes.get_mut(topic) else { return };
        let name = home.name.clone();
        if home.topic_mut().is_some_and(|topic| topic.wanted.remove(filter, want)) {
            self.tell_stored(&name, filter, want, false);
        }
    }

    /// Hands a message that a topic takes to the live subscribers of the node.
    pub(crate) fn publish_to_live(&mut self, now: Instant, topic: HomeKey, publication: &Publication) {
        if let Some(post) = self.live_post(now, topic, publication) {
            self.post_live(now, post);
        }
    }

    /// What live subscribers get of a message; `None`: nothing.
    pub(crate) fn live_post(
        &self,
        now: Instant,
        topic: HomeKey,
        publication: &Publication,
    ) -> Option<LivePost> {
        let is_early = publication.not_before.is_some_and(|at| at > self.broker.clock.unix(now));
        if publication.routed || is_early {
            return None;
        }
        let name = match &publication.name {
            Some(name) => name.clone(),
            None => self.broker.homes.get(topic).map(|home: &Home| home.name.clone())?,
        };
        let message = LiveMessage {
            name: Some(name.clone()),
            message_format: publication.message_format,
            body: publication.body.clone(),
            durable: publication.durable,
            kept: true,
            retain: publication.retain != Retain::No,
            ttl: None,
            origin: publication.origin.unwrap_or(0),
        };
        Some(LivePost { name, message, expires: publication.expires })
    }

    pub(crate) fn post_live(&mut self, now: Instant, post: LivePost) {
        let LivePost { name, mut message, expires } = post;
        let route = self.route(&name);
        if route.is_unheard() {
            return;
        }
        if let Some(expires) = expires {
            let left = expires.0.saturating_sub(self.broker.clock.unix(now).0);
            if left == 0 {
                return;
            }
            message.ttl = Some(Duration::from_millis(left));
        }
        self.send_everywhere(&route, message);
    }
}
