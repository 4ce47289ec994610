//! SIGTERM and SIGINT: the first asks the node to stop, the second makes it. SIGHUP has it read its files again.

use std::io;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit codes of a process that a signal ended: 128 and its number.
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// The signals that stop the node.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves. Must be called within a
    /// tokio runtime.
    pub(crate) fn register() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal. The next one ends the process at once; `node.json` goes first,
    /// because nobody serves what it says.
    pub(crate) async fn stop_requested(mut self, runtime_path: PathBuf) {
        self.next().await;
        tokio::spawn(async move {
            let code = self.next().await;
            tracing::warn!("a second signal: stopping at once");
            // It may not be there; there is nothing more to be done about it either.
            let _ = std::fs::remove_file(runtime_path);
            std::process::exit(code);
        });
    }

    /// Waits for a signal and gives the exit code that goes with it. Cancel-safe.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATED,
            _ = self.interrupt.recv() => INTERRUPTED,
        }
    }
}

/// The signal that has the node read files again.
#[derive(Debug)]
pub(crate) struct Reload(Option<Signal>);

impl Reload {
    /// From here on the signal no longer ends the process. Must be called within a tokio runtime.
    pub(crate) fn register() -> Self {
        // A node that cannot hear it looks at its files all the same.
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn requested(&mut self) {
        let is_asked = match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        };
        if !is_asked {
            std::future::pending::<()>().await;
        }
    }
}
