//! Ways from ports of this machine's loopback to those of a pod, through the API of its cluster.

use std::{
    net::Ipv4Addr,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde::{Deserialize, Serialize};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
};

use super::{Cluster, PODS};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome, reason},
};

/// How long the ways to a pod may take to be there: logging in may run a program of the user's.
const CONNECT: Duration = Duration::from_secs(30);
/// Connections through one port at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 256;

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

/// Ways to ports on the loopback of a pod. They end when this is dropped.
#[derive(Debug)]
pub struct Forward {
    /// The ports here, in the order in which those of the pod were given.
    pub ports: Vec<u16>,
    tasks: Vec<AbortHandle>,
}

impl Forward {
    /// Opens ways to these ports of a pod. Nothing is asked of the pod before somebody connects.
    pub async fn open(cluster: &Cluster, pod: &str, ports: &[u16]) -> Outcome<Self> {
        let mut forward = Self { ports: Vec::new(), tasks: Vec::new() };
        for port in ports {
            let unbound = |error: std::io::Error| {
                Failure::failed(format!("there is no free port on loopback: {}", reason(&error)))
            };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unbound)?;
            forward.ports.push(listener.local_addr().map_err(unbound)?.port());
            let task = tokio::spawn(serve(listener, cluster.pods(), pod.to_owned(), *port));
            forward.tasks.push(task.abort_handle());
        }
        Ok(forward)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Passes on each connection by one of its own; never ends.
async fn serve(listener: TcpListener, pods: Api<Pod>, name: String, port: u16) {
    // Those that are under way end with this.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(pass_on(stream, pods.clone(), name.clone(), port));
                    }
                    // Out of descriptors, most likely: others end meanwhile.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass_on(mut stream: TcpStream, pods: Api<Pod>, name: String, port: u16) {
    // Whoever connected sees that the connection ends: nothing better can be said in a protocol that is not known here.
    let Ok(mut forwarder) = pods.portforward(&name, &[port]).await else { return };
    if let Some(mut far) = forwarder.take_stream(port) {
        let _ = stream.set_nodelay(true);
        let _ = copy_bidirectional(&mut stream, &mut far).await;
    }
    forwarder.abort();
}

/// The same for commands that wait for nothing else meanwhile: a thread of its own keeps the ways open.
#[derive(Debug)]
pub struct Way {
    /// The ports here, in the order in which those of the pod were given.
    pub ports: Vec<u16>,
    /// Dropping it ends the thread.
    _end: oneshot::Sender<()>,
}

impl Way {
    /// Opens ways to these ports of a pod, which must be there.
    pub fn open(place: &PodPlace, ports: &[u16]) -> Outcome<Self> {
        let (end, ended) = oneshot::channel();
        let (say, said) = mpsc::channel();
        let (of_thread, wanted) = (place.clone(), ports.to_vec());
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                match open(&of_thread, &wanted).await {
                    Ok(forward) => {
                        let _ = say.send(Ok(forward.ports.clone()));
                        let _ = ended.await;
                    }
                    Err(failure) => {
                        let _ = say.send(Err(failure));
                    }
                }
            });
        };
        thread::Builder::new()
            .name("forward".into())
            .spawn(body)
            .map_err(|error| Failure::failed(format!("cannot start a thread: {}", reason(&error))))?;
        match said.recv_timeout(CONNECT) {
            Ok(ports) => Ok(Self { ports: ports?, _end: end }),
            Err(RecvTimeoutError::Timeout) => Err(Failure::new(
                Exit::Unreachable,
                format!(
                    "the cluster does not answer about the pod `{}` within {}s",
                    place.name,
                    CONNECT.as_secs()
                ),
            )),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::failed("cannot start what forwards ports")),
        }
    }
}

async fn open(place: &PodPlace, ports: &[u16]) -> Outcome<Forward> {
    let cluster = Cluster::of_user(place.context.as_deref(), &place.namespace).await?;
    if cluster.get(PODS, &place.name).await?.is_none() {
        let message = format!("there is no pod `{}` in the namespace `{}`", place.name, place.namespace);
        return Err(Failure::new(Exit::Unreachable, message).help("`mq deploy` brings it back"));
    }
    Forward::open(&cluster, &place.name, ports).await
}
