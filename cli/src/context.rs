//! Contexts: names for where a fleet is reached, in `contexts.yaml`.
//!
//! The file is small and written whole: to a temporary name, then renamed, so that a reader sees the
//! old one or the new one. Two commands that change it at once are kept apart by a lock file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use mq_model::manifest::SshHost;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::forward::PodPlace,
    env,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    oidc::Oidc,
};

/// The largest file of contexts that is read: a mebibyte is thousands of contexts.
const MAX_FILE: u64 = 1 << 20;

/// Where one fleet is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Context {
    /// `amqp://host:port`; empty when only MQTT is spoken there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub amqp: String,
    /// `mqtt://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<String>,
    /// `http://host:port` of the admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Where each node of the fleet is reached, when it has several; the first one is the one above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Place>,
    /// Who commands are there, and whom they trust.
    #[serde(default, skip_serializing_if = "Access::is_empty")]
    pub access: Access,
    /// The directory that holds the fleet's nodes, when `mq deploy` runs them on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// The directory with what is known of the fleet, when `mq deploy` runs its nodes on other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PathBuf>,
}

/// Who commands are in a fleet, and whom they trust. It holds no secret, only where to find one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// The user; `None`: nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The address space that commands are about; `None`: his own, or `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// Where his password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordSource>,
    /// Who gives him tokens in place of a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// A file with certificates to trust besides those of this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A file with the certificate to show, and one with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Where a password is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordSource {
    /// `mq login` has put it there.
    Keyring,
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// The first line that this command prints.
    Command(String),
}

impl Access {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PasswordSource {
    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Keyring => "keyring".into(),
            Self::File(path) => format!("file {}", path.display()),
            Self::Environment(name) => format!("environment {name}"),
            Self::Command(command) => format!("command `{command}`"),
        }
    }
}

/// Where one node of a fleet is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// The node's name; empty when it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `amqp://host:port`.
    pub amqp: String,
    /// `mqtt://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<String>,
    /// `http://host:port` of the admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// The machine of the node, when it is another one: what is on loopback is so there, and reached with `ssh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<SshHost>,
    /// The pod of the node, when it is in a cluster: what is on loopback is so there, and reached through the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodPlace>,
}

/// All contexts of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// The file that holds the contexts.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The user's store, below `$XDG_CONFIG_HOME/mq`.
    pub fn of_user() -> Outcome<Self> {
        Ok(Self::at(base(env::CONFIG_HOME, ".config")?.join("mq").join("contexts.yaml")))
    }

    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn load(&self) -> Outcome<Contexts> {
        let text = match read_bounded(&self.path, MAX_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(Failure::file("read", &self.path, &error)),
        };
        if text.trim().is_empty() {
            return Ok(Contexts::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| {
            Failure::usage(format!("cannot read the contexts in {}: {error}", self.path.display()))
                .help("correct the file, or delete it and run `mq deploy` again")
        })
    }

    /// Changes the contexts under the lock; what `change` refuses is not written.
    pub fn change<T>(&self, change: impl FnOnce(&mut Contexts) -> Outcome<T>) -> Outcome<T> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))?;
        let _lock = self.lock()?;
        let mut contexts = self.load()?;
        let before = contexts.clone();
        let result = change(&mut contexts)?;
        if contexts != before {
            self.write(&contexts)?;
        }
        Ok(result)
    }

    fn lock(&self) -> Outcome<File> {
        let path = self.path.with_extension("lock");
        let file = File::create(&path).map_err(|error| Failure::file("open", &path, &error))?;
        // Held for one read and one write of a small file: waiting is short.
        file.lock().map_err(|error| Failure::file("lock", &path, &error))?;
        Ok(file)
    }

    fn write(&self, contexts: &Contexts) -> Outcome {
        let text = serde_saphyr::to_string(contexts)
            .map_err(|error| Failure::failed(format!("cannot write the contexts: {error}")))?;
        replace(&self.path, text.as_bytes())
    }
}

impl Context {
    /// The directory of this machine with what is known of the fleet; `None`: it was deployed by somebody else.
    pub fn deployed_from(&self) -> Option<&Path> {
        self.state.as_deref().or(self.fleet.as_deref())
    }

    /// Whether the nodes are pods of a cluster.
    pub fn is_in_cluster(&self) -> bool {
        self.nodes.iter().any(|place| place.pod.is_some())
    }

    /// Has the node at `place` answer for the fleet.
    pub fn stand_in(&mut self, place: &Place) {
        let Place { amqp, mqtt, admin, .. } = place.clone();
        self.amqp = amqp;
        // What the node does not say is as it was for the fleet.
        self.mqtt = mqtt.or_else(|| self.mqtt.take());
        self.admin = admin.or_else(|| self.admin.take());
    }
}

impl Contexts {
    /// The context called `name`, or an error that lists the ones there are.
    pub fn named(&self, name: &str) -> Outcome<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            let failure = Failure::new(Exit::NotFound, format!("there is no context `{name}`"));
            if self.contexts.is_empty() {
                return failure.help("deploy a fleet first: mq deploy");
            }
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            failure.help(format!("contexts: {}", names.join(", ")))
        })
    }

    /// Writes a context and makes it the current one; says whether that changed anything.
    pub fn adopt(&mut self, name: &str, mut context: Context) -> bool {
        // Who commands are is the user's to say, wherever the fleet is.
        context.access = self.contexts.get(name).map(|old| old.access.clone()).unwrap_or_default();
        let is_same = self.current.as_deref() == Some(name) && self.contexts.get(name) == Some(&context);
        self.current = Some(name.to_owned());
        self.contexts.insert(name.to_owned(), context);
        !is_same
    }

    /// Removes a context. When it was the current one, the only other one takes its place, if there
    /// is exactly one.
    pub fn remove(&mut self, name: &str) -> bool {
        let is_removed = self.contexts.remove(name).is_some();
        if self.current.as_deref() == Some(name) {
            self.current = match self.contexts.len() {
                1 => self.contexts.keys().next().cloned(),
                _ => None,
            };
        }
        is_removed
    }
}

/// An XDG base directory: the variable when it is an absolute path, else `fallback` in the home directory.
pub fn base(variable: &str, fallback: &str) -> Outcome<PathBuf> {
    // The specification: relative paths in these variables are invalid and are ignored.
    if let Some(path) = env::path(variable).filter(|path| path.is_absolute()) {
        return Ok(path);
    }
    match env::path(env::HOME).filter(|path| path.is_absolute()) {
        Some(home) => Ok(home.join(fallback)),
        None => {
            Err(Failure::failed(format!("neither {variable} nor {} is set to an absolute path", env::HOME))
                .help(format!("set {variable} to a directory of yours")))
        }
    }
}

/// Reads a text file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    read_text(File::open(path)?, limit)
}

/// Reads at most `limit` bytes of UTF-8.
pub fn read_text(source: impl io::Read, limit: u64) -> io::Result<String> {
    use io::Read;
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8 at byte {place}"))
    })
}

/// A new name is durable when its directory is.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Replaces a file in one step: readers see the old content or the new, never half of it.
pub fn replace(path: &Path, content: &[u8]) -> Outcome {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    // On the disk before it has the name: a power cut must not leave an empty file there.
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_parent(path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Failure::failed(format!("cannot write {}: {}", path.display(), reason(&error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(port: u16) -> Context {
        Context { amqp: format!("amqp://127.0.0.1:{port}"), ..Context::default() }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("mq/contexts.yaml"));
        assert_eq!(store.load().unwrap(), Contexts::default());
        assert!(store.change(|contexts| Ok(contexts.adopt("a", context(1)))).unwrap());
        assert!(!store.change(|contexts| Ok(contexts.adopt("a", context(1)))).unwrap());
        let contexts = store.load().unwrap();
        assert_eq!(contexts.current.as_deref(), Some("a"));
        assert_eq!(contexts.named("a").unwrap(), &context(1));
    }

    #[test]
    fn removing_the_current_context_falls_back_to_the_only_other_one() {
        let mut contexts = Contexts::default();
        contexts.adopt("a", context(1));
        contexts.adopt("b", context(2));
        assert!(contexts.remove("b"));
        assert_eq!(contexts.current.as_deref(), Some("a"));
        assert!(contexts.remove("a"));
        assert_eq!(contexts.current, None);
        assert!(!contexts.remove("a"));
    }

    #[test]
    fn who_commands_are_outlives_the_next_deployment() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path().join("contexts.yaml"));
        let sources = [
            PasswordSource::Keyring,
            PasswordSource::File("/p".into()),
            PasswordSource::Environment("P".into()),
            PasswordSource::Command("pass show mq".into()),
        ];
        for source in sources {
            let access = Access { user: Some("ann".into()), password: Some(source), ..Access::default() };
            store
                .change(|contexts| {
                    contexts.contexts.insert("a".into(), Context { access: access.clone(), ..context(1) });
                    contexts.adopt("a", context(2));
                    Ok(())
                })
                .unwrap();
            let kept = store.load().unwrap().contexts["a"].clone();
            assert_eq!((kept.amqp.as_str(), kept.access), ("amqp://127.0.0.1:2", access));
        }
    }

    #[test]
    fn an_unknown_context_is_answered_with_the_known_ones() {
        let mut contexts = Contexts::default();
        contexts.adopt("a", context(1));
        let failure = contexts.named("b").unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.help.as_deref(), Some("contexts: a"));
    }

    #[test]
    fn a_broken_file_is_named_and_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("contexts.yaml");
        fs::write(&path, "contexts: [").unwrap();
        let failure = Store::at(path.clone()).change(|contexts| Ok(contexts.remove("a"))).unwrap_err();
        assert!(failure.message.contains("contexts.yaml"), "{failure}");
        assert_eq!(fs::read_to_string(path).unwrap(), "contexts: [");
    }
}
