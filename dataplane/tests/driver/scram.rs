//! A client of SCRAM-SHA-256 (RFC 5802, RFC 7677), which knows nothing of the node's.

use std::num::NonZeroU32;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};

/// One exchange.
#[derive(Debug)]
pub(crate) struct Scram {
    user: &'static str,
    password: &'static str,
    /// The message that is signed, and the password with its salt.
    proven: Option<(String, [u8; 32])>,
}

impl Scram {
    pub(crate) fn new(user: &'static str, password: &'static str) -> Self {
        Self { user, password, proven: None }
    }

    fn bare(&self) -> String {
        format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", self.user)
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare()).into_bytes()
    }

    /// The answer to a challenge.
    pub(crate) fn answer(&mut self, challenge: &[u8]) -> Vec<u8> {
        let challenge = std::str::from_utf8(challenge).unwrap();
        let attribute = |name| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
        let salt = BASE64_STANDARD.decode(attribute("s=")).unwrap();
        let iterations: NonZeroU32 = attribute("i=").parse().unwrap();
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, self.password.as_bytes(), &mut salted);
        let plain = format!("c=biws,r={}", attribute("r="));
        let message = format!("{},{challenge},{plain}", self.bare());
        let client_key = keyed(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = keyed(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, mask)| key ^ mask).collect();
        self.proven = Some((message, salted));
        format!("{plain},p={}", BASE64_STANDARD.encode(proof)).into_bytes()
    }

    /// The node knows the password, too.
    #[track_caller]
    pub(crate) fn verify(&self, last: &[u8]) {
        let (message, salted) = self.proven.as_ref().expect("a proof of the client's");
        let signature = keyed(&keyed(salted, b"Server Key"), message.as_bytes());
        assert_eq!(last, format!("v={}", BASE64_STANDARD.encode(signature)).as_bytes());
    }
}

fn keyed(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}
