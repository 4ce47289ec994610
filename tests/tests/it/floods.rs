//! Those who are in go on, however many there are who are not let in.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mq_model::config::ListenerConfig;
use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::raw::Witness;
use mq_tests::{Authority, Daemon, PATIENCE, eventually_within, report, server_tls};
use serde_json::Value;

/// Connections that a flood has at once.
const CONNECTIONS: &str = "20";

/// A process that floods a port for as long as this value lives.
struct Flood {
    child: Child,
    attempts: Arc<AtomicU64>,
}

impl Flood {
    fn start(kind: &str, port: u16) -> Self {
        let mut command = Library::Rhea.program("flood.js");
        command.args([kind, &port.to_string(), CONNECTIONS]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node can be started");
        let output = child.stdout.take().expect("it is piped");
        let attempts = Arc::new(AtomicU64::new(0));
        let count = attempts.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let told: Value = serde_json::from_str(&line).unwrap_or_default();
                count.store(told["count"].as_u64().unwrap_or(0), Ordering::Relaxed);
            }
        });
        Self { child, attempts }
    }

    fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn whoever_is_in_goes_on_while_strangers_begin_tls_and_guess_passwords() {
    if is_skipped() {
        return;
    }
    let builder = Daemon::builder();
    let files = Authority::new("nodes").issue_for("localhost", &builder.folder().join("tls"));
    let daemon = builder
        .with(|config| {
            config.listeners.amqps = Some(ListenerConfig::loopback(0));
            config.tls = Some(server_tls(&files.certificate, &files.key, None));
        })
        .start();
    daemon.admin().create("kept", AddressType::Queue);
    daemon.admin().create("passed on", AddressType::Anycast);
    let witnesses = [Witness::start(daemon.amqp(), "kept"), Witness::start(daemon.amqp(), "passed on")];
    witnesses.iter().for_each(Witness::is_undisturbed);
    let amqp = daemon.amqp().port();
    let floods = [
        ("handshakes", Flood::start("tls", daemon.listener_named("amqps").port())),
        ("passwords", Flood::start("plain", amqp)),
        ("proofs", Flood::start("scram", amqp)),
    ];
    let exchanged = || witnesses.each_ref().map(Witness::exchanged);
    eventually_within(PATIENCE, "floods that have begun", || {
        floods.iter().all(|(_, flood)| flood.attempts() > 0).then_some(())
    });
    let before = exchanged();
    // Nobody stops before both have got somewhere. What a witness sends is told to it as accepted, one message
    // after the other, or it ends.
    eventually_within(4 * PATIENCE, "attempts, and messages meanwhile", || {
        let is_flooded = floods.iter().all(|(_, flood)| flood.attempts() >= 200);
        let is_live = exchanged().iter().zip(before).all(|(now, before)| *now >= before + 200);
        (is_flooded && is_live).then_some(())
    });
    let attempts: Vec<String> =
        floods.iter().map(|(kind, flood)| format!("{} {kind}", flood.attempts())).collect();
    let [kept, passed_on] = exchanged();
    report(&format!(
        "{} came to an end while {} messages were stored and {} passed on",
        attempts.join(", "),
        kept - before[0],
        passed_on - before[1]
    ));
    drop(floods);
    witnesses.iter().for_each(Witness::is_undisturbed);
}
