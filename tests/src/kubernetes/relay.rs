//! What kube-proxy and a load balancer are to a real cluster: connections to the address of a service are carried
//! to a pod behind it. Node ports and load balancers listen on loopback of this machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::api::Api;
use super::control::endpoints::target;
use super::network::PodNetwork;
use super::store::{Key, Store};
use crate::network::within;

/// How long a pod may take to accept.
const DIAL: Duration = Duration::from_secs(5);

/// A listener of a service: where, and whether inside of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    address: SocketAddr,
    is_inside: bool,
}

/// Where a door leads: the namespace and name of the service, and the number of its port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    namespace: String,
    name: String,
    port: u64,
}

/// The doors that are open.
#[derive(Debug)]
pub(super) struct Relays {
    network: Arc<PodNetwork>,
    api: Arc<Api>,
    runtime: Handle,
    open: BTreeMap<Door, (Service, AbortHandle)>,
}

impl Relays {
    pub(super) fn new(network: Arc<PodNetwork>, api: Arc<Api>, runtime: Handle) -> Self {
        Self { network, api, runtime, open: BTreeMap::new() }
    }

    /// Opens and closes doors, so that there are those of the services there are.
    pub(super) fn step(&mut self, store: &mut Store) {
        let mut wanted = BTreeMap::new();
        for service in store.all("Service") {
            // The API server is behind its address itself.
            let is_own =
                service["metadata"]["name"] == "kubernetes" && service["metadata"]["namespace"] == "default";
            if !is_own && service["spec"]["selector"].is_object() {
                doors(store, &service, self.network.balancers, &mut wanted);
            }
        }
        let closed: Vec<Door> = self
            .open
            .iter()
            .filter(|(door, (service, _))| wanted.get(door) != Some(service))
            .map(|(door, _)| door.clone())
            .collect();
        for door in closed {
            if let Some((_, task)) = self.open.remove(&door) {
                task.abort();
            }
            let is_last =
                !self.open.keys().any(|other| other.is_inside && other.address.ip() == door.address.ip());
            if let (true, true, IpAddr::V4(ip)) = (door.is_inside, is_last, door.address.ip()) {
                self.network.remove_address(ip);
            }
        }
        for (door, service) in wanted {
            if self.open.contains_key(&door) {
                continue;
            }
            // A port that is taken may be free with the next look.
            if let Ok(task) = self.open(&door, service.clone()) {
                self.open.insert(door, (service, task));
            }
        }
    }

    fn open(&self, door: &Door, service: Service) -> io::Result<AbortHandle> {
        let listener = match (door.is_inside, door.address.ip()) {
            (true, IpAddr::V4(ip)) => {
                // There already for another port of the service.
                let _ = self.network.add_address(ip);
                within(&self.network.hub(), || TcpListener::bind(door.address))?
            }
            _ => TcpListener::bind(door.address)?,
        };
        listener.set_nonblocking(true)?;
        let (api, hub) = (self.api.clone(), self.network.hub());
        let task = self.runtime.spawn(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let next = Arc::new(AtomicUsize::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                let (api, hub, service, next) = (api.clone(), hub.clone(), service.clone(), next.clone());
                tokio::spawn(async move {
                    // A client whose pod is gone sees the end of its connection.
                    let _ = carry(stream, api, hub, service, next).await;
                });
            }
        });
        Ok(task.abort_handle())
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}

fn doors(store: &mut Store, service: &Value, balancers: u8, wanted: &mut BTreeMap<Door, Service>) {
    let metadata = &service["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    let kind = service["spec"]["type"].as_str().unwrap_or_default();
    let cluster: Option<Ipv4Addr> = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
    // The address of a load balancer is one of loopback, and its own as that in the cluster is.
    let balancer = cluster
        .filter(|_| kind == "LoadBalancer")
        .map(|ip| Ipv4Addr::new(127, 96, balancers, ip.octets()[3]));
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
        let Some(own) = number(&port["port"]) else { continue };
        let behind = Service { namespace: text("namespace"), name: text("name"), port: u64::from(own) };
        let mut add = |ip: Ipv4Addr, port: u16, is_inside: bool| {
            let address = SocketAddr::from((ip, port));
            wanted.insert(Door { address, is_inside }, behind.clone());
        };
        if let Some(cluster) = cluster {
            add(cluster, own, true);
        }
        if let Some(port) = number(&port["nodePort"]) {
            add(Ipv4Addr::LOCALHOST, port, false);
        }
        if let Some(balancer) = balancer {
            add(balancer, own, false);
        }
    }
    if let Some(balancer) = balancer {
        let status = json!({ "loadBalancer": { "ingress": [{ "ip": balancer.to_string() }] } });
        if service["status"] != status {
            let key = Key::new(store.kinds.built_in("Service"), &text("namespace"), &text("name"));
            store.edit(&key, "cloud-controller-manager", "status", |service| service["status"] = status);
        }
    }
}

async fn carry(
    mut client: tokio::net::TcpStream,
    api: Arc<Api>,
    hub: String,
    service: Service,
    next: Arc<AtomicUsize>,
) -> io::Result<()> {
    let pods = api.with(|store| behind(store, &service));
    if pods.is_empty() {
        return Ok(());
    }
    let pod = pods[next.fetch_add(1, Ordering::Relaxed) % pods.len()];
    let dialled =
        tokio::task::spawn_blocking(move || within(&hub, || TcpStream::connect_timeout(&pod, DIAL)));
    let stream = dialled.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let mut server = tokio::net::TcpStream::from_std(stream)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// The ready pods behind a port of a service.
fn behind(store: &Store, service: &Service) -> Vec<SocketAddr> {
    let find = || -> Option<Vec<SocketAddr>> {
        let object = store.find("Service", &service.namespace, &service.name)?;
        let ports = object["spec"]["ports"].as_array()?;
        let port = ports.iter().find(|port| port["port"] == service.port)?;
        let endpoints = store.find("Endpoints", &service.namespace, &service.name)?;
        let subsets = endpoints["subsets"].as_array()?.iter();
        let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
        let pods = addresses.filter_map(|address| {
            let pod = store.find("Pod", &service.namespace, address["targetRef"]["name"].as_str()?)?;
            let port = u16::try_from(target(port, Some(pod))?).ok()?;
            Some(SocketAddr::new(address["ip"].as_str()?.parse().ok()?, port))
        });
        Some(pods.collect())
    };
    find().unwrap_or_default()
}
