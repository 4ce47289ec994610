//! Values by topic filter.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::few::Few;
use super::{MAX_LEVELS, TopicError, validate_filter, validate_name};
use crate::space::{self, SPACE_LEVELS, Spaced};

/// The place of the root. As it is nobody's child, it also stands for none.
const ROOT: u32 = 0;

/// Values by topic filter, found by name.
///
/// The tree has a node for each level of each filter, shared by filters that begin alike. Finding the
/// values for a name looks at nodes that match its levels only, in bounded space and without allocating,
/// whatever the number of filters. Nodes that lead to no value any more are freed.
#[derive(Debug)]
pub struct TopicTree<T> {
    /// The first one is the root.
    pub(super) nodes: Vec<Node<T>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
pub(super) struct Node<T> {
    children: Children,
    /// The child for `+`.
    plus: u32,
    /// The child for `#`.
    hash: u32,
    values: Few<T>,
}

/// Nodes by the name of their level. Most have one child or none.
#[derive(Debug, Default)]
enum Children {
    #[default]
    None,
    One(Box<str>, u32),
    Many(BTreeMap<Box<str>, u32>),
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { children: Children::None, plus: ROOT, hash: ROOT, values: Few::None }
    }
}

impl<T> Default for TopicTree<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl Children {
    fn get(&self, level: &str) -> u32 {
        match self {
            Self::One(name, child) if &**name == level => *child,
            Self::None | Self::One(..) => ROOT,
            Self::Many(children) => children.get(level).copied().unwrap_or(ROOT),
        }
    }

    fn insert(&mut self, level: &str, child: u32) {
        let level = Box::from(level);
        match std::mem::take(self) {
            Self::None => *self = Self::One(level, child),
            Self::One(other, sibling) => {
                *self = Self::Many(BTreeMap::from([(other, sibling), (level, child)]));
            }
            Self::Many(mut children) => {
                children.insert(level, child);
                *self = Self::Many(children);
            }
        }
    }

    fn remove(&mut self, level: &str) {
        match self {
            Self::None => {}
            Self::One(name, _) => {
                if &**name == level {
                    *self = Self::None;
                }
            }
            Self::Many(children) => {
                children.remove(level);
                if children.len() == 1
                    && let Some((name, child)) = children.pop_first()
                {
                    *self = Self::One(name, child);
                }
            }
        }
    }
}

impl<T> Node<T> {
    fn child(&self, level: &str) -> u32 {
        match level {
            "+" => self.plus,
            "#" => self.hash,
            _ => self.children.get(level),
        }
    }

    fn set_child(&mut self, level: &str, child: u32) {
        match level {
            "+" => self.plus = child,
            "#" => self.hash = child,
            _ if child == ROOT => self.children.remove(level),
            _ => self.children.insert(level, child),
        }
    }

    fn for_each_child(&self, mut visit: impl FnMut(&str, u32)) {
        match &self.children {
            Children::None => {}
            Children::One(level, child) => visit(level, *child),
            Children::Many(children) => children.iter().for_each(|(level, child)| visit(level, *child)),
        }
        for (level, child) in [("+", self.plus), ("#", self.hash)] {
            if child != ROOT {
                visit(level, child);
            }
        }
    }

    /// The first child behind a level, in the order of the names, then `+`, then `#`; with `None` the first
    /// of all.
    fn next_child(&self, after: Option<&str>) -> Option<(&str, u32)> {
        let literal = match (&self.children, after) {
            (_, Some("+" | "#")) | (Children::None, _) => None,
            (Children::One(level, child), _) => {
                Some((level, child)).filter(|(level, _)| after.is_none_or(|after| ***level > *after))
            }
            (Children::Many(children), None) => children.first_key_value(),
            (Children::Many(children), Some(after)) => {
                children.range::<str, _>((Bound::Excluded(after), Bound::Unbounded)).next()
            }
        };
        let plus = ("+", self.plus, !matches!(after, Some("+" | "#")));
        let hash = ("#", self.hash, after != Some("#"));
        literal.map(|(level, child)| (&**level, *child)).or_else(|| {
            let is_next = |(_, child, is_behind): &(&str, u32, bool)| *is_behind && *child != ROOT;
            [plus, hash].into_iter().find(is_next).map(|(level, child, _)| (level, child))
        })
    }

    fn is_unused(&self) -> bool {
        let has_children = self.plus != ROOT || self.hash != ROOT || !matches!(self.children, Children::None);
        !has_children && self.values.is_empty()
    }
}

/// Puts a step on a stack that has room for all that there can be.
fn push<'a>(height: &mut usize, stack: &mut [(u32, Option<&'a str>)], step: (u32, Option<&'a str>)) {
    if let Some(place) = stack.get_mut(*height) {
        *place = step;
        *height += 1;
    }
}

impl<T: Ord> TopicTree<T> {
    /// Adds a value for a filter. False when the filter has this value already.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn insert(&mut self, filter: &str, value: T) -> Result<bool, TopicError> {
        validate_filter(filter)?;
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = ROOT;
        for level in filter.split('/') {
            let child = self.node(at).map_or(ROOT, |node| node.child(level));
            at = if child == ROOT { self.add_child(at, level) } else { child };
        }
        let is_new = self.nodes.get_mut(at as usize).is_some_and(|node| node.values.insert(value));
        self.len += usize::from(is_new);
        Ok(is_new)
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let child = match self.free.pop() {
            Some(index) => index,
            None => {
                self.nodes.push(Node::default());
                // A node takes more than 50 bytes: 2^32 of them do not fit into memory.
                (self.nodes.len() - 1) as u32
            }
        };
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.set_child(level, child);
        }
        child
    }

    /// Removes a value of a filter; gives it back when it was there.
    pub fn remove(&mut self, filter: &str, value: &T) -> Option<T> {
        validate_filter(filter).ok()?;
        // The nodes on the way, each with the level that leads on from it.
        const LEVELS: usize = SPACE_LEVELS + MAX_LEVELS;
        let mut path: [(u32, &str); LEVELS] = [(ROOT, ""); LEVELS];
        let mut at = ROOT;
        let mut steps = 0;
        for (step, level) in path.iter_mut().zip(filter.split('/')) {
            *step = (at, level);
            at = self.node(at)?.child(level);
            if at == ROOT {
                return None;
            }
            steps += 1;
        }
        let value = self.nodes.get_mut(at as usize)?.values.remove(value)?;
        self.len -= 1;
        for (parent, level) in path.iter().take(steps).rev() {
            if !self.node(at).is_some_and(Node::is_unused) {
                return Some(value);
            }
            if let Some(node) = self.nodes.get_mut(at as usize) {
                *node = Node::default();
            }
            self.free.push(at);
            if let Some(node) = self.nodes.get_mut(*parent as usize) {
                node.set_child(level, ROOT);
            }
            at = *parent;
        }
        if self.len == 0 {
            *self = Self::default();
        }
        Some(value)
    }

    /// Shows each value of every filter that matches `name`: once for each filter that it was added for.
    /// A name that is not valid matches nothing. Gives the number of nodes that it looked at, which is what
    /// it costs beside the values.
    pub fn matches<'a>(&'a self, name: &str, mut visit: impl FnMut(&'a T)) -> usize {
        let mut looks = 0;
        if self.len == 0 || validate_name(name).is_err() {
            return looks;
        }
        let Spaced { prefix, local } = space::split(name);
        // No wildcard stands for a part of the prefix.
        let mut start = ROOT;
        for level in prefix.split_terminator('/') {
            looks += 1;
            start = self.node(start).map_or(ROOT, |node| node.children.get(level));
            if start == ROOT {
                return looks;
            }
        }
        // What is still to be looked at: a node, and what is left of the name there. Each step takes one
        // and puts back two at most, one level deeper, so there are never more than levels and one.
        let mut stack: [(u32, Option<&str>); MAX_LEVELS + 2] = [(ROOT, None); MAX_LEVELS + 2];
        let mut height = 0;
        push(&mut height, &mut stack, (start, local));
        let is_reserved = space::is_reserved(name);
        while height > 0 {
            height -= 1;
            let Some((at, rest)) = stack.get(height).copied() else { break };
            let Some(node) = self.node(at) else { break };
            looks += 1;
            let allows_wildcards = at != start || !is_reserved;
            if node.hash != ROOT && allows_wildcards {
                looks += 1;
                self.node(node.hash).into_iter().for_each(|node| node.values.for_each(&mut visit));
            }
            let Some(rest) = rest else {
                node.values.for_each(&mut visit);
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            let child = node.children.get(level);
            if child != ROOT {
                push(&mut height, &mut stack, (child, rest));
            }
            if node.plus != ROOT && allows_wildcards {
                push(&mut height, &mut stack, (node.plus, rest));
            }
        }
        looks
    }

    /// The values of a filter.
    pub(crate) fn values(&self, filter: &str) -> Option<&Few<T>> {
        let mut at = ROOT;
        for level in filter.split('/') {
            at = self.node(at)?.child(level);
            if at == ROOT {
                return None;
            }
        }
        self.node(at).map(|node| &node.values)
    }

    /// Shows every filter and its values.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(&str, &'a Few<T>)) {
        // Places to look at, each with the filter that ends there.
        let mut open = vec![(ROOT, String::new())];
        while let Some((at, filter)) = open.pop() {
            let Some(node) = self.node(at) else { continue };
            if !node.values.is_empty() {
                visit(&filter, &node.values);
            }
            node.for_each_child(|level, child| {
                let below = if at == ROOT { level.to_owned() } else { format!("{filter}/{level}") };
                open.push((child, below));
            });
        }
    }

    /// The filter behind another one, which need not be there, and its values: in an order of the tree's
    /// own, with `None` from the start.
    pub(crate) fn next_after(&self, after: Option<&str>) -> Option<(String, &Few<T>)> {
        let levels: Vec<&str> = after.map(|after| after.split('/').collect()).unwrap_or_default();
        // The nodes on the way, as far as it leads.
        let mut path = vec![ROOT];
        for level in &levels {
            let child = self.node(*path.last()?)?.child(level);
            if child == ROOT {
                break;
            }
            path.push(child);
        }
        if path.len() > levels.len() {
            // It is there, or leads to others: those come next.
            if let Some((level, child)) = self.node(*path.last()?)?.next_child(None) {
                return self.first_below(&levels, level, child);
            }
            path.pop();
        }
        while let Some(at) = path.pop() {
            let passed = levels.get(path.len()).copied();
            if let Some((level, child)) = self.node(at)?.next_child(passed) {
                return self.first_below(levels.get(..path.len())?, level, child);
            }
        }
        None
    }

    /// The first filter of those that lead through a node: itself or below its first child, and so on.
    fn first_below(&self, above: &[&str], level: &str, at: u32) -> Option<(String, &Few<T>)> {
        let mut filter = above.join("/");
        let (mut level, mut at, mut is_first) = (level, at, above.is_empty());
        loop {
            if !std::mem::take(&mut is_first) {
                filter.push('/');
            }
            filter.push_str(level);
            let node = self.node(at)?;
            if !node.values.is_empty() {
                return Some((filter, &node.values));
            }
            (level, at) = node.next_child(None)?;
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn node(&self, index: u32) -> Option<&Node<T>> {
        self.nodes.get(index as usize)
    }

    /// Nodes that are used.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}
