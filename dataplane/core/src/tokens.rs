//! Deliveries of other shards, by what those call them.
//!
//! A token is a key of the other shard's arena, and an arena uses its lowest slots again: so the tokens of a shard
//! lie close together, and most begin and end in the order of their slots. Pages of slots keep those together that
//! are used together. Whatever tokens a shard picks, there is a page at most for each that has not ended.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::key::{DeliveryKey, Key, LegKey};
use crate::settings::ShardId;

/// Slots of a page.
const PAGE: u32 = 128;

/// The deliveries that other shards may still speak of.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pages: BTreeMap<(ShardId, u32), Box<Page>>,
}

#[derive(Debug)]
struct Page {
    used: u32,
    slots: [Option<Named>; PAGE as usize],
}

#[derive(Clone, Copy, Debug)]
struct Named {
    generation: NonZeroU32,
    delivery: DeliveryKey,
}

impl Default for Page {
    fn default() -> Self {
        Self { used: 0, slots: [None; PAGE as usize] }
    }
}

impl Page {
    fn slot(&mut self, token: LegKey) -> &mut Option<Named> {
        // The remainder is below the number of slots.
        &mut self.slots[(token.index() % PAGE) as usize]
    }

    fn named(&self, token: LegKey) -> Option<DeliveryKey> {
        let named = self.slots[(token.index() % PAGE) as usize]?;
        (named.generation == token.generation()).then_some(named.delivery)
    }
}

impl Tokens {
    /// Notes what a shard calls a delivery. A slot has one token at a time: one that has not ended would be
    /// forgotten.
    #[inline]
    pub(crate) fn insert(&mut self, shard: ShardId, token: LegKey, delivery: DeliveryKey) {
        let page = self.pages.entry((shard, token.index() / PAGE)).or_default();
        let named = Named { generation: token.generation(), delivery };
        let before = page.slot(token).replace(named);
        page.used += u32::from(before.is_none());
    }

    #[inline]
    pub(crate) fn get(&self, shard: ShardId, token: LegKey) -> Option<DeliveryKey> {
        self.pages.get(&(shard, token.index() / PAGE))?.named(token)
    }

    /// The token has ended.
    #[inline]
    pub(crate) fn remove(&mut self, shard: ShardId, token: LegKey) {
        let place = (shard, token.index() / PAGE);
        let Some(page) = self.pages.get_mut(&place) else { return };
        if page.named(token).is_none() {
            return;
        }
        *page.slot(token) = None;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&place);
        }
    }

    /// Ends all tokens of a shard, and says what they stood for.
    pub(crate) fn take_all(&mut self, shard: ShardId) -> Vec<DeliveryKey> {
        let mut taken = Vec::new();
        let mut rest = self.pages.split_off(&(shard, 0));
        if let Some(next) = shard.0.checked_add(1) {
            self.pages.append(&mut rest.split_off(&(ShardId(next), 0)));
        }
        for page in rest.into_values() {
            taken.extend(page.slots.iter().flatten().map(|named| named.delivery));
        }
        taken
    }
}

#[cfg(test)]
impl Tokens {
    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub(crate) fn has_any_of(&self, shard: ShardId) -> bool {
        self.pages.keys().any(|(other, _)| *other == shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not 0")
    }

    fn token(index: u32, number: u32) -> LegKey {
        LegKey::new(index, generation(number))
    }

    fn delivery(index: u32) -> DeliveryKey {
        DeliveryKey::new(index, generation(1))
    }

    #[test]
    fn a_token_of_an_earlier_use_of_its_slot_names_nothing_and_ends_nothing() {
        let mut tokens = Tokens::default();
        tokens.insert(ShardId(1), token(7, 1), delivery(70));
        tokens.remove(ShardId(1), token(7, 1));
        tokens.insert(ShardId(1), token(7, 2), delivery(71));
        assert_eq!(tokens.get(ShardId(1), token(7, 1)), None);
        tokens.remove(ShardId(1), token(7, 1));
        assert_eq!(tokens.get(ShardId(1), token(7, 2)), Some(delivery(71)));
        assert_eq!(tokens.get(ShardId(2), token(7, 2)), None);
    }

    #[test]
    fn far_tokens_take_a_page_each_and_leave_nothing_behind() {
        let mut tokens = Tokens::default();
        for index in [0, PAGE - 1, PAGE, u32::MAX] {
            tokens.insert(ShardId(1), token(index, 1), delivery(index));
        }
        assert_eq!(tokens.pages.len(), 3);
        for index in [u32::MAX, PAGE, PAGE - 1, 0] {
            assert_eq!(tokens.get(ShardId(1), token(index, 1)), Some(delivery(index)));
            tokens.remove(ShardId(1), token(index, 1));
        }
        assert!(tokens.is_empty());
    }

    #[test]
    fn all_tokens_of_a_shard_end_together_and_no_others() {
        let mut tokens = Tokens::default();
        for shard in [0, 1, 2, u32::MAX] {
            for index in [3, 400] {
                tokens.insert(ShardId(shard), token(index, 1), delivery(shard.wrapping_add(index)));
            }
        }
        assert_eq!(tokens.take_all(ShardId(1)), [delivery(4), delivery(401)]);
        assert!(!tokens.has_any_of(ShardId(1)));
        assert!(tokens.has_any_of(ShardId(0)) && tokens.has_any_of(ShardId(2)));
        assert_eq!(tokens.take_all(ShardId(u32::MAX)).len(), 2);
        assert_eq!(tokens.take_all(ShardId(1)), []);
    }
}
