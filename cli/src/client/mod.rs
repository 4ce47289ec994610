//! What speaks to a fleet: the admin API over HTTP and messages over AMQP 1.0 and MQTT 5.0.

pub mod admin;
pub mod amqp;
pub mod drain;
pub mod mqtt;
mod sasl;
pub mod tls;
