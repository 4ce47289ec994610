//! Emptying a node: what it has been told of its future, and how far it is.
//!
//! A node that is *cordoned* gets no new homes. One that is *draining* also gives those that it has to other
//! nodes, one after the other. It says itself when it is empty: nobody else can know. An order is in the state
//! directory before it is in force: a node that is restarted while it is emptied goes on with that. A router is a
//! node that is being emptied for as long as it lives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mq_model::admin::{DrainState, NodeDrain};
use mq_model::manifest::AddressType;
use tokio::sync::watch;

use crate::mesh::{ControlMail, Info};
use crate::node::Node;
use crate::objects::{ChangeError, write_atomically};

/// How often a draining node looks what is left.
const LOOK: Duration = Duration::from_millis(100);

/// Why a node cannot say that it is empty.
const WORKER_ENDED: &str = "a worker of the node has ended; see its log, and restart the node";

/// The file below the state directory that says which order is in force; without it, none is.
const FILE: &str = "order";

/// What a node has been told of its future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// It takes part in everything.
    #[default]
    Serve,
    /// It gets no new homes.
    Cordon,
    /// It gives away those that it has.
    Drain,
}

impl Order {
    const ALL: [Self; 3] = [Self::Serve, Self::Cordon, Self::Drain];

    /// What the file says.
    fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Cordon => "cordon",
            Self::Drain => "drain",
        }
    }

    /// What the order makes of what the node tells of itself.
    fn note(self, info: &mut Info) {
        info.cordoned = self != Self::Serve;
        info.draining = self == Self::Drain;
    }
}

/// The order in force, and what came of it.
#[derive(Debug)]
pub(crate) struct Orders {
    path: PathBuf,
    /// A router has one order for good, which is not written down.
    is_router: bool,
    order: watch::Sender<Order>,
    stuck: Mutex<Stuck>,
}

/// Why what is to be given away stays.
#[derive(Debug, Default)]
struct Stuck {
    homes: Option<String>,
    sessions: Option<String>,
}

impl Orders {
    /// The order that the node was given before it was last stopped, in whatever way; of a router the one that it
    /// has by what it is.
    ///
    /// # Errors
    /// When the file cannot be read, or says what this version does not understand: a node that was to be
    /// emptied must not take new homes by guess.
    pub(crate) fn open(state: &Path, is_router: bool) -> io::Result<Self> {
        let path = state.join(FILE);
        let order = match std::fs::read_to_string(&path) {
            _ if is_router => Order::Drain,
            Ok(text) => {
                Order::ALL.into_iter().find(|order| order.word() == text.trim()).ok_or_else(|| {
                    let message = "it says neither serve, cordon nor drain; write one of them into it";
                    io::Error::new(io::ErrorKind::InvalidData, message)
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Order::Serve,
            Err(error) => return Err(error),
        };
        Ok(Self { path, is_router, order: watch::Sender::new(order), stuck: Mutex::default() })
    }

    fn stuck(&self) -> MutexGuard<'_, Stuck> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order in force.
    pub(crate) fn order(&self) -> Order {
        *self.order.borrow()
    }

    /// The order in force, for those that wait for another one.
    pub(crate) fn watch(&self) -> watch::Receiver<Order> {
        self.order.subscribe()
    }

    fn set(&self, order: Order) -> io::Result<()> {
        if self.is_router {
            let message = "a router stores nothing, and takes no order about it";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        write_atomically(&self.path, format!("{}\n", order.word()).as_bytes())?;
        self.order.send_replace(order);
        *self.stuck() = Stuck::default();
        Ok(())
    }

    fn set_stuck(&self, reason: Option<String>) {
        self.stuck().homes = reason;
    }

    pub(crate) fn set_sessions_stuck(&self, reason: Option<String>) {
        self.stuck().sessions = reason;
    }

    /// Why a node that is to be emptied is not; nothing while it is not to be.
    fn stuck_because(&self) -> Option<String> {
        let stuck = self.stuck();
        let reason = stuck.homes.as_ref().or(stuck.sessions.as_ref());
        reason.filter(|_| self.order() == Order::Drain).cloned()
    }
}

impl Node {
    /// Gives the node an order, and tells the fleet.
    ///
    /// # Errors
    /// When it cannot be written down: it is not in force then.
    pub(crate) fn order(&self, order: Order) -> io::Result<()> {
        if self.orders.order() == order {
            return Ok(());
        }
        self.orders.set(order)?;
        tracing::info!(?order, "the node has got an order");
        self.tell_order();
        Ok(())
    }

    /// Tells the fleet which order is in force.
    pub(crate) fn tell_order(&self) {
        let order = self.orders.order();
        if let Some(fabric) = self.hub.mesh() {
            fabric.set_emptying(order == Order::Drain);
            fabric.tell(ControlMail::SetInfo { change: Box::new(move |info| order.note(info)) });
        }
    }

    /// What the node still holds.
    pub(crate) async fn drain_status(&self) -> NodeDrain {
        let mut status = NodeDrain {
            node: self.config.node.clone(),
            stuck_because: self.orders.stuck_because(),
            queues: self.own_homes().count() as u64 + self.leaving(),
            // One that ends with its connection is that: nothing of it is kept.
            sessions: self.hub.count_lasting().await,
            ..NodeDrain::default()
        };
        for shard in self.hub.statistics().await {
            status.connections += shard.connections;
            status.unsettled += shard.unsettled + shard.undelivered;
        }
        for queue in self.hub.addresses(None).await.into_iter().filter_map(|address| address.queue) {
            status.messages += queue.messages;
            status.bytes += queue.bytes;
        }
        for left in self.hub.left_behind().await {
            status.messages += left.messages;
            status.bytes += left.bytes;
        }
        if !self.is_whole() {
            // What it held nobody can say: nothing that is counted here is all there is.
            status.stuck_because = Some(WORKER_ENDED.into());
        }
        status.state = state(self.orders.order(), &status, self.is_whole());
        status
    }

    /// The addresses whose home the node is, which it could give away.
    fn own_homes(&self) -> impl Iterator<Item = Arc<str>> {
        let own = self.config.node.clone();
        let addresses = self.catalogue.addresses().into_iter();
        addresses.filter_map(move |(name, object)| {
            let is_own = object.home.as_deref() == Some(own.as_str());
            let is_given = object.spec.kind.is_stored() && object.spec.kind != AddressType::Subscription;
            (is_own && is_given).then_some(name)
        })
    }

    /// How many addresses are on their way from this node to another one.
    fn leaving(&self) -> u64 {
        let own = Some(self.config.node.as_str());
        let addresses = self.catalogue.addresses().into_iter();
        addresses.filter(|(_, object)| object.moving_from.as_deref() == own).count() as u64
    }

    /// The node that gets the next home: of those that take some, the one with the fewest.
    fn next_home(&self) -> Option<Arc<str>> {
        let homes = self.homes();
        let view = self.hub.mesh()?.view();
        let takers = view.nodes.values().filter(|node| !Info::decode(&node.info).is_cordoned());
        let best = takers.min_by_key(|node| (homes.get(&node.name).copied().unwrap_or(0), node.name.clone()));
        best.map(|node| node.name.clone())
    }

    /// Gives one home away.
    ///
    /// # Errors
    /// Why that cannot be done now, as a sentence.
    async fn give_away(&self, name: &Arc<str>) -> Result<(), String> {
        let Some(to) = self.next_home() else {
            return Err(
                "no other node of the fleet can be reached and takes homes; uncordon one, or add one".into(),
            );
        };
        self.move_home(name, &to).await
    }

    /// Makes another node the home of an address of this one. What it holds follows.
    ///
    /// # Errors
    /// Why that cannot be done now, as a sentence.
    pub(crate) async fn move_home(&self, name: &Arc<str>, to: &Arc<str>) -> Result<(), String> {
        let failed = |error: ChangeError| format!("the home of `{name}` cannot be moved: {error}");
        self.catalogue.set_home(name.clone(), to.clone()).await.map_err(failed)?;
        tracing::info!(address = %name, %to, "another node is the home of an address");
        Ok(())
    }
}

/// How far a node is that has got an order.
fn state(order: Order, status: &NodeDrain, is_whole: bool) -> DrainState {
    let is_empty = (status.queues, status.messages, status.unsettled, status.sessions) == (0, 0, 0, 0);
    match order {
        Order::Serve => DrainState::Active,
        Order::Cordon => DrainState::Cordoned,
        Order::Drain if is_empty && is_whole => DrainState::Drained,
        Order::Drain => DrainState::Draining,
    }
}

/// Gives the homes of the node away whenever it is told to. Never ends.
pub(crate) async fn run(node: Arc<Node>) {
    let mut orders = node.orders.watch();
    // It fails only with the node, which this holds.
    while orders.wait_for(|order| *order == Order::Drain).await.is_ok() {
        // One that cannot be moved keeps no other one here.
        let mut stuck = None;
        for name in node.own_homes().collect::<Vec<_>>() {
            if node.orders.order() != Order::Drain {
                break;
            }
            if let Err(reason) = node.give_away(&name).await {
                stuck.get_or_insert(reason);
            }
        }
        node.orders.set_stuck(stuck);
        // Less when the order is another one.
        let _ = tokio::time::timeout(LOOK, orders.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_a_worker_that_has_ended_does_not_say_that_it_is_empty() {
        let empty = NodeDrain::default();
        assert_eq!(state(Order::Drain, &empty, true), DrainState::Drained);
        assert_eq!(state(Order::Drain, &empty, false), DrainState::Draining);
        let left = NodeDrain { messages: 1, ..NodeDrain::default() };
        assert_eq!(state(Order::Drain, &left, true), DrainState::Draining);
    }

    #[test]
    fn an_order_survives_the_end_of_the_process() {
        let state = tempfile::tempdir().unwrap();
        let order = || Orders::open(state.path(), false).map(|orders| orders.order());
        assert_eq!(order().unwrap(), Order::Serve);
        for wanted in [Order::Drain, Order::Cordon, Order::Serve] {
            Orders::open(state.path(), false).unwrap().set(wanted).unwrap();
            assert_eq!(order().unwrap(), wanted);
        }
        std::fs::write(state.path().join(FILE), "drian").unwrap();
        assert!(order().unwrap_err().to_string().contains("neither serve, cordon nor drain"));
    }

    #[test]
    fn a_router_gives_away_what_comes_to_it_whatever_it_is_told() {
        let state = tempfile::tempdir().unwrap();
        Orders::open(state.path(), false).unwrap().set(Order::Serve).unwrap();
        let orders = Orders::open(state.path(), true).unwrap();
        assert_eq!(orders.order(), Order::Drain);
        assert!(orders.set(Order::Serve).is_err());
        assert_eq!(orders.order(), Order::Drain);
        assert_eq!(
            Orders::open(state.path(), false).unwrap().order(),
            Order::Serve,
            "and writes nothing down"
        );
    }

    #[test]
    fn an_order_that_cannot_be_written_down_is_not_in_force() {
        let state = tempfile::tempdir().unwrap();
        let orders = Orders::open(&state.path().join("gone"), false).unwrap();
        assert!(orders.set(Order::Drain).is_err());
        assert_eq!(orders.order(), Order::Serve);
    }
}
