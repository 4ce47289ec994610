//! Nodes as processes of this user on this machine, or as services of its systemd.
//!
//! Everything about a fleet lies in `$XDG_STATE_HOME/mq/<fleet>/`: `deploy.lock`, `revisions/` (what was
//! deployed), `ca/` (what its nodes trust), `removed/` (the data of nodes that are no more), and per node a
//! directory with `mqd.yaml` (its configuration), `mqd.log` (what it says) and `state/` (what it keeps). A
//! node lives exactly as long as its lock on `state/mqd.lock` is held; process ids are used to send it a
//! signal, and never to decide whether it lives.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom},
    net::{IpAddr, TcpListener},
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use jiff::Timestamp;
use mq_model::{
    admin::{self, Mesh, NodeDrain, Runtime},
    config::{DaemonConfig, MeshListener},
    mesh::node_number,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{
    Backend, Order, Stopped,
    archive::{self, Places},
    authority::{self, Authority},
    entry::Entry,
    gate::Report,
    keeper,
    lock::Lock,
    plan::{Leaving, NodeState, ObservedNode},
    plane::{self, Program},
    roll::QUOTE,
    service::{self, Manager, unit_name},
    tail::Tail,
};
use crate::{
    client::admin::Admin,
    context::{Context, Contexts, Place, base, read_bounded, replace, sync_parent},
    env,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    output::Output,
    settings::{place, runtime},
};

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);
/// How long a killed process may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// How long `mqd --version` may take.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);
/// A log that is larger than this when its node starts is set aside as `mqd.log.1`.
const MAX_LOG: u64 = 16 << 20;
/// How much of the end of a log an error shows.
const EXCERPT_LINES: usize = 10;
const EXCERPT_BYTES: u64 = 8 << 10;
/// The largest configuration file that is read back.
const MAX_CONFIG: u64 = 1 << 20;
/// Where the data of nodes goes that are no more.
const REMOVED: &str = "removed";
/// How many ports are tried before there is no free one.
const PORT_TRIES: u32 = 1_000;
/// Ports that the kernel does not give to outgoing connections, so that a node finds its own again.
const QUIET_PORTS: std::ops::Range<u16> = 15_000..32_000;

/// The nodes of one fleet on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    fleet: String,
    directory: PathBuf,
    mqd: Option<PathBuf>,
    contexts: Contexts,
    /// Set where another machine deploys the nodes of this one.
    host: Option<Host>,
    /// The logs that are being read, by node.
    tails: Arc<Mutex<BTreeMap<String, Tail>>>,
}

/// What is different about nodes that another machine deploys: it has their authority, and has sent what they
/// are started from.
#[derive(Clone, Debug)]
pub struct Host {
    /// The folder with the daemon that nodes are started from, beside others that were there before.
    pub release: PathBuf,
    /// Who keeps the nodes running; `None`: no service manager.
    pub manager: Option<Manager>,
    /// Without a service manager: whether a process of ours keeps them running.
    pub is_keeping: bool,
}

impl Local {
    /// The fleet called `fleet` below the user's state directory. `mqd` is the binary to start,
    /// `contexts` tell whose port it is that is in use.
    pub fn new(fleet: &str, mqd: Option<PathBuf>, contexts: Contexts) -> Outcome<Self> {
        let directory = base(env::STATE_HOME, ".local/state")?.join("mq").join(fleet);
        Ok(Self { fleet: fleet.to_owned(), directory, mqd, contexts, host: None, tails: Arc::default() })
    }

    /// The nodes in `directory` that another machine deploys.
    pub fn of_host(fleet: &str, directory: PathBuf, host: Host) -> Self {
        let mqd = Some(host.release.join("mqd"));
        let contexts = Contexts::default();
        Self { fleet: fleet.to_owned(), directory, mqd, contexts, host: Some(host), tails: Arc::default() }
    }

    fn manager(&self) -> Option<Manager> {
        self.host.as_ref().and_then(|host| host.manager)
    }

    /// The command line of the node's keeper; `None`: it has none.
    fn keeper(&self, node: &str) -> Option<Vec<String>> {
        self.host.as_ref().filter(|host| host.is_keeping)?;
        let programs = self.node_directory(node).join(CURRENT);
        let text = |path: &Path| path.display().to_string();
        let directory = text(&self.directory);
        let (mq, release) = (text(&programs.join("mq")), text(&programs));
        let words = [
            &mq,
            "agent",
            "--fleet",
            &self.fleet,
            "--directory",
            &directory,
            "--release",
            &release,
            "--supervision",
            "none",
            "keep",
            "--node",
            node,
        ];
        Some(words.map(str::to_owned).into())
    }

    /// Has somebody look after a node that runs, now and after the next boot.
    fn look_after(&self, node: &str) -> Outcome {
        let Some(mut words) = self.keeper(node) else { return Ok(()) };
        keeper::start(&words)?;
        words.push("--boots".into());
        keeper::start_at_boot(&self.node_directory(node), &words).map(drop)
    }

    /// Forgets who is to look after the node after the next boot.
    fn abandon(&self, node: &str) -> Outcome {
        self.keeper(node).map_or(Ok(()), |_| keeper::forget_at_boot(&self.node_directory(node)))
    }

    fn unit(&self, node: &str) -> String {
        unit_name(&self.fleet, node)
    }

    pub fn node_directory(&self, node: &str) -> PathBuf {
        self.directory.join(node)
    }

    fn config(&self, node: &str) -> Option<DaemonConfig> {
        config_of(&self.node_directory(node))
    }

    /// Asks a node to stop; says whether there was anybody to ask.
    async fn ask(&self, node: &str) -> Outcome<bool> {
        let state = self.state(node);
        if self.node_directory(node).exists() {
            keeper::unwant(&self.node_directory(node))?;
        }
        // One that its manager is about to start again holds no lock.
        let unit = self.unit_of(node).await?;
        let is_running = is_locked(&state)?;
        match unit {
            Some((manager, unit)) => manager.stop(&unit).await?,
            None if is_running => signal(&state, Signal::TERM)?,
            None => {}
        }
        Ok(is_running)
    }

    /// The service that the node is now, when it is one.
    async fn unit_of(&self, node: &str) -> Outcome<Option<(Manager, String)>> {
        let Some(manager) = self.manager() else { return Ok(None) };
        let unit = self.unit(node);
        let state = manager.state(&unit).await?;
        Ok((state.is_up() || state.sub == "auto-restart" || state.active == "deactivating")
            .then_some((manager, unit)))
    }

    fn admin(&self, node: &str) -> Outcome<Admin> {
        let state = self.state(node);
        match runtime(&state) {
            Some(runtime) if is_locked(&state)? => self.entry(node).admin(&runtime),
            _ => Err(Failure::new(Exit::Unreachable, format!("the node `{node}` does not run"))),
        }
    }

    /// Makes, or renews, what the node proves itself with.
    fn equip(&self, node: &DaemonConfig) -> Outcome {
        if node.mesh.is_none() && node.tls.is_none() {
            return Ok(());
        }
        let now = Timestamp::now();
        let state = self.state(&node.node);
        create_private(&state)?;
        if self.host.is_some() {
            // Whoever deploys has seen to it.
            return Ok(());
        }
        let authority = Authority::of_fleet(&self.directory, &self.fleet, now)?;
        if let Some(mesh) = &node.mesh {
            authority.equip(&node.node, &state, &mesh.tls, now)?;
        }
        if node.tls.is_some() {
            authority.equip_for_clients(node, &state, now)?;
            authority.equip_admin(&self.directory, now)?;
        }
        Ok(())
    }

    /// Gives the node's files to the user that it runs as.
    pub async fn hand_over(&self, node: &str) -> Outcome {
        match self.manager() {
            Some(Manager::System) => service::give(&self.node_directory(node), service::daemon_user().await?),
            _ => Ok(()),
        }
    }

    /// The binary of the daemon.
    pub fn daemon(&self) -> Outcome<PathBuf> {
        if let Some(path) = self.mqd.clone().or_else(|| env::path(env::MQD)) {
            if path.is_file() {
                return fs::canonicalize(&path).map_err(|error| Failure::file("find", &path, &error));
            }
            let message = format!("cannot find the daemon's binary: {} is not a file", path.display());
            return Err(Failure::failed(message).help(format!("correct --mqd or {}", env::MQD)));
        }
        let beside = std::env::current_exe().ok().and_then(|mq| Some(mq.parent()?.join("mqd")));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|directory| directory.join("mqd"));
        let found = beside.into_iter().chain(in_path).find(|candidate| candidate.is_file());
        found.ok_or_else(|| {
            Failure::failed("cannot find the daemon's binary `mqd`, neither beside mq nor in PATH").help(
                format!(
                    "build it with `cargo build --release`, or say where it is with --mqd or {}",
                    env::MQD
                ),
            )
        })
    }

    async fn observe_node(&self, name: &str) -> Outcome<ObservedNode> {
        let directory = self.node_directory(name);
        if !directory.exists() {
            return Ok(ObservedNode::new(name, NodeState::Absent));
        }
        let mut node = ObservedNode::new(name, self.node_state(name).await?);
        node.config = self.config(name);
        node.leaving = leaving(&directory);
        if let Some(host) = &self.host {
            node.is_binary_old =
                fs::canonicalize(directory.join(CURRENT)).ok() != fs::canonicalize(&host.release).ok();
        }
        if let (NodeState::Running { .. }, Some(config)) = (&node.state, &node.config)
            && config.mesh.is_some()
        {
            node.holds = self.holds(name).await.ok();
        }
        Ok(node)
    }

    async fn node_state(&self, node: &str) -> Outcome<NodeState> {
        let state = self.state(node);
        if !is_locked(&state)? {
            return Ok(NodeState::Stopped { is_clean: !state.join("node.json").exists() });
        }
        let Some(runtime) = runtime(&state) else { return Ok(NodeState::Silent) };
        let admin = self.entry(node).admin(&runtime)?;
        if !admin.is_ready().await {
            return Ok(NodeState::Silent);
        }
        let is_running = admin.node().await.is_ok_and(|node| node.state == admin::NodeState::Running);
        match admin.statistics().await {
            Ok(statistics) if is_running => {
                Ok(NodeState::Running { runtime, connections: statistics.connections })
            }
            _ => Ok(NodeState::Silent),
        }
    }

    /// Starts the node's process, and says where in its log this run begins.
    async fn spawn(&self, node: &DaemonConfig) -> Outcome<(Process, u64)> {
        let directory = self.node_directory(&node.node);
        create_private(&directory)?;
        take_back_removal(&directory, &node.store_dir())?;
        let state = self.state(&node.node);
        if archive::is_arriving(&state) {
            let message = format!("what `{}` kept elsewhere is not in its place yet", node.node);
            return Err(Failure::new(Exit::Guarded, message)
                .help("run the `mq fleet import` again that was interrupted; it goes on"));
        }
        archive::forget(&state)?;
        self.equip(node)?;
        let config = directory.join("mqd.yaml");
        let text = serde_saphyr::to_string(node)
            .map_err(|error| Failure::failed(format!("cannot write the configuration: {error}")))?;
        replace(&config, format!("# Written by `mq deploy`, which overwrites it.\n{text}").as_bytes())?;
        let (log, start) = open_log(&directory)?;
        let program = Program::of(node.dataplane, || self.daemon())?;
        let program = match &self.host {
            Some(host) => program.below(&switch(&directory, &host.release)?),
            None => program,
        };
        let process = match self.manager() {
            Some(manager) => Process::Unit(manager, self.start_unit(manager, node, &program).await?),
            None => {
                if self.keeper(&node.node).is_some() {
                    keeper::want(&directory, node.dataplane)?;
                }
                Process::Child(start_child(&program, &config, &directory, log)?)
            }
        };
        Ok((process, start))
    }

    async fn start_unit(&self, manager: Manager, node: &DaemonConfig, program: &Program) -> Outcome<String> {
        let directory = self.node_directory(&node.node);
        if manager == Manager::System {
            let store = node.store_dir();
            if !store.starts_with(&directory) {
                create_private(&store)?;
                service::give(&store, service::daemon_user().await?)?;
            }
            self.hand_over(&node.node).await?;
            // The node's user finds its folder, and what it is started from, by way of these.
            for folder in [self.directory.parent(), Some(self.directory.as_path())].into_iter().flatten() {
                passable(folder)?;
            }
        }
        let name = self.unit(&node.node);
        manager.install(&name, &service::unit(manager, node, &directory, program)).await?;
        manager.start(&name).await?;
        Ok(name)
    }

    /// Why the node's process ended, with the end of what it said.
    fn died(&self, node: &str, status: &str, log_start: u64) -> Failure {
        let log = self.node_directory(node).join("mqd.log");
        let excerpt = excerpt(&log, log_start).unwrap_or_default();
        let mut message = format!("the node `{node}` ended while it was starting: {status}");
        for line in excerpt {
            message.push_str(QUOTE);
            message.push_str(&line);
        }
        Failure::failed(message).help(format!("the whole log: {}", log.display()))
    }

    fn late(&self, node: &str, deadline: Duration) -> Failure {
        let message = format!("the node `{node}` was not ready within {}", crate::shape::elapsed(deadline));
        Failure::new(Exit::TimedOut, message).help(format!(
            "look at {log}; stop and start it with `mq restart {node} --name {fleet}`, or stop all nodes with `mq \
             undeploy --name {fleet}`",
            log = self.node_directory(node).join("mqd.log").display(),
            fleet = self.fleet
        ))
    }

    /// Whether the node could have its ports; its own are free for it once it has stopped.
    fn check_ports(&self, node: &DaemonConfig, held: Option<&Runtime>) -> Outcome {
        // One that hangs has its ports all the same.
        let state = self.state(&node.node);
        let hung = match held {
            None if is_locked(&state)? => runtime(&state),
            _ => None,
        };
        let held = held.or(hung.as_ref());
        let ports: Vec<u16> = held.iter().flat_map(|held| &held.listeners).map(|held| held.port).collect();
        for (name, listener) in node.listeners.named() {
            self.check_port((&listener.host, listener.port), &format!("--{name}-port"), &ports)?;
        }
        if let Some(mesh) = &node.mesh {
            // What is there before the first start of a meshed node is its own port, too.
            let own = self.config(&node.node).and_then(|config| config.mesh);
            let is_own = held.is_some_and(|_| own.is_some_and(|own| own.listen == mesh.listen));
            let MeshListener { host, port } = &mesh.listen;
            if !is_own {
                self.check_port((host, *port), "--mesh-port", &ports)?;
            }
        }
        Ok(())
    }

    fn check_port(&self, (host, port): (&str, u16), flag: &str, held: &[u16]) -> Outcome {
        let Ok(address) = host.parse::<IpAddr>() else {
            return Err(Failure::usage(format!("cannot listen on `{host}`: not an IP address")));
        };
        if port == 0 || held.contains(&port) {
            return Ok(());
        }
        let Err(error) = TcpListener::bind((address, port)) else { return Ok(()) };
        let place = format!("{host}:{port}");
        if error.kind() != io::ErrorKind::AddrInUse {
            let message = format!("cannot listen on {place}: {}", reason(&error));
            return Err(Failure::failed(message).help(format!("choose another port with {flag}")));
        }
        let message = match self.fleet_on(port) {
            Some(fleet) => format!("cannot listen on {place}: the fleet `{fleet}` has this port"),
            None => format!("cannot listen on {place}: another program has this port"),
        };
        let help = format!("choose another port with {flag} PORT (0 picks a free one), or stop what has it");
        Err(Failure::failed(message).help(help))
    }

    fn fleet_on(&self, port: u16) -> Option<&str> {
        let end = format!(":{port}");
        let contexts = self.contexts.contexts.iter().filter(|(name, context)| {
            let urls = [Some(&context.amqp), context.mqtt.as_ref(), context.admin.as_ref()];
            **name != self.fleet
                && context.state.is_some()
                && urls.into_iter().flatten().any(|url| url.ends_with(&end))
        });
        contexts.map(|(name, _)| name.as_str()).next()
    }
}

impl Backend for Local {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn place(&self) -> String {
        "on this machine".into()
    }

    async fn lock(&self, command: &str) -> Outcome<Lock> {
        create_private(&self.directory)?;
        Lock::take(&self.directory, &self.fleet, command, &env::whoami())
    }

    async fn kept(&self) -> Outcome<BTreeMap<String, DaemonConfig>> {
        let names = node_names(&self.directory)?.into_iter();
        Ok(names.filter_map(|name| self.config(&name).map(|config| (name, config))).collect())
    }

    async fn nodes(&self) -> Outcome<Vec<String>> {
        node_names(&self.directory)
    }

    async fn runtimes(&self) -> Outcome<Vec<Runtime>> {
        let names = node_names(&self.directory)?.into_iter();
        Ok(names.filter_map(|name| runtime(&self.state(&name))).collect())
    }

    fn state(&self, node: &str) -> PathBuf {
        state_of_node(&self.node_directory(node))
    }

    fn free_port(&self, host: &str, taken: &BTreeSet<u16>) -> Outcome<u16> {
        free_port(host, taken)
    }

    fn mesh_address(&self, _: &str) -> Option<String> {
        None
    }

    fn reached(&self, runtime: &Runtime) -> Runtime {
        runtime.clone()
    }

    fn entry(&self, node: &str) -> Entry {
        let state = self.state(node);
        Entry::of_node(&state, runtime(&state).as_ref(), || self.config(node))
            .of_administrator(&self.directory)
    }

    fn context(&self, runtimes: &[Runtime]) -> Option<Context> {
        let places: Vec<Place> = runtimes.iter().filter_map(place).collect();
        let Place { amqp, mqtt, admin, .. } = places.first().cloned()?;
        // A fleet of one is as it always was in the file.
        let nodes = if places.len() > 1 { places } else { Vec::new() };
        Some(Context { amqp, mqtt, admin, nodes, state: Some(self.directory.clone()), ..Context::default() })
    }

    async fn renew(&self, nodes: &[DaemonConfig]) -> Outcome<Vec<String>> {
        let now = Timestamp::now();
        let mut renewed = Vec::new();
        for node in nodes.iter().filter(|node| node.tls.is_some() || node.mesh.is_some()) {
            let state = self.state(&node.node);
            // What the node runs with: one that gets other names is restarted for them.
            let Some(running) = self.config(&node.node) else { continue };
            let mesh = running.mesh.as_ref().filter(|_| self.directory.join("ca").exists());
            if mesh.is_none() && running.tls.is_none() {
                continue;
            }
            let authority = Authority::of_fleet(&self.directory, &self.fleet, now)?;
            let mut is_new = match mesh {
                Some(mesh) => authority.equip(&node.node, &state, &mesh.tls, now)?,
                None => false,
            };
            if running.tls.is_some() {
                authority.equip_admin(&self.directory, now)?;
                is_new |= authority.equip_for_clients(&running, &state, now)?;
            }
            if is_new {
                renewed.push(node.node.clone());
            }
        }
        Ok(renewed)
    }

    async fn certificates(&self, node: &DaemonConfig) -> Outcome<Vec<String>> {
        authority::shown(node, &self.state(&node.node))
    }

    async fn sweep(&self, now: Timestamp) -> Outcome {
        let folder = self.directory.join(REMOVED);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(note) = removed(&path).filter(|note| note.until < now) else { continue };
            // The note goes last: without it nobody would know of a log elsewhere.
            for path in note.store.iter().chain([&path]) {
                match fs::remove_dir_all(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Failure::file("delete", path, &error));
                    }
                    _ => {}
                }
            }
        }
        self.host.as_ref().map_or(Ok(()), |host| prune(&self.directory, &host.release))
    }

    async fn observe(&self, nodes: &[DaemonConfig]) -> Outcome<Vec<ObservedNode>> {
        let wanted = nodes.iter().map(|node| node.node.clone());
        let mut observed = Vec::with_capacity(nodes.len());
        for name in wanted.chain(node_names(&self.directory)?) {
            if !observed.iter().any(|found: &ObservedNode| found.name == name) {
                observed.push(self.observe_node(&name).await?);
            }
        }
        Ok(observed)
    }

    async fn version(&self) -> Outcome<Option<String>> {
        let daemon = self.daemon()?;
        let mut command = tokio::process::Command::new(&daemon);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let Ok(finished) = tokio::time::timeout(VERSION_DEADLINE, command.output()).await else {
            let message = format!("`{} --version` did not end within 5s", daemon.display());
            return Err(Failure::failed(message).help("is it the mqd of mq?"));
        };
        let finished = finished.map_err(|error| Failure::file("start", &daemon, &error))?;
        let text = String::from_utf8_lossy(&finished.stdout);
        Ok(text.split_whitespace().nth(1).filter(|_| text.starts_with("mqd ")).map(str::to_owned))
    }

    async fn preflight(&self, starts: &[(&DaemonConfig, Option<&Runtime>)]) -> Outcome {
        if starts.is_empty() {
            return Ok(());
        }
        for (node, _) in starts {
            Program::of(node.dataplane, || self.daemon())?;
            plane::check_installed(node)?;
        }
        let problems = starts.iter().filter_map(|(node, held)| self.check_ports(node, *held).err());
        match problems.collect::<Vec<_>>().as_slice() {
            [] => Ok(()),
            [only] => Err(only.clone()),
            [first, rest @ ..] => {
                let mut failure = first.clone();
                rest.iter().for_each(|other| failure.message.push_str(&format!("\n  and {}", other.message)));
                Err(failure)
            }
        }
    }

    async fn start(&self, node: &DaemonConfig, deadline: Duration, output: &Output) -> Outcome<Runtime> {
        let (mut process, log_start) = self.spawn(node).await?;
        let state = self.state(&node.node);
        let waiting = Waiting::new(output, format!("{} is starting", node.node));
        let end = Instant::now() + deadline;
        loop {
            let life = process.life().await?;
            if let Life::Ended(how) = life {
                return Err(self.died(&node.node, &how, log_start));
            }
            // A node.json of an earlier process is not about this one.
            let runtime = runtime(&state).filter(|runtime| life == Life::Runs(runtime.pid));
            if let Some(runtime) = runtime
                && self.entry(&node.node).admin(&runtime)?.is_ready().await
            {
                self.look_after(&node.node)?;
                return Ok(runtime);
            }
            if Instant::now() >= end {
                return Err(self.late(&node.node, deadline));
            }
            waiting.tick();
            tokio::time::sleep(POLL).await;
        }
    }

    async fn wait_ready(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Runtime> {
        let waiting = Waiting::new(output, format!("waiting for {node}"));
        let end = Instant::now() + deadline;
        loop {
            match self.node_state(node).await? {
                NodeState::Running { runtime, .. } => return Ok(runtime),
                NodeState::Silent => {}
                NodeState::Absent | NodeState::Stopped { .. } => {
                    let message = format!("the node `{node}` ended while mq waited for it");
                    return Err(Failure::failed(message).help("run `mq deploy` again"));
                }
            }
            if Instant::now() >= end {
                return Err(self.late(node, deadline));
            }
            waiting.tick();
            tokio::time::sleep(POLL).await;
        }
    }

    async fn stop(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Stopped> {
        if !self.ask(node).await? {
            return Ok(Stopped::Already);
        }
        self.await_stop(node, deadline, output).await
    }

    async fn await_stop(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Stopped> {
        let state = self.state(node);
        let waiting = Waiting::new(output, format!("{node} is stopping"));
        if is_released(&state, deadline, &waiting).await? {
            return Ok(Stopped::Drained);
        }
        match self.unit_of(node).await? {
            Some((manager, unit)) => manager.kill(&unit).await?,
            None => signal(&state, Signal::KILL)?,
        }
        if is_released(&state, KILL_DEADLINE, &waiting).await? {
            return Ok(Stopped::Killed);
        }
        let message = format!("the node `{node}` is still there after it was killed");
        Err(Failure::failed(message).help(format!("see what holds {}", state.join("mqd.lock").display())))
    }

    async fn ask_to_stop(&self, node: &str) -> Outcome<bool> {
        if let Some(manager) = self.manager() {
            manager.disable(&self.unit(node)).await?;
        }
        self.ask(node).await
    }

    async fn report(&self, node: &str, depth: bool) -> Outcome<Report> {
        let mut report = report_of(&self.admin(node)?, node, depth).await?;
        if self.config(node).is_some_and(|config| !config.dataplane.is_default()) {
            // What others count is not of this moment: nothing is promised by it.
            report.stored = 0;
        }
        Ok(report)
    }

    async fn order(&self, node: &str, order: Order) -> Outcome<NodeDrain> {
        self.admin(node)?.order(order).await
    }

    async fn holds(&self, node: &str) -> Outcome<NodeDrain> {
        self.admin(node)?.holds().await
    }

    async fn note_leaving(&self, node: &str, leaving: Option<Leaving>) -> Outcome {
        let path = self.node_directory(node).join(LEAVING);
        match leaving {
            Some(Leaving::Draining) => replace(&path, b"draining\n"),
            Some(Leaving::Empty) => replace(&path, b"empty\n"),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Failure::file("delete", &path, &error))
                }
                _ => Ok(()),
            },
        }
    }

    async fn retire(&self, node: &str, retain: Duration) -> Outcome<String> {
        self.abandon(node)?;
        if let Some(manager) = self.manager() {
            manager.remove(&self.unit(node)).await?;
        }
        let directory = self.node_directory(node);
        let now = Timestamp::now();
        let folder = self.directory.join(REMOVED);
        create_private(&folder)?;
        let target = folder.join(format!("{node}-{}", now.as_millisecond()));
        // A log elsewhere must not be found by a node of the same name that comes later.
        let store = self.config(node).map(|config| config.store_dir());
        let store = store.filter(|store| !store.starts_with(&directory) && store.exists());
        let aside = store.as_ref().map(|store| {
            let mut name = store.file_name().unwrap_or_default().to_owned();
            name.push(format!(".removed-{}", now.as_millisecond()));
            store.with_file_name(name)
        });
        let until = now.checked_add(retain).unwrap_or(Timestamp::MAX);
        // Whoever was interrupted before has set it aside already.
        let noted =
            removed(&directory).and_then(|note| note.store).filter(|noted| store.is_none() && noted.exists());
        let note = Removed { node: node.to_owned(), at: now, until, store: noted.or_else(|| aside.clone()) };
        let text = serde_json::to_string(&note).unwrap_or_default();
        // First of all, so that nothing is ever where nobody knows of it.
        replace(&directory.join(NOTE), text.as_bytes())?;
        if let (Some(store), Some(aside)) = (&store, &note.store) {
            fs::rename(store, aside).map_err(|error| Failure::file("rename", store, &error))?;
        }
        fs::rename(&directory, &target).map_err(|error| Failure::file("rename", &directory, &error))?;
        Ok(target.display().to_string())
    }

    async fn last_words(&self, node: &str) -> Vec<String> {
        excerpt(&self.node_directory(node).join("mqd.log"), 0).unwrap_or_default()
    }

    async fn log(&self, node: &str, lines: Option<u32>) -> Outcome<Vec<u8>> {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.node_directory(node).join("mqd.log");
        let tail = match (tails.entry(node.to_owned()), lines) {
            (btree_map::Entry::Occupied(open), None) => open.into_mut(),
            (entry, lines) => {
                let opened = Tail::open(path, lines.unwrap_or(0) as usize)?;
                match entry {
                    btree_map::Entry::Occupied(mut open) => {
                        open.insert(opened);
                        open.into_mut()
                    }
                    btree_map::Entry::Vacant(place) => place.insert(opened),
                }
            }
        };
        tail.read()
    }

    async fn pack(&self, _: &str, places: &Places, to: &Path) -> Outcome<String> {
        let file = archive::create(to)?;
        let checksum = archive::pack(places, &file)?;
        file.sync_all().map_err(|error| Failure::file("write", to, &error))?;
        Ok(checksum)
    }

    async fn unpack(&self, node: &str, places: &Places, from: &Path, checksum: &str) -> Outcome {
        create_private(&self.node_directory(node))?;
        let file = File::open(from).map_err(|error| Failure::file("read", from, &error))?;
        archive::unpack(places, file, checksum)
    }

    async fn adopt(&self, _: &str, places: &Places, checksum: &str) -> Outcome {
        archive::adopt(places, checksum)
    }

    async fn purge(&self) -> Outcome {
        node_names(&self.directory)?.iter().try_for_each(|node| self.abandon(node))?;
        if let Some(manager) = self.manager() {
            for node in node_names(&self.directory)? {
                manager.remove(&self.unit(&node)).await?;
            }
        }
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file("delete", &self.directory, &error))
            }
            _ => Ok(()),
        }
    }
}

/// The process of a node that is being started.
enum Process {
    Child(Child),
    Unit(Manager, String),
}

/// Whether a process lives.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Life {
    /// It has this id.
    Runs(u32),
    /// Nobody has seen it yet.
    Awaited,
    Ended(String),
}

impl Process {
    async fn life(&mut self) -> Outcome<Life> {
        match self {
            Self::Child(child) => match child.try_wait() {
                Ok(Some(status)) => Ok(Life::Ended(status.to_string())),
                Ok(None) => Ok(Life::Runs(child.id())),
                Err(error) => Err(Failure::failed(format!("cannot wait for the node: {}", reason(&error)))),
            },
            Self::Unit(manager, unit) => {
                let state = manager.state(unit).await?;
                if state.is_up() {
                    return Ok(state.process.map_or(Life::Awaited, Life::Runs));
                }
                if state.result == "success" {
                    // The order to start it has not been looked at yet.
                    return Ok(Life::Awaited);
                }
                // One that cannot start is not tried for ever.
                manager.stop(unit).await?;
                Ok(Life::Ended(state.result))
            }
        }
    }
}

/// A process of its own that outlives this one.
pub(super) fn start_child(program: &Program, config: &Path, directory: &Path, log: File) -> Outcome<Child> {
    let errors = log.try_clone().map_err(|error| Failure::file("open", directory, &error))?;
    // A group of its own: Ctrl-C in this terminal is not meant for the daemon.
    Command::new(&program.path)
        .args(program.arguments)
        .arg("--config")
        .arg(config)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(|error| Failure::file("start", &program.path, &error))
}

/// The link of a node to the release that it is started from.
pub(super) const CURRENT: &str = "current";
/// Where the releases of a fleet are.
pub const RELEASES: &str = "releases";
/// How many releases are kept beside those that nodes run from.
const KEPT_RELEASES: usize = 3;

/// Points the node's link at a release, in one step, and returns the link.
fn switch(directory: &Path, release: &Path) -> Outcome<PathBuf> {
    let link = directory.join(CURRENT);
    let new = directory.join("current.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file("delete", &new, &error));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(release, &new)
        .and_then(|()| fs::rename(&new, &link))
        .and_then(|()| sync_parent(&link))
        .map_err(|error| Failure::file("write", &link, &error))?;
    Ok(link)
}

/// Deletes all releases but the last ones, this one, and those that a node runs from.
fn prune(fleet: &Path, release: &Path) -> Outcome {
    let folder = fleet.join(RELEASES);
    let mut used: Vec<PathBuf> = vec![release.to_owned()];
    used.extend(
        node_names(fleet)?.iter().filter_map(|node| fs::read_link(fleet.join(node).join(CURRENT)).ok()),
    );
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((entry.metadata().and_then(|found| found.modified()).ok()?, entry.path())))
        .collect();
    found.sort();
    let old = found.len().saturating_sub(KEPT_RELEASES);
    for (_, path) in found.into_iter().take(old).filter(|(_, path)| !used.contains(path)) {
        fs::remove_dir_all(&path).map_err(|error| Failure::file("delete", &path, &error))?;
    }
    Ok(())
}

/// Lets everybody through a folder, and look into it nobody.
fn passable(path: &Path) -> Outcome {
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(path, mode).map_err(|error| Failure::file("change the rights of", path, &error))
}

/// What is known of the data of a node that is no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    node: String,
    at: Timestamp,
    /// When it is deleted.
    until: Timestamp,
    /// Where its log is, when that lies elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
}

/// The file that says what became of a node that is no more.
const NOTE: &str = "removed.json";

fn removed(directory: &Path) -> Option<Removed> {
    serde_json::from_str(&read_bounded(&directory.join(NOTE), MAX_CONFIG).ok()?).ok()
}

/// Takes back a removal that was interrupted: the node is wanted again, with the log that it had.
fn take_back_removal(directory: &Path, store: &Path) -> Outcome {
    let Some(note) = removed(directory) else { return Ok(()) };
    if let Some(aside) = note.store.filter(|aside| aside.exists() && !store.exists()) {
        fs::rename(&aside, store).map_err(|error| Failure::file("rename", &aside, &error))?;
    }
    let path = directory.join(NOTE);
    fs::remove_file(&path).map_err(|error| Failure::file("delete", &path, &error))
}

/// The file that says that a node is on its way out of the fleet.
const LEAVING: &str = "leaving";

fn leaving(directory: &Path) -> Option<Leaving> {
    match read_bounded(&directory.join(LEAVING), 64).ok()?.trim() {
        "empty" => Some(Leaving::Empty),
        _ => Some(Leaving::Draining),
    }
}

/// The mesh as the node sees it; `None`: the node is alone.
/// What a running node says of itself; with `depth` also what has left it.
pub(super) async fn report_of(admin: &Admin, node: &str, depth: bool) -> Outcome<Report> {
    let found = admin.node().await?;
    let statistics = admin.statistics().await?;
    let mut report = Report {
        version: found.version,
        config_hash: found.config_hash,
        is_running: found.state == admin::NodeState::Running,
        stored: found.store.map_or(0, |store| store.messages),
        unsettled: statistics.unsettled,
        ..Report::default()
    };
    if let Some(mesh) = mesh(admin).await? {
        report.see(&mesh);
    }
    if depth {
        // Asked after the store: what leaves in between counts twice, and not never.
        report.left = left(node, &admin.addresses().await?);
    }
    Ok(report)
}

async fn mesh(admin: &Admin) -> Outcome<Option<Mesh>> {
    match admin.mesh().await {
        Ok(mesh) => Ok(Some(mesh)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The messages that have left the queues of this node since it started.
fn left(node: &str, addresses: &[mq_model::manifest::Address]) -> u64 {
    let statuses = addresses.iter().filter_map(|address| address.status.as_ref());
    let own = statuses.filter(|status| status.home.as_deref().is_none_or(|home| home == node));
    let queues = own.filter_map(|status| status.queue.as_ref());
    queues.map(|queue| queue.acknowledged + queue.expired + queue.dropped + queue.dead_lettered).sum()
}

/// A free port of `host` that is none of those in `taken`.
pub fn free_port(host: &str, taken: &BTreeSet<u16>) -> Outcome<u16> {
    let address: IpAddr =
        host.parse().map_err(|_| Failure::usage(format!("`{host}` is not an IP address")))?;
    let candidates = (0..PORT_TRIES).map(|_| fastrand::u16(QUIET_PORTS));
    let mut free = candidates
        .filter(|port| !taken.contains(port))
        .filter(|port| TcpListener::bind((address, *port)).is_ok());
    free.next().ok_or_else(|| {
        Failure::failed(format!("there is no free port on {host}")).help("say one with --mesh-port PORT")
    })
}

/// A spinner while somebody watches, silence otherwise.
pub(super) struct Waiting(ProgressBar);

impl Waiting {
    pub(super) fn new(output: &Output, message: String) -> Self {
        let bar = if output.is_watched() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_message(message);
        Self(bar)
    }

    pub(super) fn tick(&self) {
        self.0.tick();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How a node was told to run, given its directory.
pub fn config_of(directory: &Path) -> Option<DaemonConfig> {
    let path = directory.join("mqd.yaml");
    let text = read_bounded(&path, MAX_CONFIG).ok()?;
    DaemonConfig::parse(&path.display().to_string(), &text).ok()
}

/// Where a node keeps its state, given its directory.
pub fn state_of_node(directory: &Path) -> PathBuf {
    directory.join("state")
}

/// The names of the node directories in a fleet's directory, by number.
pub fn node_names(fleet: &Path) -> Outcome<Vec<String>> {
    let entries = match fs::read_dir(fleet) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file("read", fleet, &error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| node_number(name).is_some())
        .collect();
    names.sort_by_key(|name| node_number(name));
    Ok(names)
}

/// Whether a process uses the state directory.
pub fn is_locked(state: &Path) -> Outcome<bool> {
    let path = state.join("mqd.lock");
    let file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Failure::file("open", &path, &error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(Failure::file("lock", &path, &error)),
    }
}

async fn is_released(state: &Path, deadline: Duration, waiting: &Waiting) -> Outcome<bool> {
    let end = Instant::now() + deadline;
    while is_locked(state)? {
        if Instant::now() >= end {
            return Ok(false);
        }
        waiting.tick();
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

/// Sends a signal to the process that holds the lock.
fn signal(state: &Path, signal: Signal) -> Outcome {
    let Some(pid) = owner(state) else {
        let message = format!("cannot tell which process uses {}", state.display());
        return Err(Failure::failed(message).help("find it with `lsof`, and stop it"));
    };
    match kill_process(pid, signal) {
        // It has just ended by itself.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => {
            let error = io::Error::from(error);
            Err(Failure::failed(format!(
                "cannot stop the process {}: {}",
                pid.as_raw_nonzero(),
                reason(&error)
            )))
        }
    }
}

/// The process that holds the lock wrote its id into the lock's file, and into `node.json` once it served.
fn owner(state: &Path) -> Option<Pid> {
    let lock = read_bounded(&state.join("mqd.lock"), 64).ok();
    let from_lock = lock.and_then(|text| text.trim().parse::<i32>().ok());
    let from_runtime = || runtime(state).and_then(|runtime| i32::try_from(runtime.pid).ok());
    // 0 and negative numbers would name groups of processes.
    Pid::from_raw(from_lock.or_else(from_runtime).filter(|pid| *pid > 1)?)
}

/// Directories with state are nobody else's business.
pub fn create_private(path: &Path) -> Outcome {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| Failure::file("create", path, &error))
}

/// The log, opened for appending, and the position at which this run begins.
pub(super) fn open_log(directory: &Path) -> Outcome<(File, u64)> {
    let path = directory.join("mqd.log");
    let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
    if size > MAX_LOG {
        fs::rename(&path, directory.join("mqd.log.1"))
            .map_err(|error| Failure::file("rename", &path, &error))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| Failure::file("open", &path, &error))?;
    Ok((file, if size > MAX_LOG { 0 } else { size }))
}

/// The last lines that were written after `start`.
fn excerpt(log: &Path, start: u64) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(size.saturating_sub(EXCERPT_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(EXCERPT_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines.iter().skip(lines.len().saturating_sub(EXCERPT_LINES)).map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(directory: &Path) -> Local {
        Local {
            fleet: "test".into(),
            directory: directory.join("test"),
            mqd: None,
            contexts: Contexts::default(),
            host: None,
            tails: Arc::default(),
        }
    }

    #[test]
    fn a_removal_that_was_interrupted_is_taken_back_with_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (node, store) = (directory.path().join("node-2"), directory.path().join("log"));
        let aside = directory.path().join("log.removed-1");
        for folder in [&node, &aside] {
            fs::create_dir(folder).unwrap();
        }
        let (at, until) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let note = Removed { node: "node-2".into(), at, until, store: Some(aside.clone()) };
        fs::write(node.join(NOTE), serde_json::to_string(&note).unwrap()).unwrap();
        take_back_removal(&node, &store).unwrap();
        assert!(store.exists() && !aside.exists() && !node.join(NOTE).exists());
        take_back_removal(&node, &store).unwrap();
        assert!(store.exists(), "there is nothing more to take back");
    }

    #[test]
    fn a_port_that_another_program_has_is_named_with_the_flag_that_changes_it() {
        let directory = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let local = local(directory.path());
        let failure = local.check_port(("127.0.0.1", port), "--amqp-port", &[]).unwrap_err();
        let expected = format!("cannot listen on 127.0.0.1:{port}: another program has this port");
        assert_eq!(failure.message, expected);
        assert!(failure.help.unwrap().contains("--amqp-port PORT"));
        let own = local.check_port(("127.0.0.1", port), "--amqp-port", &[port]);
        assert!(own.is_ok(), "the node's own port");
    }

    #[test]
    fn two_commands_cannot_change_one_fleet_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let local = local(directory.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lock = || runtime.block_on(local.lock("mq deploy"));
        let _lock = lock().unwrap();
        assert_eq!(lock().unwrap_err().exit, Exit::Conflict);
    }

    #[test]
    fn a_lock_that_nobody_holds_means_that_the_node_is_dead() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_locked(directory.path()).unwrap());
        let file = File::create(directory.path().join("mqd.lock")).unwrap();
        assert!(!is_locked(directory.path()).unwrap());
        file.lock().unwrap();
        assert!(is_locked(directory.path()).unwrap());
    }

    #[test]
    fn no_signal_goes_to_a_group_of_processes() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["0", "-1", "1", "", "x"] {
            fs::write(directory.path().join("mqd.lock"), text).unwrap();
            assert_eq!(owner(directory.path()), None, "{text:?}");
        }
    }

    #[test]
    fn an_excerpt_is_the_end_of_what_this_run_said() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("mqd.log");
        fs::write(&log, "old\nnew 1\nnew 2\n").unwrap();
        assert_eq!(excerpt(&log, 4).unwrap(), ["new 1", "new 2"]);
    }

    #[test]
    fn a_daemon_that_is_not_there_is_an_error_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let local = Local { mqd: Some(directory.path().join("nothing")), ..local(directory.path()) };
        let failure = local.daemon().unwrap_err();
        assert!(failure.message.contains("is not a file"), "{failure}");
    }
}
