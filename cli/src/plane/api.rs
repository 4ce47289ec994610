//! The admin API of a node of RabbitMQ: the routes of `mqd` (see [`mq_model::admin`]) that it can answer. Others do
//! not exist.

use std::{
    net::SocketAddr,
    path::Path as FilePath,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State as Extract},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use jiff::Timestamp;
use mq_model::{
    Secret,
    admin::{
        Connection, List, Node, NodeDrain, NodeState, Outcomes, Problem, Protocol, Purged, Statistics, Store,
        StoreState, Subscription,
    },
    config::DaemonConfig,
    manifest::{Address, AddressType},
    split_subscription,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    broker::{Broker, DURABILITY, Refused},
    files::ANONYMOUS,
    listeners, management,
    state::State,
};
use crate::{
    bench::cost::{self, Sample},
    context::read_bounded,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Connections that are served at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 64;
/// Time for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;
/// How long accepting pauses after an error, most often for want of files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Files and folders of the broker that are counted, at most.
const MAX_FILES: usize = 100_000;

/// What the node shows. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Face(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: DaemonConfig,
    config_hash: String,
    broker: Arc<Broker>,
    home: std::path::PathBuf,
    owner: Secret,
    started: (Timestamp, Instant),
    phase: Mutex<Phase>,
}

/// How far the life of the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Serving { version: String },
    Stopping,
}

impl Face {
    pub(super) fn new(
        config: DaemonConfig,
        config_hash: String,
        state: &State,
        broker: Arc<Broker>,
    ) -> Outcome<Self> {
        let started = (Timestamp::now(), Instant::now());
        let (home, owner) = (state.broker(), state.owner()?);
        let phase = Mutex::new(Phase::Starting);
        Ok(Self(Arc::new(Inner { config, config_hash, broker, home, owner, started, phase })))
    }

    pub(super) fn config_hash(&self) -> &str {
        &self.0.config_hash
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn phase(&self) -> Phase {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request is the owner's (RFC 6750, 2.1).
    fn is_owner(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = value.and_then(|value| value.split_once(' '));
        shown.is_some_and(|(scheme, token)| {
            // Compared by their hashes: the time tells nothing of the token.
            scheme.eq_ignore_ascii_case("bearer")
                && Sha256::digest(token.trim()) == Sha256::digest(self.0.owner.expose())
        })
    }
}

/// Serves the API until it is aborted.
pub(super) async fn serve(listener: TcpListener, face: Face) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let router = router(face);
    loop {
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            // A client that goes in the middle is nobody's fault.
            drop((served, permit));
        });
    }
}

fn router(face: Face) -> Router {
    let api = Router::new()
        .route("/node", get(node))
        .route("/statistics", get(statistics))
        .route("/config", get(config))
        .route("/node/drain", get(holds).post(no_drain))
        .route("/node/{order}", post(no_drain))
        .route("/addresses", get(addresses).post(create))
        .route("/addresses/{name}", get(address).put(put).delete(remove))
        .route("/addresses/{name}/purge", post(purge))
        .route("/subscriptions", get(subscriptions))
        .route("/connections", get(connections))
        .route("/connections/{id}", delete(close))
        .route_layer(middleware::from_fn_with_state(face.clone(), admit))
        .fallback(unknown);
    Router::new()
        .nest("/api/v1", api)
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(face)
}

/// Why a request is not carried out.
struct Refusal(StatusCode, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, kind, detail) = self;
        let problem = Problem { kind: kind.to_owned(), status: status.as_u16(), detail };
        let mut response = (status, Json(problem)).into_response();
        let kind = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound(detail) => Self(StatusCode::NOT_FOUND, "not-found", detail),
            Refused::Conflict(detail) => Self(StatusCode::CONFLICT, "conflict", detail),
            Refused::Invalid(detail) => Self(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            Refused::Failed(failure) => failure.into(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure.exit {
            Exit::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, "broker", failure.message)
    }
}

type Answer<T> = Result<T, Refusal>;

/// Lets in whoever is on this machine, where the API listens there alone, and the owner.
async fn admit(Extract(face): Extract<Face>, request: Request, next: Next) -> Response {
    let is_local = face.0.config.listeners.http.is_local();
    if is_local || face.is_owner(request.headers()) {
        return next.run(request).await;
    }
    let detail = "the admin API of this node is for its owner: show the token of its state directory";
    Refusal(StatusCode::UNAUTHORIZED, "unauthorized", detail.into()).into_response()
}

async fn unknown() -> Refusal {
    let detail = "a node of RabbitMQ has nothing of that kind";
    Refusal(StatusCode::NOT_FOUND, "not-found", detail.into())
}

async fn no_drain() -> Refusal {
    let detail = "mq runs one node of RabbitMQ: there is none to drain to";
    Refusal(StatusCode::CONFLICT, "conflict", detail.into())
}

async fn ready(Extract(face): Extract<Face>) -> Response {
    match face.phase() {
        Phase::Serving { .. } => match face.0.broker.version().await {
            Ok(_) => "ok\n".into_response(),
            Err(failure) => Refusal::from(failure).into_response(),
        },
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn metrics(Extract(face): Extract<Face>, headers: HeaderMap) -> Answer<Response> {
    if !face.0.config.listeners.http.is_local() && !face.is_owner(&headers) {
        let detail = "the metrics of this node are for its owner: show the token of its state directory";
        return Err(Refusal(StatusCode::UNAUTHORIZED, "unauthorized", detail.into()));
    }
    let text = face.0.broker.metrics().await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn node(Extract(face): Extract<Face>) -> Answer<Json<Node>> {
    let Inner { config, config_hash, broker, home, started, .. } = &*face.0;
    let (state, version) = match face.phase() {
        Phase::Serving { version } => (NodeState::Running, version),
        Phase::Starting | Phase::Stopping => (NodeState::Draining, String::new()),
    };
    let addresses = broker.addresses().await?;
    let (live_bytes, messages) = Broker::stored(&addresses);
    let (disk_bytes, segments) = disk_use(home);
    let cost = cost_of_broker(home);
    Ok(Json(Node {
        name: config.node.clone(),
        fleet: config.fleet.clone(),
        version,
        pid: std::process::id(),
        state,
        at: Some(Timestamp::now()),
        started_at: started.0,
        uptime_seconds: started.1.elapsed().as_secs(),
        workers: std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
        listeners: listeners(config),
        config_hash: config_hash.clone(),
        store: Some(Store {
            state: StoreState::Ready,
            reason: None,
            directory: home.display().to_string(),
            durability: DURABILITY,
            live_bytes,
            disk_bytes,
            segments,
            messages,
        }),
        resident_bytes: cost.resident_bytes,
        cpu_seconds: cost.cpu_seconds,
        certificate: None,
        mesh_certificate: None,
    }))
}

async fn statistics(Extract(face): Extract<Face>) -> Answer<Json<Statistics>> {
    let overview = face.0.broker.overview().await?;
    let addresses = face.0.broker.addresses().await?.len() as u64;
    let stats = overview.message_stats;
    Ok(Json(Statistics {
        connections: overview.object_totals.connections,
        sessions: overview.object_totals.channels,
        consumers: overview.object_totals.consumers,
        addresses,
        deliveries_in: stats.publish,
        deliveries_out: stats.deliver_get,
        outcomes: Outcomes { accepted: stats.ack, ..Outcomes::default() },
        undelivered: overview.queue_totals.messages_ready,
        unsettled: overview.queue_totals.messages_unacknowledged,
        rate_in: stats.publish_details.rate,
        rate_out: stats.deliver_get_details.rate,
        ..Statistics::default()
    }))
}

async fn config(Extract(face): Extract<Face>) -> Json<DaemonConfig> {
    Json(face.0.config.clone())
}

async fn holds(Extract(face): Extract<Face>) -> Answer<Json<NodeDrain>> {
    let addresses = face.0.broker.addresses().await?;
    let overview = face.0.broker.overview().await?;
    let queues = addresses.iter().filter_map(|address| address.status.as_ref()?.queue.as_ref());
    let (messages, bytes) = queues
        .clone()
        .fold((0, 0), |(messages, bytes), queue| (messages + queue.messages, bytes + queue.bytes));
    Ok(Json(NodeDrain {
        node: face.0.config.node.clone(),
        connections: overview.object_totals.connections,
        unsettled: overview.queue_totals.messages_unacknowledged,
        queues: queues.count() as u64,
        messages,
        bytes,
        ..NodeDrain::default()
    }))
}

async fn addresses(Extract(face): Extract<Face>) -> Answer<Json<List<Address>>> {
    Ok(Json(face.0.broker.addresses().await?.into()))
}

async fn address(Extract(face): Extract<Face>, Path(name): Path<String>) -> Answer<Json<Address>> {
    Ok(Json(face.0.broker.address(&name).await?))
}

async fn create(Extract(face): Extract<Face>, Json(wanted): Json<Address>) -> Answer<Response> {
    changed(&face, wanted, true).await
}

async fn put(
    Extract(face): Extract<Face>,
    Path(name): Path<String>,
    Json(wanted): Json<Address>,
) -> Answer<Response> {
    if wanted.metadata.name != name {
        let detail = format!("the path names `{name}`, and the document `{}`", wanted.metadata.name);
        return Err(Refused::Invalid(detail).into());
    }
    changed(&face, wanted, false).await
}

async fn changed(face: &Face, wanted: Address, must_be_new: bool) -> Answer<Response> {
    let name = wanted.metadata.name.clone();
    let is_new = face.0.broker.put(wanted, must_be_new).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(face.0.broker.address(&name).await?)).into_response())
}

async fn remove(Extract(face): Extract<Face>, Path(name): Path<String>) -> Answer<StatusCode> {
    face.0.broker.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(Extract(face): Extract<Face>, Path(name): Path<String>) -> Answer<Json<Purged>> {
    Ok(Json(Purged { messages: face.0.broker.purge(&name).await? }))
}

#[derive(Deserialize)]
struct OfTopic {
    topic: Option<String>,
}

async fn subscriptions(
    Extract(face): Extract<Face>,
    Query(OfTopic { topic }): Query<OfTopic>,
) -> Answer<Json<List<Subscription>>> {
    let found = face.0.broker.addresses().await?.into_iter().filter_map(subscription);
    let of_topic = found.filter(|found| topic.as_ref().is_none_or(|topic| *topic == found.topic));
    Ok(Json(of_topic.collect::<Vec<_>>().into()))
}

fn subscription(address: Address) -> Option<Subscription> {
    if address.spec.kind != AddressType::Subscription {
        return None;
    }
    let (topic, name) = split_subscription(&address.metadata.name)?;
    let status = address.status.unwrap_or_default();
    Some(Subscription {
        name: name.to_owned(),
        topic: topic.to_owned(),
        administered: true,
        durable: true,
        shared: true,
        container: None,
        filter: address.spec.subscription.filter.clone().unwrap_or_else(|| format!("{topic}/#")),
        selector: None,
        consumers: status.consumers,
        queue: status.queue.unwrap_or_default(),
    })
}

async fn connections(Extract(face): Extract<Face>) -> Answer<Json<List<Connection>>> {
    let found = face.0.broker.connections().await?;
    Ok(Json(found.into_iter().filter_map(connection).collect::<Vec<_>>().into()))
}

/// A connection as RabbitMQ knows it. One of a protocol that nobody here speaks is not shown.
fn connection(found: management::Connection) -> Option<Connection> {
    // `AMQP 1-0`, `MQTT 3.1.1`, or the same as a pair.
    let told = found.protocol.as_str().map_or_else(|| found.protocol.to_string(), str::to_owned);
    let protocol = [("MQTT", Protocol::Mqtt), ("AMQP", Protocol::Amqp)]
        .into_iter()
        .find_map(|(name, protocol)| told.contains(name).then_some(protocol))?;
    let text = |name: &str| {
        let value = found.client_properties.get(name)?;
        Some(value.as_str()?.to_owned())
    };
    let user = if found.user == ANONYMOUS { "anonymous".to_owned() } else { found.user.clone() };
    Some(Connection {
        listener: if protocol == Protocol::Mqtt { "mqtt" } else { "amqp" }.to_owned(),
        protocol,
        version: None,
        peer: SocketAddr::new(found.peer_host.parse().ok()?, found.peer_port).to_string(),
        container: text("client_id").unwrap_or_default(),
        user,
        space: String::new(),
        product: text("product"),
        opened_at: Timestamp::from_millisecond(found.connected_at).unwrap_or_default(),
        worker: 0,
        sessions: found.channels,
        producers: 0,
        consumers: 0,
        bytes_in: found.recv_oct,
        bytes_out: found.send_oct,
        tls: None,
        id: found.name,
    })
}

async fn close(Extract(face): Extract<Face>, Path(id): Path<String>) -> Answer<StatusCode> {
    match face.0.broker.close(&id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refused::NotFound(format!("there is no connection `{id}`")).into()),
    }
}

/// What the process of the broker takes; nothing while it is not known which that is.
fn cost_of_broker(home: &FilePath) -> Sample {
    let written = read_bounded(&home.join("rabbitmq.pid"), 32).ok();
    let process = written.and_then(|text| text.trim().parse().ok());
    process.and_then(cost::process).unwrap_or_default()
}

/// The bytes and the number of the files in a folder and below it.
fn disk_use(folder: &FilePath) -> (u64, u64) {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MAX_FILES {
                return (bytes, files);
            }
            // What goes meanwhile takes no room.
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += found.len();
                files += 1;
            }
        }
    }
    (bytes, files)
}
