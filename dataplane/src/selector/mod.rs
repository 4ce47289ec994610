//! Message selectors: the conditional expressions of JMS 2.0 section 3.8 that consumers send as the filter
//! `apache.org:selector-filter:string`.
//!
//! A selector is parsed once, when a link is attached, and evaluated on encoded messages. It looks at
//! those sections alone whose values it needs, in the order in which it needs them, and copies nothing.
//!
//! # Names
//!
//! | name | value |
//! |---|---|
//! | `JMSMessageID`, `amqp.message_id` | properties: message-id |
//! | `JMSCorrelationID`, `amqp.correlation_id` | properties: correlation-id |
//! | `JMSType`, `amqp.jms_type`, `amqp.subject` | properties: subject |
//! | `JMSTimestamp`, `amqp.creation_time` | properties: creation-time, in milliseconds |
//! | `JMSExpiration`, `amqp.absolute_expiry_time` | properties: absolute-expiry-time, in milliseconds |
//! | `JMSDestination`, `amqp.to` | properties: to |
//! | `JMSReplyTo`, `amqp.reply_to` | properties: reply-to |
//! | `JMSXGroupID`, `amqp.group_id` | properties: group-id |
//! | `JMSXGroupSeq`, `amqp.group_sequence` | properties: group-sequence |
//! | `JMSXUserID`, `amqp.user_id` | properties: user-id, where it is UTF-8 |
//! | `amqp.content_type`, `amqp.content_encoding`, `amqp.reply_to_group_id` | properties |
//! | `JMSPriority`, `amqp.priority` | header: priority, 4 when absent |
//! | `JMSDeliveryMode`, `amqp.delivery_mode` | header: `'PERSISTENT'` when durable, else `'NON_PERSISTENT'` |
//! | `amqp.durable` | header: durable, a boolean |
//! | any other | the application property of this name |
//!
//! A name may contain full stops. One that is no identifier, such as `content-class`, stands in double
//! quotes. Message ids and correlation ids equal their text, and the text by which JMS clients know them
//! (`ID:AMQP_UUID:` and the other prefixes of the AMQP JMS mapping).
//!
//! # Beyond JMS, and short of it
//!
//! `LIKE`, `IN` and `IS NULL` take any value on their left, and `IN` takes numbers too. Integers are 64 bits
//! wide and approximate numbers are doubles; an integer that overflows, and one that is divided by zero, is
//! unknown. What the broker counts (`JMSXDeliveryCount`, `JMSRedelivered`) cannot be selected on, because
//! JMS leaves that undefined: such a selector is refused.

mod error;
mod evaluate;
mod expression;
mod identifier;
mod lexer;
mod like;
mod parser;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::error::{Problem, SelectorError};
use self::expression::Expression;
use crate::driver::{MQTT_FORMAT, as_amqp};

/// Bytes of a selector.
pub const LENGTH_MAX: usize = 8_192;
/// Parentheses inside one another.
pub const DEPTH_MAX: u32 = 64;
/// Values, names and operators of a selector together.
pub const NODES_MAX: u32 = 1_024;
/// What one evaluation may cost, in entries of a map looked at, characters of `LIKE` compared and operators
/// carried out; a message that needs more does not match.
pub const STEPS_MAX: u32 = 1 << 20;

/// A condition on a message.
#[derive(Clone, Debug)]
pub struct Selector {
    text: Box<str>,
    /// None: every message (JMS 3.8.1: an empty selector is none).
    condition: Option<Expression>,
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    ///
    /// When the text is not a selector, or exceeds [`LENGTH_MAX`], [`DEPTH_MAX`] or [`NODES_MAX`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Self { text: text.into(), condition: parser::parse(text)? })
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the condition is true of a message; not when it is unknown (JMS 3.8.1.2).
    ///
    /// A message that came over MQTT is looked at as AMQP consumers get it: its user properties are
    /// application properties. One of another format, and one that is malformed where it is looked at, matches
    /// the empty selector alone.
    pub fn matches(&self, message_format: u32, message: &[u8]) -> bool {
        let Some(condition) = &self.condition else { return true };
        match message_format {
            AMQP_FORMAT => evaluate::is_true(condition, message),
            MQTT_FORMAT => as_amqp(message).is_some_and(|message| evaluate::is_true(condition, &message)),
            _ => false,
        }
    }
}

impl mq_core::Filter for Selector {
    fn matches(&self, message_format: u32, message: &[u8]) -> bool {
        Self::matches(self, message_format, message)
    }

    fn text(&self) -> &str {
        self.as_str()
    }
}

/// Makes selectors of their texts: those of consumers whose links are on other nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selectors;

impl mq_core::FilterCodec for Selectors {
    fn filter(&self, text: &str) -> Result<Arc<dyn mq_core::Filter>, Box<str>> {
        match Selector::parse(text) {
            Ok(selector) => Ok(Arc::new(selector)),
            Err(error) => Err(error.to_string().into()),
        }
    }
}

/// The message format of AMQP messages (AMQP 2.8.11, 3.2.16).
const AMQP_FORMAT: u32 = 0;
