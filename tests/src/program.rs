//! Where the programs under test are, built when they are missing or older than their sources.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Why the folder of a profile has one above it.
const BELOW_TARGET: &str = "the profile's folder is below target";

/// The folder of the sources that a program is built from; tests and benchmarks are left out.
const SOURCES: [&str; 9] = [
    "cli/src",
    "dataplane/src",
    "dataplane/amqp/src",
    "dataplane/auth/src",
    "dataplane/core/src",
    "dataplane/mesh/src",
    "dataplane/model/src",
    "dataplane/mqtt/src",
    "dataplane/store/src",
];

/// The daemon.
///
/// # Panics
/// When it cannot be built.
pub fn mqd_path() -> PathBuf {
    programs().join("mqd")
}

/// The command line.
///
/// # Panics
/// When it cannot be built.
pub fn mq_path() -> PathBuf {
    programs().join("mq")
}

/// The folder of both programs as the `Containerfile` builds them, in this test's own profile: they need nothing of the
/// machine that they run on. Cargo knows whether they have to be built.
///
/// # Panics
/// When they cannot be built.
pub fn static_programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        let folder = profile_folder();
        build(&folder, Some(&target));
        let (root, profile) = (folder.parent(), folder.file_name());
        root.zip(profile).map(|(root, profile)| root.join(target).join(profile)).expect(BELOW_TARGET)
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the repository")
}

/// The folder of the programs: `MQ_TESTS_PROGRAMS`, or where cargo has put this test's own profile.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| match env::var_os("MQ_TESTS_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = profile_folder();
            if is_stale(&folder) {
                build(&folder, None);
            }
            folder
        }
    })
}

/// `target/<profile>`: the test itself is in its `deps`.
fn profile_folder() -> PathBuf {
    let test = env::current_exe().expect("the system knows which program runs");
    let folder = test.parent().and_then(Path::parent).expect("cargo puts tests into target/<profile>/deps");
    folder.to_owned()
}

/// Whether a program is missing, or a source is younger than one.
fn is_stale(folder: &Path) -> bool {
    let built = ["mqd", "mq"].map(|program| modified(&folder.join(program)));
    let Some(oldest) =
        built.into_iter().collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().min())
    else {
        return true;
    };
    SOURCES.iter().any(|source| youngest(&repository().join(source)).is_some_and(|time| time > oldest))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn youngest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() { youngest(&path) } else { modified(&path) }
    });
    times.max()
}

/// Builds for a target that is named with everything inside, and else for this machine. Cargo holds a lock of its own
/// while it builds.
fn build(folder: &Path, target: Option<&str>) {
    let mut command = Command::new(cargo());
    command.current_dir(repository()).args(["build", "--quiet", "-p", "mqd", "-p", "mq"]);
    command.arg("--target-dir").arg(folder.parent().expect(BELOW_TARGET));
    if let Some(target) = target {
        command.args(["--target", target]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs: it has started this test");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mqd and mq could not be built:\n{talk}");
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
