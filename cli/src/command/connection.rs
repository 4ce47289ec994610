//! `mq connection` and `mq link`.

use mq_model::admin::{Connection, Link, Protocol, Session};

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
            let connections = admin.connections().await?;
            if connections.is_empty() && args.view.output == Format::Table {
                output.talk("nobody is connected");
            }
            output.listing(&listing(&connections), args.view)?;
        }
        ConnectionCommand::Show(args) => show(args, &admin, output).await?,
        ConnectionCommand::Close(args) => {
            let closed = admin.close_connection(&args.id, &args.reason).await;
            closed.map_err(|failure| not_found(failure, &args.id))?;
            output.line(&format!("changed: closed connection {}; a client may connect again", args.id))?;
        }
    }
    Ok(Exit::Ok)
}

async fn show(args: &ConnectionShow, admin: &Admin, output: &mut Output) -> Outcome {
    let connection = admin.connection(&args.id).await.map_err(|failure| not_found(failure, &args.id))?;
    let sessions = match connection.protocol {
        Protocol::Amqp => admin.sessions(&args.id).await.map_err(|failure| not_found(failure, &args.id))?,
        _ => Vec::new(),
    };
    let mut listing = listing(std::slice::from_ref(&connection));
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

fn listing(connections: &[Connection]) -> Listing {
    let columns = vec![
        Column::left("ID"),
        Column::left("PEER"),
        Column::left("PROTOCOL"),
        Column::left("CLIENT"),
        Column::left("USER"),
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
    listing.rows = connections.iter().map(row).collect();
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

fn row(connection: &Connection) -> Row {
    let cells = vec![
        connection.id.clone(),
        connection.peer.clone(),
        protocol(connection),
        connection.container.clone(),
        connection.user.clone(),
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
    Row { name: connection.id.clone(), cells, value: value(connection) }
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
    let links = admin(settings)?.links(args.address.as_deref(), args.connection.as_deref()).await?;
    if links.is_empty() && args.view.output == Format::Table {
        output.talk("there are no such links");
    }
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
    listing.rows = links.iter().map(link_row).collect();
    output.listing(&listing, args.view)?;
    Ok(Exit::Ok)
}

fn link_row(link: &Link) -> Row {
    let direction = value(&link.direction);
    let cells = vec![
        link.connection.clone(),
        link.name.clone(),
        direction.as_str().unwrap_or_default().to_owned(),
        link.address.clone().unwrap_or_else(|| "(any)".into()),
        shape::number(link.credit.into()),
        shape::number(link.unsettled),
        shape::number(link.deliveries),
    ];
    Row { name: link.name.clone(), cells, value: value(link) }
}
