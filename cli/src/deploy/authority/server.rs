//! What a fleet's authority signs for its clients: the certificates that nodes show to them, and the one with
//! which `mq` shows itself to the nodes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mq_model::{config::DaemonConfig, user::FLEET_ADMIN};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData};
use serde::{Deserialize, Serialize};

use super::{
    Authority, Issued, NODE_DAYS, PublicKey, Signed, days_after, dns_name, fingerprint, generate, is_due,
    issued, json, limit, note, read, signing, write_private,
};
use crate::failure::Outcome;

/// The files with which a client shows itself to a fleet, and believes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The files of the administrator of the fleet in this directory.
pub fn admin_files(directory: &Path) -> Files {
    let folder = directory.join("ca");
    Files { ca: folder.join("ca.pem"), certificate: folder.join("admin.pem"), key: folder.join("admin.key") }
}

impl Authority {
    /// Writes what a node shows to clients that speak TLS, unless what is there is good for long enough, or the
    /// user has brought it; says whether it wrote something. A node that runs takes what is new by itself.
    pub fn equip_for_clients(&self, node: &DaemonConfig, state: &Path, now: Timestamp) -> Outcome<bool> {
        let Some(wish) = wish(node, state)? else { return Ok(false) };
        let signed = self.sign_for_clients(&wish, now)?;
        accept_for_clients(node, state, &self.trusted, signed.as_ref())?;
        Ok(signed.is_some())
    }

    /// What a node is to show to clients; `None`: what it has is good for long enough, or the user has brought it.
    pub fn sign_for_clients(&self, wish: &Wish, now: Timestamp) -> Outcome<Option<Signed>> {
        let name = wish.names.join(" ");
        let Some(public) = wish.public.as_ref().filter(|_| !self.is_valid(wish.held.as_ref(), &name, now))
        else {
            return Ok(None);
        };
        let mut params = CertificateParams::new(wish.names.clone()).map_err(|error| signing(&error))?;
        params.distinguished_name.push(DnType::OrganizationName, "mq");
        params.distinguished_name.push(DnType::CommonName, format!("{} of {}", wish.node, self.fleet));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.certify(params, name, public, now).map(Some)
    }

    /// Writes what the administrator of the fleet shows to its nodes, unless what is there is good for long
    /// enough; says whether it wrote something.
    pub fn equip_admin(&self, directory: &Path, now: Timestamp) -> Outcome<bool> {
        let Files { certificate, key, .. } = admin_files(directory);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, FLEET_ADMIN);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, FLEET_ADMIN, &certificate, &key, now)
    }

    /// Writes what all nodes show to clients that call them by one of these names, unless what is there is good for
    /// long enough; says whether it wrote something.
    pub fn equip_service(&self, names: Vec<String>, files: &Files, now: Timestamp) -> Outcome<bool> {
        let name = names.join(" ");
        let mut params = CertificateParams::new(names).map_err(|error| signing(&error))?;
        params.distinguished_name.push(DnType::OrganizationName, "mq");
        params.distinguished_name.push(DnType::CommonName, format!("nodes of {}", self.fleet));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, &name, &files.certificate, &files.key, now)
    }

    fn issue(
        &self,
        params: CertificateParams,
        name: &str,
        certificate: &Path,
        key: &Path,
        now: Timestamp,
    ) -> Outcome<bool> {
        if self.is_valid(held_at(certificate, key)?.as_ref(), name, now) {
            return Ok(false);
        }
        let signed = self.certify(params, name.to_owned(), &lasting_key(key)?, now)?;
        keep(certificate, &signed)?;
        Ok(true)
    }

    fn is_valid(&self, held: Option<&Issued>, name: &str, now: Timestamp) -> bool {
        let Some(issued) = held else { return false };
        let is_long = !is_due(issued, now) || issued.expires == self.expires;
        is_long && issued.name == name && self.is_ours(issued)
    }

    fn certify(
        &self,
        mut params: CertificateParams,
        name: String,
        public: &PublicKey,
        now: Timestamp,
    ) -> Outcome<Signed> {
        let expires = self.expires.min(days_after(now, NODE_DAYS)?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, now, expires)?;
        let certificate = params.signed_by(public, &self.issuer).map_err(|error| signing(&error))?.pem();
        let issued = Issued { name, expires, authority: fingerprint(&self.certificate) };
        Ok(Signed { certificate, ca: self.trusted.clone(), issued })
    }
}

/// What a node asks of the authority, for what it shows to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    node: String,
    /// What clients may call it.
    names: Vec<String>,
    /// What is known of the certificate that it has.
    held: Option<Issued>,
    /// The public half of its key; `None`: the user has brought key and certificate.
    public: Option<PublicKey>,
}

/// What a node needs for clients that speak TLS, where it runs; `None`: none of them does.
pub fn wish(node: &DaemonConfig, state: &Path) -> Outcome<Option<Wish>> {
    let Some(tls) = &node.tls else { return Ok(None) };
    let (certificate, key) = (state.join(&tls.certificate), state.join(&tls.key));
    if let Some(folder) = certificate.parent().filter(|folder| folder.starts_with(state)) {
        super::super::local::create_private(folder)?;
    }
    let public = if is_brought(node) { None } else { Some(lasting_key(&key)?) };
    let names = names(node, &node.fleet).into_iter().collect();
    Ok(Some(Wish { node: node.node.clone(), names, held: held_at(&certificate, &key)?, public }))
}

/// Puts the authority's certificate to use, and what it has signed, if it has.
pub fn accept_for_clients(node: &DaemonConfig, state: &Path, ca: &str, signed: Option<&Signed>) -> Outcome {
    let Some(tls) = &node.tls else { return Ok(()) };
    if let Some(path) = tls.fleet_ca.as_ref().map(|path| state.join(path))
        && read(&path)?.is_none_or(|found| found != ca)
    {
        write_private(&path, ca.as_bytes())?;
    }
    signed.map_or(Ok(()), |signed| keep(&state.join(&tls.certificate), signed))
}

/// The public half of a key that stays: so a node that reads its files between two of them finds a pair.
fn lasting_key(path: &Path) -> Outcome<PublicKey> {
    let pair = match read(path)?.and_then(|text| KeyPair::from_pem(&text).ok()) {
        Some(pair) => pair,
        None => {
            let pair = generate()?;
            write_private(path, pair.serialize_pem().as_bytes())?;
            pair
        }
    };
    Ok(PublicKey(pair.der_bytes().to_vec()))
}

/// What is known of a certificate; `None`: it is not there, or its key is not.
fn held_at(certificate: &Path, key: &Path) -> Outcome<Option<Issued>> {
    if certificate.is_file() && key.is_file() { issued(&note(certificate)) } else { Ok(None) }
}

fn keep(certificate: &Path, signed: &Signed) -> Outcome {
    write_private(certificate, signed.certificate.as_bytes())?;
    // Last: whoever is interrupted before it makes another certificate.
    write_private(&note(certificate), json(&signed.issued).as_bytes())
}

/// Whether the user has brought the certificate that the node shows to clients.
pub fn is_brought(node: &DaemonConfig) -> bool {
    node.tls.as_ref().is_some_and(|tls| tls.certificate.is_absolute())
}

/// What clients may call the node.
fn names(node: &DaemonConfig, fleet: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.insert(dns_name(fleet, &node.node));
    names.extend(host_name());
    for (_, listener) in node.listeners.named() {
        if !matches!(listener.host.as_str(), "0.0.0.0" | "::") {
            names.insert(listener.host.clone());
        }
    }
    names.extend(node.tls.iter().flat_map(|tls| tls.names.iter().cloned()));
    names
}

/// The name of this machine, when it is one that a certificate can have.
fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().ok()?;
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| name.to_owned())
}

/// Whether the files of the administrator are there.
pub fn has_admin(directory: &Path) -> bool {
    let Files { ca, certificate, key } = admin_files(directory);
    [ca, certificate, key].iter().all(|path| fs::metadata(path).is_ok_and(|found| found.is_file()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mq_model::config::{ListenerConfig, Tls};
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

    use super::*;

    fn node(names: &[&str]) -> DaemonConfig {
        let mut config = DaemonConfig::embedded("state");
        config.fleet = "f".into();
        config.listeners.amqps =
            Some(ListenerConfig { host: "192.0.2.7".into(), ..ListenerConfig::loopback(0) });
        config.tls = Some(Tls {
            certificate: "tls/server.pem".into(),
            key: "tls/server.key".into(),
            client_ca: None,
            client_crl: None,
            fleet_ca: Some("tls/ca.pem".into()),
            client_certificates: None,
            min_version: Default::default(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        });
        config
    }

    fn verify(state: &Path, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
        let text = |name: &str| fs::read_to_string(state.join("tls").join(name)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(text("ca.pem").as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let certificate = CertificateDer::from_pem_slice(text("server.pem").as_bytes()).unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second() as u64));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.build().unwrap().verify_server_cert(&certificate, &[], &name, &[], at).map(drop)
    }

    #[test]
    fn a_node_has_a_certificate_for_every_name_that_clients_may_call_it() {
        let place = tempfile::tempdir().unwrap();
        let now: Timestamp = "2030-05-05T12:00:00Z".parse().unwrap();
        let authority = Authority::of_fleet(place.path(), "f", now).unwrap();
        let state = place.path().join("state");
        super::super::super::local::create_private(&state).unwrap();
        let config = node(&["*.example.org"]);
        assert!(authority.equip_for_clients(&config, &state, now).unwrap());
        for name in
            ["localhost", "127.0.0.1", "::1", "192.0.2.7", "broker.example.org", "node-1.f.mq.internal"]
        {
            assert!(verify(&state, name, now).is_ok(), "{name}");
        }
        assert!(verify(&state, "example.com", now).is_err());
        let mode = fs::metadata(state.join("tls/server.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        assert!(!authority.equip_for_clients(&config, &state, now).unwrap(), "it is good for long enough");
        assert!(authority.equip_for_clients(&node(&["b.example"]), &state, now).unwrap(), "another name");
        let key = fs::read(state.join("tls/server.key")).unwrap();
        let later = days_after(now, NODE_DAYS - 100).unwrap();
        assert!(
            authority.equip_for_clients(&node(&["b.example"]), &state, later).unwrap(),
            "renewed in time"
        );
        assert!(verify(&state, "b.example", days_after(later, NODE_DAYS - 1).unwrap()).is_ok());
        assert_eq!(fs::read(state.join("tls/server.key")).unwrap(), key);
    }

    #[test]
    fn what_the_user_has_brought_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let now: Timestamp = "2030-05-05T12:00:00Z".parse().unwrap();
        let authority = Authority::of_fleet(place.path(), "f", now).unwrap();
        let mut config = node(&[]);
        let (certificate, key) = (place.path().join("own.pem"), place.path().join("own.key"));
        let tls = config.tls.as_mut().unwrap();
        (tls.certificate, tls.key) = (certificate.clone(), key.clone());
        super::super::super::local::create_private(&place.path().join("tls")).unwrap();
        assert!(!authority.equip_for_clients(&config, place.path(), now).unwrap());
        assert!(!certificate.exists() && !key.exists());
        assert!(
            place.path().join("tls/ca.pem").exists(),
            "the fleet's own authority is trusted all the same"
        );
    }

    #[test]
    fn the_administrator_has_a_certificate_of_the_fleet() {
        let place = tempfile::tempdir().unwrap();
        let now: Timestamp = "2030-05-05T12:00:00Z".parse().unwrap();
        let authority = Authority::of_fleet(place.path(), "f", now).unwrap();
        assert!(!has_admin(place.path()));
        assert!(authority.equip_admin(place.path(), now).unwrap());
        assert!(!authority.equip_admin(place.path(), now).unwrap());
        assert!(has_admin(place.path()));
        let mode = fs::metadata(admin_files(place.path()).key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
