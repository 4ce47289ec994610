//! What the engine tells its caller.

use crate::packet::{
    Auth, ConnAck, Connect, Disconnect, PacketId, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};
use crate::property::Properties;
use crate::reason::ReasonCode;

/// What happened on a connection. A packet of the peer causes one event at most.
#[derive(Debug)]
pub enum Event {
    /// Server: a client asks to be let in. Answer with `accept`, `refuse` or, when it named an
    /// authentication method, `auth`; until then no further input is taken.
    Connect(Box<Connect>),
    /// Client: the server's answer. With an error reason the connection is over.
    Connected(Box<ConnAck>),
    /// A step of an extended authentication (4.12). Answer with `auth`; a server ends it with
    /// `accept` or `refuse` while connecting, with `auth` or `disconnect` later.
    Auth(Box<Auth>),
    /// The peer publishes. QoS 1 and 2 wait for `acknowledge`. A QoS 2 publication that was sent
    /// twice is told once.
    Publish(Publish),
    /// The peer released a QoS 2 publication that we took: its identifier is free again. Unless the
    /// configuration releases automatically, `complete` is due.
    Released { packet_id: PacketId },
    /// A publication of ours has ended: QoS 1 by PUBACK, QoS 2 by a PUBREC that refuses it.
    Acknowledged { packet_id: PacketId, token: u64, reason: ReasonCode, properties: Properties },
    /// The peer has taken a QoS 2 publication of ours (PUBREC): the message is no longer needed.
    /// Unless the configuration releases automatically, `release` is due.
    Received { packet_id: PacketId, token: u64, reason: ReasonCode },
    /// A QoS 2 publication of ours has ended by PUBCOMP.
    Completed { packet_id: PacketId, token: u64, reason: ReasonCode },
    /// Server: answer with `suback`.
    Subscribe(Box<Subscribe>),
    /// Client: the answer to a SUBSCRIBE, a reason for each filter.
    SubAck(Box<SubAck>),
    /// Server: answer with `unsuback`.
    Unsubscribe(Box<Unsubscribe>),
    /// Client: the answer to an UNSUBSCRIBE; 3.1.1 has no reasons.
    UnsubAck(Box<UnsubAck>),
    /// The peer ended the connection.
    Disconnected(Box<Disconnect>),
}
