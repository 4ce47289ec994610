//! What carries the packets of MQTT: a bare socket, or WebSocket over one.

/// How the bytes of the packets are carried.
#[derive(Debug, Default)]
pub(super) enum Transport {
    /// The socket carries the packets themselves.
    #[default]
    Plain,
}
