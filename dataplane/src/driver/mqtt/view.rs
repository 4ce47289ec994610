//! What the admin API sees of clients' sessions and of what topics retain.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mq_core::{RetainedMessage, RetainedPage, RetainedQuery, UnixMillis};
use mq_model::admin;
use mq_model::space::split_qualified;

use super::envelope::Envelope;
use super::names::outside;
use super::session::{Presence, Session, SessionKey, Subscription, filter_outside};
use super::to_mqtt::converted;
use super::will::Will;
use crate::driver::Shard;
use crate::hub::{Reply, RetainedAnswer, RetainedRequest, SessionQuery, SessionView};
use crate::mesh::directory::Order;

/// Set in the tokens of queries of the admin API; those of clients have it clear.
const TOKEN: u64 = 1 << 63;

/// Bytes of the messages of one answer: they are looked into, and not kept.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of a payload that are shown.
const MAX_TEXT: usize = 256;

/// Lists of retained messages that are under way.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    latest: u64,
    pending: HashMap<u64, (Arc<str>, Reply<RetainedAnswer>)>,
}

impl Shard {
    /// The sessions of the shard that are wanted, in the order of the client identifiers.
    pub(crate) fn client_sessions(&self, query: &SessionQuery) -> Vec<SessionView> {
        let (wanted, prefix) = split_qualified(&query.prefix);
        let after = query.after.as_deref().map(outside);
        let is_wanted = |session: &Session| {
            let (space, id) = (session.space(), session.shown_id());
            space == wanted
                && id.starts_with(prefix)
                && after.is_none_or(|after| id > after)
                && query.is_connected.is_none_or(|wanted| session.connection().is_some() == wanted)
        };
        let mut found: Vec<&Session> = self.mqtt.sessions.iter().map(|(_, session)| session).collect();
        found.retain(|session| is_wanted(session));
        let order = |one: &&Session, other: &&Session| -> Ordering { one.shown_id().cmp(other.shown_id()) };
        // A page of a million sessions is not worth sorting them all.
        if query.limit < found.len() {
            found.select_nth_unstable_by(query.limit, order);
            found.truncate(query.limit);
        }
        found.sort_unstable_by(order);
        found.into_iter().map(|session| self.client_session_view(session)).collect()
    }

    /// The session of a client, with its subscriptions. `client` is its identifier inside the fleet.
    pub(crate) fn client_session(&self, client: &str) -> Option<SessionView> {
        let session = self.mqtt.sessions.get(self.mqtt.sessions.find(client)?)?;
        let mut view = self.client_session_view(session);
        view.session.filters = Some(session.subscriptions.iter().flatten().map(filter).collect());
        Some(view)
    }

    /// Ends the session of a client, and its connection; false when it has none here. `client` is its identifier
    /// inside the fleet.
    pub(crate) fn end_client_session(&mut self, now: Instant, client: &str) -> bool {
        let key: Option<SessionKey> = self.mqtt.sessions.find(client);
        let Some((key, session)) = key.and_then(|key| Some((key, self.mqtt.sessions.get(key)?))) else {
            return false;
        };
        let number = session.number;
        // One that is another node's already is ended there.
        if !self.mqtt.moves.is_to_end(client, number, Order::NOBODYS) {
            self.end_session(now, key);
        }
        true
    }

    fn client_session_view(&self, session: &Session) -> SessionView {
        let connection = session.connection().and_then(|key| self.connections.get(key));
        let disconnected_at = match session.presence {
            Presence::Away(since) | Presence::Leaving(since) => timestamp(since),
            Presence::Connected(_) => None,
        };
        let figures = session.flights.figures();
        // While there is a connection its engine knows what is under way.
        let client = session.connection().and_then(|key| self.connections.mqtt(key));
        let under_way = client.map(|client| client.engine.session_state());
        let (in_flight, unreleased) = match &under_way {
            Some(state) => (state.outgoing.len() as u64, state.incoming.len() as u64),
            None => (figures.in_flight, figures.incoming),
        };
        let view = admin::ClientSession {
            client: session.shown_id().to_owned(),
            node: self.config.node.clone(),
            worker: self.id.0,
            connection: connection.map(|connection| self.connection_name(connection.number)),
            expiry_seconds: session.expiry,
            disconnected_at,
            expires_at: session.expires().and_then(timestamp),
            subscriptions: session.subscriptions.iter().flatten().count() as u64,
            filters: None,
            messages: figures.waiting,
            bytes: figures.waiting_bytes,
            in_flight,
            unreleased,
            dropped: figures.dropped,
            will: session.will.as_deref().map(will),
        };
        let topics: BTreeSet<Arc<str>> = if session.is_lasting() {
            let own = session.subscriptions.iter().flatten().filter(|of| of.share().is_none());
            own.flat_map(|subscription| self.core.topics_of(subscription.topic_filter())).collect()
        } else {
            BTreeSet::new()
        };
        SessionView {
            session: view,
            subscription: session.subscription_name(&self.config.node),
            topics: topics.into_iter().collect(),
        }
    }

    /// Asks for some of what a topic retains.
    pub(crate) fn list_retained(
        &mut self,
        now: Instant,
        query: RetainedRequest,
        reply: Reply<RetainedAnswer>,
    ) {
        let listings = &mut self.mqtt.listings;
        // Who does not wait any more gets no answer.
        listings.pending.retain(|_, (_, reply)| !reply.is_closed());
        listings.latest = (listings.latest + 1) & !TOKEN;
        let token = listings.latest | TOKEN;
        listings.pending.insert(token, (query.topic.clone(), reply));
        let RetainedRequest { topic, filter, after, limit } = query;
        let query = RetainedQuery { token, topic, filter, after, max_messages: limit, max_bytes: MAX_BYTES };
        self.core.query_retained(now, query);
    }

    /// What a topic retains; false when it was not the admin API that has asked.
    pub(crate) fn retained_listed(&mut self, token: u64, page: &RetainedPage) -> bool {
        if token & TOKEN == 0 {
            return false;
        }
        if let Some((topic, reply)) = self.mqtt.listings.pending.remove(&token) {
            let items = page.messages.iter().map(|message| retained(&topic, message)).collect();
            let _ = reply.send(RetainedAnswer { items, next: page.next.clone() });
        }
        true
    }
}

fn timestamp(time: UnixMillis) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time.0).ok()?).ok()
}

fn filter(subscription: &Subscription) -> admin::SessionFilter {
    admin::SessionFilter {
        filter: filter_outside(&subscription.filter).into_owned(),
        qos: subscription.granted as u8,
        identifier: (subscription.identifier > 0).then_some(subscription.identifier),
        no_local: subscription.options.no_local,
        retain_as_published: subscription.options.retain_as_published,
    }
}

fn will(will: &Will) -> admin::Will {
    admin::Will {
        topic: will.record.topic.to_string(),
        qos: will.record.qos as u8,
        retain: will.record.retain,
        delay_seconds: will.delay(),
        bytes: will.record.payload.len() as u64,
    }
}

/// A retained message as the API shows it, whatever protocol it came with.
fn retained(topic: &str, message: &RetainedMessage) -> admin::Retained {
    let name = outside(&message.name);
    let converted = converted(message.message_format, &message.body, Some(name)).ok();
    let envelope = converted.as_ref().and_then(|converted| Envelope::parse(&converted.message).ok());
    let payload = envelope.as_ref().map(|envelope| envelope.payload);
    admin::Retained {
        name: name.to_owned(),
        topic: outside(topic).to_owned(),
        qos: envelope.as_ref().map_or(0, |envelope| envelope.qos as u8),
        bytes: payload.map_or(message.body.len(), <[u8]>::len) as u64,
        expires_in_ms: message.ttl_left.map(millis),
        content_type: envelope
            .as_ref()
            .and_then(|envelope| envelope.properties.content_type().map(Into::into)),
        text: payload.and_then(beginning),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of a payload that is text.
fn beginning(payload: &[u8]) -> Option<String> {
    let shown = payload.get(..MAX_TEXT).unwrap_or(payload);
    match std::str::from_utf8(shown) {
        Ok(text) => Some(text.to_owned()),
        // Cut in the middle of a character.
        Err(error) if error.error_len().is_none() && shown.len() < payload.len() => {
            Some(String::from_utf8_lossy(shown.get(..error.valid_up_to())?).into_owned())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_long_text_ends_at_a_character() {
        assert_eq!(beginning(b"21.5").as_deref(), Some("21.5"));
        assert_eq!(beginning(&[0xff, 0xfe]), None);
        let long = "ü".repeat(MAX_TEXT);
        assert_eq!(beginning(long.as_bytes()), Some("ü".repeat(MAX_TEXT / 2)));
        let odd = format!("x{long}");
        assert_eq!(beginning(odd.as_bytes()), Some(format!("x{}", "ü".repeat(MAX_TEXT / 2 - 1))));
        assert_eq!(
            beginning("ü".as_bytes().get(..1).unwrap_or_default()),
            None,
            "it is not cut, it is broken"
        );
    }
}
