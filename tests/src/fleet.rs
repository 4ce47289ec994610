//! A fleet of real daemons that find each other by configuration of the tests' own; with links that can break.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mq_model::admin::{Mesh, MeshNodeState};
use mq_model::config::{self, DaemonConfig, MeshConnect, MeshListener, Where};
use mq_model::manifest::{AddressSpec, AddressType};
use rustix::process::Signal;
use serde_json::json;

use crate::authority::Authority;
use crate::daemon::{Daemon, DaemonBuilder};
use crate::network::Network;
use crate::proxy::Proxy;
use crate::wait::{eventually, eventually_within};

/// The name of every fleet of the tests.
const FLEET: &str = "tests";

/// How long a fleet may take to come together on a busy machine; what it does take is measured.
const TOGETHER: Duration = Duration::from_secs(60);

/// A fleet that is about to start.
#[derive(Debug)]
pub struct FleetBuilder {
    builders: Vec<DaemonBuilder>,
    has_proxies: bool,
    /// Pairs of neighbours, the lower number first; all pairs unless it is said.
    links: Option<Vec<(usize, usize)>>,
    /// Where the nodes are; loopback unless it is said.
    network: Option<Network>,
}

/// A fleet of daemons, numbered from 1. Dropping it kills them.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Option<Daemon>>,
    proxies: BTreeMap<(usize, usize), Proxy>,
    network: Option<Network>,
    /// From the start of the first process until all saw each other.
    pub came_together_in: Duration,
}

impl FleetBuilder {
    /// Changes the configuration of each node, which is told its number.
    #[must_use]
    pub fn with(mut self, change: impl Fn(usize, &mut DaemonConfig)) -> Self {
        let numbered = self.builders.into_iter().enumerate();
        let changed = numbered.map(|(at, builder)| builder.with(|config| change(at + 1, config)));
        self.builders = changed.collect();
        self
    }

    /// Lets every link between two nodes pass through a relay: [`Fleet::link`].
    #[must_use]
    pub fn with_proxies(mut self) -> Self {
        self.has_proxies = true;
        self
    }

    /// Makes these pairs neighbours, and no others.
    #[must_use]
    pub fn linked(mut self, links: &[(usize, usize)]) -> Self {
        self.links = Some(links.iter().map(|&(one, other)| (one.min(other), one.max(other))).collect());
        self
    }

    /// Lets each node live in a place of its own; whoever asks it for anything is
    /// [among the clients](Network::clients).
    #[must_use]
    pub fn on(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Starts all nodes at once and waits until each of them reaches every other.
    ///
    /// # Panics
    /// When they do not come together.
    #[track_caller]
    pub fn start(self) -> Fleet {
        let authority = Authority::new(FLEET);
        let count = self.builders.len();
        let host = |number: usize| {
            self.network
                .as_ref()
                .map_or_else(|| Ipv4Addr::LOCALHOST.into(), |network| network.address(number))
        };
        let meshes: Vec<SocketAddr> = (1..=count).map(|number| (host(number), free_port()).into()).collect();
        let all = (1..=count).flat_map(|high| (1..high).map(move |low| (low, high)));
        let links = self.links.unwrap_or_else(|| all.collect());
        let mut proxies = BTreeMap::new();
        if self.has_proxies {
            proxies.extend(links.iter().map(|&link| (link, Proxy::new(meshes[link.0 - 1]))));
        }
        let begin = Instant::now();
        let mut members = Vec::new();
        for (at, builder) in self.builders.into_iter().enumerate() {
            let number = at + 1;
            let lower = links.iter().filter(|(_, high)| *high == number);
            let targets = lower
                .map(|link| proxies.get(link).map_or(meshes[link.0 - 1], |proxy: &Proxy| proxy.server()));
            let connect = targets.map(|server| MeshConnect {
                host: server.ip().to_string(),
                port: server.port(),
                cost: None,
            });
            let mesh = config::Mesh {
                listen: MeshListener { host: meshes[at].ip().to_string(), port: meshes[at].port() },
                connect: connect.collect(),
                tls: authority.issue(&name(number), &builder.folder().join("tls")),
                cost: 1,
                connections: 0,
                heartbeat_ms: 500,
                timeout_ms: 2_000,
            };
            // What is set already is a change that a test has asked for.
            let builder = builder.with(|config| {
                config.mesh = Some(config.mesh.take().unwrap_or(mesh));
                for listener in
                    [&mut config.listeners.amqp, &mut config.listeners.mqtt, &mut config.listeners.http]
                {
                    listener.host = host(number).to_string();
                }
                // On a network of the test's own nodes do not listen on loopback.
                config.authentication.anonymous = Where::Everywhere;
            });
            members.push(Some(match &self.network {
                Some(network) => network.at(number, || builder.launch()),
                None => builder.launch(),
            }));
        }
        let mut fleet = Fleet { members, proxies, network: self.network, came_together_in: Duration::ZERO };
        for member in fleet.members.iter_mut().flatten() {
            member.wait_until_it_serves();
        }
        fleet.wait_until_whole();
        fleet.came_together_in = begin.elapsed();
        fleet
    }
}

impl Fleet {
    /// A fleet of so many nodes, each a neighbour of each other, with two workers each.
    pub fn of(nodes: usize) -> FleetBuilder {
        let node = |number| {
            Daemon::builder().with(|config| {
                FLEET.clone_into(&mut config.fleet);
                config.node = name(number);
                // The same after a restart.
                config.listeners.amqp.port = free_port();
                config.listeners.mqtt.port = free_port();
                config.listeners.http.port = free_port();
            })
        };
        FleetBuilder {
            builders: (1..=nodes).map(node).collect(),
            has_proxies: false,
            links: None,
            network: None,
        }
    }

    /// Nodes that there are, whether they live or not.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// A node.
    ///
    /// # Panics
    /// When there is none of that number, or it is dead.
    #[track_caller]
    pub fn node(&self, number: usize) -> &Daemon {
        self.members[number - 1].as_ref().expect("the node lives")
    }

    /// The nodes that live, with their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Daemon)> {
        self.members.iter().enumerate().filter_map(|(at, member)| Some((at + 1, member.as_ref()?)))
    }

    /// The link between two nodes.
    ///
    /// # Panics
    /// When there is none, or the fleet has no relays.
    #[track_caller]
    pub fn link(&self, one: usize, other: usize) -> &Proxy {
        self.proxies.get(&(one.min(other), one.max(other))).expect("the two are linked through a relay")
    }

    /// All links of a node.
    pub fn links_of(&self, number: usize) -> impl Iterator<Item = &Proxy> {
        self.proxies
            .iter()
            .filter(move |((low, high), _)| *low == number || *high == number)
            .map(|(_, proxy)| proxy)
    }

    /// Ends a node as a crash would.
    #[track_caller]
    pub fn kill(&mut self, number: usize) {
        self.members[number - 1].as_mut().expect("the node lives").kill();
    }

    /// Starts a node that has ended, with what it had kept. Does not wait for the others to see it.
    #[track_caller]
    pub fn start_again(&mut self, number: usize) {
        let member = self.members[number - 1].take().expect("there is such a node");
        self.members[number - 1] = Some(match &self.network {
            Some(network) => network.at(number, || member.launch_again()),
            None => member.launch_again(),
        });
        self.members[number - 1].iter_mut().for_each(Daemon::wait_until_it_serves);
    }

    /// Ends a node with SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self, number: usize) {
        let member = self.members[number - 1].as_mut().expect("the node lives");
        member.terminate();
        let status = member.wait();
        assert!(status.success(), "node {number} ended with {status}");
    }

    /// Lets a node do nothing, until [`wake`](Self::wake): it is there, and hangs.
    pub fn hang(&self, number: usize) {
        self.node(number).signal(Signal::STOP);
    }

    /// Lets a node that hangs go on.
    pub fn wake(&self, number: usize) {
        self.node(number).signal(Signal::CONT);
    }

    /// Where the nodes are.
    ///
    /// # Panics
    /// When they are all on loopback.
    #[track_caller]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("the fleet is on a network of its own")
    }

    /// The fleet as a node sees it.
    #[track_caller]
    pub fn seen_by(&self, number: usize) -> Mesh {
        self.node(number).admin().get("/mesh")
    }

    /// Waits until every node reaches every other.
    ///
    /// # Panics
    /// When they do not come together.
    #[track_caller]
    pub fn wait_until_whole(&self) {
        for (number, _) in self.nodes() {
            self.wait_until_seen(number, self.size());
        }
    }

    /// Waits until a node does not reach every other any more.
    ///
    /// # Panics
    /// When it goes on to.
    #[track_caller]
    pub fn wait_until_broken(&self, by: usize) {
        eventually_within(TOGETHER, &format!("fewer nodes up in the eyes of node {by}"), || {
            (self.up_in_the_eyes_of(by) < self.size()).then_some(())
        });
    }

    /// Waits until a node reaches so many nodes, itself included.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_until_seen(&self, by: usize, count: usize) {
        let what = format!("{count} nodes up in the eyes of node {by}");
        eventually_within(TOGETHER, &what, || {
            let is_seen = self.up_in_the_eyes_of(by) == count;
            if !is_seen {
                // Whoever asks a large fleet all the time keeps it from coming together.
                thread::sleep(Duration::from_millis(2) * u32::try_from(self.size()).unwrap_or(u32::MAX));
            }
            is_seen.then_some(())
        });
    }

    #[track_caller]
    fn up_in_the_eyes_of(&self, number: usize) -> usize {
        let mesh = self.seen_by(number);
        mesh.nodes.iter().filter(|node| node.state == MeshNodeState::Up).count()
    }

    /// Creates an address at a node, and waits until every node that lives knows it.
    #[track_caller]
    pub fn create(&self, at: usize, address: &str, kind: AddressType) {
        self.create_with(at, address, AddressSpec::new(kind));
    }

    /// The same with settings.
    #[track_caller]
    pub fn create_with(&self, at: usize, address: &str, spec: AddressSpec) {
        self.node(at).admin().create_with(address, spec);
        for (number, node) in self.nodes() {
            eventually(&format!("{address} at node {number}"), || {
                node.admin().addresses().iter().any(|name| name == address).then_some(())
            });
        }
    }

    /// Moves a stored address to the node that is to be its home, and waits until it is.
    #[track_caller]
    pub fn move_home(&self, address: &str, to: usize) {
        let admin = self.node(to).admin();
        let path = format!("/api/v1/addresses/{address}/move-home");
        let answer = admin.request("POST", &path, Some(&json!({ "to": name(to) })));
        assert!((200..300).contains(&answer.status), "moving {address}: {} {}", answer.status, answer.body);
        eventually(&format!("{address} at home on node {to}"), || {
            let answer: serde_json::Value = admin.get(&format!("/addresses/{address}"));
            let status = &answer["status"];
            (status["home"] == name(to) && status["movingFrom"].is_null()).then_some(())
        });
    }

    /// The name of the node that a node takes for the home of a stored address.
    #[track_caller]
    pub fn home_of(&self, by: usize, address: &str) -> String {
        let answer: serde_json::Value = self.node(by).admin().get(&format!("/addresses/{address}"));
        answer["status"]["home"].as_str().unwrap_or_default().to_owned()
    }

    /// The number of the node that is the home of a stored address.
    #[track_caller]
    pub fn home_number(&self, by: usize, address: &str) -> usize {
        let home = self.home_of(by, address);
        (1..=self.size()).find(|number| name(*number) == home).expect("the home is a node of the fleet")
    }
}

/// The name of the node with this number.
pub fn name(number: usize) -> String {
    format!("node-{number}")
}

/// The first port that is looked at, and how many there are: below those that the system gives to whoever
/// does not care.
const PORTS: (u16, u16) = (15_000, 17_000);

/// A port that nobody listens on, and no other fleet of this process gets: that of a daemon that is to come
/// back to it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time begin elsewhere.
    let start = (std::process::id() % 64) as u16 * (PORTS.1 / 64);
    eventually("a free port", || {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS.1;
        let port = PORTS.0 + offset;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    })
}
