//! What a request asks for, from its path and its query.

use std::collections::BTreeMap;

/// A path below `/api/v1` or `/apis/<group>/<version>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Path {
    /// `None` for a path that leads to no object.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let (group, version, rest) = match parts.first()?.as_str() {
            "api" => (String::new(), parts.get(1)?.clone(), parts.get(2..)?),
            "apis" => (parts.get(1)?.clone(), parts.get(2)?.clone(), parts.get(3..)?),
            _ => return None,
        };
        // `/namespaces/<name>` is an object, `/namespaces/<name>/<plural>` are objects in it, but for the
        // subresources of the namespace itself.
        let is_inside =
            rest.len() >= 3 && rest[0] == "namespaces" && !["status", "finalize"].contains(&rest[2].as_str());
        let (namespace, rest) = if is_inside { (Some(rest[1].clone()), &rest[2..]) } else { (None, rest) };
        if rest.is_empty() || rest.len() > 3 {
            return None;
        }
        Some(Self {
            group,
            version,
            namespace,
            plural: rest[0].clone(),
            name: rest.get(1).cloned(),
            subresource: rest.get(2).cloned(),
        })
    }
}

/// The parameters of a request; of one that repeats the last counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name.replace('+', " ")), decode(value.replace('+', " ")))
        });
        Self(pairs.collect())
    }

    /// Empty when it is missing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "1")
    }
}

/// Percent-encoding; what is none stays as it is.
fn decode(text: impl AsRef<str>) -> String {
    let bytes = text.as_ref().as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let value = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Option<(Option<String>, String, Option<String>, Option<String>)> {
        let path = Path::parse(path)?;
        Some((path.namespace, path.plural, path.name, path.subresource))
    }

    #[test]
    fn a_path_says_namespace_resource_name_and_subresource() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            parts("/api/v1/namespaces/a/pods/p/log"),
            Some((some("a"), "pods".into(), some("p"), some("log")))
        );
        assert_eq!(parts("/api/v1/namespaces/a"), Some((None, "namespaces".into(), some("a"), None)));
        assert_eq!(
            parts("/api/v1/namespaces/a/status"),
            Some((None, "namespaces".into(), some("a"), some("status")))
        );
        assert_eq!(parts("/apis/apps/v1/statefulsets"), Some((None, "statefulsets".into(), None, None)));
        assert_eq!(parts("/apis/apps/v1"), None);
        assert_eq!(parts("/version"), None);
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&watch=true&limit=5&x=a+b");
        assert_eq!(query.text("labelSelector"), "a=b,c");
        assert!(query.is("watch"));
        assert_eq!(query.number("limit"), Some(5));
        assert_eq!(query.text("x"), "a b");
    }
}
