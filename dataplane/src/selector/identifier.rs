//! Names of a selector: which part of a message each stands for.

use mq_amqp::message::PropertiesField;

use super::error::{Problem, quoted};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identifier {
    Durable,
    /// Durable, in the words of JMS.
    DeliveryMode,
    Priority,
    Field(PropertiesField),
    /// An application property.
    Property(Box<str>),
}

/// The names that JMS 3.8.1.1 and its mapping to AMQP give to what is no application property.
const FIELDS: [(&str, Identifier); 29] = [
    ("JMSCorrelationID", Identifier::Field(PropertiesField::CorrelationId)),
    ("JMSDeliveryMode", Identifier::DeliveryMode),
    ("JMSDestination", Identifier::Field(PropertiesField::To)),
    ("JMSExpiration", Identifier::Field(PropertiesField::AbsoluteExpiryTime)),
    ("JMSMessageID", Identifier::Field(PropertiesField::MessageId)),
    ("JMSPriority", Identifier::Priority),
    ("JMSReplyTo", Identifier::Field(PropertiesField::ReplyTo)),
    ("JMSTimestamp", Identifier::Field(PropertiesField::CreationTime)),
    ("JMSType", Identifier::Field(PropertiesField::Subject)),
    ("JMSXGroupID", Identifier::Field(PropertiesField::GroupId)),
    ("JMSXGroupSeq", Identifier::Field(PropertiesField::GroupSequence)),
    ("JMSXUserID", Identifier::Field(PropertiesField::UserId)),
    ("amqp.absolute_expiry_time", Identifier::Field(PropertiesField::AbsoluteExpiryTime)),
    ("amqp.content_encoding", Identifier::Field(PropertiesField::ContentEncoding)),
    ("amqp.content_type", Identifier::Field(PropertiesField::ContentType)),
    ("amqp.correlation_id", Identifier::Field(PropertiesField::CorrelationId)),
    ("amqp.creation_time", Identifier::Field(PropertiesField::CreationTime)),
    ("amqp.delivery_mode", Identifier::DeliveryMode),
    ("amqp.durable", Identifier::Durable),
    ("amqp.group_id", Identifier::Field(PropertiesField::GroupId)),
    ("amqp.group_sequence", Identifier::Field(PropertiesField::GroupSequence)),
    ("amqp.jms_type", Identifier::Field(PropertiesField::Subject)),
    ("amqp.message_id", Identifier::Field(PropertiesField::MessageId)),
    ("amqp.priority", Identifier::Priority),
    ("amqp.reply_to", Identifier::Field(PropertiesField::ReplyTo)),
    ("amqp.reply_to_group_id", Identifier::Field(PropertiesField::ReplyToGroupId)),
    ("amqp.subject", Identifier::Field(PropertiesField::Subject)),
    ("amqp.to", Identifier::Field(PropertiesField::To)),
    ("amqp.user_id", Identifier::Field(PropertiesField::UserId)),
];

/// What only a receiver knows of a message.
const ON_RECEIPT: [&str; 7] = [
    "JMSDeliveryTime",
    "JMSRedelivered",
    "JMSXDeliveryCount",
    "JMSXRcvTimestamp",
    "JMSXState",
    "amqp.delivery_count",
    "amqp.redelivered",
];

impl Identifier {
    /// Resolves a name as it is written, without quotes. Case matters (JMS 3.8.1.1).
    pub(super) fn resolve(name: &str) -> Result<Self, Problem> {
        if let Some((_, identifier)) = FIELDS.iter().find(|(field, _)| *field == name) {
            return Ok(identifier.clone());
        }
        if ON_RECEIPT.contains(&name) {
            return Err(Problem::OnReceipt(quoted(name)));
        }
        // JMS 3.5.1: names that begin with JMSX and JMS_ are those of properties.
        let is_property = name.starts_with("JMSX") || name.starts_with("JMS_");
        match ["JMS", "amqp."].into_iter().find(|reserved| name.starts_with(reserved)) {
            Some(reserved) if !is_property => Err(Problem::UnknownField(quoted(name), reserved)),
            _ => Ok(Self::Property(name.into())),
        }
    }
}
