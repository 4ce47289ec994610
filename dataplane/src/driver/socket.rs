//! What a connection reads from and writes to: a socket, or a tunnel from the node that has the socket.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::READ_SIZE;
use crate::mesh::tunnel::{End, Outbox, Taken, Written};
use crate::tls::{Encryption, Session, TlsStream};

/// What carries the bytes of a connection. A tunnel has no events of its own: the connection is woken when
/// something has come for it.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    /// A socket with TLS over it.
    Tls(Box<TlsStream>),
    /// The home end of a tunnel.
    Tunnel(Box<End>),
    /// What stands there while one becomes another.
    Nothing,
}

/// The same on its way to the shard that serves it.
#[derive(Debug)]
pub(super) enum Unserved {
    Tcp(std::net::TcpStream),
    Tls(std::net::TcpStream, Box<Session>),
    Tunnel(Box<End>),
}

impl Unserved {
    /// What TLS has agreed on; `None` without it.
    pub(super) fn encryption(&self) -> Option<Arc<Encryption>> {
        match self {
            Self::Tls(_, session) => session.encryption().cloned(),
            Self::Tcp(_) | Self::Tunnel(_) => None,
        }
    }

    /// Must be called within the runtime that serves it.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn serve(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream).map(Socket::Tcp)
            }
            Self::Tls(stream, session) => {
                stream.set_nonblocking(true)?;
                Ok(Socket::Tls(Box::new(TlsStream::new(TcpStream::from_std(stream)?, *session))))
            }
            Self::Tunnel(end) => Ok(Socket::Tunnel(end)),
        }
    }
}

impl Socket {
    /// Takes it out of the runtime.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub(super) fn leave(self) -> io::Result<Unserved> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Unserved::Tcp),
            Self::Tls(tls) => {
                let (stream, session) = tls.into_parts();
                Ok(Unserved::Tls(stream.into_std()?, Box::new(session)))
            }
            Self::Tunnel(end) => Ok(Unserved::Tunnel(end)),
            Self::Nothing => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Whether something may be written; if not, the task is woken when it may.
    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context).is_ready(),
            Self::Tls(tls) => tls.stream().poll_write_ready(context).is_ready(),
            Self::Tunnel(end) => end.may_write(),
            Self::Nothing => false,
        }
    }

    /// Reads what has come, `most` bytes of it, 0 bytes at the end; if nothing has, the task is woken when
    /// something does. `cipher` is room for what is to be decrypted.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        most: usize,
        cipher: &mut BytesMut,
        out: &mut Outbox,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => {
                // All connections read into it: it is made anew seldom when it is large.
                buffer.reserve(READ_SIZE.max(most));
                pin!(stream.read_buf(&mut (&mut *buffer).limit(most))).poll(context)
            }
            Self::Tls(tls) => tls.poll_read(context, cipher, buffer, most),
            Self::Tunnel(end) => match end.read(buffer, most, out) {
                Taken::Some(count) => Poll::Ready(Ok(count)),
                Taken::Nothing => Poll::Pending,
                Taken::Ended => Poll::Ready(Ok(0)),
            },
            Self::Nothing => Poll::Ready(Ok(0)),
        }
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is none.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>], out: &mut Outbox) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Tls(tls) => tls.try_write(slices),
            Self::Tunnel(end) => match end.write(slices, out) {
                Written::Some(count) => Ok(count),
                Written::Full => Err(ErrorKind::WouldBlock.into()),
                Written::Broken => Err(ErrorKind::BrokenPipe.into()),
            },
            Self::Nothing => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Writes what was taken and has not left yet.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is no room for all of it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.flush(),
            Self::Tcp(_) | Self::Tunnel(_) | Self::Nothing => Ok(()),
        }
    }

    /// Says good-bye below the protocol, behind all that was written.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is no room for it yet.
    pub(super) fn say_goodbye(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(tls) => tls.say_goodbye(),
            Self::Tcp(_) | Self::Tunnel(_) | Self::Nothing => Ok(()),
        }
    }

    /// Whether something was taken and has not left yet.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.wants_write())
    }

    /// Whether TLS has begun and is not agreed on.
    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session().is_handshaking())
    }

    /// What TLS has agreed on; `None` without it.
    pub(super) fn encryption(&self) -> Option<&Arc<Encryption>> {
        match self {
            Self::Tls(tls) => tls.session().encryption(),
            Self::Tcp(_) | Self::Tunnel(_) | Self::Nothing => None,
        }
    }

    /// Goes on with TLS; a tunnel has none.
    pub(super) fn begin_tls(&mut self, session: Session) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Tcp(stream) => Self::Tls(Box::new(TlsStream::new(stream, session))),
            other => other,
        };
    }

    /// Writes nothing more.
    ///
    /// # Errors
    /// When the peer is gone.
    pub(super) fn shut(&mut self, out: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(&*stream).shutdown(Shutdown::Write),
            Self::Tls(tls) => socket2::SockRef::from(tls.stream()).shutdown(Shutdown::Write),
            Self::Tunnel(end) => {
                end.end(out);
                Ok(())
            }
            Self::Nothing => Ok(()),
        }
    }

    /// Whether something has come that was not read.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(stream) => has_bytes(stream),
            Self::Tls(tls) => tls.has_early() || has_bytes(tls.stream()),
            Self::Tunnel(end) => !end.incoming().is_empty(),
            Self::Nothing => false,
        }
    }
}

fn has_bytes(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    socket2::SockRef::from(stream).peek(&mut byte).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_be_a_tunnel_is_no_larger_than_one_that_may_not() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }
}
