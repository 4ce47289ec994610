//! Sums by which two replicas find where they differ.
//!
//! Every object belongs to one of 4,096 leaves by the hash of its key; 64 leaves are a group. A leaf's digest
//! is the sum of a hash of each of its objects and their versions, so a change costs two additions.

use super::{Key, Version};

/// Leaves of a replica.
pub(super) const LEAVES: u16 = 4_096;

/// Groups of leaves, and leaves of a group.
pub(super) const GROUPS: usize = 64;

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf(pub(super) u16);

impl Leaf {
    pub(super) fn of(key: &Key) -> Self {
        // Twelve bits are below LEAVES.
        Self(u16::try_from(hash_key(key) >> 52).unwrap_or_default())
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0 % LEAVES)
    }
}

/// The digests of a replica.
#[derive(Debug)]
pub(super) struct Digests {
    leaves: Box<[u64]>,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self { leaves: vec![0; usize::from(LEAVES)].into() }
    }

    pub(super) fn add(&mut self, key: &Key, version: Version) {
        if let Some(leaf) = self.leaves.get_mut(Leaf::of(key).index()) {
            *leaf = leaf.wrapping_add(hash_object(key, version));
        }
    }

    pub(super) fn remove(&mut self, key: &Key, version: Version) {
        if let Some(leaf) = self.leaves.get_mut(Leaf::of(key).index()) {
            *leaf = leaf.wrapping_sub(hash_object(key, version));
        }
    }

    /// One digest of everything.
    pub(super) fn total(&self) -> u64 {
        self.leaves.iter().fold(0, |total, leaf| total.wrapping_add(*leaf))
    }

    pub(super) fn groups(&self) -> Vec<u64> {
        let groups = self.leaves.chunks(GROUPS);
        groups.map(|leaves| leaves.iter().fold(0, |sum: u64, leaf| sum.wrapping_add(*leaf))).collect()
    }

    /// The digests of the leaves of one group.
    pub(super) fn group(&self, group: usize) -> &[u64] {
        self.leaves.chunks(GROUPS).nth(group).unwrap_or_default()
    }
}

/// A set of leaves.
#[derive(Debug)]
pub(super) struct LeafSet {
    words: [u64; GROUPS],
}

impl LeafSet {
    pub(super) const fn new() -> Self {
        Self { words: [0; GROUPS] }
    }

    pub(super) fn insert(&mut self, leaf: Leaf) {
        if let Some(word) = self.words.get_mut(leaf.index() / 64) {
            *word |= 1 << (leaf.index() % 64);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Takes the lowest leaf.
    pub(super) fn take(&mut self) -> Option<Leaf> {
        let (index, word) = self.words.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let leaf = index * 64 + usize::try_from(word.trailing_zeros()).unwrap_or_default();
        *word &= *word - 1;
        u16::try_from(leaf).ok().map(Leaf)
    }
}

/// FNV-1a, mixed: every bit of the key tells on every bit of the hash.
fn hash_key(key: &Key) -> u64 {
    let start = (0xcbf2_9ce4_8422_2325 ^ u64::from(key.kind.0)).wrapping_mul(FNV_PRIME);
    let hash = key.name.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    mix(hash)
}

fn hash_object(key: &Key, version: Version) -> u64 {
    let version = mix(version.clock ^ mix(version.origin.0));
    mix(hash_key(key) ^ version)
}

const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The finisher of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
