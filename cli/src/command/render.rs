//! `mq render` and `mq agent`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mq_model::{custom::definitions, kubernetes::KubernetesTarget, manifest::Fleet, validate_name};

use super::files;
use crate::{
    args::render::{
        Agent, AgentTask, NodePlaces, RenderCommand, RenderHelm, RenderKubernetes, RenderSecrets,
        RenderSystemd,
    },
    context::Contexts,
    deploy::{
        Backend,
        agent::{SILENCE, Setup, serve},
        archive::{Places, pack, unpack},
        keeper,
        kubernetes::{Rendering, chart::chart, documents, fleets::fleets},
        local::{Local, create_private, state_of_node},
        plane::Program,
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
        RenderCommand::Kubernetes(args) => kubernetes(args, output),
        RenderCommand::Secrets(args) => secrets(args, output),
        RenderCommand::Crds => {
            output.bytes(documents(&definitions())?.as_bytes())?;
            Ok(Exit::Ok)
        }
        RenderCommand::Operator(args) => {
            let image = args.image.clone().unwrap_or_else(|| KubernetesTarget::default().image());
            output.bytes(documents(&fleets(&args.namespace, &image))?.as_bytes())?;
            Ok(Exit::Ok)
        }
        RenderCommand::Helm(args) => helm(args, output),
        RenderCommand::Systemd(args) => systemd(args, output),
    }
}

fn kubernetes(args: &RenderKubernetes, output: &mut Output) -> Outcome<Exit> {
    let fleet = fleet_of(&args.files)?;
    let rendering = Rendering::of_fleet(&fleet)?;
    let objects = rendering.objects()?;
    match &args.out {
        Some(folder) => {
            let files = objects.iter().enumerate().map(|(index, object)| {
                let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_lowercase();
                let (kind, name) = (word(&object["kind"]), word(&object["metadata"]["name"]));
                // Tools that apply a folder go by the names of the files.
                let name = PathBuf::from(format!("{index:02}-{kind}-{name}.yaml"));
                documents(std::slice::from_ref(object)).map(|text| (name, text))
            });
            write_below(folder, &files.collect::<Outcome<Vec<_>>>()?, output)?;
        }
        None => output.bytes(documents(&objects)?.as_bytes())?,
    }
    rendering.remarks().iter().for_each(|remark| output.talk(remark));
    fleet.spec.exposures().iter().for_each(|exposure| output.warn(exposure));
    Ok(Exit::Ok)
}

fn secrets(args: &RenderSecrets, output: &mut Output) -> Outcome<Exit> {
    let fleet = fleet_of(&args.files)?;
    let local = Local::new(&fleet.metadata.name, None, Contexts::default())?;
    create_private(local.directory())?;
    let secrets = Rendering::of_fleet(&fleet)?.secrets(local.directory(), Timestamp::now())?;
    output.bytes(documents(&secrets)?.as_bytes())?;
    Ok(Exit::Ok)
}

fn helm(args: &RenderHelm, output: &Output) -> Outcome<Exit> {
    let fleet = fleet_of(&args.files)?;
    let files = chart(&fleet)?.into_iter().map(|(path, text)| (PathBuf::from(path), text));
    write_below(&args.directory, &files.collect::<Vec<_>>(), output)?;
    Ok(Exit::Ok)
}

/// The fleet of the files.
fn fleet_of(files: &[PathBuf]) -> Outcome<Fleet> {
    files::documents(files)?
        .fleet
        .ok_or_else(|| Failure::usage("there is no Fleet in the files").help("add a Fleet document"))
}

/// Writes files below a folder, and says which.
fn write_below(folder: &Path, files: &[(PathBuf, String)], output: &Output) -> Outcome {
    for (path, text) in files {
        let path = folder.join(path.strip_prefix("/").unwrap_or(path));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::file("create", parent, &error))?;
        }
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, &error))?;
        output.talk(&path.display().to_string());
    }
    Ok(())
}

fn systemd(args: &RenderSystemd, output: &mut Output) -> Outcome<Exit> {
    let rendered = rendered(args)?;
    match &args.out {
        Some(folder) => write_below(folder, &rendered, output)?,
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
    let fleet = fleet_of(&args.files)?;
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
        let program = Program::of(node.dataplane, || Ok(args.binary.clone()))?;
        // Beside `mqd` is the `mq` of the same build, there as here.
        let program = match args.binary.parent() {
            Some(folder) => program.below(folder),
            None => program,
        };
        files.push((path, unit(manager, node, &own, &program)));
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
    let places = |places: &NodePlaces| Places { state: places.state.clone(), store: places.store.clone() };
    match &args.task {
        Some(AgentTask::Pack(node)) => {
            let mut checksum = pack(&places(node), std::io::stdout().lock())?;
            checksum.push('\n');
            // What is packed has standard output for itself.
            let said = std::io::Write::write_all(&mut std::io::stderr(), checksum.as_bytes());
            said.map_err(|error| Failure::failed(format!("cannot say the checksum: {error}")))?;
            return Ok(Exit::Ok);
        }
        Some(AgentTask::Unpack(node)) => {
            if let Some(folder) = node.state.parent() {
                create_private(folder)?;
            }
            unpack(&places(node), std::io::stdin().lock(), &node.checksum)?;
            return Ok(Exit::Ok);
        }
        Some(AgentTask::Keep { node, boots }) => {
            validate_name(node).map_err(Failure::usage)?;
            keeper::keep(&args.directory.join(node), *boots)?;
            return Ok(Exit::Ok);
        }
        None => {}
    }
    let setup = Setup {
        fleet: args.fleet,
        directory: args.directory,
        release: args.release,
        supervision: args.supervision.into(),
    };
    serve(setup, tokio::io::stdin(), tokio::io::stdout(), SILENCE).await?;
    Ok(Exit::Ok)
}
