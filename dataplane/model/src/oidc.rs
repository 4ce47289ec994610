//! Identity providers whose tokens are taken: entries of `authentication.oidc`, the same in the
//! configuration of a daemon and in a fleet.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of a URL.
const MAX_URL: usize = 1_024;

/// Bytes of the name of a claim, an audience or a prefix.
const MAX_WORD: usize = 255;

/// An OpenID Connect provider (Keycloak, Entra, Okta, …) whose tokens say who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcProvider {
    /// The issuer exactly as it stands in the tokens: an `https` URL without query. `http` is taken for a
    /// loopback address only.
    #[schemars(length(min = 1, max = 1_024))]
    pub issuer: String,
    /// Whom a token has to be for: one of these. Most providers call it the client or the API.
    #[schemars(length(min = 1, max = 16))]
    pub audiences: Vec<String>,
    /// Where the provider's public keys are. Default: its discovery document says,
    /// `<issuer>/.well-known/openid-configuration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// A PEM file with the certificates of the CAs that the provider's own may be from. Default: those that
    /// the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The claim with the user's name, with dots between names for one inside of others. Take one that the
    /// provider does not let its users choose. Default `sub`.
    #[serde(default = "default_user")]
    #[schemars(length(min = 1, max = 255))]
    pub user: String,
    /// Where the names of roles stand. Default: tokens give no roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<OidcRoles>,
    /// The claim with the address space of the user, with dots between names for one inside of others; a token
    /// without it is refused. Default: tokens are good in the space `default` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub space: Option<String>,
}

/// Where a token names roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcRoles {
    /// The claim, an array of names or names with spaces between. Keycloak's is `realm_access.roles`.
    #[schemars(length(min = 1, max = 255))]
    pub claim: String,
    /// Names count when they begin with this, and without it. Default: all count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    pub prefix: String,
}

/// What is wrong with a provider: the field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcFault {
    pub field: &'static str,
    pub message: String,
}

impl OidcProvider {
    /// Every rule that it breaks beyond its shape.
    pub fn faults(&self) -> Vec<OidcFault> {
        let mut faults = Vec::new();
        let mut add = |field, message: Option<String>| {
            faults.extend(message.map(|message| OidcFault { field, message }));
        };
        add("issuer", url_fault(&self.issuer));
        add("keys", self.keys.as_deref().and_then(url_fault));
        let is_audience = |audience: &String| (1..=MAX_WORD).contains(&audience.len());
        if !self.audiences.iter().all(is_audience) {
            add("audiences", Some(format!("an audience has 1 to {MAX_WORD} bytes")));
        }
        faults
    }
}

/// Why a URL cannot be asked: whoever is on the way could answer in its place.
pub(crate) fn url_fault(url: &str) -> Option<String> {
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte));
    if !is_plain || url.len() > MAX_URL {
        return Some(format!("`{}` is no URL without user, query and fragment", url.escape_debug()));
    }
    let (is_encrypted, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Some(format!("`{url}` is no https URL")),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = host_of(authority);
    if host.is_empty() {
        return Some(format!("`{url}` names no host"));
    }
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let is_safe = is_encrypted || is_loopback;
    (!is_safe).then(|| format!("`{url}` is not encrypted: use https, or a loopback address"))
}

/// The host of `host[:port]`, of an address in brackets without them.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn default_user() -> String {
    "sub".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for url in [
            "https://id.example/realms/mq",
            "https://id.example:8443",
            "http://127.0.0.1:3000",
            "http://[::1]:3000/x",
            "http://localhost:3000/realms/mq",
        ] {
            assert_eq!(url_fault(url), None, "{url}");
        }
        for url in [
            "",
            "id.example",
            "https://",
            "https:///x",
            "http://id.example",
            "http://localhost.example/x",
            "http://127.0.0.1.example/x",
            "http://127.0.0.1@id.example/x",
            "https://anna:secret@id.example",
            "https://id.example/?x=y",
            "https://id.example/#x",
            "https://id.example/a b",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
        ] {
            assert!(url_fault(url).is_some(), "{url}");
        }
        assert!(url_fault(&format!("https://id.example/{}", "x".repeat(MAX_URL))).is_some());
    }
}
