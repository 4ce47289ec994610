//! Clients that are not ours say who they are, and do what they may.

use std::process::Command;

use fe2o3_amqp::Connection;
use fe2o3_amqp::sasl_profile::{SaslProfile, SaslScramSha256, SaslScramSha512};
use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference, mosquitto_client};
use mq_tests::{Daemon, DaemonBuilder, PATIENCE, Running};
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

/// How a connection of the crate fe2o3-amqp ends that logs in so: with an error, or in peace.
fn with_fe2o3(daemon: &Daemon, profile: impl Into<SaslProfile>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("amqp://{}", daemon.amqp());
    let opened = async {
        let builder = Connection::builder().container_id("by scram").sasl_profile(profile);
        let mut connection = builder.open(url.as_str()).await.map_err(|error| format!("{error:?}"))?;
        let user = daemon.admin().connection_of("by scram").user;
        connection.close().await.map_err(|error| format!("{error:?}"))?;
        Ok(user)
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, opened).await.expect("an answer") })
}

#[test]
fn fe2o3_amqp_proves_that_it_knows_a_password_and_has_the_node_prove_it_too() {
    let daemon = closed().start();
    create(&daemon, "ann", &[]);
    let sha256 = |user: &str, password: &str| with_fe2o3(&daemon, SaslScramSha256::new(user, password));
    let sha512 = |user: &str, password: &str| with_fe2o3(&daemon, SaslScramSha512::new(user, password));
    for by in [&sha256 as &dyn Fn(&str, &str) -> Result<String, String>, &sha512] {
        assert_eq!(by("ann", PASSWORD).as_deref(), Ok("ann"));
        assert!(by("ann", "battery staple").is_err());
        assert!(by("nobody", PASSWORD).is_err());
    }
}

#[test]
fn mqtt_js_proves_that_it_knows_a_password_in_packets_of_auth() {
    if is_skipped() || is_reference() {
        return;
    }
    let dialect = Dialect::MQTT_JS_5;
    let broker = Broker::start_with(closed());
    create(broker.daemon(), "ann", &["send:up/#"]);
    for hash in ["sha256", "sha512"] {
        let with = |password: &str| json!({ "client_id": "dev1", "scram": { "hash": hash, "user": "ann", "password": password } });
        let refused = Client::new(dialect).try_connect(&broker, with("battery staple"));
        assert_eq!(refused["reason"], 0x86, "{hash}: {refused}");
        let mut ann = Client::new(dialect);
        let connack = ann.try_connect(&broker, with(PASSWORD));
        assert_eq!(
            (&connack["reason"], &connack["is_proven"]),
            (&json!(0), &json!(true)),
            "{hash}: {connack}"
        );
        assert_eq!(broker.daemon().admin().connection_of("dev1").user, "ann");
        assert_eq!(ann.publish("up/x", "yes", 1), 0);
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
