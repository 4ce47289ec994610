//! What the rest of the cluster knows of the pods that run: where their logs are, and how to reach them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::network::within;

/// How long a connection to a port of a pod may take.
const DIAL: Duration = Duration::from_secs(5);

/// The pods that run, by uid.
#[derive(Debug, Default)]
pub(super) struct Node {
    pods: Mutex<BTreeMap<String, Running>>,
}

/// A pod that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    /// The network namespace.
    pub(super) namespace: String,
    /// The file that each container writes to now, and the one of its run before.
    pub(super) logs: BTreeMap<String, [Option<PathBuf>; 2]>,
    /// The logs of the containers that run.
    pub(super) alive: Vec<PathBuf>,
}

impl Node {
    pub(super) fn set(&self, uid: &str, pod: Running) {
        self.lock().insert(uid.to_owned(), pod);
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// The log of a container, when there is one.
    pub(super) fn log(&self, uid: &str, container: &str, is_previous: bool) -> Option<PathBuf> {
        self.lock().get(uid)?.logs.get(container)?[usize::from(is_previous)].clone()
    }

    /// Whether somebody may still write to a log.
    pub(super) fn is_running(&self, uid: &str, log: &Path) -> bool {
        self.lock().get(uid).is_some_and(|pod| pod.alive.iter().any(|alive| alive == log))
    }

    /// Connects to a port of a pod from inside of it.
    pub(super) fn dial(&self, uid: &str, port: u16) -> io::Result<TcpStream> {
        let namespace = self.lock().get(uid).map(|pod| pod.namespace.clone());
        let namespace =
            namespace.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the pod does not run"))?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = within(&namespace, || TcpStream::connect_timeout(&target, DIAL))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
