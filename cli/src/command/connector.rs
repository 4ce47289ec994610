//! `mq connector`, and its documents in `mq apply`.

use std::{collections::BTreeSet, path::Path};

use mq_model::{
    Documents, Secret,
    connector::{
        Connector, ConnectorCredentials, ConnectorSpec, ConnectorState, ConnectorStatus, ConnectorTls,
        MAX_CONNECTOR_PEM, NewConnector, RouteStatus,
    },
    space::DEFAULT_SPACE,
};
use serde_json::json;

use super::{
    admin,
    user::{Applied, delete, is_same, of_space, shown, there_or_none},
};
use crate::{
    args::{
        Format,
        connector::{ConnectorCommand, ConnectorCreate, ConnectorLogin, ConnectorShow},
    },
    client::admin::Admin,
    context::read_bounded,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: ConnectorCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    // What stdin holds is the password that the connector is to log in with.
    let settings = &settings.leaving_stdin();
    let admin = admin(settings)?;
    match args {
        ConnectorCommand::Create(args) => create(*args, settings, &admin, output).await,
        ConnectorCommand::List(args) => {
            let connectors = admin.connectors().await?;
            if connectors.is_empty() && args.view.output == Format::Table {
                output.talk("there are no connectors");
            }
            output.listing(&listing(&connectors), args.view)?;
            Ok(Exit::Ok)
        }
        ConnectorCommand::Show(args) => show(&args, &admin, output).await,
        ConnectorCommand::Pause(args) => pause(&args.name, true, &admin, output).await,
        ConnectorCommand::Resume(args) => pause(&args.name, false, &admin, output).await,
        ConnectorCommand::Credentials(args) => set_credentials(&args, settings, &admin, output).await,
        ConnectorCommand::Delete(args) => {
            let (admin, name) = of_space(&admin, &args.name)?;
            delete(&args, "connector", admin.delete_connector(name), output).await
        }
    }
}

async fn create(
    args: ConnectorCreate,
    settings: &Settings,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Exit> {
    let name = args.name.clone();
    let mq = admin.command();
    let (admin, own_name) = of_space(admin, &name)?;
    let password = settings.password_of_stdin()?;
    if password.is_some() && args.login.is_none() {
        return Err(Failure::usage("there is a password, and nobody whose it is")
            .help("name the user of the server with --login"));
    }
    let key = args.login_key.as_deref().map(key).transpose()?;
    let has_password = password.is_some();
    let connector = Connector::new(own_name, spec(args)?);
    connector.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let lacks_password = connector.spec.user.is_some() && !has_password;
    let credentials = ConnectorCredentials { password, key };
    admin.create_connector(&NewConnector { connector, credentials: Some(credentials) }).await?;
    output.line(&format!("changed: created connector {name}; undo: {mq} connector delete {name}"))?;
    if lacks_password {
        output.talk(&format!(
            "it has no password yet; set one with `{mq} connector credentials {name} --password-stdin`"
        ));
    }
    output.talk(&format!("see where it stands with `{mq} connector show {name}`"));
    Ok(Exit::Ok)
}

fn spec(args: ConnectorCreate) -> Outcome<ConnectorSpec> {
    let tls = ConnectorTls {
        ca: args.server_ca.as_deref().map(pem).transpose()?,
        server_name: args.server_name,
        certificate: args.login_cert.as_deref().map(pem).transpose()?,
    };
    Ok(ConnectorSpec {
        urls: args.urls,
        paused: args.paused,
        user: args.login,
        virtual_host: args.virtual_host,
        tls,
        receive: args.receive,
        send: args.send,
    })
}

fn pem(path: &Path) -> Outcome<String> {
    read_bounded(path, MAX_CONNECTOR_PEM as u64).map_err(|error| Failure::file("read", path, &error))
}

fn key(path: &Path) -> Outcome<Secret> {
    pem(path).map(Secret::from)
}

async fn show(args: &ConnectorShow, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (admin, name) = of_space(admin, &args.which.name)?;
    let connector = admin.connector(name).await?;
    let view = args.view();
    if view.output != Format::Table && view.output != Format::Wide {
        output.object(&listing(&[connector]), view)?;
        return Ok(Exit::Ok);
    }
    for (name, text) in facts(&connector) {
        output.line(&format!("{name:<14}{text}"))?;
    }
    output.line("")?;
    output.listing(&routes_listing(&connector), view)?;
    Ok(Exit::Ok)
}

async fn pause(name: &str, paused: bool, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let mq = admin.command();
    let (admin, own_name) = of_space(admin, name)?;
    let before = admin.connector(own_name).await?.spec;
    // A field that has its default is left out.
    let patch = json!({ "spec": { "paused": paused.then_some(true) } });
    admin.change_connector(own_name, &patch).await?;
    let (state, undo) = if paused { ("paused", "resume") } else { ("not paused", "pause") };
    output.line(&match before.paused == paused {
        true => format!("unchanged: connector {name} is {state}"),
        false => format!("changed: connector {name} is {state}; undo: {mq} connector {undo} {name}"),
    })?;
    Ok(Exit::Ok)
}

async fn set_credentials(
    args: &ConnectorLogin,
    settings: &Settings,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Exit> {
    let forgotten = |is_forgotten: bool| is_forgotten.then(Secret::default);
    let password = settings.password_of_stdin()?.or_else(|| forgotten(args.no_password));
    let key = args.login_key.as_deref().map(key).transpose()?.or_else(|| forgotten(args.no_key));
    if password.is_none() && key.is_none() {
        return Err(Failure::usage("there is nothing to set")
            .help("write the password to stdin and say --password-stdin, or name a key with --login-key"));
    }
    let (admin, name) = of_space(admin, &args.name)?;
    admin.set_credentials(name, &ConnectorCredentials { password, key }).await?;
    output.line(&format!("changed: connector {} logs in with something else", args.name))?;
    Ok(Exit::Ok)
}

/// Brings connectors to what their documents say. What they log in with stays as it is.
pub(super) async fn apply(
    documents: &Documents,
    is_dry_run: bool,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Applied> {
    let mut applied = Applied::default();
    let spaces: BTreeSet<&str> =
        documents.connectors.iter().map(|connector| connector.metadata.space()).collect();
    for space in spaces {
        let admin = admin.in_space(space);
        let there = there_or_none(admin.connectors().await)?;
        for wanted in documents.connectors.iter().filter(|wanted| wanted.metadata.space() == space) {
            let found = there.iter().find(|there| there.metadata.name == wanted.metadata.name);
            let same =
                found.map(|there| is_same(&there.metadata, &wanted.metadata) && there.spec == wanted.spec);
            let put =
                async { if is_dry_run { Ok(None) } else { admin.put_connector(wanted).await.map(Some) } };
            applied.one("connector", &shown(&wanted.metadata), same, put, output).await?;
            let lacks_password = wanted.spec.user.is_some()
                && !found
                    .is_some_and(|there| there.status.as_ref().is_some_and(|status| status.has_password));
            if lacks_password {
                output.talk(&format!(
                    "it has no password; set one with `{} connector credentials {} --password-stdin`",
                    admin.command(),
                    shown(&wanted.metadata)
                ));
            }
        }
    }
    Ok(applied)
}

fn listing(connectors: &[Connector]) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("SERVER"),
        Column::right("ROUTES"),
        Column::right("MESSAGES"),
        Column::left("NODE"),
        Column::left("SINCE"),
        Column::left("ERROR").wide(),
        Column::left("CHANGED").wide(),
    ];
    let mut listing = Listing::new("ConnectorList", columns);
    listing.rows = connectors.iter().map(row).collect();
    listing
}

fn row(connector: &Connector) -> Row {
    let status = connector.status.clone().unwrap_or_default();
    let attached = status.routes.iter().filter(|route| route.attached).count();
    let name = shown(&connector.metadata);
    let cells = vec![
        name.clone(),
        status.state.to_string(),
        server(connector, &status),
        format!("{attached}/{}", connector.spec.routes().count()),
        shape::number(status.routes.iter().map(|route| route.messages).sum()),
        status.node.clone().unwrap_or_else(none),
        shape::age(status.since),
        error(&status).unwrap_or_else(none),
        shape::age(status.changed_at),
    ];
    Row { name, cells, value: value(connector) }
}

/// The server that it is connected to, or would be.
fn server(connector: &Connector, status: &ConnectorStatus) -> String {
    status.url.as_ref().or_else(|| connector.spec.urls.first()).cloned().unwrap_or_else(none)
}

/// What is wrong with it, or with the first of its routes with which something is.
fn error(status: &ConnectorStatus) -> Option<String> {
    status.error.clone().or_else(|| status.routes.iter().find_map(|route| route.error.clone()))
}

fn facts(connector: &Connector) -> Vec<(&'static str, String)> {
    let status = connector.status.clone().unwrap_or_default();
    let (spec, set) = (&connector.spec, |is_set: bool| if is_set { "set" } else { "not set" });
    let mut facts = vec![
        ("name", connector.metadata.name.clone()),
        ("space", connector.metadata.space.clone().unwrap_or_else(|| DEFAULT_SPACE.to_owned())),
        ("state", status.state.to_string()),
        ("since", shape::age(status.since)),
        ("servers", spec.urls.join(", ")),
        ("node", status.node.clone().unwrap_or_else(none)),
    ];
    if status.state == ConnectorState::Connected {
        facts.push(("connected to", server(connector, &status)));
        facts.push(("connection", status.connection.clone().unwrap_or_else(none)));
    }
    if let Some(error) = &status.error {
        facts.push(("error", error.clone()));
        facts.push(("failures", format!("{} since there was a connection", shape::number(status.failures))));
    }
    if let Some(host) = &spec.virtual_host {
        facts.push(("virtual host", host.clone()));
    }
    if let Some(user) = &spec.user {
        facts.push(("user", user.clone()));
    }
    if spec.user.is_some() || status.has_password {
        facts.push(("password", set(status.has_password).to_owned()));
    }
    if spec.tls.certificate.is_some() || status.has_key {
        facts.push(("private key", set(status.has_key).to_owned()));
    }
    facts.push(("changed", shape::age(status.changed_at)));
    facts
}

fn routes_listing(connector: &Connector) -> Listing {
    let columns = vec![
        Column::left("DIRECTION"),
        Column::left("FROM"),
        Column::left("TO"),
        Column::left("STATE"),
        Column::right("MESSAGES"),
        Column::left("ERROR"),
    ];
    let mut listing = Listing::new("RouteList", columns);
    let known = connector.status.as_ref().map(|status| status.routes.as_slice()).unwrap_or_default();
    // Without a connection nothing is known of the routes, but which they are.
    let all = connector.spec.routes().map(|(direction, route)| {
        let is_it = |known: &&RouteStatus| {
            (known.direction, &known.from, &known.to) == (direction, &route.from, &route.to)
        };
        known.iter().find(is_it).cloned().unwrap_or_else(|| RouteStatus {
            direction,
            from: route.from.clone(),
            to: route.to.clone(),
            attached: false,
            messages: 0,
            error: None,
        })
    });
    listing.rows = all.map(|route| route_row(&route)).collect();
    listing
}

fn route_row(route: &RouteStatus) -> Row {
    let cells = vec![
        route.direction.to_string(),
        route.from.clone(),
        route.to.clone(),
        if route.attached { "attached" } else { "-" }.to_owned(),
        shape::number(route.messages),
        route.error.clone().unwrap_or_else(none),
    ];
    Row { name: route.from.clone(), cells, value: value(route) }
}

fn none() -> String {
    "-".to_owned()
}
