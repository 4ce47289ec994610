//! Local transactions between two engines (AMQP part 4): the control link, transfers, outcomes and credit.

use bytes::Bytes;

use super::pair::*;
use super::peer::*;
use crate::performative::{DeliveryState, Flow, Performative, Role, Target};
use crate::transaction::{ControlMessage, TransactionId, TransactionalState, capability};
use crate::value::{Symbol, Value};
use crate::{DeliveryKey, Event, IncomingTransfer, Limits, LinkKey, SessionKey, Terms, condition};

fn coordinator() -> Terms {
    let capabilities = vec![Symbol::from_static(capability::LOCAL)];
    Terms { target: Some(Box::new(Target::Coordinator { capabilities })), ..terms("controller") }
}

fn transactional(transaction: TransactionId, outcome: Option<DeliveryState>) -> DeliveryState {
    DeliveryState::Transactional(Box::new(TransactionalState { transaction, outcome }))
}

fn transfer(event: Event) -> Option<IncomingTransfer> {
    match event {
        Event::Transfer(transfer) => Some(transfer),
        _ => None,
    }
}

/// A disposition: the caller's name of the delivery, its state, whether it is settled.
fn disposition(event: Event) -> Option<(u64, Option<DeliveryState>, bool)> {
    match event {
        Event::Disposition { delivery_token, state, settled, .. } => Some((delivery_token, state, settled)),
        _ => None,
    }
}

/// A client with a control link, known to the server.
struct Bed {
    pair: Pair,
    session: SessionKey,
    control: LinkKey,
}

impl Bed {
    fn new() -> Self {
        let mut pair = Pair::open();
        let session = pair.session();
        let (control, coordinator) =
            pair.link_with(session, "control", Role::Sender, coordinator(), coordinator());
        pair.server.engine.grant(coordinator, 10).expect("receiving");
        pair.run();
        Self { pair, session, control }
    }

    /// Says something on the control link; the server answers with `state`. What the server was told, and
    /// what the client was.
    fn say(&mut self, message: &ControlMessage, state: DeliveryState) -> (ControlMessage, DeliveryState) {
        let engine = &mut self.pair.client.engine;
        engine.send(self.control, outgoing(99, message.to_bytes())).expect("credit");
        self.pair.run();
        let said = self.pair.server.expect("Transfer", transfer);
        let heard = ControlMessage::decode(&said.payload).expect("a control message");
        self.pair.server.engine.settle(Role::Receiver, said.delivery, Some(state), true).expect("here");
        self.pair.run();
        let (token, state, settled) = self.pair.client.expect("Disposition", disposition);
        assert_eq!((token, settled), (99, true));
        (heard, state.expect("a state"))
    }

    fn declare(&mut self) -> TransactionId {
        let id = TransactionId::from(7);
        let declared = DeliveryState::Declared(Box::new(id));
        let answer = self.say(&ControlMessage::Declare { global: None }, declared.clone());
        assert_eq!(answer, (ControlMessage::Declare { global: None }, declared));
        id
    }
}

fn flow(event: Event) -> Option<(u32, Option<Box<TransactionId>>)> {
    match event {
        Event::LinkFlow { credit, transaction, .. } => Some((credit, transaction)),
        _ => None,
    }
}

#[test]
fn a_coordinator_is_attached_with_its_capabilities_both_ways() {
    let mut pair = Pair::open();
    let session = pair.session();
    pair.client
        .engine
        .attach(session, "control".into(), Role::Sender, coordinator(), 1)
        .expect("a free handle");
    pair.run();
    let wants = |event: Event| match event {
        Event::LinkAttached { link, attach } => Some((link, attach.target)),
        _ => None,
    };
    let (link, target) = pair.server.expect("LinkAttached", wants);
    assert_eq!(target, coordinator().target);
    let both = [capability::LOCAL, capability::MULTIPLE_PER_SESSION].map(Symbol::from_static).to_vec();
    let offered = Some(Box::new(Target::Coordinator { capabilities: both }));
    pair.server.engine.accept(link, Terms { target: offered.clone(), ..terms("x") }, 2).expect("offered");
    pair.run();
    assert_eq!(pair.client.expect("LinkAttached", wants).1, offered);
}

#[test]
fn a_transaction_is_declared_and_discharged_on_the_control_link() {
    let mut bed = Bed::new();
    let transaction = bed.declare();
    let discharge = ControlMessage::Discharge { transaction, fail: false };
    assert_eq!(bed.say(&discharge, DeliveryState::Accepted), (discharge, DeliveryState::Accepted));
}

#[test]
fn a_post_carries_its_transaction_and_so_does_its_outcome() {
    let mut bed = Bed::new();
    let transaction = bed.declare();
    let (out, into) = bed.pair.link(bed.session, "orders", Role::Sender);
    bed.pair.server.engine.grant(into, 1).expect("receiving");
    bed.pair.run();
    bed.pair.client.engine.send_in_transaction(out, outgoing(5, "order"), transaction).expect("credit");
    bed.pair.run();
    let got = bed.pair.server.expect("Transfer", transfer);
    assert_eq!(got.state, Some(transactional(transaction, None)));
    let accepted = transactional(transaction, Some(DeliveryState::Accepted));
    bed.pair.server.engine.settle(Role::Receiver, got.delivery, Some(accepted.clone()), true).expect("here");
    bed.pair.run();
    assert_eq!(bed.pair.client.expect("Disposition", disposition), (5, Some(accepted), true));
}

#[test]
fn a_post_in_frames_names_its_transaction_once_and_fits_the_frames_of_the_peer() {
    let server = Limits { max_frame_size: 512, ..Limits::default() };
    let mut pair = Pair::open_with(Limits::default(), server);
    let session = pair.session();
    let (out, into) = pair.link(session, "a", Role::Sender);
    pair.server.engine.grant(into, 1).expect("receiving");
    pair.run();
    let longest = TransactionId::new(&[7; 32]).expect("32 bytes");
    let payload: Bytes = vec![1; 2_000].into();
    pair.client.engine.send_in_transaction(out, outgoing(1, payload.clone()), longest).expect("credit");
    pair.run();
    let frames: Vec<_> = pair.server.events.drain(..).filter_map(transfer).collect();
    assert!(pair.server.error.is_none() && frames.len() > 4);
    let states: Vec<_> = frames.iter().map(|frame| frame.state.is_some()).collect();
    assert!(states[0] && states[1..].iter().all(|has_state| !has_state));
    assert_eq!(frames.iter().map(|frame| frame.payload.len()).sum::<usize>(), payload.len());
}

/// A consumer of the client with `count` deliveries, by the tokens 0 and on.
fn consuming(bed: &mut Bed, count: u64) -> (LinkKey, Vec<DeliveryKey>) {
    let (into, out) = bed.pair.link(bed.session, "in", Role::Receiver);
    bed.pair.client.engine.grant(into, 100).expect("receiving");
    bed.pair.run();
    for token in 0..count {
        bed.pair.server.engine.send(out, outgoing(token, "x")).expect("credit");
    }
    bed.pair.run();
    let got = bed.pair.client.events.drain(..).filter_map(transfer).map(|got| got.delivery).collect();
    (into, got)
}

#[test]
fn a_retirement_names_its_transaction_and_leaves_the_delivery_unsettled_until_the_sender_settles() {
    let mut bed = Bed::new();
    let transaction = bed.declare();
    let (_, deliveries) = consuming(&mut bed, 2);
    let accepted = transactional(transaction, Some(DeliveryState::Accepted));
    let released = transactional(transaction, Some(DeliveryState::Released));
    for (delivery, state) in deliveries.iter().zip([&accepted, &released]) {
        bed.pair.client.engine.settle(Role::Receiver, *delivery, Some(state.clone()), false).expect("here");
    }
    bed.pair.run();
    assert_eq!(bed.pair.server.expect("Disposition", disposition), (0, Some(accepted), false));
    assert_eq!(bed.pair.server.expect("Disposition", disposition), (1, Some(released), false));
    assert_eq!(bed.pair.server.engine.sessions().next().expect("here").unsettled_outgoing, 2);
}

#[test]
fn retirements_of_one_transaction_leave_as_one_disposition_and_those_of_two_do_not() {
    let (mut peer, link) = Peer::with_link(Role::Receiver);
    peer.end.engine.grant(link, 10).expect("receiving");
    for id in 0..4 {
        peer.says(0, Performative::Transfer(super::peer::transfer(0, id)));
    }
    let incoming: Vec<_> = peer.events().into_iter().filter_map(transfer).map(|got| got.delivery).collect();
    peer.said();
    for (delivery, id) in incoming.into_iter().zip([1, 1, 1, 2]) {
        let state = transactional(TransactionId::from(id), Some(DeliveryState::Accepted));
        peer.end.engine.settle(Role::Receiver, delivery, Some(state), true).expect("here");
    }
    let told: Vec<_> = peer
        .performatives()
        .into_iter()
        .filter_map(|said| match said {
            Performative::Disposition(told) => Some((told.first, told.last.unwrap_or(told.first))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(0, 2), (3, 3)]);
}

#[test]
fn credit_may_acquire_in_a_transaction_until_it_is_told_otherwise() {
    let mut bed = Bed::new();
    let transaction = bed.declare();
    let (into, out) = bed.pair.link(bed.session, "in", Role::Receiver);
    bed.pair.client.engine.acquire(into, Some(transaction)).expect("receiving");
    bed.pair.client.engine.grant(into, 5).expect("receiving");
    bed.pair.run();
    let told = Some(Box::new(transaction));
    assert_eq!(bed.pair.server.expect("LinkFlow", flow), (0, told.clone()));
    assert_eq!(bed.pair.server.expect("LinkFlow", flow), (5, told), "later flows keep it");
    bed.pair.server.engine.send_in_transaction(out, outgoing(1, "x"), transaction).expect("credit");
    bed.pair.client.engine.acquire(into, None).expect("receiving");
    bed.pair.run();
    let got = bed.pair.client.expect("Transfer", transfer);
    assert_eq!(got.state, Some(transactional(transaction, None)));
    assert_eq!(bed.pair.server.expect("LinkFlow", flow).1, None);
    assert!(bed.pair.client.engine.acquire(bed.control, None).is_err(), "what we send acquires nothing");
}

#[test]
fn a_flow_with_a_txn_id_that_is_none_ends_the_session() {
    for id in [Value::UInt(7), Value::Binary(Bytes::from_static(&[0; 33])), Value::Boolean(true)] {
        let (mut peer, _) = Peer::with_link(Role::Sender);
        let properties = vec![(Symbol::from_static("txn-id").into(), id)];
        peer.says(0, Performative::Flow(Flow { properties, ..credit(0, 0, 1) }));
        assert_eq!(peer.refusal(), ("end", condition::INVALID_FIELD.into()));
    }
    let (mut peer, _) = Peer::with_link(Role::Sender);
    let properties = vec![(Symbol::from_static("other").into(), Value::UInt(7))];
    peer.says(0, Performative::Flow(Flow { properties, ..credit(0, 0, 1) }));
    assert_eq!(peer.events().into_iter().find_map(flow), Some((1, None)));
}

#[test]
fn a_control_message_beyond_the_size_of_the_link_closes_it() {
    let mut pair = Pair::open();
    let session = pair.session();
    let theirs = Terms { max_message_size: Some(ControlMessage::SIZE_MAX), ..coordinator() };
    let (control, into) = pair.link_with(session, "control", Role::Sender, coordinator(), theirs);
    pair.server.engine.grant(into, 1).expect("receiving");
    pair.run();
    let long = vec![0; ControlMessage::SIZE_MAX as usize + 1];
    pair.client.engine.send(control, outgoing(1, long)).expect("credit");
    pair.run();
    let error = pair.client.expect("LinkDetached", |event| match event {
        Event::LinkDetached { error, .. } => error,
        _ => None,
    });
    assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
}
