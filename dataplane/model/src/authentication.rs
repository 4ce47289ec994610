//! Whom a daemon lets in without a name, and whose password it takes without TLS: the section
//! `authentication` of its configuration, and of a fleet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Listeners;
use crate::delegation::HttpAuthentication;
use crate::manifest::FleetSpec;
use crate::oidc::OidcProvider;

/// Who is let in, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Authentication {
    /// Where clients that give no name are let in: AMQP without SASL or with ANONYMOUS, MQTT without a
    /// user name. They may do everything there. Default `loopback`.
    pub anonymous: Where,
    /// Where a password is taken that comes without TLS, for whoever is on the way to read: SASL PLAIN, and
    /// the password of MQTT, and tokens. Default `loopback`.
    pub plain_without_tls: Where,
    /// Identity providers whose tokens are taken: SASL OAUTHBEARER and XOAUTH2, and the password of an MQTT
    /// client, whose user name is that of the token, or none. At most 8. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub oidc: Vec<OidcProvider>,
    /// A service that is asked over HTTP whether a password is that of a user whom the fleet does not know
    /// itself: SASL PLAIN, the password of MQTT, HTTP Basic of the admin API. Default: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthentication>,
}

/// On which listeners something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// On none.
    Never,
    /// On those that are bound to a loopback address and take no header of the PROXY protocol: their clients
    /// are on the machine of the daemon.
    #[default]
    Loopback,
    /// On all.
    Everywhere,
}

impl Where {
    /// Whether it is allowed on a listener; `is_local`: its clients are on the machine of the daemon.
    pub fn includes(self, is_local: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => is_local,
            Self::Everywhere => true,
        }
    }
}

/// Who is let in by the daemons of a fleet, and how; absent fields mean the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FleetAuthentication {
    /// Where clients that give no name are let in: AMQP without SASL or with ANONYMOUS, MQTT without a
    /// user name. They may do everything there. Default `loopback`.
    #[schemars(extend("default" = "loopback"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Where>,
    /// Where a password is taken that comes without TLS, for whoever is on the way to read: SASL PLAIN, and
    /// the password of MQTT, and tokens. Default `loopback`.
    #[schemars(extend("default" = "loopback"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_without_tls: Option<Where>,
    /// Identity providers whose tokens are taken: SASL OAUTHBEARER and XOAUTH2, and the password of an MQTT
    /// client, whose user name is that of the token, or none. At most 8. Default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub oidc: Vec<OidcProvider>,
    /// A service that is asked over HTTP whether a password is that of a user whom the fleet does not know
    /// itself: SASL PLAIN, the password of MQTT, HTTP Basic of the admin API. Default: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthentication>,
}

impl Authentication {
    /// The daemon's defaults with what the fleet says in their place.
    pub(crate) fn from_fleet(fleet: &FleetAuthentication) -> Self {
        let default = Self::default();
        Self {
            anonymous: fleet.anonymous.unwrap_or(default.anonymous),
            plain_without_tls: fleet.plain_without_tls.unwrap_or(default.plain_without_tls),
            oidc: fleet.oidc.clone(),
            http: fleet.http.clone(),
        }
    }
}

impl FleetAuthentication {
    /// Whether the fleet leaves everything to the daemon.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FleetSpec {
    /// What the fleet gives to whoever reaches it from other machines, a sentence each: what was asked for, and
    /// is worth saying again.
    pub fn exposures(&self) -> Vec<String> {
        let listeners = Listeners::of_spec(self);
        let named = listeners.named().into_iter().filter(|(_, listener)| !listener.is_local());
        let open: Vec<String> =
            named.map(|(name, listener)| format!("{name} ({}:{})", listener.host, listener.port)).collect();
        let authentication = Authentication::from_fleet(&self.authentication);
        let mut exposures = Vec::new();
        if open.is_empty() {
            return exposures;
        }
        let open = open.join(", ");
        if authentication.anonymous == Where::Everywhere {
            exposures.push(format!(
                "whoever reaches {open} may do everything without saying who he is; \
                 leave authentication.anonymous out unless that is meant"
            ));
        }
        if authentication.plain_without_tls == Where::Everywhere {
            exposures.push(format!(
                "passwords that clients send to {open} can be read on the way; \
                 leave authentication.plainWithoutTls out unless that is meant"
            ));
        }
        exposures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FleetListener;

    #[test]
    fn what_a_fleet_gives_to_other_machines_is_said_and_nothing_of_loopback() {
        let everywhere = Some(Where::Everywhere);
        let mut spec = FleetSpec {
            authentication: FleetAuthentication {
                anonymous: everywhere,
                plain_without_tls: everywhere,
                ..FleetAuthentication::default()
            },
            ..FleetSpec::default()
        };
        assert_eq!(spec.exposures(), Vec::<String>::new());
        spec.listeners.mqtt = FleetListener { host: "0.0.0.0".into(), ..spec.listeners.mqtt };
        let exposures = spec.exposures();
        assert_eq!(exposures.len(), 2);
        assert!(exposures.iter().all(|words| words.contains("mqtt (0.0.0.0:1883)")), "{exposures:?}");
        assert!(exposures.iter().all(|words| !words.contains("amqp")), "{exposures:?}");
        spec.authentication = FleetAuthentication::default();
        assert_eq!(spec.exposures(), Vec::<String>::new());
    }

    #[test]
    fn what_is_allowed_on_loopback_is_allowed_to_clients_of_this_machine_alone() {
        let allowed = |place: Where| [place.includes(true), place.includes(false)];
        assert_eq!(allowed(Where::Never), [false, false]);
        assert_eq!(allowed(Where::Loopback), [true, false]);
        assert_eq!(allowed(Where::Everywhere), [true, true]);
    }

    #[test]
    fn a_fleet_that_says_nothing_lets_strangers_in_on_loopback_alone() {
        let section = Authentication::from_fleet(&FleetAuthentication::default());
        assert_eq!(section, Authentication::default());
        assert_eq!((section.anonymous, section.plain_without_tls), (Where::Loopback, Where::Loopback));
        let fleet = FleetAuthentication { anonymous: Some(Where::Never), ..FleetAuthentication::default() };
        assert_eq!(Authentication::from_fleet(&fleet).anonymous, Where::Never);
        assert!(!fleet.is_empty() && FleetAuthentication::default().is_empty());
    }
}
