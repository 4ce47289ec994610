//! One fault, one figure.

use std::{net::SocketAddr, sync::atomic::AtomicBool, time::Duration};

use mq_cli::{
    bench::{
        histogram::Histogram,
        result::{BenchResult, Shape, SizeDescription},
        run::{Order, Watcher, run},
        series::Window,
    },
    exit::Exit,
    failure::Outcome,
    settings::{Credentials, Endpoint},
};

use crate::{
    proxy::Proxy,
    server::{Behaviour, Server, Treatment},
};

fn order() -> Order {
    Order {
        name: "test".into(),
        command_line: Vec::new(),
        shape: Shape::Pipe,
        senders: 1,
        receivers: 1,
        links: 1,
        rate: None,
        ramp: Vec::new(),
        size: SizeDescription::Fixed(100),
        settled: false,
        durable: false,
        credit: 100,
        in_flight: 100,
        setup: Duration::from_secs(10),
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        count: Some(1_000),
        drain: Duration::from_secs(5),
        seed: 1,
        max_lag: Duration::from_secs(1),
        is_multicast: false,
    }
}

/// Does something at the end of the first second.
struct AfterASecond<F: FnMut()>(F);

impl<F: FnMut()> Watcher for AfterASecond<F> {
    fn second(&mut self, _: &Order, seconds: u64, _: &Window) {
        if seconds == 1 {
            (self.0)();
        }
    }

    fn says(&mut self, _: &str) {}
}

fn try_load(order: &Order, to: SocketAddr, watcher: &mut dyn Watcher) -> Outcome<BenchResult> {
    let endpoint = Endpoint {
        host: to.ip().to_string(),
        port: to.port(),
        credentials: Credentials::Anonymous,
        address: "faulty".into(),
        is_deployed: false,
    };
    run(order, &endpoint, None, &AtomicBool::new(false), watcher).map(|ran| ran.result)
}

fn load(order: &Order, to: SocketAddr) -> BenchResult {
    try_load(order, to, &mut AfterASecond(|| ())).unwrap()
}

/// A thousand messages through a target that treats them so.
fn treated(treat: fn(u64) -> Treatment) -> BenchResult {
    let server = Server::start(Behaviour { treat, ..Behaviour::default() });
    load(&order(), server.address)
}

#[test]
fn a_faultless_target_has_no_faults() {
    let result = treated(|_| Treatment::Pass);
    let integrity = result.integrity;
    assert_eq!((integrity.sent, integrity.accepted, integrity.received), (1_000, 1_000, 1_000));
    assert_eq!(
        (integrity.lost, integrity.duplicated, integrity.reordered, integrity.corrupted),
        (0, 0, 0, 0)
    );
    assert_eq!((integrity.in_doubt, integrity.foreign, integrity.gaps, integrity.reconnects), (0, 0, 0, 0));
    let e2e = result.latency.e2e.expect("messages came");
    assert_eq!((e2e.count, Histogram::decode(&e2e.histogram).unwrap().count()), (1_000, 1_000));
    assert!(result.latency.delay.is_none(), "a closed loop has no schedule");
}

#[test]
fn dropped_messages_are_lost_and_runs_of_them_are_gaps() {
    let integrity = treated(|n| if n % 100 < 3 { Treatment::Drop } else { Treatment::Pass }).integrity;
    assert_eq!((integrity.lost, integrity.gaps), (30, 10));
    assert_eq!((integrity.accepted, integrity.received), (1_000, 970));
}

#[test]
fn doubled_messages_are_duplicates_and_nothing_else() {
    let integrity = treated(|n| if n % 50 == 0 { Treatment::Double } else { Treatment::Pass }).integrity;
    assert_eq!((integrity.duplicated, integrity.received), (20, 1_020));
    assert_eq!((integrity.lost, integrity.reordered), (0, 0));
}

#[test]
fn swapped_messages_are_reordered_and_nothing_else() {
    let integrity = treated(|n| if n % 100 == 10 { Treatment::Swap } else { Treatment::Pass }).integrity;
    assert_eq!((integrity.reordered, integrity.lost, integrity.duplicated), (10, 0, 0));
}

#[test]
fn changed_messages_are_corrupted() {
    let integrity = treated(|n| if n % 200 == 0 { Treatment::Corrupt } else { Treatment::Pass }).integrity;
    assert_eq!((integrity.corrupted, integrity.received), (5, 995));
}

#[test]
fn outcomes_are_told_apart_and_are_not_losses() {
    let integrity = treated(|n| match n % 100 {
        1 => Treatment::Release,
        2 => Treatment::Reject,
        3 => Treatment::Modify,
        _ => Treatment::Pass,
    })
    .integrity;
    assert_eq!((integrity.released, integrity.rejected, integrity.modified), (10, 10, 10));
    assert_eq!((integrity.accepted, integrity.lost), (970, 0));
}

#[test]
fn a_delay_behind_the_outcome_shows_end_to_end_and_not_in_the_acknowledgement() {
    let server = Server::start(Behaviour {
        treat: |_| Treatment::Delay(Duration::from_millis(100)),
        ..Behaviour::default()
    });
    let order = Order { rate: Some(200), count: Some(200), ..order() };
    let latency = load(&order, server.address).latency;
    let (e2e, ack) = (latency.e2e.expect("messages came"), latency.ack.expect("outcomes came"));
    assert!(e2e.min_us >= 100_000.0, "{}", e2e.min_us);
    assert!(ack.p50_us < 50_000.0, "{}", ack.p50_us);
}

#[test]
fn a_stall_shows_in_the_percentiles_of_an_open_loop_and_not_in_its_rate() {
    let server = Server::start(Behaviour::default());
    let proxy = Proxy::start(server.address);
    let order = Order {
        rate: Some(1_000),
        count: None,
        duration: Duration::from_secs(3),
        in_flight: 10_000,
        ..order()
    };
    let stall = || proxy.stall(Duration::from_millis(200));
    let result = try_load(&order, proxy.address, &mut AfterASecond(stall)).unwrap();
    let e2e = result.latency.e2e.expect("messages came");
    // 200 of 3,000 messages were meant to leave while nothing moved.
    assert!(e2e.max_us >= 190_000.0 && e2e.p99_us >= 130_000.0, "{} {}", e2e.max_us, e2e.p99_us);
    assert!(e2e.p50_us < 100_000.0, "{}", e2e.p50_us);
    assert!(result.rates.received_per_second > 950.0, "{}", result.rates.received_per_second);
    assert!(result.integrity.longest_silence_seconds.is_some_and(|silence| silence >= 0.15));
    let figures: Vec<f64> =
        result.intervals.iter().map(|second| second.e2e.as_ref().map_or(0.0, |e2e| e2e.max_us)).collect();
    assert!(figures[1] >= 190_000.0, "the second of the stall: {figures:?}");
    assert_eq!(result.integrity.lost, 0);
}

#[test]
fn a_stalled_credit_is_delay_of_the_target_and_no_lateness_of_the_generator() {
    let server = Server::start(Behaviour { credit: 5, ..Behaviour::default() });
    let proxy = Proxy::start(server.address);
    let order = Order { rate: Some(1_000), count: None, duration: Duration::from_secs(2), ..order() };
    let stall = || proxy.stall(Duration::from_millis(300));
    let latency = try_load(&order, proxy.address, &mut AfterASecond(stall)).unwrap().latency;
    let (delay, lag) = (latency.delay.expect("a schedule"), latency.lag.expect("a schedule"));
    assert!(delay.max_us >= 250_000.0, "{}", delay.max_us);
    assert!(lag.count < delay.count, "messages behind the stall are not counted as lateness");
    assert!(lag.p99_us < delay.p99_us, "{} {}", lag.p99_us, delay.p99_us);
}

#[test]
fn a_cut_connection_is_made_again_and_what_was_under_way_is_in_doubt() {
    let integrity = treated(|n| if n == 500 { Treatment::Cut } else { Treatment::Pass }).integrity;
    assert_eq!((integrity.reconnects, integrity.sent), (1, 1_000));
    assert!(integrity.in_doubt >= 1 && integrity.in_doubt <= 100, "{}", integrity.in_doubt);
    assert!(integrity.longest_outage_seconds > 0.0);
    assert_eq!(integrity.lost, 0, "what is in doubt is not lost");
}

#[test]
fn several_senders_and_receivers_share_the_count() {
    let server = Server::start(Behaviour::default());
    let order = Order { senders: 3, receivers: 2, links: 2, count: Some(1_001), ..order() };
    let integrity = load(&order, server.address).integrity;
    assert_eq!((integrity.sent, integrity.received, integrity.lost), (1_001, 1_001, 0));
}

#[test]
fn settled_messages_have_no_outcome_and_losses_are_found_all_the_same() {
    let treat = |n| if n == 7 { Treatment::Drop } else { Treatment::Pass };
    let server = Server::start(Behaviour { treat, ..Behaviour::default() });
    let result = load(&Order { settled: true, ..order() }, server.address);
    assert_eq!((result.integrity.accepted, result.integrity.lost, result.integrity.gaps), (0, 1, 1));
    assert!(result.latency.ack.is_none());
}

#[test]
fn a_refused_address_is_an_error_before_the_load() {
    let server = Server::start(Behaviour { refuses: true, ..Behaviour::default() });
    let failure = try_load(&order(), server.address, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::NotFound);
    assert!(failure.message.contains("`faulty`") && failure.message.contains("no such address"), "{failure}");
}

#[test]
fn a_target_without_credit_is_an_error_before_the_load() {
    let server = Server::start(Behaviour { credit: 0, ..Behaviour::default() });
    let order = Order { setup: Duration::from_millis(300), ..order() };
    let failure = try_load(&order, server.address, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.message.contains("no credit"), "{failure}");
}

#[test]
fn a_port_that_nobody_listens_on_is_an_error_before_the_load() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = try_load(&order(), free, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
}
