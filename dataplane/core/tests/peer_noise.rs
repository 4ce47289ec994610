//! The body of the fuzz target on random bytes that look like messages.

#[path = "../../fuzz/src/peer.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod fuzz;

/// A byte as messages have them: most are small, as keys, lengths and flags are.
fn byte(random: &mut fastrand::Rng) -> u8 {
    match random.u8(..8) {
        0 => random.u8(..),
        1 | 2 => 1,
        3 => random.u8(..4),
        4 => random.u8(..32),
        _ => 0,
    }
}

/// One of the addresses that the core of the target has.
fn name(random: &mut fastrand::Rng) -> Vec<u8> {
    let kind = ["Anycast", "Multicast", "Queue", "Topic"][random.usize(..4)];
    let name = format!("{kind}-{}", ["a", "b"][random.usize(..2)]);
    let mut bytes = vec![name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

/// A key of the first use of one of the first slots.
fn key(random: &mut fastrand::Rng) -> [u8; 8] {
    [random.u8(..5), 0, 0, 0, 1, 0, 0, 0]
}

#[test]
fn a_core_takes_whatever_another_one_sends() {
    let mut taken = 0;
    let seeds: u64 =
        std::env::var("MQ_CORE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2_000);
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut input = Vec::new();
        for _ in 0..random.usize(1..40) {
            let mut message = Vec::new();
            let code = match random.u8(..3) {
                0 => random.u8(1..10),
                1 => random.u8(0x20..0x4c),
                _ => random.u8(0x60..0x66),
            };
            message.push(code);
            for _ in 0..random.usize(..5) {
                match random.u8(..4) {
                    0 => message.extend_from_slice(&name(&mut random)),
                    1 | 2 => message.extend_from_slice(&key(&mut random)),
                    _ => message.extend((0..random.usize(..6)).map(|_| byte(&mut random))),
                }
            }
            input.push(message.len() as u8);
            input.extend_from_slice(&message);
        }
        taken += fuzz::messages(&input);
    }
    assert!(taken as u64 > seeds, "only {taken} messages were right");
}
