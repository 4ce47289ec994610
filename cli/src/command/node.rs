//! `mq status` and `mq node`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use mq_model::{
    admin::{
        DrainState, Mesh, MeshNode, MeshNodeState, Node, NodeCertificate, NodeDrain, NodeState, Statistics,
        Store, StoreState,
    },
    config::Durability,
    mesh::node_number,
};
use serde_json::json;

use super::{admin, fleet};
use crate::{
    args::{
        Format, View,
        node::{self, NodeCommand, NodeShow, Status},
    },
    client::{admin::Admin, amqp::interrupted},
    deploy::{
        Order,
        local::{is_locked, node_names, state_of_node},
        roll::{because, is_empty, left},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

/// How long another node may take to hear of an order; it hears of it within a second.
const SEEN: Duration = Duration::from_secs(2);

/// With fewer days left than this a certificate is warned of.
const WARN_DAYS: i64 = 30;

/// How often a node is asked whether it has heard of an order, or how far it is with it.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(args: &NodeCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    match args {
        NodeCommand::List(args) => status(args, settings, output).await,
        NodeCommand::Show(args) => show(args, settings, output).await,
        NodeCommand::Cordon(args) => order(&args.name, Order::Cordon, settings, output).await,
        NodeCommand::Uncordon(args) => order(&args.name, Order::Uncordon, settings, output).await,
        NodeCommand::Undrain(args) => order(&args.name, Order::Undrain, settings, output).await,
        NodeCommand::Drain(args) => drain(args, settings, output).await,
    }
}

pub(super) async fn status(args: &Status, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    let answers = match admin.mesh().await {
        Ok(mesh) => answers(&admin, &mesh, settings).await?,
        // A node without a mesh is the whole fleet.
        Err(failure) if failure.exit == Exit::NotFound => {
            let (node, statistics) = state(&admin).await?;
            vec![Answer::Node(Box::new(Carried { node, statistics, holds: None, seen: None }))]
        }
        Err(failure) if failure.exit == Exit::Unreachable => {
            return unreachable(failure, args.view, settings, output);
        }
        Err(failure) => return Err(failure),
    };
    output.listing(&listing(answers.iter().map(Answer::row).collect()), args.view)?;
    let troubles: Vec<String> = answers.iter().filter_map(Answer::trouble).collect();
    troubles.iter().for_each(|trouble| output.warn(trouble));
    let is_whole = answers.iter().all(|answer| matches!(answer, Answer::Node(_)));
    Ok(if is_whole { Exit::Ok } else { Exit::Partial })
}

/// What is known of one node.
enum Answer {
    Node(Box<Carried>),
    /// It does not answer; the word says how it is.
    Silent {
        name: String,
        word: &'static str,
    },
}

/// What a node says of itself.
struct Carried {
    node: Node,
    statistics: Statistics,
    holds: Option<NodeDrain>,
    /// How the rest of the fleet sees it.
    seen: Option<MeshNode>,
}

impl Answer {
    fn row(&self) -> Row {
        match self {
            Self::Node(carried) => carried.row(),
            Self::Silent { name, word } => silent_row(name, word),
        }
    }

    fn trouble(&self) -> Option<String> {
        match self {
            Self::Node(carried) if carried.seen.as_ref().is_some_and(|seen| seen.has_namesake) => {
                Some(namesake(&carried.node.name))
            }
            Self::Node(carried) => trouble(&carried.node),
            Self::Silent { name, word } => Some(match *word {
                "dead" | "stopped" => {
                    format!("{name} is {word}: see `mq logs --node {name}`, and start it with `mq deploy`")
                }
                _ => format!("{name} is {word}: see `mq logs --node {name}`"),
            }),
        }
    }
}

/// Every node of the fleet: those that the mesh knows, and those that should be there and are not.
async fn answers(admin: &Admin, mesh: &Mesh, settings: &Settings) -> Outcome<Vec<Answer>> {
    let deployed = fleet::deployed(settings)?;
    let local = settings.context().ok().and_then(|context| context.state);
    let mut answers = Vec::new();
    for seen in &mesh.nodes {
        if seen.state == MeshNodeState::Up {
            // One of this machine that does not answer is looked at below: its directory knows why.
            let answer = answer(admin, mesh, seen).await;
            answers.extend(answer.or_else(|| {
                let silent = Answer::Silent { name: seen.name.clone(), word: "silent" };
                deployed.is_none().then_some(silent)
            }));
        } else if deployed.is_none() && seen.state != MeshNodeState::Left {
            answers.push(Answer::Silent { name: seen.name.clone(), word: fleet::state_word(seen) });
        }
    }
    for name in deployed.into_iter().flatten() {
        let is_known = answers.iter().any(|answer| match answer {
            Answer::Node(carried) => carried.node.name == name,
            Answer::Silent { name: known, .. } => *known == name,
        });
        if !is_known {
            let word = match &local {
                Some(fleet) => word_of_silent(&fleet.join(&name))?,
                // Only its own machine could say more.
                None => "silent",
            };
            answers.push(Answer::Silent { name, word });
        }
    }
    answers.sort_by_key(|answer| match answer {
        Answer::Node(carried) => (node_number(&carried.node.name), carried.node.name.clone()),
        Answer::Silent { name, .. } => (node_number(name), name.clone()),
    });
    Ok(answers)
}

/// What a node says of itself, whichever is asked; `None`: it does not answer.
async fn answer(admin: &Admin, mesh: &Mesh, seen: &MeshNode) -> Option<Answer> {
    let admin = if seen.name == mesh.node { admin.clone() } else { admin.of_node(&seen.name) };
    let (node, statistics) = state(&admin).await.ok()?;
    let holds = admin.holds().await.ok();
    Some(Answer::Node(Box::new(Carried { node, statistics, holds, seen: Some(seen.clone()) })))
}

async fn state(admin: &Admin) -> Outcome<(Node, Statistics)> {
    Ok((admin.node().await?, admin.statistics().await?))
}

/// How a node of this machine is that nobody hears of, given its directory.
pub(super) fn word_of_silent(directory: &Path) -> Outcome<&'static str> {
    let state = state_of_node(directory);
    Ok(match (is_locked(&state)?, state.join("node.json").exists()) {
        (true, _) => "silent",
        (false, true) => "dead",
        (false, false) => "stopped",
    })
}

/// The fleet does not answer: what lies on this machine still tells which nodes there should be.
fn unreachable(failure: Failure, view: View, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let Some(fleet) = settings.context().ok().and_then(|context| context.state) else { return Err(failure) };
    let mut rows = Vec::new();
    for name in node_names(&fleet)? {
        rows.push(silent_row(&name, word_of_silent(&fleet.join(&name))?));
    }
    output.listing(&listing(rows), view)?;
    Err(failure)
}

fn silent_row(name: &str, word: &str) -> Row {
    let mut cells = vec![name.to_owned(), word.to_owned()];
    cells.resize(COLUMNS, "-".to_owned());
    Row { value: json!({ "name": name, "state": word }), name: name.to_owned(), cells }
}

async fn show(args: &NodeShow, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin_of(args.name.as_deref(), settings).await?;
    let (node, statistics) = state(&admin).await?;
    let carried = Carried { node, statistics, holds: admin.holds().await.ok(), seen: None };
    if args.view.output != Format::Table && args.view.output != Format::Wide {
        output.object(&listing(vec![carried.row()]), args.view)?;
        return Ok(Exit::Ok);
    }
    let holds =
        carried.holds.iter().map(|holds| ("holds", left(&NodeDrain { connections: 0, ..holds.clone() })));
    for (name, text) in facts(&carried).into_iter().chain(holds) {
        output.line(&format!("{name:<14}{text}"))?;
    }
    Ok(Exit::Ok)
}

/// The admin API of the node called `name`, whichever node is asked.
pub(super) async fn admin_of(name: Option<&str>, settings: &Settings) -> Outcome<Admin> {
    let admin = admin(settings)?;
    let Some(name) = name else { return Ok(admin) };
    let asked = admin.node().await?;
    if asked.name == name {
        return Ok(admin);
    }
    let other = admin.of_node(name);
    match other.node().await {
        Ok(node) if node.name == name => Ok(other),
        Ok(_) => Err(Failure::new(Exit::NotFound, format!("there is no node `{name}`"))
            .help(format!("the fleet has one node, `{}`", asked.name))),
        Err(failure) => Err(failure),
    }
}

async fn order(name: &str, order: Order, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin_of(Some(name), settings).await?;
    let before = admin.holds().await?;
    let mut now = admin.order(order).await?;
    if order == Order::Undrain {
        // To stop emptying it is half of taking part again.
        now = admin.order(Order::Uncordon).await?;
    }
    if before.state == now.state {
        output.line(&format!("unchanged: {name} is {}", order_word(now.state)))?;
        return Ok(Exit::Ok);
    }
    until_seen(settings, &now).await?;
    let undo = match order {
        Order::Cordon => format!("mq node uncordon {name}"),
        Order::Uncordon => format!("mq node cordon {name}"),
        Order::Drain => format!("mq node undrain {name}"),
        Order::Undrain => format!("mq node drain {name}"),
    };
    output.line(&format!("changed: {name} is {}; undo: {undo}", order_word(now.state)))?;
    Ok(Exit::Ok)
}

/// Waits, for a while at most, until every node has heard of an order: the next command asks any of them.
async fn until_seen(settings: &Settings, now: &NodeDrain) -> Outcome {
    let admin = admin(settings)?;
    let Ok(mesh) = admin.mesh().await else { return Ok(()) };
    let up = mesh.nodes.iter().filter(|node| node.state == MeshNodeState::Up);
    let everybody = async {
        for node in up {
            let admin = admin.of_node(&node.name);
            // One that does not answer is not waited for.
            while admin.mesh().await.is_ok_and(|mesh| !has_heard(&mesh, now)) {
                tokio::time::sleep(POLL).await;
            }
        }
    };
    // What they have not heard by then they hear later.
    let _ = tokio::time::timeout(SEEN, everybody).await;
    Ok(())
}

fn has_heard(mesh: &Mesh, now: &NodeDrain) -> bool {
    let is_draining = matches!(now.state, DrainState::Draining | DrainState::Drained);
    let wanted = (is_draining, now.state != DrainState::Active);
    let seen = mesh.nodes.iter().find(|node| node.name == now.node);
    seen.is_none_or(|seen| (seen.draining, seen.cordoned) == wanted)
}

async fn drain(args: &node::NodeDrain, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = &args.name;
    let admin = admin_of(Some(name), settings).await?;
    let begin = Instant::now();
    let mut last = admin.order(Order::Drain).await?;
    if args.no_wait {
        output.line(&format!(
            "changed: {name} is draining, {} left; undo: mq node undrain {name}",
            left(&last)
        ))?;
        return Ok(Exit::Ok);
    }
    output.talk(&format!("{name} is draining: {} left", left(&last)));
    let mut progress = Instant::now();
    let mut interrupt = std::pin::pin!(interrupted());
    while !is_empty(&last) {
        tokio::select! {
            exit = &mut interrupt => {
                output.talk(&format!("{name} goes on draining; stop it with `mq node undrain {name}`"));
                return Ok(exit);
            }
            () = tokio::time::sleep(POLL) => {}
        }
        let now = admin.holds().await?;
        if left(&now) != left(&last) {
            if !is_empty(&now) {
                output.talk(&format!("{name} is draining: {} left", left(&now)));
            }
            progress = Instant::now();
        }
        last = now;
        if progress.elapsed() >= args.timeout {
            let message = format!(
                "{name} has moved nothing for {}: {} left{}",
                shape::elapsed(args.timeout),
                left(&last),
                because(&last)
            );
            return Err(Failure::new(Exit::TimedOut, message)
                .help(format!("it goes on draining; stop it with `mq node undrain {name}`")));
        }
    }
    let took = shape::elapsed(begin.elapsed());
    output.line(&format!("changed: {name} is empty after {took}; undo: mq node undrain {name}"))?;
    Ok(Exit::Ok)
}

fn facts(carried: &Carried) -> Vec<(&'static str, String)> {
    let Carried { node, statistics, .. } = carried;
    let outcomes = &statistics.outcomes;
    vec![
        ("name", node.name.clone()),
        ("fleet", node.fleet.clone()),
        ("state", carried.state().to_owned()),
        ("version", node.version.clone()),
        ("pid", node.pid.to_string()),
        ("started", node.started_at.to_string()),
        ("uptime", shape::uptime(node.uptime_seconds)),
        ("listeners", listeners(node)),
        ("workers", node.workers.to_string()),
        ("memory", shape::bytes(node.resident_bytes)),
        ("store", node.store.as_ref().map_or_else(|| "none".to_owned(), store_text)),
        ("certificate", node.certificate.as_ref().map_or_else(|| "none".to_owned(), certificate_text)),
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
        NodeState::Draining => "stopping",
    }
}

/// What a node has been told of its future, for people.
fn order_word(order: DrainState) -> &'static str {
    match order {
        DrainState::Active => "active",
        DrainState::Cordoned => "cordoned",
        DrainState::Draining => "draining",
        DrainState::Drained => "drained",
    }
}

/// That two processes have the name of a node, as a sentence.
pub(super) fn namesake(name: &str) -> String {
    format!(
        "two processes want to be {name}, and the one that started last is: stop the other one, or give it a name \
         of its own"
    )
}

/// What a person should look at.
pub(super) fn trouble(node: &Node) -> Option<String> {
    store_trouble(node).or_else(|| certificate_trouble(node, node.at.unwrap_or_else(Timestamp::now)))
}

/// The certificate that the node shows to clients has ended, or ends soon.
fn certificate_trouble(node: &Node, now: Timestamp) -> Option<String> {
    let certificate = node.certificate.as_ref()?;
    let left = certificate.expires.duration_since(now);
    if left > SignedDuration::from_hours(24 * WARN_DAYS) {
        let is_late = certificate.revocations_expire.is_some_and(|expires| expires <= now);
        return is_late.then(|| {
            let name = &node.name;
            format!(
                "a list of revoked certificates of {name} is out of date: replace the file of `tls.clientCrl` with \
                 what the authority has issued since"
            )
        });
    }
    let what = match left.is_positive() {
        true => format!("ends in {}", shape::uptime(left.as_secs().unsigned_abs())),
        false => "has ended: clients refuse it".to_owned(),
    };
    Some(format!(
        "the certificate of {} {what}; run `mq deploy`, or replace the file that you have brought",
        node.name
    ))
}

/// What is wrong with the store of a node, when something is.
fn store_trouble(node: &Node) -> Option<String> {
    let store = node.store.as_ref().filter(|store| store.state != StoreState::Ready)?;
    let consequence = match store.state {
        StoreState::Recovering => "queues and topics serve nobody yet",
        StoreState::Full => "durable messages are refused until there is room on the disk",
        StoreState::Failed | StoreState::Ready => "durable messages are refused until the node is restarted",
    };
    let reason = store.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    Some(format!("the store of {} is {}{reason}: {consequence}", node.name, store_word(store.state)))
}

fn certificate_text(certificate: &NodeCertificate) -> String {
    let failures = match certificate.reload_failures {
        0 => String::new(),
        failures => format!(", {} that was of no use", shape::plural(failures, "replacement")),
    };
    let lists = certificate.revocations_expire;
    let lists = lists.map_or_else(String::new, |expires| format!(", revoked ones known until {expires}"));
    format!("good until {}{failures}{lists}", certificate.expires)
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
const COLUMNS: usize = 15;

fn listing(rows: Vec<Row>) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("VERSION"),
        Column::right("UPTIME"),
        Column::left("LISTENERS"),
        Column::right("CONNECTIONS"),
        Column::right("ADDRESSES"),
        Column::right("HOMES"),
        Column::right("MESSAGES"),
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

impl Carried {
    /// How the node is by its own word: what others have heard of it is older.
    fn state(&self) -> &'static str {
        match self.holds.as_ref().map(|holds| holds.state) {
            Some(order) if self.node.state == NodeState::Running && order != DrainState::Active => {
                order_word(order)
            }
            _ => word(self.node.state),
        }
    }

    fn row(&self) -> Row {
        let Self { node, statistics, holds, seen } = self;
        let held = |number: fn(&NodeDrain) -> u64| holds.as_ref().map(number);
        let shown = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), shape::number);
        let homes = held(|holds| holds.queues).or_else(|| seen.as_ref().map(|seen| seen.homes));
        let cells = vec![
            node.name.clone(),
            self.state().to_owned(),
            node.version.clone(),
            shape::uptime(node.uptime_seconds),
            listeners(node),
            shape::number(statistics.connections),
            shape::number(statistics.addresses),
            shown(homes),
            shown(held(|holds| holds.messages)),
            rounded(statistics.rate_in),
            rounded(statistics.rate_out),
            shape::bytes(node.resident_bytes),
            node.store.as_ref().map_or("-", |store| store_word(store.state)).to_owned(),
            node.pid.to_string(),
            node.workers.to_string(),
        ];
        let mut object = value(node);
        object["statistics"] = value(statistics);
        if let Some(holds) = holds {
            object["holds"] = value(holds);
        }
        if let Some(seen) = seen {
            object["mesh"] = value(seen);
        }
        Row { name: node.name.clone(), cells, value: object }
    }
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
    fn a_certificate_that_ends_soon_is_trouble_in_time() {
        let mut node = node("ready", None);
        let expires: Timestamp = "2030-03-01T00:00:00Z".parse().expect("a time");
        node.certificate = Some(NodeCertificate {
            expires,
            reload_failures: 0,
            fingerprint: String::new(),
            authorities: Vec::new(),
            revocations_expire: None,
        });
        let at = |node: &Node, time: &str| certificate_trouble(node, time.parse().expect("a time"));
        assert_eq!(at(&node, "2030-01-01T00:00:00Z"), None);
        assert!(at(&node, "2030-02-20T12:00:00Z").is_some_and(|text| text.contains("ends in 8d12h")));
        assert!(at(&node, "2030-03-02T00:00:00Z").is_some_and(|text| text.contains("has ended")));
        if let Some(certificate) = &mut node.certificate {
            certificate.revocations_expire = "2030-01-01T00:00:00Z".parse().ok();
        }
        assert_eq!(at(&node, "2029-12-31T00:00:00Z"), None);
        assert!(at(&node, "2030-01-01T00:00:00Z").is_some_and(|text| text.contains("clientCrl")));
    }

    #[test]
    fn a_node_without_a_store_has_no_trouble_with_it() {
        let mut node = node("ready", None);
        node.store = None;
        assert_eq!(trouble(&node), None);
    }
}
