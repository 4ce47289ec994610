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
use crate::hub::SessionQuery;

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
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<ClientSession>> {
    let ListQuery { prefix, connected: is_connected, limit, after } = query;
    let query = SessionQuery { prefix, after, is_connected, limit: limit.0 };
    let (items, is_more) = api.node.hub.client_sessions(query).await;
    let next = items.last().filter(|_| is_more).map(|session| session.client.clone());
    Json(Page { items, next })
}

pub(super) async fn show(State(api): State<Api>, Name(client): Name) -> Result<Json<ClientSession>, Refusal> {
    let client: Arc<str> = client.into();
    api.node.hub.client_session(&client).await.map(Json).ok_or_else(|| unknown(&client))
}

pub(super) async fn remove(State(api): State<Api>, Name(client): Name) -> Result<StatusCode, Refusal> {
    served(&api)?;
    let client: Arc<str> = client.into();
    if !api.node.hub.end_client_session(&client).await.ok_or_else(no_worker)? {
        return Err(unknown(&client));
    }
    tracing::info!(%client, "ended a session on request");
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(client: &str) -> Refusal {
    let client: String = client.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
    Refusal::not_found(format!(
        "no client `{client}` has a session; GET /api/v1/sessions lists those that have one"
    ))
}
