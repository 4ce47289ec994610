//! Reason codes (2.4) and the return codes of MQTT 3.1.1 they stand for.

use std::fmt;

use crate::connection::Side;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What came of a request, or why a connection ends (2.4). From 0x80 on it is a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl ReasonCode {
            /// Every reason code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The reason code of a byte.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name of the specification. Code 0x00 has other names in DISCONNECT and SUBACK.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Also "normal disconnection" (3.14.2.1) and "granted QoS 0" (3.9.3).
    Success = 0x00, "success";
    GrantedQos1 = 0x01, "granted QoS 1";
    GrantedQos2 = 0x02, "granted QoS 2";
    /// The will is to be published although the client disconnects (3.14.2.1).
    DisconnectWithWill = 0x04, "disconnect with will message";
    NoMatchingSubscribers = 0x10, "no matching subscribers";
    NoSubscriptionExisted = 0x11, "no subscription existed";
    ContinueAuthentication = 0x18, "continue authentication";
    ReAuthenticate = 0x19, "re-authenticate";
    UnspecifiedError = 0x80, "unspecified error";
    MalformedPacket = 0x81, "malformed packet";
    ProtocolError = 0x82, "protocol error";
    ImplementationSpecificError = 0x83, "implementation specific error";
    UnsupportedProtocolVersion = 0x84, "unsupported protocol version";
    ClientIdentifierNotValid = 0x85, "client identifier not valid";
    BadUserNameOrPassword = 0x86, "bad user name or password";
    NotAuthorized = 0x87, "not authorized";
    ServerUnavailable = 0x88, "server unavailable";
    ServerBusy = 0x89, "server busy";
    Banned = 0x8a, "banned";
    ServerShuttingDown = 0x8b, "server shutting down";
    BadAuthenticationMethod = 0x8c, "bad authentication method";
    KeepAliveTimeout = 0x8d, "keep alive timeout";
    SessionTakenOver = 0x8e, "session taken over";
    TopicFilterInvalid = 0x8f, "topic filter invalid";
    TopicNameInvalid = 0x90, "topic name invalid";
    PacketIdentifierInUse = 0x91, "packet identifier in use";
    PacketIdentifierNotFound = 0x92, "packet identifier not found";
    ReceiveMaximumExceeded = 0x93, "receive maximum exceeded";
    TopicAliasInvalid = 0x94, "topic alias invalid";
    PacketTooLarge = 0x95, "packet too large";
    MessageRateTooHigh = 0x96, "message rate too high";
    QuotaExceeded = 0x97, "quota exceeded";
    AdministrativeAction = 0x98, "administrative action";
    PayloadFormatInvalid = 0x99, "payload format invalid";
    RetainNotSupported = 0x9a, "retain not supported";
    QosNotSupported = 0x9b, "QoS not supported";
    UseAnotherServer = 0x9c, "use another server";
    ServerMoved = 0x9d, "server moved";
    SharedSubscriptionsNotSupported = 0x9e, "shared subscriptions not supported";
    ConnectionRateExceeded = 0x9f, "connection rate exceeded";
    MaximumConnectTime = 0xa0, "maximum connect time";
    SubscriptionIdentifiersNotSupported = 0xa1, "subscription identifiers not supported";
    WildcardSubscriptionsNotSupported = 0xa2, "wildcard subscriptions not supported";
}

/// A packet that carries reason codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonIn {
    ConnAck,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    SubAck,
    UnsubAck,
    Disconnect,
    Auth,
}

impl ReasonIn {
    /// The section that lists the packet's reason codes.
    pub fn section(self) -> &'static str {
        match self {
            Self::ConnAck => "3.2.2.2",
            Self::PubAck => "3.4.2.1",
            Self::PubRec => "3.5.2.1",
            Self::PubRel => "3.6.2.1",
            Self::PubComp => "3.7.2.1",
            Self::SubAck => "3.9.3",
            Self::UnsubAck => "3.11.3",
            Self::Disconnect => "3.14.2.1",
            Self::Auth => "3.15.2.1",
        }
    }
}

impl ReasonCode {
    /// The number on the wire.
    pub fn to_byte(self) -> u8 {
        self as u8
    }

    /// Whether the request failed (2.4).
    pub fn is_error(self) -> bool {
        self.to_byte() >= 0x80
    }

    /// Whether the specification lists the code for this packet (2.4).
    pub fn is_allowed_in(self, packet: ReasonIn) -> bool {
        let code = self.to_byte();
        match packet {
            ReasonIn::ConnAck => {
                matches!(code, 0x00 | 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f)
            }
            ReasonIn::PubAck | ReasonIn::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            ReasonIn::PubRel | ReasonIn::PubComp => matches!(code, 0x00 | 0x92),
            ReasonIn::SubAck => {
                matches!(code, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2)
            }
            ReasonIn::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91),
            ReasonIn::Disconnect => {
                self.is_disconnect_from(Side::Client) || self.is_disconnect_from(Side::Server)
            }
            ReasonIn::Auth => matches!(code, 0x00 | 0x18 | 0x19),
        }
    }

    /// Whether this side may end a connection with the code (3.14.2.1).
    pub fn is_disconnect_from(self, side: Side) -> bool {
        match (self.to_byte(), side) {
            (0x00 | 0x80..=0x83 | 0x90 | 0x93..=0x99, _) => true,
            (0x04, Side::Client) => true,
            (0x87 | 0x89 | 0x8b | 0x8d..=0x8f | 0x9a..=0xa2, Side::Server) => true,
            // The table of 2.4 has it in DISCONNECT, for a failed re-authentication (4.12.1).
            (0x8c, Side::Server) => true,
            _ => false,
        }
    }

    /// The CONNACK return code of MQTT 3.1.1 (3.1.1, 3.2.2.3) that says it best.
    pub fn to_return_code(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            Self::NotAuthorized | Self::Banned => 5,
            reason if reason.is_error() => 3,
            _ => 0,
        }
    }

    /// The reason that a CONNACK return code of MQTT 3.1.1 stands for.
    pub fn from_return_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", self.name(), self.to_byte())
    }
}
