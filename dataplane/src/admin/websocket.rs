//! MQTT over WebSocket begins as a request of HTTP (RFC 6455, 4.2); what is left of the connection after
//! the answer belongs to a shard.
//!
//! The guard of the admin API stands before this route too: a page of another origin, or a host name that
//! an attacker could bind to the node's address, is refused. MQTT over WebSocket is for programs, and for
//! pages that the node's own origin serves; whoever wants browsers elsewhere to connect puts a proxy
//! before the node that knows which.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};

use super::Api;
use super::problem::Refusal;
use super::server::reset_options;
use super::wire::Wire;
use crate::hub::{Accepted, Speaks};
use crate::node::Node;

/// The subprotocol that carries MQTT (MQTT 5.0, 6.0.0-4).
const SUBPROTOCOL: &str = "mqtt";

/// RFC 6455, 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol that there is.
const VERSION: &str = "13";

/// Answers the request that turns a connection into a WebSocket.
pub(super) async fn upgrade(State(api): State<Api>, mut request: Request) -> Result<Response, Refusal> {
    let key = match check(request.headers()) {
        Ok(key) => key,
        Err(Wrong::Version) => return Ok(wrong_version()),
        Err(Wrong::Request(refusal)) => return Err(*refusal),
    };
    api.node.readiness().map_err(unavailable)?;
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade =
        on_upgrade.ok_or_else(|| Refusal::malformed("this connection cannot be upgraded; use HTTP/1.1"))?;
    let node = api.node;
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => hand_over(&node, upgraded),
            Err(error) => tracing::debug!(%error, "the client left before its WebSocket began"),
        }
    });
    Ok(switching(&key))
}

/// Why a request is no opening handshake.
#[derive(Debug)]
enum Wrong {
    /// It wants another version of the protocol.
    Version,
    Request(Box<Refusal>),
}

impl Wrong {
    fn request(detail: &str) -> Self {
        Self::Request(Box::new(Refusal::malformed(detail)))
    }
}

/// Checks an opening handshake (RFC 6455, 4.2.1); gives the key that the answer proves to have read.
fn check(headers: &HeaderMap) -> Result<String, Wrong> {
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(Wrong::request(
            "`/mqtt` speaks WebSocket; send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if !has_token(headers, &header::SEC_WEBSOCKET_VERSION, VERSION) {
        return Err(Wrong::Version);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        if has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
            return Ok(key.to_owned());
        }
        return Err(Wrong::request("the client does not offer the subprotocol `mqtt`; offer it"));
    }
    Err(Wrong::request("Sec-WebSocket-Key is not 16 bytes in base64; correct it"))
}

/// Whether a list of words has one, whatever its case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// RFC 6455, 4.4: the client learns which version there is.
fn wrong_version() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

fn switching(key: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Ok(accept) = HeaderValue::from_str(&accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// RFC 6455, 4.2.2.
fn accept_key(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_SUFFIX).finalize())
}

fn unavailable(reason: String) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
}

/// Gives the connection to the shard with the fewest, as the listeners do.
fn hand_over(node: &Node, upgraded: Upgraded) {
    let Ok(parts) = upgraded.downcast::<TokioIo<Wire>>() else {
        return tracing::error!("a WebSocket is on no socket");
    };
    let wire = parts.io.into_inner();
    let listener = wire.listener;
    let ready = wire.stream().peer_addr().and_then(|peer| {
        reset_options(wire.stream())?;
        let (stream, tls, read) = wire.leave(parts.read_buf)?;
        Ok((peer, stream, tls, read))
    });
    match ready {
        Ok((peer, stream, tls, read)) => {
            // A client beyond the limit reads the end of its connection, as on every listener.
            let Some(shard) = node.gate.admit(peer, listener) else { return };
            let speaks = Speaks::MqttInFrames { read };
            let is_local = node.config.listeners.is_local(listener);
            let listener: Arc<str> = listener.into();
            let expects_proxy = false;
            let accepted = Accepted { stream, peer, listener, speaks, expects_proxy, is_local, tls };
            node.gate.hand_over(shard, accepted);
        }
        Err(error) => tracing::debug!(%error, "the client left before its WebSocket was served"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// The headers of a client, one of them changed or left out.
    fn headers(change: &str, value: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, standard) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
            ("sec-websocket-protocol", "mqttv3.1, mqtt"),
        ] {
            let value = if name == change { value } else { Some(standard) };
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value.parse().expect("a value"));
            }
        }
        headers
    }

    #[test]
    fn the_key_of_the_specification_has_its_answer() {
        assert_eq!(accept_key(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_opening_handshake_is_taken() {
        assert_eq!(check(&headers("", None)).expect("taken"), KEY);
        let response = switching(KEY);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    }

    #[test]
    fn what_is_none_is_refused() {
        for (name, value) in [
            ("connection", Some("keep-alive")),
            ("connection", None),
            ("upgrade", Some("h2c")),
            ("upgrade", None),
            ("sec-websocket-key", Some("c2hvcnQ=")),
            ("sec-websocket-key", None),
            ("sec-websocket-protocol", Some("mqttv3.1")),
            ("sec-websocket-protocol", Some("mqttx")),
            ("sec-websocket-protocol", None),
        ] {
            assert!(matches!(check(&headers(name, value)), Err(Wrong::Request(_))), "{name}: {value:?}");
        }
        assert!(matches!(check(&headers("sec-websocket-version", Some("8"))), Err(Wrong::Version)));
    }
}
