//! The public keys of an identity provider (RFC 7517, 7518, 8037).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::TokenError;

/// The longest document with keys, in bytes.
pub const MAX_KEYS_DOCUMENT: usize = 256 * 1024;
/// The most keys in it.
pub const MAX_KEYS: usize = 128;

/// How a token is signed (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Names have upper and lower case (RFC 7515, 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        // RFC 9864, 2.2: the one curve of EdDSA that is known here, by its own name.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The parameters, if it is one of RSA.
    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

/// The public keys of a provider, those for signatures that we can verify.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// What the provider wants it to be used for alone.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a document has no keys for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidKeys {
    #[error("the document with the keys has more than {MAX_KEYS_DOCUMENT} bytes or {MAX_KEYS} keys")]
    TooLong,
    #[error("the document with the keys is no JSON Web Key Set")]
    Form,
    #[error(
        "none of the provider's keys is one to verify signatures with (RSA of 2048 to 8192 bits, P-256, P-384, Ed25519)"
    )]
    NoneUsable,
}

impl Keys {
    /// Reads a JSON Web Key Set. Keys of other kinds, for encryption, too small or broken are left out, as
    /// RFC 7517, 5 has it.
    ///
    /// # Errors
    ///
    /// [`InvalidKeys`] when it is no such document, is too long, or has no key that can be used.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidKeys> {
        if document.len() > MAX_KEYS_DOCUMENT {
            return Err(InvalidKeys::TooLong);
        }
        let document: Document = serde_json::from_slice(document).map_err(|_| InvalidKeys::Form)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidKeys::TooLong);
        }
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(InvalidKeys::NoneUsable);
        }
        Ok(Self(keys))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key for a token. One without a key id is verified when a single key is possible: more would be
    /// work that a stranger decides on.
    pub(super) fn choose(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        if id.is_some() && !self.0.iter().any(|key| is_named(&key)) {
            return Err(TokenError::UnknownKey);
        }
        // Keys of different types may share an id (RFC 7517, 4.5).
        let mut possible = self.0.iter().filter(is_named).filter(|key| key.is_for(algorithm));
        match (possible.next(), possible.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(TokenError::KeyMismatch),
        }
    }
}

impl Key {
    fn read(value: Value) -> Option<Self> {
        let entry: Entry = serde_json::from_value(value).ok()?;
        let is_for_signatures = entry.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let may_verify = entry.operations.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let algorithm = match &entry.algorithm {
            // A key for an algorithm that is not known here is none of ours.
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let material = Material::read(&entry)?;
        let key = Self { id: entry.id, algorithm, material };
        // One that contradicts itself could never be chosen.
        let is_of_use = algorithm.is_none_or(|algorithm| key.is_for(algorithm));
        is_of_use.then_some(key)
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let fits = match &self.material {
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let with = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
        };
        self.is_for(algorithm)
            && match &self.material {
                Material::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                    key.verify(parameters, signed, signature).is_ok()
                }),
                Material::P256(point) => with(&signature::ECDSA_P256_SHA256_FIXED, point),
                Material::P384(point) => with(&signature::ECDSA_P384_SHA384_FIXED, point),
                Material::Ed25519(key) => with(&signature::ED25519, key),
            }
    }
}

impl Material {
    fn read(entry: &Entry) -> Option<Self> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let point = |length: usize| {
            let (x, y) = (bytes(&entry.x)?, bytes(&entry.y)?);
            // RFC 7518, 6.2.1.2: coordinates have the full length.
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        match (entry.kind.as_str(), entry.curve.as_deref()) {
            ("RSA", None) => {
                let modulus = without_zeros(bytes(&entry.n)?);
                let exponent = without_zeros(bytes(&entry.e)?);
                let is_sized = (256..=1024).contains(&modulus.len()) && (1..=4).contains(&exponent.len());
                is_sized.then_some(Self::Rsa { modulus, exponent })
            }
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("OKP", Some("Ed25519")) => bytes(&entry.x).filter(|key| key.len() == 32).map(Self::Ed25519),
            _ => None,
        }
    }
}

/// Some write a leading zero, which the number does not need (RFC 7518, 2: Base64urlUInt).
fn without_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// RFC 7517, 4. Private parts and certificates may be there, and are not looked at.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "kid")]
    id: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    #[serde(rename = "key_ops")]
    operations: Option<Vec<String>>,
    #[serde(rename = "alg")]
    algorithm: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
