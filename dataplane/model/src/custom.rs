//! Addresses, spaces, profiles, users, roles, connectors and fleets themselves as objects of a Kubernetes cluster: their definitions,
//! made from the same types as everything else, and the way from such an object to the document that a fleet takes.
//!
//! A cluster wants its schemas *structural*: every field says its type, nothing refers to anything else, and what
//! belongs together is said in rules of the Common Expression Language.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::connector::{CONNECTOR_KIND, Connector, ConnectorSpec};
use crate::kubernetes::{KubernetesTarget, MAX_FLEET_NAME, MAX_PODS};
use crate::manifest::{
    ADDRESS_KIND, Address, AddressSpec, AddressType, FLEET_KIND, Fleet, FleetSpec, Target,
};
use crate::schema;
use crate::space::{AddressSpace, PROFILE_KIND, Profile, SPACE_KIND};
use crate::user::{ROLE_KIND, Role, RoleSpec, USER_KIND, User, UserSpec};
use crate::validate::{fields_by_type, word};

/// The group of the objects.
pub const GROUP: &str = "mq.messaging";

/// The version of the objects.
pub const VERSION: &str = "v1";

/// The kind of fleets, with what it is called in paths.
pub const FLEETS: (&str, &str) = (FLEET_KIND, "fleets");

/// The kinds of what a fleet has, with what they are called in paths.
pub const KINDS: [(&str, &str); 6] = [
    (ADDRESS_KIND, "addresses"),
    (SPACE_KIND, "addressspaces"),
    (USER_KIND, "users"),
    (PROFILE_KIND, "profiles"),
    (ROLE_KIND, "roles"),
    (CONNECTOR_KIND, "connectors"),
];

/// Bytes of a name that an object gives what it stands for.
const MAX_NAME: u64 = 255;

/// Bytes of the name of a role, which a fleet takes.
const MAX_ROLE_NAME: u64 = 128;

/// The definitions of all kinds.
pub fn definitions() -> Vec<Value> {
    vec![
        address_definition(),
        space_definition(),
        user_definition(),
        profile_definition(),
        role_definition(),
        connector_definition(),
        fleet_definition(),
    ]
}

/// The address that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn address(object: &Value) -> Result<Address, String> {
    let (name, space, spec) = parts::<AddressSpec>(object, "address", &[])?;
    let mut address = Address::new(name, spec);
    address.metadata.space = space;
    address.validate().map_err(|invalid| invalid.to_string())?;
    Ok(address)
}

/// The user that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn user(object: &Value) -> Result<User, String> {
    let (name, space, spec) = parts::<UserSpec>(object, "user", &["passwordSecret"])?;
    let mut user = User::new(name, spec);
    user.metadata.space = space;
    user.validate().map_err(|invalid| invalid.to_string())?;
    Ok(user)
}

/// The address space that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn space(object: &Value) -> Result<AddressSpace, String> {
    let (name, spec) = whole(object)?;
    let space = AddressSpace::new(name, spec);
    space.validate().map_err(|invalid| invalid.to_string())?;
    Ok(space)
}

/// The profile that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn profile(object: &Value) -> Result<Profile, String> {
    let (name, spec) = whole(object)?;
    let profile = Profile::new(name, spec);
    profile.validate().map_err(|invalid| invalid.to_string())?;
    Ok(profile)
}

/// The role that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn role(object: &Value) -> Result<Role, String> {
    let (name, space, spec) = parts::<RoleSpec>(object, "role", &[])?;
    let mut role = Role::new(name, spec);
    role.metadata.space = space;
    role.validate().map_err(|invalid| invalid.to_string())?;
    Ok(role)
}

/// The connector that an object stands for.
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn connector(object: &Value) -> Result<Connector, String> {
    let (name, space, spec) = parts::<ConnectorSpec>(object, "connector", &["credentialsSecret"])?;
    let mut connector = Connector::new(name, spec);
    connector.metadata.space = space;
    connector.validate().map_err(|invalid| invalid.to_string())?;
    Ok(connector)
}

/// The name of what one of these objects of [`KINDS`] stands for, and its space, whatever else it says; `None`: it has none.
pub fn named<'a>(plural: &str, object: &'a Value) -> Option<(&'a str, Option<&'a str>)> {
    let spec = &object["spec"];
    let own = match plural {
        "addresses" => &spec["address"],
        "users" => &spec["user"],
        "roles" => &spec["role"],
        "connectors" => &spec["connector"],
        _ => return Some((object["metadata"]["name"].as_str()?, None)),
    };
    Some((own.as_str().or_else(|| object["metadata"]["name"].as_str())?, spec["space"].as_str()))
}

/// Whether a fleet would take one of these objects of [`KINDS`].
///
/// # Errors
///
/// A sentence that says what is wrong with the object.
pub fn check(plural: &str, object: &Value) -> Result<(), String> {
    match plural {
        "addresses" => address(object).map(drop),
        "addressspaces" => space(object).map(drop),
        "users" => user(object).map(drop),
        "profiles" => profile(object).map(drop),
        "roles" => role(object).map(drop),
        "connectors" => connector(object).map(drop),
        _ => Err(format!("a fleet has no {plural}")),
    }
}

/// The fleet that an object stands for, in the namespace of the object.
///
/// # Errors
///
/// A sentence that says what is wrong with the object: the nodes are to be elsewhere, or what the documents of fleets
/// would be refused for.
pub fn fleet(object: &Value) -> Result<Fleet, String> {
    let (name, mut spec) = whole::<FleetSpec>(object)?;
    let namespace = object["metadata"]["namespace"].as_str().ok_or("the object has no namespace")?;
    let mut target = match spec.target {
        // Where nothing is said, there is one place.
        Target::Local => KubernetesTarget::default(),
        Target::Kubernetes(target) => *target,
        Target::Ssh(_) => return Err("spec.target: the nodes of the object are in its namespace".into()),
    };
    if target.context.is_some() || target.namespace.as_ref().is_some_and(|there| there != namespace) {
        let message = "spec.target.kubernetes: the nodes of the object are in its own namespace; leave `context` and \
                       `namespace` out";
        return Err(message.into());
    }
    target.namespace = Some(namespace.to_owned());
    spec.target = Target::Kubernetes(Box::new(target));
    let fleet = Fleet::new(name, spec);
    fleet.validate().map_err(|invalid| invalid.to_string())?;
    Ok(fleet)
}

/// Name and specification of an object whose fields are all the fleet's.
fn whole<T: DeserializeOwned>(object: &Value) -> Result<(&str, T), String> {
    let name = object["metadata"]["name"].as_str().ok_or("the object has no name")?;
    let spec = object["spec"].as_object().cloned().unwrap_or_default();
    let spec = serde_json::from_value(spec.into()).map_err(|error| format!("spec: {error}"))?;
    Ok((name, spec))
}

/// Name, space and specification. `named` is the field that says the name where that of the object cannot be it; `others`
/// are fields that the fleet has nothing to do with.
fn parts<T: DeserializeOwned>(
    object: &Value,
    named: &str,
    others: &[&str],
) -> Result<(String, Option<String>, T), String> {
    let own = object["metadata"]["name"].as_str().ok_or("the object has no name")?;
    let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
    let name = match spec.shift_remove(named) {
        Some(Value::String(name)) => name,
        None => own.to_owned(),
        Some(_) => return Err(format!("spec.{named} is not text")),
    };
    let space = match spec.shift_remove("space") {
        Some(Value::String(space)) => Some(space),
        None => None,
        Some(_) => return Err("spec.space is not text".into()),
    };
    for other in others {
        spec.shift_remove(*other);
    }
    let spec = serde_json::from_value(spec.into()).map_err(|error| format!("spec: {error}"))?;
    Ok((name, space, spec))
}

fn address_definition() -> Value {
    let mut spec = structural_spec::<Address>();
    add(
        &mut spec,
        "address",
        json!({
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "description": "The name of the address, where that of the object cannot be it: what clients send to and \
                            receive from. It does not change. Default: the name of the object.",
        }),
    );
    let mut rules = rules_of_types(&spec);
    for (lower, upper) in [("minMs", "maxMs"), ("minMs", "defaultMs"), ("defaultMs", "maxMs")] {
        let (least, most) = (format!("self.ttl.{lower}"), format!("self.ttl.{upper}"));
        rules.push(rule(
            &format!("!has(self.ttl) || !has({least}) || !has({most}) || {least} <= {most}"),
            &format!("ttl.{lower} is more than ttl.{upper}"),
        ));
    }
    add(&mut spec, "space", space_field());
    rules.extend([fixed("address"), fixed("space")]);
    constrain(&mut spec, rules);
    let status = json!({
        "messages": { "type": "integer", "format": "int64", "description": "Messages that are stored." },
        "bytes": { "type": "integer", "format": "int64", "description": "Bytes of the messages that are stored." },
        "consumers": { "type": "integer", "format": "int64", "description": "Consumers in the whole fleet." },
        "producers": { "type": "integer", "format": "int64", "description": "Producers in the whole fleet." },
        "home": { "type": "string", "description": "The node that holds the messages." },
    });
    let columns = [
        ("Type", "string", ".spec.type"),
        ("Messages", "integer", ".status.messages"),
        ("Consumers", "integer", ".status.consumers"),
    ];
    definition(ADDRESS_KIND, "addresses", "mqaddr", spec, true, status, &columns)
}

fn space_definition() -> Value {
    let status = json!({
        "addresses": { "type": "integer", "format": "int64", "description": "Addresses of the space." },
        "users": { "type": "integer", "format": "int64", "description": "Users of the space." },
    });
    let columns = [("Addresses", "integer", ".status.addresses"), ("Users", "integer", ".status.users")];
    let spec = structural_spec::<AddressSpace>();
    definition(SPACE_KIND, "addressspaces", "mqspace", spec, false, status, &columns)
}

fn profile_definition() -> Value {
    let status = json!({
        "spaces": { "type": "integer", "format": "int64", "description": "Spaces that have the profile." },
    });
    let columns = [("Spaces", "integer", ".status.spaces")];
    let spec = structural_spec::<Profile>();
    definition(PROFILE_KIND, "profiles", "mqprofile", spec, false, status, &columns)
}

fn role_definition() -> Value {
    let mut spec = structural_spec::<Role>();
    add(&mut spec, "role", name_field("role", MAX_ROLE_NAME));
    add(&mut spec, "space", space_field());
    constrain(&mut spec, vec![fixed("role"), fixed("space")]);
    let status = json!({
        "users": { "type": "integer", "format": "int64", "description": "Users that have the role." },
    });
    let columns = [("Users", "integer", ".status.users")];
    definition(ROLE_KIND, "roles", "mqrole", spec, false, status, &columns)
}

fn connector_definition() -> Value {
    let mut spec = structural_spec::<Connector>();
    add(&mut spec, "connector", name_field("connector", 63));
    add(
        &mut spec,
        "credentialsSecret",
        json!({
            "type": "object",
            "description": "The Secret that holds the password under `password`, and the private key of the certificate \
                            under `tls.key`: what the connector needs of them has to be there. Default: what is set by \
                            another way.",
            "required": ["name"],
            "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 253 } },
        }),
    );
    add(&mut spec, "space", space_field());
    constrain(
        &mut spec,
        vec![
            fixed("connector"),
            fixed("space"),
            rule(
                "has(self.receive) || has(self.send)",
                "the connector carries nothing: add a route to receive or send",
            ),
        ],
    );
    let status = json!({
        "state": { "type": "string", "description": "`paused`, `connecting` or `connected`." },
        "node": { "type": "string", "description": "The node that has the connection, or tries to have it." },
        "url": { "type": "string", "description": "The server that it is connected to, or has tried last." },
        "attachedRoutes": { "type": "integer", "format": "int64", "description": "Routes that messages can take." },
        "credentialsVersion": {
            "type": "string",
            "description": "The version of the Secret whose credentials the connector has.",
        },
    });
    let columns = [
        ("State", "string", ".status.state"),
        ("Node", "string", ".status.node"),
        ("Routes", "integer", ".status.attachedRoutes"),
    ];
    definition(CONNECTOR_KIND, "connectors", "mqconn", spec, true, status, &columns)
}

/// The object is the document of a fleet but for where its nodes are: in its namespace.
fn fleet_definition() -> Value {
    let schema = schema::of::<Fleet>();
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut spec = structural(&schema["properties"]["spec"], &definitions);
    let mut target = structural(&json!({ "$ref": "#/$defs/KubernetesTarget" }), &definitions);
    if let Some(fields) = target["properties"].as_object_mut() {
        for elsewhere in ["context", "namespace"] {
            fields.shift_remove(elsewhere);
        }
    }
    constrain(
        &mut target,
        vec![rule(
            "!has(self.autoscale) || !has(self.routers) || self.routers <= self.autoscale.maxRouters",
            "routers is more than autoscale.maxRouters",
        )],
    );
    constrain(&mut target["properties"]["storage"], vec![fixed("class"), fixed("size")]);
    add(
        &mut spec,
        "target",
        json!({
            "type": "object",
            "description": "What the pods are like, which are in the namespace of the object.",
            "properties": { "kubernetes": target },
        }),
    );
    if let Some(nodes) = spec["properties"]["nodes"].as_object_mut() {
        nodes.insert("maximum".into(), MAX_PODS.into());
    }
    constrain(&mut spec, vec![fixed("dataplane")]);
    let status = json!({
        "nodes": { "type": "integer", "format": "int64", "description": "Nodes that are wanted." },
        "readyNodes": { "type": "integer", "format": "int64", "description": "Nodes that serve clients." },
        "image": { "type": "string", "description": "The image that the nodes are to run from." },
        "version": { "type": "string", "description": "The version of the daemons, when they were looked at last." },
        "authority": {
            "type": "object",
            "description": "What signs the certificates of the nodes.",
            "properties": {
                "expires": { "type": "string", "format": "date-time", "description": "Until when it is good." },
                "rotated": {
                    "type": "string",
                    "description": "The value of the annotation `mq.messaging/rotate-ca` for which it was replaced last.",
                },
            },
        },
    });
    let columns = [
        ("Nodes", "integer", ".status.nodes"),
        ("Up", "integer", ".status.readyNodes"),
        ("Version", "string", ".status.version"),
        ("Image", "string", ".status.image"),
    ];
    let (kind, plural) = FLEETS;
    let mut definition = definition(kind, plural, "mqfleet", spec, false, status, &columns);
    let named = rule(
        &format!(
            // The cluster takes small letters, digits, `-` and `.` alone, of which letters are the greatest.
            "size(self.metadata.name) <= {MAX_FLEET_NAME} && self.metadata.name >= 'a' && !self.metadata.name.contains('.')"
        ),
        &format!(
            "the name of a fleet is a part of other names: at most {MAX_FLEET_NAME} of `a` to `z`, `0` to `9` and `-`, a \
             letter first"
        ),
    );
    constrain(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], vec![named]);
    definition
}

/// The name of what an object stands for.
fn name_field(what: &str, longest: u64) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": longest,
        "description": format!(
            "The name of the {what}, where that of the object cannot be it. It does not change. Default: the name of \
             the object."
        ),
    })
}

fn space_field() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
        "description": "The address space. It does not change. Default: `default`.",
    })
}

fn user_definition() -> Value {
    let mut spec = structural_spec::<User>();
    add(&mut spec, "user", name_field("user", MAX_NAME));
    add(
        &mut spec,
        "passwordSecret",
        json!({
            "type": "object",
            "description": "The Secret that holds the password, under `password`. One that is not there is made, with a \
                            password that nobody has seen. Default: the user has no password.",
            "required": ["name"],
            "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 253 } },
        }),
    );
    add(&mut spec, "space", space_field());
    constrain(&mut spec, vec![fixed("user"), fixed("space")]);
    let status = json!({
        "passwordVersion": {
            "type": "string",
            "description": "The version of the Secret whose password the user has.",
        },
    });
    let columns = [("Disabled", "boolean", ".spec.disabled")];
    definition(USER_KIND, "users", "mquser", spec, false, status, &columns)
}

fn definition(
    kind: &str,
    plural: &str,
    short: &str,
    spec: Value,
    is_spec_required: bool,
    status: Value,
    columns: &[(&str, &str, &str)],
) -> Value {
    let condition = json!({
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": { "type": "string", "maxLength": 316 },
            "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
            "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            "lastTransitionTime": { "type": "string", "format": "date-time" },
            "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
            "message": { "type": "string", "maxLength": 32768 },
        },
    });
    let mut known = status;
    if kind != FLEET_KIND {
        let description = "What the fleet has for the object, by its name there.";
        add_field(&mut known, "name", json!({ "type": "string", "description": description }));
    }
    add_field(
        &mut known,
        "conditions",
        json!({
            "type": "array",
            "items": condition,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        }),
    );
    add_field(&mut known, "observedGeneration", json!({ "type": "integer", "format": "int64" }));
    let of_condition = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    let mut printed: Vec<Value> = columns.iter().map(|(name, kind, path)| column(name, kind, path)).collect();
    printed.push(column("Ready", "string", &of_condition("status")));
    printed.push(column("Reason", "string", &of_condition("reason")));
    printed.push(column("Age", "date", ".metadata.creationTimestamp"));
    let required = if is_spec_required { json!(["spec"]) } else { json!([]) };
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": { "app.kubernetes.io/name": "mq", "app.kubernetes.io/managed-by": "mq" },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["mq"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": printed,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "required": required,
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": spec,
                        "status": { "type": "object", "properties": known },
                    },
                } },
            }],
        },
    })
}

fn column(name: &str, kind: &str, path: &str) -> Value {
    json!({ "name": name, "type": kind, "jsonPath": path })
}

/// Which fields an address has depends on its type.
fn rules_of_types(spec: &Value) -> Vec<Value> {
    let rules = fields_by_type().into_iter().map(|(path, types)| {
        let mut conditions = Vec::new();
        let mut at = "self".to_owned();
        let mut shape = spec;
        for name in path {
            at = format!("{at}.{name}");
            conditions.push(format!("!has({at})"));
            shape = &shape["properties"][*name];
        }
        // One that is off says nothing.
        if shape["type"] == "boolean" {
            conditions.push(format!("!{at}"));
        }
        let words: Vec<String> = types.iter().map(|&kind| format!("'{}'", word(kind))).collect();
        conditions.push(format!("self.type in [{}]", words.join(", ")));
        let of: Vec<&str> = types.iter().map(|&kind: &AddressType| word(kind)).collect();
        rule(&conditions.join(" || "), &format!("{} is for {} alone", path.join("."), of.join(", ")))
    });
    rules.collect()
}

fn rule(expression: &str, message: &str) -> Value {
    json!({ "rule": expression, "message": message })
}

/// What a field says stays, or stays unsaid.
fn fixed(field: &str) -> Value {
    rule(
        &format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        ),
        &format!("{field} does not change; make another object"),
    )
}

fn constrain(schema: &mut Value, rules: Vec<Value>) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("x-kubernetes-validations".into(), rules.into());
    }
}

fn add(schema: &mut Value, name: &str, field: Value) {
    if let Some(properties) = schema.get_mut("properties") {
        add_field(properties, name, field);
    }
}

fn add_field(properties: &mut Value, name: &str, field: Value) {
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(name.into(), field);
    }
}

/// The structural schema of the field `spec` of a document.
fn structural_spec<T: schemars::JsonSchema>() -> Value {
    let schema = schema::of::<T>();
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    structural(&schema["properties"]["spec"], &definitions)
}

/// A schema without references and alternatives. Defaults are left to the fleet: a cluster would write them into the
/// objects, where a field that is said is more than one that is not.
fn structural(schema: &Value, definitions: &Map<String, Value>) -> Value {
    let empty = Map::new();
    let own = schema.as_object().unwrap_or(&empty);
    let target = own
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|name| definitions.get(name.strip_prefix("#/$defs/")?))
        .and_then(Value::as_object);
    let mut result = match target {
        // What the field says of itself counts more than what its type says.
        Some(target) => structural_object(target, definitions),
        None => structural_object(own, definitions),
    };
    if let Some(description) = own.get("description") {
        result.insert("description".into(), one_line(description));
    }
    result.into()
}

fn structural_object(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> Map<String, Value> {
    let mut result = Map::new();
    if let Some(description) = schema.get("description") {
        result.insert("description".into(), one_line(description));
    }
    if let Some(words) = words(schema) {
        result.insert("type".into(), "string".into());
        result.insert("enum".into(), words.into());
        return result;
    }
    let Some(kind) = schema.get("type").and_then(Value::as_str) else {
        result.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        return result;
    };
    result.insert("type".into(), kind.into());
    for bound in ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"] {
        if let Some(value) = schema.get(bound) {
            result.insert(bound.into(), value.clone());
        }
    }
    match kind {
        "integer" => {
            result.insert("format".into(), "int64".into());
        }
        "array" => {
            let items = schema.get("items").map(|items| structural(items, definitions));
            result.insert("items".into(), items.unwrap_or_else(|| json!({ "type": "string" })));
        }
        "object" => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                let fields =
                    properties.iter().map(|(name, field)| (name.clone(), structural(field, definitions)));
                result.insert("properties".into(), fields.collect::<Map<_, _>>().into());
                if let Some(required) = schema.get("required") {
                    result.insert("required".into(), required.clone());
                }
            } else if let Some(values) =
                schema.get("additionalProperties").filter(|values| values.is_object())
            {
                result.insert("additionalProperties".into(), structural(values, definitions));
            }
        }
        _ => {}
    }
    result
}

/// The words of a choice.
fn words(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    if let Some(word) = schema.get("const") {
        return Some(vec![word.clone()]);
    }
    if let Some(Value::Array(words)) = schema.get("enum") {
        return Some(words.clone());
    }
    let alternatives = schema.get("oneOf")?.as_array()?;
    let words: Option<Vec<Vec<Value>>> =
        alternatives.iter().map(|alternative| words_of(alternative.as_object()?)).collect();
    words.map(|words| words.into_iter().flatten().collect())
}

fn words_of(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    words(schema)
}

fn one_line(description: &Value) -> Value {
    let text = description.as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_of(definition: &Value) -> &Value {
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    }

    /// Every schema in a schema, with where it stands.
    fn each(schema: &Value, at: &str, look: &mut dyn FnMut(&str, &Value)) {
        look(at, schema);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            each(field, &format!("{at}.{name}"), look);
        }
        for part in ["items", "additionalProperties"] {
            if schema[part].is_object() {
                each(&schema[part], &format!("{at}.{part}"), look);
            }
        }
    }

    #[test]
    fn every_schema_is_structural() {
        for definition in definitions() {
            let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            each(root, "", &mut |at, schema| {
                let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
                assert!(schema["type"].is_string() || is_open, "{at} has no type: {schema}");
                for foreign in ["$ref", "oneOf", "anyOf", "allOf", "const", "default", "readOnly", "title"] {
                    assert!(schema.get(foreign).is_none(), "{at} has {foreign}");
                }
                let closed =
                    schema.get("properties").is_some() && schema.get("additionalProperties").is_some();
                assert!(!closed, "{at} has fields and others");
            });
        }
    }

    #[test]
    fn every_field_of_the_documents_is_a_field_of_the_objects() {
        let specs = [
            schema::of::<Address>(),
            schema::of::<AddressSpace>(),
            schema::of::<User>(),
            schema::of::<Profile>(),
            schema::of::<Role>(),
            schema::of::<Connector>(),
            schema::of::<Fleet>(),
        ];
        assert_eq!(definitions().len(), specs.len());
        for (definition, schema) in definitions().iter().zip(&specs) {
            let name = schema["properties"]["spec"]["$ref"].as_str().expect("a type of its own");
            let fields = schema["$defs"][name.trim_start_matches("#/$defs/")]["properties"].as_object();
            for (field, _) in fields.expect("fields") {
                assert!(spec_of(definition)["properties"].get(field).is_some(), "{field}");
            }
        }
    }

    #[test]
    fn a_rule_stands_for_every_field_that_not_every_type_has() {
        let definitions = definitions();
        let rules = spec_of(&definitions[0])["x-kubernetes-validations"].as_array().expect("rules").clone();
        let text = |part: &str| rules.iter().any(|rule| rule["rule"].as_str().expect("a rule") == part);
        assert!(text("!has(self.shards) || self.type in ['queue']"));
        assert!(text("!has(self.exclusive) || !self.exclusive || self.type in ['queue', 'subscription']"));
        assert!(text(
            "!has(self.limits) || !has(self.limits.maxBytes) || self.type in ['queue', 'topic', 'subscription']"
        ));
    }

    #[test]
    fn an_object_becomes_the_document_that_a_fleet_takes() {
        let object = json!({
            "metadata": { "name": "dead-letters" },
            "spec": { "address": "orders/dlq", "type": "queue", "limits": { "maxMessages": 5 } },
        });
        let address = address(&object).expect("an address");
        assert_eq!(address.metadata.name, "orders/dlq");
        assert_eq!((address.spec.kind, address.spec.limits.max_messages), (AddressType::Queue, Some(5)));
        let object = json!({
            "metadata": { "name": "sensor" },
            "spec": { "space": "acme", "grants": ["send:telemetry/#"], "passwordSecret": { "name": "s" } },
        });
        let user = user(&object).expect("a user");
        assert_eq!((user.metadata.name.as_str(), user.metadata.space.as_deref()), ("sensor", Some("acme")));
        let object = json!({ "metadata": { "name": "acme" }, "spec": { "hosts": ["acme.example.org"] } });
        assert_eq!(space(&object).expect("a space").spec.hosts, ["acme.example.org"]);
        let object = json!({ "metadata": { "name": "small" }, "spec": { "limits": { "maxAddresses": 5 } } });
        assert_eq!(profile(&object).expect("a profile").spec.limits.max_addresses, Some(5));
        let object = json!({
            "metadata": { "name": "readers" },
            "spec": { "role": "Readers", "space": "acme", "grants": ["recv:telemetry/#"] },
        });
        let role = role(&object).expect("a role");
        assert_eq!((role.metadata.name.as_str(), role.spec.grants.len()), ("Readers", 1));
    }

    #[test]
    fn an_object_that_a_fleet_would_refuse_is_refused_in_words() {
        let wrong = json!({ "metadata": { "name": "a" }, "spec": { "type": "anycast", "shards": 2 } });
        assert!(address(&wrong).expect_err("no shards").contains("shards"));
        let wrong = json!({ "metadata": { "name": "a" }, "spec": { "type": "queue", "typ": 1 } });
        assert!(address(&wrong).expect_err("no such field").contains("typ"));
        let wrong = json!({ "metadata": { "name": "viewer" }, "spec": { "grants": ["fly:#"] } });
        assert!(role(&wrong).expect_err("no such grant").contains("fly"));
        assert_eq!(check("roles", &wrong), role(&wrong).map(drop));
    }

    #[test]
    fn what_is_wrong_with_an_object_does_not_hide_what_it_stands_for() {
        let object = |spec: Value| json!({ "metadata": { "name": "one" }, "spec": spec });
        for (kind, field) in
            [("addresses", "address"), ("users", "user"), ("roles", "role"), ("connectors", "connector")]
        {
            let plain = object(json!({ "wrong": 1 }));
            assert!(check(kind, &plain).is_err(), "{kind}");
            assert_eq!(named(kind, &plain), Some(("one", None)));
            let named_so = object(json!({ "wrong": 1, (field): "other", "space": "acme" }));
            assert_eq!(named(kind, &named_so), Some(("other", Some("acme"))));
        }
        for kind in ["addressspaces", "profiles"] {
            assert_eq!(named(kind, &object(json!({ "wrong": 1 }))), Some(("one", None)));
        }
    }

    #[test]
    fn a_fleet_is_in_the_namespace_of_its_object_and_nowhere_else() {
        let object = |spec: Value| json!({ "metadata": { "name": "f", "namespace": "n" }, "spec": spec });
        let found = fleet(&object(json!({ "nodes": 2 }))).expect("a fleet");
        let target = found.spec.target.kubernetes().expect("pods");
        assert_eq!((found.spec.nodes(), target.namespace()), (2, "n"));
        let same = json!({ "target": { "kubernetes": { "namespace": "n", "image": "i" } } });
        assert_eq!(
            fleet(&object(same)).expect("a fleet").spec.target.kubernetes().expect("pods").image(),
            "i"
        );
        for elsewhere in [
            json!({ "target": { "kubernetes": { "namespace": "other" } } }),
            json!({ "target": { "kubernetes": { "context": "prod" } } }),
            json!({ "target": { "ssh": { "hosts": [{ "address": "a" }] } } }),
        ] {
            assert!(fleet(&object(elsewhere)).expect_err("elsewhere").contains("namespace"));
        }
        let many = fleet(&object(json!({ "nodes": 101 }))).expect_err("too many");
        assert!(many.contains("100"), "{many}");
    }

    #[test]
    fn what_a_fleet_cannot_change_has_a_rule() {
        let definitions = definitions();
        let definition = definitions.last().expect("the kind of fleets");
        assert_eq!(definition["metadata"]["name"], "fleets.mq.messaging");
        let spec = spec_of(definition);
        assert_eq!(spec["properties"]["nodes"]["maximum"], MAX_PODS);
        let target = &spec["properties"]["target"]["properties"]["kubernetes"];
        assert!(target["properties"]["image"].is_object() && target["properties"]["namespace"].is_null());
        for (schema, field) in [(spec, "dataplane"), (&target["properties"]["storage"], "size")] {
            let rules = schema["x-kubernetes-validations"].as_array().expect("rules");
            assert!(rules.iter().any(|rule| rule["message"].to_string().contains(field)), "{field}");
        }
    }
}
