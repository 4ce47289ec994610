//! The condition names that the core gives to producers with a rejected delivery. They are part of
//! the product's vocabulary: the same on every protocol that can carry them.

/// No address of that name.
pub const NOT_FOUND: &str = "amqp:not-found";
/// The message does not say where it goes.
pub const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
/// No room: a queue is full, or a disk.
pub const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
/// The address is no name that a message can be sent to.
pub const INVALID_FIELD: &str = "amqp:invalid-field";
/// The address cannot do what is asked of it.
pub const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
/// The node failed.
pub const INTERNAL_ERROR: &str = "amqp:internal-error";
/// There is no transaction of that name (AMQP 4.5.8).
pub const UNKNOWN_TRANSACTION: &str = "amqp:transaction:unknown-id";
/// The transaction was rolled back instead of committed (AMQP 4.5.8).
pub const ROLLED_BACK: &str = "amqp:transaction:rollback";
/// The message is larger than its address allows.
pub const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
