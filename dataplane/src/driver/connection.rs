//! One client's socket: reading, writing, deadlines and the end.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use mq_amqp::frame::HEARTBEAT;
use tracing::{debug, info, warn};

use super::access::Caller;
use super::preface::{Adopted, Arrival, Next, Preface};
use super::protocol::{Farewell, Protocol};
use super::socket::{Socket, Unserved};
use super::transport::Transport;
use super::turns::Place;
use super::websocket::CloseReason;
use super::{LINGER, READ_SIZE, Shard, TIDY_AFTER, mqtt};
use crate::hub::{Accepted, Speaks};
use crate::shard::Handle;
use crate::tls::Stage;

/// Segments of one vectored write.
pub(super) const SLICES: usize = 64;

/// How busy a connection is, for its memory's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Something other than heartbeats has passed since its deadline last came.
    Busy,
    /// Nothing has: unless something does, the next deadline makes it tidy.
    Quiet,
    /// It holds no memory that only a busy connection needs.
    Tidy,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Serving,
    /// The engine is done: the last bytes have to leave before the deadline.
    Closing {
        deadline: Instant,
    },
    /// Our end of the socket is shut: what comes is discarded until the peer's end is shut too, so
    /// that no reset overtakes our last bytes.
    Lingering {
        deadline: Instant,
    },
    Dead,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Unique on the shard: tells a connection from its successor in the slab.
    pub(super) number: u64,
    /// What it speaks.
    pub(super) protocol: Protocol,
    pub(super) socket: Socket,
    waker: Waker,
    pub(super) life: Life,
    /// We have sent a close of our own, and wait for the peer's.
    pub(super) is_forced: bool,
    /// The start of a frame whose rest has not come, or what cannot be served yet.
    pub(super) input: BytesMut,
    /// The socket's buffer is full: its task writes on when there is room.
    wants_write: bool,
    /// Nothing is read until the protocol may go on: its outbox is full, or it has no room for more.
    is_paused: bool,
    /// The peer has shut its end of the socket.
    has_input_ended: bool,
    pub(super) is_dirty: bool,
    /// What it sends counts towards limits.
    pub(super) is_metered: bool,
    /// It waits for its turn to agree on TLS.
    pub(super) is_postponed: bool,
    /// Where it stands among those who want to be served.
    pub(super) place: Place,
    activity: Activity,
    /// The entry of the heap that counts; others are left-overs.
    pub(super) deadline: Option<Instant>,
    pub(super) peer: SocketAddr,
    pub(super) listener: Arc<str>,
    /// What is known of who the client is.
    pub(super) caller: Box<Caller>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Connection {
    fn note_activity(&mut self, bytes: u64) {
        if bytes > HEARTBEAT.len() as u64 {
            self.activity = Activity::Busy;
        }
    }

    /// Whether something has come that was not served.
    pub(super) fn has_unread(&self) -> bool {
        !self.input.is_empty() || self.protocol.has_unserved() || self.socket.has_unread()
    }

    /// The socket has not taken what was to be written.
    fn note_write_error(&mut self, error: &io::Error) {
        if error.kind() == ErrorKind::WouldBlock {
            self.wants_write = true;
        } else {
            debug!(connection = self.number, %error, "writing failed");
            self.life = Life::Dead;
        }
        self.wake();
    }

    /// Whether more is to be read: it is not while the protocol has no room for it, nor while it is not known
    /// who the client is.
    fn may_read(&self) -> bool {
        self.protocol.may_read()
            && !self.is_held_up()
            && !self.caller.login.as_ref().is_some_and(|login| login.is_waiting())
    }

    /// Whether it is not read because its client sends too fast.
    pub(super) fn is_held_up(&self) -> bool {
        self.is_metered && self.caller.resume_at.is_some()
    }

    /// Lets the connection's task run.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}

/// Starts to serve a client whose socket has just been accepted.
pub(crate) fn accept(handle: &Handle, accepted: Accepted) {
    let mut shard = handle.shard.borrow_mut();
    let now = Instant::now();
    shard.connections_opened += 1;
    let Accepted { stream, peer, listener, speaks, expects_proxy, is_local, tls } = accepted;
    let (next, transport, read) = match speaks {
        Speaks::Amqp => (Next::Amqp, Transport::Plain, Bytes::new()),
        Speaks::Mqtt => (Next::Mqtt, Transport::Plain, Bytes::new()),
        Speaks::MqttInFrames { read } => (Next::Mqtt, Transport::WebSocket(Box::default()), read),
    };
    let (socket, terms) = match tls {
        Stage::Plain => (Unserved::Tcp(stream), None),
        Stage::Ahead(terms) => (Unserved::Tcp(stream), Some(terms)),
        Stage::Agreed(session) => (Unserved::Tls(stream, session), None),
    };
    let protocol = if next == Next::Amqp && !expects_proxy && terms.is_none() {
        Protocol::Amqp(Box::new(shard.amqp_client(now, is_local, socket.encryption().as_deref())))
    } else {
        let timeout = Duration::from_millis(shard.config.limits.handshake_timeout_ms.into());
        Protocol::Preface(Box::new(Preface::new(expects_proxy, terms, next, transport, now, timeout)))
    };
    let arrival = Arrival {
        encryption: socket.encryption(),
        space: shard.config.listeners.space(&listener).map(Into::into),
        socket,
        peer,
        listener,
        is_local,
        input: BytesMut::from(read),
        opened_at: Timestamp::now(),
        bytes_in: 0,
        bytes_out: 0,
    };
    let key = shard.admit_connection(arrival, protocol);
    drop(shard);
    serve(handle, key);
}

/// Goes on with a connection that another shard has begun.
pub(crate) fn adopt(handle: &Handle, adopted: Adopted) {
    let mut shard = handle.shard.borrow_mut();
    let Adopted { arrival, transport } = adopted;
    let client = mqtt::Client::new(shard.mqtt.config.clone(), transport, Instant::now());
    let key = shard.admit_connection(arrival, Protocol::Mqtt(Box::new(client)));
    drop(shard);
    serve(handle, key);
}

/// Begins to serve a connection that has been let in.
pub(super) fn serve(handle: &Handle, key: Option<usize>) {
    if let Some(key) = key {
        tokio::task::spawn_local(Serve { handle: handle.clone(), key });
    }
}

impl Shard {
    /// Takes a connection in, which is counted already; `None` when its socket is of no use.
    pub(super) fn admit_connection(&mut self, arrival: Arrival, protocol: Protocol) -> Option<usize> {
        let Arrival {
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
        } = arrival;
        let socket = match socket.serve() {
            Ok(socket) => socket,
            Err(error) => {
                if self.warnings.is_due(Instant::now()) {
                    warn!(%peer, %error, "cannot serve the connection");
                }
                self.count_connection_out();
                return None;
            }
        };
        self.next_number += 1;
        let number = self.next_number;
        debug!(connection = %self.connection_name(number), %peer, "accepted");
        Some(self.connections.insert(Box::new(Connection {
            number,
            protocol,
            socket,
            waker: Waker::noop().clone(),
            life: Life::Serving,
            is_forced: false,
            input,
            wants_write: false,
            // What has been read already is served before the socket is looked at.
            is_paused: true,
            has_input_ended: false,
            is_dirty: false,
            is_metered: false,
            is_postponed: false,
            place: Place::default(),
            // So that its first deadline is the one after which it is looked at, and stays the only one.
            activity: Activity::Busy,
            deadline: None,
            peer,
            listener,
            caller: Box::new(Caller {
                encryption,
                is_local,
                listener_space: space,
                opened_at,
                ..Caller::default()
            }),
            bytes_in,
            bytes_out,
        })))
    }
}

/// The task of a connection: each poll is a turn.
struct Serve {
    handle: Handle,
    key: usize,
}

impl Future for Serve {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.handle.shard.borrow_mut().poll_connection(self.key, context)
    }
}

impl Shard {
    fn poll_connection(&mut self, key: usize, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let Some(connection) = self.connections.get_mut(key) else { return Poll::Ready(()) };
        connection.waker.clone_from(context.waker());
        // Before anything is done for it: what is written to a busy reader is most of what it takes.
        let Some(turn) = self.begin_turn(now, key, context) else { return Poll::Pending };
        self.write_turn(now, key, context);
        self.read_turn(now, key, context);
        if self.hand_over(key) {
            self.finish_turn(now);
            self.end_turn(turn);
            return Poll::Ready(());
        }
        self.arm_connection(now, key);
        self.finish_turn(now);
        self.end_turn(turn);
        if self.connections.get(key).is_some_and(|connection| connection.life == Life::Dead) {
            self.release(now, key);
            self.finish_turn(now);
            self.remove(key);
            if !self.tunnels.outbox.is_empty() {
                self.finish_turn(now);
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Writes what is left from before, when there is room for it.
    fn write_turn(&mut self, now: Instant, key: usize, context: &mut Context<'_>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.wants_write && connection.socket.poll_writable(context) {
            connection.wants_write = false;
            self.mark_dirty(key);
            self.finish_turn(now);
        }
    }

    /// Reads until the socket is dry or the turn is over.
    fn read_turn(&mut self, now: Instant, key: usize, context: &mut Context<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(connection) = self.connections.get_mut(key) {
            let input = std::mem::take(&mut connection.input);
            if !input.is_empty() {
                buffer.reserve(input.len() + READ_SIZE);
                buffer.extend_from_slice(&input);
            }
        }
        let (most_reads, read_size) = self.turns.reads(buffer.len());
        let mut reads = 0;
        while let Some(connection) = self.connections.get_mut(key) {
            if connection.life == Life::Dead || connection.has_input_ended {
                break;
            }
            if connection.life == Life::Serving && !connection.may_read() {
                connection.is_paused = true;
                break;
            }
            if std::mem::take(&mut connection.is_paused) {
                // What came before the pause is served before what comes now.
                self.take_input(now, key, &mut buffer);
                continue;
            }
            if reads == most_reads {
                connection.wake();
                break;
            }
            reads += 1;
            let is_handshaking = connection.socket.is_handshaking();
            if is_handshaking && !self.admit_handshake(now, key) {
                break;
            }
            let began = is_handshaking.then(Instant::now);
            let Some(connection) = self.connections.get_mut(key) else { break };
            let out = &mut self.tunnels.outbox;
            let read = connection.socket.poll_read(context, &mut buffer, read_size, &mut self.cipher, out);
            if connection.socket.wants_write() {
                self.mark_dirty(key);
            }
            if let Some(began) = began {
                self.end_handshake_step(began, key);
            }
            let Some(connection) = self.connections.get_mut(key) else { break };
            match read {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => {
                    connection.has_input_ended = true;
                    self.end_input(now, key);
                }
                Poll::Ready(Ok(count)) => {
                    connection.note_activity(count as u64);
                    connection.bytes_in += count as u64;
                    self.bytes_in += count as u64;
                    self.take_input(now, key, &mut buffer);
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                    self.end_broken_tls(now, key, is_handshaking, &error);
                }
                Poll::Ready(Err(error)) => {
                    debug!(connection = %self.name_of(key), %error, "reading failed");
                    self.kill(key);
                }
            }
        }
        if let Some(connection) = self.connections.get_mut(key)
            && !buffer.is_empty()
        {
            // A copy: the rest of a frame would pin the shard's read buffer.
            connection.input = BytesMut::from(&buffer[..]);
        }
        buffer.clear();
        self.buffer = buffer;
    }

    fn take_input(&mut self, now: Instant, key: usize, buffer: &mut BytesMut) {
        // Between reading and serving: who sent this may have heard of what waits.
        self.take_waiting_mail(now);
        let Some(connection) = self.connections.get(key) else { return };
        if connection.life != Life::Serving {
            buffer.clear();
            return;
        }
        self.handle_input(now, key, buffer);
        self.mark_dirty(key);
        if self.connections.get(key).is_some_and(|connection| connection.protocol.is_done()) {
            buffer.clear();
            self.start_closing(now, key);
        }
    }

    /// A client has broken the rules of TLS, or shown a certificate of no use. It has been told, as far as TLS
    /// can tell.
    fn end_broken_tls(&mut self, now: Instant, key: usize, is_handshaking: bool, error: &io::Error) {
        if is_handshaking {
            self.handshakes.statistics.failed += 1;
        }
        let what = if is_handshaking { "no TLS came about" } else { "TLS broke" };
        if self.warnings.is_due(now) {
            let peer = self.connections.get(key).map(|connection| tracing::field::display(connection.peer));
            info!(connection = %self.name_of(key), peer, %error, "{what}");
        }
        self.start_closing(now, key);
    }

    /// The peer has shut its end: it may still read what it is owed, its close answered among it.
    fn end_input(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.life {
            Life::Serving => {
                if self.tunnels.end(connection) {
                    // Its home hears of it, and says what it still has to say.
                    return;
                }
                debug!(connection = %self.name_of(key), "the client left without a close");
                self.start_closing(now, key);
            }
            Life::Closing { .. } => self.mark_dirty(key),
            Life::Lingering { .. } | Life::Dead => self.kill(key),
        }
    }

    /// Writes what a connection has to write, and lets the core fill its lanes up again.
    pub(super) fn flush_connection(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_dirty = false;
        connection.protocol.flush(now);
        let before = connection.bytes_out;
        while !connection.wants_write && connection.life != Life::Dead {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = connection.protocol.slices(&mut slices);
            if used == 0 {
                if !connection.socket.wants_write() {
                    break;
                }
                // What was taken before, and what TLS has to say itself.
                if let Err(error) = connection.socket.flush() {
                    connection.note_write_error(&error);
                }
                continue;
            }
            match connection.socket.try_write(&slices[..used], &mut self.tunnels.outbox) {
                Ok(count) => {
                    connection.protocol.written(now, count);
                    connection.bytes_out += count as u64;
                }
                Err(error) => connection.note_write_error(&error),
            }
        }
        let written = connection.bytes_out - before;
        connection.note_activity(written);
        self.bytes_out += written;
        if connection.is_paused && connection.may_read() {
            connection.wake();
        }
        self.tunnels.collect(connection);
        self.refill(now, key);
        self.advance_life(now, key);
        self.arm_connection(now, key);
    }

    /// The steps of a close, each when the one before is done.
    fn advance_life(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if matches!(connection.life, Life::Closing { .. })
            && connection.protocol.buffered() == 0
            && !connection.wants_write
        {
            match connection.socket.say_goodbye() {
                Ok(()) => {}
                Err(error) => return connection.note_write_error(&error),
            }
            if connection.has_input_ended {
                // Nothing that has not been read is left to reset the connection.
                return self.kill(key);
            }
            connection.life = match connection.socket.shut(&mut self.tunnels.outbox) {
                Ok(()) => Life::Lingering { deadline: now + LINGER },
                Err(_) => Life::Dead,
            };
            connection.wake();
        }
    }

    pub(super) fn start_closing(&mut self, now: Instant, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.life == Life::Serving
        {
            connection.life = Life::Closing { deadline: now + LINGER };
            self.handshakes.forget((key, connection.number));
            self.release(now, key);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.protocol.end(now, CloseReason::Normal);
            }
            self.mark_dirty(key);
        }
    }

    pub(super) fn kill(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.life = Life::Dead;
            connection.wake();
        }
    }

    /// Asks the heap for the connection's next deadline when it comes before the one it knows.
    fn arm_connection(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let next = match connection.life {
            Life::Serving => {
                let tidy = (connection.activity != Activity::Tidy).then(|| now + TIDY_AFTER);
                let resume = connection.caller.resume_at;
                connection.protocol.poll_timeout().into_iter().chain(tidy).chain(resume).min()
            }
            Life::Closing { deadline } | Life::Lingering { deadline } => Some(deadline),
            Life::Dead => None,
        };
        let Some(next) = next else { return };
        if connection.deadline.is_none_or(|deadline| next < deadline) {
            connection.deadline = Some(next);
            self.deadlines.push(std::cmp::Reverse((next, key, connection.number)));
        }
    }

    pub(super) fn handle_connection_timeout(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.deadline = None;
        match connection.life {
            // Not a sign that it is quiet.
            Life::Serving if connection.caller.resume_at.is_some() => {
                if connection.caller.resume_at.is_some_and(|at| at <= now) {
                    self.end_pause(now, key);
                }
                self.time_out(now, key);
            }
            Life::Serving => self.tidy_or_time_out(now, key),
            Life::Closing { deadline } | Life::Lingering { deadline } if now >= deadline => self.kill(key),
            Life::Closing { .. } | Life::Lingering { .. } | Life::Dead => {}
        }
        self.arm_connection(now, key);
    }

    fn tidy_or_time_out(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.activity = match connection.activity {
            Activity::Busy => Activity::Quiet,
            Activity::Quiet | Activity::Tidy => {
                connection.protocol.shrink();
                Activity::Tidy
            }
        };
        self.time_out(now, key);
    }

    fn time_out(&mut self, now: Instant, key: usize) {
        self.excuse_silence(now, key);
        match self.handle_protocol_timeout(now, key) {
            Ok(()) => {
                if self.connections.get(key).is_some_and(|connection| connection.protocol.buffered() > 0) {
                    self.mark_dirty(key);
                }
            }
            Err(error) => {
                info!(connection = %self.name_of(key), %error, "closing");
                self.start_closing(now, key);
            }
        }
    }

    /// A client of MQTT is not silent when it is we who do not read.
    fn excuse_silence(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_paused && connection.has_unread() {
            if connection.is_held_up() {
                connection.protocol.excuse_wait(now);
            }
            connection.protocol.excuse_silence(now);
        }
    }

    /// The protocol has room for input again.
    pub(super) fn resume_reading(&self, key: usize) {
        if let Some(connection) = self.connections.get(key)
            && connection.is_paused
            && connection.may_read()
        {
            connection.wake();
        }
    }

    /// What a connection waited for is there: what it has read meanwhile is served, or it ends.
    pub(super) fn go_on(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_paused = true;
        if connection.protocol.is_done() {
            self.start_closing(now, key);
        }
        self.resume_reading(key);
    }

    /// Closes a connection for a reason of ours.
    pub(super) fn force_close(&mut self, now: Instant, key: usize, farewell: Farewell, reason: &str) {
        self.say_farewell(now, key, farewell, reason);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.is_forced = true;
        let is_done = connection.protocol.is_done();
        self.release(now, key);
        self.mark_dirty(key);
        if is_done {
            self.start_closing(now, key);
        }
    }

    fn remove(&mut self, key: usize) {
        if let Some(mut connection) = self.connections.try_remove(key) {
            self.tunnels.close(&mut connection);
            self.turns.leave(&mut connection.place);
            self.handshakes.forget((key, connection.number));
            let name = self.connection_name(connection.number);
            if let Protocol::Amqp(client) = &connection.protocol
                && let Some(outward) = &client.outward
            {
                outward.gone();
            }
            info!(connection = %name, container = %connection.protocol.peer_name(), "closed");
            self.count_connection_out();
        }
    }

    /// The name of a connection, unique on the node.
    pub(super) fn connection_name(&self, number: u64) -> String {
        format!("c{}-{number}", self.id.0)
    }

    pub(super) fn name_of(&self, key: usize) -> String {
        self.connections
            .get(key)
            .map_or_else(String::new, |connection| self.connection_name(connection.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What twenty thousand idle clients take beside what the runtime takes for their sockets and tasks.
    #[test]
    fn the_parts_of_a_connection_are_small() {
        assert!(size_of::<Connection>() <= 240, "{}", size_of::<Connection>());
        assert!(size_of::<mqtt::Client>() <= 496, "{}", size_of::<mqtt::Client>());
    }
}
