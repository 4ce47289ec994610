//! The mq data-plane daemon: the only place with sockets, threads and clocks.

pub mod admin;
pub mod app;
mod checks;
pub mod config;
mod connectors;
mod drain;
mod driver;
mod held;
pub mod hub;
pub mod identity;
pub mod listen;
pub mod log;
mod mailbox;
pub mod mesh;
mod metrics;
mod moves;
mod node;
mod notify;
pub mod objects;
pub mod owner;
mod process;
pub mod selector;
pub mod shard;
mod signals;
pub mod spaces;
pub mod state;
mod statistics;
pub mod store;
pub mod tls;
mod usage;
pub mod users;

pub use driver::{proxy, websocket};
pub use process::keep_memory;
