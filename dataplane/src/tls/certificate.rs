//! What TLS says of a client.

use std::fmt::Write;

use jiff::Timestamp;
use mq_model::admin::ConnectionTls;
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{Connection, HandshakeKind};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::revoked::serial;

/// Names of one kind that are read of a certificate; those beyond are left out.
const MAX_NAMES: usize = 64;

/// What was agreed on with a client that speaks TLS. A connection without has none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The version of TLS, such as `TLSv1.3`.
    pub version: Box<str>,
    /// The cipher suite by its name in the registry of the IANA.
    pub cipher: Box<str>,
    /// Whom the client has asked for (server name indication).
    pub server_name: Option<Box<str>>,
    /// The keys of an earlier connection were used again.
    pub is_resumed: bool,
    /// The client's certificate, signed by an authority that the node trusts.
    pub certificate: Option<ClientCertificate>,
}

/// The certificate of a client, signed by an authority that the node trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The whole subject, such as `CN=sensor-1, O=Acme`.
    pub subject: String,
    /// The subject's common name, when it has exactly one.
    pub common_name: Option<String>,
    /// Its alternative names that are DNS names, at most 64; so with those that follow.
    pub dns: Vec<String>,
    /// URIs, such as `spiffe://acme/sensor-1`.
    pub uris: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// SHA-256 of the certificate, as 64 hexadecimal digits.
    pub fingerprint: String,
    /// Until when it is good.
    pub expires: Timestamp,
    /// What lists of revoked certificates call it, and those between it and its authority.
    #[serde(default)]
    pub(super) serials: Vec<String>,
    /// The fleet's own authority has signed it.
    pub is_of_fleet: bool,
}

impl Encryption {
    /// What was agreed on, once the handshake is over. `fleet` tells certificates of the fleet's own authority
    /// from others.
    ///
    /// # Errors
    /// When the client's certificate, although it was signed by someone trusted, cannot be read.
    pub(super) fn of(tls: &Connection, fleet: Option<&dyn ClientCertVerifier>) -> Result<Self, X509Error> {
        let chain = tls.peer_certificates().unwrap_or_default();
        let certificate = match chain.split_first() {
            Some((first, between)) => Some(ClientCertificate::read(first, between, fleet)?),
            None => None,
        };
        let name = match tls {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        };
        let version = tls.protocol_version().and_then(|version| version.as_str());
        let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Ok(Self {
            version: version
                .map_or("TLS", |name| if name == "TLSv1_3" { "TLSv1.3" } else { "TLSv1.2" })
                .into(),
            cipher: cipher.unwrap_or_default().into(),
            server_name: name.map(Into::into),
            is_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate,
        })
    }
}

impl Encryption {
    /// How the admin API shows it.
    pub(crate) fn view(&self) -> ConnectionTls {
        let certificate = self.certificate.as_ref();
        ConnectionTls {
            version: self.version.to_string(),
            cipher: self.cipher.to_string(),
            server_name: self.server_name.as_deref().map(str::to_owned),
            subject: certificate.map(|certificate| certificate.subject.clone()),
            fingerprint: certificate.map(|certificate| certificate.fingerprint.clone()),
        }
    }
}

impl ClientCertificate {
    fn read(
        first: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        fleet: Option<&dyn ClientCertVerifier>,
    ) -> Result<Self, X509Error> {
        let (_, certificate) = X509Certificate::from_der(first).map_err(|_| X509Error::InvalidCertificate)?;
        let mut common_names = certificate.subject().iter_common_name();
        let common_name = common_names.next().filter(|_| common_names.next().is_none());
        let alternatives = certificate.subject_alternative_name()?;
        let alternatives = alternatives.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let names = |pick: fn(&GeneralName<'_>) -> Option<String>| {
            alternatives.iter().filter_map(pick).take(MAX_NAMES).collect()
        };
        let between_serials = between.iter().filter_map(|between| {
            X509Certificate::from_der(between).ok().map(|(_, certificate)| serial(&certificate))
        });
        let serials = std::iter::once(serial(&certificate)).chain(between_serials).collect();
        let is_of_fleet =
            fleet.is_some_and(|fleet| fleet.verify_client_cert(first, between, UnixTime::now()).is_ok());
        Ok(Self {
            subject: certificate.subject().to_string(),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            dns: names(
                |name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None },
            ),
            uris: names(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }),
            emails: names(|name| {
                if let GeneralName::RFC822Name(name) = name { Some((*name).to_owned()) } else { None }
            }),
            fingerprint: fingerprint(first),
            expires: end_of(&certificate),
            serials,
            is_of_fleet,
        })
    }
}

/// Looks at the certificate of a client that goes on with the keys of an earlier connection. It has shown it then,
/// and may go on like that without end.
///
/// # Errors
/// When the certificate is good no more.
pub(super) fn check_again(
    tls: &Connection,
    clients: &dyn ClientCertVerifier,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    if tls.handshake_kind() != Some(HandshakeKind::Resumed) {
        return Ok(());
    }
    match tls.peer_certificates().unwrap_or_default().split_first() {
        Some((first, between)) => clients.verify_client_cert(first, between, now).map(|_| ()),
        None => Ok(()),
    }
}

/// Until when a certificate is good.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Result<Timestamp, X509Error> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| X509Error::InvalidCertificate)?;
    Ok(end_of(&certificate))
}

/// "No well-defined expiration date" is the end of the year 9999 (RFC 5280, 4.1.2.5).
fn end_of(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX)
}

/// SHA-256 of a certificate, as 64 hexadecimal digits.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hexadecimal(digest(&SHA256, certificate).as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::ring;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn pair(authority: &Authority) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let certificate = params.signed_by(&key, authority).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn roots(authority: &Authority) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn verifier(authority: &Authority) -> Arc<dyn ClientCertVerifier> {
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(roots(authority), provider).build().unwrap()
    }

    /// One connection, until both have said what there is to say.
    fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Connection {
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(client.clone(), name).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() || server.wants_write() {
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
            bytes.clear();
        }
        server.into()
    }

    #[test]
    fn a_resumed_connection_has_a_certificate_that_is_good_now() {
        let (authority, other) = (authority(), authority());
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = pair(&authority);
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier(&authority))
            .with_single_cert(chain, key)
            .unwrap();
        server.ticketer = ring::Ticketer::new().unwrap();
        let (chain, key) = pair(&authority);
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&authority))
            .with_client_auth_cert(chain, key)
            .unwrap();
        let (client, server) = (Arc::new(client), Arc::new(server));
        let year = |year: u64| UnixTime::since_unix_epoch(Duration::from_secs((year - 1_970) * 365 * 86_400));
        let first = connect(&client, &server);
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(check_again(&first, &*verifier(&other), year(2_200)), Ok(()), "it has just been checked");
        let again = connect(&client, &server);
        assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(check_again(&again, &*verifier(&authority), year(2_050)), Ok(()));
        assert!(check_again(&again, &*verifier(&authority), year(2_200)).is_err(), "it has expired");
        assert!(check_again(&again, &*verifier(&other), year(2_050)).is_err(), "nobody trusts its authority");
    }
}
