use super::*;
use crate::{MAX_NAME, MAX_PASSWORD, MAX_TOKEN};

fn start(mechanism: Mechanism, initial: &[u8]) -> (Exchange, Step) {
    Exchange::start(mechanism, Some(initial), ServerNonce([7; 18]))
}

fn refusal(step: Step) -> Refusal {
    match step {
        Step::Refused(refusal) => refusal,
        step => panic!("it is not refused: {step:?}"),
    }
}

fn accepted(user: &str) -> Answer {
    Answer::Accepted(user.to_owned())
}

#[track_caller]
fn is_done(step: Step, mechanism: Mechanism, user: &str) {
    match step {
        Step::Done { who, last: None } => assert_eq!(who, Authenticated { mechanism, user: user.to_owned() }),
        step => panic!("it is not done: {step:?}"),
    }
}

#[test]
fn plain_asks_about_name_and_password() {
    for message in [&b"\0anna\0pass word"[..], b"anna\0anna\0pass word", b"an\xc2\xadna\0anna\0pass word"] {
        let (mut exchange, step) = start(Mechanism::Plain, message);
        let Step::Ask(Question::Password { user, password }) = step else { panic!("it asks: {step:?}") };
        assert_eq!((user.as_str(), password.expose()), ("anna", "pass word"));
        is_done(exchange.answer(accepted("anna")), Mechanism::Plain, "anna");
    }
    let (mut exchange, _) = start(Mechanism::Plain, b"\0anna\0wrong");
    assert_eq!(refusal(exchange.answer(Answer::Refused(Refusal::Credentials))), Refusal::Credentials);
}

#[test]
fn plain_without_an_initial_response_is_asked_for_it() {
    let (mut exchange, step) = Exchange::start(Mechanism::Plain, None, ServerNonce([7; 18]));
    assert!(matches!(step, Step::Challenge(bytes) if bytes.is_empty()));
    assert!(matches!(exchange.step(b"\0anna\0password"), Step::Ask(Question::Password { .. })));
}

#[test]
fn plain_of_another_form_is_refused() {
    let long_name = [b"\0", "x".repeat(MAX_NAME + 1).as_bytes(), b"\0password"].concat();
    let long_password = [&b"\0anna\0"[..], "x".repeat(MAX_PASSWORD + 1).as_bytes()].concat();
    let messages: [&[u8]; 12] = [
        b"",
        b"anna",
        b"anna\0password",
        b"\0\0",
        b"\0anna\0",
        b"\0\0password",
        b"\0anna\0password\0",
        b"\0anna\0pass\0word",
        b"\0an\nna\0password",
        b"\0anna\0\xff\xfe",
        &long_name,
        &long_password,
    ];
    for message in messages {
        let (_, step) = start(Mechanism::Plain, message);
        assert!(matches!(refusal(step), Refusal::Malformed(_)), "{message:?}");
    }
    let (_, step) = start(Mechanism::Plain, b"bert\0anna\0password");
    assert_eq!(refusal(step), Refusal::AnotherUser);
}

#[test]
fn longest_name_and_password_are_taken() {
    let name = "x".repeat(MAX_NAME);
    let message = format!("{name}\0{name}\0{}", "y".repeat(MAX_PASSWORD));
    let (_, step) = start(Mechanism::Plain, message.as_bytes());
    assert!(matches!(step, Step::Ask(Question::Password { .. })), "{step:?}");
}

#[test]
fn external_asks_about_the_certificate() {
    for initial in [None, Some(&b""[..])] {
        let (mut exchange, step) = Exchange::start(Mechanism::External, initial, ServerNonce([7; 18]));
        assert!(matches!(step, Step::Ask(Question::Certificate { wanted: None })), "{step:?}");
        is_done(exchange.answer(accepted("device-1")), Mechanism::External, "device-1");
    }
    let (mut exchange, step) = start(Mechanism::External, b"device-1");
    assert!(matches!(step, Step::Ask(Question::Certificate { wanted: Some(name) }) if name == "device-1"));
    is_done(exchange.answer(accepted("device-1")), Mechanism::External, "device-1");
    let (mut exchange, _) = start(Mechanism::External, b"device-1");
    assert_eq!(refusal(exchange.answer(accepted("device-2"))), Refusal::AnotherUser);
    for message in [&b"\0"[..], b"\xff", &[b'x'; MAX_NAME + 1]] {
        let (_, step) = start(Mechanism::External, message);
        assert!(matches!(refusal(step), Refusal::Malformed(_)), "{message:?}");
    }
}

#[test]
fn anonymous_asks_whether_anybody_may_come() {
    for initial in [None, Some(&b""[..]), Some(b"trace@example.org"), Some(b"\xff\xfe")] {
        let (mut exchange, step) = Exchange::start(Mechanism::Anonymous, initial, ServerNonce([7; 18]));
        assert!(matches!(step, Step::Ask(Question::Anonymous)));
        is_done(exchange.answer(accepted("anonymous")), Mechanism::Anonymous, "anonymous");
    }
}

#[test]
fn bearer_tokens_are_read_from_either_mechanism() {
    let messages: [(Mechanism, &[u8]); 6] = [
        (Mechanism::OAuthBearer, b"n,,\x01auth=Bearer a.b-c_d\x01\x01"),
        (Mechanism::OAuthBearer, b"n,a=anna,\x01host=mq.example\x01port=5671\x01auth=Bearer a.b-c_d\x01\x01"),
        (Mechanism::OAuthBearer, b"y,,\x01auth=bearer  a.b-c_d \x01\x01"),
        (Mechanism::XOAuth2, b"user=anna\x01auth=Bearer a.b-c_d\x01\x01"),
        (Mechanism::XOAuth2, b"user=anna\x01auth=BEARER a.b-c_d\x01x=y\x01\x01"),
        (Mechanism::XOAuth2, b"user=\x01auth=Bearer a.b-c_d\x01\x01"),
    ];
    for (mechanism, message) in messages {
        let (mut exchange, step) = start(mechanism, message);
        let Step::Ask(Question::Token { token }) = step else { panic!("{message:?}: {step:?}") };
        assert_eq!(token.expose(), "a.b-c_d");
        is_done(exchange.answer(accepted("anna")), mechanism, "anna");
    }
}

#[test]
fn bearer_messages_of_another_form_are_refused() {
    let messages: [&[u8]; 15] = [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer token\x01",
        b"n,,\x01auth=Bearer token",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Basic token\x01\x01",
        b"n,,\x01auth=Bearer to ken\x01\x01",
        b"n,,\x01auth=Bearer one\x01auth=Bearer two\x01\x01",
        b"n,\x01auth=Bearer token\x01\x01",
        b"x,,\x01auth=Bearer token\x01\x01",
        b"n,,\x01auth=Bearer \xff\x01\x01",
    ];
    for message in messages {
        let (_, step) = start(Mechanism::OAuthBearer, message);
        assert!(matches!(refusal(step), Refusal::Malformed(_)), "{message:?}");
    }
    let (_, step) = start(Mechanism::OAuthBearer, b"p=tls-unique,,\x01auth=Bearer token\x01\x01");
    assert_eq!(refusal(step), Refusal::ChannelBinding);
    for message in [&b"anna\x01auth=Bearer token\x01\x01"[..], b"user=an\x00na\x01auth=Bearer token\x01\x01"]
    {
        let (_, step) = start(Mechanism::XOAuth2, message);
        assert!(matches!(refusal(step), Refusal::Malformed(_)), "{message:?}");
    }
}

#[test]
fn longest_token_is_taken_and_no_longer_one() {
    let message = |length: usize| format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", "x".repeat(length));
    let (_, step) = start(Mechanism::OAuthBearer, message(MAX_TOKEN).as_bytes());
    assert!(matches!(step, Step::Ask(Question::Token { .. })));
    for length in [MAX_TOKEN + 1, 2 * MAX_TOKEN] {
        let (_, step) = start(Mechanism::OAuthBearer, message(length).as_bytes());
        assert!(matches!(refusal(step), Refusal::Malformed(_)), "{length}");
    }
}

#[test]
fn refused_token_is_told_before_the_exchange_ends() {
    // RFC 7628, 3.2.3: the client answers the error with a single separator.
    for answer in [&b"\x01"[..], b"", b"n,,\x01auth=Bearer better\x01\x01"] {
        let (mut exchange, _) = start(Mechanism::OAuthBearer, b"n,,\x01auth=Bearer token\x01\x01");
        let step = exchange.answer(Answer::Refused(Refusal::Credentials));
        assert!(matches!(step, Step::Challenge(json) if json == br#"{"status":"invalid_token"}"#));
        assert_eq!(refusal(exchange.step(answer)), Refusal::Credentials);
        assert!(matches!(refusal(exchange.step(b"\x01")), Refusal::Malformed(_)));
    }
}

#[test]
fn refused_token_of_xoauth2_ends_the_exchange_at_once() {
    let (mut exchange, _) = start(Mechanism::XOAuth2, b"user=anna\x01auth=Bearer token\x01\x01");
    assert_eq!(refusal(exchange.answer(Answer::Refused(Refusal::Credentials))), Refusal::Credentials);
}

#[test]
fn token_of_somebody_else_is_refused() {
    let (mut exchange, _) = start(Mechanism::OAuthBearer, b"n,a=anna,\x01auth=Bearer token\x01\x01");
    assert!(matches!(exchange.answer(accepted("bert")), Step::Challenge(_)));
    assert_eq!(refusal(exchange.step(b"\x01")), Refusal::AnotherUser);
}

#[test]
fn scram_goes_through_three_messages() {
    let (mut exchange, step) = start(Mechanism::ScramSha256, b"n,,n=anna,r=abc");
    let Step::Ask(Question::Scram { user, hash }) = step else { panic!("it asks: {step:?}") };
    assert_eq!((user.as_str(), hash), ("anna", ScramHash::Sha256));
    let verifier = ScramVerifier::made_up(hash, &user, &[1; 32]);
    let Step::Challenge(challenge) = exchange.answer(Answer::Scram(verifier)) else { panic!("it goes on") };
    let challenge = String::from_utf8(challenge).expect("it is text");
    // 18 bytes of 7.
    assert!(challenge.starts_with("r=abcBwcHBwcHBwcHBwcHBwcHBwcH,s="), "{challenge}");
    let last = format!("c=biws,r=abcBwcHBwcHBwcHBwcHBwcHBwcH,p={}=", "A".repeat(43));
    assert_eq!(refusal(exchange.step(last.as_bytes())), Refusal::Credentials);
}

#[test]
fn answers_that_fit_no_question_end_the_exchange() {
    let verifier = || ScramVerifier::made_up(ScramHash::Sha256, "anna", &[1; 32]);
    let (mut exchange, _) = start(Mechanism::ScramSha256, b"n,,n=anna,r=abc");
    assert_eq!(refusal(exchange.answer(accepted("anna"))), Refusal::Unavailable, "no proof, no user");
    let (mut exchange, _) = start(Mechanism::ScramSha512, b"n,,n=anna,r=abc");
    assert_eq!(refusal(exchange.answer(Answer::Scram(verifier()))), Refusal::Unavailable);
    let (mut exchange, _) = start(Mechanism::Plain, b"\0anna\0password");
    assert_eq!(refusal(exchange.answer(Answer::Scram(verifier()))), Refusal::Unavailable);
    let (mut exchange, _) = Exchange::start(Mechanism::Plain, None, ServerNonce([7; 18]));
    assert_eq!(refusal(exchange.answer(accepted("anna"))), Refusal::Unavailable, "nothing has been asked");
    let (mut exchange, _) = start(Mechanism::Plain, b"\0anna\0password");
    assert_eq!(refusal(exchange.answer(accepted("bert"))), Refusal::AnotherUser);
}

#[test]
fn what_comes_while_a_question_is_open_or_after_the_end_is_refused() {
    let (mut exchange, _) = start(Mechanism::Plain, b"\0anna\0password");
    assert!(matches!(refusal(exchange.step(b"\0anna\0password")), Refusal::Malformed(_)));
    assert_eq!(refusal(exchange.answer(accepted("anna"))), Refusal::Unavailable, "it is over");
    let (mut exchange, _) = start(Mechanism::Plain, b"\0anna\0password");
    assert!(matches!(exchange.answer(accepted("anna")), Step::Done { .. }));
    assert!(matches!(refusal(exchange.step(b"")), Refusal::Malformed(_)));
    assert_eq!(refusal(exchange.answer(accepted("anna"))), Refusal::Unavailable);
}

#[test]
fn nothing_that_prints_shows_a_password_or_a_token() {
    let (exchange, step) = start(Mechanism::Plain, b"\0anna\0hunter2");
    assert!(!format!("{exchange:?} {step:?}").contains("hunter2"));
    let (exchange, step) = start(Mechanism::XOAuth2, b"user=anna\x01auth=Bearer hunter2\x01\x01");
    assert!(!format!("{exchange:?} {step:?}").contains("hunter2"));
}

/// One exchange of scramp 1.5.0 (Python) with itself, with a salt of sixteen 9 and our nonce.
fn replays(mechanism: Mechanism, name: &str, user: &str, password: &str, proof: &str, last: &str) {
    let first = format!("n,,n={name},r=fyko+d2lbbFgONRv9qkxdawL");
    let (mut exchange, step) = start(mechanism, first.as_bytes());
    let Step::Ask(Question::Scram { user: asked, hash }) = step else { panic!("it asks: {step:?}") };
    assert_eq!(asked, user);
    let verifier =
        ScramVerifier::derive(hash, &Secret::new(password), &[9; 16], 8_192).expect("it has a form");
    let Step::Challenge(challenge) = exchange.answer(Answer::Scram(verifier)) else { panic!("it goes on") };
    let nonce = "r=fyko+d2lbbFgONRv9qkxdawLBwcHBwcHBwcHBwcHBwcHBwcH";
    assert_eq!(String::from_utf8_lossy(&challenge), format!("{nonce},s=CQkJCQkJCQkJCQkJCQkJCQ==,i=8192"));
    let step = exchange.step(format!("c=biws,{nonce},p={proof}").as_bytes());
    let Step::Done { who, last: Some(sent) } = step else { panic!("it is done: {step:?}") };
    assert_eq!(who, Authenticated { mechanism, user: user.to_owned() });
    assert_eq!(String::from_utf8_lossy(&sent), format!("v={last}"));
}

#[test]
fn exchanges_of_another_implementation_are_replayed_to_the_byte() {
    replays(
        Mechanism::ScramSha256,
        "anna",
        "anna",
        "pencil",
        "bsYZIiwNL5H2KEGz8sOTWuubF5enSXwCznxCdg38mBo=",
        "fh6L8Zjzskkm2Of23ngSsuN2wVDL596ljwwWOoVH9fE=",
    );
    replays(
        Mechanism::ScramSha512,
        "anna",
        "anna",
        "pencil",
        "IjQsJiOFkjlHgYctA0tkmk/FOnUJTChQvQOMmwrpaF+eX6ZszCBcC4bvnCZqZesYw1kZthLJhs3hQ5p2ol0FPA==",
        "4Dvlo5y2YEpkMJR+7UOwWvpAH/SlD72g6TeEA1UEGBSR0gjKoI+lLH4gichwiGikKqt6TNS4VX52EzPb3vLmgQ==",
    );
    // Names are escaped, and names and passwords prepared by both.
    let (name, user, password) = ("jos\u{e9}=2C=3Dx", "jos\u{e9},=x", "p\u{e4}ss \u{2168}");
    replays(
        Mechanism::ScramSha256,
        name,
        user,
        password,
        "7tlFT6vN3OHUuErhY7eLhqbs9BhTxhgGN4FCr7AtgtQ=",
        "zig3b/rnazCx3UErbe+Wo4kv03VUIEgDQOdzeM/tbiA=",
    );
    replays(
        Mechanism::ScramSha512,
        name,
        user,
        password,
        "p8Ghmp2NJ2I2JbD5/ZrTnuIVJ5ePhMwFgurRUA1eHt58ETcq4FEKYqbTzm75nRrN/eIQ4qDSKAYkF0bWj5xGUg==",
        "ElQ8EA4K3Zy8/Xw6/Hvyd3JLKDI4cCn3BT0itmEhz77kLMZ67oVbUwLAL6lNVMLkXRta/Eurj/6jIQ5xEmTR4g==",
    );
}
