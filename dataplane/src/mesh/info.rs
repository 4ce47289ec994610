//! What a node tells all others of itself, beside how it is connected.

use bytes::Bytes;
use mq_core::{OLDEST_WIRE_VERSION, WIRE_VERSION, WireError, common_version};
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
    /// The versions of messages between cores that it speaks.
    pub(crate) wire: WireVersions,
}

/// The oldest and the newest version of messages between cores that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireVersions(u16, u16);

impl Default for WireVersions {
    fn default() -> Self {
        Self(OLDEST_WIRE_VERSION, WIRE_VERSION)
    }
}

impl Info {
    /// Whether the node takes no new homes.
    pub(crate) fn is_cordoned(&self) -> bool {
        self.cordoned || self.draining || self.stopping
    }

    /// Whether there is a version of messages between cores that this node speaks, too.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn check_version(&self) -> Result<(), WireError> {
        common_version(self.wire.0, self.wire.1).map(drop)
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
        let listener = Listener {
            name: "amqp".into(),
            protocol: Protocol::Amqp,
            host: "10.0.0.1".into(),
            port: 5672,
            tls: Default::default(),
        };
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
    fn a_node_that_speaks_later_versions_alone_is_told_apart() {
        let speaks = |oldest, newest| {
            let text = format!(r#"{{"version":"9","wire":[{oldest},{newest}]}}"#);
            Info::decode(text.as_bytes()).check_version()
        };
        assert_eq!(info(1).check_version(), Ok(()));
        assert_eq!(speaks(OLDEST_WIRE_VERSION, WIRE_VERSION + 1), Ok(()));
        let error = speaks(WIRE_VERSION + 1, WIRE_VERSION + 2).unwrap_err().to_string();
        assert!(error.contains("upgrade one node at a time"), "{error}");
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        for text in [&b""[..], b"{", b"[]", b"\xff"] {
            assert_eq!(Info::decode(text), Info::default());
        }
        assert_eq!(Info::decode(br#"{"version":"9","more":[1]}"#).version, "9");
    }
}
