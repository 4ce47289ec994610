//! Every bound that the engine puts on a peer, in one place.

use std::time::Duration;

/// What a connection accepts from its peer. Each field has a test that crosses it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a frame that we accept, header included (AMQP 2.3.1). At least 512.
    pub max_frame_size: u32,
    /// Bytes of a frame before the peer is authenticated. SASL frames may exceed the 512 bytes of
    /// AMQP 5.3.2, because bearer tokens do.
    pub max_handshake_frame_size: u32,
    /// The highest channel number that the peer may use: sessions minus one.
    pub channel_max: u16,
    /// The highest handle that the peer may use in a session: links minus one.
    pub handle_max: u32,
    /// Transfer frames that a session takes in before somebody consumes one (AMQP 2.5.6).
    pub incoming_window: u32,
    /// Unsettled deliveries that the peer may have under way to us in a session; one more ends the
    /// session. What we send is bounded by who sends it.
    pub max_unsettled: u32,
    /// Bytes of a link name or an address.
    pub max_name_length: usize,
    /// The shortest idle timeout of the peer that we serve; a shorter one closes the connection
    /// (AMQP 2.4.5).
    pub min_remote_idle_timeout: Duration,
    /// How long the peer may take from connecting to its open.
    pub handshake_timeout: Duration,
    /// How long we wait for the peer's close after ours.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_size: 16_384,
            max_handshake_frame_size: 8_192,
            channel_max: 255,
            handle_max: 1_023,
            incoming_window: 1_024,
            max_unsettled: 65_536,
            max_name_length: 1_024,
            min_remote_idle_timeout: Duration::from_millis(100),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
        }
    }
}
