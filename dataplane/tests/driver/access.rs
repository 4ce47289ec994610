//! Who is let in, what he may do, and what ends when he may not any more.

use std::sync::{Arc, LazyLock};

use mq_amqp::performative::{DeliveryState, Role, SaslCode};
use mq_amqp::{Limits, Terms};
use mq_auth::{Salts, Secret, Verifiers};
use mq_model::config::{DaemonConfig, Where};
use mq_model::grant::Grant;
use mq_model::manifest::AddressType;
use mq_mqtt::{Qos, ReasonCode};
use mqd::hub::Speaks;
use mqd::users::User;

use crate::client::{Client, Login, addressed, anywhere, from, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};
use crate::scram::Scram;

/// Everybody's: what is derived from a password takes its time.
const PASSWORD: &str = "pencil";

static VERIFIERS: LazyLock<Arc<Verifiers>> = LazyLock::new(|| {
    let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
    Arc::new(Verifiers::derive(&Secret::new(PASSWORD), &salts).unwrap())
});

fn parsed(grants: &[&str]) -> Vec<Grant> {
    grants.iter().map(|grant| grant.parse().unwrap()).collect()
}

fn user(name: &str, grants: &[&str]) -> User {
    User::new(name, true, parsed(grants), Some(VERIFIERS.clone()))
}

fn disabled(name: &str) -> User {
    User::new(name, false, parsed(&["send:#", "recv:#"]), Some(VERIFIERS.clone()))
}

fn as_user(user: &'static str) -> Login {
    Login::Plain { user, password: PASSWORD }
}

fn proving(user: &'static str, password: &'static str) -> Login {
    Login::Scram(Scram::new(user, password))
}

/// Lets nobody in who does not say who he is.
fn closed(config: &mut DaemonConfig) {
    config.authentication.anonymous = Where::Never;
}

#[track_caller]
fn amqp(node: &Node, user: &'static str) -> Client {
    Client::logged_in(node.connect(0), as_user(user), user)
}

fn rejected(state: &DeliveryState) -> (String, String) {
    let DeliveryState::Rejected(Some(error)) = state else { panic!("{state:?}") };
    (error.condition.to_string(), error.description.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[track_caller]
fn refused(client: &mut Client, name: &str, role: Role, terms: Terms) -> String {
    let error = client.try_attach(name, role, terms).expect_err("refused");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    error.description.expect("a description").to_string()
}

#[test]
fn who_says_nothing_is_let_in_from_this_machine_alone_unless_asked_otherwise() {
    for (policy, local, afar) in
        [(Where::Loopback, true, false), (Where::Never, false, false), (Where::Everywhere, true, true)]
    {
        let node = Node::at(&Place::new(), |config| config.authentication.anonymous = policy);
        for (is_let_in, from_afar) in [(local, false), (afar, true)] {
            let socket = |speaks: Speaks| {
                if from_afar {
                    node.connect_from_afar(0, speaks)
                } else {
                    node.connect_as(0, speaks, false, &[])
                }
            };
            let offered = Client::log_in(socket(Speaks::Amqp), proving("nobody", "x"), "c").offered;
            assert_eq!(offered.contains(&"ANONYMOUS".to_owned()), is_let_in, "{policy:?} {from_afar}");
            let outcome = Client::log_in(socket(Speaks::Amqp), Login::Anonymous, "c").outcome_of_login;
            assert_eq!(outcome == Some(SaslCode::Ok), is_let_in, "{policy:?} {from_afar}");
            let mut client = Mqtt::begin(socket(Speaks::Mqtt), Options::new("c"));
            client.until("an answer", |client| client.has_connack());
            let expected = if is_let_in { ReasonCode::Success } else { ReasonCode::NotAuthorized };
            assert_eq!(client.connack().reason, expected, "{policy:?} {from_afar}");
        }
        if local {
            Client::connect(&node, 0);
        } else {
            // AMQP 2.2: a header that is not taken is answered with the one that is.
            let mut stream = node.connect_with(0, b"AMQP\x00\x01\x00\x00");
            let mut answer = [0; 8];
            std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
            assert_eq!(&answer, b"AMQP\x03\x01\x00\x00");
        }
    }
}

#[test]
fn a_password_is_asked_for_in_the_clear_only_where_that_is_allowed() {
    let node = Node::start();
    node.set_users([user("ann", &["send:#"])]);
    let client = Client::log_in(node.connect_from_afar(0, Speaks::Amqp), proving("ann", PASSWORD), "c");
    assert_eq!(client.outcome_of_login, Some(SaslCode::Ok));
    assert!(client.offered.iter().all(|mechanism| mechanism.starts_with("SCRAM-")), "{:?}", client.offered);
    let mut client =
        Mqtt::begin(node.connect_from_afar(0, Speaks::Mqtt), Options::new("c").user("ann", PASSWORD));
    client.until("an answer", |client| client.has_connack());
    assert_eq!(client.connack().reason, ReasonCode::NotAuthorized);
}

#[test]
fn a_name_is_let_in_with_its_password_and_no_other_whichever_way_it_is_said() {
    let node = Node::start();
    node.set_users([user("ann", &[]), disabled("bob")]);
    let outcome = |login| Client::log_in(node.connect(0), login, "c").outcome_of_login.unwrap();
    assert_eq!(outcome(as_user("ann")), SaslCode::Ok);
    assert_eq!(outcome(proving("ann", PASSWORD)), SaslCode::Ok);
    assert_eq!(outcome(as_user("ann@default")), SaslCode::Ok);
    let reason = |options| Mqtt::try_connect(&node, 0, options).connack().reason;
    assert_eq!(reason(Options::new("c").user("ann", PASSWORD)), ReasonCode::Success);
    assert_eq!(reason(Options::new("c2").scram("ann", PASSWORD)), ReasonCode::Success);
    for (user, password) in [("ann", "pen"), ("bob", PASSWORD), ("zoe", PASSWORD)] {
        assert_eq!(outcome(Login::Plain { user, password }), SaslCode::Auth, "{user}");
        assert_eq!(outcome(proving(user, password)), SaslCode::Auth, "{user}");
    }
    // What failed here before has used up what costs nothing.
    let node = Node::start();
    node.set_users([user("ann", &[]), disabled("bob")]);
    let reason = |options| Mqtt::try_connect(&node, 0, options).connack().reason;
    let wrong = ReasonCode::BadUserNameOrPassword;
    assert_eq!(reason(Options::new("c").user("ann", "pen")), wrong);
    assert_eq!(reason(Options::v3("c", true).user("ann", "pen")), wrong);
    assert_eq!(reason(Options::new("c").scram("zoe", PASSWORD)), wrong);
    assert_eq!(reason(Options::new("c").scram("bob", PASSWORD)), wrong);
}

#[test]
fn who_fails_again_and_again_has_to_wait_and_is_not_taken_for_wrong() {
    let node = Node::start();
    node.set_users([user("ann", &[])]);
    let wrong = || Login::Plain { user: "ann", password: "pen" };
    let mut outcome = SaslCode::Ok;
    for _ in 0..64 {
        outcome = Client::log_in(node.connect(0), wrong(), "c").outcome_of_login.unwrap();
        if outcome == SaslCode::SysTemp {
            break;
        }
        assert_eq!(outcome, SaslCode::Auth);
    }
    assert_eq!(outcome, SaslCode::SysTemp);
    let counts = node.statistics().logins;
    assert!(counts[&("PLAIN", "credentials")] >= 5 && counts[&("PLAIN", "throttled")] == 1, "{counts:?}");
}

#[test]
fn a_link_needs_its_right_and_is_refused_by_name() {
    let node = Node::at(&Place::new(), closed);
    node.set("in", AddressType::Queue, |_| {});
    node.set("out", AddressType::Queue, |_| {});
    node.set("events", AddressType::Topic, |_| {});
    node.set_users([
        user("ann", &["send:in", "recv:out", "browse:in", "recv:events/a/#"]),
        user("eve", &["recv:events/#"]),
    ]);
    let mut ann = amqp(&node, "ann");
    let words = refused(&mut ann, "1", Role::Sender, to("out"));
    assert_eq!(words, "user ann has no right `send` at out; grant send:out");
    // What is not there is refused as what is: nobody learns of it who may not.
    assert!(refused(&mut ann, "2", Role::Sender, to("nothing")).contains("send:nothing"));
    assert!(refused(&mut ann, "3", Role::Receiver, from("in")).contains("recv:in"));
    assert!(refused(&mut ann, "4", Role::Receiver, from("events")).contains("recv:events/#"));
    assert!(refused(&mut ann, "5", Role::Receiver, from("events/#")).contains("recv:events/#"));
    assert!(refused(&mut ann, "6", Role::Receiver, from("events/+/b")).contains("recv:events/+/b"));
    for (name, role, terms) in [
        ("a", Role::Sender, to("in")),
        ("b", Role::Receiver, from("out")),
        ("c", Role::Receiver, browsing("in")),
        ("d", Role::Receiver, browsing("out")),
        ("e", Role::Receiver, from("events/a")),
        ("f", Role::Receiver, from("events/a/+/c")),
    ] {
        ann.try_attach(name, role, terms).unwrap();
    }
    amqp(&node, "eve").try_attach("all", Role::Receiver, from("events")).unwrap();
}

fn browsing(address: &str) -> Terms {
    let mut terms = from(address);
    let source = terms.source.as_mut().expect("a source");
    source.distribution_mode = Some("copy".into());
    terms
}

#[test]
fn each_message_of_a_relay_needs_the_right_at_the_address_it_says() {
    let node = Node::start();
    node.set("in/a", AddressType::Queue, |_| {});
    node.set("in/b", AddressType::Queue, |_| {});
    node.set_users([user("ann", &["send:in/a", "send:${user}/x"])]);
    let mut ann = amqp(&node, "ann");
    let relay = ann.try_attach("relay", Role::Sender, anywhere()).unwrap();
    for _ in 0..2 {
        let number = ann.send(relay, addressed("in/a", "yes"), false);
        assert_eq!(ann.outcome(number), DeliveryState::Accepted);
        let number = ann.send(relay, addressed("in/b", "no"), false);
        let (condition, words) = rejected(&ann.outcome(number));
        assert_eq!(condition, "amqp:unauthorized-access");
        assert_eq!(words, "user ann has no right `send` at in/b; grant send:in/b");
    }
    node.until("nothing in the queue", |_| {
        node.wait_for(node.hub().addresses(Some(&"in/b".into()))).iter().all(|one| one.deliveries_in == 0)
    });
}

#[test]
fn a_reply_address_needs_no_right_and_whoever_knows_its_name_may_answer() {
    let node = Node::start();
    node.set_users([user("ann", &[]), user("bob", &[])]);
    let mut ann = amqp(&node, "ann");
    let mut terms = from("");
    let source = terms.source.as_mut().expect("a source");
    (source.address, source.dynamic) = (None, true);
    let replies = ann.try_attach("replies", Role::Receiver, terms).unwrap();
    ann.grant(replies, 10);
    let attach = ann.links[&replies].attach.clone().expect("an answer");
    let name = attach.source.expect("a source").address.expect("a name").to_string();
    let mut bob = amqp(&node, "bob");
    let out = bob.try_attach("answer", Role::Sender, to(&name)).unwrap();
    bob.send_text(out, "yes");
    assert_eq!(ann.receive(1).text(), "yes");
}

#[test]
fn a_temporary_queue_is_consumed_from_by_the_connection_that_made_it() {
    let node = Node::start();
    node.set_users([user("ann", &[])]);
    let mut ann = amqp(&node, "ann");
    let mut terms = to("");
    if let Some(mq_amqp::performative::Target::Node(target)) = terms.target.as_deref_mut() {
        (target.address, target.dynamic) = (None, true);
    }
    let made = ann.try_attach("made", Role::Sender, terms).unwrap();
    let attach = ann.links[&made].attach.clone().expect("an answer");
    let Some(mq_amqp::performative::Target::Node(target)) = attach.target.as_deref() else { panic!() };
    let name = target.address.as_ref().expect("a name").to_string();
    ann.try_attach("own", Role::Receiver, from(&name)).unwrap();
    let mut other = amqp(&node, "ann");
    assert!(refused(&mut other, "other", Role::Receiver, from(&name)).contains("recv"));
}

#[test]
fn a_durable_subscription_is_its_user_s_whoever_calls_his_container_the_same() {
    let node = Node::start();
    node.set_users([user("ann", &["recv:#", "send:#"]), user("bob", &["recv:#"])]);
    let durable = || {
        let mut terms = from("t");
        let source = terms.source.as_mut().expect("a source");
        source.durable = mq_amqp::performative::TerminusDurability::UnsettledState;
        source.expiry_policy = mq_amqp::performative::TerminusExpiryPolicy::Never;
        terms
    };
    let connect = |name| Client::logged_in(node.connect(0), as_user(name), "same");
    let (mut ann, mut bob) = (connect("ann"), connect("bob"));
    let link = ann.try_attach("news", Role::Receiver, durable()).unwrap();
    ann.detach(link);
    // Bob's is another one: nothing of it is in use, nothing waits in it.
    let out = ann.try_attach("out", Role::Sender, to("t")).unwrap();
    let number = ann.send_text(out, "for ann");
    assert_eq!(ann.outcome(number), DeliveryState::Accepted);
    let link = bob.try_attach("news", Role::Receiver, durable()).unwrap();
    bob.grant(link, 10);
    let number = ann.send_text(out, "for both");
    assert_eq!(ann.outcome(number), DeliveryState::Accepted);
    assert_eq!(bob.receive(1).text(), "for both");
}

#[test]
fn a_right_that_is_taken_away_ends_its_links_and_no_others() {
    let node = Node::start();
    node.set("qa", AddressType::Queue, |_| {});
    node.set("qb", AddressType::Queue, |_| {});
    node.set_users([user("ann", &["send:qa", "recv:qa", "send:qb"]), user("bob", &["send:qa"])]);
    let (mut ann, mut bob) = (amqp(&node, "ann"), amqp(&node, "bob"));
    let out = ann.try_attach("out", Role::Sender, to("qa")).unwrap();
    let kept = ann.try_attach("kept", Role::Sender, to("qb")).unwrap();
    let heard = ann.try_attach("in", Role::Receiver, from("qa")).unwrap();
    let relay = ann.try_attach("relay", Role::Sender, anywhere()).unwrap();
    let number = ann.send(relay, addressed("qb", "before"), false);
    assert_eq!(ann.outcome(number), DeliveryState::Accepted);
    let others = bob.try_attach("out", Role::Sender, to("qa")).unwrap();
    node.set_users([user("ann", &["send:qb"]), user("bob", &["send:qa"])]);
    for (link, grant) in [(out, "send:qa"), (heard, "recv:qa")] {
        let error = ann.detached(link);
        assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
        assert!(error.description.expect("words").as_str().contains(grant));
    }
    let number = ann.send_text(kept, "still");
    assert_eq!(ann.outcome(number), DeliveryState::Accepted);
    let number = bob.send_text(others, "still");
    assert_eq!(bob.outcome(number), DeliveryState::Accepted);
    // What was remembered of the relay is forgotten.
    node.set_users([user("ann", &["send:qa"]), user("bob", &["send:qa"])]);
    let number = ann.send(relay, addressed("qb", "after"), false);
    assert_eq!(rejected(&ann.outcome(number)).0, "amqp:unauthorized-access");
    let number = ann.send(relay, addressed("qa", "after"), false);
    assert_eq!(ann.outcome(number), DeliveryState::Accepted);
}

#[test]
fn the_connections_of_a_user_who_is_gone_or_disabled_are_closed() {
    let node = Node::start();
    let all = || [user("ann", &["recv:#"]), user("bob", &["recv:#"]), user("cid", &["recv:#"])];
    node.set_users(all());
    let (mut ann, mut bob, mut cid) = (amqp(&node, "ann"), amqp(&node, "bob"), amqp(&node, "cid"));
    let mut mqtt = Mqtt::connect(&node, 0, Options::new("m").user("ann", PASSWORD));
    let mut nobody = Client::connect(&node, 0);
    node.set_users([disabled("bob"), user("cid", &["recv:#"])]);
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.ended().expect("an error").condition.as_str(), "amqp:unauthorized-access");
    }
    assert_eq!(mqtt.sent_away(), ReasonCode::NotAuthorized);
    nobody.sync();
    assert_eq!(
        cid.try_attach("x", Role::Sender, to("a")).unwrap_err().condition.as_str(),
        "amqp:unauthorized-access"
    );
}

#[test]
fn a_publication_without_the_right_is_refused_and_reaches_nobody() {
    let node = Node::start();
    node.set_users([user("ann", &["send:t/${client}/#"]), user("bob", &["recv:#"])]);
    let mut bob = Mqtt::connect(&node, 1, Options::new("bob").user("bob", PASSWORD));
    assert_eq!(bob.subscribe("#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    let mut ann = Mqtt::connect(&node, 0, Options::new("dev1").user("ann", PASSWORD));
    assert_eq!(ann.publish("t/dev2/x", "no", Qos::AtLeastOnce), ReasonCode::NotAuthorized);
    assert!(ann.words.as_deref().is_some_and(|words| words.contains("send")));
    assert_eq!(ann.publish("t/dev2/x", "no", Qos::ExactlyOnce), ReasonCode::NotAuthorized);
    ann.publish("t/dev2/x", "no", Qos::AtMostOnce);
    assert_eq!(ann.publish("t/dev1/x", "yes", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(bob.receive().text(), "yes");
    let denied = node.statistics().denials;
    assert_eq!(denied[&mq_model::grant::Right::Send], 3);
    // 3.1.1 has no word for it.
    let mut old = Mqtt::connect(&node, 0, Options::v3("dev1", true).user("ann", PASSWORD));
    old.publish("t/dev2/x", "no", Qos::AtMostOnce);
    old.until_ended();
}

#[test]
fn a_client_identifier_with_wildcards_widens_nothing() {
    let node = Node::start();
    node.set_users([user("ann", &["send:t/${client}", "recv:t/${client}/#"])]);
    for id in ["+", "#", "*", "a/#", "a/b"] {
        let mut ann = Mqtt::connect(&node, 0, Options::new(id).user("ann", PASSWORD));
        assert_eq!(ann.publish("t/a", "no", Qos::AtLeastOnce), ReasonCode::NotAuthorized, "{id}");
        assert_eq!(ann.subscribe(&format!("t/{id}"), Qos::AtMostOnce), ReasonCode::NotAuthorized, "{id}");
    }
}

#[test]
fn a_subscription_needs_the_right_to_everything_that_it_may_hear() {
    let node = Node::start();
    node.set_users([user("ann", &["recv:t/a/+/x", "recv:t/b/#"])]);
    let mut ann = Mqtt::connect(&node, 0, Options::new("ann").user("ann", PASSWORD));
    for filter in ["#", "t/a/#", "t/a/+/+", "t/+/b/x", "t/c", "$share/g/t/a/#", "$share/b/t/a"] {
        assert_eq!(ann.subscribe(filter, Qos::AtLeastOnce), ReasonCode::NotAuthorized, "{filter}");
    }
    for filter in ["t/a/+/x", "t/a/b/x", "t/b", "t/b/#", "t/b/+/c", "$share/g/t/b/#"] {
        assert_eq!(ann.subscribe(filter, Qos::AtLeastOnce), ReasonCode::GrantedQos1, "{filter}");
    }
    let mut old = Mqtt::connect(&node, 0, Options::v3("old", true).user("ann", PASSWORD));
    assert!(old.subscribe("t/a/#", Qos::AtLeastOnce).is_error());
}

#[test]
fn a_will_needs_the_right_when_it_is_left_and_when_it_is_published() {
    let node = Node::start();
    node.set_users([user("ann", &["send:t/last/#"]), user("bob", &["recv:#"])]);
    let options = || Options::new("ann").user("ann", PASSWORD);
    let refused = Mqtt::try_connect(&node, 0, options().will("t/other", "no", 0));
    assert_eq!(refused.connack().reason, ReasonCode::NotAuthorized);
    let mut bob = Mqtt::connect(&node, 0, Options::new("bob").user("bob", PASSWORD));
    bob.subscribe("#", Qos::AtLeastOnce);
    let ann = Mqtt::connect(&node, 0, options().will("t/last/words", "first", 0));
    ann.vanish();
    assert_eq!(bob.receive().text(), "first");
    let late = Options::new("late").user("ann", PASSWORD).will("t/last/words", "second", 0);
    let mut ann = Mqtt::connect(&node, 0, late);
    node.set_users([user("bob", &["recv:#", "send:#"])]);
    assert_eq!(ann.sent_away(), ReasonCode::NotAuthorized);
    assert_eq!(bob.publish("t/end", "end", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(bob.receive().text(), "end");
    assert_eq!(node.statistics().mqtt.wills_refused, 1);
}

#[test]
fn a_session_is_its_user_s_also_after_a_restart() {
    let place = Place::new();
    let users = || [user("ann", &["recv:#"]), user("bob", &["recv:#", "send:#"])];
    let lasting = |name: &'static str| Options::lasting("kitchen", 600).user(name, PASSWORD);
    for is_restarted in [false, true] {
        let node = Node::at(&place, |_| {});
        node.set_users(users());
        if !is_restarted {
            let mut ann = Mqtt::connect(&node, 0, lasting("ann").clean());
            ann.subscribe("t", Qos::AtLeastOnce);
            let foreign = Mqtt::try_connect(&node, 1, lasting("bob"));
            assert_eq!(foreign.connack().reason, ReasonCode::ClientIdentifierNotValid);
            // It has not been taken over.
            ann.sync();
            ann.disconnect();
            continue;
        }
        for options in [lasting("bob"), lasting("bob").clean(), Options::lasting("kitchen", 600)] {
            let foreign = Mqtt::try_connect(&node, 0, options);
            assert_eq!(foreign.connack().reason, ReasonCode::ClientIdentifierNotValid);
        }
        let ann = Mqtt::connect(&node, 0, lasting("ann"));
        assert!(ann.session_present());
    }
}

#[test]
fn a_subscription_whose_right_is_taken_away_ends_and_what_waited_for_it_is_not_delivered() {
    let node = Node::start();
    let bob = || user("bob", &["send:#"]);
    node.set_users([user("ann", &["recv:t/a", "recv:t/b"]), bob()]);
    let lasting = || Options::lasting("ann", 600).user("ann", PASSWORD);
    let mut ann = Mqtt::connect(&node, 0, lasting().clean());
    ann.subscribe("t/a", Qos::AtLeastOnce);
    ann.subscribe("t/b", Qos::AtLeastOnce);
    let mut bob_sends = Mqtt::connect(&node, 1, Options::new("bob").user("bob", PASSWORD));
    node.set_users([user("ann", &["recv:t/b"]), bob()]);
    assert_eq!(ann.sent_away(), ReasonCode::NotAuthorized);
    for topic in ["a", "b"] {
        assert!(!bob_sends.publish(&format!("t/{topic}"), topic, Qos::AtLeastOnce).is_error());
    }
    let mut ann = Mqtt::connect(&node, 0, lasting());
    assert!(ann.session_present());
    assert_eq!(ann.receive().text(), "b");
    assert_eq!(ann.unsubscribe("t/a"), [ReasonCode::NoSubscriptionExisted]);
    // While she is away.
    bob_sends.publish("t/b", "kept", Qos::AtLeastOnce);
    assert_eq!(ann.receive().text(), "kept");
    ann.disconnect();
    bob_sends.publish("t/b", "waits", Qos::AtLeastOnce);
    node.set_users([user("ann", &["recv:t/c"]), bob()]);
    let mut ann = Mqtt::connect(&node, 0, lasting());
    assert!(ann.session_present());
    assert_eq!(ann.subscribe("t/c", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    bob_sends.publish("t/c", "new", Qos::AtLeastOnce);
    assert_eq!(ann.receive().text(), "new");
}

#[test]
fn a_client_says_again_who_it_is_and_may_not_become_somebody_else() {
    let node = Node::start();
    node.set_users([user("ann", &["recv:#"]), user("bob", &["recv:#"])]);
    let mut ann = Mqtt::connect(&node, 0, Options::new("c").scram("ann", PASSWORD));
    ann.authenticate_again(Scram::new("ann", PASSWORD));
    ann.until("a success", |client| client.authentications == 1);
    assert_eq!(ann.subscribe("t/a", Qos::AtMostOnce), ReasonCode::Success);
    ann.authenticate_again(Scram::new("bob", PASSWORD));
    assert_eq!(ann.sent_away(), ReasonCode::NotAuthorized);
    let mut ann = Mqtt::connect(&node, 0, Options::new("c").scram("ann", PASSWORD));
    ann.authenticate_again(Scram::new("ann", "wrong"));
    assert_eq!(ann.sent_away(), ReasonCode::NotAuthorized);
}

#[test]
fn the_user_of_a_connection_is_shown() {
    let node = Node::start();
    node.set_users([user("ann", &[])]);
    let _named = amqp(&node, "ann");
    let _nobody = Client::with(&node, 1, Limits::default());
    let mut users: Vec<String> =
        node.wait_for(node.hub().connections()).into_iter().map(|connection| connection.user).collect();
    users.sort();
    assert_eq!(users, ["ann", "anonymous"]);
}
