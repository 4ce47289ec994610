//! The API server of the tests under the real `kubectl`: what deployments rely on. The same tests pass against a
//! real cluster (`MQ_TEST_KUBECONFIG`), unless they say that they look behind the scenes.

use mq_tests::foreign::is_skipped;
use mq_tests::kubernetes::{Cluster, Site};
use mq_tests::{Finished, eventually};
use serde_json::{Value, json};

/// A set of no pods: nothing has to run.
fn set(replicas: u32, service: &str, image: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas, "serviceName": service, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": image, "ports": [{ "containerPort": 80 }] }] },
            },
        },
    })
    .to_string()
}

fn config(data: Value) -> String {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data }).to_string()
}

#[track_caller]
fn apply(site: &Site, more: &str, object: &str) -> Finished {
    site.kubectl_reading(&format!("apply -f - {more}"), object)
}

#[test]
fn kubectl_applies_from_its_side_and_changes_nothing_the_second_time() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "", &set(0, "web", "a")).succeeds().prints("statefulset.apps/web created");
    let first = site.get("statefulset/web").unwrap();
    apply(&site, "", &set(0, "web", "a")).succeeds().prints("statefulset.apps/web unchanged");
    let second = site.get("statefulset/web").unwrap();
    assert_eq!(first["metadata"]["generation"], second["metadata"]["generation"]);
    apply(&site, "", &set(0, "web", "b")).succeeds().prints("statefulset.apps/web configured");
    let changed = site.get("statefulset/web").unwrap();
    assert_eq!(changed["spec"]["template"]["spec"]["containers"][0]["image"], "b");
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(changed["spec"]["updateStrategy"]["type"], "RollingUpdate", "defaults are filled in");
}

#[test]
fn server_side_apply_tells_who_owns_a_field() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    let one = "--server-side --field-manager one";
    let two = "--server-side --field-manager two";
    apply(&site, one, &config(json!({ "x": "1", "y": "1" })))
        .succeeds()
        .prints("configmap/a serverside-applied");
    apply(&site, two, &config(json!({ "x": "2" }))).exits_with(1).says("conflict with \"one\": .data.x");
    apply(&site, two, &config(json!({ "z": "2" }))).succeeds();
    apply(&site, &format!("{two} --force-conflicts"), &config(json!({ "x": "2", "z": "2" }))).succeeds();
    // What the first manager does not ask for any more goes; what the second has taken stays.
    apply(&site, one, &config(json!({}))).succeeds();
    assert_eq!(site.get("configmap/a").unwrap()["data"], json!({ "x": "2", "z": "2" }));
}

#[test]
fn kubectl_moves_from_its_own_side_to_the_servers() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "", &set(0, "web", "a")).succeeds();
    apply(&site, "--server-side", &set(0, "web", "b")).succeeds();
    assert_eq!(
        site.get("statefulset/web").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"],
        "b"
    );
}

#[test]
fn what_a_stateful_set_cannot_change_is_refused() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "--server-side", &set(0, "web", "a")).succeeds();
    let other = apply(&site, "--server-side", &set(0, "other", "a"));
    other
        .exits_with(1)
        .says("is invalid: spec: Forbidden: updates to statefulset spec for fields other than");
    let mut wrong: Value = serde_json::from_str(&set(0, "web", "a")).unwrap();
    wrong["metadata"]["name"] = json!("other");
    wrong["spec"]["template"]["metadata"]["labels"]["app"] = json!("x");
    wrong["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "v", "mountPath": "/v" }]);
    apply(&site, "--server-side", &wrong.to_string())
        .exits_with(1)
        .says("`selector` does not match template `labels`")
        .says("spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"v\"");
}

#[test]
fn an_object_goes_when_its_last_finalizer_does() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "", &config(json!({}))).succeeds();
    let patch = |finalizers: &str| {
        site.kubectl(&format!(
            r#"patch configmap a --type merge -p {{"metadata":{{"finalizers":{finalizers}}}}}"#
        ))
        .succeeds();
    };
    patch(r#"["tests/keep"]"#);
    site.kubectl("delete configmap a --wait=false").succeeds();
    assert!(site.get("configmap/a").unwrap()["metadata"]["deletionTimestamp"].is_string());
    patch("[]");
    assert_eq!(site.get("configmap/a"), None);
}

#[test]
fn what_an_owner_leaves_behind_is_collected() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "", &set(0, "web", "a")).succeeds();
    let uid = site.get("statefulset/web").unwrap()["metadata"]["uid"].clone();
    let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": uid });
    let owned = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "ownerReferences": [owner] },
    });
    apply(&site, "", &owned.to_string()).succeeds();
    site.kubectl("delete statefulset web").succeeds();
    eventually("the collection of what was owned", || site.get("configmap/a").is_none().then_some(()));
}

/// The definition of a kind that only this test knows.
fn definition(group: &str) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("things.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced", "names": { "kind": "Thing", "plural": "things" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }],
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "required": ["size"], "properties": {
                        "size": { "type": "integer", "minimum": 1 },
                        "color": { "type": "string", "default": "red" },
                    } },
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                } } },
            }],
        },
    })
    .to_string()
}

#[test]
fn a_kind_is_served_as_its_definition_says() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    let group = format!("{}.example.org", site.namespace());
    apply(&site, "--server-side", &definition(&group)).succeeds();
    let name = format!("crd/things.{group}");
    site.kubectl(&format!("wait {name} --for condition=Established --timeout 20s")).succeeds();
    let thing = |spec: Value| {
        let version = format!("{group}/v1");
        json!({ "apiVersion": version, "kind": "Thing", "metadata": { "name": "t" }, "spec": spec })
            .to_string()
    };
    apply(&site, "--server-side", &thing(json!({ "size": 0 })))
        .exits_with(1)
        .says("spec.size: Invalid value");
    apply(&site, "--server-side", &thing(json!({}))).exits_with(1).says("\"size\"");
    apply(&site, "--server-side --validate=strict", &thing(json!({ "size": 1, "siez": 1 })))
        .exits_with(1)
        .says("siez");
    apply(&site, "--server-side --validate=ignore", &thing(json!({ "size": 1, "siez": 1 }))).succeeds();
    assert_eq!(site.get("things/t").unwrap()["spec"], json!({ "size": 1, "color": "red" }));
    site.kubectl("get things").succeeds().prints("SIZE");
    let status = r#"{"status":{"phase":"Ready"}}"#;
    site.kubectl(&format!("patch things t --type merge -p {status}")).succeeds();
    assert_eq!(site.get("things/t").unwrap()["status"], Value::Null, "it is a subresource");
    site.kubectl(&format!("patch things t --type merge --subresource status -p {status}")).succeeds();
    let changed = site.get("things/t").unwrap();
    assert_eq!(
        (&changed["status"]["phase"], &changed["metadata"]["generation"]),
        (&json!("Ready"), &json!(1))
    );
    site.kubectl(&format!("delete {name}")).succeeds();
    site.kubectl("get things").exits_with(1);
}

#[test]
fn a_definition_that_is_not_structural_is_refused() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    let mut definition: Value = serde_json::from_str(&definition("x.example.org")).unwrap();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["size"] = json!({ "minimum": 1 });
    apply(&site, "--server-side", &definition.to_string()).exits_with(1).says("type: Required value");
}

#[test]
fn a_watch_is_told_of_what_has_happened_and_of_what_it_has_missed() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace());
    let list = site.kubectl(&format!("get --raw {path}")).succeeds().json();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    apply(&site, "", &config(json!({ "x": "1" }))).succeeds();
    apply(&site, "", &config(json!({ "x": "2" }))).succeeds();
    site.kubectl("delete configmap a").succeeds();
    let watch = format!(
        "get --raw {path}?watch=true&fieldSelector=metadata.name%3Da&timeoutSeconds=1&resourceVersion={revision}"
    );
    let seen = site.kubectl(&watch).succeeds();
    let kinds: Vec<Value> = seen
        .lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone())
        .collect();
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
    // A real cluster forgets after five minutes.
    if let Some(cluster) = site.cluster() {
        cluster.compact();
        site.kubectl(&watch).exits_with(1).says("too old resource version");
    }
}

#[test]
fn a_list_comes_in_pages() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    for name in ["a", "b", "c"] {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "of": "tests" } },
        });
        site.kubectl_reading("create -f -", &object.to_string()).succeeds();
    }
    let path = format!("/api/v1/namespaces/{}/configmaps?labelSelector=of%3Dtests&limit=2", site.namespace());
    let page = site.kubectl(&format!("get --raw {path}")).succeeds().json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let token = page["metadata"]["continue"].as_str().unwrap().replace('+', "%2B").replace('/', "%2F");
    let rest =
        site.kubectl(&format!("get --raw {path}&continue={}", token.replace('=', "%3D"))).succeeds().json();
    assert_eq!(rest["items"][0]["metadata"]["name"], "c");
    assert_eq!(rest["metadata"]["continue"], Value::Null);
    assert_eq!(site.kubectl("get configmaps -l of=tests --chunk-size 1 -o name").succeeds().lines().len(), 3);
}

#[test]
fn a_service_account_may_do_what_its_role_says() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "bob" } },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader" },
            "rules": [
                { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"] },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "bob" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
            "subjects": [{ "kind": "ServiceAccount", "name": "bob" }],
        },
    ] });
    apply(&site, "--server-side", &objects.to_string()).succeeds();
    apply(&site, "", &config(json!({}))).succeeds();
    let as_bob = |arguments: &str| {
        let request = format!("/api/v1/namespaces/{}/serviceaccounts/bob/token", site.namespace());
        let review =
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[]}}"#;
        let review = site.kubectl_reading(&format!("create --raw {request} -f -"), review).succeeds().json();
        let token = review["status"]["token"].as_str().unwrap().to_owned();
        // A certificate would count for more than a token: this context has none of its own.
        site.kubectl(&format!("{arguments} --context by-token --token {token}"))
    };
    if site.cluster().is_some() {
        as_bob("get configmap a").succeeds();
        as_bob("get configmap b").exits_with(1).says("cannot get resource \"configmaps\" in API group \"\"");
        as_bob("delete configmap a").exits_with(1).says("Forbidden");
    }
}

#[test]
fn a_writer_who_is_late_is_told_so() {
    if is_skipped() {
        return;
    }
    let site = Site::new();
    apply(&site, "", &config(json!({ "x": "1" }))).succeeds();
    let stale = site.get("configmap/a").unwrap().to_string();
    apply(&site, "", &config(json!({ "x": "2" }))).succeeds();
    site.kubectl_reading("replace -f -", &stale).exits_with(1).says("the object has been modified");
}

#[test]
fn nobody_gets_in_without_a_certificate_or_a_token() {
    if is_skipped() {
        return;
    }
    let site = Site::of(Cluster::builder());
    if site.cluster().is_some() {
        site.kubectl("get pods --context by-token --token wrong").exits_with(1).says("Unauthorized");
    }
}
