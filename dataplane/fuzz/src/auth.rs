//! Log-ins from anyone: an exchange ends soon, and only a proof or the caller's word lets somebody in; what is
//! no token stays none.

use mq_auth::token::{Claim, Keys, MAX_KEYS, Rules, Token};
use mq_auth::{
    Answer, Exchange, MAX_NAME, Mechanism, PasswordVerifier, Question, Refusal, ScramVerifier, Secret,
    ServerNonce, Step,
};

/// What a client sends before it is told how that has ended: the most messages of any mechanism.
const MAX_MESSAGES: usize = 3;

/// A byte that chooses the mechanism and what the caller says, and messages with a byte 0xff between, which
/// stands in none that is well formed. Returns whether somebody got in.
pub fn exchange(input: &[u8]) -> bool {
    let Some((choice, input)) = input.split_first() else { return false };
    let mechanism = Mechanism::ALL[usize::from(*choice) % Mechanism::ALL.len()];
    let is_refused = choice & 0x80 != 0;
    let mut messages = input.split(|byte| *byte == 0xff);
    let initial = if choice & 0x40 != 0 { None } else { messages.next() };
    let mut taken = usize::from(initial.is_some());
    let (mut exchange, mut step) = Exchange::start(mechanism, initial, ServerNonce([7; 18]));
    loop {
        step = match step {
            Step::Challenge(challenge) => {
                assert!(challenge.len() <= 4_096, "a challenge is short");
                let Some(message) = messages.next() else { return false };
                taken += 1;
                exchange.step(message)
            }
            Step::Ask(question) => exchange.answer(answer(question, is_refused)),
            Step::Done { who, last } => {
                assert!(!is_refused, "nobody gets in against the caller's word");
                assert!(mechanism.scram_hash().is_none() && last.is_none(), "nobody has this proof");
                assert!((1..=MAX_NAME).contains(&who.user.len()));
                is_over(&mut exchange, taken);
                return true;
            }
            Step::Refused(_) => {
                is_over(&mut exchange, taken);
                return false;
            }
        };
    }
}

/// Whatever comes after the end changes nothing.
fn is_over(exchange: &mut Exchange, taken: usize) {
    assert!(taken <= MAX_MESSAGES, "{taken} messages");
    assert!(matches!(exchange.step(b""), Step::Refused(_)), "it is over");
    assert!(matches!(exchange.answer(Answer::Accepted("anna".to_owned())), Step::Refused(_)), "it is over");
}

fn answer(question: Question, is_refused: bool) -> Answer {
    let name = |user: String| {
        assert_eq!(mq_auth::prepare_name(&user).as_deref(), Ok(user.as_str()), "names come prepared");
        user
    };
    if is_refused && !matches!(question, Question::Scram { .. }) {
        return Answer::Refused(Refusal::Credentials);
    }
    match question {
        Question::Scram { user, hash } => Answer::Scram(ScramVerifier::made_up(hash, &name(user), &[1; 32])),
        Question::Password { user, password } => {
            assert!(!password.is_empty());
            Answer::Accepted(name(user))
        }
        Question::Certificate { wanted } => {
            Answer::Accepted(wanted.map_or_else(|| "device".to_owned(), name))
        }
        Question::Anonymous | Question::Token { .. } => Answer::Accepted("anna".to_owned()),
    }
}

/// A token, and a byte 0 before a document with keys. Returns whether it could be taken apart.
pub fn token(input: &[u8]) -> bool {
    let (text, document) = match input.iter().position(|byte| *byte == 0) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &input[..0]),
    };
    let keys = Keys::parse(document).ok();
    assert!(keys.as_ref().is_none_or(|keys| (1..=MAX_KEYS).contains(&keys.len())));
    let Ok(text) = std::str::from_utf8(text) else { return false };
    verifier(text);
    let secret = Secret::new(text);
    let Ok(token) = Token::parse(&secret) else { return false };
    if let Some(keys) = keys {
        // Whoever brings the keys himself may sign what he likes: then it says who he is.
        let claims = token.verify(&keys, &rules(), 1_800_000_000);
        assert!(claims.is_err() || (token.issuer() == Some("https://id.example") && text.contains('.')));
    }
    true
}

/// The text of a verifier is read as it is written.
fn verifier(text: &str) {
    if let Ok(verifier) = text.parse::<ScramVerifier>() {
        assert_eq!(verifier.to_text().parse().as_ref(), Ok(&verifier));
    }
    if let Ok(verifier) = text.parse::<PasswordVerifier>() {
        assert_eq!(verifier.to_text().parse().as_ref(), Ok(&verifier));
    }
}

fn rules() -> Rules {
    Rules {
        issuer: "https://id.example".to_owned(),
        audiences: vec!["mq".to_owned()],
        leeway: std::time::Duration::ZERO,
        user: Claim("sub".to_owned()),
        roles: Some(Claim("realm_access.roles".to_owned())),
        role_prefix: String::new(),
        space: None,
    }
}
