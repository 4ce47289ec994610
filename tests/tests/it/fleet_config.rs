//! How soon an address that was created at one node can be used at every other, with few addresses and with many.
//!
//! `MQ_TESTS_ADDRESSES` says how many (3,000 when it does not; a nightly run measures with 10,000).

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use mq_amqp::performative::Performative;
use mq_model::manifest::AddressType;
use mq_tests::Fleet;
use mq_tests::raw::{Raw, sender};
use mq_tests::remember::{Table, milliseconds};

/// Addresses that there are when it is measured again, unless it is said.
const EXISTING: usize = 3_000;

/// Addresses that are created to be measured.
const SAMPLES: usize = 100;

/// Clients that create the existing ones.
const CREATORS: usize = 8;

/// How long an address may take to be usable everywhere, in the slowest of a hundred cases, before the test
/// fails; 50 ms is what the design promises.
const MOST: Duration = Duration::from_secs(2);

#[test]
fn an_address_is_usable_on_every_node_at_once_however_many_there_are() {
    let fleet = Fleet::of(3).start();
    let columns = ["addresses that exist", "answered, p50", "p99", "usable everywhere, p50", "p99"];
    let mut table = Table::new("An address created at one of three nodes", &columns);
    let few = measure(&fleet, "few", &mut table, 0);
    let begin = Instant::now();
    let existing = existing();
    create_many(&fleet, existing);
    let creating = begin.elapsed();
    let many = measure(&fleet, "many", &mut table, existing);
    table.row(["promised", "", "", "", "50 ms"].map(str::to_owned).to_vec());
    table.row(vec![format!("{existing} by {CREATORS} clients took"), milliseconds(creating)]);
    table.print();
    for usable in [few, many] {
        assert!(usable < MOST, "{usable:?}");
    }
}

/// Creates addresses at each node in turn; the time until all but one of a hundred could be used everywhere.
fn measure(fleet: &Fleet, prefix: &str, table: &mut Table, existing: usize) -> Duration {
    let (mut answered, mut usable) = (Vec::new(), Vec::new());
    for sample in 0..SAMPLES {
        let address = format!("{prefix}-{sample}");
        let mut clients: Vec<Raw> = fleet.nodes().map(|(_, node)| client(node.amqp())).collect();
        let begin = Instant::now();
        fleet.node(sample % fleet.size() + 1).admin().create(&address, AddressType::Queue);
        answered.push(begin.elapsed());
        for client in &mut clients {
            wait_until_usable(client, &address);
        }
        usable.push(begin.elapsed());
    }
    answered.sort_unstable();
    usable.sort_unstable();
    let quantiles = [(&answered, 50), (&answered, 99), (&usable, 50), (&usable, 99)]
        .map(|(times, percent)| quantile(times, percent));
    let cells = std::iter::once(existing.to_string()).chain(quantiles.map(milliseconds));
    table.row(cells.collect());
    quantiles[3]
}

fn client(server: std::net::SocketAddr) -> Raw {
    let mut client = Raw::open(server, "config");
    client.begin(0);
    client
}

/// Attaches senders until one gets credit.
fn wait_until_usable(client: &mut Raw, address: &str) {
    for handle in 0.. {
        client.send(0, &sender(handle, address));
        let has_credit = client.expect("credit, or a detach", |_, performative| match performative {
            Performative::Flow(flow) if flow.handle == Some(handle) => {
                flow.link_credit.filter(|credit| *credit > 0).map(|_| true)
            }
            Performative::Detach(detach) if detach.handle == handle => Some(false),
            _ => None,
        });
        if has_credit {
            return;
        }
    }
}

/// Of times in their order the one that so many of a hundred do not exceed.
fn quantile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent).div_ceil(100).saturating_sub(1)]
}

fn existing() -> usize {
    match env::var("MQ_TESTS_ADDRESSES") {
        Ok(text) => text.parse().expect("MQ_TESTS_ADDRESSES is a number"),
        Err(_) => EXISTING,
    }
}

fn create_many(fleet: &Fleet, existing: usize) {
    thread::scope(|scope| {
        for creator in 0..CREATORS {
            let admin = fleet.node(creator % fleet.size() + 1).admin();
            scope.spawn(move || {
                for number in (creator..existing).step_by(CREATORS) {
                    admin.create(&format!("existing-{number}"), AddressType::Anycast);
                }
            });
        }
    });
}
