//! What carries a client's HTTP: its socket, or TLS over it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::listen::Secure;
use crate::tls::{Encryption, Pace, Stage, TlsStream};

/// Bytes of one read below TLS.
const READ_SIZE: usize = 16 << 10;

/// The first byte of TLS; no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client's connection, as HTTP sees it.
#[derive(Debug)]
pub(super) struct Wire {
    carrier: Carrier,
    /// The name of the listener that has accepted it.
    pub(super) listener: &'static str,
}

#[derive(Debug)]
enum Carrier {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

#[derive(Debug)]
struct Secured {
    stream: TlsStream,
    /// Decrypted, and not read.
    plain: BytesMut,
    /// Room for what is to be decrypted.
    cipher: BytesMut,
}

/// Keeps the clients that agree on TLS from those that have done so; the whole server has one.
pub(super) type SharedPace = Arc<Mutex<Pace>>;

impl Wire {
    /// Begins with what the listener's clients begin with. Nothing bounds how long a client takes: that is for
    /// the caller.
    ///
    /// # Errors
    /// When the socket fails, or the client does not do as the listener says.
    pub(super) async fn begin(
        stream: TcpStream,
        listener: &'static str,
        secure: Option<&Secure>,
        pace: &SharedPace,
    ) -> io::Result<Self> {
        let Some(terms) = secure.map(Secure::terms) else {
            return Ok(Self { carrier: Carrier::Plain(stream), listener });
        };
        if terms.is_optional {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 || first != [TLS_HANDSHAKE] {
                return Ok(Self { carrier: Carrier::Plain(stream), listener });
            }
        }
        let session = terms.begin().map_err(io::Error::other)?;
        let stream = TlsStream::new(stream, session);
        let mut secured = Box::new(Secured { stream, plain: BytesMut::new(), cipher: BytesMut::new() });
        secured.shake_hands(pace).await?;
        Ok(Self { carrier: Carrier::Tls(secured), listener })
    }

    /// The socket below.
    pub(super) fn stream(&self) -> &TcpStream {
        match &self.carrier {
            Carrier::Plain(stream) => stream,
            Carrier::Tls(secured) => secured.stream.stream(),
        }
    }

    /// What TLS has agreed on; `None` without it.
    pub(super) fn encryption(&self) -> Option<&Arc<Encryption>> {
        match &self.carrier {
            Carrier::Plain(_) => None,
            Carrier::Tls(secured) => secured.stream.session().encryption(),
        }
    }

    /// Takes it out of the runtime; `read` was read of it already. Gives everything that was read back.
    ///
    /// # Errors
    /// When the runtime does not let go of it.
    pub(super) fn leave(self, read: Bytes) -> io::Result<(std::net::TcpStream, Stage, Bytes)> {
        match self.carrier {
            Carrier::Plain(stream) => Ok((stream.into_std()?, Stage::Plain, read)),
            Carrier::Tls(secured) => {
                let Secured { stream, plain, .. } = *secured;
                let read = if plain.is_empty() { read } else { [&read[..], &plain[..]].concat().into() };
                let (stream, session) = stream.into_parts();
                Ok((stream.into_std()?, Stage::Agreed(Box::new(session)), read))
            }
        }
    }
}

impl Secured {
    async fn shake_hands(&mut self, pace: &SharedPace) -> io::Result<()> {
        while self.stream.session().is_handshaking() {
            // Waiting in the queue of the timer is fair enough: the server has 256 clients at most.
            loop {
                let next = pace.lock().unwrap_or_else(PoisonError::into_inner).next();
                match next.filter(|next| *next > Instant::now()) {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => break,
                }
            }
            self.stream.stream().readable().await?;
            let began = Instant::now();
            let step = std::future::poll_fn(|context| Poll::Ready(self.step(context))).await;
            let now = Instant::now();
            let time = now.saturating_duration_since(began);
            pace.lock().unwrap_or_else(PoisonError::into_inner).spend(now, time);
            step?;
        }
        Ok(())
    }

    /// Takes what has come.
    fn step(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.stream.poll_read(context, &mut self.cipher, &mut self.plain, READ_SIZE) {
            Poll::Ready(Ok(0)) => Err(ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.plain.is_empty() {
            ready!(self.stream.poll_read(context, &mut self.cipher, &mut self.plain, READ_SIZE))?;
        }
        let count = self.plain.len().min(buffer.remaining());
        buffer.put_slice(self.plain.get(..count).unwrap_or_default());
        self.plain.advance(count);
        if self.plain.is_empty() {
            // An idle client holds no buffer.
            (self.plain, self.cipher) = (BytesMut::new(), BytesMut::new());
        }
        Poll::Ready(Ok(()))
    }

    /// Repeats a step until the socket has room for it.
    fn poll_until_room<T>(
        &mut self,
        context: &mut Context<'_>,
        mut step: impl FnMut(&mut TlsStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match step(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.stream().poll_write_ready(context))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => pin!(stream).poll_read(context, buffer),
            Carrier::Tls(secured) => secured.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => pin!(stream).poll_write(context, bytes),
            Carrier::Tls(secured) => {
                secured.poll_until_room(context, |stream| stream.try_write(&[IoSlice::new(bytes)]))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => pin!(stream).poll_write_vectored(context, slices),
            Carrier::Tls(secured) => secured.poll_until_room(context, |stream| stream.try_write(slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => pin!(stream).poll_flush(context),
            Carrier::Tls(secured) => secured.poll_until_room(context, TlsStream::flush),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Plain(stream) => pin!(stream).poll_shutdown(context),
            Carrier::Tls(secured) => {
                ready!(secured.poll_until_room(context, TlsStream::say_goodbye))?;
                let shut =
                    socket2::SockRef::from(secured.stream.stream()).shutdown(std::net::Shutdown::Write);
                Poll::Ready(shut)
            }
        }
    }
}
