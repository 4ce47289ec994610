//! TLS below the load's protocols.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::failure::{Failure, Outcome};

/// What every connection of a run has in common.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts what the system trusts, and the certificates of `ca`.
    ///
    /// # Errors
    /// When `ca` cannot be read or holds no certificate, or `host` is none that a certificate could be for.
    pub fn new(host: &str, ca: Option<&Path>) -> Outcome<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::usage(format!("`{host}` is not a host that a certificate could be for")))?;
        let mut roots = RootCertStore::empty();
        // Of the system's, what cannot be read is left out: the one that counts may be among the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            add(&mut roots, path)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed(format!("cannot use TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), name })
    }

    /// The client's side of a new connection.
    pub(super) fn connection(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), self.name.clone())
    }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Outcome {
    let unusable = |why: String| {
        Failure::usage(format!("cannot read certificates in {}: {why}", path.display()))
            .help("it has to hold certificates as PEM, `-----BEGIN CERTIFICATE-----` and so on")
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        count += 1;
    }
    if count == 0 { Err(unusable("there is none".into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing\n").unwrap();
        let failure = Tls::new("localhost", Some(&path)).unwrap_err();
        assert!(failure.message.contains("ca.pem") && failure.message.contains("there is none"), "{failure}");
        assert!(Tls::new("localhost", Some(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn a_host_is_a_name_or_a_number() {
        assert!(Tls::new("127.0.0.1", None).is_ok());
        assert!(Tls::new("not a host", None).is_err());
    }
}
