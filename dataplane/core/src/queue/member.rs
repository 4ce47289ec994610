//! The consumers of a queue.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::format::Filter;
use crate::key::Key;

/// A consumer of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberKey {
    index: u32,
    generation: NonZeroU32,
}

impl Key for MemberKey {
    fn new(index: u32, generation: NonZeroU32) -> Self {
        Self { index, generation }
    }

    fn index(self) -> u32 {
        self.index
    }

    fn generation(self) -> NonZeroU32 {
        self.generation
    }
}

/// How a consumer takes messages.
#[derive(Clone, Debug, Default)]
pub struct MemberOptions {
    /// Anything that the caller wants to find again in a [`Delivery`](super::Delivery).
    pub owner: u64,
    /// It only looks: what it gets stays for others, and each message is shown to it once.
    pub browse: bool,
    /// It does not share the queue.
    pub exclusive: bool,
    /// Which messages it gets.
    pub filter: Option<Arc<dyn Filter>>,
}
