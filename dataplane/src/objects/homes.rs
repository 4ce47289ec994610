//! Who gets the next queue: how many each node is the home of, and who takes more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mq_mesh::NodeId;

/// The nodes of the fleet as homes of addresses that keep messages.
#[derive(Debug)]
pub(super) struct Homes {
    here: Arc<str>,
    counts: BTreeMap<Arc<str>, usize>,
    /// The other nodes that can be reached.
    reachable: BTreeMap<NodeId, Arc<str>>,
    cordoned: BTreeSet<Arc<str>>,
}

impl Homes {
    pub(super) fn new(here: Arc<str>) -> Self {
        Self { here, counts: BTreeMap::new(), reachable: BTreeMap::new(), cordoned: BTreeSet::new() }
    }

    pub(super) fn up(&mut self, node: NodeId, name: Arc<str>) {
        self.reachable.insert(node, name);
    }

    pub(super) fn down(&mut self, node: NodeId) {
        self.reachable.remove(&node);
    }

    /// What a node is called that can be reached.
    pub(super) fn name(&self, node: NodeId) -> Option<&Arc<str>> {
        self.reachable.get(&node)
    }

    /// Whether a node takes new homes.
    pub(super) fn cordon(&mut self, name: Arc<str>, is_cordoned: bool) {
        if is_cordoned {
            self.cordoned.insert(name);
        } else {
            self.cordoned.remove(&name);
        }
    }

    /// An address has come to a node, or has left it.
    pub(super) fn count(&mut self, home: Option<&Arc<str>>, has_come: bool) {
        let Some(home) = home else { return };
        let count = self.counts.entry(home.clone()).or_default();
        *count = if has_come { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.counts.remove(home);
        }
    }

    /// The home of a new address: the node with the fewest, of those that can be reached and take more. Of
    /// several the name decides, so that those who create at the same time elsewhere choose different ones.
    /// When all are cordoned it is this one.
    pub(super) fn choose(&self, address: &str) -> Arc<str> {
        let nodes = self.reachable.values().chain([&self.here]);
        let takers = nodes.filter(|node| !self.cordoned.contains(*node));
        let best = takers.min_by_key(|node| {
            let count = self.counts.get(*node).copied().unwrap_or_default();
            (count, hash(address, node), (*node).clone())
        });
        best.unwrap_or(&self.here).clone()
    }

    /// The homes of so many further shards of a queue, given those of the shards that there are: as many on each
    /// node that takes some, as far as that goes. Shards with one home follow each other, since the worker
    /// that has one goes by its number.
    pub(super) fn choose_for_shards(&self, queue: &str, there: &[Arc<str>], shards: usize) -> Vec<Arc<str>> {
        let nodes = self.reachable.values().chain([&self.here]);
        let takers: Vec<&Arc<str>> = nodes.filter(|node| !self.cordoned.contains(*node)).collect();
        let mut homes: Vec<Arc<str>> = there.to_vec();
        for _ in 0..shards {
            let best = takers.iter().min_by_key(|node| {
                let own = homes.iter().filter(|home| home == *node).count();
                let all = self.counts.get(**node).copied().unwrap_or_default();
                (own, all, hash(queue, node), (**node).clone())
            });
            homes.push(best.map_or(&self.here, |node| *node).clone());
        }
        let last = there.last();
        let mut new = homes.split_off(there.len());
        new.sort_by_key(|home| (Some(home) != last, home.clone()));
        new
    }
}

/// How much a node is for an address, compared with other nodes: FNV-1a of both names, mixed so that similar names
/// spread.
pub(crate) fn hash(address: &str, node: &str) -> u64 {
    let bytes = address.bytes().chain([0xff]).chain(node.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes() -> Homes {
        let mut homes = Homes::new("node-1".into());
        homes.up(NodeId(2), "node-2".into());
        homes.up(NodeId(3), "node-3".into());
        homes
    }

    #[test]
    fn the_node_with_the_fewest_homes_gets_the_next() {
        let mut homes = homes();
        for number in 0..300 {
            let home = homes.choose(&format!("queue-{number}"));
            homes.count(Some(&home), true);
        }
        assert!(homes.counts.values().all(|count| *count == 100), "{:?}", homes.counts);
        homes.count(Some(&"node-3".into()), false);
        assert_eq!(&*homes.choose("next"), "node-3");
    }

    #[test]
    fn the_shards_of_a_queue_are_spread_evenly_and_those_of_a_node_follow_each_other() {
        let mut homes = homes();
        let first: Arc<str> = "node-2".into();
        let chosen = homes.choose_for_shards("queue", std::slice::from_ref(&first), 5);
        assert_eq!(
            chosen.iter().map(|home| &**home).collect::<Vec<_>>(),
            ["node-2", "node-1", "node-1", "node-3", "node-3"]
        );
        homes.cordon("node-3".into(), true);
        let there = [vec![first], chosen].concat();
        let more = homes.choose_for_shards("queue", &there, 2);
        assert_eq!(more.iter().map(|home| &**home).collect::<Vec<_>>(), ["node-1", "node-2"]);
    }

    #[test]
    fn nodes_that_are_cordoned_or_gone_get_none_and_the_last_resort_is_here() {
        let mut homes = homes();
        homes.count(Some(&"node-1".into()), true);
        homes.cordon("node-2".into(), true);
        assert_eq!(&*homes.choose("queue"), "node-3");
        homes.down(NodeId(3));
        assert_eq!(&*homes.choose("queue"), "node-1");
        homes.cordon("node-1".into(), true);
        assert_eq!(&*homes.choose("queue"), "node-1");
        homes.cordon("node-2".into(), false);
        assert_eq!(&*homes.choose("queue"), "node-2");
    }

    #[test]
    fn names_spread_over_nodes_that_have_equally_many() {
        let homes = homes();
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for number in 0..3_000 {
            *counts.entry(homes.choose(&format!("queue-{number}"))).or_default() += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|count| *count > 800), "{counts:?}");
    }
}
