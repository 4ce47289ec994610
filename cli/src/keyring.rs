//! Where passwords and tokens of contexts are kept: the keyring of this system, or a file that its owner alone can
//! read where there is none.
//!
//! On Linux that is the kernel's keyring (keyrings(7)), which forgets when the machine restarts; on macOS the
//! Keychain.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mq_model::Secret;
use serde::{Deserialize, Serialize};

use crate::{
    context::{base, read_bounded, sync_parent},
    env,
    failure::{Failure, Outcome},
};

/// What entries of the system's keyring are called by, beside the name of the context.
const SERVICE: &str = "mq";

/// The largest entry that is read.
const MAX_ENTRY: u64 = 256 << 10;

/// Where secrets are kept.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// The system's keyring is asked.
    has_system: bool,
    /// The folder of the files.
    folder: PathBuf,
}

/// Where a secret has been put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    System,
    File(PathBuf),
}

/// What is kept for a context.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Kept {
    #[serde(rename_all = "camelCase")]
    Password {
        user: String,
        #[serde(serialize_with = "Secret::serialize_exposed")]
        password: Secret,
    },
    Tokens(Tokens),
}

/// What an identity provider has given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    #[serde(serialize_with = "Secret::serialize_exposed")]
    pub access: Secret,
    /// Until when the provider says that it is good; `None`: it does not say.
    pub expires: Option<Timestamp>,
    /// With what another one is got.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub refresh: Option<Secret>,
    /// The secret of the client, which gets tokens for itself.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub client_secret: Option<Secret>,
}

fn exposed<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

impl Keyring {
    /// The user's, by what [`env::KEYRING`] says.
    pub fn of_user() -> Outcome<Self> {
        let has_system = match env::text(env::KEYRING).as_deref() {
            None | Some("system") => true,
            Some("file") => false,
            Some(other) => {
                let message = format!("{} is `{other}`", env::KEYRING);
                return Err(Failure::usage(message).help("set it to `system` or `file`, or leave it out"));
            }
        };
        // No fleet has a name that begins with a dot.
        let folder = base(env::STATE_HOME, ".local/state")?.join("mq").join(".keyring");
        Ok(Self { has_system, folder })
    }

    /// Keeps what belongs to a context, in place of what was kept before.
    pub fn keep(&self, context: &str, kept: &Kept) -> Outcome<Place> {
        let text = serde_json::to_string(kept).map(Secret::new);
        let text = text.map_err(|error| Failure::failed(format!("cannot write a secret down: {error}")))?;
        let path = self.path(context);
        let is_kept =
            self.has_system && entry(context).is_some_and(|entry| entry.set_password(text.expose()).is_ok());
        if is_kept {
            // What a file still held would be found when the keyring has forgotten.
            remove(&path)?;
            return Ok(Place::System);
        }
        write(&path, text.expose().as_bytes()).map_err(|error| Failure::file("write", &path, &error))?;
        Ok(Place::File(path))
    }

    /// What is kept for a context; `None`: nothing.
    pub fn find(&self, context: &str) -> Outcome<Option<Kept>> {
        let of_system = || entry(context).and_then(|entry| entry.get_password().ok());
        let path = self.path(context);
        let text = match self.has_system.then(of_system).flatten() {
            Some(text) => Secret::new(text),
            None => match read_bounded(&path, MAX_ENTRY) {
                Ok(text) => Secret::new(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Failure::file("read", &path, &error)),
            },
        };
        // The error of the parser would show what it has read.
        serde_json::from_str(text.expose()).map(Some).map_err(|_| {
            Failure::failed(format!("what is kept for the context `{context}` cannot be understood"))
                .help("forget it with `mq logout`, and log in again")
        })
    }

    /// Forgets what is kept for a context; says whether there was anything.
    pub fn forget(&self, context: &str) -> Outcome<bool> {
        let of_system =
            self.has_system && entry(context).is_some_and(|entry| entry.delete_credential().is_ok());
        Ok(remove(&self.path(context))? || of_system)
    }

    /// Waits until no other command changes what is kept for a context; that lasts as long as the file that comes back
    /// is open.
    pub fn lock(&self, context: &str) -> Outcome<File> {
        let path = self.folder.join(format!("{context}.lock"));
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|error: io::Error| Failure::file("lock", &path, &error))
    }

    fn path(&self, context: &str) -> PathBuf {
        self.folder.join(format!("{context}.json"))
    }
}

fn entry(context: &str) -> Option<keyring::Entry> {
    keyring::Entry::new(SERVICE, context).ok()
}

fn remove(path: &Path) -> Outcome<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("delete", path, &error)),
    }
}

/// Writes a file that nobody else can read at any time, in one step.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_parent(path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn password(text: &str) -> Kept {
        Kept::Password { user: "ann".into(), password: Secret::new(text) }
    }

    #[test]
    fn a_secret_in_a_file_is_its_owners_alone_and_goes_when_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring { has_system: false, folder: home.path().join("mq/.keyring") };
        assert!(keyring.find("prod").unwrap().is_none());
        let place = keyring.keep("prod", &password("pencil")).unwrap();
        keyring.keep("prod", &password("eraser")).unwrap();
        let Place::File(path) = place else { panic!("{place:?}") };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let Some(Kept::Password { user, password }) = keyring.find("prod").unwrap() else { panic!("kept") };
        assert_eq!((user.as_str(), password.expose()), ("ann", "eraser"));
        assert!(keyring.find("other").unwrap().is_none());
        assert!(keyring.forget("prod").unwrap() && !path.exists());
        assert!(!keyring.forget("prod").unwrap());
    }

    #[test]
    fn nothing_shows_what_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring { has_system: false, folder: home.path().to_owned() };
        assert!(!format!("{:?}", password("pencil")).contains("pencil"));
        fs::write(keyring.path("prod"), "{\"kind\": \"Password\", \"password\": \"pencil\"").unwrap();
        let failure = keyring.find("prod").unwrap_err();
        assert!(!failure.message.contains("pencil") && failure.help.unwrap().contains("mq logout"));
    }
}
