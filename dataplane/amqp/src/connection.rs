//! One AMQP 1.0 connection, either side, without IO (AMQP 2.2, 2.4, 5.3).

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::codec::{DecodeError, decode_performative, decode_sasl, encode_sasl};
use crate::error::{Misuse, PeerError, condition};
use crate::event::{DeliveryKey, Event, Events, LinkKey, SessionKey};
use crate::frame::{Frame, FrameKind, HEARTBEAT, ProtocolHeader, begin_frame, finish_frame, next_frame};
use crate::limits::Limits;
use crate::link::LinkInfo;
use crate::outbox::Outbox;
use crate::performative::{
    Begin, Close, DeliveryState, End, Error, Open, Performative, Role, SaslCode, SaslFrame,
};
use crate::session::{Outgoing, Session, SessionInfo, SessionState, Terms, Wire};
use crate::transaction::{TransactionId, TransactionalState};
use crate::value::{Symbol, Text, Value};

/// What all connections of a listener, or of a client, have in common.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who we are (AMQP 2.4.1).
    pub container_id: Text,
    /// Client: the host we want, for SASL and open.
    pub hostname: Option<Text>,
    /// Server: the SASL mechanisms offered, best first; empty means that SASL is not spoken.
    pub mechanisms: Vec<Symbol>,
    /// Server: whether a client may leave SASL out. Client: false means that we speak SASL.
    pub allow_plain_header: bool,
    /// Without a frame for so long we close the connection; half of it is told to the peer
    /// (AMQP 2.4.5). `None` means never.
    pub idle_timeout: Option<Duration>,
    pub offered_capabilities: Vec<Symbol>,
    pub desired_capabilities: Vec<Symbol>,
    pub properties: Vec<(Value, Value)>,
    pub limits: Limits,
}

/// Which end we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What the next input has to be.
///
/// ```text
/// Server:  Header ─► (SASL) SaslStart ─► SaslAnswer ⇄ SaslFrames ─► Header ─► Open ─► OpenAnswer ─► Frames
/// Client:  Header ─► (SASL) SaslStart ─► SaslAnswer ⇄ SaslFrames ─► Header ─► Open ─► Frames
/// ```
/// Any state goes to `Done` on the peer's close, on ours being answered, and on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A protocol header (AMQP 2.2).
    Header,
    /// The first SASL frame of the peer: a client's init, a server's mechanisms.
    SaslStart,
    /// A further SASL frame of the peer.
    SaslFrames,
    /// The caller's word; input waits.
    SaslAnswer,
    /// The peer's open.
    Open,
    /// The caller's `open` or `close`; input waits.
    OpenAnswer,
    /// Any frame of an open connection.
    Frames,
    /// Nothing: whatever comes is discarded.
    Done,
}

/// One AMQP 1.0 connection, either side (AMQP 2.4).
///
/// Feed it with [`handle_input`](Self::handle_input) and [`handle_timeout`](Self::handle_timeout).
/// Each may queue events; the caller takes them all, answers with commands (`accept`, `grant`,
/// `send`, `settle`, ...), and calls `handle_input` again while bytes are left and events came: the
/// engine takes no input past a frame that caused an event, and none while it waits for the answer
/// to a SASL frame or an open. At the end of a turn call [`flush`](Self::flush), then write what
/// [`slices`](Self::slices) holds, tell [`written`](Self::written), and arm a timer for
/// [`poll_timeout`](Self::poll_timeout). `now` never goes back. It holds no socket and no clock.
///
/// On an error the engine has queued what tells the peer; write it out and close the socket.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    side: Side,
    expect: Expect,
    has_authenticated: bool,
    open_sent: bool,
    close_sent: bool,
    outbox: Outbox,
    remote_max_frame_size: usize,
    remote_channel_max: u16,
    sessions: Vec<Option<Box<Session>>>,
    /// Our channel by the peer's channel.
    remote_channels: Vec<Option<u16>>,
    /// Sessions that `flush` has to visit.
    dirty: Vec<u16>,
    next_generation: u16,
    created: Instant,
    last_received: Instant,
    last_sent: Instant,
    remote_idle_timeout: Option<Duration>,
    close_sent_at: Option<Instant>,
}

impl Connection {
    /// A connection whose socket has just been connected or accepted.
    pub fn new(config: Arc<Config>, side: Side, now: Instant) -> Self {
        let mut connection = Self {
            config,
            side,
            expect: Expect::Header,
            has_authenticated: false,
            open_sent: false,
            close_sent: false,
            outbox: Outbox::default(),
            remote_max_frame_size: crate::frame::MIN_MAX_FRAME_SIZE as usize,
            remote_channel_max: u16::MAX,
            sessions: Vec::new(),
            remote_channels: Vec::new(),
            dirty: Vec::new(),
            next_generation: 0,
            created: now,
            last_received: now,
            last_sent: now,
            remote_idle_timeout: None,
            close_sent_at: None,
        };
        if side == Side::Client {
            connection.has_authenticated = connection.config.allow_plain_header;
            let header =
                if connection.has_authenticated { ProtocolHeader::Amqp } else { ProtocolHeader::Sasl };
            connection.write_header(header);
        }
        connection
    }

    // ---- input ------------------------------------------------------------------------------

    /// Takes whole frames out of `input` until one of them causes an event; a partial one stays in
    /// it. Call it again as long as events came: what they name (a link, a delivery) has to be
    /// named before the next frame speaks of it.
    ///
    /// # Errors
    /// When the peer broke a rule that ends the connection. What tells it so is queued.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        events: &mut Events,
    ) -> Result<(), PeerError> {
        let result = self.take_input(now, input, events);
        if let Err(error) = &result {
            self.fail(now, error);
        }
        result
    }

    fn take_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        events: &mut Events,
    ) -> Result<(), PeerError> {
        let queued = events.len();
        while events.len() == queued {
            match self.expect {
                Expect::Done => {
                    input.clear();
                    return Ok(());
                }
                Expect::SaslAnswer | Expect::OpenAnswer => return Ok(()),
                Expect::Header => {
                    if !self.take_header(input)? {
                        return Ok(());
                    }
                }
                Expect::SaslStart | Expect::SaslFrames | Expect::Open | Expect::Frames => {
                    let Some(frame) = next_frame(input, self.max_frame_size())
                        .map_err(|error| PeerError::framing(error.to_string()))?
                    else {
                        return Ok(());
                    };
                    self.last_received = now;
                    self.handle_frame(now, frame, events)?;
                }
            }
        }
        Ok(())
    }

    fn max_frame_size(&self) -> u32 {
        let limits = &self.config.limits;
        if self.expect == Expect::Frames {
            limits.max_frame_size
        } else {
            limits.max_handshake_frame_size.min(limits.max_frame_size)
        }
    }

    /// AMQP 2.2: the version negotiation. False while the header is not whole.
    fn take_header(&mut self, input: &mut BytesMut) -> Result<bool, PeerError> {
        let header = match ProtocolHeader::parse(input) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            Err(mismatch) => return Err(self.refuse_header(mismatch.to_string())),
        };
        let _ = input.split_to(ProtocolHeader::SIZE);
        match (header, self.side) {
            (ProtocolHeader::Sasl, Side::Server) if !self.has_authenticated => {
                if self.config.mechanisms.is_empty() {
                    return Err(self.refuse_header("SASL is not spoken here".into()));
                }
                self.write_header(ProtocolHeader::Sasl);
                self.write_sasl(&SaslFrame::Mechanisms(self.config.mechanisms.clone()));
                self.expect = Expect::SaslStart;
            }
            (ProtocolHeader::Sasl, Side::Client) if !self.has_authenticated => {
                self.expect = Expect::SaslStart
            }
            (ProtocolHeader::Amqp, Side::Server)
                if self.has_authenticated || self.config.allow_plain_header =>
            {
                self.write_header(ProtocolHeader::Amqp);
                self.expect = Expect::Open;
            }
            (ProtocolHeader::Amqp, Side::Client) if self.has_authenticated => self.expect = Expect::Open,
            (ProtocolHeader::Amqp, Side::Server) => return Err(self.refuse_header("SASL comes first".into())),
            (header, _) => return Err(self.refuse_header(format!("an unexpected {header:?} header"))),
        }
        Ok(true)
    }

    /// AMQP 2.2: a server answers a header that it does not take with one that it would.
    fn refuse_header(&mut self, reason: String) -> PeerError {
        if self.side == Side::Server {
            let wants_sasl = !self.has_authenticated && !self.config.allow_plain_header;
            self.write_header(if wants_sasl { ProtocolHeader::Sasl } else { ProtocolHeader::Amqp });
        }
        PeerError::Header(reason)
    }

    fn handle_frame(&mut self, now: Instant, frame: Frame, events: &mut Events) -> Result<(), PeerError> {
        let Frame { kind, channel, mut body } = frame;
        match (kind, self.expect) {
            (FrameKind::Sasl, Expect::SaslStart | Expect::SaslFrames) => {
                let frame = decode_sasl(&mut body).map_err(|error| PeerError::framing(error.to_string()))?;
                self.handle_sasl(frame, events)
            }
            // A frame without a body keeps the connection alive (AMQP 2.4.5).
            (FrameKind::Amqp, Expect::Frames) if body.is_empty() => Ok(()),
            (FrameKind::Amqp, Expect::Open | Expect::Frames) => {
                let performative = decode_performative(&mut body)
                    .map_err(|error| PeerError::connection(decode_condition(&error), error.to_string()))?;
                self.handle_performative(now, channel, performative, body, events)
            }
            (kind, expect) => Err(PeerError::framing(format!("a {kind:?} frame where {expect:?} is due"))),
        }
    }

    /// AMQP 5.3.2.
    fn handle_sasl(&mut self, frame: SaslFrame, events: &mut Events) -> Result<(), PeerError> {
        let is_first = self.expect == Expect::SaslStart;
        let (event, next) = match (frame, self.side) {
            (SaslFrame::Init { mechanism, initial_response, hostname }, Side::Server) if is_first => {
                if !self.config.mechanisms.contains(&mechanism) {
                    let text = format!("the SASL mechanism {mechanism} is not offered");
                    self.write_sasl(&SaslFrame::Outcome { code: SaslCode::Auth, additional_data: None });
                    return Err(PeerError::connection(condition::UNAUTHORIZED_ACCESS, text));
                }
                let event = Event::SaslInit { mechanism, response: initial_response, hostname };
                (event, Expect::SaslAnswer)
            }
            (SaslFrame::Response(response), Side::Server) if !is_first => {
                (Event::SaslResponse(response), Expect::SaslAnswer)
            }
            (SaslFrame::Mechanisms(mechanisms), Side::Client) if is_first => {
                (Event::SaslMechanisms(mechanisms), Expect::SaslAnswer)
            }
            (SaslFrame::Challenge(challenge), Side::Client) if !is_first => {
                (Event::SaslChallenge(challenge), Expect::SaslAnswer)
            }
            (SaslFrame::Outcome { code, additional_data }, Side::Client) if !is_first => {
                let event = Event::SaslOutcome { code, additional_data };
                if code == SaslCode::Ok {
                    self.has_authenticated = true;
                    self.write_header(ProtocolHeader::Amqp);
                    (event, Expect::Header)
                } else {
                    (event, Expect::Done)
                }
            }
            (frame, side) => {
                let name = sasl_name(&frame);
                return Err(PeerError::framing(format!(
                    "a SASL {name} frame is not what the {side:?} waits for"
                )));
            }
        };
        self.expect = next;
        events.push_back(event);
        Ok(())
    }

    fn handle_performative(
        &mut self,
        now: Instant,
        channel: u16,
        performative: Performative,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), PeerError> {
        match performative {
            Performative::Close(close) => {
                self.handle_close(now, close, events);
                Ok(())
            }
            // After our close only the peer's close means anything (AMQP 2.4.6).
            _ if self.close_sent && self.expect == Expect::Frames => Ok(()),
            Performative::Open(open) => self.handle_open(open, events),
            _ if self.expect == Expect::Open => {
                Err(PeerError::connection(condition::NOT_ALLOWED, "the first frame has to be an open"))
            }
            Performative::Begin(begin) => self.handle_begin(channel, &begin, events),
            performative => self.handle_on_session(channel, performative, payload, events),
        }
    }

    fn handle_open(&mut self, open: Box<Open>, events: &mut Events) -> Result<(), PeerError> {
        if self.expect != Expect::Open {
            return Err(PeerError::connection(condition::NOT_ALLOWED, "a second open"));
        }
        let max_frame_size = open.max_frame_size.unwrap_or(u32::MAX);
        if max_frame_size < crate::frame::MIN_MAX_FRAME_SIZE {
            let text = format!("max-frame-size {max_frame_size} is below 512");
            return Err(PeerError::connection(condition::INVALID_FIELD, text));
        }
        // AMQP 2.4.5: an idle timeout that we cannot serve closes the connection.
        let idle = open
            .idle_time_out
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(millis.into()));
        if idle.is_some_and(|idle| idle < self.config.limits.min_remote_idle_timeout) {
            let least = self.config.limits.min_remote_idle_timeout.as_millis();
            let text = format!("an idle-time-out below {least} ms cannot be served");
            return Err(PeerError::connection(condition::NOT_ALLOWED, text));
        }
        self.remote_idle_timeout = idle;
        self.remote_max_frame_size = max_frame_size as usize;
        self.remote_channel_max = open.channel_max.unwrap_or(u16::MAX);
        self.expect = if self.open_sent { Expect::Frames } else { Expect::OpenAnswer };
        if !self.close_sent {
            events.push_back(Event::Opened(open));
        }
        Ok(())
    }

    fn handle_close(&mut self, now: Instant, close: Close, events: &mut Events) {
        if !self.close_sent {
            if !self.open_sent {
                self.write_open();
            }
            self.write_close(now, None);
        }
        self.finish();
        events.push_back(Event::Closed { error: close.error });
    }

    fn handle_begin(&mut self, channel: u16, begin: &Begin, events: &mut Events) -> Result<(), PeerError> {
        let limits = &self.config.limits;
        if channel > limits.channel_max {
            // AMQP 2.7.1: "A peer that receives a channel number outside the supported range MUST
            // close the connection with the framing-error error-code."
            let text = format!("channel {channel} is above channel-max {}", limits.channel_max);
            return Err(PeerError::framing(text));
        }
        if self.remote_channels.get(usize::from(channel)).copied().flatten().is_some() {
            let text = format!("channel {channel} has a session already");
            return Err(PeerError::connection(condition::NOT_ALLOWED, text));
        }
        let local = match begin.remote_channel {
            Some(ours) => {
                let session = self.sessions.get(usize::from(ours)).and_then(Option::as_ref);
                if session.is_none_or(|session| session.remote_channel.is_some()) {
                    let text = format!("a begin answers channel {ours}, which did not ask");
                    return Err(PeerError::connection(condition::NOT_ALLOWED, text));
                }
                ours
            }
            None => self.new_session(SessionState::Mapped).ok_or_else(|| {
                PeerError::connection(
                    condition::RESOURCE_LIMIT_EXCEEDED,
                    "no channel is left for the session",
                )
            })?,
        };
        let index = usize::from(channel);
        if self.remote_channels.len() <= index {
            self.remote_channels.resize(index + 1, None);
        }
        if let Some(slot) = self.remote_channels.get_mut(index) {
            *slot = Some(local);
        }
        let Some((session, mut wire, limits)) = self.session_and_wire(local) else { return Ok(()) };
        session.handle_begin(channel, begin);
        if begin.remote_channel.is_none() {
            session.write_begin(&mut wire, limits);
        }
        if session.state == SessionState::Mapped {
            events.push_back(Event::SessionBegun { session: session.key });
        }
        Ok(())
    }

    fn handle_on_session(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: Bytes,
        events: &mut Events,
    ) -> Result<(), PeerError> {
        let Some(local) = self.remote_channels.get(usize::from(channel)).copied().flatten() else {
            let text = format!("channel {channel} has no session");
            return Err(PeerError::connection(condition::NOT_ALLOWED, text));
        };
        if let Performative::End(end) = performative {
            self.handle_end(channel, local, end, events);
            return Ok(());
        }
        let Some((session, mut wire, limits)) = self.session_and_wire(local) else { return Ok(()) };
        if session.state == SessionState::Ending {
            // AMQP 2.5.5 DISCARDING: until the peer's end nothing on the channel counts.
            return Ok(());
        }
        if let Performative::Attach(attach) = &performative
            && attach.handle > limits.handle_max
        {
            // AMQP 2.7.2: "A peer that receives a handle outside the supported range MUST close the
            // connection with the framing-error error-code."
            let text = format!("handle {} is above handle-max {}", attach.handle, limits.handle_max);
            return Err(PeerError::framing(text));
        }
        let done = match performative {
            Performative::Transfer(transfer) => {
                session.handle_transfer(&mut wire, limits, transfer, payload, events)
            }
            Performative::Disposition(disposition) => session.handle_disposition(&disposition, events),
            Performative::Flow(flow) => session.handle_flow(&mut wire, &flow, events),
            Performative::Attach(attach) => session.handle_attach(&mut wire, limits, attach, events),
            Performative::Detach(detach) => session.handle_detach(&mut wire, detach, events),
            Performative::Open(_)
            | Performative::Begin(_)
            | Performative::End(_)
            | Performative::Close(_) => Ok(()),
        };
        if let Err(error) = done {
            let (key, token) = (session.key, session.token);
            let error = Some(Box::new(error));
            session.end(&mut wire, error.clone());
            let links = session.take_links();
            events.push_back(Event::SessionEnded { session: key, token, error, links });
        }
        self.mark_dirty(local);
        Ok(())
    }

    /// AMQP 2.5.3.
    fn handle_end(&mut self, channel: u16, local: u16, end: End, events: &mut Events) {
        if let Some((session, mut wire, _)) = self.session_and_wire(local) {
            let was_ending = session.state == SessionState::Ending;
            session.end(&mut wire, None);
            if !was_ending {
                let (session, token, links) = (session.key, session.token, session.take_links());
                events.push_back(Event::SessionEnded { session, token, error: end.error, links });
            }
        }
        if let Some(slot) = self.remote_channels.get_mut(usize::from(channel)) {
            *slot = None;
        }
        if let Some(slot) = self.sessions.get_mut(usize::from(local)) {
            *slot = None;
        }
    }

    // ---- SASL and open commands ---------------------------------------------------------------

    /// Client: chooses a mechanism.
    ///
    /// # Errors
    /// When the server did not just offer its mechanisms.
    pub fn sasl_init(&mut self, mechanism: Symbol, response: Option<Bytes>) -> Result<(), Misuse> {
        let hostname = self.config.hostname.clone();
        self.answer_sasl(Side::Client, &SaslFrame::Init { mechanism, initial_response: response, hostname })
    }

    /// Client: answers a challenge.
    ///
    /// # Errors
    /// When there is no challenge to answer.
    pub fn sasl_response(&mut self, response: Bytes) -> Result<(), Misuse> {
        self.answer_sasl(Side::Client, &SaslFrame::Response(response))
    }

    /// Server: asks the client for more.
    ///
    /// # Errors
    /// When it is not the server's turn.
    pub fn sasl_challenge(&mut self, challenge: Bytes) -> Result<(), Misuse> {
        self.answer_sasl(Side::Server, &SaslFrame::Challenge(challenge))
    }

    /// Server: ends the exchange. Any code but `Ok` ends the connection. With `Ok` may go what the mechanism
    /// has to say along with it (AMQP 5.3.3.6).
    ///
    /// # Errors
    /// When it is not the server's turn.
    pub fn sasl_outcome(&mut self, code: SaslCode, additional_data: Option<Bytes>) -> Result<(), Misuse> {
        self.answer_sasl(Side::Server, &SaslFrame::Outcome { code, additional_data })?;
        self.has_authenticated = code == SaslCode::Ok;
        self.expect = if self.has_authenticated { Expect::Header } else { Expect::Done };
        Ok(())
    }

    fn answer_sasl(&mut self, side: Side, frame: &SaslFrame) -> Result<(), Misuse> {
        if self.side != side || self.expect != Expect::SaslAnswer {
            return Err(Misuse::State);
        }
        self.write_sasl(frame);
        self.expect = Expect::SaslFrames;
        Ok(())
    }

    /// Sends our open: a server's answer to the peer's, a client's first frame.
    ///
    /// # Errors
    /// When the open has been sent, or SASL is not through.
    pub fn open(&mut self) -> Result<(), Misuse> {
        let is_ready = match self.side {
            Side::Server => self.expect == Expect::OpenAnswer,
            Side::Client => {
                self.has_authenticated
                    && matches!(self.expect, Expect::Header | Expect::Open | Expect::OpenAnswer)
            }
        };
        if self.open_sent || !is_ready {
            return Err(Misuse::State);
        }
        self.write_open();
        if self.expect == Expect::OpenAnswer {
            self.expect = Expect::Frames;
        }
        Ok(())
    }

    /// Closes the connection from our side (AMQP 2.4.3). The peer has `close_timeout` to answer.
    pub fn close(&mut self, now: Instant, error: Option<Error>) {
        if self.close_sent || self.expect == Expect::Done {
            return;
        }
        if !matches!(self.expect, Expect::Open | Expect::OpenAnswer | Expect::Frames) {
            self.finish();
            return;
        }
        if !self.open_sent {
            self.write_open();
        }
        self.flush();
        self.write_close(now, error.map(Box::new));
        if self.expect == Expect::OpenAnswer {
            self.expect = Expect::Frames;
        }
    }

    // ---- sessions and links --------------------------------------------------------------------

    /// Begins a session of ours.
    ///
    /// # Errors
    /// Before the connection is open, and when every channel is in use.
    pub fn begin(&mut self, token: u64) -> Result<SessionKey, Misuse> {
        if !self.open_sent || !self.takes_commands() {
            return Err(Misuse::State);
        }
        let local = self.new_session(SessionState::Beginning).ok_or(Misuse::NoChannel)?;
        let (session, mut wire, limits) = self.session_and_wire(local).ok_or(Misuse::NoSession)?;
        session.token = token;
        session.write_begin(&mut wire, limits);
        Ok(session.key)
    }

    /// Names a session, so that its events carry the caller's token.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn name_session(&mut self, key: SessionKey, token: u64) -> Result<(), Misuse> {
        self.session(key)?.0.token = token;
        Ok(())
    }

    /// Ends a session and all its links. The caller forgets them at once.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn end(&mut self, key: SessionKey, error: Option<Error>) -> Result<(), Misuse> {
        let (session, mut wire) = self.session(key)?;
        session.end(&mut wire, error.map(Box::new));
        session.take_links();
        Ok(())
    }

    /// Attaches a link of ours; `role` is ours.
    ///
    /// # Errors
    /// When the session is gone or all handles are in use.
    pub fn attach(
        &mut self,
        session: SessionKey,
        name: Text,
        role: Role,
        terms: Terms,
        token: u64,
    ) -> Result<LinkKey, Misuse> {
        let (session, mut wire) = self.session(session)?;
        session.attach(&mut wire, name, role, terms, token)
    }

    /// Answers the peer's attach and names the link.
    ///
    /// # Errors
    /// When the link is gone or has been answered.
    pub fn accept(&mut self, link: LinkKey, terms: Terms, token: u64) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.accept(&mut wire, link, terms, token)
    }

    /// Names a link whose attach is to be answered later: the events that come before the answer, and the
    /// end of its session, give the token.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn name_link(&mut self, link: LinkKey, token: u64) -> Result<(), Misuse> {
        self.session_of(link)?.0.link_mut(link)?.token = token;
        Ok(())
    }

    /// Refuses the peer's attach (AMQP 2.6.3).
    ///
    /// # Errors
    /// When the link is gone or has been answered.
    pub fn refuse(&mut self, link: LinkKey, error: Error) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.refuse(&mut wire, link, Box::new(error))
    }

    /// Detaches a link; the caller forgets it at once.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn detach(&mut self, link: LinkKey, closed: bool, error: Option<Error>) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.detach(&mut wire, link, closed, error.map(Box::new))
    }

    // ---- messages --------------------------------------------------------------------------

    /// Gives the peer credit for further deliveries on a link that we receive on.
    ///
    /// # Errors
    /// When the link is gone, not attached, or one that we send on.
    pub fn grant(&mut self, link: LinkKey, credit: u32) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.grant(&mut wire, link, credit)
    }

    /// What the credit of a link that we receive on brings is acquired in `transaction` from now on, or in
    /// none (AMQP 4.4.3).
    ///
    /// # Errors
    /// When the link is gone, not attached, or one that we send on.
    pub fn acquire(&mut self, link: LinkKey, transaction: Option<TransactionId>) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.acquire(&mut wire, link, transaction)
    }

    /// Asks the peer to use its credit or give it back; [`Event::LinkDrained`] follows.
    ///
    /// # Errors
    /// When the link is gone, not attached, or one that we send on.
    pub fn drain(&mut self, link: LinkKey) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.drain(&mut wire, link)
    }

    /// Gives back the credit of a link that the peer drains.
    ///
    /// # Errors
    /// When the link is gone, not attached, or one that we receive on.
    pub fn drained(&mut self, link: LinkKey) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.drained(&mut wire, link)
    }

    /// `frames` transfer frames of the session have been passed on: the window reopens by as many.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn consume(&mut self, session: SessionKey, frames: u32) -> Result<(), Misuse> {
        self.session(session)?.0.consume(frames);
        self.mark_dirty(session.channel);
        Ok(())
    }

    /// Names an incoming delivery, so that its later frames and dispositions carry the token.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn name_delivery(&mut self, link: LinkKey, delivery: DeliveryKey, token: u64) -> Result<(), Misuse> {
        self.session(delivery.session)?.0.name_delivery(link, delivery.id, token);
        Ok(())
    }

    /// Starts a delivery on a link that we send on.
    ///
    /// # Errors
    /// When the link is gone, has no credit, or has an unfinished delivery.
    pub fn send(&mut self, link: LinkKey, outgoing: Outgoing) -> Result<DeliveryKey, Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.send(&mut wire, link, outgoing, None)
    }

    /// Starts a delivery that is a part of a transaction (AMQP 4.4.1, 4.4.3): [`send`](Self::send) with a
    /// transactional state.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_in_transaction(
        &mut self,
        link: LinkKey,
        outgoing: Outgoing,
        transaction: TransactionId,
    ) -> Result<DeliveryKey, Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        let state = TransactionalState { transaction, outcome: None };
        session.send(&mut wire, link, outgoing, Some(DeliveryState::Transactional(Box::new(state))))
    }

    /// Goes on with the unfinished delivery of a link; `more` as in [`Outgoing`].
    ///
    /// # Errors
    /// When the link is gone or has no unfinished delivery.
    pub fn send_more(&mut self, link: LinkKey, payload: Bytes, more: bool) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.send_more(&mut wire, link, payload, more)
    }

    /// Gives the unfinished delivery of a link up (AMQP 2.6.14).
    ///
    /// # Errors
    /// When the link is gone or has no unfinished delivery.
    pub fn abort(&mut self, link: LinkKey) -> Result<(), Misuse> {
        let (session, mut wire) = self.session_of(link)?;
        session.abort(&mut wire, link)
    }

    /// Tells the state of an unsettled delivery and settles it when `settled`. `role` is ours:
    /// `Receiver` for what came in. False when the delivery is settled or gone already.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn settle(
        &mut self,
        role: Role,
        delivery: DeliveryKey,
        state: Option<DeliveryState>,
        settled: bool,
    ) -> Result<bool, Misuse> {
        let (session, mut wire) = self.session(delivery.session)?;
        let known = session.settle(&mut wire, role, delivery.id, state, settled);
        self.mark_dirty(delivery.session.channel);
        Ok(known)
    }

    // ---- output and time -----------------------------------------------------------------------

    /// Ends a turn: what has been gathered becomes frames.
    pub fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        let is_closed = !self.takes_commands();
        for channel in dirty.drain(..) {
            if let Some((session, mut wire, limits)) = self.session_and_wire(channel)
                && !is_closed
            {
                session.flush(&mut wire, limits);
            }
        }
        // Keeps the allocation.
        self.dirty = dirty;
        self.outbox.note_turn();
    }

    /// Fills `slices` with what to write next; says how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.outbox.slices(slices)
    }

    /// `count` bytes have been written.
    pub fn written(&mut self, now: Instant, count: usize) {
        if count > 0 {
            self.last_sent = now;
            self.outbox.advance(count);
        }
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        self.outbox.len()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let limits = &self.config.limits;
        if let Some(sent) = self.close_sent_at {
            return Some(sent + limits.close_timeout);
        }
        match self.expect {
            Expect::Done => None,
            Expect::Frames => {
                let idle = self.config.idle_timeout.map(|timeout| self.last_received + timeout);
                let heartbeat = self.remote_idle_timeout.map(|timeout| self.last_sent + timeout / 2);
                idle.into_iter().chain(heartbeat).min()
            }
            _ => Some(self.created + limits.handshake_timeout),
        }
    }

    /// The caller has not read the socket until now: the peer's silence is none.
    pub fn excuse_silence(&mut self, now: Instant) {
        self.last_received = self.last_received.max(now);
    }

    /// Time has passed: heartbeats leave, and a silent peer is given up.
    ///
    /// # Errors
    /// When the peer was silent for too long. What tells it so is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        let limits = &self.config.limits;
        let error = match (self.close_sent_at, self.expect) {
            (Some(sent), _) if now >= sent + limits.close_timeout => {
                PeerError::CloseTimeout(limits.close_timeout.as_millis())
            }
            (Some(_), _) | (_, Expect::Done) => return Ok(()),
            (None, Expect::Frames) => {
                if self.remote_idle_timeout.is_some_and(|timeout| now >= self.last_sent + timeout / 2) {
                    // Not yet written is as good as sent: the socket has bytes waiting.
                    self.last_sent = now;
                    if self.outbox.is_empty() {
                        self.outbox.buffer().extend_from_slice(&HEARTBEAT);
                    }
                }
                match self.config.idle_timeout {
                    Some(timeout) if now >= self.last_received + timeout => {
                        PeerError::Idle(timeout.as_millis())
                    }
                    _ => return Ok(()),
                }
            }
            (None, _) if now >= self.created + limits.handshake_timeout => {
                PeerError::Handshake(limits.handshake_timeout.as_millis())
            }
            (None, _) => return Ok(()),
        };
        self.fail(now, &error);
        Err(error)
    }

    /// Gives back memory that only a busy connection needs.
    pub fn shrink(&mut self) {
        for session in self.sessions.iter_mut().flatten() {
            session.shrink();
        }
        // Who is in it has been promised a flush.
        self.dirty.shrink_to_fit();
    }

    /// Memory kept for what may come: 0 on a connection that is idle and shrunk.
    #[cfg(test)]
    pub(crate) fn spare_capacity(&self) -> usize {
        let sessions: usize = self.sessions.iter().flatten().map(|session| session.spare_capacity()).sum();
        sessions + self.dirty.capacity() + self.outbox.capacity()
    }

    #[cfg(test)]
    pub(crate) fn session_mut(&mut self, channel: u16) -> &mut Session {
        self.sessions[usize::from(channel)].as_mut().expect("the test began it")
    }

    // ---- what the outside sees -------------------------------------------------------------------

    /// Whether nothing more will come of the connection: write what is buffered, close the socket.
    pub fn is_done(&self) -> bool {
        self.expect == Expect::Done
    }

    /// Whether both opens have been exchanged and no close has been sent.
    pub fn is_open(&self) -> bool {
        self.expect == Expect::Frames && self.open_sent && !self.close_sent
    }

    /// The sessions, in the order of our channels.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> {
        self.sessions.iter().flatten().map(|session| session.info())
    }

    /// The links of all sessions.
    pub fn links(&self) -> impl Iterator<Item = LinkInfo<'_>> {
        self.sessions.iter().flatten().flat_map(|session| session.links())
    }

    /// A link's credit: what the sending end may still start.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn credit(&self, link: LinkKey) -> Result<u32, Misuse> {
        let session = self.sessions.get(usize::from(link.session.channel)).and_then(Option::as_ref);
        Ok(session.ok_or(Misuse::NoSession)?.link(link)?.credit)
    }

    /// The session that a link belongs to.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn session_of_link(&self, link: LinkKey) -> Result<SessionKey, Misuse> {
        let session = self.sessions.get(usize::from(link.session.channel)).and_then(Option::as_ref);
        session.ok_or(Misuse::NoSession)?.link(link)?;
        Ok(link.session)
    }

    /// The token of a link; [`NO_TOKEN`] before it has one.
    ///
    /// # Errors
    /// When the link is gone.
    pub fn token_of_link(&self, link: LinkKey) -> Result<u64, Misuse> {
        let session = self.sessions.get(usize::from(link.session.channel)).and_then(Option::as_ref);
        Ok(session.ok_or(Misuse::NoSession)?.link(link)?.token)
    }

    /// Bytes of a session that wait for the peer's window: payloads, and what keeping each takes.
    pub fn pending_bytes(&self, key: SessionKey) -> usize {
        let session = self.sessions.get(usize::from(key.channel)).and_then(Option::as_ref);
        session.filter(|session| session.key == key).map_or(0, |session| session.pending_bytes())
    }

    // ---- inside ------------------------------------------------------------------------------------

    /// Whether frames may still leave: nothing follows a close (AMQP 2.4.3).
    fn takes_commands(&self) -> bool {
        !self.close_sent && self.expect != Expect::Done
    }

    fn session(&mut self, key: SessionKey) -> Result<(&mut Session, Wire<'_>), Misuse> {
        if !self.takes_commands() {
            return Err(Misuse::State);
        }
        match self.session_and_wire(key.channel) {
            Some((session, wire, _)) if session.key == key && session.state != SessionState::Ending => {
                Ok((session, wire))
            }
            _ => Err(Misuse::NoSession),
        }
    }

    fn session_of(&mut self, link: LinkKey) -> Result<(&mut Session, Wire<'_>), Misuse> {
        self.session(link.session)
    }

    fn session_and_wire(&mut self, channel: u16) -> Option<(&mut Session, Wire<'_>, &Limits)> {
        let session = self.sessions.get_mut(usize::from(channel))?.as_mut()?;
        let wire = Wire { outbox: &mut self.outbox, max_frame_size: self.remote_max_frame_size };
        Some((session, wire, &self.config.limits))
    }

    fn new_session(&mut self, state: SessionState) -> Option<u16> {
        let index = self.sessions.iter().position(Option::is_none).unwrap_or(self.sessions.len());
        let channel = u16::try_from(index).ok()?;
        if channel > self.remote_channel_max || channel > self.config.limits.channel_max {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let session = Box::new(Session::new(SessionKey { channel, generation }, state, &self.config.limits));
        match self.sessions.get_mut(index) {
            Some(slot) => *slot = Some(session),
            None => self.sessions.push(Some(session)),
        }
        Some(channel)
    }

    fn mark_dirty(&mut self, channel: u16) {
        let Some(session) = self.sessions.get_mut(usize::from(channel)).and_then(Option::as_mut) else {
            return;
        };
        if !session.is_dirty {
            session.is_dirty = true;
            self.dirty.push(channel);
        }
    }

    fn write_header(&mut self, header: ProtocolHeader) {
        self.outbox.buffer().extend_from_slice(&header.encode());
    }

    fn write_sasl(&mut self, frame: &SaslFrame) {
        let out = self.outbox.buffer();
        let start = begin_frame(out, FrameKind::Sasl, 0);
        encode_sasl(out, frame);
        finish_frame(out, start);
    }

    fn write_open(&mut self) {
        self.open_sent = true;
        let config = self.config.clone();
        let open = Open {
            container_id: config.container_id.clone(),
            hostname: config.hostname.clone(),
            max_frame_size: Some(config.limits.max_frame_size),
            channel_max: Some(config.limits.channel_max),
            // AMQP 2.4.5: "the value in idle-time-out SHOULD be half the peer's actual timeout".
            idle_time_out: config
                .idle_timeout
                .and_then(|timeout| u32::try_from(timeout.as_millis() / 2).ok()),
            offered_capabilities: config.offered_capabilities.clone(),
            desired_capabilities: config.desired_capabilities.clone(),
            properties: config.properties.clone(),
            ..Open::default()
        };
        self.write(&Performative::Open(Box::new(open)));
    }

    fn write_close(&mut self, now: Instant, error: Option<Box<Error>>) {
        self.close_sent = true;
        self.close_sent_at = Some(now);
        self.write(&Performative::Close(Close { error }));
    }

    fn write(&mut self, performative: &Performative) {
        Wire { outbox: &mut self.outbox, max_frame_size: self.remote_max_frame_size }.write(0, performative);
    }

    /// Tells the peer what it did wrong, as far as the connection has come, and stops.
    fn fail(&mut self, now: Instant, error: &PeerError) {
        let can_close = matches!(self.expect, Expect::Open | Expect::OpenAnswer | Expect::Frames);
        if can_close && !self.close_sent && !matches!(error, PeerError::Header(_)) {
            if !self.open_sent {
                self.write_open();
            }
            self.flush();
            self.write_close(now, Some(Box::new(Error::new(error.condition(), error.to_string()))));
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.expect = Expect::Done;
        self.close_sent_at = None;
    }
}

/// The condition of the close that answers a frame which cannot be decoded (AMQP 2.8.15).
fn decode_condition(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::Missing { .. } | DecodeError::OutOfRange { .. } => condition::INVALID_FIELD,
        DecodeError::TooMany { .. } | DecodeError::TooDeep { .. } => condition::RESOURCE_LIMIT_EXCEEDED,
        _ => condition::DECODE_ERROR,
    }
}

fn sasl_name(frame: &SaslFrame) -> &'static str {
    match frame {
        SaslFrame::Mechanisms(_) => "mechanisms",
        SaslFrame::Init { .. } => "init",
        SaslFrame::Challenge(_) => "challenge",
        SaslFrame::Response(_) => "response",
        SaslFrame::Outcome { .. } => "outcome",
    }
}
