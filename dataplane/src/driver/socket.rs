//! What a connection reads from and writes to: a socket, or a tunnel from the node that has the socket.

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::READ_SIZE;
use crate::mesh::tunnel::{End, Outbox, Taken, Written};

/// What carries the bytes of a connection. A tunnel has no events of its own: the connection is woken when
/// something has come for it.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    /// The home end of a tunnel.
    Tunnel(Box<End>),
}

/// The same on its way to the shard that serves it.
#[derive(Debug)]
pub(super) enum Unserved {
    Tcp(std::net::TcpStream),
    Tunnel(Box<End>),
}

impl Unserved {
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
            Self::Tunnel(end) => Ok(Unserved::Tunnel(end)),
        }
    }

    /// Whether something may be written; if not, the task is woken when it may.
    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context).is_ready(),
            Self::Tunnel(end) => end.may_write(),
        }
    }

    /// Reads what has come, 0 bytes at the end; if nothing has, the task is woken when something does.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        out: &mut Outbox,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => {
                buffer.reserve(READ_SIZE);
                pin!(stream.read_buf(buffer)).poll(context)
            }
            Self::Tunnel(end) => match end.read(buffer, READ_SIZE, out) {
                Taken::Some(count) => Poll::Ready(Ok(count)),
                Taken::Nothing => Poll::Pending,
                Taken::Ended => Poll::Ready(Ok(0)),
            },
        }
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is none.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>], out: &mut Outbox) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Tunnel(end) => match end.write(slices, out) {
                Written::Some(count) => Ok(count),
                Written::Full => Err(ErrorKind::WouldBlock.into()),
                Written::Broken => Err(ErrorKind::BrokenPipe.into()),
            },
        }
    }

    /// Writes nothing more.
    ///
    /// # Errors
    /// When the peer is gone.
    pub(super) fn shut(&mut self, out: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => socket2::SockRef::from(&*stream).shutdown(Shutdown::Write),
            Self::Tunnel(end) => {
                end.end(out);
                Ok(())
            }
        }
    }

    /// Whether something has come that was not read.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [MaybeUninit::uninit()];
                socket2::SockRef::from(stream).peek(&mut byte).is_ok_and(|count| count > 0)
            }
            Self::Tunnel(end) => !end.incoming().is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_be_a_tunnel_is_no_larger_than_one_that_may_not() {
        assert_eq!(size_of::<Socket>(), size_of::<TcpStream>());
    }
}
