//! Fleets as objects of a cluster: what a `Fleet` says is what runs there.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site, image};
use mq_tests::{Finished, Mq, eventually_within, report};
use serde_json::{Value, json};

/// How long a roll may take on a busy machine.
const ROLL: Duration = Duration::from_secs(240);
/// An image that nobody has.
const ABSENT: &str = "registry.test/absent:1";
/// The queues of the test, over whose homes messages are spread.
const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

/// A namespace with an operator of fleets.
struct Operated {
    site: Site,
    mq: Mq,
}

impl Operated {
    /// `None` where there are no pods.
    fn new() -> Option<Self> {
        if is_skipped() {
            return None;
        }
        let site = Site::with_pods_or_say_why(Cluster::builder().with_programs(&image()))?;
        let mq = Mq::new();
        site.lead_from(mq.home());
        let rendered =
            mq.run(&format!("render operator --namespace {} --image {}", site.namespace(), image()));
        let operated = Self { site, mq };
        operated.site.kubectl_reading("apply --server-side -f -", &rendered.succeeds().stdout).succeeds();
        Some(operated)
    }

    fn fleet(&self, name: &str, nodes: u32) -> Value {
        json!({
            "apiVersion": "mq.messaging/v1",
            "kind": "Fleet",
            "metadata": { "name": name },
            "spec": {
                "nodes": nodes,
                "workers": 1,
                "drainSeconds": 1,
                "listeners": { "amqps": { "host": "0.0.0.0", "port": 5671 } },
                "tls": { "names": [self.site.node().to_string()] },
                "target": { "kubernetes": {
                    "image": image(),
                    "service": { "type": "node-port" },
                    "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                    "leaveSeconds": 60,
                } },
            },
        })
    }

    fn apply(&self, object: &Value) -> Finished {
        self.site.kubectl_reading("apply -f -", &object.to_string())
    }

    fn change(&self, spec: &Value) {
        let change = json!({ "spec": spec }).to_string();
        self.site.start("patch fleet f --type merge --patch-file /dev/stdin", &change).finish().succeeds();
    }

    /// A condition of the Fleet, when it is about the object as it is.
    fn condition(&self, kind: &str) -> Option<Value> {
        let object = self.site.get("fleet/f")?;
        let conditions = object["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        (found["observedGeneration"] == object["metadata"]["generation"]).then(|| found.clone())
    }

    #[track_caller]
    fn wait_for(&self, kind: &str, status: &str, reason: &str) -> String {
        eventually_within(ROLL, &format!("{kind} {status} {reason}"), || {
            let found = self.condition(kind)?;
            let is_it = found["status"] == status && found["reason"] == reason;
            is_it.then(|| found["message"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn uid(&self, pod: &str) -> Option<Value> {
        self.site.get(&format!("pod/{pod}")).map(|pod| pod["metadata"]["uid"].clone())
    }

    /// Runs a command at a listener, with what the Secret of the administrator holds.
    fn run(&self, words: &str, port: &str, access: &str, input: &str) -> Finished {
        let place = SocketAddr::from((self.site.node(), self.site.node_port("f", port)));
        let url = match port {
            "https" => format!("--admin https://{place}"),
            scheme => format!("--url {scheme}://{place}"),
        };
        let ca = self.mq.home().join("ca.crt");
        self.mq.run_reading(&format!("{words} {url} --ca {} {access}", ca.display()), input)
    }

    fn as_admin(&self, words: &str, input: &str) -> Finished {
        let secret = self.site.get("secret/f-admin").expect("the Secret of the administrator");
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            let text = secret["data"][name].as_str().expect("a field of the Secret");
            fs::write(self.mq.home().join(name), STANDARD.decode(text).expect("base64")).expect("a file");
        }
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| self.mq.home().join(name));
        let access = format!("--cert {} --key {}", certificate.display(), key.display());
        self.run(words, "https", &access, input)
    }

    fn as_user(&self, words: &str) -> Finished {
        let file = self.mq.home().join("password");
        fs::write(&file, "battery staple").expect("a file");
        self.run(words, "amqps", &format!("--user shop --password-file {}", file.display()), "")
    }

    fn receive(&self) -> Vec<String> {
        let received = QUEUES.map(|queue| {
            let one = self.as_user(&format!("recv {queue} -n 1 --wait 20s")).succeeds();
            one.lines().first().map(ToString::to_string).unwrap_or_default()
        });
        received.to_vec()
    }
}

/// Who reads of a failure reads what the cluster and the pods say.
impl Drop for Operated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let objects = self.site.kubectl("get fleets,pods,events,lease -o yaml").stdout;
            let logs =
                |more: &str| self.site.kubectl(&format!("logs deployment/mq-fleets --tail 80 {more}")).stdout;
            let operator = logs("--previous") + &logs("");
            let nodes = self.site.kubectl("logs -l app.kubernetes.io/name=mq --tail 20 --prefix").stdout;
            report(&format!("---- objects\n{objects}\n---- operator\n{operator}\n---- nodes\n{nodes}\n----"));
        }
    }
}

/// One site for all of it: a cluster and a fleet take longer than what is tried in them.
#[test]
fn a_fleet_object_becomes_a_fleet_follows_what_it_says_and_goes_no_sooner_than_its_messages() {
    let Some(operated) = Operated::new() else { return };
    let site = &operated.site;
    operated.apply(&operated.fleet("1st", 1)).exits_with(1).says("a letter first");
    operated.apply(&operated.fleet("f", 1)).succeeds();
    operated.wait_for("Ready", "True", "AsSpecified");
    let listed = site.kubectl("get fleets").succeeds();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = listed.lines().into_iter().map(words).collect();
    assert_eq!(lines[0], ["NAME", "NODES", "UP", "VERSION", "IMAGE", "READY", "REASON", "AGE"]);
    assert_eq!(lines[1][..3], ["f", "1", "1"]);
    assert_eq!(lines[1][4..7], [image().as_str(), "True", "AsSpecified"]);

    // A node more, and nobody is restarted for it.
    let first = operated.uid("f-node-1").expect("a pod");
    operated.change(&json!({ "nodes": 2 }));
    operated.wait_for("Ready", "True", "AsSpecified");
    assert_eq!(operated.site.get("fleet/f").expect("the Fleet")["status"]["readyNodes"], 2);
    assert_eq!(operated.uid("f-node-1"), Some(first));

    let shop = "user create shop --password-stdin --grant send:# --grant recv:#";
    operated.as_admin(shop, "battery staple\n").succeeds();
    for queue in QUEUES {
        operated.as_admin(&format!("address create {queue} --type queue"), "").succeeds();
        operated.as_user(&format!("send {queue} --durable -m kept-{queue}")).succeeds();
    }

    // Whoever deploys by hand is told who says what the fleet is.
    let document = json!({
        "apiVersion": "mq.dev/v1",
        "kind": "Fleet",
        "metadata": { "name": "f" },
        "spec": { "target": { "kubernetes": { "namespace": site.namespace(), "image": image() } } },
    });
    let file = operated.mq.home().join("fleet.yaml");
    fs::write(&file, document.to_string()).expect("a file");
    operated.mq.run(&format!("deploy -f {}", file.display())).exits_with(8).says("fleet/f");

    // An image that cannot be had stops at the first pod; back again, the other pod is the one that it was.
    let second = operated.uid("f-node-2").expect("a pod");
    operated.change(&json!({ "target": { "kubernetes": { "image": ABSENT } } }));
    let message = operated.wait_for("Degraded", "True", "NodeNotReady");
    assert!(message.contains("cannot be pulled"), "{message}");
    assert_eq!(operated.condition("Ready").expect("a condition")["status"], "False");
    operated.change(&json!({ "target": { "kubernetes": { "image": image() } } }));
    operated.wait_for("Ready", "True", "AsSpecified");
    operated.wait_for("Degraded", "False", "AsSpecified");
    assert_eq!(operated.uid("f-node-2"), Some(second));

    // A node less: it is emptied first, and its volume is kept.
    operated.change(&json!({ "nodes": 1 }));
    operated.wait_for("Ready", "True", "AsSpecified");
    assert_eq!(operated.uid("f-node-2"), None);
    let kept = |number: u32| {
        let claim = site.get(&format!("persistentvolumeclaim/data-f-node-{number}")).expect("a claim");
        claim["metadata"]["annotations"]["mq.messaging/retained-until"].is_string()
    };
    assert!(kept(2) && !kept(1));

    // What stores messages stays, and so does what they are in.
    site.kubectl("delete fleet f --wait=false").succeeds();
    let message = operated.wait_for("Ready", "False", "HoldsMessages");
    assert!(message.contains("4 messages"), "{message}");
    assert_eq!(operated.receive(), QUEUES.map(|queue| format!("kept-{queue}")));
    eventually_within(ROLL, "the end of the Fleet", || site.get("fleet/f").is_none().then_some(()));
    let kinds =
        "pods,services,deployments,statefulsets,configmaps,secrets,leases,serviceaccounts,roles,rolebindings";
    let left = site.kubectl(&format!("get {kinds} -l app.kubernetes.io/instance=f -o name")).succeeds();
    assert_eq!(left.stdout, "");
    assert!(kept(1) && kept(2));
}

/// A user who deploys a fleet called `f` by hand, from a machine of his own.
struct Hand {
    mq: Mq,
    file: PathBuf,
}

impl Hand {
    fn new(site: &Site) -> Self {
        let mq = Mq::new();
        site.lead_from(mq.home());
        let document = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "f" },
            "spec": {
                "nodes": 2,
                "workers": 1,
                "drainSeconds": 1,
                "target": { "kubernetes": { "namespace": site.namespace(), "image": image(), "leaveSeconds": 60 } },
            },
        });
        let file = mq.home().join("fleet.yaml");
        fs::write(&file, document.to_string()).expect("a file");
        Self { mq, file }
    }

    fn mq(&self, words: &str) -> Finished {
        self.mq.start(words).finish_within(ROLL)
    }

    fn deploy(&self) -> Finished {
        self.mq(&format!("deploy -f {}", self.file.display()))
    }
}

/// Which pods there are, and whom they believe.
fn pods_and_authority(operated: &Operated) -> ([Option<Value>; 2], String) {
    let secret = operated.site.get("secret/f-mesh").expect("a Secret");
    let authority = secret["data"]["ca.crt"].as_str().expect("an authority").to_owned();
    (["f-node-1", "f-node-2"].map(|pod| operated.uid(pod)), authority)
}

#[test]
fn a_fleet_goes_from_hand_to_an_object_and_back_with_its_pods_its_authority_and_its_messages() {
    let Some(operated) = Operated::new() else { return };
    let site = &operated.site;
    let hand = Hand::new(site);
    hand.deploy().succeeds();
    hand.mq("address create orders --type queue").succeeds();
    hand.mq("send orders --durable -m kept").succeeds();
    let (pods, authority) = pods_and_authority(&operated);

    // An object of its name changes nothing, and says what to do.
    let mut claim = operated.fleet("f", 1);
    claim["spec"]["target"]["kubernetes"] = json!({ "image": image() });
    operated.apply(&claim).succeeds();
    let message = operated.wait_for("Ready", "False", "Conflict");
    assert!(message.contains("`mq fleet hand-over --name f`"), "{message}");
    assert_eq!(pods_and_authority(&operated), (pods.clone(), authority.clone()));

    // Whoever has the authority gives it away: nobody is restarted, and believes whom he has believed.
    let described = hand.mq("fleet hand-over --name f").succeeds();
    site.kubectl_reading("apply -f -", &described.stdout).succeeds();
    operated.wait_for("Ready", "True", "AsSpecified");
    assert_eq!(pods_and_authority(&operated), (pods.clone(), authority.clone()));
    hand.deploy().exits_with(8).says("mq.messaging/release");
    hand.mq("fleet hand-over --name f").exits_with(8).says("already");

    // Another authority, asked for as a restart is, and nobody is restarted for it.
    site.kubectl("annotate fleet f mq.messaging/rotate-ca=first").succeeds();
    eventually_within(ROLL, "another authority", || {
        let authority = site.get("fleet/f")?["status"]["authority"].clone();
        (authority["rotated"] == "first" && authority["expires"].is_string()).then_some(())
    });
    operated.wait_for("Progressing", "False", "AsSpecified");
    let (same, rotated) = pods_and_authority(&operated);
    assert_eq!(same, pods);
    assert_ne!(rotated, authority);

    // An object that is released leaves what it has made, and another machine goes on with that.
    site.kubectl("annotate fleet f mq.messaging/release=true").succeeds();
    site.kubectl("delete fleet f").succeeds();
    assert_eq!(pods_and_authority(&operated), (pods.clone(), rotated.clone()));
    let other = Hand::new(site);
    other.deploy().succeeds();
    assert_eq!(pods_and_authority(&operated), (pods, rotated));
    assert!(site.get("secret/f-fleet").is_none(), "the authority is where the fleet is deployed from");
    let received = other.mq("recv orders -n 1 --wait 20s").succeeds();
    assert_eq!(received.lines(), ["kept"]);
}
