//! `mq deploy` and `mq undeploy`.

use std::{fs::File, time::Duration};

use mq_model::{
    admin::{Protocol, Runtime},
    config::DaemonConfig,
    manifest::{API_VERSION, FLEET_KIND, Fleet, FleetSpec, Metadata},
    validate_name,
};
use serde_json::{Value, json};

use super::files;
use crate::{
    args::{
        Format,
        deploy::{Deploy, Undeploy},
    },
    client::admin::Admin,
    context::{Context, Store},
    deploy::{
        Backend, Stopped,
        local::Local,
        plan::{self, Action, Desired, NodeState, Object, Observed, ObservedNode, Plan, Step},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::{self, Output},
    settings::{Settings, http_url, listener_url},
    shape,
};

/// The name of the fleet that nobody named.
const DEFAULT_FLEET: &str = "default";
/// The name of the node of a local fleet.
const NODE: &str = "node-1";

pub(super) async fn deploy(args: Deploy, output: &mut Output) -> Outcome<Exit> {
    let store = Store::of_user()?;
    let (fleet, addresses) = wanted(&args)?;
    let local = Local::new(&fleet.metadata.name, args.mqd.clone(), store.load()?)?;
    refuse_foreign_context(&local, &fleet.metadata.name, &store)?;
    let config = DaemonConfig::from_fleet(&fleet, NODE, local.state(NODE));
    config.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let _lock: Option<File> = if args.dry_run { None } else { Some(local.lock()?) };
    let desired = Desired {
        fleet: fleet.metadata.name.clone(),
        nodes: vec![config],
        addresses,
        prune: args.prune,
        restart: args.restart,
        version: local.version().await?,
    };
    let observed = observe(&local, &desired).await?;
    let plan = Plan::new(&desired, &observed);
    if args.output == Format::Table || args.output == Format::Wide {
        print_plan(&plan, output)?;
    }
    if args.dry_run {
        return finish(&args, &plan, None, output);
    }
    guard(&plan, &args, output)?;
    preflight(&local, &desired, &plan, &observed)?;
    let deployment = Deployment { args: &args, local: &local, desired: &desired, store: &store };
    let applied = deployment.apply(&plan, &observed, output).await?;
    finish(&args, &plan, Some(&applied), output)
}

/// What the files and the flags say, flags first.
fn wanted(args: &Deploy) -> Outcome<(Fleet, Vec<mq_model::manifest::Address>)> {
    let documents = files::documents(&args.files)?;
    let mut fleet = match documents.fleet {
        Some(fleet) => fleet,
        None if args.files.is_empty() => Fleet {
            api_version: API_VERSION.into(),
            kind: FLEET_KIND.into(),
            metadata: Metadata { name: DEFAULT_FLEET.into(), ..Metadata::default() },
            spec: FleetSpec::default(),
        },
        None => {
            return Err(Failure::usage("there is no Fleet in the files, only addresses")
                .help("add a Fleet document, or run `mq deploy` and then `mq apply -f` with the files"));
        }
    };
    if let Some(name) = &args.name {
        validate_name(name).map_err(Failure::usage)?;
        fleet.metadata.name.clone_from(name);
    }
    if let Some(port) = args.amqp_port {
        fleet.spec.listeners.amqp.port = port;
    }
    if let Some(port) = args.mqtt_port {
        fleet.spec.listeners.mqtt.port = port;
    }
    if let Some(port) = args.http_port {
        fleet.spec.listeners.http.port = port;
    }
    Ok((fleet, documents.addresses))
}

/// A context that the user wrote for a fleet elsewhere is not overwritten by one of this machine.
fn refuse_foreign_context(local: &Local, name: &str, store: &Store) -> Outcome {
    match store.load()?.contexts.get(name) {
        Some(context) if context.state.as_deref() != Some(local.directory()) => {
            Err(Failure::new(Exit::Conflict, format!("the context `{name}` points to another fleet"))
                .help(format!("choose another name with --name, or `mq context delete {name}`")))
        }
        _ => Ok(()),
    }
}

async fn observe(local: &Local, desired: &Desired) -> Outcome<Observed> {
    let nodes = local.observe(&desired.nodes).await?;
    let serving = nodes.iter().find_map(|node| match &node.state {
        NodeState::Running { runtime, .. } => Some(runtime),
        _ => None,
    });
    let addresses = match serving {
        Some(runtime) => Some(admin_of(runtime)?.addresses().await?),
        None => None,
    };
    Ok(Observed { nodes, addresses })
}

/// Refuses, or asks, before something is lost.
fn guard(plan: &Plan, args: &Deploy, output: &Output) -> Outcome {
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
    if losses.is_empty() || args.yes {
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
fn preflight(local: &Local, desired: &Desired, plan: &Plan, observed: &Observed) -> Outcome {
    for node in &desired.nodes {
        let starts = plan.steps.iter().any(|step| {
            step.object == Object::Node
                && step.name == node.node
                && matches!(step.action, Action::Create | Action::Start | Action::Restart)
        });
        if starts {
            local.preflight(node, running(observed, &node.node))?;
        }
    }
    Ok(())
}

fn running<'a>(observed: &'a Observed, name: &str) -> Option<&'a Runtime> {
    observed.nodes.iter().find_map(|node| match node {
        ObservedNode { name: found, state: NodeState::Running { runtime, .. }, .. } if found == name => {
            Some(runtime)
        }
        _ => None,
    })
}

/// A deployment under way.
struct Deployment<'a> {
    args: &'a Deploy,
    local: &'a Local,
    desired: &'a Desired,
    store: &'a Store,
}

/// What a deployment did.
struct Applied {
    nodes: Vec<Runtime>,
    /// The steps of addresses as they were done.
    addresses: Vec<Step>,
    failed: usize,
    is_context_new: bool,
    is_changed: bool,
}

impl Deployment<'_> {
    async fn apply(&self, plan: &Plan, observed: &Observed, output: &Output) -> Outcome<Applied> {
        let mut nodes = Vec::new();
        for step in plan.steps.iter().filter(|step| step.object == Object::Node) {
            nodes.push(self.node(step, observed, output).await?);
        }
        let Some(first) = nodes.first() else {
            return Err(Failure::failed("the fleet has no node"));
        };
        let admin = admin_of(first)?;
        let is_context_new = self.adopt(first, output)?;
        // What is there is known for certain only now.
        let there = admin.addresses().await?;
        let addresses = plan::address_steps(self.desired, &there);
        self.guard_late_losses(plan, &addresses, output)?;
        let failed = self.addresses(&admin, &addresses, output).await?;
        let is_changed = plan.steps.iter().any(|step| step.object == Object::Node && step.action.is_change())
            || addresses.iter().any(|step| step.action.is_change());
        Ok(Applied { nodes, addresses, failed, is_context_new, is_changed })
    }

    async fn node(&self, step: &Step, observed: &Observed, output: &Output) -> Outcome<Runtime> {
        let wanted = self.desired.nodes.iter().find(|node| node.node == step.name);
        let Some(wanted) = wanted else {
            return Err(Failure::failed(format!("the plan names an unknown node `{}`", step.name)));
        };
        let begin = std::time::Instant::now();
        let runtime = match (step.action, running(observed, &step.name)) {
            (Action::Unchanged, Some(runtime)) => return Ok(runtime.clone()),
            (Action::Await, _) => {
                let runtime = self.local.wait_ready(&step.name, self.args.wait, output).await?;
                if runtime.config_hash == wanted.hash() {
                    runtime
                } else {
                    self.restart(wanted, output).await?
                }
            }
            (Action::Restart, _) => self.restart(wanted, output).await?,
            _ => self.local.start(wanted, self.args.wait, output).await?,
        };
        let took = shape::elapsed(begin.elapsed());
        output.talk(&format!("{} is ready after {took}: {}", step.name, plan::serves(&runtime)));
        Ok(runtime)
    }

    async fn restart(&self, node: &DaemonConfig, output: &Output) -> Outcome<Runtime> {
        let stopped = self.local.stop(&node.node, self.args.wait, output).await?;
        say_stopped(&node.node, stopped, self.args.wait, output);
        self.local.start(node, self.args.wait, output).await
    }

    /// Points the user's other commands at the fleet.
    fn adopt(&self, runtime: &Runtime, output: &Output) -> Outcome<bool> {
        let amqp = listener_url(runtime, Protocol::Amqp)
            .ok_or_else(|| Failure::failed(format!("the node `{}` does not serve AMQP", runtime.node)))?;
        let mqtt = listener_url(runtime, Protocol::Mqtt);
        let admin = listener_url(runtime, Protocol::Http);
        let context = Context { amqp, mqtt, admin, state: Some(self.local.directory().to_owned()) };
        let name = &self.desired.fleet;
        let is_new = self.store.change(|contexts| Ok(contexts.adopt(name, context)))?;
        if is_new {
            output.talk(&format!("the context is now `{name}`"));
        }
        Ok(is_new)
    }

    /// Losses that only showed up once a node had started are guarded like all others.
    fn guard_late_losses(&self, plan: &Plan, addresses: &[Step], output: &Output) -> Outcome {
        let losing = plan.steps.iter().filter(|step| step.action == Action::Delete || step.messages > 0);
        let planned: Vec<&str> = losing.map(|step| step.name.as_str()).collect();
        let late = addresses
            .iter()
            .filter(|step| step.action == Action::Delete || step.messages > 0)
            .filter(|step| !planned.contains(&step.name.as_str()));
        let steps: Vec<Step> = late.cloned().collect();
        guard(&Plan { fleet: plan.fleet.clone(), steps }, self.args, output)
    }

    /// Applies the steps and returns how many failed; what failed is said at once.
    async fn addresses(&self, admin: &Admin, steps: &[Step], output: &Output) -> Outcome<usize> {
        let mut failed = 0;
        for step in steps {
            let wanted = self.desired.addresses.iter().find(|address| address.metadata.name == step.name);
            let done = match (step.action, wanted) {
                (Action::Create | Action::Update | Action::Ensure, Some(address)) => {
                    admin.put_address(address).await.map(drop)
                }
                (Action::Delete, _) => admin.delete_address(&step.name).await,
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
}

fn finish(args: &Deploy, plan: &Plan, applied: Option<&Applied>, output: &mut Output) -> Outcome<Exit> {
    match args.output {
        Format::Table | Format::Wide => print_result(plan, applied, output)?,
        Format::Name => {
            applied.iter().flat_map(|applied| &applied.nodes).try_for_each(|node| output.line(&node.node))?
        }
        Format::Json => output.json(&document(plan, applied))?,
        Format::Jsonl => output.line(&document(plan, applied).to_string())?,
        Format::Yaml => output.yaml(&document(plan, applied))?,
    }
    Ok(match applied {
        Some(applied) if applied.failed > 0 => Exit::Partial,
        _ => Exit::Ok,
    })
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
    })
}

fn print_plan(plan: &Plan, output: &mut Output) -> Outcome {
    output.line(&format!("fleet {} on this machine: {}", plan.fleet, plan.summary()))?;
    let subject = |step: &Step| format!("{} {}", step.object.word(), step.name);
    let width = plan.steps.iter().map(|step| subject(step).len()).max().unwrap_or(0).min(48);
    for step in &plan.steps {
        let (sign, word, detail) = (step.action.sign(), step.action.word(), &step.detail);
        output.line(&format!("  {sign} {:<width$}  {word:<9}  {detail}", subject(step)))?;
        for change in &step.changes {
            output.line(&format!("      {}: {} -> {}", change.field, change.from, change.to))?;
        }
    }
    Ok(())
}

fn print_result(plan: &Plan, applied: Option<&Applied>, output: &mut Output) -> Outcome {
    let Some(applied) = applied else {
        return output.line("dry run: nothing was changed");
    };
    if !applied.is_changed && !applied.is_context_new {
        return output.line("unchanged");
    }
    output.line(&format!("changed; undo: {}", undo(plan, applied)))
}

/// What takes the deployment back.
fn undo(plan: &Plan, applied: &Applied) -> String {
    let name = match plan.fleet.as_str() {
        DEFAULT_FLEET => String::new(),
        name => format!(" --name {name}"),
    };
    let node = plan.steps.iter().find(|step| step.object == Object::Node && step.action.is_change());
    let changed: Vec<&Step> = applied.addresses.iter().filter(|step| step.action.is_change()).collect();
    match node.map(|step| step.action) {
        Some(Action::Create) => return format!("mq undeploy{name} --purge"),
        Some(Action::Start) => return format!("mq undeploy{name}"),
        Some(_) if node.is_some_and(|step| !step.changes.is_empty()) => return BEFORE.into(),
        _ if changed.is_empty() => return "there is nothing to take back".into(),
        _ => {}
    }
    let created: Vec<String> = changed.iter().map(|step| shape::quoted(&step.name)).collect();
    let is_only_creating = changed.iter().all(|step| step.action == Action::Create);
    if is_only_creating && created.len() <= 8 {
        return format!("mq address delete {}", created.join(" "));
    }
    BEFORE.into()
}

/// What takes back a change whose old state only the old files tell.
const BEFORE: &str = "mq deploy with the files and flags of before";

pub(super) async fn undeploy(args: Undeploy, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let store = Store::of_user()?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => settings.context_name().unwrap_or(DEFAULT_FLEET).to_owned(),
    };
    validate_name(&name).map_err(Failure::usage)?;
    let local = Local::new(&name, None, store.load()?)?;
    if !local.directory().exists() {
        // A context whose fleet is gone is repaired; one that points elsewhere is not ours to touch.
        let is_stale = store.load()?.contexts.get(&name).is_some_and(|context| context.state.is_some());
        if is_stale {
            store.change(|contexts| Ok(contexts.remove(&name)))?;
            output.line("changed: the fleet was gone already, its context is removed")?;
            return Ok(Exit::Ok);
        }
        return Err(Failure::new(Exit::NotFound, format!("there is no fleet `{name}` on this machine"))
            .help("see `mq context list`"));
    }
    let lock = local.lock()?;
    if args.purge {
        guard_purge(&name, &args, output)?;
    }
    let mut is_changed = false;
    for node in local.nodes()? {
        let stopped = local.stop(&node, args.wait, output).await?;
        say_stopped(&node, stopped, args.wait, output);
        is_changed |= stopped != Stopped::Already;
    }
    is_changed |= store.change(|contexts| {
        let is_ours = contexts.contexts.get(&name).is_some_and(|context| context.state.is_some());
        Ok(is_ours && contexts.remove(&name))
    })?;
    if args.purge {
        local.purge()?;
        drop(lock);
        output.line("changed: the fleet and its state are gone; this cannot be undone")?;
        return Ok(Exit::Ok);
    }
    let again = if name == DEFAULT_FLEET { String::new() } else { format!(" --name {name}") };
    match is_changed {
        true => output.line(&format!("changed; undo: mq deploy{again}"))?,
        false => output.line("unchanged: the fleet was stopped already")?,
    }
    Ok(Exit::Ok)
}

fn guard_purge(name: &str, args: &Undeploy, output: &Output) -> Outcome {
    if args.yes {
        return Ok(());
    }
    if output.is_interactive()
        && output.confirm(&format!("delete the state of the fleet {name} for good?"))?
    {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Guarded,
        format!("nothing was changed: --purge deletes the state of `{name}` for good"),
    )
    .help("repeat the command with --yes"))
}

fn say_stopped(node: &str, stopped: Stopped, deadline: Duration, output: &Output) {
    match stopped {
        Stopped::Already => output.talk(&format!("{node} was stopped already")),
        Stopped::Drained => output.talk(&format!("{node} has stopped")),
        Stopped::Killed => {
            let deadline = shape::elapsed(deadline);
            output.warn(&format!("{node} did not stop within {deadline} and was killed"));
        }
    }
}

fn admin_of(runtime: &Runtime) -> Outcome<Admin> {
    match listener_url(runtime, Protocol::Http) {
        Some(url) => Admin::new(http_url(&url)?),
        None => Err(Failure::failed(format!("the node `{}` has no admin API", runtime.node))),
    }
}
