//! Changes of objects as they come.

use std::{fmt, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use kube::{Error, core::WatchEvent};
use serde_json::Value;
use tokio::time::Instant;

use super::failure;
use crate::failure::{Failure, Outcome};

/// Changes as they come.
pub struct Watch {
    events: Pin<Box<dyn Stream<Item = Result<WatchEvent<Value>, Error>> + Send>>,
    /// A watch that says nothing of its end has lost its connection.
    end: Instant,
    place: String,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object that is new, or has changed.
    Object(Value),
    /// An object that is gone, as it was.
    Gone(Value),
    /// Nothing but how far the watch is.
    Bookmark(String),
}

impl Watch {
    pub(super) fn new<S>(events: S, limit: Duration, place: String) -> Self
    where
        S: Stream<Item = Result<WatchEvent<Value>, Error>> + Send + 'static,
    {
        Self { events: events.boxed(), end: Instant::now() + limit, place }
    }

    /// The next change; `None` when the watch is over, and another one can begin. Cancel-safe: what has come of a change
    /// is kept.
    ///
    /// # Errors
    ///
    /// When the changes from this version on are not known any more: everything has to be listed again.
    pub async fn next(&mut self) -> Outcome<Option<Change>> {
        match tokio::time::timeout_at(self.end, self.events.next()).await {
            Ok(Some(Ok(event))) => change(event).map(Some),
            // However it ends, what is not known yet comes with the next one.
            Ok(None | Some(Err(Error::ReadEvents(_)))) | Err(_) => Ok(None),
            Ok(Some(Err(error))) => Err(failure(&error, &self.place)),
        }
    }
}

fn change(event: WatchEvent<Value>) -> Outcome<Change> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(Change::Object(object)),
        WatchEvent::Deleted(object) => Ok(Change::Gone(object)),
        WatchEvent::Bookmark(bookmark) => Ok(Change::Bookmark(bookmark.metadata.resource_version)),
        WatchEvent::Error(status) => {
            let why = if status.message.is_empty() { "it does not say why" } else { &status.message };
            Err(Failure::failed(format!("the cluster ends a watch: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(event: Value) -> Outcome<Change> {
        change(serde_json::from_value(event).unwrap())
    }

    #[test]
    fn a_watch_tells_of_objects_and_of_how_far_it_is() {
        let object = json!({ "metadata": { "name": "a" } });
        assert_eq!(
            told(json!({ "type": "MODIFIED", "object": object })).unwrap(),
            Change::Object(object.clone())
        );
        assert_eq!(told(json!({ "type": "DELETED", "object": object })).unwrap(), Change::Gone(object));
        let bookmark = json!({
            "type": "BOOKMARK",
            "object": { "apiVersion": "v1", "kind": "Pod", "metadata": { "resourceVersion": "7" } },
        });
        assert_eq!(told(bookmark).unwrap(), Change::Bookmark("7".into()));
    }

    #[test]
    fn a_watch_from_too_long_ago_is_an_error_with_its_reason() {
        let event = json!({
            "type": "ERROR",
            "object": { "kind": "Status", "status": "Failure", "code": 410, "message": "too old" },
        });
        assert!(told(event).unwrap_err().message.contains("too old"));
    }
}
