//! The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mq_model::Secret;
use ring::{digest, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::prepare::prepare_password;
use crate::scram::{MAX_ITERATIONS, ScramHash};

/// The longest message of a server, in bytes.
const MAX_MESSAGE: usize = 4_096;

/// Why a client does not go on with a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScramError {
    /// What the server says is no message of SCRAM.
    #[error("the server does not speak SCRAM as RFC 5802 has it: {0}")]
    Malformed(&'static str),
    /// Each round costs the client time.
    #[error("the server asks for {0} rounds of PBKDF2, and {MAX_ITERATIONS} are the most")]
    Iterations(u64),
    /// The server says so itself.
    #[error("the server refuses the proof")]
    Refused,
    /// Whoever it is, he has not the verifier of the password.
    #[error("the server does not know the password itself: it is not who it seems to be")]
    Impostor,
}

/// One log-in of a client with a name and a password. It prints neither.
pub struct ScramClient {
    hash: ScramHash,
    password: Secret,
    /// The first message without its header.
    first: String,
    nonce: String,
    /// What the server has to say at the end.
    awaited: Option<Vec<u8>>,
}

impl ScramClient {
    /// `nonce` is random, and used once.
    pub fn new(hash: ScramHash, user: &str, password: Secret, nonce: [u8; 18]) -> Self {
        let nonce = STANDARD.encode(nonce);
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, password, first: format!("n={user},r={nonce}"), nonce, awaited: None }
    }

    /// What the client says first: no channel binding, no other name (RFC 5802, 7).
    pub fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// Answers what the server asks. Takes some 10 ms for each 16,384 rounds that it wants.
    ///
    /// # Errors
    /// When the server does not speak as it should, or asks for too much.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<String, ScramError> {
        if self.awaited.is_some() {
            return Err(ScramError::Malformed("it asks twice"));
        }
        let challenge = text_of(challenge)?;
        let mut parts = challenge.split(',');
        let mut part = |key: &str| parts.next().and_then(|part| part.strip_prefix(key));
        let nonce = part("r=").ok_or(ScramError::Malformed("it has no nonce"))?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Malformed("its nonce does not go on from the client's"));
        }
        let salt = part("s=").and_then(|salt| STANDARD.decode(salt).ok());
        let salt = salt.filter(|salt| !salt.is_empty()).ok_or(ScramError::Malformed("it has no salt"))?;
        let rounds = part("i=").and_then(|rounds| rounds.parse::<u64>().ok());
        let rounds = rounds.ok_or(ScramError::Malformed("it has no number of rounds"))?;
        let iterations = u32::try_from(rounds).ok().filter(|rounds| *rounds <= MAX_ITERATIONS);
        let iterations = iterations.and_then(NonZeroU32::new).ok_or(ScramError::Iterations(rounds))?;
        // Of a password that has no such form the server's verifier was made as it is.
        let prepared = prepare_password(&self.password);
        let password = prepared.unwrap_or_else(|_| Zeroizing::new(self.password.expose().to_owned()));
        let mut salted = Zeroizing::new(vec![0; self.hash.length()]);
        pbkdf2::derive(self.hash.pbkdf2(), iterations, &salt, password.as_bytes(), &mut salted);
        // `biws` is the header `n,,` again.
        let last = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{last}", self.first);
        let client_key = self.hash.sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = self.hash.sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = self.hash.sign(&salted, b"Server Key");
        self.awaited = Some(self.hash.sign(server_key.as_ref(), signed.as_bytes()).as_ref().to_vec());
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }

    /// Checks the server's last message: that it knows the password's verifier, too.
    ///
    /// # Errors
    /// When it does not, or has refused the client.
    pub fn finish(&mut self, last: &[u8]) -> Result<(), ScramError> {
        let last = text_of(last)?;
        if last.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = last.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = signature.and_then(|signature| STANDARD.decode(signature).ok());
        let signature = signature.ok_or(ScramError::Malformed("it ends without a signature"))?;
        let awaited = self.awaited.take().ok_or(ScramError::Malformed("it ends before it has asked"))?;
        if bool::from(signature.ct_eq(&awaited)) { Ok(()) } else { Err(ScramError::Impostor) }
    }
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScramClient").field("hash", &self.hash).finish_non_exhaustive()
    }
}

fn text_of(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed("a message has more than 4,096 bytes"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("a message is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Exchange, Mechanism, ScramVerifier, ServerNonce, Step, Verifiers};

    const HASHES: [(ScramHash, Mechanism); 2] =
        [(ScramHash::Sha256, Mechanism::ScramSha256), (ScramHash::Sha512, Mechanism::ScramSha512)];

    fn client(hash: ScramHash, user: &str, password: &str) -> ScramClient {
        ScramClient::new(hash, user, Secret::new(password), [7; 18])
    }

    /// RFC 7677, 3.
    #[test]
    fn the_example_of_the_specification_comes_out() {
        let mut client = ScramClient {
            first: "n=user,r=rOprNGfwEbeRWgbNEkqO".into(),
            nonce: "rOprNGfwEbeRWgbNEkqO".into(),
            ..client(ScramHash::Sha256, "user", "pencil")
        };
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = client.answer(challenge.as_bytes()).expect("an answer");
        let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(answer, format!("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,{proof}"));
        assert_eq!(client.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
    }

    #[test]
    fn a_server_that_has_not_the_verifier_is_found_out() {
        for (hash, _) in HASHES {
            let mut client = client(hash, "ann", "secret");
            let nonce = client.nonce.clone();
            client.answer(format!("r={nonce}x,s=c2FsdHNhbHQ=,i=4096").as_bytes()).expect("an answer");
            let made_up = STANDARD.encode(vec![0; hash.length()]);
            assert_eq!(client.finish(format!("v={made_up}").as_bytes()), Err(ScramError::Impostor));
        }
    }

    #[test]
    fn what_is_no_message_of_a_server_is_refused() {
        let nonce = client(ScramHash::Sha256, "a", "b").nonce;
        for (challenge, wrong) in [
            (String::new(), "nonce"),
            ("r=x,s=c2FsdA==,i=4096".into(), "does not go on"),
            (format!("r={nonce},s=c2FsdA==,i=4096"), "does not go on"),
            (format!("r={nonce}x,s=,i=4096"), "salt"),
            (format!("r={nonce}x,s=???,i=4096"), "salt"),
            (format!("r={nonce}x,s=c2FsdA==,i=many"), "rounds"),
            (format!("r={nonce}x,s=c2FsdA==,i=0"), "0 rounds"),
            (format!("r={nonce}x,s=c2FsdA==,i=1000001"), "1000001 rounds"),
            (format!("m=must,r={nonce}x,s=c2FsdA==,i=4096"), "nonce"),
            ("x".repeat(4_097), "4,096"),
        ] {
            let error =
                client(ScramHash::Sha256, "a", "b").answer(challenge.as_bytes()).expect_err(&challenge);
            assert!(error.to_string().contains(wrong), "{challenge}: {error}");
        }
        let mut early = client(ScramHash::Sha256, "a", "b");
        assert!(matches!(early.finish(b"v=AAAA"), Err(ScramError::Malformed(_))));
        assert_eq!(early.finish(b"e=invalid-proof"), Err(ScramError::Refused));
    }

    #[test]
    fn our_own_server_lets_it_in_with_its_password_alone() {
        let salts = crate::Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
        let verifiers = Verifiers::derive(&Secret::new("se,cr=et"), &salts).expect("verifiers");
        let verifier = |hash| -> ScramVerifier {
            match hash {
                ScramHash::Sha256 => verifiers.scram_sha256.clone(),
                ScramHash::Sha512 => verifiers.scram_sha512.clone(),
            }
        };
        for (hash, mechanism) in HASHES {
            for (password, is_right) in [("se,cr=et", true), ("other", false)] {
                let mut client = client(hash, "ann", password);
                let (mut server, step) =
                    Exchange::start(mechanism, Some(client.first().as_bytes()), ServerNonce([9; 18]));
                assert!(matches!(step, Step::Ask(_)), "{step:?}");
                let Step::Challenge(challenge) = server.answer(Answer::Scram(verifier(hash))) else {
                    panic!("a challenge comes next")
                };
                let answer = client.answer(&challenge).expect("an answer");
                match server.step(answer.as_bytes()) {
                    Step::Done { last: Some(last), .. } if is_right => {
                        assert_eq!(client.finish(&last), Ok(()));
                    }
                    Step::Refused(_) if !is_right => {}
                    other => panic!("{password}: {other:?}"),
                }
            }
        }
    }
}
