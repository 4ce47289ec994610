//! Sessions of clients of MQTT: list, show, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{ClientSession, Page};
use serde::Deserialize;

use super::Api;
use super::addresses::{no_worker, served};
use super::body::{Name, Parameters};
use super::paging::Limit;
use super::problem::Refusal;
use super::remote::{Wanted, done_by_node, gather, segment};
use crate::hub::SessionQuery;
use crate::mesh::{Question, Scope};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    prefix: String,
    connected: Option<bool>,
    #[serde(default)]
    limit: Limit,
    #[serde(rename = "continue")]
    after: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<ClientSession>> {
    let target = target(&query);
    let ListQuery { prefix, connected: is_connected, limit, after } = query;
    let query = SessionQuery { prefix, after, is_connected, limit: limit.0 };
    let (views, mut is_more) = api.node.hub.client_sessions(query).await;
    let mut items = api.node.with_held(views).await;
    let gathered = gather::<Page<ClientSession>>(&api, scope, &target).await;
    let unanswered = gathered.unanswered(&api);
    for (_, part) in gathered.parts {
        is_more |= part.next.is_some();
        items.extend(part.items);
    }
    // Each part begins at the same place, so that nothing is missing before the end of this one.
    items.sort_by(|one, other| one.client.cmp(&other.client));
    is_more |= items.len() > limit.0;
    items.truncate(limit.0);
    let next = items.last().filter(|_| is_more).map(|session| session.client.clone());
    Json(Page { items, next, unanswered })
}

/// The same question to another node.
fn target(query: &ListQuery) -> String {
    let mut target = format!("/api/v1/sessions?limit={}&prefix={}", query.limit.0, segment(&query.prefix));
    if let Some(is_connected) = query.connected {
        target += &format!("&connected={is_connected}");
    }
    if let Some(after) = &query.after {
        target += &format!("&continue={}", segment(after));
    }
    target
}

pub(super) async fn show(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    Name(client): Name,
) -> Result<Json<ClientSession>, Refusal> {
    let client: Arc<str> = client.into();
    let view = api.node.hub.client_session(&client).await;
    if let Some(session) = api.node.with_held(view.into_iter().collect()).await.pop() {
        return Ok(Json(session));
    }
    elsewhere(&api, scope, &client).await.map(|(_, session)| Json(session)).ok_or_else(|| unknown(&client))
}

/// The session of a client on another node, and that node.
async fn elsewhere(api: &Api, scope: Scope, client: &str) -> Option<(Arc<str>, ClientSession)> {
    gather(api, scope, &format!("/api/v1/sessions/{}", segment(client))).await.parts.into_iter().next()
}

pub(super) async fn remove(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    Name(client): Name,
) -> Result<StatusCode, Refusal> {
    served(&api)?;
    let client: Arc<str> = client.into();
    if !api.node.hub.end_client_session(&client).await.ok_or_else(no_worker)? {
        let Some((home, _)) = elsewhere(&api, scope, &client).await else { return Err(unknown(&client)) };
        let question = Question::delete(format!("/api/v1/sessions/{}", segment(&client)));
        return done_by_node(&api, &home, question).await;
    }
    tracing::info!(%client, "ended a session on request");
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(client: &str) -> Refusal {
    let client: String = client.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
    Refusal::not_found(format!(
        "no client `{client}` has a session; `mq session list` shows those that have one"
    ))
}
