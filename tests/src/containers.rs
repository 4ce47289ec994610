//! Containers as a cluster's machines run them: a containerd of a test's own, each container in a network of its own.
//!
//! It takes root, `containerd` with `runc`, and namespaces; where they are missing the test says so and is left out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mq_model::config::{DaemonConfig, Mesh, MeshConnect, MeshListener, MeshTls, Where};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{Finished, Running};
use crate::daemon::report;
use crate::network::Network;
use crate::wait::{PATIENCE, eventually, eventually_within};

/// The containerd namespace of the tests.
const NAMESPACE: &str = "mq-tests";

/// What the node of a fleet called `tests` reads in a container of its own: it listens at every address, and connects to
/// the nodes at `others`. `file` says where a file of its certificate is.
pub fn node_config(
    node: &str,
    others: impl Iterator<Item = String>,
    timeout_ms: u32,
    file: impl Fn(&str) -> String,
) -> DaemonConfig {
    const MESH: u16 = 7672;
    let mut config = DaemonConfig::embedded("/var/lib/mq");
    config.fleet = "tests".into();
    node.clone_into(&mut config.node);
    config.authentication.anonymous = Where::Everywhere;
    for listener in [&mut config.listeners.amqp, &mut config.listeners.mqtt, &mut config.listeners.http] {
        listener.host = "0.0.0.0".into();
    }
    let file = |name: &str| file(name).into();
    config.mesh = Some(Mesh {
        listen: MeshListener { host: "0.0.0.0".into(), port: MESH },
        connect: others.map(|host| MeshConnect { host, port: MESH, cost: None }).collect(),
        tls: MeshTls { ca: file("ca.pem"), certificate: file("node.pem"), key: file("node.key") },
        cost: 1,
        connections: 0,
        heartbeat_ms: 500,
        timeout_ms,
    });
    config
}

/// A containerd, and a network with a place for each container. Dropping it ends both, and the containers.
#[derive(Debug)]
pub struct Containers {
    daemon: Child,
    folder: TempDir,
    network: Network,
    count: usize,
}

impl Containers {
    /// Room for so many containers, or `None` and a word to the reader of the test's output.
    ///
    /// # Panics
    /// When containerd does not start.
    pub fn new_or_say_why(count: usize) -> Option<Self> {
        match Self::new(count) {
            Ok(containers) => Some(containers),
            Err(reason) => {
                report(&format!("left out: no containers for tests here: {reason}"));
                None
            }
        }
    }

    fn new(count: usize) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("that takes root".into());
        }
        for program in ["containerd", "ctr", "runc", "unshare"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            found.map_err(|error| format!("{program}: {error}"))?;
        }
        let network = Network::new(count)?;
        let folder = TempDir::with_prefix("mq-containers-").map_err(|error| error.to_string())?;
        let place = folder.path();
        let (config, log) = (place.join("config.toml"), place.join("containerd.log"));
        fs::write(&config, configuration(place)).map_err(|error| error.to_string())?;
        let log = File::create(log).map_err(|error| error.to_string())?;
        // What it mounts goes with its last process, and nobody else sees it.
        let daemon = Command::new("unshare")
            .args(["--mount", "--propagation", "slave", "containerd", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let containers = Self { daemon, folder, network, count };
        eventually("containerd to answer", || (containers.ctr("version").code == Some(0)).then_some(()));
        Ok(containers)
    }

    /// The network: container 1 is at its place 1, and so on.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A folder that is there as long as containerd.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes in an archive with an image.
    ///
    /// # Panics
    /// When containerd does not take it.
    #[track_caller]
    pub fn import(&self, archive: &Path) {
        let imported = self.start(&format!("images import {}", archive.display()));
        imported.finish_within(4 * PATIENCE).succeeds();
    }

    /// Runs the image's own entry point without arguments as the image's own user, until it ends.
    #[track_caller]
    pub fn try_image(&self, image: &str) -> Finished {
        self.ctr(&format!("run --rm --read-only {image} trial"))
    }

    /// Starts a container: a command as the image's own user, on a root that nobody writes to. `folders` are mounted at
    /// the places beside them, those that end in `:ro` to be read alone.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn run(&self, number: usize, image: &str, folders: &[(PathBuf, &str)], command: &str) {
        let mut line = format!(
            "run --detach --read-only --with-ns network:/run/netns/{} --log-uri file://{}",
            self.network.namespace(number),
            self.log(number).display(),
        );
        for (folder, place) in folders {
            let (place, right) = place.strip_suffix(":ro").map_or((*place, "rw"), |place| (place, "ro"));
            let mount =
                format!(" --mount type=bind,src={},dst={place},options=rbind:{right}", folder.display());
            line.push_str(&mount);
        }
        line.push_str(&format!(" {image} {} {command}", id(number)));
        self.ctr(&line).succeeds();
    }

    /// Runs something else in a container that runs.
    #[track_caller]
    pub fn execute(&self, number: usize, line: &str) -> Finished {
        self.ctr(&format!("tasks exec --exec-id look {} {line}", id(number)))
    }

    /// The first process of a container, as the machine knows it; `None` when it has ended.
    #[track_caller]
    pub fn process(&self, number: usize) -> Option<u32> {
        let listed = self.ctr("tasks list").succeeds();
        let row = listed.lines().into_iter().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(id(number).as_str())).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        })?;
        row.get(1).filter(|state| *state == "RUNNING")?;
        row.first()?.parse().ok()
    }

    /// Ends a container as a cluster does, and says with which code it has ended.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&self, number: usize) -> Option<i32> {
        self.ctr(&format!("tasks kill --signal SIGTERM {}", id(number))).succeeds();
        eventually("the end of the container", || self.process(number).is_none().then_some(()));
        self.ctr(&format!("tasks delete {}", id(number))).code
    }

    /// What a container has written.
    pub fn talk(&self, number: usize) -> String {
        fs::read_to_string(self.log(number)).unwrap_or_default()
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{}.log", id(number)))
    }

    #[track_caller]
    fn ctr(&self, arguments: &str) -> Finished {
        self.start(arguments).finish()
    }

    #[track_caller]
    fn start(&self, arguments: &str) -> Running {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.folder.path().join("socket")).args(["--namespace", NAMESPACE]);
        command.args(arguments.split_whitespace());
        Running::start(command, "")
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for number in 1..=self.count {
            if std::thread::panicking() {
                report(&format!("---- log of container {number}\n{}\n----", self.talk(number)));
            }
            // One that has never started, or has ended, is as good. Containerd leaves those that run to the next one.
            self.ctr(&format!("tasks delete --force {}", id(number)));
        }
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        if !std::thread::panicking() {
            let daemon = &mut self.daemon;
            eventually_within(PATIENCE, "the end of containerd", || daemon.try_wait().ok().flatten());
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn id(number: usize) -> String {
    format!("container-{number}")
}

/// Everything of it in one folder, and nothing of what only a cluster needs.
fn configuration(folder: &Path) -> String {
    let place = folder.display();
    format!(
        "version = 2\nroot = \"{place}/root\"\nstate = \"{place}/state\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\naddress = \"{place}/socket\"\n"
    )
}
