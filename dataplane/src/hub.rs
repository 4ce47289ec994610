//! The control side of the shards: what the admin API and the life cycle of the node ask of the
//! threads that own connections. Nothing here is on the path of a message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mq_model::admin::{Connection, Link, Outcomes, Session};
use mq_model::manifest::AddressSpec;
use tokio::sync::{mpsc, oneshot};

/// How often a draining node looks whether everything has settled.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// One shard's answer to a question, sent back through a one-shot channel.
pub type Reply<T> = oneshot::Sender<T>;

/// What a shard is asked to do.
#[derive(Debug)]
pub enum ShardCommand {
    /// Serve a freshly accepted connection.
    Accept { stream: std::net::TcpStream, peer: SocketAddr, listener: Arc<str> },
    /// Create the address or change its settings.
    SetAddress { name: Arc<str>, spec: AddressSpec, reply: Reply<()> },
    /// Remove the address; its links are closed with `amqp:resource-deleted`.
    RemoveAddress { name: Arc<str>, reply: Reply<()> },
    /// Counters of the shard.
    Statistics { reply: Reply<ShardStatistics> },
    /// Counters of the shard's addresses; of one when `name` is given.
    Addresses { name: Option<Arc<str>>, reply: Reply<Vec<AddressStatistics>> },
    /// The shard's connections.
    Connections { reply: Reply<Vec<Connection>> },
    /// The sessions of a connection, `None` when it is not here.
    Sessions { connection: String, reply: Reply<Option<Vec<Session>>> },
    /// The shard's links.
    Links { address: Option<String>, connection: Option<String>, reply: Reply<Vec<Link>> },
    /// Close a connection with `amqp:connection:forced` and the reason; false when it is not here.
    Close { connection: String, reason: String, reply: Reply<bool> },
    /// Grant no further credit to producers, and let no link in.
    Drain { reply: Reply<()> },
    /// Close every connection with `amqp:connection:forced` and the reason; answered when they are
    /// gone or have had their time.
    CloseAll { reason: String, reply: Reply<()> },
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
}

/// Handles to every shard of the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    shards: Arc<[mpsc::UnboundedSender<ShardCommand>]>,
    counts: Arc<[AtomicUsize]>,
}

impl Hub {
    /// A hub over the shards' command channels. The channels carry control commands alone, whose
    /// number the callers bound: each waits for its answer.
    pub fn new(shards: Vec<mpsc::UnboundedSender<ShardCommand>>) -> Self {
        let counts = shards.iter().map(|_| AtomicUsize::new(0)).collect();
        Self { shards: shards.into(), counts }
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
    pub fn accept(&self, shard: usize, stream: std::net::TcpStream, peer: SocketAddr, listener: Arc<str>) {
        let (Some(sender), Some(count)) = (self.shards.get(shard), self.counts.get(shard)) else { return };
        count.fetch_add(1, Ordering::Relaxed);
        if sender.send(ShardCommand::Accept { stream, peer, listener }).is_err() {
            // The shard is gone: dropping the command has closed the socket.
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Creates or changes an address; done when every shard serves it.
    pub async fn set_address(&self, name: &Arc<str>, spec: &AddressSpec) {
        self.ask_all(|reply| ShardCommand::SetAddress { name: name.clone(), spec: spec.clone(), reply })
            .await;
    }

    /// Removes an address; done when no shard serves it any more.
    pub async fn remove_address(&self, name: &Arc<str>) {
        self.ask_all(|reply| ShardCommand::RemoveAddress { name: name.clone(), reply }).await;
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

    /// Lets no producer send anything new, waits until every delivery of the node is settled or the
    /// deadline has come, and closes every connection with the reason. Returns the number of
    /// deliveries that were still open.
    ///
    /// The shards wait for each other: what one holds for a producer may hang on another's consumer.
    pub async fn drain(&self, deadline: Instant, reason: &str) -> u64 {
        self.ask_all(|reply| ShardCommand::Drain { reply }).await;
        let open = self.settle(deadline).await;
        self.ask_all(|reply| ShardCommand::CloseAll { reason: reason.into(), reply }).await;
        open
    }

    async fn settle(&self, deadline: Instant) -> u64 {
        let mut was_settled = false;
        loop {
            let shards = self.statistics().await;
            let open = shards.iter().map(|shard| shard.unsettled + shard.undelivered).sum();
            // On its way between two shards a delivery is counted by neither: look twice.
            if (open == 0 && was_settled) || Instant::now() >= deadline {
                return open;
            }
            was_settled = open == 0;
            tokio::time::sleep(DRAIN_POLL).await;
        }
    }

    /// Asks every shard at once and gathers the answers of those that live.
    async fn ask_all<T>(&self, command: impl Fn(Reply<T>) -> ShardCommand) -> Vec<T> {
        let mut pending = Vec::with_capacity(self.shards.len());
        for shard in self.shards.iter() {
            let (reply, answer) = oneshot::channel();
            if shard.send(command(reply)).is_ok() {
                pending.push(answer);
            }
        }
        let mut answers = Vec::with_capacity(pending.len());
        for answer in pending {
            answers.extend(answer.await.ok());
        }
        answers
    }
}
