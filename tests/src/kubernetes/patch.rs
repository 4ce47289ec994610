//! The patches that are not server-side apply: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), and
//! Kubernetes' strategic merge patch.

use serde_json::{Map, Value};

use super::fields::{ListType, Place};
use super::refusal::{Answer, Refusal};

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902.
pub(super) fn json(target: &mut Value, patch: &Value) -> Answer<()> {
    let operations = patch.as_array().ok_or_else(|| Refusal::bad_request("a JSON patch is a list"))?;
    for operation in operations {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let failed =
            |why: &str| Refusal::bad_request(format!("the JSON patch {operation} does not apply: {why}"));
        let value = || operation.get("value").cloned().ok_or_else(|| failed("it has no value"));
        let taken =
            |target: &mut Value, path: &str| remove(target, path).ok_or_else(|| failed("there is nothing"));
        let path = text("path");
        let is_done = match text("op") {
            "add" => add(target, path, value()?),
            "remove" => taken(target, path).map(|_| true)?,
            "replace" => match target.pointer_mut(path) {
                Some(place) => {
                    *place = value()?;
                    true
                }
                None => false,
            },
            "move" => {
                let value = taken(target, text("from"))?;
                add(target, path, value)
            }
            "copy" => match target.pointer(text("from")).cloned() {
                Some(value) => add(target, path, value),
                None => false,
            },
            "test" => target.pointer(path) == Some(&value()?),
            _ => return Err(failed("there is no such operation")),
        };
        if !is_done {
            return Err(failed("what is there does not fit"));
        }
    }
    Ok(())
}

/// The parent of a pointer, and the last name.
fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((target.pointer_mut(parent)?, name.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> bool {
    if path.is_empty() {
        *target = value;
        return true;
    }
    match parent(target, path) {
        Some((Value::Object(map), name)) => {
            map.insert(name, value);
            true
        }
        Some((Value::Array(items), name)) => {
            let at = if name == "-" { Some(items.len()) } else { name.parse().ok() };
            let at = at.filter(|at| *at <= items.len());
            at.map(|at| items.insert(at, value)).is_some()
        }
        _ => false,
    }
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    match parent(target, path)? {
        (Value::Object(map), name) => map.remove(&name),
        (Value::Array(items), name) => {
            let at = name.parse().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

/// The object that a strategic merge patch makes of this one.
pub(super) fn strategic(target: &Value, patch: &Value) -> Value {
    merge_maps(target, patch, Place::root(None))
}

fn merge_maps(target: &Value, patch: &Value, place: Place<'_>) -> Value {
    let Some(patch) = patch.as_object() else { return patch.clone() };
    let none = Map::new();
    let mut merged = match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => none,
        Some("delete") => return Value::Null,
        _ => target.as_object().cloned().unwrap_or_default(),
    };
    if let Some(retained) = patch.get("$retainKeys").and_then(Value::as_array) {
        merged.retain(|name, _| retained.iter().any(|retained| retained == name));
    }
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().cloned().unwrap_or_default();
            if let Some(items) = merged.get_mut(name).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if name.starts_with('$') {
            // An order is for the end, the others were for the beginning.
        } else if value.is_null() {
            merged.remove(name);
        } else {
            let before = merged.get(name).unwrap_or(&Value::Null);
            let inner = place.field(name);
            let value = match value {
                Value::Object(_) => merge_maps(before, value, inner),
                Value::Array(items) => merge_lists(before, items, inner),
                _ => value.clone(),
            };
            merged.insert(name.clone(), value);
        }
    }
    for (name, order) in patch {
        let Some(name) = name.strip_prefix("$setElementOrder/") else { continue };
        if let (Some(Value::Array(items)), Some(order)) = (merged.get_mut(name), order.as_array()) {
            sort(items, order, merge_key(place.field(name)).as_deref());
        }
    }
    Value::Object(merged)
}

/// Strategic merge tells items apart by one field.
fn merge_key(place: Place<'_>) -> Option<String> {
    match place.list_type() {
        ListType::Map(keys) => keys.into_iter().next(),
        ListType::Atomic | ListType::Set => None,
    }
}

fn merge_lists(before: &Value, patch: &[Value], place: Place<'_>) -> Value {
    let is_replaced =
        patch.iter().any(|item| item.get("$patch").is_some_and(|directive| directive == "replace"));
    let without_directive = || patch.iter().filter(|item| item.get("$patch").is_none()).cloned().collect();
    if is_replaced {
        return without_directive();
    }
    let mut merged = before.as_array().cloned().unwrap_or_default();
    match (place.list_type(), merge_key(place)) {
        (ListType::Set, _) => {
            let new: Vec<Value> = patch.iter().filter(|item| !merged.contains(item)).cloned().collect();
            merged.extend(new);
        }
        (ListType::Map(_), Some(key)) => {
            for item in patch {
                let at = merged.iter().position(|live| live.get(&key) == item.get(&key));
                let is_deleted = item.get("$patch").is_some_and(|directive| directive == "delete");
                match (at, is_deleted) {
                    (Some(at), true) => drop(merged.remove(at)),
                    (None, true) => {}
                    (Some(at), false) => merged[at] = merge_maps(&merged[at], item, place.item()),
                    (None, false) => merged.push(merge_maps(&Value::Null, item, place.item())),
                }
            }
        }
        _ => return Value::Array(patch.to_vec()),
    }
    Value::Array(merged)
}

/// Items that the order does not name keep their place behind those that it does.
fn sort(items: &mut [Value], order: &[Value], key: Option<&str>) {
    let place = |item: &Value| {
        let position = order.iter().position(|named| match key {
            Some(key) => named.get(key) == item.get(key),
            None => named == item,
        });
        position.unwrap_or(order.len())
    };
    items.sort_by_key(place);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_strategic_patch_merges_deletes_and_orders_items() {
        let live = json!({ "spec": { "containers": [{ "name": "a", "image": "1" }, { "name": "b" }, { "name": "c" }] } });
        let patch = json!({ "spec": {
            "$setElementOrder/containers": [{ "name": "d" }, { "name": "a" }, { "name": "c" }],
            "containers": [{ "name": "d" }, { "name": "a", "command": ["x"] }, { "name": "b", "$patch": "delete" }],
        } });
        let expected = json!({ "spec": { "containers": [
            { "name": "d" }, { "name": "a", "image": "1", "command": ["x"] }, { "name": "c" },
        ] } });
        assert_eq!(strategic(&live, &patch), expected);
    }

    #[test]
    fn a_strategic_patch_retains_replaces_and_removes_fields() {
        let live =
            json!({ "strategy": { "rollingUpdate": { "a": 1 }, "type": "x" }, "gone": 1, "map": { "a": 1 } });
        let patch = json!({
            "strategy": { "$retainKeys": ["type"], "type": "Recreate" }, "gone": null,
            "map": { "$patch": "replace", "b": 2 },
        });
        assert_eq!(
            strategic(&live, &patch),
            json!({ "strategy": { "type": "Recreate" }, "map": { "b": 2 } })
        );
        let finalizers = json!({ "metadata": { "finalizers": ["a", "b"] } });
        let patch =
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"] } });
        assert_eq!(strategic(&finalizers, &patch), json!({ "metadata": { "finalizers": ["b", "c"] } }));
    }

    #[test]
    fn a_json_patch_is_refused_when_its_test_fails() {
        let mut object = json!({ "a": { "b/c": [1, 2] } });
        json(&mut object, &json!([{ "op": "add", "path": "/a/b~1c/-", "value": 3 }])).unwrap();
        json(&mut object, &json!([{ "op": "move", "from": "/a/b~1c/0", "path": "/d" }])).unwrap();
        assert_eq!(object, json!({ "a": { "b/c": [2, 3] }, "d": 1 }));
        assert!(json(&mut object, &json!([{ "op": "test", "path": "/d", "value": 2 }])).is_err());
        assert!(json(&mut object, &json!([{ "op": "remove", "path": "/e" }])).is_err());
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_takes_null_for_removal() {
        let mut object = json!({ "a": [1, 2], "b": { "c": 1, "d": 2 } });
        merge(&mut object, &json!({ "a": [3], "b": { "c": null }, "e": { "f": 1 } }));
        assert_eq!(object, json!({ "a": [3], "b": { "d": 2 }, "e": { "f": 1 } }));
    }
}
