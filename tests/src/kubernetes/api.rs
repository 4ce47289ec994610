//! What the API server does with a request to a resource.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::access::{Access, User, resource};
use super::kinds::Kind;
use super::refusal::{Answer, Refusal};
use super::removal::Deletion;
use super::request::{Path, Query};
use super::selector::{Fields, Labels};
use super::store::{Key, Store, Writing, Written, manager, now, schema};
use super::{apply, patch, protobuf, table};

/// The store, and how to wait for it.
#[derive(Debug)]
pub(super) struct Api {
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
    /// For the threads of the control plane.
    news: Condvar,
}

/// A request, but for its connection.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: Path,
    pub(super) query: Query,
    pub(super) content_type: String,
    pub(super) accept: String,
    /// What a client calls itself; the default name of a field manager.
    pub(super) agent: String,
    pub(super) body: Vec<u8>,
    pub(super) user: User,
}

/// What a client is sent.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
}

impl Reply {
    fn new(code: u16, body: Value) -> Self {
        Self { code, body, warnings: Vec::new() }
    }
}

/// What a list or a watch is of.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    labels: Labels,
    fields: Fields,
}

impl Selection {
    pub(super) fn has(&self, key: &Key, object: &Value) -> bool {
        key.resource == self.kind.resource()
            && self.namespace.as_ref().is_none_or(|namespace| key.namespace == *namespace)
            && self.labels.matches(object)
            && self.fields.matches(object)
    }
}

impl Api {
    pub(super) fn new(store: Store) -> Self {
        let changed = watch::Sender::new(store.revision());
        Self { store: Mutex::new(store), changed, news: Condvar::new() }
    }

    /// Looks at the store, or changes it; whoever waits for changes is told.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.lock();
        let before = store.revision();
        let result = work(&mut store);
        if store.revision() != before {
            self.changed.send_replace(store.revision());
            self.news.notify_all();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // A test that has failed in the middle of something fails anyway.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the store has changed since a revision, or for so long.
    pub(super) fn wait(&self, revision: u64, time: Duration) {
        let store = self.lock();
        // A wake-up for nothing is one look at the cluster more.
        drop(self.news.wait_timeout_while(store, time, |store| store.revision() == revision));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether this is a watch, and of what.
    pub(super) fn watched(&self, request: &Request) -> Answer<Option<Selection>> {
        if request.method != "GET" || !request.query.is("watch") {
            return Ok(None);
        }
        self.with(|store| {
            let kind = kind_of(store, &request.path)?;
            authorize(store, request, &kind)?;
            selection(&kind, request).map(Some)
        })
    }

    /// Whether somebody may do what this asks; for what the store does not answer itself.
    pub(super) fn authorized(&self, request: &Request) -> Answer<Arc<Value>> {
        self.with(|store| {
            let kind = kind_of(store, &request.path)?;
            authorize(store, request, &kind)?;
            let (namespace, name) = place(request);
            let found = store.get(&Key::new(&kind, namespace, name)).cloned();
            found.ok_or_else(|| Refusal::not_found(&kind, name))
        })
    }

    /// Answers whatever is neither a watch nor a stream.
    pub(super) fn answer(&self, request: &Request) -> Answer<Reply> {
        self.with(|store| answer(store, request))
    }
}

fn place(request: &Request) -> (&str, &str) {
    let path = &request.path;
    (path.namespace.as_deref().unwrap_or_default(), path.name.as_deref().unwrap_or_default())
}

fn kind_of(store: &Store, path: &Path) -> Answer<Kind> {
    let kind = store.kinds.at(&path.group, &path.version, &path.plural).cloned();
    kind.ok_or_else(Refusal::no_such_path)
}

fn authorize(store: &Store, request: &Request, kind: &Kind) -> Answer<()> {
    let (namespace, name) = place(request);
    let verb = match (request.method.as_str(), name.is_empty()) {
        ("GET", _) if request.query.is("watch") => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => return Err(Refusal::method_not_allowed()),
    };
    let resource = resource(kind, request.path.subresource.as_deref());
    let access = Access { verb, group: &kind.group, resource, namespace, name };
    if store.is_allowed(&request.user, &access) {
        return Ok(());
    }
    Err(Refusal::forbidden(kind, name, &access.denial(&request.user)))
}

fn selection(kind: &Kind, request: &Request) -> Answer<Selection> {
    let labels = Labels::parse(request.query.text("labelSelector"))?;
    let mut fields = request.query.text("fieldSelector").to_owned();
    // A watch of one object by its path.
    if let Some(name) = &request.path.name {
        fields = format!("{fields},metadata.name={name}");
    }
    Ok(Selection {
        kind: kind.clone(),
        namespace: request.path.namespace.clone(),
        labels,
        fields: Fields::parse(&fields)?,
    })
}

fn answer(store: &mut Store, request: &Request) -> Answer<Reply> {
    let path = &request.path;
    if let ("POST", Some(review)) = (request.method.as_str(), review_of(path)) {
        let body = parse(request)?;
        return Ok(Reply::new(201, store.review(review, body, &request.user)));
    }
    let kind = kind_of(store, path)?;
    if kind.is_namespaced && path.namespace.is_none() && (path.name.is_some() || request.method == "POST") {
        return Err(Refusal::no_such_path());
    }
    authorize(store, request, &kind)?;
    let (namespace, name) = place(request);
    match (request.method.as_str(), path.name.is_some(), path.subresource.as_deref()) {
        ("GET", false, _) => list(store, &kind, request),
        ("POST", false, _) => {
            let body = parse(request)?;
            // A manager of fields is whoever says so, or the program.
            let written = store.create(&kind, namespace, body, &writing(request, ""))?;
            Ok(reply(201, written))
        }
        ("DELETE", false, _) => delete_all(store, &kind, request),
        ("GET", true, None | Some("status")) => {
            let object = store.get(&Key::new(&kind, namespace, name));
            let object = object.ok_or_else(|| Refusal::not_found(&kind, name))?;
            let object = versioned(&kind, object);
            let is_table = is_table(request);
            let body = if is_table { table::table(&kind, &[object], &json!({})) } else { object };
            Ok(Reply::new(200, body))
        }
        ("PUT", true, None) => {
            let object = parse(request)?;
            store
                .update(&kind, namespace, name, object, &writing(request, ""))
                .map(|written| reply(200, written))
        }
        ("PUT", true, Some("status")) if kind.has_status => {
            let object = parse(request)?;
            let writing = writing(request, "status");
            store.update(&kind, namespace, name, object, &writing).map(|written| reply(200, written))
        }
        ("PATCH", true, None) => patch_object(store, &kind, request, ""),
        ("PATCH", true, Some("status")) if kind.has_status => patch_object(store, &kind, request, "status"),
        ("DELETE", true, None) => {
            let deleted = store.delete(&kind, namespace, name, &deletion(request)?)?;
            Ok(Reply::new(200, deleted))
        }
        ("GET" | "PUT" | "PATCH", true, Some("scale")) => scale(store, &kind, request),
        ("POST", true, Some("eviction")) if kind.plural == "pods" => {
            let body = parse(request)?;
            let how = Deletion::parse(&body["deleteOptions"]);
            store.evict(namespace, name, &how).map(|status| Reply::new(201, status))
        }
        ("POST", true, Some("token")) if kind.plural == "serviceaccounts" => {
            if store.get(&Key::new(&kind, namespace, name)).is_none() {
                return Err(Refusal::not_found(&kind, name));
            }
            let mut review = parse(request)?;
            let token = store.token_of(namespace, name);
            review["status"] = json!({ "token": token, "expirationTimestamp": "2099-01-01T00:00:00Z" });
            Ok(Reply::new(201, review))
        }
        (_, _, Some(_)) => Err(Refusal::no_such_path()),
        _ => Err(Refusal::method_not_allowed()),
    }
}

impl Store {
    /// A token of a service account, good for as long as the cluster.
    pub(super) fn token_of(&mut self, namespace: &str, name: &str) -> String {
        let token = format!("{namespace}.{name}.{}", super::store::random_uid());
        self.tokens.insert(token.clone(), User::service_account(namespace, name));
        token
    }
}

fn reply(code: u16, written: Written) -> Reply {
    Reply { code, body: written.object, warnings: written.warnings }
}

fn review_of(path: &Path) -> Option<&'static str> {
    match (path.group.as_str(), path.plural.as_str()) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Some("SelfSubjectAccessReview"),
        ("authorization.k8s.io", "subjectaccessreviews") => Some("SubjectAccessReview"),
        ("authentication.k8s.io", "selfsubjectreviews") => Some("SelfSubjectReview"),
        _ => None,
    }
}

fn is_table(request: &Request) -> bool {
    request.accept.contains("as=Table")
}

/// JSON, or YAML for what is applied.
fn parse(request: &Request) -> Answer<Value> {
    if request.content_type.contains("protobuf") {
        let why = "the body of the request was in an unknown format - accepted media types include: application/json";
        return protobuf::parse(&request.body).ok_or_else(|| Refusal::unsupported_media_type(why));
    }
    let json = serde_json::from_slice(&request.body);
    json.map_err(|error| Refusal::bad_request(format!("the body of the request is no JSON: {error}")))
}

fn writing(request: &Request, subresource: &str) -> Writing {
    let given = request.query.text("fieldManager");
    let program = request.agent.split('/').next().unwrap_or_default();
    Writing {
        manager: if given.is_empty() { program.into() } else { given.into() },
        is_dry: request.query.text("dryRun") == "All",
        subresource: subresource.into(),
        field_validation: request.query.text("fieldValidation").into(),
        is_applied: false,
    }
}

fn deletion(request: &Request) -> Answer<Deletion> {
    let body = if request.body.is_empty() { json!({}) } else { parse(request)? };
    let mut how = Deletion::parse(&body);
    let query = &request.query;
    how.grace = how.grace.or_else(|| query.number("gracePeriodSeconds"));
    how.is_dry |= query.text("dryRun") == "All";
    if how.propagation.is_none() && !query.text("propagationPolicy").is_empty() {
        how.propagation = Some(query.text("propagationPolicy").into());
    }
    Ok(how)
}

/// The object in the version that is asked for.
pub(super) fn versioned(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!(kind.api_version());
    object
}

/// A page of a list. The real one gives all pages from one revision; here a page is of the present.
fn list(store: &Store, kind: &Kind, request: &Request) -> Answer<Reply> {
    let selection = selection(kind, request)?;
    let resource = kind.resource();
    let found = store.list(&resource, selection.namespace.as_deref());
    let mut found: Vec<(&Key, &Arc<Value>)> =
        found.filter(|(key, object)| selection.has(key, object)).collect();
    let mut revision = store.revision();
    let token = request.query.text("continue");
    if !token.is_empty() {
        let state = STANDARD.decode(token).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        let state = state.ok_or_else(|| Refusal::bad_request("continue key is not valid"))?;
        revision = state["revision"].as_u64().unwrap_or(0);
        if revision < store.compacted() {
            return Err(Refusal::expired(revision, store.compacted()));
        }
        let last =
            (state["namespace"].as_str().unwrap_or_default(), state["name"].as_str().unwrap_or_default());
        found.retain(|(key, _)| (key.namespace.as_str(), key.name.as_str()) > last);
    }
    let limit = request.query.number("limit").filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if let Some((last, _)) = (found.len() > limit).then(|| found[limit - 1]) {
        let state = json!({ "revision": revision, "namespace": last.namespace, "name": last.name });
        metadata["continue"] = json!(STANDARD.encode(state.to_string()));
        metadata["remainingItemCount"] = json!(found.len() - limit);
        found.truncate(limit);
    }
    let mut items: Vec<Value> = found.iter().map(|(_, object)| versioned(kind, object)).collect();
    if is_table(request) {
        return Ok(Reply::new(200, table::table(kind, &items, &metadata)));
    }
    if kind.custom.is_none() {
        // The items of a list of a built-in type do not repeat it.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.remove("apiVersion");
            item.remove("kind");
        }
    }
    let list = json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(), "metadata": metadata, "items": items,
    });
    Ok(Reply::new(200, list))
}

fn delete_all(store: &mut Store, kind: &Kind, request: &Request) -> Answer<Reply> {
    let selection = selection(kind, request)?;
    let resource = kind.resource();
    let found: Vec<Key> = store
        .list(&resource, selection.namespace.as_deref())
        .filter(|(key, object)| selection.has(key, object))
        .map(|(key, _)| key.clone())
        .collect();
    let how = deletion(request)?;
    for key in &found {
        store.delete(kind, &key.namespace, &key.name, &how)?;
    }
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
    Ok(Reply::new(200, status))
}

fn patch_object(store: &mut Store, kind: &Kind, request: &Request, subresource: &str) -> Answer<Reply> {
    let (namespace, name) = place(request);
    let key = Key::new(kind, namespace, name);
    let live = store.get(&key).map(|live| Value::clone(live));
    let mut writing = writing(request, subresource);
    let media_type = request.content_type.split(';').next().unwrap_or_default().trim();
    if media_type == "application/apply-patch+yaml" || media_type == "application/apply-patch+json" {
        return apply_object(store, kind, request, live, writing);
    }
    let mut next = live.ok_or_else(|| Refusal::not_found(kind, name))?;
    let body = parse(request)?;
    match media_type {
        "application/json-patch+json" => patch::json(&mut next, &body)?,
        "application/merge-patch+json" => patch::merge(&mut next, &body),
        "application/strategic-merge-patch+json" if kind.custom.is_none() => {
            next = patch::strategic(&next, &body)
        }
        other => {
            let why = format!(
                "the body of the request was in an unknown format ({other}) - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            );
            return Err(Refusal::unsupported_media_type(why));
        }
    }
    if writing.manager.is_empty() {
        writing.manager = "unknown".into();
    }
    store.update(kind, namespace, name, next, &writing).map(|written| reply(200, written))
}

fn apply_object(
    store: &mut Store,
    kind: &Kind,
    request: &Request,
    live: Option<Value>,
    mut writing: Writing,
) -> Answer<Reply> {
    let (namespace, name) = place(request);
    if request.query.text("fieldManager").is_empty() {
        return Err(Refusal::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let text = std::str::from_utf8(&request.body).unwrap_or_default();
    let mut configuration: Value = match serde_json::from_str(text) {
        Ok(configuration) => configuration,
        Err(_) => serde_saphyr::from_str(text)
            .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")))?,
    };
    for field in ["apiVersion", "kind"] {
        if !configuration[field].is_string() {
            return Err(Refusal::bad_request(format!("{field} must be set in an apply patch")));
        }
    }
    writing.is_applied = true;
    let is_new = live.is_none();
    let live = live.unwrap_or_default();
    if is_new && configuration["metadata"]["name"].is_null() {
        configuration["metadata"]["name"] = json!(name);
    }
    let owner = manager(kind, &writing);
    let is_forced = request.query.is("force");
    let next = apply::apply(&live, &configuration, schema(kind), &owner, is_forced)?;
    if is_new {
        if !writing.subresource.is_empty() {
            return Err(Refusal::not_found(kind, name));
        }
        return store.create(kind, namespace, next, &writing).map(|written| reply(201, written));
    }
    store.update(kind, namespace, name, next, &writing).map(|written| reply(200, written))
}

/// The number of replicas alone, as autoscalers and `kubectl scale` see it.
fn scale(store: &mut Store, kind: &Kind, request: &Request) -> Answer<Reply> {
    let paths = kind.scale.clone().ok_or_else(Refusal::no_such_path)?;
    let (namespace, name) = place(request);
    let live = store.get(&Key::new(kind, namespace, name)).ok_or_else(|| Refusal::not_found(kind, name))?;
    let live = Value::clone(live);
    let view = |object: &Value| {
        let number = |path: &str| object.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let selector = if paths.selector.is_empty() {
            let labels = object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
            let labels = labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
            labels.collect::<Vec<_>>().join(",")
        } else {
            object.pointer(&paths.selector).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let metadata = &object["metadata"];
        json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {
                "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "creationTimestamp": metadata["creationTimestamp"],
            },
            "spec": { "replicas": number(&paths.replicas) },
            "status": { "replicas": number(&paths.status_replicas), "selector": selector },
        })
    };
    if request.method == "GET" {
        return Ok(Reply::new(200, view(&live)));
    }
    let mut wanted = view(&live);
    let body = parse(request)?;
    match (request.method.as_str(), request.content_type.starts_with("application/json-patch")) {
        ("PATCH", true) => patch::json(&mut wanted, &body)?,
        ("PATCH", false) => patch::merge(&mut wanted, &body),
        _ => wanted = body,
    }
    let mut next = live;
    match wanted["metadata"]["resourceVersion"].as_str() {
        Some(version) => next["metadata"]["resourceVersion"] = json!(version),
        None => next["metadata"]["resourceVersion"] = json!(""),
    }
    let replicas = wanted["spec"]["replicas"].clone();
    patch::json(&mut next, &json!([{ "op": "add", "path": paths.replicas, "value": replicas }]))?;
    let written = store.update(kind, namespace, name, next, &writing(request, ""))?;
    Ok(Reply::new(200, view(&written.object)))
}

/// What a new cluster has.
pub(super) fn furnish(store: &mut Store) -> Answer<()> {
    for namespace in ["kube-system", "default"] {
        store.make("Namespace", "", "kube-apiserver", json!({ "metadata": { "name": namespace } }))?;
    }
    let [a, b, c, d] = super::store::API_IP;
    let ip = format!("{a}.{b}.{c}.{d}");
    let ports = json!([{ "name": "https", "port": 443, "targetPort": 6443 }]);
    let service =
        json!({ "metadata": { "name": "kubernetes" }, "spec": { "clusterIP": ip, "ports": ports } });
    store.make("Service", "default", "kube-apiserver", service)?;
    let class = json!({
        "metadata": {
            "name": "standard", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "tests", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    });
    store.make("StorageClass", "", "kube-apiserver", class)?;
    let ready =
        json!([{ "type": "Ready", "status": "True", "lastTransitionTime": now(), "reason": "KubeletReady" }]);
    for (name, zone) in super::NODES.iter().zip(["a", "b", "c"]) {
        let labels = json!({ "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone });
        store.make("Node", "", "kubelet", json!({ "metadata": { "name": name, "labels": labels } }))?;
        let key = Key::new(store.kinds.built_in("Node"), "", name);
        store.edit(&key, "kubelet", "status", |node| node["status"] = json!({ "conditions": ready }));
    }
    Ok(())
}
