//! A lean AMQP client: the engine over a blocking socket, one thread each.

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{
    DeliveryState, NodeTarget, ReceiverSettleMode, Role, SenderSettleMode, Source, Tag, Target,
};
use mq_amqp::value::Text;
use mq_amqp::{
    Config, Connection, Event, Events, IncomingTransfer, LinkKey, Outgoing, SessionKey, Side, Terms,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// What carries a client's bytes.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write_vectored(slices),
            Self::Tls(stream) => stream.write_vectored(slices),
        }
    }
}

/// A connection over TLS on which nothing has been said yet.
pub(crate) fn secure(
    to: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(StreamOwned::new(ClientConnection::new(config.clone(), name)?, stream))
}

pub(crate) struct Client {
    stream: Wire,
    engine: Connection,
    input: BytesMut,
    events: Events,
    session: SessionKey,
    scratch: Box<[u8]>,
    /// Of the link that this client sends on.
    credit: u32,
    sent: u64,
    settled: u64,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self> {
        Self::connect_to_space(to, None)
    }

    /// As [`connect`](Self::connect), into an address space.
    pub(crate) fn connect_to_space(to: SocketAddr, space: Option<&str>) -> Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Self::over(Wire::Plain(stream), space)
    }

    /// As [`connect`](Self::connect), over TLS.
    pub(crate) fn connect_secure(to: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self> {
        Self::over(Wire::Tls(Box::new(secure(to, config)?)), None)
    }

    fn over(stream: Wire, space: Option<&str>) -> Result<Self> {
        let name = format!("load-{}", stream.socket().local_addr()?.port());
        let limits = mq_amqp::Limits {
            max_frame_size: 64 << 10,
            incoming_window: 2_048,
            max_unsettled: 1_000_000,
            ..mq_amqp::Limits::default()
        };
        let config = Config {
            container_id: Text::from(name),
            hostname: space.map(Text::from),
            allow_plain_header: true,
            limits,
            ..Config::default()
        };
        let mut engine = Connection::new(Arc::new(config), Side::Client, Instant::now());
        engine.open()?;
        let session = engine.begin(0)?;
        let mut client = Self {
            stream,
            engine,
            input: BytesMut::new(),
            events: Events::new(),
            session,
            scratch: vec![0; 64 << 10].into(),
            credit: 0,
            sent: 0,
            settled: 0,
            received: 0,
            received_bytes: 0,
        };
        client.wait("SessionBegun", |event| matches!(event, Event::SessionBegun { .. }))?;
        client.session = session;
        Ok(client)
    }

    /// Attaches to an address and waits for the answer.
    pub(crate) fn attach(&mut self, address: &str, role: Role, settled: bool) -> Result<LinkKey> {
        let mode = if settled { SenderSettleMode::Settled } else { SenderSettleMode::Unsettled };
        let target = NodeTarget { address: Some(Text::from(address)), ..NodeTarget::default() };
        let terms = Terms {
            source: Some(Box::new(Source { address: Some(Text::from(address)), ..Source::default() })),
            target: Some(Box::new(Target::Node(target))),
            snd_settle_mode: if role == Role::Sender { mode } else { SenderSettleMode::Mixed },
            rcv_settle_mode: ReceiverSettleMode::First,
            ..Terms::default()
        };
        let link =
            self.engine.attach(self.session, Text::from(format!("{address}-{role:?}")), role, terms, 0)?;
        self.wait("LinkAttached", |event| matches!(event, Event::LinkAttached { .. }))?;
        Ok(link)
    }

    pub(crate) fn grant(&mut self, link: LinkKey, credit: u32) -> Result<()> {
        self.engine.grant(link, credit)?;
        self.write()
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<()> {
        loop {
            self.write()?;
            let found = self.events.iter().any(&wanted);
            self.take_events()?;
            if found {
                return Ok(());
            }
            self.read().with_context(|| format!("waiting for {what}"))?;
        }
    }

    fn note(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::LinkFlow { credit, .. } => self.credit = *credit,
            Event::Disposition { settled: true, .. } => self.settled += 1,
            Event::LinkDetached { error, .. } => bail!("link detached: {error:?}"),
            Event::SessionEnded { error, .. } => bail!("session ended: {error:?}"),
            Event::Closed { error } => bail!("connection closed: {error:?}"),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn write(&mut self) -> Result<()> {
        self.engine.flush();
        loop {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.engine.slices(&mut slices);
            if used == 0 {
                return Ok(());
            }
            let count = self.stream.write_vectored(&slices[..used])?;
            self.engine.written(Instant::now(), count);
        }
    }

    fn read(&mut self) -> Result<()> {
        let count = self.stream.read(&mut self.scratch)?;
        if count == 0 {
            bail!("the daemon closed the connection");
        }
        self.input.extend_from_slice(&self.scratch[..count]);
        let now = Instant::now();
        loop {
            let queued = self.events.len();
            self.engine.handle_input(now, &mut self.input, &mut self.events)?;
            if self.events.len() == queued {
                return Ok(());
            }
        }
    }

    /// Sends `count` messages as fast as credit allows and waits until all are settled.
    pub(crate) fn send_all(&mut self, link: LinkKey, count: u64, body: &Bytes, settled: bool) -> Result<()> {
        let end = self.sent + count;
        let target = self.settled + count;
        while self.sent < end || (!settled && self.settled < target) {
            while self.credit > 0 && self.sent < end {
                self.send_one(link, body.clone(), settled)?;
            }
            self.write()?;
            if self.sent < end || !settled {
                if self.credit > 0 && self.sent < end {
                    continue;
                }
                if settled || self.settled < target {
                    self.pump()?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn send_one(&mut self, link: LinkKey, payload: Bytes, settled: bool) -> Result<()> {
        let tag = Tag::from(self.sent);
        let outgoing = Outgoing { tag, token: self.sent, settled, message_format: 0, payload, more: false };
        self.engine.send(link, outgoing)?;
        self.sent += 1;
        self.credit -= 1;
        Ok(())
    }

    /// Sends without end, until the daemon ends the connection.
    pub(crate) fn send_for_ever(&mut self, link: LinkKey, body: &Bytes) -> Result<()> {
        loop {
            while self.credit > 0 {
                for _ in 0..self.credit.min(64) {
                    self.send_one(link, body.clone(), true)?;
                }
                self.write()?;
            }
            self.pump()?;
        }
    }

    pub(crate) fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// Starts or goes on with a message piece by piece.
    pub(crate) fn send_piece(&mut self, link: LinkKey, piece: Bytes, first: bool, more: bool) -> Result<()> {
        if first {
            let tag = Tag::from(self.sent);
            let outgoing =
                Outgoing { tag, token: self.sent, settled: false, message_format: 0, payload: piece, more };
            self.engine.send(link, outgoing)?;
            self.sent += 1;
            self.credit -= 1;
        } else {
            self.engine.send_more(link, piece, more)?;
        }
        self.write()?;
        // The daemon's window shuts while the reader is slow: take what it says.
        while self.engine.pending_bytes(self.session) > 0 {
            self.pump()?;
            self.write()?;
        }
        Ok(())
    }

    /// Takes one read's worth of events.
    pub(crate) fn pump(&mut self) -> Result<()> {
        self.read()?;
        self.take_events()
    }

    fn take_events(&mut self) -> Result<()> {
        while let Some(event) = self.events.pop_front() {
            if let Event::Transfer(transfer) = event {
                self.accept(&transfer)?;
            } else {
                self.note(&event)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, transfer: &IncomingTransfer) -> Result<()> {
        self.received_bytes += transfer.payload.len() as u64;
        self.engine.consume(transfer.delivery.session(), 1)?;
        if !transfer.more {
            self.received += 1;
            if !transfer.settled {
                self.engine.settle(Role::Receiver, transfer.delivery, Some(DeliveryState::Accepted), true)?;
            }
        }
        Ok(())
    }

    /// Takes messages, with a window of `credit`, until `count` have come.
    pub(crate) fn receive_all(&mut self, link: LinkKey, count: u64, credit: u32) -> Result<()> {
        let end = self.received + count;
        let mut granted_from = self.received;
        self.grant(link, credit)?;
        while self.received < end {
            self.pump()?;
            let used = self.received - granted_from;
            if used >= u64::from(credit / 2) {
                self.engine.grant(link, u32::try_from(used)?)?;
                granted_from = self.received;
            }
            self.write()?;
        }
        Ok(())
    }
}

/// A message with one data section.
pub(crate) fn body(size: usize) -> Bytes {
    Message::data(vec![b'x'; size]).to_bytes()
}

/// The same, to be kept.
pub(crate) fn durable_body(size: usize) -> Bytes {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(vec![b'x'; size]) }.to_bytes()
}

impl Client {
    /// Takes messages until all clients together have `deliveries`.
    pub(crate) fn receive_shared(
        &mut self,
        link: LinkKey,
        deliveries: u64,
        credit: u32,
        total: &std::sync::atomic::AtomicU64,
    ) -> Result<()> {
        use std::sync::atomic::Ordering;
        self.stream.socket().set_read_timeout(Some(std::time::Duration::from_millis(20)))?;
        let mut granted_from = self.received;
        self.grant(link, credit)?;
        while total.load(Ordering::Relaxed) < deliveries {
            let before = self.received;
            match self.pump() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(error),
            }
            total.fetch_add(self.received - before, Ordering::Relaxed);
            let used = self.received - granted_from;
            if used >= u64::from(credit / 2) {
                self.engine.grant(link, u32::try_from(used)?)?;
                granted_from = self.received;
            }
            self.write()?;
        }
        Ok(())
    }

    /// Waits until `count` deliveries have been settled.
    pub(crate) fn wait_settled(&mut self, count: u64) -> Result<()> {
        while self.settled < count {
            self.pump()?;
            self.write()?;
        }
        Ok(())
    }

    /// The socket alone: an idle client needs no engine.
    pub(crate) fn into_stream(self) -> TcpStream {
        match self.stream {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.sock,
        }
    }
}

fn is_timeout(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    })
}
