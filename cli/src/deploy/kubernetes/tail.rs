//! The log of a pod, from some lines before its end on.

use std::{pin::Pin, time::Duration};

use futures_util::{AsyncBufRead, AsyncBufReadExt, StreamExt, io::Lines};
use kube::api::LogParams;

use crate::{
    cluster::Cluster,
    failure::{Failure, Outcome},
};

/// How long a line that is there already may take.
const PROMPT: Duration = Duration::from_millis(100);
/// The most that is read at once.
const MAX_READ: usize = 1 << 20;

/// A log that is being read. It ends with the container, and is opened again then.
pub(super) struct Tail {
    lines: Lines<Pin<Box<dyn AsyncBufRead + Send>>>,
    /// Lines that were there when it was opened, and have not been read.
    there: usize,
    pub(super) has_ended: bool,
}

impl Tail {
    /// Follows the log of a pod from `lines` before its end on; `None`: from its begin on.
    pub(super) async fn open(cluster: &Cluster, pod: &str, lines: Option<u32>) -> Outcome<Self> {
        let parameters = LogParams { tail_lines: lines.map(i64::from), ..LogParams::default() };
        let followed = cluster.follow(pod, &LogParams { follow: true, ..parameters.clone() }).await?;
        // Asked later, so that what is there now is in the other one as well.
        let there = cluster.log(pod, &parameters).await?.lines().count();
        Ok(Self { lines: followed.lines(), there, has_ended: false })
    }

    /// Whole lines that have come since, without waiting for further ones.
    pub(super) async fn read(&mut self) -> Outcome<Vec<u8>> {
        let mut text = Vec::new();
        while !self.has_ended && text.len() < MAX_READ {
            let line = if self.there > 0 {
                self.there -= 1;
                self.lines.next().await
            } else {
                match tokio::time::timeout(PROMPT, self.lines.next()).await {
                    Ok(line) => line,
                    Err(_) => break,
                }
            };
            match line {
                Some(Ok(line)) => {
                    text.extend_from_slice(line.as_bytes());
                    text.push(b'\n');
                }
                Some(Err(error)) => {
                    let why = crate::failure::reason(&error);
                    return Err(Failure::failed(format!("cannot read the log of a pod: {why}")));
                }
                None => self.has_ended = true,
            }
        }
        Ok(text)
    }
}
