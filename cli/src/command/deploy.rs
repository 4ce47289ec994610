//! `mq deploy`, `mq scale` and `mq restart`: three ways to say what is wanted, and one way to get there.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use mq_model::{
    admin::Runtime,
    config::DaemonConfig,
    manifest::{API_VERSION, Address, FLEET_KIND, Fleet, FleetSpec, Metadata, Target},
    mesh::node_number,
    space::DEFAULT_SPACE,
    validate_name,
};
use serde_json::{Value, json};

use super::files;
use crate::{
    args::{
        Format,
        deploy::{
            Deploy, DeployCommand, History as HistoryArgs, Restart, RollOptions, Rollback, Scale, Upgrade,
        },
        fleet::Drift,
    },
    client::{admin::Admin, amqp::interrupted},
    command::site::{Site, history_of, with_site},
    context::{Contexts, Store},
    deploy::{
        Backend,
        history::{History, Revision},
        local::Local,
        plan::{self, Action, Desired, NodeState, Observed, ObservedNode, Plan, Step},
        plane,
        probe::{Account, Probe},
        render,
        roll::{Options, Roll, Watch},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::{self, Column, Listing, Output, Row},
    settings::Settings,
    shape,
};

/// The name of the fleet that nobody named.
pub(super) const DEFAULT_FLEET: &str = "default";
/// What is said in place of a command that takes it back.
const NOTHING_TO_UNDO: &str = "there is nothing to take back";
/// How often a condition is looked at while nodes are changed.
const POLL: std::time::Duration = std::time::Duration::from_millis(50);

/// How a fleet is rolled where nobody is asked: connections of clients are closed, and no message is given up.
const UNATTENDED: RollOptions = RollOptions {
    dry_run: false,
    yes: true,
    wait: std::time::Duration::from_secs(30),
    drain_timeout: std::time::Duration::from_secs(60),
    soak: std::time::Duration::from_secs(1),
    retain: RETAIN,
    abandon: Vec::new(),
    verify: false,
    mqd: Vec::new(),
    force_conflicts: false,
    output: Format::Table,
};
/// How long volumes of nodes that are no more are kept where nobody says it.
pub(super) const RETAIN: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);

/// What a command wants of a fleet.
struct Request {
    fleet: Fleet,
    addresses: Vec<Address>,
    prune: bool,
    restart: plan::Restart,
    /// Whether a node that runs another version of the daemon is restarted for it.
    upgrades: bool,
    /// What the history says was typed.
    command: String,
    /// What takes it back, as half a sentence, when that does not depend on what it did.
    undo: Option<String>,
}

pub(super) async fn deploy(args: Deploy, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    match &args.command {
        Some(DeployCommand::History(args)) => return history(args, settings, output),
        Some(DeployCommand::Rollback(args)) => return Box::pin(rollback(args, settings, output)).await,
        None => {}
    }
    let (fleet, addresses) = wanted(&args)?;
    let files: Vec<String> = args.files.iter().map(|file| format!(" -f {}", file.display())).collect();
    let request = Request {
        fleet,
        addresses,
        prune: args.prune,
        restart: if args.restart { plan::Restart::Everybody } else { plan::Restart::Nobody },
        upgrades: true,
        command: format!("mq deploy{}", files.concat()),
        undo: None,
    };
    roll_out(request, &args.roll, output).await
}

pub(super) async fn scale(args: Scale, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let Revision { mut fleet, addresses, .. } = newest(&name)?;
    // A roll that only began is nothing to go back to.
    let applied = history_of(&name)?.applied()?.map(|revision| revision.fleet.spec.nodes());
    let before = applied.unwrap_or_else(|| fleet.spec.nodes());
    fleet.spec.nodes = Some(args.nodes);
    // Links of nodes that go, go with them.
    fleet.spec.mesh.links.retain(|link| {
        [&link.from, &link.to].into_iter().all(|end| node_number(end).is_some_and(|end| end <= args.nodes))
    });
    let request = Request {
        fleet,
        addresses,
        prune: false,
        restart: plan::Restart::Nobody,
        upgrades: false,
        command: format!("mq scale {}", args.nodes),
        undo: Some(format!("undo: mq scale {before}{}", name_flag(&name))),
    };
    roll_out(request, &args.roll, output).await
}

pub(super) async fn restart(args: Restart, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let Revision { fleet, addresses, .. } = newest(&name)?;
    for node in &args.nodes {
        if !fleet.spec.node_names().any(|known| known == *node) {
            return Err(no_node(node, &fleet));
        }
    }
    let (restart, what) = match args.rolling {
        true => (plan::Restart::Everybody, "--rolling".to_owned()),
        false => (plan::Restart::Only(args.nodes.clone()), args.nodes.join(" ")),
    };
    let request = Request {
        fleet,
        addresses,
        prune: false,
        restart,
        upgrades: true,
        command: format!("mq restart {what}"),
        undo: Some(NOTHING_TO_UNDO.into()),
    };
    roll_out(request, &args.roll, output).await
}

pub(super) async fn upgrade(args: Upgrade, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let Revision { mut fleet, addresses, .. } = newest(&name)?;
    only_brought(&fleet, "`mq upgrade`", "upgrade the machine's package, then run `mq restart --rolling`")?;
    if let Some(image) = &args.image {
        let Target::Kubernetes(target) = &mut fleet.spec.target else {
            return Err(Failure::usage(format!("the nodes of the fleet `{name}` run from no image"))
                .help("say which program with --binary"));
        };
        target.image = Some(image.clone());
    }
    let undo = match args.image {
        Some(_) => None,
        None => Some("undo: mq upgrade --binary with the programs of before".into()),
    };
    let roll = RollOptions { mqd: [args.binary, args.roll.mqd.clone()].concat(), ..args.roll };
    let request = Request {
        fleet,
        addresses,
        prune: false,
        restart: plan::Restart::Nobody,
        upgrades: true,
        command: "mq upgrade".into(),
        undo,
    };
    roll_out(request, &roll, output).await
}

/// Says what a deployment of what was deployed last would change; the answer is no when that is something.
pub(super) async fn drift(args: &Drift, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let Revision { fleet, addresses, .. } = newest(&name)?;
    let site = Site::of_fleet(&fleet, &args.mqd, &[], output).await?;
    let request = Request {
        fleet,
        addresses,
        prune: false,
        restart: plan::Restart::Nobody,
        upgrades: false,
        command: "mq fleet drift".into(),
        undo: None,
    };
    with_site!(site, backend => drift_of(&backend, &request, args, output).await)
}

async fn drift_of<B: Backend>(
    backend: &B,
    request: &Request,
    args: &Drift,
    output: &mut Output,
) -> Outcome<Exit> {
    let desired = desired(request, &[], std::time::Duration::ZERO, backend).await?;
    let mut plan = Plan::new(&desired, &observe(backend, &desired).await?);
    let is_drifted = plan.is_change();
    plan.steps.retain(|step| step.action.is_change());
    match args.output {
        Format::Table | Format::Wide if !is_drifted => output.line("no drift: everything is as deployed")?,
        Format::Table | Format::Wide => plan.lines().iter().try_for_each(|line| output.line(line))?,
        Format::Name => plan.steps.iter().try_for_each(|step| output.line(&step.name))?,
        Format::Json => output.json(&document(&plan, None))?,
        Format::Jsonl => output.line(&document(&plan, None).to_string())?,
        Format::Yaml => output.yaml(&document(&plan, None))?,
    }
    Ok(if is_drifted { Exit::Failed } else { Exit::Ok })
}

async fn rollback(args: &Rollback, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let history = history_of(&name)?;
    let now = newest(&name)?;
    let revision = match args.revision {
        Some(number) => history.get(number)?,
        None => history.before()?,
    };
    output.talk(&format!(
        "back to revision {} of {} by {}: {}",
        revision.number, revision.at, revision.by, revision.command
    ));
    let request = Request {
        fleet: revision.fleet,
        addresses: revision.addresses,
        prune: args.prune,
        restart: plan::Restart::Nobody,
        upgrades: true,
        command: format!("mq deploy rollback {}", revision.number),
        undo: Some(format!("undo: mq deploy rollback {}{}", now.number, name_flag(&name))),
    };
    roll_out(request, &args.roll, output).await
}

fn history(args: &HistoryArgs, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let history = history_of(&name)?;
    if let Some(number) = args.revision {
        let revision = history.get(number)?;
        match args.view.output {
            Format::Json => output.json(&output::document("Revision", output::value(&revision)))?,
            Format::Jsonl => output.line(&output::value(&revision).to_string())?,
            Format::Name => output.line(&revision.number.to_string())?,
            Format::Table | Format::Wide | Format::Yaml => output.bytes(revision.manifest()?.as_bytes())?,
        }
        return Ok(Exit::Ok);
    }
    let columns = vec![
        Column::right("REVISION"),
        Column::left("AT"),
        Column::left("BY"),
        Column::left("RESULT"),
        Column::right("NODES"),
        Column::right("ADDRESSES"),
        Column::left("HASH"),
        Column::left("COMMAND"),
        Column::left("REASON").wide(),
    ];
    let mut listing = Listing::new("RevisionList", columns);
    listing.rows = history.all()?.iter().map(revision_row).collect();
    if listing.rows.is_empty() {
        output.talk(&format!("nothing has been deployed as `{name}`"));
    }
    output.listing(&listing, args.view)?;
    Ok(Exit::Ok)
}

fn revision_row(revision: &Revision) -> Row {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let cells = vec![
        revision.number.to_string(),
        // Seconds are enough for people.
        revision.at.round(jiff::Unit::Second).unwrap_or(revision.at).to_string(),
        revision.by.clone(),
        revision.result.word().to_owned(),
        revision.fleet.spec.nodes().to_string(),
        revision.addresses.len().to_string(),
        revision.hash.clone(),
        revision.command.clone(),
        revision.reason.as_deref().map_or_else(|| "-".to_owned(), first),
    ];
    Row { name: revision.number.to_string(), cells, value: output::value(revision) }
}

/// The fleet that a command is about: what its flag says, else the context's, else the default one.
pub(super) fn fleet_name(flag: Option<&String>, settings: &Settings) -> Outcome<String> {
    let name = match flag {
        Some(name) => name.clone(),
        None => settings.context_name().unwrap_or(DEFAULT_FLEET).to_owned(),
    };
    validate_name(&name).map_err(Failure::usage)?;
    Ok(name)
}

/// What was deployed last, which is what is wanted of the fleet.
fn newest(fleet: &str) -> Outcome<Revision> {
    history_of(fleet)?.newest()?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("no fleet `{fleet}` has been deployed from this machine"))
            .help("deploy it with `mq deploy`, or name another one with --name; see `mq context list`")
    })
}

/// That something is for programs alone which `mq` brings along.
fn only_brought(fleet: &Fleet, what: &str, help: &str) -> Outcome {
    let dataplane = fleet.spec.dataplane;
    if plane::is_brought(dataplane) {
        return Ok(());
    }
    let (name, product) = (&fleet.metadata.name, dataplane.product());
    Err(Failure::usage(format!("{what} is for a fleet of mqd, and `{name}` runs {product}")).help(help))
}

fn no_node(node: &str, fleet: &Fleet) -> Failure {
    let known: Vec<String> = fleet.spec.node_names().collect();
    Failure::new(Exit::NotFound, format!("there is no node `{node}`"))
        .help(format!("nodes: {}", known.join(", ")))
}

/// ` --name x`, for a command that is to be typed.
pub(super) fn name_flag(fleet: &str) -> String {
    if fleet == DEFAULT_FLEET { String::new() } else { format!(" --name {fleet}") }
}

/// Makes the fleet what is wanted of it.
async fn roll_out(request: Request, options: &RollOptions, output: &mut Output) -> Outcome<Exit> {
    request.fleet.validate().map_err(|error| Failure::usage(error.to_string()))?;
    for address in &request.addresses {
        let served = address.validate_for(request.fleet.spec.dataplane);
        served
            .map_err(|error| Failure::usage(format!("the address `{}`: {error}", address.metadata.name)))?;
    }
    if options.verify {
        only_brought(&request.fleet, "--verify", "leave it out")?;
    }
    refuse_foreign_context(&request.fleet, &Store::of_user()?)?;
    let site = Site::of_fleet(&request.fleet, &options.mqd, &options.abandon, output).await?;
    let site = site.forced(options.force_conflicts);
    with_site!(site, backend => roll_out_on(&backend, &request, options, output).await)
}

async fn roll_out_on<B: Backend>(
    backend: &B,
    request: &Request,
    options: &RollOptions,
    output: &mut Output,
) -> Outcome<Exit> {
    let store = Store::of_user()?;
    let _lock = if options.dry_run { None } else { Some(backend.lock(&request.command).await?) };
    let desired = desired(request, &options.abandon, options.retain, backend).await?;
    let observed = observe(backend, &desired).await?;
    let plan = Plan::new(&desired, &observed);
    if matches!(options.output, Format::Table | Format::Wide) {
        plan.lines().iter().try_for_each(|line| output.line(line))?;
    }
    request.fleet.spec.exposures().iter().for_each(|exposure| output.warn(exposure));
    let attention = Attention { on_step: &|_| (), is_superseded: &|| false };
    let deployment = Deployment::new(backend, (request, options), (&desired, &observed), &store, attention);
    if options.dry_run {
        preflight(backend, &desired, &plan, &observed).await?;
        return deployment.finish(&plan, None, output);
    }
    guard(&plan, options, output)?;
    preflight(backend, &desired, &plan, &observed).await?;
    backend.sweep(jiff::Timestamp::now()).await?;
    for node in backend.renew(&desired.nodes).await? {
        output.talk(&format!("{node}: a new certificate for its clients, which counts within seconds"));
    }
    let applied = deployment.recorded(&plan, output).await?;
    deployment.finish(&plan, Some(&applied), output)
}

/// Makes the fleet what is wanted of it with nobody to ask, and returns the nodes that run then. Whatever is as it is
/// to be is left alone, and so is the lock of the fleet.
///
/// # Errors
///
/// Those of `mq deploy`. What has been done stays done, and the same call goes on.
pub(super) async fn keep<B: Backend>(
    backend: &B,
    fleet: &Fleet,
    attention: Attention<'_>,
    output: &Output,
) -> Outcome<Vec<Runtime>> {
    let options = &UNATTENDED;
    let request = &Request {
        fleet: fleet.clone(),
        addresses: Vec::new(),
        prune: false,
        restart: plan::Restart::Nobody,
        upgrades: false,
        command: "mq operator".into(),
        undo: None,
    };
    let desired = desired(request, &[], options.retain, backend).await?;
    let observed = observe(backend, &desired).await?;
    backend.sweep(jiff::Timestamp::now()).await?;
    if !Plan::new(&desired, &observed).is_change() {
        return Ok(observed.nodes.iter().filter_map(running_node).cloned().collect());
    }
    let _lock = backend.lock(&request.command).await?;
    // Before the lock was held somebody else may have been at it.
    let observed = observe(backend, &desired).await?;
    let plan = Plan::new(&desired, &observed);
    plan.lines().iter().for_each(|line| output.talk(line));
    guard(&plan, options, output)?;
    preflight(backend, &desired, &plan, &observed).await?;
    let store = Store::of_user()?;
    let deployment = Deployment::new(backend, (request, options), (&desired, &observed), &store, attention);
    Ok(deployment.apply(&plan, &|_| (), output).await?.nodes)
}

async fn desired<B: Backend>(
    request: &Request,
    abandon: &[String],
    retain: std::time::Duration,
    backend: &B,
) -> Outcome<Desired> {
    let kept = backend.kept().await?;
    let host = request.fleet.spec.mesh.host.clone().unwrap_or_else(|| "127.0.0.1".into());
    let nodes = render::configurations(
        &request.fleet,
        |node| backend.state(node),
        &kept,
        |taken| backend.free_port(&host, taken),
    )?;
    let wanted = request.fleet.spec.dataplane;
    if let Some(other) = kept.values().find(|kept| kept.dataplane != wanted) {
        let message = format!(
            "the fleet `{}` runs {}, and {} would not find its messages",
            request.fleet.metadata.name,
            other.dataplane.product(),
            wanted.product()
        );
        return Err(Failure::new(Exit::Conflict, message)
            .help("deploy it as another fleet, with another `metadata.name`, and move the clients"));
    }
    for node in &nodes {
        node.validate().map_err(|error| Failure::usage(format!("{}: {error}", node.node)))?;
    }
    Ok(Desired {
        fleet: request.fleet.metadata.name.clone(),
        place: backend.place(),
        nodes,
        addresses: request.addresses.clone(),
        prune: request.prune,
        restart: request.restart.clone(),
        version: if request.upgrades && plane::is_brought(request.fleet.spec.dataplane) {
            backend.version().await?
        } else {
            None
        },
        abandon: abandon.to_vec(),
        retain,
    })
}

/// What the files and the flags say, flags first; without files what was deployed last.
fn wanted(args: &Deploy) -> Outcome<(Fleet, Vec<Address>)> {
    if let Some(name) = &args.name {
        validate_name(name).map_err(Failure::usage)?;
    }
    let documents = files::documents(&args.files)?;
    let is_of_space = |address: &Address| address.metadata.space() != DEFAULT_SPACE;
    let has_others = !documents.users.is_empty()
        || !documents.roles.is_empty()
        || !documents.connectors.is_empty()
        || !documents.spaces.is_empty()
        || !documents.profiles.is_empty()
        || documents.addresses.iter().any(is_of_space);
    if has_others {
        return Err(Failure::usage(
            "there are users, roles, connectors, profiles, or address spaces with what is of them in the files, and deploy is for \
             fleets and their own addresses",
        )
        .help("put them into a file of their own, and run `mq apply -f` with it when the fleet runs"));
    }
    let (mut fleet, addresses) = match documents.fleet {
        Some(fleet) => (fleet, documents.addresses),
        None if args.files.is_empty() => {
            let name = args.name.as_deref().unwrap_or(DEFAULT_FLEET);
            match history_of(name)?.newest()? {
                Some(revision) => (revision.fleet, revision.addresses),
                None => (default_fleet(), documents.addresses),
            }
        }
        None => {
            return Err(Failure::usage("there is no Fleet in the files, only addresses")
                .help("add a Fleet document, or run `mq deploy` and then `mq apply -f` with the files"));
        }
    };
    if let Some(name) = &args.name {
        fleet.metadata.name.clone_from(name);
    }
    let spec = &mut fleet.spec;
    spec.nodes = args.nodes.or(spec.nodes);
    spec.mesh.port = args.mesh_port.or(spec.mesh.port);
    let listeners = &mut spec.listeners;
    for (port, listener) in [
        (args.amqp_port, &mut listeners.amqp),
        (args.mqtt_port, &mut listeners.mqtt),
        (args.http_port, &mut listeners.http),
    ] {
        listener.port = port.unwrap_or(listener.port);
    }
    Ok((fleet, addresses))
}

fn default_fleet() -> Fleet {
    Fleet {
        api_version: API_VERSION.into(),
        kind: FLEET_KIND.into(),
        metadata: Metadata { name: DEFAULT_FLEET.into(), ..Metadata::default() },
        spec: FleetSpec::default(),
    }
}

/// A context that the user wrote for a fleet elsewhere is not overwritten by one of this machine.
fn refuse_foreign_context(fleet: &Fleet, store: &Store) -> Outcome {
    let name = &fleet.metadata.name;
    let contexts = store.load()?;
    let local = Local::new(name, None, Contexts::default())?;
    let directory = Some(local.directory());
    let is_cluster = fleet.spec.target.kubernetes().is_some();
    match contexts.contexts.get(name) {
        // A fleet does not move from one place to another by itself.
        Some(context) if context.state.as_deref() == directory && fleet.spec.target != Target::Local => {
            Err(Failure::new(Exit::Conflict, format!("the nodes of `{name}` are on this machine"))
                .help(format!("`mq undeploy --name {name}` first, or choose another name with --name")))
        }
        Some(context) if context.fleet.as_deref() == directory && fleet.spec.target == Target::Local => {
            Err(Failure::new(Exit::Conflict, format!("the nodes of `{name}` are on other machines"))
                .help(format!("`mq undeploy --name {name}` first, or choose another name with --name")))
        }
        Some(context) if context.fleet.as_deref() == directory && context.is_in_cluster() != is_cluster => {
            let place = if is_cluster { "on other machines" } else { "in a cluster" };
            Err(Failure::new(Exit::Conflict, format!("the nodes of `{name}` are {place}"))
                .help(format!("`mq undeploy --name {name}` first, or choose another name with --name")))
        }
        Some(context) if context.deployed_from() != directory => {
            Err(Failure::new(Exit::Conflict, format!("the context `{name}` points to another fleet"))
                .help(format!("choose another name with --name, or `mq context delete {name}`")))
        }
        _ => Ok(()),
    }
}

async fn observe<B: Backend>(backend: &B, desired: &Desired) -> Outcome<Observed> {
    let nodes = backend.observe(&desired.nodes).await?;
    let serving = nodes.iter().find_map(running_node);
    let addresses = match serving {
        Some(runtime) => Some(admin_of(backend, runtime)?.addresses().await?),
        None => None,
    };
    Ok(Observed { nodes, addresses, surroundings: backend.surroundings().await? })
}

/// Refuses, or asks, before something is lost.
fn guard(plan: &Plan, options: &RollOptions, output: &Output) -> Outcome {
    if let Some(blocked) = plan.blocked() {
        let message = format!("nothing was changed: {}", blocked.reason);
        return Err(Failure::new(Exit::Guarded, message).help(&blocked.help));
    }
    let mut losses = Vec::new();
    if plan.connections() > 0 {
        losses.push(format!("close {}", shape::plural(plan.connections(), "connection")));
    }
    let deleted = plan.deleted();
    if !deleted.is_empty() {
        losses.push(format!("delete {}", shape::plural(deleted.len() as u64, "address")));
    }
    if plan.messages() > 0 {
        losses.push(format!("drop {}", shape::plural(plan.messages(), "message")));
    }
    if losses.is_empty() || options.yes {
        return Ok(());
    }
    let losses = losses.join(" and ");
    if output.is_interactive() && output.confirm(&format!("{losses}?"))? {
        return Ok(());
    }
    Err(Failure::new(Exit::Guarded, format!("nothing was changed: the plan would {losses}"))
        .help("repeat the command with --yes"))
}

/// Finds what would fail before a node is stopped for it.
async fn preflight<B: Backend>(backend: &B, desired: &Desired, plan: &Plan, observed: &Observed) -> Outcome {
    let starts = |node: &&DaemonConfig| {
        plan.nodes().any(|step| {
            step.name == node.node && matches!(step.action, Action::Create | Action::Start | Action::Restart)
        })
    };
    let starting = desired.nodes.iter().filter(starts);
    let starting: Vec<_> = starting.map(|node| (node, running(observed, &node.node))).collect();
    backend.preflight(&starting).await
}

fn running_node(node: &ObservedNode) -> Option<&Runtime> {
    match &node.state {
        NodeState::Running { runtime, .. } => Some(runtime),
        _ => None,
    }
}

fn running<'a>(observed: &'a Observed, name: &str) -> Option<&'a Runtime> {
    observed.nodes.iter().find(|node| node.name == name).and_then(running_node)
}

/// A deployment under way.
struct Deployment<'a, B> {
    request: &'a Request,
    options: &'a RollOptions,
    backend: &'a B,
    desired: &'a Desired,
    observed: &'a Observed,
    store: &'a Store,
    /// The step that the roll is at.
    under_way: Mutex<Option<Step>>,
    attention: Attention<'a>,
}

/// What whoever deploys looks at meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    /// A step about a node begins.
    pub(super) on_step: &'a (dyn Fn(&Step) + Sync),
    /// Whether something else is wanted by now: then no further step begins.
    pub(super) is_superseded: &'a (dyn Fn() -> bool + Sync),
}

/// What a deployment did.
struct Applied {
    nodes: Vec<Runtime>,
    /// The steps of addresses as they were done.
    addresses: Vec<Step>,
    failed: usize,
    is_context_new: bool,
    is_changed: bool,
    probe: Vec<Account>,
}

impl<'a, B: Backend> Deployment<'a, B> {
    fn new(
        backend: &'a B,
        (request, options): (&'a Request, &'a RollOptions),
        (desired, observed): (&'a Desired, &'a Observed),
        store: &'a Store,
        attention: Attention<'a>,
    ) -> Self {
        let under_way = Mutex::default();
        Self { request, options, backend, desired, observed, store, under_way, attention }
    }

    /// Applies the plan, and writes down what came of it.
    async fn recorded(&self, plan: &Plan, output: &Output) -> Outcome<Applied> {
        let Request { fleet, addresses, command, .. } = self.request;
        let history = History::of_fleet(self.backend.directory());
        // A command that changes nothing is no deployment.
        let revision = match plan.is_change() || history.is_news(fleet, addresses)? {
            true => Some(history.begin(fleet, addresses, command)?),
            false => None,
        };
        let applied = self.verified(plan, output).await;
        if let Some(revision) = revision {
            let partial =
                |failed: u64| Failure::failed(format!("{} not as wanted", shape::plural(failed, "address")));
            let failure = match &applied {
                Ok(applied) if applied.failed > 0 => Some(partial(applied.failed as u64)),
                Ok(_) => None,
                Err(failure) => Some(failure.clone()),
            };
            history.end(revision, failure.as_ref())?;
        }
        applied
    }

    /// Applies the plan while a probe runs, when one is wanted.
    async fn verified(&self, plan: &Plan, output: &Output) -> Outcome<Applied> {
        let serving = self.observed.nodes.iter().filter_map(running_node);
        let serving: Vec<&Runtime> = serving.collect();
        let entered = |runtime: &&Runtime| (self.backend.reached(runtime), self.backend.entry(&runtime.node));
        let probe = match serving.first().filter(|_| self.options.verify) {
            Some(first) => {
                let places: Vec<_> = serving.iter().map(entered).collect();
                Some(Probe::start(&admin_of(self.backend, first)?, &places).await?)
            }
            None => None,
        };
        if self.options.verify && probe.is_none() {
            output.warn("there is nothing to verify: no node was running");
        }
        let learn = |runtime: &Runtime| {
            if let Some(probe) = &probe {
                probe.learn(&self.backend.reached(runtime), &self.backend.entry(&runtime.node));
            }
        };
        let mut applied = tokio::select! {
            applied = self.apply(plan, &learn, output) => applied,
            exit = interrupted() => Err(self.interrupted(exit, output).await),
        };
        if let Some(probe) = probe {
            let accounts = tokio::select! {
                accounts = self.account(probe, output) => accounts?,
                // Whoever is in such a hurry gets no account.
                exit = interrupted() => return applied.and(Err(Failure::new(exit, "interrupted"))),
            };
            if let Ok(applied) = &mut applied {
                applied.probe = accounts;
            }
        }
        applied
    }

    /// Remembers which step is under way.
    fn note(&self, step: &Step) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(step.clone());
    }

    /// What an end in the middle leaves behind: what was under way goes on by itself.
    async fn interrupted(&self, exit: Exit, output: &Output) -> Failure {
        // The nodes that run can be talked to.
        let is_adopted = self.adopt(output).await;
        let under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).take();
        let what = match (&under_way, is_adopted) {
            (_, Err(failure)) => failure.message,
            (Some(step), _) if step.action == Action::Remove => {
                format!("{} goes on being emptied", step.name)
            }
            (Some(step), _) => format!("{} is on its way", step.name),
            (None, _) => "no node was touched".to_owned(),
        };
        let help = match under_way.filter(|step| step.action == Action::Remove) {
            Some(step) => {
                format!("the same command goes on; keep the node with `mq node undrain {}`", step.name)
            }
            None => "the same command goes on".to_owned(),
        };
        Failure::new(exit, format!("interrupted: {what}")).help(help)
    }

    async fn account(&self, probe: Probe, output: &Output) -> Outcome<Vec<Account>> {
        let runtimes = self.backend.runtimes().await?;
        let mut admins = runtimes.iter().filter_map(|runtime| admin_of(self.backend, runtime).ok());
        let Some(mut admin) = admins.next() else { return Ok(Vec::new()) };
        // After a roll that failed the first one need not be one that serves.
        while !admin.is_ready().await {
            match admins.next() {
                Some(next) => admin = next,
                None => break,
            }
        }
        let accounts = probe.finish(&admin).await;
        accounts.iter().for_each(|account| output.talk(&account.line()));
        Ok(accounts)
    }

    async fn apply(
        &self,
        plan: &Plan,
        learn: &(dyn Fn(&Runtime) + Sync),
        output: &Output,
    ) -> Outcome<Applied> {
        let RollOptions { wait, drain_timeout, soak, .. } = *self.options;
        let options = Options { wait, drain: drain_timeout, soak, poll: POLL };
        let note = |step: &Step| {
            self.note(step);
            (self.attention.on_step)(step);
        };
        let watch = Watch { on_ready: learn, on_step: &note, is_superseded: self.attention.is_superseded };
        self.backend.surround(plan).await?;
        let mut roll = Roll::new(self.backend, (self.desired, self.observed), options, output, watch);
        let rolled = roll.run(plan).await;
        // The nodes that run can be talked to, also when others failed.
        let adopted = self.adopt(output).await;
        let nodes = rolled?;
        let is_context_new = adopted?;
        if plan.is_change() {
            self.backend.settled(wait, output).await?;
        }
        let Some(first) = nodes.first() else {
            return Err(Failure::failed("the fleet has no node"));
        };
        let admin = admin_of(self.backend, first)?;
        // What is there is known for certain only now.
        let there = admin.addresses().await?;
        let there: Vec<Address> = there.into_iter().filter(|address| !is_probe(address)).collect();
        let addresses = plan::address_steps(self.desired, &there, |_| false);
        self.guard_late_losses(plan, &addresses, output)?;
        let failed = self.addresses(&admin, &addresses, output).await?;
        let is_changed = plan.nodes().chain(plan.surroundings()).any(|step| step.action.is_change())
            || addresses.iter().any(|step| step.action.is_change());
        Ok(Applied { nodes, addresses, failed, is_context_new, is_changed, probe: Vec::new() })
    }

    /// Points the user's other commands at the fleet.
    async fn adopt(&self, output: &Output) -> Outcome<bool> {
        let Some(context) = self.backend.context(&self.backend.runtimes().await?) else { return Ok(false) };
        let name = &self.desired.fleet;
        let (is_new, is_current) = self.store.change(|contexts| {
            let is_current = contexts.current.as_deref() == Some(name);
            Ok((contexts.adopt(name, context), is_current))
        })?;
        if !is_current {
            output.talk(&format!("the context is now `{name}`"));
        }
        Ok(is_new)
    }

    /// Losses that only showed up once a node had started are guarded like all others.
    fn guard_late_losses(&self, plan: &Plan, addresses: &[Step], output: &Output) -> Outcome {
        let is_losing =
            |step: &&Step| step.action == Action::Delete || step.messages > 0 || step.uncounted.is_some();
        // What could not be counted then may be counted now, or is still not known.
        let counted = plan.steps.iter().filter(is_losing).filter(|step| step.uncounted.is_none());
        let planned: Vec<&str> = counted.map(|step| step.name.as_str()).collect();
        let late = addresses.iter().filter(is_losing).filter(|step| !planned.contains(&step.name.as_str()));
        let steps: Vec<Step> = late.cloned().collect();
        guard(&Plan { fleet: plan.fleet.clone(), place: plan.place.clone(), steps }, self.options, output)
    }

    /// Applies the steps and returns how many failed; what failed is said at once.
    async fn addresses(&self, admin: &Admin, steps: &[Step], output: &Output) -> Outcome<usize> {
        let wanted: BTreeMap<&str, &Address> =
            self.desired.addresses.iter().map(|address| (address.metadata.name.as_str(), address)).collect();
        let mut failed = 0;
        for step in steps {
            let done = match (step.action, wanted.get(step.name.as_str())) {
                (Action::Create | Action::Update | Action::Ensure, Some(address)) => {
                    admin.put_address(address, step.uncounted.is_some()).await.map(drop)
                }
                (Action::Delete, _) => admin.delete_address(&step.name, step.uncounted.is_some()).await,
                _ => continue,
            };
            match done {
                Ok(()) => {}
                // Nothing further can work when nobody answers.
                Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                Err(failure) => {
                    failed += 1;
                    output.warn(&format!("cannot {} address {}: {failure}", step.action.word(), step.name));
                }
            }
        }
        Ok(failed)
    }

    fn finish(&self, plan: &Plan, applied: Option<&Applied>, output: &mut Output) -> Outcome<Exit> {
        match self.options.output {
            Format::Table | Format::Wide => self.print_result(plan, applied, output)?,
            Format::Name => applied
                .iter()
                .flat_map(|applied| &applied.nodes)
                .try_for_each(|node| output.line(&node.node))?,
            Format::Json => output.json(&document(plan, applied))?,
            Format::Jsonl => output.line(&document(plan, applied).to_string())?,
            Format::Yaml => output.yaml(&document(plan, applied))?,
        }
        Ok(match applied {
            Some(applied) if applied.failed > 0 => Exit::Partial,
            Some(applied) if !applied.probe.iter().all(Account::is_clean) => Exit::Failed,
            _ => Exit::Ok,
        })
    }

    fn print_result(&self, plan: &Plan, applied: Option<&Applied>, output: &mut Output) -> Outcome {
        let Some(applied) = applied else {
            return output.line("dry run: nothing was changed");
        };
        if !applied.is_changed && !applied.is_context_new {
            return output.line("unchanged");
        }
        output.line(&format!("changed; {}", self.undo(plan, applied)))
    }

    /// What takes the deployment back, as half a sentence.
    fn undo(&self, plan: &Plan, applied: &Applied) -> String {
        if let Some(undo) = &self.request.undo {
            return undo.clone();
        }
        let name = name_flag(&plan.fleet);
        let first = plan.nodes().find(|step| step.action.is_change());
        let is_first = self.observed.nodes.iter().all(|node| node.state == NodeState::Absent);
        let changed: Vec<&Step> = applied.addresses.iter().filter(|step| step.action.is_change()).collect();
        match first.map(|step| step.action) {
            Some(Action::Create) if is_first => return format!("undo: mq undeploy{name} --purge"),
            Some(Action::Start) if !self.observed.nodes.iter().any(|node| running_node(node).is_some()) => {
                return format!("undo: mq undeploy{name}");
            }
            Some(Action::Create | Action::Remove) => return self.before(&name),
            Some(_) if plan.nodes().any(|step| !step.changes.is_empty()) => return self.before(&name),
            _ if plan.surroundings().next().is_some() => return self.before(&name),
            _ if changed.is_empty() => return NOTHING_TO_UNDO.into(),
            _ => {}
        }
        let created: Vec<String> = changed.iter().map(|step| shape::quoted(&step.name)).collect();
        let is_only_creating = changed.iter().all(|step| step.action == Action::Create);
        if is_only_creating && created.len() <= 8 {
            return format!("undo: mq address delete {}", created.join(" "));
        }
        self.before(&name)
    }

    /// What takes back a change whose old state the history tells.
    fn before(&self, name: &str) -> String {
        match History::of_fleet(self.backend.directory()).before() {
            Ok(before) => format!("undo: mq deploy rollback {}{name}", before.number),
            Err(_) => "undo: mq deploy with the files and flags of before".into(),
        }
    }
}

/// Whether an address belongs to a probe, which comes and goes by itself.
fn is_probe(address: &Address) -> bool {
    address.metadata.name.starts_with(crate::deploy::probe::PREFIX)
}

fn document(plan: &Plan, applied: Option<&Applied>) -> Value {
    json!({
        "apiVersion": output::API_VERSION,
        "kind": "Deployment",
        "fleet": plan.fleet,
        "applied": applied.is_some(),
        "changed": applied.map_or_else(|| plan.is_change(), |applied| applied.is_changed),
        "steps": output::value(&plan.steps),
        "nodes": applied.map(|applied| output::value(&applied.nodes)),
        "probe": applied.map(|applied| output::value(&applied.probe)),
    })
}

/// The admin API of a node, for its owner.
pub(super) fn admin_of<B: Backend>(backend: &B, runtime: &Runtime) -> Outcome<Admin> {
    backend.entry(&runtime.node).admin(&backend.reached(runtime))
}
