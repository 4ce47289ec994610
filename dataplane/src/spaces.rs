//! Address spaces as they are in force: whose names are whose.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use mq_model::space::{DEFAULT_SPACE, SPACE_PREFIX, SpaceLimits};

/// The space that is there without anybody having made it.
static DEFAULT: LazyLock<Arc<Space>> = LazyLock::new(|| Arc::new(Space::new(DEFAULT_SPACE)));

/// A tenant: names, users and limits of his own.
#[derive(Debug)]
pub struct Space {
    name: Arc<str>,
    /// What its names begin with inside the fleet; empty for the default space.
    prefix: Box<str>,
    limits: SpaceLimits,
}

impl Space {
    /// A space without limits.
    pub fn new(name: &str) -> Self {
        let prefix = if name == DEFAULT_SPACE { String::new() } else { format!("{SPACE_PREFIX}{name}/") };
        Self { name: name.into(), prefix: prefix.into(), limits: SpaceLimits::default() }
    }

    /// The space of whoever names none.
    pub fn default_space() -> &'static Arc<Self> {
        &DEFAULT
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How much of everything it may take.
    pub fn limits(&self) -> &SpaceLimits {
        &self.limits
    }

    /// What names of the space begin with inside the fleet; empty for the default space.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What a client's name, pattern or topic filter is called inside the fleet.
    pub fn inside<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            Cow::Borrowed(name)
        } else {
            Cow::Owned(format!("{}{name}", self.prefix))
        }
    }

    /// What a name inside the fleet is called by clients of the space; `None`: it is none of its names.
    pub fn outside<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return (!name.starts_with(SPACE_PREFIX)).then_some(name);
        }
        name.strip_prefix(&*self.prefix)
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
}
