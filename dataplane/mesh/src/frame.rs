//! What runs on a connection between two nodes.
//!
//! A frame is its length (32 bits, big endian, of what follows), its kind (8 bits) and its body. Numbers
//! are big endian. The first frame of each side is a [`Hello`], which no later frame may be.
//!
//! ```
//! use bytes::BytesMut;
//! use mq_mesh::frame::{Frame, FrameReader, Heartbeat, Hello};
//! use mq_mesh::Incarnation;
//!
//! let hello = Hello { fleet: "orders".into(), node: "node-1".into(), ..Hello::default() };
//! let mut bytes = BytesMut::new();
//! hello.encode(&mut bytes)?;
//! Heartbeat::default().encode(&mut bytes);
//!
//! let mut reader = FrameReader::new();
//! assert_eq!(reader.read(&mut bytes)?, Some(Frame::Hello(Box::new(hello))));
//! assert_eq!(reader.read(&mut bytes)?, Some(Frame::Heartbeat(Heartbeat::default())));
//! assert_eq!(reader.read(&mut bytes)?, None);
//! # Ok::<(), mq_mesh::FrameError>(())
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use crate::wire::WireError;

use crate::identity::{Endpoint, Epoch, Incarnation, NodeId};
use crate::wire::{Input, at_most, put_bytes};

/// The first bytes of a connection's first frame, behind length and kind.
pub const MAGIC: [u8; 8] = *b"mq-mesh\0";

/// What both sides must speak.
pub const PROTOCOL_VERSION: u16 = 1;

/// Bytes of a segment's payload and of a link state message, at most.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Bytes of a segment's frame before its payload, length and kind included.
pub const SEGMENT_HEADER: usize = LENGTH + 1 + SEGMENT_FIELDS;

/// Bytes of a whole frame, at most.
pub const MAX_FRAME: usize = SEGMENT_HEADER + MAX_PAYLOAD;

/// Bytes of the name of a fleet or a node, at most.
pub const MAX_NAME: usize = 128;

/// Bytes of the text that says which product and version a node runs, at most.
pub const MAX_PRODUCT: usize = 128;

/// Shards of a node, at most.
pub const MAX_SHARDS: u16 = 1024;

const LENGTH: usize = 4;
const SEGMENT_FIELDS: usize = 1 + 1 + 10 + 10 + 12 + 12 + 8 + 8 + 4;

const KIND_HELLO: u8 = 1;
const KIND_HEARTBEAT: u8 = 2;
const KIND_LINK_STATE: u8 = 3;
const KIND_SEGMENT: u8 = 4;

/// Why a connection's bytes cannot be read on: it is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("a frame of {length} bytes, of at most {MAX_FRAME}: is this a node of a fleet?")]
    Length { length: usize },
    #[error("not the mesh protocol of mq: check that both ends of the connection are mesh listeners of mqd")]
    Magic,
    #[error(
        "the other node speaks version {theirs} of the mesh protocol and this one {PROTOCOL_VERSION}: \
         run versions of mqd that are neighbours"
    )]
    Version { theirs: u16 },
    #[error("frame kind {kind} is not known")]
    Kind { kind: u8 },
    #[error("the first frame must be a hello, kind {KIND_HELLO}, and is of kind {kind}")]
    NotHello { kind: u8 },
    #[error("a second hello")]
    SecondHello,
    #[error(transparent)]
    Body(#[from] WireError),
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Hello(Box<Hello>),
    Heartbeat(Heartbeat),
    /// For [`crate::Router::handle_link_state`].
    LinkState(Bytes),
    /// For the channel of its destination, or for the next node on the way there.
    Segment(Segment),
}

/// Who is at the other end.
///
/// Its encoding may grow at the end in later versions: what is not known there is left unread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    pub fleet: String,
    pub node: String,
    pub incarnation: Incarnation,
    /// Shards of the sender, 1 to [`MAX_SHARDS`].
    pub shards: u16,
    /// The sender's shard that owns the connection.
    pub shard: u16,
    /// The receiver's shard that owns it: a wish of the side that connects, a fact of the other.
    pub peer_shard: u16,
    /// What the sender wants the link to cost, at least 1; the larger of both counts.
    pub cost: u32,
    /// Product and version, for people.
    pub product: String,
    /// A bit for each thing that is not in every version; unknown bits mean nothing.
    pub capabilities: u64,
}

impl Hello {
    /// Who sent it.
    pub fn id(&self) -> NodeId {
        NodeId::new(&self.fleet, &self.node)
    }

    /// Appends the frame.
    ///
    /// # Errors
    /// A text is longer than a reader would take, or a number is out of its range.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        self.check()?;
        framed(out, KIND_HELLO, |out| {
            out.extend_from_slice(&MAGIC);
            out.put_u16(PROTOCOL_VERSION);
            put_bytes(out, self.fleet.as_bytes());
            put_bytes(out, self.node.as_bytes());
            out.put_u64(self.incarnation.0);
            out.put_u16(self.shards);
            out.put_u16(self.shard);
            out.put_u16(self.peer_shard);
            out.put_u32(self.cost);
            put_bytes(out, self.product.as_bytes());
            out.put_u64(self.capabilities);
        });
        Ok(())
    }

    fn decode(body: &mut Bytes) -> Result<Self, FrameError> {
        let magic = body.split_to(MAGIC.len().min(body.len()));
        if magic != MAGIC.as_slice() {
            return Err(FrameError::Magic);
        }
        let mut input = Input(body);
        let theirs = input.u16("hello: version")?;
        if theirs != PROTOCOL_VERSION {
            return Err(FrameError::Version { theirs });
        }
        let hello = Self {
            fleet: input.text("hello: fleet", MAX_NAME)?,
            node: input.text("hello: node", MAX_NAME)?,
            incarnation: Incarnation(input.u64("hello: incarnation")?),
            shards: input.u16("hello: shards")?,
            shard: input.u16("hello: shard")?,
            peer_shard: input.u16("hello: peer shard")?,
            cost: input.u32("hello: cost")?,
            product: input.text("hello: product", MAX_PRODUCT)?,
            capabilities: input.u64("hello: capabilities")?,
        };
        hello.check()?;
        Ok(hello)
    }

    fn check(&self) -> Result<(), WireError> {
        at_most("hello: fleet", self.fleet.len(), MAX_NAME)?;
        at_most("hello: node", self.node.len(), MAX_NAME)?;
        at_most("hello: product", self.product.len(), MAX_PRODUCT)?;
        at_most("hello: shards", usize::from(self.shards), usize::from(MAX_SHARDS))
    }
}

/// A sign of life, and the time of a round trip.
///
/// Its clock is the sender's own, in microseconds from whatever moment: only its sender compares it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it was sent, by the sender's clock.
    pub sent: u64,
    /// `sent` of the last heartbeat that came from the receiver, 0 for none.
    pub echo: u64,
    /// How long ago, in microseconds, that one had arrived when this one was sent.
    pub held: u32,
}

impl Heartbeat {
    /// Appends the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        framed(out, KIND_HEARTBEAT, |out| {
            out.put_u64(self.sent);
            out.put_u64(self.echo);
            out.put_u32(self.held);
        });
    }

    /// The round trip in microseconds, where it answers one of ours.
    pub fn round_trip(&self, now: u64) -> Option<u64> {
        (self.echo != 0).then(|| now.saturating_sub(self.echo).saturating_sub(u64::from(self.held)))
    }

    fn decode(body: &mut Bytes) -> Result<Self, WireError> {
        let mut input = Input(body);
        Ok(Self {
            sent: input.u64("heartbeat: sent")?,
            echo: input.u64("heartbeat: echo")?,
            held: input.u32("heartbeat: held")?,
        })
    }
}

/// Appends a link state frame.
pub fn encode_link_state(message: &[u8], out: &mut BytesMut) {
    framed(out, KIND_LINK_STATE, |out| out.extend_from_slice(message));
}

/// What a segment's payload is, and what it asks for. Unknown bits are an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentFlags(u8);

impl SegmentFlags {
    /// Whole messages, each behind its length (16 bits).
    pub const MESSAGES: Self = Self(1);
    /// A piece of a message that does not fit into one segment.
    pub const PIECE: Self = Self(2);
    /// Segments that the sender misses, as pairs of 32 bits behind `acknowledged`: first and count.
    pub const MISSING: Self = Self(4);
    /// Asks for an answer that says what has arrived.
    pub const PROBE: Self = Self(8);
    /// The sender has begun anew and waits to hear that the receiver knows.
    pub const OPEN: Self = Self(16);
    const KNOWN: u8 = 31;

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the payload is part of the ordered stream and takes a sequence number.
    pub const fn is_data(self) -> bool {
        self.0 & (Self::MESSAGES.0 | Self::PIECE.0) != 0
    }
}

/// A frame of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub flags: SegmentFlags,
    /// How many more nodes may forward it.
    pub hops_left: u8,
    pub source: Endpoint,
    pub destination: Endpoint,
    pub source_epoch: Epoch,
    /// The epoch of the destination that the source knows; `None`: it knows none.
    pub destination_epoch: Option<Epoch>,
    /// The number of this segment in the stream, or, of one without data, of the next one.
    pub sequence: u64,
    /// All segments of the other direction before this number have arrived.
    pub acknowledged: u64,
    /// Bytes of the message that this piece begins; 0 in every other segment.
    pub message_length: u32,
    /// At most [`MAX_PAYLOAD`].
    pub payload: Bytes,
}

impl Segment {
    /// Hops of a segment whose sender does not say otherwise.
    pub const DEFAULT_HOPS: u8 = 64;

    /// Appends the frame, the payload copied.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(SEGMENT_HEADER + self.payload.len());
        self.encode_header(out);
        out.extend_from_slice(&self.payload);
    }

    /// Appends the frame but for its payload, which must follow: for writing without a copy.
    pub fn encode_header(&self, out: &mut BytesMut) {
        let length = SEGMENT_HEADER - LENGTH + self.payload.len();
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        out.put_u8(KIND_SEGMENT);
        out.put_u8(self.flags.0);
        out.put_u8(self.hops_left);
        put_endpoint(out, self.source);
        put_endpoint(out, self.destination);
        put_epoch(out, Some(self.source_epoch));
        put_epoch(out, self.destination_epoch);
        out.put_u64(self.sequence);
        out.put_u64(self.acknowledged);
        out.put_u32(self.message_length);
    }

    /// Counts a hop before the segment goes on from a node in the middle; `false`: it has come too far and
    /// must be dropped.
    #[must_use]
    pub fn take_hop(&mut self) -> bool {
        match self.hops_left.checked_sub(1) {
            Some(left) => self.hops_left = left,
            None => return false,
        }
        true
    }

    fn decode(body: &mut Bytes) -> Result<Self, WireError> {
        let mut input = Input(body);
        if let Some(missing) = SEGMENT_FIELDS.checked_sub(input.0.len()).filter(|missing| *missing > 0) {
            return Err(WireError::Short { what: "segment", missing });
        }
        let flags = input.u8("segment: flags")?;
        if flags & !SegmentFlags::KNOWN != 0 {
            return Err(WireError::Invalid { what: "segment: flags", value: u64::from(flags) });
        }
        Ok(Self {
            flags: SegmentFlags(flags),
            hops_left: input.u8("segment: hops")?,
            source: endpoint(&mut input)?,
            destination: endpoint(&mut input)?,
            source_epoch: epoch(&mut input)?,
            destination_epoch: Some(epoch(&mut input)?).filter(|epoch| epoch.incarnation.0 != 0),
            sequence: input.u64("segment: sequence")?,
            acknowledged: input.u64("segment: acknowledged")?,
            message_length: input.u32("segment: message length")?,
            payload: std::mem::take(body),
        })
    }
}

fn put_endpoint(out: &mut BytesMut, endpoint: Endpoint) {
    out.put_u64(endpoint.node.0);
    out.put_u16(endpoint.shard);
}

fn endpoint(input: &mut Input<'_>) -> Result<Endpoint, WireError> {
    Ok(Endpoint { node: NodeId(input.u64("segment: node")?), shard: input.u16("segment: shard")? })
}

/// No node starts in 1970, so incarnation 0 stands for none.
fn put_epoch(out: &mut BytesMut, epoch: Option<Epoch>) {
    out.put_u64(epoch.map_or(0, |epoch| epoch.incarnation.0));
    out.put_u32(epoch.map_or(0, |epoch| epoch.generation));
}

fn epoch(input: &mut Input<'_>) -> Result<Epoch, WireError> {
    let incarnation = Incarnation(input.u64("segment: incarnation")?);
    Ok(Epoch { incarnation, generation: input.u32("segment: generation")? })
}

fn framed(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    body(out);
    let length = u32::try_from(out.len() - start - LENGTH).unwrap_or(u32::MAX);
    if let Some(mut place) = out.get_mut(start..start + LENGTH) {
        place.put_u32(length);
    }
}

/// Takes frames out of what a connection's socket brought.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    has_hello: bool,
}

impl FrameReader {
    /// A reader at the beginning of a connection, which must start with a [`Hello`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The next frame, once it is whole. A segment's payload is a slice of `input`, not a copy, and so
    /// keeps the buffer from being used again for as long as it lives.
    ///
    /// # Errors
    /// The connection is not, or no longer, one of a mesh: close it.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = peek_length(input)? else { return Ok(None) };
        if input.len() < LENGTH + length {
            return Ok(None);
        }
        input.advance(LENGTH);
        let mut body = input.split_to(length).freeze();
        let kind = body.get_u8();
        self.check_order(kind)?;
        Ok(Some(match kind {
            KIND_HELLO => Frame::Hello(Box::new(Hello::decode(&mut body)?)),
            KIND_HEARTBEAT => Frame::Heartbeat(Heartbeat::decode(&mut body)?),
            KIND_LINK_STATE => {
                at_most("link state", body.len(), MAX_PAYLOAD)?;
                Frame::LinkState(body)
            }
            KIND_SEGMENT => Frame::Segment(Segment::decode(&mut body)?),
            kind => return Err(FrameError::Kind { kind }),
        }))
    }

    /// How many more bytes the next frame needs, as far as is known: for sizing a read.
    pub fn missing(&self, input: &BytesMut) -> usize {
        match peek_length(input) {
            Ok(Some(length)) => (LENGTH + length).saturating_sub(input.len()),
            _ => LENGTH.saturating_sub(input.len()),
        }
    }

    fn check_order(&mut self, kind: u8) -> Result<(), FrameError> {
        match (kind, self.has_hello) {
            (KIND_HELLO, true) => Err(FrameError::SecondHello),
            (KIND_HELLO, false) => {
                self.has_hello = true;
                Ok(())
            }
            (kind, false) => Err(FrameError::NotHello { kind }),
            (_, true) => Ok(()),
        }
    }
}

/// The length of the frame that begins `input`: at least its kind, at most what a frame may have.
fn peek_length(input: &BytesMut) -> Result<Option<usize>, FrameError> {
    let Some(bytes) = input.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_FRAME - LENGTH {
        return Err(FrameError::Length { length });
    }
    Ok(Some(length))
}
