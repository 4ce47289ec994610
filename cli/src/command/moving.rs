//! `mq fleet export` and `mq fleet import`: a fleet to another machine to change it from, or to another place to run in;
//! `mq fleet hand-over`: to an operator of its cluster.

use std::{collections::BTreeMap, path::Path, time::Duration};

use mq_model::{config::DaemonConfig, custom, manifest::Fleet, mesh::node_number};
use serde_json::{Value, json};

use super::{
    deploy::{fleet_name, name_flag},
    files,
    site::{Site, history_of, with_site},
};
use crate::{
    args::fleet::{Export as ExportArgs, HandOver, Import as ImportArgs},
    context::Contexts,
    deploy::{
        Backend,
        archive::Places,
        export::{Export, IMPORT},
        history::History,
        local::{Local, create_private},
        lock::Lock,
        plan::NodeState,
        render,
    },
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, value},
    settings::Settings,
    shape,
};

/// What others are told who want to change the fleet meanwhile.
const EXPORT: &str = "mq fleet export";

pub(super) async fn export(args: &ExportArgs, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    if !args.data {
        // What this machine knows; nobody else has to be in reach.
        let local = Local::new(&name, None, Contexts::default())?;
        let directory = local.directory();
        let lock = directory.exists().then(|| Lock::take(directory, &name, EXPORT, &env::whoami()));
        let _lock = lock.transpose()?;
        let export = Export::begin(&args.folder, &name, directory)?;
        return written(export, &args.folder, output);
    }
    let site = Site::of_name(&name, output).await?;
    with_site!(site, backend => export_data(&backend, &name, args, output).await)
}

async fn export_data<B: Backend>(
    backend: &B,
    name: &str,
    args: &ExportArgs,
    output: &mut Output,
) -> Outcome<Exit> {
    let _lock = backend.lock(EXPORT).await?;
    let kept = backend.kept().await?;
    check_stopped(backend, &kept, name).await?;
    let mut export = Export::begin(&args.folder, name, backend.directory())?;
    match pack_all(backend, &kept, &mut export, output).await {
        Ok(()) => written(export, &args.folder, output),
        Err(failure) => export.discard().and(Err(failure)),
    }
}

async fn pack_all<B: Backend>(
    backend: &B,
    kept: &BTreeMap<String, DaemonConfig>,
    export: &mut Export,
    output: &Output,
) -> Outcome {
    for (node, config) in kept {
        let data = export.data_to_write(node);
        let checksum = backend.pack(node, &Places::of_node(config), &data).await?;
        let size = std::fs::metadata(&data).map_or(0, |found| found.len());
        output.talk(&format!("{node}: {}", shape::bytes(size)));
        export.content.nodes.insert(node.clone(), checksum);
    }
    Ok(())
}

fn written(export: Export, folder: &Path, output: &mut Output) -> Outcome<Exit> {
    let data = match export.content.nodes.len() {
        0 => "without the data of its nodes".to_owned(),
        count => format!("with the data of {}", shape::plural(count as u64, "node")),
    };
    let name = export.content.fleet.clone();
    export.write()?;
    output.warn("the key of the fleet's authority is in it: whoever has the folder can change the fleet");
    output.line(&format!("the fleet `{name}` is in {}, {data}", folder.display()))?;
    Ok(Exit::Ok)
}

/// A copy of what a running node keeps would be none.
async fn check_stopped<B: Backend>(
    backend: &B,
    kept: &BTreeMap<String, DaemonConfig>,
    name: &str,
) -> Outcome {
    let nodes: Vec<DaemonConfig> = kept.values().cloned().collect();
    let observed = backend.observe(&nodes).await?;
    let runs = |state: &NodeState| !matches!(state, NodeState::Absent | NodeState::Stopped { .. });
    let running: Vec<&str> =
        observed.iter().filter(|node| runs(&node.state)).map(|node| node.name.as_str()).collect();
    if running.is_empty() {
        return Ok(());
    }
    let message = format!("{} still {}", running.join(", "), if running.len() == 1 { "runs" } else { "run" });
    Err(Failure::new(Exit::Guarded, message)
        .help(format!("stop the fleet with `mq undeploy{}`: what it stores is kept", name_flag(name))))
}

pub(super) async fn import(args: &ImportArgs, output: &mut Output) -> Outcome<Exit> {
    let export = Export::open(&args.folder)?;
    let name = export.content.fleet.clone();
    export.check_is_same(&history_of(&name)?)?;
    let newest = export.revisions.last().map(|revision| (revision.fleet.clone(), revision.addresses.clone()));
    let (exported, addresses) = newest.ok_or_else(|| Failure::failed("the folder has no revision"))?;
    let fleet = match args.files.is_empty() {
        true => exported,
        false => wanted(args, &name)?,
    };
    if export.content.nodes.is_empty() {
        if !args.files.is_empty() {
            let message = format!("there is no data of nodes in {}", args.folder.display());
            return Err(Failure::usage(message).help(
                "to move the fleet, stop it and export it with --data; to change it from here, leave out the files",
            ));
        }
        return learn(&export, output);
    }
    if fleet.spec.target.kubernetes().is_some() {
        // Before anything is set aside for it.
        return Err(Failure::usage("what nodes keep cannot be moved into a cluster")
            .help("move the fleet to hosts over SSH, or start an empty one in the cluster and send its messages there"));
    }
    check_count(&export, &fleet)?;
    set_aside(&export, &fleet, args.retain, output).await?;
    let site = Site::of_fleet(&fleet, &args.mqd, &[], output).await?;
    with_site!(site, backend => lay_out(&backend, &export, &fleet, output).await)?;
    let local = Local::new(&name, None, Contexts::default())?;
    export.make_known(local.directory())?;
    let history = History::of_fleet(local.directory());
    // From now on this is what is wanted, whether files are named again or not.
    history.begin(&fleet, &addresses, IMPORT)?;
    let nodes = shape::plural(export.content.nodes.len() as u64, "node");
    output.line(&format!(
        "changed: the data of {nodes} is in its place; go on with `mq deploy{}`",
        name_flag(&name)
    ))?;
    Ok(Exit::Ok)
}

pub(super) async fn hand_over(args: &HandOver, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let Site::Kubernetes(backend) = Site::of_name(&name, output).await? else {
        return Err(Failure::usage(format!("the nodes of the fleet `{name}` are not in a cluster"))
            .help("deploy it with `target: {kubernetes: {}}`; `mq fleet export` is for machines"));
    };
    backend.hand_over().await?;
    output.warn(&format!(
        "the key of the fleet's authority is in the Secret `{name}-fleet`: whoever reads that can be any node"
    ));
    output.yaml(&object_of(backend.fleet()))?;
    output.talk("an operator of fleets has it when this is applied; `mq deploy` takes it back before");
    Ok(Exit::Ok)
}

/// The object of a cluster that describes the fleet.
fn object_of(fleet: &Fleet) -> Value {
    let mut spec = value(&fleet.spec);
    if let Some(target) = spec["target"]["kubernetes"].as_object_mut() {
        // Where it is says the object's own namespace.
        target.shift_remove("context");
        target.shift_remove("namespace");
    }
    let namespace = fleet.spec.target.kubernetes().map(|target| target.namespace());
    json!({
        "apiVersion": format!("{}/{}", custom::GROUP, custom::VERSION),
        "kind": custom::FLEETS.0,
        "metadata": { "name": fleet.metadata.name, "namespace": namespace },
        "spec": spec,
    })
}

/// The fleet as the files have it.
fn wanted(args: &ImportArgs, name: &str) -> Outcome<Fleet> {
    let fleet = files::documents(&args.files)?
        .fleet
        .ok_or_else(|| Failure::usage("there is no Fleet in the files").help("add a Fleet document"))?;
    if fleet.metadata.name != name {
        let message =
            format!("the files are of the fleet `{}`, and the folder of `{name}`", fleet.metadata.name);
        return Err(Failure::usage(message).help("a fleet keeps its name: its certificates have it"));
    }
    fleet.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(fleet)
}

/// What has data needs a node to be the data of.
fn check_count(export: &Export, fleet: &Fleet) -> Outcome {
    let highest = export.content.nodes.keys().filter_map(|node| node_number(node)).max().unwrap_or(0);
    if fleet.spec.nodes() >= highest {
        return Ok(());
    }
    let message =
        format!("the fleet has {} nodes in the folder, and {} are wanted", highest, fleet.spec.nodes());
    Err(Failure::usage(message)
        .help(format!("say `nodes: {highest}`, deploy, and then `mq scale {}`", fleet.spec.nodes())))
}

/// Makes this machine one that the fleet is changed from.
fn learn(export: &Export, output: &mut Output) -> Outcome<Exit> {
    let name = &export.content.fleet;
    let local = Local::new(name, None, Contexts::default())?;
    create_private(local.directory())?;
    let _lock = Lock::take(local.directory(), name, IMPORT, &env::whoami())?;
    export.make_known(local.directory())?;
    output.line(&format!(
        "changed: this machine can change the fleet `{name}`; `mq deploy{}` looks at it and points the context there",
        name_flag(name)
    ))?;
    Ok(Exit::Ok)
}

/// Sets aside what the nodes have where the fleet was, when it was somewhere else and this machine knows of it:
/// nobody is to start them there again.
async fn set_aside(export: &Export, fleet: &Fleet, retain: Duration, output: &Output) -> Outcome {
    let name = &export.content.fleet;
    let Some(known) = history_of(name)?.newest()? else { return Ok(()) };
    if known.fleet.spec.target == fleet.spec.target {
        return Ok(());
    }
    let site = Site::of_name(name, output).await?;
    with_site!(site, backend => retire_all(&backend, export, retain, output).await)
}

async fn retire_all<B: Backend>(backend: &B, export: &Export, retain: Duration, output: &Output) -> Outcome {
    let _lock = backend.lock(IMPORT).await?;
    let kept = backend.kept().await?;
    check_stopped(backend, &kept, &export.content.fleet).await?;
    for node in backend.nodes().await? {
        if !export.content.nodes.contains_key(&node) {
            let message = format!("the data of `{node}` is not in the folder");
            return Err(Failure::new(Exit::Guarded, message).help("export the fleet again, with --data"));
        }
        let aside = backend.retire(&node, retain).await?;
        output.talk(&format!("{node} is set aside for {} in {aside}", shape::uptime(retain.as_secs())));
    }
    Ok(())
}

/// Puts the data of every node into its place. No node gets its own before all have arrived.
async fn lay_out<B: Backend>(backend: &B, export: &Export, fleet: &Fleet, output: &Output) -> Outcome {
    let _lock = backend.lock(IMPORT).await?;
    let kept = backend.kept().await?;
    let host = fleet.spec.mesh.host.clone().unwrap_or_else(|| "127.0.0.1".into());
    let configs = render::configurations(
        fleet,
        |node| backend.state(node),
        &kept,
        |taken| backend.free_port(&host, taken),
    )?;
    let moved = export.content.nodes.iter();
    let moved = moved.filter_map(|(node, checksum)| {
        let config = configs.iter().find(|config| config.node == *node)?;
        Some((node, checksum, Places::of_node(config)))
    });
    let moved: Vec<_> = moved.collect();
    for (node, checksum, places) in &moved {
        backend.unpack(node, places, &export.data(node), checksum).await?;
        output.talk(&format!("{node}: its data has arrived"));
    }
    for (node, checksum, places) in &moved {
        backend.adopt(node, places, checksum).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_of_a_fleet_describes_the_same_fleet() {
        let document = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "f" },
            "spec": {
                "nodes": 3,
                "listeners": { "amqps": { "host": "0.0.0.0", "port": 5671 } },
                "target": { "kubernetes": { "context": "c", "namespace": "n", "routers": 2, "image": "mq:1" } },
            },
        });
        let mut fleet: Fleet = serde_json::from_value(document).unwrap();
        let object = object_of(&fleet);
        assert_eq!(object["apiVersion"], "mq.messaging/v1");
        let found = custom::fleet(&object).unwrap();
        if let mq_model::manifest::Target::Kubernetes(target) = &mut fleet.spec.target {
            target.context = None;
        }
        assert_eq!(found, fleet);
    }
}
