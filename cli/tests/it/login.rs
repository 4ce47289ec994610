//! Who commands are: what contexts say, what is kept, and what is forgotten.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::sandbox::{Ended, Sandbox};

/// A fleet that lets nobody in unknown, with the user `ann` and her password `pencil`, who may use `jobs`; and the
/// context `far`, which only knows where it is.
fn far() -> Sandbox {
    let sandbox = Sandbox::new();
    let fleet = "apiVersion: mq/v1\nkind: Fleet\nmetadata: {name: default}\nspec:\n  drainSeconds: 1\n  \
                 authentication: {anonymous: never}\n";
    sandbox.write("fleet.yaml", fleet);
    sandbox.ok("deploy -f fleet.yaml --amqp-port 0 --mqtt-port 0 --http-port 0");
    sandbox.ok("address create jobs --type queue");
    let grants = "--grant send:jobs --grant recv:jobs --grant view:#";
    let created = sandbox.feed(&format!("user create ann --password-stdin {grants}"), b"pencil\n");
    assert_eq!(created.code, 0, "{created:?}");
    let context: Value = serde_json::from_str(&sandbox.ok("context show -o json")).unwrap();
    let url = |field: &str| context[field].as_str().unwrap().to_owned();
    let (amqp, mqtt, admin) = (url("amqp"), url("mqtt"), url("admin"));
    sandbox.ok(&format!("context add far --amqp {amqp} --mqtt {mqtt} --http {admin}"));
    sandbox.ok("context use far");
    sandbox
}

#[track_caller]
fn is_let_in(sandbox: &Sandbox) {
    sandbox.ok("address list");
    sandbox.ok("send jobs -m x");
    sandbox.ok("send mqtt:///jobs -m y");
    assert_eq!(sandbox.ok("recv jobs -n 2").lines().count(), 2);
}

#[track_caller]
fn is_refused(sandbox: &Sandbox) {
    for command in ["address list", "send jobs -m x"] {
        let ended = sandbox.run(command);
        assert_eq!(ended.code, 6, "{command}: {ended:?}");
    }
}

#[track_caller]
fn shows_nothing(ended: &Ended) {
    assert!(!ended.stdout.contains("pencil") && !ended.stderr.contains("pencil"), "{ended:?}");
}

#[test]
fn a_password_that_is_kept_lets_commands_in_until_it_is_forgotten() {
    let sandbox = far();
    is_refused(&sandbox);
    let wrong = sandbox.feed("login --user ann --password-stdin", b"eraser\n");
    assert_eq!(wrong.code, 6, "{wrong:?}");
    is_refused(&sandbox);
    let right = sandbox.feed("login --user ann --password-stdin", b"pencil\n");
    assert_eq!(right.code, 0, "{right:?}");
    shows_nothing(&right);
    let file = sandbox.path().join("state/mq/.keyring/far.json");
    assert!(right.stderr.contains(&file.display().to_string()), "{right:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    is_let_in(&sandbox);
    for command in
        ["context show -o json", "context show -o yaml", "context list -o wide", "--context far status"]
    {
        shows_nothing(&sandbox.run(command));
    }
    let contexts = std::fs::read_to_string(sandbox.path().join("config/mq/contexts.yaml")).unwrap();
    assert!(contexts.contains("ann") && !contexts.contains("pencil"), "{contexts}");
    // Deploying again keeps it; somebody else may be named all the same.
    let other = sandbox.run("address list --user bob --password-file /dev/null");
    assert_eq!(other.code, 6, "{other:?}");
    sandbox.ok("logout");
    assert!(!file.exists());
    is_refused(&sandbox);
    assert!(sandbox.ok("logout").starts_with("unchanged"));
}

#[test]
fn a_context_says_where_the_password_is_and_what_it_holds_goes_nowhere_else() {
    let sandbox = far();
    let file = sandbox.write("password", "pencil\n");
    sandbox.ok(&format!("context set far --user ann --password-file {}", file.display()));
    is_let_in(&sandbox);
    let command = format!("cat {}; echo more", file.display());
    let set =
        sandbox.command_of(&["context", "set", "far", "--password-command", &command]).output().unwrap();
    assert!(set.status.success());
    is_let_in(&sandbox);
    sandbox.ok("context set far --password-env FAR_PASSWORD");
    is_refused_for_want_of_a_password(&sandbox);
    let given = sandbox.command("address list").env("FAR_PASSWORD", "pencil").output().unwrap();
    assert!(given.status.success(), "{given:?}");
    // Another broker is not told who the commands of this one are.
    let context: Value = serde_json::from_str(&sandbox.ok("context show far -o json")).unwrap();
    let elsewhere = format!("send {}/jobs -m x", context["amqp"].as_str().unwrap());
    let anonymous = sandbox.command(&elsewhere).env("FAR_PASSWORD", "pencil").output().unwrap();
    assert_eq!(anonymous.status.code(), Some(6), "{anonymous:?}");
    sandbox.ok("context set far --unset user");
    is_refused(&sandbox);
}

#[track_caller]
fn is_refused_for_want_of_a_password(sandbox: &Sandbox) {
    let ended = sandbox.run("address list");
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("FAR_PASSWORD"), "{ended:?}");
}

#[test]
fn the_password_comes_on_stdin_by_either_flag_and_is_warned_of_in_a_url() {
    let sandbox = far();
    for flag in ["--password-stdin", "--password-file -"] {
        let ended = sandbox.feed(&format!("address list --user ann {flag}"), b"pencil\n");
        assert_eq!(ended.code, 0, "{flag}: {ended:?}");
    }
    let context: Value = serde_json::from_str(&sandbox.ok("context show far -o json")).unwrap();
    let url = context["amqp"].as_str().unwrap().replace("amqp://", "amqp://ann:pencil@");
    let ended = sandbox.run(&format!("send {url}/jobs -m x"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("list of processes"), "{ended:?}");
    for command in [
        "address list --admin http://ann:pencil@127.0.0.1:1",
        "address list --admin ftp://ann:pencil@127.0.0.1:1",
        "context add x --amqp amqp://ann:pencil@127.0.0.1:1",
        "send http://ann:pencil@127.0.0.1:1/a -m x",
    ] {
        let ended = sandbox.run(command);
        assert_eq!(ended.code, 2, "{command}: {ended:?}");
        shows_nothing(&ended);
    }
}

#[test]
fn a_context_can_be_any_broker() {
    let sandbox = Sandbox::new();
    sandbox.ok("context add lab --url mqtts://mosquitto.example.org --ca ca.pem");
    sandbox.ok("context use lab");
    let shown: Value = serde_json::from_str(&sandbox.ok("context show -o json")).unwrap();
    assert_eq!(shown["mqtt"], "mqtts://mosquitto.example.org");
    assert!(shown["access"]["ca"].as_str().unwrap().starts_with('/'), "{shown}");
    let ended = sandbox.run("send a -m x");
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("does not say where AMQP is"), "{ended:?}");
    assert_eq!(sandbox.run("context add nowhere").code, 2);
}
