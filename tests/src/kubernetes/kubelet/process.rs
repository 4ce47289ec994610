//! Processes in containers: a mount namespace with nothing in it but what the image has, the volumes, and the
//! libraries that the programs under test are linked to; the network is that of the pod.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::network::within;

/// What an image has.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Files by their path in the image, and where they are on this machine.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// What runs when a container does not say it.
    pub entrypoint: Vec<String>,
    /// Who runs it, by number.
    pub user: u32,
}

/// A folder of the machine in a container.
#[derive(Clone, Debug)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: String,
    pub(super) is_read_only: bool,
}

/// All that it takes to start a process in a container.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// The namespace of the pod's network.
    pub(super) network: String,
    /// A folder of its own.
    pub(super) folder: PathBuf,
    pub(super) image: Image,
    pub(super) mounts: Vec<Mount>,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
    pub(super) is_root_read_only: bool,
    pub(super) log: PathBuf,
}

impl Process {
    /// Starts it. Its id is that of the program itself: every step before it ends in the next one.
    pub(super) fn start(&self) -> io::Result<Child> {
        fs::create_dir_all(&self.folder)?;
        let root = self.folder.join("root");
        fs::create_dir_all(&root)?;
        let script = self.folder.join("start");
        fs::write(&script, self.script(&root)?)?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "/bin/sh"])
            .arg(&script)
            .args(&self.command);
        command.env_clear().envs(&self.environment).stdin(Stdio::null());
        // For the steps before the program, which get that of the container back.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdout(log.try_clone()?).stderr(log);
        within(&self.network, || command.spawn())
    }

    /// Runs something beside a process of the container, which it ends with.
    pub(super) fn enter(&self, pid: u32, command: &[String]) -> io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut enter = Command::new("nsenter");
        enter.args(["--mount", "--net", "--root", "--wd", "--target", &pid.to_string()]);
        enter.arg(format!("--setuid={}", self.user)).arg(format!("--setgid={}", self.group()));
        enter.arg("--").args(command);
        // `nsenter` is found by the environment of the test, the program by that of the container.
        let path = std::env::var_os("PATH").unwrap_or_default();
        enter.env_clear().envs(&self.environment).env("PATH", path);
        enter.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn group(&self) -> u32 {
        self.groups.first().copied().unwrap_or(self.user)
    }

    fn script(&self, root: &Path) -> io::Result<String> {
        let mut script = format!("set -e\nroot={}\n", quoted(&root.display().to_string()));
        script.push_str("mount -t tmpfs -o mode=0755 tmpfs \"$root\"\n");
        script.push_str("mkdir -p \"$root/proc\" \"$root/dev\" \"$root/etc\" \"$root/usr\"\n");
        script.push_str("mount --rbind /proc \"$root/proc\"\nmount --rbind /dev \"$root/dev\"\n");
        for library in ["/usr/lib", "/usr/lib64", "/lib", "/lib64"] {
            script.push_str(&library_of(Path::new(library)));
        }
        let mut bind = |source: &Path, target: &str, is_folder: bool, is_read_only: bool| {
            let (source, place) = (quoted(&source.display().to_string()), quoted(target));
            if is_folder {
                script.push_str(&format!("mkdir -p \"$root\"{place}\n"));
            } else {
                let parent =
                    Path::new(target).parent().unwrap_or_else(|| Path::new("/")).display().to_string();
                script.push_str(&format!("mkdir -p \"$root\"{}\n: > \"$root\"{place}\n", quoted(&parent)));
            }
            script.push_str(&format!("mount --bind {source} \"$root\"{place}\n"));
            if is_read_only {
                script.push_str(&format!("mount -o remount,bind,ro \"$root\"{place}\n"));
            }
        };
        for (target, source) in &self.image.files {
            bind(source, &target.display().to_string(), false, true);
        }
        for mount in &self.mounts {
            bind(&mount.source, &mount.target, mount.source.is_dir(), mount.is_read_only);
        }
        if self.is_root_read_only {
            script.push_str("mount -o remount,bind,ro \"$root\"\n");
        }
        let path = self.environment.get("PATH").map(String::as_str).unwrap_or_default();
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let groups =
            if groups.is_empty() { String::new() } else { format!(" --groups={}", groups.join(",")) };
        script
            .push_str(&format!("cd \"$root\"\nchroot=$(command -v chroot)\nexport PATH={}\n", quoted(path)));
        script.push_str(&format!(
            "exec \"$chroot\" --userspec={}:{}{groups} \"$root\" \"$@\"\n",
            self.user,
            self.group()
        ));
        Ok(script)
    }
}

/// A folder of libraries as it is on this machine: a link, a folder, or nothing.
fn library_of(path: &Path) -> String {
    let Ok(metadata) = path.symlink_metadata() else { return String::new() };
    let shown = path.display();
    if let Some(target) = metadata.is_symlink().then(|| fs::read_link(path).ok()).flatten() {
        return format!("ln -s {} \"$root\"{shown}\n", quoted(&target.display().to_string()));
    }
    format!(
        "mkdir -p \"$root\"{shown}\nmount --bind {shown} \"$root\"{shown}\nmount -o remount,bind,ro \"$root\"{shown}\n"
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
