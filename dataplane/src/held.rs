//! What waits for the sessions of MQTT clients in topics, each topic asked at its home.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use mq_mesh::NodeId;
use mq_model::admin::ClientSession;

use crate::hub::{Held, SessionView};
use crate::mesh::Question;
use crate::node::Node;

/// What one node asks another for.
const PATH: &str = "/internal/subscriptions/held";

/// A durable subscription, by topic and name.
type Subscription = (Arc<str>, Arc<str>);

impl Node {
    /// The sessions with what their durable subscriptions hold. What a node out of reach holds is not among it.
    pub(crate) async fn with_held(self: &Arc<Self>, views: Vec<SessionView>) -> Vec<ClientSession> {
        let mut asked: HashMap<Option<Arc<str>>, Vec<Subscription>> = HashMap::new();
        for view in &views {
            for topic in &view.topics {
                let subscription = (topic.clone(), view.subscription.clone());
                asked.entry(self.other_keeper(topic)).or_default().push(subscription);
            }
        }
        let asked: Vec<_> = asked
            .into_iter()
            .map(|(keeper, subscriptions)| {
                let node = self.clone();
                tokio::spawn(async move {
                    match keeper {
                        None => node.hub.held(subscriptions).await,
                        Some(keeper) => node.held_at(&keeper, &subscriptions).await,
                    }
                })
            })
            .collect();
        let mut held: HashMap<Arc<str>, Vec<Held>> = HashMap::new();
        for answer in asked {
            // A task that panics has been reported.
            for one in answer.await.unwrap_or_default() {
                held.entry(one.name.clone()).or_default().push(one);
            }
        }
        let with_held = |mut view: SessionView| {
            for held in held.remove(&view.subscription).unwrap_or_default() {
                view.add(&held);
            }
            view.session
        };
        views.into_iter().map(with_held).collect()
    }

    /// The other node that keeps what is in a topic; `None`: it is here.
    fn other_keeper(&self, topic: &str) -> Option<Arc<str>> {
        let object = self.catalogue.address(topic)?;
        // While it moves, it is served where it was.
        let keeper = object.moving_from.clone().or_else(|| object.home.clone());
        keeper.filter(|keeper| **keeper != *self.config.node)
    }

    async fn held_at(&self, keeper: &Arc<str>, subscriptions: &[Subscription]) -> Vec<Held> {
        let Some(requests) = &self.requests else { return Vec::new() };
        let body = serde_json::to_vec(subscriptions).unwrap_or_default();
        let id = NodeId::new(&self.config.fleet, keeper);
        match requests.ask(id, keeper, Question::post(PATH, body.into())).await {
            Ok(reply) if reply.status.is_success() => serde_json::from_slice(&reply.body).unwrap_or_default(),
            Ok(reply) => {
                tracing::debug!(node = %keeper, status = %reply.status, "what waits in topics is not known");
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(%error, "what waits in topics is not known");
                Vec::new()
            }
        }
    }
}

/// What other nodes ask, and nobody else: no part of the admin API.
pub(crate) fn routes(node: Arc<Node>) -> Router {
    let answer = async |State(node): State<Arc<Node>>, Json(subscriptions): Json<Vec<Subscription>>| {
        Json(node.hub.held(subscriptions).await)
    };
    // What a node asks fits into a message of a channel.
    Router::new().route(PATH, post(answer)).layer(DefaultBodyLimit::disable()).with_state(node)
}
