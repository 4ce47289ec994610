//! Sessions in a fleet: each is on the node where it began, and every node knows where that is.

use std::sync::Arc;
use std::time::Instant;

use mq_mesh::NodeId;
use mq_model::space::split_qualified;
use tracing::{debug, info};

use super::session::{SessionKey, of_subscription, parse_owner};
use crate::driver::Shard;
use crate::mesh::directory::{Event, Order, Place, Waiter, Who};

/// A durable subscription of a topic whose home is here, of a session that is not. Whether it is still somewhere is
/// known when the node where it began has told all of its sessions, and those that have left it.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) topic: Arc<str>,
    pub(super) name: Arc<str>,
    /// What the session claims of it, when it is shared; otherwise it is the session's own.
    pub(super) claim: Option<Arc<str>>,
}

impl Shard {
    /// Why a client that asks for its session cannot have it here: the session is on another node. Whoever wants
    /// a new one is let in.
    pub(super) fn session_elsewhere(&self, now: Instant, client_id: &str, is_clean: bool) -> Option<String> {
        if self.mqtt.moves.is_leaving(client_id) {
            return Some("the session is on its way to another node; connect again".to_owned());
        }
        let fabric = self.shared.mesh.as_deref().filter(|_| !is_clean)?;
        match fabric.find_session(now, client_id) {
            Place::OutOfReach { node } => Some(format!(
                "the session is on {node}, which cannot be reached; connect again later, or with a clean start"
            )),
            // It has come up, or its node has, since the CONNECT was read.
            Place::At { is_lasting: true, .. } => {
                Some("the session is on another node; connect again".to_owned())
            }
            Place::At { .. } | Place::Here | Place::Leaving | Place::Nowhere => None,
        }
    }

    /// A number for a session that begins now: later than every one of the client that is known of.
    pub(super) fn session_number(&mut self, now: Instant, client_id: &str, is_clean: bool) -> u64 {
        let (mut replaces, mut after) = (is_clean, 0);
        if let Some(fabric) = self.shared.mesh.as_deref() {
            replaces |= matches!(fabric.find_session(now, client_id), Place::At { .. });
            after = fabric.latest_session(client_id);
        }
        self.mqtt.numbers.next_session(self.core.unix(now), after, replaces)
    }

    /// Tells the fleet that a session is here, or that its expiry may have changed. True: the CONNACK of the
    /// connection waits until every node in reach knows, so that the client finds it there.
    pub(super) fn claim_session(&self, now: Instant, session: SessionKey, connection: Option<usize>) -> bool {
        let Some((fabric, session)) = self.shared.mesh.as_deref().zip(self.mqtt.sessions.get(session)) else {
            return false;
        };
        let waiter = connection.and_then(|key| {
            let number = self.connections.get(key)?.number;
            Some(Waiter { shard: self.id.shard(), who: Who::Connection { key, number } })
        });
        fabric.claim_session(now, &session.client_id, session.claim(), waiter)
    }

    /// Tells the fleet that a session has ended.
    pub(super) fn disclaim_session(&self, client_id: &Arc<str>, number: u64) {
        if let Some(fabric) = self.shared.mesh.as_deref() {
            fabric.session_gone(client_id, number);
        }
    }

    /// Tells the fleet of the sessions that a restart has left.
    pub(super) fn claim_recovered(&self, now: Instant) {
        let Some(fabric) = self.shared.mesh.as_deref() else { return };
        let unix = self.core.unix(now);
        for (_, session) in self.mqtt.sessions.iter() {
            if session.expires().is_none_or(|expires| expires > unix) {
                fabric.claim_session(now, &session.client_id, session.claim(), None);
            }
        }
        self.claim_departed(now, fabric);
        fabric.sessions_recovered();
    }

    /// What has become of sessions elsewhere, and what that means for those here.
    pub(crate) fn handle_session_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Known(Waiter { who: Who::Connection { key, number }, .. }) => {
                if self.connections.get(key).is_some_and(|connection| connection.number == number) {
                    self.connect_stored(now, key, Ok(()));
                }
            }
            Event::Known(Waiter { who: Who::Giver { number }, .. }) => self.arrival_known(number),
            Event::Over { client, since } => self.forget_departure(&client, Some(since)),
            Event::End { client, since, order } => self.give_way(now, &client, since, order),
        }
    }

    /// Ends a session whose client has another one on another node, and answers when the disk knows.
    fn give_way(&mut self, now: Instant, client: &str, since: u64, order: Order) {
        if self.mqtt.moves.is_to_end(client, since, order) {
            // It is the other node's, which is told when it has it.
            return;
        }
        let found = self.mqtt.sessions.find(client);
        let session = found.and_then(|key| Some((key, self.mqtt.sessions.get(key)?)));
        let Some((key, session)) = session.filter(|(_, session)| session.number == since) else {
            return self.order_carried_out(order);
        };
        let (space, shown) = split_qualified(client);
        info!(client_id = shown, space, "the session ends: its client has another one on another node");
        if let Some(connection) = session.connection() {
            self.take_over(now, connection, true);
        }
        match self.end_session(now, key) {
            Some(ticket) => self.await_order(ticket, order),
            None => self.order_carried_out(order),
        }
    }

    /// Tells whoever has ordered the end of a session that it has ended.
    pub(super) fn order_carried_out(&self, order: Order) {
        if let Some(fabric) = self.shared.mesh.as_deref() {
            fabric.session_ended(order);
        }
    }

    /// Every node in reach has told its sessions: clients that wait may go on, and subscriptions end whose
    /// session is known to be gone.
    pub(crate) fn handle_sessions_known(&mut self, now: Instant) {
        self.let_held_go_on();
        let Some(fabric) = self.shared.mesh.clone() else { return };
        self.forget_departures_that_are_over(now, &fabric);
        for doubt in std::mem::take(&mut self.mqtt.doubts) {
            let owner = doubt.claim.as_deref().or_else(|| of_subscription(&doubt.name));
            let Some((birth, client)) = owner.and_then(parse_owner) else { continue };
            let begun_on = NodeId::new(&self.config.fleet, birth.node);
            match fabric.session_goes_on(now, begun_on, client, birth.number) {
                Some(true) => {}
                Some(false) => {
                    let Doubt { topic, name, claim } = doubt;
                    debug!(%topic, %name, ?claim, "no session has a use for a subscription any more");
                    self.core.end_durable(now, &topic, &name, claim.as_deref());
                }
                None => self.mqtt.doubts.push(doubt),
            }
        }
    }
}
