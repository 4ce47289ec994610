//! Kinds that are defined by objects: what a `CustomResourceDefinition` has to be like, and what its schema
//! makes of the objects of its kind (pruning, defaults, validation).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::refusal::Cause;
use super::rules::broken;

/// What a version of a definition says of its objects.
#[derive(Clone, Debug)]
pub(super) struct Custom {
    pub(super) schema: Arc<Value>,
    pub(super) columns: Arc<Vec<Column>>,
}

/// A printed column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) path: String,
    /// It is shown as how long ago that was.
    pub(super) is_date: bool,
}

impl Custom {
    pub(super) fn new(version: &Value) -> Self {
        let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
        let columns = columns.filter_map(|column| {
            Some(Column {
                name: column["name"].as_str()?.to_owned(),
                path: column["jsonPath"].as_str()?.to_owned(),
                is_date: column["type"] == "date",
            })
        });
        Self {
            schema: Arc::new(version["schema"]["openAPIV3Schema"].clone()),
            columns: Arc::new(columns.collect()),
        }
    }

    /// Removes what the schema does not know, and fills in its defaults. Returns the paths of what is gone.
    pub(super) fn shape(&self, object: &mut Value) -> Vec<String> {
        let mut gone = Vec::new();
        let about: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), object.as_object_mut()?.remove(*name)?)))
            .collect();
        prune(object, &self.schema, "", &mut gone);
        fill(object, &self.schema);
        if let Some(map) = object.as_object_mut() {
            map.extend(about);
        }
        gone
    }

    /// What is wrong with an object by its schema and the rules in it; `old` is what it was before a change.
    pub(super) fn check(&self, old: Option<&Value>, object: &Value) -> Vec<Cause> {
        let schema = plain(&self.schema);
        let validator = match jsonschema::validator_for(&schema) {
            Ok(validator) => validator,
            Err(error) => return vec![Cause::invalid("schema", &Value::Null, &error.to_string())],
        };
        let causes = validator.iter_errors(object).map(|error| {
            let path = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
            Cause::invalid(path, error.instance(), &error.to_string())
        });
        let causes: Vec<Cause> = causes.collect();
        // Rules may count on the types that the schema gives.
        if causes.is_empty() { broken(&self.schema, old, object) } else { causes }
    }
}

/// What is at a path of a column, such as `.spec.size` or `.status.conditions[?(@.type=="Ready")].reason`: names, and a
/// choice by one of an item's own texts.
pub(super) fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    let path = path.strip_prefix('.')?;
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let (value, rest) = match rest.strip_prefix("[?(@.") {
        Some(choice) => {
            let (choice, rest) = choice.split_once(")]")?;
            let (field, wanted) = choice.split_once("==")?;
            let wanted = wanted.trim_matches('"');
            (object.get(name)?.as_array()?.iter().find(|item| item[field] == wanted)?, rest)
        }
        None => (object.get(name)?, rest),
    };
    if rest.is_empty() { Some(value) } else { at(value, rest) }
}

fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

fn prune(value: &mut Value, schema: &Value, path: &str, gone: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
            let is_resource = schema["x-kubernetes-embedded-resource"] == true;
            map.retain(|name, _| {
                let is_known = properties.is_some_and(|properties| properties.contains_key(name))
                    || additional.is_some()
                    || schema["additionalProperties"] == true
                    || is_open(schema)
                    || is_resource && ["apiVersion", "kind", "metadata"].contains(&name.as_str());
                if !is_known {
                    gone.push(format!("{path}.{name}").trim_start_matches('.').to_owned());
                }
                is_known
            });
            for (name, value) in map {
                let inner = properties.and_then(|properties| properties.get(name)).or(additional);
                if let Some(inner) = inner {
                    prune(value, inner, &format!("{path}.{name}"), gone);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                prune(item, &schema["items"], &format!("{path}[{at}]"), gone);
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                // A null where none is allowed counts as nothing.
                if map.get(name).is_some_and(Value::is_null) && inner["nullable"] != true {
                    map.remove(name);
                }
                if let (None, Some(default)) = (map.get(name), inner.get("default")) {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    fill(value, inner);
                }
            }
            if let Some(inner) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
                map.values_mut().for_each(|value| fill(value, inner));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, &schema["items"])),
        _ => {}
    }
}

/// The schema in the words of JSON Schema: `nullable` and integers that may be text are Kubernetes' own.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut plain: Map<String, Value> = map
                .iter()
                .filter(|(name, _)| !["default", "example", "format"].contains(&name.as_str()))
                .map(|(name, value)| {
                    let is_data = ["enum", "required"].contains(&name.as_str());
                    (name.clone(), if is_data { value.clone() } else { plain(value) })
                })
                .collect();
            // A property of the name is a schema, the keyword is a word.
            if let (true, Some(Value::String(name))) =
                (map.get("nullable") == Some(&json!(true)), map.get("type"))
            {
                plain.insert("type".into(), json!([name, "null"]));
            }
            Value::Object(plain)
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// What is wrong with a definition: names, versions, and that each schema is structural.
pub(super) fn check_definition(definition: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if definition["metadata"]["name"] != expected.as_str() {
        let why = format!("must be spec.names.plural+\".\"+spec.group, {expected}");
        causes.push(Cause::invalid("metadata.name", &definition["metadata"]["name"], &why));
    }
    for (field, value) in [("group", &spec["group"]), ("scope", &spec["scope"])] {
        if text(value).is_empty() {
            causes.push(Cause::required(format!("spec.{field}"), ""));
        }
    }
    for name in ["plural", "kind"] {
        if text(&spec["names"][name]).is_empty() {
            causes.push(Cause::required(format!("spec.names.{name}"), ""));
        }
    }
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &Value::Null,
            "must have exactly one version marked as storage version",
        ));
    }
    for (at, version) in versions.iter().enumerate() {
        let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
        match version["schema"].get("openAPIV3Schema") {
            None => causes.push(Cause::required(path, "schemas are required")),
            Some(schema) => {
                check_schema(schema, &path, &mut causes);
                if schema["type"] != "object" {
                    let field = format!("{path}.type");
                    causes.push(Cause::invalid(field, &schema["type"], "must be object at the root"));
                }
            }
        }
    }
    causes
}

/// Whether a schema is structural: each node says its type, outside of what only judges values.
fn check_schema(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    for word in
        ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "const", "$schema"]
    {
        if schema.get(word).is_some() {
            causes.push(Cause::forbidden(format!("{path}.{word}"), &format!("{word} is not supported")));
        }
    }
    if schema["uniqueItems"] == true {
        causes.push(Cause::forbidden(format!("{path}.uniqueItems"), "uniqueItems cannot be set to true"));
    }
    let has_type = schema["type"].is_string();
    let is_free = schema["x-kubernetes-int-or-string"] == true || is_open(schema);
    if !has_type && !is_free {
        let what = "must not be empty for specified object fields";
        causes.push(Cause::required(format!("{path}.type"), what));
    }
    if schema["properties"].is_object() && schema.get("additionalProperties").is_some() {
        let why = "additionalProperties and properties are mutual exclusive";
        causes.push(Cause::forbidden(format!("{path}.additionalProperties"), why));
    }
    if schema["additionalProperties"] == false {
        let field = format!("{path}.additionalProperties");
        causes.push(Cause::forbidden(field, "additionalProperties cannot be set to false"));
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (at, branch) in schema[word].as_array().into_iter().flatten().enumerate() {
            check_branch(branch, schema, &format!("{path}.{word}[{at}]"), causes);
        }
    }
    if let Some(branch) = schema.get("not") {
        check_branch(branch, schema, &format!("{path}.not"), causes);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        // Of the root's metadata nothing but its name may be restricted, and it needs no properties.
        check_schema(inner, &format!("{path}.properties[{name}]"), causes);
    }
    for word in ["items", "additionalProperties"] {
        if schema[word].is_object() {
            check_schema(&schema[word], &format!("{path}.{word}"), causes);
        }
    }
    if schema["type"] == "array" && !schema["items"].is_object() {
        causes.push(Cause::required(format!("{path}.items"), "must be specified"));
    }
}

/// A branch of a logical junctor judges values and says nothing of their type; its properties are those of
/// the schema around it.
fn check_branch(branch: &Value, around: &Value, path: &str, causes: &mut Vec<Cause>) {
    let may_have_type = around["x-kubernetes-int-or-string"] == true;
    for word in ["type", "default", "nullable", "description", "title", "additionalProperties"] {
        if branch.get(word).is_some() && !(word == "type" && may_have_type) {
            let why = "must be empty to be structural";
            causes.push(Cause::forbidden(format!("{path}.{word}"), why));
        }
    }
    for (name, inner) in branch["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        match around["properties"].get(name) {
            Some(outer) => check_branch(inner, outer, &path, causes),
            None => causes.push(Cause::required(path, "because it is defined in a logical junctor")),
        }
    }
}

/// The kinds that a definition makes once it is established.
pub(super) fn kinds_of(definition: &Value) -> Vec<Kind> {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    let is_established =
        conditions.into_iter().any(|one| one["type"] == "Established" && one["status"] == "True");
    if !is_established {
        return Vec::new();
    }
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["served"] == true)
        .map(|version| Kind::defined(definition, version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(schema: Value) -> Custom {
        Custom::new(&json!({ "schema": { "openAPIV3Schema": schema } }))
    }

    #[test]
    fn an_object_is_pruned_filled_and_checked() {
        let custom = custom(json!({ "type": "object", "properties": { "spec": {
            "type": "object", "required": ["type"],
            "properties": {
                "type": { "type": "string", "enum": ["queue", "topic"] },
                "shards": { "type": "integer", "default": 1, "minimum": 1 },
                "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                "none": { "type": "string", "nullable": true },
            },
        } } }));
        let mut object = json!({
            "metadata": { "name": "a" },
            "spec": { "type": "queue", "typo": 1, "open": { "x": 1 }, "none": null },
        });
        assert_eq!(custom.shape(&mut object), ["spec.typo"]);
        assert_eq!(object["spec"], json!({ "type": "queue", "open": { "x": 1 }, "none": null, "shards": 1 }));
        assert!(custom.check(None, &object).is_empty());
        assert_eq!(custom.check(None, &json!({ "spec": { "type": "x", "shards": 0 } })).len(), 2);
        assert_eq!(custom.check(None, &json!({ "spec": {} })).len(), 1);
    }

    #[test]
    fn a_column_finds_fields_and_conditions() {
        let object = json!({
            "spec": { "size": 3 },
            "status": { "conditions": [{ "type": "A", "reason": "x" }, { "type": "B", "reason": "y" }] },
        });
        assert_eq!(at(&object, ".spec.size"), Some(&json!(3)));
        assert_eq!(at(&object, r#".status.conditions[?(@.type=="B")].reason"#), Some(&json!("y")));
        assert_eq!(at(&object, r#".status.conditions[?(@.type=="C")].reason"#), None);
        assert_eq!(at(&object, ".spec.none.more"), None);
    }

    #[test]
    fn a_schema_that_is_not_structural_is_refused() {
        let wrong = [
            json!({ "type": "object", "properties": { "a": {} } }),
            json!({ "type": "object", "properties": { "a": { "$ref": "#/x", "type": "string" } } }),
            json!({ "type": "object", "oneOf": [{ "type": "object" }] }),
            json!({ "type": "object", "properties": { "a": { "type": "array" } } }),
            json!({ "type": "object", "properties": {}, "additionalProperties": { "type": "string" } }),
        ];
        for schema in wrong {
            let mut causes = Vec::new();
            check_schema(&schema, "s", &mut causes);
            assert_eq!(causes.len(), 1, "{schema}: {causes:?}");
        }
        let right = json!({ "type": "object", "properties": {
            "a": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
            "b": { "type": "object", "properties": { "c": { "type": "string" } }, "oneOf": [{ "required": ["c"] }] },
        } });
        let mut causes = Vec::new();
        check_schema(&right, "s", &mut causes);
        assert!(causes.is_empty(), "{causes:?}");
    }
}
