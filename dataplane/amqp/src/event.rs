//! What the engine tells its caller, and the keys that both use for sessions, links and deliveries.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::performative::{Attach, DeliveryState, Error, Open, Role, SaslCode, Tag};
use crate::transaction::TransactionId;
use crate::value::{Symbol, Text};
use crate::window::DeliveryId;

/// Where a connection puts its events: owned by the caller and shared by its connections, so that
/// an idle connection holds no queue.
pub type Events = VecDeque<Event>;

/// The token of a session, link or delivery that the caller has not named yet.
pub const NO_TOKEN: u64 = u64::MAX;

/// A session of a connection. The generation tells a new session from an old one on its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub(crate) channel: u16,
    pub(crate) generation: u16,
}

impl SessionKey {
    /// The channel that we send on.
    pub fn channel(self) -> u16 {
        self.channel
    }
}

/// A link of a session. The generation tells a new link from an old one on its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkKey {
    pub(crate) session: SessionKey,
    pub(crate) handle: u16,
    pub(crate) generation: u32,
}

/// A delivery of a session, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub(crate) session: SessionKey,
    pub(crate) id: DeliveryId,
}

impl DeliveryKey {
    /// The session of the delivery.
    pub fn session(self) -> SessionKey {
        self.session
    }

    /// The key as a number, to be kept by a layer that knows nothing of AMQP.
    pub fn to_bits(self) -> u64 {
        u64::from(self.session.channel) << 48
            | u64::from(self.session.generation) << 32
            | u64::from(self.id.0)
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    #[allow(clippy::cast_possible_truncation, reason = "takes the fields apart")]
    pub fn from_bits(bits: u64) -> Self {
        let session = SessionKey { channel: (bits >> 48) as u16, generation: (bits >> 32) as u16 };
        Self { session, id: DeliveryId(bits as u32) }
    }
}

/// One frame of an incoming delivery.
#[derive(Debug)]
pub struct IncomingTransfer {
    pub link: LinkKey,
    /// The caller's name of the link.
    pub token: u64,
    pub delivery: DeliveryKey,
    /// The caller's name of the delivery; [`NO_TOKEN`] on its first frame.
    pub delivery_token: u64,
    /// The first frame of the delivery.
    pub first: bool,
    /// Further frames follow.
    pub more: bool,
    /// The sender settled it (or will not wait): nobody has to answer.
    pub settled: bool,
    /// The sender gave the delivery up: what came of it is void, it is settled.
    pub aborted: bool,
    pub tag: Tag,
    pub message_format: u32,
    pub state: Option<DeliveryState>,
    /// The payload of the frame, as the slice it arrived in.
    pub payload: Bytes,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// Client: what the server offers; answer with `sasl_init`.
    SaslMechanisms(Vec<Symbol>),
    /// Server: what the client chose; answer with `sasl_challenge` or `sasl_outcome`.
    SaslInit { mechanism: Symbol, response: Option<Bytes>, hostname: Option<Text> },
    /// Client: answer with `sasl_response`.
    SaslChallenge(Bytes),
    /// Server: answer with `sasl_challenge` or `sasl_outcome`.
    SaslResponse(Bytes),
    /// Client: whether the server let us in, and what the mechanism has to say along with it.
    SaslOutcome { code: SaslCode, additional_data: Option<Bytes> },
    /// The peer's open. A server answers with `open` or `close`; until then no further input is
    /// taken.
    Opened(Box<Open>),
    /// A session is mapped both ways; a begin of the peer has been answered.
    SessionBegun { session: SessionKey },
    /// The session is gone, with every link it had.
    SessionEnded { session: SessionKey, token: u64, error: Option<Box<Error>>, links: Vec<(Role, u64)> },
    /// The peer's attach. When the link is not ours, answer with `accept` or `refuse`; when the answer has
    /// to wait, `name_link` first. What the peer says of the link meanwhile is told as always.
    LinkAttached { link: LinkKey, attach: Box<Attach> },
    /// The peer has sent a message that is larger than the link takes, this many bytes; the link's end comes next.
    MessageTooLarge { link: LinkKey, token: u64, limit: u64 },
    /// The peer detached; the detach has been answered, the link is gone. `role` is ours.
    LinkDetached { link: LinkKey, role: Role, token: u64, closed: bool, error: Option<Box<Error>> },
    /// A link that we send on has this credit now. What is sent for it until the next flow is acquired in
    /// `transaction` (AMQP 4.4.3): answer with `send_in_transaction`.
    LinkFlow { link: LinkKey, token: u64, credit: u32, drain: bool, transaction: Option<Box<TransactionId>> },
    /// The peer has used or given back all credit of a link that we drain.
    LinkDrained { link: LinkKey, token: u64 },
    /// A frame of a delivery.
    Transfer(IncomingTransfer),
    /// The peer tells the state of one unsettled delivery. `role` is ours: `Sender` when the
    /// delivery went out.
    Disposition {
        role: Role,
        delivery: DeliveryKey,
        delivery_token: u64,
        state: Option<DeliveryState>,
        settled: bool,
    },
    /// The peer closed the connection; the close has been answered.
    Closed { error: Option<Box<Error>> },
}
