//! What `mq render` prints for a cluster, judged by the schemas of Kubernetes itself.

use std::fs;
use std::path::{Path, PathBuf};

use mq_tests::foreign::{is_skipped, kubernetes_tool};
use mq_tests::{Mq, repository};

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

#[test]
fn a_fleet_of_a_cluster_is_not_deployed_here() {
    let mq = Mq::new();
    let file = example("kubernetes.yaml");
    let refused = mq.run_with(&["deploy", "-f", file.to_str().expect("UTF-8")]).exits_with(2);
    assert!(refused.stderr.contains("mq render kubernetes"), "{refused:?}");
}
