//! Many nodes on one machine: how soon they know each other, and how little they do when there is nothing to do.
//!
//! `MQ_TESTS_NODES` says how many (20 when it does not). The design speaks of 50 on a machine that does nothing else,
//! and of programs built for release: `MQ_TESTS_NODES=50 cargo test --release -p mq-tests fleet_size`.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use mq_tests::Fleet;
use mq_tests::remember::{Table, milliseconds};

/// Nodes of the fleet, unless it is said.
const NODES: usize = 20;

/// The time over which an idle fleet is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// The share of a core that a node may use before the test fails; a hundredth is what the design promises.
const MOST: f64 = 0.05;

#[test]
fn many_nodes_know_each_other_soon_and_are_quiet_then() {
    let fleet = Fleet::of(nodes()).with(|_, config| config.workers = 1).start();
    let before: Vec<Duration> = fleet.nodes().map(|(_, node)| node.processor_time()).collect();
    let begin = Instant::now();
    // What is measured is a time of nothing.
    thread::sleep(WATCHED);
    let elapsed = begin.elapsed();
    let after = fleet.nodes().map(|(_, node)| node.processor_time());
    let shares: Vec<f64> = after
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before).as_secs_f64() / elapsed.as_secs_f64())
        .collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let most = shares.iter().copied().fold(0.0, f64::max);
    let resident = fleet.nodes().map(|(_, node)| node.resident_bytes()).max().unwrap_or_default();
    let columns = ["", "together after", "mean of a core when idle", "most", "resident at most"];
    let mut table = Table::new(&format!("{} nodes on one machine", fleet.size()), &columns);
    table.row(vec![
        "measured".to_owned(),
        milliseconds(fleet.came_together_in),
        format!("{:.2} %", mean * 100.0),
        format!("{:.2} %", most * 100.0),
        format!("{} MiB", resident >> 20),
    ]);
    table.row(["promised of 50", "5000 ms", "", "1 %", ""].map(str::to_owned).to_vec());
    table.print();
    assert!(mean < MOST, "{shares:?}");
}

fn nodes() -> usize {
    match env::var("MQ_TESTS_NODES") {
        Ok(text) => text.parse().expect("MQ_TESTS_NODES is a number"),
        Err(_) => NODES,
    }
}
