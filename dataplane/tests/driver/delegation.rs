//! Clients whom the node does not know itself: a service over HTTP says who they are.

use mq_amqp::performative::{Role, SaslCode};
use mq_model::config::Where;
use mq_model::delegation::Asks;
use mq_model::manifest::AddressType;
use mq_mqtt::{Qos, ReasonCode};
use mqd::hub::Speaks;
use mqd::users::User;
use serde_json::{Value, json};

use crate::client::{Client, Login, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};
use crate::scram::Scram;
use crate::service::{Judge, Service, open_sesame};

/// A node that asks the service about those whom its table of users has not: all but the disabled `off`.
fn node(service: &Service) -> Node {
    let node = Node::at(&Place::new(), |config| {
        config.authentication.anonymous = Where::Never;
        service.configure(config);
    });
    node.set_users([User::new("off", false, Vec::new(), None)]);
    node
}

fn plain(user: &'static str, password: &'static str) -> Login {
    Login::Plain { user, password }
}

fn outcome(node: &Node, login: Login) -> Option<SaslCode> {
    Client::log_in(node.connect(0), login, "c").outcome_of_login
}

fn connack(node: &Node, options: Options) -> ReasonCode {
    let mut client = Mqtt::begin(node.connect_as(0, Speaks::Mqtt, false, &[]), options);
    client.until("an answer", |client| client.has_connack());
    client.connack().reason
}

#[test]
fn a_service_lets_those_in_whom_the_node_does_not_know_with_the_roles_that_it_names() {
    let service = Service::start(open_sesame);
    let node = node(&service);
    Client::logged_in(node.connect(0), plain("ann", "sesame"), "c").producer("a");
    assert_eq!(outcome(&node, plain("ann", "simsalabim")), Some(SaslCode::Auth));
    let mut client = Mqtt::connect(&node, 0, Options::new("dev1").user("bob", "sesame"));
    assert_eq!(client.subscribe("t", Qos::AtMostOnce), ReasonCode::Success);
    assert_eq!(connack(&node, Options::new("dev1").user("bob", "x")), ReasonCode::BadUserNameOrPassword);
    let asked = service.asked();
    let question = |index: usize, field: &str| asked[index][field].clone();
    assert_eq!(
        [question(0, "user"), question(0, "space"), question(0, "protocol")],
        ["ann", "default", "amqp"]
    );
    assert_eq!(
        [question(2, "user"), question(2, "client"), question(2, "protocol")],
        ["bob", "dev1", "mqtt"]
    );
    assert_eq!(question(2, "address"), "127.0.0.1");

    // Without a role he is known, and may do nothing.
    service.judge_by(|_| Some((200, json!({ "allow": true }))));
    let refused =
        Client::logged_in(node.connect(0), plain("eve", "x"), "c").try_attach("b", Role::Sender, to("b"));
    assert_eq!(refused.expect_err("he may not").condition.as_str(), "amqp:unauthorized-access");
}

/// The user whose token is `of-NAME`, with two grants.
fn introduce(question: &Value) -> Option<(u16, Value)> {
    let user = question["token"].as_str()?.strip_prefix("of-");
    let grants = ["send:up/${user}/#", "recv:down/#"];
    Some((200, json!({ "allow": user.is_some(), "user": user, "grants": grants })))
}

fn bearer(token: &str) -> Login {
    Login::Bearer(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

#[test]
fn a_service_says_whose_a_token_is_and_gives_him_rights_of_his_own() {
    let service = Service::start(introduce);
    let node = node(&service);
    for name in ["up/ann/1", "up/bob/1", "down/x"] {
        node.set(name, AddressType::Multicast, |_| {});
    }
    let x_oauth2 = |token: &str| Login::XOAuth2(format!("user=ann\u{1}auth=Bearer {token}\u{1}\u{1}"));
    for login in [bearer("of-ann"), x_oauth2("of-ann")] {
        let mut client = Client::logged_in(node.connect(0), login, "c");
        client.try_attach("sends", Role::Sender, to("up/ann/1")).expect("it is granted");
        let refused = client.try_attach("as another", Role::Sender, to("up/bob/1"));
        assert_eq!(refused.expect_err("it is not").condition.as_str(), "amqp:unauthorized-access");
    }
    assert_eq!(outcome(&node, x_oauth2("of-bob")), Some(SaslCode::Auth), "he has said to be another one");
    for token in ["unknown", "of-anonymous", "of-mq-admin", "of-off"] {
        assert_eq!(outcome(&node, bearer(token)), Some(SaslCode::Auth), "{token}");
    }
    // A password of MQTT that stands alone is a token.
    let mut client = Mqtt::connect(&node, 0, Options::new("dev1").user("", "of-bob"));
    assert_eq!(client.subscribe("down/x", Qos::AtMostOnce), ReasonCode::Success);
    assert_eq!(client.subscribe("up/bob/x", Qos::AtMostOnce), ReasonCode::NotAuthorized);
    let asked = service.asked();
    assert!(
        asked.iter().all(|question| question["user"].is_null() && question["password"].is_null()),
        "{asked:?}"
    );
}

#[test]
fn a_service_is_asked_about_passwords_alone_unless_more_is_said() {
    let service = Service::start(introduce);
    let node = Node::at(&Place::new(), |config| {
        config.authentication.anonymous = Where::Never;
        service.configure(config);
        config.authentication.http.as_mut().unwrap().asks = vec![Asks::Password];
    });
    assert_eq!(outcome(&node, bearer("of-ann")), Some(SaslCode::Auth));
    assert!(service.asked().is_empty());
}

#[test]
fn whom_the_table_of_users_has_nobody_else_is_asked_about() {
    let service = Service::start(|_| Some((200, json!({ "allow": true, "roles": ["admin"] }))));
    let node = node(&service);
    for name in ["off", "off@default", "anonymous", "mq-admin"] {
        assert_eq!(outcome(&node, plain(name, "sesame")), Some(SaslCode::Auth), "{name}");
    }
    // A proof of a password cannot be handed on.
    assert_eq!(outcome(&node, Login::Scram(Scram::new("ann", "sesame"))), Some(SaslCode::Auth));
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[test]
fn who_gets_into_the_table_is_no_longer_whom_others_know_by_that_name() {
    let service = Service::start(open_sesame);
    let node = node(&service);
    let mut client = Client::logged_in(node.connect(0), plain("ann", "sesame"), "c");
    node.set_users([User::new("ann", true, vec!["recv:#".parse().unwrap()], None)]);
    assert_eq!(client.ended().expect("an error").condition.as_str(), "amqp:unauthorized-access");
}

#[test]
fn a_service_that_cannot_say_lets_nobody_in_and_keeps_nobody_who_is() {
    let service = Service::start(open_sesame);
    let node = node(&service);
    let mut client = Client::logged_in(node.connect(0), plain("ann", "sesame"), "c");
    let silent: Judge = |_| None;
    for judge in
        [silent, |_| Some((500, json!({ "allow": true }))), |_| Some((200, json!({ "allow": "yes" })))]
    {
        service.judge_by(judge);
        assert_eq!(outcome(&node, plain("bob", "sesame")), Some(SaslCode::SysTemp));
        // The shard has waited for nobody.
        client.try_attach(&format!("link {}", service.asked().len()), Role::Sender, to("a")).unwrap();
    }
    assert_eq!(connack(&node, Options::new("d").user("bob", "sesame")), ReasonCode::ServerUnavailable);
}

#[test]
fn a_connection_ends_when_the_service_has_said_so() {
    let service = Service::start(|_| Some((200, json!({ "allow": true, "roles": ["admin"], "seconds": 1 }))));
    let node = node(&service);
    let mut client = Client::logged_in(node.connect(0), plain("ann", "x"), "c");
    assert_eq!(client.ended().expect("an error").condition.as_str(), "amqp:unauthorized-access");
}
