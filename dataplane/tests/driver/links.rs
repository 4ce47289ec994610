//! Links and their credit.

use mq_amqp::Terms;
use mq_amqp::performative::{Role, Source};
use mq_model::manifest::AddressType;

use crate::client::{Client, addressed, anywhere, from, message, text, to};
use crate::node::Node;

/// The shards of producer and consumer: the same one, and two.
pub(crate) const SHARDS: [(usize, usize); 2] = [(0, 0), (0, 1)];

#[test]
fn credit_comes_with_the_first_consumer_and_is_taken_back_when_the_last_leaves() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("a");
        producer.sync();
        assert_eq!(producer.credit(out), 0, "no consumer, no credit");
        let first = consumer.consumer("a", 0);
        producer.until("credit", |client| client.credit(out) == 250);
        let second = consumer.try_attach("second", Role::Receiver, from("a")).unwrap();
        consumer.detach(first);
        consumer.sync();
        producer.sync();
        assert_eq!(producer.credit(out), 250, "one is left");
        consumer.detach(second);
        producer.until("a drain", |client| client.credit(out) == 0);
        consumer.consumer("a", 0);
        producer.until("credit again", |client| client.credit(out) == 250);
        drop((producer, consumer));
        node.until_empty();
    }
}

#[test]
fn a_deleted_address_closes_its_links_on_every_shard() {
    let node = Node::start();
    let (mut producer, mut consumer) = (Client::connect(&node, 0), Client::connect(&node, 1));
    let (out, into) = (producer.producer("a"), consumer.consumer("a", 10));
    let other = consumer.consumer("b", 10);
    node.remove("a");
    for error in [producer.detached(out), consumer.detached(into)] {
        assert_eq!(error.condition.as_str(), "amqp:resource-deleted");
        assert_eq!(error.description.unwrap().as_str(), "the address was deleted");
    }
    consumer.sync();
    assert!(consumer.links[&other].detached.is_none(), "the other address is still there");
    node.until("the links to go", |now| (now.producers, now.consumers) == (0, 1));
}

#[test]
fn what_is_not_supported_is_refused_with_the_standard_condition_and_a_sentence() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let cases = [
        (Role::Sender, to("x"), "amqp:not-found", "no address x; create it first"),
        (Role::Receiver, from("x"), "amqp:not-found", "no address x; create it first"),
        (
            Role::Sender,
            Terms { target: None, ..to("a") },
            "amqp:precondition-failed",
            "a producer's attach needs a target",
        ),
        (
            Role::Receiver,
            Terms { source: None, ..from("a") },
            "amqp:not-found",
            "no durable subscription link 3 of this container; attach with a source to make one",
        ),
        (
            Role::Receiver,
            Terms { source: Some(Box::default()), ..from("a") },
            "amqp:invalid-field",
            "a consumer's source needs an address",
        ),
    ];
    for (number, (role, terms, condition, sentence)) in cases.into_iter().enumerate() {
        let error = client.try_attach(&format!("link {number}"), role, terms).unwrap_err();
        assert_eq!((error.condition.as_str(), error.description.unwrap().as_str()), (condition, sentence));
    }
    drop(client);
    node.until_empty();
}

#[test]
fn a_link_name_attached_twice_takes_the_first_link_over() {
    let node = Node::start();
    let (mut producer, mut consumer) = (Client::connect(&node, 0), Client::connect(&node, 0));
    let out = producer.producer("a");
    let stolen = consumer.consumer("a", 5);
    // A peer that forgot its link attaches it again.
    let taken = consumer.try_attach("from a", Role::Receiver, from("a")).unwrap();
    assert_eq!(consumer.detached(stolen).condition.as_str(), "amqp:link:stolen");
    consumer.grant(taken, 1);
    let number = producer.send_text(out, "to the new link");
    let received = consumer.receive(1);
    assert_eq!((received.link, received.text().as_str()), (taken, "to the new link"));
    consumer.accept(&received);
    producer.outcome(number);
    assert_eq!(node.statistics().consumers, 1);
    drop((producer, consumer));
    node.until_empty();
}

#[test]
fn a_dynamic_address_is_reached_from_every_shard_and_goes_with_its_link() {
    let node = Node::start();
    let mut asker = Client::connect(&node, 0);
    let terms = Terms { source: Some(Box::new(Source { dynamic: true, ..Source::default() })), ..from("") };
    let replies = asker.try_attach("replies", Role::Receiver, terms).unwrap();
    asker.grant(replies, 10);
    let granted = asker.links[&replies].attach.clone().unwrap().source.unwrap();
    assert!(granted.dynamic);
    let address = granted.address.unwrap().as_str().to_owned();
    assert!(address.starts_with("$temp."), "{address}");
    for shard in [0, 1] {
        let mut answerer = Client::connect(&node, shard);
        let error = answerer.try_attach("spy", Role::Receiver, from(&address)).unwrap_err();
        assert_eq!(error.condition.as_str(), "amqp:not-allowed");
        let out = answerer.producer(&address);
        let relay = answerer.try_attach("relay", Role::Sender, anywhere()).unwrap();
        let number = answerer.send_text(out, "an answer");
        let received = asker.receive(2 * shard + 1);
        assert_eq!(received.text(), "an answer");
        asker.accept(&received);
        answerer.outcome(number);
        let number = answerer.send(relay, addressed(&address, "another answer"), false);
        let received = asker.receive(2 * shard + 2);
        assert_eq!(received.text(), "another answer");
        asker.accept(&received);
        answerer.outcome(number);
    }
    asker.detach(replies);
    asker.sync();
    let mut late = Client::connect(&node, 1);
    node.until("the address to go", |_| {
        let error = late.try_attach("late", Role::Sender, to(&address)).err();
        error.is_some_and(|error| error.condition.as_str() == "amqp:not-found")
    });
    drop((asker, late));
    node.until_empty();
}

#[test]
fn temporary_names_do_not_repeat() {
    let node = Node::start();
    let mut names = std::collections::HashSet::new();
    for shard in [0, 1] {
        let mut client = Client::connect(&node, shard);
        for number in 0..20 {
            let source = Source { dynamic: true, ..Source::default() };
            let terms = Terms { source: Some(Box::new(source)), ..from("") };
            let link = client.try_attach(&number.to_string(), Role::Receiver, terms).unwrap();
            let source = client.links[&link].attach.clone().unwrap().source.unwrap();
            assert!(names.insert(source.address.unwrap().as_str().to_owned()));
        }
    }
}

#[test]
fn a_leading_slash_of_an_address_does_not_count() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let into = client.consumer("/a", 1);
    let source = client.links[&into].attach.clone().unwrap().source.unwrap();
    assert_eq!(source.address, text("/a"), "the client reads what it asked for");
    let out = client.producer("a");
    client.send_text(out, "hello");
    assert_eq!(client.receive(1).text(), "hello");
}

#[test]
fn a_consumer_that_drains_gets_what_waits_and_gives_the_rest_back() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 0);
        let out = producer.producer("a");
        for number in 0..3 {
            producer.send_text(out, &number.to_string());
        }
        producer.sync();
        node.until("three messages to wait", |now| now.undelivered == 3);
        consumer.engine.grant(into, 10).unwrap();
        consumer.engine.drain(into).unwrap();
        consumer.until("the end of the drain", |client| client.links[&into].is_drained);
        assert_eq!(consumer.received.len(), 3, "all that waited came before");
        assert_eq!(consumer.credit(into), 0);
    }
}

#[test]
fn a_link_says_how_large_a_message_its_address_takes() {
    let node = Node::with(|config| config.limits.max_message_size = 100_000);
    node.set("small", AddressType::Anycast, |spec| spec.limits.max_message_size = Some(1_000));
    let mut client = Client::connect(&node, 0);
    client.consumer("small", 10);
    let mut limit = |name: &str, terms| {
        let link = client.try_attach(name, Role::Sender, terms).unwrap();
        client.links[&link].attach.clone().unwrap().max_message_size
    };
    assert_eq!(limit("1", to("small")), Some(1_000));
    assert_eq!(limit("2", to("a")), Some(100_000));
    assert_eq!(limit("3", anywhere()), Some(100_000));
    let out = client.producer("small");
    let fits = client.send(out, message(&"x".repeat(900)), false);
    let received = client.receive(1);
    client.accept(&received);
    client.outcome(fits);
    client.send(out, message(&"x".repeat(1_000)), false);
    assert_eq!(client.detached(out).condition.as_str(), "amqp:link:message-size-exceeded");
    drop(client);
    node.until_empty();
}

#[test]
fn a_refused_attach_that_the_peer_takes_back_leaves_nothing() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    for (name, terms) in [("known", to("a")), ("unknown", to("x"))] {
        // Both frames arrive in one read.
        let link = client.engine.attach(client.session, name.into(), Role::Sender, terms, 0).unwrap();
        client.engine.detach(link, true, None).unwrap();
    }
    client.sync();
    let counts = node.statistics();
    assert_eq!((counts.producers, counts.consumers), (0, 0));
}
