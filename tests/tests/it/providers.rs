//! Tokens of an identity provider that is not ours: the npm package oidc-provider.

use std::process::Command;

use mq_amqp::performative::SaslCode;
use mq_model::config::{ListenerConfig, Tls, TlsVersion};
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference};
use mq_tests::raw::Raw;
use mq_tests::{Authority, Daemon, Running, eventually, report};
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
        let mut provider = Peer::new(Library::OidcProvider);
        let issuer = text(&provider.expect("ready", ""), "issuer").to_owned();
        let builder = Daemon::builder();
        let files = Authority::new("nodes").issue_for("localhost", &builder.folder().join("tls"));
        let oidc = json!({
            "issuer": issuer,
            "audiences": ["urn:mq"],
            "roles": { "claim": "realm_access.roles", "prefix": "mq-" },
        });
        let broker = Broker::start_with(builder.with(|config| {
            config.listeners.https = Some(ListenerConfig::loopback(0));
            config.tls = Some(Tls {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
                client_ca: None,
                fleet_ca: None,
                client_certificates: None,
                min_version: TlsVersion::Tls12,
                names: Vec::new(),
            });
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
