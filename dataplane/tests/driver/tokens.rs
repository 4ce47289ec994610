//! Clients that show a token of an identity provider.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mq_amqp::performative::{Role, SaslCode};
use mq_model::config::{DaemonConfig, Where};
use mq_mqtt::{Qos, ReasonCode};
use mqd::hub::Speaks;
use mqd::users::User;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::client::{Client, Login, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};

/// A provider that has one key, where the configuration says it.
struct Provider {
    issuer: String,
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

impl Provider {
    /// Answers every request with its key, until the process ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let x = URL_SAFE_NO_PAD.encode(pair().public_key().as_ref());
            let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x });
            let body = json!({ "keys": [key] }).to_string();
            for mut stream in listener.incoming().flatten() {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            }
        });
        Self { issuer }
    }

    /// A node that takes its tokens, and nobody who says nothing.
    fn node(&self) -> Node {
        Node::at(&Place::new(), |config| self.configure(config))
    }

    fn configure(&self, config: &mut DaemonConfig) {
        let provider = json!({
            "issuer": self.issuer,
            "audiences": ["mq"],
            "keys": format!("{}/keys", self.issuer),
            "roles": { "claim": "roles", "prefix": "mq-" },
        });
        config.authentication.anonymous = Where::Never;
        config.authentication.oidc.push(serde_json::from_value(provider).unwrap());
    }

    /// A token for a user with roles, which ends so many seconds from now.
    fn token(&self, user: &str, roles: &[&str], seconds: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": self.issuer,
            "aud": "mq",
            "sub": user,
            "roles": roles,
            "exp": now.saturating_add_signed(seconds),
        });
        signed(&json!({ "alg": "EdDSA", "kid": "one" }), &claims)
    }
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair().sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn bearer(token: &str) -> Login {
    Login::Bearer(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

/// A client of MQTT whose password is a token, without a name.
fn with_token(client_id: &str, token: &str) -> Options {
    let mut options = Options::new(client_id);
    options.connect.password = Some(token.to_owned().into());
    options
}

fn sender(name: &str) -> User {
    User::new(name, true, vec!["send:a".parse().unwrap()], None)
}

#[test]
fn a_token_says_who_a_client_is_and_the_table_what_he_may_do() {
    let provider = Provider::start();
    let node = provider.node();
    node.set_users([sender("ann")]);
    let token = provider.token("ann", &[], 300);
    let xoauth2 = Login::XOAuth2(format!("user=ann\u{1}auth=Bearer {token}\u{1}\u{1}"));
    for login in [bearer(&token), xoauth2] {
        let mut client = Client::logged_in(node.connect(0), login, "c");
        client.producer("a");
        let error = client.try_attach("b", Role::Sender, to("b")).expect_err("he may not");
        assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    }
    let mut client = Mqtt::connect(&node, 0, with_token("c", &token));
    assert_eq!(client.connack().reason, ReasonCode::Success);
    assert_eq!(client.subscribe("a", Qos::AtMostOnce), ReasonCode::NotAuthorized);
    let mut named = Mqtt::connect(&node, 0, Options::new("d").user("ann", &token));
    assert_eq!(named.subscribe("a", Qos::AtMostOnce), ReasonCode::NotAuthorized);
}

#[test]
fn roles_of_a_token_count_with_those_of_its_user() {
    let provider = Provider::start();
    let node = provider.node();
    node.set_users([sender("ann")]);
    let login = |user: &str, roles: &[&str]| {
        Client::logged_in(node.connect(0), bearer(&provider.token(user, roles, 300)), "c")
    };
    login("ann", &["mq-admin"]).producer("b");
    login("stranger", &["mq-admin"]).producer("b");
    for roles in [&[][..], &["admin"], &["mq-unknown"]] {
        let refused = login("stranger", roles).try_attach("b", Role::Sender, to("b"));
        assert_eq!(refused.expect_err("nobody has given it").condition.as_str(), "amqp:unauthorized-access");
    }
}

#[test]
fn tokens_that_are_no_good_let_nobody_in() {
    let provider = Provider::start();
    let node = provider.node();
    node.set_users([User::new("gone", false, vec!["send:a".parse().unwrap()], None)]);
    let none = signed(&json!({ "alg": "none" }), &json!({ "iss": provider.issuer }));
    let tokens = [
        provider.token("ann", &[], -300),
        provider.token("gone", &[], 300),
        provider.token("anonymous", &["mq-admin"], 300),
        provider.token("mq-admin", &["mq-admin"], 300),
        none,
        "nonsense".to_owned(),
    ];
    for token in tokens {
        let client = Client::log_in(node.connect(0), bearer(&token), "c");
        assert_ne!(client.outcome_of_login, Some(SaslCode::Ok), "{token}");
    }
    let other =
        Login::XOAuth2(format!("user=bert\u{1}auth=Bearer {}\u{1}\u{1}", provider.token("ann", &[], 300)));
    assert_ne!(Client::log_in(node.connect(0), other, "c").outcome_of_login, Some(SaslCode::Ok));
    let (old, new) = (provider.token("ann", &[], -300), provider.token("ann", &[], 300));
    for options in
        [with_token("c", &old), Options::new("c").user("ann", &old), Options::new("c").user("bert", &new)]
    {
        let mut client = Mqtt::begin(node.connect_as(0, Speaks::Mqtt, false, &[]), options);
        client.until("an answer", |client| client.has_connack());
        assert!(client.connack().reason.is_error(), "{:?}", client.connack());
    }
}

#[test]
fn tokens_are_taken_where_there_is_a_provider_and_others_cannot_read_along() {
    let provider = Provider::start();
    let offers = |node: &Node, from_afar: bool| {
        let stream = if from_afar { node.connect_from_afar(0, Speaks::Amqp) } else { node.connect(0) };
        let client = Client::log_in(stream, Login::Scram(crate::scram::Scram::new("nobody", "x")), "c");
        client.offered.contains(&"OAUTHBEARER".to_owned())
    };
    let node = provider.node();
    assert!(offers(&node, false) && !offers(&node, true));
    assert!(!offers(&Node::start(), false));
}

#[test]
fn a_connection_ends_with_its_token() {
    let provider = Provider::start();
    let node = provider.node();
    node.set_users([sender("ann")]);
    // Within what clocks may be apart, of which a second is left.
    let token = provider.token("ann", &[], -29);
    let mut client = Client::logged_in(node.connect(0), bearer(&token), "c");
    let error = client.ended().expect("an error");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    assert!(error.description.is_some_and(|words| words.to_string().contains("token has expired")));
}
