//! Between sockets, engines and the core: what a shard does in a turn.
//!
//! A turn starts with a readable socket, mail of another shard, a deadline or a command. It feeds
//! the engine, carries out what the core wants, and ends in [`Shard::finish_turn`], which writes
//! every touched connection once. A turn is bounded ([`READS_PER_TURN`], [`FLUSHES_PER_TURN`]), so
//! that one firehose cannot starve ten thousand trickles.

mod access;
mod amqp;
mod attach;
mod choice;
mod connection;
mod departure;
mod format;
mod handshakes;
mod limits;
mod login;
mod message;
mod mqtt;
mod objects;
mod outcome;
mod outward;
mod preface;
mod protocol;
pub mod proxy;
mod socket;
mod terminus;
mod transaction;
mod transport;
mod tunnels;
mod turns;
mod users;
mod view;
pub mod websocket;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mq_amqp::{Events, LinkKey, SessionKey, Terms};
use mq_core::{ConsumerKey, Core, PeerMessage, ProducerKey, ShardId, StoreRequest, TransactionId};
use mq_model::config::DaemonConfig;
use mq_model::grant::Right;
use tokio::sync::Notify;

pub(crate) use self::connection::{accept, adopt};
pub(crate) use self::format::Formats;
use self::handshakes::Handshakes;
use self::login::{LoginCounts, TokenEnds};
pub(crate) use self::login::{LoginShared, means_another, random};
use self::message::Wants;
pub(crate) use self::mqtt::envelope::MQTT_FORMAT;
pub(crate) use self::mqtt::to_amqp::as_amqp;
pub(crate) use self::mqtt::{
    KeptClients, SHARE_PREFIX, SUBSCRIPTION_PREFIX, filter_inside, object_home, subscription_outside,
};
pub use self::outward::Outgoing;
pub(crate) use self::outward::{connect, engine_config as outward_config};
pub(crate) use self::preface::Adopted;
use self::protocol::{Connections, Farewell};
use self::terminus::Definition;
pub(crate) use self::terminus::Subscriptions;
use self::transaction::Coordinator;
use self::tunnels::Tunnels;
pub(crate) use self::tunnels::serve_tunnels;
use crate::checks::Checks;
use crate::listen::Throttle;
use crate::mailbox::{AddressNews, Mail, Mailbox, post_at_once};
use crate::mesh::{Fabric, ShardMesh};
use crate::store::Store;
use crate::tls::Revocations;
use crate::usage::{Held, Usage};
use crate::users::UserTable;

/// Bytes that one read takes at most.
pub(crate) const READ_SIZE: usize = 64 << 10;

/// Reads of one connection before the others get their turn.
pub(crate) const READS_PER_TURN: usize = 4;

/// Rounds of writing and refilling in one turn before the others get theirs.
const FLUSHES_PER_TURN: usize = 8;

/// Bytes that the core may have in flight towards the sessions of one connection: in our buffers,
/// not in the socket's.
const LANE_BUDGET: usize = 256 << 10;

/// What one of many sessions gets of it at least.
const LEAST_LANE_BUDGET: usize = 16 << 10;

/// Bytes waiting to be written at which a connection is no longer read: whoever asks for answers
/// has to take them.
const OUTBOX_LIMIT: usize = 1 << 20;

/// How long a connection is quiet before it gives back memory that only a busy one needs.
const TIDY_AFTER: Duration = Duration::from_secs(5);

/// How long a peer has to take our last bytes and to close its end of the socket.
const LINGER: Duration = Duration::from_secs(1);

/// Entries that may be left in the heap of deadlines before it is looked through.
const SPENT_DEADLINES: usize = 1_024;

/// What the shards of a node have in common.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) mailboxes: Arc<[Mailbox]>,
    /// Connections of each shard.
    pub(crate) counts: Arc<[AtomicUsize]>,
    /// Durable subscriptions of clients.
    pub(crate) subscriptions: Subscriptions,
    /// Clients of MQTT whose sessions are being recovered.
    pub(crate) kept_clients: KeptClients,
    /// Shards that may still send mail.
    pub(crate) running: Arc<AtomicUsize>,
    /// What they know of other nodes; `None`: the node is alone.
    pub(crate) mesh: Option<Arc<Fabric>>,
    /// Threads that check passwords.
    pub(crate) checks: Checks,
    /// What tenants take.
    pub(crate) usage: Arc<Usage>,
    pub(crate) login: LoginShared,
}

impl Shared {
    /// A connection is on its way to a shard.
    fn count_connection_in(&self, shard: ShardId) {
        if let Some(count) = self.counts.get(usize::from(shard.shard())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A link as the core's key finds it.
#[derive(Debug)]
pub(crate) struct LinkRef {
    /// The core's key, to tell a link from its successor in the slot.
    bits: u64,
    connection: usize,
    link: LinkKey,
    session: SessionKey,
    /// `None`: an anonymous relay.
    address: Option<Arc<str>>,
    /// Producer: what is read of its messages.
    wants: Wants,
    /// Consumer: the durable subscription that ends when the link is closed.
    subscription: Option<Arc<str>>,
    /// Consumer: its attach has not been answered.
    waiting: Option<Box<Waiting>>,
    /// Consumer: its messages are kept when it does not get them.
    is_stored: bool,
    /// Consumer: it takes nothing out of its queue.
    is_browser: bool,
    /// Producer: its address goes with it.
    is_temporary: bool,
    /// Producer: bytes that the core has not passed on yet.
    held: u64,
    /// Producer: the beginning of a message that the core has not seen yet, counted in `held`.
    head: Option<BytesMut>,
    /// Producer: the transaction of that message. Consumer: the one that acquires what it gets.
    transaction: Option<TransactionId>,
    /// Producer: credit that the core has given and the client does not have yet.
    withheld: u32,
    /// What it counts for: a link, and perhaps a subscription that goes with it.
    counted: [Option<Held>; 2],
}

/// What happens when the home of a consumer's address has let it in. Until then its durable
/// subscription does not count it, and may not be there.
#[derive(Debug)]
struct Waiting {
    /// The answer to its attach.
    terms: Terms,
    /// Its durable subscription, and what that counts for unless it was there.
    definition: Option<Definition>,
    held: Option<Held>,
}

/// The links of one direction, by the slot of the core's key.
#[derive(Debug, Default)]
pub(crate) struct LinkTable(Vec<Option<LinkRef>>);

impl LinkTable {
    fn insert(&mut self, link: LinkRef) {
        let slot = slot_of(link.bits);
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        self.0[slot] = Some(link);
    }

    fn get(&self, bits: u64) -> Option<&LinkRef> {
        self.0.get(slot_of(bits))?.as_ref().filter(|link| link.bits == bits)
    }

    fn get_mut(&mut self, bits: u64) -> Option<&mut LinkRef> {
        self.0.get_mut(slot_of(bits))?.as_mut().filter(|link| link.bits == bits)
    }

    fn remove(&mut self, bits: u64) -> Option<LinkRef> {
        self.get(bits)?;
        self.0.get_mut(slot_of(bits))?.take()
    }
}

/// The core's keys are an index below a generation.
fn slot_of(bits: u64) -> usize {
    (bits & u64::from(u32::MAX)) as usize
}

/// Everything that one thread owns.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) config: DaemonConfig,
    pub(crate) core: Core,
    pub(crate) shared: Shared,
    pub(crate) connections_opened: u64,
    /// AMQP sessions of all connections.
    pub(crate) sessions: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    engine_configs: amqp::EngineConfigs,
    /// Who may do what.
    users: Arc<UserTable>,
    /// Certificates with which nobody is let in any more.
    revocations: Arc<Revocations>,
    /// How clients have said who they are.
    pub(crate) logins: LoginCounts,
    /// When the tokens of connections end.
    token_ends: TokenEnds,
    /// What clients had no right to, by the right.
    pub(crate) denials: BTreeMap<Right, u64>,
    connections: Connections,
    /// The number of the latest connection.
    next_number: u64,
    producers: LinkTable,
    consumers: LinkTable,
    coordinator: Coordinator,
    /// Connections that the turn has touched.
    dirty: Vec<usize>,
    /// What the turn wants other shards to do, by shard.
    outgoing: Vec<Vec<(ShardId, PeerMessage)>>,
    /// Some of it all shards should have before any client can learn of it.
    has_news: bool,
    /// Room for mail that is taken in the middle of a turn.
    mail: Mail,
    /// Temporary addresses that the turn has created or removed.
    address_news: Vec<AddressNews>,
    /// Temporary addresses that links of this shard have made.
    temporary_targets: usize,
    /// Where the core's messages are kept, and what the turn asks of it.
    store: Box<dyn Store>,
    store_requests: Vec<(ShardId, Box<StoreRequest>)>,
    /// Objects of the daemon's own that the store is asked to keep.
    next_ticket: u64,
    /// Sessions of MQTT clients, and what they have in common.
    mqtt: mqtt::Mqtt,
    /// Clients whose sessions are on other nodes, and those of other nodes whose sessions are here.
    tunnels: Tunnels,
    /// One read buffer and one event queue for all connections: an idle connection holds none.
    pub(crate) buffer: BytesMut,
    /// Room for what is to be decrypted.
    cipher: BytesMut,
    /// Clients that are agreeing on TLS.
    pub(crate) handshakes: Handshakes,
    /// Whose turn it is when clients of several spaces are busy.
    turns: turns::Turns,
    events: Events,
    deadlines: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    /// What the timer sleeps for.
    armed: Option<Instant>,
    timer: Rc<Notify>,
    next_tag: u64,
    /// Temporary addresses are numbered, and named by a hash of the number under this key.
    next_name: u64,
    name_secret: RandomState,
    warnings: Throttle,
    /// Since when the node stops.
    draining_since: Option<Instant>,
    /// The other nodes of the fleet; `None`: the node is alone.
    pub(crate) mesh: Option<Box<ShardMesh>>,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        config: &DaemonConfig,
        core: Core,
        shared: Shared,
        store: Box<dyn Store>,
        timer: Rc<Notify>,
    ) -> Self {
        let outgoing = shared.mailboxes.iter().map(|_| Vec::new()).collect();
        let fabric = shared.mesh.clone();
        let mesh = fabric.map(|fabric| Box::new(ShardMesh::new(id.shard(), fabric, Instant::now())));
        Self {
            id,
            config: config.clone(),
            core,
            shared,
            connections_opened: 0,
            sessions: 0,
            bytes_in: 0,
            bytes_out: 0,
            engine_configs: amqp::EngineConfigs::default(),
            users: Arc::default(),
            revocations: Arc::default(),
            logins: LoginCounts::new(),
            token_ends: TokenEnds::new(),
            denials: BTreeMap::new(),
            connections: Connections::default(),
            next_number: 0,
            producers: LinkTable::default(),
            consumers: LinkTable::default(),
            coordinator: Coordinator::default(),
            dirty: Vec::new(),
            outgoing,
            has_news: false,
            mail: Mail::default(),
            address_news: Vec::new(),
            temporary_targets: 0,
            store,
            store_requests: Vec::new(),
            next_ticket: 0,
            mqtt: mqtt::Mqtt::new(config),
            tunnels: Tunnels::default(),
            buffer: BytesMut::new(),
            cipher: BytesMut::new(),
            handshakes: Handshakes::default(),
            turns: turns::Turns::default(),
            events: Events::new(),
            deadlines: BinaryHeap::new(),
            armed: None,
            timer,
            next_tag: 0,
            next_name: 0,
            name_secret: RandomState::new(),
            warnings: Throttle::default(),
            draining_since: None,
            mesh,
        }
    }

    /// Mail of other shards and of the store.
    pub(crate) fn handle_mail(&mut self, now: Instant, mail: &mut Mail) {
        self.take_in(now, mail);
        self.finish_turn(now);
    }

    /// Takes mail that waits, before a client is served that may have heard of what it says.
    pub(crate) fn take_waiting_mail(&mut self, now: Instant) {
        let Some(mailbox) = self.shared.mailboxes.get(usize::from(self.id.shard())) else { return };
        if mailbox.has_mail() {
            let mut mail = std::mem::take(&mut self.mail);
            mailbox.take(&mut mail);
            self.take_in(now, &mut mail);
            self.mail = mail;
        }
    }

    fn take_in(&mut self, now: Instant, mail: &mut Mail) {
        // Messages for a temporary address come after the news of it.
        for news in mail.addresses.drain(..) {
            self.take_address(now, &news);
            self.run_effects(now);
        }
        for (from, message) in mail.peers.drain(..) {
            self.core.handle_peer(now, from, message);
            self.run_prompt_effects(now);
        }
        for answer in mail.answers.drain(..) {
            self.handle_store(now, answer);
            self.run_effects(now);
        }
        for mail in mail.mesh.drain(..) {
            self.take_mesh_mail(now, mail);
            self.run_effects(now);
        }
        for checked in mail.checked.drain(..) {
            self.handle_checked(now, checked);
        }
        for verified in mail.verified.drain(..) {
            self.handle_verified(now, verified);
        }
    }

    /// The deadline for which the timer has to sleep.
    pub(crate) fn arm_timer(&mut self, now: Instant) -> Option<Instant> {
        self.armed = self.next_deadline(now);
        self.armed
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let connection = self.deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
        // While the node stops no session ends: the next run goes on.
        let session = self.next_mqtt_deadline(now).filter(|_| !self.is_draining());
        let mesh = self.mesh.as_deref().and_then(ShardMesh::poll_timeout);
        let handshake = self.handshakes.poll_timeout();
        let own = connection.into_iter().chain(handshake);
        own.chain(self.core.poll_timeout()).chain(session).chain(mesh).min()
    }

    /// Serves every deadline that has come.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        while let Some(Reverse((deadline, key, number))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            if self.is_deadline_of(deadline, key, number) {
                self.handle_connection_timeout(now, key);
            }
        }
        self.drop_spent_deadlines();
        self.wake_handshake(now);
        self.core.handle_timeout(now);
        self.handle_mqtt_deadlines(now);
        self.handle_mesh_timeouts(now);
        self.finish_turn(now);
    }

    /// Whether an entry of the heap still counts: its connection is there and waits for it.
    fn is_deadline_of(&self, deadline: Instant, key: usize, number: u64) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.number == number && connection.deadline == Some(deadline))
    }

    /// A connection has one deadline that counts. What those that have gone left in the heap goes
    /// when it is the greater part.
    fn drop_spent_deadlines(&mut self) {
        if self.deadlines.len() <= 2 * self.connections.len() + SPENT_DEADLINES {
            return;
        }
        let mut deadlines = std::mem::take(&mut self.deadlines);
        deadlines.retain(|Reverse((deadline, key, number))| self.is_deadline_of(*deadline, *key, *number));
        deadlines.shrink_to(2 * deadlines.len());
        self.deadlines = deadlines;
    }

    /// Ends a turn: carries out what the core wants, hands mail over, writes every touched connection
    /// once and re-arms the timer.
    pub(crate) fn finish_turn(&mut self, now: Instant) {
        self.run_effects(now);
        self.tell_others(now);
        let mut left = self.turns.writes();
        for _ in 0..FLUSHES_PER_TURN {
            let (mut dirty, before) = (std::mem::take(&mut self.dirty), left);
            dirty.retain(|key| !self.flush_in_turn(now, *key, &mut left));
            // The allocation is kept, what the refilled lanes have touched comes next.
            dirty.append(&mut self.dirty);
            self.dirty = dirty;
            if left == before {
                break;
            }
            self.tell_others(now);
        }
        if let Some(connection) = self.dirty.iter().find_map(|key| self.connections.get(*key)) {
            // There is more to write than belongs to this turn: it goes on after the others.
            connection.wake();
        }
        let next = self.next_deadline(now);
        if next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed)) {
            self.timer.notify_one();
        }
    }

    /// Writes to a touched connection, unless that has to wait for another turn; `left` may still be written to.
    fn flush_in_turn(&mut self, now: Instant, key: usize, left: &mut usize) -> bool {
        let place = self.connections.get(key).map(|connection| connection.place).unwrap_or_default();
        let is_written = *left > 0 && self.turns.is_of_turn(place);
        if is_written {
            *left -= 1;
            self.flush_connection(now, key);
        }
        is_written
    }

    /// Tells the store and the other shards what there is to tell, before any client learns of it: who
    /// heard something on this shard finds it so on every other. The disk and the others can work while
    /// the sockets are written.
    fn tell_others(&mut self, now: Instant) {
        self.take_ended(now);
        // Before the mail: what another shard asks of the store because of it comes later.
        self.ask_store();
        self.tell_addresses();
        self.tell_shards();
        self.tell_tunnels();
        self.tell_nodes(now);
    }

    fn tell_shards(&mut self) {
        if std::mem::take(&mut self.has_news) {
            return post_at_once(&self.shared.mailboxes, &mut self.outgoing);
        }
        for (mailbox, messages) in self.shared.mailboxes.iter().zip(&mut self.outgoing) {
            if !messages.is_empty() {
                mailbox.post(messages);
            }
        }
    }

    fn tell_addresses(&mut self) {
        if self.address_news.is_empty() {
            return;
        }
        let news = std::mem::take(&mut self.address_news);
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if index != usize::from(self.id.shard()) {
                mailbox.post_addresses(&news);
            }
        }
    }

    fn ask_store(&mut self) {
        if !self.store_requests.is_empty() {
            self.store.submit(&mut self.store_requests);
        }
    }

    fn mark_dirty(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_dirty
        {
            connection.is_dirty = true;
            self.dirty.push(key);
        }
    }

    /// Whether what a consumer does not get is kept for later.
    fn is_stored(&self, token: u64) -> bool {
        self.consumers.get(token).is_some_and(|link| link.is_stored)
    }

    /// Closes every connection with a reason.
    pub(crate) fn close_all(&mut self, now: Instant, reason: &str) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.force_close(now, key, Farewell::Stopping, reason);
        }
        self.finish_turn(now);
    }

    /// Client connections of the shard.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.len()
    }

    fn count_connection_out(&self) {
        if let Some(count) = self.shared.counts.get(usize::from(self.id.shard())) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn producer_ref(&self, key: ProducerKey) -> Option<&LinkRef> {
        self.producers.get(key.to_bits())
    }

    fn consumer_ref(&self, key: ConsumerKey) -> Option<&LinkRef> {
        self.consumers.get(key.to_bits())
    }
}
