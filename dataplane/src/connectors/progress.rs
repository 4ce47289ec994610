//! What the control thread and a shard know of one connection of a connector.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_model::connector::{ConnectorSpec, RouteDirection};
use tokio::sync::Notify;

/// A route as a shard serves it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) direction: RouteDirection,
    /// The address of the space, as its clients call it.
    pub(crate) local: Box<str>,
    /// The address of the server.
    pub(crate) remote: Box<str>,
    pub(crate) selector: Option<Box<str>>,
    /// What the connector calls itself.
    pub(crate) container: Arc<str>,
}

/// The name of its link: one of its connection's, the same each time.
impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = match self.direction {
            RouteDirection::Receive => (&self.remote, &self.local),
            RouteDirection::Send => (&self.local, &self.remote),
        };
        write!(formatter, "{}:{from}>{to}", self.direction)
    }
}

impl Way {
    /// The routes of a connector in their order.
    pub(super) fn all(spec: &ConnectorSpec, container: &Arc<str>) -> Vec<Self> {
        let routes = spec.routes().map(|(direction, route)| Self {
            direction,
            local: route.local(direction).into(),
            remote: route.remote(direction).into(),
            selector: route.selector.as_deref().map(Into::into),
            container: container.clone(),
        });
        routes.collect()
    }
}

/// How a connection is. Shared by the control thread, which has opened it, and the shard that serves it.
#[derive(Debug)]
pub(crate) struct Progress {
    connector: Arc<str>,
    told: Mutex<Told>,
    /// Rings when the connection is open, and when it has ended.
    changed: Notify,
}

/// What a shard has told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The name of the connection on the node.
    pub(crate) connection: Option<String>,
    pub(crate) is_open: bool,
    has_ended: bool,
    /// Nobody wants the connection any more.
    is_dismissed: bool,
    /// Why it has ended.
    pub(crate) error: Option<String>,
    /// In the order of the connector's routes.
    pub(crate) routes: Vec<RouteTold>,
}

/// What a shard has told of a route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTold {
    /// Those that have taken it; `None`: it has no link.
    pub(crate) messages: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Progress {
    /// Of a connection of this connector that nobody serves yet.
    pub(crate) fn new(connector: Arc<str>) -> Self {
        Self { connector, told: Mutex::default(), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connector(&self) -> &Arc<str> {
        &self.connector
    }

    /// What is known now.
    pub(crate) fn told(&self) -> Told {
        self.lock().clone()
    }

    /// A shard serves the connection, under this name; false when nobody wants it any more.
    pub(crate) fn begin(&self, connection: String) -> bool {
        let mut told = self.lock();
        told.connection = Some(connection);
        !told.is_dismissed
    }

    /// The server has answered.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_waiters();
    }

    /// How the routes are, in their order: the messages of a link, and why there is none.
    pub(crate) fn tell(&self, routes: impl Iterator<Item = (Option<u64>, Option<String>)>) {
        let routes = routes.map(|(messages, error)| RouteTold { messages, error }).collect();
        self.lock().routes = routes;
    }

    /// Why the connection is about to end. The first word counts.
    pub(crate) fn fail(&self, error: impl Into<String>) {
        self.lock().error.get_or_insert_with(|| error.into());
    }

    /// The connection is gone.
    pub(crate) fn end(&self, error: &str) {
        self.fail(error);
        self.gone();
    }

    /// The connection is gone, for the reason that is known if there is one.
    pub(crate) fn gone(&self) {
        self.lock().has_ended = true;
        self.changed.notify_waiters();
    }

    /// Nobody wants the connection any more: its name, if it has one that is to be told so.
    pub(crate) fn dismiss(&self) -> Option<String> {
        let mut told = self.lock();
        told.is_dismissed = true;
        told.connection.clone().filter(|_| !told.has_ended)
    }

    /// Waits until it is open or has ended.
    pub(crate) async fn opened(&self) {
        self.wait(|told| told.is_open || told.has_ended).await;
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        self.wait(|told| told.has_ended).await;
    }

    async fn wait(&self, is_so: impl Fn(&Told) -> bool) {
        loop {
            // Before it is looked: what rings in between is heard.
            let changed = self.changed.notified();
            if is_so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }
}
