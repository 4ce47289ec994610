//! Sessions of MQTT clients that go to other nodes while this one is emptied.
//!
//! The steps are those of the shards (`driver/mqtt/moves.rs`); here they are taken, one node asking the other. What a
//! crash or a lost answer has left is gone on with from either end: a giver has its taker take what it has given
//! away until that says so, and a taker asks what has become of what it was offered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use mq_core::encoding::{Reader, put_bytes, put_number};
use mq_mesh::NodeId;
use mq_model::space::{DEFAULT_SPACE, split_qualified};
use tokio::task::JoinSet;
use tracing::debug;

use crate::drain::Order;
use crate::hub::{MoveAnswer, MoveStep, OfferStanding};
use crate::mesh::{Question, Reply};
use crate::node::Node;

/// Sessions of one shard that are on their way at once.
const AT_ONCE: usize = 64;

/// How often a node that is emptied looks which sessions it still has.
const LOOK: Duration = Duration::from_millis(100);

/// How often a node looks whether sessions that move have come to a halt.
const TEND: Duration = Duration::from_secs(1);

/// How often a session is looked at that the disk has yet to answer something for, and how many times.
const BUSY: Duration = Duration::from_millis(5);
const PATIENCE: u32 = 1_000;

/// Why a session stays.
const NO_TAKER: &str =
    "no other node of the fleet can be reached and takes sessions; uncordon one, or add one";

/// What one node says to another of a session that moves: behind this the step.
const PATH: &str = "/internal/sessions";

/// A session on its way.
#[derive(Clone, Debug)]
struct Move {
    client: Arc<str>,
    offer: u64,
    /// The other node.
    peer: Arc<str>,
}

/// Moves sessions whenever the node is to be emptied, and goes on with those that were on their way. Never ends.
pub(crate) async fn run(node: Arc<Node>) {
    if node.hub.mesh().is_none() {
        return;
    }
    let mut orders = node.orders.watch();
    let mut known = HashSet::new();
    loop {
        let is_emptied = *orders.borrow_and_update() == Order::Drain;
        let pending = node.hub.pending_moves(if is_emptied { AT_ONCE } else { 0 }).await;
        let mut tasks = JoinSet::new();
        for (client, offer, peer) in pending.departing {
            let (node, it) = (node.clone(), Move { client, offer, peer });
            tasks.spawn(async move { node.finish_move(&it).await });
        }
        // One that has just come is about to be decided.
        let arriving: HashSet<_> = pending.arriving.into_iter().collect();
        for (client, offer, peer) in arriving.intersection(&known).cloned() {
            let (node, it) = (node.clone(), Move { client, offer, peer });
            tasks.spawn(async move { node.ask_giver(&it).await });
        }
        known = arriving;
        let is_more = !pending.staying.is_empty();
        for client in pending.staying {
            let node = node.clone();
            tasks.spawn(async move { node.move_away(&client).await });
        }
        let mut stuck = None;
        while let Some(result) = tasks.join_next().await {
            // A task that panics has been reported.
            if let Ok(Err(reason)) = result {
                debug!(reason, "a session does not move");
                stuck.get_or_insert(reason);
            }
        }
        let is_stuck = stuck.is_some();
        if is_emptied {
            node.orders.set_sessions_stuck(stuck);
        }
        if is_stuck || !is_more {
            // Less when the order is another one.
            let _ = tokio::time::timeout(if is_emptied { LOOK } else { TEND }, orders.changed()).await;
        }
    }
}

impl Node {
    /// Gives the session of a client to another node.
    ///
    /// # Errors
    /// Why that cannot be done now, as a sentence.
    async fn move_away(&self, client: &Arc<str>) -> Result<(), String> {
        let Some(peer) = self.taker(client) else {
            return Err(NO_TAKER.into());
        };
        let Some((offer, parcel)) = self.offer(client).await? else { return Ok(()) };
        let it = Move { client: client.clone(), offer, peer };
        if let Err(reason) = self.say(&it, "arrive", &parcel).await {
            self.hub.move_session(client, MoveStep::TakeBack { offer }).await;
            // It may have been heard all the same. Where this is not, the other node asks.
            let _ = self.say(&it, "drop", &[]).await;
            return Err(reason);
        }
        let to = it.peer.clone();
        match self.hub.move_session(client, MoveStep::Depart { offer, to }).await {
            MoveAnswer::Done => self.finish_move(&it).await,
            MoveAnswer::Failed(reason) => Err(failed(client, &reason)),
            // It has ended meanwhile.
            _ => self.say(&it, "drop", &[]).await.map(|_| ()),
        }
    }

    /// The node that gets the session of a client.
    fn taker(&self, client: &str) -> Option<Arc<str>> {
        let fabric = self.hub.mesh()?;
        let node = fabric.refuge(client)?;
        fabric.view().nodes.get(&node).map(|node| node.name.clone())
    }

    /// All of a session, for nobody to change any more; `None`: there is none.
    async fn offer(&self, client: &Arc<str>) -> Result<Option<(u64, Bytes)>, String> {
        for _ in 0..PATIENCE {
            match self.hub.move_session(client, MoveStep::Offer).await {
                MoveAnswer::Offered { offer, parcel } => return Ok(Some((offer, parcel))),
                MoveAnswer::Busy => tokio::time::sleep(BUSY).await,
                MoveAnswer::Failed(reason) => return Err(failed(client, &reason)),
                _ => return Ok(None),
            }
        }
        self.hub.move_session(client, MoveStep::TakeBack { offer: 0 }).await;
        Err(failed(client, "what its client has published is not stored yet"))
    }

    /// Has the other node take a session that is its own, and tells the fleet.
    async fn finish_move(&self, it: &Move) -> Result<(), String> {
        self.say(it, "take", &[]).await?;
        self.hub.move_session(&it.client, MoveStep::Done { offer: it.offer }).await;
        Ok(())
    }

    /// Asks a node what has become of a session that it has offered.
    async fn ask_giver(&self, it: &Move) -> Result<(), String> {
        let standing = self.say(it, "ask", &[]).await?;
        let step = match standing.body.first().copied() {
            Some(OPEN) => return Ok(()),
            Some(GIVEN) => MoveStep::Take { offer: it.offer },
            Some(VOID) => MoveStep::Drop { offer: it.offer },
            _ => return Err(format!("`{}` answers what cannot be understood", it.peer)),
        };
        match self.hub.move_session(&it.client, step).await {
            MoveAnswer::Failed(reason) => Err(failed(&it.client, &reason)),
            _ => Ok(()),
        }
    }

    async fn say(&self, it: &Move, step: &str, parcel: &[u8]) -> Result<Reply, String> {
        let unknown = || format!("node `{}` is not known; wait until it can be reached", it.peer);
        let requests = self.requests.as_ref().ok_or_else(unknown)?;
        let id = NodeId::new(&self.config.fleet, &it.peer);
        let mut body = Vec::with_capacity(parcel.len() + it.client.len() + 64);
        put_bytes(&mut body, it.client.as_bytes());
        put_bytes(&mut body, self.config.node.as_bytes());
        put_number(&mut body, it.offer);
        body.extend_from_slice(parcel);
        let question = Question::post(format!("{PATH}/{step}"), body.into());
        let reply = requests.ask(id, &it.peer, question).await.map_err(|error| error.to_string())?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let reason = String::from_utf8_lossy(&reply.body);
        let reason = if reason.is_empty() { reply.status.to_string() } else { reason.into_owned() };
        Err(format!("node `{}` does not take the session of {}: {reason}", it.peer, shown(&it.client)))
    }
}

fn failed(client: &str, reason: &str) -> String {
    format!("the session of {} cannot be moved: {reason}", shown(client))
}

/// A client by its identifier inside the fleet, for people to read.
fn shown(client: &str) -> String {
    match split_qualified(client) {
        (DEFAULT_SPACE, client) => format!("`{client}`"),
        (space, client) => format!("`{client}` of space `{space}`"),
    }
}

const OPEN: u8 = 0;
const GIVEN: u8 = 1;
const VOID: u8 = 2;

/// What other nodes ask, and nobody else: no part of the admin API.
pub(crate) fn routes(node: Arc<Node>) -> Router {
    Router::new()
        .route(&format!("{PATH}/arrive"), post(arrive))
        .route(&format!("{PATH}/take"), post(take))
        .route(&format!("{PATH}/drop"), post(drop_offer))
        .route(&format!("{PATH}/ask"), post(ask))
        // What a node sends fits into a message of a channel.
        .layer(DefaultBodyLimit::disable())
        .with_state(node)
}

/// What is said of a session: its client, the node that says so, the offer, and what else there is.
fn read(body: &Bytes) -> Option<(Move, Bytes)> {
    let mut input = Reader::new(body);
    let (client, peer, offer) = (input.text()?.into(), input.text()?.into(), input.number()?);
    let rest = body.slice_ref(input.take_rest());
    Some((Move { client, offer, peer }, rest))
}

async fn arrive(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    serve(&node, &body, |it, parcel| MoveStep::Arrive { from: it.peer.clone(), offer: it.offer, parcel })
        .await
}

async fn take(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    serve(&node, &body, |it, _| MoveStep::Take { offer: it.offer }).await
}

async fn drop_offer(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    serve(&node, &body, |it, _| MoveStep::Drop { offer: it.offer }).await
}

async fn ask(State(node): State<Arc<Node>>, body: Bytes) -> Response {
    serve(&node, &body, |it, _| MoveStep::Ask { offer: it.offer }).await
}

async fn serve(node: &Node, body: &Bytes, step: impl FnOnce(&Move, Bytes) -> MoveStep) -> Response {
    // Before everything has been read it is not known what there is.
    if let Err(reason) = node.recovery() {
        return (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
    }
    let Some((it, rest)) = read(body) else { return StatusCode::BAD_REQUEST.into_response() };
    match node.hub.move_session(&it.client, step(&it, rest)).await {
        MoveAnswer::Standing(standing) => {
            let byte = match standing {
                OfferStanding::Open => OPEN,
                OfferStanding::Given => GIVEN,
                OfferStanding::Void => VOID,
            };
            vec![byte].into_response()
        }
        MoveAnswer::Failed(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}
