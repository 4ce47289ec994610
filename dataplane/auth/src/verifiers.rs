//! What is kept of a user's password instead of it.

use mq_model::Secret;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::password::PasswordVerifier;
use crate::prepare::Unprepared;
use crate::scram::{DEFAULT_ITERATIONS, ScramHash, ScramVerifier};

/// Everything that a password can be checked with, whichever way its user logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verifiers {
    /// For those who send the password.
    pub password: PasswordVerifier,
    /// For those who prove that they know it.
    pub scram_sha256: ScramVerifier,
    pub scram_sha512: ScramVerifier,
}

/// Random bytes, new for each password.
#[derive(Clone, Copy)]
pub struct Salts {
    pub password: [u8; 16],
    pub scram_sha256: [u8; 16],
    pub scram_sha512: [u8; 16],
}

/// Why a text is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidVerifier {
    #[error(
        "this is no verifier of a password: expected $argon2id$v=19$m=…,t=…,p=…$salt$hash or \
         SCRAM-SHA-256$iterations:salt$stored-key:server-key"
    )]
    Form,
    #[error("the verifier asks for a cost out of bounds; derive it again from the password")]
    Cost,
}

impl Verifiers {
    /// Takes some 50 ms and 19 MiB: not on a thread that has anything else to do.
    ///
    /// # Errors
    ///
    /// [`Unprepared`] when the password is empty, too long or has characters that SASLprep forbids.
    pub fn derive(password: &Secret, salts: &Salts) -> Result<Self, Unprepared> {
        Ok(Self {
            password: PasswordVerifier::derive(password, salts.password)?,
            scram_sha256: ScramVerifier::derive(
                ScramHash::Sha256,
                password,
                &salts.scram_sha256,
                DEFAULT_ITERATIONS,
            )?,
            scram_sha512: ScramVerifier::derive(
                ScramHash::Sha512,
                password,
                &salts.scram_sha512,
                DEFAULT_ITERATIONS,
            )?,
        })
    }

    /// Whether this is the password of a user with these verifiers; `None` is a user who does not exist,
    /// or has no password, and takes the same time. See [`PasswordVerifier`] for how long that is.
    pub fn check(verifiers: Option<&Self>, password: &Secret) -> bool {
        let Some(verifiers) = verifiers else {
            PasswordVerifier::waste(password);
            return false;
        };
        verifiers.password.verify(password)
    }

    /// The verifier for one of the hashes of SCRAM.
    pub const fn scram(&self, hash: ScramHash) -> &ScramVerifier {
        match hash {
            ScramHash::Sha256 => &self.scram_sha256,
            ScramHash::Sha512 => &self.scram_sha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_a_password() {
        assert!(!Verifiers::check(None, &Secret::new("")));
        assert!(!Verifiers::check(None, &Secret::new("password")));
    }

    #[test]
    fn two_users_with_one_password_have_nothing_in_common() {
        let password = Secret::new("pencil");
        let salts = |byte| Salts { password: [byte; 16], scram_sha256: [byte; 16], scram_sha512: [byte; 16] };
        let one = Verifiers::derive(&password, &salts(1)).expect("it has a form");
        let two = Verifiers::derive(&password, &salts(2)).expect("it has a form");
        assert_ne!(one.password, two.password);
        assert_ne!(one.scram_sha256, two.scram_sha256);
        assert_ne!(one.scram_sha512, two.scram_sha512);
        assert!(Verifiers::check(Some(&one), &password) && Verifiers::check(Some(&two), &password));
    }
}
