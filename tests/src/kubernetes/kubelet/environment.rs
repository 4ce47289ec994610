//! What a container is started with: its environment, its command line, and the user that it runs as.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::kubernetes::store::{API_IP, Store};

/// The environment of a container, or why it has none yet.
pub(super) fn environment(
    store: &Store,
    pod: &Value,
    container: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let namespace = text(&pod["metadata"]["namespace"]);
    let mut all = BTreeMap::new();
    let [a, b, c, d] = API_IP;
    all.insert("KUBERNETES_SERVICE_HOST".into(), format!("{a}.{b}.{c}.{d}"));
    all.insert("KUBERNETES_SERVICE_PORT".into(), "443".into());
    all.insert("KUBERNETES_SERVICE_PORT_HTTPS".into(), "443".into());
    all.insert("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    let hostname = pod["spec"]["hostname"].as_str().or_else(|| pod["metadata"]["name"].as_str());
    all.insert("HOSTNAME".into(), hostname.unwrap_or_default().into());
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = text(&source["prefix"]);
        for (field, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            let Some(reference) = source.get(field) else { continue };
            match data(store, kind, namespace, text(&reference["name"])) {
                Some(data) => {
                    all.extend(data.into_iter().map(|(name, value)| {
                        (format!("{prefix}{name}"), String::from_utf8_lossy(&value).into_owned())
                    }));
                }
                None if reference["optional"] == true => {}
                None => return Err(missing(kind, text(&reference["name"]))),
            }
        }
    }
    for one in container["env"].as_array().into_iter().flatten() {
        let value = match one.get("valueFrom") {
            Some(source) => value_from(store, pod, container, source)?,
            None => Some(expand(text(&one["value"]), &all)),
        };
        if let Some(value) = value {
            all.insert(text(&one["name"]).into(), value);
        }
    }
    Ok(all)
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn missing(kind: &str, name: &str) -> String {
    format!("{} \"{name}\" not found", kind.to_lowercase())
}

/// What a ConfigMap or a Secret holds.
pub(super) fn data(
    store: &Store,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Option<BTreeMap<String, Vec<u8>>> {
    let object = store.find(kind, namespace, name)?;
    let decode = |value: &Value| STANDARD.decode(text(value)).unwrap_or_default();
    let plain = object["data"].as_object().into_iter().flatten().map(|(name, value)| {
        let value = if kind == "Secret" { decode(value) } else { text(value).as_bytes().to_vec() };
        (name.clone(), value)
    });
    let binary = object["binaryData"].as_object().into_iter().flatten();
    Some(plain.chain(binary.map(|(name, value)| (name.clone(), decode(value)))).collect())
}

fn value_from(
    store: &Store,
    pod: &Value,
    container: &Value,
    source: &Value,
) -> Result<Option<String>, String> {
    if let Some(field) = source.get("fieldRef") {
        return Ok(Some(self::field(pod, text(&field["fieldPath"]))));
    }
    if let Some(resource) = source.get("resourceFieldRef") {
        let path = format!("/resources/{}", text(&resource["resource"]).replace('.', "/"));
        return Ok(container
            .pointer(&path)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    for (field, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
        let Some(reference) = source.get(field) else { continue };
        let (name, key) = (text(&reference["name"]), text(&reference["key"]));
        let value =
            data(store, kind, text(&pod["metadata"]["namespace"]), name).map(|mut data| data.remove(key));
        return match value {
            Some(Some(value)) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            _ if reference["optional"] == true => Ok(None),
            Some(None) => Err(format!("couldn't find key {key} in {kind} {name}")),
            None => Err(missing(kind, name)),
        };
    }
    Ok(None)
}

/// A field of a pod that it may know of itself: `metadata.labels['a']`, `status.podIP`.
pub(super) fn field(pod: &Value, path: &str) -> String {
    let of_map = |name: &str| {
        let key = path.strip_prefix(name)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(text(&pod["metadata"][name.trim_start_matches("metadata.")][key]).to_owned())
    };
    let in_map = of_map("metadata.labels").or_else(|| of_map("metadata.annotations"));
    in_map.unwrap_or_else(|| {
        let value = pod.pointer(&format!("/{}", path.replace('.', "/")));
        value.map(text).unwrap_or_default().to_owned()
    })
}

/// `$(NAME)` is the value of a variable, `$$(NAME)` is itself; one that is not there stays as it is.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_expanded_as_in_a_real_cluster() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in
            [("$(A)/$(B)", "1/$(B)"), ("$$(A) $A $", "$(A) $A $"), ("x", "x"), ("$(A", "$(A")]
        {
            assert_eq!(expand(text, &variables), expected);
        }
    }

    #[test]
    fn a_pod_knows_its_own_fields() {
        let pod = json!({ "metadata": { "name": "a", "labels": { "x/y": "z" } }, "status": { "podIP": "1.2.3.4" } });
        assert_eq!(field(&pod, "metadata.name"), "a");
        assert_eq!(field(&pod, "metadata.labels['x/y']"), "z");
        assert_eq!(field(&pod, "status.podIP"), "1.2.3.4");
    }
}
