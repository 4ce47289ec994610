//! The body of the fuzz target `pair_operations` on seeded random plans.
//!
//! A failure names its seed; `MQ_SEED=<seed>` runs that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arbitrary::{Arbitrary, Unstructured};

#[path = "../../fuzz/src/pair.rs"]
#[allow(unreachable_pub, reason = "public in the crate of the fuzz targets")]
mod pair;

/// Plans of one run.
const PLANS: u64 = 2_000;

/// Random bytes of a plan: an operation takes five or so.
const PLAN_BYTES: usize = 4_000;

#[test]
fn two_ends_agree_whatever_their_callers_and_the_network_do() {
    match std::env::var("MQ_SEED") {
        Ok(seed) => pair::operations(&plan(seed.parse().expect("MQ_SEED is a number"))),
        Err(_) => (0..PLANS).for_each(check),
    }
}

fn check(seed: u64) {
    let plan = plan(seed);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| pair::operations(&plan))) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        panic!("seed {seed}: {text}");
    }
}

fn plan(seed: u64) -> pair::Plan {
    let mut state = seed;
    let bytes: Vec<u8> = (0..PLAN_BYTES / 8).flat_map(|_| split_mix(&mut state).to_le_bytes()).collect();
    pair::Plan::arbitrary(&mut Unstructured::new(&bytes)).expect("enough bytes")
}

/// SplitMix64: a few lines of randomness that every platform repeats.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
