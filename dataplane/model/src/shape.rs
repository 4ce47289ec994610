//! What a document may hold, read out of its JSON Schema: the one table behind the checks of files,
//! the checks of values, and `mq explain`.

use schemars::Schema;
use serde_json::{Map, Value};

/// What a value may be.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// What the type is for, in one or more sentences; may be empty.
    pub(crate) description: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Object(Object),
    /// Names chosen by the user, each with a value of one shape.
    Table(Box<Shape>),
    Choice(Vec<Choice>),
    /// One of some words, or an object with exactly one of some fields: a choice of which some say more.
    Variant(Vec<Choice>, Object),
    Text,
    Integer {
        minimum: i128,
        maximum: i128,
    },
    Number {
        minimum: f64,
        maximum: f64,
    },
    Boolean,
    List(Box<Shape>),
    Any,
}

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) fields: Vec<Field>,
    /// Whether fields that are not in the table are allowed.
    pub(crate) open: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) required: bool,
    /// Written by a node; ignored in a file.
    pub(crate) read_only: bool,
    pub(crate) default: Option<Value>,
    pub(crate) shape: Shape,
}

/// One of the words that a field takes.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) description: String,
}

impl Shape {
    /// The shape of a root schema as [`crate::schema`] makes it.
    pub(crate) fn of(schema: &Schema) -> Self {
        let empty = Map::new();
        let root = schema.as_object().unwrap_or(&empty);
        let definitions = root.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
        Self::read(root, definitions)
    }

    fn read(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> Self {
        if let Some(target) = referenced(schema, definitions) {
            return Self::read(target, definitions);
        }
        Self { description: description(schema), kind: Kind::read(schema, definitions) }
    }

    fn read_value(value: Option<&Value>, definitions: &Map<String, Value>) -> Self {
        let any = Self { description: String::new(), kind: Kind::Any };
        value.and_then(Value::as_object).map_or(any, |schema| Self::read(schema, definitions))
    }

    /// The fields of an object, or of each object of a list; none for everything else.
    pub(crate) fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Object(object) | Kind::Variant(_, object) => &object.fields,
            Kind::List(inner) => inner.fields(),
            _ => &[],
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// What the shape is called in a message, with its article.
    pub(crate) fn expectation(&self) -> &'static str {
        match self.kind {
            Kind::Object(_) | Kind::Table(_) => "an object",
            Kind::Choice(_) | Kind::Text => "text",
            Kind::Variant(..) => "a word or an object",
            Kind::Integer { .. } => "an integer",
            Kind::Number { .. } => "a number",
            Kind::Boolean => "`true` or `false`",
            Kind::List(_) => "a list",
            Kind::Any => "a value",
        }
    }
}

impl Kind {
    fn read(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> Self {
        if let Some(choices) = choices(schema) {
            return Self::Choice(choices);
        }
        if let Some(variant) = Self::variant(schema, definitions) {
            return variant;
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => Self::object(schema, definitions),
            Some("string") => Self::Text,
            Some("integer") => Self::Integer {
                minimum: bound(schema, "minimum").unwrap_or(i128::MIN),
                maximum: bound(schema, "maximum").or_else(|| largest(schema)).unwrap_or(i128::MAX),
            },
            Some("number") => Self::Number {
                minimum: schema.get("minimum").and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY),
                maximum: schema.get("maximum").and_then(Value::as_f64).unwrap_or(f64::INFINITY),
            },
            Some("boolean") => Self::Boolean,
            Some("array") => Self::List(Box::new(Shape::read_value(schema.get("items"), definitions))),
            _ => Self::Any,
        }
    }

    /// A `oneOf` of words, and of objects with one field each.
    fn variant(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> Option<Self> {
        let (mut words, mut fields) = (Vec::new(), Vec::new());
        for alternative in schema.get("oneOf")?.as_array()? {
            let alternative = alternative.as_object()?;
            match choices(alternative) {
                Some(choices) => words.extend(choices),
                None => {
                    let Self::Object(object) = Self::object(alternative, definitions) else { return None };
                    let about = description(alternative);
                    // Which of them is there is the choice itself.
                    fields.extend(object.fields.into_iter().map(|field| Field {
                        description: if about.is_empty() { field.description.clone() } else { about.clone() },
                        required: false,
                        ..field
                    }));
                }
            }
        }
        Some(Self::Variant(words, Object { fields, open: false }))
    }

    fn object(schema: &Map<String, Value>, definitions: &Map<String, Value>) -> Self {
        let additional = schema.get("additionalProperties");
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Self::Table(Box::new(Shape::read_value(additional, definitions)));
        };
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|other| other == name));
        let fields = properties.iter().filter_map(|(name, property)| {
            let property = property.as_object()?;
            let shape = Shape::read(property, definitions);
            let own = description(property);
            Some(Field {
                name: name.clone(),
                description: if own.is_empty() { shape.description.clone() } else { own },
                required: is_required(name),
                read_only: property.get("readOnly") == Some(&Value::Bool(true)),
                default: property.get("default").cloned(),
                shape,
            })
        });
        Self::Object(Object { fields: fields.collect(), open: additional != Some(&Value::Bool(false)) })
    }
}

/// The definition that a schema refers to.
fn referenced<'a>(
    schema: &Map<String, Value>,
    definitions: &'a Map<String, Value>,
) -> Option<&'a Map<String, Value>> {
    let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
    definitions.get(name)?.as_object()
}

/// The words of `enum`, `const`, or a `oneOf` of these.
fn choices(schema: &Map<String, Value>) -> Option<Vec<Choice>> {
    let text = description(schema);
    let choice = |value: &Value, description: &str| {
        value.as_str().map(|value| Choice { value: value.to_owned(), description: description.to_owned() })
    };
    if let Some(value) = schema.get("const") {
        return choice(value, &text).map(|choice| vec![choice]);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(|value| choice(value, "")).collect();
    }
    let alternatives = schema.get("oneOf")?.as_array()?;
    let lists: Option<Vec<_>> = alternatives.iter().map(|item| choices(item.as_object()?)).collect();
    lists.map(|lists| lists.into_iter().flatten().collect())
}

fn bound(schema: &Map<String, Value>, name: &str) -> Option<i128> {
    let value = schema.get(name)?;
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// The greatest number of a Rust type that the schema only names.
fn largest(schema: &Map<String, Value>) -> Option<i128> {
    match schema.get("format")?.as_str()? {
        "uint32" => Some(i128::from(u32::MAX)),
        "uint64" => Some(i128::from(u64::MAX)),
        _ => None,
    }
}

/// A description on one line.
fn description(schema: &Map<String, Value>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or("");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
