//! Programs that run to their end, and `mq` among them.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mq_model::admin::Runtime;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::mq_path;
use crate::wait::{PATIENCE, eventually_within};

/// How a program ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The command line.
    pub line: String,
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts the exit code.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts the exit code 0.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    /// Asserts that standard output contains a text.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} on standard output: {self:#?}");
        self
    }

    /// Asserts that standard error contains a text.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} on standard error: {self:#?}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    output: Option<[JoinHandle<String>; 2]>,
}

impl Running {
    /// Starts a program with this standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command, input: &str) -> Self {
        let line = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let input = input.to_owned();
        // A program that does not read everything may end first.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        Self { line, child, output: Some([collect(stdout), collect(stderr)]) }
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    /// Waits for the end of a program that takes its time.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn finish_within(mut self, patience: Duration) -> Finished {
        let line = self.line.clone();
        let status = eventually_within(patience, &format!("the end of {line}"), || {
            self.child.try_wait().unwrap_or_else(|error| panic!("waiting for {line}: {error}"))
        });
        let output = self.output.take().expect("taken once");
        let [stdout, stderr] = output.map(|thread| thread.join().expect("the reader does not panic"));
        Finished { line, code: status.code(), stdout, stderr }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the program is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program is alive");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is worth showing.
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The command line of a user with an empty home. Dropping it ends every daemon that was deployed.
#[derive(Debug)]
pub struct Mq {
    home: TempDir,
}

impl Mq {
    /// A user who has never run `mq`.
    ///
    /// # Panics
    /// When there is no temporary folder.
    #[expect(clippy::new_without_default, reason = "a home is made on disk")]
    pub fn new() -> Self {
        Self { home: TempDir::with_prefix("mq-home-").expect("a temporary folder can be made") }
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs `mq` with arguments separated by blanks.
    #[track_caller]
    pub fn run(&self, arguments: &str) -> Finished {
        self.start(arguments).finish()
    }

    /// Runs `mq` with arguments as they are.
    #[track_caller]
    pub fn run_with(&self, arguments: &[&str]) -> Finished {
        self.start_with(arguments, "").finish()
    }

    /// Runs `mq` with something on standard input.
    #[track_caller]
    pub fn run_reading(&self, arguments: &str, input: &str) -> Finished {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.start_with(&arguments, input).finish()
    }

    /// Starts `mq` with arguments separated by blanks.
    #[track_caller]
    pub fn start(&self, arguments: &str) -> Running {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.start_with(&arguments, "")
    }

    /// Starts `mq` with arguments as they are.
    #[track_caller]
    pub fn start_with(&self, arguments: &[&str], input: &str) -> Running {
        Running::start(self.command(arguments), input)
    }

    /// `mq` with arguments as they are, to be started in another way.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(mq_path());
        command.args(arguments).current_dir(self.home());
        command.env_clear().env("HOME", self.home());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        for (name, folder) in FOLDERS {
            let path = self.home().join(folder);
            fs::create_dir_all(&path).expect("the temporary folder can be written");
            command.env(name, path);
        }
        command
    }

    /// Every daemon that says so below the home.
    fn daemons(&self) -> Vec<Runtime> {
        let mut found = Vec::new();
        find_runtimes(self.home(), &mut found);
        found
    }
}

/// Where a user's programs keep their files.
const FOLDERS: [(&str, &str); 4] = [
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_STATE_HOME", "state"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_RUNTIME_DIR", "run"),
];

fn find_runtimes(folder: &Path, found: &mut Vec<Runtime>) {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in paths {
        if path.is_dir() {
            find_runtimes(&path, found);
        } else if path.ends_with("node.json") {
            let runtime = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            found.extend(runtime);
        }
    }
}

/// The program of a process, unless it is gone.
fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// `mqd`, and `mq` in its place where a fleet has another data plane. The kernel marks a program whose file was
/// replaced.
fn is_daemon(program: &Path) -> bool {
    let name = program.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| ["mqd", "mq"].contains(&name.trim_end_matches(" (deleted)")))
}

impl Drop for Mq {
    fn drop(&mut self) {
        for runtime in self.daemons() {
            // The id may be another program's by now.
            let is_ours = program_of(runtime.pid).is_some_and(|program| is_daemon(&program));
            let pid = i32::try_from(runtime.pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| is_ours) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
