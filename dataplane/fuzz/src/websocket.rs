//! Frames of WebSocket from a peer: wherever they are cut, the same packets come out of them, and no frame
//! makes the socket hold more than what came.

use bytes::BytesMut;
use mqd::websocket::{CloseReason, WebSocket};

/// What came of some bytes: packets, what is to be written, and why the connection is over.
type Outcome = (Vec<u8>, Vec<u8>, Option<CloseReason>);

/// The first byte says how the rest is cut.
pub fn websocket(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let whole = received(bytes, bytes.len().max(1));
    let cut = received(bytes, usize::from(step) + 1);
    assert_eq!(whole, cut, "it matters where the bytes are cut");
    let (packets, outgoing, _) = whole;
    assert!(packets.len() <= bytes.len(), "more comes out than came in");
    // A pong is shorter than its ping, and one close is written at most.
    assert!(outgoing.len() <= bytes.len() + 4, "more is written than was read");
}

fn received(bytes: &[u8], step: usize) -> Outcome {
    let mut socket = WebSocket::default();
    let mut waiting = BytesMut::new();
    let mut reason = None;
    for piece in bytes.chunks(step) {
        waiting.extend_from_slice(piece);
        if let Err(error) = socket.receive(&mut waiting) {
            assert!(socket.is_closed() && waiting.is_empty(), "{error}");
            reason.get_or_insert(error);
        }
    }
    (socket.input().to_vec(), socket.outgoing().to_vec(), reason)
}
