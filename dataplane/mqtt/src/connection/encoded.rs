//! A PUBLISH that is encoded once and queued on many connections (3.3).

use bytes::{Bytes, BytesMut};

use super::outgoing::LARGEST_PACKET;
use super::{Connection, Expect, Outgoing};
use crate::codec::{MAX_VARIABLE, PublishHead, PublishProperties, variable_size};
use crate::error::Blocked;
use crate::outbox::SEGMENT_THRESHOLD;
use crate::packet::{Qos, Version};
use crate::property::{PropertyError, PropertyId, PropertyView};
use crate::topic::{TopicLimits, check_name};

/// A PUBLISH of QoS 0 in the bytes of one version, with its topic in full: the same for every client
/// that takes it so. Kept and encoded anew it allocates nothing.
///
/// ```
/// use bytes::Bytes;
/// use mq_mqtt::{EncodedPublish, Outgoing, Version};
///
/// let mut encoded = EncodedPublish::default();
/// encoded.encode(Version::V3_1_1, &Outgoing::new("a/b", &Bytes::from_static(b"21.5")))?;
/// assert_eq!(encoded.size(), 2 + 2 + 3 + 4);
/// # Ok::<(), mq_mqtt::Blocked>(())
/// ```
#[derive(Clone, Debug)]
pub struct EncodedPublish {
    version: Version,
    /// The packet, without a payload that leaves by reference.
    bytes: BytesMut,
    /// The payload, where it is one that leaves by reference.
    payload: Bytes,
}

impl Default for EncodedPublish {
    fn default() -> Self {
        Self { version: Version::V5_0, bytes: BytesMut::new(), payload: Bytes::new() }
    }
}

impl EncodedPublish {
    /// Encodes a message in place of what was here. Its QoS counts as 0, and its token says nothing.
    ///
    /// # Errors
    /// When it cannot be a PUBLISH; then nothing is here.
    pub fn encode(&mut self, version: Version, message: &Outgoing<'_>) -> Result<(), Blocked> {
        self.version = version;
        self.bytes.clear();
        self.payload = Bytes::new();
        check_name(message.topic, TopicLimits::NONE)?;
        if message.subscription_identifiers.iter().any(|id| !(1..=MAX_VARIABLE).contains(id)) {
            return Err(PropertyError::Value(PropertyId::SubscriptionIdentifier).into());
        }
        let is_v5 = version == Version::V5_0;
        let properties = PublishProperties {
            message: if is_v5 { message.properties } else { PropertyView::default() },
            alias: None,
            message_expiry: message.message_expiry.filter(|_| is_v5),
            subscription_identifiers: if is_v5 { message.subscription_identifiers } else { &[] },
        };
        let length = properties.length();
        let head = PublishHead {
            duplicate: false,
            qos: Qos::AtMostOnce,
            retain: message.retain,
            packet_id: None,
            topic: message.topic.as_bytes(),
        };
        let payload = message.payload.len();
        let remaining = head.remaining_length(is_v5.then_some(length), payload);
        let size = 1 + variable_size(u32::try_from(remaining).unwrap_or(u32::MAX)) + remaining;
        if size > LARGEST_PACKET as usize {
            return Err(Blocked::TooLarge { size, limit: LARGEST_PACKET });
        }
        head.write(&mut self.bytes, is_v5.then_some(length), payload);
        if length > 0 {
            properties.write(&mut self.bytes, length);
        }
        if payload < SEGMENT_THRESHOLD {
            self.bytes.extend_from_slice(message.payload);
        } else {
            self.payload = message.payload.clone();
        }
        Ok(())
    }

    /// Bytes of the packet; 0 when there is none.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.payload.len()
    }

    /// The version that it is encoded in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Forgets the packet; the room for the next one is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.payload = Bytes::new();
    }
}

impl Connection {
    /// Queues a PUBLISH that was encoded before, as it is: without a topic alias.
    ///
    /// # Errors
    /// When the connection is not open, has another version, or the peer takes none so large; nothing
    /// has been queued.
    pub fn publish_encoded(&mut self, publish: &EncodedPublish) -> Result<(), Blocked> {
        if self.expect != Expect::Packets {
            return Err(Blocked::NotOpen);
        }
        if self.version != publish.version || publish.bytes.is_empty() {
            return Err(Blocked::Version);
        }
        let (size, limit) = (publish.size(), self.peer.max_packet_size);
        if size > limit as usize {
            return Err(Blocked::TooLarge { size, limit });
        }
        self.outbox.kept_buffer().extend_from_slice(&publish.bytes);
        if !publish.payload.is_empty() {
            self.outbox.push_payload(&publish.payload);
        }
        Ok(())
    }

    /// Whether the peer lets us set up topic aliases: then [`publish`](Self::publish) needs fewer bytes
    /// than a packet with its topic in full.
    pub fn has_outgoing_aliases(&self) -> bool {
        self.peer.topic_alias_maximum.min(self.config.limits.max_outgoing_aliases) > 0
    }
}
