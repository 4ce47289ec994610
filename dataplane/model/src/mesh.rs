//! How the nodes of a fleet find each other: the section `mesh` of a daemon's configuration, and of a fleet.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::default_host;
use crate::kubernetes::{self, Names};
use crate::manifest::{Fleet, FleetSpec};

/// Nodes of a fleet, and neighbours that one node may be told to connect to.
pub const MAX_NODES: u32 = 1_000;

/// Bytes of a stored message in a fleet of several nodes: it has to fit into one message between them, with
/// what is said about it.
pub const MAX_MESSAGE: u64 = 31 << 20;

/// The port of the first node's mesh listener.
const DEFAULT_PORT: u16 = 7672;

/// Milliseconds between two signs of life.
const DEFAULT_HEARTBEAT_MS: u32 = 500;

/// Milliseconds of silence after which a connection is dead.
const DEFAULT_TIMEOUT_MS: u32 = 2_000;

/// The other nodes of the fleet: where they reach this one, and which it connects to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mesh {
    /// Where other nodes reach this one.
    pub listen: MeshListener,
    /// The nodes that this one connects to and stays connected to, at most 1,000; others connect to it.
    /// The node without any founds the fleet: it makes what is there from the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<MeshConnect>,
    /// Cost of a link that does not say its own. Paths with the lowest sum of costs are taken. Default 1;
    /// 1 to 1,000,000.
    #[serde(default = "default_cost")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cost: u32,
    /// Connections to each neighbour; 0 means as many as let every worker have one of its own, up to 16.
    /// At most 64.
    #[serde(default)]
    #[schemars(range(max = 64))]
    pub connections: u16,
    /// How nodes prove to each other that they belong to the fleet.
    pub tls: MeshTls,
    /// Milliseconds between two signs of life of a connection. Default 500; 50 to 60,000.
    #[serde(default = "default_heartbeat")]
    #[schemars(range(min = 50, max = 60_000))]
    pub heartbeat_ms: u32,
    /// Milliseconds without a sign of life after which a connection is given up: at least twice
    /// `heartbeat-ms`. Default 2,000; 100 to 600,000.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u32,
}

/// Where a node takes connections of other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MeshListener {
    /// An IP address of this machine; `0.0.0.0` means every IPv4 address, `::` every address.
    #[serde(default = "default_host")]
    pub host: String,
    /// 0 picks a free port; `node.json` and the admin API say which.
    pub port: u16,
}

/// A node to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MeshConnect {
    /// An IP address or a name of at most 253 bytes; a name is looked up again for every attempt.
    pub host: String,
    /// The port of that node's mesh listener.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Cost of the link, in both directions. Default: `cost` of the section. 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cost: Option<u32>,
}

/// The files with which a node proves who it is, in PEM. A relative path starts at `state-dir`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MeshTls {
    /// The certificates of the authorities that sign those of the fleet's nodes.
    #[schemars(length(min = 1, max = 4_096))]
    pub ca: PathBuf,
    /// The certificate of the node, for `<node>.<fleet>.mq.internal`, with those between it and an authority.
    #[schemars(length(min = 1, max = 4_096))]
    pub certificate: PathBuf,
    /// The private key of the certificate. Nobody but the node's user may read it.
    #[schemars(length(min = 1, max = 4_096))]
    pub key: PathBuf,
}

/// How the nodes of a fleet are connected; absent fields mean the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetMesh {
    /// An IP address of the machine, on which its nodes reach each other. Default: 127.0.0.1; over SSH
    /// and in a cluster, every address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The first node's port for other nodes; each further node of a machine has the next one. 0: `mq deploy`
    /// picks free ports once and keeps them. Default 7672.
    #[schemars(extend("default" = 7_672))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Cost of a link that does not say its own. Paths with the lowest sum of costs are taken. Default 1;
    /// 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// Connections to each neighbour; 0 means as many as let every worker have one of its own, up to 16.
    /// At most 64.
    #[schemars(range(max = 64), extend("default" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u16>,
    /// Which nodes are neighbours. Every node has to be reachable from every other. Default: each node is
    /// a neighbour of each other, and a node that is added changes nothing for those that are there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<FleetLink>,
    /// Milliseconds between two signs of life of a connection. Default 500; 50 to 60,000.
    #[schemars(range(min = 50, max = 60_000), extend("default" = 500))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u32>,
    /// Milliseconds without a sign of life after which a connection is given up: at least twice
    /// `heartbeatMs`. Default 2,000; 100 to 600,000.
    #[schemars(range(min = 100, max = 600_000), extend("default" = 2_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
}

/// Two nodes that are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetLink {
    /// The name of a node: `node-1`, `node-2` and so on.
    pub from: String,
    /// The name of another one. A link has no direction.
    pub to: String,
    /// Cost of the link. Default: `mesh.cost`. 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub cost: Option<u32>,
}

/// The name of the node with this number, which counts from 1.
pub fn node_name(number: u32) -> String {
    format!("node-{number}")
}

/// The number of the node called `name`; `None` when the name is not one that a fleet gives.
pub fn node_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("node-")?;
    let number = digits.parse().ok().filter(|number| (1..=MAX_NODES).contains(number))?;
    // `node-01` and `node-+1` are names of nobody.
    (node_name(number) == name).then_some(number)
}

/// The port of the node with this number where the first one has `first`; 0 stays 0: each picks its own.
/// `None`: there is no such port.
pub fn node_port(first: u16, number: u32) -> Option<u16> {
    if first == 0 {
        return Some(0);
    }
    u16::try_from(u32::from(first) + number.saturating_sub(1)).ok()
}

impl Mesh {
    /// The section of the node with this number; `None` for a fleet of one node that says nothing of a mesh.
    pub(crate) fn from_fleet(fleet: &Fleet, number: u32) -> Option<Self> {
        fleet.spec.is_meshed().then(|| Self::of_member(fleet, number))
    }

    /// The section of the node with this number, even of one that is the only one now.
    pub fn of_member(fleet: &Fleet, number: u32) -> Self {
        let (name, spec) = (&fleet.metadata.name, &fleet.spec);
        let fleet = &spec.mesh;
        // A port that does not exist is refused when the fleet is validated.
        let port_of = |number| node_port(fleet.port(), spec.target.slot(number)).unwrap_or(0);
        let mut connect: Vec<(u32, Option<u32>)> = neighbours(spec.nodes(), &fleet.links)
            .into_iter()
            .filter(|link| link.from == number)
            .map(|link| (link.to, link.cost))
            .collect();
        connect.sort_unstable();
        let connect = connect.into_iter().map(|(other, cost)| MeshConnect {
            host: reached_at(name, spec, other),
            port: port_of(other),
            cost,
        });
        Self {
            listen: MeshListener { port: port_of(number), host: listen_host(spec, number) },
            connect: connect.collect(),
            cost: fleet.cost.unwrap_or_else(default_cost),
            connections: fleet.connections.unwrap_or(0),
            tls: spec.target.kubernetes().map_or_else(MeshTls::default, |_| kubernetes::mesh_tls()),
            heartbeat_ms: fleet.heartbeat_ms(),
            timeout_ms: fleet.timeout_ms(),
        }
    }

    /// The numbers of the nodes that the node with this number connects to, in the order of
    /// [`Mesh::connect`].
    pub fn targets(spec: &FleetSpec, number: u32) -> Vec<u32> {
        let links = neighbours(spec.nodes(), &spec.mesh.links).into_iter();
        let mut targets: Vec<u32> = links.filter(|link| link.from == number).map(|link| link.to).collect();
        targets.sort_unstable();
        targets
    }
}

impl MeshTls {
    /// The paths with everything below `state_dir` that is relative.
    pub fn below(&self, state_dir: &Path) -> Self {
        Self {
            ca: state_dir.join(&self.ca),
            certificate: state_dir.join(&self.certificate),
            key: state_dir.join(&self.key),
        }
    }
}

/// Where `mq deploy` puts the files.
impl Default for MeshTls {
    fn default() -> Self {
        Self { ca: "tls/ca.pem".into(), certificate: "tls/node.pem".into(), key: "tls/node.key".into() }
    }
}

impl FleetMesh {
    /// The first node's port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    pub(crate) fn heartbeat_ms(&self) -> u32 {
        self.heartbeat_ms.unwrap_or(DEFAULT_HEARTBEAT_MS)
    }

    pub(crate) fn timeout_ms(&self) -> u32 {
        self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS)
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One link by the numbers of its nodes; `from` is the one that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Neighbours {
    from: u32,
    to: u32,
    cost: Option<u32>,
}

/// Every link of a fleet. Node 1 connects to nobody and everyone else to at least one node, so that
/// exactly one node founds the fleet. Links that name no two nodes of the fleet are left out.
fn neighbours(nodes: u32, links: &[FleetLink]) -> Vec<Neighbours> {
    if links.is_empty() {
        let pairs = (2..=nodes).flat_map(|from| (1..from).map(move |to| (from, to)));
        return pairs.map(|(from, to)| Neighbours { from, to, cost: None }).collect();
    }
    let distance = distances(nodes, links);
    let rank = |number: u32| (distance.get(number as usize).copied().flatten(), number);
    let mut seen = std::collections::BTreeSet::new();
    let named = links.iter().filter_map(|link| {
        let (left, right) = ends(nodes, link)?;
        let (to, from) = if rank(left) < rank(right) { (left, right) } else { (right, left) };
        seen.insert((from, to)).then_some(Neighbours { from, to, cost: link.cost })
    });
    named.collect()
}

/// The numbers of the two nodes, when there are such nodes and they are two.
fn ends(nodes: u32, link: &FleetLink) -> Option<(u32, u32)> {
    let number = |name: &str| node_number(name).filter(|number| *number <= nodes);
    let (from, to) = (number(&link.from)?, number(&link.to)?);
    (from != to).then_some((from, to))
}

/// How many links lie between node 1 and each node, by number; `None`: no path.
fn distances(nodes: u32, links: &[FleetLink]) -> Vec<Option<u32>> {
    let mut beside = vec![Vec::new(); nodes as usize + 1];
    for (from, to) in links.iter().filter_map(|link| ends(nodes, link)) {
        for (one, other) in [(from, to), (to, from)] {
            if let Some(list) = beside.get_mut(one as usize) {
                list.push(other);
            }
        }
    }
    let mut distance = vec![None; nodes as usize + 1];
    let mut queue = VecDeque::from([(1_u32, 0_u32)]);
    while let Some((number, far)) = queue.pop_front() {
        let Some(place) = distance.get_mut(number as usize) else { continue };
        if place.is_some() {
            continue;
        }
        *place = Some(far);
        queue.extend(beside.get(number as usize).into_iter().flatten().map(|&next| (next, far + 1)));
    }
    distance
}

/// The nodes that no path leads to from node 1, by number. None without a list of links.
pub(crate) fn cut_off(nodes: u32, links: &[FleetLink]) -> Vec<u32> {
    if links.is_empty() {
        return Vec::new();
    }
    let distance = distances(nodes, links);
    let numbers: RangeInclusive<u32> = 1..=nodes;
    numbers.filter(|&number| distance.get(number as usize).copied().flatten().is_none()).collect()
}

/// Where a node listens for others.
pub(crate) fn listen_host(spec: &FleetSpec, number: u32) -> String {
    let every_address = |address: &str| if address.contains(':') { "::" } else { "0.0.0.0" };
    let default = || {
        if spec.target.kubernetes().is_some() {
            return every_address("").into();
        }
        // Behind a name, or the address that others see, there need not be an interface that has it.
        spec.target
            .host_of(number)
            .map_or_else(default_host, |host| every_address(host.mesh_address()).into())
    };
    spec.mesh.host.clone().unwrap_or_else(default)
}

/// Where other nodes reach a node.
fn reached_at(fleet: &str, spec: &FleetSpec, number: u32) -> String {
    if spec.target.kubernetes().is_some() {
        return Names::of_fleet(fleet).host(number);
    }
    if let Some(host) = spec.target.host_of(number) {
        return host.mesh_address().to_owned();
    }
    match spec.mesh.host.as_deref() {
        None | Some("0.0.0.0") => default_host(),
        Some("::") => "::1".into(),
        Some(host) => host.to_owned(),
    }
}

fn default_cost() -> u32 {
    1
}

fn default_heartbeat() -> u32 {
    DEFAULT_HEARTBEAT_MS
}

fn default_timeout() -> u32 {
    DEFAULT_TIMEOUT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(nodes: u32, links: &[(u32, u32)]) -> Fleet {
        let links = links.iter().map(|&(from, to)| FleetLink {
            from: node_name(from),
            to: node_name(to),
            cost: None,
        });
        let mesh = FleetMesh { links: links.collect(), ..FleetMesh::default() };
        Fleet::new("f", FleetSpec { nodes: Some(nodes), mesh, ..FleetSpec::default() })
    }

    #[test]
    fn a_node_alone_has_no_mesh_until_it_is_asked_for_one() {
        assert_eq!(Mesh::from_fleet(&fleet(1, &[]), 1), None);
        let mut fleet = fleet(1, &[]);
        fleet.spec.mesh.port = Some(7000);
        let mesh = Mesh::from_fleet(&fleet, 1).expect("a mesh of one");
        assert_eq!((mesh.listen.port, mesh.connect.len()), (7000, 0));
    }

    #[test]
    fn a_further_node_changes_nothing_for_those_that_are_there() {
        for number in 1..=3 {
            assert_eq!(Mesh::from_fleet(&fleet(3, &[]), number), Mesh::from_fleet(&fleet(5, &[]), number));
        }
        assert_eq!(Mesh::targets(&fleet(5, &[]).spec, 4), [1, 2, 3]);
    }

    #[test]
    fn one_node_alone_founds_the_fleet_whatever_the_links() {
        for links in [&[(1, 3), (2, 3)][..], &[(3, 2), (1, 3), (2, 4), (4, 3)], &[(4, 1), (4, 2), (4, 3)]] {
            let fleet = fleet(4, &[links, &[(4, 3)]].concat());
            let founders: Vec<u32> =
                (1..=4).filter(|&node| Mesh::targets(&fleet.spec, node).is_empty()).collect();
            assert_eq!(founders, [1], "{links:?}");
            for number in 1..=4 {
                let mesh = Mesh::from_fleet(&fleet, number).expect("a mesh");
                let ports: Vec<u16> = mesh.connect.iter().map(|connect| connect.port).collect();
                let targets = Mesh::targets(&fleet.spec, number).into_iter();
                let wanted: Vec<u16> = targets.filter_map(|target| node_port(7672, target)).collect();
                assert_eq!(ports, wanted);
            }
        }
    }

    #[test]
    fn a_node_without_a_path_is_named() {
        assert_eq!(cut_off(4, &fleet(4, &[(1, 2), (3, 4)]).spec.mesh.links), [3, 4]);
        assert_eq!(cut_off(4, &[]), Vec::<u32>::new());
    }

    #[test]
    fn names_have_numbers_and_numbers_ports() {
        assert_eq!(node_number("node-7"), Some(7));
        for name in ["node-0", "node-07", "node-+7", "node-1001", "node-", "n-7", "Node-7"] {
            assert_eq!(node_number(name), None, "{name}");
        }
        assert_eq!((node_port(5672, 3), node_port(0, 3), node_port(65_535, 2)), (Some(5674), Some(0), None));
    }
}
