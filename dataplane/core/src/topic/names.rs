//! Values by topic name, walked by filter.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::space::{self, Spaced};

/// Values by topic name, found by filter in the order of the names.
///
/// Where a name does not match, the walk goes on at the next one that could: what lies below a level that
/// the filter does not want is passed in one step, however much it is. So a filter costs what its literal
/// levels leave, and `+` the levels that there are.
#[derive(Debug)]
pub(crate) struct Names<T> {
    by_name: BTreeMap<Arc<str>, T>,
}

/// What a name says about the names behind it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Match,
    /// Look at the next one.
    Next,
    /// None before this matches.
    Seek(String),
    /// None matches any more.
    End,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new() }
    }
}

impl<T> Names<T> {
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.by_name.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, value: T) -> Option<T> {
        self.by_name.insert(name, value)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<T> {
        self.by_name.remove(name)
    }

    /// All names, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.by_name.values()
    }

    /// The first name behind `after` that a valid filter matches. Each name that is looked at is one step;
    /// when `steps` are used up the walk stops.
    pub(crate) fn next(&self, filter: &str, after: Option<&str>, steps: &mut u32) -> Walk<'_, T> {
        let Some(wildcard) = filter.find(['+', '#']) else {
            let found = self.by_name.get_key_value(filter);
            let found = found.filter(|_| after.is_none_or(|after| after < filter));
            return found.map_or(Walk::End, |(name, value)| Walk::Found(name, value));
        };
        if space::split(filter).prefix.len() > wildcard {
            // No wildcard stands for a part of a prefix.
            return Walk::End;
        }
        let literal = filter.get(..wildcard).unwrap_or_default();
        // `a/#` matches `a`, too.
        let literal = literal.strip_suffix('/').filter(|_| filter.ends_with('#')).unwrap_or(literal);
        let mut seek;
        let mut from = match after {
            Some(after) if after >= literal => Bound::Excluded(after),
            _ => Bound::Included(literal),
        };
        loop {
            let mut range = self.by_name.range::<str, _>((from, Bound::Unbounded));
            let Some((name, value)) = range.next() else { return Walk::End };
            match step(filter, name) {
                Step::Match => return Walk::Found(name, value),
                Step::End => return Walk::End,
                _ if *steps == 0 => return Walk::Stopped(name),
                Step::Next => from = Bound::Excluded(name),
                Step::Seek(to) => {
                    seek = to;
                    from = Bound::Included(&seek);
                }
            }
            *steps -= 1;
        }
    }
}

/// Where a walk stands.
#[derive(Debug)]
pub(crate) enum Walk<'a, T> {
    Found(&'a Arc<str>, &'a T),
    /// It goes on behind this name.
    Stopped(&'a Arc<str>),
    End,
}

/// Compares a name with a filter level by level. Names are in the order of their bytes, so `a-b` stands
/// between `a` and `a/b`.
fn step(filter: &str, name: &str) -> Step {
    let Spaced { prefix, local } = space::split(filter);
    if local.is_some_and(|local| local.starts_with(['+', '#'])) {
        match name.strip_prefix(prefix) {
            // `%` is what follows `$`.
            Some(local) if local.starts_with('$') => return Step::Seek(format!("{prefix}%")),
            // The prefix without its end, which is no name of the space.
            None if prefix.strip_suffix('/') == Some(name) => return Step::Next,
            _ => {}
        }
    }
    let mut wanted = filter.split('/').peekable();
    // Where the level begins that is looked at, and where the last one ended that a `+` matched.
    let mut start = 0;
    let mut last_plus = None;
    loop {
        let Some(level) = wanted.next() else {
            // The name goes on below one that matches.
            return beyond(name, Some(start - 1));
        };
        if level == "#" {
            return Step::Match;
        }
        let rest = name.get(start..).unwrap_or_default();
        let end = start + rest.find('/').unwrap_or(rest.len());
        let is_last = wanted.peek().is_none();
        if level == "+" {
            last_plus = Some(end);
        } else if name.get(start..end) != Some(level) {
            let target = format!("{}{level}", name.get(..start).unwrap_or_default());
            if target.as_str() > name {
                return Step::Seek(target);
            }
            let below = format!("{target}/");
            if !is_last && below.as_str() > name {
                return Step::Seek(below);
            }
            return beyond(name, last_plus);
        }
        if end == name.len() {
            return match wanted.peek() {
                None | Some(&"#") => Step::Match,
                Some(_) => Step::Next,
            };
        }
        start = end + 1;
    }
}

/// Passes everything below the level that ends there.
fn beyond(name: &str, end: Option<usize>) -> Step {
    match end.and_then(|end| name.get(..end)) {
        // `0` is what follows `/`.
        Some(prefix) => Step::Seek(format!("{prefix}0")),
        None => Step::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{matches, validate_filter};

    fn names(all: &[&str]) -> Names<()> {
        let mut names = Names::default();
        for name in all {
            names.insert((*name).into(), ());
        }
        names
    }

    fn walk(names: &Names<()>, filter: &str) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            // One step at a time, so that every place to stop at is one to go on from.
            match names.next(filter, after.as_deref(), &mut 0) {
                Walk::Found(name, ()) => {
                    found.push(name.to_string());
                    after = Some(name.to_string());
                }
                Walk::Stopped(name) => after = Some(name.to_string()),
                Walk::End => return found,
            }
        }
    }

    #[test]
    fn a_walk_finds_what_matches_in_the_order_of_the_names() {
        let all = ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a/c", "b/c", "$s/c", "/x", "a//c"];
        let names = names(&all);
        for filter in ["#", "a", "a/#", "+", "+/c", "a/+", "a/+/c", "/+", "+/+/+", "$s/#", "a-b/#", "a/b/#"] {
            let mut expected: Vec<&str> = all.iter().copied().filter(|name| matches(filter, name)).collect();
            expected.sort_unstable();
            assert_eq!(walk(&names, filter), expected, "{filter}");
        }
    }

    #[test]
    fn random_walks_find_what_matches_one_by_one() {
        let mut random = fastrand::Rng::with_seed(7);
        let levels = ["", "a", "a-", "a.", "a0", "b", "$", "$a", "é"];
        let level = |random: &mut fastrand::Rng, wildcard: bool| match random.u8(..6) {
            0 | 1 if wildcard => "+",
            _ => levels[random.usize(..levels.len())],
        };
        for _ in 0..2_000 {
            let mut names = Names::default();
            for _ in 0..random.usize(..60) {
                let parts: Vec<&str> = (0..random.usize(1..5)).map(|_| level(&mut random, false)).collect();
                names.insert(parts.join("/").into(), ());
            }
            let mut parts: Vec<&str> = (0..random.usize(1..5)).map(|_| level(&mut random, true)).collect();
            if random.bool() {
                parts.push("#");
            }
            let filter = parts.join("/");
            if validate_filter(&filter).is_err() {
                continue;
            }
            let expected: Vec<String> = names
                .by_name
                .keys()
                .filter(|name| matches(&filter, name))
                .map(|name| name.to_string())
                .collect();
            assert_eq!(walk(&names, &filter), expected, "{filter} of {:?}", names.by_name);
        }
    }

    #[test]
    fn random_walks_through_spaces_find_what_matches_one_by_one() {
        let mut random = fastrand::Rng::with_seed(9);
        let prefixes = ["", "$s/a/", "$s/a-/", "$s/b/", "$s/", "$s//"];
        let levels = ["", "a", "a-", "b", "$s", "$a"];
        for _ in 0..2_000 {
            let mut names = Names::default();
            for _ in 0..random.usize(..60) {
                let parts: Vec<&str> = (0..random.usize(..4)).map(|_| levels[random.usize(..6)]).collect();
                let name = format!("{}{}", prefixes[random.usize(..6)], parts.join("/"));
                names.insert(name.into(), ());
            }
            let mut parts: Vec<&str> = (0..random.usize(..4))
                .map(|_| if random.bool() { "+" } else { levels[random.usize(..6)] })
                .collect();
            if random.bool() {
                parts.push("#");
            }
            let filter = format!("{}{}", prefixes[random.usize(..6)], parts.join("/"));
            if validate_filter(&filter).is_err() {
                continue;
            }
            let all = names.by_name.keys().filter(|name| matches(&filter, name));
            let expected: Vec<String> = all.map(|name| name.to_string()).collect();
            assert_eq!(walk(&names, &filter), expected, "{filter} of {:?}", names.by_name);
        }
    }

    #[test]
    fn what_lies_below_an_unwanted_level_is_passed_in_one_step() {
        let mut names = Names::default();
        for first in 0..10 {
            for second in 0..1_000 {
                names.insert(format!("d{first}/noise/{second:03}").into(), ());
            }
            names.insert(format!("d{first}/temperature").into(), ());
        }
        let (mut found, mut steps) = (0, 0);
        let mut from = Bound::Included(String::new());
        loop {
            let range = (from.as_ref().map(String::as_str), Bound::Unbounded);
            let Some((name, ())) = names.by_name.range::<str, _>(range).next() else { break };
            steps += 1;
            let step = step("+/temperature", name);
            found += usize::from(step == Step::Match);
            from = match step {
                Step::Match | Step::Next => Bound::Excluded(name.to_string()),
                Step::Seek(to) => Bound::Included(to),
                Step::End => break,
            };
        }
        assert_eq!(found, 10);
        assert!(steps <= 40, "{steps} of {}", names.len());
    }
}
