//! The API server: HTTP over TLS for whoever has a certificate or a token, and what does not end with one answer
//! (watches, logs that are followed, port-forwarding).

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request as HttpRequest, Response, StatusCode, header};
use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::access::User;
use super::api::{Api, Reply, Request};
use super::node::Node;
use super::refusal::{Answer, Refusal};
use super::request::{Path, Query};
use super::{forward, log, openapi, watch};

/// Bytes of a request, as the real one bounds it.
const MAX_BODY: usize = 3 << 20;

/// Pieces of a stream that wait for a slow reader.
pub(super) const WAITING: usize = 64;

pub(super) type Sender = mpsc::Sender<Bytes>;

/// A body that is written while it is read.
struct Streamed(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// What every request needs.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) api: Arc<Api>,
    pub(super) node: Arc<Node>,
    pub(super) acceptor: TlsAcceptor,
}

impl Server {
    /// Serves until the runtime ends.
    pub(super) async fn serve(self, listener: TcpListener) {
        let listener =
            listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        let listener = listener.expect("the listener is a socket");
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let server = self.clone();
            connections.spawn(async move { server.connection(stream).await });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(self, stream: tokio::net::TcpStream) {
        // Small answers are not to wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let Ok(stream) = self.acceptor.accept(stream).await else { return };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let user = certificate.and_then(|certificate| user_of(certificate));
        let service = service_fn(move |request| {
            let (server, user) = (self.clone(), user.clone());
            async move { Ok::<_, Infallible>(server.handle(request, user).await) }
        });
        // A client that goes away in the middle is none of a test's business.
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
    }

    async fn handle(&self, request: HttpRequest<Incoming>, user: Option<User>) -> Response<Body> {
        match self.answer(request, user).await {
            Ok(response) => response,
            Err(refusal) => refused(&refusal),
        }
    }

    async fn answer(&self, mut request: HttpRequest<Incoming>, user: Option<User>) -> Answer<Response<Body>> {
        let user = match bearer(request.headers()) {
            Some(token) => self.api.with(|store| store.tokens.get(token).cloned()),
            None => user,
        };
        let path = request.uri().path().to_owned();
        if matches!(path.as_str(), "/healthz" | "/livez" | "/readyz") {
            return Ok(Response::new(Body::from("ok")));
        }
        let user = user.ok_or_else(Refusal::unauthorized)?;
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let Some(target) = Path::parse(&path) else { return self.document(&path, &request) };
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let text = |name: header::HeaderName| {
            parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let body = to_bytes(Body::new(body), MAX_BODY).await;
        let body = body.map_err(|_| Refusal::bad_request("the body of the request cannot be read"))?;
        let request = Request {
            method: parts.method.as_str().to_owned(),
            path: target,
            query,
            content_type: text(header::CONTENT_TYPE),
            accept: text(header::ACCEPT),
            agent: text(header::USER_AGENT),
            body: body.to_vec(),
            user,
        };
        let is_of_pod = request.path.plural == "pods" && request.path.group.is_empty();
        match request.path.subresource.as_deref() {
            Some("log") if is_of_pod => self.log(&request),
            Some("portforward") if is_of_pod => {
                let pod = self.api.authorized(&request)?;
                forward::begin(&self.node, &pod, &parts.headers, &request.query, upgrade)
            }
            _ => self.resource(&request),
        }
    }

    fn resource(&self, request: &Request) -> Answer<Response<Body>> {
        if let Some(selection) = self.api.watched(request)? {
            let (sender, receiver) = mpsc::channel(WAITING);
            let watch = watch::Watch::begin(&self.api, selection, request)?;
            tokio::spawn(watch.run(self.api.clone(), sender));
            return Ok(stream(receiver, "application/json"));
        }
        Ok(response(self.api.answer(request)?))
    }

    fn log(&self, request: &Request) -> Answer<Response<Body>> {
        let pod = self.api.authorized(request)?;
        let log = log::Log::open(&self.node, &pod, &request.query)?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(log.run(self.node.clone(), sender));
        Ok(stream(receiver, "text/plain"))
    }

    /// What is no resource: versions, discovery, schemas.
    fn document<B>(&self, path: &str, request: &HttpRequest<B>) -> Answer<Response<Body>> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts == ["openapi", "v2"] {
            let mut response = Response::new(Body::from(openapi::SECOND));
            let kind = header::HeaderValue::from_static(openapi::SECOND_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(response);
        }
        let host =
            request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let document = self.api.with(|store| match parts[..] {
            ["version"] => Some(json!({
                "major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64",
                "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "",
            })),
            ["api"] => Some(json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host }],
            })),
            ["api", version] => store.kinds.resource_list("", version),
            ["apis"] => Some(store.kinds.group_list()),
            ["apis", group] => store.kinds.group(group),
            ["apis", group, version] => store.kinds.resource_list(group, version),
            ["openapi", "v3"] => Some(openapi::index(&store.kinds)),
            ["openapi", "v3", ..] => openapi::document(&store.kinds, &parts[2..].join("/")),
            _ => None,
        });
        document
            .map(|body| response(Reply { code: 200, body, warnings: Vec::new() }))
            .ok_or_else(Refusal::no_such_path)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Whom a client certificate speaks of: its common name, in the groups that are its organizations.
fn user_of(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok().map(str::to_owned));
    Some(User { name, groups: groups.chain(["system:authenticated".to_owned()]).collect() })
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body.to_string()));
    *response.status_mut() = StatusCode::from_u16(reply.code).expect("codes of the server are codes of HTTP");
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    for warning in reply.warnings {
        let value = header::HeaderValue::from_str(&format!("299 - {}", Value::from(warning)));
        if let Ok(value) = value {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = response(Reply { code: refusal.code, body: refusal.status(), warnings: Vec::new() });
    if refusal.code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn stream(receiver: mpsc::Receiver<Bytes>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Streamed(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
