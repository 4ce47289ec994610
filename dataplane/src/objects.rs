//! The configuration objects of the node: its addresses, and its address spaces with their users, roles and connectors.
//!
//! A change is answered when it is durable and every shard serves it, in this order: journal,
//! shards, view. Changes that arrive together are flushed together. Reads see the view alone and
//! never wait for the disk.
//!
//! In a fleet every node has the same objects ([`mq_mesh::replica`]): a change goes to all nodes as soon as
//! it is durable here, and is answered when all that can be reached serve it, or after a moment all the same.
//! What other nodes change takes the same way: journal, shards, view. A node that is alone has a replica
//! without peers.

mod fleet;
mod homes;
mod journal;
mod principal;
mod record;
mod value;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use mq_core::split_shard;
use mq_mesh::NodeId;
use mq_mesh::replica::{Key, Record, Version};
use mq_model::CATCH_ALL_TOPIC;
use mq_model::manifest::{AddressSpec, AddressType};
use mq_model::space::split_qualified;
use tokio::sync::{mpsc, oneshot, watch};

use crate::hub::{Hub, Served};
use crate::mesh::{NodeEvent, Service};
use crate::users::UserTable;
use fleet::Exchange;
use journal::{Journal, JournalFile};
use principal::Principal;
use record::{Base, Change};
use value::{ADDRESS, Value};
use writer::{Settings, Writer, names_from};

pub use fleet::Membership;
pub(crate) use homes::hash as affinity;
pub(crate) use journal::write_atomically;
pub use principal::{
    ConnectorValue, MAX_CONNECTORS, MAX_PROFILES, MAX_ROLES, MAX_SPACES, MAX_USERS, PrincipalKind,
    PrincipalName, ProfileValue, RoleValue, SpaceValue, UserValue,
};

/// Addresses that one node may hold.
pub const MAX_ADDRESSES: usize = 1_000_000;

/// How long a shard may take to serve a change before the caller is told that it has not.
const SHARD_DEADLINE: Duration = Duration::from_secs(10);

/// Changes that wait for the journal; further callers wait for room.
const WAITING_CHANGES: usize = 1_024;

/// Changes that are flushed together.
const BATCH: usize = 256;

/// How long a change waits for the other nodes before it is answered all the same.
const SPREAD_PATIENCE: Duration = Duration::from_secs(1);

/// How long a node that has been away waits, after its start, for somebody to tell what it has missed, before
/// it takes changes.
const REJOIN_PATIENCE: Duration = Duration::from_secs(1);

/// How long changes wait on a node that has never been part of its fleet before they are refused.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);

/// An address as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The node serves it without anybody having asked: it is in no journal.
    pub is_built_in: bool,
    /// Changes with every change of the object and never goes back, not even when it is removed
    /// and created again. The same on every node.
    pub version: Version,
    /// Names the address in the store of this node: no other address of the node has it, or had it. An
    /// address that gets another type begins anew. 0: the node has never been the home of it, so that its store
    /// has nothing of it.
    pub id: u64,
    /// The change with which the address began, or began anew.
    pub(crate) birth: Version,
    /// What was born up to this clock is over.
    pub(crate) ends: u64,
    /// The node that holds what the address keeps; `None`: it keeps nothing, or the node is alone.
    pub home: Option<Arc<str>>,
    /// The node that was the home before, while it still passes on what it holds.
    pub moving_from: Option<Arc<str>>,
    /// The user of its space who has declared it, towards whose limit it counts; `None`: nobody who is one.
    pub created_by: Option<Arc<str>>,
    pub labels: BTreeMap<String, String>,
    pub spec: AddressSpec,
}

impl Object {
    /// The topic for every name that nothing else serves, as the node has it by itself. Its id is that of no
    /// address that was declared: those begin at 1.
    fn catch_all() -> Self {
        let spec = AddressSpec::new(AddressType::Topic);
        let (version, labels) = (Version::default(), BTreeMap::new());
        let (birth, ends, home, moving_from, created_by) = (version, 0, None, None, None);
        Self { is_built_in: true, version, id: 0, birth, ends, home, moving_from, created_by, labels, spec }
    }

    /// The address as shards serve it on the node `here`, or on one that is alone.
    fn served(&self, name: &Arc<str>, here: Option<&Arc<str>>) -> Served {
        let home = self.home.clone().filter(|home| here.is_some_and(|here| here != home));
        let moving_from = self.moving_from.clone().filter(|_| here.is_some());
        Served { name: name.clone(), spec: self.spec.clone(), id: self.id, home, moving_from }
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
         away to start without addresses and without the messages that the node keeps for them",
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

/// Why nothing was changed. Names are told as whoever asks calls them, without their space.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("address `{}` exists already; change it with PUT, or choose another name", own(.0))]
    Exists(Arc<str>),
    #[error("address `{}` does not exist; `mq address list` shows those that do", own(.0))]
    NotFound(Arc<str>),
    #[error(
        "`{}` is a subscription, and no topic `{}` has been created; create the topic first",
        own(.0),
        own(.1)
    )]
    NoTopic(Arc<str>, Box<str>),
    #[error(
        "address `{}` is built in and cannot be removed; to do without it, set mqtt.catch-all to false and \
         restart the node",
        own(.0)
    )]
    BuiltIn(Arc<str>),
    #[error(
        "topic `{}` has subscriptions, such as `{}`; delete them before it becomes something else",
        own(.0),
        own(.1)
    )]
    HasSubscriptions(Arc<str>, Arc<str>),
    #[error(
        "the fleet holds {MAX_ADDRESSES} addresses, users, roles, connectors and spaces, which is the most; remove some first"
    )]
    Full,
    #[error("the space has {0} addresses, which is its limit maxAddresses; remove some, or raise the limit")]
    AddressLimit(u32),
    #[error(
        "user {user} has created {limit} addresses, which is his limit maxAddresses; remove some, or raise the limit"
    )]
    AddressLimitOfUser { user: Arc<str>, limit: u32 },
    #[error("{0} `{1}` exists already; change it with PUT, or choose another name")]
    PrincipalExists(PrincipalKind, Arc<str>),
    #[error("{0} `{1}` does not exist; `mq {0} list` shows those that do")]
    NoPrincipal(PrincipalKind, Arc<str>),
    #[error("{0} `{1}` would break the rules: {2}")]
    InvalidPrincipal(PrincipalKind, Arc<str>, mq_model::Invalid),
    #[error("{0} `{1}` cannot be changed in that way: {2}")]
    Unfit(PrincipalKind, Arc<str>, String),
    #[error("the fleet has as many {0}s as it may have; remove some first")]
    TooMany(PrincipalKind),
    #[error("space `{0}` does not exist; `mq space list` shows those that do")]
    NoSpace(Arc<str>),
    #[error(
        "space `{0}` is there by itself and cannot be removed; to take its limits away, set them to nothing"
    )]
    BuiltInSpace(Arc<str>),
    #[error(
        "space `{name}` still has {addresses} addresses, {users} users, roles and connectors; remove them, or ask for \
         all of it with cascade=true (`mq space delete {name} --cascade`)"
    )]
    SpaceInUse { name: Arc<str>, addresses: usize, users: usize },
    #[error("clients choose the space `{1}` by the name `{0}`; give this one another name")]
    HostTaken(Box<str>, Arc<str>),
    /// Nothing has changed.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The change is durable, but not yet in force everywhere.
    #[error(
        "{0} is stored, but not every worker has answered within {seconds} s; try again",
        seconds = SHARD_DEADLINE.as_secs()
    )]
    NotServed(Subject),
    #[error(
        "{0} cannot be changed: the node has not heard from any other node of its fleet yet; try again \
         when it has, or ask another node"
    )]
    NotJoined(Subject),
    #[error("address `{}` keeps nothing of its own and has no home; name a queue or a topic", own(.0))]
    NoHome(Arc<str>),
    #[error(
        "queue `{}` keeps the last value of each key, and with another number of shards some keys would have two; \
         create another queue with that number, and move the messages there with `mq address move`",
        own(.0)
    )]
    ShardsOfLastValues(Arc<str>),
    #[error(
        "address `{}` is still moving from node `{}`; wait until that has nothing left of it, or move it back \
         there",
        own(.0),
        .1
    )]
    Moving(Arc<str>, Arc<str>),
    #[error("the node is stopping; try again when it is back")]
    Stopping,
}

/// What a change is about.
#[derive(Clone, Debug)]
pub enum Subject {
    Address(Arc<str>),
    Principal(PrincipalName),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(name) => write!(formatter, "address `{}`", own(name)),
            Self::Principal(name) => name.fmt(formatter),
        }
    }
}

impl Subject {
    fn key(&self) -> Key {
        match self {
            Self::Address(name) => Key::new(ADDRESS, name.clone()),
            Self::Principal(name) => name.key(),
        }
    }
}

/// An address's name as those call it whose space it is in.
fn own(name: &str) -> &str {
    split_qualified(name).1
}

/// The addresses, spaces, users, roles and connectors of the node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue {
    view: View,
    users: watch::Receiver<Arc<UserTable>>,
    changes: mpsc::Sender<Request>,
    has_joined: watch::Receiver<bool>,
    /// Where it hears what the objects of other nodes say.
    heard: Option<mpsc::UnboundedSender<NodeEvent>>,
}

type View = Arc<RwLock<BTreeMap<Arc<str>, Arc<Object>>>>;

/// The objects as they were read at the start, before anybody serves them.
pub struct Loaded {
    journal: Journal,
    local: NodeId,
    built_in: BuiltIn,
    membership: Option<Membership>,
    /// The node has been one of its fleet before.
    was_member: bool,
}

/// The address that the node serves while no object of its name is declared.
type BuiltIn = Option<(Arc<str>, Arc<Object>)>;

impl Loaded {
    /// Reads the objects in a directory, which must exist, of the node `local`.
    ///
    /// # Errors
    ///
    /// When the journal is damaged or cannot be read; see [`StoreError`].
    pub fn read(directory: &Path, local: NodeId) -> Result<Self, StoreError> {
        let file = JournalFile::new(directory.join("addresses.journal"));
        Ok(Self::of(Journal::open(Box::new(file), local)?, local))
    }

    fn of(journal: Journal, local: NodeId) -> Self {
        let was_member = journal.base().is_member;
        Self { journal, local, built_in: None, membership: None, was_member }
    }

    /// Serves the topic for every name that nothing else serves, unless one is declared.
    fn with_catch_all(self) -> Self {
        Self { built_in: Some((CATCH_ALL_TOPIC.into(), Arc::new(Object::catch_all()))), ..self }
    }

    /// Makes the node one that is alone, perhaps with the topic for every name that nothing else serves. What it
    /// knows from a fleet that it has left has its home here now.
    ///
    /// # Errors
    ///
    /// When that cannot be made durable; see [`StoreError`].
    pub fn alone(mut self, with_catch_all: bool) -> Result<Self, StoreError> {
        let mut id = self.journal.base().id;
        let mut changes = Vec::new();
        for kept in self.journal.objects().filter(|kept| kept.id == 0) {
            let has_none = |value: &Value| value.spec.kind.is_stored() && value.birth != Version::default();
            if address_of(&kept.record).as_ref().is_some_and(has_none) {
                id += 1;
                changes.push(Change::Set { record: kept.record.clone(), id });
            }
        }
        if !changes.is_empty() {
            self.journal.commit(&changes)?;
        }
        Ok(if with_catch_all { self.with_catch_all() } else { self })
    }

    /// Makes the node one of a fleet. What it has declared alone has its home here. The founder of a fleet
    /// declares the topic for every name that nothing else serves, when it is to be there and nobody has ever
    /// declared or removed it.
    ///
    /// # Errors
    ///
    /// When that cannot be made durable; see [`StoreError`].
    pub fn in_fleet(mut self, membership: Membership, with_catch_all: bool) -> Result<Self, StoreError> {
        let mut changes = Vec::new();
        // Others become members when they have what the fleet has.
        if membership.is_founder && !self.was_member {
            changes.push(Change::Base(Base { is_member: true, ..self.journal.base() }));
        }
        for kept in self.journal.objects() {
            let Some(value) = address_of(&kept.record) else { continue };
            if value.home.is_some() || !has_own_home(value.spec.kind) {
                continue;
            }
            let value = Value { home: Some(membership.node.clone()), ..value };
            // It is the same change as before: nobody else has seen it.
            let record = Record { value: Some(encoded(&value)?), ..kept.record.clone() };
            changes.push(Change::Set { record, id: kept.id });
        }
        let catch_all = Key::new(ADDRESS, CATCH_ALL_TOPIC);
        if with_catch_all && membership.is_founder && self.journal.kept(&catch_all).is_none() {
            let value = Value {
                spec: AddressSpec::new(AddressType::Topic),
                labels: BTreeMap::new(),
                home: Some(membership.node.clone()),
                moving_from: None,
                birth: Version::default(),
                ends: 0,
                created_by: None,
            };
            // Whatever anybody else says of it counts more.
            let version = Version { clock: 1, origin: self.local };
            let record = Record { key: catch_all, version, value: Some(encoded(&value)?) };
            changes.push(Change::Set { record, id: 0 });
        }
        if !changes.is_empty() {
            self.journal.commit(&changes)?;
        }
        Ok(Self { membership: Some(membership), built_in: None, ..self })
    }

    /// The addresses that the shards are started with.
    ///
    /// They come in the order of their names: a topic before its subscriptions.
    pub fn addresses(&self) -> Vec<Served> {
        let here = self.membership.as_ref().map(|membership| &membership.node);
        let declared = writer::declared(&self.journal);
        let view = writer::view(&declared, self.built_in.as_ref());
        view.iter().map(|(name, object)| object.served(name, here)).collect()
    }

    /// Begins to take changes, and to speak with other nodes when the hub has a mesh; that one needs
    /// [`Catalogue::service`]. The task ends when the last [`Catalogue`] is dropped. Must be called within a
    /// tokio runtime.
    pub fn serve(self, hub: Hub) -> Catalogue {
        let mesh = hub.mesh().filter(|_| self.membership.is_some()).cloned();
        let (exchange, heard) = mesh.map(Exchange::over).unzip();
        Catalogue { heard, ..self.serve_with(hub, exchange) }
    }

    fn serve_with(self, hub: Hub, exchange: Option<Exchange>) -> Catalogue {
        let view = View::default();
        let (changes, requests) = mpsc::channel(WAITING_CHANGES);
        let (joined, has_joined) = watch::channel(self.membership.is_none());
        let (tables, users) = watch::channel(Arc::default());
        let writer = Writer::new(self, Settings { hub, view: view.clone(), tables, exchange, joined });
        tokio::spawn(writer.run(requests));
        Catalogue { view, users, changes, has_joined, heard: None }
    }
}

/// The address that a record is about, if this version knows what it says.
fn address_of(record: &Record) -> Option<Value> {
    if record.key.kind != ADDRESS {
        return None;
    }
    let decoded = Value::decode(record.value.as_ref()?);
    let failed = |error: &String| {
        tracing::warn!(
            address = %record.key.name,
            %error,
            "cannot serve an address that another version of mqd has written; it is kept for that one"
        );
    };
    decoded.inspect_err(failed).ok()
}

/// Whether addresses of the type have a home of their own, and not that of another address.
fn has_own_home(kind: AddressType) -> bool {
    kind.is_stored() && kind != AddressType::Subscription
}

fn encoded(value: &Value) -> Result<bytes::Bytes, StoreError> {
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
    value.encode().map_err(|reason| StoreError::io("write", Path::new("an address"), invalid(reason)))
}

impl Catalogue {
    /// Number of addresses that have been created.
    pub fn len(&self) -> usize {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let is_built_in = view.get(CATCH_ALL_TOPIC).is_some_and(|object| object.is_built_in);
        // The further shards of a queue are addresses to the nodes alone.
        let declared = view.keys().filter(|name| split_shard(name).is_none()).count();
        declared - usize::from(is_built_in)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One address, as it is in force.
    pub fn address(&self, name: &str) -> Option<Arc<Object>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The further shards of a queue by their numbers, those that it has no more among them.
    pub fn shards(&self, queue: &str) -> Vec<(u16, Arc<Object>)> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("{queue}::");
        let shard = |name: &Arc<str>| {
            let (of, number) = split_shard(name)?;
            Some((number, view.get(name).filter(|_| of == queue)?.clone()))
        };
        let mut shards: Vec<_> = names_from(&view, &prefix).filter_map(shard).collect();
        shards.sort_unstable_by_key(|(number, _)| *number);
        shards
    }

    /// Every address, built-in ones too, in the order of the names; the further shards of a queue as addresses
    /// of their own, which [`split_shard`] knows by their names.
    pub fn addresses(&self) -> Vec<(Arc<str>, Arc<Object>)> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        view.iter().map(|(name, object)| (name.clone(), object.clone())).collect()
    }

    /// The addresses whose names begin with this, in the order of the names; see [`addresses`](Self::addresses).
    pub fn addresses_below(&self, prefix: &str) -> Vec<(Arc<str>, Arc<Object>)> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let names = names_from(&view, prefix);
        names.filter_map(|name| Some((name.clone(), view.get(name)?.clone()))).collect()
    }

    /// The users and roles in force. The receiver learns of every other table.
    pub fn users(&self) -> watch::Receiver<Arc<UserTable>> {
        self.users.clone()
    }

    /// The users and roles in force at this moment.
    pub fn user_table(&self) -> Arc<UserTable> {
        self.users.borrow().clone()
    }

    /// What the mesh has to deliver to; `None` on a node that is alone.
    pub(crate) fn service(&self) -> Option<Service> {
        self.heard.clone().map(fleet::service)
    }

    /// Waits until the node has what another node of its fleet has, or has been told to do without. At once on
    /// a node that is alone.
    pub async fn joined(&self) {
        let mut has_joined = self.has_joined.clone();
        // The task is gone when the node stops, and then nothing is waited for.
        let _ = has_joined.wait_for(|has_joined| *has_joined).await;
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
        self.create_for(None, name, labels, spec).await
    }

    /// The same, for a user of its space.
    ///
    /// # Errors
    ///
    /// As those of [`create`](Self::create).
    pub async fn create_for(
        &self,
        by: Option<Arc<str>>,
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
    ) -> Result<Arc<Object>, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Put { name, labels, spec: Box::new(spec), only_new: true, by, reply }, answer)
            .await
            .map(|(_, object)| object)
    }

    /// Creates an address or changes it to what is given.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoSpace`], [`ChangeError::NoTopic`], [`ChangeError::HasSubscriptions`],
    /// [`ChangeError::AddressLimit`], [`ChangeError::AddressLimitOfUser`], [`ChangeError::Full`],
    /// [`ChangeError::Store`] when it cannot be made durable, [`ChangeError::NotServed`], [`ChangeError::Stopping`].
    pub async fn put(
        &self,
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
    ) -> Result<(Put, Arc<Object>), ChangeError> {
        self.put_for(None, name, labels, spec).await
    }

    /// The same, for a user of its space: one that begins counts towards his limit. Whoever changes it later, it is
    /// still of who has declared it first.
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put).
    pub async fn put_for(
        &self,
        by: Option<Arc<str>>,
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
    ) -> Result<(Put, Arc<Object>), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Put { name, labels, spec: Box::new(spec), only_new: false, by, reply }, answer)
            .await
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

    /// Makes another node the home of a queue or topic. The one before passes on what it holds of a queue, or
    /// serves a topic until the next one has a copy of it, and says with [`emptied`](Self::emptied) when it has
    /// nothing left.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotFound`], [`ChangeError::NoHome`], [`ChangeError::Moving`], and the errors of
    /// [`put`](Self::put).
    pub async fn set_home(&self, name: Arc<str>, home: Arc<str>) -> Result<Arc<Object>, ChangeError> {
        self.relocate(name, Relocation::To(home)).await
    }

    /// This node was the home of an address, and has nothing left of it to pass on.
    ///
    /// # Errors
    ///
    /// Those of [`set_home`](Self::set_home).
    pub async fn emptied(&self, name: Arc<str>) -> Result<Arc<Object>, ChangeError> {
        self.relocate(name, Relocation::Emptied).await
    }

    /// Makes of a user of a space what `edit` makes of what he is, at once: no other change of this node comes in
    /// between. `None` is one who does not exist, before and after.
    ///
    /// # Errors
    ///
    /// Those of `edit`, [`ChangeError::NoSpace`], [`ChangeError::TooMany`], [`ChangeError::Full`],
    /// [`ChangeError::Store`] when it cannot be made durable, [`ChangeError::Stopping`].
    pub async fn edit_user(
        &self,
        space: Arc<str>,
        name: Arc<str>,
        edit: impl FnOnce(Option<UserValue>) -> Result<Option<UserValue>, ChangeError> + Send + 'static,
    ) -> Result<Put, ChangeError> {
        let edit = move |current: Option<&Principal>| {
            let current = match current {
                Some(Principal::User(value)) => Some(value.clone()),
                _ => None,
            };
            Ok(edit(current)?.map(Principal::User))
        };
        self.edit(principal::Change { name: PrincipalName::user(space, name), edit: Box::new(edit) }).await
    }

    /// As [`edit_user`](Self::edit_user), of a role.
    ///
    /// # Errors
    ///
    /// Those of [`edit_user`](Self::edit_user).
    pub async fn edit_role(
        &self,
        space: Arc<str>,
        name: Arc<str>,
        edit: impl FnOnce(Option<RoleValue>) -> Result<Option<RoleValue>, ChangeError> + Send + 'static,
    ) -> Result<Put, ChangeError> {
        let edit = move |current: Option<&Principal>| {
            let current = match current {
                Some(Principal::Role(value)) => Some(value.clone()),
                _ => None,
            };
            Ok(edit(current)?.map(Principal::Role))
        };
        self.edit(principal::Change { name: PrincipalName::role(space, name), edit: Box::new(edit) }).await
    }

    /// As [`edit_user`](Self::edit_user), of a connector.
    ///
    /// # Errors
    ///
    /// Those of [`edit_user`](Self::edit_user).
    pub async fn edit_connector(
        &self,
        space: Arc<str>,
        name: Arc<str>,
        edit: impl FnOnce(Option<ConnectorValue>) -> Result<Option<ConnectorValue>, ChangeError> + Send + 'static,
    ) -> Result<Put, ChangeError> {
        let edit = move |current: Option<&Principal>| {
            let current = match current {
                Some(Principal::Connector(value)) => Some(value.clone()),
                _ => None,
            };
            Ok(edit(current)?.map(Principal::Connector))
        };
        let name = PrincipalName::connector(space, name);
        self.edit(principal::Change { name, edit: Box::new(edit) }).await
    }

    /// As [`edit_user`](Self::edit_user), of an address space; [`remove_space`](Self::remove_space) removes one.
    ///
    /// # Errors
    ///
    /// Those of [`edit_user`](Self::edit_user), and [`ChangeError::HostTaken`].
    pub async fn edit_space(
        &self,
        name: Arc<str>,
        edit: impl FnOnce(Option<SpaceValue>) -> Result<SpaceValue, ChangeError> + Send + 'static,
    ) -> Result<Put, ChangeError> {
        let edit = move |current: Option<&Principal>| {
            let current = match current {
                Some(Principal::Space(value)) => Some(value.clone()),
                _ => None,
            };
            Ok(Some(Principal::Space(edit(current)?)))
        };
        self.edit(principal::Change { name: PrincipalName::space(name), edit: Box::new(edit) }).await
    }

    /// As [`edit_user`](Self::edit_user), of a profile.
    ///
    /// # Errors
    ///
    /// Those of [`edit_user`](Self::edit_user).
    pub async fn edit_profile(
        &self,
        name: Arc<str>,
        edit: impl FnOnce(Option<ProfileValue>) -> Result<Option<ProfileValue>, ChangeError> + Send + 'static,
    ) -> Result<Put, ChangeError> {
        let edit = move |current: Option<&Principal>| {
            let current = match current {
                Some(Principal::Profile(value)) => Some(value.clone()),
                _ => None,
            };
            Ok(edit(current)?.map(Principal::Profile))
        };
        self.edit(principal::Change { name: PrincipalName::profile(name), edit: Box::new(edit) }).await
    }

    /// Removes an address space; with `cascade` its addresses, users, roles and connectors, too.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoPrincipal`], [`ChangeError::BuiltInSpace`], [`ChangeError::SpaceInUse`], and the errors of
    /// [`put`](Self::put).
    pub async fn remove_space(&self, name: Arc<str>, cascade: bool) -> Result<(), ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::RemoveSpace { name, cascade, reply }, answer).await
    }

    async fn edit(&self, change: principal::Change) -> Result<Put, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Edit { change, reply }, answer).await
    }

    async fn relocate(&self, name: Arc<str>, to: Relocation) -> Result<Arc<Object>, ChangeError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Relocate { name, to, reply }, answer).await.map(|(_, object)| object)
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
        /// The user who wants it.
        by: Option<Arc<str>>,
        reply: oneshot::Sender<Answer<(Put, Arc<Object>)>>,
    },
    Remove {
        name: Arc<str>,
        reply: oneshot::Sender<Answer<()>>,
    },
    RemoveSpace {
        name: Arc<str>,
        /// What is in it, too.
        cascade: bool,
        reply: oneshot::Sender<Answer<()>>,
    },
    Edit {
        change: principal::Change,
        reply: oneshot::Sender<Answer<Put>>,
    },
    Relocate {
        name: Arc<str>,
        to: Relocation,
        reply: oneshot::Sender<Answer<(Put, Arc<Object>)>>,
    },
}

/// What happens to the home of an address.
#[derive(Debug)]
enum Relocation {
    To(Arc<str>),
    /// This node has nothing left to pass on.
    Emptied,
    /// This node holds something that it has to pass on, and nobody knows.
    LeftBehind,
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
