//! Selectors of labels and of fields, as text in a query and as an object in a specification.

use serde_json::Value;

use super::refusal::{Answer, Refusal};

/// What labels have to be like. All requirements hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Vec<Requirement>);

#[derive(Clone, Debug)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Labels {
    /// `a=b,c!=d,e in (f,g),h notin (i),j,!k`
    pub(super) fn parse(text: &str) -> Answer<Self> {
        split(text).iter().map(|part| requirement(part.trim())).collect::<Answer<Vec<_>>>().map(Self)
    }

    /// A `LabelSelector`; nothing selects nothing.
    pub(super) fn of_object(selector: &Value) -> Option<Self> {
        let selector = selector.as_object()?;
        let labels = selector.get("matchLabels").map(Self::of_map).unwrap_or_default();
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        let expressions = expressions.into_iter().flatten().filter_map(|expression| {
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            let operator = match expression["operator"].as_str()? {
                "In" => Operator::In(values),
                "NotIn" => Operator::NotIn(values),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return None,
            };
            Some(Requirement { key: expression["key"].as_str()?.to_owned(), operator })
        });
        Some(Self(labels.0.into_iter().chain(expressions).collect()))
    }

    /// A map of labels that are all there.
    pub(super) fn of_map(labels: &Value) -> Self {
        let labels = labels.as_object().into_iter().flatten();
        let equal = labels.map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In(vec![value.as_str().unwrap_or_default().to_owned()]),
        });
        Self(equal.collect())
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key).and_then(Value::as_str);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
                Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// At the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_u32, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(part: &str) -> Answer<Requirement> {
    let wrong = || Refusal::bad_request(format!("unable to parse requirement: {part:?}"));
    let set = |text: &str| -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let (key, operator) = if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Operator::In(vec![value.trim().to_owned()]))
    } else if let Some((key, values)) = part.split_once(" notin ") {
        (key, Operator::NotIn(set(values).ok_or_else(wrong)?))
    } else if let Some((key, values)) = part.split_once(" in ") {
        (key, Operator::In(set(values).ok_or_else(wrong)?))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else {
        (part, Operator::Exists)
    };
    let key = key.trim();
    if key.is_empty()
        || key.contains(|character: char| character.is_whitespace() || "()=!".contains(character))
    {
        return Err(wrong());
    }
    Ok(Requirement { key: key.to_owned(), operator })
}

/// What fields have to be like: `metadata.name=a,status.phase!=Running`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String, bool)>);

impl Fields {
    pub(super) fn parse(text: &str) -> Answer<Self> {
        let wrong = |part: &str| Refusal::bad_request(format!("unable to parse field selector: {part:?}"));
        let parts = text.split(',').filter(|part| !part.is_empty()).map(|part| {
            let (path, value, is_equal) = match part.split_once("!=") {
                Some((path, value)) => (path, value, false),
                None => {
                    let (path, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
                    (path, value.strip_prefix('=').unwrap_or(value), true)
                }
            };
            Ok((format!("/{}", path.replace('.', "/")), value.to_owned(), is_equal))
        });
        parts.collect::<Answer<Vec<_>>>().map(Self)
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(pointer, expected, is_equal)| {
            let value = match object.pointer(pointer) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (value == *expected) == *is_equal
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: Value) -> bool {
        Labels::parse(selector).unwrap().matches(&json!({ "metadata": { "labels": labels } }))
    }

    #[test]
    fn every_operator_selects_what_it_says() {
        let labels = json!({ "app": "mq", "tier": "router" });
        for selector in
            ["app=mq", "app==mq,tier", "!gone", "tier in (router, store)", "app!=x", "gone notin (a)", ""]
        {
            assert!(selects(selector, labels.clone()), "{selector}");
        }
        for selector in ["app=x", "gone", "!app", "tier notin (router)", "app in (a,b)", "app!=mq"] {
            assert!(!selects(selector, labels.clone()), "{selector}");
        }
        assert!(Labels::parse("a b").is_err());
        assert!(Labels::parse("a in b").is_err());
    }

    #[test]
    fn a_missing_field_is_an_empty_one() {
        let pod = json!({ "metadata": { "name": "a" }, "spec": {} });
        assert!(Fields::parse("spec.nodeName=,metadata.name=a").unwrap().matches(&pod));
        assert!(!Fields::parse("metadata.name!=a").unwrap().matches(&pod));
        assert!(Fields::parse("metadata.name").is_err());
    }
}
