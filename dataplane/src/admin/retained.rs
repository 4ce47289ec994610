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
use super::addresses::{no_worker, other_home, served};
use super::body::Parameters;
use super::caller::Caller;
use super::paging::{Continuation, Limit};
use super::problem::Refusal;
use super::remote::{Wanted, from_node, is_up, segment};
use crate::hub::RetainedRequest;
use crate::mesh::{Question, Scope};

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
    caller: Caller,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Retained>>, Refusal> {
    served(&api)?;
    let filter = valid(query.filter.as_deref().unwrap_or(CATCH_ALL_TOPIC))?;
    caller.check(Right::View, &filter)?;
    let from = match query.continuation.as_deref().map(Continuation::decode) {
        None => None,
        Some(Some(from)) => Some(from),
        Some(None) => {
            let detail = "`continue` is none that a list has answered; begin anew without it";
            return Err(Refusal::invalid(detail));
        }
    };
    let homes =
        api.node.hub.topics_of(&filter).await.into_iter().filter_map(|topic| other_home(&api, &topic));
    let away: BTreeSet<_> = homes.filter(|home| !is_up(&api, home)).map(|home| home.to_string()).collect();
    let page = page(&api, &filter, query.limit.0, from).await?;
    Ok(Json(Page { unanswered: away.into_iter().collect(), ..page }))
}

/// Goes through the topics until there is a page, or there are no more.
async fn page(
    api: &Api,
    filter: &Arc<str>,
    limit: usize,
    from: Option<Continuation>,
) -> Result<Page<Retained>, Refusal> {
    let begin = from.as_ref().map(|from| from.topic.clone()).unwrap_or_default();
    let mut after = from.and_then(|from| from.after);
    let mut items: Vec<Retained> = Vec::new();
    for topic in api.node.hub.topics_of(filter).await.into_iter().filter(|topic| **topic >= *begin) {
        if *topic != *begin {
            after = None;
        }
        loop {
            let left = limit - items.len();
            if left == 0 {
                let next = Continuation { topic: topic.to_string(), after };
                return Ok(Page { items, next: Some(next.encode()), unanswered: Vec::new() });
            }
            let query = RetainedRequest {
                topic: topic.clone(),
                filter: filter.clone(),
                after: after.as_deref().map(Into::into),
                limit: u32::try_from(left).unwrap_or(u32::MAX),
            };
            let answer = api.node.hub.retained(query).await.ok_or_else(no_worker)?;
            items.extend(answer.items);
            match answer.next {
                Some(next) => after = Some(next.to_string()),
                None => break,
            }
        }
    }
    Ok(Page { items, next: None, unanswered: Vec::new() })
}

pub(super) async fn remove(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    caller: Caller,
    Parameters(query): Parameters<RemoveQuery>,
) -> Result<Json<Purged>, Refusal> {
    served(&api)?;
    let filter = valid(&query.filter)?;
    caller.check(Right::Manage, &filter)?;
    let mut messages = 0;
    let mut homes = BTreeSet::new();
    for topic in api.node.hub.topics_of(&filter).await {
        if let Some(home) = other_home(&api, &topic) {
            homes.insert(home);
            continue;
        }
        let cleared = api.node.hub.clear_retained(&topic, &filter).await.ok_or_else(no_worker)?;
        // A topic that is gone by now retains nothing.
        messages += cleared.unwrap_or(0);
    }
    for home in homes.into_iter().filter(|_| scope == Scope::Fleet) {
        let question = Question::delete(format!("/api/v1/retained?filter={}", segment(&filter)));
        let Purged { messages: there } = from_node(&api, &home, question).await?;
        messages += there;
    }
    tracing::info!(%filter, messages, "forgot retained messages");
    Ok(Json(Purged { messages }))
}

fn valid(filter: &str) -> Result<Arc<str>, Refusal> {
    match validate_filter(filter) {
        Ok(()) => Ok(filter.into()),
        Err(why) => Err(Refusal::invalid(format!("the filter cannot be used: {why}"))),
    }
}
