//! The bodies of the fuzz targets on random input: `cargo test` runs what `cargo fuzz run exchange` and
//! `cargo fuzz run token` do.

#[path = "../../fuzz/src/auth.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod auth;

use fastrand::Rng;
use mq_auth::Mechanism;

/// What a client sends with each mechanism, in the order of [`Mechanism::ALL`].
const MESSAGES: [&[u8]; 7] = [
    b"device-1",
    b"n,,n=anna,r=fyko+d2lbbFgONRv9qkxdawL\xffc=biws,r=fyko+d2lbbFgONRv9qkxdawLBwcHBwcHBwcHBwcHBwcHBwcH,p=IjQs\
      JiOFkjlHgYctA0tkmk/FOnUJTChQvQOMmwrpaF+eX6ZszCBcC4bvnCZqZesYw1kZthLJhs3hQ5p2ol0FPA==",
    b"y,a=anna,n=anna,r=fyko+d2lbbFgONRv9qkxdawL\xffc=eSxhPWFubmEs,r=fyko+d2lbbFgONRv9qkxdawLBwcHBwcHBwcHBwcH\
      BwcHBwcH,p=bsYZIiwNL5H2KEGz8sOTWuubF5enSXwCznxCdg38mBo=",
    b"n,a=anna,\x01host=mq.example\x01auth=Bearer a.b.c\x01\x01\xff\x01",
    b"user=anna\x01auth=Bearer a.b.c\x01\x01\xff\x01",
    b"anna\0anna\0pencil",
    b"trace@example.org",
];

fn changed(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..rng.usize(..3) {
        let place = rng.usize(..bytes.len());
        match rng.u8(..3) {
            0 => bytes[place] = [0, 1, b',', b'=', 0xff, rng.u8(..)][rng.usize(..6)],
            1 => bytes.truncate(place + 1),
            _ => bytes.insert(place, rng.u8(..)),
        }
    }
    bytes
}

#[test]
fn exchange_with_some_bytes_changed_ends_and_lets_nobody_in_without_proof() {
    let mut arrived = [0; 7];
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let number = rng.usize(..7);
        // The lower bits of both choose this mechanism; the caller refuses one of four.
        let choices: Vec<u8> = (0..=0xff).filter(|choice| usize::from(*choice) % 7 == number).collect();
        let refuses = rng.u8(..4) == 0;
        let fits = |choice: &&u8| (**choice & 0x80 != 0) == refuses && **choice & 0x40 == 0;
        let choice = *choices.iter().find(fits).expect("there is one of each");
        let input = [&[choice][..], &changed(&mut rng, MESSAGES[number])].concat();
        arrived[number] += usize::from(auth::exchange(&input));
    }
    for (mechanism, arrived) in Mechanism::ALL.iter().zip(arrived) {
        let is_scram = mechanism.scram_hash().is_some();
        assert!(if is_scram { arrived == 0 } else { arrived > 500 }, "{mechanism}: {arrived}");
    }
}

#[test]
fn token_with_some_bytes_changed_is_taken_apart_or_refused() {
    let file = include_str!("../src/token/signed_elsewhere.json");
    let file: serde_json::Value = serde_json::from_str(file).expect("the file is JSON");
    let tokens: Vec<&str> =
        file["tokens"].as_object().expect("an object").values().filter_map(|token| token.as_str()).collect();
    let keys = file["keys"].to_string();
    let mut parsed = 0;
    for seed in 0..5_000 {
        let mut rng = Rng::with_seed(seed);
        let good = [tokens[rng.usize(..tokens.len())].as_bytes(), b"\0", keys.as_bytes()].concat();
        parsed += usize::from(auth::token(&changed(&mut rng, &good)));
    }
    assert!(parsed > 2_000, "{parsed}: many changes must leave a token");
}

#[test]
fn noise_is_nothing() {
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let bytes: Vec<u8> = (0..rng.usize(..64)).map(|_| rng.u8(..)).collect();
        auth::exchange(&bytes);
        assert!(!auth::token(&bytes), "{bytes:?}");
    }
}
