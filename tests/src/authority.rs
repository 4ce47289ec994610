//! Authorities, and the certificates of nodes and clients that no `mq deploy` has made.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mq_model::config::{MeshTls, Tls, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// What a node is told that shows a certificate to its clients, and asks for theirs when there is an authority of those.
pub fn server_tls(certificate: &Path, key: &Path, client_ca: Option<PathBuf>) -> Tls {
    Tls {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        client_ca,
        client_crl: None,
        fleet_ca: None,
        client_certificates: None,
        min_version: TlsVersion::Tls12,
        names: Vec::new(),
    }
}

/// The authority of a fleet, which signs the certificates of its nodes.
#[derive(Debug)]
pub struct Authority {
    fleet: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When there is no randomness.
    pub fn new(fleet: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority of {fleet}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.self_signed(&key).expect("an authority signs itself").pem();
        Self { fleet: fleet.to_owned(), issuer: Issuer::new(params, key), certificate }
    }

    /// Writes what the node of that name proves itself with into a folder.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn issue(&self, node: &str, folder: &Path) -> MeshTls {
        self.issue_for(&format!("{node}.{}.mq.internal", self.fleet), folder)
    }

    /// The same with a certificate for any DNS name.
    ///
    /// # Panics
    /// When the folder cannot be written, or the name is none.
    pub fn issue_for(&self, name: &str, folder: &Path) -> MeshTls {
        let pair = self.certify(folder, "node", |params| {
            params.subject_alt_names =
                vec![SanType::DnsName(name.try_into().expect("the name is one of DNS"))];
        });
        MeshTls { ca: self.certificate(folder), certificate: pair.certificate, key: pair.key }
    }

    /// Writes the certificate of the authority itself into a folder.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn certificate(&self, folder: &Path) -> PathBuf {
        write(folder, "ca.pem", &self.certificate)
    }

    /// Writes a certificate that is good for both sides unless `change` makes it another one, and its key, into a
    /// folder, under a name.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn certify(&self, folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("the system has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Pair {
            certificate: write(folder, &format!("{name}.pem"), &certificate.pem()),
            key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }

    /// Writes a certificate for a client of this name.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn certify_client(&self, folder: &Path, name: &str) -> Pair {
        self.certify(folder, name, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Writes a file that nobody else may read.
fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("the temporary folder can be written");
    let path = folder.join(name);
    let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the temporary folder can be written");
    path
}
