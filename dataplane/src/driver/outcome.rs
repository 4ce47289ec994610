//! Outcomes between AMQP's delivery states and the core: nothing is lost either way.

use bytes::BytesMut;
use mq_amqp::codec::encode_state;
use mq_amqp::performative::{DeliveryState, Error};
use mq_amqp::value::{Symbol, Text};
use mq_core::{ErrorInfo, Outcome};

/// What a peer said, for the core.
pub(super) fn from_state(state: DeliveryState) -> Outcome {
    match state {
        DeliveryState::Accepted => Outcome::Accepted,
        DeliveryState::Released => Outcome::Released,
        DeliveryState::Received { section_number, section_offset } => {
            Outcome::Received { section_number, section_offset }
        }
        DeliveryState::Rejected(error) => Outcome::Rejected(error.map(|error| {
            Box::new(ErrorInfo {
                condition: error.condition.as_str().to_owned().into(),
                description: error.description.map(|text| text.as_str().to_owned().into()),
                info: error.info,
            })
        })),
        DeliveryState::Modified { delivery_failed, undeliverable_here, annotations } => Outcome::Modified {
            // AMQP 3.4.5: absent means false.
            delivery_failed: delivery_failed.unwrap_or(false),
            undeliverable_here: undeliverable_here.unwrap_or(false),
            annotations,
        },
        DeliveryState::Other(bytes) => Outcome::Other(bytes),
        // Of a transaction that is not ours: for whoever coordinates it.
        state @ (DeliveryState::Declared(_) | DeliveryState::Transactional(_)) => {
            let mut bytes = BytesMut::new();
            encode_state(&mut bytes, &state);
            Outcome::Other(bytes.freeze())
        }
    }
}

/// What the core says, for a peer.
pub(super) fn to_state(outcome: Outcome) -> DeliveryState {
    match outcome {
        Outcome::Accepted => DeliveryState::Accepted,
        Outcome::Released => DeliveryState::Released,
        Outcome::Received { section_number, section_offset } => {
            DeliveryState::Received { section_number, section_offset }
        }
        Outcome::Rejected(error) => DeliveryState::Rejected(error.map(|error| {
            Box::new(Error {
                condition: Symbol::from(&*error.condition),
                description: error.description.as_deref().map(Text::from),
                info: error.info,
            })
        })),
        Outcome::Modified { delivery_failed, undeliverable_here, annotations } => DeliveryState::Modified {
            delivery_failed: Some(delivery_failed),
            undeliverable_here: Some(undeliverable_here),
            annotations,
        },
        Outcome::Other(bytes) => DeliveryState::Other(bytes),
    }
}
