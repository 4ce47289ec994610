//! The node itself: description, counters, configuration, log.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use mq_model::admin::{LogLevel, Node, Statistics};
use mq_model::config::DaemonConfig;

use super::Api;
use super::body;
use super::problem::Refusal;

pub(super) async fn describe(State(api): State<Api>) -> Json<Node> {
    Json(api.node.describe())
}

pub(super) async fn statistics(State(api): State<Api>) -> Json<Statistics> {
    let shards = api.node.hub.statistics().await;
    Json(api.node.total(Instant::now(), &shards))
}

pub(super) async fn config(State(api): State<Api>) -> Json<DaemonConfig> {
    Json(api.node.config.clone())
}

pub(super) async fn log_level(State(api): State<Api>) -> Json<LogLevel> {
    Json(LogLevel { filter: api.node.log.filter() })
}

pub(super) async fn set_log_level(
    State(api): State<Api>,
    body::Json(level): body::Json<LogLevel>,
) -> Result<Json<LogLevel>, Refusal> {
    api.node.log.set_filter(&level.filter)?;
    tracing::info!(filter = level.filter, "the log filter was changed");
    Ok(Json(level))
}
