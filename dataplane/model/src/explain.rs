//! What `mq explain` says about a field, an object, or a diagnostic code, out of the same table that
//! checks the files.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::bench::BENCH_KIND;
use crate::check::grouped;
use crate::code::Code;
use crate::connector::CONNECTOR_KIND;
use crate::manifest::{ADDRESS_KIND, FLEET_KIND};
use crate::names::shown;
use crate::schema::shapes;
use crate::shape::{Field, Kind, Shape};
use crate::space::{PROFILE_KIND, SPACE_KIND};
use crate::suggest::nearest;
use crate::user::{ROLE_KIND, USER_KIND};

/// The name under which the configuration of `mqd` is explained.
const DAEMON_CONFIG: &str = "DaemonConfig";

/// The roots of the paths.
const ROOTS: [&str; 9] = [
    FLEET_KIND,
    ADDRESS_KIND,
    USER_KIND,
    ROLE_KIND,
    SPACE_KIND,
    PROFILE_KIND,
    CONNECTOR_KIND,
    BENCH_KIND,
    DAEMON_CONFIG,
];

/// A field, an object, or a diagnostic code, for people (`Display`) and for programs (`Serialize`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The path with every name spelled as in the documents, such as `Address.spec`.
    pub path: String,
    /// What a value is: `object`, `integer 0 to 9`, `text`; `diagnostic` for a code.
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    /// Whether a document without the field is an error.
    pub required: bool,
    /// Written by a node; ignored in a file.
    pub read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The words that the field takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<AllowedValue>,
    /// The fields of an object, in the order in which they are written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldSummary>,
}

/// One word that a field takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedValue {
    pub value: String,
    pub description: String,
}

/// One field of an object, in a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldSummary {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The first sentence.
    pub description: String,
}

/// Nothing is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainError {
    message: String,
}

impl fmt::Display for ExplainError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ExplainError {}

/// Explains a path such as `Address.spec.slowConsumer`, or a code such as `MQ0107`. Case does not
/// matter where it is not needed to tell two names apart.
///
/// # Errors
///
/// The path leads nowhere: the message says where it ends, and the nearest name.
pub fn explain(path: &str) -> Result<Explanation, ExplainError> {
    if let Some(code) = Code::parse(path.trim()) {
        return Ok(explain_code(code));
    }
    let mut names = path.trim().split('.');
    let first = names.next().unwrap_or("");
    let Some(root) = ROOTS.into_iter().find(|root| root.eq_ignore_ascii_case(first)) else {
        return Err(unknown_root(first));
    };
    let mut spelled = root.to_owned();
    let mut shape = root_shape(root);
    let mut field = None;
    for name in names {
        // A diagnostic names an item of a list, such as `stages[2]`; all items have the same fields.
        let name = name.split_once('[').map_or(name, |(list, _)| list);
        // Below a table of names that users choose, every name is one of them.
        if let Kind::Table(inner) = &shape.kind {
            (spelled, shape, field) = (format!("{spelled}.{}", shown(name)), inner, None);
            continue;
        }
        let next = find(shape, name).ok_or_else(|| unknown_field(shape, &spelled, name))?;
        spelled = format!("{spelled}.{}", next.name);
        (shape, field) = (&next.shape, Some(next));
    }
    Ok(explain_shape(spelled, shape, field))
}

/// Every path that [`explain`] knows, for completions: roots, objects, fields, and codes.
pub fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    for root in ROOTS {
        gather(root.to_owned(), root_shape(root), &mut paths);
    }
    paths.extend(Code::all().map(|code| code.to_string()));
    paths
}

fn gather(path: String, shape: &Shape, paths: &mut Vec<String>) {
    let fields = shape.fields().iter().map(|field| (format!("{path}.{}", field.name), &field.shape));
    let below: Vec<_> = fields.collect();
    paths.push(path);
    for (path, shape) in below {
        gather(path, shape, paths);
    }
}

fn root_shape(root: &str) -> &'static Shape {
    let shapes = shapes();
    match root {
        FLEET_KIND => &shapes.fleet,
        ADDRESS_KIND => &shapes.address,
        USER_KIND => &shapes.user,
        ROLE_KIND => &shapes.role,
        SPACE_KIND => &shapes.space,
        PROFILE_KIND => &shapes.profile,
        CONNECTOR_KIND => &shapes.connector,
        BENCH_KIND => &shapes.bench,
        _ => &shapes.daemon,
    }
}

fn find<'a>(shape: &'a Shape, name: &str) -> Option<&'a Field> {
    let folded = || shape.fields().iter().find(|field| field.name.eq_ignore_ascii_case(name));
    shape.field(name).or_else(folded)
}

fn explain_code(code: Code) -> Explanation {
    Explanation {
        path: code.to_string(),
        kind: "diagnostic".into(),
        description: format!("{}: {}", code.title(), code.explanation()),
        required: false,
        read_only: false,
        default: None,
        values: Vec::new(),
        fields: Vec::new(),
    }
}

fn explain_shape(path: String, shape: &Shape, field: Option<&Field>) -> Explanation {
    let values = match &shape.kind {
        Kind::Choice(choices) | Kind::Variant(choices, _) => choices.as_slice(),
        _ => &[],
    };
    Explanation {
        path,
        kind: type_name(shape),
        description: field.map_or(&shape.description, |field| &field.description).clone(),
        required: field.is_some_and(|field| field.required),
        read_only: field.is_some_and(|field| field.read_only),
        default: field.and_then(|field| field.default.clone()),
        values: values
            .iter()
            .map(|choice| AllowedValue {
                value: choice.value.clone(),
                description: choice.description.clone(),
            })
            .collect(),
        fields: shape.fields().iter().map(summary).collect(),
    }
}

fn summary(field: &Field) -> FieldSummary {
    FieldSummary {
        name: field.name.clone(),
        kind: type_name(&field.shape),
        required: field.required,
        default: field.default.clone(),
        description: first_sentence(&field.description).to_owned(),
    }
}

/// What a value is, in a few words.
fn type_name(shape: &Shape) -> String {
    match &shape.kind {
        Kind::Object(_) => "object".into(),
        Kind::Table(inner) => format!("object of {}", type_name(inner)),
        Kind::Choice(choices) => {
            let values: Vec<_> = choices.iter().map(|choice| choice.value.as_str()).collect();
            values.join(" | ")
        }
        Kind::Variant(choices, object) => {
            let words = choices.iter().map(|choice| choice.value.clone());
            let fields = object.fields.iter().map(|field| format!("{{{}}}", field.name));
            words.chain(fields).collect::<Vec<_>>().join(" | ")
        }
        Kind::Text => "text".into(),
        Kind::Integer { minimum, maximum } => {
            format!("integer {} to {}", grouped(*minimum), grouped(*maximum))
        }
        Kind::Number { minimum, maximum } if minimum.is_finite() && maximum.is_finite() => {
            format!("number {minimum} to {maximum}")
        }
        Kind::Number { .. } => "number".into(),
        Kind::Boolean => "true | false".into(),
        Kind::List(inner) => format!("list of {}", type_name(inner)),
        Kind::Any => "any".into(),
    }
}

/// Up to the first full stop that a space and a capital letter or digit follow, or the end.
fn first_sentence(text: &str) -> &str {
    let ends = text.match_indices(". ").map(|(at, _)| at);
    let end = ends.into_iter().find(|&at| {
        let next = text.get(at + 2..).and_then(|rest| rest.chars().next());
        next.is_some_and(|next| next.is_uppercase() || next.is_numeric())
    });
    let sentence = end.and_then(|end| text.get(..end)).unwrap_or(text);
    sentence.strip_suffix('.').unwrap_or(sentence)
}

fn unknown_root(name: &str) -> ExplainError {
    let candidates: Vec<String> =
        ROOTS.into_iter().map(str::to_owned).chain(Code::all().map(|code| code.to_string())).collect();
    let near = nearest(name, candidates.iter().map(String::as_str));
    let hint = near.map_or_else(
        || format!("paths begin with {}", crate::check::listed(ROOTS.into_iter(), "or")),
        |near| format!("did you mean `{near}`?"),
    );
    ExplainError { message: format!("nothing is called `{}`; {hint}", shown(name)) }
}

fn unknown_field(shape: &Shape, path: &str, name: &str) -> ExplainError {
    let names = || shape.fields().iter().map(|field| field.name.as_str());
    let hint = if shape.fields().is_empty() {
        format!("it is {} and has no fields", shape.expectation())
    } else if let Some(near) = nearest(name, names()) {
        format!("did you mean `{path}.{near}`?")
    } else {
        format!("its fields are {}", crate::check::listed(names(), "and"))
    };
    ExplainError { message: format!("`{path}` has no field `{}`; {hint}", shown(name)) }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}  ({})", self.path, self.kind)?;
        if !self.description.is_empty() {
            write!(formatter, "\n{}", wrapped(&self.description, "  "))?;
        }
        if self.required {
            writeln!(formatter, "\n  required")?;
        }
        if self.read_only {
            writeln!(formatter, "\n  read-only")?;
        }
        if let Some(default) = &self.default {
            writeln!(formatter, "\n  default: {}", plain(default))?;
        }
        let values = self.values.iter().map(|value| (value.value.clone(), value.description.clone()));
        table(formatter, "values", values.collect())?;
        let fields = self.fields.iter().map(|field| {
            let notes = match (&field.default, field.required) {
                (_, true) => "; required".to_owned(),
                (Some(default), _) => format!("; default {}", plain(default)),
                (None, false) => String::new(),
            };
            let text = [field.description.as_str(), " (", &field.kind, &notes, ")"].concat();
            (field.name.clone(), text)
        });
        table(formatter, "fields", fields.collect())
    }
}

fn table(formatter: &mut fmt::Formatter<'_>, title: &str, rows: Vec<(String, String)>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(formatter, "\n{title}:")?;
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, text) in rows {
        let indent = " ".repeat(width + 4);
        let text = wrapped(&text, &indent);
        let text = text.trim_start().trim_end();
        writeln!(formatter, "{}", format!("  {name:width$}  {text}").trim_end())?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text in lines of at most [`WIDTH`] characters, each behind the indent.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indent.chars().count() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            lines.extend([indent, &line, "\n"]);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.extend([indent, &line, "\n"]);
    lines
}

/// Columns of the text.
const WIDTH: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_explained_and_described() {
        let paths = paths();
        assert!(paths.len() > 60, "{}", paths.len());
        for path in paths {
            let explanation = explain(&path).expect(&path);
            assert_eq!(explanation.path, path);
            let is_status = path.starts_with("Address.status.");
            assert!(is_status || !explanation.description.is_empty(), "{path} has no description");
            assert!(explanation.to_string().lines().all(|line| line.chars().count() <= WIDTH + 20), "{path}");
        }
    }

    #[test]
    fn a_choice_lists_its_words() {
        let explanation = explain("address.SPEC.slowconsumer").expect("a field");
        assert_eq!(explanation.path, "Address.spec.slowConsumer");
        assert_eq!(explanation.default, Some("block".into()));
        let values: Vec<_> = explanation.values.iter().map(|value| value.value.as_str()).collect();
        assert_eq!(values, ["block", "drop", "disconnect"]);
    }

    #[test]
    fn labels_are_explained_whatever_they_are_called() {
        assert_eq!(explain("Address.metadata.labels.team").expect("a label").kind, "text");
    }

    #[test]
    fn a_path_that_leads_nowhere_gets_the_nearest_name() {
        for (path, hint) in [
            ("Adres", "did you mean `Address`?"),
            ("MQ107", "did you mean `MQ0107`?"),
            ("Address.spec.slowConsumr", "did you mean `Address.spec.slowConsumer`?"),
            ("Address.spec.colour", "its fields are `type`"),
            ("Address.spec.priority.x", "has no fields"),
            ("", "paths begin with"),
            ("Address.", "no field ``"),
        ] {
            let error = explain(path).expect_err(path).to_string();
            assert!(error.contains(hint), "{path}: {error}");
        }
    }

    #[test]
    fn first_sentences_keep_numbers_and_abbreviations_whole() {
        assert_eq!(first_sentence("AMQP 1.0. Default 5672."), "AMQP 1.0");
        assert_eq!(first_sentence("One."), "One");
        assert_eq!(first_sentence(""), "");
    }
}
