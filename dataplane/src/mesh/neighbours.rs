//! How connections to other nodes come about: the listener, and a dialler for each node to connect to.
//!
//! Between two neighbours run several connections, so that usually each shard speaks directly to each shard
//! of the other node. Whoever connects keeps them up: every *place* (which of ours, which of theirs) has a
//! task that connects, waits until the connection has ended, and tries again after a while.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mq_mesh::frame::Hello;
use mq_model::config::MeshConnect;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::fabric::{ControlMail, Fabric};
use super::handshake::{self, Greeted, HANDSHAKE_TIMEOUT, HandshakeError};
use super::tls::Identity;

/// Connections between two neighbours when the configuration leaves it to us.
const MOST_CONNECTIONS: u32 = 16;

/// The most that the configuration may ask for.
const CONFIGURED_CONNECTIONS: u32 = 64;

/// Handshakes that this node has begun and are under way at once. More wait for their turn without their time
/// running: when many nodes start together, those that have begun get done.
const MAX_HANDSHAKES: usize = 8;

/// Sockets that others have opened and that have not said who they are. One more takes the place of the oldest:
/// whoever says nothing keeps nobody out.
const MAX_STRANGERS: usize = 512;

/// With more nodes to connect to, one connection to each is enough unless the configuration says otherwise.
const FEW_NODES: usize = 8;

/// How long accepting pauses after an error, most often for want of files.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A connection that has lived so long was a success: the next failure is a first one.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// Failures of one place that are worth a line each; further ones are told now and then.
const TOLD_FAILURES: u32 = 1;

/// One line for so many further failures.
const TELL_EVERY: u32 = 32;

/// What the listener and the diallers work with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reception {
    pub(crate) identity: Identity,
    pub(crate) fabric: Arc<Fabric>,
    /// Cost of links that say none.
    pub(crate) cost: u32,
    /// Connections to each neighbour; 0: as many as make sense.
    pub(crate) connections: u16,
    /// Where connections go whose peer is known.
    pub(crate) control: mpsc::UnboundedSender<ControlMail>,
    /// Handshakes that may be begun.
    pub(crate) turns: Arc<Semaphore>,
}

/// Lets so many handshakes be under way that this node has begun.
pub(crate) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_HANDSHAKES))
}

/// How many connections to each node there should be for so many nodes; 0: as many as make sense.
pub(crate) fn connections(configured: u16, nodes: usize) -> u16 {
    if configured == 0 && nodes > FEW_NODES { 1 } else { configured }
}

/// Accepts other nodes for ever; dropping the future closes the listener and what has not greeted.
pub(crate) async fn listen(reception: Reception, listener: TcpListener) {
    let mut strangers = Strangers::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let reception = reception.clone();
                strangers.add(async move { reception.receive(stream, peer).await });
            }
            Err(error) => {
                debug!(%error, "cannot accept a connection of another node");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// Handshakes that others have begun.
#[derive(Default)]
struct Strangers {
    tasks: JoinSet<()>,
    /// The oldest first, those that have ended among them while an older one has not.
    order: VecDeque<AbortHandle>,
}

impl Strangers {
    fn add(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        while self.order.front().is_some_and(AbortHandle::is_finished) {
            self.order.pop_front();
        }
        if self.tasks.len() >= MAX_STRANGERS {
            self.order.retain(|task| !task.is_finished());
            if let Some(oldest) = self.order.pop_front() {
                debug!("too many sockets have not said who they are: dropped the oldest");
                oldest.abort();
            }
        }
        self.order.push_back(self.tasks.spawn(handshake));
    }
}

/// Keeps every connection to one node up for ever.
pub(crate) async fn dial(reception: Reception, target: MeshConnect) {
    // How many shards the other node has, once that is known.
    let (shards, mut known) = watch::channel(None);
    let shards = Arc::new(shards);
    let mut places = JoinSet::new();
    loop {
        let there = *known.borrow_and_update();
        let wanted = there.map_or(1, |there| count(reception.fabric.shards(), there, reception.connections));
        for place in places.len()..wanted as usize {
            let dialler = Dialler {
                reception: reception.clone(),
                target: target.clone(),
                place: u32::try_from(place).unwrap_or(u32::MAX),
                shards: shards.clone(),
                known: known.clone(),
            };
            places.spawn(dialler.run());
        }
        if known.changed().await.is_err() {
            return;
        }
    }
}

impl Reception {
    /// What we say of ourselves on a connection between these shards.
    fn hello(&self, cost: u32, here: u16, there: u16) -> Hello {
        self.fabric.hello(cost, here, there)
    }

    async fn receive(&self, stream: TcpStream, peer: SocketAddr) {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.greet(stream)).await {
            Ok(Ok(greeted)) => self.hand_over(greeted, None),
            Ok(Err(error)) => {
                self.note_namesake(&error);
                warn!(%peer, %error, "turned a node away");
            }
            Err(_) => warn!(%peer, error = %HandshakeError::Timeout, "turned a node away"),
        }
    }

    async fn greet(&self, stream: TcpStream) -> Result<Greeted, HandshakeError> {
        stream.set_nodelay(true)?;
        let own = self.hello(self.cost, 0, 0);
        let shards = self.fabric.shards();
        handshake::accept(stream, self.identity.accepting()?, own, |theirs, own| Hello {
            // Whoever connects says what the link costs and for which shards the connection is.
            cost: theirs.cost,
            shard: theirs.peer_shard % shards.max(1),
            peer_shard: theirs.shard,
            ..own
        })
        .await
    }

    /// A process that has this node's name, and is not this node connecting to itself.
    fn note_namesake(&self, error: &HandshakeError) {
        if let HandshakeError::OwnName { incarnation, .. } = error
            && *incarnation != self.fabric.incarnation()
        {
            self.fabric.note_namesake(self.fabric.node(), Instant::now());
        }
    }

    fn hand_over(&self, greeted: Greeted, ended: Option<oneshot::Sender<()>>) {
        // The control thread is gone only when the node stops.
        let _ = self.control.send(ControlMail::Greeted { greeted: Box::new(greeted), ended });
    }
}

/// Keeps one connection up.
struct Dialler {
    reception: Reception,
    target: MeshConnect,
    place: u32,
    shards: Arc<watch::Sender<Option<u16>>>,
    known: watch::Receiver<Option<u16>>,
}

impl Dialler {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut failures = 0_u32;
        while let Some(there) = self.next_shard().await {
            // The semaphore is never closed.
            let Ok(turn) = self.reception.turns.clone().acquire_owned().await else { return };
            let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.connect(there)).await;
            drop(turn);
            let begun = Instant::now();
            match connected {
                Ok(Ok(greeted)) => {
                    failures = 0;
                    self.serve(greeted).await;
                }
                Ok(Err(error)) => self.tell(&mut failures, &error),
                Err(_) => self.tell(&mut failures, &HandshakeError::Timeout),
            }
            if begun.elapsed() >= HEALTHY_AFTER {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next(fastrand::u64(..))).await;
        }
    }

    /// Which of the peer's shards the connection is for, as soon as it should be there. The first one does
    /// not wait to hear how many the peer has: it finds out. `None`: never again.
    async fn next_shard(&mut self) -> Option<u16> {
        if self.place == 0 {
            return Some(0);
        }
        let (place, here, wanted) = (self.place, self.reception.fabric.shards(), self.reception.connections);
        let is_wanted = |shards: &Option<u16>| shards.is_some_and(|there| place < count(here, there, wanted));
        let there = *self.known.wait_for(is_wanted).await.ok()?;
        there.map(|there| pair(place, here, there).1)
    }

    async fn connect(&self, there: u16) -> Result<Greeted, HandshakeError> {
        let MeshConnect { host, port, cost } = &self.target;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let here = pair(self.place, self.reception.fabric.shards(), 1).0;
        let own = self.reception.hello(cost.unwrap_or(self.reception.cost), here, there);
        handshake::connect(stream, self.reception.identity.connecting()?, own).await
    }

    /// Hands the connection over, and waits until it has ended.
    async fn serve(&self, greeted: Greeted) {
        let shards = greeted.hello.shards;
        self.shards.send_if_modified(|known| {
            let is_new = *known != Some(shards);
            *known = Some(shards);
            is_new
        });
        let (ended, end) = oneshot::channel();
        self.reception.hand_over(greeted, Some(ended));
        // It ends with an error, as nothing is ever sent: the sender goes with the connection.
        let _ = end.await;
    }

    fn tell(&self, failures: &mut u32, error: &HandshakeError) {
        self.reception.note_namesake(error);
        *failures = failures.saturating_add(1);
        let MeshConnect { host, port, .. } = &self.target;
        if self.place == 0 && (*failures <= TOLD_FAILURES || failures.is_multiple_of(TELL_EVERY)) {
            info!(host, port, %error, failures, "cannot reach a node of the fleet; trying again");
        } else {
            debug!(host, port, place = self.place, %error, "cannot reach a node of the fleet; trying again");
        }
    }
}

/// How many connections two neighbours with so many shards have.
fn count(here: u16, there: u16, configured: u16) -> u32 {
    match configured {
        0 => (u32::from(here.max(1)) * u32::from(there.max(1))).min(MOST_CONNECTIONS),
        configured => u32::from(configured).min(CONFIGURED_CONNECTIONS),
    }
}

/// The shards that a connection is for. As many connections as there are pairs make every pair once; fewer
/// are spread over the shards of both.
fn pair(place: u32, here: u16, there: u16) -> (u16, u16) {
    let (here, there) = (u32::from(here.max(1)), u32::from(there.max(1)));
    let own = place % here;
    let other = (own + place / here) % there;
    (u16::try_from(own).unwrap_or(0), u16::try_from(other).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mq_model::config::DaemonConfig;

    use super::super::tls::tests::Authority;
    use super::*;

    /// The reception of a node, and where its connections go.
    fn reception(identity: Identity) -> (Reception, mpsc::UnboundedReceiver<ControlMail>) {
        let config =
            DaemonConfig { fleet: "f".to_owned(), node: "n1".to_owned(), ..DaemonConfig::embedded("unused") };
        let fabric = Arc::new(Fabric::alone(&config, 7, 1));
        let (control, greeted) = mpsc::unbounded_channel();
        let turns = turns();
        (Reception { identity, fabric, cost: 1, connections: 0, control, turns }, greeted)
    }

    #[tokio::test]
    async fn sockets_that_say_nothing_keep_no_node_out() {
        let authority = Authority::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reception, mut greeted) = reception(authority.identity("n1"));
        let listening = tokio::spawn(listen(reception, listener));
        let mut silent = Vec::new();
        for _ in 0..MAX_STRANGERS + 8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let own = Hello { fleet: "f".to_owned(), node: "n2".to_owned(), shards: 1, ..Hello::default() };
        let stream = TcpStream::connect(address).await.unwrap();
        let tls = authority.identity("n2").connecting().unwrap();
        let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake::connect(stream, tls, own));
        assert_eq!(connected.await.expect("in time").unwrap().hello.node, "n1");
        assert!(matches!(greeted.recv().await, Some(ControlMail::Greeted { .. })));
        // The oldest had to go, and those that came after them are still there.
        let first = silent[0].readable();
        tokio::time::timeout(HANDSHAKE_TIMEOUT, first).await.expect("closed").unwrap();
        assert!(matches!(silent[0].try_read(&mut [0]), Ok(0) | Err(_)));
        let last = silent.last().unwrap();
        let is_open = last.try_read(&mut [0]);
        assert!(is_open.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        listening.abort();
    }

    #[tokio::test]
    async fn nothing_is_kept_of_handshakes_that_are_over() {
        let mut strangers = Strangers::default();
        for _ in 0..100 {
            strangers.add(async {});
            while !strangers.order.back().is_none_or(AbortHandle::is_finished) {
                tokio::task::yield_now().await;
            }
        }
        strangers.add(async {});
        assert_eq!((strangers.order.len(), strangers.tasks.len()), (1, 1));
    }

    #[test]
    fn every_pair_of_shards_has_a_connection_when_there_are_enough() {
        for (here, there) in [(1, 1), (2, 2), (2, 3), (3, 2), (4, 4), (1, 16), (16, 1)] {
            let all = count(here, there, 0);
            let pairs: BTreeSet<_> = (0..all).map(|place| pair(place, here, there)).collect();
            assert_eq!(pairs.len(), usize::from(here) * usize::from(there), "{here} and {there}");
        }
    }

    #[test]
    fn too_few_connections_are_spread_over_the_shards_of_both() {
        let pairs: Vec<_> = (0..count(16, 16, 0)).map(|place| pair(place, 16, 16)).collect();
        let here: BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
        let there: BTreeSet<_> = pairs.iter().map(|pair| pair.1).collect();
        assert_eq!((pairs.len(), here.len(), there.len()), (16, 16, 16));
    }

    #[test]
    fn what_is_configured_counts() {
        assert_eq!((count(2, 2, 1), count(2, 2, 7), count(1, 1, 1_000)), (1, 7, CONFIGURED_CONNECTIONS));
    }
}
