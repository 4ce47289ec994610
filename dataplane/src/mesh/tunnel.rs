//! The bytes of a client's socket on their way to the node of its session, and back. No IO.
//!
//! A tunnel has two ends, each on one shard. The *near* end is where the client's socket is: it opens the
//! tunnel with a CONNECT that it has read. The *home* end is where the client's session is: it stands in the
//! place of a socket. What lies between is a channel of the mesh, ordered and without loss, which many
//! tunnels share; so each has a window of [`WINDOW`] bytes for each direction, and an end that does not take
//! its bytes holds nobody else up.
//!
//! ```text
//!   near                                   home
//!    | Open (what was read so far)          |
//!    | ───────────────────────────────────► |  a connection is served
//!    | Data, Data ...      Grant            |
//!    | ◄──────────────────────────────────► |
//!    | End: nothing more from this side     |  as the shutdown of a socket's half
//!    | ───────────────────────────────────► |
//!    | Close: this end is gone              |  what was sent before it still counts
//!    | ◄─────────────────────────────────── |
//! ```
//!
//! When the channel ends so do its tunnels: nobody tells the ends but who drives them.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mq_core::ShardId;
use mq_model::space::MAX_SPACE_NAME;

use crate::tls::Encryption;

/// Bytes that may be under way in each direction of a tunnel, or wait at its end to be taken.
pub(crate) const WINDOW: u32 = 64 << 10;

/// Bytes taken of a window after which the other end learns that it may send them again.
const GRANT: u32 = WINDOW / 2;

/// Bytes of what a near end has read before it opens a tunnel: a CONNECT, and what one turn has read more.
/// Also those of the state of its frames.
pub(crate) const MAX_OPENING: usize = 2 << 20;

/// Bytes of the name of a listener.
const MAX_LISTENER: usize = 255;

/// Bytes of the words of a farewell; what is longer is cut.
const MAX_REASON: usize = 1_024;

/// What the other shard broke. The channel to it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TunnelError {
    #[error("a message of a tunnel ends early")]
    Truncated,
    #[error("a message of a tunnel is of kind {0}, which is none; both nodes need versions that agree")]
    Kind(u8),
    #[error("a tunnel names its client by an address of family {0}, which is none")]
    Family(u8),
    #[error("a tunnel is opened with {0} bytes, {MAX_OPENING} are the most")]
    Opening(usize),
    #[error("a text of a tunnel is not UTF-8")]
    Text,
    #[error("what a tunnel says of TLS cannot be read; both nodes need versions that agree")]
    Encryption,
    #[error("tunnel {0} was opened twice")]
    Twice(u32),
    #[error("a tunnel got {bytes} bytes beyond its window of {WINDOW}")]
    Window { bytes: u64 },
    #[error("a tunnel got bytes after its end")]
    Ended,
}

/// Names a tunnel of one channel, as one end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TunnelId {
    /// This end opened it: it is the near one.
    pub(crate) is_near: bool,
    /// Chosen by the near end.
    pub(crate) number: u32,
}

/// What one end says to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A client is on its way. From the near end.
    Open(Box<Opening>),
    /// Some of its bytes.
    Data(Bytes),
    /// So many bytes were taken: as many may be sent again.
    Grant(u32),
    /// Nothing more comes from this end; it goes on taking.
    End,
    /// This end is gone: it sends nothing more and takes nothing more.
    Close,
    /// The client is to be told good-bye. From the near end.
    Farewell {
        /// Its node stops; otherwise an administrator wants it.
        is_stopping: bool,
        reason: String,
    },
}

/// What the home has to know of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) peer: SocketAddr,
    /// The name of the listener that accepted it.
    pub(crate) listener: Box<str>,
    /// The client is on the machine of the node that has its socket.
    pub(crate) is_local: bool,
    /// The space that the listener is for.
    pub(crate) space: Option<Box<str>>,
    /// Milliseconds since the epoch.
    pub(crate) opened_at: i64,
    /// Bytes that its socket has carried so far.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The state of its frames, when it has them.
    pub(crate) frames: Option<Bytes>,
    /// What TLS has agreed on with it.
    pub(crate) encryption: Option<Arc<Encryption>>,
    /// What was read and not served, a whole CONNECT among it unless the frames hold that.
    pub(crate) input: Bytes,
}

/// Set in the flags of an opening whose client has frames, and of one that speaks TLS.
const HAS_FRAMES: u8 = 1;
const IS_ENCRYPTED: u8 = 2;
/// Set in those of one whose client is on the machine of its node, and of one whose listener is for a space.
const IS_LOCAL: u8 = 4;
const HAS_SPACE: u8 = 8;

/// Set in the kind of a message whose sender has opened the tunnel.
const FROM_NEAR: u8 = 0x80;

const OPEN: u8 = 1;
const DATA: u8 = 2;
const TAKEN: u8 = 3;
const END: u8 = 4;
const CLOSE: u8 = 5;
const FAREWELL: u8 = 6;

/// Bytes before the body of a message: its kind and the number of its tunnel.
const HEADER: usize = 5;

impl Message {
    /// The message as bytes.
    pub(crate) fn encode(&self, id: TunnelId) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Open(opening) => opening.encode(id, &mut out),
            Self::Data(bytes) => {
                put_header(&mut out, DATA, id, bytes.len());
                out.put_slice(bytes);
            }
            Self::Grant(bytes) => {
                put_header(&mut out, TAKEN, id, 4);
                out.put_u32(*bytes);
            }
            Self::End => put_header(&mut out, END, id, 0),
            Self::Close => put_header(&mut out, CLOSE, id, 0),
            Self::Farewell { is_stopping, reason } => {
                let reason = beginning(reason, MAX_REASON);
                put_header(&mut out, FAREWELL, id, 1 + reason.len());
                out.put_u8(u8::from(*is_stopping));
                out.put_slice(reason.as_bytes());
            }
        }
        out.freeze()
    }

    /// Reads a message, and whose it is as its receiver sees it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(mut input: Bytes) -> Result<(TunnelId, Self), TunnelError> {
        let kind = byte(&mut input)?;
        let id = TunnelId { is_near: kind & FROM_NEAR == 0, number: number(&mut input)? };
        let message = match kind & !FROM_NEAR {
            OPEN => return Ok((id, Self::Open(Box::new(Opening::decode(input)?)))),
            DATA => Self::Data(std::mem::take(&mut input)),
            TAKEN => Self::Grant(number(&mut input)?),
            END => Self::End,
            CLOSE => Self::Close,
            FAREWELL => {
                let is_stopping = byte(&mut input)? != 0;
                let words = std::mem::take(&mut input);
                let reason = std::str::from_utf8(&words).map_err(|_| TunnelError::Text)?;
                Self::Farewell { is_stopping, reason: beginning(reason, MAX_REASON).to_owned() }
            }
            other => return Err(TunnelError::Kind(other)),
        };
        if !input.is_empty() { Err(TunnelError::Kind(kind)) } else { Ok((id, message)) }
    }
}

impl Opening {
    fn encode(&self, id: TunnelId, out: &mut BytesMut) {
        let frames = self.frames.as_deref().unwrap_or_default();
        // Plain data in text always has a form in JSON.
        let encryption =
            self.encryption.as_deref().and_then(|encryption| serde_json::to_vec(encryption).ok());
        let said = encryption.as_deref().unwrap_or_default();
        put_header(out, OPEN, id, 64 + self.listener.len() + frames.len() + said.len() + self.input.len());
        match self.peer.ip() {
            IpAddr::V4(ip) => {
                out.put_u8(4);
                out.put_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.put_u8(6);
                out.put_slice(&ip.octets());
            }
        }
        out.put_u16(self.peer.port());
        let listener = beginning(&self.listener, MAX_LISTENER);
        out.put_u8(u8::try_from(listener.len()).unwrap_or(u8::MAX));
        out.put_slice(listener.as_bytes());
        out.put_i64(self.opened_at);
        out.put_u64(self.bytes_in);
        out.put_u64(self.bytes_out);
        let has_frames = if self.frames.is_some() { HAS_FRAMES } else { 0 };
        let is_encrypted = if encryption.is_some() { IS_ENCRYPTED } else { 0 };
        let is_local = if self.is_local { IS_LOCAL } else { 0 };
        let has_space = if self.space.is_some() { HAS_SPACE } else { 0 };
        out.put_u8(has_frames | is_encrypted | is_local | has_space);
        out.put_u32(u32::try_from(frames.len()).unwrap_or(u32::MAX));
        out.put_slice(frames);
        if encryption.is_some() {
            out.put_u32(u32::try_from(said.len()).unwrap_or(u32::MAX));
            out.put_slice(said);
        }
        if let Some(space) = &self.space {
            let space = beginning(space, MAX_SPACE_NAME);
            out.put_u8(u8::try_from(space.len()).unwrap_or(u8::MAX));
            out.put_slice(space.as_bytes());
        }
        out.put_slice(&self.input);
    }

    fn decode(mut input: Bytes) -> Result<Self, TunnelError> {
        if input.len() > MAX_OPENING {
            return Err(TunnelError::Opening(input.len()));
        }
        let ip = match byte(&mut input)? {
            4 => IpAddr::V4(Ipv4Addr::from_bits(number(&mut input)?)),
            6 => IpAddr::V6(Ipv6Addr::from_bits(need(&mut input, 16)?.get_u128())),
            other => return Err(TunnelError::Family(other)),
        };
        let peer = SocketAddr::new(ip, need(&mut input, 2)?.get_u16());
        let length = usize::from(byte(&mut input)?);
        let listener = need(&mut input, length)?;
        let listener = std::str::from_utf8(&listener).map_err(|_| TunnelError::Text)?.into();
        let mut fields = need(&mut input, 24)?;
        let (opened_at, bytes_in, bytes_out) = (fields.get_i64(), fields.get_u64(), fields.get_u64());
        let flags = byte(&mut input)?;
        let length = usize::try_from(number(&mut input)?).unwrap_or(usize::MAX);
        let frames = need(&mut input, length)?;
        let frames = (flags & HAS_FRAMES != 0).then_some(frames);
        let encryption = if flags & IS_ENCRYPTED != 0 {
            let length = usize::try_from(number(&mut input)?).unwrap_or(usize::MAX);
            let said = need(&mut input, length)?;
            // Without it the client would count as one that speaks plain.
            Some(serde_json::from_slice(&said).map_err(|_| TunnelError::Encryption)?)
        } else {
            None
        };
        let space = if flags & HAS_SPACE != 0 {
            let length = usize::from(byte(&mut input)?);
            let name = need(&mut input, length)?;
            Some(std::str::from_utf8(&name).map_err(|_| TunnelError::Text)?.into())
        } else {
            None
        };
        let is_local = flags & IS_LOCAL != 0;
        Ok(Self {
            peer,
            listener,
            is_local,
            space,
            opened_at,
            bytes_in,
            bytes_out,
            frames,
            encryption,
            input,
        })
    }
}

fn put_header(out: &mut BytesMut, kind: u8, id: TunnelId, body: usize) {
    out.reserve(HEADER + body);
    out.put_u8(if id.is_near { kind | FROM_NEAR } else { kind });
    out.put_u32(id.number);
}

fn need(input: &mut Bytes, count: usize) -> Result<Bytes, TunnelError> {
    if input.len() < count { Err(TunnelError::Truncated) } else { Ok(input.split_to(count)) }
}

fn byte(input: &mut Bytes) -> Result<u8, TunnelError> {
    Ok(need(input, 1)?.get_u8())
}

fn number(input: &mut Bytes) -> Result<u32, TunnelError> {
    Ok(need(input, 4)?.get_u32())
}

/// As much of a text as has room.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// What the ends of tunnels have to say to other shards, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Vec<(ShardId, Bytes)>);

impl Outbox {
    /// Says something of a tunnel to the shard at its other end.
    pub(crate) fn push(&mut self, to: ShardId, id: TunnelId, message: &Message) {
        self.0.push((to, message.encode(id)));
    }

    /// Says what another has to say, too.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what there is to say.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (ShardId, Bytes)> + '_ {
        self.0.drain(..)
    }
}

/// Whether the tunnels to a shard may send: shut while the channel that they share has much to carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Shuts it, or opens it again.
    pub(crate) fn set_shut(&self, is_shut: bool) {
        self.0.store(is_shut, Ordering::Relaxed);
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of writing into a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes are on their way; at least one.
    Some(usize),
    /// The window is used up, or the gate is shut: again after a grant, or when it opens.
    Full,
    /// Nobody takes them any more.
    Broken,
}

/// What came of reading from a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many bytes; at least one.
    Some(usize),
    /// None are there yet.
    Nothing,
    /// None will come any more.
    Ended,
}

/// One end of a tunnel.
///
/// Give it what comes with [`handle`](Self::handle). What it has to say goes into the [`Outbox`] that a method
/// takes, at once and in order; it keeps no bytes but those that have come and were not taken, at most
/// [`WINDOW`] of them.
#[derive(Debug)]
pub(crate) struct End {
    id: TunnelId,
    /// The shard with the other end.
    peer: ShardId,
    gate: Gate,
    /// Bytes that the other end takes.
    room: u32,
    /// Bytes that were taken here and the other end does not know of.
    taken: u32,
    /// What has come and was not taken.
    incoming: BytesMut,
    /// Nothing more is sent.
    has_ended: bool,
    /// Nothing more comes.
    peer_has_ended: bool,
    /// Nothing more is taken at the other end.
    peer_is_gone: bool,
}

impl End {
    /// An end of a tunnel that has just been opened.
    pub(crate) fn new(id: TunnelId, peer: ShardId, gate: Gate) -> Self {
        Self {
            id,
            peer,
            gate,
            room: WINDOW,
            taken: 0,
            incoming: BytesMut::new(),
            has_ended: false,
            peer_has_ended: false,
            peer_is_gone: false,
        }
    }

    pub(crate) fn id(&self) -> TunnelId {
        self.id
    }

    /// The shard with the other end.
    pub(crate) fn peer(&self) -> ShardId {
        self.peer
    }

    /// Whether bytes may be sent now, or it is known that nobody takes them.
    pub(crate) fn may_write(&self) -> bool {
        (self.room > 0 && !self.gate.is_shut()) || self.peer_is_gone
    }

    /// What has come and was not taken.
    pub(crate) fn incoming(&self) -> &[u8] {
        &self.incoming
    }

    /// Whether all that has come was taken, and nothing more will come.
    pub(crate) fn is_drained(&self) -> bool {
        self.peer_has_ended && self.incoming.is_empty()
    }

    /// Sends bytes, as many as have room.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], out: &mut Outbox) -> Written {
        if self.has_ended || self.peer_is_gone {
            return Written::Broken;
        }
        let size: usize = slices.iter().map(|slice| slice.len()).sum();
        let size = size.min(self.room as usize);
        if size == 0 || self.gate.is_shut() {
            return Written::Full;
        }
        let mut message = BytesMut::new();
        put_header(&mut message, DATA, self.id, size);
        let mut left = size;
        for slice in slices {
            let part = slice.get(..left).unwrap_or(slice);
            message.put_slice(part);
            left -= part.len();
        }
        self.room -= u32::try_from(size).unwrap_or(self.room);
        out.0.push((self.peer, message.freeze()));
        Written::Some(size)
    }

    /// Takes bytes that have come, at most so many.
    pub(crate) fn read(&mut self, into: &mut BytesMut, most: usize, out: &mut Outbox) -> Taken {
        let count = self.incoming.len().min(most);
        if count > 0 {
            into.extend_from_slice(self.incoming.get(..count).unwrap_or_default());
            self.consume(count, out);
            return Taken::Some(count);
        }
        if self.peer_has_ended && self.incoming.is_empty() { Taken::Ended } else { Taken::Nothing }
    }

    /// So many of the bytes that have come were taken.
    pub(crate) fn consume(&mut self, count: usize, out: &mut Outbox) {
        let count = count.min(self.incoming.len());
        self.incoming.advance(count);
        if self.incoming.is_empty() {
            // An idle tunnel keeps no buffer.
            self.incoming = BytesMut::new();
        }
        self.taken = self.taken.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.taken >= GRANT && !self.peer_has_ended {
            out.push(self.peer, self.id, &Message::Grant(std::mem::take(&mut self.taken)));
        }
    }

    /// Sends nothing more from here on.
    pub(crate) fn end(&mut self, out: &mut Outbox) {
        if !std::mem::replace(&mut self.has_ended, true) && !self.peer_is_gone {
            out.push(self.peer, self.id, &Message::End);
        }
    }

    /// This end goes.
    pub(crate) fn close(&mut self, out: &mut Outbox) {
        self.has_ended = true;
        if !std::mem::replace(&mut self.peer_is_gone, true) {
            out.push(self.peer, self.id, &Message::Close);
        }
    }

    /// The channel has ended: nothing comes any more, and what has come counts no more.
    pub(crate) fn break_off(&mut self) {
        self.incoming = BytesMut::new();
        self.has_ended = true;
        self.peer_has_ended = true;
        self.peer_is_gone = true;
    }

    /// Takes what the other end says. [`Message::Open`] and [`Message::Farewell`] are the driver's.
    ///
    /// # Errors
    /// When the other shard has broken the rules.
    pub(crate) fn handle(&mut self, message: Message) -> Result<(), TunnelError> {
        match message {
            Message::Data(bytes) => self.take_in(&bytes),
            Message::Grant(bytes) => {
                let room = u64::from(self.room) + u64::from(bytes);
                match u32::try_from(room) {
                    Ok(room) if room <= WINDOW => self.room = room,
                    _ => return Err(TunnelError::Window { bytes: room - u64::from(WINDOW) }),
                }
                Ok(())
            }
            Message::End => {
                self.peer_has_ended = true;
                Ok(())
            }
            Message::Close => {
                self.peer_has_ended = true;
                self.peer_is_gone = true;
                Ok(())
            }
            Message::Open(_) => Err(TunnelError::Twice(self.id.number)),
            Message::Farewell { .. } => Ok(()),
        }
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), TunnelError> {
        if self.peer_has_ended {
            return Err(TunnelError::Ended);
        }
        // What was taken and not granted is not to be sent again yet.
        let held = self.incoming.len() as u64 + u64::from(self.taken) + bytes.len() as u64;
        if held > u64::from(WINDOW) {
            return Err(TunnelError::Window { bytes: held - u64::from(WINDOW) });
        }
        self.incoming.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const NEAR: ShardId = ShardId(3);
    const HOME: ShardId = ShardId(0x102);

    fn opening() -> Opening {
        Opening {
            peer: "127.0.0.1:4711".parse().unwrap(),
            listener: "mqtt".into(),
            is_local: false,
            space: None,
            opened_at: -7,
            bytes_in: 1 << 40,
            bytes_out: 3,
            frames: None,
            encryption: None,
            input: Bytes::from_static(b"\x10\x0d"),
        }
    }

    fn encryption() -> Arc<Encryption> {
        Arc::new(Encryption {
            version: "TLSv1.3".into(),
            cipher: "TLS13_AES_128_GCM_SHA256".into(),
            server_name: Some("broker.example".into()),
            is_resumed: false,
            certificate: None,
        })
    }

    fn messages() -> Vec<Message> {
        let framed = Opening {
            peer: "[2001:db8::1]:65535".parse().unwrap(),
            frames: Some(Bytes::from_static(b"frames")),
            is_local: true,
            space: Some("acme".into()),
            input: Bytes::new(),
            ..opening()
        };
        vec![
            Message::Open(Box::new(opening())),
            Message::Open(Box::new(framed)),
            Message::Open(Box::new(Opening { frames: Some(Bytes::new()), ..opening() })),
            Message::Open(Box::new(Opening { encryption: Some(encryption()), ..opening() })),
            Message::Data(Bytes::from_static(b"some bytes")),
            Message::Data(Bytes::new()),
            Message::Grant(u32::MAX),
            Message::End,
            Message::Close,
            Message::Farewell { is_stopping: true, reason: "the node is stopping".into() },
            Message::Farewell { is_stopping: false, reason: String::new() },
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written_by_the_other_end() {
        for message in messages() {
            for is_near in [false, true] {
                let id = TunnelId { is_near, number: 0x0102_0304 };
                let (seen, read) = Message::decode(message.encode(id)).unwrap();
                assert_eq!(read, message);
                assert_eq!(seen, TunnelId { is_near: !is_near, ..id });
            }
        }
    }

    #[test]
    fn a_message_that_ends_early_is_an_error_or_another_message_and_no_panic() {
        for message in messages() {
            let bytes = message.encode(TunnelId { is_near: true, number: 7 });
            for end in 0..bytes.len() {
                let read = Message::decode(bytes.slice(..end));
                assert_ne!(read.map(|(_, read)| read), Ok(message.clone()), "{end} bytes");
            }
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.to_vec();
                flipped[at / 8] ^= 1 << (at % 8);
                let _ = Message::decode(flipped.into());
            }
        }
        assert_eq!(Message::decode(Bytes::new()), Err(TunnelError::Truncated));
        assert_eq!(Message::decode(Bytes::from_static(b"\x09\0\0\0\0")), Err(TunnelError::Kind(9)));
        let more = Bytes::from_static(b"\x04\0\0\0\0more");
        assert_eq!(Message::decode(more), Err(TunnelError::Kind(4)));
    }

    #[test]
    fn an_opening_beyond_the_bound_is_an_error() {
        let large = Opening { input: vec![0; MAX_OPENING].into(), ..opening() };
        let bytes = Message::Open(Box::new(large)).encode(TunnelId { is_near: true, number: 1 });
        assert!(matches!(Message::decode(bytes), Err(TunnelError::Opening(_))));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let farewell = Message::Farewell { is_stopping: true, reason: "ü".repeat(MAX_REASON) };
        let (_, read) = Message::decode(farewell.encode(TunnelId { is_near: true, number: 1 })).unwrap();
        let reason = "ü".repeat(MAX_REASON / 2);
        assert_eq!(read, Message::Farewell { is_stopping: true, reason });
    }

    fn end() -> (End, Outbox) {
        (End::new(TunnelId { is_near: true, number: 1 }, HOME, Gate::default()), Outbox::default())
    }

    #[test]
    fn more_than_the_window_is_not_sent_and_not_taken() {
        let (mut end, mut out) = end();
        let bytes = vec![0; WINDOW as usize + 1];
        assert_eq!(end.write(&[IoSlice::new(&bytes)], &mut out), Written::Some(WINDOW as usize));
        assert_eq!(end.write(&[IoSlice::new(&bytes)], &mut out), Written::Full);
        assert!(!end.may_write());
        assert_eq!(end.handle(Message::Data(bytes.clone().into())), Err(TunnelError::Window { bytes: 1 }));
        end.handle(Message::Data(bytes[1..].to_vec().into())).unwrap();
        assert_eq!(
            end.handle(Message::Data(bytes[..1].to_vec().into())),
            Err(TunnelError::Window { bytes: 1 })
        );
        end.consume(10, &mut out);
        let ungranted = end.handle(Message::Data(bytes[..1].to_vec().into()));
        assert_eq!(ungranted, Err(TunnelError::Window { bytes: 1 }), "it was not told that it may");
    }

    #[test]
    fn nothing_is_sent_while_the_gate_is_shut() {
        let (mut end, mut out) = end();
        let gate = end.gate.clone();
        gate.set_shut(true);
        assert!(!end.may_write());
        assert_eq!(end.write(&[IoSlice::new(b"x")], &mut out), Written::Full);
        gate.set_shut(false);
        assert_eq!(end.write(&[IoSlice::new(b"x")], &mut out), Written::Some(1));
    }

    #[test]
    fn a_grant_beyond_the_window_is_an_error() {
        let (mut end, mut out) = end();
        assert_eq!(end.handle(Message::Grant(1)), Err(TunnelError::Window { bytes: 1 }));
        end.write(&[IoSlice::new(b"abc")], &mut out);
        end.handle(Message::Grant(3)).unwrap();
        assert!(matches!(end.handle(Message::Grant(u32::MAX)), Err(TunnelError::Window { .. })));
    }

    #[test]
    fn bytes_after_the_end_are_an_error() {
        for last in [Message::End, Message::Close] {
            let (mut end, _) = end();
            end.handle(last).unwrap();
            assert_eq!(end.handle(Message::Data(Bytes::from_static(b"x"))), Err(TunnelError::Ended));
        }
    }

    #[test]
    fn what_came_before_a_close_is_still_taken_and_what_came_before_a_break_is_not() {
        let (mut end, mut out) = end();
        end.handle(Message::Data(Bytes::from_static(b"abc"))).unwrap();
        end.handle(Message::Close).unwrap();
        assert_eq!(end.write(&[IoSlice::new(b"x")], &mut out), Written::Broken);
        let mut buffer = BytesMut::new();
        assert_eq!(end.read(&mut buffer, 2, &mut out), Taken::Some(2));
        assert!(!end.is_drained());
        end.break_off();
        assert_eq!(end.read(&mut buffer, 2, &mut out), Taken::Ended);
        assert_eq!(&buffer[..], b"ab");
        end.close(&mut out);
        assert!(out.is_empty(), "who is gone is told nothing");
    }

    #[test]
    fn an_end_says_each_of_its_last_words_once() {
        let (mut end, mut out) = end();
        end.end(&mut out);
        end.end(&mut out);
        end.close(&mut out);
        end.close(&mut out);
        let said: Vec<Message> = out.drain().map(|(_, bytes)| Message::decode(bytes).unwrap().1).collect();
        assert_eq!(said, [Message::End, Message::Close]);
    }

    #[test]
    fn an_idle_end_is_small() {
        assert!(size_of::<End>() <= 72, "{}", size_of::<End>());
        let (mut end, mut out) = end();
        end.handle(Message::Data(vec![7; 1_000].into())).unwrap();
        end.consume(1_000, &mut out);
        assert_eq!(end.incoming.capacity(), 0);
    }

    /// One side of the random schedules: what it has sent and taken so far, as a counter of bytes.
    struct Side {
        end: End,
        out: Outbox,
        /// On its way to the other side.
        wire: VecDeque<Bytes>,
        sent: u64,
        taken: u64,
        to_send: u64,
    }

    /// The byte at a place of a stream: not the same in both directions, nor in a shifted one.
    fn byte_at(at: u64, seed: u64) -> u8 {
        (at.wrapping_mul(0x9e37_79b9).wrapping_add(seed) >> 7) as u8
    }

    impl Side {
        fn new(is_near: bool, to_send: u64) -> Self {
            let peer = if is_near { HOME } else { NEAR };
            Self {
                end: End::new(TunnelId { is_near, number: 9 }, peer, Gate::default()),
                out: Outbox::default(),
                wire: VecDeque::new(),
                sent: 0,
                taken: 0,
                to_send,
            }
        }

        fn write(&mut self, count: u64, seed: u64) {
            let count = count.min(self.to_send - self.sent);
            let bytes: Vec<u8> = (self.sent..self.sent + count).map(|at| byte_at(at, seed)).collect();
            let (first, second) = bytes.split_at(bytes.len() / 3);
            if let Written::Some(count) =
                self.end.write(&[IoSlice::new(first), IoSlice::new(second)], &mut self.out)
            {
                self.sent += count as u64;
            }
            if self.sent == self.to_send {
                self.end.end(&mut self.out);
            }
            self.post();
        }

        fn read(&mut self, most: usize, seed: u64) {
            let mut buffer = BytesMut::new();
            self.end.read(&mut buffer, most, &mut self.out);
            for byte in buffer {
                assert_eq!(byte, byte_at(self.taken, seed), "byte {} came out of order", self.taken);
                self.taken += 1;
            }
            self.post();
        }

        fn post(&mut self) {
            self.wire.extend(self.out.drain().map(|(_, bytes)| bytes));
        }

        fn hear(&mut self, message: Option<Bytes>) {
            let Some(message) = message else { return };
            let (id, message) = Message::decode(message).unwrap();
            assert_eq!(id, self.end.id());
            self.end.handle(message).unwrap();
            assert!(self.end.incoming().len() <= WINDOW as usize);
        }
    }

    #[test]
    fn bytes_arrive_in_order_and_whole_whatever_the_schedule() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut near = Side::new(true, random.u64(0..300_000));
            let mut home = Side::new(false, random.u64(0..300_000));
            let largest = random.u64(500..100_000);
            let mut turns = 0;
            while !(near.end.is_drained() && home.end.is_drained()) {
                turns += 1;
                assert!(turns < 1_000_000, "seed {seed}: the tunnel stands still");
                let count = random.u64(0..largest);
                match random.u8(0..6) {
                    0 => near.write(count, 1),
                    1 => home.write(count, 2),
                    2 => near.read(count as usize, 2),
                    3 => home.read(count as usize, 1),
                    4 => home.hear(near.wire.pop_front()),
                    _ => near.hear(home.wire.pop_front()),
                }
                let under_way = |wire: &VecDeque<Bytes>| wire.iter().map(Bytes::len).sum::<usize>();
                // Each message costs its header; one byte at a time is the worst.
                let most = WINDOW as usize * (1 + HEADER) + 1_024;
                assert!(under_way(&near.wire) <= most && under_way(&home.wire) <= most, "seed {seed}");
            }
            assert_eq!((home.taken, near.taken), (near.to_send, home.to_send), "seed {seed}");
        }
    }
}
