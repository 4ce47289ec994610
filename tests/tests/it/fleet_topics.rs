//! A topic goes from node to node while clients of MQTT use it.

use std::net::SocketAddr;

use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::remember::{Load, Plan, Table};
use mq_tests::{Daemon, Fleet};

/// Messages that go through between two moves.
const ENOUGH: usize = 100;

#[test]
fn a_topic_in_use_moves_without_a_loss() {
    if is_skipped() {
        return;
    }
    let fleet = Fleet::of(3).start();
    fleet.create(1, "sensors", AddressType::Topic);
    let mut loads =
        [("kitchen", mqtt_load(&fleet, "sensors/kitchen")), ("cellar", mqtt_load(&fleet, "sensors/cellar"))];
    let mut home = fleet.home_number(1, "sensors");
    for _ in 0..4 {
        for (_, load) in &mut loads {
            load.expect_more(ENOUGH);
            load.breaks();
        }
        home = home % fleet.size() + 1;
        fleet.move_home("sensors", home);
    }
    for (_, load) in &loads {
        load.expect_more(ENOUGH);
    }
    let mut table = Table::of_faults("A topic that moves four times");
    let mut all = Vec::new();
    for (words, load) in loads {
        let findings = load.end().settle();
        table.add(words, None, &findings);
        all.push(findings);
    }
    table.print();
    for findings in &all {
        findings.are_good();
    }
}

/// The nodes' servers, from one on and round.
fn servers(fleet: &Fleet, first: usize, of: fn(&Daemon) -> SocketAddr) -> Vec<SocketAddr> {
    let all: Vec<SocketAddr> = fleet.nodes().map(|(_, node)| of(node)).collect();
    all[first - 1..].iter().chain(&all[..first - 1]).copied().collect()
}

fn mqtt_load(fleet: &Fleet, topic: &str) -> Load {
    let servers = |first| servers(fleet, first, Daemon::mqtt);
    let name = |role: &str| format!("{role}-{topic}");
    let receivers = vec![Plan::receiver(Library::Paho, &name("subscriber"), &servers(3), topic).start()];
    let senders = vec![Plan::sender(Library::Paho, &name("publisher"), &servers(1), topic).rate(100).start()];
    Load::copied(senders, receivers)
}
