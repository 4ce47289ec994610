//! The thread that reads bodies from the disk.

use std::sync::mpsc::Receiver;

use mq_core::{ShardId, StoreAnswer, StoreError, Ticket};
use mq_store::Location;
use tracing::error;

use super::writer::{Answers, refused};
use crate::mailbox::Mailbox;

/// Bytes after which what was read is handed over: the first of many is not to wait for the last.
const HAND_OVER: usize = 256 << 10;

/// A body that a shard waits for.
pub(super) type Load = (ShardId, Ticket, Location);

/// Reads until nobody can ask any more.
pub(super) fn run(loads: &Receiver<Vec<Load>>, mailboxes: &[Mailbox]) {
    let mut answers = Answers::new(mailboxes.len());
    while let Ok(batch) = loads.recv() {
        let mut bytes = 0;
        for (shard, ticket, location) in batch {
            let answer = match location.read() {
                Ok(body) => {
                    bytes += body.len();
                    StoreAnswer::Loaded { ticket, body }
                }
                Err(problem) => {
                    error!(%problem, "a message cannot be read");
                    let error: StoreError = refused(&problem);
                    StoreAnswer::Failed { ticket, error }
                }
            };
            answers.push(shard, answer);
            if bytes >= HAND_OVER {
                bytes = 0;
                answers.post(mailboxes);
            }
        }
        answers.post(mailboxes);
    }
}
