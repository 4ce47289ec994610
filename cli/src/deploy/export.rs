//! A fleet in a folder: what was deployed, its authority, and what its stopped nodes keep.
//!
//! ```text
//! fleet.json       which fleet, and the checksum of each node's data
//! revisions/       what was deployed
//! ca/              the fleet's authority, with its key
//! node-1.tar ...   what the nodes keep, where that is among it
//! ```
//!
//! Whoever has the folder can change the fleet: it is written for its owner alone.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mq_model::{mesh::node_number, validate_name};
use serde::{Deserialize, Serialize};

use super::{
    archive,
    authority::{rotation, until},
    history::{Ending, History, Revision},
    local::create_private,
};
use crate::{
    context::{read_bounded, replace},
    env,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The format that is written; others are refused.
const FORMAT: u32 = 1;
const FILE: &str = "fleet.json";
/// What the history says of a fleet that was taken over with its data.
pub const IMPORT: &str = "mq fleet import";
/// The largest `fleet.json` that is read: a thousand nodes are 100 KiB.
const MAX_FILE: u64 = 1 << 20;

/// What `fleet.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    format: u32,
    pub fleet: String,
    pub at: Timestamp,
    /// `user@host`.
    pub by: String,
    /// The nodes whose data is there, each with the checksum of its file.
    #[serde(default)]
    pub nodes: BTreeMap<String, String>,
}

/// A folder with a fleet.
#[derive(Clone, Debug)]
pub struct Export {
    folder: PathBuf,
    pub content: Content,
    /// What was deployed, the oldest first; there is at least one.
    pub revisions: Vec<Revision>,
}

impl Export {
    /// Begins a folder for the fleet in `directory`. It has the name that is wanted only when it is [written](Self::write).
    pub fn begin(folder: &Path, fleet: &str, directory: &Path) -> Outcome<Self> {
        let revisions = History::of_fleet(directory).all()?;
        if revisions.is_empty() {
            let message = format!("no fleet `{fleet}` has been deployed from this machine");
            return Err(Failure::new(Exit::NotFound, message).help("see `mq context list`"));
        }
        if folder.exists() {
            let message = format!("there is something called {} already", folder.display());
            return Err(Failure::new(Exit::Conflict, message).help("name a folder that is not there yet"));
        }
        let content = Content {
            format: FORMAT,
            fleet: fleet.to_owned(),
            at: Timestamp::now(),
            by: env::whoami(),
            nodes: BTreeMap::new(),
        };
        let export = Self { folder: folder.to_owned(), content, revisions };
        export.clear()?;
        match export.copy(directory) {
            Ok(()) => Ok(export),
            Err(failure) => export.discard().and(Err(failure)),
        }
    }

    fn copy(&self, directory: &Path) -> Outcome {
        create_private(&self.unfinished())?;
        let history = History::of_fleet(&self.unfinished());
        self.revisions.iter().try_for_each(|revision| history.learn(revision).map(drop))?;
        rotation::copy(directory, &self.unfinished())
    }

    /// Where the data of a node is to be written to.
    pub fn data_to_write(&self, node: &str) -> PathBuf {
        self.unfinished().join(file_of(node))
    }

    /// Removes what was begun, the copy of the authority's key above all.
    pub fn discard(self) -> Outcome {
        self.clear()
    }

    /// Gives the folder its name.
    pub fn write(self) -> Outcome {
        let new = self.unfinished();
        let text = serde_json::to_string_pretty(&self.content).unwrap_or_default();
        replace(&new.join(FILE), text.as_bytes())?;
        fs::rename(&new, &self.folder).map_err(|error| Failure::file("rename", &new, &error))
    }

    /// Reads a folder, and compares all that it has with its checksums.
    pub fn open(folder: &Path) -> Outcome<Self> {
        let path = folder.join(FILE);
        let text = read_bounded(&path, MAX_FILE).map_err(|error| {
            Failure::file("read", &path, &error).help("name a folder that `mq fleet export` has written")
        })?;
        let content: Content = serde_json::from_str(&text)
            .map_err(|error| Failure::failed(format!("cannot understand {}: {error}", path.display())))?;
        if content.format != FORMAT {
            let message =
                format!("{} is of the format {}, and this reads {FORMAT}", path.display(), content.format);
            return Err(Failure::failed(message).help("take the `mq` that has written it"));
        }
        validate_name(&content.fleet).map_err(Failure::usage)?;
        let revisions = History::of_fleet(folder).all()?;
        if revisions.is_empty() {
            return Err(Failure::failed(format!("{} says nothing of what was deployed", folder.display()))
                .help("export the fleet again"));
        }
        let export = Self { folder: folder.to_owned(), content, revisions };
        for (node, wanted) in &export.content.nodes {
            if node_number(node).is_none() {
                return Err(Failure::failed(format!("{} names a node `{node}`", path.display())));
            }
            let data = export.data(node);
            if archive::checksum(&data)? != *wanted {
                return Err(
                    Failure::failed(format!("{} is damaged", data.display())).help("export the fleet again")
                );
            }
        }
        Ok(export)
    }

    /// The file with the data of a node.
    pub fn data(&self, node: &str) -> PathBuf {
        self.folder.join(file_of(node))
    }

    /// Refuses a fleet of the same name that is another one, or that has gone on since.
    pub fn check_is_same(&self, history: &History) -> Outcome {
        // An import that was interrupted, or that nobody has deployed yet, may be done again.
        let is_own = |known: &Revision| known.command == IMPORT && known.result == Ending::Begun;
        let Some(known) = history.all()?.into_iter().rfind(|known| !is_own(known)) else { return Ok(()) };
        if self.revisions.iter().any(|found| found.number == known.number && found.at == known.at) {
            return Ok(());
        }
        let name = &self.content.fleet;
        let message = format!(
            "this machine knows of a deployment of `{name}` that is not in {}: revision {} by {}, `{}`",
            self.folder.display(),
            known.number,
            known.by,
            known.command
        );
        Err(Failure::new(Exit::Conflict, message).help(format!(
            "export from the machine that was the last to change the fleet; if that here is another fleet, `mq undeploy \
             --name {name} --purge` first"
        )))
    }

    /// Makes the fleet known in `directory`: what was deployed, and its authority unless that there is a later one.
    pub fn make_known(&self, directory: &Path) -> Outcome {
        create_private(directory)?;
        let history = History::of_fleet(directory);
        // An authority of a machine that has never deployed the fleet is none of the fleet.
        if history.newest()?.is_none() || until(&self.folder)? > until(directory)? {
            rotation::copy(&self.folder, directory)?;
        }
        self.revisions.iter().try_for_each(|revision| history.learn(revision).map(drop))
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = self.folder.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        self.folder.with_file_name(name)
    }

    fn clear(&self) -> Outcome {
        let unfinished = self.unfinished();
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file("delete", &unfinished, &error))
            }
            _ => Ok(()),
        }
    }
}

fn file_of(node: &str) -> String {
    format!("{node}.tar")
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::{Fleet, FleetSpec};

    use super::{super::authority::Authority, *};

    fn deployed(directory: &Path, nodes: u32) {
        let history = History::of_fleet(directory);
        let fleet = Fleet::new("f", FleetSpec { nodes: Some(nodes), ..FleetSpec::default() });
        let revision = history.begin(&fleet, &[], "mq deploy").unwrap();
        history.end(revision, None).unwrap();
    }

    fn exported(directory: &Path, folder: &Path) -> Export {
        Export::begin(folder, "f", directory).unwrap().write().unwrap();
        Export::open(folder).unwrap()
    }

    #[test]
    fn another_machine_learns_what_was_deployed_and_gets_the_authority() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = Timestamp::now();
        deployed(old.path(), 1);
        deployed(old.path(), 2);
        let authority = Authority::of_fleet(old.path(), "f", now).unwrap();
        // One that was made by mistake, and later.
        Authority::of_fleet(new.path(), "f", now + std::time::Duration::from_secs(60)).unwrap();
        let export = exported(old.path(), &old.path().join("export"));
        export.check_is_same(&History::of_fleet(new.path())).unwrap();
        export.make_known(new.path()).unwrap();
        let wanted = Fleet::new("f", FleetSpec { nodes: Some(9), ..FleetSpec::default() });
        let begun = History::of_fleet(new.path()).begin(&wanted, &[], IMPORT).unwrap();
        export.check_is_same(&History::of_fleet(new.path())).unwrap();
        fs::remove_file(new.path().join(format!("revisions/{}.json", begun.number))).unwrap();
        let known = History::of_fleet(new.path()).all().unwrap();
        assert_eq!(known, History::of_fleet(old.path()).all().unwrap());
        assert_eq!(Authority::of_fleet(new.path(), "f", now).unwrap().trusted(), authority.trusted());
        // It goes on there, and comes back.
        deployed(new.path(), 3);
        let back = exported(new.path(), &new.path().join("export"));
        back.check_is_same(&History::of_fleet(old.path())).unwrap();
        back.make_known(old.path()).unwrap();
        assert_eq!(History::of_fleet(old.path()).newest().unwrap().unwrap().fleet.spec.nodes, Some(3));
        let failure = export.check_is_same(&History::of_fleet(new.path())).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict, "what was exported is behind");
    }

    #[test]
    fn an_older_authority_does_not_take_the_place_of_a_later_one() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = Timestamp::now();
        deployed(old.path(), 1);
        Authority::of_fleet(old.path(), "f", now).unwrap();
        let before = exported(old.path(), &old.path().join("before"));
        before.make_known(new.path()).unwrap();
        let later = now + std::time::Duration::from_secs(60);
        rotation::begin(old.path(), "f", later).unwrap();
        rotation::promote(old.path()).unwrap();
        rotation::finish(old.path()).unwrap();
        let trusted =
            |directory: &Path| Authority::of_fleet(directory, "f", later).unwrap().trusted().to_owned();
        let rotated = trusted(old.path());
        before.make_known(old.path()).unwrap();
        assert_eq!(trusted(old.path()), rotated);
        exported(old.path(), &old.path().join("after")).make_known(new.path()).unwrap();
        assert_eq!(trusted(new.path()), rotated);
    }

    #[test]
    fn a_folder_is_never_written_over_and_damage_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        deployed(directory.path(), 1);
        let folder = directory.path().join("export");
        let mut export = Export::begin(&folder, "f", directory.path()).unwrap();
        assert!(!folder.exists(), "it is not whole yet");
        let data = export.data_to_write("node-1");
        fs::write(&data, "data").unwrap();
        export.content.nodes.insert("node-1".into(), archive::checksum(&data).unwrap());
        export.write().unwrap();
        assert_eq!(Export::begin(&folder, "f", directory.path()).unwrap_err().exit, Exit::Conflict);
        Export::open(&folder).unwrap();
        fs::write(folder.join("node-1.tar"), "date").unwrap();
        assert!(Export::open(&folder).unwrap_err().message.contains("is damaged"));
    }
}
