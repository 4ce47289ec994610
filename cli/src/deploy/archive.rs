//! What a stopped node keeps, as one stream, so that it can go on somewhere else.
//!
//! The stream is a tar (of GNU, which leaves out the holes of a file) with `state/`, the node's state directory, and
//! `store/`, its log. What belongs to one process or to one place stays behind: locks, the token of the owner,
//! certificates with their keys. Those are made anew where the node starts again.
//!
//! It arrives beside the place where it belongs and gets its name last, by [`adopt`]; until then no node starts there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
};

use mq_model::{admin::OWNER_TOKEN_FILE, config::DaemonConfig};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType};

use super::local::create_private;
use crate::{
    context::{read_bounded, replace, sync_parent},
    exit::Exit,
    failure::{Failure, Outcome, reason},
};

/// What stays behind of a state directory.
const LEFT_BEHIND: [&str; 4] = ["mqd.lock", "node.json", OWNER_TOKEN_FILE, "tls"];
/// The two parts of a stream.
const STATE: &str = "state";
const STORE: &str = "store";
/// The checksum of what was adopted, beside the state directory until the node starts.
const NOTE: &str = "imported";
/// How deep folders may lie in each other; those of a node are three deep.
const MAX_DEPTH: usize = 16;

/// Where a node keeps what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The state directory.
    pub state: PathBuf,
    /// The folder of the log, in the state directory or elsewhere.
    pub store: PathBuf,
}

impl Places {
    /// Those of a node that is configured like this.
    pub fn of_node(node: &DaemonConfig) -> Self {
        Self { state: node.state_dir.clone(), store: node.store_dir() }
    }

    /// Where a part of a stream arrives.
    fn arrival(&self, part: &str) -> PathBuf {
        match (part, self.store.strip_prefix(&self.state)) {
            (STORE, Ok(below)) => arrival_of(&self.state).join(below),
            (STORE, Err(_)) => arrival_of(&self.store),
            _ => arrival_of(&self.state),
        }
    }

    /// The folders that get another name when it is all there, the state last.
    fn folders(&self) -> Vec<&Path> {
        let is_elsewhere = !self.store.starts_with(&self.state);
        is_elsewhere.then_some(self.store.as_path()).into_iter().chain([self.state.as_path()]).collect()
    }

    fn note(&self) -> PathBuf {
        self.state.with_file_name(NOTE)
    }
}

/// Whether something has arrived for the node with this state directory and is not adopted yet.
pub fn is_arriving(state: &Path) -> bool {
    arrival_of(state).exists()
}

/// Forgets that what is there was adopted: the node goes on with it, and it is no copy any more.
pub fn forget(state: &Path) -> Outcome {
    let note = state.with_file_name(NOTE);
    match fs::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("delete", &note, &error)),
        _ => Ok(()),
    }
}

/// Writes what a stopped node keeps, and returns the checksum of it (SHA-256, hexadecimal).
pub fn pack(places: &Places, to: impl Write) -> Outcome<String> {
    let mut sum = Summing { stream: to, hash: Sha256::new() };
    let mut tar = Builder::new(&mut sum);
    let stays = |path: &Path| {
        let is_own = path.parent() == Some(places.state.as_path())
            && path.file_name().is_some_and(|name| LEFT_BEHIND.iter().any(|other| name == *other));
        is_own || path == places.store
    };
    add(&mut tar, &places.state, Path::new(STATE), &stays)?;
    add(&mut tar, &places.store, Path::new(STORE), &|_| false)?;
    let ended = tar.into_inner().and_then(|sum| sum.flush());
    ended
        .map_err(|error| Failure::failed(format!("cannot write what is to be moved: {}", reason(&error))))?;
    Ok(hexadecimal(&sum.hash.finalize()))
}

/// Adds a folder with what is in it, in the order of the names. One that is not there holds nothing.
fn add(tar: &mut Builder<impl Write>, folder: &Path, name: &Path, stays: &dyn Fn(&Path) -> bool) -> Outcome {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let mut entries = entries.map_err(|error| Failure::file("read", folder, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let added = tar.append_dir(name, folder);
    added.map_err(|error| Failure::file("read", folder, &error))?;
    for path in entries.iter().map(fs::DirEntry::path).filter(|path| !stays(path)) {
        let name = name.join(path.file_name().unwrap_or_default());
        let failed = |error: io::Error| Failure::file("read", &path, &error);
        let found = fs::symlink_metadata(&path).map_err(failed)?;
        if found.is_dir() {
            add(tar, &path, &name, stays)?;
        } else if found.is_file() {
            let mut file = File::open(&path).map_err(failed)?;
            tar.append_file(&name, &mut file).map_err(failed)?;
        }
    }
    Ok(())
}

/// Takes what another node keeps, which is to have this checksum, and leaves it beside its place.
///
/// What was adopted before with the same checksum is there, and stays. A node that has something else is left alone.
pub fn unpack(places: &Places, from: impl Read, checksum: &str) -> Outcome {
    if is_adopted(places, checksum) {
        return Ok(());
    }
    if let Some(taken) = places.folders().into_iter().find(|folder| holds_something(folder)) {
        let message = format!("there is the data of a node in {} already", taken.display());
        return Err(Failure::new(Exit::Conflict, message)
            .help("nothing of it was touched; if it is not needed any more, move it away, and try again"));
    }
    clear(places)?;
    let mut sum = Summing { stream: from, hash: Sha256::new() };
    let taken = take(places, &mut sum).and_then(|()| {
        // What follows the end of a tar belongs to the checksum, too.
        let rest = io::copy(&mut sum, &mut io::sink());
        rest.map_err(|error| Failure::failed(format!("cannot read what is moved: {}", reason(&error))))
    });
    let found = hexadecimal(&sum.hash.finalize());
    let whole = taken.and_then(|_| match found == checksum {
        true => Ok(()),
        false => Err(Failure::failed(format!("it arrived damaged: its checksum is {found}, not {checksum}"))
            .help("try again; when it is the same once more, export again")),
    });
    if whole.is_err() {
        // What went wrong matters more than what is left of it.
        let _ = clear(places);
    }
    whole
}

fn take(places: &Places, from: &mut impl Read) -> Outcome {
    let failed = |error: io::Error| Failure::failed(format!("cannot read what is moved: {}", reason(&error)));
    create_private(&places.arrival(STATE))?;
    for entry in Archive::new(from).entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.into_owned();
        let path = place_of(places, &name).ok_or_else(|| {
            Failure::failed(format!("what is moved has a file `{}`, which no node has", name.display()))
        })?;
        match entry.header().entry_type() {
            EntryType::Directory => create_private(&path)?,
            // A log that grows into room of its own is mostly holes, which are not sent.
            EntryType::Regular | EntryType::GNUSparse => write(&path, &mut entry)?,
            _ => {
                let message =
                    format!("what is moved has `{}`, which is neither file nor folder", name.display());
                return Err(Failure::failed(message));
            }
        }
    }
    Ok(())
}

/// Where an entry of a stream belongs; `None`: nowhere that is the node's.
fn place_of(places: &Places, name: &Path) -> Option<PathBuf> {
    let words: Option<Vec<_>> = name
        .components()
        .map(|component| match component {
            Component::Normal(word) => Some(word),
            _ => None,
        })
        .collect();
    let words = words.filter(|words| words.len() <= MAX_DEPTH)?;
    let (part, rest) = words.split_first()?;
    let part = [STATE, STORE].into_iter().find(|known| part == known)?;
    Some(rest.iter().fold(places.arrival(part), |path, word| path.join(word)))
}

fn write(path: &Path, from: &mut impl Read) -> Outcome {
    let mut file = create(path)?;
    let written = io::copy(from, &mut file).and_then(|_| file.sync_all());
    written.map_err(|error| Failure::file("write", path, &error))
}

/// Gives what has arrived its name. Whoever was interrupted in it does it again.
pub fn adopt(places: &Places, checksum: &str) -> Outcome {
    // From now on all that has arrived, or has its name already, is known to be whole.
    if !is_adopted(places, checksum) {
        replace(&places.note(), checksum.as_bytes())?;
    }
    for folder in places.folders() {
        let arrived = arrival_of(folder);
        if !arrived.exists() {
            continue;
        }
        if !holds_something(folder) {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::file("delete", folder, &error));
                }
                _ => {}
            }
        }
        let renamed = fs::rename(&arrived, folder).and_then(|()| sync_parent(folder));
        renamed.map_err(|error| Failure::file("rename", &arrived, &error))?;
    }
    Ok(())
}

/// Whether what has this checksum has its name, or was about to get it.
fn is_adopted(places: &Places, checksum: &str) -> bool {
    (is_arriving(&places.state) || places.state.exists())
        && read_bounded(&places.note(), 128).is_ok_and(|noted| noted == checksum)
}

/// Whether there is more in a folder than what is made anew wherever a node starts.
fn holds_something(folder: &Path) -> bool {
    let is_kept = |entry: fs::DirEntry| LEFT_BEHIND.iter().all(|name| entry.file_name() != *name);
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_kept)))
}

/// Removes what has arrived in part.
fn clear(places: &Places) -> Outcome {
    for folder in places.folders() {
        let arrived = arrival_of(folder);
        match fs::remove_dir_all(&arrived) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::file("delete", &arrived, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where something arrives that is to have this name.
fn arrival_of(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".import");
    folder.with_file_name(name)
}

/// A new file for what a node keeps, which nobody else may read.
pub fn create(path: &Path) -> Outcome<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| Failure::file("create", path, &error))
}

/// The checksum of a file (SHA-256, hexadecimal).
pub fn checksum(path: &Path) -> Outcome<String> {
    let mut sum = Summing { stream: io::sink(), hash: Sha256::new() };
    let read = File::open(path).and_then(|mut file| io::copy(&mut file, &mut sum));
    read.map_err(|error| Failure::file("read", path, &error))?;
    Ok(hexadecimal(&sum.hash.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream whose bytes are summed up on their way.
struct Summing<S> {
    stream: S,
    hash: Sha256,
}

impl<S: Write> Write for Summing<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Read> Read for Summing<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(bytes)?;
        self.hash.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of a log, which begins with `messages`.
    const ROOM: u64 = 4 << 20;

    fn is_the_log(path: &Path) -> bool {
        let log = fs::read(path).unwrap();
        let (messages, room) = log.split_at(8);
        messages == b"messages" && room.iter().all(|byte| *byte == 0) && log.len() as u64 == ROOM
    }

    /// A node with something in every place.
    fn node(folder: &Path, store: &str) -> Places {
        let state = folder.join("node-1/state");
        let places = Places { store: state.join(store), state };
        for (path, text) in [
            (places.state.join("objects/addresses.journal"), "objects"),
            (places.state.join("incarnation"), "7"),
            (places.state.join("mqd.lock"), "4711"),
            (places.state.join("tls/node.key"), "secret"),
            (places.state.join(OWNER_TOKEN_FILE), "secret"),
            (places.store.join("0/1.log"), "messages"),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        // A log has room in front of it that nobody has written to yet.
        let log = OpenOptions::new().write(true).open(places.store.join("0/1.log")).unwrap();
        log.set_len(ROOM).unwrap();
        places
    }

    fn places(folder: &Path, store: &str) -> Places {
        let state = folder.join("node-1/state");
        fs::create_dir_all(folder.join("node-1")).unwrap();
        Places { store: state.join(store), state }
    }

    fn packed(places: &Places) -> (Vec<u8>, String) {
        let mut bytes = Vec::new();
        let checksum = pack(places, &mut bytes).unwrap();
        (bytes, checksum)
    }

    #[test]
    fn all_that_a_node_keeps_goes_on_elsewhere_but_for_what_is_of_one_place() {
        for (here, there) in [("log", "log"), ("log", ""), ("", "store")] {
            let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            // A log without a name here lies elsewhere.
            let log = |folder: &Path, name: &str| match name {
                "" => folder.join("elsewhere").display().to_string(),
                name => name.to_owned(),
            };
            let (bytes, checksum) = packed(&node(old.path(), &log(old.path(), here)));
            let places = places(new.path(), &log(new.path(), there));
            unpack(&places, &bytes[..], &checksum).unwrap();
            assert!(is_arriving(&places.state) && !places.state.exists(), "nothing has its name yet");
            adopt(&places, &checksum).unwrap();
            assert!(!is_arriving(&places.state));
            let read = |path: PathBuf| fs::read_to_string(path).unwrap();
            assert_eq!(read(places.state.join("objects/addresses.journal")), "objects");
            assert_eq!(read(places.state.join("incarnation")), "7");
            assert!(is_the_log(&places.store.join("0/1.log")));
            for name in LEFT_BEHIND {
                assert!(!places.state.join(name).exists(), "{name}");
            }
        }
    }

    #[test]
    fn the_same_may_come_again_until_the_node_starts_and_nothing_else_may() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bytes, checksum) = packed(&node(old.path(), "log"));
        let places = places(new.path(), "log");
        for _ in 0..2 {
            unpack(&places, &bytes[..], &checksum).unwrap();
            adopt(&places, &checksum).unwrap();
        }
        let refused = unpack(&places, &bytes[..], "another").unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        forget(&places.state).unwrap();
        assert_eq!(unpack(&places, &bytes[..], &checksum).unwrap_err().exit, Exit::Conflict);
        assert!(places.state.join("incarnation").exists());
    }

    #[test]
    fn an_end_between_the_two_names_of_a_node_is_made_good() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bytes, checksum) = packed(&node(old.path(), "log"));
        let places = places(new.path(), &new.path().join("elsewhere").display().to_string());
        unpack(&places, &bytes[..], &checksum).unwrap();
        adopt(&places, &checksum).unwrap();
        fs::rename(&places.state, arrival_of(&places.state)).unwrap();
        unpack(&places, &bytes[..], &checksum).unwrap();
        adopt(&places, &checksum).unwrap();
        assert!(places.state.join("incarnation").exists() && places.store.join("0/1.log").exists());
        assert!(!is_arriving(&places.state));
    }

    #[test]
    fn certificates_that_were_made_for_the_node_are_not_in_the_way() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (bytes, checksum) = packed(&node(old.path(), "log"));
        let places = places(new.path(), "log");
        unpack(&places, &bytes[..], &checksum).unwrap();
        // Somebody has deployed between the two.
        fs::create_dir_all(places.state.join("tls")).unwrap();
        fs::write(places.state.join("tls/node.key"), "new").unwrap();
        unpack(&places, &bytes[..], &checksum).unwrap();
        adopt(&places, &checksum).unwrap();
        assert!(places.state.join("incarnation").exists() && !places.state.join("tls").exists());
    }

    #[test]
    fn what_is_cut_off_or_changed_leaves_nothing() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut bytes, checksum) = packed(&node(old.path(), "log"));
        assert!((bytes.len() as u64) < ROOM, "holes are not sent");
        let places = places(new.path(), "log");
        for end in (0..bytes.len()).step_by(512) {
            assert!(unpack(&places, &bytes[..end], &checksum).is_err(), "{end}");
            assert!(!is_arriving(&places.state) && !places.state.exists(), "{end}");
        }
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let failure = unpack(&places, &bytes[..], &checksum).unwrap_err();
        assert!(failure.message.contains("damaged"), "{failure}");
        assert!(!is_arriving(&places.state));
    }

    #[test]
    fn nothing_is_written_beside_the_places_of_the_node() {
        let new = tempfile::tempdir().unwrap();
        let places = places(new.path(), "log");
        for name in ["../x", "/x", "state/../../x", "other/x", "state/./../x"] {
            assert_eq!(place_of(&places, Path::new(name)), None, "{name}");
        }
        assert_eq!(place_of(&places, Path::new("state/a")), Some(new.path().join("node-1/state.import/a")));
        assert_eq!(
            place_of(&places, Path::new("store/a")),
            Some(new.path().join("node-1/state.import/log/a"))
        );
        let deep = format!("state{}", "/x".repeat(MAX_DEPTH));
        assert_eq!(place_of(&places, Path::new(&deep)), None);
    }
}
