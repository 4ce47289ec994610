//! A lean MQTT client: the engine over a socket, many on one thread.

use std::future::poll_fn;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use mq_mqtt::packet::{Connect, SubscriptionOptions, Text};
use mq_mqtt::property::{PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{Config, Connection, Event, Limits, Outgoing, Qos, ReasonCode, SessionState};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// Publications under way at once.
const WINDOW: u16 = 200;

/// Bytes that are gathered before they are written.
const BATCH: usize = 32 << 10;

/// Messages that may be on their way.
const AHEAD: u64 = 5_000;

/// How long nothing has to come for everything to have come.
const QUIET: Duration = Duration::from_secs(2);

pub(crate) struct MqttClient {
    stream: TcpStream,
    engine: Connection,
    input: BytesMut,
    /// Publications that have been acknowledged to the end.
    pub(crate) acknowledged: u64,
    pub(crate) received: u64,
    /// When the last one came.
    pub(crate) last: Instant,
}

/// How many messages have come of those that were published. A publisher that is too far ahead waits, so
/// that a slow reader does not lose what no server keeps without bounds.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) received: Arc<AtomicU64>,
    /// How many get each message.
    pub(crate) copies: u64,
}

/// How a client connects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Seconds that the session outlives the connection.
    pub(crate) session_expiry: u32,
    /// Where from: the ports of one address are not enough for all, and to look for a free one among
    /// thousands takes the system longer than all the rest.
    pub(crate) from: Option<SocketAddr>,
}

impl MqttClient {
    pub(crate) async fn connect(to: SocketAddr, client_id: &str, terms: Terms) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = terms.from {
            // Ports of an earlier run may be kept for a while by the system.
            socket.set_reuseaddr(true)?;
            socket.bind(from)?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let mut properties = PropertyWriter::new(PropertyIn::Connect);
        properties.receive_maximum(WINDOW)?;
        if terms.session_expiry > 0 {
            properties.session_expiry_interval(terms.session_expiry)?;
        }
        let connect = Connect {
            clean_start: terms.session_expiry == 0,
            client_id: Text::new(client_id)?,
            properties: properties.finish(),
            ..Connect::default()
        };
        let limits = Limits {
            receive_maximum: WINDOW,
            max_in_flight: WINDOW,
            topic_alias_maximum: 0,
            max_outgoing_aliases: 0,
            ..Limits::default()
        };
        let config = Arc::new(Config { limits, ..Config::default() });
        let engine = Connection::client(config, &connect, SessionState::default(), Instant::now())?;
        let mut client = Self {
            stream,
            engine,
            input: BytesMut::new(),
            acknowledged: 0,
            received: 0,
            last: Instant::now(),
        };
        client.wait("CONNACK", |event| matches!(event, Event::Connected(_))).await?;
        Ok(client)
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: Qos) -> Result<()> {
        let filters = [(filter, SubscriptionOptions::new(qos))];
        self.engine.subscribe(&filters, PropertyView::default())?;
        self.wait("SUBACK", |event| match event {
            Event::SubAck(answer) => answer.reasons.iter().all(|reason| !reason.is_error()),
            _ => false,
        })
        .await
    }

    async fn wait(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<()> {
        let mut found = false;
        while !found {
            self.write().await?;
            self.read().await.with_context(|| format!("waiting for {what}"))?;
            self.serve(|event| found |= wanted(event))?;
        }
        Ok(())
    }

    /// Publishes `count` messages as fast as the socket and the window allow, and waits for the end of all
    /// acknowledgements.
    pub(crate) async fn publish_all(
        &mut self,
        topic: &str,
        count: u64,
        qos: Qos,
        payload: &Bytes,
        pace: Option<&Pace>,
    ) -> Result<()> {
        let message = Outgoing { qos, ..Outgoing::new(topic, payload) };
        let end = self.acknowledged + count;
        let mut sent = 0;
        while sent < count || (qos != Qos::AtMostOnce && self.acknowledged < end) {
            while pace.is_some_and(|pace| pace.received.load(Ordering::Relaxed) / pace.copies + AHEAD < sent)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let has_window = |engine: &Connection| qos == Qos::AtMostOnce || engine.window() > 0;
            while sent < count && has_window(&self.engine) && self.engine.buffered() < BATCH {
                self.engine.publish(&message)?;
                sent += 1;
            }
            self.write().await?;
            let is_waiting = sent == count || !has_window(&self.engine);
            if qos != Qos::AtMostOnce && is_waiting && self.acknowledged < end {
                self.read().await?;
                self.serve(|_| {})?;
            }
        }
        Ok(())
    }

    /// One publication of QoS 0.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &Bytes) -> Result<()> {
        self.engine.publish(&Outgoing::new(topic, payload))?;
        self.write().await
    }

    /// Takes messages until `count` have come.
    pub(crate) async fn receive(&mut self, count: u64) -> Result<()> {
        while self.received < count {
            self.read().await?;
            self.serve(|_| {})?;
            self.write().await?;
        }
        Ok(())
    }

    /// Takes messages until `count` have come, or nothing comes any more: QoS 0 may lose some.
    pub(crate) async fn receive_most(&mut self, count: u64, pace: &Pace) -> Result<()> {
        while self.received < count {
            let before = self.received;
            match tokio::time::timeout(QUIET, self.read()).await {
                Ok(read) => read?,
                Err(_) => break,
            }
            self.serve(|_| {})?;
            self.last = Instant::now();
            pace.received.fetch_add(self.received - before, Ordering::Relaxed);
            self.write().await?;
        }
        Ok(())
    }

    /// Serves everything that has been read.
    fn serve(&mut self, mut look: impl FnMut(&Event)) -> Result<()> {
        while let Some(event) = self.engine.handle_input(Instant::now(), &mut self.input)? {
            look(&event);
            match event {
                Event::Publish(publish) => {
                    self.received += 1;
                    if let Some(packet_id) = publish.packet_id {
                        self.engine.acknowledge(packet_id, ReasonCode::Success, PropertyView::default())?;
                    }
                }
                Event::Acknowledged { reason, .. } | Event::Completed { reason, .. } => {
                    if reason.is_error() {
                        bail!("a publication was refused: {}", reason.name());
                    }
                    self.acknowledged += 1;
                }
                Event::Connected(answer) if answer.reason.is_error() => {
                    bail!("the connection was refused: {}", answer.reason.name());
                }
                Event::Disconnected(packet) => bail!("disconnected: {}", packet.reason.name()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        self.input.reserve(64 << 10);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            bail!("the daemon closed the connection");
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        let (engine, stream) = (&mut self.engine, &mut self.stream);
        poll_fn(|context| {
            loop {
                let mut slices = [IoSlice::new(&[]); 16];
                let used = engine.slices(&mut slices);
                if used == 0 {
                    return Poll::Ready(Ok(()));
                }
                match Pin::new(&mut *stream).poll_write_vectored(context, &slices[..used]) {
                    Poll::Ready(Ok(count)) => engine.written(Instant::now(), count),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// The socket alone: an idle client needs no engine.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
