//! The table of users and roles: who may log in, and what he may do.
//!
//! A table is made whole from the configuration objects and never changed; another one takes its place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mq_auth::Verifiers;
use mq_mesh::replica::Version;
use mq_model::grant::{Grant, Right};
use mq_model::user::{ADMIN_ROLE, DEFAULT_SPACE, RoleSpec, UserSpec, VIEWER_ROLE};

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
}

impl User {
    /// A user without roles.
    pub fn new(name: &str, is_enabled: bool, grants: Vec<Grant>, verifiers: Option<Arc<Verifiers>>) -> Self {
        let spec = UserSpec { disabled: !is_enabled, grants, roles: Vec::new() };
        Self::of(name.into(), BTreeMap::new(), spec, verifiers, Version::default())
    }

    /// A user whose roles have not been looked up yet.
    pub(crate) fn of(
        name: Arc<str>,
        labels: BTreeMap<String, String>,
        spec: UserSpec,
        verifiers: Option<Arc<Verifiers>>,
        version: Version,
    ) -> Self {
        let grants = spec.grants.clone().into();
        Self { name, labels, spec, verifiers, version, grants }
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

    /// Whether he may do everything, users and roles included.
    pub fn is_admin(&self) -> bool {
        self.spec.roles.iter().any(|role| role == ADMIN_ROLE)
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

/// What a fleet makes the salts of that no user has: every node the same, so that nobody learns by comparing
/// them who exists. It prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltSecret(pub [u8; 32]);

impl fmt::Debug for SaltSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Every user and role of a moment.
#[derive(Clone, Debug, Default)]
pub struct UserTable {
    users: BTreeMap<Arc<str>, Arc<User>>,
    roles: BTreeMap<Arc<str>, Arc<Role>>,
    salts: Option<SaltSecret>,
    generation: u64,
}

impl UserTable {
    /// A table of users without roles.
    pub fn of(users: impl IntoIterator<Item = User>) -> Self {
        Self::new(users, [], 0)
    }

    /// A table of users with their roles looked up. `generation` is another one for each table of a node.
    pub(crate) fn new(
        users: impl IntoIterator<Item = User>,
        roles: impl IntoIterator<Item = Role>,
        generation: u64,
    ) -> Self {
        let roles: BTreeMap<_, _> =
            roles.into_iter().map(|role| (role.name.clone(), Arc::new(role))).collect();
        let users = users.into_iter().map(|user| {
            let grants = effective(&user.spec, &roles);
            (user.name.clone(), Arc::new(User { grants, ..user }))
        });
        let users = users.collect();
        Self { users, roles, salts: None, generation }
    }

    /// The table with the fleet's secret.
    pub(crate) fn with_salts(self, salts: Option<SaltSecret>) -> Self {
        Self { salts, ..self }
    }

    /// What the salts are made of that no user has; `None`: the fleet has had no user yet.
    pub fn salts(&self) -> Option<&SaltSecret> {
        self.salts.as_ref()
    }

    /// The user who goes by this name in a space.
    pub fn find(&self, space: &str, name: &str) -> Option<&Arc<User>> {
        if space == DEFAULT_SPACE { self.users.get(name) } else { None }
    }

    /// Somebody whose roles another one vouches for: the user of this name with those roles, too, or one who is
    /// known by them alone; `None`: the user is disabled.
    pub(crate) fn vouched(&self, space: &str, name: &str, roles: &[String]) -> Option<Arc<User>> {
        let found = self.find(space, name);
        if found.is_some_and(|user| !user.is_enabled()) {
            return None;
        }
        if let Some(user) = found.filter(|_| roles.is_empty()) {
            return Some(user.clone());
        }
        let mut user = match found {
            Some(user) => User::clone(user),
            None => User::new(name, true, Vec::new(), None),
        };
        user.spec.roles.extend_from_slice(roles);
        user.grants = effective(&user.spec, &self.roles);
        Some(Arc::new(user))
    }

    /// Another one for each table of a node.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The users in the order of their names.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// The roles that somebody has made, in the order of their names.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// A role that somebody has made.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// What a role gives; `None`: there is no such role.
    pub fn role_grants(&self, name: &str) -> Option<Vec<Grant>> {
        role_grants(&self.roles, name)
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
        let spec = UserSpec { disabled: false, grants, roles };
        User::of(name.into(), BTreeMap::new(), spec, None, Version::default())
    }

    fn role(name: &str, grants: &[&str]) -> Role {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let (labels, version) = (BTreeMap::new(), Version::default());
        Role { name: name.into(), labels, spec: RoleSpec { grants }, version }
    }

    fn grants(table: &UserTable, name: &str) -> Vec<String> {
        table.find(DEFAULT_SPACE, name).unwrap().grants().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_user_has_the_grants_of_his_roles_once_each() {
        let roles = [role("one", &["send:a", "recv:b"]), role("two", &["recv:b", "view:c"])];
        let users = [user("ann", &["send:a", "send:x"], &["one", "two"])];
        let table = UserTable::new(users, roles, 7);
        assert_eq!(grants(&table, "ann"), ["send:a", "send:x", "recv:b", "view:c"]);
        assert_eq!(table.generation(), 7);
    }

    #[test]
    fn built_in_roles_are_what_their_names_say_and_unknown_ones_give_nothing() {
        let users = [user("a", &[], &["admin"]), user("v", &[], &["viewer"]), user("u", &[], &["gone"])];
        // Whoever makes a role of that name all the same changes nothing.
        let table = UserTable::new(users, [role("viewer", &["manage:#"])], 0);
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
}
