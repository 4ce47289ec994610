//! Durable subscriptions as those that made them see them: what they get, who claims them, and their end.
//!
//! What has to survive a restart is in the store as objects: a record of the subscription, which is written
//! anew when its filters change, and one of each claim, so that claiming costs the same whoever else does.
//! All are asked for before anybody hears of it; as the store carries requests out in order, whatever the
//! caller has it keep afterwards is not there without them.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::Pending;
use super::copy::Late;
use super::home::{Home, What};
use super::protocol::{ReceiverOptions, Wire};
use super::record::{ClaimRecord, SubscriptionRecord};
use super::topic::{Filters, Kind, Subscription, ends_unclaimed, in_order};
use crate::consumer::SubscriptionOptions;
use crate::core::Core;
use crate::effect::{CloseReason, Effect, Refused};
use crate::key::{ConsumerKey, HomeKey, ReceiverKey};
use crate::settings::{AddressKind, ShardId};
use crate::space;
use crate::statistics::SubscriptionStatistics;
use crate::store::{StoreRequest, Ticket};
use crate::topic::validate_filter;

/// A durable subscription, as whoever made it may look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableSubscription {
    /// The topic's address.
    pub topic: Arc<str>,
    pub name: Arc<str>,
    /// Those for whom it goes on while nobody consumes from it.
    pub claims: Vec<Arc<str>>,
}

/// A durable subscription, or a claim on one, that is to end when its home can be reached.
#[derive(Clone, Debug)]
pub(crate) struct OwedEnd {
    topic: Arc<str>,
    name: Arc<str>,
    claim: Option<Arc<str>>,
}

impl Core {
    // ---- on the consumer's shard --------------------------------------------------------------------

    /// Has the subscription of a consumer get what these filters match, and nothing else from now on. What
    /// it holds stays; what a filter matches that stays is not missed. [`Effect::Refiltered`] follows when
    /// the home goes by them, unless the consumer is closed before.
    ///
    /// # Errors
    /// `BadName` when a filter is none, `LimitExceeded` when there are more than
    /// [`CoreLimits::max_filters`](crate::CoreLimits::max_filters).
    pub fn set_filters(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        filters: Arc<[Arc<str>]>,
    ) -> Result<(), Refused> {
        self.broker.now = Some(now);
        if self.consumers.get(consumer).is_none_or(|consumer| consumer.closed) {
            return Ok(());
        }
        self.check_filters("the subscription", &filters)?;
        if let Some(value) = self.consumers.get_mut(consumer)
            && let Some(subscription) = &mut value.options.subscription
        {
            // With these it comes to another home.
            subscription.filters = Some(filters.clone());
        }
        self.refilter_at_home(consumer, filters);
        Ok(())
    }

    /// Has the home of a consumer go by other filters, when it has let it in.
    pub(super) fn refilter_at_home(&mut self, consumer: ConsumerKey, filters: Filters) {
        let Some(value) = self.consumers.get_mut(consumer).map(|consumer| &mut consumer.stored) else {
            return;
        };
        match (value.receiver, value.remote.as_ref().map(|remote| remote.home)) {
            (Some(receiver), home) => {
                value.unanswered_filters = Some(filters.clone());
                match home {
                    Some(home) => self.send_wire(home, Wire::SetFilters { receiver, filters }),
                    None => self.refilter_soon(receiver, filters),
                }
            }
            // It hears of it when it has answered.
            (None, _) => self.broker.refiltering.entry(consumer).or_default().push(filters),
        }
    }

    /// Whether these are the filters of a subscription.
    pub(crate) fn check_filters(&self, what: &str, filters: &[Arc<str>]) -> Result<(), Refused> {
        let limit = u64::from(self.limits.max_filters);
        if filters.len() as u64 > limit {
            return Err(Refused::LimitExceeded { what: what.into(), links: "filters", limit });
        }
        for filter in filters {
            if let Err(error) = validate_filter(filter) {
                let reason = error.to_string().into();
                return Err(Refused::BadName { name: (&**filter).into(), reason });
            }
        }
        Ok(())
    }

    /// The home goes by a consumer's new filters.
    pub(crate) fn refiltered(&mut self, consumer: ConsumerKey) {
        let Some(value) = self.consumers.get_mut(consumer).filter(|consumer| !consumer.closed) else {
            return;
        };
        value.stored.unanswered_filters = None;
        self.effects.push_back(Effect::Refiltered { consumer });
    }

    /// Ends a durable subscription that a client has made, with all that it holds, whoever consumes from
    /// it; with a `claim`, gives that up instead, and the subscription ends when nobody else claims it or
    /// consumes from it. From any shard; nothing happens when there is no such one. When the home cannot be
    /// reached it is told when it can, as long as this shard runs.
    pub fn end_durable(&mut self, now: Instant, topic: &str, name: &str, claim: Option<&str>) {
        self.broker.now = Some(now);
        let Ok(address) = self.known_address(topic) else { return };
        let Some(address) = self.addresses.get(address) else { return };
        let home = self.reachable_home(address);
        if home == Some(self.shard) {
            return self.end_durable_soon(now, topic, name.into(), claim.map(Into::into));
        }
        let end = OwedEnd { topic: topic.into(), name: name.into(), claim: claim.map(Into::into) };
        match home {
            Some(home) => self.send_end(home, end),
            None => self.owe_end(end),
        }
    }

    fn send_end(&mut self, home: ShardId, end: OwedEnd) {
        let OwedEnd { topic, name, claim } = end.clone();
        // A shard of this node does not go without this one.
        let mut number = 0;
        if !home.is_here() {
            self.broker.last_end += 1;
            number = self.broker.last_end;
            self.broker.ending.insert(number, (home, end));
        }
        self.send_wire(home, Wire::EndDurable { topic, name, claim, number });
    }

    /// A home has done what it was told.
    pub(crate) fn durable_ended(&mut self, from: ShardId, number: u64) {
        if self.broker.ending.get(&number).is_some_and(|(home, _)| *home == from) {
            self.broker.ending.remove(&number);
        }
    }

    /// A home is gone: what it has not confirmed it may not have heard.
    pub(crate) fn owe_ends(&mut self, gone: ShardId) {
        for (number, (home, end)) in std::mem::take(&mut self.broker.ending) {
            if home == gone {
                self.owe_end(end);
            } else {
                self.broker.ending.insert(number, (home, end));
            }
        }
    }

    /// Keeps in mind that a durable subscription is to end whose home cannot be reached.
    fn owe_end(&mut self, end: OwedEnd) {
        let limit = self.limits.max_subscriptions as usize;
        if self.broker.owed.len() < limit {
            self.broker.owed.push(end);
        }
    }

    /// Ends the durable subscriptions that were to end while their home could not be reached.
    pub(crate) fn end_owed(&mut self, now: Instant) {
        for OwedEnd { topic, name, claim } in std::mem::take(&mut self.broker.owed) {
            self.end_durable(now, &topic, &name, claim.as_deref());
        }
    }

    /// The addresses of topics that may serve a name which the filter matches, in order.
    pub fn topics_of(&self, filter: &str) -> Vec<Arc<str>> {
        if validate_filter(filter).is_err() {
            return Vec::new();
        }
        let is_topic = |name: &str| {
            let key = self.known_address(name).ok()?;
            let address = self.addresses.get(key)?;
            (address.settings.kind == AddressKind::Topic).then(|| address.name.clone())
        };
        let Some(literal) = filter.find(['+', '#']).and_then(|wildcard| filter.get(..wildcard)) else {
            // It matches its own name alone.
            let address = self.resolve_name(filter).ok().and_then(|key| self.addresses.get(key));
            let topic = address.filter(|address| address.settings.kind == AddressKind::Topic);
            return topic.map(|address| address.name.clone()).into_iter().collect();
        };
        // Above the first wildcard the longest topic serves every name; the others serve none of them.
        let found = space::above(literal).find_map(is_topic);
        let found = found.or_else(|| is_topic(&space::catch_all_of(filter)));
        let mut topics: Vec<Arc<str>> = found.into_iter().collect();
        let below = self.broker.topics.range::<str, _>((Bound::Included(literal), Bound::Unbounded));
        let below = below.take_while(|name| name.starts_with(literal));
        topics.extend(below.filter(|name| !space::is_catch_all(name) && reaches(filter, name)).cloned());
        topics.sort_unstable();
        topics
    }

    // ---- at the home --------------------------------------------------------------------------------

    /// Every durable subscription that links have made of topics whose home this shard is.
    pub fn durable_subscriptions(&self) -> Vec<DurableSubscription> {
        let topics = self.broker.homes.iter().filter_map(|(_, home)| match &home.what {
            What::Topic(topic) if topic.serves => Some((&home.name, topic)),
            What::Topic(_) | What::Queue(_) => None,
        });
        let of = |topic: &Arc<str>, name: &Arc<str>, key: &HomeKey| {
            let subscription = self.broker.homes.get(*key)?.queue()?.subscription.as_ref()?;
            let claims = subscription.claims.iter().cloned().collect();
            Some(DurableSubscription { topic: topic.clone(), name: name.clone(), claims })
        };
        topics
            .flat_map(|(name, topic)| {
                let durable = topic.named.iter().filter(|((is_durable, _), _)| *is_durable);
                durable.filter_map(|((_, subscription), key)| of(name, subscription, key)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// A durable subscription that a link has made; `None` when there is none, or this shard is not the
    /// home of such a topic.
    pub fn subscription(&self, topic: &str, name: &str) -> Option<SubscriptionStatistics> {
        self.subscription_statistics(self.durable_named(topic, name)?)
    }

    fn durable_named(&self, topic: &str, name: &str) -> Option<HomeKey> {
        match self.broker.homes.get(self.home_named(topic).ok()?).map(|home| &home.what) {
            Some(What::Topic(topic)) => topic.named.get(&(true, name.into())).copied(),
            _ => None,
        }
    }

    /// Ends a durable subscription or a claim, at once or when its topic goes on.
    pub(crate) fn end_durable_soon(
        &mut self,
        now: Instant,
        topic: &str,
        name: Arc<str>,
        claim: Option<Arc<str>>,
    ) {
        let Ok(key) = self.home_named(topic) else {
            // It has left: its home hears of it.
            let address = self.names.get(topic).and_then(|key| self.addresses.get(*key));
            if address.is_some_and(|address| address.has_left) {
                self.end_durable(now, topic, &name, claim.as_deref());
            }
            return;
        };
        if let Some(Late::End { name, claim }) = self.wait_if_stopped(key, Late::End { name, claim }) {
            self.end_durable_at_home(now, topic, &name, claim.as_deref());
        }
    }

    /// Has the subscription of a consumer go by other filters, at once or when its topic goes on.
    pub(crate) fn refilter_soon(&mut self, receiver: ReceiverKey, filters: Filters) {
        let home = self.broker.receivers.get(receiver).map(|value| value.home);
        let subscription = home.and_then(|home| self.queue_home(home)?.subscription.as_ref());
        let Some(topic) = subscription.map(|subscription| subscription.topic) else { return };
        if let Some(Late::Filters { receiver, filters }) =
            self.wait_if_stopped(topic, Late::Filters { receiver, filters })
        {
            self.refilter(receiver, &filters);
        }
    }

    /// Whether what a topic here holds may be changed by hand now.
    ///
    /// # Errors
    /// `HomeUnavailable` while it stands still on its way to another home.
    pub(super) fn check_movable(&self, name: &str, topic: HomeKey) -> Result<(), Refused> {
        if self.has_stopped(topic) {
            let node = "which it is about to leave".into();
            return Err(Refused::HomeUnavailable { address: format!("address {name}").into(), node });
        }
        Ok(())
    }

    fn end_durable_at_home(&mut self, now: Instant, topic: &str, name: &str, claim: Option<&str>) {
        let Some(claim) = claim else {
            // `NotFound` is what is wanted.
            let _ = self.end_subscription(now, topic, name);
            return;
        };
        let Some(key) = self.durable_named(topic, name) else { return };
        if !self.drop_claim(key, claim) {
            return;
        }
        let Some(home) = self.queue_home(key) else { return };
        let is_unused = home.subscription.as_ref().is_some_and(|subscription| subscription.ends_unused());
        if home.receivers.is_empty() && is_unused {
            self.remove_subscription(now, key);
        }
    }

    /// A subscription does not go on for this one any more; false when it did not.
    pub(super) fn drop_claim(&mut self, key: HomeKey, claim: &str) -> bool {
        let Some(home) = self.queue_home(key) else { return false };
        let Some(subscription) = &mut home.subscription else { return false };
        let Some(name) = subscription.name.clone() else { return false };
        if !subscription.claims.remove(claim) {
            return false;
        }
        let topic = subscription.topic_name.clone();
        self.broker.claims = self.broker.claims.saturating_sub(1);
        self.delete_object(ClaimRecord::key(&topic, &name, claim));
        self.note_definition(key);
        true
    }

    /// Has the subscription of a consumer go by other filters.
    pub(crate) fn refilter(&mut self, receiver: ReceiverKey, filters: &Filters) {
        let Some(value) = self.broker.receivers.get(receiver) else { return };
        let (key, shard, consumer) = (value.home, value.shard, value.consumer);
        if self.change_filters(key, in_order(filters)) {
            self.write_record(key);
        }
        if shard == self.shard {
            self.refiltered(consumer);
        } else {
            self.send_wire(shard, Wire::Refiltered { consumer });
        }
    }

    /// Says whether there are others now.
    fn change_filters(&mut self, key: HomeKey, filters: Filters) -> bool {
        let Some(home) = self.queue_home(key) else { return false };
        let Some(mut subscription) = home.subscription.take() else { return false };
        let is_other = subscription.kind != Kind::Administered && subscription.filters != filters;
        if is_other {
            let before = std::mem::replace(&mut subscription.filters, filters);
            let after = subscription.filters.clone();
            // New ones first: what both match is matched all the time.
            for filter in after.iter().filter(|filter| before.binary_search(filter).is_err()) {
                self.list_filter(key, &subscription, filter);
            }
            for filter in before.iter().filter(|filter| after.binary_search(filter).is_err()) {
                self.unlist_filter(key, &subscription, filter);
            }
            if let Some(topic) = self.broker.homes.get_mut(subscription.topic).and_then(Home::topic_mut) {
                topic.many += u32::from(after.len() > 1);
                topic.many -= u32::from(before.len() > 1);
            }
        }
        if let Some(home) = self.queue_home(key) {
            home.subscription = Some(subscription);
        }
        is_other
    }

    /// A consumer that comes to a subscription that is there has it be what it wants.
    pub(super) fn take_over(
        &mut self,
        key: HomeKey,
        wanted: &SubscriptionOptions,
        options: &ReceiverOptions,
        filters: Filters,
    ) {
        let mut is_other = wanted.filters.is_some() && self.change_filters(key, filters);
        let mut relisted = None;
        let Some(home) = self.queue_home(key) else { return };
        let Some(subscription) = &mut home.subscription else { return };
        is_other |= subscription.stale;
        if ends_unclaimed(wanted) && subscription.kind == Kind::Durable && !subscription.ends_unclaimed {
            subscription.ends_unclaimed = true;
            is_other = true;
        }
        if wanted.filters.is_some() {
            is_other |= subscription.definition != wanted.definition;
            subscription.definition = wanted.definition.clone();
            subscription.filter.clone_from(&options.filter);
            subscription.not_from = wanted.not_from;
            if std::mem::replace(&mut subscription.durable_only, wanted.durable_only) != wanted.durable_only {
                relisted = Some((subscription.topic, subscription.filters.clone()));
            }
            if let Some(settings) = &wanted.settings {
                subscription.settings = Some(settings.clone());
                home.queue.set_settings(settings.clone());
            }
        }
        for (topic, filter) in
            relisted.iter().flat_map(|(topic, filters)| filters.iter().map(|one| (*topic, one)))
        {
            self.note_filter(topic, filter, wanted.durable_only);
            self.drop_filter(topic, filter, !wanted.durable_only);
        }
        if is_other {
            self.write_record(key);
        }
    }

    /// Notes for whom a subscription goes on.
    pub(super) fn claim(&mut self, key: HomeKey, wanted: &SubscriptionOptions) -> Result<(), CloseReason> {
        let Some(claim) = wanted.claim.clone() else { return Ok(()) };
        let has_room = self.broker.claims < self.limits.max_subscriptions;
        let Some(home) = self.queue_home(key) else { return Ok(()) };
        let (Some(queue), Some(subscription)) = (home.id, &mut home.subscription) else { return Ok(()) };
        if subscription.kind != Kind::Durable || subscription.claims.contains(&claim) {
            return Ok(());
        }
        if !has_room {
            return Err(CloseReason::TooManySubscriptions);
        }
        subscription.claims.insert(claim.clone());
        let topic = subscription.topic_name.clone();
        self.broker.claims += 1;
        let pending = self.broker.pending.insert(Pending::PutClaim { subscription: key });
        self.ask_store(StoreRequest::Put {
            ticket: Ticket(pending.to_bits()),
            key: ClaimRecord::key(&topic, &wanted.name, &claim),
            value: ClaimRecord::value(queue),
            transaction: None,
        });
        self.note_definition(key);
        Ok(())
    }

    /// Has the store keep what a durable subscription is.
    pub(super) fn write_record(&mut self, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let (Some(queue), Some(subscription)) = (home.id, &home.subscription) else { return };
        let Some(name) = &subscription.name else { return };
        let record = SubscriptionRecord {
            topic: subscription.topic_name.to_string(),
            name: name.to_string(),
            filters: subscription.filters.iter().map(|filter| filter.to_string()).collect(),
            queue,
            shared: subscription.shared,
            ends_unclaimed: subscription.ends_unclaimed,
            definition: subscription.definition.clone(),
        };
        let pending = self.broker.pending.insert(Pending::Put { subscription: key });
        self.ask_store(StoreRequest::Put {
            ticket: Ticket(pending.to_bits()),
            key: SubscriptionRecord::key(&record.topic, &record.name),
            value: record.value(),
            transaction: None,
        });
        self.note_definition(key);
    }

    /// The store has the record of a durable subscription.
    pub(super) fn record_written(&mut self, key: HomeKey) {
        if let Some(subscription) = self.queue_home(key).and_then(|home| home.subscription.as_mut()) {
            subscription.written = true;
            subscription.stale = false;
        }
    }

    /// The store did not keep a durable subscription. A new one cannot be one. One that was there before
    /// is after a restart what it was: its consumers are told that it is not what they want, and when the
    /// next one comes it is written again.
    pub(super) fn subscription_failed(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let receivers = home.receivers.clone();
        let Some(subscription) = &mut home.subscription else { return };
        subscription.stale = true;
        let (topic, is_new) = (subscription.topic, !subscription.written);
        self.arrival_failed(topic);
        self.close_receivers(now, receivers, CloseReason::StoreFailed);
        if is_new && self.queue_home(key).is_some() {
            self.remove_subscription(now, key);
        }
    }

    /// The store did not keep a claim: whoever made it is told, as far as it can be known who did.
    pub(super) fn claim_failed(&mut self, now: Instant, key: HomeKey) {
        let Some(home) = self.queue_home(key) else { return };
        let receivers = home.receivers.clone();
        if let Some(topic) = home.subscription.as_ref().map(|subscription| subscription.topic) {
            self.arrival_failed(topic);
        }
        self.close_receivers(now, receivers, CloseReason::StoreFailed);
    }

    fn close_receivers(&mut self, now: Instant, receivers: BTreeSet<ReceiverKey>, reason: CloseReason) {
        for receiver in receivers {
            self.close_receiver(now, receiver, reason);
        }
    }

    /// A durable subscription is no more: neither is what the store has of it.
    pub(super) fn delete_records(&mut self, subscription: &Subscription) {
        let Some(name) = &subscription.name else { return };
        self.delete_object(SubscriptionRecord::key(&subscription.topic_name, name));
        for claim in &subscription.claims {
            self.broker.claims = self.broker.claims.saturating_sub(1);
            self.delete_object(ClaimRecord::key(&subscription.topic_name, name, claim));
        }
    }

    pub(super) fn delete_object(&mut self, key: bytes::Bytes) {
        let pending = self.broker.pending.insert(Pending::Delete);
        self.ask_store(StoreRequest::Delete { ticket: Ticket(pending.to_bits()), key, transaction: None });
    }

    // ---- after a restart ----------------------------------------------------------------------------

    /// Takes a claim of before a restart; false when its topic is no more.
    pub(super) fn recover_claim(&mut self, record: ClaimRecord) -> bool {
        let is_there = self.home_named(&record.topic).is_ok();
        if is_there {
            self.broker.recovered_claims.push(record);
        }
        is_there
    }

    /// Every subscription is there: so are their claims, and those end that nobody claims any more.
    pub(super) fn claims_recovered(&mut self, now: Instant) {
        for record in std::mem::take(&mut self.broker.recovered_claims) {
            let key = self.broker.by_id.get(&record.queue).copied();
            let home = key.and_then(|key| self.queue_home(key));
            match home.and_then(|home| home.subscription.as_mut()) {
                Some(subscription) => {
                    subscription.claims.insert(record.claim.into());
                    self.broker.claims += 1;
                }
                None => self.delete_object(ClaimRecord::key(&record.topic, &record.name, &record.claim)),
            }
        }
        let homes = self.broker.homes.iter().filter(|(_, home)| {
            let queue = home.queue().filter(|queue| queue.receivers.is_empty());
            let subscription = queue.and_then(|queue| queue.subscription.as_ref());
            subscription.is_some_and(|subscription| subscription.ends_unused())
        });
        for key in homes.map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove_subscription(now, key);
        }
    }
}

/// Whether a filter may match names that lie in a topic.
fn reaches(filter: &str, name: &str) -> bool {
    let (filter, name) = (space::split(filter), space::split(name));
    let (Some(wanted), Some(local)) = (filter.local, name.local) else { return false };
    if filter.prefix != name.prefix || (local.starts_with('$') && wanted.starts_with(['+', '#'])) {
        return false;
    }
    let (filter, name) = (wanted, local);
    let mut levels = filter.split('/');
    for level in name.split('/') {
        match levels.next() {
            Some("#") => return true,
            Some("+") => {}
            Some(wanted) if wanted == level => {}
            _ => return false,
        }
    }
    true
}
