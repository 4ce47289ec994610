//! The driver between sockets, engines and the core: clients on loopback against shards in this
//! process.

mod access;
mod causality;
mod client;
mod delegation;
mod life;
mod limits;
mod links;
mod messages;
mod mqtt_amqp;
mod mqtt_client;
mod mqtt_messages;
mod mqtt_once;
mod mqtt_pressure;
mod mqtt_sessions;
mod mqtt_spaces;
mod mqtt_subscriptions;
mod node;
mod outcomes;
mod plumbing;
#[path = "../support/provider.rs"]
mod provider;
mod queues;
mod random;
mod scram;
#[path = "../support/service.rs"]
mod service;
mod spaces;
mod store;
mod tokens;
mod topics;
mod transactions;
