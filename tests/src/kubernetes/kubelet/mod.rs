//! The kubelet of every node: it starts the containers of the pods, probes them, and ends them.
//!
//! A container is a process on this machine in the network of its pod, with a file system of its own. Obeyed are
//! environment, command, volumes (those of objects follow them), user and groups, a root that is read-only,
//! probes, hooks, grace and restarts; there are no limits of memory and processor, no capabilities and no images
//! but those that the test names.

mod container;
mod environment;
mod probe;
mod process;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use self::process::Image;

use self::container::Container;
use self::environment::{environment, expand, text};
use self::process::{Mount, Process};
use self::volumes::{Folders, Volume};
use super::control::event;
use super::network::{Place, PodNetwork};
use super::node::{Node, Running};
use super::store::{DNS_IP, Key, Store, is_done, now as this_second};

/// Where a service account finds its token.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How often volumes look at the objects that they follow.
const REFRESH: Duration = Duration::from_secs(1);

/// The kubelet of all nodes. Dropping it kills what runs.
#[derive(Debug)]
pub(super) struct Kubelet {
    pub(super) network: Arc<PodNetwork>,
    pub(super) node: Arc<Node>,
    pub(super) images: BTreeMap<String, Image>,
    pub(super) folder: PathBuf,
    pods: BTreeMap<String, Pod>,
}

#[derive(Debug)]
struct Pod {
    key: Key,
    place: Place,
    folder: PathBuf,
    volumes: BTreeMap<String, Volume>,
    init: Vec<Container>,
    containers: Vec<Container>,
    since: String,
    refreshed: Instant,
    is_ending: bool,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.init.iter_mut().chain(&mut self.containers).for_each(Container::kill);
        PodNetwork::remove(&self.place.namespace);
    }
}

impl Kubelet {
    pub(super) fn new(
        network: Arc<PodNetwork>,
        node: Arc<Node>,
        images: BTreeMap<String, Image>,
        folder: PathBuf,
    ) -> Self {
        Self { network, node, images, folder, pods: BTreeMap::new() }
    }

    /// One look at every pod.
    pub(super) fn step(&mut self, store: &mut Store, now: Instant) {
        let wanted: BTreeMap<String, Arc<Value>> = store
            .all("Pod")
            .into_iter()
            .filter(|pod| pod["spec"]["nodeName"].is_string())
            .map(|pod| (text(&pod["metadata"]["uid"]).to_owned(), pod))
            .collect();
        // Who was deleted without grace is killed.
        let gone: Vec<String> = self.pods.keys().filter(|uid| !wanted.contains_key(*uid)).cloned().collect();
        for uid in gone {
            self.node.forget(&uid);
            self.pods.remove(&uid);
        }
        for (uid, object) in wanted {
            if !self.pods.contains_key(&uid) {
                match self.admit(&object, now) {
                    Ok(pod) => drop(self.pods.insert(uid.clone(), pod)),
                    Err(why) => {
                        event(store, &object, "Warning", "FailedCreatePodSandBox", &why);
                        continue;
                    }
                }
            }
            let Some(mut pod) = self.pods.remove(&uid) else { continue };
            self.drive(store, &mut pod, &object, now);
            if self.is_over(store, &pod, &object) {
                self.node.forget(&uid);
                continue;
            }
            self.node.set(&uid, pod.shown());
            self.pods.insert(uid, pod);
        }
    }

    fn admit(&self, object: &Value, now: Instant) -> Result<Pod, String> {
        let metadata = &object["metadata"];
        let folder = self.folder.join("pods").join(text(&metadata["uid"]));
        fs::create_dir_all(folder.join("logs")).map_err(|error| error.to_string())?;
        let containers = |name: &str| -> Vec<Container> {
            let all = object["spec"][name].as_array().into_iter().flatten();
            all.map(|container| Container::new(container, now)).collect()
        };
        Ok(Pod {
            key: Key {
                resource: "pods".into(),
                namespace: text(&metadata["namespace"]).into(),
                name: text(&metadata["name"]).into(),
            },
            place: self.network.add()?,
            folder,
            volumes: BTreeMap::new(),
            init: containers("initContainers"),
            containers: containers("containers"),
            since: this_second(),
            refreshed: now,
            is_ending: false,
        })
    }

    fn drive(&self, store: &mut Store, pod: &mut Pod, object: &Value, now: Instant) {
        let metadata = &object["metadata"];
        pod.is_ending = metadata["deletionTimestamp"].is_string();
        if pod.is_ending {
            let grace = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
            let grace = Duration::from_secs(grace);
            pod.init.iter_mut().chain(&mut pod.containers).for_each(|one| one.stop(grace, now));
        } else {
            self.go_on(store, pod, object, now);
        }
        let own_grace = object["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        let own_grace = Duration::from_secs(own_grace);
        let policy = text(&object["spec"]["restartPolicy"]);
        let is_ending = pod.is_ending;
        let mut news = Vec::new();
        for one in &mut pod.init {
            news.extend(one.poll(false, own_grace, now));
        }
        for one in &mut pod.containers {
            news.extend(one.poll(policy == "Always" && !is_ending, own_grace, now));
        }
        for (reason, message) in news {
            event(store, object, "Warning", reason, &message);
        }
        let status = pod.status(object);
        if object["status"] != status {
            store.edit(&pod.key, "kubelet", "status", |object| object["status"] = status);
        }
    }

    /// Starts what is due.
    fn go_on(&self, store: &mut Store, pod: &mut Pod, object: &Value, now: Instant) {
        if let Err(why) = self.mount(store, pod, object, now) {
            event(store, object, "Warning", "FailedMount", &why);
            return;
        }
        let next = pod.init.iter().position(|one| one.ended() != Some(true));
        let due: Vec<(bool, usize)> = match next {
            Some(at) => vec![(true, at)],
            None => (0..pod.containers.len()).map(|at| (false, at)).collect(),
        };
        for (is_init, at) in due {
            let one = if is_init { &pod.init[at] } else { &pod.containers[at] };
            if !one.is_due(now) {
                continue;
            }
            let process = self.process(store, pod, object, one);
            let (hub, ip) = (self.network.hub(), pod.place.ip);
            let one = if is_init { &mut pod.init[at] } else { &mut pod.containers[at] };
            match process {
                Ok(process) => one.start(process, hub, ip, now),
                Err((reason, why)) => {
                    event(store, object, "Warning", "Failed", &why);
                    one.hold(reason, why, now);
                }
            }
        }
    }

    /// Makes the volumes that are missing; lets the others follow their objects.
    fn mount(&self, store: &mut Store, pod: &mut Pod, object: &Value, now: Instant) -> Result<(), String> {
        let (claims, authority) = (self.folder.join("volumes"), self.folder.join("ca.crt"));
        let folders = Folders { pod: &pod.folder, claims: &claims, authority: &authority };
        let is_due = now.duration_since(pod.refreshed) >= REFRESH;
        let account = account_volume(object);
        let volumes = object["spec"]["volumes"].as_array().into_iter().flatten().chain(&account);
        let group =
            object["spec"]["securityContext"]["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok());
        for volume in volumes {
            match pod.volumes.get_mut(text(&volume["name"])) {
                Some(made) if is_due => made.refresh(store, object, volume, &folders),
                Some(_) => continue,
                None => {
                    let made = Volume::make(store, object, volume, &folders)?;
                    pod.volumes.insert(text(&volume["name"]).into(), made);
                }
            }
            if let (Some(group), Some(made)) = (group, pod.volumes.get(text(&volume["name"]))) {
                made.give_to(group);
            }
        }
        if is_due {
            pod.refreshed = now;
        }
        Ok(())
    }

    fn process(
        &self,
        store: &Store,
        pod: &Pod,
        object: &Value,
        container: &Container,
    ) -> Result<Process, (&'static str, String)> {
        let spec = &container.spec;
        let image = text(&spec["image"]);
        let image = self.images.get(image).cloned().ok_or_else(|| {
            let why = format!("Failed to pull image \"{image}\": not found");
            ("ImagePullBackOff", why)
        })?;
        let configured = |why: String| ("CreateContainerConfigError", why);
        // What the pod is told of itself is newer than what the store has of it.
        let mut own = object.clone();
        own["status"]["podIP"] = json!(pod.place.ip.to_string());
        let environment = environment(store, &own, spec).map_err(configured)?;
        let list = |name: &str| -> Vec<String> {
            let words = spec[name].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.map(|word| expand(word, &environment)).collect()
        };
        let command = if spec["command"].is_array() { list("command") } else { image.entrypoint.clone() };
        let command: Vec<String> = command.into_iter().chain(list("args")).collect();
        let (of_pod, of_container) = (&object["spec"]["securityContext"], &spec["securityContext"]);
        let number = |name: &str| {
            let number = of_container[name].as_u64().or_else(|| of_pod[name].as_u64());
            number.and_then(|number| u32::try_from(number).ok())
        };
        let user = number("runAsUser").unwrap_or(image.user);
        let is_non_root = of_container["runAsNonRoot"].as_bool().or_else(|| of_pod["runAsNonRoot"].as_bool());
        if user == 0 && is_non_root == Some(true) {
            return Err(configured("container has runAsNonRoot and image will run as root".into()));
        }
        let more = of_pod["supplementalGroups"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let groups = number("runAsGroup").into_iter().chain(number("fsGroup"));
        let groups = groups.chain(more.filter_map(|group| u32::try_from(group).ok()));
        let folder = pod.folder.join(container.name());
        Ok(Process {
            network: pod.place.namespace.clone(),
            mounts: self.mounts(pod, object, spec, &environment).map_err(configured)?,
            folder,
            image,
            command,
            groups: groups.collect(),
            user,
            is_root_read_only: of_container["readOnlyRootFilesystem"] == true,
            log: pod.folder.join("logs").join(format!("{}.{}", container.name(), container.restarts)),
            environment,
        })
    }

    fn mounts(
        &self,
        pod: &Pod,
        object: &Value,
        container: &Value,
        environment: &BTreeMap<String, String>,
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = vec![
            Mount { source: self.resolver(pod)?, target: "/etc/resolv.conf".into(), is_read_only: true },
            Mount { source: hosts(pod, object)?, target: "/etc/hosts".into(), is_read_only: true },
        ];
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volume = pod.volumes.get(text(&mount["name"]));
            let volume = volume.ok_or_else(|| format!("the volume {} is not mounted", mount["name"]))?;
            let mut source = volume.folder.clone();
            let inner = mount["subPathExpr"].as_str().map(|path| expand(path, environment));
            let inner = inner.or_else(|| mount["subPath"].as_str().map(str::to_owned));
            if let Some(inner) = inner {
                source = source.join(inner);
                if !source.exists() {
                    fs::create_dir_all(&source).map_err(|error| error.to_string())?;
                }
                // A file of an object is behind links, and is mounted as it is now.
                source = source.canonicalize().map_err(|error| error.to_string())?;
            }
            let is_read_only = mount["readOnly"] == true;
            mounts.push(Mount { source, target: text(&mount["mountPath"]).into(), is_read_only });
        }
        if let Some(volume) = account_volume(object).and_then(|volume| pod.volumes.get(text(&volume["name"])))
        {
            mounts.push(Mount { source: volume.folder.clone(), target: ACCOUNT.into(), is_read_only: true });
        }
        // A folder comes before those in it.
        mounts.sort_by(|one, other| one.target.cmp(&other.target));
        Ok(mounts)
    }

    fn resolver(&self, pod: &Pod) -> Result<PathBuf, String> {
        let [a, b, c, d] = DNS_IP;
        let namespace = &pod.key.namespace;
        let text = format!(
            "nameserver {a}.{b}.{c}.{d}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\n\
             options ndots:5\n"
        );
        write(pod, "resolv.conf", &text)
    }

    /// Ends a pod whose containers have ended, when it is to go.
    fn is_over(&self, store: &mut Store, pod: &Pod, object: &Value) -> bool {
        let is_quiet = pod.init.iter().chain(&pod.containers).all(|one| !one.is_running());
        if !pod.is_ending || !is_quiet {
            return false;
        }
        let Some(mut last) = store.get(&pod.key).map(|last| Value::clone(last)) else { return true };
        if last["metadata"]["uid"] != object["metadata"]["uid"] {
            return true;
        }
        last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        if is_done(&last) {
            store.remove(&pod.key, last);
            return true;
        }
        // A finalizer keeps what is left of it.
        false
    }
}

fn write(pod: &Pod, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = pod.folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn hosts(pod: &Pod, object: &Value) -> Result<PathBuf, String> {
    let name = object["spec"]["hostname"].as_str().unwrap_or(&pod.key.name);
    let full = match object["spec"]["subdomain"].as_str() {
        Some(subdomain) => format!("{name}.{subdomain}.{}.svc.cluster.local ", pod.key.namespace),
        None => String::new(),
    };
    let mut lines = format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{}\t{full}{name}\n", pod.place.ip);
    for alias in object["spec"]["hostAliases"].as_array().into_iter().flatten() {
        let names = alias["hostnames"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.push_str(&format!("{}\t{}\n", text(&alias["ip"]), names.collect::<Vec<_>>().join(" ")));
    }
    write(pod, "hosts", &lines)
}

/// The volume with the token of the pod's account, unless the pod wants none.
fn account_volume(object: &Value) -> Option<Value> {
    if object["spec"]["automountServiceAccountToken"] == false {
        return None;
    }
    Some(json!({ "name": "kube-api-access", "projected": { "sources": [
        { "serviceAccountToken": { "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt" } },
        { "downwardAPI": { "items": [
            { "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } },
        ] } },
    ] } }))
}

impl Pod {
    fn status(&self, object: &Value) -> Value {
        let all_ready = !self.containers.is_empty() && self.containers.iter().all(Container::is_ready);
        let is_initialized = self.init.iter().all(|one| one.ended() == Some(true));
        let has_run =
            self.containers.iter().any(|one| one.is_running() || one.restarts > 0 || one.ended().is_some());
        let ends: Vec<Option<bool>> = self.containers.iter().map(Container::ended).collect();
        let failed_init = self.init.iter().any(|one| one.ended() == Some(false));
        let phase = if failed_init || ends.iter().all(Option::is_some) && ends.contains(&Some(false)) {
            "Failed"
        } else if ends.iter().all(|end| *end == Some(true)) {
            "Succeeded"
        } else if has_run {
            "Running"
        } else {
            "Pending"
        };
        let condition = |kind: &str, is: bool| {
            let status = if is { "True" } else { "False" };
            let before = object["status"]["conditions"].as_array().into_iter().flatten();
            let before = before.into_iter().find(|one| one["type"] == kind && one["status"] == status);
            let since =
                before.map_or_else(|| json!(this_second()), |before| before["lastTransitionTime"].clone());
            json!({ "type": kind, "status": status, "lastTransitionTime": since })
        };
        let ip = self.place.ip.to_string();
        let mut status = json!({
            "phase": phase, "qosClass": object["status"]["qosClass"], "startTime": self.since,
            "hostIP": "10.244.0.1", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [
                condition("PodScheduled", true), condition("Initialized", is_initialized),
                condition("ContainersReady", all_ready), condition("Ready", all_ready),
            ],
            "containerStatuses": self.containers.iter().map(Container::status).collect::<Vec<_>>(),
        });
        if !self.init.is_empty() {
            status["initContainerStatuses"] = self.init.iter().map(Container::status).collect();
        }
        status
    }

    fn shown(&self) -> Running {
        let all = self.init.iter().chain(&self.containers);
        Running {
            namespace: self.place.namespace.clone(),
            logs: all.clone().map(|one| (one.name().to_owned(), one.logs.clone())).collect(),
            alive: all.filter(|one| one.is_running()).filter_map(|one| one.logs[0].clone()).collect(),
        }
    }
}
