//! Server-side apply, and who owns what after any other change (`metadata.managedFields`).

use serde_json::{Map, Value, json};

use super::fields::{FieldSet, ListType, Place, key_of};
use super::refusal::{Answer, Cause, Refusal};

/// Who makes a change, and how.
#[derive(Clone, Debug)]
pub(super) struct Manager {
    pub(super) name: String,
    /// Of the type that was sent.
    pub(super) api_version: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
    pub(super) time: String,
}

/// What one manager owns by one kind of operation.
struct Entry {
    about: Map<String, Value>,
    fields: FieldSet,
}

impl Entry {
    fn is_of(&self, manager: &Manager, operation: &str) -> bool {
        let text = |name: &str| self.about.get(name).and_then(Value::as_str).unwrap_or_default();
        text("manager") == manager.name
            && text("operation") == operation
            && text("subresource") == manager.subresource
    }

    fn new(manager: &Manager, operation: &str, fields: FieldSet) -> Self {
        let mut about = Map::new();
        about.insert("manager".into(), json!(manager.name));
        about.insert("operation".into(), json!(operation));
        about.insert("apiVersion".into(), json!(manager.api_version));
        about.insert("time".into(), json!(manager.time));
        about.insert("fieldsType".into(), json!("FieldsV1"));
        if !manager.subresource.is_empty() {
            about.insert("subresource".into(), json!(manager.subresource));
        }
        Self { about, fields }
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let entries = entries.filter_map(|entry| {
        let mut about = entry.as_object()?.clone();
        let fields = about.remove("fieldsV1").unwrap_or_default();
        // One entry without a manager is how a client asks to forget all of them.
        about.contains_key("manager").then(|| Entry { fields: FieldSet::parse(&fields), about })
    });
    entries.collect()
}

fn keep(object: &mut Value, entries: Vec<Entry>) {
    let entries = entries.into_iter().filter(|entry| !entry.fields.is_empty()).map(|mut entry| {
        entry.about.insert("fieldsV1".into(), entry.fields.json());
        Value::Object(entry.about)
    });
    object["metadata"]["managedFields"] = entries.collect();
}

/// The object without what nobody owns.
fn ownable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            const OF_THE_SERVER: [&str; 11] = [
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
                "managedFields",
                "selfLink",
                "generateName",
            ];
            metadata.retain(|name, _| !OF_THE_SERVER.contains(&name.as_str()));
            if metadata.is_empty() {
                map.remove("metadata");
            }
        }
    }
    object
}

/// Notes who has changed what between two states of an object; `before` is null for a new one.
pub(super) fn track(before: &Value, after: &mut Value, schema: Option<&Value>, manager: &Manager) {
    let place = Place::root(schema);
    let (old, new) = (ownable(before), ownable(after));
    let changed = FieldSet::changed(&old, &new, place);
    let present = FieldSet::of(&new, place);
    let gone = changed.without(&present);
    let set = changed.without(&gone);
    let mut all = entries(after);
    for entry in &mut all {
        let is_own = entry.is_of(manager, "Update");
        entry.fields = entry.fields.without(if is_own { &gone } else { &changed });
    }
    if !set.is_empty() {
        match all.iter_mut().find(|entry| entry.is_of(manager, "Update")) {
            Some(entry) => {
                entry.fields.add(&set);
                entry.about.insert("time".into(), json!(manager.time));
                entry.about.insert("apiVersion".into(), json!(manager.api_version));
            }
            None => all.push(Entry::new(manager, "Update", set)),
        }
    }
    keep(after, all);
}

/// The object that comes of applying a configuration to a live one, which is null when there is none.
pub(super) fn apply(
    live: &Value,
    configuration: &Value,
    schema: Option<&Value>,
    manager: &Manager,
    is_forced: bool,
) -> Answer<Value> {
    if configuration["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let place = Place::root(schema);
    let applied = FieldSet::of(&ownable(configuration), place);
    let mut merged = if live.is_null() { configuration.clone() } else { merge(live, configuration, place) };
    let mut all = entries(live);
    let changed = FieldSet::changed(&ownable(live), &ownable(&merged), place);
    let contested = changed.common(&applied);
    let taken_over = last_applied(live, manager, place);
    let mut causes = Vec::new();
    for entry in all.iter_mut().filter(|entry| !entry.is_of(manager, "Apply")) {
        let conflict = entry.fields.common(&contested);
        if is_forced || conflict.without(&taken_over).is_empty() {
            entry.fields = entry.fields.without(&conflict);
            continue;
        }
        let name = entry.about.get("manager").and_then(Value::as_str).unwrap_or_default();
        let is_update = entry.about.get("operation").is_some_and(|operation| operation == "Update");
        let version = entry.about.get("apiVersion").and_then(Value::as_str).filter(|_| is_update);
        causes.extend(conflict.paths().into_iter().map(|path| Cause::conflict(name, version, path)));
    }
    if !causes.is_empty() {
        return Err(Refusal::owned(&causes));
    }
    let mut given_up = FieldSet::default();
    if let Some(own) = all.iter().find(|entry| entry.is_of(manager, "Apply")) {
        given_up = own.fields.without(&applied);
    }
    for other in all.iter().filter(|entry| !entry.is_of(manager, "Apply")) {
        given_up = given_up.without(&other.fields);
    }
    given_up.remove_from(&mut merged, place);
    all.retain(|entry| !entry.is_of(manager, "Apply"));
    all.push(Entry::new(manager, "Apply", applied));
    keep(&mut merged, all);
    Ok(merged)
}

/// The fields that `kubectl` has applied from its side: they are its own when it turns to the server's.
fn last_applied(live: &Value, manager: &Manager, place: Place<'_>) -> FieldSet {
    let text = live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    let configuration = text.filter(|_| manager.name == "kubectl");
    let configuration = configuration.and_then(|text| serde_json::from_str::<Value>(text).ok());
    configuration.map(|configuration| FieldSet::of(&ownable(&configuration), place)).unwrap_or_default()
}

/// What applying the same again leaves alone: the time of an entry whose fields are the same.
pub(super) fn keep_times(before: &Value, after: &mut Value) {
    let old = before["metadata"]["managedFields"].as_array();
    let Some(old) = old else { return };
    let Some(new) = after["metadata"]["managedFields"].as_array_mut() else { return };
    for entry in new {
        let mut as_before = entry.clone();
        let same = old.iter().find(|old| {
            as_before["time"] = old["time"].clone();
            **old == as_before
        });
        if let Some(same) = same {
            *entry = same.clone();
        }
    }
}

fn merge(live: &Value, configuration: &Value, place: Place<'_>) -> Value {
    match (live, configuration) {
        (Value::Object(live), Value::Object(configuration)) if !place.is_atomic_map() => {
            let mut merged = live.clone();
            for (name, value) in configuration {
                let value = match live.get(name) {
                    Some(live) => merge(live, value, place.field(name)),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(configuration)) => match place.list_type() {
            ListType::Atomic => Value::Array(configuration.clone()),
            ListType::Set => {
                let new = configuration.iter().filter(|item| !live.contains(item));
                live.iter().chain(new).cloned().collect()
            }
            ListType::Map(keys) => merge_items(live, configuration, &keys, place),
        },
        _ => configuration.clone(),
    }
}

/// In the order of the configuration; what it does not speak of comes behind.
fn merge_items(live: &[Value], configuration: &[Value], keys: &[String], place: Place<'_>) -> Value {
    let named: Vec<Option<Value>> = configuration.iter().map(|item| key_of(item, keys)).collect();
    let spoken_of = configuration.iter().zip(&named).map(|(item, key)| {
        let before = live.iter().find(|live| key.is_some() && key_of(live, keys) == *key);
        before.map_or_else(|| item.clone(), |before| merge(before, item, place.item()))
    });
    let others = live.iter().filter(|item| !named.contains(&key_of(item, keys))).cloned();
    spoken_of.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str) -> Manager {
        Manager {
            name: name.into(),
            api_version: "apps/v1".into(),
            subresource: String::new(),
            time: "2026-01-01T00:00:00Z".into(),
        }
    }

    fn pod(containers: Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" }, "spec": { "containers": containers } })
    }

    #[test]
    fn what_a_manager_applies_no_more_goes_unless_another_owns_it() {
        let first = json!({ "metadata": { "labels": { "a": "1", "b": "2", "c": "3" } } });
        let live = apply(&Value::Null, &first, None, &manager("one"), false).unwrap();
        let shared = json!({ "metadata": { "labels": { "b": "2" } } });
        let live = apply(&live, &shared, None, &manager("two"), false).unwrap();
        let less = json!({ "metadata": { "labels": { "a": "1" } } });
        let live = apply(&live, &less, None, &manager("one"), false).unwrap();
        assert_eq!(live["metadata"]["labels"], json!({ "a": "1", "b": "2" }));
    }

    #[test]
    fn a_field_of_another_manager_is_a_conflict_unless_it_is_forced() {
        let live =
            apply(&Value::Null, &json!({ "spec": { "replicas": 1 } }), None, &manager("one"), false).unwrap();
        let wanted = json!({ "spec": { "replicas": 2 } });
        let refusal = apply(&live, &wanted, None, &manager("two"), false).unwrap_err();
        assert_eq!(refusal.message, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
        let live = apply(&live, &wanted, None, &manager("two"), true).unwrap();
        assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 1, "the first owns nothing");
        // The same value is no conflict: both own it.
        let live = apply(&live, &wanted, None, &manager("one"), false).unwrap();
        assert_eq!(live["metadata"]["managedFields"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn containers_are_told_apart_by_name_and_ports_by_number_and_protocol() {
        let applied = pod(json!([{ "name": "x", "image": "1", "ports": [{ "containerPort": 1 }] }]));
        let mut live = apply(&Value::Null, &applied, None, &manager("one"), false).unwrap();
        let before = live.clone();
        live["spec"]["containers"][0]["ports"][0]["protocol"] = json!("TCP");
        let sidecar = json!({ "name": "side", "image": "2" });
        live["spec"]["containers"].as_array_mut().unwrap().insert(0, sidecar);
        track(&before, &mut live, None, &manager("injector"));
        let next =
            pod(json!([{ "name": "x", "image": "3", "ports": [{ "containerPort": 1, "name": "p" }] }]));
        let live = apply(&live, &next, None, &manager("one"), false).unwrap();
        let ports = json!([{ "containerPort": 1, "protocol": "TCP", "name": "p" }]);
        let expected =
            json!([{ "name": "x", "image": "3", "ports": ports }, { "name": "side", "image": "2" }]);
        assert_eq!(live["spec"]["containers"], expected);
        let none = pod(json!([]));
        let live = apply(&live, &none, None, &manager("injector"), true).unwrap();
        assert_eq!(live["spec"]["containers"].as_array().unwrap().len(), 2, "an Apply is not an Update");
    }

    #[test]
    fn an_update_takes_over_what_it_changes() {
        let live =
            apply(&Value::Null, &json!({ "spec": { "replicas": 1, "x": 1 } }), None, &manager("one"), false);
        let live = live.unwrap();
        let mut scaled = live.clone();
        scaled["spec"]["replicas"] = json!(5);
        track(&live, &mut scaled, None, &manager("scaler"));
        let refusal =
            apply(&scaled, &json!({ "spec": { "replicas": 1, "x": 2 } }), None, &manager("one"), false);
        assert!(refusal.unwrap_err().message.contains("conflict with \"scaler\""));
        let live = apply(&scaled, &json!({ "spec": { "x": 2 } }), None, &manager("one"), false).unwrap();
        assert_eq!(live["spec"], json!({ "replicas": 5, "x": 2 }));
    }
}
