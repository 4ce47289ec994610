//! A node's life: crashes, clean stops, and who may share what.

use std::net::TcpStream;
use std::time::Duration;

use mq_amqp::performative::{DeliveryState, Performative};
use mq_model::admin::{List, NodeState};
use mq_model::config::DaemonConfig;
use mq_model::manifest::{Address, AddressSpec, AddressType, SlowConsumer};
use mq_tests::raw::{Raw, accepted, frame, message, transfer};
use mq_tests::{Daemon, eventually, run_mqd};

/// A daemon that serves what it is told to, and no topic of its own.
fn bare() -> Daemon {
    Daemon::builder().with(|config| config.mqtt.catch_all = false).start()
}

#[test]
fn what_was_created_is_there_after_a_crash_and_what_was_deleted_is_not() {
    let daemon = bare();
    let admin = daemon.admin();
    let detailed = AddressSpec {
        slow_consumer: Some(SlowConsumer::Drop),
        priority: Some(7),
        ..AddressSpec::new(AddressType::Multicast)
    };
    admin.create_with("building/1/heating", detailed.clone());
    admin.create("telemetry", AddressType::Anycast);
    admin.create("temporary", AddressType::Anycast);
    assert_eq!(admin.request("DELETE", "/api/v1/addresses/temporary", None).status, 204);

    let daemon = daemon.crash_and_restart();
    let kept: List<Address> = daemon.admin().get("/addresses");
    let mut kept: Vec<(String, AddressSpec)> =
        kept.items.into_iter().map(|address| (address.metadata.name, address.spec)).collect();
    kept.sort_by(|left, right| left.0.cmp(&right.0));
    let expected = [
        ("building/1/heating".into(), detailed),
        ("telemetry".into(), AddressSpec::new(AddressType::Anycast)),
    ];
    assert_eq!(kept, expected);
    assert!(exchanges(&daemon, "telemetry"), "the address carries messages again");
}

#[test]
fn an_address_that_was_confirmed_outlives_a_crash_at_any_moment() {
    let mut daemon = bare();
    let mut expected = Vec::new();
    for round in 0..5 {
        for number in 0..20 {
            let name = format!("round-{round}-{number:02}");
            daemon.admin().create(&name, AddressType::Anycast);
            expected.push(name);
        }
        daemon = daemon.crash_and_restart();
        let mut kept = daemon.admin().addresses();
        kept.sort();
        assert_eq!(kept, expected);
    }
}

/// One message there and its settlement back.
fn exchanges(daemon: &Daemon, address: &str) -> bool {
    let mut client = Raw::open(daemon.amqp(), "prober");
    client.begin(0);
    client.attach_receiver(0, 0, address, 1);
    client.attach_sender(0, 1, address);
    client.send_bytes(&frame(0, &Performative::Transfer(transfer(1, 0, false)), &message(b"probe")));
    let (id, content) = client.message();
    client.send(0, &accepted(id));
    content == message(b"probe") && client.settlement() == DeliveryState::Accepted
}

/// A producer whose message a consumer holds.
fn one_unsettled(daemon: &Daemon) -> (Raw, Raw, u32) {
    daemon.admin().create("telemetry", AddressType::Anycast);
    let mut consumer = Raw::open(daemon.amqp(), "consumer");
    consumer.begin(0);
    consumer.attach_receiver(0, 0, "telemetry", 10);
    let mut producer = Raw::open(daemon.amqp(), "producer");
    producer.begin(0);
    producer.attach_sender(0, 0, "telemetry");
    producer.send_bytes(&frame(0, &Performative::Transfer(transfer(0, 0, false)), &message(b"hold me")));
    let (id, _) = consumer.message();
    (producer, consumer, id)
}

fn wait_for_drain(daemon: &Daemon) {
    eventually("a node that drains", || (daemon.admin().node().state == NodeState::Draining).then_some(()));
}

#[test]
fn a_stopping_node_lets_deliveries_settle_and_closes_with_its_reason() {
    let mut daemon = Daemon::start();
    let (mut producer, mut consumer, delivery) = one_unsettled(&daemon);
    daemon.terminate();
    wait_for_drain(&daemon);
    eventually("a closed listener", || TcpStream::connect(daemon.amqp()).is_err().then_some(()));

    consumer.send(0, &accepted(delivery));
    assert_eq!(producer.settlement(), DeliveryState::Accepted);
    for client in [&mut producer, &mut consumer] {
        let error = client.expect_close().expect("a reason");
        assert_eq!(error.condition.as_str(), "amqp:connection:forced");
        assert!(error.description.is_some_and(|text| text.as_str().contains("stopping")));
    }
    let status = daemon.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!daemon.state_dir().join("node.json").exists(), "a stopped node announces nothing");
}

#[test]
fn a_stopping_node_does_not_wait_longer_than_it_was_told() {
    let mut daemon = Daemon::builder().with(|config| config.drain_seconds = 1).start();
    let (mut producer, mut consumer, _) = one_unsettled(&daemon);
    daemon.terminate();
    // Nobody settles: the producer learns that the message may have been processed, or that the
    // connection has gone, and both are told why.
    for client in [&mut producer, &mut consumer] {
        let error = client.expect_close().expect("a reason");
        assert_eq!(error.condition.as_str(), "amqp:connection:forced");
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_stopping_node_gives_no_more_credit_and_takes_no_more_links() {
    let mut daemon = Daemon::start();
    let (mut producer, mut consumer, delivery) = one_unsettled(&daemon);
    daemon.terminate();
    wait_for_drain(&daemon);
    producer.send(0, &mq_tests::raw::sender(1, "telemetry"));
    let condition = producer.expect("the refusal of the link", |_, performative| match performative {
        Performative::Detach(detach) if detach.error.is_some() => detach.error.clone(),
        _ => None,
    });
    assert_eq!(condition.condition.as_str(), "amqp:link:detach-forced");
    consumer.send(0, &accepted(delivery));
    assert_eq!(producer.settlement(), DeliveryState::Accepted);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_node_starts_again_after_a_clean_stop() {
    let mut daemon = bare();
    daemon.admin().create("telemetry", AddressType::Anycast);
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0));
    let daemon = daemon.start_again();
    assert_eq!(daemon.admin().addresses(), ["telemetry"]);
    assert!(exchanges(&daemon, "telemetry"));
}

/// The file of a second daemon that shares something with the first.
fn second_config(daemon: &Daemon, change: impl FnOnce(&mut DaemonConfig)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut config = daemon.config().clone();
    config.state_dir = folder.path().join("state");
    change(&mut config);
    let path = folder.path().join("mqd.yaml");
    let text = serde_json::to_string(&config).expect("the configuration has a JSON form");
    std::fs::write(&path, text).expect("the temporary folder can be written");
    let path = path.to_str().expect("temporary folders have plain names").to_owned();
    (folder, path)
}

#[test]
fn a_state_directory_has_one_daemon() {
    let daemon = Daemon::start();
    let (_folder, config) = second_config(&daemon, |config| config.state_dir = daemon.state_dir().to_owned());
    let second = run_mqd(&["--config", &config]).exits_with(1);
    let talk = format!("{}{}", second.stdout, second.stderr);
    assert!(talk.contains(&format!("pid {}", daemon.pid())), "{talk}");
    assert!(talk.contains(&daemon.state_dir().display().to_string()), "{talk}");
    // The first one is none the worse for it.
    assert!(daemon.state_dir().join("node.json").exists());
    daemon.admin().create("telemetry", AddressType::Anycast);
    assert!(exchanges(&daemon, "telemetry"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let daemon = Daemon::start();
    let (folder, config) = second_config(&daemon, |config| config.listeners.amqp.port = daemon.amqp().port());
    let second = run_mqd(&["--config", &config]).exits_with(1);
    let talk = format!("{}{}", second.stdout, second.stderr);
    assert!(talk.contains(&format!("cannot bind {}", daemon.amqp())), "{talk}");
    assert!(talk.contains("listeners.amqp.port"), "{talk}");
    assert!(!folder.path().join("state/node.json").exists(), "a node that does not serve announces nothing");
}

#[test]
fn clients_of_a_crashed_node_notice_at_once() {
    let daemon = Daemon::start();
    let (mut producer, mut consumer, _) = one_unsettled(&daemon);
    drop(daemon);
    for client in [&mut producer, &mut consumer] {
        client.set_patience(Duration::from_secs(5));
        client.expect_end();
    }
}
