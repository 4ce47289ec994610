//! Nodes as pods of a cluster, which `mq` walks through one by one.
//!
//! What runs the pods is a StatefulSet whose pods are replaced when they are deleted, and not before: so the roll
//! decides which is next, and looks whether the fleet is well in between. A pod that goes for good is emptied by the roll
//! before the set gets smaller. Whoever else makes the set smaller has the pod empty itself (`mq pod leave`). Routers
//! hold nothing, and the cluster replaces them by itself.
//!
//! The cluster is all there is to know: nothing is written down here but what was deployed, and the fleet's authority.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::api::LogParams;
use mq_model::{
    admin::{self, NodeDrain, Runtime},
    config::DaemonConfig,
    kubernetes::{KubernetesTarget, KubernetesTls, Names, mounts},
    manifest::Fleet,
    mesh::{node_name, node_number},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    explain::{hang, is_ready, is_stuck},
    lease::Lease,
    memory::{Memory, Remembered},
    objects::{self, Compared, claim_of, claimed_by, name_of},
    secrets,
    tail::Tail,
};
use crate::{
    client::admin::Admin,
    cluster::{
        Application, CONFIG_MAPS, CONTROLLER_REVISIONS, Change, Cluster, DEPLOYMENTS, EVENTS, FLEETS, LEASES,
        PODS, STATEFUL_SETS, VOLUME_CLAIMS,
        forward::{PodPlace, forward},
    },
    context::Context,
    deploy::{
        Backend, Order, Stopped,
        entry::Entry,
        gate::Report,
        local::{create_private, report_of},
        lock::Lock,
        plan::{Action, Leaving, NodeState, ObservedNode, Plan, Surrounding},
        roll::QUOTE,
    },
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    relay::Relay,
    settings::{http_url, place},
    shape,
};

/// How long a pod may take for what takes time: a machine that is added, an image that is fetched, a volume that is made.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a process may take beyond the time that it is given to drain.
const STOP_GRACE: Duration = Duration::from_secs(35);
/// How often a node is asked whether it is ready, and the cluster where a watch says too much.
const LOOK: Duration = Duration::from_millis(250);
/// How long a node may take to say what it holds.
const ANSWER: Duration = Duration::from_secs(5);
/// Lines of a pod that are shown when it hangs.
const EXCERPT: i64 = 10;
/// By which revision of its set a pod was made.
const REVISION: &str = "controller-revision-hash";
/// On a pod: how far it is on its way out of the fleet.
const LEAVING: &str = "mq.messaging/leaving";
/// Whoever sets this on a Fleet has the fleet stay as it is when the object goes.
pub const RELEASE: &str = "mq.messaging/release";
/// On the claim of a volume whose node is no more: until when it is kept.
const RETAINED: &str = "mq.messaging/retained-until";

/// What others are told who want to change a fleet meanwhile.
const HAND_OVER: &str = "mq fleet hand-over";

/// The nodes of one fleet in a cluster.
pub struct Kubernetes {
    fleet: Fleet,
    target: KubernetesTarget,
    /// What was deployed before: what that has made and this does not want goes.
    former: Vec<Fleet>,
    names: Names,
    cluster: Cluster,
    directory: PathBuf,
    is_forced: bool,
    /// Whether an object of the cluster says what the fleet is, and not whoever runs this.
    is_of_object: bool,
    /// Whether what the cluster remembers of the fleet is known here, for whoever changes it next to go on with.
    is_successor: bool,
    /// The ways to the ports of each node, by its name.
    ways: Mutex<BTreeMap<String, Arc<Ways>>>,
    tails: tokio::sync::Mutex<BTreeMap<String, Tail>>,
}

/// The ways to the ports of a node.
struct Ways {
    relay: Relay,
    /// The ports of the pod, in the order in which those of this machine are.
    ports: Vec<u16>,
}

impl Ways {
    fn to(&self, port: u16) -> Option<u16> {
        let at = self.ports.iter().position(|known| *known == port)?;
        self.relay.ports.get(at).copied()
    }
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// The fleet in its cluster. `former` is what was deployed before, and `directory` holds what this machine knows of
    /// it.
    ///
    /// # Errors
    ///
    /// When its nodes are to be elsewhere, or were, or the kubeconfig does not lead to its cluster.
    pub async fn connect(fleet: &Fleet, former: Vec<Fleet>, directory: PathBuf) -> Outcome<Self> {
        let target = fleet.spec.target.kubernetes().ok_or_else(|| {
            Failure::usage(format!("the nodes of the fleet `{}` are not in a cluster", fleet.metadata.name))
        })?;
        let former: Vec<Fleet> =
            former.into_iter().filter(|former| former.spec.target.kubernetes().is_some()).collect();
        let is_elsewhere = |former: &&Fleet| {
            let there = former.spec.target.kubernetes();
            there.is_some_and(|there| {
                there.namespace() != target.namespace() || there.context != target.context
            })
        };
        if let Some(there) =
            former.iter().find(is_elsewhere).and_then(|former| former.spec.target.kubernetes())
        {
            let name = &fleet.metadata.name;
            let place = there.context.as_ref().map(|context| format!(" of {context}")).unwrap_or_default();
            let message = format!("the nodes of `{name}` are in the namespace {}{place}", there.namespace());
            return Err(Failure::new(Exit::Conflict, message).help(format!(
                "`mq undeploy --name {name} --purge` first, or choose another name with --name"
            )));
        }
        let cluster = Cluster::of_user(target.context.as_deref(), target.namespace()).await?;
        let mut backend = Self::new(fleet, target, former, (cluster, directory));
        backend.catch_up().await?;
        Ok(backend)
    }

    /// Puts here what an operator has remembered of the fleet, when there is no object of it: its authority above all. It
    /// was released, or handed over and not taken yet.
    async fn catch_up(&mut self) -> Outcome {
        let memory = self.memory();
        // Who may not look has nothing to catch up with, and a cluster that does not answer says so to what comes next.
        let is_remembered = memory.is_there().await.unwrap_or(false);
        if !is_remembered || !matches!(self.cluster.get(FLEETS, self.names.fleet()).await, Ok(None)) {
            return Ok(());
        }
        create_private(&self.directory)?;
        let Ok(_lock) = Lock::take(&self.directory, self.names.fleet(), "mq", &env::whoami()) else {
            // Another command of this machine is at it, and knows it.
            return Ok(());
        };
        if let Some(remembered) = memory.recall().await? {
            self.former.extend(remembered.wanted.into_iter().rev());
            self.is_successor = true;
        }
        Ok(())
    }

    fn memory(&self) -> Memory {
        Memory::of_fleet(&self.cluster, self.names.fleet(), self.directory.clone())
    }

    /// Gives what this machine knows of the fleet to the cluster, for an operator to go on with.
    ///
    /// # Errors
    ///
    /// When an operator has the fleet, the fleet is not there, this machine does not have its authority, or somebody else is
    /// changing it.
    pub async fn hand_over(&self) -> Outcome {
        let (name, namespace) = (self.names.fleet(), self.cluster.namespace());
        let _lock = Lock::take(&self.directory, name, HAND_OVER, &env::whoami())?;
        let lease = Lease::take(&self.cluster, name, &env::whoami(), HAND_OVER).await?;
        let is_there = lease.is_some() && self.is_there().await?;
        if !is_there {
            let message = format!("there are no nodes of the fleet `{name}` in the namespace {namespace}");
            return Err(Failure::new(Exit::NotFound, message)
                .help("an operator makes a fleet from nothing: apply its Fleet"));
        }
        let has_object = self.cluster.get(FLEETS, name).await?.is_some();
        if has_object && self.memory().is_there().await? {
            let message = format!(
                "the fleet is that of the object `fleet/{name}` in the namespace {namespace} already"
            );
            return Err(Failure::new(Exit::Conflict, message).help("change the object"));
        }
        if self.target.tls() == KubernetesTls::Own && !self.directory.join("ca").exists() {
            let message = format!("the authority of the fleet `{name}` is not on this machine");
            return Err(Failure::new(Exit::NotFound, message)
                .help("do it where the fleet was deployed, or `mq fleet import` it from there"));
        }
        let mut wanted: Vec<Fleet> = self.former.iter().rev().cloned().collect();
        if wanted.last() != Some(&self.fleet) {
            wanted.push(self.fleet.clone());
        }
        self.memory().keep(&Remembered { wanted, rotated: None }).await
    }

    /// The fleet of an object in the namespace of this pod. Fields that somebody else has changed are changed back.
    ///
    /// # Errors
    ///
    /// When its nodes are to be elsewhere.
    pub fn of_object(
        fleet: &Fleet,
        former: Vec<Fleet>,
        cluster: &Cluster,
        directory: PathBuf,
    ) -> Outcome<Self> {
        let target = fleet.spec.target.kubernetes().ok_or_else(|| {
            Failure::usage(format!("the nodes of the fleet `{}` are not in a cluster", fleet.metadata.name))
        })?;
        let backend = Self::new(fleet, target, former, (cluster.clone(), directory));
        Ok(Self { is_forced: true, is_of_object: true, ..backend })
    }

    fn new(
        fleet: &Fleet,
        target: &KubernetesTarget,
        former: Vec<Fleet>,
        (cluster, directory): (Cluster, PathBuf),
    ) -> Self {
        Self {
            fleet: fleet.clone(),
            target: target.clone(),
            former,
            names: Names::of_fleet(&fleet.metadata.name),
            cluster,
            directory,
            is_forced: false,
            is_of_object: false,
            is_successor: false,
            ways: Mutex::default(),
            tails: tokio::sync::Mutex::default(),
        }
    }

    /// Takes fields from whoever else owns them.
    #[must_use]
    pub fn forced(self, is_forced: bool) -> Self {
        Self { is_forced, ..self }
    }

    /// The fleet as it is wanted.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn pod(&self, node: &str) -> String {
        format!("{}-{node}", self.names.fleet())
    }

    /// The node in a pod of the StatefulSet.
    fn node_in(&self, pod: &str) -> Option<String> {
        let node = pod.strip_prefix(self.names.fleet())?.strip_prefix('-')?;
        node_number(node).map(node_name)
    }

    fn labels(&self) -> String {
        format!("app.kubernetes.io/name=mq,app.kubernetes.io/instance={}", self.names.fleet())
    }

    fn objects(&self) -> Outcome<Vec<Value>> {
        let mut objects = objects::of_fleet(&self.fleet, |rendering| {
            create_private(&self.directory)?;
            rendering.secrets(&self.directory, Timestamp::now())
        })?;
        if self.is_of_object {
            // Whoever looks after one namespace has no say in the rest of the cluster.
            objects.retain(|object| !objects::is_shared(object));
        }
        Ok(objects)
    }

    /// Makes in the fleet's directory what is missing of its certificates.
    ///
    /// # Errors
    ///
    /// When files cannot be read or written.
    pub fn equip(&self) -> Outcome {
        self.objects().map(drop)
    }

    /// Whether the cluster has nodes of the fleet, or is to have.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub async fn is_there(&self) -> Outcome<bool> {
        Ok(self.stateful_set().await?.is_some())
    }

    /// How many nodes serve clients, by the word of the cluster.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub async fn ready_nodes(&self) -> Outcome<u64> {
        let set = self.stateful_set().await?;
        Ok(set.and_then(|set| set["status"]["readyReplicas"].as_u64()).unwrap_or(0))
    }

    /// The messages that the volumes of the fleet hold, and the nodes that cannot say what theirs does.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer.
    pub async fn stored(&self) -> Outcome<(u64, Vec<String>)> {
        let (pods, mut messages, mut unknown) = (self.pods().await?, 0, Vec::new());
        for node in pods.keys() {
            match tokio::time::timeout(ANSWER, self.holds(node)).await {
                Ok(Ok(holds)) => messages += holds.messages,
                _ => unknown.push(node.clone()),
            }
        }
        for (number, claim) in self.claims().await? {
            let node = node_name(number);
            // Those of nodes that have left were emptied before.
            let is_in_use = claim["metadata"]["annotations"][RETAINED].is_null()
                && claim["metadata"]["deletionTimestamp"].is_null();
            if is_in_use && !pods.contains_key(&node) {
                unknown.push(node);
            }
        }
        Ok((messages, unknown))
    }

    /// Stops every node and takes away all that was made for the fleet, but for the volumes, which are kept for a while
    /// unless the fleet says otherwise.
    ///
    /// # Errors
    ///
    /// When the cluster refuses something, or a node does not end; the same call goes on.
    pub async fn dissolve(&self, retain: Duration, output: &Output) -> Outcome {
        let _lock = self.lock("mq operator").await?;
        // First of all: whoever goes on with this after an end in between finds that nobody's volume is in use.
        let until = Timestamp::now().checked_add(retain).unwrap_or(Timestamp::MAX);
        for (number, claim) in self.claims().await? {
            if claim["metadata"]["annotations"][RETAINED].is_null() {
                self.note_claim(&node_name(number), Some(until)).await?;
            }
        }
        for node in self.nodes().await? {
            self.ask_to_stop(&node).await?;
        }
        for node in self.nodes().await? {
            self.await_stop(&node, STOP_GRACE, output).await?;
        }
        let wanted = self.objects()?;
        objects::delete(&self.cluster, &wanted).await?;
        objects::delete(&self.cluster, &self.left_over(&wanted)?).await?;
        self.delete_lease().await
    }

    async fn delete_lease(&self) -> Outcome {
        let lease = Lease::name(self.names.fleet());
        if let Some(found) = self.cluster.get(LEASES, &lease).await? {
            let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
            self.cluster.delete_exactly(LEASES, &lease, uid).await?;
        }
        Ok(())
    }

    /// Refuses to change by hand what an object of the cluster says.
    async fn leave_to_object(&self) -> Outcome {
        let name = self.names.fleet();
        let found = match self.cluster.get(FLEETS, name).await {
            // Who may not look cannot be told.
            Err(failure) if failure.exit == Exit::Denied => None,
            found => found?,
        };
        if self.is_of_object || found.is_none() {
            return Ok(());
        }
        let namespace = self.cluster.namespace();
        let message = format!(
            "the object `fleet/{name}` in the namespace {namespace} says what the fleet is, and its operator would take \
             this back"
        );
        Err(Failure::new(Exit::Conflict, message).help(format!(
            "change that: `kubectl --namespace {namespace} edit fleets.mq.messaging {name}`; to deploy by hand again, set its \
             annotation {RELEASE}=\"true\" and delete it"
        )))
    }

    /// The objects, with as many pods as there are now: the roll changes their number.
    async fn wanted(&self) -> Outcome<Vec<Value>> {
        let replicas = self.replicas().await?;
        let mut objects = self.objects()?;
        for set in objects.iter_mut().filter(|object| object["kind"] == "StatefulSet") {
            set["spec"]["replicas"] = replicas.into();
        }
        Ok(objects)
    }

    /// What earlier deployments have made and this one does not want.
    fn left_over(&self, wanted: &[Value]) -> Outcome<Vec<Value>> {
        let mut left_over = Vec::new();
        for former in &self.former {
            let former = objects::of_fleet(former, |_| Ok(Vec::new()))?;
            left_over.extend(objects::left_over(&former, wanted));
        }
        Ok(left_over)
    }

    async fn stateful_set(&self) -> Outcome<Option<Value>> {
        self.cluster.get(STATEFUL_SETS, &self.names.nodes()).await
    }

    /// How many pods the set is to have now.
    async fn replicas(&self) -> Outcome<u32> {
        let set = self.stateful_set().await?;
        let replicas = set.and_then(|set| set["spec"]["replicas"].as_u64());
        Ok(replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(0))
    }

    async fn scale(&self, replicas: u32) -> Outcome {
        for mut set in self.objects()?.into_iter().filter(|object| object["kind"] == "StatefulSet") {
            set["spec"]["replicas"] = replicas.into();
            // Whoever else has changed the number has been asked for before.
            self.cluster.apply(&set, Application { is_rehearsal: false, is_forced: self.is_forced }).await?;
        }
        Ok(())
    }

    /// Has the nodes that only pass on, and the operator, end.
    async fn end_others(&self) -> Outcome {
        for mut object in self.objects()?.into_iter().filter(|object| object["kind"] == "Deployment") {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if self.cluster.get(DEPLOYMENTS, name).await?.is_some() {
                object["spec"]["replicas"] = 0.into();
                let how = Application { is_rehearsal: false, is_forced: true };
                self.cluster.apply(&object, how).await?;
            }
        }
        Ok(())
    }

    /// The pods of the nodes that store, by node.
    async fn pods(&self) -> Outcome<BTreeMap<String, Value>> {
        let labels = format!("{},app.kubernetes.io/component=node", self.labels());
        let listed = self.cluster.list_labelled(PODS, &labels).await?;
        let named = listed.items.into_iter().filter_map(|pod| {
            let node = self.node_in(pod["metadata"]["name"].as_str()?)?;
            Some((node, pod))
        });
        Ok(named.collect())
    }

    async fn pod_of(&self, node: &str) -> Outcome<Option<Value>> {
        self.cluster.get(PODS, &self.pod(node)).await
    }

    /// Waits until the pod of a node is such, looking at each change of it. `None`: it was not, until the deadline.
    async fn until<T>(
        &self,
        node: &str,
        end: Instant,
        mut judge: impl FnMut(Option<&Value>) -> Option<Outcome<T>>,
    ) -> Outcome<Option<T>> {
        let labels = format!("{},app.kubernetes.io/component=node", self.labels());
        let name = self.pod(node);
        loop {
            let listed = self.cluster.list_labelled(PODS, &labels).await?;
            let is_it = |pod: &Value| pod["metadata"]["name"] == name.as_str();
            let mut pod = listed.items.into_iter().find(&is_it);
            let mut watch = self.cluster.watch_labelled(PODS, &labels, &listed.version).await?;
            loop {
                if let Some(judged) = judge(pod.as_ref()) {
                    return judged.map(Some);
                }
                match tokio::time::timeout_at(end, watch.next()).await {
                    Err(_) => return Ok(None),
                    Ok(Ok(Some(Change::Object(object)))) if is_it(&object) => pod = Some(object),
                    Ok(Ok(Some(Change::Gone(object)))) if is_it(&object) => pod = None,
                    Ok(Ok(Some(_))) => {}
                    // The watch is over, or does not know the changes any more.
                    Ok(Ok(None) | Err(_)) => break,
                }
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the cluster says that the pod is ready, made as it is to be made now: as long as the user says for what
    /// may never come, and longer for what takes its time.
    async fn until_ready(&self, node: &str, revision: &str, deadline: Duration) -> Outcome {
        let begin = Instant::now();
        let ready = self.until(node, begin + deadline.max(PATIENCE), |pod| {
            let metadata = &pod?["metadata"];
            let is_new = metadata["deletionTimestamp"].is_null() && metadata["labels"][REVISION] == revision;
            (is_new && pod.is_some_and(is_ready)).then_some(Ok(()))
        });
        // A pod that hangs does not change: it is looked at again all the same.
        let stuck = async {
            loop {
                tokio::time::sleep(deadline.max(LOOK)).await;
                if is_stuck(self.pod_of(node).await?.as_ref()) {
                    return Ok::<_, Failure>(None);
                }
            }
        };
        let ready = tokio::select! {
            ready = ready => ready?,
            stuck = stuck => stuck?,
        };
        match ready {
            Some(()) => Ok(()),
            None => Err(self.hung(node, begin.elapsed()).await),
        }
    }

    /// Why a node is not ready, with what its pod waits for and what it said last.
    async fn hung(&self, node: &str, waited: Duration) -> Failure {
        let why = self.why(node).await.unwrap_or_else(|| "it is ready now".into());
        let mut message = format!("the node `{node}` was not ready within {}: {why}", shape::elapsed(waited));
        for line in self.last_words(node).await {
            message.push_str(QUOTE);
            message.push_str(&line);
        }
        Failure::new(Exit::TimedOut, message).help(format!(
            "see `kubectl --namespace {} describe pod {}`",
            self.cluster.namespace(),
            self.pod(node)
        ))
    }

    /// What the pod of a node waits for; `None`: for nothing.
    async fn why(&self, node: &str) -> Option<String> {
        let (name, pod) = (self.pod(node), self.pod_of(node).await.ok()?);
        let mut subjects = vec![name.clone(), claim_of(&name)];
        if pod.is_none() {
            subjects.push(self.names.nodes());
        }
        let mut events = Vec::new();
        for subject in subjects {
            let fields = format!("involvedObject.name={subject}");
            // What cannot be had explains nothing; the reason stands without it.
            events.extend(self.cluster.list_with_fields(EVENTS, &fields).await.unwrap_or_default().items);
        }
        hang(pod.as_ref(), &events)
    }

    /// The ways to the ports of a node.
    async fn ways(&self, node: &str) -> Outcome<Arc<Ways>> {
        let known = |ways: &Mutex<BTreeMap<String, Arc<Ways>>>| {
            ways.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
        };
        if let Some(ways) = known(&self.ways) {
            return Ok(ways);
        }
        let config = DaemonConfig::from_fleet(&self.fleet, node, mounts::STATE);
        let ports: Vec<u16> = config.listeners.named().iter().map(|(_, listener)| listener.port).collect();
        let relay = forward(&self.cluster, &self.pod(node), &ports).await?;
        let opened = Arc::new(Ways { relay, ports });
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(ways.entry(node.to_owned()).or_insert(opened)))
    }

    /// The admin API on the loopback of a pod: who may forward a port to it is the cluster's to say.
    async fn admin(&self, node: &str) -> Outcome<Admin> {
        let port = DaemonConfig::from_fleet(&self.fleet, node, mounts::STATE).listeners.http.port;
        let local = self.ways(node).await?.to(port).ok_or_else(|| {
            Failure::failed(format!("the node `{node}` has no listener `http`"))
                .help("leave listeners.http on: it is on the loopback of its pod")
        })?;
        Admin::new(http_url(&format!("http://127.0.0.1:{local}"))?)
    }

    /// What a node says of itself; `None`: it does not serve.
    async fn serving(&self, node: &str) -> Outcome<Option<(Runtime, u64)>> {
        let admin = self.admin(node).await?;
        if !admin.is_ready().await {
            return Ok(None);
        }
        let Ok(found) = admin.node().await else { return Ok(None) };
        let Ok(statistics) = admin.statistics().await else { return Ok(None) };
        if found.state != admin::NodeState::Running {
            return Ok(None);
        }
        let runtime = Runtime {
            node: found.name,
            fleet: found.fleet,
            pid: found.pid,
            version: found.version,
            config_hash: found.config_hash,
            listeners: found.listeners,
        };
        Ok(Some((runtime, statistics.connections)))
    }

    async fn until_serving(&self, node: &str, deadline: Duration) -> Outcome<Runtime> {
        let begin = Instant::now();
        loop {
            if let Some((runtime, _)) = self.serving(node).await? {
                return Ok(runtime);
            }
            if begin.elapsed() >= deadline {
                return Err(self.hung(node, begin.elapsed()).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The revision by which pods are made now, once the cluster has seen what was applied.
    async fn revision(&self) -> Outcome<String> {
        let begin = Instant::now();
        loop {
            if let Some(set) = self.stateful_set().await? {
                let seen = set["status"]["observedGeneration"].as_u64().unwrap_or(0);
                let revision = set["status"]["updateRevision"].as_str().unwrap_or_default();
                if seen >= set["metadata"]["generation"].as_u64().unwrap_or(0) && !revision.is_empty() {
                    return Ok(revision.to_owned());
                }
            }
            if begin.elapsed() >= PATIENCE {
                let message = format!(
                    "the cluster has not looked at the StatefulSet `{}` for {}",
                    self.names.nodes(),
                    shape::elapsed(PATIENCE)
                );
                return Err(Failure::new(Exit::TimedOut, message).help("see whether its controllers run"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The template of the pods that would be made after this deployment; `None`: there is no set yet.
    async fn template(&self, set: Option<&Value>) -> Outcome<Option<Value>> {
        if set.is_none() {
            return Ok(None);
        }
        let objects = self.wanted().await?;
        let Some(object) = objects.iter().find(|object| object["kind"] == "StatefulSet") else {
            return Ok(None);
        };
        let how = Application { is_rehearsal: true, is_forced: true };
        Ok(Some(self.cluster.apply(object, how).await?["spec"]["template"].clone()))
    }

    /// The templates by which the pods were made that are there, by the revisions that they name. One whose revision the
    /// cluster has forgotten, or does not show, is missing.
    async fn revisions(
        &self,
        pods: &BTreeMap<String, Value>,
        set: Option<&Value>,
    ) -> Outcome<BTreeMap<String, Value>> {
        let mut templates = BTreeMap::new();
        if let Some((name, template)) = set.and_then(newest_revision) {
            templates.insert(name, template);
        }
        let named = pods.values().filter_map(|pod| pod["metadata"]["labels"][REVISION].as_str());
        for name in named.collect::<BTreeSet<_>>() {
            if templates.contains_key(name) {
                continue;
            }
            match self.cluster.get(CONTROLLER_REVISIONS, name).await {
                Ok(Some(revision)) => drop(templates.insert(name.to_owned(), made_by(&revision))),
                Ok(None) => {}
                Err(failure) if failure.exit == Exit::Denied => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(templates)
    }

    async fn observe_pod(&self, node: &str, pod: Option<&Value>) -> Outcome<ObservedNode> {
        let Some(pod) = pod else {
            let claim = self.cluster.get(VOLUME_CLAIMS, &claim_of(&self.pod(node))).await?;
            let is_kept = claim.is_some_and(|claim| claim["metadata"]["annotations"][RETAINED].is_null());
            let state = if is_kept { NodeState::Stopped { is_clean: true } } else { NodeState::Absent };
            return Ok(ObservedNode::new(node, state));
        };
        let serving = if is_ready(pod) { self.serving(node).await? } else { None };
        let Some((runtime, connections)) = serving else {
            return Ok(ObservedNode { leaving: leaving(pod), ..ObservedNode::new(node, NodeState::Silent) });
        };
        let mut found = ObservedNode::new(node, NodeState::Running { runtime, connections });
        found.leaving = leaving(pod);
        found.holds = self.holds(node).await.ok();
        Ok(found)
    }

    /// The claims of volumes of nodes, by number.
    async fn claims(&self) -> Outcome<BTreeMap<u32, Value>> {
        let listed = self.cluster.list(VOLUME_CLAIMS).await?;
        let of_nodes = listed.items.into_iter().filter_map(|claim| {
            let number = claimed_by(&self.names, claim["metadata"]["name"].as_str()?)?;
            Some((number, claim))
        });
        Ok(of_nodes.collect())
    }

    async fn delete_claim(&self, claim: &Value) -> Outcome {
        let text = |field: &str| claim["metadata"][field].as_str().unwrap_or_default();
        self.cluster.delete_exactly(VOLUME_CLAIMS, text("name"), text("uid")).await
    }

    /// Notes on the claim of a node that it is kept until then, or that it is in use.
    async fn note_claim(&self, node: &str, until: Option<Timestamp>) -> Outcome {
        let change =
            json!({ "metadata": { "annotations": { RETAINED: until.map(|until| until.to_string()) } } });
        match self.cluster.merge(VOLUME_CLAIMS, &[&claim_of(&self.pod(node))], &change).await {
            Err(failure) if failure.exit != Exit::NotFound => Err(failure),
            _ => Ok(()),
        }
    }

    /// Waits until the pod that has this `uid` is gone.
    async fn until_gone(&self, node: &str, uid: &str, deadline: Duration) -> Outcome {
        let drain = self
            .fleet
            .spec
            .drain_seconds
            .map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
        let deadline = deadline.saturating_add(drain).saturating_add(STOP_GRACE);
        let gone = self.until(node, Instant::now() + deadline, |pod| {
            pod.is_none_or(|pod| pod["metadata"]["uid"] != uid).then_some(Ok(()))
        });
        match gone.await? {
            Some(()) => Ok(()),
            // Killed by force, a second one could come while the first still has the volume.
            None => Err(Failure::new(
                Exit::TimedOut,
                format!("the pod `{}` has not ended within {}", self.pod(node), shape::elapsed(deadline)),
            )
            .help(
                "it may be giving away what it holds, or its machine may be lost; see `kubectl describe pod`",
            )),
        }
    }

    /// Deletes the namespace, when `mq` has made it for the fleet and nothing is left in it.
    async fn leave_namespace(&self) -> Outcome {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.cluster.namespace() },
        });
        let Some(there) = self.cluster.there(&namespace).await? else { return Ok(()) };
        let labels = &there["metadata"]["labels"];
        let is_own = labels["app.kubernetes.io/managed-by"] == "mq"
            && labels["app.kubernetes.io/instance"] == self.names.fleet();
        if !is_own || self.cluster.namespace() == "default" {
            return Ok(());
        }
        // What every namespace has is not somebody's.
        let is_given = |object: &Value| object["metadata"]["name"] == "kube-root-ca.crt";
        let mut is_empty = true;
        for kind in [PODS, CONFIG_MAPS, crate::cluster::SECRETS, STATEFUL_SETS, DEPLOYMENTS, VOLUME_CLAIMS] {
            let of_others = self
                .cluster
                .list(kind)
                .await?
                .items
                .into_iter()
                .filter(|object| !is_given(object) && object["metadata"]["deletionTimestamp"].is_null());
            is_empty &= of_others.count() == 0;
        }
        if is_empty { self.cluster.delete(&namespace).await.map(drop) } else { Ok(()) }
    }
}

/// The name and the template of the revision by which a set makes pods, once its controller has seen what it is to be.
fn newest_revision(set: &Value) -> Option<(String, Value)> {
    let is_seen = set["status"]["observedGeneration"].as_u64()? >= set["metadata"]["generation"].as_u64()?;
    let name = set["status"]["updateRevision"].as_str().filter(|_| is_seen)?;
    Some((name.to_owned(), set["spec"]["template"].clone()))
}

/// The template that a revision of a set keeps.
fn made_by(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(fields) = template.as_object_mut() {
        // How it is put back, and no part of it.
        fields.shift_remove("$patch");
    }
    template
}

/// A template without what says nothing: a time that nobody knows.
fn said(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    template
}

/// Why a pod is not what a new one would be, whatever its configuration, given the template that it was made by, as far
/// as that is known; `None`: it is.
fn stale(made_by: Option<&Value>, wanted: &Value) -> Option<String> {
    let Some(made_by) = made_by else { return Some("its pod is of an earlier deployment".into()) };
    let image = |template: &Value| template["spec"]["containers"][0]["image"].clone();
    if image(made_by) != image(wanted) {
        return Some(format!("the image becomes {}", image(wanted)));
    }
    (said(made_by) != said(wanted)).then(|| "its pod changes".into())
}

/// Deletes the volumes of a namespace whose nodes are no more and whose time is over, whether their fleet is still there
/// or not.
///
/// # Errors
///
/// When the cluster refuses it.
pub async fn sweep(cluster: &Cluster, now: Timestamp) -> Outcome {
    for claim in cluster.list(VOLUME_CLAIMS).await?.items {
        let until = claim["metadata"]["annotations"][RETAINED].as_str();
        let is_over =
            until.and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until < now);
        let text = |field: &str| claim["metadata"][field].as_str().unwrap_or_default();
        let Some(pod) = text("name").strip_prefix("data-").filter(|_| is_over) else { continue };
        if cluster.get(PODS, pod).await?.is_none() {
            cluster.delete_exactly(VOLUME_CLAIMS, text("name"), text("uid")).await?;
        }
    }
    Ok(())
}

fn leaving(pod: &Value) -> Option<Leaving> {
    match pod["metadata"]["annotations"][LEAVING].as_str()? {
        "empty" => Some(Leaving::Empty),
        _ => Some(Leaving::Draining),
    }
}

impl Backend for Kubernetes {
    fn directory(&self) -> &Path {
        &self.directory
    }

    fn place(&self) -> String {
        let namespace = self.cluster.namespace();
        match &self.target.context {
            Some(context) => format!("in the namespace {namespace} of {context}"),
            None => format!("in the namespace {namespace} of {}", self.cluster.place()),
        }
    }

    async fn lock(&self, command: &str) -> Outcome<Lock> {
        self.leave_to_object().await?;
        create_private(&self.directory)?;
        let by = env::whoami();
        let lock = Lock::take(&self.directory, &self.fleet.metadata.name, command, &by)?;
        let lease = Lease::take(&self.cluster, self.names.fleet(), &by, command).await?;
        if self.is_successor {
            // From now on the authority may become another one here.
            self.memory().leave().await?;
        }
        Ok(lock.beside(lease))
    }

    async fn kept(&self) -> Outcome<BTreeMap<String, DaemonConfig>> {
        let Some(found) = self.cluster.get(CONFIG_MAPS, &self.names.config()).await? else {
            return Ok(BTreeMap::new());
        };
        let files = found["data"].as_object().into_iter().flatten();
        let configs = files.filter_map(|(file, text)| {
            let node = self.node_in(file.strip_suffix(".yaml")?)?;
            // One that cannot be read is written anew.
            let config = DaemonConfig::parse(file, text.as_str()?).ok()?;
            Some((node, config))
        });
        Ok(configs.collect())
    }

    async fn nodes(&self) -> Outcome<Vec<String>> {
        let mut nodes: Vec<String> = self.pods().await?.into_keys().collect();
        nodes.sort_by_key(|node| node_number(node));
        Ok(nodes)
    }

    async fn runtimes(&self) -> Outcome<Vec<Runtime>> {
        let mut runtimes = Vec::new();
        for node in self.nodes().await? {
            // One that does not answer now may do so when somebody wants it.
            runtimes.extend(self.serving(&node).await?.map(|(runtime, _)| runtime));
        }
        Ok(runtimes)
    }

    fn state(&self, _: &str) -> PathBuf {
        mounts::STATE.into()
    }

    fn free_port(&self, _: &str, _: &BTreeSet<u16>) -> Outcome<u16> {
        Err(Failure::usage("a port of 0 cannot be meant in a cluster: others have to know it")
            .help("set mesh.port to a number, or leave it out"))
    }

    fn mesh_address(&self, node: &str) -> Option<String> {
        node_number(node).map(|number| self.names.host(number))
    }

    fn reached(&self, runtime: &Runtime) -> Runtime {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ways) = ways.get(&runtime.node) else { return runtime.clone() };
        let listeners = runtime.listeners.iter().filter_map(|listener| {
            let port = ways.to(listener.port)?;
            Some(admin::Listener { host: "127.0.0.1".into(), port, ..listener.clone() })
        });
        Runtime { listeners: listeners.collect(), ..runtime.clone() }
    }

    fn entry(&self, _: &str) -> Entry {
        let entry = Entry::default().of_administrator(&self.directory);
        let is_own = self.target.tls() == KubernetesTls::Own && self.target.server_secret.is_none();
        if is_own { entry.by_certificate() } else { entry }
    }

    fn context(&self, runtimes: &[Runtime]) -> Option<Context> {
        if self.is_of_object {
            return None;
        }
        let pod = |node: &str| PodPlace {
            context: self.target.context.clone(),
            namespace: self.cluster.namespace().to_owned(),
            name: self.pod(node),
        };
        let mut nodes: Vec<_> = runtimes.iter().filter_map(place).collect();
        for place in &mut nodes {
            place.pod = Some(pod(&place.name));
        }
        let first = nodes.first().cloned()?;
        let mut context = Context { nodes, fleet: Some(self.directory.clone()), ..Context::default() };
        context.stand_in(&first);
        Some(context)
    }

    /// What is in Secrets that are there. Those that are missing are among the objects, and made with them.
    async fn renew(&self, _: &[DaemonConfig]) -> Outcome<Vec<String>> {
        let how = Application { is_rehearsal: false, is_forced: self.is_forced };
        for secret in self.objects()?.into_iter().filter(|object| object["kind"] == "Secret") {
            let there = self.cluster.there(&secret).await?;
            if there.is_some_and(|there| there["data"] != secret["data"]) {
                self.cluster.apply(&secret, how).await?;
            }
        }
        // They are every node's.
        Ok(Vec::new())
    }

    async fn certificates(&self, _: &DaemonConfig) -> Outcome<Vec<String>> {
        if let KubernetesTls::CertManager(_) = self.target.tls() {
            let message = "the certificates of the fleet are made by cert-manager, and nobody else has them";
            return Err(Failure::usage(message).help("have cert-manager renew them: `cmctl renew`"));
        }
        let is_brought = self.target.server_secret.is_some();
        secrets::shown(&self.directory, is_brought)
    }

    fn patience(&self, wait: Duration) -> Duration {
        // The machines of a cluster look for changed Secrets about once in a minute.
        wait.max(PATIENCE)
    }

    async fn others(&self) -> Outcome<Vec<(DaemonConfig, Admin)>> {
        let labels = format!("{},app.kubernetes.io/component=router", self.labels());
        let mut others = Vec::new();
        for pod in self.cluster.list_labelled(PODS, &labels).await?.items {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            // One that is about to start reads what is there then.
            if !is_ready(&pod) || pod["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let config = DaemonConfig { node: name.to_owned(), ..DaemonConfig::of_router(&self.fleet) };
            let port = config.listeners.http.port;
            let relay = forward(&self.cluster, name, &[port]).await?;
            let ways = Arc::new(Ways { relay, ports: vec![port] });
            let Some(local) = ways.to(port) else { continue };
            self.ways.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), ways);
            others.push((config, Admin::new(http_url(&format!("http://127.0.0.1:{local}"))?)?));
        }
        Ok(others)
    }

    async fn sweep(&self, now: Timestamp) -> Outcome {
        let pods = self.pods().await?;
        for (number, claim) in self.claims().await? {
            let until = claim["metadata"]["annotations"][RETAINED].as_str();
            let is_over =
                until.and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|until| until < now);
            if is_over && !pods.contains_key(&node_name(number)) {
                self.delete_claim(&claim).await?;
            }
        }
        Ok(())
    }

    async fn surroundings(&self) -> Outcome<Vec<Surrounding>> {
        let wanted = self.wanted().await?;
        let left_over = self.left_over(&wanted)?;
        let compared = objects::compare(&self.cluster, wanted, self.is_forced).await?;
        let mut found: Vec<Surrounding> = compared.into_iter().map(|compared| compared.surrounding).collect();
        for object in left_over {
            if self.cluster.there(&object).await?.is_some() {
                found.push(Surrounding::new(name_of(&object), Action::Delete));
            }
        }
        Ok(found)
    }

    async fn surround(&self, plan: &Plan) -> Outcome {
        if !plan.surroundings().any(|step| step.action.is_change()) {
            return Ok(());
        }
        let wanted = self.wanted().await?;
        let left_over = self.left_over(&wanted)?;
        let how = Application { is_rehearsal: false, is_forced: self.is_forced };
        for Compared { object, surrounding } in
            objects::compare(&self.cluster, wanted, self.is_forced).await?
        {
            if surrounding.action.is_change() {
                self.cluster.apply(&object, how).await?;
            }
        }
        objects::delete(&self.cluster, &left_over).await.map(drop)
    }

    async fn settled(&self, deadline: Duration, output: &Output) -> Outcome {
        let begin = Instant::now();
        let wanted: Vec<String> = self
            .objects()?
            .iter()
            .filter(|object| object["kind"] == "Deployment")
            .filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        for name in wanted {
            loop {
                let found = self.cluster.get(DEPLOYMENTS, &name).await?;
                if found.as_ref().is_some_and(is_rolled_out) {
                    break;
                }
                if begin.elapsed() >= deadline.max(PATIENCE) {
                    let message = format!(
                        "the pods of the Deployment `{name}` are not ready: {}",
                        conditions(found.as_ref())
                    );
                    return Err(Failure::new(Exit::TimedOut, message).help(format!(
                        "see `kubectl --namespace {} describe deployment {name}`; the same command goes on",
                        self.cluster.namespace()
                    )));
                }
                tokio::time::sleep(LOOK).await;
            }
            output.talk(&format!("{name} is ready"));
        }
        Ok(())
    }

    async fn observe(&self, nodes: &[DaemonConfig]) -> Outcome<Vec<ObservedNode>> {
        let (pods, set, kept) = (self.pods().await?, self.stateful_set().await?, self.kept().await?);
        let template = self.template(set.as_ref()).await?;
        let revisions = self.revisions(&pods, set.as_ref()).await?;
        let wanted: Vec<String> = nodes.iter().map(|node| node.node.clone()).collect();
        let others = pods.keys().filter(|name| !wanted.contains(name)).cloned();
        let mut observed = Vec::new();
        for name in wanted.iter().cloned().chain(others) {
            let pod = pods.get(&name);
            let mut found = self.observe_pod(&name, pod).await?;
            found.config = kept.get(&name).cloned();
            found.stale = pod.and_then(|pod| {
                let of = pod["metadata"]["labels"][REVISION].as_str().and_then(|name| revisions.get(name));
                stale(of, template.as_ref()?)
            });
            observed.push(found);
        }
        Ok(observed)
    }

    async fn version(&self) -> Outcome<Option<String>> {
        // What is in an image nobody knows before it runs.
        Ok(None)
    }

    async fn preflight(&self, _: &[(&DaemonConfig, Option<&Runtime>)]) -> Outcome {
        // The cluster has rehearsed what it is given.
        Ok(())
    }

    async fn start(&self, node: &DaemonConfig, deadline: Duration, _: &Output) -> Outcome<Runtime> {
        let name = &node.node;
        let number = node_number(name).unwrap_or(1);
        self.note_claim(name, None).await?;
        if self.replicas().await? < number {
            self.scale(number).await?;
        }
        let revision = self.revision().await?;
        self.replace_old(name, &revision, deadline).await?;
        self.until_ready(name, &revision, deadline).await?;
        self.until_serving(name, deadline).await
    }

    async fn wait_ready(&self, node: &str, deadline: Duration, _: &Output) -> Outcome<Runtime> {
        let revision = self.revision().await?;
        // One that hangs is not replaced by a better one unless it goes.
        self.replace_old(node, &revision, deadline).await?;
        self.until_ready(node, &revision, deadline).await?;
        self.until_serving(node, deadline).await
    }

    async fn stop(&self, node: &str, deadline: Duration, output: &Output) -> Outcome<Stopped> {
        let Some(pod) = self.pod_of(node).await? else { return Ok(Stopped::Already) };
        let number = node_number(node).unwrap_or(1);
        if number > self.fleet.spec.nodes() {
            if self.replicas().await? >= number {
                self.scale(number - 1).await?;
            }
            return self.await_stop(node, deadline, output).await;
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        self.cluster.delete_exactly(PODS, &self.pod(node), uid).await?;
        self.until_gone(node, uid, deadline).await?;
        Ok(Stopped::Drained)
    }

    async fn ask_to_stop(&self, node: &str) -> Outcome<bool> {
        if self.replicas().await? > 0 {
            self.end_others().await?;
            self.scale(0).await?;
        }
        Ok(self.pod_of(node).await?.is_some())
    }

    async fn await_stop(&self, node: &str, deadline: Duration, _: &Output) -> Outcome<Stopped> {
        let Some(pod) = self.pod_of(node).await? else { return Ok(Stopped::Drained) };
        self.until_gone(node, pod["metadata"]["uid"].as_str().unwrap_or_default(), deadline).await?;
        Ok(Stopped::Drained)
    }

    async fn report(&self, node: &str, depth: bool) -> Outcome<Report> {
        report_of(&self.admin(node).await?, node, depth).await
    }

    async fn order(&self, node: &str, order: Order) -> Outcome<NodeDrain> {
        self.admin(node).await?.order(order).await
    }

    async fn holds(&self, node: &str) -> Outcome<NodeDrain> {
        self.admin(node).await?.holds().await
    }

    async fn note_leaving(&self, node: &str, leaving: Option<Leaving>) -> Outcome {
        let word = leaving.map(|leaving| match leaving {
            Leaving::Draining => "draining",
            Leaving::Empty => "empty",
        });
        let change = json!({ "metadata": { "annotations": { LEAVING: word } } });
        match self.cluster.merge(PODS, &[&self.pod(node)], &change).await {
            Err(failure) if failure.exit != Exit::NotFound => Err(failure),
            _ => Ok(()),
        }
    }

    async fn retire(&self, node: &str, retain: Duration) -> Outcome<String> {
        let claim = claim_of(&self.pod(node));
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        let is_last = node_number(node).is_some_and(|number| number > self.fleet.spec.nodes());
        let replicas = self.replicas().await?;
        if is_last && node_number(node).is_some_and(|number| replicas >= number) {
            // Its pod had not been there.
            self.scale(node_number(node).unwrap_or(1) - 1).await?;
        }
        if !self.target.storage.is_retained() {
            return Ok("no volume any more: storage.retain is off".into());
        }
        let until = Timestamp::now().checked_add(retain).unwrap_or(Timestamp::MAX);
        self.note_claim(node, Some(until)).await?;
        Ok(format!("the volume of the claim {claim}"))
    }

    async fn last_words(&self, node: &str) -> Vec<String> {
        let pod = self.pod(node);
        let parameters = LogParams { tail_lines: Some(EXCERPT), ..LogParams::default() };
        let now = self.cluster.log(&pod, &parameters).await.unwrap_or_default();
        let said = match now.trim().is_empty() {
            false => now,
            true => {
                let before = LogParams { previous: true, ..parameters };
                self.cluster.log(&pod, &before).await.unwrap_or_default()
            }
        };
        said.lines().map(str::to_owned).collect()
    }

    async fn log(&self, node: &str, lines: Option<u32>) -> Outcome<Vec<u8>> {
        let mut tails = self.tails.lock().await;
        if lines.is_some() || tails.get(node).is_none_or(|tail| tail.has_ended) {
            let is_again = tails.contains_key(node);
            match Tail::open(&self.cluster, &self.pod(node), lines).await {
                Ok(tail) => drop(tails.insert(node.to_owned(), tail)),
                // Its next container is not there yet.
                Err(_) if is_again => return Ok(Vec::new()),
                Err(failure) => return Err(failure),
            }
        }
        match tails.get_mut(node) {
            Some(tail) => tail.read().await,
            None => Ok(Vec::new()),
        }
    }

    async fn purge(&self) -> Outcome {
        let wanted = self.objects()?;
        let left_over = self.left_over(&wanted)?;
        objects::delete(&self.cluster, &wanted).await?;
        objects::delete(&self.cluster, &left_over).await?;
        for claim in self.claims().await?.into_values() {
            self.delete_claim(&claim).await?;
        }
        self.delete_lease().await?;
        self.leave_namespace().await?;
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file("delete", &self.directory, &error))
            }
            _ => Ok(()),
        }
    }
}

impl Kubernetes {
    /// Deletes the pod of a node when it was made as pods are made no more: the cluster makes another one.
    async fn replace_old(&self, node: &str, revision: &str, deadline: Duration) -> Outcome {
        let Some(pod) = self.pod_of(node).await? else { return Ok(()) };
        if pod["metadata"]["labels"][REVISION] == revision {
            return Ok(());
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        self.cluster.delete_exactly(PODS, &self.pod(node), uid).await?;
        self.until_gone(node, uid, deadline).await
    }
}

/// Whether every pod of a Deployment is as it is to be, and ready.
fn is_rolled_out(deployment: &Value) -> bool {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && number(&status["updatedReplicas"]) >= wanted
        && number(&status["availableReplicas"]) >= wanted
        && number(&status["replicas"]) <= number(&status["updatedReplicas"])
}

fn conditions(deployment: Option<&Value>) -> String {
    let conditions = deployment.and_then(|found| found["status"]["conditions"].as_array());
    let said: Vec<&str> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] != "True" || condition["type"] == "ReplicaFailure")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    if said.is_empty() { "the cluster does not say why".into() } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_rolled_out_when_no_pod_of_before_is_left() {
        let deployment = |replicas: u32, updated: u32, available: u32, seen: u32| {
            json!({
                "metadata": { "generation": 2 },
                "spec": { "replicas": 2 },
                "status": {
                    "observedGeneration": seen, "replicas": replicas, "updatedReplicas": updated,
                    "availableReplicas": available,
                },
            })
        };
        assert!(is_rolled_out(&deployment(2, 2, 2, 2)));
        for other in [(2, 2, 2, 1), (3, 2, 3, 2), (2, 1, 2, 2), (2, 2, 1, 2)] {
            assert!(!is_rolled_out(&deployment(other.0, other.1, other.2, other.3)), "{other:?}");
        }
        assert!(is_rolled_out(&json!({ "spec": { "replicas": 0 }, "status": {} })));
    }

    #[test]
    fn a_pod_that_was_made_as_pods_are_to_be_made_again_stays_whatever_was_tried_in_between() {
        let template = |image: &str, config: &str| {
            json!({
                "metadata": { "annotations": { "mq.messaging/config": config } },
                "spec": { "containers": [{ "image": image }] },
            })
        };
        let revision = |image: &str| {
            let mut kept = template(image, "a");
            kept["$patch"] = "replace".into();
            kept["metadata"]["creationTimestamp"] = Value::Null;
            made_by(&json!({ "data": { "spec": { "template": kept } } }))
        };
        let wanted = template("mq:1", "a");
        assert_eq!(stale(Some(&revision("mq:1")), &wanted), None);
        assert_eq!(
            stale(Some(&revision("absent:1")), &wanted),
            Some(r#"the image becomes "mq:1""#.to_owned())
        );
        assert_eq!(stale(Some(&template("mq:1", "b")), &wanted), Some("its pod changes".to_owned()));
        assert!(stale(None, &wanted).is_some(), "nobody knows how it was made");
    }

    #[test]
    fn how_far_a_pod_is_on_its_way_out_stands_on_it() {
        let pod = |word: Value| json!({ "metadata": { "annotations": { LEAVING: word } } });
        assert_eq!(leaving(&pod("draining".into())), Some(Leaving::Draining));
        assert_eq!(leaving(&pod("empty".into())), Some(Leaving::Empty));
        assert_eq!(leaving(&pod(Value::Null)), None);
        assert_eq!(leaving(&json!({ "metadata": {} })), None);
    }
}
