//! Whoever may read the state directory of a node owns the node, and gets in without being a user of it: with a
//! token that the node makes anew each time it starts, and writes into a file that nobody else can read.
//!
//! The admin API takes it as a bearer token (RFC 6750), AMQP and MQTT as the password of the user
//! [`FLEET_ADMIN`], whom no table of users has. It gives every right on this node, and is good for this node
//! alone.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mq_auth::{MIN_ITERATIONS, ScramHash, ScramVerifier, Secret};
use mq_model::user::FLEET_ADMIN;
use subtle::ConstantTimeEq;

use crate::driver::random;

/// The token of a running node. Cheap to clone.
#[derive(Clone)]
pub struct Owner(Arc<Inner>);

struct Inner {
    token: Secret,
    /// What a proof is checked with that its bearer knows it, of each hash, once one is.
    proofs: [OnceLock<Option<ScramVerifier>>; 2],
}

impl Owner {
    /// A new token, of 256 bits that nobody can guess.
    #[expect(clippy::new_without_default, reason = "no two of them are the same")]
    pub fn new() -> Self {
        let token = Secret::new(BASE64_URL_SAFE_NO_PAD.encode(random::<32>()));
        Self(Arc::new(Inner { token, proofs: Default::default() }))
    }

    /// What the file holds.
    pub(crate) fn token(&self) -> &Secret {
        &self.0.token
    }

    /// Whether it is the token, in a time that does not tell how much of it is right.
    fn is_token(&self, text: &[u8]) -> bool {
        self.0.token.expose().as_bytes().ct_eq(text).into()
    }

    /// Whether a request shows the token (RFC 6750, 2.1).
    pub(crate) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let parts = value.and_then(|value| value.split_once(' '));
        parts.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.is_token(token.trim().as_bytes())
        })
    }

    /// Whether a client that logs in with name and password is the owner.
    pub(crate) fn is_it(&self, user: &str, password: &Secret) -> bool {
        user == FLEET_ADMIN && self.is_token(password.expose().as_bytes())
    }

    /// What a client is checked with that proves to know the token; `None`: it does not say to be the owner.
    pub(crate) fn verifier(&self, user: &str, hash: ScramHash) -> Option<&ScramVerifier> {
        let [sha256, sha512] = &self.0.proofs;
        let place = match hash {
            ScramHash::Sha256 => sha256,
            ScramHash::Sha512 => sha512,
        };
        // No number of iterations makes it harder to guess than it is.
        let derive = || ScramVerifier::derive(hash, &self.0.token, &random(), MIN_ITERATIONS).ok();
        if user == FLEET_ADMIN { place.get_or_init(derive).as_ref() } else { None }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Owner").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(owner: &Owner, value: &str) -> bool {
        owner.is_shown(&HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]))
    }

    #[test]
    fn the_token_is_right_as_a_whole_and_for_its_own_node_alone() {
        let (owner, other) = (Owner::new(), Owner::new());
        let token = owner.token().expose();
        assert_eq!(token.len(), 43, "256 bits");
        assert!(shows(&owner, &format!("Bearer {token}")) && shows(&owner, &format!("bearer  {token}")));
        for wrong in [&token[..42], &format!("{token}x"), "", other.token().expose()] {
            assert!(!shows(&owner, &format!("Bearer {wrong}")), "{wrong}");
        }
        assert!(!shows(&owner, token) && !shows(&owner, &format!("Basic {token}")));
        assert!(!owner.is_shown(&HeaderMap::new()));
    }

    #[test]
    fn the_token_is_the_password_of_the_administrator_and_of_no_other_name() {
        let owner = Owner::new();
        assert!(owner.is_it(FLEET_ADMIN, owner.token()));
        for name in ["ann", "", "mq-admin@default", "MQ-ADMIN"] {
            assert!(!owner.is_it(name, owner.token()), "{name}");
            assert_eq!(owner.verifier(name, ScramHash::Sha256), None, "{name}");
        }
        assert!(!owner.is_it(FLEET_ADMIN, &Secret::new("")));
        for hash in [ScramHash::Sha256, ScramHash::Sha512] {
            assert!(owner.verifier(FLEET_ADMIN, hash).is_some());
            assert_eq!(owner.verifier(FLEET_ADMIN, hash), owner.verifier(FLEET_ADMIN, hash), "one salt");
        }
    }

    #[test]
    fn nothing_shows_the_token() {
        let owner = Owner::new();
        assert!(!format!("{owner:?}").contains(owner.token().expose()));
    }
}
