//! Users and roles from the command line, against a fleet that runs.

use std::fs;

use mq_tests::Mq;

#[test]
fn a_user_does_what_he_may_and_loses_it_at_once() {
    let mq = Mq::new();
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    let create = "user create heat --password-stdin --grant manage:heating/# --grant view:heating/#";
    mq.run_reading(create, "correct horse\n").succeeds().prints("created user heat");
    mq.run_reading(create, "correct horse\n").exits_with(8);
    let file = mq.home().join("heat.pw");
    fs::write(&file, "correct horse\n").expect("a file of the test");
    let file = file.to_str().expect("a path of text");
    let by_him =
        |arguments: &[&str]| mq.run_with(&[&["--user", "heat", "--password-file", file], arguments].concat());

    by_him(&["address", "create", "heating/a", "--type", "queue"]).succeeds();
    by_him(&["address", "create", "cooling/a", "--type", "queue"]).exits_with(6).says("manage:cooling/a");
    by_him(&["user", "create", "eve", "--role", "admin"]).exits_with(6);
    mq.run("user can-i heat manage heating/a").succeeds().prints("yes");
    mq.run("user can-i heat send heating/a").exits_with(1).prints("no");

    mq.run("user revoke heat manage:heating/#").succeeds();
    by_him(&["address", "delete", "heating/a", "--yes"]).exits_with(6);
    by_him(&["address", "show", "heating/a"]).succeeds();
    mq.run("user disable heat").succeeds();
    by_him(&["address", "show", "heating/a"]).exits_with(6).says("the user name or the password is wrong");
    mq.run("user enable heat").succeeds();
    mq.run_reading("user passwd heat --password-stdin", "battery staple\n").succeeds();
    by_him(&["address", "show", "heating/a"]).exits_with(6);

    let shown = mq.run("user show heat -o json").succeeds();
    let logs = mq.run("logs").succeeds();
    for output in [&shown.stdout, &logs.stdout, &logs.stderr] {
        for secret in ["correct horse", "battery staple", "argon2", "SCRAM"] {
            assert!(!output.contains(secret), "{secret} in {output}");
        }
    }
    assert!(logs.stdout.contains("setPassword"), "every change is in the log: {logs:#?}");
    mq.run("user delete heat --yes").succeeds();
    mq.run("undeploy --yes --purge").succeeds();
}

#[test]
fn documents_of_users_and_roles_are_applied_and_change_nothing_the_second_time() {
    let mq = Mq::new();
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    let documents = include_str!("../../../manifests/examples/users.yaml");
    mq.run_reading("apply -f -", documents)
        .succeeds()
        .prints("created: role sensors")
        .prints("created: user heating");
    let again = mq.run_reading("apply -f -", documents).succeeds();
    assert!(again.lines().iter().all(|line| line.starts_with("unchanged")), "{again:#?}");
    mq.run("user can-i sensor-1 send telemetry/sensor-1/x").succeeds().prints("role `sensors`");
    mq.run("role revoke sensors send:telemetry/${user}/#").succeeds();
    mq.run("user can-i sensor-1 send telemetry/sensor-1/x").exits_with(1);
    mq.run_reading("deploy -f -", documents).exits_with(2).says("mq apply");
    mq.run("undeploy --yes --purge").succeeds();
}
