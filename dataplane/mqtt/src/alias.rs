//! Topic aliases (3.3.2.3.4): per connection and direction, set up by who sends.

use crate::packet::Text;

/// What the peer's aliases stand for.
#[derive(Debug, Default)]
pub(crate) struct IncomingAliases {
    topics: Vec<Option<Text>>,
}

impl IncomingAliases {
    /// Sets an alias, which the caller has checked against the maximum.
    pub(crate) fn set(&mut self, alias: u16, topic: &[u8], text: impl FnOnce() -> Text) {
        let index = usize::from(alias);
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if let Some(slot) = self.topics.get_mut(index) {
            // Many clients name the topic beside its alias every time.
            if slot.as_ref().is_none_or(|known| known.as_bytes() != topic) {
                *slot = Some(text());
            }
        }
    }

    pub(crate) fn get(&self, alias: u16) -> Option<&Text> {
        self.topics.get(usize::from(alias))?.as_ref()
    }
}

/// The aliases that we set up: a topic has one place by its hash, and takes it over from another. So
/// finding an alias costs the same however many there are, and nothing is allocated once the places
/// have held a topic.
#[derive(Debug)]
pub(crate) struct OutgoingAliases {
    /// The topic of alias `index + 1`; empty when there is none.
    topics: Vec<Vec<u8>>,
    last: usize,
}

/// How a topic goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasChoice {
    /// The peer knows the alias: it alone.
    Known(u16),
    /// The alias is set up with the topic beside it.
    New(u16),
    /// The topic alone.
    None,
}

impl OutgoingAliases {
    pub(crate) fn new(maximum: u16) -> Self {
        Self { topics: vec![Vec::new(); maximum.into()], last: 0 }
    }

    /// What to do with a topic. A new alias counts once it is [`set`](Self::set).
    pub(crate) fn choose(&self, topic: &[u8]) -> AliasChoice {
        let is_at = |index: usize| self.topics.get(index).is_some_and(|known| known == topic);
        let index = if is_at(self.last) { self.last } else { self.place(topic) };
        let Some(alias) = u16::try_from(index + 1).ok().filter(|_| index < self.topics.len()) else {
            return AliasChoice::None;
        };
        if is_at(index) { AliasChoice::Known(alias) } else { AliasChoice::New(alias) }
    }

    /// Remembers that a packet with the topic and its alias has been queued.
    pub(crate) fn set(&mut self, alias: u16, topic: &[u8]) {
        let index = usize::from(alias).wrapping_sub(1);
        if let Some(slot) = self.topics.get_mut(index) {
            slot.clear();
            slot.extend_from_slice(topic);
            self.last = index;
        }
    }

    fn place(&self, topic: &[u8]) -> usize {
        /// An odd number with its bits well mixed: 2^64 divided by the golden ratio.
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut hash = topic.len() as u64;
        for chunk in topic.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            // Both halves of the product: the upper one has what each byte contributes.
            let product = u128::from(hash ^ u64::from_le_bytes(word)) * u128::from(MIX);
            hash = ((product >> 64) ^ (product & u128::from(u64::MAX))) as u64;
        }
        usize::try_from(hash & u64::from(u32::MAX))
            .unwrap_or_default()
            .checked_rem(self.topics.len())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_new_once_and_taken_over_by_another_topic() {
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(aliases.choose(b"a"), AliasChoice::New(1));
        assert_eq!(aliases.choose(b"a"), AliasChoice::New(1), "it was not sent");
        aliases.set(1, b"a");
        assert_eq!(aliases.choose(b"a"), AliasChoice::Known(1));
        assert_eq!(aliases.choose(b"b"), AliasChoice::New(1));
        aliases.set(1, b"b");
        assert_eq!(aliases.choose(b"a"), AliasChoice::New(1));
        assert_eq!(OutgoingAliases::new(0).choose(b"a"), AliasChoice::None);
    }

    #[test]
    fn topics_spread_over_the_places() {
        let aliases = OutgoingAliases::new(64);
        let places: std::collections::BTreeSet<usize> =
            (0..64).map(|number| aliases.place(format!("sensors/room-{number}").as_bytes())).collect();
        assert!(places.len() > 32, "{} places", places.len());
    }
}
