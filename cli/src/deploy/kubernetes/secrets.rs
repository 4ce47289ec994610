//! The Secrets of a fleet whose own authority signs its certificates: made where `mq` runs, kept in the fleet's folder
//! there, and renewed long before they expire.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use mq_model::{
    config::MeshTls,
    kubernetes::{KubernetesTls, mounts},
};
use serde_json::{Value, json};

use super::Rendering;
use crate::{
    deploy::{
        authority::{Authority, Files, admin_files},
        local::create_private,
    },
    failure::{Failure, Outcome},
};

/// The folder of the files below that of the fleet.
const FOLDER: &str = "kubernetes";

/// The largest file that is read back.
const MAX_FILE: u64 = 64 << 10;

impl Rendering<'_> {
    /// The Secrets with certificates and keys. What is missing, or expires before long, is made below `directory`,
    /// the fleet's, which holds its authority.
    ///
    /// # Errors
    ///
    /// When the files cannot be read or written, or when cert-manager makes the certificates.
    pub fn secrets(&self, directory: &Path, now: Timestamp) -> Outcome<Vec<Value>> {
        if let KubernetesTls::CertManager(_) = self.target.tls() {
            let message = "the certificates of the fleet are made by cert-manager, and nobody else has them";
            return Err(Failure::usage(message)
                .help("leave target.kubernetes.tls out, or apply what `mq render kubernetes` prints"));
        }
        let folder = directory.join(FOLDER);
        create_private(&folder)?;
        let authority = Authority::of_fleet(directory, self.names.fleet(), now)?;
        let mesh =
            MeshTls { ca: "mesh-ca.pem".into(), certificate: "mesh.pem".into(), key: "mesh.key".into() };
        // Routers come and go under names that nobody knows before: one certificate is for all of them.
        authority.equip("*", &folder, &mesh, now)?;
        let mesh = mesh.below(&folder);
        let mesh = Files { ca: mesh.ca, certificate: mesh.certificate, key: mesh.key };
        let mut secrets = vec![self.tls_secret(&self.names.mesh_secret(), &mesh, authority.trusted())?];
        if self.target.server_secret.is_none() {
            let server =
                Files { ca: mesh.ca, certificate: folder.join("server.pem"), key: folder.join("server.key") };
            authority.equip_service(self.certified_names(), &server, now)?;
            secrets.push(self.tls_secret(&self.names.server_secret(), &server, authority.trusted())?);
        }
        authority.equip_admin(directory, now)?;
        let admin = admin_files(directory);
        secrets.push(self.tls_secret(&self.names.admin_secret(), &admin, authority.trusted())?);
        Ok(secrets)
    }

    fn tls_secret(&self, name: &str, files: &Files, ca: &str) -> Outcome<Value> {
        let read = |path: &Path| {
            let text = crate::context::read_bounded(path, MAX_FILE);
            text.map_err(|error| Failure::file("read", path, &error)).map(|text| STANDARD.encode(text))
        };
        let mut object = self.object("v1", "Secret", name, None);
        object.insert("type".into(), "kubernetes.io/tls".into());
        let data = json!({
            mounts::CA: STANDARD.encode(ca),
            mounts::CERTIFICATE: read(&files.certificate)?,
            mounts::KEY: read(&files.key)?,
        });
        object.insert("data".into(), data);
        Ok(object.into())
    }
}

/// The certificates that the Secrets of the fleet in this directory hold, as PEM: what nodes show to each other and, unless
/// the user has brought that, to clients.
///
/// # Errors
///
/// When they cannot be read.
pub(super) fn shown(directory: &Path, is_brought: bool) -> Outcome<Vec<String>> {
    let files = ["mesh.pem", "server.pem"].into_iter().take(if is_brought { 1 } else { 2 });
    let read = files.map(|name| {
        let path = directory.join(FOLDER).join(name);
        let text = crate::context::read_bounded(&path, MAX_FILE);
        text.map_err(|error| Failure::file("read", &path, &error))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

    use super::super::tests::{find, fleet};
    use super::*;

    fn pem(secret: &Value, key: &str) -> String {
        let text = secret["data"][key].as_str().unwrap();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    }

    fn is_for(secret: &Value, name: &str, now: Timestamp) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem(secret, "ca.crt").as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        let certificate = CertificateDer::from_pem_slice(pem(secret, "tls.crt").as_bytes()).unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second() as u64));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.build().unwrap().verify_server_cert(&certificate, &[], &name, &[], at).is_ok()
    }

    #[test]
    fn one_certificate_is_for_every_node_and_one_for_every_name_of_the_cluster() {
        let place = tempfile::tempdir().unwrap();
        let now: Timestamp = "2030-05-05T12:00:00Z".parse().unwrap();
        let fleet = fleet(json!({ "namespace": "n" }));
        let rendering = Rendering::of_fleet(&fleet).unwrap();
        let secrets = rendering.secrets(place.path(), now).unwrap();
        let mesh = find(&secrets, "Secret", "prod-mesh");
        for name in ["node-1.prod.mq.internal", "prod-router-7d9c-x2b.prod.mq.internal"] {
            assert!(is_for(mesh, name, now), "{name}");
        }
        assert!(!is_for(mesh, "node-1.other.mq.internal", now));
        let server = find(&secrets, "Secret", "prod-server");
        for name in ["prod.n.svc", "prod-node-1.prod-nodes.n.svc.cluster.local", "localhost", "127.0.0.1"] {
            assert!(is_for(server, name, now), "{name}");
        }
        assert!(pem(find(&secrets, "Secret", "prod-admin"), "tls.key").contains("PRIVATE KEY"));
        assert_eq!(rendering.secrets(place.path(), now).unwrap(), secrets, "and they are kept");
    }

    #[test]
    fn what_cert_manager_makes_is_not_made_here() {
        let place = tempfile::tempdir().unwrap();
        let fleet = fleet(json!({ "tls": { "certManager": {} } }));
        let rendering = Rendering::of_fleet(&fleet).unwrap();
        assert!(rendering.secrets(place.path(), Timestamp::UNIX_EPOCH).is_err());
        assert!(!place.path().join("ca").exists());
    }
}
