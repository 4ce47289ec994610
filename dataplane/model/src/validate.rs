//! What must hold beyond the shape of a document: names, addresses of hosts, values that belong
//! together. The same rules serve files (where a violation gets its place in the text), the admin
//! API, and configurations made by a program.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::bench::{BenchSpec, MAX_DEMANDS, MAX_STAGES, Stage, StageShape};
use crate::check::{check, grouped};
use crate::code::Code;
use crate::config::{DaemonConfig, Listeners, Log};
use crate::diagnostic::Findings;
use crate::manifest::{Address, AddressSpec, Fleet, FleetSpec, Metadata};
use crate::names::{shown, validate_address_name, validate_name};
use crate::schema::shapes;
use crate::shape::Shape;
use crate::yaml::Node;

/// Labels of one document.
const MAX_LABELS: usize = 64;

/// Bytes of a label's key.
const MAX_LABEL_KEY: usize = 128;

/// Bytes of a label's value.
const MAX_LABEL_VALUE: usize = 256;

/// Bytes of the log filter.
const MAX_FILTER: usize = 1_024;

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
    fn new(code: Code, path: &[&str], message: impl Into<String>) -> Self {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        Self { code, path, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
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
    violations
}

pub(crate) fn address_spec(spec: &AddressSpec, parent: &[&str]) -> Vec<Violation> {
    let least = ("minMs", spec.ttl.min_ms);
    let default = ("defaultMs", spec.ttl.default_ms);
    let most = ("maxMs", spec.ttl.max_ms);
    [(least, most), (least, default), (default, most)]
        .into_iter()
        .filter_map(|(lower, upper)| out_of_order(lower, upper, parent))
        .collect()
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
    let mut violations = listeners(&spec.listeners, parent);
    violations.extend(log(&spec.log, parent));
    let path = [parent, &["limits", "idleTimeoutMs"]].concat();
    violations.extend(spec.limits.idle_timeout_ms.and_then(|timeout| idle_timeout(timeout, &path)));
    violations
}

pub(crate) fn daemon(config: &DaemonConfig) -> Vec<Violation> {
    let mut violations = listeners(&config.listeners, &[]);
    violations.extend(log(&config.log, &[]));
    violations.extend(idle_timeout(config.limits.idle_timeout_ms, &["limits", "idle-timeout-ms"]));
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
    for (name, listener) in [("amqp", &listeners.amqp), ("http", &listeners.http)] {
        if listener.host.parse::<IpAddr>().is_err() {
            let message = format!("listeners.{name}.host is `{}`, not an IP address", shown(&listener.host));
            let path = [parent, &["listeners", name, "host"]].concat();
            let help = "use an address of this machine such as 127.0.0.1, or 0.0.0.0 for all of them";
            violations.push(Violation::new(Code::InvalidValue, &path, message).help(help));
        }
    }
    let (amqp, http) = (&listeners.amqp, &listeners.http);
    if amqp.port != 0 && amqp.port == http.port && overlap(&amqp.host, &http.host) {
        let message = format!("listeners.amqp and listeners.http both want port {}", http.port);
        let path = [parent, &["listeners", "http", "port"]].concat();
        let help = "give one of them another port, or 0 for a free one";
        violations.push(Violation::new(Code::Conflict, &path, message).help(help));
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

fn result(violations: Vec<Violation>) -> Result<(), Invalid> {
    if violations.is_empty() { Ok(()) } else { Err(Invalid(violations)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::AddressType;

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
