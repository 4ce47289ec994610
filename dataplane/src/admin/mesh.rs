//! The fleet as this node sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use mq_mesh::NodeId;
use mq_model::admin::{Mesh, MeshLink, MeshNode, MeshNodeState};

use super::Api;
use crate::mesh::{Fabric, Info, View};

pub(super) async fn show(State(api): State<Api>) -> Json<Mesh> {
    let config = &api.node.config;
    let (fleet, node) = (config.fleet.clone(), config.node.clone());
    let Some(fabric) = api.node.hub.mesh() else {
        return Json(Mesh { fleet, node, nodes: vec![alone(&api)], links: Vec::new() });
    };
    let view = fabric.view();
    let known = fabric.nodes();
    let name_of = |id: NodeId| known.iter().find(|node| node.id == id).map(|node| node.name.to_string());
    let homes = api.node.homes();
    let mut nodes: Vec<MeshNode> =
        known.iter().map(|node| describe(fabric, &view, node, &homes, &name_of)).collect();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    Json(Mesh { fleet, node, nodes, links: links(fabric, &view, &known, &name_of) })
}

/// A node that knows no other one.
fn alone(api: &Api) -> MeshNode {
    let node = &api.node;
    MeshNode {
        name: node.config.node.clone(),
        state: MeshNodeState::Up,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        workers: u32::try_from(node.hub.workers()).unwrap_or(u32::MAX),
        listeners: node.listeners.clone(),
        homes: node.homes().values().sum(),
        ..MeshNode::default()
    }
}

fn describe(
    fabric: &Fabric,
    view: &View,
    node: &mq_mesh::Node,
    homes: &BTreeMap<Arc<str>, u64>,
    name_of: &impl Fn(NodeId) -> Option<String>,
) -> MeshNode {
    let info = Info::decode(&node.info);
    let route = view.routes.get(node.id);
    let is_here = node.id == fabric.id();
    let state = match () {
        () if is_here || view.nodes.contains_key(&node.id) => MeshNodeState::Up,
        () if node.is_leaving => MeshNodeState::Left,
        () => MeshNodeState::Unreachable,
    };
    MeshNode {
        name: node.name.to_string(),
        state,
        version: info.version,
        incarnation: node.incarnation.0,
        workers: node.shards.into(),
        listeners: info.listeners,
        cost: route.map(|route| route.cost),
        hops: route.map(|route| route.hops),
        next_hops: route
            .map(|route| route.next_hops.iter().filter_map(|hop| name_of(*hop)).collect())
            .unwrap_or_default(),
        cordoned: info.cordoned,
        draining: info.draining,
        homes: homes.get(&node.name).copied().unwrap_or(0),
        has_namesake: fabric.has_namesake(&node.name, Instant::now()),
    }
}

/// Every link once, by the names of its ends.
fn links(
    fabric: &Fabric,
    view: &View,
    known: &[Arc<mq_mesh::Node>],
    name_of: &impl Fn(NodeId) -> Option<String>,
) -> Vec<MeshLink> {
    let mut links: BTreeMap<(String, String), MeshLink> = BTreeMap::new();
    // What a node that cannot be reached once said of its neighbours is not so any more.
    let up = known.iter().filter(|node| node.id == fabric.id() || view.nodes.contains_key(&node.id));
    for node in up {
        for (neighbour, cost) in node.links.iter() {
            let Some(other) = name_of(*neighbour) else { continue };
            let own = node.name.to_string();
            let (from, to) = if own < other { (own, other) } else { (other, own) };
            // Of other nodes' connections nothing is known but that there is one.
            let connections = match () {
                () if node.id == fabric.id() => view.links.get(neighbour).map_or(0, Vec::len),
                () if *neighbour == fabric.id() => view.links.get(&node.id).map_or(0, Vec::len),
                () => 1,
            };
            let connections = u32::try_from(connections).unwrap_or(u32::MAX);
            let link = links.entry((from.clone(), to.clone()));
            let link = link.or_insert(MeshLink { from, to, cost: *cost, connections });
            link.cost = link.cost.max(*cost);
        }
    }
    links.into_values().collect()
}
