//! Which node has the session of which client of MQTT. No IO.
//!
//! Every node tells the others of its own sessions: all of them when a node comes into reach, what changes
//! from then on. So each knows where a client belongs that connects to it.
//!
//! A client may get two sessions all the same, when nodes were out of each other's reach. Then both hear of it,
//! and agree which one counts: one that its client wanted to be new, and of those the latest; else the one that
//! has lasted longest, since whoever began another did so because he had not heard of it. The other's node ends
//! it, and the connection.
//!
//! A session that lasts is never taken for gone because its node is: it stays in the directory until that
//! node says otherwise, or until its time would be over. Whoever begins anew meanwhile owes that node the
//! word that its session has ended, which [`Directory`] keeps until it could be said.
//!
//! A session may go to another node, under the number that it has. While it goes both nodes say that they have it,
//! so that nobody thinks that it is nowhere; the one that it has left remembers it, for its name is known by the
//! node that gave it. An order to end it that comes to that one is passed on.
//!
//! Messages to a node go in batches over a channel that keeps order and loses nothing; a few are under way
//! at once, the rest waits in the log of news that all nodes share, or in the sessions themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mq_mesh::NodeId;

/// Bytes of a batch, beyond which it takes nothing more.
const BATCH: usize = 32 << 10;

/// Batches under way to one node.
const UNDER_WAY: usize = 4;

/// Sessions that are looked at for one batch, whether it takes them or not.
const WALK: usize = 2_048;

/// News that are kept for a node that does not take them; it is told everything anew instead.
const MAX_NEWS: usize = 100_000;

/// How long a client that connects waits at most until every node that can be reached knows of its session.
/// After that one of them has an error of its own.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// How often the sessions of nodes that are away are looked at for those whose time is over.
const SWEEP: Duration = Duration::from_secs(60);

/// The table is in parts, so that looking through it and growing it are short each time.
const PARTS: usize = 64;

/// Nodes that a directory can tell apart.
const MAX_NODES: usize = 65_535;

/// Bytes of a client identifier.
const LONGEST_CLIENT: usize = 1_024;

/// No session has such a number: they are milliseconds since 1970, or little more.
const END_OF_NUMBERS: u64 = 1 << 48;

/// An expiry that never comes.
const FOREVER: u32 = u32::MAX;

/// What another node broke. The channel to it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DirectoryError {
    #[error("a message of the directory ends early")]
    Truncated,
    #[error("a message of the directory is of kind {0}, which is none; the nodes need versions that agree")]
    Kind(u8),
    #[error("a client identifier has {0} bytes, {LONGEST_CLIENT} are the most")]
    Client(usize),
    #[error("a client identifier is not UTF-8")]
    Text,
    #[error("a session has the number {0}, which leaves none for later ones; restart the node that has it")]
    Number(u64),
    #[error("batch {0} is acknowledged, which was not sent")]
    Acknowledged(u64),
    #[error("there are {MAX_NODES} nodes already")]
    TooManyNodes,
}

/// Set in the number of a session that was begun in place of all others: its client wanted that, or they were
/// known and had nothing to keep. Of other numbers it is clear.
pub(crate) const REPLACES: u64 = 1;

/// Where the session of a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has none that this node knows of.
    Nowhere,
    /// On this node.
    Here,
    /// On its way from this node to another one.
    Leaving,
    /// On this one, which can be reached.
    At { node: NodeId, is_lasting: bool },
    /// On this one, which cannot be reached. It lasts.
    OutOfReach { node: Arc<str> },
}

/// Who waits until every node knows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    /// The shard of the session.
    pub(crate) shard: u16,
    pub(crate) who: Who,
}

/// Who on a shard waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A connection: its key on the shard, and its number.
    Connection { key: usize, number: u64 },
    /// The node that the session of this number came from.
    Giver { number: u64 },
}

/// Names the order to end a session, for [`Directory::ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// From this node, or from the directory itself.
    node: u16,
    generation: u16,
    batch: u64,
}

impl Order {
    /// One that nobody waits for.
    pub(crate) const NOBODYS: Self = Self { node: u16::MAX, generation: 0, batch: 0 };
}

/// What this node's shards have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// End the session of the client that began at this time: it has a later one elsewhere, or was to begin anew.
    End { client: Arc<str>, since: u64, order: Order },
    /// Every node that can be reached knows, or has had its time.
    Known(Waiter),
    /// A session that went from here to another node has ended: what is remembered of it may go.
    Over { client: Arc<str>, since: u64 },
}

/// What is told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Names it among the client's sessions.
    pub(crate) since: u64,
    /// Seconds that it outlives its connection.
    pub(crate) expiry: u32,
    /// It came from another node, or goes to one: that one's is the same.
    pub(crate) has_moved: bool,
    /// A hash of the name of its user; [`NOBODY`]: it is nobody's in particular.
    pub(crate) owner: u64,
}

/// The owner of sessions of clients that have not said who they are.
pub(crate) const NOBODY: u64 = 0;

/// The owner of a session that this node has given away: the node that has it knows.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// A session of this node.
#[derive(Clone, Copy, Debug)]
struct Own {
    since: u64,
    expiry: u32,
    owner: Owner,
    stage: Stage,
    /// It came from another node.
    has_moved: bool,
}

/// How a session of this node stands.
///
/// ```text
/// Here --> Leaving --> Left
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Here,
    /// It is offered to another node, or that has it, and is to serve it.
    Leaving,
    /// Another node serves it.
    Left,
}

/// A session of another node. There may be millions: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The number, below [`END_OF_NUMBERS`], in three parts, the lowest first.
    since: [u16; 3],
    owner: Owner,
    /// Seconds that it outlives its connection.
    expiry: u32,
    node: u16,
    /// In which telling of its node it was told.
    generation: u16,
}

impl Entry {
    fn since(self) -> u64 {
        self.since.into_iter().rev().fold(0, |number, part| (number << 16) | u64::from(part))
    }
}

/// A number below [`END_OF_NUMBERS`] in three parts, the lowest first.
fn parts_of(number: u64) -> [u16; 3] {
    [0, 16, 32].map(|shift| ((number >> shift) & 0xffff) as u16)
}

/// Whose sessions are, as a small number for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner(u16);

/// Everybody who has or had a session that this node knows of.
#[derive(Debug)]
struct Owners {
    hashes: Vec<u64>,
    by_hash: HashMap<u64, Owner>,
}

impl Owners {
    /// The small number of an owner. There are 65,534 besides nobody; of more it is not known who they are.
    fn number(&mut self, hash: u64) -> Owner {
        if let Some(known) = self.by_hash.get(&hash) {
            return *known;
        }
        let Ok(next) = u16::try_from(self.hashes.len()) else { return Owner(1) };
        self.hashes.push(hash);
        self.by_hash.insert(hash, Owner(next));
        Owner(next)
    }

    fn hash(&self, owner: Owner) -> u64 {
        self.hashes.get(usize::from(owner.0)).copied().unwrap_or(UNKNOWN)
    }
}

impl Default for Owners {
    fn default() -> Self {
        let mut owners = Self { hashes: Vec::new(), by_hash: HashMap::new() };
        // The first two, whoever comes.
        owners.number(NOBODY);
        owners.number(UNKNOWN);
        owners
    }
}

/// What has changed of a session of this node.
#[derive(Clone, Debug)]
enum News {
    Claim { client: Arc<str>, own: Own },
    Gone { client: Arc<str>, since: u64 },
    Left { client: Arc<str>, since: u64 },
}

/// Another node.
#[derive(Debug)]
struct Node {
    id: NodeId,
    name: Arc<str>,
    /// Counts the times that it began to tell all its sessions.
    generation: u16,
    /// The first of them whose sessions count.
    floor: u16,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Down { since: Instant },
    Up(Box<Up>),
}

/// What is told to a node in reach, and by it.
#[derive(Debug)]
struct Up {
    /// The last of the sessions that was told, while all are; `None`: all have been.
    walk: Option<Arc<str>>,
    /// The next batch begins the telling anew.
    begins: bool,
    /// It is told anew because it had not taken the news.
    is_retold: bool,
    /// It has been told that this is all.
    is_complete: bool,
    /// News before this one have been told, or need not be.
    position: u64,
    /// The last batch.
    sent: u64,
    under_way: VecDeque<Sent>,
    /// News before this one it knows.
    acknowledged: u64,
    /// It has not told all of its sessions yet.
    is_telling: bool,
    /// Batches that came.
    heard: u64,
    /// The last of those that it knows was heard.
    answered: u64,
    /// Orders of batches that have not been carried out, each with how many.
    orders: VecDeque<(u64, usize)>,
}

impl Up {
    /// A node that is told everything, and from then on the news from this one on.
    fn new(position: u64) -> Self {
        Self {
            walk: Some("".into()),
            begins: false,
            is_retold: false,
            is_complete: false,
            position,
            sent: 0,
            under_way: VecDeque::new(),
            acknowledged: position,
            is_telling: true,
            heard: 0,
            answered: 0,
            orders: VecDeque::new(),
        }
    }
}

/// A batch that is under way.
#[derive(Debug)]
struct Sent {
    /// News before this one the node knows once it has the batch.
    position: u64,
    /// What it was told to end.
    ends: Vec<(Arc<str>, u64)>,
}

/// Sessions of MQTT clients in the fleet, as one node knows them.
///
/// The shards tell it of their sessions ([`claim`](Self::claim), [`gone`](Self::gone)) and ask it where a
/// client belongs ([`lookup`](Self::lookup)). The control thread tells it who can be reached
/// ([`node_up`](Self::node_up), [`node_down`](Self::node_down)) and what they say
/// ([`handle`](Self::handle)), and then takes what is to be sent and done: [`poll_transmit`](Self::poll_transmit),
/// [`poll_event`](Self::poll_event). `now` never goes back.
#[derive(Debug)]
pub(crate) struct Directory {
    id: NodeId,
    own: BTreeMap<Arc<str>, Own>,
    owners: Owners,
    others: Vec<HashMap<Arc<str>, Entry>>,
    /// Further sessions of clients that seem to have several, by client and node. Few, and not for long.
    further: BTreeMap<(Arc<str>, u16), Entry>,
    /// Sessions that have left the nodes where they began or were, by client and node: when they began, and in
    /// which telling that was told.
    left: BTreeMap<(Arc<str>, u16), (u64, u16)>,
    /// Sessions that have left this node and are to end, while it is not known where they are.
    doomed: BTreeMap<Arc<str>, u64>,
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, u16>,
    /// What some node in reach has not been told yet; the first is number `first_news`.
    news: VecDeque<News>,
    first_news: u64,
    /// Sessions that nodes out of reach are to end, by node.
    owed: BTreeMap<(u16, Arc<str>), u64>,
    waiting: VecDeque<(u64, Instant, Waiter)>,
    events: VecDeque<Event>,
    /// What was kept over a restart has been claimed; until then the others are not told that this is all.
    is_recovered: bool,
    /// Orders that came before it was.
    early: BTreeSet<(Arc<str>, u64)>,
    /// News before this one tell of what was kept.
    recovered_at: u64,
    /// The part of the table to be looked through next, when one is.
    sweep: Option<usize>,
    next_sweep: Option<Instant>,
}

impl Directory {
    /// The directory of the node, with nothing in it.
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            id,
            own: BTreeMap::new(),
            owners: Owners::default(),
            others: (0..PARTS).map(|_| HashMap::new()).collect(),
            further: BTreeMap::new(),
            left: BTreeMap::new(),
            doomed: BTreeMap::new(),
            nodes: Vec::new(),
            by_id: HashMap::new(),
            news: VecDeque::new(),
            first_news: 0,
            owed: BTreeMap::new(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            is_recovered: false,
            early: BTreeSet::new(),
            recovered_at: 0,
            sweep: None,
            next_sweep: None,
        }
    }

    // ---- the shards' side -------------------------------------------------------------------------

    /// Where the session of a client is.
    pub(crate) fn lookup(&self, now: Instant, client: &str) -> Place {
        let own = self.own.get(client).filter(|own| own.stage != Stage::Left);
        let is_leaving = own.is_some_and(|own| own.stage == Stage::Leaving);
        let other = self.entry(now, client).filter(|_| own.is_none() || is_leaving);
        let Some((entry, node)) = other else {
            return match own {
                Some(_) if is_leaving => Place::Leaving,
                Some(_) => Place::Here,
                None => Place::Nowhere,
            };
        };
        match node.link {
            Link::Up(_) => Place::At { node: node.id, is_lasting: entry.expiry > 0 },
            Link::Down { .. } => Place::OutOfReach { node: node.name.clone() },
        }
    }

    /// Whose the session of a client is that another node has; `None`: there is none that is known of.
    pub(crate) fn owner(&self, now: Instant, client: &str) -> Option<u64> {
        self.entry(now, client).map(|(entry, _)| self.owners.hash(entry.owner))
    }

    /// When the latest session of a client began that this node knows of; a new one begins later, whatever
    /// the clocks of the nodes say.
    pub(crate) fn latest(&self, client: &str) -> u64 {
        let own = self.own.get(client).map_or(0, |own| own.since);
        self.entries(client).map(|entry| entry.since()).fold(own, u64::max)
    }

    /// A session is here, or its expiry has changed. True: the waiter gets [`Event::Known`] when every node in reach knows; false: there is nothing to wait for,
    /// or the session ends with its connection and takes nobody's place, so that nothing hangs on it.
    pub(crate) fn claim(
        &mut self,
        now: Instant,
        client: &Arc<str>,
        claim: Claim,
        waiter: Option<Waiter>,
    ) -> bool {
        let Claim { since, expiry, has_moved, owner } = claim;
        let owner = self.owners.number(owner);
        let own = Own { since, expiry, owner, stage: Stage::Here, has_moved };
        let is_same =
            |known: &Own| known.since == since && known.expiry == expiry && known.stage == Stage::Here;
        if self.own.get(client).is_some_and(is_same) {
            return false;
        }
        let Some(has_replaced) = self.replace_others(now, client, own) else { return false };
        if self.early.contains(&(client.clone(), since)) {
            self.order_end(client.clone(), since, None);
            return false;
        }
        self.own.insert(client.clone(), own);
        self.doomed.remove(client);
        let position = self.tell(News::Claim { client: client.clone(), own });
        let is_needed = (expiry > 0 || has_replaced) && self.known() < position;
        let Some(waiter) = waiter.filter(|_| is_needed) else { return false };
        self.waiting.push_back((position, now + KNOWN_WITHIN, waiter));
        true
    }

    /// A session of this node has ended, or one that has left it.
    pub(crate) fn gone(&mut self, client: &Arc<str>, since: u64) {
        if self.own.get(client).is_some_and(|own| own.since == since) {
            self.own.remove(client);
            self.doomed.remove(client);
            self.tell(News::Gone { client: client.clone(), since });
        }
    }

    /// A session of this node is about to be another one's, or is and that one has not said so yet. `false`: it
    /// stays after all.
    pub(crate) fn set_leaving(&mut self, client: &str, since: u64, is_leaving: bool) {
        let own = self.own.get_mut(client).filter(|own| own.since == since && own.stage != Stage::Left);
        if let Some(own) = own {
            own.stage = if is_leaving { Stage::Leaving } else { Stage::Here };
        }
    }

    /// A session has left this node, and every node in reach has been told where it is. `ends`: it was to end
    /// while it left. After a restart it is told here alone.
    pub(crate) fn left(&mut self, client: &Arc<str>, since: u64, ends: bool) {
        let is_other = self.own.get(client).is_some_and(|own| own.since != since);
        if !is_other && !ends {
            let own = Own { since, expiry: 0, owner: Owner(0), stage: Stage::Left, has_moved: false };
            self.own.insert(client.clone(), own);
            self.tell(News::Left { client: client.clone(), since });
        }
        if ends || self.early.contains(&(client.clone(), since)) {
            self.end_elsewhere(client, since);
        }
    }

    /// Orders the end of a session that has left this node, where it is.
    fn end_elsewhere(&mut self, client: &Arc<str>, since: u64) {
        let nodes: Vec<u16> =
            self.entries(client).filter(|entry| entry.since() == since).map(|entry| entry.node).collect();
        if nodes.is_empty() {
            self.doomed.insert(client.clone(), since);
        }
        for node in nodes {
            self.owed.insert((node, client.clone()), since);
        }
    }

    /// An order has been carried out, whether there was such a session or not.
    pub(crate) fn ended(&mut self, order: Order) {
        let Some(node) = self.nodes.get_mut(usize::from(order.node)) else { return };
        let Link::Up(up) = &mut node.link else { return };
        if node.generation != order.generation {
            return;
        }
        if let Some((_, left)) = up.orders.iter_mut().find(|(batch, _)| *batch == order.batch) {
            *left = left.saturating_sub(1);
        }
        while up.orders.front().is_some_and(|(_, left)| *left == 0) {
            up.orders.pop_front();
        }
    }

    /// Every session that was kept over the restart has been claimed.
    pub(crate) fn recovered(&mut self) {
        self.is_recovered = true;
        self.early = BTreeSet::new();
        self.recovered_at = self.end_of_news();
    }

    /// Whether the session of a client that began on a node goes on, wherever; `None` while nobody who would
    /// know has said so. Without its number, any of the client's that is there.
    pub(crate) fn goes_on(
        &self,
        now: Instant,
        begun_on: NodeId,
        client: &str,
        since: Option<u64>,
    ) -> Option<bool> {
        let is_meant = |number: u64| since.is_none_or(|since| since == number);
        let own = self.own.get(client).filter(|own| is_meant(own.since));
        let is_here = own.is_some_and(|own| own.stage != Stage::Left);
        if is_here || self.valid(now, client).any(|(entry, _)| is_meant(entry.since())) {
            return Some(true);
        }
        if begun_on == self.id {
            return (self.is_recovered && own.is_none()).then_some(false);
        }
        (!self.is_remembered(begun_on, client, is_meant)?).then_some(false)
    }

    /// Whether a session that this node has given to another one is over; `None` while that has not told, or is
    /// out of reach.
    pub(crate) fn is_over(&self, now: Instant, at: NodeId, client: &str, since: u64) -> Option<bool> {
        let is_remembered = self.is_remembered(at, client, |number| number == since)?;
        Some(!is_remembered && !self.valid(now, client).any(|(entry, _)| entry.since() == since))
    }

    /// Whether such a session of the client has left a node; `None` while that has not told all.
    fn is_remembered(&self, at: NodeId, client: &str, is_meant: impl Fn(u64) -> bool) -> Option<bool> {
        let index = *self.by_id.get(&at)?;
        let node = self.nodes.get(usize::from(index))?;
        let Link::Up(up) = &node.link else { return None };
        let left = self.left.get(&(client.into(), index));
        let is_left = left.is_some_and(|(since, told)| is_meant(*since) && *told == node.generation);
        (!up.is_telling).then_some(is_left)
    }

    /// Whether there is a channel to a node.
    pub(crate) fn is_in_reach(&self, node: NodeId) -> bool {
        let index = self.by_id.get(&node).map(|index| usize::from(*index));
        let node = index.and_then(|index| self.nodes.get(index));
        node.is_some_and(|node| matches!(node.link, Link::Up(_)))
    }

    /// Whether a node in reach has not told all of its sessions yet: a client may have one there.
    pub(crate) fn is_learning(&self) -> bool {
        self.ups().any(|up| up.is_telling)
    }

    /// Sessions that this node tells of, and those of others.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.own.len(), self.others.iter().map(HashMap::len).sum())
    }

    /// The session of another node that counts, whether it is in reach or not.
    fn entry(&self, now: Instant, client: &str) -> Option<(Entry, &Node)> {
        self.valid(now, client).max_by_key(|(entry, node)| rank(entry.since(), entry.expiry, node.id))
    }

    fn valid(&self, now: Instant, client: &str) -> impl Iterator<Item = (Entry, &Node)> {
        self.entries(client).filter_map(move |entry| {
            let node = self.nodes.get(usize::from(entry.node))?;
            is_valid(entry, node, now).then_some((entry, node))
        })
    }

    /// What other nodes have of a client.
    fn entries(&self, client: &str) -> impl Iterator<Item = Entry> {
        let further = (!self.further.is_empty()).then(|| self.further_of(client).map(|(_, entry)| *entry));
        self.part(client).get(client).copied().into_iter().chain(further.into_iter().flatten())
    }

    fn further_of(&self, client: &str) -> impl Iterator<Item = (&(Arc<str>, u16), &Entry)> {
        let key: Arc<str> = client.into();
        self.further.range((key.clone(), 0)..=(key, u16::MAX))
    }

    fn insert(&mut self, client: Arc<str>, entry: Entry) {
        let nodes = &self.nodes;
        let part = &mut self.others[part_of(&client)];
        match part.get_mut(&client) {
            None => drop(part.insert(client, entry)),
            Some(known) if known.node == entry.node => {
                if known.since() <= entry.since() || known.generation != entry.generation {
                    *known = entry;
                }
            }
            Some(_) if nodes.len() > usize::from(entry.node) => {
                let known = self.further.entry((client, entry.node)).or_insert(entry);
                if known.since() <= entry.since() || known.generation != entry.generation {
                    *known = entry;
                }
            }
            Some(_) => {}
        }
    }

    /// Removes what a node has of a client, up to one that began then.
    fn remove(&mut self, client: &str, node: u16, since: u64) {
        let is_meant = |entry: &Entry| entry.node == node && entry.since() <= since;
        if self.part(client).get(client).is_some_and(is_meant) {
            self.part_mut(client).remove(client);
            self.move_up(client);
            return;
        }
        let further = self.further_of(client).find(|(_, entry)| is_meant(entry));
        if let Some(key) = further.map(|(key, _)| key.clone()) {
            self.further.remove(&key);
        }
    }

    /// The table has nothing of a client any more: what else is known of it goes there.
    fn move_up(&mut self, client: &str) {
        let Some(key) = self.further_of(client).next().map(|(key, _)| key.clone()) else { return };
        if let Some(entry) = self.further.remove(&key) {
            self.part_mut(client).insert(key.0, entry);
        }
    }

    /// Makes room for a session of this node: those of other nodes are to be ended. Says whether there are any;
    /// `None` when one of them counts more.
    fn replace_others(&mut self, now: Instant, client: &Arc<str>, own: Own) -> Option<bool> {
        // The node that it came from has yet to hear that it has arrived.
        let is_other = |entry: &Entry| !(own.has_moved && entry.since() == own.since);
        let own_rank = rank(own.since, own.expiry, self.id);
        let counts_more = self
            .valid(now, client)
            .filter(|(entry, _)| is_other(entry))
            .any(|(entry, node)| rank(entry.since(), entry.expiry, node.id) > own_rank);
        if counts_more {
            self.order_end(client.clone(), own.since, None);
            return None;
        }
        let mut has_replaced = false;
        let entries: Vec<Entry> = self.entries(client).filter(is_other).collect();
        for entry in entries {
            self.remove(client, entry.node, entry.since());
            if self.nodes.get(usize::from(entry.node)).is_some_and(|node| is_valid(entry, node, now)) {
                self.owed.insert((entry.node, client.clone()), entry.since());
                has_replaced = true;
            }
        }
        Some(has_replaced)
    }

    fn order_end(&mut self, client: Arc<str>, since: u64, by: Option<Order>) {
        self.events.push_back(Event::End { client, since, order: by.unwrap_or(Order::NOBODYS) });
    }

    fn part(&self, client: &str) -> &HashMap<Arc<str>, Entry> {
        &self.others[part_of(client)]
    }

    fn part_mut(&mut self, client: &str) -> &mut HashMap<Arc<str>, Entry> {
        &mut self.others[part_of(client)]
    }

    // ---- news -------------------------------------------------------------------------------------

    fn end_of_news(&self) -> u64 {
        self.first_news + self.news.len() as u64
    }

    /// Adds news; gives the position behind it.
    fn tell(&mut self, news: News) -> u64 {
        if self.ups().next().is_none() {
            // Who comes into reach is told everything.
            self.first_news += 1;
            return self.first_news;
        }
        self.news.push_back(news);
        if self.news.len() > MAX_NEWS {
            self.tell_laggards_anew();
        }
        self.end_of_news()
    }

    fn ups(&self) -> impl Iterator<Item = &Up> {
        self.nodes.iter().filter_map(|node| match &node.link {
            Link::Up(up) => Some(&**up),
            Link::Down { .. } => None,
        })
    }

    /// News before this one every node in reach knows.
    fn known(&self) -> u64 {
        self.ups().map(|up| up.acknowledged).min().unwrap_or(u64::MAX)
    }

    fn trim_news(&mut self) {
        let end = self.end_of_news();
        let told = self.ups().map(|up| up.position).min().unwrap_or(end);
        while self.first_news < told && self.news.pop_front().is_some() {
            self.first_news += 1;
        }
        if self.news.is_empty() {
            self.news = VecDeque::new();
        }
    }

    /// The log has become long: those that have not taken half of it are told everything anew.
    fn tell_laggards_anew(&mut self) {
        let (half, end) = (self.first_news + MAX_NEWS as u64 / 2, self.end_of_news());
        for node in &mut self.nodes {
            if let Link::Up(up) = &mut node.link
                && up.position < half
            {
                up.walk = Some("".into());
                up.begins = true;
                up.is_retold = true;
                up.is_complete = false;
                up.position = end;
            }
        }
        self.trim_news();
    }

    fn release_waiters(&mut self, now: Instant) {
        let known = self.known();
        while let Some((position, until, _)) = self.waiting.front()
            && (*position <= known || *until <= now)
        {
            if let Some((_, _, waiter)) = self.waiting.pop_front() {
                self.events.push_back(Event::Known(waiter));
            }
        }
    }

    // ---- the control thread's side ------------------------------------------------------------------

    /// A channel to the node has opened: nothing that was sent before counts. Its name is for people.
    ///
    /// # Errors
    /// When there are too many nodes.
    pub(crate) fn node_up(&mut self, id: NodeId, name: &str) -> Result<(), DirectoryError> {
        let index = self.index(id, name)?;
        self.take_back_orders(index);
        let end = self.end_of_news();
        if let Some(node) = self.nodes.get_mut(usize::from(index)) {
            node.generation = node.generation.wrapping_add(1);
            node.link = Link::Up(Box::new(Up::new(end)));
        }
        Ok(())
    }

    /// The node is out of reach. Its sessions that do not last are gone, the others are kept.
    pub(crate) fn node_down(&mut self, now: Instant, id: NodeId) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        self.take_back_orders(index);
        let Some(node) = self.nodes.get_mut(usize::from(index)) else { return };
        if matches!(node.link, Link::Up(_)) {
            node.link = Link::Down { since: now };
            self.sweep = Some(0);
            self.trim_news();
            self.release_waiters(now);
        }
    }

    /// What was to be ended at a node and is not known to be is owed again.
    fn take_back_orders(&mut self, index: u16) {
        let Some(Node { link: Link::Up(up), .. }) = self.nodes.get_mut(usize::from(index)) else { return };
        let ends: Vec<_> = up.under_way.drain(..).flat_map(|sent| sent.ends).collect();
        for (client, since) in ends {
            let owed = self.owed.entry((index, client)).or_default();
            *owed = since.max(*owed);
        }
    }

    fn index(&mut self, id: NodeId, name: &str) -> Result<u16, DirectoryError> {
        if let Some(index) = self.by_id.get(&id) {
            return Ok(*index);
        }
        let index = u16::try_from(self.nodes.len()).unwrap_or(u16::MAX);
        if usize::from(index) >= MAX_NODES {
            return Err(DirectoryError::TooManyNodes);
        }
        let link = Link::Up(Box::new(Up::new(0)));
        self.nodes.push(Node { id, name: name.into(), generation: 0, floor: 0, link });
        self.by_id.insert(id, index);
        Ok(index)
    }

    /// Takes what a node says.
    ///
    /// # Errors
    /// When it has broken the rules.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: NodeId,
        mut message: Bytes,
    ) -> Result<(), DirectoryError> {
        let Some(index) = self.by_id.get(&from).copied() else { return Ok(()) };
        match byte(&mut message)? {
            BATCH_KIND => self.handle_batch(index, message),
            ACKNOWLEDGEMENT_KIND => self.handle_acknowledgement(now, index, message),
            other => Err(DirectoryError::Kind(other)),
        }
    }

    fn handle_batch(&mut self, index: u16, mut message: Bytes) -> Result<(), DirectoryError> {
        let flags = byte(&mut message)?;
        let Some(node) = self.nodes.get_mut(usize::from(index)) else { return Ok(()) };
        let Link::Up(up) = &mut node.link else { return Ok(()) };
        up.heard += 1;
        let mut order = Order { node: index, generation: node.generation, batch: up.heard };
        if flags & BEGINS != 0 {
            node.generation = node.generation.wrapping_add(1);
            up.is_telling = true;
            // Orders of before would not be found any more.
            order.generation = node.generation;
            up.orders.clear();
        }
        let mut orders = 0;
        while !message.is_empty() {
            orders += usize::from(self.handle_item(order, &mut message)?);
        }
        let Some(node) = self.nodes.get_mut(usize::from(index)) else { return Ok(()) };
        let Link::Up(up) = &mut node.link else { return Ok(()) };
        if orders > 0 {
            up.orders.push_back((order.batch, orders));
        }
        if flags & COMPLETE != 0 {
            up.is_telling = false;
            node.floor = node.generation;
            self.sweep = Some(0);
        }
        Ok(())
    }

    /// Takes one item of a batch; true when a session is to be ended because of it.
    fn handle_item(&mut self, order: Order, message: &mut Bytes) -> Result<bool, DirectoryError> {
        let kind = byte(message)?;
        let client = client(message)?;
        let since = need(message, 8)?.get_u64();
        if since >= END_OF_NUMBERS {
            return Err(DirectoryError::Number(since));
        }
        match kind {
            CLAIM | OWNED_CLAIM => {
                let expiry = need(message, 4)?.get_u32();
                let owner = if kind == OWNED_CLAIM { need(message, 8)?.get_u64() } else { NOBODY };
                let entry = Entry {
                    since: parts_of(since),
                    owner: self.owners.number(owner),
                    expiry,
                    node: order.node,
                    generation: order.generation,
                };
                Ok(self.take_claim(client, entry, order))
            }
            GONE => {
                self.remove(&client, order.node, since);
                self.note_over(client, order.node, since);
                Ok(false)
            }
            LEFT => {
                self.remove(&client, order.node, since);
                self.left.insert((client, order.node), (since, order.generation));
                Ok(false)
            }
            END => Ok(self.take_order(client, since, order)),
            other => Err(DirectoryError::Kind(other)),
        }
    }

    /// A session has ended where it was: nobody has to remember it any more.
    fn note_over(&mut self, client: Arc<str>, node: u16, since: u64) {
        self.left.remove(&(client.clone(), node));
        let own = self.own.get(&client).filter(|own| own.stage == Stage::Left && own.since == since);
        if own.is_some() {
            self.gone(&client, since);
            self.events.push_back(Event::Over { client, since });
        }
    }

    /// True when a session of this node ends, because the claim is a later one.
    fn take_claim(&mut self, client: Arc<str>, entry: Entry, order: Order) -> bool {
        let Some(id) = self.nodes.get(usize::from(entry.node)).map(|node| node.id) else { return false };
        if !self.left.is_empty() {
            self.left.remove(&(client.clone(), entry.node));
        }
        if self.doomed.get(&client) == Some(&entry.since()) {
            self.doomed.remove(&client);
            self.owed.insert((entry.node, client.clone()), entry.since());
        }
        // The session's own spelling is used again: one allocation for all that name it here.
        let own = self.own.get_key_value(&client).map(|(key, own)| (key.clone(), *own));
        let key = own.as_ref().map_or(client, |(key, _)| key.clone());
        self.insert(key, entry);
        let Some((key, own)) = own.filter(|(_, own)| own.stage != Stage::Left) else { return false };
        if own.since == entry.since() && (own.has_moved || own.stage == Stage::Leaving) {
            // The same session, on its way from one of the two to the other.
            return false;
        }
        if rank(own.since, own.expiry, self.id) > rank(entry.since(), entry.expiry, id) {
            // It has heard of ours, or will.
            return false;
        }
        self.own.remove(&key);
        self.tell(News::Gone { client: key.clone(), since: own.since });
        self.order_end(key, own.since, Some(order));
        true
    }

    /// True when there is a session to end.
    fn take_order(&mut self, client: Arc<str>, since: u64, order: Order) -> bool {
        if !self.is_recovered {
            self.early.insert((client.clone(), since));
        }
        let Some(own) = self.own.get(&client).copied().filter(|own| own.since == since) else { return false };
        if own.stage == Stage::Left {
            self.end_elsewhere(&client, own.since);
            return false;
        }
        self.own.remove(&client);
        self.tell(News::Gone { client: client.clone(), since: own.since });
        self.order_end(client, own.since, Some(order));
        true
    }

    fn handle_acknowledgement(
        &mut self,
        now: Instant,
        index: u16,
        mut message: Bytes,
    ) -> Result<(), DirectoryError> {
        let batch = need(&mut message, 8)?.get_u64();
        let Some(Node { link: Link::Up(up), .. }) = self.nodes.get_mut(usize::from(index)) else {
            return Ok(());
        };
        let first = up.sent - up.under_way.len() as u64;
        if batch > up.sent {
            return Err(DirectoryError::Acknowledged(batch));
        }
        for _ in first..batch {
            if let Some(sent) = up.under_way.pop_front() {
                up.acknowledged = up.acknowledged.max(sent.position);
            }
        }
        self.release_waiters(now);
        Ok(())
    }

    /// The next message, and to whom. To be asked again until there is none.
    pub(crate) fn poll_transmit(&mut self) -> Option<(NodeId, Bytes)> {
        for index in 0..self.nodes.len() {
            let message = self.acknowledgement(index).or_else(|| self.batch(index));
            if let (Some(message), Some(node)) = (message, self.nodes.get(index)) {
                return Some((node.id, message));
            }
        }
        None
    }

    /// Says which batches of a node have been taken, and what they ordered done.
    fn acknowledgement(&mut self, index: usize) -> Option<Bytes> {
        let Link::Up(up) = &mut self.nodes.get_mut(index)?.link else { return None };
        let done = up.orders.front().map_or(up.heard, |(batch, _)| batch - 1);
        if done <= up.answered {
            return None;
        }
        up.answered = done;
        let mut out = BytesMut::with_capacity(9);
        out.put_u8(ACKNOWLEDGEMENT_KIND);
        out.put_u64(done);
        Some(out.freeze())
    }

    /// The next of what a node is to be told.
    fn batch(&mut self, index: usize) -> Option<Bytes> {
        let end = self.end_of_news();
        let Link::Up(up) = &mut self.nodes.get_mut(index)?.link else { return None };
        if up.under_way.len() >= UNDER_WAY {
            return None;
        }
        let mut out = BytesMut::new();
        out.put_u8(BATCH_KIND);
        out.put_u8(0);
        let ends = put_orders(&mut out, &mut self.owed, u16::try_from(index).ok()?);
        let begins = std::mem::take(&mut up.begins);
        if let Some(last) = up.walk.take() {
            up.walk = put_sessions(&mut out, &self.own, &self.owners, last);
        }
        let skipped = usize::try_from(up.position - self.first_news).unwrap_or(usize::MAX);
        for news in self.news.iter().skip(skipped) {
            if out.len() >= BATCH {
                break;
            }
            put_news(&mut out, news, &self.owners);
            up.position += 1;
        }
        let is_told = up.walk.is_none() && self.is_recovered && up.position >= self.recovered_at;
        let completes = is_told && up.position == end && !up.is_complete;
        if out.len() == 2 && !begins && !completes {
            return None;
        }
        up.is_complete |= completes;
        if let Some(flags) = out.get_mut(1) {
            *flags = if begins { BEGINS } else { 0 } | if completes { COMPLETE } else { 0 };
        }
        up.sent += 1;
        up.is_retold &= up.walk.is_some();
        // What was news before it is told anew it knows when it has been told all.
        let position = if up.is_retold { 0 } else { up.position };
        up.under_way.push_back(Sent { position, ends });
        self.trim_news();
        Some(out.freeze())
    }

    /// What a shard has to do next.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(_, until, _)| *until);
        let sweep = self.sweep.map(|_| now).or(self.next_sweep);
        waiting.into_iter().chain(sweep).min()
    }

    /// Looks at what is due: clients that have waited long enough, and some sessions that may be over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.release_waiters(now);
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.next_sweep = None;
            self.sweep.get_or_insert(0);
        }
        let Some(part) = self.sweep else { return };
        let nodes = &self.nodes;
        if let Some(entries) = self.others.get_mut(part) {
            let before = entries.len();
            entries.retain(|_, entry| {
                nodes.get(usize::from(entry.node)).is_some_and(|node| is_valid(*entry, node, now))
            });
            if entries.len() < before / 2 {
                entries.shrink_to_fit();
            }
        }
        self.sweep = Some(part + 1).filter(|next| *next < PARTS);
        if self.sweep.is_none() {
            self.sweep_further(now);
        }
        if self.sweep.is_none() && self.nodes.iter().any(|node| matches!(node.link, Link::Down { .. })) {
            self.next_sweep = Some(now + SWEEP);
        }
    }

    fn sweep_further(&mut self, now: Instant) {
        let nodes = &self.nodes;
        self.further.retain(|(_, node), entry| {
            nodes.get(usize::from(*node)).is_some_and(|node| is_valid(*entry, node, now))
        });
        self.left.retain(|(_, node), (_, told)| {
            nodes.get(usize::from(*node)).is_some_and(|node| is_told(*told, node))
        });
        let clients: Vec<Arc<str>> = self.further.keys().map(|(client, _)| client.clone()).collect();
        for client in clients {
            if !self.part(&client).contains_key(&client) {
                self.move_up(&client);
            }
        }
    }
}

/// Whether a session of another node still counts.
fn is_valid(entry: Entry, node: &Node, now: Instant) -> bool {
    let is_known = is_told(entry.generation, node);
    match &node.link {
        Link::Up(_) => is_known && (entry.expiry > 0 || entry.generation == node.generation),
        Link::Down { since } => {
            let is_over = |expiry| now.saturating_duration_since(*since) >= Duration::from_secs(expiry);
            is_known && entry.expiry > 0 && (entry.expiry == FOREVER || !is_over(entry.expiry.into()))
        }
    }
}

/// Whether what was told in that telling has not been left out of a later one.
fn is_told(generation: u16, node: &Node) -> bool {
    // Serial numbers: nobody comes into reach so often that the oldest would seem the newest.
    generation.wrapping_sub(node.floor) < 1 << 15
}

/// Which of two sessions of a client counts: the one of the higher rank.
fn rank(since: u64, expiry: u32, node: NodeId) -> (u8, u64, NodeId) {
    if since & REPLACES != 0 {
        (2, since, node)
    } else if expiry > 0 {
        (1, !since, node)
    } else {
        (0, since, node)
    }
}

/// Whether a session of a client, by its number and expiry, counts and another one of the same node's does not.
pub(crate) fn counts_more(one: (u64, u32), other: (u64, u32)) -> bool {
    rank(one.0, one.1, NodeId(0)) > rank(other.0, other.1, NodeId(0))
}

fn part_of(client: &str) -> usize {
    // FNV-1a.
    let hash = client.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 32) as usize % PARTS
}

const BATCH_KIND: u8 = 1;
const ACKNOWLEDGEMENT_KIND: u8 = 2;

/// Flag of a batch: everything is told anew from here on.
const BEGINS: u8 = 1;
/// Flag of a batch: with it everything has been told.
const COMPLETE: u8 = 2;

const CLAIM: u8 = 1;
const GONE: u8 = 2;
const END: u8 = 3;
const LEFT: u8 = 4;
const OWNED_CLAIM: u8 = 5;

/// Adds orders for a node that have not been said; gives them.
fn put_orders(
    out: &mut BytesMut,
    owed: &mut BTreeMap<(u16, Arc<str>), u64>,
    node: u16,
) -> Vec<(Arc<str>, u64)> {
    let mut ends = Vec::new();
    while out.len() < BATCH {
        let Some((key, since)) = owed.range((node, "".into())..).next() else { break };
        let (key, since) = (key.clone(), *since);
        if key.0 != node {
            break;
        }
        owed.remove(&key);
        put_item(out, END, &key.1, since);
        ends.push((key.1, since));
    }
    ends
}

/// Adds sessions behind this client's; gives the last one, `None` when there are no more.
fn put_sessions(
    out: &mut BytesMut,
    own: &BTreeMap<Arc<str>, Own>,
    owners: &Owners,
    last: Arc<str>,
) -> Option<Arc<str>> {
    let from = if last.is_empty() { Bound::Unbounded } else { Bound::Excluded(last.clone()) };
    let mut told = last;
    for (client, own) in own.range((from, Bound::Unbounded)).take(WALK) {
        if out.len() >= BATCH {
            return Some(told);
        }
        put_own(out, client, own, owners);
        told = client.clone();
    }
    let is_more = own.range((Bound::Excluded(told.clone()), Bound::Unbounded)).next().is_some();
    is_more.then_some(told)
}

fn put_news(out: &mut BytesMut, news: &News, owners: &Owners) {
    match news {
        News::Claim { client, own } => put_own(out, client, own, owners),
        News::Gone { client, since } => put_item(out, GONE, client, *since),
        News::Left { client, since } => put_item(out, LEFT, client, *since),
    }
}

fn put_own(out: &mut BytesMut, client: &str, own: &Own, owners: &Owners) {
    if own.stage == Stage::Left {
        return put_item(out, LEFT, client, own.since);
    }
    let owner = owners.hash(own.owner);
    let kind = if owner == NOBODY { CLAIM } else { OWNED_CLAIM };
    put_item(out, kind, client, own.since);
    out.put_u32(own.expiry);
    if owner != NOBODY {
        out.put_u64(owner);
    }
}

fn put_item(out: &mut BytesMut, kind: u8, client: &str, since: u64) {
    out.put_u8(kind);
    // No client has a longer one.
    let client = client.as_bytes().get(..LONGEST_CLIENT).unwrap_or(client.as_bytes());
    out.put_u16(u16::try_from(client.len()).unwrap_or(u16::MAX));
    out.put_slice(client);
    out.put_u64(since);
}

fn need(input: &mut Bytes, count: usize) -> Result<Bytes, DirectoryError> {
    if input.len() < count { Err(DirectoryError::Truncated) } else { Ok(input.split_to(count)) }
}

fn byte(input: &mut Bytes) -> Result<u8, DirectoryError> {
    Ok(need(input, 1)?.get_u8())
}

fn client(input: &mut Bytes) -> Result<Arc<str>, DirectoryError> {
    let length = usize::from(need(input, 2)?.get_u16());
    if length > LONGEST_CLIENT {
        return Err(DirectoryError::Client(length));
    }
    let text = need(input, length)?;
    std::str::from_utf8(&text).map(Into::into).map_err(|_| DirectoryError::Text)
}

#[cfg(test)]
mod tests;
