//! Users, roles and grants, and what they mean to the admin API.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::support::{Answer, Node, anycast, config, get, request, send_json};
use super::{ADDRESSES, node, problem};

const USERS: &str = "/api/v1/users";
const ROLES: &str = "/api/v1/roles";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Somebody who says who he is.
pub(super) struct As<'a> {
    node: &'a Node,
    authorization: String,
}

impl<'a> As<'a> {
    pub(super) fn new(node: &'a Node, user: &str, password: &str) -> Self {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self { node, authorization: format!("Basic {encoded}") }
    }

    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        request(self.node.http, method, path, &[JSON, ("Authorization", &self.authorization)], &body)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }
}

fn user(name: &str, grants: &[&str], roles: &[&str], password: &str) -> Value {
    json!({
        "user": {
            "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": name },
            "spec": { "grants": grants, "roles": roles },
        },
        "password": { "password": password },
    })
}

#[track_caller]
fn create(node: &Node, name: &str, grants: &[&str], roles: &[&str]) {
    let created = send_json(node.http, "POST", USERS, &user(name, grants, roles, "pencil"));
    assert_eq!(created.status, 201, "{created:?}");
    let shown = created.json();
    assert_eq!(shown["status"]["hasPassword"], true);
    assert_no_verifier(&created);
}

/// Nothing that a password could be checked with, or found by, leaves the node.
#[track_caller]
fn assert_no_verifier(answer: &Answer) {
    let text = answer.text();
    for secret in ["argon2", "SCRAM", "scram", "verifiers", "pencil"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_user_is_created_shown_changed_and_removed_and_no_answer_holds_his_secrets() {
    let (node, _directory) = node();
    create(&node, "ann", &["send:a/#"], &["viewer", "later"]);
    problem(&send_json(node.http, "POST", USERS, &user("ann", &[], &[], "pencil")), 409, "conflict");
    problem(&send_json(node.http, "POST", USERS, &user("a/b", &[], &[], "pencil")), 422, "invalid");
    problem(&send_json(node.http, "POST", USERS, &user("anonymous", &[], &[], "pencil")), 422, "invalid");
    problem(&send_json(node.http, "POST", USERS, &user("bob", &[], &[], "")), 422, "invalid");
    problem(&send_json(node.http, "POST", USERS, &user("bob", &["write:a"], &[], "x")), 422, "invalid");

    let one = format!("{USERS}/ann");
    let shown = get(node.http, &one);
    assert_eq!(shown.json()["status"]["unknownRoles"], json!(["later"]));
    assert_no_verifier(&shown);
    assert_no_verifier(&get(node.http, USERS));
    assert_no_verifier(&get(node.http, "/api/v1/config"));

    let change = json!({ "grant": ["recv:b"], "revoke": ["send:a/#"], "removeRoles": ["later"] });
    let changed = send_json(node.http, "POST", &format!("{one}/rights"), &change);
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["spec"], json!({ "grants": ["recv:b"], "roles": ["viewer"] }));
    // What is put keeps the password.
    let document = user("ann", &["view:#"], &[], "")["user"].clone();
    assert_eq!(send_json(node.http, "PUT", &one, &document).status, 200);
    assert_eq!(As::new(&node, "ann", "pencil").get(ADDRESSES).status, 200);
    assert_eq!(request(node.http, "DELETE", &one, &[], &[]).status, 204);
    problem(&request(node.http, "DELETE", &one, &[], &[]), 404, "not-found");
    problem(&get(node.http, &one), 404, "not-found");
}

#[test]
fn a_role_gives_its_grants_until_it_goes_and_built_in_ones_stay() {
    let (node, _directory) = node();
    create(&node, "ann", &[], &["readers"]);
    let ann = As::new(&node, "ann", "pencil");
    assert_eq!(ann.get(ADDRESSES).json()["items"], json!([]));
    let role = json!({
        "apiVersion": "mq.dev/v1", "kind": "Role", "metadata": { "name": "readers" },
        "spec": { "grants": ["view:a/#"] },
    });
    assert_eq!(send_json(node.http, "POST", ROLES, &role).status, 201);
    problem(&send_json(node.http, "POST", ROLES, &role), 409, "conflict");
    assert_eq!(get(node.http, &format!("{ROLES}/readers")).json()["status"]["users"], 1);
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("a/b")).status, 201);
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("c")).status, 201);
    let seen = |answer: Answer| {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(ann.get(ADDRESSES)), ["a/b"]);
    assert_eq!(seen(get(node.http, ROLES)), ["admin", "readers", "viewer"]);
    assert_eq!(seen(get(node.http, &format!("{ROLES}?limit=1&continue=admin"))), ["readers"]);
    assert_eq!(request(node.http, "DELETE", &format!("{ROLES}/readers"), &[], &[]).status, 204);
    assert!(seen(ann.get(ADDRESSES)).is_empty(), "what a role gave goes with it at once");
    problem(&request(node.http, "DELETE", &format!("{ROLES}/admin"), &[], &[]), 409, "conflict");
}

#[test]
fn whoever_says_who_he_is_wrongly_learns_nothing_else() {
    let (node, _directory) = node();
    create(&node, "ann", &["view:#"], &[]);
    create(&node, "off", &["view:#"], &[]);
    let disable = json!({ "disabled": true });
    assert_eq!(send_json(node.http, "POST", &format!("{USERS}/off/rights"), &disable).status, 200);
    assert_eq!(As::new(&node, "ann", "pencil").get(ADDRESSES).status, 200);
    let wrong = [("ann", "pen"), ("nobody", "pencil"), ("off", "pencil"), ("", "")];
    let answers: Vec<Answer> =
        wrong.iter().map(|(user, password)| As::new(&node, user, password).get(ADDRESSES)).collect();
    for answer in &answers {
        problem(answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"mq\", charset=\"UTF-8\""));
        assert_eq!(answer.body, answers[0].body, "one says more than the others");
    }
    // Who says nothing is on this machine.
    assert_eq!(get(node.http, ADDRESSES).status, 200);
}

#[test]
fn a_viewer_sees_everything_and_changes_nothing() {
    let (node, _directory) = node();
    create(&node, "eye", &[], &["viewer"]);
    let eye = As::new(&node, "eye", "pencil");
    for path in ["/api/v1/node", "/api/v1/statistics", "/api/v1/connections", "/metrics", USERS, ADDRESSES] {
        assert_eq!(eye.get(path).status, 200, "{path}");
    }
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("q")).status, 201);
    let one = format!("{ADDRESSES}/q");
    for (method, path, body) in [
        ("POST", ADDRESSES, Some(anycast("x"))),
        ("PUT", &*one, Some(anycast("q"))),
        ("DELETE", &*one, None),
        ("POST", "/api/v1/node/cordon", None),
        ("PUT", "/api/v1/log-level", Some(json!({ "filter": "info" }))),
        ("POST", USERS, Some(user("x", &[], &["admin"], "x"))),
        ("POST", "/api/v1/users/eye/rights", Some(json!({ "addRoles": ["admin"] }))),
        ("DELETE", "/api/v1/retained?filter=a", None),
        ("DELETE", "/api/v1/connections/c1", None),
    ] {
        problem(&eye.send(method, path, body.as_ref()), 403, "forbidden");
    }
    let own = format!("{USERS}/eye/password");
    assert_eq!(eye.send("PUT", &own, Some(&json!({ "password": "crayon" }))).status, 204);
    problem(&eye.get(ADDRESSES), 401, "unauthorized");
    assert_eq!(As::new(&node, "eye", "crayon").get(ADDRESSES).status, 200);
}

#[test]
fn who_manages_one_prefix_manages_that_and_loses_it_at_once() {
    let (node, _directory) = node();
    create(&node, "heat", &["manage:heating/#", "view:heating/#"], &[]);
    let heat = As::new(&node, "heat", "pencil");
    let mine = format!("{ADDRESSES}/heating%2Fa");
    assert_eq!(heat.send("PUT", &mine, Some(&anycast("heating/a"))).status, 201);
    let denied = heat.send("POST", ADDRESSES, Some(&anycast("cooling/a")));
    let detail = problem(&denied, 403, "forbidden").detail;
    assert_eq!(detail, "`heat` may not manage `cooling/a`; grant `manage:cooling/a`");
    problem(&heat.get(&format!("{ADDRESSES}/cooling%2Fa")), 403, "forbidden");
    problem(&heat.get("/api/v1/node"), 403, "forbidden");
    problem(&heat.get(USERS), 403, "forbidden");
    assert_eq!(heat.get(&format!("{USERS}/heat")).status, 200, "he may see himself");
    // Nor does an address of his send anything where he may not.
    let mut escape = super::address("heating/q", super::AddressType::Queue);
    escape["spec"]["deadLetter"] = json!("cooling/a");
    problem(&heat.send("POST", ADDRESSES, Some(&escape)), 403, "forbidden");
    escape["spec"]["deadLetter"] = json!("heating/a");
    assert_eq!(heat.send("POST", ADDRESSES, Some(&escape)).status, 201);

    let revoke = json!({ "revoke": ["manage:heating/#"] });
    assert_eq!(send_json(node.http, "POST", &format!("{USERS}/heat/rights"), &revoke).status, 200);
    problem(&heat.send("DELETE", &mine, None), 403, "forbidden");
    assert_eq!(heat.get(&mine).status, 200);
}

#[test]
fn a_user_can_be_asked_about_before_he_is_let_in() {
    let (node, _directory) = node();
    create(&node, "ann", &["send:own/${user}/#"], &["viewer"]);
    let ask = |right: &str, address: &str| {
        get(node.http, &format!("{USERS}/ann/permission?right={right}&address={address}")).json()
    };
    assert_eq!(
        ask("send", "own%2Fann%2Fx"),
        json!({ "allowed": true, "reason": "user `ann` has the grant `send:own/${user}/#`" })
    );
    assert_eq!(ask("view", "x")["reason"], "role `viewer` gives the grant `view:#`");
    assert_eq!(ask("send", "own%2Fbob")["allowed"], false);
    problem(&get(node.http, &format!("{USERS}/ann/permission?right=x&address=a")), 422, "invalid");
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_change_and_every_failed_log_in_is_in_the_audit_log_without_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let node = Node::start_with_log(config(&directory.path().join("state")), move || writer.clone());
    create(&node, "ann", &["view:#"], &[]);
    let ann = As::new(&node, "ann", "pencil");
    problem(&ann.send("POST", ADDRESSES, Some(&anycast("denied"))), 403, "forbidden");
    problem(&As::new(&node, "ann", "guess-1").get(ADDRESSES), 401, "unauthorized");
    assert_eq!(
        ann.send("PUT", "/api/v1/users/ann/password", Some(&json!({ "password": "crayon" }))).status,
        204
    );
    node.stop();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let audit: Vec<&str> = text.lines().filter(|line| line.contains("audit")).collect();
    let has = |words: &[&str]| audit.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["anonymous", "createUser", "201", "127.0.0.1"]), "{audit:#?}");
    assert!(has(&["ann", "createAddress", "403"]), "{audit:#?}");
    assert!(has(&["ann", "log-in", "refused"]), "{audit:#?}");
    assert!(has(&["ann", "setPassword", "/api/v1/users/ann/password", "204"]), "{audit:#?}");
    for secret in ["pencil", "guess-1", "crayon", "argon2", "Basic"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
