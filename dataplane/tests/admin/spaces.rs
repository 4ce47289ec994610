//! Address spaces in the admin API: what is of one is nothing to those of another one.

use mq_model::manifest::AddressType;
use serde_json::{Value, json};

use super::support::{Answer, Node, address, anycast, get, request, send_json};
use super::users::As;
use super::{ADDRESSES, node, problem};

const SPACES: &str = "/api/v1/spaces";

fn space(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": "AddressSpace", "metadata": { "name": name }, "spec": spec })
}

#[track_caller]
fn create(node: &Node, name: &str) {
    let created = send_json(node.http, "POST", SPACES, &space(name, &json!({})));
    assert_eq!(created.status, 201, "{created:?}");
}

/// A user of a space, whose password is `pencil`.
#[track_caller]
fn user(node: &Node, space: &str, name: &str, grants: &[&str], roles: &[&str]) {
    let user = json!({
        "user": {
            "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": name },
            "spec": { "grants": grants, "roles": roles },
        },
        "password": { "password": "pencil" },
    });
    let created = send_json(node.http, "POST", &format!("{SPACES}/{space}/users"), &user);
    assert_eq!(created.status, 201, "{created:?}");
}

fn names(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Every route: its path and method, and whether it asks for anything.
fn routes(node: &Node) -> Vec<(String, String, bool)> {
    let document = get(node.http, "/api/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap().clone();
    let routes = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().clone().into_iter();
        methods.map(move |(method, operation)| {
            (path.clone(), method.to_uppercase(), operation["security"] != json!([]))
        })
    });
    routes.collect()
}

/// A path with these in place of its parameters.
fn filled(path: &str, space: &str, name: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{space}" => space,
        part if part.starts_with('{') => name,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_answers_whoever_is_of_another_space_as_if_there_were_no_such_space() {
    let (node, _directory) = node();
    for name in ["acme", "other"] {
        create(&node, name);
        user(&node, name, "ann", &[], &["admin"]);
        let made = send_json(node.http, "POST", &format!("{SPACES}/{name}/addresses"), &anycast("a"));
        assert_eq!(made.status, 201, "{made:?}");
    }
    let ann = As::new(&node, "ann@acme", "pencil");
    let mut asked = 0;
    for (path, method, _) in routes(&node).into_iter().filter(|(path, ..)| path.contains("{space}")) {
        for space in ["other", "default"] {
            for name in ["a", "ann", "nothing"] {
                let there = ann.send(&method, &filled(&path, space, name), Some(&json!({})));
                let nowhere = ann.send(&method, &filled(&path, "nowhere", name), Some(&json!({})));
                assert_eq!(there.status, 404, "{method} {path} {space} {name}: {there:?}");
                assert_eq!(there.text().replace(space, "nowhere"), nowhere.text(), "{method} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked > 200, "{asked} routes");
}

#[test]
fn what_is_of_the_fleet_is_nothing_to_those_of_a_space() {
    let (node, _directory) = node();
    create(&node, "acme");
    create(&node, "hidden");
    user(&node, "acme", "ann", &[], &["admin"]);
    let ann = As::new(&node, "ann@acme", "pencil");
    let of_fleet = routes(&node).into_iter().filter(|(path, _, asks)| *asks && !path.contains("{space}"));
    for (path, method, _) in
        of_fleet.filter(|(path, method, _)| (path.as_str(), method.as_str()) != (SPACES, "GET"))
    {
        let refused = ann.send(&method, &filled(&path, "", "a"), Some(&json!({})));
        assert_eq!(refused.status, 403, "{method} {path}: {refused:?}");
        assert!(!refused.text().contains("hidden"), "{refused:?}");
    }
    assert_eq!(names(&ann.get(SPACES)), ["acme"], "of the spaces his own alone");
    // His own space he sees, and does not change.
    assert_eq!(ann.get(&format!("{SPACES}/acme")).status, 200);
    for (method, body) in [("PUT", space("acme", &json!({}))), ("PATCH", json!({})), ("DELETE", json!({}))] {
        problem(&ann.send(method, &format!("{SPACES}/acme"), Some(&body)), 403, "forbidden");
    }
}

#[test]
fn each_space_has_addresses_users_and_roles_of_the_same_names() {
    let (node, _directory) = node();
    create(&node, "acme");
    user(&node, "acme", "ann", &[], &["admin"]);
    let ann = As::new(&node, "ann@acme", "pencil");
    let below = |rest: &str| format!("{SPACES}/acme/{rest}");
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("shared")).status, 201);
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("of-default")).status, 201);
    let made = ann.send("POST", &below("addresses"), Some(&address("shared", AddressType::Queue)));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["metadata"], json!({ "name": "shared", "space": "acme" }));
    assert_eq!(names(&ann.get(&below("addresses"))), ["shared"]);
    assert_eq!(names(&get(node.http, ADDRESSES)), ["#", "of-default", "shared"]);
    assert_eq!(get(node.http, &format!("{ADDRESSES}/shared")).json()["spec"]["type"], "anycast");
    assert_eq!(ann.get(&below("addresses/shared")).json()["spec"]["type"], "queue");
    problem(&ann.get(&below("addresses/of-default")), 404, "not-found");

    let role = json!({ "apiVersion": "mq.dev/v1", "kind": "Role", "metadata": { "name": "one" },
        "spec": { "grants": ["view:shared"] } });
    assert_eq!(ann.send("POST", &below("roles"), Some(&role)).status, 201);
    problem(&get(node.http, "/api/v1/roles/one"), 404, "not-found");
    user(&node, "acme", "bob", &[], &["one"]);
    problem(&get(node.http, "/api/v1/users/bob"), 404, "not-found");
    assert_eq!(names(&As::new(&node, "bob@acme", "pencil").get(&below("addresses"))), ["shared"]);
    problem(&As::new(&node, "bob", "pencil").get(ADDRESSES), 401, "unauthorized");

    assert_eq!(ann.send("DELETE", &below("addresses/shared"), None).status, 204);
    assert_eq!(get(node.http, &format!("{ADDRESSES}/shared")).status, 200, "that of the default space stays");
    let shown = get(node.http, &format!("{SPACES}/acme")).json();
    assert_eq!((&shown["status"]["addresses"], &shown["status"]["users"]), (&json!(0), &json!(2)));
}

#[test]
fn rights_in_the_default_space_are_none_in_another_one_unless_they_are_the_fleet_s() {
    let (node, _directory) = node();
    create(&node, "acme");
    let every = ["send:#", "recv:#", "browse:#", "view:#", "manage:#"];
    user(&node, "default", "all", &every, &[]);
    user(&node, "default", "watch", &[], &["viewer"]);
    user(&node, "default", "root", &[], &["admin"]);
    user(&node, "acme", "watch", &[], &[]);
    let [all, watch, root] = ["all", "watch", "root"].map(|name| As::new(&node, name, "pencil"));
    let addresses = format!("{SPACES}/acme/addresses");
    problem(&all.get(&addresses), 404, "not-found");
    assert_eq!(names(&all.get(SPACES)), ["default"]);
    assert_eq!(names(&watch.get(SPACES)), ["acme", "default"]);
    assert_eq!(watch.get(&addresses).status, 200);
    problem(&watch.send("POST", &addresses, Some(&anycast("a"))), 403, "forbidden");
    assert_eq!(root.send("POST", &addresses, Some(&anycast("a"))).status, 201);
    // Of two who are called alike, each is one.
    let password = json!({ "password": "other" });
    let path = format!("{SPACES}/acme/users/watch/password");
    problem(&watch.send("PUT", &path, Some(&password)), 403, "forbidden");
    let same = As::new(&node, "watch@acme", "pencil");
    problem(&same.send("PUT", "/api/v1/users/watch/password", Some(&password)), 403, "forbidden");
    assert_eq!(same.send("PUT", &path, Some(&password)).status, 204);
    assert_eq!(watch.get(ADDRESSES).status, 200, "his password is the one that it was");
}

#[test]
fn no_request_names_an_address_as_the_fleet_calls_it() {
    let (node, _directory) = node();
    create(&node, "acme");
    let below = format!("{SPACES}/acme/addresses");
    assert_eq!(send_json(node.http, "POST", &below, &address("a", AddressType::Queue)).status, 201);
    for path in ["%24s%2Facme%2Fa", "%24s/acme/a"] {
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/purge")] {
            let asked = request(node.http, method, &format!("{ADDRESSES}/{path}{rest}"), &[], &[]);
            assert_eq!(asked.status, 404, "{method} {path}{rest}: {asked:?}");
            let asked = request(node.http, method, &format!("{below}/{path}{rest}"), &[], &[]);
            assert_eq!(asked.status, 404, "{method} {path}{rest}: {asked:?}");
        }
    }
    problem(&send_json(node.http, "POST", ADDRESSES, &anycast("$s/acme/b")), 422, "invalid");
    assert_eq!(get(node.http, "/api/v1/links?address=$s/acme/a").json()["items"], json!([]));
    assert_eq!(get(node.http, "/api/v1/sessions?prefix=$s/acme/").json()["items"], json!([]));
    let retained = get(node.http, "/api/v1/retained?filter=$s/acme/%23");
    assert_ne!(retained.status, 200, "{retained:?}");
    let missing = get(node.http, &format!("{below}/b"));
    let missing = missing.text();
    assert!(missing.contains("`b`") && !missing.contains("$s"), "{missing}");
}

#[test]
fn a_document_says_no_other_space_than_its_path() {
    let (node, _directory) = node();
    create(&node, "acme");
    let mut document = anycast("a");
    document["metadata"]["space"] = json!("acme");
    problem(&send_json(node.http, "POST", ADDRESSES, &document), 422, "invalid");
    let below = format!("{SPACES}/acme/addresses");
    assert_eq!(send_json(node.http, "POST", &below, &document).status, 201);
    document["metadata"]["space"] = json!("default");
    problem(&send_json(node.http, "PUT", &format!("{below}/a"), &document), 422, "invalid");
}

#[test]
fn a_space_is_created_changed_and_removed() {
    let (node, _directory) = node();
    let profile = json!({ "apiVersion": "mq.dev/v1", "kind": "Profile", "metadata": { "name": "free" },
        "spec": { "limits": { "maxConnections": 5, "maxLinks": 7 } } });
    assert_eq!(send_json(node.http, "PUT", "/api/v1/profiles/free", &profile).status, 201);
    let spec =
        json!({ "profile": "free", "limits": { "maxConnections": 10 }, "hosts": ["acme.example.com"] });
    assert_eq!(send_json(node.http, "POST", SPACES, &space("acme", &spec)).status, 201);
    problem(&send_json(node.http, "POST", SPACES, &space("acme", &spec)), 409, "conflict");
    problem(&send_json(node.http, "POST", SPACES, &space("default", &json!({}))), 409, "conflict");
    problem(
        &send_json(node.http, "POST", SPACES, &space("other", &json!({ "hosts": ["acme"] }))),
        409,
        "conflict",
    );
    problem(&send_json(node.http, "POST", SPACES, &space("a/b", &json!({}))), 422, "invalid");
    let one = format!("{SPACES}/acme");
    let shown = get(node.http, &one).json();
    assert_eq!(shown["status"]["limits"], json!({ "maxConnections": 10, "maxLinks": 7 }));
    assert_eq!(get(node.http, "/api/v1/profiles/free").json()["status"]["spaces"], 1);

    let patch = json!({ "spec": { "limits": { "maxConnections": null, "maxSessions": 3 } } });
    let changed = send_json(node.http, "PATCH", &one, &patch);
    assert_eq!(changed.status, 200, "{changed:?}");
    let limits = &changed.json()["status"]["limits"];
    assert_eq!(*limits, json!({ "maxConnections": 5, "maxLinks": 7, "maxSessions": 3 }));
    problem(&send_json(node.http, "PATCH", &one, &json!({ "spec": { "limits": 1 } })), 422, "invalid");
    problem(&send_json(node.http, "PATCH", &format!("{SPACES}/none"), &patch), 404, "not-found");
    assert_eq!(send_json(node.http, "PATCH", &format!("{SPACES}/default"), &patch).status, 200);

    user(&node, "acme", "ann", &["view:#"], &[]);
    let ann = As::new(&node, "ann@acme", "pencil");
    assert_eq!(ann.get(&one).status, 200);
    assert_eq!(send_json(node.http, "PATCH", &one, &json!({ "spec": { "disabled": true } })).status, 200);
    problem(&ann.get(&one), 401, "unauthorized");
    assert_eq!(send_json(node.http, "PATCH", &one, &json!({ "spec": { "disabled": null } })).status, 200);
    assert_eq!(ann.get(&one).status, 200);

    problem(&request(node.http, "DELETE", &one, &[], &[]), 409, "conflict");
    assert_eq!(request(node.http, "DELETE", &format!("{one}?cascade=true"), &[], &[]).status, 204);
    problem(&request(node.http, "DELETE", &one, &[], &[]), 404, "not-found");
    problem(&ann.get(&one), 401, "unauthorized");
    problem(&request(node.http, "DELETE", &format!("{SPACES}/default"), &[], &[]), 409, "conflict");
    assert_eq!(names(&get(node.http, SPACES)), ["default"]);
}
