//! What is kept of a password to check it when the client sends it: argon2id (RFC 9106).

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use mq_model::Secret;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::prepare::{Unprepared, prepare_password};
use crate::verifiers::InvalidVerifier;

/// Memory in KiB: 19 MiB, with the two below the first choice of OWASP's "Password Storage" for servers
/// where many log in at a time.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH: usize = 32;

/// What a verifier made elsewhere may ask for: it is computed at every log-in.
const MAX_MEMORY: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 8;
const SALT: std::ops::RangeInclusive<usize> = 8..=64;
const HASHES: std::ops::RangeInclusive<usize> = 16..=64;

/// An argon2id hash with its salt and cost, as text a PHC string
/// (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`).
///
/// To check one password takes 19 MiB and about 20 ms: not on a thread that has anything else to do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordVerifier {
    cost: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordVerifier {
    /// # Errors
    ///
    /// [`Unprepared`] when the password has no form that could be compared later.
    pub fn derive(password: &Secret, salt: [u8; 16]) -> Result<Self, Unprepared> {
        let password = prepare_password(password)?;
        let cost = default_cost();
        let mut hash = vec![0; HASH];
        let is_hashed = hash_into(&cost, password.as_bytes(), &salt, &mut hash);
        debug_assert!(is_hashed, "the cost is one that argon2 takes");
        Ok(Self { cost, salt: salt.to_vec(), hash })
    }

    /// Whether this is the password. Takes the same time whatever the answer is.
    pub fn verify(&self, password: &Secret) -> bool {
        // A password without a form cannot be anybody's, and costs as much to refuse.
        let prepared = prepare_password(password);
        let bytes = prepared.as_ref().map_or(&b""[..], |password| password.as_bytes());
        let mut hash = vec![0; self.hash.len()];
        let is_hashed = hash_into(&self.cost, bytes, &self.salt, &mut hash);
        bool::from(hash.ct_eq(&self.hash)) && is_hashed && prepared.is_ok()
    }

    /// Spends the time of a check on nobody's password.
    pub(crate) fn waste(password: &Secret) {
        let nobody = Self { cost: default_cost(), salt: vec![0; 16], hash: vec![0; HASH] };
        std::hint::black_box(nobody.verify(password));
    }

    /// The PHC string. It is no password, but the next best thing: it belongs into files with mode 0600.
    pub fn to_text(&self) -> String {
        let Self { cost, salt, hash } = self;
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            cost.m_cost(),
            cost.t_cost(),
            cost.p_cost(),
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(hash)
        )
    }
}

fn default_cost() -> Params {
    // `Params::DEFAULT` says the same today; stored hashes must not change with a library.
    Params::new(MEMORY, PASSES, LANES, None).unwrap_or(Params::DEFAULT)
}

fn hash_into(cost: &Params, password: &[u8], salt: &[u8], out: &mut [u8]) -> bool {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.clone())
        .hash_password_into(password, salt, out)
        .is_ok()
}

impl FromStr for PasswordVerifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, InvalidVerifier> {
        let fields = text.strip_prefix("$argon2id$v=19$").ok_or(InvalidVerifier::Form)?;
        let [cost, salt, hash] = *fields.split('$').collect::<Vec<_>>() else {
            return Err(InvalidVerifier::Form);
        };
        let cost = parse_cost(cost).ok_or(InvalidVerifier::Cost)?;
        let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| InvalidVerifier::Form)?;
        let hash = STANDARD_NO_PAD.decode(hash).map_err(|_| InvalidVerifier::Form)?;
        if !SALT.contains(&salt.len()) || !HASHES.contains(&hash.len()) {
            return Err(InvalidVerifier::Form);
        }
        Ok(Self { cost, salt, hash })
    }
}

/// `m=…,t=…,p=…` in this order, as the PHC string format has it.
fn parse_cost(text: &str) -> Option<Params> {
    let [memory, passes, lanes] = *text.split(',').collect::<Vec<_>>() else {
        return None;
    };
    let memory = number(memory.strip_prefix("m=")?, MAX_MEMORY)?;
    let passes = number(passes.strip_prefix("t=")?, MAX_PASSES)?;
    let lanes = number(lanes.strip_prefix("p=")?, MAX_LANES)?;
    Params::new(memory, passes, lanes, None).ok()
}

fn number(text: &str, limit: u32) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_decimal && *number <= limit)
}

impl TryFrom<String> for PasswordVerifier {
    type Error = InvalidVerifier;

    fn try_from(text: String) -> Result<Self, InvalidVerifier> {
        text.parse()
    }
}

impl From<PasswordVerifier> for String {
    fn from(verifier: PasswordVerifier) -> Self {
        verifier.to_text()
    }
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PasswordVerifier(argon2id, ***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_known_again_and_no_other() {
        let verifier =
            PasswordVerifier::derive(&Secret::new("correct horse"), [7; 16]).expect("it has a form");
        let read: PasswordVerifier = verifier.to_text().parse().expect("what is written can be read");
        assert_eq!(read, verifier);
        assert!(read.verify(&Secret::new("correct horse")));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\u{7}"] {
            assert!(!read.verify(&Secret::new(wrong)), "{wrong:?}");
        }
        assert_eq!(format!("{read:?}"), "PasswordVerifier(argon2id, ***)");
    }

    #[test]
    fn hash_of_another_implementation_is_understood() {
        // Computed with OpenSSL's ARGON2ID (Python's `cryptography`), at a low cost.
        let text = "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$FqGkmHNGCd0BRW2kBt6fPZ2pPmyGwwChL8FGUhTOSSI";
        let verifier: PasswordVerifier = text.parse().expect("it is well formed");
        assert!(verifier.verify(&Secret::new("password")));
        assert!(!verifier.verify(&Secret::new("Password")));
        assert_eq!(verifier.to_text(), text);
    }

    #[test]
    fn forms_and_costs_out_of_bounds_are_refused() {
        let salt = "c29tZXNhbHQ";
        let hash = "RdescudvJCsgt3ub+b+dWRWJTmaaJObG7xNTLuLvMJs";
        let with = |head: &str| format!("{head}${salt}${hash}").parse::<PasswordVerifier>();
        assert!(with("$argon2id$v=19$m=64,t=1,p=1").is_ok());
        for cost in ["m=65537,t=1,p=1", "m=64,t=11,p=1", "m=64,t=1,p=9", "m=64,t=0,p=1", "m=64,t=1,p=0"] {
            assert_eq!(with(&format!("$argon2id$v=19${cost}")), Err(InvalidVerifier::Cost), "{cost}");
        }
        for cost in
            ["m=1,t=1,p=1", "t=1,m=64,p=1", "m=64,t=1", "m=+64,t=1,p=1", "m=,t=1,p=1", "", "m=64,t=1,p=1,x=1"]
        {
            assert_eq!(with(&format!("$argon2id$v=19${cost}")), Err(InvalidVerifier::Cost), "{cost}");
        }
        for head in
            ["$argon2i$v=19$m=64,t=1,p=1", "$argon2id$v=16$m=64,t=1,p=1", "$argon2id$m=64,t=1,p=1", ""]
        {
            assert_eq!(with(head), Err(InvalidVerifier::Form), "{head}");
        }
        for tail in [
            "$c29t$RdescudvJCsgt3ub+b+dWRWJTmaaJObG7xNTLuLvMJs",
            "$c29tZXNhbHQ$c29t",
            "$c29tZXNhbHQ",
            "$$",
            "$%$%",
        ] {
            let text = format!("$argon2id$v=19$m=64,t=1,p=1{tail}");
            assert_eq!(text.parse::<PasswordVerifier>(), Err(InvalidVerifier::Form), "{text}");
        }
    }
}
