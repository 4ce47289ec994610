//! Nodes that know each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Once;
use std::thread::JoinHandle;

use mq_model::admin::Protocol;
use mq_model::config::{DaemonConfig, Log, Mesh, MeshConnect, MeshListener};
use mq_model::manifest::AddressType;
use mqd::app::App;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::authority::Authority;
use crate::client::Client;
use crate::node::Node;
use crate::support::{address, config, get, send_json, wait_for};

/// A fleet on loopback, in this process.
pub(crate) struct Fleet {
    directory: TempDir,
    authority: Authority,
    members: Vec<Member>,
}

/// A running node.
struct Member {
    node: Node,
    name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// A fleet without nodes.
    pub(crate) fn new() -> Self {
        show_logs();
        Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("test"),
            members: Vec::new(),
        }
    }

    /// So many nodes, each connected to each other.
    pub(crate) fn of(count: usize) -> Self {
        let mut fleet = Self::new();
        for _ in 0..count {
            let others: Vec<SocketAddr> = fleet.members.iter().map(|member| member.node.mesh).collect();
            fleet.add(&others, |_| {});
        }
        fleet.wait_until_whole();
        fleet
    }

    /// Adds a node that connects to these mesh listeners.
    pub(crate) fn add(&mut self, connect: &[SocketAddr], change: impl FnOnce(&mut DaemonConfig)) -> Node {
        let name = format!("node-{}", self.members.len() + 1);
        let member = self.start(name, connect, change);
        let node = member.node;
        self.members.push(member);
        node
    }

    /// The directory of a node.
    fn state(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self, name: String, connect: &[SocketAddr], change: impl FnOnce(&mut DaemonConfig)) -> Member {
        let state = self.state(&name);
        let files = state.join("tls");
        std::fs::create_dir_all(&files).unwrap();
        let mut config = config(&state);
        "test".clone_into(&mut config.fleet);
        config.node.clone_from(&name);
        let target = |address: &SocketAddr| MeshConnect {
            host: address.ip().to_string(),
            port: address.port(),
            cost: None,
        };
        config.mesh = Some(Mesh {
            listen: MeshListener { host: "127.0.0.1".to_owned(), port: 0 },
            connect: connect.iter().map(target).collect(),
            cost: 1,
            connections: 0,
            tls: self.authority.issue(&name, &files),
            heartbeat_ms: 200,
            timeout_ms: 1_000,
        });
        change(&mut config);
        let (_, log) = mqd::log::build(&Log::default(), false, std::io::sink).unwrap();
        let app = App::build(config, log).unwrap();
        let of = |protocol| {
            let listener = app.listeners().iter().find(|listener| listener.protocol == protocol).unwrap();
            SocketAddr::new(listener.host.parse().unwrap(), listener.port)
        };
        let node = Node {
            amqp: of(Protocol::Amqp),
            mqtt: of(Protocol::Mqtt),
            http: of(Protocol::Http),
            mesh: of(Protocol::Mesh),
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || app.run(async { drop(stopped.await) }).unwrap());
        wait_for("a node to be ready", || (get(node.http, "/readyz").status == 200).then_some(()));
        Member { node, name, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn node(&self, index: usize) -> Node {
        self.members[index].node
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        &self.members[index].name
    }

    /// The home of a queue or topic, in the words of a node.
    pub(crate) fn home(&self, index: usize, address: &str) -> String {
        let address = get(self.node(index).http, &format!("/api/v1/addresses/{address}")).json();
        address["status"]["home"].as_str().unwrap_or_default().to_owned()
    }

    /// Adds a node whose certificate another authority has signed.
    pub(crate) fn add_stranger(&mut self, connect: &[SocketAddr]) -> Node {
        let files = self.directory.path().join("stranger");
        std::fs::create_dir_all(&files).unwrap();
        let name = format!("node-{}", self.members.len() + 1);
        let tls = Authority::new("test").issue(&name, &files);
        self.add(connect, |config| {
            if let Some(mesh) = &mut config.mesh {
                mesh.tls = tls;
            }
        })
    }

    /// Adds a process that calls itself what another node is called, with a certificate that says so, too.
    pub(crate) fn add_namesake(&mut self, name: &str, connect: &[SocketAddr]) -> Node {
        let files = self.directory.path().join("namesake");
        std::fs::create_dir_all(&files).unwrap();
        let tls = self.authority.issue(name, &files);
        self.add(connect, |config| {
            name.clone_into(&mut config.node);
            if let Some(mesh) = &mut config.mesh {
                mesh.tls = tls;
            }
        })
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        Client::connect(&self.members[index].node, 0)
    }

    /// Waits until every node reaches every other.
    pub(crate) fn wait_until_whole(&self) {
        let count = self.members.len();
        for member in &self.members {
            wait_for("the fleet to be whole", || (self.up(member.node) == count).then_some(()));
        }
    }

    /// How many nodes a node reaches, itself among them.
    pub(crate) fn up(&self, node: Node) -> usize {
        let mesh = get(node.http, "/api/v1/mesh").json();
        let nodes = mesh["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().filter(|node| node["state"] == "up").count()
    }

    /// Creates an address at a node, and waits until every node has it.
    pub(crate) fn create(&self, name: &str, kind: AddressType) {
        let path = format!("/api/v1/addresses/{name}");
        let answer = send_json(self.node(0).http, "PUT", &path, &address(name, kind));
        assert_eq!(answer.status, 201, "{}", answer.text());
        for member in &self.members {
            wait_for("an address to be everywhere", || {
                (get(member.node.http, &path).status == 200).then_some(())
            });
        }
    }

    /// Stops a node, which keeps its place and its disk. Its former self is not to be spoken to.
    pub(crate) fn halt(&mut self, index: usize) {
        self.members[index].end();
    }

    /// Starts a node again. It connects to those before it; those behind it do not know where it is now.
    pub(crate) fn resume(&mut self, index: usize) {
        let others: Vec<SocketAddr> = self.members[..index].iter().map(|member| member.node.mesh).collect();
        let name = self.members[index].name.clone();
        self.members[index] = self.start(name, &others, |_| {});
    }

    /// Stops a node as an operator would.
    pub(crate) fn stop(&mut self, index: usize) {
        let mut member = self.members.remove(index);
        member.end();
    }
}

/// Shows what the nodes log when `MQ_TESTS_LOG` says what is wanted.
fn show_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Ok(filter) = std::env::var("MQ_TESTS_LOG") {
            let log = Log { filter, ..Log::default() };
            let (subscriber, _) = mqd::log::build(&log, false, std::io::stderr).unwrap();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        }
    });
}

impl Member {
    fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let done = thread.join();
            assert!(done.is_ok() || std::thread::panicking(), "a node panicked");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // All at once: none has to wait for the others.
        for member in &mut self.members {
            member.stop.take();
        }
        for member in &mut self.members {
            member.end();
        }
    }
}
