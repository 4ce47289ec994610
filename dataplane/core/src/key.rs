//! Keyed storage: slabs whose keys say which use of a slot they mean.
//!
//! A key is an index and a generation. Removing a value ends the generation, so a key kept too long
//! finds nothing instead of its successor.

use std::marker::PhantomData;
use std::num::NonZeroU32;

/// A key of an [`Arena`].
pub(crate) trait Key: Copy + Eq {
    fn new(index: u32, generation: NonZeroU32) -> Self;
    fn index(self) -> u32;
    fn generation(self) -> NonZeroU32;
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            index: u32,
            generation: NonZeroU32,
        }

        impl $name {
            /// The key as a number, never 0.
            pub fn to_bits(self) -> u64 {
                u64::from(self.generation.get()) << 32 | u64::from(self.index)
            }

            /// The key that `to_bits` made into this number; `None` when it cannot have.
            pub fn from_bits(bits: u64) -> Option<Self> {
                Some(Self { index: bits as u32, generation: NonZeroU32::new((bits >> 32) as u32)? })
            }
        }

        impl Key for $name {
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
    )*};
}

keys! {
    /// A link that sends to the core.
    ProducerKey
    /// A link that the core sends to.
    ConsumerKey
    /// A delivery that a producer started.
    DeliveryKey
    /// One way of a delivery: to one consumer or one other shard.
    LegKey
    /// What the deliveries of a session of a connection share: a budget of bytes.
    LaneKey
    /// An address, as one shard knows it.
    AddressKey
}

macro_rules! inner_keys {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name {
            index: u32,
            generation: NonZeroU32,
        }

        impl Key for $name {
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
    )*};
}

inner_keys! {
    /// A queue or a topic at its home.
    HomeKey
    /// A producer, as the home of its address knows it.
    SenderKey
    /// A consumer, as the home of its queue knows it.
    ReceiverKey
    /// A delivery from a queue that a consumer of this shard has; outside it is a `LegKey`.
    GripKey
    /// A delivery to a stored address that is not done with; outside it is a `DeliveryKey`.
    InboundKey
    /// A message at a home on another shard that has not answered.
    SentKey
    /// A request that the store has not answered; outside it is a `Ticket`.
    PendingKey
    /// A message on its way from a queue to another address.
    ForwardKey
}

macro_rules! bits {
    ($($name:ident)*) => {$(
        impl $name {
            /// The key as a number, never 0.
            pub(crate) fn to_bits(self) -> u64 {
                u64::from(self.generation.get()) << 32 | u64::from(self.index)
            }

            pub(crate) fn from_bits(bits: u64) -> Option<Self> {
                Some(Self { index: bits as u32, generation: NonZeroU32::new((bits >> 32) as u32)? })
            }
        }
    )*};
}

bits! { ForwardKey HomeKey InboundKey PendingKey ReceiverKey SenderKey SentKey }

/// The highest generation: the highest bit of a key as a number is never set, which tells a ticket of the
/// core from one of its caller.
const GENERATIONS: u32 = u32::MAX >> 1;

/// Set in the index of a key that, outside, stands for a delivery of a stored address.
const STORED: u32 = 1 << 31;

impl GripKey {
    pub(crate) fn to_leg(self) -> LegKey {
        LegKey { index: self.index | STORED, generation: self.generation }
    }

    pub(crate) fn from_leg(leg: LegKey) -> Option<Self> {
        let is_stored = leg.index & STORED != 0;
        is_stored.then_some(Self { index: leg.index & !STORED, generation: leg.generation })
    }
}

impl InboundKey {
    pub(crate) fn to_delivery(self) -> DeliveryKey {
        DeliveryKey { index: self.index | STORED, generation: self.generation }
    }

    pub(crate) fn from_delivery(delivery: DeliveryKey) -> Option<Self> {
        let is_stored = delivery.index & STORED != 0;
        is_stored.then_some(Self { index: delivery.index & !STORED, generation: delivery.generation })
    }
}

/// Values by generational key. Inserting and removing take constant time and, once the slots exist,
/// no allocation.
#[derive(Debug)]
pub(crate) struct Arena<K, V> {
    slots: Vec<Slot<V>>,
    free: Option<u32>,
    len: usize,
    key: PhantomData<K>,
}

#[derive(Debug)]
struct Slot<V> {
    generation: NonZeroU32,
    next_free: Option<u32>,
    value: Option<V>,
}

impl<K: Key, V> Arena<K, V> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: None, len: 0, key: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: V) -> K {
        self.len += 1;
        if let Some(index) = self.free
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            self.free = slot.next_free;
            slot.value = Some(value);
            return K::new(index, slot.generation);
        }
        // Every value is bounded by a limit far below u32::MAX, so the index fits.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: NonZeroU32::MIN, next_free: None, value: Some(value) });
        K::new(index, NonZeroU32::MIN)
    }

    /// The key that the next value will get.
    pub(crate) fn vacant_key(&self) -> K {
        let free = self.free.and_then(|index| Some((index, self.slots.get(index as usize)?.generation)));
        let (index, generation) = free.unwrap_or((self.slots.len() as u32, NonZeroU32::MIN));
        K::new(index, generation)
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        let slot = self.slots.get(key.index() as usize)?;
        if slot.generation == key.generation() { slot.value.as_ref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        if slot.generation == key.generation() { slot.value.as_mut() } else { None }
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get_mut(key.index() as usize)?;
        if slot.generation != key.generation() {
            return None;
        }
        let value = slot.value.take()?;
        self.free_slot(key);
        Some(value)
    }

    /// Removes a value without moving it.
    #[inline]
    pub(crate) fn discard(&mut self, key: K) {
        if let Some(slot) = self.slots.get_mut(key.index() as usize)
            && slot.generation == key.generation()
            && slot.value.is_some()
        {
            slot.value = None;
            self.free_slot(key);
        }
    }

    #[inline]
    fn free_slot(&mut self, key: K) {
        if let Some(slot) = self.slots.get_mut(key.index() as usize) {
            let next = slot.generation.get().wrapping_add(1) & GENERATIONS;
            slot.generation = NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN);
            slot.next_free = self.free;
            self.free = Some(key.index());
            self.len -= 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.value.as_ref().map(|value| (K::new(index as u32, slot.generation), value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_does_not_find_its_successor() {
        let mut arena = Arena::<LegKey, u8>::new();
        let first = arena.insert(1);
        assert_eq!(arena.remove(first), Some(1));
        let second = arena.insert(2);
        assert_eq!(second.index(), first.index());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&2));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn the_highest_bit_of_a_key_is_never_set() {
        let mut arena = Arena::<PendingKey, u8>::new();
        arena.insert(0);
        arena.slots[0].generation = NonZeroU32::new(GENERATIONS).unwrap();
        let last = PendingKey::new(0, NonZeroU32::new(GENERATIONS).unwrap());
        assert!(!crate::Ticket(last.to_bits()).is_foreign());
        assert_eq!(arena.remove(last), Some(0));
        let first = arena.insert(1);
        assert_eq!(first.generation(), NonZeroU32::MIN);
        assert_eq!((arena.get(last), arena.get(first)), (None, Some(&1)));
    }

    #[test]
    fn a_key_survives_its_bits() {
        let mut arena = Arena::<LegKey, u8>::new();
        let old = arena.insert(0);
        arena.remove(old);
        let key = arena.insert(0);
        assert_eq!(LegKey::from_bits(key.to_bits()), Some(key));
        assert_eq!(LegKey::from_bits(7), None);
    }
}
