//! The beginning of a connection, before its protocol has the word: the header of a proxy, TLS, and for MQTT the
//! bytes up to a whole CONNECT, whose client identifier says which shard serves the client: one of this node, or,
//! when its session is there, of another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use jiff::Timestamp;
use mq_core::{ShardId, home};
use mq_mqtt::codec::{decode, next_packet, packet_size};
use mq_mqtt::packet::{Connect, Packet};
use mq_mqtt::{Limits, Version};
use tracing::debug;

use super::access::Caller;
use super::connection::Connection;
use super::protocol::Protocol;
use super::socket::Unserved;
use super::transport::Transport;
use super::{Shard, mqtt, proxy};
use crate::mesh::directory::Place;
use crate::tls::{Encryption, Terms};

/// How long a client waits at most that asks for its session while nodes in reach have not told all of theirs,
/// or that is to go to one whose channels have not opened. Then it is let in, or refused by what is known.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first byte of a CONNECT (3.1.1).
const CONNECT: u8 = 0x10;

/// The first byte of TLS: the content type of a handshake (RFC 8446, 5.1). AMQP begins with `A`, HTTP with a
/// letter, MQTT with 0x10.
const TLS_HANDSHAKE: u8 = 0x16;

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
    /// Whether TLS comes next is not known, or it does.
    tls: Option<Box<Terms>>,
    pub(super) next: Next,
    pub(super) transport: Transport,
    /// When it has to be through.
    deadline: Instant,
    timeout: Duration,
    /// Where it goes on, when that is elsewhere.
    way: Option<Way>,
    /// It waits until more is known of where it belongs, or until then.
    held_until: Option<Instant>,
    is_held: bool,
    /// It is refused: nothing more is read.
    pub(super) is_over: bool,
}

impl Preface {
    pub(super) fn new(
        expects_proxy: bool,
        tls: Option<Terms>,
        next: Next,
        transport: Transport,
        now: Instant,
        timeout: Duration,
    ) -> Self {
        let deadline = now + timeout;
        Self {
            expects_proxy,
            tls: tls.map(Box::new),
            next,
            transport,
            deadline,
            timeout,
            way: None,
            held_until: None,
            is_held: false,
            is_over: false,
        }
    }

    /// Whether more is to be read of it.
    pub(super) fn may_read(&self) -> bool {
        self.way.is_none() && !self.is_held
    }

    /// More is known of where it belongs.
    pub(super) fn release(&mut self) {
        self.is_held = false;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_held {
            return self.held_until;
        }
        (!self.is_over && self.way.is_none()).then_some(self.deadline)
    }

    /// # Errors
    /// When the time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if std::mem::take(&mut self.is_held) {
            return Ok(());
        }
        self.is_over = true;
        let what = match self.next {
            _ if self.expects_proxy => "header of the PROXY protocol",
            _ if self.tls.as_ref().is_some_and(|terms| !terms.is_optional) => "TLS",
            Next::Amqp => "protocol header of AMQP",
            Next::Mqtt => "CONNECT",
        };
        Err(format!("no {what} within {} ms", self.timeout.as_millis()))
    }
}

/// A connection that a shard is about to serve.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: Unserved,
    pub(super) peer: SocketAddr,
    pub(super) listener: Arc<str>,
    /// The client is on the machine of the node that has accepted it.
    pub(super) is_local: bool,
    /// The space that the listener is for.
    pub(super) space: Option<Arc<str>>,
    /// What was read of the socket and not served.
    pub(super) input: BytesMut,
    pub(super) opened_at: Timestamp,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// What TLS has agreed on.
    pub(super) encryption: Option<Arc<Encryption>>,
}

/// A connection on its way to the shard that serves its client.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(super) arrival: Arrival,
    pub(super) transport: Transport,
}

/// Where a connection goes on whose CONNECT was read here.
#[derive(Debug)]
enum Way {
    /// On another shard of this node.
    Shard(ShardId),
    /// Through a tunnel to a shard of another one.
    Tunnel { peer: ShardId, client_id: Arc<str> },
}

/// Where a client belongs.
#[derive(Debug)]
enum Belongs {
    /// To a shard of this node.
    To(ShardId),
    Elsewhere(Way),
    /// That is known in a moment.
    Undecided,
}

/// Who a client is.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    /// The CONNECT is not whole.
    Unknown,
    /// It has no identifier, or the engine will refuse what came: any shard will do.
    Anyone,
    Client(Box<Connect>),
}

/// Finds who says to be the client whose first bytes these are.
fn who_is(input: &[u8], limits: &Limits) -> Who {
    let most = limits.max_handshake_packet_size.min(limits.max_packet_size);
    // What is no CONNECT is refused without waiting for its end.
    if input.first().is_some_and(|first| *first != CONNECT) {
        return Who::Anyone;
    }
    let packet = match packet_size(input, most) {
        Ok(size) => size.and_then(|size| input.get(..size)),
        Err(_) => return Who::Anyone,
    };
    let Some(packet) = packet else { return Who::Unknown };
    // A copy: the engine of the home takes the bytes as they came.
    let Ok(Some(packet)) = next_packet(&mut BytesMut::from(packet), most) else { return Who::Anyone };
    match decode(packet, Version::V5_0, limits) {
        Ok(Packet::Connect(connect)) if !connect.client_id.as_str().is_empty() => Who::Client(connect),
        _ => Who::Anyone,
    }
}

impl Shard {
    /// Takes the header of a proxy and finds the home of a client of MQTT. A protocol that can begin here
    /// gets the rest at once.
    pub(super) fn handle_preface_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        if !self.take_proxy_header(now, key, buffer) || !self.begin_tls(now, key, buffer) {
            return;
        }
        let Some(preface) = self.connections.preface_mut(key) else { return };
        match preface.next {
            Next::Amqp => {
                let Some(connection) = self.connections.get(key) else { return };
                let (is_local, encryption) =
                    (connection.caller.is_local, connection.caller.encryption.clone());
                let client = self.amqp_client(now, is_local, encryption.as_deref());
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

    /// Whether what a protocol says is next. When TLS is, the socket goes on with it, and what was read of it
    /// already is read again.
    fn begin_tls(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let Protocol::Preface(preface) = &mut connection.protocol else { return false };
        // TLS itself is agreed on before anything above it is heard.
        if connection.socket.is_handshaking() {
            return false;
        }
        let Some((terms, first)) = preface.tls.as_deref().zip(buffer.first()) else {
            return preface.tls.is_none();
        };
        if *first != TLS_HANDSHAKE {
            if terms.is_optional {
                preface.tls = None;
                return true;
            }
            preface.is_over = true;
            self.warn_of_plain(now, key);
            return false;
        }
        match terms.begin() {
            Ok(session) => {
                // A copy: what is read later would pin the shard's read buffer.
                let session = session.with_early(BytesMut::from(&buffer[..]));
                buffer.clear();
                preface.tls = None;
                connection.socket.begin_tls(session);
            }
            Err(error) => {
                preface.is_over = true;
                debug!(connection = %self.name_of(key), %error, "TLS cannot begin");
            }
        }
        false
    }

    fn warn_of_plain(&mut self, now: Instant, key: usize) {
        self.handshakes.statistics.failed += 1;
        if self.warnings.is_due(now)
            && let Some(connection) = self.connections.get(key)
        {
            let (peer, listener) = (connection.peer, &connection.listener);
            tracing::warn!(%peer, %listener, "closing a connection that does not begin with TLS");
        }
    }

    fn find_home(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        let config = self.mqtt.config.clone();
        let Some(preface) = self.connections.preface_mut(key) else { return };
        let mut closed = None;
        let who = match &mut preface.transport {
            Transport::Plain => who_is(buffer, &config.limits),
            Transport::WebSocket(socket) => {
                closed = socket.receive(buffer).err();
                who_is(socket.input(), &config.limits)
            }
        };
        let belongs = match who {
            Who::Unknown => {
                preface.is_over |= closed.is_some();
                return;
            }
            Who::Anyone => Belongs::To(self.id),
            Who::Client(connect) => {
                let is_patient = preface.held_until.is_none_or(|until| now < until);
                match self.space_of_connect(key, &connect) {
                    Some(space) => {
                        let id = space.inside(connect.client_id.as_str());
                        self.place_of(now, &id, connect.clean_start, is_patient)
                    }
                    // It is not let in, wherever.
                    None => Belongs::To(self.id),
                }
            }
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Preface(preface) = &mut connection.protocol else { return };
        match belongs {
            Belongs::To(home) if home == self.id => {
                let transport = std::mem::take(&mut preface.transport);
                let client = mqtt::Client::new(config, transport, now);
                self.begin_protocol(now, key, Protocol::Mqtt(Box::new(client)), buffer);
            }
            Belongs::To(home) => preface.way = Some(Way::Shard(home)),
            Belongs::Elsewhere(way) => preface.way = Some(way),
            Belongs::Undecided => {
                preface.held_until.get_or_insert(now + PATIENCE);
                preface.is_held = true;
                self.tunnels.hold(key, connection.number);
            }
        }
    }

    /// Where a client belongs, by its identifier inside the fleet. Whoever wants a new session, or has one elsewhere that ends with its connection,
    /// gets it here, unless the node is being emptied: the other is ended then.
    fn place_of(&self, now: Instant, client_id: &str, is_clean: bool, is_patient: bool) -> Belongs {
        let shards = u16::try_from(self.shared.mailboxes.len()).unwrap_or(u16::MAX);
        let home = home(client_id, shards);
        let here = Belongs::To(home);
        let Some(fabric) = self.shared.mesh.as_deref().filter(|_| !self.is_draining()) else { return here };
        let wait = |otherwise| if is_patient { Belongs::Undecided } else { otherwise };
        let through = |node| {
            let peer = self.session_home(node, client_id)?;
            Some(Belongs::Elsewhere(Way::Tunnel { peer, client_id: client_id.into() }))
        };
        // A node that is being emptied begins no session, where it has the choice.
        let begin = || fabric.refuge(client_id).and_then(through).unwrap_or(Belongs::To(home));
        match fabric.find_session(now, client_id) {
            // It knows best what becomes of it.
            Place::Here => here,
            Place::Leaving => wait(here),
            _ if is_clean => begin(),
            Place::At { node, is_lasting: true } => through(node).unwrap_or_else(|| wait(here)),
            Place::Nowhere | Place::OutOfReach { .. } if fabric.is_learning_sessions() => wait(here),
            // Out of reach: where the session would be it is refused.
            Place::OutOfReach { .. } => here,
            Place::Nowhere | Place::At { .. } => begin(),
        }
    }

    fn begin_protocol(&mut self, now: Instant, key: usize, protocol: Protocol, buffer: &mut BytesMut) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.protocol = protocol;
        self.handle_input(now, key, buffer);
    }

    /// Hands a connection over to the home of its client; false when it stays.
    pub(super) fn hand_over(&mut self, key: usize) -> bool {
        let Some(way) = self.connections.preface_mut(key).and_then(|preface| preface.way.take()) else {
            return false;
        };
        let home = match way {
            Way::Shard(home) => home,
            Way::Tunnel { peer, client_id } => {
                self.open_tunnel(key, peer, client_id);
                return false;
            }
        };
        let Some(mut connection) = self.connections.try_remove(key) else { return false };
        self.turns.leave(&mut connection.place);
        debug!(connection = %self.connection_name(connection.number), shard = home.0, "handed over");
        self.count_connection_out();
        let Connection { protocol, socket, input, peer, listener, bytes_in, bytes_out, caller, .. } =
            *connection;
        let Caller { encryption, is_local, listener_space: space, opened_at, .. } = *caller;
        let (Protocol::Preface(preface), Ok(socket)) = (protocol, socket.leave()) else { return true };
        let arrival = Arrival {
            socket,
            peer,
            listener,
            is_local,
            space,
            input,
            opened_at,
            bytes_in,
            bytes_out,
            encryption,
        };
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
    use mq_mqtt::packet::Text;

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

    fn id_of(who: &Who) -> &str {
        let Who::Client(connect) = who else { panic!("no client: {who:?}") };
        connect.client_id.as_str()
    }

    #[test]
    fn a_client_is_known_by_its_whole_connect_whatever_follows() {
        let limits = Limits::default();
        for client_id in ["a", "kitchen", "x".repeat(200).as_str()] {
            let mut bytes = connect(client_id);
            assert_eq!(id_of(&who_is(&bytes, &limits)), client_id);
            bytes.extend_from_slice(b"\xc0\0");
            assert_eq!(id_of(&who_is(&bytes, &limits)), client_id);
        }
    }

    #[test]
    fn a_client_without_an_identifier_may_be_anywhere() {
        assert_eq!(who_is(&connect(""), &Limits::default()), Who::Anyone);
    }

    #[test]
    fn a_connect_in_pieces_is_waited_for() {
        let bytes = connect(&"x".repeat(300));
        for end in 0..bytes.len() {
            assert_eq!(who_is(&bytes[..end], &Limits::default()), Who::Unknown, "{end} bytes");
        }
    }

    #[test]
    fn what_the_engine_refuses_is_not_waited_for() {
        let limits = Limits::default();
        for wrong in
            [&b"GET / HTTP/1.1"[..], b"AMQP\0\x01\0\0", b"\x11", b"\x10\xff\xff\xff\xff", b"\x10\xff\xff\x7f"]
        {
            assert_eq!(who_is(wrong, &limits), Who::Anyone, "{}", wrong.escape_ascii());
        }
        let most = limits.max_handshake_packet_size as usize;
        assert_eq!(id_of(&who_is(&connect(&"x".repeat(most - 20)), &limits)), "x".repeat(most - 20));
        assert_eq!(who_is(&connect(&"x".repeat(most - 1))[..10], &limits), Who::Anyone, "beyond the bound");
    }
}
