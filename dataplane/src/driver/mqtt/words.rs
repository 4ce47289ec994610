//! What refusals say in words (MQTT 5.0, 2.2.2.2): what happened, and what to do about it.

use mq_mqtt::ReasonCode;
use mq_mqtt::property::{Properties, PropertyIn, PropertyWriter};

/// The properties of a packet that refuses: its reason string. Empty where there is nothing to explain. The
/// engine leaves them out for clients that do not want them, and where they do not fit.
pub(super) fn explained(place: PropertyIn, reason: ReasonCode) -> Properties {
    let Some(words) = words(place, reason).filter(|_| reason.is_error()) else {
        return Properties::default();
    };
    in_words(place, words)
}

/// The same with other words.
pub(super) fn in_words(place: PropertyIn, words: &str) -> Properties {
    let mut writer = PropertyWriter::new(place);
    // It may stand in every packet that has a reason.
    let _ = writer.reason_string(words);
    writer.finish()
}

fn words(place: PropertyIn, reason: ReasonCode) -> Option<&'static str> {
    Some(match (place, reason) {
        (_, ReasonCode::TopicNameInvalid) => {
            "no address serves this name; create one, or publish to a name that is served"
        }
        (_, ReasonCode::TopicFilterInvalid) => {
            "no address serves a name that this filter matches, or it is no filter; create an address first"
        }
        (PropertyIn::SubAck, ReasonCode::QuotaExceeded) => {
            "the session, the address or the node has its number of subscriptions; remove one"
        }
        (PropertyIn::Disconnect, ReasonCode::QuotaExceeded) => {
            "more waits for this client than may; acknowledge faster, or raise mqtt.session in the configuration"
        }
        (_, ReasonCode::QuotaExceeded) => {
            "the address or the node is full, or the message is too large for the address; try again later"
        }
        (PropertyIn::SubAck, ReasonCode::NotAuthorized) => {
            "the user has no right `recv` for the filter, or somebody has the address for himself"
        }
        (PropertyIn::Ack, ReasonCode::NotAuthorized) => "the user has no right `send` for this name",
        (PropertyIn::Disconnect, ReasonCode::NotAuthorized) => {
            "the user has no right to what the client did, or has it no more"
        }
        (PropertyIn::Ack, ReasonCode::UnspecifiedError) => {
            "the message was rejected; the consumer or the node could not take it"
        }
        (PropertyIn::Ack, ReasonCode::ImplementationSpecificError) => {
            "the message was given back: nobody took it in the end; send it again"
        }
        (PropertyIn::Ack, ReasonCode::PayloadFormatInvalid) => "the consumer could not read the message",
        (PropertyIn::Disconnect, ReasonCode::PacketTooLarge) => {
            "the answer is larger than the packets that this client takes; ask for less at once"
        }
        (PropertyIn::SubAck, _) => "the subscription could not be made; see the status of the node",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_a_success_says_nothing() {
        let refused = explained(PropertyIn::Ack, ReasonCode::TopicNameInvalid);
        assert!(refused.view().reason_string().is_some_and(|words| words.contains("create one")));
        for reason in [ReasonCode::Success, ReasonCode::NoMatchingSubscribers, ReasonCode::GrantedQos2] {
            assert!(explained(PropertyIn::SubAck, reason).is_empty(), "{reason}");
        }
    }

    #[test]
    fn every_reason_can_stand_in_every_packet_that_refuses() {
        for place in [PropertyIn::Ack, PropertyIn::SubAck, PropertyIn::UnsubAck, PropertyIn::Disconnect] {
            for reason in ReasonCode::ALL {
                let properties = explained(place, *reason);
                assert!(properties.is_empty() || properties.view().reason_string().is_some());
            }
        }
    }
}
