//! The task that owns the journal and the replica: decides changes, makes them durable, puts them in force,
//! answers. Changes of other nodes take the same way.

mod decide;
mod ids;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mq_core::split_shard;
use mq_mesh::NodeId;
use mq_mesh::replica::{Event, Key, Limits, Record, Replica, Version};
use mq_model::manifest::AddressType;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use ids::Ids;

use super::homes::Homes;
use super::journal::Journal;
use super::principal::{Principals, Staged};
use super::record::Change;
use super::value::{ADDRESS, Value, continues};
use super::{
    Answer, BATCH, BuiltIn, ChangeError, Exchange, JOIN_PATIENCE, Loaded, MAX_ADDRESSES, Membership, Object,
    PrincipalName, Put, REJOIN_PATIENCE, Relocation, Request, SHARD_DEADLINE, SPREAD_PATIENCE, StoreError,
    Subject, View, address_of, has_own_home,
};
use crate::hub::Hub;
use crate::mesh::NodeEvent;
use crate::users::UserTable;

/// Events of other nodes that are taken before the next batch is written.
const EVENTS: usize = 256;

/// How long what nobody has asked for waits after the disk has refused it.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What a writer works on.
pub(super) struct Settings {
    pub(super) hub: Hub,
    pub(super) view: View,
    pub(super) tables: watch::Sender<Arc<UserTable>>,
    pub(super) exchange: Option<Exchange>,
    pub(super) joined: watch::Sender<bool>,
}

/// The task that owns the journal.
pub(super) struct Writer {
    /// Away only while it is written.
    journal: Option<Journal>,
    ids: Ids,
    /// Queues of which this node was the home, and of which it may hold something that nobody knows of.
    displaced: BTreeSet<Arc<str>>,
    /// Queues of which this node has nothing left to pass on, until their objects say so.
    emptied: BTreeSet<Arc<str>>,
    /// The disk has refused a change: when those are tried again that nobody has asked for.
    retry_at: Option<Instant>,
    /// What the journal has to be told besides, with the next change.
    notes: Vec<Change>,
    was_member: bool,
    replica: Replica,
    /// The addresses as they were declared, also those that are not served: subscriptions without a topic.
    declared: Declared,
    principals: Principals,
    built_in: BuiltIn,
    membership: Option<Membership>,
    homes: Homes,
    hub: Hub,
    view: View,
    /// Whoever looks users up goes by the last one.
    tables: watch::Sender<Arc<UserTable>>,
    exchange: Option<Exchange>,
    /// Answers that wait for other nodes.
    spreading: BTreeMap<Key, Vec<(Version, Pending)>>,
    /// When to answer all the same, in that order.
    patience: VecDeque<(Instant, Key, Version)>,
    entry: Entry,
    joined: watch::Sender<bool>,
}

/// Whether changes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Open,
    /// Somebody may know better: they wait until then.
    Waiting {
        until: Instant,
    },
    /// Nobody was there: they are refused until somebody is.
    Refused,
}

/// Addresses as they were declared.
pub(super) type Declared = BTreeMap<Arc<str>, Arc<Object>>;

/// What a batch is about to do.
#[derive(Default)]
struct Batch {
    /// Every name the batch changes, by which change, and what it will then be.
    outcome: HashMap<Arc<str>, (Version, Option<Arc<Object>>)>,
    /// The same of spaces, users and roles.
    principals: Staged,
    answers: Vec<(Subject, Option<Version>, Pending)>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.outcome.is_empty() && self.principals.is_empty()
    }
}

/// An answer that waits.
pub(super) enum Pending {
    Put(oneshot::Sender<Answer<(Put, Arc<Object>)>>, Answer<(Put, Arc<Object>)>),
    Remove(oneshot::Sender<Answer<()>>, Answer<()>),
    Edit(oneshot::Sender<Answer<Put>>, Answer<Put>),
}

impl Pending {
    /// Sends the answer, or the failure in its place.
    fn send(self, failure: Option<ChangeError>) {
        // A caller that has gone away misses its answer; the change stays.
        match self {
            Self::Put(reply, answer) => {
                let _ = reply.send(failure.map_or(answer, Err));
            }
            Self::Remove(reply, answer) => {
                let _ = reply.send(failure.map_or(answer, Err));
            }
            Self::Edit(reply, answer) => {
                let _ = reply.send(failure.map_or(answer, Err));
            }
        }
    }
}

/// What wakes the task.
enum Wake {
    Requests(usize),
    Events(usize),
    Timer,
}

impl Writer {
    pub(super) fn new(loaded: Loaded, settings: Settings) -> Self {
        let Loaded { journal, local, built_in, membership, was_member } = loaded;
        let Settings { hub, view, tables, exchange, joined } = settings;
        let limits = match membership {
            Some(_) => Limits::default(),
            // There is nobody who would have to hear of what was removed; what was removed while the node
            // was one of a fleet stays known.
            None if journal.base().is_member => Limits::default(),
            None => Limits { max_tombstones: 0, ..Limits::default() },
        };
        let mut replica = Replica::new(local, Limits { max_objects: MAX_ADDRESSES, ..limits });
        replica.observe(journal.base().clock);
        for kept in journal.objects() {
            replica.recover(kept.record.clone());
        }
        let declared = declared(&journal);
        let mut principals = Principals::read(&journal);
        let table = principals.table();
        if !principals.is_empty() {
            // The shards are told before they get any client, and nobody waits for them.
            drop(hub.set_users(&table));
        }
        tables.send_replace(table);
        *view.write().unwrap_or_else(PoisonError::into_inner) = self::view(&declared, built_in.as_ref());
        let here = membership.as_ref().map_or_else(|| Arc::from(""), |membership| membership.node.clone());
        let mut homes = Homes::new(here);
        declared.values().for_each(|object| homes.count(object.home.as_ref(), true));
        let now = Instant::now();
        let entry = match &membership {
            None => Entry::Open,
            Some(membership) if membership.is_founder && !was_member => Entry::Open,
            Some(_) if was_member => Entry::Waiting { until: now + REJOIN_PATIENCE },
            Some(_) => Entry::Waiting { until: now + JOIN_PATIENCE },
        };
        if entry == Entry::Open {
            joined.send_replace(true);
        }
        let ids = Ids { last: journal.base().id, ..Ids::default() };
        Self {
            journal: Some(journal),
            ids,
            displaced: BTreeSet::new(),
            emptied: BTreeSet::new(),
            retry_at: None,
            notes: Vec::new(),
            was_member,
            replica,
            declared,
            principals,
            built_in,
            membership,
            homes,
            hub,
            view,
            tables,
            exchange,
            spreading: BTreeMap::new(),
            patience: VecDeque::new(),
            entry,
            joined,
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut asked = Vec::with_capacity(BATCH);
        let mut heard = Vec::new();
        loop {
            if self.settle().await.is_none() {
                return;
            }
            let is_waiting = matches!(self.entry, Entry::Waiting { .. });
            let timer = self.next_timer();
            let exchange = &mut self.exchange;
            let wake = tokio::select! {
                count = requests.recv_many(&mut asked, BATCH), if !is_waiting => Wake::Requests(count),
                count = hear(exchange, &mut heard) => Wake::Events(count),
                () = tokio::time::sleep_until(timer.into()) => Wake::Timer,
            };
            match wake {
                Wake::Requests(0) => return,
                Wake::Requests(_) if self.entry == Entry::Refused => {
                    asked.drain(..).for_each(refuse);
                }
                Wake::Requests(_) => {
                    let batch = self.decide(asked.drain(..));
                    if self.carry_out(batch).await.is_none() {
                        return;
                    }
                }
                // The mesh is gone: the node is stopping.
                Wake::Events(0) => self.exchange = None,
                Wake::Events(_) => heard.drain(..).for_each(|event| self.handle_event(event)),
                Wake::Timer => self.handle_timer(),
            }
        }
    }

    // ---- time and other nodes -----------------------------------------------------------------

    fn next_timer(&self) -> Instant {
        let now = Instant::now();
        let entry = match self.entry {
            Entry::Waiting { until } => Some(until),
            Entry::Open | Entry::Refused => None,
        };
        let patience = self.patience.front().map(|(at, ..)| *at);
        let replica = Some(self.replica.poll_timeout().unwrap_or(now));
        [entry, patience, replica, self.retry_at].into_iter().flatten().min().unwrap_or(now)
    }

    fn handle_timer(&mut self) {
        let now = Instant::now();
        self.retry_at = self.retry_at.filter(|at| *at > now);
        if self.replica.poll_timeout().is_none_or(|at| at <= now) {
            self.replica.handle_timeout(now, unix_millis());
        }
        if let Entry::Waiting { until } = self.entry
            && until <= now
        {
            if self.was_member {
                self.open();
            } else {
                tracing::warn!(
                    "no other node of the fleet has answered; nothing can be changed until one has"
                );
                self.entry = Entry::Refused;
            }
        }
        while let Some((_, key, version)) = self.patience.front().filter(|(at, ..)| *at <= now).cloned() {
            self.patience.pop_front();
            if self.answer_spread(&key, version) {
                tracing::debug!(object = %key.name, "answered a change before every node has confirmed it");
            }
        }
    }

    fn open(&mut self) {
        self.entry = Entry::Open;
        self.joined.send_replace(true);
    }

    fn handle_event(&mut self, event: NodeEvent) {
        let now = Instant::now();
        match event {
            NodeEvent::Opened { node, name } => {
                self.homes.up(node, name);
                self.replica.peer_up(now, node);
            }
            NodeEvent::Lost { node } => {
                self.homes.down(node);
                self.replica.peer_down(now, node);
            }
            NodeEvent::Cordoned { name, is_cordoned } => self.homes.cordon(name, is_cordoned),
            NodeEvent::Emptied { address } => {
                self.emptied.insert(address);
            }
            NodeEvent::Message { node, message } => {
                if let Err(error) = self.replica.handle_message(now, unix_millis(), node, message) {
                    tracing::error!(
                        node = self.name(node),
                        %error,
                        "a node speaks of its objects in a way that this one does not understand; they are not \
                         exchanged until the two have lost and found each other"
                    );
                }
            }
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.homes.name(node).map_or_else(|| node.to_string(), ToString::to_string)
    }

    /// Says what there is to say to other nodes.
    fn say(&mut self) {
        while let Some((to, message)) = self.replica.poll_transmit() {
            if let Some(exchange) = &self.exchange {
                (exchange.say)(to, message);
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.replica.poll_event() {
            match event {
                Event::Spread { key, version } => {
                    self.answer_spread(&key, version);
                }
                Event::Forgotten { key, version } => self.notes.push(Change::Forget { key, version }),
                Event::Synchronised { peer } => {
                    tracing::debug!(node = self.name(peer), "holds the same objects");
                    self.open();
                }
                Event::ClockAhead { peer, by } => tracing::warn!(
                    node = self.name(peer),
                    seconds = by.as_secs(),
                    "a node changes objects at a time that is yet to come; set the clock of one of the two right"
                ),
                Event::Full { peer } => tracing::error!(
                    node = self.name(peer),
                    limit = MAX_ADDRESSES,
                    "an object of another node was not taken: there are too many; remove some"
                ),
                other => tracing::debug!(?other, "nothing to do"),
            }
        }
    }

    /// Answers whoever waits for this version of an object, or an earlier one; false when nobody does.
    fn answer_spread(&mut self, key: &Key, version: Version) -> bool {
        let Some(waiting) = self.spreading.get_mut(key) else { return false };
        let done: Vec<Pending> =
            waiting.extract_if(.., |(awaited, _)| *awaited <= version).map(|(_, pending)| pending).collect();
        if waiting.is_empty() {
            self.spreading.remove(key);
        }
        let was_waited_for = !done.is_empty();
        done.into_iter().for_each(|pending| pending.send(None));
        was_waited_for
    }

    // ---- carrying out -------------------------------------------------------------------------

    /// Carries out a batch and answers it, or lets its answers wait for other nodes. `None` when the runtime is
    /// going down.
    async fn carry_out(&mut self, batch: Batch) -> Option<()> {
        let done = if batch.is_empty() { Done::Nothing } else { self.step().await? };
        let Batch { outcome, principals, answers } = batch;
        let patience = Instant::now() + SPREAD_PATIENCE;
        for (subject, version, pending) in answers {
            let is_changed = match &subject {
                Subject::Address(name) => outcome.contains_key(name),
                Subject::Principal(_) => principals.contains_key(&subject.key()),
            };
            match (&done, version) {
                (Done::Failed(error), _) if is_changed => {
                    pending.send(Some(ChangeError::Store(error.clone())));
                }
                (Done::Served { missed }, Some(_)) if missed.contains(&subject.key()) => {
                    pending.send(Some(ChangeError::NotServed(subject)));
                }
                (Done::Served { .. }, Some(version)) => {
                    let key = subject.key();
                    self.spreading.entry(key.clone()).or_default().push((version, pending));
                    self.patience.push_back((patience, key, version));
                }
                _ => pending.send(None),
            }
        }
        self.take_events();
        Some(())
    }

    /// Does what there is to do without anybody having asked. `None` when the runtime is going down.
    async fn settle(&mut self) -> Option<()> {
        loop {
            let done = self.step().await?;
            if matches!(done, Done::Failed(_)) || (matches!(done, Done::Nothing) && !self.tell_of_moves()) {
                break;
            }
        }
        self.say();
        self.take_events();
        if self.entry == Entry::Open && self.membership.is_some() && !self.was_member {
            // From now on it is known to have been there.
            self.was_member = true;
            let base = self.journal.as_ref().map(Journal::base)?;
            self.notes.push(Change::Base(super::Base { is_member: true, ..base }));
            let notes = std::mem::take(&mut self.notes);
            if let Err((error, notes)) = self.commit(notes).await? {
                tracing::warn!(%error, "cannot note that the node has joined its fleet; trying with the next change");
                self.notes = notes;
            }
        }
        Some(())
    }

    /// Journal, other nodes, shards, view: one batch of what this node and others have changed. `None` when the
    /// runtime is going down.
    async fn step(&mut self) -> Option<Done> {
        let Some(records) = self.replica.poll_persist(Instant::now()) else { return Some(Done::Nothing) };
        let mut changes = self.with_ids(records);
        let notes_from = changes.len();
        changes.append(&mut self.notes);
        match self.commit(changes).await? {
            Ok(()) => {
                self.retry_at = None;
                let changed = self.replica.handle_persisted(Instant::now());
                // The others write it while it comes into force here.
                self.say();
                self.publish_users(&changed).await;
                let names = self.declare(changed);
                let outcomes = self.outcomes(names);
                let here = self.membership.as_ref().map(|membership| membership.node.clone());
                let missed = put_in_force(self.hub.clone(), here, &outcomes).await;
                self.show(outcomes);
                self.replica.handle_served(Instant::now());
                self.say();
                let missed = missed.into_iter().map(|name| Key::new(ADDRESS, name)).collect();
                Some(Done::Served { missed })
            }
            Err((error, mut changes)) => {
                tracing::error!(%error, "cannot store a change of the configuration");
                self.notes = changes.split_off(notes_from);
                self.retry_at = Some(Instant::now() + RETRY_PAUSE);
                self.replica.handle_not_persisted(Instant::now());
                self.ids.given.clear();
                Some(Done::Failed(Arc::new(error)))
            }
        }
    }

    /// Writes to the journal; gives back what could not be written.
    async fn commit(&mut self, changes: Vec<Change>) -> Option<Result<(), (StoreError, Vec<Change>)>> {
        let mut journal = self.journal.take()?;
        let commit = move || {
            let stored = journal.commit(&changes).map_err(|error| (error, changes));
            (journal, stored)
        };
        let (journal, stored) = tokio::task::spawn_blocking(commit).await.ok()?;
        self.journal = Some(journal);
        Some(stored)
    }

    /// Makes another table when users or roles are among what has changed, and lets the shards go by it.
    async fn publish_users(&mut self, changed: &[Record]) {
        let mut is_changed = false;
        for record in changed {
            is_changed |= self.principals.take(record);
        }
        if is_changed {
            let table = self.principals.table();
            self.tables.send_replace(table.clone());
            if tokio::time::timeout(SHARD_DEADLINE, self.hub.set_users(&table)).await.is_err() {
                tracing::error!("not every worker goes by the new users and roles yet");
            }
        }
    }

    /// Takes over what has changed; gives the names that it may concern.
    fn declare(&mut self, changed: Vec<Record>) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for record in changed.into_iter().filter(|record| record.key.kind == ADDRESS) {
            let name = record.key.name.clone();
            let kept = self.journal.as_ref().and_then(|journal| journal.kept(&record.key));
            let new = kept.and_then(|kept| {
                let value = address_of(&record)?;
                let home = self.home_of(&value, record.version);
                Some(object_of(Value { home, ..value }, record.version, kept.id))
            });
            let home = new.as_ref().and_then(|new| new.home.clone());
            let old = match new {
                Some(new) => self.declared.insert(name.clone(), new),
                None => self.declared.remove(&name),
            };
            self.note_displaced(&name, old.as_deref());
            self.note_turned(&name, old.as_deref());
            let old_home = old.as_ref().and_then(|old| old.home.clone());
            self.homes.count(old_home.as_ref(), false);
            self.homes.count(home.as_ref(), true);
            // Subscriptions are there with their topic, and where it is.
            let subscriptions: Vec<_> = names_from(&self.declared, &format!("{name}::")).cloned().collect();
            for name in subscriptions {
                self.refresh_id(&name);
                names.insert(name);
            }
            names.insert(name);
        }
        names
    }

    /// An address has got an id without having changed.
    fn refresh_id(&mut self, name: &Arc<str>) {
        let kept = self.journal.as_ref().and_then(|journal| journal.kept(&Key::new(ADDRESS, name.clone())));
        if let (Some(kept), Some(object)) = (kept, self.declared.get_mut(name))
            && object.id != kept.id
        {
            *object = Arc::new(Object { id: kept.id, ..(**object).clone() });
        }
    }

    /// Notes whether somebody who did not know of it has made another node the home of what is here: what this
    /// node holds of it is passed on then.
    fn note_displaced(&mut self, name: &Arc<str>, old: Option<&Object>) {
        let Some(membership) = &self.membership else { return };
        let here = Some(&membership.node);
        let new = self.declared.get(name);
        let Some(new) = new.filter(|new| new.home.as_ref() != here && passes_on(new.spec.kind)) else {
            self.displaced.remove(name);
            return;
        };
        if new.moving_from.as_ref() == here {
            self.displaced.remove(name);
        } else if old.is_some_and(|old| old.home.as_ref() == here && old.id == new.id) {
            self.displaced.insert(name.clone());
        }
    }

    /// What was said of one move does not hold for another one.
    fn note_turned(&mut self, name: &Arc<str>, old: Option<&Object>) {
        let route = |object: &Object| (object.home.clone(), object.moving_from.clone());
        if self.declared.get(name).map(|new| route(new)) != old.map(route) {
            self.emptied.remove(name);
        }
    }

    /// Says of which queues this node has nothing left to pass on, and of which it has something that nobody
    /// knows of: one node after the other where several were displaced. False when there is nothing to say, or
    /// it could not be stored a moment ago.
    fn tell_of_moves(&mut self) -> bool {
        if self.retry_at.is_some() {
            return false;
        }
        let mut batch = Batch::default();
        for name in self.emptied.clone() {
            match self.decide_home(&mut batch, &name, Relocation::Emptied) {
                Ok((_, Some(_))) => {}
                // It is said, or nothing is moving any more.
                Ok((_, None)) | Err(_) => {
                    self.emptied.remove(&name);
                }
            }
        }
        let waiting = |name: &&Arc<str>| {
            self.declared.get(*name).is_some_and(|declared| declared.moving_from.is_none())
        };
        let names: Vec<Arc<str>> = self.displaced.iter().filter(waiting).cloned().collect();
        for name in names {
            if let Err(error) = self.decide_home(&mut batch, &name, Relocation::LeftBehind) {
                tracing::warn!(address = %name, %error, "cannot pass on what this node holds of an address");
                self.displaced.remove(&name);
            }
        }
        !batch.is_empty()
    }

    /// The home that a value names. One that should and does not comes from a node that was alone, and stays
    /// with it.
    fn home_of(&self, value: &Value, version: Version) -> Option<Arc<str>> {
        let is_missing = value.home.is_none() && has_own_home(value.spec.kind);
        match is_missing && self.membership.is_some() && version.origin != self.replica.local() {
            true => Some(self.name(version.origin).into()),
            false => value.home.clone(),
        }
    }

    /// What is not as it was, of these names.
    fn outcomes(&self, names: BTreeSet<Arc<str>>) -> Vec<Outcome> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let outcomes = names.into_iter().map(|name| {
            let old = view.get(&name).cloned();
            let fallback = || self.fallback(&name, old.as_ref().map_or(0, |old| old.id));
            let new = effective(&self.declared, &name).or_else(fallback);
            Outcome { name, old, new }
        });
        outcomes.filter(|outcome| outcome.old != outcome.new).collect()
    }

    fn show(&self, outcomes: Vec<Outcome>) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        for Outcome { name, new, .. } in outcomes {
            match new {
                Some(object) => view.insert(name, object),
                None => view.remove(&name),
            };
        }
    }
}

/// Tells the shards what is not as it was; gives the names that not every shard has confirmed in time. A topic
/// is there before its subscriptions, and goes after them; an address that begins anew goes first.
async fn put_in_force(hub: Hub, here: Option<Arc<str>>, outcomes: &[Outcome]) -> Vec<Arc<str>> {
    let mut tasks = JoinSet::new();
    let mut wait = |name: &Arc<str>, told: BoxFuture| {
        let name = name.clone();
        tasks.spawn(async move { tokio::time::timeout(SHARD_DEADLINE, told).await.err().map(|_| name) });
    };
    for Outcome { name, .. } in outcomes.iter().rev().filter(|outcome| outcome.goes()) {
        wait(name, Box::pin(hub.remove_address(name)));
    }
    for Outcome { name, new, .. } in outcomes {
        if let Some(object) = new {
            wait(name, Box::pin(hub.set_address(&object.served(name, here.as_ref()))));
        }
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// What became of a step.
enum Done {
    Nothing,
    /// It is in force, but for what these names are.
    Served {
        missed: Vec<Key>,
    },
    /// Nothing of what this node wanted has happened.
    Failed(Arc<StoreError>),
}

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An address before and after.
struct Outcome {
    name: Arc<str>,
    old: Option<Arc<Object>>,
    new: Option<Arc<Object>>,
}

impl Outcome {
    /// Whether what there was has to go before anything else is there.
    fn goes(&self) -> bool {
        match (&self.old, &self.new) {
            (None, new) => new.is_none(),
            (Some(_), None) => true,
            // Where it is one address whichever of two remains, the links of both stay.
            (Some(old), Some(new)) => {
                let is_another = old.id != new.id && old.id != 0 && new.id != 0;
                is_another || old.spec.kind != new.spec.kind || !continues(new.birth, new.ends, old.birth)
            }
        }
    }
}

/// Waits for something that other nodes say; without a mesh for ever. Cancel safe.
async fn hear(exchange: &mut Option<Exchange>, heard: &mut Vec<NodeEvent>) -> usize {
    match exchange {
        Some(exchange) => exchange.events.recv_many(heard, EVENTS).await,
        None => std::future::pending().await,
    }
}

fn refuse(request: Request) {
    match request {
        Request::Put { name, reply, .. } | Request::Relocate { name, reply, .. } => {
            let _ = reply.send(Err(ChangeError::NotJoined(Subject::Address(name))));
        }
        Request::Remove { name, reply } => {
            let _ = reply.send(Err(ChangeError::NotJoined(Subject::Address(name))));
        }
        Request::Edit { change, reply } => {
            let _ = reply.send(Err(ChangeError::NotJoined(Subject::Principal(change.name))));
        }
        Request::RemoveSpace { name, reply, .. } => {
            let subject = Subject::Principal(PrincipalName::space(name));
            let _ = reply.send(Err(ChangeError::NotJoined(subject)));
        }
    }
}

/// The addresses that a journal declares.
pub(super) fn declared(journal: &Journal) -> Declared {
    let addresses = journal.objects().filter_map(|kept| {
        let value = address_of(&kept.record)?;
        Some((kept.record.key.name.clone(), object_of(value, kept.record.version, kept.id)))
    });
    addresses.collect()
}

/// The addresses that are served.
pub(super) fn view(
    declared: &Declared,
    built_in: Option<&(Arc<str>, Arc<Object>)>,
) -> BTreeMap<Arc<str>, Arc<Object>> {
    let served = declared.keys().filter_map(|name| Some((name.clone(), effective(declared, name)?)));
    let mut view: BTreeMap<_, _> = served.collect();
    if let Some((name, object)) = built_in {
        view.entry(name.clone()).or_insert_with(|| object.clone());
    }
    view
}

fn object_of(value: Value, version: Version, id: u64) -> Arc<Object> {
    let Value { spec, labels, home, moving_from, birth, ends, created_by } = value;
    let is_built_in = false;
    Arc::new(Object { is_built_in, version, id, birth, ends, home, moving_from, created_by, labels, spec })
}

fn value_of(object: &Object) -> Value {
    let Object { birth, ends, .. } = *object;
    let Object { spec, labels, home, moving_from, created_by, .. } = object.clone();
    Value { spec, labels, home, moving_from, birth, ends, created_by }
}

/// A declared address as it is served: a subscription only with its topic, whose home it has; a further shard
/// only with its queue, whose settings it has; also one that the queue has no more, for it may still hold something.
fn effective(declared: &Declared, name: &str) -> Option<Arc<Object>> {
    let object = declared.get(name)?;
    if let Some((queue, _)) = split_shard(name) {
        let queue = declared.get(queue).filter(|queue| owns_shard(queue, object))?;
        return Some(Arc::new(Object { spec: queue.spec.clone(), ..(**object).clone() }));
    }
    if object.spec.kind != AddressType::Subscription {
        return Some(object.clone());
    }
    let topic = declared.get(topic_of(name)).filter(|topic| is_topic(topic))?;
    if object.home == topic.home && object.moving_from == topic.moving_from {
        return Some(object.clone());
    }
    let (home, moving_from) = (topic.home.clone(), topic.moving_from.clone());
    Some(Arc::new(Object { home, moving_from, ..(**object).clone() }))
}

/// Whether a further shard is one of this queue, and not left over from one that ended.
fn owns_shard(queue: &Object, shard: &Object) -> bool {
    queue.spec.kind == AddressType::Queue && continues(queue.birth, queue.ends, shard.birth)
}

/// Whether subscriptions can be declared at an address.
fn is_topic(object: &Object) -> bool {
    object.spec.kind == AddressType::Topic && !object.is_built_in
}

/// Whether a home passes what it holds on to the next one.
fn passes_on(kind: AddressType) -> bool {
    matches!(kind, AddressType::Queue | AddressType::Topic)
}

fn topic_of(name: &str) -> &str {
    name.split_once("::").map_or("", |(topic, _)| topic)
}

/// The declared names that begin with this, in their order.
pub(super) fn names_from<'a>(declared: &'a Declared, prefix: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
    let names = declared.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
    names.map(|(name, _)| name).take_while(move |name| name.starts_with(prefix))
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
