//! Connectors of the fleet, as their objects say. What they log in with stands in Secrets.
//!
//! Whether an object is ready is whether its connector does what it is for: it has its connection, and messages can take
//! every route. The fleet does not tell when that changes, so it is asked: one list for each space ([`changed`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mq_model::{
    Secret,
    connector::{
        Connector, ConnectorCredentials, ConnectorSpec, ConnectorState, ConnectorStatus, NewConnector,
        RouteStatus,
    },
    custom,
};
use serde_json::Value;

use super::{
    address::{found, in_space},
    condition::{Verdict, is_settled, status_change},
    secret,
};
use crate::{
    client::admin::Admin,
    cluster::{Cluster, SECRETS},
    failure::{Failure, Outcome},
};

/// The fields of a Secret with the password and the private key.
const PASSWORD: &str = "password";
const KEY: &str = "tls.key";

/// What a connector is to log in with.
#[derive(Clone, Debug)]
struct Given {
    password: Secret,
    key: Secret,
    /// The version of the Secret.
    version: String,
}

/// Makes the connector what the object says, and returns how it is.
pub(super) async fn ensure(admin: &Admin, cluster: &Cluster, object: &Value) -> Outcome<Verdict> {
    let wanted = custom::connector(object).map_err(Failure::usage)?;
    let admin = &in_space(admin, wanted.metadata.space.as_deref());
    let name = &wanted.metadata.name;
    let there = found(admin.connector(name).await)?;
    let given = match object["spec"]["credentialsSecret"]["name"].as_str() {
        Some(secret) => match given(cluster.get(SECRETS, secret).await?.as_ref(), secret, &wanted.spec) {
            Ok(given) => Some(given),
            // What is there goes on with what it has: the new server may not be the one that its password is for.
            Err(verdict) => return Ok(with_state(verdict, there.and_then(|there| there.status).as_ref())),
        },
        None => None,
    };
    let known = object["status"]["credentialsVersion"].as_str();
    let version = given.as_ref().map(|given| given.version.clone());
    let verdict = match there {
        None => {
            let credentials = given.map(Given::credentials);
            verdict(&admin.create_connector(&NewConnector { connector: wanted, credentials }).await?)
        }
        Some(there) => {
            let credentials = due(given, known, there.status.as_ref());
            let is_as_wanted = there.spec == wanted.spec;
            if is_as_wanted && credentials.is_none() {
                verdict(&there)
            } else {
                change(admin, &wanted, is_as_wanted, credentials).await?;
                // What is known of it may be of before the change.
                let verdict =
                    Verdict::not_ready("Connecting", "the connector has been changed, and begins anew");
                with_state(verdict, Some(&ConnectorStatus::default()))
            }
        }
    };
    Ok(verdict.with("credentialsVersion", version))
}

/// Changes a connector that is there.
async fn change(
    admin: &Admin,
    wanted: &Connector,
    is_as_wanted: bool,
    credentials: Option<ConnectorCredentials>,
) -> Outcome {
    if let Some(credentials) = credentials {
        if !is_as_wanted {
            // Both change: no server is to see what was or will be for another one.
            let spec = ConnectorSpec { paused: true, ..wanted.spec.clone() };
            admin.put_connector(&Connector { spec, ..wanted.clone() }).await?;
        }
        admin.set_credentials(&wanted.metadata.name, &credentials).await?;
    }
    if !is_as_wanted {
        admin.put_connector(wanted).await?;
    }
    Ok(())
}

/// What the Secret holds of what the connector needs.
///
/// # Errors
///
/// A verdict, when the Secret is not there or does not hold all of it.
fn given(there: Option<&Value>, name: &str, spec: &ConnectorSpec) -> Result<Given, Verdict> {
    let Some(there) = there else {
        let message = format!("the Secret `{name}` is not there; make it, or name another one");
        return Err(Verdict::not_ready("SecretNotFound", message));
    };
    let incomplete = |field: &str, why: &str, what: &str| {
        let message = format!("the Secret `{name}` {why}; put {what} under `{field}`");
        Verdict::not_ready("SecretIncomplete", message)
    };
    let field = |field: &str, is_needed: bool, what: &str| {
        if !is_needed {
            return Ok(Secret::new(""));
        }
        match secret::field(there, field) {
            Ok(Some(text)) if !text.is_empty() => Ok(text),
            Ok(_) => Err(incomplete(field, &format!("holds no `{field}`"), what)),
            Err(why) => Err(incomplete(field, &why, what)),
        }
    };
    Ok(Given {
        password: field(PASSWORD, spec.user.is_some(), "the password of spec.user")?,
        key: field(KEY, spec.tls.certificate.is_some(), "the private key of spec.tls.certificate")?,
        version: secret::version(there),
    })
}

impl Given {
    /// All that the connector has: what it does not need it is not to have, which is said by what is empty.
    fn credentials(self) -> ConnectorCredentials {
        ConnectorCredentials { password: Some(self.password), key: Some(self.key) }
    }
}

/// What is to be set, when that is not what the connector has. `known` is the version that it has by what the object says.
///
/// Without a Secret that is nothing, whatever somebody else has set; but what an earlier Secret gave is taken away.
fn due(
    given: Option<Given>,
    known: Option<&str>,
    status: Option<&ConnectorStatus>,
) -> Option<ConnectorCredentials> {
    let Some(given) = given else {
        let nothing = || Some(Secret::new(""));
        return known.map(|_| ConnectorCredentials { password: nothing(), key: nothing() });
    };
    let has = status.map(|status| (status.has_password, status.has_key)).unwrap_or_default();
    let is_there =
        known == Some(&given.version) && has == (!given.password.is_empty(), !given.key.is_empty());
    (!is_there).then(|| given.credentials())
}

fn verdict(connector: &Connector) -> Verdict {
    let status = connector.status.clone().unwrap_or_default();
    let url = status.url.as_deref().unwrap_or("its server");
    let verdict = match (status.state, status.node.as_deref()) {
        (ConnectorState::Paused, _) => {
            Verdict::ready("the connector has no connection, since it is paused").because("Paused")
        }
        (ConnectorState::Connecting, None) => Verdict::not_ready(
            "Connecting",
            "no node of the fleet says that it has the connector; one takes it in seconds, unless its space is \
             disabled",
        ),
        (ConnectorState::Connecting, Some(node)) => match &status.error {
            Some(error) => {
                Verdict::not_ready("NotConnected", format!("{node} has no connection to {url}: {error}"))
            }
            None => Verdict::not_ready("Connecting", format!("{node} connects to {url}")),
        },
        (ConnectorState::Connected, node) => {
            let node = node.unwrap_or("a node");
            match shut(connector, &status.routes) {
                Some((reason, message)) => Verdict::not_ready(reason, message),
                None => Verdict::ready(format!("{node} is connected to {url}")).because("Connected"),
            }
        }
    };
    with_state(verdict, Some(&status))
}

/// Why messages cannot take every route of a connector that has its connection; `None`: they can.
fn shut(connector: &Connector, routes: &[RouteStatus]) -> Option<(&'static str, String)> {
    let errors = routes.iter().filter_map(|route| {
        let error = route.error.as_deref().filter(|_| !route.attached)?;
        Some(format!("{} from `{}` to `{}`: {error}", route.direction, route.from, route.to))
    });
    let errors: Vec<String> = errors.collect();
    if !errors.is_empty() {
        return Some(("RouteNotAttached", errors.join("; ")));
    }
    let (open, all) = (attached(routes), connector.spec.routes().count());
    (open < all).then(|| ("Connecting", format!("{open} of {all} routes are attached")))
}

fn attached(routes: &[RouteStatus]) -> usize {
    routes.iter().filter(|route| route.attached).count()
}

/// The verdict with what is known of the connector, and without what is not any more.
fn with_state(verdict: Verdict, status: Option<&ConnectorStatus>) -> Verdict {
    let routes = status.map(|status| attached(&status.routes));
    verdict
        .with("state", status.map(|status| status.state.to_string()))
        .with("node", status.and_then(|status| status.node.clone()))
        .with("url", status.and_then(|status| status.url.clone()))
        .with("attachedRoutes", routes)
}

/// The objects that are ready and say something else than the fleet says of their connectors. Those that are not are
/// looked at in any case.
pub(super) async fn changed(admin: &Admin, objects: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let mut spaces: BTreeMap<Option<String>, Vec<(&str, String)>> = BTreeMap::new();
    for (key, object) in objects.iter().filter(|(_, object)| is_settled(object)) {
        if let Ok(wanted) = custom::connector(object) {
            spaces.entry(wanted.metadata.space).or_default().push((key, wanted.metadata.name));
        }
    }
    let mut changed = BTreeSet::new();
    for (space, known) in spaces {
        // Of what cannot be listed each says by itself why.
        let listed = in_space(admin, space.as_deref()).connectors().await.unwrap_or_default();
        let listed: BTreeMap<&str, &Connector> =
            listed.iter().map(|connector| (connector.metadata.name.as_str(), connector)).collect();
        let others = known.into_iter().filter(|(key, name)| {
            let connector = listed.get(name.as_str());
            connector.is_none_or(|connector| says_something_else(&objects[*key], connector))
        });
        changed.extend(others.map(|(key, _)| key.to_owned()));
    }
    changed
}

fn says_something_else(object: &Value, connector: &Connector) -> bool {
    status_change(object, &verdict(connector), Timestamp::now()).is_some()
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use mq_model::connector::{ConnectorRoute, ConnectorTls, RouteDirection};
    use serde_json::json;

    use super::*;

    fn spec() -> ConnectorSpec {
        ConnectorSpec {
            urls: vec!["amqps://far".into()],
            user: Some("shop".into()),
            send: vec![ConnectorRoute { from: "orders".into(), to: "inbox".into(), selector: None }],
            ..ConnectorSpec::default()
        }
    }

    fn connector(status: ConnectorStatus) -> Connector {
        let mut connector = Connector::new("bridge", spec());
        connector.status =
            Some(ConnectorStatus { node: Some("node-1".into()), url: Some("amqps://far".into()), ..status });
        connector
    }

    fn route(attached: bool, error: Option<&str>) -> RouteStatus {
        let error = error.map(str::to_owned);
        let (from, to) = ("orders".into(), "inbox".into());
        RouteStatus { direction: RouteDirection::Send, from, to, attached, messages: 7, error }
    }

    fn secret(fields: &[(&str, &str)]) -> Value {
        let data: BTreeMap<_, _> = fields.iter().map(|(name, text)| (*name, STANDARD.encode(text))).collect();
        json!({ "metadata": { "resourceVersion": "7" }, "data": data })
    }

    /// The object of the connector with the status that the verdict gives it.
    fn object(verdict: &Verdict) -> Value {
        let mut object = json!({ "metadata": { "name": "bridge", "generation": 1 }, "spec": spec() });
        object["status"] = status_change(&object, verdict, Timestamp::UNIX_EPOCH).unwrap();
        object
    }

    /// Whether it is ready, why, and what that says to people.
    fn said(verdict: &Verdict) -> (bool, String, String) {
        let condition = object(verdict)["status"]["conditions"][0].clone();
        let text = |field: &str| condition[field].as_str().unwrap().to_owned();
        (condition["status"] == "True", text("reason"), text("message"))
    }

    fn exposed(credentials: Option<ConnectorCredentials>) -> Option<(String, String)> {
        let text = |secret: Option<Secret>| secret.expect("both are said").expose().to_owned();
        credentials.map(|given| (text(given.password), text(given.key)))
    }

    #[test]
    fn a_secret_has_to_hold_what_the_connector_needs_and_is_asked_for_nothing_else() {
        let (_, reason, message) = said(&given(None, "far", &spec()).unwrap_err());
        assert_eq!(reason, "SecretNotFound");
        assert!(message.contains("`far`"), "{message}");
        for wanting in [&[][..], &[("password", "")], &[("tls.key", "key")]] {
            let (_, reason, message) = said(&given(Some(&secret(wanting)), "far", &spec()).unwrap_err());
            assert_eq!(reason, "SecretIncomplete");
            assert!(message.contains("`password`") && message.contains("spec.user"), "{message}");
        }
        let both = secret(&[("password", "hunter2"), ("tls.key", "key")]);
        let found = given(Some(&both), "far", &spec()).unwrap();
        assert_eq!(found.version, "7");
        assert_eq!(exposed(Some(found.credentials())), Some(("hunter2".into(), String::new())));
        let tls = ConnectorTls { certificate: Some("PEM".into()), ..ConnectorTls::default() };
        let by_certificate = ConnectorSpec { user: None, tls, ..spec() };
        let found = given(Some(&both), "far", &by_certificate).unwrap();
        assert_eq!(exposed(Some(found.credentials())), Some((String::new(), "key".into())));
        let (_, _, message) =
            said(&given(Some(&secret(&[("password", "hunter2")])), "far", &by_certificate).unwrap_err());
        assert!(message.contains("`tls.key`") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn credentials_are_set_when_the_secret_or_the_connector_has_other_ones() {
        let found = || given(Some(&secret(&[("password", "hunter2")])), "far", &spec()).ok();
        let with =
            |has_password, has_key| ConnectorStatus { has_password, has_key, ..ConnectorStatus::default() };
        let all = Some(("hunter2".to_owned(), String::new()));
        assert_eq!(exposed(due(found(), Some("7"), Some(&with(true, false)))), None);
        assert_eq!(exposed(due(found(), Some("6"), Some(&with(true, false)))), all);
        assert_eq!(exposed(due(found(), None, Some(&with(true, false)))), all);
        assert_eq!(exposed(due(found(), Some("7"), Some(&with(false, false)))), all);
        assert_eq!(exposed(due(found(), Some("7"), Some(&with(true, true)))), all);
    }

    #[test]
    fn an_object_without_a_secret_takes_back_what_one_gave_and_nothing_else() {
        let status = ConnectorStatus { has_password: true, ..ConnectorStatus::default() };
        assert_eq!(exposed(due(None, None, Some(&status))), None);
        assert_eq!(exposed(due(None, Some("7"), Some(&status))), Some((String::new(), String::new())));
    }

    #[test]
    fn an_object_is_ready_when_messages_can_take_every_route() {
        let of = |state, routes, error: Option<&str>| {
            let error = error.map(str::to_owned);
            said(&verdict(&connector(ConnectorStatus { state, routes, error, ..ConnectorStatus::default() })))
        };
        let (is_ready, reason, message) = of(ConnectorState::Connected, vec![route(true, None)], None);
        assert!(is_ready && reason == "Connected");
        assert_eq!(message, "node-1 is connected to amqps://far");
        let (is_ready, reason, message) = of(ConnectorState::Connected, Vec::new(), None);
        assert!(!is_ready && reason == "Connecting");
        assert_eq!(message, "0 of 1 routes are attached");
        let refused = route(false, Some("no such address"));
        let (is_ready, reason, message) = of(ConnectorState::Connected, vec![refused], None);
        assert!(!is_ready && reason == "RouteNotAttached");
        assert_eq!(message, "send from `orders` to `inbox`: no such address");
        let (is_ready, reason, message) = of(ConnectorState::Connecting, Vec::new(), Some("not let in"));
        assert!(!is_ready && reason == "NotConnected");
        assert_eq!(message, "node-1 has no connection to amqps://far: not let in");
        let (is_ready, reason, _) = of(ConnectorState::Connecting, Vec::new(), None);
        assert!(!is_ready && reason == "Connecting");
        let (is_ready, reason, _) = of(ConnectorState::Paused, Vec::new(), None);
        assert!(is_ready && reason == "Paused");
    }

    #[test]
    fn messages_that_flow_change_no_object_and_a_connection_that_is_lost_does() {
        let routes = vec![route(true, None)];
        let open = ConnectorStatus { state: ConnectorState::Connected, routes, ..ConnectorStatus::default() };
        let object = object(&verdict(&connector(open.clone())).with("credentialsVersion", "7"));
        let mut later = open.clone();
        later.routes[0].messages = 8;
        assert!(!says_something_else(&object, &connector(later)));
        let lost = ConnectorStatus { error: Some("lost".into()), ..ConnectorStatus::default() };
        assert!(says_something_else(&object, &connector(lost)));
        let mut elsewhere = connector(open);
        elsewhere.status.as_mut().unwrap().node = Some("node-2".into());
        assert!(says_something_else(&object, &elsewhere));
    }

    #[test]
    fn what_is_not_known_any_more_goes_from_the_status() {
        let before = object(&verdict(&connector(ConnectorStatus::default())));
        assert_eq!(before["status"]["node"], "node-1");
        let gone = with_state(Verdict::not_ready("SecretNotFound", "it is not there"), None);
        let after = status_change(&before, &gone, Timestamp::UNIX_EPOCH).unwrap();
        // As a merge patch takes a field away.
        assert!(after["node"].is_null() && after.get("node").is_some(), "{after}");
    }
}
