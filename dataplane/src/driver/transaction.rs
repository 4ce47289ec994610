//! Local transactions (AMQP part 4): control links, and what is done in the transactions declared on them.
//!
//! A transaction belongs to the control link on which it was declared and is rolled back when that goes
//! (AMQP 4.1). Its id is good in every session of the connection, and on no other connection. The core does
//! the work; here is what part 4 makes of the core's words.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_amqp::performative::{Attach, DeliveryState, Error, ReceiverSettleMode, Role, Target};
use mq_amqp::transaction::{self as amqp, ControlMessage, TransactionalState, capability};
use mq_amqp::value::Symbol;
use mq_amqp::{DeliveryKey, IncomingTransfer, LinkKey, Misuse, Outgoing, Terms, condition};
use mq_core::{ConsumerKey, ErrorInfo, LegKey, Outcome, Refused, TransactionId};
use slab::Slab;
use tracing::debug;

use super::Shard;
use super::outcome::{from_state, to_state};

/// What our coordinator can do.
const CAPABILITIES: [Symbol; 3] = [
    Symbol::from_static(capability::LOCAL),
    Symbol::from_static(capability::MULTIPLE_PER_SESSION),
    Symbol::from_static(capability::MULTIPLE_SESSIONS),
];

/// Messages that a controller may have under way.
const CREDIT: u32 = 10;

/// Transactions that one connection may have open: it shares the core's number of them with others.
const OPEN_MAX: u32 = 1_000;

/// Deliveries that one transaction may acquire; the link that goes beyond is closed.
const ACQUISITIONS_MAX: usize = 65_536;

/// The outcome without which a refusal has to close the control link (AMQP 4.3).
const REJECTED: &str = "amqp:rejected:list";

/// The control links of a shard and the transactions declared on them.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    /// By the token of the link, which is below that of every link that the core knows.
    controls: Slab<Control>,
    /// By the core's number.
    transactions: BTreeMap<u64, Transaction>,
    /// How many of them a connection has; connections without any are not there.
    open: BTreeMap<usize, u32>,
    /// Posts without an outcome, by connection and delivery: the outcome is told in the transaction.
    posts: BTreeMap<(usize, u64), Post>,
}

/// A message that was posted in a transaction.
#[derive(Clone, Copy, Debug)]
struct Post {
    transaction: TransactionId,
    /// Its producer hears nothing of it, so that its failure has to be that of the transaction.
    settled: bool,
}

/// A control link.
#[derive(Debug)]
struct Control {
    connection: usize,
    link: LinkKey,
    /// The controller settles after us (AMQP 2.8.3).
    settles_second: bool,
    /// The controller knows the rejected outcome.
    takes_rejected: bool,
    /// The beginning of a message of several frames; at most [`ControlMessage::SIZE_MAX`] bytes, because
    /// the engine closes the link on more.
    message: BytesMut,
}

/// A transaction that the core has not ended.
#[derive(Debug)]
struct Transaction {
    connection: usize,
    /// The token of the control link.
    control: u64,
    /// Something of it is lost: it can be rolled back only.
    is_doomed: bool,
    /// What the controller asked for last.
    discharge: Option<Discharge>,
    /// How many of the posts without an outcome are its own.
    posts: usize,
    /// Deliveries acquired in it, and as which the engine knows them.
    acquired: Vec<(LegKey, DeliveryKey)>,
    /// Deliveries that their consumer has given an outcome in it and not settled: that is for us to do
    /// when it ends. By the engine's key as a number.
    retired: BTreeMap<u64, Option<DeliveryState>>,
}

/// A discharge that waits for the core.
#[derive(Clone, Copy, Debug)]
struct Discharge {
    delivery: DeliveryKey,
    /// The controller settled it: it hears of failure only.
    settled: bool,
    /// Roll back.
    fail: bool,
}

impl Coordinator {
    /// The transaction of a connection, while work can still be done in it.
    fn find(&self, connection: usize, id: amqp::TransactionId) -> Option<TransactionId> {
        let number = id.number()?;
        let transaction = self.transactions.get(&number)?;
        let is_open = transaction.connection == connection && transaction.discharge.is_none();
        is_open.then_some(TransactionId(number))
    }

    fn doom(&mut self, id: TransactionId) {
        if let Some(transaction) = self.transactions.get_mut(&id.0) {
            transaction.is_doomed = true;
        }
    }

    fn forget(&mut self, id: TransactionId) -> Option<Transaction> {
        let transaction = self.transactions.remove(&id.0)?;
        if let Some(open) = self.open.get_mut(&transaction.connection) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&transaction.connection);
            }
        }
        if transaction.posts > 0 {
            self.posts.retain(|_, post| post.transaction != id);
        }
        Some(transaction)
    }

    /// A post by its name; the last time that it is asked for when `is_last`.
    fn post(&mut self, name: (usize, u64), is_last: bool) -> Option<Post> {
        if !is_last {
            return self.posts.get(&name).copied();
        }
        let post = self.posts.remove(&name)?;
        if let Some(transaction) = self.transactions.get_mut(&post.transaction.0) {
            transaction.posts = transaction.posts.saturating_sub(1);
        }
        Some(post)
    }

    fn control(&mut self, token: u64) -> Option<&mut Control> {
        self.controls.get_mut(usize::try_from(token).ok()?)
    }
}

// ---- control links --------------------------------------------------------------------------------

impl Shard {
    /// A client attaches a link to the coordinator (AMQP 4.5.1).
    pub(super) fn attach_coordinator(&mut self, key: usize, link: LinkKey, attach: &Attach) {
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        let entry = self.coordinator.controls.vacant_entry();
        let terms = Terms {
            source: attach.source.clone(),
            target: Some(Box::new(Target::Coordinator { capabilities: CAPABILITIES.to_vec() })),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            max_message_size: Some(ControlMessage::SIZE_MAX),
            ..Terms::default()
        };
        if connection.engine.accept(link, terms, entry.key() as u64).is_err() {
            // The peer has detached in the same breath.
            return;
        }
        let outcomes = attach.source.as_deref().map(|source| source.outcomes.as_slice()).unwrap_or_default();
        entry.insert(Control {
            connection: key,
            link,
            settles_second: attach.rcv_settle_mode == ReceiverSettleMode::Second,
            takes_rejected: outcomes.is_empty() || outcomes.iter().any(|outcome| *outcome == REJECTED),
            message: BytesMut::new(),
        });
        let _ = connection.engine.grant(link, CREDIT);
        self.mark_dirty(key);
    }

    /// A control link is gone: its transactions are rolled back (AMQP 4.1). Does nothing for the token of
    /// another link.
    pub(super) fn end_control(&mut self, now: Instant, token: u64) {
        let Ok(index) = usize::try_from(token) else { return };
        if self.coordinator.controls.try_remove(index).is_none() {
            return;
        }
        let transactions = self.coordinator.transactions.iter();
        let left: Vec<u64> =
            transactions.filter(|(_, open)| open.control == token).map(|(id, _)| *id).collect();
        for id in left.into_iter().map(TransactionId) {
            let Some(transaction) = self.coordinator.forget(id) else { continue };
            if transaction.discharge.is_none() {
                // Its name comes from the core.
                let _ = self.core.discharge(now, id, true);
                self.give_back(now, &transaction);
            }
        }
    }

    /// A frame on a control link.
    pub(super) fn handle_control(&mut self, now: Instant, transfer: IncomingTransfer) {
        let token = transfer.token;
        let Some(control) = self.coordinator.control(token) else { return };
        let (connection, link) = (control.connection, control.link);
        if link != transfer.link {
            return;
        }
        if transfer.aborted {
            control.message = BytesMut::new();
        } else if transfer.more {
            control.message.extend_from_slice(&transfer.payload);
            return;
        }
        if let Some(connection) = self.connections.amqp_mut(connection) {
            let _ = connection.engine.grant(link, 1);
        }
        self.mark_dirty(connection);
        if !transfer.aborted {
            let message = self.whole_message(token, transfer.payload);
            self.obey(now, token, transfer.delivery, transfer.settled, &message);
        }
    }

    /// The last frame of a control message, with those before it.
    fn whole_message(&mut self, token: u64, last: Bytes) -> Bytes {
        match self.coordinator.control(token) {
            Some(control) if !control.message.is_empty() => {
                let mut message = std::mem::take(&mut control.message);
                message.extend_from_slice(&last);
                message.freeze()
            }
            _ => last,
        }
    }

    fn obey(&mut self, now: Instant, token: u64, delivery: DeliveryKey, settled: bool, message: &Bytes) {
        let answer = match ControlMessage::decode(message) {
            Ok(ControlMessage::Declare { global: None }) if settled => {
                let text = "a declare has to be sent unsettled, or its answer gets lost";
                rejected(condition::NOT_ALLOWED, text)
            }
            Ok(ControlMessage::Declare { global: None }) => self.declare(now, token),
            Ok(ControlMessage::Declare { global: Some(_) }) => {
                rejected(condition::NOT_IMPLEMENTED, "distributed transactions are not supported")
            }
            Ok(ControlMessage::Discharge { transaction, fail }) => {
                match self.discharge(now, token, transaction, Discharge { delivery, settled, fail }) {
                    Ok(()) => return,
                    Err(refusal) => refusal,
                }
            }
            Err(error) => {
                rejected(condition::DECODE_ERROR, format!("the control message cannot be read: {error}"))
            }
        };
        self.answer(now, token, delivery, settled, answer);
    }

    /// AMQP 4.2.
    fn declare(&mut self, now: Instant, token: u64) -> DeliveryState {
        let Some(connection) = self.coordinator.control(token).map(|control| control.connection) else {
            return DeliveryState::Released;
        };
        if self.coordinator.open.get(&connection).is_some_and(|open| *open >= OPEN_MAX) {
            let text = format!("the connection has {OPEN_MAX} transactions open; discharge one");
            return rejected(condition::RESOURCE_LIMIT_EXCEEDED, text);
        }
        let id = match self.core.declare(now) {
            Ok(id) => id,
            Err(error) => return refusal(&error),
        };
        *self.coordinator.open.entry(connection).or_default() += 1;
        let transaction = Transaction {
            connection,
            control: token,
            is_doomed: false,
            discharge: None,
            posts: 0,
            acquired: Vec::new(),
            retired: BTreeMap::new(),
        };
        self.coordinator.transactions.insert(id.0, transaction);
        DeliveryState::Declared(Box::new(amqp::TransactionId::from(id.0)))
    }

    /// AMQP 4.3. The answer comes with [`Self::discharged`], unless it is this refusal.
    fn discharge(
        &mut self,
        now: Instant,
        token: u64,
        name: amqp::TransactionId,
        discharge: Discharge,
    ) -> Result<(), DeliveryState> {
        let connection = self.coordinator.control(token).map(|control| control.connection);
        let id = connection.and_then(|connection| self.coordinator.find(connection, name));
        let id = id.ok_or_else(|| rejected(condition::UNKNOWN_TRANSACTION, unknown(name)))?;
        let Some(transaction) = self.coordinator.transactions.get_mut(&id.0) else { return Ok(()) };
        transaction.discharge = Some(discharge);
        // The link that asks is the link that is answered.
        transaction.control = token;
        let fail = discharge.fail || transaction.is_doomed;
        self.core.discharge(now, id, fail).map_err(|error| {
            self.coordinator.forget(id);
            refusal(&error)
        })
    }

    /// The core has ended a transaction.
    pub(super) fn discharged(&mut self, now: Instant, id: TransactionId, result: Result<(), Box<ErrorInfo>>) {
        let Some(transaction) = self.coordinator.forget(id) else { return };
        let Some(discharge) = transaction.discharge else { return };
        if discharge.fail || transaction.is_doomed || result.is_err() {
            self.give_back(now, &transaction);
        } else {
            self.settle_retired(&transaction);
        }
        let answer = match result {
            Ok(()) if transaction.is_doomed && !discharge.fail => {
                let text = "work of the transaction could not be taken over; it was rolled back";
                rejected(condition::TRANSACTION_ROLLBACK, text)
            }
            Ok(()) => DeliveryState::Accepted,
            Err(error) => to_state(Outcome::Rejected(Some(error))),
        };
        self.answer(now, transaction.control, discharge.delivery, discharge.settled, answer);
    }

    /// Tells a controller what became of its message. What it cannot be told closes the link.
    fn answer(
        &mut self,
        now: Instant,
        token: u64,
        delivery: DeliveryKey,
        settled: bool,
        answer: DeliveryState,
    ) {
        let Some(control) = self.coordinator.control(token) else { return };
        let (key, link, settles_second) = (control.connection, control.link, control.settles_second);
        let takes_rejected = control.takes_rejected;
        let answer = match answer {
            DeliveryState::Rejected(Some(error)) => {
                DeliveryState::Rejected(Some(Box::new(self.told_error(key, *error))))
            }
            answer => answer,
        };
        let error = match &answer {
            DeliveryState::Rejected(error) if settled || !takes_rejected => error.clone(),
            _ => None,
        };
        if let Some(error) = &error {
            debug!(connection = %self.name_of(key), condition = %error.condition, "control link closed");
        }
        let Some(connection) = self.connections.amqp_mut(key) else { return };
        if let Some(error) = error {
            let _ = connection.engine.detach(link, true, Some(*error));
            self.end_control(now, token);
        } else if !settled {
            let settles = !settles_second;
            let _ = connection.engine.settle(Role::Receiver, delivery, Some(answer), settles);
        }
        self.mark_dirty(key);
    }
}

// ---- work in transactions -------------------------------------------------------------------------

impl Shard {
    /// The transaction that a message is posted in (AMQP 4.4.1), by the state of its first frame.
    ///
    /// # Errors
    /// The outcome of a message that names a transaction which is not open on its connection.
    pub(super) fn posted_in(
        &self,
        key: usize,
        state: Option<&DeliveryState>,
    ) -> Result<Option<TransactionId>, Outcome> {
        let Some(DeliveryState::Transactional(state)) = state else { return Ok(None) };
        match self.coordinator.find(key, state.transaction) {
            Some(id) => Ok(Some(id)),
            None => Err(Outcome::rejected(condition::UNKNOWN_TRANSACTION, unknown(state.transaction))),
        }
    }

    /// A message was posted in a transaction: its outcome belongs to that.
    pub(super) fn note_post(&mut self, key: usize, delivery: DeliveryKey, id: TransactionId, settled: bool) {
        let post = Post { transaction: id, settled };
        let is_new = self.coordinator.posts.insert((key, delivery.to_bits()), post).is_none();
        if let Some(transaction) = self.coordinator.transactions.get_mut(&id.0) {
            transaction.posts += usize::from(is_new);
        }
    }

    /// A message that was posted in a transaction cannot be let in. Where its producer does not hear of
    /// that, the transaction does.
    pub(super) fn lose_post(&mut self, transaction: Option<TransactionId>, settled: bool) {
        if let Some(id) = transaction.filter(|_| settled) {
            self.coordinator.doom(id);
        }
    }

    /// Whether the outcome of a message that its producer has settled is still wanted.
    pub(super) fn is_awaited(&self, key: usize, delivery: DeliveryKey) -> bool {
        self.coordinator.posts.contains_key(&(key, delivery.to_bits()))
    }

    /// The state that a producer is told: that of a post stands in its transaction.
    pub(super) fn state_of_post(
        &mut self,
        connection: Option<usize>,
        handle: u64,
        state: Option<DeliveryState>,
        settled: bool,
    ) -> Option<DeliveryState> {
        if self.coordinator.posts.is_empty() {
            return state;
        }
        let post = connection.and_then(|key| self.coordinator.post((key, handle), settled));
        let Some(post) = post else { return state };
        if post.settled && state.as_ref().is_some_and(|state| *state != DeliveryState::Accepted) {
            self.coordinator.doom(post.transaction);
        }
        let transaction = amqp::TransactionId::from(post.transaction.0);
        Some(DeliveryState::Transactional(Box::new(TransactionalState { transaction, outcome: state })))
    }

    /// A consumer gives an outcome in a transaction (AMQP 4.4.2). In one that is gone it comes to what
    /// rolling back would have made of it: nothing, or, settled, a release.
    pub(super) fn retire(
        &mut self,
        now: Instant,
        key: usize,
        delivery: DeliveryKey,
        token: u64,
        state: TransactionalState,
        settled: bool,
    ) {
        let Some(leg) = LegKey::from_bits(token) else { return };
        let Some(id) = self.coordinator.find(key, state.transaction) else {
            debug!(connection = %self.name_of(key), transaction = ?state.transaction, "no such transaction");
            return self.release_retired(now, leg, settled);
        };
        let outcome = state.outcome.clone().map(from_state);
        if self.core.settle_in_transaction(now, leg, outcome, id).is_err() {
            // Its commit would say that the message has been taken.
            self.coordinator.doom(id);
            self.release_retired(now, leg, settled);
        } else if let Some(transaction) = self.coordinator.transactions.get_mut(&id.0)
            && !settled
        {
            transaction.retired.entry(delivery.to_bits()).or_insert(state.outcome);
        }
    }

    fn release_retired(&mut self, now: Instant, leg: LegKey, settled: bool) {
        if settled {
            self.core.settle_by_consumer(now, leg, Some(Outcome::Released), true);
        }
    }

    /// A consumer says in which transaction its credit acquires (AMQP 4.4.3), or that it does in none.
    pub(super) fn set_acquisition(
        &mut self,
        now: Instant,
        key: usize,
        token: u64,
        name: Option<&amqp::TransactionId>,
    ) {
        let id = name.and_then(|name| self.coordinator.find(key, *name));
        if let (Some(name), None) = (name, id) {
            let error = Error::new(condition::UNKNOWN_TRANSACTION, unknown(*name));
            return self.close_acquirer(now, token, error);
        }
        if let Some(link) = self.consumers.get_mut(token) {
            link.transaction = id;
        }
    }

    /// Sends a delivery that is acquired in a transaction. A link that acquires too much is closed.
    ///
    /// # Errors
    /// As sending any.
    pub(super) fn send_acquired(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        outgoing: Outgoing,
        id: TransactionId,
    ) -> Result<DeliveryKey, Misuse> {
        let reference = self.consumers.get(consumer.to_bits()).ok_or(Misuse::NoLink)?;
        let (key, link) = (reference.connection, reference.link);
        let connection = self.connections.amqp_mut(key).ok_or(Misuse::NoSession)?;
        let leg = LegKey::from_bits(outgoing.token).filter(|_| !outgoing.settled);
        let Some(transaction) = self.coordinator.transactions.get_mut(&id.0) else {
            // It is over, and the consumer has not said what comes next.
            return connection.engine.send(link, outgoing);
        };
        let name = amqp::TransactionId::from(id.0);
        let delivery = connection.engine.send_in_transaction(link, outgoing, name)?;
        transaction.acquired.extend(leg.map(|leg| (leg, delivery)));
        if transaction.acquired.len() > ACQUISITIONS_MAX {
            transaction.is_doomed = true;
            let text = format!("a transaction acquires more than {ACQUISITIONS_MAX} messages; discharge it");
            let error = Error::new(condition::RESOURCE_LIMIT_EXCEEDED, text);
            self.close_acquirer(now, consumer.to_bits(), error);
        }
        Ok(delivery)
    }

    fn close_acquirer(&mut self, now: Instant, token: u64, error: Error) {
        let Some((key, link)) = self.consumers.get(token).map(|link| (link.connection, link.link)) else {
            return;
        };
        if let Some(connection) = self.connections.amqp_mut(key) {
            let _ = connection.engine.detach(link, true, Some(error));
        }
        self.remove_link(now, Role::Sender, token);
        self.mark_dirty(key);
    }

    /// The outcomes given in a transaction that was committed hold.
    fn settle_retired(&mut self, transaction: &Transaction) {
        let Some(connection) = self.connections.amqp_mut(transaction.connection) else { return };
        for (delivery, outcome) in &transaction.retired {
            let delivery = DeliveryKey::from_bits(*delivery);
            let _ = connection.engine.settle(Role::Sender, delivery, outcome.clone(), true);
        }
        if !transaction.retired.is_empty() {
            self.mark_dirty(transaction.connection);
        }
    }

    /// What was done in a transaction that was rolled back is undone: what it had acquired is released, and
    /// what was retired in it counts as a failed delivery, as the core has it.
    fn give_back(&mut self, now: Instant, transaction: &Transaction) {
        let retired = transaction.retired.keys().map(|delivery| {
            let state = DeliveryState::Modified {
                delivery_failed: Some(true),
                undeliverable_here: None,
                annotations: None,
            };
            (DeliveryKey::from_bits(*delivery), state)
        });
        let acquired = transaction.acquired.iter().map(|(_, delivery)| (*delivery, DeliveryState::Released));
        if let Some(connection) = self.connections.amqp_mut(transaction.connection) {
            // Those that have been settled before are not there any more.
            for (delivery, state) in retired.chain(acquired) {
                let _ = connection.engine.settle(Role::Sender, delivery, Some(state), true);
            }
        }
        for (leg, _) in &transaction.acquired {
            self.core.settle_by_consumer(now, *leg, Some(Outcome::Released), true);
        }
        self.mark_dirty(transaction.connection);
    }
}

fn rejected(condition: &'static str, text: impl AsRef<str>) -> DeliveryState {
    DeliveryState::Rejected(Some(Box::new(Error::new(condition, text))))
}

fn refusal(refused: &Refused) -> DeliveryState {
    let condition = match refused {
        Refused::NoTransaction(_) => condition::UNKNOWN_TRANSACTION,
        Refused::LimitExceeded { .. } => condition::RESOURCE_LIMIT_EXCEEDED,
        _ => condition::ILLEGAL_STATE,
    };
    rejected(condition, refused.to_string())
}

fn unknown(id: amqp::TransactionId) -> String {
    format!("no transaction {id:?} is open on this connection; declare one first")
}
