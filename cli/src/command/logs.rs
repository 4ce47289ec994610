//! `mq logs`: the log files of the nodes of this machine.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use crate::{
    args::node::Logs,
    client::amqp::interrupted,
    deploy::local::node_names,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How much is read at once.
const CHUNK: u64 = 256 << 10;

pub(super) async fn run(args: &Logs, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let mut tails = tails(args, settings)?;
    for tail in &mut tails {
        tail.last_lines(args.lines as usize, output)?;
    }
    if !args.follow {
        return Ok(Exit::Ok);
    }
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        for tail in &mut tails {
            tail.follow(output)?;
        }
        tokio::select! {
            exit = &mut interrupt => return Ok(exit),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn tails(args: &Logs, settings: &Settings) -> Outcome<Vec<Tail>> {
    let context = settings.context()?;
    let Some(state) = context.state else {
        let name = settings.context_name().unwrap_or_default();
        return Err(Failure::usage(format!(
            "the fleet of the context `{name}` does not run on this machine"
        ))
        .help("read its log where it runs"));
    };
    let mut names = node_names(&state)?;
    if let Some(wanted) = &args.node {
        let known = names.join(", ");
        names.retain(|name| name == wanted);
        if names.is_empty() {
            let failure = Failure::new(Exit::NotFound, format!("there is no node `{wanted}`"));
            return Err(failure.help(format!("nodes: {known}")));
        }
    }
    let has_prefix = names.len() > 1;
    names.iter().map(|name| Tail::open(name, state.join(name).join("mqd.log"), has_prefix)).collect()
}

/// The end of one log file.
struct Tail {
    path: PathBuf,
    file: File,
    /// `node-1 | `, when there are several nodes.
    prefix: String,
    position: u64,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Tail {
    fn open(name: &str, path: PathBuf, has_prefix: bool) -> Outcome<Self> {
        let file = File::open(&path).map_err(|error| Failure::file("read", &path, &error))?;
        let prefix = if has_prefix { format!("{name} | ") } else { String::new() };
        Ok(Self { path, file, prefix, position: 0, partial: Vec::new() })
    }

    fn last_lines(&mut self, count: usize, output: &mut Output) -> Outcome {
        let start = start_of_last_lines(&mut self.file, count);
        self.position = start.map_err(|error| Failure::file("read", &self.path, &error))?;
        self.follow(output)
    }

    /// Prints the complete lines that were written since the last call.
    fn follow(&mut self, output: &mut Output) -> Outcome {
        self.reopen()?;
        loop {
            let chunk = read_at(&mut self.file, self.position);
            let chunk = chunk.map_err(|error| Failure::file("read", &self.path, &error))?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.position += chunk.len() as u64;
            self.partial.extend_from_slice(&chunk);
            self.print_lines(output)?;
        }
    }

    fn print_lines(&mut self, output: &mut Output) -> Outcome {
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.partial.split_off(end + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        if self.prefix.is_empty() {
            return output.bytes(&lines);
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            output.bytes(&[self.prefix.as_bytes(), line].concat())?;
        }
        Ok(())
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
    fn lines_are_found_across_chunks() {
        let directory = tempfile::tempdir().unwrap();
        let line = "x".repeat(CHUNK as usize);
        let text = format!("{line}\n{line}\nend\n");
        let start = start_of_last_lines(&mut open_text(directory.path(), &text), 2).unwrap();
        assert_eq!(start, CHUNK + 1);
    }
}
