//! What the API server refuses of the built-in kinds: names, what is required, references that lead nowhere,
//! and what cannot be changed. It is the part of the real one's rules that a deployment meets.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::custom;
use super::kinds::Kind;
use super::refusal::Cause;
use super::selector::Labels;

/// What is wrong with an object of a built-in kind, or with the name of any.
pub(super) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, object, &mut causes);
    let spec = &object["spec"];
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod(spec, "spec", &mut causes),
        ("", "Service") => service(spec, &mut causes),
        ("", "ConfigMap" | "Secret") => data(kind, object, &mut causes),
        ("", "PersistentVolumeClaim") => claim(spec, "spec", &mut causes),
        ("apps", "StatefulSet" | "Deployment" | "ReplicaSet" | "DaemonSet") => {
            workload(spec, &mut causes);
            for (at, template) in list(spec, "volumeClaimTemplates").iter().enumerate() {
                claim(&template["spec"], &format!("spec.volumeClaimTemplates[{at}].spec"), &mut causes);
            }
        }
        ("policy", "PodDisruptionBudget")
            if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() =>
        {
            let why = "minAvailable and maxUnavailable cannot be both set";
            causes.push(Cause::invalid("spec", spec, why));
        }
        ("apiextensions.k8s.io", _) => causes.extend(custom::check_definition(object)),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => rules(object, &mut causes),
        _ => {}
    }
    causes
}

/// What a change of an object is not allowed to change.
pub(super) fn check_change(kind: &Kind, before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let differs = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    let immutable = |causes: &mut Vec<Cause>, field: &str, pointer: &str| {
        if differs(pointer) {
            let value = after.pointer(pointer).cloned().unwrap_or_default();
            causes.push(Cause::invalid(field, &value, "field is immutable"));
        }
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "StatefulSet") => {
            const MUTABLE: [&str; 7] = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            if without(&before["spec"], &MUTABLE) != without(&after["spec"], &MUTABLE) {
                let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                           'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                           'minReadySeconds' are forbidden";
                causes.push(Cause::forbidden("spec", why));
            }
        }
        ("apps", _) => immutable(&mut causes, "spec.selector", "/spec/selector"),
        ("batch", "Job") => immutable(&mut causes, "spec.template", "/spec/template"),
        ("", "Service") => {
            let was_given =
                before["spec"]["clusterIP"].is_string() && before["spec"]["type"] != "ExternalName";
            if was_given {
                immutable(&mut causes, "spec.clusterIP", "/spec/clusterIP");
            }
        }
        ("", "Secret") => immutable(&mut causes, "type", "/type"),
        ("", "PersistentVolumeClaim") => {
            const MUTABLE: [&str; 3] = ["resources", "volumeName", "volumeAttributesClassName"];
            if without(&before["spec"], &MUTABLE) != without(&after["spec"], &MUTABLE) {
                let why = "spec is immutable after creation except resources.requests and \
                           volumeAttributesClassName for bound claims";
                causes.push(Cause::forbidden("spec", why));
            }
        }
        ("", "Pod") => {
            const MUTABLE: [&str; 4] = ["containers", "initContainers", "tolerations", "nodeName"];
            if without(&before["spec"], &MUTABLE) != without(&after["spec"], &MUTABLE) {
                let why = "pod updates may not change fields other than `spec.containers[*].image`, \
                           `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` \
                           (only additions to existing tolerations)";
                causes.push(Cause::forbidden("spec", why));
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") if differs("/roleRef") => {
            causes.push(Cause::invalid("roleRef", &after["roleRef"], "cannot change roleRef"));
        }
        _ => {}
    }
    if before["immutable"] == true && (differs("/data") || differs("/immutable")) {
        causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
    }
    causes
}

fn without(object: &Value, names: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, value| !names.contains(&name.as_str()) && !value.is_null());
    }
    object
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

fn is_label(name: &str, is_dotted: bool) -> bool {
    let allowed = |character: char| {
        character.is_ascii_lowercase()
            || character.is_ascii_digit()
            || character == '-'
            || is_dotted && character == '.'
    };
    let ends = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    !name.is_empty()
        && name.len() <= if is_dotted { 253 } else { 63 }
        && name.chars().all(allowed)
        && name.starts_with(ends)
        && name.ends_with(ends)
}

fn metadata(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let metadata = &object["metadata"];
    let name = text(metadata, "name");
    // Names of roles may have colons, those of services and namespaces are labels of DNS.
    let is_role = kind.group == "rbac.authorization.k8s.io";
    let is_dns_label = ["Service", "Namespace"].contains(&kind.kind.as_str());
    let is_valid = if is_role { !name.contains(['/', '%']) } else { is_label(name, !is_dns_label) };
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if !is_valid {
        let why = if is_dns_label {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
             and end with an alphanumeric character"
        } else {
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
             must start and end with an alphanumeric character"
        };
        causes.push(Cause::invalid("metadata.name", &metadata["name"], why));
    }
    for field in ["labels", "annotations"] {
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            let path = format!("metadata.{field}");
            if !is_qualified(key) {
                causes.push(Cause::invalid(path.as_str(), &json!(key), "name part must be valid"));
            }
            let is_valid =
                value.as_str().is_some_and(|value| field == "annotations" || is_label_value(value));
            if !is_valid {
                causes.push(Cause::invalid(path, value, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"));
            }
        }
    }
}

fn is_label_value(value: &str) -> bool {
    let ends = |character: char| character.is_ascii_alphanumeric();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    value.is_empty()
        || value.len() <= 63 && value.chars().all(allowed) && value.starts_with(ends) && value.ends_with(ends)
}

/// A key of labels: a prefix of DNS, perhaps, and a name.
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(|prefix| is_label(prefix, true)) && !name.is_empty() && is_label_value(name)
}

fn data(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    for (name, value) in object["data"].as_object().into_iter().flatten() {
        let path = format!("data[{name}]");
        let is_valid = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if name.is_empty() || !name.chars().all(is_valid) {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
            causes.push(Cause::invalid(path.as_str(), &json!(name), why));
        }
        match value.as_str() {
            None => causes.push(Cause::invalid(path, value, "must be a string")),
            Some(value) if kind.kind == "Secret" && STANDARD.decode(value).is_err() => {
                causes.push(Cause::invalid(path, &json!("<hidden>"), "illegal base64 data"));
            }
            Some(_) => {}
        }
    }
    // The size of what etcd takes.
    if object["data"].to_string().len() > 1 << 20 {
        causes.push(Cause::invalid("data", &json!("<too long>"), "must have at most 1048576 bytes"));
    }
}

fn service(spec: &Value, causes: &mut Vec<Cause>) {
    let ports = list(spec, "ports");
    let is_headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !is_headless && spec["type"] != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut names = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        port_number(&port["port"], &format!("{path}.port"), causes);
        let name = text(port, "name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !name.is_empty() && !is_label(name, false) {
            let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'";
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
        }
        if !name.is_empty() && !names.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
    }
    let types = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];
    if !types.contains(&text(spec, "type")) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &types.join(", ")));
    }
    if is_headless && !["", "ClusterIP"].contains(&text(spec, "type")) {
        causes.push(Cause::invalid(
            "spec.clusterIP",
            &json!("None"),
            "may not be set to 'None' for LoadBalancer services",
        ));
    }
}

fn port_number(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !port.as_u64().is_some_and(|port| (1..=65_535).contains(&port)) {
        causes.push(Cause::invalid(path, port, "must be between 1 and 65535, inclusive"));
    }
}

fn claim(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if list(spec, "accessModes").is_empty() {
        causes.push(Cause::required(format!("{path}.accessModes"), "at least 1 access mode is required"));
    }
    let storage = &spec["resources"]["requests"]["storage"];
    let field = format!("{path}.resources[storage]");
    match storage {
        Value::Null => causes.push(Cause::required(field, "")),
        storage if !is_quantity(storage) => {
            causes.push(Cause::invalid(
                field,
                storage,
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ));
        }
        _ => {}
    }
}

fn is_quantity(value: &Value) -> bool {
    if value.is_number() {
        return true;
    }
    let text = value.as_str().unwrap_or_default();
    let digits = text.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    const UNITS: [&str; 15] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    digits.len() < text.len() && (UNITS.contains(&digits) || digits == "Ei")
}

fn workload(spec: &Value, causes: &mut Vec<Cause>) {
    let selector = Labels::of_object(&spec["selector"]);
    let is_empty = ["matchLabels", "matchExpressions"].iter().all(|name| {
        let part = &spec["selector"][*name];
        part.as_object().is_none_or(serde_json::Map::is_empty) && part.as_array().is_none_or(Vec::is_empty)
    });
    match selector {
        Some(selector) if !is_empty => {
            if !selector.matches(&spec["template"]) {
                let labels = &spec["template"]["metadata"]["labels"];
                let why = "`selector` does not match template `labels`";
                causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
            }
        }
        _ => causes.push(Cause::required("spec.selector", "")),
    }
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        causes.push(Cause::invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0"));
    }
    let template = &spec["template"]["spec"];
    if template["restartPolicy"] != "Always" {
        let field = "spec.template.spec.restartPolicy";
        causes.push(Cause::unsupported(field, &template["restartPolicy"], "\"Always\""));
    }
    // The claims of a set are volumes of its pods.
    let claims = list(spec, "volumeClaimTemplates").iter().map(|claim| text(&claim["metadata"], "name"));
    pod_with(template, "spec.template.spec", claims.collect(), causes);
}

fn pod(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    pod_with(spec, path, BTreeSet::new(), causes);
}

fn pod_with<'a>(spec: &'a Value, path: &str, mut volumes: BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let name = text(volume, "name");
        if !volumes.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.volumes[{at}].name"), &volume["name"]));
        }
        if volume.as_object().is_none_or(|volume| volume.len() < 2) {
            causes.push(Cause::required(format!("{path}.volumes[{at}]"), "must specify a volume type"));
        }
    }
    if list(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for field in ["initContainers", "containers"] {
        for (at, one) in list(spec, field).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            if !names.insert(text(one, "name")) {
                causes.push(Cause::duplicate(format!("{path}.name"), &one["name"]));
            }
            container(one, &path, &volumes, causes);
        }
    }
    for (at, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{at}]");
        if constraint["maxSkew"].as_i64().is_none_or(|skew| skew < 1) {
            causes.push(Cause::invalid(
                format!("{path}.maxSkew"),
                &constraint["maxSkew"],
                "must be greater than zero",
            ));
        }
        let when = ["DoNotSchedule", "ScheduleAnyway"];
        if !when.contains(&text(constraint, "whenUnsatisfiable")) {
            let field = format!("{path}.whenUnsatisfiable");
            causes.push(Cause::unsupported(field, &constraint["whenUnsatisfiable"], &when.join(", ")));
        }
    }
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let name = text(container, "name");
    if !is_label(name, false) {
        causes.push(Cause::invalid(
            format!("{path}.name"),
            &container["name"],
            "a lowercase RFC 1123 label is needed",
        ));
    }
    if text(container, "image").is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    let mut ports = BTreeSet::new();
    for (at, port) in list(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        port_number(&port["containerPort"], &format!("{path}.containerPort"), causes);
        let name = text(port, "name");
        if name.len() > 15 {
            causes.push(Cause::invalid(
                format!("{path}.name"),
                &port["name"],
                "must be no more than 15 characters",
            ));
        }
        if !name.is_empty() && !ports.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
    }
    let mut mounts = BTreeSet::new();
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let name = text(mount, "name");
        if !volumes.contains(name) {
            causes.push(Cause::not_found(format!("{path}.name"), name));
        }
        if !mounts.insert(text(mount, "mountPath")) {
            causes.push(Cause::invalid(format!("{path}.mountPath"), &mount["mountPath"], "must be unique"));
        }
    }
    for (at, env) in list(container, "env").iter().enumerate() {
        if text(env, "name").is_empty() {
            causes.push(Cause::required(format!("{path}.env[{at}].name"), ""));
        }
    }
    for bound in ["requests", "limits"] {
        for (name, quantity) in container["resources"][bound].as_object().into_iter().flatten() {
            if !is_quantity(quantity) {
                let field = format!("{path}.resources.{bound}[{name}]");
                causes.push(Cause::invalid(field, quantity, "quantities must be numbers with a unit"));
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(handler) = container.get(probe) else { continue };
        if !["exec", "httpGet", "tcpSocket", "grpc"].iter().any(|name| handler.get(name).is_some()) {
            causes.push(Cause::required(format!("{path}.{probe}"), "must specify a handler type"));
        }
        if probe != "readinessProbe"
            && handler["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1)
        {
            causes.push(Cause::invalid(
                format!("{path}.{probe}.successThreshold"),
                &handler["successThreshold"],
                "must be 1",
            ));
        }
    }
}

fn rules(role: &Value, causes: &mut Vec<Cause>) {
    for (at, rule) in list(role, "rules").iter().enumerate() {
        let path = format!("rules[{at}]");
        if list(rule, "verbs").is_empty() {
            causes.push(Cause::required(format!("{path}.verbs"), "verbs must contain at least one value"));
        }
        if list(rule, "nonResourceURLs").is_empty() {
            for name in ["apiGroups", "resources"] {
                if list(rule, name).is_empty() {
                    causes.push(Cause::required(
                        format!("{path}.{name}"),
                        "resource rules must supply at least one",
                    ));
                }
            }
        }
    }
}
