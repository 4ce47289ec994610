//! Clients whom the node does not know itself: a service over HTTP says who they are.

use mq_amqp::performative::{Role, SaslCode};
use mq_model::config::Where;
use mq_mqtt::{Qos, ReasonCode};
use mqd::hub::Speaks;
use mqd::users::User;
use serde_json::json;

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
