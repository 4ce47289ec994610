//! The bodies of the fuzz targets of WebSocket and of the PROXY protocol, on damaged input.
#![allow(clippy::print_stdout, reason = "the seed of a run that fails")]

#[path = "../fuzz/src/proxy.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod proxy;
#[path = "../fuzz/src/websocket.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod websocket;

const RUNS: usize = 20_000;

fn random() -> fastrand::Rng {
    let seed = std::env::var("MQ_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

/// A client's frame.
fn frame(random: &mut fastrand::Rng) -> Vec<u8> {
    let first = random.choice([0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]).unwrap_or(0x82);
    let size = match random.u8(0..8) {
        0 => random.usize(126..70_000),
        1..=3 => random.usize(0..126),
        _ => random.usize(0..8),
    };
    let mut bytes = vec![first];
    match (u8::try_from(size), u16::try_from(size)) {
        (Ok(short @ ..=125), _) => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(4 + size));
    bytes
}

fn damage(bytes: &mut [u8], random: &mut fastrand::Rng) {
    if !bytes.is_empty() && random.u8(0..4) == 0 {
        let place = random.usize(0..bytes.len());
        bytes[place] = random.u8(..);
    }
}

#[test]
fn frames_mean_the_same_wherever_they_are_cut() {
    let mut random = random();
    for _ in 0..RUNS / 20 {
        let mut input = vec![random.u8(..)];
        for _ in 0..random.usize(0..8) {
            input.extend(frame(&mut random));
        }
        damage(&mut input, &mut random);
        websocket::websocket(&input);
    }
}

#[test]
fn a_header_of_a_proxy_is_one_or_none() {
    let mut random = random();
    let headers = [
        &b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nrest"[..],
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff\r\n\x10\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbbrest",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    for _ in 0..RUNS {
        let mut input = headers[random.usize(0..headers.len())].to_vec();
        damage(&mut input, &mut random);
        input.truncate(random.usize(0..=input.len()));
        proxy::proxy(&input);
    }
    proxy::proxy(&vec![b'x'; 5_000]);
    proxy::proxy(&[&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 5_000]].concat());
}
