//! The API of a Kubernetes cluster: that which this process runs in, or one that the user's configuration names.
//!
//! Objects are JSON: whoever asks knows what is in them. What a request may take is bounded; an answer is as long as
//! the cluster, which has been authenticated, makes it, and lists come in parts.

pub mod forward;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use futures_util::AsyncBufRead;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config, Error,
    api::{
        DeleteParams, GetParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions,
        WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
    core::{GroupVersionKind, Request, Status, discovery::ApiResource},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use self::watch::{Change, Watch};
use crate::{
    client::admin::causes,
    env,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Whose the fields are that a deployment applies.
const DEPLOYER: &str = "mq";
/// How long a watch lasts before another one begins: one whose connection is dead is noticed then.
const WATCH_SECONDS: u32 = 240;
/// Objects of one part of a list.
const PAGE: u32 = 500;

/// The objects of one kind in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps/v1`; of the core group `v1`.
    pub version: &'static str,
    /// `statefulsets`.
    pub plural: &'static str,
}

pub const EVENTS: Kind = Kind { version: "v1", plural: "events" };
pub const CONFIG_MAPS: Kind = Kind { version: "v1", plural: "configmaps" };
pub const LEASES: Kind = Kind { version: "coordination.k8s.io/v1", plural: "leases" };
pub const PODS: Kind = Kind { version: "v1", plural: "pods" };
pub const SECRETS: Kind = Kind { version: "v1", plural: "secrets" };
pub const STATEFUL_SETS: Kind = Kind { version: "apps/v1", plural: "statefulsets" };
pub const DEPLOYMENTS: Kind = Kind { version: "apps/v1", plural: "deployments" };
pub const FLEETS: Kind = Kind { version: "mq.messaging/v1", plural: "fleets" };
pub const CONTROLLER_REVISIONS: Kind = Kind { version: "apps/v1", plural: "controllerrevisions" };
pub const VOLUME_CLAIMS: Kind = Kind { version: "v1", plural: "persistentvolumeclaims" };

/// The API of a cluster, in one of its namespaces.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    /// Where the API is, for people.
    place: String,
    /// Whoever makes the changes: fields have an owner.
    manager: &'static str,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("place", &self.place).field("namespace", &self.namespace).finish()
    }
}

/// What a list holds, and from where on changes are to be watched.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub items: Vec<Value>,
    pub version: String,
}

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Nothing changes: the cluster says what would become of it.
    pub is_rehearsal: bool,
    /// Fields that somebody else owns are taken from them.
    pub is_forced: bool,
}

impl Cluster {
    /// The cluster that this process runs in, and the namespace of this pod.
    ///
    /// # Errors
    ///
    /// When it runs in none, or what a pod is given cannot be read.
    pub fn of_pod() -> Outcome<Self> {
        if env::text(env::KUBERNETES_HOST).is_none() || env::text(env::KUBERNETES_PORT).is_none() {
            let message = "the environment does not say where the cluster's API is";
            return Err(Failure::usage(message).help("this command is for the pods of a cluster"));
        }
        let config = Config::incluster().map_err(|error| {
            Failure::usage(format!("cannot read what a pod is given: {}", causes(&error)))
        })?;
        let namespace = config.default_namespace.clone();
        Self::new(config, namespace, "mq-operator")
    }

    /// The cluster of a context of the user's `kubectl` configuration, or of the current one.
    ///
    /// # Errors
    ///
    /// When there is no such context, or it cannot be understood.
    pub async fn of_user(context: Option<&str>, namespace: &str) -> Outcome<Self> {
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            let what = context
                .map_or_else(|| "the current context".to_owned(), |name| format!("the context `{name}`"));
            Failure::usage(format!(
                "cannot use {what} of the kubeconfig {}: {}",
                kubeconfigs(),
                causes(error)
            ))
            .help("see `kubectl config get-contexts`; KUBECONFIG says which files count")
        };
        if !is_one_there() {
            let message = format!("there is no kubeconfig: {} is not there", kubeconfigs());
            return Err(Failure::usage(message).help(
                "write one with what gives you the cluster, or say with KUBECONFIG where it is; `kubectl config view` \
                 shows what counts",
            ));
        }
        let file = Kubeconfig::read().map_err(|error| unusable(&error))?;
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config =
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))?;
        Self::new(config, namespace.to_owned(), DEPLOYER)
    }

    /// The same as whoever deploys by hand: what one of them has applied the other one changes, and takes away, without a
    /// conflict about whose fields they are.
    #[must_use]
    pub fn as_deployer(&self) -> Self {
        Self { manager: DEPLOYER, ..self.clone() }
    }

    fn new(mut config: Config, namespace: String, manager: &'static str) -> Outcome<Self> {
        let url = &config.cluster_url;
        let place = format!(
            "{}://{}",
            url.scheme_str().unwrap_or("https"),
            url.authority().map_or("", |it| it.as_str())
        );
        config.connect_timeout = Some(PATIENCE);
        let client = Client::try_from(config).map_err(|error| {
            Failure::usage(format!("cannot talk to the cluster at {place}: {}", causes(&error)))
        })?;
        Ok(Self { client, namespace, place, manager })
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where the API is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// One object; `None`: there is none.
    pub async fn get(&self, kind: Kind, name: &str) -> Outcome<Option<Value>> {
        let request = self.of_kind(kind).get(name, &GetParams::default());
        absent_is_none(self.ask(request).await)
    }

    /// Every object of a kind.
    pub async fn list(&self, kind: Kind) -> Outcome<Listed> {
        self.list_labelled(kind, "").await
    }

    /// The objects of a kind that have these labels, such as `app=a,tier=b`.
    pub async fn list_labelled(&self, kind: Kind, labels: &str) -> Outcome<Listed> {
        self.list_with(kind, ListParams::default().labels(labels)).await
    }

    /// The objects of a kind with these fields, such as `involvedObject.name=a`.
    pub async fn list_with_fields(&self, kind: Kind, fields: &str) -> Outcome<Listed> {
        self.list_with(kind, ListParams::default().fields(fields)).await
    }

    async fn list_with(&self, kind: Kind, parameters: ListParams) -> Outcome<Listed> {
        let mut listed = Listed::default();
        let mut parameters = parameters.limit(PAGE);
        loop {
            let mut page: Value = self.ask(self.of_kind(kind).list(&parameters)).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            listed.version = text(&page["metadata"]["resourceVersion"]);
            let further = text(&page["metadata"]["continue"]);
            if let Some(items) = page["items"].as_array_mut() {
                listed.items.append(items);
            }
            if further.is_empty() {
                return Ok(listed);
            }
            parameters.continue_token = Some(further);
        }
    }

    /// Makes an object; a conflict when there is one of its name.
    pub async fn create(&self, kind: Kind, object: &Value) -> Outcome<Value> {
        self.ask(self.of_kind(kind).create(&self.post(), bytes(object))).await
    }

    /// Puts an object in the place of the one whose version it bears; a conflict when that has changed.
    pub async fn replace(&self, kind: Kind, name: &str, object: &Value) -> Outcome<Value> {
        self.ask(self.of_kind(kind).replace(name, &self.post(), bytes(object))).await
    }

    /// Changes some fields of an object, or of its status (RFC 7396).
    pub async fn merge(&self, kind: Kind, path: &[&str], change: &Value) -> Outcome<Value> {
        let parameters = PatchParams { field_manager: Some(self.manager.into()), ..PatchParams::default() };
        let (requests, patch) = (self.of_kind(kind), Patch::Merge(change));
        match path {
            [name, part] => self.ask(requests.patch_subresource(part, name, &parameters, &patch)).await,
            _ => self.ask(requests.patch(path.first().unwrap_or(&""), &parameters, &patch)).await,
        }
    }

    /// The object as it is in the cluster; `None`: it is not there.
    pub async fn there(&self, object: &Value) -> Outcome<Option<Value>> {
        let (requests, name) = of_object(object)?;
        absent_is_none(self.ask(requests.get(name, &GetParams::default())).await)
    }

    /// Makes the fields that the object names what it says, and those that it does not name any more go. Returns what
    /// it is then.
    ///
    /// # Errors
    ///
    /// A conflict, when somebody else owns one of the fields: the message says who, and which.
    pub async fn apply(&self, object: &Value, how: Application) -> Outcome<Value> {
        let (requests, name) = of_object(object)?;
        let parameters = PatchParams {
            dry_run: how.is_rehearsal,
            force: how.is_forced,
            field_manager: Some(self.manager.into()),
            ..PatchParams::default()
        };
        let applied = self.ask(requests.patch(name, &parameters, &Patch::Apply(object))).await;
        applied.map_err(|mut failure: Failure| {
            let kind = object["kind"].as_str().unwrap_or_default();
            failure.message = format!("{kind} `{name}`: {}", failure.message);
            if failure.exit == Exit::NotFound {
                failure.help = Some(format!(
                    "the cluster may not know the kind {kind}: install what brings it, or leave out what asks for it"
                ));
            }
            failure
        })
    }

    /// Deletes the object and what belongs to it; says whether it was there.
    pub async fn delete(&self, object: &Value) -> Outcome<bool> {
        let (requests, name) = of_object(object)?;
        let parameters = DeleteParams::background();
        let gone: Outcome<Option<Value>> = absent_is_none(self.ask(requests.delete(name, &parameters)).await);
        gone.map(|gone| gone.is_some())
    }

    /// Deletes the object of this name that has this `uid`, and no other one that has come since.
    pub async fn delete_exactly(&self, kind: Kind, name: &str, uid: &str) -> Outcome {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let parameters = DeleteParams::background().preconditions(preconditions);
        let gone: Outcome<Option<Value>> =
            absent_is_none(self.ask(self.of_kind(kind).delete(name, &parameters)).await);
        match gone {
            Err(failure) if failure.exit != Exit::Conflict => Err(failure),
            // Another one of its name: this one is gone.
            _ => Ok(()),
        }
    }

    /// The changes of a kind from a version on.
    pub async fn watch(&self, kind: Kind, version: &str) -> Outcome<Watch> {
        self.watch_labelled(kind, "", version).await
    }

    /// The changes of the objects of a kind that have these labels, from a version on.
    pub async fn watch_labelled(&self, kind: Kind, labels: &str, version: &str) -> Outcome<Watch> {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS).labels(labels);
        let request = self.of_kind(kind).watch(&parameters, version).map_err(|error| malformed(&error))?;
        let limit = Duration::from_secs(WATCH_SECONDS.into()) + PATIENCE;
        let events = self.in_time(self.client.request_events(request)).await?;
        Ok(Watch::new(events, limit, self.place.clone()))
    }

    /// What a container of a pod has said.
    pub async fn log(&self, pod: &str, parameters: &LogParams) -> Outcome<String> {
        self.in_time(self.pods().logs(pod, parameters)).await
    }

    /// The same as it comes.
    pub async fn follow(
        &self,
        pod: &str,
        parameters: &LogParams,
    ) -> Outcome<Pin<Box<dyn AsyncBufRead + Send>>> {
        let lines = self.in_time(self.pods().log_stream(pod, parameters)).await?;
        Ok(Box::pin(lines))
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn of_kind(&self, kind: Kind) -> Request {
        Request::new(path(kind.version, Some(&self.namespace), kind.plural))
    }

    fn post(&self) -> PostParams {
        PostParams { field_manager: Some(self.manager.to_owned()), ..PostParams::default() }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Outcome<T> {
        let request = request.map_err(|error| malformed(&error))?;
        self.in_time(self.client.request(request)).await
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Outcome<T> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|error| failure(&error, &self.place)),
            Err(_) => Err(Failure::new(
                Exit::Unreachable,
                format!("the cluster at {} does not answer within {}s", self.place, PATIENCE.as_secs()),
            )),
        }
    }
}

/// The files that `kubectl` would read.
fn kubeconfig_files() -> Vec<PathBuf> {
    match env::text(env::KUBECONFIG) {
        Some(list) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env::text(env::HOME).map(|home| Path::new(&home).join(".kube/config")).into_iter().collect(),
    }
}

fn kubeconfigs() -> String {
    let files: Vec<String> = kubeconfig_files().iter().map(|file| file.display().to_string()).collect();
    if files.is_empty() { "~/.kube/config".to_owned() } else { files.join(", ") }
}

fn is_one_there() -> bool {
    kubeconfig_files().iter().any(|file| file.exists())
}

/// Where objects of a kind are: `/apis/apps/v1/namespaces/a/statefulsets`.
fn path(version: &str, namespace: Option<&str>, plural: &str) -> String {
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
    format!("/{root}/{version}{namespace}/{plural}")
}

/// The requests about an object that says itself what it is, and its name.
fn of_object(object: &Value) -> Outcome<(Request, &str)> {
    let text = |value: &'static str| object[value].as_str();
    let (Some(version), Some(kind), Some(name)) =
        (text("apiVersion"), text("kind"), object["metadata"]["name"].as_str())
    else {
        return Err(Failure::failed("an object without a kind or a name cannot be in a cluster"));
    };
    let (group, short) = version.rsplit_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, short, kind));
    let namespace = object["metadata"]["namespace"].as_str();
    Ok((Request::new(path(version, namespace, &resource.plural)), name))
}

fn bytes(object: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(object).unwrap_or_default()
}

fn absent_is_none(answer: Outcome<Value>) -> Outcome<Option<Value>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn malformed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(format!("cannot ask the cluster that: {}", causes(error)))
}

/// What an answer that is none means.
fn failure(error: &Error, place: &str) -> Failure {
    match error {
        Error::Api(status) => refusal(status),
        Error::Auth(_) | Error::InferKubeconfig(_) => {
            Failure::new(Exit::Denied, format!("cannot log in to the cluster at {place}: {}", causes(error)))
        }
        Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_) | Error::UpgradeConnection(_) => {
            Failure::new(Exit::Unreachable, format!("cannot ask the cluster at {place}: {}", causes(error)))
        }
        _ => Failure::failed(format!("cannot read what the cluster at {place} says: {}", causes(error))),
    }
}

fn refusal(status: &Status) -> Failure {
    let exit = match status.code {
        404 => Exit::NotFound,
        409 => Exit::Conflict,
        401 | 403 => Exit::Denied,
        _ => Exit::Failed,
    };
    let message = if status.message.is_empty() { status.code.to_string() } else { status.message.clone() };
    Failure::new(exit, format!("the cluster refuses: {message}"))
}

/// The metadata of an object that belongs to another one, and goes with it.
pub fn owned_by(owner: &Value, name: &str) -> Value {
    json!({
        "name": name,
        "ownerReferences": [{
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_itself_where_it_is() {
        let found = |version: &str, kind: &str, namespace: Option<&str>| {
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x", "namespace": namespace } });
            let (request, name) = of_object(&object).unwrap();
            assert_eq!(name, "x");
            request.url_path
        };
        assert_eq!(found("v1", "Namespace", None), "/api/v1/namespaces");
        assert_eq!(found("v1", "ConfigMap", Some("n")), "/api/v1/namespaces/n/configmaps");
        for (version, kind, plural) in [
            ("apps/v1", "StatefulSet", "statefulsets"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io/v1", "Ingress", "ingresses"),
            ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
            ("gateway.networking.k8s.io/v1", "TLSRoute", "tlsroutes"),
            ("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
            ("cert-manager.io/v1", "Certificate", "certificates"),
        ] {
            assert_eq!(found(version, kind, Some("n")), format!("/apis/{version}/namespaces/n/{plural}"));
        }
        assert!(of_object(&json!({ "kind": "Pod" })).is_err());
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_cluster_and_says_what_kind_it_is() {
        let of = |code, message: &str| {
            refusal(&Status { code, message: message.into(), ..Status::failure("", "") })
        };
        assert_eq!(of(404, "no").exit, Exit::NotFound);
        assert_eq!(of(403, "no").exit, Exit::Denied);
        let conflict = of(409, "conflict with \"kubectl\" using apps/v1: .spec.replicas");
        assert_eq!(conflict.exit, Exit::Conflict);
        assert!(conflict.message.contains("conflict with \"kubectl\""), "{conflict}");
        assert_eq!(of(500, "").message, "the cluster refuses: 500");
    }
}
