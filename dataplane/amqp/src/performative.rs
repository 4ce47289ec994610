//! The performatives of AMQP 1.0 (part 2.7), the SASL frames (part 5.3.3) and the terminus types
//! (part 3.5) as plain data. `codec` turns them into bytes and back; the engine gives them meaning.

use bytes::Bytes;

use crate::transaction::{TransactionId, TransactionalState};
use crate::value::{Symbol, Text, Value};

/// A delivery tag: at most 32 bytes (AMQP 2.8.7), kept inline so that a transfer allocates nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    length: u8,
    bytes: [u8; 32],
}

impl Tag {
    /// A tag from its bytes; `None` when there are more than 32.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut tag = Self { length: u8::try_from(bytes.len()).ok()?, bytes: [0; 32] };
        tag.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(tag)
    }

    /// The bytes of the tag.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl From<u64> for Tag {
    fn from(number: u64) -> Self {
        let mut tag = Self { length: 8, bytes: [0; 32] };
        tag.bytes[..8].copy_from_slice(&number.to_be_bytes());
        tag
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tag({})", self.as_bytes().escape_ascii())
    }
}

/// Which end of a link speaks (AMQP 2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// false on the wire.
    Sender,
    /// true on the wire.
    Receiver,
}

/// AMQP 2.8.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SenderSettleMode {
    Unsettled = 0,
    Settled = 1,
    #[default]
    Mixed = 2,
}

/// AMQP 2.8.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ReceiverSettleMode {
    #[default]
    First = 0,
    Second = 1,
}

/// AMQP 2.8.14.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub condition: Symbol,
    pub description: Option<Text>,
    /// The encoded `info` map, as it came.
    pub info: Option<Bytes>,
}

/// What becomes of a delivery (AMQP 3.4), with every field of every state.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    Received {
        section_number: u32,
        section_offset: u64,
    },
    Accepted,
    Rejected(Option<Box<Error>>),
    Released,
    Modified {
        delivery_failed: Option<bool>,
        undeliverable_here: Option<bool>,
        /// The encoded `message-annotations` map, as it came.
        annotations: Option<Bytes>,
    },
    /// A transaction has begun (AMQP 4.5.5). Boxed, as the next, to weigh nothing on the others.
    Declared(Box<TransactionId>),
    /// What holds once a transaction is discharged (AMQP 4.5.6).
    Transactional(Box<TransactionalState>),
    /// Any other described value, byte for byte, its constructor included.
    Other(Bytes),
}

impl DeliveryState {
    /// Whether the state is an outcome: nothing follows it but settlement (AMQP 3.4, 4.5.5).
    pub fn is_outcome(&self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Rejected(_) | Self::Released | Self::Modified { .. } | Self::Declared(_)
        )
    }
}

/// AMQP 2.7.1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    pub container_id: Text,
    pub hostname: Option<Text>,
    /// Absent on the wire means 4294967295.
    pub max_frame_size: Option<u32>,
    /// Absent on the wire means 65535.
    pub channel_max: Option<u16>,
    /// Milliseconds.
    pub idle_time_out: Option<u32>,
    pub outgoing_locales: Vec<Symbol>,
    pub incoming_locales: Vec<Symbol>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

/// AMQP 2.7.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    pub remote_channel: Option<u16>,
    pub next_outgoing_id: u32,
    pub incoming_window: u32,
    pub outgoing_window: u32,
    /// Absent on the wire means 4294967295.
    pub handle_max: Option<u32>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

/// AMQP 2.7.3.
#[derive(Clone, Debug, PartialEq)]
pub struct Attach {
    pub name: Text,
    pub handle: u32,
    pub role: Role,
    pub snd_settle_mode: SenderSettleMode,
    pub rcv_settle_mode: ReceiverSettleMode,
    pub source: Option<Box<Source>>,
    pub target: Option<Box<Target>>,
    /// Delivery tag to delivery state.
    pub unsettled: Vec<(Tag, Option<DeliveryState>)>,
    pub incomplete_unsettled: bool,
    pub initial_delivery_count: Option<u32>,
    /// Bytes; absent or 0 means no limit.
    pub max_message_size: Option<u64>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
}

/// AMQP 2.7.4.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    pub next_incoming_id: Option<u32>,
    pub incoming_window: u32,
    pub next_outgoing_id: u32,
    pub outgoing_window: u32,
    pub handle: Option<u32>,
    pub delivery_count: Option<u32>,
    pub link_credit: Option<u32>,
    pub available: Option<u32>,
    pub drain: bool,
    pub echo: bool,
    pub properties: Vec<(Value, Value)>,
}

/// AMQP 2.7.5. The payload follows the performative in the frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    pub handle: u32,
    pub delivery_id: Option<u32>,
    pub delivery_tag: Option<Tag>,
    pub message_format: Option<u32>,
    pub settled: Option<bool>,
    pub more: bool,
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    pub state: Option<DeliveryState>,
    pub resume: bool,
    pub aborted: bool,
    pub batchable: bool,
}

/// AMQP 2.7.6.
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    pub role: Role,
    pub first: u32,
    /// Absent means `first`.
    pub last: Option<u32>,
    pub settled: bool,
    pub state: Option<DeliveryState>,
    pub batchable: bool,
}

/// AMQP 2.7.7.
#[derive(Clone, Debug, PartialEq)]
pub struct Detach {
    pub handle: u32,
    pub closed: bool,
    pub error: Option<Box<Error>>,
}

/// AMQP 2.7.8.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    pub error: Option<Box<Error>>,
}

/// AMQP 2.7.9.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Close {
    pub error: Option<Box<Error>>,
}

/// The body of an AMQP frame (frame type 0).
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    Open(Box<Open>),
    Begin(Box<Begin>),
    Attach(Box<Attach>),
    Flow(Flow),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(End),
    Close(Close),
}

/// The body of a SASL frame (frame type 1, AMQP 5.3.3).
#[derive(Clone, Debug, PartialEq)]
pub enum SaslFrame {
    Mechanisms(Vec<Symbol>),
    Init { mechanism: Symbol, initial_response: Option<Bytes>, hostname: Option<Text> },
    Challenge(Bytes),
    Response(Bytes),
    Outcome { code: SaslCode, additional_data: Option<Bytes> },
}

/// AMQP 5.3.3.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SaslCode {
    Ok = 0,
    /// The peer did not authenticate.
    Auth = 1,
    /// A system error.
    Sys = 2,
    /// A permanent system error.
    SysPerm = 3,
    /// A transient system error.
    SysTemp = 4,
}

/// AMQP 3.5.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TerminusDurability {
    #[default]
    None = 0,
    Configuration = 1,
    UnsettledState = 2,
}

/// AMQP 3.5.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TerminusExpiryPolicy {
    LinkDetach,
    #[default]
    SessionEnd,
    ConnectionClose,
    Never,
}

/// AMQP 3.5.3.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    pub address: Option<Text>,
    pub durable: TerminusDurability,
    pub expiry_policy: TerminusExpiryPolicy,
    /// Seconds.
    pub timeout: u32,
    pub dynamic: bool,
    pub dynamic_node_properties: Vec<(Value, Value)>,
    pub distribution_mode: Option<Symbol>,
    pub filter: Vec<(Symbol, Value)>,
    /// The encoded outcome, as it came.
    pub default_outcome: Option<DeliveryState>,
    pub outcomes: Vec<Symbol>,
    pub capabilities: Vec<Symbol>,
}

/// AMQP 3.5.4, or the coordinator of transactions (AMQP 4.5.1) in its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Node(NodeTarget),
    Coordinator { capabilities: Vec<Symbol> },
}

/// AMQP 3.5.4.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeTarget {
    pub address: Option<Text>,
    pub durable: TerminusDurability,
    pub expiry_policy: TerminusExpiryPolicy,
    /// Seconds.
    pub timeout: u32,
    pub dynamic: bool,
    pub dynamic_node_properties: Vec<(Value, Value)>,
    pub capabilities: Vec<Symbol>,
}
