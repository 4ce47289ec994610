//! What clients of AMQP 1.0 call the addresses of a fleet of RabbitMQ.
//!
//! A queue is `/amq/queue/NAME`, which RabbitMQ does not make up. Topics are levels of its exchange `amq.topic`,
//! where MQTT publishes as well: a level ends with `.` there, and `*` stands for any one. Whoever receives from
//! `/topic/KEY` gets a queue of his own that ends with the link.

use mq_model::{
    manifest::{Address, AddressType},
    split_subscription,
};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Which way messages go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    To,
    From,
}

/// Whether a name is one of RabbitMQ's own, which is taken as it is.
pub fn is_own(name: &str) -> bool {
    name.starts_with('/')
}

/// An address for replies, which nobody else knows and which ends with its link.
pub fn reply_address() -> String {
    format!("/topic/mq.reply.{}", uuid::Uuid::new_v4().simple())
}

/// What RabbitMQ calls the address of this name.
///
/// # Errors
///
/// Nobody has created an address that serves the name, or it is one of the other way.
pub fn terminus(name: &str, way: Way, addresses: &[Address]) -> Outcome<String> {
    if is_own(name) {
        return Ok(name.to_owned());
    }
    let Some(address) = serving(name, addresses) else {
        return Err(Failure::new(Exit::NotFound, format!("there is no address `{name}`"))
            .help(format!("create it with `mq address create {name} --type queue`")));
    };
    match (address.spec.kind, way) {
        (AddressType::Topic, Way::To) => Ok(format!("/topic/{}", routing_key(name))),
        // All that is sent below the topic, unless levels are named.
        (AddressType::Topic, Way::From) if name == address.metadata.name => {
            Ok(format!("/topic/{}.#", routing_key(name)))
        }
        (AddressType::Topic, Way::From) => Ok(format!("/topic/{}", routing_key(name))),
        (AddressType::Subscription, Way::To) => {
            let topic = split_subscription(name).map_or(name, |(topic, _)| topic);
            Err(Failure::usage(format!("`{name}` is a subscription, which is received from"))
                .help(format!("send to its topic, `{topic}`")))
        }
        _ => Ok(format!("/amq/queue/{}", escaped(name))),
    }
}

/// The address that serves a name: the one that is called so, or the closest topic above it.
fn serving<'a>(name: &str, addresses: &'a [Address]) -> Option<&'a Address> {
    let of_name = |name: &str| addresses.iter().find(|address| address.metadata.name == name);
    let mut above = std::iter::successors(name.rsplit_once('/'), |(above, _)| above.rsplit_once('/'));
    of_name(name).or_else(|| {
        above.find_map(|(above, _)| of_name(above).filter(|address| address.spec.kind == AddressType::Topic))
    })
}

/// Levels and wildcards of a topic filter as RabbitMQ writes them (its topic exchanges).
pub fn routing_key(topic: &str) -> String {
    topic.replace('/', ".").replace('+', "*")
}

/// A name as one part of an address.
fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::AddressSpec;

    use super::*;

    fn addresses() -> Vec<Address> {
        [
            ("orders", AddressType::Queue),
            ("a/b%", AddressType::Queue),
            ("events", AddressType::Topic),
            ("events/eu", AddressType::Topic),
            ("events::audit", AddressType::Subscription),
        ]
        .map(|(name, kind)| Address::new(name, AddressSpec::new(kind)))
        .to_vec()
    }

    fn found(name: &str, way: Way) -> String {
        terminus(name, way, &addresses()).unwrap()
    }

    #[test]
    fn a_queue_is_one_and_the_same_for_both_ways() {
        assert_eq!(found("orders", Way::To), "/amq/queue/orders");
        assert_eq!(found("orders", Way::From), "/amq/queue/orders");
        assert_eq!(found("a/b%", Way::From), "/amq/queue/a%2Fb%25");
        assert_eq!(found("events::audit", Way::From), "/amq/queue/events::audit");
    }

    #[test]
    fn a_topic_is_received_from_with_all_that_is_below_it() {
        assert_eq!(found("events", Way::To), "/topic/events");
        assert_eq!(found("events", Way::From), "/topic/events.#");
        assert_eq!(found("events/eu", Way::From), "/topic/events.eu.#");
        assert_eq!(found("events/us/1", Way::To), "/topic/events.us.1");
        assert_eq!(found("events/+/1", Way::From), "/topic/events.*.1");
        assert_eq!(found("events/#", Way::From), "/topic/events.#");
    }

    #[test]
    fn names_of_its_own_are_taken_as_they_are() {
        assert_eq!(found("/exchange/e/k", Way::To), "/exchange/e/k");
    }

    #[test]
    fn a_name_that_nobody_serves_is_not_made_up() {
        for name in ["order", "orders/1", "event"] {
            assert_eq!(terminus(name, Way::To, &addresses()).unwrap_err().exit, Exit::NotFound, "{name}");
        }
        assert_eq!(terminus("events::audit", Way::To, &addresses()).unwrap_err().exit, Exit::Usage);
    }
}
