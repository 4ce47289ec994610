//! A socket below TLS.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use rustls::pki_types::UnixTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::certificate::check_again;
use super::files::Verifiers;
use super::{Encryption, Secured};

/// Bytes that are encrypted at once: what a slow socket makes a connection hold.
const MAX_PLAIN: usize = 64 << 10;

/// Reads of one turn that may bring nothing for those above, as handshakes do.
const MAX_READS: usize = 4;

/// Slices of one write.
const SLICES: usize = 64;

/// TLS of one client, without its socket.
#[derive(Debug)]
pub struct Session {
    secured: Secured,
    verifiers: Verifiers,
    /// What was read of the socket before it was known that TLS begins.
    early: BytesMut,
    encryption: Option<Arc<Encryption>>,
    /// The client has said that nothing more comes.
    has_ended: bool,
    /// It has broken the rules: nothing of it is taken any more, and nothing is said but why.
    is_broken: bool,
    has_said_goodbye: bool,
}

impl Session {
    pub(super) fn new(secured: Secured, verifiers: Verifiers) -> Self {
        Self {
            secured,
            verifiers,
            early: BytesMut::new(),
            encryption: None,
            has_ended: false,
            is_broken: false,
            has_said_goodbye: false,
        }
    }

    /// TLS that this node has begun and agreed on itself; what came behind that goes behind `plain`.
    ///
    /// # Errors
    /// When what came is no TLS.
    pub(crate) fn agreed(tls: rustls::Connection, plain: &mut BytesMut) -> io::Result<Self> {
        // A server's certificate is no client's, and has been looked at.
        let encryption =
            Encryption::of(&tls, None).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let encryption = Encryption { certificate: None, ..encryption };
        let mut secured = Secured::new(tls);
        let has_ended =
            secured.take_rest(plain).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let session = Self::new(secured, Verifiers::default());
        Ok(Self { encryption: Some(Arc::new(encryption)), has_ended, ..session })
    }

    /// What was read of the socket already.
    pub(crate) fn with_early(self, early: BytesMut) -> Self {
        Self { early, ..self }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.encryption.is_none() && !self.is_broken && !self.has_said_goodbye
    }

    /// Whether nothing that comes means anything any more.
    fn is_over(&self) -> bool {
        self.is_broken || (self.has_said_goodbye && self.encryption.is_none())
    }

    /// What was agreed on; `None` before the end of the handshake.
    pub(crate) fn encryption(&self) -> Option<&Arc<Encryption>> {
        self.encryption.as_ref()
    }

    /// Decrypts behind `plain`.
    fn receive(&mut self, cipher: &[u8], plain: &mut BytesMut) -> io::Result<()> {
        match self.secured.receive(cipher, plain) {
            Ok(has_ended) => self.has_ended |= has_ended,
            Err(error) => return Err(self.fail(error)),
        }
        if self.encryption.is_none() && !self.secured.is_handshaking() {
            // Needed no more, and everything that is gone is memory for others.
            let Verifiers { clients, fleet } = std::mem::take(&mut self.verifiers);
            if let Some(clients) = clients
                && let Err(error) = check_again(self.secured.agreed(), &*clients, UnixTime::now())
            {
                return Err(self.fail(error));
            }
            match Encryption::of(self.secured.agreed(), fleet.as_deref()) {
                Ok(encryption) => self.encryption = Some(Arc::new(encryption)),
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
        self.is_broken = true;
        io::Error::new(ErrorKind::InvalidData, error)
    }
}

/// A client's socket, and TLS over it.
#[derive(Debug)]
pub(crate) struct TlsStream {
    stream: TcpStream,
    session: Session,
}

/// Writes to a socket what there is room for.
struct Room<'a>(&'a TcpStream);

impl Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    pub(crate) fn new(stream: TcpStream, session: Session) -> Self {
        Self { stream, session }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Session) {
        (self.stream, self.session)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Reads and decrypts what has come, behind `plain`; 0 bytes at the end. If nothing has, the task is woken
    /// when something does. What TLS has to say meanwhile is written as far as there is room; the rest is for
    /// [`flush`](Self::flush). `cipher` is room for what is read, and empty.
    ///
    /// # Errors
    /// When the socket fails, or the client breaks the rules, with [`ErrorKind::InvalidData`]: what comes
    /// after that is read as it is, and means nothing.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        cipher: &mut BytesMut,
        plain: &mut BytesMut,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let before = plain.len();
        for _ in 0..MAX_READS {
            if self.session.has_ended {
                return Poll::Ready(Ok(0));
            }
            let early = std::mem::take(&mut self.session.early);
            if early.is_empty() {
                cipher.reserve(most);
                let read = ready!(pin!(self.stream.read_buf(&mut (&mut *cipher).limit(most))).poll(context))?;
                if read == 0 || self.session.is_over() {
                    plain.extend_from_slice(cipher);
                    cipher.clear();
                    return Poll::Ready(Ok(read));
                }
            }
            let received = self.session.receive(if early.is_empty() { cipher } else { &early }, plain);
            cipher.clear();
            if self.session.secured.wants_write() {
                match self.flush() {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                    _ => {}
                }
            }
            received?;
            if plain.len() > before {
                return Poll::Ready(Ok(plain.len() - before));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Encrypts some of this and writes what there is room for; says how much it took.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is no room; when the socket fails.
    pub(crate) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.session.is_broken || self.session.has_said_goodbye {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.flush()?;
        if self.session.is_handshaking() {
            // Nothing above TLS speaks before it is agreed on.
            return Err(ErrorKind::NotConnected.into());
        }
        let mut taken = [IoSlice::new(&[]); SLICES];
        let (mut left, mut used) = (MAX_PLAIN, 0);
        for (slice, place) in slices.iter().zip(&mut taken) {
            let part = slice.get(..left).unwrap_or(slice);
            *place = IoSlice::new(part);
            (left, used) = (left - part.len(), used + 1);
            if left == 0 {
                break;
            }
        }
        self.session.secured.send(&taken[..used]);
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(MAX_PLAIN - left),
        }
    }

    /// Writes what is encrypted already, or of the handshake.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is no room for all of it; when the socket fails.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.session.secured.write_to(&mut Room(&self.stream)).1
    }

    /// Whether [`flush`](Self::flush) has something to write.
    pub(crate) fn wants_write(&self) -> bool {
        self.session.secured.wants_write()
    }

    /// Says that nothing more comes, behind what was written.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub(crate) fn say_goodbye(&mut self) -> io::Result<()> {
        if !self.session.has_said_goodbye && !self.session.is_broken {
            self.session.has_said_goodbye = true;
            self.session.secured.say_goodbye();
        }
        self.flush()
    }

    /// Whether something was read and not decrypted.
    pub(crate) fn has_early(&self) -> bool {
        !self.session.early.is_empty()
    }
}
