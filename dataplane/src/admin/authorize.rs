//! Stands before every route: who asks, whether he may, and a line in the log of what came of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mq_model::grant::Right;
use mq_model::user::FLEET_ADMIN;

use super::Api;
use super::caller::{Caller, nameless, readable};
use super::problem::Refusal;
use super::routes::routes;
use super::shards::Shard;
use crate::mesh::OfNode;
use crate::tls::{ClientCertificate, Encryption};

/// How clients are asked to say who they are.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mq\", charset=\"UTF-8\"");

/// What a route asks of who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it tells nobody anything, or asks by itself.
    Nothing,
    /// That he is known. What he is shown, or may name in the body, is looked at there.
    Name,
    /// The right at the address in the path.
    Address(Right),
    /// The right everywhere.
    Everywhere(Right),
    /// The right everywhere, or that he is the user in the path.
    EverywhereOrSelf(Right),
    /// The role `admin`, or that he is the user in the path.
    AdminOrSelf,
    /// The role `admin`.
    Admin,
}

impl Needs {
    /// For the OpenAPI document: a grant, or words.
    pub(super) fn describe(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::Name => "what the request names".to_owned(),
            Self::Address(right) => format!("{right}:{{name}}"),
            Self::Everywhere(right) => format!("{right}:#"),
            Self::EverywhereOrSelf(right) => format!("{right}:#, or to be the user"),
            Self::AdminOrSelf => "role admin, or to be the user".to_owned(),
            Self::Admin => "role admin".to_owned(),
        })
    }

    fn check(self, caller: &Caller, name: &str) -> Result<(), Refusal> {
        match self {
            Self::Nothing | Self::Name => Ok(()),
            // Whose queue it is, is whose shards they are.
            Self::Address(right) => caller.check(right, Shard::parse(name).queue),
            Self::EverywhereOrSelf(_) | Self::AdminOrSelf if caller.is(name) => Ok(()),
            Self::Everywhere(right) | Self::EverywhereOrSelf(right) => caller.check_everywhere(right),
            Self::AdminOrSelf | Self::Admin => caller.check_admin(),
        }
    }
}

/// What there is to know of a route before it is used.
#[derive(Clone, Copy)]
struct Known {
    needs: Needs,
    id: &'static str,
}

static KNOWN: LazyLock<HashMap<(&'static str, &'static str), Known>> = LazyLock::new(|| {
    let routes = routes().into_iter();
    routes
        .map(|route| ((route.path, route.method.key()), Known { needs: route.needs, id: route.id }))
        .collect()
});

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) address: IpAddr,
    /// Nothing on the way from there leaves this machine.
    pub(super) is_here: bool,
    pub(super) listener: &'static str,
}

/// Lets those through who may do what they ask for.
pub(super) async fn authorize(State(api): State<Api>, request: Request, next: Next) -> Response {
    // What is no route says so to everybody.
    let Some(known) = known(&request) else { return next.run(request).await };
    if known.needs == Needs::Nothing {
        return next.run(request).await;
    }
    // What comes from no listener comes from another node.
    let elsewhere = Source { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), is_here: false, listener: "mesh" };
    let source = request.extensions().get::<Source>().copied().unwrap_or(elsewhere);
    let is_change = request.method() != Method::GET && request.method() != Method::HEAD;
    let path = request.uri().path().to_owned();
    let (mut parts, body) = request.into_parts();
    let name = first_parameter(&mut parts).await;
    let (caller, admitted) = match identify(&api, &parts, source).await {
        Ok(caller) => {
            let admitted = known.needs.check(&caller, &name);
            (Some(caller), admitted)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    let user = caller.as_ref().map(|caller| caller.name.clone());
    let response = match (caller, admitted) {
        (Some(caller), Ok(())) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        (_, Err(refusal)) => refusal.into_response(),
        (None, Ok(())) => nameless().into_response(),
    };
    if is_change {
        let user = user.as_deref().unwrap_or("unknown");
        let shown: String = path.chars().take(512).collect();
        let status = response.status().as_u16();
        let source = source.address;
        tracing::info!(target: "audit", user, %source, action = known.id, object = shown, status, "change");
    }
    challenged(response)
}

fn known(request: &Request) -> Option<Known> {
    let path = request.extensions().get::<MatchedPath>()?;
    let method = match *request.method() {
        Method::GET | Method::HEAD => "get",
        Method::PUT => "put",
        Method::POST => "post",
        Method::DELETE => "delete",
        _ => return None,
    };
    KNOWN.get(&(path.as_str(), method)).copied()
}

/// The first name in the path; empty when there is none.
async fn first_parameter(parts: &mut Parts) -> String {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok();
    parameters.and_then(|parameters| Some(parameters.iter().next()?.1.to_owned())).unwrap_or_default()
}

async fn identify(api: &Api, parts: &Parts, source: Source) -> Result<Caller, Refusal> {
    // A node has looked already at who asks; what it asks for itself it may know.
    if let Some(OfNode { who }) = parts.extensions.get::<OfNode>() {
        return Ok(who.clone().unwrap_or_else(Caller::node));
    }
    let is_local = api.node.config.listeners.is_local(source.listener);
    let policy = &api.node.config.authentication;
    let encryption = parts.extensions.get::<Arc<Encryption>>();
    let users = api.node.catalogue.user_table();
    if api.node.owner.is_shown(&parts.headers) {
        let is_safe = encryption.is_some() || source.is_here || policy.plain_without_tls.includes(is_local);
        return if is_safe { Ok(Caller::owner()) } else { Err(readable()) };
    }
    if parts.headers.contains_key(header::AUTHORIZATION) {
        if encryption.is_none() && !policy.plain_without_tls.includes(is_local) {
            return Err(readable());
        }
        if let Some(caller) = api.gatekeeper.identify(&parts.headers, source.address, &users).await? {
            return Ok(caller);
        }
    }
    let certificate = encryption.and_then(|encryption| encryption.certificate.as_ref());
    if certificate.is_some_and(is_fleet_admin) {
        return Ok(Caller::fleet_admin());
    }
    if policy.anonymous.includes(is_local) { Ok(Caller::anonymous()) } else { Err(nameless()) }
}

/// Whether it is the certificate that `mq deploy` makes for whoever runs the fleet.
fn is_fleet_admin(certificate: &ClientCertificate) -> bool {
    certificate.is_of_fleet && certificate.common_name.as_deref() == Some(FLEET_ADMIN)
}

/// Says how one says who one is, where that is missing (RFC 9110, 11.6.1).
fn challenged(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}
