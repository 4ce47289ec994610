//! Routes that were asked for, as long as they hold.
//!
//! A route of a name ends when a filter that may match it comes or goes, or an address that may serve it.
//! One without wildcards can concern a single name, whose route is dropped. Of the others the literal
//! levels at their beginning are looked at, two at most: all routes whose names begin alike have a version
//! in common that moves on. So a thousand clients that subscribe below names of their own end few routes
//! beside their own. In a space the levels count behind its prefix, and what concerns the whole of it, or
//! all that begins with one level, ends the routes of that space alone.
//!
//! Invariant: a route that [`RouteCache::find`] gives is the one that would be made now.

use std::sync::Arc;

use super::Route;
use super::filters::has_wildcard;
use crate::space::{self, Spaced};

/// Routes that are kept at most.
const MAX_ROUTES: usize = 32_768;

/// Bytes of routes that are kept at most, but for one of them. Those of names with many subscribers are
/// large.
const MAX_BYTES: usize = 16 << 20;

/// Places that a name can have.
const WAYS: usize = 4;

/// Versions of names that begin with the same level, or are of the same space; and of those that begin with the
/// same two.
const FIRST: usize = 256;
const SECOND: usize = 16_384;

/// What a route takes beside its name and its lists.
const ROUTE_COST: usize = size_of::<Route>() + 64;

/// The routes of a shard.
#[derive(Debug)]
pub(crate) struct RouteCache {
    slots: Vec<Slot>,
    len: usize,
    bytes: usize,
    /// Where room is made next.
    hand: usize,
    versions: Versions,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    hash: u64,
    route: Option<Arc<Route>>,
}

#[derive(Debug)]
struct Versions {
    all: u64,
    first: Box<[u64]>,
    second: Box<[u64]>,
}

/// What a route knows of the versions that it was made at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    first: u16,
    second: u16,
    /// Their sum: versions only grow.
    version: u64,
}

impl Versions {
    fn sum(&self, first: u16, second: u16) -> u64 {
        let of = |versions: &[u64], place: u16| versions.get(usize::from(place)).copied().unwrap_or(0);
        self.all.wrapping_add(of(&self.first, first)).wrapping_add(of(&self.second, second))
    }
}

impl RouteCache {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
            bytes: 0,
            hand: 0,
            versions: Versions {
                all: 0,
                first: vec![0; FIRST].into_boxed_slice(),
                second: vec![0; SECOND].into_boxed_slice(),
            },
        }
    }

    /// The route of a name, if it was made and still holds.
    #[inline]
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Route>> {
        let hash = hash(name.as_bytes());
        let start = self.bucket(hash);
        let slots = self.slots.get(start..start + WAYS)?;
        let slot = slots.iter().find(|slot| slot.is_of(hash, name))?;
        slot.route.as_ref().filter(|route| self.holds(route))
    }

    fn holds(&self, route: &Route) -> bool {
        route.made.version == self.versions.sum(route.made.first, route.made.second)
    }

    fn bucket(&self, hash: u64) -> usize {
        // The number of slots is a power of two, and with it that of buckets.
        (hash as usize).wrapping_mul(WAYS) & self.slots.len().saturating_sub(1)
    }

    /// What a route of this name that is made now has to remember.
    pub(crate) fn made(&self, name: &str) -> Made {
        let (one, two) = prefixes(name);
        let first = (hash(one.as_bytes()) % FIRST as u64) as u16;
        let second = (hash(two.as_bytes()) % SECOND as u64) as u16;
        Made { first, second, version: self.versions.sum(first, second) }
    }

    /// Keeps a route that was just made.
    pub(crate) fn insert(&mut self, route: Arc<Route>) {
        let hash = hash(route.name.as_bytes());
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); 64];
        }
        self.remove(hash, &route.name);
        let mut place = self.place(hash);
        if place.is_none() && self.slots.len() < MAX_ROUTES && self.len * 2 >= self.slots.len() {
            self.grow();
            place = self.place(hash);
        }
        // All are taken: each of them in turn.
        let place = place.unwrap_or_else(|| {
            self.hand = self.hand.wrapping_add(1);
            self.bucket(hash) + self.hand % WAYS
        });
        self.take_out(place);
        self.bytes += cost(&route);
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Slot { hash, route: Some(route) };
        }
        self.make_room(place);
    }

    /// A place for a route that holds nothing, or one that holds no more.
    fn place(&self, hash: u64) -> Option<usize> {
        let start = self.bucket(hash);
        let slots = self.slots.get(start..start + WAYS)?;
        let is_free = |slot: &Slot| slot.route.as_ref().is_none_or(|route| !self.holds(route));
        slots.iter().position(is_free).map(|place| start + place)
    }

    fn grow(&mut self) {
        let slots = vec![Slot::default(); self.slots.len() * 2];
        let before = std::mem::replace(&mut self.slots, slots);
        for slot in before {
            let Some(route) = &slot.route else { continue };
            match self.place(slot.hash).filter(|_| self.holds(route)) {
                Some(place) => {
                    if let Some(free) = self.slots.get_mut(place) {
                        *free = slot;
                    }
                }
                None => {
                    self.len -= 1;
                    self.bytes = self.bytes.saturating_sub(cost(route));
                }
            }
        }
    }

    /// Drops others until those that are left may stay.
    fn make_room(&mut self, but: usize) {
        while self.bytes > MAX_BYTES && self.len > 1 {
            self.hand = self.hand.wrapping_add(1);
            let place = self.hand & (self.slots.len() - 1);
            if place != but {
                self.take_out(place);
            }
        }
    }

    fn take_out(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        if let Some(route) = std::mem::take(slot).route {
            self.len -= 1;
            self.bytes = self.bytes.saturating_sub(cost(&route));
        }
    }

    fn remove(&mut self, hash: u64, name: &str) {
        let start = self.bucket(hash);
        let slots = self.slots.get(start..start + WAYS).unwrap_or_default();
        if let Some(place) = slots.iter().position(|slot| slot.is_of(hash, name)) {
            self.take_out(start + place);
        }
    }

    /// Every route may be another one: shards have come or gone.
    pub(crate) fn all_changed(&mut self) {
        self.versions.all = self.versions.all.wrapping_add(1);
    }

    /// A filter has come or gone: no route of a name that it matches holds any more.
    pub(crate) fn filter_changed(&mut self, filter: &str) {
        if !has_wildcard(filter) {
            return self.remove(hash(filter.as_bytes()), filter);
        }
        let Spaced { prefix, local } = space::split(filter);
        let levels = local.into_iter().flat_map(|local| local.split('/'));
        let literal = levels.take_while(|level| !matches!(*level, "+" | "#")).count();
        let (one, two) = prefixes(filter);
        let version = match literal {
            0 if prefix.is_empty() => Some(&mut self.versions.all),
            0 | 1 => self.versions.first.get_mut((hash(one.as_bytes()) % FIRST as u64) as usize),
            _ => self.versions.second.get_mut((hash(two.as_bytes()) % SECOND as u64) as usize),
        };
        if let Some(version) = version {
            *version = version.wrapping_add(1);
        }
    }

    /// An address of this name has come, changed or gone.
    pub(crate) fn address_changed(&mut self, name: &str, is_topic: bool) {
        self.remove(hash(name.as_bytes()), name);
        if is_topic && !has_wildcard(name) {
            self.filter_changed(&format!("{name}/#"));
        } else if is_topic {
            // The topic of all, which serves what nothing else does.
            self.filter_changed(name);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Slot {
    #[inline]
    fn is_of(&self, hash: u64, name: &str) -> bool {
        self.hash == hash && self.route.as_ref().is_some_and(|route| *route.name == *name)
    }
}

fn cost(route: &Route) -> usize {
    ROUTE_COST + route.name.len() + size_of_val(&*route.local) + size_of_val(&*route.shards)
}

/// The first level of a name, or in a space its prefix; and what ends with the first two levels.
fn prefixes(name: &str) -> (&str, &str) {
    let Spaced { prefix, local } = space::split(name);
    let local = local.unwrap_or_default();
    let one = local.find('/').unwrap_or(local.len());
    let rest = local.get(one + 1..).unwrap_or_default();
    let two = rest.find('/').map_or(local.len(), |end| one + 1 + end);
    let first = if prefix.is_empty() { one } else { prefix.len() };
    (name.get(..first).unwrap_or(name), name.get(..prefix.len() + two).unwrap_or(name))
}

/// A quick hash. Names that are chosen to have the same one get in each other's way, and no further.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    // The odd number nearest to 2^64 divided by the golden ratio.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte));
    let hash = mix(hash, last);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ShardId, Subscriber, topic};

    fn route(cache: &RouteCache, name: &str, subscribers: usize) -> Arc<Route> {
        Arc::new(Route {
            local: (0..subscribers).map(|index| Subscriber { token: 0, index: index as u32 }).collect(),
            shards: [ShardId(1)].into(),
            made: cache.made(name),
            ..Route::nowhere(name.into())
        })
    }

    fn keep(cache: &mut RouteCache, name: &str) {
        let route = route(cache, name, 1);
        cache.insert(route);
    }

    fn has(cache: &RouteCache, name: &str) -> bool {
        cache.find(name).is_some_and(|route| &*route.name == name)
    }

    #[test]
    fn names_have_two_beginnings() {
        assert_eq!(prefixes("a/b/c"), ("a", "a/b"));
        assert_eq!(prefixes("a/b"), ("a", "a/b"));
        assert_eq!(prefixes("a"), ("a", "a"));
        assert_eq!(prefixes("a/"), ("a", "a/"));
        assert_eq!(prefixes("/b/c"), ("", "/b"));
        assert_eq!(prefixes("é/ü/c"), ("é", "é/ü"));
        assert_eq!(prefixes("$s/acme/a/b/c"), ("$s/acme/", "$s/acme/a/b"));
        assert_eq!(prefixes("$s/acme/a"), ("$s/acme/", "$s/acme/a"));
        assert_eq!(prefixes("$s/acme"), ("$s/acme", "$s/acme"));
    }

    #[test]
    fn a_filter_ends_the_routes_that_it_may_match_and_few_others() {
        let names: Vec<String> = (0..40).map(|n| format!("{}/{}/{}", n % 4, n % 10, n)).collect();
        let mut kept = 0;
        let filters = ["3/3/3", "3/3/+", "3/3/#", "3/+/3", "3/#", "+/3/3", "#", "3/3/3/#", "x/#", "$x/y/#"];
        for filter in filters {
            let mut cache = RouteCache::new();
            names.iter().for_each(|name| keep(&mut cache, name));
            cache.filter_changed(filter);
            for name in &names {
                assert!(!(has(&cache, name) && topic::matches(filter, name)), "{filter} and {name}");
                kept += usize::from(has(&cache, name));
            }
        }
        assert!(kept >= 39 * 4, "{kept} of those that do not match");
    }

    #[test]
    fn what_changes_in_a_space_ends_routes_of_that_space_alone() {
        let local: Vec<String> = (0..40).map(|n| format!("{}/{}/{}", n % 4, n % 10, n)).collect();
        let spaces = ["", "$s/acme/", "$s/b/"];
        let names: Vec<String> =
            spaces.iter().flat_map(|space| local.iter().map(move |name| format!("{space}{name}"))).collect();
        for filter in ["3/3/3", "3/3/+", "3/3/#", "3/+/3", "3/#", "+/3/3", "#"] {
            let filter = format!("$s/acme/{filter}");
            let mut cache = RouteCache::new();
            names.iter().for_each(|name| keep(&mut cache, name));
            let kept: Vec<&String> = names.iter().filter(|name| has(&cache, name)).collect();
            cache.filter_changed(&filter);
            for name in kept {
                assert!(!(has(&cache, name) && topic::matches(&filter, name)), "{filter} and {name}");
                assert!(has(&cache, name) || name.starts_with("$s/acme/"), "{filter} and {name}");
            }
        }
        let mut cache = RouteCache::new();
        names.iter().for_each(|name| keep(&mut cache, name));
        let kept: Vec<&String> = names.iter().filter(|name| has(&cache, name)).collect();
        cache.address_changed("$s/acme/#", true);
        for name in kept {
            assert_eq!(has(&cache, name), !name.starts_with("$s/acme/"), "{name}");
        }
    }

    #[test]
    fn a_topic_ends_the_routes_below_it_and_another_address_its_own() {
        let mut cache = RouteCache::new();
        let names = ["a", "a/b", "a/b/c", "ab", "x"];
        for (changed, is_topic, expected) in [
            ("a", false, vec!["a/b", "a/b/c", "ab", "x"]),
            ("a", true, vec!["ab", "x"]),
            ("a/b", true, vec!["a", "ab", "x"]),
            ("#", true, vec![]),
        ] {
            names.iter().for_each(|name| keep(&mut cache, name));
            cache.address_changed(changed, is_topic);
            let left: Vec<&str> = names.into_iter().filter(|name| has(&cache, name)).collect();
            assert_eq!(left, expected, "{changed}");
        }
    }

    #[test]
    fn the_number_of_routes_and_their_bytes_are_bounded() {
        let mut cache = RouteCache::new();
        for number in 0..4 * MAX_ROUTES {
            keep(&mut cache, &format!("names/{number}"));
        }
        assert!(cache.slots.len() == MAX_ROUTES && cache.len() > MAX_ROUTES / 2);
        assert!(has(&cache, &format!("names/{}", 4 * MAX_ROUTES - 1)));
        for number in 0..100 {
            let large = route(&cache, &format!("large/{number}"), 100_000);
            cache.insert(large);
            assert!(cache.bytes <= MAX_BYTES && has(&cache, &format!("large/{number}")));
        }
        let huge = route(&cache, "huge", 2_000_000);
        cache.insert(huge);
        assert!(has(&cache, "huge") && cache.len() == 1, "one of any size has its place");
        cache.filter_changed("huge");
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn bytes_and_number_are_those_of_what_is_kept() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut cache = RouteCache::new();
        for _ in 0..20_000 {
            let name = format!("{}/{}", random.u32(..20), random.u32(..200));
            match random.u32(..10) {
                0 => cache.filter_changed(&name),
                1 => cache.filter_changed(&format!("{name}/#")),
                _ => keep(&mut cache, &name),
            }
        }
        let kept = cache.slots.iter().filter_map(|slot| slot.route.as_deref());
        assert_eq!(cache.bytes, kept.clone().map(cost).sum::<usize>());
        assert_eq!(cache.len, kept.count());
    }
}
