//! What a shard does with its clients while the node stops.
//!
//! From the beginning on nobody gets credit or a message. Each connection is closed as soon as nothing of it is
//! under way, so that a client that is slow keeps no other one from going elsewhere.

use std::time::{Duration, Instant};

use mq_amqp::performative::Role;
use mq_core::ConsumerKey;

use super::protocol::{Farewell, Protocol};
use super::{Shard, amqp, mqtt};
use crate::driver::connection::Life;
use crate::hub::Departure;
use crate::mesh::Fabric;

/// How long a client has to give back credit before its connection is closed all the same: what it sends
/// meanwhile is served.
const CREDIT_PATIENCE: Duration = Duration::from_millis(100);

/// How long acknowledgements of a client of MQTT may be under way. What it has not acknowledged by then its
/// session sends it again, wherever it connects.
const ACKNOWLEDGEMENT_PATIENCE: Duration = Duration::from_millis(500);

impl Shard {
    /// No producer gets credit from here on, nothing that is kept is handed out, and new links are refused.
    pub(crate) fn start_drain(&mut self, now: Instant) {
        self.draining_since.get_or_insert(now);
        // What is kept for the next run is not handed out any more.
        let stored = self.consumers.0.iter().flatten().filter(|link| link.is_stored);
        let stored: Vec<_> = stored.filter_map(|link| ConsumerKey::from_bits(link.bits)).collect();
        for consumer in stored {
            self.core.set_credit(now, consumer, 0, false);
        }
        self.stop_feeds(now);
        for (_, connection) in self.connections.iter_mut() {
            if let Protocol::Mqtt(client) = &mut connection.protocol {
                client.is_leaving = true;
            }
        }
        self.core.drain(now);
        self.finish_turn(now);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// Whether there are nodes that clients of this one can go to.
    pub(super) fn has_other_nodes(&self) -> bool {
        self.shared.mesh.as_deref().is_some_and(Fabric::has_others)
    }

    /// Closes the connections of which nothing is under way, with a reason, and says what is left.
    pub(crate) fn close_settled(&mut self, now: Instant, reason: &str) -> Departure {
        let since = self.draining_since.unwrap_or(now);
        let waited = now.saturating_duration_since(since);
        let settled = self.connections.iter().filter(|(_, connection)| {
            let is_open = connection.life == Life::Serving && !connection.is_forced;
            is_open && connection.protocol.is_settled(waited)
        });
        for key in settled.map(|(key, _)| key).collect::<Vec<_>>() {
            self.force_close(now, key, Farewell::Stopping, reason);
        }
        self.finish_turn(now);
        let core = self.core.statistics();
        let (held, unanswered) = self.core.owed_to_other_nodes();
        Departure { unsettled: core.unsettled + core.undelivered, held, unanswered }
    }
}

impl Protocol {
    /// Whether nothing is under way with a client that is told to go, so long ago.
    fn is_settled(&self, waited: Duration) -> bool {
        match self {
            Self::Amqp(client) => is_amqp_settled(client, waited),
            Self::Mqtt(client) => is_mqtt_settled(client, waited),
            // The node that has the session ends it in its own time.
            Self::Tunnelled(_) => true,
            // Who has not opened is refused when it does.
            Self::Preface(_) => false,
        }
    }
}

fn is_amqp_settled(client: &amqp::Client, waited: Duration) -> bool {
    let engine = &client.engine;
    let has_credit = || engine.links().any(|link| link.role == Role::Receiver && link.credit > 0);
    engine.is_open()
        && engine.sessions().all(|session| session.unsettled_incoming + session.unsettled_outgoing == 0)
        && (waited >= CREDIT_PATIENCE || !has_credit())
}

fn is_mqtt_settled(client: &mqtt::Client, waited: Duration) -> bool {
    let engine = &client.engine;
    let is_quiet = engine.in_flight() == 0 && engine.pending_acknowledgements() == 0;
    engine.is_open() && (is_quiet || waited >= ACKNOWLEDGEMENT_PATIENCE)
}
