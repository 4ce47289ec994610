//! The server's side of SCRAM (RFC 5802, RFC 7677), without channel binding.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mq_model::Secret;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::plain::name_of;
use crate::prepare::{MAX_NAME, Unprepared, prepare_password};
use crate::refusal::Refusal;
use crate::verifiers::InvalidVerifier;

/// Rounds of PBKDF2 in new verifiers. The client computes them at every log-in, on small devices, too.
pub const DEFAULT_ITERATIONS: u32 = 16_384;
/// The fewest that a stored verifier may have.
pub const MIN_ITERATIONS: u32 = 8_192;
/// The most that a client is asked for.
pub const MAX_ITERATIONS: u32 = 1_000_000;

const SALTS: std::ops::RangeInclusive<usize> = 8..=64;
/// The longest nonce of a client, in bytes.
const MAX_NONCE: usize = 256;
/// Names may stand there escaped, three bytes for one.
const MAX_MESSAGE: usize = 8 * MAX_NAME + 2 * MAX_NONCE;

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    Sha256,
    Sha512,
}

impl ScramHash {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    pub(crate) const fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    pub(crate) fn length(self) -> usize {
        self.digest().output_len()
    }

    pub(crate) fn sign(self, key: &[u8], data: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), data)
    }
}

/// What is kept of a password to check a proof of it (RFC 5802, 3), as text
/// `SCRAM-SHA-256$16384:salt$stored-key:server-key`, which is how PostgreSQL writes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScramVerifier {
    hash: ScramHash,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
    /// Of nobody: no proof fits.
    is_made_up: bool,
}

impl ScramVerifier {
    /// Some 5 to 10 ms at [`DEFAULT_ITERATIONS`]; `iterations` are brought into
    /// [`MIN_ITERATIONS`]..=[`MAX_ITERATIONS`].
    ///
    /// # Errors
    ///
    /// [`Unprepared`] when the password has no form that could be compared later.
    pub fn derive(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8; 16],
        iterations: u32,
    ) -> Result<Self, Unprepared> {
        let iterations = NonZeroU32::new(iterations.clamp(MIN_ITERATIONS, MAX_ITERATIONS));
        Self::derive_with(hash, password, salt, iterations.unwrap_or(NonZeroU32::MIN))
    }

    fn derive_with(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Result<Self, Unprepared> {
        let password = prepare_password(password)?;
        let mut salted = Zeroizing::new(vec![0; hash.length()]);
        pbkdf2::derive(hash.pbkdf2(), iterations, salt, password.as_bytes(), &mut salted);
        let client_key = hash.sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash.digest(), client_key.as_ref()).as_ref().to_vec();
        let server_key = hash.sign(&salted, b"Server Key").as_ref().to_vec();
        Ok(Self { hash, iterations, salt: salt.to_vec(), stored_key, server_key, is_made_up: false })
    }

    /// The verifier of a user who does not exist, or has none: the same whenever the same name is asked
    /// for, so that a stranger cannot tell such a name from a real one. No proof fits it.
    ///
    /// `node_secret` is random and known to no client; nodes that share it tell the same about a name.
    pub fn made_up(hash: ScramHash, name: &str, node_secret: &[u8; 32]) -> Self {
        let part = |what: &[u8]| {
            let data = [what, hash.name().as_bytes(), b"\0", name.as_bytes()].concat();
            hash.sign(node_secret, &data).as_ref().to_vec()
        };
        let mut salt = part(b"salt\0");
        salt.truncate(16);
        Self {
            hash,
            iterations: NonZeroU32::new(DEFAULT_ITERATIONS).unwrap_or(NonZeroU32::MIN),
            salt,
            stored_key: part(b"stored\0"),
            server_key: part(b"server\0"),
            is_made_up: true,
        }
    }

    pub const fn hash(&self) -> ScramHash {
        self.hash
    }

    /// The text form. Whoever has it can try passwords, and pose as this server to its user: it belongs
    /// into files with mode 0600.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        format!("{}${}:{salt}${stored}:{server}", self.hash.name(), self.iterations)
    }
}

impl FromStr for ScramVerifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, InvalidVerifier> {
        let [hash, cost, keys] = *text.split('$').collect::<Vec<_>>() else {
            return Err(InvalidVerifier::Form);
        };
        let hash = [ScramHash::Sha256, ScramHash::Sha512]
            .into_iter()
            .find(|known| known.name() == hash)
            .ok_or(InvalidVerifier::Form)?;
        let (iterations, salt) = cost.split_once(':').ok_or(InvalidVerifier::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(InvalidVerifier::Form)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| InvalidVerifier::Form);
        let (salt, stored_key, server_key) = (bytes(salt)?, bytes(stored_key)?, bytes(server_key)?);
        let length = hash.length();
        if !SALTS.contains(&salt.len()) || stored_key.len() != length || server_key.len() != length {
            return Err(InvalidVerifier::Form);
        }
        let iterations = iterations.parse().map_err(|_| InvalidVerifier::Cost)?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&NonZeroU32::get(iterations)) {
            return Err(InvalidVerifier::Cost);
        }
        Ok(Self { hash, iterations, salt, stored_key, server_key, is_made_up: false })
    }
}

impl TryFrom<String> for ScramVerifier {
    type Error = InvalidVerifier;

    fn try_from(text: String) -> Result<Self, InvalidVerifier> {
        text.parse()
    }
}

impl From<ScramVerifier> for String {
    fn from(verifier: ScramVerifier) -> Self {
        verifier.to_text()
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScramVerifier({}, {} iterations, ***)", self.hash.name(), self.iterations)
    }
}

/// The client's first message, understood.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) name: String,
    hash: ScramHash,
    /// What the client's last message has to repeat (RFC 5802, 7: gs2-header).
    header: String,
    /// client-first-message-bare.
    bare: String,
    /// The client's nonce and ours.
    nonce: String,
}

/// Waits for the proof.
#[derive(Debug)]
pub(crate) struct Proving {
    first: First,
    verifier: ScramVerifier,
    /// server-first-message.
    challenge: String,
}

impl First {
    pub(crate) fn parse(hash: ScramHash, message: &[u8], server_nonce: &[u8]) -> Result<Self, Refusal> {
        let text = text_of(message)?;
        // gs2-header = gs2-cbind-flag "," [ authzid ] ","
        let (flag, rest) = text.split_once(',').ok_or(FORM)?;
        let (authorization, bare) = rest.split_once(',').ok_or(FORM)?;
        match flag {
            // "y": the client could bind and believes that we cannot, which is so (RFC 5802, 6).
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(Refusal::ChannelBinding),
            _ => return Err(FORM),
        }
        let wanted = authorization_name(authorization)?;
        // client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]. A mandatory
        // extension that is not known has to fail the exchange (RFC 5802, 5.1), which its place does.
        let mut attributes = bare.split(',');
        let name = name_of(&unescape(value(attributes.next(), "n=")?)?)?;
        let client_nonce = value(attributes.next(), "r=")?;
        if !is_nonce(client_nonce) || !attributes.all(is_attribute) {
            return Err(FORM);
        }
        if wanted.is_some_and(|wanted| wanted != name) {
            return Err(Refusal::AnotherUser);
        }
        let nonce = format!("{client_nonce}{}", STANDARD.encode(server_nonce));
        Ok(Self { name, hash, header: format!("{flag},{authorization},"), bare: bare.to_owned(), nonce })
    }

    /// Goes on with the user's verifier; gives server-first-message.
    pub(crate) fn challenge(self, verifier: ScramVerifier) -> Option<(Proving, Vec<u8>)> {
        if verifier.hash != self.hash {
            return None;
        }
        let salt = STANDARD.encode(&verifier.salt);
        let challenge = format!("r={},s={salt},i={}", self.nonce, verifier.iterations);
        let bytes = challenge.clone().into_bytes();
        Some((Proving { first: self, verifier, challenge }, bytes))
    }
}

impl Proving {
    /// Checks client-final-message; gives the name, and server-final-message, which proves to the client
    /// that this side knows its password, too.
    pub(crate) fn finish(self, message: &[u8]) -> Result<(String, Vec<u8>), Refusal> {
        let Self { first, verifier, challenge } = self;
        let text = text_of(message)?;
        // client-final-message = channel-binding "," nonce ["," extensions] "," proof
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(FORM)?;
        let mut attributes = without_proof.split(',');
        let binding = value(attributes.next(), "c=")?;
        let nonce = value(attributes.next(), "r=")?;
        if binding != STANDARD.encode(&first.header) || nonce != first.nonce || !attributes.all(is_attribute)
        {
            return Err(FORM);
        }
        let proof = STANDARD.decode(proof).map_err(|_| FORM)?;
        if proof.len() != verifier.hash.length() {
            return Err(FORM);
        }
        let signed = format!("{},{challenge},{without_proof}", first.bare);
        if !verifier.is_proof(signed.as_bytes(), &proof) {
            return Err(Refusal::Credentials);
        }
        let signature = verifier.hash.sign(&verifier.server_key, signed.as_bytes());
        Ok((first.name, format!("v={}", STANDARD.encode(signature)).into_bytes()))
    }
}

impl ScramVerifier {
    /// RFC 5802, 3: StoredKey is the hash of ClientKey, which is the proof without the client's signature.
    fn is_proof(&self, signed: &[u8], proof: &[u8]) -> bool {
        let signature = self.hash.sign(&self.stored_key, signed);
        let client_key: Zeroizing<Vec<u8>> =
            Zeroizing::new(proof.iter().zip(signature.as_ref()).map(|(proof, sign)| proof ^ sign).collect());
        let stored_key = digest::digest(self.hash.digest(), &client_key);
        bool::from(stored_key.as_ref().ct_eq(&self.stored_key)) && !self.is_made_up
    }
}

/// The name in `[a=saslname]`, of which nothing is no name.
pub(crate) fn authorization_name(text: &str) -> Result<Option<String>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    name_of(&unescape(text.strip_prefix("a=").ok_or(FORM)?)?).map(Some)
}

fn text_of(message: &[u8]) -> Result<&str, Refusal> {
    if message.len() > MAX_MESSAGE {
        return Err(Refusal::Malformed("the message of SCRAM is too long"));
    }
    std::str::from_utf8(message).map_err(|_| Refusal::Malformed("the message of SCRAM is no UTF-8"))
}

fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, Refusal> {
    attribute.and_then(|attribute| attribute.strip_prefix(name)).ok_or(FORM)
}

/// RFC 5802, 7: `saslname`, where `=2C` is a comma and `=3D` an equals sign, and no other `=` stands.
fn unescape(text: &str) -> Result<String, Refusal> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(FORM),
        };
        name.push(character);
        name.push_str(rest);
    }
    Ok(name)
}

/// RFC 5802, 7: printable ASCII without a comma, which has been split at.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NONCE && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An extension that nobody has to know: a letter and a value.
fn is_attribute(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|letter| letter.is_ascii_alphabetic() && letter != b'm')
        && bytes.next() == Some(b'=')
        && !text.contains('\0')
}

const FORM: Refusal = Refusal::Malformed("the message of SCRAM has not the form of RFC 5802");

#[cfg(test)]
mod tests;
