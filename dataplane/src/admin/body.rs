//! Reads the parts of a request: a JSON body, a path parameter, the query.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Refusal;

/// Longest body, in bytes; the router is given it as its body limit.
pub(super) const MAX_BODY: usize = 1 << 20;

/// Time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A JSON body, read within the limits of size and time.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        check_content_type(request.headers())?;
        let bytes = read(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| refusal(&error))
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body has more than {MAX_BODY} bytes; send less");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
        }
        Ok(Err(error)) => {
            Err(Refusal::malformed(format!("the body did not arrive whole: {}", error.body_text())))
        }
        Err(_) => {
            let detail =
                format!("the body did not arrive within {} s; send it at once", BODY_TIMEOUT.as_secs());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
        }
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Anything a plain HTML form can send stays out: it would need no permission of another origin.
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    let detail = if kind.is_empty() {
        "the request has no content type; send JSON as application/json".to_owned()
    } else {
        format!("the content type `{kind}` is not understood; send JSON as application/json")
    };
    Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
}

fn refusal(error: &serde_json::Error) -> Refusal {
    // serde_json says the line and column itself.
    match error.classify() {
        serde_json::error::Category::Data => Refusal::invalid(format!("the body does not fit: {error}")),
        _ => Refusal::malformed(format!("the body is not JSON: {error}")),
    }
}

/// What the space in a path is called in the table of routes.
pub(super) const SPACE_PARAMETER: &str = "space";

/// The parameter of the path besides the space, percent-decoded.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let mut names = names(parts, state).await?.into_iter();
        names.next().map(Self).ok_or_else(|| Refusal::malformed("the path lacks a name"))
    }
}

/// The two parameters of the path besides the space, percent-decoded.
pub(super) struct Names(pub(super) String, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let mut names = names(parts, state).await?.into_iter();
        let (first, second) = (names.next(), names.next());
        let names = first.zip(second).map(|(first, second)| Self(first, second));
        names.ok_or_else(|| Refusal::malformed("the path lacks a name"))
    }
}

async fn names<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<String>, Refusal> {
    let names: Result<RawPathParams, _> = RawPathParams::from_request_parts(parts, state).await;
    let names = names
        .map_err(|error| Refusal::malformed(format!("the path cannot be read: {}", error.body_text())))?;
    let own = names.iter().filter(|(key, _)| *key != SPACE_PARAMETER);
    Ok(own.map(|(_, name)| name.to_owned()).collect())
}

/// The space in the path, percent-decoded.
pub(super) struct SpaceName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for SpaceName {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let names: Result<RawPathParams, _> = RawPathParams::from_request_parts(parts, state).await;
        let names = names
            .map_err(|error| Refusal::malformed(format!("the path cannot be read: {}", error.body_text())))?;
        let space = names.iter().find(|(key, _)| *key == SPACE_PARAMETER);
        let missing = || Refusal::malformed("the path lacks the name of a space");
        space.map(|(_, name)| Self(name.to_owned())).ok_or_else(missing)
    }
}

/// The query of the request.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error| {
            Refusal::malformed(format!("the query cannot be read: {}", error.body_text()))
        })?;
        Ok(Self(query))
    }
}
