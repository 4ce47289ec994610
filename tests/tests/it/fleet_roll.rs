//! Every node of a fleet is restarted, one after the other, or a queue moves from node to node, while clients of
//! AMQP and MQTT go on.

use std::net::SocketAddr;
use std::time::Duration;

use mq_model::manifest::AddressType;
use mq_tests::Fleet;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::remember::{Fate, Load, Plan, Table};

/// Messages that go through at each sender between two restarts.
const ENOUGH: usize = 150;

/// What the design promises every client.
const BOUND: Duration = Duration::from_secs(1);

#[test]
fn a_rolling_restart_loses_nothing() {
    if is_skipped() {
        return;
    }
    let mut fleet = Fleet::of(3).start();
    fleet.create(1, "work", AddressType::Anycast);
    fleet.create(2, "jobs", AddressType::Queue);
    fleet.create(3, "sensors", AddressType::Topic);
    let mut loads = [
        ("direct messages".to_owned(), amqp_load(&fleet, "work")),
        (format!("a queue of {}", fleet.home_of(1, "jobs")), amqp_load(&fleet, "jobs")),
        (
            format!("MQTT with QoS 1, a topic of {}", fleet.home_of(1, "sensors")),
            mqtt_load(&fleet, "sensors/kitchen"),
        ),
    ];
    for number in 1..=fleet.size() {
        for (_, load) in &mut loads {
            load.expect_more(ENOUGH);
            load.breaks();
        }
        fleet.terminate(number);
        fleet.start_again(number);
        fleet.wait_until_whole();
    }
    for (_, load) in &loads {
        load.expect_more(ENOUGH);
    }
    let mut table = Table::of_faults("A rolling restart of three nodes");
    let mut all = Vec::new();
    for (words, load) in loads {
        let findings = load.end().settle();
        table.add(&words, Some(BOUND), &findings);
        all.push(findings);
    }
    table.print();
    for findings in &all {
        findings.are_good();
    }
}

/// Messages that go through at each sender between two moves.
const SOME: usize = 40;

/// How often the queue moves.
const MOVES: usize = 6;

#[test]
fn a_queue_moves_under_load_and_no_client_notices() {
    if is_skipped() {
        return;
    }
    let fleet = Fleet::of(3).start();
    fleet.create(1, "jobs", AddressType::Queue);
    let mut load = amqp_load(&fleet, "jobs");
    let servers = servers(&fleet, 3, mq_tests::Daemon::mqtt);
    load.senders.push(Plan::sender(Library::Paho, "jobs-publisher", &servers, "jobs").rate(100).start());
    for _ in 0..MOVES {
        load.expect_more(SOME);
        load.breaks();
        fleet.move_home("jobs", fleet.home_number(1, "jobs") % fleet.size() + 1);
    }
    load.expect_more(SOME);
    let account = load.end();
    let findings = account.settle();
    let mut table = Table::of_faults("A queue that moves between three nodes");
    table.add(&format!("its home, {MOVES} times"), None, &findings);
    table.print();
    findings.are_good();
    assert_eq!((findings.repeated, findings.reconnections), (0, 0), "{findings:#?}");
    for client in account.senders.iter().chain(&account.receivers) {
        assert!(client.detachments().is_empty(), "links stay: {:?}", client.detachments());
        let unanswered = [Fate::Unknown, Fate::Released, Fate::Modified, Fate::Rejected, Fate::Unsaid];
        assert!(!unanswered.into_iter().any(|fate| client.has_seen(fate)), "everything is accepted");
    }
}

/// The nodes' servers, from one on and round.
fn servers(fleet: &Fleet, first: usize, of: fn(&mq_tests::Daemon) -> SocketAddr) -> Vec<SocketAddr> {
    let all: Vec<SocketAddr> = fleet.nodes().map(|(_, node)| of(node)).collect();
    all[first - 1..].iter().chain(&all[..first - 1]).copied().collect()
}

fn amqp_load(fleet: &Fleet, address: &str) -> Load {
    let servers = |first| servers(fleet, first, mq_tests::Daemon::amqp);
    let receiver = |first| {
        let name = format!("{address}-receiver-{first}");
        Plan::receiver(Library::Proton, &name, &servers(first), address).start()
    };
    let sender = |first| {
        let name = format!("{address}-sender-{first}");
        Plan::sender(Library::Proton, &name, &servers(first), address).rate(100).start()
    };
    let receivers = vec![receiver(2), receiver(3)];
    Load::shared(vec![sender(1), sender(2)], receivers)
}

fn mqtt_load(fleet: &Fleet, topic: &str) -> Load {
    let servers = |first| servers(fleet, first, mq_tests::Daemon::mqtt);
    let receivers = vec![Plan::receiver(Library::Paho, "subscriber", &servers(3), topic).start()];
    let senders = vec![Plan::sender(Library::Paho, "publisher", &servers(1), topic).rate(100).start()];
    Load { may_forget: true, ..Load::copied(senders, receivers) }
}
