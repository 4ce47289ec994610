//! Watches: what has happened to the objects of a selection since a revision, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::api::{Api, Request, Selection, versioned};
use super::refusal::{Answer, Refusal};
use super::server::Sender;
use super::store::{Change, Store};
use super::table;

/// Time between two bookmarks; the real one sends them once a minute.
const BOOKMARKS: Duration = Duration::from_secs(1);

/// How long a watch lives that does not say it.
const LIFE: u64 = 1_800;

/// A watch that has begun.
#[derive(Debug)]
pub(super) struct Watch {
    selection: Selection,
    revision: u64,
    is_table: bool,
    has_bookmarks: bool,
    life: Duration,
    /// What the client is told first: what there is.
    first: Vec<Value>,
}

impl Watch {
    pub(super) fn begin(api: &Api, selection: Selection, request: &Request) -> Answer<Self> {
        let query = &request.query;
        let has_bookmarks = query.is("allowWatchBookmarks");
        let asked = query.text("resourceVersion");
        let from: Option<u64> = asked.parse().ok().filter(|revision| *revision > 0);
        if from.is_none() && !matches!(asked, "" | "0") {
            return Err(Refusal::bad_request(format!("invalid resource version: {asked:?}")));
        }
        let life = query.number("timeoutSeconds").filter(|seconds| *seconds > 0).unwrap_or(LIFE).min(LIFE);
        let mut watch = Self {
            selection,
            revision: from.unwrap_or(0),
            is_table: request.accept.contains("as=Table"),
            has_bookmarks,
            life: Duration::from_secs(life),
            first: Vec::new(),
        };
        let wants_all = query.is("sendInitialEvents");
        api.with(|store| {
            if let (Some(revision), false) = (from, wants_all) {
                return if store.since(revision).is_some() {
                    Ok(watch)
                } else {
                    Err(Refusal::expired(revision, store.compacted()))
                };
            }
            watch.revision = store.revision();
            watch.first = watch.initial(store);
            if wants_all {
                let mut bookmark = watch.bookmark();
                bookmark["object"]["metadata"]["annotations"] =
                    json!({ "k8s.io/initial-events-end": "true" });
                watch.first.push(bookmark);
            }
            Ok(watch)
        })
    }

    fn initial(&self, store: &Store) -> Vec<Value> {
        let resource = self.selection.kind.resource();
        let found = store.list(&resource, self.selection.namespace.as_deref());
        let found = found.filter(|(key, object)| self.selection.has(key, object));
        found.map(|(_, object)| self.event("ADDED", object)).collect()
    }

    fn event(&self, kind: &str, object: &Value) -> Value {
        let object = versioned(&self.selection.kind, object);
        let object =
            if self.is_table { table::table(&self.selection.kind, &[object], &json!({})) } else { object };
        json!({ "type": kind, "object": object })
    }

    fn bookmark(&self) -> Value {
        let kind = &self.selection.kind;
        json!({ "type": "BOOKMARK", "object": {
            "kind": kind.kind, "apiVersion": kind.api_version(),
            "metadata": { "resourceVersion": self.revision.to_string() },
        } })
    }

    /// What a change is to those who see the selection alone.
    fn seen(&self, change: &Change) -> Option<Value> {
        let had = change.before.as_ref().is_some_and(|before| self.selection.has(&change.key, before));
        let has = !change.is_removal && self.selection.has(&change.key, &change.after);
        let kind = match (had, has) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(self.event(kind, &change.after))
    }

    /// Tells the client what happens, until it has gone or its time is over.
    pub(super) async fn run(mut self, api: Arc<Api>, sender: Sender) {
        let mut changed = api.subscribe();
        let end = Instant::now() + self.life;
        let mut events = std::mem::take(&mut self.first);
        loop {
            for event in events.drain(..) {
                let mut line = event.to_string();
                line.push('\n');
                if sender.send(Bytes::from(line)).await.is_err() {
                    return;
                }
            }
            let news = api.with(|store| self.news(store));
            match news {
                Ok(news) if !news.is_empty() => {
                    events = news;
                    continue;
                }
                Ok(_) => {}
                Err(refusal) => {
                    let line = format!("{}\n", json!({ "type": "ERROR", "object": refusal.status() }));
                    drop(sender.send(Bytes::from(line)).await);
                    return;
                }
            }
            let wait = timeout_at(end.min(Instant::now() + BOOKMARKS), changed.changed());
            let is_quiet = tokio::select! {
                changed = wait => changed.is_err(),
                () = sender.closed() => return,
            };
            if Instant::now() >= end {
                return;
            }
            if is_quiet && self.has_bookmarks {
                events.push(self.bookmark());
            }
        }
    }

    fn news(&mut self, store: &Store) -> Answer<Vec<Value>> {
        let changes = store.since(self.revision);
        let changes = changes.ok_or_else(|| Refusal::expired(self.revision, store.compacted()))?;
        let news = changes.filter_map(|change| self.seen(change)).collect();
        self.revision = store.revision();
        Ok(news)
    }
}
