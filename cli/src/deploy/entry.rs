//! With what whoever owns a node gets into it, whatever its clients have to say of themselves: the token that the
//! node has written into its state directory, and the certificates there by which the node is known.

use std::path::{Path, PathBuf};

use mq_model::{
    Dataplane, Secret,
    admin::{Listener, OWNER_TOKEN_FILE, Protocol, Runtime},
    config::{DaemonConfig, ListenerTls},
    user::FLEET_ADMIN,
};
use serde::{Deserialize, Serialize};

use crate::{
    client::{admin::Admin, tls::Trust},
    context::read_bounded,
    deploy::authority::{admin_files, has_admin},
    failure::{Failure, Outcome},
    settings::{Credentials, Endpoint, Scheme, host, http_url, listener_url, peer_url},
};

/// The largest token or file with certificates that is read.
const MAX_FILE: u64 = 64 << 10;

/// What a node gives to those who can read its state directory. It is good until the node starts again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `None`: the node has written none.
    #[serde(serialize_with = "exposed")]
    token: Option<Secret>,
    /// The authority of the fleet, as PEM.
    ca: Option<String>,
    /// The certificate that the node shows, as PEM.
    shown: Option<String>,
    /// A certificate and its key, which the node accepts of its clients.
    #[serde(skip)]
    identity: Option<(PathBuf, PathBuf)>,
    /// Whether that certificate logs in to messaging, where the node speaks TLS.
    #[serde(skip)]
    is_let_in: bool,
}

impl Entry {
    /// What lies in the state directory of a node that runs like this. What cannot be read is left out: the node
    /// says what is missing.
    pub fn of_node(
        state: &Path,
        runtime: Option<&Runtime>,
        config: impl FnOnce() -> Option<DaemonConfig>,
    ) -> Self {
        let speaks_tls = runtime.is_some_and(|runtime| {
            runtime.listeners.iter().any(|listener| listener.tls != ListenerTls::Never)
        });
        let config = if speaks_tls { config() } else { None };
        let own = config.as_ref().and_then(|config| config.mesh.as_ref()).map(|mesh| mesh.tls.below(state));
        let tls = config.as_ref().and_then(|config| config.tls.as_ref());
        let text = |path: &Path| read_bounded(&state.join(path), MAX_FILE).ok();
        Self {
            token: token(state),
            ca: tls.and_then(|tls| text(tls.fleet_ca.as_ref()?)),
            shown: tls.and_then(|tls| text(&tls.certificate)),
            identity: own.map(|own| (own.certificate, own.key)),
            is_let_in: false,
        }
    }

    /// The same where the fleet's administrator has a certificate, in the fleet's directory.
    #[must_use]
    pub fn of_administrator(self, directory: &Path) -> Self {
        let files = has_admin(directory).then(|| admin_files(directory));
        let identity = files.map(|files| (files.certificate, files.key));
        // What was read of the node may be older.
        let ca = read_bounded(&admin_files(directory).ca, MAX_FILE).ok();
        Self { identity: identity.or(self.identity), ca: ca.or(self.ca), ..self }
    }

    /// The same where nobody here has a token of the node, and what it shows to clients the fleet's authority has signed:
    /// its administrator logs in with his certificate.
    #[must_use]
    pub fn by_certificate(self) -> Self {
        Self { is_let_in: self.identity.is_some(), ..self }
    }

    /// The admin API of the node.
    pub fn admin(&self, runtime: &Runtime) -> Outcome<Admin> {
        let Some(url) = listener_url(runtime, Protocol::Http) else {
            return Err(Failure::failed(format!("the node `{}` has no admin API", runtime.node)));
        };
        let admin = Admin::trusting(http_url(&url)?, &self.trust())?;
        Ok(match &self.token {
            Some(token) => admin.bearing(token.clone()),
            None => admin,
        })
    }

    /// Where the node serves AMQP, for its owner.
    pub fn amqp(&self, runtime: &Runtime) -> Option<Endpoint> {
        let is_secure = |listener: &&Listener| listener.tls == ListenerTls::Always;
        let secure = Runtime {
            listeners: runtime.listeners.iter().filter(is_secure).cloned().collect(),
            ..runtime.clone()
        };
        let certified = listener_url(&secure, Protocol::Amqp).filter(|_| self.is_let_in);
        let credentials = match (&self.token, &certified) {
            (Some(token), _) => owner(token),
            (None, Some(_)) => Credentials::Certificate,
            (None, None) => Credentials::Anonymous,
        };
        let url = certified.or_else(|| listener_url(runtime, Protocol::Amqp))?;
        let url = peer_url(&url, &[Scheme::Amqp, Scheme::Amqps]).ok()?;
        let scheme = if url.scheme() == Scheme::Amqps.name() { Scheme::Amqps } else { Scheme::Amqp };
        Some(Endpoint {
            scheme,
            host: host(&url),
            port: url.port().unwrap_or_else(|| scheme.port()),
            credentials,
            trust: self.trust(),
            address: String::new(),
            space: None,
            is_deployed: true,
            dataplane: Dataplane::default(),
        })
    }

    fn trust(&self) -> Trust {
        let identity = self.identity.clone();
        Trust { fleet: self.ca.clone(), shown: self.shown.clone(), identity, ..Trust::default() }
    }
}

/// The owner of a node as a client of AMQP and MQTT.
pub fn owner(token: &Secret) -> Credentials {
    Credentials::Scram { user: FLEET_ADMIN.to_owned(), password: token.expose().to_owned() }
}

/// The token in a node's state directory, when there is one that can be read.
pub fn token(state: &Path) -> Option<Secret> {
    let text = read_bounded(&state.join(OWNER_TOKEN_FILE), MAX_FILE).ok()?;
    bearable(&text)
}

/// The text as a token, when it can be one.
pub fn bearable(text: &str) -> Option<Secret> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret::new(text))
}

fn exposed<S: serde::Serializer>(token: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    // To the one who asks over `ssh`, who could read the file as well.
    token.as_ref().map(Secret::expose).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn runtime(tls: ListenerTls) -> Runtime {
        let listener =
            |protocol, port| Listener { name: String::new(), protocol, host: "0.0.0.0".into(), port, tls };
        Runtime {
            node: "node-1".into(),
            fleet: "f".into(),
            pid: 1,
            version: String::new(),
            config_hash: String::new(),
            listeners: vec![listener(Protocol::Amqp, 5671), listener(Protocol::Http, 8443)],
        }
    }

    #[test]
    fn the_token_is_in_no_debug_and_crosses_to_whoever_asks() {
        let state = tempfile::tempdir().unwrap();
        assert!(token(state.path()).is_none());
        fs::write(state.path().join(OWNER_TOKEN_FILE), "s3cret\n").unwrap();
        let entry = Entry::of_node(state.path(), Some(&runtime(ListenerTls::Never)), || None);
        assert!(!format!("{entry:?}").contains("s3cret"));
        let crossed: Entry = serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap();
        let endpoint = crossed.amqp(&runtime(ListenerTls::Never)).unwrap();
        assert_eq!((endpoint.scheme, endpoint.port), (Scheme::Amqp, 5671));
        let Credentials::Scram { user, password } = endpoint.credentials else { panic!("{endpoint:?}") };
        assert_eq!((user.as_str(), password.as_str()), ("mq-admin", "s3cret"));
    }

    #[test]
    fn an_administrator_without_a_token_logs_in_by_his_certificate_where_there_is_tls() {
        let identity = Some(("admin.pem".into(), "admin.key".into()));
        let entry = Entry { identity, ..Entry::default() }.by_certificate();
        let secure = entry.amqp(&runtime(ListenerTls::Always)).unwrap();
        assert_eq!((secure.scheme, secure.credentials), (Scheme::Amqps, Credentials::Certificate));
        for plain in [ListenerTls::Never, ListenerTls::Optional] {
            let plain = entry.amqp(&runtime(plain)).unwrap();
            assert_eq!((plain.scheme, plain.credentials), (Scheme::Amqp, Credentials::Anonymous));
        }
        let nobody = Entry::default().by_certificate().amqp(&runtime(ListenerTls::Always)).unwrap();
        assert_eq!(nobody.credentials, Credentials::Anonymous);
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        for text in ["", " \n", "a b", "a\nb", "\u{e9}"] {
            assert!(bearable(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_node_with_tls_alone_is_reached_with_what_lies_there() {
        let state = tempfile::tempdir().unwrap();
        let config = || {
            let mut config = DaemonConfig::embedded("state");
            config.tls = Some(mq_model::config::Tls {
                certificate: "tls/server.pem".into(),
                key: "tls/server.key".into(),
                client_ca: None,
                client_crl: None,
                fleet_ca: Some("tls/ca.pem".into()),
                client_certificates: None,
                min_version: Default::default(),
                names: Vec::new(),
            });
            Some(config)
        };
        fs::create_dir(state.path().join("tls")).unwrap();
        fs::write(state.path().join("tls/server.pem"), "shown").unwrap();
        let entry = Entry::of_node(state.path(), Some(&runtime(ListenerTls::Always)), config);
        let endpoint = entry.amqp(&runtime(ListenerTls::Always)).unwrap();
        assert_eq!((endpoint.scheme, endpoint.host.as_str()), (Scheme::Amqps, "127.0.0.1"));
        assert_eq!((endpoint.trust.shown.as_deref(), endpoint.trust.fleet), (Some("shown"), None));
    }
}
