//! Secrets of the cluster, of which passwords and keys are read.

use base64::{Engine, engine::general_purpose::STANDARD};
use mq_model::Secret;
use serde_json::Value;

/// The text under a field of a Secret; `None`: it has no such field.
///
/// # Errors
///
/// What is wrong with it, to be said of the Secret: `holds a … that is not UTF-8`. The text is not in it.
pub(super) fn field(secret: &Value, name: &str) -> Result<Option<Secret>, String> {
    let Some(text) = secret["data"][name].as_str() else { return Ok(None) };
    let bytes = STANDARD.decode(text).map_err(|_| format!("holds a `{name}` that is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("holds a `{name}` that is not UTF-8"))?;
    Ok(Some(Secret::new(text)))
}

/// The version of a Secret: another one when anything of it has changed.
pub(super) fn version(secret: &Value) -> String {
    secret["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_a_secret_is_text_in_base64_or_is_said_not_to_be() {
        let secret = json!({ "data": { "a": "aHVudGVyMg==", "b": "?", "c": "/w==" } });
        let text = |name| field(&secret, name).map(|text| text.map(|text| text.expose().to_owned()));
        assert_eq!(text("a"), Ok(Some("hunter2".into())));
        assert_eq!(text("b"), Err("holds a `b` that is not base64".into()));
        assert_eq!(text("c"), Err("holds a `c` that is not UTF-8".into()));
        assert_eq!(text("d"), Ok(None));
    }
}
