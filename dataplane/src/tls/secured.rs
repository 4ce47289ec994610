//! TLS without a socket: what every connection over TLS has in common, those of clients and those between
//! nodes.

use std::io::{self, BufRead, ErrorKind, IoSlice, Write};

use bytes::BytesMut;
use rustls::Connection;

/// One connection's TLS: bytes of the socket on one side, bytes of frames on the other. It holds no socket.
#[derive(Debug)]
pub(crate) struct Secured {
    tls: Connection,
}

impl Secured {
    pub(crate) fn new(mut tls: Connection) -> Self {
        // Whoever writes looks at `buffered` and stops in time.
        tls.set_buffer_limit(None);
        Self { tls }
    }

    /// What was agreed on, and what the peer has shown.
    pub(crate) fn agreed(&self) -> &Connection {
        &self.tls
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Takes what the socket gave, all of it, and puts what it says behind `plain`. True when the peer has
    /// said that nothing more will come.
    ///
    /// # Errors
    /// When the peer breaks the protocol, or shows a certificate of no use.
    pub(crate) fn receive(&mut self, mut input: &[u8], plain: &mut BytesMut) -> Result<bool, rustls::Error> {
        let mut is_over = false;
        while !input.is_empty() {
            match self.tls.read_tls(&mut input) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
            let state = self.tls.process_new_packets()?;
            let ready = state.plaintext_bytes_to_read();
            is_over = state.peer_has_closed();
            self.take_plain(ready, plain);
        }
        Ok(is_over)
    }

    /// Puts what was read and not asked for yet behind `plain`. True when nothing more will come.
    ///
    /// # Errors
    /// When the peer breaks the protocol.
    pub(crate) fn take_rest(&mut self, plain: &mut BytesMut) -> Result<bool, rustls::Error> {
        let state = self.tls.process_new_packets()?;
        let (ready, is_over) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
        self.take_plain(ready, plain);
        Ok(is_over)
    }

    fn take_plain(&mut self, ready: usize, plain: &mut BytesMut) {
        plain.reserve(ready);
        let (mut reader, mut left) = (self.tls.reader(), ready);
        while left > 0 {
            // Reading what is said to be there does not fail.
            let Ok(chunk) = reader.fill_buf() else { break };
            let count = chunk.len();
            if count == 0 {
                break;
            }
            plain.extend_from_slice(chunk);
            reader.consume(count);
            left = left.saturating_sub(count);
        }
    }

    /// Encrypts what is to be sent.
    pub(crate) fn send(&mut self, slices: &[IoSlice<'_>]) {
        let mut writer = self.tls.writer();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        // Without a limit it takes everything at once; after a close it takes nothing, and nobody reads it.
        let taken = writer.write_vectored(slices).unwrap_or(0);
        debug_assert!(taken == total || taken == 0, "{taken} of {total} bytes taken");
    }

    /// Says that nothing more will come.
    pub(crate) fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
    }

    /// Whether something waits to be written to the socket.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes to the socket until it is full or nothing is left; says how many bytes it took.
    ///
    /// # Errors
    /// When the socket fails; [`ErrorKind::WouldBlock`] when it is full.
    pub(crate) fn write_to(&mut self, socket: &mut impl Write) -> (usize, io::Result<()>) {
        let mut written = 0;
        while self.tls.wants_write() {
            match self.tls.write_tls(socket) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}
