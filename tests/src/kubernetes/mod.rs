//! A Kubernetes cluster of a test's own: an API server that the real `kubectl` and other people's clients work
//! with, controllers, and a kubelet that starts the real programs, each pod in a network and a file system of
//! its own.
//!
//! It is for what a deployment meets: discovery, server-side apply with ownership of fields and conflicts, the
//! other patches, optimistic concurrency, watches with bookmarks and an end of history, finalizers and owners,
//! evictions and disruption budgets, definitions of kinds, roles, defaults that are filled in, and refusals in
//! the words of the real one. What it leaves out: admission webhooks, quotas, network policies
//! (kept, not enforced), autoscaling (kept, not acted upon), HTTP/2, SPDY, and answers in protobuf.
//!
//! [`ClusterBuilder::start`] takes no rights, and nobody runs its pods. For
//! [`ClusterBuilder::start_with_pods_or_say_why`] it takes those to make namespaces of networks and mounts.

mod access;
mod api;
mod apply;
mod control;
mod custom;
mod defaults;
mod dns;
mod fields;
mod forward;
mod kinds;
mod kubelet;
mod log;
mod network;
mod node;
mod openapi;
mod patch;
mod protobuf;
mod refusal;
mod relay;
mod removal;
mod request;
mod rules;
mod selector;
mod server;
mod site;
mod store;
mod table;
mod validate;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use self::access::{MASTERS, User};
use self::api::Api;
use self::kinds::{Kind, Kinds};
use self::kubelet::Kubelet;
use self::network::PodNetwork;
use self::node::Node;
use self::relay::Relays;
use self::server::Server;
use self::store::{Key, Store};
use crate::daemon::report;
use crate::network::within;
use crate::program::{mq_path, mqd_path};

pub use self::kubelet::Image;
pub use self::site::{Site, image, next_image};

/// The nodes of a cluster.
const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The user of the kubeconfig, by certificate.
const ADMIN: &str = "admin";

/// A cluster that is about to start.
#[derive(Debug, Default)]
pub struct ClusterBuilder {
    more: Vec<Kind>,
    images: BTreeMap<String, Image>,
}

impl ClusterBuilder {
    /// Adds the kinds of the Prometheus operator.
    #[must_use]
    pub fn with_monitoring(self) -> Self {
        let version = "monitoring.coreos.com/v1";
        self.with_kind(version, "ServiceMonitor", "servicemonitors")
            .with_kind(version, "PodMonitor", "podmonitors")
            .with_kind(version, "PrometheusRule", "prometheusrules")
    }

    /// Adds a namespaced kind that some other system has brought; whatever its objects hold is kept.
    #[must_use]
    pub fn with_kind(mut self, api_version: &str, kind: &str, plural: &str) -> Self {
        self.more.push(Kind::known(api_version, kind, plural, "", "ns"));
        self
    }

    /// Lets pods have an image; there are no others.
    #[must_use]
    pub fn with_image(mut self, reference: &str, image: Image) -> Self {
        self.images.insert(reference.into(), image);
        self
    }

    /// Lets pods have an image with the programs under test, as the `Containerfile` makes it.
    #[must_use]
    pub fn with_programs(self, reference: &str) -> Self {
        let files = [("/usr/local/bin/mqd", mqd_path()), ("/usr/local/bin/mq", mq_path())];
        let image = Image {
            files: files.into_iter().map(|(place, program)| (place.into(), program)).collect(),
            entrypoint: vec!["/usr/local/bin/mqd".into()],
            user: 65_532,
        };
        self.with_image(reference, image)
    }

    /// Starts the cluster; nobody runs its pods.
    ///
    /// # Panics
    /// When loopback or the disk fails.
    pub fn start(self) -> Cluster {
        Cluster::begin(self, None)
    }

    /// Starts the cluster with a kubelet, or says to the reader of the test's output why there is none.
    ///
    /// # Panics
    /// When loopback or the disk fails.
    pub fn start_with_pods_or_say_why(self) -> Option<Cluster> {
        match pod_network() {
            Ok(network) => Some(Cluster::begin(self, Some(network))),
            Err(reason) => {
                report(&format!("left out: no pods for tests here: {reason}"));
                None
            }
        }
    }
}

/// A cluster. Dropping it ends it, and every process of its pods.
#[derive(Debug)]
pub struct Cluster {
    api: Arc<Api>,
    address: SocketAddr,
    folder: TempDir,
    end: Option<oneshot::Sender<()>>,
    is_ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Who signs the certificates of a cluster, and what it shows itself.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Cluster {
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A cluster without anything that others bring.
    pub fn start() -> Self {
        Self::builder().start()
    }

    fn begin(builder: ClusterBuilder, network: Option<PodNetwork>) -> Self {
        let folder = TempDir::with_prefix("mq-kubernetes-").expect("a temporary folder can be made");
        let authority = Authority::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a listener has an address");
        let mut store = Store::new(Kinds::new(builder.more));
        let admin = User { name: ADMIN.into(), groups: vec![MASTERS.into(), "system:authenticated".into()] };
        let token = store::random_uid();
        store.tokens.insert(token.clone(), admin);
        api::furnish(&mut store).expect("the objects of a new cluster are valid");
        let api = Arc::new(Api::new(store));
        let node = Arc::new(Node::default());
        let acceptor = authority.acceptor();
        fs::write(folder.path().join("ca.crt"), authority.certificate.pem())
            .expect("the folder can be written");
        authority.write_kubeconfig(&folder.path().join("kubeconfig"), address, &token);
        let (end, ended) = oneshot::channel();
        let server = Server { api: api.clone(), node: node.clone(), acceptor };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system has an event loop");
        let handle = runtime.handle().clone();
        let network = network.map(Arc::new);
        let inside = network.as_deref().map(listen_inside);
        let is_ending = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (inside, questions) = inside.unzip();
        threads.extend(questions.map(|socket| dns::start(api.clone(), socket, is_ending.clone())));
        threads.push(thread::spawn(move || {
            runtime.block_on(async {
                if let Some(inside) = inside {
                    tokio::spawn(server.clone().serve(inside));
                }
                tokio::select! {
                    () = server.serve(listener) => {}
                    _ = ended => {}
                }
            });
        }));
        let node = network.map(|network| {
            let kubelet = Kubelet::new(network.clone(), node, builder.images, folder.path().to_owned());
            (kubelet, Relays::new(network, api.clone(), handle))
        });
        threads.push(control::start(api.clone(), node, is_ending.clone()));
        Self { api, address, folder, end: Some(end), is_ending, threads }
    }

    /// The configuration of an administrator: by certificate in the context `tests`, by token in `by-token`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Where the API server is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An object as it is now; `resource` is `pods` or `statefulsets.apps`.
    pub fn look(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
        self.api.with(|store| store.get(&key).map(|object| Value::clone(object)))
    }

    /// Forgets the history: watches that are behind end with 410.
    pub fn compact(&self) {
        self.api.with(Store::compact);
    }

    /// A token of a service account.
    pub fn token_of(&self, namespace: &str, account: &str) -> String {
        self.api.with(|store| store.token_of(namespace, account))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        // The controllers end before the server that their relays run on.
        while let Some(thread) = self.threads.pop() {
            if self.threads.len() == 1 || self.threads.is_empty() {
                drop(self.end.take());
            }
            // Its panic has been printed.
            drop(thread.join());
        }
    }
}

/// The network of the pods, where there are the rights and the programs for it.
fn pod_network() -> Result<PodNetwork, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("that takes root".into());
    }
    for program in ["unshare", "nsenter", "chroot", "mount", "ip"] {
        let found = Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.map_err(|error| format!("{program}: {error}"))?;
    }
    PodNetwork::new()
}

/// The API server and the DNS server as pods see them.
fn listen_inside(network: &PodNetwork) -> (TcpListener, UdpSocket) {
    within(&network.hub(), || {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::from(store::API_IP), 443)));
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::from(store::DNS_IP), 53)));
        (listener.expect("the network is new"), socket.expect("the network is new"))
    })
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.self_signed(&key).expect("an authority signs itself");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let [a, b, c, d] = store::API_IP;
        let names = ["localhost", "127.0.0.1", &format!("{a}.{b}.{c}.{d}"), "kubernetes.default.svc"];
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("the names are names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("the authority is one");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = verifier.allow_unauthenticated().build().expect("there is an authority");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the versions of TLS")
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            );
        TlsAcceptor::from(Arc::new(config.expect("the key belongs to the certificate")))
    }

    fn write_kubeconfig(&self, path: &Path, address: SocketAddr, token: &str) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, ADMIN);
        params.distinguished_name.push(DnType::OrganizationName, MASTERS);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let encode = |text: String| STANDARD.encode(text);
        let context = |name: &str, user: &str| json!({ "name": name, "context": { "cluster": "tests", "user": user, "namespace": "default" } });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{ "name": "tests", "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": encode(self.certificate.pem()),
            } }],
            "users": [
                { "name": ADMIN, "user": {
                    "client-certificate-data": encode(certificate.pem()),
                    "client-key-data": encode(key.serialize_pem()),
                } },
                { "name": "by-token", "user": { "token": token } },
            ],
            "contexts": [context("tests", ADMIN), context("by-token", "by-token")],
        });
        // JSON is YAML.
        fs::write(path, config.to_string()).expect("the temporary folder can be written");
    }
}
