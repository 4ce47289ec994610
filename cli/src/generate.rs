//! The files that are made from the command line and the data model: completions, man pages and schemas.
//!
//! They are committed, so that packages need no build step for them; a test compares.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::{
    args::Cli,
    failure::{Failure, Outcome},
};

/// The command that refreshes the files.
pub const REFRESH: &str = "cargo run -p mq -- generate --write";

/// Where the man pages are, from the root of the source tree.
const MAN: &str = "completions/man";

/// What the committed files should hold: path from the root of the source tree, content.
pub fn artefacts() -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for (shell, name) in [
        (Shell::Bash, "mq.bash"),
        (Shell::Zsh, "_mq"),
        (Shell::Fish, "mq.fish"),
        (Shell::PowerShell, "_mq.ps1"),
    ] {
        files.insert(Path::new("completions").join(name), completions(shell));
    }
    let mut root = command();
    root.build();
    man_pages(&root, &mut files)?;
    for (path, text) in mq_model::schema::files() {
        files.insert(PathBuf::from(path), text.into_bytes());
    }
    Ok(files)
}

/// The completion script of one shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "mq", &mut script);
    script
}

/// The files below `root` that are not as they should be, and the man pages that should not be there.
pub fn stale(root: &Path) -> Outcome<Vec<PathBuf>> {
    let files = artefacts()?;
    let mut stale: Vec<PathBuf> = files
        .iter()
        .filter(|(path, content)| fs::read(root.join(path)).ok().as_ref() != Some(*content))
        .map(|(path, _)| path.clone())
        .collect();
    stale.extend(superfluous(root, &files));
    Ok(stale)
}

/// Writes what is stale and returns it.
pub fn write(root: &Path) -> Outcome<Vec<PathBuf>> {
    if !root.join("completions").is_dir() {
        let message =
            format!("{} is not the root of the source tree: it has no completions/", root.display());
        return Err(Failure::usage(message).help("say where it is with --root"));
    }
    let files = artefacts()?;
    let stale = stale(root)?;
    for path in &stale {
        let target = root.join(path);
        let written = match (files.get(path), target.parent()) {
            (Some(content), Some(directory)) => {
                fs::create_dir_all(directory).and_then(|()| fs::write(&target, content))
            }
            _ => fs::remove_file(&target),
        };
        written.map_err(|error| Failure::file("write", &target, &error))?;
    }
    Ok(stale)
}

/// Without the terminal: what is generated must not depend on who generates it.
fn command() -> Command {
    Cli::command().term_width(100)
}

fn man_pages(command: &Command, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Outcome {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = Path::new(MAN).join(format!("{name}.1"));
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone())
        .source(concat!("mq ", env!("CARGO_PKG_VERSION")))
        .manual("mq manual");
    man.render(&mut page)
        .map_err(|error| Failure::failed(format!("cannot render {}: {error}", path.display())))?;
    files.insert(path, page);
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        man_pages(subcommand, files)?;
    }
    Ok(())
}

fn superfluous(root: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join(MAN)) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| Path::new(MAN).join(entry.file_name()));
    paths.filter(|path| !files.contains_key(path)).collect()
}
