//! The objects of the cluster, their revisions and their history: what etcd and the registry of the API server
//! are to a real one. It holds the rules of writing: admission, optimistic concurrency, ownership of fields.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::access::User;
use super::apply::{self, Manager};
use super::kinds::{Kind, Kinds};
use super::refusal::{Answer, Refusal};
use super::{custom, defaults, validate};

/// Changes that a watch can still be told of.
const HISTORY: usize = 4_096;

/// The address of the API server inside of the cluster, and that of its DNS server.
pub(super) const API_IP: [u8; 4] = [10, 96, 0, 1];
pub(super) const DNS_IP: [u8; 4] = [10, 96, 0, 10];

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// `statefulsets.apps`
    pub(super) resource: String,
    /// Empty for what belongs to no namespace.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.is_namespaced { namespace } else { "" };
        Self { resource: kind.resource(), namespace: namespace.into(), name: name.into() }
    }
}

/// One step of the history.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) before: Option<Arc<Value>>,
    /// What is there now; what was removed has the revision of its removal.
    pub(super) after: Arc<Value>,
    pub(super) is_removal: bool,
}

/// How a write is meant.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    pub(super) manager: String,
    pub(super) is_dry: bool,
    /// The subresource that is written; empty for the object.
    pub(super) subresource: String,
    /// What to do about fields that nobody knows: `Strict`, `Warn` or `Ignore`.
    pub(super) field_validation: String,
    /// Who owns what stands in the object already.
    pub(super) is_applied: bool,
}

/// What was written, and what the client should know about it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Value,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) kinds: Kinds,
    pub(super) tokens: BTreeMap<String, User>,
    revision: u64,
    /// The newest revision of which watches cannot be told any more.
    compacted: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
}

impl Store {
    pub(super) fn new(kinds: Kinds) -> Self {
        let objects = BTreeMap::new();
        Self { kinds, tokens: BTreeMap::new(), revision: 1, compacted: 1, objects, history: VecDeque::new() }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// An object of a kind that every cluster has.
    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&Key::new(self.kinds.built_in(kind), namespace, name))
    }

    /// The objects of a resource in the order of their keys, in one namespace or in all.
    pub(super) fn list<'a>(
        &'a self,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key {
            resource: resource.into(),
            namespace: namespace.unwrap_or_default().into(),
            name: String::new(),
        };
        self.objects.range(first..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|namespace| key.namespace == namespace)
        })
    }

    /// All objects of a kind that every cluster has.
    pub(super) fn all(&self, kind: &str) -> Vec<Arc<Value>> {
        let resource = self.kinds.built_in(kind).resource();
        self.list(&resource, None).map(|(_, object)| object.clone()).collect()
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// What has happened after a revision, or `None` when that is not known any more.
    pub(super) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        let changes = self.history.iter().skip_while(move |change| change.revision <= revision);
        (revision >= self.compacted).then_some(changes)
    }

    /// Forgets the history, as etcd does every five minutes.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }

    pub(super) fn create(
        &mut self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        writing: &Writing,
    ) -> Answer<Written> {
        self.type_of(kind, namespace, &mut object)?;
        let metadata = &mut object["metadata"];
        let prefix = metadata["generateName"].as_str().unwrap_or_default().to_owned();
        if metadata["name"].as_str().unwrap_or_default().is_empty() && !prefix.is_empty() {
            metadata["name"] = json!(format!("{prefix}{}", random_name()));
        }
        if metadata["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        self.check_namespace(kind, namespace, &name)?;
        let key = Key::new(kind, namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(Refusal::already_exists(kind, &name));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for field in
                ["uid", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
            {
                metadata.remove(field);
            }
            metadata.insert("uid".into(), json!(random_uid()));
            metadata.insert("creationTimestamp".into(), json!(now()));
            if kind.has_generation() {
                metadata.insert("generation".into(), json!(1));
            }
        }
        if kind.has_status {
            object.as_object_mut().map(|map| map.remove("status"));
        }
        self.admit_new(kind, &mut object)?;
        let warnings = admit(kind, None, &mut object, writing)?;
        if !writing.is_applied {
            apply::track(&Value::Null, &mut object, schema(kind), &manager(kind, writing));
        }
        let object = if writing.is_dry { object } else { self.put(key, object) };
        Ok(Written { object, warnings })
    }

    pub(super) fn update(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        mut object: Value,
        writing: &Writing,
    ) -> Answer<Written> {
        let key = Key::new(kind, namespace, name);
        let live = self.objects.get(&key).cloned().ok_or_else(|| Refusal::not_found(kind, name))?;
        self.type_of(kind, namespace, &mut object)?;
        if object["metadata"]["name"] != live["metadata"]["name"] {
            return Err(Refusal::bad_request("the name of the object does not match the name on the URL"));
        }
        let has_changed = |field: &str| {
            let given = object["metadata"][field].as_str().unwrap_or_default();
            !given.is_empty() && live["metadata"][field] != given
        };
        if has_changed("resourceVersion") {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(kind, name, why));
        }
        if has_changed("uid") {
            return Err(Refusal::conflict(kind, name, "Precondition failed: the UID is another one"));
        }
        let mut next = assemble(kind, &live, object, &writing.subresource);
        let warnings = admit(kind, Some(&live), &mut next, writing)?;
        let causes = validate::check_change(kind, &live, &next);
        if kind.custom.is_none() && writing.subresource.is_empty() && !causes.is_empty() {
            return Err(Refusal::invalid(kind, name, &causes));
        }
        if kind.has_generation() && asked_for(kind, &live) != asked_for(kind, &next) {
            next["metadata"]["generation"] = json!(live["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        if writing.is_applied {
            apply::keep_times(&live, &mut next);
        } else {
            apply::track(&live, &mut next, schema(kind), &manager(kind, writing));
        }
        if next == *live || writing.is_dry {
            return Ok(Written { object: next, warnings });
        }
        let next = if is_done(&next) { self.remove(&key, next) } else { self.put(key, next) };
        Ok(Written { object: next, warnings })
    }

    /// Changes an object as a part of the cluster; one that is gone, or is refused, stays as it is.
    pub(super) fn edit(
        &mut self,
        key: &Key,
        manager: &str,
        subresource: &str,
        change: impl FnOnce(&mut Value),
    ) -> Option<Value> {
        let kind = self.kinds.resource(&key.resource)?.clone();
        let mut object = Value::clone(self.objects.get(key)?);
        change(&mut object);
        let writing =
            Writing { manager: manager.into(), subresource: subresource.into(), ..Writing::default() };
        let written = self.update(&kind, &key.namespace, &key.name, object, &writing);
        written.ok().map(|written| written.object)
    }

    /// Makes an object as a part of the cluster.
    pub(super) fn make(
        &mut self,
        kind: &str,
        namespace: &str,
        manager: &str,
        object: Value,
    ) -> Answer<Value> {
        let kind = self.kinds.built_in(kind).clone();
        let writing = Writing { manager: manager.into(), ..Writing::default() };
        self.create(&kind, namespace, object, &writing).map(|written| written.object)
    }

    /// Notes a state of an object, whatever it is.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let after = Arc::new(object.clone());
        let before = self.objects.insert(key.clone(), after.clone());
        self.note(key, before, after, false);
        object
    }

    /// Ends an object in its last state.
    pub(super) fn remove(&mut self, key: &Key, mut last: Value) -> Value {
        let before = self.objects.remove(key);
        self.revision += 1;
        last["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.note(key.clone(), before, Arc::new(last.clone()), true);
        last
    }

    fn note(&mut self, key: Key, before: Option<Arc<Value>>, after: Arc<Value>, is_removal: bool) {
        let is_definition = key.resource == "customresourcedefinitions.apiextensions.k8s.io";
        self.history.push_back(Change { revision: self.revision, key, before, after, is_removal });
        while self.history.len() > HISTORY {
            self.compacted = self.history.pop_front().map_or(self.compacted, |change| change.revision);
        }
        if is_definition {
            let defined =
                self.all("CustomResourceDefinition").iter().flat_map(|one| custom::kinds_of(one)).collect();
            self.kinds.define(defined);
        }
    }

    /// An object says its type and its place as the path does, or nothing.
    fn type_of(&self, kind: &Kind, namespace: &str, object: &mut Value) -> Answer<()> {
        let Some(map) = object.as_object_mut() else {
            return Err(Refusal::bad_request("the body of the request is no object"));
        };
        for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.clone())] {
            let given = map.entry(field).or_insert_with(|| json!(expected));
            let is_version = field == "apiVersion" && self.is_version(kind, given);
            if *given != expected.as_str() && !is_version {
                let why = format!("the {field} in the data ({given}) does not match the expected {expected}");
                return Err(Refusal::bad_request(why));
            }
            *given = json!(expected);
        }
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if !metadata.is_object() {
            return Err(Refusal::bad_request("the metadata is no object"));
        }
        if kind.is_namespaced {
            let given = metadata["namespace"].as_str().unwrap_or(namespace);
            if given != namespace {
                let why =
                    "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Refusal::bad_request(why));
            }
            metadata["namespace"] = json!(namespace);
        } else {
            metadata.as_object_mut().map(|metadata| metadata.remove("namespace"));
        }
        Ok(())
    }

    /// Versions of one definition are stored as one, and differ in nothing but their name.
    fn is_version(&self, kind: &Kind, given: &Value) -> bool {
        let given = given.as_str().unwrap_or_default();
        kind.custom.is_some()
            && self.kinds.of_type(given, &kind.kind).is_some_and(|other| other.group == kind.group)
    }

    fn check_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> Answer<()> {
        if !kind.is_namespaced {
            return Ok(());
        }
        let found = self.find("Namespace", "", namespace);
        let Some(found) = found else {
            return Err(Refusal::not_found(self.kinds.built_in("Namespace"), namespace));
        };
        if found["metadata"]["deletionTimestamp"].is_string() {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(Refusal::forbidden(kind, name, &why));
        }
        Ok(())
    }

    /// What is given to new objects alone: addresses, ports, protection.
    fn admit_new(&self, kind: &Kind, object: &mut Value) -> Answer<()> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Pod") => {
                let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default").to_owned();
                if self.find("ServiceAccount", &namespace, &account).is_none() {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let why = format!(
                        "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
                    );
                    return Err(Refusal::forbidden(kind, name, &why));
                }
                object["spec"]["serviceAccountName"] = json!(account);
            }
            ("", "PersistentVolumeClaim") => {
                let finalizers = &mut object["metadata"]["finalizers"];
                if finalizers.is_null() {
                    *finalizers = json!(["kubernetes.io/pvc-protection"]);
                }
                let class = self.all("StorageClass").into_iter().find(|class| {
                    class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
                });
                if let (Some(class), true) = (class, object["spec"].get("storageClassName").is_none()) {
                    object["spec"]["storageClassName"] = class["metadata"]["name"].clone();
                }
            }
            ("", "Service") => self.allocate(&mut object["spec"]),
            _ => {}
        }
        Ok(())
    }

    fn allocate(&self, spec: &mut Value) {
        let services = self.all("Service");
        let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
        if kind != "ExternalName" && spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
            let taken: BTreeSet<&str> =
                services.iter().filter_map(|service| service["spec"]["clusterIP"].as_str()).collect();
            let free =
                (20..=250).map(|last| format!("10.96.0.{last}")).find(|ip| !taken.contains(ip.as_str()));
            spec["clusterIP"] = json!(free);
        }
        if spec["clusterIP"].is_string() {
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
        }
        if kind != "NodePort" && kind != "LoadBalancer" {
            return;
        }
        let ports =
            services.iter().flat_map(|service| service["spec"]["ports"].as_array().into_iter().flatten());
        let mut taken: BTreeSet<u64> = ports.filter_map(|port| port["nodePort"].as_u64()).collect();
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if port["nodePort"].is_null() {
                port["nodePort"] = json!(free_node_port(&taken));
            }
            taken.extend(port["nodePort"].as_u64());
        }
    }
}

/// A port that nobody has: clusters share the loopback of their machine.
fn free_node_port(taken: &BTreeSet<u64>) -> Option<u64> {
    let begin = fastrand::u16(..2_768);
    let all = (0..2_768).map(|step| 30_000 + (begin + step) % 2_768);
    let mut free = all.filter(|port| !taken.contains(&u64::from(*port)));
    free.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).map(u64::from)
}

/// The object that a write leaves, from the live one and what was sent.
fn assemble(kind: &Kind, live: &Value, mut sent: Value, subresource: &str) -> Value {
    if subresource == "status" {
        let mut next = live.clone();
        next["status"] = sent["status"].take();
        if next["status"].is_null() {
            next.as_object_mut().map(|map| map.remove("status"));
        }
        if sent["metadata"].get("managedFields").is_some() {
            next["metadata"]["managedFields"] = sent["metadata"]["managedFields"].take();
        }
        return next;
    }
    let keep = |map: &mut Map<String, Value>, name: &str, live: &Value| {
        match live.get(name) {
            Some(value) => map.insert(name.into(), value.clone()),
            None => map.remove(name),
        };
    };
    if let Some(metadata) = sent["metadata"].as_object_mut() {
        let of_the_server = [
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ];
        for name in of_the_server {
            keep(metadata, name, &live["metadata"]);
        }
        if metadata.get("managedFields").is_none_or(Value::is_null) {
            keep(metadata, "managedFields", &live["metadata"]);
        }
    }
    if let (true, Some(map)) = (kind.has_status, sent.as_object_mut()) {
        keep(map, "status", live);
    }
    if kind.kind == "Service" && kind.custom.is_none() {
        // What the server has given stays when a client replaces the object without it.
        for name in ["clusterIP", "clusterIPs"] {
            if sent["spec"].get(name).is_none() && live["spec"].get(name).is_some() {
                sent["spec"][name] = live["spec"][name].clone();
            }
        }
    }
    sent
}

/// Defaults, pruning and validation. Returns the warnings.
fn admit(kind: &Kind, old: Option<&Value>, object: &mut Value, writing: &Writing) -> Answer<Vec<String>> {
    let mut warnings = Vec::new();
    let mut causes = Vec::new();
    match &kind.custom {
        Some(custom) => {
            for path in custom.shape(object) {
                match writing.field_validation.as_str() {
                    "Strict" => {
                        let why = format!("strict decoding error: unknown field \"{path}\"");
                        return Err(Refusal::bad_request(why));
                    }
                    "Ignore" => {}
                    _ => warnings.push(format!("unknown field \"{path}\"")),
                }
            }
            causes.extend(custom.check(old, object));
        }
        None => defaults::fill(kind, object),
    }
    causes.extend(validate::check(kind, object));
    if !causes.is_empty() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Refusal::invalid(kind, name, &causes));
    }
    Ok(warnings)
}

/// What a user asks for: all but metadata and status.
fn asked_for(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("metadata");
        if kind.has_status {
            map.remove("status");
        }
    }
    object
}

/// Whether nothing holds an object that is to go.
pub(super) fn is_done(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    metadata["deletionTimestamp"].is_string()
        && is_empty(&metadata["finalizers"])
        && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) == 0
        && (object["kind"] != "Namespace" || is_empty(&object["spec"]["finalizers"]))
}

pub(super) fn schema(kind: &Kind) -> Option<&Value> {
    kind.custom.as_ref().map(|custom| &*custom.schema)
}

pub(super) fn manager(kind: &Kind, writing: &Writing) -> Manager {
    Manager {
        name: writing.manager.clone(),
        api_version: kind.api_version(),
        subresource: writing.subresource.clone(),
        time: now(),
    }
}

/// This second, as metadata has it.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn random_uid() -> String {
    let bits = (u128::from(fastrand::u64(..)) << 64) | u128::from(fastrand::u64(..));
    let text = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

/// Five characters, as the real one adds them.
pub(super) fn random_name() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect()
}
