//! What must hold beyond the shape of a document: names, addresses of hosts, values that belong
//! together. The same rules serve files (where a violation gets its place in the text), the admin
//! API, and configurations made by a program.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path};

use serde::Serialize;

use crate::bench::{BenchSpec, MAX_DEMANDS, MAX_STAGES, Stage, StageShape};
use crate::check::{check, grouped, listed};
use crate::code::Code;
use crate::config::{DaemonConfig, ListenerConfig, Listeners, Log, Mesh, MeshConnect, MeshListener, Store};
use crate::connector::{
    CONNECTOR_KIND, Connector, ConnectorRoute, ConnectorSpec, ConnectorTls, ConnectorUrl, MAX_CONNECTOR_PEM,
    MAX_CONNECTOR_ROUTES, MAX_CONNECTOR_URLS, MAX_REMOTE_ADDRESS, RouteDirection,
};
use crate::dataplane;
use crate::delegation::{HttpAuthentication, HttpFault};
use crate::diagnostic::Findings;
use crate::grant::Grant;
use crate::manifest::{Address, AddressSpec, AddressType, Fleet, FleetSpec, Metadata};
use crate::mesh::{MAX_MESSAGE, MAX_NODES, cut_off, listen_host, node_name, node_number, node_port};
use crate::names::{
    CATCH_ALL_TOPIC, shown, split_subscription, validate_address_name, validate_name, validate_plain_name,
    validate_topic_filter, validate_user_name,
};
use crate::oidc::OidcProvider;
use crate::schema::shapes;
use crate::shape::Shape;
use crate::space::{AddressSpace, AddressSpaceSpec, DEFAULT_SPACE, MAX_SPACE_HOSTS, Profile};
use crate::target::{MAX_HOSTS, Target};
use crate::tls::{ClientCertificates, FleetTls, ListenerTls, MAX_NAMES};
use crate::user::{
    ANONYMOUS, FLEET_ADMIN, MAX_GRANTS, MAX_ROLES, Role, RoleSpec, User, UserSpec, is_built_in_role,
};
use crate::yaml::Node;

pub(crate) mod kubernetes;

/// Labels of one document.
const MAX_LABELS: usize = 64;

/// Bytes of a label's key.
const MAX_LABEL_KEY: usize = 128;

/// Bytes of a label's value.
const MAX_LABEL_VALUE: usize = 256;

/// Bytes of the log filter.
const MAX_FILTER: usize = 1_024;

/// Bytes of a selector.
const MAX_SELECTOR: usize = 4_096;

/// Bytes of a body in a load test that does not say.
const DEFAULT_SIZE: u64 = 100;

/// The shortest idle timeout that is not "never", in milliseconds.
const MIN_IDLE_TIMEOUT_MS: u32 = 1_000;

/// One rule that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    pub code: Code,
    /// The fields that lead to the value, from the document's root; empty when the message names it.
    pub path: Vec<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Every rule that a value breaks; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Invalid(Vec<Violation>);

impl Invalid {
    /// The broken rules.
    pub fn violations(&self) -> &[Violation] {
        &self.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            formatter.write_str(&violation.message)?;
            if let Some(help) = &violation.help {
                write!(formatter, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Violation {
    pub(crate) fn new(code: Code, path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        Self { code, path, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Address {
    /// Checks the whole document: version, kind, name, labels, and [`AddressSpec::validate`].
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().address, "Address");
        violations.extend(address_metadata(&self.metadata));
        violations.extend(address_spec(&self.spec, &["spec"]));
        violations.extend(name_and_spec(&self.metadata.name, &self.spec));
        result(violations)
    }
}

impl AddressSpec {
    /// Checks every bound that the fields' docs state, and that the values fit together.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = Vec::new();
        if let Some(field) = shapes().address.field("spec") {
            violations.extend(shape_violations(self, &field.shape, "Address.spec"));
        }
        violations.extend(address_spec(self, &[]));
        result(violations)
    }
}

impl User {
    /// Checks the whole document: version, kind, name, labels, grants and roles.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().user, "User");
        violations.extend(user_metadata(&self.metadata));
        violations.extend(user_spec(&self.spec, &["spec"]));
        result(violations)
    }
}

impl Role {
    /// Checks the whole document: version, kind, name, labels and grants.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().role, "Role");
        violations.extend(role_metadata(&self.metadata));
        violations.extend(role_spec(&self.spec, &["spec"]));
        result(violations)
    }
}

impl Connector {
    /// Checks the whole document: version, kind, name, labels, servers and routes.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().connector, CONNECTOR_KIND);
        violations.extend(connector_metadata(&self.metadata));
        violations.extend(connector_spec(&self.spec, &["spec"]));
        result(violations)
    }
}

impl AddressSpace {
    /// Checks the whole document: version, kind, name, labels, limits, profile and hosts.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().space, "AddressSpace");
        violations.extend(named_metadata(&self.metadata));
        violations.extend(space_spec(&self.spec, &["spec"]));
        violations.extend(space_name_and_spec(&self.metadata.name, &self.spec));
        result(violations)
    }
}

impl Profile {
    /// Checks the whole document: version, kind, name, labels and limits.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().profile, "Profile");
        violations.extend(named_metadata(&self.metadata));
        result(violations)
    }
}

impl Fleet {
    /// Checks the whole document: version, kind, name, labels, and [`FleetSpec::validate`].
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().fleet, "Fleet");
        violations.extend(named_metadata(&self.metadata));
        violations.extend(fleet_spec(&self.spec, &["spec"]));
        violations.extend(kubernetes::fleet_name(&self.metadata, &self.spec));
        result(violations)
    }
}

impl FleetSpec {
    /// Checks every bound that the fields' docs state, and that the values fit together.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = Vec::new();
        if let Some(field) = shapes().fleet.field("spec") {
            violations.extend(shape_violations(self, &field.shape, "Fleet.spec"));
        }
        violations.extend(fleet_spec(self, &[]));
        result(violations)
    }
}

impl DaemonConfig {
    /// Checks every bound that the fields' docs state, and that the values fit together.
    ///
    /// # Errors
    ///
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut violations = shape_violations(self, &shapes().daemon, "DaemonConfig");
        violations.extend(daemon(self));
        result(violations)
    }
}

pub(crate) fn address_metadata(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = labels(metadata);
    violations.extend(space_of(metadata));
    if let Err(message) = validate_address_name(&metadata.name) {
        violations.push(Violation::new(Code::InvalidValue, &["metadata", "name"], message));
    }
    violations
}

pub(crate) fn named_metadata(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = labels(metadata);
    if let Err(message) = validate_name(&metadata.name) {
        violations.push(Violation::new(Code::InvalidValue, &["metadata", "name"], message));
    }
    if metadata.space.is_some() {
        let message = "metadata.space is there, and this kind of object is of no address space";
        let violation = Violation::new(Code::Conflict, &["metadata", "space"], message);
        violations.push(violation.help("remove it; addresses, users, roles and connectors are of a space"));
    }
    violations
}

/// The space of an object that is of one.
fn space_of(metadata: &Metadata) -> Option<Violation> {
    let message = validate_name(metadata.space.as_deref()?).err()?;
    Some(Violation::new(Code::InvalidValue, &["metadata", "space"], message))
}

pub(crate) fn user_metadata(metadata: &Metadata) -> Vec<Violation> {
    let reserved = match metadata.name.as_str() {
        ANONYMOUS => Some("is what those are called who have not said who they are"),
        FLEET_ADMIN => Some("is what the certificate of the fleet's administrator says"),
        _ => None,
    };
    user_or_role_metadata(metadata, reserved)
}

pub(crate) fn role_metadata(metadata: &Metadata) -> Vec<Violation> {
    let reserved = is_built_in_role(&metadata.name).then_some("is built in and cannot be changed");
    user_or_role_metadata(metadata, reserved)
}

fn user_or_role_metadata(metadata: &Metadata, reserved: Option<&str>) -> Vec<Violation> {
    let mut violations = labels(metadata);
    violations.extend(space_of(metadata));
    let path = ["metadata", "name"];
    if let Err(message) = validate_user_name(&metadata.name) {
        violations.push(Violation::new(Code::InvalidValue, &path, message));
    }
    if let Some(reserved) = reserved {
        let message = format!("`{}` {reserved}", metadata.name);
        violations.push(Violation::new(Code::InvalidValue, &path, message).help("use another name"));
    }
    violations
}

pub(crate) fn user_spec(spec: &UserSpec, parent: &[&str]) -> Vec<Violation> {
    let mut violations = grants(&spec.grants, parent);
    let path = [parent, &["roles"]].concat();
    if spec.roles.len() > MAX_ROLES {
        let message = format!("the user has {} roles; use at most {MAX_ROLES}", spec.roles.len());
        violations.push(Violation::new(Code::OutOfRange, &path, message));
    }
    for (index, role) in spec.roles.iter().enumerate() {
        let index_text = index.to_string();
        let path = [&path[..], &[&index_text]].concat();
        if let Err(message) = validate_user_name(role) {
            violations.push(Violation::new(Code::InvalidValue, &path, message));
        } else if spec.roles.iter().take(index).any(|earlier| earlier == role) {
            let message = format!("the role `{role}` is named twice");
            violations.push(Violation::new(Code::Conflict, &path, message).help("remove one"));
        }
    }
    violations
}

pub(crate) fn role_spec(spec: &RoleSpec, parent: &[&str]) -> Vec<Violation> {
    grants(&spec.grants, parent)
}

pub(crate) fn space_spec(spec: &AddressSpaceSpec, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    if let Some(Err(message)) = spec.profile.as_deref().map(validate_name) {
        violations.push(Violation::new(Code::InvalidValue, &[parent, &["profile"]].concat(), message));
    }
    let path = [parent, &["hosts"]].concat();
    if spec.hosts.len() > MAX_SPACE_HOSTS {
        let message = format!("the space has {} hosts; use at most {MAX_SPACE_HOSTS}", spec.hosts.len());
        violations.push(Violation::new(Code::OutOfRange, &path, message));
    }
    for (index, host) in spec.hosts.iter().enumerate().take(MAX_SPACE_HOSTS) {
        let index_text = index.to_string();
        let path = [&path[..], &[&index_text]].concat();
        if !is_host(host) || host.parse::<IpAddr>().is_ok() {
            let message = format!("`{}` is not the name of a host", shown(host));
            let violation = Violation::new(Code::InvalidValue, &path, message);
            violations.push(violation.help("use a name such as `acme.example.com`, without a port"));
        } else if spec.hosts.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(host)) {
            let message = format!("the host `{host}` is named twice");
            violations.push(Violation::new(Code::Conflict, &path, message).help("remove one"));
        }
    }
    violations
}

/// What the built-in space cannot be.
pub(crate) fn space_name_and_spec(name: &str, spec: &AddressSpaceSpec) -> Option<Violation> {
    let is_closed = name == DEFAULT_SPACE && spec.disabled;
    is_closed.then(|| {
        let message =
            format!("the space `{DEFAULT_SPACE}` cannot be disabled: the fleet's own users are in it");
        let help = "disable its users one by one, or leave the field out";
        Violation::new(Code::Conflict, &["spec", "disabled"], message).help(help)
    })
}

pub(crate) fn connector_metadata(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = labels(metadata);
    violations.extend(space_of(metadata));
    if let Err(message) = validate_name(&metadata.name) {
        violations.push(Violation::new(Code::InvalidValue, &["metadata", "name"], message));
    }
    violations
}

pub(crate) fn connector_spec(spec: &ConnectorSpec, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let path = [parent, &["urls"]].concat();
    if !(1..=MAX_CONNECTOR_URLS).contains(&spec.urls.len()) {
        let message = format!("the connector has {} URLs; use 1 to {MAX_CONNECTOR_URLS}", spec.urls.len());
        violations.push(Violation::new(Code::OutOfRange, &path, message));
    }
    for (index, url) in spec.urls.iter().enumerate().take(MAX_CONNECTOR_URLS) {
        let index = index.to_string();
        if let Err(message) = url.parse::<ConnectorUrl>() {
            violations.push(Violation::new(Code::InvalidValue, &[&path[..], &[&index]].concat(), message));
        }
    }
    for (field, text) in [("user", &spec.user), ("virtualHost", &spec.virtual_host)] {
        if text.as_ref().is_some_and(|text| text.len() > 255 || text.chars().any(char::is_control)) {
            let message = format!("{field} is not one line of at most 255 bytes");
            violations.push(Violation::new(Code::InvalidValue, &[parent, &[field]].concat(), message));
        }
    }
    violations.extend(connector_tls(&spec.tls, &[parent, &["tls"]].concat()));
    for (field, routes, direction) in
        [("receive", &spec.receive, RouteDirection::Receive), ("send", &spec.send, RouteDirection::Send)]
    {
        let path = [parent, &[field]].concat();
        if routes.len() > MAX_CONNECTOR_ROUTES {
            let message = format!("{field} has {} routes; use at most {MAX_CONNECTOR_ROUTES}", routes.len());
            violations.push(Violation::new(Code::OutOfRange, &path, message));
        }
        for (index, route) in routes.iter().enumerate().take(MAX_CONNECTOR_ROUTES) {
            let index_text = index.to_string();
            let path = [&path[..], &[&index_text]].concat();
            violations.extend(connector_route(route, direction, &path));
            if routes.iter().take(index).any(|earlier| earlier.from == route.from && earlier.to == route.to) {
                let message = format!(
                    "the route from `{}` to `{}` is there twice",
                    shown(&route.from),
                    shown(&route.to)
                );
                violations.push(Violation::new(Code::Conflict, &path, message).help("remove one"));
            }
        }
    }
    if spec.receive.is_empty() && spec.send.is_empty() {
        let violation = Violation::new(Code::Conflict, parent, "the connector carries nothing");
        violations.push(violation.help("add a route to `receive` or to `send`"));
    }
    violations
}

fn connector_tls(tls: &ConnectorTls, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (field, text) in [("ca", &tls.ca), ("certificate", &tls.certificate)] {
        let Some(text) = text else { continue };
        if text.len() > MAX_CONNECTOR_PEM || !text.contains("-----BEGIN CERTIFICATE-----") {
            let message = format!("{field} holds no certificate as PEM of at most {MAX_CONNECTOR_PEM} bytes");
            violations.push(Violation::new(Code::InvalidValue, &[parent, &[field]].concat(), message));
        }
    }
    if let Some(name) = tls.server_name.as_deref().filter(|name| !is_host(name)) {
        let message = format!("`{}` is not the name of a host", shown(name));
        violations.push(Violation::new(Code::InvalidValue, &[parent, &["serverName"]].concat(), message));
    }
    violations
}

fn connector_route(route: &ConnectorRoute, direction: RouteDirection, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (local, remote) = match direction {
        RouteDirection::Receive => ("to", "from"),
        RouteDirection::Send => ("from", "to"),
    };
    if let Err(message) = validate_address_name(route.local(direction)) {
        violations.push(Violation::new(Code::InvalidValue, &[parent, &[local]].concat(), message));
    }
    let text = route.remote(direction);
    if text.is_empty() || text.len() > MAX_REMOTE_ADDRESS || text.chars().any(char::is_control) {
        let message = format!("the address of the server is not one line of 1 to {MAX_REMOTE_ADDRESS} bytes");
        violations.push(Violation::new(Code::InvalidValue, &[parent, &[remote]].concat(), message));
    }
    if route.selector.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_SELECTOR) {
        let message = format!("the selector has not 1 to {MAX_SELECTOR} bytes");
        violations.push(Violation::new(Code::OutOfRange, &[parent, &["selector"]].concat(), message));
    }
    violations
}

fn grants(grants: &[Grant], parent: &[&str]) -> Vec<Violation> {
    let path = [parent, &["grants"]].concat();
    let mut violations = Vec::new();
    if grants.len() > MAX_GRANTS {
        let message = format!("there are {} grants; use at most {MAX_GRANTS}, or roles", grants.len());
        violations.push(Violation::new(Code::OutOfRange, &path, message));
    }
    for (index, grant) in grants.iter().enumerate() {
        if grants.iter().take(index.min(MAX_GRANTS)).any(|earlier| earlier == grant) {
            let index = index.to_string();
            let path = [&path[..], &[&index]].concat();
            let message = format!("the grant `{grant}` is there twice");
            violations.push(Violation::new(Code::Conflict, &path, message).help("remove one"));
        }
    }
    violations
}

pub(crate) fn address_spec(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let least = ("minMs", spec.ttl.min_ms);
    let default = ("defaultMs", spec.ttl.default_ms);
    let most = ("maxMs", spec.ttl.max_ms);
    let mut violations: Vec<_> = [(least, most), (least, default), (default, most)]
        .into_iter()
        .filter_map(|(lower, upper)| out_of_order(lower, upper, parent))
        .collect();
    violations.extend(fields_of_other_types(spec, parent));
    violations.extend(redelivery(spec, parent));
    violations.extend(room(spec, parent));
    violations.extend(targets(spec, parent));
    violations.extend(subscription(spec, parent));
    violations.extend(shards(spec, parent));
    violations
}

/// What a queue with several shards cannot be: what only one place could decide.
fn shards(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let shards = spec.shards();
    if shards < 2 {
        return Vec::new();
    }
    let mut violations = Vec::new();
    if spec.exclusive {
        let message = "exclusive gives all messages to one consumer, and each shard would choose its own";
        let violation = Violation::new(Code::Conflict, &[parent, &["exclusive"]].concat(), message);
        violations.push(violation.help("leave out `shards`, or use `messageGroups` in place of `exclusive`"));
    }
    if spec.message_groups && spec.last_value {
        let message = "messageGroups and lastValue may want a message on two different shards";
        let violation = Violation::new(Code::Conflict, &[parent, &["lastValue"]].concat(), message);
        violations.push(violation.help("leave out `shards` or one of the two"));
    }
    if let (Some(size), Some(bytes)) = (spec.limits.max_message_size, spec.limits.max_bytes)
        && size <= bytes
        && size > bytes.div_ceil(u64::from(shards))
    {
        let (size, each) = (grouped(size.into()), grouped(bytes.div_ceil(u64::from(shards)).into()));
        let message = format!(
            "limits.maxMessageSize is {size}, more than limits.maxBytes leaves each of {shards} shards with {each}"
        );
        let path = [parent, &["limits", "maxMessageSize"]].concat();
        let violation = Violation::new(Code::Conflict, &path, message);
        violations.push(violation.help("lower `maxMessageSize`, raise `maxBytes`, or have fewer shards"));
    }
    violations
}

/// A field of an address: where it is, and which types have it.
pub(crate) type FieldOfTypes = (&'static [&'static str], &'static [AddressType]);

/// The fields that not every type of address has.
pub(crate) fn fields_by_type() -> Vec<FieldOfTypes> {
    let spec = AddressSpec::new(AddressType::Anycast);
    typed_fields(&spec).into_iter().map(|(path, _, types)| (path, types)).collect()
}

/// The same, each with whether it says something.
fn typed_fields(spec: &AddressSpec) -> [(&'static [&'static str], bool, &'static [AddressType]); 22] {
    use AddressType::{Anycast, Multicast, Queue, Subscription, Topic};
    const DIRECT: &[AddressType] = &[Anycast, Multicast];
    const STORED: &[AddressType] = &[Queue, Topic, Subscription];
    const KEPT: &[AddressType] = &[Queue, Subscription];
    const SENT_TO: &[AddressType] = &[Anycast, Multicast, Queue, Topic];
    let limits = &spec.limits;
    [
        (&["slowConsumer"], spec.slow_consumer.is_some(), DIRECT),
        (&["distribution"], spec.distribution.is_some(), &[Anycast]),
        (&["limits", "maxUndelivered"], limits.max_undelivered.is_some(), DIRECT),
        (&["limits", "maxProducers"], limits.max_producers.is_some(), SENT_TO),
        (&["limits", "maxMessageSize"], limits.max_message_size.is_some(), SENT_TO),
        (&["limits", "linkCredit"], limits.link_credit.is_some(), SENT_TO),
        (&["limits", "maxMessages"], limits.max_messages.is_some(), STORED),
        (&["limits", "maxBytes"], limits.max_bytes.is_some(), STORED),
        (&["onFull"], spec.on_full.is_some(), STORED),
        (&["ttl"], spec.ttl != Default::default(), SENT_TO),
        (&["priority"], spec.priority.is_some(), SENT_TO),
        (&["maxDeliveries"], spec.max_deliveries.is_some(), STORED),
        (&["redelivery"], spec.redelivery != Default::default(), STORED),
        (&["deadLetter"], spec.dead_letter.is_some(), STORED),
        (&["expiryAddress"], spec.expiry_address.is_some(), STORED),
        (&["exclusive"], spec.exclusive, KEPT),
        (&["messageGroups"], spec.message_groups, KEPT),
        (&["lastValue"], spec.last_value, KEPT),
        (&["deduplication"], spec.deduplication.is_some(), &[Queue]),
        (&["shards"], spec.shards.is_some(), &[Queue]),
        (&["subscription", "filter"], spec.subscription.filter.is_some(), &[Subscription]),
        (&["subscription", "selector"], spec.subscription.selector.is_some(), &[Subscription]),
    ]
}

/// The fields that say something, although an address of this type does not have them.
fn fields_of_other_types(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let wrong =
        typed_fields(spec).into_iter().filter(|(_, is_set, types)| *is_set && !types.contains(&spec.kind));
    wrong
        .map(|(path, _, types)| {
            let message = format!("{} has no `{}`", with_article(spec.kind), path.join("."));
            let words = types.iter().map(|&kind| word(kind));
            let help = format!("remove it, or make it {}", listed(words, "or"));
            Violation::new(Code::WrongAddressType, &[parent, path].concat(), message).help(help)
        })
        .collect()
}

pub(crate) fn word(kind: AddressType) -> &'static str {
    match kind {
        AddressType::Anycast => "anycast",
        AddressType::Multicast => "multicast",
        AddressType::Queue => "queue",
        AddressType::Topic => "topic",
        AddressType::Subscription => "subscription",
    }
}

fn with_article(kind: AddressType) -> &'static str {
    match kind {
        AddressType::Anycast => "an anycast address",
        AddressType::Multicast => "a multicast address",
        AddressType::Queue => "a queue",
        AddressType::Topic => "a topic",
        AddressType::Subscription => "a subscription",
    }
}

fn redelivery(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let redelivery = &spec.redelivery;
    let at = |field| [parent, &["redelivery", field]].concat();
    let delay = redelivery.delay_ms.unwrap_or(0);
    let grows =
        [("multiplier", redelivery.multiplier.is_some()), ("maxDelayMs", redelivery.max_delay_ms.is_some())];
    if delay == 0 {
        let idle = grows.into_iter().filter(|(_, is_set)| *is_set);
        return idle
            .map(|(field, _)| {
                let message = format!("redelivery.{field} changes nothing without redelivery.delayMs");
                Violation::new(Code::NoEffect, &at(field), message).help("set `delayMs`, or remove it")
            })
            .collect();
    }
    match redelivery.max_delay_ms {
        Some(most) if most < delay => {
            let (delay, most) = (grouped(delay.into()), grouped(most.into()));
            let message = format!("redelivery.delayMs is {delay}, above redelivery.maxDelayMs with {most}");
            let violation = Violation::new(Code::Conflict, &at("delayMs"), message);
            vec![violation.help("lower `delayMs` or raise `maxDelayMs`")]
        }
        _ => Vec::new(),
    }
}

/// What a stored address does when it is full.
fn room(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let limits = &spec.limits;
    let mut violations = Vec::new();
    if spec.kind.is_stored()
        && spec.on_full.is_some()
        && limits.max_messages.is_none()
        && limits.max_bytes.is_none()
    {
        let message = "onFull changes nothing without limits.maxMessages or limits.maxBytes";
        let violation = Violation::new(Code::NoEffect, &[parent, &["onFull"]].concat(), message);
        violations.push(violation.help("set one of the two limits, or remove it"));
    }
    if let (Some(message_size), Some(bytes)) = (limits.max_message_size, limits.max_bytes)
        && message_size > bytes
    {
        let (message_size, bytes) = (grouped(message_size.into()), grouped(bytes.into()));
        let message =
            format!("limits.maxMessageSize is {message_size}, more than limits.maxBytes leaves with {bytes}");
        let path = [parent, &["limits", "maxMessageSize"]].concat();
        let violation = Violation::new(Code::Conflict, &path, message);
        violations.push(violation.help("lower `maxMessageSize` or raise `maxBytes`"));
    }
    violations
}

/// The addresses that messages go to when they leave.
fn targets(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let targets = [("deadLetter", &spec.dead_letter), ("expiryAddress", &spec.expiry_address)];
    let named = targets.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?)));
    named
        .filter_map(|(field, name)| {
            let path = [parent, &[field]].concat();
            if split_subscription(name).is_some() {
                let message =
                    format!("{field} is `{}`, and nothing can be sent to a subscription", shown(name));
                let violation = Violation::new(Code::Reference, &path, message);
                return Some(violation.help("name a queue"));
            }
            let why = validate_plain_name(name).err()?;
            Some(Violation::new(Code::InvalidValue, &path, format!("{field}: {why}")))
        })
        .collect()
}

fn subscription(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let at = |field| [parent, &["subscription", field]].concat();
    let filter = spec.subscription.filter.as_deref().map(validate_topic_filter);
    if let Some(Err(why)) = filter {
        violations.push(Violation::new(Code::InvalidValue, &at("filter"), why));
    }
    if let Some(selector) = &spec.subscription.selector {
        let is_blank = selector.trim().is_empty();
        if is_blank || selector.len() > MAX_SELECTOR || selector.chars().any(|c| c.is_control() && c != '\n')
        {
            let message = format!("subscription.selector is not 1 to {MAX_SELECTOR} bytes of printable text");
            violations.push(Violation::new(Code::InvalidValue, &at("selector"), message));
        }
    }
    violations
}

/// What must hold between the name of an address and what is wanted of it.
pub(crate) fn name_and_spec(name: &str, spec: &AddressSpec) -> Vec<Violation> {
    let mut violations = Vec::new();
    if validate_address_name(name).is_err() {
        return violations;
    }
    violations.extend(name_of_type(name, spec.kind));
    let targets = [("deadLetter", &spec.dead_letter), ("expiryAddress", &spec.expiry_address)];
    for (field, _) in targets.into_iter().filter(|(_, target)| target.as_deref() == Some(name)) {
        let message = format!("{field} of `{}` is the address itself", shown(name));
        let violation = Violation::new(Code::Reference, &["spec", field], message);
        violations.push(violation.help(format!(
            "name another queue, such as `{}.{}`",
            shown(name),
            suffix(field)
        )));
    }
    if let (Some((topic, _)), Some(filter)) = (split_subscription(name), &spec.subscription.filter)
        && validate_topic_filter(filter).is_ok()
        && !is_below(filter, topic)
    {
        let message = format!("the filter `{}` names nothing of the topic `{}`", shown(filter), shown(topic));
        let violation = Violation::new(Code::Conflict, &["spec", "subscription", "filter"], message);
        violations.push(violation.help(format!("begin it with the topic: `{}/#`", shown(topic))));
    }
    violations
}

fn suffix(field: &str) -> &'static str {
    if field == "deadLetter" { "dlq" } else { "expired" }
}

fn name_of_type(name: &str, kind: AddressType) -> Option<Violation> {
    let is_subscription = split_subscription(name).is_some();
    let (message, help) = match kind {
        AddressType::Subscription if !is_subscription => (
            format!("the subscription `{}` does not name its topic", shown(name)),
            "call it `topic::name`, such as `events::billing`",
        ),
        _ if is_subscription && kind != AddressType::Subscription => (
            format!(
                "the name `{}` is that of a subscription, and this is {}",
                shown(name),
                with_article(kind)
            ),
            "leave out `::`, or make it a `subscription`",
        ),
        _ if name == CATCH_ALL_TOPIC && kind != AddressType::Topic => (
            format!("the name `#` is that of a topic, and this is {}", with_article(kind)),
            "use another name, or make it a `topic`",
        ),
        _ => return None,
    };
    Some(Violation::new(Code::NameOfOtherType, &["metadata", "name"], message).help(help))
}

/// Whether every name that the filter lets through is one of the topic: the topic's levels, then any.
fn is_below(filter: &str, topic: &str) -> bool {
    if topic == CATCH_ALL_TOPIC {
        return true;
    }
    let mut filter = filter.split('/');
    topic.split('/').all(|level| filter.next() == Some(level))
}

/// A time to live that is above the one it must not exceed.
fn out_of_order(
    (low, lower): (&str, Option<u32>),
    (high, upper): (&str, Option<u32>),
    parent: &[&str],
) -> Option<Violation> {
    let (lower, upper) = (lower?, upper?);
    if lower <= upper {
        return None;
    }
    let (lower, upper) = (grouped(lower.into()), grouped(upper.into()));
    let message = format!("ttl.{low} is {lower}, above ttl.{high} with {upper}");
    let violation = Violation::new(Code::Conflict, &[parent, &["ttl", low]].concat(), message);
    Some(violation.help(format!("lower `{low}` or raise `{high}`")))
}

pub(crate) fn bench_spec(spec: &BenchSpec, parent: &[&str]) -> Vec<Violation> {
    let path = [parent, &["stages"]].concat();
    if !(1..=MAX_STAGES).contains(&spec.stages.len()) {
        let message = format!("a bench has 1 to {MAX_STAGES} stages, and this one has {}", spec.stages.len());
        return vec![Violation::new(Code::OutOfRange, &path, message)];
    }
    let mut names = HashSet::new();
    let mut violations = Vec::new();
    for (index, stage) in spec.stages.iter().enumerate() {
        let index = index.to_string();
        let mut broken = stage_rules(stage);
        if !names.insert(stage.name.as_str()) {
            broken.push((Code::DuplicateObject, "name", "has the name of an earlier one".into()));
        }
        violations.extend(broken.into_iter().map(|(code, field, rule)| {
            let message = format!("the stage `{}` {rule}", shown(&stage.name));
            Violation::new(code, &[path.as_slice(), &[&index, field]].concat(), message)
        }));
    }
    violations
}

/// What a stage breaks: the kind of problem, the field, and the end of a sentence about the stage.
fn stage_rules(stage: &Stage) -> Vec<(Code, &'static str, String)> {
    let mut broken = Vec::new();
    if let Err(why) = validate_name(&stage.name) {
        broken.push((Code::InvalidValue, "name", format!("has a name that is none: {why}")));
    }
    let shape = stage.shape.unwrap_or_default();
    match &stage.address {
        Some(address) if address.is_empty() || address.chars().any(char::is_control) => {
            broken.push((Code::InvalidValue, "address", "has an address that is not printable text".into()));
        }
        Some(_) if shape == StageShape::Connect => {
            broken.push((
                Code::Conflict,
                "address",
                "opens connections only, and so has no `address`".into(),
            ));
        }
        None if shape != StageShape::Connect => {
            broken.push((Code::MissingField, "address", "needs an `address`".into()));
        }
        _ => {}
    }
    if stage.connections.is_some() && shape != StageShape::Connect {
        let rule = "has `connections`, which only the shape `connect` has; say `linksPerConnection`";
        broken.push((Code::Conflict, "connections", rule.into()));
    }
    let is_not_one = |count: Option<u32>| count.is_some_and(|count| count != 1);
    if shape == StageShape::Fanout && is_not_one(stage.senders) {
        broken.push((Code::Conflict, "senders", "is a fan-out, which has one sender".into()));
    }
    if shape == StageShape::Fanin && is_not_one(stage.receivers) {
        broken.push((Code::Conflict, "receivers", "is a fan-in, which has one receiver".into()));
    }
    if stage.max_size.is_some_and(|most| most < stage.size.unwrap_or(DEFAULT_SIZE)) {
        broken.push((Code::Conflict, "maxSize", "has a `maxSize` below its `size`".into()));
    }
    for (field, demands) in [("assert", &stage.assert), ("maxRegress", &stage.max_regress)] {
        if demands.len() > MAX_DEMANDS {
            broken.push((Code::OutOfRange, field, format!("has more than {MAX_DEMANDS} of `{field}`")));
        }
    }
    broken
}

pub(crate) fn fleet_spec(spec: &FleetSpec, parent: &[&str]) -> Vec<Violation> {
    let written = Listeners::of_spec(spec);
    let mut violations = listeners(&written, parent);
    violations.extend(fleet_tls(&spec.tls, written.speak_tls(), parent));
    violations.extend(oidc(&spec.authentication.oidc, parent));
    violations.extend(delegation(spec.authentication.http.as_ref(), parent));
    violations.extend(log(&spec.log, parent));
    let path = [parent, &["limits", "idleTimeoutMs"]].concat();
    violations.extend(spec.limits.idle_timeout_ms.and_then(|timeout| idle_timeout(timeout, &path)));
    if let Some(directory) = &spec.store.directory {
        violations.extend(store_directory(directory.as_ref(), &[parent, &["store", "directory"]].concat()));
    }
    let default = Store::default();
    let segment = spec.store.segment_size.unwrap_or(default.segment_size);
    let message = spec.store.max_message_size.unwrap_or(default.max_message_size);
    violations.extend(message_in_segment(message, segment, &[parent, &["store", "maxMessageSize"]].concat()));
    if spec.is_meshed() {
        violations.extend(message_in_mesh(message, &[parent, &["store", "maxMessageSize"]].concat()));
    }
    violations.extend(fleet_mesh(spec, parent));
    violations.extend(target(spec, parent));
    violations.extend(dataplane::fleet(spec, parent));
    if let Target::Kubernetes(target) = &spec.target {
        violations.extend(kubernetes::target(target, spec, parent));
    }
    violations
}

/// What must hold of the machines of a fleet.
fn target(spec: &FleetSpec, parent: &[&str]) -> Vec<Violation> {
    let target = &spec.target;
    let mut violations = Vec::new();
    let mut violate = |code, path: &[&str], message: String, help: &str| {
        let path = [parent, &["target", "ssh", "hosts"], path].concat();
        violations.push(Violation::new(code, &path, message).help(help));
    };
    if let Target::Ssh(ssh) = target
        && !(1..=MAX_HOSTS).contains(&ssh.hosts.len())
    {
        let message =
            format!("target.ssh.hosts names {} hosts; it must name 1 to {MAX_HOSTS}", ssh.hosts.len());
        violate(Code::OutOfRange, &[], message, "name the machines that the nodes run on");
    }
    let mut seen = HashSet::new();
    for (index, host) in target.hosts().iter().enumerate() {
        let index = index.to_string();
        for (field, address) in
            [("address", Some(&host.address)), ("meshAddress", host.mesh_address.as_ref())]
        {
            let Some(address) = address.filter(|address| !is_ssh_host(address)) else { continue };
            let message =
                format!("the host `{}` is neither an IP address nor the name of a host", shown(address));
            violate(
                Code::InvalidValue,
                &[&index, field],
                message,
                "write a name or an address, and nothing else",
            );
        }
        if let Some(user) = host.user.as_ref().filter(|user| !is_login(user)) {
            let message = format!("`{}` is not the name of a user", shown(user));
            violate(Code::InvalidValue, &[&index, "user"], message, "use letters, digits, `.`, `-` and `_`");
        }
        if !seen.insert((&host.address, host.port)) {
            let message = format!("the host `{}` is named twice", shown(&host.address));
            let help = "remove one of the two: a host can have several nodes";
            violate(Code::DuplicateObject, &[&index, "address"], message, help);
        }
    }
    if !target.hosts().is_empty() && spec.mesh.port() == 0 {
        let message = "mesh.port is 0, and `mq deploy` looks for free ports on this machine alone";
        let path = [parent, &["mesh", "port"]].concat();
        let violation = Violation::new(Code::Conflict, &path, message);
        violations.push(violation.help("name a port that is free on every host, or leave the field out"));
    }
    violations
}

/// A host that cannot be taken for an option of `ssh`.
fn is_ssh_host(text: &str) -> bool {
    is_host(text) && !text.starts_with('-')
}

fn is_login(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_plain)
}

/// A folder that a node can create for its log.
fn store_directory(directory: &Path, path: &[&str]) -> Option<Violation> {
    let bytes = directory.as_os_str().as_encoded_bytes();
    let leaves = directory.components().any(|component| component == Component::ParentDir);
    if bytes.is_empty() || bytes.contains(&0) {
        let message = "store.directory is not the path of a folder";
        let violation = Violation::new(Code::InvalidValue, path, message);
        return Some(violation.help("name the folder of the log, or leave the field out"));
    }
    leaves.then(|| {
        let message =
            format!("store.directory is `{}`, which leads up and out", shown(&directory.to_string_lossy()));
        let violation = Violation::new(Code::InvalidValue, path, message);
        violation.help("use a path without `..`, from the root when it lies elsewhere")
    })
}

/// A message lies in one segment, with what is written beside it.
fn message_in_segment(message: u64, segment: u64, path: &[&str]) -> Option<Violation> {
    if message <= segment / 2 {
        return None;
    }
    let (message, segment) = (grouped(message.into()), grouped(segment.into()));
    let text = format!("a stored message may have {message} bytes, more than half a segment of {segment}");
    let violation = Violation::new(Code::Conflict, path, text);
    Some(violation.help("lower the message size or raise the segment size"))
}

/// A stored message goes to its home in one piece.
fn message_in_mesh(message: u64, path: &[&str]) -> Option<Violation> {
    if message <= MAX_MESSAGE {
        return None;
    }
    let (message, most) = (grouped(message.into()), grouped(MAX_MESSAGE.into()));
    let text =
        format!("a stored message may have {message} bytes, and between nodes it has to fit into {most}");
    let violation = Violation::new(Code::Conflict, path, text);
    Some(violation.help("lower the message size; larger messages go over anycast and multicast addresses"))
}

pub(crate) fn daemon(config: &DaemonConfig) -> Vec<Violation> {
    let mut violations = listeners(&config.listeners, &[]);
    violations.extend(daemon_tls(config));
    violations.extend(oidc(&config.authentication.oidc, &[]));
    violations.extend(delegation(config.authentication.http.as_ref(), &[]));
    violations.extend(log(&config.log, &[]));
    violations.extend(idle_timeout(config.limits.idle_timeout_ms, &["limits", "idle-timeout-ms"]));
    violations.extend(store_directory(&config.store.directory, &["store", "directory"]));
    let (message, segment) = (config.store.max_message_size, config.store.segment_size);
    violations.extend(message_in_segment(message, segment, &["store", "max-message-size"]));
    if config.mesh.is_some() {
        violations.extend(message_in_mesh(message, &["store", "max-message-size"]));
    }
    violations.extend(config.mesh.iter().flat_map(|mesh| daemon_mesh(mesh, &config.listeners)));
    if config.router && config.mesh.as_ref().is_none_or(|mesh| mesh.connect.is_empty()) {
        let message = "router leaves what is stored to other nodes, and mesh.connect names none";
        let violation = Violation::new(Code::Conflict, &["router"], message);
        violations.push(violation.help("set mesh.connect, or leave router out"));
    }
    for (field, name) in [("fleet", &config.fleet), ("node", &config.node)] {
        if let Err(message) = validate_name(name) {
            violations.push(Violation::new(Code::InvalidValue, &[field], message));
        }
    }
    let state_dir = config.state_dir.as_os_str();
    if state_dir.is_empty() || state_dir.as_encoded_bytes().contains(&0) {
        let message = "state-dir is not the path of a folder";
        let violation = Violation::new(Code::InvalidValue, &["state-dir"], message);
        violations.push(violation.help("name the folder in which the node keeps its state"));
    }
    violations
}

/// Identity providers, of which each issuer stands there once: its tokens go by one set of rules.
fn oidc(providers: &[OidcProvider], parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, provider) in providers.iter().enumerate() {
        let number = index.to_string();
        let path = |field| [parent, &["authentication", "oidc", &number, field]].concat();
        for fault in provider.faults() {
            let message = format!("authentication.oidc[{index}].{}: {}", fault.field, fault.message);
            violations.push(Violation::new(Code::InvalidValue, &path(fault.field), message));
        }
        let is_same = |other: &OidcProvider| other.issuer == provider.issuer;
        if providers.iter().take(index).any(is_same) {
            let message = format!("authentication.oidc names {} more than once", shown(&provider.issuer));
            violations.push(Violation::new(Code::DuplicateObject, &path("issuer"), message));
        }
    }
    violations
}

/// The service that is asked about users whom the fleet does not know.
fn delegation(service: Option<&HttpAuthentication>, parent: &[&str]) -> Vec<Violation> {
    let faults = service.into_iter().flat_map(HttpAuthentication::faults);
    let violation = |fault: HttpFault| {
        let path = [parent, &["authentication", "http", fault.field]].concat();
        let message = format!("authentication.http.{}: {}", fault.field, fault.message);
        Violation::new(Code::InvalidValue, &path, message)
    };
    faults.map(violation).collect()
}

/// The section `tls` of a daemon, and whether it is wanted.
fn daemon_tls(config: &DaemonConfig) -> Vec<Violation> {
    let Some(tls) = &config.tls else {
        if !config.listeners.speak_tls() {
            return Vec::new();
        }
        let message = "a listener speaks TLS, and tls is not there";
        let violation = Violation::new(Code::MissingField, &["tls"], message);
        return vec![violation.help("set tls.certificate and tls.key, or switch the listener off")];
    };
    let mut violations = Vec::new();
    if !config.listeners.speak_tls() {
        let violation =
            Violation::new(Code::NoEffect, &["tls"], "tls changes nothing: no listener speaks TLS");
        violations
            .push(violation.help("set listeners.amqps, listeners.mqtts or listeners.https, or remove it"));
    }
    for (field, path) in tls.files() {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            let message = format!("tls.{field} is not the path of a file");
            violations.push(Violation::new(Code::InvalidValue, &["tls", field], message));
        }
    }
    violations.extend(certificate_names(&tls.names, &[]));
    let wants = tls.client_certificates();
    if wants != ClientCertificates::None && tls.client_ca.is_none() && tls.fleet_ca.is_none() {
        let message = "tls.client-certificates asks for certificates, and nobody is trusted to sign them";
        let violation = Violation::new(Code::Conflict, &["tls", "client-certificates"], message);
        violations.push(violation.help("set tls.client-ca, or `none`"));
    }
    if wants == ClientCertificates::None && tls.client_crl.is_some() {
        violations.push(useless_lists(&["tls", "client-crl"], "client-certificates"));
    }
    violations
}

/// Lists of revoked certificates where nobody shows one.
fn useless_lists(path: &[&str], other: &str) -> Violation {
    let message = "no client is asked for a certificate that could have been revoked".to_owned();
    Violation::new(Code::NoEffect, path, message)
        .help(format!("set tls.{other} to request or require, or remove it"))
}

fn fleet_tls(tls: &FleetTls, speak_tls: bool, parent: &[&str]) -> Vec<Violation> {
    let at = |field| [parent, &["tls", field]].concat();
    let mut violations = Vec::new();
    if !speak_tls && !tls.is_empty() {
        let path = [parent, &["tls"]].concat();
        let violation = Violation::new(Code::NoEffect, &path, "tls changes nothing: no listener speaks TLS");
        violations
            .push(violation.help("set listeners.amqps, listeners.mqtts or listeners.https, or remove it"));
    }
    let files = [
        ("certificate", &tls.certificate),
        ("key", &tls.key),
        ("clientCa", &tls.client_ca),
        ("clientCrl", &tls.client_crl),
    ];
    for (field, path) in files.iter().filter_map(|(field, path)| Some((*field, path.as_deref()?))) {
        if !path.starts_with('/') || path.contains('\0') {
            let message = format!("tls.{field} is `{}`, not an absolute path", shown(path));
            let violation = Violation::new(Code::InvalidValue, &at(field), message);
            violations.push(violation.help("nodes start anywhere: say where the file is from the root on"));
        }
    }
    for (field, other) in [("certificate", "key"), ("key", "certificate")] {
        let is_set = |name| files.iter().any(|(field, path)| *field == name && path.is_some());
        if is_set(field) && !is_set(other) {
            let message = format!("tls.{field} is set, and tls.{other} is not");
            let violation = Violation::new(Code::MissingField, &at(field), message);
            violations.push(violation.help("set both, or none: then `mq deploy` makes certificates"));
        }
    }
    if tls.client_certificates == Some(ClientCertificates::None) && tls.client_crl.is_some() {
        violations.push(useless_lists(&at("clientCrl"), "clientCertificates"));
    }
    violations.extend(certificate_names(&tls.names, parent));
    violations
}

/// The names that the certificate of a node has to be for.
fn certificate_names(names: &[String], parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let path = [parent, &["tls", "names"]].concat();
    if names.len() > MAX_NAMES {
        let message = format!("tls.names has {} names; use at most {MAX_NAMES}", names.len());
        violations.push(Violation::new(Code::OutOfRange, &path, message));
    }
    for (index, name) in names.iter().enumerate() {
        let plain = name.strip_prefix("*.").unwrap_or(name);
        if !is_host(plain) || (plain != name && plain.parse::<IpAddr>().is_ok()) {
            let index = index.to_string();
            let path = [path.as_slice(), &[&index]].concat();
            let message =
                format!("tls.names has `{}`, neither an IP address nor the name of a host", shown(name));
            violations.push(Violation::new(Code::InvalidValue, &path, message));
        }
    }
    violations
}

/// What must hold between the nodes of a fleet.
fn fleet_mesh(spec: &FleetSpec, parent: &[&str]) -> Vec<Violation> {
    let mesh = &spec.mesh;
    let at =
        |field: &str| [parent, &["mesh", field]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut violations = Vec::new();
    let mut violate = |code, path: Vec<String>, message: String, help: &str| {
        violations.push(Violation { code, path, message, help: Some(help.to_owned()) });
    };
    if let Some(host) = &mesh.host
        && host.parse::<IpAddr>().is_err()
    {
        let message = format!("mesh.host is `{}`, not an IP address", shown(host));
        violate(Code::InvalidValue, at("host"), message, "use an address of the machine such as 127.0.0.1");
    }
    if mesh.timeout_ms() < mesh.heartbeat_ms().saturating_mul(2) {
        let (timeout, heartbeat) = (mesh.timeout_ms(), mesh.heartbeat_ms());
        let message =
            format!("mesh.timeoutMs is {timeout}, less than twice mesh.heartbeatMs with {heartbeat}");
        violate(Code::Conflict, at("timeoutMs"), message, "raise `timeoutMs` or lower `heartbeatMs`");
    }
    // A number that is out of range is reported as that.
    let nodes = spec.nodes().clamp(1, MAX_NODES);
    let mut pairs = HashSet::new();
    for (index, link) in mesh.links.iter().enumerate() {
        let index = index.to_string();
        let path = |end: &str| [at("links"), vec![index.clone(), end.to_owned()]].concat();
        let number = |name: &str| node_number(name).filter(|number| *number <= nodes);
        let mut ends = Vec::new();
        for (end, name) in [("from", &link.from), ("to", &link.to)] {
            match number(name) {
                Some(number) => ends.push(number),
                None => {
                    let message = format!("the link names `{}`, and the fleet has no such node", shown(name));
                    let help = format!("use node-1 to {}, or raise `nodes`", node_name(nodes));
                    violate(Code::Reference, path(end), message, &help);
                }
            }
        }
        ends.sort_unstable();
        match ends.as_slice() {
            [one, other] if one == other => {
                let message = format!("the link joins `{}` to itself", shown(&link.from));
                violate(Code::Conflict, path("to"), message, "name another node, or remove the link");
            }
            [one, other] if !pairs.insert((*one, *other)) => {
                let message = format!("`{}` and `{}` are linked already", node_name(*one), node_name(*other));
                violate(Code::DuplicateObject, path("to"), message, "remove one of the two links");
            }
            _ => {}
        }
    }
    let cut_off = cut_off(nodes, &mesh.links);
    if !cut_off.is_empty() {
        let names: Vec<String> = cut_off.into_iter().map(node_name).collect();
        let names = listed(names.iter().map(String::as_str), "and");
        let message = format!("no links lead from node-1 to {names}");
        violate(
            Code::Conflict,
            at("links"),
            message,
            "link every node, or remove `links`: then all are neighbours",
        );
    }
    violations.extend(fleet_ports(spec, nodes, parent));
    violations
}

/// The ports of all nodes: that there are such, and that no two listeners want one.
fn fleet_ports(spec: &FleetSpec, nodes: u32, parent: &[&str]) -> Vec<Violation> {
    let listeners = Listeners::of_spec(spec);
    let mesh_host = listen_host(spec, 1);
    // Ports count up on each machine by itself.
    let nodes = spec.target.deepest(nodes);
    let mut ranges: Vec<(Vec<&str>, &str, u16)> = listeners
        .named()
        .into_iter()
        .map(|(name, listener)| (vec!["listeners", name], listener.host.as_str(), listener.port))
        .collect();
    if spec.is_meshed() {
        ranges.push((vec!["mesh"], &mesh_host, spec.mesh.port()));
    }
    let mut violations = Vec::new();
    for (index, (name, host, port)) in ranges.iter().enumerate().filter(|(_, (_, _, port))| *port != 0) {
        let path = [parent, name.as_slice(), &["port"]].concat();
        let Some(last) = node_port(*port, nodes) else {
            let message = format!("{}.port is {port}, too high for {nodes} nodes", name.join("."));
            let help = format!("use at most {}, or 0 for free ones", 65_536 - nodes);
            violations.push(Violation::new(Code::OutOfRange, &path, message).help(help));
            continue;
        };
        let meets = |other: u16| {
            other != 0
                && other <= last
                && node_port(other, nodes).is_none_or(|other_last| *port <= other_last)
        };
        // Of a single node's listeners for clients it has been said already.
        let clash = ranges[..index]
            .iter()
            .find(|(_, other_host, other)| meets(*other) && overlap(other_host, host))
            .filter(|_| nodes > 1 || name == &["mesh"]);
        if let Some((other, _, _)) = clash {
            let (other, name) = (other.join("."), name.join("."));
            let message =
                format!("{other} and {name} want the same port, with {nodes} ports each from their own on");
            let help = "move one of them out of the way of the other, or use 0 for free ones";
            violations.push(Violation::new(Code::Conflict, &path, message).help(help));
        }
    }
    violations
}

fn daemon_mesh(mesh: &Mesh, listeners: &Listeners) -> Vec<Violation> {
    let mut violations = Vec::new();
    let MeshListener { host, port } = &mesh.listen;
    if host.parse::<IpAddr>().is_err() {
        let message = format!("mesh.listen.host is `{}`, not an IP address", shown(host));
        let help = "use an address of this machine such as 127.0.0.1, or 0.0.0.0 for all of them";
        violations.push(Violation::new(Code::InvalidValue, &["mesh", "listen", "host"], message).help(help));
    }
    let is_same = |other: &ListenerConfig| other.port == *port && overlap(&other.host, host);
    if let Some((other, _)) = listeners.named().into_iter().find(|(_, other)| *port != 0 && is_same(other)) {
        let message = format!("listeners.{other} and mesh.listen both want port {port}");
        let help = "give one of them another port, or 0 for a free one";
        violations.push(Violation::new(Code::Conflict, &["mesh", "listen", "port"], message).help(help));
    }
    if mesh.connect.len() > MAX_NODES as usize {
        let message = format!("mesh.connect names {} nodes; it may name {MAX_NODES}", mesh.connect.len());
        violations.push(Violation::new(Code::OutOfRange, &["mesh", "connect"], message));
    }
    for (index, connect) in mesh.connect.iter().enumerate() {
        let index = index.to_string();
        if !is_host(&connect.host) {
            let message = format!(
                "mesh.connect names `{}`, neither an IP address nor the name of a host",
                shown(&connect.host)
            );
            violations.push(Violation::new(
                Code::InvalidValue,
                &["mesh", "connect", &index, "host"],
                message,
            ));
        }
        let is_same = |other: &&MeshConnect| (&other.host, other.port) == (&connect.host, connect.port);
        if mesh.connect.iter().filter(is_same).count() > 1 {
            let message =
                format!("mesh.connect names {}:{} more than once", shown(&connect.host), connect.port);
            violations.push(Violation::new(Code::DuplicateObject, &["mesh", "connect", &index], message));
        }
    }
    if mesh.timeout_ms < mesh.heartbeat_ms.saturating_mul(2) {
        let (timeout, heartbeat) = (mesh.timeout_ms, mesh.heartbeat_ms);
        let message =
            format!("mesh.timeout-ms is {timeout}, less than twice mesh.heartbeat-ms with {heartbeat}");
        let violation = Violation::new(Code::Conflict, &["mesh", "timeout-ms"], message);
        violations.push(violation.help("raise `timeout-ms` or lower `heartbeat-ms`"));
    }
    let files = [("ca", &mesh.tls.ca), ("certificate", &mesh.tls.certificate), ("key", &mesh.tls.key)];
    for (field, path) in files {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() || bytes.contains(&0) {
            let message = format!("mesh.tls.{field} is not the path of a file");
            violations.push(Violation::new(Code::InvalidValue, &["mesh", "tls", field], message));
        }
    }
    violations
}

/// An IP address, or labels of letters, digits, `-` and `_` with dots between them (RFC 1123 2.1).
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(is_label))
}

fn labels(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = Vec::new();
    if metadata.labels.len() > MAX_LABELS {
        let message = format!("metadata has {} labels; use at most {MAX_LABELS}", metadata.labels.len());
        violations.push(Violation::new(Code::OutOfRange, &["metadata", "labels"], message));
    }
    for (key, value) in &metadata.labels {
        let path = ["metadata", "labels", key];
        let is_bad = |text: &str, most: usize| text.len() > most || text.chars().any(char::is_control);
        if key.is_empty() || is_bad(key, MAX_LABEL_KEY) {
            let message =
                format!("the label key `{}` is not 1 to {MAX_LABEL_KEY} bytes of printable text", shown(key));
            violations.push(Violation::new(Code::InvalidValue, &path, message));
        }
        if is_bad(value, MAX_LABEL_VALUE) {
            let message = format!(
                "the value of the label `{}` is not up to {MAX_LABEL_VALUE} bytes of printable text",
                shown(key)
            );
            violations.push(Violation::new(Code::InvalidValue, &path, message));
        }
    }
    violations
}

fn listeners(listeners: &Listeners, parent: &[&str]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let named = listeners.named();
    for (index, (name, listener)) in named.iter().copied().enumerate() {
        if listener.host.parse::<IpAddr>().is_err() {
            let message = format!("listeners.{name}.host is `{}`, not an IP address", shown(&listener.host));
            let path = [parent, &["listeners", name, "host"]].concat();
            let help = "use an address of this machine such as 127.0.0.1, or 0.0.0.0 for all of them";
            violations.push(Violation::new(Code::InvalidValue, &path, message).help(help));
        }
        let is_same =
            |other: &ListenerConfig| other.port == listener.port && overlap(&other.host, &listener.host);
        if let Some((other, _)) =
            named[..index].iter().find(|(_, other)| listener.port != 0 && is_same(other))
        {
            let message = format!("listeners.{other} and listeners.{name} both want port {}", listener.port);
            let path = [parent, &["listeners", name, "port"]].concat();
            let help = "give one of them another port, or 0 for a free one";
            violations.push(Violation::new(Code::Conflict, &path, message).help(help));
        }
    }
    for (name, listener) in listeners.written() {
        let tls = listener.tls(name);
        if name.ends_with('s') && tls != ListenerTls::Always {
            let message =
                format!("listeners.{name}.tls is not `always`, and TLS is what the listener is for");
            let help = "leave it out, or say it of the listener without the `s`";
            let path = [parent, &["listeners", name, "tls"]].concat();
            violations.push(Violation::new(Code::Conflict, &path, message).help(help));
        }
        if let Some(Err(reason)) = listener.space.as_deref().map(validate_name) {
            let message = format!("listeners.{name}.space is no name of a space: {reason}");
            let path = [parent, &["listeners", name, "space"]].concat();
            violations.push(Violation::new(Code::InvalidValue, &path, message));
        }
    }
    let serves_admin = named.iter().any(|(name, _)| matches!(*name, "http" | "https"));
    if !serves_admin {
        let message = "neither listeners.http nor listeners.https is there: nobody could look after the node";
        let path = [parent, &["listeners", "http", "enabled"]].concat();
        let help = "leave one of them switched on, on 127.0.0.1 if need be";
        violations.push(Violation::new(Code::Conflict, &path, message).help(help));
    }
    let behind_proxy = listeners
        .written()
        .filter(|(name, listener)| matches!(*name, "http" | "https") && listener.proxy_protocol);
    for (name, _) in behind_proxy {
        let message = format!("listeners.{name} takes no header of the PROXY protocol");
        // A fleet writes its fields another way than a configuration.
        let field = if parent.is_empty() { "proxy-protocol" } else { "proxyProtocol" };
        let path = [parent, &["listeners", name, field]].concat();
        let help = "leave it out; the listeners of AMQP and MQTT take one";
        violations.push(Violation::new(Code::InvalidValue, &path, message).help(help));
    }
    violations
}

/// Whether two hosts share an interface. The unspecified address of IPv6 takes IPv4 with it on most
/// systems.
fn overlap(left: &str, right: &str) -> bool {
    match (left.parse::<IpAddr>(), right.parse::<IpAddr>()) {
        (Ok(left), Ok(right)) => left == right || left.is_unspecified() || right.is_unspecified(),
        _ => false,
    }
}

fn log(log: &Log, parent: &[&str]) -> Vec<Violation> {
    let filter = &log.filter;
    if !filter.trim().is_empty() && filter.len() <= MAX_FILTER && !filter.chars().any(char::is_control) {
        return Vec::new();
    }
    let message = format!("log.filter is not 1 to {MAX_FILTER} bytes of printable text");
    let path = [parent, &["log", "filter"]].concat();
    vec![Violation::new(Code::InvalidValue, &path, message).help("for example `info`, or `off` for no log")]
}

fn idle_timeout(timeout: u32, path: &[&str]) -> Option<Violation> {
    if timeout == 0 || timeout >= MIN_IDLE_TIMEOUT_MS {
        return None;
    }
    let message = format!("the idle timeout is {timeout} ms, too short for a client to keep");
    let help = format!("use 0 (never) or {} to 86,400,000", grouped(MIN_IDLE_TIMEOUT_MS.into()));
    Some(Violation::new(Code::OutOfRange, path, message).help(help))
}

/// The bounds of the schema, applied to a value that never was a file.
fn shape_violations<T: Serialize>(value: &T, shape: &Shape, root: &str) -> Vec<Violation> {
    let value = match serde_json::to_value(value) {
        Ok(value) => value,
        // Only a path that is not UTF-8 has no JSON.
        Err(error) => return vec![Violation::new(Code::InvalidValue, &[], format!("{root}: {error}"))],
    };
    let mut findings = Findings::default();
    check(&Node::from(&value), shape, root, &mut findings);
    findings
        .iter()
        .map(|finding| Violation {
            code: finding.code,
            path: Vec::new(),
            message: finding.message.clone(),
            help: finding.help.clone(),
        })
        .collect()
}

pub(crate) fn result(violations: Vec<Violation>) -> Result<(), Invalid> {
    if violations.is_empty() { Ok(()) } else { Err(Invalid(violations)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{AddressType, FleetListener};

    #[test]
    fn values_made_by_a_program_obey_the_bounds_of_the_files() {
        let mut spec = AddressSpec::new(AddressType::Anycast);
        assert_eq!(spec.validate(), Ok(()));
        spec.priority = Some(10);
        spec.limits.link_credit = Some(0);
        spec.ttl.min_ms = Some(2_000);
        spec.ttl.max_ms = Some(1_000);
        let message = spec.validate().expect_err("three rules").to_string();
        for part in
            ["Address.spec.priority is 10", "Address.spec.limits.linkCredit is 0", "ttl.minMs is 2,000"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_embedded_configuration_is_valid() {
        let config = DaemonConfig::embedded("/var/lib/mq");
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(Fleet::new("default", FleetSpec::default()).validate(), Ok(()));
    }

    #[test]
    fn listeners_that_share_a_port_conflict_when_they_share_an_interface() {
        let mut config = DaemonConfig::embedded("s");
        config.listeners.http.port = 5672;
        assert!(config.validate().is_err());
        config.listeners.http.host = "127.0.0.2".into();
        assert_eq!(config.validate(), Ok(()));
        config.listeners.http.host = "::".into();
        assert!(config.validate().is_err());
        config.listeners.amqp.port = 0;
        config.listeners.http.port = 0;
        assert_eq!(config.validate(), Ok(()));
    }

    fn with_tls() -> DaemonConfig {
        let mut config = DaemonConfig::embedded("s");
        config.listeners.amqps = Some(ListenerConfig::loopback(5671));
        config.tls = DaemonConfig::from_fleet(&secure_fleet(), "node-1", "s").tls;
        config
    }

    fn secure_fleet() -> Fleet {
        let mut fleet = Fleet::new("f", FleetSpec::default());
        let listener = FleetListener { port: 5671, ..fleet.spec.listeners.amqp.clone() };
        fleet.spec.listeners.amqps = Some(listener);
        fleet
    }

    #[test]
    fn tls_is_there_when_and_only_when_a_listener_speaks_it() {
        assert_eq!(with_tls().validate(), Ok(()));
        assert_eq!(secure_fleet().validate(), Ok(()));
        let broken = |change: fn(&mut DaemonConfig)| {
            let mut config = with_tls();
            change(&mut config);
            config.validate().expect_err("broken").violations()[0].path.join(".")
        };
        assert_eq!(broken(|config| config.tls = None), "tls");
        assert_eq!(broken(|config| config.listeners.amqps = None), "tls");
        assert_eq!(broken(|config| config.listeners.amqps.as_mut().unwrap().enabled = false), "tls");
        let never = |config: &mut DaemonConfig| {
            config.listeners.amqps.as_mut().unwrap().tls = Some(ListenerTls::Never);
            config.listeners.amqp.tls = Some(ListenerTls::Optional);
        };
        assert_eq!(broken(never), "listeners.amqps.tls");
        assert_eq!(broken(|config| config.listeners.http.enabled = false), "listeners.http.enabled");
        let nobody = |config: &mut DaemonConfig| {
            let tls = config.tls.as_mut().unwrap();
            tls.fleet_ca = None;
            tls.client_certificates = Some(ClientCertificates::Require);
        };
        assert_eq!(broken(nobody), "tls.client-certificates");
        assert_eq!(broken(|config| config.tls.as_mut().unwrap().names = vec!["a b".into()]), "tls.names.0");
        assert_eq!(
            broken(|config| config.listeners.amqps.as_mut().unwrap().port = 5672),
            "listeners.amqps.port"
        );
    }

    #[test]
    fn the_space_of_a_listener_has_the_name_of_one() {
        let with = |space: &str| {
            let mut config = DaemonConfig::embedded("s");
            config.listeners.amqp.space = Some(space.into());
            daemon(&config).into_iter().map(|violation| violation.path.join(".")).collect::<Vec<_>>()
        };
        assert!(with("acme").is_empty() && with("default").is_empty());
        for space in ["", "Acme", "a/b", "$s", "acme.example"] {
            assert_eq!(with(space), ["listeners.amqp.space"], "{space}");
        }
    }

    #[test]
    fn listeners_that_are_off_want_no_port() {
        let mut config = with_tls();
        config.listeners.amqp.enabled = false;
        config.listeners.mqtt.port = 5672;
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(
            config.listeners.named().iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["mqtt", "http", "amqps"]
        );
    }

    #[test]
    fn what_a_fleet_brings_for_tls_is_whole_and_absolute() {
        let broken = |change: fn(&mut Fleet)| {
            let mut fleet = secure_fleet();
            change(&mut fleet);
            fleet.validate().expect_err("broken").violations()[0].path.join(".")
        };
        assert_eq!(
            broken(|fleet| fleet.spec.tls.certificate = Some("/c.pem".into())),
            "spec.tls.certificate"
        );
        assert_eq!(broken(|fleet| fleet.spec.tls.client_ca = Some("ca.pem".into())), "spec.tls.clientCa");
        assert_eq!(broken(|fleet| fleet.spec.tls.client_crl = Some("crl.pem".into())), "spec.tls.clientCrl");
        let unasked = |fleet: &mut Fleet| {
            fleet.spec.tls.client_crl = Some("/crl.pem".into());
            fleet.spec.tls.client_certificates = Some(ClientCertificates::None);
        };
        assert_eq!(broken(unasked), "spec.tls.clientCrl");
        assert_eq!(broken(|fleet| fleet.spec.tls.names = vec!["*.192.0.2.1".into()]), "spec.tls.names.0");
        assert_eq!(broken(|fleet| fleet.spec.listeners.http.enabled = false), "spec.listeners.http.enabled");
        let mut over_tls_alone = secure_fleet();
        over_tls_alone.spec.listeners.http.enabled = false;
        over_tls_alone.spec.listeners.https = Some(FleetListener::loopback(8443));
        assert_eq!(over_tls_alone.validate(), Ok(()));
        let unused = |fleet: &mut Fleet| {
            fleet.spec.listeners.amqps = None;
            fleet.spec.tls.names = vec!["broker.example.org".into()];
        };
        assert_eq!(broken(unused), "spec.tls");
        let mut fleet = secure_fleet();
        fleet.spec.tls.names = vec!["*.example.org".into(), "192.0.2.1".into(), "::1".into()];
        assert_eq!(fleet.validate(), Ok(()));
    }

    #[test]
    fn only_listeners_of_clients_are_behind_a_proxy() {
        let mut config = DaemonConfig::embedded("s");
        config.listeners.amqp.proxy_protocol = true;
        config.listeners.mqtt.proxy_protocol = true;
        assert_eq!(config.validate(), Ok(()));
        config.listeners.http.proxy_protocol = true;
        assert!(config.validate().expect_err("http").to_string().contains("listeners.http"));
    }

    #[test]
    fn identity_providers_are_encrypted_and_stand_there_once() {
        let with = |issuers: &[&str]| {
            let mut config = DaemonConfig::embedded("s");
            for issuer in issuers {
                let provider = serde_json::json!({ "issuer": issuer, "audiences": ["mq"] });
                config.authentication.oidc.push(serde_json::from_value(provider).unwrap());
            }
            daemon(&config).into_iter().map(|violation| violation.path.join(".")).collect::<Vec<_>>()
        };
        assert!(with(&["https://id.example", "https://other.example"]).is_empty());
        assert_eq!(with(&["https://id.example", "http://id.example"]), ["authentication.oidc.1.issuer"]);
        assert_eq!(with(&["https://id.example", "https://id.example"]), ["authentication.oidc.1.issuer"]);
    }

    #[test]
    fn an_idle_timeout_is_never_or_at_least_a_second() {
        let mut config = DaemonConfig::embedded("s");
        for (timeout, valid) in [(0, true), (1, false), (999, false), (1_000, true), (86_400_001, false)] {
            config.limits.idle_timeout_ms = timeout;
            assert_eq!(config.validate().is_ok(), valid, "{timeout}");
        }
    }

    #[test]
    fn names_and_labels_are_checked() {
        let mut address = Address::new("a/+", AddressSpec::new(AddressType::Multicast));
        assert!(address.validate().expect_err("wildcard").to_string().contains("wildcard"));
        address.metadata.name = "a".into();
        address.metadata.labels.insert("team".into(), "x".repeat(257));
        assert!(address.validate().expect_err("label").to_string().contains("`team`"));
        assert!(Fleet::new("Prod", FleetSpec::default()).validate().is_err());
    }
}
