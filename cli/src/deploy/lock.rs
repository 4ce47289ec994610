//! One command at a time changes a fleet.
//!
//! The lock is the kernel's, on `deploy.lock`, so it ends with the process that holds it, however that
//! ends. What stands in the file is for people: who holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Seek, Write},
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kubernetes::lease::Lease;
use crate::{
    context::read_bounded,
    exit::Exit,
    failure::{Failure, Outcome},
    shape,
};

/// The largest description of a holder that is read.
const MAX_HOLDER: u64 = 4 << 10;

/// The right to change a fleet; it ends when this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Closing the file gives the lock back.
    _file: File,
    /// The right to change what is in a cluster.
    _lease: Option<Lease>,
}

/// Who holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// `user@host`.
    pub by: String,
    pub pid: u32,
    /// What the user typed, such as `mq scale 5`.
    pub command: String,
    pub since: Timestamp,
}

impl Lock {
    /// Takes the lock of the fleet called `fleet`, whose directory is there, for `by` (`user@host`).
    pub fn take(directory: &Path, fleet: &str, command: &str, by: &str) -> Outcome<Self> {
        let path = directory.join("deploy.lock");
        // What the holder wrote must still be there when it is in our way, so nothing is cut off here.
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|error| Failure::file("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&path, fleet)),
            Err(TryLockError::Error(error)) => return Err(Failure::file("lock", &path, &error)),
        }
        let holder = Holder {
            by: by.to_owned(),
            pid: std::process::id(),
            command: command.to_owned(),
            since: Timestamp::now(),
        };
        let text = serde_json::to_string(&holder).unwrap_or_default();
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::file("write", &path, &error))?;
        Ok(Self { _file: file, _lease: None })
    }

    /// The lock with the lease that goes with it, where the fleet is in a cluster.
    #[must_use]
    pub fn beside(self, lease: Option<Lease>) -> Self {
        Self { _lease: lease, ..self }
    }
}

fn taken(path: &Path, fleet: &str) -> Failure {
    let holder = read_bounded(path, MAX_HOLDER).ok();
    let holder = holder.and_then(|text| serde_json::from_str::<Holder>(&text).ok());
    let message = match holder {
        Some(Holder { by, pid, command, since }) => format!(
            "another command is changing the fleet `{fleet}`: `{command}` of {by}, process {pid}, for {}",
            shape::age(Some(since))
        ),
        None => format!("another command is changing the fleet `{fleet}`"),
    };
    Failure::new(Exit::Conflict, message).help("wait until it has ended, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_command_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path(), "prod", "mq scale 5", "ana@laptop").unwrap();
        let failure = Lock::take(directory.path(), "prod", "mq deploy", "bob@desk").unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        let process = format!("process {}", std::process::id());
        for part in ["`prod`", "`mq scale 5`", "ana@laptop", &process] {
            assert!(failure.message.contains(part), "{failure}");
        }
        drop(lock);
        assert!(Lock::take(directory.path(), "prod", "mq deploy", "bob@desk").is_ok());
    }

    #[test]
    fn a_holder_that_said_nothing_holds_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("deploy.lock")).unwrap();
        file.lock().unwrap();
        let failure = Lock::take(directory.path(), "prod", "mq deploy", "bob@desk").unwrap_err();
        assert_eq!(failure.message, "another command is changing the fleet `prod`");
    }
}
