//! `mq fleet`.

use mq_model::admin::{Mesh, MeshNode, MeshNodeState};

use super::admin;
use crate::{
    args::{
        Format, View,
        fleet::{FleetCommand, Graph, GraphFormat},
    },
    deploy::{history::History, local::node_names},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, document, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: &FleetCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    match args {
        FleetCommand::Graph(args) => graph(args, settings, output).await,
        FleetCommand::RotateCa(args) => super::rotate::rotate(args, settings, output).await,
        FleetCommand::Export(args) => super::moving::export(args, settings, output).await,
        FleetCommand::Import(args) => super::moving::import(args, output).await,
        FleetCommand::HandOver(args) => super::moving::hand_over(args, settings, output).await,
        FleetCommand::Drift(args) => super::deploy::drift(args, settings, output).await,
    }
}

async fn graph(args: &Graph, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let mut admin = admin(settings)?;
    if let Some(node) = &args.from {
        admin = admin.of_node(node);
    }
    let mesh = match admin.mesh().await {
        Ok(mesh) => without_strangers(mesh, deployed(settings)?.as_deref()),
        Err(failure) if failure.exit == Exit::NotFound && args.from.is_none() => {
            return Err(Failure::new(Exit::NotFound, "the fleet has one node, and that is in no mesh")
                .help("add nodes with `mq scale`"));
        }
        Err(failure) => return Err(failure),
    };
    match args.output {
        GraphFormat::Json => output.json(&document("Mesh", value(&mesh)))?,
        GraphFormat::Yaml => output.yaml(&document("Mesh", value(&mesh)))?,
        GraphFormat::Dot => dot(&mesh).iter().try_for_each(|line| output.line(line))?,
        GraphFormat::Table => {
            let view = View { output: Format::Table, no_headers: args.no_headers };
            output.listing(&nodes(&mesh), view)?;
            if !mesh.links.is_empty() {
                output.line("")?;
                output.listing(&links(&mesh), view)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// The nodes that a fleet should have, by its directories on this machine or by what was deployed from it; `None`: it
/// was deployed elsewhere.
pub(super) fn deployed(settings: &Settings) -> Outcome<Option<Vec<String>>> {
    if settings.is_admin_given() {
        return Ok(None);
    }
    let Ok(context) = settings.context() else { return Ok(None) };
    match (&context.state, &context.fleet) {
        (Some(local), _) => node_names(local).map(Some),
        (None, Some(known)) => {
            let newest = History::of_fleet(known).newest()?;
            Ok(newest.map(|revision| revision.fleet.spec.node_names().collect()))
        }
        (None, None) => Ok(None),
    }
}

/// The fleet without nodes of the past: those that are away, are home of nothing, and have left or are known to
/// be removed.
pub(super) fn without_strangers(mut mesh: Mesh, deployed: Option<&[String]>) -> Mesh {
    mesh.nodes.retain(|node| {
        let is_deployed = deployed.map(|names| names.contains(&node.name));
        let is_away = match node.state {
            MeshNodeState::Up => false,
            MeshNodeState::Left => is_deployed != Some(true),
            MeshNodeState::Unreachable => is_deployed == Some(false),
        };
        !is_away || node.homes > 0
    });
    mesh
}

/// What a person calls the state of a node.
pub(super) fn state_word(node: &MeshNode) -> &'static str {
    match (node.state, node.draining, node.cordoned) {
        (MeshNodeState::Unreachable, _, _) => "unreachable",
        (MeshNodeState::Left, _, _) => "left",
        (MeshNodeState::Up, true, _) => "draining",
        (MeshNodeState::Up, false, true) => "cordoned",
        (MeshNodeState::Up, false, false) => "up",
    }
}

fn nodes(mesh: &Mesh) -> Listing {
    let columns = vec![
        Column::left("NODE"),
        Column::left("STATE"),
        Column::right("COST"),
        Column::right("HOPS"),
        Column::left("BY WAY OF"),
        Column::right("HOMES"),
        Column::right("WORKERS"),
        Column::left("VERSION"),
    ];
    let mut listing = Listing::new("MeshNodeList", columns);
    listing.rows = mesh.nodes.iter().map(|node| node_row(mesh, node)).collect();
    listing
}

fn node_row(mesh: &Mesh, node: &MeshNode) -> Row {
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let way = match (node.name == mesh.node, node.next_hops.is_empty()) {
        (true, _) => "(asked)".to_owned(),
        (false, true) => "-".to_owned(),
        (false, false) => node.next_hops.join(","),
    };
    let cells = vec![
        node.name.clone(),
        state_word(node).to_owned(),
        number(node.cost),
        number(node.hops),
        way,
        shape::number(node.homes),
        node.workers.to_string(),
        if node.version.is_empty() { "-".to_owned() } else { node.version.clone() },
    ];
    Row { name: node.name.clone(), cells, value: value(node) }
}

fn links(mesh: &Mesh) -> Listing {
    let columns =
        vec![Column::left("LINK"), Column::left(""), Column::right("COST"), Column::right("CONNECTIONS")];
    let mut listing = Listing::new("MeshLinkList", columns);
    listing.rows = mesh
        .links
        .iter()
        .map(|link| Row {
            name: format!("{}/{}", link.from, link.to),
            cells: vec![
                link.from.clone(),
                link.to.clone(),
                link.cost.to_string(),
                link.connections.to_string(),
            ],
            value: value(link),
        })
        .collect();
    listing
}

/// The fleet as an undirected graph of Graphviz.
fn dot(mesh: &Mesh) -> Vec<String> {
    let mut lines = vec![format!("graph {} {{", quoted(&mesh.fleet)), "  node [shape=box];".to_owned()];
    for node in &mesh.nodes {
        let state = state_word(node);
        let label = format!("{}\\n{state}, {}", node.name, shape::plural(node.homes, "home"));
        let style = if node.state == MeshNodeState::Up { "solid" } else { "dashed" };
        lines.push(format!("  {} [label={}, style={style}];", quoted(&node.name), quoted(&label)));
    }
    for link in &mesh.links {
        let (from, to) = (quoted(&link.from), quoted(&link.to));
        lines.push(format!("  {from} -- {to} [label=\"{}\"];", link.cost));
    }
    lines.push("}".to_owned());
    lines
}

/// A string of Graphviz: `"` is all that means something in it, and `\n` is wanted.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use mq_model::admin::MeshLink;

    use super::*;

    fn mesh() -> Mesh {
        let node = |name: &str, state| MeshNode { name: name.into(), state, ..MeshNode::default() };
        let mut far = node("node-3", MeshNodeState::Up);
        (far.cost, far.hops, far.draining, far.homes) = (Some(11), Some(2), true, 1);
        far.next_hops = vec!["node-2".into()];
        let link =
            |from: &str, to: &str, cost| MeshLink { from: from.into(), to: to.into(), cost, connections: 4 };
        Mesh {
            fleet: "prod".into(),
            node: "node-1".into(),
            nodes: vec![
                node("node-1", MeshNodeState::Up),
                node("node-2", MeshNodeState::Up),
                far,
                node("node-4", MeshNodeState::Unreachable),
            ],
            links: vec![link("node-1", "node-2", 1), link("node-2", "node-3", 10)],
        }
    }

    #[test]
    fn the_table_says_which_way_leads_to_a_node() {
        let rows: Vec<String> = nodes(&mesh()).rows.iter().map(|row| row.cells[..6].join(" ")).collect();
        let expected = [
            "node-1 up - - (asked) 0",
            "node-2 up - - - 0",
            "node-3 draining 11 2 node-2 1",
            "node-4 unreachable - - - 0",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn nodes_of_the_past_are_left_out_unless_they_hold_something() {
        let away = |state, homes| MeshNode { state, homes, ..mesh().nodes.swap_remove(3) };
        let names = |nodes: Vec<MeshNode>, deployed: Option<&[String]>| {
            let mesh = without_strangers(Mesh { nodes, ..mesh() }, deployed);
            mesh.nodes.len()
        };
        let (none, with) = (Vec::new(), vec!["node-4".to_owned()]);
        for (state, elsewhere, removed, there) in [
            (MeshNodeState::Left, 0, 0, 1),
            (MeshNodeState::Unreachable, 1, 0, 1),
            (MeshNodeState::Up, 1, 1, 1),
        ] {
            let shown = |deployed| names(vec![away(state, 0)], deployed);
            assert_eq!([shown(None), shown(Some(&none)), shown(Some(&with))], [elsewhere, removed, there]);
            assert_eq!(names(vec![away(state, 1)], Some(&none)), 1, "it is home of something");
        }
    }

    #[test]
    fn a_graph_for_graphviz_has_every_node_and_every_link_with_its_cost() {
        let expected = r#"graph "prod" {
  node [shape=box];
  "node-1" [label="node-1\nup, 0 homes", style=solid];
  "node-2" [label="node-2\nup, 0 homes", style=solid];
  "node-3" [label="node-3\ndraining, 1 home", style=solid];
  "node-4" [label="node-4\nunreachable, 0 homes", style=dashed];
  "node-1" -- "node-2" [label="1"];
  "node-2" -- "node-3" [label="10"];
}"#;
        assert_eq!(dot(&mesh()).join("\n"), expected);
    }
}
