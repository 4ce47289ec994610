//! What a node tells all others of itself, beside how it is connected.

use bytes::Bytes;
use mq_mesh::router::MAX_INFO;
use mq_model::admin::Listener;
use serde::{Deserialize, Serialize};

/// What a node tells of itself. Other versions may know more fields, or fewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Info {
    pub(crate) version: String,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) cordoned: bool,
    pub(crate) draining: bool,
    /// The process is about to end.
    pub(crate) stopping: bool,
}

impl Info {
    /// Whether the node takes no new homes.
    pub(crate) fn is_cordoned(&self) -> bool {
        self.cordoned || self.draining || self.stopping
    }

    /// As it travels; without its listeners where it would be too long.
    pub(crate) fn encode(&self) -> Bytes {
        let text = |info: &Self| serde_json::to_vec(info).unwrap_or_default();
        let whole = text(self);
        if whole.len() <= MAX_INFO {
            return whole.into();
        }
        text(&Self { listeners: Vec::new(), ..self.clone() }).into()
    }

    /// What a node has told; nothing where it cannot be understood.
    pub(crate) fn decode(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use mq_model::admin::Protocol;

    use super::*;

    fn info(listeners: usize) -> Info {
        let listener =
            Listener { name: "amqp".into(), protocol: Protocol::Amqp, host: "10.0.0.1".into(), port: 5672 };
        Info {
            version: "1.2.3".into(),
            listeners: vec![listener; listeners],
            draining: true,
            ..Info::default()
        }
    }

    #[test]
    fn what_a_node_tells_arrives() {
        assert_eq!(Info::decode(&info(3).encode()), info(3));
        assert!(info(3).is_cordoned());
    }

    #[test]
    fn what_is_too_long_goes_without_its_listeners() {
        let encoded = info(1_000).encode();
        assert!(encoded.len() <= MAX_INFO);
        assert_eq!(Info::decode(&encoded), info(0));
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        for text in [&b""[..], b"{", b"[]", b"\xff"] {
            assert_eq!(Info::decode(text), Info::default());
        }
        assert_eq!(Info::decode(br#"{"version":"9","more":[1]}"#).version, "9");
    }
}
