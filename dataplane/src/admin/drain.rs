//! What a node is told of its future, and homes that move.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use mq_model::admin::{MoveHome, NodeDrain};
use mq_model::manifest::{Address, AddressType};

use super::Api;
use super::addresses::{describe, other_home, served, unknown};
use super::body::{self, Name};
use super::problem::Refusal;
use super::remote::{Wanted, find, from_node, is_up, segment};
use crate::drain::Order;
use crate::mesh::{Question, Scope};

pub(super) async fn show(State(api): State<Api>) -> Json<NodeDrain> {
    Json(api.node.drain_status().await)
}

pub(super) async fn cordon(State(api): State<Api>) -> Json<NodeDrain> {
    // A node that drains is cordoned already.
    if api.node.orders.order() == Order::Serve {
        api.node.order(Order::Cordon);
    }
    show(State(api)).await
}

pub(super) async fn uncordon(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    if api.node.orders.order() == Order::Drain {
        return Err(Refusal::conflict(
            "the node is being drained; stop that first: POST /api/v1/node/undrain",
        ));
    }
    api.node.order(Order::Serve);
    Ok(show(State(api)).await)
}

pub(super) async fn drain(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    served(&api)?;
    if api.node.hub.mesh().is_none() {
        let detail = "the node belongs to no fleet, so that nobody could take what it holds; add nodes first";
        return Err(Refusal::conflict(detail));
    }
    api.node.order(Order::Drain);
    Ok(show(State(api)).await)
}

pub(super) async fn undrain(State(api): State<Api>) -> Json<NodeDrain> {
    // What has gone does not come back by itself, and nothing new comes until the node is uncordoned.
    if api.node.orders.order() == Order::Drain {
        api.node.order(Order::Cordon);
    }
    show(State(api)).await
}

/// Makes another node the home of a queue or topic.
pub(super) async fn move_home(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    Name(name): Name,
    body::Json(order): body::Json<MoveHome>,
) -> Result<Json<Address>, Refusal> {
    served(&api)?;
    let name: Arc<str> = name.into();
    let object = api.node.catalogue.address(&name).ok_or_else(|| unknown(&name))?;
    if !object.spec.kind.is_stored() || object.spec.kind == AddressType::Subscription {
        let detail = format!("address `{name}` has no home of its own; name a queue or a topic");
        return Err(Refusal::conflict(detail));
    }
    let (_, to) = find(&api, &order.to).map_err(|_| no_node(&order.to))?;
    if !is_up(&api, &to) {
        let detail = format!("node `{to}` cannot be reached; try again when it is back, or name another one");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    // The home gives away what it has: nobody else knows what that is.
    if let Some(home) = other_home(&api, &name).filter(|_| scope == Scope::Fleet) {
        let body: Bytes = serde_json::to_vec(&order).unwrap_or_default().into();
        let target = format!("/api/v1/addresses/{}/move-home", segment(&name));
        return from_node(&api, &home, Question::post(target, body)).await.map(Json);
    }
    if object.home.as_deref() != Some(&*to) {
        api.node.move_home(&name, &to).await.map_err(Refusal::conflict)?;
    }
    let object = api.node.catalogue.address(&name).ok_or_else(|| unknown(&name))?;
    Ok(Json(describe(&api, &name, &object).await))
}

fn no_node(name: &str) -> Refusal {
    let shown: String = name.chars().take(100).collect();
    Refusal::invalid(format!("the fleet has no node `{shown}`; GET /api/v1/mesh lists those that it has"))
}
