//! Connections, their sessions, and links.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{Connection, Link, List, Session};
use serde::Deserialize;

use super::Api;
use super::authorize::Within;
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

pub(super) async fn list(State(api): State<Api>, within: Within) -> Json<List<Connection>> {
    let mut items = connections(&api, &within).await;
    items.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.id.cmp(&b.id)));
    Json(items.into())
}

pub(super) async fn show(
    State(api): State<Api>,
    within: Within,
    Name(id): Name,
) -> Result<Json<Connection>, Refusal> {
    one(&api, &within, &id).await.map(Json)
}

pub(super) async fn sessions(
    State(api): State<Api>,
    within: Within,
    Name(id): Name,
) -> Result<Json<List<Session>>, Refusal> {
    one(&api, &within, &id).await?;
    let items = api.node.hub.sessions(&id).await.ok_or_else(|| unknown(&id))?;
    Ok(Json(items.into()))
}

pub(super) async fn close(
    State(api): State<Api>,
    within: Within,
    Name(id): Name,
    Parameters(query): Parameters<CloseQuery>,
) -> Result<StatusCode, Refusal> {
    let reason = query.reason.unwrap_or_else(|| DEFAULT_REASON.to_owned());
    if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        let detail = format!("the reason is not one line of at most {MAX_REASON} bytes; shorten it");
        return Err(Refusal::invalid(detail));
    }
    one(&api, &within, &id).await?;
    if !api.node.hub.close(&id, &reason).await {
        return Err(unknown(&id));
    }
    tracing::info!(connection = id, reason, "closed a connection on request");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn links(
    State(api): State<Api>,
    within: Within,
    Parameters(LinksQuery { address, connection }): Parameters<LinksQuery>,
) -> Json<List<Link>> {
    let inside = address.map(|address| within.inside(&address)).transpose();
    // What nobody can attach to has no links.
    let Ok(inside) = inside else { return Json(Vec::new().into()) };
    let mut items = api.node.hub.links(inside.as_deref(), connection.as_deref()).await;
    items.retain(|link| within.shows(&link.space));
    Json(items.into())
}

/// The connections of this node that belong to an answer.
async fn connections(api: &Api, within: &Within) -> Vec<Connection> {
    let mut connections = api.node.hub.connections().await;
    connections.retain(|connection| within.shows(&connection.space));
    connections
}

/// A connection; one of another space is none.
async fn one(api: &Api, within: &Within, id: &str) -> Result<Connection, Refusal> {
    let connections = connections(api, within).await;
    connections.into_iter().find(|connection| connection.id == id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Refusal {
    let id: String = id.chars().take(100).collect();
    Refusal::not_found(format!("connection `{id}` does not exist; `mq connection list` shows those that do"))
}
