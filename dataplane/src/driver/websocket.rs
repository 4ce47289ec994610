//! WebSocket as it carries MQTT, the server's side, without IO (RFC 6455; MQTT 5.0, 6).
//!
//! "MQTT Control Packets MUST be sent in WebSocket binary data frames": where frames begin and end means
//! nothing, so a payload is passed on as it comes and no frame is ever gathered. What is held is the
//! beginning of a packet, bounded by its reader, and a control frame of 125 bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of the longest frame that is taken: four times the largest packet of MQTT. It is no matter of
/// memory; who announces more does not speak MQTT.
pub const MAX_FRAME: u64 = 1 << 30;

/// Bytes of a control frame's payload (5.5).
const MAX_CONTROL: usize = 125;

/// Bytes of packets that one frame of ours carries. Also what is copied into frames ahead of the socket.
const FRAME: usize = 64 << 10;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Why a connection is closed (7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    #[error("its work is done")]
    Normal,
    #[error("the node stops")]
    Away,
    #[error("the client broke the WebSocket protocol: {0}")]
    Protocol(&'static str),
    /// MQTT 6.0.0-1.
    #[error("the client sent a frame that is not binary")]
    Unsupported,
    #[error("the client sent a frame of more than {MAX_FRAME} bytes")]
    TooBig,
    #[error("the client closed the connection with status {0}")]
    Peer(u16),
}

impl CloseReason {
    /// The status code that the peer reads; 1005 stands for none.
    fn status(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Away => 1001,
            Self::Protocol(_) => 1002,
            Self::Unsupported => 1003,
            Self::TooBig => 1009,
            Self::Peer(status) => status,
        }
    }
}

/// The status of a close without one (7.4.1).
const NO_STATUS: u16 = 1005;

/// A frame whose payload comes.
#[derive(Debug)]
struct Incoming {
    opcode: u8,
    mask: [u8; 4],
    left: u64,
}

/// One connection, either direction.
///
/// Give what was read to [`receive`](Self::receive) and take the packets' bytes from
/// [`input`](Self::input); give bytes of packets to [`send`](Self::send) while
/// [`has_room`](Self::has_room), and write [`outgoing`](Self::outgoing). After
/// [`close`](Self::close) nothing more is sent, and what comes is dropped.
#[derive(Debug, Default)]
pub struct WebSocket {
    frame: Option<Incoming>,
    /// A message has begun whose last frame has not: what follows is a continuation (5.4).
    is_fragmented: bool,
    /// The payload of a control frame, as far as it is there.
    control: BytesMut,
    input: BytesMut,
    outgoing: BytesMut,
    is_closed: bool,
    /// What to close with once the rest has been framed.
    farewell: Option<CloseReason>,
}

impl WebSocket {
    /// Takes frames out of `bytes`, as far as they are there. Pings are answered, a close too. Stops with
    /// an error when the connection is over; its close is queued then, and the packets before it stand in
    /// [`input`](Self::input).
    ///
    /// # Errors
    /// Why the connection is over; [`CloseReason::Peer`] when the client wants it.
    pub fn receive(&mut self, bytes: &mut BytesMut) -> Result<(), CloseReason> {
        let received = self.take_frames(bytes);
        if let Err(reason) = received {
            bytes.clear();
            self.close(reason);
        }
        received
    }

    fn take_frames(&mut self, bytes: &mut BytesMut) -> Result<(), CloseReason> {
        if self.is_closed {
            bytes.clear();
            return Ok(());
        }
        loop {
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => match take_header(bytes)? {
                    Some((frame, is_final)) => {
                        check_order(&mut self.is_fragmented, frame.opcode, is_final)?;
                        self.frame.insert(frame)
                    }
                    None => return Ok(()),
                },
            };
            let count = bytes.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
            let to = if frame.opcode >= CLOSE { &mut self.control } else { &mut self.input };
            unmask_into(to, &bytes[..count], frame.mask);
            bytes.advance(count);
            frame.left -= count as u64;
            if frame.left > 0 {
                frame.mask.rotate_left(count % 4);
                return Ok(());
            }
            let opcode = frame.opcode;
            self.frame = None;
            self.end_frame(opcode)?;
        }
    }

    fn end_frame(&mut self, opcode: u8) -> Result<(), CloseReason> {
        match opcode {
            CLOSE => return Err(close_of(&self.control)),
            // 5.5.3: "identical Application data as found in the message body of the Ping frame".
            PING => put_frame(&mut self.outgoing, PONG, &self.control),
            _ => {}
        }
        self.control.clear();
        Ok(())
    }

    /// Bytes of packets that have come. What is taken out of it is read; the rest stays for later.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Whether bytes of packets have come that were not taken.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether the socket has taken enough of what was sent for more to be framed.
    pub fn has_room(&self) -> bool {
        self.outgoing.len() < FRAME
    }

    /// Frames bytes of packets, as many as have room; says how many.
    pub fn send<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
        let room = FRAME.saturating_sub(self.outgoing.len());
        let size = parts.clone().map(<[u8]>::len).sum::<usize>().min(room);
        if size == 0 || self.is_closed {
            return 0;
        }
        put_header(&mut self.outgoing, BINARY, size);
        let mut left = size;
        for part in parts {
            let taken = part.get(..left).unwrap_or(part);
            self.outgoing.extend_from_slice(taken);
            left -= taken.len();
        }
        size
    }

    /// Notes what to close with when nothing is left to be framed. The first word counts.
    pub fn close_after_rest(&mut self, reason: CloseReason) {
        self.farewell.get_or_insert(reason);
    }

    /// Nothing is left to be framed.
    pub fn end_rest(&mut self) {
        if let Some(reason) = self.farewell {
            self.close(reason);
        }
    }

    /// Queues a close, unless there has been one.
    pub fn close(&mut self, reason: CloseReason) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        match reason.status() {
            NO_STATUS => put_frame(&mut self.outgoing, CLOSE, &[]),
            status => put_frame(&mut self.outgoing, CLOSE, &status.to_be_bytes()),
        }
    }

    /// Whether a close is queued or sent.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What to write next.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// So many bytes have been written.
    pub fn written(&mut self, count: usize) {
        self.outgoing.advance(count.min(self.outgoing.len()));
        if self.outgoing.is_empty() {
            // Most clients connect, subscribe and wait: each would keep a buffer.
            self.outgoing = BytesMut::new();
        }
    }

    /// The state as bytes, for [`restore`](Self::restore): what goes on elsewhere begins with it.
    pub fn save(&self) -> Bytes {
        let mut out = BytesMut::new();
        let incoming = self.frame.as_ref();
        let flags = [incoming.is_some(), self.is_fragmented, self.is_closed];
        out.put_u8(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        out.put_u8(incoming.map_or(0, |frame| frame.opcode));
        out.put_slice(&incoming.map_or([0; 4], |frame| frame.mask));
        out.put_u64(incoming.map_or(0, |frame| frame.left));
        for buffer in [&self.control, &self.input, &self.outgoing] {
            out.put_u32(u32::try_from(buffer.len()).unwrap_or(u32::MAX));
            out.put_slice(buffer);
        }
        out.freeze()
    }

    /// The connection whose state this is; `None` for what [`save`](Self::save) has not made. A farewell that
    /// was noted and not queued is forgotten.
    pub fn restore(mut state: &[u8]) -> Option<Self> {
        let flags = state.try_get_u8().ok()?;
        let opcode = state.try_get_u8().ok()?;
        let mut mask = [0; 4];
        state.try_copy_to_slice(&mut mask).ok()?;
        let left = state.try_get_u64().ok()?;
        let mut buffer = || {
            let length = usize::try_from(state.try_get_u32().ok()?).ok()?;
            let (buffer, rest) = state.split_at_checked(length)?;
            state = rest;
            Some(BytesMut::from(buffer))
        };
        let (control, input, outgoing) = (buffer()?, buffer()?, buffer()?);
        let is_known = matches!(opcode, CONTINUATION | BINARY | CLOSE | PING | PONG);
        let is_bounded = left <= MAX_FRAME
            && (opcode < CLOSE || left <= MAX_CONTROL as u64)
            && control.len() <= MAX_CONTROL;
        if !state.is_empty() || flags > 7 || !is_known || !is_bounded {
            return None;
        }
        let frame = (flags & 1 != 0).then_some(Incoming { opcode, mask, left });
        let (is_fragmented, is_closed) = (flags & 2 != 0, flags & 4 != 0);
        Some(Self { frame, is_fragmented, control, input, outgoing, is_closed, farewell: None })
    }

    /// Gives back memory that only a busy connection needs.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.control, &mut self.input, &mut self.outgoing] {
            *buffer = BytesMut::from(&buffer[..]);
        }
    }
}

/// 5.2. `None` while the header is not whole.
fn take_header(bytes: &mut BytesMut) -> Result<Option<(Incoming, bool)>, CloseReason> {
    let [first, second, rest @ ..] = &bytes[..] else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(CloseReason::Protocol("a reserved bit is set"));
    }
    let (opcode, is_final) = (first & 0x0f, first & 0x80 != 0);
    match opcode {
        CONTINUATION | BINARY | CLOSE | PING | PONG => {}
        TEXT => return Err(CloseReason::Unsupported),
        _ => return Err(CloseReason::Protocol("an opcode is reserved")),
    }
    // 5.1: "a server MUST close the connection upon receiving a frame that is not masked".
    if second & 0x80 == 0 {
        return Err(CloseReason::Protocol("a frame is not masked"));
    }
    let short = second & 0x7f;
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if opcode >= CLOSE && (!is_final || usize::from(short) > MAX_CONTROL) {
        return Err(CloseReason::Protocol("a control frame is fragmented or longer than 125 bytes"));
    }
    let Some(mut fields) = rest.get(..extended + 4) else { return Ok(None) };
    let left = match extended {
        2 => u64::from(fields.get_u16()),
        8 => fields.get_u64(),
        _ => u64::from(short),
    };
    // "the minimal number of bytes MUST be used to encode the length"
    if (extended == 2 && left < 126) || (extended == 8 && left <= u64::from(u16::MAX)) {
        return Err(CloseReason::Protocol("a length is not in its shortest form"));
    }
    if left > MAX_FRAME {
        return Err(CloseReason::TooBig);
    }
    let mask = fields.get_u32().to_be_bytes();
    bytes.advance(2 + extended + 4);
    Ok(Some((Incoming { opcode, mask, left }, is_final)))
}

/// 5.4: fragments of one message follow each other; control frames may come between them.
fn check_order(is_fragmented: &mut bool, opcode: u8, is_final: bool) -> Result<(), CloseReason> {
    match (opcode, *is_fragmented) {
        (CONTINUATION, true) | (BINARY, false) => {
            *is_fragmented = !is_final;
            Ok(())
        }
        (CONTINUATION, false) => Err(CloseReason::Protocol("a continuation continues nothing")),
        (BINARY, true) => Err(CloseReason::Protocol("a message begins within another")),
        _ => Ok(()),
    }
}

/// 5.5.1: the answer repeats the status.
fn close_of(payload: &[u8]) -> CloseReason {
    match payload {
        [] => CloseReason::Peer(NO_STATUS),
        [high, low, reason @ ..] => {
            let status = u16::from_be_bytes([*high, *low]);
            let is_sendable = matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !is_sendable || std::str::from_utf8(reason).is_err() {
                return CloseReason::Protocol("a close frame has a status or a reason that is not one");
            }
            CloseReason::Peer(status)
        }
        [_] => CloseReason::Protocol("a close frame has half a status"),
    }
}

/// 5.3.
fn unmask_into(to: &mut BytesMut, from: &[u8], mask: [u8; 4]) {
    let start = to.len();
    to.extend_from_slice(from);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = to[start..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

fn put_frame(to: &mut BytesMut, opcode: u8, payload: &[u8]) {
    put_header(to, opcode, payload.len());
    to.extend_from_slice(payload);
}

/// A server's frames are whole and not masked (5.1).
fn put_header(to: &mut BytesMut, opcode: u8, size: usize) {
    to.put_u8(0x80 | opcode);
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(short @ ..=125), _) => to.put_u8(short),
        (_, Ok(medium)) => {
            to.put_u8(126);
            to.put_u16(medium);
        }
        _ => {
            to.put_u8(127);
            to.put_u64(size as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_header(&mut bytes, 0, payload.len());
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&MASK);
        unmask_into(&mut bytes, payload, MASK);
        bytes.to_vec()
    }

    fn receive(socket: &mut WebSocket, bytes: &[u8]) -> Result<(), CloseReason> {
        let mut bytes = BytesMut::from(bytes);
        socket.receive(&mut bytes)
    }

    fn closes_with(bytes: &[u8]) -> CloseReason {
        let mut socket = WebSocket::default();
        let reason = receive(&mut socket, bytes).expect_err("the connection is over");
        assert!(socket.is_closed() && !socket.outgoing().is_empty(), "{reason}");
        reason
    }

    #[test]
    fn a_packet_may_span_frames_and_a_frame_hold_several() {
        let mut socket = WebSocket::default();
        let all =
            [frame(0x82, b"onetw"), frame(0x02, b"oth"), frame(0x00, b""), frame(0x80, b"ree")].concat();
        receive(&mut socket, &all).expect("taken");
        assert_eq!(&socket.input()[..], b"onetwothree");
    }

    #[test]
    fn it_does_not_matter_where_the_bytes_are_cut() {
        let long: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let all =
            [frame(0x82, b"short"), frame(0x89, b"ping"), frame(0x02, &long[..300]), frame(0x80, &long)]
                .concat();
        let expected = [b"short", &long[..300], &long].concat();
        for step in [1, 2, 3, 5, 7, 1_000, all.len()] {
            let mut socket = WebSocket::default();
            let mut waiting = BytesMut::new();
            for piece in all.chunks(step) {
                waiting.extend_from_slice(piece);
                socket.receive(&mut waiting).expect("taken");
            }
            assert!(waiting.is_empty());
            assert!(socket.input()[..] == expected[..], "in pieces of {step}");
            assert_eq!(socket.outgoing(), b"\x8a\x04ping");
        }
    }

    #[test]
    fn it_goes_on_elsewhere_wherever_the_bytes_are_cut() {
        let all = [frame(0x02, b"one"), frame(0x89, b"ping"), frame(0x80, b"two"), frame(0x88, b"")].concat();
        for end in 0..=all.len() {
            let mut socket = WebSocket::default();
            let mut waiting = BytesMut::from(&all[..end]);
            let _ = socket.receive(&mut waiting);
            let mut socket = WebSocket::restore(&socket.save()).expect("a state of ours");
            waiting.extend_from_slice(&all[end..]);
            let _ = socket.receive(&mut waiting);
            assert_eq!(&socket.input()[..], b"onetwo", "cut at {end}");
            assert_eq!(socket.outgoing(), b"\x8a\x04ping\x88\0", "cut at {end}");
            assert!(socket.is_closed());
        }
    }

    #[test]
    fn a_state_that_cannot_be_is_none_and_no_panic() {
        let mut socket = WebSocket::default();
        receive(&mut socket, &frame(0x82, b"one")[..7]).expect("taken");
        let state = socket.save();
        assert!(WebSocket::restore(&state).is_some());
        for end in 0..state.len() {
            assert!(WebSocket::restore(&state[..end]).is_none(), "{end} bytes");
        }
        for bit in 0..state.len() * 8 {
            let mut flipped = state.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(mut socket) = WebSocket::restore(&flipped) {
                let _ = receive(&mut socket, &frame(0x82, b"more"));
            }
        }
    }

    #[test]
    fn the_example_of_the_specification_is_unmasked() {
        // 5.7: "A single-frame masked text message (contains "Hello")", here as binary.
        let mut socket = WebSocket::default();
        let bytes = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        receive(&mut socket, &bytes).expect("taken");
        assert_eq!(&socket.input()[..], b"Hello");
    }

    #[test]
    fn a_ping_between_fragments_is_answered_and_a_pong_ignored() {
        let mut socket = WebSocket::default();
        let all = [frame(0x02, b"a"), frame(0x89, b"there?"), frame(0x8a, b""), frame(0x80, b"b")].concat();
        receive(&mut socket, &all).expect("taken");
        assert_eq!((&socket.input[..], socket.outgoing()), (&b"ab"[..], &b"\x8a\x06there?"[..]));
    }

    #[test]
    fn frames_are_made_with_the_shortest_length() {
        for (size, header) in [
            (1, &b"\x82\x01"[..]),
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let mut socket = WebSocket::default();
            let packet = vec![7; size];
            assert_eq!(socket.send([&packet[..1], &packet[1..]].into_iter()), size);
            assert_eq!(socket.outgoing(), [header, &packet].concat());
        }
    }

    #[test]
    fn what_the_socket_has_not_taken_bounds_what_is_framed() {
        let mut socket = WebSocket::default();
        let packet = vec![7; 3 * FRAME];
        assert_eq!(socket.send([&packet[..]].into_iter()), FRAME);
        assert!(!socket.has_room());
        assert_eq!(socket.send([&packet[..]].into_iter()), 0);
        let header = 10;
        socket.written(header + FRAME);
        assert_eq!(socket.send([&packet[..]].into_iter()), FRAME);
    }

    #[test]
    fn a_close_is_answered_with_its_status() {
        let mut socket = WebSocket::default();
        let all = [frame(0x82, b"last"), frame(0x88, b"\x03\xe8bye"), frame(0x82, b"lost")].concat();
        assert_eq!(receive(&mut socket, &all), Err(CloseReason::Peer(1000)));
        assert_eq!((&socket.input[..], socket.outgoing()), (&b"last"[..], &b"\x88\x02\x03\xe8"[..]));
        assert_eq!(closes_with(&frame(0x88, b"")), CloseReason::Peer(1005));
    }

    #[test]
    fn after_a_close_nothing_is_taken_or_sent() {
        let mut socket = WebSocket::default();
        socket.close(CloseReason::Normal);
        socket.close(CloseReason::Away);
        assert_eq!(socket.send([&b"packet"[..]].into_iter()), 0);
        receive(&mut socket, &frame(0x82, b"late")).expect("dropped");
        assert_eq!((&socket.input[..], socket.outgoing()), (&b""[..], &b"\x88\x02\x03\xe8"[..]));
    }

    #[test]
    fn frames_that_break_the_rules_end_the_connection() {
        assert_eq!(closes_with(&frame(0x81, b"text")), CloseReason::Unsupported);
        let unmasked = b"\x82\x01x";
        for wrong in [
            &unmasked[..],
            &frame(0xc2, b"x"),
            &frame(0xa2, b"x"),
            &frame(0x92, b"x"),
            &frame(0x83, b"x"),
            &frame(0x8b, b"x"),
            &frame(0x80, b"x"),
            &[frame(0x02, b"x"), frame(0x82, b"x")].concat(),
            &frame(0x09, b"x"),
            &frame(0x88, b"x"),
            &frame(0x88, b"\x03\xed"),
            &frame(0x88, b"\0\0"),
            &frame(0x88, b"\x03\xe8\xff"),
            b"\x82\xfe\x00\x7d\0\0\0\0",
            b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
        ] {
            assert!(matches!(closes_with(wrong), CloseReason::Protocol(_)), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_control_frame_has_125_bytes_at_most() {
        let mut socket = WebSocket::default();
        receive(&mut socket, &frame(0x89, &[7; MAX_CONTROL])).expect("taken");
        assert_eq!(socket.outgoing().len(), 2 + MAX_CONTROL);
        assert!(matches!(closes_with(&frame(0x89, &[7; MAX_CONTROL + 1])), CloseReason::Protocol(_)));
    }

    #[test]
    fn a_frame_may_announce_so_much_and_no_more() {
        let header = |size: u64| [b"\x82\xff", &size.to_be_bytes()[..], &MASK].concat();
        let mut socket = WebSocket::default();
        assert_eq!(receive(&mut socket, &header(MAX_FRAME)), Ok(()));
        assert_eq!(closes_with(&header(MAX_FRAME + 1)), CloseReason::TooBig);
        assert_eq!(closes_with(&header(u64::MAX)), CloseReason::TooBig);
    }

    #[test]
    fn an_idle_connection_holds_no_buffer() {
        let mut socket = WebSocket::default();
        receive(&mut socket, &frame(0x82, &[7; 9_000])).expect("taken");
        socket.input().clear();
        assert_eq!(socket.send([&[7; 9_000][..]].into_iter()), 9_000);
        socket.written(usize::MAX);
        socket.shrink();
        assert_eq!(socket.input.capacity() + socket.outgoing.capacity() + socket.control.capacity(), 0);
    }
}
