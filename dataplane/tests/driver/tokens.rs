//! Clients that show a token of an identity provider.

use mq_amqp::performative::{Role, SaslCode};
use mq_mqtt::{Qos, ReasonCode};
use mqd::hub::Speaks;
use mqd::users::User;
use serde_json::json;

use crate::client::{Client, Login, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};
use crate::provider::{Provider, signed};

/// A node that takes the tokens of a provider, and nobody who says nothing.
fn node(provider: &Provider) -> Node {
    Node::at(&Place::new(), |config| provider.configure(config))
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
    let node = node(&provider);
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
    let node = node(&provider);
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
    let node = node(&provider);
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
    let node = node(&provider);
    assert!(offers(&node, false) && !offers(&node, true));
    assert!(!offers(&Node::start(), false));
}

#[test]
fn a_connection_ends_with_its_token() {
    let provider = Provider::start();
    let node = node(&provider);
    node.set_users([sender("ann")]);
    // Within what clocks may be apart, of which a second is left.
    let token = provider.token("ann", &[], -29);
    let mut client = Client::logged_in(node.connect(0), bearer(&token), "c");
    let error = client.ended().expect("an error");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    assert!(error.description.is_some_and(|words| words.to_string().contains("has expired")));
}
