//! Lists that are answered in parts.

use serde::{Deserialize, Deserializer, de};

/// Objects of a part at most.
pub(super) const MAX_LIMIT: usize = 1_000;

/// Objects of a part when the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// How many objects a part may have: 1 to [`MAX_LIMIT`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| de::Error::custom(format!("limit is not 1 to {MAX_LIMIT}")))
    }
}

/// Where a list that goes through several topics goes on: the topic, and the name behind which.
///
/// As text it is the topic's length, a colon, the topic and the name: nothing that either may contain can
/// be mistaken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    pub(super) topic: String,
    pub(super) after: Option<String>,
}

impl Continuation {
    pub(super) fn encode(&self) -> String {
        let Self { topic, after } = self;
        format!("{}:{topic}{}", topic.len(), after.as_deref().unwrap_or_default())
    }

    /// `None` for what [`encode`](Self::encode) has not written.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let (length, rest) = text.split_once(':')?;
        let (topic, after) = rest.split_at_checked(length.parse().ok()?)?;
        let after = (!after.is_empty()).then(|| after.to_owned());
        Some(Self { topic: topic.to_owned(), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_where_it_was_left() {
        for (topic, after) in [("#", Some("sensors/küche")), ("a:1", None), ("t", Some("3:x")), ("", None)] {
            let continuation = Continuation { topic: topic.into(), after: after.map(Into::into) };
            assert_eq!(Continuation::decode(&continuation.encode()), Some(continuation));
        }
        for text in ["", "x", "9:abc", "1:ü", ":a", "-1:a"] {
            assert_eq!(Continuation::decode(text), None, "{text}");
        }
    }
}
