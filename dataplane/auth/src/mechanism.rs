//! The ways in which a client can say who it is.

use std::fmt;

use crate::scram::ScramHash;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// The TLS client certificate says it (RFC 4422, appendix A).
    External,
    /// RFC 5802 with the hash of SHA-512.
    ScramSha512,
    /// RFC 7677.
    ScramSha256,
    /// A bearer token (RFC 7628).
    OAuthBearer,
    /// A bearer token as Google's mail servers have taken it before RFC 7628.
    XOAuth2,
    /// Name and password as they are (RFC 4616).
    Plain,
    /// Nobody (RFC 4505).
    Anonymous,
}

impl Mechanism {
    /// All of them, in the order in which they are offered: what tells least of a secret first.
    pub const ALL: [Self; 7] = [
        Self::External,
        Self::ScramSha512,
        Self::ScramSha256,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Anonymous,
    ];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The mechanism of a registered name; RFC 4422, 3.1: names are of upper case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The hash, if this is SCRAM.
    pub const fn scram_hash(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha256 => Some(ScramHash::Sha256),
            Self::ScramSha512 => Some(ScramHash::Sha512),
            _ => None,
        }
    }

    /// Whether a password or token crosses the wire as it is, so that only an encrypted connection
    /// should offer it.
    pub const fn exposes_secret(self) -> bool {
        matches!(self, Self::Plain | Self::OAuthBearer | Self::XOAuth2)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_mechanisms_and_nothing_else_does() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
        }
        for name in ["", "plain", "PLAIN ", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "XOAUTH"] {
            assert_eq!(Mechanism::from_name(name), None, "{name}");
        }
    }
}
