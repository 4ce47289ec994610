//! Address spaces over AMQP, with clients that are not ours: whatever they call things, none finds anything of
//! another space, nor learns that it is there.

use mq_tests::admin::Admin;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::{Daemon, Fleet, eventually};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

/// The spaces of these tests, all with addresses and users of the same names.
const SPACES: [&str; 3] = ["default", "acme", "other"];

/// What each space has.
const ADDRESSES: [(&str, &str); 4] = [("q", "queue"), ("t", "topic"), ("a", "anycast"), ("m", "multicast")];

/// What a client of another space may call `<R>` of acme. None of it is a name of its own.
const FORMS: &[&str] = &[
    "$s/acme/<R>",
    "/$s/acme/<R>",
    "$s//$s/acme/<R>",
    "$s//acme/<R>",
    "$s/acme//<R>",
    "$s/./acme/<R>",
    "$s/../$s/acme/<R>",
    "$s/acme/$s/acme/<R>",
    "$s/default/../acme/<R>",
    "$s/acme/<R>::all",
    "$s/acme::<R>",
    "$s/+/<R>",
    "$s/acme/#",
    "$s/acme/+",
    "$s/#",
    "$s/\u{200b}acme/<R>",
    "$\u{ff53}/acme/<R>",
];

fn below(space: &str) -> String {
    if space == "default" { "/api/v1".into() } else { format!("/api/v1/spaces/{space}") }
}

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

#[track_caller]
fn post(admin: Admin, path: &str, body: &Value) {
    let answer = admin.request("POST", path, Some(body));
    assert_eq!(answer.status, 201, "POST {path}: {}", answer.body);
}

/// Makes the spaces, and in each of them the addresses and a user who may do everything with them.
fn furnish(admin: Admin) {
    for space in SPACES {
        if space != "default" {
            post(admin, "/api/v1/spaces", &document("AddressSpace", space, &json!({})));
        }
        for (name, kind) in ADDRESSES {
            let address = document("Address", name, &json!({ "type": kind }));
            post(admin, &format!("{}/addresses", below(space)), &address);
        }
        let grants = json!({ "grants": ["send:#", "recv:#", "browse:#"] });
        let user = document("User", "ann", &grants);
        let body = json!({ "user": user, "password": { "password": PASSWORD } });
        post(admin, &format!("{}/users", below(space)), &body);
    }
}

/// Waits until a node knows what another one was told.
fn wait_until_furnished(node: &Daemon) {
    eventually("the node to know the spaces and what is in them", || {
        let is_there = |path: String| node.admin().request("GET", &path, None).status == 200;
        let is_whole = |space: &str| {
            let addresses =
                ADDRESSES.iter().all(|(name, _)| is_there(format!("{}/addresses/{name}", below(space))));
            addresses && is_there(format!("{}/users/ann", below(space)))
        };
        SPACES.iter().all(|space| is_whole(space)).then_some(())
    });
}

/// How somebody comes to be in a space: with a name that says it, or nameless at its host, with every right.
fn ways(space: &str) -> [Value; 2] {
    [
        json!({ "mechanism": "PLAIN", "user": format!("ann@{space}"), "password": PASSWORD, "container": "c" }),
        json!({ "virtual_host": space, "container": "c" }),
    ]
}

/// What came of a link: whether it was attached, and otherwise why not.
#[track_caller]
fn answer_to(peer: &mut Peer, link: &str) -> Result<Value, String> {
    let event = peer.expect_that(&format!("an answer to link {link}"), |event| {
        event["link"] == link && (event["event"] == "attached" || event["event"] == "detached")
    });
    if event["event"] == "attached" { Ok(event) } else { Err(event.to_string()) }
}

/// Tries to reach a name from outside, in every way; a link is named by it and by `tag`.
fn reach(peer: &mut Peer, name: &str, tag: &str) {
    let (sender, receiver, browser) = (format!("s{tag}"), format!("r{tag}"), format!("b{tag}"));
    peer.order(json!({ "do": "sender", "link": sender, "address": name }));
    if answer_to(peer, &sender).is_ok() {
        peer.send(&sender, "from outside");
    }
    peer.order(json!({ "do": "receiver", "link": receiver, "address": name, "credit": 10 }));
    let _ = answer_to(peer, &receiver);
    peer.order(json!({
        "do": "receiver", "link": browser, "address": name, "credit": 10, "browse": true,
        "selector": "TRUE", "durable": true, "capabilities": ["topic", "shared", "global"],
    }));
    let _ = answer_to(peer, &browser);
    peer.send_with("relay", json!({ "to": name, "body": "from outside" }));
    peer.settled("relay");
}

/// Nothing that somebody of another space does at one node is seen by those of acme at another, and nothing of acme
/// by him.
fn keeps_apart(library: Library, here: &Daemon, there: &Daemon) {
    let [named, _] = ways("acme");
    let mut own = Peer::connect_with(library, here, named.clone());
    for (name, _) in ADDRESSES {
        own.receiver(&format!("own {name}"), name, json!({ "credit": 100 }));
    }
    let told = own.dynamic_receiver("told", 100);
    assert!(told.starts_with("$temp."), "{told}");

    for (index, way) in [ways("other"), ways("default")].into_iter().flatten().enumerate() {
        let mut outsider = Peer::connect_with(library, there, way.clone());
        outsider.sender_with("relay", json!({}));
        // The same names of his own space are his.
        outsider.receiver("his own", "q", json!({ "credit": 100 }));
        for (number, form) in FORMS.iter().enumerate() {
            for name in ["q", "t"] {
                reach(&mut outsider, &form.replace("<R>", name), &format!("{number}{name}"));
            }
        }
        for (number, name) in [told.clone(), format!("$s/acme/{told}")].iter().enumerate() {
            reach(&mut outsider, name, &format!("told{number}"));
        }
        // What comes last at each address is the first that comes at all.
        let mut friend = Peer::connect_with(library, there, named.clone());
        for (name, _) in ADDRESSES {
            friend.sender(&format!("to {name}"), name);
            friend.send(&format!("to {name}"), "hello");
            assert_eq!(own.body(&format!("own {name}")), "hello", "{library:?} {way}");
            friend.settled(&format!("to {name}"));
        }
        friend.sender("answer", &told);
        friend.send("answer", "hello");
        assert_eq!(own.body("told"), "hello", "{library:?} {way}");
        // An answer of the node comes behind whatever it had to say before.
        let refused = outsider_s_last_words(&mut outsider, index);
        assert!(!refused.contains("acme"), "{refused}");
        assert_eq!(outsider.unexpected("message"), Vec::<Value>::new(), "{library:?} {way}");
    }
}

/// The words about a name that is not there.
fn outsider_s_last_words(outsider: &mut Peer, number: usize) -> String {
    let link = format!("last {number}");
    outsider.order(json!({ "do": "sender", "link": link, "address": "$missing" }));
    answer_to(outsider, &link).expect_err("no such name")
}

#[test]
fn no_client_of_amqp_finds_anything_of_another_space() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    furnish(daemon.admin());
    for library in [Library::Proton, Library::Rhea] {
        keeps_apart(library, &daemon, &daemon);
    }
    let log = daemon.log();
    assert!(log.contains(r#""space":"acme""#), "connections are logged with their space");
}

#[test]
fn no_client_of_amqp_finds_anything_of_another_space_on_another_node() {
    if is_skipped() {
        return;
    }
    let fleet = Fleet::of(2).start();
    furnish(fleet.node(1).admin());
    wait_until_furnished(fleet.node(2));
    keeps_apart(Library::Proton, fleet.node(1), fleet.node(2));
    keeps_apart(Library::Rhea, fleet.node(2), fleet.node(1));
}

#[test]
fn proton_and_rhea_are_in_the_space_that_they_say() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    let admin = daemon.admin();
    for space in ["acme", "other"] {
        post(admin, "/api/v1/spaces", &document("AddressSpace", space, &json!({})));
    }
    for space in SPACES {
        let address = document("Address", &format!("only/{space}"), &json!({ "type": "anycast" }));
        post(admin, &format!("{}/addresses", below(space)), &address);
        let user = document("User", "ann", &json!({ "grants": ["recv:#"] }));
        let body = json!({ "user": user, "password": { "password": PASSWORD } });
        post(admin, &format!("{}/users", below(space)), &body);
    }
    let plain = |user: &str, host: Option<&str>| {
        let mut options = json!({ "mechanism": "PLAIN", "user": user, "password": PASSWORD });
        if let Some(host) = host {
            options["virtual_host"] = json!(host);
        }
        options
    };
    for library in [Library::Proton, Library::Rhea] {
        for (options, space) in [
            (plain("ann", None), "default"),
            (plain("ann@acme", None), "acme"),
            (plain("ann", Some("acme")), "acme"),
            (plain("ann@other", Some("other")), "other"),
            (json!({ "virtual_host": "acme" }), "acme"),
            (json!({ "virtual_host": "localhost" }), "default"),
        ] {
            let mut peer = Peer::connect_with(library, &daemon, options.clone());
            let name = format!("only/{space}");
            let attached = peer.receiver("r", &name, json!({}));
            assert_eq!(text(&attached, "address"), name, "{library:?} {options}");
        }
        for options in [plain("ann@nowhere", None), plain("ann@acme", Some("other")), plain("ann@", None)] {
            let mut peer = Peer::new(library);
            peer.start_connecting(&daemon, options.clone());
            // rhea says no more than that.
            let word = if library == Library::Proton { "unauthenticated" } else { "disconnected" };
            peer.expect(word, "");
            assert!(peer.unexpected("opened").is_empty(), "{library:?} {options}");
        }
    }
}
