//! A home of its own for every test, and the end of every daemon that was started in it.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

/// A home directory, and `mq` in it.
pub(crate) struct Sandbox {
    home: TempDir,
}

/// How a command ended, with its output as text.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    /// A sandbox with the default fleet on free ports.
    pub(crate) fn deployed() -> Self {
        let sandbox = Self::new();
        sandbox.ok("deploy --amqp-port 0 --mqtt-port 0 --http-port 0");
        sandbox
    }

    /// A sandbox with a fleet that serves what was created, and nothing else.
    pub(crate) fn strict() -> Self {
        Self::with_mqtt("catchAll: false")
    }

    /// A sandbox with a fleet whose `spec.mqtt` has these fields.
    pub(crate) fn with_mqtt(fields: &str) -> Self {
        let sandbox = Self::new();
        let head = "apiVersion: mq/v1\nkind: Fleet\nmetadata: {name: default}";
        sandbox.write("fleet.yaml", &format!("{head}\nspec: {{mqtt: {{{fields}}}}}\n"));
        sandbox.ok("deploy -f fleet.yaml --amqp-port 0 --mqtt-port 0 --http-port 0");
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Where the fleet called `fleet` keeps everything.
    pub(crate) fn fleet(&self, fleet: &str) -> PathBuf {
        self.path().join("state/mq").join(fleet)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `mq` with its arguments, separated by blanks; nothing of the caller's environment that matters.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        self.command_of(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = self.client(arguments);
        command.env("MQ_MQD", mqd());
        command
    }

    /// `mq` for peers that are there: no daemon is built for it.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mq"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("MQ_KEYRING", "file")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "mq {arguments}: {ended:?}");
        ended.stdout
    }

    /// Runs a command with `input` as its stdin.
    pub(crate) fn feed(&self, arguments: &str, input: &[u8]) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Starts a command that goes on by itself.
    pub(crate) fn start(&self, arguments: &str) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The value at a JSON pointer of the only node.
    pub(crate) fn node(&self, pointer: &str) -> serde_json::Value {
        let status: serde_json::Value = serde_json::from_str(&self.ok("status -o json")).unwrap();
        status.pointer(&format!("/items/0{pointer}")).cloned().unwrap()
    }

    /// Waits until an address has this many consumers.
    pub(crate) fn wait_for_consumers(&self, address: &str, count: u64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let shown = self.ok(&format!("address show {address} -o json"));
            let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
            if shown["status"]["consumers"] == count {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{shown}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let fleets = std::fs::read_dir(self.path().join("state/mq")).into_iter().flatten().flatten();
        for fleet in fleets {
            let name = fleet.file_name().into_string().unwrap();
            let _ = self.run(&format!("undeploy --yes --purge --wait 10s --name {name}"));
        }
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The daemon's binary, built once: a test of `mq` alone must not use a stale one.
pub(crate) fn mqd() -> &'static Path {
    static MQD: OnceLock<PathBuf> = OnceLock::new();
    MQD.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "mqd", "--bin", "mqd", "--message-format", "json"]);
        let mut child = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo is what runs this test");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let executables = lines.map_while(Result::ok).filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(&line).ok()?;
            Some(PathBuf::from(message.get("executable")?.as_str()?))
        });
        let path = executables.last();
        assert!(child.wait().unwrap().success(), "mqd does not build");
        path.expect("cargo says where the binary is")
    })
}
