//! Connectors: what goes from one fleet to another that knows nothing of it, and back.

use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use mq_amqp::performative::DeliveryState;
use mq_model::manifest::AddressType;
use serde_json::{Value, json};

use crate::client::message;
use crate::fleet::Fleet;
use crate::node::Node;
use crate::support::{delete, get, request, send_json, wait_for};

const CONNECTORS: &str = "/api/v1/connectors";

fn connector(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": "Connector", "metadata": { "name": name }, "spec": spec })
}

fn url(server: SocketAddr) -> String {
    format!("amqp://{server}")
}

#[track_caller]
fn create(node: Node, name: &str, spec: &Value) {
    let body = json!({ "connector": connector(name, spec) });
    let created = send_json(node.http, "POST", CONNECTORS, &body);
    assert_eq!(created.status, 201, "{}", created.text());
}

#[track_caller]
fn change(node: Node, name: &str, patch: &Value) {
    let path = format!("{CONNECTORS}/{name}");
    let body = serde_json::to_vec(patch).unwrap();
    let changed = request(node.http, "PATCH", &path, &[("Content-Type", "application/json")], &body);
    assert_eq!(changed.status, 200, "{}", changed.text());
}

/// What a node says of a connector.
fn status(node: Node, name: &str) -> Value {
    get(node.http, &format!("{CONNECTORS}/{name}")).json()["status"].clone()
}

fn attached(status: &Value) -> usize {
    let routes = status["routes"].as_array().cloned().unwrap_or_default();
    routes.iter().filter(|route| route["attached"] == true).count()
}

#[track_caller]
fn wait_attached(node: Node, name: &str, routes: usize) -> Value {
    wait_for("a connector to have its routes", || {
        let status = status(node, name);
        (status["state"] == "connected" && attached(&status) == routes).then_some(status)
    })
}

#[test]
fn what_goes_to_an_address_here_arrives_at_the_other_broker_and_what_comes_from_there_here() {
    let (here, there) = (Fleet::of(2), Fleet::of(1));
    for queue in ["orders", "readings"] {
        here.create(queue, AddressType::Queue);
    }
    for queue in ["incoming", "outgoing"] {
        there.create(queue, AddressType::Queue);
    }
    let spec = json!({
        "urls": [url(there.node(0).amqp)],
        "receive": [{ "from": "outgoing", "to": "readings" }],
        "send": [{ "from": "orders", "to": "incoming" }],
    });
    create(here.node(0), "plant", &spec);
    let seen = wait_attached(here.node(0), "plant", 2);
    wait_for("the other node to say the same", || {
        let other = status(here.node(1), "plant");
        (other["node"] == seen["node"] && other["state"] == "connected").then_some(())
    });
    let (mut sender, mut receiver) = (here.client(0), here.client(1));
    let (mut far_sender, mut far_receiver) = (there.client(0), there.client(0));
    let link = sender.producer("orders");
    let sent: Vec<u64> = (0..50).map(|number| sender.send_text(link, &number.to_string())).collect();
    far_receiver.consumer("incoming", 100);
    for number in 0..50 {
        let received = far_receiver.receive(number + 1);
        assert_eq!(received.text(), number.to_string(), "in order");
        far_receiver.accept(&received);
    }
    for number in sent {
        assert_eq!(sender.outcome(number), DeliveryState::Accepted);
    }
    let link = far_sender.producer("outgoing");
    let number = far_sender.send_text(link, "21.5");
    assert_eq!(far_sender.outcome(number), DeliveryState::Accepted);
    receiver.consumer("readings", 10);
    let received = receiver.receive(1);
    assert_eq!(received.text(), "21.5");
    receiver.accept(&received);
    wait_for("the messages to be counted", || {
        let status = status(here.node(1), "plant");
        (status["routes"][0]["messages"] == 1 && status["routes"][1]["messages"] == 50).then_some(())
    });
}

#[test]
fn the_sender_learns_what_has_come_of_its_message_at_the_other_broker() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    here.create("jobs", AddressType::Anycast);
    there.create("work", AddressType::Anycast);
    let mut worker = there.client(0);
    worker.consumer("work", 10);
    let spec = json!({ "urls": [url(there.node(0).amqp)], "send": [{ "from": "jobs", "to": "work" }] });
    create(here.node(0), "bridge", &spec);
    let mut sender = here.client(0);
    let link = sender.producer("jobs");
    for (count, state) in [DeliveryState::Accepted, DeliveryState::Released, DeliveryState::Rejected(None)]
        .into_iter()
        .enumerate()
    {
        let sent = sender.send_text(link, "job");
        let received = worker.receive(count + 1);
        worker.settle(&received, state.clone(), true);
        assert_eq!(sender.outcome(sent), state);
    }
}

#[test]
fn a_large_message_goes_through_whole() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    here.create("here", AddressType::Queue);
    there.create("there", AddressType::Queue);
    let spec = json!({ "urls": [url(there.node(0).amqp)], "send": [{ "from": "here", "to": "there" }] });
    create(here.node(0), "bridge", &spec);
    let text = "0123456789abcdef".repeat(200_000);
    let payload: Bytes = message(&text);
    let (mut sender, mut receiver) = (here.client(0), there.client(0));
    let link = sender.producer("here");
    let sent = sender.send(link, payload, false);
    assert_eq!(sender.outcome(sent), DeliveryState::Accepted);
    receiver.consumer("there", 1);
    let received = receiver.receive(1);
    assert!(received.text() == text, "{} bytes of {}", received.text().len(), text.len());
}

#[test]
fn servers_are_tried_in_turn_and_why_one_is_not_reached_is_said() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    // Bound and closed again: nobody listens there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (far, first) = (url(there.node(0).amqp), url(closed));
    create(here.node(0), "plant", &json!({ "urls": [first], "send": [{ "from": "a", "to": "b" }] }));
    let failed = wait_for("a try to fail", || {
        let status = status(here.node(0), "plant");
        status["failures"].as_u64().is_some_and(|failures| failures > 0).then_some(status)
    });
    assert_eq!(failed["state"], "connecting");
    assert!(failed["error"].as_str().unwrap().starts_with("cannot connect: "), "{failed}");
    change(here.node(0), "plant", &json!({ "spec": { "urls": [first, far] } }));
    let connected = wait_attached(here.node(0), "plant", 1);
    assert_eq!((&connected["url"], &connected["error"]), (&json!(far), &Value::Null));
    assert_eq!(connected["failures"], 0);
}

#[test]
fn a_route_that_one_side_does_not_take_says_why_and_the_others_go_on() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    here.create("a", AddressType::Queue);
    there.create("b", AddressType::Queue);
    let spec = json!({
        "urls": [url(there.node(0).amqp)],
        "send": [
            { "from": "a", "to": "$nowhere" },
            { "from": "a", "to": "b" },
            { "from": "gone::subscription", "to": "b" },
        ],
    });
    create(here.node(0), "plant", &spec);
    let seen = wait_for("two routes to fail", || {
        let status = status(here.node(0), "plant");
        let routes = status["routes"].as_array().cloned().unwrap_or_default();
        (routes.iter().filter(|route| route["error"].is_string()).count() == 2).then_some(status)
    });
    for (route, is_attached, word) in [(0, false, "nowhere"), (1, true, ""), (2, false, "gone")] {
        let route = &seen["routes"][route];
        assert_eq!(route["attached"], is_attached, "{route}");
        assert!(route["error"].as_str().unwrap_or_default().contains(word), "{route}");
    }
    // It is tried again: what is there now is taken.
    here.create("gone", AddressType::Topic);
    here.create("gone::subscription", AddressType::Subscription);
    wait_for("the route to be attached", || (attached(&status(here.node(0), "plant")) == 2).then_some(()));
}

#[test]
fn a_route_whose_address_is_deleted_waits_for_the_next_one_of_its_name() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    here.create("q", AddressType::Queue);
    there.create("far", AddressType::Queue);
    let spec = json!({ "urls": [url(there.node(0).amqp)], "send": [{ "from": "q", "to": "far" }] });
    create(here.node(0), "plant", &spec);
    wait_attached(here.node(0), "plant", 1);
    assert_eq!(delete(here.node(0).http, "/api/v1/addresses/q").status, 204);
    let seen = wait_for("the route to end", || {
        let status = status(here.node(0), "plant");
        (attached(&status) == 0).then_some(status)
    });
    assert_eq!(seen["state"], "connected", "{seen}");
    assert!(seen["routes"][0]["error"].as_str().unwrap().contains("resource-deleted"), "{seen}");
    here.create("q", AddressType::Queue);
    wait_attached(here.node(0), "plant", 1);
}

#[test]
fn a_route_takes_messages_to_the_queue_that_is_created_for_its_name_later() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    there.create("far", AddressType::Queue);
    let spec = json!({ "urls": [url(there.node(0).amqp)], "receive": [{ "from": "far", "to": "late" }] });
    create(here.node(0), "plant", &spec);
    wait_attached(here.node(0), "plant", 1);
    here.create("late", AddressType::Queue);
    wait_for("the route to have a link to the queue", || {
        let links = get(here.node(0).http, "/api/v1/addresses/late").json();
        (links["status"]["producers"] == 1).then_some(())
    });
    let (mut sender, mut receiver) = (there.client(0), here.client(0));
    let link = sender.producer("far");
    sender.send_text(link, "kept");
    receiver.consumer("late", 10);
    assert_eq!(receiver.receive(1).text(), "kept");
}

#[test]
fn a_connector_that_is_paused_or_removed_has_no_connection() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    let spec = json!({ "urls": [url(there.node(0).amqp)], "send": [{ "from": "a", "to": "b" }] });
    create(here.node(0), "plant", &spec);
    wait_attached(here.node(0), "plant", 1);
    let connections = || {
        let list = get(there.node(0).http, "/api/v1/connections").json();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(connections(), 1);
    change(here.node(0), "plant", &json!({ "spec": { "paused": true } }));
    wait_for("the connection to end", || (connections() == 0).then_some(()));
    assert_eq!(status(here.node(0), "plant")["state"], "paused");
    change(here.node(0), "plant", &json!({ "spec": { "paused": null } }));
    wait_attached(here.node(0), "plant", 1);
    assert_eq!(delete(here.node(0).http, "/api/v1/connectors/plant").status, 204);
    wait_for("the connection to end", || (connections() == 0).then_some(()));
    assert_eq!(get(here.node(0).http, "/api/v1/connectors/plant").status, 404);
}

#[test]
fn when_the_node_of_a_connector_goes_another_one_has_it() {
    let (mut here, there) = (Fleet::of(3), Fleet::of(1));
    let spec = json!({ "urls": [url(there.node(0).amqp)], "receive": [{ "from": "far", "to": "near" }] });
    create(here.node(0), "plant", &spec);
    let seen = wait_attached(here.node(0), "plant", 1);
    let owner = (0..3).find(|index| here.name(*index) == seen["node"]).unwrap();
    let name = here.name(owner).to_owned();
    here.stop(owner);
    wait_for("another node to have the connector", || {
        let status = status(here.node(0), "plant");
        (status["node"] != name && attached(&status) == 1).then_some(())
    });
    let mut far = there.client(0);
    let link = far.producer("far");
    let mut near = here.client(1);
    near.consumer("near", 10);
    far.send_text(link, "still");
    assert_eq!(near.receive(1).text(), "still");
}

#[test]
fn a_password_is_proved_and_nothing_gives_it_back() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    let user = json!({
        "user": {
            "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": "bridge" },
            "spec": { "grants": ["send:b", "recv:b"] },
        },
        "password": { "password": "pencil" },
    });
    assert_eq!(send_json(there.node(0).http, "POST", "/api/v1/users", &user).status, 201);
    let spec = json!({
        "urls": [url(there.node(0).amqp)], "user": "bridge",
        "send": [{ "from": "a", "to": "b" }, { "from": "a", "to": "c" }],
    });
    create(here.node(0), "plant", &spec);
    let error = |word: &str| {
        wait_for("the error to be said", || {
            let status = status(here.node(0), "plant");
            status["error"].as_str().is_some_and(|error| error.contains(word)).then_some(())
        });
    };
    error("has no password");
    let set = |password: &str| {
        let path = format!("{CONNECTORS}/plant/credentials");
        let set = send_json(here.node(0).http, "PUT", &path, &json!({ "password": password }));
        assert_eq!(set.status, 204, "{}", set.text());
    };
    set("crayon");
    error("does not let the connector in");
    set("pencil");
    let seen = wait_for("the connector to be let in", || {
        let status = status(here.node(0), "plant");
        (attached(&status) == 1).then_some(status)
    });
    assert_eq!(seen["hasPassword"], true);
    assert!(seen["routes"][1]["error"].as_str().unwrap().contains("unauthorized-access"), "{seen}");
    for path in [CONNECTORS.to_owned(), format!("{CONNECTORS}/plant")] {
        assert!(!get(here.node(0).http, &path).text().contains("pencil"));
    }
}

#[test]
fn connectors_of_a_space_know_its_addresses_alone() {
    let (here, there) = (Fleet::of(1), Fleet::of(1));
    there.create("far", AddressType::Queue);
    let space = json!({ "apiVersion": "mq.dev/v1", "kind": "AddressSpace", "metadata": { "name": "acme" } });
    assert_eq!(send_json(here.node(0).http, "POST", "/api/v1/spaces", &space).status, 201);
    let address = crate::support::address("readings", AddressType::Queue);
    assert_eq!(send_json(here.node(0).http, "POST", "/api/v1/spaces/acme/addresses", &address).status, 201);
    here.create("readings", AddressType::Queue);
    let spec = json!({ "urls": [url(there.node(0).amqp)], "receive": [{ "from": "far", "to": "readings" }] });
    let body = json!({ "connector": connector("plant", &spec) });
    assert_eq!(send_json(here.node(0).http, "POST", "/api/v1/spaces/acme/connectors", &body).status, 201);
    assert_eq!(get(here.node(0).http, "/api/v1/connectors/plant").status, 404);
    let mut far = there.client(0);
    let link = far.producer("far");
    far.send_text(link, "21.5");
    let held = |path: &str| get(here.node(0).http, path).json()["status"]["queue"]["messages"].clone();
    wait_for("the message to be there", || {
        (held("/api/v1/spaces/acme/addresses/readings") == 1).then_some(())
    });
    assert_eq!(held("/api/v1/addresses/readings"), 0);
    // What is in a space goes with it.
    assert_eq!(delete(here.node(0).http, "/api/v1/spaces/acme").status, 409);
    assert_eq!(delete(here.node(0).http, "/api/v1/spaces/acme?cascade=true&force=true").status, 204);
    wait_for("its connection to end", || {
        let list = get(here.node(0).http, "/api/v1/connections").json();
        list["items"].as_array().unwrap().is_empty().then_some(())
    });
}
