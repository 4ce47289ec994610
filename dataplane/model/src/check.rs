//! Compares a tree with a shape, finds everything that does not fit, and makes a value of the rest.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Number};

use crate::code::Code;
use crate::diagnostic::{Finding, Findings};
use crate::names::shown;
use crate::shape::{Choice, Field, Kind, Object, Shape};
use crate::suggest::nearest;
use crate::yaml::{Entry, Node, Value};

/// The longest list of names in a message.
const LISTED: usize = 12;

/// Checks a document against the shape of its kind. The value holds what fits, so that it can be
/// checked further; it is `None` when the document is not an object at all.
pub(crate) fn check(
    document: &Node,
    shape: &Shape,
    root: &str,
    findings: &mut Findings,
) -> Option<serde_json::Value> {
    let mut checker = Checker { root: shape, findings };
    checker.value(document, shape, root, &document.start())
}

struct Checker<'a> {
    root: &'a Shape,
    findings: &'a mut Findings,
}

impl Checker<'_> {
    /// `owner` is where a problem of the value as a whole is shown: its key.
    fn value(
        &mut self,
        node: &Node,
        shape: &Shape,
        path: &str,
        owner: &Range<usize>,
    ) -> Option<serde_json::Value> {
        match (&shape.kind, &node.value) {
            (Kind::Object(object), Value::Map(entries)) => Some(self.object(entries, object, path, owner)),
            (Kind::Table(inner), Value::Map(entries)) => Some(self.table(entries, inner, path)),
            (Kind::List(inner), Value::List(items)) => Some(self.list(items, inner, path)),
            (Kind::Choice(choices), Value::Text(text)) => self.choice(node, text, choices, path),
            (Kind::Variant(choices, object), Value::Text(text)) => {
                self.variant_word(node, text, (choices, object), path)
            }
            (Kind::Variant(_, object), Value::Map(entries)) => self.variant(entries, object, path, owner),
            (Kind::Text, Value::Text(text)) => Some(text.clone().into()),
            (Kind::Boolean, Value::Boolean(value)) => Some((*value).into()),
            (Kind::Integer { minimum, maximum }, Value::Integer(value)) => {
                self.integer(node, *value, (*minimum, *maximum), path)
            }
            (Kind::Integer { minimum, maximum }, Value::Float(value))
                if value.fract() == 0.0 || value.is_infinite() =>
            {
                self.out_of_range(node, &value.to_string(), (*minimum, *maximum), path)
            }
            // An integer beyond 2^53 loses digits, and is out of every range that a number has.
            (Kind::Number { minimum, maximum }, Value::Integer(value)) => {
                self.number(node, *value as f64, (*minimum, *maximum), path)
            }
            (Kind::Number { minimum, maximum }, Value::Float(value)) => {
                self.number(node, *value, (*minimum, *maximum), path)
            }
            (Kind::Any, _) => Some(serde_json::Value::Null),
            _ => {
                self.wrong_type(node, shape, path, owner);
                None
            }
        }
    }

    fn object(
        &mut self,
        entries: &[Entry],
        object: &Object,
        path: &str,
        owner: &Range<usize>,
    ) -> serde_json::Value {
        let mut result = Map::new();
        let unique = self.unique(entries, path);
        for entry in &unique {
            let Some(field) = object.fields.iter().find(|field| field.name == entry.key) else {
                if !object.open {
                    self.unknown_field(entry, object, path);
                }
                continue;
            };
            // `limits:` with everything below it commented out means what its absence means.
            let absent = matches!(entry.value.value, Value::Null) && !field.required;
            if field.read_only || absent {
                continue;
            }
            let inner = format!("{path}.{}", field.name);
            if let Some(value) = self.value(&entry.value, &field.shape, &inner, &entry.key_span) {
                result.insert(field.name.clone(), value);
            }
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if !unique
                .iter()
                .any(|entry| entry.key == field.name || meant(entry, object) == Some(&field.name))
            {
                self.missing_field(field, path, owner);
            }
        }
        serde_json::Value::Object(result)
    }

    /// The entries without those whose key has been there before.
    fn unique<'a>(&mut self, entries: &'a [Entry], path: &str) -> Vec<&'a Entry> {
        let mut seen: HashMap<&str, &Entry> = HashMap::with_capacity(entries.len());
        let mut unique = Vec::with_capacity(entries.len());
        for entry in entries {
            if seen.contains_key(entry.key.as_str()) {
                let message = format!("`{}` appears twice in {path}", shown(&entry.key));
                let finding = Finding::new(Code::DuplicateKey, entry.key_span.clone(), message);
                self.findings.push(finding.help("remove one of the two"));
                continue;
            }
            seen.insert(&entry.key, entry);
            unique.push(entry);
        }
        unique
    }

    fn table(&mut self, entries: &[Entry], inner: &Shape, path: &str) -> serde_json::Value {
        let mut result = Map::new();
        for entry in self.unique(entries, path) {
            let path = format!("{path}.{}", shown(&entry.key));
            if let Some(value) = self.value(&entry.value, inner, &path, &entry.key_span) {
                result.insert(entry.key.clone(), value);
            }
        }
        serde_json::Value::Object(result)
    }

    fn list(&mut self, items: &[Node], inner: &Shape, path: &str) -> serde_json::Value {
        let values = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.value(item, inner, &format!("{path}[{index}]"), &item.span));
        serde_json::Value::Array(values.collect())
    }

    /// A word for which there is an object is one that needs to say more.
    fn variant_word(
        &mut self,
        node: &Node,
        text: &str,
        (choices, object): (&[Choice], &Object),
        path: &str,
    ) -> Option<serde_json::Value> {
        if object.fields.iter().any(|field| field.name == text) {
            let message = format!("{path} names `{text}` and says nothing about it");
            let help = format!("write `{text}:` with its fields below it");
            let finding = Finding::new(Code::MissingField, node.span.clone(), message).help(help);
            self.findings.push(finding.note(format!("its fields: `mq explain {path}.{text}`")));
            return None;
        }
        self.choice(node, text, choices, path)
    }

    fn variant(
        &mut self,
        entries: &[Entry],
        object: &Object,
        path: &str,
        owner: &Range<usize>,
    ) -> Option<serde_json::Value> {
        let before = self.findings.iter().count();
        let value = self.object(entries, object, path, owner);
        if value.as_object().is_some_and(|object| object.len() == 1) {
            return Some(value);
        }
        // What is wrong with the only key has been said.
        if self.findings.iter().count() == before {
            let names = listed(object.fields.iter().map(|field| field.name.as_str()), "or");
            let message = format!("{path} must name exactly one of {names}");
            self.findings.push(Finding::new(Code::WrongType, owner.clone(), message));
        }
        None
    }

    fn choice(
        &mut self,
        node: &Node,
        text: &str,
        choices: &[Choice],
        path: &str,
    ) -> Option<serde_json::Value> {
        if choices.iter().any(|choice| choice.value == text) {
            return Some(text.into());
        }
        let values = || choices.iter().map(|choice| choice.value.as_str());
        let message = format!("unknown value `{}` for {path}", shown(text));
        let help = nearest(text, values()).map_or_else(
            || format!("use {}", listed(values(), "or")),
            |value| format!("did you mean `{value}`?"),
        );
        // The version has a code of its own: it is the first thing that a file of another release has.
        let code = if path.ends_with(".apiVersion") { Code::ApiVersion } else { Code::UnknownValue };
        let finding = Finding::new(code, node.span.clone(), message).help(help);
        self.findings.push(finding.note(format!("allowed values: `mq explain {path}`")));
        None
    }

    fn integer(
        &mut self,
        node: &Node,
        value: i128,
        range: (i128, i128),
        path: &str,
    ) -> Option<serde_json::Value> {
        if (range.0..=range.1).contains(&value) {
            return number(value);
        }
        self.out_of_range(node, &value.to_string(), range, path)
    }

    fn number(
        &mut self,
        node: &Node,
        value: f64,
        (minimum, maximum): (f64, f64),
        path: &str,
    ) -> Option<serde_json::Value> {
        // Not a number is in no range.
        if let (true, Some(number)) = ((minimum..=maximum).contains(&value), Number::from_f64(value)) {
            return Some(serde_json::Value::Number(number));
        }
        let message = format!("{path} is {value}, out of range");
        let help = match (minimum.is_finite(), maximum.is_finite()) {
            (true, true) => format!("use {minimum} to {maximum}"),
            _ => "use a finite number".to_owned(),
        };
        let finding = Finding::new(Code::OutOfRange, node.span.clone(), message).help(help);
        self.findings.push(finding.note(format!("unit and default: `mq explain {path}`")));
        None
    }

    fn out_of_range(
        &mut self,
        node: &Node,
        value: &str,
        (minimum, maximum): (i128, i128),
        path: &str,
    ) -> Option<serde_json::Value> {
        let message = format!("{path} is {}, out of range", shown(value));
        let help = format!("use {} to {}", grouped(minimum), grouped(maximum));
        let finding = Finding::new(Code::OutOfRange, node.span.clone(), message).help(help);
        self.findings.push(finding.note(format!("unit and default: `mq explain {path}`")));
        None
    }

    fn unknown_field(&mut self, entry: &Entry, object: &Object, path: &str) {
        let message = format!("unknown field `{}` in {path}", shown(&entry.key));
        let names = object.fields.iter().map(|field| field.name.as_str());
        let help = if let Some(name) = nearest(&entry.key, names.clone()) {
            format!("a field with a similar name exists: `{name}`")
        } else if let Some(elsewhere) = find(self.root, &entry.key, "") {
            format!("the field belongs in `{elsewhere}`")
        } else {
            format!("the fields are {}", listed(names, "and"))
        };
        let finding = Finding::new(Code::UnknownField, entry.key_span.clone(), message).help(help);
        self.findings.push(finding.note(format!("valid fields: `mq explain {path}`")));
    }

    fn missing_field(&mut self, field: &Field, path: &str, owner: &Range<usize>) {
        let message = format!("missing field `{}` in {path}", field.name);
        let example = match &field.shape.kind {
            Kind::Choice(choices) => choices.first().map(|choice| choice.value.clone()),
            _ => None,
        };
        let help = example.map_or_else(
            || format!("add `{}: …`", field.name),
            |value| format!("add `{}`, for example `{}: {value}`", field.name, field.name),
        );
        let finding = Finding::new(Code::MissingField, owner.clone(), message).help(help);
        self.findings.push(finding.note(format!("valid fields: `mq explain {path}`")));
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape, path: &str, owner: &Range<usize>) {
        let found = match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::Boolean(value) => format!("the boolean `{value}`"),
            Value::Integer(value) => format!("the integer `{}`", shown(&value.to_string())),
            Value::Float(value) => format!("the number `{}`", shown(&value.to_string())),
            Value::Text(text) => format!("the text `{}`", shown(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "an object".to_owned(),
        };
        let message = format!("{path} must be {}, but is {found}", shape.expectation());
        let whole = matches!(node.value, Value::Null | Value::List(_) | Value::Map(_));
        let span = if whole { owner } else { &node.span };
        let finding = Finding::new(Code::WrongType, span.clone(), message);
        self.findings.push(finding.help_maybe(conversion(&node.value, shape)));
    }
}

/// The field that an unknown key was probably meant to be. It has been reported once; that the field
/// is missing says nothing new.
fn meant<'a>(entry: &Entry, object: &'a Object) -> Option<&'a str> {
    let names = || object.fields.iter().map(|field| field.name.as_str());
    if names().any(|name| name == entry.key) { None } else { nearest(&entry.key, names()) }
}

/// How to write a value of the wrong type rightly, where that can be told.
fn conversion(value: &Value, shape: &Shape) -> Option<String> {
    match (&shape.kind, value) {
        (Kind::Text, Value::Boolean(value)) => Some(format!("put it in quotes: \"{value}\"")),
        (Kind::Text, Value::Integer(value)) => Some(format!("put it in quotes: \"{value}\"")),
        (Kind::Text, Value::Float(value)) => Some(format!("put it in quotes: \"{value}\"")),
        (Kind::Choice(choices) | Kind::Variant(choices, _), _) => {
            Some(format!("use {}", listed(choices.iter().map(|choice| choice.value.as_str()), "or")))
        }
        (Kind::Integer { .. }, Value::Text(text)) => whole_number(text),
        (Kind::Object(object), _) => {
            let names =
                object.fields.iter().filter(|field| !field.read_only).map(|field| field.name.as_str());
            Some(format!("its fields are {}", listed(names, "and")))
        }
        _ => None,
    }
}

/// What `16MiB` or `"100"` is as an integer.
fn whole_number(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, suffix) = text.split_at_checked(digits)?;
    let number: u128 = number.parse().ok()?;
    let factor: u128 = match suffix.trim().trim_end_matches('B') {
        "" => return Some(format!("write it without quotes and suffix: {number}")),
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    Some(format!("write the whole number: {}", number.checked_mul(factor)?))
}

fn number(value: i128) -> Option<serde_json::Value> {
    let signed = i64::try_from(value).ok().map(serde_json::Value::from);
    signed.or_else(|| u64::try_from(value).ok().map(serde_json::Value::from))
}

/// The path, without the kind, of the object that has a field of this name.
fn find(shape: &Shape, name: &str, path: &str) -> Option<String> {
    shape.fields().iter().filter(|field| !field.read_only).find_map(|field| {
        let inner = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        if field.shape.field(name).is_some() {
            return Some(inner);
        }
        find(&field.shape, name, &inner)
    })
}

/// `a`, `b` or `c`.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>, conjunction: &str) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        let some: Vec<_> = names.iter().take(LISTED).cloned().collect();
        return format!("{}, and others", some.join(", "));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {conjunction} {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A number with its thousands set apart: 65,536.
pub(crate) fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_a_suffix_are_translated() {
        assert_eq!(whole_number("16MiB").as_deref(), Some("write the whole number: 16777216"));
        assert_eq!(whole_number("5k").as_deref(), Some("write the whole number: 5000"));
        assert_eq!(whole_number("100").as_deref(), Some("write it without quotes and suffix: 100"));
        for text in ["", "MiB", "5s", "99999999999999999999999999999999999999G", "é"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_048_576), "1,048,576");
        assert_eq!(grouped(-1_000), "-1,000");
    }
}
