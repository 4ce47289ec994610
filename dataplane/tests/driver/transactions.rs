//! Local transactions (AMQP part 4) as a client sees them, on queues whose home is either shard.

use bytes::{Bytes, BytesMut};
use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{DeliveryState, Error, Role, Source, Target};
use mq_amqp::transaction::{ControlMessage, TransactionId, TransactionalState, capability};
use mq_amqp::value::Symbol;
use mq_amqp::{LinkKey, Outgoing, Terms};
use mq_model::manifest::AddressType;

use crate::client::{Client, Received, from, message, to};
use crate::node::{Node, Place};

/// Queues enough for each shard to be the home of some.
const QUEUES: [&str; 4] = ["q", "q1", "q2", "q3"];

fn node() -> Node {
    let node = Node::start();
    for name in &QUEUES[1..] {
        node.set(name, AddressType::Queue, |_| {});
    }
    node
}

fn coordinator() -> Terms {
    let capabilities = vec![Symbol::from_static(capability::LOCAL)];
    Terms { target: Some(Box::new(Target::Coordinator { capabilities })), ..to("unused") }
}

fn in_transaction(transaction: TransactionId, outcome: DeliveryState) -> DeliveryState {
    DeliveryState::Transactional(Box::new(TransactionalState { transaction, outcome: Some(outcome) }))
}

/// A client with a control link.
struct Controller {
    client: Client,
    control: LinkKey,
}

impl Controller {
    fn connect(node: &Node, shard: usize) -> Self {
        let mut client = Client::connect(node, shard);
        let control = client.try_attach("control", Role::Sender, coordinator()).expect("a coordinator");
        Self { client, control }
    }

    fn say(&mut self, message: &ControlMessage) -> DeliveryState {
        let number = self.client.send(self.control, message.to_bytes(), false);
        self.client.outcome(number)
    }

    fn declare(&mut self) -> TransactionId {
        match self.say(&ControlMessage::Declare { global: None }) {
            DeliveryState::Declared(id) => *id,
            other => panic!("{other:?}"),
        }
    }

    fn discharge(&mut self, transaction: TransactionId, fail: bool) -> DeliveryState {
        self.say(&ControlMessage::Discharge { transaction, fail })
    }

    #[track_caller]
    fn commit(&mut self, transaction: TransactionId) {
        assert_eq!(self.discharge(transaction, false), DeliveryState::Accepted);
    }

    #[track_caller]
    fn roll_back(&mut self, transaction: TransactionId) {
        assert_eq!(self.discharge(transaction, true), DeliveryState::Accepted);
    }

    /// Posts a message; its outcome.
    fn post(&mut self, link: LinkKey, payload: Bytes, transaction: TransactionId) -> DeliveryState {
        self.client.until("credit", |client| client.credit(link) > 0);
        let number = self.start(link, payload, false, transaction);
        self.client.outcome(number)
    }

    fn start(&mut self, link: LinkKey, payload: Bytes, settled: bool, transaction: TransactionId) -> u64 {
        let number = 1_000_000 + self.client.states.len() as u64;
        let outgoing =
            Outgoing { tag: number.into(), token: number, settled, message_format: 0, payload, more: false };
        self.client.engine.send_in_transaction(link, outgoing, transaction).expect("credit");
        self.client.write();
        number
    }

    fn retire(&mut self, received: &Received, outcome: DeliveryState, settled: bool, id: TransactionId) {
        self.client.settle(received, in_transaction(id, outcome), settled);
    }
}

/// What a queue gives to a consumer that takes all there is.
fn drained(node: &Node, queue: &str) -> Vec<String> {
    let before = consumers(node, queue);
    let mut client = Client::connect(node, 0);
    let link = client.consumer(queue, 100);
    client.engine.drain(link).expect("receiving");
    client.until("a drained link", |client| client.links[&link].is_drained);
    let all = client.received.clone();
    for received in &all {
        client.accept(received);
    }
    client.detach(link);
    // What comes next is not for this consumer.
    until_consumers(node, queue, before);
    all.iter().map(Received::text).collect()
}

/// Consumers of a queue, as its home knows them.
fn consumers(node: &Node, queue: &str) -> u64 {
    let shards = node.wait_for(node.hub().addresses(Some(&queue.into())));
    shards.iter().filter_map(|shard| shard.queue.as_ref()).map(|queue| queue.consumers).sum()
}

/// Waits until the home of a queue knows who has left.
fn until_consumers(node: &Node, queue: &str, count: u64) {
    node.until("the consumers that are left", |_| consumers(node, queue) == count);
}

#[track_caller]
fn assert_rejected(state: &DeliveryState, condition: &str) -> Error {
    match state {
        DeliveryState::Rejected(Some(error)) if error.condition == condition => (**error).clone(),
        other => panic!("{other:?} is not rejected with {condition}"),
    }
}

#[test]
fn the_coordinator_says_what_it_can() {
    let node = node();
    let controller = Controller::connect(&node, 0);
    let attach = controller.client.links[&controller.control].attach.clone().expect("an answer");
    let Some(Target::Coordinator { capabilities }) = attach.target.as_deref() else { panic!("{attach:?}") };
    assert!(capabilities.iter().any(|name| *name == capability::LOCAL));
    assert!(!capabilities.iter().any(|name| *name == capability::DISTRIBUTED));
    assert_eq!(attach.max_message_size, Some(ControlMessage::SIZE_MAX));
}

#[test]
fn what_is_posted_is_there_once_it_is_committed_and_never_when_it_is_rolled_back() {
    let node = node();
    for shard in [0, 1] {
        let mut controller = Controller::connect(&node, shard);
        for queue in QUEUES {
            let out = controller.client.producer(queue);
            let (kept, dropped) = (controller.declare(), controller.declare());
            for (text, id) in [("one", kept), ("none", dropped), ("two", kept)] {
                let outcome = controller.post(out, message(text), id);
                assert_eq!(outcome, in_transaction(id, DeliveryState::Accepted), "{queue}");
            }
            assert!(drained(&node, queue).is_empty(), "nothing is there before the commit");
            controller.roll_back(dropped);
            controller.commit(kept);
            assert_eq!(drained(&node, queue), ["one", "two"], "{queue} from shard {shard}");
        }
    }
}

#[test]
fn one_transaction_spans_queues_and_sessions_of_a_connection() {
    let node = node();
    let mut controller = Controller::connect(&node, 1);
    let id = controller.declare();
    for queue in QUEUES {
        let out = controller.client.producer(queue);
        controller.post(out, message(queue), id);
    }
    controller.commit(id);
    for queue in QUEUES {
        assert_eq!(drained(&node, queue), [queue]);
    }
}

#[test]
fn a_message_in_frames_is_posted_whole() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let out = controller.client.producer("q");
    let id = controller.declare();
    let text = "x".repeat(300_000);
    assert_eq!(controller.post(out, message(&text), id), in_transaction(id, DeliveryState::Accepted));
    controller.commit(id);
    assert_eq!(drained(&node, "q"), [text]);
}

#[test]
fn settled_posts_count_in_their_transaction() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let out = controller.client.producer("q");
    controller.client.until("credit", |client| client.credit(out) > 3);
    for fail in [true, false] {
        let id = controller.declare();
        controller.start(out, message(if fail { "rolled back" } else { "committed" }), true, id);
        assert_eq!(controller.discharge(id, fail), DeliveryState::Accepted);
    }
    assert_eq!(drained(&node, "q"), ["committed"]);
}

#[test]
fn a_settled_post_that_is_refused_lets_the_commit_fail() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let (out, router) = (controller.client.producer("q"), controller.client.producer("a"));
    let mut consumer = Client::connect(&node, 0);
    consumer.consumer("a", 10);
    controller.client.until("credit", |client| client.credit(router) > 1);
    for text in ["short".to_owned(), "x".repeat(300_000)] {
        let id = controller.declare();
        controller.post(out, message("half of it"), id);
        // Address `a` keeps no messages, and can hold none back.
        controller.start(router, message(&text), true, id);
        assert_rejected(&controller.discharge(id, false), "amqp:transaction:rollback");
        assert!(drained(&node, "q").is_empty());
    }
    consumer.sync();
    assert!(consumer.received.is_empty());
    let id = controller.declare();
    controller.start(out, Bytes::from_static(b"\xff no message"), true, id);
    assert_rejected(&controller.discharge(id, false), "amqp:transaction:rollback");
}

#[test]
fn what_is_retired_is_gone_once_it_is_committed_and_back_when_it_is_rolled_back() {
    let node = node();
    for (settled, queue) in [(true, "q"), (false, "q1"), (true, "q2"), (false, "q3")] {
        let mut producer = Client::connect(&node, 0);
        let out = producer.producer(queue);
        for text in ["one", "two"] {
            let number = producer.send_text(out, text);
            assert_eq!(producer.outcome(number), DeliveryState::Accepted);
        }
        let mut controller = Controller::connect(&node, 1);
        let into = controller.client.consumer(queue, 10);
        let (first, second) = (controller.client.receive(1), controller.client.receive(2));
        let (kept, dropped) = (controller.declare(), controller.declare());
        controller.retire(&first, DeliveryState::Accepted, settled, kept);
        controller.retire(&second, DeliveryState::Accepted, settled, dropped);
        controller.commit(kept);
        controller.roll_back(dropped);
        controller.client.detach(into);
        // What was rolled back may have come to this consumer again; its home has to know that it left.
        until_consumers(&node, queue, 0);
        assert_eq!(drained(&node, queue), ["two"], "{queue}, settled: {settled}");
    }
}

#[test]
fn a_control_link_that_goes_takes_its_transactions_with_it() {
    let node = node();
    for ends_connection in [false, true] {
        let mut controller = Controller::connect(&node, 0);
        let out = controller.client.producer("q");
        let id = controller.declare();
        controller.post(out, message("lost"), id);
        if ends_connection {
            drop(controller);
            node.until_empty();
        } else {
            let control = controller.control;
            controller.client.detach(control);
            controller.client.sync();
            let outcome = controller.post(out, message("late"), id);
            assert_rejected(&outcome, "amqp:transaction:unknown-id");
        }
        assert!(drained(&node, "q").is_empty());
    }
}

#[test]
fn a_transaction_is_known_to_its_own_connection_until_it_is_discharged() {
    let node = node();
    let (mut ours, mut theirs) = (Controller::connect(&node, 0), Controller::connect(&node, 0));
    let out = theirs.client.producer("q");
    let id = ours.declare();
    for unknown in [id, TransactionId::from(u64::MAX), TransactionId::new(b"name").expect("short")] {
        let error = assert_rejected(&theirs.post(out, message("x"), unknown), "amqp:transaction:unknown-id");
        assert!(error.description.expect("a sentence").as_str().contains("declare one first"));
        assert_rejected(&theirs.discharge(unknown, false), "amqp:transaction:unknown-id");
    }
    ours.commit(id);
    assert_rejected(&ours.discharge(id, false), "amqp:transaction:unknown-id");
    assert!(drained(&node, "q").is_empty());
}

#[test]
fn a_connection_has_its_number_of_transactions_and_leaves_those_of_others_alone() {
    let node = node();
    let (mut one, mut other) = (Controller::connect(&node, 0), Controller::connect(&node, 0));
    let first = one.declare();
    for _ in 1..1_000 {
        one.declare();
    }
    assert_rejected(&one.say(&ControlMessage::Declare { global: None }), "amqp:resource-limit-exceeded");
    let others = other.declare();
    other.commit(others);
    one.commit(first);
    let again = one.declare();
    one.roll_back(again);
}

#[test]
fn an_outcome_in_an_unknown_transaction_takes_nothing_from_the_queue() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let out = controller.client.producer("q");
    let number = controller.client.send_text(out, "kept");
    controller.client.outcome(number);
    let into = controller.client.consumer("q", 1);
    let received = controller.client.receive(1);
    controller.retire(&received, DeliveryState::Accepted, true, TransactionId::from(77));
    controller.client.detach(into);
    controller.client.sync();
    assert_eq!(drained(&node, "q"), ["kept"]);
}

#[test]
fn what_a_coordinator_does_not_understand_it_rejects() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let global = Some(Bytes::from_static(&[0x52, 0x07]));
    assert_rejected(&controller.say(&ControlMessage::Declare { global }), "amqp:not-implemented");
    let control = controller.control;
    let number = controller.client.send_text(control, "no control message");
    let outcome = controller.client.outcome(number);
    assert_rejected(&outcome, "amqp:decode-error");
    // The link goes on.
    let id = controller.declare();
    controller.commit(id);
}

#[test]
fn a_control_message_may_come_in_frames_and_have_sections_around_it() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let mut bytes = BytesMut::new();
    Header::default().encode(&mut bytes);
    ControlMessage::Declare { global: None }.encode(&mut bytes);
    let bytes = bytes.freeze();
    let (client, control) = (&mut controller.client, controller.control);
    client.until("credit", |client| client.credit(control) > 0);
    let number = client.start(control, bytes.slice(..5), false, true);
    client.engine.send_more(control, bytes.slice(5..8), true).expect("started");
    client.write();
    client.engine.send_more(control, bytes.slice(8..), false).expect("started");
    client.write();
    assert!(matches!(client.outcome(number), DeliveryState::Declared(_)));
}

#[test]
fn a_settled_declare_closes_the_control_link_because_its_answer_would_be_lost() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let control = controller.control;
    controller.client.send(control, ControlMessage::Declare { global: None }.to_bytes(), true);
    assert_eq!(controller.client.detached(control).condition, "amqp:not-allowed");
}

#[test]
fn a_controller_that_knows_no_rejection_is_told_by_a_detach() {
    let node = node();
    let mut client = Client::connect(&node, 0);
    let outcomes = vec![Symbol::from_static("amqp:accepted:list"), Symbol::from_static("amqp:declared:list")];
    let source = Some(Box::new(Source { outcomes, ..Source::default() }));
    let control =
        client.try_attach("control", Role::Sender, Terms { source, ..coordinator() }).expect("a coordinator");
    let discharge = ControlMessage::Discharge { transaction: TransactionId::from(9), fail: false };
    client.send(control, discharge.to_bytes(), false);
    assert_eq!(client.detached(control).condition, "amqp:transaction:unknown-id");
}

#[test]
fn what_is_acquired_in_a_transaction_goes_back_when_that_is_rolled_back() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let out = controller.client.producer("q");
    for text in ["one", "two"] {
        let number = controller.client.send_text(out, text);
        controller.client.outcome(number);
    }
    let id = controller.declare();
    let into = controller.client.try_attach("in", Role::Receiver, from("q")).expect("a queue");
    controller.client.engine.acquire(into, Some(id)).expect("receiving");
    controller.client.grant(into, 2);
    let first = controller.client.receive(2);
    let first = Received { delivery: controller.client.received[0].delivery, ..first };
    controller.retire(&first, DeliveryState::Accepted, false, id);
    controller.roll_back(id);
    controller.client.sync();
    assert_eq!(drained(&node, "q"), ["one", "two"]);
}

#[test]
fn acquiring_in_an_unknown_transaction_closes_the_link() {
    let node = node();
    let mut controller = Controller::connect(&node, 0);
    let into = controller.client.try_attach("in", Role::Receiver, from("q")).expect("a queue");
    controller.client.engine.acquire(into, Some(TransactionId::from(5))).expect("receiving");
    controller.client.write();
    assert_eq!(controller.client.detached(into).condition, "amqp:transaction:unknown-id");
}

#[test]
fn a_committed_durable_post_survives_a_restart_and_an_open_one_does_not() {
    let durable = |text: &str| {
        let header = Some(Header { durable: true, ..Header::default() });
        Message { header, ..Message::data(text.as_bytes().to_vec()) }.to_bytes()
    };
    let place = Place::new();
    {
        let node = Node::at(&place, |_| {});
        let mut controller = Controller::connect(&node, 0);
        let out = controller.client.producer("q");
        let (kept, open) = (controller.declare(), controller.declare());
        controller.post(out, durable("kept"), kept);
        controller.post(out, durable("open"), open);
        controller.commit(kept);
    }
    assert_eq!(drained(&Node::at(&place, |_| {}), "q"), ["kept"]);
}
