//! The table of address spaces with their users, roles and connectors: who may log in, what he may do and take, and
//! where the fleet connects itself.
//!
//! A table is made whole from the configuration objects and never changed; another one takes its place.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use mq_auth::Verifiers;
use mq_core::Owner;
use mq_mesh::replica::Version;
use mq_model::Secret;
use mq_model::connector::ConnectorSpec;
use mq_model::grant::{Grant, Right};
use mq_model::space::{AddressSpaceSpec, ProfileSpec, SpaceLimits};
use mq_model::user::{ADMIN_ROLE, DEFAULT_SPACE, RoleSpec, UserSpec, VIEWER_ROLE};
use ring::digest;

use crate::spaces::Space;

/// What cores, logs and other nodes call a user: the same everywhere and for ever, whether a table has him or not. He
/// who goes by the same name in the same space is the same user. The hash is one for which nobody finds two names.
pub(crate) fn owner_of(space: &str, user: &str) -> Owner {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [space, user] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let bits = hash.finish().as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    Owner::from_bits(bits.max(1)).expect("it is 1 at least")
}

/// A user as he is in force.
#[derive(Clone, Debug)]
pub struct User {
    name: Arc<str>,
    labels: BTreeMap<String, String>,
    spec: UserSpec,
    verifiers: Option<Arc<Verifiers>>,
    version: Version,
    /// Those of the roles, too.
    grants: Arc<[Grant]>,
    /// Those of the space, too.
    limits: SpaceLimits,
}

impl User {
    /// A user without roles.
    pub fn new(name: &str, is_enabled: bool, grants: Vec<Grant>, verifiers: Option<Arc<Verifiers>>) -> Self {
        let spec = UserSpec { disabled: !is_enabled, grants, ..UserSpec::default() };
        Self::of(name.into(), BTreeMap::new(), spec, verifiers, Version::default())
    }

    /// A user whose roles and space have not been looked up yet.
    pub(crate) fn of(
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: UserSpec,
        verifiers: Option<Arc<Verifiers>>,
        version: Version,
    ) -> Self {
        let (grants, limits) = (spec.grants.clone().into(), spec.limits.clone());
        Self { name, labels, spec, verifiers, version, grants, limits }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether he may log in.
    pub fn is_enabled(&self) -> bool {
        !self.spec.disabled
    }

    /// What he may do, by his own grants and those of his roles.
    pub fn grants(&self) -> &Arc<[Grant]> {
        &self.grants
    }

    /// How much he may take: his own limits, and those of his space for each of its users.
    pub fn limits(&self) -> &SpaceLimits {
        &self.limits
    }

    /// Whether he may do everything in his space, users and roles included; of the default space, in the fleet.
    pub fn is_admin(&self) -> bool {
        self.spec.roles.iter().any(|role| role == ADMIN_ROLE)
    }

    /// Whether he may see everything in his space; of the default space, in the fleet.
    pub fn is_viewer(&self) -> bool {
        self.spec.roles.iter().any(|role| role == VIEWER_ROLE)
    }

    /// What his password is checked with; `None`: he has none, and no password is his.
    pub fn verifiers(&self) -> Option<&Arc<Verifiers>> {
        self.verifiers.as_ref()
    }

    /// The names of his roles, whether they exist or not.
    pub fn roles(&self) -> &[String] {
        &self.spec.roles
    }

    /// What was asked for him.
    pub fn spec(&self) -> &UserSpec {
        &self.spec
    }

    /// Notes of whoever made him.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The last change of him, without those of his roles.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A role that somebody has made.
#[derive(Clone, Debug)]
pub struct Role {
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub spec: RoleSpec,
    pub version: Version,
}

/// A connection that the fleet opens to another broker. It prints no secret.
#[derive(Clone, Debug)]
pub struct Connector {
    pub space: Arc<str>,
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub spec: ConnectorSpec,
    /// What it logs in with; empty: it has none.
    pub password: Secret,
    /// The private key of its certificate; empty: it has none.
    pub key: Secret,
    pub version: Version,
}

/// What a fleet makes the salts of that no user has: every node the same, so that nobody learns by comparing
/// them who exists. It prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltSecret(pub [u8; 32]);

impl fmt::Debug for SaltSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// An address space as somebody wants it.
#[derive(Clone, Debug)]
pub struct SpaceEntry {
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub spec: AddressSpaceSpec,
    pub version: Version,
}

/// Limits under a name, for any number of spaces.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub spec: ProfileSpec,
    pub version: Version,
}

/// What a table is made of. What is of a space that does not exist is left out.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) spaces: Vec<SpaceEntry>,
    pub(crate) profiles: Vec<Profile>,
    /// With the names of their spaces.
    pub(crate) users: Vec<(Arc<str>, User)>,
    /// With the names of their spaces.
    pub(crate) roles: Vec<(Arc<str>, Role)>,
    pub(crate) connectors: Vec<Connector>,
}

/// One space of a table.
#[derive(Clone, Debug)]
struct Members {
    space: Arc<Space>,
    /// `None`: nobody has asked for anything, and it is the default space.
    entry: Option<Arc<SpaceEntry>>,
    users: BTreeMap<Arc<str>, Arc<User>>,
    owners: HashMap<Owner, Arc<str>>,
    roles: BTreeMap<Arc<str>, Arc<Role>>,
    connectors: BTreeMap<Arc<str>, Arc<Connector>>,
}

impl Members {
    fn new(space: Arc<Space>, entry: Option<SpaceEntry>) -> Self {
        let entry = entry.map(Arc::new);
        let (users, owners) = (BTreeMap::new(), HashMap::new());
        Self { space, entry, users, owners, roles: BTreeMap::new(), connectors: BTreeMap::new() }
    }

    /// Looks up the roles of users.
    fn resolve(&mut self, users: impl IntoIterator<Item = User>) {
        for user in users {
            let grants = effective(&user.spec, &self.roles);
            let limits = user.spec.limits.or(self.space.user_limits());
            self.owners.insert(owner_of(self.space.name(), &user.name), user.name.clone());
            self.users.insert(user.name.clone(), Arc::new(User { grants, limits, ..user }));
        }
    }
}

/// What somebody else gives to a user whom he vouches for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) roles: Vec<String>,
    pub(crate) grants: Vec<Grant>,
}

impl Given {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.grants.is_empty()
    }
}

/// Every space, user and role of a moment.
#[derive(Clone, Debug)]
pub struct UserTable {
    /// The default space among them, always.
    spaces: BTreeMap<Arc<str>, Members>,
    /// The names of spaces by those of hosts in lower case, without the spaces' own names.
    hosts: BTreeMap<Box<str>, Arc<str>>,
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
    salts: Option<SaltSecret>,
    generation: u64,
}

impl Default for UserTable {
    fn default() -> Self {
        Self::new(Contents::default(), 0)
    }
}

impl UserTable {
    /// A table of users of the default space without roles.
    pub fn of(users: impl IntoIterator<Item = User>) -> Self {
        let mut table = Self::default();
        if let Some(members) = table.spaces.get_mut(DEFAULT_SPACE) {
            members.resolve(users);
        }
        table
    }

    /// The same with one more space and its users, without roles, which takes the place of one of that name.
    #[must_use]
    pub fn with_space(mut self, space: Space, users: impl IntoIterator<Item = User>) -> Self {
        let mut members = Members::new(Arc::new(space), None);
        members.resolve(users);
        self.spaces.insert(members.space.name().clone(), members);
        self
    }

    /// The table with the fleet's secret.
    pub(crate) fn with_salts(self, salts: Option<SaltSecret>) -> Self {
        Self { salts, ..self }
    }

    /// What the salts are made of that no user has; `None`: the fleet has had no user yet.
    pub fn salts(&self) -> Option<&SaltSecret> {
        self.salts.as_ref()
    }

    /// A table with everything looked up. `generation` is another one for each table of a node.
    pub(crate) fn new(contents: Contents, generation: u64) -> Self {
        let Contents { spaces: entries, profiles, users, roles, connectors } = contents;
        let profiles: BTreeMap<_, _> =
            profiles.into_iter().map(|profile| (profile.name.clone(), Arc::new(profile))).collect();
        let default = Space::default_space();
        let mut spaces = BTreeMap::from([(default.name().clone(), Members::new(default.clone(), None))]);
        let mut hosts = BTreeMap::new();
        for entry in entries {
            let profile = entry.spec.profile.as_deref().and_then(|name| profiles.get(name));
            let space = Space::of(&entry.name, &entry.spec, profile.map(|profile| &profile.spec));
            for host in &entry.spec.hosts {
                // Two nodes may have given one away at the same time; every node goes by the same one.
                hosts.entry(host.to_ascii_lowercase().into()).or_insert_with(|| entry.name.clone());
            }
            spaces.insert(entry.name.clone(), Members::new(Arc::new(space), Some(entry)));
        }
        for (space, role) in roles {
            if let Some(members) = spaces.get_mut(&space) {
                members.roles.insert(role.name.clone(), Arc::new(role));
            }
        }
        for (space, user) in users {
            if let Some(members) = spaces.get_mut(&space) {
                members.resolve([user]);
            }
        }
        for connector in connectors {
            if let Some(members) = spaces.get_mut(&connector.space) {
                members.connectors.insert(connector.name.clone(), Arc::new(connector));
            }
        }
        Self { spaces, hosts, profiles, salts: None, generation }
    }

    /// A space as it is in force, whether anybody is let in or not.
    pub fn space(&self, name: &str) -> Option<&Arc<Space>> {
        self.spaces.get(name).map(|members| &members.space)
    }

    /// The space that clients choose by the name of a host: its own, or one of those that were given to it.
    pub fn space_at(&self, host: &str) -> Option<&Arc<Space>> {
        let host = host.to_ascii_lowercase();
        self.space(&host).or_else(|| self.space(self.hosts.get(&*host)?))
    }

    /// The spaces in the order of their names, each with what was asked for it; `None`: nothing, and it is the
    /// default space.
    pub fn spaces(&self) -> impl Iterator<Item = (&Arc<Space>, Option<&Arc<SpaceEntry>>)> {
        self.spaces.values().map(|members| (&members.space, members.entry.as_ref()))
    }

    /// What was asked for a space; `None`: nothing.
    pub fn space_entry(&self, name: &str) -> Option<&Arc<SpaceEntry>> {
        self.spaces.get(name)?.entry.as_ref()
    }

    /// The profiles in the order of their names.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    /// A profile.
    pub fn profile(&self, name: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(name)
    }

    /// The user who goes by this name in a space, whether he and the space let him in or not.
    pub fn find(&self, space: &str, name: &str) -> Option<&Arc<User>> {
        self.spaces.get(space)?.users.get(name)
    }

    /// The user whom cores call by this number, likewise.
    pub(crate) fn find_owner(&self, space: &str, owner: Owner) -> Option<&Arc<User>> {
        let members = self.spaces.get(space)?;
        members.users.get(members.owners.get(&owner)?)
    }

    /// Somebody for whom another one vouches: the user of this name with what that one gives him, too, or one who is
    /// known by that alone; `None`: the user is disabled, or there is no such space.
    pub(crate) fn vouched(&self, space: &str, name: &str, given: &Given) -> Option<Arc<User>> {
        let members = self.spaces.get(space)?;
        let found = members.users.get(name);
        if found.is_some_and(|user| !user.is_enabled()) {
            return None;
        }
        if let Some(user) = found.filter(|_| given.is_empty()) {
            return Some(user.clone());
        }
        let mut user = match found {
            Some(user) => User::clone(user),
            None => User {
                limits: members.space.user_limits().clone(),
                ..User::new(name, true, Vec::new(), None)
            },
        };
        user.spec.roles.extend_from_slice(&given.roles);
        user.spec.grants.extend_from_slice(&given.grants);
        user.grants = effective(&user.spec, &members.roles);
        Some(Arc::new(user))
    }

    /// Another one for each table of a node.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The users of a space in the order of their names.
    pub fn users(&self, space: &str) -> impl Iterator<Item = &Arc<User>> {
        self.spaces.get(space).into_iter().flat_map(|members| members.users.values())
    }

    /// The roles that somebody has made in a space, in the order of their names.
    pub fn roles(&self, space: &str) -> impl Iterator<Item = &Arc<Role>> {
        self.spaces.get(space).into_iter().flat_map(|members| members.roles.values())
    }

    /// A role that somebody has made in a space.
    pub fn role(&self, space: &str, name: &str) -> Option<&Arc<Role>> {
        self.spaces.get(space)?.roles.get(name)
    }

    /// The connectors of a space in the order of their names.
    pub fn connectors(&self, space: &str) -> impl Iterator<Item = &Arc<Connector>> {
        self.spaces.get(space).into_iter().flat_map(|members| members.connectors.values())
    }

    /// The connectors of every space.
    pub fn all_connectors(&self) -> impl Iterator<Item = (&Arc<Space>, &Arc<Connector>)> {
        self.spaces
            .values()
            .flat_map(|members| members.connectors.values().map(|connector| (&members.space, connector)))
    }

    /// A connector of a space.
    pub fn connector(&self, space: &str, name: &str) -> Option<&Arc<Connector>> {
        self.spaces.get(space)?.connectors.get(name)
    }

    /// What a role of a space gives; `None`: there is no such role.
    pub fn role_grants(&self, space: &str, name: &str) -> Option<Vec<Grant>> {
        role_grants(&self.spaces.get(space)?.roles, name)
    }
}

fn effective(spec: &UserSpec, roles: &BTreeMap<Arc<str>, Arc<Role>>) -> Arc<[Grant]> {
    let of_roles = spec.roles.iter().filter_map(|role| role_grants(roles, role)).flatten();
    let mut grants: Vec<Grant> = Vec::new();
    for grant in spec.grants.iter().cloned().chain(of_roles) {
        if !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    grants.into()
}

fn role_grants(roles: &BTreeMap<Arc<str>, Arc<Role>>, name: &str) -> Option<Vec<Grant>> {
    match name {
        ADMIN_ROLE => Some(Right::ALL.map(Grant::everywhere).into()),
        VIEWER_ROLE => Some(vec![Grant::everywhere(Right::View)]),
        name => roles.get(name).map(|role| role.spec.grants.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, grants: &[&str], roles: &[&str]) -> User {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let spec = UserSpec { grants, roles, ..UserSpec::default() };
        User::of(name.into(), BTreeMap::new(), spec, None, Version::default())
    }

    fn role(name: &str, grants: &[&str]) -> Role {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let (labels, version) = (BTreeMap::new(), Version::default());
        Role { name: name.into(), labels, spec: RoleSpec { grants }, version }
    }

    fn table(users: impl IntoIterator<Item = User>, roles: impl IntoIterator<Item = Role>) -> UserTable {
        let users = users.into_iter().map(|user| (DEFAULT_SPACE.into(), user)).collect();
        let roles = roles.into_iter().map(|role| (DEFAULT_SPACE.into(), role)).collect();
        UserTable::new(Contents { users, roles, ..Contents::default() }, 7)
    }

    fn space(name: &str, spec: AddressSpaceSpec) -> SpaceEntry {
        let (labels, version) = (BTreeMap::new(), Version::default());
        SpaceEntry { name: name.into(), labels, spec, version }
    }

    fn grants(table: &UserTable, name: &str) -> Vec<String> {
        table.find(DEFAULT_SPACE, name).unwrap().grants().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_user_has_the_grants_of_his_roles_once_each() {
        let roles = [role("one", &["send:a", "recv:b"]), role("two", &["recv:b", "view:c"])];
        let users = [user("ann", &["send:a", "send:x"], &["one", "two"])];
        let table = table(users, roles);
        assert_eq!(grants(&table, "ann"), ["send:a", "send:x", "recv:b", "view:c"]);
        assert_eq!(table.generation(), 7);
    }

    #[test]
    fn built_in_roles_are_what_their_names_say_and_unknown_ones_give_nothing() {
        let users = [user("a", &[], &["admin"]), user("v", &[], &["viewer"]), user("u", &[], &["gone"])];
        // Whoever makes a role of that name all the same changes nothing.
        let table = table(users, [role("viewer", &["manage:#"])]);
        assert_eq!(grants(&table, "a"), ["send:#", "recv:#", "browse:#", "view:#", "manage:#"]);
        assert_eq!(grants(&table, "v"), ["view:#"]);
        assert!(grants(&table, "u").is_empty());
        assert!(table.find(DEFAULT_SPACE, "a").unwrap().is_admin());
        assert!(!table.find(DEFAULT_SPACE, "v").unwrap().is_admin());
    }

    #[test]
    fn no_user_is_found_in_another_space() {
        let table = UserTable::of([user("ann", &["send:#"], &[])]);
        assert!(table.find(DEFAULT_SPACE, "ann").is_some());
        assert!(table.find("acme", "ann").is_none() && table.find("", "ann").is_none());
    }

    #[test]
    fn each_space_has_users_and_roles_of_its_own() {
        let (acme, other): (Arc<str>, Arc<str>) = ("acme".into(), "other".into());
        let table = UserTable::new(
            Contents {
                spaces: vec![space("acme", Default::default()), space("other", Default::default())],
                users: vec![
                    (acme.clone(), user("ann", &["send:a"], &["one"])),
                    (other, user("ann", &["send:b"], &["one"])),
                    ("gone".into(), user("ann", &["send:c"], &[])),
                ],
                roles: vec![(acme, role("one", &["recv:a"]))],
                ..Contents::default()
            },
            1,
        );
        let grants = |space| {
            table
                .find(space, "ann")
                .map(|user| user.grants().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(grants("acme").unwrap(), ["send:a", "recv:a"]);
        assert_eq!(grants("other").unwrap(), ["send:b"], "the role is one of another space");
        assert_eq!(grants(DEFAULT_SPACE), None);
        assert_eq!(grants("gone"), None, "nobody is of a space that is not there");
        assert!(
            table
                .vouched("gone", "ann", &Given { roles: vec!["admin".into()], grants: Vec::new() })
                .is_none()
        );
        assert_eq!(table.users("acme").count() + table.users("gone").count(), 1);
        assert!(table.role_grants("other", "one").is_none());
    }

    #[test]
    fn a_space_is_found_by_its_name_and_its_hosts_and_by_nothing_else() {
        let hosts = |hosts: &[&str]| AddressSpaceSpec {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..AddressSpaceSpec::default()
        };
        let spaces =
            vec![space("acme", hosts(&["Acme.Example.com", "b"])), space("b", hosts(&["acme.example.com"]))];
        let table = UserTable::new(Contents { spaces, ..Contents::default() }, 1);
        let at = |host| table.space_at(host).map(|space| space.name().to_string());
        assert_eq!(at("acme").as_deref(), Some("acme"));
        assert_eq!(
            at("acme.EXAMPLE.com").as_deref(),
            Some("acme"),
            "one of two that were given it at a time"
        );
        assert_eq!(at("b").as_deref(), Some("b"), "a space's own name is its own");
        assert_eq!(at("default").as_deref(), Some("default"));
        for nothing in ["", "acme.", "x.acme.example.com", "acme.example.com:5671", "$s/acme"] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_user_may_take_what_his_space_says_unless_he_has_limits_of_his_own() {
        let limits =
            |links, sessions| SpaceLimits { max_links: links, max_sessions: sessions, ..Default::default() };
        let spec = AddressSpaceSpec { user_limits: limits(Some(1), Some(2)), ..AddressSpaceSpec::default() };
        let mut own = user("own", &[], &[]);
        own.spec.limits = limits(Some(9), None);
        let acme: Arc<str> = "acme".into();
        let users = vec![(acme.clone(), own), (acme, user("ann", &[], &[]))];
        let table =
            UserTable::new(Contents { spaces: vec![space("acme", spec)], users, ..Contents::default() }, 1);
        let of = |name| table.find("acme", name).unwrap().limits().clone();
        assert_eq!(of("own"), limits(Some(9), Some(2)));
        assert_eq!(of("ann"), limits(Some(1), Some(2)));
        assert_eq!(
            table.vouched("acme", "bob", &Given::default()).unwrap().limits(),
            &limits(Some(1), Some(2))
        );
    }
}
