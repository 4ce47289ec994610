//! From a fleet to the configuration of each node.
//!
//! What the manifest leaves open is decided once and kept: the ports for the mesh when it says 0, and whether
//! a node that is the only one now goes on being ready for others.

use std::collections::{BTreeMap, BTreeSet};

use mq_model::{
    config::{DaemonConfig, Mesh},
    manifest::Fleet,
    mesh::node_name,
};

use crate::failure::Outcome;

/// The configuration of every node, in order. `kept` are the configurations that the nodes were given before;
/// `pick` finds a free port that is none of those it is given.
pub fn configurations(
    fleet: &Fleet,
    state: impl Fn(&str) -> std::path::PathBuf,
    kept: &BTreeMap<String, DaemonConfig>,
    mut pick: impl FnMut(&BTreeSet<u16>) -> Outcome<u16>,
) -> Outcome<Vec<DaemonConfig>> {
    let render = |number| {
        let name = node_name(number);
        let mut config = DaemonConfig::from_fleet(fleet, &name, state(&name));
        let was_meshed = kept.get(&name).is_some_and(|kept| kept.mesh.is_some());
        // A fleet that shrinks to one node and grows again restarts nobody.
        if config.mesh.is_none() && was_meshed {
            config.mesh = Some(Mesh::of_member(fleet, number));
        }
        config
    };
    let mut configs: Vec<DaemonConfig> = (1..=fleet.spec.nodes()).map(render).collect();
    if fleet.spec.mesh.port() != 0 {
        return Ok(configs);
    }
    let kept_port = |name: &str| Some(kept.get(name)?.mesh.as_ref()?.listen.port).filter(|port| *port != 0);
    let mut taken: BTreeSet<u16> = kept.keys().filter_map(|name| kept_port(name)).collect();
    let mut ports = BTreeMap::new();
    for (number, config) in (1_u32..).zip(&configs).filter(|(_, config)| config.mesh.is_some()) {
        let port = match kept_port(&config.node) {
            Some(port) => port,
            None => pick(&taken)?,
        };
        taken.insert(port);
        ports.insert(number, port);
    }
    for (number, config) in (1_u32..).zip(&mut configs) {
        let Some(mesh) = &mut config.mesh else { continue };
        let port_of = |number| ports.get(&number).copied().unwrap_or(0);
        mesh.listen.port = port_of(number);
        for (connect, target) in mesh.connect.iter_mut().zip(Mesh::targets(&fleet.spec, number)) {
            connect.port = port_of(target);
        }
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::FleetSpec;

    use super::*;

    fn fleet(nodes: u32, port: Option<u16>) -> Fleet {
        let mut spec = FleetSpec { nodes: Some(nodes), ..FleetSpec::default() };
        spec.mesh.port = port;
        Fleet::new("f", spec)
    }

    fn rendered(fleet: &Fleet, kept: &[DaemonConfig]) -> Vec<DaemonConfig> {
        let kept = kept.iter().map(|config| (config.node.clone(), config.clone())).collect();
        let pick = |taken: &BTreeSet<u16>| Ok((20_001..).find(|port| !taken.contains(port)).unwrap());
        configurations(fleet, |node| node.into(), &kept, pick).unwrap()
    }

    fn ports(configs: &[DaemonConfig]) -> Vec<(u16, Vec<u16>)> {
        let meshes = configs.iter().filter_map(|config| config.mesh.as_ref());
        meshes
            .map(|mesh| (mesh.listen.port, mesh.connect.iter().map(|connect| connect.port).collect()))
            .collect()
    }

    #[test]
    fn each_node_connects_to_those_before_it() {
        let expected = [(7672, vec![]), (7673, vec![7672]), (7674, vec![7672, 7673])];
        assert_eq!(ports(&rendered(&fleet(3, None), &[])), expected);
        assert_eq!(ports(&rendered(&fleet(1, None), &[])), []);
    }

    #[test]
    fn free_ports_are_picked_once_and_kept() {
        let first = rendered(&fleet(2, Some(0)), &[]);
        assert_eq!(ports(&first), [(20_001, vec![]), (20_002, vec![20_001])]);
        let mut grown = rendered(&fleet(3, Some(0)), &first);
        let third = grown.pop().unwrap();
        assert_eq!(grown, first, "nobody is restarted for the third");
        assert_eq!(third.mesh.unwrap().connect.len(), 2);
    }

    #[test]
    fn a_node_that_is_left_alone_stays_ready_for_others() {
        let two = rendered(&fleet(2, None), &[]);
        assert_eq!(rendered(&fleet(1, None), &two), two[..1]);
    }

    #[test]
    fn every_configuration_is_valid() {
        for config in rendered(&fleet(50, Some(0)), &[]) {
            assert_eq!(config.validate(), Ok(()));
        }
    }
}
