//! One fault, one figure, whatever the protocol.

use std::{net::SocketAddr, path::PathBuf, sync::atomic::AtomicBool, thread, time::Duration};

use mq_cli::{
    bench::{
        histogram::Histogram,
        result::{BenchResult, Load, MqttVersion, Shape, SizeDescription, Wire},
        run::{Order, Watcher, run},
        series::Window,
    },
    client::tls::Trust,
    exit::Exit,
    failure::Outcome,
    settings::{Credentials, Endpoint, Scheme},
};

use crate::{
    proxy::Proxy,
    server::{Behaviour, Server, Treatment},
};

pub(crate) fn order(load: Load) -> Order {
    Order {
        name: "test".into(),
        command_line: Vec::new(),
        load,
        setup: Duration::from_secs(10),
        drain: Duration::from_secs(5),
        max_lag: Duration::from_secs(1),
        is_multicast: false,
    }
}

const BOTH: [Wire; 2] = [Wire::Amqp, Wire::Mqtt];

/// A thousand messages of one sender to one receiver.
pub(crate) fn pipe(wire: Wire) -> Load {
    Load {
        protocol: wire,
        size: SizeDescription::Fixed(100),
        credit: 100,
        in_flight: 100,
        count: Some(1_000),
        seed: 1,
        ..Load::bare(Shape::Pipe, 1, 1)
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
    try_load_at(order, to, "faulty", watcher)
}

pub(crate) fn try_load_with(order: &Order, to: SocketAddr) -> Outcome<BenchResult> {
    try_load(order, to, &mut AfterASecond(|| ()))
}

fn load_at(order: &Order, to: SocketAddr, address: &str) -> BenchResult {
    try_load_at(order, to, address, &mut AfterASecond(|| ())).unwrap()
}

/// A load that trusts these certificates, too.
pub(crate) fn try_load_trusting(order: &Order, to: SocketAddr, ca: PathBuf) -> Outcome<BenchResult> {
    let trust = Trust { ca: Some(ca), ..Trust::default() };
    let endpoint = Endpoint { trust, ..endpoint(order, to, "faulty") };
    let mut watcher = AfterASecond(|| ());
    run(order, &endpoint, None, &AtomicBool::new(false), &mut watcher).map(|ran| ran.result)
}

fn try_load_at(
    order: &Order,
    to: SocketAddr,
    address: &str,
    watcher: &mut dyn Watcher,
) -> Outcome<BenchResult> {
    run(order, &endpoint(order, to, address), None, &AtomicBool::new(false), watcher).map(|ran| ran.result)
}

/// Where a load goes that trusts whom the system trusts.
pub(crate) fn endpoint(order: &Order, to: SocketAddr, address: &str) -> Endpoint {
    Endpoint {
        space: None,
        scheme: match (order.load.protocol, order.load.tls) {
            (Wire::Amqp, false) => Scheme::Amqp,
            (Wire::Amqp, true) => Scheme::Amqps,
            (Wire::Mqtt, false) => Scheme::Mqtt,
            (Wire::Mqtt, true) => Scheme::Mqtts,
        },
        host: to.ip().to_string(),
        port: to.port(),
        credentials: Credentials::Anonymous,
        address: address.into(),
        trust: Default::default(),
        is_deployed: false,
        dataplane: mq_model::Dataplane::default(),
    }
}

fn load(order: &Order, to: SocketAddr) -> BenchResult {
    try_load(order, to, &mut AfterASecond(|| ())).unwrap()
}

/// A thousand messages through a target that treats them so.
fn treated(wire: Wire, treat: fn(u64) -> Treatment) -> BenchResult {
    let server = Server::start(Behaviour { wire, treat, ..Behaviour::default() });
    load(&order(pipe(wire)), server.address)
}

#[test]
fn a_faultless_target_has_no_faults() {
    for wire in BOTH {
        let result = treated(wire, |_| Treatment::Pass);
        let integrity = result.integrity;
        assert_eq!((integrity.sent, integrity.accepted, integrity.received), (1_000, 1_000, 1_000));
        assert_eq!(
            (integrity.lost, integrity.duplicated, integrity.reordered, integrity.corrupted),
            (0, 0, 0, 0)
        );
        assert_eq!(
            (integrity.in_doubt, integrity.foreign, integrity.gaps, integrity.reconnects),
            (0, 0, 0, 0)
        );
        let e2e = result.latency.e2e.expect("messages came");
        assert_eq!((e2e.count, Histogram::decode(&e2e.histogram).unwrap().count()), (1_000, 1_000));
        assert!(result.latency.delay.is_none(), "a closed loop has no schedule");
    }
}

#[test]
fn dropped_messages_are_lost_and_runs_of_them_are_gaps() {
    for wire in BOTH {
        let integrity =
            treated(wire, |n| if n % 100 < 3 { Treatment::Drop } else { Treatment::Pass }).integrity;
        assert_eq!((integrity.lost, integrity.gaps), (30, 10));
        assert_eq!((integrity.accepted, integrity.received), (1_000, 970));
    }
}

#[test]
fn doubled_messages_are_duplicates_and_nothing_else() {
    for wire in BOTH {
        let integrity =
            treated(wire, |n| if n % 50 == 0 { Treatment::Double } else { Treatment::Pass }).integrity;
        assert_eq!((integrity.duplicated, integrity.received), (20, 1_020));
        assert_eq!((integrity.lost, integrity.reordered), (0, 0));
    }
}

#[test]
fn swapped_messages_are_reordered_and_nothing_else() {
    for wire in BOTH {
        let integrity =
            treated(wire, |n| if n % 100 == 10 { Treatment::Swap } else { Treatment::Pass }).integrity;
        assert_eq!((integrity.reordered, integrity.lost, integrity.duplicated), (10, 0, 0));
    }
}

#[test]
fn changed_messages_are_corrupted() {
    for wire in BOTH {
        let integrity =
            treated(wire, |n| if n % 200 == 0 { Treatment::Corrupt } else { Treatment::Pass }).integrity;
        assert_eq!((integrity.corrupted, integrity.received), (5, 995));
    }
}

#[test]
fn outcomes_are_told_apart_and_are_not_losses() {
    let wire = Wire::Amqp;
    let integrity = treated(wire, |n| match n % 100 {
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
    for wire in BOTH {
        let server = Server::start(Behaviour {
            treat: |_| Treatment::Delay(Duration::from_millis(100)),
            wire,
            ..Behaviour::default()
        });
        let order = order(Load { rate: Some(200), count: Some(200), ..pipe(wire) });
        let result = load(&order, server.address);
        assert!(result.validity.valid, "200 messages per second are no work: {:?}", result.validity);
        let latency = result.latency;
        let (e2e, ack) = (latency.e2e.expect("messages came"), latency.ack.expect("outcomes came"));
        assert!(e2e.min_us >= 100_000.0, "{}", e2e.min_us);
        assert!(ack.p50_us < 50_000.0, "{}", ack.p50_us);
    }
}

#[test]
fn a_stall_shows_in_the_percentiles_of_an_open_loop_and_not_in_its_rate() {
    for wire in BOTH {
        let server = Server::start(Behaviour { wire, ..Behaviour::default() });
        let proxy = Proxy::start(server.address);
        let order = order(Load {
            rate: Some(1_000),
            count: None,
            duration_seconds: Some(3.0),
            in_flight: 10_000,
            ..pipe(wire)
        });
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
}

#[test]
fn a_stalled_credit_is_delay_of_the_target_and_no_lateness_of_the_generator() {
    for wire in BOTH {
        let server = Server::start(Behaviour { credit: 5, wire, ..Behaviour::default() });
        let proxy = Proxy::start(server.address);
        let order = order(Load { rate: Some(1_000), count: None, duration_seconds: Some(2.0), ..pipe(wire) });
        let stall = || proxy.stall(Duration::from_millis(300));
        let latency = try_load(&order, proxy.address, &mut AfterASecond(stall)).unwrap().latency;
        let (delay, lag) = (latency.delay.expect("a schedule"), latency.lag.expect("a schedule"));
        assert!(delay.max_us >= 250_000.0, "{}", delay.max_us);
        assert!(lag.count < delay.count, "messages behind the stall are not counted as lateness");
        assert!(lag.p99_us < delay.p99_us, "{} {}", lag.p99_us, delay.p99_us);
    }
}

#[test]
fn a_cut_connection_is_made_again_and_what_was_under_way_is_in_doubt() {
    for wire in BOTH {
        let result = treated(wire, |n| if n == 500 { Treatment::Cut } else { Treatment::Pass });
        let notes = result.validity.notes.join("; ");
        assert!(notes.contains("lost, the first one because the connection was closed"), "{notes}");
        let integrity = result.integrity;
        assert_eq!((integrity.reconnects, integrity.sent), (1, 1_000));
        assert!(integrity.in_doubt >= 1 && integrity.in_doubt <= 100, "{}", integrity.in_doubt);
        assert!(integrity.longest_outage_seconds > 0.0);
        assert_eq!(integrity.lost, 0, "what is in doubt is not lost");
    }
}

#[test]
fn several_senders_and_receivers_share_the_count() {
    let wire = Wire::Amqp;
    let server = Server::start(Behaviour { wire, ..Behaviour::default() });
    let order = order(Load { senders: 3, receivers: 2, links: 2, count: Some(1_001), ..pipe(wire) });
    let integrity = load(&order, server.address).integrity;
    assert_eq!((integrity.sent, integrity.received, integrity.lost), (1_001, 1_001, 0));
}

#[test]
fn settled_messages_have_no_outcome_and_losses_are_found_all_the_same() {
    let wire = Wire::Amqp;
    let treat = |n| if n == 7 { Treatment::Drop } else { Treatment::Pass };
    let server = Server::start(Behaviour { treat, wire, ..Behaviour::default() });
    let result = load(&order(Load { settled: true, ..pipe(wire) }), server.address);
    assert_eq!((result.integrity.accepted, result.integrity.lost, result.integrity.gaps), (0, 1, 1));
    assert!(result.latency.ack.is_none());
}

#[test]
fn a_refused_address_is_an_error_before_the_load() {
    let wire = Wire::Amqp;
    let server = Server::start(Behaviour { refuses: true, wire, ..Behaviour::default() });
    let failure = try_load(&order(pipe(wire)), server.address, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::NotFound);
    assert!(failure.message.contains("`faulty`") && failure.message.contains("no such address"), "{failure}");
}

#[test]
fn a_target_without_credit_is_an_error_before_the_load() {
    let wire = Wire::Amqp;
    let server = Server::start(Behaviour { credit: 0, wire, ..Behaviour::default() });
    let order = Order { setup: Duration::from_millis(300), ..order(pipe(wire)) };
    let failure = try_load(&order, server.address, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut);
    assert!(failure.message.contains("no credit"), "{failure}");
}

#[test]
fn a_port_that_nobody_listens_on_is_an_error_before_the_load() {
    for wire in BOTH {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = try_load(&order(pipe(wire)), free, &mut AfterASecond(|| ())).unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
    }
}

#[test]
fn mqtt_tells_what_was_refused_from_what_nobody_was_there_for() {
    let integrity = treated(Wire::Mqtt, |n| match n % 100 {
        1 => Treatment::Release,
        2 => Treatment::Reject,
        _ => Treatment::Pass,
    })
    .integrity;
    assert_eq!((integrity.released, integrity.rejected, integrity.modified), (10, 10, 0));
    assert_eq!((integrity.accepted, integrity.lost), (980, 0));
}

#[test]
fn every_qos_of_both_versions_carries_every_message_once() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        for qos in 0..=2 {
            let server = Server::start(Behaviour { wire: Wire::Mqtt, ..Behaviour::default() });
            let load_of = Load { qos: Some(qos), mqtt_version: Some(version), ..pipe(Wire::Mqtt) };
            let result = load(&order(load_of), server.address);
            let integrity = result.integrity;
            let accepted = if qos == 0 { 0 } else { 1_000 };
            assert_eq!(
                (integrity.sent, integrity.accepted, integrity.received, integrity.lost),
                (1_000, accepted, 1_000, 0),
                "QoS {qos}, MQTT {}",
                version.name()
            );
            assert_eq!(result.latency.ack.is_some(), qos > 0);
            assert_eq!((result.load.qos, result.load.mqtt_version), (Some(qos), Some(version)));
        }
    }
}

#[test]
fn a_loss_at_qos_0_is_found_although_nobody_acknowledges() {
    let treat = |n| if n % 100 == 7 { Treatment::Drop } else { Treatment::Pass };
    let server = Server::start(Behaviour { wire: Wire::Mqtt, treat, ..Behaviour::default() });
    let result = load(&order(Load { qos: Some(0), ..pipe(Wire::Mqtt) }), server.address);
    assert_eq!((result.integrity.lost, result.integrity.gaps), (10, 10));
}

#[test]
fn requests_over_mqtt_find_their_way_back_in_both_versions() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let server = Server::start(Behaviour { wire: Wire::Mqtt, ..Behaviour::default() });
        let asking = Load {
            shape: Shape::Request,
            senders: 2,
            receivers: 2,
            count: Some(200),
            in_flight: 4,
            mqtt_version: Some(version),
            ..pipe(Wire::Mqtt)
        };
        // Each requester has a responder of its own: a topic goes to everybody who subscribed.
        let result = load_at(&order(asking), server.address, "faulty/{n}");
        assert_eq!((result.integrity.received, result.integrity.timed_out), (200, 0));
        assert_eq!(result.latency.rtt.expect("answers came").count, 200);
    }
}

#[test]
fn a_receive_maximum_is_the_credit_of_mqtt() {
    let server = Server::start(Behaviour { wire: Wire::Mqtt, credit: 3, ..Behaviour::default() });
    let result = load(&order(pipe(Wire::Mqtt)), server.address);
    assert!(result.validity.valid, "it waited for the target: {:?}", result.validity);
    let integrity = result.integrity;
    // One more than the target takes would have ended the connection.
    assert_eq!((integrity.accepted, integrity.reconnects, integrity.in_doubt), (1_000, 0, 0));
}

#[test]
fn a_refused_subscription_is_an_error_before_the_load() {
    let server = Server::start(Behaviour { wire: Wire::Mqtt, refuses: true, ..Behaviour::default() });
    let failure = try_load(&order(pipe(Wire::Mqtt)), server.address, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::Denied);
    assert!(failure.message.contains("not authorized"), "{failure}");
}

#[test]
fn what_only_mqtt_has_is_refused_for_amqp() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = order(Load { qos: Some(1), ..pipe(Wire::Amqp) });
    let failure = try_load(&asked, free, &mut AfterASecond(|| ())).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
}

#[test]
fn numbered_addresses_keep_the_pairs_apart() {
    let server = Server::start(Behaviour { wire: Wire::Mqtt, ..Behaviour::default() });
    let pairs = Load { senders: 3, receivers: 3, ..pipe(Wire::Mqtt) };
    let result = load_at(&order(pairs), server.address, "faulty/{n}");
    let integrity = result.integrity;
    assert_eq!(
        (integrity.sent, integrity.received, integrity.lost, integrity.duplicated),
        (1_000, 1_000, 0, 0)
    );
}

/// Does something once the load waits for others to send.
struct WhenWaiting<F: FnMut()>(F);

impl<F: FnMut()> Watcher for WhenWaiting<F> {
    fn second(&mut self, _: &Order, _: u64, _: &Window) {}

    fn says(&mut self, what: &str) {
        if what.contains("first message") {
            (self.0)();
        }
    }
}

#[test]
fn a_load_that_only_receives_begins_with_the_first_message() {
    let server = Server::start(Behaviour::default());
    let to = server.address;
    let mut sending = None;
    let begin = || {
        let load_of = Load { shape: Shape::Send, receivers: 0, rate: Some(1_000), ..pipe(Wire::Amqp) };
        sending = Some(thread::spawn(move || load(&order(Load { count: Some(500), ..load_of }), to)));
    };
    let receiving =
        Load { shape: Shape::Recv, senders: 0, count: None, duration_seconds: Some(1.0), ..pipe(Wire::Amqp) };
    let result = try_load(&order(receiving), to, &mut WhenWaiting(begin)).unwrap();
    sending.expect("it waited").join().unwrap();
    assert_eq!((result.integrity.received, result.integrity.foreign), (500, 0));
    // Half of the second has messages, whenever it began.
    assert!(result.rates.received_per_second > 400.0, "{}", result.rates.received_per_second);
    assert!(result.latency.e2e.is_some());
}

#[test]
fn a_generator_that_is_not_allowed_to_be_late_is_invalid() {
    let server = Server::start(Behaviour::default());
    let paced = Load { rate: Some(1_000), count: Some(200), ..pipe(Wire::Amqp) };
    let order = Order { max_lag: Duration::ZERO, ..order(paced) };
    let validity = load(&order, server.address).validity;
    assert!(!validity.valid && validity.reasons[0].contains("late"), "{validity:?}");
}
