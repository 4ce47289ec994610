//! The broker as a child, with what belongs to it, and without anything that outlives the node.
//!
//! A shell stands between: its input is a pipe that nobody writes to and that ends when this process does,
//! whatever way that is. Then it has the broker stop, and after that ends the port mapper of its runtime.

use std::{
    net::TcpListener,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use mq_model::config::DaemonConfig;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};

use super::{files::Installation, state::Kept};
use crate::failure::{Failure, Outcome, reason};

/// Starts the port mapper and `$1`, and stops both when the input ends.
const SCRIPT: &str = r#"
exec 3<&0
epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & epmd=$!
"$1" & server=$!
{ cat <&3 >/dev/null; kill -TERM "$server" 2>/dev/null; } & watch=$!
wait "$server"; status=$?
kill "$epmd" "$watch" 2>/dev/null
exit "$status"
"#;
/// How long the broker of a run that was killed may take to end.
const FORMER: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// The running broker.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    /// Its end is the order to stop. It is not the child's own: waiting for that would close it.
    lifeline: Option<ChildStdin>,
}

/// Waits until the broker of a run that was killed has ended: it notices by itself.
///
/// # Errors
///
/// It, or somebody else, still has its port.
pub(super) async fn await_former(kept: &Kept) -> Outcome {
    let end = Instant::now() + FORMER;
    let ports = [kept.distribution_port, kept.epmd_port, kept.management_port, kept.metrics_port];
    for port in ports {
        while let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            if Instant::now() >= end {
                let message = format!("cannot listen on 127.0.0.1:{port}: {}", reason(&error));
                return Err(Failure::failed(message)
                    .help("stop what has the port: an earlier run of this node, or another program"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

impl Keeper {
    /// Starts the broker. What it says goes where this process writes its errors.
    pub(super) fn start(
        installation: &Installation,
        config: &DaemonConfig,
        kept: &Kept,
        home: &Path,
    ) -> Outcome<Self> {
        let inherited =
            ["PATH", "LANG", "LC_ALL"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let server = &installation.server;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "rabbitmq"])
            .arg(server)
            .current_dir(home)
            .env_clear()
            .envs(inherited)
            .env("HOME", home)
            .env("ERL_EPMD_PORT", kept.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("mq-{}-{}@localhost", config.fleet, config.node))
            .env("RABBITMQ_DIST_PORT", kept.distribution_port.to_string())
            // Its extension is added.
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_PID_FILE", home.join("rabbitmq.pid"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::piped())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| Failure::file("start", server, &error))?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline })
    }

    /// Returns when the broker has ended by itself, with how. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Failure {
        let how = match self.child.wait().await {
            Ok(status) => how(status),
            Err(error) => reason(&error),
        };
        Failure::failed(format!("RabbitMQ has ended by itself: {how}"))
    }

    /// Has the broker stop, and kills it after the deadline.
    ///
    /// # Errors
    ///
    /// It had to be killed.
    pub(super) async fn stop(mut self, deadline: Duration) -> Outcome {
        drop(self.lifeline.take());
        let group = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if tokio::time::timeout(deadline, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        if let Some(group) = group {
            // One that has ended in this moment needs no signal.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // What is dead is waited for, so that its ports are free.
        let _ = self.child.wait().await;
        Err(Failure::failed(format!("RabbitMQ did not stop within {}s, and was killed", deadline.as_secs())))
    }
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}
