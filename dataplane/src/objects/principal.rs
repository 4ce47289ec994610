//! Users and roles as objects: what nodes tell each other of them, and the table that is made of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mq_auth::Verifiers;
use mq_mesh::replica::{Key, Kind, Record, Version};
use mq_model::user::{DEFAULT_SPACE, RoleSpec, UserSpec};
use serde::{Deserialize, Serialize};

use super::ChangeError;
use super::journal::Journal;
use crate::users::{Role, SaltSecret, User, UserTable};

/// The kind of objects that are users.
const USER: Kind = Kind(2);

/// The kind of objects that are roles.
const ROLE: Kind = Kind(3);

/// The kind of the one object that is the fleet's secret for salts. A number with room before it for further kinds.
const SALTS: Kind = Kind(16);

/// Users that a fleet may have.
pub const MAX_USERS: usize = 100_000;

/// Roles that a fleet may have.
pub const MAX_ROLES: usize = 10_000;

/// The value of a user. Nodes of another version may have added fields: those are left alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserValue {
    pub spec: UserSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What his password is checked with, never the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifiers: Option<Arc<Verifiers>>,
}

/// The value of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleValue {
    pub spec: RoleSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What is called by a name of its own and has rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    User,
    Role,
}

impl PrincipalKind {
    fn of(kind: Kind) -> Option<Self> {
        match kind {
            USER => Some(Self::User),
            ROLE => Some(Self::Role),
            _ => None,
        }
    }

    fn most(self) -> usize {
        match self {
            Self::User => MAX_USERS,
            Self::Role => MAX_ROLES,
        }
    }

    /// The key of the object of this name.
    pub(super) fn key(self, name: &str) -> Key {
        let kind = match self {
            Self::User => USER,
            Self::Role => ROLE,
        };
        // The space stands before the name: neither holds a slash.
        Key::new(kind, format!("{DEFAULT_SPACE}/{name}"))
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Role => "role",
        })
    }
}

/// A user or a role as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Principal {
    User(UserValue),
    Role(RoleValue),
}

impl Principal {
    fn decode(kind: PrincipalKind, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match kind {
            PrincipalKind::User => serde_json::from_slice(bytes).map(Self::User),
            PrincipalKind::Role => serde_json::from_slice(bytes).map(Self::Role),
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, String> {
        let encoded = match self {
            Self::User(value) => serde_json::to_vec(value),
            Self::Role(value) => serde_json::to_vec(value),
        };
        encoded.map(Into::into).map_err(|error| error.to_string())
    }
}

/// What becomes of a user or a role, given what it is; `None`: it is not there.
pub(super) type Edit = Box<dyn FnOnce(Option<&Principal>) -> Result<Option<Principal>, ChangeError> + Send>;

/// A request to change a user or a role.
pub(super) struct Change {
    pub(super) kind: PrincipalKind,
    pub(super) name: Arc<str>,
    pub(super) edit: Edit,
}

impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a change of the {} {}", self.kind, self.name)
    }
}

/// What a batch is about to make of users and roles.
pub(super) type Staged = HashMap<Key, (Version, Option<Principal>)>;

/// The users and roles of the journal.
#[derive(Debug, Default)]
pub(super) struct Principals {
    kept: BTreeMap<(u8, Arc<str>), (Version, Principal)>,
    users: usize,
    roles: usize,
    salts: Option<SaltSecret>,
    generation: u64,
}

/// The key of the fleet's secret for salts.
pub(super) fn salts_key() -> Key {
    Key::new(SALTS, "salts")
}

impl Principals {
    pub(super) fn read(journal: &Journal) -> Self {
        let mut principals = Self::default();
        for kept in journal.objects() {
            principals.take(&kept.record);
        }
        principals
    }

    /// Takes over what a record says; false when it speaks of something else.
    pub(super) fn take(&mut self, record: &Record) -> bool {
        if record.key.kind == SALTS {
            let secret = record.value.as_ref().and_then(|value| value.as_ref().try_into().ok());
            self.salts = secret.map(SaltSecret);
            return true;
        }
        let Some(kind) = PrincipalKind::of(record.key.kind) else { return false };
        let decoded = record.value.as_ref().map(|value| Principal::decode(kind, value)).transpose();
        let failed = |error: &serde_json::Error| {
            tracing::warn!(
                %kind,
                name = %record.key.name,
                %error,
                "cannot understand what another version of mqd has written; nobody has rights by it"
            );
        };
        let value = decoded.inspect_err(failed).ok().flatten();
        let slot = (record.key.kind.0, record.key.name.clone());
        let is_there = value.is_some();
        let before = match value {
            Some(value) => self.kept.insert(slot, (record.version, value)),
            None => self.kept.remove(&slot),
        };
        let count = match kind {
            PrincipalKind::User => &mut self.users,
            PrincipalKind::Role => &mut self.roles,
        };
        *count = *count + usize::from(is_there) - usize::from(before.is_some());
        true
    }

    /// A user or role as it will be after what a batch holds so far.
    pub(super) fn current<'a>(&'a self, staged: &'a Staged, key: &Key) -> Option<&'a Principal> {
        match staged.get(key) {
            Some((_, staged)) => staged.as_ref(),
            None => self.kept.get(&(key.kind.0, key.name.clone())).map(|(_, kept)| kept),
        }
    }

    /// Whether there is room for one more, after what a batch holds so far.
    pub(super) fn has_room(&self, staged: &Staged, kind: PrincipalKind) -> bool {
        let count = match kind {
            PrincipalKind::User => self.users,
            PrincipalKind::Role => self.roles,
        };
        count + staged.len() < kind.most()
    }

    /// The table of what there is now.
    pub(super) fn table(&mut self) -> Arc<UserTable> {
        self.generation += 1;
        let named = |name: &str| name.split_once('/').filter(|(space, _)| *space == DEFAULT_SPACE).map(own);
        let (mut users, mut roles) = (Vec::with_capacity(self.users), Vec::with_capacity(self.roles));
        for ((_, name), (version, kept)) in &self.kept {
            // What stands in another space is kept for a version that knows of it.
            let Some(name) = named(name) else { continue };
            match kept.clone() {
                Principal::User(UserValue { spec, labels, verifiers }) => {
                    users.push(User::of(name, labels, spec, verifiers, *version));
                }
                Principal::Role(RoleValue { spec, labels }) => {
                    roles.push(Role { name, labels, spec, version: *version });
                }
            }
        }
        Arc::new(UserTable::new(users, roles, self.generation).with_salts(self.salts))
    }
}

fn own((_, name): (&str, &str)) -> Arc<str> {
    name.into()
}
