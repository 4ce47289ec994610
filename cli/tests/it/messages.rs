//! Messages through a real daemon, and through peers that behave otherwise.

use std::{io::Write, net::TcpListener, process::Stdio};

use fe2o3_amqp::acceptor::{ConnectionAcceptor, SaslPlainMechanism};
use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Ended, Sandbox};

fn with_address(kind: &str) -> Sandbox {
    let sandbox = Sandbox::deployed();
    sandbox.ok(&format!("address create a --type {kind}"));
    sandbox
}

#[test]
fn every_check_of_a_fresh_fleet_passes_and_leaves_nothing_behind() {
    let sandbox = Sandbox::deployed();
    let checks: serde_json::Value = serde_json::from_str(&sandbox.ok("check -o json")).unwrap();
    let results: Vec<_> = checks["items"].as_array().unwrap().iter().map(|check| &check["result"]).collect();
    assert_eq!(results, ["ok"; 9], "{checks}");
    assert_eq!(sandbox.ok("address list -o name"), "");
}

#[test]
fn a_sender_that_comes_first_waits_for_the_receiver() {
    let sandbox = with_address("anycast");
    let sender = sandbox.start("send a -n 10 -m hello");
    let received = sandbox.run("recv a -n 10 --timeout 20s");
    assert_eq!((received.code, received.stdout.as_str()), (0, "hello\n".repeat(10).as_str()), "{received:?}");
    let sent: Ended = sender.wait_with_output().unwrap().into();
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.stderr.contains("sent 10 messages (50 B): 10 accepted"), "{sent:?}");
}

#[test]
fn every_multicast_receiver_gets_every_message() {
    let sandbox = with_address("multicast");
    let receivers = [(); 2].map(|()| sandbox.start("recv a -n 3 --timeout 20s"));
    sandbox.wait_for_consumers("a", 2);
    let sent = sandbox.feed("send a --lines", b"1\n2\n3\n");
    assert_eq!(sent.code, 0, "{sent:?}");
    for receiver in receivers {
        let received: Ended = receiver.wait_with_output().unwrap().into();
        assert_eq!(received.stdout, "1\n2\n3\n");
    }
}

#[test]
fn a_message_as_json_sent_again_is_the_same_message() {
    let sandbox = with_address("anycast");
    let line = r#"{"header":{"durable":true,"priority":7,"ttl_ms":60000},"properties":{"message_id":{"u64":7},"subject":"s"},"application_properties":{"b":true,"n":{"i32":5}},"message_annotations":{"x-opt-a":{"u8":1}},"body":{"kind":"value","enc":"json","value":{"map":[["k",{"list":[null,{"f64":0.5}]}]]}}}"#;
    let sender = |line: String| {
        let mut child = sandbox.command("send a --json-lines").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        child
    };
    let pass = |line: &str| {
        let sender = sender(line.to_owned());
        let received = sandbox.ok("recv a -n 1 -o json --timeout 20s");
        let sent: Ended = sender.wait_with_output().unwrap().into();
        assert_eq!(sent.code, 0, "{sent:?}");
        received
    };
    let parsed = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let (first, original) = (pass(line), parsed(line));
    let second = parsed(&pass(first.trim()));
    let first = parsed(&first);
    for part in ["properties", "application_properties", "message_annotations", "body"] {
        assert_eq!(first[part], original[part], "{part}");
        assert_eq!(second[part], original[part], "{part}");
    }
    assert_eq!((&second["header"]["durable"], &second["header"]["priority"]), (&true.into(), &7.into()));
}

#[test]
fn a_large_message_arrives_byte_for_byte() {
    let sandbox = with_address("anycast");
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    std::fs::write(sandbox.path().join("body"), &body).unwrap();
    let sender = sandbox.start("send a -f body");
    let received = sandbox.command("recv a -n 1 -o raw --timeout 30s").output().unwrap();
    assert!(received.stdout == body, "{} bytes came", received.stdout.len());
    let sent: Ended = sender.wait_with_output().unwrap().into();
    assert_eq!(sent.code, 0, "{sent:?}");
}

#[test]
fn a_sender_learns_what_the_receiver_decided() {
    let sandbox = with_address("anycast");
    for (ack, word) in [("reject", "rejected"), ("modify", "modified"), ("release", "released")] {
        let sender = sandbox.start("send a x");
        let received = sandbox.run(&format!("recv a -n 1 --ack {ack} --timeout 20s"));
        assert_eq!(received.code, 0, "{received:?}");
        let sent: Ended = sender.wait_with_output().unwrap().into();
        assert_eq!(sent.code, 9, "{sent:?}");
        assert!(sent.stderr.contains(&format!("1 {word}")), "{sent:?}");
    }
}

#[test]
fn a_receiver_that_gets_too_little_says_so_with_exit_4() {
    let sandbox = with_address("anycast");
    let nothing = sandbox.run("recv a --wait 50ms");
    assert_eq!(nothing.code, 4);
    assert!(nothing.stderr.contains("no message came from `a` in time"), "{nothing:?}");
    assert_eq!(sandbox.run("recv a --until-idle 50ms").code, 0);
    let alone = sandbox.run("send a x --timeout 1100ms");
    assert_eq!(alone.code, 4);
    assert!(alone.stderr.contains("mq recv a"), "{alone:?}");
}

#[test]
fn an_address_that_does_not_exist_is_exit_7_with_the_command_that_creates_it() {
    let sandbox = Sandbox::strict();
    for arguments in ["send nothing x", "recv nothing", "request nothing x"] {
        let ended = sandbox.run(arguments);
        assert_eq!(ended.code, 7, "{arguments}: {ended:?}");
        assert!(ended.stderr.contains("mq address create nothing"), "{ended:?}");
    }
}

#[test]
fn a_request_is_answered_by_a_command() {
    let sandbox = with_address("anycast");
    let mut command = sandbox.command_of(&["reply", "a", "-n", "2", "--exec", "tr a-z A-Z"]);
    let responder = command.spawn().unwrap();
    assert_eq!(sandbox.ok("request a hello --timeout 20s"), "HELLO\n");
    let reply = sandbox.ok("request a hello --timeout 20s -o json --property correlation-id=c7");
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["properties"]["correlation_id"]["str"], "c7");
    let ended: Ended = responder.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_responder_creates_its_address_and_a_request_started_with_it_waits_for_that() {
    let sandbox = Sandbox::deployed();
    let mut requester =
        sandbox.command_of(&["request", "time", "hello", "--timeout", "20s"]).spawn().unwrap();
    let mut command = sandbox.command_of(&["reply", "time", "-n", "1", "--echo"]);
    let responder = command.spawn().unwrap();
    assert_eq!(requester.wait().unwrap().code(), Some(0));
    let ended: Ended = responder.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("created address time (anycast)"), "{ended:?}");
    assert!(sandbox.ok("address list -o name").contains("time"));
}

#[test]
fn a_request_whose_command_fails_is_rejected_with_the_reason() {
    let sandbox = with_address("anycast");
    let mut command = sandbox.command_of(&["reply", "a", "-n", "1", "--exec", "exit 3"]);
    let responder = command.spawn().unwrap();
    let refused = sandbox.run("request a hello --timeout 20s");
    assert_eq!(refused.code, 9, "{refused:?}");
    assert!(refused.stderr.contains("`exit 3` failed"), "{refused:?}");
    assert_eq!(responder.wait_with_output().unwrap().status.code(), Some(3));
}

#[test]
fn a_message_that_a_command_fails_on_is_released() {
    let sandbox = with_address("anycast");
    let sender = sandbox.start("send a x");
    let received = sandbox.run("recv a -n 1 --exec false --timeout 20s");
    assert_eq!(received.code, 3, "{received:?}");
    assert_eq!(sender.wait_with_output().unwrap().status.code(), Some(9));
}

#[test]
fn ctrl_c_ends_a_receiver_with_its_summary_and_without_losing_a_message() {
    let sandbox = with_address("anycast");
    let receiver = sandbox.start("recv a");
    sandbox.wait_for_consumers("a", 1);
    sandbox.ok("send a x");
    let pid = Pid::from_raw(receiver.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let received: Ended = receiver.wait_with_output().unwrap().into();
    assert_eq!((received.code, received.stdout.as_str()), (130, "x\n"), "{received:?}");
    assert!(received.stderr.contains("received 1 message (1 B)"), "{received:?}");
}

#[test]
fn a_template_gives_the_same_bodies_for_the_same_seed() {
    let sandbox = with_address("anycast");
    let bodies = || {
        let mut sender =
            sandbox.command_of(&["send", "a", "-n", "3", "-m", "{{seq}} {{randstr 8}}", "-T", "--seed", "1"]);
        let sender = sender.spawn().unwrap();
        let bodies = sandbox.ok("recv a -n 3 --timeout 20s");
        assert!(sender.wait_with_output().unwrap().status.success());
        bodies
    };
    let first = bodies();
    assert!(first.starts_with("1 "), "{first}");
    assert_eq!(bodies(), first);
}

#[test]
fn a_wrong_password_is_exit_6() {
    let sandbox = Sandbox::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent: Ended = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://ann@{}/a", listener.local_addr().unwrap());
        let sender = sandbox.command_of(&["send", &url, "x"]).env("MQ_PASSWORD", "wrong").spawn().unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = ConnectionAcceptor::builder()
            .container_id("strict")
            .sasl_acceptor(SaslPlainMechanism::new("ann", "right"))
            .build();
        assert!(acceptor.accept(stream).await.is_err());
        sender.wait_with_output().unwrap().into()
    });
    assert_eq!(sent.code, 6, "{sent:?}");
    assert!(!sent.stderr.contains("wrong"), "{sent:?}");
}

#[test]
fn a_port_that_speaks_something_else_is_exit_5_and_says_so() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}/a", listener.local_addr().unwrap());
    let sender = sandbox.command_of(&["send", &url, "x"]).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let sent: Ended = sender.wait_with_output().unwrap().into();
    assert_eq!(sent.code, 5, "{sent:?}");
    assert!(sent.stderr.contains("does not speak AMQP 1.0"), "{sent:?}");
}
