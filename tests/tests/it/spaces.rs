//! Address spaces in a fleet, and from the command line.

use std::fs;
use std::net::SocketAddr;

use mq_tests::admin::Admin;
use mq_tests::raw_mqtt::{RawMqtt, hex, packet, publish_5, string};
use mq_tests::{Fleet, Mq};
use serde_json::{Value, json};

/// What a client of MQTT says who logs in with a password.
fn connect(server: SocketAddr, client: &str, user: &str) -> RawMqtt {
    let mut raw = RawMqtt::open(server);
    let body = [&hex("00 04 'MQTT' 05 c2 00 00 00")[..], &string(client), &string(user), &string("pencil")];
    raw.send(&packet(0x10, &body.concat()));
    raw
}

#[track_caller]
fn connected(server: SocketAddr, client: &str, user: &str) -> RawMqtt {
    let mut raw = connect(server, client, user);
    let answer = raw.expect(0x20);
    assert_eq!(answer.body.get(1), Some(&0), "{answer:02x?}");
    raw
}

#[track_caller]
fn asked(admin: Admin, method: &str, path: &str, body: Option<&Value>, status: u16) {
    let answer = admin.request(method, &format!("/api/v1{path}"), body);
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
}

#[test]
fn fleet_a_space_of_one_node_is_that_of_all_and_its_clients_go_with_it_everywhere() {
    let fleet = Fleet::of(3).start();
    let space = json!({ "apiVersion": "mq.dev/v1", "kind": "AddressSpace", "metadata": { "name": "acme" } });
    asked(fleet.node(1).admin(), "POST", "/spaces", Some(&space), 201);
    let user = json!({
        "user": { "apiVersion": "mq.dev/v1", "kind": "User", "metadata": { "name": "ann" },
            "spec": { "grants": ["send:#", "recv:#"] } },
        "password": { "password": "pencil" },
    });
    asked(fleet.node(2).admin(), "POST", "/spaces/acme/users", Some(&user), 201);
    let topic = json!({ "apiVersion": "mq.dev/v1", "kind": "Address", "metadata": { "name": "#" },
        "spec": { "type": "topic" } });
    asked(fleet.node(3).admin(), "POST", "/spaces/acme/addresses", Some(&topic), 201);

    let mut outside = RawMqtt::connect_5(fleet.node(2).mqtt(), "one", "");
    outside.subscribe_5("#", 0);
    let mut one = connected(fleet.node(1).mqtt(), "one", "ann@acme");
    one.subscribe_5("t/#", 0);
    let mut three = connected(fleet.node(3).mqtt(), "three", "ann@acme");
    three.send(&publish_5("t/1", 0, 0, b"of acme"));
    let got = one.expect(0x30);
    assert!(got.body.starts_with(&string("t/1")) && got.body.ends_with(b"of acme"), "{got:02x?}");
    three.ping();
    outside.send(&publish_5("t/1", 0, 0, b"of default"));
    let got = outside.expect(0x30);
    assert!(got.body.ends_with(b"of default"), "what is of acme came to the default space: {got:02x?}");

    asked(fleet.node(2).admin(), "DELETE", "/spaces/acme", None, 409);
    asked(fleet.node(2).admin(), "DELETE", "/spaces/acme?cascade=true", None, 204);
    for mut client in [one, three] {
        client.expect_disconnect(0x87);
    }
    outside.ping();
    for (number, node) in fleet.nodes() {
        let mut refused = connect(node.mqtt(), "again", "ann@acme");
        let answer = refused.expect(0x20);
        assert_ne!(answer.body.get(1), Some(&0), "node {number}: {answer:02x?}");
    }
}

#[test]
fn tenants_are_made_and_served_from_the_command_line() {
    let mq = Mq::new();
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    mq.run("space create acme --max-connections 1000 --max-stored 10GiB --rate 5k/s")
        .succeeds()
        .prints("created space acme");
    mq.run("space create acme").exits_with(8);
    mq.run("space create Acme").exits_with(2);
    let create = "user create acme/gw --password-stdin --grant send:telemetry/# --grant recv:telemetry/#";
    mq.run_reading(create, "correct horse\n").succeeds().prints("created user acme/gw");
    mq.run("user can-i acme/gw send telemetry/x").succeeds().prints("yes");
    mq.run("user can-i gw send telemetry/x").exits_with(7);
    mq.run("--space acme address create telemetry/a --type queue").succeeds();
    mq.run("address show telemetry/a").exits_with(7);

    let file = mq.home().join("gw.pw");
    fs::write(&file, "correct horse\n").expect("a file of the test");
    let file = file.to_str().expect("a path of text");
    let by_gateway = |arguments: &[&str]| {
        mq.run_with(&[&["--user", "gw@acme", "--password-file", file], arguments].concat())
    };
    by_gateway(&["send", "telemetry/a", "hello"]).succeeds();
    by_gateway(&["recv", "telemetry/a", "-n", "1"]).succeeds().prints("hello");
    by_gateway(&["address", "create", "telemetry/b", "--type", "queue"]).exits_with(6);
    by_gateway(&["--space", "default", "address", "list"]).exits_with(6);
    by_gateway(&["--space", "other", "address", "list"]).exits_with(7).says("`other` does not exist");

    let shown = mq.run("space show acme -o json").succeeds().json();
    assert_eq!(shown["status"]["limits"]["maxStoredBytes"], 10_u64 << 30);
    mq.run("space set acme --user-limit max-addresses=1").succeeds();
    mq.run("user grant acme/gw manage:extra/#").succeeds();
    by_gateway(&["address", "create", "extra/a", "--type", "queue"]).succeeds();
    let created = mq.run("--space acme address show extra/a -o json").succeeds().json();
    assert_eq!(created["status"]["createdBy"], "gw");
    by_gateway(&["address", "create", "extra/b", "--type", "queue"]).says("user gw has created 1 addresses");
    by_gateway(&["address", "delete", "extra/a", "--yes"]).succeeds();
    by_gateway(&["address", "create", "extra/b", "--type", "queue"]).succeeds();
    mq.run("space set acme --user-limit max-addresses=none").succeeds();
    mq.run("space set acme --rate none --max-connections 5").succeeds().prints("maxConnections 5");
    mq.run("space list").succeeds().prints("acme");
    mq.run("space delete acme --yes").exits_with(8).says("--space acme address list");
    mq.run("space delete acme --cascade --yes").succeeds();
    by_gateway(&["send", "telemetry/a", "hello"]).exits_with(6);
    mq.run("undeploy --yes --purge").succeeds();
}

#[test]
fn documents_of_tenants_are_applied_and_change_nothing_the_second_time() {
    let mq = Mq::new();
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    let documents = include_str!("../../../manifests/examples/tenants.yaml");
    mq.run_reading("apply -f -", documents)
        .succeeds()
        .prints("created: profile free")
        .prints("created: space umbrella")
        .prints("created: user acme/gateway");
    let again = mq.run_reading("apply -f -", documents).succeeds();
    assert!(again.lines().iter().all(|line| line.starts_with("unchanged")), "{again:#?}");
    mq.run_reading("deploy -f -", documents).exits_with(2).says("mq apply");
    let kind = |space: &str| {
        let listed = mq.run_with(&["--space", space, "address", "show", "orders", "-o", "json"]).succeeds();
        listed.json()["spec"]["type"].clone()
    };
    assert_eq!((kind("acme"), kind("umbrella")), (json!("queue"), json!("topic")));
    mq.run("undeploy --yes --purge").succeeds();
}
