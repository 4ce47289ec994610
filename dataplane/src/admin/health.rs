//! What a supervisor and a monitoring system ask.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text;

use super::Api;
use super::problem::Refusal;
use crate::listen::Refusals;
use crate::mesh::{Fabric, Traffic};
use crate::metrics::{CONTENT_TYPE, MeshFigures, NeighbourFigures, Snapshot};
use crate::process::Usage;
use crate::store::StoreView;
use crate::tls::Certificates;

/// The control thread turns: that is all it says.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(api): State<Api>) -> Response {
    match api.node.readiness() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Refusal> {
    let node = &api.node;
    api.metrics.set(Snapshot {
        shards: node.hub.statistics().await,
        addresses: node.catalogue.len() as u64,
        is_ready: node.readiness().is_ok(),
        refused: refused(&node.refusals),
        store: node.hub.store().map(StoreView::status),
        certificate: node.certificates.as_deref().map(Certificates::view),
        mesh: node.hub.mesh().map(|fabric| figures(fabric)),
        spaces: node.hub.usage().spaces(),
        connectors: node.connectors.figures(),
        usage: Usage::now(),
        start_seconds: node.started_at.as_millisecond() as f64 / 1e3,
    });
    let mut page = String::new();
    text::encode(&mut page, &api.registry).map_err(|error| {
        let detail = format!("the metrics cannot be written: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], page).into_response())
}

/// What went to each neighbour and came from it.
fn figures(fabric: &Fabric) -> MeshFigures {
    use std::sync::atomic::Ordering::Relaxed;
    let (view, nodes) = (fabric.view(), fabric.nodes());
    let name = |id| nodes.iter().find(|node| node.id == id).map(|node| node.name.to_string());
    let of = |id, traffic: &Traffic| NeighbourFigures {
        connections: view.links.get(&id).map_or(0, Vec::len) as u64,
        bytes: [traffic.bytes_in.load(Relaxed), traffic.bytes_out.load(Relaxed)],
        frames: [traffic.frames_in.load(Relaxed), traffic.frames_out.load(Relaxed)],
        dropped: traffic.dropped.load(Relaxed),
        retransmitted: traffic.retransmitted.load(Relaxed),
        round_trip_micros: Some(traffic.round_trip_micros.load(Relaxed)).filter(|micros| *micros > 0),
        ups: traffic.ups.load(Relaxed),
        downs: traffic.downs.load(Relaxed),
    };
    let traffic = fabric.all_traffic().into_iter();
    let neighbours = traffic.filter_map(|(id, traffic)| Some((name(id)?, of(id, &traffic)))).collect();
    MeshFigures { nodes: view.nodes.len() as u64 + 1, neighbours }
}

fn refused(refusals: &Refusals) -> [(&'static str, u64); 3] {
    use std::sync::atomic::Ordering::Relaxed;
    [
        ("limit", refusals.limit.load(Relaxed)),
        ("no-worker", refusals.no_worker.load(Relaxed)),
        ("out-of-resources", refusals.exhausted.load(Relaxed)),
    ]
}
