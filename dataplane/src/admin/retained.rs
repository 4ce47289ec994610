//! What topics retain: list it, forget it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mq_core::topic::validate_filter;
use mq_model::CATCH_ALL_TOPIC;
use mq_model::admin::{Page, Purged, Retained};
use mq_model::grant::Right;
use serde::Deserialize;

use super::Api;
use super::addresses::{no_worker, other_home, own, served};
use super::authorize::Within;
use super::body::Parameters;
use super::caller::Caller;
use super::paging::{Continuation, Limit};
use super::problem::Refusal;
use super::remote::{Wanted, from_node, is_up, segment};
use crate::hub::RetainedRequest;
use crate::mesh::{Question, Scope};
use crate::spaces::Space;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    filter: Option<String>,
    #[serde(default)]
    limit: Limit,
    #[serde(rename = "continue")]
    continuation: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    filter: String,
}

pub(super) async fn list(
    State(api): State<Api>,
    within: Within,
    caller: Caller,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Retained>>, Refusal> {
    served(&api)?;
    let wanted = query.filter.as_deref().unwrap_or(CATCH_ALL_TOPIC);
    let filter = valid(&within, wanted)?;
    caller.check(Right::View, wanted)?;
    let space = &within.space;
    let from = match query.continuation.as_deref().map(Continuation::decode) {
        None => None,
        Some(Some(from)) => Some(Continuation { topic: space.inside(&from.topic).into_owned(), ..from }),
        Some(None) => {
            let detail = "`continue` is none that a list has answered; begin anew without it";
            return Err(Refusal::invalid(detail));
        }
    };
    let topics = topics_of(&api, space, &filter).await.into_iter();
    let homes = topics.filter_map(|topic| other_home(&api, &topic));
    let away: BTreeSet<_> = homes.filter(|home| !is_up(&api, home)).map(|home| home.to_string()).collect();
    let page = page(&api, space, &filter, query.limit.0, from).await?;
    Ok(Json(Page { unanswered: away.into_iter().collect(), ..page }))
}

/// Goes through the topics until there is a page, or there are no more.
async fn page(
    api: &Api,
    space: &Space,
    filter: &Arc<str>,
    limit: usize,
    from: Option<Continuation>,
) -> Result<Page<Retained>, Refusal> {
    let begin = from.as_ref().map(|from| from.topic.clone()).unwrap_or_default();
    let mut after = from.and_then(|from| from.after);
    let mut items: Vec<Retained> = Vec::new();
    for topic in topics_of(api, space, filter).await.into_iter().filter(|topic| **topic >= *begin) {
        if *topic != *begin {
            after = None;
        }
        loop {
            let left = limit - items.len();
            if left == 0 {
                let next = Continuation { topic: own(&topic).to_owned(), after };
                return Ok(Page { items, next: Some(next.encode()), unanswered: Vec::new() });
            }
            let query = RetainedRequest {
                topic: topic.clone(),
                filter: filter.clone(),
                after: after.as_deref().map(|after| space.inside(after).into()),
                limit: u32::try_from(left).unwrap_or(u32::MAX),
            };
            let answer = api.node.hub.retained(query).await.ok_or_else(no_worker)?;
            items.extend(answer.items);
            match answer.next {
                Some(next) => after = Some(own(&next).to_owned()),
                None => break,
            }
        }
    }
    Ok(Page { items, next: None, unanswered: Vec::new() })
}

pub(super) async fn remove(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    caller: Caller,
    Parameters(query): Parameters<RemoveQuery>,
) -> Result<Json<Purged>, Refusal> {
    served(&api)?;
    let filter = valid(&within, &query.filter)?;
    caller.check(Right::Manage, &query.filter)?;
    let mut messages = 0;
    let mut homes = BTreeSet::new();
    for topic in topics_of(&api, &within.space, &filter).await {
        if let Some(home) = other_home(&api, &topic) {
            homes.insert(home);
            continue;
        }
        let cleared = api.node.hub.clear_retained(&topic, &filter).await.ok_or_else(no_worker)?;
        // A topic that is gone by now retains nothing.
        messages += cleared.unwrap_or(0);
    }
    for home in homes.into_iter().filter(|_| scope == Scope::Fleet) {
        let question = Question::delete(within.path(&format!("retained?filter={}", segment(&query.filter))));
        let Purged { messages: there } = from_node(&api, &home, question).await?;
        messages += there;
    }
    tracing::info!(%filter, messages, "forgot retained messages");
    Ok(Json(Purged { messages }))
}

/// The topics of a space that may retain something for names that match.
async fn topics_of(api: &Api, space: &Space, filter: &Arc<str>) -> Vec<Arc<str>> {
    let mut topics = api.node.hub.topics_of(filter).await;
    topics.retain(|topic| space.outside(topic).is_some());
    topics
}

/// What a filter is called inside the fleet.
fn valid(within: &Within, filter: &str) -> Result<Arc<str>, Refusal> {
    match validate_filter(filter) {
        Ok(()) => Ok(within.inside(filter)?),
        Err(why) => Err(Refusal::invalid(format!("the filter cannot be used: {why}"))),
    }
}
