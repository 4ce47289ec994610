//! Topics: who gets what is published, and what is kept for those that are away.

use mq_amqp::Terms;
use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{DeliveryState, Role, Source, TerminusDurability, TerminusExpiryPolicy};
use mq_amqp::value::{Symbol, Value};
use mq_amqp::{Limits, LinkKey};
use mq_model::manifest::AddressType;

use crate::client::{Client, Received, from, text};
use crate::node::{Node, Place};

fn durable(body: &str) -> Vec<u8> {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(body.as_bytes().to_vec()) }.to_bytes().to_vec()
}

fn texts(client: &Client) -> Vec<String> {
    client.received.iter().map(Received::text).collect()
}

/// A client of this container.
fn client(node: &Node, shard: usize, container: &str) -> Client {
    Client::named(node.connect(shard), Limits { incoming_window: 4_096, ..Limits::default() }, container)
}

/// Terms of a durable subscriber, as Qpid JMS writes them.
fn subscriber(address: &str, capabilities: &[&str]) -> Terms {
    let source = Source {
        address: text(address),
        durable: TerminusDurability::UnsettledState,
        expiry_policy: TerminusExpiryPolicy::Never,
        distribution_mode: Some("copy".into()),
        capabilities: capabilities.iter().map(|name| Symbol::from(*name)).collect(),
        ..Source::default()
    };
    Terms { source: Some(Box::new(source)), ..from(address) }
}

fn subscribe(client: &mut Client, name: &str, terms: Terms) -> LinkKey {
    let link = client.try_attach(name, Role::Receiver, terms).unwrap();
    client.grant(link, 100);
    link
}

/// Waits until the topic's home knows of so many consumers: it hears of a detach after the client has the
/// answer.
#[track_caller]
fn until_consumers(node: &Node, count: u64) {
    node.until("the subscriptions", |_| {
        let subscriptions = node.wait_for(node.hub().subscriptions(&"t".into()));
        subscriptions.iter().map(|one| one.statistics.queue.consumers).sum::<u64>() == count
    });
}

/// Sends and waits until it is accepted.
fn publish(client: &mut Client, address: &str, body: &str) {
    let name = format!("to {address} {body}");
    let out = client.try_attach(&name, Role::Sender, crate::client::to(address)).unwrap();
    let number = client.send(out, durable(body), false);
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
}

#[test]
fn every_subscriber_gets_what_is_published_at_or_below_its_filter() {
    for shards in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let node = Node::start();
        let (mut all, mut some, mut one) =
            (client(&node, shards.1, "all"), client(&node, shards.0, "some"), client(&node, shards.1, "one"));
        subscribe(&mut all, "all", from("t/#"));
        subscribe(&mut some, "some", from("t/+/x"));
        subscribe(&mut one, "one", from("t/a/x"));
        let mut publisher = client(&node, shards.0, "publisher");
        for name in ["t/a/x", "t/b/x", "t/b/y"] {
            publish(&mut publisher, name, name);
        }
        all.receive(3);
        some.receive(2);
        one.receive(1);
        assert_eq!(texts(&all), ["t/a/x", "t/b/x", "t/b/y"]);
        assert_eq!(texts(&some), ["t/a/x", "t/b/x"]);
        assert_eq!(texts(&one), ["t/a/x"]);
    }
}

#[test]
fn a_subscriber_whose_attach_is_answered_gets_what_is_published_next_whatever_its_shard() {
    for shards in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let node = Node::start();
        let (mut publisher, mut reader) =
            (client(&node, shards.0, "publisher"), client(&node, shards.1, "reader"));
        let out = publisher.producer("t");
        publisher.until("credit", |client| client.credit(out) > 0);
        for round in 1..=50 {
            let link = reader.try_attach(&format!("in {round}"), Role::Receiver, from("t")).unwrap();
            // Its credit may come later.
            let number = publisher.send_text(out, &round.to_string());
            assert_eq!(publisher.outcome(number), DeliveryState::Accepted);
            reader.grant(link, 1);
            assert_eq!(reader.receive(round).text(), round.to_string());
            reader.detach(link);
        }
    }
}

#[test]
fn a_durable_subscription_in_use_is_refused_and_goes_on() {
    for shards in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let node = Node::start();
        let mut reader = client(&node, shards.0, "reader");
        let link = subscribe(&mut reader, "news", subscriber("t", &["topic"]));
        let mut other = client(&node, shards.1, "reader");
        for terms in [subscriber("t", &["topic"]), subscriber("t/#", &["topic"])] {
            let error = other.try_attach("news", Role::Receiver, terms).unwrap_err();
            assert_eq!(error.condition.as_str(), "amqp:resource-locked");
        }
        assert!(other.was_never_let_in());
        publish(&mut other, "t", "one");
        assert_eq!(reader.receive(1).text(), "one");
        let received = reader.received[0].clone();
        reader.accept(&received);
        reader.engine.detach(link, false, None).unwrap();
        reader.write();
        until_consumers(&node, 0);
        // What it was refused has not changed what the name stands for.
        let link = subscribe(&mut other, "news", Terms { source: None, ..from("t") });
        let source = other.links[&link].attach.clone().unwrap().source.unwrap();
        assert_eq!(source.address, text("t"));
    }
}

#[test]
fn a_durable_subscription_gets_what_it_missed_also_over_a_restart_until_it_is_closed() {
    for shard in [0, 1] {
        let place = Place::new();
        let node = Node::at(&place, |_| {});
        let mut subscribed = client(&node, shard, "reader");
        let link = subscribe(&mut subscribed, "news", subscriber("t", &["topic"]));
        let source = subscribed.links[&link].attach.clone().unwrap().source.unwrap();
        assert_eq!(source.expiry_policy, TerminusExpiryPolicy::Never);
        assert_eq!(source.durable, TerminusDurability::UnsettledState);
        // Detached, and not closed: the subscription goes on.
        subscribed.engine.detach(link, false, None).unwrap();
        subscribed.sync();
        let mut publisher = client(&node, 0, "publisher");
        publish(&mut publisher, "t", "one");
        drop((subscribed, publisher));
        drop(node);

        let node = Node::at(&place, |_| {});
        let mut publisher = client(&node, 1, "publisher");
        publish(&mut publisher, "t", "two");
        let mut stranger = client(&node, shard, "stranger");
        subscribe(&mut stranger, "news", subscriber("t", &["topic"]));
        let mut back = client(&node, shard, "reader");
        // By the name of the link alone, as a client does that wants to end the subscription.
        let link = subscribe(&mut back, "news", Terms { source: None, ..from("t") });
        let source = back.links[&link].attach.clone().unwrap().source.unwrap();
        assert_eq!(source.address, text("t"));
        back.receive(2);
        assert_eq!(texts(&back), ["one", "two"]);
        for received in back.received.clone() {
            back.accept(&received);
        }
        stranger.sync();
        assert!(stranger.received.is_empty(), "another container's subscription of that name is another one");
        back.detach(link);
        until_consumers(&node, 1);
        let gone = back.try_attach("news", Role::Receiver, Terms { source: None, ..from("t") }).unwrap_err();
        assert_eq!(gone.condition.as_str(), "amqp:not-found");
        publish(&mut publisher, "t", "three");
        subscribe(&mut back, "news", subscriber("t", &["topic"]));
        publish(&mut publisher, "t", "four");
        back.receive(3);
        assert_eq!(texts(&back)[2], "four", "what came between the two is not for either");
    }
}

#[test]
fn the_links_of_a_shared_subscription_share_its_messages() {
    for (name, capabilities, second) in
        [("own", vec!["topic", "shared"], "one"), ("global", vec!["topic", "shared", "global"], "two")]
    {
        let node = Node::start();
        let (mut first, mut other) = (client(&node, 0, "one"), client(&node, 1, second));
        for (client, link) in [(&mut first, format!("{name}|1")), (&mut other, format!("{name}|2"))] {
            let link = subscribe(client, &link, subscriber("t", &capabilities));
            let offered = client.links[&link].attach.clone().unwrap().offered_capabilities;
            assert!(offered.contains(&Symbol::from("SHARED-SUBS")));
            client.sync();
        }
        let mut publisher = client(&node, 0, "publisher");
        for number in 0..10 {
            publish(&mut publisher, "t", &number.to_string());
        }
        let mut got: Vec<String> = Vec::new();
        while got.len() < 10 {
            first.turn();
            other.turn();
            got = [texts(&first), texts(&other)].concat();
        }
        got.sort_unstable();
        assert_eq!(got, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert!(!first.received.is_empty() && !other.received.is_empty());
    }
}

#[test]
fn a_subscriber_without_local_messages_gets_those_of_others() {
    for shard in [0, 1] {
        let node = Node::start();
        let mut own = client(&node, shard, "own");
        let filter = vec![(
            Symbol::from("no-local"),
            Value::described(Value::Symbol("apache.org:no-local-filter:list".into()), Value::List(vec![])),
        )];
        let source = Source { address: text("t"), filter: filter.clone(), ..Source::default() };
        let link = subscribe(&mut own, "mine", Terms { source: Some(Box::new(source)), ..from("t") });
        assert_eq!(own.links[&link].attach.clone().unwrap().source.unwrap().filter, filter);
        publish(&mut own, "t", "from me");
        let mut other = client(&node, 1, "other");
        publish(&mut other, "t", "from another");
        own.receive(1);
        assert_eq!(texts(&own), ["from another"]);
    }
}

#[test]
fn a_subscription_with_an_address_of_its_own_collects_while_nobody_listens() {
    let mut place = Place::new();
    place.add("t::billing", AddressType::Subscription, |spec| {
        spec.subscription.filter = Some("t/+/paid".into());
        spec.subscription.selector = Some("amount > 5".into());
    });
    let node = Node::at(&place, |_| {});
    let mut publisher = client(&node, 0, "publisher");
    for (number, name) in ["t/a/paid", "t/a/open", "t/b/paid"].into_iter().enumerate() {
        let out = publisher.try_attach(name, Role::Sender, crate::client::to(name)).unwrap();
        for amount in [1, 10] {
            let message = Message {
                header: Some(Header { durable: true, ..Header::default() }),
                application_properties: vec![(Value::from("amount"), Value::Int(amount))],
                ..Message::data(format!("{number} {amount}"))
            };
            let sent = publisher.send(out, message.to_bytes(), false);
            assert_eq!(publisher.outcome(sent), DeliveryState::Accepted);
        }
    }
    drop(publisher);
    drop(node);
    let node = Node::at(&place, |_| {});
    let mut billing = client(&node, 1, "billing");
    billing.consumer("t::billing", 10);
    billing.receive(2);
    assert_eq!(texts(&billing), ["0 10", "2 10"]);
}

#[test]
fn an_administrator_sees_a_durable_subscription_and_can_end_it() {
    let node = Node::start();
    let mut reader = client(&node, 0, "reader");
    let link = subscribe(&mut reader, "news", subscriber("t", &["topic"]));
    let subscriptions = node.wait_for(node.hub().subscriptions(&"t".into()));
    let [subscription] = subscriptions.as_slice() else { panic!("{subscriptions:?}") };
    assert_eq!(&*subscription.statistics.name, "reader:news");
    assert_eq!(subscription.container.as_deref(), Some("reader"));
    let removed = node.wait_for(node.hub().remove_subscription(&"t".into(), "reader:news"));
    assert_eq!(removed, Some(Ok(true)));
    assert_eq!(reader.detached(link).condition.as_str(), "amqp:resource-deleted");
    assert!(node.wait_for(node.hub().subscriptions(&"t".into())).is_empty());
    let again = node.wait_for(node.hub().remove_subscription(&"t".into(), "reader:news"));
    assert_eq!(again, Some(Ok(false)));
}
