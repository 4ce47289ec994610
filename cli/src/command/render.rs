//! `mq render` and `mq agent`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mq_model::validate_name;

use super::files;
use crate::{
    args::render::{Agent, RenderCommand, RenderSystemd},
    deploy::{
        agent::{SILENCE, Setup, serve},
        local::state_of_node,
        render::configurations,
        service::{Manager, unit, unit_name},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
};

/// Where systemd looks for the units of the system, and of all users.
const UNITS: [&str; 2] = ["/etc/systemd/system", "/etc/systemd/user"];

pub(super) fn run(args: &RenderCommand, output: &mut Output) -> Outcome<Exit> {
    match args {
        RenderCommand::Systemd(args) => systemd(args, output),
    }
}

fn systemd(args: &RenderSystemd, output: &mut Output) -> Outcome<Exit> {
    let rendered = rendered(args)?;
    match &args.out {
        Some(folder) => {
            for (path, text) in &rendered {
                let path = folder.join(path.strip_prefix("/").unwrap_or(path));
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(|error| Failure::file("create", parent, &error))?;
                }
                fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
                output.talk(&path.display().to_string());
            }
        }
        None => {
            for (index, (path, text)) in rendered.iter().enumerate() {
                if index > 0 {
                    output.line("")?;
                }
                output.line(&format!("# {}", path.display()))?;
                output.bytes(text.as_bytes())?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// The files by their paths on the machines, in the order of the nodes.
fn rendered(args: &RenderSystemd) -> Outcome<Vec<(PathBuf, String)>> {
    let Some(fleet) = files::documents(&args.files)?.fleet else {
        return Err(Failure::usage("there is no Fleet in the files").help("add a Fleet document"));
    };
    let default = || Path::new("/var/lib/mq").join(&fleet.metadata.name);
    let directory = args.directory.clone().unwrap_or_else(default);
    let pick = |_: &_| {
        Err(Failure::usage("a free port of another machine cannot be picked").help("say one in `mesh.port`"))
    };
    let state = |node: &str| state_of_node(&directory.join(node));
    let nodes = configurations(&fleet, state, &BTreeMap::new(), pick)?;
    let (manager, units) = match (args.user, UNITS) {
        (false, [system, _]) => (Manager::System, system),
        (true, [_, user]) => (Manager::User, user),
    };
    let mut files = Vec::new();
    for node in nodes.iter().filter(|node| args.node.as_ref().is_none_or(|wanted| *wanted == node.node)) {
        let own = directory.join(&node.node);
        let path = Path::new(units).join(unit_name(&node.fleet, &node.node));
        files.push((path, unit(manager, node, &own, &args.binary)));
        let text = serde_saphyr::to_string(node)
            .map_err(|error| Failure::failed(format!("cannot write the configuration: {error}")))?;
        files.push((own.join("mqd.yaml"), text));
    }
    match &args.node {
        Some(node) if files.is_empty() => {
            let known: Vec<String> = nodes.into_iter().map(|node| node.node).collect();
            Err(Failure::new(Exit::NotFound, format!("there is no node `{node}`"))
                .help(format!("nodes: {}", known.join(", "))))
        }
        _ => Ok(files),
    }
}

pub(super) async fn agent(args: Agent) -> Outcome<Exit> {
    validate_name(&args.fleet).map_err(Failure::usage)?;
    let setup = Setup {
        fleet: args.fleet,
        directory: args.directory,
        release: args.release,
        supervision: args.supervision.into(),
    };
    serve(setup, tokio::io::stdin(), tokio::io::stdout(), SILENCE).await?;
    Ok(Exit::Ok)
}
