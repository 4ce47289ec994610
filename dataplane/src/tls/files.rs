//! The files with which a node proves to clients who it is, and with which it checks them.
//!
//! They are looked at every few seconds. Those that have changed count for new connections; files that are of
//! no use change nothing, are warned of once, and counted.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use mq_model::admin::NodeCertificate;
use mq_model::config::{ClientCertificates, Tls, TlsVersion};
use rustls::client::verify_server_name;
use rustls::crypto::GetRandomFailed;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ProducesTickets, WebPkiClientVerifier};
use rustls::ticketer::TicketRotator;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::certificate::{expiry, fingerprint};
use super::{Revocations, Secured, Session};

/// Bytes of a file, at most: a system's whole list of authorities has a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Bytes of the file with lists of revoked certificates, at most: some 400,000 of them.
const MAX_LISTS: u64 = 16 << 20;

/// How long before its end a certificate is warned of.
const WARN_AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Seconds after which other keys make the tickets of clients that may have shown a certificate: a ticket is good
/// for an hour at most. A client whose certificate is replaced before it ends comes with the new one by then.
const CERTIFIED_TICKETS: u32 = 30 * 60;

/// Why a node cannot prove to clients who it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    #[error("cannot read {what} in {}: {reason}; set tls.{setting} to a file that holds it as PEM", path.display())]
    File { what: &'static str, setting: &'static str, path: PathBuf, reason: String },
    #[error(
        "cannot use the certificate in {} with the key in {}: {reason}; \
         set tls.certificate and tls.key to files that belong together",
        certificate.display(),
        key.display()
    )]
    Pair { certificate: PathBuf, key: PathBuf, reason: String },
    #[error(
        "cannot check the certificates of clients: {0}; correct tls.client-ca, or set tls.client-certificates to none"
    )]
    Clients(String),
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// What a listener's clients speak above TLS: its name among those of the application layer (RFC 7301). A
/// client that names others alone has come to the wrong port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Amqp,
    Mqtt,
    Http,
}

impl Speaks {
    fn protocol_name(self) -> &'static [u8] {
        match self {
            Self::Amqp => b"amqp",
            Self::Mqtt => b"mqtt",
            Self::Http => b"http/1.1",
        }
    }
}

/// What the connections of a listener begin with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Terms {
    config: Arc<ServerConfig>,
    verifiers: Verifiers,
    /// A client that does not begin with TLS speaks without.
    pub(crate) is_optional: bool,
}

impl Terms {
    /// A connection that has said nothing yet.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn begin(&self) -> Result<Session, rustls::Error> {
        let tls = ServerConnection::new(self.config.clone())?;
        Ok(Session::new(Secured::new(tls.into()), self.verifiers.clone()))
    }
}

/// Who looks at the certificates of clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Verifiers {
    /// Says which are taken; `None`: clients show none.
    pub(super) clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Tells those of the fleet's own authority from others.
    pub(super) fleet: Option<Arc<dyn ClientCertVerifier>>,
}

/// What the files hold.
#[derive(Debug)]
struct Loaded {
    configs: [Arc<ServerConfig>; 3],
    verifiers: Verifiers,
    certificate: CertificateDer<'static>,
    expires: Timestamp,
    /// The fingerprints of the fleet's authority.
    authorities: Vec<String>,
    revocations: Arc<Revocations>,
}

/// What tells a file from the one that was in its place: device, inode, length, and when it was written.
pub(crate) type Mark = Option<(u64, u64, u64, i64, i64)>;

/// The files of a node, as they are now.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Tls,
    loaded: RwLock<Arc<Loaded>>,
    marks: Mutex<Vec<Mark>>,
    failures: AtomicU64,
}

impl Certificates {
    /// Reads the files; relative ones are below `state_dir`.
    ///
    /// # Errors
    /// See [`CertificateError`]. A certificate that is not good now is none: the clock may be wrong.
    pub(crate) fn load(tls: &Tls, state_dir: &Path) -> Result<Self, CertificateError> {
        let files = below(tls, state_dir);
        // Before the files are read: a change in between is found at the next look.
        let marks = marks(files.files().map(|(_, path)| path));
        let loaded = RwLock::new(Arc::new(Loaded::read(&files)?));
        let certificates = Self { files, loaded, marks: Mutex::new(marks), failures: AtomicU64::new(0) };
        certificates.warn_of_names();
        certificates.warn_of_end(Timestamp::now());
        Ok(certificates)
    }

    /// What a connection begins with that is accepted now.
    pub(crate) fn terms(&self, speaks: Speaks, is_optional: bool) -> Terms {
        let loaded = self.loaded();
        let [amqp, mqtt, http] = &loaded.configs;
        let config = match speaks {
            Speaks::Amqp => amqp,
            Speaks::Mqtt => mqtt,
            Speaks::Http => http,
        };
        Terms { config: config.clone(), verifiers: loaded.verifiers.clone(), is_optional }
    }

    /// Reads the files again when one of them has changed.
    pub(crate) fn look(&self) {
        let found = marks(self.files.files().map(|(_, path)| path));
        if *self.marks.lock().unwrap_or_else(PoisonError::into_inner) != found {
            self.reload();
        }
    }

    /// Reads the files again. The tickets of before are good no more.
    pub(crate) fn reload(&self) {
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) =
            marks(self.files.files().map(|(_, path)| path));
        match Loaded::read(&self.files) {
            Ok(loaded) => {
                tracing::info!(
                    path = %self.files.certificate.display(),
                    expires = %loaded.expires,
                    "new connections get other certificates"
                );
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                self.warn_of_names();
                self.warn_of_end(Timestamp::now());
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the files of TLS have changed and are of no use; those before stay in use");
            }
        }
    }

    /// Warns when the certificate is not for all names of the node.
    fn warn_of_names(&self) {
        let loaded = self.loaded();
        let Ok(certificate) = ParsedCertificate::try_from(&loaded.certificate) else { return };
        for name in &self.files.names {
            // A name that stands for others has to be good for one of them.
            let one = name.strip_prefix("*.").map(|rest| format!("any.{rest}"));
            let server = ServerName::try_from(one.as_deref().unwrap_or(name));
            if !server.is_ok_and(|server| verify_server_name(&certificate, &server).is_ok()) {
                let path = self.files.certificate.display();
                tracing::warn!(%path, name, "the certificate is not for a name in tls.names: clients refuse it");
            }
        }
    }

    /// Warns when the certificate is not good for long.
    pub(crate) fn warn_of_end(&self, now: Timestamp) {
        let (expires, path) = (self.expires(), self.files.certificate.display());
        let advice = "replace the file, or have `mq deploy` do so";
        if expires <= now {
            tracing::error!(%path, %expires, advice, "the certificate has expired: clients refuse the node");
        } else if expires.duration_since(now) < WARN_AHEAD {
            tracing::warn!(%path, %expires, advice, "the certificate expires soon");
        }
        if let (Some(path), Some(expires)) = (&self.files.client_crl, self.loaded().revocations.expires)
            && expires <= now
        {
            let (path, advice) =
                (path.display(), "replace the file with what the authority has issued since");
            tracing::warn!(%path, %expires, advice, "a list of revoked certificates is out of date and counts on");
        }
    }

    /// How the admin API shows it.
    pub(crate) fn view(&self) -> NodeCertificate {
        let loaded = self.loaded();
        NodeCertificate {
            expires: loaded.expires,
            reload_failures: self.failures.load(Ordering::Relaxed),
            fingerprint: fingerprint(&loaded.certificate),
            authorities: loaded.authorities.clone(),
            revocations_expire: loaded.revocations.expires,
        }
    }

    /// The certificates of clients that are good no more, as of now.
    pub(crate) fn revocations(&self) -> Arc<Revocations> {
        self.loaded().revocations.clone()
    }

    /// Until when the certificate is good.
    fn expires(&self) -> Timestamp {
        self.loaded().expires
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Loaded {
    fn read(files: &Tls) -> Result<Self, CertificateError> {
        let chain = certificates("the certificate", "certificate", &files.certificate)?;
        let unreadable_key = |reason: String| unreadable("the private key", "key", &files.key, reason);
        let key = bounded("the private key", "key", &files.key, MAX_FILE)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unreadable_key(error.to_string()))?;
        let first = chain.first().cloned().and_then(|first| expiry(&first).ok().map(|end| (first, end)));
        let (certificate, expires) = first.ok_or_else(|| {
            unreadable("the certificate", "certificate", &files.certificate, "it is none of X.509".to_owned())
        })?;
        let provider = Arc::new(ring::default_provider());
        let versions: &[_] = match files.min_version {
            TlsVersion::Tls12 => &[&TLS12, &TLS13],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let revocations = Arc::new(revocations(files)?);
        let clients = client_verifier(files, &revocations)?;
        let builder = match &clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| CertificateError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            reason: error.to_string(),
        })?;
        // A client that comes back shows nothing again: its ticket is good under keys that only this process
        // knows, and that go with the files. What it has shown is looked at again nevertheless.
        config.ticketer = match &clients {
            Some(_) => Arc::new(TicketRotator::new(CERTIFIED_TICKETS, ticketer)?),
            None => ring::Ticketer::new()?,
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        let configs = [Speaks::Amqp, Speaks::Mqtt, Speaks::Http].map(|speaks| {
            let mut config = config.clone();
            config.alpn_protocols = vec![speaks.protocol_name().to_vec()];
            Arc::new(config)
        });
        let fleet = match &files.fleet_ca {
            Some(path) => Some(verifier(roots([("fleet-ca", path)])?, &revocations, false)?),
            None => None,
        };
        let authorities = match &files.fleet_ca {
            Some(path) => {
                certificates("the authorities", "fleet-ca", path)?.iter().map(fingerprint).collect()
            }
            None => Vec::new(),
        };
        let verifiers = Verifiers { clients, fleet };
        Ok(Self { configs, verifiers, certificate, expires, authorities, revocations })
    }
}

/// Keys for tickets, which somebody else replaces in time.
fn ticketer() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    Ok(Box::new(Tickets(ring::Ticketer::new().map_err(|_| GetRandomFailed)?)))
}

/// Tickets under the keys of another one, for a shorter time.
#[derive(Debug)]
struct Tickets(Arc<dyn ProducesTickets>);

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        2 * CERTIFIED_TICKETS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Who checks the certificates of clients; `None`: they show none.
fn client_verifier(
    files: &Tls,
    revocations: &Revocations,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, CertificateError> {
    let is_required = match files.client_certificates() {
        ClientCertificates::None => return Ok(None),
        ClientCertificates::Request => false,
        ClientCertificates::Require => true,
    };
    let authorities = files.files().filter(|(field, _)| field.ends_with("-ca"));
    verifier(roots(authorities)?, revocations, !is_required).map(Some)
}

fn verifier(
    roots: RootCertStore,
    revocations: &Revocations,
    is_optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(revocations.lists.iter().cloned())
        // An authority need not have a list, and the fleet's own has none. What was revoked stays revoked in a list
        // that is out of date, and to refuse everybody then would make it a switch for whoever can delay it.
        .allow_unknown_revocation_status();
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| CertificateError::Clients(error.to_string()))
}

/// The certificates that are revoked; none without a file.
fn revocations(files: &Tls) -> Result<Revocations, CertificateError> {
    let Some(path) = &files.client_crl else { return Ok(Revocations::default()) };
    let (what, setting) = ("the lists of revoked certificates", "client-crl");
    let text = bounded(what, setting, path, MAX_LISTS)?;
    Revocations::parse(&text).map_err(|reason| unreadable(what, setting, path, reason))
}

fn roots<'a>(
    files: impl IntoIterator<Item = (&'static str, &'a PathBuf)>,
) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for (setting, path) in files {
        for certificate in certificates("the authorities", setting, path)? {
            let failed =
                |error: rustls::Error| unreadable("the authorities", setting, path, error.to_string());
            roots.add(certificate).map_err(failed)?;
        }
    }
    Ok(roots)
}

fn certificates(
    what: &'static str,
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = bounded(what, setting, path, MAX_FILE)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|error| unreadable(what, setting, path, error.to_string()))?;
    if read.is_empty() {
        return Err(unreadable(what, setting, path, "there is no certificate".to_owned()));
    }
    Ok(read)
}

fn bounded(
    what: &'static str,
    setting: &'static str,
    path: &Path,
    most: u64,
) -> Result<Vec<u8>, CertificateError> {
    let failed = |reason: String| unreadable(what, setting, path, reason);
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(most + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(failed(format!("it has more than {most} bytes")));
    }
    Ok(text)
}

fn unreadable(what: &'static str, setting: &'static str, path: &Path, reason: String) -> CertificateError {
    CertificateError::File { what, setting, path: path.to_owned(), reason }
}

fn below(tls: &Tls, state_dir: &Path) -> Tls {
    Tls {
        certificate: state_dir.join(&tls.certificate),
        key: state_dir.join(&tls.key),
        client_ca: tls.client_ca.as_ref().map(|path| state_dir.join(path)),
        client_crl: tls.client_crl.as_ref().map(|path| state_dir.join(path)),
        fleet_ca: tls.fleet_ca.as_ref().map(|path| state_dir.join(path)),
        ..tls.clone()
    }
}

/// The files that are there now.
pub(crate) fn marks<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Mark> {
    paths.into_iter().map(|path| mark(path)).collect()
}

/// The file that is there now; `None`: there is none.
pub(crate) fn mark(path: &Path) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
