//! What carries the packets of MQTT: a bare socket, or WebSocket over one.

use std::io::IoSlice;
use std::time::Instant;

use super::connection::SLICES;
use super::websocket::{CloseReason, WebSocket};

/// How the bytes of the packets are carried.
#[derive(Debug, Default)]
pub(super) enum Transport {
    /// The socket carries the packets themselves.
    #[default]
    Plain,
    /// Frames of WebSocket carry them. Boxed: the others have nothing of it.
    WebSocket(Box<WebSocket>),
}

impl Transport {
    /// The frames, when there are any.
    pub(super) fn frames_mut(&mut self) -> Option<&mut WebSocket> {
        match self {
            Self::Plain => None,
            Self::WebSocket(socket) => Some(socket),
        }
    }

    /// Ends the frames behind what is left to be sent; a bare socket has nothing to say.
    pub(super) fn close_after_rest(&mut self, reason: CloseReason) {
        if let Some(socket) = self.frames_mut() {
            socket.close_after_rest(reason);
        }
    }
}

/// Frames what an engine has to send, as far as there is room.
pub(super) fn frame(socket: &mut WebSocket, engine: &mut mq_mqtt::Connection, now: Instant) {
    while engine.buffered() > 0 && socket.has_room() && !socket.is_closed() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = engine.slices(&mut slices);
        let sent = socket.send(slices.iter().take(used).map(|slice| &**slice));
        engine.written(now, sent);
    }
    if engine.buffered() == 0 {
        socket.end_rest();
    }
}
