//! What an object's status says: conditions with the generation that they are about. Most objects have one, `Ready`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{exit::Exit, failure::Failure};

/// The reason while nobody of the fleet answers.
const UNREACHABLE: &str = "Unreachable";

/// What came of looking at an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    is_ready: bool,
    /// One word, for programs.
    reason: &'static str,
    /// For people.
    message: String,
    /// What else the status says.
    fields: Map<String, Value>,
}

impl Verdict {
    pub(super) fn ready(message: impl Into<String>) -> Self {
        Self { is_ready: true, reason: "Applied", message: message.into(), fields: Map::new() }
    }

    /// Ready for another reason than that the fleet has taken what the object says.
    #[must_use]
    pub(super) fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_ready: false, reason, message: message.into(), fields: Map::new() }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        let reason = reason(&failure);
        let message = match failure.help {
            Some(help) => format!("{}; {help}", failure.message),
            None => failure.message,
        };
        Self::not_ready(reason, message)
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

/// A failure as one word.
pub(super) fn reason(failure: &Failure) -> &'static str {
    match failure.exit {
        Exit::Unreachable => UNREACHABLE,
        Exit::Denied => "Denied",
        Exit::Usage => "Invalid",
        _ => "Refused",
    }
}

/// One condition of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    pub(super) kind: &'static str,
    pub(super) is_true: bool,
    /// One word, for programs.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) message: String,
}

/// Bytes of a message that an object takes.
const MAX_MESSAGE: usize = 32_000;

/// The status that the object should have; `None`: it has it.
pub(super) fn status_change(object: &Value, verdict: &Verdict, now: Timestamp) -> Option<Value> {
    let ready = Fact {
        kind: "Ready",
        is_true: verdict.is_ready,
        reason: verdict.reason,
        message: verdict.message.clone(),
    };
    status_with(object, &[ready], verdict.fields.clone(), now)
}

/// The same with several conditions; those that are not named stay as they are.
pub(super) fn status_with(
    object: &Value,
    facts: &[Fact],
    fields: Map<String, Value>,
    now: Timestamp,
) -> Option<Value> {
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for fact in facts {
        let known = conditions.iter_mut().find(|condition| condition["type"] == fact.kind);
        let condition = condition(object, fact, known.as_deref(), now);
        match known {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
    let mut wanted = fields;
    wanted.insert("observedGeneration".into(), object["metadata"]["generation"].clone());
    wanted.insert("conditions".into(), conditions.into());
    let is_there = wanted.iter().all(|(name, value)| object["status"][name] == *value);
    (!is_there).then(|| wanted.into())
}

fn condition(object: &Value, fact: &Fact, before: Option<&Value>, now: Timestamp) -> Value {
    let status = if fact.is_true { "True" } else { "False" };
    // It is the change of the state that has a time.
    let since =
        before.filter(|before| before["status"] == status).map(|before| before["lastTransitionTime"].clone());
    let now = now.round(jiff::Unit::Second).unwrap_or(now);
    let end = (0..=MAX_MESSAGE.min(fact.message.len())).rev().find(|at| fact.message.is_char_boundary(*at));
    json!({
        "type": fact.kind,
        "status": status,
        "observedGeneration": object["metadata"]["generation"],
        "lastTransitionTime": since.unwrap_or_else(|| now.to_string().into()),
        "reason": fact.reason,
        "message": end.and_then(|end| fact.message.get(..end)).unwrap_or_default(),
    })
}

/// Whether the status says that nobody of the fleet answers.
pub(super) fn is_unreachable(object: &Value) -> bool {
    has_condition(object, "reason", UNREACHABLE)
}

/// Whether all is as the object says: what is not is looked at again soon, since the fleet does not tell when it could be.
pub(super) fn is_settled(object: &Value) -> bool {
    let is_going = object["metadata"]["deletionTimestamp"].is_string();
    !is_going && has_condition(object, "status", "True")
}

fn has_condition(object: &Value, field: &str, value: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition[field] == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(status: Value) -> Value {
        json!({ "metadata": { "generation": 3 }, "status": status })
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_status_that_says_the_same_is_not_written_again() {
        let verdict = Verdict::ready("served").with("messages", 5);
        let status = status_change(&object(Value::Null), &verdict, at("2030-01-01T00:00:00Z")).unwrap();
        assert_eq!(status["conditions"][0]["observedGeneration"], 3);
        assert_eq!(status_change(&object(status.clone()), &verdict, at("2030-01-01T00:05:00Z")), None);
        let more = verdict.with("messages", 6);
        let later = status_change(&object(status), &more, at("2030-01-01T00:05:00Z")).unwrap();
        assert_eq!(later["conditions"][0]["lastTransitionTime"], "2030-01-01T00:00:00Z");
        assert_eq!(later["messages"], 6);
    }

    #[test]
    fn conditions_that_nobody_speaks_of_stay_as_they_are() {
        let fact =
            |kind, is_true, message: &str| Fact { kind, is_true, reason: "Why", message: message.into() };
        let first = [fact("Ready", true, "a"), fact("Degraded", false, "b")];
        let at_first = at("2030-01-01T00:00:00Z");
        let status = status_with(&object(Value::Null), &first, Map::new(), at_first).unwrap();
        let second = [fact("Ready", false, "c")];
        let later =
            status_with(&object(status.clone()), &second, Map::new(), at("2030-01-01T00:05:00Z")).unwrap();
        assert_eq!(later["conditions"][1], status["conditions"][1]);
        assert_eq!(later["conditions"][0]["lastTransitionTime"], "2030-01-01T00:05:00Z");
        let long = [fact("Ready", false, &"ä".repeat(MAX_MESSAGE))];
        let cut = status_with(&object(later), &long, Map::new(), at_first).unwrap();
        assert_eq!(cut["conditions"][0]["message"].as_str().unwrap().len(), MAX_MESSAGE);
    }

    #[test]
    fn an_object_that_is_to_go_is_not_settled_however_it_was() {
        let ready =
            status_change(&object(Value::Null), &Verdict::ready("served"), at("2030-01-01T00:00:00Z"));
        let mut there = object(ready.unwrap());
        assert!(is_settled(&there));
        there["metadata"]["deletionTimestamp"] = "2030-01-01T00:01:00Z".into();
        assert!(!is_settled(&there));
        assert!(!is_settled(&object(Value::Null)));
    }

    #[test]
    fn the_time_is_that_of_the_change() {
        let ready =
            status_change(&object(Value::Null), &Verdict::ready("served"), at("2030-01-01T00:00:00Z"));
        let lost = Verdict::failed(Failure::new(Exit::Unreachable, "nobody answers").help("look"));
        let status = status_change(&object(ready.unwrap()), &lost, at("2030-01-01T00:05:00Z")).unwrap();
        let condition = &status["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Unreachable")));
        assert_eq!(condition["lastTransitionTime"], "2030-01-01T00:05:00Z");
        assert!(is_unreachable(&object(status.clone())));
        assert_eq!(condition["message"], "nobody answers; look");
        assert!(!is_settled(&object(status)));
    }
}
