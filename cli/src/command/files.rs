//! Reading the documents that commands are given.

use std::path::{Path, PathBuf};

use mq_model::{Documents, Source};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The largest file that is read; what is larger the data model refuses with its own words.
const MAX_FILE: u64 = (1 << 20) + 1;

/// Reads and checks files of documents; every problem of every file is shown in one run.
pub(super) fn documents(paths: &[PathBuf]) -> Outcome<Documents> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push((shown(path), read(path, MAX_FILE)?));
    }
    let sources: Vec<Source<'_>> =
        files.iter().map(|(path, bytes)| Source { path: path.as_str(), bytes: bytes.as_slice() }).collect();
    Documents::parse_files(&sources)
        .map_err(|diagnostics| Failure::new(Exit::Usage, diagnostics.to_string()).verbatim())
}

/// Reads at most `limit` bytes of a file, or of stdin for `-`.
pub(super) fn read(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::Usage, format!("cannot read {}: no such file", path.display())))
        }
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "stdin".into() } else { path.display().to_string() }
}
