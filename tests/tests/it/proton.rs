//! Qpid Proton, through Python: the C library that most AMQP 1.0 clients are built on.

use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::{Daemon, Running};

fn first_program(name: &str, daemon: &Daemon) -> Running {
    let mut command = Library::Proton.program(name);
    command.args([&daemon.url("telemetry"), "10"]);
    Running::start(command, "")
}

#[test]
fn a_first_receiver_and_then_a_first_sender_exchange_ten_messages() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    daemon.admin().create("telemetry", AddressType::Anycast);
    let receiver = first_program("simple_recv.py", &daemon);
    daemon.admin().link_of("telemetry");
    let sender = first_program("simple_send.py", &daemon);
    sender.finish().succeeds().prints("all confirmed");
    let received = receiver.finish().succeeds();
    let expected: Vec<String> = (1..=10).map(|number| format!("{{'sequence': {number}}}")).collect();
    assert_eq!(received.lines()[1..], expected);
}

#[test]
fn a_first_sender_waits_for_the_first_receiver() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    daemon.admin().create("telemetry", AddressType::Anycast);
    let sender = first_program("simple_send.py", &daemon);
    let link = daemon.admin().link_of("telemetry");
    assert_eq!((link.credit, link.deliveries), (0, 0), "nobody can take a message yet");
    let receiver = first_program("simple_recv.py", &daemon);
    sender.finish().succeeds().prints("all confirmed");
    let received = receiver.finish().succeeds();
    assert_eq!(received.lines().len(), 11, "{received:?}");
}

crate::scenarios::with!(Library::Proton);
