//! The state directory of a node: who owns it, and where others find the node.
//!
//! `mqd.lock` is locked while a daemon uses the directory (the kernel lets go of it whatever way the
//! daemon ends); `node.json` is there while the daemon serves. A `node.json` beside a lock that
//! nobody holds is left over from a crash and means nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mq_model::admin::{OWNER_TOKEN_FILE, Runtime};

use crate::objects::write_atomically;
use crate::owner::Owner;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    #[error(
        "another mqd (pid {pid}) uses the state directory {}; stop it, or set another state-dir",
        directory.display()
    )]
    InUse { directory: PathBuf, pid: String },
    #[error("cannot {action} {}: {source}; set state-dir to a directory that mqd may write to", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// A state directory, locked for this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl StateDir {
    /// Creates the directory where it is missing (readable by its owner alone) and locks it.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] while another daemon uses it, [`StateError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        create_private(path)?;
        let lock_path = path.join("mqd.lock");
        let failed = |source| StateError::Io { action: "lock", path: lock_path.clone(), source };
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut lock = options.open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::InUse { directory: path.to_owned(), pid: owner(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_owner(&mut lock).map_err(failed)?;
        let directory = Self { path: path.to_owned(), _lock: lock };
        directory.forget_runtime()?;
        Ok(directory)
    }

    /// The directory of the configuration objects, created where it is missing.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn objects(&self) -> Result<PathBuf, StateError> {
        let path = self.path.join("objects");
        create_private(&path)?;
        Ok(path)
    }

    /// Writes down with what whoever may read this directory gets in.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn tell_owner(&self, owner: &Owner) -> Result<(), StateError> {
        let path = self.path.join(OWNER_TOKEN_FILE);
        let written = write_atomically(&path, owner.token().expose().as_bytes());
        written.map(drop).map_err(|source| StateError::Io { action: "write", path, source })
    }

    /// Says in `node.json` that the node serves, and where.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    pub fn announce(&self, runtime: &Runtime) -> Result<(), StateError> {
        let path = self.runtime_path();
        let written = serde_json::to_vec_pretty(runtime)
            .map_err(io::Error::from)
            .and_then(|content| write_atomically(&path, &content));
        written.map(drop).map_err(|source| StateError::Io { action: "write", path, source })
    }

    /// Removes `node.json`: the node no longer serves.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`], but not when there is none.
    pub fn forget_runtime(&self) -> Result<(), StateError> {
        let path = self.runtime_path();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Where `node.json` is.
    pub fn runtime_path(&self) -> PathBuf {
        self.path.join("node.json")
    }
}

/// Creates a directory where it is missing, readable by its owner alone.
///
/// # Errors
///
/// [`StateError::Io`].
pub(crate) fn create_private(path: &Path) -> Result<(), StateError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| StateError::Io { action: "create", path: path.to_owned(), source })
}

fn write_owner(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// The process id in a lock file that another process holds.
fn owner(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(20).read_to_string(&mut text);
    let pid = text.trim();
    if read.is_ok() && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) {
        pid.to_owned()
    } else {
        "unknown".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_and_the_second_learns_its_pid() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = StateDir::open(&path).unwrap();
        let error = StateDir::open(&path).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&error, StateError::InUse { pid: found, .. } if *found == pid), "{error}");
        assert!(error.to_string().starts_with(&format!("another mqd (pid {pid}) uses the state directory")));
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn nobody_but_the_owner_may_look_into_the_directory() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let state = StateDir::open(&path).unwrap();
        let objects = state.objects().unwrap();
        for directory in [path, objects] {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn the_token_of_the_owner_is_a_new_one_each_time_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path()).unwrap();
        let path = parent.path().join(OWNER_TOKEN_FILE);
        let mut seen = Vec::new();
        for _ in 0..2 {
            state.tell_owner(&Owner::new()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            seen.push(fs::read_to_string(&path).unwrap());
        }
        assert_ne!(seen[0], seen[1]);
    }

    #[test]
    fn a_stale_announcement_is_removed_when_the_directory_is_opened() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("node.json"), "{}").unwrap();
        let state = StateDir::open(parent.path()).unwrap();
        assert!(!state.runtime_path().exists());
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_an_error_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
