//! What the source of a consumer's attach asks for (AMQP 3.5.3), as JMS clients and others say it,
//! and what of it is granted.
//!
//! A *subscription* outlives a link or has several of them: its name is made from the container and
//! the link's name (AMQP 2.6.1: the two name a link for ever), and from nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use mq_amqp::codec::{decode_value, encode_value};
use mq_amqp::condition;
use mq_amqp::performative::{Error, Source, TerminusDurability, TerminusExpiryPolicy};
use mq_amqp::value::{Symbol, Text, Value};
use mq_core::Filter;
use mq_model::space::{qualified, split_qualified};

use crate::selector::Selector;
use crate::usage::Held;

/// A selector over properties and headers (`apache.org:selector-filter:string`).
const SELECTOR: (&str, u64) = ("apache.org:selector-filter:string", 0x0000_468C_0000_0004);

/// Nothing that the subscriber's own container sent (`apache.org:no-local-filter:list`).
const NO_LOCAL: (&str, u64) = ("apache.org:no-local-filter:list", 0x0000_468C_0000_0003);

/// The source is a queue, or behaves like one.
pub(super) const QUEUE: Symbol = Symbol::from_static("queue");

/// The source is a topic, or behaves like one.
pub(super) const TOPIC: Symbol = Symbol::from_static("topic");

/// Several links may consume from the subscription.
const SHARED: Symbol = Symbol::from_static("shared");

/// The subscription begins with what its topic retains. Also understood as a filter of this name.
const RETAINED: Symbol = Symbol::from_static("retained");

/// The subscription's name does not belong to one container.
const GLOBAL: Symbol = Symbol::from_static("global");

/// The distribution mode of a browser (AMQP 3.5.7).
pub(super) const COPY: Symbol = Symbol::from_static("copy");

/// The distribution mode of a consumer (AMQP 3.5.7).
pub(super) const MOVE: Symbol = Symbol::from_static("move");

/// Behind it stands what tells the links of one shared subscription apart.
const LINK_NUMBER: char = '|';

/// The version of a [`Definition`] in bytes.
const VERSION: u8 = 1;

/// The filters of a source: those that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    /// As the peer wrote them, to be echoed.
    pub(super) granted: Vec<(Symbol, Value)>,
    /// What the core asks about each message.
    pub(super) selector: Option<Arc<dyn Filter>>,
    /// Whether messages of the subscriber's own container are kept from it.
    pub(super) no_local: bool,
    /// Whether a new subscription begins with what its topic retains.
    pub(super) retained: bool,
}

impl Filters {
    /// Reads a source's filters. One that is not known is left out of those granted (AMQP 3.5.3).
    ///
    /// # Errors
    /// `amqp:invalid-field` when a selector cannot be understood.
    pub(super) fn read(filter: &[(Symbol, Value)]) -> Result<Self, Error> {
        let mut filters = Self::default();
        for (key, value) in filter {
            let is_known = if is_kind(key, value, SELECTOR) {
                let Some(text) = content(value).as_str() else {
                    return Err(Error::new(condition::INVALID_FIELD, "the selector filter is not a string"));
                };
                let selector = Selector::parse(text).map_err(|error| {
                    Error::new(condition::INVALID_FIELD, format!("the selector cannot be used: {error}"))
                })?;
                filters.selector = Some(Arc::new(selector) as Arc<dyn Filter>);
                true
            } else if is_kind(key, value, NO_LOCAL) {
                filters.no_local = true;
                true
            } else if is_retained(key, value) {
                filters.retained = true;
                true
            } else {
                false
            };
            if is_known {
                filters.granted.push((key.clone(), value.clone()));
            }
        }
        // Two sources that say the same in another order are the same.
        filters.granted.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(filters)
    }

    /// Leaves out the filter against the subscriber's own messages.
    pub(super) fn drop_no_local(&mut self) {
        self.no_local = false;
        self.granted.retain(|(key, value)| !is_kind(key, value, NO_LOCAL));
    }
}

/// The filter of a source that takes what a selector matches.
pub(super) fn selector_filter(selector: &str) -> (Symbol, Value) {
    let (_, code) = SELECTOR;
    (Symbol::from_static("selector"), Value::described(Value::ULong(code), Value::from(selector)))
}

/// What tells a container from others, in producers and in subscriptions without local messages: a
/// hash of its name (FNV-1a of 64 bits), which is the same after a restart.
pub(super) fn origin_of(container: &str) -> u64 {
    container.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Whether a filter is of this kind: by its descriptor, a symbol or a number, or, where it has none,
/// by the key under which it stands.
fn is_kind(key: &Symbol, value: &Value, (name, code): (&str, u64)) -> bool {
    match value {
        Value::Described(described) => match &described.0 {
            Value::Symbol(symbol) => symbol.as_str() == name,
            Value::ULong(number) => *number == code,
            _ => false,
        },
        _ => key.as_str() == name,
    }
}

/// Whether a filter asks for what a topic retains: its name says it all.
fn is_retained(key: &Symbol, value: &Value) -> bool {
    let name = match value {
        Value::Described(described) => described.0.as_str().unwrap_or_default(),
        _ => key.as_str(),
    };
    name == RETAINED.as_str() && *content(value) != Value::Boolean(false)
}

/// Whether a source asks for what its topic retains.
pub(super) fn wants_retained(source: &Source, filters: &Filters) -> bool {
    filters.retained || source.capabilities.contains(&RETAINED)
}

fn content(value: &Value) -> &Value {
    match value {
        Value::Described(described) => &described.1,
        value => value,
    }
}

/// The subscription that a source asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    /// Unique on the node.
    pub(super) name: Arc<str>,
    /// It is there until it is closed, also without a link and over a restart.
    pub(super) is_durable: bool,
    pub(super) is_shared: bool,
    /// It belongs to no single container.
    pub(super) is_global: bool,
}

/// The subscription of an attach, of whoever [`owner`] says; `None` when it is the link's own and ends with it.
pub(super) fn subscription_of(owner: &str, link: &str, source: &Source) -> Option<Subscription> {
    let has = |wanted: &Symbol| source.capabilities.contains(wanted);
    let is_shared = has(&SHARED);
    let is_global = is_shared && has(&GLOBAL);
    let is_durable =
        source.durable != TerminusDurability::None && source.expiry_policy == TerminusExpiryPolicy::Never;
    (is_shared || is_durable).then(|| Subscription {
        name: subscription_name(owner, link, is_shared, is_global, is_durable),
        is_durable,
        is_shared,
        is_global,
    })
}

/// The name of the subscription to which an attach without a source wants to come back
/// (AMQP 2.6.3): it is durable.
pub(super) fn resumed_name(owner: &str, link: &str, capabilities: &[Symbol]) -> Arc<str> {
    let has = |wanted: &Symbol| capabilities.contains(wanted);
    let is_shared = has(&SHARED);
    subscription_name(owner, link, is_shared, is_shared && has(&GLOBAL), true)
}

/// Whose a subscription is: a container's, and no other user's who calls his the same. Without a user it is
/// the container's name as it always was.
pub(super) fn owner(user: Option<&str>, container: &str) -> String {
    let container = escaped(container);
    match user {
        // Neither name holds the character that parts them.
        Some(user) => format!("{}~{container}", escaped(user)),
        None => container,
    }
}

fn subscription_name(owner: &str, link: &str, shared: bool, global: bool, durable: bool) -> Arc<str> {
    let link = if shared { link.split(LINK_NUMBER).next().unwrap_or_default() } else { link };
    // Subscriptions that end with their last link have names of their own.
    let kind = if durable { "" } else { "~" };
    let owner = if global { "" } else { owner };
    format!("{kind}{owner}:{link}").into()
}

/// The text without the characters that have a meaning in a subscription's name.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('~', "%7E")
}

/// The terminus that is granted for a source.
pub(super) fn granted(
    source: Source,
    subscription: Option<&Subscription>,
    filters: Filters,
    is_topic: bool,
) -> Source {
    let is_durable = subscription.is_some_and(|subscription| subscription.is_durable);
    let (durable, expiry_policy) = match (is_topic, is_durable) {
        (true, true) => (source.durable, TerminusExpiryPolicy::Never),
        (true, false) => (TerminusDurability::None, TerminusExpiryPolicy::LinkDetach),
        // What a queue holds does not depend on its links.
        (false, _) => (TerminusDurability::None, source.expiry_policy),
    };
    let known = [QUEUE, TOPIC, SHARED, GLOBAL];
    let is_known = |capability: &Symbol| known.contains(capability) || (is_topic && *capability == RETAINED);
    let capabilities = source.capabilities.into_iter().filter(is_known);
    Source {
        durable,
        expiry_policy,
        timeout: 0,
        filter: filters.granted,
        capabilities: capabilities.collect(),
        ..source
    }
}

/// What is kept beside a durable subscription to serve it again after a restart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition {
    /// The subscription's.
    pub(super) name: Text,
    /// The source's address inside the fleet.
    pub(super) address: Text,
    /// The container that subscribed; empty when it belongs to none.
    pub(super) container: Text,
    pub(super) is_shared: bool,
    pub(super) filter: Vec<(Symbol, Value)>,
    pub(super) capabilities: Vec<Symbol>,
}

impl Definition {
    /// The definition of a durable subscription to `address`, a name inside the fleet. Links that mean the same subscription
    /// have the same definition, byte for byte.
    pub(super) fn new(
        subscription: &Subscription,
        address: &str,
        container: Text,
        filters: &Filters,
        capabilities: &[Symbol],
    ) -> Self {
        let known = [GLOBAL, QUEUE, SHARED, TOPIC].into_iter();
        Self {
            name: Text::from(&*subscription.name),
            address: Text::from(address),
            container: if subscription.is_global { Text::default() } else { container },
            is_shared: subscription.is_shared,
            // How a subscription begins does not make it another one.
            filter: filters.granted.iter().filter(|(key, value)| !is_retained(key, value)).cloned().collect(),
            capabilities: known.filter(|known| capabilities.contains(known)).collect(),
        }
    }

    /// What the subscription is called inside the fleet: that of another space may have the same name.
    pub(super) fn key(&self) -> Cow<'_, str> {
        subscription_key(self.address.as_str(), self.name.as_str())
    }

    /// The source of an attach that asks for the subscription.
    pub(super) fn source(&self) -> Source {
        let (_, address) = split_qualified(self.address.as_str());
        Source {
            address: Some(Text::from(address)),
            durable: TerminusDurability::UnsettledState,
            expiry_policy: TerminusExpiryPolicy::Never,
            filter: self.filter.clone(),
            capabilities: self.capabilities.clone(),
            ..Source::default()
        }
    }

    /// Whether it belongs to no single container.
    pub(super) fn is_global(&self) -> bool {
        self.is_shared && self.capabilities.contains(&GLOBAL)
    }

    /// The text of its selector, if it has one.
    pub(super) fn selector(&self) -> Option<&str> {
        let selector = self.filter.iter().find(|(key, value)| is_kind(key, value, SELECTOR));
        selector.and_then(|(_, value)| content(value).as_str())
    }

    /// The definition in bytes: a list of AMQP values, the first of which is a version.
    pub(super) fn encode(&self) -> Bytes {
        let filter = self.filter.iter().map(|(key, value)| (Value::Symbol(key.clone()), value.clone()));
        let fields = vec![
            Value::UByte(VERSION),
            Value::String(self.name.clone()),
            Value::String(self.address.clone()),
            Value::String(self.container.clone()),
            Value::Boolean(self.is_shared),
            Value::Map(filter.collect()),
            Value::List(self.capabilities.iter().cloned().map(Value::Symbol).collect()),
        ];
        let mut out = BytesMut::new();
        encode_value(&mut out, &Value::List(fields));
        out.freeze()
    }

    /// The inverse of [`encode`](Self::encode); `None` for bytes that are none of ours.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let Value::List(fields) = decode_value(&mut bytes).ok()? else { return None };
        let [
            Value::UByte(VERSION),
            Value::String(name),
            Value::String(address),
            Value::String(container),
            Value::Boolean(is_shared),
            Value::Map(filter),
            Value::List(capabilities),
        ] = <[Value; 7]>::try_from(fields).ok()?
        else {
            return None;
        };
        let filter = filter.into_iter().map(|(key, value)| Some((symbol(key)?, value)));
        Some(Self {
            name,
            address,
            container,
            is_shared,
            filter: filter.collect::<Option<_>>()?,
            capabilities: capabilities.into_iter().map(symbol).collect::<Option<_>>()?,
        })
    }
}

/// What a subscription of a topic, which goes by its name inside the fleet, is called there itself.
pub(super) fn subscription_key<'n>(topic: &str, name: &'n str) -> Cow<'n, str> {
    qualified(split_qualified(topic).0, name)
}

/// The durable subscriptions that clients of the node have made, by [key](Definition::key). Shared by its shards;
/// asked when a link is attached. They are bounded by the core's limit for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions(Arc<Mutex<BTreeMap<Box<str>, Entry>>>);

#[derive(Debug)]
struct Entry {
    definition: Arc<Definition>,
    /// Links that use it now.
    links: usize,
    /// What it counts for, where it was made on this node.
    _counted: Option<Held>,
}

impl Subscriptions {
    /// The subscription is there, with this definition.
    pub(super) fn add(&self, definition: Definition, counted: Option<Held>) {
        let definition = Arc::new(definition);
        let mut entries = self.lock();
        match entries.get_mut(&*definition.key()) {
            Some(entry) => entry.definition = definition,
            None => {
                let key = definition.key().into();
                entries.insert(key, Entry { definition, links: 0, _counted: counted });
            }
        }
    }

    /// One more link uses the subscription.
    pub(super) fn use_one(&self, key: &str) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.links += 1;
        }
    }

    /// One link less uses it.
    pub(super) fn leave_one(&self, key: &str) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.links = entry.links.saturating_sub(1);
        }
    }

    /// The subscription has ended.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().remove(key);
    }

    /// The topic is gone, and its subscriptions with it.
    pub(crate) fn remove_topic(&self, topic: &str) {
        let is_below = |address: &str| {
            address.strip_prefix(topic).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.lock().retain(|_, entry| !is_below(entry.definition.address.as_str()));
    }

    /// The subscription ends when no link but the one that closes uses it.
    pub(super) fn remove_unless_used(&self, key: &str) {
        let mut entries = self.lock();
        if entries.get(key).is_some_and(|entry| entry.links <= 1) {
            entries.remove(key);
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Definition>> {
        self.lock().get(key).map(|entry| entry.definition.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn symbol(value: Value) -> Option<Symbol> {
    match value {
        Value::Symbol(symbol) => Some(symbol),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(durable: bool, capabilities: &[Symbol]) -> Source {
        Source {
            address: Some("events".into()),
            durable: if durable { TerminusDurability::UnsettledState } else { TerminusDurability::None },
            expiry_policy: if durable {
                TerminusExpiryPolicy::Never
            } else {
                TerminusExpiryPolicy::LinkDetach
            },
            capabilities: capabilities.to_vec(),
            ..Source::default()
        }
    }

    fn name(container: &str, link: &str, source: &Source) -> String {
        subscription_of(&owner(None, container), link, source).expect("a subscription").name.to_string()
    }

    #[test]
    fn container_and_link_name_a_durable_subscription() {
        let durable = source(true, &[TOPIC]);
        assert_eq!(name("client", "billing", &durable), "client:billing");
        assert_ne!(name("a:b", "c", &durable), name("a", "b:c", &durable));
        assert_ne!(name("a%3Ab", "c", &durable), name("a:b", "c", &durable));
        assert_eq!(subscription_of("client", "billing", &source(false, &[TOPIC])), None);
    }

    #[test]
    fn the_links_of_a_shared_subscription_have_one_name_whatever_number_they_carry() {
        let shared = source(true, &[TOPIC, SHARED]);
        for link in ["billing", "billing|2", "billing|global"] {
            assert_eq!(name("client", link, &shared), "client:billing");
        }
        let global = source(true, &[TOPIC, SHARED, GLOBAL]);
        assert_eq!(name("one", "billing|global", &global), name("two", "billing|global2", &global));
        let volatile = source(false, &[TOPIC, SHARED]);
        assert_eq!(name("client", "billing|volatile1", &volatile), "~client:billing");
        assert_eq!(name("client", "a|b", &source(true, &[TOPIC])), "client:a|b", "not shared");
    }

    #[test]
    fn an_attach_without_a_source_finds_the_name_again() {
        let durable = source(true, &[TOPIC]);
        assert_eq!(*resumed_name("client", "billing", &[]), name("client", "billing", &durable));
        let shared = source(true, &[TOPIC, SHARED, GLOBAL]);
        let capabilities = [SHARED, GLOBAL];
        assert_eq!(*resumed_name("client", "b|global", &capabilities), name("client", "b|global", &shared));
    }

    #[test]
    fn filters_are_known_by_name_and_by_number_and_others_are_left_out() {
        let by = |descriptor: Value, content: Value| {
            vec![
                (Symbol::from("mine"), Value::described(descriptor, content)),
                (Symbol::from("other"), Value::described(Value::ULong(99), Value::Null)),
            ]
        };
        let text = Value::from("colour = 'red'");
        for descriptor in [Value::Symbol(SELECTOR.0.into()), Value::ULong(SELECTOR.1)] {
            let filters = Filters::read(&by(descriptor, text.clone())).expect("a valid selector");
            assert!(filters.selector.is_some() && !filters.no_local);
            assert_eq!(filters.granted.len(), 1);
            assert_eq!(filters.granted[0].0.as_str(), "mine");
        }
        for descriptor in [Value::Symbol(NO_LOCAL.0.into()), Value::ULong(NO_LOCAL.1)] {
            let filters = Filters::read(&by(descriptor, Value::List(Vec::new()))).expect("valid");
            assert!(filters.selector.is_none() && filters.no_local);
        }
        let unknown = Filters::read(&by(Value::ULong(98), Value::Null)).expect("nothing to refuse");
        assert!(unknown.granted.is_empty() && unknown.selector.is_none());
    }

    #[test]
    fn what_a_topic_retains_is_asked_for_by_a_capability_or_a_filter() {
        let wants = |capabilities: &[Symbol], filter: &[(Symbol, Value)]| {
            let asked = Source { filter: filter.to_vec(), ..source(true, capabilities) };
            let filters = Filters::read(&asked.filter).expect("known filters");
            let subscription = subscription_of("client", "s", &asked).expect("a subscription");
            let definition =
                Definition::new(&subscription, "t", "client".into(), &filters, &asked.capabilities);
            let plain = source(true, &[TOPIC]);
            let same = Definition::new(
                &subscription,
                "t",
                "client".into(),
                &Filters::default(),
                &plain.capabilities,
            );
            assert_eq!(definition, same, "it is the same subscription");
            let is_wanted = wants_retained(&asked, &filters);
            let granted = granted(asked, Some(&subscription), filters, true);
            let is_granted = granted.capabilities.contains(&RETAINED) || !granted.filter.is_empty();
            assert_eq!(is_granted, is_wanted);
            is_wanted
        };
        assert!(!wants(&[TOPIC], &[]));
        assert!(wants(&[TOPIC, RETAINED], &[]));
        let described = Value::described(Value::Symbol(RETAINED), Value::Null);
        assert!(wants(&[TOPIC], &[("any".into(), described)]));
        assert!(wants(&[TOPIC], &[(RETAINED, Value::Boolean(true))]));
        assert!(!wants(&[TOPIC], &[(RETAINED, Value::Boolean(false))]));
        let of_queue = granted(source(false, &[QUEUE, RETAINED]), None, Filters::default(), false);
        assert_eq!(of_queue.capabilities, [QUEUE], "a queue retains nothing");
    }

    #[test]
    fn a_selector_that_cannot_be_understood_is_an_invalid_field() {
        for content in [Value::from("colour ="), Value::UInt(1)] {
            let filter = [(Symbol::from("s"), Value::described(Value::ULong(SELECTOR.1), content))];
            let error = Filters::read(&filter).expect_err("no selector");
            assert_eq!(error.condition, condition::INVALID_FIELD);
        }
    }

    #[test]
    fn the_subscriptions_of_a_topic_are_forgotten_with_it_and_others_are_not() {
        let subscriptions = Subscriptions::default();
        for address in ["events", "events/+/x", "events-of-others"] {
            subscriptions.add(
                Definition {
                    name: address.into(),
                    address: address.into(),
                    container: "client".into(),
                    is_shared: false,
                    filter: Vec::new(),
                    capabilities: Vec::new(),
                },
                None,
            );
        }
        subscriptions.remove_topic("events");
        assert!(subscriptions.find("events").is_none() && subscriptions.find("events/+/x").is_none());
        assert!(subscriptions.find("events-of-others").is_some());
    }

    #[test]
    fn subscriptions_of_two_spaces_have_nothing_to_do_with_each_other() {
        let of = |address: &str| Definition {
            name: "client:billing".into(),
            address: address.into(),
            container: "client".into(),
            is_shared: false,
            filter: Vec::new(),
            capabilities: Vec::new(),
        };
        let subscriptions = Subscriptions::default();
        for address in ["$s/acme/events", "$s/other/events", "events"] {
            subscriptions.add(of(address), None);
        }
        let found = subscriptions.find("$s/acme/client:billing").expect("that of acme");
        assert_eq!(found.address.as_str(), "$s/acme/events");
        assert_eq!(found.source().address, Some("events".into()));
        subscriptions.remove_topic("events");
        assert!(subscriptions.find("client:billing").is_none());
        subscriptions.remove(&of("$s/other/events").key());
        assert!(subscriptions.find("$s/other/client:billing").is_none());
        assert!(subscriptions.find("$s/acme/client:billing").is_some());
    }

    #[test]
    fn a_subscription_that_another_link_uses_does_not_end_with_one_of_them() {
        let subscriptions = Subscriptions::default();
        subscriptions.add(
            Definition {
                name: "s".into(),
                address: "events".into(),
                container: "".into(),
                is_shared: true,
                filter: Vec::new(),
                capabilities: Vec::new(),
            },
            None,
        );
        subscriptions.use_one("s");
        subscriptions.use_one("s");
        subscriptions.remove_unless_used("s");
        assert!(subscriptions.find("s").is_some());
        subscriptions.leave_one("s");
        subscriptions.remove_unless_used("s");
        assert!(subscriptions.find("s").is_none());
    }

    #[test]
    fn a_definition_comes_back_from_its_bytes() {
        let definition = Definition {
            name: "client:billing".into(),
            address: "events/+/x".into(),
            container: "client".into(),
            is_shared: true,
            filter: vec![("s".into(), Value::described(Value::ULong(SELECTOR.1), "a = 1".into()))],
            capabilities: vec![TOPIC, SHARED],
        };
        assert_eq!(Definition::decode(definition.encode()), Some(definition));
        assert_eq!(Definition::decode(Bytes::from_static(b"\x45")), None);
        assert_eq!(Definition::decode(Bytes::new()), None);
    }
}
