//! Nodes as pods of a Kubernetes cluster: `target.kubernetes` of a fleet, and what the objects are called that
//! come of it.
//!
//! Nothing here knows a cluster. The names stand here, and not with whoever makes the objects, because the
//! configurations of the nodes speak of them: where files are mounted, and under which names pods reach each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{DaemonConfig, ListenerConfig, Listeners, MeshTls, Tls};
use crate::manifest::{Fleet, FleetSpec};
use crate::mesh::node_name;

/// Nodes that store messages in one cluster: their configurations have to fit into one object of it.
pub(crate) const MAX_PODS: u32 = 100;

/// Bytes of the name of a fleet in a cluster: the names of its objects are longer, and labels hold at most 63.
pub(crate) const MAX_FLEET_NAME: usize = 40;

/// Items of a list, and entries of a table.
pub(crate) const MAX_ITEMS: usize = 64;

/// The port of the listener that a cluster's nodes have in any case, so that the cluster can ask how they are.
const HTTPS_PORT: u16 = 8443;

/// Pods of a Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesTarget {
    /// The context of your `kubeconfig` that leads to the cluster. Default: the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub context: Option<String>,
    /// The namespace of all objects. Default: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("default" = "default"))]
    pub namespace: Option<String>,
    /// The image with `mqd` and `mq`. Default: `localhost/mq` with the version of this `mq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The names of Secrets with which the image is pulled, at most 64. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub image_pull_secrets: Vec<String>,
    /// Nodes that only pass on what clients send, beside those that store: clients connect to them alone, and
    /// they come and go without anything to be moved. At most 100. Default 0: clients connect to all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100), extend("default" = 0))]
    pub routers: Option<u32>,
    /// Has the cluster choose how many routers there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// The volume of each node that stores.
    #[serde(skip_serializing_if = "Storage::is_empty")]
    pub storage: Storage,
    /// How clients reach the nodes: the listeners that are not bound to loopback.
    #[serde(skip_serializing_if = "ClientService::is_empty")]
    pub service: ClientService,
    /// How clients outside of the cluster reach the listeners that speak TLS, beside `service`. Default: `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "none"))]
    pub ingress: Option<Ingress>,
    /// Who makes the certificates of the nodes. Default: `own`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "own"))]
    pub tls: Option<KubernetesTls>,
    /// The name of a Secret of type `kubernetes.io/tls` with what nodes show to clients that speak TLS. Default:
    /// a certificate is made, as `tls` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_secret: Option<String>,
    /// The name of a Secret whose `ca.crt` holds the authorities that sign certificates of clients. Default: there
    /// are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_ca_secret: Option<String>,
    /// What each node is given of its machine. Default: it asks for 250m of a processor and 512Mi of memory, and
    /// has no limits.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// The labels of the machines that nodes may run on, at most 64. Default: any machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// The taints of machines that nodes put up with, at most 64. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// How nodes are spread over the cluster.
    #[serde(skip_serializing_if = "TopologySpread::is_empty")]
    pub topology_spread: TopologySpread,
    /// Whether the Prometheus operator is told of the nodes. It logs in with the Secret called after the fleet
    /// and `-metrics`, of type `kubernetes.io/basic-auth`, as a user who may `view:#`. Default: `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "never"))]
    pub monitoring: Option<Monitoring>,
    /// Whether a process of `mq` looks after objects of the cluster that stand for addresses, spaces, profiles, users and
    /// roles. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub operator: Option<bool>,
    /// Seconds that a node which goes for good has to give what it stores to the others. 60 to 86,400. Default
    /// 3,600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 86_400), extend("default" = 3_600))]
    pub leave_seconds: Option<u32>,
}

/// How many routers there are, as the load has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// The most routers. 1 to 100; at least `routers`, which are the fewest.
    #[schemars(range(min = 1, max = 100))]
    pub max_routers: u32,
    /// The processor time that routers are to use, in percent of what they ask for. 1 to 1,000. Default: 70 where
    /// `connections` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub cpu_percent: Option<u32>,
    /// The client connections that each router is to have: the metric `mq_connections`, which an adapter for
    /// Prometheus gives to the cluster. 1 to 10,000,000. Default: connections do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
}

/// The volume of each node that stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Storage {
    /// The storage class. Default: that of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,
    /// How large it is, such as `10Gi`. Default: `10Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("default" = "10Gi"))]
    pub size: Option<String>,
    /// Whether the volume of a node that has gone stays, until somebody deletes it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub retain: Option<bool>,
}

/// How clients reach the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientService {
    /// From where. Default: `cluster-ip`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "cluster-ip"))]
    pub kind: Option<ServiceType>,
    /// Annotations of the Service, which load balancers take their options from. At most 64. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// From where clients reach a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceType {
    /// From within the cluster.
    #[default]
    ClusterIp,
    /// At a port of every machine of the cluster, which the cluster picks.
    NodePort,
    /// At an address that the cluster's surroundings give.
    LoadBalancer,
}

/// How TLS connections from outside of the cluster come to the nodes, which end them: each of `amqps`, `mqtts` and
/// `https` has a host of its name, such as `amqps.mq.example.org`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ingress {
    /// Not at all.
    #[default]
    None,
    /// By Routes of OpenShift.
    Route(RouteIngress),
    /// By TLSRoutes of a Gateway.
    Gateway(GatewayIngress),
    /// By Ingresses of a controller that lets TLS through.
    Ingress(ClassIngress),
}

/// Routes of OpenShift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteIngress {
    /// What the hosts end with, such as `mq.example.org`.
    #[schemars(length(min = 1, max = 240))]
    pub domain: String,
}

/// TLSRoutes of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayIngress {
    /// What the hosts end with, such as `mq.example.org`.
    #[schemars(length(min = 1, max = 240))]
    pub domain: String,
    /// The name of the Gateway, which has to have a TLS listener of mode `Passthrough`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The namespace of the Gateway. Default: that of the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// Ingresses of a controller that lets TLS through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassIngress {
    /// What the hosts end with, such as `mq.example.org`.
    #[schemars(length(min = 1, max = 240))]
    pub domain: String,
    /// The ingress class. Default: that of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,
    /// Annotations, at most 64. Default: the one with which ingress-nginx lets TLS through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Who makes the certificates of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KubernetesTls {
    /// The fleet's own authority, which stays where `mq` runs: `mq render secrets` prints what it signs.
    #[default]
    Own,
    /// cert-manager of the cluster.
    CertManager(CertManager),
}

/// How cert-manager makes the certificates. Those by which nodes know each other are signed by an authority that is
/// made for the fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertManager {
    /// The issuer of what nodes show to clients. Default: the fleet's own authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub issuer: Option<String>,
    /// Whether the issuer is one of the namespace or of the whole cluster. Default: `issuer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "issuer"))]
    pub kind: Option<IssuerKind>,
}

/// Where an issuer of cert-manager is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerKind {
    /// In the namespace.
    #[default]
    Issuer,
    /// In the whole cluster.
    ClusterIssuer,
}

/// What each node is given of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What it has in any case.
    #[serde(skip_serializing_if = "Amounts::is_empty")]
    pub requests: Amounts,
    /// What it gets at most.
    #[serde(skip_serializing_if = "Amounts::is_empty")]
    pub limits: Amounts,
}

/// Processor and memory, as Kubernetes writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Amounts {
    /// Processors, such as `2` or `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub cpu: Option<String>,
    /// Memory, such as `2Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub memory: Option<String>,
}

/// A taint of machines that nodes put up with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Toleration {
    /// The key of the taint. Default: every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// Whether the value counts. Default: `equal` with `value`, `exists` without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// The value of the taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// What the taint does to pods. Default: all that it can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Seconds that a node stays after the taint has come, with `no-execute`. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<u32>,
}

/// Whether the value of a taint counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TolerationOperator {
    /// It has to be the same.
    Equal,
    /// It does not.
    Exists,
}

/// What a taint does to pods that do not put up with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaintEffect {
    /// They are not put there.
    NoSchedule,
    /// They are put elsewhere where that is possible.
    PreferNoSchedule,
    /// They are put there no more, and those that are there have to go.
    NoExecute,
}

/// How nodes are spread over the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TopologySpread {
    /// The labels of machines over whose values nodes are spread evenly, at most 8. Default:
    /// `topology.kubernetes.io/zone` and `kubernetes.io/hostname`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub keys: Vec<String>,
    /// Whether a node rather waits than stands where it makes the spread uneven. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub required: Option<bool>,
}

/// Whether the Prometheus operator is told of the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Monitoring {
    /// It is not.
    #[default]
    Never,
    /// It is, by a ServiceMonitor and a PrometheusRule, which the cluster has to know.
    Always,
}

impl KubernetesTarget {
    /// The namespace of all objects.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// The image with the programs.
    pub fn image(&self) -> String {
        let default = || format!("localhost/mq:{}", env!("CARGO_PKG_VERSION"));
        self.image.clone().unwrap_or_else(default)
    }

    /// Nodes that store nothing, or the fewest of them.
    pub fn routers(&self) -> u32 {
        self.routers.unwrap_or(0)
    }

    /// Whether objects of the cluster stand for addresses, users and the like.
    pub fn has_operator(&self) -> bool {
        self.operator.unwrap_or(false)
    }

    /// Seconds that a node which goes for good has to become empty.
    pub fn leave_seconds(&self) -> u32 {
        self.leave_seconds.unwrap_or(3_600)
    }

    /// Who makes the certificates.
    pub fn tls(&self) -> KubernetesTls {
        self.tls.clone().unwrap_or_default()
    }

    /// How clients outside of the cluster come in.
    pub fn ingress(&self) -> Ingress {
        self.ingress.clone().unwrap_or_default()
    }
}

impl Ingress {
    /// What the hosts of the listeners end with; `None`: there are none.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Route(route) => Some(&route.domain),
            Self::Gateway(gateway) => Some(&gateway.domain),
            Self::Ingress(ingress) => Some(&ingress.domain),
        }
    }
}

impl Storage {
    /// How large each volume is.
    pub fn size(&self) -> &str {
        self.size.as_deref().unwrap_or("10Gi")
    }

    /// Whether the volume of a node that has gone stays.
    pub fn is_retained(&self) -> bool {
        self.retain.unwrap_or(true)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ClientService {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Resources {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Amounts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TopologySpread {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the objects of a fleet are called in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    fleet: String,
}

impl Names {
    /// The names of the objects of the fleet called `fleet`.
    pub fn of_fleet(fleet: &str) -> Self {
        Self { fleet: fleet.to_owned() }
    }

    /// The fleet's own name: of what there is one of.
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// The StatefulSet of the nodes that store.
    pub fn nodes(&self) -> String {
        format!("{}-node", self.fleet)
    }

    /// The Service by which those are found one by one.
    pub fn headless(&self) -> String {
        format!("{}-nodes", self.fleet)
    }

    /// The Deployment of the nodes that only pass on.
    pub fn routers(&self) -> String {
        format!("{}-router", self.fleet)
    }

    /// The ConfigMap with the configurations.
    pub fn config(&self) -> String {
        format!("{}-config", self.fleet)
    }

    /// The Secret with which nodes know each other.
    pub fn mesh_secret(&self) -> String {
        format!("{}-mesh", self.fleet)
    }

    /// The Secret with what nodes show to clients.
    pub fn server_secret(&self) -> String {
        format!("{}-server", self.fleet)
    }

    /// The Secret with which the fleet's administrator shows himself.
    pub fn admin_secret(&self) -> String {
        format!("{}-admin", self.fleet)
    }

    /// The Secret with the name and password that Prometheus logs in with.
    pub fn metrics_secret(&self) -> String {
        format!("{}-metrics", self.fleet)
    }

    /// The pod of the node with this number.
    pub fn pod(&self, number: u32) -> String {
        format!("{}-{}", self.fleet, node_name(number))
    }

    /// Where other pods of the namespace reach the node with this number. The rest of the name, which differs from
    /// cluster to cluster, is what a pod looks for names in.
    pub fn host(&self, number: u32) -> String {
        format!("{}.{}", self.pod(number), self.headless())
    }

    /// The name in the certificates by which the nodes of a cluster know each other: routers come and go under
    /// names that nobody knows before.
    pub fn mesh_identity(&self) -> String {
        format!("*.{}.mq.internal", self.fleet)
    }

    /// What clients may call the nodes, as the cluster's DNS and its surroundings have it.
    pub fn server_names(&self, fleet: &FleetSpec, target: &KubernetesTarget) -> Vec<String> {
        let (service, headless, namespace) = (&self.fleet, self.headless(), target.namespace());
        let mut names = vec![
            service.clone(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("*.{headless}"),
            format!("*.{headless}.{namespace}.svc"),
            format!("*.{headless}.{namespace}.svc.cluster.local"),
            self.mesh_identity(),
            "localhost".into(),
            "127.0.0.1".into(),
            "::1".into(),
        ];
        if let Some(domain) = target.ingress().domain() {
            let listeners = Listeners::of_spec(fleet);
            names.extend(listeners.passed_through().map(|(name, _)| format!("{name}.{domain}")));
        }
        for name in &fleet.tls.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Where the pods of a cluster find their files.
pub mod mounts {
    /// The folder of the configurations.
    pub const CONFIG: &str = "/etc/mq/config";
    /// The folder of the files with which nodes know each other.
    pub const MESH: &str = "/etc/mq/tls/mesh";
    /// The folder of what nodes show to clients.
    pub const SERVER: &str = "/etc/mq/tls/server";
    /// The folder of the authorities of clients.
    pub const CLIENTS: &str = "/etc/mq/tls/clients";
    /// The volume.
    pub const DATA: &str = "/var/lib/mq";
    /// What a node keeps, below the volume: the root of a volume belongs to the system.
    pub const STATE: &str = "/var/lib/mq/state";
    /// Names of files in a Secret of type `kubernetes.io/tls`.
    pub const CERTIFICATE: &str = "tls.crt";
    pub const KEY: &str = "tls.key";
    /// What cert-manager adds to it.
    pub const CA: &str = "ca.crt";
}

/// The listener that the nodes of a cluster have in any case: the cluster asks it how they are.
pub(crate) fn https() -> ListenerConfig {
    ListenerConfig { host: "0.0.0.0".into(), ..ListenerConfig::loopback(HTTPS_PORT) }
}

/// The files of the mesh where they are mounted.
pub(crate) fn mesh_tls() -> MeshTls {
    let file = |name: &str| PathBuf::from(mounts::MESH).join(name);
    MeshTls { ca: file(mounts::CA), certificate: file(mounts::CERTIFICATE), key: file(mounts::KEY) }
}

/// What nodes show to clients, where it is mounted.
pub(crate) fn server_tls(tls: Tls, target: &KubernetesTarget) -> Tls {
    let file = |folder: &str, name: &str| PathBuf::from(folder).join(name);
    Tls {
        certificate: file(mounts::SERVER, mounts::CERTIFICATE),
        key: file(mounts::SERVER, mounts::KEY),
        client_ca: target.client_ca_secret.as_ref().map(|_| file(mounts::CLIENTS, mounts::CA)),
        fleet_ca: Some(file(mounts::MESH, mounts::CA)),
        ..tls
    }
}

impl DaemonConfig {
    /// The configuration of the nodes of a cluster that only pass on. They have one together: `mqd --node` says who
    /// each of them is.
    pub fn of_router(fleet: &Fleet) -> Self {
        let mut config = Self::from_fleet(fleet, ROUTER, mounts::STATE);
        let names = Names::of_fleet(&fleet.metadata.name);
        config.router = true;
        if let Some(mesh) = &mut config.mesh {
            let port = fleet.spec.mesh.port();
            mesh.connect = (1..=fleet.spec.nodes())
                .map(|number| crate::mesh::MeshConnect { host: names.host(number), port, cost: None })
                .collect();
        }
        config
    }
}

/// What a router is called in the configuration that all of them have.
const ROUTER: &str = "router";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{FleetListener, Target};
    use crate::tls::ListenerTls;

    fn fleet(nodes: u32) -> Fleet {
        let target = Target::Kubernetes(Box::default());
        Fleet::new("f", FleetSpec { target, nodes: Some(nodes), ..FleetSpec::default() })
    }

    #[test]
    fn a_node_of_a_cluster_finds_its_files_and_the_others_where_pods_have_them() {
        let config = DaemonConfig::from_fleet(&fleet(3), "node-3", mounts::STATE);
        assert_eq!(config.validate(), Ok(()));
        let mesh = config.mesh.expect("a mesh");
        assert_eq!((mesh.listen.host.as_str(), mesh.listen.port), ("0.0.0.0", 7672));
        let hosts: Vec<(&str, u16)> =
            mesh.connect.iter().map(|connect| (connect.host.as_str(), connect.port)).collect();
        assert_eq!(hosts, [("f-node-1.f-nodes", 7672), ("f-node-2.f-nodes", 7672)]);
        assert_eq!(mesh.tls.certificate, PathBuf::from("/etc/mq/tls/mesh/tls.crt"));
        let tls = config.tls.expect("the cluster asks over TLS");
        assert_eq!(tls.key, PathBuf::from("/etc/mq/tls/server/tls.key"));
        assert_eq!(tls.fleet_ca, Some("/etc/mq/tls/mesh/ca.crt".into()));
        let https = config.listeners.https.expect("the cluster has to reach it");
        assert_eq!((https.host.as_str(), https.port), ("0.0.0.0", 8443));
        assert_eq!(
            config.listeners.amqp.port, 5672,
            "ports do not count up: each pod has an address of its own"
        );
    }

    #[test]
    fn a_node_that_is_added_changes_nothing_for_those_that_are_there() {
        for node in ["node-1", "node-2"] {
            let of = |nodes| DaemonConfig::from_fleet(&fleet(nodes), node, mounts::STATE);
            assert_eq!(of(2), of(7));
        }
        let alone = DaemonConfig::from_fleet(&fleet(1), "node-1", mounts::STATE);
        assert_eq!(alone, DaemonConfig::from_fleet(&fleet(2), "node-1", mounts::STATE));
    }

    #[test]
    fn routers_have_one_configuration_and_connect_to_every_node() {
        let config = DaemonConfig::of_router(&fleet(2));
        assert_eq!(config.validate(), Ok(()));
        assert!(config.router);
        assert_eq!(config.mesh.expect("a mesh").connect.len(), 2);
        assert!(!DaemonConfig::from_fleet(&fleet(2), "node-1", "s").router);
    }

    #[test]
    fn a_listener_that_the_fleet_names_stays_as_it_is() {
        let mut fleet = fleet(1);
        fleet.spec.listeners.https = Some(FleetListener {
            host: "::".into(),
            port: 9443,
            proxy_protocol: false,
            enabled: true,
            tls: Some(ListenerTls::Always),
            space: None,
        });
        let https = DaemonConfig::from_fleet(&fleet, "node-1", "s").listeners.https.expect("a listener");
        assert_eq!((https.host.as_str(), https.port), ("::", 9443));
    }

    #[test]
    fn clients_find_every_name_of_the_cluster_in_the_certificate() {
        let mut fleet = fleet(1);
        fleet.spec.tls.names = vec!["mq.example.org".into()];
        let target = KubernetesTarget {
            namespace: Some("n".into()),
            ingress: Some(Ingress::Route(RouteIngress { domain: "apps.example".into() })),
            ..KubernetesTarget::default()
        };
        let names = Names::of_fleet("f").server_names(&fleet.spec, &target);
        for name in ["f.n.svc", "*.f-nodes.n.svc", "https.apps.example", "mq.example.org", "*.f.mq.internal"]
        {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
    }
}
