//! AMQP 1.0 with the engine that the daemon uses as well.

use std::{collections::VecDeque, io::IoSlice, sync::Arc, time::Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mq_amqp::{
    Config, Connection, Event, Events, IncomingTransfer, Limits, LinkKey, Misuse, Outgoing, PeerError,
    SessionKey, Side, Terms, condition,
    message::{Body, Header, Message, MessageId, Properties},
    performative::{
        Attach, DeliveryState, Error, NodeTarget, ReceiverSettleMode, Role, SaslCode, SenderSettleMode,
        Source, Tag, Target,
    },
    value::{Symbol, Text, Value},
};

use super::{Arrival, Draft, Fault, Happening, Kind, Manner, Part, Request};
use crate::{bench::integrity::Told, exit::Exit, settings::Credentials};

/// The library, for the result.
pub const CLIENT: &str = concat!("mq-amqp ", env!("CARGO_PKG_VERSION"));

/// Bytes of a frame that we take.
const MAX_FRAME: u32 = 64 << 10;
/// Transfer frames that a session takes in before it tells that its window has reopened.
const INCOMING_WINDOW: u32 = 2_048;
/// A delivery's token holds the link's index above its sequence number.
const SEQUENCE_BITS: u32 = 48;
/// The descriptor of a data section and the constructors of its binary (AMQP 3.2.6, 1.6.19).
const DATA: [u8; 3] = [0x00, 0x53, 0x75];
const BINARY_8: u8 = 0xa0;
const BINARY_32: u8 = 0xb0;

/// A connection with one session and the links of its parts.
#[derive(Debug)]
pub struct Amqp {
    engine: Connection,
    events: Events,
    session: Option<SessionKey>,
    manner: Arc<Manner>,
    links: Vec<Link>,
    product: Option<String>,
}

#[derive(Debug)]
struct Link {
    part: Part,
    key: Option<LinkKey>,
    is_attached: bool,
    /// Credit used since the last grant.
    used: u32,
    /// The frames so far of a message that comes in several.
    pieces: BytesMut,
    /// Ours, or the one that the target made up.
    address: Option<Text>,
}

impl Amqp {
    pub fn new(manner: Arc<Manner>, parts: &[Part], first: u32, container: &str, now: Instant) -> Self {
        let links = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let limits = Limits {
            max_frame_size: MAX_FRAME,
            incoming_window: INCOMING_WINDOW,
            max_unsettled: manner.credit.saturating_mul(links).saturating_add(INCOMING_WINDOW),
            ..Limits::default()
        };
        let config = Config {
            container_id: Text::from(container),
            hostname: Some(Text::from(manner.host.as_str())),
            // SASL is always spoken: there are brokers that insist on it, also for ANONYMOUS.
            allow_plain_header: false,
            limits,
            ..Config::default()
        };
        let link = |(part, number): (&Part, u32)| Link {
            part: *part,
            key: None,
            is_attached: false,
            used: 0,
            pieces: BytesMut::new(),
            address: part.has_address().then(|| Text::from(manner.address_of(number))),
        };
        let links = parts.iter().zip(first..).map(link).collect();
        Self {
            engine: Connection::new(Arc::new(config), Side::Client, now),
            events: Events::new(),
            session: None,
            manner,
            links,
            product: None,
        }
    }

    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        loop {
            let result = self.engine.handle_input(now, input, &mut self.events);
            let came = !self.events.is_empty();
            while let Some(event) = self.events.pop_front() {
                self.handle_event(event, happenings)?;
            }
            result.map_err(|error| broken(&error))?;
            if !came {
                return Ok(());
            }
        }
    }

    fn handle_event(&mut self, event: Event, happenings: &mut VecDeque<Happening>) -> Result<(), Fault> {
        match event {
            Event::Transfer(transfer) => self.handle_transfer(transfer, happenings),
            Event::Disposition { role: Role::Sender, delivery, delivery_token, state, settled } => {
                if !settled && state.as_ref().is_some_and(DeliveryState::is_outcome) {
                    self.engine.settle(Role::Sender, delivery, None, true).map_err(misused)?;
                }
                handle_outcome(delivery_token, state.as_ref(), settled, happenings);
                Ok(())
            }
            Event::SaslMechanisms(mechanisms) => self.authenticate(&mechanisms),
            Event::SaslOutcome { code: SaslCode::Ok, .. } => {
                self.engine.open().map_err(misused)?;
                self.session = Some(self.engine.begin(0).map_err(misused)?);
                Ok(())
            }
            Event::SaslOutcome { .. } | Event::SaslChallenge(_) => {
                Err(Fault::Refused { exit: Exit::Denied, text: "authentication failed".into() })
            }
            Event::Opened(open) => {
                self.product = product(&open.properties);
                Ok(())
            }
            Event::SessionBegun { session } => self.attach(session, happenings),
            Event::LinkAttached { link, attach } => self.attached(link, &attach, happenings),
            Event::LinkDetached { error, .. } => Err(refused("the link was detached", error.as_deref())),
            Event::SessionEnded { error, .. } => Err(refused("the session was ended", error.as_deref())),
            Event::Closed { error } => Err(refused("the connection was closed", error.as_deref())),
            _ => Ok(()),
        }
    }

    fn authenticate(&mut self, offered: &[Symbol]) -> Result<(), Fault> {
        let (name, response) = match &self.manner.credentials {
            Credentials::Anonymous => ("ANONYMOUS", Bytes::from_static(b"mq")),
            Credentials::Certificate => ("EXTERNAL", Bytes::new()),
            // RFC 4616: an empty authorization identity, the user and the password, each behind a NUL.
            // RFC 7628, 3.1.
            Credentials::Bearer { token } => {
                let text = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
                ("OAUTHBEARER", Bytes::from(text.into_bytes()))
            }
            Credentials::Plain { user, password } | Credentials::Scram { user, password } => {
                ("PLAIN", Bytes::from(format!("\0{user}\0{password}").into_bytes()))
            }
        };
        if !offered.iter().any(|mechanism| mechanism.as_str() == name) {
            let names: Vec<&str> = offered.iter().map(Symbol::as_str).collect();
            let text = format!("SASL {name} is not offered; it offers {}", names.join(", "));
            return Err(Fault::Refused { exit: Exit::Denied, text });
        }
        self.engine.sasl_init(Symbol::from(name), Some(response)).map_err(misused)
    }

    fn attach(&mut self, session: SessionKey, happenings: &mut VecDeque<Happening>) -> Result<(), Fault> {
        if self.links.is_empty() {
            happenings.push_back(Happening::Ready);
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            let role = link.part.role();
            let name = Text::from(format!("bench-{index}"));
            let terms = terms(link.part, link.address.clone(), self.manner.settled);
            link.key = Some(self.engine.attach(session, name, role, terms, index as u64).map_err(misused)?);
        }
        Ok(())
    }

    fn attached(
        &mut self,
        key: LinkKey,
        attach: &Attach,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.iter_mut().find(|link| link.key == Some(key)) else {
            return Ok(());
        };
        let is_refused = match link.part.role() {
            Role::Sender => attach.target.is_none(),
            Role::Receiver => attach.source.is_none(),
        };
        // AMQP 2.6.3: a detach follows that says why.
        if is_refused {
            return Ok(());
        }
        link.is_attached = true;
        if link.part.role() == Role::Receiver {
            link.address = attach.source.as_ref().and_then(|source| source.address.clone());
            self.engine.grant(key, self.manner.credit).map_err(misused)?;
        }
        if self.links.iter().all(|link| link.is_attached) {
            happenings.push_back(Happening::Ready);
        }
        Ok(())
    }

    fn handle_transfer(
        &mut self,
        transfer: IncomingTransfer,
        happenings: &mut VecDeque<Happening>,
    ) -> Result<(), Fault> {
        let IncomingTransfer { delivery, settled, payload, more, aborted, .. } = transfer;
        self.engine.consume(delivery.session(), 1).map_err(misused)?;
        let index = usize::try_from(transfer.token).unwrap_or(usize::MAX);
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        if aborted {
            link.pieces.clear();
            return self.took(index, transfer.link);
        }
        if more || !link.pieces.is_empty() {
            if link.pieces.len() + payload.len() > self.manner.largest.saturating_mul(2) + MAX_FRAME as usize
            {
                return Err(Fault::Broken("a message came that is far larger than those sent".into()));
            }
            link.pieces.extend_from_slice(&payload);
        }
        if more {
            return Ok(());
        }
        let message = if link.pieces.is_empty() { payload } else { link.pieces.split().freeze() };
        happenings.push_back(Happening::Arrived(arrival(index, link.part, &message)));
        if !settled {
            let outcome = Some(DeliveryState::Accepted);
            self.engine.settle(Role::Receiver, delivery, outcome, true).map_err(misused)?;
        }
        self.took(index, transfer.link)
    }

    /// A delivery has come to its end: its credit is used, and is renewed by halves.
    fn took(&mut self, index: usize, key: LinkKey) -> Result<(), Fault> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        link.used += 1;
        if link.used >= self.manner.credit.div_ceil(2) {
            self.engine.grant(key, std::mem::take(&mut link.used)).map_err(misused)?;
        }
        Ok(())
    }

    pub fn room(&self, link: usize) -> u32 {
        let key = self.links.get(link).and_then(|link| link.key);
        key.and_then(|key| self.engine.credit(key).ok()).unwrap_or_default()
    }

    pub fn send(
        &mut self,
        draft: &Draft<'_>,
        arena: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Fault> {
        let key = self.links.get(draft.link).and_then(|link| link.key);
        let key = key.ok_or_else(|| Fault::Broken("the link is gone".into()))?;
        write_prefix(arena, self.manner.durable, self.properties(draft).as_ref(), draft.size);
        write(arena);
        let token = (draft.link as u64) << SEQUENCE_BITS | draft.sequence & ((1 << SEQUENCE_BITS) - 1);
        let outgoing = Outgoing {
            tag: Tag::from(draft.sequence),
            token,
            settled: self.manner.settled,
            message_format: 0,
            payload: arena.split().freeze(),
            more: false,
        };
        self.engine.send(key, outgoing).map(drop).map_err(misused)
    }

    /// What a request and its answer say about each other.
    fn properties(&self, draft: &Draft<'_>) -> Option<Properties> {
        match draft.kind {
            Kind::Message => None,
            Kind::Request => Some(Properties {
                message_id: Some(MessageId::ULong(draft.sequence)),
                reply_to: self.links.iter().find(|link| link.part == Part::Replies)?.address.clone(),
                ..Properties::default()
            }),
            Kind::Answer(Request::Amqp { reply_to, id }) => Some(Properties {
                to: Some(reply_to.clone()),
                correlation_id: id.clone(),
                ..Properties::default()
            }),
            Kind::Answer(Request::Mqtt { .. }) => None,
        }
    }

    pub fn product(&self) -> Option<String> {
        self.product.clone()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        self.engine.handle_timeout(now).map_err(|error| broken(&error))
    }

    pub fn close(&mut self, now: Instant) {
        self.engine.close(now, None);
    }

    pub fn flush(&mut self) {
        self.engine.flush();
    }

    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.engine.slices(slices)
    }

    pub fn written(&mut self, now: Instant, count: usize) {
        self.engine.written(now, count);
    }

    pub fn buffered(&self) -> usize {
        self.engine.buffered() + self.session.map_or(0, |session| self.engine.pending_bytes(session))
    }
}

/// What became of a message, when it is final.
fn handle_outcome(
    token: u64,
    state: Option<&DeliveryState>,
    settled: bool,
    happenings: &mut VecDeque<Happening>,
) {
    let told = match state {
        Some(DeliveryState::Accepted) => Told::Accepted,
        Some(DeliveryState::Rejected(_)) => Told::Rejected,
        Some(DeliveryState::Modified { .. }) => Told::Modified,
        Some(DeliveryState::Released) => Told::Released,
        // Settled without an outcome: nobody is known to have taken it.
        _ if settled => Told::Released,
        _ => return,
    };
    let sequence = token & ((1 << SEQUENCE_BITS) - 1);
    let link = usize::try_from(token >> SEQUENCE_BITS).unwrap_or(usize::MAX);
    happenings.push_back(Happening::Told { link, sequence, told });
}

impl Part {
    /// Whether its link has the address of the run.
    fn has_address(self) -> bool {
        matches!(self, Self::Sender | Self::Receiver)
    }

    fn role(self) -> Role {
        match self {
            Self::Sender | Self::Relay => Role::Sender,
            Self::Receiver | Self::Replies => Role::Receiver,
        }
    }
}

fn terms(part: Part, address: Option<Text>, settled: bool) -> Terms {
    let (source, target) = match part.role() {
        Role::Sender => (None, address),
        Role::Receiver => (address, None),
    };
    let source = Source { address: source, dynamic: part == Part::Replies, ..Source::default() };
    let target = NodeTarget { address: target, ..NodeTarget::default() };
    let is_settled = settled && part.role() == Role::Sender;
    Terms {
        source: Some(Box::new(source)),
        target: Some(Box::new(Target::Node(target))),
        snd_settle_mode: match part.role() {
            Role::Sender if is_settled => SenderSettleMode::Settled,
            Role::Sender => SenderSettleMode::Unsettled,
            Role::Receiver => SenderSettleMode::Mixed,
        },
        rcv_settle_mode: ReceiverSettleMode::First,
        ..Terms::default()
    }
}

/// What a message is to its part.
fn arrival(link: usize, part: Part, message: &Bytes) -> Arrival {
    match part {
        Part::Receiver | Part::Sender | Part::Relay => {
            if let Some(body) = only_data(message) {
                return Arrival { link, body, request: None, answers: None };
            }
        }
        Part::Replies => {}
    }
    // A message that cannot be decoded has an empty body, which no message of a bench has.
    let message = Message::decode(message).unwrap_or_default();
    let properties = message.properties.unwrap_or_default();
    let answers = match properties.correlation_id {
        Some(MessageId::ULong(number)) => Some(number),
        _ => None,
    };
    let request =
        properties.reply_to.map(|reply_to| Box::new(Request::Amqp { reply_to, id: properties.message_id }));
    Arrival { link, body: data(message.body), request, answers }
}

/// The body of a message that has at most a header before its one data section: the usual case, without
/// decoding.
fn only_data(message: &Bytes) -> Option<Bytes> {
    let mut rest = message.clone();
    // AMQP 3.2.1: a header in the short form of a list.
    if rest.starts_with(&[0x00, 0x53, 0x70, 0xc0]) {
        let length = usize::from(*rest.get(4)?);
        rest.advance((5 + length).min(rest.len()));
    }
    if !rest.starts_with(&DATA) {
        return None;
    }
    let (start, length) = match *rest.get(DATA.len())? {
        BINARY_8 => (5, usize::from(*rest.get(4)?)),
        BINARY_32 => (8, usize::try_from(u32::from_be_bytes(*rest.get(4..8)?.first_chunk()?)).ok()?),
        _ => return None,
    };
    (rest.len() == start + length).then(|| rest.slice(start..))
}

fn data(body: Body) -> Bytes {
    match body {
        Body::Data(sections) => match <[Bytes; 1]>::try_from(sections) {
            Ok([section]) => section,
            Err(sections) => sections.concat().into(),
        },
        Body::Value(Value::Binary(bytes)) => bytes,
        Body::Value(_) | Body::Sequence(_) => Bytes::new(),
    }
}

/// Writes everything of a message that comes before its body, and the body's own prefix.
fn write_prefix(out: &mut BytesMut, durable: bool, properties: Option<&Properties>, size: usize) {
    if durable {
        Header { durable: true, ..Header::default() }.encode(out);
    }
    if let Some(properties) = properties {
        properties.encode(out);
    }
    out.put_slice(&DATA);
    match u8::try_from(size) {
        Ok(size) => out.put_slice(&[BINARY_8, size]),
        Err(_) => {
            out.put_u8(BINARY_32);
            out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        }
    }
}

/// Whose daemon it is (AMQP 2.7.1: the properties `product` and `version`).
fn product(properties: &[(Value, Value)]) -> Option<String> {
    let text = |name: &str| {
        let (_, value) = properties.iter().find(|(key, _)| key.as_str() == Some(name))?;
        value.as_str().map(|text| text.chars().take(100).collect::<String>())
    };
    let product = text("product")?;
    Some(match text("version") {
        Some(version) => format!("{product} {version}"),
        None => product,
    })
}

/// What the target says with an error; without one, that it went away.
fn refused(what: &str, error: Option<&Error>) -> Fault {
    let Some(error) = error else {
        return Fault::Broken(what.into());
    };
    let condition = error.condition.as_str();
    let text = match &error.description {
        Some(description) => format!("{description} ({condition})"),
        None => format!("{what} with {condition}"),
    };
    let exit = match condition {
        condition::NOT_FOUND => Exit::NotFound,
        condition::UNAUTHORIZED_ACCESS => Exit::Denied,
        condition::CONNECTION_FORCED | condition::DETACH_FORCED => return Fault::Broken(text),
        _ => Exit::Failed,
    };
    Fault::Refused { exit, text }
}

fn broken(error: &PeerError) -> Fault {
    Fault::Broken(error.to_string())
}

/// The engine is asked for something it cannot do: the link or the session has just gone.
fn misused(misuse: Misuse) -> Fault {
    Fault::Broken(misuse.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(durable: bool, size: usize) -> Bytes {
        let mut out = BytesMut::new();
        write_prefix(&mut out, durable, None, size);
        out.put_bytes(7, size);
        out.freeze()
    }

    #[test]
    fn a_message_is_what_the_codec_reads() {
        for (durable, size) in [(false, 36), (true, 255), (true, 256), (false, 70_000)] {
            let message = Message::decode(&encoded(durable, size)).unwrap();
            assert_eq!(message.header.is_some_and(|header| header.durable), durable);
            assert_eq!(data(message.body).len(), size);
            assert_eq!(only_data(&encoded(durable, size)).unwrap().len(), size);
        }
    }

    #[test]
    fn a_body_in_another_form_is_found_as_well() {
        let value = Message::value(Value::Binary(Bytes::from_static(b"abc"))).to_bytes();
        assert_eq!(arrival(0, Part::Receiver, &value).body, "abc");
        let mut message = Message { body: Body::Data(vec!["ab".into(), "c".into()]), ..Message::default() };
        assert_eq!(arrival(0, Part::Receiver, &message.to_bytes()).body, "abc");
        message.body = Body::Data(vec!["abc".into()]);
        message.properties =
            Some(Properties { correlation_id: Some(MessageId::ULong(5)), ..Properties::default() });
        let arrival = arrival(0, Part::Replies, &message.to_bytes());
        assert_eq!((arrival.body, arrival.answers), ("abc".into(), Some(5)));
    }

    #[test]
    fn garbage_is_an_empty_body() {
        assert_eq!(arrival(0, Part::Receiver, &Bytes::from_static(b"\x00\x53\x75\xb0")).body, "");
    }
}
