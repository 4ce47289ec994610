//! Doubly linked lists through the values of an [`Arena`]: constant time to add, to take from either
//! end and to remove from the middle, and no allocation.
//!
//! A value can stand in several lists; each kind of list has a marker type, and the value has one
//! [`Links`] per kind. A value must leave its lists before it is removed from its arena.

use std::marker::PhantomData;

use crate::key::{Arena, Key};

/// The place of a value in one list.
#[derive(Debug)]
pub(crate) struct Links<K> {
    previous: Option<K>,
    next: Option<K>,
}

impl<K> Default for Links<K> {
    fn default() -> Self {
        Self { previous: None, next: None }
    }
}

/// A value that can stand in a list of kind `L`.
pub(crate) trait Linked<K, L> {
    fn links(&self) -> &Links<K>;
    fn links_mut(&mut self) -> &mut Links<K>;
}

/// A list of kind `L`.
#[derive(Debug)]
pub(crate) struct List<K, L> {
    first: Option<K>,
    last: Option<K>,
    len: u32,
    kind: PhantomData<L>,
}

impl<K, L> Default for List<K, L> {
    fn default() -> Self {
        Self { first: None, last: None, len: 0, kind: PhantomData }
    }
}

impl<K: Key, L> List<K, L> {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn first(&self) -> Option<K> {
        self.first
    }

    pub(crate) fn last(&self) -> Option<K> {
        self.last
    }

    /// The value after `key`.
    pub(crate) fn after<V: Linked<K, L>>(arena: &Arena<K, V>, key: K) -> Option<K> {
        arena.get(key)?.links().next
    }

    /// The place that a value will have at the end of the list: for a value that is not in its
    /// arena yet, to be followed by `attach`.
    #[inline]
    pub(crate) fn place_at_end(&self) -> Links<K> {
        Links { previous: self.last, next: None }
    }

    /// Takes in a value that was made with `place_at_end`.
    #[inline]
    pub(crate) fn attach<V: Linked<K, L>>(&mut self, arena: &mut Arena<K, V>, key: K) {
        match self.last.and_then(|key| arena.get_mut(key)) {
            Some(previous) => previous.links_mut().next = Some(key),
            None => self.first = Some(key),
        }
        self.last = Some(key);
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_back<V: Linked<K, L>>(&mut self, arena: &mut Arena<K, V>, key: K) {
        let Some(value) = arena.get_mut(key) else { return };
        *value.links_mut() = self.place_at_end();
        self.attach(arena, key);
    }

    /// Puts `key` before `next`, or at the end without one.
    pub(crate) fn insert_before<V: Linked<K, L>>(
        &mut self,
        arena: &mut Arena<K, V>,
        key: K,
        next: Option<K>,
    ) {
        let Some(next) = next else { return self.push_back(arena, key) };
        let Some(follower) = arena.get_mut(next) else { return };
        let previous = follower.links_mut().previous.replace(key);
        if let Some(value) = arena.get_mut(key) {
            *value.links_mut() = Links { previous, next: Some(next) };
        }
        match previous.and_then(|key| arena.get_mut(key)) {
            Some(previous) => previous.links_mut().next = Some(key),
            None => self.first = Some(key),
        }
        self.len += 1;
    }

    /// Takes `key` out. It must stand in this very list.
    #[inline]
    pub(crate) fn remove<V: Linked<K, L>>(&mut self, arena: &mut Arena<K, V>, key: K) {
        let Some(value) = arena.get_mut(key) else { return };
        let Links { previous, next } = std::mem::take(value.links_mut());
        match previous.and_then(|key| arena.get_mut(key)) {
            Some(previous) => previous.links_mut().next = next,
            None => self.first = next,
        }
        match next.and_then(|key| arena.get_mut(key)) {
            Some(next) => next.links_mut().previous = previous,
            None => self.last = previous,
        }
        self.len = self.len.saturating_sub(1);
    }

    pub(crate) fn pop_front<V: Linked<K, L>>(&mut self, arena: &mut Arena<K, V>) -> Option<K> {
        let key = self.first?;
        self.remove(arena, key);
        Some(key)
    }
}
