//! A queue with a shard on each of three nodes, which one link sends to and one receives from.

use std::net::SocketAddr;
use std::time::Duration;

use mq_model::manifest::{Address, AddressSpec, AddressStatus, AddressType};
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::remember::{Load, Plan, Table};
use mq_tests::{Daemon, Fleet, eventually};

/// Messages that go through before a node is killed, while it is gone, and when it is back.
const ENOUGH: usize = 1_500;

/// What the design promises a sender whose messages have other ways.
const BOUND: Duration = Duration::from_secs(1);

/// How much longer a gap on a busy machine may be before the test fails.
const GRACE: Duration = Duration::from_secs(12);

fn status(fleet: &Fleet, by: usize) -> AddressStatus {
    let address: Address = fleet.node(by).admin().get("/addresses/clicks");
    address.status.expect("an address has a status")
}

#[test]
fn a_queue_with_shards_on_three_nodes_goes_on_without_one_of_them() {
    if is_skipped() {
        return;
    }
    let mut fleet = Fleet::of(3).start();
    let spec = AddressSpec { shards: Some(3), ..AddressSpec::new(AddressType::Queue) };
    fleet.create_with(1, "clicks", spec);
    let mut homes: Vec<_> =
        status(&fleet, 2).shards.into_iter().map(|shard| shard.home.expect("a home")).collect();
    homes.sort();
    assert_eq!(homes, ["node-1", "node-2", "node-3"]);

    let server = |number: usize| -> Vec<SocketAddr> { vec![Daemon::amqp(fleet.node(number))] };
    let sender = Plan::sender(Library::Proton, "sender", &server(1), "clicks").rate(500).start();
    let receiver = Plan::receiver(Library::Proton, "receiver", &server(2), "clicks").start();
    let mut load = Load { may_forget: true, ..Load::shared(vec![sender], vec![receiver]) };
    load.expect_more(ENOUGH);
    load.breaks();
    fleet.kill(3);
    load.expect_more(ENOUGH);
    let without = status(&fleet, 1);
    assert!(!without.ready, "one shard is out of reach");
    for shard in &without.shards {
        assert_eq!(shard.ready, shard.home.as_deref() != Some("node-3"), "{shard:?}");
    }
    fleet.start_again(3);
    fleet.wait_until_whole();
    load.expect_more(ENOUGH);
    let enqueued = eventually("each shard has got messages again", || {
        let shards = status(&fleet, 1).shards;
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
    assert_eq!(status(&fleet, 1).queue.expect("what it holds").messages, 0);
}
