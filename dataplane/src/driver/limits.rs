//! What clients take of what is limited, and how fast they may send.
//!
//! A client is counted from when it is known who it is, and what it begins from when it begins it. Whoever sends
//! too fast is not read for a moment, so that his socket slows him down; a producer of AMQP gets so little credit
//! beforehand that he has not much to send into that moment, and what else is said on the connection comes through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mq_amqp::performative::{Error, Role};
use mq_amqp::{LinkKey, SessionKey, condition};
use mq_core::{Outcome, Owner, ProducerKey};
use tracing::{debug, info};

use super::Shard;
use super::amqp::Client;
use super::attach::refusal;
use super::mqtt::SessionToken;
use super::protocol::Protocol;
use crate::usage::{Account, Exceeded, Held, LONGEST_DEBT, Limit, Pass};

/// How long a client is not read whose messages are refused because too many are sent.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The part of a second for which a producer gets credit where messages have a rate.
const CREDIT_PARTS: u64 = 10;

impl Shard {
    /// Whose account a client's is; `None`: it is not known who it is, or its end has begun.
    pub(super) fn account_of(&self, key: usize) -> Option<&Arc<Account>> {
        Some(self.connections.get(key)?.caller.place.as_ref()?.account())
    }

    /// For whom what a client sends counts where it is stored; `None`: for its space alone.
    pub(super) fn stock_owner(&self, key: usize) -> Option<Owner> {
        self.account_of(key)?.owner()
    }

    /// Counts a client in of which it is known who it is. `before` has its place until then, when it is a
    /// connection of the same client that this one takes over from.
    ///
    /// # Errors
    /// The limit that this would break.
    pub(super) fn take_place(&mut self, key: usize, before: Option<usize>) -> Result<(), Exceeded> {
        let Some(access) = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref())
        else {
            return Ok(());
        };
        let account = self.shared.usage.user(access.space(), access.known().map(|user| &**user));
        let is_same = |place: &Held| Arc::ptr_eq(place.account(), &account);
        let before = before.and_then(|before| self.connections.get_mut(before));
        let place = match before.and_then(|before| before.caller.place.take_if(|place| is_same(place))) {
            Some(place) => place,
            None => account.take(Limit::Connections)?,
        };
        let is_metered = account.is_metered();
        if let Some(connection) = self.connections.get_mut(key) {
            connection.caller.place = Some(place);
            connection.is_metered = is_metered;
        }
        Ok(())
    }

    /// Gives back what a connection counts for: its end has begun.
    pub(super) fn leave_place(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.caller.place = None;
            connection.is_metered = false;
            connection.caller.resume_at = None;
        }
    }

    /// Takes one more of something for a client.
    ///
    /// # Errors
    /// The limit that this would break.
    pub(super) fn take(&self, key: usize, limit: Limit) -> Result<Option<Held>, Exceeded> {
        self.account_of(key).map(|account| account.take(limit)).transpose()
    }

    /// Other limits are in force, perhaps.
    pub(super) fn refresh_limits(&mut self, now: Instant) {
        let mut freed = Vec::new();
        for (key, connection) in self.connections.iter_mut() {
            let Some(place) = &connection.caller.place else { continue };
            let was_metered = std::mem::replace(&mut connection.is_metered, place.account().is_metered());
            if was_metered {
                freed.push(key);
            }
        }
        for key in freed {
            self.end_pause(now, key);
        }
    }

    // ---- sessions and links of AMQP ---------------------------------------------------------------

    /// Ends a session that would be one too many.
    pub(super) fn refuse_session(&mut self, key: usize, session: SessionKey, exceeded: &Exceeded) {
        debug!(connection = %self.name_of(key), %exceeded, "session refused");
        if let Some(client) = self.connections.amqp_mut(key) {
            let _ = client.engine.end(session, Some(exceeds(exceeded)));
        }
        self.mark_dirty(key);
    }

    /// Lets a link keep what was taken for it.
    pub(super) fn keep_for_link(&mut self, key: usize, role: Role, link: LinkKey, held: Option<Held>) {
        let Some(Ok(token)) = self.connections.amqp(key).map(|client| client.engine.token_of_link(link))
        else {
            return;
        };
        let links = match role {
            Role::Receiver => &mut self.producers,
            Role::Sender => &mut self.consumers,
        };
        if let Some(reference) = links.get_mut(token) {
            let [link, _] = &mut reference.counted;
            *link = held;
        }
    }

    // ---- how fast -----------------------------------------------------------------------------------

    /// Counts what a client sends towards what may be sent; who sends too fast is not read for a while.
    ///
    /// # Errors
    /// The limit, where so many send too fast that the message cannot be let in.
    pub(super) fn pace(
        &mut self,
        now: Instant,
        key: usize,
        messages: u64,
        bytes: u64,
    ) -> Result<(), Exceeded> {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.is_metered)
        else {
            return Ok(());
        };
        let Some(place) = &connection.caller.place else { return Ok(()) };
        let (result, wait) = match place.account().pass(now, messages, bytes) {
            // One message may be worth more than that: then the next is refused, and what else it says is heard.
            Ok(Pass(wait)) => (Ok(()), wait.min(LONGEST_DEBT)),
            Err(exceeded) => (Err(exceeded), REFUSED_PAUSE),
        };
        if !wait.is_zero() {
            let until = now.checked_add(wait);
            connection.caller.resume_at = connection.caller.resume_at.max(until);
        }
        result
    }

    /// Whether a client may send a message with so many bytes.
    ///
    /// # Errors
    /// The limit that it breaks.
    pub(super) fn check_size(&self, key: usize, bytes: u64) -> Result<(), Exceeded> {
        match self.connections.get(key).filter(|connection| connection.is_metered) {
            Some(connection) => match &connection.caller.place {
                Some(place) => place.account().check_size(bytes),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// A message was larger than its link takes: that counts as refused where it is the client's limit, and not that of
    /// the address.
    pub(super) fn note_too_large(&self, key: usize, limit: u64) {
        if let Some(account) = self.account_of(key)
            && account.max_message_size() == Some(limit)
        {
            // What it is refused by is what the engine has told already.
            let _ = account.check_size(limit.saturating_add(1));
        }
    }

    /// Whether a client is not read because it sends too fast.
    pub(super) fn is_held_up(&self, key: usize) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.is_held_up())
    }

    /// A client has waited long enough: it is read again, and may send more.
    pub(super) fn end_pause(&mut self, now: Instant, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.caller.resume_at.is_some_and(|at| at > now) && connection.is_metered {
            return;
        }
        connection.caller.resume_at = None;
        connection.protocol.excuse_wait(now);
        self.give_all_credit(key);
        self.resume_reading(key);
    }

    /// Has a client know how large its messages may be.
    pub(super) fn most_bytes(&self, key: usize) -> Option<u64> {
        self.account_of(key)?.max_message_size()
    }

    // ---- credit of producers ------------------------------------------------------------------------

    /// The core lets a producer send more. Where messages have a rate it gets that bit by bit.
    pub(super) fn grant(&mut self, producer: ProducerKey, credit: u32) {
        let token = producer.to_bits();
        let Some(link) = self.producers.get_mut(token) else { return };
        link.withheld = link.withheld.saturating_add(credit);
        self.give_credit(token);
    }

    /// Gives a producer what it may have of what was withheld.
    pub(super) fn give_credit(&mut self, token: u64) {
        let Some(link) = self.producers.get(token).filter(|link| link.withheld > 0) else { return };
        let (key, most) = (link.connection, self.most_credit(link.connection));
        let Some(link) = self.producers.get_mut(token) else { return };
        let Some(client) = self.connections.amqp_mut(key) else { return };
        let room = most.saturating_sub(client.engine.credit(link.link).unwrap_or(0));
        let given = link.withheld.min(room);
        if given > 0 {
            link.withheld -= given;
            // Gone with its link.
            let _ = client.engine.grant(link.link, given);
            self.mark_dirty(key);
        }
    }

    fn give_all_credit(&mut self, key: usize) {
        let tokens = |client: &Client| -> Vec<u64> {
            let producers = client.engine.links().filter(|link| link.role == Role::Receiver);
            producers.map(|link| link.token).collect()
        };
        for token in self.connections.amqp(key).map(tokens).unwrap_or_default() {
            self.give_credit(token);
        }
    }

    /// Messages that one producer of a connection may have under way.
    fn most_credit(&self, key: usize) -> u32 {
        let Some(connection) = self.connections.get(key).filter(|connection| connection.is_metered) else {
            return u32::MAX;
        };
        let rate = connection.caller.place.as_ref().and_then(|place| place.account().message_rate());
        let Some(rate) = rate else { return u32::MAX };
        // While it waits, what it has to send would stand in the way of what else it has to say.
        let most = if connection.is_held_up() { 0 } else { (rate / CREDIT_PARTS).max(1) };
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    // ---- sessions of MQTT ---------------------------------------------------------------------------

    /// Counts a session in that is there, whatever the limits.
    pub(super) fn count_session(&mut self, token: SessionToken) {
        let Some(session) = self.mqtt.sessions.get(token) else { return };
        let (space, _) = mq_model::space::split_qualified(&session.client_id);
        let account = self.shared.usage.absent(space, session.user().map(|user| &**user));
        self.mqtt.sessions.set_held(token, account.hold(Limit::MqttSessions));
    }

    /// A client is refused because it would be one too many.
    pub(super) fn note_refused(&self, key: usize, exceeded: &Exceeded) {
        let space = exceeded.account.split('/').next().unwrap_or_default();
        info!(connection = %self.name_of(key), space, limit = exceeded.limit.name(), value = exceeded.value,
            "a limit is reached");
    }
}

impl Protocol {
    /// A peer has not been read for a while: its silence is none.
    pub(super) fn excuse_wait(&mut self, now: Instant) {
        match self {
            Self::Amqp(client) => client.engine.excuse_silence(now),
            _ => self.excuse_silence(now),
        }
    }
}

/// What a peer is told that would have more than it may.
pub(super) fn exceeds(exceeded: &Exceeded) -> Error {
    refusal(condition::RESOURCE_LIMIT_EXCEEDED, exceeded.to_string())
}

/// What a producer is told whose message is one too many.
pub(super) fn too_much(exceeded: &Exceeded) -> Outcome {
    Outcome::rejected(mq_core::condition::RESOURCE_LIMIT_EXCEEDED, exceeded.to_string())
}
