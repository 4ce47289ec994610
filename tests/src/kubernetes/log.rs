//! `GET /api/v1/namespaces/<namespace>/pods/<name>/log`

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::node::Node;
use super::refusal::{Answer, Refusal};
use super::request::Query;
use super::server::Sender;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// How often a log that is followed is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// The log of a container, from where a client wants it.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    is_followed: bool,
    uid: String,
    path: PathBuf,
}

impl Log {
    pub(super) fn open(node: &Node, pod: &Value, query: &Query) -> Answer<Self> {
        let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
        let name = match query.text("container") {
            "" => containers.first().and_then(|container| container["name"].as_str()).unwrap_or_default(),
            name => name,
        };
        if !containers.iter().any(|container| container["name"] == name) {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Refusal::bad_request(format!("container {name} is not valid for pod {pod}")));
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let waiting = || {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
            Refusal::bad_request(format!("container \"{name}\" in pod \"{pod}\" is waiting to start"))
        };
        let path = node.log(uid, name, query.is("previous")).ok_or_else(waiting)?;
        let mut file = File::open(&path).map_err(|_| waiting())?;
        if let Some(lines) = query.number("tailLines") {
            skip_to_tail(&mut file, lines);
        }
        Ok(Self { file, is_followed: query.is("follow"), uid: uid.into(), path })
    }

    /// Sends the log, and what is added while it is followed.
    pub(super) async fn run(mut self, node: Arc<Node>, sender: Sender) {
        let mut piece = vec![0; PIECE];
        loop {
            // Looked at before the file: what is written after that is read by the next turn.
            let is_alive = node.is_running(&self.uid, &self.path);
            let Ok(count) = self.file.read(&mut piece) else { return };
            if count > 0 {
                if sender.send(Bytes::copy_from_slice(&piece[..count])).await.is_err() {
                    return;
                }
            } else if self.is_followed && is_alive && !sender.is_closed() {
                tokio::time::sleep(INTERVAL).await;
            } else {
                return;
            }
        }
    }
}

/// Moves to where so many lines are left.
fn skip_to_tail(file: &mut File, lines: u64) {
    let mut text = Vec::new();
    if file.read_to_end(&mut text).is_err() {
        return;
    }
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let begins = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let begins: Vec<usize> = std::iter::once(0).chain(begins).filter(|begin| *begin < text.len()).collect();
    let begin = begins.len().checked_sub(lines).map_or(0, |at| begins.get(at).copied().unwrap_or(text.len()));
    // A file that cannot be moved in is read as a whole.
    let _ = file.seek(SeekFrom::Start(begin as u64));
}
