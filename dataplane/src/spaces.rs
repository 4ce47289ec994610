//! Address spaces as they are in force: whose names are whose.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use mq_model::space::{
    AddressSpaceSpec, DEFAULT_SPACE, ProfileSpec, SPACE_PREFIX, SpaceLimits, qualified, split_qualified, told,
};

/// The space that is there without anybody having made it, as it is without limits.
static DEFAULT: LazyLock<Arc<Space>> = LazyLock::new(|| Arc::new(Space::new(DEFAULT_SPACE)));

/// A tenant: names, users and limits of his own.
#[derive(Debug)]
pub struct Space {
    name: Arc<str>,
    /// What its names begin with inside the fleet; empty for the default space.
    prefix: Box<str>,
    is_enabled: bool,
    limits: SpaceLimits,
    user_limits: SpaceLimits,
}

impl Space {
    /// A space without limits.
    pub fn new(name: &str) -> Self {
        let prefix = if name == DEFAULT_SPACE { String::new() } else { format!("{SPACE_PREFIX}{name}/") };
        let (limits, user_limits) = (SpaceLimits::default(), SpaceLimits::default());
        Self { name: name.into(), prefix: prefix.into(), is_enabled: true, limits, user_limits }
    }

    /// A space as its document and its profile, where it has one, want it.
    pub fn of(name: &str, spec: &AddressSpaceSpec, profile: Option<&ProfileSpec>) -> Self {
        let (limits, user_limits) = match profile {
            Some(profile) => (spec.limits.or(&profile.limits), spec.user_limits.or(&profile.user_limits)),
            None => (spec.limits.clone(), spec.user_limits.clone()),
        };
        // The fleet's own administrators are in the default space, and cannot shut themselves out.
        let is_enabled = !spec.disabled || name == DEFAULT_SPACE;
        Self { is_enabled, limits, user_limits, ..Self::new(name) }
    }

    /// The space of whoever names none, as it is without limits; [`UserTable`](crate::users::UserTable) has it as
    /// it is in force.
    pub fn default_space() -> &'static Arc<Self> {
        &DEFAULT
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is the space that is there without anybody having made it, whose administrators are those of the
    /// fleet.
    pub fn is_default(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Whether anybody is let in.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// How much of everything it may take, in the fleet as a whole.
    pub fn limits(&self) -> &SpaceLimits {
        &self.limits
    }

    /// How much of everything each of its users may take who has no limits of his own.
    pub fn user_limits(&self) -> &SpaceLimits {
        &self.user_limits
    }

    /// What names of the space begin with inside the fleet; empty for the default space.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What a client's name, pattern or topic filter is called inside the fleet. No two spaces have a name in
    /// common there, whatever their clients call things.
    pub fn inside<'a>(&self, name: &'a str) -> Cow<'a, str> {
        qualified(&self.name, name)
    }

    /// What a name inside the fleet is called by clients of the space; `None`: it is none of its names.
    pub fn outside<'a>(&self, name: &'a str) -> Option<&'a str> {
        if !self.prefix.is_empty() {
            return name.strip_prefix(&*self.prefix);
        }
        let (space, name) = split_qualified(name);
        (space == DEFAULT_SPACE).then_some(name)
    }

    /// A sentence about names inside the fleet, in the words of the space's clients.
    pub fn told<'a>(&self, text: &'a str) -> Cow<'a, str> {
        told(&self.name, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_knows_its_own_names_alone() {
        let (acme, other) = (Space::new("acme"), Space::new("acme2"));
        assert_eq!(acme.inside("a/b"), "$s/acme/a/b");
        assert_eq!(acme.outside("$s/acme/a/b"), Some("a/b"));
        assert_eq!(other.outside("$s/acme/a/b"), None);
        assert_eq!(Space::default_space().outside("$s/acme/a/b"), None);
        assert_eq!(Space::default_space().outside("a/b"), Some("a/b"));
    }

    #[test]
    fn what_a_client_calls_like_a_name_inside_stays_in_its_own_space() {
        let (acme, default) = (Space::new("acme"), Space::default_space());
        assert_eq!(default.inside("$s/acme/a"), "$s//$s/acme/a");
        assert_eq!(default.outside("$s//$s/acme/a"), Some("$s/acme/a"));
        assert_eq!(acme.outside("$s//$s/acme/a"), None);
        assert_eq!(acme.inside("$s/acme/a"), "$s/acme/$s/acme/a");
        assert_eq!(acme.outside("$s/acme/$s/acme/a"), Some("$s/acme/a"));
    }

    #[test]
    fn clients_are_told_their_own_names() {
        let (acme, default) = (Space::new("acme"), Space::default_space());
        assert_eq!(acme.told("no address $s/acme/a; create it first"), "no address a; create it first");
        assert_eq!(default.told("no address $s//$s/acme/a"), "no address $s/acme/a");
        assert!(matches!(default.told("no address a/b"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_space_has_the_limits_of_its_profile_where_it_says_none() {
        let limits =
            |links, sessions| SpaceLimits { max_links: links, max_sessions: sessions, ..Default::default() };
        let spec = AddressSpaceSpec { limits: limits(Some(1), None), ..AddressSpaceSpec::default() };
        let profile = ProfileSpec { limits: limits(Some(2), Some(3)), user_limits: limits(Some(4), None) };
        let space = Space::of("acme", &spec, Some(&profile));
        assert_eq!(space.limits(), &limits(Some(1), Some(3)));
        assert_eq!(space.user_limits(), &limits(Some(4), None));
    }

    #[test]
    fn the_default_space_lets_in_whatever_its_document_says() {
        let spec = AddressSpaceSpec { disabled: true, ..AddressSpaceSpec::default() };
        assert!(Space::of(DEFAULT_SPACE, &spec, None).is_enabled());
        assert!(!Space::of("acme", &spec, None).is_enabled());
    }
}
