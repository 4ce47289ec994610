//! Machines of a test's own: systemd and an SSH server in each, booted by `systemd-nspawn` in a network of their own.
//! They can be cut off from power and from the network.
//!
//! It takes root, `systemd-nspawn` and `debootstrap`; where they are missing the test says so and is left out. What
//! they boot from is made once, in `tests/.env`; each machine writes to a layer of its own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::command::{Finished, Mq, Running};
use crate::daemon::report;
use crate::network::{Network, within};
use crate::program::repository;
use crate::wait::eventually_within;

/// How long a machine may take to boot.
const BOOT: Duration = Duration::from_secs(60);

/// How long a command may take that walks through several machines.
pub const ROLL: Duration = Duration::from_secs(180);

/// What is in a machine.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,iproute2,sudo,ca-certificates,procps,libpam-systemd,dbus-user-session";

/// Who can log in, beside root.
pub const LOGIN: &str = "deploy";

/// Some machines. Dropping it ends them.
#[derive(Debug)]
pub struct Hosts {
    network: Network,
    folder: TempDir,
    machines: Vec<Option<Child>>,
}

impl Hosts {
    /// So many machines that have booted, or `None` and a word to the reader of the test's output.
    ///
    /// # Panics
    /// When a machine does not boot.
    pub fn new_or_say_why(count: usize) -> Option<Self> {
        Self::with_or_say_why(count, None)
    }

    /// The same with a package of Debian on each of them, which nothing has started.
    ///
    /// # Panics
    /// When a machine does not boot.
    pub fn with_or_say_why(count: usize, package: Option<&str>) -> Option<Self> {
        match Self::new(count, package) {
            Ok(hosts) => Some(hosts),
            Err(reason) => {
                report(&format!("left out: no machines for tests here: {reason}"));
                None
            }
        }
    }

    fn new(count: usize, package: Option<&str>) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("that takes root".into());
        }
        run("systemd-nspawn", &["--version"])?;
        let mut layers = vec![system()?];
        if let Some(package) = package {
            layers.insert(0, layer(&layers[0], package)?);
        }
        let network = Network::new(count)?;
        let folder = TempDir::with_prefix("mq-hosts-").map_err(|error| error.to_string())?;
        let mut hosts = Self { network, folder, machines: (0..count).map(|_| None).collect() };
        hosts.make_key()?;
        for number in 1..=count {
            hosts.install(number, &layers)?;
        }
        for number in 1..=count {
            hosts.boot(number);
        }
        for number in 1..=count {
            hosts.wait_for(number);
        }
        Ok(hosts)
    }

    fn make_key(&self) -> Result<(), String> {
        let key = self.folder.path().join("id");
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key.display().to_string()])?;
        let config = format!(
            "IdentityFile {key}\nIdentitiesOnly yes\nUserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n",
            key = key.display(),
            known = self.known_hosts().display()
        );
        fs::write(self.config(), config).map_err(|error| error.to_string())
    }

    /// The configuration of `ssh` that knows the machines.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ssh_config")
    }

    /// Adds lines in front of that configuration, where they count first.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, lines: &str) {
        let known = fs::read_to_string(self.config()).expect("the configuration of ssh");
        // What follows a `Host` belongs to it.
        fs::write(self.config(), format!("{lines}\nHost *\n{known}")).expect("a file");
    }

    /// The host keys that are known.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// The address of a machine.
    pub fn address(&self, number: usize) -> String {
        self.network.address(number).to_string()
    }

    /// The network between the machines.
    pub fn network(&self) -> &Network {
        &self.network
    }

    fn root(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("host{number}/root"))
    }

    /// A machine's own layer over what all of them boot from.
    fn install(&self, number: usize, system: &[PathBuf]) -> Result<(), String> {
        let folder = self.folder.path().join(format!("host{number}"));
        for name in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(name)).map_err(|error| error.to_string())?;
        }
        let root = self.root(number);
        mount(system, &folder, &root)?;
        let name = format!("h{number}");
        let public =
            fs::read_to_string(self.folder.path().join("id.pub")).map_err(|error| error.to_string())?;
        fs::create_dir_all(root.join("root/.ssh")).map_err(|error| error.to_string())?;
        let home = root.join("home").join(LOGIN).join(".ssh");
        fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        for (path, text) in [
            (root.join("etc/hostname"), format!("{name}\n")),
            (root.join("etc/hosts"), format!("127.0.0.1 localhost\n127.0.1.1 {name}\n")),
            (root.join("root/.ssh/authorized_keys"), public.clone()),
            (home.join("authorized_keys"), public),
        ] {
            fs::write(path, text).map_err(|error| error.to_string())?;
        }
        // Keys of its own, made before it boots, so that the test knows them.
        run("rm", &["-f", &root.join("etc/ssh/ssh_host_ed25519_key").display().to_string()])?;
        let key = root.join("etc/ssh/ssh_host_ed25519_key").display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key])?;
        let public = fs::read_to_string(format!("{key}.pub")).map_err(|error| error.to_string())?;
        let mut known = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        known.push_str(&format!("{} {public}", self.address(number)));
        fs::write(self.known_hosts(), known).map_err(|error| error.to_string())
    }

    /// Turns a machine on.
    ///
    /// # Panics
    /// When there is no way to do so.
    pub fn boot(&mut self, number: usize) {
        // A name for the whole machine that runs the tests.
        let name = self.network.namespace(number);
        let script = "for at in systemd unified; do mkdir -p /sys/fs/cgroup/$at/$1 && echo $$ > \
                      /sys/fs/cgroup/$at/$1/cgroup.procs; done 2>/dev/null; exec systemd-nspawn -q --boot -D \"$2\" \
                      --machine=$1 --hostname=$3 --register=no --keep-unit --network-namespace-path=/run/netns/$1 \
                      --resolv-conf=off --timezone=off --link-journal=no --console=pipe";
        let log = fs::File::create(self.folder.path().join(format!("host{number}/log"))).expect("a file");
        let child = Command::new("sh")
            .args(["-c", script, "boot", &name])
            .arg(self.root(number))
            .arg(format!("h{number}"))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("a machine can be started");
        self.machines[number - 1] = Some(child);
    }

    /// Waits until a machine takes logins.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_for(&self, number: usize) {
        eventually_within(BOOT, &format!("machine {number}"), || {
            (self.on(number, "systemctl is-system-running --wait").code == Some(0)).then_some(())
        });
    }

    /// Runs a command on a machine as root.
    pub fn on(&self, number: usize, command: &str) -> Finished {
        self.on_as("root", number, command)
    }

    /// Runs a command on a machine.
    pub fn on_as(&self, user: &str, number: usize, command: &str) -> Finished {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.config()).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-l", user]);
        ssh.arg(self.address(number)).arg(command);
        within(&self.network.clients(), || Running::start(ssh, "").finish())
    }

    /// Cuts the power of a machine. What it had not put on its disk may be gone.
    ///
    /// # Panics
    /// When it is not on.
    pub fn cut_power(&mut self, number: usize) {
        let mut child = self.machines[number - 1].take().expect("a machine that is on");
        let id = child.id();
        // The first process of the machine takes all others with it; that of nspawn would leave them.
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        for process in children.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw)
        {
            let _ = kill_process(process, Signal::KILL);
        }
        child.wait().expect("a machine ends with its first process");
    }

    /// Runs `mq` where it reaches the machines.
    #[track_caller]
    pub fn run(&self, mq: &Mq, arguments: &[&str]) -> Finished {
        self.start(mq, arguments).finish_within(ROLL)
    }

    /// The same with something on standard input.
    #[track_caller]
    pub fn run_reading(&self, mq: &Mq, arguments: &[&str], input: &str) -> Finished {
        self.start_reading(mq, arguments, input).finish_within(ROLL)
    }

    /// Starts `mq` where it reaches the machines.
    #[track_caller]
    pub fn start(&self, mq: &Mq, arguments: &[&str]) -> Running {
        self.start_reading(mq, arguments, "")
    }

    #[track_caller]
    fn start_reading(&self, mq: &Mq, arguments: &[&str], input: &str) -> Running {
        let mut command = mq.command(arguments);
        command.env("MQ_SSH_CONFIG", self.config());
        within(&self.network.clients(), || Running::start(command, input))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for number in 1..=self.machines.len() {
            if self.machines[number - 1].is_some() {
                self.cut_power(number);
            }
            // What is left goes with the temporary folder, or with the next boot of the machine under the tests.
            let _ = run("umount", &[&self.root(number).display().to_string()]);
            let name = self.network.namespace(number);
            for hierarchy in ["systemd", "unified"] {
                let path = format!("/sys/fs/cgroup/{hierarchy}/{name}");
                let _ = Command::new("find").args([&path, "-depth", "-type", "d", "-delete"]).output();
            }
        }
    }
}

/// What the machines boot from; made when it is not there.
fn system() -> Result<PathBuf, String> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let system = repository().join("tests/.env/system");
    if system.join("etc/os-release").exists() {
        return Ok(system);
    }
    run("debootstrap", &["--version"])?;
    report("making a system for the machines of tests, which takes a minute");
    let new = system.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).map_err(|error| error.to_string())?;
    let path = new.display().to_string();
    let packages = format!("--include={PACKAGES}");
    run("debootstrap", &["--variant=minbase", &packages, "bookworm", &path, "http://deb.debian.org/debian"])?;
    run("chroot", &[&path, "useradd", "--create-home", "--shell", "/bin/bash", LOGIN])?;
    // Not locked, and without a password.
    run("chroot", &[&path, "usermod", "--password", "*", LOGIN])?;
    for unit in ["systemd-networkd", "systemd-resolved"] {
        let link = new.join(format!("etc/systemd/system/{unit}.service"));
        // A link that is there already says the same.
        let _ = std::os::unix::fs::symlink("/dev/null", link);
    }
    fs::write(new.join("etc/machine-id"), "").map_err(|error| error.to_string())?;
    fs::rename(&new, &system).map_err(|error| error.to_string())?;
    Ok(system)
}

/// What a package and all that it needs put over the system, made once.
fn layer(system: &Path, package: &str) -> Result<PathBuf, String> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = repository().join("tests/.env").join(format!("system-{package}"));
    let upper = folder.join("upper");
    if folder.join("made").exists() {
        return Ok(upper);
    }
    report(&format!("putting {package} on the machines of tests, which takes a minute"));
    let _ = fs::remove_dir_all(&folder);
    let root = folder.join("root");
    for path in [&upper, &folder.join("work"), &root] {
        fs::create_dir_all(path).map_err(|error| error.to_string())?;
    }
    mount(&[system.to_owned()], &folder, &root)?;
    let made = install(&root, package);
    run("umount", &[&root.display().to_string()])?;
    made?;
    fs::write(folder.join("made"), "").map_err(|error| error.to_string())?;
    Ok(upper)
}

fn install(root: &Path, package: &str) -> Result<(), String> {
    let path = root.display().to_string();
    // The names of others are asked for where this machine asks.
    let _ = fs::remove_file(root.join("etc/resolv.conf"));
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).map_err(|error| error.to_string())?;
    run("chroot", &[&path, "apt-get", "-q", "update"])?;
    // Nothing is started, neither now nor when a machine boots.
    let script = "printf 'exit 101' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d && \
                  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install \"$1\" && apt-get clean && \
                  systemctl mask \"$1.service\"";
    run("chroot", &[&path, "sh", "-c", script, "install", package])
}

/// Mounts layers, the topmost first, below one of the folder's own.
fn mount(layers: &[PathBuf], folder: &Path, root: &Path) -> Result<(), String> {
    let layers: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={folder}/upper,workdir={folder}/work",
        layers.join(":"),
        folder = folder.display()
    );
    run("mount", &["-t", "overlay", "overlay", "-o", &options, &root.display().to_string()])
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
