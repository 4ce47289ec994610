//! Many nodes on one machine: how soon they know each other, and what they cost at rest.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::daemon::Daemon;
use super::scenario::Options;

/// How long nodes may take to come together before the work is given up.
const TOGETHER: Duration = Duration::from_secs(120);

/// How long they have for what follows, such as telling each other what they hold.
const SETTLE: Duration = Duration::from_secs(5);

/// The time over which an idle fleet is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// Starts all nodes at once, each a neighbour of each other, and lets them rest.
pub(crate) fn rest(options: &Options) -> Result<()> {
    let begun = Instant::now();
    let nodes = Daemon::start_fleet(&options.mqd, 1, options.nodes)?;
    for node in &nodes {
        while node.nodes_up()? < options.nodes {
            if begun.elapsed() > TOGETHER {
                bail!("the nodes are not together after {} s", TOGETHER.as_secs());
            }
            // Whoever asks all the time keeps them from coming together.
            thread::sleep(Duration::from_millis(50));
        }
    }
    let took = begun.elapsed();
    let start = cpu(&nodes)?;
    thread::sleep(SETTLE);
    let (before, begun) = (cpu(&nodes)?, Instant::now());
    thread::sleep(WATCHED);
    let watched = begun.elapsed().as_secs_f64();
    let shares: Vec<f64> = cpu(&nodes)?
        .iter()
        .zip(&before)
        .map(|(after, before)| (*after - *before).as_secs_f64() / watched)
        .collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let most = shares.iter().copied().fold(0.0, f64::max);
    let resident: Vec<u64> = nodes.iter().map(|node| node.memory_kib("VmRSS")).collect::<Result<_>>()?;
    println!(
        "{:>12} {:>14} {} nodes together after {:.1} s and {:.1} s of CPU; idle {:.2} % of a core each, {:.2} % at \
         most; {:.1} MiB each",
        "",
        "",
        nodes.len(),
        took.as_secs_f64(),
        start.iter().sum::<Duration>().as_secs_f64(),
        mean * 100.0,
        most * 100.0,
        resident.iter().sum::<u64>() as f64 / 1024.0 / nodes.len() as f64
    );
    Ok(())
}

fn cpu(nodes: &[Daemon]) -> Result<Vec<Duration>> {
    nodes.iter().map(Daemon::cpu).collect()
}
