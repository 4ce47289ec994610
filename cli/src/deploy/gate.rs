//! What has to hold of a node before the next one is touched: a pure function from what is expected and what
//! the node says to the reasons why not.

use mq_model::{
    admin::{Mesh, MeshNodeState},
    config::{DaemonConfig, MeshConnect},
};

use serde::{Deserialize, Serialize};

use crate::shape;

/// What a running node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub version: String,
    pub config_hash: String,
    /// It serves, and is not stopping.
    pub is_running: bool,
    /// The nodes that it has a link to; `None`: it is in no mesh.
    pub neighbours: Option<Vec<String>>,
    /// The nodes that it can reach, itself included.
    pub reachable: Vec<String>,
    /// Messages in its log.
    pub stored: u64,
    /// Messages that have left it since it started: acknowledged, expired, dropped, dead-lettered.
    pub left: u64,
    /// Deliveries that were under way.
    pub unsettled: u64,
}

/// What a node should say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub version: Option<String>,
    pub config_hash: String,
    /// The nodes that it should have links to.
    pub neighbours: Vec<String>,
    /// The nodes that it should reach.
    pub reachable: Vec<String>,
    /// Messages that it should have found in its log, or have given away since.
    pub stored: u64,
}

impl Report {
    /// What the mesh of a node adds to its report.
    pub fn see(&mut self, mesh: &Mesh) {
        let is_up = |node: &&mq_model::admin::MeshNode| node.state == MeshNodeState::Up;
        self.reachable = mesh.nodes.iter().filter(is_up).map(|node| node.name.clone()).collect();
        let beside = mesh.links.iter().filter_map(|link| {
            let is_live = link.connections > 0;
            let other = match (link.from == mesh.node, link.to == mesh.node) {
                (true, false) => &link.to,
                (false, true) => &link.from,
                _ => return None,
            };
            is_live.then(|| other.clone())
        });
        self.neighbours = Some(beside.collect());
    }

    /// How many messages are on the node for certain: what was being settled may have been taken.
    pub fn certain(&self) -> u64 {
        self.stored.saturating_sub(self.unsettled)
    }
}

impl Expected {
    /// Why the node is not as it should be, in sentences about it; nothing when it is.
    pub fn missing(&self, report: &Report) -> Vec<String> {
        let mut missing = Vec::new();
        if !report.is_running {
            missing.push("it is stopping".to_owned());
        }
        if report.config_hash != self.config_hash {
            missing.push("it runs with another configuration".to_owned());
        }
        if let Some(version) = self.version.as_ref().filter(|version| **version != report.version) {
            missing.push(format!("it runs mqd {} and not {version}", report.version));
        }
        match &report.neighbours {
            None if self.neighbours.is_empty() && self.reachable.is_empty() => {}
            None => missing.push("it is in no mesh".to_owned()),
            Some(found) => {
                missing.extend(absent("link to", &self.neighbours, found));
                missing.extend(absent("path to", &self.reachable, &report.reachable));
            }
        }
        let accounted = report.stored.saturating_add(report.left);
        if accounted < self.stored {
            missing.push(format!(
                "it has recovered {} of {}",
                shape::number(accounted),
                shape::plural(self.stored, "stored message")
            ));
        }
        missing
    }
}

fn absent(what: &str, wanted: &[String], found: &[String]) -> Option<String> {
    let absent: Vec<&str> = wanted.iter().filter(|name| !found.contains(name)).map(String::as_str).collect();
    (!absent.is_empty()).then(|| format!("it has no {what} {}", absent.join(", ")))
}

/// Whether two nodes that run like this have a link: one of them connects to where the other listens.
/// `address` says where others reach a node that listens on every address of its machine, when that is known.
pub fn is_linked(one: &DaemonConfig, other: &DaemonConfig, address: impl Fn(&str) -> Option<String>) -> bool {
    connects(one, other, address(&other.node)) || connects(other, one, address(&one.node))
}

fn connects(from: &DaemonConfig, to: &DaemonConfig, address: Option<String>) -> bool {
    let (Some(from), Some(to)) = (&from.mesh, &to.mesh) else { return false };
    let is_everywhere = matches!(to.listen.host.as_str(), "0.0.0.0" | "::");
    let is_it = |connect: &MeshConnect| {
        let is_host = match &address {
            Some(address) if is_everywhere => *address == connect.host,
            _ => is_everywhere || connect.host == to.listen.host,
        };
        connect.port == to.listen.port && is_host
    };
    from.connect.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use mq_model::{
        admin::{MeshLink, MeshNode},
        manifest::{Fleet, FleetLink, FleetSpec, SshHost, SshTarget, Target},
    };

    use super::*;

    fn expected() -> Expected {
        Expected {
            version: Some("1".into()),
            config_hash: "h".into(),
            neighbours: vec!["node-1".into(), "node-3".into()],
            reachable: vec!["node-1".into(), "node-3".into(), "node-4".into()],
            stored: 10,
        }
    }

    fn report() -> Report {
        let link = |from: &str, to: &str, connections| MeshLink {
            from: from.into(),
            to: to.into(),
            cost: 1,
            connections,
        };
        let node = |name: &str, state| MeshNode { name: name.into(), state, ..MeshNode::default() };
        let mesh = Mesh {
            fleet: "f".into(),
            node: "node-2".into(),
            nodes: vec![
                node("node-1", MeshNodeState::Up),
                node("node-2", MeshNodeState::Up),
                node("node-3", MeshNodeState::Up),
                node("node-4", MeshNodeState::Up),
                node("node-5", MeshNodeState::Unreachable),
            ],
            links: vec![
                link("node-1", "node-2", 4),
                link("node-2", "node-3", 1),
                link("node-3", "node-4", 1),
            ],
        };
        let mut report = Report {
            version: "1".into(),
            config_hash: "h".into(),
            is_running: true,
            stored: 10,
            ..Report::default()
        };
        report.see(&mesh);
        report
    }

    #[test]
    fn a_node_that_is_as_it_should_be_lets_the_roll_go_on() {
        assert_eq!(report().neighbours, Some(vec!["node-1".to_owned(), "node-3".to_owned()]));
        assert_eq!(expected().missing(&report()), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let bad = Report {
            version: "0".into(),
            config_hash: "x".into(),
            neighbours: Some(vec!["node-1".into()]),
            reachable: vec!["node-1".into()],
            stored: 4,
            left: 3,
            ..Report::default()
        };
        let said = [
            "it is stopping",
            "it runs with another configuration",
            "it runs mqd 0 and not 1",
            "it has no link to node-3",
            "it has no path to node-3, node-4",
            "it has recovered 7 of 10 stored messages",
        ];
        assert_eq!(expected().missing(&bad), said);
    }

    #[test]
    fn messages_that_were_taken_since_are_not_missing() {
        let taken = Report { stored: 4, left: 6, ..report() };
        assert_eq!(expected().missing(&taken), Vec::<String>::new());
        assert_eq!(Report { stored: 10, unsettled: 3, ..report() }.certain(), 7);
    }

    #[test]
    fn a_node_alone_needs_no_mesh() {
        let alone = Expected { neighbours: Vec::new(), reachable: Vec::new(), ..expected() };
        let report = Report { neighbours: None, ..report() };
        assert_eq!(alone.missing(&report), Vec::<String>::new());
        assert_eq!(expected().missing(&report), ["it is in no mesh"]);
    }

    #[test]
    fn a_link_is_expected_when_one_of_the_two_makes_it() {
        let spec = FleetSpec { nodes: Some(2), ..FleetSpec::default() };
        let mut fleet = Fleet::new("f", spec);
        let config = |fleet: &Fleet, node: &str| DaemonConfig::from_fleet(fleet, node, "s");
        let (one, two) = (config(&fleet, "node-1"), config(&fleet, "node-2"));
        let is_linked = |one: &DaemonConfig, other: &DaemonConfig| is_linked(one, other, |_| None);
        assert!(is_linked(&one, &two) && is_linked(&two, &one));
        // Node 1 still listens where it did before its port was changed.
        fleet.spec.mesh.port = Some(9_000);
        assert!(!is_linked(&one, &config(&fleet, "node-2")));
        fleet.spec = FleetSpec::default();
        assert!(!is_linked(&config(&fleet, "node-1"), &two), "alone");
    }

    #[test]
    fn of_several_machines_with_the_same_ports_only_the_named_ones_are_linked() {
        let hosts: Vec<SshHost> = (1..=3).map(|number| SshHost::new(format!("h{number}"))).collect();
        let mut spec =
            FleetSpec { target: Target::Ssh(SshTarget { hosts, supervision: None }), ..FleetSpec::default() };
        let link = |from: &str, to: &str| FleetLink { from: from.into(), to: to.into(), cost: None };
        spec.mesh.links = vec![link("node-1", "node-2"), link("node-2", "node-3")];
        let fleet = Fleet::new("f", spec);
        let nodes = ["node-1", "node-2", "node-3"].map(|node| DaemonConfig::from_fleet(&fleet, node, "s"));
        let address = |node: &str| {
            let number = mq_model::mesh::node_number(node)?;
            fleet.spec.target.host_of(number).map(|host| host.mesh_address().to_owned())
        };
        let is_linked = |one: usize, other: usize| is_linked(&nodes[one], &nodes[other], address);
        assert_eq!((is_linked(0, 1), is_linked(1, 2), is_linked(0, 2)), (true, true, false));
    }
}
