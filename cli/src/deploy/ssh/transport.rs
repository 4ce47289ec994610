//! The system's `ssh` as a child process: one master connection to each host, and what runs over it.
//!
//! Who may log in where is the user's `ssh` configuration, agent and known hosts; nothing is asked and no host
//! key is accepted here. What is run on a host is `sh` with a script that holds neither quotes nor backslashes,
//! and arguments in quotes: whatever the login shell there is, it changes neither.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use mq_model::{Secret, manifest::SshHost};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UnixStream},
    process::{Child, Command},
};

use crate::{
    deploy::entry::bearable,
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    relay::{self, Kept, Relay},
};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is.
const POLL: Duration = Duration::from_millis(20);
/// How much of what a script says is read.
const MAX_SAID: u64 = 64 << 10;
/// What `ssh` ends with when it has no connection, or none any more.
const LOST: i32 = 255;
/// The longest path of a socket, with room for what `ssh` puts behind it while it makes one.
const MAX_SOCKET: usize = 80;

/// A folder of this process for the sockets of its connections; it goes with it.
#[derive(Debug)]
pub(crate) struct Sockets(PathBuf);

impl Sockets {
    pub(crate) fn new() -> Outcome<Self> {
        let name = format!("mq-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let runtime = env::path("XDG_RUNTIME_DIR").map(|folder| folder.join(&name));
        let runtime = runtime.filter(|folder| folder.as_os_str().len() < MAX_SOCKET);
        let path = runtime.unwrap_or_else(|| Path::new("/tmp").join(&name));
        // Fails when there is something of that name: nobody has put it there for us.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Failure::file("create", &path, &error))?;
        Ok(Self(path))
    }
}

impl Sockets {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What is left of it is an empty folder in a place for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A connection to one host. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Master {
    host: SshHost,
    socket: PathBuf,
    /// What `ssh` connects to when it is told the host's address.
    pub(crate) name: String,
    /// Other programs of this machine cannot connect to that name, since `ssh` takes a way of its own.
    pub(crate) is_indirect: bool,
    _process: Child,
}

impl Master {
    /// Connects to a host.
    ///
    /// # Errors
    ///
    /// Why `ssh` does not get there, and what to do about it.
    pub(crate) async fn connect(host: &SshHost, socket: &Path) -> Outcome<Self> {
        let settings = settings(host).await;
        let setting = |name: &str| {
            let found =
                settings.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_owned()).filter(|value| value != "none")
        };
        let mut process = ssh(host)
            .args(["-T", "-M", "-o", "ControlPersist=no", "-S"])
            .arg(socket)
            .args(destination(host))
            // What runs there ends with its input, which ends with this process, however that ends.
            .arg("exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| no_ssh(&error))?;
        let end = Instant::now() + CONNECT;
        while !socket.exists() {
            let ended = process.try_wait().map_err(|error| no_ssh(&error))?;
            if ended.is_some() || Instant::now() >= end {
                let _ = process.start_kill();
                let said = match process.stderr.take() {
                    Some(errors) => read_bounded(errors).await,
                    None => String::new(),
                };
                return Err(refused(host, &said).await);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self {
            host: host.clone(),
            socket: socket.to_owned(),
            name: setting("hostname").unwrap_or_else(|| host.address.clone()),
            is_indirect: setting("proxyjump").or_else(|| setting("proxycommand")).is_some(),
            _process: process,
        })
    }

    /// A command that runs `script` over the connection.
    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Command {
        let command = remote(&self.host, script, arguments);
        let mut ssh = ssh(&self.host);
        ssh.args(["-T", "-o", "ControlMaster=no", "-S"]).arg(&self.socket);
        ssh.args(destination(&self.host)).arg(command);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh.process_group(0).kill_on_drop(true);
        ssh
    }

    /// Runs `script` to its end and returns what it said. `input` is what it reads.
    pub(crate) async fn run(&self, script: &str, arguments: &[&str], input: Option<File>) -> Outcome<String> {
        let mut command = self.script(script, arguments);
        if let Some(input) = input {
            command.stdin(input);
        }
        let mut child = command.spawn().map_err(|error| no_ssh(&error))?;
        let (said, errors) = match (child.stdout.take(), child.stderr.take()) {
            (Some(said), Some(errors)) => tokio::join!(read_bounded(said), read_bounded(errors)),
            _ => Default::default(),
        };
        let status = child.wait().await.map_err(|error| no_ssh(&error))?;
        if status.success() {
            return Ok(said);
        }
        let why = last_line(&errors).unwrap_or_else(|| how(status));
        let exit = if status.code() == Some(LOST) { Exit::Unreachable } else { Exit::Failed };
        Err(failed(&self.host, exit, &why))
    }

    /// Opens ways to `places` as seen from the host. Nothing is asked of a place before somebody connects.
    ///
    /// # Errors
    ///
    /// The connection is lost, or there is no room for the ways here.
    pub(crate) async fn forward(&self, places: &[(String, u16)]) -> Outcome<Ways> {
        let sockets = Sockets::new()?;
        let mut relay = Relay::default();
        // The configuration of the user has been taken for the connection: what it forwards is not for this.
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "LogLevel=ERROR", "-O", "forward", "-S"]).arg(&self.socket);
        for (number, (to, there)) in places.iter().enumerate() {
            let to = if to.contains(':') { format!("[{to}]") } else { to.clone() };
            let socket = sockets.path().join(number.to_string());
            ssh.arg("-L").arg(format!("{}:{to}:{there}", socket.display()));
            relay.add(move |stream| pass_on(stream, socket.clone())).await?;
        }
        ssh.args(destination(&self.host)).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        // It ends once `ssh` listens on all of them.
        let ended = ssh.output().await.map_err(|error| no_ssh(&error))?;
        if ended.status.success() {
            return Ok(Ways { relay, _sockets: sockets });
        }
        Err(unreachable(&self.host, &String::from_utf8_lossy(&ended.stderr)))
    }
}

/// What a host is told to run a script.
fn remote(host: &SshHost, script: &str, arguments: &[&str]) -> String {
    debug_assert!(!script.contains(['\'', '\\']), "the login shell must not touch it");
    let words = [script, "mq"].into_iter().chain(arguments.iter().copied()).map(quoted);
    // Nobody is there to type a password.
    let sudo = if host.sudo { "sudo -n -- " } else { "" };
    format!("exec {sudo}sh -c {}", words.collect::<Vec<_>>().join(" "))
}

/// Why a script did not run to its end; with what to do about it when it never began.
fn failed(host: &SshHost, exit: Exit, why: &str) -> Failure {
    let message = format!("{host}: {why}");
    if !(host.sudo && why.contains("sudo")) {
        return Failure::new(exit, message);
    }
    let login = login(host);
    Failure::new(Exit::Denied, message).help(format!(
        "see to it that `ssh {login} sudo -n true` works (NOPASSWD in a file of /etc/sudoers.d), or log in as root in \
         place of `sudo: true`"
    ))
}

/// Says the token of the node `$2` of the fleet `$1`, or nothing when there is none.
const OWNER: &str = r#"
if [ "$(id -u)" = 0 ]; then base=/var/lib/mq; else base=${XDG_STATE_HOME:-$HOME/.local/state}/mq; fi
cat "$base/$1/$2/state/owner.token" 2>/dev/null || :
"#;

/// Ways from ports of this machine's loopback to places that a host can connect to. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Ways {
    /// The ports here, in the order in which the places were given.
    pub(crate) relay: Relay,
    /// What `ssh` listens on for each of them.
    _sockets: Sockets,
}

/// The same for commands that wait for nothing else meanwhile, with a connection of its own.
#[derive(Debug)]
pub struct Tunnel {
    /// The ports here, in the order in which the others were given.
    pub ports: Vec<u16>,
    /// What the owner of the node gets in with, where that was asked for and is there.
    pub owner: Option<Secret>,
    _kept: Kept,
}

impl Tunnel {
    /// Opens ways to `places` as seen from `host`, and reads the token of a node there: `node` are the names of
    /// its fleet and its own.
    ///
    /// # Errors
    ///
    /// Why `ssh` does not get there, and what to do about it.
    pub fn open(host: &SshHost, places: &[(String, u16)], node: Option<(&str, &str)>) -> Outcome<Self> {
        // The connection is given up by itself at `CONNECT`, with the reason.
        let late = unreachable(host, "");
        let (host, places) = (host.clone(), places.to_vec());
        let node = node.map(|(fleet, node)| (fleet.to_owned(), node.to_owned()));
        let ((ports, owner), kept) = Kept::open(2 * CONNECT, late, move || async move {
            let sockets = Sockets::new()?;
            let master = Master::connect(&host, &sockets.path().join("master")).await?;
            let ways = master.forward(&places).await?;
            let owner = match &node {
                // Without it there are other ways to say who one is.
                Some((fleet, node)) => master.run(OWNER, &[fleet, node], None).await.ok(),
                None => None,
            };
            let owner = owner.as_deref().and_then(bearable);
            Ok(((ways.relay.ports.clone(), owner), (ways, master, sockets)))
        })?;
        Ok(Self { ports, owner, _kept: kept })
    }
}

async fn pass_on(stream: TcpStream, socket: PathBuf) {
    // Whoever connected sees that the connection ends: nothing better can be said in a protocol that is not known here.
    if let Ok(far) = UnixStream::connect(&socket).await {
        relay::join(stream, far).await;
    }
}

/// `ssh` with what holds for every use of it.
fn ssh(host: &SshHost) -> Command {
    let mut command = Command::new("ssh");
    if let Some(file) = env::path(env::SSH_CONFIG) {
        command.arg("-F").arg(file);
    }
    for option in [
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        "ClearAllForwardings=yes",
        "EscapeChar=none",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RequestTTY=no",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    if let Some(port) = host.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &host.user {
        command.arg("-l").arg(user);
    }
    command
}

/// The host, which cannot be taken for an option.
fn destination(host: &SshHost) -> [&str; 2] {
    ["--", &host.address]
}

/// What `ssh` makes of the user's configuration for this host; nothing when it does not say.
async fn settings(host: &SshHost) -> String {
    let found = ssh(host).arg("-G").args(destination(host)).stdin(Stdio::null()).output().await;
    found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned()).unwrap_or_default()
}

/// One word for any shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

async fn read_bounded(stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // What cannot be read was not said.
    let _ = stream.take(MAX_SAID).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How a program ended that `ssh` ran; 255 is its own.
pub(crate) fn how(status: std::process::ExitStatus) -> String {
    match status.code() {
        Some(LOST) => "the connection was lost".to_owned(),
        _ => status.to_string(),
    }
}

pub(crate) fn last_line(said: &str) -> Option<String> {
    said.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}

fn no_ssh(error: &std::io::Error) -> Failure {
    Failure::file("run", Path::new("ssh"), error).help("install the OpenSSH client")
}

/// Why a connection did not come about.
async fn refused(host: &SshHost, said: &str) -> Failure {
    if !said.contains("Host key verification failed") {
        return unreachable(host, said);
    }
    let command = format!("ssh {}", login(host));
    if said.contains("HAS CHANGED") {
        let message = format!("{host}: its host key is another one than the one you know");
        return Failure::new(Exit::Denied, message).help(format!(
            "find out why; if that is as it should be, `ssh-keygen -R {}`, then accept the new one with `{command}`",
            host.address
        ));
    }
    let found = fingerprints(host).await;
    let keys = if found.is_empty() { String::new() } else { format!(": {}", found.join(", ")) };
    Failure::new(Exit::Denied, format!("{host}: its host key is not known{keys}")).help(format!(
        "compare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there, and accept it with \
         `{command}`"
    ))
}

fn unreachable(host: &SshHost, said: &str) -> Failure {
    let why = last_line(said).unwrap_or_else(|| "no answer within 30s".to_owned());
    let login = login(host);
    if why.contains("Permission denied") {
        return Failure::new(Exit::Denied, format!("{host}: cannot log in: {why}")).help(format!(
            "see to it that `ssh -o BatchMode=yes {login} true` works, with a key or an agent"
        ));
    }
    Failure::new(Exit::Unreachable, format!("{host}: {why}"))
        .help(format!("see to it that `ssh -o BatchMode=yes {login} true` works"))
}

/// The host as a person writes it behind `ssh`.
fn login(host: &SshHost) -> String {
    let port = host.port.map_or_else(String::new, |port| format!("-p {port} "));
    let user = host.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
    format!("{port}{user}{}", host.address)
}

/// The host's keys as it shows them now, for the user to compare. Nothing is believed because of them.
async fn fingerprints(host: &SshHost) -> Vec<String> {
    let settings = settings(host).await;
    let setting = |name: &str| {
        let mut lines = settings.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let name = setting("hostname").unwrap_or_else(|| host.address.clone());
    let port = setting("port").unwrap_or_else(|| "22".into());
    let scanned = Command::new("ssh-keyscan")
        .args(["-T", "5", "-p", &port, "--", &name])
        .stdin(Stdio::null())
        .output()
        .await;
    let Ok(scanned) = scanned else { return Vec::new() };
    let keys = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let mut found = Vec::new();
    for key in keys.lines().filter(|line| !line.starts_with('#')).take(8) {
        found.extend(fingerprint(key).await);
    }
    found
}

/// `SHA256:... (ED25519)` of one line of `ssh-keyscan`.
async fn fingerprint(key: &str) -> Option<String> {
    let mut child = Command::new("ssh-keygen")
        .args(["-l", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    tokio::io::AsyncWriteExt::write_all(&mut input, format!("{key}\n").as_bytes()).await.ok()?;
    drop(input);
    let said = String::from_utf8_lossy(&child.wait_with_output().await.ok()?.stdout).into_owned();
    let mut words = said.split_whitespace();
    let fingerprint = words.nth(1)?.to_owned();
    Some(format!("{fingerprint} {}", words.last().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_in_every_shell() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r#"'it'"'"'s $HOME'"#);
    }

    #[test]
    fn a_host_is_never_an_option() {
        let mut host = SshHost::new("10.0.0.1");
        (host.user, host.port) = (Some("mq".into()), Some(2222));
        let command = ssh(&host).into_std();
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.ends_with(&["-p", "2222", "-l", "mq"].map(str::to_owned)), "{words:?}");
        assert!(words.contains(&"BatchMode=yes".to_owned()), "{words:?}");
        assert_eq!(destination(&host), ["--", "10.0.0.1"]);
    }

    #[test]
    fn root_by_way_of_sudo_is_asked_for_nothing_and_says_how_to_mend_it() {
        let mut host = SshHost::new("h1");
        assert_eq!(remote(&host, "echo", &["a b"]), "exec sh -c 'echo' 'mq' 'a b'");
        (host.sudo, host.user) = (true, Some("ann".into()));
        assert_eq!(remote(&host, "echo", &["a b"]), "exec sudo -n -- sh -c 'echo' 'mq' 'a b'");
        let failure = failed(&host, Exit::Failed, "sudo: a password is required");
        assert_eq!(failure.message, "ann@h1: sudo: a password is required");
        assert_eq!(failure.exit, Exit::Denied);
        assert!(failure.help.unwrap().contains("`ssh ann@h1 sudo -n true`"));
        assert_eq!(failed(&host, Exit::Failed, "cat: no such file").exit, Exit::Failed);
    }

    #[test]
    fn what_ssh_said_last_is_the_reason() {
        let host = SshHost::new("h1");
        let failure = unreachable(&host, "banner\nssh: connect to host h1 port 22: No route to host\r\n");
        assert_eq!(failure.message, "h1: ssh: connect to host h1 port 22: No route to host");
        assert_eq!(failure.exit, Exit::Unreachable);
        let failure = unreachable(&host, "mq@h1: Permission denied (publickey).");
        assert_eq!(failure.exit, Exit::Denied);
    }
}
