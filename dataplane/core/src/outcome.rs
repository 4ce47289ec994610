//! What became of a delivery. Outcomes pass through the core as they are; only multicast compares
//! them, to report the worst.

use std::borrow::Cow;

use bytes::Bytes;

/// The state that one end of a delivery reports to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Progress of a large message; not terminal (AMQP 3.4.1).
    Received { section_number: u32, section_offset: u64 },
    /// Processed (AMQP 3.4.2).
    Accepted,
    /// Invalid and unprocessable, with a reason (AMQP 3.4.3).
    Rejected(Option<Box<ErrorInfo>>),
    /// Not processed, and as if it had never been sent (AMQP 3.4.4).
    Released,
    /// Not processed, and perhaps changed by the attempt (AMQP 3.4.5). The annotations are an
    /// encoded map that the core does not read.
    Modified { delivery_failed: bool, undeliverable_here: bool, annotations: Option<Bytes> },
    /// A state the core does not know, in its encoding.
    Other(Bytes),
}

/// Why a delivery was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorInfo {
    /// A symbolic name such as `amqp:not-found`.
    pub condition: Cow<'static, str>,
    /// A sentence for a person.
    pub description: Option<Cow<'static, str>>,
    /// An encoded map that the core does not read.
    pub info: Option<Bytes>,
}

impl Outcome {
    /// What a delivery becomes whose consumer left before settling it.
    pub const FAILED: Self =
        Self::Modified { delivery_failed: true, undeliverable_here: false, annotations: None };

    /// A rejection by the core itself.
    pub fn rejected(condition: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        let description = Some(description.into());
        Self::Rejected(Some(Box::new(ErrorInfo { condition: condition.into(), description, info: None })))
    }

    /// Whether the state ends the processing of the delivery. A state that the core does not know
    /// does not: it ends the delivery only by settling it.
    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Received { .. } | Self::Other(_))
    }

    /// How bad the outcome is, to find the worst of several: rejected, modified, released, accepted.
    /// States that are unknown count as accepted when they settle a delivery.
    fn badness(&self) -> u8 {
        match self {
            Self::Rejected(_) => 3,
            Self::Modified { .. } => 2,
            Self::Released => 1,
            Self::Accepted | Self::Received { .. } | Self::Other(_) => 0,
        }
    }

    /// The worse of the two; the first of them when they are equally bad, so that the error of the
    /// first rejection is kept.
    pub(crate) fn worst(first: Option<Self>, second: Self) -> Self {
        match first {
            Some(first) if first.badness() >= second.badness() => first,
            _ => second,
        }
    }
}
