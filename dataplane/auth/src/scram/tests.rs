use super::*;

/// RFC 7677, 3: user "user", password "pencil".
const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn pencil(hash: ScramHash) -> ScramVerifier {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    let iterations = NonZeroU32::new(4_096).expect("not zero");
    ScramVerifier::derive_with(hash, &Secret::new("pencil"), &salt, iterations).expect("it has a form")
}

/// An exchange with the nonce of the example, whose characters are not those of our own nonces.
fn first() -> First {
    let mut first = First::parse(ScramHash::Sha256, FIRST, b"").expect("the example is well formed");
    first.nonce.push_str(SERVER_NONCE);
    first
}

#[test]
fn example_of_rfc_7677_succeeds_byte_for_byte() {
    let (proving, challenge) = first().challenge(pencil(ScramHash::Sha256)).expect("the hash is that one");
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(String::from_utf8_lossy(&challenge), expected);
    let (name, last) = proving.finish(FINAL).expect("the proof is right");
    assert_eq!(name, "user");
    assert_eq!(String::from_utf8_lossy(&last), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn keys_are_those_that_another_implementation_derives() {
    // Python's hashlib and hmac.
    let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(pencil(ScramHash::Sha256).to_text(), expected);
    let expected = "SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==$6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8Q\
                    aCXNc1FwpnX9NhH2hK/60dzj9DoO5DvVkOHbvg==:jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1\
                    yWEebBeSVkkCFewf91nLDfKF24mvD5nmE6rA==";
    assert_eq!(pencil(ScramHash::Sha512).to_text(), expected);
}

#[test]
fn last_message_with_any_bit_changed_is_refused() {
    for index in 0..FINAL.len() * 8 {
        let mut message = FINAL.to_vec();
        message[index / 8] ^= 1 << (index % 8);
        let (proving, _) = first().challenge(pencil(ScramHash::Sha256)).expect("the hash is that one");
        assert!(proving.finish(&message).is_err(), "bit {index}: {:?}", String::from_utf8_lossy(&message));
    }
}

#[test]
fn proof_of_another_password_is_told_from_a_malformed_one() {
    let finish = |message: &[u8]| {
        let (proving, _) = first().challenge(pencil(ScramHash::Sha256)).expect("the hash is that one");
        proving.finish(message).expect_err("none of them is right")
    };
    let with_proof = |proof: &str| {
        let text = String::from_utf8_lossy(FINAL);
        let (head, _) = text.rsplit_once(",p=").expect("it has a proof");
        finish(format!("{head},p={proof}").as_bytes())
    };
    assert_eq!(with_proof(&STANDARD.encode([0; 32])), Refusal::Credentials);
    for proof in ["", "%", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 64])] {
        assert_eq!(with_proof(proof), FORM, "{proof:?}");
    }
    for message in
        [&b""[..], b"c=biws", b"c=biws,r=x", b"r=x,c=biws,p=AAAA", b",p=", b"c=biws,r=x,p=AAAA", b"\xff"]
    {
        assert!(matches!(finish(message), Refusal::Malformed(_)), "{message:?}");
    }
    assert!(matches!(finish(&[b'x'; MAX_MESSAGE + 1]), Refusal::Malformed(_)));
}

#[test]
fn first_message_is_read_as_rfc_5802_writes_it() {
    let parse = |text: &str| First::parse(ScramHash::Sha256, text.as_bytes(), &[0; 18]);
    let name = |text: &str| parse(text).map(|first| first.name);
    assert_eq!(name("n,,n=user,r=abc").as_deref(), Ok("user"));
    assert_eq!(name("y,,n=user,r=abc").as_deref(), Ok("user"), "the client knows that we cannot bind");
    assert_eq!(name("n,,n=a=2Cb=3Dc,r=abc").as_deref(), Ok("a,b=c"));
    assert_eq!(name("n,,n=u\u{ad}ser,r=abc").as_deref(), Ok("user"), "names are prepared");
    assert_eq!(name("n,a=user,n=user,r=abc").as_deref(), Ok("user"));
    assert_eq!(name("n,,n=user,r=abc,x=extension").as_deref(), Ok("user"));
    assert_eq!(name("n,a=other,n=user,r=abc"), Err(Refusal::AnotherUser));
    assert_eq!(name("p=tls-unique,,n=user,r=abc"), Err(Refusal::ChannelBinding));
    assert_eq!(name("p=tls-exporter,,n=user,r=abc"), Err(Refusal::ChannelBinding));
    let malformed = [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,r=abc,n=user",
        "x,,n=user,r=abc",
        "N,,n=user,r=abc",
        "n,user,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{e4}",
        "n,,n=us=er,r=abc",
        "n,,n=us=2cer,r=abc",
        "n,,n=user=,r=abc",
        "n,,n=us\ner,r=abc",
        "n,,m=must,n=user,r=abc",
        "n,,n=user,r=abc,m=must",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,extension",
    ];
    for text in malformed {
        assert!(matches!(name(text), Err(Refusal::Malformed(_))), "{text:?}");
    }
}

#[test]
fn lengths_of_the_first_message_are_bounded() {
    let parse = |name: usize, nonce: usize| {
        let text = format!("n,,n={},r={}", "u".repeat(name), "r".repeat(nonce));
        First::parse(ScramHash::Sha512, text.as_bytes(), &[0; 18])
    };
    assert!(parse(MAX_NAME, MAX_NONCE).is_ok());
    assert!(parse(MAX_NAME + 1, MAX_NONCE).is_err());
    assert!(parse(MAX_NAME, MAX_NONCE + 1).is_err());
    let text = format!("n,,n=user,r=abc,x={}", "x".repeat(MAX_MESSAGE));
    let too_long = Refusal::Malformed("the message of SCRAM is too long");
    assert_eq!(First::parse(ScramHash::Sha256, text.as_bytes(), &[0; 18]).expect_err("too long"), too_long);
}

#[test]
fn verifier_of_another_hash_does_not_fit() {
    assert!(first().challenge(pencil(ScramHash::Sha512)).is_none());
}

#[test]
fn name_that_is_nobodys_has_a_salt_of_its_own_for_ever() {
    let made_up = |hash, name: &str, secret: u8| ScramVerifier::made_up(hash, name, &[secret; 32]);
    let one = made_up(ScramHash::Sha256, "nobody", 1);
    assert_eq!(one, made_up(ScramHash::Sha256, "nobody", 1));
    for other in [
        made_up(ScramHash::Sha256, "nobody2", 1),
        made_up(ScramHash::Sha256, "nobody", 2),
        made_up(ScramHash::Sha512, "nobody", 1),
    ] {
        assert_ne!(one.salt, other.salt);
        assert_ne!(one.stored_key, other.stored_key);
    }
    let salt = [0; 16];
    let real = ScramVerifier::derive(ScramHash::Sha256, &Secret::new("pencil"), &salt, DEFAULT_ITERATIONS);
    let real = real.expect("it has a form");
    let shape = |verifier: &ScramVerifier| {
        let lengths = [&verifier.salt, &verifier.stored_key, &verifier.server_key].map(Vec::len);
        (verifier.iterations, lengths)
    };
    assert_eq!(shape(&one), shape(&real), "its shape gives it away");
}

#[test]
fn no_proof_fits_a_verifier_that_is_made_up() {
    // The keys of a real password, which a stranger may well know: still nobody's.
    let verifier = ScramVerifier { is_made_up: true, ..pencil(ScramHash::Sha256) };
    let (proving, _) = first().challenge(verifier).expect("the hash is that one");
    assert_eq!(proving.finish(FINAL), Err(Refusal::Credentials));
}

#[test]
fn text_of_a_verifier_is_read_within_bounds() {
    let derive = |iterations| {
        let password = Secret::new("pencil");
        ScramVerifier::derive(ScramHash::Sha256, &password, &[1; 16], iterations).expect("it has a form")
    };
    let verifier = derive(0);
    assert_eq!(verifier.iterations.get(), MIN_ITERATIONS, "brought into bounds");
    let text = verifier.to_text();
    assert_eq!(text.parse::<ScramVerifier>().as_ref(), Ok(&verifier));
    for iterations in ["8191", "1000001", "0", "-1", "x", "99999999999"] {
        let text = text.replace("8192", iterations);
        assert_eq!(text.parse::<ScramVerifier>(), Err(InvalidVerifier::Cost), "{text}");
    }
    for (from, to) in [("SHA-256", "SHA-512"), ("SHA-256", "SHA-1"), ("$", ":"), ("AQEB", ""), ("=", "")] {
        let text = text.replace(from, to);
        assert_eq!(text.parse::<ScramVerifier>(), Err(InvalidVerifier::Form), "{text}");
    }
    assert_eq!(format!("{verifier:?}"), "ScramVerifier(SCRAM-SHA-256, 8192 iterations, ***)");
}
