//! Ways from ports of this machine's loopback to those of a pod, through the API of its cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{Cluster, PODS};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    relay::{self, Kept, Relay},
};

/// How long the ways to a pod may take to be there: logging in may run a program of the user's.
const CONNECT: Duration = Duration::from_secs(30);

/// A pod that is reached through the API of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodPlace {
    /// The context of the user's kubeconfig; the current one where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    pub namespace: String,
    pub name: String,
}

/// Opens ways to these ports of a pod. Nothing is asked of the pod before somebody connects.
///
/// # Errors
///
/// There is no free port on loopback.
pub async fn forward(cluster: &Cluster, pod: &str, ports: &[u16]) -> Outcome<Relay> {
    let mut relay = Relay::default();
    for port in ports.iter().copied() {
        let (pods, pod) = (cluster.pods(), pod.to_owned());
        relay.add(move |stream| pass_on(stream, pods.clone(), pod.clone(), port)).await?;
    }
    Ok(relay)
}

async fn pass_on(stream: TcpStream, pods: Api<Pod>, name: String, port: u16) {
    // Whoever connected sees that the connection ends: nothing better can be said in a protocol that is not known here.
    let Ok(mut forwarder) = pods.portforward(&name, &[port]).await else { return };
    if let Some(far) = forwarder.take_stream(port) {
        relay::join(stream, far).await;
    }
    forwarder.abort();
}

/// The same for commands that wait for nothing else meanwhile.
#[derive(Debug)]
pub struct Way {
    /// The ports here, in the order in which those of the pod were given.
    pub ports: Vec<u16>,
    _kept: Kept,
}

impl Way {
    /// Opens ways to these ports of a pod, which must be there.
    pub fn open(place: &PodPlace, ports: &[u16]) -> Outcome<Self> {
        let message = format!(
            "the cluster does not answer about the pod `{}` within {}s",
            place.name,
            CONNECT.as_secs()
        );
        let late = Failure::new(Exit::Unreachable, message);
        let (place, ports) = (place.clone(), ports.to_vec());
        let (ports, kept) = Kept::open(CONNECT, late, move || async move {
            let relay = open(&place, &ports).await?;
            Ok((relay.ports.clone(), relay))
        })?;
        Ok(Self { ports, _kept: kept })
    }
}

async fn open(place: &PodPlace, ports: &[u16]) -> Outcome<Relay> {
    let cluster = Cluster::of_user(place.context.as_deref(), &place.namespace).await?;
    if cluster.get(PODS, &place.name).await?.is_none() {
        let message = format!("there is no pod `{}` in the namespace `{}`", place.name, place.namespace);
        return Err(Failure::new(Exit::Unreachable, message).help("`mq deploy` brings it back"));
    }
    forward(&cluster, &place.name, ports).await
}
