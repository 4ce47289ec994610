//! Why bytes are not what they should be.

use crate::value::Symbol;

/// Bytes that are not the value they should be. `offset` counts bytes from the start of what was given
/// to the decoder: the body of the frame, or the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("{what} ends too early: {missing} more bytes are needed at byte {offset}")]
    Truncated { what: &'static str, missing: usize, offset: usize },
    #[error("{what} has {count} bytes left over at byte {offset}")]
    LeftOver { what: &'static str, count: usize, offset: usize },
    #[error("{what} begins with {code:#04x} at byte {offset}, which is no constructor of AMQP 1.0")]
    UnknownConstructor { what: &'static str, code: u8, offset: usize },
    #[error("{what} has a value of the wrong type (constructor {code:#04x}) at byte {offset}")]
    WrongType { what: &'static str, code: u8, offset: usize },
    #[error("{what} has an unknown descriptor at byte {offset}")]
    UnknownDescriptor { what: &'static str, offset: usize },
    #[error("{what} is mandatory but absent at byte {offset}")]
    Missing { what: &'static str, offset: usize },
    #[error("{what} has {count} fields at byte {offset}, but only {limit} are defined")]
    TooManyFields { what: &'static str, count: u32, limit: u32, offset: usize },
    #[error("{what} has {count} elements at byte {offset}, more than the limit of {limit}")]
    TooMany { what: &'static str, count: u32, limit: u32, offset: usize },
    #[error("{what} is nested deeper than {limit} levels at byte {offset}")]
    TooDeep { what: &'static str, limit: u32, offset: usize },
    #[error("{what} is a map of {count} items at byte {offset}, which do not pair up")]
    OddMap { what: &'static str, count: u32, offset: usize },
    #[error("{what} has a value outside its range at byte {offset}")]
    OutOfRange { what: &'static str, offset: usize },
    #[error("{what} is not valid UTF-8 (or, in a symbol, not ASCII) at byte {offset}")]
    NotText { what: &'static str, offset: usize },
    #[error("{what} stands at byte {offset} after a section that must follow it")]
    SectionOrder { what: &'static str, offset: usize },
}

impl DecodeError {
    /// Whether the same bytes with more behind them might be well-formed.
    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }

    /// The condition to close with (AMQP 2.8.15): the field's own where the bytes could be read but mean
    /// nothing allowed.
    pub fn condition(&self) -> Symbol {
        Symbol::from_static(match self {
            Self::Missing { .. } | Self::OutOfRange { .. } => "amqp:invalid-field",
            Self::TooMany { .. } | Self::TooDeep { .. } => "amqp:resource-limit-exceeded",
            _ => "amqp:decode-error",
        })
    }
}

/// A decode error on its way out. Boxed, so that the results of the many small steps of decoding travel in
/// registers; only bad input pays for the box.
pub(crate) type Fault = Box<DecodeError>;

#[cold]
pub(crate) fn fault(error: DecodeError) -> Fault {
    Box::new(error)
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        *fault
    }
}
