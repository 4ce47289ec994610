//! Which anycast consumer is next: the one with the fewest outstanding deliveries, and among equals
//! the one that has waited longest.
//!
//! Consumers that can take a delivery stand in buckets by what they have outstanding; a bitmap says
//! which buckets are not empty. Finding, adding and removing take constant time, whatever the number
//! of consumers. Buckets appear as they are needed, so an address with little going on is small.
//!
//! Invariant: a consumer whose `place` is `Ready(bucket)` stands in exactly that bucket of its
//! address, and no other consumer stands in any.

use crate::consumer::{ByPlace, Consumer};
use crate::key::{Arena, ConsumerKey};
use crate::list::List;

/// Consumers with more outstanding than this are all alike.
pub(crate) const LAST_BUCKET: u16 = 1023;

/// The consumers of one address that can take a delivery now.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    buckets: Vec<List<ConsumerKey, ByPlace>>,
    occupied: Vec<u64>,
}

impl Ready {
    /// The bucket of a consumer with so many outstanding deliveries.
    pub(crate) fn bucket(outstanding: u32) -> u16 {
        outstanding.min(u32::from(LAST_BUCKET)) as u16
    }

    /// Puts a consumer at the end of a bucket.
    pub(crate) fn push(
        &mut self,
        consumers: &mut Arena<ConsumerKey, Consumer>,
        bucket: u16,
        key: ConsumerKey,
    ) {
        let index = usize::from(bucket.min(LAST_BUCKET));
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, List::default);
            self.occupied.resize(index / 64 + 1, 0);
        }
        if let Some(list) = self.buckets.get_mut(index) {
            list.push_back(consumers, key);
        }
        if let Some(word) = self.occupied.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Takes a consumer out of its bucket.
    pub(crate) fn remove(
        &mut self,
        consumers: &mut Arena<ConsumerKey, Consumer>,
        bucket: u16,
        key: ConsumerKey,
    ) {
        let index = usize::from(bucket);
        let Some(list) = self.buckets.get_mut(index) else { return };
        list.remove(consumers, key);
        if list.is_empty()
            && let Some(word) = self.occupied.get_mut(index / 64)
        {
            *word &= !(1 << (index % 64));
        }
    }

    /// The next consumer.
    pub(crate) fn first(&self) -> Option<ConsumerKey> {
        let (word, bits) = self.occupied.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        let index = word * 64 + bits.trailing_zeros() as usize;
        self.buckets.get(index)?.first()
    }
}
