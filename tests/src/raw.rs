//! A client that does exactly what a test writes, also what no library would do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mq_amqp::codec::{decode_performative, decode_sasl, encode_performative, encode_sasl};
use mq_amqp::frame::{FrameKind, begin_frame, finish_frame, next_frame};
use mq_amqp::message::Message;
use mq_amqp::performative::{
    Attach, Begin, DeliveryState, Disposition, Error, Flow, NodeTarget, Open, Performative,
    ReceiverSettleMode, Role, SaslCode, SaslFrame, SenderSettleMode, Source, Tag, Target, Transfer,
};

use crate::wait::{PATIENCE, eventually};

/// The protocol header of AMQP 1.0 without SASL.
pub const HEADER: &[u8; 8] = b"AMQP\x00\x01\x00\x00";

/// The protocol header of SASL.
pub const SASL_HEADER: &[u8; 8] = b"AMQP\x03\x01\x00\x00";

/// Bytes of a frame that the client takes.
const MAX_FRAME_SIZE: u32 = 1 << 20;

/// A frame of the peer.
pub type Received = (u16, Performative, Bytes);

/// A socket, and frames on it when a test wants them.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    input: BytesMut,
    patience: Duration,
}

impl Raw {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nothing listens.
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).expect("the daemon accepts connections");
        stream.set_nodelay(true).expect("a socket takes options");
        let mut raw = Self { stream, input: BytesMut::new(), patience: PATIENCE };
        raw.set_patience(PATIENCE);
        raw
    }

    /// Connects and opens the connection, without SASL.
    ///
    /// # Panics
    /// When the peer does not open its end.
    #[track_caller]
    pub fn open(server: SocketAddr, container: &str) -> Self {
        let mut raw = Self::connect(server);
        raw.send_bytes(HEADER);
        raw.send(
            0,
            &Performative::Open(Box::new(Open { container_id: container.into(), ..Open::default() })),
        );
        raw.expect_header(HEADER);
        match raw.read() {
            Some((0, Performative::Open(_), _)) => raw,
            other => panic!("no open, but {other:?}"),
        }
    }

    /// Connects and says who it is by a SASL mechanism: its first message, and what `respond` makes of each
    /// challenge. Returns what comes of it.
    ///
    /// # Panics
    /// When the peer speaks no SASL, or ends the stream.
    #[track_caller]
    pub fn log_in(
        server: SocketAddr,
        mechanism: &str,
        initial: &[u8],
        mut respond: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> (Self, SaslCode) {
        let mut raw = Self::connect(server);
        raw.send_bytes(SASL_HEADER);
        raw.send_sasl(&SaslFrame::Init {
            mechanism: mechanism.into(),
            initial_response: Some(Bytes::copy_from_slice(initial)),
            hostname: None,
        });
        raw.expect_header(SASL_HEADER);
        loop {
            match raw.read_sasl() {
                SaslFrame::Mechanisms(_) => {}
                SaslFrame::Challenge(challenge) => {
                    raw.send_sasl(&SaslFrame::Response(respond(&challenge).into()));
                }
                SaslFrame::Outcome { code, .. } => return (raw, code),
                other => panic!("{other:?}, not what a server says"),
            }
        }
    }

    fn send_sasl(&mut self, sasl: &SaslFrame) {
        let mut body = BytesMut::new();
        encode_sasl(&mut body, sasl);
        let mut out = BytesMut::new();
        let start = begin_frame(&mut out, FrameKind::Sasl, 0);
        out.extend_from_slice(&body);
        finish_frame(&mut out, start);
        self.send_bytes(&out);
    }

    #[track_caller]
    fn read_sasl(&mut self) -> SaslFrame {
        loop {
            let next = next_frame(&mut self.input, MAX_FRAME_SIZE).expect("the daemon writes frames");
            if let Some(frame) = next {
                let mut body = frame.body;
                return decode_sasl(&mut body).expect("the daemon writes frames of SASL");
            }
            let is_open = self.fill().unwrap_or_else(|error| panic!("no frame of SASL: {error}"));
            assert!(is_open, "the end of the stream, not a frame of SASL");
        }
    }

    /// How long reading and writing may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
        self.stream.set_read_timeout(Some(patience)).expect("a socket takes options");
        self.stream.set_write_timeout(Some(patience)).expect("a socket takes options");
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the peer has closed the socket, or takes nothing for the time of patience.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Writes bytes as they are.
    ///
    /// # Panics
    /// When the peer does not take them.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).expect("the daemon reads");
    }

    /// Writes a frame.
    ///
    /// # Panics
    /// When the peer does not take it.
    #[track_caller]
    pub fn send(&mut self, channel: u16, performative: &Performative) {
        self.send_bytes(&frame(channel, performative, &[]));
    }

    /// Begins a session on a channel and waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn begin(&mut self, channel: u16) {
        self.send(channel, &begin());
        self.expect("a begin", |_, performative| {
            matches!(performative, Performative::Begin(_)).then_some(())
        });
    }

    /// Attaches a sender and waits for its first credit.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn attach_sender(&mut self, channel: u16, handle: u32, address: &str) -> u32 {
        self.send(channel, &sender(handle, address));
        self.credit(handle)
    }

    /// Waits for credit of a link.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn credit(&mut self, handle: u32) -> u32 {
        self.expect("credit", |_, performative| match performative {
            Performative::Flow(flow) if flow.handle == Some(handle) => {
                flow.link_credit.filter(|credit| *credit > 0)
            }
            _ => None,
        })
    }

    /// Attaches a receiver with credit and waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn attach_receiver(&mut self, channel: u16, handle: u32, address: &str, credit: u32) {
        self.send(channel, &receiver(handle, address));
        self.expect("an attach", |_, performative| {
            matches!(performative, Performative::Attach(_)).then_some(())
        });
        self.send(channel, &grant(handle, 0, credit));
    }

    /// Reads the next frame that is no heartbeat; `None` at the end of the stream.
    ///
    /// # Panics
    /// When none comes, or one that is malformed.
    #[track_caller]
    pub fn read(&mut self) -> Option<Received> {
        self.try_read().unwrap_or_else(|error| panic!("no frame within {:?}: {error}", self.patience))
    }

    /// Reads the next frame that is no heartbeat; `None` at the end of the stream.
    ///
    /// # Errors
    /// When none comes in the time of patience.
    ///
    /// # Panics
    /// When a frame is malformed.
    pub fn try_read(&mut self) -> io::Result<Option<Received>> {
        loop {
            let next = next_frame(&mut self.input, MAX_FRAME_SIZE).expect("the daemon writes frames");
            if let Some(frame) = next {
                let mut body = frame.body;
                if body.is_empty() {
                    continue;
                }
                let performative = decode_performative(&mut body).expect("the daemon writes performatives");
                return Ok(Some((frame.channel, performative, body)));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Waits for what `find` recognises; other frames are passed over.
    ///
    /// # Panics
    /// When the connection ends first.
    #[track_caller]
    pub fn expect<T>(&mut self, what: &str, mut find: impl FnMut(u16, &Performative) -> Option<T>) -> T {
        loop {
            let Some((channel, performative, _)) = self.read() else {
                panic!("the end of the stream, not {what}")
            };
            if let Some(found) = find(channel, &performative) {
                return found;
            }
            assert!(!matches!(performative, Performative::Close(_)), "{performative:?}, not {what}");
        }
    }

    /// Waits for the next message of any link: its delivery id and its bytes.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn message(&mut self) -> (u32, Bytes) {
        let (mut id, mut content) = (0, BytesMut::new());
        loop {
            match self.read() {
                Some((_, Performative::Transfer(transfer), payload)) => {
                    id = transfer.delivery_id.unwrap_or(id);
                    content.extend_from_slice(&payload);
                    if !transfer.more {
                        return (id, content.freeze());
                    }
                }
                Some((_, Performative::Close(close), _)) => panic!("{close:?}, not a message"),
                Some(_) => {}
                None => panic!("the end of the stream, not a message"),
            }
        }
    }

    /// Waits for the settlement of the deliveries that were sent.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn settlement(&mut self) -> DeliveryState {
        self.expect("a settlement", |_, performative| match performative {
            Performative::Disposition(disposition) if disposition.settled => disposition.state.clone(),
            _ => None,
        })
    }

    /// Reads what the peer still says and returns the error of its close. It answers the close.
    ///
    /// # Panics
    /// When the peer neither closes nor ends the stream.
    #[track_caller]
    pub fn expect_close(&mut self) -> Option<Error> {
        loop {
            match self.read() {
                Some((_, Performative::Close(close), _)) => {
                    // The peer may have shut its socket already.
                    let _ = self.try_send_bytes(&frame(0, &Performative::Close(Default::default()), &[]));
                    return close.error.map(|error| *error);
                }
                Some(_) => {}
                None => panic!("the stream ends without a close"),
            }
        }
    }

    /// Reads until the peer ends the stream, whatever it says.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn expect_end(&mut self) {
        self.input.clear();
        loop {
            match self.fill() {
                Ok(true) => self.input.clear(),
                Ok(false) => return,
                // The peer had unread bytes of ours when it closed.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the daemon does not end the connection: {error}"),
            }
        }
    }

    /// Reads a protocol header.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect_header(&mut self, header: &[u8; 8]) {
        let answer = self.protocol_header();
        assert_eq!(answer, *header, "{}", answer.escape_ascii());
    }

    /// Reads eight bytes: a protocol header.
    ///
    /// # Panics
    /// When the stream ends first.
    #[track_caller]
    pub fn protocol_header(&mut self) -> [u8; 8] {
        loop {
            if let Some(header) = self.input.first_chunk().copied() {
                self.input.advance(HEADER.len());
                return header;
            }
            let is_open = self.fill().unwrap_or_else(|error| panic!("no protocol header: {error}"));
            assert!(is_open, "the end of the stream, not a protocol header");
        }
    }

    /// Says that nothing more will be written.
    pub fn shut(&self) {
        // The peer may have gone first.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

/// A frame as bytes.
pub fn frame(channel: u16, performative: &Performative, payload: &[u8]) -> BytesMut {
    let mut body = BytesMut::new();
    encode_performative(&mut body, performative);
    body.extend_from_slice(payload);
    frame_of(channel, &body)
}

/// A frame with any body.
pub fn frame_of(channel: u16, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let start = begin_frame(&mut out, FrameKind::Amqp, channel);
    out.extend_from_slice(body);
    finish_frame(&mut out, start);
    out
}

/// A session that can take much.
pub fn begin() -> Performative {
    Performative::Begin(Box::new(Begin {
        incoming_window: 2_048,
        outgoing_window: u32::MAX,
        ..Begin::default()
    }))
}

/// The attach of a sender.
pub fn sender(handle: u32, address: &str) -> Performative {
    let target = NodeTarget { address: Some(address.into()), ..NodeTarget::default() };
    Performative::Attach(Box::new(Attach {
        source: Some(Box::default()),
        target: Some(Box::new(Target::Node(target))),
        initial_delivery_count: Some(0),
        ..attach(handle, Role::Sender)
    }))
}

/// The attach of a receiver.
pub fn receiver(handle: u32, address: &str) -> Performative {
    let source = Source { address: Some(address.into()), ..Source::default() };
    Performative::Attach(Box::new(Attach {
        source: Some(Box::new(source)),
        target: Some(Box::new(Target::Node(NodeTarget::default()))),
        ..attach(handle, Role::Receiver)
    }))
}

fn attach(handle: u32, role: Role) -> Attach {
    Attach {
        name: format!("{role:?} {handle}").as_str().into(),
        handle,
        role,
        snd_settle_mode: SenderSettleMode::Mixed,
        rcv_settle_mode: ReceiverSettleMode::First,
        source: None,
        target: None,
        unsettled: Vec::new(),
        incomplete_unsettled: false,
        initial_delivery_count: None,
        max_message_size: None,
        offered_capabilities: Vec::new(),
        desired_capabilities: Vec::new(),
        properties: Vec::new(),
    }
}

/// A flow that gives a link credit beyond the deliveries counted so far.
pub fn grant(handle: u32, delivery_count: u32, credit: u32) -> Performative {
    Performative::Flow(Flow {
        next_incoming_id: Some(delivery_count),
        incoming_window: 1 << 30,
        outgoing_window: u32::MAX,
        handle: Some(handle),
        delivery_count: Some(delivery_count),
        link_credit: Some(credit),
        ..Flow::default()
    })
}

/// The transfer of one whole message.
pub fn transfer(handle: u32, delivery: u32, settled: bool) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(delivery),
        delivery_tag: Some(Tag::from(u64::from(delivery))),
        message_format: Some(0),
        settled: Some(settled),
        more: false,
        rcv_settle_mode: None,
        state: None,
        resume: false,
        aborted: false,
        batchable: false,
    }
}

/// A receiver's settlement of one delivery.
pub fn accepted(delivery: u32) -> Performative {
    Performative::Disposition(Disposition {
        role: Role::Receiver,
        first: delivery,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    })
}

/// A message with these bytes as its body.
pub fn message(body: &[u8]) -> Bytes {
    Message::data(Bytes::copy_from_slice(body)).to_bytes()
}

/// A client that sends itself messages through the daemon all the time, while others misbehave.
#[derive(Debug)]
pub struct Witness {
    exchanged: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts to exchange messages over an address.
    pub fn start(server: SocketAddr, address: &str) -> Self {
        let exchanged = Arc::new(AtomicU64::new(0));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (address, count, stop) = (address.to_owned(), exchanged.clone(), is_stopped.clone());
        let thread = thread::spawn(move || {
            let mut raw = Raw::open(server, "witness");
            raw.begin(0);
            raw.attach_receiver(0, 0, &address, 100);
            raw.attach_sender(0, 1, &address);
            let mut delivery: u32 = 0;
            while !stop.load(Ordering::Relaxed) {
                exchange(&mut raw, delivery);
                delivery += 1;
                raw.send(0, &grant(0, delivery, 100));
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { exchanged, is_stopped, thread: Some(thread) }
    }

    /// Messages exchanged so far.
    pub fn exchanged(&self) -> u64 {
        self.exchanged.load(Ordering::Relaxed)
    }

    /// Waits until more messages have been exchanged.
    ///
    /// # Panics
    /// When that does not happen.
    #[track_caller]
    pub fn is_undisturbed(&self) {
        let before = self.exchanged.load(Ordering::Relaxed);
        eventually("more messages of the witness", || {
            let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!ended, "the witness was disturbed");
            (self.exchanged.load(Ordering::Relaxed) >= before + 20).then_some(())
        });
    }
}

/// Sends one message and settles it at the other end.
#[track_caller]
fn exchange(raw: &mut Raw, delivery: u32) {
    let content = message(format!("message {delivery}").as_bytes());
    let sent = frame(0, &Performative::Transfer(transfer(1, delivery, false)), &content);
    raw.send_bytes(&sent);
    let (id, received) = raw.message();
    assert_eq!(received, content);
    raw.send(0, &accepted(id));
    assert_eq!(raw.settlement(), DeliveryState::Accepted);
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the witness was disturbed");
        }
    }
}
