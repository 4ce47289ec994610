//! TLS below everything that a client speaks: whom it trusts, and what it shows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::failure::{Failure, Outcome};

/// Whom a client trusts, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The certificates to trust besides those of this system.
    pub ca: Option<PathBuf>,
    /// The client's certificate and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whoever answers is believed.
    pub is_insecure: bool,
}

/// What the connections to one host have in common.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// What a client of TLS needs; without `is_needed`, what one that speaks none does.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub fn config(&self, is_needed: bool) -> Outcome<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed(format!("cannot use TLS: {error}")))?;
        let builder = if self.is_insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(if is_needed { self.roots()? } else { RootCertStore::empty() })
        };
        let Some((certificate, key)) = self.identity.as_ref().filter(|_| is_needed) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            Failure::usage(format!("cannot read a private key in {}: {error}", key.display()))
                .help("it has to hold one as PEM, `-----BEGIN PRIVATE KEY-----` and so on")
        })?;
        builder.with_client_auth_cert(chain, private).map_err(|error| {
            let files = (certificate.display(), key.display());
            Failure::usage(format!(
                "cannot show the certificate in {} with the key in {}: {error}",
                files.0, files.1
            ))
            .help("name a certificate and the key that belongs to it")
        })
    }

    fn roots(&self) -> Outcome<RootCertStore> {
        let mut roots = RootCertStore::empty();
        // Of the system's, what cannot be read is left out: the one that counts may be among the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &self.ca {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error.to_string()))?;
            }
        }
        Ok(roots)
    }
}

impl Tls {
    /// # Errors
    /// When a file of `trust` cannot be used, or `host` is none that a certificate could be for.
    pub fn new(host: &str, trust: &Trust) -> Outcome<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::usage(format!("`{host}` is not a host that a certificate could be for")))?;
        Ok(Self { config: Arc::new(trust.config(true)?), name })
    }

    /// The client's side of a new connection.
    pub fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }

    /// The same for a stream that is awaited.
    pub fn connector(&self) -> (tokio_rustls::TlsConnector, ServerName<'static>) {
        (self.config.clone().into(), self.name.clone())
    }

    /// What all connections have in common.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error.to_string()))?;
    let read: Result<Vec<_>, _> = read.collect();
    let read = read.map_err(|error| unusable(path, &error.to_string()))?;
    if read.is_empty() { Err(unusable(path, "there is none")) } else { Ok(read) }
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("cannot read certificates in {}: {why}", path.display()))
        .help("it has to hold certificates as PEM, `-----BEGIN CERTIFICATE-----` and so on")
}

/// Believes whoever answers, as the user has asked for. Signatures are checked all the same: what is said comes
/// from whoever has shown the certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusting(path: &Path) -> Trust {
        Trust { ca: Some(path.to_owned()), ..Trust::default() }
    }

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing\n").unwrap();
        let failure = Tls::new("localhost", &trusting(&path)).unwrap_err();
        assert!(failure.message.contains("ca.pem") && failure.message.contains("there is none"), "{failure}");
        assert!(Tls::new("localhost", &trusting(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn a_certificate_goes_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let certificate = rcgen::CertificateParams::new(vec!["c".into()]).unwrap().self_signed(&one).unwrap();
        let certificate = write("c.pem", certificate.pem());
        let keys = [write("one.key", one.serialize_pem()), write("other.key", other.serialize_pem())];
        let shown = |key: &Path| {
            let identity = Some((certificate.clone(), key.to_owned()));
            Trust { identity, ..Trust::default() }.config(true)
        };
        assert!(shown(&keys[0]).is_ok());
        assert!(shown(&keys[1]).unwrap_err().message.contains("other.key"));
        assert!(shown(&certificate).unwrap_err().message.contains("private key"));
    }

    #[test]
    fn a_host_is_a_name_or_a_number() {
        assert!(Tls::new("127.0.0.1", &Trust::default()).is_ok());
        assert!(Tls::new("not a host", &Trust::default()).is_err());
    }
}
