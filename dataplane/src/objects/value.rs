//! What an address is, in the words in which nodes tell each other: the value of its replicated object.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mq_mesh::NodeId;
use mq_mesh::replica::{Kind, Version};
use mq_model::manifest::AddressSpec;
use serde::{Deserialize, Serialize};

/// The kind of objects that are addresses.
pub(crate) const ADDRESS: Kind = Kind(1);

/// The value of an address.
///
/// Nodes of another version may have added fields: those are left alone, since values are spread as the
/// bytes that they came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) spec: AddressSpec,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// The node that keeps what the address holds, if it holds anything and is not a subscription, which has
    /// its topic's. A node that is alone leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) home: Option<Arc<str>>,
    /// The node that was the home before, for as long as it has something left to pass on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moving_from: Option<Arc<str>>,
    /// The change with which the address began, or began anew: what it holds belongs to that.
    #[serde(with = "version")]
    pub(crate) birth: Version,
    /// Whoever made it knew that what was born up to this clock had ended. What two nodes have created
    /// without knowing of each other is one address, whichever of the two remains.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) ends: u64,
    /// The user of its space who has declared it, towards whose limit it counts; `None`: nobody who is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_by: Option<Arc<str>>,
}

impl Value {
    /// # Errors
    /// When a part of it cannot be written as JSON.
    pub(crate) fn encode(&self) -> Result<Bytes, String> {
        serde_json::to_vec(self).map(Into::into).map_err(|error| error.to_string())
    }

    /// # Errors
    /// When it is not the value of an address, as far as this version knows.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Whether what the address held that was born then is still its own.
    pub(crate) fn continues(&self, birth: Version) -> bool {
        continues(self.birth, self.ends, birth)
    }
}

/// Whether what was born then is still held by an address with this birth, which ends others up to a clock.
pub(crate) fn continues(birth: Version, ends: u64, before: Version) -> bool {
    birth == before || ends < before.clock
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A version as two numbers.
mod version {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::{NodeId, Version};

    pub(super) fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
        (version.clock, version.origin.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        let (clock, origin) = <(u64, u64)>::deserialize(deserializer)?;
        Ok(Version { clock, origin: NodeId(origin) })
    }
}
