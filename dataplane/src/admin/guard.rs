//! Who may talk to the admin API.
//!
//! It listens on loopback and asks for no password, so it must not be reachable through a browser of
//! the same machine: neither by a page of another origin (CSRF), nor by a name that an attacker
//! makes point to loopback (DNS rebinding). Requests name the node by an address literal, by
//! `localhost`, or by the host it is bound to; where they say which page they come from, it is a
//! page of the node itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Refusal;
use crate::tls::Encryption;

/// Refuses requests that a browser may have been tricked into.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    // Whoever is not the node cannot show its certificate: over TLS a name cannot be made to point here.
    let is_encrypted = request.extensions().get::<Arc<Encryption>>().is_some();
    match check_source(api.bound_host(), is_encrypted, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check_source(bound: IpAddr, is_encrypted: bool, request: &Request) -> Result<(), Refusal> {
    let host = one(request.headers(), &header::HOST)?
        .ok_or_else(|| Refusal::malformed("the request has no Host header; send one"))?;
    let authority: Authority =
        host.parse().map_err(|_| Refusal::malformed("the Host header is not a host and port; correct it"))?;
    if !is_encrypted {
        check_host(bound, &authority)?;
    }
    // RFC 9112, 3.2.2: a target in absolute form counts, not the Host header.
    if let Some(target) = request.uri().authority().filter(|_| !is_encrypted) {
        check_host(bound, target)?;
    }
    match one(request.headers(), &header::ORIGIN)? {
        Some(origin) if !is_own_origin(origin, is_encrypted, &authority) => Err(Refusal::forbidden(format!(
            "a page of `{}` may not use the admin API; use a client that is not a browser",
            shown(origin)
        ))),
        _ => Ok(()),
    }
}

fn check_host(bound: IpAddr, authority: &Authority) -> Result<(), Refusal> {
    let host = authority.host();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = match literal.parse::<IpAddr>() {
        // An address cannot be rebound; behind the wildcard any may be the node's own.
        Ok(ip) => ip.is_loopback() || ip == bound || bound.is_unspecified(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    };
    if is_own {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "the admin API does not answer to the host `{}`; use the address it listens on, or localhost",
        shown(host)
    )))
}

fn is_own_origin(origin: &str, is_encrypted: bool, host: &Authority) -> bool {
    let scheme = if is_encrypted { "https://" } else { "http://" };
    origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
}

/// The value of a header that may come once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::malformed(format!("the header {name} comes more than once; send one")));
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| Refusal::malformed(format!("the header {name} is not text; correct it")))
}

/// The beginning of a text from outside, short enough for a message.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;

    use super::*;

    fn verdict(bound: &str, uri: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        match check_source(bound.parse().unwrap(), false, &request) {
            Ok(()) => StatusCode::OK,
            Err(refusal) => refusal.into_response().status(),
        }
    }

    #[test]
    fn loopback_and_the_bound_host_are_answered() {
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "a.localhost", "[::1]:80", "127.9.9.9"]
        {
            assert_eq!(verdict("127.0.0.1", "/", &[("host", host)]), StatusCode::OK, "{host}");
        }
        assert_eq!(verdict("10.1.2.3", "/", &[("host", "10.1.2.3:8080")]), StatusCode::OK);
        assert_eq!(verdict("0.0.0.0", "/", &[("host", "10.9.9.9:8080")]), StatusCode::OK);
    }

    #[test]
    fn names_that_could_be_rebound_are_refused() {
        for host in ["attacker.example", "127.0.0.1.attacker.example", "localhost.attacker.example:8080"] {
            for bound in ["127.0.0.1", "0.0.0.0"] {
                assert_eq!(verdict(bound, "/", &[("host", host)]), StatusCode::FORBIDDEN, "{host}");
            }
        }
        assert_eq!(verdict("127.0.0.1", "/", &[("host", "10.1.2.3")]), StatusCode::FORBIDDEN);
    }

    #[test]
    fn the_target_in_absolute_form_is_checked_as_well() {
        let host = [("host", "127.0.0.1")];
        assert_eq!(verdict("127.0.0.1", "http://attacker.example/", &host), StatusCode::FORBIDDEN);
        assert_eq!(verdict("127.0.0.1", "http://127.0.0.1/", &host), StatusCode::OK);
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = ("host", "127.0.0.1:8080");
        for origin in ["http://attacker.example", "null", "https://127.0.0.1:8080", "http://127.0.0.1:8081"] {
            assert_eq!(
                verdict("127.0.0.1", "/", &[host, ("origin", origin)]),
                StatusCode::FORBIDDEN,
                "{origin}"
            );
        }
        let own = ("origin", "http://127.0.0.1:8080");
        assert_eq!(verdict("127.0.0.1", "/", &[host, own]), StatusCode::OK);
    }

    #[test]
    fn a_missing_or_repeated_host_is_malformed() {
        assert_eq!(verdict("127.0.0.1", "/", &[]), StatusCode::BAD_REQUEST);
        let twice = [("host", "127.0.0.1"), ("host", "attacker.example")];
        assert_eq!(verdict("127.0.0.1", "/", &twice), StatusCode::BAD_REQUEST);
        assert_eq!(verdict("127.0.0.1", "/", &[("host", "a b")]), StatusCode::BAD_REQUEST);
    }
}
