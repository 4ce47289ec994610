//! Publications of the peer, and our acknowledgements (3.3 to 3.7, 4.3, 4.9).

use super::{Connection, Expect, Side, packet_size};
use crate::codec::{AckKind, DecodeError, write_ack};
use crate::error::{Misuse, PeerError};
use crate::event::Event;
use crate::packet::{Ack, PacketId, Publish, Qos, Version};
use crate::property::{PropertyId, PropertyView};
use crate::reason::{ReasonCode, ReasonIn};

/// How far a publication of the peer came.
///
/// ```text
/// QoS 1:  Pending ─ PUBACK ─► (gone)
/// QoS 2:  Pending ─ PUBREC ─► Received ─ PUBREL ─► Completing ─ PUBCOMP ─► (gone)
/// ```
/// A PUBREC with an error ends QoS 2 as a PUBACK ends QoS 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IncomingState {
    stage: Stage,
    /// Whether it counts against our receive maximum: what was resumed does not (4.9).
    is_counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The caller has not acknowledged it.
    Pending(Qos),
    /// QoS 2: PUBREC has left.
    Received,
    /// QoS 2: PUBREL has come, the caller has not completed it.
    Completing,
}

impl IncomingState {
    pub(super) fn resumed() -> Self {
        Self { stage: Stage::Received, is_counted: false }
    }

    /// Whether the message is ours and its identifier has to be remembered.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.stage, Stage::Received | Stage::Completing)
    }
}

/// How many times the receive maximum a 3.1.1 client may wait for that owes acknowledgements itself.
const IN_LOOP_FACTOR: u16 = 16;

impl Connection {
    /// In 3.1.1 a client cannot know how much we take at once: it is not read on. One that owes
    /// acknowledgements is read further: they come behind what it publishes, which may wait for them.
    pub(super) fn waits_for_acknowledgement(&self) -> bool {
        let maximum = self.config.limits.receive_maximum.max(1);
        let maximum = if self.in_flight() > 0 { maximum.saturating_mul(IN_LOOP_FACTOR) } else { maximum };
        self.version == Version::V3_1_1 && self.incoming_pending >= maximum
    }

    pub(super) fn handle_publish(&mut self, mut publish: Publish) -> Result<Option<Event>, PeerError> {
        if self.side == Side::Server {
            self.check_offered(&publish)?;
        }
        let is_special = |id| publish.has.contains(id);
        if publish.topic_length == 0
            || is_special(PropertyId::TopicAlias)
            || is_special(PropertyId::SubscriptionIdentifier)
        {
            self.handle_publish_properties(&mut publish)?;
        }
        let Some(packet_id) = publish.packet_id else { return Ok(Some(Event::Publish(publish))) };
        match self.incoming.get_mut(packet_id).map(|state| state.stage) {
            None => {
                self.admit(packet_id, publish.qos)?;
                Ok(Some(Event::Publish(publish)))
            }
            // Sent again before it was acknowledged, as 3.1.1 allows: one answer serves both.
            Some(Stage::Pending(qos)) if qos == publish.qos && publish.duplicate => Ok(None),
            // 4.3.3-10: PUBREC again, and no second delivery.
            Some(Stage::Received) if publish.qos == Qos::ExactlyOnce => {
                self.write_plain_ack(AckKind::PubRec, packet_id, ReasonCode::Success);
                Ok(None)
            }
            // 2.2.1-3: an identifier is free again once its exchange has ended.
            Some(_) => {
                let text = format!("PUBLISH with packet identifier {packet_id}, which is in use");
                Err(PeerError::protocol(ReasonCode::ProtocolError, text))
            }
        }
    }

    /// 3.2.2.3.4, 3.2.2.3.5: what we said that we do not offer.
    fn check_offered(&self, publish: &Publish) -> Result<(), PeerError> {
        let config = &self.config;
        if publish.qos > config.maximum_qos {
            let text = format!("PUBLISH with QoS {}", publish.qos.to_byte());
            return Err(PeerError::protocol(ReasonCode::QosNotSupported, text));
        }
        if publish.retain && !config.retain_available {
            return Err(PeerError::protocol(ReasonCode::RetainNotSupported, "PUBLISH with the retain flag"));
        }
        Ok(())
    }

    /// 3.3.2.3.4, 3.3.4: finds the topic of an alias, remembers a new one.
    fn handle_publish_properties(&mut self, publish: &mut Publish) -> Result<(), PeerError> {
        // 3.3.4-6: a client must not send one.
        if self.side == Side::Server && publish.has.contains(PropertyId::SubscriptionIdentifier) {
            let text = "a client's PUBLISH has a subscription identifier";
            return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        }
        let alias = publish.properties().topic_alias();
        let maximum = self.config.limits.topic_alias_maximum;
        match alias {
            // 3.3.2-8, 3.3.2-9.
            Some(alias) if alias > maximum => {
                let text = format!("topic alias {alias} is above the maximum of {maximum}");
                Err(PeerError::protocol(ReasonCode::TopicAliasInvalid, text))
            }
            Some(alias) if publish.topic_length == 0 => {
                let Some(topic) = self.incoming_aliases.get(alias) else {
                    let text = format!("topic alias {alias} stands for no topic");
                    return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
                };
                publish.resolved = Some(topic.clone());
                Ok(())
            }
            Some(alias) => {
                let text = || publish.topic_text().detach();
                self.incoming_aliases.set(alias, publish.topic_bytes(), text);
                Ok(())
            }
            None if publish.topic_length == 0 => Err(DecodeError::NoTopic.into()),
            None => Ok(()),
        }
    }

    /// 3.3.4-9, 4.9: counts a new publication.
    fn admit(&mut self, packet_id: PacketId, qos: Qos) -> Result<(), PeerError> {
        let maximum = self.config.limits.receive_maximum.max(1);
        if self.version == Version::V5_0 && self.incoming_used >= maximum {
            let text = format!("more than {maximum} publications of QoS 1 and 2 under way");
            return Err(PeerError::protocol(ReasonCode::ReceiveMaximumExceeded, text));
        }
        self.incoming.insert(packet_id, IncomingState { stage: Stage::Pending(qos), is_counted: true });
        self.incoming_used = self.incoming_used.saturating_add(1);
        self.incoming_pending = self.incoming_pending.saturating_add(1);
        Ok(())
    }

    /// Acknowledges a publication of the peer: PUBACK or PUBREC, as its QoS demands. The order of
    /// calls is the order of the packets (4.6). With an error reason a QoS 2 publication has ended;
    /// 3.1.1 has no reasons: there it is taken, whatever the reason.
    ///
    /// On a connection that is over nothing is sent, but the session state knows it.
    ///
    /// # Errors
    /// When no such publication waits, or the reason is not allowed.
    pub fn acknowledge(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let unknown = Misuse::UnknownPacketId(packet_id.to_number());
        let Some(state) = self.incoming.get_mut(packet_id) else { return Err(unknown) };
        let Stage::Pending(qos) = state.stage else { return Err(unknown) };
        if !reason.is_allowed_in(ReasonIn::PubAck) {
            return Err(Misuse::Reason(reason));
        }
        let is_taken = !reason.is_error() || self.version == Version::V3_1_1;
        let kind = if qos == Qos::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
        if kind == AckKind::PubRec && is_taken {
            state.stage = Stage::Received;
        } else {
            self.end_incoming(packet_id);
        }
        self.incoming_pending = self.incoming_pending.saturating_sub(1);
        self.write_answer(kind, packet_id, reason, properties);
        Ok(())
    }

    pub(super) fn handle_pub_rel(&mut self, ack: &Ack) -> Result<Option<Event>, PeerError> {
        let packet_id = ack.packet_id;
        match self.incoming.get_mut(packet_id).map(|state| &mut state.stage) {
            // 3.7.2.1: not an error on its own; the exchange may have been forgotten.
            None => {
                self.write_plain_ack(AckKind::PubComp, packet_id, ReasonCode::PacketIdentifierNotFound);
                Ok(None)
            }
            Some(stage @ Stage::Received) => {
                *stage = Stage::Completing;
                if self.config.automatic_release {
                    self.end_incoming(packet_id);
                    self.write_plain_ack(AckKind::PubComp, packet_id, ReasonCode::Success);
                }
                Ok(Some(Event::Released { packet_id }))
            }
            // Sent again before it was completed: one answer serves both.
            Some(Stage::Completing) => Ok(None),
            Some(Stage::Pending(_)) => {
                let text = format!("PUBREL of {packet_id}, which has not been acknowledged with PUBREC");
                Err(PeerError::protocol(ReasonCode::ProtocolError, text))
            }
        }
    }

    /// Answers `Released`: queues the PUBCOMP, when the configuration does not do so by itself. On a
    /// connection that is over nothing is sent, but the session state knows it.
    ///
    /// # Errors
    /// When the publication is not in that state.
    pub fn complete(&mut self, packet_id: PacketId) -> Result<(), Misuse> {
        match self.incoming.get_mut(packet_id).map(|state| state.stage) {
            Some(Stage::Completing) => {
                self.end_incoming(packet_id);
                if self.expect == Expect::Packets {
                    self.write_plain_ack(AckKind::PubComp, packet_id, ReasonCode::Success);
                }
                Ok(())
            }
            _ => Err(Misuse::UnknownPacketId(packet_id.to_number())),
        }
    }

    fn end_incoming(&mut self, packet_id: PacketId) {
        if self.incoming.remove(packet_id).is_some_and(|state| state.is_counted) {
            self.incoming_used = self.incoming_used.saturating_sub(1);
        }
    }

    /// Acknowledgements with words only where they are wanted and fit (3.1.2-29, 3.4.2-2, 3.4.2-3).
    fn write_answer(
        &mut self,
        kind: AckKind,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: PropertyView<'_>,
    ) {
        if self.expect != Expect::Packets {
            return;
        }
        let size = packet_size(3, properties);
        let is_fit = self.peer.wants_problem_information && size <= self.peer.max_packet_size as usize;
        let properties = if is_fit { properties } else { PropertyView::default() };
        write_ack(self.outbox.kept_buffer(), kind, packet_id, reason, properties, self.version);
    }

    pub(super) fn write_plain_ack(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        write_ack(self.outbox.kept_buffer(), kind, packet_id, reason, PropertyView::default(), self.version);
    }

    /// Publications of the peer that wait for `acknowledge`.
    pub fn pending_acknowledgements(&self) -> u16 {
        self.incoming_pending
    }
}
