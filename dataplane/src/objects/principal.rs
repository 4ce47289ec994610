//! Address spaces, their users, roles and connectors, and profiles as objects: what nodes tell each other of them,
//! and the table that is made of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mq_auth::Verifiers;
use mq_mesh::replica::{Key, Kind, Record, Version};
use mq_model::Secret;
use mq_model::connector::ConnectorSpec;
use mq_model::space::{AddressSpaceSpec, DEFAULT_SPACE, ProfileSpec};
use mq_model::user::{RoleSpec, UserSpec};
use serde::{Deserialize, Serialize};

use super::ChangeError;
use super::journal::Journal;
use crate::users::{Connector, Contents, Profile, Role, SaltSecret, SpaceEntry, User, UserTable};

/// The kind of objects that are users.
const USER: Kind = Kind(2);

/// The kind of objects that are roles.
const ROLE: Kind = Kind(3);

/// The kind of objects that are address spaces.
const SPACE: Kind = Kind(4);

/// The kind of objects that are profiles.
const PROFILE: Kind = Kind(5);

/// The kind of objects that are connectors.
const CONNECTOR: Kind = Kind(6);

/// The kind of the one object that is the fleet's secret for salts. A number with room before it for further kinds.
const SALTS: Kind = Kind(16);

/// Users that a fleet may have.
pub const MAX_USERS: usize = 100_000;

/// Roles that a fleet may have.
pub const MAX_ROLES: usize = 10_000;

/// Address spaces that a fleet may have, besides the default one.
pub const MAX_SPACES: usize = 10_000;

/// Profiles that a fleet may have.
pub const MAX_PROFILES: usize = 1_000;

/// Connectors that a fleet may have.
pub const MAX_CONNECTORS: usize = 1_000;

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

/// The value of an address space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceValue {
    pub spec: AddressSpaceSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whoever made it knew that the space of that name before it had ended at this clock: what was said up to
    /// then of its users and roles is no word of this one's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) ends: u64,
}

/// The value of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileValue {
    pub spec: ProfileSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The value of a connector. It prints no secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorValue {
    pub spec: ConnectorSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it logs in with; empty: it has none.
    #[serde(default, skip_serializing_if = "Secret::is_empty", serialize_with = "Secret::serialize_exposed")]
    pub password: Secret,
    /// The private key of its certificate; empty: it has none.
    #[serde(default, skip_serializing_if = "Secret::is_empty", serialize_with = "Secret::serialize_exposed")]
    pub key: Secret,
}

impl PartialEq for ConnectorValue {
    fn eq(&self, other: &Self) -> bool {
        // Both are the owner's, who learns nothing by comparing them.
        let secrets = |value: &Self| [value.password.expose().to_owned(), value.key.expose().to_owned()];
        self.spec == other.spec && self.labels == other.labels && secrets(self) == secrets(other)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What there is besides addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    User,
    Role,
    Space,
    Profile,
    Connector,
}

impl PrincipalKind {
    fn of(kind: Kind) -> Option<Self> {
        match kind {
            USER => Some(Self::User),
            ROLE => Some(Self::Role),
            SPACE => Some(Self::Space),
            PROFILE => Some(Self::Profile),
            CONNECTOR => Some(Self::Connector),
            _ => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::User => USER,
            Self::Role => ROLE,
            Self::Space => SPACE,
            Self::Profile => PROFILE,
            Self::Connector => CONNECTOR,
        }
    }

    fn most(self) -> usize {
        match self {
            Self::User => MAX_USERS,
            Self::Role => MAX_ROLES,
            Self::Space => MAX_SPACES,
            Self::Profile => MAX_PROFILES,
            Self::Connector => MAX_CONNECTORS,
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Role => "role",
            Self::Space => "space",
            Self::Profile => "profile",
            Self::Connector => "connector",
        })
    }
}

/// What one of them is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalName {
    kind: PrincipalKind,
    /// That of a user, a role or a connector.
    space: Option<Arc<str>>,
    name: Arc<str>,
}

impl PrincipalName {
    pub(super) fn user(space: Arc<str>, name: Arc<str>) -> Self {
        Self { kind: PrincipalKind::User, space: Some(space), name }
    }

    pub(super) fn role(space: Arc<str>, name: Arc<str>) -> Self {
        Self { kind: PrincipalKind::Role, space: Some(space), name }
    }

    pub(super) fn connector(space: Arc<str>, name: Arc<str>) -> Self {
        Self { kind: PrincipalKind::Connector, space: Some(space), name }
    }

    pub(super) fn space(name: Arc<str>) -> Self {
        Self { kind: PrincipalKind::Space, space: None, name }
    }

    pub(super) fn profile(name: Arc<str>) -> Self {
        Self { kind: PrincipalKind::Profile, space: None, name }
    }

    pub(super) fn kind(&self) -> PrincipalKind {
        self.kind
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The space that has to be there for it.
    pub(super) fn in_space(&self) -> Option<&Arc<str>> {
        self.space.as_ref()
    }

    pub(super) fn key(&self) -> Key {
        match &self.space {
            // Neither holds a slash.
            Some(space) => Key::new(self.kind.kind(), format!("{space}/{}", self.name)),
            None => Key::new(self.kind.kind(), self.name.clone()),
        }
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.kind, self.name)
    }
}

/// One of them as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Principal {
    User(UserValue),
    Role(RoleValue),
    Space(SpaceValue),
    Profile(ProfileValue),
    Connector(ConnectorValue),
}

impl Principal {
    fn decode(kind: PrincipalKind, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match kind {
            PrincipalKind::User => serde_json::from_slice(bytes).map(Self::User),
            PrincipalKind::Role => serde_json::from_slice(bytes).map(Self::Role),
            PrincipalKind::Space => serde_json::from_slice(bytes).map(Self::Space),
            PrincipalKind::Profile => serde_json::from_slice(bytes).map(Self::Profile),
            PrincipalKind::Connector => serde_json::from_slice(bytes).map(Self::Connector),
        }
    }

    pub(super) fn encode(&self) -> Result<Bytes, String> {
        let encoded = match self {
            Self::User(value) => serde_json::to_vec(value),
            Self::Role(value) => serde_json::to_vec(value),
            Self::Space(value) => serde_json::to_vec(value),
            Self::Profile(value) => serde_json::to_vec(value),
            Self::Connector(value) => serde_json::to_vec(value),
        };
        encoded.map(Into::into).map_err(|error| error.to_string())
    }
}

/// What becomes of one of them, given what it is; `None`: it is not there.
pub(super) type Edit = Box<dyn FnOnce(Option<&Principal>) -> Result<Option<Principal>, ChangeError> + Send>;

/// A request to change one of them.
pub(super) struct Change {
    pub(super) name: PrincipalName,
    pub(super) edit: Edit,
}

impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a change of the {}", self.name)
    }
}

/// What a batch is about to make of them.
pub(super) type Staged = HashMap<Key, (Version, Option<Principal>)>;

/// Those of the journal.
#[derive(Debug, Default)]
pub(super) struct Principals {
    kept: BTreeMap<(u8, Arc<str>), (Version, Principal)>,
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

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.salts.is_none()
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
        match value {
            Some(value) => self.kept.insert(slot, (record.version, value)),
            None => self.kept.remove(&slot),
        };
        true
    }

    /// One of them as it will be after what a batch holds so far.
    pub(super) fn current<'a>(&'a self, staged: &'a Staged, key: &Key) -> Option<&'a Principal> {
        match staged.get(key) {
            Some((_, staged)) => staged.as_ref(),
            None => self.kept.get(&(key.kind.0, key.name.clone())).map(|(_, kept)| kept),
        }
    }

    /// Whether there will be such a space after what a batch holds so far.
    pub(super) fn has_space(&self, staged: &Staged, space: &Arc<str>) -> bool {
        let key = || PrincipalName::space(space.clone()).key();
        **space == *DEFAULT_SPACE || self.current(staged, &key()).is_some()
    }

    /// Whether there is room for one more, after what a batch holds so far.
    pub(super) fn has_room(&self, staged: &Staged, kind: PrincipalKind) -> bool {
        self.of(kind).count() + staged.len() < kind.most()
    }

    /// The users, roles and connectors of a space as they will be after what a batch holds so far, with their last
    /// changes.
    pub(super) fn members(&self, staged: &Staged, space: &str) -> Vec<(Key, Version)> {
        let prefix = format!("{space}/");
        let kinds = [PrincipalKind::User, PrincipalKind::Role, PrincipalKind::Connector];
        let kept = kinds.into_iter().flat_map(|kind| {
            let named = self.from(kind, &prefix).take_while(|(name, ..)| name.starts_with(&prefix));
            named.map(move |(name, version, _)| (Key::new(kind.kind(), name.clone()), version))
        });
        let mut members: Vec<_> = kept.filter(|(key, _)| !staged.contains_key(key)).collect();
        let is_member =
            |key: &Key| [USER, ROLE, CONNECTOR].contains(&key.kind) && key.name.starts_with(&prefix);
        members.extend(
            staged
                .iter()
                .filter(|(key, (_, value))| is_member(key) && value.is_some())
                .map(|(key, (version, _))| (key.clone(), *version)),
        );
        members
    }

    /// The space that clients choose by a name, after what a batch holds so far.
    pub(super) fn space_named(&self, staged: &Staged, host: &str) -> Option<Arc<str>> {
        let kept = self.of(PrincipalKind::Space).map(|(name, _, value)| (name, value));
        let kept =
            kept.filter(|(name, _)| !staged.contains_key(&PrincipalName::space((*name).clone()).key()));
        let staged = staged.iter().filter(|(key, _)| key.kind == SPACE);
        let mut spaces =
            kept.chain(staged.filter_map(|(key, (_, value))| Some((&key.name, value.as_ref()?))));
        let is_named = |(name, value): &(&Arc<str>, &Principal)| {
            let Principal::Space(value) = value else { return false };
            name.eq_ignore_ascii_case(host)
                || value.spec.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
        };
        spaces.find(is_named).map(|(name, _)| name.clone())
    }

    fn of(&self, kind: PrincipalKind) -> impl Iterator<Item = (&Arc<str>, Version, &Principal)> {
        self.from(kind, "")
    }

    /// Those of a kind in the order of their names, beginning at one.
    fn from(
        &self,
        kind: PrincipalKind,
        first: &str,
    ) -> impl Iterator<Item = (&Arc<str>, Version, &Principal)> {
        let number = kind.kind().0;
        let found =
            self.kept.range((number, first.into())..).take_while(move |((kind, _), _)| *kind == number);
        found.map(|((_, name), (version, value))| (name, *version, value))
    }

    /// The table of what there is now.
    pub(super) fn table(&mut self) -> Arc<UserTable> {
        self.generation += 1;
        let mut contents = Contents::default();
        let mut ends: HashMap<&str, u64> = HashMap::new();
        for ((_, name), (_, kept)) in &self.kept {
            if let Principal::Space(value) = kept {
                ends.insert(name, value.ends);
            }
        }
        let is_over =
            |space: &str, version: Version| ends.get(space).is_some_and(|ends| version.clock <= *ends);
        for ((_, name), (version, kept)) in &self.kept {
            let (name, version) = (name.clone(), *version);
            let of_space = name.split_once('/').filter(|(space, _)| !is_over(space, version));
            let of_space = of_space.map(|(space, name)| (Arc::<str>::from(space), Arc::<str>::from(name)));
            match (kept.clone(), of_space) {
                (Principal::User(UserValue { spec, labels, verifiers }), Some((space, name))) => {
                    contents.users.push((space, User::of(name, labels, spec, verifiers, version)));
                }
                (Principal::Role(RoleValue { spec, labels }), Some((space, name))) => {
                    contents.roles.push((space, Role { name, labels, spec, version }));
                }
                (Principal::Space(SpaceValue { spec, labels, .. }), _) => {
                    contents.spaces.push(SpaceEntry { name, labels, spec, version });
                }
                (Principal::Profile(ProfileValue { spec, labels }), _) => {
                    contents.profiles.push(Profile { name, labels, spec, version });
                }
                (
                    Principal::Connector(ConnectorValue { spec, labels, password, key }),
                    Some((space, name)),
                ) => {
                    let connector = Connector { space, name, labels, spec, password, key, version };
                    contents.connectors.push(connector);
                }
                (Principal::User(_) | Principal::Role(_) | Principal::Connector(_), None) => {}
            }
        }
        Arc::new(UserTable::new(contents, self.generation).with_salts(self.salts))
    }
}
