//! TLS below everything that a client speaks: whom it trusts, and what it shows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::failure::{Failure, Outcome};

/// Whom a client trusts, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The certificates to trust besides those of this system.
    pub ca: Option<PathBuf>,
    /// More of them, as PEM.
    pub fleet: Option<String>,
    /// The certificate, as PEM, that whoever answers is known by, whatever name is in it and whoever has signed it.
    pub shown: Option<String>,
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
            let roots = if is_needed { self.roots()? } else { RootCertStore::empty() };
            match self.known()?.filter(|_| is_needed) {
                Some(known) => {
                    let verifier = Acquainted { known, others: others(roots, &provider)?, provider };
                    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
                }
                None => builder.with_root_certificates(roots),
            }
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
        // What lies at a node is written by `mq`: what cannot be read of it is believed as little as a stranger.
        let fleet = self.fleet.as_deref().unwrap_or_default();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(fleet.as_bytes()).flatten());
        Ok(roots)
    }

    /// The certificate that is believed as it is.
    fn known(&self) -> Outcome<Option<CertificateDer<'static>>> {
        let Some(text) = &self.shown else { return Ok(None) };
        CertificateDer::from_pem_slice(text.as_bytes()).map(Some).map_err(|error| {
            Failure::failed(format!("cannot read the certificate that the node shows: {error}"))
                .help("see that the file in `tls.certificate` of the fleet holds a certificate as PEM")
        })
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

/// Who is believed beside the one that is known.
fn others(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Outcome<Option<Arc<WebPkiServerVerifier>>> {
    if roots.is_empty() {
        return Ok(None);
    }
    let built = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    built.map(Some).map_err(|error| Failure::failed(format!("cannot use TLS: {error}")))
}

/// Believes whoever has the key of a certificate that is known, and others as everybody does.
#[derive(Debug)]
struct Acquainted {
    known: CertificateDer<'static>,
    others: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Acquainted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.known {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(others) = &self.others else {
            return Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        };
        others.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
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
    fn a_certificate_that_is_known_is_believed_under_any_name_and_no_other_one_is() {
        let own = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap()
        };
        let (known, other) = (own("broker.example.org"), own("127.0.0.1"));
        let trust = Trust { shown: Some(known.pem()), ..Trust::default() };
        let verifier = Acquainted {
            known: trust.known().unwrap().unwrap(),
            others: None,
            provider: Arc::new(ring::default_provider()),
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let verify = |der: &[u8]| {
            verifier.verify_server_cert(&CertificateDer::from(der), &[], &name, &[], UnixTime::now())
        };
        assert!(verify(known.der()).is_ok());
        assert!(verify(other.der()).is_err());
        assert!(trust.config(true).is_ok());
        assert!(Trust { shown: Some("nothing".into()), ..Trust::default() }.config(true).is_err());
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
