//! The control side of the shards: what the admin API and the life cycle of the node ask of the
//! threads that own connections. Nothing here is on the path of a message.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mq_core::{QueueStatistics, Refused, SubscriptionStatistics, home};
use mq_model::admin::{ClientSession, Connection, Link, Outcomes, Retained, Session};
use mq_model::grant::Right;
use mq_model::manifest::AddressSpec;
use mq_model::space::SpaceUsage;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use crate::driver::Outgoing;
use crate::identity::Providers;
use crate::mesh::Fabric;
use crate::store::{Recovered, StoreView};
use crate::tls::Revocations;
use crate::tls::Stage;
use crate::usage::Usage;
use crate::users::UserTable;

/// How often a draining node looks whether everything has settled.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// How long a node that stops waits for the next settlement of a consumer on another node, and then for what
/// others wait for to be on disk.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// One shard's answer to a question, sent back through a one-shot channel.
pub type Reply<T> = oneshot::Sender<T>;

/// What a shard is asked to do.
#[derive(Debug)]
pub enum ShardCommand {
    /// Serve a freshly accepted connection.
    Accept(Accepted),
    /// Serve a connection that a connector has opened.
    Connect(Box<Outgoing>),
    /// Say how such a connection is, and try its routes again that have failed.
    TendOutward { connection: String },
    /// End such a connection.
    EndOutward { connection: String },
    /// Create the address or change its settings.
    SetAddress { address: Box<Served>, reply: Reply<()> },
    /// Every shard serves the address: sessions of MQTT clients look where their messages come from now.
    AddressServed { name: Arc<str>, reply: Reply<()> },
    /// Remove the address; its links are closed with `amqp:resource-deleted`.
    RemoveAddress { name: Arc<str>, reply: Reply<()> },
    /// Go by this table of users from now on.
    SetUsers { table: Arc<UserTable>, reply: Reply<()> },
    /// Close connections whose certificates are revoked, and let nobody in with one.
    SetRevocations { revocations: Arc<Revocations>, reply: Reply<()> },
    /// Counters of the shard.
    Statistics { reply: Reply<ShardStatistics> },
    /// Counters of the shard's addresses; of one when `name` is given.
    Addresses { name: Option<Arc<str>>, reply: Reply<Vec<AddressStatistics>> },
    /// The shard's connections.
    Connections { reply: Reply<Vec<Connection>> },
    /// The sessions of a connection, `None` when it is not here.
    Sessions { connection: String, reply: Reply<Option<Vec<Session>>> },
    /// Remove what waits in a queue, or in the subscriptions of a topic, whose home the shard is.
    Purge { name: Arc<str>, reply: Reply<Result<u64, Refused>> },
    /// Move messages, at most `limit` (0: all), from a queue whose home the shard is.
    Move { from: Arc<str>, to: Arc<str>, limit: u64, reply: Reply<Result<u64, Refused>> },
    /// The subscriptions of a topic whose home the shard is.
    Subscriptions { topic: Arc<str>, reply: Reply<Vec<Subscription>> },
    /// End a durable subscription of a topic whose home the shard is; false when there is none.
    RemoveSubscription { topic: Arc<str>, name: String, reply: Reply<Result<bool, Refused>> },
    /// Take in a piece of what was stored.
    Recover { batch: Recovered, reply: Reply<()> },
    /// Everything that was stored has been given: serve it.
    Recovered { reply: Reply<()> },
    /// The shard's links.
    Links { address: Option<String>, connection: Option<String>, reply: Reply<Vec<Link>> },
    /// Close a connection with `amqp:connection:forced` or reason code 0x98 of MQTT, and the reason; false
    /// when it is not here.
    Close { connection: String, reason: String, reply: Reply<bool> },
    /// Sessions of clients of MQTT, in the order of their client identifiers.
    ClientSessions { query: Arc<SessionQuery>, reply: Reply<Vec<SessionView>> },
    /// The session of a client of MQTT, with its subscriptions; `None` when it is not here.
    ClientSession { client: Arc<str>, reply: Reply<Option<SessionView>> },
    /// End the session of a client of MQTT, and its connection; false when it is not here.
    EndClientSession { client: Arc<str>, reply: Reply<bool> },
    /// What durable subscriptions hold, by topic and name, of topics whose home the shard is.
    Held { subscriptions: Vec<(Arc<str>, Arc<str>)>, reply: Reply<Vec<SubscriptionStatistics>> },
    /// The topics that may serve a name which the filter matches.
    TopicsOf { filter: Arc<str>, reply: Reply<Vec<Arc<str>>> },
    /// Some of what a topic retains.
    Retained { query: RetainedRequest, reply: Reply<RetainedAnswer> },
    /// Forget what a topic whose home the shard is retains for the names that the filter matches.
    ClearRetained { topic: Arc<str>, filter: Arc<str>, reply: Reply<Result<u64, Refused>> },
    /// What the shard holds of queues whose home is another node.
    LeftBehind { reply: Reply<Vec<LeftBehind>> },
    /// Take a step in the move of a client's session from one node to another.
    MoveSession { client: Arc<str>, step: MoveStep, reply: Reply<MoveAnswer> },
    /// What there is to do about sessions that move; of those that stay so many.
    PendingMoves { limit: usize, reply: Reply<PendingMoves> },
    /// How many sessions outlive their connections.
    CountLasting { reply: Reply<u64> },
    /// Grant no further credit to producers, hand out nothing that is kept, and let no link in.
    Drain { reply: Reply<()> },
    /// Close the connections of which nothing is under way, as with `CloseAll`.
    CloseSettled { reason: Arc<str>, reply: Reply<Departure> },
    /// Close every connection with `amqp:connection:forced` or reason code 0x8B of MQTT, and the reason;
    /// answered when they are gone or have had their time.
    CloseAll { reason: String, reply: Reply<()> },
}

/// What is left of a shard whose node stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Deliveries of this node's clients.
    pub unsettled: u64,
    /// Deliveries of its homes that consumers on other nodes have and have not settled.
    pub held: u64,
    /// Messages from other nodes whose senders have no answer.
    pub unanswered: u64,
}

impl Departure {
    fn with(self, other: Self) -> Self {
        Self {
            unsettled: self.unsettled + other.unsettled,
            held: self.held + other.held,
            unanswered: self.unanswered + other.unanswered,
        }
    }
}

/// A connection that was accepted and nobody serves yet.
#[derive(Debug)]
pub struct Accepted {
    pub stream: std::net::TcpStream,
    pub peer: SocketAddr,
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    pub speaks: Speaks,
    /// A header of the PROXY protocol comes first, which says who the client is.
    pub expects_proxy: bool,
    /// Whether TLS comes next, or has come already.
    pub tls: Stage,
    /// The client is on this machine, as far as the listener says.
    pub is_local: bool,
}

/// What a listener's clients speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    Amqp,
    Mqtt,
    /// MQTT in frames of WebSocket; the upgrade has been answered, and these bytes were read after it.
    MqttInFrames {
        read: Bytes,
    },
}

/// An address as the shards serve it.
#[derive(Clone, Debug)]
pub struct Served {
    pub name: Arc<str>,
    pub spec: AddressSpec,
    /// Its name in the store: no other address has it or had it. 0 where the store has nothing of it.
    pub id: u64,
    /// The node that holds what it keeps; `None`: this one.
    pub home: Option<Arc<str>>,
    /// The node, perhaps this one, that was its home before and still passes on what it holds.
    pub moving_from: Option<Arc<str>>,
}

/// A subscription of a topic, and what only the driver knows of it.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub statistics: SubscriptionStatistics,
    /// The container that made it.
    pub container: Option<String>,
    /// Its selector.
    pub selector: Option<String>,
}

/// Which sessions of clients of MQTT are wanted, of the space of `prefix`.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// What their client identifiers begin with, as they are called inside the fleet.
    pub prefix: String,
    /// Those behind this client identifier, likewise.
    pub after: Option<String>,
    /// Those that are connected, or those that are away.
    pub is_connected: Option<bool>,
    /// So many at most.
    pub limit: usize,
}

/// A session, and where the messages are that wait for it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Without what its durable subscriptions hold.
    pub session: ClientSession,
    /// The name of those.
    pub subscription: Arc<str>,
    /// The topics that may have one.
    pub topics: Vec<Arc<str>>,
}

/// Which retained messages of a topic are wanted.
#[derive(Clone, Debug)]
pub struct RetainedRequest {
    pub topic: Arc<str>,
    pub filter: Arc<str>,
    /// Those behind this name.
    pub after: Option<Arc<str>>,
    /// So many at most.
    pub limit: u32,
}

/// What a shard holds of a queue whose home is another node, on its way there.
#[derive(Clone, Debug)]
pub struct LeftBehind {
    pub name: Arc<str>,
    pub messages: u64,
    pub bytes: u64,
}

/// Some of what a topic retains.
#[derive(Clone, Debug, Default)]
pub struct RetainedAnswer {
    pub items: Vec<Retained>,
    /// There may be more behind this name.
    pub next: Option<Arc<str>>,
}

/// Counters of one shard since its start.
#[derive(Clone, Debug, Default)]
pub struct ShardStatistics {
    pub connections: u64,
    pub connections_opened: u64,
    pub sessions: u64,
    pub producers: u64,
    pub consumers: u64,
    pub deliveries_in: u64,
    pub deliveries_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub outcomes: Outcomes,
    pub dropped: u64,
    pub expired: u64,
    pub undelivered: u64,
    pub unsettled: u64,
    pub mqtt: MqttStatistics,
    pub tls: TlsStatistics,
    /// Log-ins, by mechanism and by what came of them.
    pub logins: BTreeMap<(&'static str, &'static str), u64>,
    /// What clients had no right to, by the right.
    pub denials: BTreeMap<Right, u64>,
}

/// What became of clients that began with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsStatistics {
    /// Handshakes that came to an end, with keys of their own.
    pub full: u64,
    /// Those with the keys of an earlier connection.
    pub resumed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Steps that had to wait, because handshakes had taken their share of the worker's time.
    pub postponed: u64,
}

/// What one shard has done for clients of MQTT since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MqttStatistics {
    /// Clients that are connected.
    pub connections: u64,
    /// Sessions, of clients that are away among them.
    pub sessions: u64,
    /// Subscriptions of clients that are connected.
    pub subscriptions: u64,
    /// Names for which the shard retains a message.
    pub retained: u64,
    /// Clients let in.
    pub connected: u64,
    /// Those of them whose session went on.
    pub resumed: u64,
    /// Clients that were refused.
    pub refused: u64,
    /// Connections that another one of the same client took over.
    pub taken_over: u64,
    /// Sessions whose time was over.
    pub sessions_expired: u64,
    /// Wills that were published.
    pub wills: u64,
    /// Wills that nobody took.
    pub wills_refused: u64,
    /// Messages from clients, by QoS.
    pub published: [u64; 3],
    /// Messages to clients, by QoS; those sent again count again.
    pub sent: [u64; 3],
    /// Messages from clients that were refused.
    pub publishes_refused: u64,
    /// Messages that clients refused.
    pub rejected: u64,
    /// Messages for clients that did not take what they were sent.
    pub dropped_slow: u64,
    /// Messages for sessions that were full.
    pub dropped_full: u64,
    /// Messages larger than the client takes.
    pub dropped_large: u64,
    /// Messages that MQTT cannot carry.
    pub dropped_unfit: u64,
    /// Messages whose time was over before they could be sent.
    pub expired: u64,
}

/// Counters of one address on one shard since it was created.
#[derive(Clone, Debug, Default)]
pub struct AddressStatistics {
    pub name: Arc<str>,
    pub producers: u64,
    pub consumers: u64,
    pub deliveries_in: u64,
    pub deliveries_out: u64,
    pub undelivered: u64,
    pub unsettled: u64,
    pub dropped: u64,
    pub expired: u64,
    /// What it holds, when it is a queue or a topic and the shard is its home.
    pub queue: Option<QueueStatistics>,
}

impl SessionView {
    /// Adds what one of the session's durable subscriptions holds.
    pub fn add(&mut self, held: &Held) {
        self.session.messages += held.messages;
        self.session.bytes += held.bytes;
        self.session.dropped += held.dropped;
    }
}

/// What a durable subscription of a session holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    pub name: Arc<str>,
    /// Messages that its client does not have.
    pub messages: u64,
    pub bytes: u64,
    /// Messages that it had no room for.
    pub dropped: u64,
}

impl From<SubscriptionStatistics> for Held {
    fn from(subscription: SubscriptionStatistics) -> Self {
        let SubscriptionStatistics { name, queue, .. } = subscription;
        Self {
            name,
            // What its client has is not what waits for it.
            messages: queue.messages.saturating_sub(queue.acquired),
            bytes: queue.bytes,
            // What a subscription refuses for want of room is lost to it, too.
            dropped: queue.dropped + queue.rejected,
        }
    }
}

/// What is asked of the shard of a session that moves.
#[derive(Clone, Debug)]
pub enum MoveStep {
    /// Of the giver: send the client away and give all of the session.
    Offer,
    /// Of the giver: the session stays.
    TakeBack { offer: u64 },
    /// Of the giver: it is that node's from now on.
    Depart { offer: u64, to: Arc<str> },
    /// Of the giver: the other node has it, and every node knows.
    Done { offer: u64 },
    /// Of the giver: what has become of an offer.
    Ask { offer: u64 },
    /// Of the taker: keep what is offered.
    Arrive { from: Arc<str>, offer: u64, parcel: Bytes },
    /// Of the taker: it is yours.
    Take { offer: u64 },
    /// Of the taker: it is not.
    Drop { offer: u64 },
}

/// What the shard answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveAnswer {
    Done,
    /// All of the session.
    Offered {
        offer: u64,
        parcel: Bytes,
    },
    /// The disk has yet to answer something for it; ask again.
    Busy,
    /// There is no such session any more, or it ends with its connection.
    Gone,
    Standing(OfferStanding),
    /// Why it cannot be done, as a sentence.
    Failed(String),
}

/// What has become of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferStanding {
    /// It stands, and nothing is decided.
    Open,
    /// The session is the taker's.
    Given,
    /// It was taken back.
    Void,
}

/// What is to be done about sessions that move.
#[derive(Clone, Debug, Default)]
pub struct PendingMoves {
    /// Sessions that outlive their connections, at most as many as were asked for.
    pub staying: Vec<Arc<str>>,
    /// Sessions that are another node's, which may not know: client, offer, node.
    pub departing: Vec<(Arc<str>, u64, Arc<str>)>,
    /// Sessions that other nodes have offered: client, offer, node.
    pub arriving: Vec<(Arc<str>, u64, Arc<str>)>,
}

/// Handles to every shard of the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    shards: Arc<[mpsc::UnboundedSender<ShardCommand>]>,
    counts: Arc<[AtomicUsize]>,
    store: Option<StoreView>,
    mesh: Option<Arc<Fabric>>,
    providers: Providers,
    usage: Arc<Usage>,
}

impl Hub {
    /// A hub over the shards' command channels. The channels carry control commands alone, whose
    /// number the callers bound: each waits for its answer.
    pub fn new(shards: Vec<mpsc::UnboundedSender<ShardCommand>>) -> Self {
        let counts = shards.iter().map(|_| AtomicUsize::new(0)).collect();
        let usage = Arc::new(Usage::new(u16::try_from(shards.len()).unwrap_or(u16::MAX), Instant::now()));
        let providers = Providers::default();
        Self { shards: shards.into(), counts, store: None, mesh: None, providers, usage }
    }

    /// The same hub, which knows of the store behind the shards.
    #[must_use]
    pub(crate) fn with_store(self, store: StoreView) -> Self {
        Self { store: Some(store), ..self }
    }

    /// The same hub, behind which the tokens of these are taken.
    #[must_use]
    pub(crate) fn with_providers(self, providers: Providers) -> Self {
        Self { providers, ..self }
    }

    /// The same, with what tenants take.
    #[must_use]
    pub(crate) fn with_usage(self, usage: Arc<Usage>) -> Self {
        Self { usage, ..self }
    }

    /// What tenants take.
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// What an address space takes in the fleet, as far as this node knows.
    pub fn usage_of(&self, space: &str) -> SpaceUsage {
        self.usage.usage_of(space)
    }

    /// What a user takes in the fleet; of one without limits, on this node.
    pub fn usage_of_user(&self, space: &str, user: &str) -> SpaceUsage {
        self.usage.usage_of_user(space, user)
    }

    /// The identity providers whose tokens are taken.
    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    /// The same hub, which knows of other nodes.
    #[must_use]
    pub(crate) fn with_mesh(self, mesh: Option<Arc<Fabric>>) -> Self {
        Self { mesh, ..self }
    }

    /// What is known of other nodes; `None`: the node is alone.
    pub(crate) fn mesh(&self) -> Option<&Arc<Fabric>> {
        self.mesh.as_ref()
    }

    /// The store behind the shards, if there is one.
    pub fn store(&self) -> Option<&StoreView> {
        self.store.as_ref()
    }

    /// Connections of every shard, in the order of the shards. [`accept`](Self::accept) counts one
    /// up when it hands a connection over; the shard counts it down when the connection has ended.
    pub fn connection_counts(&self) -> &Arc<[AtomicUsize]> {
        &self.counts
    }

    /// Whether the shard's thread still takes commands.
    pub fn is_alive(&self, shard: usize) -> bool {
        self.shards.get(shard).is_some_and(|sender| !sender.is_closed())
    }

    /// Shards of the node.
    pub fn workers(&self) -> usize {
        self.shards.len()
    }

    /// Hands a connection to one shard; the caller chooses the one with the fewest.
    pub fn accept(&self, shard: usize, accepted: Accepted) {
        let (Some(sender), Some(count)) = (self.shards.get(shard), self.counts.get(shard)) else { return };
        count.fetch_add(1, Ordering::Relaxed);
        if sender.send(ShardCommand::Accept(accepted)).is_err() {
            // The shard is gone: dropping the command has closed the socket.
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Hands a connection that a connector has opened to a shard; false when that has ended.
    pub(crate) fn connect(&self, shard: usize, outgoing: Box<Outgoing>) -> bool {
        self.shards.get(shard).is_some_and(|sender| sender.send(ShardCommand::Connect(outgoing)).is_ok())
    }

    /// Has a shard say how a connection is that a connector has opened.
    pub(crate) fn tend_outward(&self, shard: usize, connection: String) {
        self.tell(shard, ShardCommand::TendOutward { connection });
    }

    /// Has a shard end a connection that a connector has opened.
    pub(crate) fn end_outward(&self, shard: usize, connection: String) {
        self.tell(shard, ShardCommand::EndOutward { connection });
    }

    fn tell(&self, shard: usize, command: ShardCommand) {
        if let Some(sender) = self.shards.get(shard) {
            // A shard that has ended has no connections.
            let _ = sender.send(command);
        }
    }

    /// Goes by another table of users; done when every shard does, and what was open that it does not allow has
    /// been closed. The shards are told at once, before the future is polled.
    pub fn set_users(&self, table: &Arc<UserTable>) -> impl Future<Output = ()> + use<> {
        let table = table.clone();
        let told = self.ask_all(move |reply| ShardCommand::SetUsers { table: table.clone(), reply });
        async { drop(told.await) }
    }

    /// Tells the shards which certificates are revoked; done when every connection that has shown one is closed.
    pub(crate) async fn set_revocations(&self, revocations: &Arc<Revocations>) {
        let told =
            self.ask_all(|reply| ShardCommand::SetRevocations { revocations: revocations.clone(), reply });
        drop(told.await);
    }

    /// Creates or changes an address; done when every shard serves it. The shards are told at once,
    /// before the future is polled.
    pub fn set_address(&self, address: &Served) -> impl Future<Output = ()> + use<> {
        let address = Box::new(address.clone());
        let (name, hub) = (address.name.clone(), self.clone());
        let told = self.ask_all(move |reply| ShardCommand::SetAddress { address: address.clone(), reply });
        async move {
            drop(told.await);
            // Sessions ask its home for what they are to get, which has to know it by then.
            drop(hub.ask_all(move |reply| ShardCommand::AddressServed { name: name.clone(), reply }).await);
        }
    }

    /// Removes an address; done when no shard serves it any more. The shards are told at once.
    pub fn remove_address(&self, name: &Arc<str>) -> impl Future<Output = ()> + use<> {
        let name = name.clone();
        let told = self.ask_all(move |reply| ShardCommand::RemoveAddress { name: name.clone(), reply });
        async { drop(told.await) }
    }

    /// Removes what waits in a queue, or in the subscriptions of a topic; `None` when its shard has
    /// ended.
    ///
    /// # Errors
    /// When there is no such queue or topic.
    pub async fn purge(&self, name: &Arc<str>) -> Option<Result<u64, Refused>> {
        self.ask_home(name, |reply| ShardCommand::Purge { name: name.clone(), reply }).await
    }

    /// Moves messages, at most `limit` (0: all that are there now), from a queue to another address;
    /// `None` when the shard of the queue has ended.
    ///
    /// # Errors
    /// When there is no such queue, or nothing of the name `to`.
    pub async fn move_messages(
        &self,
        from: &Arc<str>,
        to: &Arc<str>,
        limit: u64,
    ) -> Option<Result<u64, Refused>> {
        let command = |reply| ShardCommand::Move { from: from.clone(), to: to.clone(), limit, reply };
        self.ask_home(from, command).await
    }

    /// The subscriptions of a topic.
    pub async fn subscriptions(&self, topic: &Arc<str>) -> Vec<Subscription> {
        let command = |reply| ShardCommand::Subscriptions { topic: topic.clone(), reply };
        self.ask_home(topic, command).await.unwrap_or_default()
    }

    /// Ends a durable subscription; false when there is none, `None` when the shard of the topic has
    /// ended.
    ///
    /// # Errors
    /// When there is no such topic.
    pub async fn remove_subscription(&self, topic: &Arc<str>, name: &str) -> Option<Result<bool, Refused>> {
        let command =
            |reply| ShardCommand::RemoveSubscription { topic: topic.clone(), name: name.to_owned(), reply };
        self.ask_home(topic, command).await
    }

    /// Sessions of clients of MQTT in the order of their client identifiers, and whether there are more.
    pub async fn client_sessions(&self, query: SessionQuery) -> (Vec<SessionView>, bool) {
        let limit = query.limit;
        let query = Arc::new(SessionQuery { limit: limit.saturating_add(1), ..query });
        let asked = self.ask_all(|reply| ShardCommand::ClientSessions { query: query.clone(), reply });
        let mut views = asked.await.concat();
        views.sort_by(|one, other| one.session.client.cmp(&other.session.client));
        let is_more = views.len() > limit;
        views.truncate(limit);
        (views, is_more)
    }

    /// The session of a client of MQTT, with its subscriptions.
    pub async fn client_session(&self, client: &Arc<str>) -> Option<SessionView> {
        let command = |reply| ShardCommand::ClientSession { client: client.clone(), reply };
        self.ask_home(client, command).await.flatten()
    }

    /// Ends the session of a client of MQTT; false when there is none, `None` when its shard has ended.
    pub async fn end_client_session(&self, client: &Arc<str>) -> Option<bool> {
        self.ask_home(client, |reply| ShardCommand::EndClientSession { client: client.clone(), reply }).await
    }

    /// Takes a step in the move of a client's session.
    pub(crate) async fn move_session(&self, client: &Arc<str>, step: MoveStep) -> MoveAnswer {
        let command = |reply| ShardCommand::MoveSession { client: client.clone(), step: step.clone(), reply };
        let answer = self.ask_home(client, command).await;
        answer.unwrap_or_else(|| MoveAnswer::Failed("the worker has ended; restart the node".to_owned()))
    }

    /// How many sessions of clients of MQTT the node keeps that outlive their connections.
    pub(crate) async fn count_lasting(&self) -> u64 {
        self.ask_all(|reply| ShardCommand::CountLasting { reply }).await.into_iter().sum()
    }

    /// What there is to do about sessions that move; of those that stay so many for each shard.
    pub(crate) async fn pending_moves(&self, limit: usize) -> PendingMoves {
        let mut all = PendingMoves::default();
        for pending in self.ask_all(|reply| ShardCommand::PendingMoves { limit, reply }).await {
            all.staying.extend(pending.staying);
            all.departing.extend(pending.departing);
            all.arriving.extend(pending.arriving);
        }
        all
    }

    /// What durable subscriptions hold, by topic and name, of topics whose home is this node.
    pub async fn held(&self, asked: Vec<(Arc<str>, Arc<str>)>) -> Vec<Held> {
        let mut by_shard: Vec<Vec<(Arc<str>, Arc<str>)>> = vec![Vec::new(); self.shards.len()];
        for (topic, name) in asked {
            if let Some(of_shard) = by_shard.get_mut(self.home_of(&topic)) {
                of_shard.push((topic, name));
            }
        }
        let asked = by_shard.into_iter().enumerate().filter(|(_, subscriptions)| !subscriptions.is_empty());
        let pending: Vec<_> = asked
            .filter_map(|(shard, subscriptions)| {
                self.ask(shard, |reply| ShardCommand::Held { subscriptions, reply })
            })
            .collect();
        let mut held = Vec::new();
        for answer in pending {
            held.extend(answer.await.unwrap_or_default().into_iter().map(Held::from));
        }
        held
    }

    /// The topics that may serve a name which the filter matches, in the order of their names.
    pub async fn topics_of(&self, filter: &Arc<str>) -> Vec<Arc<str>> {
        // Every shard knows every address.
        let command = |reply| ShardCommand::TopicsOf { filter: filter.clone(), reply };
        match (0..self.shards.len()).find_map(|shard| self.ask(shard, command)) {
            Some(answer) => answer.await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Some of what a topic retains; `None` when its shard has ended.
    pub async fn retained(&self, query: RetainedRequest) -> Option<RetainedAnswer> {
        let topic = query.topic.clone();
        self.ask_home(&topic, |reply| ShardCommand::Retained { query: query.clone(), reply }).await
    }

    /// Forgets what a topic retains for the names that the filter matches, and says how many there were;
    /// `None` when its shard has ended.
    ///
    /// # Errors
    /// When there is no such topic.
    pub async fn clear_retained(&self, topic: &Arc<str>, filter: &Arc<str>) -> Option<Result<u64, Refused>> {
        let command =
            |reply| ShardCommand::ClearRetained { topic: topic.clone(), filter: filter.clone(), reply };
        self.ask_home(topic, command).await
    }

    /// What is held of queues whose home is another node.
    pub async fn left_behind(&self) -> Vec<LeftBehind> {
        self.ask_all(|reply| ShardCommand::LeftBehind { reply }).await.concat()
    }

    /// The counters of every shard, in the order of the shards.
    pub async fn statistics(&self) -> Vec<ShardStatistics> {
        self.ask_all(|reply| ShardCommand::Statistics { reply }).await
    }

    /// The counters of every address, one entry per address and shard.
    pub async fn addresses(&self, name: Option<&Arc<str>>) -> Vec<AddressStatistics> {
        self.ask_all(|reply| ShardCommand::Addresses { name: name.cloned(), reply }).await.concat()
    }

    /// Every client connection.
    pub async fn connections(&self) -> Vec<Connection> {
        self.ask_all(|reply| ShardCommand::Connections { reply }).await.concat()
    }

    /// The sessions of a connection; `None` when there is no such connection.
    pub async fn sessions(&self, connection: &str) -> Option<Vec<Session>> {
        self.ask_all(|reply| ShardCommand::Sessions { connection: connection.into(), reply })
            .await
            .into_iter()
            .flatten()
            .next()
    }

    /// Links, of one address or one connection when given.
    pub async fn links(&self, address: Option<&str>, connection: Option<&str>) -> Vec<Link> {
        self.ask_all(|reply| ShardCommand::Links {
            address: address.map(Into::into),
            connection: connection.map(Into::into),
            reply,
        })
        .await
        .concat()
    }

    /// Closes a connection; false when there is no such connection.
    pub async fn close(&self, connection: &str, reason: &str) -> bool {
        self.ask_all(|reply| ShardCommand::Close {
            connection: connection.into(),
            reason: reason.into(),
            reply,
        })
        .await
        .contains(&true)
    }

    /// Lets no producer send anything new and hands nothing out that is kept; closes each connection with the
    /// reason when everything of it is settled, and when the deadline has come. Returns the number of deliveries
    /// that were still open.
    ///
    /// The shards wait for each other: what one holds for a producer may hang on another's consumer. What
    /// consumers on other nodes have of the homes here is waited for as long as some of it is settled every now
    /// and then.
    pub async fn drain(&self, deadline: Instant, reason: &str) -> u64 {
        self.begin_drain().await;
        let open = self.settle(deadline, reason.into()).await;
        self.ask_all(|reply| ShardCommand::CloseAll { reason: reason.into(), reply }).await;
        open
    }

    /// Lets every shard give no more credit and take no more links.
    pub async fn begin_drain(&self) {
        self.ask_all(|reply| ShardCommand::Drain { reply }).await;
    }

    async fn settle(&self, deadline: Instant, reason: Arc<str>) -> u64 {
        let mut was_settled = false;
        let (mut held, mut held_since) = (u64::MAX, Instant::now());
        let mut waiting_since = None;
        loop {
            let left =
                self.ask_all(|reply| ShardCommand::CloseSettled { reason: reason.clone(), reply }).await;
            let left = left.into_iter().reduce(Departure::with).unwrap_or_default();
            let now = Instant::now();
            if left.held < held {
                held_since = now;
            }
            held = left.held;
            let is_held = held > 0 && now < held_since + LAST_WORDS;
            // On its way between two shards a delivery is counted by neither: look twice.
            let is_settled = left.unsettled == 0 && was_settled && !is_held;
            was_settled = left.unsettled == 0;
            if is_settled {
                let since = *waiting_since.get_or_insert(now);
                if left.unanswered == 0 || now >= since + LAST_WORDS {
                    return 0;
                }
            }
            if now >= deadline {
                return left.unsettled;
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    /// Asks every shard at once, before the future is polled, and gathers the answers of those that
    /// live.
    fn ask_all<T, F>(&self, command: F) -> impl Future<Output = Vec<T>> + use<T, F>
    where
        F: Fn(Reply<T>) -> ShardCommand,
    {
        let pending: Vec<_> = (0..self.shards.len()).filter_map(|shard| self.ask(shard, &command)).collect();
        async move {
            let mut answers = Vec::with_capacity(pending.len());
            for answer in pending {
                answers.extend(answer.await.ok());
            }
            answers
        }
    }

    /// Asks the shard that is the home of a stored address, or of a client's session.
    async fn ask_home<T>(&self, name: &str, command: impl Fn(Reply<T>) -> ShardCommand) -> Option<T> {
        self.ask(self.home_of(name), command)?.await.ok()
    }

    fn home_of(&self, name: &str) -> usize {
        let shards = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        usize::from(home(name, shards).shard())
    }

    /// Asks one shard; `None` when it has ended.
    pub(crate) fn ask<T>(
        &self,
        shard: usize,
        command: impl FnOnce(Reply<T>) -> ShardCommand,
    ) -> Option<oneshot::Receiver<T>> {
        let (reply, answer) = oneshot::channel();
        self.shards.get(shard)?.send(command(reply)).ok()?;
        Some(answer)
    }
}
