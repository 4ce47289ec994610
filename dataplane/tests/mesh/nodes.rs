//! What the admin API of one node says and does about others.

use mq_amqp::performative::DeliveryState;
use mq_model::manifest::AddressType;
use serde_json::{Value, json};

use crate::client::Received;
use crate::fleet::Fleet;
use crate::messages::settle_all;
use crate::support::{get, request, send_json, wait_for};

#[test]
fn any_node_answers_for_another_one_that_is_named() {
    let fleet = Fleet::of(2);
    for (asked, named) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let name = fleet.name(named);
        let node = get(fleet.node(asked).http, &format!("/api/v1/node?node={name}"));
        assert_eq!((node.status, &node.json()["name"]), (200, &json!(name)));
    }
    let unknown = get(fleet.node(0).http, "/api/v1/node?node=node-9");
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("application/problem+json")));
    // What the other node refuses comes back in its words.
    let refused = get(fleet.node(0).http, "/api/v1/addresses/nothing?node=node-2");
    assert_eq!(refused.status, 404);
    assert!(refused.json()["detail"].as_str().unwrap().contains("`nothing`"), "{}", refused.text());
}

#[test]
fn a_node_that_has_left_is_known_but_does_not_answer() {
    let mut fleet = Fleet::of(2);
    fleet.stop(1);
    let first = fleet.node(0);
    wait_for("the node to be gone", || (fleet.up(first) == 1).then_some(()));
    let answer = get(first.http, "/api/v1/node?node=node-2");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("node-2"), "{}", answer.text());
}

#[test]
fn a_client_of_a_node_that_stops_sees_its_socket_end_when_there_are_others_and_a_close_when_not() {
    let mut fleet = Fleet::of(2);
    fleet.create("a", AddressType::Anycast);
    for (stopped, has_close) in [(1, false), (0, true)] {
        let mut client = fleet.client(stopped);
        client.consumer("a", 10);
        fleet.stop(stopped);
        client.until("its connection to end", |client| client.is_over());
        assert_eq!(client.closed.is_some(), has_close, "node {stopped}");
        let first = (stopped > 0).then(|| fleet.node(0));
        wait_for("the node to be gone", || first.is_none_or(|first| fleet.up(first) == 1).then_some(()));
    }
}

#[test]
fn purging_a_queue_works_at_any_node() {
    let fleet = Fleet::of(2);
    for queue in ["p0", "p1", "p2", "p3"] {
        fleet.create(queue, AddressType::Queue);
        let mut producer = fleet.client(0);
        let link = producer.producer(queue);
        let sent = producer.send_text(link, "one");
        assert_eq!(producer.outcome(sent), DeliveryState::Accepted);
        let purged =
            request(fleet.node(1).http, "POST", &format!("/api/v1/addresses/{queue}/purge"), &[], b"");
        assert_eq!((purged.status, purged.json()), (200, json!({"messages": 1})), "{queue}");
    }
}

#[test]
fn a_node_that_is_drained_gives_its_queues_away_with_what_they_hold() {
    let fleet = Fleet::of(2);
    let queues: Vec<String> = (0..4).map(|number| format!("d{number}")).collect();
    for queue in &queues {
        fleet.create(queue, AddressType::Queue);
        let mut producer = fleet.client(0);
        let link = producer.producer(queue);
        let sent: Vec<u64> = (0..20).map(|number| producer.send_text(link, &number.to_string())).collect();
        for number in sent {
            assert_eq!(producer.outcome(number), DeliveryState::Accepted);
        }
    }
    let http = fleet.node(0).http;
    let order = |what: &str| request(http, "POST", &format!("/api/v1/node/{what}?node=node-2"), &[], b"");
    assert_eq!(order("drain").status, 200);
    let drained = wait_for("the node to be empty", || {
        let status = get(http, "/api/v1/node/drain?node=node-2").json();
        (status["state"] == "drained").then_some(status)
    });
    assert_eq!((&drained["queues"], &drained["messages"]), (&json!(0), &json!(0)));
    let mesh = get(http, "/api/v1/mesh").json();
    let second =
        mesh["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "node-2").unwrap().clone();
    assert_eq!((&second["draining"], &second["homes"]), (&json!(true), &json!(0)), "{mesh}");
    for queue in &queues {
        assert_eq!(fleet.home(1, queue), "node-1");
        let mut consumer = fleet.client(1);
        consumer.consumer(queue, 20);
        consumer.receive(20);
        let texts: Vec<String> = consumer.received.iter().map(Received::text).collect();
        assert_eq!(texts, (0..20).map(|number| number.to_string()).collect::<Vec<_>>(), "{queue}");
        settle_all(&mut consumer);
    }
    // A new queue goes where homes are taken.
    fleet.create("later", AddressType::Queue);
    assert_eq!(fleet.home(0, "later"), "node-1");
    assert_eq!(
        (order("uncordon").status, order("undrain").status, order("uncordon").status),
        (409, 200, 200)
    );
    let status = get(http, "/api/v1/node/drain?node=node-2").json();
    assert_eq!(status["state"], "active");
}

#[test]
fn a_node_that_is_drained_gives_its_topics_away_with_their_subscriptions() {
    let fleet = Fleet::of(2);
    let http = fleet.node(0).http;
    let to = json!({ "to": "node-2" });
    for (name, kind) in [("a", AddressType::Topic), ("b", AddressType::Queue)] {
        fleet.create(name, kind);
        if fleet.home(0, name) != "node-2" {
            send_json(http, "POST", &format!("/api/v1/addresses/{name}/move-home"), &to);
        }
        wait_for("the address to be where it is wanted", || (fleet.home(0, name) == "node-2").then_some(()));
    }
    fleet.create("a::s", AddressType::Subscription);
    request(http, "POST", "/api/v1/node/drain?node=node-2", &[], b"");
    wait_for("the node to hold nothing", || {
        let status = get(http, "/api/v1/node/drain?node=node-2").json();
        (status["queues"] == 0).then_some(())
    });
    for name in ["a", "b"] {
        assert_eq!(fleet.home(0, name), "node-1");
    }
    let status: Value = get(http, "/api/v1/addresses/a").json()["status"].clone();
    assert_eq!((&status["subscriptions"], &status["movingFrom"]), (&json!(1), &Value::Null), "{status}");
}

#[test]
fn the_home_of_a_queue_moves_on_request() {
    let fleet = Fleet::of(2);
    fleet.create("m", AddressType::Queue);
    let http = fleet.node(0).http;
    let home = fleet.home(0, "m");
    let other = if home == "node-1" { "node-2" } else { "node-1" };
    let ask = |to: &str| send_json(http, "POST", "/api/v1/addresses/m/move-home", &json!({ "to": to }));
    let moved = ask(other);
    assert_eq!((moved.status, &moved.json()["status"]["home"]), (200, &json!(other)), "{}", moved.text());
    wait_for("the move to be over", || {
        let status: Value = get(http, "/api/v1/addresses/m").json()["status"].clone();
        status["movingFrom"].is_null().then_some(())
    });
    assert_eq!(ask("node-9").status, 422);
    fleet.create("a", AddressType::Anycast);
    let direct = send_json(http, "POST", "/api/v1/addresses/a/move-home", &json!({ "to": other }));
    assert_eq!(direct.status, 409);
}

#[test]
fn what_is_on_a_node_out_of_reach_is_not_dropped_unseen() {
    let mut fleet = Fleet::of(2);
    let http = fleet.node(0).http;
    fleet.create("away", AddressType::Queue);
    fleet.create("here", AddressType::Queue);
    for (name, home) in [("away", "node-2"), ("here", "node-1")] {
        let to = json!({ "to": home });
        send_json(http, "POST", &format!("/api/v1/addresses/{name}/move-home"), &to);
        wait_for("the queue to be where it is wanted", || (fleet.home(0, name) == home).then_some(()));
    }
    fleet.stop(1);
    wait_for("the node to be gone", || (fleet.up(fleet.node(0)) == 1).then_some(()));

    let shown = get(http, "/api/v1/addresses/away").json();
    let status = &shown["status"];
    assert_eq!((&status["unreachable"], &status["ready"]), (&json!(["node-2"]), &json!(false)), "{shown}");
    assert!(status["queue"].is_null(), "nobody knows: {shown}");
    assert_eq!(get(http, "/api/v1/addresses").json()["unanswered"], json!(["node-2"]));
    assert_eq!(get(http, "/api/v1/subscriptions").json()["unanswered"], json!(["node-2"]));

    let away = "node-2, which holds `away`, cannot be reached: ";
    let anycast = json!({ "apiVersion": "mq/v1", "kind": "Address", "metadata": { "name": "away" },
        "spec": { "type": "anycast" } });
    let to = json!({ "to": "here" });
    for (method, path, body, status) in [
        ("DELETE", "", None, 409),
        ("PUT", "", Some(&anycast), 409),
        ("POST", "/purge", None, 503),
        ("POST", "/move", Some(&to), 503),
        ("POST", "/move-home", Some(&json!({ "to": "node-1" })), 503),
    ] {
        let path = format!("/api/v1/addresses/away{path}");
        let answer = match body {
            Some(body) => send_json(http, method, &path, body),
            None => request(http, method, &path, &[], b""),
        };
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && detail.starts_with(away), "{method} {path}: {detail}");
    }
    let delete = |path: &str| request(http, "DELETE", &format!("/api/v1/addresses/{path}"), &[], b"").status;
    assert_eq!((delete("here"), delete("away"), delete("away?force=true")), (204, 409, 204));
}

#[test]
fn a_node_that_is_restarted_while_it_is_emptied_goes_on_with_that() {
    let mut fleet = Fleet::of(2);
    let http = fleet.node(0).http;
    let order = |what: &str| request(http, "POST", &format!("/api/v1/node/{what}?node=node-2"), &[], b"");
    assert_eq!(order("drain").status, 200);
    fleet.halt(1);
    fleet.resume(1);
    fleet.wait_until_whole();
    let state = |http| get(http, "/api/v1/node/drain?node=node-2").json()["state"].clone();
    assert_eq!(state(fleet.node(1).http), "drained");
    wait_for("the other node to hear of it", || {
        let mesh = get(http, "/api/v1/mesh").json();
        let nodes = mesh["nodes"].as_array()?;
        nodes.iter().any(|node| node["name"] == "node-2" && node["draining"] == true).then_some(())
    });
    fleet.create("later", AddressType::Queue);
    assert_eq!(fleet.home(0, "later"), "node-1", "it takes no homes");
    assert_eq!((order("undrain").status, order("uncordon").status), (200, 200));
    fleet.halt(1);
    fleet.resume(1);
    assert_eq!(state(fleet.node(1).http), "active");
}

#[test]
fn two_processes_of_one_name_are_told_by_the_nodes_that_they_meet() {
    let mut fleet = Fleet::of(2);
    let (first, second) = (fleet.node(0), fleet.node(1));
    let has_namesake = |http| {
        let mesh = get(http, "/api/v1/mesh").json();
        let nodes = mesh["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "node-2" && node["hasNamesake"] == true)
    };
    assert!(!has_namesake(first.http) && !has_namesake(second.http));
    fleet.add_namesake("node-2", &[first.mesh, second.mesh]);
    for node in [first, second] {
        wait_for("the namesake to be told", || has_namesake(node.http).then_some(()));
    }
}

#[test]
fn what_goes_to_neighbours_is_in_the_metrics() {
    let fleet = Fleet::of(2);
    let text = get(fleet.node(0).http, "/metrics").text().to_owned();
    for line in ["mq_mesh_nodes 2.0", "mq_mesh_connects_total{neighbour=\"node-2\"}"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
