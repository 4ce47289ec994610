//! What a change costs a router of a large fleet: `cargo bench -p mq-mesh --bench routes`.

// What it prints is what it is for.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use mq_mesh::frame::Hello;
use mq_mesh::{ConnectionKey, Incarnation, NodeId, Router, RouterOptions};

fn name(node: usize) -> String {
    format!("node-{node}")
}

fn router(now: Instant, node: usize) -> Router {
    Router::new(now, RouterOptions::new("bench", &name(node), Incarnation(1), 2))
}

fn connect(now: Instant, router: &mut Router, other: usize) {
    let hello = Hello {
        fleet: "bench".into(),
        node: name(other),
        incarnation: Incarnation(1),
        shards: 2,
        cost: 1,
        ..Hello::default()
    };
    router.neighbour_up(now, ConnectionKey(other as u64), 1, &hello).expect("a neighbour");
}

/// A router that knows `count` nodes, each a neighbour of each, and the time of one change of routes.
fn measure(count: usize) -> Duration {
    let mut now = Instant::now();
    let mut first = router(now, 0);
    (1..count).for_each(|other| connect(now, &mut first, other));
    while first.poll_transmit(now).is_some() {}
    for node in 1..count {
        let mut other = router(now, node);
        (0..count).filter(|third| *third != node).for_each(|third| connect(now, &mut other, third));
        let later = now + Duration::from_secs(1);
        other.handle_timeout(later);
        while let Some((to, message)) = other.poll_transmit(later) {
            if to == first.id() {
                let from = NodeId::new("bench", &name(node));
                first.handle_link_state(later, from, message).expect("link state");
            }
        }
    }
    now += Duration::from_secs(2);
    first.handle_timeout(now);
    assert_eq!(first.routes().iter().len(), count - 1);
    let rounds = 20;
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        now += Duration::from_secs(1);
        let start = processor_nanoseconds();
        first.neighbour_down(now, ConnectionKey(1));
        spent += Duration::from_nanos(processor_nanoseconds() - start);
        now += Duration::from_secs(1);
        connect(now, &mut first, 1);
    }
    spent / rounds
}

fn main() {
    println!("{:>8} {:>10} {:>14}", "nodes", "links", "a change");
    for count in [10, 50, 300, 1_000] {
        println!("{count:>8} {:>10} {:>14.1?}", count * (count - 1) / 2, measure(count));
    }
}

/// What this thread has had of a processor, as Linux counts it: a busy machine spoils it less than time.
fn processor_nanoseconds() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let first = counters.split_whitespace().next().expect("three numbers");
    first.parse().expect("nanoseconds")
}
