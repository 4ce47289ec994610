//! What is secret is nowhere that anybody reads.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use mq_amqp::performative::SaslCode;
use mq_tests::Daemon;
use mq_tests::foreign::{Library, Peer, is_skipped};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference};
use mq_tests::raw::Raw;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::json;

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "staple-of-the-wrong-kind";
const SERVICE_SECRET: &str = "what-the-service-knows-us-by";
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";

#[test]
fn no_secret_is_in_a_log_whatever_its_level_nor_in_what_the_system_tells_of_the_process() {
    if is_skipped() || is_reference() {
        return;
    }
    let builder = Daemon::builder();
    let file = builder.folder().join("service.secret");
    fs::write(&file, SERVICE_SECRET).expect("the temporary folder can be written");
    let http = json!({ "url": "http://127.0.0.1:9/who", "secret": file });
    let broker = Broker::start_with(builder.with(|config| {
        config.log.filter = "trace".to_owned();
        config.authentication.http = Some(serde_json::from_value(http).expect("it says what it has to"));
    }));
    let daemon = broker.daemon();
    let user = json!({
        "user": { "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": "ann" }, "spec": {} },
        "password": { "password": PASSWORD },
    });
    assert_eq!(daemon.admin().request("POST", "/api/v1/users", Some(&user)).status, 201);
    let plain = |user: &str, password: &str| {
        Raw::log_in(daemon.amqp(), "PLAIN", format!("\0{user}\0{password}").as_bytes(), |_| Vec::new()).1
    };
    assert_eq!(plain("ann", PASSWORD), SaslCode::Ok);
    assert_eq!(plain("ann", WRONG), SaslCode::Auth);
    assert_eq!(plain("whom nobody knows", WRONG), SaslCode::SysTemp, "the service is not there");
    let login = |password: &str| json!({ "client_id": "c", "user": "ann", "password": password });
    Client::connect_with(Dialect::PAHO_5, &broker, login(PASSWORD));
    Client::new(Dialect::MQTT_JS_3).try_connect(&broker, login(WRONG));
    Client::new(Dialect::MQTT_JS_5).try_connect(&broker, login(TOKEN));
    let plain = json!({ "mechanism": "PLAIN", "user": "ann", "password": PASSWORD });
    Peer::connect_with(Library::Rhea, daemon, plain);
    let change = json!({ "password": "quite-another-one" });
    assert_eq!(daemon.admin().request("PUT", "/api/v1/users/ann/password", Some(&change)).status, 204);

    let log = daemon.log();
    assert!(log.contains("DEBUG") && log.contains("ann"), "it says much");
    let told = |name: &str| {
        fs::read(format!("/proc/{}/{name}", daemon.pid()))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let (line, environment) = (told("cmdline").expect("it is alive"), told("environ").unwrap_or_default());
    for secret in
        [PASSWORD, WRONG, SERVICE_SECRET, TOKEN, "quite-another-one", "argon2id$v", "SCRAM-SHA-256$"]
    {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
        assert!(!line.contains(secret) && !environment.contains(secret), "{secret}");
    }
}

#[test]
fn a_daemon_that_crashes_leaves_no_memory_behind() {
    let mut daemon = Daemon::start();
    // Also where somebody has raised the limit meanwhile.
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    let lifted = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
    let before = prlimit(pid, Resource::Core, lifted);
    if let Ok(before) = before {
        assert_eq!(before.current, Some(0), "it asks for none by itself");
    }
    daemon.signal(Signal::ABORT);
    let status = daemon.wait();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "{status:?}");
}
