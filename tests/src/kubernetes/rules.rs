//! The rules of a definition (`x-kubernetes-validations`), which are expressions of the Common Expression Language over
//! the part of the object that they stand at: `self`, and `oldSelf` before the change.

use std::sync::Arc;

use cel::{Context, Env};
use serde_json::Value;

use super::refusal::Cause;

/// The rules that an object breaks. `old` is what it was: rules that speak of it count for changes alone.
pub(super) fn broken(schema: &Value, old: Option<&Value>, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    look(schema, old, object, "", &mut causes);
    causes
}

fn look(schema: &Value, old: Option<&Value>, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let expression = rule["rule"].as_str().unwrap_or_default();
        if expression.contains("oldSelf") && old.is_none() {
            continue;
        }
        match holds(expression, old, value) {
            Ok(true) => {}
            Ok(false) => {
                let message = rule["message"].as_str().unwrap_or(expression);
                causes.push(Cause::invalid(path, &Value::from(kind_of(value)), message));
            }
            Err(why) => causes.push(Cause::invalid(path, &Value::from(kind_of(value)), &why)),
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            let path = format!("{path}.{name}");
            look(inner, old.and_then(|old| old.get(name)), value, path.trim_start_matches('.'), causes);
        }
    }
    // Of a list's items nobody knows which is which.
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        look(&schema["items"], None, item, &format!("{path}[{at}]"), causes);
    }
}

fn holds(expression: &str, old: Option<&Value>, value: &Value) -> Result<bool, String> {
    let env = Arc::new(Env::stdlib());
    let program = env.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    let mut context = Context::with_env(env);
    for (name, value) in [("self", Some(value)), ("oldSelf", old)] {
        let Some(value) = value else { continue };
        let value = cel::to_value(value).map_err(|error| error.to_string())?;
        context.add_variable_from_value(name, value);
    }
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(format!("the rule {expression} is {other:?}")),
        Err(error) => Err(format!("the rule {expression} cannot be evaluated: {error}")),
    }
}

/// What the real one shows in place of a value that is long.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
    }
}

#[cfg(test)]
mod tests {
    use mq_model::custom::definitions;
    use mq_model::manifest::{Address, AddressType};
    use serde_json::json;

    use super::*;

    fn schema_of(kind: &str) -> Value {
        let found = definitions().into_iter().find(|definition| definition["spec"]["names"]["kind"] == kind);
        found.expect("a definition")["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    }

    fn breaks(kind: &str, old: Option<Value>, spec: Value) -> bool {
        let old = old.map(|spec| json!({ "spec": spec }));
        !broken(&schema_of(kind), old.as_ref(), &json!({ "spec": spec })).is_empty()
    }

    /// One value for each field that not every type of address has, and some that all have.
    fn specs() -> Vec<Value> {
        let fields = [
            json!({}),
            json!({ "shards": 2 }),
            json!({ "exclusive": true }),
            json!({ "exclusive": false }),
            json!({ "deadLetter": "other" }),
            json!({ "maxDeliveries": 3 }),
            json!({ "limits": { "maxBytes": 1024 } }),
            json!({ "limits": { "maxMessages": 5 } }),
            json!({ "ttl": { "minMs": 5, "maxMs": 4 } }),
            json!({ "ttl": { "minMs": 5, "defaultMs": 4 } }),
            json!({ "ttl": { "defaultMs": 5, "maxMs": 4 } }),
            json!({ "ttl": { "minMs": 1, "defaultMs": 2, "maxMs": 3 } }),
        ];
        fields.into()
    }

    #[test]
    fn the_cluster_refuses_an_address_when_the_fleet_would_and_never_else() {
        for kind in [AddressType::Anycast, AddressType::Multicast, AddressType::Queue, AddressType::Topic] {
            for mut spec in specs() {
                spec["type"] = serde_json::to_value(kind).unwrap();
                let document = json!({ "apiVersion": "mq.dev/v1", "kind": "Address", "metadata": { "name": "a" }, "spec": spec });
                let is_valid = serde_json::from_value::<Address>(document).unwrap().validate().is_ok();
                assert_eq!(breaks("Address", None, spec.clone()), !is_valid, "{spec}");
            }
        }
    }

    #[test]
    fn what_an_object_stands_for_does_not_change() {
        for (kind, field) in [("Address", "address"), ("User", "user"), ("Role", "role"), ("Role", "space")] {
            let with = |value: &str| json!({ "type": "queue", field: value });
            assert!(breaks(kind, Some(with("a")), with("b")), "{kind}.{field}");
            assert!(breaks(kind, Some(json!({ "type": "queue" })), with("b")), "{kind}.{field}");
            assert!(breaks(kind, Some(with("a")), json!({ "type": "queue" })), "{kind}.{field}");
            assert!(!breaks(kind, Some(with("a")), with("a")), "{kind}.{field}");
            assert!(!breaks(kind, None, with("a")), "{kind}.{field}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_is_broken() {
        let schema = json!({ "x-kubernetes-validations": [{ "rule": "self.none == 1" }] });
        assert_eq!(broken(&schema, None, &json!({})).len(), 1);
        let schema = json!({ "x-kubernetes-validations": [{ "rule": "self ==" }] });
        assert_eq!(broken(&schema, None, &json!({})).len(), 1);
    }
}
