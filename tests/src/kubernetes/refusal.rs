//! What the API server answers when it does not do what it was asked: objects of kind `Status`, with the
//! reasons, codes and sentences of the real one, as far as clients look at them.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A request that was refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    details: Value,
}

/// What is wrong with one field.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

pub(super) type Answer<T> = Result<T, Refusal>;

impl Cause {
    pub(super) fn required(field: impl Into<String>, what: &str) -> Self {
        let message =
            if what.is_empty() { "Required value".into() } else { format!("Required value: {what}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", message, field: field.into() }
    }

    pub(super) fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self { reason: "FieldValueNotFound", message: format!("Not found: {value:?}"), field: field.into() }
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value}"),
            field: field.into(),
        }
    }

    pub(super) fn unsupported(field: impl Into<String>, value: &Value, supported: &str) -> Self {
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }

    /// A field that another manager owns; the version is that of one who has not applied it.
    pub(super) fn conflict(manager: &str, version: Option<&str>, field: String) -> Self {
        let version = version.map(|version| format!(" using {version}")).unwrap_or_default();
        let message = format!("conflict with \"{manager}\"{version}");
        Self { reason: "FieldManagerConflict", message, field }
    }

    fn value(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message, "field": self.field })
    }
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "name": name, "group": kind.group, "kind": kind.plural });
        self
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.resource())).about(kind, name)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// Server-side apply of fields that others own.
    pub(super) fn owned(causes: &[Cause]) -> Self {
        let list: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.message, cause.field)).collect();
        let plural = if causes.len() == 1 { "" } else { "s" };
        let message = format!("Apply failed with {} conflict{plural}: {}", causes.len(), list.join("\n"));
        let mut refusal = Self::new(409, "Conflict", message);
        refusal.details = json!({ "causes": causes.iter().map(Cause::value).collect::<Vec<_>>() });
        refusal
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let list: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let list = if list.len() == 1 { list.concat() } else { format!("[{}]", list.join(", ")) };
        let title =
            if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut refusal = Self::new(422, "Invalid", format!("{title} \"{name}\" is invalid: {list}"));
        refusal.details = json!({
            "name": name, "group": kind.group, "kind": kind.kind,
            "causes": causes.iter().map(Cause::value).collect::<Vec<_>>(),
        });
        refusal
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let shown = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let message = format!("{}{shown} is forbidden: {why}", kind.resource());
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// History that is kept no longer.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// An eviction that a budget does not allow.
    pub(super) fn disruption_budget(name: &str) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut refusal = Self::new(429, "TooManyRequests", message);
        let cause = json!({
            "reason": "DisruptionBudget",
            "message": format!("The disruption budget {name} does not allow another eviction now"),
        });
        refusal.details = json!({ "causes": [cause] });
        refusal
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
