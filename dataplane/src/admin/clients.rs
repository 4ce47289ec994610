//! Connections, their sessions, and links.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{Connection, Link, List, Session};
use serde::Deserialize;

use super::Api;
use super::body::{Name, Parameters};
use super::problem::Refusal;

/// Longest reason for closing a connection, in bytes; it travels in the AMQP error, or as the reason string of MQTT.
const MAX_REASON: usize = 256;

/// What a client reads when no reason is given.
const DEFAULT_REASON: &str = "closed by an administrator";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CloseQuery {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinksQuery {
    address: Option<String>,
    connection: Option<String>,
}

pub(super) async fn list(State(api): State<Api>) -> Json<List<Connection>> {
    let mut items = api.node.hub.connections().await;
    items.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.id.cmp(&b.id)));
    Json(items.into())
}

pub(super) async fn show(State(api): State<Api>, Name(id): Name) -> Result<Json<Connection>, Refusal> {
    let connections = api.node.hub.connections().await;
    connections.into_iter().find(|connection| connection.id == id).map(Json).ok_or_else(|| unknown(&id))
}

pub(super) async fn sessions(State(api): State<Api>, Name(id): Name) -> Result<Json<List<Session>>, Refusal> {
    let items = api.node.hub.sessions(&id).await.ok_or_else(|| unknown(&id))?;
    Ok(Json(items.into()))
}

pub(super) async fn close(
    State(api): State<Api>,
    Name(id): Name,
    Parameters(query): Parameters<CloseQuery>,
) -> Result<StatusCode, Refusal> {
    let reason = query.reason.unwrap_or_else(|| DEFAULT_REASON.to_owned());
    if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        let detail = format!("the reason is not one line of at most {MAX_REASON} bytes; shorten it");
        return Err(Refusal::invalid(detail));
    }
    if !api.node.hub.close(&id, &reason).await {
        return Err(unknown(&id));
    }
    tracing::info!(connection = id, reason, "closed a connection on request");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn links(
    State(api): State<Api>,
    Parameters(query): Parameters<LinksQuery>,
) -> Json<List<Link>> {
    let items = api.node.hub.links(query.address.as_deref(), query.connection.as_deref()).await;
    Json(items.into())
}

fn unknown(id: &str) -> Refusal {
    let id: String = id.chars().take(100).collect();
    Refusal::not_found(format!("connection `{id}` does not exist; `mq connection list` shows those that do"))
}
