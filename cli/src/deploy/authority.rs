//! The certificate authority of a fleet and the certificates of its nodes: made on the first deployment,
//! kept where only the user can read them, renewed long before they expire.
//!
//! The authority lies in `ca/` of the fleet's directory and signs nodes, what they show to clients, and the fleet's
//! administrator. A node's files lie in `tls/`
//! of its state directory, beside a small file that says for whom and until when they are good.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use mq_model::config::{DaemonConfig, MeshTls};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use serde::{Deserialize, Serialize};

use crate::{
    context::{read_bounded, sync_parent},
    failure::{Failure, Outcome},
};

pub mod rotation;
mod server;

pub use server::{Files, Wish, accept_for_clients, admin_files, has_admin, is_brought, wish};

/// How long an authority is good.
const AUTHORITY_YEARS: i16 = 20;
/// How long the certificate of a node is good.
const NODE_DAYS: i32 = 730;
/// With fewer days left than this a certificate is renewed.
const RENEW_DAYS: i64 = 243;
/// The largest file that is read.
const MAX_FILE: u64 = 64 << 10;
/// How to do without an authority: nodes that believe another one have no links, so none may run meanwhile.
const ANEW: &str = "stop all nodes with `mq undeploy`, delete the folder `ca`, and deploy again: then every node gets a \
                    new certificate";
/// What an authority consists of: its certificate, its key, and what is known of the certificate.
const FILES: [&str; 3] = ["ca.pem", "ca.key", "ca.json"];

/// The authority of one fleet.
pub struct Authority {
    fleet: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// What is trusted, with its own certificate in front: that of another authority, too, while one takes the place
    /// of the other.
    trusted: String,
    expires: Timestamp,
}

/// What is known of a file with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// The name it is for.
    pub name: String,
    /// Until when it is good.
    pub expires: Timestamp,
    /// A fingerprint of the authority's certificate.
    pub authority: String,
}

/// The public half of a node's key: a point of the curve P-256, uncompressed (SEC 1, 2.3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey(Vec<u8>);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// What an authority gives a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed {
    /// The node's certificate, in PEM.
    pub certificate: String,
    /// Those of the authorities to trust, in PEM.
    pub ca: String,
    pub issued: Issued,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fleet", &self.fleet).field("expires", &self.expires).finish()
    }
}

/// The name in the certificate of a node.
pub fn dns_name(fleet: &str, node: &str) -> String {
    format!("{node}.{fleet}.mq.internal")
}

impl Authority {
    /// The authority below the fleet's directory, made when there is none.
    pub fn of_fleet(directory: &Path, fleet: &str, now: Timestamp) -> Outcome<Self> {
        let folder = directory.join("ca");
        rotation::recover(&folder)?;
        let [certificate, key, note] = FILES.map(|name| folder.join(name));
        match (read(&certificate)?, read(&key)?, read(&note)?) {
            (Some(certificate), Some(private), Some(issued)) => {
                let issued: Issued =
                    serde_json::from_str(&issued).map_err(|error| broken(&note, &error.to_string()))?;
                check_time(&folder, issued.expires, now)?;
                let private =
                    KeyPair::from_pem(&private).map_err(|error| broken(&key, &error.to_string()))?;
                let issuer = Issuer::new(authority_params(fleet, now, issued.expires)?, private);
                let (trusted, certificate) = (certificate.clone(), rotation::first(&certificate).to_owned());
                Ok(Self { fleet: fleet.to_owned(), issuer, certificate, trusted, expires: issued.expires })
            }
            // The folder gets its name when it is whole: nothing is missing from one that was interrupted.
            (None, None, None) => Self::create(&folder, fleet, now),
            _ => Err(broken(&folder, "a part of it is missing")),
        }
    }

    fn create(folder: &Path, fleet: &str, now: Timestamp) -> Outcome<Self> {
        let (issuer, certificate, expires) = make(folder, fleet, now)?;
        let trusted = certificate.clone();
        Ok(Self { fleet: fleet.to_owned(), issuer, certificate, trusted, expires })
    }

    /// Writes what the node called `node` needs, unless what is there is good for long enough; says whether
    /// it wrote something.
    pub fn equip(&self, node: &str, state: &Path, tls: &MeshTls, now: Timestamp) -> Outcome<bool> {
        if self.is_good(node, held(state, tls)?.as_ref(), now) {
            return trust(state, tls, &self.trusted);
        }
        let public = new_key(state, tls)?;
        accept(state, tls, &self.sign(node, &public, now)?)?;
        Ok(true)
    }

    /// Whether a node that has this certificate needs no other one.
    pub fn is_good(&self, node: &str, held: Option<&Issued>, now: Timestamp) -> bool {
        let Some(issued) = held else { return false };
        let is_long = !is_due(issued, now) || issued.expires == self.expires;
        is_long && issued.name == dns_name(&self.fleet, node) && self.is_ours(issued)
    }

    /// Whether it was signed by one of the authorities that are trusted.
    pub fn believes(&self, issued: &Issued) -> bool {
        rotation::each(&self.trusted).any(|certificate| issued.authority == fingerprint(certificate))
    }

    /// What nodes trust, and clients: certificates as PEM.
    pub fn trusted(&self) -> &str {
        &self.trusted
    }

    /// Whether this authority has signed it.
    pub fn is_ours(&self, issued: &Issued) -> bool {
        issued.authority == fingerprint(&self.certificate)
    }

    /// The certificate of the node called `node`, for the key that it has made itself.
    pub fn sign(&self, node: &str, public: &PublicKey, now: Timestamp) -> Outcome<Signed> {
        let expires = self.expires.min(days_after(now, NODE_DAYS)?);
        let name = dns_name(&self.fleet, node);
        let params = node_params(&name, now, expires)?;
        let certificate = params.signed_by(public, &self.issuer).map_err(|error| signing(&error))?.pem();
        let issued = Issued { name, expires, authority: fingerprint(&self.certificate) };
        Ok(Signed { certificate, ca: self.trusted.clone(), issued })
    }

    /// Until when the authority is good.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// A new authority in a folder, which gets its name when it is whole.
fn make(
    folder: &Path,
    fleet: &str,
    now: Timestamp,
) -> Outcome<(Issuer<'static, KeyPair>, String, Timestamp)> {
    let expires = authority_expiry(now)?;
    let params = authority_params(fleet, now, expires)?;
    let private = generate()?;
    let certificate = params.self_signed(&private).map_err(|error| signing(&error))?.pem();
    let issued = Issued { name: fleet.to_owned(), expires, authority: fingerprint(&certificate) };
    let new = folder.with_extension("new");
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file("delete", &new, &error));
        }
        _ => {}
    }
    super::local::create_private(&new)?;
    let contents = [certificate.clone(), private.serialize_pem(), json(&issued)];
    for (name, content) in FILES.iter().zip(&contents) {
        write_private(&new.join(name), content.as_bytes())?;
    }
    fs::rename(&new, folder)
        .and_then(|()| sync_parent(folder))
        .map_err(|error| Failure::file("write", folder, &error))?;
    Ok((Issuer::new(params, private), certificate, expires))
}

/// What is known of the certificate that lies at a node; `None`: there is none, or a part of it is missing.
pub fn held(state: &Path, tls: &MeshTls) -> Outcome<Option<Issued>> {
    let paths = tls.below(state);
    let is_whole = [&paths.ca, &paths.certificate, &paths.key].into_iter().all(|path| path.is_file());
    if is_whole { issued(&note(&paths.certificate)) } else { Ok(None) }
}

/// Until when the authority of the fleet in this directory is good; `None`: there is none. Of two authorities of one
/// fleet the one that is good for longer has taken the place of the other.
pub fn until(directory: &Path) -> Outcome<Option<Timestamp>> {
    let folder = directory.join("ca");
    rotation::recover(&folder)?;
    Ok(issued(&folder.join("ca.json"))?.map(|issued| issued.expires))
}

/// Tells a node whom to believe; says whether that is news.
pub fn trust(state: &Path, tls: &MeshTls, ca: &str) -> Outcome<bool> {
    let path = tls.below(state).ca;
    let is_known = read(&path)?.is_some_and(|found| found == ca);
    if !is_known {
        write_private(&path, ca.as_bytes())?;
    }
    Ok(!is_known)
}

/// The certificates that lie at a node, as PEM, but for those that the user has brought.
pub fn shown(node: &DaemonConfig, state: &Path) -> Outcome<Vec<String>> {
    let mesh = node.mesh.as_ref().map(|mesh| mesh.tls.below(state).certificate);
    let server = node.tls.as_ref().filter(|_| !is_brought(node)).map(|tls| state.join(&tls.certificate));
    let read: Outcome<Vec<Option<String>>> = mesh.iter().chain(&server).map(|path| read(path)).collect();
    Ok(read?.into_iter().flatten().collect())
}

/// Makes a key for a node, beside the one that it has, and returns its public half.
pub fn new_key(state: &Path, tls: &MeshTls) -> Outcome<PublicKey> {
    let path = unused(&tls.below(state).key);
    if let Some(folder) = path.parent() {
        super::local::create_private(folder)?;
    }
    let key = generate()?;
    write_private(&path, key.serialize_pem().as_bytes())?;
    Ok(PublicKey(key.der_bytes().to_vec()))
}

/// Puts the key that [`new_key`] made to use, with the certificate that was signed for it.
pub fn accept(state: &Path, tls: &MeshTls, signed: &Signed) -> Outcome {
    let paths = tls.below(state);
    let note = note(&paths.certificate);
    // The note goes first: whoever is interrupted between the files makes all of them again.
    match fs::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file("delete", &note, &error));
        }
        _ => {}
    }
    write_private(&paths.ca, signed.ca.as_bytes())?;
    let key = unused(&paths.key);
    fs::rename(&key, &paths.key)
        .and_then(|()| sync_parent(&paths.key))
        .map_err(|error| Failure::file("rename", &key, &error))?;
    write_private(&paths.certificate, signed.certificate.as_bytes())?;
    write_private(&note, json(&signed.issued).as_bytes())
}

/// Where a key waits for its certificate.
fn unused(key: &Path) -> PathBuf {
    key.with_extension("key.new")
}

/// Whether a certificate has little time left, or more than it was ever given: then it was made when the clock
/// was ahead, and nobody believes it yet.
fn is_due(issued: &Issued, now: Timestamp) -> bool {
    let left = issued.expires.duration_since(now);
    let days = |days: i64| jiff::SignedDuration::from_hours(24 * days);
    left < days(RENEW_DAYS) || left > days(i64::from(NODE_DAYS) + 1)
}

/// Whether an authority is good now. Its own certificate stands first among what nodes check.
fn check_time(folder: &Path, expires: Timestamp, now: Timestamp) -> Outcome {
    if expires <= now {
        return Err(broken(folder, &format!("it has expired at {expires}")));
    }
    // The day before is covered, as the certificate is.
    let day = jiff::SignedDuration::from_hours(24);
    if expires.duration_since(authority_expiry(now)?) > day {
        return Err(broken(folder, "it was made at a time that is yet to come").help(format!(
            "set the clock of this machine right; if it was wrong when the fleet was made, {ANEW}"
        )));
    }
    Ok(())
}

fn authority_expiry(now: Timestamp) -> Outcome<Timestamp> {
    let expires = now.to_zoned(TimeZone::UTC).checked_add(AUTHORITY_YEARS.years());
    let expires = expires.map_err(|error| Failure::failed(format!("cannot date a certificate: {error}")))?;
    Ok(expires.timestamp())
}

/// Where it stands what a certificate is.
fn note(certificate: &Path) -> PathBuf {
    certificate.with_extension("json")
}

fn issued(note: &Path) -> Outcome<Option<Issued>> {
    // One that cannot be understood is as good as none: the certificate is made again.
    Ok(read(note)?.and_then(|text| serde_json::from_str(&text).ok()))
}

fn authority_params(fleet: &str, now: Timestamp, expires: Timestamp) -> Outcome<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("mq fleet {fleet}"));
    // It signs nodes, and no further authority.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, now, expires)?;
    Ok(params)
}

fn node_params(name: &str, now: Timestamp, expires: Timestamp) -> Outcome<CertificateParams> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|error| signing(&error))?;
    params.distinguished_name.push(DnType::OrganizationName, "mq");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A node is server for some neighbours and client of others.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, now, expires)?;
    Ok(params)
}

fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// From the day before, since the clock of another machine may be behind, to the day of `expires`.
fn limit(params: &mut CertificateParams, now: Timestamp, expires: Timestamp) -> Outcome {
    let before = date(now)
        .yesterday()
        .map_err(|error| Failure::failed(format!("cannot date a certificate: {error}")))?;
    // A date of the calendar has a month and a day that exist, which is all this asks for.
    let day = |date: Date| {
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(before), day(date(expires)));
    Ok(())
}

fn days_after(now: Timestamp, days: i32) -> Outcome<Timestamp> {
    now.checked_add(Duration::from_secs(u64::from(days.unsigned_abs()) * 86_400))
        .map_err(|error| Failure::failed(format!("cannot date a certificate: {error}")))
}

fn generate() -> Outcome<KeyPair> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|error| Failure::failed(format!("cannot make a private key: {error}")))
}

/// FNV-1a: it tells one authority from the next, it does not protect anything.
fn fingerprint(certificate: &str) -> String {
    let hash = certificate.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn json(issued: &Issued) -> String {
    serde_json::to_string(issued).unwrap_or_default()
}

fn read(path: &Path) -> Outcome<Option<String>> {
    match read_bounded(path, MAX_FILE) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::file("read", path, &error)),
    }
}

/// Writes a file that nobody else may read, in one step.
pub fn write_private(path: &Path, content: &[u8]) -> Outcome {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_parent(path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Failure::file("write", path, &error)
    })
}

fn signing(error: &rcgen::Error) -> Failure {
    Failure::failed(format!("cannot make a certificate: {error}"))
}

fn broken(path: &Path, why: &str) -> Failure {
    Failure::failed(format!("cannot use the fleet's certificate authority in {}: {why}", path.display()))
        .help(format!("restore the folder `ca`; or {ANEW}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    fn verify(ca: &str, certificate: &str, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
        use rustls::client::danger::ServerCertVerifier;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().unsigned_abs()));
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.unwrap().verify_server_cert(&certificate, &[], &name, &[], at).map(drop)
    }

    #[test]
    fn a_node_is_believed_by_its_name_and_by_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let tls = MeshTls::default();
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        let state = directory.path().join("node-2/state");
        assert!(authority.equip("node-2", &state, &tls, now).unwrap());
        let paths = tls.below(&state);
        let (ca, certificate) =
            (fs::read_to_string(paths.ca).unwrap(), fs::read_to_string(paths.certificate).unwrap());
        verify(&ca, &certificate, "node-2.prod.mq.internal", now).unwrap();
        assert!(verify(&ca, &certificate, "node-1.prod.mq.internal", now).is_err());
        assert!(verify(&ca, &certificate, "node-2.prod.mq.internal", now + 3 * YEAR).is_err());
    }

    #[test]
    fn an_authority_that_was_kept_signs_what_its_certificate_covers() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        drop(Authority::of_fleet(directory.path(), "prod", now).unwrap());
        let kept = Authority::of_fleet(directory.path(), "prod", now + YEAR).unwrap();
        let state = directory.path().join("node-1/state");
        kept.equip("node-1", &state, &MeshTls::default(), now + YEAR).unwrap();
        let paths = MeshTls::default().below(&state);
        let ca = fs::read_to_string(directory.path().join("ca/ca.pem")).unwrap();
        let certificate = fs::read_to_string(paths.certificate).unwrap();
        verify(&ca, &certificate, "node-1.prod.mq.internal", now + YEAR).unwrap();
    }

    #[test]
    fn a_certificate_is_made_once_and_again_before_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let tls = MeshTls::default();
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        let is_due = |now| !authority.is_good("node-1", held(directory.path(), &tls).unwrap().as_ref(), now);
        assert!(is_due(now));
        assert!(authority.equip("node-1", directory.path(), &tls, now).unwrap());
        assert!(!authority.equip("node-1", directory.path(), &tls, now).unwrap());
        assert!(!is_due(now + YEAR));
        let late = now + YEAR + YEAR / 2;
        assert!(is_due(late));
        assert!(authority.equip("node-1", directory.path(), &tls, late).unwrap());
        assert!(authority.equip("node-2", directory.path(), &tls, late).unwrap(), "another name");
    }

    #[test]
    fn nobody_else_can_read_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        authority.equip("node-1", directory.path(), &MeshTls::default(), now).unwrap();
        for folder in ["ca", "tls"] {
            for entry in fs::read_dir(directory.path().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
        }
    }

    #[test]
    fn an_authority_with_a_part_missing_is_not_replaced_in_silence() {
        for part in FILES {
            let directory = tempfile::tempdir().unwrap();
            let now = Timestamp::now();
            drop(Authority::of_fleet(directory.path(), "prod", now).unwrap());
            fs::remove_file(directory.path().join("ca").join(part)).unwrap();
            let failure = Authority::of_fleet(directory.path(), "prod", now).unwrap_err();
            assert!(failure.message.contains("missing"), "{part}: {failure}");
        }
    }

    #[test]
    fn an_authority_that_was_interrupted_while_it_was_made_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        fs::create_dir(directory.path().join("ca.new")).unwrap();
        fs::write(directory.path().join("ca.new/ca.key"), "half a k").unwrap();
        drop(Authority::of_fleet(directory.path(), "prod", now).unwrap());
        let made = fs::read(directory.path().join("ca/ca.pem")).unwrap();
        drop(Authority::of_fleet(directory.path(), "prod", now).unwrap());
        assert_eq!(fs::read(directory.path().join("ca/ca.pem")).unwrap(), made, "once");
        assert!(!directory.path().join("ca.new").exists());
    }

    #[test]
    fn what_was_made_when_the_clock_was_ahead_is_not_taken_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let tls = MeshTls::default();
        let ahead = now + 10 * YEAR;
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        assert!(authority.equip("node-1", directory.path(), &tls, ahead).unwrap());
        assert!(authority.equip("node-1", directory.path(), &tls, now).unwrap());
        assert!(!authority.equip("node-1", directory.path(), &tls, now).unwrap());

        let directory = tempfile::tempdir().unwrap();
        drop(Authority::of_fleet(directory.path(), "prod", ahead).unwrap());
        let failure = Authority::of_fleet(directory.path(), "prod", now).unwrap_err();
        assert!(failure.message.contains("yet to come"), "{failure}");
        assert!(failure.help.unwrap().contains("clock"));
    }

    #[test]
    fn at_the_end_of_an_authority_no_certificate_is_renewed_in_vain() {
        let directory = tempfile::tempdir().unwrap();
        let tls = MeshTls::default();
        let now = Timestamp::now();
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        let late = authority.expires() - YEAR / 4;
        assert!(authority.equip("node-1", directory.path(), &tls, late).unwrap());
        let held = held(directory.path(), &tls).unwrap().unwrap();
        assert_eq!(held.expires, authority.expires(), "no longer than the authority itself");
        assert!(!authority.equip("node-1", directory.path(), &tls, late).unwrap());
    }

    #[test]
    fn an_authority_that_has_expired_signs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::of_fleet(directory.path(), "prod", now).unwrap();
        let failure = Authority::of_fleet(directory.path(), "prod", authority.expires()).unwrap_err();
        assert!(failure.message.contains("has expired"), "{failure}");
    }
}
