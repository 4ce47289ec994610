//! `mq deploy` into a cluster: the same commands as on machines, and the same guarantees.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site, image, next_image};
use mq_tests::{Finished, Mq, Running, eventually_within, report};
use serde_json::{Value, json};

/// How long a roll may take on a busy machine.
const ROLL: Duration = Duration::from_secs(240);

const ABSENT: &str = "registry.test/absent:1";

/// The messages of a test.
const MESSAGES: usize = 6;

/// A user with a cluster, and the file of a fleet called `f`.
struct User {
    site: Site,
    mq: Mq,
    file: PathBuf,
}

impl User {
    /// `None` where there are no pods.
    fn new(nodes: u32) -> Option<Self> {
        Self::with(nodes, json!({}))
    }

    /// The same with more in the specification of the fleet.
    fn with(nodes: u32, more: Value) -> Option<Self> {
        if is_skipped() {
            return None;
        }
        let programs = next_image().into_iter().chain([image()]);
        let builder = programs.fold(Cluster::builder(), |builder, image| builder.with_programs(&image));
        let site = Site::with_pods_or_say_why(builder)?;
        let mq = Mq::new();
        site.lead_from(mq.home());
        let mut document = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "f" },
            "spec": {
                "nodes": nodes,
                "workers": 1,
                "drainSeconds": 1,
                "target": { "kubernetes": { "namespace": site.namespace(), "image": image(), "leaveSeconds": 60 } },
            },
        });
        for (name, field) in more.as_object().into_iter().flatten() {
            document["spec"][name] = field.clone();
        }
        let file = mq.home().join("fleet.yaml");
        fs::write(&file, document.to_string()).expect("a file");
        Some(Self { site, mq, file })
    }

    fn mq(&self, words: &str) -> Finished {
        self.mq.start(words).finish_within(ROLL)
    }

    fn deploy(&self, flags: &str) -> Finished {
        self.mq(&format!("deploy -f {} {flags}", self.file.display()))
    }

    fn send(&self) {
        self.mq("address create orders --type queue").succeeds();
        for number in 0..MESSAGES {
            self.mq(&format!("send orders --durable -m message-{number}")).succeeds();
        }
    }

    fn receive(&self) -> Vec<String> {
        let received = self.mq(&format!("recv orders -n {MESSAGES} --wait 20s")).succeeds();
        let mut messages: Vec<String> = received.lines().iter().map(ToString::to_string).collect();
        messages.sort();
        messages
    }

    fn image_of(&self, pod: &str) -> String {
        let pod = self.site.get(&format!("pod/{pod}")).expect("a pod");
        pod["spec"]["containers"][0]["image"].as_str().expect("an image").to_owned()
    }

    fn uid_of(&self, pod: &str) -> String {
        let pod = self.site.get(&format!("pod/{pod}")).expect("a pod");
        pod["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    /// Whom the nodes believe.
    fn authority(&self) -> String {
        let secret = self.site.get("secret/f-mesh").expect("a Secret");
        secret["data"]["ca.crt"].as_str().expect("an authority").to_owned()
    }

    /// What the cluster has of the fleet, beside what the cluster makes of it.
    fn left(&self) -> String {
        let kinds = "pods,services,deployments,statefulsets,configmaps,secrets,leases,persistentvolumeclaims,\
                     serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets";
        let found = self.site.kubectl(&format!("get {kinds} -l app.kubernetes.io/instance=f -o name"));
        found.succeeds().stdout
    }
}

fn sent() -> Vec<String> {
    (0..MESSAGES).map(|number| format!("message-{number}")).collect()
}

#[test]
fn kubernetes_deploy_again_scale_and_undeploy_keep_every_message_and_leave_nothing() {
    let Some(user) = User::new(2) else { return };

    // A dry run makes nothing.
    let planned = user.deploy("--dry-run").succeeds();
    assert!(planned.stdout.contains("object StatefulSet/f-node"), "{planned:#?}");
    assert_eq!(user.left(), "");

    let deployed = user.deploy("").succeeds();
    assert!(deployed.stdout.contains("undo: mq undeploy --name f --purge"), "{deployed:#?}");
    let again = user.deploy("").succeeds();
    assert!(again.stdout.ends_with("unchanged\n"), "{again:#?}");
    let drift = user.mq("fleet drift").succeeds();
    assert!(drift.stdout.contains("no drift"), "{drift:#?}");

    // Every other command reaches the pods through the cluster.
    user.send();
    let nodes = user.mq("node list -o name").succeeds();
    assert_eq!(nodes.lines(), ["node-1", "node-2"]);
    let said = user.mq("logs --node node-1 -n 3").succeeds();
    assert_eq!(said.lines().len(), 3, "{said:#?}");

    // Another authority takes the place of the first one, and nobody is restarted for it.
    let pods = ["f-node-1", "f-node-2"];
    let (before, authority) = (pods.map(|pod| user.uid_of(pod)), user.authority());
    let rotated = user.mq("fleet rotate-ca").succeeds();
    assert!(rotated.stdout.contains("the new authority alone is trusted"), "{rotated:#?}");
    assert_ne!(user.authority(), authority);
    assert_eq!(pods.map(|pod| user.uid_of(pod)), before);
    let again = user.deploy("").succeeds();
    assert!(again.stdout.ends_with("unchanged\n"), "{again:#?}");

    // A pod that goes is emptied first, and its volume is kept.
    user.mq("scale 1").succeeds();
    assert!(user.site.get("pod/f-node-2").is_none());
    let claim = user.site.get("persistentvolumeclaim/data-f-node-2").expect("a claim");
    assert!(claim["metadata"]["annotations"]["mq.messaging/retained-until"].is_string(), "{claim}");
    assert_eq!(user.receive(), sent());

    user.mq("undeploy --purge --yes").succeeds();
    eventually_within(ROLL, "nothing to be left", || user.left().is_empty().then_some(()));
    assert!(
        user.site.get(&format!("namespace/{}", user.site.namespace())).is_some(),
        "somebody else has made it"
    );
}

#[test]
fn kubernetes_upgrade_goes_on_only_while_the_fleet_is_well_and_takes_nothing_from_others() {
    let Some(next) = next_image() else {
        report("left out: MQ_TEST_NEXT_IMAGE does not name another image with the same programs");
        return;
    };
    let next = next.as_str();
    let Some(user) = User::new(2) else { return };
    user.deploy("").succeeds();
    user.send();

    let upgraded = user.mq(&format!("upgrade --image {next}")).succeeds();
    assert!(upgraded.stdout.contains("the image becomes"), "{upgraded:#?}");
    assert_eq!(["f-node-1", "f-node-2"].map(|pod| user.image_of(pod)), [next, next]);

    // An image that cannot be had stops at the first pod, with the reason.
    let failed = user.mq(&format!("upgrade --image {ABSENT} --wait 5s"));
    assert_ne!(failed.code, Some(0), "{failed:#?}");
    assert!(failed.stderr.contains("cannot be pulled"), "{failed:#?}");
    assert!(failed.stderr.contains("node-2 was not touched"), "{failed:#?}");
    assert_eq!(user.image_of("f-node-2"), next);
    let untouched = user.uid_of("f-node-2");
    user.mq("deploy rollback").succeeds();
    assert_eq!(user.uid_of("f-node-2"), untouched, "a pod that is as it is to be is left alone");
    assert_eq!(["f-node-1", "f-node-2"].map(|pod| user.image_of(pod)), [next, next]);
    assert_eq!(user.receive(), sent());

    // What somebody else has changed is theirs until the user says otherwise.
    let theirs = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"f"},"spec":{"type":"NodePort"}}"#;
    user.site
        .kubectl_reading("apply --server-side --force-conflicts --field-manager gitops -f -", theirs)
        .succeeds();
    let refused = user.deploy("");
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert!(
        refused.stderr.contains("gitops") && refused.stderr.contains("--force-conflicts"),
        "{refused:#?}"
    );
    assert_eq!(user.mq("fleet drift").code, Some(1));
}

#[test]
fn kubernetes_deploy_verifies_where_every_client_has_to_say_who_he_is() {
    let more = json!({
        "listeners": {
            // Who comes from beyond the pod has to say who he is, and so has whoever comes by the same listener.
            "amqp": { "host": "0.0.0.0", "port": 5672 },
            "amqps": { "host": "0.0.0.0", "port": 5671 },
        },
    });
    let Some(user) = User::with(2, more) else { return };
    user.deploy("").succeeds();
    let verified = user.mq("restart --rolling --verify --yes").succeeds();
    for lane in ["probe queue", "probe anycast"] {
        let line = verified.stderr.lines().find(|line| line.contains(lane)).unwrap_or_default();
        assert!(line.contains(", 0 lost,") && !line.contains(": 0 messages"), "{verified:#?}");
    }
}

/// `mq` of somebody of this name, on a machine of his own.
fn of_person(name: &str, mq: &Mq, words: &str) -> Running {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut command = mq.command(&words);
    command.env("USER", name);
    Running::start(command, "")
}

#[test]
fn kubernetes_deploy_of_a_second_machine_is_refused_by_name_until_the_first_is_gone() {
    if is_skipped() {
        return;
    }
    // Nobody needs pods: the first waits for one that does not come.
    let site = Site::new();
    let document = json!({
        "apiVersion": "mq.dev/v1",
        "kind": "Fleet",
        "metadata": { "name": "f" },
        "spec": { "target": { "kubernetes": { "namespace": site.namespace(), "image": ABSENT } } },
    });
    let [ann, bob] = [Mq::new(), Mq::new()];
    for mq in [&ann, &bob] {
        site.lead_from(mq.home());
        fs::write(mq.home().join("fleet.yaml"), document.to_string()).expect("a file");
    }
    let holder = || {
        let lease = site.get("lease/f-deploy")?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    };
    let first = of_person("ann", &ann, "deploy -f fleet.yaml --wait 300s");
    let is_of = |name: &str| holder().is_some_and(|holder| holder.starts_with(&format!("{name}@")));
    eventually_within(ROLL, "the lease of the first", || is_of("ann").then_some(()));

    let second = of_person("bob", &bob, "deploy -f fleet.yaml --wait 1s").finish_within(ROLL);
    second.exits_with(8).says("ann@").says("mq deploy -f fleet.yaml");
    assert!(is_of("ann"));

    // Killed, it renews nothing: whoever comes next takes over when the lease has run out.
    drop(first);
    let next = of_person("bob", &bob, "deploy -f fleet.yaml --wait 300s");
    eventually_within(ROLL, "the lease of the second", || is_of("bob").then_some(()));
    drop(next);
}
