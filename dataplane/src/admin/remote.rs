//! Requests that another node of the fleet has to answer.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mq_mesh::NodeId;
use serde::de::DeserializeOwned;

use super::Api;
use super::body::MAX_BODY;
use super::caller::Caller;
use super::problem::Refusal;
use crate::mesh::{OfNode, Question, Reply, Scope, Unanswered};

/// The query parameter that names the node which is to answer.
const NODE: &str = "node=";

/// Lets the node answer that the request names; see [`NODE`].
pub(super) async fn direct(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let (target, named) = without_node(request.uri());
    let Some(name) = named else { return next.run(request).await };
    // No node passes on what another one has asked it.
    if name == api.node.config.node || request.extensions().get::<OfNode>().is_some() {
        match target.parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Refusal::malformed("the query cannot be read").into_response(),
        }
        return next.run(request).await;
    }
    match forward(&api, &name, target, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// The path and query without the name of a node, and that name.
fn without_node(uri: &Uri) -> (String, Option<String>) {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let named = query.split('&').find_map(|pair| pair.strip_prefix(NODE)).map(str::to_owned);
    let rest: Vec<&str> =
        query.split('&').filter(|pair| !pair.starts_with(NODE) && !pair.is_empty()).collect();
    let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    (target, named)
}

async fn forward(api: &Api, name: &str, target: String, request: Request) -> Result<Response, Refusal> {
    let (node, name) = find(api, name)?;
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let body = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| {
        let detail = format!("the body has more than {MAX_BODY} bytes, or did not arrive whole");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    })?;
    let method = parts.method.as_str().to_owned();
    let who = parts.extensions.get::<Caller>().cloned();
    if let Some(who) = &who {
        who.check_size()?;
    }
    let question = Question { method, target, content_type, body, scope: Scope::Fleet, who };
    ask(api, node, &name, question).await.map(response)
}

/// A node of the fleet by its name.
///
/// # Errors
/// When there is none.
pub(super) fn find(api: &Api, name: &str) -> Result<(NodeId, Arc<str>), Refusal> {
    let nodes = api.node.hub.mesh().map(|fabric| fabric.nodes()).unwrap_or_default();
    match nodes.iter().find(|node| *node.name == *name) {
        Some(node) => Ok((node.id, node.name.clone())),
        None => Err(Refusal::not_found(no_node(name))),
    }
}

/// That there is no node of that name, as a sentence.
pub(super) fn no_node(name: &str) -> String {
    let shown: String = name.chars().take(100).collect();
    format!("the fleet has no node `{shown}`; `mq fleet graph` shows those that it has")
}

async fn ask(api: &Api, node: NodeId, name: &Arc<str>, question: Question) -> Result<Reply, Refusal> {
    let unreachable = || Refusal::from(Unanswered::Unreachable(name.clone()));
    let requests = api.node.requests.as_ref().ok_or_else(unreachable)?;
    Ok(requests.ask(node, name, question).await?)
}

fn response(reply: Reply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    let content_type = reply.content_type.and_then(|kind| HeaderValue::from_str(&kind).ok());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

impl From<Unanswered> for Refusal {
    fn from(error: Unanswered) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
    }
}

/// Whose answer a request wants: that of the fleet, unless another node gathers it.
pub(super) struct Wanted(pub(super) Scope);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Scope>().copied().unwrap_or_default()))
    }
}

/// What the other nodes of the fleet have said.
pub(super) struct Gathered<T> {
    pub(super) parts: Vec<(Arc<str>, T)>,
    /// Those that were asked and have not answered as they should.
    pub(super) silent: Vec<Arc<str>>,
    scope: Scope,
}

impl<T> Gathered<T> {
    /// Every node of the fleet whose part is missing: those that were asked in vain, and those that cannot be
    /// asked. One that has left, and is home of nothing, is none of the fleet.
    pub(super) fn unanswered(&self, api: &Api) -> Vec<String> {
        let (Some(fabric), Scope::Fleet) = (api.node.hub.mesh(), self.scope) else { return Vec::new() };
        let lost = fabric.nodes().into_iter().filter(|node| !node.is_leaving).map(|node| node.name.clone());
        let away = lost.chain(api.node.homes().into_keys()).filter(|name| !is_up(api, name));
        let names: BTreeSet<String> =
            self.silent.iter().cloned().chain(away).map(|name| name.to_string()).collect();
        names.into_iter().collect()
    }
}

/// Asks every other node that can be reached for its part of an answer.
pub(super) async fn gather<T: DeserializeOwned>(api: &Api, scope: Scope, target: &str) -> Gathered<T> {
    let mut gathered = Gathered { parts: Vec::new(), silent: Vec::new(), scope };
    let (Some(fabric), Some(requests), Scope::Fleet) = (api.node.hub.mesh(), &api.node.requests, scope)
    else {
        return gathered;
    };
    let view = fabric.view();
    let asked: Vec<_> = view
        .nodes
        .values()
        .map(|node| {
            let (requests, name, id) = (requests.clone(), node.name.clone(), node.id);
            let question = Question::get(target);
            tokio::spawn(async move {
                let reply = requests.ask(id, &name, question).await;
                (name, reply)
            })
        })
        .collect();
    for answer in asked {
        // A task that panics has been reported.
        let Ok((name, reply)) = answer.await else { continue };
        match reply {
            Ok(reply) if reply.status.is_success() => match serde_json::from_slice(&reply.body) {
                Ok(part) => {
                    gathered.parts.push((name, part));
                    continue;
                }
                Err(error) => tracing::warn!(node = %name, %error, "cannot understand the answer of a node"),
            },
            // It does not know yet what has just been created, or no more what has just been removed.
            Ok(reply) if reply.status == StatusCode::NOT_FOUND => continue,
            Ok(reply) => tracing::warn!(node = %name, status = %reply.status, "a node refuses to answer"),
            Err(error) => tracing::warn!(%error, "a node is left out of an answer"),
        }
        gathered.silent.push(name);
    }
    gathered
}

/// Whether another node answers, and has read all that it stores.
pub(super) async fn is_ready(api: &Api, name: &str) -> bool {
    let Ok((node, name)) = find(api, name) else { return false };
    let reply = ask(api, node, &name, Question::get("/readyz")).await;
    reply.is_ok_and(|reply| reply.status.is_success())
}

/// That the holder of an address is away, as the begin of a sentence.
pub(super) fn out_of_reach(holder: &str, address: &str) -> String {
    let shown: String = address.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
    format!("{holder}, which holds `{shown}`, cannot be reached")
}

/// Whether a node of the fleet can be reached.
pub(super) fn is_up(api: &Api, name: &str) -> bool {
    let Some(fabric) = api.node.hub.mesh() else { return name == api.node.config.node };
    name == api.node.config.node || fabric.view().nodes.values().any(|node| *node.name == *name)
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte))
            }
            other => segment.push_str(&format!("%{other:02X}")),
        }
    }
    segment
}

/// Asks one node for the answer to a question that it alone can answer.
///
/// # Errors
/// When it does not answer, or refuses: then with its own words.
pub(super) async fn from_node<T: DeserializeOwned>(
    api: &Api,
    name: &str,
    question: Question,
) -> Result<T, Refusal> {
    let (node, name) = find(api, name)?;
    let reply = ask(api, node, &name, question).await?;
    if !reply.status.is_success() {
        return Err(refused(&name, &reply));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        let detail = format!("the answer of node `{name}` cannot be understood: {error}");
        Refusal::new(StatusCode::BAD_GATEWAY, "not-understood", detail)
    })
}

/// Asks the home of an address, which alone can answer.
///
/// # Errors
/// When it cannot be reached, in words about the address; else like [`from_node`].
pub(super) async fn from_home<T: DeserializeOwned>(
    api: &Api,
    address: &str,
    home: &str,
    question: Question,
) -> Result<T, Refusal> {
    check_home(api, address, home)?;
    from_node(api, home, question).await
}

/// Has the home of an address do what it alone can do.
///
/// # Errors
/// Like [`from_home`].
pub(super) async fn done_by_home(
    api: &Api,
    address: &str,
    home: &str,
    question: Question,
) -> Result<StatusCode, Refusal> {
    check_home(api, address, home)?;
    done_by_node(api, home, question).await
}

/// A home may be away for so long that this node has never heard of it.
fn check_home(api: &Api, address: &str, home: &str) -> Result<(), Refusal> {
    if is_up(api, home) {
        return Ok(());
    }
    let detail = format!("{}: nothing was changed; try again when it is back", out_of_reach(home, address));
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail))
}

/// Has one node do what it alone can do.
///
/// # Errors
/// When it does not answer, or refuses: then with its own words.
pub(super) async fn done_by_node(api: &Api, name: &str, question: Question) -> Result<StatusCode, Refusal> {
    let (node, name) = find(api, name)?;
    let reply = ask(api, node, &name, question).await?;
    if reply.status.is_success() { Ok(reply.status) } else { Err(refused(&name, &reply)) }
}

/// What another node refuses, in its words.
fn refused(name: &str, reply: &Reply) -> Refusal {
    let problem: Option<mq_model::admin::Problem> = serde_json::from_slice(&reply.body).ok();
    match problem {
        Some(problem) => Refusal::of(reply.status, problem),
        None => {
            let detail = format!("node `{name}` refuses with status {}", reply.status.as_u16());
            Refusal::new(reply.status, "refused", detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_node_is_taken_out_of_the_query() {
        let cases = [
            ("/a", "/a", None),
            ("/a?x=1", "/a?x=1", None),
            ("/a?node=n", "/a", Some("n")),
            ("/a?x=1&node=n&y=2", "/a?x=1&y=2", Some("n")),
            ("/a?nodes=1&node=", "/a?nodes=1", Some("")),
            ("/a%2Fb?node=n&x=%26", "/a%2Fb?x=%26", Some("n")),
        ];
        for (uri, target, node) in cases {
            let found = without_node(&uri.parse().unwrap());
            assert_eq!(found, (target.to_owned(), node.map(str::to_owned)), "{uri}");
        }
    }

    #[test]
    fn any_name_is_one_segment_of_a_path() {
        assert_eq!(segment("a/b c%#?&ü~"), "a%2Fb%20c%25%23%3F%26%C3%BC~");
    }
}
