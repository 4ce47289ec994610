//! Names of spaces: where what a client says begins in a name, and what is apart.
//!
//! Tenants share a fleet, and none sees the others' names. Inside the fleet a name of a space has the prefix
//! `$s/SPACE/`, so that whatever goes by whole names keeps spaces apart by itself. What goes by parts of
//! names (wildcards, topics that lie in others, the topic of all) begins behind the prefix, where it goes by
//! the rules that hold for names without one. A wildcard never stands for a part of a prefix.

use std::borrow::Cow;

/// What the names of spaces begin with; the rest of the prefix is the name of the space, and a `/`.
pub const SPACE_PREFIX: &str = "$s/";

/// Levels of a prefix.
pub(crate) const SPACE_LEVELS: usize = 2;

/// The topic for what nothing else serves, in each space.
const CATCH_ALL: &str = "#";

/// A name, or a filter, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spaced<'a> {
    /// `$s/SPACE/`; empty for what is of no space.
    pub(crate) prefix: &'a str,
    /// What is behind it. `None`: it is a prefix that ends early, and no name of a client's.
    pub(crate) local: Option<&'a str>,
}

/// Takes a name, or a filter, apart.
#[inline]
pub(crate) fn split(name: &str) -> Spaced<'_> {
    if !name.starts_with("$s") {
        return Spaced { prefix: "", local: Some(name) };
    }
    split_prefixed(name)
}

fn split_prefixed(name: &str) -> Spaced<'_> {
    let Some(below) = name.strip_prefix(SPACE_PREFIX) else {
        // `$s` is a prefix that ends early; `$sys` is a name as any other.
        return match name {
            "$s" => Spaced { prefix: name, local: None },
            _ => Spaced { prefix: "", local: Some(name) },
        };
    };
    let end = below.find('/').map(|end| SPACE_PREFIX.len() + end + 1);
    match end.and_then(|end| name.split_at_checked(end)) {
        Some((prefix, local)) => Spaced { prefix, local: Some(local) },
        None => Spaced { prefix: name, local: None },
    }
}

/// Whether the name is its server's own: no wildcard at the first level stands for it, and the topic of all does
/// not serve it (MQTT 5.0, 4.7.2).
pub(crate) fn is_reserved(name: &str) -> bool {
    split(name).local.is_none_or(|local| local.starts_with('$'))
}

/// The topic for what nothing else serves in the space of a name.
pub(crate) fn catch_all_of(name: &str) -> Cow<'static, str> {
    match split(name).prefix {
        "" => Cow::Borrowed(CATCH_ALL),
        prefix => Cow::Owned(format!("{prefix}{CATCH_ALL}")),
    }
}

/// Whether this is the topic for what nothing else serves, of any space.
pub(crate) fn is_catch_all(name: &str) -> bool {
    split(name).local == Some(CATCH_ALL)
}

/// The names that a name lies in, the longest first: those that end before one of its `/`, and none that is
/// only a part of a prefix.
pub(crate) fn above(name: &str) -> impl Iterator<Item = &str> {
    let Spaced { prefix, local } = split(name);
    let locals = std::iter::successors(local.and_then(shorter), |local| shorter(local));
    locals.filter_map(move |local| name.get(..prefix.len() + local.len()))
}

fn shorter(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(shorter, _)| shorter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_behind_the_prefix_of_its_space() {
        for (name, prefix, local) in [
            ("a/b", "", Some("a/b")),
            ("", "", Some("")),
            ("$x", "", Some("$x")),
            ("$sys/a", "", Some("$sys/a")),
            ("$share/g/a", "", Some("$share/g/a")),
            ("$s", "$s", None),
            ("$s/", "$s/", None),
            ("$s/acme", "$s/acme", None),
            ("$s/acme/", "$s/acme/", Some("")),
            ("$s/acme/a/b", "$s/acme/", Some("a/b")),
            ("$s/acme/$s/b", "$s/acme/", Some("$s/b")),
            ("$s/acme/#", "$s/acme/", Some("#")),
            ("$s/#", "$s/#", None),
            ("$s/+/a", "$s/+/", Some("a")),
        ] {
            assert_eq!(split(name), Spaced { prefix, local }, "{name}");
        }
    }

    #[test]
    fn the_topic_of_all_is_each_space_s_own() {
        assert_eq!(catch_all_of("a/b"), "#");
        assert_eq!(catch_all_of("$s/acme/a/b"), "$s/acme/#");
        assert!(is_catch_all("#") && is_catch_all("$s/acme/#"));
        assert!(!is_catch_all("a/#") && !is_catch_all("$s/#") && !is_catch_all("$s/acme/a/#"));
    }

    #[test]
    fn a_name_lies_in_names_of_its_space_alone() {
        let all = |name: &'static str| above(name).collect::<Vec<_>>();
        assert_eq!(all("a/b/c"), ["a/b", "a"]);
        assert_eq!(all("a"), Vec::<&str>::new());
        assert_eq!(all("/a"), [""]);
        assert_eq!(all("$s/acme/a/b"), ["$s/acme/a"]);
        assert_eq!(all("$s/acme/a"), Vec::<&str>::new());
        assert_eq!(all("$s/acme"), Vec::<&str>::new());
    }
}
