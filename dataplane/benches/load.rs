//! What a message costs: starts a real `mqd`, drives it over loopback and prints the daemon's CPU
//! time per delivery beside the rate.
//!
//! ```text
//! cargo bench -p mqd --bench load                      # everything
//! cargo bench -p mqd --bench load -- anycast           # what has the word in its name
//! cargo bench -p mqd --bench load -- MQTT
//! cargo bench -p mqd --bench load -- "another node"    # beside one node that does the same
//! cargo bench -p mqd --bench load -- TLS               # beside the same without, and handshakes
//! cargo bench -p mqd --bench load -- fleet --nodes 50
//! cargo bench -p mqd --bench load -- --messages 200000 --body 100 --mqd PATH
//! ```
//!
//! CPU time (user and system, of all threads of the daemon, from /proc) is the measure; the rate
//! depends on what else the machine does, and the load comes from the same cores. Latencies stand
//! beside those of a bare TCP relay in the same run.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod load {
    pub(crate) mod client;
    pub(crate) mod daemon;
    pub(crate) mod fleet;
    pub(crate) mod mqtt;
    pub(crate) mod mqtt_client;
    pub(crate) mod neighbour;
    pub(crate) mod scenario;
}

use load::scenario::{self, Options};

fn main() -> anyhow::Result<()> {
    let options = Options::from_args(std::env::args().skip(1))?;
    scenario::raise_file_limit();
    println!("{:<52} {:>12} {:>14} {:>16}", "work", "rate /s", "CPU-us each", "");
    scenario::run_all(&options)
}
