//! Clients that are not ours say who they are, and do what they may.

use std::process::Command;

use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference, mosquitto_client};
use mq_tests::{Daemon, DaemonBuilder, Running};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

/// Lets nobody in who does not say who he is, but for the admin API.
fn closed() -> DaemonBuilder {
    Daemon::builder()
}

/// Creates a user with grants.
fn create(daemon: &Daemon, name: &str, grants: &[&str]) {
    let user = json!({
        "user": {
            "apiVersion": "mq.dev/v1",
            "kind": "User",
            "metadata": { "name": name },
            "spec": { "grants": grants },
        },
        "password": { "password": PASSWORD },
    });
    let answer = daemon.admin().request("POST", "/api/v1/users", Some(&user));
    assert_eq!(answer.status, 201, "{}", answer.body);
}

fn delete(daemon: &Daemon, name: &str) {
    let answer = daemon.admin().request("DELETE", &format!("/api/v1/users/{name}"), None);
    assert_eq!(answer.status, 204, "{}", answer.body);
}

fn plain(password: &str) -> Value {
    json!({ "mechanism": "PLAIN", "user": "ann", "password": password, "container": "ann's" })
}

#[test]
fn proton_and_rhea_log_in_with_a_password_and_do_what_they_may() {
    if is_skipped() {
        return;
    }
    for library in [Library::Proton, Library::Rhea] {
        let daemon = closed().start();
        daemon.admin().create("in", AddressType::Queue);
        daemon.admin().create("out", AddressType::Queue);
        create(&daemon, "ann", &["send:in", "recv:in"]);

        let mut wrong = Peer::new(library);
        wrong.start_connecting(&daemon, plain("battery staple"));
        // rhea says no more than that.
        wrong.expect(if library == Library::Proton { "unauthenticated" } else { "disconnected" }, "");
        assert!(wrong.unexpected("opened").is_empty());

        let mut ann = Peer::connect_with(library, &daemon, plain(PASSWORD));
        assert_eq!(daemon.admin().connection_of("ann's").user, "ann");
        ann.order(json!({ "do": "sender", "link": "denied", "address": "out" }));
        let denied = ann.expect("detached", "denied");
        assert_eq!(text(&denied, "condition"), "amqp:unauthorized-access");
        assert_eq!(text(&denied, "description"), "user ann has no right `send` at out; grant send:out");
        ann.receiver("r", "in", json!({ "credit": 1 }));
        ann.sender("s", "in");
        ann.send("s", "let through");
        assert_eq!(ann.body("r"), "let through");

        delete(&daemon, "ann");
        assert_eq!(text(&ann.expect("closed", ""), "condition"), "amqp:unauthorized-access");
    }
}

#[test]
fn clients_of_mqtt_log_in_with_a_password_and_do_what_they_may() {
    if is_skipped() || is_reference() {
        return;
    }
    for dialect in Dialect::ALL {
        let broker = Broker::start_with(closed());
        create(broker.daemon(), "ann", &["send:up/${client}/#", "recv:up/#"]);
        let with = |password: &str| json!({ "client_id": "dev1", "user": "ann", "password": password });
        let refused = Client::new(dialect).try_connect(&broker, with("battery staple"));
        let wrong = if dialect.is_v5 { 0x86 } else { 4 };
        assert!([json!(wrong), json!(0x86)].contains(&refused["reason"]), "{dialect:?}: {refused}");

        let mut ann = Client::connect_with(dialect, &broker, with(PASSWORD));
        assert_eq!(broker.daemon().admin().connection_of("dev1").user, "ann");
        ann.subscribe("up/#", 1);
        let denied = ann.subscribe_with(json!([["#", { "qos": 1 }]]), None);
        assert_eq!(denied, [if dialect.is_v5 { 0x87 } else { 0x80 }], "{dialect:?}");
        ann.publish("up/dev1/x", "yes", 1);
        assert_eq!(ann.text(), "yes");
        if dialect.is_v5 {
            assert_eq!(ann.publish("up/dev2/x", "no", 1), 0x87);
        }
        delete(broker.daemon(), "ann");
        ann.disconnected();
    }
}

#[test]
fn mosquitto_s_programs_log_in_with_a_password() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start_with(closed());
    create(broker.daemon(), "ann", &["send:up/#"]);
    let publish = |topic: &str, password: &str| -> Option<Command> {
        let mut command = mosquitto_client("mosquitto_pub")?;
        let server = broker.server();
        command.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "-V", "5"]);
        command.args(["-u", "ann", "-P", password, "-q", "1", "-t", topic, "-m", "x"]);
        Some(command)
    };
    let Some(right) = publish("up/x", PASSWORD) else { return };
    Running::start(right, "").finish().succeeds();
    let wrong = publish("up/x", "battery staple").expect("there");
    let refused = Running::start(wrong, "").finish();
    assert_ne!(refused.code, Some(0), "{refused:?}");
}
