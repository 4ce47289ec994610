//! TLS between nodes: always mutual, always 1.3, against the CA of the fleet.
//!
//! Whoever connects knows a host and a port, not the node behind them. So the certificate is checked twice:
//! during the handshake that the fleet's CA signed it, and when the peer has said who it is that the
//! certificate is for that node: its DNS name is `<node>.<fleet>.mq.internal`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use mq_model::admin::NodeCertificate;
use mq_model::config::MeshTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme,
};

pub(crate) use crate::tls::Secured;
use crate::tls::{Mark, expiry, fingerprint, marks};

/// The domain of the names in the certificates of nodes. It is looked up nowhere.
const DOMAIN: &str = "mq.internal";

/// Bytes of a record, its header of 5 among them, but not the 17 that encrypting adds (RFC 8446, 5.2): 4 KiB with those,
/// which is as much as rustls takes at once. For larger ones its buffer grows in steps, and is copied with each.
const RECORD: usize = 4096 - 17;

/// Why the certificates of a node are of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("cannot read {what} in {}: {reason}; set mesh.tls.{setting} to a file that holds it as PEM", path.display())]
    File { what: &'static str, setting: &'static str, path: PathBuf, reason: String },
    #[error("cannot use the certificate in {}: {reason}; issue one for this node by the fleet's CA", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error(
        "the certificate in {} is not for `{name}`; issue one for this node, or correct fleet and node",
        path.display()
    )]
    Name { path: PathBuf, name: String },
}

/// Why a peer is not who it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("the peer has shown no certificate")]
    NoCertificate,
    #[error("the peer's certificate is not for `{0}`, which it says it is")]
    Name(String),
}

/// What a node shows to others, and how it checks what they show: what its files hold now. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<Own>);

#[derive(Debug)]
struct Own {
    files: MeshTls,
    node: String,
    fleet: String,
    loaded: RwLock<Arc<Loaded>>,
    marks: Mutex<Vec<Mark>>,
    failures: AtomicU64,
}

/// What the files hold.
#[derive(Debug)]
struct Loaded {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// Nobody is asked for by this name: what the peer says of itself counts.
    any: ServerName<'static>,
    expires: Timestamp,
    fingerprint: String,
    authorities: Vec<String>,
}

impl Identity {
    /// Reads the CA, the certificate and its key, and checks that they belong together and to the node.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn load(files: &MeshTls, node: &str, fleet: &str) -> Result<Self, TlsError> {
        // Before the files are read: a change in between is found at the next look.
        let marks = Mutex::new(marks_of(files));
        let loaded = RwLock::new(Arc::new(Loaded::read(files, node, fleet)?));
        let (files, node, fleet) = (files.clone(), node.to_owned(), fleet.to_owned());
        Ok(Self(Arc::new(Own { files, node, fleet, loaded, marks, failures: AtomicU64::new(0) })))
    }

    /// Reads the files again when one of them has changed: they count for new connections.
    pub(crate) fn look(&self) {
        let Own { files, node, fleet, loaded, marks, failures } = &*self.0;
        let found = marks_of(files);
        {
            let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
            if *marks == found {
                return;
            }
            *marks = found;
        }
        match Loaded::read(files, node, fleet) {
            Ok(new) => {
                let path = files.certificate.display();
                tracing::info!(%path, expires = %new.expires, "other nodes are shown another certificate");
                *loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            }
            Err(error) => {
                failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the files of mesh.tls have changed and are of no use; those before stay in use");
            }
        }
    }

    /// How the admin API shows it.
    pub(crate) fn view(&self) -> NodeCertificate {
        let loaded = self.loaded();
        NodeCertificate {
            expires: loaded.expires,
            reload_failures: self.0.failures.load(Ordering::Relaxed),
            fingerprint: loaded.fingerprint.clone(),
            authorities: loaded.authorities.clone(),
            revocations_expire: None,
        }
    }

    /// The side that has connected.
    pub(crate) fn connecting(&self) -> Result<Secured, rustls::Error> {
        let loaded = self.loaded();
        let connection = ClientConnection::new(loaded.client.clone(), loaded.any.clone())?;
        Ok(Secured::new(connection.into()))
    }

    /// The side that was connected to.
    pub(crate) fn accepting(&self) -> Result<Secured, rustls::Error> {
        Ok(Secured::new(ServerConnection::new(self.loaded().server.clone())?.into()))
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.0.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn marks_of(files: &MeshTls) -> Vec<Mark> {
    marks([&files.ca, &files.certificate, &files.key])
}

impl Loaded {
    fn read(files: &MeshTls, node: &str, fleet: &str) -> Result<Self, TlsError> {
        let authorities = certificates("the CA", "ca", &files.ca)?;
        let roots = Arc::new(roots(&authorities, &files.ca)?);
        let authorities = authorities.iter().map(fingerprint).collect();
        let chain = certificates("the certificate", "certificate", &files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| unreadable("the private key", "key", &files.key, &error.to_string()))?;
        let of_certificate =
            |reason: String| TlsError::Certificate { path: files.certificate.clone(), reason };
        let name = dns_name(node, fleet);
        check_own(&chain, &name, &files.certificate)?;
        check_signed(&chain, &roots, files)?;
        let any = ServerName::try_from(name).map_err(|error| of_certificate(error.to_string()))?;
        let expires = chain.first().and_then(|first| expiry(first).ok()).unwrap_or(Timestamp::MAX);
        let own = chain.first().map(fingerprint).unwrap_or_default();
        let provider = Arc::new(ring::default_provider());
        let of_tls = |error: rustls::Error| of_certificate(error.to_string());
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(of_tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfFleet {
                roots: roots.clone(),
                provider: provider.clone(),
            }))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(of_tls)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| of_certificate(error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(of_tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(of_tls)?;
        // Connections live for days; resuming one would save nothing and skip the check of certificates.
        server.send_tls13_tickets = 0;
        client.max_fragment_size = Some(RECORD);
        server.max_fragment_size = Some(RECORD);
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            any,
            expires,
            fingerprint: own,
            authorities,
        })
    }
}

/// The name in the certificate of a node.
pub(crate) fn dns_name(node: &str, fleet: &str) -> String {
    format!("{node}.{fleet}.{DOMAIN}")
}

fn roots(authorities: &[CertificateDer<'static>], path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots
            .add(certificate.clone())
            .map_err(|error| unreadable("the CA", "ca", path, &error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(
    what: &'static str,
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: &str| unreadable(what, setting, path, reason);
    let read = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error.to_string()))?;
    let read: Result<Vec<_>, _> = read.collect();
    let read = read.map_err(|error| failed(&error.to_string()))?;
    if read.is_empty() { Err(failed("there is no certificate")) } else { Ok(read) }
}

fn unreadable(what: &'static str, setting: &'static str, path: &Path, reason: &str) -> TlsError {
    TlsError::File { what, setting, path: path.to_owned(), reason: reason.to_owned() }
}

/// A certificate for another node would be refused by every peer: better to say so at the start.
fn check_own(chain: &[CertificateDer<'static>], name: &str, path: &Path) -> Result<(), TlsError> {
    let of = |reason: String| TlsError::Certificate { path: path.to_owned(), reason };
    let first = chain.first().ok_or_else(|| of("there is none".to_owned()))?;
    let parsed = ParsedCertificate::try_from(first).map_err(|error| of(error.to_string()))?;
    let server = ServerName::try_from(name).map_err(|error| of(error.to_string()))?;
    verify_server_name(&parsed, &server)
        .map_err(|_| TlsError::Name { path: path.to_owned(), name: name.to_owned() })
}

/// So would one of another CA. One that is not good today may be good once the clock is right: the node serves
/// its clients meanwhile.
fn check_signed(
    chain: &[CertificateDer<'static>],
    roots: &RootCertStore,
    files: &MeshTls,
) -> Result<(), TlsError> {
    let of = |reason: String| TlsError::Certificate { path: files.certificate.clone(), reason };
    let Some((first, rest)) = chain.split_first() else { return Ok(()) };
    let certificate = ParsedCertificate::try_from(first).map_err(|error| of(error.to_string()))?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(&certificate, roots, rest, UnixTime::now(), algorithms) {
        Ok(()) => Ok(()),
        Err(error) if is_about_time(&error) => {
            tracing::error!(
                path = %files.certificate.display(),
                %error,
                "no other node will believe the certificate of this one; set the clock right, or issue another \
                 certificate and restart the node"
            );
            Ok(())
        }
        Err(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Err(of(format!("the CA in {} has not signed it", files.ca.display()))),
        Err(error) => Err(of(error.to_string())),
    }
}

/// Whether a certificate is good at another time.
fn is_about_time(error: &rustls::Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let rustls::Error::InvalidCertificate(error) = error else { return false };
    matches!(error, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

/// What to do about a handshake that has failed.
pub(crate) fn advice(error: &rustls::Error) -> &'static str {
    use AlertDescription::{BadCertificate, CertificateExpired, DecryptError, UnknownCA};
    use CertificateError::{BadSignature, UnknownIssuer};
    match error {
        error if is_about_time(error) => {
            "; set the clocks of both nodes right, or issue another certificate for the peer"
        }
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "; issue the certificates of both nodes by one CA"
        }
        rustls::Error::AlertReceived(CertificateExpired) => {
            "; set the clocks of both nodes right, or issue another certificate for this one"
        }
        rustls::Error::AlertReceived(UnknownCA | DecryptError | BadCertificate) => {
            "; see what the peer logs, and issue the certificates of both nodes by one CA"
        }
        _ => "",
    }
}

/// Takes whatever the fleet's CA has signed: which node it is for is checked when the peer has said its name.
#[derive(Debug)]
struct OfFleet {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfFleet {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
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

impl Secured {
    /// Checks that the peer's certificate is for the node that it says it is.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check_peer(&self, node: &str, fleet: &str) -> Result<(), PeerError> {
        let certificate = self.agreed().peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.ok_or(PeerError::NoCertificate)?;
        let name = dns_name(node, fleet);
        let is_named = ParsedCertificate::try_from(certificate).is_ok_and(|parsed| {
            ServerName::try_from(name.as_str())
                .is_ok_and(|server| verify_server_name(&parsed, &server).is_ok())
        });
        if is_named { Ok(()) } else { Err(PeerError::Name(name)) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::IoSlice;

    use bytes::BytesMut;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// The CA of the fleet `f`.
    pub(in crate::mesh) struct Authority {
        issuer: Issuer<'static, KeyPair>,
        certificate: String,
    }

    impl Authority {
        pub(in crate::mesh) fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::new(params, key), certificate }
        }

        /// The files of a node whose certificate is for this name.
        fn issue(&self, name: &str) -> (TempDir, MeshTls) {
            self.issue_until(name, 4_000)
        }

        /// As [`issue`](Self::issue), with a certificate that is good up to a year.
        fn issue_until(&self, name: &str, year: i32) -> (TempDir, MeshTls) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
            let folder = tempfile::tempdir().unwrap();
            let write = |file: &str, text: &str| {
                let path = folder.path().join(file);
                std::fs::write(&path, text).unwrap();
                path
            };
            let files = MeshTls {
                ca: write("ca.pem", &self.certificate),
                certificate: write("node.pem", &certificate),
                key: write("node.key", &key.serialize_pem()),
            };
            (folder, files)
        }

        pub(in crate::mesh) fn identity(&self, node: &str) -> Identity {
            let (_folder, files) = self.issue(&dns_name(node, "f"));
            Identity::load(&files, node, "f").unwrap()
        }
    }

    /// Lets both sides say what they have to say; the errors of each.
    fn shake(one: &mut Secured, other: &mut Secured) -> [Option<rustls::Error>; 2] {
        let mut errors = [None, None];
        for _ in 0..8 {
            let pass = |from: &mut Secured, to: &mut Secured| {
                let mut bytes = Vec::new();
                from.write_to(&mut bytes).1.unwrap();
                to.receive(&bytes, &mut BytesMut::new()).err()
            };
            errors[1] = errors[1].take().or_else(|| pass(one, other));
            errors[0] = errors[0].take().or_else(|| pass(other, one));
        }
        errors
    }

    #[test]
    fn nodes_of_a_fleet_know_each_other_by_their_certificates() {
        let authority = Authority::new();
        let mut one = authority.identity("n1").connecting().unwrap();
        let mut other = authority.identity("n2").accepting().unwrap();
        assert_eq!(shake(&mut one, &mut other), [None, None]);
        assert!(!one.is_handshaking() && !other.is_handshaking());
        assert!(one.check_peer("n2", "f").is_ok() && other.check_peer("n1", "f").is_ok());
        for (node, fleet) in [("n1", "f"), ("n3", "f"), ("n2", "g"), ("", "f")] {
            assert!(one.check_peer(node, fleet).is_err(), "{node} of {fleet}");
        }
    }

    #[test]
    fn what_is_sent_arrives_in_order_however_it_is_cut() {
        let authority = Authority::new();
        let mut one = authority.identity("n1").connecting().unwrap();
        let mut other = authority.identity("n2").accepting().unwrap();
        shake(&mut one, &mut other);
        let message: Vec<u8> = (0..100_000).map(|index| (index % 251) as u8).collect();
        let (head, tail) = message.split_at(33_333);
        one.send(&[IoSlice::new(head), IoSlice::new(tail)]);
        let mut bytes = Vec::new();
        one.write_to(&mut bytes).1.unwrap();
        let mut plain = BytesMut::new();
        for piece in bytes.chunks(7_001) {
            assert!(!other.receive(piece, &mut plain).unwrap());
        }
        assert!(plain == message, "{} of {} bytes", plain.len(), message.len());
        one.say_goodbye();
        let mut bytes = Vec::new();
        one.write_to(&mut bytes).1.unwrap();
        assert!(other.receive(&bytes, &mut plain).unwrap(), "nothing more will come");
    }

    #[test]
    fn a_record_is_no_larger_than_what_is_read_at_once() {
        let authority = Authority::new();
        let mut one = authority.identity("n1").connecting().unwrap();
        let mut other = authority.identity("n2").accepting().unwrap();
        shake(&mut one, &mut other);
        for side in [&mut one, &mut other] {
            side.send(&[IoSlice::new(&[7; 10_000])]);
            let mut bytes = Vec::new();
            side.write_to(&mut bytes).1.unwrap();
            let (mut rest, mut lengths) = (bytes.as_slice(), Vec::new());
            while let [_, _, _, high, low, ..] = rest {
                lengths.push(5 + usize::from(u16::from_be_bytes([*high, *low])));
                rest = &rest[lengths[lengths.len() - 1]..];
            }
            assert_eq!(lengths, [4_096, 4_096, 10_000 - 2 * (4_096 - 22) + 22]);
        }
    }

    #[test]
    fn a_node_of_another_authority_is_refused_by_both_sides() {
        let (own, foreign) = (Authority::new(), Authority::new());
        let mut one = own.identity("n1").connecting().unwrap();
        let mut other = foreign.identity("n2").accepting().unwrap();
        assert!(shake(&mut one, &mut other).iter().any(Option::is_some));
        let mut one = foreign.identity("n1").connecting().unwrap();
        let mut other = own.identity("n2").accepting().unwrap();
        assert!(shake(&mut one, &mut other)[1].is_some(), "the one that was connected to");
    }

    #[test]
    fn files_that_have_changed_count_for_new_connections_and_those_of_no_use_do_not() {
        let (old, new) = (Authority::new(), Authority::new());
        let (_folder, files) = old.issue(&dns_name("n1", "f"));
        let one = Identity::load(&files, "n1", "f").unwrap();
        let meets = |authority: &Authority| {
            let mut here = one.connecting().unwrap();
            let mut there = authority.identity("n2").accepting().unwrap();
            // A peer believes whichever authority has signed its own.
            shake(&mut here, &mut there) == [None, None]
        };
        assert!(meets(&old) && !meets(&new));
        let (_other, others) = new.issue(&dns_name("n1", "f"));
        std::fs::write(&files.certificate, "nothing").unwrap();
        one.look();
        assert!(meets(&old), "those before stay in use");
        assert_eq!(one.view().reload_failures, 1);
        for (from, to) in
            [(&others.ca, &files.ca), (&others.certificate, &files.certificate), (&others.key, &files.key)]
        {
            std::fs::copy(from, to).unwrap();
        }
        one.look();
        assert!(meets(&new) && !meets(&old));
        let view = one.view();
        assert_eq!((view.authorities.len(), view.fingerprint.len()), (1, 64));
    }

    #[test]
    fn a_certificate_for_another_node_is_found_at_the_start() {
        let (_folder, files) = Authority::new().issue(&dns_name("n2", "f"));
        let error = Identity::load(&files, "n1", "f").unwrap_err().to_string();
        assert!(error.contains("is not for `n1.f.mq.internal`"), "{error}");
    }

    #[test]
    fn a_certificate_of_another_authority_is_found_at_the_start() {
        let (folder, files) = Authority::new().issue(&dns_name("n1", "f"));
        std::fs::write(&files.ca, Authority::new().certificate).unwrap();
        let error = Identity::load(&files, "n1", "f").unwrap_err().to_string();
        assert!(error.contains("has not signed it") && error.contains("node.pem"), "{error}");
        // Nodes believe either of two while one takes the place of the other.
        let (own, other) = (Authority::new(), Authority::new());
        let (_folder, files) = own.issue(&dns_name("n1", "f"));
        std::fs::write(&files.ca, [other.certificate, own.certificate].concat()).unwrap();
        assert!(Identity::load(&files, "n1", "f").is_ok());
        drop(folder);
    }

    #[test]
    fn a_node_whose_certificate_has_expired_starts_and_is_refused_with_advice() {
        let authority = Authority::new();
        let (_folder, files) = authority.issue_until(&dns_name("n2", "f"), 2_020);
        let expired = Identity::load(&files, "n2", "f").unwrap();
        let mut one = authority.identity("n1").connecting().unwrap();
        let mut other = expired.accepting().unwrap();
        let [refused, told] = shake(&mut one, &mut other).map(Option::unwrap);
        assert!(advice(&refused).ends_with("another certificate for the peer"), "{refused}");
        assert!(advice(&told).ends_with("another certificate for this one"), "{told}");
    }

    #[test]
    fn a_file_that_is_missing_is_named_with_its_setting() {
        let (_folder, files) = Authority::new().issue(&dns_name("n1", "f"));
        let missing = |files: MeshTls, setting: &str| {
            let error = Identity::load(&files, "n1", "f").unwrap_err().to_string();
            assert!(error.contains("nowhere") && error.contains(setting), "{error}");
        };
        missing(MeshTls { ca: "/nowhere".into(), ..files.clone() }, "mesh.tls.ca");
        missing(MeshTls { certificate: "/nowhere".into(), ..files.clone() }, "mesh.tls.certificate");
        missing(MeshTls { key: "/nowhere".into(), ..files }, "mesh.tls.key");
    }
}
