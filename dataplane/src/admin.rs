//! The admin API: HTTP and JSON, for those who may, described by an OpenAPI document that is made from the
//! same table of routes as the router.

mod addresses;
mod authorize;
mod body;
mod caller;
mod clients;
mod connectors;
mod drain;
mod guard;
mod health;
mod merge;
mod mesh;
mod node;
mod openapi;
mod paging;
mod problem;
mod profiles;
mod remote;
mod retained;
mod roles;
mod routes;
mod server;
mod sessions;
mod shards;
mod spaces;
mod subscriptions;
mod users;
mod websocket;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use prometheus_client::registry::Registry;

use crate::metrics::{Metrics, RequestLabels};
use crate::node::Node;
use problem::Refusal;

pub(crate) use caller::{Caller, Gatekeeper};
pub use openapi::document;
pub(crate) use server::{Entrance, Server};

/// How long a request may take, all told. What waits on a worker must not wait for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What every handler works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) node: Arc<Node>,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Arc<Registry>,
    pub(crate) gatekeeper: Gatekeeper,
}

impl Api {
    fn bound_host(&self) -> IpAddr {
        self.node.admin_host
    }
}

/// The router of the whole API.
pub(crate) fn router(api: Api) -> Router {
    let router = routes::routes().into_iter().fold(Router::new(), |router, route| {
        // The table's path and method are the ones the document shows.
        router.route(&route.path, route.handler)
    });
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(body::MAX_BODY))
        .layer(middleware::from_fn_with_state(api.clone(), remote::direct))
        .layer(middleware::from_fn_with_state(api.clone(), authorize::authorize))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn_with_state(api.clone(), guard::check))
        .layer(middleware::from_fn_with_state(api.clone(), count))
        .with_state(api)
}

async fn unknown_route(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    Refusal::not_found(format!("there is no `{path}`; see /api/v1/openapi.json for what there is"))
}

async fn wrong_method(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    let method: String = request.method().as_str().chars().take(20).collect();
    let detail = format!("`{path}` does not understand {method}; see /api/v1/openapi.json for what it does");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("a worker did not answer within {} s; try again", REQUEST_TIMEOUT.as_secs());
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).into_response()
        }
    }
}

async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let known = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::HEAD];
    let names = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"];
    let method = known.iter().zip(names).find(|(known, _)| *known == request.method());
    let method = method.map_or("other", |(_, name)| name);
    let response = next.run(request).await;
    let labels =
        RequestLabels { method, route: route.unwrap_or_default(), status: response.status().as_u16() };
    api.metrics.requests.get_or_create(&labels).inc();
    response
}
