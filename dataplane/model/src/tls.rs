//! TLS between clients and nodes: which listeners speak it, and with which files; the section `tls` of a
//! daemon's configuration, and of a fleet.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kubernetes;
use crate::manifest::FleetSpec;

/// Names and IP addresses that a fleet may add to the certificates of its nodes.
pub const MAX_NAMES: usize = 64;

/// Whether the clients of a listener speak TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerTls {
    /// None does.
    #[default]
    Never,
    /// Each as it likes: the first byte that it sends tells.
    Optional,
    /// All do; others are closed.
    Always,
}

impl ListenerTls {
    /// Whether no client speaks TLS.
    pub fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// They are not asked for one.
    None,
    /// They are asked; one without is let in, one with a certificate of no use is not.
    Request,
    /// None is let in without.
    Require,
}

/// The oldest version of TLS that clients may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2, with forward secrecy and authenticated ciphers alone.
    #[default]
    #[serde(rename = "tls-1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "tls-1.3")]
    Tls13,
}

/// What a node shows to clients, and what it asks of them. Files are PEM; a relative path starts at
/// `state-dir`. A file that is replaced counts for new connections a few seconds later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// The certificate of the node, with those between it and an authority that clients trust.
    #[schemars(length(min = 1, max = 4_096))]
    pub certificate: PathBuf,
    /// The private key of the certificate. Nobody but the node's user may read it.
    #[schemars(length(min = 1, max = 4_096))]
    pub key: PathBuf,
    /// The certificates of the authorities that sign those of clients. Default: there are none.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Lists of certificates that their authorities have revoked (RFC 5280, section 5), any number of them. Whoever
    /// shows one of those is refused, and a connection that has shown one is closed; certificates of authorities
    /// without a list are looked at without one, and a list that is out of date counts on, with a warning. Default:
    /// there are none.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<PathBuf>,
    /// The certificate of the fleet's own authority, which signs those of its administrators. Default: there
    /// is none.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_ca: Option<PathBuf>,
    /// Whether clients show a certificate. Default: `request` with `client-ca` or `fleet-ca`, `none` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// The oldest version that clients may speak. Default: `tls-1.2`.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "tls-1.2"))]
    pub min_version: TlsVersion,
    /// Names and IP addresses by which clients reach the node, at most 64: the node warns when its certificate
    /// is not for one of them. A name that begins with `*.` stands for every name in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// What the nodes of a fleet show to clients, and what they ask of them; absent fields mean the daemon's
/// default. Files are PEM on the machine of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetTls {
    /// The certificate of all nodes, with those between it and an authority that clients trust: an absolute
    /// path. Default: `mq deploy` makes one for each node, signed by the fleet's own authority.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The private key of `certificate`: an absolute path.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The certificates of the authorities that sign those of clients, beside the fleet's own: an absolute
    /// path. Default: there are none.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<String>,
    /// Lists of certificates of clients that their authorities have revoked, any number of them: an absolute path.
    /// Whoever shows one of those is refused, and a connection that has shown one is closed. Default: there are none.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<String>,
    /// Whether clients show a certificate. Default: `request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "request"))]
    pub client_certificates: Option<ClientCertificates>,
    /// The oldest version that clients may speak. Default: `tls-1.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "tls-1.2"))]
    pub min_version: Option<TlsVersion>,
    /// Names and IP addresses by which clients reach the nodes, at most 64, such as `broker.example.org`,
    /// `*.example.org` or `192.0.2.7`. The certificates that `mq deploy` makes are for them, for the addresses
    /// of the listeners, for the machine's name and for `localhost`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Tls {
    /// The section of a node of a fleet; `None` when no listener speaks TLS.
    pub(crate) fn from_fleet(spec: &FleetSpec, number: u32, has_listener: bool) -> Option<Self> {
        let fleet = &spec.tls;
        // On another machine it is called what that is called.
        let host = spec.target.host_of(number).map(|host| host.address.clone());
        let is_new = |name: &String| !fleet.names.contains(name);
        let tls = Self {
            certificate: fleet.certificate.as_deref().unwrap_or("tls/server.pem").into(),
            key: fleet.key.as_deref().unwrap_or("tls/server.key").into(),
            client_ca: fleet.client_ca.as_ref().map(PathBuf::from),
            client_crl: fleet.client_crl.as_ref().map(PathBuf::from),
            fleet_ca: Some("tls/ca.pem".into()),
            client_certificates: fleet.client_certificates,
            min_version: fleet.min_version.unwrap_or_default(),
            names: fleet.names.iter().cloned().chain(host.filter(is_new)).collect(),
        };
        let tls = match spec.target.kubernetes() {
            Some(target) => kubernetes::server_tls(tls, target),
            None => tls,
        };
        has_listener.then_some(tls)
    }

    /// Whether clients show a certificate.
    pub fn client_certificates(&self) -> ClientCertificates {
        let has_ca = self.client_ca.is_some() || self.fleet_ca.is_some();
        let default = if has_ca { ClientCertificates::Request } else { ClientCertificates::None };
        self.client_certificates.unwrap_or(default)
    }

    /// Each file with the field that names it.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let optional = [
            ("client-ca", self.client_ca.as_ref()),
            ("client-crl", self.client_crl.as_ref()),
            ("fleet-ca", self.fleet_ca.as_ref()),
        ];
        [("certificate", &self.certificate), ("key", &self.key)]
            .into_iter()
            .chain(optional.into_iter().filter_map(|(field, path)| Some((field, path?))))
    }
}

impl FleetTls {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
