//! A day with queues and topics, from the command line alone: a real `mq`, a real `mqd`, and `kill -9`.

use mq_tests::{Mq, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const DEPLOY: &str = "deploy --amqp-port 0 --mqtt-port 0 --http-port 0";

fn deployed() -> Mq {
    let mq = Mq::new();
    mq.run(DEPLOY).succeeds();
    mq
}

/// Ends the only node as a crash would, and deploys again.
fn crash(mq: &Mq) {
    let status = mq.run("status -o json").succeeds().json();
    let pid = status["items"][0]["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    kill_process(pid.expect("a pid"), Signal::KILL).expect("the daemon is alive");
    mq.run(DEPLOY).succeeds();
}

/// The queue status of an address.
fn queue(mq: &Mq, address: &str) -> Value {
    mq.run_with(&["address", "show", address, "-o", "json"]).succeeds().json()["status"]["queue"].clone()
}

fn records(count: u32) -> String {
    (1..=count).map(|number| format!("{{\"body\": \"order {number}\"}}\n")).collect()
}

fn bodies(count: u32) -> Vec<String> {
    (1..=count).map(|number| format!("order {number}")).collect()
}

#[test]
fn what_was_accepted_while_nobody_listened_survives_a_crash() {
    let mq = deployed();
    mq.run("address create orders.dlq --type queue").succeeds();
    mq.run(
        "address create orders --type queue --max-deliveries 5 --dead-letter orders.dlq --ttl-max 1h --max-bytes 2GiB \
         --on-full reject",
    )
    .succeeds();
    let file = mq.home().join("messages.jsonl");
    std::fs::write(&file, records(500)).expect("the home can be written");
    mq.run_with(&["send", "orders", "-f", file.to_str().expect("a path"), "--durable"])
        .succeeds()
        .says("500 accepted");
    crash(&mq);
    assert_eq!(mq.run("browse orders -n 5").succeeds().lines(), bodies(500)[..5]);
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), bodies(500));
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), [""; 0]);
    assert_eq!(queue(&mq, "orders")["messages"], 0);
    crash(&mq);
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), [""; 0], "settled stays settled");
}

#[test]
fn rejected_messages_wait_in_the_dead_letters_with_the_reason_and_can_be_tried_again() {
    let mq = deployed();
    mq.run("address create orders.dlq --type queue").succeeds();
    mq.run("address create orders --type queue --max-deliveries 2 --dead-letter orders.dlq").succeeds();
    mq.run_reading("send orders --json-lines --durable", &records(3)).succeeds();
    mq.run("recv orders -n 1 --ack reject").succeeds();
    // The second message fails twice.
    for _ in 0..2 {
        mq.run("recv orders -n 1 --ack modify --credit 1").succeeds();
    }
    eventually("two dead letters", || (queue(&mq, "orders.dlq")["messages"] == 2).then_some(()));
    crash(&mq);
    let dead = mq.run("browse orders.dlq -o json").succeeds();
    let reasons: Vec<Value> = dead
        .lines()
        .iter()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            let annotations = &record["message_annotations"];
            assert_eq!(annotations["x-opt-dead-letter-source"], "orders", "{record}");
            annotations["x-opt-dead-letter-reason"].clone()
        })
        .collect();
    assert_eq!(reasons, ["rejected", "max-deliveries"]);
    mq.run("address move orders.dlq orders -n 1").succeeds().prints("moved 1 message");
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), ["order 3", "order 1"]);
    mq.run("address purge orders.dlq").succeeds().prints("dropped 1 message of orders.dlq");
    assert_eq!(queue(&mq, "orders.dlq")["messages"], 0);
}

#[test]
fn a_full_queue_rejects_and_says_why() {
    let mq = deployed();
    mq.run("address create orders --type queue --max-messages 2 --on-full reject").succeeds();
    let sent = mq.run_reading("send orders --json-lines --durable", &records(5)).exits_with(9);
    assert!(sent.stderr.contains("2 accepted") && sent.stderr.contains("3 rejected"), "{sent:?}");
    assert!(sent.stderr.contains("amqp:resource-limit-exceeded"), "{sent:?}");
    assert_eq!(queue(&mq, "orders")["rejected"], 3);
}

#[test]
fn subscriptions_of_a_topic_get_what_they_ask_for_although_they_come_later() {
    let mq = deployed();
    mq.run("address create events --type topic").succeeds();
    let arguments =
        ["address", "create", "events::billing", "--type", "subscription", "--filter", "events/+/paid"];
    mq.run_with(&arguments).succeeds();
    // A durable subscription begins when it is first received from.
    mq.run("recv events/# --until-empty --durable-subscription audit").succeeds();
    let selector = ["--selector", "amount > 10"];
    let large = |flags: &[&str]| {
        mq.run_with(&[&["recv", "events/#", "--until-empty"], flags, &selector[..]].concat())
    };
    large(&["--durable-subscription", "large"]).succeeds();
    for (name, amount) in [("events/eu/paid", "5"), ("events/us/paid", "50"), ("events/eu/sent", "500")] {
        mq.run_with(&["send", name, name, "--durable", "-H", &format!("amount:={amount}")]).succeeds();
    }
    crash(&mq);
    let lines = |finished: mq_tests::Finished| finished.succeeds().stdout;
    assert_eq!(lines(mq.run("recv events::billing --until-empty")), "events/eu/paid\nevents/us/paid\n");
    let all = "events/eu/paid\nevents/us/paid\nevents/eu/sent\n";
    assert_eq!(lines(mq.run("recv events/# --until-empty --durable-subscription audit")), all);
    assert_eq!(lines(large(&["--durable-subscription", "large"])), "events/us/paid\nevents/eu/sent\n");
    let listed = mq.run("subscription list events -o json").succeeds().json();
    let names: Vec<&Value> =
        listed["items"].as_array().expect("a list").iter().map(|item| &item["name"]).collect();
    assert_eq!(names.len(), 3, "{listed:#}");
    for name in names {
        let name = name.as_str().expect("a name");
        if name != "billing" {
            mq.run_with(&["subscription", "delete", "events", name]).succeeds();
        }
    }
    assert_eq!(mq.run("subscription list events -o name").succeeds().lines(), ["events::billing"]);
}

#[test]
fn a_message_for_later_is_not_there_before_its_time() {
    let mq = deployed();
    mq.run("address create reminders --type queue").succeeds();
    mq.run("send reminders later --durable --delay 1h").succeeds();
    mq.run("send reminders soon --durable --at 2020-01-01T00:00:00Z").succeeds();
    crash(&mq);
    assert_eq!(mq.run("recv reminders --until-empty").succeeds().lines(), ["soon"]);
    let queue = queue(&mq, "reminders");
    assert_eq!((&queue["messages"], &queue["delayed"]), (&1.into(), &1.into()));
}

#[test]
fn the_longest_time_to_live_holds_for_messages_that_say_none() {
    let mq = deployed();
    mq.run("address create old --type queue").succeeds();
    mq.run("address create orders --type queue --ttl-max 1s --expiry-address old").succeeds();
    mq.run("send orders mayfly --durable").succeeds();
    eventually("an expired message", || (queue(&mq, "old")["messages"] == 1).then_some(()));
    assert_eq!(queue(&mq, "orders")["expired"], 1);
    let record = mq.run("recv old --until-empty -o json").succeeds().json();
    assert_eq!(record["message_annotations"]["x-opt-dead-letter-reason"], "expired", "{record}");
}

#[test]
fn a_last_value_queue_keeps_one_message_of_each_key_and_a_window_drops_duplicates() {
    let mq = deployed();
    mq.run("address create readings --type queue --last-value").succeeds();
    for (key, body) in [("a", "1"), ("b", "2"), ("a", "3")] {
        mq.run_with(&["send", "readings", body, "--durable", "--last-value-key", key]).succeeds();
    }
    let mut kept = mq
        .run("recv readings --until-empty")
        .succeeds()
        .stdout
        .lines()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    kept.sort();
    assert_eq!(kept, ["2", "3"]);

    mq.run("address create once --type queue --deduplicate 10m").succeeds();
    for id in ["1", "2", "1"] {
        mq.run_with(&["send", "once", id, "--durable", "--message-id", id]).succeeds();
    }
    assert_eq!(mq.run("recv once --until-empty").succeeds().lines(), ["1", "2"]);
}

#[test]
fn the_priorities_of_messages_decide_their_order() {
    let mq = deployed();
    mq.run("address create alarms --type queue").succeeds();
    for (priority, body) in [("1", "low"), ("9", "high"), ("4", "middle"), ("9", "high too")] {
        mq.run_with(&["send", "alarms", body, "--durable", "--priority", priority]).succeeds();
    }
    crash(&mq);
    let received = mq.run("recv alarms --until-empty").succeeds();
    assert_eq!(received.lines(), ["high", "high too", "middle", "low"]);
}

#[test]
fn a_manifest_with_queues_is_deployed_and_found_unchanged() {
    let mq = Mq::new();
    let examples = mq_tests::repository().join("manifests/examples/queues.yaml");
    let examples = examples.to_str().expect("a path");
    mq.run(DEPLOY).succeeds();
    let applied = mq.run_with(&["apply", "-f", examples]).succeeds();
    assert_eq!(applied.lines().iter().filter(|line| line.starts_with("created")).count(), 7, "{applied:?}");
    crash(&mq);
    let again = mq.run_with(&["apply", "-f", examples]).succeeds();
    assert_eq!(again.lines().iter().filter(|line| line.starts_with("unchanged")).count(), 7, "{again:?}");
    let status = mq.run("status -o json").succeeds().json();
    assert_eq!(status["items"][0]["store"]["state"], "ready");
    assert_eq!(status["items"][0]["store"]["durability"], "fsync");
}
