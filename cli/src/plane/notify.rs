//! What the node tells systemd (`sd_notify(3)`): a datagram with lines of `NAME=value`.

use std::os::unix::net::UnixDatagram;

use crate::env;

/// Where systemd listens; nobody does, when a node is no service of it.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
}

impl Notify {
    /// The socket that the environment names. When it cannot be reached the node serves all the same, until
    /// systemd's patience ends.
    pub(super) fn from_environment() -> Self {
        let socket = env::path(env::NOTIFY_SOCKET).and_then(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect(path).ok()?;
            Some(socket)
        });
        Self { socket }
    }

    pub(super) fn say(&self, lines: &str) {
        if let Some(socket) = &self.socket {
            // Whoever does not listen is not told.
            let _ = socket.send(lines.as_bytes());
        }
    }
}
