//! Objects as rows, which is how `kubectl get` asks for them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::custom::at;
use super::kinds::Kind;
use super::removal::condition;

/// Name and value of a column.
type Column = (String, Value);

/// A `Table` of these objects.
pub(super) fn table(kind: &Kind, objects: &[Value], metadata: &Value) -> Value {
    let names: Vec<String> =
        columns(kind, &json!({ "metadata": {} })).into_iter().map(|(name, _)| name).collect();
    let definitions: Vec<Value> = names
        .iter()
        .map(|name| {
            let format = if name == "Name" { "name" } else { "" };
            json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns(kind, object).into_iter().map(|(_, value)| value).collect();
            let about = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
            });
            json!({ "cells": cells, "object": about })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn columns(kind: &Kind, object: &Value) -> Vec<Column> {
    let mut columns: Vec<Column> = vec![("Name".into(), object["metadata"]["name"].clone())];
    let mut add = |name: &str, value: Value| columns.push((name.into(), value));
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (spec, status) = (&object["spec"], &object["status"]);
    match &kind.custom {
        Some(custom) => {
            for column in custom.columns.iter() {
                let value = at(object, &column.path).cloned().unwrap_or_default();
                add(&column.name, if column.is_date { age_since(&value) } else { value });
            }
        }
        None => match kind.kind.as_str() {
            "Pod" => {
                let containers = status["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
                let ready = containers.iter().filter(|container| container["ready"] == true).count();
                let all = spec["containers"].as_array().map_or(0, Vec::len);
                let restarts =
                    containers.iter().map(|container| number(&container["restartCount"])).sum::<u64>();
                add("Ready", json!(format!("{ready}/{all}")));
                add("Status", json!(pod_status(object)));
                add("Restarts", json!(restarts.to_string()));
            }
            "StatefulSet" | "Deployment" | "ReplicaSet" => {
                let ready = number(&status["readyReplicas"]);
                add("Ready", json!(format!("{ready}/{}", number(&spec["replicas"]))));
            }
            "Service" => {
                add("Type", spec["type"].clone());
                add("Cluster-IP", spec["clusterIP"].clone());
            }
            "Namespace" | "PersistentVolumeClaim" | "PersistentVolume" => {
                add("Status", status["phase"].clone())
            }
            "Event" => {
                add("Type", object["type"].clone());
                add("Reason", object["reason"].clone());
                add("Message", object["message"].clone());
            }
            "PodDisruptionBudget" => add("Allowed Disruptions", status["disruptionsAllowed"].clone()),
            "Node" => {
                let is_ready = condition(object, "Ready") == Some("True");
                add("Status", json!(if is_ready { "Ready" } else { "NotReady" }));
            }
            _ => {}
        },
    }
    // A definition that has columns says whether the age is one.
    if kind.custom.as_ref().is_none_or(|custom| custom.columns.is_empty()) {
        add("Age", age_since(&object["metadata"]["creationTimestamp"]));
    }
    columns
}

fn age_since(time: &Value) -> Value {
    age(time.as_str().unwrap_or_default()).into()
}

/// What stands in the column of a pod: the reason of what keeps it, or its phase.
fn pod_status(pod: &Value) -> String {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".into();
    }
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let reason = containers.into_iter().find_map(|container| {
        let state = &container["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    reason.or_else(|| pod["status"]["phase"].as_str()).unwrap_or_default().into()
}

fn age(since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".into() };
    let seconds = Timestamp::now().as_second().saturating_sub(since.as_second());
    if seconds < 120 { format!("{seconds}s") } else { format!("{}m", seconds / 60) }
}
