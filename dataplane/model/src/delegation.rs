//! A service of others that says who a client is: `authentication.http`, the same in the configuration of a
//! daemon and in a fleet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::oidc::url_fault;

/// A service that is asked over HTTP about users whom the fleet does not know itself.
///
/// It gets a POST with a JSON object: `space`, `protocol` (`amqp`, `mqtt` or `http`), `address` (the client's IP
/// address), `client` (the client identifier of MQTT), and `certificate` with the `subject` and the `fingerprint` of a
/// client certificate that has been checked. Beside these stand `user` and `password`; or `user` alone, who is the one
/// that the certificate names; or `token`. It answers with the status 200 and
/// `{"allow": true, "roles": ["sensors"], "grants": ["send:telemetry/${user}/#"]}` or `{"allow": false}`. What both
/// give is what the user may do, for as long as his connection lasts. Beside them may stand `space`, which has to be
/// the one that was asked about, and `seconds`, after which the connection ends. For a token, `user` has to say whose it
/// is. Anything else means that the service cannot say: the client is refused, and may try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpAuthentication {
    /// Where it is asked: an `https` URL without query. `http` is taken for a loopback address only.
    #[schemars(length(min = 1, max = 1_024))]
    pub url: String,
    /// A PEM file with the certificates of the CAs that the service's own may be from. Default: those that the
    /// system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate that the node shows to the service. Default: it shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with the private key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// A file with the secret that the service knows the node by, sent as `Authorization: Bearer`. Default: none
    /// is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<PathBuf>,
    /// What it is asked about. Default: `password` alone.
    #[serde(default = "default_asks", skip_serializing_if = "is_default_asks")]
    #[schemars(length(min = 1, max = 3), extend("default" = ["password"]))]
    pub asks: Vec<Asks>,
    /// Milliseconds after which a question has no answer, the wait for others included. Default 2,000.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 100, max = 30_000))]
    pub timeout: u32,
    /// Seconds for which a yes counts for the same question. 0: it is asked each time. Default 60.
    #[serde(default = "default_allowed")]
    #[schemars(range(max = 3_600))]
    pub allowed: u32,
    /// Seconds for which a no counts for the same question. Default 5.
    #[serde(default = "default_denied")]
    #[schemars(range(max = 300))]
    pub denied: u32,
    /// The most questions of a node under way at once; others wait. Default 16.
    #[serde(default = "default_parallel")]
    #[schemars(range(min = 1, max = 256))]
    pub parallel: u16,
}

/// What a service may be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// Names with passwords (SASL PLAIN, MQTT, HTTP Basic).
    Password,
    /// Tokens that are of none of the identity providers in `authentication.oidc`, whatever they look like (SASL
    /// OAUTHBEARER and XOAUTH2, HTTP Bearer, a password of MQTT without a name).
    Token,
    /// Names in certificates that authorities of `tls` have signed: the first one of each (SASL EXTERNAL, MQTT without
    /// a password).
    Certificate,
}

/// What is wrong with a service: the field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFault {
    pub field: &'static str,
    pub message: String,
}

impl HttpAuthentication {
    /// Every rule that it breaks beyond its shape.
    pub fn faults(&self) -> Vec<HttpFault> {
        let mut faults = Vec::new();
        faults.extend(url_fault(&self.url).map(|message| HttpFault { field: "url", message }));
        let alone = match (&self.certificate, &self.key) {
            (Some(_), None) => {
                Some(("certificate", "the certificate is there without its key; set key, too"))
            }
            (None, Some(_)) => {
                Some(("key", "the key is there without its certificate; set certificate, too"))
            }
            _ => None,
        };
        if self.asks.is_empty() {
            let message = "the service is asked about nothing; say password, token or certificate".to_owned();
            faults.push(HttpFault { field: "asks", message });
        }
        faults.extend(alone.map(|(field, message)| HttpFault { field, message: message.to_owned() }));
        faults
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca, &self.certificate, &self.key, &self.secret].into_iter().flatten()
    }
}

fn default_asks() -> Vec<Asks> {
    vec![Asks::Password]
}

fn is_default_asks(asks: &[Asks]) -> bool {
    *asks == default_asks()
}

fn default_timeout() -> u32 {
    2_000
}

fn default_allowed() -> u32 {
    60
}

fn default_denied() -> u32 {
    5
}

fn default_parallel() -> u16 {
    16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> HttpAuthentication {
        serde_json::from_str(text).expect("it says what it has to")
    }

    #[test]
    fn a_service_is_asked_over_tls_or_on_this_machine_and_a_certificate_has_its_key() {
        let fields = |text| service(text).faults().iter().map(|fault| fault.field).collect::<Vec<_>>();
        assert_eq!(fields(r#"{"url":"https://auth.example/mq"}"#), [""; 0]);
        assert_eq!(fields(r#"{"url":"http://127.0.0.1:8080/mq"}"#), [""; 0]);
        assert_eq!(fields(r#"{"url":"http://auth.example/mq"}"#), ["url"]);
        assert_eq!(fields(r#"{"url":"https://auth.example/mq","asks":[]}"#), ["asks"]);
        assert_eq!(service(r#"{"url":"https://auth.example/mq"}"#).asks, [Asks::Password]);
        assert_eq!(fields(r#"{"url":"https://auth.example","certificate":"c.pem"}"#), ["certificate"]);
        assert_eq!(fields(r#"{"url":"https://auth.example","key":"c.key"}"#), ["key"]);
        assert_eq!(fields(r#"{"url":"https://auth.example","key":"c.key","certificate":"c.pem"}"#), [""; 0]);
    }
}
