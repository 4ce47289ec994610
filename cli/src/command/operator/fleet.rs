//! Fleets as their objects say: made, rolled one node at a time behind the gates of `mq deploy`, and kept so.
//!
//! Each fleet has a worker of its own, so that one that hangs keeps no other waiting. A worker does what `mq deploy` does,
//! with the same plan: what is as it is to be is left alone. It looks again when the object changes, when the cluster says
//! that another number of nodes serves, and every minute. What failed is tried again, after pauses that grow. A roll ends
//! after its step when the object has changed meanwhile, and the next one goes on from there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use mq_model::{admin::Runtime, custom, manifest::Fleet};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{
    PAUSE, RESYNC, RETRY,
    condition::{Fact, reason, status_with},
    finalizers, is_protected,
};
use crate::{
    cluster::{Change, Cluster, FLEETS},
    command::{
        deploy::{Attention, RETAIN, keep},
        rotate,
    },
    deploy::{
        Backend,
        authority::{rotation, rotation::Phase, until},
        kubernetes::{
            backend::{self, RELEASE},
            memory::{Memory, ROTATE, Remembered},
        },
        plan::Step,
        roll::QUOTE,
    },
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    shape,
};

/// The longest pause after a failure.
const MAX_RETRY: Duration = Duration::from_secs(300);
/// How often the cluster is asked how many nodes serve.
const LOOK: Duration = Duration::from_secs(5);
/// How often volumes whose time is over are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);
/// Who sets this on a Fleet gives up the messages that it stores.
const GIVE_UP: &str = "mq.messaging/drop-messages";

/// Looks after the Fleets of a namespace.
pub(super) struct Fleets {
    cluster: Cluster,
    /// The folder of the files that are needed while a fleet is looked after.
    home: PathBuf,
    /// The name of the operator's own objects, which no fleet may have.
    own: String,
}

/// What of an object makes it worth another look: its status, which is written here, does not.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    uid: Value,
    generation: Value,
    is_going: bool,
    annotations: Value,
}

impl Seen {
    fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self {
            uid: metadata["uid"].clone(),
            generation: metadata["generation"].clone(),
            is_going: metadata["deletionTimestamp"].is_string(),
            annotations: metadata["annotations"].clone(),
        }
    }
}

/// What came of a look at a Fleet.
#[derive(Debug, PartialEq)]
enum Looked {
    /// The fleet is as it is to be, with so many nodes.
    Settled(u64),
    /// It is not yet.
    Unsettled,
    /// It cannot be until somebody else lets go of the fleet.
    Waiting,
    /// The object is gone.
    Gone,
}

type Worker<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

impl Fleets {
    /// # Errors
    ///
    /// When there is no place for files.
    pub(super) fn new(cluster: Cluster, own: &str) -> Outcome<Self> {
        let home = env::text(env::STATE_HOME).ok_or_else(|| {
            Failure::usage("there is no place for the files of fleets")
                .help(format!("set {} to a folder that is this process's own", env::STATE_HOME))
        })?;
        Ok(Self { cluster, home: PathBuf::from(home).join("mq-operator"), own: own.to_owned() })
    }

    /// Looks after all of them; never ends.
    pub(super) async fn work(&self, output: &Output) {
        loop {
            if let Err(failure) = self.follow(output).await {
                match failure.exit {
                    Exit::NotFound => output
                        .warn("the cluster has no fleets.mq.messaging; apply what `mq render crds` prints"),
                    _ => output.warn(&format!("{failure}; every Fleet is looked at again")),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lists the Fleets and follows their changes, with a worker for each, until the changes are not known any more.
    async fn follow(&self, output: &Output) -> Outcome {
        let listed = self.cluster.list(FLEETS).await?;
        let mut version = listed.version;
        let mut known: BTreeMap<String, watch::Sender<Seen>> = BTreeMap::new();
        let mut workers: FuturesUnordered<Worker<'_>> = FuturesUnordered::new();
        for object in &listed.items {
            self.note(object, &mut known, &workers, output);
        }
        let mut changes = self.cluster.watch(FLEETS, &version).await?;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                change = changes.next() => match change? {
                    Some(Change::Object(object)) => {
                        resource_version(&object).clone_into(&mut version);
                        self.note(&object, &mut known, &workers, output);
                    }
                    Some(Change::Gone(object)) => {
                        resource_version(&object).clone_into(&mut version);
                        // Its worker sees that by itself.
                        known.remove(object["metadata"]["name"].as_str().unwrap_or_default());
                    }
                    Some(Change::Bookmark(now)) => version = now,
                    None => changes = self.cluster.watch(FLEETS, &version).await?,
                },
                Some(gone) = workers.next(), if !workers.is_empty() => {
                    // Another object of its name may have come, and have a worker of its own.
                    if known.get(&gone).is_some_and(watch::Sender::is_closed) {
                        known.remove(&gone);
                    }
                }
                _ = sweep.tick() => {
                    if let Err(failure) = backend::sweep(&self.cluster, Timestamp::now()).await {
                        output.warn(&format!("volumes whose time is over: {failure}"));
                    }
                }
            }
        }
    }

    /// Tells the worker of an object what has become of that, or begins one.
    fn note<'a>(
        &'a self,
        object: &Value,
        known: &mut BTreeMap<String, watch::Sender<Seen>>,
        workers: &FuturesUnordered<Worker<'a>>,
        output: &'a Output,
    ) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let seen = Seen::of(object);
        if let Some(worker) = known.get(&name) {
            worker.send_if_modified(|before| {
                let is_news = *before != seen;
                *before = seen;
                is_news
            });
            return;
        }
        let (sender, receiver) = watch::channel(seen);
        known.insert(name.clone(), sender);
        workers.push(Box::pin(async move {
            Box::pin(self.look_after(&name, receiver, output)).await;
            name
        }));
    }

    /// Looks after one Fleet until its object is gone.
    async fn look_after(&self, name: &str, mut seen: watch::Receiver<Seen>, output: &Output) {
        let mut pause = RETRY;
        loop {
            let now = seen.borrow_and_update().clone();
            let looked = Box::pin(self.look(name, &now, &seen, output)).await;
            let ready = match looked {
                Ok(Looked::Gone) => return,
                Ok(Looked::Settled(ready)) => {
                    pause = RETRY;
                    Some(ready)
                }
                Ok(Looked::Unsettled) => None,
                Ok(Looked::Waiting) => {
                    pause = RETRY;
                    None
                }
                // The object does not say it: the next look may.
                Err(failure) => {
                    output.warn(&format!("fleet {name}: {failure}"));
                    None
                }
            };
            let until_due = async {
                match ready {
                    Some(ready) => {
                        let _ = tokio::time::timeout(RESYNC, self.until_other(name, ready)).await;
                    }
                    None => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                changed = seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    pause = RETRY;
                }
                () = until_due => {
                    if ready.is_none() {
                        pause = pause.saturating_mul(2).min(MAX_RETRY);
                    }
                }
            }
        }
    }

    /// Waits until another number of nodes serves.
    async fn until_other(&self, name: &str, ready: u64) {
        loop {
            tokio::time::sleep(LOOK).await;
            let set = self.cluster.get(crate::cluster::STATEFUL_SETS, &format!("{name}-node")).await;
            // Who does not answer now says it later.
            let Ok(set) = set else { continue };
            if set.and_then(|set| set["status"]["readyReplicas"].as_u64()).unwrap_or(0) != ready {
                return;
            }
        }
    }

    /// Makes the fleet what the object says, and the object's status how the fleet is.
    async fn look(
        &self,
        name: &str,
        now: &Seen,
        seen: &watch::Receiver<Seen>,
        output: &Output,
    ) -> Outcome<Looked> {
        let Some(mut object) = self.cluster.get(FLEETS, name).await? else { return Ok(Looked::Gone) };
        let memory = Memory::of_fleet(&self.cluster, name, self.home.join(name));
        if object["metadata"]["deletionTimestamp"].is_string() {
            return self.forget(&object, &memory, output).await;
        }
        let fleet = match self.described(&object) {
            Ok(fleet) => fleet,
            Err(failure) => return self.tell_failure(&object, None, &failure).await,
        };
        if !is_protected(&object) {
            object = self.cluster.merge(FLEETS, &[name], &finalizers(&object, true)).await?;
        }
        let (told, mut steps) = watch::channel(Vec::new());
        let attention = Attention {
            on_step: &|step: &Step| {
                told.send_replace(rolling(&format!("{} {}", step.action.word(), step.name)));
            },
            is_superseded: &|| *seen.borrow() != *now,
        };
        let rotate = object["metadata"]["annotations"][ROTATE].as_str();
        let on_phase = |phase| drop(told.send_replace(rotating(phase)));
        let mut making = pin!(Box::pin(self.make(&fleet, rotate, &memory, (attention, &on_phase), output)));
        let made = loop {
            tokio::select! {
                made = &mut making => break made,
                Ok(()) = steps.changed() => {
                    let facts = steps.borrow_and_update().clone();
                    if let Err(failure) = self.tell_step(&object, &fleet, &facts).await {
                        output.warn(&format!("fleet {name}: {failure}"));
                    }
                }
            }
        };
        let object = self.now(&object).await?;
        match made {
            Ok(made) => {
                let ready = self.ready_nodes(name).await?;
                let mut fields = self.fields(&fleet, ready, &made.nodes);
                fields.insert("authority".into(), made.authority(&memory)?);
                self.tell(&object, &settled(&fleet, ready), fields).await?;
                Ok(if ready == u64::from(fleet.spec.nodes()) {
                    Looked::Settled(ready)
                } else {
                    Looked::Unsettled
                })
            }
            // What is wanted now says what to do next.
            Err(_) if *seen.borrow() != *now => Ok(Looked::Unsettled),
            Err(failure) => self.tell_failure(&object, Some(&fleet), &failure).await,
        }
    }

    /// The fleet that an object describes.
    fn described(&self, object: &Value) -> Outcome<Fleet> {
        let fleet = custom::fleet(object).map_err(Failure::usage)?;
        if fleet.metadata.name == self.own {
            let message = format!("`{}` is what the objects of the operator are called", self.own);
            return Err(Failure::usage(message).help("give the Fleet another name"));
        }
        Ok(fleet)
    }

    /// Makes the fleet what is wanted of it. `rotate` is what the object says of its authority: another value than that for
    /// which it was replaced last has it replaced.
    async fn make(
        &self,
        fleet: &Fleet,
        rotate: Option<&str>,
        memory: &Memory,
        (attention, on_phase): (Attention<'_>, &dyn Fn(Phase)),
        output: &Output,
    ) -> Outcome<Made> {
        let mut remembered = match memory.recall().await? {
            Some(remembered) => remembered,
            None => {
                self.refuse_foreign(fleet, memory).await?;
                // There is no authority yet that could be replaced.
                Remembered { wanted: Vec::new(), rotated: rotate.map(str::to_owned) }
            }
        };
        let former = remembered.wanted.clone();
        if remembered.wanted.last() != Some(fleet) {
            remembered.wanted.push(fleet.clone());
        }
        let backend = backend::Kubernetes::of_object(fleet, former, &self.cluster, memory.directory.clone())?;
        // What signs is written down before anything is there that it has signed.
        backend.equip()?;
        memory.keep(&remembered).await?;
        let nodes = keep(&backend, fleet, attention, output).await?;
        remembered.wanted = vec![fleet.clone()];
        memory.keep(&remembered).await?;
        if is_rotation_due(rotate, &remembered, &memory.directory)? {
            let rotated = rotate.map(str::to_owned).or_else(|| remembered.rotated.clone());
            let after = Remembered { rotated, ..remembered.clone() };
            let remember = async |phase| {
                on_phase(phase);
                // Once the new authority signs, there is no way but on: how far it is stands in the files.
                memory.keep(if phase == Phase::Trusting { &remembered } else { &after }).await
            };
            let _lock = backend.lock("mq operator").await?;
            rotate::replace(&backend, &fleet.metadata.name, remember).await?;
            output.talk(&format!("fleet {}: another authority is in its place", fleet.metadata.name));
            return Ok(Made { nodes, rotated: after.rotated });
        }
        Ok(Made { nodes, rotated: remembered.rotated })
    }

    /// A fleet that somebody has deployed by hand has an authority that is not known here: who has that has to agree.
    async fn refuse_foreign(&self, fleet: &Fleet, memory: &Memory) -> Outcome {
        let directory = memory.directory.clone();
        let backend = backend::Kubernetes::of_object(fleet, Vec::new(), &self.cluster, directory)?;
        if !backend.is_there().await? {
            return Ok(());
        }
        let name = &fleet.metadata.name;
        let message = format!(
            "there is a fleet `{name}` already, which was deployed by hand: `mq fleet hand-over --name {name}` where that was \
             done gives it to this object"
        );
        Err(Failure::new(Exit::Conflict, message))
    }

    /// Takes away what was made for the object, and lets the object go.
    async fn forget(&self, object: &Value, memory: &Memory, output: &Output) -> Outcome<Looked> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if !is_protected(object) {
            return Ok(Looked::Gone);
        }
        if object["metadata"]["annotations"][RELEASE] == "true" {
            // What is remembered stays for whoever goes on with the fleet.
            self.cluster.merge(FLEETS, &[name], &finalizers(object, false)).await?;
            output.talk(&format!("fleet {name} is released: it stays as it is"));
            return Ok(Looked::Gone);
        }
        if let Some(Remembered { wanted, .. }) = memory.recall().await? {
            // What it says last need not be anything that could be made.
            let fleet = self.described(object).ok().or_else(|| wanted.last().cloned());
            if let Some(fleet) = fleet {
                let directory = memory.directory.clone();
                let backend = backend::Kubernetes::of_object(&fleet, wanted, &self.cluster, directory)?;
                let is_given_up = object["metadata"]["annotations"][GIVE_UP] == "true";
                if !is_given_up && let Some((reason, message)) = protection(backend.stored().await?) {
                    let message = format!("{message}, or set the annotation {GIVE_UP}=\"true\"");
                    let facts = going(reason, &message);
                    self.tell(object, &facts, Map::new()).await?;
                    return Ok(Looked::Unsettled);
                }
                let facts =
                    going("Deleting", "the nodes stop, and what was made for them goes; volumes are kept");
                self.tell(object, &facts, Map::new()).await?;
                if let Err(failure) = backend.dissolve(RETAIN, output).await {
                    return self.tell_failure(object, None, &failure).await;
                }
            }
            memory.forget().await?;
        }
        // What was written about it has changed it.
        let Some(object) = self.cluster.get(FLEETS, name).await? else { return Ok(Looked::Gone) };
        self.cluster.merge(FLEETS, &[name], &finalizers(&object, false)).await?;
        output.talk(&format!("fleet {name} is gone; its volumes are kept for {}", shape::elapsed(RETAIN)));
        Ok(Looked::Gone)
    }

    async fn ready_nodes(&self, name: &str) -> Outcome<u64> {
        let set = self.cluster.get(crate::cluster::STATEFUL_SETS, &format!("{name}-node")).await?;
        Ok(set.and_then(|set| set["status"]["readyReplicas"].as_u64()).unwrap_or(0))
    }

    /// The object with what is said of it by now. What it says itself stays what was read before: the next status is
    /// about that, whatever is wanted meanwhile.
    async fn now(&self, read: &Value) -> Outcome<Value> {
        let name = read["metadata"]["name"].as_str().unwrap_or_default();
        let found = self.cluster.get(FLEETS, name).await?;
        Ok(found.map_or_else(|| read.clone(), |found| about(read, found)))
    }

    async fn tell_step(&self, object: &Value, fleet: &Fleet, facts: &[Fact]) -> Outcome {
        let object = self.now(object).await?;
        let ready = self.ready_nodes(&fleet.metadata.name).await?;
        self.tell(&object, facts, self.fields(fleet, ready, &[])).await
    }

    async fn tell_failure(
        &self,
        object: &Value,
        fleet: Option<&Fleet>,
        failure: &Failure,
    ) -> Outcome<Looked> {
        let fields = match fleet {
            Some(fleet) => self.fields(fleet, self.ready_nodes(&fleet.metadata.name).await?, &[]),
            None => Map::new(),
        };
        self.tell(object, &failed(failure), fields).await?;
        Ok(if failure.exit == Exit::Conflict { Looked::Waiting } else { Looked::Unsettled })
    }

    fn fields(&self, fleet: &Fleet, ready: u64, nodes: &[Runtime]) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("nodes".into(), fleet.spec.nodes().into());
        fields.insert("readyNodes".into(), ready.into());
        if let Some(target) = fleet.spec.target.kubernetes() {
            fields.insert("image".into(), target.image().into());
        }
        if let Some(first) = nodes.first() {
            fields.insert("version".into(), first.version.as_str().into());
        }
        fields
    }

    /// Writes the status, when it is another one than before.
    async fn tell(&self, object: &Value, facts: &[Fact], fields: Map<String, Value>) -> Outcome {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(status) = status_with(object, facts, fields, Timestamp::now()) {
            let change = serde_json::json!({ "status": status });
            match self.cluster.merge(FLEETS, &[name, "status"], &change).await {
                Err(failure) if failure.exit != Exit::NotFound => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What came of making a fleet what is wanted of it.
struct Made {
    nodes: Vec<Runtime>,
    /// What the object said of the authority when that was replaced last.
    rotated: Option<String>,
}

impl Made {
    /// What the status says of the authority.
    fn authority(&self, memory: &Memory) -> Outcome<Value> {
        let mut said = Map::new();
        if let Some(expires) = until(&memory.directory)? {
            said.insert("expires".into(), expires.to_string().into());
        }
        if let Some(rotated) = &self.rotated {
            said.insert("rotated".into(), rotated.as_str().into());
        }
        Ok(said.into())
    }
}

/// Whether the authority is to be replaced, or that was begun and has no way back.
fn is_rotation_due(rotate: Option<&str>, remembered: &Remembered, directory: &Path) -> Outcome<bool> {
    let is_wanted = rotate.is_some() && rotate != remembered.rotated.as_deref();
    if !directory.join("ca").exists() {
        let message = "the fleet has no authority of its own that could be replaced: its certificates are made by \
                       cert-manager";
        return if is_wanted { Err(Failure::usage(message)) } else { Ok(false) };
    }
    Ok(is_wanted || rotation::phase(directory)? == Phase::Issuing)
}

/// The object as it is there now, with the generation that was read before.
fn about(read: &Value, mut found: Value) -> Value {
    found["metadata"]["generation"] = read["metadata"]["generation"].clone();
    found
}

fn resource_version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

fn fact(kind: &'static str, is_true: bool, reason: &'static str, message: impl Into<String>) -> Fact {
    Fact { kind, is_true, reason, message: message.into() }
}

/// What is said when the plan has nothing left to do.
fn settled(fleet: &Fleet, ready: u64) -> Vec<Fact> {
    let nodes = fleet.spec.nodes();
    let is_ready = ready == u64::from(nodes);
    let message = format!("{ready} of {nodes} nodes serve clients");
    let reason = if is_ready { "AsSpecified" } else { "NodesNotReady" };
    let degraded = fact("Degraded", !is_ready, reason, message.clone());
    let ready = fact("Ready", is_ready, reason, message);
    vec![ready, fact("Progressing", false, "AsSpecified", "nothing is left to do"), degraded]
}

/// What is said while a node is being changed. Whether something has failed before stays as it was said then.
fn rolling(step: &str) -> Vec<Fact> {
    let message = format!("under way: {step}");
    vec![fact("Ready", false, "Rolling", message.clone()), fact("Progressing", true, "Rolling", message)]
}

/// What is said while the authority is replaced: nobody is restarted, and the fleet serves on.
fn rotating(phase: Phase) -> Vec<Fact> {
    let message = match phase {
        Phase::Trusting => "the nodes learn to trust the next authority beside the one that there is",
        Phase::Issuing => "the nodes get certificates of the new authority",
        Phase::Settled => "the nodes learn to trust the new authority alone",
    };
    vec![fact("Progressing", true, "RotatingAuthority", message)]
}

/// What is said when a step has failed.
fn failed(failure: &Failure) -> Vec<Fact> {
    let reason = match failure.exit {
        Exit::TimedOut => "NodeNotReady",
        Exit::Conflict => "Conflict",
        Exit::Guarded => "Guarded",
        _ => reason(failure),
    };
    // What a node said last is in its log; a condition is one sentence.
    let said = failure.message.split(QUOTE).next().unwrap_or_default();
    let message = format!("{said}; it is tried again");
    vec![
        fact("Ready", false, reason, message.clone()),
        fact("Progressing", false, reason, message.clone()),
        fact("Degraded", true, reason, message),
    ]
}

/// What is said of a Fleet that is to go.
fn going(reason: &'static str, message: &str) -> Vec<Fact> {
    vec![fact("Ready", false, reason, message), fact("Progressing", reason == "Deleting", reason, message)]
}

/// Why a fleet that is to go stays, given the messages that its volumes hold and the nodes that cannot say it; `None`: it
/// need not.
fn protection((messages, unknown): (u64, Vec<String>)) -> Option<(&'static str, String)> {
    if messages > 0 {
        let held = shape::plural(messages, "message");
        return Some((
            "HoldsMessages",
            format!("the volumes of the fleet hold {held}; consume or purge them"),
        ));
    }
    (!unknown.is_empty()).then(|| {
        let message =
            format!("nobody knows what the volumes hold of {}; bring them back", unknown.join(", "));
        ("Unknown", message)
    })
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::FleetSpec;
    use serde_json::json;

    use super::*;

    fn of<'f>(facts: &'f [Fact], kind: &str) -> &'f Fact {
        facts.iter().find(|fact| fact.kind == kind).unwrap()
    }

    #[test]
    fn what_this_process_writes_about_an_object_is_no_reason_to_look_again() {
        let object = |generation: u32, version: &str, status: Value| {
            json!({
                "metadata": { "uid": "u", "generation": generation, "resourceVersion": version },
                "status": status,
            })
        };
        let first = Seen::of(&object(1, "1", Value::Null));
        assert_eq!(Seen::of(&object(1, "2", json!({ "nodes": 3 }))), first);
        assert_ne!(Seen::of(&object(2, "3", Value::Null)), first);
        let mut going = object(1, "1", Value::Null);
        going["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z".into();
        assert_ne!(Seen::of(&going), first);
        let mut annotated = object(1, "1", Value::Null);
        annotated["metadata"]["annotations"] = json!({ GIVE_UP: "true" });
        assert_ne!(Seen::of(&annotated), first);
    }

    #[test]
    fn a_status_is_about_what_was_read_whatever_is_wanted_by_the_time_it_is_written() {
        let fleet = Fleet::new("f", FleetSpec { nodes: Some(1), ..FleetSpec::default() });
        let read = json!({ "metadata": { "name": "f", "generation": 3 } });
        // While the first node was made, a second one was asked for.
        let found = json!({ "metadata": { "name": "f", "generation": 4 }, "spec": { "nodes": 2 } });
        assert_ne!(Seen::of(&read), Seen::of(&found), "the worker looks again");
        let status =
            status_with(&about(&read, found), &settled(&fleet, 1), Map::new(), Timestamp::UNIX_EPOCH);
        let status = status.unwrap();
        assert_eq!(status["observedGeneration"], 3);
        for condition in status["conditions"].as_array().unwrap() {
            assert_eq!(condition["observedGeneration"], 3, "{condition}");
        }
    }

    #[test]
    fn an_authority_is_replaced_once_for_each_value_and_what_has_no_way_back_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        let remembered =
            |rotated: Option<&str>| Remembered { wanted: Vec::new(), rotated: rotated.map(str::to_owned) };
        let is_due = |rotate, rotated| is_rotation_due(rotate, &remembered(rotated), directory);
        assert!(is_due(Some("1"), None).unwrap_err().message.contains("cert-manager"));
        assert!(!is_due(None, None).unwrap());
        let now = Timestamp::now();
        drop(crate::deploy::authority::Authority::of_fleet(directory, "f", now).unwrap());
        for (rotate, rotated, due) in [
            (None, None, false),
            (Some("1"), None, true),
            (Some("1"), Some("1"), false),
            (Some("2"), Some("1"), true),
            (None, Some("1"), false),
        ] {
            assert_eq!(is_due(rotate, rotated).unwrap(), due, "{rotate:?} after {rotated:?}");
        }
        rotation::begin(directory, "f", now).unwrap();
        assert!(!is_due(None, None).unwrap(), "what is not wanted any more is not gone on with");
        rotation::promote(directory).unwrap();
        assert!(is_due(None, None).unwrap() && is_due(Some("1"), Some("1")).unwrap());
        rotation::finish(directory).unwrap();
        assert!(!is_due(Some("1"), Some("1")).unwrap());
    }

    #[test]
    fn a_failure_is_one_sentence_in_all_three_conditions() {
        let failure = Failure::new(
            Exit::TimedOut,
            format!("the node `node-1` was not ready within 30s: the image cannot be pulled{QUOTE}said"),
        );
        let facts = failed(&failure);
        assert!(of(&facts, "Degraded").is_true && !of(&facts, "Ready").is_true);
        assert!(!of(&facts, "Progressing").is_true);
        for fact in &facts {
            assert_eq!(fact.reason, "NodeNotReady");
            assert!(fact.message.ends_with("cannot be pulled; it is tried again"), "{}", fact.message);
        }
    }

    #[test]
    fn a_fleet_is_ready_when_every_node_serves() {
        let fleet = Fleet::new("f", FleetSpec { nodes: Some(2), ..FleetSpec::default() });
        let whole = settled(&fleet, 2);
        assert!(of(&whole, "Ready").is_true && !of(&whole, "Degraded").is_true);
        let less = settled(&fleet, 1);
        assert!(!of(&less, "Ready").is_true && of(&less, "Degraded").is_true);
        assert_eq!(of(&less, "Ready").message, "1 of 2 nodes serve clients");
    }

    #[test]
    fn what_is_stored_or_cannot_be_counted_protects_a_fleet() {
        assert_eq!(protection((0, Vec::new())), None);
        let (reason, message) = protection((3, vec!["node-2".into()])).unwrap();
        assert_eq!(reason, "HoldsMessages");
        assert!(message.contains("3 messages"), "{message}");
        let (reason, message) = protection((0, vec!["node-2".into()])).unwrap();
        assert_eq!(reason, "Unknown");
        assert!(message.contains("node-2"), "{message}");
    }
}
