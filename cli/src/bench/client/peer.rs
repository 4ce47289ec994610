//! An engine with its socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use bytes::BytesMut;
use rustix::event::PollFlags;
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Engine, Fault, Happening};
use crate::{client::tls::Tls, failure::reason};

/// Slices of one write.
const SLICES: usize = 64;
/// Reads of one turn, so that one busy connection leaves time for the others.
const READS: usize = 8;

/// A connection.
#[derive(Debug)]
pub struct Peer {
    socket: Channel,
    engine: Engine,
    input: BytesMut,
    is_connected: bool,
    /// The socket took less than there was.
    is_full: bool,
}

impl Peer {
    /// Starts to connect. Whether it worked shows when the socket can be written.
    pub fn connect(to: SocketAddr, engine: Engine, tls: Option<&Tls>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Messages go out one by one in an open loop: none waits for the next.
        socket.set_tcp_nodelay(true)?;
        let is_connected = match socket.connect(&to.into()) {
            Ok(()) => true,
            Err(error) if is_under_way(&error) => false,
            Err(error) => return Err(error),
        };
        let tls = tls.map(Tls::connection).transpose().map_err(io::Error::other)?.map(Box::new);
        let socket = Channel { stream: socket.into(), tls };
        Ok(Self { socket, engine, input: BytesMut::new(), is_connected, is_full: false })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFlags {
        match (self.is_connected, self.is_full) {
            (false, _) => PollFlags::OUT,
            (true, true) => PollFlags::IN | PollFlags::OUT,
            (true, false) => PollFlags::IN,
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.stream.as_fd()
    }

    /// Reads what is there, at most a few buffers full. Answers with whether there may be more, of which
    /// the socket does not say anything.
    pub fn read(
        &mut self,
        now: Instant,
        scratch: &mut [u8],
        happenings: &mut VecDeque<Happening>,
    ) -> Result<bool, Fault> {
        if !self.finish_connecting()? {
            return Ok(false);
        }
        for _ in 0..READS {
            let count = match self.socket.read(scratch) {
                Ok(0) => return Err(Fault::Broken("the connection was closed".into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Broken(reason(&error))),
            };
            self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
            self.engine.handle_input(now, &mut self.input, happenings)?;
            if count < scratch.len() && !self.socket.has_layers() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes what the engine has, as far as the socket takes it.
    pub fn write(&mut self, now: Instant) -> Result<(), Fault> {
        if !self.is_connected {
            return Ok(());
        }
        self.engine.flush();
        self.is_full = false;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = self.engine.slices(&mut slices);
            let slices = slices.get(..used).unwrap_or_default();
            match self.socket.write(slices) {
                Ok(0) => return Ok(()),
                Ok(count) => self.engine.written(now, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Broken(reason(&error))),
            }
        }
    }

    fn finish_connecting(&mut self) -> Result<bool, Fault> {
        if !self.is_connected {
            if let Ok(Some(error)) = self.socket.stream.take_error() {
                return Err(Fault::Broken(reason(&error)));
            }
            self.is_connected = self.socket.stream.peer_addr().is_ok();
        }
        Ok(self.is_connected)
    }
}

/// A socket, and what lies between it and the engine.
#[derive(Debug)]
struct Channel {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Channel {
    /// Whether bytes may wait somewhere else than in the socket.
    fn has_layers(&self) -> bool {
        self.tls.is_some()
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(into);
        };
        loop {
            match tls.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Takes bytes as far as they fit, and gives the socket what it takes; zero when nothing is left to do
    /// before something comes.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return if slices.is_empty() { Ok(0) } else { self.stream.write_vectored(slices) };
        };
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        // While the handshake is under way it keeps a little, and takes no more than that.
        let count = tls.writer().write_vectored(slices)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                // What was taken counts: the rest leaves with the next call.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && count > 0 => break,
                result => result?,
            };
        }
        Ok(count)
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}
