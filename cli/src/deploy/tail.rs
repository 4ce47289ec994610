//! The end of a log file, and what is added to it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use crate::failure::{Failure, Outcome};

/// How much is read at once.
const CHUNK: u64 = 256 << 10;
/// The longest beginning of a line that waits for its end; it is passed on without.
const MAX_LINE: usize = 1 << 20;

/// The end of one log file.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: File,
    position: u64,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Tail {
    /// Opens a log at the first of its last `lines` lines.
    pub fn open(path: PathBuf, lines: usize) -> Outcome<Self> {
        let mut file = File::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
        let start = start_of_last_lines(&mut file, lines);
        let position = start.map_err(|error| Failure::file("read", &path, &error))?;
        Ok(Self { path, file, position, partial: Vec::new() })
    }

    /// Some of the complete lines that were written since the last call; nothing when there are none.
    pub fn read(&mut self) -> Outcome<Vec<u8>> {
        self.reopen()?;
        loop {
            let chunk = read_at(&mut self.file, self.position);
            let chunk = chunk.map_err(|error| Failure::file("read", &self.path, &error))?;
            if chunk.is_empty() {
                return Ok(Vec::new());
            }
            self.position += chunk.len() as u64;
            self.partial.extend_from_slice(&chunk);
            let end = match self.partial.iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None if self.partial.len() > MAX_LINE => self.partial.len(),
                None => continue,
            };
            let rest = self.partial.split_off(end);
            return Ok(std::mem::replace(&mut self.partial, rest));
        }
    }

    /// The node started anew with a new log, or somebody emptied this one.
    fn reopen(&mut self) -> Outcome {
        use std::os::unix::fs::MetadataExt;
        let (Ok(path), Ok(file)) = (std::fs::metadata(&self.path), self.file.metadata()) else {
            return Ok(());
        };
        if path.ino() != file.ino() {
            self.file = File::open(&self.path).map_err(|error| Failure::file("read", &self.path, &error))?;
            self.position = 0;
        } else if path.len() < self.position {
            self.position = 0;
        }
        Ok(())
    }
}

/// The position of the first of the last `count` lines, found from the end of the file.
fn start_of_last_lines(file: &mut File, count: usize) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    if count == 0 {
        return Ok(end);
    }
    // The newline that ends the last line does not begin another one.
    let mut newlines = 0;
    let size = end;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let chunk = read_at(file, start)?;
        let length = usize::try_from(end - start).unwrap_or(chunk.len()).min(chunk.len());
        for (index, byte) in chunk.iter().enumerate().take(length).rev() {
            let position = start + index as u64;
            if *byte == b'\n' && position + 1 < size {
                newlines += 1;
                if newlines == count {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

fn read_at(file: &mut File, position: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.take(CHUNK).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open_text(directory: &Path, text: &str) -> File {
        let path = directory.join("log");
        std::fs::write(&path, text).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn the_last_lines_are_found_whether_or_not_the_file_ends_with_a_newline() {
        let directory = tempfile::tempdir().unwrap();
        let start =
            |text: &str, count| start_of_last_lines(&mut open_text(directory.path(), text), count).unwrap();
        assert_eq!(start("a\nb\nc\n", 2), 2);
        assert_eq!(start("a\nb\nc", 2), 2);
        assert_eq!(start("a\nb\nc\n", 9), 0);
        assert_eq!(start("a\nb\nc\n", 0), 6);
        assert_eq!(start("", 3), 0);
    }

    #[test]
    fn what_is_added_comes_in_whole_lines_also_after_the_file_was_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "a\nb\nc").unwrap();
        let mut tail = Tail::open(path.clone(), 2).unwrap();
        assert_eq!(tail.read().unwrap(), b"b\n");
        assert_eq!(tail.read().unwrap(), b"");
        std::fs::write(&path, "a\nb\ncd\n").unwrap();
        assert_eq!(tail.read().unwrap(), b"cd\n");
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(tail.read().unwrap(), b"new\n");
    }

    #[test]
    fn lines_are_found_across_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let line = "x".repeat(CHUNK as usize);
        let text = format!("{line}\n{line}\nend\n");
        let start = start_of_last_lines(&mut open_text(directory.path(), &text), 2).unwrap();
        assert_eq!(start, CHUNK + 1);
    }
}
