//! The API of the Kubernetes cluster that this process runs in, as far as its pods and the operator need it.
//!
//! A pod is told where the API is, whom to believe and with which token to ask; the token changes, and is read for each
//! request. Objects are JSON: whoever asks knows what is in them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::{Value, json};

use crate::{
    client::{admin::causes, tls::Trust},
    context::read_bounded,
    env,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Where a pod finds what it proves itself with.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The largest file that is read there.
const MAX_FILE: u64 = 64 << 10;
/// The largest answer, and the largest object of a watch.
const MAX_ANSWER: usize = 64 << 20;
const MAX_LINE: usize = 4 << 20;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a watch lasts before another one begins: one whose connection is dead is noticed then.
const WATCH_SECONDS: u32 = 240;
/// Objects of one part of a list.
const PAGE: u32 = 500;

/// Whoever makes the changes: fields have an owner.
pub const FIELD_MANAGER: &str = "mq-operator";

/// The objects of one kind in one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps/v1`; of the core group `v1`.
    pub version: &'static str,
    /// `statefulsets`.
    pub plural: &'static str,
}

pub const LEASES: Kind = Kind { version: "coordination.k8s.io/v1", plural: "leases" };
pub const SECRETS: Kind = Kind { version: "v1", plural: "secrets" };
pub const STATEFUL_SETS: Kind = Kind { version: "apps/v1", plural: "statefulsets" };

/// The API of the cluster, in the namespace of this pod.
#[derive(Clone, Debug)]
pub struct Cluster {
    http: Client,
    base: Url,
    account: PathBuf,
    namespace: String,
}

/// What a list holds, and from where on changes are to be watched.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    pub items: Vec<Value>,
    pub version: String,
}

impl Cluster {
    /// The cluster that this process runs in.
    ///
    /// # Errors
    ///
    /// When it runs in none, or what a pod is given cannot be read.
    pub fn of_pod() -> Outcome<Self> {
        let (Some(host), Some(port)) = (env::text(env::KUBERNETES_HOST), env::text(env::KUBERNETES_PORT))
        else {
            let message = "the environment does not say where the cluster's API is";
            return Err(Failure::usage(message).help("this command is for the pods of a cluster"));
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("https://{host}:{port}/");
        let base = url.parse().map_err(|error| Failure::usage(format!("`{url}` is not a URL: {error}")))?;
        Self::new(base, ACCOUNT.into())
    }

    fn new(base: Url, account: PathBuf) -> Outcome<Self> {
        let namespace = read(&account.join("namespace"))?.trim().to_owned();
        let trust = Trust { ca: Some(account.join("ca.crt")), ..Trust::default() };
        let http = Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(trust.config(true)?)
            .connect_timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("cannot start an HTTP client: {error}")))?;
        Ok(Self { http, base, account, namespace })
    }

    /// The namespace of this pod.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// One object; `None`: there is none.
    pub async fn get(&self, kind: Kind, name: &str) -> Outcome<Option<Value>> {
        let request = self.request(Method::GET, kind, &[name])?;
        match self.send(request.timeout(PATIENCE)).await {
            Ok(answer) => self.object(answer).await.map(Some),
            Err(failure) if failure.exit == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Every object of a kind.
    pub async fn list(&self, kind: Kind) -> Outcome<Listed> {
        let mut listed = Listed::default();
        let mut further = String::new();
        loop {
            let limit = PAGE.to_string();
            let request = self
                .request(Method::GET, kind, &[])?
                .query(&[("limit", limit.as_str()), ("continue", further.as_str())])
                .timeout(PATIENCE);
            let mut page = self.object(self.send(request).await?).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            listed.version = text(&page["metadata"]["resourceVersion"]);
            further = text(&page["metadata"]["continue"]);
            if let Some(items) = page["items"].as_array_mut() {
                listed.items.append(items);
            }
            if further.is_empty() {
                return Ok(listed);
            }
        }
    }

    /// Makes an object; a conflict when there is one of its name.
    pub async fn create(&self, kind: Kind, object: &Value) -> Outcome<Value> {
        let request = self.request(Method::POST, kind, &[])?.query(&[("fieldManager", FIELD_MANAGER)]);
        self.object(self.send(request.json(object).timeout(PATIENCE)).await?).await
    }

    /// Puts an object in the place of the one whose version it bears; a conflict when that has changed.
    pub async fn replace(&self, kind: Kind, name: &str, object: &Value) -> Outcome<Value> {
        let request = self.request(Method::PUT, kind, &[name])?.query(&[("fieldManager", FIELD_MANAGER)]);
        self.object(self.send(request.json(object).timeout(PATIENCE)).await?).await
    }

    /// Changes some fields of an object, or of its status (RFC 7396).
    pub async fn merge(&self, kind: Kind, path: &[&str], change: &Value) -> Outcome<Value> {
        let body = change.to_string();
        let request = self
            .request(Method::PATCH, kind, path)?
            .query(&[("fieldManager", FIELD_MANAGER)])
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body)
            .timeout(PATIENCE);
        self.object(self.send(request).await?).await
    }

    /// The changes of a kind from a version on.
    pub async fn watch(&self, kind: Kind, version: &str) -> Outcome<Watch> {
        let seconds = WATCH_SECONDS.to_string();
        let parameters = [
            ("watch", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", seconds.as_str()),
            ("allowWatchBookmarks", "true"),
        ];
        let limit = Duration::from_secs(WATCH_SECONDS.into()) + PATIENCE;
        let request = self.request(Method::GET, kind, &[])?.query(&parameters).timeout(limit);
        Ok(Watch { answer: self.send(request).await?, rest: Vec::new(), place: self.place() })
    }

    fn request(&self, method: Method, kind: Kind, path: &[&str]) -> Outcome<RequestBuilder> {
        let mut url = self.base.clone();
        let root = if kind.version.contains('/') { "apis" } else { "api" };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(root).extend(kind.version.split('/'));
            segments.extend(["namespaces", &self.namespace, kind.plural]).extend(path);
        }
        let token = read(&self.account.join("token"))?;
        Ok(self.http.request(method, url).bearer_auth(token.trim()))
    }

    async fn send(&self, request: RequestBuilder) -> Outcome<Response> {
        let answer = request.send().await.map_err(|error| {
            let why = causes(&error);
            Failure::new(Exit::Unreachable, format!("cannot ask the cluster at {}: {why}", self.place()))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said = self.object(answer).await.unwrap_or(Value::Null);
        let message = said["message"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        let exit = match status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::CONFLICT => Exit::Conflict,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
            _ => Exit::Failed,
        };
        Err(Failure::new(exit, format!("the cluster refuses: {message}")))
    }

    async fn object(&self, mut answer: Response) -> Outcome<Value> {
        let failed = |why: String| {
            Failure::failed(format!("cannot read what the cluster at {} says: {why}", self.place()))
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(causes(&error)))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(failed(format!("it is longer than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }

    fn place(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

/// Changes as they come.
#[derive(Debug)]
pub struct Watch {
    answer: Response,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    place: String,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object that is new, or has changed.
    Object(Value),
    /// An object that is gone, as it was.
    Gone(Value),
    /// Nothing but how far the watch is.
    Bookmark(String),
}

impl Watch {
    /// The next change; `None` when the watch is over, and another one can begin. Cancel-safe: what has come of a line
    /// is kept.
    ///
    /// # Errors
    ///
    /// When the changes from this version on are not known any more: everything has to be listed again.
    pub async fn next(&mut self) -> Outcome<Option<Change>> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return change(&line, &self.place).map(Some);
            }
            if self.rest.len() > MAX_LINE {
                return Err(Failure::failed(format!(
                    "an object of the cluster has more than {MAX_LINE} bytes"
                )));
            }
            match self.answer.chunk().await {
                Ok(Some(chunk)) => self.rest.extend_from_slice(&chunk),
                // However it ends, what is not known yet comes with the next one.
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}

fn change(line: &[u8], place: &str) -> Outcome<Change> {
    let mut event: Value = serde_json::from_slice(line).map_err(|error| {
        Failure::failed(format!("the cluster at {place} says what cannot be read: {error}"))
    })?;
    let object = event.get_mut("object").map(Value::take).unwrap_or_default();
    match event["type"].as_str() {
        Some("BOOKMARK") => Ok(Change::Bookmark(
            object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned(),
        )),
        Some("ADDED" | "MODIFIED") => Ok(Change::Object(object)),
        Some("DELETED") => Ok(Change::Gone(object)),
        _ => {
            let message = object["message"].as_str().unwrap_or("it does not say why");
            Err(Failure::failed(format!("the cluster ends a watch: {message}")))
        }
    }
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

fn read(path: &Path) -> Outcome<String> {
    read_bounded(path, MAX_FILE).map_err(|error| Failure::file("read", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_tells_of_objects_and_of_how_far_it_is() {
        let of = |line: &str| change(line.as_bytes(), "https://api");
        let object = json!({ "metadata": { "name": "a" } });
        let line = json!({ "type": "MODIFIED", "object": object }).to_string();
        assert_eq!(of(&line).unwrap(), Change::Object(object.clone()));
        let line = json!({ "type": "DELETED", "object": object }).to_string();
        assert_eq!(of(&line).unwrap(), Change::Gone(object));
        let line =
            json!({ "type": "BOOKMARK", "object": { "metadata": { "resourceVersion": "7" } } }).to_string();
        assert_eq!(of(&line).unwrap(), Change::Bookmark("7".into()));
    }

    #[test]
    fn a_watch_from_too_long_ago_is_an_error_with_its_reason() {
        let line = json!({ "type": "ERROR", "object": { "code": 410, "message": "too old" } }).to_string();
        assert!(change(line.as_bytes(), "https://api").unwrap_err().message.contains("too old"));
    }
}
