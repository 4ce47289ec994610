//! Sessions on their way from one node to another.
//!
//! A session goes in steps, each of which can be done again:
//!
//! ```text
//!   giver                                       taker
//!   offer: its client is sent away,
//!          nothing is done with it  ─ parcel ─► on disk as an arrival, which is no session
//!   depart: on disk as a departure, from here
//!          on it is the taker's     ─ take ───► a session as all others; every node is told
//!   done: told to the fleet
//! ```
//!
//! The giver alone decides, with the departure on its disk. Before that the session is his, whatever the taker
//! has; afterwards it is the taker's, whatever the giver still has of it. A taker that has heard nothing asks.
//! The session keeps its number and its name, so that its durable subscriptions know nothing of it all. A departure
//! is remembered for as long as the session lives: it is called after the node where it began.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mq_core::{Reference, StoreError, Ticket, UnixMillis};
use mq_model::space::split_qualified;
use mq_mqtt::{OutgoingState, ReasonCode};
use tracing::{debug, info, warn};

use super::parcel::{Parcel, UnderWay};
use super::record::{
    ArrivalRecord, Begun, DepartureRecord, OutgoingRecord, arrival_key, departure_key, incoming_key,
    incoming_value, outgoing_key, session_key, will_key,
};
use super::session::{Presence, Session, SessionKey};
use super::will::{End, Will};
use crate::driver::Shard;
use crate::hub::{MoveAnswer, MoveStep, OfferStanding, PendingMoves, Reply};
use crate::mesh::Fabric;
use crate::mesh::directory::{Claim, Order, UNKNOWN, Waiter, Who, counts_more};

/// The sessions of a shard that are on their way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// What is offered to other nodes; a restart forgets it.
    offers: HashMap<Arc<str>, Offer>,
    /// By client and number: one may have been given away before another has come and goes.
    departures: BTreeMap<(Arc<str>, u64), Departure>,
    arrivals: HashMap<Arc<str>, ArrivalRecord>,
    /// Who waits for the disk.
    stored: HashMap<Ticket, Stored>,
    /// Sessions that have come and that not every node knows of, with who waits for that.
    unknown: HashMap<u64, Vec<Reply<MoveAnswer>>>,
    /// Their numbers there, by client.
    numbers: HashMap<Arc<str>, u64>,
    next_number: u64,
}

#[derive(Debug)]
struct Offer {
    number: u64,
    /// The session's.
    session: u64,
}

#[derive(Debug)]
struct Departure {
    record: DepartureRecord,
    /// The disk has it.
    is_stored: bool,
    /// Orders to end the session, which came too late here.
    orders: Vec<Order>,
}

#[derive(Debug)]
enum Stored {
    Departure { client: Arc<str>, number: u64, session: SessionKey, reply: Reply<MoveAnswer> },
    Arrival { reply: Reply<MoveAnswer> },
    Taken { client: Arc<str>, reply: Reply<MoveAnswer> },
}

impl Moves {
    /// Whether the session of a client is on its way from here.
    pub(super) fn is_leaving(&self, client: &str) -> bool {
        self.offers.contains_key(client)
            || self.departures_of(client).any(|(_, departure)| !departure.record.is_done)
    }

    /// The sessions of a client that have left, by their numbers.
    fn departures_of(&self, client: &str) -> impl Iterator<Item = (u64, &Departure)> {
        let client: Arc<str> = client.into();
        let departures = self.departures.range((client.clone(), 0)..=(client, u64::MAX));
        departures.map(|((_, number), departure)| (*number, departure))
    }

    /// The session that was given away with an offer.
    fn offered_as(&self, client: &str, offer: u64) -> Option<(u64, &Departure)> {
        self.departures_of(client).find(|(_, departure)| departure.record.offer == offer)
    }

    /// Notes an order to end a session that this node has given away and that the other one may not have yet; false
    /// when there is none.
    pub(super) fn is_to_end(&mut self, client: &str, since: u64, order: Order) -> bool {
        let departure = self.departures.get_mut(&(client.into(), since));
        match departure.filter(|departure| !departure.record.is_done) {
            Some(departure) => {
                departure.orders.push(order);
                true
            }
            None => false,
        }
    }

    /// Whether the session of this client and number is not here: it has been given away, or not been taken yet.
    pub(super) fn is_elsewhere(&self, client: &str, number: u64) -> bool {
        let has_left = self.departures.contains_key(&(client.into(), number));
        let arrival = self.arrivals.get(client).and_then(|arrival| Parcel::decode(&arrival.parcel));
        match arrival {
            Some(parcel) => parcel.record.number == number,
            None => has_left,
        }
    }

    /// Whether a will belongs to a session that is not here; see [`is_elsewhere`](Self::is_elsewhere).
    pub(super) fn is_will_elsewhere(&self, client: &str, number: u64) -> bool {
        let arrival = self.arrivals.get(client).and_then(|arrival| Parcel::decode(&arrival.parcel));
        let arriving = arrival.and_then(|parcel| parcel.will).map(|(number, _)| number);
        let mut departed = self.departures_of(client);
        arriving == Some(number) || departed.any(|(_, departure)| departure.record.will == number)
    }

    pub(super) fn recover_departure(&mut self, client: &str, number: u64, record: DepartureRecord) {
        self.departures
            .insert((client.into(), number), Departure { record, is_stored: true, orders: Vec::new() });
    }

    pub(super) fn recover_arrival(&mut self, client: &str, record: ArrivalRecord) {
        self.arrivals.insert(client.into(), record);
    }

    /// A session has come of which not every node knows: the number under which that is noted.
    fn note_unknown(&mut self, client: &Arc<str>) -> u64 {
        self.next_number += 1;
        self.unknown.insert(self.next_number, Vec::new());
        self.numbers.insert(client.clone(), self.next_number);
        self.next_number
    }

    /// Answers when every node knows of the session of a client that has come.
    fn answer_when_known(&mut self, client: &str, reply: Reply<MoveAnswer>) {
        let waiting = self.numbers.get(client).and_then(|number| self.unknown.get_mut(number));
        match waiting {
            Some(waiting) => waiting.push(reply),
            None => drop(reply.send(MoveAnswer::Done)),
        }
    }

    fn note_known(&mut self, number: u64) -> Vec<Reply<MoveAnswer>> {
        self.numbers.retain(|_, it| *it != number);
        self.unknown.remove(&number).unwrap_or_default()
    }

    /// The session of a client ends while it is offered.
    pub(super) fn withdraw(&mut self, client: &str) {
        self.offers.remove(client);
    }
}

impl Shard {
    /// How many sessions are kept here, or may be.
    pub(crate) fn count_lasting(&self) -> u64 {
        let staying = self.mqtt.sessions.iter().filter(|(_, session)| session.outlives_connection());
        let leaving = self.mqtt.moves.departures.values();
        let leaving = leaving.filter(|departure| departure.is_stored && !departure.record.is_done);
        (staying.count() + leaving.count()) as u64
    }

    /// What there is to do about sessions that move; of those that stay so many.
    pub(crate) fn pending_moves(&self, limit: usize) -> PendingMoves {
        let moves = &self.mqtt.moves;
        let sessions = self.mqtt.sessions.iter().map(|(_, session)| session);
        let staying = sessions
            .filter(|session| session.outlives_connection() && !moves.is_leaving(&session.client_id))
            .map(|session| session.client_id.clone());
        let mut pending = PendingMoves { staying: staying.take(limit).collect(), ..PendingMoves::default() };
        for ((client, _), departure) in &moves.departures {
            let record = &departure.record;
            if departure.is_stored && !record.is_done {
                pending.departing.push((client.clone(), record.offer, (&*record.to).into()));
            }
        }
        let arriving = moves.arrivals.iter();
        let arriving = arriving.map(|(client, it)| (client.clone(), it.offer, Arc::from(&*it.from)));
        pending.arriving = arriving.collect();
        pending
    }

    /// Takes a step with the session of a client, and answers when it is done.
    pub(crate) fn move_session(
        &mut self,
        now: Instant,
        client: &Arc<str>,
        step: MoveStep,
        reply: Reply<MoveAnswer>,
    ) {
        let answer = match step {
            MoveStep::Offer => self.offer_session(now, client),
            MoveStep::TakeBack { offer } => self.take_back(client, offer),
            MoveStep::Depart { offer, to } => return self.depart(client, offer, &to, reply),
            MoveStep::Done { offer } => self.departed(client, offer),
            MoveStep::Ask { offer } => MoveAnswer::Standing(self.standing(client, offer)),
            MoveStep::Arrive { from, offer, parcel } => {
                return self.arrive(client, &from, offer, parcel, reply);
            }
            MoveStep::Take { offer } => return self.take_arrival(now, client, offer, reply),
            MoveStep::Drop { offer } => self.drop_arrival(client, offer),
        };
        // Who does not wait any more asks again.
        let _ = reply.send(answer);
    }

    // ---- the giver --------------------------------------------------------------------------------

    fn offer_session(&mut self, now: Instant, client: &Arc<str>) -> MoveAnswer {
        let found = self.mqtt.sessions.find(client);
        let session = found.and_then(|key| Some((key, self.mqtt.sessions.get(key)?)));
        let Some((key, session)) = session.filter(|(_, session)| session.outlives_connection()) else {
            return MoveAnswer::Gone;
        };
        let number = session.number;
        if let Some(connection) = session.connection() {
            self.send_elsewhere(now, connection);
        }
        let Some(session) = self.mqtt.sessions.get(key) else { return MoveAnswer::Gone };
        if let Presence::Away(since) = session.presence {
            self.mqtt.sessions.set_presence(key, Presence::Leaving(since));
        }
        let offer = self.mqtt.numbers.next(self.core.unix(now));
        self.mqtt.moves.offers.insert(client.clone(), Offer { number: offer, session: number });
        if let Some(fabric) = self.shared.mesh.as_deref() {
            fabric.set_session_leaving(client, number, true);
        }
        if self.mqtt.messages.is_storing(key) {
            return MoveAnswer::Busy;
        }
        let Some(parcel) = self.parcel(key) else { return MoveAnswer::Gone };
        MoveAnswer::Offered { offer, parcel: parcel.encode() }
    }

    /// Ends the connection of a session that moves. To its client that is an end like any other.
    fn send_elsewhere(&mut self, now: Instant, connection: usize) {
        let words = "the session moves to another node; connect again";
        self.disconnect_mqtt(connection, ReasonCode::UseAnotherServer, words, End::Unclean);
        if let Some(session) = self.leave_session(now, connection) {
            self.keep_away(session);
        }
        self.start_closing(now, connection);
    }

    /// All of a session that has no connection.
    fn parcel(&self, key: SessionKey) -> Option<Parcel> {
        let session = self.mqtt.sessions.get(key)?;
        let mut record = session.record();
        record.begun = Begun::Elsewhere(session.birth(&self.config.node));
        let will = session.will.as_ref().map(|will| (will.number, will.record.clone()));
        let mut parcel = Parcel { record, will, ..Parcel::default() };
        session.flights.pack(&mut parcel, |deadline| self.core.unix(deadline));
        let dropped = parcel.dropped;
        parcel.lighten();
        if parcel.dropped > dropped {
            let dropped = parcel.dropped - dropped;
            warn!(
                client_id = session.shown_id(),
                space = session.space(),
                dropped,
                "messages in memory are too large to move"
            );
        }
        Some(parcel)
    }

    fn take_back(&mut self, client: &Arc<str>, offer: u64) -> MoveAnswer {
        let is_meant = self.mqtt.moves.offers.get(client).is_some_and(|it| offer == 0 || it.number == offer);
        if is_meant && let Some(offer) = self.mqtt.moves.offers.remove(client) {
            self.stay(client, offer.session);
        }
        MoveAnswer::Done
    }

    /// A session that was offered stays.
    fn stay(&mut self, client: &Arc<str>, number: u64) {
        if let Some(key) = self.mqtt.sessions.find(client)
            && let Some(session) = self.mqtt.sessions.get(key)
            && let Presence::Leaving(since) = session.presence
        {
            self.mqtt.sessions.set_presence(key, Presence::Away(since));
        }
        if let Some(fabric) = self.shared.mesh.as_deref() {
            fabric.set_session_leaving(client, number, false);
        }
    }

    fn depart(&mut self, client: &Arc<str>, offer: u64, to: &str, reply: Reply<MoveAnswer>) {
        let offered = self.mqtt.moves.offers.get(client).filter(|it| it.number == offer);
        let number = offered.map(|offered| offered.session);
        let found = self.mqtt.sessions.find(client);
        let session = found.and_then(|key| Some((key, self.mqtt.sessions.get(key)?)));
        let Some((key, session)) = session.filter(|(_, session)| Some(session.number) == number) else {
            let _ = reply.send(MoveAnswer::Gone);
            return;
        };
        let record = DepartureRecord {
            expiry: session.expiry,
            will: session.will.as_ref().map_or(0, |will| will.number),
            to: to.into(),
            offer,
            is_done: false,
        };
        let number = session.number;
        let ticket = self.put_object(departure_key(client, number), record.encode());
        self.mqtt.moves.offers.remove(client);
        let departure = Departure { record, is_stored: false, orders: Vec::new() };
        self.mqtt.moves.departures.insert((client.clone(), number), departure);
        self.await_move(ticket, Stored::Departure { client: client.clone(), number, session: key, reply });
    }

    /// The departure of a session is on disk: nothing of it is here any more.
    fn remove_departed(&mut self, client: &str, key: SessionKey) {
        let Some(session) = self.mqtt.sessions.remove(key) else { return };
        if let Some(will) = &session.will {
            self.forget_will(client, will.number);
        }
        let mut parcel = Parcel::default();
        session.flights.pack(&mut parcel, |_| UnixMillis(0));
        for packet_id in parcel.incoming {
            self.delete_object(incoming_key(client, packet_id));
        }
        for packet_id in parcel.remembered {
            self.delete_object(outgoing_key(client, packet_id));
        }
        // Last: while it is there, the rest is known to belong to it.
        self.forget_record(client);
    }

    fn departed(&mut self, client: &Arc<str>, offer: u64) -> MoveAnswer {
        let number = self.mqtt.moves.offered_as(client, offer).map(|(number, _)| number);
        let key = number.map(|number| (client.clone(), number));
        let departure = key.and_then(|key| Some((key.1, self.mqtt.moves.departures.get_mut(&key)?)));
        let Some((number, departure)) = departure.filter(|(_, it)| !it.record.is_done) else {
            return MoveAnswer::Done;
        };
        departure.record.is_done = true;
        let orders = std::mem::take(&mut departure.orders);
        let record = departure.record.encode();
        let (space, shown) = split_qualified(client);
        info!(client_id = shown, space, to = %departure.record.to, "the session has moved");
        if orders.is_empty() {
            self.put_object(departure_key(client, number), record);
        } else {
            // It is to end: nobody has to remember it.
            self.forget_departure(client, Some(number));
        }
        if let Some(fabric) = self.shared.mesh.clone() {
            fabric.session_left(client, number, !orders.is_empty());
            if !orders.is_empty() {
                fabric.session_gone(client, number);
            }
        }
        for order in orders {
            self.order_carried_out(order);
        }
        MoveAnswer::Done
    }

    fn standing(&self, client: &str, offer: u64) -> OfferStanding {
        let moves = &self.mqtt.moves;
        if moves.offers.get(client).is_some_and(|it| it.number == offer) {
            return OfferStanding::Open;
        }
        match moves.offered_as(client, offer).map(|(_, departure)| departure) {
            Some(departure) if departure.is_stored => OfferStanding::Given,
            Some(_) => OfferStanding::Open,
            None => OfferStanding::Void,
        }
    }

    /// A session that has left is over, or the client has a later one here: it is not remembered any more.
    pub(super) fn forget_departure(&mut self, client: &str, number: Option<u64>) {
        let is_meant = |(it, departure): &(u64, &Departure)| {
            departure.record.is_done && number.is_none_or(|number| *it == number)
        };
        let departures = self.mqtt.moves.departures_of(client).filter(is_meant);
        let numbers: Vec<u64> = departures.map(|(number, _)| number).collect();
        for number in numbers {
            self.mqtt.moves.departures.remove(&(client.into(), number));
            self.delete_object(departure_key(client, number));
        }
    }

    /// Every node in reach has told its sessions: what is over need not be remembered.
    pub(super) fn forget_departures_that_are_over(&mut self, now: Instant, fabric: &Fabric) {
        let is_over = |client: &Arc<str>, number: u64, record: &DepartureRecord| {
            let to = mq_mesh::NodeId::new(&self.config.fleet, &record.to);
            record.is_done && fabric.is_session_over(now, to, client, number) == Some(true)
        };
        let departures = self.mqtt.moves.departures.iter();
        let over: Vec<(Arc<str>, u64)> = departures
            .filter(|((client, number), departure)| is_over(client, *number, &departure.record))
            .map(|(key, _)| key.clone())
            .collect();
        for (client, number) in over {
            self.forget_departure(&client, Some(number));
            fabric.session_gone(&client, number);
        }
    }

    /// Tells the directory of the sessions that had left, or were about to, before the restart.
    pub(super) fn claim_departed(&self, now: Instant, fabric: &Fabric) {
        for ((client, number), Departure { record, .. }) in &self.mqtt.moves.departures {
            if record.is_done {
                fabric.session_left(client, *number, false);
            } else if self.mqtt.sessions.find(client).is_none() {
                let claim = Claim { since: *number, expiry: record.expiry, has_moved: true, owner: UNKNOWN };
                fabric.claim_session(now, client, claim, None);
                fabric.set_session_leaving(client, *number, true);
            }
        }
    }

    // ---- the taker --------------------------------------------------------------------------------

    fn arrive(&mut self, client: &Arc<str>, from: &str, offer: u64, parcel: Bytes, reply: Reply<MoveAnswer>) {
        if Parcel::decode(&parcel).is_none() {
            let words = "the session cannot be read; let the nodes run the same version";
            let _ = reply.send(MoveAnswer::Failed(words.to_owned()));
            return;
        }
        // What another node may have given is not known to be anywhere else.
        if self.mqtt.moves.arrivals.get(client).is_some_and(|arrival| *arrival.from != *from) {
            let words = "another node has offered a session of the client; try again when that is decided";
            let _ = reply.send(MoveAnswer::Failed(words.to_owned()));
            return;
        }
        if !self.mqtt.sessions.has_room() {
            let _ = reply.send(MoveAnswer::Failed("the node has no room for another session".to_owned()));
            return;
        }
        let record = ArrivalRecord { from: from.into(), offer, parcel };
        let ticket = self.put_object(arrival_key(client), record.encode());
        self.mqtt.moves.arrivals.insert(client.clone(), record);
        self.await_move(ticket, Stored::Arrival { reply });
    }

    fn drop_arrival(&mut self, client: &str, offer: u64) -> MoveAnswer {
        if self.mqtt.moves.arrivals.get(client).is_some_and(|arrival| arrival.offer == offer) {
            self.mqtt.moves.arrivals.remove(client);
            self.delete_object(arrival_key(client));
        }
        MoveAnswer::Done
    }

    fn take_arrival(&mut self, now: Instant, client: &Arc<str>, offer: u64, reply: Reply<MoveAnswer>) {
        let arrival = self.mqtt.moves.arrivals.get(client).filter(|arrival| arrival.offer == offer);
        let Some(parcel) = arrival.and_then(|arrival| Parcel::decode(&arrival.parcel)) else {
            // It was taken before. Whether all know may still be open.
            return self.mqtt.moves.answer_when_known(client, reply);
        };
        self.mqtt.moves.arrivals.remove(client);
        let session = self.session_of(now, client, parcel);
        let own = self.mqtt.sessions.find(client);
        let own = own.and_then(|key| Some((key, self.mqtt.sessions.get(key)?)));
        match own {
            Some((_, own)) if counts_more((own.number, own.expiry), (session.number, session.expiry)) => {
                self.end_arrived(now, session);
            }
            Some((key, _)) => {
                self.end_session(now, key);
                self.adopt(now, session);
            }
            None => self.adopt(now, session),
        }
        // Behind all that the session has on disk now.
        let ticket = self.delete_object(arrival_key(client));
        self.await_move(ticket, Stored::Taken { client: client.clone(), reply });
    }

    /// The session that a parcel tells of, whose client is away.
    fn session_of(&self, now: Instant, client: &Arc<str>, mut parcel: Parcel) -> Session {
        let mut session = Session::recovered(client.clone(), &parcel.record, self.core.unix(now));
        session.is_recorded = true;
        session.will = parcel.will.take().map(|(number, record)| Box::new(Will { number, record }));
        session.flights.unpack(parcel, |expires| self.core.instant_of(expires, now));
        session
    }

    /// A session is this node's from now on.
    fn adopt(&mut self, now: Instant, session: Session) {
        let client = session.client_id.clone();
        let number = session.number;
        self.mqtt.numbers.note(number);
        self.put_object(session_key(&client), session.record().encode());
        if let Some(will) = &session.will {
            self.mqtt.numbers.note(will.number);
            self.put_object(will_key(&client, will.number), will.record.encode());
        }
        let mut parcel = Parcel::default();
        session.flights.pack(&mut parcel, |_| UnixMillis(0));
        for packet_id in parcel.incoming {
            self.put_object(incoming_key(&client, packet_id), incoming_value(number));
        }
        for packet_id in &parcel.remembered {
            let known = parcel.known.iter().find(|(_, known, _)| known == packet_id);
            let is_sent = |it: &&UnderWay| {
                it.packet_id == *packet_id && matches!(it.state, OutgoingState::Published(_))
            };
            let record = OutgoingRecord {
                number,
                // One that has come again as released is not looked for any more.
                reference: known.map_or(Reference(0), |(reference, _, _)| *reference),
                is_released: known.map_or_else(
                    || !parcel.outgoing.iter().any(|it| is_sent(&it)),
                    |(_, _, is_released)| *is_released,
                ),
            };
            self.put_object(outgoing_key(&client, *packet_id), record.encode());
        }
        // It may have been here before.
        if self.mqtt.moves.departures.remove(&(client.clone(), number)).is_some() {
            self.delete_object(departure_key(&client, number));
        }
        let claim = Claim { has_moved: true, ..session.claim() };
        let key = self.mqtt.sessions.insert(session);
        self.count_session(key);
        let (space, shown) = split_qualified(&client);
        info!(client_id = shown, space, "the session has come from another node");
        self.keep_all_for_later(now, key);
        if let Some(fabric) = self.shared.mesh.as_deref() {
            let who = Who::Giver { number: self.mqtt.moves.note_unknown(&client) };
            let waiter = Waiter { shard: self.id.shard(), who };
            if !fabric.claim_session(now, &client, claim, Some(waiter))
                && let Who::Giver { number } = who
            {
                self.mqtt.moves.note_known(number);
            }
        }
    }

    /// The client of a session that has come has a later one here.
    fn end_arrived(&mut self, now: Instant, mut session: Session) {
        let (space, shown) = (session.space(), session.shown_id());
        info!(client_id = shown, space, "the session that has come ends: its client has another one");
        for (topic, name, claim) in self.subscriptions_to_end(&session) {
            self.core.end_durable(now, &topic, &name, claim.as_deref());
        }
        if let Some(will) = session.will.take() {
            self.publish_will(now, &session.client_id, *will);
        }
    }

    /// Every node that can be reached knows of a session that has come.
    pub(super) fn arrival_known(&mut self, number: u64) {
        for reply in self.mqtt.moves.note_known(number) {
            let _ = reply.send(MoveAnswer::Done);
        }
    }

    // ---- the disk ---------------------------------------------------------------------------------

    fn await_move(&mut self, ticket: Ticket, stored: Stored) {
        self.mqtt.moves.stored.insert(ticket, stored);
    }

    /// The store has done what a step needs, or says why not; false when the ticket is for something else.
    pub(super) fn move_stored(&mut self, ticket: Ticket, result: &Result<(), StoreError>) -> bool {
        let Some(stored) = self.mqtt.moves.stored.remove(&ticket) else { return false };
        if let Err(error) = result {
            // Until a restart nothing is kept any more; then it is seen what is on disk.
            debug!(%error.description, "a session cannot move");
            let (Stored::Departure { reply, .. } | Stored::Arrival { reply } | Stored::Taken { reply, .. }) =
                stored;
            let words = "the message log takes nothing; see the status of the node";
            let _ = reply.send(MoveAnswer::Failed(words.to_owned()));
            return true;
        }
        match stored {
            Stored::Departure { client, number, session, reply } => {
                if let Some(departure) = self.mqtt.moves.departures.get_mut(&(client.clone(), number)) {
                    departure.is_stored = true;
                }
                self.remove_departed(&client, session);
                let _ = reply.send(MoveAnswer::Done);
            }
            Stored::Arrival { reply } => drop(reply.send(MoveAnswer::Done)),
            Stored::Taken { client, reply } => self.mqtt.moves.answer_when_known(&client, reply),
        }
        true
    }
}
