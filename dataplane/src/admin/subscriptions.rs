//! Subscriptions of topics: show them, end them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{List, Subscription};
use mq_model::grant::Right;
use mq_model::manifest::AddressType;
use serde::Deserialize;

use super::Api;
use super::addresses::{no_worker, other_home, own, queue_status, served};
use super::authorize::Within;
use super::body::{Names, Parameters};
use super::caller::Caller;
use super::problem::Refusal;
use super::remote::{Wanted, done_by_home, gather, segment};
use crate::driver::{SHARE_PREFIX, filter_inside, subscription_outside};
use crate::hub;
use crate::mesh::Question;

/// What separates a topic from the name of a subscription that has an address of its own.
const SEPARATOR: &str = "::";

/// What the subscriptions of sessions of MQTT clients begin with.
const SESSION: &str = crate::driver::SUBSCRIPTION_PREFIX;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    topic: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    Parameters(query): Parameters<ListQuery>,
    caller: Caller,
) -> Json<List<Subscription>> {
    let space = &within.space;
    let addresses = api.node.catalogue.addresses_below(space.prefix()).into_iter();
    let topics = addresses.filter(|(name, object)| {
        object.spec.kind == AddressType::Topic
            && space.outside(name).is_some_and(|name| query.topic.as_ref().is_none_or(|topic| *topic == name))
            && other_home(&api, name).is_none()
    });
    let mut items = Vec::new();
    let of_topic = query.topic.as_deref().map(|topic| format!("?topic={}", segment(topic)));
    let target = within.path(&format!("subscriptions{}", of_topic.unwrap_or_default()));
    let gathered = gather::<List<Subscription>>(&api, scope, &target).await;
    let unanswered = gathered.unanswered(&api);
    for (_, part) in gathered.parts {
        items.extend(part.items);
    }
    for (topic, _) in topics {
        let subscriptions = api.node.hub.subscriptions(&topic).await;
        items.extend(subscriptions.into_iter().map(|subscription| view(&api, &topic, subscription)));
    }
    let permits = caller.permits();
    items.retain(|item| permits.permits(Right::View, &item.topic));
    items.sort_by(|one, other| (&one.topic, &one.name).cmp(&(&other.topic, &other.name)));
    Json(List { items, unanswered })
}

/// A subscription as the API shows it.
fn view(api: &Api, topic: &Arc<str>, subscription: hub::Subscription) -> Subscription {
    let statistics = subscription.statistics;
    let name = own_name(topic, &statistics.name);
    let address = api.node.catalogue.address(&format!("{topic}{SEPARATOR}{name}"));
    let address = address.filter(|_| !name.is_empty());
    let selector = address.as_ref().and_then(|object| object.spec.subscription.selector.clone());
    Subscription {
        name: subscription_outside(name).into_owned(),
        topic: own(topic).to_owned(),
        administered: address.is_some(),
        durable: statistics.durable,
        shared: statistics.shared,
        container: subscription.container,
        filter: statistics.filters.iter().map(|filter| own(filter)).collect::<Vec<_>>().join(", "),
        selector: subscription.selector.or(selector),
        consumers: statistics.queue.consumers,
        queue: queue_status(&statistics.queue),
    }
}

/// The name of a subscription without its topic's.
fn own_name<'a>(topic: &str, name: &'a str) -> &'a str {
    name.strip_prefix(topic).and_then(|name| name.strip_prefix(SEPARATOR)).unwrap_or(name)
}

pub(super) async fn remove(
    State(api): State<Api>,
    within: Within,
    Names(path, name): Names,
) -> Result<StatusCode, Refusal> {
    served(&api)?;
    let topic = within.inside(&path)?;
    // The name of a share bears the filter, which is one inside the fleet.
    let name = match name.starts_with(SHARE_PREFIX) {
        true => filter_inside(within.space.name(), &name).into_owned(),
        false => name,
    };
    let unknown = || {
        let shown: String = subscription_outside(&name).chars().take(mq_model::MAX_ADDRESS_NAME).collect();
        Refusal::not_found(format!(
            "there is no durable subscription `{shown}` of such a topic; `mq subscription list` shows those \
             that there are"
        ))
    };
    let is_topic =
        |object: Arc<crate::objects::Object>| (object.spec.kind == AddressType::Topic).then_some(());
    api.node.catalogue.address(&topic).and_then(is_topic).ok_or_else(unknown)?;
    let address = format!("{topic}{SEPARATOR}{name}");
    if api.node.catalogue.address(&address).is_some() {
        let detail =
            format!("subscription `{name}` has an address of its own; delete address `{}`", own(&address));
        return Err(Refusal::conflict(detail));
    }
    if let Some((_, client)) = name.strip_prefix(SESSION).and_then(|owner| owner.split_once(':')) {
        let detail = format!(
            "subscription `{name}` is part of the session of an MQTT client; end session `{}`",
            own(client)
        );
        return Err(Refusal::conflict(detail));
    }
    if let Some(home) = other_home(&api, &topic) {
        let path = within.path(&format!(
            "addresses/{}/subscriptions/{}",
            segment(&path),
            segment(&subscription_outside(&name))
        ));
        return done_by_home(&api, own(&address), &home, Question::delete(path)).await;
    }
    let removed = api.node.hub.remove_subscription(&topic, &name).await.ok_or_else(no_worker)?;
    if !removed.map_err(|refused| Refusal::conflict(refused.to_string()))? {
        return Err(unknown());
    }
    tracing::info!(%topic, subscription = name, "ended a subscription");
    Ok(StatusCode::NO_CONTENT)
}
