//! What a node is told of its future, and homes that move.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use mq_model::admin::{MoveHome, NodeDrain};
use mq_model::manifest::{Address, AddressType};

use super::Api;
use super::addresses::{describe, other_home, own, served, unknown};
use super::authorize::Within;
use super::body::{self, Name};
use super::problem::Refusal;
use super::remote::{Wanted, find, from_home, is_up, no_node, segment};
use super::shards::Shard;
use crate::drain::Order;
use crate::mesh::{Question, Scope};

pub(super) async fn show(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    let status = api.node.drain_status().await;
    // A worker that has ended says nothing, which is not that it holds nothing.
    if !api.node.is_whole() {
        let detail = "a worker has ended, and what it holds is not known; see the log and restart the node";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    Ok(Json(status))
}

pub(super) async fn cordon(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    // A node that drains is cordoned already.
    if api.node.orders.order() == Order::Serve {
        give(&api, Order::Cordon)?;
    }
    show(State(api)).await
}

fn give(api: &Api, order: Order) -> Result<(), Refusal> {
    api.node.order(order).map_err(|error| {
        let directory = api.node.config.state_dir.display();
        let detail = format!("cannot write the order down in {directory}: {error}; it is not in force");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "storage-failed", detail)
    })
}

/// Refuses to give homes to a node that is there to have none.
fn can_hold(api: &Api) -> Result<(), Refusal> {
    if api.node.config.router {
        return Err(Refusal::conflict("the node is a router, which stores nothing; ask another node"));
    }
    Ok(())
}

pub(super) async fn uncordon(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    can_hold(&api)?;
    if api.node.orders.order() == Order::Drain {
        return Err(Refusal::conflict("the node is being drained; stop that first with `mq node undrain`"));
    }
    give(&api, Order::Serve)?;
    show(State(api)).await
}

pub(super) async fn drain(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    served(&api)?;
    if api.node.hub.mesh().is_none() {
        let detail = "the node belongs to no fleet, so that nobody could take what it holds; add nodes first";
        return Err(Refusal::conflict(detail));
    }
    give(&api, Order::Drain)?;
    show(State(api)).await
}

pub(super) async fn undrain(State(api): State<Api>) -> Result<Json<NodeDrain>, Refusal> {
    can_hold(&api)?;
    // What has gone does not come back by itself, and nothing new comes until the node is uncordoned.
    if api.node.orders.order() == Order::Drain {
        give(&api, Order::Cordon)?;
    }
    show(State(api)).await
}

/// Makes another node the home of a queue or topic.
pub(super) async fn move_home(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    Name(path): Name,
    body::Json(order): body::Json<MoveHome>,
) -> Result<Json<Address>, Refusal> {
    served(&api)?;
    let name = within.inside(&path)?;
    let one = Shard::parse(&name);
    let queue: Arc<str> = one.queue.into();
    let object = api.node.catalogue.address(&queue).ok_or_else(|| unknown(&queue))?;
    if !object.spec.kind.is_stored() || object.spec.kind == AddressType::Subscription {
        let detail = format!("address `{}` has no home of its own; name a queue or a topic", own(&queue));
        return Err(Refusal::conflict(detail));
    }
    let (_, to) = find(&api, &order.to).map_err(|_| Refusal::invalid(no_node(&order.to)))?;
    if !is_up(&api, &to) {
        let detail = format!("node `{to}` cannot be reached; try again when it is back, or name another one");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    for shard in one.of(&api, &queue) {
        move_one(&api, &within, &shard, &order, &to, scope).await?;
    }
    let object = api.node.catalogue.address(&queue).ok_or_else(|| unknown(&queue))?;
    Ok(Json(describe(&api, &within.space, &queue, &object).await))
}

/// Makes a node the home of an address, or of one shard of a queue.
async fn move_one(
    api: &Api,
    within: &Within,
    shard: &Shard<'_>,
    order: &MoveHome,
    to: &Arc<str>,
    scope: Scope,
) -> Result<(), Refusal> {
    let name = shard.name();
    // The home gives away what it has: nobody else knows what that is.
    if let Some(home) = other_home(api, &name).filter(|_| scope == Scope::Fleet) {
        let body: Bytes = serde_json::to_vec(order).unwrap_or_default().into();
        let target = within.path(&format!("addresses/{}/move-home", segment(own(&shard.path()))));
        return from_home::<Address>(api, own(&name), &home, Question::post(target, body)).await.map(drop);
    }
    let object = api.node.catalogue.address(&name).ok_or_else(|| unknown(&name))?;
    if object.home.as_deref() != Some(&**to) {
        api.node.move_home(&name, to).await.map_err(Refusal::conflict)?;
    }
    Ok(())
}
