//! The beginning of a connection, before its protocol has the word: the header of a proxy, and for MQTT the
//! bytes up to a whole CONNECT, whose client identifier says which shard serves the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use jiff::Timestamp;
use mq_core::{ShardId, home};
use mq_mqtt::codec::{decode, next_packet, packet_size};
use mq_mqtt::packet::Packet;
use mq_mqtt::{Limits, Version};
use tracing::debug;

use super::connection::Connection;
use super::protocol::Protocol;
use super::transport::Transport;
use super::{Shard, amqp, mqtt, proxy};

/// The first byte of a CONNECT (3.1.1).
const CONNECT: u8 = 0x10;

/// What a connection speaks once its preface is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Amqp,
    Mqtt,
}

/// A connection whose protocol has not begun.
#[derive(Debug)]
pub(super) struct Preface {
    /// A header of the PROXY protocol comes first.
    expects_proxy: bool,
    pub(super) next: Next,
    pub(super) transport: Transport,
    /// When it has to be through.
    deadline: Instant,
    timeout: Duration,
    /// The shard that serves the client, when that is another.
    pub(super) home: Option<ShardId>,
    /// It is refused: nothing more is read.
    pub(super) is_over: bool,
}

impl Preface {
    pub(super) fn new(
        expects_proxy: bool,
        next: Next,
        transport: Transport,
        now: Instant,
        timeout: Duration,
    ) -> Self {
        let deadline = now + timeout;
        Self { expects_proxy, next, transport, deadline, timeout, home: None, is_over: false }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_over && self.home.is_none()).then_some(self.deadline)
    }

    /// # Errors
    /// When the time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        self.is_over = true;
        let what = if self.expects_proxy { "header of the PROXY protocol" } else { "CONNECT" };
        Err(format!("no {what} within {} ms", self.timeout.as_millis()))
    }
}

/// A connection that a shard is about to serve.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) listener: Arc<str>,
    /// What was read of the socket and not served.
    pub(super) input: BytesMut,
    pub(super) opened_at: Timestamp,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// A connection on its way to the shard that serves its client.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(super) arrival: Arrival,
    pub(super) transport: Transport,
}

/// Where a client belongs.
#[derive(Debug, PartialEq, Eq)]
enum Home {
    /// The CONNECT is not whole.
    Unknown,
    /// Any shard will do: the client has no identifier, or the engine will refuse what came.
    Any,
    Of(ShardId),
}

/// Finds the home of the client whose first bytes these are.
fn home_of(input: &[u8], limits: &Limits, shards: u16) -> Home {
    let most = limits.max_handshake_packet_size.min(limits.max_packet_size);
    // What is no CONNECT is refused without waiting for its end.
    if input.first().is_some_and(|first| *first != CONNECT) {
        return Home::Any;
    }
    let packet = match packet_size(input, most) {
        Ok(size) => size.and_then(|size| input.get(..size)),
        Err(_) => return Home::Any,
    };
    let Some(packet) = packet else { return Home::Unknown };
    // A copy: the engine of the home takes the bytes as they came.
    let Ok(Some(packet)) = next_packet(&mut BytesMut::from(packet), most) else { return Home::Any };
    match decode(packet, Version::V5_0, limits) {
        Ok(Packet::Connect(connect)) if !connect.client_id.as_str().is_empty() => {
            Home::Of(home(connect.client_id.as_str(), shards))
        }
        _ => Home::Any,
    }
}

impl Shard {
    /// Takes the header of a proxy and finds the home of a client of MQTT. A protocol that can begin here
    /// gets the rest at once.
    pub(super) fn handle_preface_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        if !self.take_proxy_header(now, key, buffer) {
            return;
        }
        let Some(preface) = self.connections.preface_mut(key) else { return };
        match preface.next {
            Next::Amqp => {
                let client = amqp::Client::new(self.engine_config.clone(), now);
                self.begin_protocol(now, key, Protocol::Amqp(Box::new(client)), buffer);
            }
            Next::Mqtt => self.find_home(now, key, buffer),
        }
    }

    /// Whether what follows a header is next.
    fn take_proxy_header(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) -> bool {
        let Some(preface) = self.connections.preface_mut(key) else { return false };
        if !preface.expects_proxy {
            return !preface.is_over;
        }
        match proxy::parse(buffer) {
            Ok(None) => false,
            Ok(Some(header)) => {
                preface.expects_proxy = false;
                buffer.advance(header.length);
                if let Some((source, connection)) = header.source.zip(self.connections.get_mut(key)) {
                    connection.peer = source;
                    debug!(connection = %self.name_of(key), peer = %source, "behind a proxy");
                }
                true
            }
            Err(error) => {
                preface.is_over = true;
                if self.warnings.is_due(now) {
                    let peer =
                        self.connections.get(key).map(|connection| tracing::field::display(connection.peer));
                    tracing::warn!(connection = %self.name_of(key), peer, %error, "closing");
                }
                false
            }
        }
    }

    fn find_home(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        let shards = u16::try_from(self.shared.mailboxes.len()).unwrap_or(u16::MAX);
        let config = self.mqtt.config.clone();
        let Some(preface) = self.connections.preface_mut(key) else { return };
        let mut closed = None;
        let home = match &mut preface.transport {
            Transport::Plain => home_of(buffer, &config.limits, shards),
            Transport::WebSocket(socket) => {
                closed = socket.receive(buffer).err();
                home_of(socket.input(), &config.limits, shards)
            }
        };
        match home {
            Home::Unknown => {
                preface.is_over |= closed.is_some();
            }
            Home::Of(home) if home != self.id => preface.home = Some(home),
            // A client that has closed its frames already is not worth the way.
            Home::Of(_) | Home::Any => {
                let transport = std::mem::take(&mut preface.transport);
                let client = mqtt::Client::new(config, transport, now);
                self.begin_protocol(now, key, Protocol::Mqtt(Box::new(client)), buffer);
            }
        }
    }

    fn begin_protocol(&mut self, now: Instant, key: usize, protocol: Protocol, buffer: &mut BytesMut) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.protocol = protocol;
        self.handle_input(now, key, buffer);
    }

    /// Hands a connection over to the home of its client; false when it stays.
    pub(super) fn hand_over(&mut self, key: usize) -> bool {
        let Some(home) = self.connections.preface_mut(key).and_then(|preface| preface.home) else {
            return false;
        };
        let Some(connection) = self.connections.try_remove(key) else { return false };
        debug!(connection = %self.connection_name(connection.number), shard = home.0, "handed over");
        self.count_connection_out();
        let Connection { protocol, stream, input, peer, listener, opened_at, bytes_in, bytes_out, .. } =
            *connection;
        let (Protocol::Preface(preface), Ok(stream)) = (protocol, stream.into_std()) else { return true };
        let arrival = Arrival { stream, peer, listener, input, opened_at, bytes_in, bytes_out };
        if let Some(mailbox) = self.shared.mailboxes.get(usize::from(home.shard())) {
            self.shared.count_connection_in(home);
            mailbox.post_adopted(Adopted { arrival, transport: preface.transport });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use mq_mqtt::codec::encode;
    use mq_mqtt::packet::{Connect, Text};

    use super::*;

    fn connect(client_id: &str) -> BytesMut {
        let connect = Connect {
            client_id: Text::new(client_id).expect("an identifier"),
            clean_start: true,
            ..Connect::default()
        };
        let mut bytes = BytesMut::new();
        encode(&mut bytes, &Packet::Connect(Box::new(connect)), Version::V5_0);
        bytes
    }

    #[test]
    fn a_client_belongs_to_the_shard_that_its_identifier_names() {
        let limits = Limits::default();
        for client_id in ["a", "kitchen", "x".repeat(200).as_str()] {
            let mut bytes = connect(client_id);
            assert_eq!(home_of(&bytes, &limits, 7), Home::Of(home(client_id, 7)));
            bytes.extend_from_slice(b"\xc0\0");
            assert_eq!(
                home_of(&bytes, &limits, 7),
                Home::Of(home(client_id, 7)),
                "what follows does not matter"
            );
        }
    }

    #[test]
    fn a_client_without_an_identifier_may_be_anywhere() {
        assert_eq!(home_of(&connect(""), &Limits::default(), 7), Home::Any);
    }

    #[test]
    fn a_connect_in_pieces_is_waited_for() {
        let bytes = connect(&"x".repeat(300));
        for end in 0..bytes.len() {
            assert_eq!(home_of(&bytes[..end], &Limits::default(), 2), Home::Unknown, "{end} bytes");
        }
    }

    #[test]
    fn what_the_engine_refuses_is_not_waited_for() {
        let limits = Limits::default();
        for wrong in
            [&b"GET / HTTP/1.1"[..], b"AMQP\0\x01\0\0", b"\x11", b"\x10\xff\xff\xff\xff", b"\x10\xff\xff\x7f"]
        {
            assert_eq!(home_of(wrong, &limits, 2), Home::Any, "{}", wrong.escape_ascii());
        }
        let most = limits.max_handshake_packet_size as usize;
        assert_eq!(
            home_of(&connect(&"x".repeat(most - 20)), &limits, 2),
            Home::Of(home(&"x".repeat(most - 20), 2))
        );
        assert_eq!(home_of(&connect(&"x".repeat(most - 1))[..10], &limits, 2), Home::Any, "beyond the bound");
    }
}
