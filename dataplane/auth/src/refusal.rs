//! Why a client is not let in.

use thiserror::Error;

/// Why an exchange has ended without an identity. None of the texts holds anything that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// What came is no message of the mechanism.
    #[error("the message does not follow its mechanism: {0}")]
    Malformed(&'static str),
    /// The user is unknown or disabled, or the password, proof, certificate or token is wrong: which of
    /// them is not told.
    #[error("the user is not known or the credentials are wrong")]
    Credentials,
    /// The credentials are good, but the client wants to be somebody else with them.
    #[error("acting for another user is not supported; leave the authorization identity empty")]
    AnotherUser,
    /// The client insists on channel binding, which is not offered.
    #[error("channel binding is not supported; choose a mechanism without it")]
    ChannelBinding,
    /// Too many attempts have failed, or too many are under way.
    #[error("too many attempts; try again later")]
    Throttled,
    /// Whoever would know cannot be asked now.
    #[error("credentials of this kind cannot be checked at the moment; try again later")]
    Unavailable,
    /// The policy of the listener does not allow this mechanism.
    #[error("this way to log in is not allowed here")]
    NotAllowed,
}

impl Refusal {
    /// A word for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Credentials => "credentials",
            Self::AnotherUser => "another-user",
            Self::ChannelBinding => "channel-binding",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::NotAllowed => "not-allowed",
        }
    }

    /// Whether the same attempt may succeed later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }

    /// Whether somebody may have been guessing, which a [`Throttle`](crate::Throttle) should hear of.
    pub const fn counts_as_guess(self) -> bool {
        matches!(self, Self::Credentials | Self::AnotherUser)
    }
}
