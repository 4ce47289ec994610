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

/// The aliases that we set up. A topic looks for one in a few places, chosen by its hash, so that
/// finding it costs the same however many there are; nothing is allocated once the places have held a
/// topic.
#[derive(Debug)]
pub(crate) struct OutgoingAliases {
    /// The place of alias `index + 1`.
    places: Vec<Place>,
    last: usize,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// Empty when there is none.
    topic: Vec<u8>,
    /// Other topics that are turned away before one takes the place over.
    patience: u8,
}

/// Places that a topic may have.
const CHOICES: usize = 4;

/// With more topics than aliases, setting one up (its topic is sent, copied and kept by the peer) has
/// to be the exception.
const PATIENCE: u8 = 16;

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
        Self { places: vec![Place::default(); maximum.into()], last: 0 }
    }

    /// What to do with a topic. A new alias counts once it is [`set`](Self::set).
    pub(crate) fn choose(&mut self, topic: &[u8]) -> AliasChoice {
        if self.places.get(self.last).is_some_and(|place| place.topic == topic) {
            return self.known(self.last);
        }
        let first = self.first_place(topic);
        let mut free = None;
        for index in (0..CHOICES).filter_map(|step| (first + step).checked_rem(self.places.len())) {
            match self.places.get(index) {
                Some(place) if place.topic == topic => return self.known(index),
                Some(place) if place.topic.is_empty() => free = free.or(Some(index)),
                _ => {}
            }
        }
        if let Some(free) = free {
            return AliasChoice::New(alias(free));
        }
        match self.places.get_mut(first) {
            Some(place) if place.patience == 0 => AliasChoice::New(alias(first)),
            Some(place) => {
                place.patience -= 1;
                AliasChoice::None
            }
            None => AliasChoice::None,
        }
    }

    fn known(&mut self, index: usize) -> AliasChoice {
        if let Some(place) = self.places.get_mut(index) {
            place.patience = PATIENCE;
        }
        self.last = index;
        AliasChoice::Known(alias(index))
    }

    /// Remembers that a packet with the topic and its alias has been queued.
    pub(crate) fn set(&mut self, alias: u16, topic: &[u8]) {
        let index = usize::from(alias).wrapping_sub(1);
        if let Some(place) = self.places.get_mut(index) {
            place.topic.clear();
            place.topic.extend_from_slice(topic);
            place.patience = PATIENCE;
            self.last = index;
        }
    }

    fn first_place(&self, topic: &[u8]) -> usize {
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
            hash = u64::try_from((product >> 64) ^ (product & u128::from(u64::MAX))).unwrap_or_default();
        }
        usize::try_from(hash & u64::from(u32::MAX))
            .unwrap_or_default()
            .checked_rem(self.places.len())
            .unwrap_or_default()
    }
}

/// The alias of a place; there are no more places than aliases.
fn alias(index: usize) -> u16 {
    u16::try_from(index + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_new_once_and_taken_over_by_a_topic_that_insists() {
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(aliases.choose(b"a"), AliasChoice::New(1));
        assert_eq!(aliases.choose(b"a"), AliasChoice::New(1), "it was not sent");
        aliases.set(1, b"a");
        assert_eq!(aliases.choose(b"a"), AliasChoice::Known(1));
        for _ in 0..PATIENCE {
            assert_eq!(aliases.choose(b"b"), AliasChoice::None);
        }
        assert_eq!(aliases.choose(b"b"), AliasChoice::New(1));
        aliases.set(1, b"b");
        assert_eq!(aliases.choose(b"a"), AliasChoice::None);
        assert_eq!(aliases.choose(b"b"), AliasChoice::Known(1));
        assert_eq!(OutgoingAliases::new(0).choose(b"a"), AliasChoice::None);
    }

    #[test]
    fn half_as_many_topics_as_places_have_an_alias_each() {
        let mut aliases = OutgoingAliases::new(64);
        let topics: Vec<String> = (0..32).map(|number| format!("sensors/room-{number}")).collect();
        for topic in &topics {
            if let AliasChoice::New(alias) = aliases.choose(topic.as_bytes()) {
                aliases.set(alias, topic.as_bytes());
            }
        }
        let is_known = |topic: &&String| matches!(aliases.choose(topic.as_bytes()), AliasChoice::Known(_));
        let known = topics.iter().filter(is_known).count();
        assert!(known >= 30, "{known} topics");
    }
}
