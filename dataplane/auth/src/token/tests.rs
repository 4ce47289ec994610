use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn key_pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes are a seed")
}

fn public(seed: u8, id: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key_pair(seed).public_key().as_ref());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
}

fn keys(keys: &[Value]) -> Keys {
    Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("they are keys")
}

fn rules() -> Rules {
    Rules {
        issuer: "https://id.example/realms/mq".to_owned(),
        audiences: vec!["mq".to_owned()],
        leeway: Duration::from_secs(30),
        user: Claim("sub".to_owned()),
        roles: Some(Claim("realm_access.roles".to_owned())),
        role_prefix: String::new(),
        space: None,
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example/realms/mq",
        "aud": "mq",
        "sub": "anna",
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "exp": NOW + 300,
        "realm_access": { "roles": ["sender", "viewer"] },
    })
}

/// The claims with some replaced; null takes one away.
fn with(changes: Value) -> String {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("changes are an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("claims are an object").retain(|_, value| !value.is_null());
    claims.to_string()
}

fn header() -> String {
    json!({ "alg": "EdDSA", "kid": "one", "typ": "JWT" }).to_string()
}

/// Both signed with the key of a seed.
fn signed(header: &str, payload: &str, seed: u8) -> Secret {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key_pair(seed).sign(text.as_bytes()));
    Secret::new(format!("{text}.{signature}"))
}

fn check_with(token: &Secret, rules: &Rules) -> Result<Claims, TokenError> {
    let keys = keys(&[public(1, "one"), public(2, "two")]);
    Token::parse(token)?.verify(&keys, rules, NOW)
}

fn check(token: &Secret) -> Result<Claims, TokenError> {
    check_with(token, &rules())
}

fn missing(name: &str) -> Result<Claims, TokenError> {
    Err(TokenError::MissingClaim(name.to_owned()))
}

#[test]
fn good_token_says_who_with_which_roles_until_when() {
    let claims = check(&signed(&header(), &with(json!({})), 1)).expect("it is good");
    assert_eq!(claims.user, "anna");
    assert_eq!(claims.roles, ["sender", "viewer"]);
    assert_eq!((claims.space, claims.expires), (None, NOW + 300));
}

#[test]
fn every_algorithm_of_another_implementation_is_verified() {
    // Made with Python's `cryptography`, whose private keys nobody has kept.
    let file: Value = serde_json::from_str(include_str!("signed_elsewhere.json")).expect("the file is JSON");
    let keys = Keys::parse(file["keys"].to_string().as_bytes()).expect("they are keys");
    assert_eq!(keys.len(), 4);
    let rules = rules();
    for algorithm in Algorithm::ALL {
        let text = file["tokens"][algorithm.name()].as_str().expect("there is one of each");
        let token = Secret::new(text);
        let token = Token::parse(&token).expect("it is well formed");
        assert_eq!(
            token.verify(&keys, &rules, NOW).map(|claims| claims.user).as_deref(),
            Ok("anna"),
            "{text}"
        );
        for index in (0..text.len()).step_by(7) {
            let mut bytes = text.as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = Secret::new(String::from_utf8(bytes).expect("it stays ASCII"));
            let result = Token::parse(&changed).and_then(|token| token.verify(&keys, &rules, NOW));
            assert!(result.is_err(), "{} with byte {index} changed", algorithm.name());
        }
    }
}

#[test]
fn bad_tokens_are_refused_for_what_is_wrong_with_them() {
    let token = |changes: Value| check(&signed(&header(), &with(changes), 1));
    assert_eq!(token(json!({ "exp": NOW - 30 })), Err(TokenError::Expired));
    assert_eq!(token(json!({ "exp": NOW - 1_000_000 })), Err(TokenError::Expired));
    assert_eq!(token(json!({ "nbf": NOW + 31 })), Err(TokenError::NotYet));
    assert_eq!(token(json!({ "iat": NOW + 31 })), Err(TokenError::NotYet));
    assert_eq!(token(json!({ "iss": "https://id.example/realms/other" })), Err(TokenError::Issuer));
    assert_eq!(token(json!({ "iss": "https://id.example/realms/mq/" })), Err(TokenError::Issuer));
    assert_eq!(token(json!({ "iss": null })), Err(TokenError::Issuer));
    assert_eq!(token(json!({ "iss": ["https://id.example/realms/mq"] })), Err(TokenError::Issuer));
    assert_eq!(token(json!({ "aud": "account" })), Err(TokenError::Audience));
    assert_eq!(token(json!({ "aud": ["account", "MQ"] })), Err(TokenError::Audience));
    assert_eq!(token(json!({ "aud": [] })), Err(TokenError::Audience));
    assert_eq!(token(json!({ "aud": null })), Err(TokenError::Audience));
    assert_eq!(token(json!({ "aud": { "mq": "mq" } })), Err(TokenError::Audience));
    assert_eq!(token(json!({ "exp": null })), missing("exp"));
    for exp in [json!("1800000300"), json!(-1), json!(1e300), json!([NOW + 300])] {
        assert_eq!(token(json!({ "exp": exp })), missing("exp"));
    }
    assert_eq!(token(json!({ "nbf": "soon" })), missing("nbf"));
    assert_eq!(token(json!({ "sub": null })), missing("sub"));
    for sub in [json!(""), json!(7), json!("an\nna"), json!("x".repeat(256)), json!(["anna"])] {
        assert_eq!(token(json!({ "sub": sub })), missing("sub"));
    }
    for roles in [json!(7), json!(["sender", 7]), json!({ "sender": true })] {
        let changes = json!({ "realm_access": { "roles": roles } });
        assert_eq!(token(changes), missing("realm_access.roles"));
    }
}

#[test]
fn clocks_may_be_apart_by_the_leeway_and_no_more() {
    let token = |changes: Value| check(&signed(&header(), &with(changes), 1)).is_ok();
    assert!(token(json!({ "exp": NOW - 29 })));
    assert!(!token(json!({ "exp": NOW - 30 })));
    assert!(token(json!({ "nbf": NOW + 30, "iat": NOW + 30 })));
    assert!(!token(json!({ "nbf": NOW + 31 })));
    assert!(token(json!({ "exp": (NOW + 5) as f64 + 0.5 })), "a fraction is allowed");
    assert!(token(json!({ "exp": u64::MAX })), "no end that overflows");
}

#[test]
fn audience_may_be_one_of_several() {
    let token = |changes: Value| check(&signed(&header(), &with(changes), 1)).is_ok();
    assert!(token(json!({ "aud": ["account", "mq"] })));
    let nobody = Rules { audiences: Vec::new(), ..rules() };
    let result = check_with(&signed(&header(), &with(json!({})), 1), &nobody);
    assert_eq!(result, Err(TokenError::Audience), "no audience is none, not any");
}

#[test]
fn token_without_a_signature_or_with_a_shared_secret_does_not_exist() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for name in
        ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "ES256K", "ES512", "RSA1_5", "dir", "eddsa"]
    {
        let header = json!({ "alg": name, "kid": "one" }).to_string();
        for signature in ["", "AAAA"] {
            let text = Secret::new(format!("{}.{}.{signature}", part(&header), part(&with(json!({})))));
            assert_eq!(Token::parse(&text).expect_err("no key fits"), TokenError::Algorithm, "{name}");
        }
    }
    // The public key, which everybody knows, as the secret of an HMAC.
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","kid":"one"}"#), part(&with(json!({}))));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key_pair(1).public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&secret, signed.as_bytes()));
    assert_eq!(check(&Secret::new(format!("{signed}.{signature}"))), Err(TokenError::Algorithm));
    for header in [json!({ "kid": "one" }), json!({ "alg": 7 }), json!({ "alg": ["EdDSA"] })] {
        let text = Secret::new(format!("{}.{}.AAAA", part(&header.to_string()), part(&with(json!({})))));
        assert_eq!(check(&text), Err(TokenError::Algorithm), "{header}");
    }
}

#[test]
fn key_decides_which_algorithm_counts() {
    let payload = with(json!({}));
    let header = |changes: Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": "one" });
        for (name, value) in changes.as_object().expect("changes are an object") {
            header[name] = value.clone();
        }
        header.to_string()
    };
    let token = |changes: Value, seed| check(&signed(&header(changes), &payload, seed));
    assert!(token(json!({}), 1).is_ok());
    assert!(token(json!({ "alg": "Ed25519" }), 1).is_ok());
    assert_eq!(token(json!({ "alg": "RS256" }), 1), Err(TokenError::KeyMismatch));
    assert_eq!(token(json!({ "alg": "ES256" }), 1), Err(TokenError::KeyMismatch));
    assert_eq!(token(json!({ "kid": "two" }), 1), Err(TokenError::Signature));
    assert_eq!(token(json!({}), 3), Err(TokenError::Signature));
    assert_eq!(token(json!({ "kid": "three" }), 3), Err(TokenError::UnknownKey));
    assert_eq!(token(json!({ "kid": "ONE" }), 1), Err(TokenError::UnknownKey));
    let elsewhere = signed(&header(json!({})), &payload, 1);
    let revoked = keys(&[public(2, "two")]);
    let result = Token::parse(&elsewhere).and_then(|token| token.verify(&revoked, &rules(), NOW));
    assert_eq!(result, Err(TokenError::UnknownKey), "a key that the provider has taken back");
}

#[test]
fn token_without_a_key_id_is_verified_where_there_is_no_choice() {
    let token = signed(r#"{"alg":"EdDSA"}"#, &with(json!({})), 1);
    let verify = |keys: &Keys| Token::parse(&token).and_then(|token| token.verify(keys, &rules(), NOW));
    assert!(verify(&keys(&[public(1, "one")])).is_ok());
    assert_eq!(verify(&keys(&[public(1, "one"), public(2, "two")])), Err(TokenError::KeyMismatch));
    let mut unnamed = public(1, "one");
    unnamed.as_object_mut().expect("a key is an object").remove("kid");
    assert!(verify(&keys(&[unnamed])).is_ok());
}

#[test]
fn texts_that_are_no_token_are_refused() {
    let good = signed(&header(), &with(json!({})), 1);
    let good = good.expose();
    let (head, signature) = good.rsplit_once('.').expect("it has parts");
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        head.to_owned(),
        format!("{good}."),
        format!("{good}=="),
        format!(" {good}"),
        format!("{head}.%"),
        format!("{head}.{signature}.{signature}"),
        good.replace('.', ","),
        "x".repeat(MAX_TOKEN + 1),
    ];
    for text in texts {
        let result = check(&Secret::new(text.clone()));
        assert!(
            matches!(result, Err(TokenError::Malformed(_) | TokenError::Signature)),
            "{text}: {result:?}"
        );
    }
}

#[test]
fn header_and_payload_say_everything_once_and_nothing_that_is_not_understood() {
    let payload = with(json!({}));
    let headers = [
        r#"{"alg":"EdDSA","alg":"none","kid":"one"}"#,
        r#"{"alg":"EdDSA","kid":"two","kid":"one"}"#,
        r#"{"alg":"EdDSA","kid":"one","crit":["exp"],"exp":1}"#,
        r#"{"alg":"EdDSA","kid":"one","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"logout+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"dpop+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":7}"#,
        r#"{"alg":"EdDSA","kid":1}"#,
        r#"["EdDSA"]"#,
        "EdDSA",
    ];
    for header in headers {
        let result = check(&signed(header, &payload, 1));
        assert!(matches!(result, Err(TokenError::Malformed(_))), "{header}: {result:?}");
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt", "Application/JWT"] {
        let header = json!({ "alg": "EdDSA", "kid": "one", "typ": kind }).to_string();
        assert!(check(&signed(&header, &payload, 1)).is_ok(), "{kind}");
    }
    let twice = payload.replacen('{', r#"{"sub":"admin","#, 1);
    assert!(matches!(check(&signed(&header(), &twice, 1)), Err(TokenError::Malformed(_))));
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = payload.replacen('{', &format!(r#"{{"deep":{deep},"#), 1);
    assert!(matches!(check(&signed(&header(), &deep, 1)), Err(TokenError::Malformed(_))));
}

#[test]
fn claims_are_found_by_whole_names_then_by_paths() {
    let rules = Rules {
        user: Claim("https://mq.example/user".to_owned()),
        roles: Some(Claim("resource_access.mq.roles".to_owned())),
        role_prefix: "mq-".to_owned(),
        space: Some(Claim("tenant".to_owned())),
        ..rules()
    };
    let payload = with(json!({
        "https://mq.example/user": "Jose\u{301}",
        "resource_access": { "mq": { "roles": ["mq-sender", "viewer", "mq-", "mq-admin"] } },
        "tenant": "acme",
    }));
    let claims = check_with(&signed(&header(), &payload, 1), &rules).expect("it is good");
    assert_eq!(claims.user, "Jos\u{e9}");
    assert_eq!(claims.roles, ["sender", "admin"], "others are somebody else's");
    assert_eq!(claims.space.as_deref(), Some("acme"));
    let payload = with(json!({ "https://mq.example/user": "anna" }));
    let result = check_with(&signed(&header(), &payload, 1), &rules);
    assert_eq!(result, missing("tenant"), "no space is not the default one");
}

#[test]
fn roles_may_be_words_or_none_and_are_bounded() {
    let roles = |value: Value| {
        let payload = with(json!({ "realm_access": { "roles": value } }));
        check(&signed(&header(), &payload, 1)).map(|claims| claims.roles)
    };
    assert_eq!(roles(json!("openid sender")), Ok(vec!["openid".to_owned(), "sender".to_owned()]));
    assert_eq!(roles(json!([])), Ok(Vec::new()));
    assert_eq!(roles(Value::Null), Ok(Vec::new()));
    let many = |count: usize| json!((0..count).map(|number| format!("role-{number}")).collect::<Vec<_>>());
    assert_eq!(roles(many(MAX_ROLES)).map(|roles| roles.len()), Ok(MAX_ROLES));
    assert!(roles(many(MAX_ROLES + 1)).is_err());
    let none =
        check(&signed(&header(), &with(json!({ "realm_access": null })), 1)).map(|claims| claims.roles);
    assert_eq!(none, Ok(Vec::new()));
}

#[test]
fn keys_that_cannot_verify_are_left_out() {
    let file: Value = serde_json::from_str(include_str!("signed_elsewhere.json")).expect("the file is JSON");
    let good: Vec<Value> = file["keys"]["keys"].as_array().expect("an array").clone();
    let is_left_out = |key: &Value, changes: Value| {
        let mut changed = key.clone();
        for (name, value) in changes.as_object().expect("changes are an object") {
            changed[name] = value.clone();
        }
        let document = json!({ "keys": [changed] }).to_string();
        Keys::parse(document.as_bytes()).err() == Some(InvalidKeys::NoneUsable)
    };
    let [rsa, p256, p384, ed] = good.as_slice() else { panic!("four keys") };
    for key in &good {
        assert!(!is_left_out(key, json!({})));
        assert!(!is_left_out(key, json!({ "key_ops": ["verify"], "x5c": ["MII"] })));
        assert!(is_left_out(key, json!({ "use": "enc" })));
        assert!(is_left_out(key, json!({ "key_ops": ["sign"] })));
        assert!(is_left_out(key, json!({ "alg": "HS256" })));
        assert!(is_left_out(key, json!({ "kty": "oct", "k": "c2VjcmV0" })));
    }
    assert!(is_left_out(rsa, json!({ "alg": "ES256" })));
    assert!(!is_left_out(rsa, json!({ "alg": "PS512" })));
    assert!(is_left_out(rsa, json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 128]) })), "1024 bits");
    assert!(is_left_out(rsa, json!({ "n": URL_SAFE_NO_PAD.encode([0xff; 1025]) })), "8200 bits");
    assert!(is_left_out(rsa, json!({ "e": "" })));
    assert!(is_left_out(rsa, json!({ "n": "%" })));
    assert!(is_left_out(p256, json!({ "crv": "P-521" })));
    assert!(is_left_out(p256, json!({ "crv": "P-384" })));
    assert!(is_left_out(p384, json!({ "y": "AAAA" })));
    assert!(is_left_out(ed, json!({ "crv": "X25519" })));
    assert!(is_left_out(ed, json!({ "x": "AAAA" })));
    let document = json!({ "keys": [{ "kty": "oct" }, 7, rsa] }).to_string();
    assert_eq!(Keys::parse(document.as_bytes()).map(|keys| keys.len()).ok(), Some(1), "one is left");
}

#[test]
fn documents_with_keys_are_bounded() {
    let document = |count: usize| {
        let keys: Vec<Value> = (0..count).map(|number| public(1, &number.to_string())).collect();
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).map(|keys| keys.len())
    };
    assert_eq!(document(MAX_KEYS), Ok(MAX_KEYS));
    assert_eq!(document(MAX_KEYS + 1), Err(InvalidKeys::TooLong));
    let long = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(MAX_KEYS_DOCUMENT));
    assert_eq!(Keys::parse(long.as_bytes()).err(), Some(InvalidKeys::TooLong));
    for text in ["", "[]", "{}", r#"{"keys":7}"#, "<html>"] {
        assert_eq!(Keys::parse(text.as_bytes()).err(), Some(InvalidKeys::Form), "{text}");
    }
    assert_eq!(Keys::parse(br#"{"keys":[]}"#).err(), Some(InvalidKeys::NoneUsable));
}

#[test]
fn nothing_of_a_token_is_printed() {
    let payload = with(json!({ "sub": "hunter2\n", "iss": "hunter2", "aud": "hunter2" }));
    let token = signed(&header(), &payload, 1);
    let (_, signature) = token.expose().rsplit_once('.').expect("it has parts");
    let parsed = format!("{:?}", Token::parse(&token));
    assert!(!parsed.contains("hunter2") && !parsed.contains(signature), "{parsed}");
    let error = check(&token).expect_err("it is bad");
    assert!(!format!("{error} {error:?} {}", Refusal::from(error.clone())).contains("hunter2"));
}
