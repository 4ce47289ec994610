//! SUBSCRIBE and UNSUBSCRIBE, and their answers (3.8 to 3.11).

use super::outgoing::{Flight, FlightStage};
use super::{Connection, Expect, Side, packet_size};
use crate::codec::{write_sub_ack, write_subscribe, write_unsub_ack, write_unsubscribe};
use crate::error::{Blocked, Misuse, PeerError};
use crate::event::Event;
use crate::packet::{
    PacketId, SubAck, Subscribe, Subscription, SubscriptionOptions, Text, UnsubAck, Unsubscribe, Version,
};
use crate::property::{PropertyIn, PropertyView, PropertyWriter};
use crate::reason::{ReasonCode, ReasonIn};
use crate::topic::{Filter, TopicError, TopicLimits, parse_filter};

impl Connection {
    /// 3.8, 3.2.2.3.11 to 3.2.2.3.13: what we said that we do not offer.
    pub(super) fn handle_subscribe(&self, packet: Box<Subscribe>) -> Result<Event, PeerError> {
        let config = &self.config;
        let offered = Offered {
            wildcards: config.wildcard_subscription_available,
            identifiers: config.subscription_identifier_available,
            shares: config.shared_subscription_available,
        };
        let has_identifier = packet.properties.view().subscription_identifiers().next().is_some();
        let filters = packet.subscriptions.iter().map(|subscription| subscription.filter.as_str());
        for filter in filters {
            let filter =
                parse_filter(filter, TopicLimits::NONE).map_err(crate::codec::DecodeError::TopicFilter)?;
            // 3.1.1 has no word for it but a SUBACK: the caller's.
            if self.version == Version::V5_0
                && let Some(reason) = offered.missing(filter, has_identifier)
            {
                return Err(PeerError::protocol(reason, "SUBSCRIBE asks for what is not offered"));
            }
        }
        Ok(Event::Subscribe(packet))
    }

    /// Client: subscribes; `SubAck` tells what came of it.
    ///
    /// # Errors
    /// When it cannot be sent; nothing has been queued.
    pub fn subscribe(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        properties: PropertyView<'_>,
    ) -> Result<PacketId, Blocked> {
        let has_identifier = properties.subscription_identifiers().next().is_some();
        let mut subscriptions = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            let parsed = self.check_filter(filter, has_identifier)?;
            if options.no_local && parsed.share.is_some() {
                return Err(Blocked::SharedNoLocal);
            }
            let filter = Text::new(filter).map_err(|_| TopicError::TooLong(filter.len(), u16::MAX))?;
            subscriptions.push(Subscription { filter, options: *options });
        }
        let (packet_id, count) = self.begin_request(subscriptions.len())?;
        let properties = self.request_properties(PropertyIn::Subscribe, properties)?.finish();
        let packet = Subscribe { packet_id, subscriptions, properties };
        let start = self.outbox.buffer().len();
        write_subscribe(self.outbox.buffer(), &packet, self.version);
        self.end_request(start, packet_id, FlightStage::Subscribe(count))
    }

    /// Client: unsubscribes; `UnsubAck` tells what came of it.
    ///
    /// # Errors
    /// When it cannot be sent; nothing has been queued.
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        properties: PropertyView<'_>,
    ) -> Result<PacketId, Blocked> {
        let mut texts = Vec::with_capacity(filters.len());
        for filter in filters {
            parse_filter(filter, TopicLimits::NONE)?;
            texts.push(Text::new(filter).map_err(|_| TopicError::TooLong(filter.len(), u16::MAX))?);
        }
        let (packet_id, count) = self.begin_request(texts.len())?;
        let properties = self.request_properties(PropertyIn::Unsubscribe, properties)?.finish();
        let packet = Unsubscribe { packet_id, filters: texts, properties };
        let start = self.outbox.buffer().len();
        write_unsubscribe(self.outbox.buffer(), &packet, self.version);
        self.end_request(start, packet_id, FlightStage::Unsubscribe(count))
    }

    fn check_filter<'a>(&self, filter: &'a str, has_identifier: bool) -> Result<Filter<'a>, Blocked> {
        let parsed = parse_filter(filter, TopicLimits::NONE)?;
        let offered = Offered {
            wildcards: self.peer.wildcard_available,
            identifiers: self.peer.identifiers_available,
            shares: self.peer.shared_available,
        };
        match offered.missing(parsed, has_identifier) {
            Some(reason) => Err(Blocked::NotOffered(reason)),
            None => Ok(parsed),
        }
    }

    fn begin_request(&self, count: usize) -> Result<(PacketId, u16), Blocked> {
        if self.expect != Expect::Packets || self.side != Side::Client {
            return Err(Blocked::NotOpen);
        }
        let count = u16::try_from(count).ok().filter(|count| *count > 0).ok_or(TopicError::Empty)?;
        Ok((self.free_packet_id()?, count))
    }

    fn request_properties(
        &self,
        place: PropertyIn,
        properties: PropertyView<'_>,
    ) -> Result<PropertyWriter, Blocked> {
        let mut writer = PropertyWriter::new(place);
        if self.version == Version::V5_0 {
            writer.extend(properties).map_err(Blocked::Property)?;
        }
        Ok(writer)
    }

    /// Takes back what was written when it is larger than the server takes (3.2.2-15).
    fn end_request(
        &mut self,
        start: usize,
        packet_id: PacketId,
        stage: FlightStage,
    ) -> Result<PacketId, Blocked> {
        let out = self.outbox.buffer();
        let (size, limit) = (out.len() - start, self.peer.max_packet_size);
        if size > limit as usize {
            out.truncate(start);
            return Err(Blocked::TooLarge { size, limit });
        }
        self.take_packet_id(packet_id);
        self.outgoing.insert(packet_id, Flight::request(stage));
        Ok(packet_id)
    }

    pub(super) fn handle_sub_ack(&mut self, packet: Box<SubAck>) -> Result<Event, PeerError> {
        let stage = self.outgoing.get_mut(packet.packet_id).map(|flight| flight.stage);
        match stage {
            Some(FlightStage::Subscribe(count)) if packet.reasons.len() == usize::from(count) => {
                self.outgoing.remove(packet.packet_id);
                Ok(Event::SubAck(packet))
            }
            _ => Err(unasked("SUBACK", packet.packet_id)),
        }
    }

    pub(super) fn handle_unsub_ack(&mut self, packet: Box<UnsubAck>) -> Result<Event, PeerError> {
        let has_reasons = self.version == Version::V5_0;
        let stage = self.outgoing.get_mut(packet.packet_id).map(|flight| flight.stage);
        match stage {
            Some(FlightStage::Unsubscribe(count))
                if !has_reasons || packet.reasons.len() == usize::from(count) =>
            {
                self.outgoing.remove(packet.packet_id);
                Ok(Event::UnsubAck(packet))
            }
            _ => Err(unasked("UNSUBACK", packet.packet_id)),
        }
    }

    /// Server: answers a SUBSCRIBE with a reason for each filter, in order. For 3.1.1 every failure
    /// becomes 0x80.
    ///
    /// # Errors
    /// When a reason is not allowed, there is none, or the client does not take so many.
    pub fn suback(
        &mut self,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let properties = self.check_answer(reasons, ReasonIn::SubAck, properties)?;
        write_sub_ack(self.outbox.buffer(), packet_id, reasons, properties, self.version);
        Ok(())
    }

    /// Server: answers an UNSUBSCRIBE with a reason for each filter, in order; 3.1.1 has none.
    ///
    /// # Errors
    /// When a reason is not allowed, there is none, or the client does not take so many.
    pub fn unsuback(
        &mut self,
        packet_id: PacketId,
        reasons: &[ReasonCode],
        properties: PropertyView<'_>,
    ) -> Result<(), Misuse> {
        let properties = self.check_answer(reasons, ReasonIn::UnsubAck, properties)?;
        write_unsub_ack(self.outbox.buffer(), packet_id, reasons, properties, self.version);
        Ok(())
    }

    /// The properties of an answer, where they are wanted and fit (3.1.2-29, 3.9.2-1).
    fn check_answer<'a>(
        &self,
        reasons: &[ReasonCode],
        packet: ReasonIn,
        properties: PropertyView<'a>,
    ) -> Result<PropertyView<'a>, Misuse> {
        if self.side != Side::Server {
            return Err(Misuse::WrongSide);
        }
        if self.expect != Expect::Packets {
            return Err(Misuse::State);
        }
        if reasons.is_empty() {
            return Err(Misuse::Value("an answer has a reason for each filter"));
        }
        if let Some(reason) = reasons.iter().find(|reason| !reason.is_allowed_in(packet)) {
            return Err(Misuse::Reason(*reason));
        }
        let besides = 2 + reasons.len();
        let (bare, limit) = (packet_size(besides, PropertyView::default()), self.peer.max_packet_size);
        if bare > limit as usize {
            return Err(Misuse::TooLarge { size: bare, limit });
        }
        let is_fit = packet_size(besides, properties) <= limit as usize;
        let is_wanted = self.peer.wants_problem_information;
        Ok(if is_fit && is_wanted { properties } else { PropertyView::default() })
    }
}

/// What a server offers to who subscribes.
struct Offered {
    wildcards: bool,
    identifiers: bool,
    shares: bool,
}

impl Offered {
    fn missing(&self, filter: Filter<'_>, has_identifier: bool) -> Option<ReasonCode> {
        if !self.wildcards && filter.has_wildcard() {
            return Some(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if !self.identifiers && has_identifier {
            return Some(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        if !self.shares && filter.share.is_some() {
            return Some(ReasonCode::SharedSubscriptionsNotSupported);
        }
        None
    }
}

#[cold]
fn unasked(what: &str, packet_id: PacketId) -> PeerError {
    let text = format!("{what} for {packet_id} answers no request, or not each of its filters");
    PeerError::protocol(ReasonCode::ProtocolError, text)
}
