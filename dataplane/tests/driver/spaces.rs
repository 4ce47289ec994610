//! Address spaces over AMQP: which one a client is in, and that nothing of one is there for another.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use mq_amqp::message::{Header, Message, Properties};
use mq_amqp::performative::{
    DeliveryState, Error, NodeTarget, Role, Source, Target, TerminusDurability, TerminusExpiryPolicy,
};
use mq_amqp::transaction::{ControlMessage, TransactionId, TransactionalState, capability};
use mq_amqp::value::{Symbol, Value};
use mq_amqp::{LinkKey, Outgoing, Terms};
use mq_auth::{Salts, Secret, Verifiers};
use mq_model::config::Where;
use mq_model::manifest::{AddressType, OnFull};
use mq_model::space::{AddressSpaceSpec, DEFAULT_SPACE, qualified};
use mq_mqtt::ReasonCode;
use mqd::hub::Speaks;
use mqd::spaces::Space;
use mqd::users::{User, UserTable};

use crate::client::{Client, Login, addressed, anywhere, from, message, text, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};
use crate::scram::Scram;

/// Everybody's: what is derived from a password takes its time.
const PASSWORD: &str = "pencil";

/// The spaces of these tests, all with addresses of the same names.
const SPACES: [&str; 3] = [DEFAULT_SPACE, "acme", "other"];

static VERIFIERS: LazyLock<Arc<Verifiers>> = LazyLock::new(|| {
    let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
    Arc::new(Verifiers::derive(&Secret::new(PASSWORD), &salts).unwrap())
});

fn user(name: &str, grants: &[&str]) -> User {
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    User::new(name, true, grants, Some(VERIFIERS.clone()))
}

/// Somebody called ann in each space, and bob in acme alone.
fn table() -> UserTable {
    let ann = || user("ann", &["send:#", "recv:#", "browse:#"]);
    UserTable::of([ann()])
        .with_space(Space::new("acme"), [ann(), user("bob", &["recv:#"])])
        .with_space(Space::new("other"), [ann()])
}

/// Addresses of the same names in each space, and one whose name tells where it is.
fn place() -> Place {
    let mut place = Place::new();
    for space in SPACES {
        let mut add = |name: &str, kind, change: &dyn Fn(&mut mq_model::manifest::AddressSpec)| {
            place.add(&qualified(space, name), kind, change);
        };
        if space != DEFAULT_SPACE {
            for (name, kind) in [
                ("a", AddressType::Anycast),
                ("m", AddressType::Multicast),
                ("q", AddressType::Queue),
                ("t", AddressType::Topic),
            ] {
                add(name, kind, &|_| {});
            }
        }
        add("dead", AddressType::Queue, &|_| {});
        add("orders", AddressType::Queue, &|spec| spec.dead_letter = Some("dead".into()));
        add("small", AddressType::Queue, &|spec| {
            spec.limits.max_messages = Some(1);
            spec.on_full = Some(OnFull::Reject);
        });
        add(&format!("only/{space}"), AddressType::Anycast, &|_| {});
    }
    place
}

fn node() -> Node {
    let node = Node::at(&place(), |_| {});
    node.set_table(table());
    node
}

fn plain(user: &'static str) -> Login {
    Login::Plain { user, password: PASSWORD }
}

/// The user of this name in a space, whichever way of saying it comes first.
fn name_in(space: &str) -> &'static str {
    match space {
        "acme" => "ann@acme",
        "other" => "ann@other",
        _ => "ann",
    }
}

/// Somebody of a space, with a container that somebody of each other space has, too.
#[track_caller]
fn ann(node: &Node, shard: usize, space: &str) -> Client {
    Client::logged_in(node.connect(shard), plain(name_in(space)), "container")
}

/// The space of a client, by the one address that it finds.
#[track_caller]
fn space_of(mut client: Client) -> &'static str {
    let mut is_in = |space: &&str| {
        let name = format!("only/{space}");
        client.try_attach(&name, Role::Receiver, from(&name)).is_ok()
    };
    let found: Vec<_> = SPACES.into_iter().filter(|space| is_in(space)).collect();
    let [space] = found[..] else { panic!("a client is in {found:?}") };
    space
}

// ---- which space ------------------------------------------------------------------------------------

#[test]
fn a_client_is_in_the_space_that_it_says_and_what_contradicts_itself_is_not_let_in() {
    let node = node();
    let shut = AddressSpaceSpec { disabled: true, ..AddressSpaceSpec::default() };
    node.set_table(table().with_space(Space::of("shut", &shut, None), [user("ann", &[])]));
    for (user, host, expected) in [
        ("ann", None, Some("default")),
        ("ann", Some("localhost"), Some("default")),
        ("ann", Some("acme.example.org"), Some("default")),
        ("ann", Some("acme"), Some("acme")),
        ("ann", Some("default"), Some("default")),
        ("ann@acme", None, Some("acme")),
        ("ann@acme", Some("acme"), Some("acme")),
        ("ann@acme", Some("localhost"), Some("acme")),
        ("ann@default", Some("localhost"), Some("default")),
        ("bob", Some("acme"), Some("acme")),
        ("bob@acme", None, Some("acme")),
        // Another space's user, no user, no space, two spaces.
        ("bob", None, None),
        ("bob", Some("other"), None),
        ("bob@other", None, None),
        ("ann@nowhere", None, None),
        ("ann@acme@nowhere", None, None),
        ("ann@", None, None),
        ("ann@ACME", None, None),
        ("ann@acme", Some("other"), None),
        ("ann@acme", Some("default"), None),
        ("ann@default", Some("acme"), None),
        ("acme/ann", None, None),
        ("ann", Some("shut"), None),
    ] {
        let logins = [plain(user), Login::Scram(Scram::new(user, PASSWORD))];
        for login in logins {
            let client = Client::at_host(node.connect(0), host, Some(login), "c");
            assert_eq!(client.map(space_of), expected, "{user} at {host:?}");
        }
    }
}

#[test]
fn who_does_not_say_who_he_is_chooses_a_space_on_this_machine_alone() {
    let node = Node::at(&place(), |config| config.authentication.anonymous = Where::Everywhere);
    node.set_table(table());
    for (host, here, afar) in [
        (None, "default", Some("default")),
        (Some("localhost"), "default", Some("default")),
        (Some("default"), "default", Some("default")),
        (Some("acme"), "acme", None),
    ] {
        for login in [None, Some(())] {
            let at = |is_local| {
                let login = login.map(|()| Login::Anonymous);
                let stream = node.connect_at("test", is_local, Speaks::Amqp);
                Client::at_host(stream, host, login, "c").map(space_of)
            };
            assert_eq!(at(true), Some(here), "{host:?} {login:?}");
            assert_eq!(at(false), afar, "{host:?} {login:?} from afar");
        }
    }
}

#[test]
fn a_listener_puts_its_clients_into_its_space_and_lets_no_others_in() {
    let node = Node::at(&place(), |config| {
        config.authentication.anonymous = Where::Everywhere;
        config.listeners.amqp.space = Some("acme".into());
        config.listeners.mqtt.space = Some("nowhere".into());
    });
    node.set_table(table());
    let enter = |listener, is_local, login: Option<Login>, host| {
        let stream = node.connect_at(listener, is_local, Speaks::Amqp);
        Client::at_host(stream, host, login, "c").map(space_of)
    };
    for is_local in [false, true] {
        assert_eq!(enter("amqp", is_local, None, None), Some("acme"), "nobody in particular");
        assert_eq!(enter("amqp", is_local, None, Some("acme")), Some("acme"));
        assert_eq!(enter("amqp", is_local, None, Some("other")), None);
        assert_eq!(enter("mqtt", is_local, None, None), None, "the space of a listener is not there");
    }
    assert_eq!(enter("amqp", true, Some(plain("ann")), None), Some("acme"));
    assert_eq!(enter("amqp", true, Some(plain("ann@acme")), None), Some("acme"));
    assert_eq!(enter("amqp", true, Some(plain("ann@other")), None), None);
    assert_eq!(enter("amqp", true, Some(plain("ann@default")), None), None);
    assert_eq!(enter("amqp", true, Some(plain("ann")), Some("default")), None);
}

#[test]
fn a_client_of_mqtt_is_in_the_space_of_its_user_s_name() {
    let node = node();
    let reason = |options| Mqtt::try_connect(&node, 0, options).connack().reason;
    for user in ["ann", "ann@acme", "bob@acme", "ann@default"] {
        assert_eq!(reason(Options::new(user).user(user, PASSWORD)), ReasonCode::Success, "{user}");
        assert_eq!(reason(Options::v3(user, true).user(user, PASSWORD)), ReasonCode::Success, "{user}");
    }
    assert_eq!(reason(Options::new("proving").scram("bob@acme", PASSWORD)), ReasonCode::Success);
    for user in ["bob", "ann@nowhere"] {
        let wrong = ReasonCode::BadUserNameOrPassword;
        assert_eq!(reason(Options::new("c").user(user, PASSWORD)), wrong, "{user}");
    }
}

#[test]
fn clients_of_a_space_that_goes_are_sent_away_and_others_stay() {
    let node = node();
    let mut staying = [ann(&node, 0, DEFAULT_SPACE), ann(&node, 1, "other")];
    let mut leaving = vec![ann(&node, 0, "acme"), ann(&node, 1, "acme")];
    leaving.extend(Client::at_host(node.connect(0), Some("acme"), None, "nobody"));
    assert_eq!(leaving.len(), 3);
    let users = || [user("ann", &["send:#", "recv:#", "browse:#"])];
    node.set_table(UserTable::of(users()).with_space(Space::new("other"), users()));
    for client in &mut leaving {
        let error = client.ended().expect("a reason");
        assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    }
    for client in &mut staying {
        client.sync();
    }
    assert!(Client::at_host(node.connect(0), None, Some(plain("ann@acme")), "c").is_none());
    // Its name says nothing any more.
    let client = Client::at_host(node.connect(0), Some("acme"), Some(plain("ann")), "c");
    assert_eq!(client.map(space_of), Some("default"));
}

#[test]
fn a_right_that_is_taken_in_one_space_ends_links_there_alone() {
    let node = node();
    let (mut here, mut there) = (ann(&node, 0, "acme"), ann(&node, 0, "other"));
    let (gone, stays) = (here.consumer("q", 1), there.consumer("q", 1));
    let kept = here.consumer("a", 1);
    let less = table().with_space(Space::new("acme"), [user("ann", &["send:#", "recv:a"])]);
    node.set_table(less);
    let error = here.detached(gone);
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    assert_eq!(error.description.expect("words").as_str(), "user ann has no right `recv` at q; grant recv:q");
    here.sync();
    there.sync();
    assert!(here.links[&kept].detached.is_none() && there.links[&stays].detached.is_none());
}

// ---- the same names in each ---------------------------------------------------------------------------

/// A client of each space, the first of them that of acme, on shards of their own choice.
fn three(node: &Node) -> [Client; 3] {
    [ann(node, 0, "acme"), ann(node, 1, "other"), ann(node, 0, DEFAULT_SPACE)]
}

/// Makes sure that nothing comes to clients whatever was sent before.
#[track_caller]
fn get_nothing(clients: &mut [Client]) {
    for client in clients {
        client.sync();
        client.turn();
        assert_eq!(client.received.iter().map(|received| received.text()).collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn what_is_sent_in_a_space_stays_there_whatever_the_kind_of_its_address() {
    for address in ["a", "m", "q", "t", "t/below"] {
        for is_relayed in [false, true] {
            let node = node();
            let [mut own, other, default] = three(&node);
            let mut others = [other, default];
            own.consumer(address, 10);
            for client in &mut others {
                client.consumer(address, 10);
                client.sync();
            }
            own.sync();
            let mut sender = ann(&node, 1, "acme");
            let number = if is_relayed {
                let relay = sender.try_attach("relay", Role::Sender, anywhere()).unwrap();
                sender.send(relay, addressed(address, "hello"), false)
            } else {
                let out = sender.producer(address);
                sender.send_text(out, "hello")
            };
            let received = own.receive(1);
            assert_eq!(received.text(), "hello");
            own.accept(&received);
            assert_eq!(sender.outcome(number), DeliveryState::Accepted);
            get_nothing(&mut others);
        }
    }
}

#[test]
fn a_queue_keeps_for_its_own_space_what_browsers_and_selectors_of_others_do_not_see() {
    let node = node();
    let mut sender = ann(&node, 0, "acme");
    let out = sender.producer("q");
    let coloured = Message {
        application_properties: vec![(Value::from("colour"), Value::from("red"))],
        ..Message::data("hello")
    };
    let number = sender.send(out, coloured.to_bytes(), false);
    assert_eq!(sender.outcome(number), DeliveryState::Accepted);
    let browsing = || {
        let source =
            Source { address: text("q"), distribution_mode: Some("copy".into()), ..Source::default() };
        Terms { source: Some(Box::new(source)), ..from("q") }
    };
    let selecting = || {
        let selector = Value::described(
            Value::Symbol("apache.org:selector-filter:string".into()),
            Value::from("colour = 'red'"),
        );
        let filter = vec![(Symbol::from("selector"), selector)];
        let source = Source { address: text("q"), filter, ..Source::default() };
        Terms { source: Some(Box::new(source)), ..from("q") }
    };
    for space in SPACES {
        for (name, terms) in [("browse", browsing()), ("select", selecting())] {
            let mut client = ann(&node, 1, space);
            let link = client.try_attach(name, Role::Receiver, terms).unwrap();
            client.grant(link, 10);
            if space == "acme" {
                let received = client.receive(1);
                client.settle(&received, DeliveryState::Released, true);
            } else {
                client.engine.drain(link).unwrap();
                client.until("a drained link", |client| client.links[&link].is_drained);
                assert!(client.received.is_empty(), "{space} {name}");
            }
        }
    }
}

#[test]
fn links_of_one_name_and_container_in_two_spaces_leave_each_other_alone() {
    let node = node();
    let mut clients = three(&node);
    let links = clients.each_mut().map(|client| {
        let link = client.try_attach("the link", Role::Receiver, from("q")).unwrap();
        client.grant(link, 10);
        link
    });
    for (client, link) in clients.iter_mut().zip(links) {
        client.sync();
        assert!(client.links[&link].detached.is_none());
    }
    let [own, others @ ..] = &mut clients;
    let out = own.producer("q");
    own.send_text(out, "hello");
    assert_eq!(own.receive(1).text(), "hello");
    get_nothing(others);
}

/// A durable subscription's terms.
fn subscriber(address: &str, capabilities: &[&str]) -> Terms {
    let source = Source {
        address: text(address),
        durable: TerminusDurability::UnsettledState,
        expiry_policy: TerminusExpiryPolicy::Never,
        capabilities: capabilities.iter().map(|name| Symbol::from(*name)).collect(),
        ..Source::default()
    };
    Terms { source: Some(Box::new(source)), ..from(address) }
}

fn durable(body: &str) -> Bytes {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(body.as_bytes().to_vec()) }.to_bytes()
}

#[test]
fn durable_subscriptions_of_one_name_belong_to_their_spaces_also_over_a_restart() {
    // As that of a container, and as one that belongs to none.
    for capabilities in [&["topic"][..], &["topic", "shared", "global"]] {
        let place = place();
        let node = Node::at(&place, |_| {});
        node.set_table(table());
        for space in SPACES {
            let mut client = ann(&node, 0, space);
            let link = client.try_attach("news", Role::Receiver, subscriber("t", capabilities)).unwrap();
            client.sync();
            client.engine.detach(link, false, None).unwrap();
            let out = client.producer("t");
            let number = client.send(out, durable(space), false);
            assert_eq!(client.outcome(number), DeliveryState::Accepted);
        }
        drop(node);
        let node = Node::at(&place, |_| {});
        node.set_table(table());
        let resumed = Terms { source: None, ..from("t") };
        let mut back = SPACES.map(|space| {
            let mut client = ann(&node, 1, space);
            let terms = if capabilities.len() == 1 { resumed.clone() } else { subscriber("t", capabilities) };
            let link = client.try_attach("news", Role::Receiver, terms).unwrap();
            let source = client.links[&link].attach.clone().unwrap().source.unwrap();
            assert_eq!(source.address, text("t"), "as its client calls it");
            client.grant(link, 10);
            let received = client.receive(1);
            assert_eq!(received.text(), space);
            client.accept(&received);
            (client, link)
        });
        // That of acme ends, and no other.
        let (client, link) = &mut back[1];
        client.detach(*link);
        client.sync();
        for (space, (client, _)) in SPACES.into_iter().zip(&mut back) {
            let out = client.producer("t");
            let number = client.send(out, durable("again"), false);
            assert_eq!(client.outcome(number), DeliveryState::Accepted);
            if space != "acme" {
                assert_eq!(client.receive(2).text(), "again");
            }
        }
        if capabilities.len() == 1 {
            let (client, _) = &mut back[1];
            let gone = client.try_attach("news", Role::Receiver, resumed).unwrap_err();
            assert_eq!(gone.condition.as_str(), "amqp:not-found");
        }
    }
}

#[test]
fn a_client_reads_its_own_names_in_answers_annotations_and_errors() {
    let node = node();
    for space in SPACES {
        let mut client = ann(&node, 1, space);
        let link = client.producer("orders");
        let Some(target) = client.links[&link].attach.clone().unwrap().target else { panic!("no target") };
        let Target::Node(target) = *target else { panic!("{target:?}") };
        assert_eq!(target.address, text("orders"));
        client.send(link, message("bad"), false);
        client.consumer("orders", 1);
        let received = client.receive(1);
        let error = Error { condition: "shop:unknown".into(), description: None, info: None };
        client.settle(&received, DeliveryState::Rejected(Some(Box::new(error))), true);
        client.consumer("dead", 1);
        let dead = Message::decode(&Bytes::from(client.receive(2).bytes)).unwrap();
        let source =
            dead.message_annotations.iter().find(|(key, _)| key.as_str() == Some("x-opt-dead-letter-source"));
        assert_eq!(source.expect("where it came from").1, Value::from("orders"));

        let small = client.producer("small");
        client.send_text(small, "one");
        let number = client.send_text(small, "two");
        let DeliveryState::Rejected(Some(error)) = client.outcome(number) else { panic!("it has room") };
        assert!(!format!("{error:?}").contains("$s/"), "{error:?}");

        let error = client.try_attach("missing", Role::Sender, to("missing")).unwrap_err();
        assert_eq!(error.description, text("no address missing; create it first"));
        let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
        let number = client.send(relay, addressed("missing", "x"), false);
        let DeliveryState::Rejected(Some(error)) = client.outcome(number) else {
            panic!("it went somewhere")
        };
        let words = error.description.expect("words");
        assert!(words.as_str().contains("missing") && !words.as_str().contains("$s/"), "{words}");
    }
}

// ---- another space's names ------------------------------------------------------------------------------

/// Ways in which a client might call a name `<R>` of a space `<S>` from outside of it.
const FORMS: &[&str] = &[
    "$s/<S>/<R>",
    "/$s/<S>/<R>",
    "//$s/<S>/<R>",
    "$s//<S>/<R>",
    "$s//$s/<S>/<R>",
    "$s/<S>//<R>",
    "$s/./<S>/<R>",
    "$s/../$s/<S>/<R>",
    "../$s/<S>/<R>",
    "../<S>/<R>",
    "x/../../<S>/<R>",
    "$s/default/../<S>/<R>",
    "$s/default/$s/<S>/<R>",
    "$s/<S>/$s/<S>/<R>",
    "$S/<S>/<R>",
    "%24s/<S>/<R>",
    "$s%2F<S>%2F<R>",
    "\\$s/<S>/<R>",
    "$s\\<S>\\<R>",
    "$s/<S>/<R>\0",
    "\0$s/<S>/<R>",
    " $s/<S>/<R>",
    "\u{ff04}s/<S>/<R>",
    "$\u{ff53}/<S>/<R>",
    "$s\u{2215}<S>\u{2215}<R>",
    "$s\u{ff0f}<S>\u{ff0f}<R>",
    "\u{200b}$s/<S>/<R>",
    "$s/\u{200b}<S>/<R>",
    "\u{feff}$s/<S>/<R>",
    "$s/<S>\u{ad}/<R>",
    "topic://$s/<S>/<R>",
    "queue://$s/<S>/<R>",
    "amqp://<S>/<R>",
    "amqp://ann@<S>/<R>",
    "<S>/<R>",
    "/<S>/<R>",
    "<S>::<R>",
    "<R>@<S>",
    "<S>:<R>",
    "<S>.<R>",
    "$s/<S>::<R>",
    "$s/<S>/<R>::x",
    "$s/<S>/#",
    "$s/<S>/+",
    "$s/+/<R>",
    "$s/#",
    "$s/+/#",
    "$s/<S>",
    "$s/",
    "$s",
    "+/+/<R>",
    "+/#",
    "$+/<S>/<R>",
];

/// What a client might call a name of another space.
fn tricks(space: &str, name: &str) -> Vec<String> {
    FORMS.iter().map(|form| form.replace("<S>", space).replace("<R>", name)).collect()
}

/// What came of a name: nothing, or the words of the refusal with `space` left out.
fn came_of(result: Result<LinkKey, Error>, space: &str) -> String {
    match result {
        Ok(_) => "it is there".to_owned(),
        Err(error) => {
            let words = error.description.as_ref().map(|text| text.as_str().replace(space, "S"));
            format!("{} {}", error.condition, words.unwrap_or_default())
        }
    }
}

#[test]
fn no_name_leads_into_another_space_nor_tells_whether_it_is_there() {
    let node = node();
    let mut served = [ann(&node, 0, "acme"), ann(&node, 1, "acme")];
    for client in &mut served {
        for address in ["a", "q", "t"] {
            client.consumer(address, 10);
        }
        client.sync();
    }
    // One that is there, and one that is not, of the same length: their answers have to be the same.
    let (there, nowhere) = ("acme", "zzzz");
    // With rights to every name of their own spaces, and to everything.
    let nobody = |host| Client::at_host(node.connect(0), Some(host), None, "container").expect("let in");
    let others =
        ["other", DEFAULT_SPACE].map(|space| [(space, ann(&node, 1, space)), (space, nobody(space))]);
    for (space, mut client) in others.into_iter().flatten() {
        let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
        for rest in ["q", "t", "t/below", "a", "only/acme"] {
            let other_rest = rest.replace(there, nowhere);
            for (index, name) in tricks(there, rest).iter().enumerate() {
                let same = &tricks(nowhere, &other_rest)[index];
                for role in [Role::Sender, Role::Receiver] {
                    let mut attach = |name: &str, of: &str| {
                        let terms = if role == Role::Sender { to(name) } else { from(name) };
                        let result = client.try_attach(name, role, terms);
                        if let Ok(link) = result {
                            client.detach(link);
                        }
                        came_of(result, of)
                    };
                    let (found, expected) = (attach(name, there), attach(same, nowhere));
                    assert_eq!(found, expected, "{role:?} of {space} at {name:?}");
                    // A topic of one's own has any name below it.
                    assert!(
                        found != "it is there" || name.starts_with("t/"),
                        "{role:?} of {space} at {name:?}"
                    );
                }
                let mut relay_to = |name: &str, of: &str| {
                    let number = client.send(relay, addressed(name, "from outside"), false);
                    let outcome = client.outcome(number);
                    format!("{outcome:?}").replace(of, "S")
                };
                let (found, expected) = (relay_to(name, there), relay_to(same, nowhere));
                assert_eq!(found, expected, "relayed by {space} to {name:?}");
                assert!(
                    !found.contains("Accepted") || name.starts_with("t/"),
                    "relayed by {space} to {name:?}"
                );
            }
        }
    }
    get_nothing(&mut served);
}

// ---- temporary addresses ----------------------------------------------------------------------------------

fn dynamic_source(client: &mut Client) -> (LinkKey, String) {
    let source = Source { dynamic: true, ..Source::default() };
    let terms = Terms { source: Some(Box::new(source)), ..from("") };
    let link = client.try_attach("replies", Role::Receiver, terms).unwrap();
    client.grant(link, 10);
    let source = client.links[&link].attach.clone().unwrap().source.unwrap();
    (link, source.address.unwrap().as_str().to_owned())
}

fn dynamic_target(client: &mut Client, capability: &'static str) -> (LinkKey, String) {
    let capabilities = vec![Symbol::from(capability)];
    let target = NodeTarget { dynamic: true, capabilities, ..NodeTarget::default() };
    let terms = Terms { target: Some(Box::new(Target::Node(target))), ..to("") };
    let link = client.try_attach(capability, Role::Sender, terms).unwrap();
    let Target::Node(made) = *client.links[&link].attach.clone().unwrap().target.unwrap() else { panic!() };
    (link, made.address.unwrap().as_str().to_owned())
}

#[test]
fn a_temporary_address_whose_name_is_told_to_another_space_is_not_there() {
    let node = node();
    for (space, others) in [("acme", ["other", DEFAULT_SPACE]), (DEFAULT_SPACE, ["acme", "other"])] {
        let mut maker = ann(&node, 0, space);
        let names = [
            dynamic_source(&mut maker).1,
            dynamic_target(&mut maker, "temporary-queue").1,
            dynamic_target(&mut maker, "temporary-topic").1,
        ];
        for name in &names[1..] {
            maker.consumer(name, 10);
        }
        maker.sync();
        for name in &names {
            assert!(name.starts_with("$temp."), "{name}");
            for other in others {
                let mut stranger = ann(&node, 1, other);
                let mut forms = vec![name.clone(), qualified(space, name).into_owned()];
                forms.push(format!("$s/{space}/{name}"));
                for form in forms {
                    for (role, terms) in [(Role::Sender, to(&form)), (Role::Receiver, from(&form))] {
                        let error = stranger.try_attach("told", role, terms).unwrap_err();
                        let condition = error.condition.as_str();
                        let is_hidden = ["amqp:not-found", "amqp:unauthorized-access"].contains(&condition);
                        assert!(is_hidden, "{role:?} {form}: {error:?}");
                    }
                    let relay = stranger.try_attach("relay", Role::Sender, anywhere()).unwrap();
                    let number = stranger.send(relay, addressed(&form, "from outside"), false);
                    let outcome = stranger.outcome(number);
                    assert!(matches!(outcome, DeliveryState::Rejected(_)), "{form}: {outcome:?}");
                    stranger.detach(relay);
                }
            }
            let mut friend = ann(&node, 1, space);
            let out = friend.producer(name);
            let number = friend.send_text(out, "hello");
            let count = maker.received.len() + 1;
            let received = maker.receive(count);
            assert_eq!(received.text(), "hello");
            maker.accept(&received);
            assert_eq!(friend.outcome(number), DeliveryState::Accepted);
        }
    }
}

#[test]
fn a_request_is_answered_at_the_name_that_it_says_in_its_own_space() {
    let node = node();
    let mut clients = three(&node);
    let asked = clients.each_mut().map(|client| {
        let (_, name) = dynamic_source(client);
        client.consumer("a", 10);
        client.sync();
        name
    });
    let [own, ..] = &mut clients;
    let mut responder = ann(&node, 1, "acme");
    let out = responder.producer("a");
    let properties = Properties { reply_to: text(&asked[0]), ..Properties::default() };
    let request = Message { properties: Some(properties), ..Message::data("ask") };
    responder.send(out, request.to_bytes(), false);
    let received = own.receive(1);
    let message = Message::decode(&Bytes::from(received.bytes)).unwrap();
    // What a client has written is as it has written it.
    let reply_to = message.properties.unwrap().reply_to.unwrap();
    assert_eq!(reply_to.as_str(), asked[0]);
    let relay = responder.try_attach("relay", Role::Sender, anywhere()).unwrap();
    responder.send(relay, addressed(reply_to.as_str(), "answer"), false);
    assert_eq!(own.receive(2).text(), "answer");
    get_nothing(&mut clients[1..]);
}

// ---- transactions -----------------------------------------------------------------------------------------

fn control(client: &mut Client) -> LinkKey {
    let capabilities = vec![Symbol::from_static(capability::LOCAL)];
    let terms = Terms { target: Some(Box::new(Target::Coordinator { capabilities })), ..to("unused") };
    client.try_attach("control", Role::Sender, terms).unwrap()
}

fn declared(client: &mut Client, control: LinkKey) -> TransactionId {
    let number = client.send(control, ControlMessage::Declare { global: None }.to_bytes(), false);
    match client.outcome(number) {
        DeliveryState::Declared(id) => *id,
        other => panic!("{other:?}"),
    }
}

fn discharge(client: &mut Client, control: LinkKey, transaction: TransactionId) -> DeliveryState {
    let number =
        client.send(control, ControlMessage::Discharge { transaction, fail: false }.to_bytes(), false);
    client.outcome(number)
}

fn post(client: &mut Client, link: LinkKey, payload: Bytes, transaction: TransactionId) -> DeliveryState {
    client.until("credit", |client| client.credit(link) > 0);
    let number = 1_000_000 + client.states.len() as u64;
    let outgoing = Outgoing {
        tag: number.into(),
        token: number,
        settled: false,
        message_format: 0,
        payload,
        more: false,
    };
    client.engine.send_in_transaction(link, outgoing, transaction).unwrap();
    client.write();
    client.outcome(number)
}

#[test]
fn a_transaction_over_two_queues_is_of_its_own_space_and_its_id_is_good_nowhere_else() {
    let node = node();
    let mut clients = three(&node);
    let mut ids = Vec::new();
    for client in &mut clients {
        let control = control(client);
        ids.push((control, declared(client, control)));
    }
    let (control, id) = ids[0];
    for (index, client) in clients.iter_mut().enumerate() {
        let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
        let (q, orders) = (client.producer("q"), client.producer("orders"));
        for (link, payload) in
            [(q, message("one")), (orders, message("two")), (relay, addressed("q", "three"))]
        {
            if index == 0 {
                let DeliveryState::Transactional(state) = post(client, link, payload, id) else { panic!() };
                let TransactionalState { outcome, .. } = *state;
                assert_eq!(outcome, Some(DeliveryState::Accepted));
            } else {
                // The id of another's transaction.
                let outcome = post(client, link, payload, id);
                let DeliveryState::Rejected(Some(error)) = outcome else { panic!("{outcome:?}") };
                assert_eq!(error.condition.as_str(), "amqp:transaction:unknown-id");
            }
        }
    }
    let [own, others @ ..] = &mut clients;
    assert_eq!(discharge(own, control, id), DeliveryState::Accepted);
    for address in ["q", "orders"] {
        own.consumer(address, 10);
        for client in others.iter_mut() {
            client.consumer(address, 10);
        }
    }
    own.receive(3);
    get_nothing(others);
}

// ---- turns ---------------------------------------------------------------------------------------------------

/// A turn writes to a few connections where spaces share a shard, and what it leaves is not forgotten.
#[test]
fn what_concerns_many_clients_of_a_space_at_once_reaches_all_of_them_beside_another_space() {
    let node = node();
    let mut other = ann(&node, 0, "other");
    let mut producers: Vec<_> = (0..40)
        .map(|_| {
            let mut client = ann(&node, 0, "acme");
            let link = client.producer("a");
            (client, link)
        })
        .collect();
    let mut consumer = ann(&node, 0, "acme");
    consumer.consumer("a", 10_000);
    for (client, link) in &mut producers {
        client.send_text(*link, "hello");
    }
    assert_eq!(consumer.receive(40).text(), "hello");
    other.sync();
    let taken = consumer.received.clone();
    for received in &taken {
        consumer.accept(received);
    }
    for (client, _) in &mut producers {
        client.until("the outcome", |client| !client.states.is_empty());
    }
}

// ---- what is listed ---------------------------------------------------------------------------------------

#[test]
fn links_are_listed_by_the_names_of_their_clients() {
    let node = node();
    let mut clients = three(&node);
    for client in &mut clients {
        client.consumer("q", 1);
        dynamic_source(client);
    }
    let links = node.wait_for(node.hub().links(None, None));
    assert_eq!(links.len(), 6);
    for link in links {
        let address = link.address.expect("an address");
        assert!(address == "q" || address.starts_with("$temp."), "{address}");
    }
    for space in SPACES {
        let name = qualified(space, "q");
        let links = node.wait_for(node.hub().links(Some(&name), None));
        assert_eq!(links.iter().map(|link| link.space.as_str()).collect::<Vec<_>>(), [space]);
    }
}
