//! Every bound that the engine puts on a peer, in one place.

use std::time::Duration;

/// What a connection accepts from its peer. Each field has a test that crosses it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a packet that we accept, fixed header included (3.1.2.11.4). A larger one closes the
    /// connection with 0x95.
    pub max_packet_size: u32,
    /// Bytes of a packet before the client is let in: less memory for strangers.
    pub max_handshake_packet_size: u32,
    /// Publications of QoS 1 and 2 that the peer may have under way to us (3.1.2.11.3). One more
    /// closes a 5.0 connection with 0x93; a 3.1.1 peer, which cannot know, is not read on until the
    /// caller has acknowledged one. At least 1.
    pub receive_maximum: u16,
    /// Publications of QoS 1 and 2 that we have under way to the peer, whatever it allows: what the
    /// tables of a connection may grow to. At least 1.
    pub max_in_flight: u16,
    /// Topic aliases that the peer may set up (3.1.2.11.5).
    pub topic_alias_maximum: u16,
    /// Topic aliases that we set up, when the peer allows as many.
    pub max_outgoing_aliases: u16,
    /// Bytes of a topic name or a topic filter.
    pub max_topic_length: u16,
    /// Levels of a topic name or a topic filter.
    pub max_topic_levels: u16,
    /// Topic filters in a SUBSCRIBE or UNSUBSCRIBE.
    pub max_filters: u16,
    /// Properties in a list, user properties included.
    pub max_properties: u16,
    /// How long the handshake may take: for a server from accepting the socket to the CONNECT and the
    /// end of an authentication, for a client to the CONNACK.
    pub handshake_timeout: Duration,
    /// Client: how long the server may take to answer a PINGREQ.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_size: 1 << 20,
            max_handshake_packet_size: 1 << 16,
            receive_maximum: 1_024,
            max_in_flight: 1_024,
            topic_alias_maximum: 64,
            max_outgoing_aliases: 64,
            max_topic_length: u16::MAX,
            max_topic_levels: 256,
            max_filters: 1_024,
            max_properties: 1_024,
            handshake_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
        }
    }
}
