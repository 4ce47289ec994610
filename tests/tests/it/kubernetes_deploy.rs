//! `mq deploy` into a cluster: the same commands as on machines, and the same guarantees.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site};
use mq_tests::{Finished, Mq};
use serde_json::json;

/// How long a roll may take on a busy machine.
const ROLL: Duration = Duration::from_secs(240);

const IMAGE: &str = "registry.test/mq:1";
const NEXT: &str = "registry.test/mq:2";
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
        if is_skipped() {
            return None;
        }
        let builder = Cluster::builder().with_programs(IMAGE).with_programs(NEXT);
        let site = Site::with_pods_or_say_why(builder)?;
        let mq = Mq::new();
        let folder = mq.home().join(".kube");
        fs::create_dir(&folder).expect("a folder");
        fs::copy(site.kubeconfig(), folder.join("config")).expect("a kubeconfig");
        let document = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "f" },
            "spec": {
                "nodes": nodes,
                "workers": 1,
                "drainSeconds": 1,
                "target": { "kubernetes": { "namespace": site.namespace(), "image": IMAGE, "leaveSeconds": 60 } },
            },
        });
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

    // A pod that goes is emptied first, and its volume is kept.
    user.mq("scale 1").succeeds();
    assert!(user.site.get("pod/f-node-2").is_none());
    let claim = user.site.get("persistentvolumeclaim/data-f-node-2").expect("a claim");
    assert!(claim["metadata"]["annotations"]["mq.messaging/retained-until"].is_string(), "{claim}");
    assert_eq!(user.receive(), sent());

    user.mq("undeploy --purge --yes").succeeds();
    assert_eq!(user.left(), "");
    assert!(
        user.site.get(&format!("namespace/{}", user.site.namespace())).is_some(),
        "somebody else has made it"
    );
}

#[test]
fn kubernetes_upgrade_goes_on_only_while_the_fleet_is_well_and_takes_nothing_from_others() {
    let Some(user) = User::new(2) else { return };
    user.deploy("").succeeds();
    user.send();

    let upgraded = user.mq(&format!("upgrade --image {NEXT}")).succeeds();
    assert!(upgraded.stdout.contains("the image becomes"), "{upgraded:#?}");
    assert_eq!(["f-node-1", "f-node-2"].map(|pod| user.image_of(pod)), [NEXT, NEXT]);

    // An image that cannot be had stops at the first pod, with the reason.
    let failed = user.mq(&format!("upgrade --image {ABSENT} --wait 5s"));
    assert_ne!(failed.code, Some(0), "{failed:#?}");
    assert!(failed.stderr.contains("cannot be pulled"), "{failed:#?}");
    assert!(failed.stderr.contains("node-2 was not touched"), "{failed:#?}");
    assert_eq!(user.image_of("f-node-2"), NEXT);
    user.mq("deploy rollback").succeeds();
    assert_eq!(["f-node-1", "f-node-2"].map(|pod| user.image_of(pod)), [NEXT, NEXT]);
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
