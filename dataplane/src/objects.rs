//! The configuration objects of the node: its addresses.
//!
//! A change is answered when it is durable and every shard serves it, in this order: journal,
//! shards, view. Changes that arrive together are flushed together. Reads see the view alone and
//! never wait for the disk.

mod journal;
mod record;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mq_model::CATCH_ALL_TOPIC;
use mq_model::manifest::{AddressSpec, AddressType};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::hub::{Hub, Served};
use journal::{Journal, JournalFile};
use record::Change;

pub(crate) use journal::write_atomically;

/// Addresses that one node may hold.
pub const MAX_ADDRESSES: usize = 1_000_000;

/// How long a shard may take to serve a change before the caller is told that it has not.
const SHARD_DEADLINE: Duration = Duration::from_secs(10);

/// Changes that wait for the journal; further callers wait for room.
const WAITING_CHANGES: usize = 1_024;

/// Changes that are flushed together.
const BATCH: usize = 256;

/// An address as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The node serves it without anybody having asked: it is in no journal.
    pub is_built_in: bool,
    /// Changes with every change of the object and never goes back, not even when it is removed
    /// and created again.
    pub version: u64,
    /// Names the address in the store: no other address of the node has it, or had it. An address
    /// that gets another type begins anew.
    pub id: u64,
    pub labels: BTreeMap<String, String>,
    pub spec: AddressSpec,
}

impl Object {
    /// The topic for every name that nothing else serves, as the node has it by itself. Its id is that of no
    /// address: those come from revisions, which begin at 1.
    fn catch_all() -> Self {
        let spec = AddressSpec::new(AddressType::Topic);
        Self { is_built_in: true, version: 0, id: 0, labels: BTreeMap::new(), spec }
    }

    fn served(&self, name: &Arc<str>) -> Served {
        Served { name: name.clone(), spec: self.spec.clone(), id: self.id }
    }
}

/// What a request to put an address did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    Updated,
    Unchanged,
}

/// Why the journal of objects cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A byte that was once written has changed. Nothing is skipped: the operator decides.
    #[error(
        "the configuration objects in {} are damaged at offset {offset}: {reason}; restore the file, or move it \
         away to start without addresses",
        path.display()
    )]
    Corrupt { path: PathBuf, offset: u64, reason: String },
    #[error("cannot {action} the configuration objects in {}: {source}; {}", path.display(), advice(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Why an address was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("address `{0}` exists already; change it with PUT, or choose another name")]
    Exists(Arc<str>),
    #[error("address `{0}` does not exist; GET /api/v1/addresses lists those that do")]
    NotFound(Arc<str>),
    #[error("`{0}` is a subscription, and no topic `{1}` has been created; create the topic first")]
    NoTopic(Arc<str>, Box<str>),
    #[error(
        "address `{0}` is built in and cannot be removed; to do without it, set mqtt.catch-all to false and \
         restart the node"
    )]
    BuiltIn(Arc<str>),
    #[error("topic `{0}` has subscriptions, such as `{1}`; delete them before it becomes something else")]
    HasSubscriptions(Arc<str>, Arc<str>),
    #[error("the node holds {MAX_ADDRESSES} addresses, which is the most; remove some first")]
    Full,
    /// Nothing has changed.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The change is durable, but not yet in force everywhere.
    #[error(
        "address `{0}` is stored, but not every worker has answered within {seconds} s; try again",
        seconds = SHARD_DEADLINE.as_secs()
    )]
    NotServed(Arc<str>),
    #[error("the node is stopping; try again when it is back")]
    Stopping,
}

/// The addresses of the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue {
    view: View,
    changes: mpsc::Sender<Request>,
}

type View = Arc<RwLock<BTreeMap<Arc<str>, Arc<Object>>>>;

/// The objects as they were read at the start, before anybody serves them.
pub struct Loaded {
    journal: Journal,
    built_in: BuiltIn,
}

/// The address that the node serves while no object of its name is declared.
type BuiltIn = Option<(Arc<str>, Arc<Object>)>;

impl Loaded {
    /// Reads the objects in a directory, which must exist.
    ///
    /// # Errors
    ///
    /// When the journal is damaged or cannot be read; see [`StoreError`].
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        let file = JournalFile::new(directory.join("addresses.journal"));
        Ok(Self { journal: Journal::open(Box::new(file))?, built_in: None })
    }

    /// Serves the topic for every name that nothing else serves, unless one is declared.
    #[must_use]
    pub fn with_catch_all(self) -> Self {
        Self { built_in: Some((CATCH_ALL_TOPIC.into(), Arc::new(Object::catch_all()))), ..self }
    }

    fn objects(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        let built_in = self.built_in.as_ref().map(|(name, object)| (name, object));
        // It has no declared subscriptions, so it may come first.
        built_in
            .filter(|(name, _)| self.journal.object(name).is_none())
            .into_iter()
            .chain(self.journal.objects())
    }

    /// The addresses that the shards are started with.
    ///
    /// They come in the order of their names: a topic before its subscriptions.
    pub fn addresses(&self) -> Vec<Served> {
        self.objects().map(|(name, object)| object.served(name)).collect()
    }

    /// Begins to take changes. The task ends when the last [`Catalogue`] is dropped. Must be called
    /// within a tokio runtime.
    pub fn serve(self, hub: Hub) -> Catalogue {
        let objects = self.objects().map(|(name, object)| (name.clone(), object.clone()));
        let view: View = Arc::new(RwLock::new(objects.collect()));
        let (changes, requests) = mpsc::channel(WAITING_CHANGES);
        let Self { journal, built_in } = self;
        tokio::spawn(Writer { journal, built_in, hub, view: view.clone() }.run(requests));
        Catalogue { view, changes }
    }
}

impl Catalogue {
    /// Number of addresses that have been created.
    pub fn len(&self) -> usize {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let is_built_in = view.get(CATCH_ALL_TOPIC).is_some_and(|object| object.is_built_in);
        view.len() - usize::from(is_built_in)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One address, as it is in force.
    pub fn address(&self, name: &str) -> Option<Arc<Object>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every address, built-in ones too, in the order of the names.
    pub fn addresses(&self) -> Vec<(Arc<str>, Arc<Object>)> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.iter().map(|(name, object)| (name.clone(), object.clone())).collect()
    }

    /// Creates an address.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Exists`] when there is one of that name, and the errors of [`put`](Self::put).
    pub async fn create(
        &self,
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
    ) -> Result<Arc<Object>, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Put { name, labels, spec: Box::new(spec), only_new: true, reply }, answer)
            .await
            .map(|(_, object)| object)
    }

    /// Creates an address or changes it to what is given.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoTopic`], [`ChangeError::HasSubscriptions`], [`ChangeError::Full`],
    /// [`ChangeError::Store`] when it cannot be made durable, [`ChangeError::NotServed`],
    /// [`ChangeError::Stopping`].
    pub async fn put(
        &self,
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
    ) -> Result<(Put, Arc<Object>), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Put { name, labels, spec: Box::new(spec), only_new: false, reply }, answer).await
    }

    /// Removes an address; of a topic, its subscriptions too.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotFound`], [`ChangeError::BuiltIn`], and the errors of [`put`](Self::put).
    pub async fn remove(&self, name: Arc<str>) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Remove { name, reply }, answer).await
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<Answer<T>>) -> Answer<T> {
        self.changes.send(request).await.map_err(|_| ChangeError::Stopping)?;
        answer.await.unwrap_or(Err(ChangeError::Stopping))
    }
}

type Answer<T> = Result<T, ChangeError>;

#[derive(Debug)]
enum Request {
    Put {
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: Box<AddressSpec>,
        /// Refuse when the address exists.
        only_new: bool,
        reply: oneshot::Sender<Answer<(Put, Arc<Object>)>>,
    },
    Remove {
        name: Arc<str>,
        reply: oneshot::Sender<Answer<()>>,
    },
}

/// The task that owns the journal: decides a batch, makes it durable, puts it in force, answers.
struct Writer {
    journal: Journal,
    built_in: BuiltIn,
    hub: Hub,
    view: View,
}

/// What a batch is about to do.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// Every name the batch changes, and what it will then be.
    outcome: HashMap<Arc<str>, Option<Arc<Object>>>,
    answers: Vec<(Arc<str>, Pending)>,
}

/// An answer that waits for its batch.
enum Pending {
    Put(oneshot::Sender<Answer<(Put, Arc<Object>)>>, Answer<(Put, Arc<Object>)>),
    Remove(oneshot::Sender<Answer<()>>, Answer<()>),
}

impl Writer {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while requests.recv_many(&mut waiting, BATCH).await > 0 {
            let batch = self.decide(waiting.drain(..));
            let Some(writer) = self.carry_out(batch).await else { return };
            self = writer;
        }
    }

    fn decide(&self, requests: impl Iterator<Item = Request>) -> Batch {
        let mut batch = Batch::default();
        let mut count = self.journal.len();
        for request in requests {
            let revision = self.next_revision(&batch);
            match request {
                Request::Put { name, labels, spec, only_new, reply } => {
                    let id = match self.current(&batch, &name) {
                        // What it holds stays its own.
                        Some(current) if current.spec.kind == spec.kind => current.id,
                        _ => revision,
                    };
                    let object = Object { is_built_in: false, version: revision, id, labels, spec: *spec };
                    let object = Arc::new(object);
                    let answer = self.decide_put(&batch, &name, object, only_new, count);
                    if let Ok((put @ (Put::Created | Put::Updated), object)) = &answer {
                        count += usize::from(*put == Put::Created);
                        batch.put(revision, &name, object.clone());
                    }
                    batch.answers.push((name, Pending::Put(reply, answer)));
                }
                Request::Remove { name, reply } => {
                    let answer = match self.current(&batch, &name) {
                        None => Err(ChangeError::NotFound(name.clone())),
                        Some(object) if object.is_built_in => Err(ChangeError::BuiltIn(name.clone())),
                        Some(object) => {
                            for name in self.subscriptions(&batch, &name, &object) {
                                count -= 1;
                                batch.remove(self.next_revision(&batch), &name);
                            }
                            count -= 1;
                            batch.remove(self.next_revision(&batch), &name);
                            batch.fall_back(&name, self.fallback(&name, object.id));
                            Ok(())
                        }
                    };
                    batch.answers.push((name, Pending::Remove(reply, answer)));
                }
            }
        }
        batch
    }

    fn next_revision(&self, batch: &Batch) -> u64 {
        self.journal.revision() + batch.changes.len() as u64 + 1
    }

    /// The names of a topic's subscriptions.
    fn subscriptions(&self, batch: &Batch, topic: &str, object: &Object) -> Vec<Arc<str>> {
        if object.spec.kind != AddressType::Topic {
            return Vec::new();
        }
        let prefix = format!("{topic}::");
        let mut names: Vec<Arc<str>> =
            self.journal.names_from(&prefix).take_while(|name| name.starts_with(&prefix)).cloned().collect();
        names.extend(batch.outcome.keys().filter(|name| name.starts_with(&prefix)).cloned());
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.current(batch, name).is_some());
        names
    }

    /// Whether topics and subscriptions belong together as they will be.
    fn check_topic(&self, batch: &Batch, name: &Arc<str>, object: &Object) -> Result<(), ChangeError> {
        if object.spec.kind == AddressType::Subscription {
            let topic = name.split_once("::").map_or("", |(topic, _)| topic);
            let is_there = self
                .current(batch, topic)
                .is_some_and(|topic| topic.spec.kind == AddressType::Topic && !topic.is_built_in);
            return if is_there { Ok(()) } else { Err(ChangeError::NoTopic(name.clone(), topic.into())) };
        }
        let Some(current) = self.current(batch, name) else { return Ok(()) };
        if object.spec.kind != AddressType::Topic
            && let Some(subscription) = self.subscriptions(batch, name, &current).first()
        {
            return Err(ChangeError::HasSubscriptions(name.clone(), subscription.clone()));
        }
        Ok(())
    }

    fn decide_put(
        &self,
        batch: &Batch,
        name: &Arc<str>,
        object: Arc<Object>,
        only_new: bool,
        count: usize,
    ) -> Answer<(Put, Arc<Object>)> {
        self.check_topic(batch, name, &object)?;
        match self.current(batch, name).filter(|current| !current.is_built_in) {
            Some(_) if only_new => Err(ChangeError::Exists(name.clone())),
            Some(current) if current.spec == object.spec && current.labels == object.labels => {
                Ok((Put::Unchanged, current))
            }
            Some(_) => Ok((Put::Updated, object)),
            None if count >= MAX_ADDRESSES => Err(ChangeError::Full),
            None => Ok((Put::Created, object)),
        }
    }

    /// The object as it will be after what the batch holds so far.
    fn current(&self, batch: &Batch, name: &str) -> Option<Arc<Object>> {
        match batch.outcome.get(name) {
            Some(outcome) => outcome.clone(),
            None => self.journal.object(name).cloned().or_else(|| self.fallback(name, 0)),
        }
    }

    /// What the node serves under the name when it is not declared. It takes the place of a declared address
    /// without beginning anew: it goes on under its id.
    fn fallback(&self, name: &str, id: u64) -> Option<Arc<Object>> {
        let (_, object) = self.built_in.as_ref().filter(|(built_in, _)| **built_in == *name)?;
        Some(Arc::new(Object { id, ..(**object).clone() }))
    }

    /// Journal, shards, view, answers. `None` when the runtime is going down.
    async fn carry_out(self, mut batch: Batch) -> Option<Self> {
        let Self { mut journal, built_in, hub, view } = self;
        let changes = std::mem::take(&mut batch.changes);
        let (journal, stored) = if changes.is_empty() {
            (journal, Ok(()))
        } else {
            let commit = move || {
                let stored = journal.commit(&changes);
                (journal, stored)
            };
            tokio::task::spawn_blocking(commit).await.ok()?
        };
        match stored {
            Ok(()) => {
                let unserved = put_in_force(&hub, &view, &batch.outcome).await;
                show(&view, &batch.outcome);
                batch.answer(|name| unserved.contains(name).then(|| ChangeError::NotServed(name.clone())));
            }
            Err(error) => {
                tracing::error!(%error, "cannot store a change of the configuration");
                let error = Arc::new(error);
                let changed = std::mem::take(&mut batch.outcome);
                batch.answer(|name| changed.contains_key(name).then(|| ChangeError::Store(error.clone())));
            }
        }
        Some(Self { journal, built_in, hub, view })
    }
}

impl Batch {
    fn put(&mut self, revision: u64, name: &Arc<str>, object: Arc<Object>) {
        self.changes.push(Change::PutAddress {
            revision,
            name: name.clone(),
            id: Some(object.id),
            labels: object.labels.clone(),
            spec: Box::new(object.spec.clone()),
        });
        self.outcome.insert(name.clone(), Some(object));
    }

    fn remove(&mut self, revision: u64, name: &Arc<str>) {
        self.changes.push(Change::RemoveAddress { revision, name: name.clone() });
        self.outcome.insert(name.clone(), None);
    }

    /// What is there once the address of the name is gone.
    fn fall_back(&mut self, name: &Arc<str>, object: Option<Arc<Object>>) {
        if object.is_some() {
            self.outcome.insert(name.clone(), object);
        }
    }

    /// Sends every answer, or the failure in its place where there is one.
    fn answer(self, failure: impl Fn(&Arc<str>) -> Option<ChangeError>) {
        for (name, pending) in self.answers {
            // A caller that has gone away misses its answer; the change stays.
            match pending {
                Pending::Put(reply, answer) => {
                    let _ = reply.send(failure(&name).map_or(answer, Err));
                }
                Pending::Remove(reply, answer) => {
                    let _ = reply.send(failure(&name).map_or(answer, Err));
                }
            }
        }
    }
}

/// Tells the shards; returns the names that not every shard has confirmed in time. Each name comes
/// once. A topic is there before its subscriptions, and goes after them; an address that begins anew
/// goes first.
async fn put_in_force(
    hub: &Hub,
    view: &View,
    outcome: &HashMap<Arc<str>, Option<Arc<Object>>>,
) -> Vec<Arc<str>> {
    let goes = |name: &Arc<str>| {
        let view = view.read().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (view.get(name), outcome.get(name).and_then(Option::as_ref));
        // Removing what only the batch knew tells the shards nothing they mind.
        old.map_or_else(|| new.is_none(), |old| new.is_none_or(|new| new.id != old.id))
    };
    let mut names: Vec<_> = outcome.keys().collect();
    names.sort_unstable();
    let mut tasks = JoinSet::new();
    let mut wait = |name: &Arc<str>, told: BoxFuture| {
        let name = name.clone();
        tasks.spawn(async move { tokio::time::timeout(SHARD_DEADLINE, told).await.err().map(|_| name) });
    };
    for name in names.iter().rev().filter(|name| goes(name)) {
        wait(name, Box::pin(hub.remove_address(name)));
    }
    for name in &names {
        if let Some(Some(object)) = outcome.get(*name) {
            wait(name, Box::pin(hub.set_address(&object.served(name))));
        }
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

fn show(view: &View, outcome: &HashMap<Arc<str>, Option<Arc<Object>>>) {
    let mut view = view.write().unwrap_or_else(PoisonError::into_inner);
    for (name, object) in outcome {
        match object {
            Some(object) => view.insert(name.clone(), object.clone()),
            None => view.remove(name),
        };
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and try again",
        io::ErrorKind::ReadOnlyFilesystem => "make the file system writable and try again",
        io::ErrorKind::PermissionDenied => "give the user of mqd the right to write there",
        io::ErrorKind::InvalidData => "make it smaller",
        _ => "check the disk and try again",
    }
}

#[cfg(test)]
mod tests;
