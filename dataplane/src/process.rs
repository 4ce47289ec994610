//! What the operating system says about this process.

use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Resources that the process uses. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) max_files: Option<u64>,
}

impl Usage {
    /// The usage now.
    pub(crate) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu: cpu_time(),
            resident_bytes: field(&status, "VmRSS:").map(|kib| kib.saturating_mul(1024)),
            threads: field(&status, "Threads:"),
            open_files: open_files(),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// CPU time of all threads, user and system, since the process began.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// A number from `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Open file descriptors. Newer kernels say it as the size of the directory; counting its entries
/// instead would hold the thread up for as long as there are connections.
fn open_files() -> Option<u64> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    (size > 0).then_some(size)
}

/// Keeps the memory of the process, in which passwords and keys are, to itself: it leaves no core behind, whoever
/// would take it, and no other process of the same user reads it.
pub fn keep_memory() {
    let limit = Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum };
    if let Err(error) = setrlimit(Resource::Core, limit) {
        tracing::warn!(%error, "cannot forbid a core dump; a crash may write secrets to the disk");
    }
    // The limit means nothing where cores are piped to a program.
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot keep the memory from other processes of this user");
    }
}

/// Lets the process open as many files as it may: each connection is one. Returns the limit that is
/// now in force, `None` when there is none.
pub(crate) fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, limit = limit.current, "cannot raise the limit of open files");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_status_is_its_first_number() {
        let status = "Name:\tmqd\nVmRSS:\t    5120 kB\nThreads:\t3\n";
        assert_eq!(field(status, "VmRSS:"), Some(5120));
        assert_eq!(field(status, "Threads:"), Some(3));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn the_file_limit_ends_at_the_hard_limit() {
        let raised = raise_file_limit();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
        assert_eq!(Usage::now().max_files, raised);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_at_least_one_thread() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100 << 10), "{usage:?}");
        assert!(usage.threads.is_some_and(|threads| threads >= 1), "{usage:?}");
    }
}
