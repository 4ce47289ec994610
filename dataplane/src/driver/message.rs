//! What the driver reads of a message, and the two places where an intermediary may change one:
//! the header's ttl and the delivery annotations (AMQP 3.2). The bare message is never touched.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::DecodeError;
use mq_amqp::message::{Header, MessageIndex, Properties};

/// The message format of AMQP messages (AMQP 2.8.11, 3.2.16).
const AMQP_FORMAT: u32 = 0;

/// How a message begins.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) priority: u8,
    pub(super) ttl: Option<Duration>,
    /// What precedes `chunk` when delivery annotations have been cut out between the two.
    pub(super) header: Option<Bytes>,
    pub(super) chunk: Bytes,
    /// Where `to` stands in `chunk`; read for anonymous relays only.
    pub(super) to: Option<Box<str>>,
}

/// Reads the beginning of a message: its first frame.
///
/// # Errors
/// When a section that had to be read is malformed.
pub(super) fn read_start(payload: Bytes, format: u32, wants_to: bool) -> Result<Start, DecodeError> {
    let plain =
        |chunk| Start { priority: Header::DEFAULT_PRIORITY, ttl: None, header: None, chunk, to: None };
    if format != AMQP_FORMAT || (!wants_to && starts_with_bare_message(&payload)) {
        return Ok(plain(payload));
    }
    let index = MessageIndex::parse(&payload)?;
    let mut start = plain(payload.clone());
    if let Some(range) = index.header.clone() {
        let header = Header::decode(payload.get(range).unwrap_or_default())?;
        start.priority = header.priority;
        start.ttl = header.ttl.map(|millis| Duration::from_millis(millis.into()));
    }
    if wants_to && let Some(range) = index.properties.clone() {
        start.to = Properties::to_of(payload.get(range).unwrap_or_default())?.map(Into::into);
    }
    if let Some(annotations) = index.delivery_annotations {
        // AMQP 3.2.2: delivery annotations concern one hop.
        start.chunk = payload.slice(annotations.end..);
        start.header = index.header.map(|range| payload.slice(range));
    }
    Ok(start)
}

/// Whether bytes of a message that goes on end before what [`read_start`] looks for.
pub(super) fn is_cut_short(payload: &[u8], format: u32, wants_to: bool) -> bool {
    if format != AMQP_FORMAT || (!wants_to && starts_with_bare_message(payload)) {
        return false;
    }
    match MessageIndex::parse(payload) {
        Ok(index) if wants_to => {
            let is_past = index.application_properties.is_some() || index.body.is_some();
            index.properties.is_none() && !is_past
        }
        Ok(index) => {
            let rest = payload.get(index.bare_start..).unwrap_or_default();
            index.message_annotations.is_none() && !starts_with_bare_message(rest)
        }
        Err(_) => false,
    }
}

/// Whether neither header nor delivery annotations can come: most messages begin with their
/// message annotations, properties or body, by the short form of the descriptor.
fn starts_with_bare_message(payload: &[u8]) -> bool {
    matches!(payload, [0x00, 0x53, 0x72..=0x78, ..])
}

/// The message with what is left of its time to live in the header (AMQP 3.2.1: "the reduced ttl").
pub(super) fn with_ttl(chunk: Bytes, format: u32, ttl: Duration) -> Bytes {
    if format != AMQP_FORMAT {
        return chunk;
    }
    let Ok(index) = MessageIndex::parse(&chunk) else { return chunk };
    let section = index.header.clone().and_then(|range| chunk.get(range));
    let Some(mut header) = section.and_then(|section| Header::decode(section).ok()) else { return chunk };
    if header.ttl.is_none() {
        // The limit is the address's, not the message's.
        return chunk;
    }
    header.ttl = Some(u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX));
    let rest = chunk.get(index.header.map_or(0, |range| range.end)..).unwrap_or_default();
    let mut changed = BytesMut::with_capacity(rest.len() + 32);
    header.encode(&mut changed);
    // A copy: once for a message that has waited, where order does not depend on the cost.
    changed.extend_from_slice(rest);
    changed.freeze()
}

#[cfg(test)]
mod tests {
    use mq_amqp::message::Message;
    use mq_amqp::value::Value;

    use super::*;

    fn message(ttl: Option<u32>) -> Message {
        let header = Header { priority: 7, ttl, ..Header::default() };
        let to = Properties { to: Some("orders".into()), ..Properties::default() };
        Message { header: Some(header), properties: Some(to), ..Message::data("body") }
    }

    #[test]
    fn priority_ttl_and_to_are_read_from_the_first_frame() {
        let start = read_start(message(Some(1_500)).to_bytes(), 0, true).expect("a valid message");
        assert_eq!(start.priority, 7);
        assert_eq!(start.ttl, Some(Duration::from_millis(1_500)));
        assert_eq!(start.to.as_deref(), Some("orders"));
    }

    #[test]
    fn delivery_annotations_are_cut_out_and_nothing_else_changes() {
        let plain = message(None).to_bytes();
        let annotated = Message {
            delivery_annotations: vec![(Value::from("x-hop"), Value::from(1_u32))],
            ..message(None)
        };
        let start = read_start(annotated.to_bytes(), 0, false).expect("a valid message");
        let rejoined = [start.header.expect("a header"), start.chunk].concat();
        assert_eq!(rejoined, plain);
    }

    #[test]
    fn a_reduced_ttl_changes_the_header_alone() {
        let before = message(Some(9_000)).to_bytes();
        let after = with_ttl(before, 0, Duration::from_millis(4_000));
        assert_eq!(after, message(Some(4_000)).to_bytes());
        assert_eq!(with_ttl(message(None).to_bytes(), 0, Duration::from_secs(1)), message(None).to_bytes());
    }

    #[test]
    fn a_head_is_cut_short_where_something_to_read_may_follow() {
        let full = Message {
            delivery_annotations: vec![(Value::from("x-hop"), Value::from(1_u32))],
            message_annotations: vec![(Value::from("x"), Value::from(2_u32))],
            ..message(Some(5))
        };
        let bytes = full.to_bytes();
        let index = MessageIndex::parse(&bytes).expect("a valid message");
        let annotated = index.delivery_annotations.expect("annotations").end;
        let named = index.properties.expect("properties").end;
        for length in 0..bytes.len() {
            // Three bytes of the next section say that it is none of those to be read.
            assert_eq!(is_cut_short(&bytes[..length], 0, false), length < annotated + 3, "{length} bytes");
            assert_eq!(is_cut_short(&bytes[..length], 0, true), length < named, "{length} bytes");
        }
        assert!(!is_cut_short(&bytes[..1], 7, true), "of another format nothing is read");
    }

    #[test]
    fn a_malformed_header_is_an_error() {
        assert!(
            read_start(Bytes::from_static(&[0x00, 0x53, 0x70, 0xc0, 0x09]), 0, false).is_err()
                || read_start(Bytes::from_static(&[0x00, 0x53, 0x70, 0x40]), 0, false).is_err()
        );
        assert!(read_start(Bytes::from_static(&[0xff, 0xff]), 0, false).is_err());
    }
}
