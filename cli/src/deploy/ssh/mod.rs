//! Nodes on other machines, reached with `ssh`.
//!
//! Each machine has a folder for the fleet that looks like that of nodes on this machine: `~/.local/state/mq/<fleet>`,
//! of root `/var/lib/mq/<fleet>`. In it are the releases, sent once each, and the folders of its nodes. An agent of the
//! release that is deployed does there what [`Local`](super::local::Local) does here; this only decides who is
//! asked. What was deployed and the fleet's authority stay on this machine; a node's private key never leaves its own.

mod release;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future;
use jiff::Timestamp;
use mq_model::{
    admin::{Listener, NodeDrain, Protocol, Runtime},
    config::{DaemonConfig, ListenerTls, MeshTls},
    manifest::{Fleet, SshHost, Supervision, Target},
    mesh::{node_name, node_number},
};
use tokio::{io::AsyncReadExt, process::Child, task::JoinSet};

pub use self::transport::Tunnel;
use self::{
    release::{AGENT, Release, stage},
    transport::{Master, Sockets, Ways, how, last_line},
};
use super::{
    Backend, Order, Stopped,
    agent::{Ask, Asker, Facts, PROTOCOL, skew, timed},
    archive::Places,
    authority::{Authority, Issued, PublicKey, Wish},
    entry::Entry,
    gate::Report,
    local::{Local, Waiting, create_private},
    lock::Lock,
    plan::{Leaving, NodeState, ObservedNode},
};
use crate::{
    context::{Context, Place},
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::place,
    shape,
};

/// How far the clock of a host may be apart from this one's: certificates have dates.
const MAX_SKEW: Duration = Duration::from_secs(60);
/// How much of what an agent complains about is remembered.
const MAX_COMPLAINT: u64 = 16 << 10;

/// The nodes of one fleet on other machines.
#[derive(Debug)]
pub struct Ssh {
    fleet: String,
    /// What is known of the fleet on this machine.
    directory: PathBuf,
    target: Target,
    /// The hosts that are wanted, in their order, then those that had nodes before.
    hosts: Vec<Host>,
    /// The hosts of the nodes that are there, by name.
    placed: BTreeMap<String, usize>,
    /// The nodes that were last seen running.
    running: Mutex<BTreeSet<String>>,
    /// With what the nodes are entered that were seen running.
    entries: Mutex<BTreeMap<String, Entry>>,
    /// The ways to what listens on the loopback of a host.
    ways: Mutex<BTreeMap<(String, u16), Way>>,
    /// Goes when no connection needs it any more.
    _sockets: Sockets,
}

/// One machine.
#[derive(Debug)]
struct Host {
    host: SshHost,
    agent: Asker,
    facts: Facts,
    /// How far its clock is apart from this one's at least.
    skew: Duration,
    master: Master,
    /// The folder of the programs there.
    release: String,
    release_is_new: bool,
}

impl Host {
    /// Has the programs there move what a node keeps: from `input`, or into `output`. Returns what they say of it.
    async fn move_data(
        &self,
        (fleet, what): (&str, &str),
        places: &Places,
        checksum: &str,
        (input, output): (Stdio, Stdio),
    ) -> Outcome<String> {
        let [directory, state, store] =
            [&self.facts.directory, &places.state, &places.store].map(|path| path.display().to_string());
        let arguments = [
            &self.release,
            "--fleet",
            fleet,
            "--directory",
            &directory,
            "--supervision",
            "none",
            what,
            "--state",
            &state,
            "--store",
            &store,
            "--checksum",
            checksum,
        ];
        let mut child = self
            .master
            .script(AGENT, &arguments)
            .stdin(input)
            .stdout(output)
            .spawn()
            .map_err(|error| Failure::file("run", Path::new("ssh"), &error))?;
        let mut said = Vec::new();
        if let Some(errors) = child.stderr.take() {
            // What cannot be read says nothing; how it ended is looked at.
            let _ = errors.take(MAX_COMPLAINT).read_to_end(&mut said).await;
        }
        let ended = child.wait().await.map_err(|error| Failure::failed(format!("{}: {error}", self.host)))?;
        let said = String::from_utf8_lossy(&said).into_owned();
        if ended.success() {
            return Ok(last_line(&said).unwrap_or_default());
        }
        Err(Failure::failed(format!("{}: {}", self.host, said.trim().trim_start_matches("error: ")))
            .help("run the same command again"))
    }
}

/// A way to a port of a node.
#[derive(Debug)]
struct Way {
    port: u16,
    _ways: Arc<Ways>,
}

/// What to connect to, and with what.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub fleet: &'a Fleet,
    /// Hosts that had nodes of the fleet before, each with their names.
    pub former: &'a [(SshHost, Vec<String>)],
    /// Nodes that are given up: a host that had no others need not be there.
    pub abandoned: &'a [String],
    /// The daemons to start nodes from, one for each architecture.
    pub daemons: &'a [PathBuf],
}

impl Ssh {
    /// Connects to all hosts at once, and has an agent on each.
    ///
    /// # Errors
    ///
    /// All hosts that cannot be worked with, each with its reason; nodes that are not where they should be.
    pub async fn connect(wanted: Wanted<'_>, output: &Output) -> Outcome<Self> {
        let Wanted { fleet, former, abandoned, daemons } = wanted;
        let target = fleet.spec.target.clone();
        let name = fleet.metadata.name.clone();
        let local = Local::new(&name, None, crate::context::Contexts::default())?;
        let releases: Outcome<Vec<Release>> = daemons.iter().map(|daemon| Release::of(daemon)).collect();
        let supervision = match &target {
            Target::Local | Target::Kubernetes(_) => Supervision::None,
            Target::Ssh(ssh) => ssh.supervision(),
        };
        let mut all: Vec<SshHost> = hosts_of(fleet).into_iter().map(|(host, _)| host).collect();
        let wanted = all.len();
        for (host, _) in former {
            if !all.iter().any(|known| known.address == host.address) {
                all.push(host.clone());
            }
        }
        let sockets = Sockets::new()?;
        let waiting =
            Waiting::new(output, format!("connecting to {}", shape::plural(all.len() as u64, "host")));
        let connected = connect_all(&all, &sockets, (&name, &releases?, supervision)).await?;
        drop(waiting);
        let (mut hosts, mut failures) = (Vec::new(), Vec::new());
        for (index, connected) in connected.into_iter().enumerate() {
            let nodes = former
                .iter()
                .find(|(host, _)| all.get(index).is_some_and(|other| other.address == host.address));
            let is_given_up = index >= wanted
                && nodes.is_some_and(|(_, nodes)| nodes.iter().all(|node| abandoned.contains(node)));
            match connected {
                Ok(host) => hosts.push(host),
                Err(failure) if is_given_up => {
                    let nodes = nodes.map(|(_, nodes)| nodes.join(", ")).unwrap_or_default();
                    output.warn(&format!(
                        "{}; {nodes} given up as asked for: see to it that nothing starts there again",
                        failure.message
                    ));
                }
                Err(failure) => failures.push(failure),
            }
        }
        if let Some(failure) = together(failures) {
            return Err(failure);
        }
        let sent: Vec<String> =
            hosts.iter().filter(|host| host.release_is_new).map(|host| host.host.to_string()).collect();
        if !sent.is_empty() {
            output.talk(&format!("sent mq and mqd to {}", sent.join(", ")));
        }
        let mut ssh = Self {
            fleet: name,
            directory: local.directory().to_owned(),
            target,
            hosts,
            placed: BTreeMap::new(),
            running: Mutex::default(),
            entries: Mutex::default(),
            ways: Mutex::default(),
            _sockets: sockets,
        };
        ssh.place_nodes(fleet.spec.nodes()).await?;
        Ok(ssh)
    }

    /// Finds out which nodes are where.
    async fn place_nodes(&mut self, wanted: u32) -> Outcome {
        for (index, host) in self.hosts.iter().enumerate() {
            for node in host.agent.ask::<Vec<String>>(Ask::Nodes).await? {
                let other = self.placed.insert(node.clone(), index);
                if let Some(other) = other.and_then(|other| self.hosts.get(other)) {
                    let message = format!("there is a `{node}` on {} and on {}", other.host, host.host);
                    return Err(Failure::new(Exit::Conflict, message).help(
                        "see which of them is of the fleet, and stop and move away the other by hand",
                    ));
                }
                let number = node_number(&node).filter(|number| *number <= wanted);
                let should = number.and_then(|number| self.target.host_of(number));
                if let Some(should) = should.filter(|should| should.address != host.host.address) {
                    let message = format!("`{node}` is on {}, and the fleet wants it on {should}", host.host);
                    return Err(Failure::new(Exit::Guarded, message).help(format!(
                        "nothing was changed; keep the hosts in their order and put new ones at the end, or scale \
                         down until `{node}` is gone first"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The machine of a node: where it is, or where it should be.
    fn host(&self, node: &str) -> Outcome<&Host> {
        let should = || {
            let wanted = self.target.host_of(node_number(node)?)?;
            self.hosts.iter().position(|host| host.host.address == wanted.address)
        };
        let index = self.placed.get(node).copied().or_else(should);
        index
            .and_then(|index| self.hosts.get(index))
            .ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no host for the node `{node}`")))
    }

    /// Asks every host at once, and gives the answers in the order of the hosts.
    async fn ask_each<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        ask: impl Fn(&Host) -> Ask,
    ) -> Vec<Outcome<T>> {
        let asked: Vec<_> = self
            .hosts
            .iter()
            .map(|host| {
                let (agent, ask) = (host.agent.clone(), ask(host));
                tokio::spawn(async move { agent.ask::<T>(ask).await })
            })
            .collect();
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            let ended = |error| Failure::failed(format!("cannot ask: {error}"));
            answers.push(answer.await.map_err(ended).and_then(|answer| answer));
        }
        answers
    }

    /// As [`ask_each`](Self::ask_each), where every host has to answer.
    async fn ask_all<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        ask: impl Fn(&Host) -> Ask,
    ) -> Outcome<Vec<T>> {
        let (mut answers, mut failures) = (Vec::new(), Vec::new());
        for answer in self.ask_each(ask).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(failure) => failures.push(failure),
            }
        }
        together(failures).map_or(Ok(answers), Err)
    }

    /// Sees to it that a node has certificates of the fleet.
    async fn equip(&self, node: &DaemonConfig) -> Outcome {
        if node.mesh.is_none() && node.tls.is_none() {
            return Ok(());
        }
        create_private(&self.directory)?;
        let authority = Authority::of_fleet(&self.directory, &self.fleet, Timestamp::now())?;
        if let Some(mesh) = &node.mesh {
            self.equip_for_nodes(&authority, &node.node, &mesh.tls).await?;
        }
        self.equip_for_clients(&authority, node).await.map(drop)
    }

    /// Says whether the node got something.
    async fn equip_for_nodes(&self, authority: &Authority, name: &str, tls: &MeshTls) -> Outcome<bool> {
        let (agent, now) = (&self.host(name)?.agent, Timestamp::now());
        let (node, tls) = (name.to_owned(), tls.clone());
        let held: Option<Issued> = agent.ask(Ask::Held { node: node.clone(), tls: tls.clone() }).await?;
        if authority.is_good(name, held.as_ref(), now) {
            return agent.ask(Ask::Trust { node, tls, ca: authority.trusted().to_owned() }).await;
        }
        let public: PublicKey = agent.ask(Ask::NewKey { node: node.clone(), tls: tls.clone() }).await?;
        let signed = authority.sign(name, &public, now)?;
        agent.ask::<()>(Ask::Accept { node, tls, signed }).await?;
        Ok(true)
    }

    /// The same for what it shows to clients; says whether it got something.
    async fn equip_for_clients(&self, authority: &Authority, node: &DaemonConfig) -> Outcome<bool> {
        if node.tls.is_none() {
            return Ok(false);
        }
        let (agent, now) = (&self.host(&node.node)?.agent, Timestamp::now());
        authority.equip_admin(&self.directory, now)?;
        let node = Box::new(node.clone());
        let Some(wish) = agent.ask::<Option<Wish>>(Ask::Wish { node: node.clone() }).await? else {
            return Ok(false);
        };
        let signed = authority.sign_for_clients(&wish, now)?;
        let is_new = signed.is_some();
        let ca = authority.trusted().to_owned();
        agent.ask::<()>(Ask::AcceptForClients { node, ca, signed }).await?;
        Ok(is_new)
    }

    /// Running nodes whose authority is not on this machine: nodes that it equips would not be believed by them.
    async fn strangers(&self) -> Outcome<Vec<String>> {
        let is_there = self.directory.join("ca").exists();
        let authority = is_there.then(|| Authority::of_fleet(&self.directory, &self.fleet, Timestamp::now()));
        let authority = authority.transpose()?;
        let is_ours =
            |issued: &Issued| authority.as_ref().is_some_and(|authority| authority.believes(issued));
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut problems = Vec::new();
        for (node, config) in self.kept().await? {
            let Some(mesh) = config.mesh.filter(|_| running.contains(&node)) else { continue };
            let host = self.host(&node)?;
            let held: Option<Issued> =
                host.agent.ask(Ask::Held { node: node.clone(), tls: mesh.tls }).await?;
            if held.is_some_and(|issued| !is_ours(&issued)) {
                problems.push(format!(
                    "{}: `{node}` runs with a certificate of an authority that is not in {}; deploy from the machine \
                     that deployed it, or `mq fleet export` there and `mq fleet import` here",
                    host.host,
                    self.directory.display()
                ));
            }
        }
        Ok(problems)
    }

    /// Makes ways to what nodes have on loopback there, all at once.
    async fn reach(&self, runtimes: &[&Runtime]) -> Outcome {
        let opening = runtimes.iter().map(|runtime| self.reach_one(runtime));
        future::try_join_all(opening).await?;
        Ok(())
    }

    async fn reach_one(&self, runtime: &Runtime) -> Outcome {
        let host = self.host(&runtime.node)?;
        let entry: Entry = host.agent.ask(Ask::Entry { node: runtime.node.clone() }).await?;
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(runtime.node.clone(), entry);
        let closed = self.closed(runtime)?;
        if closed.is_empty() {
            return Ok(());
        }
        let opened = Arc::new(host.master.forward(&closed).await?);
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, there), port) in closed.into_iter().zip(opened.relay.ports.clone()) {
            ways.insert((runtime.node.clone(), there), Way { port, _ways: Arc::clone(&opened) });
        }
        Ok(())
    }

    /// The places of a node that this machine cannot connect to, and that no way leads to yet.
    fn closed(&self, runtime: &Runtime) -> Outcome<Vec<(String, u16)>> {
        let is_indirect = self.host(&runtime.node)?.master.is_indirect;
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        // Without TLS the token of the node's owner could be read on the way.
        let is_bare =
            |listener: &Listener| listener.protocol == Protocol::Http && listener.tls == ListenerTls::Never;
        let closed = runtime.listeners.iter();
        let closed =
            closed.filter(|listener| is_indirect || is_loopback(&listener.host) || is_bare(listener));
        let closed = closed.map(|listener| (there(&listener.host), listener.port));
        Ok(closed.filter(|(_, port)| !ways.contains_key(&(runtime.node.clone(), *port))).collect())
    }

    /// Where this host's nodes reach those of others.
    fn others(&self, host: &Host, starts: &[(DaemonConfig, Option<Runtime>)]) -> Vec<(String, u16)> {
        let meshes = starts.iter().filter_map(|(node, _)| node.mesh.as_ref());
        let places: BTreeSet<(String, u16)> = meshes
            .flat_map(|mesh| &mesh.connect)
            .map(|connect| (connect.host.clone(), connect.port))
            .collect();
        places.into_iter().filter(|(name, _)| name != host.host.mesh_address()).collect()
    }
}

/// An agent on each of these hosts, or why there is none.
async fn connect_all(
    hosts: &[SshHost],
    sockets: &Sockets,
    (fleet, releases, supervision): (&str, &[Release], Supervision),
) -> Outcome<Vec<Outcome<Host>>> {
    let mut connecting = JoinSet::new();
    let sockets = Arc::new(sockets.path().to_owned());
    for (number, host) in hosts.iter().cloned().enumerate() {
        let (sockets, fleet, releases) = (sockets.clone(), fleet.to_owned(), releases.to_vec());
        connecting.spawn(async move {
            (number, connect(host, &sockets.join(number.to_string()), &fleet, &releases, supervision).await)
        });
    }
    let mut found = BTreeMap::new();
    while let Some(connected) = connecting.join_next().await {
        let (number, connected) =
            connected.map_err(|error| Failure::failed(format!("cannot connect: {error}")))?;
        found.insert(number, connected);
    }
    Ok(found.into_values().collect())
}

async fn connect(
    host: SshHost,
    socket: &Path,
    fleet: &str,
    releases: &[Release],
    supervision: Supervision,
) -> Outcome<Host> {
    let master = Master::connect(&host, socket).await?;
    let staged = stage(&master, fleet, releases, &host.to_string()).await?;
    let supervision = match supervision {
        Supervision::Auto => "auto",
        Supervision::System => "system",
        Supervision::User => "user",
        Supervision::None => "none",
    };
    let arguments = [
        staged.release.as_str(),
        "--fleet",
        fleet,
        "--directory",
        &staged.directory,
        "--supervision",
        supervision,
    ];
    let started = master.script(AGENT, &arguments).stdin(Stdio::piped()).spawn();
    let mut child = started
        .map_err(|error| Failure::file("run", Path::new("ssh"), &error).help("install the OpenSSH client"))?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::failed(format!("{host}: there is no way to speak with its agent")));
    };
    let agent = Asker::new(host.to_string(), output, input, ending(child));
    let (facts, took) = timed(agent.ask::<Facts>(Ask::Hello)).await;
    let facts = facts?;
    if facts.protocol != PROTOCOL {
        let message = format!("{host}: its agent speaks version {} and not {PROTOCOL}", facts.protocol);
        return Err(Failure::failed(message).help("give the `mq` of this build beside `mqd`"));
    }
    let skew = skew(facts.now, Timestamp::now() - took, took);
    let release_is_new = staged.is_new;
    Ok(Host { host, agent, facts, skew, master, release: staged.release, release_is_new })
}

/// Why an agent has ended: the last that it, or `ssh`, complained about.
async fn ending(mut child: Child) -> String {
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        // What cannot be read explains nothing.
        let _ = errors.take(MAX_COMPLAINT).read_to_end(&mut said).await;
    }
    let status = child.wait().await.map_or_else(|error| error.to_string(), how);
    last_line(&String::from_utf8_lossy(&said)).unwrap_or(status)
}

/// Several failures as one, with the exit code of the first; `None`: there is none.
fn together(failures: Vec<Failure>) -> Option<Failure> {
    let mut failures = failures.into_iter();
    let mut first = failures.next()?;
    for other in failures {
        first.message.push_str(&format!("\n  and {}", other.message));
        first.help = match (first.help.take(), other.help) {
            (Some(help), Some(other)) if help != other => Some(format!("{help}; {other}")),
            (help, other) => help.or(other),
        };
    }
    Some(first)
}

fn is_loopback(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where a node that listens on `host` is reached on its own machine.
fn there(host: &str) -> String {
    match host {
        "0.0.0.0" => "127.0.0.1".into(),
        "::" => "::1".into(),
        host => host.to_owned(),
    }
}

impl Backend for Ssh {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn place(&self) -> String {
        format!("on {} over SSH", shape::plural(self.hosts.len() as u64, "host"))
    }

    async fn lock(&self, command: &str) -> Outcome<Lock> {
        create_private(&self.directory)?;
        let by = env::whoami();
        let lock = Lock::take(&self.directory, &self.fleet, command, &by)?;
        // Always in the same order, so that of two commands one gets all of them.
        let mut hosts: Vec<&Host> = self.hosts.iter().collect();
        hosts.sort_by(|one, other| one.host.address.cmp(&other.host.address));
        for host in hosts {
            host.agent.ask::<()>(Ask::Lock { command: command.to_owned(), by: by.clone() }).await?;
        }
        Ok(lock)
    }

    async fn kept(&self) -> Outcome<BTreeMap<String, DaemonConfig>> {
        let kept = self.ask_all::<BTreeMap<String, DaemonConfig>>(|_| Ask::Kept).await?;
        Ok(kept.into_iter().flatten().collect())
    }

    async fn nodes(&self) -> Outcome<Vec<String>> {
        let nodes = self.ask_all::<Vec<String>>(|_| Ask::Nodes).await?;
        let mut names: Vec<String> = nodes.into_iter().flatten().collect();
        names.sort_by_key(|name| node_number(name));
        Ok(names)
    }

    async fn runtimes(&self) -> Outcome<Vec<Runtime>> {
        // A host that is lost says nothing of its nodes, and the others are there all the same.
        let runtimes = self.ask_each::<Vec<Runtime>>(|_| Ask::Runtimes).await;
        let mut runtimes: Vec<Runtime> = runtimes.into_iter().flatten().flatten().collect();
        runtimes.sort_by_key(|runtime| node_number(&runtime.node));
        Ok(runtimes)
    }

    fn state(&self, node: &str) -> PathBuf {
        // A node without a host is refused before anybody looks there.
        match self.host(node) {
            Ok(host) => super::local::state_of_node(&host.facts.directory.join(node)),
            Err(_) => super::local::state_of_node(Path::new(node)),
        }
    }

    fn free_port(&self, _: &str, _: &BTreeSet<u16>) -> Outcome<u16> {
        Err(Failure::usage("a free port of another machine cannot be picked").help("say one in `mesh.port`"))
    }

    fn mesh_address(&self, node: &str) -> Option<String> {
        Some(self.host(node).ok()?.host.mesh_address().to_owned())
    }

    fn reached(&self, runtime: &Runtime) -> Runtime {
        let mut reached = runtime.clone();
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        for listener in &mut reached.listeners {
            if let Some(way) = ways.get(&(runtime.node.clone(), listener.port)) {
                (listener.host, listener.port) = ("127.0.0.1".into(), way.port);
            } else if matches!(listener.host.as_str(), "0.0.0.0" | "::")
                && let Ok(host) = self.host(&runtime.node)
            {
                listener.host.clone_from(&host.master.name);
            }
        }
        reached
    }

    fn entry(&self, node: &str) -> Entry {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(node).cloned().unwrap_or_default().of_administrator(&self.directory)
    }

    fn context(&self, runtimes: &[Runtime]) -> Option<Context> {
        let nodes: Vec<Place> = runtimes
            .iter()
            .filter_map(|runtime| {
                let host = self.host(&runtime.node).ok()?;
                let mut seen = runtime.clone();
                for listener in &mut seen.listeners {
                    // What only the host itself reaches stays as it is there: whoever wants it makes a way.
                    if host.master.is_indirect {
                        listener.host = there(&listener.host);
                    } else if matches!(listener.host.as_str(), "0.0.0.0" | "::") {
                        listener.host.clone_from(&host.master.name);
                    }
                }
                Some(Place { via: Some(host.host.clone()), ..place(&seen)? })
            })
            .collect();
        let Place { amqp, mqtt, admin, .. } = nodes.first().cloned()?;
        Some(Context { amqp, mqtt, admin, nodes, fleet: Some(self.directory.clone()), ..Context::default() })
    }

    async fn renew(&self, nodes: &[DaemonConfig]) -> Outcome<Vec<String>> {
        let mut renewed = Vec::new();
        let kept = self.kept().await?;
        // What the node runs with: one that gets other names is restarted for them.
        let running = nodes.iter().filter_map(|node| kept.get(&node.node));
        let has_authority = self.directory.join("ca").exists();
        for node in running.filter(|node| node.tls.is_some() || (node.mesh.is_some() && has_authority)) {
            let authority = Authority::of_fleet(&self.directory, &self.fleet, Timestamp::now())?;
            let mut is_new = match &node.mesh {
                Some(mesh) if has_authority => {
                    self.equip_for_nodes(&authority, &node.node, &mesh.tls).await?
                }
                _ => false,
            };
            is_new |= self.equip_for_clients(&authority, node).await?;
            if is_new {
                renewed.push(node.node.clone());
            }
        }
        Ok(renewed)
    }

    async fn certificates(&self, node: &DaemonConfig) -> Outcome<Vec<String>> {
        let ask = Ask::Certificates { node: Box::new(node.clone()) };
        self.host(&node.node)?.agent.ask(ask).await
    }

    async fn sweep(&self, now: Timestamp) -> Outcome {
        self.ask_all::<()>(|_| Ask::Sweep { now }).await.map(drop)
    }

    async fn observe(&self, nodes: &[DaemonConfig]) -> Outcome<Vec<ObservedNode>> {
        let wanted = |host: &Host| {
            let of_host = |node: &&DaemonConfig| {
                self.host(&node.node).is_ok_and(|found| found.host.address == host.host.address)
            };
            Ask::Observe(nodes.iter().filter(of_host).cloned().collect())
        };
        let observed = self.ask_all::<Vec<ObservedNode>>(wanted).await?;
        let mut observed: Vec<ObservedNode> = observed.into_iter().flatten().collect();
        observed.sort_by_key(|node| node_number(&node.name));
        let running = observed.iter().filter_map(|node| match &node.state {
            NodeState::Running { runtime, .. } => Some(runtime),
            _ => None,
        });
        let running: Vec<&Runtime> = running.collect();
        self.reach(&running).await?;
        let names = running.into_iter().map(|runtime| runtime.node.clone()).collect();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(observed)
    }

    async fn version(&self) -> Outcome<Option<String>> {
        let mut hosts = self.hosts.iter();
        let Some(first) = hosts.next() else { return Ok(None) };
        if let Some(other) = hosts.find(|other| other.facts.version != first.facts.version) {
            let version = |host: &Host| host.facts.version.clone().unwrap_or_else(|| "unknown".into());
            let message = format!(
                "{} would get mqd {} and {} mqd {}",
                first.host,
                version(first),
                other.host,
                version(other)
            );
            return Err(
                Failure::failed(message).help("give programs of the same version for every architecture")
            );
        }
        Ok(first.facts.version.clone())
    }

    async fn preflight(&self, starts: &[(&DaemonConfig, Option<&Runtime>)]) -> Outcome {
        let of_host = |host: &Host| {
            let own = |node: &str| self.host(node).is_ok_and(|found| found.host.address == host.host.address);
            let starts = starts.iter().filter(|(node, _)| own(&node.node));
            starts.map(|(node, held)| ((*node).clone(), held.cloned())).collect::<Vec<_>>()
        };
        let ask = |host: &Host| {
            let starts = of_host(host);
            Ask::Problems { reach: self.others(host, &starts), starts }
        };
        let found = self.ask_all::<Vec<String>>(ask).await?;
        let mut problems = if starts.is_empty() { Vec::new() } else { self.strangers().await? };
        for (host, found) in self.hosts.iter().zip(found) {
            if host.skew > MAX_SKEW && !of_host(host).is_empty() {
                problems.push(format!(
                    "{}: its clock is {} apart from this one's; set it right, for certificates have dates",
                    host.host,
                    shape::elapsed(host.skew)
                ));
            }
            problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", host.host)));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let count = shape::plural(problems.len() as u64, "problem");
        let message = format!("nothing was changed because of {count}:\n  - {}", problems.join("\n  - "));
        Err(Failure::failed(message).help("set that right and run the same command again"))
    }

    async fn start(&self, node: &DaemonConfig, deadline: Duration, output: &Output) -> Outcome<Runtime> {
        self.equip(node).await?;
        let waiting = Waiting::new(output, format!("{} is starting", node.node));
        waiting.tick();
        let start = Ask::Start { node: Box::new(node.clone()), deadline };
        let host = self.host(&node.node)?;
        let runtime: Runtime = host.agent.ask(start).await?;
        if host.facts.manager == "keeper" && !host.facts.starts_at_boot {
            output.warn(&format!(
                "{}: there is neither systemd nor cron, so that after a reboot {} has to be started with `mq deploy`",
                host.host, node.node
            ));
        }
        self.reach(&[&runtime]).await?;
        Ok(runtime)
    }

    async fn wait_ready(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Runtime> {
        let waiting = Waiting::new(output, format!("waiting for {node}"));
        waiting.tick();
        let ask = Ask::WaitReady { node: node.to_owned(), deadline };
        let runtime: Runtime = self.host(node)?.agent.ask(ask).await?;
        self.reach(&[&runtime]).await?;
        Ok(runtime)
    }

    async fn stop(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Stopped> {
        let waiting = Waiting::new(output, format!("{node} is stopping"));
        waiting.tick();
        self.host(node)?.agent.ask(Ask::Stop { node: node.to_owned(), deadline }).await
    }

    async fn ask_to_stop(&self, node: &str) -> Outcome<bool> {
        self.host(node)?.agent.ask(Ask::AskToStop { node: node.to_owned() }).await
    }

    async fn await_stop(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Stopped> {
        let waiting = Waiting::new(output, format!("{node} is stopping"));
        waiting.tick();
        self.host(node)?.agent.ask(Ask::AwaitStop { node: node.to_owned(), deadline }).await
    }

    async fn report(&self, node: &str, depth: bool) -> Outcome<Report> {
        self.host(node)?.agent.ask(Ask::Report { node: node.to_owned(), depth }).await
    }

    async fn order(&self, node: &str, order: Order) -> Outcome<NodeDrain> {
        self.host(node)?.agent.ask(Ask::Order { node: node.to_owned(), order }).await
    }

    async fn holds(&self, node: &str) -> Outcome<NodeDrain> {
        self.host(node)?.agent.ask(Ask::Holds { node: node.to_owned() }).await
    }

    async fn note_leaving(&self, node: &str, leaving: Option<Leaving>) -> Outcome {
        self.host(node)?.agent.ask(Ask::NoteLeaving { node: node.to_owned(), leaving }).await
    }

    async fn retire(&self, node: &str, retain: Duration) -> Outcome<String> {
        let host = self.host(node)?;
        let kept: String = host.agent.ask(Ask::Retire { node: node.to_owned(), retain }).await?;
        Ok(format!("{kept} on {}", host.host))
    }

    async fn last_words(&self, node: &str) -> Vec<String> {
        let Ok(host) = self.host(node) else { return Vec::new() };
        host.agent.ask(Ask::LastWords { node: node.to_owned() }).await.unwrap_or_default()
    }

    async fn log(&self, node: &str, lines: Option<u32>) -> Outcome<Vec<u8>> {
        let said: String = self.host(node)?.agent.ask(Ask::Log { node: node.to_owned(), lines }).await?;
        Ok(said.into_bytes())
    }

    async fn pack(&self, node: &str, places: &Places, to: &Path) -> Outcome<String> {
        let file = super::archive::create(to)?;
        let streams = (Stdio::null(), file.into());
        let checksum = self.host(node)?.move_data((&self.fleet, "pack"), places, "", streams).await?;
        let found = super::archive::checksum(to)?;
        if found == checksum {
            return Ok(found);
        }
        let message =
            format!("the data of `{node}` arrived damaged: its checksum is {found}, not {checksum}");
        Err(Failure::failed(message).help("run the same command again"))
    }

    async fn unpack(&self, node: &str, places: &Places, from: &Path, checksum: &str) -> Outcome {
        let file = File::open(from).map_err(|error| Failure::file("read", from, &error))?;
        let streams = (file.into(), Stdio::null());
        self.host(node)?.move_data((&self.fleet, "unpack"), places, checksum, streams).await.map(drop)
    }

    async fn adopt(&self, node: &str, places: &Places, checksum: &str) -> Outcome {
        let Places { state, store } = places.clone();
        self.host(node)?.agent.ask(Ask::Adopt { state, store, checksum: checksum.to_owned() }).await
    }

    async fn purge(&self) -> Outcome {
        self.ask_all::<()>(|_| Ask::Purge).await?;
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file("delete", &self.directory, &error))
            }
            _ => Ok(()),
        }
    }
}

/// Every host that a fleet has nodes on, with their names.
pub fn hosts_of(fleet: &Fleet) -> Vec<(SshHost, Vec<String>)> {
    let mut found: Vec<(SshHost, Vec<String>)> = Vec::new();
    for number in 1..=fleet.spec.nodes() {
        let Some(host) = fleet.spec.target.host_of(number) else { continue };
        let node = node_name(number);
        match found.iter_mut().find(|(known, _)| known == host) {
            Some((_, nodes)) => nodes.push(node),
            None => found.push((host.clone(), vec![node])),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_several_hosts_are_said_together() {
        let failure = |host: &str| {
            Failure::new(Exit::Unreachable, format!("{host}: no route")).help(format!("look after {host}"))
        };
        assert_eq!(together(Vec::new()), None);
        let both = together(vec![failure("h1"), failure("h2")]).unwrap();
        assert_eq!(both.message, "h1: no route\n  and h2: no route");
        assert_eq!(both.help.as_deref(), Some("look after h1; look after h2"));
        assert_eq!(both.exit, Exit::Unreachable);
    }

    #[test]
    fn hosts_without_nodes_are_no_hosts_of_the_fleet() {
        let hosts: Vec<SshHost> = ["a", "b", "c"].map(SshHost::new).into();
        let target = Target::Ssh(mq_model::manifest::SshTarget { hosts: hosts.clone(), supervision: None });
        let spec = mq_model::manifest::FleetSpec { nodes: Some(2), target, ..Default::default() };
        let found = hosts_of(&Fleet::new("f", spec));
        let names = |node: &str| vec![node.to_owned()];
        assert_eq!(found, [(hosts[0].clone(), names("node-1")), (hosts[1].clone(), names("node-2"))]);
    }
}
