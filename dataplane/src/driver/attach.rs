//! Links: what an attach asks for (AMQP 2.6.3, 3.5), what the core makes of it, and the end of a link.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use mq_amqp::performative::{
    Attach, Error, NodeTarget, ReceiverSettleMode, Role, SenderSettleMode, Source, Target,
};
use mq_amqp::value::{Symbol, Text};
use mq_amqp::{LinkKey, SessionKey, Terms, condition};
use mq_core::{
    AddressKind, AddressSettings, CloseReason, ConsumerKey, ConsumerOptions, ProducerKey, ProducerOptions,
    ProducerTarget, Refused, SubscriptionOptions,
};
use mq_model::TEMPORARY_PREFIX;
use mq_model::grant::Right;
use tracing::debug;

use super::access::Denied;
use super::limits::exceeds;
use super::message::Wants;
use super::outcome::from_state;
use super::terminus::{
    COPY, Definition, Filters, MOVE, QUEUE, Subscription, TOPIC, granted, origin_of, owner, resumed_name,
    subscription_of, wants_retained,
};
use super::{LinkRef, Shard, Waiting};
use crate::mailbox::AddressNews;
use crate::usage::{Held, Limit};

/// Messages say themselves where they go (AMQP, anonymous terminus for message routing).
const ANONYMOUS_RELAY: Symbol = Symbol::from_static("ANONYMOUS-RELAY");

/// Messages can say when they are to be delivered.
const DELAYED_DELIVERY: Symbol = Symbol::from_static("DELAYED_DELIVERY");

/// Several links can consume from one subscription.
const SHARED_SUBSCRIPTIONS: Symbol = Symbol::from_static("SHARED-SUBS");

/// The target is a queue that goes with its link.
const TEMPORARY_QUEUE: Symbol = Symbol::from_static("temporary-queue");

/// The target is a topic that goes with its link.
const TEMPORARY_TOPIC: Symbol = Symbol::from_static("temporary-topic");

/// Temporary queues and topics of one shard.
const MAX_TEMPORARY_TARGETS: usize = 100_000;

/// In the names of the queues in which messages wait for clients of MQTT.
const SESSION_QUEUE: &str = "::%mqtt:";

/// What every connection is offered.
pub(super) const CAPABILITIES: [Symbol; 3] = [ANONYMOUS_RELAY, DELAYED_DELIVERY, SHARED_SUBSCRIPTIONS];

/// An error for a peer.
pub(super) fn refusal(condition: &'static str, text: impl AsRef<str>) -> Error {
    Error::new(condition, text)
}

/// What a peer is told that has no right to a link.
pub(super) fn unauthorized(denied: &Denied) -> Error {
    refusal(condition::UNAUTHORIZED_ACCESS, denied.to_string())
}

/// What a peer is told that the core refuses a link.
pub(super) fn refused(refused: &Refused) -> Error {
    let condition = match refused {
        Refused::Home(reason) => return closed(*reason),
        Refused::NotFound(_) => condition::NOT_FOUND,
        Refused::LimitExceeded { .. } | Refused::Full(_) => condition::RESOURCE_LIMIT_EXCEEDED,
        Refused::NotAllowed(_) | Refused::Exists(_) | Refused::NotStored(_) => condition::NOT_ALLOWED,
        Refused::BadName { .. } => condition::INVALID_FIELD,
        Refused::Stopping | Refused::HomeUnavailable { .. } => condition::DETACH_FORCED,
        _ => condition::ILLEGAL_STATE,
    };
    refusal(condition, refused.to_string())
}

/// What a peer is told when the core closes its link.
pub(super) fn closed(reason: CloseReason) -> Error {
    let condition = match reason {
        CloseReason::AddressDeleted | CloseReason::Unsubscribed => condition::RESOURCE_DELETED,
        CloseReason::NotFound => condition::NOT_FOUND,
        CloseReason::Exclusive | CloseReason::SubscriptionInUse => condition::RESOURCE_LOCKED,
        CloseReason::StoreFailed => condition::INTERNAL_ERROR,
        CloseReason::HomeGone => condition::DETACH_FORCED,
        _ => condition::RESOURCE_LIMIT_EXCEEDED,
    };
    refusal(condition, reason.to_string())
}

/// What an attach asks for.
enum Wanted {
    Producer {
        address: Option<Text>,
        capabilities: Vec<Symbol>,
    },
    Consumer {
        address: Text,
        source: Box<Source>,
    },
    /// The durable subscription that the link's name stands for.
    Resumed,
    Coordinator,
    Temporary {
        source: Box<Source>,
    },
    /// A queue or a topic that goes with the link, as JMS clients make them.
    TemporaryTarget {
        target: NodeTarget,
    },
}

/// Where a link is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) connection: usize,
    pub(super) session: SessionKey,
    pub(super) link: LinkKey,
}

impl Shard {
    pub(super) fn handle_attach(&mut self, now: Instant, key: usize, link: LinkKey, attach: &Attach) {
        let Some(connection) = self.connections.amqp(key) else { return };
        let Ok(session) = connection.engine.session_of_link(link) else { return };
        let place = Place { connection: key, session, link };
        let (mut counted, wanted) = match (self.take(key, Limit::Links), wanted(attach)) {
            (Ok(counted), wanted) => (counted, wanted),
            (Err(exceeded), _) => (None, Err(exceeds(&exceeded))),
        };
        let done = wanted.and_then(|wanted| match wanted {
            Wanted::Producer { address, capabilities } => {
                self.attach_producer(now, place, attach, address, capabilities)
            }
            Wanted::Consumer { address, source } => {
                self.attach_consumer(now, place, attach, &address, *source)
            }
            Wanted::Resumed => self.attach_resumed(now, place, attach),
            Wanted::Temporary { source } => self.attach_temporary(now, place, attach, *source),
            Wanted::TemporaryTarget { target } => self.attach_temporary_target(now, place, attach, target),
            Wanted::Coordinator => {
                self.attach_coordinator(key, link, attach);
                Ok(())
            }
        });
        if done.is_ok() {
            let role = if attach.role == Role::Sender { Role::Receiver } else { Role::Sender };
            self.keep_for_link(key, role, link, counted.take());
        }
        if let Err(error) = done {
            let error = self.told_error(key, error);
            debug!(connection = %self.name_of(key), link = %attach.name, condition = %error.condition,
                description = error.description.as_ref().map(Text::as_str), "link refused");
            if let Some(connection) = self.connections.amqp_mut(key) {
                // Gone already: the peer detached in the same breath.
                let _ = connection.engine.refuse(link, error);
            }
        }
    }

    /// An error in the words of the client who gets it.
    pub(super) fn told_error(&self, key: usize, mut error: Error) -> Error {
        if let Some(text) = &error.description
            && let Cow::Owned(told) = self.space_of(key).told(text.as_str())
        {
            error.description = Some(told.into());
        }
        error
    }

    fn container_of(&self, key: usize) -> Text {
        self.connections.amqp(key).map_or_else(Text::default, |connection| connection.container_id.clone())
    }

    /// Whose the durable subscriptions of a connection are: those of its container, of users that have one of
    /// the same name each his own.
    fn owner_of(&self, key: usize) -> String {
        let user = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref()?.user());
        owner(user.map(|user| &**user), self.container_of(key).as_str())
    }

    /// # Errors
    /// `amqp:unauthorized-access`, when the client of a connection has no such right.
    fn may(&mut self, key: usize, right: Right, asked: &str) -> Result<(), Error> {
        self.check_right(key, right, asked).map_err(|denied| unauthorized(&denied))
    }

    /// # Errors
    /// `amqp:unauthorized-access`, when the client may not consume from an address, or look at what it holds. The
    /// address goes by the client's name and by that inside the fleet.
    fn may_consume(&mut self, place: Place, name: &str, inside: &str, is_browser: bool) -> Result<(), Error> {
        if name.starts_with(TEMPORARY_PREFIX) && self.has_made(place.connection, inside) {
            return Ok(());
        }
        let right = if is_browser { Right::Browse } else { Right::Recv };
        let heard = self.heard_at(name, inside);
        self.may(place.connection, right, &heard)?;
        if name.contains(SESSION_QUEUE) {
            // What waits for a client of MQTT is his, whoever else hears of the topic.
            self.may(place.connection, Right::Manage, name)?;
        }
        Ok(())
    }

    /// What is heard at a client's name, which is this one inside the fleet: a topic's own name stands for all names
    /// of the topic.
    pub(super) fn heard_at<'a>(&self, name: &'a str, inside: &str) -> Cow<'a, str> {
        let is_topic = self.core.kind(inside) == Some(AddressKind::Topic)
            && self.core.topics_of(inside).iter().any(|topic| **topic == *inside);
        if is_topic && name != "#" { Cow::Owned(format!("{name}/#")) } else { Cow::Borrowed(name) }
    }

    /// Whether a connection has made a temporary address, which is its own to consume from.
    fn has_made(&self, key: usize, name: &str) -> bool {
        let Some(client) = self.connections.amqp(key) else { return false };
        let mut producers = client.engine.links().filter(|link| link.role == Role::Receiver);
        producers.any(|link| {
            let link = self.producers.get(link.token);
            link.is_some_and(|link| link.is_temporary && link.address.as_deref() == Some(name))
        })
    }

    fn attach_producer(
        &mut self,
        now: Instant,
        place: Place,
        attach: &Attach,
        address: Option<Text>,
        capabilities: Vec<Symbol>,
    ) -> Result<(), Error> {
        let local = address.as_ref().map(|address| local_name(address.as_str()));
        if let Some(local) = local {
            self.may(place.connection, Right::Send, local)?;
        }
        let name = local.map(|local| self.inside(place.connection, local));
        let name = name.as_deref();
        let kind = name.and_then(|name| self.core.kind(name));
        check_kind(local, kind, &capabilities)?;
        let options = ProducerOptions {
            settles_second: attach.rcv_settle_mode == ReceiverSettleMode::Second,
            origin: origin_of(self.container_of(place.connection).as_str()),
            owner: self.stock_owner(place.connection),
        };
        let target = name.map_or(ProducerTarget::AnyAddress, ProducerTarget::Address);
        let producer = self.core.add_producer(now, target, options).map_err(|error| refused(&error))?;
        // What an anonymous relay sends may go to a stored address.
        let can_wait = kind.is_none_or(AddressKind::is_stored);
        let capabilities = capabilities.into_iter().filter(|capability| [QUEUE, TOPIC].contains(capability));
        let terms = Terms {
            source: attach.source.clone(),
            target: Some(Box::new(Target::Node(NodeTarget {
                address: address.clone(),
                capabilities: capabilities.collect(),
                ..NodeTarget::default()
            }))),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            max_message_size: Some(self.max_message_size(place.connection, producer)),
            offered_capabilities: if can_wait { vec![DELAYED_DELIVERY] } else { Vec::new() },
            ..Terms::default()
        };
        let wants = Wants { to: name.is_none(), annotations: can_wait };
        let address = name.map(Into::into);
        let bits = producer.to_bits();
        self.producers.insert(LinkRef { wants, ..place.link_ref(bits, address) });
        self.accept(now, place, Role::Receiver, terms, bits);
        Ok(())
    }

    fn attach_consumer(
        &mut self,
        now: Instant,
        place: Place,
        attach: &Attach,
        address: &Text,
        source: Source,
    ) -> Result<(), Error> {
        let lane = self.lane(place)?;
        let local = local_name(address.as_str());
        let inside = self.inside(place.connection, local);
        let name = &*inside;
        let kind = self.core.kind(name);
        let is_browser = kind == Some(AddressKind::Queue) && source.distribution_mode == Some(COPY);
        self.may_consume(place, local, name, is_browser)?;
        check_kind(Some(local), kind, &source.capabilities)?;
        let is_topic = kind == Some(AddressKind::Topic);
        let container = self.container_of(place.connection);
        let mut filters = Filters::read(&source.filter)?;
        let owner = self.owner_of(place.connection);
        let subscription = subscription_of(&owner, attach.name.as_str(), &source);
        let subscription = subscription.filter(|_| is_topic);
        if subscription.as_ref().is_some_and(|subscription| subscription.is_global) {
            // It belongs to no container, so nothing is local to it.
            filters.drop_no_local();
        }
        let not_from = filters.no_local.then(|| origin_of(container.as_str()));
        let definition = subscription.as_ref().filter(|subscription| subscription.is_durable);
        let definition = definition.map(|subscription| {
            Definition::new(subscription, name, container, &filters, &source.capabilities)
        });
        let is_known = definition
            .as_ref()
            .is_some_and(|definition| self.shared.subscriptions.find(&definition.key()).is_some());
        let counted =
            if is_topic && !is_known { self.take(place.connection, Limit::Subscriptions) } else { Ok(None) };
        let counted = counted.map_err(|exceeded| exceeds(&exceeded))?;
        // A durable one goes on without its link.
        let (held, counted_subscription) =
            if definition.is_some() { (counted, None) } else { (None, counted) };
        let options = ConsumerOptions {
            browse: is_browser,
            filter: filters.selector.take(),
            subscription: subscription.as_ref().map(|subscription| {
                Box::new(subscription_options(subscription, definition.as_ref(), not_from))
            }),
            not_from,
            retained: is_topic && wants_retained(&source, &filters),
            ..consumer_options(attach, &source)
        };
        let consumer = self.core.add_consumer(now, lane, name, options).map_err(|error| refused(&error))?;
        if !kind.is_some_and(AddressKind::is_stored) {
            // AMQP 3.5.3: the filters in place. What is passed on is not filtered.
            filters.granted.clear();
        }
        let mode = match kind {
            Some(AddressKind::Queue) if is_browser => Some(COPY),
            Some(AddressKind::Queue) => Some(MOVE),
            Some(AddressKind::Topic) => Some(COPY),
            _ => source.distribution_mode.clone(),
        };
        let offered = if subscription.as_ref().is_some_and(|subscription| subscription.is_shared) {
            vec![SHARED_SUBSCRIPTIONS]
        } else {
            Vec::new()
        };
        let source = Source { distribution_mode: mode, dynamic: false, ..source };
        let source = granted(source, subscription.as_ref(), filters, is_topic);
        let bits = consumer.to_bits();
        let terms = Terms { offered_capabilities: offered, ..consumer_terms(attach, source) };
        self.consumers.insert(LinkRef {
            subscription: definition.as_ref().map(|definition| definition.key().into()),
            is_stored: kind.is_some_and(AddressKind::is_stored),
            is_browser,
            waiting: Some(Box::new(Waiting { terms, definition, held })),
            counted: [None, counted_subscription],
            ..place.link_ref(bits, Some(name.into()))
        });
        if self.core.is_admitted(consumer) {
            self.admit(now, consumer);
        } else {
            self.wait(now, place, bits);
        }
        Ok(())
    }

    /// A client comes back to a durable subscription by the name of the link alone: to end it, or to
    /// consume from it.
    fn attach_resumed(&mut self, now: Instant, place: Place, attach: &Attach) -> Result<(), Error> {
        let owner = self.owner_of(place.connection);
        let name = resumed_name(&owner, attach.name.as_str(), &attach.desired_capabilities);
        let Some(definition) = self.shared.subscriptions.find(&self.inside(place.connection, &name)) else {
            let text = format!(
                "no durable subscription {} of this container; attach with a source to make one",
                attach.name
            );
            return Err(refusal(condition::NOT_FOUND, text));
        };
        let source = definition.source();
        let address = source.address.clone().unwrap_or_default();
        self.attach_consumer(now, place, attach, &address, source)
    }

    fn attach_temporary(
        &mut self,
        now: Instant,
        place: Place,
        attach: &Attach,
        source: Source,
    ) -> Result<(), Error> {
        let lane = self.lane(place)?;
        let local = self.temporary_name();
        let name: Arc<str> = self.inside(place.connection, &local).into();
        let options = consumer_options(attach, &source);
        let consumer = self.core.add_temporary(now, lane, name.clone(), options);
        let consumer = consumer.map_err(|error| refused(&error))?;
        let source = Source { address: Some(Text::from(local)), ..source };
        let source = granted(source, None, Filters::default(), false);
        let bits = consumer.to_bits();
        self.consumers.insert(place.link_ref(bits, Some(name)));
        self.accept(now, place, Role::Sender, consumer_terms(attach, source), bits);
        Ok(())
    }

    /// A queue or a topic that is there as long as the link that made it, on every shard, and keeps
    /// its messages in memory alone. Whoever knows its name can use it.
    fn attach_temporary_target(
        &mut self,
        now: Instant,
        place: Place,
        attach: &Attach,
        target: NodeTarget,
    ) -> Result<(), Error> {
        if self.temporary_targets >= MAX_TEMPORARY_TARGETS {
            let text = format!("the worker has {MAX_TEMPORARY_TARGETS} temporary addresses; close some");
            return Err(refusal(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        let has = |capability: &Symbol| target.capabilities.contains(capability);
        let is_topic = has(&TEMPORARY_TOPIC) || (has(&TOPIC) && !has(&TEMPORARY_QUEUE));
        let settings = AddressSettings {
            kind: if is_topic { AddressKind::Topic } else { AddressKind::Queue },
            max_message_bytes: self.config.store.max_message_size,
            link_credit: self.config.limits.link_credit,
            queue: Some(Arc::default()),
            ..AddressSettings::default()
        };
        let local = self.temporary_name();
        let name: Arc<str> = self.inside(place.connection, &local).into();
        self.temporary_targets += 1;
        self.share_address(now, &name, Some(settings));
        let options = ProducerOptions {
            settles_second: attach.rcv_settle_mode == ReceiverSettleMode::Second,
            origin: origin_of(self.container_of(place.connection).as_str()),
            owner: self.stock_owner(place.connection),
        };
        let producer = match self.core.add_producer(now, ProducerTarget::Address(&name), options) {
            Ok(producer) => producer,
            Err(error) => {
                self.remove_temporary_target(now, &name);
                return Err(refused(&error));
            }
        };
        let capability = if is_topic { TEMPORARY_TOPIC } else { TEMPORARY_QUEUE };
        let terms = Terms {
            source: attach.source.clone(),
            target: Some(Box::new(Target::Node(NodeTarget {
                address: Some(Text::from(local)),
                dynamic: true,
                dynamic_node_properties: target.dynamic_node_properties,
                capabilities: vec![capability],
                ..NodeTarget::default()
            }))),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            max_message_size: Some(self.max_message_size(place.connection, producer)),
            offered_capabilities: vec![DELAYED_DELIVERY],
            ..Terms::default()
        };
        let wants = Wants { to: false, annotations: true };
        let bits = producer.to_bits();
        self.producers.insert(LinkRef { wants, is_temporary: true, ..place.link_ref(bits, Some(name)) });
        self.accept(now, place, Role::Receiver, terms, bits);
        Ok(())
    }

    fn remove_temporary_target(&mut self, now: Instant, name: &Arc<str>) {
        self.temporary_targets = self.temporary_targets.saturating_sub(1);
        self.share_address(now, name, None);
    }

    /// Creates an address on every shard, or removes it.
    fn share_address(&mut self, now: Instant, name: &Arc<str>, settings: Option<AddressSettings>) {
        let news = AddressNews { name: name.clone(), settings };
        self.take_address(now, &news);
        self.address_news.push(news);
    }

    /// Takes an address over that another shard has created, or lets it go.
    pub(super) fn take_address(&mut self, now: Instant, news: &AddressNews) {
        match &news.settings {
            Some(settings) => self.core.set_address(now, &news.name, settings.clone()),
            None => self.core.remove_address(now, &news.name),
        }
    }

    pub(super) fn lane(&self, place: Place) -> Result<mq_core::LaneKey, Error> {
        self.lane_of(place.connection, place.session)
            .ok_or_else(|| refusal(condition::ILLEGAL_STATE, Refused::NoLane.to_string()))
    }

    /// Answers an attach; when the peer has taken it back in the meantime, the core's link goes.
    fn accept(&mut self, now: Instant, place: Place, role: Role, terms: Terms, token: u64) {
        let connection = self.connections.amqp_mut(place.connection);
        let accepted =
            connection.is_some_and(|connection| connection.engine.accept(place.link, terms, token).is_ok());
        if !accepted {
            self.remove_link(now, role, token);
        }
    }

    /// Leaves a consumer's attach unanswered until its home, another shard, has let it in or not: who has
    /// the answer gets what is published next. What the peer says of the link meanwhile, credit or its end,
    /// reaches the core as always.
    fn wait(&mut self, now: Instant, place: Place, token: u64) {
        let connection = self.connections.amqp_mut(place.connection);
        let is_named =
            connection.is_some_and(|connection| connection.engine.name_link(place.link, token).is_ok());
        if !is_named {
            self.remove_link(now, Role::Sender, token);
        }
    }

    /// A consumer has been let in: answers its attach.
    pub(super) fn admit(&mut self, now: Instant, consumer: ConsumerKey) {
        let token = consumer.to_bits();
        let Some(link) = self.consumers.get_mut(token) else { return };
        let Some(waiting) = link.waiting.take() else { return };
        let place = Place { connection: link.connection, session: link.session, link: link.link };
        let Waiting { terms, definition, held } = *waiting;
        if let Some(definition) = definition {
            let key = definition.key().into_owned();
            self.shared.subscriptions.add(definition, held);
            self.shared.subscriptions.use_one(&key);
        }
        self.accept(now, place, Role::Sender, terms, token);
        self.mark_dirty(place.connection);
    }

    /// Bytes of a message that a producer's link takes; 0 means no limit. A lower limit that the
    /// address gets later holds as well: the core rejects what is larger.
    fn max_message_size(&self, key: usize, producer: ProducerKey) -> u64 {
        let bytes = match self.core.max_message_bytes(producer) {
            0 => self.config.limits.max_message_size,
            bytes => bytes,
        };
        match self.most_bytes(key) {
            Some(most) if bytes == 0 || most < bytes => most,
            _ => bytes,
        }
    }

    /// A name for a dynamic node, as its client is told it: the node and the shard make it unique in the fleet.
    /// Knowing one name does not help to guess another: it is a keyed hash of a number, under a key that nobody
    /// outside knows.
    fn temporary_name(&mut self) -> String {
        self.next_name = self.next_name.wrapping_add(1);
        let number = self.next_name;
        let [high, low] = [0_u8, 1].map(|half| self.name_secret.hash_one((half, number)));
        format!("{TEMPORARY_PREFIX}{}.{}-{high:016x}{low:016x}", self.config.node, self.id.0)
    }

    // ---- the end of links -------------------------------------------------------------------------

    /// The peer has closed a consumer's link, and not only detached it: its durable subscription, if
    /// it has one, ends with it (AMQP 2.6.6).
    pub(super) fn end_subscription(&mut self, now: Instant, token: u64) {
        let Some(consumer) = ConsumerKey::from_bits(token) else { return };
        let Some(link) = self.consumers.get_mut(token) else { return };
        let Some(name) = link.subscription.clone() else { return };
        if link.waiting.take().is_some() {
            // As one of those that use it, like any that closes.
            self.shared.subscriptions.use_one(&name);
        }
        self.core.unsubscribe(now, consumer);
        self.shared.subscriptions.remove_unless_used(&name);
    }

    /// A link goes that has not been answered. What it subscribed to for good is there from the moment its
    /// home has heard of it, and a client can come back to it.
    fn keep_definition(&self, definition: Option<Definition>, held: Option<Held>) {
        let subscriptions = &self.shared.subscriptions;
        if let Some(definition) = definition
            && subscriptions.find(&definition.key()).is_none()
        {
            subscriptions.add(definition, held);
        }
    }

    /// The core ends a consumer's link. One whose attach has not been answered is refused by that: the
    /// engine attaches it without a terminus first (AMQP 2.6.3).
    pub(super) fn close_consumer(&mut self, now: Instant, consumer: ConsumerKey, reason: CloseReason) {
        self.on_consumer(consumer, |engine, link| {
            let _ = engine.detach(link, true, Some(closed(reason)));
        });
        let token = consumer.to_bits();
        if let Some((key, link)) = self.consumers.get(token).map(|link| (link.connection, link.link)) {
            self.note_route_end(key, link, &closed(reason));
        }
        let Some(link) = self.consumers.get_mut(token) else { return };
        let mut subscription = link.subscription.clone();
        if let Some(waiting) = &mut link.waiting {
            // A link that is refused adds nothing and takes nothing away.
            (subscription, waiting.definition) = (None, None);
        }
        self.remove_link(now, Role::Sender, token);
        let is_gone = !matches!(
            reason,
            CloseReason::SlowConsumer | CloseReason::SubscriptionInUse | CloseReason::LimitExceeded
        );
        if let Some(name) = subscription.filter(|_| is_gone) {
            self.shared.subscriptions.remove(&name);
        }
    }

    /// Links that go together. None gets what another of them leaves behind: it could not be sent.
    pub(super) fn remove_links(&mut self, now: Instant, links: &[(Role, u64)]) {
        for (_, token) in links.iter().filter(|(role, _)| *role == Role::Sender) {
            if let Some(consumer) = ConsumerKey::from_bits(*token) {
                self.core.set_credit(now, consumer, 0, false);
            }
        }
        for (role, token) in links {
            self.remove_link(now, *role, *token);
        }
    }

    /// A link is gone; `role` is ours.
    pub(super) fn remove_link(&mut self, now: Instant, role: Role, token: u64) {
        match role {
            Role::Receiver => {
                let Some(producer) = ProducerKey::from_bits(token) else {
                    return self.end_control(now, token);
                };
                let Some(link) = self.producers.remove(token) else { return };
                self.release_bytes(link.connection, link.session, link.held);
                self.core.remove_producer(now, producer);
                self.route_gone(now, link.connection, link.link);
                if let Some(name) = link.address.filter(|_| link.is_temporary) {
                    self.remove_temporary_target(now, &name);
                }
            }
            Role::Sender => {
                let Some(consumer) = ConsumerKey::from_bits(token) else { return };
                let Some(link) = self.consumers.remove(token) else { return };
                match link.waiting {
                    Some(waiting) => self.keep_definition(waiting.definition, waiting.held),
                    None => {
                        if let Some(name) = &link.subscription {
                            self.shared.subscriptions.leave_one(name);
                        }
                    }
                }
                self.core.remove_consumer(now, consumer);
                self.route_gone(now, link.connection, link.link);
            }
        }
    }
}

impl Place {
    /// A link at this place.
    pub(super) fn link_ref(self, bits: u64, address: Option<Arc<str>>) -> LinkRef {
        LinkRef {
            bits,
            connection: self.connection,
            link: self.link,
            session: self.session,
            address,
            wants: Wants::default(),
            subscription: None,
            waiting: None,
            is_stored: false,
            is_browser: false,
            is_temporary: false,
            held: 0,
            head: None,
            transaction: None,
            withheld: 0,
            counted: [None, None],
        }
    }
}

/// Clients of JMS say what they take an address for. A queue taken for a topic would give each
/// message to one of its subscribers.
fn check_kind(name: Option<&str>, kind: Option<AddressKind>, capabilities: &[Symbol]) -> Result<(), Error> {
    let Some(name) = name else { return Ok(()) };
    let (is, other, other_name) = match kind {
        // The queue of a subscription is a bit of both.
        Some(AddressKind::Queue) if !name.contains("::") => (QUEUE, TOPIC, "a topic"),
        Some(AddressKind::Topic) => (TOPIC, QUEUE, "a queue"),
        _ => return Ok(()),
    };
    if capabilities.contains(&other) && !capabilities.contains(&is) {
        let text = format!("address {name} is a {is}, not {other_name}; use it as what it is");
        return Err(refusal(condition::PRECONDITION_FAILED, text));
    }
    Ok(())
}

fn consumer_options(attach: &Attach, source: &Source) -> ConsumerOptions {
    ConsumerOptions {
        settled: attach.snd_settle_mode == SenderSettleMode::Settled,
        default_outcome: source.default_outcome.clone().map(from_state),
        ..ConsumerOptions::default()
    }
}

fn subscription_options(
    subscription: &Subscription,
    definition: Option<&Definition>,
    not_from: Option<u64>,
) -> SubscriptionOptions {
    SubscriptionOptions {
        name: subscription.name.clone(),
        durable: subscription.is_durable,
        shared: subscription.is_shared,
        max_consumers: 0,
        definition: definition.map(Definition::encode).unwrap_or_default(),
        not_from,
        ..SubscriptionOptions::default()
    }
}

fn consumer_terms(attach: &Attach, source: Source) -> Terms {
    let is_settled = attach.snd_settle_mode == SenderSettleMode::Settled;
    Terms {
        source: Some(Box::new(source)),
        target: attach.target.clone(),
        snd_settle_mode: if is_settled { SenderSettleMode::Settled } else { SenderSettleMode::Mixed },
        rcv_settle_mode: attach.rcv_settle_mode,
        ..Terms::default()
    }
}

/// What a peer's attach wants, or why it cannot be had.
fn wanted(attach: &Attach) -> Result<Wanted, Error> {
    match attach.role {
        Role::Sender => match attach.target.as_deref() {
            None => Err(refusal(condition::PRECONDITION_FAILED, "a producer's attach needs a target")),
            Some(Target::Coordinator { .. }) => Ok(Wanted::Coordinator),
            Some(Target::Node(target)) if target.dynamic => {
                Ok(Wanted::TemporaryTarget { target: target.clone() })
            }
            // AMQP, anonymous terminus for message routing: a target without an address.
            Some(Target::Node(target)) => Ok(Wanted::Producer {
                address: target.address.clone(),
                capabilities: target.capabilities.clone(),
            }),
        },
        Role::Receiver => match attach.source.clone() {
            None => Ok(Wanted::Resumed),
            Some(source) if source.dynamic => Ok(Wanted::Temporary { source }),
            Some(source) => match source.address.clone() {
                Some(address) => Ok(Wanted::Consumer { address, source }),
                None => Err(refusal(condition::INVALID_FIELD, "a consumer's source needs an address")),
            },
        },
    }
}

/// The address without the slash that some clients keep from the path of their URL.
pub(super) fn local_name(address: &str) -> &str {
    address.strip_prefix('/').unwrap_or(address)
}
