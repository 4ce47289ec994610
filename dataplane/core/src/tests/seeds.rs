//! Random runs, and how to have one of them again.
//!
//! `MQ_CORE_SEED=<number>` runs one seed; `MQ_CORE_SEEDS=<number>` runs that many, from the first of the test on.

#![expect(clippy::print_stderr, reason = "a failing test says how to run it again")]

use std::ops::Range;

/// Runs with each of the seeds. One that fails is named, also where the core checks itself.
pub(crate) fn for_each_seed(seeds: Range<u64>, mut run: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match (number("MQ_CORE_SEED"), number("MQ_CORE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => seeds.start..seeds.start + count,
        (None, None) => seeds,
    };
    for seed in seeds {
        let _shown = Shown(seed);
        run(seed);
    }
}

struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing run has MQ_CORE_SEED={}", self.0);
        }
    }
}
