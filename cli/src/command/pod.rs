//! `mq pod`: what the pods of a cluster run beside the daemon.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use mq_model::{admin::DrainState, mesh::node_number};
use serde::Deserialize;

use crate::{
    args::pod::{Leave, PodCommand},
    client::admin::Admin,
    cluster::{Cluster, STATEFUL_SETS},
    deploy::Order,
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::http_url,
};

/// How often it is looked how far the node is.
const LOOK: Duration = Duration::from_millis(500);
/// Where the node answers that is in the same pod.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:8080";
/// The file in which a node keeps the order to give away what it holds.
const ORDER: &str = "order";

/// Nothing is read that is the user's own: a pod has no home.
pub(super) async fn run(args: &PodCommand, admin: Option<&str>, output: &Output) -> Outcome<Exit> {
    match args {
        PodCommand::Leave(args) => leave(args, admin, output).await,
    }
}

/// What counts of a StatefulSet.
#[derive(Debug, Deserialize)]
struct StatefulSet {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    /// One, where it says nothing.
    replicas: Option<u32>,
    #[serde(default)]
    ordinals: Ordinals,
}

#[derive(Debug, Default, Deserialize)]
struct Ordinals {
    #[serde(default)]
    start: u32,
}

/// What becomes of a pod that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It comes back, with its volume.
    Returns,
    /// It goes for good, and others stay.
    Leaves,
    /// It goes with all others: there is nobody to take what it holds.
    Ends,
}

impl StatefulSet {
    fn fate(&self, ordinal: u32) -> Fate {
        let replicas = self.spec.replicas.unwrap_or(1);
        let wanted = self.spec.ordinals.start..self.spec.ordinals.start.saturating_add(replicas);
        match self.metadata.deletion_timestamp {
            Some(_) => Fate::Ends,
            None if wanted.contains(&ordinal) => Fate::Returns,
            None if replicas == 0 => Fate::Ends,
            None => Fate::Leaves,
        }
    }
}

async fn leave(args: &Leave, admin: Option<&str>, output: &Output) -> Outcome<Exit> {
    let pod = env::text(env::POD_NAME).ok_or_else(|| {
        Failure::usage(format!("{} does not say which pod this is", env::POD_NAME))
            .help("this command is for the pods of a cluster, and `mq node drain` for everybody else")
    })?;
    let (set, ordinal) = place(&pod)?;
    match stateful_set(set).await?.map_or(Fate::Ends, |set| set.fate(ordinal)) {
        Fate::Returns | Fate::Ends => return Ok(Exit::Ok),
        Fate::Leaves => {}
    }
    let deadline = Instant::now() + Duration::from_secs(args.seconds.into());
    let admin = Admin::new(http_url(admin.unwrap_or(DEFAULT_ADMIN))?)?;
    let emptied = empty(&admin, deadline, output).await;
    // Whoever starts the node again wants it to take part. The process that is about to end goes by what it was told.
    forget_order(&args.state)?;
    emptied
}

/// The StatefulSet of a pod, and which of its pods it is.
fn place(pod: &str) -> Outcome<(&str, u32)> {
    let found = pod.rsplit_once('-').and_then(|(set, _)| {
        let node = pod.get(set.rfind('-')? + 1..)?;
        Some((set, node_number(node)?))
    });
    found.ok_or_else(|| Failure::usage(format!("`{pod}` is not the name of a pod of a fleet that stores")))
}

/// The StatefulSet as the cluster knows it; `None`: it is no more.
async fn stateful_set(name: &str) -> Outcome<Option<StatefulSet>> {
    let Some(object) = Cluster::of_pod()?.get(STATEFUL_SETS, name).await? else { return Ok(None) };
    let set = serde_json::from_value(object);
    set.map(Some).map_err(|error| Failure::failed(format!("cannot read the StatefulSet `{name}`: {error}")))
}

/// Has the node give away what it holds, and waits until it has.
async fn empty(admin: &Admin, deadline: Instant, output: &Output) -> Outcome<Exit> {
    let mut holds = admin.order(Order::Drain).await?;
    while holds.state != DrainState::Drained {
        if Instant::now() >= deadline {
            let message = format!(
                "the node still holds {} messages of {} addresses when its time is up; they stay in its volume",
                holds.messages, holds.queues
            );
            let why = holds.stuck_because.unwrap_or_else(|| "start the pod again to get at them".into());
            return Err(Failure::new(Exit::TimedOut, message).help(why));
        }
        tokio::time::sleep(LOOK).await;
        holds = admin.holds().await?;
    }
    output.talk("the node is empty");
    Ok(Exit::Ok)
}

fn forget_order(state: &Path) -> Outcome {
    let path = state.join(ORDER);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("delete", &path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> StatefulSet {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_pod_beyond_those_that_are_wanted_goes_for_good() {
        let three = set(r#"{"metadata":{},"spec":{"replicas":3,"ordinals":{"start":1}}}"#);
        assert_eq!(
            [1, 3, 4].map(|ordinal| three.fate(ordinal)),
            [Fate::Returns, Fate::Returns, Fate::Leaves]
        );
        let one = set(r#"{"metadata":{},"spec":{}}"#);
        assert_eq!([0, 1].map(|ordinal| one.fate(ordinal)), [Fate::Returns, Fate::Leaves]);
    }

    #[test]
    fn where_all_go_nobody_takes_what_there_is() {
        let deleted =
            set(r#"{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"replicas":3}}"#);
        assert_eq!(deleted.fate(0), Fate::Ends);
        let none = set(r#"{"metadata":{},"spec":{"replicas":0,"ordinals":{"start":1}}}"#);
        assert_eq!(none.fate(1), Fate::Ends);
    }

    #[test]
    fn the_name_of_a_pod_says_whose_it_is() {
        assert_eq!(place("a-b-node-12").unwrap(), ("a-b-node", 12));
        for bad in ["node", "f-router-7d9-x2b", "f-node-0", "f-node-01", ""] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_order_that_is_not_there_is_forgotten_as_well() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(ORDER), "drain\n").unwrap();
        forget_order(state.path()).unwrap();
        forget_order(state.path()).unwrap();
        assert!(!state.path().join(ORDER).exists());
    }
}
