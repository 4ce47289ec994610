//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once: long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `probe` has a value.
///
/// # Panics
/// When it has none within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// Waits until `probe` has a value, for as long as `patience`.
///
/// # Panics
/// When it has none in that time; `what` says what was waited for.
#[track_caller]
pub fn eventually_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        thread::sleep(INTERVAL);
    }
}
