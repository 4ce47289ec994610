//! Pods of the tests' cluster, in which the real `mqd` runs.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use mq_model::manifest::AddressType;
use mq_tests::admin::Admin;
use mq_tests::containers::node_config;
use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site, image};
use mq_tests::{Authority, Mq, eventually_within};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long pods may take on a busy machine.
const ROLL: Duration = Duration::from_secs(120);

/// A site with pods that have the programs under test as their image, unless it is left out.
fn site() -> Option<Site> {
    if is_skipped() {
        return None;
    }
    Site::with_pods_or_say_why(Cluster::builder().with_programs(&image()))
}

/// What each node of a fleet of three reads, by file name; nodes find each other by the names of a headless service.
fn configurations() -> Value {
    let mut files = serde_json::Map::new();
    for number in 0..3 {
        let node = format!("node-{}", number + 1);
        let lower = (0..number).map(|lower| format!("mq-{lower}.mq-nodes"));
        let config = node_config(&node, lower, 2_000, |name| format!("/etc/mq/tls/{node}-{name}"));
        files.insert(format!("mq-{number}.yaml"), json!(serde_json::to_string(&config).unwrap()));
    }
    Value::Object(files)
}

fn certificates() -> Value {
    let authority = Authority::new("tests");
    let folder = TempDir::new().unwrap();
    let mut files = serde_json::Map::new();
    for number in 1..=3 {
        let node = format!("node-{number}");
        authority.issue(&node, folder.path());
        for name in ["ca.pem", "node.pem", "node.key"] {
            files.insert(
                format!("{node}-{name}"),
                json!(fs::read_to_string(folder.path().join(name)).unwrap()),
            );
        }
    }
    Value::Object(files)
}

/// A fleet as somebody writes it by hand.
fn fleet(replicas: u32) -> String {
    let probe = |path: &str| {
        json!({
            "httpGet": { "path": path, "port": "http" }, "periodSeconds": 1, "timeoutSeconds": 5,
            "failureThreshold": 60,
        })
    };
    let container = json!({
        "name": "mqd", "image": image(), "args": ["--config", "/etc/mq/config/$(POD_NAME).yaml"],
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "ports": [
            { "name": "amqp", "containerPort": 5672 }, { "name": "http", "containerPort": 8080 },
            { "name": "mesh", "containerPort": 7672 },
        ],
        "livenessProbe": probe("/livez"), "readinessProbe": probe("/readyz"),
        "securityContext": { "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false },
        "volumeMounts": [
            { "name": "config", "mountPath": "/etc/mq/config", "readOnly": true },
            { "name": "tls", "mountPath": "/etc/mq/tls", "readOnly": true },
            { "name": "data", "mountPath": "/var/lib/mq" },
        ],
    });
    let labels = json!({ "app": "mq" });
    let claim = json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "config" }, "data": configurations() },
        { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "tls" }, "stringData": certificates() },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "mq-nodes" },
            "spec": {
                "clusterIP": "None", "selector": labels, "publishNotReadyAddresses": true,
                "ports": [{ "name": "mesh", "port": 7672 }],
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "mq" },
            "spec": { "type": "NodePort", "selector": labels, "ports": [
                { "name": "amqp", "port": 5672, "targetPort": "amqp" },
                { "name": "http", "port": 8080, "targetPort": "http" },
            ] },
        },
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "mq" },
            "spec": {
                "serviceName": "mq-nodes", "replicas": replicas, "podManagementPolicy": "Parallel",
                "selector": { "matchLabels": labels }, "volumeClaimTemplates": [claim],
                "template": { "metadata": { "labels": labels }, "spec": {
                    "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532 },
                    "terminationGracePeriodSeconds": 30, "automountServiceAccountToken": false,
                    "containers": [container],
                    "volumes": [
                        { "name": "config", "configMap": { "name": "config" } },
                        { "name": "tls", "secret": { "secretName": "tls", "defaultMode": 0o440 } },
                    ],
                } },
            },
        },
    ] })
    .to_string()
}

/// The port of a service as one of a node.
fn node_port(site: &Site, name: &str) -> SocketAddr {
    SocketAddr::from((site.node(), site.node_port("mq", name)))
}

#[track_caller]
fn roll_out(site: &Site, what: &str) {
    let rollout = site.start(&format!("rollout status {what} --timeout 120s"), "");
    let finished = rollout.finish_within(ROLL);
    if finished.code != Some(0) {
        let pods = site.kubectl("get pods,events -o yaml").stdout;
        let logs = site.kubectl("logs -l app=mq --tail 20 --prefix").stdout;
        panic!("{finished:#?}\n{pods}\n{logs}");
    }
}

#[test]
fn a_fleet_in_pods_meshes_serves_and_keeps_what_it_stores() {
    let Some(site) = site() else { return };
    site.kubectl_reading("apply --server-side -f -", &fleet(3)).succeeds();
    roll_out(&site, "statefulset/mq");
    let http = node_port(&site, "http");
    eventually_within(ROLL, "a fleet of three", || {
        let answer = Admin::new(http).request("GET", "/api/v1/mesh", None);
        let mesh: Value = serde_json::from_str(&answer.body).ok()?;
        let up = mesh["nodes"].as_array()?.iter().filter(|node| node["state"] == "up").count();
        (up == 3).then_some(())
    });
    Admin::new(http).create("orders", AddressType::Queue);
    let mq = Mq::new();
    let url = format!("amqp://{}/orders", node_port(&site, "amqp"));
    // Each connection goes to the next pod.
    for number in 0..6 {
        mq.run(&format!("send {url} -m message-{number}")).succeeds();
    }
    site.kubectl("delete pod mq-0 --grace-period=0 --force").succeeds();
    roll_out(&site, "statefulset/mq");
    let received = eventually_within(ROLL, "what was stored before a pod was lost", || {
        let received = mq.run(&format!("recv {url} -n 6 --timeout 10s"));
        (received.code == Some(0)).then_some(received.stdout)
    });
    for number in 0..6 {
        assert!(received.contains(&format!("message-{number}")), "{received}");
    }
    site.kubectl("logs mq-0 --tail 5").succeeds();
}

/// A pod of the image that does nothing but serve.
fn pod(change: impl FnOnce(&mut Value)) -> String {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "labels": { "app": "mq" } },
        "spec": {
            "restartPolicy": "Always", "securityContext": { "fsGroup": 65532 },
            "containers": [{
                "name": "mqd", "image": image(), "args": ["--config", "/etc/mq/mqd.yaml"],
                "volumeMounts": [
                    { "name": "config", "mountPath": "/etc/mq" }, { "name": "data", "mountPath": "/var/lib/mq" },
                ],
            }],
            "volumes": [{ "name": "config", "configMap": { "name": "config" } }, { "name": "data", "emptyDir": {} }],
        },
    });
    change(&mut pod);
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "config" },
        "data": { "mqd.yaml": "state-dir: /var/lib/mq\n" },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [config, pod] }).to_string()
}

#[track_caller]
fn waiting_reason(site: &Site, reason: &str) -> Value {
    eventually_within(ROLL, reason, || {
        let pod = site.get("pod/p")?;
        let state = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (state["reason"] == reason).then(|| state["message"].clone())
    })
}

#[test]
fn a_pod_says_why_it_does_not_run() {
    let Some(site) = site() else { return };
    let image = pod(|pod| pod["spec"]["containers"][0]["image"] = json!("registry.test/none:1"));
    site.kubectl_reading("apply -f -", &image).succeeds();
    waiting_reason(&site, "ImagePullBackOff");
    site.start("delete pod p --now", "").finish_within(ROLL).succeeds();
    let root = pod(|pod| {
        pod["spec"]["securityContext"]["runAsUser"] = json!(0);
        pod["spec"]["securityContext"]["runAsNonRoot"] = json!(true);
    });
    site.kubectl_reading("apply -f -", &root).succeeds();
    waiting_reason(&site, "CreateContainerConfigError");
    site.start("delete pod p --now", "").finish_within(ROLL).succeeds();
    let wrong = pod(|pod| pod["spec"]["containers"][0]["args"] = json!(["--config", "/etc/mq/none.yaml"]));
    site.kubectl_reading("apply -f -", &wrong).succeeds();
    waiting_reason(&site, "CrashLoopBackOff");
    site.kubectl("logs p --previous").succeeds().prints("/etc/mq/none.yaml");
}

#[test]
fn a_budget_keeps_its_pods_from_eviction() {
    let Some(site) = site() else { return };
    site.kubectl_reading("apply -f -", &pod(|_| {})).succeeds();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "b" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "mq" } } },
    });
    site.kubectl_reading("apply -f -", &budget.to_string()).succeeds();
    site.start("wait pod/p --for condition=Ready --timeout 110s", "").finish_within(ROLL).succeeds();
    let path = format!("/api/v1/namespaces/{}/pods/p/eviction", site.namespace());
    let eviction =
        json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } }).to_string();
    let evict = || site.kubectl_reading(&format!("create --raw {path} -f -"), &eviction);
    evict().exits_with(1).says("disruption budget");
    site.kubectl("delete pdb b").succeeds();
    evict().succeeds();
    eventually_within(ROLL, "the end of the pod", || site.get("pod/p").is_none().then_some(()));
}
