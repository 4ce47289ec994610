//! The state directory of a node: whose it is, where the node is found, and what is kept from one run to the next.
//!
//! The files are those of `mqd`, and mean the same: `mqd.lock` is locked while the node lives, `node.json` is there
//! while it serves, `owner.token` lets its owner in.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use mq_model::{
    Secret,
    admin::{OWNER_TOKEN_FILE, Runtime},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::below;
use crate::{
    context::{read_bounded, sync_parent},
    deploy::local::{create_private, free_port},
    failure::{Failure, Outcome},
};

/// The largest file of its own that is read back.
const MAX_FILE: u64 = 64 << 20;
/// Where what the broker is reached with is kept.
const KEPT: &str = "kept.json";
/// Where what is the broker's own listens.
const LOOPBACK: &str = "127.0.0.1";

/// A state directory, locked for this process until it is dropped.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    _lock: File,
}

/// What stays the same from one run to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    /// The port by which the runtime of the broker finds itself.
    pub(super) epmd_port: u16,
    /// The port on which it would talk to other nodes.
    pub(super) distribution_port: u16,
    pub(super) management_port: u16,
    pub(super) metrics_port: u16,
    /// Whoever knows it may do everything with the broker's runtime.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub(super) cookie: Secret,
    /// The password of the administrator.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub(super) password: Secret,
    /// The password of those who give no name: only the broker uses it.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub(super) anonymous_password: Secret,
}

impl State {
    /// # Errors
    ///
    /// Another process uses the directory, or it cannot be written.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        create_private(path)?;
        create_private(&below(path))?;
        let place = path.join("mqd.lock");
        let failed = |error: io::Error| Failure::file("lock", &place, &error);
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut lock = options.open(&place).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process uses the state directory {}", path.display());
                return Err(Failure::failed(message).help("stop it, or set another state-dir"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        let state = Self { path: path.to_owned(), _lock: lock };
        state.forget_runtime()?;
        Ok(state)
    }

    /// The folder of the broker.
    pub(super) fn broker(&self) -> PathBuf {
        below(&self.path)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What was made by the first run, made now when this is it: none of its ports is `taken`.
    pub(super) fn kept(&self, mut taken: BTreeSet<u16>) -> Outcome<Kept> {
        let path = self.broker().join(KEPT);
        if let Some(kept) = read_json(&path)? {
            return Ok(kept);
        }
        let mut port = || {
            let port = free_port(LOOPBACK, &taken)?;
            taken.insert(port);
            Ok(port)
        };
        let kept = Kept {
            epmd_port: port()?,
            distribution_port: port()?,
            management_port: port()?,
            metrics_port: port()?,
            cookie: secret(),
            password: secret(),
            anonymous_password: secret(),
        };
        write_json(&path, &kept)?;
        Ok(kept)
    }

    /// Writes down with what whoever may read this directory gets in until the node ends.
    pub(super) fn owner(&self) -> Outcome<Secret> {
        let token = secret();
        write_private(&self.path.join(OWNER_TOKEN_FILE), token.expose().as_bytes())?;
        Ok(token)
    }

    /// Says in `node.json` that the node serves, and where.
    pub(super) fn announce(&self, runtime: &Runtime) -> Outcome {
        write_json(&self.path.join("node.json"), runtime)
    }

    pub(super) fn forget_runtime(&self) -> Outcome {
        let path = self.path.join("node.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file("delete", &path, &error))
            }
            _ => Ok(()),
        }
    }
}

/// 244 random bits as text.
fn secret() -> Secret {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    Secret::new(half() + &half())
}

/// What a file of JSON says; `None`: there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Outcome<Option<T>> {
    match read_bounded(path, MAX_FILE) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Outcome {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    write_private(path, &text)
}

/// Replaces a file in one step; its owner alone can read it.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Outcome {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    let opened = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary);
    opened
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_parent(path))
        .map_err(|error| Failure::file("write", path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_process_has_a_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _state = State::open(directory.path()).unwrap();
        assert!(State::open(directory.path()).unwrap_err().message.contains("another process"));
        let text = fs::read_to_string(directory.path().join("mqd.lock")).unwrap();
        assert_eq!(text.trim(), std::process::id().to_string());
    }

    #[test]
    fn what_is_kept_is_made_once_and_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let first = state.kept(BTreeSet::new()).unwrap();
        let again = state.kept(BTreeSet::new()).unwrap();
        assert_eq!(first.password.expose(), again.password.expose());
        assert_ne!(first.password.expose(), first.cookie.expose());
        assert!(!format!("{first:?}").contains(first.cookie.expose()));
        let mode = fs::metadata(state.broker().join(KEPT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
