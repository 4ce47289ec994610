//! Who may know whom: the packages of the workspace, and what stays out of the engines.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use mq_tests::repository;
use serde_json::Value;

/// Every edge that is allowed between packages of ours; the tests may know everyone.
const ALLOWED: [(&str, &[&str]); 10] = [
    // The engines for `mq bench` alone: what measures the daemon must not be slower than it.
    ("mq", &["mq-amqp", "mq-model", "mq-mqtt"]),
    ("mqd", &["mq-amqp", "mq-auth", "mq-core", "mq-mesh", "mq-model", "mq-mqtt", "mq-store"]),
    ("mq-auth", &["mq-model"]),
    ("mq-core", &[]),
    ("mq-amqp", &[]),
    ("mq-mqtt", &[]),
    ("mq-mesh", &[]),
    ("mq-model", &[]),
    ("mq-store", &[]),
    ("mq-tests", &["mq-amqp", "mq-core", "mq-model", "mq-mqtt", "mq-store"]),
];

/// Packages without IO: no socket, task, thread, file, clock, random source or environment.
const PURE: [&str; 6] = ["mq-amqp", "mq-auth", "mq-core", "mq-mesh", "mq-model", "mq-mqtt"];

/// Libraries that bring IO, a runtime, randomness or a clock with them.
const IMPURE: [&str; 24] = [
    "async-std",
    "axum",
    "chrono",
    "fastrand",
    "fe2o3-amqp",
    "futures-executor",
    "getrandom",
    "hyper",
    "libc",
    "mio",
    "nix",
    "polling",
    "rand",
    "rand_core",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing-subscriber",
    "uuid",
];

/// Libraries that compute, and reach the system for what those above do not use: a random source, which
/// clippy.toml forbids to them, and what the processor can do.
const COMPUTE: [&str; 2] = ["cpufeatures", "ring"];

/// What cargo knows of the workspace on this platform: those of others need not be downloaded.
fn metadata() -> Value {
    let compiler = printed_by(Command::new("rustc").arg("-vV"));
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host]);
    serde_json::from_str(&printed_by(command.current_dir(repository()))).expect("cargo metadata is JSON")
}

fn printed_by(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Packages of the workspace by name, each with the packages it names in its manifest, whatever the
/// kind of dependency.
fn members(metadata: &Value) -> BTreeMap<&str, &Value> {
    let ids: BTreeSet<&str> = list(metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
    let packages = list(metadata, "packages").iter().filter(|package| ids.contains(text(package, "id")));
    packages.map(|package| (text(package, "name"), package)).collect()
}

#[test]
fn packages_know_only_whom_they_may_know() {
    let metadata = metadata();
    let members = members(&metadata);
    let names: Vec<&str> = members.keys().copied().collect();
    let mut expected: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected, "a package that the design does not know");
    for (name, allowed) in ALLOWED {
        for dependency in list(members[name], "dependencies") {
            let other = text(dependency, "name");
            let is_fine = !members.contains_key(other) || allowed.contains(&other);
            assert!(is_fine, "{name} must not know {other}: it may know {allowed:?}");
        }
    }
}

#[test]
fn every_other_command_speaks_through_a_foreign_client() {
    let mut folders = vec![repository().join("cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("sources can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.extend((!path.ends_with("cli/src/bench")).then_some(path));
            } else {
                let text = std::fs::read_to_string(&path).expect("sources can be read");
                let mut words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
                let is_foreign = !words.any(|word| ["mq_amqp", "mq_mqtt"].contains(&word));
                assert!(is_foreign, "{} uses the daemon's engine", path.display());
            }
        }
    }
}

/// Packages by id, each with the ids of what it is built with (development and build dependencies
/// left out).
fn normal_edges(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let nodes = list(&metadata["resolve"], "nodes");
    let edges = nodes.iter().map(|node| {
        let is_normal = |edge: &&Value| list(edge, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
        let targets = list(node, "deps").iter().filter(is_normal).map(|edge| text(edge, "pkg")).collect();
        (text(node, "id"), targets)
    });
    edges.collect()
}

#[test]
fn engines_reach_no_io_through_any_library() {
    let metadata = metadata();
    let members = members(&metadata);
    let names: BTreeMap<&str, &str> = list(&metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let edges = normal_edges(&metadata);
    for name in PURE {
        let mut found = BTreeSet::new();
        let mut waiting = vec![text(members[name], "id")];
        while let Some(id) = waiting.pop() {
            let computes = names.get(id).is_some_and(|name| COMPUTE.contains(name));
            if !computes && found.insert(id) {
                waiting.extend(edges.get(id).into_iter().flatten());
            }
        }
        let reached: Vec<&str> = found
            .iter()
            .filter_map(|id| names.get(id).copied())
            .filter(|name| IMPURE.contains(name))
            .collect();
        assert!(reached.is_empty(), "{name} reaches {reached:?}");
    }
}

#[test]
fn dependencies_are_named_once_for_the_whole_workspace() {
    let root =
        std::fs::read_to_string(repository().join("Cargo.toml")).expect("the workspace has a manifest");
    let (_, dependencies) = root.split_once("[workspace.dependencies]").expect("a table of dependencies");
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    let metadata = metadata();
    for (name, package) in members(&metadata) {
        for dependency in list(package, "dependencies") {
            let other = text(dependency, "name");
            let is_named = dependencies.lines().any(|line| line.split([' ', '=']).next() == Some(other));
            assert!(is_named, "{name} depends on {other}, which the workspace's manifest does not explain");
        }
    }
}

/// The licences of `deny.toml`.
fn allowed_licences() -> Vec<String> {
    let text =
        std::fs::read_to_string(repository().join("deny.toml")).expect("the workspace has a deny.toml");
    let list = text.lines().find_map(|line| line.strip_prefix("allow = [")).expect("a list of licences");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a licence expression (SPDX) can be met with the licences allowed.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    // An older way to write OR.
    let expression = expression.replace('/', " OR ");
    if let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.split_once(')'))
        && let (choice, rest) = inner
        && (rest.is_empty() || rest.starts_with(" AND "))
    {
        let rest = rest.strip_prefix(" AND ");
        return is_met(choice, allowed) && rest.is_none_or(|rest| is_met(rest, allowed));
    }
    expression
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(|licence| allowed.iter().any(|allowed| allowed == licence)))
}

#[test]
fn licence_expressions_are_read_as_written() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned()];
    for met in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND Zlib", "(GPL-3.0 OR MIT) AND Zlib", "(MIT)"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR MIT) AND ISC", "(GPL-3.0) AND MIT", ""] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_we_allow() {
    let allowed = allowed_licences();
    assert!(allowed.iter().any(|licence| licence == "MIT"), "{allowed:?}");
    let metadata = metadata();
    for package in list(&metadata, "packages") {
        let licence = text(package, "license");
        assert!(is_met(licence, &allowed), "{} is under {licence:?}", text(package, "name"));
    }
}
