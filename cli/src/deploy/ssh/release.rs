//! What is sent to a host before anything runs there: the two programs, in a folder that is called after their
//! checksums. Sent once, checked there, and beside those that were there before.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::transport::Master;
use crate::failure::{Failure, Outcome};

/// The programs of a release: the agent, and what nodes are started from.
const PROGRAMS: [&str; 2] = ["mq", "mqd"];

/// How the checksum of `$1` is found: whichever program there is for it.
const CHECKSUM: &str = r#"
sum() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"
    elif command -v shasum >/dev/null 2>&1; then shasum -a 256 "$1"
    elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r "$1"
    else echo "there is neither sha256sum nor shasum nor openssl" >&2; exit 1
    fi | cut -d " " -f 1
}
"#;

/// Says what machine it is and where the fleet `$1` is there, and which of the releases that follow are there. A
/// program has its place only after its checksum was right.
const PROBE: &str = r#"
if [ "$(id -u)" = 0 ]; then base=/var/lib/mq; else base=${XDG_STATE_HOME:-$HOME/.local/state}/mq; fi
fleet=$base/$1
shift
echo "system $(uname -s)"
echo "machine $(uname -m)"
echo "directory $fleet"
for release in "$@"; do
    at=$fleet/releases/$release
    if [ -x "$at/mq" ] && [ -x "$at/mqd" ]; then echo "has $release"; touch "$at"; fi
done
"#;

/// Stores its input, `$5` KiB, as the program `$3` with the checksum `$4` in the release `$2` of the fleet at `$1`.
const STORE: &str = r#"
umask 077
at=$1/releases/$2
part=$at/.$3.$$
space() { set -- $(df -Pk "$1" 2>/dev/null | tail -n 1); echo "${4:-}"; }
mkdir -p "$at" || exit 1
free=$(space "$at")
if [ "${free:-$5}" -lt "$5" ]; then
    echo "there is no room for $3: $at has $free KiB free, and it takes $5 KiB" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then chmod 755 "$1/releases" "$at" || exit 1; fi
clean() { rm -f "$part"; }
trap clean EXIT
cat > "$part" || exit 1
found=$(sum "$part")
if [ "$found" != "$4" ]; then echo "$3 arrived damaged: its checksum is $found" >&2; exit 1; fi
chmod 755 "$part" && mv -f "$part" "$at/$3"
"#;

/// Runs the agent of the release at `$1`.
pub(crate) const AGENT: &str = r#"
release=$1
shift
exec "$release/mq" agent --release "$release" "$@"
"#;

/// An architecture that programs are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86,
    Arm,
}

impl Architecture {
    /// What `uname -m` says of it.
    fn of_machine(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" | "amd64" => Some(Self::X86),
            "aarch64" | "arm64" => Some(Self::Arm),
            _ => None,
        }
    }

    /// What the head of a program says of it (ELF, `e_machine`).
    fn of_program(path: &Path) -> Outcome<Self> {
        let mut head = [0; 20];
        File::open(path)
            .and_then(|mut file| file.read_exact(&mut head))
            .map_err(|error| Failure::file("read", path, &error))?;
        let [0x7f, b'E', b'L', b'F', 2, 1, .., low, high] = head else {
            return Err(Failure::failed(format!("{} is not a program for Linux on 64 bits", path.display())));
        };
        match u16::from_le_bytes([low, high]) {
            62 => Ok(Self::X86),
            183 => Ok(Self::Arm),
            other => {
                let message = format!("{} is for a machine that nobody knows here ({other})", path.display());
                Err(Failure::failed(message).help("give programs for x86_64 or aarch64"))
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm => "aarch64",
        }
    }
}

/// The programs for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) architecture: Architecture,
    /// `<version of mq>-<the first of its checksum>`.
    pub(crate) name: String,
    /// Each with its checksum, in the order of [`PROGRAMS`].
    programs: [(PathBuf, String); 2],
}

impl Release {
    /// The release of the daemon at `mqd`: the `mq` beside it, or this one when it is for the same machines.
    pub(crate) fn of(mqd: &Path) -> Outcome<Self> {
        let architecture = Architecture::of_program(mqd)?;
        let this = std::env::current_exe().map_err(|error| Failure::file("find", Path::new("mq"), &error))?;
        let candidates = [mqd.with_file_name("mq"), this];
        let mut fitting =
            candidates.into_iter().filter(|path| Architecture::of_program(path).ok() == Some(architecture));
        let mq = fitting.next().ok_or_else(|| {
            let name = architecture.name();
            let message = format!("there is no `mq` for {name} beside {}", mqd.display());
            Failure::failed(message).help(format!("build both for {name}, and put them into one folder"))
        })?;
        let programs = [mq, mqd.to_owned()].map(|path| checksum(&path).map(|sum| (path, sum)));
        let [mq, mqd] = programs;
        let (mq, mqd) = (mq?, mqd?);
        let whole = hexadecimal(&Sha256::digest(format!("{} {}", mq.1, mqd.1)));
        let name = format!("{}-{}", env!("CARGO_PKG_VERSION"), whole.get(..12).unwrap_or(&whole));
        Ok(Self { architecture, name, programs: [mq, mqd] })
    }
}

fn checksum(path: &Path) -> Outcome<String> {
    let mut file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut chunk).map_err(|error| Failure::file("read", path, &error))?;
        match chunk.get(..read) {
            None | Some([]) => return Ok(hexadecimal(&hash.finalize())),
            Some(bytes) => hash.update(bytes),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a release is on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    /// The fleet's directory there.
    pub(crate) directory: String,
    pub(crate) release: String,
    /// Whether it was sent just now.
    pub(crate) is_new: bool,
}

/// Sees to it that the host has the release for its architecture.
pub(crate) async fn stage(master: &Master, fleet: &str, releases: &[Release], host: &str) -> Outcome<Staged> {
    let mut arguments = vec![fleet];
    arguments.extend(releases.iter().map(|release| release.name.as_str()));
    let said = master.run(PROBE, &arguments, None).await?;
    let found = Found::read(&said);
    if found.system != "Linux" {
        let message = format!("{host}: it runs `{}`, and nodes run on Linux", found.system);
        return Err(Failure::failed(message));
    }
    let release = fitting(releases, &found.machine, host)?;
    let is_new = !found.releases.contains(&release.name);
    if is_new {
        let script = format!("{CHECKSUM}{STORE}");
        for (program, (path, sum)) in PROGRAMS.into_iter().zip(&release.programs) {
            let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
            let length = file.metadata().map_err(|error| Failure::file("read", path, &error))?.len();
            let size = length.div_ceil(1 << 10).to_string();
            let arguments = [found.directory.as_str(), &release.name, program, sum, &size];
            master.run(&script, &arguments, Some(file)).await?;
        }
    }
    let at = format!("{}/releases/{}", found.directory, release.name);
    Ok(Staged { directory: found.directory, release: at, is_new })
}

/// The release for a host that says of itself to be such a machine.
fn fitting<'r>(releases: &'r [Release], machine: &str, host: &str) -> Outcome<&'r Release> {
    let architecture = Architecture::of_machine(machine);
    if let Some(release) = releases.iter().find(|release| Some(release.architecture) == architecture) {
        return Ok(release);
    }
    let given: Vec<&str> = releases.iter().map(|release| release.architecture.name()).collect();
    let message = format!("{host}: it is {machine}, and there are programs for {}", given.join(", "));
    Err(Failure::failed(message).help(match architecture {
        Some(architecture) => format!(
            "give those for {}, too: --mqd FILE, with the `mq` of the same build beside it",
            architecture.name()
        ),
        None => "nodes run on x86_64 and aarch64: leave the host out".to_owned(),
    }))
}

/// What a probe has said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    system: String,
    machine: String,
    directory: String,
    releases: Vec<String>,
}

impl Found {
    /// What is said by the programs of a login beside it means nothing.
    fn read(said: &str) -> Self {
        let mut found = Self::default();
        for (key, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "system" => value.clone_into(&mut found.system),
                "machine" => value.clone_into(&mut found.machine),
                "directory" => value.clone_into(&mut found.directory),
                "has" => found.releases.push(value.to_owned()),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_pass_through_every_login_shell() {
        for script in [CHECKSUM, PROBE, STORE, AGENT] {
            assert!(!script.contains(['\'', '\\']), "{script}");
        }
    }

    #[test]
    fn a_program_says_what_machine_it_is_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mqd");
        let program = |machine: [u8; 2]| [&b"\x7fELF\x02\x01"[..], &[0; 12], &machine, &[0; 8]].concat();
        std::fs::write(&path, program([62, 0])).unwrap();
        assert_eq!(Architecture::of_program(&path).unwrap(), Architecture::X86);
        std::fs::write(&path, program([183, 0])).unwrap();
        assert_eq!(Architecture::of_program(&path).unwrap(), Architecture::Arm);
        let failure = Release::of(&path).unwrap_err();
        assert!(failure.message.contains("no `mq` for aarch64"), "{failure}");
        std::fs::write(&path, "#!/bin/sh\nexec something\n").unwrap();
        assert!(Architecture::of_program(&path).unwrap_err().message.contains("not a program"));
    }

    #[test]
    fn each_host_gets_the_programs_for_its_machine_and_none_are_those_of_another_one() {
        let release = |architecture: Architecture| Release {
            architecture,
            name: architecture.name().to_owned(),
            programs: Default::default(),
        };
        let (x86, arm) = (release(Architecture::X86), release(Architecture::Arm));
        let both = [x86.clone(), arm];
        for (machine, name) in
            [("x86_64", "x86_64"), ("amd64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64")]
        {
            assert_eq!(fitting(&both, machine, "h").unwrap().name, name);
        }
        let failure = fitting(&[x86], "aarch64", "mq@h2").unwrap_err();
        assert_eq!(failure.message, "mq@h2: it is aarch64, and there are programs for x86_64");
        assert!(failure.help.unwrap().starts_with("give those for aarch64, too: --mqd FILE"));
        let failure = fitting(&both, "riscv64", "h").unwrap_err();
        assert!(failure.help.unwrap().contains("leave the host out"));
    }

    #[test]
    fn a_release_has_another_name_when_a_byte_changes() {
        let directory = tempfile::tempdir().unwrap();
        let program = |last: u8| [&b"\x7fELF\x02\x01"[..], &[0; 12], &[62, 0, last]].concat();
        let (mq, mqd) = (directory.path().join("mq"), directory.path().join("mqd"));
        std::fs::write(&mq, program(1)).unwrap();
        std::fs::write(&mqd, program(1)).unwrap();
        let first = Release::of(&mqd).unwrap();
        assert_eq!(Release::of(&mqd).unwrap(), first);
        std::fs::write(&mqd, program(2)).unwrap();
        assert_ne!(Release::of(&mqd).unwrap().name, first.name);
    }

    #[test]
    fn what_a_login_says_beside_the_probe_is_passed_over() {
        let said =
            "Welcome to h1\nsystem Linux\nmachine x86_64\ndirectory /home/a b/.local/state/mq/f\nhas r1\n";
        let found = Found::read(said);
        assert_eq!((found.system.as_str(), found.machine.as_str()), ("Linux", "x86_64"));
        assert_eq!(found.directory, "/home/a b/.local/state/mq/f");
        assert_eq!(found.releases, ["r1"]);
    }
}
