//! Subscribing and unsubscribing, and the feeds that a session's subscriptions need.
//!
//! A filter of topics is a live subscription of the core while the client is connected. In a lasting session
//! those of QoS 1 and 2 also are, together, one durable subscription at each topic address that they reach:
//! it gets the durable messages. A shared subscription is one of the core's, with all members consuming from
//! it; the name of an address that is no topic is consumed from as it is.
//!
//! A request is answered when every home goes by it and the session is on disk; until then the connection is
//! not read. A filter that is subscribed to again changes its options in place, so that nothing is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mq_core::{
    AddressKind, CloseReason, ConsumerKey, ConsumerOptions, OnFull, QueueSettings, Refused, StoreError,
    Subscriber, SubscriptionOptions, Ticket,
};
use mq_model::config::{Mqtt, SessionFull};
use mq_model::grant::Right;
use mq_mqtt::packet::{self, Subscribe, Unsubscribe};
use mq_mqtt::property::PropertyIn;
use mq_mqtt::{PacketId, Qos, ReasonCode};
use tracing::debug;

use super::flows::{Feed, Source, Stage};
use super::names::outside;
use super::record::SessionRecord;
use super::retained::wants_retained;
use super::session::{
    Session, SessionKey, Subscription, filter_inside, filter_outside, reaches, topic_filter_start,
};
use super::words::{explained, in_words};
use crate::driver::format::{MQTT_SESSION, MQTT_SHARE};
use crate::driver::{LANE_BUDGET, Shard};
use crate::usage::{Exceeded, Limit};

/// How the messages of a subscription come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not been begun on this connection.
    #[default]
    Idle,
    /// Of topics, live, and from the session's queue where that lasts.
    Topics,
    /// From a queue that it shares with others.
    Shared,
    /// Of an address that is no topic.
    Plain,
}

/// Whether the session's queue goes by a subscription that wants durable messages kept. Its home hears of a
/// change a moment after the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    Known,
    /// Not yet: the client has just subscribed.
    New,
    /// Not yet: it had QoS 0, with which it still gets what comes live.
    Raised,
}

/// The SUBSCRIBE or UNSUBSCRIBE of a connection that has not been answered: there is one at a time.
#[derive(Debug, Default)]
pub(crate) struct Requests(Option<Box<Request>>);

impl Requests {
    /// Whether there is none.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_none()
    }
}

#[derive(Debug)]
struct Request {
    packet_id: PacketId,
    is_subscribe: bool,
    parts: Vec<Part>,
    recorded: Recorded,
}

/// What has been asked for one filter.
#[derive(Debug)]
struct Part {
    reason: ReasonCode,
    /// The subscription that was made or changed.
    index: Option<u32>,
    /// The session did not have it.
    is_new: bool,
    /// The limit that it would break.
    exceeded: Option<Box<Exceeded>>,
}

/// Whether the session is on disk as the request has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    No,
    Waiting(Ticket),
    Done,
}

/// How a session's queues keep messages.
pub(in crate::driver) fn queue_settings(mqtt: &Mqtt) -> QueueSettings {
    QueueSettings {
        max_messages: mqtt.session.max_messages,
        max_bytes: mqtt.session.max_bytes,
        on_full: match mqtt.session.on_full {
            SessionFull::DropOldest => OnFull::DropOldest,
            // A subscription drops what it rejects; the publisher does not hear of it.
            SessionFull::DropNewest | SessionFull::Disconnect => OnFull::Reject,
        },
        ..QueueSettings::default()
    }
}

impl Shard {
    // ---- requests ---------------------------------------------------------------------------------

    /// A client subscribes.
    pub(crate) fn handle_subscribe(&mut self, now: Instant, key: usize, packet: &Subscribe) {
        let Some(token) = self.connections.mqtt(key).and_then(|client| client.session) else { return };
        let space = self.space_of(key);
        // 3.8.2.1.2: one for all filters of the packet.
        let identifier = packet.properties.view().subscription_identifiers().next().unwrap_or(0);
        let mut parts = Vec::with_capacity(packet.subscriptions.len());
        let mut touched = BTreeSet::new();
        for asked in &packet.subscriptions {
            // A lower QoS may leave a queue without a filter.
            let filter = filter_inside(space.name(), asked.filter.as_str());
            touched.extend(self.touched_by(&filter));
            parts.push(self.subscribe(now, key, token, asked, &filter, identifier));
        }
        let request =
            Request { packet_id: packet.packet_id, is_subscribe: true, parts, recorded: Recorded::No };
        self.begin_request(now, key, token, request, &touched);
    }

    /// A client unsubscribes.
    pub(crate) fn handle_unsubscribe(&mut self, now: Instant, key: usize, packet: &Unsubscribe) {
        let Some(token) = self.connections.mqtt(key).and_then(|client| client.session) else { return };
        let space = self.space_of(key);
        let mut parts = Vec::with_capacity(packet.filters.len());
        let mut touched = BTreeSet::new();
        for filter in &packet.filters {
            let filter = filter_inside(space.name(), filter.as_str());
            let index = self.mqtt.sessions.get(token).and_then(|session| session.by_filter(&filter));
            let reason = match index {
                Some(index) => {
                    touched.extend(self.touched_by(&filter));
                    self.unsubscribe(now, key, token, index);
                    ReasonCode::Success
                }
                None => ReasonCode::NoSubscriptionExisted,
            };
            parts.push(Part { reason, index: None, is_new: false, exceeded: None });
        }
        let request =
            Request { packet_id: packet.packet_id, is_subscribe: false, parts, recorded: Recorded::No };
        self.begin_request(now, key, token, request, &touched);
    }

    /// The topic addresses whose queue of a session goes by a filter. A shared subscription has no part in
    /// those queues.
    fn touched_by(&self, filter: &str) -> Vec<Arc<str>> {
        if topic_filter_start(filter) > 0 { Vec::new() } else { self.core.topics_of(filter) }
    }

    fn begin_request(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        mut request: Request,
        touched: &BTreeSet<Arc<str>>,
    ) {
        let is_same = request
            .parts
            .iter()
            .all(|part| part.reason.is_error() || part.reason == ReasonCode::NoSubscriptionExisted);
        if is_same {
            request.recorded = Recorded::Done;
        }
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        client.intake.requests = Requests(Some(Box::new(request)));
        if !is_same {
            self.refresh_feeds(now, key, token, touched);
        }
        self.advance_request(now, key);
    }

    /// Takes a request as far as it goes: feeds first, then the record, then the answer.
    fn advance_request(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let (Some(token), Some(request)) = (client.session, &mut client.intake.requests.0) else { return };
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let is_awaited =
            session.flights.get().is_some_and(|state| state.each_feed().any(|(_, feed)| feed.awaited > 0));
        if is_awaited {
            return;
        }
        if request.recorded == Recorded::No {
            let indexes: Vec<u32> = request.parts.iter().filter_map(|part| part.index).collect();
            self.mark_known(token, &indexes);
            let recorded = self.record_session(token).map_or(Recorded::Done, Recorded::Waiting);
            let Some(client) = self.connections.mqtt_mut(key) else { return };
            let Some(request) = &mut client.intake.requests.0 else { return };
            request.recorded = recorded;
        }
        self.answer_request(now, key);
    }

    /// The homes of a session's queues go by these subscriptions.
    fn mark_known(&mut self, token: SessionKey, indexes: &[u32]) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        for index in indexes {
            if let Some(Some(subscription)) = session.subscriptions.get_mut(*index as usize) {
                subscription.standing = Standing::Known;
            }
        }
    }

    /// The record of a session is on disk, or is not.
    pub(crate) fn session_recorded(
        &mut self,
        now: Instant,
        token: SessionKey,
        ticket: Ticket,
        result: Result<(), StoreError>,
    ) {
        let Some(key) = self.mqtt.sessions.get(token).and_then(Session::connection) else { return };
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(request) = &mut client.intake.requests.0 else { return };
        if request.recorded != Recorded::Waiting(ticket) {
            return;
        }
        request.recorded = Recorded::Done;
        if let Err(error) = result {
            debug!(connection = %self.name_of(key), %error.description, "a session cannot be kept");
            self.fail_parts(now, key, token, ReasonCode::ImplementationSpecificError, |_| true);
        }
        self.answer_request(now, key);
    }

    fn answer_request(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(request) = client.intake.requests.0.take_if(|request| request.recorded == Recorded::Done)
        else {
            return;
        };
        let token = client.session;
        let reasons: Vec<ReasonCode> = request.parts.iter().map(|part| part.reason).collect();
        let refusal = reasons.iter().copied().find(|reason| reason.is_error()).unwrap_or(ReasonCode::Success);
        let answered = if request.is_subscribe {
            let exceeded = request.parts.iter().find_map(|part| part.exceeded.as_deref());
            let words = match exceeded {
                Some(exceeded) => in_words(PropertyIn::SubAck, &exceeded.to_string()),
                None => explained(PropertyIn::SubAck, refusal),
            };
            client.engine.suback(request.packet_id, &reasons, words.view())
        } else {
            let words = explained(PropertyIn::UnsubAck, refusal);
            client.engine.unsuback(request.packet_id, &reasons, words.view())
        };
        if let Err(misuse) = answered {
            // Its answer is larger than the client takes: it asked for more than it can be told.
            debug!(connection = %self.name_of(key), %misuse, "a request cannot be answered");
            return self.disconnect_client(now, key, ReasonCode::PacketTooLarge);
        }
        if let Some(token) = token.filter(|_| request.is_subscribe) {
            self.ask_for_retained(now, key, token, &request.parts);
        }
        self.mark_dirty(key);
        self.resume_reading(key);
    }

    fn ask_for_retained(&mut self, now: Instant, key: usize, token: SessionKey, parts: &[Part]) {
        let mut has_asked = false;
        for part in parts.iter().filter(|part| !part.reason.is_error()) {
            let Some(index) = part.index else { continue };
            let subscription = self.mqtt.sessions.get(token).and_then(|session| session.subscription(index));
            let Some(subscription) = subscription else { continue };
            // 4.8.2: never to shared subscriptions. What is no topic retains nothing.
            if subscription.state == State::Topics
                && wants_retained(subscription.options.retain_handling, part.is_new)
            {
                let filter = subscription.filter.clone();
                self.want_retained(key, index, &filter);
                has_asked = true;
            }
        }
        if has_asked {
            self.turn_page(now, key);
        }
    }

    /// Parts of the request fail after all; what they have made goes.
    fn fail_parts(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        reason: ReasonCode,
        is_hit: impl Fn(&Subscription) -> bool,
    ) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(request) = &mut client.intake.requests.0 else { return };
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let (mut undone, mut lowered) = (Vec::new(), Vec::new());
        for part in request.parts.iter_mut().filter(|part| !part.reason.is_error()) {
            let subscription = part.index.and_then(|index| session.subscription(index));
            if request.is_subscribe && !subscription.is_some_and(&is_hit) {
                continue;
            }
            part.reason = reason;
            let is_lowered = subscription.is_some_and(|one| one.standing == Standing::Raised);
            lowered.extend(part.index.filter(|_| is_lowered));
            undone.extend(part.index.filter(|_| part.is_new));
        }
        for index in lowered {
            // It stays what it was: the queue does not keep anything for it.
            if let Some(Some(subscription)) = session.subscriptions.get_mut(index as usize) {
                (subscription.granted, subscription.standing) = (Qos::AtMostOnce, Standing::Known);
            }
        }
        let mut touched = BTreeSet::new();
        for index in undone {
            let subscription = self.mqtt.sessions.get(token).and_then(|session| session.subscription(index));
            if let Some(subscription) = subscription {
                touched.extend(self.touched_by(&subscription.filter));
            }
            self.unsubscribe(now, key, token, index);
        }
        if !touched.is_empty() {
            self.refresh_feeds(now, key, token, &touched);
        }
    }

    // ---- one filter -------------------------------------------------------------------------------

    /// Subscribes to what a client asks for, whose filter is called so inside the fleet.
    fn subscribe(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        asked: &packet::Subscription,
        filter: &str,
        identifier: u32,
    ) -> Part {
        let granted =
            asked.options.qos.min(Qos::from_byte(self.config.mqtt.max_qos).unwrap_or(Qos::ExactlyOnce));
        let failed = |reason| Part { reason, index: None, is_new: false, exceeded: None };
        let start = topic_filter_start(asked.filter.as_str()) as usize;
        let heard = asked.filter.as_str().get(start..).unwrap_or_default();
        if self.check_right(key, Right::Recv, heard).is_err() {
            return failed(ReasonCode::NotAuthorized);
        }
        let Some(session) = self.mqtt.sessions.get_mut(token) else {
            return failed(ReasonCode::UnspecifiedError);
        };
        if let Some(index) = session.by_filter(filter) {
            if let Some(Some(subscription)) = session.subscriptions.get_mut(index as usize) {
                if subscription.granted == Qos::AtMostOnce && granted > Qos::AtMostOnce {
                    subscription.standing = Standing::Raised;
                }
                subscription.options = asked.options;
                subscription.granted = granted;
                subscription.identifier = identifier;
            }
            return Part {
                reason: granted_reason(granted),
                index: Some(index),
                is_new: false,
                exceeded: None,
            };
        }
        let filters = || session.subscriptions.iter().flatten().map(|subscription| &*subscription.filter);
        let limit = self.config.mqtt.max_subscriptions as usize;
        if filters().count() >= limit || !SessionRecord::is_fit(filters().chain([filter])) {
            return failed(ReasonCode::QuotaExceeded);
        }
        if let Err(exceeded) = self.take(key, Limit::Subscriptions) {
            self.note_refused(key, &exceeded);
            return Part { exceeded: Some(Box::new(exceeded)), ..failed(ReasonCode::QuotaExceeded) };
        }
        let Some(session) = self.mqtt.sessions.get_mut(token) else {
            return failed(ReasonCode::UnspecifiedError);
        };
        let index = session.add(Subscription {
            filter: filter.into(),
            topic_filter_start: topic_filter_start(filter),
            options: asked.options,
            granted,
            identifier,
            state: State::Idle,
            standing: Standing::New,
        });
        self.mqtt.sessions.count_subscriptions(token);
        match self.begin_subscription(now, key, token, index) {
            Ok(()) => {
                Part { reason: granted_reason(granted), index: Some(index), is_new: true, exceeded: None }
            }
            Err(reason) => {
                self.unsubscribe(now, key, token, index);
                failed(reason)
            }
        }
    }

    /// Lets a subscription have its messages, but for those of the session's own queue.
    fn begin_subscription(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        index: u32,
    ) -> Result<(), ReasonCode> {
        let Some(session) = self.mqtt.sessions.get(token) else { return Err(ReasonCode::UnspecifiedError) };
        let Some(subscription) = session.subscription(index) else {
            return Err(ReasonCode::UnspecifiedError);
        };
        let filter: Arc<str> = subscription.topic_filter().into();
        let share: Option<Arc<str>> = subscription.share().map(Into::into);
        let claim = session.is_lasting().then(|| session.owner_name(&self.config.node));
        let state = match (self.plain_kind(&filter), &share) {
            (Some(AddressKind::Multicast), Some(_)) => {
                return Err(ReasonCode::SharedSubscriptionsNotSupported);
            }
            (Some(_), _) => State::Plain,
            (None, Some(_)) => State::Shared,
            (None, None) => State::Topics,
        };
        match state {
            State::Plain => {
                let source = Source::Plain { index, name: filter.clone() };
                self.add_feed(now, key, token, source, &filter, ConsumerOptions::default())
                    .map_err(reason_of)?;
            }
            State::Shared => {
                let share = share.unwrap_or_default();
                let mut topics: BTreeSet<Arc<str>> = self.core.topics_of(&filter).into_iter().collect();
                // Another address may have taken the names over from one that still holds messages.
                if let Some(state) = session.flights.get() {
                    let claims = state.claims.iter().filter(|(_, claimed)| *claimed == share);
                    topics.extend(claims.map(|(topic, _)| topic.clone()));
                }
                if topics.is_empty() {
                    return Err(ReasonCode::TopicFilterInvalid);
                }
                for topic in topics {
                    self.join_share(now, key, token, index, &topic, &share, &filter, claim.clone())
                        .map_err(reason_of)?;
                }
            }
            State::Topics | State::Idle => {
                if self.core.topics_of(&filter).is_empty() {
                    return Err(ReasonCode::TopicFilterInvalid);
                }
                let subscriber = Subscriber { token: token.to_bits(), index };
                self.core.add_live(&filter, subscriber).map_err(|refused| reason_of(&refused))?;
            }
        }
        let session = self.mqtt.sessions.get_mut(token);
        if let Some(Some(subscription)) =
            session.and_then(|session| session.subscriptions.get_mut(index as usize))
        {
            subscription.state = state;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "who joins what, and where")]
    fn join_share(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        index: u32,
        topic: &Arc<str>,
        share: &Arc<str>,
        filter: &Arc<str>,
        claim: Option<Arc<str>>,
    ) -> Result<(), Refused> {
        let is_claimed = claim.is_some();
        let options = share_options(share, filter, claim, queue_settings(&self.config.mqtt));
        let source = Source::Shared { index, topic: topic.clone() };
        self.add_feed(now, key, token, source, topic, options)?;
        if is_claimed && let Some(session) = self.mqtt.sessions.get_mut(token) {
            session.flights.get_or_insert().claims.insert((topic.clone(), share.clone()));
        }
        Ok(())
    }

    /// Removes a subscription, and what it alone has.
    fn unsubscribe(&mut self, now: Instant, key: usize, token: SessionKey, index: u32) {
        self.want_no_more(key, index);
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(subscription) = session.remove(index) else { return };
        self.mqtt.sessions.count_subscriptions(token);
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        if subscription.state == State::Topics {
            let subscriber = Subscriber { token: token.to_bits(), index };
            self.core.remove_live(subscription.topic_filter(), subscriber);
        }
        let claim = session.owner_name(&self.config.node);
        let Some(state) = session.flights.get_mut() else { return };
        let feeds = state.each_feed().filter(|(_, feed)| feed.source.subscription() == Some(index));
        let feeds: Vec<u32> = feeds.map(|(feed, _)| feed).collect();
        let removed: Vec<Feed> = feeds.into_iter().filter_map(|feed| state.remove_feed(feed)).collect();
        let share: Option<Arc<str>> = subscription.share().map(Into::into);
        for feed in removed {
            self.end_feed(now, feed.consumer);
            let (Source::Shared { topic, .. }, Some(share)) = (feed.source, &share) else { continue };
            let claims = self.mqtt.sessions.get_mut(token).and_then(|session| session.flights.get_mut());
            if claims.is_some_and(|state| state.claims.remove(&(topic.clone(), share.clone()))) {
                self.core.end_durable(now, &topic, share, Some(&claim));
            }
        }
        if let Some(session) = self.mqtt.sessions.get_mut(token) {
            session.flights.tidy();
        }
    }

    // ---- feeds ------------------------------------------------------------------------------------

    /// Makes a consumer of the core for a session. Whoever answers a request waits until it is let in.
    fn add_feed(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        source: Source,
        address: &str,
        options: ConsumerOptions,
    ) -> Result<(), Refused> {
        let Some(lane) = self.lane_of_client(now, key) else { return Err(Refused::NoLane) };
        let consumer = self.core.add_consumer(now, lane, address, options).inspect_err(|refused| {
            if matches!(refused, Refused::HomeUnavailable { .. }) {
                self.mqtt.out_of_reach.insert(address.into());
            }
        })?;
        let is_admitted = self.core.is_admitted(consumer);
        let Some(session) = self.mqtt.sessions.get_mut(token) else {
            self.core.remove_consumer(now, consumer);
            return Err(Refused::NoLane);
        };
        let feed = Feed {
            consumer,
            source,
            stage: Stage::Joining,
            awaited: u32::from(!is_admitted),
            credit: 0,
            assembly: None,
        };
        let index = session.flights.get_or_insert().add_feed(feed);
        self.mqtt.messages.consumers.insert(consumer.to_bits(), (token, index));
        if is_admitted {
            self.open_feed(now, key, token, index);
        }
        Ok(())
    }

    /// A feed has been let in: it gets credit.
    fn open_feed(&mut self, now: Instant, key: usize, token: SessionKey, index: u32) {
        let Some(client) = self.connections.mqtt(key) else { return };
        let window = u32::from(client.engine.window()).max(1);
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(state) = session.flights.get_mut() else { return };
        let known = u32::try_from(state.known.len()).unwrap_or(u32::MAX);
        let Some(feed) = state.feed_mut(index) else { return };
        let consumer = feed.consumer;
        if known > 0 && matches!(feed.source, Source::Own { .. }) {
            // What was under way comes first, as it is the oldest; `Drained` follows it.
            feed.stage = Stage::Returning;
            feed.credit = window.max(known);
            let credit = feed.credit;
            self.core.set_credit(now, consumer, credit, true);
        } else {
            feed.stage = Stage::Open;
            self.refill_feeds(now, key, token);
        }
    }

    fn end_feed(&mut self, now: Instant, consumer: ConsumerKey) {
        self.mqtt.messages.consumers.remove(consumer.to_bits());
        self.core.remove_consumer(now, consumer);
    }

    /// The topic addresses where a session has to have a durable subscription, and with which filters.
    fn wanted_topics(&self, session: &Session) -> BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
        let mut wanted: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
        if !session.is_lasting() {
            return wanted;
        }
        for subscription in session.subscriptions.iter().flatten() {
            if subscription.granted == Qos::AtMostOnce
                || subscription.share().is_some()
                || subscription.state == State::Plain
            {
                continue;
            }
            for topic in self.core.topics_of(subscription.topic_filter()) {
                wanted.entry(topic).or_default().insert(subscription.filter.clone());
            }
        }
        wanted
    }

    /// Has the session's queues get what its subscriptions want. Of those that are wanted no more, the ones
    /// that have been touched end. Others hold what came before an address took their names over: that is
    /// still delivered, and nothing new comes to them.
    fn refresh_feeds(&mut self, now: Instant, key: usize, token: SessionKey, touched: &BTreeSet<Arc<str>>) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let name = session.subscription_name(&self.config.node);
        let mut wanted = self.wanted_topics(session);
        let mut known = BTreeMap::new();
        let mut stale = BTreeSet::new();
        if let Some(state) = session.flights.get() {
            stale.extend(state.topics.iter().filter(|topic| !wanted.contains_key(*topic)).cloned());
            for (index, feed) in state.each_feed() {
                if let Source::Own { topic, filters } = &feed.source {
                    known.insert(topic.clone(), (index, feed.consumer, filters.clone()));
                }
            }
        }
        let all: BTreeSet<Arc<str>> = wanted.values().flatten().cloned().collect();
        for topic in stale {
            if !all.is_empty() && !touched.contains(&topic) {
                if !known.contains_key(&topic) {
                    wanted.insert(topic, all.clone());
                }
                continue;
            }
            if let Some((index, consumer, _)) = known.get(&topic) {
                self.end_feed(now, *consumer);
                if let Some(state) = self.state_mut(token) {
                    state.remove_feed(*index);
                }
            }
            self.core.end_durable(now, &topic, &name, None);
            if let Some(state) = self.state_mut(token) {
                state.topics.remove(&topic);
            }
        }
        for (topic, filters) in wanted {
            let filters: Arc<[Arc<str>]> = filters.into_iter().collect();
            match known.get(&topic) {
                Some((_, _, before)) if *before == filters => {}
                Some((index, consumer, _)) => self.refilter(now, key, token, *index, *consumer, filters),
                None => self.add_own_feed(now, key, token, topic, &name, filters),
            }
        }
    }

    fn state_mut(&mut self, token: SessionKey) -> Option<&mut super::flows::State> {
        self.mqtt.sessions.get_mut(token)?.flights.get_mut()
    }

    fn refilter(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        index: u32,
        consumer: ConsumerKey,
        filters: Arc<[Arc<str>]>,
    ) {
        match self.core.set_filters(now, consumer, filters.clone()) {
            Ok(()) => {
                if let Some(feed) = self.feed_mut(token, index)
                    && let Source::Own { filters: before, .. } = &mut feed.source
                {
                    *before = filters;
                    feed.awaited += 1;
                }
            }
            Err(refused) => {
                let reason = reason_of(&refused);
                self.fail_parts(now, key, token, reason, |subscription| subscription.share().is_none());
            }
        }
    }

    fn add_own_feed(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        topic: Arc<str>,
        name: &Arc<str>,
        filters: Arc<[Arc<str>]>,
    ) {
        let options = self.own_options(name, &filters);
        let source = Source::Own { topic: topic.clone(), filters };
        match self.add_feed(now, key, token, source, &topic, options) {
            Ok(()) => {
                if let Some(session) = self.mqtt.sessions.get_mut(token) {
                    session.flights.get_or_insert().topics.insert(topic);
                }
            }
            Err(Refused::Home(CloseReason::SubscriptionInUse)) => self.begin_again_soon(now, token, topic),
            Err(refused) => self.own_feed_failed(now, key, token, &topic, reason_of(&refused)),
        }
    }

    fn own_options(&self, name: &Arc<str>, filters: &Arc<[Arc<str>]>) -> ConsumerOptions {
        ConsumerOptions {
            subscription: Some(Box::new(SubscriptionOptions {
                name: name.clone(),
                durable: true,
                definition: Bytes::from_static(MQTT_SESSION),
                filters: Some(filters.clone()),
                durable_only: true,
                settings: Some(Arc::new(queue_settings(&self.config.mqtt))),
                ..SubscriptionOptions::default()
            })),
            ..ConsumerOptions::default()
        }
    }

    /// The session cannot have a queue at a topic address: filters that reach it fail.
    fn own_feed_failed(
        &mut self,
        now: Instant,
        key: usize,
        token: SessionKey,
        topic: &Arc<str>,
        reason: ReasonCode,
    ) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let reaching: BTreeSet<Arc<str>> = session
            .subscriptions
            .iter()
            .flatten()
            .filter(|subscription| subscription.share().is_none())
            .filter(|subscription| self.core.topics_of(subscription.topic_filter()).contains(topic))
            .map(|subscription| subscription.filter.clone())
            .collect();
        self.fail_parts(now, key, token, reason, |subscription| reaching.contains(&subscription.filter));
    }

    // ---- effects of the core ----------------------------------------------------------------------

    /// The home of a consumer's address has let it in, or goes by its filters; false when it is none of a
    /// client's.
    pub(super) fn mqtt_admitted(&mut self, now: Instant, consumer: ConsumerKey) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        let Some(key) = self.mqtt.sessions.get(token).and_then(Session::connection) else { return true };
        let Some(feed) = self.feed_mut(token, index) else { return true };
        feed.awaited = feed.awaited.saturating_sub(1);
        if feed.stage == Stage::Joining {
            self.open_feed(now, key, token, index);
            self.forget_missing(now, token);
        }
        self.advance_request(now, key);
        true
    }

    /// Nothing more waits for a consumer that was to be drained; false when it is none of a client's.
    pub(super) fn mqtt_drained(&mut self, now: Instant, consumer: ConsumerKey) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        let Some(key) = self.mqtt.sessions.get(token).and_then(Session::connection) else { return true };
        if self.drain_further(now, token, index) {
            return true;
        }
        let Some(feed) = self.feed_mut(token, index) else { return true };
        feed.credit = 0;
        if feed.stage == Stage::Returning {
            feed.stage = Stage::Open;
            self.forget_missing(now, token);
            self.pump(now, token);
        }
        self.refill_feeds(now, key, token);
        self.mark_dirty(key);
        true
    }

    /// More urgent messages have used all credit before everything has come again that was under way: that is
    /// still to come. Not beyond what a lane holds of them, which cannot be sent before.
    fn drain_further(&mut self, now: Instant, token: SessionKey, index: u32) -> bool {
        let Some(state) = self.state_mut(token) else { return false };
        let returned = &state.returned;
        let is_missing =
            |known: &&super::flows::Known| !known.is_released && !returned.contains_key(&known.packet_id);
        let missing = u32::try_from(state.known.values().filter(is_missing).count()).unwrap_or(u32::MAX);
        let (_, waiting) = state.waiting.fed();
        let Some(feed) = state.feed_mut(index) else { return false };
        let is_out = feed.stage == Stage::Returning && feed.credit == 0;
        if !is_out || missing == 0 || waiting > LANE_BUDGET as u64 / 2 {
            return false;
        }
        feed.credit = missing;
        let consumer = feed.consumer;
        self.core.set_credit(now, consumer, missing, true);
        true
    }

    /// The core closes a consumer; false when it is none of a client's.
    pub(super) fn mqtt_consumer_closed(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        reason: CloseReason,
    ) -> bool {
        let Some((token, index)) = self.mqtt.messages.consumer(consumer) else { return false };
        self.end_feed(now, consumer);
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return true };
        let key = session.connection();
        debug!(client_id = session.shown_id(), space = session.space(), %reason, "a subscription is closed");
        let Some(state) = session.flights.get_mut() else { return true };
        let Some(feed) = state.remove_feed(index) else { return true };
        if let (Source::Own { topic, .. } | Source::Shared { topic, .. }, CloseReason::HomeGone) =
            (&feed.source, reason)
        {
            // It may go between coming back and letting the session in: then it is waited for again.
            self.mqtt.out_of_reach.insert(topic.clone());
        }
        if let Source::Own { topic, .. } = &feed.source
            && is_final(reason)
        {
            state.topics.remove(topic);
        }
        let Some(key) = key else { return true };
        if let (Source::Own { topic, .. }, CloseReason::SubscriptionInUse) = (&feed.source, reason) {
            // It is this session's alone: whoever has it is about to go.
            self.begin_again_soon(now, token, topic.clone());
            self.advance_request(now, key);
            return true;
        }
        let is_answered = self.connections.mqtt(key).is_none_or(|client| client.intake.requests.is_idle());
        if feed.awaited > 0 || !is_answered {
            let reason = reason_of_close(reason);
            match &feed.source {
                Source::Own { topic, .. } => self.own_feed_failed(now, key, token, topic, reason),
                Source::Shared { index, .. } | Source::Plain { index, .. } => {
                    let filter =
                        self.mqtt.sessions.get(token).and_then(|session| session.subscription(*index));
                    if let Some(filter) = filter.map(|subscription| subscription.filter.clone()) {
                        self.fail_parts(now, key, token, reason, |subscription| {
                            subscription.filter == filter
                        });
                    }
                }
            }
        } else if let Some(reason) = reason_of_loss(reason) {
            // Its SUBACK has said that it would get them. When it comes back everything is begun anew.
            self.disconnect_client(now, key, reason);
            return true;
        }
        self.forget_missing(now, token);
        self.advance_request(now, key);
        true
    }

    // ---- sessions ---------------------------------------------------------------------------------

    /// Lets every subscription of a session have its messages: its client is connected.
    pub(super) fn start_subscriptions(&mut self, now: Instant, key: usize, token: SessionKey) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let count = u32::try_from(session.subscriptions.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return;
        }
        let forbidden = self.end_forbidden(now, key, token);
        if forbidden.is_some() {
            // Nobody waits for it: what a crash brings back is not let in either.
            let _ = self.record_session(token);
        }
        let touched = forbidden.unwrap_or_default();
        // A request that the last connection left has reached the homes, or is made again by the client.
        let indexes: Vec<u32> = (0..count).collect();
        self.mark_known(token, &indexes);
        for index in indexes {
            if let Err(reason) = self.begin_subscription(now, key, token, index)
                && reason != ReasonCode::UnspecifiedError
            {
                // Its address is gone, or full: it stays for when that changes.
                debug!(connection = %self.name_of(key), %reason, "a subscription of the session has no address");
            }
        }
        self.refresh_feeds(now, key, token, &touched);
    }

    /// Ends the subscriptions of a session that its user has no right to, or has no more: the topic addresses
    /// that they reached. `None`: there are none.
    fn end_forbidden(&mut self, now: Instant, key: usize, token: SessionKey) -> Option<BTreeSet<Arc<str>>> {
        let access = self.connections.get(key)?.caller.access.as_ref()?;
        let session = self.mqtt.sessions.get(token)?;
        let places = (0..).zip(&session.subscriptions);
        let subscriptions = places.filter_map(|(index, place)| Some((index, place.as_ref()?)));
        let is_forbidden = |subscription: &Subscription| {
            access.may(Right::Recv, outside(subscription.topic_filter())).is_err()
        };
        let forbidden: Vec<(u32, Arc<str>)> = subscriptions
            .filter(|(_, subscription)| is_forbidden(subscription))
            .map(|(index, subscription)| (index, subscription.filter.clone()))
            .collect();
        let has_forbidden = !forbidden.is_empty();
        let mut touched = BTreeSet::new();
        for (index, filter) in forbidden {
            let shown = filter_outside(&filter);
            debug!(connection = %self.name_of(key), filter = %shown, "a subscription ends: its user has no right to it");
            touched.extend(self.touched_by(&filter));
            self.give_claims_back(now, token, &filter);
            self.unsubscribe(now, key, token, index);
        }
        has_forbidden.then_some(touched)
    }

    /// Ends the subscriptions of a connected session that its user has no right to any more, and what is kept
    /// for them; false when there are none.
    pub(in crate::driver) fn drop_forbidden(&mut self, now: Instant, key: usize, token: SessionKey) -> bool {
        let Some(touched) = self.end_forbidden(now, key, token) else { return false };
        self.refresh_feeds(now, key, token, &touched);
        // Nobody waits for it: what a crash brings back is not let in either.
        let _ = self.record_session(token);
        true
    }

    /// A shared subscription ends that may not have been begun on this connection.
    fn give_claims_back(&mut self, now: Instant, token: SessionKey, share: &str) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let claim = session.owner_name(&self.config.node);
        let Some(state) = session.flights.get_mut() else { return };
        let claims = std::mem::take(&mut state.claims).into_iter();
        let (given_back, kept) = claims.partition(|(_, claimed)| **claimed == *share);
        state.claims = kept;
        for (topic, share) in given_back {
            self.core.end_durable(now, &topic, &share, Some(&claim));
        }
    }

    /// Nothing live comes any more. Feeds are the caller's to end.
    pub(super) fn stop_subscriptions(&mut self, token: SessionKey) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        for (index, place) in session.subscriptions.iter_mut().enumerate() {
            let Some(subscription) = place else { continue };
            if std::mem::take(&mut subscription.state) == State::Topics {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                let subscriber = Subscriber { token: token.to_bits(), index };
                self.core.remove_live(subscription.topic_filter(), subscriber);
            }
        }
    }

    /// A session ends: its durable subscriptions and its claims do, too.
    pub(super) fn end_subscriptions(&mut self, now: Instant, token: SessionKey) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        for (topic, name, claim) in self.subscriptions_to_end(session) {
            self.core.end_durable(now, &topic, &name, claim.as_deref());
        }
    }

    /// The durable subscriptions that end with a session, by topic and name, and of shared ones its claim.
    #[allow(clippy::type_complexity, reason = "the arguments of one function")]
    pub(super) fn subscriptions_to_end(
        &self,
        session: &Session,
    ) -> Vec<(Arc<str>, Arc<str>, Option<Arc<str>>)> {
        let name = session.subscription_name(&self.config.node);
        let mut topics: BTreeSet<Arc<str>> = self.wanted_topics(session).into_keys().collect();
        let mut claims: BTreeSet<(Arc<str>, Arc<str>)> = BTreeSet::new();
        if let Some(state) = session.flights.get() {
            topics.extend(state.topics.iter().cloned());
            claims.clone_from(&state.claims);
        }
        if session.is_lasting() {
            for subscription in session.subscriptions.iter().flatten() {
                let Some(share) = subscription.share() else { continue };
                let reached = self.core.topics_of(subscription.topic_filter()).into_iter();
                claims.extend(reached.map(|topic| (topic, Arc::from(share))));
            }
        }
        let claim = session.owner_name(&self.config.node);
        let own = topics.into_iter().map(|topic| (topic, name.clone(), None));
        let shared = claims.into_iter().map(|(topic, share)| (topic, share, Some(claim.clone())));
        own.chain(shared).collect()
    }

    /// Makes what a session has to have at every topic address that its filters reach: it has come from another
    /// node, and topics may have come meanwhile.
    pub(super) fn keep_all_for_later(&mut self, now: Instant, token: SessionKey) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let filters = session.subscriptions.iter().flatten().map(Subscription::topic_filter);
        let topics: BTreeSet<Arc<str>> = filters.flat_map(|filter| self.core.topics_of(filter)).collect();
        for topic in topics {
            self.keep_for_later(now, token, &topic);
        }
    }

    /// A topic address that a filter of the session reaches has come or gone.
    pub(crate) fn topic_changed(&mut self, now: Instant, token: SessionKey, address: &str) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        match session.connection() {
            Some(key) => {
                self.begin_again(now, key, token, address);
                self.join_shares_of(now, key, token, address);
                self.refresh_feeds(now, key, token, &BTreeSet::new());
            }
            None => self.keep_for_later(now, token, address),
        }
    }

    /// Begins the subscriptions that an address which has come or gone is for, where they had nothing to
    /// come from or come from what is no more.
    fn begin_again(&mut self, now: Instant, key: usize, token: SessionKey, address: &str) {
        for index in self.misplaced(token, address) {
            self.suspend(now, token, index);
            if let Err(reason) = self.begin_subscription(now, key, token, index) {
                debug!(connection = %self.name_of(key), %reason, "a subscription of the session has no address");
            }
        }
    }

    /// The subscriptions that this address may be for, and that their state does not fit any more.
    fn misplaced(&self, token: SessionKey, address: &str) -> Vec<u32> {
        let Some(session) = self.mqtt.sessions.get(token) else { return Vec::new() };
        let is_fed = |index: u32| {
            let mut feeds = session.flights.get().into_iter().flat_map(super::flows::State::each_feed);
            feeds.any(|(_, feed)| {
                matches!(&feed.source, Source::Plain { index: subscription, .. } if *subscription == index)
            })
        };
        let is_misplaced = |index: u32, subscription: &Subscription| {
            let is_plain = self.plain_kind(subscription.topic_filter()).is_some();
            match subscription.state {
                State::Idle => true,
                State::Topics | State::Shared => is_plain,
                State::Plain => !is_plain || !is_fed(index),
            }
        };
        (0..)
            .zip(&session.subscriptions)
            .filter_map(|(index, place)| Some((index, place.as_ref()?)))
            .filter(|(_, subscription)| reaches(subscription.topic_filter(), address))
            .filter(|(index, subscription)| is_misplaced(*index, subscription))
            .map(|(index, _)| index)
            .collect()
    }

    /// The kind of the address that a filter names, when that is no topic.
    fn plain_kind(&self, filter: &str) -> Option<AddressKind> {
        let kind = if filter.contains(['+', '#']) { None } else { self.core.kind(filter) };
        kind.filter(|kind| *kind != AddressKind::Topic)
    }

    /// Ends where a subscription has its messages from, but for queues of shares, which may hold some yet.
    fn suspend(&mut self, now: Instant, token: SessionKey, index: u32) {
        let Some(session) = self.mqtt.sessions.get_mut(token) else { return };
        let Some(Some(subscription)) = session.subscriptions.get_mut(index as usize) else { return };
        match std::mem::take(&mut subscription.state) {
            State::Idle | State::Shared => {}
            State::Topics => {
                let subscriber = Subscriber { token: token.to_bits(), index };
                self.core.remove_live(subscription.topic_filter(), subscriber);
            }
            State::Plain => {
                let Some(state) = session.flights.get_mut() else { return };
                let feed = state.each_feed().find(|(_, feed)| {
                    matches!(&feed.source, Source::Plain { index: subscription, .. } if *subscription == index)
                });
                let feed = feed.map(|(feed, _)| feed).and_then(|feed| state.remove_feed(feed));
                if let Some(feed) = feed {
                    self.end_feed(now, feed.consumer);
                }
            }
        }
    }

    /// Joins the shared subscriptions of a session at a topic address that is new.
    fn join_shares_of(&mut self, now: Instant, key: usize, token: SessionKey, address: &str) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let claim = session.is_lasting().then(|| session.owner_name(&self.config.node));
        let mut joining = Vec::new();
        for (index, subscription) in session.subscriptions.iter().enumerate() {
            let Some(subscription) = subscription else { continue };
            let Some(share) = subscription.share().filter(|_| subscription.state == State::Shared) else {
                continue;
            };
            let topics = self.core.topics_of(subscription.topic_filter());
            let Some(topic) = topics.into_iter().find(|topic| **topic == *address) else { continue };
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let source = Source::Shared { index, topic: topic.clone() };
            let has_it =
                |state: &super::flows::State| state.each_feed().any(|(_, feed)| feed.source == source);
            if !session.flights.get().is_some_and(has_it) {
                let filter: Arc<str> = subscription.topic_filter().into();
                joining.push((index, topic, Arc::<str>::from(share), filter));
            }
        }
        for (index, topic, share, filter) in joining {
            let joined = self.join_share(now, key, token, index, &topic, &share, &filter, claim.clone());
            if let Err(refused) = joined {
                debug!(connection = %self.name_of(key), %refused, "a shared subscription cannot be joined");
            }
        }
    }

    /// Makes what a session has to have at a topic address that is new: its client is away.
    fn keep_for_later(&mut self, now: Instant, token: SessionKey, address: &str) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let name = session.subscription_name(&self.config.node);
        let claim = session.owner_name(&self.config.node);
        let mut made = Vec::new();
        let has_own = session.flights.get().is_some_and(|state| state.topics.contains(address));
        if let Some((topic, filters)) = self.wanted_topics(session).remove_entry(address)
            && !has_own
        {
            made.push((topic, None, self.own_options(&name, &filters.into_iter().collect())));
        }
        for subscription in session.subscriptions.iter().flatten() {
            let Some(share) = subscription.share().map(Arc::<str>::from) else { continue };
            let topics = self.core.topics_of(subscription.topic_filter());
            let Some(topic) = topics.into_iter().find(|topic| **topic == *address) else { continue };
            let filter: Arc<str> = subscription.topic_filter().into();
            let claim = Some(claim.clone());
            let options = share_options(&share, &filter, claim, queue_settings(&self.config.mqtt));
            made.push((topic, Some(share), options));
        }
        for (topic, share, options) in made {
            let lane = self.core.add_lane();
            // It goes on without the consumer that has made it.
            match self.core.add_consumer(now, lane, &topic, options) {
                Ok(consumer) => {
                    self.core.remove_consumer(now, consumer);
                    if let Some(session) = self.mqtt.sessions.get_mut(token) {
                        let state = session.flights.get_or_insert();
                        match share {
                            Some(share) => _ = state.claims.insert((topic, share)),
                            None => _ = state.topics.insert(topic),
                        }
                    }
                }
                Err(refused) => debug!(%refused, "a session cannot have its messages of a new topic"),
            }
            self.core.remove_lane(now, lane);
        }
    }
}

/// How a member of a shared subscription consumes from it. It keeps messages as a session does: members may
/// stay away for ever.
fn share_options(
    share: &Arc<str>,
    filter: &Arc<str>,
    claim: Option<Arc<str>>,
    settings: QueueSettings,
) -> ConsumerOptions {
    ConsumerOptions {
        subscription: Some(Box::new(SubscriptionOptions {
            name: share.clone(),
            durable: true,
            shared: true,
            definition: Bytes::from_static(MQTT_SHARE),
            filters: Some([filter.clone()].into()),
            settings: Some(Arc::new(settings)),
            claim,
            ends_unused: true,
            ..SubscriptionOptions::default()
        })),
        ..ConsumerOptions::default()
    }
}

/// Whether nothing is left of the subscription that a consumer was closed for.
fn is_final(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::AddressDeleted | CloseReason::NotFound | CloseReason::Unsubscribed)
}

/// What a client is told whose messages of a subscription do not come any more; nothing when that has to do
/// with its address, which may come again.
fn reason_of_loss(reason: CloseReason) -> Option<ReasonCode> {
    match reason {
        CloseReason::AddressDeleted | CloseReason::NotFound => None,
        CloseReason::Unsubscribed => Some(ReasonCode::AdministrativeAction),
        CloseReason::SlowConsumer | CloseReason::LimitExceeded | CloseReason::TooManySubscriptions => {
            Some(ReasonCode::QuotaExceeded)
        }
        _ => Some(ReasonCode::ImplementationSpecificError),
    }
}

fn granted_reason(qos: Qos) -> ReasonCode {
    match qos {
        Qos::AtMostOnce => ReasonCode::Success,
        Qos::AtLeastOnce => ReasonCode::GrantedQos1,
        Qos::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}

/// What a SUBACK says of a consumer that is not let in (3.9.3).
fn reason_of(refused: impl std::borrow::Borrow<Refused>) -> ReasonCode {
    match refused.borrow() {
        Refused::NotFound(_) | Refused::BadName { .. } | Refused::NotStored(_) => {
            ReasonCode::TopicFilterInvalid
        }
        Refused::LimitExceeded { .. } | Refused::Full(_) => ReasonCode::QuotaExceeded,
        Refused::NotAllowed(_) => ReasonCode::NotAuthorized,
        Refused::Home(reason) => reason_of_close(*reason),
        _ => ReasonCode::UnspecifiedError,
    }
}

fn reason_of_close(reason: CloseReason) -> ReasonCode {
    match reason {
        CloseReason::AddressDeleted | CloseReason::NotFound => ReasonCode::TopicFilterInvalid,
        CloseReason::LimitExceeded | CloseReason::TooManySubscriptions => ReasonCode::QuotaExceeded,
        CloseReason::Exclusive | CloseReason::SubscriptionInUse => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}
