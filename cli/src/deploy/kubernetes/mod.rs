//! Nodes as pods of a Kubernetes cluster: from a fleet to the objects that make it.
//!
//! [`Rendering::objects`] is a pure function of the fleet's document: the same document gives the same objects, in an
//! order in which they can be applied, and no cluster is asked. What is secret is apart ([`secrets`]), so that the
//! rest can be kept where others read it. A Helm chart is made of the same objects ([`chart`]).
//!
//! Nodes that store are the pods of a StatefulSet, each with a volume and a name of its own, by which the others
//! connect to it. Nodes that only pass on are the pods of a Deployment. What all of them have in common is in
//! [`pods`].

mod access;
pub mod backend;
pub mod chart;
mod explain;
pub mod fleets;
pub mod lease;
pub mod memory;
mod network;
mod objects;
mod observe;
mod operator;
mod pods;
pub mod secrets;
mod tail;

use std::cell::RefCell;

use mq_model::{
    config::{DaemonConfig, Listeners},
    custom::definitions,
    kubernetes::{KubernetesTarget, KubernetesTls, Monitoring, Names, mounts},
    manifest::Fleet,
    mesh::node_name,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::chart::Parameters;
use crate::{
    failure::{Failure, Outcome},
    output,
};

/// What a ConfigMap may hold, with room for what the cluster adds: it takes 1 MiB.
const MAX_CONFIG: usize = 1_000_000;

/// The part of the label `app.kubernetes.io/component` of nodes that store.
const NODE: &str = "node";

/// The same of nodes that only pass on.
const ROUTER: &str = "router";

/// A fleet that is being rendered.
pub struct Rendering<'a> {
    fleet: &'a Fleet,
    target: &'a KubernetesTarget,
    names: Names,
    /// The listeners of every pod.
    listeners: Listeners,
    /// What a chart leaves open; `None` where nothing is.
    parameters: Option<RefCell<Parameters>>,
}

impl<'a> Rendering<'a> {
    /// The fleet, which must be valid and have pods.
    ///
    /// # Errors
    ///
    /// When its nodes are elsewhere.
    pub fn of_fleet(fleet: &'a Fleet) -> Outcome<Self> {
        let target = fleet.spec.target.kubernetes().ok_or_else(|| {
            Failure::usage(format!("the nodes of the fleet `{}` are not in a cluster", fleet.metadata.name))
                .help("set `target: {kubernetes: {}}` in the Fleet; see `mq explain Fleet.spec.target.kubernetes`")
        })?;
        let listeners = DaemonConfig::from_fleet(fleet, &node_name(1), mounts::STATE).listeners;
        let names = Names::of_fleet(&fleet.metadata.name);
        Ok(Self { fleet, target, names, listeners, parameters: None })
    }

    /// All objects but the Secrets, in an order in which they can be applied.
    ///
    /// # Errors
    ///
    /// When the configurations do not fit into an object of the cluster.
    pub fn objects(&self) -> Outcome<Vec<Value>> {
        let mut objects = Vec::new();
        if self.parameters.is_none() && self.target.namespace() != "default" {
            objects.push(self.namespace());
        }
        if self.target.has_operator() {
            objects.extend(definitions());
        }
        objects.extend(self.accounts());
        if let KubernetesTls::CertManager(manager) = self.target.tls() {
            objects.extend(self.certificates(&manager));
        }
        objects.push(self.config_map()?);
        objects.extend(self.services());
        objects.extend(self.workloads());
        objects.push(self.network_policy());
        objects.extend(self.disruption_budgets());
        objects.extend(self.autoscaler());
        objects.extend(self.ways_in());
        if self.target.monitoring.unwrap_or_default() == Monitoring::Always {
            objects.extend(self.monitoring());
        }
        if self.target.has_operator() {
            objects.extend(self.operator());
        }
        Ok(objects)
    }

    /// What whoever applies the objects has to see to, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let namespace = self.target.namespace();
        if self.target.tls() == KubernetesTls::Own {
            remarks.push(
                "the Secrets with the certificates are not among the objects: `mq render secrets` prints them".into(),
            );
        }
        if self.target.monitoring.unwrap_or_default() == Monitoring::Always {
            remarks.push(format!(
                "Prometheus logs in with the Secret `{}` in the namespace `{namespace}`, which you make: `mq user create` \
                 its user with the grant `view:#`",
                self.names.metrics_secret()
            ));
        }
        if self.exposed().len() == 1 {
            remarks.push(
                "clients reach the pods over https alone: the other listeners are bound to loopback; set the host of \
                 listeners.amqps or listeners.mqtts to 0.0.0.0"
                    .into(),
            );
        }
        remarks
    }

    /// An object with its name and labels. Those of the cluster at large have no namespace.
    fn object(&self, version: &str, kind: &str, name: &str, component: Option<&str>) -> Map<String, Value> {
        let mut labels = self.selector(component);
        labels.insert("app.kubernetes.io/managed-by".into(), "mq".into());
        let metadata = json!({ "name": name, "namespace": self.target.namespace(), "labels": labels });
        map([("apiVersion", version.into()), ("kind", kind.into()), ("metadata", metadata)])
    }

    /// The labels by which the pods of the fleet are told from others, or those of one component.
    fn selector(&self, component: Option<&str>) -> Map<String, Value> {
        let mut labels = map([
            ("app.kubernetes.io/name", "mq".into()),
            ("app.kubernetes.io/instance", self.names.fleet().into()),
        ]);
        if let Some(component) = component {
            labels.insert("app.kubernetes.io/component".into(), component.into());
        }
        labels
    }

    /// A value that a chart leaves open under this name.
    fn open(&self, name: &str, value: Value) -> Value {
        match &self.parameters {
            Some(parameters) => parameters.borrow_mut().leave_open(name, value),
            None => value,
        }
    }

    /// Each listener that is reached from outside of its pod, with its name.
    fn exposed(&self) -> Vec<(&'static str, u16)> {
        let named = self.listeners.named().into_iter();
        named
            .filter(|(_, listener)| !listener.is_local())
            .map(|(name, listener)| (name, listener.port))
            .collect()
    }

    fn https_port(&self) -> u16 {
        self.listeners.https.as_ref().map_or(0, |listener| listener.port)
    }

    fn mesh_port(&self) -> u16 {
        self.fleet.spec.mesh.port()
    }

    fn has_routers(&self) -> bool {
        self.target.routers() > 0
    }

    /// The component that clients connect to.
    fn front(&self) -> &'static str {
        if self.has_routers() { ROUTER } else { NODE }
    }

    /// The configurations, one for each node and one for all routers, under the names of the pods.
    fn config_map(&self) -> Outcome<Value> {
        let mut data = Map::new();
        for number in 1..=self.fleet.spec.nodes() {
            let config = DaemonConfig::from_fleet(self.fleet, &node_name(number), mounts::STATE);
            data.insert(format!("{}.yaml", self.names.pod(number)), yaml(&config)?.into());
        }
        if self.has_routers() {
            data.insert(format!("{ROUTER}.yaml"), yaml(&DaemonConfig::of_router(self.fleet))?.into());
        }
        let size: usize =
            data.iter().map(|(name, text)| name.len() + text.as_str().map_or(0, str::len)).sum();
        if size > MAX_CONFIG {
            let message =
                format!("the configurations of the nodes have {size} bytes, and a ConfigMap takes 1 MiB");
            return Err(Failure::usage(message).help("have fewer nodes, or set mesh.links"));
        }
        let mut object = self.object("v1", "ConfigMap", &self.names.config(), None);
        object.insert("data".into(), data.into());
        Ok(object.into())
    }

    /// Changes with whatever a node reads when it starts, and not with the number of nodes: so adding one restarts
    /// nobody.
    fn revision(&self) -> String {
        let mut config = DaemonConfig::from_fleet(self.fleet, &node_name(1), mounts::STATE);
        if let Some(mesh) = &mut config.mesh {
            mesh.connect = Vec::new();
        }
        // Which nodes connect to which, where the fleet says it.
        let links = &self.fleet.spec.mesh.links;
        let text = format!("{} {}", config.hash(), output::value(links));
        let digest = Sha256::digest(text);
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A table of these entries, in this order.
fn map<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn yaml(config: &DaemonConfig) -> Outcome<String> {
    serde_saphyr::to_string(config)
        .map_err(|error| Failure::failed(format!("cannot write the configuration: {error}")))
}

/// The objects as one stream of documents.
pub fn documents(objects: &[Value]) -> Outcome<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&output::yaml(object)?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mq_model::Documents;
    use mq_model::manifest::FleetLink;

    use super::*;

    pub(super) fn fleet(target: Value) -> Fleet {
        let text = json!({
            "apiVersion": "mq.dev/v1",
            "kind": "Fleet",
            "metadata": { "name": "prod" },
            "spec": {
                "nodes": 3,
                "listeners": {
                    "amqps": { "host": "0.0.0.0", "port": 5671 },
                    "mqtts": { "host": "0.0.0.0", "port": 8883 },
                },
                "target": { "kubernetes": target },
            },
        });
        let documents =
            Documents::parse("fleet", &text.to_string()).unwrap_or_else(|problems| panic!("{problems}"));
        documents.fleet.unwrap()
    }

    pub(super) fn find<'v>(objects: &'v [Value], kind: &str, name: &str) -> &'v Value {
        let found =
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    #[test]
    fn a_node_more_changes_neither_the_pods_that_are_there_nor_their_configurations() {
        let three = fleet(json!({}));
        let mut four = three.clone();
        four.spec.nodes = Some(4);
        let of = |fleet| Rendering::of_fleet(fleet).unwrap().objects().unwrap();
        let (before, after) = (of(&three), of(&four));
        let template =
            |objects: &[Value]| find(objects, "StatefulSet", "prod-node")["spec"]["template"].clone();
        assert_eq!(template(&before), template(&after));
        let config = |objects: &[Value]| find(objects, "ConfigMap", "prod-config")["data"].clone();
        for pod in ["prod-node-1.yaml", "prod-node-2.yaml", "prod-node-3.yaml"] {
            assert_eq!(config(&before)[pod], config(&after)[pod], "{pod}");
        }
        assert_eq!(find(&after, "StatefulSet", "prod-node")["spec"]["replicas"], 4);
    }

    #[test]
    fn what_a_node_reads_when_it_starts_changes_its_pod() {
        let revision = |change: fn(&mut Fleet)| {
            let mut fleet = fleet(json!({}));
            change(&mut fleet);
            Rendering::of_fleet(&fleet).unwrap().revision()
        };
        let base = revision(|_| ());
        assert_eq!(base, revision(|fleet| fleet.spec.nodes = Some(9)));
        assert_ne!(base, revision(|fleet| fleet.spec.limits.max_links = Some(7)));
        let link = |to: &str| FleetLink { from: "node-1".into(), to: to.into(), cost: None };
        let chain = revision(|fleet| {
            fleet.spec.mesh.links = vec![
                FleetLink { from: "node-1".into(), to: "node-2".into(), cost: None },
                FleetLink { from: "node-2".into(), to: "node-3".into(), cost: None },
            ];
        });
        assert_ne!(base, chain);
        assert_eq!(link("node-2").cost, None);
    }

    #[test]
    fn every_configuration_of_a_pod_is_one_that_the_daemon_takes() {
        let fleet = fleet(json!({ "routers": 2 }));
        let objects = Rendering::of_fleet(&fleet).unwrap().objects().unwrap();
        let data = find(&objects, "ConfigMap", "prod-config")["data"].as_object().unwrap();
        assert_eq!(data.len(), 4);
        for (name, text) in data {
            let config = DaemonConfig::parse(name, text.as_str().unwrap());
            let config = config.unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(config.router, name == "router.yaml");
        }
    }

    #[test]
    fn a_fleet_of_a_hundred_nodes_fits() {
        let mut fleet = fleet(json!({ "routers": 100 }));
        fleet.spec.nodes = Some(100);
        fleet.metadata.name = "f".repeat(40);
        assert_eq!(fleet.validate(), Ok(()));
        assert!(Rendering::of_fleet(&fleet).unwrap().objects().is_ok());
    }

    /// With `MQ_WRITE_RENDERED` set the texts are written in place of being compared: read the difference before you
    /// commit it.
    #[test]
    fn examples_are_rendered_as_written_down() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let golden = root.join("src/deploy/kubernetes/golden");
        for name in ["kubernetes", "kubernetes-small"] {
            let path = root.join(format!("../manifests/examples/{name}.yaml"));
            let text = std::fs::read_to_string(&path).unwrap();
            let fleet =
                Documents::parse(name, &text).unwrap_or_else(|problems| panic!("{problems}")).fleet.unwrap();
            let rendered = documents(&Rendering::of_fleet(&fleet).unwrap().objects().unwrap()).unwrap();
            let expected = golden.join(format!("{name}.yaml"));
            if std::env::var_os("MQ_WRITE_RENDERED").is_some() {
                std::fs::write(&expected, &rendered).unwrap();
            }
            let expected = std::fs::read_to_string(&expected).unwrap();
            let differing = expected.lines().zip(rendered.lines()).find(|(known, new)| known != new);
            assert!(expected == rendered, "{name}: {differing:?}");
        }
    }

    #[test]
    fn a_fleet_elsewhere_has_no_objects() {
        let mut fleet = fleet(json!({}));
        fleet.spec.target = mq_model::manifest::Target::Local;
        assert!(Rendering::of_fleet(&fleet).is_err());
    }

    #[test]
    fn every_object_is_in_the_namespace_and_is_said_to_be_of_the_fleet() {
        let fleet = fleet(json!({ "namespace": "messaging", "routers": 1, "monitoring": "always" }));
        for object in Rendering::of_fleet(&fleet).unwrap().objects().unwrap() {
            let metadata = &object["metadata"];
            if object["kind"] != "Namespace" {
                assert_eq!(metadata["namespace"], "messaging", "{object}");
            }
            assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "prod", "{object}");
        }
    }
}
