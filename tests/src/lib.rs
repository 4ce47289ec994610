//! The harness of the tests that need processes: a real `mqd`, the real `mq`, clients written by
//! others, and clients that do not keep to the rules.
//!
//! Whatever a test starts belongs to a value that ends it when it is dropped. A test waits for a
//! condition with a deadline ([`eventually`]), never for time to pass. Everything listens on
//! loopback, on ports that the system picks.

pub mod admin;
mod authority;
mod command;
pub mod containers;
mod daemon;
pub mod fleet;
pub mod foreign;
pub mod hosts;
pub mod kubernetes;
pub mod mqtt;
pub mod network;
pub mod oci;
mod program;
mod proxy;
pub mod raw;
pub mod raw_mqtt;
pub mod remember;
mod wait;

pub use self::authority::{Authority, Pair, server_tls};
pub use self::command::{Finished, Mq, Running};
pub use self::daemon::{Daemon, DaemonBuilder, report, run_mqd};
pub use self::fleet::Fleet;
pub use self::program::{mq_path, mqd_path, repository, static_programs};
pub use self::proxy::Proxy;
pub use self::wait::{PATIENCE, eventually, eventually_within};
