//! What runs on the nodes of a fleet: the field `dataplane`, and what each of them can serve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::code::Code;
use crate::config::{ListenerConfig, Listeners, Where};
use crate::manifest::{Address, AddressSpec, AddressType, FleetSpec, Metadata, OnFull};
use crate::names::{shown, split_subscription};
use crate::validate::{Invalid, Violation, result};

/// What runs on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dataplane {
    /// The daemon of this project: router, broker and MQTT gateway in one.
    #[default]
    Mqd,
    /// RabbitMQ as it is installed on the machine, with its plugins for AMQP 1.0, MQTT 3.1.1 and management. One
    /// node, with queues, topics and subscriptions; what it cannot do is refused.
    Rabbitmq,
}

/// What a fleet of RabbitMQ may say; a field stands for all below it.
const FLEET_FIELDS: [&[&str]; 13] = [
    &["target"],
    &["nodes"],
    &["dataplane"],
    &["listeners", "amqp", "host"],
    &["listeners", "amqp", "port"],
    &["listeners", "mqtt", "host"],
    &["listeners", "mqtt", "port"],
    &["listeners", "mqtt", "enabled"],
    &["listeners", "http", "host"],
    &["listeners", "http", "port"],
    &["authentication", "anonymous"],
    &["log", "filter"],
    // A daemon has a default of its own, which is said as well as left out.
    &["log", "format"],
];

/// Why RabbitMQ does not take other fields of a fleet, and what is to be done; the first that fits.
const FLEET_REASONS: [(&[&str], &str); 8] = [
    (&["workers"], "it has schedulers of its own, one per core"),
    (&["listeners"], "mq sets up its listeners without TLS, proxies and spaces"),
    (&["tls"], "mq sets up its listeners without TLS"),
    (&["authentication"], "mq creates no users in it"),
    (&["limits"], "mq leaves it its own limits of clients"),
    (&["mqtt"], "mq leaves it its own limits of MQTT clients"),
    (&["store"], "it stores messages in its own way, below the state directory"),
    (&["mesh"], "mq runs one node of it, which has nobody to connect to"),
];

/// What a queue of RabbitMQ may say, and a subscription, which is one.
const QUEUE_FIELDS: [&[&str]; 9] = [
    &["type"],
    &["limits", "maxMessages"],
    &["limits", "maxBytes"],
    &["onFull"],
    &["ttl", "maxMs"],
    &["deadLetter"],
    &["expiryAddress"],
    &["exclusive"],
    &["subscription", "filter"],
];

/// Why RabbitMQ does not take other fields of an address.
const ADDRESS_REASONS: [(&[&str], &str); 12] = [
    (&["ttl"], "its queues know the longest time that a message may wait, and nothing else"),
    (&["limits", "maxProducers"], "it does not count the links of a queue"),
    (&["limits", "maxConsumers"], "it does not count the links of a queue"),
    (&["limits", "maxMessageSize"], "it has one limit for the messages of all queues"),
    (&["limits", "linkCredit"], "it gives each producer a credit of its own choice"),
    (&["priority"], "its queues keep the order in which messages came"),
    (&["maxDeliveries"], "mq does not have it count deliveries"),
    (&["redelivery"], "it delivers a message again at once"),
    (&["messageGroups"], "its queues know no groups"),
    (&["lastValue"], "its queues keep every message"),
    (&["deduplication"], "its queues keep every message"),
    (&["shards"], "mq runs one node of it, and a queue is stored there as a whole"),
];

impl Dataplane {
    /// Whether it is the one that is meant when nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What it is called, for people.
    pub fn product(self) -> &'static str {
        match self {
            Self::Mqd => "mqd",
            Self::Rabbitmq => "RabbitMQ",
        }
    }
}

impl Address {
    /// Checks that the data plane can serve the address as its document says.
    ///
    /// # Errors
    ///
    /// All that it cannot do, with why.
    pub fn validate_for(&self, dataplane: Dataplane) -> Result<(), Invalid> {
        result(address(&self.metadata, &self.spec, dataplane))
    }
}

/// What the data plane of a fleet cannot do of what the fleet says.
pub(crate) fn fleet(spec: &FleetSpec, parent: &[&str]) -> Vec<Violation> {
    if spec.dataplane.is_default() {
        return Vec::new();
    }
    let mut violations = unserved(&[spec, &FleetSpec::default()], &FLEET_FIELDS, &FLEET_REASONS, parent);
    let mut violate = |path: &[&str], message: &str, help: &str| {
        let path = [parent, path].concat();
        violations.push(Violation::new(Code::Unserved, &path, message).help(help));
    };
    if spec.nodes() > 1 {
        let message = "mq runs one node of RabbitMQ, and no cluster of them";
        violate(&["nodes"], message, "leave `nodes` out, or use `dataplane: mqd`");
    }
    if spec.target.kubernetes().is_some() {
        let message = "mq runs RabbitMQ on machines, and not in a cluster";
        violate(&["target"], message, "use `target: local` or `target: ssh`, or the operator of RabbitMQ");
    }
    if spec.target.hosts().len() > 1 {
        let message = "mq runs one node of RabbitMQ, and several hosts are named";
        violate(&["target", "ssh", "hosts"], message, "name one host");
    }
    if !["error", "warn", "info", "debug"].contains(&spec.log.filter.as_str()) {
        let message = "the log of RabbitMQ has one level for everything";
        violate(&["log", "filter"], message, "use `error`, `warn`, `info` or `debug`");
    }
    let listeners = Listeners::of_spec(spec);
    for (name, listener) in [("amqp", &listeners.amqp), ("mqtt", &listeners.mqtt)] {
        if listener.enabled && !admits(listener, spec.authentication.anonymous.unwrap_or_default()) {
            let message = format!("nobody would be let in at {name}: mq creates no users in RabbitMQ");
            let help = "listen on loopback, or set `authentication.anonymous: everywhere`";
            violate(&["listeners", name, "host"], &message, help);
        }
    }
    violations
}

/// Whether clients without a name are let in at a listener.
fn admits(listener: &ListenerConfig, anonymous: Where) -> bool {
    anonymous.includes(listener.is_local())
}

/// What a data plane cannot do of what an address says.
pub(crate) fn address(metadata: &Metadata, spec: &AddressSpec, dataplane: Dataplane) -> Vec<Violation> {
    if dataplane.is_default() {
        return Vec::new();
    }
    let of_type = |message: &str, help: &str| {
        vec![Violation::new(Code::Unserved, &["spec", "type"], message).help(help)]
    };
    match spec.kind {
        AddressType::Anycast => {
            let message = "RabbitMQ stores every message: it has no anycast addresses, whose messages go from one \
                           client to the other";
            return of_type(message, "make it a `queue`, or use `dataplane: mqd`");
        }
        AddressType::Multicast => {
            let message = "RabbitMQ tells a producer nothing of its consumers: it has no multicast addresses";
            return of_type(message, "make it a `topic`, or use `dataplane: mqd`");
        }
        AddressType::Queue | AddressType::Topic | AddressType::Subscription => {}
    }
    let fields: &[&[&str]] = if spec.kind == AddressType::Topic { &[&["type"]] } else { &QUEUE_FIELDS };
    let bare = AddressSpec::new(spec.kind);
    let reasons: &[(&[&str], &str)] = match spec.kind {
        AddressType::Topic => &[(&[], "its topics keep nothing; say it of their subscriptions")],
        _ => &ADDRESS_REASONS,
    };
    let mut violations = unserved(&[spec, &bare], fields, reasons, &["spec"]);
    violations.extend(names(&metadata.name, spec));
    violations.extend(ends(spec));
    violations
}

/// Names that mean something else to RabbitMQ.
fn names(name: &str, spec: &AddressSpec) -> Option<Violation> {
    let message = if name.starts_with("amq.") {
        format!("`{}` begins with `amq.`, which RabbitMQ keeps for itself", shown(name))
    } else if name.contains('*') {
        format!("`{}` has a `*`, which stands for any level in RabbitMQ", shown(name))
    } else {
        // What stands in a routing key is levels of it.
        let topic = match spec.kind {
            AddressType::Topic => Some(name),
            AddressType::Subscription => split_subscription(name).map(|(topic, _)| topic),
            _ => None,
        };
        let filter = spec.subscription.filter.as_deref();
        let parts = [topic, filter];
        let dotted = parts.into_iter().flatten().find(|part| part.contains(['.', '*']) || *part == "#")?;
        match dotted {
            "#" => "mq gives RabbitMQ no topic for every name".to_owned(),
            _ => {
                format!("`{}` has a `.` or a `*`, which RabbitMQ takes for levels of a topic", shown(dotted))
            }
        }
    };
    let violation = Violation::new(Code::Unserved, &["metadata", "name"], message);
    Some(violation.help("choose another name, or use `dataplane: mqd`"))
}

/// What becomes of messages that a queue does not keep.
fn ends(spec: &AddressSpec) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut violate = |field: &str, message: &str, help: &str| {
        violations.push(Violation::new(Code::Unserved, &["spec", field], message).help(help));
    };
    let has_room = spec.limits.max_messages.is_some() || spec.limits.max_bytes.is_some();
    match spec.on_full.unwrap_or_default() {
        OnFull::DropOldest => {}
        OnFull::Reject if has_room => violate(
            "onFull",
            "over AMQP 1.0 RabbitMQ ends the session of a producer whose message it has no room for",
            "use `onFull: drop-oldest`, or leave the limits out",
        ),
        OnFull::Block if has_room => violate(
            if spec.on_full.is_some() { "onFull" } else { "limits" },
            "RabbitMQ takes no credit back from the producers of a full queue",
            "use `onFull: drop-oldest`, or leave the limits out",
        ),
        OnFull::Reject | OnFull::Block => {}
    }
    if spec.dead_letter != spec.expiry_address {
        let field = if spec.dead_letter.is_some() { "deadLetter" } else { "expiryAddress" };
        violate(
            field,
            "RabbitMQ sends rejected and expired messages of a queue to the same place",
            "name the same address as `deadLetter` and as `expiryAddress`",
        );
    }
    if spec.dead_letter.is_some() && has_room {
        violate(
            "deadLetter",
            "RabbitMQ would send the messages there, too, that it drops to make room",
            "leave the limits or `deadLetter` out",
        );
    }
    violations
}

/// The fields that differ from their defaults, and are none of those that are served.
fn unserved<T: Serialize>(
    [value, default]: &[&T; 2],
    served: &[&[&str]],
    reasons: &[(&[&str], &str)],
    parent: &[&str],
) -> Vec<Violation> {
    let json = |value: &T| serde_json::to_value(value).unwrap_or_default();
    let mut found = Vec::new();
    differing(&json(value), &json(default), &mut Vec::new(), &mut found);
    let is_below = |path: &[String], field: &[&str]| {
        path.len() >= field.len() && path.iter().zip(field).all(|(name, part)| name == part)
    };
    let refused = found.iter().filter(|path| !served.iter().any(|field| is_below(path, field)));
    refused
        .map(|path| {
            let reason = reasons.iter().find(|(field, _)| is_below(path, field));
            let why = reason.map_or("it has nothing of that kind", |(_, why)| why);
            let message = format!("RabbitMQ cannot serve `{}`: {why}", path.join("."));
            let whole: Vec<&str> = parent.iter().copied().chain(path.iter().map(String::as_str)).collect();
            Violation::new(Code::Unserved, &whole, message).help("leave it out, or use `dataplane: mqd`")
        })
        .collect()
}

/// The paths of the values that are not the same in both.
fn differing(value: &Value, default: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    if value == default {
        return;
    }
    let Value::Object(fields) = value else {
        found.push(path.clone());
        return;
    };
    for (name, value) in fields {
        path.push(name.clone());
        differing(value, default.get(name).unwrap_or(&Value::Null), path, found);
        path.pop();
    }
}
