//! Error answers (RFC 9457).

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mq_model::admin::Problem;

use crate::log::FilterError;
use crate::objects::{ChangeError, StoreError};

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: Cow<'static, str>,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), detail: detail.into() }
    }

    /// What another node has refused.
    pub(crate) fn of(status: StatusCode, problem: Problem) -> Self {
        Self { status, kind: problem.kind.into(), detail: problem.detail }
    }

    /// Whether a token is what is wrong.
    pub(super) fn is_of_token(&self) -> bool {
        self.kind == super::caller::INVALID_TOKEN
    }

    /// For those who have to know whether it is worth a second attempt.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem =
            Problem { kind: self.kind.into_owned(), status: self.status.as_u16(), detail: self.detail };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        let (status, kind) = match &error {
            ChangeError::Exists(_)
            | ChangeError::NoTopic(..)
            | ChangeError::HasSubscriptions(..)
            | ChangeError::BuiltIn(_)
            | ChangeError::NoHome(_)
            | ChangeError::ShardsOfLastValues(_)
            | ChangeError::PrincipalExists(..)
            | ChangeError::BuiltInSpace(_)
            | ChangeError::SpaceInUse { .. }
            | ChangeError::HostTaken(..)
            | ChangeError::Moving(..) => (StatusCode::CONFLICT, "conflict"),
            ChangeError::NotFound(_) | ChangeError::NoPrincipal(..) | ChangeError::NoSpace(_) => {
                (StatusCode::NOT_FOUND, "not-found")
            }
            // To try again later does not help.
            ChangeError::AddressLimit(_) | ChangeError::AddressLimitOfUser { .. } => {
                (StatusCode::FORBIDDEN, "limit-reached")
            }
            ChangeError::InvalidPrincipal(..) | ChangeError::Unfit(..) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
            }
            ChangeError::Full | ChangeError::TooMany(_) => {
                (StatusCode::INSUFFICIENT_STORAGE, "limit-reached")
            }
            ChangeError::Store(error) => (store_status(error), "storage-failed"),
            ChangeError::NotServed(_) | ChangeError::NotJoined(_) | ChangeError::Stopping => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        Self::new(status, kind, error.to_string())
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        Self::invalid(error.to_string())
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error {
        StoreError::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded) => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
