//! As much of the OpenAPI documents as `kubectl` looks at: which requests take `fieldValidation`, and the schemas
//! of the kinds that are defined by objects.

use serde_json::{Map, Value, json};

use super::kinds::{Kind, Kinds};

/// `GET /openapi/v2`, in protobuf, in which alone `kubectl` asks for it: before it applies a file with a list. The
/// document says its version (`swagger`, 1), a title and a version (`info`, 2), and has neither paths (8) nor
/// definitions (9): of what is not in it `kubectl` checks nothing.
pub(super) const SECOND: &[u8] = b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x01v\x42\x00\x4a\x00";

/// Its media type.
pub(super) const SECOND_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `GET /openapi/v3`
pub(super) fn index(kinds: &Kinds) -> Value {
    let paths = kinds.paths().into_iter().map(|path| {
        let url = format!("/openapi/v3/{path}?hash=0");
        (path, json!({ "serverRelativeURL": url }))
    });
    json!({ "paths": paths.collect::<Map<String, Value>>() })
}

/// `GET /openapi/v3/apis/<group>/<version>`
pub(super) fn document(kinds: &Kinds, path: &str) -> Option<Value> {
    let (group, version) = match path.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return None,
    };
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds.iter().filter(|kind| kind.group == group && kind.version == version) {
        let place = if kind.is_namespaced { "namespaces/{namespace}/" } else { "" };
        let objects = format!("/{path}/{place}{}", kind.plural);
        paths.insert(format!("{objects}/{{name}}"), json!({ "patch": operation(kind, "patch") }));
        paths.insert(objects, json!({ "post": operation(kind, "post") }));
        let mut schema = match &kind.custom {
            Some(custom) => Value::clone(&custom.schema),
            None => json!({ "type": "object" }),
        };
        schema["x-kubernetes-group-version-kind"] = json!([type_of(kind)]);
        let name: Vec<&str> = kind.group.rsplit('.').filter(|part| !part.is_empty()).collect();
        let name = if name.is_empty() { "io.k8s.api.core".into() } else { name.join(".") };
        schemas.insert(format!("{name}.{}.{}", kind.version, kind.kind), schema);
    }
    let document = json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.36.0" },
        "paths": paths, "components": { "schemas": schemas },
    });
    Some(document).filter(|document| document["paths"].as_object().is_some_and(|paths| !paths.is_empty()))
}

fn type_of(kind: &Kind) -> Value {
    json!({ "group": kind.group, "version": kind.version, "kind": kind.kind })
}

fn operation(kind: &Kind, action: &str) -> Value {
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
        .collect();
    json!({
        "parameters": parameters, "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": type_of(kind), "responses": { "200": { "description": "OK" } },
    })
}
