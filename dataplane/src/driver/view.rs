//! What the admin API sees of a shard's connections.

use std::time::Instant;

use mq_amqp::performative::Role;
use mq_core::{ConsumerKey, ProducerKey, Refused, SubscriptionStatistics};
use mq_model::admin;
use mq_model::space::split_qualified;

use super::connection::{Connection, Life};
use super::protocol::{Farewell, Protocol};
use super::terminus::subscription_key;
use super::{Shard, amqp};
use crate::hub::{MqttStatistics, Subscription};
use crate::tls::Encryption;

impl Shard {
    /// What the shard has done for clients of MQTT.
    pub(crate) fn mqtt_statistics(&self) -> MqttStatistics {
        let (clients, messages) = (self.mqtt.counters, self.mqtt.messages.counters);
        MqttStatistics {
            connections: self.mqtt.sessions.connected() as u64,
            sessions: self.mqtt.sessions.len() as u64,
            subscriptions: self.core.live_subscriptions().into(),
            retained: self.core.retained_names().into(),
            connected: clients.connected,
            resumed: clients.resumed,
            refused: clients.refused,
            taken_over: clients.taken_over,
            sessions_expired: clients.expired,
            wills: clients.wills,
            wills_refused: clients.wills_refused,
            published: messages.published,
            sent: messages.sent,
            publishes_refused: messages.refused,
            rejected: messages.rejected,
            dropped_slow: messages.dropped_slow,
            dropped_full: messages.dropped_full,
            dropped_large: messages.dropped_large,
            dropped_unfit: messages.dropped_unfit,
            expired: messages.expired,
        }
    }

    /// Every client of AMQP, with the key of its connection.
    fn amqp_clients(&self) -> impl Iterator<Item = (usize, &Connection, &amqp::Client)> {
        self.connections.iter().filter_map(|(key, connection)| match &connection.protocol {
            Protocol::Amqp(client) => Some((key, &**connection, &**client)),
            Protocol::Mqtt(_) | Protocol::Preface(_) | Protocol::Tunnelled(_) => None,
        })
    }

    /// Every connection, but for those that another node serves: that shows them.
    pub(crate) fn connections(&self) -> impl Iterator<Item = admin::Connection> {
        let served = self.connections.iter().map(|(_, connection)| connection);
        let served = served.filter(|connection| !matches!(connection.protocol, Protocol::Tunnelled(_)));
        served.map(|connection| self.connection_view(connection))
    }

    fn connection_view(&self, connection: &Connection) -> admin::Connection {
        let view = admin::Connection {
            id: self.connection_name(connection.number),
            listener: connection.listener.to_string(),
            protocol: connection.protocol.kind(),
            version: None,
            peer: connection.peer.to_string(),
            container: connection.protocol.peer_name().to_owned(),
            // Nobody, as long as it is not known.
            user: connection.caller.access.as_ref().map_or("", |access| access.name()).to_owned(),
            space: space_of(connection),
            product: None,
            opened_at: connection.caller.opened_at,
            worker: self.id.0,
            sessions: 0,
            producers: 0,
            consumers: 0,
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            tls: connection.caller.encryption.as_deref().map(Encryption::view),
        };
        match &connection.protocol {
            Protocol::Amqp(client) => with_amqp(view, client),
            Protocol::Mqtt(client) => {
                admin::Connection { version: Some(client.engine.version().to_string()), ..view }
            }
            Protocol::Preface(_) | Protocol::Tunnelled(_) => view,
        }
    }

    /// The slab key of a connection by its name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let (shard, number) = name.strip_prefix('c')?.split_once('-')?;
        if shard.parse() != Ok(self.id.0) {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        self.connections.iter().find(|(_, connection)| connection.number == number).map(|(key, _)| key)
    }

    /// The sessions of a connection, when it is here.
    pub(crate) fn sessions(&self, connection: &str) -> Option<Vec<admin::Session>> {
        let key = self.find(connection)?;
        // A connection of MQTT has none of these.
        let Some(client) = self.connections.amqp(key) else { return Some(Vec::new()) };
        let view = |session: mq_amqp::SessionInfo| admin::Session {
            channel: session.remote_channel,
            incoming_window: session.incoming_window,
            remote_incoming_window: session.remote_incoming_window,
            links: u32::try_from(session.links).unwrap_or(u32::MAX),
            unsettled_in: session.unsettled_incoming as u64,
            unsettled_out: session.unsettled_outgoing as u64,
        };
        Some(client.engine.sessions().map(view).collect())
    }

    /// Links, of one address (as the fleet calls it) and of one connection when given.
    pub(crate) fn links(&self, address: Option<&str>, connection: Option<&str>) -> Vec<admin::Link> {
        let wanted = connection.map(|name| self.find(name));
        let clients =
            self.amqp_clients().filter(|(key, ..)| wanted.is_none_or(|wanted| wanted == Some(*key)));
        let links = clients.flat_map(|(_, connection, client)| {
            let (name, space) = (self.connection_name(connection.number), space_of(connection));
            client.engine.links().filter_map(move |link| self.link_view(&name, &space, address, &link))
        });
        links.collect()
    }

    /// A link, when it is one of the wanted address.
    fn link_view(
        &self,
        connection: &str,
        space: &str,
        wanted: Option<&str>,
        link: &mq_amqp::LinkInfo<'_>,
    ) -> Option<admin::Link> {
        let (reference, direction, unsettled) = match link.role {
            Role::Receiver => {
                let statistics = self.core.producer(ProducerKey::from_bits(link.token)?)?;
                (self.producers.get(link.token)?, admin::LinkDirection::Producer, statistics.unsettled)
            }
            Role::Sender => {
                let statistics = self.core.consumer(ConsumerKey::from_bits(link.token)?)?;
                (self.consumers.get(link.token)?, admin::LinkDirection::Consumer, statistics.unsettled)
            }
        };
        let address = reference.address.as_deref();
        if wanted.is_some() && wanted != address {
            return None;
        }
        Some(admin::Link {
            connection: connection.into(),
            space: space.into(),
            name: link.name.to_string(),
            direction,
            address: address.map(|address| split_qualified(address).1.into()),
            credit: link.credit,
            unsettled,
            deliveries: link.deliveries,
        })
    }

    /// The subscriptions of a topic whose home the shard is.
    pub(crate) fn subscriptions_of(&self, topic: &str) -> Vec<Subscription> {
        let of = |statistics: SubscriptionStatistics| {
            let definition = self.shared.subscriptions.find(&subscription_key(topic, &statistics.name));
            let container = definition.as_ref().filter(|definition| !definition.is_global());
            Subscription {
                container: container.map(|definition| definition.container.to_string()),
                selector: definition.as_ref().and_then(|definition| definition.selector()).map(str::to_owned),
                statistics,
            }
        };
        self.core.subscriptions(topic).into_iter().map(of).collect()
    }

    /// Ends a durable subscription of a topic whose home the shard is; false when there is none.
    pub(crate) fn remove_subscription(
        &mut self,
        now: Instant,
        topic: &str,
        name: &str,
    ) -> Result<bool, Refused> {
        let removed = self.core.end_subscription(now, topic, name)?;
        if removed {
            self.shared.subscriptions.remove(&subscription_key(topic, name));
        }
        Ok(removed)
    }

    /// Closes a connection by its name; false when it is not here or closing already.
    pub(crate) fn close_connection(&mut self, now: Instant, name: &str, reason: &str) -> bool {
        let Some(key) = self.find(name) else { return false };
        if self
            .connections
            .get(key)
            .is_none_or(|connection| connection.life != Life::Serving || connection.is_forced)
        {
            return false;
        }
        self.force_close(now, key, Farewell::Administrative, reason);
        self.finish_turn(now);
        true
    }
}

/// The space that the client of a connection is in; empty before that is known.
fn space_of(connection: &Connection) -> String {
    connection.caller.access.as_ref().map_or_else(String::new, |access| access.space().name().to_string())
}

/// What only a client of AMQP has.
fn with_amqp(view: admin::Connection, client: &amqp::Client) -> admin::Connection {
    let of = |role: Role| {
        let count = client.engine.links().filter(|link| link.role == role).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    admin::Connection {
        version: Some("1.0".to_owned()),
        product: client.product.as_deref().map(Into::into),
        sessions: u32::try_from(client.engine.sessions().count()).unwrap_or(u32::MAX),
        producers: of(Role::Receiver),
        consumers: of(Role::Sender),
        ..view
    }
}
