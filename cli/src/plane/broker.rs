//! The addresses of a node as objects of RabbitMQ.
//!
//! What is wanted of each address is in a file of the node; what RabbitMQ has follows from it. A queue, and a
//! subscription, is a quorum queue: stored, and the only kind that can say over AMQP 1.0 that it is empty. Its
//! limits are a policy of its name, since those can change while it is used. It is bound to the exchange of topics:
//! a queue by its name, so that MQTT reaches it, a subscription by its filter. A topic is no object at all.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use mq_model::{
    Dataplane, Secret,
    config::Durability,
    manifest::{Address, AddressSpec, AddressStatus, AddressType, QueueStatus},
    split_subscription,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    files::ANONYMOUS,
    management::{Connection, HOST, Management, Overview, Queue},
    names::routing_key,
    state::{Kept, State, read_json, write_json},
};
use crate::failure::{Failure, Outcome};

/// The exchange of topics, where MQTT publishes as well.
const TOPICS: &str = "amq.topic";
/// The file with what is wanted of each address.
const CATALOGUE: &str = "addresses.json";
/// The most addresses of a node.
const MAX_ADDRESSES: usize = 100_000;
/// The order of a policy among those that fit a queue, of which one counts.
const PRIORITY: u32 = 100;

/// What the addresses of a node are, and what RabbitMQ has of them.
#[derive(Debug)]
pub(super) struct Broker {
    management: Management,
    path: PathBuf,
    anonymous_password: Secret,
    /// One change at a time.
    catalogue: Mutex<BTreeMap<String, Address>>,
}

/// Why a change is not made.
#[derive(Debug)]
pub(super) enum Refused {
    NotFound(String),
    Conflict(String),
    Invalid(String),
    /// The broker does not answer, or not as it should.
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Broker {
    pub(super) fn open(kept: &Kept, state: &State) -> Outcome<Self> {
        let management = Management::new(kept)?;
        let path = state.file(CATALOGUE);
        let listed: Vec<Address> = read_json(&path)?.unwrap_or_default();
        let catalogue = listed.into_iter().map(|address| (address.metadata.name.clone(), address)).collect();
        let anonymous_password = kept.anonymous_password.clone();
        Ok(Self { management, path, anonymous_password, catalogue: Mutex::new(catalogue) })
    }

    /// The version of RabbitMQ, once it answers.
    pub(super) async fn version(&self) -> Outcome<String> {
        Ok(self.management.overview().await?.rabbitmq_version)
    }

    /// That clients can connect to a port.
    pub(super) async fn listens(&self, port: u16) -> Outcome {
        self.management.check_listener(port).await
    }

    pub(super) async fn overview(&self) -> Outcome<Overview> {
        self.management.overview().await
    }

    pub(super) async fn connections(&self) -> Outcome<Vec<Connection>> {
        self.management.connections().await
    }

    /// Ends a connection; says whether it was there.
    pub(super) async fn close(&self, connection: &str) -> Outcome<bool> {
        self.management.delete(&["connections", connection]).await
    }

    pub(super) async fn metrics(&self) -> Outcome<String> {
        self.management.metrics().await
    }

    /// Sees to it that clients without a name can do everything, and that every address is there.
    pub(super) async fn prepare(&self) -> Outcome {
        let user = json!({ "password": self.anonymous_password.expose(), "tags": "" });
        self.management.put(&["users", ANONYMOUS], &user).await?;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.management.put(&["permissions", HOST, ANONYMOUS], &all).await?;
        for address in self.catalogue.lock().await.values() {
            self.make(address).await?;
        }
        Ok(())
    }

    /// Every address, with what it holds.
    pub(super) async fn addresses(&self) -> Outcome<Vec<Address>> {
        let wanted: Vec<Address> = self.catalogue.lock().await.values().cloned().collect();
        let (held, counted) = tokio::try_join!(self.management.totals(), self.management.queues())?;
        let by_name = |queues: Vec<Queue>| -> HashMap<String, Queue> {
            queues.into_iter().map(|queue| (queue.name.clone(), queue)).collect()
        };
        let (held, counted) = (by_name(held), by_name(counted));
        let with_status = |mut address: Address| {
            let name = &address.metadata.name;
            address.status = Some(match address.spec.kind {
                AddressType::Topic => AddressStatus { ready: true, ..AddressStatus::default() },
                _ => status(held.get(name), counted.get(name)),
            });
            address
        };
        Ok(wanted.into_iter().map(with_status).collect())
    }

    pub(super) async fn address(&self, name: &str) -> Result<Address, Refused> {
        let found = self.addresses().await?.into_iter().find(|address| address.metadata.name == name);
        found.ok_or_else(|| no_address(name))
    }

    /// Creates or updates an address; says whether it is new.
    pub(super) async fn put(&self, wanted: Address, must_be_new: bool) -> Result<bool, Refused> {
        let wanted = Address { status: None, ..wanted };
        wanted.validate().map_err(|error| Refused::Invalid(error.to_string()))?;
        let served = wanted.validate_for(Dataplane::Rabbitmq);
        served.map_err(|error| Refused::Invalid(error.to_string()))?;
        if wanted.metadata.space() != mq_model::space::DEFAULT_SPACE {
            return Err(Refused::Invalid("mq gives RabbitMQ no address spaces".into()));
        }
        let mut catalogue = self.catalogue.lock().await;
        let there = catalogue.get(&wanted.metadata.name);
        check(&wanted, there, &catalogue)?;
        let is_new = there.is_none();
        if must_be_new && !is_new {
            return Err(Refused::Conflict(format!("the address `{}` exists", wanted.metadata.name)));
        }
        if there == Some(&wanted) {
            return Ok(false);
        }
        self.make(&wanted).await?;
        catalogue.insert(wanted.metadata.name.clone(), wanted);
        self.write(&catalogue)?;
        Ok(is_new)
    }

    /// Deletes an address with what it holds.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Refused> {
        let mut catalogue = self.catalogue.lock().await;
        let Some(there) = catalogue.get(name) else { return Err(no_address(name)) };
        if let Some(subscription) = subscriptions(name, &catalogue).next() {
            return Err(Refused::Conflict(format!(
                "the topic `{name}` has the subscription `{subscription}`; delete that first"
            )));
        }
        if there.spec.kind != AddressType::Topic {
            self.management.delete(&["queues", HOST, name]).await?;
            self.management.delete(&["policies", HOST, &policy_name(name)]).await?;
        }
        catalogue.remove(name);
        self.write(&catalogue)?;
        Ok(())
    }

    /// Drops the messages that a queue has ready, and says how many those were.
    pub(super) async fn purge(&self, name: &str) -> Result<u64, Refused> {
        let address = self.address(name).await?;
        if address.spec.kind == AddressType::Topic {
            return Err(Refused::Conflict(format!("`{name}` is a topic, which holds nothing")));
        }
        let ready = address.status.and_then(|status| status.queue).map_or(0, |queue| queue.available);
        self.management.delete(&["queues", HOST, name, "contents"]).await?;
        Ok(ready)
    }

    /// Bytes of the messages that are stored, and how many they are.
    pub(super) fn stored(addresses: &[Address]) -> (u64, u64) {
        let queues = addresses.iter().filter_map(|address| address.status.as_ref()?.queue.as_ref());
        queues.fold((0, 0), |(bytes, messages), queue| (bytes + queue.bytes, messages + queue.messages))
    }

    /// Has RabbitMQ have what the address stands for.
    async fn make(&self, address: &Address) -> Outcome {
        let name = &address.metadata.name;
        let key = match address.spec.kind {
            AddressType::Topic => return Ok(()),
            AddressType::Subscription => filter_key(address),
            _ => routing_key(name),
        };
        let queue = json!({ "durable": true, "arguments": arguments(&address.spec) });
        self.management.put(&["queues", HOST, name], &queue).await?;
        match policy(name, &address.spec) {
            Some(policy) => {
                self.management.put(&["policies", HOST, &policy_name(name)], &policy).await?;
            }
            None => {
                self.management.delete(&["policies", HOST, &policy_name(name)]).await?;
            }
        }
        let path = ["bindings", HOST, "e", TOPICS, "q", name];
        let bound = self.management.bindings(TOPICS, name).await?;
        // First the new one, so that no message falls between the two.
        if !bound.iter().any(|binding| binding.routing_key == key) {
            self.management.post(&path, &json!({ "routing_key": key })).await?;
        }
        for other in bound.iter().filter(|binding| binding.routing_key != key) {
            let path = [&path[..], &[&other.properties_key]].concat();
            self.management.delete(&path).await?;
        }
        Ok(())
    }

    fn write(&self, catalogue: &BTreeMap<String, Address>) -> Outcome {
        write_json(&self.path, &catalogue.values().collect::<Vec<_>>())
    }
}

fn no_address(name: &str) -> Refused {
    Refused::NotFound(format!("there is no address `{name}`"))
}

/// Whether the address can be had beside the others.
fn check(
    wanted: &Address,
    there: Option<&Address>,
    catalogue: &BTreeMap<String, Address>,
) -> Result<(), Refused> {
    let name = &wanted.metadata.name;
    if there.is_none() && catalogue.len() >= MAX_ADDRESSES {
        return Err(Refused::Conflict(format!("there are {MAX_ADDRESSES} addresses, the most of a node")));
    }
    if there.is_some_and(|there| there.spec.kind != wanted.spec.kind) {
        return Err(Refused::Conflict(format!("the address `{name}` is of another type; delete it first")));
    }
    if there.is_some_and(|there| there.spec.exclusive != wanted.spec.exclusive) {
        let message = format!(
            "RabbitMQ does not change `exclusive` of a queue that is there; delete the address `{name}` first"
        );
        return Err(Refused::Conflict(message));
    }
    let is_topic =
        |name: &str| catalogue.get(name).is_some_and(|address| address.spec.kind == AddressType::Topic);
    if let Some((topic, _)) = split_subscription(name)
        && !is_topic(topic)
    {
        return Err(Refused::Invalid(format!(
            "there is no topic `{topic}` to subscribe to; create it first"
        )));
    }
    match wanted.spec.dead_letter.as_deref().filter(|target| is_topic(target) || *target == name) {
        Some(target) => Err(Refused::Invalid(format!(
            "RabbitMQ sends what a queue does not keep to another queue, and `{target}` is none"
        ))),
        None => Ok(()),
    }
}

fn subscriptions<'a>(
    topic: &'a str,
    catalogue: &'a BTreeMap<String, Address>,
) -> impl Iterator<Item = &'a str> {
    let names = catalogue.keys().map(String::as_str);
    names.filter(move |name| split_subscription(name).is_some_and(|(of, _)| of == topic))
}

/// What a queue is for as long as it is there.
fn arguments(spec: &AddressSpec) -> Value {
    let mut arguments = json!({ "x-queue-type": "quorum" });
    if spec.exclusive {
        arguments["x-single-active-consumer"] = true.into();
    }
    arguments
}

/// What may change of a queue; `None`: nothing is said of it.
fn policy(name: &str, spec: &AddressSpec) -> Option<Value> {
    let mut definition = serde_json::Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        definition.extend(value.map(|value| (key.to_owned(), value)));
    };
    let has_room = spec.limits.max_messages.is_some() || spec.limits.max_bytes.is_some();
    set("max-length", spec.limits.max_messages.map(Value::from));
    set("max-length-bytes", spec.limits.max_bytes.map(Value::from));
    set("overflow", has_room.then(|| "drop-head".into()));
    set("message-ttl", spec.ttl.max_ms.map(Value::from));
    // The default exchange finds a queue by its name.
    set("dead-letter-exchange", spec.dead_letter.as_ref().map(|_| "".into()));
    set("dead-letter-routing-key", spec.dead_letter.as_deref().map(Value::from));
    if definition.is_empty() {
        return None;
    }
    let pattern = format!("^{}$", literal(name));
    Some(json!({
        "pattern": pattern,
        "definition": definition,
        "apply-to": "queues",
        "priority": PRIORITY,
    }))
}

/// A pattern that fits this text alone.
fn literal(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '/' | ':' | ' ');
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if !is_plain(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

fn policy_name(address: &str) -> String {
    format!("mq:{address}")
}

/// By what a subscription gets its messages: the names of its filter, or all of its topic.
fn filter_key(address: &Address) -> String {
    match &address.spec.subscription.filter {
        Some(filter) => routing_key(filter),
        None => {
            let name = &address.metadata.name;
            let topic = split_subscription(name).map_or(name.as_str(), |(topic, _)| topic);
            format!("{}.#", routing_key(topic))
        }
    }
}

/// What is known of a queue; one that is not there is not ready.
fn status(held: Option<&Queue>, counted: Option<&Queue>) -> AddressStatus {
    let Some(held) = held else { return AddressStatus::default() };
    let counted = counted.cloned().unwrap_or_default();
    let queue = QueueStatus {
        messages: held.messages,
        bytes: counted.message_bytes,
        available: held.messages_ready,
        acquired: held.messages_unacknowledged,
        enqueued: counted.message_stats.publish,
        acknowledged: counted.message_stats.ack,
        redelivered: counted.message_stats.redeliver,
        ..QueueStatus::default()
    };
    AddressStatus {
        ready: true,
        consumers: counted.consumers,
        deliveries_in: counted.message_stats.publish,
        deliveries_out: counted.message_stats.deliver_get,
        undelivered: held.messages_ready,
        unsettled: held.messages_unacknowledged,
        queue: Some(queue),
        ..AddressStatus::default()
    }
}

/// How the messages of a queue are stored: RabbitMQ syncs a quorum queue's log before it confirms.
pub(super) const DURABILITY: Durability = Durability::Fsync;

#[cfg(test)]
mod tests {
    use mq_model::manifest::OnFull;

    use super::*;

    fn queue(change: impl FnOnce(&mut AddressSpec)) -> AddressSpec {
        let mut spec = AddressSpec::new(AddressType::Queue);
        change(&mut spec);
        spec
    }

    fn catalogue(addresses: &[(&str, AddressType)]) -> BTreeMap<String, Address> {
        let made = addresses
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), Address::new(*name, AddressSpec::new(*kind))));
        made.collect()
    }

    #[test]
    fn a_plain_queue_is_stored_and_has_no_policy() {
        let spec = queue(|_| ());
        assert_eq!(arguments(&spec), json!({ "x-queue-type": "quorum" }));
        assert_eq!(policy("orders", &spec), None);
    }

    #[test]
    fn limits_and_dead_letters_are_a_policy_that_fits_the_queue_alone() {
        let spec = queue(|spec| {
            spec.limits.max_messages = Some(10);
            spec.on_full = Some(OnFull::DropOldest);
            spec.ttl.max_ms = Some(5);
            spec.dead_letter = Some("dead".into());
        });
        let policy = policy("a.b/c+1", &spec).unwrap();
        assert_eq!(policy["pattern"], r"^a\.b/c\+1$");
        assert_eq!(
            policy["definition"],
            json!({
                "max-length": 10, "overflow": "drop-head", "message-ttl": 5,
                "dead-letter-exchange": "", "dead-letter-routing-key": "dead",
            })
        );
    }

    #[test]
    fn a_subscription_gets_what_its_filter_names_or_all_of_its_topic() {
        let mut address = Address::new("events/eu::audit", AddressSpec::new(AddressType::Subscription));
        assert_eq!(filter_key(&address), "events.eu.#");
        address.spec.subscription.filter = Some("events/eu/+/x".into());
        assert_eq!(filter_key(&address), "events.eu.*.x");
    }

    #[test]
    fn what_rabbitmq_cannot_change_is_a_conflict() {
        let there = catalogue(&[("a", AddressType::Queue)]);
        let exclusive = Address::new("a", queue(|spec| spec.exclusive = true));
        let topic = Address::new("a", AddressSpec::new(AddressType::Topic));
        for wanted in [exclusive, topic] {
            assert!(matches!(check(&wanted, there.get("a"), &there), Err(Refused::Conflict(_))));
        }
    }

    #[test]
    fn a_subscription_needs_its_topic_and_keeps_it() {
        let wanted = Address::new("t::s", AddressSpec::new(AddressType::Subscription));
        assert!(matches!(check(&wanted, None, &BTreeMap::new()), Err(Refused::Invalid(_))));
        let both = catalogue(&[("t", AddressType::Topic), ("t::s", AddressType::Subscription)]);
        assert!(check(&wanted, None, &both).is_ok());
        assert_eq!(subscriptions("t", &both).collect::<Vec<_>>(), ["t::s"]);
    }

    #[test]
    fn dead_letters_go_to_a_queue_and_not_to_a_topic() {
        let there = catalogue(&[("t", AddressType::Topic)]);
        let wanted = Address::new("a", queue(|spec| spec.dead_letter = Some("t".into())));
        assert!(matches!(check(&wanted, None, &there), Err(Refused::Invalid(_))));
    }
}
