//! Nodes as services of systemd: the text of their units, and the few words with `systemctl`.
//!
//! A unit is called `mq-<fleet>-<node>.service`. Of the system's manager it has a user of its own and sees as
//! little of the machine as it needs; of a user's manager it has what that user has. Keys are files that this user alone
//! can read, and no credentials of the unit: those are what they were at the start, and nodes take new ones while they run.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mq_model::{config::DaemonConfig, manifest::Supervision};
use tokio::{io::AsyncWriteExt, process::Command};

use super::plane::Program;
use crate::{
    context::{base, replace},
    env,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// The user that nodes of the system's manager run as.
pub const USER: &str = "mq";
/// How long one word with the service manager may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds without a sign of life after which a node is started anew.
const WATCHDOG: u32 = 30;
/// Seconds beyond the node's own time to settle after which a stopping node is killed.
const STOP_GRACE: u32 = 30;
/// Ports below this one take a capability.
const FIRST_FREE_PORT: u16 = 1_024;
/// The first systemd that can append a service's output to a file.
const OLDEST: u32 = 240;
/// Where the units of the system's manager are.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// A systemd that runs services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    System,
    User,
}

/// What the manager says of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `active`, `activating`, `inactive`, `failed` and so on.
    pub active: String,
    /// `running`, `auto-restart` and so on.
    pub sub: String,
    /// How it ended last: `success`, `exit-code`, `watchdog` and so on.
    pub result: String,
    /// The main process, when there is one.
    pub process: Option<u32>,
}

impl State {
    /// Whether the manager has it running, or is about to.
    pub fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "activating" | "reloading") && self.sub != "auto-restart"
    }
}

/// The name of a node's unit.
pub fn unit_name(fleet: &str, node: &str) -> String {
    format!("mq-{fleet}-{node}.service")
}

/// The text of a node's unit. `directory` is the node's, `program` what runs it.
pub fn unit(manager: Manager, node: &DaemonConfig, directory: &Path, program: &Program) -> String {
    let config = directory.join("mqd.yaml");
    let log = directory.join("mqd.log");
    let stop = node.drain_seconds.saturating_add(STOP_GRACE);
    let mut text = format!(
        "# Written by `mq deploy`, which overwrites it.
[Unit]
Description=Node {name} of the mq fleet {fleet}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=60
StartLimitBurst=10

[Service]
Type=notify
ExecStart={binary}{arguments} --config {config}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={directory}
StandardOutput=append:{log}
StandardError=inherit
Restart=on-failure
RestartSec=1
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec={stop}
WatchdogSec={WATCHDOG}
UMask=0077
",
        name = node.node,
        fleet = node.fleet,
        binary = quoted(&program.path),
        arguments = program.arguments.iter().map(|word| format!(" {word}")).collect::<String>(),
        config = quoted(&config),
        directory = plain(directory),
        log = plain(&log),
    );
    match manager {
        Manager::System => {
            text.push_str(&sandbox(node, directory));
            text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        }
        // A user's manager may take nothing from a service but new privileges.
        Manager::User => text.push_str("NoNewPrivileges=yes\n\n[Install]\nWantedBy=default.target\n"),
    }
    text
}

/// What keeps a node of the system's manager to itself.
fn sandbox(node: &DaemonConfig, directory: &Path) -> String {
    let store = node.store_dir();
    let mut writable = quoted(directory);
    if !store.starts_with(directory) {
        writable.push(' ');
        writable.push_str(&quoted(&store));
    }
    // The machine code of another data plane is made while it runs.
    let code = if node.dataplane.is_default() { "MemoryDenyWriteExecute=yes\n" } else { "" };
    let ports = node.listeners.named().into_iter().map(|(_, listener)| listener.port);
    let ports = ports.chain(node.mesh.as_ref().map(|mesh| mesh.listen.port));
    let capability = match ports.into_iter().any(|port| (1..FIRST_FREE_PORT).contains(&port)) {
        true => "CAP_NET_BIND_SERVICE",
        false => "",
    };
    format!(
        "User={USER}
Group={USER}
LimitNOFILE=1048576
ReadWritePaths={writable}
CapabilityBoundingSet={capability}
AmbientCapabilities={capability}
LockPersonality=yes
{code}NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
"
    )
}

/// A path as one word of a command; `%` and `$` mean something in a unit.
fn quoted(path: &Path) -> String {
    let text = plain(path).replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    format!("\"{text}\"")
}

fn plain(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

impl Manager {
    /// Who keeps nodes running on this machine, given what is wanted; `None`: nobody.
    pub fn choose(wanted: Supervision) -> Outcome<Option<Self>> {
        let is_root = rustix::process::geteuid().is_root();
        let is_booted = Path::new("/run/systemd/system").is_dir();
        let manager = match wanted {
            Supervision::None => return Ok(None),
            Supervision::Auto if !is_booted => return Ok(None),
            Supervision::Auto if is_root => Self::System,
            Supervision::System => Self::System,
            Supervision::Auto | Supervision::User => Self::User,
        };
        if !is_booted {
            return Err(Failure::failed("systemd does not run this machine")
                .help("leave `supervision` out, or set it to `none`"));
        }
        if manager == Self::System && !is_root {
            return Err(Failure::new(Exit::Denied, "units of the system take root").help(
                "log in as root (`user: root`), set `sudo: true` for the host, or set `supervision: user`",
            ));
        }
        Ok(Some(manager))
    }

    /// What keeps services of this manager from running as they should, with what to do about it.
    pub async fn problems(self) -> Vec<String> {
        let mut problems = Vec::new();
        match version().await {
            Ok(version) if version >= OLDEST => {}
            Ok(version) => problems
                .push(format!("its systemd is {version}, and this takes {OLDEST}; set `supervision: none`")),
            Err(failure) => problems.push(failure.message),
        }
        if self == Self::User && !is_lingering() {
            let user = user_name();
            if Command::new("loginctl").arg("enable-linger").output().await.is_err() || !is_lingering() {
                problems.push(format!(
                    "what `{user}` runs ends with the login, and lingering cannot be turned on; run `loginctl \
                     enable-linger {user}` there as root"
                ));
            }
        }
        problems
    }

    /// Writes the unit and has it started at boot; says whether it is another one than before.
    pub async fn install(self, name: &str, text: &str) -> Outcome<bool> {
        let path = self.path(name)?;
        let is_new = fs::read_to_string(&path).ok().as_deref() != Some(text);
        if is_new {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
            }
            replace(&path, text.as_bytes())?;
            self.say(&["daemon-reload"]).await?;
        }
        self.say(&["enable", "--quiet", name]).await?;
        Ok(is_new)
    }

    /// Has the service started, without waiting for it.
    pub async fn start(self, name: &str) -> Outcome {
        // A service that failed often enough is not started again unless somebody forgives it.
        let _ = self.say(&["reset-failed", name]).await;
        self.say(&["start", "--no-block", name]).await.map(drop)
    }

    /// Has the service stopped, without waiting for it.
    pub async fn stop(self, name: &str) -> Outcome {
        self.say(&["stop", "--no-block", name]).await.map(drop)
    }

    /// Kills the processes of the service.
    pub async fn kill(self, name: &str) -> Outcome {
        self.say(&["kill", "--signal=SIGKILL", name]).await.map(drop)
    }

    /// Has the service started at boot no more.
    pub async fn disable(self, name: &str) -> Outcome {
        if self.path(name)?.exists() {
            self.say(&["disable", "--quiet", name]).await?;
        }
        Ok(())
    }

    /// Forgets the service, which must have stopped.
    pub async fn remove(self, name: &str) -> Outcome {
        let path = self.path(name)?;
        if !path.exists() {
            return Ok(());
        }
        self.disable(name).await?;
        fs::remove_file(&path).map_err(|error| Failure::file("delete", &path, &error))?;
        let _ = self.say(&["reset-failed", name]).await;
        self.say(&["daemon-reload"]).await.map(drop)
    }

    pub async fn state(self, name: &str) -> Outcome<State> {
        let properties = "--property=ActiveState,SubState,Result,MainPID";
        let said = self.say(&["show", properties, name]).await?;
        let field = |name: &str| {
            let mut lines = said.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let process = field("MainPID").parse().ok().filter(|process| *process != 0);
        Ok(State { active: field("ActiveState"), sub: field("SubState"), result: field("Result"), process })
    }

    fn path(self, name: &str) -> Outcome<PathBuf> {
        Ok(match self {
            Self::System => Path::new(SYSTEM_UNITS).join(name),
            Self::User => base(env::CONFIG_HOME, ".config")?.join("systemd/user").join(name),
        })
    }

    async fn say(self, words: &[&str]) -> Outcome<String> {
        let mut command = Command::new("systemctl");
        if self == Self::User {
            command.arg("--user");
            if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
                // A login without PAM has no session; the manager of a lingering user is there all the same.
                let user = rustix::process::getuid().as_raw();
                command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
            }
        }
        let finished = command.args(words).stdin(Stdio::null()).kill_on_drop(true).output();
        let what = format!("systemctl {}", words.join(" "));
        match tokio::time::timeout(PATIENCE, finished).await {
            Err(_) => Err(Failure::new(Exit::TimedOut, format!("`{what}` did not end within 30s"))),
            Ok(Err(error)) => Err(Failure::file("run", Path::new("systemctl"), &error)),
            Ok(Ok(finished)) if finished.status.success() => {
                Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
            }
            Ok(Ok(finished)) => {
                let said = String::from_utf8_lossy(&finished.stderr);
                let why = said.lines().next().unwrap_or_default().to_owned();
                Err(Failure::failed(format!("`{what}` failed: {why}")))
            }
        }
    }
}

async fn version() -> Outcome<u32> {
    let finished = Command::new("systemctl").arg("--version").stdin(Stdio::null()).output().await;
    let finished = finished.map_err(|error| Failure::file("run", Path::new("systemctl"), &error))?;
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    let number = said.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    number.ok_or_else(|| Failure::failed("`systemctl --version` does not say which it is"))
}

/// Whether what this user runs outlives the login.
fn is_lingering() -> bool {
    Path::new("/var/lib/systemd/linger").join(user_name()).exists()
}

/// The name of this user: what the system says, since the environment of a login without PAM may say nothing.
fn user_name() -> String {
    let number = rustix::process::getuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    });
    named.or_else(|| env::text(env::LOGIN)).unwrap_or_else(|| number.to_string())
}

/// The number and the group of the user that nodes run as, who is made when there is none.
pub async fn daemon_user() -> Outcome<(u32, u32)> {
    if let Some(found) = find_user(USER) {
        return Ok(found);
    }
    let line = format!("u {USER} - \"mq messaging daemon\" /var/lib/mq /usr/sbin/nologin\n");
    let spawned =
        Command::new("systemd-sysusers").arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| Failure::file("run", Path::new("systemd-sysusers"), &error))?;
    if let Some(mut input) = child.stdin.take() {
        // What went wrong shows in whether the user is there.
        let _ = input.write_all(line.as_bytes()).await;
    }
    let _ = child.wait().await;
    find_user(USER).ok_or_else(|| {
        Failure::failed(format!("cannot make the user `{USER}` that nodes run as"))
            .help(format!("make it by hand: useradd --system --shell /usr/sbin/nologin {USER}"))
    })
}

/// Removes that user. One that stays does no harm.
pub async fn remove_daemon_user() {
    let _ = Command::new("userdel").arg(USER).stdin(Stdio::null()).output().await;
}

fn find_user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Gives a folder and all that is in it to a user. Links are not followed.
pub fn give(path: &Path, (user, group): (u32, u32)) -> Outcome {
    std::os::unix::fs::lchown(path, Some(user), Some(group))
        .map_err(|error| Failure::file("change the owner of", path, &error))?;
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        let entries = fs::read_dir(path).map_err(|error| Failure::file("read", path, &error))?;
        for entry in
            entries.collect::<io::Result<Vec<_>>>().map_err(|error| Failure::file("read", path, &error))?
        {
            give(&entry.path(), (user, group))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::{Fleet, FleetSpec};

    use super::*;

    fn text(manager: Manager, change: impl FnOnce(&mut DaemonConfig)) -> String {
        let mut node =
            DaemonConfig::from_fleet(&Fleet::new("prod", FleetSpec::default()), "node-1", "/d/state");
        change(&mut node);
        {
            let program = Program::of(node.dataplane, || Ok("/d/current/mqd".into())).unwrap();
            unit(manager, &node, Path::new("/d"), &program)
        }
    }

    #[test]
    fn a_unit_of_the_system_has_a_user_of_its_own_and_may_write_its_folder_alone() {
        let text = text(Manager::System, |_| ());
        for line in [
            "Type=notify",
            "ExecStart=\"/d/current/mqd\" --config \"/d/mqd.yaml\"",
            "ExecReload=/bin/kill -HUP $MAINPID",
            "User=mq",
            "ProtectSystem=strict",
            "ReadWritePaths=\"/d\"",
            "CapabilityBoundingSet=",
            "WatchdogSec=30",
            "TimeoutStopSec=40",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_store_elsewhere_may_be_written_too() {
        let text = text(Manager::System, |node| node.store.directory = "/srv/log".into());
        assert!(text.contains("ReadWritePaths=\"/d\" \"/srv/log\"\n"), "{text}");
    }

    #[test]
    fn a_port_of_the_system_takes_the_one_capability() {
        let text = text(Manager::System, |node| node.listeners.http.port = 80);
        assert!(text.contains("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"), "{text}");
    }

    #[test]
    fn a_unit_of_a_user_asks_for_nothing_that_a_user_cannot_give() {
        let text = text(Manager::User, |_| ());
        assert!(!text.contains("User=") && !text.contains("ProtectSystem"), "{text}");
        assert!(text.contains("WantedBy=default.target"), "{text}");
    }

    #[test]
    fn what_means_something_to_systemd_is_quoted() {
        assert_eq!(quoted(Path::new("/a b/50%/\"$x\"")), r#""/a b/50%%/\"$$x\"""#);
    }
}
