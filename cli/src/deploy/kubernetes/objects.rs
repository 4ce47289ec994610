//! What a fleet needs in its cluster beside the pods: compared with what is there, applied, and taken away again.
//!
//! What applying an object would change is not guessed: the cluster is asked to rehearse it. So what the cluster fills in,
//! or an admission webhook, is no difference, and a field that somebody else owns is found before anything is changed.

use futures_util::{StreamExt, stream};
use mq_model::{
    kubernetes::{KubernetesTls, Names},
    manifest::Fleet,
};
use serde_json::{Value, json};

use super::Rendering;
use crate::{
    cluster::{Application, Cluster},
    deploy::plan::{Action, Blocked, Surrounding},
    exit::Exit,
    failure::Outcome,
};

/// Objects that are looked at at the same time.
const AT_ONCE: usize = 8;
/// What stays when the fleet goes: it may hold what is others'.
const SHARED: [&str; 2] = ["Namespace", "CustomResourceDefinition"];

/// An object as it is wanted, beside what is there.
pub(super) struct Compared {
    pub(super) object: Value,
    pub(super) surrounding: Surrounding,
}

/// Every object of the fleet, what is secret among them, in an order in which they can be applied. `secrets` makes those.
pub(super) fn of_fleet(
    fleet: &Fleet,
    secrets: impl FnOnce(&Rendering<'_>) -> Outcome<Vec<Value>>,
) -> Outcome<Vec<Value>> {
    let rendering = Rendering::of_fleet(fleet)?;
    let mut objects = rendering.objects()?;
    if rendering.target.tls() == KubernetesTls::Own {
        let after_namespace = objects.iter().take_while(|object| object["kind"] == "Namespace").count();
        objects.splice(after_namespace..after_namespace, secrets(&rendering)?);
    }
    for object in &mut objects {
        // `mq` decides which pod is next, and looks whether the fleet is well before.
        if object["kind"] == "StatefulSet" {
            object["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
        }
    }
    Ok(objects)
}

/// What applying each object would do. A namespace that somebody else has made is left as it is.
pub(super) async fn compare(
    cluster: &Cluster,
    objects: Vec<Value>,
    is_forced: bool,
) -> Outcome<Vec<Compared>> {
    let (mut namespace, mut is_namespace_left) = (None, false);
    for object in objects.iter().filter(|object| object["kind"] == "Namespace") {
        let there = cluster.there(object).await?;
        is_namespace_left |= there.as_ref().is_some_and(|there| !is_of_same(there, object));
        namespace = Some(there);
    }
    // Nothing can be rehearsed in a namespace that is not there.
    let lacks_namespace = namespace.as_ref().is_some_and(Option::is_none);
    let wanted = objects.into_iter().filter(|object| !(is_namespace_left && object["kind"] == "Namespace"));
    let looks = wanted.map(|object| compare_one(cluster, object, lacks_namespace, is_forced));
    let compared: Vec<Outcome<Compared>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    compared.into_iter().collect()
}

/// Whether a namespace was made for the fleet that it is wanted for, and not by others or for another fleet.
fn is_of_same(there: &Value, wanted: &Value) -> bool {
    ["managed-by", "instance"].iter().all(|name| {
        let label =
            |object: &Value| object["metadata"]["labels"][format!("app.kubernetes.io/{name}")].clone();
        label(there) == label(wanted)
    })
}

async fn compare_one(
    cluster: &Cluster,
    object: Value,
    lacks_namespace: bool,
    is_forced: bool,
) -> Outcome<Compared> {
    let name = name_of(&object);
    let is_inside = object["metadata"]["namespace"].is_string();
    let there = if lacks_namespace && is_inside { None } else { cluster.there(&object).await? };
    let Some(there) = there else {
        return Ok(Compared { object, surrounding: Surrounding::new(name, Action::Create) });
    };
    let how = Application { is_rehearsal: true, is_forced };
    let surrounding = match cluster.apply(&object, how).await {
        Ok(after) => match differences(&there, &after) {
            fields if fields.is_empty() => Surrounding::new(name, Action::Unchanged),
            fields => Surrounding { detail: fields.join(", "), ..Surrounding::new(name, Action::Update) },
        },
        Err(failure) if failure.exit == Exit::Conflict => Surrounding {
            blocked: Some(Blocked {
                reason: failure.message,
                help: "take the field out of their hands, or take it from them with --force-conflicts".into(),
            }),
            ..Surrounding::new(name, Action::Update)
        },
        Err(failure) => return Err(failure),
    };
    Ok(Compared { object, surrounding })
}

/// The objects that a former deployment has made and this one does not want.
pub(super) fn left_over(former: &[Value], wanted: &[Value]) -> Vec<Value> {
    let is_wanted = |object: &Value| wanted.iter().any(|other| is_same(object, other));
    former.iter().filter(|object| !is_shared(object) && !is_wanted(object)).cloned().collect()
}

/// Deletes what was made for the fleet, what depends on others first. Returns how many objects there were.
pub(super) async fn delete(cluster: &Cluster, objects: &[Value]) -> Outcome<u64> {
    let mut count = 0;
    let own = objects.iter().rev().filter(|object| !is_shared(object));
    for object in own {
        count += u64::from(cluster.delete(object).await?);
    }
    Ok(count)
}

/// Whether an object may hold what is others', or is there for the whole cluster.
pub(super) fn is_shared(object: &Value) -> bool {
    SHARED.iter().any(|kind| object["kind"] == *kind)
}

/// The claim of the volume of the node in this pod.
pub(super) fn claim_of(pod: &str) -> String {
    format!("data-{pod}")
}

/// The number of the node whose volume a claim is for.
pub(super) fn claimed_by(names: &Names, claim: &str) -> Option<u32> {
    let node = claim.strip_prefix("data-")?.strip_prefix(names.fleet())?.strip_prefix('-')?;
    mq_model::mesh::node_number(node)
}

/// `Service/prod`.
pub(super) fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn is_same(one: &Value, other: &Value) -> bool {
    let key = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        (
            group,
            object["kind"].clone(),
            object["metadata"]["namespace"].clone(),
            object["metadata"]["name"].clone(),
        )
    };
    key(one) == key(other)
}

/// The paths of the fields in which two states of an object differ, without what the cluster notes about it.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare_fields("", &essence(before), &essence(after), &mut found);
    found
}

/// How many fields are named at most.
const MAX_FIELDS: usize = 6;

fn compare_fields(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after || found.len() >= MAX_FIELDS {
        return;
    }
    // What is encoded is not worth reading, and what is secret is not to be read.
    let (Value::Object(one), Value::Object(other)) = (before, after) else {
        found.push(path.to_owned());
        return;
    };
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let of = |side: &serde_json::Map<String, Value>| side.get(key).cloned().unwrap_or_default();
        compare_fields(&path, &of(one), &of(other), found);
    }
}

fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for noted in
            ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"]
        {
            metadata.remove(noted);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::{super::tests::fleet, *};

    #[test]
    fn a_namespace_that_was_made_for_others_is_left_as_it_is() {
        let namespace = |by: &str, instance: &str| {
            json!({ "metadata": { "labels": {
                "app.kubernetes.io/managed-by": by, "app.kubernetes.io/instance": instance,
            } } })
        };
        let wanted = namespace("mq", "f");
        assert!(is_of_same(&wanted, &wanted));
        // Those of an operator of fleets, of another fleet, and of somebody else.
        for there in [namespace("mq", "mq-fleets"), namespace("mq", "g"), namespace("Helm", "f"), json!({})] {
            assert!(!is_of_same(&there, &wanted), "{there}");
        }
    }

    #[test]
    fn what_the_cluster_notes_about_an_object_is_no_difference() {
        let one =
            json!({ "kind": "A", "metadata": { "name": "a", "resourceVersion": "1" }, "spec": { "x": 1 } });
        let mut other = json!({
            "kind": "A",
            "metadata": { "name": "a", "resourceVersion": "2", "generation": 3, "managedFields": [1] },
            "spec": { "x": 1 },
            "status": { "ready": 1 },
        });
        assert_eq!(differences(&one, &other), Vec::<String>::new());
        other["spec"] = json!({ "x": 2, "y": { "z": 1 } });
        assert_eq!(differences(&one, &other), ["spec.x", "spec.y"]);
    }

    #[test]
    fn what_is_wanted_no_more_goes_and_what_is_shared_stays() {
        let of = |target| {
            let fleet = fleet(target);
            of_fleet(&fleet, |_| Ok(Vec::new())).unwrap()
        };
        let before = of(json!({ "namespace": "n", "routers": 2, "operator": true }));
        let after = of(json!({ "namespace": "n" }));
        let gone: Vec<String> = left_over(&before, &after).iter().map(name_of).collect();
        assert!(gone.contains(&"Deployment/prod-router".to_owned()), "{gone:?}");
        assert!(gone.contains(&"Deployment/prod-operator".to_owned()), "{gone:?}");
        assert!(gone.iter().all(|name| !name.starts_with("CustomResourceDefinition/")), "{gone:?}");
        assert_eq!(left_over(&after, &before), Vec::<Value>::new());
    }

    #[test]
    fn the_name_of_a_claim_says_whose_volume_it_is() {
        let names = Names::of_fleet("a-b");
        assert_eq!(claim_of(&names.pod(12)), "data-a-b-node-12");
        assert_eq!(claimed_by(&names, "data-a-b-node-12"), Some(12));
        for other in
            ["data-a-node-1", "data-a-b-c-node-1", "data-a-b-node-0", "data-a-b-node-x", "a-b-node-1"]
        {
            assert_eq!(claimed_by(&names, other), None, "{other}");
        }
    }

    #[test]
    fn which_pod_is_next_is_not_left_to_the_cluster() {
        let objects = of_fleet(&fleet(json!({})), |_| Ok(Vec::new())).unwrap();
        let set = objects.iter().find(|object| object["kind"] == "StatefulSet").unwrap();
        assert_eq!(set["spec"]["updateStrategy"], json!({ "type": "OnDelete" }));
    }
}
