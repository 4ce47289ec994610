//! The body of the fuzz target `recovery` on seeded random plans.

#[path = "../../fuzz/src/recovery.rs"]
#[allow(unreachable_pub, unnameable_types, reason = "public in the crate of the fuzz targets")]
mod recovery;

#[test]
fn whatever_the_files_hold_recovery_answers_and_what_it_accepts_is_a_log() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let length = random.usize(0..600);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        let ran = std::panic::catch_unwind(|| recovery::recovery(&bytes));
        assert!(ran.is_ok(), "seed {seed}");
    }
}
