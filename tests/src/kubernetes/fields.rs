//! Which fields of an object there are and who owns them: sets of paths, in the form in which
//! `metadata.managedFields` has them (`fieldsV1`), and what makes a list more than one value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What the items of a list are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListType {
    /// The list is one value.
    Atomic,
    /// Values, each once.
    Set,
    /// Objects that are told apart by these fields.
    Map(Vec<String>),
}

/// Where in an object a value is, as far as that says how it is merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    parent: &'a str,
    field: &'a str,
    schema: Option<&'a Value>,
    is_custom: bool,
}

impl<'a> Place<'a> {
    /// The root of an object; with a schema when it is defined by one.
    pub(super) fn root(schema: Option<&'a Value>) -> Self {
        Self { parent: "", field: "", schema, is_custom: schema.is_some() }
    }

    pub(super) fn field(self, name: &'a str) -> Self {
        // Metadata is the same in every object.
        let is_metadata = self.field.is_empty() && name == "metadata";
        let properties = |schema: &'a Value| {
            schema
                .get("properties")
                .and_then(|all| all.get(name))
                .or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
        };
        Self {
            parent: self.field,
            field: name,
            schema: self.schema.and_then(properties),
            is_custom: self.is_custom && !is_metadata,
        }
    }

    /// An item of the list that is here.
    pub(super) fn item(self) -> Self {
        Self { schema: self.schema.and_then(|schema| schema.get("items")), ..self }
    }

    pub(super) fn list_type(self) -> ListType {
        if !self.is_custom {
            return built_in_list(self.parent, self.field);
        }
        let Some(schema) = self.schema else { return ListType::Atomic };
        match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListType::Set,
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                ListType::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => ListType::Atomic,
        }
    }

    pub(super) fn is_atomic_map(self) -> bool {
        const ATOMIC: [&str; 10] = [
            "selector",
            "labelSelector",
            "namespaceSelector",
            "podSelector",
            "nodeSelector",
            "configMapKeyRef",
            "secretKeyRef",
            "fieldRef",
            "resourceFieldRef",
            "roleRef",
        ];
        if self.is_custom {
            return self.schema.is_some_and(|schema| schema["x-kubernetes-map-type"] == "atomic");
        }
        ATOMIC.contains(&self.field)
    }
}

/// The lists of built-in kinds that are more than one value.
fn built_in_list(parent: &str, field: &str) -> ListType {
    let map = |keys: &[&str]| ListType::Map(keys.iter().map(|&key| key.to_owned()).collect());
    match (parent, field) {
        ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
            map(&["containerPort", "protocol"])
        }
        ("spec", "ports") => map(&["port", "protocol"]),
        (_, "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes") => map(&["name"]),
        (_, "imagePullSecrets" | "secrets") => map(&["name"]),
        (_, "volumeMounts") => map(&["mountPath"]),
        (_, "volumeDevices") => map(&["devicePath"]),
        ("status", "conditions") => map(&["type"]),
        (_, "topologySpreadConstraints") => map(&["topologyKey", "whenUnsatisfiable"]),
        (_, "hostAliases") => map(&["ip"]),
        (_, "ownerReferences") => map(&["uid"]),
        ("metadata", "finalizers") => ListType::Set,
        _ => ListType::Atomic,
    }
}

/// What tells an item from the others of its list.
pub(super) fn key_of(item: &Value, keys: &[String]) -> Option<Value> {
    let mut key = Map::new();
    for name in keys {
        let value = match item.get(name) {
            Some(value) => value.clone(),
            // Defaulted by the server, and part of a key.
            None if name == "protocol" => json!("TCP"),
            None => return None,
        };
        key.insert(name.clone(), value);
    }
    Some(Value::Object(key))
}

/// A set of fields, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    is_member: bool,
    /// By what `fieldsV1` calls them: `f:spec`, `k:{"name":"a"}`, `v:"a"`.
    children: BTreeMap<String, Self>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self { is_member: true, children: BTreeMap::new() }
    }

    /// Every field of a value.
    pub(super) fn of(value: &Value, place: Place<'_>) -> Self {
        let children: BTreeMap<String, Self> = match value {
            Value::Object(map) if !place.is_atomic_map() => {
                map.iter().map(|(name, value)| (field(name), Self::of(value, place.field(name)))).collect()
            }
            Value::Array(items) => match place.list_type() {
                ListType::Atomic => return Self::leaf(),
                ListType::Set => items.iter().map(|item| (format!("v:{item}"), Self::leaf())).collect(),
                ListType::Map(keys) => {
                    let known = items.iter().filter_map(|item| Some((key_of(item, &keys)?, item)));
                    let set = known.map(|(key, item)| {
                        (format!("k:{key}"), Self { is_member: true, ..Self::of(item, place.item()) })
                    });
                    set.collect()
                }
            },
            _ => return Self::leaf(),
        };
        if children.is_empty() { Self::leaf() } else { Self { is_member: false, children } }
    }

    /// The fields in which two values differ, those that only one of them has included.
    pub(super) fn changed(before: &Value, after: &Value, place: Place<'_>) -> Self {
        if before == after {
            return Self::default();
        }
        match (before, after) {
            (Value::Null, other) | (other, Value::Null) => Self::of(other, place),
            (Value::Object(before), Value::Object(after)) if !place.is_atomic_map() => {
                let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
                let children = names.map(|name| {
                    let (before, after) = (before.get(name), after.get(name));
                    let (before, after) = (before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null));
                    (field(name), Self::changed(before, after, place.field(name)))
                });
                Self { is_member: false, children: children.filter(|(_, set)| !set.is_empty()).collect() }
            }
            (Value::Array(old), Value::Array(new)) => match place.list_type() {
                ListType::Atomic => Self::leaf(),
                ListType::Set => {
                    let (before, after) = (Self::of(before, place), Self::of(after, place));
                    let mut changed = before.without(&after);
                    changed.add(&after.without(&before));
                    changed
                }
                ListType::Map(keys) => Self::changed_items(old, new, &keys, place),
            },
            _ => {
                let mut changed = Self::of(before, place);
                changed.add(&Self::of(after, place));
                changed
            }
        }
    }

    fn changed_items(old: &[Value], new: &[Value], keys: &[String], place: Place<'_>) -> Self {
        let find = |items: &[Value], key: &Value| {
            items.iter().find(|item| key_of(item, keys).as_ref() == Some(key)).cloned()
        };
        let mut children = BTreeMap::new();
        for key in old.iter().chain(new).filter_map(|item| key_of(item, keys)) {
            let (before, after) = (find(old, &key), find(new, &key));
            let is_one_sided = before.is_none() || after.is_none();
            let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
            let mut set = Self::changed(&before, &after, place.item());
            set.is_member |= is_one_sided;
            if !set.is_empty() {
                children.insert(format!("k:{key}"), set);
            }
        }
        Self { is_member: false, children }
    }

    pub(super) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (name, value) in fields.as_object().into_iter().flatten() {
            if name == "." {
                set.is_member = true;
                continue;
            }
            let mut child = Self::parse(value);
            child.is_member |= child.children.is_empty();
            set.children.insert(name.clone(), child);
        }
        set
    }

    pub(super) fn json(&self) -> Value {
        let mut map = Map::new();
        if self.is_member && !self.children.is_empty() {
            map.insert(".".into(), json!({}));
        }
        map.extend(self.children.iter().map(|(name, child)| (name.clone(), child.json())));
        Value::Object(map)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_member && self.children.is_empty()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.is_member |= other.is_member;
        for (name, child) in &other.children {
            self.children.entry(name.clone()).or_default().add(child);
        }
    }

    #[must_use]
    pub(super) fn without(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(name, child)| {
            let rest = other.children.get(name).map_or_else(|| child.clone(), |other| child.without(other));
            (!rest.is_empty()).then(|| (name.clone(), rest))
        });
        Self { is_member: self.is_member && !other.is_member, children: children.collect() }
    }

    #[must_use]
    pub(super) fn common(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(name, child)| {
            let both = child.common(other.children.get(name)?);
            (!both.is_empty()).then(|| (name.clone(), both))
        });
        Self { is_member: self.is_member && other.is_member, children: children.collect() }
    }

    /// The paths, as conflicts show them: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: String, paths: &mut Vec<String>) {
        for (name, child) in &self.children {
            child.collect(format!("{path}{}", shown(name)), paths);
        }
        if self.is_member {
            paths.push(path);
        }
    }

    /// Takes the fields of this set out of a value; what it leaves empty goes, too.
    pub(super) fn remove_from(&self, value: &mut Value, place: Place<'_>) {
        match value {
            Value::Object(map) => {
                for (name, child) in &self.children {
                    let Some(name) = name.strip_prefix("f:") else { continue };
                    let Some(inner) = map.get_mut(name) else { continue };
                    let was_full = !is_hollow(inner);
                    if child.children.is_empty() && child.is_member {
                        map.remove(name);
                        continue;
                    }
                    child.remove_from(inner, place.field(name));
                    if was_full && is_hollow(inner) {
                        map.remove(name);
                    }
                }
            }
            Value::Array(items) => match place.list_type() {
                ListType::Atomic => {}
                ListType::Set => items.retain(|item| !self.children.contains_key(&format!("v:{item}"))),
                ListType::Map(keys) => items.retain_mut(|item| {
                    let key = key_of(item, &keys).map(|key| format!("k:{key}"));
                    let Some(child) = key.and_then(|key| self.children.get(&key)) else { return true };
                    if !child.is_member {
                        child.remove_from(item, place.item());
                    }
                    !child.is_member
                }),
            },
            _ => {}
        }
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn field(name: &str) -> String {
    format!("f:{name}")
}

fn shown(name: &str) -> String {
    if let Some(field) = name.strip_prefix("f:") {
        return format!(".{field}");
    }
    let Some(key) = name.strip_prefix("k:") else { return format!("[={}]", name.trim_start_matches("v:")) };
    let key: Value = serde_json::from_str(key).unwrap_or_default();
    let pairs = key.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
    format!("[{}]", pairs.collect::<Vec<_>>().join(","))
}
