//! Tokens of an identity provider: signed JSON (RFC 7515, 7519) with the advice of RFC 8725.
//!
//! A [`Token`] is read without being believed; [`Token::verify`] believes it, or says why not. Which
//! algorithm counts is decided by the key, never by the token: those without a signature or with a shared
//! secret (`none`, HMAC) do not exist here.

mod json;
mod keys;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mq_model::Secret;
use mq_model::grant::Grant;
use serde_json::{Map, Value};
use thiserror::Error;

pub use keys::{Algorithm, InvalidKeys, Keys, MAX_KEYS, MAX_KEYS_DOCUMENT};

use crate::prepare::{MAX_TOKEN, prepare_name};
use crate::refusal::Refusal;

/// The most roles that a token may name, after those have been left out that do not begin with the
/// prefix.
pub const MAX_ROLES: usize = 256;

/// A token, taken apart. Nothing in it is known to be true.
pub struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    issuer: Option<String>,
    claims: Map<String, Value>,
    /// What is signed: header and payload as they were sent.
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// What a token has to say to be believed, and where it says what we want to know.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud` has to name one of them; with none of them no token is good.
    pub audiences: Vec<String>,
    /// How far the clocks of provider and node may be apart.
    pub leeway: Duration,
    /// The claim with the user's name.
    pub user: Claim,
    /// The claim with the names of roles, an array or words.
    pub roles: Option<Claim>,
    /// Roles count when they begin so, without it.
    pub role_prefix: String,
    /// The claim with the address space.
    pub space: Option<Claim>,
}

/// The name of a claim, or of one inside of others with dots between (`realm_access.roles`). A claim that
/// has the whole as its name goes first, since names may be URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(pub String);

/// What a token says, verified, or whoever was asked about somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Prepared as every name of a user.
    pub user: String,
    pub roles: Vec<String>,
    /// Beside those of the roles.
    pub grants: Vec<Grant>,
    pub space: Option<String>,
    /// Unix seconds; nothing that the token has opened should outlive that.
    pub expires: u64,
}

/// Why a token is not believed. None of the texts holds anything that the token says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    #[error("the token is no signed JSON Web Token: {0}")]
    Malformed(&'static str),
    #[error("the token is signed in a way that is not accepted")]
    Algorithm,
    /// The provider may have new keys.
    #[error("no key of the provider has the token's key id")]
    UnknownKey,
    #[error("the provider's key is not one for the algorithm of the token")]
    KeyMismatch,
    #[error("the signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet; compare the clocks of the provider and of this node")]
    NotYet,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has no claim {0}, or one that cannot be used")]
    MissingClaim(String),
}

impl TokenError {
    /// A word for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::KeyMismatch => "key-mismatch",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::MissingClaim(_) => "claim",
        }
    }
}

impl From<TokenError> for Refusal {
    /// A stranger is not told what is wrong with his token.
    fn from(_: TokenError) -> Self {
        Self::Credentials
    }
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// [`TokenError::Malformed`] when it is none, is longer than [`MAX_TOKEN`] or needs an extension that is
    /// not known; [`TokenError::Algorithm`] when no key could verify it.
    pub fn parse(text: &'a Secret) -> Result<Self, TokenError> {
        let text = text.expose();
        if text.len() > MAX_TOKEN {
            return Err(TokenError::Malformed("it is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(PARTS)?;
        let (header, payload) = signed.split_once('.').ok_or(PARTS)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BASE64);
        let header =
            json::object(&decode(header)?).ok_or(TokenError::Malformed("its header is no object"))?;
        let claims =
            json::object(&decode(payload)?).ok_or(TokenError::Malformed("its payload is no object"))?;
        let signature = decode(signature)?;
        check_header(&header)?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
        let text_of = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: algorithm.ok_or(TokenError::Algorithm)?,
            key_id: text_of(header.get("kid")),
            issuer: text_of(claims.get("iss")),
            claims,
            signed: signed.as_bytes(),
            signature,
        })
    }

    /// Who says to have issued it, to find the provider whose keys and rules decide.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The key that it says to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it says, if it is signed with one of the keys and follows the rules. `now` in Unix seconds.
    ///
    /// # Errors
    ///
    /// [`TokenError`]; after [`TokenError::UnknownKey`] it is worth asking the provider for its keys.
    pub fn verify(&self, keys: &Keys, rules: &Rules, now: u64) -> Result<Claims, TokenError> {
        let key = keys.choose(self.key_id(), self.algorithm)?;
        if !key.verifies(self.algorithm, self.signed, &self.signature) {
            return Err(TokenError::Signature);
        }
        if self.issuer() != Some(&rules.issuer) {
            return Err(TokenError::Issuer);
        }
        if !self.is_for(&rules.audiences) {
            return Err(TokenError::Audience);
        }
        let expires = self.check_times(rules.leeway.as_secs(), now)?;
        let (user, roles, space) = (self.user(rules)?, self.roles(rules)?, self.space(rules)?);
        Ok(Claims { user, roles, grants: Vec::new(), space, expires })
    }

    fn is_for(&self, audiences: &[String]) -> bool {
        // RFC 7519, 4.1.3: one string, or an array of them.
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|value| audiences.iter().any(|a| a == value));
        match self.claims.get("aud") {
            Some(Value::Array(values)) => values.iter().any(is_ours),
            Some(value) => is_ours(value),
            None => false,
        }
    }

    fn check_times(&self, leeway: u64, now: u64) -> Result<u64, TokenError> {
        let time = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or_else(|| TokenError::MissingClaim(name.to_owned())),
        };
        let expires = time("exp")?.ok_or_else(|| TokenError::MissingClaim("exp".to_owned()))?;
        if now >= expires.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        for begins in [time("nbf")?, time("iat")?].into_iter().flatten() {
            if begins > now.saturating_add(leeway) {
                return Err(TokenError::NotYet);
            }
        }
        Ok(expires)
    }

    fn user(&self, rules: &Rules) -> Result<String, TokenError> {
        let name = rules.user.find(&self.claims).and_then(Value::as_str);
        name.and_then(|name| prepare_name(name).ok()).ok_or_else(|| rules.user.is_missing())
    }

    /// A token without the claim has no roles; with one that cannot be understood it is not believed.
    fn roles(&self, rules: &Rules) -> Result<Vec<String>, TokenError> {
        let Some(claim) = &rules.roles else { return Ok(Vec::new()) };
        let names: Vec<&str> = match claim.find(&self.claims) {
            None | Some(Value::Null) => Vec::new(),
            // Scopes are words (RFC 8693, 4.2).
            Some(Value::String(words)) => words.split_ascii_whitespace().collect(),
            Some(Value::Array(values)) => {
                let names: Option<_> = values.iter().map(Value::as_str).collect();
                names.ok_or_else(|| claim.is_missing())?
            }
            Some(_) => return Err(claim.is_missing()),
        };
        let ours = names.into_iter().filter_map(|name| name.strip_prefix(rules.role_prefix.as_str()));
        // A role that has no form as a name cannot be one of ours.
        let roles: Vec<String> = ours.filter_map(|name| prepare_name(name).ok()).collect();
        if roles.len() > MAX_ROLES {
            return Err(claim.is_missing());
        }
        Ok(roles)
    }

    /// The space that it says to be for, which is not known to be true.
    pub fn said_space(&self, rules: &Rules) -> Option<String> {
        self.space(rules).ok().flatten()
    }

    fn space(&self, rules: &Rules) -> Result<Option<String>, TokenError> {
        let Some(claim) = &rules.space else { return Ok(None) };
        // Whoever says where spaces stand does not want the others in the space that is the default.
        let name = claim.find(&self.claims).and_then(Value::as_str);
        name.and_then(|name| prepare_name(name).ok()).map(Some).ok_or_else(|| claim.is_missing())
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Token({}, ***)", self.algorithm.name())
    }
}

impl Claim {
    fn find<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        let Self(path) = self;
        if let Some(value) = claims.get(path.as_str()) {
            return Some(value);
        }
        let mut names = path.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.as_object()?.get(name))
    }

    fn is_missing(&self) -> TokenError {
        TokenError::MissingClaim(self.0.clone())
    }
}

fn check_header(header: &Map<String, Value>) -> Result<(), TokenError> {
    // RFC 7515, 4.1.11: what is critical has to be understood, and we know of no extension.
    if header.contains_key("crit") {
        return Err(TokenError::Malformed("it needs an extension that is not known"));
    }
    // RFC 8725, 3.11: tokens for other ends (logout, proofs of possession) say so here.
    let is_type = |value: &Value| {
        let name = value.as_str().unwrap_or_default();
        // RFC 7515, 4.1.9: the prefix may be left out.
        let name = match name.split_once('/') {
            Some((head, tail)) if head.eq_ignore_ascii_case("application") => tail,
            _ => name,
        };
        name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("at+jwt")
    };
    if !header.get("typ").is_none_or(is_type) {
        return Err(TokenError::Malformed("it is a token for another end"));
    }
    if !header.get("kid").is_none_or(Value::is_string) {
        return Err(TokenError::Malformed("its key id is no text"));
    }
    Ok(())
}

/// RFC 7519, 2: NumericDate, which may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    if let Some(seconds) = value.as_u64() {
        return Some(seconds);
    }
    let seconds = value.as_f64().filter(|seconds| (0.0..MAX_SECONDS).contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok().map(|time| time.as_secs())
}

/// Some 30,000 years.
const MAX_SECONDS: f64 = 1e12;

const PARTS: TokenError = TokenError::Malformed("it has not three parts");
const BASE64: TokenError = TokenError::Malformed("a part of it is not base64url");

#[cfg(test)]
mod tests;
