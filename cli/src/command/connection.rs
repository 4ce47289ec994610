//! `mq connection` and `mq link`.

use mq_model::admin::{Connection, Link, MeshNodeState, Protocol, Session};
use serde_json::Value;

use super::admin;
use crate::{
    args::{
        Format,
        connection::{ConnectionCommand, ConnectionShow, LinkCommand},
    },
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: &ConnectionCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        ConnectionCommand::List(args) => {
            let mut rows = Vec::new();
            let Reach { nodes, unreachable } = nodes(admin).await?;
            for node in nodes {
                let connections = node.admin.connections().await?;
                rows.extend(connections.iter().map(|connection| row(connection, node.name.as_deref())));
            }
            let nothing = (args.view.output == Format::Table).then_some("nobody is connected");
            output.missing(&unreachable, rows.is_empty(), nothing);
            output.listing(&listing(rows), args.view)?;
        }
        ConnectionCommand::Show(args) => show(args, &admin, output).await?,
        ConnectionCommand::Close(args) => {
            let (admin, id) = of_connection(&admin, &args.id);
            let closed = admin.close_connection(id, &args.reason).await;
            closed.map_err(|failure| not_found(failure, &args.id))?;
            output.line(&format!("changed: closed connection {}; a client may connect again", args.id))?;
        }
    }
    Ok(Exit::Ok)
}

/// One node of a fleet, or the only one, which has no name then.
struct NodeOf {
    name: Option<String>,
    admin: Admin,
}

/// The nodes of a fleet: each knows its own connections alone.
struct Reach {
    nodes: Vec<NodeOf>,
    /// Those that cannot be asked.
    unreachable: Vec<String>,
}

async fn nodes(admin: Admin) -> Outcome<Reach> {
    let mut reach = Reach { nodes: Vec::new(), unreachable: Vec::new() };
    let mesh = match admin.mesh().await {
        Ok(mesh) => mesh,
        // Alone, or of a space whose users know nothing of nodes.
        Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::Denied) => {
            reach.nodes.push(NodeOf { name: None, admin });
            return Ok(reach);
        }
        Err(failure) => return Err(failure),
    };
    for node in mesh.nodes {
        match node.state {
            MeshNodeState::Up => {
                reach.nodes.push(NodeOf { admin: admin.of_node(&node.name), name: Some(node.name) });
            }
            MeshNodeState::Unreachable => reach.unreachable.push(node.name),
            MeshNodeState::Left => {}
        }
    }
    Ok(reach)
}

/// The id of a connection in the fleet: `node-2/c42`, or `c42` when there is one node.
fn qualified(node: Option<&str>, id: &str) -> String {
    node.map_or_else(|| id.to_owned(), |node| format!("{node}/{id}"))
}

/// The node that has a connection, and the connection's id there.
fn of_connection<'a>(admin: &Admin, id: &'a str) -> (Admin, &'a str) {
    match id.split_once('/') {
        Some((node, id)) => (admin.of_node(node), id),
        None => (admin.clone(), id),
    }
}

async fn show(args: &ConnectionShow, admin: &Admin, output: &mut Output) -> Outcome {
    let (admin, id) = of_connection(admin, &args.id);
    let connection = admin.connection(id).await.map_err(|failure| not_found(failure, &args.id))?;
    let sessions = match connection.protocol {
        Protocol::Amqp => admin.sessions(id).await.map_err(|failure| not_found(failure, &args.id))?,
        _ => Vec::new(),
    };
    let node = args.id.split_once('/').map(|(node, _)| node);
    let mut listing = listing(vec![row(&connection, node)]);
    if args.view.output != Format::Table && args.view.output != Format::Wide {
        for row in &mut listing.rows {
            row.value["sessions"] = value(&sessions);
        }
        return output.object(&listing, args.view);
    }
    for (name, text) in facts(&connection) {
        output.line(&format!("{name:<12}{text}"))?;
    }
    if connection.protocol != Protocol::Amqp {
        return Ok(());
    }
    output.line("")?;
    output.listing(&session_listing(&sessions), args.view)
}

fn facts(connection: &Connection) -> Vec<(&'static str, String)> {
    vec![
        ("id", connection.id.clone()),
        ("peer", connection.peer.clone()),
        ("protocol", protocol(connection)),
        ("client", connection.container.clone()),
        ("user", connection.user.clone()),
        ("space", connection.space.clone()),
        ("product", connection.product.clone().unwrap_or_else(|| "-".into())),
        ("listener", connection.listener.clone()),
        ("opened", connection.opened_at.to_string()),
        ("worker", connection.worker.to_string()),
        (
            "links",
            format!(
                "{}, {}",
                shape::plural(connection.producers.into(), "producer"),
                shape::plural(connection.consumers.into(), "consumer")
            ),
        ),
        ("in", shape::bytes(connection.bytes_in)),
        ("out", shape::bytes(connection.bytes_out)),
    ]
}

fn not_found(failure: Failure, id: &str) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    Failure::new(Exit::NotFound, format!("there is no connection `{id}`")).help("see `mq connection list`")
}

fn listing(rows: Vec<Row>) -> Listing {
    let columns = vec![
        Column::left("ID"),
        Column::left("PEER"),
        Column::left("PROTOCOL"),
        Column::left("CLIENT"),
        Column::left("USER"),
        Column::left("SPACE"),
        Column::left("PRODUCT"),
        Column::right("PRODUCERS"),
        Column::right("CONSUMERS"),
        Column::right("IN"),
        Column::right("OUT"),
        Column::right("SESSIONS").wide(),
        Column::right("WORKER").wide(),
        Column::left("LISTENER").wide(),
        Column::left("OPENED").wide(),
    ];
    let mut listing = Listing::new("ConnectionList", columns);
    listing.rows = rows;
    listing
}

/// `amqp`, or with its version `mqtt 5.0`.
fn protocol(connection: &Connection) -> String {
    let name = value(&connection.protocol).as_str().unwrap_or_default().to_owned();
    match &connection.version {
        Some(version) => format!("{name} {version}"),
        None => name,
    }
}

fn row(connection: &Connection, node: Option<&str>) -> Row {
    let id = qualified(node, &connection.id);
    let cells = vec![
        id.clone(),
        connection.peer.clone(),
        protocol(connection),
        connection.container.clone(),
        connection.user.clone(),
        connection.space.clone(),
        connection.product.clone().unwrap_or_else(|| "-".into()),
        shape::number(connection.producers.into()),
        shape::number(connection.consumers.into()),
        shape::bytes(connection.bytes_in),
        shape::bytes(connection.bytes_out),
        shape::number(connection.sessions.into()),
        connection.worker.to_string(),
        connection.listener.clone(),
        connection.opened_at.to_string(),
    ];
    Row { name: id, cells, value: with_node(value(connection), node) }
}

/// What a node has said, with the node's name.
fn with_node(mut value: Value, node: Option<&str>) -> Value {
    if let Some(node) = node {
        value["node"] = node.into();
    }
    value
}

fn session_listing(sessions: &[Session]) -> Listing {
    let columns = vec![
        Column::right("CHANNEL"),
        Column::right("LINKS"),
        Column::right("WINDOW IN"),
        Column::right("WINDOW OUT"),
        Column::right("UNSETTLED IN"),
        Column::right("UNSETTLED OUT"),
    ];
    let mut listing = Listing::new("SessionList", columns);
    listing.rows = sessions.iter().map(session_row).collect();
    listing
}

fn session_row(session: &Session) -> Row {
    let cells = vec![
        session.channel.to_string(),
        shape::number(session.links.into()),
        shape::number(session.incoming_window.into()),
        shape::number(session.remote_incoming_window.into()),
        shape::number(session.unsettled_in),
        shape::number(session.unsettled_out),
    ];
    Row { name: session.channel.to_string(), cells, value: value(session) }
}

pub(super) async fn links(args: &LinkCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let LinkCommand::List(args) = args;
    let admin = admin(settings)?;
    let Reach { nodes, unreachable } = match args.connection.as_deref().and_then(|id| id.split_once('/')) {
        Some((node, _)) => {
            let node = NodeOf { name: Some(node.to_owned()), admin: admin.of_node(node) };
            Reach { nodes: vec![node], unreachable: Vec::new() }
        }
        None => nodes(admin).await?,
    };
    let connection = args.connection.as_deref().map(|id| id.split_once('/').map_or(id, |(_, id)| id));
    let mut rows = Vec::new();
    for node in nodes {
        let links = node.admin.links(args.address.as_deref(), connection).await?;
        rows.extend(links.iter().map(|link| link_row(link, node.name.as_deref())));
    }
    let nothing = (args.view.output == Format::Table).then_some("there are no such links");
    output.missing(&unreachable, rows.is_empty(), nothing);
    let columns = vec![
        Column::left("CONNECTION"),
        Column::left("NAME"),
        Column::left("DIRECTION"),
        Column::left("ADDRESS"),
        Column::right("CREDIT"),
        Column::right("UNSETTLED"),
        Column::right("MESSAGES"),
    ];
    let mut listing = Listing::new("LinkList", columns);
    listing.rows = rows;
    output.listing(&listing, args.view)?;
    Ok(Exit::Ok)
}

fn link_row(link: &Link, node: Option<&str>) -> Row {
    let direction = value(&link.direction);
    let cells = vec![
        qualified(node, &link.connection),
        link.name.clone(),
        direction.as_str().unwrap_or_default().to_owned(),
        link.address.clone().unwrap_or_else(|| "(any)".into()),
        shape::number(link.credit.into()),
        shape::number(link.unsettled),
        shape::number(link.deliveries),
    ];
    Row { name: link.name.clone(), cells, value: with_node(value(link), node) }
}
