//! Between sessions and the disk: what is written, who waits for it, and what comes back after a
//! restart.
//!
//! A session that lasts has a record, a will an object of its own. Whatever a client is told that has to
//! survive a restart is on disk before it is told; the rest (that a client has gone, that a will is
//! forgotten) is written in order and nobody waits for it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mq_core::{DurableSubscription, StoreError, Ticket, TransactionId};
use mq_mqtt::{PacketId, Qos};
use tracing::{debug, warn};

use super::fleet::Doubt;
use super::flows::Deed;
use super::record::{
    ArrivalRecord, DepartureRecord, ObjectKey, OutgoingRecord, SessionRecord, SubscriptionRecord, WillRecord,
    incoming_key, incoming_number, outgoing_key, session_key, will_key,
};
use super::session::{SHARE_PREFIX, Session, SessionKey, of_subscription, parse_owner, topic_filter_start};
use super::will::Will;
use crate::driver::Shard;
use crate::mesh::directory::Order;

/// What of the sessions waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waiters: HashMap<Ticket, Waiter>,
    /// How often something was not written: what was thought to be on disk before may not be.
    failures: u64,
}

impl Awaited {
    fn insert(&mut self, ticket: Ticket, waiter: Waiter) {
        self.waiters.insert(ticket, waiter);
    }

    /// What a record is known by that is on disk, or on its way there.
    fn fingerprint(&self, record: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.failures);
        hasher.write(record);
        hasher.finish()
    }
}

/// Who waits for an answer of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    /// The CONNACK of a connection, of this number.
    Connect(usize, u64),
    /// An answer to the client of a session.
    Record(SessionKey),
    /// Another node, on which the client of a session that has ended here has another one.
    Order(Order),
    /// Nobody: that a client has gone, that a will is done with.
    Nobody,
}

/// What a restart has left of one client.
#[derive(Debug, Default)]
struct Remains {
    record: Option<SessionRecord>,
    wills: Vec<Will>,
    /// Each with the number of its session.
    incoming: Vec<(PacketId, u64)>,
    outgoing: Vec<(PacketId, OutgoingRecord)>,
}

/// What a restart has left, until all of it is known everywhere.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    clients: HashMap<Box<str>, Remains>,
    /// Wills of connections before the last one, which were on their way.
    wills: Vec<(Arc<str>, Will)>,
    /// When to look again whether all shards have what was kept. `None`: this one has not, or all have.
    look: Option<Instant>,
    is_done: bool,
}

/// How often a shard looks whether the others have what was kept.
const LOOK: Duration = Duration::from_millis(5);

/// The clients whose sessions the store has kept, on all shards: while they are recovered, the home of a
/// topic has to know whose subscriptions go on.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptClients(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    clients: HashMap<Box<str>, Wanted>,
    /// Shards that have looked.
    done: usize,
}

/// What the session of a client wants.
#[derive(Debug)]
struct Wanted {
    /// Where the session began, as its name says it.
    birth: Box<str>,
    /// The filters of QoS 1 and 2, and all of shares.
    filters: Box<[Box<str>]>,
}

impl KeptClients {
    fn insert(&self, client_id: Box<str>, birth: Box<str>, record: &SessionRecord) {
        let is_kept =
            |one: &&SubscriptionRecord| one.granted > Qos::AtMostOnce || topic_filter_start(&one.filter) > 0;
        let filters = record.subscriptions.iter().filter(is_kept).map(|one| one.filter.clone()).collect();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clients
            .insert(client_id, Wanted { birth, filters });
    }

    /// Looks what clients want; every shard does so once, after all have inserted theirs.
    fn look(&self, shards: usize, look: impl FnOnce(&HashMap<Box<str>, Wanted>)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(&kept.clients);
        kept.done += 1;
        if kept.done >= shards {
            kept.clients = HashMap::new();
        }
    }

    /// Whether every shard has looked.
    fn is_done(&self, shards: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).done >= shards
    }
}

impl Recovered {
    fn of(&mut self, client_id: Box<str>) -> &mut Remains {
        self.clients.entry(client_id).or_default()
    }

    /// Whether everything that was kept is known, on all shards. Before that nothing ends: a topic's home
    /// would not know what.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// When [`Shard::is_recovered`] is to be asked again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.look
    }
}

impl Shard {
    /// Gives a session that has just got its connection its will, and writes down what has to survive a
    /// restart. Says how many answers of the store the CONNACK has to wait for.
    /// `ended` is the removal of a session that was there before.
    pub(super) fn keep_connected(
        &mut self,
        key: usize,
        session: SessionKey,
        will: Option<Box<Will>>,
        ended: Option<Ticket>,
    ) -> u32 {
        let mut tickets = Vec::with_capacity(2);
        // Without a record that takes its place, what is removed would come back with a restart.
        let record = self.put_record(session);
        tickets.extend(record.or(ended));
        let client_id = self.mqtt.sessions.get(session).map(|session| session.client_id.clone());
        if let (Some(will), Some(client_id)) = (will, client_id) {
            tickets.push(self.put_object(will_key(&client_id, will.number), will.record.encode()));
            if let Some(session) = self.mqtt.sessions.get_mut(session) {
                session.will = Some(will);
            }
        }
        let number = self.connections.get(key).map_or(0, |connection| connection.number);
        for ticket in &tickets {
            self.mqtt.awaited.insert(*ticket, Waiter::Connect(key, number));
        }
        u32::try_from(tickets.len()).unwrap_or(u32::MAX)
    }

    /// Writes down that a session is away; nobody waits for it.
    pub(super) fn keep_away(&mut self, session: SessionKey) {
        if let Some(ticket) = self.put_record(session) {
            self.mqtt.awaited.insert(ticket, Waiter::Nobody);
        }
    }

    /// Writes a session down whose subscriptions may have changed. `None`: they have not, or the session ends
    /// with its connection; there is nothing to wait for. Otherwise
    /// [`session_recorded`](Self::session_recorded) says when it is on disk.
    pub(crate) fn record_session(&mut self, session: SessionKey) -> Option<Ticket> {
        let known = self.mqtt.sessions.get(session)?;
        if known.is_recorded && known.written == self.mqtt.awaited.fingerprint(&known.record().encode()) {
            return None;
        }
        let ticket = self.put_record(session)?;
        self.mqtt.awaited.insert(ticket, Waiter::Record(session));
        Some(ticket)
    }

    /// Writes a session down, when it lasts or the disk knows it already.
    fn put_record(&mut self, key: SessionKey) -> Option<Ticket> {
        let session = self.mqtt.sessions.get_mut(key)?;
        if !session.is_lasting() && !session.is_recorded {
            return None;
        }
        session.is_recorded = true;
        let (key, value) = (session_key(&session.client_id), session.record().encode());
        session.written = self.mqtt.awaited.fingerprint(&value);
        Some(self.put_object(key, value))
    }

    /// Writes a will down again, with the time when it is due.
    pub(super) fn keep_will(&mut self, client_id: &str, will: &Will) {
        let ticket = self.put_object(will_key(client_id, will.number), will.record.encode());
        self.mqtt.awaited.insert(ticket, Waiter::Nobody);
    }

    /// A will has been published, or is not wanted any more.
    pub(super) fn forget_will(&mut self, client_id: &str, number: u64) {
        let ticket = self.delete_object(will_key(client_id, number));
        self.mqtt.awaited.insert(ticket, Waiter::Nobody);
    }

    /// A session has ended.
    pub(super) fn forget_record(&mut self, client_id: &str) -> Ticket {
        let ticket = self.delete_object(session_key(client_id));
        self.mqtt.awaited.insert(ticket, Waiter::Nobody);
        ticket
    }

    /// Another node waits for the removal of a session.
    pub(super) fn await_order(&mut self, ticket: Ticket, order: Order) {
        self.mqtt.awaited.insert(ticket, Waiter::Order(order));
    }

    /// The store has done what was asked for with this ticket, or says why not.
    pub(in crate::driver) fn object_stored(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<(), StoreError>,
    ) {
        self.mqtt.awaited.failures += u64::from(result.is_err());
        if self.move_stored(ticket, &result) {
            return;
        }
        match self.mqtt.awaited.waiters.remove(&ticket) {
            Some(Waiter::Connect(key, number)) => {
                if self.connections.get(key).is_some_and(|connection| connection.number == number) {
                    self.connect_stored(now, key, result);
                }
            }
            Some(Waiter::Record(session)) => self.session_recorded(now, session, ticket, result),
            Some(Waiter::Order(order)) => self.order_carried_out(order),
            Some(Waiter::Nobody) => {
                if let Err(error) = result {
                    // The store has said so in the log; until a restart nothing is kept any more.
                    debug!(%error, "what became of a session was not written down");
                }
            }
            None => self.flow_object_stored(now, ticket, result),
        }
    }

    /// A session ends while transactions are about to write objects of it: those go when they are there.
    pub(super) fn note_late_objects(&mut self, key: SessionKey) {
        let Some(session) = self.mqtt.sessions.get(key) else { return };
        if session.flights.get().is_none() {
            return;
        }
        let client_id = &session.client_id;
        for (transaction, deed) in &self.mqtt.messages.transactions {
            let object = match *deed {
                Deed::Take { session, packet_id } if session == key => incoming_key(client_id, packet_id),
                Deed::Release { session, packet_id, .. } if session == key => {
                    outgoing_key(client_id, packet_id)
                }
                _ => continue,
            };
            self.mqtt.late.insert(*transaction, object);
        }
    }

    /// A transaction has ended: what it has written of a session that is gone goes too, unless the client's
    /// next session has written the same.
    pub(super) fn drop_late_object(&mut self, transaction: TransactionId, is_committed: bool) {
        let Some(object) = self.mqtt.late.remove(&transaction).filter(|_| is_committed) else { return };
        if !self.is_in_use(&object) {
            let ticket = self.delete_object(object);
            self.mqtt.awaited.insert(ticket, Waiter::Nobody);
        }
    }

    /// Whether a session has an exchange of this object's packet identifier under way.
    fn is_in_use(&self, object: &[u8]) -> bool {
        let Some(object) = ObjectKey::decode(object) else { return false };
        let key = self.mqtt.sessions.find(object.client_id());
        let Some(session) = key.and_then(|key| self.mqtt.sessions.get(key)) else { return false };
        let client = session.connection().and_then(|connection| self.connections.mqtt(connection));
        let taken =
            client.map_or_else(|| session.flights.engine_state(), |client| client.engine.session_state());
        let state = session.flights.get();
        match object {
            ObjectKey::Incoming(_, packet_id) => {
                taken.incoming.contains(&packet_id)
                    || state.is_some_and(|state| state.taking.contains_key(&packet_id))
            }
            ObjectKey::Outgoing(_, packet_id) => {
                state.is_some_and(|state| state.remembered.contains(&packet_id))
            }
            ObjectKey::Session(_)
            | ObjectKey::Will(..)
            | ObjectKey::Departure(..)
            | ObjectKey::Arrival(_) => true,
        }
    }

    // ---- after a restart ---------------------------------------------------------------------------

    /// Takes an object of a session that the store has kept. They come in no order.
    pub(in crate::driver) fn recover_session_object(&mut self, key: &[u8], value: &[u8]) {
        if self.take_remains(key, value).is_none() {
            let bytes = value.len();
            warn!(?key, bytes, "an object of a session cannot be read; another version has written it");
        }
    }

    fn take_remains(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let key = ObjectKey::decode(key)?;
        let recovered = &mut self.mqtt.recovered;
        match key {
            ObjectKey::Session(id) => {
                let record = SessionRecord::decode(value)?;
                if record.expiry > 0 {
                    let birth = record.birth(&self.config.node);
                    self.shared.kept_clients.insert(id.clone(), birth, &record);
                }
                self.mqtt.numbers.note(record.number);
                recovered.of(id).record = Some(record);
            }
            ObjectKey::Will(id, number) => {
                let record = WillRecord::decode(value)?;
                recovered.of(id).wills.push(Will { number, record });
                self.mqtt.numbers.note(number);
            }
            ObjectKey::Incoming(id, packet_id) => {
                recovered.of(id).incoming.push((packet_id, incoming_number(value)?));
            }
            ObjectKey::Outgoing(id, packet_id) => {
                let record = OutgoingRecord::decode(value)?;
                recovered.of(id).outgoing.push((packet_id, record));
            }
            ObjectKey::Departure(id, number) => {
                let record = DepartureRecord::decode(value)?;
                self.mqtt.numbers.note(number.max(record.offer));
                self.mqtt.moves.recover_departure(&id, number, record);
            }
            ObjectKey::Arrival(id) => self.mqtt.moves.recover_arrival(&id, ArrivalRecord::decode(value)?),
        }
        Some(())
    }

    /// Every object of a session has been taken: sessions and wills go on where they were.
    pub(crate) fn sessions_recovered(&mut self, now: Instant) {
        let clients = std::mem::take(&mut self.mqtt.recovered.clients);
        self.mqtt.recovered.look = Some(now);
        if !clients.is_empty() {
            debug!(clients = clients.len(), "sessions are back");
        }
        for (client_id, remains) in clients {
            self.recover_client(now, client_id.into(), remains);
        }
        self.end_orphans(now);
        self.claim_recovered(now);
    }

    /// Ends durable subscriptions whose session is gone, or has no filter that reaches their topic: the
    /// node stopped between the two. In a fleet those of sessions that are not here are not judged yet.
    fn end_orphans(&mut self, now: Instant) {
        let (mut orphans, mut doubts) = (Vec::new(), Vec::new());
        let is_alone = self.shared.mesh.is_none();
        let subscriptions = self.core.durable_subscriptions();
        let core = &self.core;
        self.shared.kept_clients.look(self.shared.mailboxes.len(), |clients| {
            // `None`: the session is not here.
            let is_wanted = |owner: &str, topic: &Arc<str>, share: Option<&str>| {
                let (birth, client) = parse_owner(owner)?;
                let wanted = clients.get(client).filter(|wanted| *wanted.birth == *birth.whole)?;
                Some(wanted.filters.iter().any(|filter| {
                    let start = topic_filter_start(filter) as usize;
                    let is_same = share.map_or(start == 0, |share| **filter == *share);
                    is_same
                        && filter.get(start..).is_some_and(|filter| core.topics_of(filter).contains(topic))
                }))
            };
            let mut judge = |topic: &Arc<str>, name: &Arc<str>, claim: Option<Arc<str>>, wanted| match wanted
            {
                Some(true) => {}
                None if !is_alone => doubts.push(Doubt { topic: topic.clone(), name: name.clone(), claim }),
                None | Some(false) => orphans.push((topic.clone(), name.clone(), claim)),
            };
            for DurableSubscription { topic, name, claims } in subscriptions {
                if let Some(owner) = of_subscription(&name) {
                    judge(&topic, &name, None, is_wanted(owner, &topic, None));
                } else if name.starts_with(SHARE_PREFIX) {
                    for claim in claims {
                        let wanted = is_wanted(&claim, &topic, Some(&name));
                        judge(&topic, &name, Some(claim), wanted);
                    }
                }
            }
        });
        for (topic, name, claim) in orphans {
            debug!(%topic, %name, ?claim, "no session has a use for a subscription any more");
            self.core.end_durable(now, &topic, &name, claim.as_deref());
        }
        self.mqtt.doubts = doubts;
    }

    fn recover_client(&mut self, now: Instant, client_id: Arc<str>, mut remains: Remains) {
        let unix = self.core.unix(now);
        let number = remains.record.as_ref().map(|record| record.number);
        if number.is_some_and(|number| self.mqtt.moves.is_elsewhere(&client_id, number)) {
            return self.drop_remains(&client_id, remains);
        }
        // Without a record it ended with its connection, at the latest now.
        let record = remains.record.take().unwrap_or_default();
        let was_connected = record.disconnected.is_none();
        let mut session = Session::recovered(client_id.clone(), &record, unix);
        session.is_recorded = true;
        // What an earlier session of the client left on its way to the disk is nothing to this one.
        for (packet_id, number) in remains.incoming {
            if number == record.number {
                session.flights.recover_incoming(packet_id);
            } else {
                self.delete_object(incoming_key(&client_id, packet_id));
            }
        }
        for (packet_id, outgoing) in remains.outgoing {
            if outgoing.number == record.number {
                session.flights.recover_outgoing(packet_id, outgoing);
            } else {
                self.delete_object(outgoing_key(&client_id, packet_id));
            }
        }
        let mut wills = remains.wills;
        wills.sort_unstable_by_key(|will| will.number);
        // The last one is the session's; what came before was on its way already.
        let mut last = wills.pop();
        if let Some(last) = &mut last {
            let due = last.due(unix, session.expiry);
            last.record.due = Some(due);
        }
        session.will = last.map(Box::new);
        let key = self.mqtt.sessions.insert(session);
        self.count_session(key);
        if was_connected {
            // Its time runs from now on, and not from the next restart.
            self.keep_away(key);
        }
        self.mqtt.recovered.wills.extend(wills.into_iter().map(|will| (client_id.clone(), will)));
    }

    /// The session of a client has left this node, or was about to come to it: what is on disk of it here does not
    /// count.
    fn drop_remains(&mut self, client_id: &Arc<str>, remains: Remains) {
        self.forget_record(client_id);
        for (packet_id, _) in remains.incoming {
            self.delete_object(incoming_key(client_id, packet_id));
        }
        for (packet_id, _) in remains.outgoing {
            self.delete_object(outgoing_key(client_id, packet_id));
        }
        for will in remains.wills {
            if self.mqtt.moves.is_will_elsewhere(client_id, will.number) {
                self.forget_will(client_id, will.number);
            } else {
                self.mqtt.recovered.wills.push((client_id.clone(), will));
            }
        }
    }

    /// Whether everything that was kept is known on all shards; what waits for that begins then.
    pub(in crate::driver) fn is_recovered(&mut self, now: Instant) -> bool {
        let recovered = &mut self.mqtt.recovered;
        if recovered.is_done || recovered.look.is_none_or(|look| now < look) {
            return recovered.is_done;
        }
        if !self.shared.kept_clients.is_done(self.shared.mailboxes.len()) {
            recovered.look = Some(now + LOOK);
            return false;
        }
        recovered.look = None;
        recovered.is_done = true;
        for (client_id, will) in std::mem::take(&mut recovered.wills) {
            self.publish_will(now, &client_id, will);
        }
        true
    }
}
