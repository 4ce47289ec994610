//! Bytes from a peer: whatever they are, the codec answers without a panic and agrees with itself.

use bytes::{Bytes, BytesMut};
use mq_amqp::{
    codec::{decode_performative, decode_sasl, decode_value, encode_performative, encode_sasl, encode_value},
    frame::{Frame, FrameError, ProtocolHeader, next_frame},
    message::{Entries, Header, Message, MessageIndex, Properties},
    transaction::ControlMessage,
};

/// A frame size small enough that random bytes reach it from both sides.
const MAX_FRAME_SIZE: u32 = 512;

/// What decodes encodes to bytes that decode to the same.
pub fn performative(input: &[u8]) {
    let mut body = Bytes::copy_from_slice(input);
    if let Ok(performative) = decode_performative(&mut body) {
        assert!(input.ends_with(&body), "the payload is the rest of the input");
        let mut again = BytesMut::new();
        encode_performative(&mut again, &performative);
        again.extend_from_slice(&body);
        let mut again = again.freeze();
        assert_eq!(decode_performative(&mut again).as_ref(), Ok(&performative));
        assert_eq!(again, body);
    } else {
        assert_eq!(body, input, "an error consumes nothing");
    }

    if let Ok(frame) = decode_sasl(&mut Bytes::copy_from_slice(input)) {
        let mut again = BytesMut::new();
        encode_sasl(&mut again, &frame);
        assert_eq!(decode_sasl(&mut again.freeze()), Ok(frame));
    }

    if let Ok(value) = decode_value(&mut Bytes::copy_from_slice(input)) {
        let mut again = BytesMut::new();
        encode_value(&mut again, &value);
        assert_eq!(decode_value(&mut again.freeze()), Ok(value));
    }
}

/// The frames of a stream do not depend on how it was cut into reads.
pub fn frames(input: &[u8]) {
    let _ = ProtocolHeader::parse(input);
    let at_once = split(&mut BytesMut::from(input));

    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    let mut error = None;
    for &byte in input {
        buffer.extend_from_slice(&[byte]);
        let (more, failed) = split(&mut buffer);
        frames.extend(more);
        if failed.is_some() {
            error = failed;
            break;
        }
    }
    assert_eq!((frames, error), at_once);
}

fn split(input: &mut BytesMut) -> (Vec<Frame>, Option<FrameError>) {
    let mut frames = Vec::new();
    loop {
        match next_frame(input, MAX_FRAME_SIZE) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// The index covers the message without gaps, and every prefix of a message has an index that agrees.
pub fn message_index(input: &[u8]) {
    let whole = Bytes::copy_from_slice(input);
    let index = MessageIndex::parse(input);
    if let Ok(index) = &index {
        check_cover(index, input.len());
        decode_sections(index, &whole);
        if let Some(half) = input.get(..input.len() / 2) {
            let half = MessageIndex::parse(half).expect("what is well-formed in full is so in part");
            assert!(half.header.is_none() || half.header == index.header);
            assert!(half.properties.is_none() || half.properties == index.properties);
            assert!(half.bare_start <= index.bare_start);
        }
    }
    if let Ok(control) = ControlMessage::decode(&whole) {
        assert_eq!(ControlMessage::decode(&control.to_bytes()), Ok(control));
    }
    if let Ok(message) = Message::decode(&whole) {
        let index = index.expect("a message has an index");
        assert!(index.complete && index.body.is_some());
        assert_eq!(Message::decode(&message.to_bytes()), Ok(message));
    }
}

fn check_cover(index: &MessageIndex, length: usize) {
    let sections = [
        &index.header,
        &index.delivery_annotations,
        &index.message_annotations,
        &index.properties,
        &index.application_properties,
        &index.body.as_ref().map(|body| body.range.clone()),
        &index.footer,
    ];
    let mut end = 0;
    for section in sections.into_iter().flatten() {
        assert_eq!(section.start, end, "sections touch");
        assert!(section.end > section.start);
        end = section.end;
    }
    assert!(end <= length);
    assert!(index.bare_start <= length);
    if index.complete {
        assert_eq!(end, length);
    }
}

fn decode_sections(index: &MessageIndex, whole: &Bytes) {
    let maps = [&index.delivery_annotations, &index.message_annotations, &index.application_properties];
    for section in maps.into_iter().flatten() {
        let Ok(entries) = Entries::of(&whole[section.clone()]) else { continue };
        for entry in entries.clone() {
            let Ok((key, value)) = entry else { break };
            let found = entries.clone().find(key).expect("well-formed up to here").expect("it is there");
            // Of entries with one key the first is found.
            let is_only = entries.clone().flatten().filter(|(other, _)| *other == key).count() == 1;
            assert!(!is_only || format!("{found:?}") == format!("{value:?}"));
        }
    }
    if let Some(header) = index.header.clone() {
        let _ = Header::decode(&whole[header]);
    }
    if let Some(properties) = index.properties.clone() {
        let to = Properties::to_of(&whole[properties.clone()]);
        if let Ok(decoded) = Properties::decode(&whole.slice(properties)) {
            assert_eq!(to, Ok(decoded.to.as_ref().map(|to| to.as_str())));
        }
    }
}
