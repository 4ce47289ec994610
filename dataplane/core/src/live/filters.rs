//! Values by filter, many of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::topic::{Few, TopicError, TopicTree, validate_filter};

/// Values by topic filter, found by name.
///
/// Most filters of live subscriptions have no wildcard. Those are kept by name, which takes less than half
/// of the memory of nodes for each level; the others in a tree. Ordered, not hashed: filters are chosen by
/// clients.
#[derive(Debug)]
pub(crate) struct Filters<T> {
    exact: BTreeMap<Box<str>, Few<T>>,
    wild: TopicTree<T>,
}

impl<T> Default for Filters<T> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), wild: TopicTree::default() }
    }
}

impl<T: Ord> Filters<T> {
    /// Adds a value for a filter. False when the filter has this value already.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub(crate) fn insert(&mut self, filter: &str, value: T) -> Result<bool, TopicError> {
        if has_wildcard(filter) {
            return self.wild.insert(filter, value);
        }
        if let Some(values) = self.exact.get_mut(filter) {
            return Ok(values.insert(value));
        }
        validate_filter(filter)?;
        self.exact.insert(filter.into(), Few::One(value));
        Ok(true)
    }

    /// Removes a value of a filter; false when it was not there.
    pub(crate) fn remove(&mut self, filter: &str, value: &T) -> bool {
        if has_wildcard(filter) {
            return self.wild.remove(filter, value).is_some();
        }
        let Some(values) = self.exact.get_mut(filter) else { return false };
        let was_there = values.remove(value).is_some();
        if values.is_empty() {
            self.exact.remove(filter);
        }
        was_there
    }

    /// The least value of a filter.
    pub(crate) fn first(&self, filter: &str) -> Option<&T> {
        let values = if has_wildcard(filter) { self.wild.values(filter) } else { self.exact.get(filter) };
        values.and_then(Few::first)
    }

    /// Shows each value of every filter that matches `name`: once for each filter that it was added for.
    /// Gives the number of places that it looked at.
    pub(crate) fn matches<'a>(&'a self, name: &str, mut visit: impl FnMut(&'a T)) -> usize {
        if let Some(values) = self.exact.get(name) {
            values.for_each(&mut visit);
        }
        1 + self.wild.matches(name, visit)
    }

    /// Shows every filter and its values.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(&str, &'a Few<T>)) {
        self.exact.iter().for_each(|(filter, values)| visit(filter, values));
        self.wild.for_each(visit);
    }

    /// The filter behind another one, which need not be there, and its values: those without wildcards
    /// come first. With `None` from the start.
    pub(crate) fn next_after(&self, after: Option<&str>) -> Option<(Box<str>, &Few<T>)> {
        let wild = |after| self.wild.next_after(after).map(|(filter, values)| (filter.into(), values));
        if after.is_some_and(has_wildcard) {
            return wild(after);
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let exact = self.exact.range::<str, _>((start, Bound::Unbounded)).next();
        exact.map(|(filter, values)| (filter.clone(), values)).or_else(|| wild(None))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

/// Whether a filter can match more than one name. Only valid ones have their wildcards where they count,
/// and others are refused either way.
pub(crate) fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic;

    fn found(filters: &Filters<u32>, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        filters.matches(name, |value| found.push(*value));
        found.sort_unstable();
        found
    }

    #[test]
    fn exact_filters_and_wildcards_are_found_together() {
        let mut filters = Filters::default();
        for (value, filter) in ["a/b", "a/+", "#", "a", "a/b"].into_iter().enumerate() {
            assert_eq!(filters.insert(filter, value as u32), Ok(true));
        }
        assert_eq!(found(&filters, "a/b"), [0, 1, 2, 4]);
        assert_eq!(filters.insert("a/b", 0), Ok(false));
        assert_eq!(filters.first("a/b"), Some(&0));
        assert_eq!((filters.first("a/+"), filters.first("b")), (Some(&1), None));
        assert!(filters.remove("a/b", &0) && !filters.remove("a/b", &0));
        assert!(filters.insert("a\0", 1).is_err() && filters.insert("", 1).is_err());
        assert!(filters.insert("a#", 1).is_err());
        for (value, filter) in [(1, "a/+"), (2, "#"), (3, "a"), (4, "a/b")] {
            assert!(filters.remove(filter, &value));
        }
        assert!(filters.is_empty());
    }

    #[test]
    fn a_walk_finds_every_filter_that_is_there_all_the_time() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut filters = Filters::default();
            let some = |random: &mut fastrand::Rng| {
                let levels = random.usize(1..5);
                let level = |random: &mut fastrand::Rng| ["", "a", "b", "c", "!", "+"][random.usize(..6)];
                let mut filter: Vec<&str> = (0..levels).map(|_| level(random)).collect();
                if random.u8(..4) == 0 {
                    filter.push("#");
                }
                filter.join("/")
            };
            let all: std::collections::BTreeSet<String> = (0..40).map(|_| some(&mut random)).collect();
            for filter in &all {
                let _ = filters.insert(filter, 1_u32);
            }
            let mut kept: std::collections::BTreeSet<String> = std::collections::BTreeSet::new();
            filters.for_each(|filter, _| {
                kept.insert(filter.to_owned());
            });
            let (mut at, mut seen) = (None::<Box<str>>, Vec::new());
            while let Some((filter, _)) = filters.next_after(at.as_deref()) {
                seen.push(filter.to_string());
                at = Some(filter);
                // Others come and go, also the one where the walk is.
                let other = if random.bool() { seen.last().cloned() } else { random.choice(&all).cloned() };
                if let Some(other) = other
                    && random.u8(..3) == 0
                {
                    filters.remove(&other, &1);
                    kept.remove(&other);
                }
            }
            let unique: std::collections::BTreeSet<String> = seen.iter().cloned().collect();
            assert_eq!(unique.len(), seen.len(), "{seen:?}");
            assert!(kept.is_subset(&unique), "{kept:?} {seen:?}");
        }
    }

    #[test]
    fn every_filter_is_shown_with_its_values() {
        let mut filters = Filters::default();
        let mut expected = Vec::new();
        for (value, filter) in ["/", "//+", "a/b", "a/b/#", "#", "+", "$x/+/y"].into_iter().enumerate() {
            filters.insert(filter, value).expect("valid");
            expected.push((filter.to_owned(), value));
        }
        let mut shown = Vec::new();
        filters.for_each(|filter, values| values.for_each(|value| shown.push((filter.to_owned(), *value))));
        shown.sort_by_key(|(_, value)| *value);
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_name_is_looked_up_by_its_levels_whatever_the_number_of_filters() {
        let mut filters = Filters::default();
        let mut looks = Vec::new();
        for round in 0..3_u32 {
            for device in 0..100_000_u32 {
                let device = round * 100_000 + device;
                assert_eq!(filters.insert(&format!("devices/{device}/command"), device), Ok(true));
                if device % 100 == 0 {
                    assert_eq!(filters.insert(&format!("devices/{device}/+/#"), device), Ok(true));
                }
            }
            if round == 0 {
                assert_eq!(filters.insert("+/+/command", 7), Ok(true));
            }
            let mut found = Vec::new();
            looks.push(filters.matches("devices/1200/command", |value| found.push(*value)));
            found.sort_unstable();
            assert_eq!(found, [7, 1_200, 1_200]);
        }
        // Exact ones, the root, `devices` and `+`, what follows each, and so on.
        assert!(looks.iter().all(|one| *one == looks[0]) && looks[0] <= 16, "{looks:?}");
        let mut found = 0;
        assert!(filters.matches("other/1200/state", |_| found += 1) <= 5, "nothing goes on there");
        assert_eq!(found, 0);
    }

    #[test]
    fn random_filters_are_found_as_each_of_them_matches() {
        let levels = ["a", "b", "", "$c", "+", "#"];
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut filters, mut model) = (Filters::default(), std::collections::BTreeSet::new());
            for _ in 0..200 {
                let words: Vec<&str> = (0..random.usize(1..4)).map(|_| levels[random.usize(..6)]).collect();
                let (text, value) = (words.join("/"), random.u32(..3));
                let is_valid = validate_filter(&text).is_ok();
                if random.bool() {
                    let is_new = is_valid && model.insert((text.clone(), value));
                    assert_eq!(filters.insert(&text, value).unwrap_or(false), is_new, "seed {seed}");
                } else {
                    let was_there = model.remove(&(text.clone(), value));
                    assert_eq!(filters.remove(&text, &value), was_there, "seed {seed}");
                }
                let words: Vec<&str> = (0..random.usize(1..4)).map(|_| levels[random.usize(..4)]).collect();
                let name = words.join("/");
                let matching = model.iter().filter(|(filter, _)| topic::matches(filter, &name));
                let mut expected: Vec<u32> = matching.map(|(_, value)| *value).collect();
                expected.sort_unstable();
                if !name.is_empty() {
                    assert_eq!(found(&filters, &name), expected, "seed {seed}: {name}");
                }
            }
        }
    }
}
