//! Local transactions (AMQP part 4): ids, the states that carry them, and what is said on a control link.
//!
//! The engine carries all of it and gives it no meaning: a peer attaches a control link to
//! [`Target::Coordinator`](crate::performative::Target::Coordinator) and sends [`ControlMessage`]s there;
//! [`DeliveryState::Declared`] answers a declare. [`DeliveryState::Transactional`] on a transfer makes it a
//! part of a transaction, and on a disposition the outcome in it.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::codec::constructor::{self, descriptor};
use crate::codec::encode::{self, Fields as FieldWriter};
use crate::codec::reader::{DEPTH_MAX, Fields, Reader};
use crate::codec::{DecodeError, Fault, fault};
use crate::message::{BodyKind, MessageIndex};
use crate::performative::{DeliveryState, Tag};

/// What a coordinator, and the other end of a control link, can do (AMQP 4.5.7).
pub mod capability {
    /// Transactions that one resource coordinates.
    pub const LOCAL: &str = "amqp:local-transactions";
    pub const DISTRIBUTED: &str = "amqp:distributed-transactions";
    pub const PROMOTABLE: &str = "amqp:promotable-transactions";
    /// Several transactions at a time in one session.
    pub const MULTIPLE_PER_SESSION: &str = "amqp:multi-txns-per-ssn";
    /// One transaction in several sessions.
    pub const MULTIPLE_SESSIONS: &str = "amqp:multi-ssns-per-txn";
}

/// The name of a transaction: at most 32 bytes (AMQP 4.5.4), chosen by the coordinator.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Tag);

impl TransactionId {
    /// An id from its bytes; `None` when there are more than 32.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Tag::new(bytes).map(Self)
    }

    /// The bytes of the id.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The number that the id was made from; `None` when it is not of eight bytes.
    pub fn number(&self) -> Option<u64> {
        self.as_bytes().try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn read(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Self, Fault> {
        let bytes = reader.binary(code, what)?;
        Self::new(bytes).ok_or_else(|| reader.out_of_range(what))
    }

    pub(crate) fn write(out: &mut BytesMut, id: &Self) {
        encode::write_binary(out, id.as_bytes());
    }
}

impl From<u64> for TransactionId {
    fn from(number: u64) -> Self {
        Self(Tag::from(number))
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({})", self.as_bytes().escape_ascii())
    }
}

/// A state that holds once the transaction is discharged (AMQP 4.5.6).
#[derive(Clone, Debug, PartialEq)]
pub struct TransactionalState {
    pub transaction: TransactionId,
    /// On a disposition, what becomes of the delivery. Never transactional itself.
    pub outcome: Option<DeliveryState>,
}

/// What a controller says to a coordinator: the body of a message on a control link (AMQP 4.2, 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// Begin a transaction; accepted with [`DeliveryState::Declared`] (AMQP 4.5.2).
    Declare {
        /// The encoded id of a distributed transaction, as it came.
        global: Option<Bytes>,
    },
    /// End one: roll back when `fail`, else commit (AMQP 4.5.3).
    Discharge { transaction: TransactionId, fail: bool },
}

impl ControlMessage {
    /// The largest that a coordinator needs to take, in bytes: a discharge with room for annotations.
    pub const SIZE_MAX: u64 = 4_096;

    /// Decodes a whole message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a message whose body is the value of a declare or of a discharge.
    pub fn decode(message: &Bytes) -> Result<Self, DecodeError> {
        let what = "control message";
        let index = MessageIndex::parse(message)?;
        let missing = DecodeError::Missing { what: "amqp-value of the control message", offset: 0 };
        let body = index.body.filter(|body| body.kind == BodyKind::Value).ok_or(missing)?;
        let section = message.slice(body.range);
        let mut reader = Reader::new(&section);
        // The index has read the section's descriptor: a described value stands behind it.
        reader.byte(what)?;
        reader.descriptor(what)?;
        let control = Self::read(&mut reader, what)?;
        reader.finish(what)?;
        Ok(control)
    }

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Result<Self, Fault> {
        let offset = reader.offset();
        match reader.byte(what)? {
            constructor::DESCRIBED => {}
            code => return Err(reader.unexpected(code, what)),
        }
        let kind = reader.descriptor(what)?;
        let (message, fields) = match kind {
            descriptor::DECLARE => {
                let mut fields = Fields::open(reader, 1, "declare")?;
                (Self::Declare { global: fields.whole("declare.global-id", raw_value)? }, fields)
            }
            descriptor::DISCHARGE => {
                let mut fields = Fields::open(reader, 2, "discharge")?;
                let transaction = fields.mandatory("discharge.txn-id", TransactionId::read)?;
                let fail = fields.flag("discharge.fail")?;
                (Self::Discharge { transaction, fail }, fields)
            }
            _ => return Err(fault(DecodeError::UnknownDescriptor { what, offset })),
        };
        fields.finish(what)?;
        Ok(message)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut BytesMut) {
        encode::write_descriptor(out, descriptor::VALUE);
        match self {
            Self::Declare { global } => {
                let mut fields = FieldWriter::begin(out, descriptor::DECLARE);
                fields.optional(global.as_ref(), encode::write_raw);
                fields.finish();
            }
            Self::Discharge { transaction, fail } => {
                let mut fields = FieldWriter::begin(out, descriptor::DISCHARGE);
                fields.mandatory(transaction, TransactionId::write);
                // Written out when false too: peers differ in what they take an absent one for.
                fields.mandatory(*fail, encode::write_boolean);
                fields.finish();
            }
        }
    }

    /// The message as bytes of its own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Reads a value or null and keeps the bytes of the value, checked to be well-formed.
fn raw_value(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<Bytes>, Fault> {
    let start = *reader;
    if reader.byte(what)? == constructor::NULL {
        return Ok(None);
    }
    *reader = start;
    reader.check_value(DEPTH_MAX, what)?;
    Ok(Some(reader.since(&start)))
}
