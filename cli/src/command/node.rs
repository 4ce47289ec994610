//! `mq status` and `mq node`.

use mq_model::{
    admin::{Node, NodeState, Statistics, Store, StoreState},
    config::Durability,
};
use serde_json::json;

use super::admin;
use crate::{
    args::{
        Format, View,
        node::{NodeCommand, NodeShow, Status},
    },
    client::admin::Admin,
    deploy::local::{is_locked, node_names, state_of_node},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: &NodeCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    match args {
        NodeCommand::List(args) => status(args, settings, output).await,
        NodeCommand::Show(args) => show(args, settings, output).await,
    }
}

pub(super) async fn status(args: &Status, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match state(&admin).await {
        Ok((node, statistics)) => {
            output.listing(&listing(vec![row(&node, &statistics)]), args.view)?;
            if let Some(trouble) = trouble(&node) {
                output.warn(&trouble);
            }
            Ok(Exit::Ok)
        }
        Err(failure) if failure.exit == Exit::Unreachable => {
            unreachable(failure, args.view, settings, output)
        }
        Err(failure) => Err(failure),
    }
}

async fn state(admin: &Admin) -> Outcome<(Node, Statistics)> {
    Ok((admin.node().await?, admin.statistics().await?))
}

/// The fleet does not answer: what lies on this machine still tells which nodes there should be.
fn unreachable(failure: Failure, view: View, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let Some(state) = settings.context().ok().and_then(|context| context.state) else { return Err(failure) };
    let mut rows = Vec::new();
    for name in node_names(&state)? {
        let state = state_of_node(&state.join(&name));
        let word = match (is_locked(&state)?, state.join("node.json").exists()) {
            (true, _) => "silent",
            (false, true) => "dead",
            (false, false) => "stopped",
        };
        let mut cells = vec![name.clone(), word.to_owned()];
        cells.resize(COLUMNS, "-".to_owned());
        rows.push(Row { value: json!({ "name": name, "state": word }), name, cells });
    }
    output.listing(&listing(rows), view)?;
    Err(failure)
}

async fn show(args: &NodeShow, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let (node, statistics) = state(&admin(settings)?).await?;
    if let Some(name) = args.name.as_ref().filter(|name| **name != node.name) {
        return Err(Failure::new(Exit::NotFound, format!("there is no node `{name}`"))
            .help(format!("the fleet has one node, `{}`", node.name)));
    }
    if args.view.output != Format::Table && args.view.output != Format::Wide {
        output.object(&listing(vec![row(&node, &statistics)]), args.view)?;
        return Ok(Exit::Ok);
    }
    for (name, text) in facts(&node, &statistics) {
        output.line(&format!("{name:<14}{text}"))?;
    }
    Ok(Exit::Ok)
}

fn facts(node: &Node, statistics: &Statistics) -> Vec<(&'static str, String)> {
    let outcomes = &statistics.outcomes;
    vec![
        ("name", node.name.clone()),
        ("fleet", node.fleet.clone()),
        ("state", word(node.state).to_owned()),
        ("version", node.version.clone()),
        ("pid", node.pid.to_string()),
        ("started", node.started_at.to_string()),
        ("uptime", shape::uptime(node.uptime_seconds)),
        ("listeners", listeners(node)),
        ("workers", node.workers.to_string()),
        ("memory", shape::bytes(node.resident_bytes)),
        ("store", node.store.as_ref().map_or_else(|| "none".to_owned(), store_text)),
        ("cpu", format!("{:.2}s", node.cpu_seconds)),
        ("configuration", node.config_hash.clone()),
        (
            "connections",
            format!(
                "{} now, {} since the start",
                shape::number(statistics.connections),
                shape::number(statistics.connections_opened)
            ),
        ),
        ("sessions", shape::number(statistics.sessions)),
        (
            "links",
            format!(
                "{}, {}",
                shape::plural(statistics.producers, "producer"),
                shape::plural(statistics.consumers, "consumer")
            ),
        ),
        ("addresses", shape::number(statistics.addresses)),
        ("in", flow(statistics.deliveries_in, statistics.bytes_in, statistics.rate_in)),
        ("out", flow(statistics.deliveries_out, statistics.bytes_out, statistics.rate_out)),
        (
            "outcomes",
            format!(
                "{} accepted, {} rejected, {} released, {} modified, {} pre-settled",
                shape::number(outcomes.accepted),
                shape::number(outcomes.rejected),
                shape::number(outcomes.released),
                shape::number(outcomes.modified),
                shape::number(outcomes.presettled)
            ),
        ),
        (
            "waiting",
            format!(
                "{} undelivered, {} unsettled",
                shape::number(statistics.undelivered),
                shape::number(statistics.unsettled)
            ),
        ),
        (
            "lost",
            format!(
                "{} dropped, {} expired",
                shape::number(statistics.dropped),
                shape::number(statistics.expired)
            ),
        ),
    ]
}

fn flow(deliveries: u64, bytes: u64, rate: f64) -> String {
    format!("{}, {}, {}/s", shape::plural(deliveries, "message"), shape::bytes(bytes), rounded(rate))
}

fn rounded(rate: f64) -> String {
    // The node measures rates: never negative, and far below what u64 holds.
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { shape::number(rate as u64) }
}

fn word(state: NodeState) -> &'static str {
    match state {
        NodeState::Running => "running",
        NodeState::Draining => "draining",
    }
}

/// What is wrong with the store of a node, when something is.
fn trouble(node: &Node) -> Option<String> {
    let store = node.store.as_ref().filter(|store| store.state != StoreState::Ready)?;
    let consequence = match store.state {
        StoreState::Recovering => "queues and topics serve nobody yet",
        StoreState::Full => "durable messages are refused until there is room on the disk",
        StoreState::Failed | StoreState::Ready => "durable messages are refused until the node is restarted",
    };
    let reason = store.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    Some(format!("the store of {} is {}{reason}: {consequence}", node.name, store_word(store.state)))
}

fn store_text(store: &Store) -> String {
    let durability = match store.durability {
        Durability::Fsync => "fsync",
        Durability::Relaxed => "relaxed",
    };
    let reason = store.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!(
        "{}{reason}, {} in {}, {} of {} on the disk, {durability}, {}",
        store_word(store.state),
        shape::plural(store.messages, "message"),
        shape::plural(store.segments, "segment"),
        shape::bytes(store.live_bytes),
        shape::bytes(store.disk_bytes),
        store.directory
    )
}

fn store_word(state: StoreState) -> &'static str {
    match state {
        StoreState::Ready => "ready",
        StoreState::Recovering => "recovering",
        StoreState::Full => "full",
        StoreState::Failed => "failed",
    }
}

fn listeners(node: &Node) -> String {
    let places: Vec<String> = node
        .listeners
        .iter()
        .map(|listener| format!("{}={}:{}", listener.name, listener.host, listener.port))
        .collect();
    places.join(",")
}

/// How many columns a row has.
const COLUMNS: usize = 13;

fn listing(rows: Vec<Row>) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("VERSION"),
        Column::right("UPTIME"),
        Column::left("LISTENERS"),
        Column::right("CONNECTIONS"),
        Column::right("ADDRESSES"),
        Column::right("IN/S"),
        Column::right("OUT/S"),
        Column::right("MEMORY"),
        Column::left("STORE"),
        Column::right("PID").wide(),
        Column::right("WORKERS").wide(),
    ];
    let mut listing = Listing::new("NodeList", columns);
    listing.rows = rows;
    listing
}

fn row(node: &Node, statistics: &Statistics) -> Row {
    let cells = vec![
        node.name.clone(),
        word(node.state).to_owned(),
        node.version.clone(),
        shape::uptime(node.uptime_seconds),
        listeners(node),
        shape::number(statistics.connections),
        shape::number(statistics.addresses),
        rounded(statistics.rate_in),
        rounded(statistics.rate_out),
        shape::bytes(node.resident_bytes),
        node.store.as_ref().map_or("-", |store| store_word(store.state)).to_owned(),
        node.pid.to_string(),
        node.workers.to_string(),
    ];
    let mut object = value(node);
    object["statistics"] = value(statistics);
    Row { name: node.name.clone(), cells, value: object }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: &str, reason: Option<&str>) -> Node {
        let node = json!({
            "name": "node-1", "fleet": "f", "version": "1", "pid": 1, "state": "running",
            "startedAt": "2030-01-31T12:00:00Z", "uptimeSeconds": 1, "workers": 1, "listeners": [],
            "configHash": "", "residentBytes": 0, "cpuSeconds": 0.0,
            "store": { "state": state, "reason": reason, "directory": "/s", "durability": "fsync",
                "liveBytes": 2048, "diskBytes": 4096, "segments": 1, "messages": 2 },
        });
        serde_json::from_value(node).expect("a node as the admin API describes it")
    }

    #[test]
    fn a_store_that_takes_messages_is_no_trouble() {
        assert_eq!(trouble(&node("ready", None)), None);
        let text = store_text(node("ready", None).store.as_ref().expect("a store"));
        assert_eq!(text, "ready, 2 messages in 1 segment, 2.0 KiB of 4.0 KiB on the disk, fsync, /s");
    }

    #[test]
    fn a_store_in_trouble_says_why_and_what_follows() {
        let text = trouble(&node("full", Some("no space left on device"))).expect("trouble");
        assert_eq!(
            text,
            "the store of node-1 is full (no space left on device): durable messages are refused until there \
             is room on the disk"
        );
        assert!(trouble(&node("recovering", None)).is_some_and(|text| text.contains("serve nobody yet")));
        assert!(trouble(&node("failed", None)).is_some_and(|text| text.contains("restarted")));
    }

    #[test]
    fn a_node_without_a_store_has_no_trouble_with_it() {
        let mut node = node("ready", None);
        node.store = None;
        assert_eq!(trouble(&node), None);
    }
}
