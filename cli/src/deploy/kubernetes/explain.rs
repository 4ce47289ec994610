//! What a pod waits for, in one sentence: a pure function of what the cluster says of it.

use serde_json::Value;

/// Characters of one reason that are shown.
const MAX_REASON: usize = 400;

/// Events that say why something does not happen, and not what has happened.
const TELLING: [&str; 12] = [
    "FailedScheduling",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreate",
    "FailedBinding",
    "ProvisioningFailed",
    "Failed",
    "BackOff",
    "Unhealthy",
    "ErrImageNeverPull",
    "InspectFailed",
    "Evicted",
];

/// Why the pod is not ready, given what happened to it lately, and to what makes it; `None`: it is ready.
pub(super) fn hang(pod: Option<&Value>, events: &[Value]) -> Option<String> {
    let Some(pod) = pod else {
        let why = last(events, |_| true).map_or_else(
            || "the cluster has not made its pod yet".to_owned(),
            |why| format!("the cluster does not make its pod: {why}"),
        );
        return Some(why);
    };
    if is_ready(pod) {
        return None;
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return Some("its pod is on its way out".into());
    }
    if let Some(condition) = condition(pod, "PodScheduled").filter(|found| found["status"] == "False") {
        return Some(unscheduled(&text(&condition["message"]), events));
    }
    let container = &pod["status"]["containerStatuses"][0];
    let waiting = text(&container["state"]["waiting"]["reason"]);
    let said = text(&container["state"]["waiting"]["message"]);
    let image = text(&pod["spec"]["containers"][0]["image"]);
    let sentence = match waiting.as_str() {
        "ImagePullBackOff" | "ErrImagePull" => {
            let why = last(events, |reason| reason == "Failed").unwrap_or(said);
            joined(&format!("the image `{image}` cannot be pulled"), &why)
        }
        "InvalidImageName" => format!("`{image}` is not the name of an image"),
        "ErrImageNeverPull" => {
            format!("the image `{image}` is not on the machine, and must not be pulled")
        }
        "CreateContainerConfigError" | "CreateContainerError" => {
            joined("its container cannot be made", &said)
        }
        "CrashLoopBackOff" => joined("its process ends again and again", &ended(container)),
        "" | "ContainerCreating" | "PodInitializing" => starting(container, events),
        other => joined(other, &said),
    };
    Some(short(&sentence))
}

/// Whether the pod waits for something that may never come, and not for what takes its time: an image on its way, a
/// volume that is being attached, a process that begins.
pub(super) fn is_stuck(pod: Option<&Value>) -> bool {
    let Some(pod) = pod else { return true };
    let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str();
    let is_refused = matches!(
        waiting,
        Some(
            "ImagePullBackOff"
                | "ErrImagePull"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "CreateContainerConfigError"
                | "CrashLoopBackOff"
        )
    );
    is_refused || condition(pod, "PodScheduled").is_some_and(|found| found["status"] == "False")
}

/// Whether the cluster sends clients to the pod.
pub(super) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}

fn starting(container: &Value, events: &[Value]) -> String {
    if container["state"]["running"].is_object() {
        return joined(
            "it runs and is not ready",
            &last(events, |reason| reason == "Unhealthy").unwrap_or_default(),
        );
    }
    if container["state"]["terminated"].is_object() || container["lastState"]["terminated"].is_object() {
        return joined("its process has ended", &ended(container));
    }
    let why = last(events, |reason| reason.starts_with("Failed") || reason.starts_with("Provisioning"));
    joined("its pod is being made", &why.unwrap_or_default())
}

/// `exit code 137, OOMKilled`.
fn ended(container: &Value) -> String {
    let ended = [&container["state"]["terminated"], &container["lastState"]["terminated"]];
    let Some(ended) = ended.into_iter().find(|ended| ended.is_object()) else { return String::new() };
    let code = ended["exitCode"].as_i64().unwrap_or_default();
    let words = [format!("exit code {code}"), text(&ended["reason"]), text(&ended["message"])];
    let words: Vec<String> =
        words.into_iter().filter(|word| !word.is_empty() && word != "Error" && word != "Completed").collect();
    words.join(", ")
}

fn unscheduled(said: &str, events: &[Value]) -> String {
    let volume = last(events, |reason| matches!(reason, "ProvisioningFailed" | "FailedBinding"));
    let sentence = match (said.contains("PersistentVolumeClaim"), volume) {
        (_, Some(why)) => joined("its volume is not there", &why),
        (true, None) => joined("its volume is not there", said),
        (false, None) => joined("no machine takes it", said),
    };
    short(&sentence)
}

/// The last event that says why, of those reasons.
fn last(events: &[Value], is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let at = |event: &Value| {
        let series = event["series"]["lastObservedTime"].as_str();
        let times = [series, event["lastTimestamp"].as_str(), event["eventTime"].as_str()];
        times.into_iter().flatten().max().unwrap_or_default().to_owned()
    };
    let telling = events.iter().filter(|event| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["type"] == "Warning" && TELLING.contains(&reason) && is_wanted(reason)
    });
    telling.max_by_key(|event| at(event)).map(|event| short(&text(&event["message"])))
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn joined(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

/// One line of bounded length.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: Value) -> Value {
        json!({
            "metadata": { "name": "f-node-1" },
            "spec": { "containers": [{ "image": "registry.test/mq:2" }] },
            "status": status,
        })
    }

    fn waiting(reason: &str, last: Value) -> Value {
        pod(json!({ "containerStatuses": [{
            "state": { "waiting": { "reason": reason, "message": "back-off" } }, "lastState": last,
        }] }))
    }

    fn event(reason: &str, message: &str, at: &str) -> Value {
        json!({ "type": "Warning", "reason": reason, "message": message, "lastTimestamp": at })
    }

    #[test]
    fn a_pod_that_hangs_says_why_in_one_sentence() {
        let unscheduled = pod(json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient\nmemory",
        }] }));
        let crash =
            waiting("CrashLoopBackOff", json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }));
        let cases = [
            (unscheduled, vec![], "no machine takes it: 0/3 nodes are available: 3 Insufficient memory"),
            (
                waiting("ImagePullBackOff", Value::Null),
                vec![event("Failed", "manifest unknown", "2030-01-01T00:00:00Z")],
                "the image `registry.test/mq:2` cannot be pulled: manifest unknown",
            ),
            (crash, vec![], "its process ends again and again: exit code 137, OOMKilled"),
            (
                pod(json!({ "containerStatuses": [{ "state": { "running": {} } }] })),
                vec![
                    event("Unhealthy", "old", "2030-01-01T00:00:00Z"),
                    event("Unhealthy", "HTTP probe failed with statuscode: 503", "2030-01-01T00:01:00Z"),
                ],
                "it runs and is not ready: HTTP probe failed with statuscode: 503",
            ),
            (pod(json!({})), vec![], "its pod is being made"),
        ];
        for (pod, events, sentence) in cases {
            assert_eq!(hang(Some(&pod), &events).as_deref(), Some(sentence));
        }
        let ready = pod(json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        assert_eq!(hang(Some(&ready), &[]), None);
    }

    #[test]
    fn a_pod_that_may_not_be_made_says_who_refuses_it() {
        let quota = event(
            "FailedCreate",
            "pods \"f-node-1\" is forbidden: exceeded quota: small",
            "2030-01-01T00:00:00Z",
        );
        assert_eq!(
            hang(None, &[quota]).as_deref(),
            Some("the cluster does not make its pod: pods \"f-node-1\" is forbidden: exceeded quota: small")
        );
        assert_eq!(hang(None, &[]).as_deref(), Some("the cluster has not made its pod yet"));
    }

    #[test]
    fn a_volume_that_is_not_there_is_named_before_the_machines() {
        let pod = pod(json!({ "conditions": [{
            "type": "PodScheduled", "status": "False",
            "message": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims",
        }] }));
        let events = [event("ProvisioningFailed", "storageclass \"fast\" not found", "2030-01-01T00:00:00Z")];
        assert_eq!(
            hang(Some(&pod), &events).as_deref(),
            Some("its volume is not there: storageclass \"fast\" not found")
        );
    }

    #[test]
    fn what_may_never_come_is_told_from_what_takes_time() {
        let unscheduled = pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False" }] }));
        assert!(is_stuck(None) && is_stuck(Some(&unscheduled)));
        assert!(is_stuck(Some(&waiting("InvalidImageName", Value::Null))));
        assert!(!is_stuck(Some(&waiting("ContainerCreating", Value::Null))));
        assert!(!is_stuck(Some(&pod(json!({})))));
    }
}
