//! What requests come to: checked against what there is, and staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mq_core::{shard_name, split_shard};
use mq_mesh::replica::{Key, Refused, UnixMillis, Version};
use mq_model::manifest::{AddressSpec, AddressType};
use mq_model::space::{DEFAULT_SPACE, qualified, split_qualified};

use super::super::principal::{self, Principal, SpaceValue};
use super::super::value::ADDRESS;
use super::super::{
    Answer, ChangeError, Object, PrincipalKind, PrincipalName, Put, Relocation, Request, StoreError, Subject,
    has_own_home,
};
use super::{
    Batch, Pending, Writer, is_topic, names_from, owns_shard, passes_on, topic_of, unix_millis, value_of,
};
use crate::driver::random;

impl Writer {
    pub(super) fn decide(&mut self, requests: impl Iterator<Item = Request>) -> Batch {
        let mut batch = Batch::default();
        for request in requests {
            match request {
                Request::Put { name, labels, spec, only_new, by, reply } => {
                    let (answer, version) =
                        self.decide_put(&mut batch, &name, labels, *spec, only_new, by).split();
                    batch.answers.push((Subject::Address(name), version, Pending::Put(reply, answer)));
                }
                Request::Relocate { name, to, reply } => {
                    let (answer, version) = self.decide_home(&mut batch, &name, to).split();
                    batch.answers.push((Subject::Address(name), version, Pending::Put(reply, answer)));
                }
                Request::Remove { name, reply } => {
                    let (answer, version) = self.decide_removal(&mut batch, &name).split();
                    batch.answers.push((Subject::Address(name), version, Pending::Remove(reply, answer)));
                }
                Request::RemoveSpace { name, cascade, reply } => {
                    let (answer, version) = self.decide_space_removal(&mut batch, &name, cascade).split();
                    let subject = Subject::Principal(PrincipalName::space(name));
                    batch.answers.push((subject, version, Pending::Remove(reply, answer)));
                }
                Request::Edit { change, reply } => {
                    let subject = Subject::Principal(change.name.clone());
                    let (answer, version) = self.decide_edit(&mut batch, change).split();
                    batch.answers.push((subject, version, Pending::Edit(reply, answer)));
                }
            }
        }
        batch
    }

    fn decide_put(
        &mut self,
        batch: &mut Batch,
        name: &Arc<str>,
        labels: BTreeMap<String, String>,
        spec: AddressSpec,
        only_new: bool,
        by: Option<Arc<str>>,
    ) -> Decision<(Put, Arc<Object>)> {
        let (space, _) = split_qualified(name);
        let space: Arc<str> = space.into();
        if !self.principals.has_space(&batch.principals, &space) {
            return Err(ChangeError::NoSpace(space));
        }
        self.check_topic(batch, name, spec.kind)?;
        let current = self.current(batch, name);
        if current.as_ref().is_none_or(|current| current.is_built_in) {
            self.check_address_limits(batch, &space, by.as_ref())?;
        }
        let declared = current.as_ref().filter(|current| !current.is_built_in);
        match declared {
            Some(_) if only_new => return Err(ChangeError::Exists(name.clone())),
            Some(current) if current.spec == spec && current.labels == labels => {
                return Ok(((Put::Unchanged, current.clone()), None));
            }
            _ => {}
        }
        let put = if declared.is_some() { Put::Updated } else { Put::Created };
        if let Some(current) = declared.filter(|current| current.spec.kind == spec.kind)
            && current.spec.shards() != spec.shards()
            && (current.spec.last_value || spec.last_value)
        {
            return Err(ChangeError::ShardsOfLastValues(name.clone()));
        }
        let declared_by = declared.map(|current| current.created_by.clone());
        let object = match current.filter(|current| current.spec.kind == spec.kind) {
            // What it holds stays its own.
            Some(current) => {
                let home = self.home_for(name, spec.kind, current.home.clone());
                let created_by = if current.is_built_in { by } else { current.created_by.clone() };
                Object { is_built_in: false, home, created_by, labels, spec, ..(*current).clone() }
            }
            None => {
                let created_by = declared_by.unwrap_or(by);
                // What was left over from a topic of that name that was removed elsewhere ends with it.
                if spec.kind == AddressType::Topic {
                    for name in self.subscriptions(batch, name) {
                        self.remove(batch, &name);
                    }
                }
                let ends = self.known_version(batch, name).map_or(0, |version| version.clock);
                self.remove_shards(batch, name);
                let birth = self.replica.next_version(unix_millis());
                let (home, moving_from) = (self.home_for(name, spec.kind, None), None);
                let (version, id, is_built_in) = (birth, 0, false);
                Object { is_built_in, version, id, birth, ends, home, moving_from, created_by, labels, spec }
            }
        };
        let (object, version) = self.put(batch, name, object)?;
        // Of the whole queue: its shards have changed when the last of them has.
        let version = self.put_shards(batch, name, &object)?.unwrap_or(version);
        Ok(((put, object), Some(version)))
    }

    /// Stages the shards of a queue that are not there yet; gives the last change, if there is one.
    fn put_shards(
        &mut self,
        batch: &mut Batch,
        queue: &Arc<str>,
        object: &Object,
    ) -> Answer<Option<Version>> {
        let names: Vec<Arc<str>> =
            (1..object.spec.shards()).map(|number| shard_name(queue, number)).collect();
        let mut homes: Vec<Arc<str>> = object.home.iter().cloned().collect();
        let mut missing = Vec::new();
        for name in &names {
            match self.current(batch, name) {
                Some(shard) => homes.extend(shard.home.clone()),
                None => missing.push(name),
            }
        }
        let new = match &self.membership {
            Some(_) => {
                self.homes.choose_for_shards(queue, &homes, missing.len()).into_iter().map(Some).collect()
            }
            None => vec![None; missing.len()],
        };
        let mut last = None;
        for (name, home) in missing.into_iter().zip(new) {
            // What the queue says holds for each of them.
            let (labels, spec) = (BTreeMap::new(), AddressSpec::new(AddressType::Queue));
            let ends = self.known_version(batch, name).map_or(0, |version| version.clock);
            let birth = self.replica.next_version(unix_millis());
            let (version, id, is_built_in, moving_from) = (birth, 0, false, None);
            let created_by = None;
            let object =
                Object { is_built_in, version, id, birth, ends, home, moving_from, created_by, labels, spec };
            last = Some(self.put(batch, name, object)?.1);
        }
        Ok(last)
    }

    /// Removes the further shards of a queue, or those that are left over from one.
    fn remove_shards(&mut self, batch: &mut Batch, queue: &str) {
        let names = self.subscriptions(batch, queue).into_iter();
        for name in names.filter(|name| split_shard(name).is_some()) {
            self.remove(batch, &name);
        }
    }

    pub(super) fn decide_home(
        &mut self,
        batch: &mut Batch,
        name: &Arc<str>,
        to: Relocation,
    ) -> Decision<(Put, Arc<Object>)> {
        let current = self.current(batch, name).ok_or_else(|| ChangeError::NotFound(name.clone()))?;
        let Some(membership) = &self.membership else { return Err(ChangeError::NoHome(name.clone())) };
        let Some(before) = current.home.as_ref().filter(|_| has_own_home(current.spec.kind)) else {
            return Err(ChangeError::NoHome(name.clone()));
        };
        let here = &membership.node;
        let is_topic = current.spec.kind == AddressType::Topic;
        let (home, moving_from) = match (to, &current.moving_from) {
            (Relocation::To(home), from) if home == *before => (home, from.clone()),
            // A topic is still there, whole. Only that node knows whether it has just left.
            (Relocation::To(home), Some(from)) if home == *from && is_topic => match from == here {
                true => (home, None),
                false => return Err(ChangeError::Moving(name.clone(), from.clone())),
            },
            // It turns round.
            (Relocation::To(home), Some(from)) if home == *from => (home, Some(before.clone())),
            (Relocation::To(_), Some(from)) => return Err(ChangeError::Moving(name.clone(), from.clone())),
            (Relocation::To(home), None) => (home, passes_on(current.spec.kind).then(|| before.clone())),
            (Relocation::Emptied, from) => (before.clone(), from.clone().filter(|from| from != here)),
            (Relocation::LeftBehind, None) if before != here && passes_on(current.spec.kind) => {
                (before.clone(), Some(here.clone()))
            }
            (Relocation::LeftBehind, from) => (before.clone(), from.clone()),
        };
        if home == *before && moving_from == current.moving_from {
            return Ok(((Put::Unchanged, current), None));
        }
        let object = Object { home: Some(home), moving_from, ..(*current).clone() };
        let (object, version) = self.put(batch, name, object)?;
        Ok(((Put::Updated, object), Some(version)))
    }

    fn decide_removal(&mut self, batch: &mut Batch, name: &Arc<str>) -> Decision<()> {
        let current = self.current(batch, name).ok_or_else(|| ChangeError::NotFound(name.clone()))?;
        if current.is_built_in {
            return Err(ChangeError::BuiltIn(name.clone()));
        }
        if current.spec.kind == AddressType::Topic {
            for name in self.subscriptions(batch, name) {
                self.remove(batch, &name);
            }
        }
        self.remove_shards(batch, name);
        let version = self.remove(batch, name);
        Ok(((), Some(version)))
    }

    fn decide_edit(&mut self, batch: &mut Batch, change: principal::Change) -> Decision<Put> {
        let principal::Change { name, edit } = change;
        let (key, kind) = (name.key(), name.kind());
        if let Some(space) =
            name.in_space().filter(|space| !self.principals.has_space(&batch.principals, space))
        {
            return Err(ChangeError::NoSpace(space.clone()));
        }
        let current = self.principals.current(&batch.principals, &key);
        let (put, new) = match (current, edit(current)?) {
            (None, None) => return Ok((Put::Unchanged, None)),
            (Some(current), Some(new)) if *current == new => return Ok((Put::Unchanged, None)),
            (None, Some(_)) if !self.principals.has_room(&batch.principals, kind) => {
                return Err(ChangeError::TooMany(kind));
            }
            (None, new) => (Put::Created, new),
            (Some(_), new) => (Put::Updated, new),
        };
        let new = match new {
            Some(Principal::Space(value)) => {
                self.check_hosts(batch, name.name(), &value)?;
                Some(Principal::Space(self.begun(batch, name.name(), value, put)))
            }
            new => new,
        };
        let unix = unix_millis();
        let version = match &new {
            Some(new) => {
                let value = new.encode().map_err(|reason| unwritable(name.name(), reason))?;
                self.replica.put(unix, key.clone(), value).map_err(|refused| match refused {
                    Refused::Full(_) => ChangeError::Full,
                    refused => unwritable(name.name(), refused.to_string()),
                })?
            }
            None => self.replica.delete(unix, key.clone()),
        };
        if kind == PrincipalKind::User && new.is_some() {
            self.make_salts(unix);
        }
        batch.principals.insert(key, (version, new));
        Ok((put, Some(version)))
    }

    /// Makes what the salts are made of that no user has, if nobody has: as long as there are no users, there is
    /// nobody to be told apart. Of what two nodes make at once, one counts everywhere.
    fn make_salts(&mut self, unix: UnixMillis) {
        if self.replica.entry(&principal::salts_key()).is_some() {
            return;
        }
        let secret: [u8; 32] = random();
        if let Err(error) = self.replica.put(unix, principal::salts_key(), Bytes::copy_from_slice(&secret)) {
            tracing::warn!(%error, "the nodes of the fleet go on with salts of their own");
        }
    }

    /// Whether nobody chooses another space by one of the names of this one.
    fn check_hosts(&self, batch: &Batch, name: &Arc<str>, value: &SpaceValue) -> Result<(), ChangeError> {
        let hosts = value.spec.hosts.iter().map(String::as_str);
        for host in hosts.chain([&**name]) {
            let taken = self.principals.space_named(&batch.principals, host).filter(|taken| taken != name);
            let built_in =
                || (host == DEFAULT_SPACE && &**name != DEFAULT_SPACE).then(|| DEFAULT_SPACE.into());
            if let Some(taken) = taken.or_else(built_in) {
                return Err(ChangeError::HostTaken(host.into(), taken));
            }
        }
        Ok(())
    }

    /// A space that begins knows what was of one of that name before, and takes nothing of it over: some of it may
    /// have been made on a node that did not know of that one's end.
    fn begun(&mut self, batch: &mut Batch, name: &Arc<str>, value: SpaceValue, put: Put) -> SpaceValue {
        if put != Put::Created || &**name == DEFAULT_SPACE {
            return value;
        }
        let key = PrincipalName::space(name.clone()).key();
        let staged = batch.principals.get(&key).map(|(version, _)| *version);
        let known = staged.or_else(|| self.replica.entry(&key).map(|entry| entry.version));
        let ends = known.map_or(0, |version| version.clock);
        for (key, version) in self.principals.members(&batch.principals, name) {
            if version.clock <= ends {
                self.remove_principal(batch, key);
            }
        }
        let addresses = self.addresses_of(batch, name).into_iter();
        let is_left_over = |address: &Arc<str>| {
            self.current(batch, address).is_none_or(|current| current.birth.clock <= ends)
        };
        let left_over: Vec<_> = addresses.filter(is_left_over).collect();
        for address in left_over {
            self.remove(batch, &address);
        }
        SpaceValue { ends, ..value }
    }

    fn decide_space_removal(&mut self, batch: &mut Batch, name: &Arc<str>, cascade: bool) -> Decision<()> {
        if &**name == DEFAULT_SPACE {
            return Err(ChangeError::BuiltInSpace(name.clone()));
        }
        let key = PrincipalName::space(name.clone()).key();
        if self.principals.current(&batch.principals, &key).is_none() {
            return Err(ChangeError::NoPrincipal(PrincipalKind::Space, name.clone()));
        }
        let members = self.principals.members(&batch.principals, name);
        let addresses = self.addresses_of(batch, name);
        let is_empty = members.is_empty() && addresses.is_empty();
        if !cascade && !is_empty {
            let addresses = addresses.iter().filter(|name| split_shard(name).is_none()).count();
            return Err(ChangeError::SpaceInUse { name: name.clone(), addresses, users: members.len() });
        }
        // Subscriptions and shards stand behind what they belong to, and go first.
        for address in addresses.iter().rev() {
            self.remove(batch, address);
        }
        for (key, _) in members {
            self.remove_principal(batch, key);
        }
        let version = self.remove_principal(batch, key);
        Ok(((), Some(version)))
    }

    fn remove_principal(&mut self, batch: &mut Batch, key: Key) -> Version {
        let version = self.replica.delete(unix_millis(), key.clone());
        batch.principals.insert(key, (version, None));
        version
    }

    /// The declared addresses of a space other than the default one in the order of their names, subscriptions and
    /// further shards among them.
    fn addresses_of(&self, batch: &Batch, space: &str) -> Vec<Arc<str>> {
        self.named(batch, &qualified(space, ""))
    }

    /// Whether a space, and a user of it, may have one more address.
    fn check_address_limits(
        &self,
        batch: &Batch,
        space: &str,
        by: Option<&Arc<str>>,
    ) -> Result<(), ChangeError> {
        let table = self.tables.borrow().clone();
        let Some(settings) = table.space(space) else { return Ok(()) };
        if let Some(user) = by {
            let own = table.find(space, user).map_or_else(|| settings.user_limits(), |user| user.limits());
            if let Some(limit) = own.max_addresses
                && self.count_addresses(batch, space, |object| object.created_by.as_ref() == Some(user))
                    >= limit as usize
            {
                return Err(ChangeError::AddressLimitOfUser { user: user.clone(), limit });
            }
        }
        match settings.limits().max_addresses {
            Some(limit) if self.count_addresses(batch, space, |_| true) >= limit as usize => {
                Err(ChangeError::AddressLimit(limit))
            }
            _ => Ok(()),
        }
    }

    /// The addresses of a space that are like this, without further shards.
    fn count_addresses(&self, batch: &Batch, space: &str, is_it: impl Fn(&Object) -> bool) -> usize {
        let is_counted = |name: &Arc<str>| split_shard(name).is_none() && split_qualified(name).0 == space;
        let prefix = qualified(space, "");
        let unchanged = names_from(&self.declared, &prefix).filter(|name| !batch.outcome.contains_key(*name));
        let declared = unchanged.filter(|name| is_counted(name)).filter_map(|name| self.declared.get(name));
        let staged = batch.outcome.iter().filter(|(name, _)| is_counted(name));
        let staged = staged.filter_map(|(_, (_, outcome))| outcome.as_ref());
        declared.chain(staged).filter(|object| is_it(object)).count()
    }

    /// Stages an object; gives it as it will be.
    fn put(&mut self, batch: &mut Batch, name: &Arc<str>, object: Object) -> Answer<(Arc<Object>, Version)> {
        let unix = unix_millis();
        let version = self.replica.next_version(unix);
        let is_kept = match object.spec.kind {
            AddressType::Subscription => {
                let topic = self.current(batch, topic_of(name));
                topic.is_some_and(|topic| self.is_kept_here(&topic.spec, topic.home.as_ref()))
            }
            _ => self.is_kept_here(&object.spec, object.home.as_ref()),
        };
        // The built-in topic and the one that takes its place have none.
        let id = if object.id == 0 && is_kept && object.birth != Version::default() {
            self.ids.next()
        } else {
            object.id
        };
        let object = Arc::new(Object { version, id, ..object });
        let invalid = |reason: String| unwritable(name, reason);
        let value = value_of(&object).encode().map_err(invalid)?;
        match self.replica.put(unix, Key::new(ADDRESS, name.clone()), value) {
            Ok(version) => self.ids.given.insert(version.clock, object.id),
            Err(Refused::Full(_)) => return Err(ChangeError::Full),
            Err(refused) => return Err(invalid(refused.to_string())),
        };
        batch.outcome.insert(name.clone(), (version, Some(object.clone())));
        Ok((object, version))
    }

    /// Whether the store of this node has to have a name for an address with this home.
    pub(super) fn is_kept_here(&self, spec: &AddressSpec, home: Option<&Arc<str>>) -> bool {
        match &self.membership {
            Some(membership) => !spec.kind.is_stored() || home == Some(&membership.node),
            None => true,
        }
    }

    fn remove(&mut self, batch: &mut Batch, name: &Arc<str>) -> Version {
        let version = self.replica.delete(unix_millis(), Key::new(ADDRESS, name.clone()));
        let fallback = self.current(batch, name).and_then(|current| self.fallback(name, current.id));
        batch.outcome.insert(name.clone(), (version, fallback));
        version
    }

    /// The home of an address of this type, given the one that it had.
    fn home_for(&self, name: &str, kind: AddressType, current: Option<Arc<str>>) -> Option<Arc<str>> {
        if !has_own_home(kind) {
            return None;
        }
        match &self.membership {
            Some(_) => current.or_else(|| Some(self.homes.choose(name))),
            None => current,
        }
    }

    /// The last change of an object that this node knows of.
    fn known_version(&self, batch: &Batch, name: &Arc<str>) -> Option<Version> {
        let staged = batch.outcome.get(name).map(|(version, _)| *version);
        let entry = || self.replica.entry(&Key::new(ADDRESS, name.clone()));
        staged.or_else(|| entry().map(|entry| entry.version))
    }

    /// The names of the subscriptions of a topic, or of the further shards of a queue, or of those that are left
    /// over from one.
    fn subscriptions(&self, batch: &Batch, topic: &str) -> Vec<Arc<str>> {
        self.named(batch, &format!("{topic}::"))
    }

    /// The declared names that begin with this, as they will be after what the batch holds so far.
    fn named(&self, batch: &Batch, prefix: &str) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = names_from(&self.declared, prefix).cloned().collect();
        names.extend(batch.outcome.keys().filter(|name| name.starts_with(prefix)).cloned());
        names.sort_unstable();
        names.dedup();
        names.retain(|name| match batch.outcome.get(name) {
            Some((_, outcome)) => outcome.is_some(),
            None => true,
        });
        names
    }

    /// Whether topics and subscriptions belong together as they will be.
    fn check_topic(&self, batch: &Batch, name: &Arc<str>, kind: AddressType) -> Result<(), ChangeError> {
        if kind == AddressType::Subscription {
            let topic = topic_of(name);
            let is_there = self.current(batch, topic).is_some_and(|topic| is_topic(&topic));
            return if is_there { Ok(()) } else { Err(ChangeError::NoTopic(name.clone(), topic.into())) };
        }
        let current = self.current(batch, name);
        if kind != AddressType::Topic
            && current.is_some_and(|current| current.spec.kind == AddressType::Topic)
            && let Some(subscription) = self.subscriptions(batch, name).first()
        {
            return Err(ChangeError::HasSubscriptions(name.clone(), subscription.clone()));
        }
        Ok(())
    }

    /// The address as it will be after what the batch holds so far; `None` when it is not served.
    fn current(&self, batch: &Batch, name: &str) -> Option<Arc<Object>> {
        let current = match batch.outcome.get(name) {
            Some((_, outcome)) => outcome.clone(),
            None => self.declared.get(name).cloned().or_else(|| self.fallback(name, 0)),
        };
        let is_left_over = |current: &Arc<Object>| match split_shard(name) {
            Some((queue, _)) => self.current(batch, queue).is_none_or(|queue| !owns_shard(&queue, current)),
            None => {
                current.spec.kind == AddressType::Subscription
                    && !self.current(batch, topic_of(name)).is_some_and(|topic| is_topic(&topic))
            }
        };
        current.filter(|current| !is_left_over(current))
    }

    /// What the node serves under the name when it is not declared. It takes the place of a declared address
    /// without beginning anew: it goes on under its id.
    pub(super) fn fallback(&self, name: &str, id: u64) -> Option<Arc<Object>> {
        let (_, object) = self.built_in.as_ref().filter(|(built_in, _)| **built_in == *name)?;
        Some(Arc::new(Object { id, ..(**object).clone() }))
    }
}

/// That an object cannot be written.
fn unwritable(name: &str, reason: String) -> ChangeError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
    ChangeError::Store(Arc::new(StoreError::io("write", name.as_ref(), source)))
}

/// What was decided, and the change that it is, if it is one.
type Decision<T> = Result<(T, Option<Version>), ChangeError>;

trait Split<T> {
    fn split(self) -> (Answer<T>, Option<Version>);
}

impl<T> Split<T> for Decision<T> {
    fn split(self) -> (Answer<T>, Option<Version>) {
        match self {
            Ok((answer, version)) => (Ok(answer), version),
            Err(error) => (Err(error), None),
        }
    }
}
