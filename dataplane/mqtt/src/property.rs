//! Properties (2.2.2): kept as the bytes they travel in, read where they are needed.
//!
//! A list is checked once, when it is decoded or built; after that reading it cannot fail. Order and
//! repetition of user properties are kept because nothing takes the list apart.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Reader, write_variable};
use crate::packet::{Qos, check_text};

/// A list of properties may stand in these places (2.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyIn {
    Connect,
    Will,
    ConnAck,
    Publish,
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    Ack,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
}

impl PropertyIn {
    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The name of the place.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Will => "the will",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Ack => "an acknowledgement",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

/// The kinds of value that a property has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Short,
    Long,
    Variable,
    Text,
    Binary,
    Pair,
}

macro_rules! property_ids {
    ($($name:ident = $id:literal, $text:literal, $kind:ident, [$($place:ident)*];)*) => {
        /// What a property says (2.2.2.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum PropertyId {
            $($name = $id,)*
        }

        impl PropertyId {
            /// Every property, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The property of a number.
            pub fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name of the specification.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }

            fn places(self) -> u16 {
                match self {
                    $(Self::$name => 0 $(| 1 << PropertyIn::$place as u16)*,)*
                }
            }
        }
    };
}

// Table 2-4 of 2.2.2.2.
property_ids! {
    PayloadFormatIndicator = 0x01, "payload format indicator", Flag, [Publish Will];
    MessageExpiryInterval = 0x02, "message expiry interval", Long, [Publish Will];
    ContentType = 0x03, "content type", Text, [Publish Will];
    ResponseTopic = 0x08, "response topic", Text, [Publish Will];
    CorrelationData = 0x09, "correlation data", Binary, [Publish Will];
    SubscriptionIdentifier = 0x0b, "subscription identifier", Variable, [Publish Subscribe];
    SessionExpiryInterval = 0x11, "session expiry interval", Long, [Connect ConnAck Disconnect];
    AssignedClientIdentifier = 0x12, "assigned client identifier", Text, [ConnAck];
    ServerKeepAlive = 0x13, "server keep alive", Short, [ConnAck];
    AuthenticationMethod = 0x15, "authentication method", Text, [Connect ConnAck Auth];
    AuthenticationData = 0x16, "authentication data", Binary, [Connect ConnAck Auth];
    RequestProblemInformation = 0x17, "request problem information", Flag, [Connect];
    WillDelayInterval = 0x18, "will delay interval", Long, [Will];
    RequestResponseInformation = 0x19, "request response information", Flag, [Connect];
    ResponseInformation = 0x1a, "response information", Text, [ConnAck];
    ServerReference = 0x1c, "server reference", Text, [ConnAck Disconnect];
    ReasonString = 0x1f, "reason string", Text, [ConnAck Ack SubAck UnsubAck Disconnect Auth];
    ReceiveMaximum = 0x21, "receive maximum", Short, [Connect ConnAck];
    TopicAliasMaximum = 0x22, "topic alias maximum", Short, [Connect ConnAck];
    TopicAlias = 0x23, "topic alias", Short, [Publish];
    MaximumQos = 0x24, "maximum QoS", Flag, [ConnAck];
    RetainAvailable = 0x25, "retain available", Flag, [ConnAck];
    UserProperty = 0x26, "user property", Pair,
        [Connect Will ConnAck Publish Ack Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth];
    MaximumPacketSize = 0x27, "maximum packet size", Long, [Connect ConnAck];
    WildcardSubscriptionAvailable = 0x28, "wildcard subscription available", Flag, [ConnAck];
    SubscriptionIdentifierAvailable = 0x29, "subscription identifier available", Flag, [ConnAck];
    SharedSubscriptionAvailable = 0x2a, "shared subscription available", Flag, [ConnAck];
}

impl PropertyId {
    /// Whether the property may stand there.
    pub fn is_allowed_in(self, place: PropertyIn) -> bool {
        self.places() & place.bit() != 0
    }

    /// Whether the property may stand there more than once.
    pub fn is_repeatable_in(self, place: PropertyIn) -> bool {
        match self {
            Self::UserProperty => true,
            // 3.3.2.3.8: one for each subscription that the message matched.
            Self::SubscriptionIdentifier => place == PropertyIn::Publish,
            _ => false,
        }
    }
}

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One byte that is 0 or 1.
    Flag(bool),
    Short(u16),
    Long(u32),
    /// A variable byte integer.
    Variable(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    /// A name and its value.
    Pair(&'a str, &'a str),
}

/// A property and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    pub id: PropertyId,
    pub value: Value<'a>,
}

/// Why a property cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    #[error("{} is not allowed in {}", id.name(), place.name())]
    NotAllowed { id: PropertyId, place: PropertyIn },
    #[error("{} stands there already", .0.name())]
    Repeated(PropertyId),
    #[error("{} has a value that the specification does not allow", .0.name())]
    Value(PropertyId),
}

/// A checked list of properties, owned: a slice of what arrived, or built with [`PropertyWriter`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Bytes);

impl Properties {
    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The list, to be read.
    pub fn view(&self) -> PropertyView<'_> {
        PropertyView(&self.0)
    }

    /// Whether there is no property.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes on the wire, without the length before them.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// A copy that does not keep the buffer alive that the list arrived in.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Reads a list that was kept, checking it anew.
    ///
    /// # Errors
    /// When the bytes are not a list of properties for this place.
    pub fn decode(bytes: Bytes, place: PropertyIn, max_properties: u16) -> Result<Self, DecodeError> {
        check(&bytes, 0, place, max_properties)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// A checked list of properties, borrowed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct PropertyView<'a>(&'a [u8]);

impl<'a> PropertyView<'a> {
    pub(crate) fn checked(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A list that was checked before it was kept: the bytes of a [`Properties`], or of some of its
    /// [`spans`](Self::spans). Reading ends early where they are neither.
    pub fn kept(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is no property.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The bytes on the wire, without the length before them.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The properties in their order.
    pub fn iter(self) -> PropertyIter<'a> {
        PropertyIter { reader: Reader::new(self.0, 0) }
    }

    /// The properties as the bytes they take, in their order, without a look at their values.
    pub fn spans(self) -> PropertySpans<'a> {
        PropertySpans { rest: self.0 }
    }

    fn all(self, id: PropertyId) -> impl Iterator<Item = Value<'a>> {
        let spans = self.spans().filter(move |(found, _)| *found == id);
        spans.filter_map(|(_, span)| read(&mut Reader::new(span, 0)).ok()).map(|property| property.value)
    }

    fn find(self, id: PropertyId) -> Option<Value<'a>> {
        self.all(id).next()
    }

    fn flag(self, id: PropertyId) -> Option<bool> {
        match self.find(id) {
            Some(Value::Flag(value)) => Some(value),
            _ => None,
        }
    }

    fn short(self, id: PropertyId) -> Option<u16> {
        match self.find(id) {
            Some(Value::Short(value)) => Some(value),
            _ => None,
        }
    }

    fn long(self, id: PropertyId) -> Option<u32> {
        match self.find(id) {
            Some(Value::Long(value)) => Some(value),
            _ => None,
        }
    }

    fn text(self, id: PropertyId) -> Option<&'a str> {
        match self.find(id) {
            Some(Value::Text(value)) => Some(value),
            _ => None,
        }
    }

    fn binary(self, id: PropertyId) -> Option<&'a [u8]> {
        match self.find(id) {
            Some(Value::Binary(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether the payload is UTF-8 text (3.3.2.3.2).
    pub fn payload_format_indicator(self) -> Option<bool> {
        self.flag(PropertyId::PayloadFormatIndicator)
    }

    /// Seconds (3.3.2.3.3).
    pub fn message_expiry_interval(self) -> Option<u32> {
        self.long(PropertyId::MessageExpiryInterval)
    }

    /// What the payload is (3.3.2.3.9).
    pub fn content_type(self) -> Option<&'a str> {
        self.text(PropertyId::ContentType)
    }

    /// Where to answer (3.3.2.3.5).
    pub fn response_topic(self) -> Option<&'a str> {
        self.text(PropertyId::ResponseTopic)
    }

    /// What to answer with (3.3.2.3.6).
    pub fn correlation_data(self) -> Option<&'a [u8]> {
        self.binary(PropertyId::CorrelationData)
    }

    /// The identifiers of the subscriptions that matched (3.3.2.3.8), or the one of a SUBSCRIBE
    /// (3.8.2.1.2).
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> + 'a {
        self.all(PropertyId::SubscriptionIdentifier).filter_map(|value| match value {
            Value::Variable(value) => Some(value),
            _ => None,
        })
    }

    /// Seconds that a session outlives its connection; `u32::MAX` means for ever (3.1.2.11.2).
    pub fn session_expiry_interval(self) -> Option<u32> {
        self.long(PropertyId::SessionExpiryInterval)
    }

    /// The client identifier that the server chose (3.2.2.3.7).
    pub fn assigned_client_identifier(self) -> Option<&'a str> {
        self.text(PropertyId::AssignedClientIdentifier)
    }

    /// Seconds; replaces the keep alive of the CONNECT (3.2.2.3.14).
    pub fn server_keep_alive(self) -> Option<u16> {
        self.short(PropertyId::ServerKeepAlive)
    }

    /// The method of an extended authentication (4.12).
    pub fn authentication_method(self) -> Option<&'a str> {
        self.text(PropertyId::AuthenticationMethod)
    }

    /// What the method says (4.12).
    pub fn authentication_data(self) -> Option<&'a [u8]> {
        self.binary(PropertyId::AuthenticationData)
    }

    /// Whether reasons in words are wanted on every packet; absent means yes (3.1.2.11.7).
    pub fn request_problem_information(self) -> Option<bool> {
        self.flag(PropertyId::RequestProblemInformation)
    }

    /// Seconds that the will waits (3.1.3.2.2).
    pub fn will_delay_interval(self) -> Option<u32> {
        self.long(PropertyId::WillDelayInterval)
    }

    /// Whether response information is wanted; absent means no (3.1.2.11.6).
    pub fn request_response_information(self) -> Option<bool> {
        self.flag(PropertyId::RequestResponseInformation)
    }

    /// What a response topic may be made of (3.2.2.3.15).
    pub fn response_information(self) -> Option<&'a str> {
        self.text(PropertyId::ResponseInformation)
    }

    /// Another server (4.11).
    pub fn server_reference(self) -> Option<&'a str> {
        self.text(PropertyId::ServerReference)
    }

    /// The reason in words.
    pub fn reason_string(self) -> Option<&'a str> {
        self.text(PropertyId::ReasonString)
    }

    /// Publications of QoS 1 and 2 that may be under way at once; absent means 65,535 (3.1.2.11.3).
    pub fn receive_maximum(self) -> Option<u16> {
        self.short(PropertyId::ReceiveMaximum)
    }

    /// Topic aliases that may be set up; absent means 0 (3.1.2.11.5).
    pub fn topic_alias_maximum(self) -> Option<u16> {
        self.short(PropertyId::TopicAliasMaximum)
    }

    /// The number that stands for the topic (3.3.2.3.4).
    pub fn topic_alias(self) -> Option<u16> {
        self.short(PropertyId::TopicAlias)
    }

    /// The highest QoS that the server takes; absent means 2 (3.2.2.3.4).
    pub fn maximum_qos(self) -> Option<Qos> {
        self.flag(PropertyId::MaximumQos).map(|one| if one { Qos::AtLeastOnce } else { Qos::AtMostOnce })
    }

    /// Whether the server retains messages; absent means yes (3.2.2.3.5).
    pub fn retain_available(self) -> Option<bool> {
        self.flag(PropertyId::RetainAvailable)
    }

    /// Names and values in their order, repeated names included.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.all(PropertyId::UserProperty).filter_map(|value| match value {
            Value::Pair(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// Bytes; absent means any size (3.1.2.11.4).
    pub fn maximum_packet_size(self) -> Option<u32> {
        self.long(PropertyId::MaximumPacketSize)
    }

    /// Whether filters may contain wildcards; absent means yes (3.2.2.3.11).
    pub fn wildcard_subscription_available(self) -> Option<bool> {
        self.flag(PropertyId::WildcardSubscriptionAvailable)
    }

    /// Whether subscriptions may have identifiers; absent means yes (3.2.2.3.12).
    pub fn subscription_identifier_available(self) -> Option<bool> {
        self.flag(PropertyId::SubscriptionIdentifierAvailable)
    }

    /// Whether subscriptions may be shared; absent means yes (3.2.2.3.13).
    pub fn shared_subscription_available(self) -> Option<bool> {
        self.flag(PropertyId::SharedSubscriptionAvailable)
    }
}

impl fmt::Debug for PropertyView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|property| (property.id.name(), property.value))).finish()
    }
}

/// The properties of a list in their order.
#[derive(Clone, Debug)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        // The list was checked: an error cannot come.
        read(&mut self.reader).ok()
    }
}

/// The properties of a checked list, each as the bytes it takes.
#[derive(Clone, Debug)]
pub struct PropertySpans<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PropertySpans<'a> {
    type Item = (PropertyId, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Every number is below 0x80, and no variable byte integer is longer than it needs: one byte.
        let (&number, value) = self.rest.split_first()?;
        let id = PropertyId::from_number(number.into())?;
        let prefixed = |bytes: &[u8]| {
            let length = bytes.first_chunk().copied().map_or(0, u16::from_be_bytes);
            2 + usize::from(length)
        };
        let length = match id.kind() {
            Kind::Flag => 1,
            Kind::Short => 2,
            Kind::Long => 4,
            Kind::Variable => 1 + value.iter().take_while(|byte| **byte >= 0x80).count(),
            Kind::Text | Kind::Binary => prefixed(value),
            Kind::Pair => {
                let name = prefixed(value);
                name + prefixed(value.get(name..).unwrap_or_default())
            }
        };
        // The list was checked: there is as much.
        let (span, rest) = self.rest.split_at_checked(1 + length)?;
        self.rest = rest;
        Some((id, span))
    }
}

/// Reads one property with its value, without regard to where it stands.
fn read<'a>(reader: &mut Reader<'a>) -> Result<Property<'a>, DecodeError> {
    let offset = reader.offset();
    let number = reader.variable("property identifier")?;
    let Some(id) = PropertyId::from_number(number) else {
        return Err(DecodeError::UnknownProperty { number, offset });
    };
    let name = id.name();
    let value = match id.kind() {
        Kind::Flag => match reader.byte(name)? {
            0 => Value::Flag(false),
            1 => Value::Flag(true),
            value => return Err(DecodeError::PropertyValue { id, value: value.into(), offset }),
        },
        Kind::Short => Value::Short(reader.short(name)?),
        Kind::Long => Value::Long(reader.long(name)?),
        Kind::Variable => Value::Variable(reader.variable(name)?),
        Kind::Text => Value::Text(reader.text(name)?),
        Kind::Binary => Value::Binary(reader.binary(name)?),
        Kind::Pair => Value::Pair(reader.text("user property name")?, reader.text("user property value")?),
    };
    Ok(Property { id, value })
}

/// Whether the value is one that the specification allows, as far as it depends on itself alone.
fn has_allowed_value(property: &Property<'_>) -> bool {
    match (property.id, property.value) {
        (PropertyId::ReceiveMaximum | PropertyId::TopicAlias, Value::Short(0))
        | (PropertyId::MaximumPacketSize, Value::Long(0))
        | (PropertyId::SubscriptionIdentifier, Value::Variable(0)) => false,
        // 3.3.2-14: "The Response Topic MUST NOT contain wildcard characters".
        (PropertyId::ResponseTopic, Value::Text(topic)) => !topic.contains(['+', '#']),
        _ => true,
    }
}

/// Checks a list of properties (2.2.2), and says which there are: a bit for each number. `offset` is
/// where it begins in the packet.
pub(crate) fn check(
    bytes: &[u8],
    offset: usize,
    place: PropertyIn,
    max_properties: u16,
) -> Result<PropertySet, DecodeError> {
    let mut reader = Reader::new(bytes, offset);
    let mut seen = PropertySet::default();
    let mut count = 0_u32;
    while !reader.is_empty() {
        let offset = reader.offset();
        let property = read(&mut reader)?;
        let id = property.id;
        if !id.is_allowed_in(place) {
            return Err(DecodeError::PropertyNotAllowed { id, place, offset });
        }
        if seen.contains(id) && !id.is_repeatable_in(place) {
            return Err(DecodeError::PropertyRepeated { id, place, offset });
        }
        seen.insert(id);
        if !has_allowed_value(&property) {
            return Err(match id {
                PropertyId::TopicAlias => DecodeError::TopicAliasZero { offset },
                _ => DecodeError::PropertyValue { id, value: 0, offset },
            });
        }
        count += 1;
        if count > u32::from(max_properties) {
            return Err(DecodeError::TooMany { what: "properties", limit: max_properties, offset });
        }
    }
    // 3.1.2.11.10: "It is a Protocol Error to include Authentication Data if there is no
    // Authentication Method."
    if seen.contains(PropertyId::AuthenticationData) && !seen.contains(PropertyId::AuthenticationMethod) {
        return Err(DecodeError::AuthenticationMethodMissing);
    }
    Ok(seen)
}

/// Which properties a list has: a bit for each number, all of which are below 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PropertySet(u64);

impl PropertySet {
    pub(crate) fn contains(self, id: PropertyId) -> bool {
        self.0 & (1 << id as u8) != 0
    }

    fn insert(&mut self, id: PropertyId) {
        self.0 |= 1 << id as u8;
    }
}

/// Builds a list of properties for one place.
///
/// ```
/// use mq_mqtt::property::{PropertyIn, PropertyWriter};
///
/// let mut writer = PropertyWriter::new(PropertyIn::Publish);
/// writer.content_type("text/plain")?.user_property("unit", "celsius")?;
/// assert_eq!(writer.finish().view().content_type(), Some("text/plain"));
/// # Ok::<(), mq_mqtt::property::PropertyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PropertyWriter {
    place: PropertyIn,
    seen: PropertySet,
    bytes: BytesMut,
}

impl PropertyWriter {
    /// An empty list for a place.
    pub fn new(place: PropertyIn) -> Self {
        Self { place, seen: PropertySet::default(), bytes: BytesMut::new() }
    }

    /// Appends a property.
    ///
    /// # Errors
    /// When it may not stand here, may not be repeated, or has a value that is not allowed.
    pub fn push(&mut self, property: Property<'_>) -> Result<&mut Self, PropertyError> {
        let Property { id, value } = property;
        let place = self.place;
        if !id.is_allowed_in(place) {
            return Err(PropertyError::NotAllowed { id, place });
        }
        if self.seen.contains(id) && !id.is_repeatable_in(place) {
            return Err(PropertyError::Repeated(id));
        }
        if !has_allowed_value(&property) || !is_writable(id.kind(), value) {
            return Err(PropertyError::Value(id));
        }
        self.seen.insert(id);
        write(&mut self.bytes, property);
        Ok(self)
    }

    /// Appends the properties of another list that may stand here.
    ///
    /// # Errors
    /// When one of them may not be repeated and stands here already.
    pub fn extend(&mut self, properties: PropertyView<'_>) -> Result<&mut Self, PropertyError> {
        let place = self.place;
        for property in properties.iter().filter(|property| property.id.is_allowed_in(place)) {
            self.push(property)?;
        }
        Ok(self)
    }

    /// Whether the property stands in the list.
    pub fn contains(&self, id: PropertyId) -> bool {
        self.seen.contains(id)
    }

    /// The list.
    pub fn finish(self) -> Properties {
        Properties(self.bytes.freeze())
    }
}

macro_rules! writers {
    ($($(#[$doc:meta])* $method:ident($argument:ty) => $id:ident $value:ident;)*) => {
        impl PropertyWriter {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As of [`push`](Self::push).
                pub fn $method(&mut self, value: $argument) -> Result<&mut Self, PropertyError> {
                    self.push(Property { id: PropertyId::$id, value: Value::$value(value) })
                }
            )*
        }
    };
}

writers! {
    /// Says whether the payload is UTF-8 text (3.3.2.3.2).
    payload_format_indicator(bool) => PayloadFormatIndicator Flag;
    /// Seconds (3.3.2.3.3).
    message_expiry_interval(u32) => MessageExpiryInterval Long;
    /// What the payload is (3.3.2.3.9).
    content_type(&str) => ContentType Text;
    /// Where to answer (3.3.2.3.5).
    response_topic(&str) => ResponseTopic Text;
    /// What to answer with (3.3.2.3.6).
    correlation_data(&[u8]) => CorrelationData Binary;
    /// From 1 to 268,435,455 (3.8.2.1.2).
    subscription_identifier(u32) => SubscriptionIdentifier Variable;
    /// Seconds (3.1.2.11.2).
    session_expiry_interval(u32) => SessionExpiryInterval Long;
    /// The client identifier that the server chose (3.2.2.3.7).
    assigned_client_identifier(&str) => AssignedClientIdentifier Text;
    /// Seconds (3.2.2.3.14).
    server_keep_alive(u16) => ServerKeepAlive Short;
    /// The method of an extended authentication (4.12).
    authentication_method(&str) => AuthenticationMethod Text;
    /// What the method says (4.12).
    authentication_data(&[u8]) => AuthenticationData Binary;
    /// Whether reasons in words are wanted on every packet (3.1.2.11.7).
    request_problem_information(bool) => RequestProblemInformation Flag;
    /// Seconds that the will waits (3.1.3.2.2).
    will_delay_interval(u32) => WillDelayInterval Long;
    /// Whether response information is wanted (3.1.2.11.6).
    request_response_information(bool) => RequestResponseInformation Flag;
    /// What a response topic may be made of (3.2.2.3.15).
    response_information(&str) => ResponseInformation Text;
    /// Another server (4.11).
    server_reference(&str) => ServerReference Text;
    /// The reason in words.
    reason_string(&str) => ReasonString Text;
    /// At least 1 (3.1.2.11.3).
    receive_maximum(u16) => ReceiveMaximum Short;
    /// Topic aliases that the peer may set up (3.1.2.11.5).
    topic_alias_maximum(u16) => TopicAliasMaximum Short;
    /// At least 1; bytes (3.1.2.11.4).
    maximum_packet_size(u32) => MaximumPacketSize Long;
}

impl PropertyWriter {
    /// A name and a value; names may be repeated.
    ///
    /// # Errors
    /// As of [`push`](Self::push).
    pub fn user_property(&mut self, name: &str, value: &str) -> Result<&mut Self, PropertyError> {
        self.push(Property { id: PropertyId::UserProperty, value: Value::Pair(name, value) })
    }
}

/// Whether the value is of the property's kind and fits its encoding.
fn is_writable(kind: Kind, value: Value<'_>) -> bool {
    let is_text = |text: &str| check_text(text.as_bytes()).is_ok();
    match (kind, value) {
        (Kind::Flag, Value::Flag(_)) | (Kind::Short, Value::Short(_)) | (Kind::Long, Value::Long(_)) => true,
        (Kind::Variable, Value::Variable(value)) => value <= crate::codec::MAX_VARIABLE,
        (Kind::Text, Value::Text(text)) => is_text(text),
        (Kind::Binary, Value::Binary(binary)) => u16::try_from(binary.len()).is_ok(),
        (Kind::Pair, Value::Pair(name, value)) => is_text(name) && is_text(value),
        _ => false,
    }
}

/// Writes a property whose value has been checked.
pub(crate) fn write(out: &mut BytesMut, property: Property<'_>) {
    out.put_u8(property.id as u8);
    match property.value {
        Value::Flag(value) => out.put_u8(value.into()),
        Value::Short(value) => out.put_u16(value),
        Value::Long(value) => out.put_u32(value),
        Value::Variable(value) => write_variable(out, value),
        Value::Text(text) => put_bytes(out, text.as_bytes()),
        Value::Binary(binary) => put_bytes(out, binary),
        Value::Pair(name, value) => {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
    }
}

/// Writes bytes behind their length, which has been checked.
pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    // What is longer was refused when the value was made.
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes));
}
