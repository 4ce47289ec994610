//! Many nodes on one machine: how soon they know each other, and how little they do when there is nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use mq_tests::Fleet;
use mq_tests::remember::{Table, milliseconds};

/// Nodes of the fleet.
const NODES: usize = 50;

/// The time over which an idle fleet is watched.
const WATCHED: Duration = Duration::from_secs(5);

/// The share of a core that a node may use before the test fails; a hundredth is what the design promises.
const MOST: f64 = 0.05;

#[test]
fn fifty_nodes_know_each_other_soon_and_are_quiet_then() {
    let fleet = Fleet::of(NODES).with(|_, config| config.workers = 1).start();
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
    let mean = shares.iter().sum::<f64>() / NODES as f64;
    let most = shares.iter().copied().fold(0.0, f64::max);
    let resident = fleet.nodes().map(|(_, node)| node.resident_bytes()).max().unwrap_or_default();
    let columns = ["", "together after", "mean of a core when idle", "most", "resident at most"];
    let mut table = Table::new("Fifty nodes on one machine", &columns);
    table.row(vec![
        "measured".to_owned(),
        milliseconds(fleet.came_together_in),
        format!("{:.2} %", mean * 100.0),
        format!("{:.2} %", most * 100.0),
        format!("{} MiB", resident >> 20),
    ]);
    table.row(["promised", "5000 ms", "", "1 %", ""].map(str::to_owned).to_vec());
    table.print();
    assert!(mean < MOST, "{shares:?}");
}
