//! CONNECT, CONNACK and AUTH (3.1, 3.2, 3.15, 4.12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Accept, Authentication, Config, Connection, Expect, Peer, Side, packet_size};
use crate::codec::{DecodeError, MAX_VARIABLE, write_auth, write_conn_ack, write_connect};
use crate::error::{Misuse, PeerError};
use crate::event::Event;
use crate::packet::{Auth, ConnAck, Connect, Qos, Text, Version};
use crate::property::{
    Properties, Property, PropertyError, PropertyId, PropertyIn, PropertyView, PropertyWriter, Value,
};
use crate::reason::{ReasonCode, ReasonIn};
use crate::session::SessionState;
use crate::topic::{TopicLimits, check_name};

impl Connection {
    /// A client's connection whose socket has just been connected; the CONNECT is queued, with the
    /// receive maximum, the maximum packet size and the topic alias maximum of the configuration.
    /// `session` is what an earlier connection left; it is forgotten when the server has no session.
    ///
    /// # Errors
    /// When the CONNECT breaks a rule of the protocol.
    pub fn client(
        config: Arc<Config>,
        connect: &Connect,
        session: SessionState,
        now: Instant,
    ) -> Result<Self, Misuse> {
        check_connect(connect)?;
        let mut connection = Self::new(config, Side::Client, now);
        connection.version = connect.version;
        connection.clean_start = connect.clean_start;
        connection.keep_alive = seconds(connect.keep_alive);
        connection.session_expiry_interval = session_expiry_interval(connect);
        connection.authentication = authentication(connect.properties.view());
        let mut connect = connect.clone();
        if connect.version == Version::V5_0 {
            connect.properties = connection
                .with_own_limits(PropertyIn::Connect, connect.properties.view())
                .map_err(|_| Misuse::Property)?
                .finish();
        }
        write_connect(connection.outbox.buffer(), &connect);
        // What is under way counts from the CONNACK on (3.2.2.1.1).
        if !connect.clean_start {
            connection.keep_session(&session);
        }
        Ok(connection)
    }

    /// What we take, in the place of what the caller says about it.
    fn with_own_limits(
        &self,
        place: PropertyIn,
        properties: PropertyView<'_>,
    ) -> Result<PropertyWriter, PropertyError> {
        const OWN: [PropertyId; 3] =
            [PropertyId::ReceiveMaximum, PropertyId::MaximumPacketSize, PropertyId::TopicAliasMaximum];
        let limits = &self.config.limits;
        let mut writer = PropertyWriter::new(place);
        for property in properties.iter().filter(|property| !OWN.contains(&property.id)) {
            // 3.1.2-28: response information only for who asked.
            let is_information = property.id == PropertyId::ResponseInformation;
            if !is_information || self.peer.wants_response_information {
                writer.push(property)?;
            }
        }
        if limits.receive_maximum < u16::MAX {
            writer.receive_maximum(limits.receive_maximum.max(1))?;
        }
        if limits.max_packet_size < MAX_VARIABLE {
            writer.maximum_packet_size(limits.max_packet_size.max(1))?;
        }
        if limits.topic_alias_maximum > 0 {
            writer.topic_alias_maximum(limits.topic_alias_maximum)?;
        }
        Ok(writer)
    }

    // ---- server ------------------------------------------------------------------------------------

    /// A CONNECT that cannot be read: answered where there is an answer in a form that the client
    /// knows (3.1.2-1, 3.1.2-2, 4.13.1; 3.1.1, 3.1.2.2).
    pub(super) fn refuse_connect(&mut self, error: DecodeError, version: Option<Version>) -> PeerError {
        let reason = error.reason();
        let description = error.to_string();
        let has_answer = match version {
            Some(Version::V5_0) => true,
            // 3.1.1 has no code for a malformed packet.
            Some(Version::V3_1_1) => reason == ReasonCode::UnsupportedProtocolVersion,
            None => false,
        };
        if has_answer {
            self.write_refusal(reason);
        }
        PeerError::Refused { reason, description }
    }

    pub(super) fn handle_connect(&mut self, connect: Box<Connect>) -> Result<Event, PeerError> {
        let properties = connect.properties.view();
        self.version = connect.version;
        self.peer = Peer::of_client(properties);
        self.keep_alive = seconds(connect.keep_alive);
        self.clean_start = connect.clean_start;
        self.session_expiry_interval = session_expiry_interval(&connect);
        self.authentication = authentication(properties);
        if let Some((reason, description)) = self.objection(&connect) {
            self.write_refusal(reason);
            return Err(PeerError::Refused { reason, description: description.into() });
        }
        self.expect = Expect::Answer;
        Ok(Event::Connect(connect))
    }

    /// Why a CONNECT is refused whoever sent it.
    fn objection(&self, connect: &Connect) -> Option<(ReasonCode, &'static str)> {
        let config = &self.config;
        // 3.1.1, 3.1.3-8: without an identifier there is no session to keep.
        if connect.version == Version::V3_1_1 && connect.client_id.is_empty() && !connect.clean_start {
            return Some((
                ReasonCode::ClientIdentifierNotValid,
                "no client identifier, but a session to keep",
            ));
        }
        let will = connect.will.as_ref()?;
        // 3.2.2-12, 3.2.2-13.
        if will.qos > config.maximum_qos {
            return Some((ReasonCode::QosNotSupported, "the QoS of the will is above what is offered"));
        }
        if will.retain && !config.retain_available {
            return Some((
                ReasonCode::RetainNotSupported,
                "the will asks to be retained, which is not offered",
            ));
        }
        None
    }

    /// Server: lets the client in.
    ///
    /// # Errors
    /// When there is no CONNECT to answer, or a property is out of place. Nothing has changed then.
    pub fn accept(&mut self, now: Instant, accept: Accept<'_>) -> Result<(), Misuse> {
        if self.side != Side::Server || self.expect != Expect::Answer {
            return Err(Misuse::State);
        }
        let mut properties = Properties::default();
        if self.version == Version::V5_0 {
            properties = self.acceptance(&accept).map_err(|_| Misuse::Property)?.finish();
        }
        // 3.2.2-2, 3.2.2-3: present when, and only when, there is one.
        let session_present = accept.session.is_some();
        let mut packet = ConnAck { session_present, reason: ReasonCode::Success, properties };
        self.fit_conn_ack(&mut packet)?;
        if self.version == Version::V5_0 {
            if let Some(keep_alive) = accept.keep_alive {
                self.keep_alive = seconds(keep_alive);
            }
            if let Some(expiry) = accept.session_expiry_interval {
                self.session_expiry_interval = expiry;
            }
        }
        write_conn_ack(self.outbox.buffer(), &packet, self.version);
        self.last_received = now;
        self.expect = Expect::Packets;
        self.keep_session(&accept.session.unwrap_or_default());
        self.resume();
        Ok(())
    }

    /// The properties of a CONNACK that lets the client in.
    fn acceptance(&self, accept: &Accept<'_>) -> Result<PropertyWriter, PropertyError> {
        let config = &self.config;
        let mut writer = self.with_own_limits(PropertyIn::ConnAck, accept.properties)?;
        if let Some(seconds) = accept.session_expiry_interval {
            writer.session_expiry_interval(seconds)?;
        }
        if let Some(seconds) = accept.keep_alive {
            writer.server_keep_alive(seconds)?;
        }
        if let Some(client_id) = accept.assigned_client_id {
            writer.assigned_client_identifier(client_id)?;
        }
        // 4.12.0-5: the method goes back with the success.
        if let Some(authentication) = &self.authentication
            && !writer.contains(PropertyId::AuthenticationMethod)
        {
            writer.authentication_method(authentication.method.as_str())?;
        }
        // 3.2.2.3: told where less than everything is offered.
        if config.maximum_qos < Qos::ExactlyOnce {
            let value = Value::Flag(config.maximum_qos == Qos::AtLeastOnce);
            writer.push(Property { id: PropertyId::MaximumQos, value })?;
        }
        for (id, is_available) in [
            (PropertyId::RetainAvailable, config.retain_available),
            (PropertyId::WildcardSubscriptionAvailable, config.wildcard_subscription_available),
            (PropertyId::SubscriptionIdentifierAvailable, config.subscription_identifier_available),
            (PropertyId::SharedSubscriptionAvailable, config.shared_subscription_available),
        ] {
            if !is_available && !writer.contains(id) {
                writer.push(Property { id, value: Value::Flag(false) })?;
            }
        }
        Ok(writer)
    }

    /// Leaves out of a CONNACK what would make it larger than the client takes (3.2.2-19, 3.2.2-20).
    fn fit_conn_ack(&self, packet: &mut ConnAck) -> Result<(), Misuse> {
        let limit = self.peer.max_packet_size;
        let size = |packet: &ConnAck| packet_size(2, packet.properties.view());
        if size(packet) <= limit as usize {
            return Ok(());
        }
        let mut writer = PropertyWriter::new(PropertyIn::ConnAck);
        for property in packet.properties.view().iter() {
            if !matches!(property.id, PropertyId::ReasonString | PropertyId::UserProperty) {
                writer.push(property).map_err(|_| Misuse::Property)?;
            }
        }
        packet.properties = writer.finish();
        if size(packet) > limit as usize {
            return Err(Misuse::TooLarge { size: size(packet), limit });
        }
        Ok(())
    }

    /// Server: refuses the client; the connection is over. A 3.1.1 client gets the return code that
    /// says it best.
    ///
    /// # Errors
    /// When there is no CONNECT to answer, or the reason is no refusal.
    pub fn refuse(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        if self.side != Side::Server || self.expect != Expect::Answer {
            return Err(Misuse::State);
        }
        if !reason.is_error() || !reason.is_allowed_in(ReasonIn::ConnAck) {
            return Err(Misuse::Reason(reason));
        }
        let mut writer = PropertyWriter::new(PropertyIn::ConnAck);
        writer.extend(properties).map_err(|_| Misuse::Property)?;
        let mut packet = ConnAck { session_present: false, reason, properties: writer.finish() };
        if self.fit_conn_ack(&mut packet).is_err() {
            packet.properties = Properties::default();
        }
        write_conn_ack(self.outbox.buffer(), &packet, self.version);
        self.finish();
        Ok(())
    }

    /// A CONNACK that carries nothing but its reason.
    pub(super) fn write_refusal(&mut self, reason: ReasonCode) {
        let is_allowed = reason.is_error() && reason.is_allowed_in(ReasonIn::ConnAck);
        let reason = if is_allowed { reason } else { ReasonCode::UnspecifiedError };
        let packet = ConnAck { session_present: false, reason, properties: Properties::default() };
        write_conn_ack(self.outbox.buffer(), &packet, self.version);
    }

    // ---- client ------------------------------------------------------------------------------------

    pub(super) fn handle_conn_ack(&mut self, packet: Box<ConnAck>) -> Result<Event, PeerError> {
        if packet.reason.is_error() {
            self.finish();
            return Ok(Event::Connected(packet));
        }
        // 3.2.2-4: "If the Client does not have Session State and receives Session Present set to 1 it
        // MUST close the Network Connection."
        if packet.session_present && self.clean_start {
            let text = "the server has a session that was to be forgotten";
            return Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        }
        let properties = packet.properties.view();
        self.check_method(properties)?;
        self.peer = Peer::of_server(properties);
        if let Some(keep_alive) = properties.server_keep_alive() {
            self.keep_alive = seconds(keep_alive);
        }
        if let Some(expiry) = properties.session_expiry_interval() {
            self.session_expiry_interval = expiry;
        }
        self.expect = Expect::Packets;
        if packet.session_present {
            self.resume();
        } else {
            self.forget_session();
        }
        Ok(Event::Connected(packet))
    }

    // ---- extended authentication ---------------------------------------------------------------------

    pub(super) fn handle_auth(&mut self, packet: Box<Auth>) -> Result<Event, PeerError> {
        let properties = packet.properties.view();
        let connecting = self.expect != Expect::Packets;
        let protocol_error = |text: &str| Err(PeerError::protocol(ReasonCode::ProtocolError, text));
        self.check_method(properties)?;
        let Some(authentication) = &mut self.authentication else {
            // 4.12.0-6, 4.12.0-7.
            return protocol_error("an AUTH, but no authentication method in the CONNECT");
        };
        // 4.12.0-1: every AUTH says its method, but for the end of a re-authentication without a body.
        let is_bare_success = packet.reason == ReasonCode::Success && properties.is_empty();
        if properties.authentication_method().is_none() && !is_bare_success {
            return protocol_error("an AUTH without an authentication method");
        }
        let is_in_order = match (self.side, packet.reason, connecting) {
            (_, ReasonCode::ContinueAuthentication, true) => true,
            (_, ReasonCode::ContinueAuthentication, false) => authentication.is_under_way,
            (Side::Server, ReasonCode::ReAuthenticate, false) => !authentication.is_under_way,
            (Side::Client, ReasonCode::Success, false) => authentication.is_under_way,
            _ => false,
        };
        if !is_in_order {
            return protocol_error("an AUTH whose reason is not due");
        }
        if !connecting {
            authentication.is_under_way = packet.reason != ReasonCode::Success;
        } else {
            self.expect = Expect::Answer;
        }
        Ok(Event::Auth(packet))
    }

    /// 4.12.0-5: the method stays the one of the CONNECT.
    fn check_method(&self, properties: PropertyView<'_>) -> Result<(), PeerError> {
        let ours = self.authentication.as_ref().map(|authentication| authentication.method.as_str());
        match properties.authentication_method() {
            Some(theirs) if ours != Some(theirs) => {
                let text = "an authentication method that is not the one of the CONNECT";
                Err(PeerError::protocol(ReasonCode::ProtocolError, text))
            }
            _ => Ok(()),
        }
    }

    /// A step of an extended authentication: continues one, begins another on an open connection
    /// (client, `ReAuthenticate`), or ends that (server, `Success`). The method is added when
    /// `properties` do not have it.
    ///
    /// # Errors
    /// When the client named no authentication method, or it is not our turn.
    pub fn auth(&mut self, reason: ReasonCode, properties: PropertyView<'_>) -> Result<(), Misuse> {
        let Some(authentication) = &mut self.authentication else { return Err(Misuse::State) };
        let is_in_order = match (self.side, reason, self.expect) {
            (_, ReasonCode::ContinueAuthentication, Expect::Answer) => true,
            (_, ReasonCode::ContinueAuthentication, Expect::Packets) => authentication.is_under_way,
            (Side::Client, ReasonCode::ReAuthenticate, Expect::Packets) => !authentication.is_under_way,
            (Side::Server, ReasonCode::Success, Expect::Packets) => authentication.is_under_way,
            _ => return Err(Misuse::State),
        };
        if !is_in_order {
            return Err(Misuse::State);
        }
        let mut writer = PropertyWriter::new(PropertyIn::Auth);
        if properties.authentication_method().is_none() {
            writer.authentication_method(authentication.method.as_str()).map_err(|_| Misuse::Property)?;
        }
        for property in properties.iter() {
            // 3.1.2-29.
            let is_words = matches!(property.id, PropertyId::ReasonString | PropertyId::UserProperty);
            if !is_words || self.peer.wants_problem_information {
                writer.push(property).map_err(|_| Misuse::Property)?;
            }
        }
        let properties = writer.finish();
        let (size, limit) = (packet_size(1, properties.view()), self.peer.max_packet_size);
        if size > limit as usize {
            return Err(Misuse::TooLarge { size, limit });
        }
        if self.expect == Expect::Answer {
            self.expect = if self.side == Side::Server { Expect::Auth } else { Expect::ConnAck };
        } else {
            authentication.is_under_way = reason != ReasonCode::Success;
        }
        write_auth(self.outbox.buffer(), reason, properties.view());
        Ok(())
    }
}

impl Peer {
    fn of_client(properties: PropertyView<'_>) -> Self {
        Self {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX),
            max_packet_size: properties.maximum_packet_size().unwrap_or(u32::MAX),
            topic_alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            wants_problem_information: properties.request_problem_information().unwrap_or(true),
            wants_response_information: properties.request_response_information().unwrap_or(false),
            ..Self::default()
        }
    }

    fn of_server(properties: PropertyView<'_>) -> Self {
        Self {
            maximum_qos: properties.maximum_qos().unwrap_or(Qos::ExactlyOnce),
            retain_available: properties.retain_available().unwrap_or(true),
            wildcard_available: properties.wildcard_subscription_available().unwrap_or(true),
            identifiers_available: properties.subscription_identifier_available().unwrap_or(true),
            shared_available: properties.shared_subscription_available().unwrap_or(true),
            ..Self::of_client(properties)
        }
    }
}

/// What a CONNECT of ours must keep to.
fn check_connect(connect: &Connect) -> Result<(), Misuse> {
    let is_v3 = connect.version == Version::V3_1_1;
    if is_v3 && connect.password.is_some() && connect.user_name.is_none() {
        return Err(Misuse::Value("3.1.1 has no password without a user name"));
    }
    if is_v3 && connect.client_id.is_empty() && !connect.clean_start {
        return Err(Misuse::Value("3.1.1 keeps no session without a client identifier"));
    }
    if connect.password.as_ref().is_some_and(|password| u16::try_from(password.len()).is_err()) {
        return Err(Misuse::Value("a password has at most 65,535 bytes"));
    }
    if let Some(will) = &connect.will {
        if u16::try_from(will.payload.len()).is_err() {
            return Err(Misuse::Value("the payload of a will has at most 65,535 bytes"));
        }
        check_name(will.topic.as_str(), TopicLimits::NONE)
            .map_err(|_| Misuse::Value("the topic of the will is no topic name"))?;
    }
    Ok(())
}

fn seconds(seconds: u16) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// 3.1.2.11.2; in 3.1.1 the clean session flag says it (3.1.1, 3.1.2.4).
fn session_expiry_interval(connect: &Connect) -> u32 {
    match connect.version {
        Version::V5_0 => connect.properties.view().session_expiry_interval().unwrap_or(0),
        Version::V3_1_1 if connect.clean_start => 0,
        Version::V3_1_1 => u32::MAX,
    }
}

fn authentication(properties: PropertyView<'_>) -> Option<Box<Authentication>> {
    let method = Text::new(properties.authentication_method()?).ok()?;
    Some(Box::new(Authentication { method, is_under_way: false }))
}
