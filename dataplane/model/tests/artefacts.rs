//! The files that the repository keeps for users: the schemas are the ones of the types, and the
//! examples are valid.

use std::fs;
use std::path::{Path, PathBuf};

use mq_model::config::DaemonConfig;
use mq_model::{Documents, schema};
use serde_json::Value;

/// Set to write the schemas in place of comparing them.
const WRITE: &str = "MQ_WRITE_SCHEMA";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn committed_schemas_are_those_of_the_types() {
    for (path, text) in schema::files() {
        if std::env::var_os(WRITE).is_some() {
            fs::write(repository().join(path), &text).expect("the repository is writable");
        }
        assert!(
            read(path) == text,
            "{path} is stale; run `cargo run -p mq -- generate --write`, or this test with {WRITE}=1"
        );
    }
}

#[test]
fn examples_of_manifests_are_valid() {
    for (path, has_fleet, addresses) in [
        ("manifests/examples/local.yaml", true, 4),
        ("manifests/examples/three-nodes.yaml", true, 3),
        ("manifests/examples/secure.yaml", true, 0),
        ("manifests/examples/ssh.yaml", true, 1),
        ("manifests/examples/kubernetes.yaml", true, 0),
        ("manifests/examples/kubernetes-small.yaml", true, 0),
        ("manifests/examples/addresses.yaml", false, 2),
        ("manifests/examples/queues.yaml", false, 7),
        ("manifests/examples/rabbitmq.yaml", true, 4),
        ("manifests/examples/users.yaml", false, 0),
        ("manifests/examples/tenants.yaml", false, 3),
        ("manifests/examples/connector.yaml", false, 3),
    ] {
        let documents = Documents::parse(path, &read(path)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((documents.fleet.is_some(), documents.addresses.len()), (has_fleet, addresses), "{path}");
    }
}

#[test]
fn the_example_of_users_is_valid() {
    let path = "manifests/examples/users.yaml";
    let documents = Documents::parse(path, &read(path)).unwrap_or_else(|problems| panic!("{problems}"));
    let users: Vec<_> = documents.users.iter().map(|user| user.metadata.name.as_str()).collect();
    let roles: Vec<_> = documents.roles.iter().map(|role| role.metadata.name.as_str()).collect();
    assert_eq!((users, roles), (vec!["sensor-1", "heating"], vec!["sensors"]));
    assert!(documents.users.iter().all(|user| user.validate().is_ok()));
    assert!(documents.roles.iter().all(|role| role.validate().is_ok()));
}

#[test]
fn the_example_of_tenants_is_valid() {
    let path = "manifests/examples/tenants.yaml";
    let documents = Documents::parse(path, &read(path)).unwrap_or_else(|problems| panic!("{problems}"));
    let spaces: Vec<_> = documents.spaces.iter().map(|space| space.metadata.name.as_str()).collect();
    let users: Vec<_> =
        documents.users.iter().map(|user| (user.metadata.space(), user.metadata.name.as_str())).collect();
    assert_eq!(spaces, ["acme", "umbrella"]);
    assert_eq!(users, [("acme", "gateway"), ("umbrella", "gateway"), ("acme", "admin")]);
    assert!(documents.spaces.iter().all(|space| space.validate().is_ok()));
    assert!(documents.profiles.iter().all(|profile| profile.validate().is_ok()));
}

#[test]
fn the_example_of_a_load_test_is_valid() {
    let path = "manifests/ci/bench.yaml";
    let documents = Documents::parse(path, &read(path)).unwrap_or_else(|problems| panic!("{problems}"));
    let stages: Vec<_> =
        documents.benches.iter().flat_map(|bench| &bench.spec.stages).map(|stage| &stage.name).collect();
    assert_eq!(stages, ["steady", "flat-out"]);
}

#[test]
fn examples_obey_the_published_schemas() {
    for (path, schema) in [
        ("manifests/examples/local.yaml", schema::manifest_schema()),
        ("manifests/examples/three-nodes.yaml", schema::manifest_schema()),
        ("manifests/examples/secure.yaml", schema::manifest_schema()),
        ("manifests/examples/addresses.yaml", schema::manifest_schema()),
        ("manifests/examples/queues.yaml", schema::manifest_schema()),
        ("manifests/examples/users.yaml", schema::manifest_schema()),
        ("manifests/examples/tenants.yaml", schema::manifest_schema()),
        ("manifests/examples/connector.yaml", schema::manifest_schema()),
        ("manifests/ci/bench.yaml", schema::manifest_schema()),
        ("manifests/examples/mqd.yaml", schema::daemon_schema()),
    ] {
        let validator = jsonschema::validator_for(&schema).expect("the schema is a schema");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&read(path)).expect("the example is YAML");
        for document in documents {
            let problems: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert_eq!(problems, Vec::<String>::new(), "{path}");
        }
    }
}

#[test]
fn the_published_schemas_refuse_what_the_reader_refuses() {
    let validator = jsonschema::validator_for(&schema::manifest_schema()).expect("the schema is a schema");
    for spec in [
        r#"{"type": "stack"}"#,
        r#"{"type": "queue", "maxDeliveries": 0}"#,
        r#"{"type": "queue", "maxDeliveries": 1000001}"#,
        r#"{"type": "queue", "onFull": "panic"}"#,
        r#"{"type": "queue", "redelivery": {"delayMs": 86400001}}"#,
        r#"{"type": "queue", "redelivery": {"delayMs": 1, "multiplier": 0.5}}"#,
        r#"{"type": "queue", "redelivery": {"delayMs": 1, "multiplier": 100.5}}"#,
        r#"{"type": "queue", "redelivery": {"delayMs": 1, "maxDelayMs": 2592000001}}"#,
        r#"{"type": "queue", "limits": {"maxMessages": 0}}"#,
        r#"{"type": "queue", "limits": {"maxMessages": 1000000001}}"#,
        r#"{"type": "queue", "limits": {"maxBytes": 0}}"#,
        r#"{"type": "queue", "limits": {"maxBytes": 1125899906842625}}"#,
        r#"{"type": "queue", "deduplication": {"windowMs": 999}}"#,
        r#"{"type": "queue", "deduplication": {"windowMs": 2592000001}}"#,
        r#"{"type": "queue", "deduplication": {"maxIds": 0}}"#,
        r#"{"type": "queue", "deduplication": {"maxIds": 10000001}}"#,
        r#"{"type": "queue", "deadLetter": ""}"#,
        r#"{"type": "queue", "exclusive": 1}"#,
        r#"{"type": "anycast", "priority": 10}"#,
        r#"{"type": "anycast", "colour": "red"}"#,
        r#"{"type": "anycast", "limits": {"linkCredit": 0}}"#,
        r#"{"type": "anycast", "ttl": {"minMs": "5s"}}"#,
        "{}",
    ] {
        let text = format!(
            r#"{{"apiVersion": "mq/v1", "kind": "Address", "metadata": {{"name": "a"}}, "spec": {spec}}}"#
        );
        let document: Value = serde_json::from_str(&text).expect("JSON");
        assert!(!validator.is_valid(&document), "{spec}");
        assert!(Documents::parse("f.json", &text).is_err(), "{spec}");
    }
}

#[test]
fn the_store_of_a_daemon_has_bounds() {
    let validator = jsonschema::validator_for(&schema::daemon_schema()).expect("the schema is a schema");
    for (store, is_valid) in [
        ("durability: relaxed", true),
        ("durability: never", false),
        ("sync-interval-ms: 0", false),
        ("sync-interval-ms: 60000", true),
        ("sync-interval-ms: 60001", false),
        ("segment-size: 1048575", false),
        ("segment-size: 1073741824", true),
        ("segment-size: 1073741825", false),
        ("memory: 1048575", false),
        ("memory: 1099511627777", false),
        ("max-message-size: 1023", false),
        ("max-message-size: 536870913", false),
    ] {
        let text = format!("state-dir: s\nstore: {{ {store} }}\n");
        let document: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        assert_eq!(validator.is_valid(&document[0]), is_valid, "{store}");
        assert_eq!(DaemonConfig::parse("f.yaml", &text).is_ok(), is_valid, "{store}");
    }
}

#[test]
fn the_example_of_the_daemon_shows_the_defaults() {
    let path = "manifests/examples/mqd.yaml";
    let config = DaemonConfig::parse(path, &read(path)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config, DaemonConfig::embedded("./mqd-state"));
    assert_eq!(config.hash(), DaemonConfig::embedded("./mqd-state").hash());
}

#[test]
fn defaults_named_in_the_example_fleet_are_the_defaults() {
    // A comment such as `# maxLinks: 1024` must not lie.
    let text = read("manifests/examples/local.yaml").replace("    # max", "    max");
    let text = ["session", "link", "idle", "handshake"]
        .into_iter()
        .fold(text, |text, name| text.replace(&format!("    # {name}"), &format!("    {name}")));
    let fleet = Documents::parse("local.yaml", &text).unwrap_or_else(|problems| panic!("{problems}")).fleet;
    let config = DaemonConfig::from_fleet(&fleet.expect("a fleet"), "node-1", "s");
    let mut expected = DaemonConfig::embedded("s");
    expected.fleet = "local".into();
    expected.limits.max_connections = 10_000;
    assert_eq!(config, expected);
}

#[test]
fn defaults_named_in_the_example_of_several_nodes_are_the_defaults() {
    let text = read("manifests/examples/three-nodes.yaml");
    let shown = ["host", "cost", "connections", "heartbeatMs", "timeoutMs"]
        .into_iter()
        .fold(text.clone(), |text, name| text.replace(&format!("    # {name}:"), &format!("    {name}:")));
    assert_ne!(shown, text);
    let configs = [text, shown].map(|text| {
        let documents =
            Documents::parse("three-nodes.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let fleet = documents.fleet.expect("a fleet");
        DaemonConfig::from_fleet(&fleet, "node-3", "s")
    });
    assert_eq!(configs[0], configs[1]);
    let mesh = configs[0].mesh.as_ref().expect("three nodes have a mesh");
    assert_eq!((mesh.listen.port, mesh.connect.len()), (7674, 2));
}

#[test]
fn example_schema_lines_point_to_the_schemas() {
    for path in ["local.yaml", "three-nodes.yaml", "secure.yaml", "addresses.yaml", "queues.yaml", "mqd.yaml"]
    {
        let text = read(&format!("manifests/examples/{path}"));
        let line = text.lines().next().unwrap_or("");
        let target = line.strip_prefix("# yaml-language-server: $schema=").expect(path);
        assert!(repository().join("manifests/examples").join(target).is_file(), "{target}");
    }
}

#[test]
fn manifests_are_camel_case_and_the_daemon_is_kebab_case() {
    let (manifest, daemon) = (schema::manifest_schema(), schema::daemon_schema());
    for name in property_names(&manifest) {
        assert!(name.chars().all(|character| character.is_ascii_alphanumeric()), "{name}");
    }
    for name in property_names(&daemon) {
        assert!(name.chars().all(|character| character.is_ascii_lowercase() || character == '-'), "{name}");
    }
}

#[test]
fn limits_of_a_fleet_are_those_of_the_daemon() {
    let (manifest, daemon) = (schema::manifest_schema(), schema::daemon_schema());
    let properties = |schema: &Value, name: &str| {
        schema["$defs"][name]["properties"].as_object().expect("an object with properties").clone()
    };
    for field in ["cost", "connections", "heartbeat-ms", "timeout-ms"] {
        let (mesh, daemon) = (properties(&manifest, "FleetMesh"), properties(&daemon, "Mesh"));
        for fact in ["minimum", "maximum", "type"] {
            assert_eq!(mesh[&camel_case(field)][fact], daemon[field][fact], "{field}: {fact}");
        }
    }
    for (fleet, limits) in [("FleetLimits", "Limits"), ("FleetStore", "Store")] {
        let (fleet, limits) = (properties(&manifest, fleet), properties(&daemon, limits));
        assert_eq!(fleet.len(), limits.len());
        for (name, limit) in limits {
            let property = &fleet[&camel_case(&name)];
            for fact in ["minimum", "maximum", "default", "type"] {
                assert_eq!(property[fact], limit[fact], "{name}: {fact}");
            }
            // Where the log lies depends on the number of nodes, so the two say it differently.
            if name != "directory" {
                assert_eq!(property["description"], limit["description"], "{name}");
            }
        }
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let mut result = words.next().unwrap_or("").to_owned();
    for word in words {
        result.extend(word.chars().next().map(|first| first.to_ascii_uppercase()));
        result.push_str(word.get(1..).unwrap_or(""));
    }
    result
}

fn property_names(schema: &Value) -> Vec<String> {
    let mut names = Vec::new();
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                names.extend(properties.keys().cloned());
            }
            names.extend(object.values().flat_map(property_names));
        }
        Value::Array(items) => names.extend(items.iter().flat_map(property_names)),
        _ => {}
    }
    names
}
