//! The operator in its pods: what objects of the cluster say is what the fleet has.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site, image};
use mq_tests::{Finished, Mq, eventually_within, report};
use serde_json::{Value, json};

/// How long pods may take on a busy machine.
const ROLL: Duration = Duration::from_secs(240);

/// A fleet called `f` in the cluster of a test, with an operator.
struct Fleet {
    site: Site,
    mq: Mq,
    node: IpAddr,
}

impl Fleet {
    /// Applies what is rendered; `None` where there are no pods.
    fn apply() -> Option<Self> {
        if is_skipped() {
            return None;
        }
        let site = Site::with_pods_or_say_why(Cluster::builder().with_programs(&image()))?;
        let (mq, node) = (Mq::new(), site.node());
        let file = mq.home().join("fleet.yaml");
        let document = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "f" },
            "spec": {
                "workers": 1,
                "drainSeconds": 1,
                "listeners": { "amqps": { "host": "0.0.0.0", "port": 5671 } },
                "tls": { "names": [node.to_string()] },
                "target": { "kubernetes": {
                    "namespace": site.namespace(),
                    "image": image(),
                    "service": { "type": "node-port" },
                    "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                    "operator": true,
                } },
            },
        });
        fs::write(&file, document.to_string()).expect("a file");
        for what in ["secrets", "kubernetes"] {
            let rendered = mq.run_with(&["render", what, "-f", file.to_str().expect("UTF-8")]).succeeds();
            site.kubectl_reading("apply --server-side -f -", &rendered.stdout).succeeds();
        }
        Some(Self { site, mq, node })
    }

    fn roll_out(&self, what: &str) {
        let finished =
            self.site.start(&format!("rollout status {what} --timeout 230s"), "").finish_within(ROLL);
        assert_eq!(finished.code, Some(0), "{finished:#?}");
    }

    fn logs(&self) -> String {
        let of = |name: &str| {
            let selector = format!("-l app.kubernetes.io/name={name},app.kubernetes.io/instance=f");
            self.site.kubectl(&format!("logs {selector} --tail 30 --prefix")).stdout
        };
        of("mq") + &of("mq-operator")
    }

    /// Status and reason of the condition `Ready` of an object, when it is about the object as it is.
    fn condition(&self, object: &str) -> Option<(String, String)> {
        let object = self.site.get(object)?;
        let conditions = object["status"]["conditions"].as_array()?;
        let condition = conditions.iter().find(|one| one["type"] == "Ready")?;
        let is_current = condition["observedGeneration"] == object["metadata"]["generation"];
        let text = |field: &str| condition[field].as_str().map(str::to_owned);
        is_current.then_some((text("status")?, text("reason")?))
    }

    #[track_caller]
    fn wait_for(&self, object: &str, status: &str, reason: &str) {
        let wanted = Some((status.to_owned(), reason.to_owned()));
        eventually_within(ROLL, &format!("{object} to be {reason}"), || {
            (self.condition(object) == wanted).then_some(())
        });
    }

    #[track_caller]
    fn wait_for_end(&self, object: &str) {
        eventually_within(ROLL, &format!("{object} to go"), || self.site.get(object).is_none().then_some(()));
    }

    /// Runs a command at a listener; the fleet's authority is believed.
    fn run(&self, words: &[&str], port: &str, access: &[&str]) -> Finished {
        let place = SocketAddr::from((self.node, self.site.node_port("f", port)));
        let url = match port {
            "https" => ["--admin".to_owned(), format!("https://{place}")],
            scheme => ["--url".to_owned(), format!("{scheme}://{place}")],
        };
        let ca = self.authority("ca.pem");
        let ca = ["--ca", ca.to_str().expect("UTF-8")];
        let url = [url[0].as_str(), url[1].as_str()];
        self.mq.run_with(&[words, &url, &ca, access].concat())
    }

    fn authority(&self, name: &str) -> PathBuf {
        self.mq.home().join("state/mq/f/ca").join(name)
    }

    fn as_admin(&self, words: &[&str]) -> Finished {
        let [certificate, key] = ["admin.pem", "admin.key"].map(|name| self.authority(name));
        let path = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
        self.run(words, "https", &["--cert", &path(&certificate), "--key", &path(&key)])
    }

    /// Runs a command as the user of a Secret.
    fn as_user(&self, secret: &Credentials, words: &[&str]) -> Finished {
        let file = self.mq.home().join("password");
        fs::write(&file, &secret.password).expect("a file");
        let file = file.to_str().expect("UTF-8");
        self.run(words, "amqps", &["--user", &secret.user, "--password-file", file])
    }

    fn credentials(&self, secret: &str) -> Credentials {
        let secret = self.site.get(&format!("secret/{secret}")).expect("the Secret of the user");
        let field = |name: &str| {
            let text = secret["data"][name].as_str().expect("a field of the Secret");
            String::from_utf8(STANDARD.decode(text).expect("base64")).expect("UTF-8")
        };
        Credentials { user: field("username"), password: field("password") }
    }

    /// The pod that holds the lease of the operators.
    fn leader(&self) -> Option<String> {
        let lease = self.site.get("lease/f-operator")?;
        lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty()).map(str::to_owned)
    }
}

/// Who reads of a failure reads what the cluster and the pods say.
impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let objects = self.site.kubectl("get mq,pods,events,lease -o yaml").stdout;
            report(&format!("---- objects\n{objects}\n---- logs\n{}\n----", self.logs()));
        }
    }
}

struct Credentials {
    user: String,
    password: String,
}

fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({ "apiVersion": "mq.messaging/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
        .to_string()
}

/// What somebody applies at once, in no order that counts: later ones are named by those before.
fn objects() -> String {
    let objects = [
        object("Address", "orders", json!({ "type": "queue" })),
        object("Address", "dead", json!({ "address": "orders/dead", "type": "queue" })),
        object(
            "User",
            "shop",
            json!({ "roles": ["shops"], "grants": ["recv:orders"], "passwordSecret": { "name": "shop-mq" } }),
        ),
        object("Role", "shops", json!({ "grants": ["send:orders", "send:orders/dead"] })),
        object("AddressSpace", "acme", json!({ "profile": "small" })),
        object("Address", "acme-orders", json!({ "space": "acme", "address": "orders", "type": "queue" })),
        object("Profile", "small", json!({ "limits": { "maxAddresses": 5 } })),
    ];
    objects.join("\n---\n")
}

const APPLIED: [&str; 7] = [
    "address/orders",
    "address/dead",
    "user.mq.messaging/shop",
    "role.mq.messaging/shops",
    "addressspace/acme",
    "address/acme-orders",
    "profile/small",
];

/// One site for all of it: a cluster and a fleet take longer than what is tried in them.
#[test]
fn objects_stand_for_what_the_fleet_has_whichever_operator_works_and_none_goes_before_its_messages() {
    let Some(fleet) = Fleet::apply() else { return };
    fleet.site.kubectl("scale deployment f-operator --replicas 2").succeeds();
    fleet.roll_out("statefulset/f-node");
    fleet.roll_out("deployment/f-operator");

    fleet.site.kubectl_reading("apply -f -", &objects()).succeeds();
    for object in APPLIED {
        fleet.wait_for(object, "True", "Applied");
    }
    let listed = fleet.site.kubectl("get addresses").succeeds();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = listed.lines().into_iter().map(words).collect();
    assert_eq!(lines[0], ["NAME", "TYPE", "MESSAGES", "CONSUMERS", "READY", "REASON", "AGE"]);
    let orders = lines.iter().find(|line| line[0] == "orders").expect("a line for the object");
    assert_eq!(orders[1..6], ["queue", "0", "0", "True", "Applied"]);
    let names = fleet.as_admin(&["address", "list", "-o", "name"]).succeeds();
    assert!(names.lines().contains(&"orders/dead"), "{names:?}");

    // The password is in a Secret and nowhere else; the role gives the right to send.
    let shop = fleet.credentials("shop-mq");
    assert_eq!(shop.user, "shop");
    // A connector takes messages on as the user of its Secret, once that is there, and ends with its object.
    let ca = fs::read_to_string(fleet.authority("ca.pem")).expect("the authority of the fleet");
    let to_itself = |secret: &str| {
        let spec = json!({
            "urls": ["amqps://127.0.0.1:5671"],
            "user": "shop",
            "tls": { "ca": ca, "serverName": fleet.node.to_string() },
            "send": [{ "from": "orders", "to": "orders/dead" }],
            "credentialsSecret": { "name": secret },
        });
        object("Connector", "on", spec)
    };
    fleet.site.kubectl_reading("apply -f -", &to_itself("nobodies")).succeeds();
    fleet.wait_for("connector.mq.messaging/on", "False", "SecretNotFound");
    fleet.as_admin(&["connector", "show", "on"]).exits_with(7);
    fleet.site.kubectl_reading("apply -f -", &to_itself("shop-mq")).succeeds();
    fleet.wait_for("connector.mq.messaging/on", "True", "Connected");
    fleet.as_user(&shop, &["send", "orders", "-m", "taken on"]).succeeds();
    eventually_within(ROLL, "the message at the other address", || {
        let shown = fleet.as_admin(&["address", "show", "orders/dead", "-o", "json"]).succeeds().json();
        (shown.pointer("/status/queue/messages").and_then(Value::as_u64) == Some(1)).then_some(())
    });
    fleet.site.kubectl("delete connector.mq.messaging on --timeout 60s").succeeds();
    fleet.as_admin(&["connector", "show", "on"]).exits_with(7);

    fleet.as_user(&shop, &["send", "orders", "-m", "kept"]).succeeds();

    // A change is one of the next generation; what cannot be said is refused by the cluster.
    let change = r#"{"spec":{"limits":{"maxMessages":10}}}"#;
    fleet.site.start("patch address orders --type merge --patch-file /dev/stdin", change).finish().succeeds();
    fleet.wait_for("address/orders", "True", "Applied");
    let shown = fleet.as_admin(&["address", "show", "orders", "-o", "json"]).succeeds();
    assert!(shown.stdout.contains("maxMessages"), "{shown:?}");
    let wrong = object("Address", "wrong", json!({ "type": "anycast", "shards": 2 }));
    fleet.site.kubectl_reading("apply -f -", &wrong).exits_with(1).says("shards is for queue alone");
    let other = r#"{"spec":{"address":"others"}}"#;
    let renamed =
        fleet.site.start("patch address orders --type merge --patch-file /dev/stdin", other).finish();
    renamed.exits_with(1).says("address does not change; make another object");
    // What the cluster has no rule for the object says.
    let lost = object("User", "lost", json!({ "roles": ["nobodies"] }));
    fleet.site.kubectl_reading("apply -f -", &lost).succeeds();
    fleet.wait_for("user.mq.messaging/lost", "False", "UnknownRole");
    // Whom the fleet has taken goes with his object, also when it would not take what that says by then.
    let flying = r##"{"spec":{"grants":["send:orders/#/more"]}}"##;
    let flying = fleet
        .site
        .start("patch user.mq.messaging lost --type merge --patch-file /dev/stdin", flying)
        .finish();
    flying.succeeds();
    fleet.wait_for("user.mq.messaging/lost", "False", "Invalid");
    fleet.as_admin(&["user", "show", "lost"]).succeeds();
    fleet.site.kubectl("delete user.mq.messaging lost --timeout 60s").succeeds();
    fleet.as_admin(&["user", "show", "lost"]).exits_with(7);

    // Without a word to anybody the operator that works is gone; the other one goes on when the lease has run out.
    let leader = fleet.leader().expect("an operator works");
    fleet.site.kubectl(&format!("delete pod {leader} --grace-period=0 --force")).succeeds();
    fleet.site.kubectl("delete address orders --wait=false").succeeds();
    fleet.wait_for("address/orders", "False", "HoldsMessages");
    assert_ne!(fleet.leader().as_deref(), Some(leader.as_str()));
    let received = fleet.as_user(&shop, &["recv", "orders", "-n", "1", "--wait", "20s"]).succeeds();
    assert_eq!(received.lines(), ["kept"]);
    fleet.wait_for_end("address/orders");
    let names = fleet.as_admin(&["address", "list", "-o", "name"]).succeeds();
    assert!(!names.lines().contains(&"orders"), "{names:?}");

    // Who says so gives the messages up.
    fleet.as_user(&shop, &["send", "orders/dead", "-m", "given up"]).succeeds();
    fleet.site.kubectl("delete address dead --wait=false").succeeds();
    fleet.wait_for("address/dead", "False", "HoldsMessages");
    fleet.site.kubectl("annotate address dead mq.messaging/drop-messages=true").succeeds();
    fleet.wait_for_end("address/dead");

    // A space is kept for what is in it, and goes behind that.
    fleet.site.kubectl("delete addressspace acme --wait=false").succeeds();
    fleet.wait_for("addressspace/acme", "False", "Refused");
    fleet.site.kubectl("delete address acme-orders --timeout 60s").succeeds();
    fleet.wait_for_end("addressspace/acme");

    // With the user his Secret goes, and nobody logs in with what was in it.
    fleet.site.kubectl("delete user.mq.messaging shop --timeout 60s").succeeds();
    fleet.wait_for_end("secret/shop-mq");
    fleet.as_user(&shop, &["send", "orders", "-m", "x"]).exits_with(6);
}
