//! The load of `mq bench` against targets with known faults: each has to show in the right figure.

mod amqp;
mod faults;
mod mqtt;
mod proxy;
mod server;
mod tls;
