//! Help, usage, errors, generated files: what needs no fleet.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};

use crate::sandbox::{Ended, Sandbox};

/// `mq` without a daemon to build.
fn mq(arguments: &[&str]) -> Ended {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mq"));
    command.args(arguments).env_clear().env("HOME", home.path()).stdin(Stdio::null());
    command.output().unwrap().into()
}

#[test]
fn generated_files_are_as_the_command_line_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let stale = mq_cli::generate::stale(root).unwrap();
    assert!(stale.is_empty(), "stale: {stale:?}; refresh with `{}`", mq_cli::generate::REFRESH);
}

#[test]
fn help_goes_to_stdout_and_names_every_command() {
    let ended = mq(&["--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for command in [
        "deploy",
        "status",
        "check",
        "send",
        "recv",
        "browse",
        "request",
        "reply",
        "address",
        "subscription",
        "apply",
    ] {
        assert!(ended.stdout.contains(&format!("\n  {command} ")), "{}", ended.stdout);
    }
    assert!(!ended.stdout.contains("generate"), "for developers only");
}

#[test]
fn help_is_there_for_every_command_and_topic() {
    let long = mq(&["help", "address", "create"]).stdout;
    assert!(long.contains("Usage: mq address create [OPTIONS] --type <TYPE> <NAME>"), "{long}");
    let codes = mq(&["help", "exit-codes"]).stdout;
    assert!(codes.contains("    9  a message was rejected"), "{codes}");
    let unknown = mq(&["help", "nonsense"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("topics: exit-codes"), "{}", unknown.stderr);
}

#[test]
fn wrong_usage_is_exit_2_on_stderr() {
    for arguments in [
        &["send"][..],
        &["send", "a", "--timeout", "5"],
        &["send", "a", "-n", "2m"],
        &["send", "a", "body", "-m", "body"],
        &["send", "a", "--seed", "1"],
        &["recv", "a", "--wait", "1s", "--until-idle", "1s"],
        &["address", "create", "a"],
        &["address", "create", "a", "--type", "anycast", "--credit", "10001"],
        &["address", "create", "$a", "--type", "anycast", "--admin", "http://127.0.0.1:1"],
        &["reply", "a"],
        &["reply", "a", "--echo", "-m", "x"],
        &["deploy", "-f", "nothing.yaml"],
        &["deploy", "--name", "No"],
        &["send", "ftp://localhost/a", "x"],
        &["nonsense"],
    ] {
        let ended = mq(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
}

#[test]
fn without_a_fleet_the_error_says_how_to_get_one() {
    let ended = mq(&["status"]);
    assert_eq!(ended.code, 7);
    let expected = "error: there is no fleet to talk to\n  help: deploy one with `mq deploy`, or say where it is \
                    with --url amqp://host:port\n";
    assert_eq!(ended.stderr, expected);
}

#[test]
fn a_host_that_does_not_answer_is_exit_5() {
    for arguments in
        [&["send", "amqp://127.0.0.1:1/a", "x"][..], &["status", "--admin", "http://127.0.0.1:1"]]
    {
        let ended = mq(arguments);
        assert_eq!(ended.code, 5, "{ended:?}");
        assert!(ended.stderr.contains("connection refused"), "{ended:?}");
    }
}

#[test]
fn an_error_is_json_where_the_output_is_json() {
    let ended = mq(&["status", "-o", "json", "--admin", "http://127.0.0.1:1"]);
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!((&error["apiVersion"], &error["error"]["exitCode"]), (&"mq.cli/v1".into(), &5.into()));
    assert_eq!(ended.stdout, "");
}

#[test]
fn every_mistake_of_a_file_is_shown_in_one_run() {
    let sandbox = tempfile::tempdir().unwrap();
    let path = sandbox.path().join("bad.yaml");
    let text = "apiVersion: mq.dev/v1\nkind: Adress\nmetadata: {name: x}\n---\n\
                apiVersion: mq.dev/v1\nkind: Address\nmetadata: {name: y}\nspec: {typ: anycast}\n";
    std::fs::write(&path, text).unwrap();
    let ended = mq(&["apply", "-f", path.to_str().unwrap(), "--admin", "http://127.0.0.1:1"]);
    assert_eq!(ended.code, 2);
    for part in ["bad.yaml:2:7", "did you mean `Address`?", "bad.yaml:8:8", "`type`"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mq"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_field_and_an_error_code_are_explained() {
    assert!(mq(&["explain", "Address.spec.slowConsumer"]).stdout.contains("block"));
    assert_eq!(mq(&["explain", "MQ0107"]).code, 0);
    let ended = mq(&["explain", "Address.spec.slowConsumr"]);
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("slowConsumer"), "{ended:?}");
}

#[test]
fn contexts_are_added_chosen_and_deleted() {
    let sandbox = Sandbox::new();
    sandbox.ok("context add a --amqp amqp://127.0.0.1:1 --http http://127.0.0.1:2");
    sandbox.ok("context add b --amqp amqp://127.0.0.1:3");
    assert!(sandbox.ok("context use a").starts_with("changed"));
    assert!(sandbox.ok("context use a").starts_with("unchanged"));
    assert_eq!(sandbox.ok("context list -o name"), "a\nb\n");
    let shown: serde_json::Value = serde_json::from_str(&sandbox.ok("context show -o json")).unwrap();
    assert_eq!((&shown["name"], &shown["amqp"]), (&"a".into(), &"amqp://127.0.0.1:1".into()));
    let ended = sandbox.run("context use c");
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("contexts: a, b"), "{ended:?}");
    sandbox.ok("context delete a");
    assert_eq!(sandbox.ok("context list -o name"), "b\n");
}
