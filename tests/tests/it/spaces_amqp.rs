//! Address spaces over AMQP, with clients that are not ours: whatever they call things, none finds anything of
//! another space, nor learns that it is there.

use mq_model::config::ListenerConfig;
use mq_tests::admin::Admin;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference};
use mq_tests::{Authority, Daemon, Fleet, eventually, server_tls};
use rcgen::SanType;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

/// The clients of these tests.
const LIBRARIES: [Library; 2] = [Library::Proton, Library::Rhea];

/// The spaces of these tests, all with addresses and users of the same names.
const SPACES: [&str; 3] = ["default", "acme", "other"];

/// What each space has.
const ADDRESSES: [(&str, &str); 4] = [("q", "queue"), ("t", "topic"), ("a", "anycast"), ("m", "multicast")];

/// A space that is not there, whose name is as long as that of one that is.
const NOWHERE: &str = "zzzz";

/// What a client of another space may call `<R>` of `<S>`.
const FORMS: [&str; 20] = [
    "$s/<S>/<R>",
    "/$s/<S>/<R>",
    "$s//$s/<S>/<R>",
    "$s//<S>/<R>",
    "$s/<S>//<R>",
    "$s/../$s/<S>/<R>",
    "$s/<S>/$s/<S>/<R>",
    "$s/default/../<S>/<R>",
    "$s/<S>/<R>::all",
    "$s/<S>/#",
    "$s/+/<R>",
    "$s/#",
    "%24s/<S>/<R>",
    "$s%2F<S>%2F<R>",
    "topic://$s/<S>/<R>",
    "<S>/<R>",
    "<S>::<R>",
    "<R>@<S>",
    "$s/\u{200b}<S>/<R>",
    "$\u{ff53}/<S>/<R>",
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

fn create_user(admin: Admin, space: &str, name: &str, grants: &[&str]) {
    let user = document("User", name, &json!({ "grants": grants }));
    let body = json!({ "user": user, "password": { "password": PASSWORD } });
    post(admin, &format!("{}/users", below(space)), &body);
}

/// Makes the spaces, and in each of them the addresses, one whose name tells where it is, and a user who may do
/// everything with them.
fn furnish(admin: Admin) {
    for space in SPACES {
        if space != "default" {
            let hosts = json!({ "hosts": [format!("{space}.example.org")] });
            post(admin, "/api/v1/spaces", &document("AddressSpace", space, &hosts));
        }
        let only = format!("only/{space}");
        for (name, kind) in ADDRESSES.into_iter().chain([(&*only, "anycast")]) {
            let address = document("Address", name, &json!({ "type": kind }));
            post(admin, &format!("{}/addresses", below(space)), &address);
        }
        create_user(admin, space, "ann", &["send:#", "recv:#", "browse:#"]);
    }
}

/// Waits until a node knows what another one was told.
fn wait_until_furnished(node: &Daemon) {
    let is_there = |path: String| node.admin().request("GET", &path, None).status == 200;
    eventually("the node to know the spaces and what is in them", || {
        let is_whole = |space: &&str| {
            let below = below(space);
            ADDRESSES.iter().all(|(name, _)| is_there(format!("{below}/addresses/{name}")))
                && is_there(format!("{below}/users/ann"))
        };
        SPACES.iter().all(is_whole).then_some(())
    });
}

/// Somebody who says with his name of which space he is.
fn named(space: &str) -> Value {
    json!({ "mechanism": "PLAIN", "user": format!("ann@{space}"), "password": PASSWORD, "container": "c" })
}

/// How somebody comes to be in a space: as its user, or nameless at its host, with every right.
fn ways(space: &str) -> [Value; 2] {
    [named(space), json!({ "virtual_host": space, "container": "c" })]
}

/// What came of a link: its address, or why it is none.
#[track_caller]
fn answer_to(peer: &mut Peer, link: &str) -> Result<String, Value> {
    loop {
        let event = peer.expect_that(&format!("an answer to link {link}"), |event| {
            event["link"] == link && (event["event"] == "attached" || event["event"] == "detached")
        });
        match (&event["event"], event["address"].as_str()) {
            (word, _) if word == "detached" => return Err(event),
            (_, Some(address)) => return Ok(address.to_owned()),
            // AMQP 2.6.3: an attach without a terminus is a refusal; the detach with the reason comes next.
            _ => {}
        }
    }
}

/// What a client sees of a name from outside: of a sender, a receiver that asks for all that there is, and a
/// message that the anonymous relay is to take there.
fn view_of(peer: &mut Peer, name: &str, tag: &str) -> [String; 3] {
    let (sender, receiver) = (format!("s{tag}"), format!("r{tag}"));
    peer.order(json!({ "do": "sender", "link": sender, "address": name }));
    let sends = answer_to(peer, &sender);
    if sends.is_ok() {
        peer.send(&sender, "from outside");
    }
    peer.order(json!({
        "do": "receiver", "link": receiver, "address": name, "credit": 10, "browse": true, "selector": "TRUE",
        "durable": true,
    }));
    let receives = answer_to(peer, &receiver);
    peer.send_with("relay", json!({ "to": name, "body": "from outside" }));
    let relayed = peer.settled("relay");
    let refusal = |event: &Value| format!("{} {}", event["condition"], event["description"]);
    let shown = |answer: Result<String, Value>| match answer {
        Ok(_) => "attached".to_owned(),
        Err(event) => refusal(&event),
    };
    [shown(sends), shown(receives), format!("{} {}", relayed["state"], refusal(&relayed))]
}

/// Nothing that somebody of another space does at one node is seen by those of acme at another, and nothing of acme
/// by him; and what is of acme looks to him like what is not there.
fn keeps_apart(library: Library, here: &Daemon, there: &Daemon) {
    let mut own = Peer::connect_with(library, here, named("acme"));
    for (name, _) in ADDRESSES {
        own.receiver(name, name, json!({ "credit": 100 }));
    }
    let told = own.dynamic_receiver("told", 100);
    assert!(told.starts_with("$temp."), "{told}");
    // As long, and given to nobody.
    let untold = format!("{}{}", &told[..told.len() - 1], if told.ends_with('0') { '1' } else { '0' });

    for way in [ways("other"), ways("default")].into_iter().flatten() {
        let mut outsider = Peer::connect_with(library, there, way.clone());
        outsider.sender_with("relay", json!({}));
        // Of the same container, with links of the same names at addresses of the same names.
        for (name, _) in ADDRESSES {
            outsider.receiver(name, name, json!({ "credit": 100 }));
        }
        let mut tag = 0;
        let mut look = |name: &str, hidden: &str, shown: &str| {
            tag += 1;
            let view = view_of(&mut outsider, name, &tag.to_string());
            view.map(|words| words.replace(hidden, shown))
        };
        for form in FORMS {
            for name in ["q", "t"] {
                let at = |space: &str| form.replace("<S>", space).replace("<R>", name);
                let (found, expected) = (look(&at("acme"), "acme", "S"), look(&at(NOWHERE), NOWHERE, "S"));
                assert_eq!(found, expected, "{library:?} {way} {form} {name}");
                let is_reserved = form.trim_start_matches('/').starts_with('$');
                assert!(
                    !is_reserved || found[..2].iter().all(|words| words != "attached"),
                    "{form}: {found:?}"
                );
            }
        }
        for prefix in ["", "$s/acme/"] {
            let at = |name: &str| format!("{prefix}{name}");
            let (found, expected) = (look(&at(&told), &told, "T"), look(&at(&untold), &untold, "T"));
            assert_eq!(found, expected, "{library:?} {way} {prefix}{told}");
        }
        // What comes last at each address is the first that comes at all.
        let mut friend = Peer::connect_with(library, there, named("acme"));
        for (link, address) in ADDRESSES.map(|(name, _)| (name, name)).into_iter().chain([("told", &*told)]) {
            friend.sender(link, address);
            friend.send(link, "hello");
            assert_eq!(own.body(link), "hello", "{library:?} {way} {link}");
            friend.settled(link);
        }
        let came = outsider.unexpected("message");
        assert!(came.iter().all(|message| message["body"] == "from outside"), "{library:?} {way}: {came:?}");
        for (name, _) in ADDRESSES {
            assert!(came.iter().all(|message| message["link"] != name), "{library:?} {way}: {came:?}");
        }
        assert_eq!(
            outsider.unexpected("detached"),
            Vec::<Value>::new(),
            "{library:?} {way}: links are stolen"
        );
    }
    assert_eq!(own.unexpected("detached"), Vec::<Value>::new(), "{library:?}: links are stolen");
}

#[test]
fn no_client_of_amqp_finds_anything_of_another_space() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    furnish(daemon.admin());
    for library in LIBRARIES {
        keeps_apart(library, &daemon, &daemon);
    }
}

#[test]
fn fleet_no_client_of_amqp_finds_anything_of_another_space_at_another_node() {
    if is_skipped() {
        return;
    }
    let fleet = Fleet::of(2).start();
    furnish(fleet.node(1).admin());
    wait_until_furnished(fleet.node(2));
    keeps_apart(Library::Proton, fleet.node(1), fleet.node(2));
    keeps_apart(Library::Rhea, fleet.node(2), fleet.node(1));
}

/// A durable subscriber called `news` of a container that each space has.
fn subscriber(library: Library, daemon: &Daemon, space: &str, credit: u32) -> Peer {
    let mut peer = Peer::connect_with(library, daemon, named(space));
    peer.receiver("news", "t", json!({ "durable": true, "credit": credit }));
    peer
}

#[test]
fn what_is_kept_for_one_space_is_not_for_clients_of_the_same_names_in_others() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    furnish(daemon.admin());
    for library in LIBRARIES {
        drop(subscriber(library, &daemon, "acme", 0));
        eventually("the subscriber to be gone", || daemon.admin().connections().is_empty().then_some(()));
        let mut others = ["default", "other"].map(|space| subscriber(library, &daemon, space, 10));
        let mut friend = Peer::connect_with(library, &daemon, named("acme"));
        for address in ["t", "q"] {
            friend.sender(address, address);
            friend.send_with(address, json!({ "body": "kept", "durable": true }));
            assert_eq!(friend.settled(address)["state"], "accepted");
        }
        for other in &mut others {
            other.receiver("look", "q", json!({ "browse": true, "selector": "TRUE" }));
            for link in ["look", "news"] {
                other.order(json!({ "do": "drain", "link": link, "credit": 10 }));
                other.expect("drained", link);
            }
            assert_eq!(other.unexpected("message"), Vec::<Value>::new(), "{library:?}");
            // Their subscriptions end, and not that of acme.
            other.order(json!({ "do": "detach", "link": "news" }));
            other.expect("detached", "news");
        }
        drop((others, friend));
        let mut back = subscriber(library, &daemon, "acme", 10);
        assert_eq!(back.body("news"), "kept", "{library:?}");
        back.receiver("q", "q", json!({ "credit": 10 }));
        assert_eq!(back.body("q"), "kept", "{library:?}");
        back.order(json!({ "do": "detach", "link": "news" }));
        back.expect("detached", "news");
        drop(back);
        eventually("everybody to be gone", || daemon.admin().connections().is_empty().then_some(()));
    }
}

/// Checks that a client is in a space, by the one address that tells. In the default space, any name is one of a topic.
#[track_caller]
fn is_in(peer: &mut Peer, space: &str) {
    for other in SPACES {
        let name = format!("only/{other}");
        peer.order(json!({ "do": "receiver", "link": name, "address": name }));
        let answer = answer_to(peer, &name);
        let is_expected = other == space || space == "default";
        assert_eq!(answer.is_ok(), is_expected, "it should be in {space}: {answer:?}");
    }
}

#[test]
fn proton_and_rhea_are_in_the_space_that_they_say() {
    if is_skipped() {
        return;
    }
    let plain = |user: &str, host: Option<&str>| {
        let mut options = json!({ "mechanism": "PLAIN", "user": user, "password": PASSWORD });
        if let Some(host) = host {
            options["virtual_host"] = json!(host);
        }
        options
    };
    let right = [
        (plain("ann", None), "default"),
        (plain("ann@acme", None), "acme"),
        (plain("ann@other", Some("other")), "other"),
        (plain("ann@acme", Some("acme.example.org")), "acme"),
        (json!({ "virtual_host": "acme" }), "acme"),
        (json!({ "virtual_host": "Other.Example.org" }), "other"),
        (json!({ "virtual_host": "localhost" }), "default"),
    ];
    for library in LIBRARIES {
        // Each its own node: whoever fails often is slowed down.
        let daemon = Daemon::start();
        furnish(daemon.admin());
        for (options, space) in &right {
            is_in(&mut Peer::connect_with(library, &daemon, options.clone()), space);
        }
        let mut wrong = vec![plain("ann@nowhere", None), plain("ann@", None), plain("acme/ann", None)];
        if library == Library::Rhea {
            // It says the host while it logs in, and Proton not before it has: there the name has to tell.
            is_in(&mut Peer::connect_with(library, &daemon, plain("ann", Some("acme"))), "acme");
            wrong.push(plain("ann@acme", Some("other")));
        } else {
            for options in [plain("ann", Some("acme")), plain("ann@acme", Some("other"))] {
                let mut peer = Peer::new(library);
                peer.start_connecting(&daemon, options);
                assert_eq!(text(&peer.expect("closed", ""), "condition"), "amqp:unauthorized-access");
            }
        }
        for options in wrong {
            let mut peer = Peer::new(library);
            peer.start_connecting(&daemon, options.clone());
            // rhea says no more than that.
            peer.expect(if library == Library::Proton { "unauthenticated" } else { "disconnected" }, "");
            assert!(peer.unexpected("opened").is_empty(), "{library:?} {options}");
        }
    }
}

#[test]
fn the_server_name_that_tls_is_told_chooses_the_space_also_of_who_shows_a_certificate() {
    if is_skipped() {
        return;
    }
    let builder = Daemon::builder();
    let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
    let folder = builder.folder().join("tls");
    let hosts = ["localhost", "acme.example.org", "other.example.org"];
    let server = nodes.certify(&folder, "node", |params| {
        params.subject_alt_names =
            hosts.map(|host| SanType::DnsName(host.try_into().expect("a name of DNS"))).into();
    });
    let (ca, client_ca) = (nodes.certificate(&folder), clients.certificate(&folder.join("clients")));
    let own = clients.certify_client(&folder, "ann");
    let daemon = builder
        .with(|config| {
            config.listeners.amqps = Some(ListenerConfig::loopback(0));
            config.tls = Some(server_tls(&server.certificate, &server.key, Some(client_ca)));
        })
        .start();
    furnish(daemon.admin());
    let port = daemon.listener_named("amqps").port();
    let plain = |user: &str| json!({ "mechanism": "PLAIN", "user": user, "password": PASSWORD });
    for library in LIBRARIES {
        let at = |host: &str, login: &Value, is_certified: bool| {
            let mut options = login.clone();
            let mut tls = json!({ "ca": ca, "server_name": host });
            if is_certified {
                (tls["certificate"], tls["key"]) = (json!(own.certificate), json!(own.key));
            }
            let more = json!({ "host": "localhost", "port": port, "tls": tls });
            options.as_object_mut().expect("options").extend(more.as_object().expect("options").clone());
            options
        };
        let external = json!({ "mechanism": "EXTERNAL" });
        for (host, space) in [("localhost", "default"), ("acme.example.org", "acme")] {
            for (login, is_certified) in [(plain("ann"), false), (external.clone(), true)] {
                is_in(&mut Peer::connect_with(library, &daemon, at(host, &login, is_certified)), space);
            }
        }
        for host in ["acme.example.org", "other.example.org"] {
            let user = if host.starts_with("acme") { "ann@other" } else { "ann@acme" };
            let mut peer = Peer::new(library);
            peer.start_connecting(&daemon, at(host, &plain(user), false));
            peer.expect("disconnected", "");
            assert!(peer.unexpected("opened").is_empty(), "{library:?} {user} at {host}");
        }
    }
}

#[test]
fn a_listener_s_space_is_that_of_its_clients_also_over_websocket() {
    if is_skipped() || is_reference() {
        return;
    }
    let builder = Daemon::builder().with(|config| {
        config.listeners.amqp.space = Some("acme".into());
        config.listeners.http.space = Some("acme".into());
    });
    let broker = Broker::start_with(builder);
    let daemon = broker.daemon();
    furnish(daemon.admin());
    for library in LIBRARIES {
        let login = |user: &str| json!({ "mechanism": "PLAIN", "user": user, "password": PASSWORD });
        for options in [json!({}), login("ann"), login("ann@acme")] {
            is_in(&mut Peer::connect_with(library, daemon, options), "acme");
        }
        for user in ["ann@other", "ann@default"] {
            let mut peer = Peer::new(library);
            peer.start_connecting(daemon, login(user));
            peer.expect("disconnected", "");
            assert!(peer.unexpected("opened").is_empty(), "{library:?} {user}");
        }
    }
    let web = |dialect: Dialect, user: &str| {
        let mut client = Client::new(dialect);
        let options = json!({ "websocket": true, "user": user, "password": PASSWORD, "client_id": "web" });
        let reason = client.try_connect(&broker, options)["reason"].as_u64().expect("a number");
        (client, reason)
    };
    for dialect in Dialect::ALL {
        let mut hears =
            Client::connect_with(dialect, &broker, json!({ "user": "ann@acme", "password": PASSWORD }));
        hears.subscribe("t/#", 1);
        for user in ["ann", "ann@acme"] {
            let (mut client, reason) = web(dialect, user);
            assert_eq!(reason, 0, "{dialect:?} {user}");
            assert_eq!(daemon.admin().connection_of("web").space, "acme", "{dialect:?} {user}");
            client.publish("t/x", user, 1);
            assert_eq!(hears.text(), user, "{dialect:?}");
            client.disconnect();
        }
        for user in ["ann@other", "ann@default"] {
            assert_ne!(web(dialect, user).1, 0, "{dialect:?} {user}");
        }
    }
}
