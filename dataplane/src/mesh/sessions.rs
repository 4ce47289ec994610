//! The directory of sessions, as the threads of the node share it.
//!
//! Shards ask it and tell it of their own sessions; the lock is held for that alone. What it has to say to other
//! nodes leaves on the control thread, which alone knows whether a channel is the one that it was.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use mq_core::home;
use mq_mesh::NodeId;
use tracing::{debug, warn};

use super::directory::{Claim, Directory, Event, Order, Place, Waiter};
use super::fabric::{ControlMail, Fabric, MeshMail};
use super::service::NodeEvent;

/// Sessions of the clients of MQTT of the whole fleet.
#[derive(Debug)]
pub(crate) struct Sessions {
    directory: Mutex<Directory>,
    /// The control thread knows that there may be something to send.
    is_rung: AtomicBool,
    /// Shards that have not claimed what was kept over the restart.
    recovering: AtomicUsize,
}

impl Sessions {
    /// Those of a node with so many shards.
    pub(crate) fn new(id: NodeId, shards: u16) -> Self {
        Self {
            directory: Mutex::new(Directory::new(id)),
            is_rung: AtomicBool::new(false),
            recovering: AtomicUsize::new(usize::from(shards)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the shards ask and tell.
impl Fabric {
    /// Where the session of a client is, as far as is known.
    pub(crate) fn find_session(&self, now: Instant, client: &str) -> Place {
        self.sessions.lock().lookup(now, client)
    }

    /// Whether some node in reach has not told all of its sessions yet.
    pub(crate) fn is_learning_sessions(&self) -> bool {
        let view = self.view();
        let directory = self.sessions.lock();
        directory.is_learning() || view.nodes.keys().any(|node| !directory.is_in_reach(*node))
    }

    /// Whether the session of a client that began on a node goes on; see [`Directory::goes_on`].
    pub(crate) fn session_goes_on(
        &self,
        now: Instant,
        begun_on: NodeId,
        client: &str,
        since: Option<u64>,
    ) -> Option<bool> {
        self.sessions.lock().goes_on(now, begun_on, client, since)
    }

    /// Whether a session that was given to a node is over; see [`Directory::is_over`].
    pub(crate) fn is_session_over(&self, now: Instant, at: NodeId, client: &str, since: u64) -> Option<bool> {
        self.sessions.lock().is_over(now, at, client, since)
    }

    /// Whose the session of a client is that another node has; see [`Directory::owner`].
    pub(crate) fn session_owner(&self, now: Instant, client: &str) -> Option<u64> {
        self.sessions.lock().owner(now, client)
    }

    /// When the latest session of a client began that is known of.
    pub(crate) fn latest_session(&self, client: &str) -> u64 {
        self.sessions.lock().latest(client)
    }

    /// A shard has a session, or its expiry has changed; see [`Directory::claim`].
    pub(crate) fn claim_session(
        &self,
        now: Instant,
        client: &Arc<str>,
        claim: Claim,
        waiter: Option<Waiter>,
    ) -> bool {
        let mut directory = self.sessions.lock();
        let waits = directory.claim(now, client, claim, waiter);
        self.finish_sessions(directory);
        waits
    }

    /// A session of a shard is about to be another node's, or stays after all; see [`Directory::set_leaving`].
    pub(crate) fn set_session_leaving(&self, client: &str, since: u64, is_leaving: bool) {
        self.sessions.lock().set_leaving(client, since, is_leaving);
        if !is_leaving {
            // Its client may have waited for what becomes of it.
            self.post_to_all(|| MeshMail::SessionSettled);
        }
    }

    /// A session has left this node; see [`Directory::left`].
    pub(crate) fn session_left(&self, client: &Arc<str>, since: u64, ends: bool) {
        let mut directory = self.sessions.lock();
        directory.left(client, since, ends);
        self.finish_sessions(directory);
        self.post_to_all(|| MeshMail::SessionSettled);
    }

    /// A session of a shard has ended.
    pub(crate) fn session_gone(&self, client: &Arc<str>, since: u64) {
        let mut directory = self.sessions.lock();
        directory.gone(client, since);
        self.finish_sessions(directory);
    }

    /// A shard has done what it was ordered to.
    pub(crate) fn session_ended(&self, order: Order) {
        let mut directory = self.sessions.lock();
        directory.ended(order);
        self.finish_sessions(directory);
    }

    /// A shard has claimed all that was kept over the restart.
    pub(crate) fn sessions_recovered(&self) {
        if self.sessions.recovering.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut directory = self.sessions.lock();
            directory.recovered();
            self.finish_sessions(directory);
            self.post_to_all(|| MeshMail::SessionsKnown);
        }
    }

    /// Tells the shards what they have to do, and the control thread that there may be something to send.
    fn finish_sessions(&self, mut directory: MutexGuard<'_, Directory>) {
        while let Some(event) = directory.poll_event() {
            let shard = match &event {
                Event::End { client, .. } | Event::Over { client, .. } => home(client, self.shards()).shard(),
                Event::Known(waiter) => waiter.shard,
            };
            self.post(shard, MeshMail::Session(event));
        }
        drop(directory);
        if !self.sessions.is_rung.swap(true, Ordering::AcqRel) {
            self.tell(ControlMail::Continue);
        }
    }
}

/// What the control thread does.
impl Fabric {
    /// A node has come into reach, or goes.
    pub(super) fn note_session_event(&self, now: Instant, event: &NodeEvent) {
        let mut directory = self.sessions.lock();
        match event {
            NodeEvent::Opened { node, name } => {
                if let Err(error) = directory.node_up(*node, name) {
                    warn!(node = %name, %error, "the sessions of a node stay unknown");
                }
            }
            NodeEvent::Lost { node } => {
                let was_learning = directory.is_learning();
                directory.node_down(now, *node);
                self.tell_learned(was_learning, &directory);
            }
            NodeEvent::Message { .. } | NodeEvent::Cordoned { .. } | NodeEvent::Emptied { .. } => return,
        }
        self.finish_sessions(directory);
    }

    /// Takes what the directory of another node says. One that cannot be understood counts as out of reach.
    pub(super) fn take_session_message(&self, now: Instant, node: NodeId, message: Bytes) {
        let mut directory = self.sessions.lock();
        let was_learning = directory.is_learning();
        if let Err(error) = directory.handle(now, node, message) {
            warn!(%node, %error, "cannot understand what a node says of its sessions; restart it");
            directory.node_down(now, node);
        }
        self.tell_learned(was_learning, &directory);
        self.finish_sessions(directory);
    }

    /// Clients may wait for this node to hear of all sessions.
    fn tell_learned(&self, was_learning: bool, directory: &Directory) {
        if was_learning && !directory.is_learning() {
            let (own, others) = directory.len();
            debug!(own, others, "every node in reach has told its sessions");
            self.post_to_all(|| MeshMail::SessionsKnown);
        }
    }

    /// The next message to another directory.
    pub(super) fn poll_session_message(&self) -> Option<(NodeId, Bytes)> {
        // Before looking: who adds something afterwards rings again.
        self.sessions.is_rung.store(false, Ordering::Release);
        self.sessions.lock().poll_transmit()
    }

    /// When the directory is to be looked at.
    pub(super) fn session_timeout(&self, now: Instant) -> Option<Instant> {
        self.sessions.lock().poll_timeout(now)
    }

    pub(super) fn handle_session_timeout(&self, now: Instant) {
        let mut directory = self.sessions.lock();
        if directory.poll_timeout(now).is_some_and(|at| at <= now) {
            directory.handle_timeout(now);
            self.finish_sessions(directory);
        }
    }
}
