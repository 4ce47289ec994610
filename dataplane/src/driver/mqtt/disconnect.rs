//! A connection ends, and maybe its session (3.14, 4.1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use mq_core::Ticket;
use mq_mqtt::ReasonCode;
use mq_mqtt::packet::Disconnect;
use tracing::debug;

use super::Shard;
use super::session::{Presence, Session, SessionKey, reaches};
use super::will::{End, Fate};

impl Shard {
    /// The client says good-bye (3.14): with 0x00 it wants its will forgotten, and it may change how long
    /// its session outlives the connection.
    pub(super) fn handle_disconnect(&mut self, now: Instant, key: usize, packet: &Disconnect) {
        let longest = self.config.mqtt.session_expiry_max;
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        client.end = if packet.reason == ReasonCode::Success { End::Normal } else { End::Unclean };
        debug!(reason = %packet.reason, "the client says good-bye");
        if let Some(expiry) = packet.properties.view().session_expiry_interval()
            && let Some(session) = client.session.and_then(|session| self.mqtt.sessions.get_mut(session))
        {
            session.expiry = expiry.min(longest);
        }
        self.end_connection(now, key);
    }

    /// The connection is over, whatever ended it: its session is away from now on, or over, too. Called
    /// again for a connection that has no session any more, it does nothing.
    pub(super) fn end_connection(&mut self, now: Instant, key: usize) {
        let is_stopping = self.is_draining();
        let Some(key) = self.leave_session(now, key) else { return };
        let Some(session) = self.mqtt.sessions.get_mut(key) else { return };
        if session.outlives_connection() {
            // Its client may have said for how long.
            self.claim_session(now, key, None);
            return self.keep_away(key);
        }
        if is_stopping {
            // The next run publishes it: here nobody would be left to get it.
            session.will = None;
        }
        self.end_session(now, key);
    }

    /// Parts a connection from its session and decides about its will. The session is away then.
    pub(super) fn leave_session(&mut self, now: Instant, key: usize) -> Option<SessionKey> {
        let client = self.connections.mqtt_mut(key)?;
        let (session, end) = (client.session?, client.end);
        // A client that was never let in has started nothing, and nobody waits for its last words.
        let was_let_in = client.connecting.take().is_none();
        if was_let_in {
            self.stop_messages(now, key);
        }
        let client = self.connections.mqtt_mut(key)?;
        client.session = None;
        let unix = self.core.unix(now);
        self.mqtt.sessions.set_presence(session, Presence::Away(unix));
        self.decide_will(now, session, if was_let_in { end } else { End::Normal });
        Some(session)
    }

    /// The client comes back, or another with its name: what becomes of the will that has waited.
    pub(super) fn end_absence(&mut self, now: Instant, session: SessionKey, is_clean: bool) {
        self.decide_will(now, session, End::TakenOver { is_clean });
    }

    /// Publishes the will of a session that is away, forgets it, or leaves it for later.
    fn decide_will(&mut self, now: Instant, key: SessionKey, end: End) {
        let unix = self.core.unix(now);
        // What is published while the node stops reaches nobody.
        let end = if self.is_draining() && end != End::Normal { End::Stopping } else { end };
        let Some(session) = self.mqtt.sessions.get_mut(key) else { return };
        let Presence::Away(since) = session.presence else { return };
        let Some(mut will) = session.will.take() else { return };
        let client_id = session.client_id.clone();
        match will.fate(end, since, unix, session.expiry) {
            Fate::Publish => self.publish_will(now, &client_id, *will),
            Fate::Drop => self.forget_will(&client_id, will.number),
            Fate::Wait(due) => {
                will.record.due = Some(due);
                self.keep_will(&client_id, &will);
                if let Some(session) = self.mqtt.sessions.get_mut(key) {
                    session.will = Some(will);
                }
            }
        }
        self.mqtt.sessions.arm(key);
    }

    /// Ends a session, and its connection if it has one: nothing remains but a will on its way. Gives the
    /// ticket of its removal from the disk, when that knows it.
    pub(super) fn end_session(&mut self, now: Instant, key: SessionKey) -> Option<Ticket> {
        if let Some(connection) = self.mqtt.sessions.get(key).and_then(Session::connection) {
            let words = "the session was ended";
            self.disconnect_mqtt(connection, ReasonCode::AdministrativeAction, words, End::Unclean);
            self.leave_session(now, connection);
            self.start_closing(now, connection);
        }
        if let Some(session) = self.mqtt.sessions.get(key)
            && let Presence::Leaving(since) = session.presence
        {
            let client_id = session.client_id.clone();
            self.mqtt.moves.withdraw(&client_id);
            self.mqtt.sessions.set_presence(key, Presence::Away(since));
        }
        // Of a session that ends the will is published, however long it was to wait (3.1.3.2.2).
        self.decide_will(now, key, End::TakenOver { is_clean: true });
        self.note_late_objects(key);
        self.end_messages(now, key);
        let session = self.mqtt.sessions.remove(key)?;
        self.disclaim_session(&session.client_id, session.number);
        session.is_recorded.then(|| self.forget_record(&session.client_id))
    }

    /// An address has come, has changed, or is gone: sessions with a filter that reaches it look where
    /// their messages come from now. Of very many some do so later.
    pub(crate) fn address_changed(&mut self, now: Instant, address: &str) {
        self.mqtt.errands.push_back((address.into(), 0));
        if self.mqtt.errands.len() == 1 {
            self.look_at_addresses(now);
        }
        if !self.mqtt.errands.is_empty() {
            // The rest is for a turn of its own.
            self.mqtt.resume_at.get_or_insert(now);
        }
    }

    /// Shards of other nodes can be reached: sessions begin again what they could not have without.
    pub(crate) fn homes_are_back(&mut self, now: Instant) {
        for address in std::mem::take(&mut self.mqtt.out_of_reach) {
            self.address_changed(now, &address);
        }
    }

    /// Has a session look again in a moment where its messages of a topic come from.
    pub(super) fn begin_again_soon(&mut self, now: Instant, session: SessionKey, topic: Arc<str>) {
        self.mqtt.occupied.push((session, topic));
        self.mqtt.resume_at.get_or_insert(now + WHILE_OCCUPIED);
    }

    /// Goes on with the first address that has changed, for so many sessions as one turn has time for.
    fn look_at_addresses(&mut self, now: Instant) {
        let Some((address, from)) = self.mqtt.errands.front_mut() else { return };
        let (address, from): (Arc<str>, usize) =
            (address.clone(), std::mem::replace(from, *from + SESSIONS_PER_TURN));
        let is_reached = |session: &Session| {
            let mut subscriptions = session.subscriptions.iter().flatten();
            subscriptions.any(|subscription| reaches(subscription.topic_filter(), &address))
        };
        let sessions = self.mqtt.sessions.range(from, SESSIONS_PER_TURN);
        let sessions = sessions.filter(|(_, session)| is_reached(session));
        let sessions: Vec<SessionKey> = sessions.map(|(key, _)| key).collect();
        if from + SESSIONS_PER_TURN >= self.mqtt.sessions.slots() {
            self.mqtt.errands.pop_front();
        }
        for session in sessions {
            self.topic_changed(now, session, &address);
        }
    }

    /// What is due by the time of day: wills that have waited, sessions whose time is over; and what a turn
    /// before had no time for.
    pub(crate) fn handle_mqtt_deadlines(&mut self, now: Instant) {
        if !self.is_recovered(now) || self.is_draining() {
            return;
        }
        self.mqtt.resume_at = None;
        self.publish_postponed(now);
        self.look_at_addresses(now);
        for (session, topic) in std::mem::take(&mut self.mqtt.occupied) {
            self.topic_changed(now, session, &topic);
        }
        let unix = self.core.unix(now);
        for _ in 0..ENDS_PER_TURN {
            let Some(key) = self.mqtt.sessions.due(unix) else { break };
            let Some(session) = self.mqtt.sessions.get(key) else { break };
            if session.expires().is_some_and(|expires| expires <= unix) {
                debug!(client_id = session.shown_id(), space = session.space(), "the session has expired");
                self.mqtt.counters.expired += 1;
                self.end_session(now, key);
            } else {
                self.decide_will(now, key, End::Unclean);
                self.mqtt.sessions.arm(key);
            }
        }
        if !self.mqtt.errands.is_empty() || self.mqtt.sessions.due(unix).is_some() {
            // The others get their turn in between.
            self.mqtt.resume_at = Some(now + BREATH);
        }
    }
}

/// Sessions that are looked at in one turn when an address has changed.
const SESSIONS_PER_TURN: usize = 4_096;

/// Sessions that end in one turn, or wills.
const ENDS_PER_TURN: usize = 256;

/// How long the other connections of a shard have before it goes on.
const BREATH: Duration = Duration::from_millis(1);
/// How long a session waits before it asks again for a subscription of its own that has another consumer.
const WHILE_OCCUPIED: Duration = Duration::from_millis(20);
