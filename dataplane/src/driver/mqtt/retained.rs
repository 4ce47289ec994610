//! Retained messages at a subscription (3.3.1.3): asked of the topics' homes page by page, the next one
//! when the client has taken the last.
//!
//! Live messages come while pages do. One that is itself retained is newer than what a page has for its
//! name: that is left out.
//!
//! What a home has that cannot be reached comes when it can: it is asked again now and then, behind the
//! other topics.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mq_core::{RetainedMessage, RetainedPage, RetainedQuery};
use mq_mqtt::Qos;
use mq_mqtt::packet::RetainHandling;
use tracing::debug;

use super::envelope::Envelope;
use super::flows::{Entry, Identifiers};
use super::names::outside;
use super::session::SessionKey;
use super::to_mqtt::converted;
use crate::driver::{OUTBOX_LIMIT, Shard};

/// Messages of a page at most.
const PAGE_MESSAGES: u32 = 256;

/// Bytes of a page at most, but for a single message that is larger.
const PAGE_BYTES: u64 = 256 << 10;

/// Messages that may wait for the client before it gets another page.
const WAITING: usize = 64;

/// Names that are remembered as superseded. Of further ones a client may get the older message after the
/// newer one's.
const MAX_SUPERSEDED: usize = 10_000;

/// How long a home that could not be reached is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Retained messages that a connection has coming.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// What to ask for, in this order.
    wanted: VecDeque<Wanted>,
    /// What is to be asked for again, and when: homes could not be reached.
    again: Vec<Wanted>,
    again_at: Option<Instant>,
    /// The question that has not been answered.
    asked: Option<u64>,
    /// Names of which the client has been sent something newer, as it knows them.
    superseded: BTreeSet<Box<str>>,
}

/// What a subscription wants of a topic.
#[derive(Clone, Debug)]
struct Wanted {
    /// The subscription.
    index: u32,
    /// As it was when it asked: it may be replaced, and ask again.
    filter: Arc<str>,
    topic: Arc<str>,
    after: Option<Arc<str>>,
}

impl Pages {
    /// When there is something to ask for again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }

    /// Leaves out what a subscription wants.
    fn forget(&mut self, index: u32) {
        self.wanted.retain(|wanted| wanted.index != index);
        self.again.retain(|wanted| wanted.index != index);
    }

    /// Keeps in mind what could not be had now.
    fn put_off(&mut self, now: Instant, wanted: Wanted) {
        self.again.push(wanted);
        if self.again_at.is_none() {
            self.again_at = now.checked_add(ASK_AGAIN);
        }
    }

    /// Wants again what was put off for long enough.
    fn take_up(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.wanted.extend(std::mem::take(&mut self.again));
        }
    }
}

/// A question that has not been answered.
#[derive(Debug)]
pub(super) struct Query {
    connection: usize,
    session: SessionKey,
    wanted: Wanted,
}

/// Whether a subscription gets what is retained (3.8.3.1).
pub(super) fn wants_retained(handling: RetainHandling, is_new: bool) -> bool {
    match handling {
        RetainHandling::Always => true,
        RetainHandling::New => is_new,
        RetainHandling::Never => false,
    }
}

impl Shard {
    /// A subscription wants what is retained for the names that its filter matches.
    pub(super) fn want_retained(&mut self, key: usize, index: u32, filter: &Arc<str>) {
        let topics = self.core.topics_of(filter);
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let pages = client.outflow.pages.get_or_insert_default();
        // It asks again: what it asked for before has not to come as well.
        pages.forget(index);
        let wanted =
            topics.into_iter().map(|topic| Wanted { index, filter: filter.clone(), topic, after: None });
        pages.wanted.extend(wanted);
    }

    /// A subscription is gone: it wants nothing more.
    pub(super) fn want_no_more(&mut self, key: usize, index: u32) {
        if let Some(client) = self.connections.mqtt_mut(key)
            && let Some(pages) = &mut client.outflow.pages
        {
            pages.forget(index);
        }
    }

    /// The client is sent a message that is retained now, in place of an older one.
    pub(super) fn note_superseded(&mut self, key: usize, topic: &str) {
        if let Some(client) = self.connections.mqtt_mut(key)
            && let Some(pages) = &mut client.outflow.pages
            && pages.superseded.len() < MAX_SUPERSEDED
        {
            pages.superseded.insert(topic.into());
        }
    }

    /// Asks for the next page when the client has taken the last.
    pub(super) fn turn_page(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(session) = client.session else { return };
        let state = self.mqtt.sessions.get(session).and_then(|session| session.flights.get());
        let waiting = state.map_or(0, |state| state.waiting.live_len());
        let Some(pages) = &mut client.outflow.pages else { return };
        if pages.asked.is_some() {
            return;
        }
        pages.take_up(now);
        let Some(next) = pages.wanted.front() else {
            if pages.again.is_empty() {
                client.outflow.pages = None;
            }
            return;
        };
        if client.engine.buffered() > OUTBOX_LIMIT / 2 || waiting > WAITING {
            return;
        }
        let messages = &mut self.mqtt.messages;
        // The bit above is for questions of others.
        messages.next_query = (messages.next_query + 1) & (u64::MAX >> 1);
        let token = messages.next_query;
        let wanted = next.clone();
        let query = RetainedQuery {
            token,
            topic: wanted.topic.clone(),
            filter: wanted.filter.clone(),
            after: wanted.after.clone(),
            max_messages: PAGE_MESSAGES,
            max_bytes: PAGE_BYTES,
        };
        pages.asked = Some(token);
        pages.wanted.pop_front();
        messages.queries.insert(token, Query { connection: key, session, wanted });
        self.core.query_retained(now, query);
    }

    /// A page has come; false when no client has asked for it.
    pub(super) fn mqtt_page(&mut self, now: Instant, token: u64, page: &RetainedPage) -> bool {
        let Some(query) = self.mqtt.messages.queries.remove(&token) else { return false };
        let Query { connection: key, session, mut wanted } = query;
        let Some(client) = self.connections.mqtt_mut(key) else { return true };
        let Some(pages) = client.outflow.pages.as_mut().filter(|pages| pages.asked == Some(token)) else {
            return true;
        };
        pages.asked = None;
        // Asked for again meanwhile, it starts anew.
        let is_asked_again = pages
            .wanted
            .iter()
            .any(|other| other.index == wanted.index && other.after.is_none() && other.topic == wanted.topic);
        let is_current = self
            .mqtt
            .sessions
            .get(session)
            .and_then(|session| session.subscription(wanted.index))
            .is_some_and(|subscription| *subscription.filter == *wanted.filter);
        if is_current && !is_asked_again && page.is_unavailable {
            pages.put_off(now, wanted);
        } else if is_current && !is_asked_again {
            if let Some(next) = &page.next {
                wanted.after = Some(next.clone());
                pages.wanted.push_front(wanted.clone());
            }
            for message in &page.messages {
                self.send_retained(now, key, session, &wanted, message);
            }
        }
        self.mark_dirty(key);
        self.turn_page(now, key);
        true
    }

    fn send_retained(
        &mut self,
        now: Instant,
        key: usize,
        session: SessionKey,
        wanted: &Wanted,
        message: &RetainedMessage,
    ) {
        let name = outside(&message.name);
        let pages = self.connections.mqtt(key).and_then(|client| client.outflow.pages.as_ref());
        if pages.is_some_and(|pages| pages.superseded.contains(name)) {
            return;
        }
        let body = match converted(message.message_format, &message.body, Some(name)) {
            Ok(converted) => converted.message,
            Err(unfit) => {
                debug!(%unfit, "a retained message cannot be sent over MQTT");
                self.mqtt.messages.counters.dropped_unfit += 1;
                return;
            }
        };
        let Ok(envelope) = Envelope::parse(&body) else { return };
        let Some(state) = self.mqtt.sessions.get(session) else { return };
        let Some(subscription) = state.subscription(wanted.index) else { return };
        if subscription.options.no_local && envelope.origin == state.origin {
            return;
        }
        let mut identifiers = Identifiers::None;
        identifiers.push(subscription.identifier);
        let entry = Entry {
            qos: envelope.qos.min(subscription.granted),
            // 3.3.1-8.
            retain: true,
            identifiers,
            deadline: message.ttl_left.and_then(|left| now.checked_add(left)),
            leg: None,
            is_own: false,
            is_shared: false,
            message: body,
        };
        if entry.qos == Qos::AtMostOnce {
            // A page is small beside what an outbox may hold.
            let _ = self.transmit(now, session, entry);
            return;
        }
        let mut overfull = Vec::new();
        self.let_wait(now, session, entry, &mut overfull);
        for key in overfull {
            self.disconnect_client(now, key, mq_mqtt::ReasonCode::QuotaExceeded);
        }
    }

    /// The connection ends: nobody waits for its pages.
    pub(super) fn forget_pages(&mut self, pages: &Pages) {
        if let Some(token) = pages.asked {
            self.mqtt.messages.queries.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_home_out_of_reach_has_is_wanted_again_behind_the_rest() {
        let now = Instant::now();
        let wanted =
            |index| Wanted { index, filter: "#".into(), topic: "t".into(), after: Some("t/a".into()) };
        let mut pages = Pages::default();
        pages.put_off(now, wanted(1));
        pages.put_off(now + ASK_AGAIN / 2, wanted(2));
        pages.put_off(now + ASK_AGAIN / 2, wanted(3));
        pages.forget(2);
        pages.wanted.push_back(wanted(4));
        let at = pages.poll_timeout().expect("there is something to ask for");
        pages.take_up(at - Duration::from_millis(1));
        assert_eq!(pages.wanted.len(), 1, "it is left alone");
        pages.take_up(at);
        let order: Vec<u32> = pages.wanted.iter().map(|wanted| wanted.index).collect();
        assert_eq!((order, pages.poll_timeout()), (vec![4, 1, 3], None));
        assert!(pages.wanted.iter().all(|wanted| wanted.after.is_some()), "it goes on where it was");
    }

    #[test]
    fn retained_messages_come_always_with_a_new_subscription_or_never() {
        assert!(
            wants_retained(RetainHandling::Always, true) && wants_retained(RetainHandling::Always, false)
        );
        assert!(wants_retained(RetainHandling::New, true) && !wants_retained(RetainHandling::New, false));
        assert!(
            !wants_retained(RetainHandling::Never, true) && !wants_retained(RetainHandling::Never, false)
        );
    }
}
