//! From a bare socket to a connection whose peer is known: TLS, then a Hello from each side.
//!
//! This happens on the control thread, so that the shards see nothing of strangers. Whoever connects says
//! first which shards the connection is for; the other side answers with the same pair, seen from there.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use mq_mesh::Incarnation;
use mq_mesh::frame::{Frame, FrameError, FrameReader, Hello};
use tokio::net::TcpStream;

use super::tls::{PeerError, Secured, advice};

/// Bytes of one read: the largest handshake message of TLS with room to spare.
const READ_SIZE: usize = 16 << 10;

/// Bytes that a peer may send before its Hello is whole.
const MAX_HELLO: usize = 16 << 10;

/// How long a handshake may take, all told.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a connection to another node did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the peer closed the connection before it said who it is")]
    Closed,
    #[error("it took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    #[error("TLS failed: {0}{advice}", advice = advice(.0))]
    Tls(#[from] rustls::Error),
    #[error("what the peer says is no greeting: {0}")]
    Frame(#[from] FrameError),
    #[error("the peer says something else before it has said who it is")]
    NoHello,
    #[error("the peer says too much before it has said who it is")]
    TooLong,
    #[error("{0}; give each node a certificate of its own name")]
    Peer(#[from] PeerError),
    #[error("the peer belongs to the fleet `{0}`; correct the address, or the name of the fleet")]
    OtherFleet(String),
    #[error("the peer calls itself `{node}` as this node does; give each node a name of its own")]
    OwnName { node: String, incarnation: Incarnation },
}

/// A connection whose peer is known.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) secured: Secured,
    /// What the peer said of itself.
    pub(crate) hello: Hello,
    /// What we said.
    pub(crate) own: Hello,
    /// What came behind the greeting, decrypted.
    pub(crate) input: BytesMut,
    /// It has seen the greeting.
    pub(crate) reader: FrameReader,
}

/// A socket below TLS, as long as it is awaited.
struct Channel {
    stream: TcpStream,
    secured: Secured,
    input: BytesMut,
    reader: FrameReader,
}

/// Greets whoever was connected to.
///
/// # Errors
/// See [`HandshakeError`].
pub(crate) async fn connect(
    stream: TcpStream,
    secured: Secured,
    own: Hello,
) -> Result<Greeted, HandshakeError> {
    let mut channel = Channel { stream, secured, input: BytesMut::new(), reader: FrameReader::new() };
    channel.secure().await?;
    channel.send(&own).await?;
    let hello = channel.hello().await?;
    channel.finish(own, hello)
}

/// Greets whoever has connected; `answer` says what to, once it is known who that is.
///
/// # Errors
/// See [`HandshakeError`].
pub(crate) async fn accept(
    stream: TcpStream,
    secured: Secured,
    own: Hello,
    answer: impl FnOnce(&Hello, Hello) -> Hello,
) -> Result<Greeted, HandshakeError> {
    let mut channel = Channel { stream, secured, input: BytesMut::new(), reader: FrameReader::new() };
    channel.secure().await?;
    let hello = channel.hello().await?;
    check(&channel.secured, &own, &hello)?;
    let own = answer(&hello, own);
    channel.send(&own).await?;
    channel.finish(own, hello)
}

/// Whether a peer may be who it says it is.
fn check(secured: &Secured, own: &Hello, hello: &Hello) -> Result<(), HandshakeError> {
    if hello.fleet != own.fleet {
        return Err(HandshakeError::OtherFleet(hello.fleet.clone()));
    }
    if hello.node == own.node {
        let (node, incarnation) = (hello.node.clone(), hello.incarnation);
        return Err(HandshakeError::OwnName { node, incarnation });
    }
    Ok(secured.check_peer(&hello.node, &hello.fleet)?)
}

impl Channel {
    async fn secure(&mut self) -> Result<(), HandshakeError> {
        while self.secured.is_handshaking() {
            self.flush().await?;
            if self.secured.is_handshaking() {
                self.fill().await?;
            }
        }
        self.flush().await
    }

    async fn send(&mut self, hello: &Hello) -> Result<(), HandshakeError> {
        let mut bytes = BytesMut::new();
        hello.encode(&mut bytes)?;
        self.secured.send(&[io::IoSlice::new(&bytes)]);
        self.flush().await
    }

    async fn hello(&mut self) -> Result<Hello, HandshakeError> {
        loop {
            match self.reader.read(&mut self.input)? {
                Some(Frame::Hello(hello)) => return Ok(*hello),
                Some(_) => return Err(HandshakeError::NoHello),
                None if self.input.len() > MAX_HELLO => return Err(HandshakeError::TooLong),
                None => self.fill().await?,
            }
        }
    }

    /// Writes all there is to write.
    async fn flush(&mut self) -> Result<(), HandshakeError> {
        while self.secured.wants_write() {
            self.stream.writable().await?;
            match self.secured.write_to(&mut Socket(&self.stream)).1 {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads once.
    async fn fill(&mut self) -> Result<(), HandshakeError> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(HandshakeError::Closed),
                Ok(count) => {
                    let received =
                        self.secured.receive(buffer.get(..count).unwrap_or_default(), &mut self.input);
                    if received.is_err() {
                        // The peer learns why, as far as TLS says it.
                        let _ = self.secured.write_to(&mut Socket(&self.stream));
                    }
                    return if received? { Err(HandshakeError::Closed) } else { Ok(()) };
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn finish(self, own: Hello, hello: Hello) -> Result<Greeted, HandshakeError> {
        check(&self.secured, &own, &hello)?;
        let peer = self.stream.peer_addr()?;
        let Self { stream, secured, input, reader } = self;
        Ok(Greeted { stream: stream.into_std()?, peer, secured, hello, own, input, reader })
    }
}

/// A socket that is written as far as it takes something at once.
pub(crate) struct Socket<'a>(pub(crate) &'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
