//! The condition names that the core gives to producers with a rejected delivery. They are part of
//! the product's vocabulary: the same on every protocol that can carry them.

/// No address of that name.
pub const NOT_FOUND: &str = "amqp:not-found";
/// The message does not say where it goes.
pub const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
/// The message is larger than its address allows.
pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
