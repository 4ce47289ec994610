//! A fleet whose clients speak TLS, deployed from nothing, with clients that are not ours.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mq_tests::{Mq, eventually};
use serde_json::Value;

/// A fleet with every listener, with and without TLS.
struct Secure {
    mq: Mq,
    node: Value,
}

const FLEET: &str = "apiVersion: mq/v1
kind: Fleet
metadata: {name: default}
spec:
  workers: 2
  listeners:
    amqp: {port: 0}
    mqtt: {port: 0}
    http: {port: 0}
    amqps: {port: 0}
    mqtts: {port: 0}
    https: {port: 0}
  tls:
    names: [broker.example]
";

impl Secure {
    fn deploy() -> Self {
        let mq = Mq::new();
        std::fs::write(mq.home().join("fleet.yaml"), FLEET).expect("the home can be written");
        mq.run("deploy -f fleet.yaml").succeeds();
        let node = mq.run("node show -o json").succeeds().json();
        Self { mq, node }
    }

    fn port(&self, listener: &str) -> u64 {
        let listeners = self.node["listeners"].as_array().unwrap_or_else(|| panic!("{}", self.node));
        let found = listeners.iter().find(|found| found["name"] == listener);
        found
            .and_then(|found| found["port"].as_u64())
            .unwrap_or_else(|| panic!("{listener} in {}", self.node))
    }

    /// The folder of the fleet's authority.
    fn authority(&self) -> PathBuf {
        find(self.mq.home(), "ca.key")
            .expect("the authority has a key")
            .parent()
            .expect("a folder")
            .to_owned()
    }

    fn ca(&self) -> String {
        self.authority().join("ca.pem").display().to_string()
    }
}

pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut folders = Vec::new();
    for path in entries {
        if path.is_dir() {
            folders.push(path);
        } else if path.file_name().is_some_and(|found| found == name) {
            return Some(path);
        }
    }
    folders.iter().find_map(|folder| find(folder, name))
}

/// `None`, and said, where the program is not installed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Output> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            mq_tests::report(&format!("left out: {program} is not installed"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    // A program that refuses the certificate does not read it.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    Some(child.wait_with_output().expect("the program ends"))
}

#[test]
fn a_fleet_with_tls_is_deployed_and_used_with_the_command_line() {
    let secure = Secure::deploy();
    let mq = &secure.mq;
    mq.run("address create telemetry --type queue").succeeds();
    let ca = secure.ca();
    let amqps = format!("amqps://localhost:{}/telemetry", secure.port("amqps"));
    mq.run_with(&["send", &amqps, "--ca", &ca, "-m", "hello"]).succeeds();
    mq.run_with(&["recv", &amqps, "--ca", &ca, "-n", "1"]).succeeds().prints("hello");
    // The context's own authority is known without a flag.
    mq.run_with(&["send", &amqps, "-m", "again"]).succeeds();
    mq.run_with(&["recv", &amqps, "-n", "1"]).succeeds().prints("again");

    let mqtts = format!("mqtts://127.0.0.1:{}/telemetry", secure.port("mqtts"));
    mq.run_with(&["send", &mqtts, "--ca", &ca, "--qos", "1", "-m", "by MQTT"]).succeeds();
    mq.run_with(&["recv", &amqps, "--ca", &ca, "-n", "1"]).succeeds().prints("by MQTT");

    let https = format!("https://localhost:{}", secure.port("https"));
    mq.run_with(&["address", "list", "-o", "name", "--admin", &https, "--ca", &ca])
        .succeeds()
        .prints("telemetry");
    let expires = mq.run("node show -o json").succeeds().json();
    assert!(expires["certificate"]["expires"].is_string(), "{expires}");
}

#[test]
fn a_node_that_cannot_be_believed_gets_nothing() {
    let secure = Secure::deploy();
    // Another user of the machine, who has not heard of the fleet.
    let stranger = Mq::new();
    let amqps = format!("amqps://localhost:{}/telemetry", secure.port("amqps"));
    let https = format!("https://localhost:{}", secure.port("https"));
    let refused = stranger.run_with(&["send", &amqps, "-m", "secret"]).exits_with(5);
    assert!(refused.stderr.contains("--ca"), "{refused:?}");
    stranger.run_with(&["address", "list", "--admin", &https]).exits_with(5);
    secure.mq.run("address create telemetry --type queue").succeeds();
    stranger.run_with(&["send", &amqps, "--insecure", "-m", "to anybody"]).succeeds();
}

#[test]
fn programs_of_others_speak_tls_with_the_node() {
    let secure = Secure::deploy();
    let ca = secure.ca();
    let https = format!("https://localhost:{}/livez", secure.port("https"));
    if let Some(answer) =
        run("curl", &["-sS", "--cacert", &ca, &https, "-o", "/dev/null", "-w", "%{http_code}"], b"")
    {
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "200", "{answer:?}");
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let place = format!("localhost:{}", secure.port("amqps"));
        let arguments = [
            "s_client",
            "-connect",
            &place,
            "-CAfile",
            &ca,
            "-verify_return_error",
            "-alpn",
            "amqp",
            version,
        ];
        let Some(answer) = run("openssl", &arguments, b"AMQP\x00\x01\x00\x00") else { continue };
        let said = String::from_utf8_lossy(&answer.stdout);
        assert!(
            said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: amqp"),
            "{said}"
        );
    }
    // Renegotiation is not there to be asked for.
    let place = format!("localhost:{}", secure.port("amqps"));
    if let Some(answer) = run("openssl", &["s_client", "-connect", &place, "-CAfile", &ca, "-tls1_2"], b"R\n")
    {
        assert!(!String::from_utf8_lossy(&answer.stdout).contains("verify return:1\nRENEGOTIATING\nverify"));
    }
    let mqtts = secure.port("mqtts").to_string();
    let publish =
        ["--cafile", &ca, "-h", "localhost", "-p", &mqtts, "-t", "news", "-m", "kept", "-r", "-q", "1"];
    if let Some(answer) = run("mosquitto_pub", &publish, b"") {
        assert!(answer.status.success(), "{answer:?}");
        let subscribe =
            ["--cafile", &ca, "-h", "localhost", "-p", &mqtts, "-t", "news", "-C", "1", "-W", "20"];
        let answer = run("mosquitto_sub", &subscribe, b"").expect("it comes with the other");
        assert_eq!(String::from_utf8_lossy(&answer.stdout), "kept\n", "{answer:?}");
    }
}

#[test]
fn a_certificate_is_renewed_without_a_restart() {
    let secure = Secure::deploy();
    let (mq, pid) = (&secure.mq, secure.node["pid"].clone());
    let certificate = find(mq.home(), "server.pem").expect("the node has a certificate");
    let before = std::fs::read(&certificate).expect("it can be read");
    // As if it had been made long ago: what is known of it says that it ends soon.
    let note = certificate.with_extension("json");
    let text = std::fs::read_to_string(&note).expect("it can be read");
    let mut issued: Value = serde_json::from_str(&text).expect("JSON");
    issued["expires"] = "2027-01-01T00:00:00Z".into();
    std::fs::write(&note, issued.to_string()).expect("it can be written");
    mq.run("deploy -f fleet.yaml").succeeds().says("a new certificate");
    assert_ne!(std::fs::read(&certificate).expect("it can be read"), before);
    let node = mq.run("node show -o json").succeeds().json();
    assert_eq!(node["pid"], pid, "nobody was restarted");
    let https = format!("https://localhost:{}", secure.port("https"));
    let ca = secure.ca();
    eventually("the node shows what it has", || {
        mq.run_with(&["status", "--admin", &https, "--ca", &ca]).succeeds();
        Some(())
    });
}
