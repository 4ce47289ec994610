//! Where a test deploys: a namespace of a cluster, and `kubectl` to look at it. The cluster is one of the tests'
//! own, or a real one: `MQ_TEST_KUBECONFIG` names the configuration of somebody who may make namespaces in it.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{Cluster, ClusterBuilder};
use crate::command::{Finished, Running};
use crate::foreign::kubernetes_tool;

/// A namespace of a cluster. Dropping it ends it, and with it a cluster of the tests' own.
#[derive(Debug)]
pub struct Site {
    cluster: Option<Cluster>,
    kubeconfig: PathBuf,
    namespace: String,
    home: TempDir,
}

impl Site {
    /// A namespace in which nobody needs pods to run.
    ///
    /// # Panics
    /// When there is no cluster.
    #[expect(clippy::new_without_default, reason = "a cluster is made")]
    pub fn new() -> Self {
        Self::of(Cluster::builder())
    }

    /// The same in a cluster of the tests that has more kinds; a real one has those that it has.
    ///
    /// # Panics
    /// When there is no cluster.
    pub fn of(builder: ClusterBuilder) -> Self {
        let cluster = real().is_none().then(|| builder.start());
        Self::in_cluster(cluster)
    }

    /// A namespace whose pods run, or `None` and a word to the reader of the test's output.
    ///
    /// # Panics
    /// When there is no cluster.
    pub fn with_pods_or_say_why(builder: ClusterBuilder) -> Option<Self> {
        if real().is_some() {
            return Some(Self::in_cluster(None));
        }
        builder.start_with_pods_or_say_why().map(|cluster| Self::in_cluster(Some(cluster)))
    }

    fn in_cluster(cluster: Option<Cluster>) -> Self {
        let kubeconfig = cluster.as_ref().map(Cluster::kubeconfig).or_else(real);
        let kubeconfig = kubeconfig.expect("the cluster is real or of the tests");
        let home = TempDir::with_prefix("mq-site-").expect("a temporary folder can be made");
        let namespace = format!("mq-tests-{}", super::store::random_name());
        let site = Self { cluster, kubeconfig, namespace, home };
        let made =
            format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}}"#, site.namespace);
        site.kubectl_reading("create -f -", &made).succeeds();
        site
    }

    /// The cluster, when it is one of the tests'.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs `kubectl` in the namespace, with arguments separated by blanks.
    #[track_caller]
    pub fn kubectl(&self, arguments: &str) -> Finished {
        self.kubectl_reading(arguments, "")
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn kubectl_reading(&self, arguments: &str, input: &str) -> Finished {
        self.start(arguments, input).finish()
    }

    /// Starts `kubectl`.
    #[track_caller]
    pub fn start(&self, arguments: &str, input: &str) -> Running {
        let mut command = kubernetes_tool("kubectl");
        command.args(arguments.split_whitespace());
        self.environment(&mut command);
        command.env("KUBECTL_KYAML", "false").args(["--namespace", &self.namespace]);
        Running::start(command, input)
    }

    /// Lets a program find the cluster, and nothing of the user's own.
    pub fn environment(&self, command: &mut Command) {
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.home.path());
    }

    /// Puts what leads to the cluster where a user has it whose home this is, whole: whatever it refers to is in it.
    ///
    /// # Panics
    /// When the disk fails, or the configuration cannot be read.
    #[track_caller]
    pub fn lead_from(&self, home: &Path) {
        let folder = home.join(".kube");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let config = self.kubectl("config view --raw --flatten").succeeds();
        fs::write(folder.join("config"), config.stdout).expect("a file can be written");
    }

    /// Where a node of the cluster is reached from here.
    ///
    /// # Panics
    /// When no node of a real cluster says so.
    #[track_caller]
    pub fn node(&self) -> IpAddr {
        if self.cluster.is_some() {
            return Ipv4Addr::LOCALHOST.into();
        }
        let nodes = self.kubectl("get nodes --output json").succeeds().json();
        let known = nodes["items"][0]["status"]["addresses"].as_array().cloned().unwrap_or_default();
        let of = |kind: &str| {
            let found = known.iter().find(|address| address["type"] == kind)?;
            found["address"].as_str()?.parse().ok()
        };
        of("ExternalIP").or_else(|| of("InternalIP")).unwrap_or_else(|| panic!("no address in {known:?}"))
    }

    /// The port of every node behind which a port of a service is.
    ///
    /// # Panics
    /// When the service has none.
    #[track_caller]
    pub fn node_port(&self, service: &str, name: &str) -> u16 {
        let service = self.get(&format!("service/{service}")).expect("the service");
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let port = ports.iter().find(|port| port["name"] == name).expect("a port of that name");
        port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port of the nodes")
    }

    /// An object as it is now, or `None`.
    #[track_caller]
    pub fn get(&self, what: &str) -> Option<Value> {
        let finished = self.kubectl(&format!("get {what} --output json"));
        if finished.code != Some(0) {
            assert!(finished.stderr.contains("NotFound"), "{finished:#?}");
            return None;
        }
        Some(finished.json())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.cluster.is_none() && !std::thread::panicking() {
            // In a real cluster nothing is to be left; it takes its time, for which nobody has to wait.
            drop(self.kubectl(&format!("delete namespace {} --wait=false", self.namespace)));
        }
    }
}

/// The image of the pods: what `MQ_TEST_IMAGE` names, from where a real cluster gets it, or a name that only a cluster of
/// the tests has.
pub fn image() -> String {
    env::var("MQ_TEST_IMAGE").unwrap_or_else(|_| "registry.test/mq:1".to_owned())
}

/// Another image with the same programs, to change from one to the other: what `MQ_TEST_NEXT_IMAGE` names, or a name that
/// only a cluster of the tests has. `None`: a real cluster has no other one.
pub fn next_image() -> Option<String> {
    let named = env::var("MQ_TEST_NEXT_IMAGE").ok();
    named.or_else(|| real().is_none().then(|| "registry.test/mq:2".to_owned()))
}

/// The configuration of a real cluster.
fn real() -> Option<PathBuf> {
    env::var_os("MQ_TEST_KUBECONFIG").map(PathBuf::from)
}
