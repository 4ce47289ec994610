//! What of a session outlives its connections (4.1), as plain data.

use crate::packet::{PacketId, Qos};

/// The part of the session state that a connection knows: packet identifiers under way. Messages and
/// subscriptions are kept by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Publications of QoS 1 and 2 that we sent and whose end is not known, in the order they were
    /// first sent.
    pub outgoing: Vec<Unacknowledged>,
    /// QoS 2 publications that we have taken and that the peer has not released yet.
    pub incoming: Vec<PacketId>,
}

impl SessionState {
    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }
}

/// A publication that we sent and whose end is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    pub packet_id: PacketId,
    /// The caller's name of the publication.
    pub token: u64,
    pub state: OutgoingState,
}

/// How far a publication came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// The PUBLISH was sent; it has to be sent again (4.4).
    Published(Qos),
    /// QoS 2: the peer has the message (PUBREC), and nobody has said that it may be released: nothing is
    /// sent until then.
    Received,
    /// QoS 2: PUBREL has been sent, which alone may be sent again (4.3.3).
    Released,
}
