//! Fleets of whole nodes in this process, on loopback: messages from one to another, and what befalls them
//! when a path or a node goes.

#[path = "../../../tests/src/authority.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of processes")]
mod authority;
#[path = "../driver/client.rs"]
#[allow(dead_code, reason = "shared with the tests of a single node")]
mod client;
#[path = "../driver/mqtt_client.rs"]
#[allow(dead_code, reason = "shared with the tests of a single node")]
mod mqtt_client;
#[path = "../../../tests/src/proxy.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of processes")]
mod proxy;
#[path = "../driver/scram.rs"]
#[allow(dead_code, reason = "shared with the tests of a single node")]
mod scram;
#[path = "../support/mod.rs"]
mod support;

mod connectors;
mod faults;
mod fleet;
mod messages;
mod moves;
mod node;
mod nodes;
mod sessions;
mod topics;
