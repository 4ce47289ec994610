//! What an object's status says: one condition, `Ready`, with the generation that it is about.

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

    pub(super) fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_ready: false, reason, message: message.into(), fields: Map::new() }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        let reason = match failure.exit {
            Exit::Unreachable => UNREACHABLE,
            Exit::Denied => "Denied",
            Exit::Usage => "Invalid",
            _ => "Refused",
        };
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

/// The status that the object should have; `None`: it has it.
pub(super) fn status_change(object: &Value, verdict: &Verdict, now: Timestamp) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    let status = if verdict.is_ready { "True" } else { "False" };
    let before = object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    // It is the change of the state that has a time.
    let since =
        before.filter(|before| before["status"] == status).map(|before| before["lastTransitionTime"].clone());
    let now = now.round(jiff::Unit::Second).unwrap_or(now);
    let condition = json!({
        "type": "Ready",
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": since.unwrap_or_else(|| now.to_string().into()),
        "reason": verdict.reason,
        "message": verdict.message,
    });
    let mut wanted = verdict.fields.clone();
    wanted.insert("observedGeneration".into(), generation.clone());
    wanted.insert("conditions".into(), json!([condition]));
    let is_there = wanted.iter().all(|(name, value)| object["status"][name] == *value);
    (!is_there).then(|| wanted.into())
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
