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
use socket2::{Domain, Protocol, Socket, Type};

use super::{Engine, Fault, Happening};
use crate::failure::reason;

/// Slices of one write.
const SLICES: usize = 64;
/// Reads of one turn, so that one busy connection leaves time for the others.
const READS: usize = 8;

/// A connection.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    engine: Engine,
    input: BytesMut,
    is_connected: bool,
    /// The socket took less than there was.
    is_full: bool,
}

impl Peer {
    /// Starts to connect. Whether it worked shows when the socket can be written.
    pub fn connect(to: SocketAddr, engine: Engine) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Messages go out one by one in an open loop: none waits for the next.
        socket.set_tcp_nodelay(true)?;
        let is_connected = match socket.connect(&to.into()) {
            Ok(()) => true,
            Err(error) if is_under_way(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(Self { stream: socket.into(), engine, input: BytesMut::new(), is_connected, is_full: false })
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
        self.stream.as_fd()
    }

    /// Reads what is there, at most a few buffers full. Answers with whether anything came.
    pub fn read(
        &mut self,
        now: Instant,
        scratch: &mut [u8],
        happenings: &mut VecDeque<Happening>,
    ) -> Result<bool, Fault> {
        if !self.finish_connecting()? {
            return Ok(false);
        }
        let mut came = false;
        for _ in 0..READS {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(Fault::Broken("the connection was closed".into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Broken(reason(&error))),
            };
            came = true;
            self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
            self.engine.handle_input(now, &mut self.input, happenings)?;
            if count < scratch.len() {
                break;
            }
        }
        Ok(came)
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
            let Some(slices) = slices.get(..used).filter(|slices| !slices.is_empty()) else {
                return Ok(());
            };
            match self.stream.write_vectored(slices) {
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
            if let Ok(Some(error)) = self.stream.take_error() {
                return Err(Fault::Broken(reason(&error)));
            }
            self.is_connected = self.stream.peer_addr().is_ok();
        }
        Ok(self.is_connected)
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}
