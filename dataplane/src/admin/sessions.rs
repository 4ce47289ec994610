//! Sessions of clients of MQTT: list, show, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{ClientSession, Page};
use serde::Deserialize;

use super::Api;
use super::addresses::{no_worker, served};
use super::authorize::Within;
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
    within: Within,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<ClientSession>> {
    let target = target(&within, &query);
    let ListQuery { prefix, connected: is_connected, limit, after } = query;
    // No identifier of the default space begins with what another one's begin with.
    let Ok(prefix) = within.inside(&prefix) else {
        return Json(Page { items: Vec::new(), next: None, unanswered: Vec::new() });
    };
    let (prefix, after) = (prefix.to_string(), after.map(|after| within.space.inside(&after).into_owned()));
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
fn target(within: &Within, query: &ListQuery) -> String {
    let path = format!("sessions?limit={}&prefix={}", query.limit.0, segment(&query.prefix));
    let mut target = within.path(&path);
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
    within: Within,
    Name(client): Name,
) -> Result<Json<ClientSession>, Refusal> {
    let inside = within.inside(&client).map_err(|_| unknown(&client))?;
    let view = api.node.hub.client_session(&inside).await;
    if let Some(session) = api.node.with_held(view.into_iter().collect()).await.pop() {
        return Ok(Json(session));
    }
    elsewhere(&api, scope, &within, &client)
        .await
        .map(|(_, session)| Json(session))
        .ok_or_else(|| unknown(&client))
}

/// The session of a client on another node, and that node.
async fn elsewhere(
    api: &Api,
    scope: Scope,
    within: &Within,
    client: &str,
) -> Option<(Arc<str>, ClientSession)> {
    gather(api, scope, &within.path(&format!("sessions/{}", segment(client)))).await.parts.into_iter().next()
}

pub(super) async fn remove(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    Name(client): Name,
) -> Result<StatusCode, Refusal> {
    served(&api)?;
    let inside = within.inside(&client).map_err(|_| unknown(&client))?;
    if !api.node.hub.end_client_session(&inside).await.ok_or_else(no_worker)? {
        let Some((home, _)) = elsewhere(&api, scope, &within, &client).await else {
            return Err(unknown(&client));
        };
        let question = Question::delete(within.path(&format!("sessions/{}", segment(&client))));
        return done_by_node(&api, &home, question).await;
    }
    tracing::info!(client = %inside, "ended a session on request");
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(client: &str) -> Refusal {
    let client: String = client.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
    Refusal::not_found(format!(
        "no client `{client}` has a session; `mq session list` shows those that have one"
    ))
}
