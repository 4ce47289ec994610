//! Our publications, and the peer's acknowledgements (3.3 to 3.7, 4.3, 4.4, 4.9).

use super::{Connection, Expect, IncomingState, Outgoing, Side};
use crate::alias::{AliasChoice, OutgoingAliases};
use crate::codec::{ALIAS_SIZE, AckKind, MAX_VARIABLE, PublishHead, PublishProperties, variable_size};
use crate::error::{Blocked, Misuse, PeerError};
use crate::event::Event;
use crate::packet::{Ack, PacketId, Qos, Version};
use crate::property::{PropertyError, PropertyId, PropertyView};
use crate::reason::ReasonCode;
use crate::session::{OutgoingState, SessionState, Unacknowledged};
use crate::topic::{TopicLimits, check_name};

/// What an identifier of ours is in use for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) stage: FlightStage,
    /// Whether it counts against the peer's receive maximum: what was resumed as released does not
    /// (4.9).
    is_counted: bool,
    /// The place in the order in which publications were first sent.
    sequence: u32,
    /// The caller's name of the publication.
    pub(super) token: u64,
}

/// How far it came.
///
/// ```text
/// QoS 1:  (Unsent ─►) Sent ─ PUBACK ─► (gone)
/// QoS 2:  (Unsent ─►) Sent ─ PUBREC ─► Received ─ PUBREL ─► Released ─ PUBCOMP ─► (gone)
/// ```
/// Either may begin with `Reserved` instead of `Unsent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlightStage {
    /// Of a resumed session: PUBLISH has to be sent again.
    Unsent(Qos),
    /// It has its identifier; PUBLISH has not left.
    Reserved(Qos),
    Sent(Qos),
    /// QoS 2: PUBREC has come, the caller has not released it.
    Received,
    /// QoS 2: PUBREL has left.
    Released,
    /// A SUBSCRIBE with so many filters.
    Subscribe(u16),
    /// An UNSUBSCRIBE with so many filters.
    Unsubscribe(u16),
}

impl Flight {
    pub(super) fn request(stage: FlightStage) -> Self {
        Self { stage, is_counted: false, sequence: 0, token: 0 }
    }
}

impl Connection {
    /// Publishes a message. With QoS 1 and 2 it has a packet identifier, and its end is told by
    /// `Acknowledged`, or `Received` and `Completed`.
    ///
    /// # Errors
    /// When it cannot be sent now, or at all; nothing has been queued.
    pub fn publish(&mut self, message: &Outgoing<'_>) -> Result<Option<PacketId>, Blocked> {
        if self.expect != Expect::Packets {
            return Err(Blocked::NotOpen);
        }
        if message.qos == Qos::AtMostOnce {
            self.write_publish(message, None, false)?;
            return Ok(None);
        }
        let packet_id = self.next_free_place()?;
        self.write_publish(message, Some(packet_id), false)?;
        self.take_place(packet_id, FlightStage::Sent(message.qos), message.token);
        Ok(Some(packet_id))
    }

    /// Takes a packet identifier and a place in the window for a message that is published later, with
    /// [`publish_reserved`](Self::publish_reserved): for sessions that remember the identifier before the
    /// message leaves. The session state knows the publication from here on. QoS 0 has no identifier.
    ///
    /// # Errors
    /// When it could not be sent now either.
    pub fn reserve(&mut self, qos: Qos, token: u64) -> Result<PacketId, Blocked> {
        if self.expect != Expect::Packets || qos == Qos::AtMostOnce {
            return Err(Blocked::NotOpen);
        }
        let packet_id = self.next_free_place()?;
        self.take_place(packet_id, FlightStage::Reserved(qos), token);
        Ok(packet_id)
    }

    /// Publishes the message of a reserved identifier. On a connection that is over, and for an
    /// identifier that is not reserved, it is refused. On other errors the identifier stays reserved until
    /// it is sent or [forgotten](Self::forget).
    ///
    /// # Errors
    /// When it cannot be sent; nothing has been queued.
    pub fn publish_reserved(&mut self, packet_id: PacketId, message: &Outgoing<'_>) -> Result<(), Blocked> {
        if self.expect != Expect::Packets {
            return Err(Blocked::NotOpen);
        }
        let Some(FlightStage::Reserved(qos)) = self.outgoing.get(packet_id).map(|flight| flight.stage) else {
            return Err(Blocked::NoPacketId);
        };
        self.write_publish(&Outgoing { qos, ..*message }, Some(packet_id), false)?;
        if let Some(flight) = self.outgoing.get_mut(packet_id) {
            flight.stage = FlightStage::Sent(qos);
        }
        Ok(())
    }

    fn next_free_place(&self) -> Result<PacketId, Blocked> {
        // 4.6: what is resumed goes first.
        if !self.unsent.is_empty() {
            return Err(Blocked::Resend);
        }
        if self.window() == 0 {
            return Err(Blocked::Window);
        }
        self.free_packet_id()
    }

    fn take_place(&mut self, packet_id: PacketId, stage: FlightStage, token: u64) {
        self.take_packet_id(packet_id);
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.outgoing_used += 1;
        self.outgoing.insert(packet_id, Flight { stage, is_counted: true, sequence, token });
    }

    /// Publishes a message of the resumed session again, with the duplicate flag (4.4). They go in the
    /// order of the session state: [`next_unsent`](Self::next_unsent) says which is due.
    ///
    /// # Errors
    /// When it cannot be sent now, or is not the one that is due.
    pub fn resend(&mut self, packet_id: PacketId, message: &Outgoing<'_>) -> Result<(), Blocked> {
        if self.expect != Expect::Packets {
            return Err(Blocked::NotOpen);
        }
        let due = self.next_unsent().filter(|due| due.packet_id == packet_id).ok_or(Blocked::Resend)?;
        let OutgoingState::Published(qos) = due.state else { return Err(Blocked::Resend) };
        if self.window() == 0 {
            return Err(Blocked::Window);
        }
        // 4.3: its QoS is settled since it was first sent.
        self.write_publish(&Outgoing { qos, ..*message }, Some(packet_id), true)?;
        if let Some(flight) = self.outgoing.get_mut(packet_id) {
            flight.stage = FlightStage::Sent(qos);
            flight.is_counted = true;
            flight.token = message.token;
            self.outgoing_used += 1;
            self.unsent.pop_front();
        }
        Ok(())
    }

    /// The publication of the resumed session that has to be sent again next.
    pub fn next_unsent(&self) -> Option<Unacknowledged> {
        let packet_id = *self.unsent.front()?;
        let flight = self.outgoing.get(packet_id)?;
        let FlightStage::Unsent(qos) = flight.stage else { return None };
        Some(Unacknowledged { packet_id, token: flight.token, state: OutgoingState::Published(qos) })
    }

    /// Gives up a message of the resumed session that has not been sent again, or a reserved one: the
    /// caller no longer has it, or the peer does not take one so large. True when it was waiting.
    pub fn forget(&mut self, packet_id: PacketId) -> bool {
        let stage = self.outgoing.get(packet_id).map(|flight| flight.stage);
        let is_waiting = matches!(stage, Some(FlightStage::Unsent(_) | FlightStage::Reserved(_)));
        if is_waiting {
            self.end_flight(packet_id);
            if matches!(stage, Some(FlightStage::Unsent(_))) {
                self.unsent.retain(|unsent| *unsent != packet_id);
            }
        }
        is_waiting
    }

    /// Publications of QoS 1 and 2 that may leave before one of those in flight has ended (3.3.4,
    /// 4.9).
    pub fn window(&self) -> u16 {
        let maximum = self.peer.receive_maximum.min(self.config.limits.max_in_flight.max(1));
        maximum.saturating_sub(self.outgoing_used)
    }

    /// Publications of QoS 1 and 2 that have left and whose exchange has not ended.
    pub fn in_flight(&self) -> u16 {
        self.outgoing_used
    }

    pub(super) fn free_packet_id(&self) -> Result<PacketId, Blocked> {
        if self.outgoing.len() >= usize::from(u16::MAX) {
            return Err(Blocked::NoPacketId);
        }
        let mut packet_id = self.next_packet_id;
        while self.outgoing.contains(packet_id) {
            packet_id = packet_id.next();
        }
        Ok(packet_id)
    }

    pub(super) fn take_packet_id(&mut self, packet_id: PacketId) {
        self.next_packet_id = packet_id.next();
    }

    /// Writes a PUBLISH once, where it leaves from.
    fn write_publish(
        &mut self,
        message: &Outgoing<'_>,
        packet_id: Option<PacketId>,
        duplicate: bool,
    ) -> Result<(), Blocked> {
        self.check_message(message)?;
        let topic = message.topic.as_bytes();
        let mut choice = self.choose_alias(topic);
        if !matches!(choice, AliasChoice::Known(_)) {
            check_name(message.topic, TopicLimits::NONE)?;
        }
        let is_v5 = self.version == Version::V5_0;
        let is_server = self.side == Side::Server;
        let mut properties = PublishProperties {
            message: if is_v5 { message.properties } else { PropertyView::default() },
            alias: None,
            message_expiry: message.message_expiry.filter(|_| is_v5),
            subscription_identifiers: if is_v5 && is_server { message.subscription_identifiers } else { &[] },
        };
        let bare_length = properties.length();
        let mut head = PublishHead { duplicate, qos: message.qos, retain: message.retain, packet_id, topic };
        let payload = message.payload.len();
        let size = |head: &PublishHead<'_>, length: usize| {
            let remaining = head.remaining_length(is_v5.then_some(length), payload);
            1 + variable_size(u32::try_from(remaining).unwrap_or(u32::MAX)) + remaining
        };
        // 3.1.2-24. An alias is set up only where it does not make the packet too large.
        let limit = self.peer.max_packet_size.min(LARGEST_PACKET);
        if matches!(choice, AliasChoice::New(_)) && size(&head, bare_length + ALIAS_SIZE) > limit as usize {
            choice = AliasChoice::None;
        }
        let mut length = bare_length;
        if let AliasChoice::Known(alias) | AliasChoice::New(alias) = choice {
            properties.alias = Some(alias);
            length += ALIAS_SIZE;
        }
        if matches!(choice, AliasChoice::Known(_)) {
            head.topic = &[];
        }
        let size = size(&head, length);
        if size > limit as usize {
            return Err(Blocked::TooLarge { size, limit });
        }
        let out = self.outbox.kept_buffer();
        head.write(out, is_v5.then_some(length), payload);
        if length > 0 {
            properties.write(out, length);
        }
        self.outbox.push_payload(message.payload);
        if let (AliasChoice::New(alias), Some(aliases)) = (choice, &mut self.outgoing_aliases) {
            aliases.set(alias, topic);
        }
        Ok(())
    }

    /// What the server said that it does not offer (3.2.2-11, 3.2.2-14), and what nobody may send.
    fn check_message(&self, message: &Outgoing<'_>) -> Result<(), Blocked> {
        if message.qos > self.peer.maximum_qos {
            return Err(Blocked::NotOffered(ReasonCode::QosNotSupported));
        }
        if message.retain && !self.peer.retain_available {
            return Err(Blocked::NotOffered(ReasonCode::RetainNotSupported));
        }
        // 3.3.2.3.8: from 1 to 268,435,455.
        if message.subscription_identifiers.iter().any(|id| !(1..=MAX_VARIABLE).contains(id)) {
            return Err(PropertyError::Value(PropertyId::SubscriptionIdentifier).into());
        }
        Ok(())
    }

    fn choose_alias(&mut self, topic: &[u8]) -> AliasChoice {
        let maximum = self.peer.topic_alias_maximum.min(self.config.limits.max_outgoing_aliases);
        // Below this length the alias is longer than the topic.
        if maximum == 0 || topic.len() <= ALIAS_SIZE {
            return AliasChoice::None;
        }
        self.outgoing_aliases.get_or_insert_with(|| Box::new(OutgoingAliases::new(maximum))).choose(topic)
    }

    // ---- acknowledgements ----------------------------------------------------------------------------

    /// 4.3.2.
    pub(super) fn handle_pub_ack(&mut self, ack: Ack) -> Result<Option<Event>, PeerError> {
        let packet_id = ack.packet_id;
        match self.outgoing.get_mut(packet_id).map(|flight| flight.stage) {
            Some(FlightStage::Sent(Qos::AtLeastOnce)) => Ok(self.end_publication(ack)),
            // Of an exchange that has ended: nothing hangs on it.
            None | Some(FlightStage::Unsent(_)) => Ok(None),
            Some(_) => Err(out_of_order("PUBACK", packet_id)),
        }
    }

    /// 4.3.3.
    pub(super) fn handle_pub_rec(&mut self, ack: Ack) -> Result<Option<Event>, PeerError> {
        let packet_id = ack.packet_id;
        let Some(flight) = self.outgoing.get_mut(packet_id) else {
            // 3.6.2.1: the exchange is unknown; in 3.1.1 the PUBREL ends it for the peer as well. A
            // refusal has ended it already.
            if !ack.reason.is_error() {
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.write_plain_ack(AckKind::PubRel, packet_id, reason);
            }
            return Ok(None);
        };
        match flight.stage {
            // 4.3.3-4: with an error the exchange has ended.
            FlightStage::Sent(Qos::ExactlyOnce) if ack.reason.is_error() => Ok(self.end_publication(ack)),
            FlightStage::Sent(Qos::ExactlyOnce) => {
                let token = flight.token;
                flight.stage = FlightStage::Received;
                if self.config.automatic_release {
                    self.write_release(packet_id);
                }
                Ok(Some(Event::Received { packet_id, token, reason: ack.reason }))
            }
            // Sent again, for a PUBLISH that was: one PUBREL serves both until it has left.
            FlightStage::Received => Ok(None),
            FlightStage::Released => {
                self.write_plain_ack(AckKind::PubRel, packet_id, ReasonCode::Success);
                Ok(None)
            }
            FlightStage::Unsent(_) => Ok(None),
            _ => Err(out_of_order("PUBREC", packet_id)),
        }
    }

    /// Answers `Received`: queues the PUBREL, when the configuration does not do so by itself.
    ///
    /// # Errors
    /// When the publication is not in that state.
    pub fn release(&mut self, packet_id: PacketId) -> Result<(), Misuse> {
        match self.outgoing.get_mut(packet_id).map(|flight| flight.stage) {
            Some(FlightStage::Received) => {
                self.write_release(packet_id);
                Ok(())
            }
            _ => Err(Misuse::UnknownPacketId(packet_id.to_number())),
        }
    }

    fn write_release(&mut self, packet_id: PacketId) {
        if let Some(flight) = self.outgoing.get_mut(packet_id) {
            flight.stage = FlightStage::Released;
        }
        if self.expect == Expect::Packets {
            self.write_plain_ack(AckKind::PubRel, packet_id, ReasonCode::Success);
        }
    }

    pub(super) fn handle_pub_comp(&mut self, ack: &Ack) -> Result<Option<Event>, PeerError> {
        let packet_id = ack.packet_id;
        match self.outgoing.get_mut(packet_id).map(|flight| flight.stage) {
            Some(FlightStage::Released) => {
                let Some(flight) = self.end_flight(packet_id) else { return Ok(None) };
                Ok(Some(Event::Completed { packet_id, token: flight.token, reason: ack.reason }))
            }
            None | Some(FlightStage::Unsent(_)) => Ok(None),
            Some(_) => Err(out_of_order("PUBCOMP", packet_id)),
        }
    }

    fn end_publication(&mut self, ack: Ack) -> Option<Event> {
        let Ack { packet_id, reason, properties } = ack;
        let token = self.end_flight(packet_id)?.token;
        Some(Event::Acknowledged { packet_id, token, reason, properties })
    }

    /// 4.9: the quota is freed at PUBACK, PUBCOMP and a PUBREC that refuses.
    fn end_flight(&mut self, packet_id: PacketId) -> Option<Flight> {
        let flight = self.outgoing.remove(packet_id)?;
        if flight.is_counted {
            self.outgoing_used = self.outgoing_used.saturating_sub(1);
        }
        Some(flight)
    }

    // ---- sessions ------------------------------------------------------------------------------------

    /// What of the session a later connection resumes: at any time, and after the end.
    pub fn session_state(&self) -> SessionState {
        let mut flights: Vec<(PacketId, &Flight)> = self.outgoing.iter().collect();
        flights.sort_by_key(|(_, flight)| self.age_order(flight));
        let outgoing = flights.into_iter().filter_map(|(packet_id, flight)| {
            let state = match flight.stage {
                FlightStage::Unsent(qos) | FlightStage::Reserved(qos) | FlightStage::Sent(qos) => {
                    OutgoingState::Published(qos)
                }
                // What it waits for may outlive the connection.
                FlightStage::Received => OutgoingState::Received,
                // 4.3.3-6: "MUST NOT re-send the PUBLISH once it has sent the corresponding PUBREL".
                FlightStage::Released => OutgoingState::Released,
                FlightStage::Subscribe(_) | FlightStage::Unsubscribe(_) => return None,
            };
            Some(Unacknowledged { packet_id, token: flight.token, state })
        });
        let incoming = self.incoming.iter().filter(|(_, state)| state.is_taken());
        SessionState { outgoing: outgoing.collect(), incoming: incoming.map(|(id, _)| id).collect() }
    }

    /// Sorts publications by when they were first sent; sequence numbers wrap.
    fn age_order(&self, flight: &Flight) -> u32 {
        flight.sequence.wrapping_sub(self.next_sequence)
    }

    /// Takes over what an earlier connection left. Nothing of it counts against a receive maximum
    /// until it is sent again (4.9).
    pub(super) fn keep_session(&mut self, session: &SessionState) {
        for unacknowledged in &session.outgoing {
            if self.outgoing.contains(unacknowledged.packet_id) {
                continue;
            }
            let stage = match unacknowledged.state {
                OutgoingState::Published(qos) => {
                    self.unsent.push_back(unacknowledged.packet_id);
                    FlightStage::Unsent(qos)
                }
                OutgoingState::Received => FlightStage::Received,
                OutgoingState::Released => FlightStage::Released,
            };
            let (sequence, token) = (self.next_sequence, unacknowledged.token);
            self.next_sequence = sequence.wrapping_add(1);
            self.outgoing
                .insert(unacknowledged.packet_id, Flight { stage, is_counted: false, sequence, token });
            self.take_packet_id(unacknowledged.packet_id);
        }
        for packet_id in &session.incoming {
            self.incoming.insert(*packet_id, IncomingState::resumed());
        }
    }

    /// 4.4: what was released is released again; publications wait for `resend`.
    pub(super) fn resume(&mut self) {
        for unacknowledged in self.session_state().outgoing {
            if unacknowledged.state == OutgoingState::Released {
                self.write_plain_ack(AckKind::PubRel, unacknowledged.packet_id, ReasonCode::Success);
            }
        }
    }

    /// Client: the server has no session.
    pub(super) fn forget_session(&mut self) {
        self.outgoing = super::Flights::default();
        self.incoming = super::Flights::default();
        self.unsent.clear();
    }
}

/// Bytes of the largest packet that there can be (2.1.4).
pub(super) const LARGEST_PACKET: u32 = MAX_VARIABLE + 5;

#[cold]
fn out_of_order(what: &str, packet_id: PacketId) -> PeerError {
    let text = format!("{what} of {packet_id} is not what its exchange waits for");
    PeerError::protocol(ReasonCode::ProtocolError, text)
}
