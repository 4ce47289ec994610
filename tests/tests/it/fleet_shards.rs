//! A queue with a shard on each of three nodes, which one link sends to and one receives from.

use std::net::SocketAddr;
use std::time::Duration;

use mq_model::manifest::{Address, AddressSpec, AddressStatus, AddressType};
use mq_tests::fleet::name;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::remember::{Load, Plan, Table};
use mq_tests::{Daemon, Fleet, Mq, eventually};

/// Messages that go through before a node is killed, while it is gone, and when it is back.
const ENOUGH: usize = 1_500;

/// What the design promises a sender whose messages have other ways.
const BOUND: Duration = Duration::from_secs(1);

/// How much longer a gap on a busy machine may be before the test fails.
const GRACE: Duration = Duration::from_secs(12);

fn status(fleet: &Fleet, by: usize, address: &str) -> AddressStatus {
    let address: Address = fleet.node(by).admin().get(&format!("/addresses/{address}"));
    address.status.expect("an address has a status")
}

fn with_shards(shards: u16) -> AddressSpec {
    AddressSpec { shards: Some(shards), ..AddressSpec::new(AddressType::Queue) }
}

/// The numbers of the nodes that the shards of a queue are on.
fn nodes_of(fleet: &Fleet, address: &str) -> Vec<usize> {
    let number = |home: String| (1..=fleet.size()).find(|number| name(*number) == home);
    let homes = status(fleet, 1, address).shards.into_iter().filter_map(|shard| number(shard.home?));
    homes.collect()
}

#[test]
fn a_queue_with_shards_on_three_nodes_goes_on_without_one_of_them() {
    if is_skipped() {
        return;
    }
    let mut fleet = Fleet::of(3).start();
    fleet.create_with(1, "clicks", with_shards(3));
    let mut homes = nodes_of(&fleet, "clicks");
    homes.sort_unstable();
    assert_eq!(homes, [1, 2, 3]);

    let server = |number: usize| -> Vec<SocketAddr> { vec![Daemon::amqp(fleet.node(number))] };
    let sender = Plan::sender(Library::Proton, "sender", &server(1), "clicks").rate(500).start();
    let receiver = Plan::receiver(Library::Proton, "receiver", &server(2), "clicks").start();
    let mut load = Load { may_forget: true, ..Load::shared(vec![sender], vec![receiver]) };
    load.expect_more(ENOUGH);
    load.breaks();
    fleet.kill(3);
    load.expect_more(ENOUGH);
    let without = status(&fleet, 1, "clicks");
    assert!(!without.ready, "one shard is out of reach");
    for shard in &without.shards {
        assert_eq!(shard.ready, shard.home.as_deref() != Some("node-3"), "{shard:?}");
    }
    fleet.start_again(3);
    fleet.wait_until_whole();
    load.expect_more(ENOUGH);
    let enqueued = eventually("each shard has got messages again", || {
        let shards = status(&fleet, 1, "clicks").shards;
        let enqueued: Vec<u64> =
            shards.iter().filter_map(|shard| Some(shard.queue.as_ref()?.enqueued)).collect();
        (enqueued.len() == 3 && enqueued.iter().all(|count| *count > 100)).then_some(enqueued)
    });
    let account = load.end();
    let findings = account.settle();
    let mut table = Table::of_faults("A queue with a shard on each of three nodes: one link to each end");
    table.add("the home of one shard is killed, and comes back", Some(BOUND), &findings);
    table.print();
    eprintln!("the shards took {enqueued:?} messages");
    findings.are_good();
    assert!(findings.longest_gap < BOUND + GRACE, "{findings:#?}");
    assert_eq!(status(&fleet, 1, "clicks").queue.expect("what it holds").messages, 0);
}

#[test]
fn a_shard_too_many_whose_node_was_away_gives_what_it_holds_to_the_others() {
    let mut fleet = Fleet::of(3).start();
    fleet.create_with(1, "clicks", with_shards(3));
    let homes = nodes_of(&fleet, "clicks");
    let [first, _, third] = homes[..] else { panic!("a home for each shard: {homes:?}") };
    let (mq, url) = (Mq::new(), fleet.node(first).url("clicks"));
    let mut bodies: Vec<String> = (100..400).map(|number| number.to_string()).collect();
    mq.start_with(&["send", &url, "--lines", "-f", "-", "--durable"], &format!("{}\n", bodies.join("\n")))
        .finish()
        .succeeds();
    fleet.kill(third);
    let resize = |fleet: &Fleet, shards| {
        let document = serde_json::to_value(Address::new("clicks", with_shards(shards))).expect("JSON");
        let answer = fleet.node(first).admin().request("PUT", "/api/v1/addresses/clicks", Some(&document));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    resize(&fleet, 2);
    let without = status(&fleet, first, "clicks").shards;
    assert!(without.len() == 3 && without[2].is_leaving && !without[2].ready, "{without:#?}");
    fleet.start_again(third);
    for (shards, rows) in [(2, 2), (1, 0)] {
        resize(&fleet, shards);
        eventually("the others hold everything", || {
            let status = status(&fleet, first, "clicks");
            let messages = status.queue.map(|queue| queue.messages);
            (messages == Some(300) && status.shards.len() == rows).then_some(())
        });
    }
    let received = mq.run_with(&["recv", &url, "--until-empty"]).succeeds();
    let mut received: Vec<&str> = received.lines();
    received.sort_unstable();
    bodies.sort_unstable();
    assert_eq!(received, bodies);
}
