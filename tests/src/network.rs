//! A network of a test's own: a namespace for each node of a fleet, and one with the clients, on one switch. Packets
//! between two of them can be dropped, cables can be pulled; nobody who is connected is told.
//!
//! It takes the right to make namespaces, and `ip` (iproute2); where they are missing the test says so and is left
//! out. Nothing of the machine's own network is touched.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::daemon::report;

/// A hardware address that nobody has: what is sent there is gone.
const NOWHERE: &str = "02:00:00:00:00:fe";

/// The namespaces. Dropping it removes them.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    nodes: usize,
}

impl Network {
    /// A network for so many nodes.
    ///
    /// # Errors
    /// Why this machine has none for tests.
    pub fn new(nodes: usize) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("mqt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // The value that removes what there is exists before anything is made.
        let network = Self { prefix, nodes };
        network.build()?;
        Ok(network)
    }

    /// The same, or `None` and a word to the reader of the test's output.
    pub fn new_or_say_why(nodes: usize) -> Option<Self> {
        match Self::new(nodes) {
            Ok(network) => Some(network),
            Err(reason) => {
                report(&format!("left out: no network namespaces here: {reason}"));
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let hub = self.hub();
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        ip(&format!("-n {hub} link add switch type bridge"))?;
        ip(&format!("-n {hub} addr add {}/24 dev switch", address(0)))?;
        ip(&format!("-n {hub} link set switch up"))?;
        for number in 1..=self.nodes {
            let node = self.namespace(number);
            ip(&format!("netns add {node}"))?;
            ip(&format!("-n {node} link set lo up"))?;
            ip(&format!("-n {hub} link add port{number} type veth peer name cable netns {node}"))?;
            ip(&format!("-n {hub} link set port{number} master switch up"))?;
            ip(&format!("-n {node} addr add {}/24 dev cable", address(number)))?;
            ip(&format!("-n {node} link set cable up"))?;
        }
        Ok(())
    }

    /// Where the clients are: for [`within`].
    pub fn clients(&self) -> String {
        self.hub()
    }

    /// Runs something where a node is; what it starts stays there.
    ///
    /// # Panics
    /// When it panics, or the namespace is gone.
    pub fn at<T: Send>(&self, number: usize, run: impl FnOnce() -> T + Send) -> T {
        within(&self.namespace(number), run)
    }

    /// The address of a node.
    pub fn address(&self, number: usize) -> IpAddr {
        address(number).into()
    }

    /// Drops every packet between two nodes.
    ///
    /// # Panics
    /// When the network cannot be changed.
    #[track_caller]
    pub fn part(&self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            let (node, peer) = (self.namespace(here), address(there));
            must(&format!("-n {node} neigh replace {peer} lladdr {NOWHERE} dev cable nud permanent"));
        }
    }

    /// Lets packets between two nodes pass again.
    ///
    /// # Panics
    /// When the network cannot be changed.
    #[track_caller]
    pub fn join(&self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            must(&format!("-n {} neigh del {} dev cable", self.namespace(here), address(there)));
        }
    }

    /// The address of the clients.
    pub fn address_of_clients(&self) -> IpAddr {
        address(0).into()
    }

    /// Pulls the cable of a node out of the switch.
    ///
    /// # Panics
    /// When the network cannot be changed.
    #[track_caller]
    pub fn unplug(&self, number: usize) {
        must(&format!("-n {} link set port{number} down", self.hub()));
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// When the network cannot be changed.
    #[track_caller]
    pub fn plug(&self, number: usize) {
        must(&format!("-n {} link set port{number} up", self.hub()));
    }

    fn hub(&self) -> String {
        format!("{}hub", self.prefix)
    }

    pub(crate) fn namespace(&self, number: usize) -> String {
        format!("{}n{number}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (1..=self.nodes).map(|number| self.namespace(number)).chain([self.hub()]) {
            // What was never made is as good.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

fn address(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number + 1).expect("a network has at most 254 nodes");
    Ipv4Addr::new(10, 213, 77, last)
}

pub(crate) fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("ip {arguments}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[track_caller]
fn must(arguments: &str) {
    if let Err(reason) = ip(arguments) {
        panic!("{reason}");
    }
}

/// Runs something in a place; what it starts stays there.
///
/// # Panics
/// When it panics, or the place is gone.
pub fn within<T: Send>(namespace: &str, run: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{namespace}");
    let place = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let result = thread::scope(|scope| {
        let there = scope.spawn(|| {
            // Of this thread alone; what it starts inherits it.
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            run()
        });
        there.join()
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
