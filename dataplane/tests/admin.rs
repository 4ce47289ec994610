//! The admin API of a node in this process, over real HTTP.

#[path = "admin/identity.rs"]
mod identity;
#[path = "admin/owner.rs"]
mod owner;
#[path = "support/provider.rs"]
mod provider;
#[path = "support/service.rs"]
mod service;
#[path = "admin/spaces.rs"]
mod spaces;
mod support;
#[path = "admin/users.rs"]
mod users;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use mq_model::admin::{List, Node as NodeInfo, Problem, Statistics};
use mq_model::config::DaemonConfig;
use mq_model::manifest::{Address, AddressType};
use serde_json::{Value, json};
use support::{
    DEADLINE, Node, address, anycast, config, delete, get, request, send_json, silent_client, wait_for,
};

const ADDRESSES: &str = "/api/v1/addresses";

fn node() -> (Node, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Node::start(config(&directory.path().join("state"))), directory)
}

#[track_caller]
fn problem(answer: &support::Answer, status: u16, kind: &str) -> Problem {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((problem.kind.as_str(), problem.status), (kind, status), "{}", problem.detail);
    problem
}

#[test]
fn an_address_is_created_shown_changed_and_removed() {
    let (node, _directory) = node();
    let path = format!("{ADDRESSES}/telemetry");
    problem(&get(node.http, &path), 404, "not-found");

    let created = send_json(node.http, "PUT", &path, &anycast("telemetry"));
    assert_eq!(created.status, 201, "{created:?}");
    let created: Address = serde_json::from_slice(&created.body).unwrap();
    assert!(created.status.unwrap().ready);

    assert_eq!(send_json(node.http, "PUT", &path, &anycast("telemetry")).status, 200);
    let mut changed = anycast("telemetry");
    changed["spec"]["limits"] = json!({ "linkCredit": 7 });
    changed["metadata"]["labels"] = json!({ "team": "sensors" });
    assert_eq!(send_json(node.http, "PUT", &path, &changed).status, 200);
    let shown = get(node.http, &path).json();
    assert_eq!(shown["spec"], changed["spec"]);
    assert_eq!(shown["metadata"], changed["metadata"]);

    let list: List<Address> = serde_json::from_slice(&get(node.http, ADDRESSES).body).unwrap();
    let listed = |item: &Address| (item.metadata.name.clone(), item.status.clone().unwrap().built_in);
    let listed: Vec<_> = list.items.iter().map(listed).collect();
    assert_eq!(listed, [("#".to_owned(), true), ("telemetry".to_owned(), false)]);
    assert_eq!(delete(node.http, &path).status, 204);
    problem(&delete(node.http, &path), 404, "not-found");
}

#[test]
fn creating_what_exists_is_a_conflict() {
    let (node, _directory) = node();
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("a")).status, 201);
    problem(&send_json(node.http, "POST", ADDRESSES, &anycast("a")), 409, "conflict");
}

#[test]
fn a_name_may_hold_whatever_percent_encoding_carries() {
    let (node, _directory) = node();
    let path = format!("{ADDRESSES}/a%2Fb%20c%3A%C3%A4");
    let created = send_json(node.http, "PUT", &path, &anycast("a/b c:ä"));
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(get(node.http, &path).json()["metadata"]["name"], "a/b c:ä");
    problem(&get(node.http, &format!("{ADDRESSES}/%ff")), 400, "malformed");
}

#[test]
fn a_body_that_does_not_fit_is_refused_with_its_place() {
    let (node, _directory) = node();
    let path = format!("{ADDRESSES}/a");
    let json = [("Content-Type", "application/json")];

    let syntax = request(node.http, "PUT", &path, &json, b"{\n  \"kind\": nope }");
    assert!(problem(&syntax, 400, "malformed").detail.contains("line 2 column 12"), "{syntax:?}");

    let mut unknown = anycast("a");
    unknown["spec"]["sise"] = json!(1);
    let unknown = send_json(node.http, "PUT", &path, &unknown);
    assert!(problem(&unknown, 422, "invalid").detail.contains("sise"));

    let renamed = send_json(node.http, "PUT", &path, &anycast("b"));
    assert!(problem(&renamed, 422, "invalid").detail.contains("make them equal"));
    for name in ["", "$reserved", "a+b", "#", &"x".repeat(256)] {
        problem(&send_json(node.http, "POST", ADDRESSES, &anycast(name)), 422, "invalid");
    }
    let mut bound = anycast("a");
    bound["spec"]["priority"] = json!(10);
    problem(&send_json(node.http, "POST", ADDRESSES, &bound), 422, "invalid");
}

#[test]
fn a_body_that_is_not_declared_as_json_is_refused() {
    let (node, _directory) = node();
    let body = serde_json::to_vec(&anycast("a")).unwrap();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let headers: &[(&str, &str)] = if kind.is_empty() { &[] } else { &[("Content-Type", kind)] };
        problem(&request(node.http, "POST", ADDRESSES, headers, &body), 415, "unsupported-media-type");
    }
    let charset = [("Content-Type", "application/json; charset=utf-8")];
    assert_eq!(request(node.http, "POST", ADDRESSES, &charset, &body).status, 201);
}

#[test]
fn a_body_beyond_the_limit_is_refused_however_it_is_sent() {
    let (node, _directory) = node();
    let json = [("Content-Type", "application/json")];
    let body = vec![b' '; (1 << 20) + 1];
    problem(&request(node.http, "POST", ADDRESSES, &json, &body), 413, "too-large");

    let head = format!(
        "POST {ADDRESSES} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        node.http,
        body.len()
    );
    let chunked = [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    problem(&support::parse(&support::exchange(node.http, &chunked)), 413, "too-large");
}

#[test]
fn unknown_routes_and_wrong_methods_are_problems() {
    let (node, _directory) = node();
    for path in ["/", "/api/v1", "/api/v1/nodes", "/api/v1/addresses/", "/api/v2/node", "/livez/x"] {
        problem(&get(node.http, path), 404, "not-found");
    }
    let wrong = request(node.http, "PATCH", ADDRESSES, &[], &[]);
    problem(&wrong, 405, "method-not-allowed");
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("POST")), "{wrong:?}");
}

#[test]
fn a_page_of_another_origin_cannot_use_the_api() {
    let (node, _directory) = node();
    let body = serde_json::to_vec(&anycast("a")).unwrap();
    let foreign = [("Content-Type", "application/json"), ("Origin", "http://attacker.example")];
    problem(&request(node.http, "POST", ADDRESSES, &foreign, &body), 403, "forbidden");
    let rebound = [("Host", "attacker.example:8080")];
    problem(&request(node.http, "GET", ADDRESSES, &rebound, &[]), 403, "forbidden");
    problem(&request(node.http, "GET", "/nowhere", &rebound, &[]), 403, "forbidden");
    assert_eq!(
        get(node.http, ADDRESSES).json()["items"].as_array().map(Vec::len),
        Some(1),
        "what is built in"
    );
}

#[test]
fn unknown_connections_and_queries_are_refused() {
    let (node, _directory) = node();
    problem(&get(node.http, "/api/v1/connections/c999"), 404, "not-found");
    problem(&get(node.http, "/api/v1/connections/c999/sessions"), 404, "not-found");
    problem(&delete(node.http, "/api/v1/connections/c999?reason=bye"), 404, "not-found");
    problem(&delete(node.http, "/api/v1/connections/c999?reason=a%0Ab"), 422, "invalid");
    problem(&get(node.http, "/api/v1/links?adress=a"), 400, "malformed");
    assert_eq!(get(node.http, "/api/v1/links?address=a&connection=c1").json()["items"], json!([]));
}

#[test]
fn the_log_filter_is_shown_and_changed() {
    let (node, _directory) = node();
    let path = "/api/v1/log-level";
    assert_eq!(get(node.http, path).json(), json!({ "filter": "info" }));
    let debug = json!({ "filter": "mqd=debug,warn" });
    assert_eq!(send_json(node.http, "PUT", path, &debug).json(), debug);
    assert_eq!(get(node.http, path).json(), debug);
    problem(&send_json(node.http, "PUT", path, &json!({ "filter": "mqd=loudest" })), 422, "invalid");
    assert_eq!(get(node.http, path).json(), debug);
}

#[test]
fn the_node_says_who_it_is_and_what_it_was_configured_with() {
    let directory = tempfile::tempdir().unwrap();
    let configured = config(directory.path());
    let node = Node::start(configured.clone());
    let info: NodeInfo = serde_json::from_slice(&get(node.http, "/api/v1/node").body).unwrap();
    assert_eq!((info.name.as_str(), info.workers), ("node-1", 2));
    assert_eq!(info.config_hash, configured.hash());
    let names: Vec<&str> = info.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["amqp", "mqtt", "http"]);
    let ports = [info.listeners[0].port, info.listeners[2].port];
    assert_eq!(ports, [node.amqp.port(), node.http.port()]);
    let shown: DaemonConfig = serde_json::from_slice(&get(node.http, "/api/v1/config").body).unwrap();
    assert_eq!(shown, configured);
}

#[test]
fn statistics_count_connections_and_addresses() {
    let (node, _directory) = node();
    send_json(node.http, "POST", ADDRESSES, &anycast("a"));
    let _client = TcpStream::connect(node.amqp).unwrap();
    wait_for("the connection to be counted", || {
        let answer = get(node.http, "/api/v1/statistics");
        let statistics: Statistics = serde_json::from_slice(&answer.body).unwrap();
        (statistics.addresses == 1 && statistics.connections_opened == 1).then_some(())
    });
}

#[test]
fn a_request_head_that_never_ends_is_bounded() {
    let (node, _directory) = node();
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let line = format!("X-Filler: {}\r\n", "x".repeat(8_000));
    let _ = stream.write_all(format!("GET /livez HTTP/1.1\r\nHost: {}\r\n", node.http).as_bytes());
    let sent = (0..1_000).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(sent < 1_000 || answer.starts_with(b"HTTP/1.1 431"), "8 MB of headers were taken");
    assert_eq!(get(node.http, "/livez").status, 200);
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let (node, _directory) = node();
    // More than the server serves at once; the last ones wait until the first have timed out.
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(node.http).unwrap()).collect();
    assert_eq!(get(node.http, "/livez").status, 200);
    drop(silent);
}

#[test]
fn a_draining_node_is_alive_but_not_ready() {
    let (mut node, _directory) = node();
    assert_eq!(get(node.http, "/readyz").status, 200);
    let _client = silent_client(node.amqp);
    node.ask_to_stop();
    wait_for("the node to refuse clients", || TcpStream::connect(node.amqp).is_err().then_some(()));
    // Said when every worker refuses links.
    let not_ready = || Some(get(node.http, "/readyz")).filter(|ready| ready.status != 200);
    let ready = wait_for("the node to say so", not_ready);
    assert_eq!((ready.status, ready.text()), (503, "the node is stopping\n"));
    assert_eq!(get(node.http, "/livez").status, 200);
    assert_eq!(get(node.http, "/api/v1/node").json()["state"], "draining");
    node.stop();
}

#[test]
fn a_node_that_has_lost_a_worker_is_not_ready_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start_with_a_dead_worker(config(directory.path()));
    let ready = get(node.http, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().starts_with("worker 1 has ended"), "{ready:?}");
    // It is not empty because nobody says what it holds.
    let holds = problem(&get(node.http, "/api/v1/node/drain"), 503, "unavailable");
    assert!(holds.detail.contains("what it holds is not known"), "{holds:?}");
    assert_eq!(get(node.http, "/livez").status, 200);
    let created = send_json(node.http, "POST", ADDRESSES, &anycast("a"));
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.json()["status"]["ready"], false);
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let (node, _directory) = node();
    let head = format!(
        "POST {ADDRESSES} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        node.http
    );
    problem(&support::parse(&support::exchange(node.http, head.as_bytes())), 408, "timeout");
}

#[test]
fn every_documented_route_answers_and_every_answer_fits_its_schema() {
    let (node, _directory) = node();
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &anycast("known")).status, 201);
    let space = principal("AddressSpace", "known");
    assert_eq!(send_json(node.http, "POST", "/api/v1/spaces", &space).status, 201);
    let document = get(node.http, "/api/v1/openapi.json").json();
    assert_eq!(document, mqd::admin::document());
    assert_eq!(document["openapi"], "3.1.0");

    let mut checked = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for name in ["known", "unknown"] {
                let parameters = ["{name}", "{id}", "{subscription}", "{client}", "{space}"];
                let url = parameters.iter().fold(path.clone(), |url, parameter| url.replace(parameter, name));
                let method = method.to_uppercase();
                let answer = match sample_body(&url, operation) {
                    Some(body) => send_json(node.http, &method, &url, &body),
                    None => request(node.http, &method, &url, &[], &[]),
                };
                check_answer(&document, operation, &answer, &format!("{method} {url}"));
                checked.insert(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(checked.len(), 108, "{checked:#?}");
}

/// A user, a role, a space or a profile.
fn principal(kind: &str, name: &str) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": kind, "metadata": { "name": name } })
}

fn connector(name: &str) -> Value {
    let mut connector = principal("Connector", name);
    connector["spec"] =
        json!({ "urls": ["amqp://127.0.0.1:1"], "paused": true, "send": [{ "from": "a", "to": "b" }] });
    connector
}

fn sample_body(url: &str, operation: &Value) -> Option<Value> {
    operation.get("requestBody")?;
    // Below a space there is the same once more.
    let of_space = ["/api/v1/spaces/known/", "/api/v1/spaces/unknown/"];
    let rest = of_space.into_iter().find_map(|space| url.strip_prefix(space));
    let below = rest.map(|rest| format!("/api/v1/{rest}"));
    let url = below.as_deref().unwrap_or(url);
    Some(match url {
        "/api/v1/spaces" => principal("AddressSpace", "another"),
        space if space.starts_with("/api/v1/spaces/") => {
            principal("AddressSpace", space.rsplit('/').next().unwrap())
        }
        "/api/v1/connectors" => json!({ "connector": connector("another") }),
        credentials if credentials.ends_with("/credentials") => json!({ "password": "pencil" }),
        connector_url if connector_url.starts_with("/api/v1/connectors/") => {
            connector(connector_url.rsplit('/').next().unwrap())
        }
        profile if profile.starts_with("/api/v1/profiles/") => {
            principal("Profile", profile.rsplit('/').next().unwrap())
        }
        "/api/v1/log-level" => json!({ "filter": "info" }),
        ADDRESSES => anycast("another"),
        "/api/v1/users" => json!({ "user": principal("User", "another") }),
        "/api/v1/roles" => principal("Role", "another"),
        put_user if put_user.starts_with("/api/v1/users/") && put_user.ends_with("known") => {
            principal("User", put_user.rsplit('/').next().unwrap())
        }
        put_role if put_role.starts_with("/api/v1/roles/") && put_role.ends_with("known") => {
            principal("Role", put_role.rsplit('/').next().unwrap())
        }
        rights if rights.ends_with("/rights") => json!({ "grant": ["send:a"] }),
        password if password.ends_with("/password") => json!({ "password": "pencil" }),
        move_url if move_url.ends_with("/move") => json!({ "to": "known" }),
        _ => anycast(url.rsplit('/').next().unwrap()),
    })
}

#[track_caller]
fn check_answer(document: &Value, operation: &Value, answer: &support::Answer, what: &str) {
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{what} answered {}, which is not documented", answer.status);
    assert_ne!(answer.status, 405, "{what}");
    let Some(content) = documented.get("content") else {
        assert!(answer.body.is_empty(), "{what}: {answer:?}");
        return;
    };
    let kind = answer.header("content-type").unwrap();
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{what} answered {kind}, documented is {content}");
    if !kind.contains("json") {
        return;
    }
    let mut schema = schema.clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let body = answer.json();
    let errors: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?} in {body}");
}

#[test]
fn queues_are_purged_and_messages_moved_only_where_there_can_be_any() {
    let (node, _directory) = node();
    for (name, kind) in [("q", AddressType::Queue), ("t", AddressType::Topic), ("a", AddressType::Anycast)] {
        assert_eq!(send_json(node.http, "POST", ADDRESSES, &address(name, kind)).status, 201);
    }
    let purge = |name: &str| request(node.http, "POST", &format!("{ADDRESSES}/{name}/purge"), &[], &[]);
    assert_eq!(purge("q").json(), json!({ "messages": 0 }));
    assert_eq!(purge("t").json(), json!({ "messages": 0 }));
    let text = problem(&purge("a"), 409, "conflict").detail;
    assert_eq!(text, "address `a` keeps no messages; use a queue");
    problem(&purge("nothing"), 404, "not-found");

    let move_to = |from: &str, to: &str| {
        let body = json!({ "to": to, "limit": 5 });
        send_json(node.http, "POST", &format!("{ADDRESSES}/{from}/move"), &body)
    };
    assert_eq!(move_to("q", "a").json(), json!({ "messages": 0 }));
    problem(&move_to("q", "nowhere"), 422, "invalid");
    problem(&move_to("q", "q"), 422, "invalid");
    problem(&move_to("t", "q"), 409, "conflict");
    problem(&move_to("a", "q"), 409, "conflict");
}

#[test]
fn the_built_in_topic_cannot_be_deleted_and_can_be_declared() {
    let (node, _directory) = node();
    let path = format!("{ADDRESSES}/%23");
    let refused = problem(&delete(node.http, &path), 409, "conflict").detail;
    assert!(refused.contains("mqtt.catch-all"), "{refused}");
    let declared = send_json(node.http, "POST", ADDRESSES, &address("#", AddressType::Topic));
    assert_eq!(declared.status, 201, "{declared:?}");
    assert_eq!(get(node.http, &path).json()["status"].get("builtIn"), None);
    assert_eq!(delete(node.http, &path).status, 204);
    assert_eq!(get(node.http, &path).json()["status"]["builtIn"], true);
}

#[test]
fn sessions_and_retained_messages_are_answered_in_parts_of_a_bounded_size() {
    let (node, _directory) = node();
    for path in ["/api/v1/sessions?limit=1000&connected=false&prefix=a", "/api/v1/retained?filter=a/%23"] {
        assert_eq!(get(node.http, path).json(), json!({ "items": [] }), "{path}");
    }
    for path in ["sessions?limit=0", "sessions?limit=1001", "sessions?limit=x", "retained?limit=0"] {
        let refused = problem(&get(node.http, &format!("/api/v1/{path}")), 400, "malformed").detail;
        assert!(refused.contains("limit is not 1 to 1000"), "{path}: {refused}");
    }
    problem(&get(node.http, "/api/v1/retained?filter=a%23"), 422, "invalid");
    problem(&get(node.http, "/api/v1/retained?continue=x"), 422, "invalid");
    problem(&get(node.http, "/api/v1/sessions/a"), 404, "not-found");
    problem(&delete(node.http, "/api/v1/sessions/a"), 404, "not-found");
    problem(&delete(node.http, "/api/v1/retained"), 400, "malformed");
    assert_eq!(delete(node.http, "/api/v1/retained?filter=%23").json(), json!({ "messages": 0 }));
}

#[test]
fn a_queue_says_what_it_holds_and_a_topic_who_subscribes() {
    let (node, _directory) = node();
    let early = send_json(node.http, "POST", ADDRESSES, &address("t::s", AddressType::Subscription));
    assert_eq!(
        problem(&early, 409, "conflict").detail,
        "`t::s` is a subscription, and no topic `t` has been created; create the topic first"
    );
    for (name, kind) in [("q", AddressType::Queue), ("t", AddressType::Topic)] {
        assert_eq!(send_json(node.http, "POST", ADDRESSES, &address(name, kind)).status, 201);
    }
    let mut wrong = address("t::s", AddressType::Subscription);
    wrong["spec"]["subscription"] = json!({ "selector": "colour =" });
    let text = problem(&send_json(node.http, "POST", ADDRESSES, &wrong), 422, "invalid").detail;
    assert!(text.starts_with("spec.subscription.selector: "), "{text}");
    let mut right = address("t::s", AddressType::Subscription);
    right["spec"]["subscription"] = json!({ "selector": "colour = 'red'" });
    assert_eq!(send_json(node.http, "POST", ADDRESSES, &right).status, 201);

    let queue = get(node.http, &format!("{ADDRESSES}/q")).json();
    assert_eq!(queue["status"]["queue"]["messages"], 0);
    assert!(queue["status"].get("subscriptions").is_none(), "{queue}");
    let topic = get(node.http, &format!("{ADDRESSES}/t")).json();
    assert_eq!(topic["status"]["subscriptions"], 1);
    let listed = get(node.http, "/api/v1/subscriptions?topic=t").json();
    let subscription = &listed["items"][0];
    assert_eq!((&subscription["topic"], &subscription["name"]), (&json!("t"), &json!("s")));
    assert_eq!(subscription["administered"], true);
    assert_eq!(subscription["selector"], "colour = 'red'");
    problem(&delete(node.http, &format!("{ADDRESSES}/t/subscriptions/s")), 409, "conflict");
    problem(&delete(node.http, &format!("{ADDRESSES}/t/subscriptions/other")), 404, "not-found");

    let info: NodeInfo = serde_json::from_slice(&get(node.http, "/api/v1/node").body).unwrap();
    let store = info.store.unwrap();
    assert_eq!((store.state, store.messages), (mq_model::admin::StoreState::Ready, 0));
    assert!(store.directory.ends_with("state/store"), "{}", store.directory);
    assert_eq!(delete(node.http, &format!("{ADDRESSES}/t")).status, 204);
    assert_eq!(get(node.http, &format!("{ADDRESSES}/t%3A%3As")).status, 404, "it went with its topic");
}

#[test]
fn operation_ids_are_unique_and_every_path_parameter_is_documented() {
    let document = mqd::admin::document();
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{path}");
        }
    }
}

#[test]
fn metrics_follow_the_rules_of_the_text_format() {
    let (node, _directory) = node();
    get(node.http, "/nowhere");
    let answer = get(node.http, "/metrics");
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let (mut types, mut series) = (std::collections::BTreeMap::new(), BTreeSet::new());
    assert!(text.ends_with("# EOF\n"));
    for line in text.trim_end_matches("# EOF\n").lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match keyword {
                "TYPE" => assert!(types.insert(name, rest).is_none(), "{name} twice"),
                "UNIT" => assert!(name.ends_with(rest), "{line}"),
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                _ => panic!("unknown comment {line}"),
            }
            continue;
        }
        let (identity, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        assert!(series.insert(identity), "{identity} twice");
        let name = identity.split('{').next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let family = ["_total", "_info"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        assert!(types.contains_key(family), "{name} has no type");
    }
    for wanted in [
        "mq_build_info",
        "mq_connections{worker=\"1\"}",
        "mq_deliveries_total{worker=\"0\",direction=\"in\"}",
        "process_cpu_seconds_total",
        "mq_admin_requests_total{method=\"GET\",route=\"\",status=\"404\"}",
    ] {
        assert!(series.iter().any(|found| found.starts_with(wanted)), "{wanted} in\n{text}");
    }
}
