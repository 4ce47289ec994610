//! Clients that are not ours speak TLS with a node, and prove with a certificate who they are.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use mq_model::config::ListenerConfig;
use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference, mosquitto_client};
use mq_tests::{Authority, Daemon, PATIENCE, Pair, Running, report, server_tls};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// What the node says to a client that begins AMQP without SASL.
const HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";

/// A node whose clients may show certificates, and the authorities of both.
struct Place {
    broker: Broker,
    clients: Authority,
    folder: TempDir,
    /// The certificate of the authority that the node's own is from.
    ca: PathBuf,
}

impl Place {
    fn start() -> Self {
        let folder = TempDir::with_prefix("mq-tests-").expect("a temporary folder can be made");
        let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
        let server = nodes.issue_for("localhost", &folder.path().join("node"));
        let client_ca = clients.certificate(&folder.path().join("clients"));
        let builder = Daemon::builder().with(|config| {
            let listener = ListenerConfig::loopback(0);
            config.listeners.amqps = Some(listener.clone());
            config.listeners.mqtts = Some(listener.clone());
            config.listeners.https = Some(listener);
            config.tls = Some(server_tls(&server.certificate, &server.key, Some(client_ca)));
        });
        let place = Self { broker: Broker::start_with(builder), clients, folder, ca: server.ca };
        place.create("ann", &["send:in", "recv:in", "send:up/#", "recv:up/#"]);
        place.daemon().admin().create("in", AddressType::Queue);
        place
    }

    fn daemon(&self) -> &Daemon {
        self.broker.daemon()
    }

    fn create(&self, name: &str, grants: &[&str]) {
        let user = json!({
            "user": {
                "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": name }, "spec": { "grants": grants },
            },
            "password": { "password": PASSWORD },
        });
        let answer = self.daemon().admin().request("POST", "/api/v1/users", Some(&user));
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    fn port(&self, listener: &str) -> u16 {
        self.daemon().listener_named(listener).port()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What a client needs to reach a listener by the name in the node's certificate, and to show its own.
    fn options(&self, listener: &str, own: Option<&Pair>) -> Value {
        let mut tls = json!({ "ca": self.ca });
        if let Some(own) = own {
            tls["certificate"] = json!(own.certificate);
            tls["key"] = json!(own.key);
        }
        json!({ "host": "localhost", "port": self.port(listener), "tls": tls })
    }
}

fn with(mut options: Value, more: Value) -> Value {
    let (Some(all), Value::Object(more)) = (options.as_object_mut(), more) else {
        panic!("options are objects")
    };
    all.extend(more);
    options
}

#[test]
fn proton_and_rhea_prove_who_they_are_with_a_certificate() {
    if is_skipped() {
        return;
    }
    let place = Place::start();
    let ann = place.clients.certify_client(place.path(), "ann");
    for library in [Library::Proton, Library::Rhea] {
        let options = with(
            place.options("amqps", Some(&ann)),
            json!({ "mechanism": "EXTERNAL", "container": "ann's" }),
        );
        let mut peer = Peer::connect_with(library, place.daemon(), options);
        let connection = place.daemon().admin().connection_of("ann's");
        assert_eq!(connection.user, "ann", "{library:?}");
        let tls = connection.tls.expect("it speaks TLS");
        assert_eq!(tls.subject.as_deref(), Some("CN=ann"), "{library:?}");
        peer.receiver("r", "in", json!({ "credit": 1 }));
        peer.sender("s", "in");
        peer.send("s", "let through");
        assert_eq!(peer.body("r"), "let through");
        peer.order(json!({ "do": "sender", "link": "denied", "address": "out" }));
        assert_eq!(text(&peer.expect("detached", "denied"), "condition"), "amqp:unauthorized-access");
    }
}

#[test]
fn proton_and_rhea_send_a_password_over_tls_to_a_node_whose_name_is_right() {
    if is_skipped() {
        return;
    }
    let place = Place::start();
    for library in [Library::Proton, Library::Rhea] {
        let login = |password: &str| {
            let login =
                json!({ "mechanism": "PLAIN", "user": "ann", "password": password, "container": "ann's" });
            with(place.options("amqps", None), login)
        };
        let mut ann = Peer::connect_with(library, place.daemon(), login(PASSWORD));
        assert_eq!(place.daemon().admin().connection_of("ann's").user, "ann", "{library:?}");
        ann.sender("s", "in");
        let mut wrong = Peer::new(library);
        wrong.start_connecting(place.daemon(), login("battery staple"));
        wrong.expect("disconnected", "");
        // The certificate is for another name.
        let mut astray = Peer::new(library);
        astray.start_connecting(place.daemon(), with(login(PASSWORD), json!({ "host": "127.0.0.1" })));
        astray.expect(if library == Library::Proton { "transport-error" } else { "disconnected" }, "");
        assert!(
            astray.unexpected("opened").is_empty() && wrong.unexpected("opened").is_empty(),
            "{library:?}"
        );
    }
}

#[test]
fn clients_of_mqtt_speak_tls_and_prove_who_they_are_with_a_certificate() {
    if is_skipped() || is_reference() {
        return;
    }
    let place = Place::start();
    let ann = place.clients.certify_client(place.path(), "ann");
    for dialect in Dialect::ALL {
        let options =
            |listener, own, id: &str| with(place.options(listener, own), json!({ "client_id": id }));
        let mut client =
            Client::connect_with(dialect, &place.broker, options("mqtts", Some(&ann), "certified"));
        assert_eq!(place.daemon().admin().connection_of("certified").user, "ann", "{dialect:?}");
        client.subscribe("up/#", 1);
        client.publish("up/x", "over TLS", 1);
        assert_eq!(client.text(), "over TLS", "{dialect:?}");
        let denied = client.subscribe_with(json!([["#", { "qos": 1 }]]), None);
        assert_eq!(denied, [if dialect.is_v5 { 0x87 } else { 0x80 }], "{dialect:?}");

        let login = json!({ "websocket": true, "user": "ann", "password": PASSWORD });
        let mut web =
            Client::connect_with(dialect, &place.broker, with(options("https", None, "web"), login));
        assert_eq!(place.daemon().admin().connection_of("web").user, "ann", "{dialect:?}");
        web.publish("up/y", "in frames", 1);
        assert_eq!(client.text(), "in frames", "{dialect:?}");
    }
}

#[test]
fn mosquitto_s_programs_prove_who_they_are_with_a_certificate() {
    if is_skipped() || is_reference() {
        return;
    }
    let place = Place::start();
    let publish = |user: &str| -> Option<Command> {
        let own = place.clients.certify_client(place.path(), user);
        let mut command = mosquitto_client("mosquitto_pub")?;
        command.args(["-h", "localhost", "-p", &place.port("mqtts").to_string(), "-V", "5", "-q", "1"]);
        command.arg("--cafile").arg(&place.ca).arg("--cert").arg(own.certificate).arg("--key").arg(own.key);
        command.args(["-t", "up/x", "-m", "x"]);
        Some(command)
    };
    let Some(ann) = publish("ann") else { return };
    Running::start(ann, "").finish().succeeds();
    place.create("eve", &[]);
    let eve = Running::start(publish("eve").expect("there"), "").finish();
    let is_refused = eve.code != Some(0) || eve.stderr.to_lowercase().contains("not authorized");
    assert!(is_refused, "she is known and has no right: {eve:?}");
}

/// OpenSSL's client, which is ended with the value.
struct OpenSsl(Child);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the node answers AMQP to OpenSSL's client with these arguments; `None`, and said, where that is not
/// installed.
fn answers(place: &Place, arguments: &[&str]) -> Option<bool> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &format!("localhost:{}", place.port("amqps"))]);
    command.arg("-CAfile").arg(&place.ca).args(["-verify_return_error"]).args(arguments);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut openssl = match child {
        Ok(child) => OpenSsl(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report("left out: openssl is not installed");
            return None;
        }
        Err(error) => panic!("openssl: {error}"),
    };
    let mut input = openssl.0.stdin.take().expect("it is piped");
    let mut output = openssl.0.stdout.take().expect("it is piped");
    // One that is refused does not read it.
    let _ = input.write_all(HEADER);
    let (said, hears) = channel();
    thread::spawn(move || {
        let mut header = [0; HEADER.len()];
        let answered = output.read_exact(&mut header).is_ok() && header == HEADER;
        // Whoever has asked may be gone.
        let _ = said.send(answered);
    });
    Some(hears.recv_timeout(PATIENCE).expect("an answer, or the end"))
}

#[test]
fn a_certificate_that_is_not_good_lets_nobody_in_by_any_version() {
    let place = Place::start();
    let (folder, strangers) = (place.path(), Authority::new("strangers"));
    let ago = |seconds: u64| SystemTime::now() - Duration::from_secs(seconds);
    let table: [(&str, bool, Pair); 6] = [
        ("good", true, place.clients.certify_client(folder, "ann")),
        ("of another authority", false, strangers.certify_client(folder, "stranger")),
        (
            "expired",
            false,
            place.clients.certify(folder, "expired", |params| {
                (params.not_before, params.not_after) = (ago(7_200).into(), ago(3_600).into());
            }),
        ),
        (
            "not good yet",
            false,
            place.clients.certify(folder, "early", |params| {
                params.not_before = (SystemTime::now() + Duration::from_secs(3_600)).into();
            }),
        ),
        (
            "for servers alone",
            false,
            place.clients.certify(folder, "server", |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        ("signed by itself", false, {
            let key = rcgen::KeyPair::generate().expect("the system has randomness");
            let params = rcgen::CertificateParams::new(vec!["ann".to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("it signs itself");
            let pair = Pair { certificate: folder.join("self.pem"), key: folder.join("self.key") };
            std::fs::write(&pair.certificate, certificate.pem()).expect("the folder can be written");
            std::fs::write(&pair.key, key.serialize_pem()).expect("the folder can be written");
            pair
        }),
    ];
    for version in ["-tls1_2", "-tls1_3"] {
        for (what, is_good, pair) in &table {
            let (certificate, key) = (pair.certificate.display().to_string(), pair.key.display().to_string());
            let Some(answered) = answers(&place, &[version, "-cert", &certificate, "-key", &key]) else {
                return;
            };
            assert_eq!(answered, *is_good, "{what} {version}");
        }
        assert_eq!(answers(&place, &[version]), Some(true), "none is needed: {version}");
        assert_eq!(answers(&place, &[version, "-verify_hostname", "localhost"]), Some(true));
        assert_eq!(answers(&place, &[version, "-verify_hostname", "other.example"]), Some(false));
    }
    for version in ["-tls1", "-tls1_1"] {
        assert_eq!(answers(&place, &[version]), Some(false), "{version}");
    }
}
