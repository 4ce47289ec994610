//! Sets of which most have one element.

use std::collections::BTreeSet;

/// Elements from which on a list in order is too slow to change.
const LONG: usize = 64;

/// A set in order. One element takes no memory of its own, and many are found, added and removed in time
/// that grows with the logarithm of their number.
#[derive(Debug, Default)]
pub(crate) enum Few<T> {
    #[default]
    None,
    One(T),
    #[allow(clippy::box_collection, reason = "a set of one element should be no larger than that element")]
    Some(Box<Vec<T>>),
    #[allow(clippy::box_collection, reason = "likewise")]
    Many(Box<BTreeSet<T>>),
}

impl<T> Few<T> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl<T: Ord> Few<T> {
    /// Adds an element; false when it is there.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        match self {
            Self::None => *self = Self::One(value),
            Self::One(one) => {
                if *one == value {
                    return false;
                }
                let is_second = *one < value;
                if let Self::One(one) = std::mem::take(self) {
                    let both = if is_second { [one, value] } else { [value, one] };
                    *self = Self::Some(Box::new(both.into()));
                }
            }
            Self::Some(values) => {
                let Err(place) = values.binary_search(&value) else { return false };
                values.insert(place, value);
                if values.len() > LONG {
                    *self = Self::Many(Box::new(values.drain(..).collect()));
                }
            }
            Self::Many(values) => return values.insert(value),
        }
        true
    }

    /// Takes an element out.
    pub(crate) fn remove(&mut self, value: &T) -> Option<T> {
        match self {
            Self::None => None,
            Self::One(one) => {
                if one != value {
                    return None;
                }
                match std::mem::take(self) {
                    Self::One(one) => Some(one),
                    _ => None,
                }
            }
            Self::Some(values) => {
                let removed = values.remove(values.binary_search(value).ok()?);
                if values.len() < values.capacity() / 4 {
                    values.shrink_to(values.len() * 2);
                }
                if values.len() == 1
                    && let Some(last) = values.pop()
                {
                    *self = Self::One(last);
                }
                Some(removed)
            }
            Self::Many(values) => {
                let removed = values.take(value)?;
                // Below half of where it begins, so that one that comes and goes there costs nothing.
                if values.len() < LONG / 2 {
                    *self = Self::Some(Box::new(std::mem::take(&mut **values).into_iter().collect()));
                }
                Some(removed)
            }
        }
    }

    /// The least element.
    pub(crate) fn first(&self) -> Option<&T> {
        match self {
            Self::None => None,
            Self::One(one) => Some(one),
            Self::Some(values) => values.first(),
            Self::Many(values) => values.first(),
        }
    }

    /// Shows each element, in order.
    pub(crate) fn for_each<'a>(&'a self, visit: impl FnMut(&'a T)) {
        match self {
            Self::None => {}
            Self::One(one) => std::iter::once(one).for_each(visit),
            Self::Some(values) => values.iter().for_each(visit),
            Self::Many(values) => values.iter().for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(set: &Few<u32>) -> Vec<u32> {
        let mut all = Vec::new();
        set.for_each(|value| all.push(*value));
        all
    }

    #[test]
    fn random_elements_come_and_go_as_in_a_set() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut few, mut model) = (Few::default(), BTreeSet::new());
            for round in 0..1_000 {
                let value = random.u32(..200);
                // It grows beyond the limit, and shrinks again.
                if random.u32(..1_000) > round {
                    assert_eq!(few.insert(value), model.insert(value), "seed {seed}");
                } else {
                    assert_eq!(few.remove(&value), model.take(&value), "seed {seed}");
                }
                assert_eq!((few.first(), few.is_empty()), (model.first(), model.is_empty()));
                assert_eq!(all(&few), model.iter().copied().collect::<Vec<_>>(), "seed {seed}");
            }
        }
    }

    #[test]
    fn one_element_takes_no_more_than_itself_and_a_mark() {
        assert!(size_of::<Few<u64>>() <= 16);
    }
}
