//! Connectors: connections that a fleet opens to other brokers, and what goes to and fro over them.
//!
//! A document holds no secret: password and private key are set by themselves, and nothing gives them back.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{API_VERSION, API_VERSION_SHORT, Metadata};
use crate::names::shown;
use crate::secret::Secret;
use crate::validate::is_host;

/// The `kind` of a [`Connector`].
pub const CONNECTOR_KIND: &str = "Connector";

/// The most servers of one connector.
pub const MAX_CONNECTOR_URLS: usize = 16;

/// The most routes of one connector in one direction.
pub const MAX_CONNECTOR_ROUTES: usize = 64;

/// The longest address on the other side, in bytes.
pub const MAX_REMOTE_ADDRESS: usize = 1_024;

/// The longest certificates or key of a connector, in bytes of PEM.
pub const MAX_CONNECTOR_PEM: usize = 64 << 10;

/// A connection that the fleet opens to another broker by AMQP 1.0. One node at a time has it; when that goes,
/// another one takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connector {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Connector`.
    #[schemars(extend("const" = CONNECTOR_KIND))]
    pub kind: String,
    /// Name, address space and labels. The name has 1 to 63 of `a` to `z`, `0` to `9` and `-`.
    pub metadata: Metadata,
    /// Where to connect, and what for.
    pub spec: ConnectorSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ConnectorStatus>,
}

/// Where a connector connects, and what for. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectorSpec {
    /// The servers, `amqp://HOST[:PORT]` or `amqps://HOST[:PORT]`: tried one after the other until one takes the
    /// connection. The port is 5672, or 5671 with TLS. 1 to 16.
    #[schemars(required, length(min = 1, max = 16))]
    pub urls: Vec<String>,
    /// Whether the connection is kept closed.
    #[schemars(extend("default" = false))]
    #[serde(skip_serializing_if = "is_false")]
    pub paused: bool,
    /// The name to log in with. Its password is set by itself, and sent as it is over TLS or to this machine alone;
    /// elsewhere the server has to know SCRAM. Default: the certificate, or no name at all.
    #[schemars(length(min = 1, max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The host that the server is asked for in `open` and SASL, such as `vhost:NAME` of RabbitMQ. Default: the
    /// host of the URL.
    #[schemars(length(min = 1, max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<String>,
    /// How servers with TLS are known, and what is shown to them.
    #[serde(skip_serializing_if = "ConnectorTls::is_empty")]
    pub tls: ConnectorTls,
    /// What comes: from addresses of the server to addresses of the space. At most 64.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receive: Vec<ConnectorRoute>,
    /// What goes: from addresses of the space to addresses of the server. At most 64.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<ConnectorRoute>,
}

/// TLS of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectorTls {
    /// The authorities of the server's certificate, as PEM. Default: those that the node's system trusts.
    #[schemars(length(max = 65_536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name that the server's certificate has. Default: the host of the URL.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The certificate that is shown to the server, with those between it and its authority, as PEM. Its private
    /// key is set by itself.
    #[schemars(length(max = 65_536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// A way that messages take, each settled at its beginning with what came of it at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectorRoute {
    /// Where messages are taken: an address of the server with `receive`; with `send` one of the space, of a topic
    /// `TOPIC::SUBSCRIPTION` for a subscription that waits while there is no connection.
    #[schemars(length(min = 1, max = 1_024))]
    pub from: String,
    /// Where they are sent to: an address of the space with `receive`, one of the server with `send`.
    #[schemars(length(min = 1, max = 1_024))]
    pub to: String,
    /// Which messages are taken, as a selector of JMS over their headers and properties. Default: all.
    #[schemars(length(min = 1, max = 4_096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// What a connector logs in with. What is absent stays as it is; what is empty is removed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectorCredentials {
    /// The password of `spec.user`, at most 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub password: Option<Secret>,
    /// The private key of `spec.tls.certificate`, as PEM of at most 65,536 bytes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed")]
    pub key: Option<Secret>,
}

/// A request to create a connector.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewConnector {
    /// The document of the connector.
    pub connector: Connector,
    /// What it logs in with. Left out: nothing until that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<ConnectorCredentials>,
}

/// What a node knows of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorStatus {
    /// Where it stands.
    pub state: ConnectorState,
    /// The node that has the connection, or tries to have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The server that it is connected to, or has tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Since when it is in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tries that have failed since there was one.
    #[serde(default)]
    pub failures: u64,
    /// The name of the connection on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The routes, those of `receive` first; none without a connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteStatus>,
    /// Whether a password is set.
    #[serde(default)]
    pub has_password: bool,
    /// Whether a private key is set.
    #[serde(default)]
    pub has_key: bool,
    /// When the connector was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// Where a connector stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectorState {
    /// It is to have no connection.
    Paused,
    /// There is no connection yet, or no more.
    #[default]
    Connecting,
    /// There is a connection.
    Connected,
}

/// What has become of a route of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Whether it is one of `receive` or of `send`.
    pub direction: RouteDirection,
    /// Where messages are taken.
    pub from: String,
    /// Where they are sent to.
    pub to: String,
    /// Whether messages can take it.
    pub attached: bool,
    /// Messages that have taken it since it was attached.
    pub messages: u64,
    /// Why messages cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which way a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteDirection {
    /// From the server.
    Receive,
    /// To the server.
    Send,
}

/// A server of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorUrl {
    pub is_encrypted: bool,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
}

impl Connector {
    /// A document without labels and status.
    pub fn new(name: impl Into<String>, spec: ConnectorSpec) -> Self {
        let metadata = Metadata::named(name);
        Self { api_version: API_VERSION.into(), kind: CONNECTOR_KIND.into(), metadata, spec, status: None }
    }
}

impl ConnectorSpec {
    /// The routes, those of `receive` first.
    pub fn routes(&self) -> impl Iterator<Item = (RouteDirection, &ConnectorRoute)> {
        let receive = self.receive.iter().map(|route| (RouteDirection::Receive, route));
        receive.chain(self.send.iter().map(|route| (RouteDirection::Send, route)))
    }
}

impl ConnectorRoute {
    /// The address of the space.
    pub fn local(&self, direction: RouteDirection) -> &str {
        match direction {
            RouteDirection::Receive => &self.to,
            RouteDirection::Send => &self.from,
        }
    }

    /// The address of the server.
    pub fn remote(&self, direction: RouteDirection) -> &str {
        match direction {
            RouteDirection::Receive => &self.from,
            RouteDirection::Send => &self.to,
        }
    }
}

impl ConnectorTls {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for ConnectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("`{}` {what}; write `amqps://HOST` or `amqps://HOST:PORT`", shown(text));
        let (is_encrypted, rest) = match text.split_once("://") {
            Some(("amqp", rest)) => (false, rest),
            Some(("amqps", rest)) => (true, rest),
            _ => return Err(wrong("is no URL of AMQP")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            // Perhaps with a password, which is not repeated.
            return Err(
                "the URL holds a user, who stands in `user`; write `amqps://HOST` or `amqps://HOST:PORT`"
                    .into(),
            );
        }
        let (host, port) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, port))) => (host, port),
            Some(None) => return Err(wrong("has a bracket that does not end")),
            None => rest.find(':').map_or((rest, ""), |colon| rest.split_at(colon)),
        };
        if !is_host(host) || (host.contains(':') && !rest.starts_with('[')) {
            return Err(wrong("names no host"));
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong("has no port of 1 to 65535"))?,
            None if port.is_empty() => {
                if is_encrypted {
                    5_671
                } else {
                    5_672
                }
            }
            None => return Err(wrong("goes on behind its host")),
        };
        Ok(Self { is_encrypted, host: host.to_owned(), port })
    }
}

impl fmt::Display for ConnectorState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Paused => "paused",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
        })
    }
}

impl fmt::Display for RouteDirection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Receive => "receive",
            Self::Send => "send",
        })
    }
}

fn exposed<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => secret.serialize_exposed(serializer),
        None => serializer.serialize_none(),
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<(bool, String, u16), String> {
        text.parse::<ConnectorUrl>().map(|url| (url.is_encrypted, url.host, url.port))
    }

    #[test]
    fn a_url_names_a_host_and_perhaps_a_port() {
        assert_eq!(url("amqp://broker"), Ok((false, "broker".into(), 5_672)));
        assert_eq!(url("amqps://broker.example/"), Ok((true, "broker.example".into(), 5_671)));
        assert_eq!(url("amqps://10.0.0.1:5"), Ok((true, "10.0.0.1".into(), 5)));
        assert_eq!(url("amqp://[::1]:65535"), Ok((false, "::1".into(), 65_535)));
        assert_eq!(url("amqp://[::1]"), Ok((false, "::1".into(), 5_672)));
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused_in_words() {
        for text in [
            "",
            "broker",
            "http://broker",
            "amqp://",
            "amqp://broker:0",
            "amqp://broker:65536",
            "amqp://broker:",
            "amqp://ann:secret@broker",
            "amqp://broker/queue",
            "amqp://broker?x=1",
            "amqp://[::1",
            "amqp://::1",
            "amqp://[::1]x",
            "amqp://a b",
            "amqp://broker:5672:1",
        ] {
            let error = url(text).expect_err(text);
            assert!(error.contains("amqps://HOST"), "{error}");
        }
    }

    #[test]
    fn credentials_never_print() {
        let text = r#"{"password":"hunter2","key":"-----BEGIN"}"#;
        let credentials: ConnectorCredentials = serde_json::from_str(text).expect("credentials");
        assert_eq!(
            format!("{credentials:?}"),
            "ConnectorCredentials { password: Some(***), key: Some(***) }"
        );
        assert_eq!(serde_json::to_string(&credentials).expect("JSON"), text);
        assert_eq!(serde_json::to_string(&ConnectorCredentials::default()).expect("JSON"), "{}");
    }
}
