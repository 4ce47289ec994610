//! Shortest paths from one node (Dijkstra), with all first steps that are as good.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{MAX_NEXT_HOPS, Route, Routes};
use crate::identity::NodeId;

/// A node and the links it names: the other node and the cost, by node.
pub(super) type Links<'a> = (NodeId, &'a [(NodeId, u32)]);

/// A node as far as it has been found.
#[derive(Clone, Default)]
struct Found {
    /// `None`: not yet.
    cost: Option<u32>,
    hops: u32,
    next_hops: Vec<NodeId>,
    is_done: bool,
}

struct Search<'a> {
    nodes: &'a [Links<'a>],
    found: Vec<Found>,
    heap: BinaryHeap<Reverse<(u32, usize)>>,
}

/// The ways from `root` to every other of the nodes, which are sorted. A link counts when both its ends
/// name it, and costs what the one says who says more.
pub(super) fn shortest_paths(root: NodeId, nodes: &[Links<'_>]) -> Routes {
    let mut search = Search { nodes, found: vec![Found::default(); nodes.len()], heap: BinaryHeap::new() };
    let Ok(start) = nodes.binary_search_by_key(&root, |(id, _)| *id) else { return Routes::default() };
    if let Some(found) = search.found.get_mut(start) {
        found.cost = Some(0);
    }
    search.heap.push(Reverse((0, start)));
    while let Some(Reverse((_, index))) = search.heap.pop() {
        search.expand(index, index == start);
    }
    let ways = nodes.iter().zip(search.found).filter(|((id, _), _)| *id != root);
    let routes = ways.filter_map(|((id, _), found)| {
        let next_hops = found.next_hops.into_boxed_slice();
        Some(Route { node: *id, cost: found.cost?, hops: found.hops, next_hops })
    });
    Routes { routes: routes.collect() }
}

impl Search<'_> {
    fn expand(&mut self, index: usize, is_root: bool) {
        let (Some(found), Some(&(id, links))) = (self.found.get_mut(index), self.nodes.get(index)) else {
            return;
        };
        if std::mem::replace(&mut found.is_done, true) {
            return;
        }
        let from = Found { next_hops: std::mem::take(&mut found.next_hops), ..*found };
        // Links and nodes are sorted alike, so one pass finds every neighbour's index.
        let mut position = 0;
        for (neighbour, cost) in links {
            let Some(rest) = self.nodes.get(position..) else { break };
            let step = skip_to(rest, *neighbour);
            position += step;
            if self.nodes.get(position).is_some_and(|(id, _)| id == neighbour) {
                self.relax(&from, id, position, *cost, is_root);
            }
        }
        if let Some(found) = self.found.get_mut(index) {
            found.next_hops = from.next_hops;
        }
    }

    fn relax(&mut self, from: &Found, id: NodeId, index: usize, cost: u32, is_root: bool) {
        let (Some(to), Some(&(neighbour, links))) = (self.found.get_mut(index), self.nodes.get(index)) else {
            return;
        };
        let base = from.cost.unwrap_or_default();
        // In a dense fleet most links lead nowhere better: that is seen before the other end is asked.
        if to.is_done || to.cost.is_some_and(|known| known < base.saturating_add(cost)) {
            return;
        }
        let Ok(back) = links.binary_search_by_key(&id, |(id, _)| *id) else { return };
        let cost = links.get(back).map_or(cost, |(_, theirs)| cost.max(*theirs));
        let total = base.saturating_add(cost);
        if to.cost.is_some_and(|known| known < total) {
            return;
        }
        if to.cost != Some(total) {
            *to = Found { cost: Some(total), ..Found::default() };
            self.heap.push(Reverse((total, index)));
        }
        to.hops = to.hops.max(from.hops + 1);
        if is_root {
            merge(&mut to.next_hops, &[neighbour]);
        } else {
            merge(&mut to.next_hops, &from.next_hops);
        }
    }
}

/// How many nodes come before `id`: few as a rule, so it is looked for nearby first.
fn skip_to(nodes: &[Links<'_>], id: NodeId) -> usize {
    let mut bound = 1;
    while nodes.get(bound).is_some_and(|(other, _)| *other < id) {
        bound *= 2;
    }
    let (start, end) = (bound / 2, nodes.len().min(bound + 1));
    start + nodes.get(start..end).unwrap_or_default().partition_point(|(other, _)| *other < id)
}

/// Adds what is not there, in order, up to the bound.
fn merge(hops: &mut Vec<NodeId>, more: &[NodeId]) {
    for hop in more {
        if let Err(place) = hops.binary_search(hop) {
            hops.insert(place, *hop);
        }
    }
    hops.truncate(MAX_NEXT_HOPS);
}
