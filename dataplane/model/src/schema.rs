//! JSON Schema (draft 2020-12) of what users write, made from the Rust types.
//!
//! Editors use the committed files in `manifests/schema`; the checks of this crate use the same
//! schemas, so a file that an editor accepts and one that `mq` accepts have the same fields.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::bench::Bench;
use crate::config::DaemonConfig;
use crate::connector::Connector;
use crate::manifest::{Address, Fleet};
use crate::shape::Shape;
use crate::space::{AddressSpace, Profile};
use crate::user::{Role, User};

/// Where the schema of the manifests is kept in the repository.
pub const MANIFEST_SCHEMA_PATH: &str = "manifests/schema/mq.schema.json";

/// Where the schema of the daemon's configuration is kept in the repository.
pub const DAEMON_SCHEMA_PATH: &str = "manifests/schema/mqd.schema.json";

/// The schema of one document of a manifest file: a `Fleet`, an `Address`, a `User`, a `Role`,
/// an `AddressSpace`, a `Profile`, a `Connector` or a `Bench`.
pub fn manifest_schema() -> Value {
    let mut generator = settings().into_generator();
    let kinds = [
        generator.subschema_for::<Fleet>(),
        generator.subschema_for::<Address>(),
        generator.subschema_for::<User>(),
        generator.subschema_for::<Role>(),
        generator.subschema_for::<AddressSpace>(),
        generator.subschema_for::<Profile>(),
        generator.subschema_for::<Connector>(),
        generator.subschema_for::<Bench>(),
    ];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mq manifest",
        "description": "A document of a manifest file: a Fleet, an Address, a User, a Role, an AddressSpace, a \
                        Profile, a Connector or a Bench.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        // An editor that knows the kind reports the problems of that kind only.
        "oneOf": kinds,
        "$defs": sorted(generator.take_definitions(true)),
    })
}

/// The schema of the configuration file of `mqd`.
pub fn daemon_schema() -> Value {
    let mut schema = root::<DaemonConfig>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "mqd configuration".into());
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            object.insert("$defs".into(), sorted(definitions));
        }
    }
    schema
}

/// The committed schema files and what they should hold: path from the root of the repository, text.
pub fn files() -> [(&'static str, String); 2] {
    [(MANIFEST_SCHEMA_PATH, manifest_schema()), (DAEMON_SCHEMA_PATH, daemon_schema())]
        .map(|(path, schema)| (path, format!("{schema:#}\n")))
}

/// The shapes of the documents.
pub(crate) struct Shapes {
    pub(crate) fleet: Shape,
    pub(crate) address: Shape,
    pub(crate) user: Shape,
    pub(crate) role: Shape,
    pub(crate) space: Shape,
    pub(crate) profile: Shape,
    pub(crate) connector: Shape,
    pub(crate) bench: Shape,
    pub(crate) daemon: Shape,
}

/// The shapes, made once.
pub(crate) fn shapes() -> &'static Shapes {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    SHAPES.get_or_init(|| Shapes {
        fleet: Shape::of(&root::<Fleet>()),
        address: Shape::of(&root::<Address>()),
        user: Shape::of(&root::<User>()),
        role: Shape::of(&root::<Role>()),
        space: Shape::of(&root::<AddressSpace>()),
        profile: Shape::of(&root::<Profile>()),
        connector: Shape::of(&root::<Connector>()),
        bench: Shape::of(&root::<Bench>()),
        daemon: Shape::of(&root::<DaemonConfig>()),
    })
}

/// The schema of one type, with the types that it refers to below `$defs`.
pub(crate) fn of<T: JsonSchema>() -> Value {
    root::<T>().to_value()
}

fn root<T: JsonSchema>() -> Schema {
    settings().into_generator().into_root_schema_for::<T>()
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with_transform(RecursiveTransform(Tidy))
}

/// Definitions by name: the order in which types were met means nothing to a reader.
fn sorted(definitions: Map<String, Value>) -> Value {
    let mut entries: Vec<_> = definitions.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(entries.into_iter().collect())
}

/// Writes an optional field as one that may be absent, not as one that may be `null`, and leaves
/// out defaults that say nothing.
#[derive(Clone)]
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get("type") {
            let named: Vec<_> = types.iter().filter(|&name| name != "null").cloned().collect();
            if let [only] = named.as_slice() {
                let only = only.clone();
                object.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(alternatives)) = object.get("anyOf") {
            let some: Vec<_> =
                alternatives.iter().filter(|&item| *item != json!({"type": "null"})).cloned().collect();
            if let [Value::Object(only)] = some.as_slice() {
                let only = only.clone();
                object.remove("anyOf");
                object.extend(only);
            }
        }
        // What a default object holds is said by the defaults of its fields.
        if matches!(object.get("default"), Some(Value::Null | Value::Object(_))) {
            object.remove("default");
        }
    }
}
