//! Clients whose sockets are on one node and whose sessions are on another.
//!
//! On the near side the client's socket is served by a [`Tunnelled`], which understands nothing of what passes.
//! On the home side a connection like any other has a tunnel for a socket. What lies between, and how much of
//! it, is decided in [`crate::mesh::tunnel`].

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;
use mq_core::ShardId;
use mq_model::space::split_qualified;
use tracing::{debug, info};

use super::connection::{Connection, serve};
use super::preface::Arrival;
use super::protocol::{Farewell, Protocol};
use super::socket::{Socket, Unserved};
use super::transport::Transport;
use super::websocket::WebSocket;
use super::{Shard, mqtt};
use crate::mesh::tunnel::{End, Gate, Message, Opening, Outbox, TunnelError, TunnelId, Written};
use crate::shard::Handle;

/// Bytes on their way to a shard at which its tunnels wait: what others have to say is behind them.
const BUSY: usize = 8 << 20;

/// Bytes at which they go on.
const IDLE: usize = 4 << 20;

/// What a client's connection is where its session is not.
#[derive(Debug)]
pub(super) struct Tunnelled {
    end: End,
    /// What it has to say, until the turn ends.
    outbox: Outbox,
    /// The client's identifier inside the fleet.
    client_id: Arc<str>,
    /// Its packets come in frames.
    pub(super) has_frames: bool,
}

impl Tunnelled {
    /// The client's identifier, as it says it.
    pub(super) fn client_id(&self) -> &str {
        split_qualified(&self.client_id).1
    }

    /// What is to be written to the client.
    pub(super) fn incoming(&self) -> &[u8] {
        self.end.incoming()
    }

    /// So many bytes were written to the client.
    pub(super) fn written(&mut self, count: usize) {
        self.end.consume(count, &mut self.outbox);
    }

    /// Whether there is room for what the client sends.
    pub(super) fn may_read(&self) -> bool {
        self.end.may_write()
    }

    /// Whether the home has ended the connection, and the client has all of it.
    pub(super) fn is_done(&self) -> bool {
        self.end.is_drained()
    }

    /// Sends what the client has sent; what has no room stays in the buffer.
    fn take_input(&mut self, buffer: &mut BytesMut) {
        while !buffer.is_empty() {
            match self.end.write(&[IoSlice::new(buffer)], &mut self.outbox) {
                Written::Some(count) => buffer.advance(count),
                Written::Full => break,
                // What it says now nobody hears any more.
                Written::Broken => buffer.clear(),
            }
        }
    }

    fn say_farewell(&mut self, farewell: Farewell, reason: &str) {
        let is_stopping = farewell == Farewell::Stopping;
        let message = Message::Farewell { is_stopping, reason: reason.to_owned() };
        self.outbox.push(self.end.peer(), self.end.id(), &message);
    }
}

/// The tunnels of a shard.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    /// What they have to say to other shards.
    pub(super) outbox: Outbox,
    /// The connections at this end of each.
    keys: HashMap<(ShardId, TunnelId), usize>,
    gates: HashMap<ShardId, Gate>,
    /// The shards whose gates are shut.
    shut: Vec<ShardId>,
    /// The number of the last one that was opened here.
    last: u32,
    /// Connections that nobody reads yet.
    unserved: Vec<usize>,
    /// Clients that wait until it is known where they belong, with the numbers of their connections.
    held: Vec<(usize, u64)>,
}

impl Tunnels {
    /// A name for a tunnel to a shard.
    fn next_id(&mut self, peer: ShardId) -> TunnelId {
        loop {
            self.last = self.last.wrapping_add(1);
            let id = TunnelId { is_near: true, number: self.last };
            if !self.keys.contains_key(&(peer, id)) {
                return id;
            }
        }
    }

    fn gate(&mut self, peer: ShardId) -> Gate {
        self.gates.entry(peer).or_default().clone()
    }

    /// Tells the home of a client that it says nothing more; false when its session is here.
    pub(super) fn end(&mut self, connection: &mut Connection) -> bool {
        let Protocol::Tunnelled(near) = &mut connection.protocol else { return false };
        near.end.end(&mut near.outbox);
        self.collect(connection);
        true
    }

    /// Takes what a connection has to say to its home.
    pub(super) fn collect(&mut self, connection: &mut Connection) {
        if let Protocol::Tunnelled(near) = &mut connection.protocol {
            self.outbox.append(&mut near.outbox);
        }
    }

    /// A connection goes, and the tunnel with it, whichever end it is.
    pub(super) fn close(&mut self, connection: &mut Connection) {
        self.collect(connection);
        let end = match (&mut connection.protocol, &mut connection.socket) {
            (Protocol::Tunnelled(near), _) => &mut near.end,
            (_, Socket::Tunnel(end)) => end,
            _ => return,
        };
        end.close(&mut self.outbox);
        self.keys.remove(&(end.peer(), end.id()));
    }

    /// A client waits until more is known of where it belongs.
    pub(super) fn hold(&mut self, key: usize, number: u64) {
        self.held.push((key, number));
    }
}

/// Begins to serve the connections that have come through tunnels.
pub(crate) fn serve_tunnels(handle: &Handle) {
    let unserved = std::mem::take(&mut handle.shard.borrow_mut().tunnels.unserved);
    for key in unserved {
        serve(handle, Some(key));
    }
}

impl Shard {
    /// Sends what the tunnels have to say.
    pub(super) fn tell_tunnels(&mut self) {
        if self.tunnels.outbox.is_empty() && self.tunnels.shut.is_empty() {
            return;
        }
        let mut outbox = std::mem::take(&mut self.tunnels.outbox);
        let mut told = Vec::new();
        for (peer, message) in outbox.drain() {
            self.send_tunnel(peer, message);
            if !told.contains(&peer) {
                told.push(peer);
            }
        }
        self.tunnels.outbox = outbox;
        for peer in told {
            if self.backlog_to(peer) > BUSY && !self.tunnels.shut.contains(&peer) {
                self.tunnels.gate(peer).set_shut(true);
                self.tunnels.shut.push(peer);
            }
        }
        self.open_gates();
    }

    /// Lets tunnels go on whose channel has little left to carry.
    fn open_gates(&mut self) {
        let shut = std::mem::take(&mut self.tunnels.shut);
        let (open, shut): (Vec<_>, Vec<_>) = shut.into_iter().partition(|peer| self.backlog_to(*peer) < IDLE);
        self.tunnels.shut = shut;
        for peer in open {
            self.tunnels.gate(peer).set_shut(false);
            let keys = self.tunnels.keys.iter().filter(|((to, _), _)| *to == peer).map(|(_, key)| *key);
            for connection in keys.filter_map(|key| self.connections.get(key)) {
                connection.wake();
            }
        }
    }

    /// Gives a connection, whose CONNECT was read and not served, to the home of its client's session.
    pub(super) fn open_tunnel(&mut self, key: usize, peer: ShardId, client_id: Arc<str>) {
        let id = self.tunnels.next_id(peer);
        let end = End::new(id, peer, self.tunnels.gate(peer));
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Preface(preface) = &mut connection.protocol else { return };
        let frames = preface.transport.frames_mut().map(|frames| frames.save());
        let near = Tunnelled { end, outbox: Outbox::default(), client_id, has_frames: frames.is_some() };
        let opening = Opening {
            peer: connection.peer,
            listener: (&*connection.listener).into(),
            is_local: connection.caller.is_local,
            space: connection.caller.listener_space.as_deref().map(Into::into),
            opened_at: connection.caller.opened_at.as_millisecond(),
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            frames,
            encryption: connection.caller.encryption.clone(),
            input: std::mem::take(&mut connection.input).freeze(),
        };
        connection.protocol = Protocol::Tunnelled(Box::new(near));
        // It is read again from here on.
        connection.wake();
        self.tunnels.outbox.push(peer, id, &Message::Open(Box::new(opening)));
        self.tunnels.keys.insert((peer, id), key);
        info!(connection = %self.name_of(key), "its session is on another node");
    }

    /// Feeds the near end of a tunnel.
    pub(super) fn handle_tunnelled_input(&mut self, key: usize, buffer: &mut BytesMut) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Protocol::Tunnelled(near) = &mut connection.protocol {
            near.take_input(buffer);
        }
        self.tunnels.collect(connection);
    }

    /// Asks the home of a client to say good-bye to it; the connection ends when that has.
    pub(super) fn close_tunnelled(&mut self, key: usize, farewell: Farewell, reason: &str) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Protocol::Tunnelled(near) = &mut connection.protocol {
            near.say_farewell(farewell, reason);
        }
        self.tunnels.collect(connection);
    }

    /// Ends a connection whose home has ended it, when the client has all that was said.
    pub(super) fn end_tunnelled(&mut self, now: Instant, key: usize) {
        if self.connections.get(key).is_some_and(|connection| connection.protocol.is_done()) {
            self.start_closing(now, key);
        }
    }

    /// Takes what a shard of another node says of a tunnel.
    ///
    /// # Errors
    /// When it has broken the rules: the channel cannot go on.
    pub(crate) fn handle_tunnel(
        &mut self,
        now: Instant,
        from: ShardId,
        message: Bytes,
    ) -> Result<(), TunnelError> {
        let (id, message) = Message::decode(message)?;
        let key = self.tunnels.keys.get(&(from, id)).copied();
        match (message, key) {
            (Message::Open(opening), None) if !id.is_near => self.accept_tunnel(now, from, id, *opening),
            (Message::Open(_), _) => return Err(TunnelError::Twice(id.number)),
            (Message::Farewell { is_stopping, reason }, Some(key)) => {
                let farewell = if is_stopping { Farewell::Stopping } else { Farewell::Administrative };
                self.dismiss(now, key, farewell, &reason);
            }
            (message, Some(key)) => self.pass_on(key, message)?,
            // This end has gone, and the other does not know yet.
            (_, None) => {}
        }
        Ok(())
    }

    fn pass_on(&mut self, key: usize, message: Message) -> Result<(), TunnelError> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        match (&mut connection.protocol, &mut connection.socket) {
            (Protocol::Tunnelled(near), _) => near.end.handle(message)?,
            (_, Socket::Tunnel(end)) => end.handle(message)?,
            _ => {}
        }
        let is_near = matches!(connection.protocol, Protocol::Tunnelled(_));
        connection.wake();
        if is_near {
            self.mark_dirty(key);
        }
        Ok(())
    }

    /// The node of a client's socket ends the connection.
    fn dismiss(&mut self, now: Instant, key: usize, farewell: Farewell, reason: &str) {
        let is_ours = self.connections.get(key).is_some_and(|connection| {
            matches!(connection.socket, Socket::Tunnel(_)) && !connection.is_forced
        });
        if is_ours {
            self.force_close(now, key, farewell, reason);
        }
    }

    /// A client comes from another node.
    fn accept_tunnel(&mut self, now: Instant, from: ShardId, id: TunnelId, opening: Opening) {
        let Opening {
            peer,
            listener,
            is_local,
            space,
            opened_at,
            bytes_in,
            bytes_out,
            frames,
            encryption,
            input,
        } = opening;
        let transport = match frames.as_deref().map(WebSocket::restore) {
            None => Some(Transport::Plain),
            Some(frames) => frames.map(|frames| Transport::WebSocket(Box::new(frames))),
        };
        let transport = transport.filter(|_| self.is_recovered(now));
        let Some(transport) = transport else {
            debug!(%peer, "a client comes from another node too early, or cannot be read");
            return self.tunnels.outbox.push(from, id, &Message::Close);
        };
        let arrival = Arrival {
            socket: Unserved::Tunnel(Box::new(End::new(id, from, self.tunnels.gate(from)))),
            peer,
            listener: (&*listener).into(),
            is_local,
            space: space.map(Into::into),
            input: BytesMut::from(input),
            opened_at: Timestamp::from_millisecond(opened_at).unwrap_or_else(|_| Timestamp::now()),
            bytes_in,
            bytes_out,
            encryption,
        };
        self.shared.count_connection_in(self.id);
        self.connections_opened += 1;
        let client = mqtt::Client::new(self.mqtt.config.clone(), transport, now);
        let Some(key) = self.admit_connection(arrival, Protocol::Mqtt(Box::new(client))) else { return };
        self.tunnels.keys.insert((from, id), key);
        self.tunnels.unserved.push(key);
        if let Some(mailbox) = self.shared.mailboxes.get(usize::from(self.id.shard())) {
            mailbox.ring();
        }
    }

    /// The channel to a shard has ended: so have the connections that went through it.
    pub(crate) fn tunnels_lost(&mut self, peer: ShardId) {
        self.tunnels.gates.remove(&peer);
        self.tunnels.shut.retain(|shut| *shut != peer);
        let lost = self.tunnels.keys.extract_if(|(to, _), _| *to == peer);
        let lost: Vec<usize> = lost.map(|(_, key)| key).collect();
        for key in lost {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            match (&mut connection.protocol, &mut connection.socket) {
                (Protocol::Tunnelled(near), _) => near.end.break_off(),
                (_, Socket::Tunnel(end)) => end.break_off(),
                _ => {}
            }
            debug!(connection = %self.name_of(key), "the way between the client and its session has broken");
            self.kill(key);
        }
    }

    /// More is known of other nodes: clients that wait may go on.
    pub(crate) fn let_held_go_on(&mut self) {
        for (key, number) in std::mem::take(&mut self.tunnels.held) {
            let is_same = self.connections.get(key).is_some_and(|connection| connection.number == number);
            if let Some(preface) = self.connections.preface_mut(key).filter(|_| is_same) {
                preface.release();
                self.resume_reading(key);
            }
        }
    }
}
