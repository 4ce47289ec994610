//! Nodes on machines without a service manager: a process of ours beside each of them, which starts it again.
//!
//! A keeper waits until nobody uses the node's state directory any more. If the node is still wanted then (the note
//! `wanted` in its folder, which whoever stops it takes away first) and has not ended by itself, the keeper starts it
//! again. So it need not be who started the node: after a reboot `cron` starts the keeper, where there is one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mq_model::Dataplane;

use super::local::{CURRENT, is_locked, open_log, start_child, state_of_node};
use super::plane::Program;
use crate::{
    context::replace,
    failure::{Failure, Outcome, reason},
};

/// The file that says that the node is to run.
const WANTED: &str = "wanted";
/// The file that the keeper of a node holds locked.
const LOCK: &str = "keeper.lock";
/// How long a keeper waits before it starts a node again: twice as long each time that the node did not last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A node that ran for so long has lasted.
const STEADY: Duration = Duration::from_secs(60);
/// How often a keeper that waits looks whether the node is still wanted.
const POLL: Duration = Duration::from_millis(50);

/// Notes that the node in this folder is to run, and what it runs.
pub fn want(directory: &Path, dataplane: Dataplane) -> Outcome {
    let note = serde_json::to_vec(&dataplane)
        .map_err(|error| Failure::failed(format!("cannot note that the node is wanted: {error}")))?;
    replace(&directory.join(WANTED), &note)
}

/// What the node in this folder runs; `None`: it is not wanted any more.
fn wanted(directory: &Path) -> Outcome<Option<Dataplane>> {
    let path = directory.join(WANTED);
    match fs::read(&path) {
        Ok(note) => serde_json::from_slice(&note)
            .map(Some)
            .map_err(|error| Failure::failed(format!("{} is damaged: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", &path, &error)),
    }
}

/// Notes that it is not; says whether it was.
pub fn unwant(directory: &Path) -> Outcome<bool> {
    let path = directory.join(WANTED);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("delete", &path, &error)),
    }
}

/// Whether a keeper looks after the node.
pub fn is_there(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Starts a keeper that outlives this process. One that is there already is enough.
pub fn start(words: &[String]) -> Outcome {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    spawned.map(drop).map_err(|error| Failure::file("start", Path::new(program), &error))
}

/// Looks after the node in this folder until it is wanted no more or has ended by itself. With `boots` the node is
/// started first, however it ended.
pub fn keep(directory: &Path, boots: bool) -> Outcome {
    let Some(_lock) = lock(directory)? else { return Ok(()) };
    let state = state_of_node(directory);
    let (mut is_due, mut pause) = (boots, if boots { Duration::ZERO } else { FIRST_PAUSE });
    loop {
        wait_until_unused(&state)?;
        let has_crashed = state.join("node.json").exists();
        if !(is_due || has_crashed) || !rest(directory, pause) {
            return Ok(());
        }
        // Whoever deploys may have been faster.
        if is_locked(&state)? {
            continue;
        }
        let begin = Instant::now();
        let Some(dataplane) = wanted(directory)? else { return Ok(()) };
        let program = Program::of(dataplane, || Ok("mqd".into()))?.below(&directory.join(CURRENT));
        let (log, _) = open_log(directory)?;
        let mut child = start_child(&program, &directory.join("mqd.yaml"), directory, log)?;
        let status =
            child.wait().map_err(|error| Failure::failed(format!("cannot wait: {}", reason(&error))))?;
        if status.success() {
            return Ok(());
        }
        // One that could not even begin has left no sign of it.
        is_due = true;
        pause =
            if begin.elapsed() >= STEADY { FIRST_PAUSE } else { (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE) };
    }
}

/// Waits; says whether the node is still wanted.
fn rest(directory: &Path, pause: Duration) -> bool {
    let end = Instant::now() + pause;
    let is_wanted = || directory.join(WANTED).exists();
    while is_wanted() && Instant::now() < end {
        thread::sleep(POLL);
    }
    is_wanted()
}

/// `None`: another keeper is there.
fn lock(directory: &Path) -> Outcome<Option<File>> {
    let path = directory.join(LOCK);
    let failed = |error: io::Error| Failure::file("lock", &path, &error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn wait_until_unused(state: &Path) -> Outcome {
    let path = state.join("mqd.lock");
    match File::open(&path) {
        // The lock is given back with the file, so that the node can have it at once.
        Ok(file) => file.lock_shared().map_err(|error| Failure::file("lock", &path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file("open", &path, &error)),
    }
}

/// Has cron start the keeper when the machine boots; says whether it will.
pub fn start_at_boot(directory: &Path, words: &[String]) -> Outcome<bool> {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let line = format!("@reboot {} {}", words.join(" "), mark(directory));
    change_crontab(directory, Some(&line))
}

/// Takes that back.
pub fn forget_at_boot(directory: &Path) -> Outcome {
    change_crontab(directory, None).map(drop)
}

/// Puts a line in the place of the node's in the user's crontab; says whether there is cron at all.
fn change_crontab(directory: &Path, line: Option<&str>) -> Outcome<bool> {
    let Ok(listed) = Command::new("crontab").arg("-l").stdin(Stdio::null()).output() else {
        return Ok(false);
    };
    // A user without a crontab is told so by the exit code alone.
    let before = String::from_utf8_lossy(&listed.stdout).into_owned();
    let after = changed(&before, &mark(directory), line);
    if after == before {
        return Ok(true);
    }
    let spawned = Command::new("crontab").arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| Failure::file("run", &PathBuf::from("crontab"), &error))?;
    if let Some(mut input) = child.stdin.take() {
        // Whether it was understood shows in how it ends.
        let _ = input.write_all(after.as_bytes());
    }
    Ok(child.wait().is_ok_and(|status| status.success()))
}

fn changed(before: &str, mark: &str, line: Option<&str>) -> String {
    let others = before.lines().filter(|other| !other.ends_with(mark));
    others.chain(line).map(|line| format!("{line}\n")).collect()
}

/// How the line of a node is known.
fn mark(directory: &Path) -> String {
    format!("# mq {}", directory.display())
}

/// A word for `sh` in a crontab, where `%` ends the command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\"'\"'").replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A node whose daemon is a script.
    fn node(daemon: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(CURRENT).join("mqd");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::create_dir_all(state_of_node(directory.path())).unwrap();
        fs::write(&program, format!("#!/bin/sh\necho start >> starts\n{daemon}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    fn starts(directory: &Path) -> usize {
        fs::read_to_string(directory.join("starts")).map_or(0, |starts| starts.lines().count())
    }

    #[test]
    fn a_node_that_crashes_is_started_until_it_ends_by_itself() {
        let node = node("test $(wc -l < starts) -ge 2 && exit 0; exit 1");
        want(node.path(), Dataplane::Mqd).unwrap();
        keep(node.path(), true).unwrap();
        assert_eq!(starts(node.path()), 2);
    }

    #[test]
    fn nobody_starts_a_node_that_was_stopped_or_has_ended_by_itself() {
        let node = node("exit 1");
        keep(node.path(), true).unwrap();
        assert_eq!(starts(node.path()), 0, "it is not wanted");
        want(node.path(), Dataplane::Mqd).unwrap();
        keep(node.path(), false).unwrap();
        assert_eq!(starts(node.path()), 0, "there is no sign of a crash");
        assert!(unwant(node.path()).unwrap() && !unwant(node.path()).unwrap());
    }

    #[test]
    fn one_keeper_is_enough() {
        let node = node("exit 1");
        want(node.path(), Dataplane::Mqd).unwrap();
        assert!(!is_there(node.path()));
        let held = lock(node.path()).unwrap().unwrap();
        assert!(is_there(node.path()));
        keep(node.path(), true).unwrap();
        assert_eq!(starts(node.path()), 0);
        drop(held);
    }

    #[test]
    fn a_line_of_cron_is_the_nodes_own_and_the_others_stay() {
        let node = Path::new("/home/a b/50%/node-1");
        let other = "0 5 * * * backup\n@reboot 'x' # mq /home/a b/50%/node-10\n";
        let line = format!("@reboot {} {}", quoted("/home/a b/50%/mq"), mark(node));
        let once = changed(other, &mark(node), Some(&line));
        assert_eq!(once, format!("{other}@reboot '/home/a b/50\\%/mq' # mq /home/a b/50%/node-1\n"));
        assert_eq!(changed(&once, &mark(node), Some(&line)), once);
        assert_eq!(changed(&once, &mark(node), None), other);
    }
}
