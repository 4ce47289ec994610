//! What `mq render` prints for a cluster, judged by the schemas of Kubernetes itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mq_tests::foreign::{helm, is_skipped, kubernetes_tool};
use mq_tests::{Mq, repository};
use serde_json::{Value, json};

/// The version whose schemas count.
const VERSION: &str = "1.36";

/// What the cluster itself does not know: these have their schemas elsewhere.
const ADDED: [&str; 6] = ["issuer", "certificate", "servicemonitor", "prometheusrule", "route", "tlsroute"];

fn example(name: &str) -> PathBuf {
    repository().join("manifests/examples").join(name)
}

/// Checks every file of a folder that holds objects of the cluster's own kinds; how many those are.
fn validated(folder: &Path) -> usize {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        !ADDED.iter().any(|kind| name.contains(&format!("-{kind}-")))
    });
    let mut command = kubernetes_tool("kubernetes-validate");
    command.args(["-k", VERSION, "--strict"]).args(&files);
    let output = command.output().expect("kubernetes-validate runs");
    let talk =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    files.len()
}

#[test]
fn every_object_is_one_that_kubernetes_takes() {
    if is_skipped() {
        return;
    }
    let (mq, folder) = (Mq::new(), tempfile::tempdir().expect("a folder"));
    for (name, fewest) in [("kubernetes.yaml", 12), ("kubernetes-small.yaml", 9)] {
        let out = folder.path().join(name);
        let (file, out) = (example(name), out.to_str().expect("UTF-8").to_owned());
        mq.run_with(&["render", "kubernetes", "-f", file.to_str().expect("UTF-8"), "--out", &out]).succeeds();
        let count = validated(Path::new(&out));
        assert!(count >= fewest, "{name}: only {count} objects were looked at");
    }
}

#[test]
fn secrets_are_made_once_and_are_what_kubernetes_takes() {
    if is_skipped() {
        return;
    }
    let (mq, folder) = (Mq::new(), tempfile::tempdir().expect("a folder"));
    let file = example("kubernetes.yaml");
    let render =
        || mq.run_with(&["render", "secrets", "-f", file.to_str().expect("UTF-8")]).succeeds().stdout;
    let first = render();
    assert_eq!(first, render(), "what is good for long enough is kept");
    fs::write(folder.path().join("secrets.yaml"), first).expect("a file");
    assert_eq!(validated(folder.path()), 1);
}

#[test]
fn definitions_of_objects_are_what_kubernetes_takes() {
    if is_skipped() {
        return;
    }
    let (mq, folder) = (Mq::new(), tempfile::tempdir().expect("a folder"));
    let printed = mq.run("render crds").succeeds().stdout;
    assert!(printed.contains("name: addresses.mq.messaging"), "{printed}");
    fs::write(folder.path().join("crds.yaml"), printed).expect("a file");
    assert_eq!(validated(folder.path()), 1);
}

/// Tables that a chart leaves open, and that are left out elsewhere when nothing is in them.
const OPEN: [&str; 4] = ["annotations", "imagePullSecrets", "nodeSelector", "tolerations"];

fn drop_what_is_open_and_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_empty = |value: &Value| *value == json!([]) || *value == json!({});
            fields.retain(|name, value| !(OPEN.contains(&name.as_str()) && is_empty(value)));
            fields.values_mut().for_each(drop_what_is_open_and_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_what_is_open_and_empty),
        _ => {}
    }
}

/// Every object of a text but the namespace, by kind and name.
fn objects(text: &str) -> BTreeMap<String, Value> {
    let documents = text.split("\n---\n").map(|part| part.trim_start_matches("---\n"));
    let values = documents
        .map(|part| serde_saphyr::from_str::<Value>(part).unwrap_or_else(|error| panic!("{error}\n{part}")));
    let objects = values.filter(|object| object.is_object() && object["kind"] != "Namespace");
    let named = |mut object: Value| {
        drop_what_is_open_and_empty(&mut object);
        (format!("{} {}", object["kind"], object["metadata"]["name"]), object)
    };
    objects.map(named).collect()
}

/// What Helm makes of the chart in a folder, with these words beside.
fn templated(chart: &Path, namespace: &str, more: &[&str]) -> BTreeMap<String, Value> {
    let mut command = helm();
    command.args(["template", "release"]).arg(chart).args(["--include-crds", "--namespace", namespace]);
    command.args(["--kube-version", VERSION]).args(more);
    let output = command.output().expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn a_chart_is_what_helm_takes_and_makes_the_objects_that_are_rendered_without_it() {
    if is_skipped() {
        return;
    }
    let (mq, folder) = (Mq::new(), tempfile::tempdir().expect("a folder"));
    for (name, namespace) in [("kubernetes.yaml", "messaging"), ("kubernetes-small.yaml", "default")] {
        let (file, chart) = (example(name), folder.path().join(name));
        let (file, to) = (file.to_str().expect("UTF-8"), chart.to_str().expect("UTF-8"));
        mq.run_with(&["render", "helm", "-f", file, "--directory", to]).succeeds();
        let linted = helm().args(["lint", "--strict", to]).output().expect("helm runs");
        assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));

        let rendered = objects(&mq.run_with(&["render", "kubernetes", "-f", file]).succeeds().stdout);
        let of_chart = templated(&chart, namespace, &[]);
        let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&of_chart), names(&rendered), "{name}");
        for (which, object) in &rendered {
            assert_eq!(&of_chart[which], object, "{name}: {which}");
        }

        let values = ["--set", "image=registry.test/mq:2", "--set", "storage.size=3Gi"];
        let other = templated(&chart, "elsewhere", &values);
        let (_, set) =
            other.iter().find(|(which, _)| which.starts_with("\"StatefulSet\"")).expect("a StatefulSet");
        assert_eq!(set["metadata"]["namespace"], "elsewhere");
        assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "registry.test/mq:2");
        let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"];
        assert_eq!(claim["resources"]["requests"]["storage"], "3Gi");
    }
}
