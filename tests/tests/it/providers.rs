//! Tokens of an identity provider that is not ours: the npm package oidc-provider.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use mq_amqp::performative::SaslCode;
use mq_model::config::ListenerConfig;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference};
use mq_tests::raw::Raw;
use mq_tests::{Authority, Daemon, Mq, Running, eventually, report, server_tls};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A provider in another process, and a node that takes its tokens.
struct Place {
    provider: Peer,
    issuer: String,
    broker: Broker,
    ca: String,
}

impl Place {
    fn start() -> Self {
        Self::start_with(json!({}))
    }

    /// A node that knows more of the provider.
    fn start_with(more: Value) -> Self {
        let mut provider = Peer::new(Library::OidcProvider);
        let issuer = text(&provider.expect("ready", ""), "issuer").to_owned();
        let builder = Daemon::builder();
        let files = Authority::new("nodes").issue_for("localhost", &builder.folder().join("tls"));
        let mut oidc = json!({
            "issuer": issuer,
            "audiences": ["urn:mq"],
            "roles": { "claim": "realm_access.roles", "prefix": "mq-" },
        });
        if let (Some(all), Value::Object(more)) = (oidc.as_object_mut(), more) {
            all.extend(more);
        }
        let broker = Broker::start_with(builder.with(|config| {
            config.listeners.https = Some(ListenerConfig::loopback(0));
            config.tls = Some(server_tls(&files.certificate, &files.key, None));
            config.authentication.oidc.push(serde_json::from_value(oidc).expect("it says what it has to"));
        }));
        let role = json!({
            "apiVersion": "mq.dev/v1", "kind": "Role", "metadata": { "name": "sender" },
            "spec": { "grants": ["send:up/#", "view:up/#"] },
        });
        let answer = broker.daemon().admin().request("POST", "/api/v1/roles", Some(&role));
        assert_eq!(answer.status, 201, "{}", answer.body);
        let place = Self { provider, issuer, broker, ca: files.ca.display().to_string() };
        place.wait_for_looks(1);
        place
    }

    fn daemon(&self) -> &Daemon {
        self.broker.daemon()
    }

    fn token(&mut self) -> String {
        self.order(json!({ "do": "token" }))
    }

    fn forge(&mut self, by: &str, claims: &Value) -> String {
        self.order(json!({ "do": "forge", "by": by, "claims": claims }))
    }

    fn order(&mut self, command: Value) -> String {
        self.provider.order(command);
        text(&self.provider.expect("token", ""), "token").to_owned()
    }

    /// Lets the provider go on with another key, without the one before.
    fn rotate(&mut self, kind: &str) {
        self.provider.order(json!({ "do": "rotate", "kind": kind }));
        self.provider.expect("rotated", "");
    }

    /// A counter of the node's, 0 before it is there.
    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let metrics = self.daemon().admin().request("GET", "/metrics", None).body;
        let has =
            |line: &&str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
        let line = metrics.lines().filter(|line| line.starts_with(name)).find(has);
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// How often the node has got the provider's keys.
    fn looks(&self) -> u64 {
        let labels = [("issuer", self.issuer.as_str()), ("outcome", "succeeded")];
        self.counter("mq_identity_provider_refreshes_total", &labels)
    }

    /// Waits until the node has got the provider's keys so often.
    fn wait_for_looks(&self, count: u64) {
        eventually("the provider's keys", || (self.looks() >= count).then_some(()));
    }

    /// What came of a token at the admin API, from a source of its own: others of the machine have not failed
    /// there. `None`, and said, where curl is not installed.
    fn at_admin_api(&self, token: &str, source: u8) -> Option<u16> {
        let mut command = Command::new("curl");
        command.args(["-4", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &self.ca]);
        command.args([
            "--interface",
            &format!("127.0.0.{source}"),
            "-H",
            &format!("Authorization: Bearer {token}"),
        ]);
        let port = self.daemon().listener_named("https").port();
        command.arg(format!("https://localhost:{port}/api/v1/addresses"));
        if Command::new("curl").arg("--version").output().is_err() {
            report("left out: curl is not installed");
            return None;
        }
        let answer = Running::start(command, "").finish();
        Some(answer.stdout.trim().parse().unwrap_or_else(|_| panic!("{answer:?}")))
    }

    /// What comes of a token by OAUTHBEARER (RFC 7628), which no library here speaks.
    fn at_amqp(&self, token: &str) -> SaslCode {
        let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
        // 3.2.3: the answer to the news that it is no good.
        Raw::log_in(self.daemon().amqp(), "OAUTHBEARER", message.as_bytes(), |_| b"\x01".to_vec()).1
    }
}

#[test]
fn a_provider_s_token_lets_its_client_in_by_every_protocol() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start();
    let token = place.token();
    assert_eq!(place.at_amqp(&token), SaslCode::Ok);
    for dialect in Dialect::ALL {
        let login = json!({ "client_id": "dev1", "user": "sensor", "password": token });
        let mut client = Client::connect_with(dialect, &place.broker, login);
        assert_eq!(place.daemon().admin().connection_of("dev1").user, "sensor", "{dialect:?}");
        assert_eq!(client.publish("up/x", "by a role of the token", 1), 0, "{dialect:?}");
        let denied = client.subscribe_with(json!([["up/#", { "qos": 1 }]]), None);
        assert_eq!(denied, [if dialect.is_v5 { 0x87 } else { 0x80 }], "{dialect:?}");
    }
    let Some(status) = place.at_admin_api(&token, 2) else { return };
    assert_eq!(status, 200);
}

#[test]
fn rhea_logs_in_with_a_token_by_xoauth2() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start();
    let token = place.token();
    let login = |token: &str| json!({ "user": "sensor", "token": token, "container": "sensor's" });
    let mut sensor = Peer::connect_with(Library::Rhea, place.daemon(), login(&token));
    assert_eq!(place.daemon().admin().connection_of("sensor's").user, "sensor");
    sensor.sender("s", "up/x");
    sensor.order(json!({ "do": "sender", "link": "denied", "address": "down/x" }));
    assert_eq!(text(&sensor.expect("detached", "denied"), "condition"), "amqp:unauthorized-access");
    let forged = place.forge("stranger", &json!({}));
    let mut stranger = Peer::new(Library::Rhea);
    stranger.start_connecting(place.daemon(), login(&forged));
    stranger.expect("disconnected", "");
    assert!(stranger.unexpected("opened").is_empty());
}

#[test]
fn a_token_that_is_no_good_is_refused_for_what_is_wrong_with_it() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start();
    let foreign = place.issuer.replace("127.0.0.1", "localhost");
    let table = [
        ("provider", json!({}), "accepted"),
        ("provider", json!({ "exp": -90 }), "expired"),
        ("provider", json!({ "nbf": 90 }), "not-yet"),
        // Clocks may be half a minute apart.
        ("provider", json!({ "exp": -5 }), "accepted"),
        ("provider", json!({ "nbf": 5 }), "accepted"),
        ("provider", json!({ "aud": "urn:other" }), "audience"),
        ("provider", json!({ "aud": ["urn:other", "urn:mq"] }), "accepted"),
        ("provider", json!({ "sub": "" }), "claim"),
        ("stranger", json!({}), "signature"),
        // The provider's public key, which everybody has, as a shared secret.
        ("secret", json!({}), "algorithm"),
        ("nobody", json!({}), "algorithm"),
        ("provider", json!({ "iss": foreign }), "issuer"),
        ("stranger", json!({ "iss": "https://other.example" }), "issuer"),
    ];
    for (source, (by, claims, outcome)) in (2..).zip(table) {
        let token = place.forge(by, &claims);
        let count = |place: &Place| place.counter("mq_tokens_total", &[("outcome", outcome)]);
        let before = count(&place);
        let Some(status) = place.at_admin_api(&token, source) else { return };
        let expected = if outcome == "accepted" { 200 } else { 401 };
        assert_eq!((status, count(&place)), (expected, before + 1), "{by} {claims}");
    }
}

#[test]
fn a_provider_changes_its_key_and_tokens_of_the_old_one_are_good_no_more() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start();
    let old = place.token();
    for kind in ["ES256", "EdDSA"] {
        let looks = place.looks();
        place.rotate(kind);
        // At once, and not with the next token or in some minutes.
        place.daemon().signal(Signal::HUP);
        place.wait_for_looks(looks + 1);
        let new = place.token();
        assert_eq!(place.at_amqp(&new), SaslCode::Ok, "{kind}");
        assert_eq!(place.at_amqp(&old), SaslCode::Auth, "{kind}");
    }
}

#[test]
fn a_provider_that_is_gone_neither_shuts_the_node_nor_opens_it() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start();
    let known = place.token();
    place.rotate("ES256");
    let unknown = place.token();
    let Place { provider, .. } = &mut place;
    // The process ends with the value.
    *provider = Peer::new(Library::OidcProvider);
    assert_eq!(place.at_amqp(&known), SaslCode::Ok);
    let code = place.at_amqp(&unknown);
    assert!([SaslCode::Auth, SaslCode::SysTemp].contains(&code), "{code:?}");
    assert_eq!(place.at_amqp(&known), SaslCode::Ok, "what is known goes on");
}

/// Somebody at a command line whose context is the node.
struct Person {
    mq: Mq,
    place: Place,
}

impl Person {
    fn new() -> Self {
        let place = Place::start();
        let mq = Mq::new();
        let daemon = place.daemon();
        let (amqp, https) = (daemon.amqp(), daemon.listener_named("https").port());
        let (amqp, https) = (format!("amqp://{amqp}"), format!("https://localhost:{https}"));
        mq.run_with(&["context", "add", "node", "--amqp", &amqp, "--http", &https, "--ca", &place.ca])
            .succeeds();
        mq.run("context use node").succeeds();
        Self { mq, place }
    }

    /// What it takes to log in, beside the way.
    fn login(&self, way: &[&str]) -> Command {
        let common = ["login", "--issuer", &self.place.issuer, "--resource", "urn:mq"];
        let mut command = self.mq.command(&[&common, way].concat());
        command.env("MQ_KEYRING", "file");
        command
    }

    /// Runs `mq` as whoever has logged in.
    fn run(&self, arguments: &str) -> mq_tests::Finished {
        self.start(arguments).finish()
    }

    fn start(&self, arguments: &str) -> Running {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = self.mq.command(&arguments);
        command.env("MQ_KEYRING", "file");
        Running::start(command, "")
    }

    /// Has tokens end so soon that each is renewed before it is used.
    fn shorten_tokens(&mut self) {
        self.place.provider.order(json!({ "do": "lifetime", "seconds": 30 }));
        self.place.provider.expect("lifetime", "");
    }

    /// How often the provider has given tokens in a way, or taken them back.
    fn granted(&mut self, kind: &str) -> u64 {
        self.place.provider.order(json!({ "do": "grants" }));
        self.place.provider.expect("grants", "")["grants"][kind].as_u64().unwrap_or(0)
    }

    /// Whoever has logged in does what the role of his token says, and nothing else.
    fn works(&self) {
        self.run("send up/x -m hello").succeeds();
        self.run("address list").succeeds();
        self.run("send down/x -m hello").exits_with(6);
        self.run("user list").exits_with(6);
    }

    /// Nothing that was given is left where anybody could find it.
    fn logs_out(&self) {
        let kept = self.mq.home().join("state/mq/.keyring/node.json");
        assert!(kept.exists());
        self.run("logout").succeeds().prints("forgotten");
        assert!(!kept.exists());
        // Who says nothing may do everything on the node's own machine: what the token's user may not is the proof.
        self.run("send down/x -m hello").succeeds();
    }
}

/// A person's browser: it does what the pages ask for.
fn browser() -> Command {
    Library::OidcProvider.program("person.mjs")
}

#[test]
fn somebody_logs_in_with_a_code_and_his_tokens_are_renewed_until_he_logs_out() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut person = Person::new();
    person.shorten_tokens();
    let mut command = person.login(&["--oidc"]);
    let mut mq = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mq can be started");
    let mut said = BufReader::new(mq.stderr.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("mq says where to go");
    let url = line.trim().strip_prefix("open ").unwrap_or_else(|| panic!("{line}")).to_owned();
    let mut visit = browser();
    visit.arg(url);
    Running::start(visit, "").finish().succeeds();
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("mq ends");
    assert!(mq.wait().expect("mq ends").success(), "{rest}");

    person.works();
    let renewed = person.granted("refresh_token");
    assert!(renewed >= 4, "each command has renewed the token: {renewed}");
    // What gets the next token is good for once: whoever uses it again loses everything.
    let at_once: Vec<Running> = (0..4).map(|_| person.start("send up/x -m hello")).collect();
    for sent in at_once {
        sent.finish().succeeds();
    }
    person.works();
    let given = person.mq.run_with(&["context", "show", "node", "-o", "json"]).succeeds();
    assert!(!given.stdout.contains("eyJ"), "the context holds no token: {given:#?}");
    assert_eq!(person.granted("revoked"), 0);
    person.logs_out();
    assert!(person.granted("revoked") >= 1, "the provider knows that it is over");
}

#[test]
fn somebody_logs_in_with_his_browser_and_gets_tokens_for_later_too() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut person = Person::new();
    person.shorten_tokens();
    let script = person.mq.home().join("browser");
    let visit = browser();
    let words = std::iter::once(visit.get_program()).chain(visit.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
    fs::write(&script, format!("#!/bin/sh\nexec {} \"$1\"\n", words.join(" ")))
        .expect("the home can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("the file is there");
    let mut command = person.login(&["--oidc", "--browser"]);
    command.env("BROWSER", &script);
    Running::start(command, "").finish().succeeds();
    person.works();
    assert!(person.granted("refresh_token") >= 4);
    person.logs_out();
}

#[test]
fn a_program_logs_in_with_a_secret_of_its_own_and_gets_another_token_when_one_ends() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut person = Person::new();
    person.shorten_tokens();
    let way =
        |file: &'static str| ["--client-credentials", "--client-id", "sensor", "--client-secret-file", file];
    fs::write(person.mq.home().join("wrong"), "guessed").expect("the home can be written");
    let refused = Running::start(person.login(&way("wrong")), "").finish().exits_with(6);
    assert!(!refused.stderr.contains("guessed"), "{refused:?}");
    Running::start(person.login(&way("-")), "sensor-secret\n").finish().succeeds();
    person.works();
    assert!(person.granted("client_credentials") >= 5);
    person.logs_out();
}

#[test]
fn a_token_s_claim_says_the_space_of_its_client_and_nothing_else_does() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut place = Place::start_with(json!({ "space": "tenant" }));
    let admin = place.daemon().admin();
    for space in ["acme", "other"] {
        let made =
            json!({ "apiVersion": "mq.dev/v1", "kind": "AddressSpace", "metadata": { "name": space } });
        assert_eq!(admin.request("POST", "/api/v1/spaces", Some(&made)).status, 201);
        let role = json!({
            "apiVersion": "mq.dev/v1", "kind": "Role", "metadata": { "name": "sender" },
            "spec": { "grants": ["send:up/#"] },
        });
        let path = format!("/api/v1/spaces/{space}/roles");
        assert_eq!(admin.request("POST", &path, Some(&role)).status, 201);
    }
    let roles = json!({ "roles": ["mq-sender"] });
    let said = |place: &mut Place, space: &str| {
        place.forge("provider", &json!({ "tenant": space, "realm_access": roles }))
    };
    let (acme, nowhere) = (said(&mut place, "acme"), said(&mut place, "nowhere"));
    let silent = place.forge("provider", &json!({ "realm_access": roles }));
    // rhea's mechanism for a token is XOAUTH2.
    let rhea = |token: &str, host: &str| json!({ "user": "sensor", "token": token, "virtual_host": host, "container": "c" });
    let _in = Peer::connect_with(Library::Rhea, place.daemon(), rhea(&acme, "localhost"));
    let connection = admin.connection_of("c");
    assert_eq!((&*connection.space, &*connection.user), ("acme", "sensor"));
    let login = |token: &str, user: &str| json!({ "client_id": "dev1", "user": user, "password": token });
    for dialect in Dialect::ALL {
        let mut client = Client::connect_with(dialect, &place.broker, login(&acme, "sensor"));
        assert_eq!(admin.connection_of("dev1").space, "acme", "{dialect:?}");
        client.disconnect();
    }
    // Last: whoever fails is slowed down.
    for (token, host) in
        [(&acme, "other"), (&nowhere, "localhost"), (&silent, "localhost"), (&silent, "acme")]
    {
        let mut peer = Peer::new(Library::Rhea);
        peer.start_connecting(place.daemon(), rhea(token, host));
        peer.expect("disconnected", "");
        assert!(peer.unexpected("opened").is_empty(), "{host}");
    }
    for (token, user) in [(&nowhere, "sensor"), (&silent, "sensor@acme"), (&silent, "sensor")] {
        let reason = eventually("an answer that is about the token", || {
            let answer = Client::new(Dialect::PAHO_5).try_connect(&place.broker, login(token, user));
            // MQTT 5, 3.2.2.2: 0x89 is to come back later.
            answer["reason"].as_u64().filter(|reason| *reason != 0x89)
        });
        assert!([0x86, 0x87].contains(&reason), "{user}: {reason}");
    }
}
